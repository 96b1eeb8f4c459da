/* forked.c -- a fork under a lock, with the bindings' region.h: what the parent holds stays findable.
 *
 * The parent holds two locks; its child uses a third one; the parent gives back the second one, which
 * somebody else takes, and is killed.  Whoever wants the first one then has to get it, and be told.
 * Exit 0: so it was; 1: it was not, named on stderr.  The fault "no-hooks" leaves fork alone: found
 * with musl, and with glibc too where that does not empty a child's list.
 */
#include "common.h"
#include "region.h"

enum { KEPT, GIVEN_BACK, OF_THE_CHILD, LOCKS };

typedef struct {
    aie_control controls[LOCKS];
    aie_word words[LOCKS];
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
    bool last;
    CHECK(all, aie_lock_release(&all->controls[lock], &all->words[lock], &last) == AIE_OK);
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

int main(int count, char **arguments)
{
    fault = count > 1 ? arguments[1] : "";
    FILE *file = tmpfile();
    if (file == NULL || ftruncate(fileno(file), sizeof(shared)) != 0) {
        perror("tmpfile");
        return 2;
    }
    aie_regions.watches_forks = is_fault("no-hooks");
    aie_region *region = aie_region_map(fileno(file), sizeof(shared));
    if (region == NULL) {
        perror("aie_region_map");
        return 2;
    }
    shared *all = (shared *)(void *)region->base;
    for (int n = 0; n < LOCKS; n++) {
        CHECK(all, aie_control_init(&all->controls[n]) == 0);
    }
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
