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

static PyObject *module_clean(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    char path[AIE_NAME_SIZE];
    if (!PyArg_ParseTuple(args, "s:clean", &name) || !mapping_name(name, path)) {
        return NULL;
    }
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = aie_name_clean(path);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(error);
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

/* The segment's owners; NULL: it has none. */
static inline aie_owners *mapping_owners(const Mapping *mapping)
{
    return mapping->region->owners;
}

static PyObject *mapping_set_owners(PyObject *op, PyObject *args)
{
    Mapping *mapping = (Mapping *)op;
    Py_ssize_t words, stride, controls, count, owners;
    Py_buffer rules;
    int always;
    if (!PyArg_ParseTuple(args, "nnnnny*p:set_owners", &words, &stride, &controls, &count, &owners,
                          &rules, &always)) {
        return NULL;
    }
    PyObject *result = NULL;
    /* Pairs may be none: for who attaches without leasing. */
    if (stride < (Py_ssize_t)sizeof(aie_word) || count < 1 || count > mapping->size / stride
        || rules.len % (Py_ssize_t)sizeof(aie_rule) != 0 || (always && rules.len == 0)) {
        PyErr_SetString(PyExc_ValueError, "no such words, or no such rules");
    }
    else if (mapping_at(mapping, words, count * stride, alignof(aie_word)) != NULL
             && mapping_at(mapping, controls, count * (Py_ssize_t)sizeof(aie_control), AIE_LINE)
                    != NULL
             && mapping_at(mapping, owners, AIE_ROWS * sizeof(uint64_t), AIE_LINE) != NULL) {
        aie_owners_plan plan = {.word_offset = (size_t)words,
                                .word_stride = (size_t)stride,
                                .control_offset = (size_t)controls,
                                .count = (size_t)count,
                                .owners_offset = (size_t)owners,
                                .rules = rules.buf,
                                .rule_count = (size_t)rules.len / sizeof(aie_rule),
                                .always = always};
        int error;
        Py_BEGIN_ALLOW_THREADS
        error = aie_region_has_owners(mapping->region, &plan);
        Py_END_ALLOW_THREADS
        result = error == 0 ? none() : PyErr_NoMemory();
    }
    PyBuffer_Release(&rules);
    return result;
}

/* Arguments of a method of owners: words that are there; false with an exception. */
static bool mapping_part(Mapping *mapping, PyObject *args, const char *format, size_t *first,
                         Py_ssize_t *second)
{
    Py_ssize_t begin;
    PyObject *guard; /* the lock path's: here a write enters none */
    if (!PyArg_ParseTuple(args, format, &begin, second, &guard)) {
        return false;
    }
    aie_owners *owners = mapping_owners(mapping);
    if (owners == NULL || begin < 0 || begin >= (Py_ssize_t)owners->words.count || *second < 0
        || *second > (Py_ssize_t)owners->words.count - begin) {
        PyErr_SetString(PyExc_ValueError, "no such words have owners");
        return false;
    }
    *first = (size_t)begin;
    return true;
}

static PyObject *mapping_own(PyObject *op, PyObject *args)
{
    Mapping *mapping = (Mapping *)op;
    size_t index;
    Py_ssize_t ends;
    if (!mapping_part(mapping, args, "nnO:own", &index, &ends)) {
        return NULL;
    }
    uint32_t pid = 0;
    aie_result result;
    int64_t slice = 0;
    do {
        if (PyErr_CheckSignals() < 0) {
            return NULL;
        }
        Py_BEGIN_ALLOW_THREADS
        result = aie_region_own(mapping->region, index, ends != 0, slice, &pid);
        slice = aie_now() + AIE_SLICE;
        Py_END_ALLOW_THREADS
    } while (result == AIE_BUSY);
    return result == AIE_OK || result == AIE_OWNED ? PyLong_FromUnsignedLong(pid)
                                                   : raise_result(result);
}

static PyObject *mapping_get_owners(PyObject *op, PyObject *args)
{
    Mapping *mapping = (Mapping *)op;
    size_t first;
    Py_ssize_t count;
    if (!mapping_part(mapping, args, "nnO:owners", &first, &count)) {
        return NULL;
    }
    uint32_t *pids = PyMem_Malloc((size_t)count * sizeof(*pids));
    if (pids == NULL) {
        return PyErr_NoMemory();
    }
    aie_array part = aie_region_part(mapping->region, first, (size_t)count);
    Py_BEGIN_ALLOW_THREADS
    aie_owners_pids(&part, pids);
    Py_END_ALLOW_THREADS
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        PyObject *pid = pids[i] == 0 ? none() : PyLong_FromUnsignedLong(pids[i]);
        if (pid == NULL || PyList_SetItem(list, i, pid) < 0) {
            Py_CLEAR(list);
        }
    }
    PyMem_Free(pids);
    return list;
}

static PyObject *mapping_recover(PyObject *op, PyObject *args)
{
    Mapping *mapping = (Mapping *)op;
    size_t first;
    Py_ssize_t count;
    if (!mapping_part(mapping, args, "nnO:recover", &first, &count)) {
        return NULL;
    }
    size_t *given = PyMem_Malloc((size_t)count * sizeof(*given));
    if (given == NULL) {
        return PyErr_NoMemory();
    }
    aie_array part = aie_region_part(mapping->region, first, (size_t)count);
    size_t found;
    Py_BEGIN_ALLOW_THREADS
    found = aie_owners_recover(&part, true, given);
    Py_END_ALLOW_THREADS
    PyObject *list = PyList_New((Py_ssize_t)found);
    for (size_t i = 0; list != NULL && i < found; i++) {
        PyObject *index = PyLong_FromSize_t(first + given[i]);
        if (index == NULL || PyList_SetItem(list, (Py_ssize_t)i, index) < 0) {
            Py_CLEAR(list);
        }
    }
    PyMem_Free(given);
    return list;
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
    {"set_owners", mapping_set_owners, METH_VARARGS,
     "set_owners($self, words, stride, controls, count, owners, rules, always, /)\n--\n\n"},
    {"own", mapping_own, METH_VARARGS, "own($self, index, ends, guard, /)\n--\n\n"},
    {"owners", mapping_get_owners, METH_VARARGS, "owners($self, first, count, guard, /)\n--\n\n"},
    {"recover", mapping_recover, METH_VARARGS, "recover($self, first, count, guard, /)\n--\n\n"},
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
