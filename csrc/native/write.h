/* write.h -- every write of a word that may have to wait: for who holds its lock, or for the lock=
 * that the value was given.  Only claim() waits by itself: row_methods.h.
 */
#pragma once

#include "bound.h"

/* Where a write goes, and who asked for it: the caller holds on to that, and so to all of it. */
typedef struct {
    aie_word *word;
    aie_control *control;
    aie_event *event;
    Bound *of;
    const char *what;   /* it is, for an error */
    aie_owners *owners; /* NULL: nobody can own it */
} target;

/* This process would own what it writes, and has no row: have one.  0, or -1 with an exception. */
SLOW int change_enters(Bound *of, const char *what, aie_owners *owners, aie_change *change)
{
    aie_result result;
    Py_BEGIN_ALLOW_THREADS
    result = aie_owners_enter(of->mapping->region);
    Py_END_ALLOW_THREADS
    if (result != AIE_OK) {
        raise_result(result);
        return -1;
    }
    (void)aie_change_leases(owners, change);
    return bound_is_open(of, what) ? 0 : -1;
}

/* Have the change say what it does to the owner: before each attempt, since a signal handler may have
 * forked, and a child is not its parent.  1 it does, 0 it compares with what none of `words` is, -1 with
 * an exception. */
static inline int change_leases(Bound *of, const char *what, const aie_array *words,
                                aie_change *change)
{
    if (words->owners == NULL || aie_change_leases(words->owners, change)) {
        return 1;
    }
    if (change->compare && aie_array_count(words, change->expected) == 0) {
        return 0; /* which needs no row */
    }
    return change_enters(of, what, words->owners, change) < 0 ? -1 : 1;
}

static inline int target_leases(const target *to, aie_change *change)
{
    aie_array one = {.words = (unsigned char *)to->word, .count = 1, .owners = to->owners};
    return change_leases(to->of, to->what, &one, change);
}

/* The word is LOCKED: wait for the lock, 50 ms at a time, looking at signals in between.  Who gets
 * the lock writes and leaves without the GIL: whoever waited for the GIL meanwhile would keep every
 * other process waiting.  1 written, 0 mismatch, -1 with an exception. */
static int change_slow(const target *to, aie_change *change)
{
    aie_control *control = bound_control(to->of, to->control);
    aie_result result = aie_change_slice(to->word, control, to->event, change, 0);
    while (result == AIE_BUSY) {
        if (PyErr_CheckSignals() < 0 || !bound_is_open(to->of, to->what)) {
            return -1;
        }
        int leases = target_leases(to, change);
        if (leases <= 0) {
            return leases;
        }
        int64_t slice = aie_now() + AIE_SLICE;
        Py_BEGIN_ALLOW_THREADS
        result = aie_change_slice(to->word, control, to->event, change, slice);
        Py_END_ALLOW_THREADS
    }
    if (result == AIE_OK || result == AIE_MISMATCH) {
        return result == AIE_OK;
    }
    raise_result(result);
    return -1;
}

/* As aie_word_change, by the fast or the slow way.  1 written, 0 mismatch, -1 with an exception. */
static inline int change_word(const target *to, aie_change *change)
{
    int leases = target_leases(to, change);
    if (leases <= 0) {
        return leases;
    }
    aie_result result = aie_word_change(to->word, to->event, change);
    return result == AIE_LOCKED ? change_slow(to, change) : result == AIE_OK;
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
static int change_guarded(const target *to, module_state *state, PyObject *guard,
                          aie_change *change)
{
    if (change->compare && aie_word_value(aie_word_load(to->word)) != change->expected) {
        return 0;
    }
    int entered = guard_enter(guard, state);
    if (entered < 0) {
        return -1;
    }
    bool closed = bound_is_closed(to->of); /* while the lock was waited for */
    aie_result result = closed ? AIE_MISMATCH : aie_word_change_held(to->word, to->event, change);
    PyObject *left = entered ? guard_call(guard, state->str_release) : Py_NewRef(Py_None);
    if (left == NULL) {
        return -1;
    }
    Py_DECREF(left);
    if (closed) {
        raise_closed(to->what);
        return -1;
    }
    return result == AIE_OK;
}
