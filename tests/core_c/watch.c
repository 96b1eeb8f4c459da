/* watch.c -- the thread that watches words and whole arrays for event loops, under fire: by the
 * bindings' desk.h.
 *
 *   watch cases               what a desk does, in each state of a spot, and what becomes of its thread
 *   watch bits                two kinds of watchers by one event word, step by step
 *   watch storm ROUNDS SEED   loops watch words and arrays of several segments, and so does a process
 *                             that sleeps on one of them, while others write
 *   watch turns ROUNDS SEED   the same, one writer at a time: no other's wake-up stands in for a lost one
 *   watch points              writers, and who watches, are killed between two steps
 *   watch forks ROUNDS SEED   children of fork, and raw ones, of a process that watches
 *   watch owners              what a dead process owned is given back, and told
 *   watch pace                busy words, and those of others, take little
 *
 * In `storm` and `turns` nobody looks again by himself: a lost wake-up is then a write that nobody is
 * told of, after WAIT_NS.  Build switches: LOOPS, SEGMENTS, and THREADED: all of a storm in one process.
 *
 * Exit 0: all invariants held; 1: one broke; 2: wrong usage.
 *
 * Invariants:
 *   - Each write since a spot was listed, or told, is told to its loop; a spot that has moved is told
 *     until it is watched on, and rings once.
 *   - What is not watched any more is not told, and its segment is let go of at once.
 *   - A writer that dies before it wakes delays that by AIE_LOOK_AGAIN at most.  A process that dies
 *     watching leaves one needless wake-up of each word at most.
 *   - Who writes what nobody waits for pays nothing.
 *   - No process's watching does anything to another's.
 */
#include "park.h"

/* How often this thread has woken sleepers: by a system call, where that is not polling. */
static _Thread_local int calls;
#define aie_wake_all(address) (calls++, aie_wake_all(address))

static int64_t look_again = 250000000;
#define AIE_LOOK_AGAIN look_again

#include "common.h"
#include "create.h"
#include "desk.h"

#include <dirent.h>
#include <poll.h>

#ifndef LOOPS
#define LOOPS 1
#endif
#ifndef SEGMENTS
#define SEGMENTS 6
#endif
#define WRITERS 3
#define WORDS (2 * WRITERS)
/* Who takes note of what was written: each loop, told of words; each loop, told of arrays; and who
 * sleeps on segment 0. */
#define CHANNELS (2 * LOOPS + 1)
#define SLEEPER (2 * LOOPS)

enum { PENDING = 1, RUNNING };

typedef struct {
    _Atomic int broken;
    _Atomic int step;
    _Atomic int over;
    _Atomic int writers; /* at work */
    _Atomic int turn;    /* somebody's */
    _Atomic int written, told;
    _Atomic int32_t noted[CHANNELS][SEGMENTS][WORDS];
} shared;

typedef struct {
    aie_region *region;
    aie_array words;
} segment;

static shared *all;

/* ------------------------------------------------------------------ segments */

static int made;

static segment make(size_t count, size_t stride, bool owned)
{
    static const aie_rule rule = {RUNNING, PENDING};
    char name[AIE_NAME_SIZE];
    size_t controls = (sizeof(aie_header) + count * stride + AIE_LINE - 1) / AIE_LINE * AIE_LINE;
    aie_header header = {
        .layout_version = AIE_LAYOUT_VERSION,
        .vocabulary_offset = sizeof(aie_header),
        .protocol = AIE_PROTOCOL_ATOMIC,
        .capacity = count,
        .control_offset = controls,
        .header_size = sizeof(aie_header),
        .word_stride = (uint32_t)stride,
        .control_stride = sizeof(aie_control),
        .mutex_size = sizeof(pthread_mutex_t),
        .libc = AIE_LIBC,
        .owners_offset = owned ? controls + count * sizeof(aie_control) : 0,
    };
    aie_plan plan = {
        .head = (const unsigned char *)&header,
        .head_size = sizeof(header),
        .size = controls + count * sizeof(aie_control) + owned * AIE_ROWS * sizeof(uint64_t),
        .first = PENDING,
        .answer = AIE_ANSWER_NAMED,
    };
    aie_owners_plan owners = {
        .word_offset = sizeof(aie_header),
        .word_stride = stride,
        .control_offset = controls,
        .count = count,
        .owners_offset = header.owners_offset,
        .rules = (const unsigned char *)&rule,
        .rule_count = 1,
    };
    segment one = {NULL, {NULL, NULL, 0, 0, NULL, NULL}};
    snprintf(name, sizeof(name), "/" AIE_PREFIX ".w%d-%d", (int)getpid(), made++);
    one.region = aie_region_create(name, &plan);
    if (one.region == NULL || (owned && aie_region_has_owners(one.region, &owners) != 0)) {
        perror("watch");
        exit(2);
    }
    one.words = (aie_array){.words = one.region->base + sizeof(aie_header),
                            .controls = one.region->base + controls,
                            .stride = stride,
                            .count = count,
                            .event = &((aie_header *)(void *)one.region->base)->event,
                            .owners = one.region->owners};
    return one;
}

static aie_array part_of(const segment *of, size_t index)
{
    aie_array one = of->words;
    one.words = (unsigned char *)aie_array_word(&of->words, index);
    one.controls = (unsigned char *)aie_array_control(&of->words, index);
    one.count = 1;
    return one;
}

static void write_word(const segment *of, size_t index, int32_t value)
{
    aie_change request = {.desired = value};
    CHECK(all,
          aie_word_change(aie_array_word(&of->words, index), of->words.event, &request) == AIE_OK);
}

static uint64_t word_of(const segment *of, size_t index)
{
    return aie_word_load(aie_array_word(&of->words, index));
}

static uint32_t event_of(const segment *of)
{
    return atomic_load(of->words.event);
}

/* Whether this process still has it mapped. */
static bool is_known(const aie_region *region)
{
    aie_regions_lock();
    const aie_region *known = aie_regions.first;
    while (known != NULL && known != region) {
        known = known->next;
    }
    aie_regions_unlock();
    return known != NULL;
}

/* ------------------------------------------------------------------ desks */

static void nap(int64_t ns)
{
    struct timespec pause = aie_timespec(ns);
    nanosleep(&pause, NULL);
}

static uint32_t watch(aie_desk *desk, const segment *of, size_t index)
{
    uint32_t slot = UINT32_MAX;
    aie_array one = part_of(of, index);
    CHECK(all, aie_desk_watch(desk, of->region, &one, false, &slot) == 0);
    return slot;
}

static uint32_t watch_whole(aie_desk *desk, const segment *of)
{
    uint32_t slot = UINT32_MAX;
    CHECK(all, aie_desk_watch(desk, of->region, &of->words, true, &slot) == 0);
    return slot;
}

/* Whether the desk's descriptor is readable, within that time. */
static bool rings(const aie_desk *desk, int64_t ns)
{
    struct pollfd bell = {.fd = desk->ends[0], .events = POLLIN};
    int64_t deadline = aie_now() + ns;
    int found;
    do {
        int64_t left = deadline - aie_now();
        found = poll(&bell, 1, left > 0 ? (int)(left / 1000000 + 1) : 0);
    } while (found < 0 && errno == EINTR);
    return found == 1 && bell.revents == POLLIN;
}

/* This slot is told, and no other one. */
#define IS_TOLD(desk, slot)                                \
    do {                                                   \
        uint32_t told_[4] = {UINT32_MAX};                  \
        CHECK(all, rings(desk, WAIT_NS));                  \
        CHECK(all, aie_desk_take(desk, told_, 4) == 1);    \
        CHECK(all, told_[0] == (slot) && !rings(desk, 0)); \
    } while (0)

/* What is told by now: whatever was written before is, since the last word of the segment is written
 * and told.  How many slots, of at most MOST. */
#define MOST 200

static size_t told_by_now(aie_desk *desk, const segment *of, uint32_t slots[MOST])
{
    uint32_t last = watch(desk, of, of->words.count - 1);
    size_t count = 0, at = 0;
    write_word(of, of->words.count - 1, PENDING);
    do {
        CHECK(all, rings(desk, WAIT_NS));
        count = aie_desk_take(desk, slots, MOST);
        for (at = 0; at < count && slots[at] != last; at++) {
        }
    } while (at == count && !atomic_load(&all->broken));
    aie_desk_unwatch(desk, last);
    if (at < count) {
        slots[at] = slots[--count];
    }
    return count;
}

/* The thread has looked at all that is listed, and waits, or is about to. */
static void until_looked(const segment *of, size_t index)
{
    int64_t deadline = aie_now() + WAIT_NS;
    while (!(word_of(of, index) & AIE_WAITERS_BIT) && aie_now() < deadline) {
        sched_yield();
    }
    CHECK(all, word_of(of, index) & AIE_WAITERS_BIT);
    CHECK(all, event_of(of) & AIE_BELL);
}

static void until_armed(const segment *of, uint32_t bits)
{
    int64_t deadline = aie_now() + WAIT_NS;
    while ((event_of(of) & bits) != bits && aie_now() < deadline) {
        sched_yield();
    }
    CHECK(all, (event_of(of) & bits) == bits);
}

static bool has_thread(void)
{
    aie_watcher_lock();
    bool runs = aie_watcher.runs;
    aie_watcher_unlock();
    return runs;
}

/* ------------------------------------------------------------------ children */

static void tell(int step)
{
    atomic_store(&all->step, step);
}

static void reach(int step)
{
    int64_t deadline = aie_now() + WAIT_NS;
    while (atomic_load(&all->step) < step && aie_now() < deadline) {
        nap(AIE_NS_PER_S / 5000);
    }
    CHECK(all, atomic_load(&all->step) >= step);
}

#if defined(__SANITIZE_ADDRESS__)
/* In a child it would look for its parent's threads. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    static pid_t first;
    first = first == 0 ? getpid() : first;
    return getpid() != first;
}
__attribute__((constructor)) static void turn_on_here(void)
{
    __lsan_is_turned_off();
}
#endif

static bool by_clone; /* which runs no hooks */

/* A child, which never outlives this process. */
static void begin_child(void)
{
#if defined(__linux__)
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    alarm(2 * WAIT_NS / AIE_NS_PER_S);
}

static pid_t doing(void (*what)(void))
{
    pid_t pid;
    fflush(NULL);
#if defined(__linux__)
    if (by_clone) {
        /* Who forks without hooks has to see to it that no other thread has a mutex. */
        aie_watcher_lock();
        aie_regions_lock();
        pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
        pthread_mutex_unlock(&aie_regions.mutex);
        pthread_mutex_unlock(&aie_watcher.mutex);
    }
    else
#endif
    {
        pid = fork();
    }
    if (pid == 0) {
        begin_child();
        what();
        exit(atomic_load(&all->broken) != 0);
    }
    return pid;
}

static bool ends_well(pid_t pid)
{
    return end_well(&pid, 1, aie_now() + WAIT_NS);
}

/* ------------------------------------------------------------------ cases */

static segment board; /* of the modes that need one */
static aie_desk own;

static void check_life(void)
{
    aie_desk desk;
    CHECK(all, aie_desk_open(&desk) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK(all, fcntl(desk.ends[i], F_GETFD) & FD_CLOEXEC);
        CHECK(all, fcntl(desk.ends[i], F_GETFL) & O_NONBLOCK);
    }
    CHECK(all, !rings(&desk, 0));
    uint32_t slots[MOST], word = watch(&desk, &board, 0), whole = watch_whole(&desk, &board);
    CHECK(all, word != whole && has_thread());
    CHECK(all, aie_desk_take(&desk, slots, 4) == 0);
    write_word(&board, 1, 2);
    IS_TOLD(&desk, whole);
    CHECK(all, aie_desk_watch_on(&desk, whole, true) == 0);
    aie_desk_unwatch(&desk, whole);
    write_word(&board, 0, 2);
    IS_TOLD(&desk, word);
    CHECK(all, aie_desk_take(&desk, slots, 4) == 1); /* until it is watched on */
    CHECK(all, aie_desk_watch_on(&desk, word, true) == 0);
    CHECK(all, aie_desk_take(&desk, slots, 4) == 0);
    CHECK(all, told_by_now(&desk, &board, slots) == 0);
    write_word(&board, 0, 2); /* the same value: a write */
    IS_TOLD(&desk, word);
    /* What comes between telling and watching on is told as well, and rings. */
    write_word(&board, 0, 3);
    CHECK(all, !rings(&desk, 0));
    CHECK(all, aie_desk_watch_on(&desk, word, true) == 0);
    IS_TOLD(&desk, word);
    CHECK(all, aie_desk_watch_on(&desk, word, false) == 0);
    write_word(&board, 0, 4);
    IS_TOLD(&desk, word);
    write_word(&board, 0, 5);
    CHECK(all, aie_desk_watch_on(&desk, word, false) == 0);
    IS_TOLD(&desk, word);
    aie_desk_close(&desk);
    for (int i = 0; i < 2; i++) {
        CHECK(all, fcntl(desk.ends[i], F_GETFD) == -1 && errno == EBADF);
    }
}

/* Slots that stand for nothing, or for what is not the loop's turn. */
static void check_slots(void)
{
    aie_desk desk;
    uint32_t slots[MOST];
    CHECK(all, aie_desk_open(&desk) == 0);
    CHECK(all, aie_desk_watch_on(&desk, 0, true) == EINVAL);
    aie_desk_unwatch(&desk, 0);
    uint32_t slot = watch(&desk, &board, 0);
    CHECK(all, aie_desk_watch_on(&desk, slot, true) == EINVAL); /* listed */
    CHECK(all, aie_desk_watch_on(&desk, slot + 1, true) == EINVAL);
    aie_desk_unwatch(&desk, slot + 1);
    aie_desk_unwatch(&desk, UINT32_MAX);
    aie_desk_unwatch(&desk, slot);
    CHECK(all, aie_desk_watch_on(&desk, slot, true) == EINVAL); /* free */
    aie_desk_unwatch(&desk, slot);
    write_word(&board, 0, 2);
    CHECK(all, told_by_now(&desk, &board, slots) == 0);

    CHECK(all, watch(&desk, &board, 0) == slot); /* again */
    write_word(&board, 0, 3);
    CHECK(all, rings(&desk, WAIT_NS));
    aie_desk_unwatch(&desk, slot); /* moved, and not taken yet */
    CHECK(all, aie_desk_watch_on(&desk, slot, true) == EINVAL);
    aie_desk_unwatch(&desk, slot);
    CHECK(all, rings(&desk, 0));
    CHECK(all, aie_desk_take(&desk, slots, 4) == 0 && !rings(&desk, 0));
    CHECK(all, watch(&desk, &board, 1) == slot);
    write_word(&board, 1, 2);
    CHECK(all, rings(&desk, WAIT_NS));
    CHECK(all, aie_desk_watch_on(&desk, slot, true) == 0); /* likewise */
    CHECK(all, aie_desk_take(&desk, slots, 4) == 0);
    write_word(&board, 1, 3);
    IS_TOLD(&desk, slot);
    aie_desk_unwatch(&desk, slot); /* taken */
    aie_desk_unwatch(&desk, slot);
    CHECK(all, aie_desk_take(&desk, slots, 4) == 0);

    /* Whichever of those that have moved goes first. */
    for (int n = 0; n < 6; n++) {
        static const size_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                            {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        uint32_t three[3];
        for (size_t i = 0; i < 3; i++) {
            three[i] = watch(&desk, &board, i);
        }
        for (size_t i = 0; i < 3; i++) {
            write_word(&board, i, 2);
        }
        CHECK(all, told_by_now(&desk, &board, slots) == 3);
        for (size_t i = 0; i < 3; i++) {
            CHECK(all, aie_desk_take(&desk, slots, 4) == 3 - i);
            if (n % 2 == 0) {
                CHECK(all, aie_desk_watch_on(&desk, three[orders[n][i]], true) == 0);
            }
            aie_desk_unwatch(&desk, three[orders[n][i]]);
        }
        CHECK(all, aie_desk_take(&desk, slots, 4) == 0);
    }
    /* Closed with one listed, one taken, one moved, one free. */
    uint32_t closed[4];
    for (size_t i = 0; i < 4; i++) {
        closed[i] = watch(&desk, &board, i);
    }
    write_word(&board, 0, 3);
    IS_TOLD(&desk, closed[0]);
    write_word(&board, 1, 3);
    CHECK(all, rings(&desk, WAIT_NS));
    aie_desk_unwatch(&desk, closed[2]);
    aie_desk_close(&desk);
}

/* More than there is room for at first, and than one call takes; whoever of two desks. */
static void check_many(void)
{
    enum { MANY = 100 };
    segment wide = make(MANY + 1, sizeof(aie_word), false);
    aie_desk desks[2];
    uint32_t slots[2][MANY], told[MOST];
    for (int n = 0; n < 2; n++) {
        CHECK(all, aie_desk_open(&desks[n]) == 0);
        for (size_t i = 0; i < MANY; i++) {
            slots[n][i] = watch(&desks[n], &wide, i);
            CHECK(all, slots[n][i] == i);
        }
    }
    for (size_t i = 0; i < MANY; i += 2) {
        aie_desk_unwatch(&desks[1], slots[1][i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        write_word(&wide, i, 2);
    }
    bool seen[2][MANY] = {{false}};
    for (int n = 0; n < 2; n++) {
        size_t count = told_by_now(&desks[n], &wide, told);
        CHECK(all, count == (n == 0 ? MANY : MANY / 2));
        for (size_t i = 0; i < count; i++) {
            CHECK(all, !seen[n][told[i]] && (n == 0 || told[i] % 2 == 1));
            seen[n][told[i]] = true;
        }
        for (size_t i = 0; i < count; i++) {
            CHECK(all, aie_desk_watch_on(&desks[n], told[i], true) == 0);
        }
    }
    /* By a small room: what is left comes with the next calls, without a ring. */
    for (size_t i = 1; i < 10; i++) {
        write_word(&wide, i, 3);
    }
    CHECK(all, told_by_now(&desks[0], &wide, told) == 9);
    CHECK(all, told_by_now(&desks[1], &wide, told) == 5);
    for (size_t left = 5; left > 0;) {
        size_t count = aie_desk_take(&desks[1], told, 2);
        CHECK(all, count == (left < 2 ? left : 2) && !rings(&desks[1], 0));
        for (size_t i = 0; i < count; i++) {
            CHECK(all, aie_desk_watch_on(&desks[1], told[i], true) == 0);
        }
        left -= count > 0 ? count : left;
    }
    aie_desk_close(&desks[0]);
    write_word(&wide, 11, 3);
    IS_TOLD(&desks[1], 11);
    aie_desk_close(&desks[1]);
    aie_region_drop(wide.region);
    CHECK(all, !is_known(wide.region));
}

/* What is watched stays mapped, and no longer; and the thread, asleep on it, sees to the others. */
static void check_region(void)
{
    aie_desk desk;
    CHECK(all, aie_desk_open(&desk) == 0);
    uint32_t other = watch(&desk, &board, 0);
    for (int n = 0; n < 4; n++) {
        segment brief = make(WORDS, sizeof(aie_word), false);
        uint32_t word = watch(&desk, &brief, 0), whole = watch_whole(&desk, &brief);
        until_looked(&brief, 0);
        aie_desk_unwatch(&desk, word);
        aie_region_drop(brief.region); /* the spots' user: the last one but for the thread's */
        CHECK(all, is_known(brief.region));
        if (n > 0) {
            write_word(&brief, 0, 2);
            CHECK(all, rings(&desk, WAIT_NS));
        }
        if (n > 1) {
            IS_TOLD(&desk, whole);
        }
        if (n < 3) {
            aie_desk_unwatch(&desk, whole);
            CHECK(all, !is_known(brief.region));
            uint32_t slots[4]; /* what rang is there no more */
            CHECK(all, aie_desk_take(&desk, slots, 4) == 0 && !rings(&desk, 0));
        }
        else {
            aie_desk_close(&desk);
            CHECK(all, !is_known(brief.region));
            CHECK(all, aie_desk_open(&desk) == 0);
            other = watch(&desk, &board, 0);
        }
        write_word(&board, 0, 2);
        IS_TOLD(&desk, other);
        CHECK(all, aie_desk_watch_on(&desk, other, true) == 0);
    }
    aie_desk_unwatch(&desk, other);
    segment brief = make(WORDS, sizeof(aie_word), false);
    for (int n = 0; n < 100; n++) { /* whatever the thread is up to */
        uint32_t word = watch(&desk, &brief, 0);
        if (n % 2 == 0) {
            write_word(&brief, 0, 2);
            IS_TOLD(&desk, word);
        }
        aie_desk_unwatch(&desk, word);
        CHECK(all, brief.region->users == 1 && brief.region->watched == NULL);
    }
    aie_region_drop(brief.region);
    aie_desk_close(&desk);
}

/* The thread ends a second after the last word was unlisted, and comes again. */
static void check_idle(void)
{
    aie_desk desk;
    CHECK(all, aie_desk_open(&desk) == 0);
    for (int n = 0; n < 2; n++) {
        uint32_t slot = watch(&desk, &board, 0);
        CHECK(all, has_thread());
        write_word(&board, 0, 2);
        IS_TOLD(&desk, slot);
        aie_desk_unwatch(&desk, slot);
        int64_t begin = aie_now();
        while (n == 0 && has_thread() && aie_now() < begin + WAIT_NS) {
            nap(AIE_NS_PER_S / 200);
        }
        int64_t took = aie_now() - begin;
        CHECK(all, n > 0 || took > AIE_IDLE);
        CHECK(all, n > 0 || took < AIE_IDLE + PROMISED_NS + SCHEDULING_NS);
        CHECK(all, n == 0 || has_thread());
    }
    aie_desk_close(&desk);
}

static int run_cases(uint64_t rounds, uint64_t seed)
{
    (void)rounds, (void)seed;
    board = make(WORDS, sizeof(aie_word), false);
    check_life();
    check_slots();
    check_many();
    check_region();
    check_idle();
    return atomic_load(&all->broken) != 0;
}

/* ------------------------------------------------------------------ bits */

static void arm_the_bell(void)
{
    aie_event_arm(board.words.event, AIE_BELL);
}

static void arm_all(void)
{
    aie_event_arm(board.words.event, AIE_ARMED);
}

static void ring_as_another(void)
{
    aie_event_signal(board.words.event, AIE_ARMED);
}

/* Someone changes the event word just before the writer advances it. */
static void check_meeting(uint32_t bits, void (*meanwhile)(void), uint32_t rung)
{
    uint32_t before = aie_event_arm(board.words.event, bits) & ~(AIE_ARMED | AIE_BELL);
    hooked_point = "event-before-advance";
    hook = meanwhile;
    aie_event_signal(board.words.event, bits);
    CHECK(all, hooked_point == NULL);
    CHECK(all, event_of(&board) == before + rung * 2 * AIE_BELL);
}

static int run_bits(uint64_t rounds, uint64_t seed)
{
    (void)rounds, (void)seed;
    board = make(WORDS, sizeof(aie_word), false);
    check_meeting(AIE_ARMED, arm_the_bell, 1);
    check_meeting(AIE_BELL, arm_all, 1);
    check_meeting(AIE_ARMED, arm_all, 1);
    check_meeting(AIE_ARMED, ring_as_another, 1);
    check_meeting(AIE_ARMED | AIE_BELL, ring_as_another, 1);

    /* Who writes what nobody waits for pays nothing, though the segment is watched. */
    CHECK(all, aie_desk_open(&own) == 0);
    uint32_t slot = watch(&own, &board, 0);
    until_looked(&board, 0);
    uint32_t event = event_of(&board);
    CHECK(all, (event & (AIE_ARMED | AIE_BELL)) == AIE_BELL);
    calls = 0;
    for (int32_t n = 0; n < 1000; n++) {
        write_word(&board, 1, n);
    }
    CHECK(all, calls == 0 && event_of(&board) == event);
    write_word(&board, 0, 2);
    CHECK(all, calls == 2); /* who sleeps on the word, and who watches */
    IS_TOLD(&own, slot);
    write_word(&board, 0, 3);
    CHECK(all, calls == 2);
    /* The first of many writes, for who watches the array. */
    aie_desk_unwatch(&own, slot);
    slot = watch_whole(&own, &board);
    until_armed(&board, AIE_ARMED);
    calls = 0;
    write_word(&board, 1, 0);
    CHECK(all, calls == 1);
    IS_TOLD(&own, slot);
    for (int32_t n = 0; n < 1000; n++) {
        write_word(&board, 1, n);
    }
    CHECK(all, calls <= 2); /* its look for the first has armed once more */
    aie_desk_close(&own);
    return atomic_load(&all->broken) != 0;
}

/* ------------------------------------------------------------------ storm */

static segment segments[SEGMENTS];
static uint64_t storm_rounds, storm_seed;
static bool takes_turns;

/* What the loops watch of a segment. */
static bool watched_as(int segment, bool whole)
{
    return segment % 3 == 2 || (segment % 3 == 1) == whole;
}

typedef struct {
    int segment;
    size_t index;
    bool whole;
    bool listed;
    uint32_t slot;
} place;

typedef struct {
    int me;
    aie_desk desk;
    size_t count, slots;
    place places[SEGMENTS * (WORDS + 1)];
    place *by_slot[2 * SEGMENTS * (WORDS + 1)];
} loop;

static void take_note(int channel, int segment, size_t index, int32_t value)
{
    atomic_store(&all->noted[channel][segment][index], value);
}

static void loop_looks(const loop *self, const place *at)
{
    const aie_array *words = &segments[at->segment].words;
    for (size_t i = at->whole ? 0 : at->index; i < (at->whole ? WORDS : at->index + 1); i++) {
        take_note(2 * self->me + at->whole, at->segment, i, aie_array_value(words, i));
    }
}

static void loop_watches(loop *self, place *at)
{
    const segment *of = &segments[at->segment];
    at->slot = at->whole ? watch_whole(&self->desk, of) : watch(&self->desk, of, at->index);
    at->listed = true;
    if (at->slot < sizeof(self->by_slot) / sizeof(*self->by_slot)) {
        CHECK(all, self->by_slot[at->slot] == NULL);
        self->by_slot[at->slot] = at;
    }
    loop_looks(self, at);
}

static void loop_unwatches(loop *self, place *at)
{
    self->by_slot[at->slot] = NULL;
    aie_desk_unwatch(&self->desk, at->slot);
}

static void loop_is_told(loop *self, uint32_t slot)
{
    place *at = self->by_slot[slot];
    CHECK(all, at != NULL && at->listed);
    if (at == NULL) {
        return;
    }
    at->listed = false;
    atomic_fetch_add(&all->told, 1);
    loop_looks(self, at);
    if (chance() % 16 == 0) {
        loop_unwatches(self, at);
        loop_watches(self, at);
        return;
    }
    /* What comes since it was told it is told of. */
    CHECK(all, aie_desk_watch_on(&self->desk, slot, chance() % 8 != 0) == 0);
    at->listed = true;
}

/* Only what it is told has it look: else a lost wake-up would not be seen. */
static void *run_loop(void *argument)
{
    loop *self = argument;
    chance_state = (storm_seed + (unsigned)self->me * 977u) | 1;
    CHECK(all, aie_desk_open(&self->desk) == 0);
    for (int s = 0; s < SEGMENTS; s++) {
        for (size_t i = 0; i <= WORDS; i++) {
            if (watched_as(s, i == WORDS)) {
                self->places[self->count] = (place){.segment = s, .index = i, .whole = i == WORDS};
                loop_watches(self, &self->places[self->count++]);
            }
        }
    }
    while (atomic_load(&all->writers) > 0 && !atomic_load(&all->broken)) {
        uint32_t slots[5];
        size_t count = 5;
        if (!rings(&self->desk, AIE_NS_PER_S / 100)) {
            continue;
        }
        if (chance() % 32 == 0) { /* listed, or moved meanwhile */
            place *at = &self->places[chance() % self->count];
            loop_unwatches(self, at);
            loop_watches(self, at);
        }
        while (count == 5) {
            count = aie_desk_take(&self->desk, slots, 5);
            for (size_t i = 0; i < count; i++) {
                loop_is_told(self, slots[i]);
            }
        }
    }
    aie_desk_close(&self->desk);
    return NULL;
}

/* Sleeps until any word of segment 0 changes. */
static void *run_sleeper(void *unused)
{
    int32_t values[WORDS] = {0};
    const aie_array *words = &segments[0].words;
    aie_watch any = {.before = values};
    (void)unused;
    while (atomic_load(&all->writers) > 0 && !atomic_load(&all->broken)) {
        if (aie_watch_await(words, &any, aie_now() + 2 * WAIT_NS, false) == AIE_OK) {
            aie_array_read(words, values);
            for (size_t i = 0; i < WORDS; i++) {
                take_note(SLEEPER, 0, i, values[i]);
            }
        }
    }
    return NULL;
}

/* Whether everybody has taken note of that write. */
static bool is_noted(int segment, size_t index, int32_t value)
{
    for (int channel = 0; channel < CHANNELS; channel++) {
        bool due = channel == SLEEPER ? segment == 0 : watched_as(segment, channel % 2 == 1);
        if (due && atomic_load(&all->noted[channel][segment][index]) != value) {
            return false;
        }
    }
    return true;
}

static void await_noted(int segment, size_t index, int32_t value)
{
    int64_t deadline = aie_now() + WAIT_NS;
    for (int n = 0; !is_noted(segment, index, value) && !atomic_load(&all->broken); n++) {
        bool noted_in_time = aie_now() < deadline;
        CHECK(all, noted_in_time);
        if (n < 20) {
            sched_yield();
        }
        else {
            nap(20000);
        }
    }
}

static void write_somehow(const segment *of, size_t index, int32_t value)
{
    aie_word *word = aie_array_word(&of->words, index);
    aie_control *control = aie_array_control(&of->words, index);
    aie_change request = {.desired = value};
    if (chance() % 8 == 0) {
        CHECK(all, aie_lock_until(control, word, aie_now() + WAIT_NS) == AIE_OK);
        CHECK(all, aie_word_change_held(word, of->words.event, &request) == AIE_OK);
        CHECK(all, aie_lock_release(control, word) == AIE_OK);
        return;
    }
    write_word(of, index, value);
}

static void await_turn(void)
{
    int free = 0;
    while (takes_turns && !atomic_compare_exchange_strong(&all->turn, &free, 1)
           && !atomic_load(&all->broken)) {
        nap(20000);
        free = 0;
    }
}

/* Writes to its share of the words, some at a time, and sees to it that each write is told. */
static void *run_writer(void *argument)
{
    int me = *(int *)argument;
    pid_t parent = getppid();
    int32_t value = PENDING;
    chance_state = (storm_seed * 2654435761u + (unsigned)me * 7919u) | 1;
    for (uint64_t n = 0; n < storm_rounds && !atomic_load(&all->broken); n++) {
        int where[4];
        size_t which[4], count = 1 + chance() % (takes_turns ? 2 : 4);
        await_turn();
        for (size_t i = 0; i < count; i++) {
            where[i] = chance() % 4 == 0 ? 0 : (int)(chance() % SEGMENTS);
            which[i] = chance() % (WORDS / WRITERS) * WRITERS + (size_t)me;
            write_somehow(&segments[where[i]], which[i], ++value);
            for (size_t before = 0; before < i; before++) { /* once more the same */
                if (where[before] == where[i] && which[before] == which[i]) {
                    count = i + 1;
                    where[before] = -1;
                }
            }
        }
        for (size_t i = 0; i < count; i++) {
            if (where[i] >= 0) {
                atomic_fetch_add(&all->written, 1);
                await_noted(where[i], which[i], value - (int32_t)(count - 1 - i));
            }
        }
        atomic_store(&all->turn, 0);
        if (getppid() != parent) {
            break;
        }
    }
    atomic_fetch_sub(&all->writers, 1);
    return NULL;
}

#if !defined(THREADED)
/* Now and then it takes a while from one step to the next: again and again, by each of the hooks. */
static const char *dawdles;

static void dawdle(void)
{
    if (chance() % 16 == 0) {
        nap((int64_t)(chance() % 100000));
    }
    hooked_point = dawdles;
}

static void dawdle_at(const char *point)
{
    dawdles = hooked_point = point;
    hook = dawdle;
}
#endif

static int run_storm(uint64_t rounds, uint64_t seed)
{
    static loop loops[LOOPS];
    static int numbers[WRITERS + 1];
    pthread_t threads[LOOPS + WRITERS + 1];
    pid_t pids[WRITERS + 1];
    int started = 0;
    look_again = 3600 * AIE_NS_PER_S;
    storm_rounds = rounds;
    storm_seed = seed;
    yields = true;
    atomic_store(&all->writers, WRITERS);
    for (int s = 0; s < SEGMENTS; s++) {
        segments[s] = make(WORDS, s % 2 == 0 ? sizeof(aie_word) : AIE_LINE, false);
    }
    for (int n = 0; n <= WRITERS; n++) {
        void *(*run)(void *) = n < WRITERS ? run_writer : run_sleeper;
        numbers[n] = n;
#if defined(THREADED)
        pthread_create(&threads[started++], NULL, run, &numbers[n]);
        pids[n] = 0;
#else
        fflush(NULL);
        pids[n] = fork();
        if (pids[n] == 0) {
            begin_child();
            alarm(900); /* at full size */
            dawdle_at(n % 2 == 0 ? "event-before-advance" : "write-before-wake");
            run(&numbers[n]);
            _exit(0);
        }
#endif
    }
#if !defined(THREADED)
    dawdle_at(seed % 2 == 0 ? "watcher-armed" : "watcher-looked");
#endif
    for (int n = 0; n < LOOPS; n++) {
        loops[n].me = n;
        if (n > 0) {
            pthread_create(&threads[started++], NULL, run_loop, &loops[n]);
        }
    }
    run_loop(&loops[0]);
    write_word(&segments[0], 0, 0); /* the sleeper finds that it is over */
    while (started > 0) {
        pthread_join(threads[--started], NULL);
    }
    printf("%d writes, told %d times\n", atomic_load(&all->written), atomic_load(&all->told));
    if (pids[0] != 0) {
        CHECK(all, end_well(pids, WRITERS + 1, aie_now() + WAIT_NS));
    }
    return atomic_load(&all->broken) != 0;
}

static int run_turns(uint64_t rounds, uint64_t seed)
{
    takes_turns = true;
    return run_storm(rounds, seed);
}

/* ------------------------------------------------------------------ points */

/* Where who watches dies. */
static const char *const watcher_points[] = {"watcher-armed", "watcher-looked"};

static const char *deadly;

static void write_deadly(void)
{
    deadly_point = deadly;
    deadly_count = 1;
    write_word(&board, 0, 7);
}

/* A writer dies, and has woken nobody: each loop looks by itself. */
static void check_dead_writer(bool whole)
{
    CHECK(all, aie_desk_open(&own) == 0);
    uint32_t slot = whole ? watch_whole(&own, &board) : watch(&own, &board, 0);
    whole ? until_armed(&board, AIE_ARMED) : until_looked(&board, 0);
    int64_t begin = aie_now();
    CHECK(all, was_killed(doing(write_deadly)));
    IS_TOLD(&own, slot);
    CHECK(all, aie_now() - begin < PROMISED_NS + SCHEDULING_NS);
    /* Whatever it left, the next one is told at once. */
    CHECK(all, aie_desk_watch_on(&own, slot, true) == 0);
    begin = aie_now();
    write_word(&board, 0, 8);
    IS_TOLD(&own, slot);
    CHECK(all, aie_now() - begin < SCHEDULING_NS);
    aie_desk_close(&own);
}

/* It watches a word and an array, and dies at its next look. */
static void watch_deadly(void)
{
    aie_desk desk;
    CHECK(all, aie_desk_open(&desk) == 0);
    watch_whole(&desk, &board);
    watch(&desk, &board, 1);
    until_looked(&board, 1);
    until_armed(&board, AIE_ARMED);
    deadly_point = deadly;
    deadly_count = 1;
    watch(&desk, &board, 2);
    nap(2 * WAIT_NS);
}

static void write_all(int32_t value)
{
    for (size_t i = 0; i < WORDS; i++) {
        write_word(&board, i, value);
    }
}

static void check_dead_watcher(bool beside)
{
    uint32_t slots[2] = {0};
    if (beside) {
        CHECK(all, aie_desk_open(&own) == 0);
        slots[0] = watch(&own, &board, 1);
        slots[1] = watch(&own, &board, 3);
        until_looked(&board, 3);
    }
    CHECK(all, was_killed(doing(watch_deadly)));
    for (int n = 0; beside && n < 2; n++) {
        int64_t begin = aie_now();
        write_word(&board, 1 + 2 * (size_t)n, 2);
        IS_TOLD(&own, slots[n]);
        CHECK(all, aie_now() - begin < SCHEDULING_NS);
        aie_desk_unwatch(&own, slots[n]);
    }
    if (beside) {
        aie_desk_close(&own);
    }
    calls = 0;
    write_all(3);
    /* Two words had WAITERS, at most, and the event word was armed. */
    CHECK(all, calls <= 2 * 2 + 1);
    uint32_t event = event_of(&board);
    calls = 0;
    write_all(4);
    CHECK(all, calls == 0 && event_of(&board) == event);
}

static int run_points(uint64_t rounds, uint64_t seed)
{
    static const char *const writers[] = {"write-before-wake", "event-before-advance",
                                          "event-before-wake"};
    (void)rounds, (void)seed;
    board = make(WORDS, sizeof(aie_word), false);
    for (size_t n = 0; n < 3; n++) {
        deadly = writers[n];
        check_dead_writer(false);
        if (n > 0) {
            check_dead_writer(true);
        }
    }
    for (size_t n = 0; n < sizeof(watcher_points) / sizeof(*watcher_points); n++) {
        deadly = watcher_points[n];
        check_dead_watcher(false);
        check_dead_watcher(true);
    }
    return atomic_load(&all->broken) != 0;
}

/* ------------------------------------------------------------------ forks */

/* How many threads this process has; 0 where that is not known. */
static int threads_here(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    for (const struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return count;
}

/* A child's loop is its own, and its end of the parent's does nothing to that. */
static void watch_as_child(void)
{
    aie_desk desk;
    CHECK(all, threads_here() <= 1);
    CHECK(all, !has_thread());
    CHECK(all, board.region->users == 1 && board.region->watched == NULL);
    uint32_t slot, slots[4];
    aie_array one = part_of(&board, 0);
    CHECK(all, aie_desk_watch(&own, board.region, &one, false, &slot) != 0);
    CHECK(all, aie_desk_take(&own, slots, 4) == 0);
    for (slot = 0; slot < 2; slot++) {
        CHECK(all, aie_desk_watch_on(&own, slot, true) == EINVAL);
        aie_desk_unwatch(&own, slot);
    }
    CHECK(all, aie_desk_open(&desk) == 0);
    uint32_t whole = watch_whole(&desk, &segments[0]), word = watch(&desk, &segments[0], 0);
    CHECK(all, has_thread());
    write_word(&segments[0], 1, getpid());
    IS_TOLD(&desk, whole);
    aie_desk_unwatch(&desk, whole);
    aie_desk_close(&own);
    write_word(&segments[0], 0, getpid());
    IS_TOLD(&desk, word);
    if (getpid() % 2 == 0) { /* else the end of the process has to see to it */
        aie_desk_close(&desk);
    }
}

/* The parent's spots, listed and moved, are as they were. */
static void check_child(void)
{
    uint32_t slots[MOST];
    CHECK(all, aie_desk_open(&own) == 0);
    uint32_t word = watch(&own, &board, 0), moved = watch(&own, &board, 1);
    write_word(&board, 1, 2);
    CHECK(all, rings(&own, WAIT_NS));
    pid_t child = doing(watch_as_child);
    CHECK(all, ends_well(child));
    IS_TOLD(&own, moved);
    aie_desk_unwatch(&own, moved);
    write_word(&board, 0, 2);
    IS_TOLD(&own, word);
    CHECK(all, aie_desk_watch_on(&own, word, true) == 0);
    child = doing(watch_as_child);
    write_word(&board, 0, 3);
    IS_TOLD(&own, word);
    CHECK(all, ends_well(child));
    CHECK(all, aie_desk_watch_on(&own, word, true) == 0);
    CHECK(all, told_by_now(&own, &board, slots) == 0);
    aie_desk_close(&own);
}

/* At the end of a process that watches. */
static void end_watching(void)
{
    aie_desk desk;
    uint32_t slot;
    aie_array one = part_of(&board, 1);
    CHECK(all, aie_desk_open(&desk) == 0);
    CHECK(all, aie_desk_open(&own) == 0);
    watch(&desk, &board, 0);
    watch_whole(&desk, &board);
    CHECK(all, has_thread());
    if (atomic_load(&all->step) == 1) {
        return;
    }
    aie_watcher_end(); /* what comes late is refused, and does no harm */
    CHECK(all, !has_thread());
    CHECK(all, aie_desk_watch(&desk, board.region, &one, false, &slot) == ECANCELED);
    CHECK(all, aie_desk_watch_on(&desk, 0, true) != 0);
    aie_desk_close(&desk);
    CHECK(all, ends_well(doing(watch_as_child))); /* which does not end yet */
}

static void *watch_on_and_on(void *argument)
{
    _Atomic uint64_t *told = argument;
    aie_desk desk;
    CHECK(all, aie_desk_open(&desk) == 0);
    while (!atomic_load(&all->over) && !atomic_load(&all->broken)) {
        uint32_t whole = watch_whole(&desk, &board), word = watch(&desk, &board, 0);
        write_word(&board, 1, 2);
        IS_TOLD(&desk, whole);
        aie_desk_unwatch(&desk, whole);
        write_word(&board, 0, 2);
        IS_TOLD(&desk, word);
        CHECK(all, aie_desk_watch_on(&desk, word, true) == 0);
        aie_desk_unwatch(&desk, word);
        atomic_fetch_add(told, 1);
    }
    aie_desk_close(&desk);
    return NULL;
}

static int run_forks(uint64_t rounds, uint64_t seed)
{
    pthread_t thread;
    _Atomic uint64_t told = 0;
    (void)seed;
    board = make(WORDS, sizeof(aie_word), false);
    segments[0] = make(WORDS, sizeof(aie_word), false);
    check_child();
    by_clone = true;
    check_child();
    by_clone = false;
    for (int step = 1; step <= 2; step++) {
        tell(step);
        CHECK(all, ends_well(doing(end_watching)));
    }
    /* At any time. */
    CHECK(all, aie_desk_open(&own) == 0);
    uint32_t slot = watch(&own, &board, 2);
    pthread_create(&thread, NULL, watch_on_and_on, &told);
    /* And for as long as the thread needs for its first round, on a busy machine. */
    for (uint64_t n = 0; (n < rounds || atomic_load(&told) == 0) && !atomic_load(&all->broken);
         n++) {
        CHECK(all, ends_well(doing(watch_as_child)));
    }
    atomic_store(&all->over, 1);
    pthread_join(thread, NULL);
    CHECK(all, told > 0);
    write_word(&board, 2, 2);
    IS_TOLD(&own, slot);
    aie_desk_close(&own);
    return atomic_load(&all->broken) != 0;
}

/* ------------------------------------------------------------------ owners */

static bool with_lock;

static void lease_and_wait(void)
{
    aie_change claim = {.expected = PENDING, .desired = RUNNING, .compare = true};
    if (!aie_change_leases(board.words.owners, &claim)) {
        CHECK(all, aie_owners_enter(board.region) == AIE_OK);
        CHECK(all, aie_change_leases(board.words.owners, &claim));
    }
    CHECK(all,
          aie_word_change(aie_array_word(&board.words, 1), board.words.event, &claim) == AIE_OK);
    if (with_lock) {
        CHECK(all, aie_lock_try(aie_array_control(&board.words, 1), aie_array_word(&board.words, 1))
                       == AIE_OK);
    }
    tell(1);
    nap(2 * WAIT_NS);
}

/* Nobody but the thread looks for what a dead process owned. */
static void check_dead_owner(bool whole)
{
    tell(0);
    pid_t owner = doing(lease_and_wait);
    reach(1);
    CHECK(all, aie_word_value(word_of(&board, 1)) == RUNNING);
    CHECK(all, aie_desk_open(&own) == 0);
    watch(&own, &board, 0);
    uint32_t slot = whole ? watch_whole(&own, &board) : watch(&own, &board, 1);
    whole ? until_armed(&board, AIE_ARMED) : until_looked(&board, 1);
    nap((int64_t)(chance() % (uint64_t)AIE_NOTICE)); /* at any time between two of its looks */
    CHECK(all, !rings(&own, 0));
    int64_t begin = aie_now();
    kill(owner, SIGKILL);
    CHECK(all, was_killed(owner));
    IS_TOLD(&own, slot);
    CHECK(all, aie_now() - begin < PROMISED_NS + SCHEDULING_NS);
    CHECK(all, aie_word_value(word_of(&board, 1)) == PENDING);
    CHECK(all, aie_word_owner(word_of(&board, 1)) == 0);
    aie_desk_close(&own);
}

static int run_owners(uint64_t rounds, uint64_t seed)
{
    chance_state = seed | 1;
    board = make(WORDS, sizeof(aie_word), true);
    for (uint64_t n = 0; n < rounds && !atomic_load(&all->broken); n++) {
        with_lock = AIE_ROBUST && n % 4 >= 2;
        check_dead_owner(n % 2 == 1);
    }
    return atomic_load(&all->broken) != 0;
}

/* ------------------------------------------------------------------ pace */

#define PACE_NS (AIE_NS_PER_S / 2)

static void write_busily(void)
{
    for (int32_t n = 0; !atomic_load(&all->over) && getppid() > 1; n++) {
        write_word(&board, 1, n & 0xFFFF);
    }
}

/* Asleep until what never comes. */
static void await_in_vain(void)
{
    int32_t never = -1;
    uint64_t seen;
    aie_goal goal = {&never, 1, false};
    while (!atomic_load(&all->over) && getppid() > 1) {
        (void)aie_await_sleeping(aie_array_word(&board.words, 1), &goal,
                                 aie_now() + AIE_NS_PER_S / 10, &seen);
    }
}

static int64_t clock_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * AIE_NS_PER_S + now.tv_nsec;
}

/* What all threads but this one have taken. */
static int64_t others_took(void)
{
    return clock_of(CLOCK_PROCESS_CPUTIME_ID) - clock_of(CLOCK_THREAD_CPUTIME_ID);
}

/* A busy word of which nobody is content with what it is. */
static void check_busy(bool whole)
{
    int told = 0;
    uint32_t slots[2], slot = whole ? watch_whole(&own, &board) : watch(&own, &board, 1);
    int64_t begin = aie_now(), took = others_took();
    while (aie_now() < begin + PACE_NS) {
        if (rings(&own, AIE_NS_PER_S / 100) && aie_desk_take(&own, slots, 2) == 1) {
            told++;
            CHECK(all, aie_desk_watch_on(&own, slot, false) == 0);
        }
    }
    int64_t time = aie_now() - begin;
    took = others_took() - took;
    CHECK(all, told > 10);
    CHECK(all, told < 20 + 1100 * time / AIE_NS_PER_S);
    CHECK(all, took < time / 4);
    printf("told %d times, %lld us; ", told, (long long)(took / 1000));
    aie_desk_unwatch(&own, slot);
    (void)aie_desk_take(&own, slots, 2);
}

/* A busy word of others, that one of them sleeps on. */
static void check_foreign(void)
{
    uint32_t slot = watch(&own, &board, 0);
    until_looked(&board, 0);
    pid_t sleeper = doing(await_in_vain);
    counted_point = "watcher-looked";
    atomic_store(&counted, 0);
    uint32_t rung = event_of(&board);
    int64_t begin = aie_now(), took = others_took();
    CHECK(all, !rings(&own, PACE_NS));
    took = others_took() - took;
    int looked = atomic_load(&counted);
    int64_t time = aie_now() - begin;
    rung = (event_of(&board) - rung) / (2 * AIE_BELL);
    CHECK(all, rung > 10);
    CHECK(all, looked < 20 + 2500 * time / AIE_NS_PER_S);
    CHECK(all, took < time / 4);
    printf("rung %u times, looked %d times, %lld us; ", rung, looked, (long long)(took / 1000));
    begin = aie_now();
    write_word(&board, 0, 2);
    IS_TOLD(&own, slot);
    CHECK(all, aie_now() - begin < SCHEDULING_NS);
    atomic_store(&all->over, 1);
    CHECK(all, ends_well(sleeper));
}

static int run_pace(uint64_t rounds, uint64_t seed)
{
    (void)rounds, (void)seed;
    board = make(WORDS, sizeof(aie_word), false);
    pid_t writer = doing(write_busily);
    CHECK(all, aie_desk_open(&own) == 0);
    check_busy(false);
    check_busy(true);
    check_foreign();
    CHECK(all, ends_well(writer));
    aie_desk_close(&own);
    return atomic_load(&all->broken) != 0;
}

static const struct {
    const char *name;
    int (*run)(uint64_t rounds, uint64_t seed);
} modes[] = {
    {"cases", run_cases}, {"bits", run_bits},   {"storm", run_storm},   {"points", run_points},
    {"forks", run_forks}, {"turns", run_turns}, {"owners", run_owners}, {"pace", run_pace},
};

int main(int argc, char **argv)
{
    all = mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (size_t n = 0; all != MAP_FAILED && n < sizeof(modes) / sizeof(*modes); n++) {
        if (argc > 1 && strcmp(argv[1], modes[n].name) == 0) {
            uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
            int broken = modes[n].run(rounds, argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
            if (broken) { /* whatever the thread is up to */
                fflush(NULL);
                aie_regions_end();
                _exit(broken);
            }
            return 0;
        }
    }
    fprintf(stderr, "usage: watch cases|bits|points|pace | storm|turns|forks|owners ROUNDS SEED\n");
    return 2;
}
