/* locked_write.h -- the slow path of a write: somebody holds the value's lock, so take it, write,
 * release.
 */
#pragma once

#include "lock.h"

/* In another PID namespace the lock cannot be taken: look again, each millisecond, whether its holder
 * has left. */
static inline aie_result aie_change_napping(aie_word *word, aie_event *event, aie_change *change,
                                            int64_t deadline)
{
    aie_result result = AIE_LOCKED;
    while (result == AIE_LOCKED && aie_now() < deadline) {
        struct timespec pause = aie_timespec(AIE_NS_PER_S / 1000);
        nanosleep(&pause, NULL);
        result = aie_word_change(word, event, change);
    }
    return result == AIE_LOCKED ? AIE_BUSY : result;
}

/* One slice of a write on a word that was seen LOCKED: OK, MISMATCH, BUSY (call again), TOO_MANY,
 * TOO_DEEP or BROKEN.  deadline <= 0 never waits.  `control` is NULL in another PID namespace. */
static inline aie_result aie_change_slice(aie_word *word, aie_control *control, aie_event *event,
                                          aie_change *change, int64_t deadline)
{
    /* The holder may have left, or the compare may fail by now: neither needs the lock. */
    aie_result result = aie_word_change(word, event, change);
    if (result != AIE_LOCKED) {
        return result;
    }
    if (control == NULL) {
        return aie_change_napping(word, event, change, deadline);
    }
    result = deadline > 0 ? aie_lock_until(control, word, deadline) : aie_lock_try(control, word);
    if (result != AIE_OK) {
        return result;
    }
    AIE_POINT("write-inside");
    result = aie_word_change_held(word, event, change);
    AIE_POINT("write-done");
    aie_lock_release(control, word);
    return result;
}
