/* lock.h -- the robust, re-entrant, process-shared lock of one value.
 *
 * The pthread mutex decides who is inside; LOCKED in the state word keeps out the writers that take
 * no lock; depth, flags and holder are notes about it:
 *
 *   mutex free,   LOCKED clear   nobody inside
 *   mutex taken,  LOCKED clear   just entered or about to leave: bare writers may still write
 *   mutex taken,  LOCKED set     inside: every other writer waits for the mutex
 *   owner dead,   any            the next to lock the mutex is told EOWNERDEAD and repairs
 *
 * csrc/README.md has each point where a holder may be killed, which AIE_POINT names here, and who
 * repairs what that leaves.
 */
#pragma once

#include "word.h"

/* The kernel walks at most 2,048 entries of a dead thread's robust list; past that a death would
 * strand the rest.  Half of it, since other code in the process may hold robust mutexes too. */
#define AIE_MAX_HELD 1024u

/* Whether the note names the calling thread, by its id: the pid beside it is for people.  0 names
 * nobody. */
static inline bool aie_lock_names(aie_control *control, uint32_t me)
{
    /* relaxed: only compared with the reader's own id, which only the reader itself writes; anybody
     * else's value, however stale, is not equal. */
    uint64_t holder = atomic_load_explicit(&control->fields.holder, memory_order_relaxed);
    return (uint32_t)holder == me;
}

static inline void aie_lock_set_depth(aie_control *control, uint32_t depth)
{
    /* relaxed, as the holder: written inside the mutex, whose lock and unlock order both for the
     * next holder. */
    atomic_store_explicit(&control->fields.depth, depth, memory_order_relaxed);
}

static inline void aie_lock_set_notes(aie_control *control, uint64_t holder, uint32_t depth)
{
    aie_lock_set_depth(control, depth);
    atomic_store_explicit(&control->fields.holder, holder, memory_order_relaxed);
}

static inline uint32_t aie_lock_depth(aie_control *control)
{
    /* relaxed: read by the holder, who wrote it; or by who only looks. */
    return atomic_load_explicit(&control->fields.depth, memory_order_relaxed);
}

/* After EOWNERDEAD, inside the mutex.  The flag first: whoever dies in the middle leaves the mutex
 * owner-dead again, and the next one repeats all of it. */
static inline void aie_lock_repair(aie_control *control)
{
    AIE_POINT("repair-begins");
    /* relaxed: read inside the mutex only. */
    atomic_fetch_or_explicit(&control->fields.flags, AIE_ABANDONED, memory_order_relaxed);
    aie_lock_set_notes(control, 0, 0);
    AIE_POINT("repair-noted");
    aie_mutex_consistent(&control->fields.mutex);
    AIE_POINT("repair-consistent");
}

/* What a pthread locking call's answer means; on success, enter. */
AIE_ALWAYS aie_result aie_lock_enter(aie_control *control, aie_word *word, aie_self *self,
                                     int error)
{
    uint32_t depth;
    switch (error) {
    case 0:
        depth = aie_lock_depth(control);
        if (depth > 0) {
            /* Inside the mutex, so it is this thread's own depth, and the mutex counts along, being
             * recursive.  A dead holder's would have come as EOWNERDEAD. */
            if (!aie_lock_names(control, self->thread)) {
                /* The child of a raw clone: its C library takes it for its parent. */
                pthread_mutex_unlock(&control->fields.mutex);
                return AIE_BROKEN;
            }
            aie_lock_set_depth(control, depth + 1);
            return AIE_OK;
        }
        break;
    case EOWNERDEAD:
        aie_lock_repair(control);
        break;
    case EBUSY:
    case ETIMEDOUT:
        return AIE_BUSY;
    case EAGAIN:
        return AIE_TOO_DEEP;
    default:
        return AIE_BROKEN;
    }
    AIE_POINT("acquire-mutex-taken");
    aie_lock_set_notes(control, (uint64_t)self->process << 32 | self->thread, 1);
    AIE_POINT("acquire-noted");
    self->held++;
    self->last = aie_forks_are_told ? control : NULL;
    /* seq_cst: pairs with the CAS of word.h.  A bare write is either before this in the word's own
     * order, or fails its CAS and sees LOCKED.  After a repair it may be set already. */
    atomic_fetch_or_explicit(word, AIE_LOCKED_BIT, memory_order_seq_cst);
    AIE_POINT("acquire-locked");
    return AIE_OK;
}

/* How often the lock is held by a thread of this process, for those who look; 0 if by none. */
static inline uint32_t aie_lock_depth_in_process(aie_control *control)
{
    /* relaxed: another thread's note may be gone by the time that this returns, in any order. */
    uint64_t holder = atomic_load_explicit(&control->fields.holder, memory_order_relaxed);
    return holder >> 32 == aie_self_get()->process ? aie_lock_depth(control) : 0;
}

static inline bool aie_lock_at_limit(aie_control *control, const aie_self *self)
{
    return self->held >= AIE_MAX_HELD && !aie_lock_names(control, self->thread);
}

AIE_ALWAYS aie_result aie_lock_try_by(aie_control *control, aie_word *word, aie_self *self)
{
    if (aie_lock_at_limit(control, self)) {
        return AIE_TOO_MANY;
    }
    return aie_lock_enter(control, word, self, pthread_mutex_trylock(&control->fields.mutex));
}

/* Never waits.  OK, BUSY, TOO_MANY, TOO_DEEP or BROKEN. */
static inline aie_result aie_lock_try(aie_control *control, aie_word *word)
{
    return aie_lock_try_by(control, word, aie_self_get());
}

/* Pauses between two looks at a lock: the first, and the most, which are about a microsecond.  Fewer
 * let two cores pass it to and fro after each use (1: half the rate); more first ones are late where
 * it is held for a microsecond (32: three quarters of the rate). */
#define AIE_FIRST_PAUSES 16
#define AIE_MOST_PAUSES 64

/* Look for a while, since the holder may leave sooner than this thread could fall asleep and be
 * woken.  As pthread_mutex_trylock. */
static inline int aie_lock_spin(aie_control *control, aie_word *word)
{
    int64_t until = aie_spin() > 0 ? aie_now() + aie_spin() : 0;
    int error = EBUSY;
    int pauses = AIE_FIRST_PAUSES;
    do {
        /* A dead holder's LOCKED stays set, and pthread_mutex_clocklock tells. */
        if (!(aie_word_load(word) & AIE_LOCKED_BIT)) {
            error = pthread_mutex_trylock(&control->fields.mutex);
        }
        /* More and more seldom: each look takes the cache line away from the holder. */
        for (int i = 0; i < pauses && error == EBUSY; i++) {
            aie_relax();
        }
        pauses = pauses < AIE_MOST_PAUSES ? pauses * 2 : AIE_MOST_PAUSES;
    } while (error == EBUSY && aie_now() < until);
    return error;
}

/* So long one waits before one is hungry; so long others step back at most. */
#define AIE_HUNGER (AIE_NS_PER_S / 100)
#define AIE_STEP_BACK (AIE_NS_PER_S / 1000)

/* Has somebody waited long?  The holder itself need not ask, and goes deeper. */
static inline bool aie_lock_is_wanted(aie_control *control, const aie_self *self)
{
    /* relaxed: a hint, that costs nobody more than a moment. */
    return atomic_load_explicit(&control->fields.flags, memory_order_relaxed) & AIE_HUNGRY
           && !aie_lock_names(control, self->thread);
}

/* As aie_lock_try, by one who waits if it is BUSY: it is so, too, if somebody has waited long. */
AIE_ALWAYS aie_result aie_lock_first(aie_control *control, aie_word *word)
{
    aie_self *self = aie_self_get();
    return aie_lock_is_wanted(control, self) ? AIE_BUSY : aie_lock_try_by(control, word, self);
}

/* Before one's first slice: leave the lock to who has waited long, but not for ever: that one may be
 * dead. */
static inline void aie_lock_step_back(aie_control *control, int64_t deadline)
{
    const aie_self *self = aie_self_get();
    int64_t until = aie_now() + AIE_STEP_BACK;
    until = until < deadline ? until : deadline;
    while (aie_lock_is_wanted(control, self) && aie_now() < until) {
        struct timespec pause = aie_timespec(AIE_STEP_BACK / 20);
        nanosleep(&pause, NULL);
    }
}

/* pthread's answer after a wait.  Who unlocks and locks again at once is faster than who is woken:
 * without hunger it could keep the others out for as long as it likes. */
static inline int aie_lock_queue(aie_control *control, aie_word *word, int64_t deadline)
{
    int error = aie_lock_spin(control, word);
    int64_t hungry = error == EBUSY ? aie_now() + AIE_HUNGER : 0;
    if (error == EBUSY) {
        error = aie_mutex_lock_until(&control->fields.mutex, hungry < deadline ? hungry : deadline);
    }
    if (error == ETIMEDOUT && hungry < deadline) {
        atomic_fetch_or_explicit(&control->fields.flags, AIE_HUNGRY, memory_order_relaxed);
        error = aie_mutex_lock_until(&control->fields.mutex, deadline);
    }
    if ((error == 0 || error == EOWNERDEAD)
        && atomic_load_explicit(&control->fields.flags, memory_order_relaxed) & AIE_HUNGRY) {
        atomic_fetch_and_explicit(&control->fields.flags, ~AIE_HUNGRY, memory_order_relaxed);
    }
    return error;
}

/* Waits until the monotonic `deadline` (ns) at most.  Not interrupted by signals: callers pass
 * slices (AIE_SLICE) and look at signals between them.  As aie_lock_try, BUSY once it is past. */
static inline aie_result aie_lock_until(aie_control *control, aie_word *word, int64_t deadline)
{
    aie_self *self = aie_self_get();
    if (aie_lock_at_limit(control, self)) {
        return AIE_TOO_MANY;
    }
    return aie_lock_enter(control, word, self, aie_lock_queue(control, word, deadline));
}

#define AIE_SLICE (AIE_NS_PER_S / 20) /* 50 ms: the longest that a signal waits to be looked at */

/* Leave the mutex for good, from inside. */
AIE_ALWAYS void aie_lock_leave(aie_control *control, aie_word *word)
{
    /* seq_cst: pairs with the CAS of word.h.  A bare writer that no longer sees LOCKED also sees
     * all that the holder wrote. */
    atomic_fetch_and_explicit(word, ~AIE_LOCKED_BIT, memory_order_seq_cst);
    AIE_POINT("release-unlocked");
    aie_lock_set_notes(control, 0, 0);
    AIE_POINT("release-noted");
    pthread_mutex_unlock(&control->fields.mutex);
    AIE_POINT("release-done");
}

/* Whether the calling thread holds the lock.  The note alone is not proof: ids are used again, and a
 * thread with a dead holder's id would take the note for its own.  The mutex knows.  What the thread
 * itself remembers saves asking it; but a second copy of this core in the process (native and cffi,
 * say) may have released it since, so it is no proof alone. */
AIE_ALWAYS bool aie_lock_is_of(aie_control *control, aie_word *word, const aie_self *self)
{
    uint32_t me = self->thread;
    if (!aie_lock_names(control, me)) {
        return false;
    }
    if (self->last == control) {
        return true;
    }
    int error = pthread_mutex_trylock(&control->fields.mutex);
    if (error == 0) {
        bool mine = aie_lock_names(control, me);
        pthread_mutex_unlock(&control->fields.mutex);
        return mine;
    }
    if (error == EOWNERDEAD) {
        aie_lock_repair(control);
        aie_lock_leave(control, word);
        return false;
    }
    return error == EAGAIN; /* its recursion counter is full: only the owner is told so */
}

static inline bool aie_lock_is_mine(aie_control *control, aie_word *word)
{
    return aie_lock_is_of(control, word, aie_self_get());
}

/* Undo one acquisition.  OK; or NOT_OWNER, which changes nothing. */
AIE_ALWAYS aie_result aie_lock_release(aie_control *control, aie_word *word)
{
    aie_self *self = aie_self_get();
    if (!aie_lock_is_of(control, word, self)) {
        return AIE_NOT_OWNER;
    }
    uint32_t depth = aie_lock_depth(control);
    if (depth > 1) {
        aie_lock_set_depth(control, depth - 1);
        pthread_mutex_unlock(&control->fields.mutex);
        return AIE_OK;
    }
    if (self->held > 0) { /* another copy of this core may have counted it */
        self->held--;
    }
    self->last = NULL;
    AIE_POINT("release-begins");
    aie_lock_leave(control, word);
    return AIE_OK;
}

/* Inside the lock, by an explicit acquire: did a holder die since the last report?  Clears it.  A
 * bare writer that repairs does not call this, so it cannot swallow the report. */
static inline bool aie_lock_take_report(aie_control *control)
{
    /* relaxed: inside the mutex, where alone it is set. */
    if (!(atomic_load_explicit(&control->fields.flags, memory_order_relaxed) & AIE_ABANDONED)) {
        return false;
    }
    atomic_fetch_and_explicit(&control->fields.flags, ~AIE_ABANDONED, memory_order_relaxed);
    return true;
}

/* 0, or pthread's error.  For the creator, before anybody else knows the segment. */
static inline int aie_control_init(aie_control *control)
{
    aie_lock_set_notes(control, 0, 0);
    atomic_store_explicit(&control->fields.flags, 0, memory_order_relaxed);
    return aie_mutex_init(&control->fields.mutex);
}

_Static_assert(AIE_MAX_HELD == 1024 && AIE_ROWS == 1024, "the texts below say so");

/* What an outcome that is neither success nor a plain answer means to a user. */
static inline const char *aie_result_text(aie_result result)
{
    switch (result) {
    case AIE_NOT_OWNER:
        return "release of a lock that this thread does not hold";
    case AIE_TOO_MANY:
        return "this thread holds 1024 of these locks already: with more, its death would leave "
               "some of them locked for good";
    case AIE_TOO_DEEP:
        return "this lock is acquired too many times by its holder";
    case AIE_FULL:
        return "1023 live processes own words of this segment already, which is as many as it can "
               "tell apart";
    case AIE_NO_ROW:
        return "the system gives this process nothing to show that it lives: no memory, no "
               "descriptor, or no way to the segment, whose name is gone";
    case AIE_ELSEWHERE:
        return "this value was created in another PID namespace, and its lock cannot be had here: "
               "two threads of equal ids could both own it; all but the lock works";
    default:
        return "the lock's shared memory is damaged: pthread reports an error";
    }
}
