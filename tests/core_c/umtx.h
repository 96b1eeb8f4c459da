/* umtx.h -- a stand-in of FreeBSD's _umtx_op, as far as park_freebsd.h calls it: with
 * AIE_PRETEND_FREEBSD_PARK.
 */
#pragma once

#include "stand_in.h"

int _umtx_op(void *object, int operation, unsigned long value, void *size, void *timeout);

int _umtx_op(void *object, int operation, unsigned long value, void *size, void *timeout)
{
    struct { /* struct _umtx_time */
        struct timespec time;
        uint32_t flags, clock;
    } *until = timeout;
    DEMAND((uintptr_t)object % 4 == 0);
    if (operation == 3) { /* UMTX_OP_WAKE */
        DEMAND(value == INT_MAX && size == NULL && timeout == NULL);
        stand_in_wake(object);
        return 0;
    }
    DEMAND(operation == 11); /* UMTX_OP_WAIT_UINT */
    DEMAND(value <= UINT32_MAX);
    DEMAND((uintptr_t)size == sizeof(*until));
    DEMAND(until->flags == 1); /* UMTX_ABSTIME */
    DEMAND(until->clock == CLOCK_MONOTONIC);
    DEMAND(until->time.tv_sec >= 0 && until->time.tv_nsec >= 0 && until->time.tv_nsec < 1000000000);
    if (stand_in_fails()) {
        return -1;
    }
    return stand_in_sleep(object, FUTEX_WAIT_BITSET, (uint32_t)value, &until->time);
}
