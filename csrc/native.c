/* native.c -- the CPython types over core.h; the only file that includes Python.h.
 *
 *   Table    the members of one IntEnum, as two hash tables: by number and by identity
 *   Mapping  one mapped segment
 *   Value    what IntEnumValue inherits: load, value, name, set, exchange, compare_and_set, ...
 *   Lock     what a multiprocessing RLock calls its _semlock: the robust lock of one value
 *
 * Rules that keep every sequence of Python calls from crashing the interpreter:
 *
 *   - Value.word is NULL before __init__ and after close(); every operation loads it, after the
 *     last call that may have run Python code, and raises ValueError on NULL.
 *   - close() only marks the value: what it was bound to stays referenced until the object goes,
 *     so a call in flight in another thread is never unmapped under.
 *   - A call that gives up the GIL holds the Mapping itself.  A held lock holds the region under it
 *     (region.h), since a held robust mutex that is unmapped breaks the thread's next one.
 *   - At interpreter exit nothing is unmapped any more: daemon threads may still be inside.
 *
 * tp_new stays object's own: with a custom one, CPython 3.12 never specialises method calls on
 * instances with a __dict__.  Hence instances whose __init__ never ran, and the NULL checks.
 *
 * The limited API of 3.11, so one binary serves all later versions; Py_RETURN_NONE and its kin are
 * avoided, because headers of 3.12 and later make them take no reference, which 3.11 needs.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <math.h>
#include <string.h>

#include "core.h"
#include "region.h"

/* ------------------------------------------------------------------ module state */

typedef struct {
    PyTypeObject *table_type;
    PyTypeObject *mapping_type;
    PyTypeObject *value_type;
    PyTypeObject *lock_type;
    PyObject *str_set;
    PyObject *str_from_value;
    PyObject *str_number;
    PyObject *str_operand;
    PyObject *str_refuse;
    PyObject *str_is_mine;
    PyObject *str_acquire;
    PyObject *str_release;
    int exiting; /* nothing is unmapped from here on */
} module_state;

/* Fields that another thread may change while this one reads them: plain pointers under the GIL,
 * atomic ones without it.  acquire pairs with the release of the same field's write. */
#define FIELD_LOAD(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define FIELD_STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

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
static void raise_result(aie_result result)
{
    switch (result) {
    case AIE_NOT_OWNER:
        PyErr_SetString(PyExc_RuntimeError, "release of a lock that this thread does not hold");
        break;
    case AIE_TOO_MANY:
        PyErr_Format(PyExc_RuntimeError,
                     "this thread holds %u of these locks already: with more, its death would "
                     "leave some of them locked for good",
                     AIE_MAX_HELD);
        break;
    case AIE_TOO_DEEP:
        PyErr_SetString(PyExc_RuntimeError, "this lock is acquired too many times by its holder");
        break;
    default:
        PyErr_SetString(PyExc_RuntimeError,
                        "the lock's shared memory is damaged: pthread reports an error");
    }
}

/* ------------------------------------------------------------------ Table */

typedef struct {
    PyObject *member; /* NULL: empty */
    PyObject *name;
    int32_t number;
} table_entry;

typedef struct {
    PyObject_HEAD
    module_state *state;
    PyObject *vocabulary;
    PyObject *enum_type;
    table_entry *by_number;
    table_entry *by_identity;
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
static inline const table_entry *table_by_number(const Table *table, int32_t number)
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
static inline const table_entry *table_by_identity(const Table *table, const PyObject *object)
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
    if (table->by_number != NULL) {
        for (uint32_t i = 0; i <= table->mask; i++) {
            Py_VISIT(table->by_number[i].member);
            Py_VISIT(table->by_number[i].name);
        }
    }
    return 0;
}

/* The end of every dealloc here: free the object, and the reference that it held on its type. */
static void free_object(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(op);
    Py_DECREF((PyObject *)type);
}

static void table_dealloc(PyObject *op)
{
    Table *table = (Table *)op;
    PyObject_GC_UnTrack(op);
    if (table->by_number != NULL) {
        for (uint32_t i = 0; i <= table->mask; i++) {
            Py_XDECREF(table->by_number[i].member);
            Py_XDECREF(table->by_number[i].name);
        }
    }
    Py_XDECREF(table->vocabulary);
    Py_XDECREF(table->enum_type);
    PyMem_Free(table->by_number);
    PyMem_Free(table->by_identity);
    free_object(op);
}

static int table_fill(Table *table, PyObject *entries)
{
    Py_ssize_t count = PyTuple_Size(entries);
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
    if (table->by_number == NULL || table->by_identity == NULL) {
        PyMem_Free(table->by_number);
        table->by_number = NULL;
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
        if (table_by_number(table, number) != NULL || table_by_identity(table, member) != NULL) {
            PyErr_Format(PyExc_ValueError, "member %R or its number is given twice", member);
            return -1;
        }
        table_entry entry = {Py_NewRef(member), Py_NewRef(name), number};
        table_put(table->by_number, hash_number(table, (uint32_t)number), table->mask, entry);
        table_put(table->by_identity, hash_identity(table, member), table->mask, entry);
    }
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
        /* A long chain of them would overflow the stack as it goes. */
        PyErr_SetString(PyExc_TypeError, "a Table is neither a vocabulary nor an enum");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Table *table = state == NULL ? NULL : (Table *)allocate(type, 0);
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

static PyMemberDef table_members[] = {
    {"vocabulary", T_OBJECT, offsetof(Table, vocabulary), READONLY, "The vocabulary given."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(table_doc,
             "Table(vocabulary, enum_type, entries)\n--\n\n"
             "The members of one IntEnum, for Value: entries are (member, name, number).");

/* No tp_clear: a Table never changes, as a tuple, so that who still has one in a half-cleared cycle
 * finds it whole.  Something else of the cycle breaks it. */
static PyType_Slot table_slots[] = {
    {Py_tp_doc, (void *)table_doc},         {Py_tp_new, (void *)table_new},
    {Py_tp_dealloc, (void *)table_dealloc}, {Py_tp_traverse, (void *)table_traverse},
    {Py_tp_members, (void *)table_members}, {0, NULL},
};

static PyType_Spec table_spec = {
    .name = "atomic_intenum._native.Table",
    .basicsize = sizeof(Table),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = table_slots,
};

/* ------------------------------------------------------------------ Mapping */

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
    if (mapping->weakrefs != NULL) {
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
    for (Py_ssize_t i = 0; i < count; i++) {
        int error = aie_control_init(&controls[i]);
        if (error) {
            errno = error;
            return PyErr_SetFromErrno(PyExc_OSError);
        }
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
    {"view", mapping_view, METH_NOARGS,
     "view($self, /)\n--\n\nThe bytes, writable; the mapping stays as long as the view."},
    {"prepare", mapping_prepare, METH_VARARGS,
     "prepare($self, offset, count, /)\n--\n\nInitialise count control blocks at offset."},
    {"publish", mapping_publish, METH_NOARGS,
     "publish($self, /)\n--\n\nStore the magic: the segment is complete from here on."},
    {"published", mapping_published, METH_NOARGS,
     "published($self, /)\n--\n\nThe magic that the segment holds, 0 while it is half made."},
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

/* ------------------------------------------------------------------ Value */

typedef struct {
    PyObject_HEAD
    aie_word *word; /* NULL: __init__ never ran, or closed */
    Table *table;   /* NULL: __init__ never ran */
    aie_control *control;
    PyObject *guard; /* enters and leaves the lock= given; NULL: writes are lock-free */
    Mapping *mapping;
    PyObject *segment;
    PyObject *lock;    /* what get_lock() returns, once made */
    PyObject *retired; /* without the GIL: what an earlier __init__ had bound */
    PyObject *weakrefs;
    Py_ssize_t index;
    int calls_from_value; /* the class overrides it, so a name is asked of it */
} Value;

static PyObject *raise_closed(void)
{
    PyErr_SetString(PyExc_ValueError, "this value is closed, or its __init__ never ran");
    return NULL;
}

/* The word, or NULL with ValueError.  Valid until the caller runs Python code or gives up the GIL.
 */
static inline aie_word *value_word(Value *self)
{
    aie_word *word = FIELD_LOAD(self->word);
    if (word == NULL) {
        raise_closed();
    }
    return word;
}

/* The number stands for no member: ValueError, worded by the vocabulary. */
static PyObject *refuse_number(Table *table, int32_t number)
{
    PyObject *boxed = PyLong_FromLong(number);
    if (boxed == NULL) {
        return NULL;
    }
    PyObject *result =
        PyObject_CallMethodObjArgs(table->vocabulary, table->state->str_refuse, boxed, NULL);
    Py_DECREF(boxed);
    if (result != NULL) {
        Py_DECREF(result);
        PyErr_Format(PyExc_ValueError, "%d is not a member's value", (int)number);
    }
    return NULL;
}

static PyObject *value_member(Value *self, int32_t number)
{
    Table *table = FIELD_LOAD(self->table);
    const table_entry *entry = table_by_number(table, number);
    return entry != NULL ? Py_NewRef(entry->member) : refuse_number(table, number);
}

/* What `object` is to be written as: a member by identity, else by the class's own _atomic_number,
 * which takes names and words the errors.  May run Python code. */
static inline int value_number(Value *self, PyObject *object, int32_t *number)
{
    if (value_word(self) == NULL) {
        return -1;
    }
    Table *table = FIELD_LOAD(self->table);
    const table_entry *entry = table_by_identity(table, object);
    if (entry != NULL) {
        *number = entry->number;
        return 0;
    }
    PyObject *boxed =
        PyObject_CallMethodObjArgs((PyObject *)self, table->state->str_number, object, NULL);
    if (boxed == NULL) {
        return -1;
    }
    long wide = PyLong_AsLong(boxed);
    Py_DECREF(boxed);
    if (wide == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (FIELD_LOAD(self->table) != table) {
        PyErr_SetString(PyExc_RuntimeError, "the value was initialised anew while it was written");
        return -1;
    }
    if (wide < INT32_MIN || wide > INT32_MAX) {
        PyErr_Format(PyExc_OverflowError, "%ld does not fit 32 bits", wide);
        return -1;
    }
    *number = (int32_t)wide;
    return 0;
}

/* The word is LOCKED: wait for the lock, 50 ms at a time, looking at signals in between.
 * 1 written, 0 mismatch, -1 with an exception. */
static int value_change_slow(Value *self, aie_word *word, aie_change *change)
{
    aie_control *control = self->control;
    PyObject *mapping = Py_NewRef((PyObject *)self->mapping);
    aie_result result = aie_change_slice(word, control, change, 0);
    while (result == AIE_BUSY) {
        if (PyErr_CheckSignals() < 0) {
            Py_DECREF(mapping);
            return -1;
        }
        Py_BEGIN_ALLOW_THREADS
        result = aie_lock_until(control, word, aie_now() + AIE_SLICE);
        Py_END_ALLOW_THREADS
        bool closed = FIELD_LOAD(self->word) != word; /* meanwhile */
        if (result == AIE_OK) {
            bool last;
            if (!closed) {
                result = aie_word_change_held(word, change);
            }
            aie_lock_release(control, word, &last);
        }
        else if (result == AIE_BUSY && !closed) {
            /* The compare may fail by now, or the holder may have left: neither needs the lock. */
            aie_result bare = aie_word_change(word, change);
            result = bare == AIE_LOCKED ? AIE_BUSY : bare;
        }
        if (closed) {
            Py_DECREF(mapping);
            raise_closed();
            return -1;
        }
    }
    Py_DECREF(mapping);
    if (result == AIE_OK || result == AIE_MISMATCH) {
        return result == AIE_OK;
    }
    raise_result(result);
    return -1;
}

/* Call an attribute of the guard: a lock's own bound method, so that for locks made in C no Python
 * frame stands between, and with it no signal handler. */
static PyObject *guard_call(PyObject *guard, PyObject *name)
{
    PyObject *method = PyObject_GetAttr(guard, name);
    if (method == NULL || method == Py_None) {
        return method;
    }
    PyObject *result = PyObject_CallNoArgs(method);
    Py_DECREF(method);
    return result;
}

/* Take the guard's lock: 1 taken, 0 it was this thread's already, -1 with an exception. */
static int guard_enter(PyObject *guard, module_state *state)
{
    PyObject *mine = guard_call(guard, state->str_is_mine);
    int held = mine == NULL ? -1 : PyObject_IsTrue(mine);
    Py_XDECREF(mine);
    if (held != 0) {
        return held < 0 ? -1 : 0;
    }
    PyObject *acquired = guard_call(guard, state->str_acquire);
    Py_XDECREF(acquired);
    return acquired == NULL ? -1 : 1;
}

/* The value was given lock=: every write holds it.  A compare that fails needs no lock. */
static int value_change_guarded(Value *self, PyObject *guard, aie_change *change)
{
    aie_word *word = value_word(self);
    if (word == NULL) {
        return -1;
    }
    if (change->compare && aie_word_value(aie_word_load(word)) != change->expected) {
        return 0;
    }
    module_state *state = FIELD_LOAD(self->table)->state;
    Py_INCREF(guard);
    int entered = guard_enter(guard, state);
    if (entered < 0) {
        Py_DECREF(guard);
        return -1;
    }
    aie_result result = AIE_MISMATCH;
    word = FIELD_LOAD(self->word); /* close() may have come while the lock was waited for */
    if (word != NULL) {
        result = aie_word_change_held(word, change);
    }
    PyObject *left = entered ? guard_call(guard, state->str_release) : Py_NewRef(Py_None);
    Py_DECREF(guard);
    if (left == NULL) {
        return -1;
    }
    Py_DECREF(left);
    if (word == NULL) {
        raise_closed();
        return -1;
    }
    return result == AIE_OK;
}

/* 1 written, 0 mismatch, -1 with an exception. */
static inline int value_change(Value *self, aie_change *change)
{
    aie_word *word = value_word(self);
    if (word == NULL) {
        return -1;
    }
    PyObject *guard = FIELD_LOAD(self->guard);
    if (guard != NULL) {
        return value_change_guarded(self, guard, change);
    }
    aie_result result = aie_word_change(word, change);
    if (result == AIE_LOCKED) {
        return value_change_slow(self, word, change);
    }
    return result == AIE_OK;
}

static PyObject *value_load(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Value *self = (Value *)op;
    aie_word *word = value_word(self);
    return word == NULL ? NULL : value_member(self, aie_word_value(aie_word_load(word)));
}

/* The one argument of set() and exchange(), in `number`.  Common case first: by position. */
static inline int value_argument(Value *self, const char *function, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames, int32_t *number)
{
    static const char *const names[] = {"value"};
    PyObject *argument;
    if (nargs == 1 && kwnames == NULL) {
        argument = args[0];
    }
    else if (parse_arguments(function, args, nargs, kwnames, names, 1, 1, &argument) < 0) {
        return -1;
    }
    return value_number(self, argument, number);
}

/* The common case of a write: arguments by position, the value open, no lock= given.  The word, or
 * NULL without an exception: then the slow function sorts out what it is.  Those are kept out of
 * line, so that the common case lives in registers. */
static inline aie_word *value_fast_word(Value *self, Py_ssize_t nargs, Py_ssize_t wanted,
                                        PyObject *kwnames)
{
    if (nargs != wanted || kwnames != NULL || FIELD_LOAD(self->guard) != NULL) {
        return NULL;
    }
    return FIELD_LOAD(self->word);
}

#define SLOW __attribute__((noinline, cold)) static

SLOW PyObject *value_set_slow(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    Value *self = (Value *)op;
    aie_change change = {.compare = false};
    if (value_argument(self, "set", args, nargs, kwnames, &change.desired) < 0
        || value_change(self, &change) < 0) {
        return NULL;
    }
    return none();
}

static PyObject *value_set(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Value *self = (Value *)op;
    aie_word *word = value_fast_word(self, nargs, 1, kwnames);
    if (word != NULL) {
        const table_entry *entry = table_by_identity(FIELD_LOAD(self->table), args[0]);
        if (entry != NULL) {
            aie_change change = {.desired = entry->number, .compare = false};
            if (aie_word_change(word, &change) == AIE_OK) {
                return none();
            }
        }
    }
    return value_set_slow(op, args, nargs, kwnames);
}

SLOW PyObject *value_exchange_slow(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *kwnames)
{
    Value *self = (Value *)op;
    aie_change change = {.compare = false};
    if (value_argument(self, "exchange", args, nargs, kwnames, &change.desired) < 0
        || value_change(self, &change) < 0) {
        return NULL;
    }
    return value_member(self, aie_word_value(change.seen));
}

static PyObject *value_exchange(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    Value *self = (Value *)op;
    aie_word *word = value_fast_word(self, nargs, 1, kwnames);
    if (word != NULL) {
        const table_entry *entry = table_by_identity(FIELD_LOAD(self->table), args[0]);
        if (entry != NULL) {
            aie_change change = {.desired = entry->number, .compare = false};
            if (aie_word_change(word, &change) == AIE_OK) {
                return value_member(self, aie_word_value(change.seen));
            }
        }
    }
    return value_exchange_slow(op, args, nargs, kwnames);
}

SLOW PyObject *value_compare_and_set_slow(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                          PyObject *kwnames)
{
    static const char *const names[] = {"old", "new"};
    Value *self = (Value *)op;
    PyObject *parsed[2];
    if (nargs != 2 || kwnames != NULL) {
        if (parse_arguments("compare_and_set", args, nargs, kwnames, names, 2, 2, parsed) < 0) {
            return NULL;
        }
        args = parsed;
    }
    aie_change change = {.compare = true};
    if (value_number(self, args[0], &change.expected) < 0
        || value_number(self, args[1], &change.desired) < 0) {
        return NULL;
    }
    int written = value_change(self, &change);
    return written < 0 ? NULL : boolean(written);
}

static PyObject *value_compare_and_set(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                       PyObject *kwnames)
{
    Value *self = (Value *)op;
    aie_word *word = value_fast_word(self, nargs, 2, kwnames);
    if (word != NULL) {
        const Table *table = FIELD_LOAD(self->table);
        const table_entry *old = table_by_identity(table, args[0]);
        const table_entry *new = table_by_identity(table, args[1]);
        if (old != NULL && new != NULL) {
            aie_change change = {.expected = old->number, .desired = new->number, .compare = true};
            aie_result result = aie_word_change(word, &change);
            if (result != AIE_LOCKED) {
                return boolean(result == AIE_OK);
            }
        }
    }
    return value_compare_and_set_slow(op, args, nargs, kwnames);
}

/* A timeout in seconds as a monotonic deadline; None waits for ever.  -1 with an exception. */
static int timeout_deadline(PyObject *timeout, int64_t *deadline)
{
    *deadline = INT64_MAX;
    if (timeout == NULL || timeout == Py_None) {
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "timeout must not be NaN");
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

/* The same for a wait, where a negative timeout is a mistake (a lock takes it as 0, as
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

/* ---- waiting */

/* Whether this thread holds the lock that every writer of the value needs: 1, 0, or -1 with an
 * exception. */
static int value_lock_is_held_here(Value *self, aie_word *word, uint64_t seen)
{
    PyObject *guard = FIELD_LOAD(self->guard);
    if (guard == NULL) {
        return (seen & AIE_LOCKED_BIT) && aie_lock_is_mine(self->control, word);
    }
    Py_INCREF(guard);
    PyObject *answer = PyObject_CallMethod(guard, "held_here", NULL);
    Py_DECREF(guard);
    int held = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return held;
}

/* One wait: first spinning, then asleep.  1 the goal is met, 0 the deadline is past, -1 with an
 * exception.  *seen is the word that decided. */
static int value_await(Value *self, const aie_goal *goal, int64_t deadline, uint64_t *seen)
{
    aie_word *word = value_word(self);
    if (word == NULL) {
        return -1;
    }
    *seen = aie_word_load(word);
    if (aie_goal_met(goal, *seen)) {
        return 1;
    }
    int held = value_lock_is_held_here(self, word, *seen);
    if (held != 0) {
        if (held > 0) {
            PyErr_SetString(PyExc_RuntimeError, "waiting while holding the value's lock: nobody "
                                                "could change the value");
        }
        return -1;
    }
    if (FIELD_LOAD(self->word) != word) { /* asking the guard ran Python code */
        raise_closed();
        return -1;
    }
    if (aie_now() >= deadline) {
        return 0;
    }
    PyObject *mapping = Py_NewRef((PyObject *)self->mapping);
    aie_result result;
    int64_t spin = aie_spin();
    Py_BEGIN_ALLOW_THREADS
    result = AIE_AGAIN;
    if (spin > 0) {
        int64_t until = aie_now() + spin;
        result = aie_await_spinning(word, goal, until < deadline ? until : deadline, seen);
    }
    if (result != AIE_OK) {
        result = aie_await_sleeping(word, goal, deadline, seen);
    }
    Py_END_ALLOW_THREADS
    while (result == AIE_AGAIN || result == AIE_INTERRUPTED) {
        if (PyErr_CheckSignals() < 0) {
            Py_DECREF(mapping);
            return -1;
        }
        if (FIELD_LOAD(self->word) != word) {
            Py_DECREF(mapping);
            raise_closed();
            return -1;
        }
        Py_BEGIN_ALLOW_THREADS
        result = aie_await_sleeping(word, goal, deadline, seen);
        Py_END_ALLOW_THREADS
    }
    Py_DECREF(mapping);
    if (FIELD_LOAD(self->word) != word) { /* closed meanwhile, whatever came after */
        raise_closed();
        return -1;
    }
    return result == AIE_OK;
}

#define GOAL_ON_STACK 16

/* wait_for(member, /, *members, timeout=None) and wait_while: `leave` tells which. */
static PyObject *value_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames, bool leave)
{
    Value *self = (Value *)op;
    const char *name = leave ? "wait_while" : "wait_for";
    PyObject *timeout = NULL;
    if (nargs < 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes at least one member", name);
        return NULL;
    }
    if (kwnames != NULL && PyTuple_Size(kwnames) > 0) {
        PyObject *keyword = PyTuple_GetItem(kwnames, 0);
        if (PyTuple_Size(kwnames) > 1
            || PyUnicode_CompareWithASCIIString(keyword, "timeout") != 0) {
            PyErr_Format(PyExc_TypeError, "%s() takes one keyword argument, timeout", name);
            return NULL;
        }
        timeout = args[nargs];
    }
    int64_t deadline;
    if (wait_deadline(timeout, &deadline) < 0) {
        return NULL;
    }
    int32_t stack[GOAL_ON_STACK];
    int32_t *values = stack;
    if (nargs > GOAL_ON_STACK && (values = PyMem_Malloc((size_t)nargs * sizeof(*values))) == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *result = NULL;
    Py_ssize_t i = 0;
    while (i < nargs && value_number(self, args[i], &values[i]) == 0) {
        i++;
    }
    if (i == nargs) {
        aie_goal goal = {values, (size_t)nargs, leave};
        uint64_t seen = 0;
        int met = value_await(self, &goal, deadline, &seen);
        if (met > 0) {
            result = value_member(self, aie_word_value(seen));
        }
        else if (met == 0) {
            PyErr_Format(PyExc_TimeoutError, "%s() waited for %S seconds in vain", name, timeout);
        }
    }
    if (values != stack) {
        PyMem_Free(values);
    }
    return result;
}

static PyObject *value_wait_for(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    return value_wait(op, args, nargs, kwnames, false);
}

static PyObject *value_wait_while(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames)
{
    return value_wait(op, args, nargs, kwnames, true);
}

static PyObject *value_get_value(PyObject *op, void *Py_UNUSED(closure))
{
    aie_word *word = value_word((Value *)op);
    return word == NULL ? NULL : PyLong_FromLong(aie_word_value(aie_word_load(word)));
}

static int value_set_value(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "value cannot be deleted");
        return -1;
    }
    /* By attribute: subclasses override set(), and instances may. */
    Table *table = FIELD_LOAD(((Value *)op)->table);
    PyObject *result = table != NULL
                           ? PyObject_CallMethodObjArgs(op, table->state->str_set, value, NULL)
                           : PyObject_CallMethod(op, "set", "(O)", value);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static PyObject *value_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    Value *self = (Value *)op;
    aie_word *word = value_word(self);
    if (word == NULL) {
        return NULL;
    }
    int32_t number = aie_word_value(aie_word_load(word));
    Table *table = FIELD_LOAD(self->table);
    if (self->calls_from_value) {
        PyObject *boxed = PyLong_FromLong(number);
        if (boxed == NULL) {
            return NULL;
        }
        PyObject *name = PyObject_CallMethodObjArgs(op, table->state->str_from_value, boxed, NULL);
        Py_DECREF(boxed);
        return name;
    }
    const table_entry *entry = table_by_number(table, number);
    return entry != NULL ? Py_NewRef(entry->name) : refuse_number(table, number);
}

static PyObject *value_get_version(PyObject *op, void *Py_UNUSED(closure))
{
    aie_word *word = value_word((Value *)op);
    return word == NULL ? NULL : PyLong_FromUnsignedLong(aie_word_version(aie_word_load(word)));
}

static int ordering(int op, int difference)
{
    switch (op) {
    case Py_LT:
        return difference < 0;
    case Py_LE:
        return difference <= 0;
    case Py_EQ:
        return difference == 0;
    case Py_NE:
        return difference != 0;
    case Py_GT:
        return difference > 0;
    default:
        return difference >= 0;
    }
}

static int sign(long long left, long long right)
{
    return (left > right) - (left < right);
}

/* Comparison with an int of any size. */
static PyObject *compare_int(Value *self, PyObject *other, int op)
{
    int overflow;
    long long right = PyLong_AsLongLongAndOverflow(other, &overflow);
    if (right == -1 && !overflow && PyErr_Occurred()) {
        return NULL;
    }
    aie_word *word = value_word(self);
    if (word == NULL) {
        return NULL;
    }
    int difference = overflow ? -overflow : sign(aie_word_value(aie_word_load(word)), right);
    return boolean(ordering(op, difference));
}

static PyObject *value_richcompare(PyObject *op_self, PyObject *other, int op)
{
    Value *self = (Value *)op_self;
    aie_word *word = value_word(self);
    if (word == NULL) {
        return NULL;
    }
    Table *table = FIELD_LOAD(self->table);
    const table_entry *entry = table_by_identity(table, other);
    if (entry != NULL) {
        int32_t left = aie_word_value(aie_word_load(word));
        return boolean(ordering(op, sign(left, entry->number)));
    }
    if (PyLong_Check(other)) {
        return compare_int(self, other, op);
    }
    if (PyObject_TypeCheck(other, table->state->value_type)) {
        aie_word *right = value_word((Value *)other);
        if (right == NULL) {
            return NULL;
        }
        if (FIELD_LOAD(((Value *)other)->table)->enum_type == table->enum_type) {
            int32_t left = aie_word_value(aie_word_load(word));
            return boolean(ordering(op, sign(left, aie_word_value(aie_word_load(right)))));
        }
    }
    /* A name, or a TypeError: worded in Python, where it may also be asked of an override. */
    PyObject *equality = op == Py_EQ || op == Py_NE ? Py_True : Py_False;
    PyObject *operand =
        PyObject_CallMethodObjArgs(op_self, table->state->str_operand, other, equality, NULL);
    if (operand == NULL) {
        return NULL;
    }
    PyObject *result = NULL;
    if (PyLong_Check(operand)) {
        result = compare_int(self, operand, op);
    }
    else {
        PyErr_SetString(PyExc_TypeError, "the operand of a comparison is not an int");
    }
    Py_DECREF(operand);
    return result;
}

static Py_hash_t value_hash(PyObject *op)
{
    Value *self = (Value *)op;
    aie_word *word = value_word(self);
    if (word == NULL) {
        return -1;
    }
    PyObject *number = PyLong_FromLong(aie_word_value(aie_word_load(word)));
    PyObject *key =
        number == NULL ? NULL : PyTuple_Pack(2, FIELD_LOAD(self->table)->enum_type, number);
    Py_XDECREF(number);
    if (key == NULL) {
        return -1;
    }
    Py_hash_t hash = PyObject_Hash(key);
    Py_DECREF(key);
    return hash;
}

/* What a Value is bound to, the word apart. */
typedef struct {
    PyObject *table;
    PyObject *mapping;
    PyObject *segment;
    PyObject *guard;
    PyObject *lock;
} value_bound;

/* Bind to `next`, whose references go over to the value; `before` gets the old ones.  Nothing here
 * runs Python code, so under the GIL it is one step. */
static void value_rebind(Value *self, const value_bound *next, aie_control *control, aie_word *word,
                         value_bound *before)
{
    *before = (value_bound){(PyObject *)self->table, (PyObject *)self->mapping, self->segment,
                            self->guard, self->lock};
    FIELD_STORE(self->word, NULL);
    FIELD_STORE(self->table, (Table *)next->table);
    FIELD_STORE(self->mapping, (Mapping *)next->mapping);
    FIELD_STORE(self->segment, next->segment);
    FIELD_STORE(self->guard, next->guard);
    FIELD_STORE(self->lock, next->lock);
    FIELD_STORE(self->control, control);
    /* Last: from here on the value works.  release, so that whoever loads it sees the rest. */
    FIELD_STORE(self->word, word);
}

/* Give up what was bound before.  Under the GIL nobody is left who uses it: a call that gave up the
 * GIL holds what it needs.  Without the GIL any call may be in flight, so it stays with the object.
 */
static int value_forget(Value *self, const value_bound *before)
{
#ifdef Py_GIL_DISABLED
    if (before->table != NULL) {
        PyObject *retired = self->retired == NULL ? PyList_New(0) : Py_NewRef(self->retired);
        PyObject *objects[] = {before->table, before->mapping, before->segment, before->guard,
                               before->lock};
        for (size_t i = 0; retired != NULL && i < sizeof(objects) / sizeof(objects[0]); i++) {
            if (objects[i] != NULL && PyList_Append(retired, objects[i]) < 0) {
                Py_CLEAR(retired);
            }
        }
        if (retired == NULL) {
            return -1; /* leaked rather than freed under somebody */
        }
        Py_XSETREF(self->retired, retired);
    }
#else
    (void)self;
#endif
    Py_XDECREF(before->table);
    Py_XDECREF(before->guard);
    Py_XDECREF(before->lock);
    Py_XDECREF(before->segment);
    Py_XDECREF(before->mapping);
    return 0;
}

#ifdef Py_GIL_DISABLED
#define ONE_AT_A_TIME(op) Py_BEGIN_CRITICAL_SECTION(op)
#define ONE_AT_A_TIME_ENDS() Py_END_CRITICAL_SECTION()
#else
#define ONE_AT_A_TIME(op)
#define ONE_AT_A_TIME_ENDS()
#endif

static int bind_offset(PyObject *object, Py_ssize_t *offset)
{
    *offset = PyLong_AsSsize_t(object);
    return *offset == -1 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *value_bind(PyObject *op, PyTypeObject *defining_class, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames)
{
    Value *self = (Value *)op;
    /* By the defining class: a subclass made in Python has no module of its own. */
    module_state *state = PyType_GetModuleState(defining_class);
    if (state == NULL) {
        return NULL;
    }
    /* Not on a bare Value: those could be chained by the segment argument, and a long chain would
     * overflow the stack as it goes.  Python's own subclasses guard against that. */
    if (nargs != 9 || kwnames != NULL || Py_TYPE(args[0]) != state->table_type
        || Py_TYPE(args[1]) != state->mapping_type || Py_TYPE(op) == state->value_type) {
        PyErr_SetString(PyExc_TypeError,
                        "_atomic_bind(table, mapping, segment, index, word_offset, "
                        "control_offset, guard, calls_from_value, first)");
        return NULL;
    }
    Mapping *mapping = (Mapping *)args[1];
    Py_ssize_t index, word_offset, control_offset;
    if (bind_offset(args[3], &index) < 0 || bind_offset(args[4], &word_offset) < 0
        || bind_offset(args[5], &control_offset) < 0) {
        return NULL;
    }
    aie_word *word = mapping_at(mapping, word_offset, sizeof(aie_word), alignof(aie_word));
    if (word == NULL) {
        return NULL;
    }
    aie_control *control = mapping_at(mapping, control_offset, sizeof(aie_control), AIE_LINE);
    if (control == NULL) {
        return NULL;
    }
    int calls_from_value = PyObject_IsTrue(args[7]);
    if (calls_from_value < 0) {
        return NULL;
    }
    long first = 0;
    if (args[8] != Py_None) {
        first = PyLong_AsLong(args[8]);
        if (first == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    if (args[8] != Py_None) {
        aie_word_first(word, (int32_t)first);
    }
    value_bound next = {Py_NewRef(args[0]), Py_NewRef(args[1]), Py_NewRef(args[2]),
                        args[6] == Py_None ? NULL : Py_NewRef(args[6]), NULL};
    value_bound before;
    int failed;
    ONE_AT_A_TIME(op);
    self->index = index;
    self->calls_from_value = calls_from_value;
    value_rebind(self, &next, control, word, &before);
    failed = value_forget(self, &before);
    ONE_AT_A_TIME_ENDS();
    return failed ? NULL : none();
}

static PyObject *value_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    FIELD_STORE(((Value *)op)->word, NULL);
    return none();
}

/* The lock object of get_lock(): the first one given stays, so that every thread gets the same. */
static PyObject *value_keep_lock(PyObject *op, PyObject *lock)
{
    Value *self = (Value *)op;
    if (value_word(self) == NULL) {
        return NULL;
    }
    PyObject *expected = NULL;
    Py_INCREF(lock);
    /* acq_rel: pairs with the acquire of value_get_lock and of the next exchange here. */
    if (!__atomic_compare_exchange_n(&self->lock, &expected, lock, 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        Py_DECREF(lock);
        return Py_NewRef(expected);
    }
    return Py_NewRef(lock);
}

static PyObject *value_get_lock(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *lock = FIELD_LOAD(((Value *)op)->lock);
    return Py_NewRef(lock == NULL ? Py_None : lock);
}

static PyObject *value_get_guard(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *guard = FIELD_LOAD(((Value *)op)->guard);
    return Py_NewRef(guard == NULL ? Py_None : guard);
}

static PyObject *value_get_segment(PyObject *op, void *Py_UNUSED(closure))
{
    return value_word((Value *)op) == NULL ? NULL : Py_NewRef(((Value *)op)->segment);
}

static PyObject *value_get_index(PyObject *op, void *Py_UNUSED(closure))
{
    return value_word((Value *)op) == NULL ? NULL : PyLong_FromSsize_t(((Value *)op)->index);
}

static PyObject *value_get_vocabulary(PyObject *op, void *Py_UNUSED(closure))
{
    Table *table = FIELD_LOAD(((Value *)op)->table);
    return Py_NewRef(table == NULL ? Py_None : table->vocabulary);
}

static int value_traverse(PyObject *op, visitproc visit, void *arg)
{
    Value *self = (Value *)op;
    Py_VISIT((PyObject *)Py_TYPE(op));
    Py_VISIT((PyObject *)self->table);
    Py_VISIT((PyObject *)self->mapping);
    Py_VISIT(self->segment);
    Py_VISIT(self->guard);
    Py_VISIT(self->lock);
    Py_VISIT(self->retired);
    return 0;
}

static int value_clear(PyObject *op)
{
    Value *self = (Value *)op;
    FIELD_STORE(self->word, NULL); /* whatever still runs with this object finds it closed */
    Py_CLEAR(self->lock);
    Py_CLEAR(self->guard);
    Py_CLEAR(self->retired);
    Py_CLEAR(self->segment);
    Py_CLEAR(self->mapping);
    Py_CLEAR(self->table);
    return 0;
}

static void value_dealloc(PyObject *op)
{
    Value *self = (Value *)op;
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    value_clear(op);
    free_object(op);
}

#define FAST(function) ((PyCFunction)(void (*)(void))(function))
#define FASTCALL (METH_FASTCALL | METH_KEYWORDS)

/* What each subclass gets descriptors of its own for: see descriptor(). */
static PyMethodDef value_hot_methods[] = {
    {"load", value_load, METH_NOARGS,
     "load($self, /)\n--\n\n"
     "The current member: one atomic load, wait-free, also while somebody holds the lock.\n\n"
     "Raises ValueError if the value is closed, or if its word holds no member's number."},
    {"set", FAST(value_set), FASTCALL,
     "set($self, /, value)\n--\n\n"
     "Set to a member, or to the member of that name.\n\n"
     "Lock-free, unless somebody holds the value's lock: then it waits for that.\n"
     "Raises TypeError for anything else, KeyError for an unknown name."},
    {"exchange", FAST(value_exchange), FASTCALL,
     "exchange($self, /, value)\n--\n\n"
     "Set to a member (or name) and return the previous member, in one step.\n\n"
     "Raises as set() does.  If the word held no member's number, the exchange has happened\n"
     "and ValueError carries that number."},
    {"compare_and_set", FAST(value_compare_and_set), FASTCALL,
     "compare_and_set($self, /, old, new)\n--\n\n"
     "If the value is old, make it new and return True, in one step; else return False.\n\n"
     "Of all processes that try at once, exactly one gets True.  False never waits."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef value_methods[] = {
    {"wait_for", FAST(value_wait_for), FASTCALL,
     "wait_for($self, member, /, *members, timeout=None)\n--\n\n"
     "Sleep until the value is one of the members (or names), and return that member.\n\n"
     "Raises TimeoutError after timeout seconds, RuntimeError while holding the value's lock."},
    {"wait_while", FAST(value_wait_while), FASTCALL,
     "wait_while($self, member, /, *members, timeout=None)\n--\n\n"
     "Sleep until the value is none of the members (or names), and return the member it is.\n\n"
     "Raises TimeoutError after timeout seconds, RuntimeError while holding the value's lock."},
    {"_atomic_bind", FAST(value_bind), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "_atomic_bind($self, /, *args)\n--\n\nPut the value on a word of a segment."},
    {"_atomic_close", value_close, METH_NOARGS,
     "_atomic_close($self, /)\n--\n\nMark the value closed."},
    {"_atomic_keep_lock", value_keep_lock, METH_O,
     "_atomic_keep_lock($self, lock, /)\n--\n\nKeep lock if none is kept; return the one kept."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef value_hot_getset[] = {
    {"value", value_get_value, value_set_value,
     "The current member's value, a plain int; takes a member or a name, through set().", NULL},
    {"name", value_get_name, NULL, "The current member's name.", NULL},
    {"version", value_get_version, NULL, "Writes so far, modulo 2**30.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyGetSetDef value_getset[] = {
    {"_atomic_lock", value_get_lock, NULL, "The lock that get_lock() made, or None.", NULL},
    {"_atomic_guard", value_get_guard, NULL, "What every write enters, or None.", NULL},
    {"_atomic_segment", value_get_segment, NULL, "The segment; ValueError once closed.", NULL},
    {"_atomic_index", value_get_index, NULL, "Index of the word; ValueError once closed.", NULL},
    {"_atomic_vocabulary", value_get_vocabulary, NULL, "The vocabulary, or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef value_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Value, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(value_doc, "Value()\n--\n\nA typed value on a state word; IntEnumValue's base class.");

/* The hot ones are added by hand, in add_hot. */
static PyType_Slot value_slots[] = {
    {Py_tp_doc, (void *)value_doc},
    {Py_tp_dealloc, (void *)value_dealloc},
    {Py_tp_traverse, (void *)value_traverse},
    {Py_tp_clear, (void *)value_clear},
    {Py_tp_richcompare, (void *)value_richcompare},
    {Py_tp_hash, (void *)value_hash},
    {Py_tp_methods, (void *)value_methods},
    {Py_tp_getset, (void *)value_getset},
    {Py_tp_members, (void *)value_members},
    {0, NULL},
};

static PyType_Spec value_spec = {
    .name = "atomic_intenum._native.Value",
    .basicsize = sizeof(Value),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = value_slots,
};

/* ------------------------------------------------------------------ Lock */

typedef struct {
    PyObject_HEAD
    Mapping *mapping;
    aie_word *word;
    aie_control *control;
    int abandoned; /* the last acquisition here took over from a dead holder */
} Lock;

static PyObject *lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"mapping", "word_offset", "control_offset", NULL};
    PyObject *mapping;
    Py_ssize_t word_offset, control_offset;
    module_state *state = PyType_GetModuleState(type);
    if (state == NULL
        || !PyArg_ParseTupleAndKeywords(args, kwargs, "O!nn:Lock", keywords, state->mapping_type,
                                        &mapping, &word_offset, &control_offset)) {
        return NULL;
    }
    aie_word *word =
        mapping_at((Mapping *)mapping, word_offset, sizeof(aie_word), alignof(aie_word));
    if (word == NULL) {
        return NULL;
    }
    aie_control *control =
        mapping_at((Mapping *)mapping, control_offset, sizeof(aie_control), AIE_LINE);
    if (control == NULL) {
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Lock *lock = (Lock *)allocate(type, 0);
    if (lock == NULL) {
        return NULL;
    }
    lock->mapping = (Mapping *)Py_NewRef(mapping);
    lock->word = word;
    lock->control = control;
    return (PyObject *)lock;
}

static void lock_dealloc(PyObject *op)
{
    Py_XDECREF((PyObject *)((Lock *)op)->mapping);
    free_object(op);
}

/* Entered: the outermost acquisition holds the region and takes the report of a death. */
static void lock_entered(Lock *self, bool quietly)
{
    if (aie_lock_depth(self->control) == 1) {
        aie_region_hold(self->mapping->region);
        if (!quietly) {
            FIELD_STORE(self->abandoned, aie_lock_take_report(self->control));
        }
    }
}

/* `quietly`, for a write: the report of a death stays for an explicit acquire. */
static PyObject *lock_acquire_until(Lock *self, int64_t deadline, bool quietly)
{
    /* Try with the GIL held: an uncontended lock costs no thread switch. */
    aie_result result = aie_lock_try(self->control, self->word);
    while (result == AIE_BUSY) {
        int64_t now = aie_now();
        if (now >= deadline) {
            return boolean(0);
        }
        if (PyErr_CheckSignals() < 0) {
            return NULL;
        }
        int64_t slice = deadline - now < AIE_SLICE ? deadline : now + AIE_SLICE;
        Py_BEGIN_ALLOW_THREADS
        result = aie_lock_until(self->control, self->word, slice);
        Py_END_ALLOW_THREADS
    }
    if (result != AIE_OK) {
        raise_result(result);
        return NULL;
    }
    /* A signal that came in the last slice: if its handler raises, the lock is not held. */
    if (PyErr_CheckSignals() < 0) {
        bool last;
        aie_lock_release(self->control, self->word, &last);
        return NULL;
    }
    lock_entered(self, quietly);
    return boolean(1);
}

static PyObject *lock_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    static const char *const names[] = {"block", "timeout"};
    PyObject *parsed[2];
    if (parse_arguments("acquire", args, nargs, kwnames, names, 0, 2, parsed) < 0) {
        return NULL;
    }
    int block = parsed[0] == NULL ? 1 : PyObject_IsTrue(parsed[0]);
    int64_t deadline;
    if (block < 0 || timeout_deadline(parsed[1], &deadline) < 0) {
        return NULL;
    }
    return lock_acquire_until((Lock *)op, block ? deadline : 0, false);
}

static PyObject *lock_release(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Lock *self = (Lock *)op;
    bool last;
    aie_result result = aie_lock_release(self->control, self->word, &last);
    if (result != AIE_OK) {
        raise_result(result);
        return NULL;
    }
    if (last) {
        aie_region_drop(self->mapping->region); /* lock_entered held it; the mapping still does */
    }
    return none();
}

static PyObject *lock_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return lock_acquire_until((Lock *)op, INT64_MAX, false);
}

static PyObject *lock_acquire_quietly(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return lock_acquire_until((Lock *)op, INT64_MAX, true);
}

static PyObject *lock_exit(PyObject *op, PyObject *const *Py_UNUSED(args),
                           Py_ssize_t Py_UNUSED(nargs))
{
    return lock_release(op, NULL);
}

static PyObject *lock_is_mine(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Lock *self = (Lock *)op;
    return boolean(aie_lock_is_mine(self->control, self->word));
}

static PyObject *lock_count(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Lock *self = (Lock *)op;
    return PyLong_FromUnsignedLong(aie_lock_depth_in_process(self->control));
}

static bool lock_is_taken(Lock *self)
{
    return aie_word_load(self->word) & AIE_LOCKED_BIT;
}

static PyObject *lock_get_value(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(!lock_is_taken((Lock *)op));
}

static PyObject *lock_is_zero(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return boolean(lock_is_taken((Lock *)op));
}

static PyObject *lock_after_fork(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(ignored))
{
    return none(); /* ownership is asked of the kernel each time: nothing to forget */
}

static PyObject *lock_get_abandoned(PyObject *op, void *Py_UNUSED(closure))
{
    return boolean(FIELD_LOAD(((Lock *)op)->abandoned));
}

static PyMethodDef lock_methods[] = {
    {"acquire", FAST(lock_acquire), FASTCALL,
     "acquire($self, /, block=True, timeout=None)\n--\n\n"
     "Acquire the lock: True, or False if block is false or timeout seconds have passed.\n\n"
     "Re-entrant.  Raises RuntimeError if this thread holds 1,024 such locks already."},
    {"release", lock_release, METH_NOARGS,
     "release($self, /)\n--\n\n"
     "Undo one acquire.  Raises RuntimeError, and changes nothing, if this thread does not\n"
     "hold the lock."},
    {"acquire_quietly", lock_acquire_quietly, METH_NOARGS,
     "acquire_quietly($self, /)\n--\n\n"
     "Acquire for a write: the report of a holder's death stays for an explicit acquire."},
    {"__enter__", lock_enter, METH_NOARGS, "__enter__($self, /)\n--\n\nAcquire."},
    {"__exit__", FAST(lock_exit), METH_FASTCALL, "__exit__($self, /, *args)\n--\n\nRelease."},
    {"_count", lock_count, METH_NOARGS,
     "_count($self, /)\n--\n\nHow often a thread of this process has acquired the lock."},
    {"_is_mine", lock_is_mine, METH_NOARGS,
     "_is_mine($self, /)\n--\n\nWhether this thread holds the lock."},
    {"_get_value", lock_get_value, METH_NOARGS,
     "_get_value($self, /)\n--\n\n0 while the lock is held, else 1."},
    {"_is_zero", lock_is_zero, METH_NOARGS, "_is_zero($self, /)\n--\n\nWhether the lock is held."},
    {"_after_fork", lock_after_fork, METH_NOARGS,
     "_after_fork($self, /)\n--\n\nDoes nothing: a child never takes itself for its parent."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef lock_getset[] = {
    {"abandoned", lock_get_abandoned, NULL,
     "Whether the last acquisition here took over from a holder that died.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(lock_doc, "Lock(mapping, word_offset, control_offset)\n--\n\n"
                       "The robust, re-entrant lock of one value, as multiprocessing's SemLock.");

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, (void *)lock_doc},         {Py_tp_new, (void *)lock_new},
    {Py_tp_dealloc, (void *)lock_dealloc}, {Py_tp_methods, (void *)lock_methods},
    {Py_tp_getset, (void *)lock_getset},   {0, NULL},
};

static PyType_Spec lock_spec = {
    .name = "atomic_intenum._native.Lock",
    .basicsize = sizeof(Lock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = lock_slots,
};

/* ------------------------------------------------------------------ module */

PyDoc_STRVAR(
    descriptor_doc,
    "descriptor($module, cls, name, /)\n--\n\n"
    "A descriptor of a hot method or attribute that belongs to cls, a subclass of Value.\n\n"
    "CPython's specialised method calls need the descriptor's own type to be the\n"
    "instance's exact type, and an attribute's getter walks the MRO when it is not.");

/* A new descriptor for the hot method or attribute `name`. */
static PyObject *hot_descriptor(PyTypeObject *type, const char *name)
{
    for (PyMethodDef *method = value_hot_methods; method->ml_name != NULL; method++) {
        if (strcmp(method->ml_name, name) == 0) {
            return PyDescr_NewMethod(type, method);
        }
    }
    for (PyGetSetDef *getset = value_hot_getset; getset->name != NULL; getset++) {
        if (strcmp(getset->name, name) == 0) {
            return PyDescr_NewGetSet(type, getset);
        }
    }
    PyErr_Format(PyExc_ValueError, "%s is not a hot name", name);
    return NULL;
}

static PyObject *module_descriptor(PyObject *module, PyObject *args)
{
    PyObject *type;
    const char *name;
    if (!PyArg_ParseTuple(args, "O!s:descriptor", &PyType_Type, &type, &name)) {
        return NULL;
    }
    module_state *state = PyModule_GetState(module);
    if (!PyType_IsSubtype((PyTypeObject *)type, state->value_type)) {
        PyErr_Format(PyExc_TypeError, "%R is not a subclass of Value", type);
        return NULL;
    }
    return hot_descriptor((PyTypeObject *)type, name);
}

static PyObject *module_stop_unmapping(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    FIELD_STORE(((module_state *)PyModule_GetState(module))->exiting, 1);
    return none();
}

static PyObject *module_set_spin(PyObject *Py_UNUSED(module), PyObject *microseconds)
{
    double wanted = PyFloat_AsDouble(microseconds);
    if (wanted == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    if (!(wanted >= 0 && wanted <= 1e6)) {
        PyErr_SetString(PyExc_ValueError, "0 to 1,000,000 microseconds");
        return NULL;
    }
    /* relaxed: any wait that begins later sees it soon enough. */
    atomic_store_explicit(&aie_spin_ns, (int64_t)(wanted * 1000), memory_order_relaxed);
    return none();
}

static PyMethodDef module_methods[] = {
    {"set_spin", module_set_spin, METH_O,
     "set_spin($module, microseconds, /)\n--\n\n"
     "For tests and measurements: how long a wait looks before it sleeps."},
    {"descriptor", module_descriptor, METH_VARARGS, descriptor_doc},
    {"stop_unmapping", module_stop_unmapping, METH_NOARGS,
     "stop_unmapping($module, /)\n--\n\n"
     "For interpreter exit: keep every mapping from here on."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    return (PyTypeObject *)type;
}

static const char *const hot_names[] = {"load",  "set",  "exchange", "compare_and_set",
                                        "value", "name", "version"};

/* Give Value its hot descriptors, and the module their names. */
static int add_hot(PyTypeObject *type, PyObject *module)
{
    Py_ssize_t count = sizeof(hot_names) / sizeof(hot_names[0]);
    PyObject *names = PyTuple_New(count);
    if (names == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = PyUnicode_InternFromString(hot_names[i]);
        PyObject *descriptor = name == NULL ? NULL : hot_descriptor(type, hot_names[i]);
        int failed = descriptor == NULL || PyObject_SetAttr((PyObject *)type, name, descriptor) < 0;
        Py_XDECREF(descriptor);
        if (failed) {
            Py_XDECREF(name);
            Py_DECREF(names);
            return -1;
        }
        PyTuple_SetItem(names, i, name); /* takes the name over */
    }
    int result = PyModule_AddObjectRef(module, "HOT_NAMES", names);
    Py_DECREF(names);
    return result;
}

/* The layout as this binary has it, so that the Python side can be checked against it. */
static int add_layout(PyObject *module)
{
    static const struct {
        const char *name;
        long long value;
    } constants[] = {
        {"MAGIC", (long long)AIE_MAGIC},
        {"LAYOUT_VERSION", AIE_LAYOUT_VERSION},
        {"PROTOCOL_ATOMIC", AIE_PROTOCOL_ATOMIC},
        {"PROTOCOL_LOCK", AIE_PROTOCOL_LOCK},
        {"LIBC", AIE_LIBC},
        {"MUTEX_SIZE", sizeof(pthread_mutex_t)},
        {"HEADER_SIZE", sizeof(aie_header)},
        {"CONTROL_SIZE", sizeof(aie_control)},
        {"SINGLE_STRIDE", AIE_SINGLE_STRIDE},
        {"VERSION_SHIFT", AIE_VERSION_SHIFT},
        {"ROBUST", AIE_ROBUST},
        {"FUTEX", AIE_FUTEX},
        {"MAX_HELD", AIE_MAX_HELD},
        {"OFFSET_LAYOUT_VERSION", offsetof(aie_header, layout_version)},
        {"OFFSET_CAPACITY", offsetof(aie_header, capacity)},
        {"OFFSET_CONTROL_OFFSET", offsetof(aie_header, control_offset)},
        {"OFFSET_MUTEX_SIZE", offsetof(aie_header, mutex_size)},
        {"OFFSET_VOCABULARY_SIZE", offsetof(aie_header, vocabulary_size)},
        {"OFFSET_FINGERPRINT", offsetof(aie_header, fingerprint)},
        {"OFFSET_NONCE", offsetof(aie_header, nonce)},
        {"OFFSET_CREATOR_START", offsetof(aie_header, creator_start)},
        {"OFFSET_PID_NAMESPACE", offsetof(aie_header, pid_namespace)},
        {"OFFSET_CREATOR_PID", offsetof(aie_header, creator_pid)},
        {"OFFSET_KIND", offsetof(aie_header, kind)},
        {"OFFSET_EVENT", offsetof(aie_header, event)},
    };
    for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
        PyObject *value = PyLong_FromLongLong(constants[i].value);
        if (value == NULL || PyModule_AddObjectRef(module, constants[i].name, value) < 0) {
            Py_XDECREF(value);
            return -1;
        }
        Py_DECREF(value);
    }
    return 0;
}

static int add_names(module_state *state)
{
    return (state->str_set = PyUnicode_InternFromString("set")) == NULL
                   || (state->str_from_value = PyUnicode_InternFromString("from_value")) == NULL
                   || (state->str_number = PyUnicode_InternFromString("_atomic_number")) == NULL
                   || (state->str_operand = PyUnicode_InternFromString("_atomic_operand")) == NULL
                   || (state->str_refuse = PyUnicode_InternFromString("refuse_number")) == NULL
                   || (state->str_is_mine = PyUnicode_InternFromString("is_mine")) == NULL
                   || (state->str_acquire = PyUnicode_InternFromString("acquire")) == NULL
                   || (state->str_release = PyUnicode_InternFromString("release")) == NULL
               ? -1
               : 0;
}

static int module_exec(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    if (add_names(state) < 0 || add_layout(module) < 0
        || (state->table_type = add_type(module, &table_spec)) == NULL
        || (state->mapping_type = add_type(module, &mapping_spec)) == NULL
        || (state->value_type = add_type(module, &value_spec)) == NULL
        || (state->lock_type = add_type(module, &lock_spec)) == NULL) {
        return -1;
    }
    return add_hot(state->value_type, module);
}

#define FOR_EACH_STATE_FIELD(apply)   \
    do {                              \
        apply(state->table_type);     \
        apply(state->mapping_type);   \
        apply(state->value_type);     \
        apply(state->lock_type);      \
        apply(state->str_set);        \
        apply(state->str_from_value); \
        apply(state->str_number);     \
        apply(state->str_operand);    \
        apply(state->str_refuse);     \
        apply(state->str_is_mine);    \
        apply(state->str_acquire);    \
        apply(state->str_release);    \
    } while (0)

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    module_state *state = PyModule_GetState(module);
    FOR_EACH_STATE_FIELD(Py_VISIT);
    return 0;
}

static int module_clear(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    FOR_EACH_STATE_FIELD(Py_CLEAR);
    return 0;
}

static void module_free(void *module)
{
    module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)module_exec},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
#if !defined(Py_LIMITED_API) && PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "The compiled core of atomic_intenum, and its CPython types.",
    .m_size = sizeof(module_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&module_def);
}
