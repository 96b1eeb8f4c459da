/* park.c -- the contract of park.h, clause by clause, on each step of its ladder.
 *
 *   park ROUNDS
 *
 * Each process maps the words at an address of its own.  Nobody looks again by himself: a lost wake-up
 * is a wait that ends after WAIT_NS, in vain.
 *
 * Exit 0: all of it held; 1: something broke.
 */
#include "common.h"

#include <sys/time.h>

#define HERD 4

typedef struct {
    _Atomic int broken;
    _Atomic int ready;
    _Atomic int woken;
    _Atomic uint32_t word; /* as the upper half of a state word: not at a multiple of 8 */
    _Atomic uint32_t other;
} shared;

_Static_assert(offsetof(shared, word) % 8 == 4, "the upper half's place");

static shared *all;   /* as the parent sees it */
static shared *again; /* the same memory, elsewhere */

static void at_hand(int number)
{
    (void)number;
}

/* Sleep until the word is another; false: in vain. */
static bool leaves(const _Atomic uint32_t *word, uint32_t value)
{
    int64_t deadline = aie_now() + WAIT_NS;
    while (atomic_load(word) == value) {
        if (aie_wait(word, value, deadline) == AIE_BUSY) {
            return false; /* though it may be another by now: nobody woke this */
        }
    }
    return true;
}

/* Sleep on, where it ends for no reason; but not far beyond the deadline. */
static aie_result sleeps(int64_t deadline)
{
    aie_result result;
    do {
        result = aie_wait(&all->word, atomic_load(&all->word), deadline);
    } while (result == AIE_OK && aie_now() < deadline + WAIT_NS);
    return result;
}

static void check_returns(void)
{
    int64_t soon = aie_now() + AIE_NS_PER_S / 50;
    CHECK(all, aie_wait(&all->word, atomic_load(&all->word) + 1, aie_now() + WAIT_NS) == AIE_OK);
    CHECK(all, sleeps(soon) == AIE_BUSY && aie_now() >= soon);
    CHECK(all, aie_now() < soon + WAIT_NS / 2);
    CHECK(all, sleeps(soon) == AIE_BUSY);
    CHECK(all, sleeps(aie_now()) == AIE_BUSY);
    CHECK(all, sleeps(0) == AIE_BUSY);
    aie_wake_all(&all->word); /* nobody sleeps */
}

/* One signal may come before the sleep; they go on until one ends it. */
static void check_signal(void)
{
    struct sigaction action = {.sa_handler = at_hand, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    CHECK(all, sleeps(aie_now() + WAIT_NS) == AIE_INTERRUPTED);
    setitimer(ITIMER_REAL, &never, NULL);
}

/* On several words: as it says of one, or not at all. */
static void check_any(void)
{
    aie_parked parked[2] = {{&all->word, atomic_load(&all->word)}, {&all->other, 1}};
    aie_result result = aie_wait_any(parked, 2, aie_now() + WAIT_NS);
    CHECK(all, result == AIE_AGAIN || result == AIE_OK);
    parked[1].expected = atomic_load(&all->other);
    result = aie_wait_any(parked, 2, aie_now() + AIE_NS_PER_S / 50);
    CHECK(all, result == AIE_AGAIN || result == AIE_BUSY);
#if defined(AIE_STAND_IN) || defined(AIE_PRETEND_NO_FUTEX)
    CHECK(all, result == AIE_AGAIN);
#endif
}

/* Two processes take turns: each write is a wake-up that the other waits for. */
static void check_turns(uint32_t rounds)
{
    if (atomic_load(&all->broken)) {
        return; /* by now each would be in vain */
    }
    atomic_store(&all->word, 0);
    fflush(NULL);
    pid_t pid = fork();
    shared *mine = pid == 0 ? again : all;
    for (uint32_t n = pid == 0; n < 2 * rounds && !atomic_load(&mine->broken); n += 2) {
        for (uint32_t seen;
             (seen = atomic_load(&mine->word)) != n && !atomic_load(&mine->broken);) {
            CHECK(mine, leaves(&mine->word, seen));
        }
        atomic_store(&mine->word, n + 1);
        aie_wake_all(&mine->word);
    }
    if (pid == 0) {
        _exit(0);
    }
    CHECK(all, end_well(&pid, 1, aie_now() + 2 * WAIT_NS));
}

/* One wake-up is for all of them, in whichever process. */
static void check_herd(uint32_t rounds)
{
    pid_t pids[HERD];
    if (atomic_load(&all->broken)) {
        return;
    }
    atomic_store(&all->word, 0);
    fflush(NULL);
    for (int n = 0; n < HERD; n++) {
        pids[n] = fork();
        for (uint32_t round = 0; pids[n] == 0 && round < rounds; round++) {
            atomic_fetch_add(&again->ready, 1);
            CHECK(again, leaves(&again->word, round));
            atomic_fetch_add(&again->woken, 1);
        }
        if (pids[n] == 0) {
            _exit(0);
        }
    }
    for (uint32_t round = 0; round < rounds && !atomic_load(&all->broken); round++) {
        int64_t deadline = aie_now() + WAIT_NS;
        int count = HERD * (int)(round + 1);
        while (atomic_load(&all->ready) < count && aie_now() < deadline) {
            sched_yield();
        }
        for (int n = 0; n < 20; n++) { /* most of them fall asleep meanwhile */
            sched_yield();
        }
        atomic_store(&all->word, round + 1);
        aie_wake_all(&all->word);
    }
    CHECK(all, end_well(pids, HERD, aie_now() + 2 * WAIT_NS));
    CHECK(all, atomic_load(&all->woken) == HERD * (int)rounds);
}

#if defined(AIE_STAND_IN)
/* Each error of the call: that of the time, that of a signal, and others, which may stay. */
static void check_errors(void)
{
    static const int others[] = {EFAULT, ENOMEM, EINVAL, ENOSYS};
    stand_in_error = ETIMEDOUT;
    CHECK(all, aie_wait(&all->word, atomic_load(&all->word), aie_now() + WAIT_NS) == AIE_BUSY);
    stand_in_error = EINTR;
    CHECK(all, sleeps(aie_now() + WAIT_NS) == AIE_INTERRUPTED);
    for (size_t n = 0; n < sizeof(others) / sizeof(others[0]); n++) {
        int64_t soon = aie_now() + AIE_NS_PER_S / 10;
        unsigned before = atomic_load(&stand_in_waits);
        stand_in_error = others[n];
        CHECK(all, sleeps(soon) == AIE_BUSY && aie_now() >= soon);
        CHECK(all, atomic_load(&stand_in_waits) - before < 20); /* and was not busy meanwhile */
        CHECK(all, leaves(&all->word, atomic_load(&all->word) + 1));
        check_turns(20);
    }
    stand_in_error = 0;
#if defined(AIE_PRETEND_MACOS_PARK)
    stand_in_others = 3;
    CHECK(all, aie_wait(&all->word, atomic_load(&all->word) + 1, aie_now() + WAIT_NS) == AIE_OK);
    stand_in_others = 0;
#endif
}
#endif

static void *map(int fd)
{
    return mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

int main(int count, char **arguments)
{
    uint32_t rounds = count > 1 ? (uint32_t)strtoul(arguments[1], NULL, 10) : 1000;
    FILE *file = tmpfile();
    if (file == NULL || ftruncate(fileno(file), sizeof(shared)) != 0) {
        perror("tmpfile");
        return 2;
    }
    all = map(fileno(file));
    again = map(fileno(file));
    if (all == MAP_FAILED || again == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    check_returns();
    check_signal();
    check_any();
    check_turns(rounds);
    check_herd(rounds / 10);
#if defined(AIE_STAND_IN)
    check_errors();
    CHECK(all, atomic_load(&stand_in_waits) > 0); /* it is what was called */
#endif
    return atomic_load(&all->broken) != 0;
}
