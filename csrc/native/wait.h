/* wait.h -- every wait of a value or an array: its arguments (member, /, *members, timeout=None),
 * and the loop that looks, sleeps and looks again.
 */
#ifndef AIE_NATIVE_WAIT_H
#define AIE_NATIVE_WAIT_H

#include "bound.h"

#define GOAL_ON_STACK 16

typedef struct {
    const char *name; /* of the method */
    PyObject *timeout;
    int64_t deadline;
    int32_t *values; /* one a member, for the caller to fill */
    int32_t stack[GOAL_ON_STACK];
} wait_arguments;

/* -1 with an exception; else wait_done() has to follow. */
static int wait_parse(wait_arguments *wait, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    if (nargs < 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes at least one member", wait->name);
        return -1;
    }
    if (kwnames != NULL && PyTuple_Size(kwnames) > 0) {
        PyObject *keyword = PyTuple_GetItem(kwnames, 0);
        if (PyTuple_Size(kwnames) > 1
            || PyUnicode_CompareWithASCIIString(keyword, "timeout") != 0) {
            PyErr_Format(PyExc_TypeError, "%s() takes one keyword argument, timeout", wait->name);
            return -1;
        }
        wait->timeout = args[nargs];
    }
    if (timeout_deadline(wait->timeout, true, &wait->deadline) < 0) {
        return -1;
    }
    wait->values = wait->stack;
    if (nargs > GOAL_ON_STACK) {
        wait->values = PyMem_Malloc((size_t)nargs * sizeof(*wait->values));
        if (wait->values == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    return 0;
}

static void wait_done(wait_arguments *wait)
{
    if (wait->values != wait->stack) {
        PyMem_Free(wait->values);
    }
}

/* The deadline is past: TimeoutError, worded in Python, by what the members were given as. */
static void raise_timed_out(PyObject *op, const wait_arguments *wait, PyObject *const *members,
                            Py_ssize_t count)
{
    PyObject *given = PyTuple_New(count);
    for (Py_ssize_t i = 0; given != NULL && i < count; i++) {
        PyTuple_SetItem(given, i, Py_NewRef(members[i]));
    }
    if (given != NULL) {
        PyObject *none_comes =
            PyObject_CallMethod(op, "_atomic_timed_out", "sNO", wait->name, given, wait->timeout);
        Py_XDECREF(none_comes);
    }
}

/* What is waited for.  The caller holds on to what it is of, and so to the memory behind it. */
typedef struct waiter {
    Bound *of;
    aie_goal *goal;
    const char *name; /* of the method */
    const char *what; /* it is of, for an error */
    const char *own;  /* the error where only this thread could end the wait */
    /* Whether this thread holds the lock that would be needed to end it: 1, 0, or -1 with an
     * exception. */
    int (*is_own)(struct waiter *);
    bool (*is_met)(struct waiter *);      /* one look */
    bool (*is_met_soon)(struct waiter *); /* looks for about a microsecond, with the GIL; or NULL */
    /* The core's: spin, if it may, and sleep once. */
    aie_result (*sleep)(struct waiter *, int64_t deadline, bool spin);
} waiter;

/* 1 it is met, 0 the deadline is past, -1 with an exception. */
static int wait_until(waiter *waiting, int64_t deadline)
{
    int64_t now = aie_now(); /* before the look: what came before the deadline is not too late */
    if (waiting->is_met(waiting)) {
        return 1;
    }
    int own = waiting->is_own(waiting);
    if (own > 0) {
        PyErr_SetString(PyExc_RuntimeError, waiting->own);
    }
    if (own != 0
        || !bound_is_open(waiting->of, waiting->what)) { /* asking a given lock runs Python code */
        return -1;
    }
    if (now >= deadline) {
        return waiting->is_met(waiting); /* it may have come meanwhile */
    }
    /* An answer of another process that is spinning itself comes sooner than the GIL is let go of
     * and taken again: the first looks are with it. */
    if (aie_spin() > 0 && waiting->is_met_soon != NULL && waiting->is_met_soon(waiting)) {
        return bound_is_open(waiting->of, waiting->what)
                   ? 1
                   : -1; /* closed meanwhile, without the GIL */
    }
    aie_result result;
    bool spin = true;
    for (;;) {
        Py_BEGIN_ALLOW_THREADS
        result = waiting->sleep(waiting, deadline, spin);
        Py_END_ALLOW_THREADS
        if (result != AIE_AGAIN && result != AIE_INTERRUPTED) {
            break;
        }
        if (PyErr_CheckSignals() < 0 || !bound_is_open(waiting->of, waiting->what)) {
            return -1;
        }
        spin = false;
    }
    return !bound_is_open(waiting->of, waiting->what)
               ? -1
               : result == AIE_OK; /* closed, whatever came after */
}

/* A method that waits: the members of its arguments are the goal's.  1 met, 0 with TimeoutError, -1
 * with another exception. */
static int wait_for_goal(waiter *waiting, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    wait_arguments given = {.name = waiting->name};
    if (wait_parse(&given, args, nargs, kwnames) < 0) {
        return -1;
    }
    int met = -1;
    Py_ssize_t i = 0;
    while (i < nargs
           && bound_is_open(waiting->of, waiting->what) /* what names a member runs Python code */
           && table_number(waiting->of->table, (PyObject *)waiting->of, args[i], &given.values[i])
                  == 0) {
        i++;
    }
    if (i == nargs && bound_is_open(waiting->of, waiting->what)) {
        waiting->goal->values = given.values;
        waiting->goal->count = (size_t)nargs;
        met = wait_until(waiting, given.deadline);
    }
    if (met == 0) {
        raise_timed_out((PyObject *)waiting->of, &given, args, nargs);
    }
    wait_done(&given);
    return met;
}

#endif
