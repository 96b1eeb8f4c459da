/* locked_write.h -- the slow path of a write: somebody holds the value's lock, so take it, write,
 * release.
 *
 * Out of line in spirit: nobody comes here unless the fast path of word.h saw LOCKED.
 */
#ifndef AIE_LOCKED_WRITE_H
#define AIE_LOCKED_WRITE_H

#include "sysfeatures.h"

#include "lock.h"
#include "word.h"

/* One slice of a write on a word that was seen LOCKED: OK, MISMATCH, BUSY (call again), TOO_MANY,
 * TOO_DEEP or BROKEN.  deadline <= 0 never waits. */
static inline aie_result aie_change_slice(aie_word *word, aie_control *control, aie_event *event,
                                          aie_change *change, int64_t deadline)
{
    /* The holder may have left, or the compare may fail by now: neither needs the lock. */
    aie_result result = aie_word_change(word, event, change);
    if (result != AIE_LOCKED) {
        return result;
    }
    result = deadline > 0 ? aie_lock_until(control, word, deadline) : aie_lock_try(control, word);
    if (result != AIE_OK) {
        return result;
    }
    AIE_POINT("write-inside");
    result = aie_word_change_held(word, event, change);
    AIE_POINT("write-done");
    bool last;
    aie_lock_release(control, word, &last);
    return result;
}

#endif
