/* park_poll.h -- the contract of park.h where no process can wake another's sleeper: naps. */
#pragma once

#include "park_nap.h"

static inline aie_result aie_wait(const _Atomic uint32_t *address, uint32_t expected,
                                  int64_t deadline)
{
    return aie_wait_in_naps(address, expected, deadline);
}

static inline void aie_wake_all(const _Atomic uint32_t *address)
{
    (void)address; /* sleepers look by themselves */
}
