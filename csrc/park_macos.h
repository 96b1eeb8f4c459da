/* park_macos.h -- the contract of park.h on macOS: os_sync_wait_on_address and its wake, by the flag that
 * reaches other processes.
 *
 * macOS has them since 14.4.  They are looked up as the library is loaded, so that what was built on one
 * macOS runs on an older one, where it takes naps; and not in a wake-up, which a child of fork may make
 * while another thread had the loader's lock.
 *
 * A sleeper is found by the memory object behind its address, so each process may map it elsewhere.  What
 * is not shared (watch.h's control word) becomes another object where it is copied after a fork.  A wake-up
 * between the two is lost; but the thread that sleeps there sleeps 16 ms at most. */
#pragma once

#include "park_nap.h"

#include <dlfcn.h>
#include <errno.h>

/* As the system's headers have them, which know them from 14.4 on. */
typedef int (*aie_os_sync_wait)(void *address, uint64_t expected, size_t size, uint32_t flags,
                                uint32_t clock, uint64_t timeout_ns);
typedef int (*aie_os_sync_wake)(void *address, size_t size, uint32_t flags);

#define AIE_OS_SYNC_SHARED 1u
#define AIE_OS_CLOCK_MACH_ABSOLUTE_TIME 32u

/* Both, or neither. */
static aie_os_sync_wait aie_os_sync_waits;
static aie_os_sync_wake aie_os_sync_wakes;

__attribute__((constructor)) static void aie_os_sync_load(void)
{
    union {
        void *address;
        aie_os_sync_wait call;
    } wait = {dlsym(RTLD_DEFAULT, "os_sync_wait_on_address_with_timeout")};
    union {
        void *address;
        aie_os_sync_wake call;
    } wake = {dlsym(RTLD_DEFAULT, "os_sync_wake_by_address_all")}; /* ISO C has no such cast */
    if (wait.address != NULL && wake.address != NULL) {
        aie_os_sync_waits = wait.call;
        aie_os_sync_wakes = wake.call;
    }
}

static inline aie_result aie_wait(const _Atomic uint32_t *address, uint32_t expected,
                                  int64_t deadline)
{
    if (aie_os_sync_waits == NULL) {
        return aie_wait_in_naps(address, expected, deadline);
    }
    /* Relative: its clock is not the one of the deadline.  None of 0, which it refuses. */
    int64_t left = deadline - aie_now();
    if (left <= 0) {
        return AIE_BUSY;
    }
    int result =
        aie_os_sync_waits((void *)(uintptr_t)address, expected, sizeof(*address),
                          AIE_OS_SYNC_SHARED, AIE_OS_CLOCK_MACH_ABSOLUTE_TIME, (uint64_t)left);
    /* The number of those who sleep there still; or -1. */
    return result >= 0 ? AIE_OK : aie_wait_failed(address, expected, deadline);
}

static inline void aie_wake_all(const _Atomic uint32_t *address)
{
    if (aie_os_sync_wakes != NULL) {
        /* An error is that nobody sleeps; whatever else it were, a sleeper looks again by itself. */
        int error = errno;
        (void)aie_os_sync_wakes((void *)(uintptr_t)address, sizeof(*address), AIE_OS_SYNC_SHARED);
        errno = error;
    }
}
