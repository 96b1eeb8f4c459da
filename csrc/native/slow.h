/* slow.h -- a write that has to wait, since somebody holds the lock of the word.
 */
#ifndef AIE_NATIVE_SLOW_H
#define AIE_NATIVE_SLOW_H

#include "mapping.h"

/* Where a write goes, and who asked for it. */
typedef struct {
    aie_word *word;
    aie_control *control;
    aie_event *event;
    Mapping *mapping;
    PyObject *op;
    const char *what; /* op is, for an error */
    bool (*is_closed)(PyObject *op, const aie_word *word);
} target;

/* The word is LOCKED: wait for the lock, 50 ms at a time, looking at signals in between.
 * 1 written, 0 mismatch, -1 with an exception. */
static int change_slow(const target *to, aie_change *change)
{
    aie_word *word = to->word;
    aie_control *control = to->control;
    PyObject *mapping = Py_NewRef((PyObject *)to->mapping);
    aie_result result = aie_change_slice(word, control, to->event, change, 0);
    while (result == AIE_BUSY) {
        if (PyErr_CheckSignals() < 0) {
            Py_DECREF(mapping);
            return -1;
        }
        Py_BEGIN_ALLOW_THREADS
        result = aie_lock_until(control, word, aie_now() + AIE_SLICE);
        Py_END_ALLOW_THREADS
        bool closed = to->is_closed(to->op, word); /* meanwhile */
        if (result == AIE_OK) {
            bool last;
            if (!closed) {
                result = aie_word_change_held(word, to->event, change);
            }
            aie_lock_release(control, word, &last);
        }
        else if (result == AIE_BUSY && !closed) {
            /* The compare may fail by now, or the holder may have left: neither needs the lock. */
            aie_result bare = aie_word_change(word, to->event, change);
            result = bare == AIE_LOCKED ? AIE_BUSY : bare;
        }
        if (closed) {
            Py_DECREF(mapping);
            raise_closed(to->what);
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

#endif
