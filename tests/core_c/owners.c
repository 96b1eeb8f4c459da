/* owners.c -- processes own words and are killed, at each point and at any time, and others give back
 * what they owned: by the bindings' owning.h.
 *
 *   owners points              each point, in each way to come to it; prints how many
 *   owners cases               locks, forks, clones
 *   owners storm DEATHS SEED   jobs are claimed and done while claimers are killed
 *   owners stops DEATHS SEED   the same, but they are stopped for a while
 *
 * Exit 0: all invariants held; 1: one broke, named on stderr.
 *
 * Invariants:
 *   - What a dead process owned is given back, once somebody looks: no job stays for ever.
 *   - Nobody loses what it has claimed as long as it lives, stopped or not: no job has two workers.
 *   - Each job is done once.
 *   - A row is of one live process, and its words are that one's own.
 */
#include "common.h"
#include "attach.h"
#include "create.h"
#include "owning.h"

#define WORDS 64
#define CLAIMERS 4

enum { PENDING = 1, RUNNING, DONE };

typedef struct {
    _Atomic int broken;
    _Atomic int step;
    _Atomic int over;
    _Atomic int done[WORDS];
    _Atomic uint32_t worker[WORDS]; /* who works at it, or died with it: a ticket */
    _Atomic int doomed[1 << 16];    /* by ticket: it is about to be killed */
    _Atomic uint32_t tickets;
} shared;

static shared *all;
static aie_region *region;
static aie_array words;
static char name[AIE_NAME_SIZE];

static const char *const all_points[] = {"row-locked", "row-walked",       "row-named",
                                         "owner-dead", "owner-given-back", "owner-owns"};

static bool make(void)
{
    static const aie_rule rule = {RUNNING, PENDING};
    struct {
        aie_header header;
    } head = {.header = {
                  .layout_version = AIE_LAYOUT_VERSION,
                  .vocabulary_offset = sizeof(aie_header),
                  .protocol = AIE_PROTOCOL_ATOMIC,
                  .capacity = WORDS,
                  .control_offset = sizeof(aie_header) + WORDS * sizeof(aie_word),
                  .header_size = sizeof(aie_header),
                  .word_stride = sizeof(aie_word),
                  .control_stride = sizeof(aie_control),
                  .mutex_size = sizeof(pthread_mutex_t),
                  .libc = AIE_LIBC,
                  .owners_offset =
                      sizeof(aie_header) + WORDS * sizeof(aie_word) + WORDS * sizeof(aie_control),
              }};
    aie_plan plan = {
        .head = (const unsigned char *)&head,
        .head_size = sizeof(head),
        .size = head.header.owners_offset + AIE_ROWS * sizeof(uint64_t),
        .first = PENDING,
        .answer = AIE_ANSWER_NAMED,
    };
    region = aie_region_create(name, &plan);
    aie_owners_plan owners = {
        .word_offset = sizeof(aie_header),
        .word_stride = sizeof(aie_word),
        .control_offset = head.header.control_offset,
        .count = WORDS,
        .owners_offset = head.header.owners_offset,
        .rules = (const unsigned char *)&rule,
        .rule_count = 1,
    };
    if (region == NULL || aie_region_has_owners(region, &owners) != 0) {
        return false;
    }
    words = aie_region_words(region);
    return true;
}

static void reach(int step)
{
    int64_t deadline = aie_now() + WAIT_NS;
    while (atomic_load(&all->step) < step && aie_now() < deadline) {
        struct timespec pause = aie_timespec(AIE_NS_PER_S / 1000);
        nanosleep(&pause, NULL);
    }
    CHECK(all, atomic_load(&all->step) >= step);
}

static pid_t doing(void (*what)(void))
{
    fflush(stderr);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(2 * WAIT_NS / AIE_NS_PER_S);
        what();
        exit(0);
    }
    return pid;
}

static bool done(void (*what)(void))
{
    pid_t pid = doing(what);
    return end_well(&pid, 1, aie_now() + WAIT_NS);
}

/* A write, with a row for it. */
static aie_result change(aie_change *change, size_t index)
{
    if (!aie_change_leases(words.owners, change)) {
        CHECK(all, aie_owners_enter(region) == AIE_OK);
        CHECK(all, aie_change_leases(words.owners, change));
    }
    return aie_change_slice(aie_array_word(&words, index), aie_array_control(&words, index),
                            words.event, change, aie_now() + WAIT_NS);
}

static uint64_t word_of(size_t index)
{
    return aie_word_load(aie_array_word(&words, index));
}

static void lease(size_t index)
{
    aie_change claim = {.expected = PENDING, .desired = RUNNING, .compare = true};
    CHECK(all, change(&claim, index) == AIE_OK);
    CHECK(all, aie_word_owner(word_of(index)) == aie_owners_mine(words.owners));
}

static void own(size_t index)
{
    uint32_t pid = 0;
    CHECK(all, aie_region_own(region, index, false, aie_now() + WAIT_NS, &pid) == AIE_OK);
}

/* ------------------------------------------------------------------ points */

static const char *deadly;

static bool is_at(const char *point)
{
    return strcmp(deadly, point) == 0;
}

static void be_deadly(void)
{
    deadly_point = deadly;
    deadly_count = 1;
}

/* From here on only the first rows are to be had: somebody lives who has the others. */
static void leave_rows(uint32_t count)
{
    static int fd = -1;
    if (fd >= 0) {
        close(fd);
    }
    fd = AIE_LIFE_LOCKS ? aie_name_open(name) : -1;
    for (uint32_t row = 1; row < AIE_ROWS; row++) {
        bool taken = row > count;
        if (AIE_LIFE_LOCKS) {
            CHECK(all, !taken || aie_life_lock(fd, F_WRLCK, AIE_ROW_BYTE(row)));
        }
        else {
            atomic_store(&words.owners->rows[row], taken ? aie_owner_name(aie_pid_namespace()) : 0);
        }
    }
}

static bool with_lock;

/* Its owner dies with a word leased, one owned, and the lock of one. */
static void die_owning(void)
{
    lease(0);
    lease(1);
    own(2);
    if (with_lock) {
        CHECK(all, aie_lock_try(aie_array_control(&words, 0), aie_array_word(&words, 0)) == AIE_OK);
    }
    kill(getpid(), SIGKILL);
}

static void take_deadly(void)
{
    be_deadly();
    (void)aie_owners_enter(region);
}

static void recover_deadly(void)
{
    be_deadly();
    (void)aie_owners_recover(&words, true, NULL);
}

static void own_deadly(void)
{
    be_deadly();
    own(3);
}

/* Asleep while it happens. */
static void await_given_back(void)
{
    int32_t wanted = PENDING;
    aie_goal goal = {&wanted, 1, false};
    uint64_t seen;
    int64_t deadline = aie_now() + WAIT_NS;
    aie_result result = AIE_AGAIN;
    atomic_fetch_add(&all->step, 1);
    while (result == AIE_AGAIN) {
        result = aie_await(aie_array_word(&words, 0), &goal, deadline, false, &seen);
    }
    CHECK(all, result == AIE_OK);
}

static void check_free(size_t index)
{
    CHECK(all, aie_word_value(word_of(index)) == PENDING);
    CHECK(all, (word_of(index) & (AIE_OWNED_BIT | AIE_OWNER_MASK)) == 0);
}

/* Whoever comes next finds all given back, and can be an owner. */
static void find_all_given_back(void)
{
    uint32_t pid;
    (void)aie_owners_recover(&words, true, NULL);
    for (size_t i = 0; i < WORDS; i++) {
        check_free(i);
    }
    lease(0);
    own(1);
    for (size_t i = 0; i < 3; i++) {
        aie_array word = aie_region_part(region, i, 1);
        aie_owners_pids(&word, &pid);
        CHECK(all, pid == (i < 2 ? (uint32_t)getpid() : 0));
    }
}

static void check_point(void (*death)(void), bool beside_dead)
{
    atomic_store(&all->step, 0);
    if (beside_dead) {
        CHECK(all, was_killed(doing(die_owning)));
    }
    pid_t sleeper = beside_dead ? doing(await_given_back) : 0;
    if (beside_dead) {
        reach(1);
    }
    CHECK(all, was_killed(doing(death)));
    CHECK(all, done(find_all_given_back));        /* its end gives back, too */
    (void)aie_owners_recover(&words, true, NULL); /* of what was OWNED */
    for (size_t i = 0; i < WORDS; i++) {
        check_free(i);
        CHECK(all, !(word_of(i) & AIE_LOCKED_BIT));
    }
    CHECK(all, sleeper == 0 || end_well(&sleeper, 1, aie_now() + WAIT_NS));
}

static int run_points(void)
{
    int count = 0;
    leave_rows(1);
    for (size_t n = 0; n < sizeof(all_points) / sizeof(*all_points); n++) {
        deadly = all_points[n];
        if (!AIE_LIFE_LOCKS && strncmp(deadly, "row-", 4) == 0) {
            continue; /* there a row is one CAS */
        }
        count++;
        for (int lock = 0; lock < 2; lock++) {
            with_lock = lock != 0;
            check_point(is_at("owner-owns")          ? own_deadly
                        : strncmp(deadly, "row-", 4) ? recover_deadly
                                                     : take_deadly,
                        !is_at("owner-owns"));
        }
    }
    printf("%d points\n", count);
    return atomic_load(&all->broken) != 0;
}

/* ------------------------------------------------------------------ cases */

/* What two processes tell each other. */
static void tell(int step)
{
    atomic_store(&all->step, step);
}

static void hold_a_lock(void)
{
    CHECK(all, aie_lock_try(aie_array_control(&words, 0), aie_array_word(&words, 0)) == AIE_OK);
    tell(1);
    reach(2);
    CHECK(all, aie_lock_release(aie_array_control(&words, 0), aie_array_word(&words, 0)) == AIE_OK);
}

static void take_in_vain(void)
{
    uint64_t before = word_of(0);
    CHECK(all, aie_word_owner(before) != 0);
    CHECK(all, aie_owners_enter(region) == AIE_FULL);
    CHECK(all, aie_owners_mine(words.owners) == 0);
    (void)aie_owners_recover(&words, true, NULL);
    CHECK(all, word_of(0) == before);
    check_free(1);
    check_free(2);
}

/* A dead owner's word is locked by a live holder: it is left, and so is its row. */
static void check_locked(void)
{
    tell(0);
    leave_rows(1);
    CHECK(all, was_killed(doing(die_owning)));
    pid_t holder = doing(hold_a_lock);
    reach(1);
    CHECK(all, done(take_in_vain));
    tell(2);
    CHECK(all, end_well(&holder, 1, aie_now() + WAIT_NS));
    CHECK(all, done(find_all_given_back));
    (void)aie_owners_recover(&words, true, NULL);
}

static void take_its_row(void)
{
    uint32_t dead = aie_word_owner(word_of(0));
    CHECK(all, aie_owners_enter(region) == AIE_OK);
    CHECK(all, aie_owners_mine(words.owners) == dead);
    check_free(0);
    check_free(1);
    check_free(2);
}

/* Who takes a dead owner's row does not come by its words. */
static void check_reused(void)
{
    leave_rows(1);
    CHECK(all, was_killed(doing(die_owning)));
    CHECK(all, done(take_its_row));
}

static void stop(void)
{
    raise(SIGSTOP);
}

static void take_slowly(void)
{
    hooked_point = "row-locked";
    hook = stop;
    take_its_row();
}

/* Whoever is stopped as it takes a dead owner's row keeps nobody from giving back. */
static void check_stopped(void)
{
    int status;
    leave_rows(1);
    CHECK(all, was_killed(doing(die_owning)));
    pid_t taker = doing(take_slowly);
    CHECK(all, waitpid(taker, &status, WUNTRACED) == taker && WIFSTOPPED(status));
    CHECK(all, aie_owners_recover(&words, true, NULL) == 3);
    check_free(0);
    kill(taker, SIGCONT);
    CHECK(all, end_well(&taker, 1, aie_now() + WAIT_NS));
}

static void lease_and_die(void)
{
    lease(0);
    tell(1);
    reach(2);
    kill(getpid(), SIGKILL);
}

static void commit_too_late(void)
{
    aie_change commit = {.expected = RUNNING, .desired = DONE, .compare = true};
    aie_change late = {.desired = DONE};
    lease(0);
    own(1);
    aie_regions_end();
    check_free(0);
    pid_t next = doing(lease_and_die);
    reach(1);
    CHECK(all, change(&commit, 0) == AIE_MISMATCH);
    CHECK(all, aie_word_value(word_of(0)) == RUNNING);
    tell(2);
    CHECK(all, was_killed(next));
    CHECK(all, aie_owners_recover(&words, true, NULL) == 1);
    /* What it called own() for is its own again as it writes that. */
    (void)aie_change_leases(words.owners, &late);
    CHECK(all, aie_word_change(aie_array_word(&words, 1), words.event, &late) == AIE_OK);
    CHECK(all, word_of(1) & AIE_OWNED_BIT);
    CHECK(all, aie_word_owner(word_of(1)) == aie_owners_mine(words.owners));
}

/* A thread of a process that ends commits what the next one works at. */
static void check_late(void)
{
    tell(0);
    leave_rows(AIE_ROWS);
    CHECK(all, done(commit_too_late));
    (void)aie_owners_recover(&words, true, NULL);
    CHECK(all, aie_word_owner(word_of(1)) == 0);
    aie_change renew = {.desired = PENDING};
    CHECK(all, change(&renew, 1) == AIE_OK);
}

/* A child of an owner leases by a row of its own, and lives on. */
static void outlive_the_owner(void)
{
    CHECK(all, aie_word_owner(word_of(0)) != 0 && aie_owners_mine(words.owners) == 0);
    lease(1);
    CHECK(all, aie_word_owner(word_of(1)) != aie_word_owner(word_of(0)));
    tell(1);
    reach(2);
    CHECK(all, aie_word_value(word_of(1)) == RUNNING);
    kill(getpid(), SIGKILL);
}

static bool by_clone; /* which runs no hooks */

static void own_and_fork(void)
{
    lease(0);
    pid_t child = by_clone ? (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) : fork();
    if (child == 0) {
        outlive_the_owner();
    }
    reach(1);
    kill(getpid(), SIGKILL);
}

static void check_forked(void)
{
    tell(0);
    CHECK(all, was_killed(doing(own_and_fork)));
    CHECK(all, aie_owners_recover(&words, true, NULL) == 1);
    check_free(0);
    CHECK(all, aie_word_value(word_of(1)) == RUNNING);
    tell(2);
    for (int64_t deadline = aie_now() + WAIT_NS;
         aie_word_owner(word_of(1)) != 0 && aie_now() < deadline;) {
        (void)aie_owners_recover(&words, true, NULL); /* it is nobody's to wait for */
    }
    check_free(1);
}

static int run_cases(void)
{
    check_reused();
    if (AIE_LIFE_LOCKS) { /* where pids tell, a row is taken by one CAS behind its walk */
        check_stopped();
    }
    check_late();
    check_locked();
    leave_rows(AIE_ROWS);
    check_forked();
    by_clone = true;
    check_forked();
    return atomic_load(&all->broken) != 0;
}

/* ------------------------------------------------------------------ storms */

static bool stops; /* not kills */
static uint32_t ticket;

/* What a claimer does between claim and commit, and checks. */
static void work_at(size_t index)
{
    uint32_t before = atomic_exchange(&all->worker[index], ticket);
    CHECK(all, before == 0 || atomic_load(&all->doomed[before]));
    for (uint64_t n = chance() % 64; n > 0; n--) {
        aie_relax();
        if (chance() % 16 == 0) {
            sched_yield();
        }
    }
    CHECK(all, atomic_load(&all->worker[index]) == ticket);
    CHECK(all, aie_word_owner(word_of(index)) == aie_owners_mine(words.owners));
    aie_change commit = {.expected = RUNNING, .desired = DONE, .compare = true};
    atomic_store(&all->worker[index], 0); /* nobody gets it before the commit: it is RUNNING */
    CHECK(all, change(&commit, index) == AIE_OK);
}

static void claim_jobs(void)
{
    size_t index = chance() % WORDS;
    while (!atomic_load(&all->over)) {
        aie_change claim = {.expected = PENDING, .desired = RUNNING, .compare = true};
        if (!aie_change_leases(words.owners, &claim)) {
            CHECK(all, aie_owners_enter(region) == AIE_OK);
            continue;
        }
        if (aie_array_claim(&words, index, &claim, &index, aie_owners_judge) == AIE_OK) {
            work_at(index);
        }
        else if (aie_owners_recover(&words, true, NULL) == 0) {
            sched_yield();
        }
    }
}

/* Who counts: DONE becomes PENDING again, once for each commit. */
static void renew_jobs(void)
{
    for (size_t i = 0; i < WORDS; i++) {
        aie_change renew = {.expected = DONE, .desired = PENDING, .compare = true};
        if (aie_word_value(word_of(i)) == DONE) {
            CHECK(all, atomic_load(&all->worker[i]) == 0);
            CHECK(all, change(&renew, i) == AIE_OK);
            atomic_fetch_add(&all->done[i], 1);
        }
    }
}

static pid_t begin_claimer(uint32_t *which)
{
    *which = atomic_fetch_add(&all->tickets, 1) + 1;
    uint64_t luck = chance();
    pid_t pid = fork();
    if (pid == 0) {
        alarm(6 * WAIT_NS / AIE_NS_PER_S);
        ticket = *which;
        chance_state = luck | 1;
        yields = true;
        claim_jobs();
        exit(0);
    }
    return pid;
}

static void nap(int64_t most)
{
    struct timespec pause = aie_timespec((int64_t)(chance() % (uint64_t)most));
    nanosleep(&pause, NULL);
}

static int run_storm(int deaths, uint64_t luck)
{
    pid_t pids[CLAIMERS];
    uint32_t which[CLAIMERS];
    chance_state = luck | 1;
    for (int n = 0; n < CLAIMERS; n++) {
        pids[n] = begin_claimer(&which[n]);
    }
    for (int n = 0; n < deaths && !atomic_load(&all->broken); n++) {
        int victim = (int)(chance() % CLAIMERS);
        nap(2000000);
        renew_jobs();
        if (stops) {
            kill(pids[victim], SIGSTOP);
            nap(4000000);
            renew_jobs();
            kill(pids[victim], SIGCONT);
            continue;
        }
        atomic_store(&all->doomed[which[victim]], 1);
        kill(pids[victim], SIGKILL);
        CHECK(all, was_killed(pids[victim]));
        pids[victim] = begin_claimer(&which[victim]);
    }
    /* Each job is done once more: none is lost. */
    int before[WORDS];
    size_t missing = WORDS;
    for (size_t i = 0; i < WORDS; i++) {
        before[i] = atomic_load(&all->done[i]);
    }
    for (int64_t deadline = aie_now() + WAIT_NS; missing > 0 && aie_now() < deadline;) {
        nap(2000000);
        renew_jobs();
        missing = 0;
        for (size_t i = 0; i < WORDS; i++) {
            missing += atomic_load(&all->done[i]) == before[i];
        }
    }
    CHECK(all, missing == 0);
    atomic_store(&all->over, 1);
    CHECK(all, end_well(pids, CLAIMERS, aie_now() + WAIT_NS));
    (void)aie_owners_recover(&words, true, NULL);
    for (size_t i = 0; i < WORDS; i++) {
        CHECK(all, aie_word_value(word_of(i)) != RUNNING);
        CHECK(all, aie_word_owner(word_of(i)) == 0);
    }
    return atomic_load(&all->broken) != 0;
}

int main(int argc, char **argv)
{
    all = mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    snprintf(name, sizeof(name), "/" AIE_PREFIX ".o%d", (int)getpid());
    if (all == MAP_FAILED || argc < 2 || !make()) {
        perror("owners");
        return 2;
    }
    if (strcmp(argv[1], "points") == 0) {
        return run_points();
    }
    if (strcmp(argv[1], "cases") == 0) {
        return run_cases();
    }
    stops = strcmp(argv[1], "stops") == 0;
    return run_storm(atoi(argv[2]), strtoull(argv[3], NULL, 10));
}
