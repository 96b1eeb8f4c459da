/* park_futex.h -- the contract of park.h on Linux: a shared futex. */
#pragma once

#include "platform.h"
#include "result.h"

#include <limits.h>
#include <linux/futex.h>

static inline aie_result aie_wait(const _Atomic uint32_t *address, uint32_t expected,
                                  int64_t deadline)
{
    struct timespec until = aie_timespec(deadline);
    /* Not FUTEX_PRIVATE_FLAG: the sleeper and the waker are different processes.  WAIT_BITSET and
     * not WAIT, whose timeout is relative: this one is absolute, on the monotonic clock. */
    long result = syscall(SYS_futex, address, FUTEX_WAIT_BITSET, expected, &until, NULL,
                          FUTEX_BITSET_MATCH_ANY);
    if (result == 0 || errno == EAGAIN) {
        return AIE_OK;
    }
    return errno == ETIMEDOUT ? AIE_BUSY : AIE_INTERRUPTED;
}

static inline void aie_wake_all(const _Atomic uint32_t *address)
{
    syscall(SYS_futex, address, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
