/* wait.h -- every wait of a value or an array: its arguments (member, /, *members, timeout=None),
 * and the loop that looks, sleeps and looks again.
 */
#pragma once

#include "bound.h"

/* What is waited for.  The caller holds on to what it is of, and so to the memory behind it. */
typedef struct waiter {
    Bound *of;
    aie_goal *goal;
    const char *name;       /* of the method */
    const char *what;       /* it is of, for an error */
    const char *own;        /* the error where only this thread could end the wait */
    const aie_array *owned; /* its words, if somebody can own them, or NULL */
    bool once;              /* it is one look, and no error if it finds nothing */
    bool later; /* it is not the first one: others of this thread may hold the lock by now */
    /* Whether this thread holds the lock that would be needed to end it: 1, 0, or -1 with an
     * exception. */
    int (*is_own)(struct waiter *);
    bool (*is_met)(struct waiter *);      /* one look */
    bool (*is_met_soon)(struct waiter *); /* looks for about a microsecond, with the GIL; or NULL */
    /* The core's: spin, if it may, and sleep once. */
    aie_result (*sleep)(struct waiter *, int64_t deadline, bool spin);
} waiter;

/* False with ValueError: it was closed, by Python code that ran, or meanwhile. */
static bool wait_goes_on(const waiter *waiting)
{
    return bound_is_open(waiting->of, waiting->what);
}

/* The deadline is past: TimeoutError, worded in Python, by what the members were given as. */
static void raise_timed_out(const waiter *waiting, PyObject *const *members, Py_ssize_t count,
                            PyObject *timeout)
{
    PyObject *given = PyTuple_New(count);
    for (Py_ssize_t i = 0; given != NULL && i < count; i++) {
        PyTuple_SetItem(given, i, Py_NewRef(members[i]));
    }
    if (given != NULL) {
        PyObject *none_comes = PyObject_CallMethod((PyObject *)waiting->of, "_atomic_timed_out",
                                                   "sNO", waiting->name, given, timeout);
        Py_XDECREF(none_comes);
    }
}

/* Sleep once, without the GIL, and see to words whose owners have died, each AIE_NOTICE. */
static aie_result wait_sleeps(waiter *waiting, int64_t deadline, bool spin, int64_t *notice)
{
    if (waiting->owned == NULL) {
        return waiting->sleep(waiting, deadline, spin);
    }
    aie_result result = waiting->sleep(waiting, deadline < *notice ? deadline : *notice, spin);
    int64_t now = aie_now();
    if (result != AIE_OK && now >= *notice) {
        aie_owners_recover(waiting->owned, false, NULL);
        *notice = now + AIE_NOTICE;
    }
    return result == AIE_BUSY && now < deadline ? AIE_AGAIN : result;
}

/* 1 it is met, 0 the deadline is past, -1 with an exception. */
static int wait_until(waiter *waiting, int64_t deadline)
{
    int64_t now = aie_now(); /* before the look: what came before the deadline is not too late */
    int64_t notice = now + AIE_ASK_AGAIN; /* who was asked shortly before is asked then */
    if (waiting->owned != NULL) {
        Py_BEGIN_ALLOW_THREADS
        aie_owners_recover(waiting->owned, false, NULL);
        Py_END_ALLOW_THREADS
        if (!wait_goes_on(waiting)) {
            return -1;
        }
    }
    if (waiting->is_met(waiting)) {
        return 1;
    }
    int own = waiting->later ? 0 : waiting->is_own(waiting);
    if (own > 0) {
        PyErr_SetString(PyExc_RuntimeError, waiting->own);
    }
    if (own != 0 || !wait_goes_on(waiting)) { /* asking a given lock runs Python code */
        return -1;
    }
    if (now >= deadline) {
        return waiting->is_met(waiting); /* it may have come meanwhile */
    }
    /* The first looks keep the GIL: if the other process spins, its answer comes sooner than the
     * GIL can be let go of and taken again. */
    if (aie_spin() > 0 && waiting->is_met_soon != NULL && waiting->is_met_soon(waiting)) {
        return wait_goes_on(waiting) ? 1 : -1; /* closed meanwhile, without the GIL */
    }
    aie_result result;
    bool spin = true;
    for (;;) {
        Py_BEGIN_ALLOW_THREADS
        result = wait_sleeps(waiting, deadline, spin, &notice);
        Py_END_ALLOW_THREADS
        if (result != AIE_AGAIN && result != AIE_INTERRUPTED) {
            break;
        }
        if (PyErr_CheckSignals() < 0 || !wait_goes_on(waiting)) {
            return -1;
        }
        spin = false;
    }
    return !wait_goes_on(waiting) ? -1 : result == AIE_OK; /* closed, whatever came after */
}

/* A method that waits: the members of its arguments are the goal's.  1 met, 0 with TimeoutError (but
 * none if it looks once), -1 with another exception. */
static int wait_for_goal(waiter *waiting, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    PyObject *timeout = NULL;
    int64_t deadline;
    if (nargs < 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes at least one member", waiting->name);
        return -1;
    }
    if (kwnames != NULL && PyTuple_Size(kwnames) > 0) {
        PyObject *keyword = PyTuple_GetItem(kwnames, 0);
        if (PyTuple_Size(kwnames) > 1
            || PyUnicode_CompareWithASCIIString(keyword, "timeout") != 0) {
            PyErr_Format(PyExc_TypeError, "%s() takes one keyword argument, timeout",
                         waiting->name);
            return -1;
        }
        timeout = args[nargs];
    }
    if (timeout_deadline(timeout, true, &deadline) < 0) {
        return -1;
    }
    deadline = waiting->once ? 0 : deadline;
    int32_t *values = PyMem_Malloc((size_t)nargs * sizeof(*values));
    if (values == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    int met = -1;
    Py_ssize_t i = 0;
    while (i < nargs && wait_goes_on(waiting)
           && table_number(waiting->of->table, (PyObject *)waiting->of, args[i], &values[i]) == 0) {
        i++;
    }
    if (i == nargs && wait_goes_on(waiting)) {
        waiting->goal->values = values;
        waiting->goal->count = (size_t)nargs;
        met = wait_until(waiting, deadline);
    }
    if (met == 0 && !waiting->once) {
        raise_timed_out(waiting, args, nargs, timeout);
    }
    PyMem_Free(values);
    return met;
}

/* How _atomic_look looks: not for the first time; for the other of the two waits. */
enum { LOOK = 1, LOOK_LATER = 2, LOOK_OTHER = 4 };

/* By its first two arguments; -1 with an exception. */
static int look_of(PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 2) {
        PyErr_SetString(PyExc_TypeError, "_atomic_look() takes two bools, and members");
        return -1;
    }
    int later = PyObject_IsTrue(args[0]);
    int other = later < 0 ? -1 : PyObject_IsTrue(args[1]);
    return other < 0 ? -1 : LOOK | (later ? LOOK_LATER : 0) | (other ? LOOK_OTHER : 0);
}
