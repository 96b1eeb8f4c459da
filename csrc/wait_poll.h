/* wait_poll.h -- the contract of wait.h where no process can wake another's sleeper: look again and
 * again.
 *
 * Each nap is a quarter of the time slept so far, from 1 us to 8 ms: what comes soon is seen soon,
 * and nothing is seen later than after a quarter more of its time.  A nap costs about 20 us of
 * processor time, whatever its length, and a sleeper may take no more than 1 % of a core: 8 ms is
 * a third of that, and leaves room for slower machines. */
#ifndef AIE_WAIT_POLL_H
#define AIE_WAIT_POLL_H

#include "sysfeatures.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "platform.h"
#include "result.h"

#define AIE_SHORTEST_NAP INT64_C(1000)
#define AIE_LONGEST_NAP INT64_C(8000000)

static inline aie_result aie_wait(const _Atomic uint32_t *address, uint32_t expected,
                                  int64_t deadline)
{
    int64_t began = aie_now();
    /* relaxed: only whether it changed is asked; the caller reads the word itself again. */
    while (atomic_load_explicit(address, memory_order_relaxed) == expected) {
        int64_t now = aie_now();
        int64_t left = deadline - now;
        if (left <= 0) {
            return AIE_BUSY;
        }
        int64_t nap = (now - began) / 4;
        nap = nap < AIE_SHORTEST_NAP ? AIE_SHORTEST_NAP : nap;
        nap = nap > AIE_LONGEST_NAP ? AIE_LONGEST_NAP : nap;
        struct timespec pause = aie_timespec(nap < left ? nap : left);
        if (nanosleep(&pause, NULL) != 0 && errno == EINTR) {
            return AIE_INTERRUPTED;
        }
    }
    return AIE_OK;
}

static inline void aie_wake_all(const _Atomic uint32_t *address)
{
    (void)address; /* sleepers look by themselves */
}

#endif
