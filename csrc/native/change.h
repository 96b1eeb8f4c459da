/* change.h -- Value, the object, and every way of changing its word.
 */
#ifndef AIE_NATIVE_CHANGE_H
#define AIE_NATIVE_CHANGE_H

#include "mapping.h"

typedef struct {
    PyObject_HEAD
    aie_word *word; /* NULL: __init__ never ran, or closed */
    Table *table;   /* NULL: __init__ never ran */
    aie_control *control;
    PyObject *guard; /* enters and leaves the lock= given; NULL: writes are lock-free */
    Mapping *mapping;
    PyObject *segment;
    PyObject *lock;    /* what get_lock() returns, once made */
    PyObject *retired; /* without the GIL: what an earlier __init__ had bound */
    PyObject *weakrefs;
    Py_ssize_t index;
    int calls_from_value; /* the class overrides it, so a name is asked of it */
} Value;

static PyObject *raise_closed(void)
{
    PyErr_SetString(PyExc_ValueError, "this value is closed, or its __init__ never ran");
    return NULL;
}

/* The word, or NULL with ValueError.  Valid until the caller runs Python code or gives up the GIL.
 */
static inline aie_word *value_word(Value *self)
{
    aie_word *word = FIELD_LOAD(self->word);
    if (word == NULL) {
        raise_closed();
    }
    return word;
}

/* The number stands for no member: ValueError, worded by the vocabulary. */
static PyObject *refuse_number(Table *table, int32_t number)
{
    PyObject *boxed = PyLong_FromLong(number);
    if (boxed == NULL) {
        return NULL;
    }
    PyObject *result =
        PyObject_CallMethodObjArgs(table->vocabulary, table->state->str_refuse, boxed, NULL);
    Py_DECREF(boxed);
    if (result != NULL) {
        Py_DECREF(result);
        PyErr_Format(PyExc_ValueError, "%d is not a member's value", (int)number);
    }
    return NULL;
}

static PyObject *value_member(Value *self, int32_t number)
{
    Table *table = FIELD_LOAD(self->table);
    const table_entry *entry = table_by_number(table, number);
    return entry != NULL ? Py_NewRef(entry->member) : refuse_number(table, number);
}

/* What `object` is to be written as: a member by identity, else by the class's own _atomic_number,
 * which takes names and words the errors.  May run Python code. */
static inline int value_number(Value *self, PyObject *object, int32_t *number)
{
    if (value_word(self) == NULL) {
        return -1;
    }
    Table *table = FIELD_LOAD(self->table);
    const table_entry *entry = table_by_identity(table, object);
    if (entry != NULL) {
        *number = entry->number;
        return 0;
    }
    PyObject *boxed =
        PyObject_CallMethodObjArgs((PyObject *)self, table->state->str_number, object, NULL);
    if (boxed == NULL) {
        return -1;
    }
    long wide = PyLong_AsLong(boxed);
    Py_DECREF(boxed);
    if (wide == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (FIELD_LOAD(self->table) != table) {
        PyErr_SetString(PyExc_RuntimeError, "the value was initialised anew while it was written");
        return -1;
    }
    if (wide < INT32_MIN || wide > INT32_MAX) {
        PyErr_Format(PyExc_OverflowError, "%ld does not fit 32 bits", wide);
        return -1;
    }
    *number = (int32_t)wide;
    return 0;
}

/* The word is LOCKED: wait for the lock, 50 ms at a time, looking at signals in between.
 * 1 written, 0 mismatch, -1 with an exception. */
static int value_change_slow(Value *self, aie_word *word, aie_change *change)
{
    aie_control *control = self->control;
    PyObject *mapping = Py_NewRef((PyObject *)self->mapping);
    aie_result result = aie_change_slice(word, control, change, 0);
    while (result == AIE_BUSY) {
        if (PyErr_CheckSignals() < 0) {
            Py_DECREF(mapping);
            return -1;
        }
        Py_BEGIN_ALLOW_THREADS
        result = aie_lock_until(control, word, aie_now() + AIE_SLICE);
        Py_END_ALLOW_THREADS
        bool closed = FIELD_LOAD(self->word) != word; /* meanwhile */
        if (result == AIE_OK) {
            bool last;
            if (!closed) {
                result = aie_word_change_held(word, change);
            }
            aie_lock_release(control, word, &last);
        }
        else if (result == AIE_BUSY && !closed) {
            /* The compare may fail by now, or the holder may have left: neither needs the lock. */
            aie_result bare = aie_word_change(word, change);
            result = bare == AIE_LOCKED ? AIE_BUSY : bare;
        }
        if (closed) {
            Py_DECREF(mapping);
            raise_closed();
            return -1;
        }
    }
    Py_DECREF(mapping);
    if (result == AIE_OK || result == AIE_MISMATCH) {
        return result == AIE_OK;
    }
    raise_result(result);
    return -1;
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
        result = aie_word_change_held(word, change);
    }
    PyObject *left = entered ? guard_call(guard, state->str_release) : Py_NewRef(Py_None);
    Py_DECREF(guard);
    if (left == NULL) {
        return -1;
    }
    Py_DECREF(left);
    if (word == NULL) {
        raise_closed();
        return -1;
    }
    return result == AIE_OK;
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
    aie_result result = aie_word_change(word, change);
    if (result == AIE_LOCKED) {
        return value_change_slow(self, word, change);
    }
    return result == AIE_OK;
}

#endif
