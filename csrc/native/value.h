/* value.h -- the type Value: what it is bound to, its life, its descriptors.
 */
#ifndef AIE_NATIVE_VALUE_H
#define AIE_NATIVE_VALUE_H

#include "compare.h"
#include "operations.h"
#include "waiting.h"

/* What a Value is bound to, the word apart. */
typedef struct {
    PyObject *table;
    PyObject *mapping;
    PyObject *segment;
    PyObject *guard;
    PyObject *lock;
    Py_ssize_t index;
    int calls_from_value;
} value_bound;

static value_bound value_bound_now(const Value *self)
{
    return (value_bound){.table = (PyObject *)self->table,
                         .mapping = (PyObject *)self->mapping,
                         .segment = self->segment,
                         .guard = self->guard,
                         .lock = self->lock};
}

/* Bind to `next`, whose references go over to the value; `before` gets the old ones.  Nothing here
 * runs Python code, so under the GIL it is one step.  Without it value_word_of relies on the order:
 * the word goes first and comes last. */
static void value_rebind(Value *self, const value_bound *next, aie_control *control, aie_word *word,
                         value_bound *before)
{
    *before = value_bound_now(self);
    FIELD_STORE(self->word, NULL);
    FIELD_STORE(self->table, (Table *)next->table);
    FIELD_STORE(self->mapping, (Mapping *)next->mapping);
    FIELD_STORE(self->segment, next->segment);
    FIELD_STORE(self->guard, next->guard);
    FIELD_STORE(self->lock, next->lock);
    FIELD_STORE(self->control, control);
    FIELD_STORE(self->event, mapping_event((Mapping *)next->mapping));
    FIELD_STORE(self->index, next->index);
    FIELD_STORE(self->calls_from_value, next->calls_from_value);
    /* Last: from here on the value works.  release, so that whoever loads it sees the rest. */
    FIELD_STORE(self->word, word);
}

static void value_bound_free(value_bound *bound)
{
    Py_XDECREF(bound->table);
    Py_XDECREF(bound->guard);
    Py_XDECREF(bound->lock);
    Py_XDECREF(bound->segment);
    Py_XDECREF(bound->mapping);
}

typedef struct value_retired {
    struct value_retired *next;
    value_bound bound;
} value_retired;

/* Give up what was bound before.  Under the GIL nobody is left who uses it: a call that gave up the
 * GIL holds what it needs.  Without the GIL any call may be in flight, so it stays with the object.
 */
static int value_forget(Value *self, value_bound *before)
{
#ifdef Py_GIL_DISABLED
    if (before->table == NULL) {
        return 0;
    }
    value_retired *retired = PyMem_Malloc(sizeof(*retired));
    if (retired == NULL) {
        PyErr_NoMemory();
        return -1; /* leaked rather than freed under somebody */
    }
    *retired = (value_retired){.next = FIELD_LOAD(self->retired), .bound = *before};
    /* release: pairs with whoever takes the object apart.  acquire: of the one that it is put
     * before. */
    while (!__atomic_compare_exchange_n(&self->retired, &retired->next, retired, true,
                                        __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    }
#else
    (void)self;
    value_bound_free(before);
#endif
    return 0;
}

static void value_forget_retired(value_retired *retired)
{
    while (retired != NULL) {
        value_retired *next = retired->next;
        value_bound_free(&retired->bound);
        PyMem_Free(retired);
        retired = next;
    }
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
    value_bound next = {.table = Py_NewRef(args[0]),
                        .mapping = Py_NewRef(args[1]),
                        .segment = Py_NewRef(args[2]),
                        .guard = args[6] == Py_None ? NULL : Py_NewRef(args[6]),
                        .index = index,
                        .calls_from_value = calls_from_value};
    value_bound before;
    ONE_AT_A_TIME(op);
    value_rebind(self, &next, control, word, &before);
    ONE_AT_A_TIME_ENDS();
    return value_forget(self, &before) < 0 ? NULL : none();
}

static PyObject *value_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    FIELD_STORE(((Value *)op)->word, NULL);
    return none();
}

/* The lock object of get_lock(): the first one given stays, so that every thread gets the same.
 * None if the value is bound to another place than that which the lock was made for. */
static PyObject *value_keep_lock(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    Value *self = (Value *)op;
    Py_ssize_t index;
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "_atomic_keep_lock(lock, segment, index)");
        return NULL;
    }
    if (bind_offset(args[2], &index) < 0 || value_word(self) == NULL) {
        return NULL;
    }
    PyObject *kept = NULL;
    ONE_AT_A_TIME(op);
    if (self->segment == args[1] && self->index == index) {
        if (self->lock == NULL) {
            FIELD_STORE(self->lock, Py_NewRef(args[0]));
        }
        kept = Py_NewRef(self->lock);
    }
    ONE_AT_A_TIME_ENDS();
    return kept == NULL ? none() : kept;
}

/* What another object for the same shared value is made of, all of one binding. */
static PyObject *value_get_place(PyObject *op, void *Py_UNUSED(closure))
{
    Value *self = (Value *)op;
    if (value_word(self) == NULL) {
        return NULL;
    }
    PyObject *vocabulary, *segment, *guard;
    Py_ssize_t index;
    ONE_AT_A_TIME(op);
    vocabulary = Py_NewRef(self->table->vocabulary);
    segment = Py_NewRef(self->segment);
    index = self->index;
    guard = Py_NewRef(self->guard == NULL ? Py_None : self->guard);
    ONE_AT_A_TIME_ENDS();
    return Py_BuildValue("(NNnN)", vocabulary, segment, index, guard);
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
    return value_word((Value *)op) == NULL ? NULL : Py_NewRef(FIELD_LOAD(((Value *)op)->segment));
}

static PyObject *value_get_index(PyObject *op, void *Py_UNUSED(closure))
{
    return value_word((Value *)op) == NULL ? NULL
                                           : PyLong_FromSsize_t(FIELD_LOAD(((Value *)op)->index));
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
    for (value_retired *retired = self->retired; retired != NULL; retired = retired->next) {
        Py_VISIT(retired->bound.table);
        Py_VISIT(retired->bound.mapping);
        Py_VISIT(retired->bound.segment);
        Py_VISIT(retired->bound.guard);
        Py_VISIT(retired->bound.lock);
    }
    return 0;
}

static int value_clear(PyObject *op)
{
    Value *self = (Value *)op;
    /* All taken away before any of it goes: that may run Python code, which may bind the value anew,
     * and even keep it. */
    value_bound before = value_bound_now(self);
    FIELD_STORE(self->word, NULL);
    self->table = NULL;
    self->mapping = NULL;
    self->segment = self->guard = self->lock = NULL;
    value_retired *retired = self->retired;
    self->retired = NULL;
    value_bound_free(&before);
    value_forget_retired(retired);
    return 0;
}

static void value_dealloc(PyObject *op)
{
    Value *self = (Value *)op;
    PyObject_GC_UnTrack(op);
    if (FIELD_LOAD(self->weakrefs) != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    value_clear(op);
    free_object(op);
}

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
    {"_atomic_keep_lock", FAST(value_keep_lock), METH_FASTCALL,
     "_atomic_keep_lock($self, lock, segment, index, /)\n--\n\n"
     "Keep lock if none is kept; return the one kept.  None if the value is elsewhere by now."},
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
    {"_atomic_place", value_get_place, NULL,
     "Vocabulary, segment, index and guard at one moment; ValueError once closed.", NULL},
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

#endif
