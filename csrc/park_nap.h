/* park_nap.h -- sleeping while a word is what is expected, without anybody who wakes: look again and again.
 * It is all that park_poll.h has, and what others take where their call is missing or fails.
 *
 * Each nap is a quarter of the time slept so far, from 1 us to 16 ms: what comes soon is seen soon,
 * and nothing is seen later than after a quarter more of its time.  A nap costs 20 to 60 us of
 * processor time (the most where the processor halts meanwhile), and a sleeper may take no more
 * than 1 % of a core: 16 ms is less than half of that, and leaves room for slower machines. */
#pragma once

#include "parked.h"
#include "platform.h"
#include "result.h"

#define AIE_SHORTEST_NAP INT64_C(1000)

/* A signal that comes between two naps interrupts neither.  So a call ends after 50 ms for no
 * reason, for the caller to look at signals; and what it calls again for goes on with naps as long
 * as the last ones were. */
#define AIE_POLL_SLICE INT64_C(50000000)

typedef struct {
    const _Atomic uint32_t *address;
    uint32_t expected;
    int64_t began;
    int64_t ended;
} aie_polling;

static inline aie_result aie_wait_in_naps(const _Atomic uint32_t *address, uint32_t expected,
                                          int64_t deadline)
{
    static _Thread_local aie_polling last;
    int64_t now = aie_now();
    bool goes_on =
        last.address == address && last.expected == expected && now - last.ended < AIE_LONGEST_NAP;
    int64_t began = goes_on ? last.began : now;
    int64_t slice = now + AIE_POLL_SLICE;
    aie_result result = AIE_OK;
    /* relaxed: only whether it changed is asked; the caller reads the word itself again. */
    while (atomic_load_explicit(address, memory_order_relaxed) == expected) {
        int64_t left = deadline - now;
        if (left <= 0) {
            result = AIE_BUSY;
            break;
        }
        if (now >= slice) {
            break;
        }
        int64_t nap = (now - began) / 4;
        nap = nap < AIE_SHORTEST_NAP ? AIE_SHORTEST_NAP : nap;
        nap = nap > AIE_LONGEST_NAP ? AIE_LONGEST_NAP : nap;
        struct timespec pause = aie_timespec(nap < left ? nap : left);
        if (nanosleep(&pause, NULL) != 0 && errno == EINTR) {
            result = AIE_INTERRUPTED;
            break;
        }
        now = aie_now();
    }
    last = (aie_polling){address, expected, began, now};
    return result;
}

/* What a call that could not sleep means, by its errno.  An error that is not of a sleep (no memory for
 * the kernel's books, a page that it cannot read now) may stay for a while: naps, and no busy loop. */
static inline aie_result aie_wait_failed(const _Atomic uint32_t *address, uint32_t expected,
                                         int64_t deadline)
{
    return errno == ETIMEDOUT ? AIE_BUSY
           : errno == EINTR   ? AIE_INTERRUPTED
                              : aie_wait_in_naps(address, expected, deadline);
}

/* None of the steps that take naps can sleep on several words. */
static inline aie_result aie_wait_any(const aie_parked *parked, size_t count, int64_t deadline)
{
    (void)parked, (void)count, (void)deadline;
    return AIE_AGAIN;
}
