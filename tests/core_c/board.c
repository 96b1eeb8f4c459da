/* board.c -- array.h and event.h under fire, without Python.
 *
 *   board threads ROUNDS SEED [FAULT]  threads claim words, give them back, count and watch
 *   board claim ROUNDS SEED [FAULT]    processes claim until there is none, and are killed meanwhile
 *   board watch ROUNDS SEED [FAULT]    writers, and those who wait for any word and for all of them,
 *                                      with watchers killed among them
 *   board watch-points                 a watcher or a writer is killed between two steps
 *
 * All but the last run twice: words side by side, and one to a cache line.  `watch` is to be built with
 * -DAIE_LOOK_AGAIN=... (hours): a lost wake-up is then a wait that ends in vain, after WAIT_NS.
 *
 * Exit 0: all invariants held; 1: one broke; 2: wrong usage.  FAULT plants a bug into the callers.
 *
 * Invariants:
 *   - Each word is claimed by one claimer: plain data that belongs to the word is touched by nobody
 *     else (ThreadSanitizer sees that too), and no index is given twice.
 *   - Who is told that no word is left has passed none over: all are taken in the end.
 *   - Counts add up to the number of words.
 *   - No wake-up is lost: nobody whose state has come sleeps on.
 *   - A writer that dies before it wakes delays a watcher by AIE_LOOK_AGAIN at most, and a watcher that
 *     dies leaves one needless wake-up at most.
 */
#include "common.h"

#define WORKERS 4
#ifndef WORDS
#define WORDS 1000
#endif

enum { IDLE = 1, BUSY = 2, MARK = 1 << 20 };

typedef struct {
    alignas(AIE_LINE) aie_event event;
    alignas(AIE_LINE) unsigned char words[WORDS * AIE_LINE];
    aie_control controls[WORDS];
    int owner[WORDS]; /* plain, on purpose: of who has claimed the word */
    _Atomic uint32_t taken[WORDS];
    _Atomic uint32_t round; /* that the writers are to write */
    _Atomic int64_t found;  /* by who waits for any: round << 32 | index */
    _Atomic int64_t woken;  /* when */
    _Atomic int over;
    _Atomic int broken;
} shared;

static size_t stride;

static aie_array board_of(shared *all)
{
    return (aie_array){.words = all->words,
                       .controls = (unsigned char *)all->controls,
                       .stride = stride,
                       .count = WORDS,
                       .event = &all->event};
}

static shared *make_shared(int32_t value)
{
    void *memory =
        mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("board");
        exit(2);
    }
    shared *all = memory;
    aie_array board = board_of(all);
    for (size_t n = 0; n < WORDS; n++) {
        aie_word_first(aie_array_word(&board, n), value);
        if (aie_control_init(aie_array_control(&board, n)) != 0) {
            perror("board");
            exit(2);
        }
    }
    return all;
}

/* ------------------------------------------------------------------ the operations, as a binding
 *                                                                    makes them */

static bool claim(const aie_array *board, size_t *index, int32_t old, int32_t new)
{
    if (is_fault("claims-twice")) {
        for (size_t n = 0; n < WORDS; n++) {
            aie_word *word = aie_array_word(board, n);
            uint64_t seen = aie_word_load(word);
            if (aie_word_value(seen) == old) {
                sched_yield();
                atomic_store(word, aie_word_successor(seen, new));
                *index = n;
                return true;
            }
        }
        return false;
    }
    for (;;) {
        size_t start = is_fault("stops-at-the-end") ? WORDS - 1 : *index;
        aie_array part = *board;
        if (is_fault("stops-at-the-end")) {
            part.count = WORDS - 1;
        }
        aie_change claim = {.expected = old, .desired = new, .compare = true};
        aie_result result = aie_array_claim(&part, start, &claim, index, NULL);
        if (result == AIE_LOCKED) {
            result = aie_array_claim_slice(board, &claim, index, AIE_CLAIM_SLICE, NULL);
            if (result == AIE_MISMATCH || result == AIE_BUSY) {
                continue;
            }
        }
        return result == AIE_OK;
    }
}

/* Write in one of the ways that there are. */
static void write_somehow(shared *all, const aie_array *board, size_t index, int32_t value)
{
    aie_event dumb = 0;
    aie_event *event = is_fault("forgets-event") ? &dumb : board->event;
    aie_word *word = aie_array_word(board, index);
    aie_control *control = aie_array_control(board, index);
    aie_change request = {.desired = value};
    if (chance() % 4 == 0) {
        CHECK(all, aie_lock_until(control, word, aie_now() + WAIT_NS) == AIE_OK);
        CHECK(all, aie_word_change_held(word, event, &request) == AIE_OK);
        CHECK(all, aie_lock_release(control, word) == AIE_OK);
        return;
    }
    aie_result result = aie_word_change(word, event, &request);
    while (result == AIE_LOCKED || result == AIE_BUSY) {
        result = aie_change_slice(word, control, event, &request, aie_now() + AIE_SLICE);
    }
    CHECK(all, result == AIE_OK);
}

static aie_result watch(const aie_array *board, aie_watch *watched, int64_t wait)
{
    int64_t deadline = aie_now() + wait;
    aie_result result = AIE_AGAIN;
    while (result == AIE_AGAIN || result == AIE_INTERRUPTED) {
        if (is_fault("reloads-event")) {
            /* Sleeps on what the event word is after the scan. */
            aie_event_arm(board->event, AIE_ARMED);
            result = aie_watch_met(board, watched) ? AIE_OK : AIE_BUSY;
            if (result != AIE_OK && aie_now() < deadline) {
                sched_yield();
                aie_wait(board->event, atomic_load(board->event), deadline);
                result = AIE_AGAIN;
            }
        }
        else {
            result = aie_watch_sleeping(board, watched, deadline);
        }
    }
    return result;
}

/* Word `index` of the board has that value, at most: a wait for any word that has it returns this
 * index. */
static void look_for(shared *all, const aie_array *board, int32_t value)
{
    aie_watch any = {.goal = {&value, 1, false}};
    aie_result result = watch(board, &any, WAIT_NS);
    CHECK(all, result == AIE_OK);
    if (result == AIE_OK) {
        CHECK(all, aie_array_value(board, any.index) == value);
        atomic_store(&all->woken, aie_now());
        atomic_store(&all->found, (int64_t)value << 32 | (int64_t)any.index);
    }
}

/* ------------------------------------------------------------------ threads */

typedef struct {
    shared *all;
    uint64_t rounds;
    uint64_t seed;
    int me;
} worker;

static void *run_worker(void *argument)
{
    worker *self = argument;
    shared *all = self->all;
    aie_array board = board_of(all);
    chance_state = self->seed | 1;
    size_t index = 0;
    for (uint64_t n = 0; n < self->rounds && !atomic_load(&all->broken); n++) {
        if (!claim(&board, &index, IDLE, BUSY)) {
            sched_yield();
            continue;
        }
        CHECK(all, all->owner[index] == 0);
        all->owner[index] = self->me;
        if (chance() % 8 == 0) {
            sched_yield();
        }
        CHECK(all, all->owner[index] == self->me);
        all->owner[index] = 0;
        write_somehow(all, &board, index, IDLE);
    }
    return NULL;
}

static void *run_counter(void *argument)
{
    shared *all = ((worker *)argument)->all;
    aie_array board = board_of(all);
    while (!atomic_load(&all->over)) {
        size_t tallies[3];
        aie_array_tally(&board, IDLE, 2, tallies);
        CHECK(all, tallies[0] + tallies[1] == WORDS && tallies[2] == 0);
        CHECK(all, aie_array_count(&board, IDLE) <= WORDS);
        int32_t idle = IDLE;
        aie_watch any = {.goal = {&idle, 1, false}};
        CHECK(all, watch(&board, &any, WAIT_NS) == AIE_OK);
    }
    return NULL;
}

static int run_threads(uint64_t rounds, uint64_t seed)
{
    shared *all = make_shared(IDLE);
    pthread_t threads[WORKERS + 1];
    worker workers[WORKERS + 1];
    yields = true;
    for (int n = 0; n <= WORKERS; n++) {
        workers[n] = (worker){all, rounds, seed * 2654435761u + (unsigned)n * 977u, n + 1};
        pthread_create(&threads[n], NULL, n < WORKERS ? run_worker : run_counter, &workers[n]);
    }
    for (int n = 0; n < WORKERS; n++) {
        pthread_join(threads[n], NULL);
    }
    atomic_store(&all->over, 1);
    pthread_join(threads[WORKERS], NULL);
    aie_array board = board_of(all);
    CHECK(all, atomic_load(&all->broken) || aie_array_count(&board, IDLE) == WORDS);
    return atomic_load(&all->broken) != 0;
}

/* ------------------------------------------------------------------ claim */

static pid_t start_claimer(shared *all, uint64_t seed)
{
    pid_t pid = fork();
    if (pid == 0) {
        chance_state = seed | 1;
        aie_array board = board_of(all);
        size_t index = 0;
        while (claim(&board, &index, IDLE, BUSY)) {
            atomic_fetch_add(&all->taken[index], 1);
            if (chance() % 16 == 0) {
                sched_yield();
            }
        }
        _exit(0);
    }
    return pid;
}

static int run_claim(uint64_t rounds, uint64_t seed)
{
    uint64_t killed = 0, lost = 0;
    chance_state = seed | 1;
    for (uint64_t round = 0; round < rounds; round++) {
        shared *all = make_shared(IDLE);
        aie_array board = board_of(all);
        pid_t pids[WORKERS];
        for (int n = 0; n < WORKERS; n++) {
            pids[n] = start_claimer(all, chance());
        }
        /* A word that is locked for a while is passed over, and taken all the same. */
        size_t held = chance() % WORDS;
        aie_word *word = aie_array_word(&board, held);
        aie_control *control = aie_array_control(&board, held);
        CHECK(all, aie_lock_until(control, word, aie_now() + WAIT_NS) == AIE_OK);
        uint64_t kills = chance() % 4;
        for (uint64_t n = 0; n < kills; n++) {
            struct timespec pause = aie_timespec((int64_t)(chance() % 300000));
            nanosleep(&pause, NULL);
            int victim = (int)(chance() % WORKERS);
            kill(pids[victim], SIGKILL);
            waitpid(pids[victim], NULL, 0);
            pids[victim] = start_claimer(all, chance());
        }
        CHECK(all, aie_lock_release(control, word) == AIE_OK);
        CHECK(all, end_well(pids, WORKERS, aie_now() + WAIT_NS));
        uint64_t untold = 0;
        for (size_t n = 0; n < WORDS; n++) {
            uint32_t taken = atomic_load(&all->taken[n]);
            CHECK(all, taken <= 1);
            untold += taken == 0;
        }
        CHECK(all, aie_array_count(&board, BUSY) == WORDS);
        CHECK(all, untold <= kills); /* claimed by one that died before it could tell */
        killed += kills;
        lost += untold;
        if (atomic_load(&all->broken)) {
            return 1;
        }
        munmap(all, sizeof(shared));
    }
    printf("%llu killed, %llu lost to them; ", (unsigned long long)killed,
           (unsigned long long)lost);
    return 0;
}

/* ------------------------------------------------------------------ watch */

/* Writes each round's number into its share of the words. */
static void be_writer(shared *all, int me, uint64_t seed, pid_t parent)
{
    aie_array board = board_of(all);
    chance_state = seed | 1;
    uint32_t done = 0;
    while (!atomic_load(&all->over) && getppid() == parent) {
        uint32_t round = atomic_load(&all->round);
        if (round == done) {
            sched_yield();
            continue;
        }
        size_t first = chance() % WORDS;
        for (size_t n = 0; n < WORDS; n++) {
            size_t index = (first + n) % WORDS;
            if (index % WORKERS == (size_t)me) {
                write_somehow(all, &board, index, (int32_t)round);
            }
        }
        done = round;
    }
    _exit(0);
}

/* Finds the word with each round's mark. */
static void be_finder(shared *all, uint64_t rounds, pid_t parent)
{
    aie_array board = board_of(all);
    for (uint32_t round = 1; round <= rounds && getppid() == parent; round++) {
        look_for(all, &board, (int32_t)(MARK + round));
        if (atomic_load(&all->broken)) {
            _exit(1);
        }
    }
    _exit(0);
}

/* Watches for what never comes, until it is killed: here, or at a point. */
static pid_t start_victim(shared *all, const char *point)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        aie_array board = board_of(all);
        int32_t never = -1;
        aie_watch any = {.goal = {&never, 1, false}};
        deadly_point = point;
        deadly_count = 1;
        while (getppid() == parent) {
            watch(&board, &any, AIE_NS_PER_S / 10);
        }
        _exit(1);
    }
    return pid;
}

static int run_watch(uint64_t rounds, uint64_t seed)
{
    static const char *const points[] = {NULL, "watch-armed", "watch-woken"};
    shared *all = make_shared(0);
    aie_array board = board_of(all);
    pid_t pids[WORKERS + 1];
    pid_t me = getpid();
    uint64_t killed = 0;
    chance_state = seed | 1;
    for (int n = 0; n <= WORKERS; n++) {
        uint64_t own_seed = chance();
        pids[n] = fork();
        if (pids[n] == 0) {
            if (n < WORKERS) {
                be_writer(all, n, own_seed, me);
            }
            be_finder(all, rounds, me);
        }
    }
    for (uint32_t round = 1; round <= rounds && !atomic_load(&all->broken); round++) {
        pid_t victim = round % 8 == 0 ? start_victim(all, points[killed % 3]) : 0;
        atomic_store(&all->round, round);
        int32_t value = (int32_t)round;
        aie_watch every = {.goal = {&value, 1, false}, .all = true};
        CHECK(all, watch(&board, &every, WAIT_NS) == AIE_OK);
        CHECK(all, aie_array_count(&board, value) == WORDS);
        size_t marked = chance() % WORDS;
        write_somehow(all, &board, marked, (int32_t)(MARK + round));
        int64_t expected = (int64_t)(MARK + round) << 32 | (int64_t)marked;
        int64_t deadline = aie_now() + WAIT_NS;
        while (atomic_load(&all->found) != expected && !atomic_load(&all->broken)) {
            CHECK(all, aie_now() < deadline);
            sched_yield();
        }
        if (victim) {
            kill(victim, SIGKILL);
            waitpid(victim, NULL, 0);
            killed++;
        }
    }
    atomic_store(&all->over, 1);
    CHECK(all, end_well(pids, WORKERS + 1, aie_now() + WAIT_NS));
    printf("%llu rounds, %llu killed; ", (unsigned long long)rounds, (unsigned long long)killed);
    return atomic_load(&all->broken) != 0;
}

/* ------------------------------------------------------------------ watch-points */

static void until_armed(shared *all)
{
    int64_t deadline = aie_now() + WAIT_NS;
    while (!(atomic_load(&all->event) & AIE_ARMED)) {
        CHECK(all, aie_now() < deadline);
        if (aie_now() > deadline) {
            return;
        }
        sched_yield();
    }
}

static pid_t start_finder(shared *all, int32_t value)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        aie_array board = board_of(all);
        look_for(all, &board, value);
        _exit(atomic_load(&all->broken) != 0);
    }
    return pid;
}

static void is_found(shared *all, pid_t finder, int64_t begin, int64_t allowed)
{
    int status = 0;
    waitpid(finder, &status, 0);
    CHECK(all, status == 0);
    CHECK(all, atomic_load(&all->woken) - begin < allowed);
}

static int run_watch_points(uint64_t number, uint64_t seed)
{
    static const char *const writers[] = {"event-before-advance", "event-before-wake"};
    static const char *const watchers[] = {"watch-armed", "watch-woken"};
    (void)number;
    chance_state = seed | 1;
    shared *all = make_shared(0);
    aie_array board = board_of(all);
    for (int32_t n = 0; n < 2 && !atomic_load(&all->broken); n++) {
        int32_t value = 10 * n + 1;
        pid_t finder = start_finder(all, value);
        until_armed(all);
        /* It falls asleep meanwhile, most likely: then the test asks most of it. */
        struct timespec pause = aie_timespec(AIE_NS_PER_S / 50);
        nanosleep(&pause, NULL);
        int64_t begin = aie_now();
        pid_t writer = fork();
        if (writer == 0) {
            deadly_point = writers[n];
            deadly_count = 1;
            aie_change request = {.desired = value};
            aie_word_change(aie_array_word(&board, WORDS - 1), board.event, &request);
            _exit(3);
        }
        CHECK(all, was_killed(writer));
        is_found(all, finder, begin, PROMISED_NS + SCHEDULING_NS);
        printf("a writer's death delays by %lld us; ",
               (long long)((atomic_load(&all->woken) - begin) / 1000));
        /* Whatever it left, the next one is woken at once. */
        finder = start_finder(all, value + 1);
        until_armed(all);
        begin = aie_now();
        write_somehow(all, &board, 0, value + 1);
        is_found(all, finder, begin, SCHEDULING_NS);
    }
    for (int32_t n = 0; n < 2 && !atomic_load(&all->broken); n++) {
        int32_t value = 100 + 10 * n;
        write_somehow(all, &board, 0, value); /* disarms */
        CHECK(all, !(atomic_load(&all->event) & AIE_ARMED));
        pid_t victim = start_victim(all, watchers[n]);
        if (n == 1) {
            until_armed(all); /* it is woken by a state that it does not wait for */
            write_somehow(all, &board, 1, value);
        }
        CHECK(all, was_killed(victim));
        /* One write at most finds it armed, and wakes nobody. */
        write_somehow(all, &board, 1, value + 1);
        uint32_t event = atomic_load(&all->event);
        CHECK(all, !(event & AIE_ARMED));
        write_somehow(all, &board, 1, value + 2);
        CHECK(all, atomic_load(&all->event) == event);
    }
    return atomic_load(&all->broken) != 0;
}

static const struct {
    const char *name;
    int (*run)(uint64_t number, uint64_t seed);
} modes[] = {
    {"threads", run_threads},
    {"claim", run_claim},
    {"watch", run_watch},
    {"watch-points", run_watch_points},
};

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "";
    uint64_t number = count > 2 ? strtoull(arguments[2], NULL, 10) : 0;
    uint64_t seed = count > 3 ? strtoull(arguments[3], NULL, 10) : 1;
    fault = count > 4 ? arguments[4] : "";
    for (size_t n = 0; n < sizeof(modes) / sizeof(modes[0]); n++) {
        if (strcmp(mode, modes[n].name) == 0) {
            stride = sizeof(aie_word);
            int broken = modes[n].run(number, seed);
            printf("side by side\n");
            fflush(NULL);
            if (!broken) {
                stride = AIE_LINE;
                broken = modes[n].run(number, seed + 1);
                printf("padded\n");
            }
            return broken;
        }
    }
    fprintf(stderr, "usage: board threads|claim|watch ROUNDS SEED [FAULT] | watch-points\n");
    return 2;
}
