/* value.h -- the type Value: what it is bound to, its life, its descriptors. */
#pragma once

#include "value_methods.h"

static PyObject *value_bind(PyObject *op, PyTypeObject *defining_class, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames)
{
    Value *self = (Value *)op;
    /* By the defining class: a subclass made in Python has no module of its own. */
    module_state *state = PyType_GetModuleState(defining_class);
    if (state == NULL) {
        return NULL;
    }
    /* Not on a bare Value: bare ones could be chained by the segment argument, and a long chain
     * would overflow the stack when it is freed.  Python's own subclasses guard against that. */
    if (nargs != 9 || kwnames != NULL || Py_TYPE(args[0]) != state->table_type
        || Py_TYPE(args[1]) != state->mapping_type || Py_TYPE(op) == state->value_type) {
        PyErr_SetString(PyExc_TypeError,
                        "_atomic_bind(table, mapping, segment, index, word_offset, "
                        "control_offset, guard, calls_from_value, first)");
        return NULL;
    }
    Mapping *mapping = (Mapping *)args[1];
    Py_ssize_t numbers[3]; /* index, word_offset, control_offset */
    if (!bound_numbers(args + 3, 3, numbers)) {
        return NULL;
    }
    aie_control *control;
    aie_word *word = mapping_word(mapping, numbers[1], numbers[2], &control);
    if (word == NULL) {
        return NULL;
    }
    int calls_from_value = PyObject_IsTrue(args[7]);
    if (calls_from_value < 0) {
        return NULL;
    }
    long first = args[8] == Py_None ? 0 : PyLong_AsLong(args[8]);
    if (first == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (!bound_begins(&self->bound, "value")) {
        return NULL;
    }
    if (args[8] != Py_None) {
        aie_word_first(word, (int32_t)first);
    }
    self->control = control;
    self->event = mapping_event(mapping);
    self->owners = mapping_owners(mapping);
    self->guard = args[6] == Py_None ? NULL : Py_NewRef(args[6]);
    self->index = numbers[0];
    self->calls_from_value = calls_from_value;
    bound_to(&self->bound, args[0], args[1], args[2]);
    /* release: whoever loads the word sees the rest.  Before the life: who closes an open value
     * takes its word away for good. */
    FIELD_STORE(self->word, word);
    FIELD_STORE(self->bare, self->guard == NULL && self->owners == NULL ? word : NULL);
    FIELD_STORE(self->bound.life, BOUND_OPEN);
    return none();
}

static PyObject *value_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Value *self = (Value *)op;
    if (bound_closes(&self->bound)) {
        FIELD_STORE(self->word, NULL);
        FIELD_STORE(self->bare, NULL);
    }
    return none();
}

/* The lock object of get_lock(): the first one given stays, so that every thread gets the same. */
static PyObject *value_keep_lock(PyObject *op, PyObject *lock)
{
    Value *self = (Value *)op;
    PyObject *kept = NULL;
    Py_INCREF(lock);
    /* acq_rel: whoever finds it sees what it is made of. */
    if (!__atomic_compare_exchange_n(&self->lock, &kept, lock, 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        Py_DECREF(lock);
        lock = kept;
    }
    return Py_NewRef(lock);
}

static PyObject *value_get_lock(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Value *self = (Value *)op;
    if (value_word(self) == NULL) {
        return NULL;
    }
    PyObject *lock = FIELD_LOAD(self->lock);
    return lock != NULL
               ? Py_NewRef(lock)
               : PyObject_CallMethodObjArgs(op, self->bound.table->state->str_make_lock, NULL);
}

static PyObject *value_get_guard(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *guard = ((Value *)op)->guard;
    return Py_NewRef(guard == NULL ? Py_None : guard);
}

static PyObject *value_get_index(PyObject *op, void *Py_UNUSED(closure))
{
    return value_word((Value *)op) == NULL ? NULL : PyLong_FromSsize_t(((Value *)op)->index);
}

static int value_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(((Value *)op)->guard);
    Py_VISIT(((Value *)op)->lock);
    return bound_traverse(op, visit, arg);
}

static void value_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    PyObject *lock = ((Value *)op)->lock, *guard = ((Value *)op)->guard;
    bound_dealloc(op);
    Py_XDECREF(lock);
    Py_XDECREF(guard);
}

/* What each of them does is written in value.py: see document(). */
static PyMethodDef value_methods[] = {
    {"load", value_load, METH_NOARGS, "load($self, /)\n--\n\n"},
    {"set", FAST(value_set), FASTCALL, "set($self, /, value)\n--\n\n"},
    {"exchange", FAST(value_exchange), FASTCALL, "exchange($self, /, value)\n--\n\n"},
    {"compare_and_set", FAST(value_compare_and_set), FASTCALL,
     "compare_and_set($self, /, old, new)\n--\n\n"},
    {"wait_for", FAST(value_wait_for), FASTCALL,
     "wait_for($self, member, /, *members, timeout=None)\n--\n\n"},
    {"wait_while", FAST(value_wait_while), FASTCALL,
     "wait_while($self, member, /, *members, timeout=None)\n--\n\n"},
    {"_atomic_look", FAST(value_look), METH_FASTCALL,
     "_atomic_look($self, later, leave, member, /, *members)\n--\n\n"},
    {"get_lock", value_get_lock, METH_NOARGS, "get_lock($self, /)\n--\n\n"},
    {"_atomic_bind", FAST(value_bind), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "_atomic_bind($self, /, *args)\n--\n\n"},
    {"_atomic_close", value_close, METH_NOARGS, "_atomic_close($self, /)\n--\n\n"},
    {"_atomic_keep_lock", value_keep_lock, METH_O, "_atomic_keep_lock($self, lock, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef value_getset[] = {
    {"value", value_get_value, value_set_value, "", NULL},
    {"name", value_get_name, NULL, "", NULL},
    {"version", value_get_version, NULL, "", NULL},
    {"_atomic_guard", value_get_guard, NULL, "What every write enters, or None.", NULL},
    {"_atomic_index", value_get_index, NULL, "Index of the word; ValueError once closed.", NULL},
    BOUND_GETTERS("value"),
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(value_doc, "Value()\n--\n\nA typed value on a state word; IntEnumValue's base class.");

static PyType_Slot value_slots[] = {
    {Py_tp_doc, (void *)value_doc},
    {Py_tp_dealloc, (void *)value_dealloc},
    {Py_tp_traverse, (void *)value_traverse},
    {Py_tp_richcompare, (void *)value_richcompare},
    {Py_tp_hash, (void *)value_hash},
    {Py_tp_methods, (void *)value_methods},
    {Py_tp_getset, (void *)value_getset},
    {Py_tp_members, (void *)bound_members},
    {0, NULL},
};

static PyType_Spec value_spec = {
    .name = "atomic_intenum._native.Value",
    .basicsize = sizeof(Value),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = value_slots,
};
