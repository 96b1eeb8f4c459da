/* bound.h -- what a Value and an Array have in common: they are bound once and never again, so that
 * a call that gave up the GIL, and a memoryview, find what they started with.  close() only marks
 * them.
 */
#pragma once

#include "mapping.h"

typedef enum { BOUND_NEW, BOUND_BINDING, BOUND_OPEN, BOUND_CLOSED } bound_life;

typedef struct {
    PyObject_HEAD
    int life; /* bound_life; what follows does not change once it is open */
    Table *table;
    Mapping *mapping;
    PyObject *segment;
    PyObject *weakrefs;
} Bound;

static inline bool bound_is_closed(Bound *self)
{
    return FIELD_LOAD(self->life) != BOUND_OPEN;
}

/* False with ValueError.  Ask again after Python code ran: it may have closed the object. */
static inline bool bound_is_open(Bound *self, const char *what)
{
    if (bound_is_closed(self)) {
        raise_closed(what);
        return false;
    }
    return true;
}

static inline void *bound_control(const Bound *self, void *control)
{
    return aie_region_control(self->mapping->region, control);
}

/* Numbers among the arguments of binding; false with an exception. */
static bool bound_numbers(PyObject *const *args, size_t count, Py_ssize_t *numbers)
{
    for (size_t i = 0; i < count; i++) {
        numbers[i] = PyLong_AsSsize_t(args[i]);
        if (numbers[i] == -1 && PyErr_Occurred()) {
            return false;
        }
    }
    return true;
}

/* Of all threads that try to bind, one alone goes on; the others get RuntimeError. */
static bool bound_begins(Bound *self, const char *what)
{
    int fresh = BOUND_NEW;
    /* acq_rel: one thread alone binds. */
    if (!__atomic_compare_exchange_n(&self->life, &fresh, BOUND_BINDING, 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        PyErr_Format(PyExc_RuntimeError, "this %s was initialised before", what);
        return false;
    }
    return true;
}

/* The last but one step of binding; the last one is to store BOUND_OPEN with release, so that who
 * finds it open sees what it is bound to. */
static void bound_to(Bound *self, PyObject *table, PyObject *mapping, PyObject *segment)
{
    self->table = (Table *)Py_NewRef(table);
    self->mapping = (Mapping *)Py_NewRef(mapping);
    self->segment = Py_NewRef(segment);
}

/* Whether it was open.  One that was never open, or is being bound, stays as it is. */
static bool bound_closes(Bound *self)
{
    int open = BOUND_OPEN;
    /* acq_rel: who closes sees what it was bound to; nothing else hangs on it, the fields stay. */
    return __atomic_compare_exchange_n(&self->life, &open, BOUND_CLOSED, 0, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

/* Of a getter; `what` is its closure. */
static PyObject *bound_get_segment(PyObject *op, void *what)
{
    Bound *self = (Bound *)op;
    return bound_is_open(self, what) ? Py_NewRef(self->segment) : NULL;
}

static PyObject *bound_get_vocabulary(PyObject *op, void *Py_UNUSED(closure))
{
    Bound *self = (Bound *)op;
    bool bound = FIELD_LOAD(self->life) >= BOUND_OPEN;
    return Py_NewRef(bound ? self->table->vocabulary : Py_None);
}

#define BOUND_GETTERS(what)                                                                \
    {"_atomic_segment", bound_get_segment, NULL, "The segment; ValueError once closed.",   \
     (void *)(what)},                                                                      \
    {                                                                                      \
        "_atomic_vocabulary", bound_get_vocabulary, NULL, "The vocabulary, or None.", NULL \
    }

/* No tp_clear: it never changes once it is bound, as a tuple.  The collector clears a cycle while
 * another thread may be in a call with an object of it (a __release_buffer__ that runs meanwhile
 * can start one), and that call would lose the memory that it works on.  Something else of the
 * cycle breaks it: by its __dict__, or by the lock= that it was given. */
static int bound_traverse(PyObject *op, visitproc visit, void *arg)
{
    Bound *self = (Bound *)op;
    Py_VISIT((PyObject *)Py_TYPE(op));
    Py_VISIT((PyObject *)self->table);
    Py_VISIT((PyObject *)self->mapping);
    Py_VISIT(self->segment);
    return 0;
}

static void bound_dealloc(PyObject *op)
{
    Bound *self = (Bound *)op;
    PyObject_GC_UnTrack(op);
    if (FIELD_LOAD(self->weakrefs) != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    Py_XDECREF(self->segment);
    Py_XDECREF((PyObject *)self->mapping);
    Py_XDECREF((PyObject *)self->table);
    free_object(op);
}

static PyMemberDef bound_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Bound, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
