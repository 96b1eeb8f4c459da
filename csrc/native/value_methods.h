/* value_methods.h -- what a Value does: read, write, wait, compare. */
#pragma once

#include "wait.h"
#include "write.h"

typedef struct {
    Bound bound;
    aie_word *word; /* NULL: __init__ never ran, or closed */
    aie_word *bare; /* the same; NULL also where a write takes more than one step */
    aie_control *control;
    aie_event *event; /* of the segment */
    aie_owners *owners;
    PyObject *guard; /* enters and leaves the lock= given; NULL: writes are lock-free */
    PyObject *lock;  /* what get_lock() returns, once made; as `word`, it may change */
    Py_ssize_t index;
    int calls_from_value; /* the class overrides it, so a name is asked of it */
} Value;

/* The word, or NULL with ValueError.  Ask again after Python code ran: it may have closed the
 * value. */
static inline aie_word *value_word(Value *self)
{
    aie_word *word = FIELD_LOAD(self->word);
    if (word == NULL) {
        raise_closed("value");
    }
    return word;
}

/* The number to write for `object`.  The value is open before; Python code that runs may close
 * it. */
static inline int value_number(Value *self, PyObject *object, int32_t *number)
{
    return table_number(self->bound.table, (PyObject *)self, object, number);
}

/* Change the word of an open value.  1 written, 0 mismatch, -1 with an exception. */
static inline int value_change(Value *self, aie_change *change)
{
    aie_word *word = value_word(self);
    if (word == NULL) {
        return -1;
    }
    target to = {word, self->control, self->event, &self->bound, "value", self->owners};
    return self->guard == NULL ? change_word(&to, change)
                               : change_guarded(&to, self->bound.table->state, self->guard, change);
}

/* ---- reading and writing */

HOT PyObject *value_load(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    aie_word *word = value_word((Value *)op);
    return word == NULL
               ? NULL
               : table_member(((Value *)op)->bound.table, aie_word_value(aie_word_load(word)));
}

/* The common case of a write: arguments by position, the value open, neither lock= nor on_death=
 * given.  The word, or NULL without an exception: then the slow function sorts out what it is. */
static inline aie_word *value_fast_word(Value *self, Py_ssize_t nargs, Py_ssize_t wanted,
                                        PyObject *kwnames)
{
    return nargs != wanted || kwnames != NULL ? NULL : FIELD_LOAD(self->bare);
}

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
    return previous ? table_member(self->bound.table, aie_word_value(change.seen)) : none();
}

/* The same, by the fast way if it is the common case. */
AIE_ALWAYS PyObject *value_write(PyObject *op, const char *function, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames, bool previous)
{
    Value *self = (Value *)op;
    aie_word *word = value_fast_word(self, nargs, 1, kwnames);
    if (word != NULL) {
        const table_entry *entry = table_by_identity(self->bound.table, args[0]);
        if (entry != NULL) {
            aie_change change = {.desired = entry->number, .compare = false};
            if (aie_word_change(word, self->event, &change) == AIE_OK) {
                return previous ? table_member(self->bound.table, aie_word_value(change.seen))
                                : none();
            }
        }
    }
    return value_write_slow(self, function, args, nargs, kwnames, previous);
}

static PyObject *value_set(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return value_write(op, "set", args, nargs, kwnames, false);
}

static PyObject *value_exchange(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    return value_write(op, "exchange", args, nargs, kwnames, true);
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
        const table_entry *old = table_by_identity(self->bound.table, args[0]);
        const table_entry *new = old == NULL ? NULL : table_by_identity(self->bound.table, args[1]);
        if (new != NULL) {
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
    Table *table = FIELD_LOAD(((Value *)op)->bound.table);
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
            PyObject_CallMethodObjArgs(op, self->bound.table->state->str_from_value, boxed, NULL);
        Py_DECREF(boxed);
        return name;
    }
    const table_entry *entry = table_by_number(self->bound.table, number);
    return entry != NULL ? Py_NewRef(entry->name) : refuse_number(self->bound.table, number);
}

static PyObject *value_get_version(PyObject *op, void *Py_UNUSED(closure))
{
    aie_word *word = value_word((Value *)op);
    return word == NULL ? NULL : PyLong_FromUnsignedLong(aie_word_version(aie_word_load(word)));
}

/* ---- waiting */

typedef struct {
    waiter waiting;
    aie_word *word;
    aie_goal goal;
    uint64_t seen; /* the word that decided */
} value_waiter;

static int value_wait_is_own(waiter *waiting)
{
    value_waiter *wait = (value_waiter *)waiting;
    Value *self = (Value *)waiting->of;
    if (self->guard == NULL) {
        return (wait->seen & AIE_LOCKED_BIT) && bound_control(&self->bound, self->control) != NULL
               && aie_lock_is_mine(self->control, wait->word);
    }
    PyObject *answer = PyObject_CallMethod(self->guard, "held_here", NULL);
    int held = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return held;
}

static bool value_wait_is_met(waiter *waiting)
{
    value_waiter *wait = (value_waiter *)waiting;
    wait->seen = aie_word_load(wait->word);
    return aie_goal_met(&wait->goal, wait->seen);
}

/* Comparing with so many takes no longer than looking. */
#define FEW_MEMBERS 4

static bool value_wait_is_met_soon(waiter *waiting)
{
    value_waiter *wait = (value_waiter *)waiting;
    return wait->goal.count <= FEW_MEMBERS
           && aie_await_looking(wait->word, &wait->goal, &wait->seen) == AIE_OK;
}

static aie_result value_wait_sleep(waiter *waiting, int64_t deadline, bool spin)
{
    value_waiter *wait = (value_waiter *)waiting;
    return aie_await(wait->word, &wait->goal, deadline, spin, &wait->seen);
}

/* wait_for(member, /, *members, timeout=None) and wait_while: `leave` tells which.  `look`: it
 * looks once, and returns None if it is not so. */
static PyObject *value_wait(Value *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                            bool leave, int look)
{
    aie_word *word = value_word(self);
    if (word == NULL) {
        return NULL;
    }
    aie_array one = {(unsigned char *)word, bound_control(&self->bound, self->control),
                     AIE_SINGLE_STRIDE,     1,
                     self->event,           self->owners};
    value_waiter wait = {
        .waiting = {.of = &self->bound,
                    .goal = &wait.goal,
                    .owned = self->owners == NULL ? NULL : &one,
                    .once = look & LOOK,
                    .later = look & LOOK_LATER,
                    .name = leave ? "wait_while" : "wait_for",
                    .what = "value",
                    .own = "waiting while holding the value's lock: nobody could change the value",
                    .is_own = value_wait_is_own,
                    .is_met = value_wait_is_met,
                    .is_met_soon = value_wait_is_met_soon,
                    .sleep = value_wait_sleep},
        .word = word,
        .goal = {.leave = leave},
    };
    int met = wait_for_goal(&wait.waiting, args, nargs, kwnames);
    return met > 0            ? table_member(self->bound.table, aie_word_value(wait.seen))
           : met == 0 && look ? none()
                              : NULL;
}

static PyObject *value_wait_for(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    return value_wait((Value *)op, args, nargs, kwnames, false, 0);
}

static PyObject *value_wait_while(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames)
{
    return value_wait((Value *)op, args, nargs, kwnames, true, 0);
}

/* _atomic_look(later, leave, member, /, *members): what wait_for() or wait_while() would return at once. */
static PyObject *value_look(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    int how = look_of(args, nargs);
    return how < 0 ? NULL
                   : value_wait((Value *)op, args + 2, nargs - 2, NULL, how & LOOK_OTHER, how);
}

/* ---- comparing */

static PyObject *compare(long long left, long long right, int op)
{
    switch (op) {
    case Py_LT:
        return boolean(left < right);
    case Py_LE:
        return boolean(left <= right);
    case Py_EQ:
        return boolean(left == right);
    case Py_NE:
        return boolean(left != right);
    case Py_GT:
        return boolean(left > right);
    default:
        return boolean(left >= right);
    }
}

/* Comparison with an int of any size. */
static PyObject *compare_int(Value *self, PyObject *other, int op)
{
    int overflow;
    long long right = PyLong_AsLongLongAndOverflow(other, &overflow);
    if (right == -1 && !overflow && PyErr_Occurred()) {
        return NULL;
    }
    aie_word *word = value_word(self);
    if (word == NULL) {
        return NULL;
    }
    int32_t left = aie_word_value(aie_word_load(word));
    return overflow ? compare(0, overflow, op) : compare(left, right, op);
}

static PyObject *value_richcompare(PyObject *op_self, PyObject *other, int op)
{
    Value *self = (Value *)op_self;
    aie_word *word = value_word(self);
    if (word == NULL) {
        return NULL;
    }
    const Table *table = self->bound.table;
    const table_entry *entry = table_by_identity(table, other);
    if (entry != NULL) {
        return compare(aie_word_value(aie_word_load(word)), entry->number, op);
    }
    if (PyLong_Check(other)) {
        return compare_int(self, other, op);
    }
    if (PyObject_TypeCheck(other, table->state->value_type)) {
        aie_word *right = value_word((Value *)other);
        if (right == NULL) {
            return NULL;
        }
        if (((Value *)other)->bound.table->enum_type == table->enum_type) {
            int32_t left = aie_word_value(aie_word_load(word));
            return compare(left, aie_word_value(aie_word_load(right)), op);
        }
    }
    /* A name, or a TypeError: worded in Python, where it may also be asked of an override. */
    PyObject *equality = op == Py_EQ || op == Py_NE ? Py_True : Py_False;
    PyObject *operand =
        PyObject_CallMethodObjArgs(op_self, table->state->str_operand, other, equality, NULL);
    if (operand == NULL) {
        return NULL;
    }
    PyObject *result = NULL;
    if (PyLong_Check(operand)) {
        result = compare_int(self, operand, op);
    }
    else {
        PyErr_SetString(PyExc_TypeError, "the operand of a comparison is not an int");
    }
    Py_DECREF(operand);
    return result;
}

static Py_hash_t value_hash(PyObject *op)
{
    Value *self = (Value *)op;
    aie_word *word = value_word(self);
    if (word == NULL) {
        return -1;
    }
    int32_t number = aie_word_value(aie_word_load(word));
    PyObject *key = Py_BuildValue("(Oi)", self->bound.table->enum_type, (int)number);
    if (key == NULL) {
        return -1;
    }
    Py_hash_t hash = PyObject_Hash(key);
    Py_DECREF(key);
    return hash;
}
