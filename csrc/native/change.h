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
    PyObject *lock;                /* what get_lock() returns, once made */
    struct value_retired *retired; /* without the GIL: what earlier __init__ had bound */
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

/* The word and the table that belongs to it, or NULL with ValueError.  Without the GIL another
 * thread may be binding the value anew (value_rebind), where under the GIL that is one step. */
static inline aie_word *value_word_of(Value *self, Table **table)
{
    aie_word *word = value_word(self);
    if (word == NULL) {
        return NULL;
    }
    *table = FIELD_LOAD(self->table);
#ifdef Py_GIL_DISABLED
    /* value_rebind takes the word away before it changes anything else, and never puts the same one
     * back: who finds it again has read what belongs to it. */
    while (word != NULL && FIELD_LOAD(self->word) != word) {
        word = value_word(self);
        *table = FIELD_LOAD(self->table);
    }
#endif
    return word;
}

static bool value_is_closed(PyObject *op, const aie_word *word)
{
    return FIELD_LOAD(((Value *)op)->word) != word; /* or bound anew */
}

/* 0 if the value is on this word still; else -1 with the exception that says why not.  What was
 * read of the value before, the table too, belongs to that word then. */
static int value_stays(Value *self, const aie_word *word)
{
    const aie_word *now = FIELD_LOAD(self->word);
    if (now == word) {
        return 0;
    }
    if (now == NULL) {
        raise_closed("value");
    }
    else {
        PyErr_SetString(PyExc_RuntimeError, "the value was initialised anew while it was used");
    }
    return -1;
}

/* What a call holds that runs Python code in its midst, which may bind the value anew: so that no
 * other segment is mapped where this one was, nor another table made, and the word's address tells
 * them apart. */
typedef struct {
    PyObject *mapping;
    PyObject *table;
} value_hold;

static int value_hold_on(Value *self, const aie_word *word, Table *table, value_hold *hold)
{
    hold->mapping = (PyObject *)FIELD_LOAD(self->mapping);
    hold->table = (PyObject *)table;
    if (value_stays(self, word) < 0) { /* or it may be the mapping of another word */
        return -1;
    }
    Py_INCREF(hold->mapping);
    Py_INCREF(hold->table);
    return 0;
}

static void value_let_go(value_hold *hold)
{
    Py_DECREF(hold->mapping);
    Py_DECREF(hold->table);
}

/* For what is no member by identity: runs Python code.  By its end the value may be another one, and
 * the number by another table: then it is an exception. */
__attribute__((noinline, cold)) static int value_ask_number(Value *self, const aie_word *word,
                                                            Table *table, PyObject *object,
                                                            int32_t *number)
{
    value_hold hold;
    if (value_hold_on(self, word, table, &hold) < 0) {
        return -1;
    }
    int result = table_number(table, (PyObject *)self, object, number);
    if (result == 0) {
        result = value_stays(self, word);
    }
    value_let_go(&hold);
    return result;
}

/* As table_number, for a word of the value and its table.  May run Python code. */
static inline int value_number(Value *self, const aie_word *word, Table *table, PyObject *object,
                               int32_t *number)
{
    const table_entry *entry = table_by_identity(table, object);
    if (entry == NULL) {
        return value_ask_number(self, word, table, object, number);
    }
    *number = entry->number;
    return value_stays(self, word);
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
    bool closed = to->is_closed(to->op, to->word); /* while the lock was waited for */
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

/* Change the word, whose table it is.  1 written, 0 mismatch, -1 with an exception. */
static inline int value_change(Value *self, aie_word *word, const Table *table, aie_change *change)
{
    PyObject *guard = FIELD_LOAD(self->guard);
    target to = {word,
                 FIELD_LOAD(self->control),
                 FIELD_LOAD(self->event),
                 FIELD_LOAD(self->mapping),
                 (PyObject *)self,
                 "value",
                 value_is_closed};
    if (value_stays(self, word) < 0) { /* or they may be those of another word */
        return -1;
    }
    if (guard != NULL) {
        return value_change_guarded(&to, table->state, guard, change);
    }
    aie_result result = aie_word_change(word, to.event, change);
    return result == AIE_LOCKED ? change_slow(&to, change) : result == AIE_OK;
}

#endif
