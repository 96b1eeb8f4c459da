/* loop.h -- Desk: what one event loop asks of the thread that watches for it (desk.h). */
#pragma once

#include "row_methods.h"
#include "value_methods.h"

typedef struct {
    PyObject_HEAD
    module_state *state;
    aie_desk desk;
    bool open;
} Desk;

static PyObject *module_desk(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    module_state *state = PyModule_GetState(module);
    Desk *self = (Desk *)PyType_GenericNew(state->desk_type, NULL, NULL);
    if (self == NULL) {
        return NULL;
    }
    self->state = state;
    int error = aie_desk_open(&self->desk);
    self->open = error == 0;
    if (error != 0) {
        Py_DECREF((PyObject *)self);
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return (PyObject *)self;
}

static void desk_dealloc(PyObject *op)
{
    if (((Desk *)op)->open) {
        aie_desk_close(&((Desk *)op)->desk);
    }
    free_object(op);
}

static PyObject *desk_fileno(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(((Desk *)op)->desk.ends[0]);
}

static PyObject *desk_watch(PyObject *op, PyObject *of)
{
    Desk *self = (Desk *)op;
    bool whole = PyObject_TypeCheck(of, self->state->array_type);
    aie_array words;
    if (whole) {
        if (!array_is_open((Array *)of)) {
            return NULL;
        }
        words = ((Array *)of)->words;
    }
    else if (PyObject_TypeCheck(of, self->state->value_type)) {
        const Value *value = (Value *)of;
        aie_word *word = value_word((Value *)of);
        if (word == NULL) {
            return NULL;
        }
        words = (aie_array){(unsigned char *)word, (unsigned char *)value->control,
                            AIE_SINGLE_STRIDE,     1,
                            value->event,          value->owners};
    }
    else {
        return PyErr_Format(PyExc_TypeError, "%R is neither a Value nor an Array", of);
    }
    uint32_t slot = 0;
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = aie_desk_watch(&self->desk, ((Bound *)of)->mapping->region, &words, whole, &slot);
    Py_END_ALLOW_THREADS
    errno = error;
    return error == 0 ? PyLong_FromUnsignedLong(slot) : PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *desk_watch_on(PyObject *op, PyObject *args)
{
    unsigned slot;
    int content, error;
    if (!PyArg_ParseTuple(args, "Ip:watch_on", &slot, &content)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    error = aie_desk_watch_on(&((Desk *)op)->desk, slot, content);
    Py_END_ALLOW_THREADS
    errno = error;
    return error == 0 ? none() : PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *desk_unwatch(PyObject *op, PyObject *slot)
{
    unsigned long number = PyLong_AsUnsignedLong(slot);
    if (number == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    aie_desk_unwatch(&((Desk *)op)->desk, (uint32_t)number);
    return none();
}

static PyObject *desk_take(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    uint32_t slots[64];
    size_t count = aie_desk_take(&((Desk *)op)->desk, slots, 64);
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *slot = PyLong_FromUnsignedLong(slots[i]);
        if (slot == NULL || PyList_SetItem(list, (Py_ssize_t)i, slot) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyMethodDef desk_methods[] = {
    {"fileno", desk_fileno, METH_NOARGS, "fileno($self, /)\n--\n\n"},
    {"watch", desk_watch, METH_O, "watch($self, of, /)\n--\n\n"},
    {"watch_on", desk_watch_on, METH_VARARGS, "watch_on($self, slot, content, /)\n--\n\n"},
    {"unwatch", desk_unwatch, METH_O, "unwatch($self, slot, /)\n--\n\n"},
    {"take", desk_take, METH_NOARGS, "take($self, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot desk_slots[] = {
    {Py_tp_doc, (void *)"What one event loop has watched for it."},
    {Py_tp_dealloc, (void *)desk_dealloc},
    {Py_tp_methods, (void *)desk_methods},
    {0, NULL},
};

static PyType_Spec desk_spec = {
    .name = "atomic_intenum._native.Desk",
    .basicsize = sizeof(Desk),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = desk_slots,
};
