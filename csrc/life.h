/* life.h -- the names of segments: who answers for one, whether anybody does, and their removal.
 *
 * What says that a process lives is a lock that the kernel keeps for it and that anybody can ask
 * for: an open-file-description lock on a byte of the segment's own file.
 *
 *   byte 0   read lock    somebody answers for the name; nobody: it is gone, whoever made it
 *            write lock   somebody is removing it, since it is gone
 *   byte 1   write lock   somebody is removing it
 *   2 + r    read lock    the owner of row r of the table of owners lives: owner.h
 *            write lock   somebody takes the row of one who does not
 *
 * The descriptor is closed at once.  A page of the file, PROT_NONE, mapped through the same open,
 * keeps the lock until the process ends or execs, or unmaps it.  With MADV_DONTFORK a child of fork
 * does not get it.  No PID is asked, so all of it holds in every PID namespace, and for zombies.
 *
 * Nobody waits for a lock here: what cannot be decided now is AIE_UNDECIDED, and the caller tries
 * again.  Of all these calls, but those that only ask, the caller holds the mutex of region.h: a child
 * forked in between would have the descriptor, and with it the lock.  (One of vfork has, until it execs: a name that is
 * dropped meanwhile waits for a sweep.)
 *
 * Where there are no such locks (AIE_LIFE_LOCKS 0; AIE_PRETEND_NO_LIFE_LOCKS), or where one ends with
 * its descriptor in spite of the page, the creator's pid and start time are asked instead, and every
 * doubt counts as alive.  The creator alone answers for the name, and nothing keeps two apart who
 * take over a dead one's.
 */
#pragma once

#include "sysfeatures.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "crash_point.h"
#include "layout.h"
#include "platform.h"

#if defined(__linux__) && !defined(AIE_PRETEND_NO_LIFE_LOCKS)
#define AIE_LIFE_LOCKS 1
#else
#define AIE_LIFE_LOCKS 0
#endif

#define AIE_PREFIX "intenum" /* of every name of ours; then '.' or '-' */
#define AIE_NAME_SIZE 32     /* with the slash before it, and the zero behind it: macOS's limit */
#define AIE_PATH_SIZE (sizeof("/dev/shm") + AIE_NAME_SIZE)

typedef enum {
    AIE_GONE,      /* nobody answers for the name, or it is no more */
    AIE_LIVES,     /* somebody does */
    AIE_UNDECIDED, /* somebody is removing it: look again */
    AIE_STRANGER   /* it is no segment of this user: never touched */
} aie_life;

/* Whether this system has such locks, and a page keeps one: see aie_life_probe. */
static bool aie_life_by_page = AIE_LIFE_LOCKS;

/* Set or ask for the lock of one byte: 0, or -1 with errno. */
static inline int aie_life_call(int fd, bool set, struct flock *lock)
{
#if AIE_LIFE_LOCKS
    int result = fcntl(fd, set ? F_OFD_SETLK : F_OFD_GETLK, lock);
    if (result == 0 || (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)) {
        return result;
    }
    aie_life_by_page = false; /* this system has none */
#else
    (void)fd, (void)set, (void)lock;
#endif
    return 0;
}

/* Take or leave a lock, without waiting. */
static inline bool aie_life_lock(int fd, int type, off_t byte)
{
    struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return aie_life_call(fd, true, &lock) == 0;
}

/* The byte of an owner's row. */
#define AIE_ROW_BYTE(row) (2 + (off_t)(row))

/* The lock that keeps a write lock from byte 0; F_UNLCK: none. */
static inline int aie_life_asked(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    int result = aie_life_call(fd, false, &lock);
    return !aie_life_by_page ? F_UNLCK : result == 0 ? lock.l_type : F_RDLCK;
}

/* Whether somebody has a read lock on the byte of that memory: 1, 0; or -1, fd is not that memory. */
static inline int aie_life_has(int fd, off_t byte, const struct stat *is)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    struct stat now;
#if AIE_LIFE_LOCKS
    int result = fd < 0 ? -1 : fcntl(fd, F_OFD_GETLK, &lock);
#else
    int result = -1;
#endif
    /* Behind it: who closes all descriptors may do so meanwhile, and another gets the number. */
    if (result != 0 || fstat(fd, &now) != 0 || now.st_dev != is->st_dev
        || now.st_ino != is->st_ino) {
        return -1;
    }
    return lock.l_type == F_RDLCK;
}

/* Keep the locks of fd though it is closed; `inherited`: by a child of fork, too.  NULL with errno. */
static inline void *aie_life_page(int fd, bool inherited)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_NONE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        return NULL;
    }
#ifdef MADV_DONTFORK
    if (!inherited && madvise(page, size, MADV_DONTFORK) != 0) {
        munmap(page, size);
        return NULL;
    }
#else
    (void)inherited;
#endif
    return page;
}

static inline void aie_life_end(void *page)
{
    munmap(page, (size_t)sysconf(_SC_PAGESIZE));
}

/* Find out whether a page keeps a lock here, before anybody is judged by it. */
static inline void aie_life_probe(void)
{
#if AIE_LIFE_LOCKS
    char path[32];
    int fd = memfd_create("life", MFD_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR | O_CLOEXEC);
    void *page = again >= 0 && aie_life_lock(fd, F_RDLCK, 0) ? aie_life_page(fd, true) : NULL;
    if (fd >= 0) {
        close(fd);
    }
    if (page != NULL) {
        aie_life_by_page = aie_life_by_page && aie_life_asked(again) == F_RDLCK;
        aie_life_end(page);
    }
    if (again >= 0) {
        close(again);
    }
#endif
}

/* The inode of the namespace of this process's PIDs; 0 where there is no such thing. */
static inline uint64_t aie_pid_namespace(void)
{
    struct stat is;
    return stat("/proc/self/ns/pid", &is) == 0 ? (uint64_t)is.st_ino : 0;
}

/* ------------------------------------------------------------------ names */

/* A descriptor of the shared memory of that name ("/intenum..."); -1 with errno.  Whatever stands
 * there, it neither blocks nor follows a link. */
static inline int aie_name_open(const char *name)
{
#if defined(__linux__)
    return shm_open(name, O_RDWR | O_NONBLOCK, 0);
#else
    return shm_open(name, O_RDWR, 0);
#endif
}

/* Whether the name leads to that memory. */
static inline bool aie_name_is(const char *name, const struct stat *is)
{
    struct stat now;
#if defined(__linux__)
    char path[AIE_PATH_SIZE];
    snprintf(path, sizeof(path), "/dev/shm%s", name);
    bool there = lstat(path, &now) == 0;
#else
    int fd = aie_name_open(name);
    bool there = fd >= 0 && fstat(fd, &now) == 0;
    if (fd >= 0) {
        close(fd);
    }
#endif
    return there && now.st_dev == is->st_dev && now.st_ino == is->st_ino;
}

/* The first bytes of a segment; what is not there is 0. */
static inline aie_header aie_head_of(int fd)
{
    union {
        aie_header header;
        unsigned char bytes[sizeof(aie_header)];
    } head;
    memset(&head, 0, sizeof(head));
    if (pread(fd, head.bytes, AIE_HEAD_SIZE, 0) < 0) {
        /* macOS reads shared memory by mapping it only. */
        void *page = mmap(NULL, sizeof(head), PROT_READ, MAP_SHARED, fd, 0);
        if (page != MAP_FAILED) {
            memcpy(head.bytes, page, AIE_HEAD_SIZE);
            munmap(page, sizeof(head));
        }
    }
    return head.header;
}

/* When a process started, in the system's own ticks; 0 if that is not known. */
static inline uint64_t aie_start_time(uint32_t pid)
{
    char path[32], text[1024];
    snprintf(path, sizeof(path), "/proc/%u/stat", (unsigned)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0) {
        close(fd);
    }
    text[size < 0 ? 0 : size] = 0;
    /* The name in parentheses may hold spaces and parentheses itself; 20 fields behind it. */
    char *at = strrchr(text, ')');
    for (int field = 0; at != NULL && field < 20; field++) {
        at = strchr(at + 1, ' ');
    }
    return at == NULL ? 0 : strtoull(at, NULL, 10);
}

/* Where no lock tells: whether the creator has ended.  A pid of another namespace tells nothing. */
static inline bool aie_creator_ended(const aie_header *head, uint64_t namespace)
{
    if (head->creator_pid == 0 || head->creator_pid > INT32_MAX
        || head->pid_namespace != namespace) {
        return false;
    }
    if (kill((pid_t)head->creator_pid, 0) != 0) {
        return errno == ESRCH;
    }
    uint64_t started = aie_start_time(head->creator_pid);
    return started != 0 && head->creator_start != 0 && started != head->creator_start;
}

/* Whether the memory is this user's, and a segment: complete, half made, or never filled. */
static inline bool aie_is_segment(const struct stat *is, const aie_header *head)
{
    static const unsigned char nothing[AIE_HEAD_SIZE];
    /* relaxed: nothing else is read by it. */
    uint64_t magic = atomic_load_explicit(&head->magic, memory_order_relaxed);
#if defined(__linux__)
    if (!S_ISREG(is->st_mode)) { /* elsewhere shared memory is no file */
        return false;
    }
#endif
    return is->st_uid == geteuid()
           && (magic == AIE_MAGIC || magic == AIE_MAGIC_UNFINISHED
               || memcmp(head, nothing, sizeof(nothing)) == 0);
}

/* ------------------------------------------------------------------ removing */

/* Remove the name, if it still is the memory behind fd; `gone`: only if nobody answers for it.
 * AIE_STRANGER with errno. */
static inline aie_life aie_life_remove_open(int fd, const char *name, const struct stat *is,
                                            bool gone, uint64_t namespace)
{
    aie_header head = aie_head_of(fd);
    if (!aie_is_segment(is, &head)) {
        errno = EPERM;
        return AIE_STRANGER;
    }
    int asked = gone ? aie_life_asked(fd) : F_UNLCK; /* it takes nothing, so lives on undisturbed */
    if (asked != F_UNLCK) {
        return asked == F_RDLCK ? AIE_LIVES : AIE_UNDECIDED;
    }
    if (gone && !aie_life_by_page && !aie_creator_ended(&head, namespace)) {
        return AIE_LIVES;
    }
    if (!aie_life_lock(fd, F_WRLCK, 1)) {
        return AIE_UNDECIDED;
    }
    AIE_POINT("remove-alone");
    if (gone && !aie_life_lock(fd, F_WRLCK, 0)) {
        aie_life_lock(fd, F_UNLCK, 1);
        return AIE_UNDECIDED;
    }
    AIE_POINT("remove-gone");
    int error = aie_name_is(name, is) && shm_unlink(name) != 0 ? errno : 0;
    AIE_POINT("remove-unlinked");
    aie_life_lock(fd, F_UNLCK, 1);
    if (gone) {
        aie_life_lock(fd, F_UNLCK, 0);
    }
    errno = error;
    return error == 0 || error == ENOENT ? AIE_GONE : AIE_STRANGER;
}

/* The same by name.  `only`: if it is that memory; NULL: whatever it is. */
static inline aie_life aie_life_remove(const char *name, const struct stat *only, bool gone,
                                       uint64_t namespace)
{
    if (only != NULL && !aie_name_is(name, only)) {
        return AIE_GONE;
    }
    int fd = aie_name_open(name);
    if (fd < 0) {
        return errno == ENOENT ? AIE_GONE : AIE_STRANGER;
    }
    struct stat is;
    aie_life outcome = AIE_STRANGER;
    if (fstat(fd, &is) == 0) {
        outcome = only != NULL && (only->st_dev != is.st_dev || only->st_ino != is.st_ino)
                      ? AIE_GONE
                      : aie_life_remove_open(fd, name, &is, gone, namespace);
    }
    int error = errno;
    close(fd);
    errno = error;
    return outcome;
}

/* How long one tries what somebody else's removal keeps one from. */
#define AIE_PATIENCE (AIE_NS_PER_S / 10)

static inline void aie_life_nap(void)
{
    struct timespec pause = aie_timespec(AIE_NS_PER_S / 1000);
    nanosleep(&pause, NULL);
}

/* The same, while it is undecided, but not for ever. */
static inline aie_life aie_life_remove_patiently(const char *name, const struct stat *only,
                                                 bool gone, uint64_t namespace)
{
    int64_t deadline = aie_now() + AIE_PATIENCE;
    aie_life outcome;
    while ((outcome = aie_life_remove(name, only, gone, namespace)) == AIE_UNDECIDED
           && aie_now() < deadline) {
        aie_life_nap();
    }
    return outcome;
}

static inline bool aie_is_our_name(const struct dirent *entry)
{
    size_t prefix = sizeof(AIE_PREFIX) - 1;
    return (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN)
           && strncmp(entry->d_name, AIE_PREFIX, prefix) == 0
           && (entry->d_name[prefix] == '.' || entry->d_name[prefix] == '-')
           && strlen(entry->d_name) < AIE_NAME_SIZE - 1;
}

/* Remove what is gone, in one look through the names that ends after `budget` ns.  It begins anywhere,
 * by the us, since a clock may tick by 16 ns: those behind others have their turn as well.  Where there
 * are no life locks it does nothing: names cannot be listed, or nothing tells at once. */
static inline void aie_life_sweep(int64_t budget, uint64_t namespace)
{
    int64_t now = aie_now(), deadline = now + budget;
    struct statvfs room;
    DIR *names = AIE_LIFE_LOCKS ? opendir("/dev/shm") : NULL;
    if (names == NULL) {
        return;
    }
    uint64_t count = statvfs("/dev/shm", &room) == 0 ? room.f_files - room.f_ffree : 0;
    uint64_t skip = ((uint64_t)now / 1024 + (uint64_t)getpid()) % (count + 1);
    char name[AIE_NAME_SIZE];
    for (int round = 0; round < (skip ? 2 : 1); round++) {
        const struct dirent *entry;
        for (uint64_t i = 0; (entry = readdir(names)) != NULL && (round == 0 || i < skip); i++) {
            bool asks = (round == 1 || i >= skip) && aie_is_our_name(entry);
            if (asks) {
                name[0] = '/';
                strcpy(name + 1, entry->d_name); /* it fits: see aie_is_our_name */
                (void)aie_life_remove(name, NULL, true, namespace);
            }
            if ((asks || i % 64 == 63) && aie_now() > deadline) {
                closedir(names);
                return;
            }
        }
        rewinddir(names);
    }
    closedir(names);
}
