/* change.h -- Value, the object, and every way of changing its word.
 */
#ifndef AIE_NATIVE_CHANGE_H
#define AIE_NATIVE_CHANGE_H

#include "slow.h"

typedef struct {
    PyObject_HEAD
    aie_word *word; /* NULL: __init__ never ran, or closed */
    Table *table;   /* NULL: __init__ never ran */
    aie_control *control;
    aie_event *event; /* of the segment */
    PyObject *guard;  /* enters and leaves the lock= given; NULL: writes are lock-free */
    Mapping *mapping;
    PyObject *segment;
    PyObject *lock;    /* what get_lock() returns, once made */
    PyObject *retired; /* without the GIL: what an earlier __init__ had bound */
    PyObject *weakrefs;
    Py_ssize_t index;
    int calls_from_value; /* the class overrides it, so a name is asked of it */
} Value;

/* The word, or NULL with ValueError.  Valid until the caller runs Python code or gives up the GIL.
 */
static inline aie_word *value_word(Value *self)
{
    aie_word *word = FIELD_LOAD(self->word);
    if (word == NULL) {
        raise_closed("value");
    }
    return word;
}

static PyObject *value_member(Value *self, int32_t number)
{
    return table_member(FIELD_LOAD(self->table), number);
}

/* As table_number, of an open value.  May run Python code. */
static inline int value_number(Value *self, PyObject *object, int32_t *number)
{
    if (value_word(self) == NULL) {
        return -1;
    }
    Table *table = FIELD_LOAD(self->table);
    if (table_number(table, (PyObject *)self, object, number) < 0) {
        return -1;
    }
    if (FIELD_LOAD(self->table) != table) {
        PyErr_SetString(PyExc_RuntimeError, "the value was initialised anew while it was written");
        return -1;
    }
    return 0;
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
static int value_change_guarded(Value *self, PyObject *guard, aie_change *change)
{
    aie_word *word = value_word(self);
    if (word == NULL) {
        return -1;
    }
    if (change->compare && aie_word_value(aie_word_load(word)) != change->expected) {
        return 0;
    }
    module_state *state = FIELD_LOAD(self->table)->state;
    Py_INCREF(guard);
    int entered = guard_enter(guard, state);
    if (entered < 0) {
        Py_DECREF(guard);
        return -1;
    }
    aie_result result = AIE_MISMATCH;
    word = FIELD_LOAD(self->word); /* close() may have come while the lock was waited for */
    if (word != NULL) {
        result = aie_word_change_held(word, self->event, change);
    }
    PyObject *left = entered ? guard_call(guard, state->str_release) : Py_NewRef(Py_None);
    Py_DECREF(guard);
    if (left == NULL) {
        return -1;
    }
    Py_DECREF(left);
    if (word == NULL) {
        raise_closed("value");
        return -1;
    }
    return result == AIE_OK;
}

static bool value_is_closed(PyObject *op, const aie_word *word)
{
    return FIELD_LOAD(((Value *)op)->word) != word; /* or bound anew */
}

/* 1 written, 0 mismatch, -1 with an exception. */
static inline int value_change(Value *self, aie_change *change)
{
    aie_word *word = value_word(self);
    if (word == NULL) {
        return -1;
    }
    PyObject *guard = FIELD_LOAD(self->guard);
    if (guard != NULL) {
        return value_change_guarded(self, guard, change);
    }
    aie_result result = aie_word_change(word, self->event, change);
    if (result == AIE_LOCKED) {
        target to = {word,    self->control,  self->event, self->mapping, (PyObject *)self,
                     "value", value_is_closed};
        return change_slow(&to, change);
    }
    return result == AIE_OK;
}

#endif
