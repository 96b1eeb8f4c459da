/* protocol.pml -- the word, the lock and the sleep of csrc/, step by step: one Promela step for each
 * access of shared memory and each system call.  waiting.pml and killed.pml put processes over it.
 *
 * What is left out:
 * - Memory orders: every access is seq_cst in word.h, so steps in one order are all that there is.
 * - The version is 4 bits, and the models write fewer than 16 times: it never comes round.  In
 *   truth it does after 2^19 writes; a sleeper who is outpaced by exactly that many between its
 *   look and its sleep is left to the second look.
 * - A weak CAS that fails for no reason: it goes round its loop, where the model stands still.
 * - Re-entrance, and thread ids used again: a process acquires once, and its number is its own.
 * - Time.  A slice of the mutex, or a sleep, may end at any moment, but only where looking again
 *   finds something else: otherwise it comes back to where it was.  (With such rounds left in,
 *   nothing would ever stand still, and no hang would show.)
 * - Spinning: looks without an effect on anybody.
 *
 * A fault to plant is named by a macro, FAULT_...; run.py knows which, and what has to find it.
 */

/* ---- the word: value in bits 0-1, LOCKED, WAITERS, version in bits 4-7 */

#define VALUE(w) ((w) & 3)
#define LOCKED 4
#define WAITERS 8
#define VERSION(w) ((w) >> 4)
#define UPPER(w) ((w) >> 2) /* what the kernel compares: all but the value */
#ifdef FAULT_VERSION_KEPT
#define NEXT_VERSION(w) ((w) & 240)
#else
#define NEXT_VERSION(w) (((w) & 240) + 16)
#endif
#define SUCCESSOR(w, v) (NEXT_VERSION(w) | ((w) & LOCKED) | (v))

byte word;

/* ---- what really happened: no process looks at these, only the assertions do */

byte last_written;   /* the value of the last write */
byte writes;         /* how many */
byte inside;         /* who is inside the lock: from setting LOCKED to clearing it, or DIED_INSIDE */
bool owed;           /* an owner of the mutex died, and no explicit acquirer has been told */
bool dead[PROCESSES];

#define NOBODY 0
#define DIED_INSIDE 255

/* Neither a write, nor a lock, nor a sleeper undoes another's write or makes half of one. */
#ifdef FAULT_VERSION_KEPT
#define word_is_whole (VALUE(word) == last_written)
#else
#define word_is_whole (VALUE(word) == last_written && VERSION(word) == writes)
#endif

/* ---- park.h: a shared futex on the word's upper half.  Comparing and falling asleep is one step. */

bool asleep[PROCESSES];

inline futex_wake_all()
{
#ifndef FAULT_NO_WAKE
    d_step {
        byte one = 0;
        do
        :: one < PROCESSES -> asleep[one] = false; one++
        :: else -> break
        od;
        one = 0
    }
#else
    skip
#endif
}

/* ---- word.h: aie_word_attempt.  `held`: by the lock's holder, who does not stop at LOCKED.  With an
 * `expected` that is not ANY, a compare-and-set.  `wrote` tells, unless `locked_out`. */

#define ANY 9

inline cas(me, held, desired)
{
    atomic {
        if
        :: word == seen ->
           assert(word_is_whole);
           /* A writer without the lock never writes while somebody is inside, nor where somebody
            * died inside and nobody has repaired. */
           if
           :: held -> assert(inside == me)
           :: else -> assert(inside == NOBODY)
           fi;
           word = SUCCESSOR(seen, desired);
           last_written = desired;
           writes++;
           wrote = true;
           break
        :: else -> seen = word
        fi
    }
}

#define mismatch (expected != ANY && VALUE(seen) != expected)
#ifdef FAULT_LOCKED_IGNORED
#define stopped false
#else
#define stopped (!mismatch && !held && (seen & LOCKED))
#endif

inline attempt(me, held, expected, desired)
{
    atomic { wrote = false; locked_out = false; seen = word };
    do
    :: atomic { mismatch -> seen = 0; break }
    :: atomic { stopped -> locked_out = true; seen = 0; break }
#ifdef FAULT_WAKE_FIRST
    :: atomic { !mismatch && !stopped && (seen & WAITERS) -> futex_wake_all() };
       cas(me, held, desired)
    :: atomic { !mismatch && !stopped && !(seen & WAITERS) -> cas(me, held, desired) }
#else
    :: atomic { !mismatch && !stopped -> cas(me, held, desired) }
#endif
    od;
#ifndef FAULT_WAKE_FIRST
    if
    :: atomic { wrote && (seen & WAITERS) -> seen = 0; futex_wake_all() }
    :: atomic { !(wrote && (seen & WAITERS)) -> seen = 0 }
    fi
#endif
}

/* ---- lock.h: a robust mutex, the notes, LOCKED */

byte owner;          /* the mutex's, in the kernel's eyes; NOBODY: free */
bool owner_died;     /* the mutex says EOWNERDEAD to the next */
bool unrecoverable;  /* unlocked without having been made consistent: useless for good */
bool flag_abandoned;
byte note_holder;

#define mutex_is_free (owner == NOBODY && !unrecoverable)

inline take_mutex(me)
{
    owner = me; /* in one step with the caller's look at mutex_is_free */
    died = owner_died
}

/* With the mutex: aie_lock_enter. */
inline enter(me)
{
    if
    :: atomic { died -> died = false };
#ifndef FAULT_NO_FLAG
       flag_abandoned = true;
#endif
       note_holder = NOBODY;
#ifndef FAULT_INCONSISTENT
       owner_died = false
#else
       skip
#endif
    :: atomic {
           !died -> assert(note_holder == NOBODY) /* else it might take a dead one's for its own */
       }
    fi;
    note_holder = me;
    atomic { assert(inside == NOBODY || inside == DIED_INSIDE); word = word | LOCKED; inside = me }
}

inline clear_locked(me)
{
    atomic {
        word = word & ~LOCKED;
        if
        :: inside == me -> inside = NOBODY
        :: else
        fi;
        assert(word_is_whole)
    }
}

inline unlock_mutex()
{
    atomic {
        unrecoverable = owner_died;
        owner = NOBODY
    }
}

/* aie_lock_leave */
inline leave(me)
{
#ifdef FAULT_UNLOCK_FIRST
    note_holder = NOBODY;
    unlock_mutex();
    clear_locked(me)
#else
    clear_locked(me);
    note_holder = NOBODY;
    unlock_mutex()
#endif
}

/* aie_lock_take_report.  Exactly who is first after a death is told, and no one else. */
inline take_report()
{
    atomic {
        assert(flag_abandoned == owed);
#ifndef FAULT_FLAG_KEPT
        flag_abandoned = false;
#endif
        owed = false
    }
}

/* ---- the processes.  Each ends at once, wherever it is, when it is killed. */

/* Locals are cleared at both ends, and who has come to its end counts as dead, so that states which
 * differ in nothing that matters are one. */
#ifdef KILLED
#define MAY_DIE(clear) unless { atomic { dead[me] -> clear } }
#define END(clear) dead[me] = true
#else
#define MAY_DIE(clear)
#define END(clear) atomic { clear }
#endif

/* A store or a compare-and-set: aie_word_change, and locked_write.h as long as the word is locked. */
proctype writer(byte me; byte expected; byte desired)
{
    byte seen;
    bool wrote, locked_out, died;
    {
        skip;
again:
        attempt(me, false, expected, desired);
        if
        :: atomic { locked_out && mutex_is_free -> take_mutex(me) };
           enter(me);
#ifdef FAULT_WRITER_TAKES_REPORT
           flag_abandoned = false;
#endif
           attempt(me, true, expected, desired);
           leave(me)
        :: atomic { locked_out && !(word & LOCKED) -> goto again } /* a slice is over */
        :: !locked_out
        fi;
        END(seen = 0; wrote = false; locked_out = false)
    } MAY_DIE(seen = 0; wrote = false; locked_out = false; died = false)
}

/* `with value.get_lock(): value.set(desired)` */
proctype holder(byte me; byte desired)
{
    byte seen;
    bool wrote, locked_out, died;
    {
        atomic { mutex_is_free -> take_mutex(me) };
        enter(me);
        take_report();
        attempt(me, true, ANY, desired);
        leave(me);
        END(seen = 0; wrote = false)
    } MAY_DIE(seen = 0; wrote = false; died = false)
}

/* wait_for(goal): aie_await_sleeping, and again until the goal is met. */
byte goal_of[PROCESSES];

proctype sleeper(byte me)
{
    byte seen;
    {
        seen = word;
        do
        :: atomic { VALUE(seen) == goal_of[me] -> break }
        :: atomic {
               VALUE(seen) != goal_of[me] && !(seen & WAITERS) ->
#ifdef FAULT_ANNOUNCED_BY_STORE
               word = seen | WAITERS;
               seen = word;
#else
               if
               :: word == seen -> seen = seen | WAITERS; word = seen
               :: else -> seen = word
               fi;
#endif
               assert(word_is_whole)
           }
        :: atomic {
               VALUE(seen) != goal_of[me] && (seen & WAITERS) ->
               if
#ifdef FAULT_NO_COMPARE
               :: true -> asleep[me] = true
#else
               :: UPPER(word) == UPPER(seen) -> asleep[me] = true
               :: else
#endif
               fi
           };
end_asleep:
           if
           :: !asleep[me]
#ifdef SECOND_LOOK
           :: atomic { asleep[me] && UPPER(word) != UPPER(seen) -> asleep[me] = false }
#endif
           fi;
#ifdef FAULT_NO_SECOND_READ
           break
#else
           seen = word
#endif
        od;
        assert(VALUE(seen) == goal_of[me]);
        END(seen = 0)
    } MAY_DIE(seen = 0)
}

/* When nothing moves any more, nobody may be asleep whose goal is met.  (That all others have come
 * to their end is spin's own check: "invalid end state".) */
#define lost_wakeup(me) (asleep[me] && VALUE(word) == goal_of[me])
