/* view.h -- View: what memoryview() and numpy hold of an Array: its values as a buffer.
 *
 * It has the mapping, not the array: the array may be closed and collected meanwhile, and is not
 * kept by an array of numpy's, which the garbage collector cannot look into.  Whoever asks a view's
 * owner for the buffer again gets the same.
 */
#pragma once

#include "mapping.h"

typedef struct {
    PyObject_HEAD
    Mapping *mapping;
    unsigned char *values; /* the first one */
    Py_ssize_t count;
    Py_ssize_t stride; /* bytes from a value to the next */
} View;

static int view_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    View *self = (View *)op;
    view->obj = NULL;
    if (flags & PyBUF_WRITABLE) {
        PyErr_SetString(PyExc_BufferError, "the words of an array can only be read as a buffer");
        return -1;
    }
    const int contiguous =
        (PyBUF_C_CONTIGUOUS | PyBUF_F_CONTIGUOUS | PyBUF_ANY_CONTIGUOUS) & ~PyBUF_STRIDES;
    if ((flags & PyBUF_STRIDES) != PyBUF_STRIDES || (flags & contiguous)) {
        PyErr_SetString(PyExc_BufferError, "the values of an array are not contiguous");
        return -1;
    }
    *view = (Py_buffer){
        .buf = self->values,
        .obj = Py_NewRef(op),
        .len = self->count * (Py_ssize_t)sizeof(int32_t),
        .itemsize = sizeof(int32_t),
        .readonly = 1,
        .ndim = 1,
        .format = (flags & PyBUF_FORMAT) ? "i" : NULL,
        .shape = &self->count,
        .strides = &self->stride,
    };
    return 0;
}

static void view_dealloc(PyObject *op)
{
    Py_XDECREF((PyObject *)((View *)op)->mapping);
    free_object(op);
}

static PyType_Slot view_slots[] = {
    {Py_tp_dealloc, (void *)view_dealloc},
    {Py_bf_getbuffer, (void *)view_getbuffer},
    {0, NULL},
};

static PyType_Spec view_spec = {
    .name = "atomic_intenum._native.View",
    .basicsize = sizeof(View),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = view_slots,
};

/* Of words that lie in the mapping. */
static PyObject *view_new(Mapping *mapping, const aie_array *words)
{
    View *view = (View *)PyType_GenericNew(mapping->state->view_type, NULL, NULL);
    if (view != NULL) {
        view->mapping = (Mapping *)Py_NewRef((PyObject *)mapping);
        view->values = words->words + AIE_VALUE_OFFSET;
        view->count = (Py_ssize_t)words->count;
        view->stride = (Py_ssize_t)words->stride;
    }
    return (PyObject *)view;
}
