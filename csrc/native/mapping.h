/* mapping.h -- Mapping: one mapped segment. */
#pragma once

#include "table.h"

typedef struct {
    PyObject_HEAD
    module_state *state;
    aie_region *region;
    Py_ssize_t size;
    PyObject *weakrefs;
} Mapping;

static Mapping *mapping_new(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    Mapping *mapping = (Mapping *)PyType_GenericNew(state->mapping_type, NULL, NULL);
    if (mapping != NULL) {
        mapping->state = state;
    }
    return mapping;
}

/* The mapping with its region; or, without one, what `error` and `why` say. */
static PyObject *mapping_of(Mapping *mapping, aie_region *region, int error, const char *why)
{
    if (region == NULL) {
        Py_DECREF((PyObject *)mapping);
        return Py_BuildValue("is", error, why);
    }
    mapping->region = region;
    mapping->size = (Py_ssize_t)region->size;
    return (PyObject *)mapping;
}

/* "/" and the name; false with ValueError. */
static bool mapping_name(const char *name, char path[AIE_NAME_SIZE])
{
    if (strlen(name) > AIE_NAME_SIZE - 2) {
        PyErr_Format(PyExc_ValueError, "%s: at most %d characters", name, AIE_NAME_SIZE - 2);
        return false;
    }
    path[0] = '/';
    strcpy(path + 1, name);
    return true;
}

static PyObject *module_create(PyObject *module, PyObject *args)
{
    const char *name;
    char path[AIE_NAME_SIZE];
    Py_buffer head;
    Py_ssize_t size;
    int first, nameless;
    if (!PyArg_ParseTuple(args, "sy*nip:create", &name, &head, &size, &first, &nameless)) {
        return NULL;
    }
    Mapping *mapping = NULL;
    aie_region *region = NULL;
    int error = 0;
    if (head.len < (Py_ssize_t)sizeof(aie_header) || size < head.len) {
        PyErr_SetString(PyExc_ValueError, "the header does not fit the size");
    }
    else if (mapping_name(name, path) && (mapping = mapping_new(module)) != NULL) {
        aie_plan plan = {.head = head.buf,
                         .head_size = (size_t)head.len,
                         .size = (size_t)size,
                         .first = first,
                         .answer = nameless ? AIE_ANSWER_NAMELESS : AIE_ANSWER_NAMED};
        Py_BEGIN_ALLOW_THREADS
        region = aie_region_create(path, &plan);
        error = errno;
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&head);
    return mapping == NULL ? NULL : mapping_of(mapping, region, error, "");
}

static PyObject *module_attach(PyObject *module, PyObject *args)
{
    const char *name;
    char path[AIE_NAME_SIZE], why[AIE_WHY_SIZE];
    int answer;
    if (!PyArg_ParseTuple(args, "si:attach", &name, &answer) || !mapping_name(name, path)) {
        return NULL;
    }
    Mapping *mapping = mapping_new(module);
    if (mapping == NULL) {
        return NULL;
    }
    aie_region *region;
    int error;
    Py_BEGIN_ALLOW_THREADS
    region = aie_region_open(path, (aie_answer)answer, why);
    error = errno;
    Py_END_ALLOW_THREADS
    return mapping_of(mapping, region, error, why);
}

static PyObject *module_peek(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    char path[AIE_NAME_SIZE];
    aie_header head;
    if (!PyArg_ParseTuple(args, "s:peek", &name) || !mapping_name(name, path)) {
        return NULL;
    }
    bool found = aie_name_peek(path, &head);
    return PyBytes_FromStringAndSize((const char *)&head, found ? AIE_HEAD_SIZE : 0);
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
    return PyBuffer_FillInfo(view, op, mapping->region->base, mapping->size, 0, flags);
}

/* NULL with ValueError unless `bytes` at `offset` lie in the mapping, aligned to `alignment`. */
static void *mapping_at(Mapping *mapping, Py_ssize_t offset, Py_ssize_t bytes, Py_ssize_t alignment)
{
    if (offset < 0 || bytes < 0 || bytes > mapping->size || offset > mapping->size - bytes
        || offset % alignment != 0) {
        PyErr_Format(PyExc_ValueError, "offset %zd is outside the segment or not aligned", offset);
        return NULL;
    }
    return mapping->region->base + offset;
}

/* A word, or NULL with ValueError, and its control block. */
static aie_word *mapping_word(Mapping *mapping, Py_ssize_t word_offset, Py_ssize_t control_offset,
                              aie_control **control)
{
    aie_word *word = mapping_at(mapping, word_offset, sizeof(aie_word), alignof(aie_word));
    *control = mapping_at(mapping, control_offset, sizeof(aie_control), AIE_LINE);
    return *control == NULL ? NULL : word;
}

/* The event word of the segment: what every writer there looks at. */
static inline aie_event *mapping_event(const Mapping *mapping)
{
    return &((aie_header *)(void *)mapping->region->base)->event;
}

static PyObject *mapping_pickled(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    aie_region_pickled(((Mapping *)op)->region);
    return none();
}

static PyObject *mapping_unlink(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = aie_region_unlink(((Mapping *)op)->region);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(error);
}

static PyObject *mapping_get_elsewhere(PyObject *op, void *Py_UNUSED(closure))
{
    return boolean(((Mapping *)op)->region->elsewhere);
}

static PyObject *mapping_view(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyMemoryView_FromObject(op);
}

static PyMethodDef mapping_methods[] = {
    {"view", mapping_view, METH_NOARGS, "view($self, /)\n--\n\n"},
    {"pickled", mapping_pickled, METH_NOARGS, "pickled($self, /)\n--\n\n"},
    {"unlink", mapping_unlink, METH_NOARGS, "unlink($self, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef mapping_getset[] = {
    {"elsewhere", mapping_get_elsewhere, NULL,
     "Whether it was made in another PID namespace than this process is in.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef mapping_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Mapping, weakrefs), READONLY, NULL},
    {"size", T_PYSSIZET, offsetof(Mapping, size), READONLY, "Bytes mapped."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot mapping_slots[] = {
    {Py_tp_doc, (void *)"A segment, mapped until nothing uses it."},
    {Py_tp_dealloc, (void *)mapping_dealloc},
    {Py_tp_methods, (void *)mapping_methods},
    {Py_tp_members, (void *)mapping_members},
    {Py_tp_getset, (void *)mapping_getset},
    {Py_bf_getbuffer, (void *)mapping_getbuffer},
    {0, NULL},
};

static PyType_Spec mapping_spec = {
    .name = "atomic_intenum._native.Mapping",
    .basicsize = sizeof(Mapping),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = mapping_slots,
};
