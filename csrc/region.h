/* region.h -- mapping each shared memory once per process; for bindings, not part of the core.
 *
 * A robust mutex that a thread holds is an entry of that thread's list, by address.  Reached
 * through a second mapping it would have a second address, and a count kept for the one would not
 * know of the other.  So a process maps each file once, whoever asks: module copies, interpreters,
 * private calls.  A region counts its users (Mapping objects, and locks that are held) and is
 * unmapped with the last.
 */
#ifndef AIE_REGION_H
#define AIE_REGION_H

#include "sysfeatures.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "platform.h"

typedef struct aie_region {
    struct aie_region *next;
    dev_t device;
    ino_t inode;
    unsigned char *base;
    size_t size;
    size_t users;
} aie_region;

static struct {
    pthread_mutex_t mutex;
    aie_region *first;
    bool watches_forks;
    void *held; /* during a fork: what the forking thread holds */
} aie_regions = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void aie_regions_lock(void)
{
    pthread_mutex_lock(&aie_regions.mutex);
}

static void aie_regions_unlock(void)
{
    pthread_mutex_unlock(&aie_regions.mutex);
}

static void aie_fork_begins(void)
{
    aie_regions_lock();
    aie_regions.held = aie_robust_list();
}

static void aie_fork_ends_in_child(void)
{
    aie_robust_list_empty(aie_regions.held);
    aie_regions_unlock();
}

/* The region of `size` bytes behind fd, with one user more; NULL with errno.  EFBIG: there are
 * fewer bytes, and touching those past the end would be a SIGBUS. */
static inline aie_region *aie_region_map(int fd, size_t size)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return NULL;
    }
    if (status.st_size < 0 || (uintmax_t)status.st_size < size) {
        errno = EFBIG;
        return NULL;
    }
    aie_regions_lock();
    if (!aie_regions.watches_forks) {
        /* A child of fork must not find the mutex held by a thread that it does not have. */
        aie_regions.watches_forks =
            pthread_atfork(aie_fork_begins, aie_regions_unlock, aie_fork_ends_in_child) == 0;
    }
    aie_region *region = aie_regions.first;
    /* Where shared memory has no inode (macOS) there is nothing to tell two of them apart by. */
    while (region != NULL
           && (status.st_ino == 0 || region->device != status.st_dev
               || region->inode != status.st_ino || region->size != size)) {
        region = region->next;
    }
    if (region != NULL) {
        region->users++;
    }
    else if ((region = malloc(sizeof(*region))) != NULL) {
        void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (base == MAP_FAILED) {
            free(region);
            region = NULL;
        }
        else {
            *region = (aie_region){.next = aie_regions.first,
                                   .device = status.st_dev,
                                   .inode = status.st_ino,
                                   .base = base,
                                   .size = size,
                                   .users = 1};
            aie_regions.first = region;
        }
    }
    aie_regions_unlock();
    return region;
}

/* Whether this process has such a memory mapped, by whichever of its interpreters. */
static inline bool aie_region_is_mapped(uint64_t device, uint64_t inode)
{
    aie_regions_lock();
    aie_region *region = aie_regions.first;
    while (region != NULL
           && ((uint64_t)region->device != device || (uint64_t)region->inode != inode)) {
        region = region->next;
    }
    aie_regions_unlock();
    return region != NULL;
}

static inline void aie_region_hold(aie_region *region)
{
    aie_regions_lock();
    region->users++;
    aie_regions_unlock();
}

/* One user less; the last one unmaps. */
static inline void aie_region_drop(aie_region *region)
{
    aie_regions_lock();
    if (--region->users == 0) {
        aie_region **link = &aie_regions.first;
        while (*link != region) {
            link = &(*link)->next;
        }
        *link = region->next;
        munmap(region->base, region->size);
        free(region);
    }
    aie_regions_unlock();
}

#endif
