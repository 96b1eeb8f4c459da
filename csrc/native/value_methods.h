/* value_methods.h -- what each operation of a Value does: load, set, exchange, compare_and_set, ...
 */
#ifndef AIE_NATIVE_VALUE_METHODS_H
#define AIE_NATIVE_VALUE_METHODS_H

#include "write.h"

static PyObject *value_load(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    aie_word *word = value_word((Value *)op);
    return word == NULL ? NULL
                        : table_member(((Value *)op)->table, aie_word_value(aie_word_load(word)));
}

/* The common case of a write: arguments by position, the value open, no lock= given.  The word, or
 * NULL without an exception: then the slow function sorts out what it is.  Those are kept out of
 * line, so that the common case lives in registers. */
static inline aie_word *value_fast_word(Value *self, Py_ssize_t nargs, Py_ssize_t wanted,
                                        PyObject *kwnames)
{
    aie_word *word = FIELD_LOAD(self->word);
    return word == NULL || nargs != wanted || kwnames != NULL || self->guard != NULL ? NULL : word;
}

#define SLOW __attribute__((noinline, cold)) static

/* set() and, with `previous`, exchange(), by whatever arguments. */
SLOW PyObject *value_write_slow(Value *self, const char *function, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *kwnames, bool previous)
{
    static const char *const names[] = {"value"};
    PyObject *argument;
    aie_change change = {.compare = false};
    if (parse_arguments(function, args, nargs, kwnames, names, 1, 1, &argument) < 0
        || value_word(self) == NULL || value_number(self, argument, &change.desired) < 0
        || value_change(self, &change) < 0) {
        return NULL;
    }
    return previous ? table_member(self->table, aie_word_value(change.seen)) : none();
}

static PyObject *value_set(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    Value *self = (Value *)op;
    aie_word *word = value_fast_word(self, nargs, 1, kwnames);
    if (word != NULL) {
        const table_entry *entry = table_by_identity(self->table, args[0]);
        if (entry != NULL) {
            aie_change change = {.desired = entry->number, .compare = false};
            if (aie_word_change(word, self->event, &change) == AIE_OK) {
                return none();
            }
        }
    }
    return value_write_slow(self, "set", args, nargs, kwnames, false);
}

static PyObject *value_exchange(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    Value *self = (Value *)op;
    aie_word *word = value_fast_word(self, nargs, 1, kwnames);
    if (word != NULL) {
        const table_entry *entry = table_by_identity(self->table, args[0]);
        if (entry != NULL) {
            aie_change change = {.desired = entry->number, .compare = false};
            if (aie_word_change(word, self->event, &change) == AIE_OK) {
                return table_member(self->table, aie_word_value(change.seen));
            }
        }
    }
    return value_write_slow(self, "exchange", args, nargs, kwnames, true);
}

SLOW PyObject *value_compare_and_set_slow(Value *self, PyObject *const *args, Py_ssize_t nargs,
                                          PyObject *kwnames)
{
    static const char *const names[] = {"old", "new"};
    PyObject *parsed[2];
    aie_change change = {.compare = true};
    if (parse_arguments("compare_and_set", args, nargs, kwnames, names, 2, 2, parsed) < 0
        || value_word(self) == NULL || value_number(self, parsed[0], &change.expected) < 0
        || value_word(self) == NULL || value_number(self, parsed[1], &change.desired) < 0) {
        return NULL;
    }
    int written = value_change(self, &change);
    return written < 0 ? NULL : boolean(written);
}

static PyObject *value_compare_and_set(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                       PyObject *kwnames)
{
    Value *self = (Value *)op;
    aie_word *word = value_fast_word(self, nargs, 2, kwnames);
    if (word != NULL) {
        const table_entry *old = table_by_identity(self->table, args[0]);
        const table_entry *new = table_by_identity(self->table, args[1]);
        if (old != NULL && new != NULL) {
            aie_change change = {.expected = old->number, .desired = new->number, .compare = true};
            aie_result result = aie_word_change(word, self->event, &change);
            if (result != AIE_LOCKED) {
                return boolean(result == AIE_OK);
            }
        }
    }
    return value_compare_and_set_slow(self, args, nargs, kwnames);
}

static PyObject *value_get_value(PyObject *op, void *Py_UNUSED(closure))
{
    aie_word *word = value_word((Value *)op);
    return word == NULL ? NULL : PyLong_FromLong(aie_word_value(aie_word_load(word)));
}

static int value_set_value(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "value cannot be deleted");
        return -1;
    }
    /* By attribute: subclasses override set(), and instances may. */
    Table *table = FIELD_LOAD(((Value *)op)->table);
    PyObject *result = table != NULL
                           ? PyObject_CallMethodObjArgs(op, table->state->str_set, value, NULL)
                           : PyObject_CallMethod(op, "set", "(O)", value);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static PyObject *value_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    Value *self = (Value *)op;
    aie_word *word = value_word(self);
    if (word == NULL) {
        return NULL;
    }
    int32_t number = aie_word_value(aie_word_load(word));
    if (self->calls_from_value) {
        PyObject *boxed = PyLong_FromLong(number);
        if (boxed == NULL) {
            return NULL;
        }
        PyObject *name =
            PyObject_CallMethodObjArgs(op, self->table->state->str_from_value, boxed, NULL);
        Py_DECREF(boxed);
        return name;
    }
    const table_entry *entry = table_by_number(self->table, number);
    return entry != NULL ? Py_NewRef(entry->name) : refuse_number(self->table, number);
}

static PyObject *value_get_version(PyObject *op, void *Py_UNUSED(closure))
{
    aie_word *word = value_word((Value *)op);
    return word == NULL ? NULL : PyLong_FromUnsignedLong(aie_word_version(aie_word_load(word)));
}

#endif
