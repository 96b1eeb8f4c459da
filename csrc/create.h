/* create.h -- creating a segment, in one call: its name, its life lock, its space, its content; or
 * nothing is left of it.  For bindings, as region.h.
 *
 *   O_EXCL; lock byte 0; look whether the name still leads here; reserve; map; fill; publish
 *
 * Where the creator is killed, nobody answers for the name any more, whatever there is of the
 * segment, and the next process that wants the name or sweeps removes it.
 */
#pragma once

#include "region.h"

/* What a new segment holds: `head` of `head_size` bytes, header and vocabulary, with magic, pid, start
 * and namespace left out; and in each word `first`. */
typedef struct {
    const unsigned char *head;
    size_t head_size;
    size_t size; /* of all of it */
    int32_t first;
    aie_answer answer;
} aie_plan;

/* Have the space there before it is touched: later, a full system would answer with SIGBUS.  0, or an
 * errno. */
static inline int aie_reserve(int fd, size_t size)
{
#if defined(__APPLE__)
    return ftruncate(fd, (off_t)size) == 0 ? 0 : errno;
#else
    struct statvfs room;
    if (fstatvfs(fd, &room) == 0 && room.f_blocks != 0
        && (size - 1) / room.f_frsize >= room.f_bavail) {
        return ENOSPC; /* found out before all room has been filled */
    }
    /* Linux before 6.9 takes back at each signal what it has reserved: beside a periodic timer a large
     * memory would never be done. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error;
    do {
        error = posix_fallocate(fd, 0, (off_t)size);
    } while (error == EINTR); /* by SIGSTOP */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
#endif
}

/* Write all that a segment holds, before anybody knows of it.  0, or pthread's error. */
static inline int aie_fill(aie_region *region, const aie_plan *plan)
{
    aie_header *header = (aie_header *)(void *)region->base;
    /* relaxed: only who would remove it looks at this. */
    atomic_store_explicit(&header->magic, AIE_MAGIC_UNFINISHED, memory_order_relaxed);
    AIE_POINT("create-begun");
    memcpy(region->base + sizeof(header->magic), plan->head + sizeof(header->magic),
           plan->head_size - sizeof(header->magic));
    header->creator_pid = (uint32_t)getpid();
    header->creator_start = aie_regions.started;
    header->pid_namespace = aie_regions.namespace;
    for (uint64_t i = 0; plan->first != 0 && i < header->capacity; i++) { /* fresh memory is 0 */
        aie_word_first(
            (aie_word *)(void *)(region->base + header->header_size + i * header->word_stride),
            plan->first);
    }
    aie_control *controls = (aie_control *)(void *)(region->base + header->control_offset);
    for (uint64_t i = 0; i < header->capacity; i++) {
        int error = aie_control_init(&controls[i]);
        if (error) {
            return error;
        }
    }
    AIE_POINT("create-filled");
    /* release: pairs with the acquire of aie_region_open; whoever sees the magic sees the header, the
     * words and the control blocks. */
    atomic_store_explicit(&header->magic, AIE_MAGIC, memory_order_release);
    AIE_POINT("create-published");
    return 0;
}

/* Answer for the name of a fresh memory, whose lock fd gets, and map it through `data`, a second open:
 * a child inherits the mapping, and would keep the lock with it.  NULL with errno; ESTALE: somebody
 * took the name for gone. */
static inline aie_region *aie_region_answered(const char *name, int fd, const struct stat *is,
                                              int data, const aie_plan *plan)
{
    struct stat again;
    bool locked = aie_life_lock(fd, F_RDLCK, 0);
    if (!locked && errno != EAGAIN && errno != EACCES) {
        return NULL;
    }
    if (!locked || !aie_name_is(name, is) || fstat(data, &again) != 0
        || is->st_ino != again.st_ino) {
        errno = ESTALE;
        return NULL;
    }
    AIE_POINT("create-locked");
    int error = aie_reserve(data, plan->size);
    if (error != 0) {
        errno = error;
        return NULL;
    }
    AIE_POINT("create-reserved");
    void *page = NULL;
    if (aie_life_by_page
        && (page = aie_life_page(fd, plan->answer == AIE_ANSWER_NAMELESS)) == NULL) {
        return NULL;
    }
    aie_region *region = aie_region_new(name, data, is, plan->size);
    if (region == NULL) {
        error = errno;
        if (page != NULL) {
            aie_life_end(page);
        }
        errno = error;
        return NULL;
    }
    uint64_t owners;
    memcpy(&owners, plan->head + offsetof(aie_header, owners_offset), sizeof(owners));
    if (owners != 0) {
        aie_region_keep_descriptor(region, data);
    }
    region->answer = plan->answer;
    region->page = page;
    region->namespace = aie_regions.namespace;
    return region;
}

/* One attempt.  NULL with errno: EEXIST, the name is taken; EAGAIN, somebody is removing what has it;
 * ESTALE, it was gone, and is free now. */
static inline aie_region *aie_region_make(const char *name, const aie_plan *plan)
{
    struct stat is;
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0) {
        if (errno == EEXIST) {
            aie_life life = aie_life_remove(name, NULL, true, aie_regions.namespace);
            errno = life == AIE_GONE ? ESTALE : life == AIE_UNDECIDED ? EAGAIN : EEXIST;
        }
        return NULL;
    }
    AIE_POINT("create-opened");
    (void)fchmod(fd, 0600); /* whatever the umask left of it */
    (void)fstat(fd, &is);
    int data = aie_name_open(name);
    aie_region *region = data < 0 ? NULL : aie_region_answered(name, fd, &is, data, plan);
    int error = region == NULL ? errno : aie_fill(region, plan);
    if (data >= 0) {
        close(data);
    }
    else if (error == ENOENT || error == EACCES) {
        error = ESTALE; /* somebody took the name for gone */
    }
    if (error != 0 && region != NULL) {
        region->users = 0;
        aie_region_unused(region);
        region = NULL;
    }
    aie_life outcome = AIE_GONE;
    if (error != 0 && error != ESTALE) {
        /* By the descriptor, since there may be no other one left. */
        outcome = aie_life_remove_open(fd, name, &is, false, aie_regions.namespace);
    }
    close(fd);
    if (outcome == AIE_UNDECIDED) {
        aie_life_remove_patiently(name, &is, true, aie_regions.namespace);
    }
    errno = error;
    return region;
}

/* A new segment, with one user.  NULL with errno: EEXIST, somebody has the name, or it is a stranger's;
 * EAGAIN, somebody is removing what had it, and still after AIE_PATIENCE. */
static inline aie_region *aie_region_create(const char *name, const aie_plan *plan)
{
    for (int64_t deadline = 0;;) {
        aie_regions_lock();
        if (!aie_regions.created) {
            aie_regions.created = true;
            aie_regions.started = aie_start_time((uint32_t)getpid());
            aie_life_sweep(AIE_SWEEP_FIRST, aie_regions.namespace);
        }
        aie_regions_expire_locked(name);
        aie_region *region = aie_region_make(name, plan);
        int error = errno;
        aie_regions_unlock();
        /* From here on: the mutex may have been waited for. */
        int64_t now = aie_now();
        deadline = deadline == 0 ? now + AIE_PATIENCE : deadline;
        if (region != NULL || (error != ESTALE && error != EAGAIN) || now > deadline) {
            errno = error == ESTALE ? EAGAIN : error;
            return region;
        }
        if (error == EAGAIN) {
            aie_life_nap();
        }
    }
}
