/* os_sync.h -- a stand-in of what park_macos.h looks up: with AIE_PRETEND_MACOS_PARK, and -rdynamic, so that
 * it is found.
 */
#pragma once

#include "stand_in.h"

/* How many sleep on the word still. */
static int stand_in_others;

int os_sync_wait_on_address_with_timeout(void *address, uint64_t value, size_t size, uint32_t flags,
                                         uint32_t clock, uint64_t timeout);
int os_sync_wake_by_address_all(void *address, size_t size, uint32_t flags);

int os_sync_wait_on_address_with_timeout(void *address, uint64_t value, size_t size, uint32_t flags,
                                         uint32_t clock, uint64_t timeout)
{
    DEMAND(size == 4 && (uintptr_t)address % size == 0 && value <= UINT32_MAX);
    DEMAND(flags == 1);                                      /* OS_SYNC_WAIT_ON_ADDRESS_SHARED */
    DEMAND(clock == 32);                                     /* OS_CLOCK_MACH_ABSOLUTE_TIME */
    DEMAND(timeout > 0 && timeout <= UINT64_C(30000000000)); /* relative: nobody waits for longer */
    if (stand_in_fails()) {
        return -1;
    }
    struct timespec time = {(time_t)(timeout / 1000000000), (long)(timeout % 1000000000)};
    if (stand_in_sleep(address, FUTEX_WAIT, (uint32_t)value, &time) != 0) {
        return -1;
    }
    errno = EINTR; /* which says nothing where nothing failed */
    return stand_in_others;
}

int os_sync_wake_by_address_all(void *address, size_t size, uint32_t flags)
{
    DEMAND(size == 4 && (uintptr_t)address % size == 0);
    DEMAND(flags == 1); /* OS_SYNC_WAKE_BY_ADDRESS_SHARED */
    if (stand_in_wake(address) > 0) {
        return 0;
    }
    errno = ENOENT;
    return -1;
}
