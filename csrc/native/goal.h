/* goal.h -- the arguments of every wait: member, /, *members, timeout=None.
 */
#ifndef AIE_NATIVE_GOAL_H
#define AIE_NATIVE_GOAL_H

#include "module_state.h"

#define GOAL_ON_STACK 16

typedef struct {
    const char *name; /* of the method */
    PyObject *timeout;
    int64_t deadline;
    int32_t *values; /* one a member, for the caller to fill */
    int32_t stack[GOAL_ON_STACK];
} wait_arguments;

/* As timeout_deadline for a wait, where a negative timeout is a mistake (a lock takes it as 0, as
 * multiprocessing does). */
static int wait_deadline(PyObject *timeout, int64_t *deadline)
{
    if (timeout_deadline(timeout, deadline) < 0) {
        return -1;
    }
    if (timeout != NULL && timeout != Py_None && PyFloat_AsDouble(timeout) < 0) {
        PyErr_SetString(PyExc_ValueError, "timeout must not be negative");
        return -1;
    }
    return 0;
}

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
    if (wait_deadline(wait->timeout, &wait->deadline) < 0) {
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

/* The deadline is past: TimeoutError. */
static void wait_in_vain(const wait_arguments *wait)
{
    PyErr_Format(PyExc_TimeoutError, "%s() waited for %S seconds in vain", wait->name,
                 wait->timeout);
}

#endif
