/* row.h -- the type Array, which IntEnumArray inherits: its buffer, its binding, its life. */
#pragma once

#include "claim.h"
#include "view.h"

/* ---- the values as a buffer: read-only int32s, as far apart as the words */

static int array_getbuffer(PyObject *op, Py_buffer *buffer, int flags)
{
    Array *self = (Array *)op;
    buffer->obj = NULL;
    PyObject *view = array_is_open(self) ? view_new(self->bound.mapping, &self->words) : NULL;
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
    if (!bound_numbers(args + 3, 4, numbers)) {
        return NULL;
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
    if (!bound_begins(&self->bound, "array")) {
        return NULL;
    }
    self->words = (aie_array){words,
                              controls,
                              (size_t)stride,
                              (size_t)count,
                              mapping_event(mapping),
                              mapping_owners(mapping)};
    bound_to(&self->bound, args[0], args[1], args[2]);
    FIELD_STORE(self->bound.life, BOUND_OPEN);
    return none();
}

static PyObject *array_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    (void)bound_closes((Bound *)op);
    return none();
}

static PyObject *array_get_guard(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    return none();
}

/* What each of them does is written in array.py: see document(). */
static PyMethodDef array_methods[] = {
    {"exchange", FAST(array_exchange), FASTCALL, "exchange($self, /, index, member)\n--\n\n"},
    {"compare_and_set", FAST(array_compare_and_set), FASTCALL,
     "compare_and_set($self, /, index, old, new)\n--\n\n"},
    {"claim", FAST(array_claim), FASTCALL, "claim($self, /, old, new, *, timeout=0.0)\n--\n\n"},
    {"snapshot", array_snapshot, METH_NOARGS, "snapshot($self, /)\n--\n\n"},
    {"count", array_count, METH_O, "count($self, member, /)\n--\n\n"},
    {"counts", array_counts, METH_NOARGS, "counts($self, /)\n--\n\n"},
    {"fill", array_fill, METH_O, "fill($self, member, /)\n--\n\n"},
    {"wait_all", FAST(array_wait_all), FASTCALL,
     "wait_all($self, member, /, *members, timeout=None)\n--\n\n"},
    {"wait_any", FAST(array_wait_any), FASTCALL,
     "wait_any($self, member, /, *members, timeout=None)\n--\n\n"},
    {"_atomic_look", FAST(array_look), METH_FASTCALL,
     "_atomic_look($self, later, every, member, /, *members)\n--\n\n"},
    {"_atomic_claim_once", FAST(array_claim_once), METH_FASTCALL,
     "_atomic_claim_once($self, old, new, /)\n--\n\n"},
    {"_atomic_moved", array_moved, METH_VARARGS,
     "_atomic_moved($self, before, timeout, /)\n--\n\n"},
    {"_atomic_bind", FAST(array_bind), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "_atomic_bind($self, /, *args)\n--\n\n"},
    {"_atomic_close", array_close, METH_NOARGS, "_atomic_close($self, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

/* numpy.asarray() asks for this after the buffer was refused, and forgets why.  Without an error
 * here it would make an array of one object, the closed array. */
static PyObject *array_get_interface(PyObject *op, void *Py_UNUSED(closure))
{
    if (array_is_open((Array *)op)) {
        PyErr_SetString(PyExc_AttributeError, "the values are there as a buffer");
    }
    return NULL;
}

static PyGetSetDef array_getset[] = {
    {"__array_interface__", array_get_interface, NULL, "None: there is the buffer.", NULL},
    BOUND_GETTERS("array"),
    {"_atomic_guard", array_get_guard, NULL, "None: writes take no lock.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot array_slots[] = {
    {Py_tp_doc, (void *)"Array()\n--\n\nMany state words; IntEnumArray's base class."},
    {Py_tp_dealloc, (void *)bound_dealloc},
    {Py_tp_traverse, (void *)bound_traverse},
    {Py_tp_iter, (void *)PySeqIter_New},
    {Py_sq_length, (void *)array_length},
    {Py_sq_item, (void *)array_item},
    {Py_mp_length, (void *)array_length},
    {Py_mp_subscript, (void *)array_subscript},
    {Py_mp_ass_subscript, (void *)array_assign},
    {Py_bf_getbuffer, (void *)array_getbuffer},
    {Py_tp_methods, (void *)array_methods},
    {Py_tp_getset, (void *)array_getset},
    {Py_tp_members, (void *)bound_members},
    {0, NULL},
};

static PyType_Spec array_spec = {
    .name = "atomic_intenum._native.Array",
    .basicsize = sizeof(Array),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = array_slots,
};
