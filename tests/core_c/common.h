/* common.h -- what the stress programs have in common: chance, points to die at, planted faults, and
 * how a broken invariant is told.
 */
#ifndef AIE_TESTS_COMMON_H
#define AIE_TESTS_COMMON_H

static void at_point(const char *name);
#define AIE_POINT(name) at_point(name)
#include "core.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

#ifndef WAIT_NS
#define WAIT_NS (10 * AIE_NS_PER_S) /* no wait here takes a hundredth of it, unless it hangs */
#endif

static const char *fault = "";

static inline bool is_fault(const char *name)
{
    return strcmp(fault, name) == 0;
}

#define CHECK(shared_, condition)                                                       \
    do {                                                                                \
        if (!(condition)) {                                                             \
            if (atomic_fetch_add(&(shared_)->broken, 1) < 20) {                         \
                fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition); \
            }                                                                           \
        }                                                                               \
    } while (0)

static _Thread_local uint64_t chance_state = 1;

static uint64_t chance(void) /* xorshift64* */
{
    chance_state ^= chance_state >> 12;
    chance_state ^= chance_state << 25;
    chance_state ^= chance_state >> 27;
    return chance_state * UINT64_C(2685821657736338717);
}

/* Where this process dies: at the `deadly_count`-th passing of `deadly_point`. */
static const char *deadly_point;
static int deadly_count;
static bool yields; /* give the processor away at points: races come up far more often */

/* What happens at the next passing of `hooked_point`, once. */
static const char *hooked_point;
static void (*hook)(void);

/* How often `counted_point` was passed. */
static const char *counted_point;
static _Atomic int counted;

static void at_point(const char *name)
{
    if (counted_point != NULL && strcmp(name, counted_point) == 0) {
        atomic_fetch_add(&counted, 1);
    }
    if (hooked_point != NULL && strcmp(name, hooked_point) == 0) {
        hooked_point = NULL;
        hook();
    }
    if (deadly_point != NULL && strcmp(name, deadly_point) == 0 && --deadly_count == 0) {
        kill(getpid(), SIGKILL);
    }
    if (yields && chance() % 4 == 0) {
        sched_yield();
    }
}

/* ------------------------------------------------------------------ children */

/* Whether all of the children have ended, well; those that have not in time are killed. */
static inline bool end_well(pid_t *pids, int count, int64_t deadline)
{
    bool well = true;
    for (int n = 0; n < count; n++) {
        int status = 0;
        while (waitpid(pids[n], &status, WNOHANG) == 0) {
            if (aie_now() > deadline) {
                kill(pids[n], SIGKILL);
                waitpid(pids[n], &status, 0);
                break;
            }
            struct timespec pause = aie_timespec(100000);
            nanosleep(&pause, NULL);
        }
        well &= status == 0;
    }
    return well;
}

/* Whether the child died by SIGKILL, as it should. */
static inline bool was_killed(pid_t pid)
{
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* From the write on; what a busy machine adds is not this core's. */
#define SCHEDULING_NS (WAIT_NS / 5)
#define PROMISED_NS (AIE_NS_PER_S / 4)

#endif
