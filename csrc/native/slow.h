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
    bool (*is_closed)(PyObject *op);
} target;

/* The word is LOCKED: wait for the lock, 50 ms at a time, looking at signals in between.  Who gets
 * the lock writes and leaves without the GIL: whoever waited for the GIL meanwhile would keep every
 * other process waiting.  1 written, 0 mismatch, -1 with an exception. */
static int change_slow(const target *to, aie_change *change)
{
    PyObject *mapping = Py_NewRef((PyObject *)to->mapping);
    aie_result result = aie_change_slice(to->word, to->control, to->event, change, 0);
    while (result == AIE_BUSY && PyErr_CheckSignals() == 0) {
        if (to->is_closed(to->op)) {
            raise_closed(to->what);
            break;
        }
        Py_BEGIN_ALLOW_THREADS
        result =
            aie_change_slice(to->word, to->control, to->event, change, aie_now() + AIE_SLICE);
        Py_END_ALLOW_THREADS
    }
    Py_DECREF(mapping);
    if (result == AIE_OK || result == AIE_MISMATCH) {
        return result == AIE_OK;
    }
    if (result != AIE_BUSY) { /* which has its exception */
        raise_result(result);
    }
    return -1;
}

#endif
