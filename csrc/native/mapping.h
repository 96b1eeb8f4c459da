/* mapping.h -- Mapping: one mapped segment.
 */
#ifndef AIE_NATIVE_MAPPING_H
#define AIE_NATIVE_MAPPING_H

#include "table.h"

typedef struct {
    PyObject_HEAD
    module_state *state;
    aie_region *region;
    unsigned char *base; /* of the region */
    Py_ssize_t size;
    PyObject *weakrefs;
} Mapping;

static PyObject *mapping_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"fd", "size", NULL};
    int fd;
    Py_ssize_t size;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "in:Mapping", keywords, &fd, &size)) {
        return NULL;
    }
    if (size < (Py_ssize_t)sizeof(aie_header)) {
        PyErr_Format(PyExc_ValueError, "%zd bytes are too few for a segment", size);
        return NULL;
    }
    module_state *state = PyType_GetModuleState(type);
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Mapping *mapping = state == NULL ? NULL : (Mapping *)allocate(type, 0);
    if (mapping == NULL) {
        return NULL;
    }
    mapping->state = state;
    mapping->region = aie_region_map(fd, (size_t)size);
    if (mapping->region == NULL) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF((PyObject *)mapping);
        return NULL;
    }
    mapping->base = mapping->region->base;
    mapping->size = size;
    return (PyObject *)mapping;
}

static void mapping_dealloc(PyObject *op)
{
    Mapping *mapping = (Mapping *)op;
    if (FIELD_LOAD(mapping->weakrefs) != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    if (mapping->region != NULL && !FIELD_LOAD(mapping->state->exiting)) {
        aie_region_drop(mapping->region);
    }
    free_object(op);
}

static int mapping_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    Mapping *mapping = (Mapping *)op;
    return PyBuffer_FillInfo(view, op, mapping->base, mapping->size, 0, flags);
}

/* NULL with ValueError unless `bytes` at `offset` lie in the mapping, aligned to `alignment`. */
static void *mapping_at(Mapping *mapping, Py_ssize_t offset, Py_ssize_t bytes, Py_ssize_t alignment)
{
    if (offset < 0 || bytes < 0 || bytes > mapping->size || offset > mapping->size - bytes
        || offset % alignment != 0) {
        PyErr_Format(PyExc_ValueError, "offset %zd is outside the segment or not aligned", offset);
        return NULL;
    }
    return mapping->base + offset;
}

/* The event word of the segment: what every writer there looks at. */
static inline aie_event *mapping_event(const Mapping *mapping)
{
    return &((aie_header *)(void *)mapping->base)->event;
}

static PyObject *mapping_prepare(PyObject *op, PyObject *args)
{
    Py_ssize_t offset, count;
    if (!PyArg_ParseTuple(args, "nn:prepare", &offset, &count)) {
        return NULL;
    }
    Mapping *mapping = (Mapping *)op;
    if (count < 0 || count > mapping->size / (Py_ssize_t)sizeof(aie_control)) {
        PyErr_Format(PyExc_ValueError, "%zd control blocks do not fit", count);
        return NULL;
    }
    aie_control *controls =
        mapping_at(mapping, offset, count * (Py_ssize_t)sizeof(aie_control), AIE_LINE);
    if (controls == NULL) {
        return NULL;
    }
    int error = 0;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count && !error; i++) {
        error = aie_control_init(&controls[i]);
    }
    Py_END_ALLOW_THREADS
    if (error) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return none();
}

static PyObject *mapping_publish(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    aie_header *header = (aie_header *)((Mapping *)op)->base;
    /* release: pairs with the acquire of mapping_published; whoever sees the magic sees the header,
     * the words and the control blocks. */
    atomic_store_explicit(&header->magic, AIE_MAGIC, memory_order_release);
    return none();
}

static PyObject *mapping_published(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    aie_header *header = (aie_header *)((Mapping *)op)->base;
    /* acquire: see mapping_publish. */
    return PyLong_FromUnsignedLongLong(atomic_load_explicit(&header->magic, memory_order_acquire));
}

static PyObject *mapping_view(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyMemoryView_FromObject(op);
}

static PyMethodDef mapping_methods[] = {
    {"view", mapping_view, METH_NOARGS, "view($self, /)\n--\n\n"},
    {"prepare", mapping_prepare, METH_VARARGS, "prepare($self, offset, count, /)\n--\n\n"},
    {"publish", mapping_publish, METH_NOARGS, "publish($self, /)\n--\n\n"},
    {"published", mapping_published, METH_NOARGS, "published($self, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef mapping_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Mapping, weakrefs), READONLY, NULL},
    {"size", T_PYSSIZET, offsetof(Mapping, size), READONLY, "Bytes mapped."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(mapping_doc, "Mapping(fd, size)\n--\n\n"
                          "size bytes of the shared memory behind fd, mapped for reading and "
                          "writing until nothing uses them.");

static PyType_Slot mapping_slots[] = {
    {Py_tp_doc, (void *)mapping_doc},
    {Py_tp_new, (void *)mapping_new},
    {Py_tp_dealloc, (void *)mapping_dealloc},
    {Py_tp_methods, (void *)mapping_methods},
    {Py_tp_members, (void *)mapping_members},
    {Py_bf_getbuffer, (void *)mapping_getbuffer},
    {0, NULL},
};

static PyType_Spec mapping_spec = {
    .name = "atomic_intenum._native.Mapping",
    .basicsize = sizeof(Mapping),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = mapping_slots,
};

#endif
