/* wait_poll.h -- the contract of wait.h where no process can wake another's sleeper: look again and
 * again, after 1 us, 2 us, ... at most 1 ms. */
#ifndef AIE_WAIT_POLL_H
#define AIE_WAIT_POLL_H

#include "sysfeatures.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "platform.h"
#include "result.h"

#define AIE_LONGEST_NAP INT64_C(1000000)

static inline aie_result aie_wait(const _Atomic uint32_t *address, uint32_t expected,
                                  int64_t deadline)
{
    int64_t nap = 1000;
    /* relaxed: only whether it changed is asked; the caller reads the word itself again. */
    while (atomic_load_explicit(address, memory_order_relaxed) == expected) {
        int64_t left = deadline - aie_now();
        if (left <= 0) {
            return AIE_BUSY;
        }
        struct timespec pause = aie_timespec(nap < left ? nap : left);
        if (nanosleep(&pause, NULL) != 0 && errno == EINTR) {
            return AIE_INTERRUPTED;
        }
        nap = nap * 2 < AIE_LONGEST_NAP ? nap * 2 : AIE_LONGEST_NAP;
    }
    return AIE_OK;
}

static inline void aie_wake_all(const _Atomic uint32_t *address)
{
    (void)address; /* sleepers look by themselves */
}

#endif
