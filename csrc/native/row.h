/* row.h -- Array: what IntEnumArray inherits: many state words of one segment.
 *
 * It is bound once and never again, so that a call that gave up the GIL, and a memoryview, find
 * what they started with; close() only marks it.
 */
#ifndef AIE_NATIVE_ROW_H
#define AIE_NATIVE_ROW_H

#include "goal.h"
#include "slow.h"
#include "view.h"

typedef enum { ARRAY_NEW, ARRAY_BINDING, ARRAY_OPEN, ARRAY_CLOSED } array_life;

typedef struct {
    PyObject_HEAD
    int life;        /* array_life; what follows does not change once it is open */
    aie_array words; /* nothing but addresses and sizes */
    Table *table;
    Mapping *mapping;
    PyObject *segment;
    PyObject *weakrefs;
    size_t found; /* where claim found one last; a hint */
} Array;

/* From so many words on, a walk over all of them gives up the GIL: it takes about 5 us, far more
 * than that costs. */
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
    if (FIELD_LOAD(self->life) != ARRAY_OPEN) {
        raise_closed("array");
        return false;
    }
    return true;
}

static bool array_is_closed(PyObject *op)
{
    return FIELD_LOAD(((Array *)op)->life) != ARRAY_OPEN;
}

/* As table_number, of an open array, which it may not be any more afterwards. */
static int array_number(Array *self, PyObject *object, int32_t *number)
{
    return array_is_open(self) ? table_number(self->table, (PyObject *)self, object, number) : -1;
}

/* An index that counts from the end if negative: its word, or -1 with IndexError. */
static Py_ssize_t array_index(Array *self, PyObject *key)
{
    Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
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
    aie_word *word = aie_array_word(words, (size_t)index);
    aie_result result = aie_word_change(word, words->event, change);
    if (result == AIE_LOCKED) {
        target to = {word,
                     aie_array_control(words, (size_t)index),
                     words->event,
                     self->mapping,
                     (PyObject *)self,
                     "array",
                     array_is_closed};
        return change_slow(&to, change);
    }
    return result == AIE_OK;
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
    return table_member(self->table, aie_array_value(&self->words, (size_t)index));
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
        PyObject *member = table_member(self->table, aie_array_value(&self->words, index));
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
    return index < 0 ? NULL
                     : table_member(self->table, aie_array_value(&self->words, (size_t)index));
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
    if (index < 0 || array_number(self, member, &change.desired) < 0) {
        return -1;
    }
    return array_change(self, index, &change) < 0 ? -1 : 0;
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
    return table_member(self->table, aie_word_value(change.seen));
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
    aie_array_read(&self->words, 0, count, values);
    WALK_ENDS();
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *member = table_member(self->table, values[i]);
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

/* Members further apart than this are looked up word by word: the lanes would not fit the cache. */
#define WIDEST_TALLY 1024

/* {member: counts[i]} in the enum's order, where `at` says which of the counts is a member's. */
static PyObject *counts_as_dict(const Table *table, const size_t *counts,
                                size_t (*at)(const Table *, const table_entry *))
{
    PyObject *dict = PyDict_New();
    for (uint32_t i = 0; dict != NULL && i < table->count; i++) {
        const table_entry *entry = &table->in_order[i];
        PyObject *found = PyLong_FromSize_t(counts[at(table, entry)]);
        if (found == NULL || PyDict_SetItem(dict, entry->member, found) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(found);
    }
    return dict;
}

static size_t at_number(const Table *table, const table_entry *entry)
{
    return (uint32_t)entry->number - (uint32_t)table->low;
}

static size_t at_slot(const Table *table, const table_entry *entry)
{
    return (size_t)(table_by_number(table, entry->number) - table->by_number);
}

/* The members lie close together: tallies by number.  1 if a word held no member's number. */
static int array_tally(const Array *self, size_t *tallies)
{
    const Table *table = self->table;
    aie_array_tally(&self->words, table->low, table->span, tallies + table->span + 1, tallies);
    size_t known = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        known += tallies[at_number(table, &table->in_order[i])];
    }
    return known != self->words.count;
}

/* They do not: counts by slot of the table. */
static int array_look_up(const Array *self, size_t *counts)
{
    const table_entry *entry = NULL;
    for (size_t i = 0; i < self->words.count; i++) {
        int32_t value = aie_array_value(&self->words, i);
        if (entry == NULL || entry->number != value) { /* neighbours are often alike */
            entry = table_by_number(self->table, value);
            if (entry == NULL) {
                return 1;
            }
        }
        counts[entry - self->table->by_number]++;
    }
    return 0;
}

/* A word holds no member's number: ValueError with it, or without if it is gone again. */
static PyObject *array_refuse_foreign(Array *self)
{
    for (size_t i = 0; i < self->words.count; i++) {
        int32_t value = aie_array_value(&self->words, i);
        if (table_by_number(self->table, value) == NULL) {
            return refuse_number(self->table, value);
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
    const Table *table = self->table;
    bool close_together = table->span >= 1 && table->span <= WIDEST_TALLY;
    size_t numbers =
        close_together ? (AIE_LANES + 1) * ((size_t)table->span + 1) : (size_t)table->mask + 1;
    size_t *counts = PyMem_Calloc(numbers, sizeof(*counts));
    if (counts == NULL) {
        return PyErr_NoMemory();
    }
    int foreign;
    WALK_BEGINS(self);
    foreign = close_together ? array_tally(self, counts) : array_look_up(self, counts);
    WALK_ENDS();
    PyObject *dict = foreign ? array_refuse_foreign(self)
                             : counts_as_dict(table, counts, close_together ? at_number : at_slot);
    PyMem_Free(counts);
    return dict;
}

static PyObject *array_fill(PyObject *op, PyObject *member)
{
    Array *self = (Array *)op;
    int32_t number;
    if (array_number(self, member, &number) < 0) {
        return NULL;
    }
    size_t next = 0;
    for (;;) {
        if (!array_is_open(self)) {
            return NULL;
        }
        WALK_BEGINS(self);
        next = aie_array_fill(&self->words, next, number);
        WALK_ENDS();
        if (next == self->words.count) {
            return none();
        }
        aie_change change = {.desired = number, .compare = false};
        if (array_change(self, (Py_ssize_t)next, &change) < 0) {
            return NULL;
        }
        next++;
    }
}

static PyObject *array_claim(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    static const char *const names[] = {"old", "new"};
    Array *self = (Array *)op;
    PyObject *parsed[2];
    int32_t old, new;
    if (parse_arguments("claim", args, nargs, kwnames, names, 2, 2, parsed) < 0
        || array_number(self, parsed[0], &old) < 0 || array_number(self, parsed[1], &new) < 0) {
        return NULL;
    }
    for (;;) {
        if (!array_is_open(self)) {
            return NULL;
        }
        /* relaxed: where to begin is a hint; any index does. */
        size_t index = __atomic_load_n(&self->found, __ATOMIC_RELAXED);
        aie_result result;
        WALK_BEGINS(self);
        result = aie_array_claim(&self->words, index, old, new, &index);
        WALK_ENDS();
        if (result == AIE_LOCKED) {
            if (PyErr_CheckSignals() < 0 || !array_is_open(self)) {
                return NULL;
            }
            Py_BEGIN_ALLOW_THREADS
            result = aie_array_claim_slice(&self->words, old, new, &index);
            Py_END_ALLOW_THREADS
            if (result == AIE_BUSY || result == AIE_MISMATCH) {
                continue; /* another word may match by now */
            }
        }
        if (result == AIE_OK) {
            __atomic_store_n(&self->found, index, __ATOMIC_RELAXED);
            return PyLong_FromSize_t(index);
        }
        if (result == AIE_MISMATCH) {
            return none();
        }
        raise_result(result);
        return NULL;
    }
}

/* ---- waiting */

/* One wait.  1 it is met, 0 the deadline is past, -1 with an exception. */
static int array_watch(Array *self, aie_watch *watch, int64_t deadline)
{
    const aie_array *words = &self->words;
    if (!array_is_open(self)) {
        return -1;
    }
    aie_result result;
    bool own = false;
    int64_t now = aie_now(); /* before the look: what came before the deadline is not too late */
    WALK_BEGINS(self);
    result = aie_watch_spinning(words, watch, 0); /* once */
    if (result != AIE_OK) {
        own = aie_watch_is_own(words, watch);
    }
    WALK_ENDS();
    if (result == AIE_OK) {
        return 1;
    }
    if (own) {
        PyErr_SetString(PyExc_RuntimeError, "waiting while holding the lock of a word that is "
                                            "waited for: nobody could change it");
        return -1;
    }
    if (now >= deadline) {
        return 0;
    }
    int64_t spin = aie_spin();
    Py_BEGIN_ALLOW_THREADS
    if (spin > 0) {
        int64_t until = aie_now() + spin;
        result = aie_watch_spinning(words, watch, until < deadline ? until : deadline);
    }
    if (result != AIE_OK) {
        result = aie_watch_sleeping(words, watch, deadline);
    }
    Py_END_ALLOW_THREADS
    while (result == AIE_AGAIN || result == AIE_INTERRUPTED) {
        if (PyErr_CheckSignals() < 0 || !array_is_open(self)) {
            return -1;
        }
        Py_BEGIN_ALLOW_THREADS
        result = aie_watch_sleeping(words, watch, deadline);
        Py_END_ALLOW_THREADS
    }
    if (!array_is_open(self)) { /* closed meanwhile, whatever came after */
        return -1;
    }
    return result == AIE_OK;
}

/* wait_all(member, /, *members, timeout=None) and wait_any: `all` tells which.  1 met; 0 with
 * TimeoutError and -1 with another exception. */
static int array_wait(Array *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                      bool all, size_t *index)
{
    wait_arguments wait = {.name = all ? "wait_all" : "wait_any"};
    if (wait_parse(&wait, args, nargs, kwnames) < 0) {
        return -1;
    }
    int met = -1;
    Py_ssize_t i = 0;
    while (i < nargs && array_number(self, args[i], &wait.values[i]) == 0) {
        i++;
    }
    if (i == nargs) {
        aie_watch watch = {.goal = {wait.values, (size_t)nargs, false}, .all = all, .index = 0};
        met = array_watch(self, &watch, wait.deadline);
        *index = watch.index;
        if (met == 0) {
            wait_in_vain(&wait);
        }
    }
    wait_done(&wait);
    return met;
}

static PyObject *array_wait_all(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    size_t index;
    return array_wait((Array *)op, args, nargs, kwnames, true, &index) > 0 ? none() : NULL;
}

static PyObject *array_wait_any(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    size_t index;
    if (array_wait((Array *)op, args, nargs, kwnames, false, &index) <= 0) {
        return NULL;
    }
    return PyLong_FromSize_t(index);
}

/* ---- the values as a buffer: read-only int32s, as far apart as the words */

static int array_getbuffer(PyObject *op, Py_buffer *buffer, int flags)
{
    Array *self = (Array *)op;
    buffer->obj = NULL;
    PyObject *view = array_is_open(self) ? view_new(self->mapping, &self->words) : NULL;
    if (view == NULL) {
        return -1;
    }
    int result = view_getbuffer(view, buffer, flags); /* which keeps the view */
    Py_DECREF(view);
    return result;
}

/* ---- its life */

static PyObject *array_bind(PyObject *op, PyTypeObject *defining_class, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames)
{
    Array *self = (Array *)op;
    module_state *state = PyType_GetModuleState(defining_class);
    if (state == NULL) {
        return NULL;
    }
    /* Not on a bare Array: those could be chained by the segment argument; see value_bind. */
    if (nargs != 8 || kwnames != NULL || Py_TYPE(args[0]) != state->table_type
        || Py_TYPE(args[1]) != state->mapping_type || args[7] != Py_None
        || Py_TYPE(op) == state->array_type) {
        PyErr_SetString(PyExc_TypeError,
                        "_atomic_bind(table, mapping, segment, count, word_offset, "
                        "word_stride, control_offset, None)");
        return NULL;
    }
    Py_ssize_t numbers[4]; /* count, word_offset, word_stride, control_offset */
    for (size_t i = 0; i < 4; i++) {
        numbers[i] = PyLong_AsSsize_t(args[3 + i]);
        if (numbers[i] == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    Mapping *mapping = (Mapping *)args[1];
    Py_ssize_t count = numbers[0], stride = numbers[2];
    if (count < 1 || stride < (Py_ssize_t)sizeof(aie_word)
        || stride % (Py_ssize_t)alignof(aie_word) != 0
        || count > mapping->size / (Py_ssize_t)sizeof(aie_control)
        || count > mapping->size / stride) {
        PyErr_Format(PyExc_ValueError, "%zd words, %zd bytes apart, do not fit", count, stride);
        return NULL;
    }
    Py_ssize_t bytes = (count - 1) * stride + (Py_ssize_t)sizeof(aie_word);
    unsigned char *words = mapping_at(mapping, numbers[1], bytes, alignof(aie_word));
    unsigned char *controls =
        words == NULL
            ? NULL
            : mapping_at(mapping, numbers[3], count * (Py_ssize_t)sizeof(aie_control), AIE_LINE);
    if (controls == NULL) {
        return NULL;
    }
    int fresh = ARRAY_NEW;
    /* acq_rel: one thread alone binds; who finds it open sees what it is bound to. */
    if (!__atomic_compare_exchange_n(&self->life, &fresh, ARRAY_BINDING, 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        PyErr_SetString(PyExc_RuntimeError, "this array was initialised before");
        return NULL;
    }
    self->words =
        (aie_array){words, controls, (size_t)stride, (size_t)count, mapping_event(mapping)};
    self->table = (Table *)Py_NewRef(args[0]);
    self->mapping = (Mapping *)Py_NewRef(args[1]);
    self->segment = Py_NewRef(args[2]);
    FIELD_STORE(self->life, ARRAY_OPEN);
    return none();
}

static PyObject *array_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Array *self = (Array *)op;
    int open = ARRAY_OPEN;
    /* release: nothing hangs on it; the fields stay.  One that was never open stays new. */
    __atomic_compare_exchange_n(&self->life, &open, ARRAY_CLOSED, 0, __ATOMIC_ACQ_REL,
                                __ATOMIC_ACQUIRE);
    return none();
}

static PyObject *array_get_segment(PyObject *op, void *Py_UNUSED(closure))
{
    Array *self = (Array *)op;
    return array_is_open(self) ? Py_NewRef(self->segment) : NULL;
}

static PyObject *array_get_vocabulary(PyObject *op, void *Py_UNUSED(closure))
{
    Array *self = (Array *)op;
    bool bound = FIELD_LOAD(self->life) >= ARRAY_OPEN;
    return Py_NewRef(bound ? self->table->vocabulary : Py_None);
}

static PyObject *array_get_guard(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    return none();
}

static int array_traverse(PyObject *op, visitproc visit, void *arg)
{
    Array *self = (Array *)op;
    Py_VISIT((PyObject *)Py_TYPE(op));
    Py_VISIT((PyObject *)self->table);
    Py_VISIT((PyObject *)self->mapping);
    Py_VISIT(self->segment);
    return 0;
}

static void array_dealloc(PyObject *op)
{
    Array *self = (Array *)op;
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    Py_XDECREF(self->segment);
    Py_XDECREF((PyObject *)self->mapping);
    Py_XDECREF((PyObject *)self->table);
    free_object(op);
}

static PyMethodDef array_methods[] = {
    {"exchange", FAST(array_exchange), FASTCALL,
     "exchange($self, /, index, member)\n--\n\n"
     "Set a word to a member (or name) and return its previous member, in one step."},
    {"compare_and_set", FAST(array_compare_and_set), FASTCALL,
     "compare_and_set($self, /, index, old, new)\n--\n\n"
     "If a word is old, make it new and return True, in one step; else return False.\n\n"
     "Of all processes that try at once, exactly one gets True.  False never waits."},
    {"claim", FAST(array_claim), FASTCALL,
     "claim($self, /, old, new)\n--\n\n"
     "Find a word that is old, make it new, and return its index; None if there is none.\n\n"
     "Nobody else gets that index: finding and making are one step.  Begins where this\n"
     "object found one last, passes over words that somebody holds the lock of while another\n"
     "matches, and looks at every word before it returns None.  Index 0 is false: ask for None."},
    {"snapshot", array_snapshot, METH_NOARGS,
     "snapshot($self, /)\n--\n\n"
     "The members of all words.\n\n"
     "Each is what its word truly was at some time of the call; they need not all have been so\n"
     "at one instant.  Raises ValueError if a word holds no member's number."},
    {"count", array_count, METH_O,
     "count($self, member, /)\n--\n\n"
     "How many words are this member (or name); each looked at once, as in snapshot()."},
    {"counts", array_counts, METH_NOARGS,
     "counts($self, /)\n--\n\n"
     "How many words are each member, for every member in the enum's order.\n\n"
     "Each word is looked at once, as in snapshot(), so the counts add up to the length.\n"
     "Raises ValueError if a word holds no member's number."},
    {"fill", array_fill, METH_O,
     "fill($self, member, /)\n--\n\n"
     "Set every word to a member (or name), one after the other.\n\n"
     "Waits for the lock of a word that somebody holds."},
    {"wait_all", FAST(array_wait_all), FASTCALL,
     "wait_all($self, member, /, *members, timeout=None)\n--\n\n"
     "Sleep until every word is one of the members (or names).\n\n"
     "Each word was so when it was looked at.  Raises TimeoutError after timeout seconds."},
    {"wait_any", FAST(array_wait_any), FASTCALL,
     "wait_any($self, member, /, *members, timeout=None)\n--\n\n"
     "Sleep until a word is one of the members (or names), and return the lowest such index.\n\n"
     "Raises TimeoutError after timeout seconds."},
    {"_atomic_bind", FAST(array_bind), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "_atomic_bind($self, /, *args)\n--\n\nPut the array on the words of a segment; once."},
    {"_atomic_close", array_close, METH_NOARGS,
     "_atomic_close($self, /)\n--\n\nMark the array closed."},
    {NULL, NULL, 0, NULL},
};

/* numpy.asarray() asks for this where the buffer is refused.  What that said it forgets, and would
 * make an array of one object, the closed array. */
static PyObject *array_get_interface(PyObject *op, void *Py_UNUSED(closure))
{
    if (array_is_open((Array *)op)) {
        PyErr_SetString(PyExc_AttributeError, "the values are there as a buffer");
    }
    return NULL;
}

static PyGetSetDef array_getset[] = {
    {"__array_interface__", array_get_interface, NULL, "None: there is the buffer.", NULL},
    {"_atomic_segment", array_get_segment, NULL, "The segment; ValueError once closed.", NULL},
    {"_atomic_vocabulary", array_get_vocabulary, NULL, "The vocabulary, or None.", NULL},
    {"_atomic_guard", array_get_guard, NULL, "None: writes take no lock.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef array_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Array, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(array_doc, "Array()\n--\n\nMany state words; IntEnumArray's base class.");

/* No tp_clear, as Table has none: an Array never changes once it is bound.  The collector clears a
 * cycle while another thread may be in a call with an object of it (a __release_buffer__ that runs
 * meanwhile can start one), and that call would lose the memory that it walks over.  Something else
 * of the cycle breaks it: an array refers to no other objects of a user's but by its __dict__. */
static PyType_Slot array_slots[] = {
    {Py_tp_doc, (void *)array_doc},
    {Py_tp_dealloc, (void *)array_dealloc},
    {Py_tp_traverse, (void *)array_traverse},
    {Py_tp_iter, (void *)PySeqIter_New},
    {Py_sq_length, (void *)array_length},
    {Py_sq_item, (void *)array_item},
    {Py_mp_length, (void *)array_length},
    {Py_mp_subscript, (void *)array_subscript},
    {Py_mp_ass_subscript, (void *)array_assign},
    {Py_bf_getbuffer, (void *)array_getbuffer},
    {Py_tp_methods, (void *)array_methods},
    {Py_tp_getset, (void *)array_getset},
    {Py_tp_members, (void *)array_members},
    {0, NULL},
};

static PyType_Spec array_spec = {
    .name = "atomic_intenum._native.Array",
    .basicsize = sizeof(Array),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = array_slots,
};

#endif
