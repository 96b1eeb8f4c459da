/* stress.c -- core.h under fire, without Python.
 *
 *   stress threads ROUNDS SEED [FAULT]   threads on one shared mapping, all operations mixed
 *   stress points [0 0 FAULT]            a process is killed at each AIE_POINT; the next one repairs
 *   stress kills COUNT SEED [FAULT]      processes are killed anywhere
 *   stress limits                        recursion, ownership, and AIE_MAX_HELD
 *   stress relay ROUNDS SEED [FAULT]     threads pass a turn on, each asleep until it is its own
 *   stress relay-forks ROUNDS SEED [FAULT]   the same with processes, and sleepers killed among them
 *   stress herd ROUNDS SEED [FAULT]      eight processes are woken by one write, and killed at random
 *   stress wait-points                   a sleeper or a writer is killed between two steps of a wait
 *   stress late                          the state comes in time, the sleeper gets to run too late
 *
 * The last five run twice, first without spinning before a sleep, then with it.  -DAIE_LOOK_AGAIN=...
 * (hours) keeps a sleeper from looking by itself: a lost wake-up is then a wait that ends in vain,
 * after WAIT_NS.
 *
 * Exit 0: all invariants held; 1: one broke, named on stderr; 2: wrong usage.  FAULT plants a bug into the
 * callers, not the core; a run with one has to exit 1, or the stress would not notice such a bug.
 *
 * Invariants:
 *   - Every write replaced what it says it saw: the sum of (written - seen) over all writes is
 *     (final - initial), modulo 2^32, and the version counts the writes.
 *   - No value is torn: the upper 16 bits are always the lower ones inverted.
 *   - Inside the lock the word changes by the holder alone, and plain data that the lock guards is
 *     touched by nobody else (ThreadSanitizer sees that too).
 *   - Whoever dies, the next acquirer gets in, is told, and leaves a lock that works.
 *   - No wake-up is lost: nobody whose state has come sleeps on.  Plain data that the turn guards is
 *     seen by whoever the turn wakes.
 *   - A writer that dies between its CAS and its wake-up delays a sleeper by AIE_LOOK_AGAIN at most.
 */
#include "common.h"

#ifndef THREADS
#define THREADS 4
#endif
#define HERD 8

typedef struct {
    aie_control control;
    aie_word word;
    aie_event event; /* of the segment, which nobody watches here */
    /* Guarded by the lock: plain, on purpose. */
    int64_t inside;
    int64_t left, right;
    /* What went wrong, for a process that reports it after others died. */
    _Atomic int broken;
    _Atomic uint64_t steps[THREADS];
    _Atomic uint64_t takeovers;
    /* Of the herd: the version that each of them saw last; and whether the rounds are over. */
    _Atomic uint64_t seen[HERD];
    _Atomic int over;
} shared;

/* ------------------------------------------------------------------ values */

static int32_t make_value(uint64_t number)
{
    uint32_t low = (uint32_t)(number & 0xFFFF);
    return aie_word_value(low | (~low & 0xFFFF) << 16);
}

static bool is_whole(int32_t value)
{
    return make_value((uint32_t)value & 0xFFFF) == value;
}

static shared *make_shared(void)
{
    void *memory =
        mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || aie_control_init(&((shared *)memory)->control) != 0) {
        perror("stress");
        exit(2);
    }
    shared *all = memory;
    aie_word_first(&all->word, make_value(0));
    return all;
}

/* ------------------------------------------------------------------ the operations, as a binding
 *                                                                    makes them */

static aie_result acquire(shared *all, int64_t wait)
{
    if (is_fault("no-mutex")) {
        /* LOCKED alone keeps bare writers out, but not another holder. */
        atomic_fetch_or(&all->word, AIE_LOCKED_BIT);
        return AIE_OK;
    }
    int64_t deadline = aie_now() + wait;
    aie_result result = wait > 0 ? aie_lock_first(&all->control, &all->word)
                                 : aie_lock_try(&all->control, &all->word);
    while (result == AIE_BUSY && aie_now() < deadline) {
        result = aie_lock_until(&all->control, &all->word, aie_now() + AIE_SLICE);
    }
    if (is_fault("not-locked") && result == AIE_OK) {
        /* The mutex alone keeps other holders out, but not a bare writer. */
        atomic_fetch_and(&all->word, ~AIE_LOCKED_BIT);
    }
    return result;
}

static void release(shared *all, bool outermost)
{
    if (is_fault("no-mutex")) {
        atomic_fetch_and(&all->word, ~AIE_LOCKED_BIT);
        return;
    }
    CHECK(all, (aie_lock_depth(&all->control) == 1) == outermost);
    CHECK(all, aie_lock_release(&all->control, &all->word) == AIE_OK);
}

static aie_result change(shared *all, aie_change *request)
{
    if (is_fault("ignores-locked")) {
        return aie_word_change_held(&all->word, &all->event, request);
    }
    if (is_fault("loses-updates")) {
        request->seen = aie_word_load(&all->word);
        if (request->compare && aie_word_value(request->seen) != request->expected) {
            return AIE_MISMATCH;
        }
        atomic_store(&all->word, aie_word_successor(request->seen, request->desired));
        return AIE_OK;
    }
    if (is_fault("tears") && !request->compare) {
        /* Half of the value in one write, half in the next. */
        aie_change half = *request;
        half.desired = aie_word_value((aie_word_load(&all->word) & 0xFFFF)
                                      | ((uint32_t)request->desired & 0xFFFF0000));
        aie_word_change_held(&all->word, &all->event, &half);
    }
    aie_result result = aie_word_change(&all->word, &all->event, request);
    int64_t deadline = aie_now() + WAIT_NS;
    bool first = true;
    while (result == AIE_LOCKED || result == AIE_BUSY) {
        if (!first && aie_now() > deadline) {
            break;
        }
        result = aie_change_slice(&all->word, &all->control, &all->event, request,
                                  first ? 0 : aie_now() + AIE_SLICE);
        first = false;
    }
    if (is_fault("swallows-report")) {
        aie_lock_take_report(&all->control);
    }
    return result;
}

/* ------------------------------------------------------------------ threads */

/* Where threads wait until all have come.  Not pthread_barrier_t, which macOS has not. */
typedef _Atomic int start_line;

static void wait_for_all(start_line *missing)
{
    atomic_fetch_sub(missing, 1);
    while (atomic_load(missing) > 0) {
        sched_yield();
    }
}

typedef struct {
    shared *all;
    start_line *missing;
    uint64_t rounds;
    uint64_t seed;
    uint32_t written; /* sum of (written - seen) */
    uint64_t writes;
} worker;

static void note_write(worker *self, const aie_change *request)
{
    self->written += (uint32_t)request->desired - (uint32_t)aie_word_value(request->seen);
    self->writes++;
}

static void step_locked(worker *self)
{
    shared *all = self->all;
    aie_result result = acquire(all, WAIT_NS);
    CHECK(all, result == AIE_OK);
    if (result != AIE_OK) {
        return;
    }
    CHECK(all, all->inside == 0 && all->left == all->right);
    all->inside = 1;
    all->left++;
    uint64_t seen = aie_word_load(&all->word);
    for (unsigned again = 0; again < chance() % 8; again++) {
        if (again == 3) {
            sched_yield();
        }
        CHECK(all, aie_word_load(&all->word) == seen);
    }
    bool deeper = chance() % 4 == 0;
    if (deeper) {
        CHECK(all, acquire(all, 0) == AIE_OK);
    }
    aie_change request = {.desired = make_value(chance())};
    /* Half of the time as the holder knows itself to be, half as a bare writer that turns out to be
     * the holder. */
    result = chance() % 2 ? aie_word_change_held(&all->word, &all->event, &request)
                          : change(all, &request);
    CHECK(all, result == AIE_OK);
    CHECK(all, request.seen == seen);
    note_write(self, &request);
    CHECK(all, aie_word_load(&all->word) == aie_word_successor(seen, request.desired));
    if (deeper) {
        release(all, false);
    }
    all->right++;
    CHECK(all, all->inside == 1);
    all->inside = 0;
    release(all, true);
}

static void step_bare(worker *self, bool compare)
{
    shared *all = self->all;
    int32_t seen = aie_word_value(aie_word_load(&all->word));
    aie_change request = {.desired = make_value(chance()), .expected = seen, .compare = compare};
    aie_result result = change(all, &request);
    CHECK(all, result == AIE_OK || (compare && result == AIE_MISMATCH));
    CHECK(all, is_whole(aie_word_value(request.seen)));
    if (result == AIE_OK) {
        CHECK(all, !compare || aie_word_value(request.seen) == seen);
        note_write(self, &request);
    }
}

static void *run_worker(void *argument)
{
    worker *self = argument;
    shared *all = self->all;
    chance_state = self->seed | 1;
    wait_for_all(self->missing);
    uint32_t version = 0;
    /* On, though broken: ThreadSanitizer is to see it too.  But not on and on where calls hang. */
    int64_t deadline = aie_now() + 3 * WAIT_NS;
    for (uint64_t n = 0; n < self->rounds && aie_now() < deadline; n++) {
        uint64_t word = aie_word_load(&all->word);
        CHECK(all, is_whole(aie_word_value(word)));
        CHECK(all, aie_word_version(word) >= version);
        version = aie_word_version(word);
        switch (chance() % 8) {
        case 0:
        case 1:
            step_locked(self);
            break;
        case 2:
        case 3:
        case 4:
            step_bare(self, true);
            break;
        default:
            step_bare(self, false);
        }
    }
    return NULL;
}

static int run_threads(uint64_t rounds, uint64_t seed)
{
    shared *all = make_shared();
    start_line missing = THREADS;
    pthread_t threads[THREADS];
    worker workers[THREADS];
    yields = true;
    for (int n = 0; n < THREADS; n++) {
        workers[n] = (worker){all, &missing, rounds, seed * 2654435761u + (unsigned)n * 977u, 0, 0};
        pthread_create(&threads[n], NULL, run_worker, &workers[n]);
    }
    uint32_t written = 0;
    uint64_t writes = 0;
    for (int n = 0; n < THREADS; n++) {
        pthread_join(threads[n], NULL);
        written += workers[n].written;
        writes += workers[n].writes;
    }
    uint64_t word = aie_word_load(&all->word);
    CHECK(all, (uint32_t)aie_word_value(word) == (uint32_t)make_value(0) + written);
    CHECK(all, aie_word_version(word) == writes);
    CHECK(all, (word & (AIE_LOCKED_BIT | AIE_WAITERS_BIT)) == 0);
    CHECK(all, all->inside == 0 && all->left == all->right);
    printf("%llu writes\n", (unsigned long long)writes);
    return atomic_load(&all->broken) != 0;
}

/* ------------------------------------------------------------------ deaths */

#ifdef STRESS_FORGETS_CONSISTENT
/* Linked with --wrap: a core that takes over from the dead, but never says that all is well again. */
int __wrap_pthread_mutex_consistent(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_consistent(pthread_mutex_t *mutex)
{
    (void)mutex;
    return 0;
}
#endif

#if AIE_ROBUST

static const char *const all_points[] = {
    "acquire-mutex-taken", "acquire-noted",  "acquire-locked",   "write-inside",
    "write-done",          "release-begins", "release-unlocked", "release-noted",
    "release-done",        "repair-begins",  "repair-noted",     "repair-consistent",
};

/* In a child that dies at `point`: as an explicit holder, or as a bare writer of a locked word. */
static void die_at(shared *all, const char *point, bool bare)
{
    deadly_point = point;
    deadly_count = 1;
    if (bare) {
        aie_change request = {.desired = make_value(2)};
        /* LOCKED is set, or this would be the fast path. */
        atomic_fetch_or(&all->word, AIE_LOCKED_BIT);
        change(all, &request);
    }
    else {
        if (acquire(all, WAIT_NS) == AIE_OK) {
            at_point("write-inside");
            at_point("write-done");
            release(all, true);
        }
    }
    _exit(3); /* the point was never passed */
}

/* Whether the child died by SIGKILL, as it should. */
static bool dies_at(shared *all, const char *point, bool bare)
{
    pid_t pid = fork();
    if (pid == 0) {
        die_at(all, point, bare);
    }
    return was_killed(pid);
}

/* What csrc/README.md's table says that a death leaves, before anybody repairs it.  */
static void check_left(shared *all, const char *point, uint64_t before)
{
    uint64_t word = aie_word_load(&all->word);
    uint64_t holder = atomic_load(&all->control.fields.holder);
    bool locked = word & AIE_LOCKED_BIT;
    bool noted = strcmp(point, "acquire-noted") == 0 || strcmp(point, "acquire-locked") == 0
                 || strcmp(point, "write-inside") == 0 || strcmp(point, "write-done") == 0
                 || strcmp(point, "release-begins") == 0 || strcmp(point, "release-unlocked") == 0;
    bool repairs = strncmp(point, "repair", 6) == 0;
    if (strcmp(point, "repair-begins") != 0) { /* there the notes are those of who died first */
        CHECK(all, noted ? holder != 0 && holder >> 32 != (uint64_t)getpid() : holder == 0);
        CHECK(all, aie_lock_depth(&all->control) == (noted ? 1 : 0));
    }
    if (strncmp(point, "release-", 8) == 0 && strcmp(point, "release-begins") != 0) {
        CHECK(all, !locked);
    }
    else if (noted && strcmp(point, "acquire-noted") != 0) {
        CHECK(all, locked);
    }
    if (repairs) {
        CHECK(all, locked);
        bool flagged = atomic_load(&all->control.fields.flags) & AIE_ABANDONED;
        CHECK(all, flagged == (strcmp(point, "repair-begins") != 0));
    }
    /* A write is one CAS, which happened or did not. */
    int64_t writes = (int64_t)(word >> AIE_VERSION_SHIFT) - (int64_t)(before >> AIE_VERSION_SHIFT);
    int32_t value = aie_word_value(word);
    CHECK(all,
          writes == 0 ? value == aie_word_value(before) : writes == 1 && value == make_value(2));
    if (strcmp(point, "write-inside") == 0 || strncmp(point, "acquire", 7) == 0) {
        CHECK(all, writes == 0);
    }
    if (atomic_load(&all->broken)) {
        fprintf(stderr, "    right after a death at %s\n", point);
    }
}

static void check_recovery(shared *all, const char *point, bool told)
{
    bool broken_before = atomic_load(&all->broken);
    int64_t begin = aie_now();
    CHECK(all, acquire(all, WAIT_NS) == AIE_OK);
    CHECK(all, aie_now() - begin < AIE_NS_PER_S);
    CHECK(all, aie_lock_take_report(&all->control) == told);
    CHECK(all, !aie_lock_take_report(&all->control));
    CHECK(all, aie_lock_depth(&all->control) == 1);
    CHECK(all, aie_word_load(&all->word) & AIE_LOCKED_BIT);
    release(all, true);
    CHECK(all, !aie_lock_is_mine(&all->control, &all->word));
    CHECK(all, aie_lock_release(&all->control, &all->word) == AIE_NOT_OWNER);
    CHECK(all, (aie_word_load(&all->word) & AIE_LOCKED_BIT) == 0);
    aie_change request = {.desired = make_value(5)};
    CHECK(all, aie_word_change(&all->word, &all->event, &request) == AIE_OK);
    if (atomic_load(&all->broken) && !broken_before) {
        fprintf(stderr, "    after a death at %s\n", point);
    }
}

static int run_points(void)
{
    shared *all = make_shared();
    for (size_t n = 0; n < sizeof(all_points) / sizeof(all_points[0]); n++) {
        const char *point = all_points[n];
        bool repairs = strncmp(point, "repair", 6) == 0;
        for (int bare = 0; bare < 2; bare++) {
            /* Who repairs, and dies at it, comes after a first death. */
            if (repairs) {
                CHECK(all, dies_at(all, "acquire-locked", false));
            }
            uint64_t before = aie_word_load(&all->word);
            CHECK(all, dies_at(all, point, bare));
            check_left(all, point, before);
            CHECK(all, !bare || strcmp(point, "write-done") != 0
                           || aie_word_value(aie_word_load(&all->word)) == make_value(2));
            /* Past the unlock nobody was inside, so there is nothing to tell. */
            bool told = strcmp(point, "release-done") != 0;
            check_recovery(all, point, told);
            if (atomic_load(&all->broken)) {
                return 1; /* or all that follows would wait in vain */
            }

            /* The same once more, but a bare writer comes first: it must not swallow the news.  And
             * LOCKED may be left behind with nobody inside, which it must survive as well. */
            if (repairs) {
                CHECK(all, dies_at(all, "acquire-locked", false));
            }
            CHECK(all, dies_at(all, point, bare));
            aie_change request = {.desired = make_value(6)};
            CHECK(all, change(all, &request) == AIE_OK);
            CHECK(all, aie_word_value(aie_word_load(&all->word)) == make_value(6));
            check_recovery(all, point, told);
            if (atomic_load(&all->broken)) {
                return 1;
            }

            /* And twice in a row. */
            for (int again = 0; again < 2; again++) {
                if (repairs) {
                    CHECK(all, dies_at(all, "acquire-locked", false));
                }
                CHECK(all, dies_at(all, point, bare));
            }
            check_recovery(all, point, told);
        }
    }
    printf("%zu points\n", sizeof(all_points) / sizeof(all_points[0]));
    return atomic_load(&all->broken) != 0;
}

/* A process that locks, checks, writes and unlocks until it is killed. */
static void live(shared *all, int slot, uint64_t seed, pid_t parent)
{
    chance_state = seed | 1;
    yields = true;
    while (getppid() == parent) { /* it may be killed too, and nobody is to outlive it */
        if (slot == THREADS - 1) {
            aie_change request = {.desired = make_value(chance())};
            CHECK(all, change(all, &request) == AIE_OK);
            CHECK(all, is_whole(aie_word_value(request.seen)));
        }
        else {
            aie_result result = acquire(all, WAIT_NS);
            CHECK(all, result == AIE_OK);
            if (result != AIE_OK) {
                _exit(1);
            }
            if (!is_fault("no-mutex") && aie_lock_take_report(&all->control)) {
                all->right = all->left;
                atomic_fetch_add(&all->takeovers, 1);
            }
            else {
                CHECK(all, all->inside == 0 && all->left == all->right);
            }
            all->inside = getpid();
            all->left++;
            aie_change request = {.desired = make_value(chance())};
            CHECK(all, aie_word_change_held(&all->word, &all->event, &request) == AIE_OK);
            for (unsigned n = chance() % 8; n > 0; n--) {
                sched_yield(); /* to be killed right here */
            }
            CHECK(all, aie_word_value(aie_word_load(&all->word)) == request.desired);
            all->right++;
            CHECK(all, all->inside == getpid());
            all->inside = 0;
            release(all, true);
        }
        atomic_fetch_add(&all->steps[slot], 1);
    }
    _exit(1);
}

static pid_t start(shared *all, int slot, uint64_t seed)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        live(all, slot, seed, parent);
    }
    return pid;
}

static bool all_step(shared *all)
{
    int64_t deadline = aie_now() + WAIT_NS;
    for (int slot = 0; slot < THREADS; slot++) {
        uint64_t seen = atomic_load(&all->steps[slot]);
        while (atomic_load(&all->steps[slot]) == seen) {
            if (aie_now() > deadline) {
                return false;
            }
            sched_yield();
        }
    }
    return true;
}

static int run_kills(int count, uint64_t seed)
{
    shared *all = make_shared();
    chance_state = seed | 1;
    pid_t pids[THREADS];
    for (int slot = 0; slot < THREADS; slot++) {
        pids[slot] = start(all, slot, chance());
    }
    for (int n = 0; n < count && !atomic_load(&all->broken); n++) {
        CHECK(all, all_step(all));
        int slot = (int)(chance() % THREADS);
        /* Stopped as well, now and then for so long that the others grow hungry. */
        int stopped = (int)(chance() % THREADS);
        struct timespec pause = aie_timespec((int64_t)(chance() % 500000));
        struct timespec stop =
            aie_timespec((int64_t)(chance() % (chance() % 16 ? 500000 : 3 * AIE_HUNGER)));
        nanosleep(&pause, NULL);
        kill(pids[stopped], SIGSTOP);
        nanosleep(&stop, NULL);
        kill(pids[stopped], SIGCONT);
        kill(pids[slot], SIGKILL);
        waitpid(pids[slot], NULL, 0);
        pids[slot] = start(all, slot, chance());
    }
    CHECK(all, atomic_load(&all->broken) || all_step(all));
    for (int slot = 0; slot < THREADS; slot++) {
        kill(pids[slot], SIGKILL);
        waitpid(pids[slot], NULL, 0);
    }
    unsigned long long rounds = 0;
    for (int slot = 0; slot < THREADS; slot++) {
        rounds += atomic_load(&all->steps[slot]);
    }
    printf("%llu takeovers in %llu rounds\n", (unsigned long long)atomic_load(&all->takeovers),
           rounds);
    if (atomic_load(&all->broken)) {
        /* Who found it may have been killed before it said so. */
        fprintf(stderr, "broken: found by %d\n", atomic_load(&all->broken));
    }
    return atomic_load(&all->broken) != 0;
}

#endif

/* ------------------------------------------------------------------ limits */

/* A thread that holds nothing is refused, waits, and writes when it may. */
static void *be_refused(void *argument)
{
    shared *all = argument;
    CHECK(all, aie_lock_release(&all->control, &all->word) == AIE_NOT_OWNER);
    CHECK(all, !aie_lock_is_mine(&all->control, &all->word));
    CHECK(all, aie_lock_try(&all->control, &all->word) == AIE_BUSY);
    int64_t begin = aie_now();
    CHECK(all, aie_lock_until(&all->control, &all->word, begin + 20000000) == AIE_BUSY);
    CHECK(all, aie_now() - begin >= 20000000);
    aie_change request = {.desired = make_value(9)};
    CHECK(all, aie_change_slice(&all->word, &all->control, &all->event, &request, 0) == AIE_BUSY);
    request = (aie_change){.desired = 0, .expected = 12345, .compare = true};
    CHECK(all,
          aie_change_slice(&all->word, &all->control, &all->event, &request, 0) == AIE_MISMATCH);
    return NULL;
}

/* Who has waited long comes first: the others step back, though the lock is free; but not for ever, and
 * neither its holder nor who does not wait. */
static void check_hunger(shared *all)
{
    _Atomic uint32_t *flags = &all->control.fields.flags;
    CHECK(all, aie_lock_first(&all->control, &all->word) == AIE_OK);
    atomic_fetch_or(flags, AIE_HUNGRY);
    CHECK(all, aie_lock_first(&all->control, &all->word) == AIE_OK); /* the holder */
    release(all, false);
    release(all, true);
    CHECK(all, aie_lock_first(&all->control, &all->word) == AIE_BUSY);
    CHECK(all, aie_lock_try(&all->control, &all->word) == AIE_OK);
    release(all, true);
    CHECK(all, atomic_load(flags) & AIE_HUNGRY);
    int64_t begin = aie_now();
    aie_lock_step_back(&all->control, begin); /* no time for it */
    CHECK(all, aie_now() - begin < AIE_STEP_BACK);
    aie_lock_step_back(&all->control, begin + WAIT_NS); /* nobody comes */
    CHECK(all, aie_now() - begin >= AIE_STEP_BACK);
    CHECK(all, aie_lock_until(&all->control, &all->word, begin + WAIT_NS) == AIE_OK);
    CHECK(all, (atomic_load(flags) & AIE_HUNGRY) == 0);
    release(all, true);
}

/* Wait for longer than patience lasts, and say so in the flags. */
static void *be_hungry(void *argument)
{
    shared *all = argument;
    CHECK(all, aie_lock_until(&all->control, &all->word, aie_now() + WAIT_NS) == AIE_OK);
    CHECK(all, (atomic_load(&all->control.fields.flags) & AIE_HUNGRY) == 0);
    release(all, true);
    return NULL;
}

static void check_hungry(shared *all)
{
    pthread_t thread;
    CHECK(all, acquire(all, 0) == AIE_OK);
    pthread_create(&thread, NULL, be_hungry, all);
    int64_t until = aie_now() + WAIT_NS;
    while (!(atomic_load(&all->control.fields.flags) & AIE_HUNGRY) && aie_now() < until) {
        sched_yield();
    }
    CHECK(all, atomic_load(&all->control.fields.flags) & AIE_HUNGRY);
    release(all, true);
    pthread_join(thread, NULL);
}

static int run_limits(void)
{
    shared *all = make_shared();
    check_hunger(all);
    check_hungry(all);
    for (int depth = 0; depth < 3; depth++) {
        CHECK(all, aie_lock_try(&all->control, &all->word) == AIE_OK);
        CHECK(all, aie_lock_depth(&all->control) == (uint32_t)depth + 1);
    }
    uint64_t before = aie_word_load(&all->word);
    pthread_t thread;
    pthread_create(&thread, NULL, be_refused, all);
    pthread_join(thread, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        be_refused(all);
        _exit(atomic_load(&all->broken) != 0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    CHECK(all, status == 0);
    CHECK(all, aie_word_load(&all->word) == before);
    for (int depth = 2; depth >= 0; depth--) {
        release(all, depth == 0);
    }

    static shared *many[AIE_MAX_HELD + 1];
    for (size_t n = 0; n <= AIE_MAX_HELD; n++) {
        many[n] = make_shared();
    }
    for (int again = 0; again < 2; again++) {
        for (size_t n = 0; n < AIE_MAX_HELD; n++) {
            CHECK(all, acquire(many[n], 0) == AIE_OK);
        }
        shared *one_more = many[AIE_MAX_HELD];
        CHECK(all, acquire(one_more, 0) == AIE_TOO_MANY);
        CHECK(all, aie_lock_until(&one_more->control, &one_more->word, aie_now() + 1000)
                       == AIE_TOO_MANY);
        CHECK(all, acquire(many[7], 0) == AIE_OK);
        release(many[7], false);
        for (size_t n = 0; n < AIE_MAX_HELD; n++) {
            release(many[n], true);
        }
        CHECK(all, acquire(one_more, 0) == AIE_OK);
        release(one_more, true);
    }
    for (size_t n = 0; n <= AIE_MAX_HELD; n++) {
        CHECK(all, !atomic_load(&many[n]->broken));
        munmap(many[n], sizeof(shared));
    }
    return atomic_load(&all->broken) != 0;
}

/* ------------------------------------------------------------------ waiting */

/* As a binding waits: spinning first, then asleep again and again. */
static aie_result await_word(shared *all, const aie_goal *goal, int64_t wait, uint64_t *seen)
{
    int64_t deadline = aie_now() + wait;
    aie_result result = aie_await(&all->word, goal, deadline, true, seen);
    while (result == AIE_AGAIN || result == AIE_INTERRUPTED) {
        result = aie_await_sleeping(&all->word, goal, deadline, seen);
    }
    return result;
}

static aie_result await_value(shared *all, uint64_t number, bool leave, int64_t wait)
{
    int32_t value = make_value(number);
    uint64_t seen;
    aie_result result = await_word(all, &(aie_goal){&value, 1, leave}, wait, &seen);
    CHECK(all, result == AIE_BUSY || (aie_word_value(seen) == value) != leave);
    return result;
}

/* A write in one of the ways that there are, or with a fault. */
static void write_somehow(shared *all, uint64_t number)
{
    aie_change request = {.desired = make_value(number)};
    if (is_fault("forgets-wake")) {
        uint64_t seen = aie_word_load(&all->word);
        while (!atomic_compare_exchange_weak(&all->word, &seen,
                                             aie_word_successor(seen, request.desired))) {
        }
        return;
    }
    if (chance() % 4 == 0) {
        CHECK(all, acquire(all, WAIT_NS) == AIE_OK);
        CHECK(all, aie_word_change_held(&all->word, &all->event, &request) == AIE_OK);
        release(all, true);
        return;
    }
    CHECK(all, change(all, &request) == AIE_OK);
    if (is_fault("clears-waiters")) {
        for (int n = 0; n < 100; n++) { /* until the next of them has announced itself */
            sched_yield();
            atomic_fetch_and(&all->word, ~AIE_WAITERS_BIT);
        }
    }
}

/* Wait for the turn, and pass it on. */
static void relay(shared *all, int me, uint64_t rounds)
{
    for (uint64_t n = 0; n < rounds && !atomic_load(&all->broken); n++) {
        aie_result result = await_value(all, (uint64_t)me, false, WAIT_NS);
        CHECK(all, result == AIE_OK);
        if (result != AIE_OK) {
            return;
        }
        CHECK(all, all->left == (int64_t)(n * THREADS) + me);
        all->left++;
        atomic_fetch_add(&all->steps[me], 1);
        write_somehow(all, (uint64_t)(me + 1) % THREADS);
    }
}

static void *run_relay_thread(void *argument)
{
    worker *self = argument;
    chance_state = self->seed | 1;
    wait_for_all(self->missing);
    relay(self->all, (int)self->writes, self->rounds);
    return NULL;
}

/* Takes the lock and gives it back, and waits in vain, never for too short a time. */
static void disturb(shared *all)
{
    while (!atomic_load(&all->over)) {
        CHECK(all, acquire(all, WAIT_NS) == AIE_OK);
        sched_yield();
        release(all, true);
        int64_t wait = (int64_t)(chance() % 200000);
        int64_t begin = aie_now();
        CHECK(all, await_value(all, THREADS, false, wait) == AIE_BUSY);
        CHECK(all, aie_now() - begin >= wait);
    }
}

static void *run_disturbing_thread(void *argument)
{
    worker *self = argument;
    chance_state = self->seed | 1;
    wait_for_all(self->missing);
    disturb(self->all);
    return NULL;
}

static int end_relay(shared *all, uint64_t rounds)
{
    CHECK(all, all->left == (int64_t)(rounds * THREADS));
    CHECK(all, aie_word_version(aie_word_load(&all->word)) == (uint32_t)(rounds * THREADS));
    printf("%llu turns; ", (unsigned long long)all->left);
    return atomic_load(&all->broken) != 0;
}

static int run_relay(uint64_t rounds, uint64_t seed)
{
    shared *all = make_shared();
    start_line missing = THREADS + 1;
    pthread_t threads[THREADS + 1];
    worker workers[THREADS + 1];
    yields = true;
    for (int n = 0; n <= THREADS; n++) {
        workers[n] = (worker){all, &missing,   rounds, seed * 2654435761u + (unsigned)n * 977u,
                              0,   (uint64_t)n};
        pthread_create(&threads[n], NULL, n < THREADS ? run_relay_thread : run_disturbing_thread,
                       &workers[n]);
    }
    for (int n = 0; n < THREADS; n++) {
        pthread_join(threads[n], NULL);
    }
    atomic_store(&all->over, 1);
    pthread_join(threads[THREADS], NULL);
    return end_relay(all, rounds);
}

/* A sleeper on a state that never comes, until it is killed: here, or at a point. */
static pid_t start_victim(shared *all, const char *point)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        deadly_point = point;
        deadly_count = 1;
        while (getppid() == parent) {
            await_value(all, THREADS, false, AIE_NS_PER_S / 10);
        }
        _exit(1);
    }
    return pid;
}

static int run_relay_forks(uint64_t rounds, uint64_t seed)
{
    static const char *const points[] = {NULL, "wait-announced", "wait-woken"};
    shared *all = make_shared();
    pid_t pids[THREADS];
    chance_state = seed | 1;
    fflush(NULL);
    for (int n = 0; n < THREADS; n++) {
        uint64_t own_seed = chance();
        pids[n] = fork();
        if (pids[n] == 0) {
            chance_state = own_seed | 1;
            relay(all, n, rounds);
            _exit(atomic_load(&all->broken) != 0);
        }
    }
    uint64_t killed = 0;
    int64_t deadline = aie_now() + WAIT_NS;
    uint64_t before = 0;
    while (atomic_load(&all->steps[THREADS - 1]) < rounds && !atomic_load(&all->broken)) {
        uint64_t now = atomic_load(&all->steps[THREADS - 1]);
        if (now != before) {
            before = now;
            deadline = aie_now() + 2 * WAIT_NS;
        }
        CHECK(all, aie_now() < deadline);
        pid_t victim = start_victim(all, points[killed % 3]);
        struct timespec pause = aie_timespec((int64_t)(chance() % 2000000));
        nanosleep(&pause, NULL);
        kill(victim, SIGKILL);
        waitpid(victim, NULL, 0);
        killed++;
    }
    CHECK(all, end_well(pids, THREADS, aie_now() + 2 * WAIT_NS));
    printf("%llu killed, ", (unsigned long long)killed);
    return end_relay(all, rounds);
}

static void follow(shared *all, int slot, pid_t parent)
{
    uint64_t seen = aie_word_load(&all->word);
    while (getppid() == parent && !atomic_load(&all->over)) {
        atomic_store(&all->seen[slot], aie_word_version(seen));
        int32_t value = aie_word_value(seen);
        uint32_t version = aie_word_version(seen);
        aie_result result = await_word(all, &(aie_goal){&value, 1, true}, WAIT_NS, &seen);
        CHECK(all, result == AIE_OK);
        if (result != AIE_OK) {
            _exit(1);
        }
        CHECK(all, aie_word_version(seen) == version + 1);
    }
    _exit(0);
}

static pid_t start_follower(shared *all, int slot)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        follow(all, slot, parent);
    }
    return pid;
}

static int run_herd(uint64_t rounds, uint64_t seed)
{
    shared *all = make_shared();
    pid_t pids[HERD];
    uint64_t killed = 0;
    int64_t slowest = 0;
    chance_state = seed | 1;
    fflush(NULL);
    for (int slot = 0; slot < HERD; slot++) {
        pids[slot] = start_follower(all, slot);
    }
    for (uint64_t round = 1; round <= rounds && !atomic_load(&all->broken); round++) {
        write_somehow(all, round);
        int64_t begin = aie_now();
        for (int slot = 0; slot < HERD; slot++) {
            while (atomic_load(&all->seen[slot]) != round && !atomic_load(&all->broken)) {
                if (aie_now() > begin + WAIT_NS) {
                    CHECK(all, !"a sleeper sleeps on");
                }
                sched_yield();
            }
        }
        int64_t took = aie_now() - begin;
        slowest = took > slowest ? took : slowest;
        if (chance() % 8 == 0) { /* let them all fall asleep */
            struct timespec pause = aie_timespec(AIE_NS_PER_S / 5000);
            nanosleep(&pause, NULL);
        }
        if (chance() % 16 == 0) {
            int slot = (int)(chance() % HERD);
            kill(pids[slot], SIGKILL);
            waitpid(pids[slot], NULL, 0);
            pids[slot] = start_follower(all, slot);
            killed++;
        }
    }
    atomic_store(&all->over, 1);
    write_somehow(all, rounds + 1);
    CHECK(all, end_well(pids, HERD, aie_now() + 2 * WAIT_NS));
    printf("%llu rounds, %llu killed, slowest %lld us; ", (unsigned long long)rounds,
           (unsigned long long)killed, (long long)(slowest / 1000));
    return atomic_load(&all->broken) != 0;
}

/* A child that waits for 1; its exit code tells whether it came, and *woken when. */
static pid_t start_sleeper(shared *all, int64_t wait)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        aie_result result = await_value(all, 1, false, wait);
        atomic_store(&all->seen[0], (uint64_t)aie_now());
        _exit(result != AIE_OK);
    }
    return pid;
}

static void until_announced(shared *all)
{
    int64_t deadline = aie_now() + WAIT_NS;
    while (!(aie_word_load(&all->word) & AIE_WAITERS_BIT)) {
        CHECK(all, aie_now() < deadline);
        if (aie_now() > deadline) {
            return;
        }
        sched_yield();
    }
}

static int run_wait_points(uint64_t number, uint64_t seed)
{
    (void)number;
    chance_state = seed | 1;
    static const char *const sleepers[] = {"wait-announced", "wait-woken"};
    for (int again = 0; again < 2; again++) {
        shared *all = make_shared();
        bool locked = AIE_ROBUST && again % 2 == 1; /* else the writer's lock stays taken */
        /* The writer dies after its CAS: WAITERS is gone, and nobody was woken. */
        pid_t sleeper = start_sleeper(all, WAIT_NS);
        until_announced(all);
        if (locked) {
            atomic_fetch_or(&all->word, AIE_LOCKED_BIT); /* the slow path */
        }
        int64_t begin = aie_now();
        fflush(NULL);
        pid_t writer = fork();
        if (writer == 0) {
            deadly_point = "write-before-wake";
            deadly_count = 1;
            aie_change request = {.desired = make_value(1)};
            change(all, &request);
            _exit(3);
        }
        CHECK(all, was_killed(writer));
        CHECK(all, aie_word_value(aie_word_load(&all->word)) == make_value(1));
        int status = 0;
        waitpid(sleeper, &status, 0);
        CHECK(all, status == 0);
        int64_t delay = (int64_t)atomic_load(&all->seen[0]) - begin;
        CHECK(all, delay < PROMISED_NS + SCHEDULING_NS);
        printf("a writer's death delays by %lld us; ", (long long)(delay / 1000));
        if (locked) {
            CHECK(all, acquire(all, WAIT_NS) == AIE_OK);
            CHECK(all, aie_lock_take_report(&all->control));
            release(all, true);
        }

        /* A sleeper dies: it leaves WAITERS at most, and nobody is the worse. */
        for (size_t n = 0; n < 2; n++) {
            write_somehow(all, 0);
            pid_t victim = start_victim(all, sleepers[n]);
            if (n == 1) {
                until_announced(all); /* it is woken by a state that it does not wait for */
                write_somehow(all, 2);
            }
            CHECK(all, was_killed(victim));
            sleeper = start_sleeper(all, WAIT_NS);
            until_announced(all);
            begin = aie_now();
            write_somehow(all, 1);
            waitpid(sleeper, &status, 0);
            CHECK(all, status == 0);
            CHECK(all, (int64_t)atomic_load(&all->seen[0]) - begin < SCHEDULING_NS);
            CHECK(all, (aie_word_load(&all->word) & (AIE_WAITERS_BIT | AIE_LOCKED_BIT)) == 0);
        }
        if (atomic_load(&all->broken)) {
            return 1;
        }
        munmap(all, sizeof(shared));
    }
    return 0;
}

static shared *stalled;
static int64_t stalled_until;

static void stall(void)
{
    write_somehow(stalled, 1);
    while (aie_now() < stalled_until) {
        sched_yield();
    }
}

/* A sleeper that is stopped over its deadline still finds the state that came before. */
static int run_late(uint64_t number, uint64_t seed)
{
    (void)number;
    chance_state = seed | 1;
    shared *all = make_shared();
    pid_t sleeper = start_sleeper(all, AIE_NS_PER_S / 5);
    until_announced(all);
    kill(sleeper, SIGSTOP);
    int status = 0;
    waitpid(sleeper, &status, WUNTRACED);
    write_somehow(all, 1);
    struct timespec pause = aie_timespec(AIE_NS_PER_S / 4);
    nanosleep(&pause, NULL);
    kill(sleeper, SIGCONT);
    waitpid(sleeper, &status, 0);
    CHECK(all, WIFEXITED(status) && WEXITSTATUS(status) == 0);

    /* The same, stopped between its look and its sleep. */
    write_somehow(all, 0);
    int32_t wanted = make_value(1);
    aie_goal goal = {&wanted, 1, false};
    uint64_t seen = 0;
    stalled = all;
    stalled_until = aie_now() + AIE_NS_PER_S / 20;
    hook = stall;
    hooked_point = "wait-announced";
    CHECK(all, aie_await_sleeping(&all->word, &goal, stalled_until, &seen) == AIE_OK);
    CHECK(all, hooked_point == NULL && aie_word_value(seen) == wanted);
    return atomic_load(&all->broken) != 0;
}

static const struct {
    const char *name;
    int (*run)(uint64_t number, uint64_t seed);
} wait_modes[] = {
    /* clang-format off */
    {"relay", run_relay},
    {"relay-forks", run_relay_forks},
    {"herd", run_herd},
    {"wait-points", run_wait_points},
    {"late", run_late},
    /* clang-format on */
};

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "";
    uint64_t number = count > 2 ? strtoull(arguments[2], NULL, 10) : 0;
    uint64_t seed = count > 3 ? strtoull(arguments[3], NULL, 10) : 1;
    fault = count > 4 ? arguments[4] : "";
    int (*wait_mode)(uint64_t, uint64_t) = NULL;
    for (size_t n = 0; n < sizeof(wait_modes) / sizeof(wait_modes[0]); n++) {
        if (strcmp(mode, wait_modes[n].name) == 0) {
            wait_mode = wait_modes[n].run;
        }
    }
    if (wait_mode != NULL) {
        atomic_store(&aie_spin_ns, 0);
        int broken = wait_mode(number, seed);
        printf("without spinning\n");
        if (broken) {
            return broken;
        }
        atomic_store(&aie_spin_ns, 5000);
        broken = wait_mode(number, seed + 1);
        printf("spinning\n");
        return broken;
    }
    if (strcmp(mode, "threads") == 0) {
        return run_threads(number, seed);
    }
    if (strcmp(mode, "limits") == 0) {
        return run_limits();
    }
#if AIE_ROBUST
    if (strcmp(mode, "points") == 0) {
        return run_points();
    }
    if (strcmp(mode, "kills") == 0) {
        return run_kills((int)number, seed);
    }
#endif
    fprintf(stderr, "usage: stress threads ROUNDS SEED [FAULT] | points [0 0 FAULT]"
                    " | kills COUNT SEED [FAULT] | limits"
                    " | relay|relay-forks|herd ROUNDS SEED [FAULT] | wait-points | late\n");
    return 2;
}
