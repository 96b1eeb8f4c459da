/* parked.h -- what the steps of park.h have in common. */
#pragma once

#include "sysfeatures.h"

#include <stdatomic.h>
#include <stdint.h>

#define AIE_PARKED_MOST 128

/* Where it is naps: the longest; park_nap.h says why. */
#define AIE_LONGEST_NAP INT64_C(16000000)

typedef struct {
    const _Atomic uint32_t *address;
    uint32_t expected;
} aie_parked;
