/* table.h -- Table: the members of one IntEnum, as two hash tables: by number and by identity. */
#pragma once

#include "module_state.h"

typedef struct {
    PyObject *member; /* NULL: empty */
    PyObject *name;
    int32_t number;
    uint32_t position; /* among the enum's members, in its order */
} table_entry;

typedef struct {
    PyObject_HEAD
    module_state *state;
    PyObject *vocabulary;
    PyObject *enum_type;
    table_entry *by_number; /* without references of its own, as by_identity */
    table_entry *by_identity;
    table_entry *in_order; /* as given */
    uint32_t count;
    int32_t low;    /* the least number */
    uint32_t span;  /* how many numbers from it to the greatest, that included; 0: all 2^32 */
    unsigned shift; /* 32 - log2(slots) */
    uint32_t mask;
} Table;

/* Fibonacci hashing: spreads runs (1, 2, 3), powers of two and multiples of anything alike. */
static inline uint32_t hash_number(const Table *table, uint32_t number)
{
    return (number * UINT32_C(2654435769)) >> table->shift;
}

static inline uint32_t hash_identity(const Table *table, const void *object)
{
    return hash_number(table, (uint32_t)((uintptr_t)object >> 4));
}

/* NULL if no member has this number. */
AIE_ALWAYS const table_entry *table_by_number(const Table *table, int32_t number)
{
    uint32_t slot = hash_number(table, (uint32_t)number);
    for (;;) {
        const table_entry *entry = &table->by_number[slot];
        if (entry->number == number && entry->member != NULL) {
            return entry;
        }
        if (entry->member == NULL) {
            return NULL;
        }
        slot = (slot + 1) & table->mask;
    }
}

/* NULL if the object is no member.  By identity: one comparison answers type and membership both,
 * and a table keeps its members alive, so no other object can have a member's address. */
AIE_ALWAYS const table_entry *table_by_identity(const Table *table, const PyObject *object)
{
    uint32_t slot = hash_identity(table, object);
    for (;;) {
        const table_entry *entry = &table->by_identity[slot];
        if (entry->member == object) {
            return entry;
        }
        if (entry->member == NULL) {
            return NULL;
        }
        slot = (slot + 1) & table->mask;
    }
}

static void table_put(table_entry *entries, uint32_t slot, uint32_t mask, table_entry entry)
{
    while (entries[slot].member != NULL) {
        slot = (slot + 1) & mask;
    }
    entries[slot] = entry;
}

static int table_traverse(PyObject *op, visitproc visit, void *arg)
{
    Table *table = (Table *)op;
    Py_VISIT((PyObject *)Py_TYPE(op));
    Py_VISIT(table->vocabulary);
    Py_VISIT(table->enum_type);
    for (uint32_t i = 0; i < table->count; i++) {
        Py_VISIT(table->in_order[i].member);
        Py_VISIT(table->in_order[i].name);
    }
    return 0;
}

static void table_dealloc(PyObject *op)
{
    Table *table = (Table *)op;
    PyObject_GC_UnTrack(op);
    for (uint32_t i = 0; i < table->count; i++) {
        Py_DECREF(table->in_order[i].member);
        Py_DECREF(table->in_order[i].name);
    }
    Py_XDECREF(table->vocabulary);
    Py_XDECREF(table->enum_type);
    PyMem_Free(table->by_number);
    PyMem_Free(table->by_identity);
    PyMem_Free(table->in_order);
    free_object(op);
}

static int table_fill(Table *table, PyObject *entries)
{
    Py_ssize_t count = PyTuple_Size(entries);
    int32_t low = INT32_MAX, high = INT32_MIN;
    uint32_t slots = 4;
    unsigned bits = 2;
    while (slots < 2 * (size_t)count && bits < 31) { /* at most half full: short probes */
        slots *= 2;
        bits++;
    }
    table->shift = 32 - bits;
    table->mask = slots - 1;
    table->by_number = PyMem_Calloc(slots, sizeof(table_entry));
    table->by_identity = PyMem_Calloc(slots, sizeof(table_entry));
    table->in_order = PyMem_Calloc((size_t)count + 1, sizeof(table_entry));
    if (table->by_number == NULL || table->by_identity == NULL || table->in_order == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *member, *name;
        int number;
        PyObject *item = PyTuple_GetItem(entries, i);
        if (!PyTuple_Check(item)) {
            PyErr_SetString(PyExc_TypeError, "entries are (member, name, number) tuples");
            return -1;
        }
        if (!PyArg_ParseTuple(item, "OUi", &member, &name, &number)) {
            return -1;
        }
        if (Py_TYPE(member) == Py_TYPE((PyObject *)table)) {
            /* See table_new. */
            PyErr_SetString(PyExc_TypeError, "a Table is no member");
            return -1;
        }
        if (table_by_number(table, number) != NULL || table_by_identity(table, member) != NULL) {
            PyErr_Format(PyExc_ValueError, "member %R or its number is given twice", member);
            return -1;
        }
        table_entry entry = {Py_NewRef(member), Py_NewRef(name), number, table->count};
        table_put(table->by_number, hash_number(table, (uint32_t)number), table->mask, entry);
        table_put(table->by_identity, hash_identity(table, member), table->mask, entry);
        table->in_order[table->count++] = entry;
        low = number < low ? number : low;
        high = number > high ? number : high;
    }
    table->low = low;
    table->span = (uint32_t)high - (uint32_t)low + 1;
    return 0;
}

static PyObject *table_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"vocabulary", "enum_type", "entries", NULL};
    PyObject *vocabulary, *enum_type, *entries;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO!:Table", keywords, &vocabulary, &enum_type,
                                     &PyTuple_Type, &entries)) {
        return NULL;
    }
    module_state *state = PyType_GetModuleState(type);
    if (state != NULL
        && (Py_TYPE(vocabulary) == state->table_type || Py_TYPE(enum_type) == state->table_type)) {
        /* A long chain of tables would overflow the stack when it is freed. */
        PyErr_SetString(PyExc_TypeError, "a Table is neither a vocabulary nor an enum");
        return NULL;
    }
    Table *table = state == NULL ? NULL : (Table *)PyType_GenericNew(type, NULL, NULL);
    if (table == NULL) {
        return NULL;
    }
    table->state = state;
    table->vocabulary = Py_NewRef(vocabulary);
    table->enum_type = Py_NewRef(enum_type);
    if (table_fill(table, entries) < 0) {
        Py_DECREF((PyObject *)table);
        return NULL;
    }
    return (PyObject *)table;
}

/* No tp_clear: a Table never changes, as a tuple, so that who still has one in a half-cleared cycle
 * finds it whole.  Something else of the cycle breaks it. */
static PyType_Slot table_slots[] = {
    {Py_tp_doc,
     (void *)"Table(vocabulary, enum_type, entries)\n--\n\n"
             "The members of one IntEnum, for Value: entries are (member, name, number)."},
    {Py_tp_new, (void *)table_new},
    {Py_tp_dealloc, (void *)table_dealloc},
    {Py_tp_traverse, (void *)table_traverse},
    {0, NULL},
};

static PyType_Spec table_spec = {
    .name = "atomic_intenum._native.Table",
    .basicsize = sizeof(Table),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = table_slots,
};

/* The number stands for no member: ValueError, worded by the vocabulary. */
SLOW PyObject *refuse_number(Table *table, int32_t number)
{
    PyObject *result = PyObject_CallMethod(table->vocabulary, "refuse_number", "i", (int)number);
    if (result != NULL) {
        Py_DECREF(result);
        PyErr_Format(PyExc_ValueError, "%d is not a member's value", (int)number);
    }
    return NULL;
}

/* A new reference to an enum's member.
 *
 * The headers of 3.12 and later ask first whether the object is immortal, which costs load() some
 * per cent and is never so here.  Counting an immortal one would do no harm either: extensions that
 * were built for 3.11's stable ABI do. */
static inline PyObject *new_member(PyObject *member)
{
#if defined(Py_LIMITED_API) && !defined(Py_GIL_DISABLED) && !defined(Py_REF_DEBUG)
    member->ob_refcnt++;
    return member;
#else
    return Py_NewRef(member);
#endif
}

static PyObject *table_member(Table *table, int32_t number)
{
    const table_entry *entry = table_by_number(table, number);
    return entry != NULL ? new_member(entry->member) : refuse_number(table, number);
}

/* What `object` is to be written as: a member by identity, else by the _atomic_number of `op`'s
 * class, which takes names and words the errors.  May run Python code. */
static inline int table_number(Table *table, PyObject *op, PyObject *object, int32_t *number)
{
    const table_entry *entry = table_by_identity(table, object);
    if (entry != NULL) {
        *number = entry->number;
        return 0;
    }
    PyObject *boxed = PyObject_CallMethodObjArgs(op, table->state->str_number, object, NULL);
    if (boxed == NULL) {
        return -1;
    }
    long wide = PyLong_AsLong(boxed);
    Py_DECREF(boxed);
    if (wide == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (wide < INT32_MIN || wide > INT32_MAX) {
        PyErr_Format(PyExc_OverflowError, "%ld does not fit 32 bits", wide);
        return -1;
    }
    *number = (int32_t)wide;
    return 0;
}
