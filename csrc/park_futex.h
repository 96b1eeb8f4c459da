/* park_futex.h -- the contract of park.h on Linux: a shared futex. */
#pragma once

#include "parked.h"
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

/* As the kernel has them, whose headers know them from 5.16 on. */
typedef struct {
    uint64_t expected;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
} aie_futex_waitv;

_Static_assert(sizeof(aie_futex_waitv) == 24, "the kernel's struct futex_waitv");

#define AIE_SYS_FUTEX_WAITV 449
#define AIE_FUTEX_OF_32_BITS 2

static inline aie_result aie_wait_any(const aie_parked *parked, size_t count, int64_t deadline)
{
#if defined(AIE_PRETEND_NO_WAITV) || defined(__alpha__) /* whose numbers are its own */
    (void)parked, (void)count, (void)deadline;
    return AIE_AGAIN;
#else
    aie_futex_waitv waits[AIE_PARKED_MOST];
    for (size_t i = 0; i < count; i++) {
        waits[i] = (aie_futex_waitv){parked[i].expected, (uintptr_t)parked[i].address,
                                     AIE_FUTEX_OF_32_BITS, 0};
    }
    /* Of 64 bits each, on every machine; absolute. */
    int64_t until[2] = {deadline / AIE_NS_PER_S, deadline % AIE_NS_PER_S};
    long result = syscall(AIE_SYS_FUTEX_WAITV, waits, (unsigned)count, 0u, until, CLOCK_MONOTONIC);
    if (result >= 0 || errno == EAGAIN) {
        return AIE_OK;
    }
    /* Not ENOSYS alone: what guards a container answers EPERM. */
    return errno == ETIMEDOUT ? AIE_BUSY : errno == EINTR ? AIE_INTERRUPTED : AIE_AGAIN;
#endif
}

static inline void aie_wake_all(const _Atomic uint32_t *address)
{
    syscall(SYS_futex, address, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
