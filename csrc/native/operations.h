/* operations.h -- what each operation of a Value does: load, set, exchange, compare_and_set, ...
 */
#ifndef AIE_NATIVE_OPERATIONS_H
#define AIE_NATIVE_OPERATIONS_H

#include "change.h"

static PyObject *value_load(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Value *self = (Value *)op;
    Table *table;
    aie_word *word = value_word_of(self, &table);
    return word == NULL ? NULL : table_member(table, aie_word_value(aie_word_load(word)));
}

/* The one argument of set() and exchange(), in `number`, for the word returned and its table.  NULL
 * with an exception.  Common case first: by position. */
static inline aie_word *value_argument(Value *self, const char *function, PyObject *const *args,
                                       Py_ssize_t nargs, PyObject *kwnames, Table **table,
                                       int32_t *number)
{
    static const char *const names[] = {"value"};
    PyObject *argument;
    if (nargs == 1 && kwnames == NULL) {
        argument = args[0];
    }
    else if (parse_arguments(function, args, nargs, kwnames, names, 1, 1, &argument) < 0) {
        return NULL;
    }
    aie_word *word = value_word_of(self, table);
    return word == NULL || value_number(self, word, *table, argument, number) < 0 ? NULL : word;
}

/* The common case of a write: arguments by position, the value open, no lock= given.  The word, or
 * NULL without an exception: then the slow function sorts out what it is.  Those are kept out of
 * line, so that the common case lives in registers. */
static inline aie_word *value_fast_word(Value *self, Py_ssize_t nargs, Py_ssize_t wanted,
                                        PyObject *kwnames)
{
    if (nargs != wanted || kwnames != NULL || FIELD_LOAD(self->guard) != NULL) {
        return NULL;
    }
    return FIELD_LOAD(self->word);
}

/* Whether all that was read of the value since belongs to that word: always so under the GIL; see
 * value_word_of. */
static inline bool value_is_still_on(const Value *self, const aie_word *word)
{
#ifdef Py_GIL_DISABLED
    return FIELD_LOAD(self->word) == word && FIELD_LOAD(self->guard) == NULL;
#else
    (void)self;
    (void)word;
    return true;
#endif
}

#define SLOW __attribute__((noinline, cold)) static

SLOW PyObject *value_set_slow(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    Value *self = (Value *)op;
    Table *table;
    aie_change change = {.compare = false};
    aie_word *word = value_argument(self, "set", args, nargs, kwnames, &table, &change.desired);
    if (word == NULL || value_change(self, word, table, &change) < 0) {
        return NULL;
    }
    return none();
}

static PyObject *value_set(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Value *self = (Value *)op;
    aie_word *word = value_fast_word(self, nargs, 1, kwnames);
    if (word != NULL) {
        Table *table = FIELD_LOAD(self->table);
        const table_entry *entry = table_by_identity(table, args[0]);
        aie_event *event = FIELD_LOAD(self->event);
        if (entry != NULL && value_is_still_on(self, word)) {
            aie_change change = {.desired = entry->number, .compare = false};
            if (aie_word_change(word, event, &change) == AIE_OK) {
                return none();
            }
        }
    }
    return value_set_slow(op, args, nargs, kwnames);
}

SLOW PyObject *value_exchange_slow(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *kwnames)
{
    Value *self = (Value *)op;
    Table *table;
    aie_change change = {.compare = false};
    aie_word *word =
        value_argument(self, "exchange", args, nargs, kwnames, &table, &change.desired);
    if (word == NULL) {
        return NULL;
    }
    Py_INCREF((PyObject *)table); /* giving back a lock may run Python code */
    PyObject *result = value_change(self, word, table, &change) < 0
                           ? NULL
                           : table_member(table, aie_word_value(change.seen));
    Py_DECREF((PyObject *)table);
    return result;
}

static PyObject *value_exchange(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    Value *self = (Value *)op;
    aie_word *word = value_fast_word(self, nargs, 1, kwnames);
    if (word != NULL) {
        Table *table = FIELD_LOAD(self->table);
        const table_entry *entry = table_by_identity(table, args[0]);
        aie_event *event = FIELD_LOAD(self->event);
        if (entry != NULL && value_is_still_on(self, word)) {
            aie_change change = {.desired = entry->number, .compare = false};
            if (aie_word_change(word, event, &change) == AIE_OK) {
                return table_member(table, aie_word_value(change.seen));
            }
        }
    }
    return value_exchange_slow(op, args, nargs, kwnames);
}

SLOW PyObject *value_compare_and_set_slow(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                          PyObject *kwnames)
{
    static const char *const names[] = {"old", "new"};
    Value *self = (Value *)op;
    PyObject *parsed[2];
    if (nargs != 2 || kwnames != NULL) {
        if (parse_arguments("compare_and_set", args, nargs, kwnames, names, 2, 2, parsed) < 0) {
            return NULL;
        }
        args = parsed;
    }
    Table *table;
    aie_change change = {.compare = true};
    aie_word *word = value_word_of(self, &table);
    if (word == NULL || value_number(self, word, table, args[0], &change.expected) < 0
        || value_number(self, word, table, args[1], &change.desired) < 0) {
        return NULL;
    }
    int written = value_change(self, word, table, &change);
    return written < 0 ? NULL : boolean(written);
}

static PyObject *value_compare_and_set(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                       PyObject *kwnames)
{
    Value *self = (Value *)op;
    aie_word *word = value_fast_word(self, nargs, 2, kwnames);
    if (word != NULL) {
        const Table *table = FIELD_LOAD(self->table);
        const table_entry *old = table_by_identity(table, args[0]);
        const table_entry *new = table_by_identity(table, args[1]);
        if (old != NULL && new != NULL) {
            aie_change change = {.expected = old->number, .desired = new->number, .compare = true};
            aie_event *event = FIELD_LOAD(self->event);
            aie_result result =
                value_is_still_on(self, word) ? aie_word_change(word, event, &change) : AIE_LOCKED;
            if (result != AIE_LOCKED) {
                return boolean(result == AIE_OK);
            }
        }
    }
    return value_compare_and_set_slow(op, args, nargs, kwnames);
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
    Table *table;
    aie_word *word = value_word_of(self, &table);
    if (word == NULL) {
        return NULL;
    }
    int32_t number = aie_word_value(aie_word_load(word));
    if (FIELD_LOAD(self->calls_from_value)) {
        PyObject *boxed = PyLong_FromLong(number);
        if (boxed == NULL) {
            return NULL;
        }
        PyObject *name = PyObject_CallMethodObjArgs(op, table->state->str_from_value, boxed, NULL);
        Py_DECREF(boxed);
        return name;
    }
    const table_entry *entry = table_by_number(table, number);
    return entry != NULL ? Py_NewRef(entry->name) : refuse_number(table, number);
}

static PyObject *value_get_version(PyObject *op, void *Py_UNUSED(closure))
{
    aie_word *word = value_word((Value *)op);
    return word == NULL ? NULL : PyLong_FromUnsignedLong(aie_word_version(aie_word_load(word)));
}

#endif
