/* write.h -- Value, the object, and every way of changing its word.
 */
#ifndef AIE_NATIVE_WRITE_H
#define AIE_NATIVE_WRITE_H

#include "slow.h"

/* Bound once and never again: all but `word` and `lock` stays as it was bound until the object goes. */
typedef struct {
    PyObject_HEAD
    aie_word *word; /* NULL: __init__ never ran, or closed */
    int bound;      /* one thread alone binds */
    Table *table;   /* NULL: __init__ never ran */
    aie_control *control;
    aie_event *event; /* of the segment */
    PyObject *guard;  /* enters and leaves the lock= given; NULL: writes are lock-free */
    Mapping *mapping;
    PyObject *segment;
    PyObject *lock; /* what get_lock() returns, once made */
    PyObject *weakrefs;
    Py_ssize_t index;
    int calls_from_value; /* the class overrides it, so a name is asked of it */
} Value;

/* The word, or NULL with ValueError.  Ask again after Python code ran: it may have closed the value. */
static inline aie_word *value_word(Value *self)
{
    aie_word *word = FIELD_LOAD(self->word);
    if (word == NULL) {
        raise_closed("value");
    }
    return word;
}

static bool value_is_closed(PyObject *op)
{
    return FIELD_LOAD(((Value *)op)->word) == NULL;
}

/* The number to write for `object`, of an open value, which it may not be any more afterwards. */
static inline int value_number(Value *self, PyObject *object, int32_t *number)
{
    return table_number(self->table, (PyObject *)self, object, number);
}

/* Call an attribute of the guard: a lock's own bound method, so that for locks made in C no Python
 * frame stands between, and with it no signal handler. */
static PyObject *guard_call(PyObject *guard, PyObject *name)
{
    PyObject *method = PyObject_GetAttr(guard, name);
    if (method == NULL || method == Py_None) {
        return method;
    }
    PyObject *result = PyObject_CallNoArgs(method);
    Py_DECREF(method);
    return result;
}

/* Take the guard's lock: 1 taken, 0 it was this thread's already, -1 with an exception. */
static int guard_enter(PyObject *guard, module_state *state)
{
    PyObject *mine = guard_call(guard, state->str_is_mine);
    int held = mine == NULL ? -1 : PyObject_IsTrue(mine);
    Py_XDECREF(mine);
    if (held != 0) {
        return held < 0 ? -1 : 0;
    }
    PyObject *acquired = guard_call(guard, state->str_acquire);
    Py_XDECREF(acquired);
    return acquired == NULL ? -1 : 1;
}

/* The value was given lock=: every write holds it.  A compare that fails needs no lock. */
static int value_change_guarded(const target *to, module_state *state, PyObject *guard,
                                aie_change *change)
{
    if (change->compare && aie_word_value(aie_word_load(to->word)) != change->expected) {
        return 0;
    }
    PyObject *mapping = Py_NewRef((PyObject *)to->mapping);
    Py_INCREF(guard);
    int entered = guard_enter(guard, state);
    if (entered < 0) {
        Py_DECREF(guard);
        Py_DECREF(mapping);
        return -1;
    }
    aie_result result = AIE_MISMATCH;
    bool closed = to->is_closed(to->op); /* while the lock was waited for */
    if (!closed) {
        result = aie_word_change_held(to->word, to->event, change);
    }
    PyObject *left = entered ? guard_call(guard, state->str_release) : Py_NewRef(Py_None);
    Py_DECREF(guard);
    Py_DECREF(mapping);
    if (left == NULL) {
        return -1;
    }
    Py_DECREF(left);
    if (closed) {
        raise_closed(to->what);
        return -1;
    }
    return result == AIE_OK;
}

/* Change the word of an open value.  1 written, 0 mismatch, -1 with an exception. */
static inline int value_change(Value *self, aie_change *change)
{
    aie_word *word = value_word(self);
    if (word == NULL) {
        return -1;
    }
    target to = {word, self->control, self->event, self->mapping, (PyObject *)self, "value",
                 value_is_closed};
    if (self->guard != NULL) {
        return value_change_guarded(&to, self->table->state, self->guard, change);
    }
    aie_result result = aie_word_change(word, to.event, change);
    return result == AIE_LOCKED ? change_slow(&to, change) : result == AIE_OK;
}

#endif
