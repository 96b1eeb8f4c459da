/* wait.h -- wait_for and wait_while of a Value.
 */
#ifndef AIE_NATIVE_WAIT_H
#define AIE_NATIVE_WAIT_H

#include "write.h"
#include "goal.h"

/* ---- waiting */

/* Whether this thread holds the lock that every writer of the value needs: 1, 0, or -1 with an
 * exception. */
static int value_lock_is_held_here(Value *self, aie_word *word, uint64_t seen)
{
    if (self->guard == NULL) {
        return (seen & AIE_LOCKED_BIT) && aie_lock_is_mine(self->control, word);
    }
    PyObject *answer = PyObject_CallMethod(self->guard, "held_here", NULL);
    int held = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return held;
}

/* So many that comparing with all of them takes no longer than looking. */
#define FEW_MEMBERS 4

/* One wait on the word: first spinning, then asleep.  1 the goal is met, 0 the deadline is past, -1
 * with an exception.  *seen is the word that decided.  The caller holds on to what it is of. */
static int value_await(Value *self, aie_word *word, const aie_goal *goal, int64_t deadline,
                       uint64_t *seen)
{
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
    if (value_word(self) == NULL) { /* asking the guard ran Python code */
        return -1;
    }
    /* The clock before the word: what came before the deadline is not too late. */
    int64_t now = aie_now();
    *seen = aie_word_load(word);
    if (aie_goal_met(goal, *seen)) {
        return 1;
    }
    if (now >= deadline) {
        return 0;
    }
    int64_t spin = aie_spin();
    /* An answer of another process that is spinning itself comes sooner than the GIL is let go of
     * and taken again: the first looks are with it. */
    if (spin > 0 && goal->count <= FEW_MEMBERS && aie_await_looking(word, goal, seen) == AIE_OK) {
        return value_word(self) == NULL ? -1 : 1; /* closed meanwhile, without the GIL */
    }
    aie_result result;
    Py_BEGIN_ALLOW_THREADS
    result = AIE_AGAIN;
    if (spin > 0) {
        int64_t until = now + spin;
        result = aie_await_spinning(word, goal, until < deadline ? until : deadline, seen);
    }
    if (result != AIE_OK) {
        result = aie_await_sleeping(word, goal, deadline, seen);
    }
    Py_END_ALLOW_THREADS
    while (result == AIE_AGAIN || result == AIE_INTERRUPTED) {
        if (PyErr_CheckSignals() < 0 || value_word(self) == NULL) {
            return -1;
        }
        Py_BEGIN_ALLOW_THREADS
        result = aie_await_sleeping(word, goal, deadline, seen);
        Py_END_ALLOW_THREADS
    }
    if (value_word(self) == NULL) { /* closed meanwhile, whatever came after */
        return -1;
    }
    return result == AIE_OK;
}

/* wait_for(member, /, *members, timeout=None) and wait_while: `leave` tells which. */
static PyObject *value_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames, bool leave)
{
    Value *self = (Value *)op;
    wait_arguments wait = {.name = leave ? "wait_while" : "wait_for"};
    if (wait_parse(&wait, args, nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *result = NULL;
    aie_word *word = value_word(self);
    Py_ssize_t i = 0;
    while (word != NULL && i < nargs && value_number(self, args[i], &wait.values[i]) == 0) {
        i++;
        word = value_word(self);
    }
    if (word != NULL && i == nargs) {
        aie_goal goal = {wait.values, (size_t)nargs, leave};
        uint64_t seen = 0;
        int met = value_await(self, word, &goal, wait.deadline, &seen);
        if (met > 0) {
            result = table_member(self->table, aie_word_value(seen));
        }
        else if (met == 0) {
            wait_in_vain(&wait);
        }
    }
    wait_done(&wait);
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

#endif
