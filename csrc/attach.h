/* attach.h -- attaching a segment by name: what is refused before it is mapped, and answering for
 * the name beside others.  For bindings, as region.h.
 */
#pragma once

#include "region.h"

#define AIE_WHY_SIZE 100

/* Why a memory cannot be attached: 0, or an errno and `why`.
 * EACCES: another user owns it, or may write it: a release writes where the mutex's list in shared
 * memory says, so whoever writes that list writes this process's memory (root could do so anyway).
 * EAGAIN: it is not complete (yet).  EINVAL: it is no segment. */
static inline int aie_region_refusal(const struct stat *is, char why[AIE_WHY_SIZE])
{
    *why = 0;
    if (is->st_uid != geteuid() && is->st_uid != 0) {
        snprintf(why, AIE_WHY_SIZE, "user %u owns it", (unsigned)is->st_uid);
        return EACCES;
    }
    if (is->st_mode & 022) {
        snprintf(why, AIE_WHY_SIZE, "its mode %04o lets other users write it",
                 (unsigned)(is->st_mode & 07777));
        return EACCES;
    }
#if defined(__linux__)
    if (!S_ISREG(is->st_mode)) {
        snprintf(why, AIE_WHY_SIZE, "it is no shared memory");
        return EINVAL;
    }
    /* Touching what is not there takes a page, and a full /dev/shm has none: SIGBUS. */
    if (is->st_blocks * 512 < is->st_size) {
        snprintf(why, AIE_WHY_SIZE, "its space is not reserved");
        return EAGAIN;
    }
#endif
    if (is->st_size == 0) {
        snprintf(why, AIE_WHY_SIZE, "it is empty");
        return EAGAIN;
    }
    if (is->st_size < (off_t)sizeof(aie_header)) {
        snprintf(why, AIE_WHY_SIZE, "%lld bytes are too few for a segment", (long long)is->st_size);
        return EINVAL;
    }
    return 0;
}

/* Answer for the name as well, by a lock of fd's.  0 or an errno; ESTALE: it is being removed, or with
 * `shared` nobody answers for it; EEXIST: nor is it a segment. */
static inline int aie_region_joins(int fd, const char *name, const struct stat *is,
                                   aie_answer answer, bool shared, void **page)
{
    if (shared) {
        aie_header head = aie_head_of(fd);
        if (!aie_is_segment(is, &head)) {
            return EEXIST;
        }
        if (aie_life_by_page ? aie_life_asked(fd) != F_RDLCK
                             : aie_creator_ended(&head, aie_regions.namespace)) {
            return ESTALE;
        }
    }
    if (!aie_life_by_page) {
        return 0;
    }
    if (!aie_life_lock(fd, F_RDLCK, 0) || !aie_name_is(name, is)) {
        return ESTALE;
    }
    AIE_POINT("attach-locked");
    *page = aie_life_page(fd, answer == AIE_ANSWER_NAMELESS);
    return *page == NULL ? errno : 0;
}

/* Attach: the region of what has the name, with one user more.  NULL with errno, and `why`, empty
 * where errno says all: as aie_region_refusal and aie_region_joins. */
static inline aie_region *aie_region_open(const char *name, aie_answer answer,
                                          char why[AIE_WHY_SIZE])
{
    aie_region *region = NULL;
    void *page = NULL;
    struct stat is;
    *why = 0;
    aie_regions_lock();
    int fd = aie_name_open(name);
    int error = fd < 0 || fstat(fd, &is) != 0 ? errno : aie_region_refusal(&is, why);
    if (error == 0) {
        region = aie_region_known(&is);
        if (answer != AIE_ANSWER_NOT && (region == NULL || region->answer == AIE_ANSWER_NOT)) {
            error = aie_region_joins(fd, name, &is, answer, answer == AIE_ANSWER_NAMED, &page);
        }
    }
    if (error == 0 && region == NULL) {
        int data = page == NULL ? fd : aie_name_open(name); /* see aie_region_answered */
        struct stat again;
        bool same = data >= 0 && fstat(data, &again) == 0 && again.st_ino == is.st_ino;
        region = same ? aie_region_new(name, data, &is, (size_t)is.st_size) : NULL;
        error = region != NULL ? 0 : data >= 0 && !same ? ESTALE : errno;
        if (region != NULL) {
            /* Checked by nobody yet, and of no harm whatever it is. */
            const aie_header *header = (const aie_header *)(const void *)region->base;
            /* acquire: as below.  What is half made goes below. */
            if (atomic_load_explicit(&header->magic, memory_order_acquire) == AIE_MAGIC) {
                region->namespace = header->pid_namespace;
                if (header->owners_offset != 0) {
                    aie_region_keep_descriptor(region, data);
                }
            }
            aie_region_place(region);
        }
        if (data >= 0 && data != fd) {
            close(data);
        }
    }
    if (error == 0) {
        const aie_header *header = (const aie_header *)(const void *)region->base;
        /* acquire: pairs with the release of aie_fill. */
        uint64_t magic = atomic_load_explicit(&header->magic, memory_order_acquire);
        if (magic == 0 || magic == AIE_MAGIC_UNFINISHED) {
            snprintf(why, AIE_WHY_SIZE, "it is half made");
            error = EAGAIN;
        }
        if (page != NULL) {
            region->answer = answer;
            region->page = page;
            page = NULL;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    if (page != NULL) {
        aie_life_end(page);
    }
    if (error != 0 && region != NULL && --region->users == 0) {
        aie_region_unused(region);
    }
    aie_regions_unlock();
    errno = error;
    return error == 0 ? region : NULL;
}

/* The first AIE_HEAD_SIZE bytes of what has the name, for a message; false if they cannot be read. */
static inline bool aie_name_peek(const char *name, aie_header *head)
{
    struct stat is;
    aie_regions_lock();
    int fd = aie_name_open(name);
    bool is_ours = fd >= 0 && fstat(fd, &is) == 0;
    if (is_ours) {
        *head = aie_head_of(fd);
        is_ours = aie_is_segment(&is, head);
    }
    if (fd >= 0) {
        close(fd);
    }
    aie_regions_unlock();
    return is_ours;
}

/* Remove the name of what nobody answers for.  0, also if there is none; EBUSY: somebody answers for
 * it; EAGAIN: somebody else is removing it; or why it cannot be removed, EPERM if it is no segment of
 * this user. */
AIE_SELDOM int aie_name_clean(const char *name)
{
    aie_regions_lock();
    aie_life outcome = aie_life_remove_patiently(name, NULL, true, aie_regions.namespace);
    int error = errno;
    aie_regions_unlock();
    return outcome == AIE_GONE        ? 0
           : outcome == AIE_LIVES     ? EBUSY
           : outcome == AIE_UNDECIDED ? EAGAIN
                                      : error;
}
