/* row_methods.h -- Array, the object, and what it does with one word, with all, and by waiting. */
#pragma once

#include "wait.h"
#include "write.h"

typedef struct {
    Bound bound;
    aie_array words; /* nothing but addresses and sizes */
    size_t found;    /* where claim found one last; a hint */
} Array;

/* A walk over so many words takes about 5 us, far more than giving up the GIL costs. */
#define LARGE 8192

#define WALK_BEGINS(self) \
    PyThreadState *walking = (self)->words.count >= LARGE ? PyEval_SaveThread() : NULL
#define WALK_ENDS()                        \
    do {                                   \
        if (walking != NULL) {             \
            PyEval_RestoreThread(walking); \
        }                                  \
    } while (0)

static bool array_is_open(Array *self)
{
    return bound_is_open(&self->bound, "array");
}

/* The words, with their control blocks where those mean something: see bound_control. */
static aie_array array_words(Array *self)
{
    aie_array words = self->words;
    words.controls = bound_control(&self->bound, words.controls);
    return words;
}

/* As table_number.  The array is open before; Python code that runs may close it. */
static int array_number(Array *self, PyObject *object, int32_t *number)
{
    return array_is_open(self) ? table_number(self->bound.table, (PyObject *)self, object, number)
                               : -1;
}

/* An index that counts from the end if negative: its word, or -1 with IndexError. */
static Py_ssize_t array_index(Array *self, PyObject *key)
{
    /* A plain int needs no __index__; one that is too large gets its error below. */
    Py_ssize_t index = PyLong_CheckExact(key) ? PyLong_AsSsize_t(key) : -1;
    if (index == -1) {
        PyErr_Clear();
        index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    }
    if ((index == -1 && PyErr_Occurred()) || !array_is_open(self)) {
        return -1;
    }
    Py_ssize_t count = (Py_ssize_t)self->words.count;
    if (index < -count || index >= count) {
        PyErr_Format(PyExc_IndexError, "index %zd is outside of an array of %zd", index, count);
        return -1;
    }
    return index < 0 ? index + count : index;
}

/* 1 written, 0 mismatch, -1 with an exception. */
static int array_change(Array *self, Py_ssize_t index, aie_change *change)
{
    if (!array_is_open(self)) {
        return -1;
    }
    const aie_array *words = &self->words;
    target to = {aie_array_word(words, (size_t)index),
                 aie_array_control(words, (size_t)index),
                 words->event,
                 &self->bound,
                 "array",
                 words->owners};
    return change_word(&to, change);
}

/* ---- one word */

static Py_ssize_t array_length(PyObject *op)
{
    Array *self = (Array *)op;
    return array_is_open(self) ? (Py_ssize_t)self->words.count : -1;
}

/* For iteration, which counts up until IndexError. */
static PyObject *array_item(PyObject *op, Py_ssize_t index)
{
    Array *self = (Array *)op;
    if (!array_is_open(self)) {
        return NULL;
    }
    if (index < 0 || (size_t)index >= self->words.count) {
        PyErr_SetString(PyExc_IndexError, "index outside of the array");
        return NULL;
    }
    return table_member(self->bound.table, aie_array_value(&self->words, (size_t)index));
}

static PyObject *array_slice(Array *self, PyObject *slice)
{
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(slice, &start, &stop, &step) < 0 || !array_is_open(self)) {
        return NULL;
    }
    Py_ssize_t count = PySlice_AdjustIndices((Py_ssize_t)self->words.count, &start, &stop, step);
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        size_t index = (size_t)(start + i * step);
        PyObject *member = table_member(self->bound.table, aie_array_value(&self->words, index));
        if (member == NULL || PyList_SetItem(list, i, member) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *array_subscript(PyObject *op, PyObject *key)
{
    Array *self = (Array *)op;
    if (PySlice_Check(key)) {
        return array_slice(self, key);
    }
    Py_ssize_t index = array_index(self, key);
    return index < 0
               ? NULL
               : table_member(self->bound.table, aie_array_value(&self->words, (size_t)index));
}

static int array_assign(PyObject *op, PyObject *key, PyObject *member)
{
    Array *self = (Array *)op;
    if (member == NULL || PySlice_Check(key)) {
        PyErr_SetString(PyExc_TypeError, member == NULL ? "the words of an array stay: none can be "
                                                          "deleted"
                                                        : "a slice cannot be assigned: each word "
                                                          "is written by itself");
        return -1;
    }
    aie_change change = {.compare = false};
    Py_ssize_t index = array_index(self, key);
    if (index < 0) {
        return -1;
    }
    const table_entry *entry = table_by_identity(self->bound.table, member);
    if (entry != NULL && self->words.owners == NULL) {
        /* No Python code runs, so it is still open. */
        change.desired = entry->number;
        aie_word *word = aie_array_word(&self->words, (size_t)index);
        if (aie_word_change(word, self->words.event, &change) == AIE_OK) {
            return 0;
        }
    }
    return array_number(self, member, &change.desired) < 0 || array_change(self, index, &change) < 0
               ? -1
               : 0;
}

static PyObject *array_exchange(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    static const char *const names[] = {"index", "member"};
    Array *self = (Array *)op;
    PyObject *parsed[2];
    if (parse_arguments("exchange", args, nargs, kwnames, names, 2, 2, parsed) < 0) {
        return NULL;
    }
    aie_change change = {.compare = false};
    Py_ssize_t index = array_index(self, parsed[0]);
    if (index < 0 || array_number(self, parsed[1], &change.desired) < 0
        || array_change(self, index, &change) < 0) {
        return NULL;
    }
    return table_member(self->bound.table, aie_word_value(change.seen));
}

static PyObject *array_compare_and_set(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                       PyObject *kwnames)
{
    static const char *const names[] = {"index", "old", "new"};
    Array *self = (Array *)op;
    PyObject *parsed[3];
    if (parse_arguments("compare_and_set", args, nargs, kwnames, names, 3, 3, parsed) < 0) {
        return NULL;
    }
    aie_change change = {.compare = true};
    Py_ssize_t index = array_index(self, parsed[0]);
    if (index < 0 || array_number(self, parsed[1], &change.expected) < 0
        || array_number(self, parsed[2], &change.desired) < 0) {
        return NULL;
    }
    int written = array_change(self, index, &change);
    return written < 0 ? NULL : boolean(written);
}

/* ---- all of them */

static PyObject *array_snapshot(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Array *self = (Array *)op;
    if (!array_is_open(self)) {
        return NULL;
    }
    size_t count = self->words.count;
    int32_t *values = PyMem_Malloc(count * sizeof(*values));
    if (values == NULL) {
        return PyErr_NoMemory();
    }
    WALK_BEGINS(self);
    aie_array_read(&self->words, values);
    WALK_ENDS();
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *member = table_member(self->bound.table, values[i]);
        if (member == NULL || PyList_SetItem(list, (Py_ssize_t)i, member) < 0) {
            Py_CLEAR(list);
        }
    }
    PyMem_Free(values);
    return list;
}

static PyObject *array_count(PyObject *op, PyObject *member)
{
    Array *self = (Array *)op;
    int32_t number;
    if (array_number(self, member, &number) < 0 || !array_is_open(self)) {
        return NULL;
    }
    size_t found;
    WALK_BEGINS(self);
    found = aie_array_count(&self->words, number);
    WALK_ENDS();
    return PyLong_FromSize_t(found);
}

/* Members further apart than this are looked up word by word. */
#define WIDEST_TALLY 1024

/* counts[i]: how many words are the enum's i-th member.  False: one held no member's number. */
static bool array_tally(const Array *self, size_t *counts)
{
    const Table *table = self->bound.table;
    size_t known = 0;
    if (table->span >= 1 && table->span <= WIDEST_TALLY) {
        size_t tallies[WIDEST_TALLY + 1];
        aie_array_tally(&self->words, table->low, table->span, tallies);
        for (uint32_t i = 0; i < table->count; i++) {
            counts[i] = tallies[(uint32_t)table->in_order[i].number - (uint32_t)table->low];
            known += counts[i];
        }
        return known == self->words.count;
    }
    const table_entry *entry = NULL;
    for (size_t i = 0; i < self->words.count; i++) {
        int32_t value = aie_array_value(&self->words, i);
        if (entry == NULL || entry->number != value) { /* neighbours are often alike */
            entry = table_by_number(table, value);
            if (entry == NULL) {
                return false;
            }
        }
        counts[entry->position]++;
    }
    return true;
}

/* A word held no member's number: ValueError, which names the number if a word still holds it. */
static PyObject *array_refuse_foreign(Array *self)
{
    for (size_t i = 0; i < self->words.count; i++) {
        int32_t value = aie_array_value(&self->words, i);
        if (table_by_number(self->bound.table, value) == NULL) {
            return refuse_number(self->bound.table, value);
        }
    }
    PyErr_SetString(PyExc_ValueError, "a word held no member's value for a moment");
    return NULL;
}

static PyObject *array_counts(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Array *self = (Array *)op;
    if (!array_is_open(self)) {
        return NULL;
    }
    const Table *table = self->bound.table;
    size_t *counts = PyMem_Calloc((size_t)table->count + 1, sizeof(*counts));
    if (counts == NULL) {
        return PyErr_NoMemory();
    }
    bool known;
    WALK_BEGINS(self);
    known = array_tally(self, counts);
    WALK_ENDS();
    PyObject *dict = known ? PyDict_New() : array_refuse_foreign(self);
    for (uint32_t i = 0; dict != NULL && i < table->count; i++) {
        PyObject *found = PyLong_FromSize_t(counts[i]);
        if (found == NULL || PyDict_SetItem(dict, table->in_order[i].member, found) < 0) {
            Py_CLEAR(dict);
            if (PyErr_ExceptionMatches(
                    PyExc_TypeError)) { /* the enum made its members unhashable */
                PyErr_Clear();
                Py_XDECREF(PyObject_CallMethod(table->vocabulary, "refuse_as_keys", NULL));
            }
        }
        Py_XDECREF(found);
    }
    PyMem_Free(counts);
    return dict;
}

static PyObject *array_fill(PyObject *op, PyObject *member)
{
    Array *self = (Array *)op;
    aie_change change = {.compare = false};
    if (array_number(self, member, &change.desired) < 0) {
        return NULL;
    }
    size_t next = 0;
    for (;;) {
        if (!array_is_open(self)
            || change_leases(&self->bound, "array", &self->words, &change) < 0) {
            return NULL;
        }
        WALK_BEGINS(self);
        next = aie_array_fill(&self->words, next, &change);
        WALK_ENDS();
        if (next == self->words.count) {
            return none();
        }
        if (array_change(self, (Py_ssize_t)next, &change) < 0) {
            return NULL;
        }
        next++;
    }
}

/* ---- waiting */

typedef struct {
    waiter waiting;
    aie_array words;
    aie_watch watch;
} array_waiter;

static int array_wait_is_own(waiter *waiting)
{
    array_waiter *wait = (array_waiter *)waiting;
    int own;
    WALK_BEGINS((Array *)waiting->of);
    own = aie_watch_is_own(&wait->words, &wait->watch);
    WALK_ENDS();
    return own;
}

static bool array_wait_is_met(waiter *waiting)
{
    array_waiter *wait = (array_waiter *)waiting;
    bool met;
    WALK_BEGINS((Array *)waiting->of);
    met = aie_watch_met(&wait->words, &wait->watch);
    WALK_ENDS();
    return met;
}

static aie_result array_wait_sleep(waiter *waiting, int64_t deadline, bool spin)
{
    array_waiter *wait = (array_waiter *)waiting;
    return aie_watch_await(&wait->words, &wait->watch, deadline, spin);
}

/* A wait, of an open array; the rest of `wait` is what it waits for. */
static void array_wait_begins(Array *self, array_waiter *wait, const char *name)
{
    wait->words = array_words(self);
    wait->waiting = (waiter){
        .of = &self->bound,
        .goal = &wait->watch.goal,
        .name = name,
        .what = "array",
        .own = "waiting while holding the lock of a word that is waited for: nobody "
               "could change it",
        .owned = self->words.owners == NULL ? NULL : &wait->words,
        .is_own = array_wait_is_own,
        .is_met = array_wait_is_met,
        .sleep = array_wait_sleep,
    };
}

/* wait_all(member, /, *members, timeout=None) and wait_any: `all` tells which.  `look`: it
 * looks once, and returns None if it is not so. */
static PyObject *array_wait(Array *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                            bool all, int look)
{
    if (!array_is_open(self)) {
        return NULL;
    }
    array_waiter wait = {.watch = {.all = all}};
    array_wait_begins(self, &wait, all ? "wait_all" : "wait_any");
    wait.waiting.once = look & LOOK;
    wait.waiting.later = look & LOOK_LATER;
    int met = wait_for_goal(&wait.waiting, args, nargs, kwnames);
    if (met <= 0) {
        return met == 0 && look ? none() : NULL;
    }
    return !all ? PyLong_FromSize_t(wait.watch.index) : look ? boolean(true) : none();
}

/* _atomic_look(later, every, member, /, *members): what wait_any() would return at once, or for `every`
 * whether wait_all() would. */
static PyObject *array_look(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    int how = look_of(args, nargs);
    return how < 0 ? NULL
                   : array_wait((Array *)op, args + 2, nargs - 2, NULL, how & LOOK_OTHER, how);
}

static PyObject *array_wait_all(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    return array_wait((Array *)op, args, nargs, kwnames, true, 0);
}

static PyObject *array_wait_any(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    return array_wait((Array *)op, args, nargs, kwnames, false, 0);
}

/* _atomic_moved(before, timeout): the values of all words, as bytes, once one differs from `before`
 * (None: at once); None when the time is over. */
static PyObject *array_moved(PyObject *op, PyObject *args)
{
    Array *self = (Array *)op;
    Py_buffer before = {.buf = NULL};
    PyObject *timeout;
    int64_t deadline;
    if (!PyArg_ParseTuple(args, "z*O:_atomic_moved", &before, &timeout)) {
        return NULL;
    }
    int moved = -1;
    if (timeout_deadline(timeout, true, &deadline) == 0 && array_is_open(self)) {
        Py_ssize_t bytes = (Py_ssize_t)(self->words.count * sizeof(int32_t));
        array_waiter wait = {.watch = {.before = before.buf}};
        array_wait_begins(self, &wait, "changes");
        moved = before.buf == NULL    ? 1
                : before.len == bytes ? wait_until(&wait.waiting, deadline)
                                      : 0;
    }
    PyBuffer_Release(&before);
    if (moved <= 0) {
        return moved < 0 ? NULL : none();
    }
    PyObject *values =
        PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(self->words.count * sizeof(int32_t)));
    if (values != NULL) {
        aie_array_read(&self->words, (int32_t *)(void *)PyBytes_AsString(values));
    }
    return values;
}
