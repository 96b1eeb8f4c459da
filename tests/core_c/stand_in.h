/* stand_in.h -- what os_sync.h and umtx.h have in common, the stand-ins of other systems' calls by Linux's
 * futex: they end the process at an argument that the system would refuse, or by which it would reach no
 * other process, and fail as they are told.
 *
 * By gcc -include: before any header of the core's.  Build switch: TROUBLED, each fifth wait fails.
 */
#pragma once

#include "sysfeatures.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define AIE_STAND_IN 1

/* Of this process: what each wait fails by, unless 0; how many there were. */
static int stand_in_error;
static _Atomic unsigned stand_in_waits;

#define DEMAND(condition)                                                           \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

/* Whether this wait fails, with errno. */
static inline int stand_in_fails(void)
{
    static const int errors[] = {EINTR, EFAULT, ENOMEM};
    unsigned count = atomic_fetch_add(&stand_in_waits, 1);
    errno = stand_in_error;
#ifdef TROUBLED
    if (count % 5 == 4) {
        errno = errors[count / 5 % 3];
    }
#else
    (void)errors, (void)count;
#endif
    return errno != 0;
}

/* 0, or -1 with errno: both systems tell nobody that the word differed. */
static inline int stand_in_sleep(void *address, int operation, uint32_t expected,
                                 const struct timespec *time)
{
    long result =
        syscall(SYS_futex, address, operation, expected, time, NULL, FUTEX_BITSET_MATCH_ANY);
    return result == 0 || errno == EAGAIN ? 0 : -1;
}

static inline int stand_in_wake(void *address)
{
    return (int)syscall(SYS_futex, address, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
