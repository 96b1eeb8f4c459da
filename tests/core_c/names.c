/* names.c -- a process is killed at each point at which it makes, joins, leaves or removes a name, and
 * others go on: by the bindings' create.h and attach.h.
 *
 *   names        each point, in each way to come to it; prints how many
 *
 * Exit 0: all invariants held; 1: one broke, named on stderr.
 *
 * Invariants:
 *   - What a killed process leaves is gone: the next one that wants the name has it at once, and the
 *     next one that comes and goes removes it.
 *   - What lived before lives on, under its name, until its own end; whoever was killed joining it or
 *     removing it.
 *   - Who ends removes its own, and nobody else's of that name.
 *   - A look that is cut short begins elsewhere than the one before it.
 */
#include "common.h"
#include "attach.h"
#include "create.h"

enum { MINE = 1, THEIRS, ITS_SUCCESSORS };

typedef struct {
    _Atomic int broken;
    _Atomic int step;
} shared;

static shared *all;
static char wanted[AIE_NAME_SIZE], another[AIE_NAME_SIZE];

static const char *const all_points[] = {
    "create-opened", "create-locked",    "create-reserved", "create-begun",
    "create-filled", "create-published", "attach-locked",   "remove-alone",
    "remove-gone",   "remove-unlinked",  "end-unanswered",
};

static void reach(int step)
{
    int64_t deadline = aie_now() + WAIT_NS;
    while (atomic_load(&all->step) < step && aie_now() < deadline) {
        struct timespec pause = aie_timespec(AIE_NS_PER_S / 1000);
        nanosleep(&pause, NULL);
    }
    CHECK(all, atomic_load(&all->step) >= step);
}

static bool is_there(const char *name)
{
    char path[AIE_PATH_SIZE];
    snprintf(path, sizeof(path), "/dev/shm%s", name);
    return access(path, F_OK) == 0;
}

/* ------------------------------------------------------------------ what processes do */

static aie_region *make(const char *name, int32_t value)
{
    aie_header header = {
        .layout_version = AIE_LAYOUT_VERSION,
        .vocabulary_offset = sizeof(aie_header),
        .protocol = AIE_PROTOCOL_ATOMIC,
        .capacity = 1,
        .control_offset = sizeof(aie_header) + AIE_SINGLE_STRIDE,
        .header_size = sizeof(aie_header),
        .word_stride = AIE_SINGLE_STRIDE,
        .control_stride = sizeof(aie_control),
        .mutex_size = sizeof(pthread_mutex_t),
        .libc = AIE_LIBC,
    };
    aie_plan plan = {
        .head = (const unsigned char *)&header,
        .head_size = sizeof(header),
        .size = header.control_offset + sizeof(aie_control),
        .first = value,
        .answer = AIE_ANSWER_NAMED,
    };
    return aie_region_create(name, &plan);
}

static aie_region *join(aie_answer answer)
{
    char why[AIE_WHY_SIZE];
    return aie_region_open(wanted, answer, why);
}

static int32_t value_of(const aie_region *region)
{
    return aie_word_value(aie_word_load((aie_word *)(void *)(region->base + sizeof(aie_header))));
}

/* A child that does this, and ends as processes end. */
static pid_t doing(void (*what)(void))
{
    fflush(stderr);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(WAIT_NS / AIE_NS_PER_S);
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

/* From here on this process dies at that point. */
static const char *deadly;

static bool is_at(const char *point)
{
    return strncmp(deadly, point, strlen(point)) == 0;
}

static void be_deadly(void)
{
    deadly_point = deadly;
    deadly_count = 1;
}

static void create_deadly(void)
{
    be_deadly();
    (void)make(wanted, MINE);
}

/* Its child, which has the memory, does not answer for the name. */
static void end_deadly(void)
{
    CHECK(all, make(wanted, MINE) != NULL);
    if (fork() == 0) {
        reach(1);
        _exit(0);
    }
    be_deadly();
}

static void join_deadly(void)
{
    be_deadly();
    (void)join(AIE_ANSWER_NAMED);
}

static void unlink_deadly(void)
{
    aie_region *region = join(AIE_ANSWER_NOT);
    CHECK(all, region != NULL);
    be_deadly();
    (void)aie_region_unlink(region);
}

static void create_wanted(void)
{
    aie_region *region = make(wanted, ITS_SUCCESSORS);
    CHECK(all, region != NULL);
    CHECK(all, region != NULL && value_of(region) == ITS_SUCCESSORS && is_there(wanted));
}

static void create_another(void)
{
    CHECK(all, make(another, MINE) != NULL);
}

static void live(void)
{
    CHECK(all, make(wanted, THEIRS) != NULL);
    atomic_store(&all->step, 1);
    reach(2);
}

static void find_the_living(void)
{
    CHECK(all, make(wanted, MINE) == NULL && errno == EEXIST);
    aie_region *region = join(AIE_ANSWER_NOT);
    CHECK(all, region != NULL && value_of(region) == THEIRS);
}

static void outlive_the_unlinked(void)
{
    CHECK(all, make(wanted, ITS_SUCCESSORS) != NULL);
    atomic_store(&all->step, 2);
    reach(3);
    aie_region *region = join(AIE_ANSWER_NOT);
    CHECK(all, region != NULL && value_of(region) == ITS_SUCCESSORS);
}

/* ------------------------------------------------------------------ a death, and who comes after it */

static void die(void (*action)(void))
{
    CHECK(all, was_killed(doing(action)));
}

static void leave_a_dead_name(void)
{
    const char *kept = deadly;
    deadly = "create-published";
    die(create_deadly);
    CHECK(all, is_there(wanted));
    deadly = kept;
}

static void die_creating(void)
{
    die(create_deadly);
}

static void die_removing_what_is_gone(void)
{
    leave_a_dead_name();
    die(create_deadly);
}

static void die_ending(void)
{
    die(end_deadly);
}

/* Nobody else had the name. */
static void check_gone(void (*death)(void))
{
    atomic_store(&all->step, 0);
    death();
    CHECK(all, done(create_wanted));
    CHECK(all, !is_there(wanted));
    death();
    /* A look may end early where the machine is busy. */
    int64_t deadline = aie_now() + WAIT_NS;
    for (int n = 0; n == 0 || (is_there(wanted) && aie_now() < deadline); n++) {
        CHECK(all, done(create_another));
        CHECK(all, AIE_LIFE_LOCKS || done(create_wanted)); /* nobody looks where pids tell */
    }
    CHECK(all, !is_there(wanted) && !is_there(another));
    atomic_store(&all->step, 1); /* those who inherited it end */
}

/* Somebody had it, who lives. */
static void check_lives(void (*action)(void))
{
    atomic_store(&all->step, 0);
    pid_t living = doing(live);
    reach(1);
    die(action);
    if (is_there(wanted)) {
        CHECK(all, done(find_the_living));
        atomic_store(&all->step, 2);
        CHECK(all, end_well(&living, 1, aie_now() + WAIT_NS));
    }
    else {
        CHECK(all, is_at("remove-unlinked"));
        pid_t successor = doing(outlive_the_unlinked); /* which lets the living one end */
        CHECK(all, end_well(&living, 1, aie_now() + WAIT_NS));
        CHECK(all, is_there(wanted));
        atomic_store(&all->step, 3);
        CHECK(all, end_well(&successor, 1, aie_now() + WAIT_NS));
    }
    CHECK(all, !is_there(wanted));
}

static void live_with_many(void)
{
    aie_regions.created = true; /* no look of its own for dead ones */
    for (int n = 0; n < 4; n++) {
        char name[AIE_NAME_SIZE + 16];
        snprintf(name, sizeof(name), "%s-%d", wanted, n);
        CHECK(all, make(name, THEIRS) != NULL);
    }
    atomic_store(&all->step, 1);
    reach(2);
}

/* A look that has time for one name alone comes to each of them in the end. */
static void check_each_has_its_turn(void)
{
    atomic_store(&all->step, 0);
    leave_a_dead_name(); /* the oldest and then the youngest: first or last in a listing */
    pid_t living = doing(live_with_many);
    reach(1);
    for (int again = 0; again < 2; again++) {
        int64_t deadline = aie_now() + WAIT_NS / 4; /* the living end after it */
        while (is_there(wanted) && aie_now() < deadline) {
            aie_life_sweep(0, aie_regions.namespace);
        }
        CHECK(all, !is_there(wanted));
        if (again == 0) {
            leave_a_dead_name();
        }
    }
    atomic_store(&all->step, 2);
    CHECK(all, end_well(&living, 1, aie_now() + WAIT_NS));
}

/* Where pids tell who lives, what has none yet counts as alive, and nobody joins by a lock. */
static bool is_told(void)
{
    bool creates = is_at("create-");
    return AIE_LIFE_LOCKS || is_at("create-filled") || is_at("create-published")
           || !(creates || is_at("attach-"));
}

int main(void)
{
    all = mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) {
        perror("names");
        return 2;
    }
    snprintf(wanted, sizeof(wanted), "/" AIE_PREFIX ".c%d", (int)getpid());
    snprintf(another, sizeof(another), "/" AIE_PREFIX ".c%d-a", (int)getpid());
    int count = 0;
    for (size_t n = 0; n < sizeof(all_points) / sizeof(*all_points); n++) {
        deadly = all_points[n];
        if (!is_told() || atomic_load(&all->broken)) {
            continue;
        }
        count++;
        if (is_at("create-")) {
            check_gone(die_creating);
        }
        else if (is_at("attach-")) {
            check_lives(join_deadly);
        }
        else {
            check_gone(die_ending);
        }
        if (is_at("remove-")) {
            check_gone(die_removing_what_is_gone);
            check_lives(unlink_deadly);
        }
    }
    if (AIE_LIFE_LOCKS && !atomic_load(&all->broken)) {
        check_each_has_its_turn();
    }
    shm_unlink(wanted); /* if something broke */
    shm_unlink(another);
    printf("%d points\n", count);
    return atomic_load(&all->broken) != 0;
}
