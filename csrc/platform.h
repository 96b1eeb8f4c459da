/* platform.h -- what differs between systems, in one ladder: ids, monotonic clock, robust mutexes,
 * and locking one with a deadline.  Linux, macOS and FreeBSD; elsewhere it is an error.
 *
 * Build switches, so that every branch compiles and runs on Linux too:
 *   AIE_PRETEND_NO_ROBUST     as on macOS: a killed holder is not noticed
 *   AIE_PRETEND_NO_CLOCKLOCK  as on musl and macOS: trylock with back-off
 *   AIE_PRETEND_NO_SHARED_MUTEX  as on OpenBSD and NetBSD: the build is refused
 */
#pragma once

#include "sysfeatures.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <fcntl.h>

#if defined(__linux__)
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#elif defined(__FreeBSD__)
#include <pthread_np.h>
#endif

#if !defined(AIE_PRETEND_NO_ROBUST) && (defined(__linux__) || defined(__FreeBSD__))
/* Not by #ifdef PTHREAD_MUTEX_ROBUST: that is an enum in glibc, and always undefined to cpp. */
#define AIE_ROBUST 1
#else
#define AIE_ROBUST 0
#endif

#if !defined(AIE_PRETEND_NO_CLOCKLOCK) && defined(__linux__)
#define AIE_LOOK_FOR_CLOCKLOCK 1
#else
#define AIE_LOOK_FOR_CLOCKLOCK 0
#endif

#if defined(AIE_PRETEND_NO_SHARED_MUTEX) || !defined(_POSIX_THREAD_PROCESS_SHARED) \
    || _POSIX_THREAD_PROCESS_SHARED <= 0
/* OpenBSD and NetBSD.  A mutex that only seems to be shared keeps nobody out. */
#error "no mutex can be shared between processes here: the lock-based path must serve"
#endif

#define AIE_NS_PER_S INT64_C(1000000000)

/* Part of each frequent call, however often it stands elsewhere: a call would cost it a tenth. */
#define AIE_ALWAYS static inline __attribute__((always_inline))

/* The calling thread's id, which no other thread of the system has at the same time.  Never 0. */
static inline uint32_t aie_ask_thread_id(void)
{
#if defined(__linux__)
    return (uint32_t)syscall(SYS_gettid);
#elif defined(__FreeBSD__)
    return (uint32_t)pthread_getthreadid_np();
#elif defined(__APPLE__)
    uint64_t wide = 0;
    pthread_threadid_np(NULL, &wide);
    return (uint32_t)wide;
#else
#error "which call tells the thread's id, unique among all processes, is not known here"
#endif
}

/* What a thread knows of itself.  It asks the kernel once, since a call would take longer than all
 * the rest of taking a lock.  A child of fork asks anew. */
typedef struct {
    uint32_t thread;
    uint32_t process; /* 0: not asked yet */
    uint32_t held;    /* locks of this core that the thread holds */
    void *last; /* the one that it took last, if it holds that and if forks are told; or NULL */
} aie_self;

#if defined(__GLIBC__) && !defined(AIE_ANY_TLS)
/* One load: glibc keeps some room for the libraries that are loaded late.  musl keeps none. */
__attribute__((tls_model("initial-exec")))
#endif
static _Thread_local aie_self aie_self_here;

/* The pid; 0 in a child until a thread asks.  By a hook of fork; and where the kernel can wipe a page
 * as it forks, in a child that ran no hooks as well, as glibc's _Fork() makes them. */
static _Atomic uint32_t aie_process_by_hook;
static _Atomic uint32_t *aie_process = &aie_process_by_hook;
static bool aie_forks_are_told;

static void aie_process_forks(void)
{
    aie_self_here.process = 0;
    *aie_process = 0;
}

/* A page of zeros that the kernel makes so again in each child; NULL where it cannot. */
static inline void *aie_wiped_page(void)
{
#if defined(MADV_WIPEONFORK)
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return NULL;
    }
    /* Some emulators take any advice, and heed none. */
    if (madvise(page, size, -1) != 0 && madvise(page, size, MADV_WIPEONFORK) == 0) {
        return page;
    }
    munmap(page, size);
#endif
    return NULL;
}

/* As the library is loaded: no thread has asked before. */
__attribute__((constructor)) static void aie_process_load(void)
{
    void *page = aie_wiped_page();
    if (page != NULL) {
        aie_process = page;
        aie_forks_are_told = true;
    }
    pthread_atfork(NULL, NULL, aie_process_forks);
}

static inline aie_self *aie_self_get(void)
{
    aie_self *self = &aie_self_here;
    /* relaxed: a thread finds what itself stored, or the one that forked it. */
    uint32_t process = atomic_load_explicit(aie_process, memory_order_relaxed);
    if (__builtin_expect(process == 0 || self->process != process, 0)) {
        process = (uint32_t)getpid();
        *self = (aie_self){aie_ask_thread_id(), process, 0, NULL};
        atomic_store_explicit(aie_process, process, memory_order_relaxed);
    }
    return self;
}

/* For who looks at the threads of a process. */
static inline void aie_name_thread(const char *name)
{
#if defined(__linux__)
    prctl(PR_SET_NAME, name);
#else
    (void)name;
#endif
}

/* What an event loop reads, and a thread writes to: both without waiting.  False with errno. */
static inline bool aie_bell_open(int ends[2])
{
#if defined(__linux__) && !defined(AIE_PRETEND_NO_EVENTFD)
    ends[0] = ends[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return ends[0] >= 0;
#else
    if (pipe(ends) != 0) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
    return true;
#endif
}

/* Nanoseconds of a clock that nobody sets. */
static inline int64_t aie_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * AIE_NS_PER_S + now.tv_nsec;
}

/* Cores that this process may run on. */
static inline int aie_cores(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        return CPU_COUNT(&set);
    }
#endif
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

/* Tell the core that this thread spins. */
static inline void aie_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* How long a wait looks before it sleeps: 5 us, about what falling asleep and being woken costs; 0
 * on a single core, where the other could not run meanwhile.  Looked up once; tests set it. */
static _Atomic(int64_t) aie_spin_ns = -1;

static inline int64_t aie_spin(void)
{
    /* relaxed: a constant of the process; two lookups agree. */
    int64_t ns = atomic_load_explicit(&aie_spin_ns, memory_order_relaxed);
    if (ns < 0) {
        ns = aie_cores() > 1 ? 5000 : 0;
        atomic_store_explicit(&aie_spin_ns, ns, memory_order_relaxed);
    }
    return ns;
}

static inline struct timespec aie_timespec(int64_t ns)
{
    struct timespec value = {.tv_sec = (time_t)(ns / AIE_NS_PER_S),
                             .tv_nsec = (long)(ns % AIE_NS_PER_S)};
    return value;
}

/* 0, or what pthread says. */
static inline int aie_mutex_init(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attr;
    int error = pthread_mutexattr_init(&attr);
    if (error) {
        return error;
    }
    error = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    if (!error) {
        error = pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    }
#if AIE_ROBUST
    if (!error) {
        error = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    }
#endif
    if (!error) {
        error = pthread_mutex_init(mutex, &attr);
    }
    pthread_mutexattr_destroy(&attr);
    return error;
}

/* A fork's child holds none of the robust mutexes that its parent's thread holds.  glibc empties
 * the child's list of them; musl's child goes on with it, and as it locks one itself would write
 * into the parent's mutexes, in shared memory: the parent's own list would be wrong from then on,
 * and the kernel would not find what a killed parent held.  So it is emptied here: around fork,
 * call aie_robust_list() before, and aie_robust_list_empty() in the child. */
static inline void *aie_robust_list(void)
{
#if AIE_ROBUST && defined(__linux__) && !defined(__GLIBC__)
    void *head = NULL; /* the kernel's struct robust_list_head: a ring, by its first member */
    size_t size = 0;
    return syscall(SYS_get_robust_list, 0, &head, &size) == 0 ? head : NULL;
#else
    return NULL;
#endif
}

static inline void aie_robust_list_empty(void *head)
{
    if (head != NULL) {
        *(void **)head = head;
    }
}

static inline int aie_mutex_consistent(pthread_mutex_t *mutex)
{
#if AIE_ROBUST
    return pthread_mutex_consistent(mutex);
#else
    (void)mutex;
    return 0;
#endif
}

/* Where clocklock is missing: trylock, sleeping 1 us, 2 us, ... at most 1 ms between tries. */
static inline int aie_mutex_poll_until(pthread_mutex_t *mutex, int64_t deadline)
{
    int64_t nap = 1000;
    for (;;) {
        int error = pthread_mutex_trylock(mutex);
        if (error != EBUSY) {
            return error;
        }
        int64_t left = deadline - aie_now();
        if (left <= 0) {
            return ETIMEDOUT;
        }
        struct timespec pause = aie_timespec(nap < left ? nap : left);
        nanosleep(&pause, NULL);
        nap = nap < 500000 ? nap * 2 : 1000000;
    }
}

/* A function of the C library that not all have; NULL where it is missing.  Looked up at run time, so
 * that a binary built on a new one runs on an old one.  `found` is for this name alone. */
static inline void *aie_find(const char *name, _Atomic(void *) *found)
{
    /* relaxed: the looked-up address is a constant of the process; two lookups agree. */
    void *address = atomic_load_explicit(found, memory_order_relaxed);
    if (address == NULL) { /* not looked up yet */
        address = dlsym(RTLD_DEFAULT, name);
        if (address == NULL) {
            address = (void *)found; /* not there */
        }
        atomic_store_explicit(found, address, memory_order_relaxed);
    }
    return address == (void *)found ? NULL : address;
}

/* Lock the mutex, or ETIMEDOUT once the monotonic `deadline` (ns) is past.  The wall clock is no
 * substitute: a clock that is set would stretch or cut the wait. */
static inline int aie_mutex_lock_until(pthread_mutex_t *mutex, int64_t deadline)
{
#if AIE_LOOK_FOR_CLOCKLOCK
    static _Atomic(void *) found; /* not in glibc before 2.30, nor in musl */
    union {
        void *address;
        int (*call)(pthread_mutex_t *, clockid_t, const struct timespec *);
    } clocklock = {aie_find("pthread_mutex_clocklock", &found)}; /* ISO C has no such cast */
    if (clocklock.address != NULL) {
        struct timespec until = aie_timespec(deadline);
        return clocklock.call(mutex, CLOCK_MONOTONIC, &until);
    }
#endif
    return aie_mutex_poll_until(mutex, deadline);
}
