/* module_state.h -- the module state, and what all types need: arguments, timeouts, errors.
 *
 * Only native.c includes the files of this folder.
 */
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../core.h"
#include "../attach.h"
#include "../create.h"
#include "../desk.h"

typedef struct {
    PyTypeObject *table_type;
    PyTypeObject *mapping_type;
    PyTypeObject *value_type;
    PyTypeObject *array_type;
    PyTypeObject *view_type;
    PyTypeObject *lock_type;
    PyTypeObject *desk_type;
    PyObject *str_set;
    PyObject *str_from_value;
    PyObject *str_number;
    PyObject *str_operand;
    PyObject *str_make_lock;
    PyObject *str_is_mine;
    PyObject *str_acquire;
    PyObject *str_release;
    int exiting; /* nothing is unmapped from here on */
} module_state;

/* Fields that another thread may change while this one reads them: plain pointers under the GIL,
 * atomic ones without it.  acquire pairs with the release of the same field's write. */
#define FIELD_LOAD(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define FIELD_STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

/* Out of line, so that the common case beside it lives in registers. */
#define SLOW __attribute__((noinline, cold)) static

/* At the begin of a cache line: else what the module has before it decides 5 % of a short call. */
#define HOT __attribute__((aligned(64))) static

static PyObject *none(void)
{
    return Py_NewRef(Py_None);
}

static PyObject *boolean(int truth)
{
    return Py_NewRef(truth ? Py_True : Py_False);
}

/* Arguments of a METH_FASTCALL | METH_KEYWORDS function into out[], by position or by name. Missing
 * ones past `required` stay NULL.  The slow path; methods take their common case before it. */
static int parse_arguments(const char *function, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames, const char *const *names, Py_ssize_t required,
                           Py_ssize_t total, PyObject **out)
{
    if (nargs > total) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd positional arguments (%zd given)",
                     function, total, nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < total; i++) {
        out[i] = i < nargs ? args[i] : NULL;
    }
    Py_ssize_t keywords = kwnames == NULL ? 0 : PyTuple_Size(kwnames);
    for (Py_ssize_t k = 0; k < keywords; k++) {
        PyObject *keyword = PyTuple_GetItem(kwnames, k);
        Py_ssize_t i = 0;
        while (i < total && PyUnicode_CompareWithASCIIString(keyword, names[i]) != 0) {
            i++;
        }
        if (i == total) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R", function,
                         keyword);
            return -1;
        }
        if (out[i] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument %R", function,
                         keyword);
            return -1;
        }
        out[i] = args[nargs + k];
    }
    for (Py_ssize_t i = 0; i < required; i++) {
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'", function,
                         names[i]);
            return -1;
        }
    }
    return 0;
}

/* Raise for an outcome of the core that is neither success nor a plain answer. */
static PyObject *raise_result(aie_result result)
{
    PyErr_SetString(PyExc_RuntimeError, aie_result_text(result));
    return NULL;
}

/* Of a `what`: a value, an array. */
static PyObject *raise_closed(const char *what)
{
    PyErr_Format(PyExc_ValueError, "this %s is closed, or its __init__ never ran", what);
    return NULL;
}

/* Every dealloc ends here: this frees the object, and its reference to its type. */
static void free_object(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(op);
    Py_DECREF((PyObject *)type);
}

#define FAST(function) ((PyCFunction)(void (*)(void))(function))
#define FASTCALL (METH_FASTCALL | METH_KEYWORDS)

/* A timeout in seconds as a monotonic deadline; None waits for ever.  A negative one tries once, as
 * a multiprocessing lock does, unless it is `refused`.  -1 with an exception. */
static int timeout_deadline(PyObject *timeout, bool refused, int64_t *deadline)
{
    *deadline = INT64_MAX;
    if (timeout == NULL || timeout == Py_None) {
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(seconds) || (seconds < 0 && refused)) {
        PyErr_Format(PyExc_ValueError, "timeout must not be %s",
                     isnan(seconds) ? "NaN" : "negative");
        return -1;
    }
    if (seconds <= 0) {
        *deadline = 0; /* try once */
    }
    else if (seconds < 1e9) { /* 31 years; more is for ever, and would not fit */
        *deadline = aie_now() + (int64_t)(seconds * 1e9);
    }
    return 0;
}
