/* park_freebsd.h -- the contract of park.h on FreeBSD: _umtx_op.
 *
 * Its operations without PRIVATE ask the mapping whose sleepers they are about: of a shared one, all
 * processes', found by the memory behind the address. */
#pragma once

#include "park_nap.h"

#include <limits.h>

/* As <sys/umtx.h> has them: declared here, so that this compiles and runs elsewhere too. */
typedef struct {
    struct timespec timeout;
    uint32_t flags;
    uint32_t clock;
} aie_umtx_time;

int _umtx_op(void *object, int operation, unsigned long value, void *size, void *timeout);

#define AIE_UMTX_WAKE 3
#define AIE_UMTX_WAIT_UINT 11
#define AIE_UMTX_ABSTIME 1u

static inline aie_result aie_wait(const _Atomic uint32_t *address, uint32_t expected,
                                  int64_t deadline)
{
    /* Which structure it is tells its size; a bare timespec would be of the wall clock. */
    aie_umtx_time until = {aie_timespec(deadline), AIE_UMTX_ABSTIME, CLOCK_MONOTONIC};
    int result = _umtx_op((void *)(uintptr_t)address, AIE_UMTX_WAIT_UINT, expected,
                          (void *)sizeof(until), &until);
    return result == 0 ? AIE_OK : aie_wait_failed(address, expected, deadline);
}

static inline void aie_wake_all(const _Atomic uint32_t *address)
{
    (void)_umtx_op((void *)(uintptr_t)address, AIE_UMTX_WAKE, INT_MAX, NULL, NULL);
}
