/* claim.h -- Array, and finding a word in it that can be had. */
#pragma once

#include "row_methods.h"

/* Give back what dead processes own: 1 something, 0 nothing, -1 it was closed meanwhile. */
static int array_recovers(Array *self, bool at_once)
{
    if (self->words.owners == NULL) {
        return 0;
    }
    aie_array words = array_words(self);
    size_t given;
    Py_BEGIN_ALLOW_THREADS
    given = aie_owners_recover(&words, at_once, NULL);
    Py_END_ALLOW_THREADS
    return array_is_open(self) ? given > 0 : -1;
}

/* Of words that match the locks are held: try each, and wait a moment for one, unless it is `late`, looking
 * at signals, and for words whose owners have died. */
static aie_result array_claim_locked(Array *self, aie_change *change, size_t *index, bool late)
{
    int leases = PyErr_CheckSignals() < 0 || !array_is_open(self)
                     ? -1
                     : change_leases(&self->bound, "array", &self->words, change);
    int given = leases > 0 ? array_recovers(self, false) : leases;
    if (leases < 0 || given < 0) {
        return AIE_INTERRUPTED;
    }
    aie_result result = AIE_MISMATCH;
    if (leases > 0 && given == 0) {
        aie_array words = array_words(self);
        Py_BEGIN_ALLOW_THREADS
        result = aie_array_claim_slice(&words, change, index, late ? 0 : AIE_CLAIM_SLICE,
                                       self->words.owners == NULL ? NULL : aie_owners_judge);
        Py_END_ALLOW_THREADS
    }
    return result;
}

/* Claim now: 1 and the index, 0 there is none, -1 with an exception.  It waits for the locks of words
 * that match, until the deadline, if that is positive. */
static int array_claim_now(Array *self, aie_change *change, int64_t deadline, size_t *index)
{
    for (;;) {
        int leases =
            array_is_open(self) ? change_leases(&self->bound, "array", &self->words, change) : -1;
        if (leases <= 0) {
            return leases;
        }
        /* relaxed: where to begin is a hint; any index does. */
        *index = __atomic_load_n(&self->found, __ATOMIC_RELAXED);
        aie_result result;
        aie_array words = array_words(self);
        WALK_BEGINS(self);
        result = words.owners == NULL
                     ? aie_array_claim(&words, *index, change, index, NULL)
                     : aie_array_claim(&words, *index, change, index, aie_owners_judge);
        WALK_ENDS();
        if (result == AIE_LOCKED) {
            bool late = deadline > 0 && aie_now() >= deadline;
            result = array_claim_locked(self, change, index, late);
            if (result == AIE_BUSY || result == AIE_MISMATCH) {
                if (late) {
                    return 0;
                }
                continue; /* another word may match by now */
            }
        }
        if (result == AIE_OK) {
            __atomic_store_n(&self->found, *index, __ATOMIC_RELAXED);
            return 1;
        }
        if (result == AIE_MISMATCH) {
            return 0;
        }
        if (result != AIE_INTERRUPTED) {
            raise_result(result);
        }
        return -1;
    }
}

/* The same; and before it says that there is none, it looks for dead owners. */
static int array_claim_at_last(Array *self, aie_change *change, int64_t deadline, size_t *index)
{
    int claimed;
    do {
        claimed = array_claim_now(self, change, deadline, index);
    } while (claimed == 0 && (claimed = array_recovers(self, true)) > 0);
    return claimed;
}

SLOW int array_claim_waiting(Array *self, aie_change *change, int64_t deadline, size_t *index)
{
    array_waiter wait = {.watch = {.goal = {&change->expected, 1, false}}};
    array_wait_begins(self, &wait, "claim");
    int claimed = 0;
    do {
        if (wait_until(&wait.waiting, deadline) < 0) {
            return -1;
        }
        claimed = array_claim_now(self, change, deadline, index);
    } while (claimed == 0 && aie_now() < deadline);
    return claimed == 0 ? array_claim_at_last(self, change, deadline, index) : claimed;
}

/* claim(old, new, *, timeout=0.0) */
static PyObject *array_claim(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    static const char *const names[] = {"old", "new", "timeout"};
    Array *self = (Array *)op;
    PyObject *parsed[3];
    aie_change change = {.compare = true};
    int64_t deadline = 0;
    if (nargs > 2) {
        PyErr_Format(PyExc_TypeError, "claim() takes 2 positional arguments (%zd given)", nargs);
        return NULL;
    }
    if (parse_arguments("claim", args, nargs, kwnames, names, 2, 3, parsed) < 0
        || (parsed[2] != NULL && timeout_deadline(parsed[2], true, &deadline) < 0)
        || array_number(self, parsed[0], &change.expected) < 0
        || array_number(self, parsed[1], &change.desired) < 0) {
        return NULL;
    }
    size_t index;
    int claimed = array_claim_at_last(self, &change, deadline, &index);
    if (claimed == 0 && deadline != 0) {
        claimed = array_claim_waiting(self, &change, deadline, &index);
    }
    return claimed < 0 ? NULL : claimed == 0 ? none() : PyLong_FromSize_t(index);
}

/* _atomic_claim_once(old, new): the index; -1, somebody holds the locks of all that match; or None. */
static PyObject *array_claim_once(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    Array *self = (Array *)op;
    aie_change change = {.compare = true};
    size_t index;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "_atomic_claim_once() takes old and new");
        return NULL;
    }
    if (array_number(self, args[0], &change.expected) < 0
        || array_number(self, args[1], &change.desired) < 0) {
        return NULL;
    }
    int claimed = array_claim_at_last(self, &change, 1, &index);
    if (claimed == 0 && aie_array_count(&self->words, change.expected) > 0) {
        return PyLong_FromLong(-1);
    }
    return claimed < 0 ? NULL : claimed == 0 ? none() : PyLong_FromSize_t(index);
}
