/* region.h -- the segments that this process has mapped, each once, and the names that it answers
 * for; for bindings, not part of the core: it keeps a list, and allocates.
 *
 * A robust mutex that a thread holds is an entry of that thread's list, by address.  Reached
 * through a second mapping it would have a second address, and a count kept for the one would not
 * know of the other.  So a process maps each file once, whoever asks: module copies, interpreters,
 * private calls.  A region counts its users: Mapping objects.  With the last of them this process
 * stops answering for the name, and unmaps, unless a thread of it still holds a lock there.
 *
 * The mutex is held over forks, and while there is a descriptor that has a lock: no child of fork ever
 * has one.  It is held, too, while a large memory is reserved, and then whoever maps or unmaps waits.
 */
#pragma once

#include "sysfeatures.h"

#include <pthread.h>
#include <stdlib.h>

#include "owner.h"

/* Who answers for a name: its creator; or, of the nameless, every process that has it mapped, and
 * the children that inherit it. */
typedef enum {
    AIE_ANSWER_NOT,
    AIE_ANSWER_NAMED,   /* this process, not its children */
    AIE_ANSWER_NAMELESS /* and its children */
} aie_answer;

typedef struct aie_left {
    struct aie_left *next;
    aie_control *control;
} aie_left;

typedef struct aie_region {
    struct aie_region *next;
    struct stat is;
    unsigned char *base;
    size_t size;
    size_t users;
    aie_left *left;    /* locks in it that were held as their objects went */
    aie_answer answer; /* what this process does */
    void *page;        /* that keeps its life lock; NULL where there are none */
    _Atomic bool pickled;
    int64_t until; /* it lingers without users; 0: it does not */
    uint64_t namespace;
    bool elsewhere;         /* it was made in another PID namespace than this process is in */
    aie_owners *owners;     /* NULL: nobody can own its words; see owning.h */
    _Atomic int descriptor; /* of a segment with owners, for asking who lives; never has a lock */
    struct aie_watched *watched; /* see watch.h, whose mutex this needs */
    int spare; /* another open of it, for the row of a process that may become another user; or -1 */
    char name[AIE_NAME_SIZE];
} aie_region;

static struct {
    pthread_mutex_t mutex;
    aie_region *first;
    pid_t pid;          /* whose list it is; 0: not begun */
    uint64_t namespace; /* of its PIDs */
    uint64_t started;
    bool created;             /* something, so that there is an end to be seen to */
    bool swept;               /* at the end */
    _Atomic size_t lingering; /* regions */
    void *held;               /* during a fork: what the forking thread holds */
    _Atomic size_t returning; /* threads of a binding that got a lock, on their way back with it */
    _Atomic bool ending;      /* no more of them: the interpreter ends */
} aie_regions = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Nanoseconds that a segment outlives its last user here if it was ever pickled: the pickle may be
 * on its way. */
#define AIE_LINGER (60 * AIE_NS_PER_S)

/* How long one looks through the names of others: at the first creation, and at the end. */
#define AIE_SWEEP_FIRST (AIE_NS_PER_S / 1000 * 3 / 10)
#define AIE_SWEEP_LAST (AIE_NS_PER_S / 1000 * 5)

static inline void aie_region_place(aie_region *region)
{
    /* 0: it is not known, or there is no such thing. */
    region->elsewhere = region->namespace != aie_regions.namespace && region->namespace != 0
                        && aie_regions.namespace != 0;
}

static inline void aie_regions_lingering(int more)
{
    /* relaxed: written with the mutex, and read for whether it is worth taking. */
    atomic_fetch_add_explicit(&aie_regions.lingering, (size_t)more, memory_order_relaxed);
}

/* ------------------------------------------------------------------ its owners */

/* A child, or a process that gives its row up, has none. */
static inline void aie_owners_none(aie_owners *owners)
{
    /* No other thread of this process is in a call with it. */
    free(owners->late.words);
    owners->late.words = NULL;
    owners->late.count = 0;
    atomic_store_explicit(&owners->late.row, 0, memory_order_relaxed);
    owners->page = NULL;
    atomic_store_explicit(owners->mine, 0, memory_order_relaxed);
}

/* All words of a region with owners, without control blocks where locks mean nothing. */
static inline aie_array aie_region_words(const aie_region *region)
{
    aie_array words = region->owners->words;
    words.controls = region->elsewhere ? NULL : words.controls;
    return words;
}

/* Give back what this process owns there, as it ends.  It keeps its row: a daemon thread may lease
 * until then. */
static inline void aie_region_give_back(const aie_region *region)
{
    aie_owners *owners = region->owners;
    uint32_t mine = owners == NULL ? 0 : aie_owners_mine(owners);
    if (mine == 0) {
        return;
    }
    aie_array words = aie_region_words(region);
    aie_late *late = &owners->late;
    size_t room = late->words == NULL ? aie_owners_list(&words, mine, NULL, words.count) : 0;
    if (room > 0 && (late->words = malloc(room * sizeof(*late->words))) != NULL) {
        late->count = aie_owners_list(&words, mine, late->words, room);
    }
    /* seq_cst: with the list, and before the walk; pairs with the load of aie_word_attempt. */
    atomic_store_explicit(&late->row, mine, memory_order_seq_cst);
    aie_owners_give_back(&words, mine);
}

/* Nobody here uses the region: whether this process owns a word of it that matters to somebody, being
 * not `alone` with it; else give its row up. */
static inline bool aie_region_is_owned(aie_region *region, bool alone)
{
    aie_owners *owners = region->owners;
    uint32_t mine = owners == NULL ? 0 : aie_owners_mine(owners);
    for (size_t i = 0; mine != 0 && !alone && i < owners->words.count; i++) {
        if (aie_word_owner(aie_word_load(aie_array_word(&owners->words, i))) == mine) {
            return true;
        }
    }
    if (mine != 0) {
        if (owners->page != NULL) {
            aie_life_end(owners->page);
        }
        else { /* pids tell */
            atomic_store_explicit(&owners->rows[mine], 0, memory_order_seq_cst);
        }
        aie_owners_none(owners);
    }
    return false;
}

/* Whether fd is a descriptor of the region's file: somebody may have closed it, and have something else
 * by its number. */
static inline bool aie_region_is(const aie_region *region, int fd)
{
    struct stat is;
    return fd >= 0 && fstat(fd, &is) == 0 && is.st_ino == region->is.st_ino
           && is.st_dev == region->is.st_dev;
}

static inline void aie_region_close(const aie_region *region, int fd)
{
    if (aie_region_is(region, fd)) {
        close(fd);
    }
}

/* Another descriptor of the region's file, with locks of its own; -1: there is no way to it. */
static inline int aie_region_opened(const aie_region *region)
{
    int fd = atomic_load_explicit(&region->descriptor, memory_order_relaxed);
    for (int attempt = 0; attempt < 2; attempt++) {
        char path[32];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        /* Asked before: to close what is somebody else's file would end this process's other locks
         * of it. */
        int opened = attempt > 0                 ? aie_name_open(region->name)
                     : aie_region_is(region, fd) ? open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)
                                                 : -1;
        if (aie_region_is(region, opened)) {
            return opened;
        }
        if (opened >= 0) {
            close(opened);
        }
    }
    return -1;
}

/* Root opens the file now: as another user, which it may become, it could not. */
static inline void aie_region_keep_spare(aie_region *region)
{
    int opened = aie_life_by_page && geteuid() == 0 ? aie_region_opened(region) : -1;
    region->spare = opened < 0 ? -1 : fcntl(opened, F_DUPFD_CLOEXEC, 3);
    if (opened >= 0) {
        close(opened);
    }
}

/* Of a segment with owners: keep a descriptor, to ask who lives though its name is gone. */
static inline void aie_region_keep_descriptor(aie_region *region, int fd)
{
    if (aie_life_by_page) {
        /* Not 0 to 2, which other code takes for what they are to everybody. */
        atomic_store_explicit(&region->descriptor, fcntl(fd, F_DUPFD_CLOEXEC, 3),
                              memory_order_relaxed);
    }
    aie_region_keep_spare(region);
}

static inline void aie_region_free(aie_region *region)
{
    aie_region_close(region, atomic_load_explicit(&region->descriptor, memory_order_relaxed));
    aie_region_close(region, region->spare);
    if (region->owners != NULL && region->owners->mine != &region->owners->here) {
        aie_life_end((void *)region->owners->mine); /* a page as well */
    }
    munmap(region->base, region->size);
    if (region->owners != NULL) {
        free(region->owners->late.words);
    }
    free(region->owners);
    free(region);
}

/* ------------------------------------------------------------------ the end of a region */

/* Stop answering for the name, and remove it if nobody else answers; the memory stays mapped.  True if
 * it certainly is nobody else's. */
static inline bool aie_region_let_go(aie_region *region)
{
    aie_answer answer = region->answer;
    region->answer = AIE_ANSWER_NOT;
    if (region->until != 0) {
        region->until = 0;
        aie_regions_lingering(-1);
    }
    if (answer == AIE_ANSWER_NOT) {
        return false;
    }
    if (region->page != NULL) {
        aie_life_end(region->page);
        region->page = NULL;
    }
    AIE_POINT("end-unanswered");
    /* Who has a nameless one mapped answers for it, until somebody removes its name on request. */
    bool told = answer == AIE_ANSWER_NAMELESS && aie_life_by_page && region->owners != NULL
                && aie_name_is(region->name, &region->is);
    /* Where no lock tells, the creator alone removes it. */
    aie_life outcome = aie_life_remove_patiently(region->name, &region->is, aie_life_by_page,
                                                 aie_regions.namespace);
    return told && outcome == AIE_GONE;
}

/* Whether a thread of this process holds a lock in it.  In a child of fork none does. */
static inline bool aie_region_is_held(aie_region *region)
{
    while (region->left != NULL && aie_lock_depth_in_process(region->left->control) == 0) {
        aie_left *left = region->left;
        region->left = left->next;
        free(left);
    }
    return region->left != NULL;
}

/* Nobody uses it: let go of the name, or linger; and unmap what no lock holds. */
static inline void aie_region_unused(aie_region *region)
{
    if (region->pickled && region->answer != AIE_ANSWER_NOT && region->until == 0) {
        region->until = aie_now() + AIE_LINGER;
        aie_regions_lingering(1);
        return;
    }
    bool alone = aie_region_let_go(region);
    if (!aie_region_is_held(region) && !aie_region_is_owned(region, alone)) {
        aie_region **link = &aie_regions.first;
        while (*link != region) {
            link = &(*link)->next;
        }
        *link = region->next;
        aie_region_free(region);
    }
}

/* End what has lingered long enough, or has the name that is wanted. */
static inline void aie_regions_expire_locked(const char *wanted)
{
    int64_t now = aie_now();
    for (aie_region *region = aie_regions.first, *next; region != NULL; region = next) {
        next = region->next;
        if (region->until != 0
            && (region->until <= now || (wanted != NULL && strcmp(region->name, wanted) == 0))) {
            aie_region_unused(region);
        }
    }
}

/* ------------------------------------------------------------------ forks */

static inline void aie_fork_begins(void)
{
    pthread_mutex_lock(&aie_regions.mutex);
    aie_regions.held = aie_robust_list();
}

static inline void aie_fork_ends_in_parent(void)
{
    pthread_mutex_unlock(&aie_regions.mutex);
}

/* A child shares what exists.  It answers for what it inherits a page of; it holds no lock, and is in
 * another PID namespace, maybe. */
static inline void aie_regions_begin(void)
{
    aie_regions.pid = getpid();
    aie_regions.namespace = aie_pid_namespace();
    aie_regions.started = 0;
    aie_regions.created = aie_regions.swept = false;
    aie_regions.returning = 0;
    aie_regions.ending = false;
    for (aie_region *region = aie_regions.first, *next; region != NULL; region = next) {
        next = region->next;
        if (region->answer == AIE_ANSWER_NAMED || region->page == NULL) {
            region->answer = AIE_ANSWER_NOT;
            region->page = NULL; /* the child has none, or another one's there */
        }
        if (region->owners != NULL) {
            aie_owners_none(region->owners);
            aie_region_close(region, region->spare); /* the parent's */
            aie_region_keep_spare(region);
        }
        aie_region_place(region);
        if (region->users == 0 && region->until == 0) {
            aie_region_unused(region);
        }
    }
}

static inline void aie_fork_ends_in_child(void)
{
    aie_robust_list_empty(aie_regions.held);
    aie_regions_begin();
    pthread_mutex_unlock(&aie_regions.mutex);
}

static inline void aie_regions_lock(void)
{
    pthread_mutex_lock(&aie_regions.mutex);
    if (aie_regions.pid != getpid()) { /* the first call; or a raw clone, which runs no hooks */
        if (aie_regions.pid == 0) {
            aie_life_probe();
        }
        aie_regions_begin();
    }
}

static inline void aie_regions_unlock(void)
{
    pthread_mutex_unlock(&aie_regions.mutex);
}

/* At the end of the process: give back every word that it owns, let go of every name, whatever is
 * still in use, and look once for what others left.  Nothing is unmapped. */
static inline void aie_regions_end(void)
{
    aie_regions_lock();
    for (aie_region *region = aie_regions.first; region != NULL; region = region->next) {
        aie_region_give_back(region);
        (void)aie_region_let_go(region);
    }
    if (aie_regions.created && !aie_regions.swept) {
        aie_regions.swept = true;
        aie_life_sweep(AIE_SWEEP_LAST, aie_regions.namespace);
    }
    aie_regions_unlock();
}

/* As the library is loaded, while no other thread can fork: a child that was forked between the first
 * lock of the mutex and the hooks would find it taken.  atexit: for what no interpreter lets go of, in
 * a child of fork or with values in use. */
__attribute__((constructor)) static void aie_regions_load(void)
{
    pthread_atfork(aie_fork_begins, aie_fork_ends_in_parent, aie_fork_ends_in_child);
    atexit(aie_regions_end);
}

static inline bool aie_regions_linger(void)
{
    /* relaxed: what has just begun to linger is not late yet. */
    return atomic_load_explicit(&aie_regions.lingering, memory_order_relaxed) != 0;
}

static inline void aie_regions_expire(void)
{
    if (aie_regions_linger()) {
        aie_regions_lock();
        aie_regions_expire_locked(NULL);
        aie_regions_unlock();
    }
}

/* ------------------------------------------------------------------ users */

/* A user's object for a lock goes.  If the lock is held here, the memory stays mapped for it.  So who
 * acquires and releases counts nothing: it has such an object meanwhile. */
static inline void aie_region_leave_lock(aie_region *region, aie_control *control)
{
    if (region->elsewhere || aie_lock_depth_in_process(control) == 0) {
        return;
    }
    aie_regions_lock();
    aie_left *left = region->left;
    while (left != NULL && left->control != control) {
        left = left->next;
    }
    if (left == NULL && (left = malloc(sizeof(*left))) != NULL) {
        *left = (aie_left){region->left, control};
        region->left = left;
    }
    else if (left == NULL) {
        region->users++; /* for good: there is no memory to note why */
    }
    aie_regions_unlock();
}

/* One user more, of a region that has one. */
static inline void aie_region_hold(aie_region *region)
{
    aie_regions_lock();
    region->users++;
    aie_regions_unlock();
}

/* One user less. */
static inline void aie_region_drop(aie_region *region)
{
    aie_regions_lock();
    if (--region->users == 0) {
        aie_region_unused(region);
    }
    aie_regions_unlock();
}

/* A pickle of it may be on its way when its last user goes. */
static inline void aie_region_pickled(aie_region *region)
{
    /* relaxed: of a user, and when that one goes it has the mutex. */
    atomic_store_explicit(&region->pickled, true, memory_order_relaxed);
}

/* The control block of a word in it; NULL where locks mean nothing, in another PID namespace.  Asked
 * each time: a child of fork may be in another one than its parent. */
static inline aie_control *aie_region_control(const aie_region *region, void *control)
{
    return region->elsewhere ? NULL : control;
}

/* Remove the name now, if it still is this memory's; who has it mapped keeps it.  0, or an errno. */
static inline int aie_region_unlink(aie_region *region)
{
    aie_regions_lock();
    aie_life outcome =
        aie_life_remove_patiently(region->name, &region->is, false, aie_regions.namespace);
    int error = outcome == AIE_GONE ? 0 : outcome == AIE_UNDECIDED ? EBUSY : errno;
    if (error == 0) {
        (void)aie_region_let_go(region);
    }
    aie_regions_unlock();
    return error;
}

/* The region of that memory, with one user more; NULL if there is none. */
static inline aie_region *aie_region_known(const struct stat *is)
{
    aie_region *region = aie_regions.first;
    /* Where shared memory has no inode (macOS) there is nothing to tell two of them apart by. */
    while (region != NULL
           && (is->st_ino == 0 || region->is.st_dev != is->st_dev
               || region->is.st_ino != is->st_ino)) {
        region = region->next;
    }
    if (region != NULL) {
        region->users++;
        if (region->until != 0) {
            region->until = 0;
            aie_regions_lingering(-1);
        }
    }
    return region;
}

/* Map all of fd's memory; NULL with errno. */
static inline aie_region *aie_region_new(const char *name, int fd, const struct stat *is,
                                         size_t size)
{
    aie_region *region = calloc(1, sizeof(*region));
    if (region == NULL) {
        return NULL;
    }
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        free(region);
        return NULL;
    }
    *region = (aie_region){.next = aie_regions.first,
                           .is = *is,
                           .base = base,
                           .size = size,
                           .users = 1,
                           .descriptor = -1,
                           .spare = -1};
    snprintf(region->name, sizeof(region->name), "%s", name);
    aie_regions.first = region;
    return region;
}
