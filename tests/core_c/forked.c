/* forked.c -- a fork under a lock, with the bindings' create.h: what the parent holds stays findable.
 *
 * The parent holds two locks; its child uses a third one; the parent gives back the second one, which
 * somebody else takes, and is killed.  Whoever wants the first one then has to get it, and be told.
 * Exit 0: so it was; 1: it was not, named on stderr.  The fault "no-hooks" leaves fork alone: found
 * with musl, and with glibc too where that does not empty a child's list.
 */
#include "common.h"
#include "attach.h"
#include "create.h"

enum { KEPT, GIVEN_BACK, OF_THE_CHILD, LOCKS };

typedef struct {
    aie_control *controls; /* of the segment */
    aie_word *words;
    _Atomic int step;
    _Atomic int broken;
} shared;

static void until(shared *all, int step)
{
    int64_t deadline = aie_now() + WAIT_NS;
    while (atomic_load(&all->step) < step && aie_now() < deadline) {
        struct timespec pause = aie_timespec(AIE_NS_PER_S / 1000);
        nanosleep(&pause, NULL);
    }
    CHECK(all, atomic_load(&all->step) >= step);
}

static void take(shared *all, int lock)
{
    CHECK(all, aie_lock_try(&all->controls[lock], &all->words[lock]) == AIE_OK);
}

static void give(shared *all, int lock)
{
    CHECK(all, aie_lock_release(&all->controls[lock], &all->words[lock]) == AIE_OK);
}

static void be_the_holder(shared *all)
{
    take(all, KEPT);
    take(all, GIVEN_BACK);
    if (fork() == 0) {
        take(all, OF_THE_CHILD);
        atomic_store(&all->step, 1);
        until(all, 3);
        give(all, OF_THE_CHILD);
        _exit(0);
    }
    until(all, 1);
    give(all, GIVEN_BACK);
    atomic_store(&all->step, 2);
    for (;;) {
        pause();
    }
}

/* As a binding makes one; nobody asks for its name. */
static aie_region *make_segment(void)
{
    aie_header header = {
        .capacity = LOCKS,
        .control_offset = sizeof(aie_header) + AIE_LINE,
        .header_size = sizeof(aie_header),
        .word_stride = sizeof(aie_word),
    };
    aie_plan plan = {
        .head = (const unsigned char *)&header,
        .head_size = sizeof(header),
        .size = header.control_offset + LOCKS * sizeof(aie_control),
        .answer = AIE_ANSWER_NAMED,
    };
    char name[AIE_NAME_SIZE];
    snprintf(name, sizeof(name), "/" AIE_PREFIX ".f%d", (int)getpid());
    aie_region *region = aie_region_create(name, &plan);
    if (region != NULL) {
        aie_region_unlink(region);
    }
    return region;
}

int main(int count, char **arguments)
{
    fault = count > 1 ? arguments[1] : "";
    if (is_fault("no-hooks")) {
        aie_regions.pid = getpid(); /* as if they had been begun */
    }
    shared *all =
        mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    aie_region *region = all == MAP_FAILED ? NULL : make_segment();
    if (region == NULL) {
        perror("forked");
        return 2;
    }
    all->controls = (aie_control *)(void *)(region->base + sizeof(aie_header) + AIE_LINE);
    all->words = (aie_word *)(void *)(region->base + sizeof(aie_header));
    pid_t holder = fork();
    if (holder == 0) {
        be_the_holder(all);
    }
    until(all, 2);
    take(all, GIVEN_BACK);
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
    aie_result result =
        aie_lock_until(&all->controls[KEPT], &all->words[KEPT], aie_now() + AIE_NS_PER_S);
    CHECK(all, result == AIE_OK);
    CHECK(all, result != AIE_OK || aie_lock_take_report(&all->controls[KEPT]));
    atomic_store(&all->step, 3);
    return atomic_load(&all->broken) != 0;
}
