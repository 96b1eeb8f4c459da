/* semlock.h -- Lock: what get_lock() returns is one of these, and what a multiprocessing RLock calls
 * its _semlock: the robust lock of one value.
 */
#pragma once

#include "mapping.h"

typedef struct {
    PyObject_HEAD
    Mapping *mapping;
    aie_word *word;
    aie_control *control;
    int abandoned; /* the last acquisition here took over from a dead holder */
} Lock;

static void lock_returned(void)
{
    atomic_fetch_sub_explicit(&aie_regions.returning, 1, memory_order_seq_cst);
}

/* As the interpreter begins to end, without the GIL: from here on no thread waits for the GIL with a
 * lock that it got without. */
static void lock_ends(void)
{
    atomic_store_explicit(&aie_regions.ending, true, memory_order_seq_cst);
    while (atomic_load_explicit(&aie_regions.returning, memory_order_seq_cst) != 0) {
        struct timespec pause = aie_timespec(AIE_NS_PER_S / 10000);
        nanosleep(&pause, NULL);
    }
}

/* False with RuntimeError where the lock cannot be had. */
static bool lock_is_here(Lock *self)
{
    if (self->mapping->region->elsewhere) {
        raise_result(AIE_ELSEWHERE);
        return false;
    }
    return true;
}

static void lock_dealloc(PyObject *op)
{
    Lock *self = (Lock *)op;
    if (self->mapping != NULL && !FIELD_LOAD(self->mapping->state->exiting)) {
        aie_region_leave_lock(self->mapping->region, self->control);
    }
    Py_XDECREF((PyObject *)self->mapping);
    free_object(op);
}

static PyObject *lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"mapping", "word_offset", "control_offset", NULL};
    PyObject *mapping;
    Py_ssize_t word_offset, control_offset;
    PyTypeObject *own = type; /* a subclass made in Python has no module of its own */
    while (PyType_GetSlot(own, Py_tp_dealloc) != (void *)lock_dealloc) {
        own = PyType_GetSlot(own, Py_tp_base);
    }
    module_state *state = PyType_GetModuleState(own);
    if (state == NULL
        || !PyArg_ParseTupleAndKeywords(args, kwargs, "O!nn:Lock", keywords, state->mapping_type,
                                        &mapping, &word_offset, &control_offset)) {
        return NULL;
    }
    aie_control *control;
    aie_word *word = mapping_word((Mapping *)mapping, word_offset, control_offset, &control);
    if (word == NULL) {
        return NULL;
    }
    /* By object's own tp_new: CPython 3.12 never calls methods by a short cut on an instance with a
     * __dict__ that any other one made. */
    newfunc make = (newfunc)PyType_GetSlot(&PyBaseObject_Type, Py_tp_new);
    PyObject *nothing = PyTuple_New(0);
    Lock *lock = nothing == NULL ? NULL : (Lock *)make(type, nothing, NULL);
    Py_XDECREF(nothing);
    if (lock == NULL) {
        return NULL;
    }
    lock->mapping = (Mapping *)Py_NewRef(mapping);
    lock->word = word;
    lock->control = control;
    if (!lock_is_here(lock)) {
        Py_CLEAR(lock);
    }
    return (PyObject *)lock;
}

/* Without the GIL, which a thread that has just got the lock waits for next: the end of the process
 * would stop it there, and others would be told of a death.  So lock_ends() waits for such threads;
 * who gets the lock later gives it back, and tries with the GIL. */
static bool lock_may_return(Lock *self)
{
    /* seq_cst, as lock_ends(): it sees this thread, or this thread sees it. */
    atomic_fetch_add_explicit(&aie_regions.returning, 1, memory_order_seq_cst);
    if (!atomic_load_explicit(&aie_regions.ending, memory_order_seq_cst)) {
        return true;
    }
    (void)aie_lock_release(self->control, self->word);
    lock_returned();
    return false;
}

/* The lock is somebody else's: wait until the deadline.  False with an exception. */
SLOW bool lock_wait(Lock *self, int64_t deadline, aie_result *result)
{
    for (bool first = true; *result == AIE_BUSY; first = false) {
        bool returns = false;
        int64_t now = aie_now();
        if (now >= deadline) {
            /* It may never have been tried, only left to who has waited long. */
            *result = aie_lock_try(self->control, self->word);
            break;
        }
        if (PyErr_CheckSignals() < 0) {
            return false;
        }
        int64_t slice = deadline - now < AIE_SLICE ? deadline : now + AIE_SLICE;
        Py_BEGIN_ALLOW_THREADS
        if (first) {
            aie_lock_step_back(self->control, slice);
        }
        *result = aie_lock_until(self->control, self->word, slice);
        returns = *result == AIE_OK && lock_may_return(self);
        Py_END_ALLOW_THREADS
        if (returns) {
            lock_returned();
        }
        else if (*result == AIE_OK) {
            *result = aie_lock_try(self->control, self->word);
        }
    }
    /* A signal that came in the last slice: if its handler raises, the lock is not held, or not
     * once more than the handler wants it to be; and the report of a death stays for the next. */
    if (*result == AIE_OK && PyErr_CheckSignals() < 0) {
        (void)aie_lock_release(self->control, self->word);
        return false;
    }
    return true;
}

/* `quietly`, for a write: the report of a death stays for an explicit acquire. */
AIE_ALWAYS PyObject *lock_acquire_until(Lock *self, int64_t deadline, bool quietly)
{
    if (!lock_is_here(self)) {
        return NULL;
    }
    /* Try with the GIL held: an uncontended lock costs no thread switch. */
    aie_result result = deadline == 0 ? aie_lock_try(self->control, self->word)
                                      : aie_lock_first(self->control, self->word);
    if (result == AIE_BUSY && !lock_wait(self, deadline, &result)) {
        return NULL;
    }
    if (result != AIE_OK) {
        return result == AIE_BUSY ? boolean(0) : raise_result(result);
    }
    if (!quietly && aie_lock_depth(self->control) == 1) {
        FIELD_STORE(self->abandoned, aie_lock_take_report(self->control));
    }
    return boolean(1);
}

SLOW PyObject *lock_acquire_by(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    static const char *const names[] = {"block", "timeout"};
    PyObject *parsed[2];
    if (parse_arguments("acquire", args, nargs, kwnames, names, 0, 2, parsed) < 0) {
        return NULL;
    }
    int block = parsed[0] == NULL ? 1 : PyObject_IsTrue(parsed[0]);
    int64_t deadline;
    if (block < 0 || timeout_deadline(parsed[1], false, &deadline) < 0) {
        return NULL;
    }
    return lock_acquire_until((Lock *)op, block ? deadline : 0, false);
}

static PyObject *lock_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    return nargs == 0 && kwnames == NULL ? lock_acquire_until((Lock *)op, INT64_MAX, false)
                                         : lock_acquire_by(op, args, nargs, kwnames);
}

static PyObject *lock_release(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (!lock_is_here((Lock *)op)) {
        return NULL;
    }
    aie_result result = aie_lock_release(((Lock *)op)->control, ((Lock *)op)->word);
    return result == AIE_OK ? none() : raise_result(result);
}

static PyObject *lock_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return lock_acquire_until((Lock *)op, INT64_MAX, false);
}

static PyObject *lock_acquire_quietly(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return lock_acquire_until((Lock *)op, INT64_MAX, true);
}

static PyObject *lock_exit(PyObject *op, PyObject *const *Py_UNUSED(args),
                           Py_ssize_t Py_UNUSED(nargs))
{
    return lock_release(op, NULL);
}

static PyObject *lock_is_mine(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Lock *self = (Lock *)op;
    return boolean(!self->mapping->region->elsewhere
                   && aie_lock_is_mine(self->control, self->word));
}

static PyObject *lock_count(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Lock *self = (Lock *)op;
    bool elsewhere = self->mapping->region->elsewhere;
    return PyLong_FromUnsignedLong(elsewhere ? 0 : aie_lock_depth_in_process(self->control));
}

static bool lock_is_taken(Lock *self)
{
    return aie_word_load(self->word) & AIE_LOCKED_BIT;
}

static PyObject *lock_get_value(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(!lock_is_taken((Lock *)op));
}

static PyObject *lock_is_zero(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return boolean(lock_is_taken((Lock *)op));
}

static PyObject *lock_get_abandoned(PyObject *op, void *Py_UNUSED(closure))
{
    return boolean(FIELD_LOAD(((Lock *)op)->abandoned));
}

static PyMethodDef lock_methods[] = {
    {"acquire", FAST(lock_acquire), FASTCALL,
     "acquire($self, /, block=True, timeout=None)\n--\n\n"
     "Acquire the lock: True, or False if block is false or timeout seconds have passed.\n\n"
     "Re-entrant.  Raises RuntimeError if this thread holds 1,024 such locks already."},
    {"release", lock_release, METH_NOARGS,
     "release($self, /)\n--\n\n"
     "Undo one acquire.  Raises RuntimeError, and changes nothing, if this thread does not\n"
     "hold the lock."},
    {"acquire_quietly", lock_acquire_quietly, METH_NOARGS,
     "acquire_quietly($self, /)\n--\n\n"
     "Acquire for a write: the report of a holder's death stays for an explicit acquire."},
    {"__enter__", lock_enter, METH_NOARGS, "__enter__($self, /)\n--\n\nAcquire."},
    {"__exit__", FAST(lock_exit), METH_FASTCALL, "__exit__($self, /, *args)\n--\n\nRelease."},
    {"_count", lock_count, METH_NOARGS, "_count($self, /)\n--\n\n"},
    {"_is_mine", lock_is_mine, METH_NOARGS, "_is_mine($self, /)\n--\n\n"},
    {"_get_value", lock_get_value, METH_NOARGS, "_get_value($self, /)\n--\n\n"},
    {"_is_zero", lock_is_zero, METH_NOARGS, "_is_zero($self, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef lock_getset[] = {
    {"abandoned", lock_get_abandoned, NULL,
     "Whether the last acquisition here took over from a holder that died.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(lock_doc, "Lock(mapping, word_offset, control_offset)\n--\n\n"
                       "The robust, re-entrant lock of one value, as multiprocessing's SemLock.");

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, (void *)lock_doc},         {Py_tp_new, (void *)lock_new},
    {Py_tp_dealloc, (void *)lock_dealloc}, {Py_tp_methods, (void *)lock_methods},
    {Py_tp_getset, (void *)lock_getset},   {0, NULL},
};

static PyType_Spec lock_spec = {
    .name = "atomic_intenum._native.Lock",
    .basicsize = sizeof(Lock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = lock_slots,
};
