/* owners.pml -- who answers for a word, and who gives back what a dead one left: one Promela step
 * for each access of shared memory and each system call.  claims.pml, rows.pml, own.pml and
 * looking.pml put processes over it.
 *
 * A word names its owner by a row of the segment's table.  A row is a process's while the kernel
 * keeps a lock for it, which ends with the process and not before.  The lock is exclusive while the
 * row is being taken and shared once it is used, and who asks learns which: only a shared one is a
 * living owner's.
 *
 * With NAMES there are no such locks: a row is one word that names a process, and the next process
 * takes it by a CAS from a dead one's name.  Who gives back reads the name after the word, before
 * the CAS.
 *
 * What is left out:
 * - Memory orders, and a version that comes round: see protocol.pml.  The models write fewer than
 *   256 times.
 * - The value's lock but for its mutex, one step of repair, and LOCKED: the rest is protocol.pml's
 *   matter.
 * - Processes of one number: a number stands for pid and random number, and is not used again.
 * - Time.  Who waits, and who found no row to take, looks again only where it would find something
 *   else, so that a hang shows as standing still.
 * - own() and disown(), which are in own.pml, and waiting, which is in looking.pml.
 *
 * A fault to plant is named by a macro, FAULT_...; run.py knows which, and what has to find it.
 */
#define WORDS 2
#define ROWS 3 /* the third is given to who needs it from the start, and never taken */
#define NOBODY 0

/* ---- the members; which of them lease, and what each becomes when its owner dies */

#define PENDING 0
#define RUNNING 1
#define DONE 2
#define DEAD 3

#define LEASES(v) ((v) == RUNNING)
#ifndef MAPPED
#define MAPPED(v) (LEASES(v) -> PENDING : (v))
#endif

/* ---- the word: value in bits 0-1, LOCKED, WAITERS, OWNED, row in bits 5-6, version in bits 7-14 */

#define VALUE(w) ((w) & 3)
#define LOCKED 4
#define WAITERS 8
#define OWNED 16
#define ROW(w) (((w) >> 5) & 3)
#define AT_ROW(r) ((r) << 5)
#define OWNER(w) ((w) & (OWNED | AT_ROW(3)))
#define UPPER(w) ((w) >> 2) /* what the kernel compares: all but the value */
#define NEXT_VERSION(w) (((w) & ~127) + 128)

/* The owner after a write of v by who has row r.  `same`: by a compare-and-set to the member that is
 * there already. */
#ifdef FAULT_OWNER_DROPPED
#define KEEPS_OWNER(w, same) (same)
#elif defined(FAULT_SAME_LEASES)
#define KEEPS_OWNER(w, same) ((w) & OWNED)
#else
#define KEEPS_OWNER(w, same) (((w) & OWNED) || (same))
#endif
#ifdef FAULT_OWNER_KEPT
#define UNLEASED(w) OWNER(w)
#else
#define UNLEASED(w) 0
#endif
#define NEW_OWNER(w, v, same, r) \
    (KEEPS_OWNER(w, same) -> OWNER(w) : (LEASES(v) -> AT_ROW(r) : UNLEASED(w)))
#define SUCCESSOR(w, v, same, r) (NEXT_VERSION(w) | ((w) & LOCKED) | (v) | NEW_OWNER(w, v, same, r))

#ifdef FAULT_OWNED_KEPT
#define GIVEN_BACK(w) (NEXT_VERSION(w) | ((w) & (LOCKED | OWNED)) | MAPPED(VALUE(w)))
#else
#define GIVEN_BACK(w) (NEXT_VERSION(w) | ((w) & LOCKED) | MAPPED(VALUE(w)))
#endif

short word[WORDS];

/* ---- what really happened: no process looks at these, only the assertions do (and at `gone` the kernel) */

byte answers[WORDS];  /* who leased the word, or owns it */
bool owned[WORDS];    /* the latter */
bool gone[PROCESSES]; /* killed, or at its end */
bool stranded;        /* a dead one's word that nobody will give back any more */

/* ---- a value's lock: a robust mutex, and LOCKED */

byte holder_of[WORDS];
bool holder_died[WORDS];

/* With the mutex. */
inline enter(n)
{
    if
    :: holder_died[n] -> holder_died[n] = false
    :: atomic { !holder_died[n] }
    fi;
    atomic { word[n] = word[n] | LOCKED; inside = true }
}

inline leave(n)
{
    word[n] = word[n] & ~LOCKED;
    atomic { holder_of[n] = NOBODY; inside = false }
}

#define barred(w) (((w) & LOCKED) && !inside)
#define is_held(n) ((word[n] & LOCKED) && holder_of[n] != NOBODY)

/* ---- the table of rows */

#ifdef NAMES

byte name_of[ROWS + 1];
#ifdef FAULT_TWO_FIELDS
byte second_of[ROWS + 1]; /* written after the first */
#define name(r) (name_of[r] + 16 * second_of[r])
#define is_gone(who) (gone[(who) & 15] || ((who) >> 4) != ((who) & 15))
#else
#define name(r) name_of[r]
#define is_gone(who) gone[who]
#endif
#define living(r) (name_of[r] != NOBODY && !is_gone(name(r)))
#define can_be_taken(r) (!living(r))

#else

byte taker[ROWS + 1]; /* who has the exclusive lock */
byte user[ROWS + 1];  /* who has the shared one */
#ifdef FAULT_TAKER_LIVES
#define living(r) (user[r] != NOBODY || taker[r] != NOBODY)
#else
#define living(r) (user[r] != NOBODY)
#endif
#ifdef FAULT_LOCKED_PASSED
#define keeps_row(n, r) false
#else
#define keeps_row(n, r) (ROW(word[n]) == (r) && is_held(n))
#endif
#define can_be_taken(r) \
    (user[r] == NOBODY && taker[r] == NOBODY && !keeps_row(0, r) && !keeps_row(1, r))

#endif

/* ---- sleeping: a shared futex on the word's upper half */

bool asleep[PROCESSES];

inline wake_all()
{
    d_step {
        byte one = 0;
        do
        :: one < PROCESSES -> asleep[one] = false; one++
        :: else -> break
        od;
        one = 0
    }
}

/* ---- the processes.  Each ends at once, wherever it is, when it is killed.  Locals are cleared at both
 * ends, and where they no longer matter, so that states which differ in nothing that matters are one. */

#ifdef FAULT_ANSWER_KEPT
#define LOCALS short seen; byte row, number, asked, kept; bool wrote, inside
#define KEEP kept = ROW(seen)
#define FORGET kept = NOBODY
#define is_known (ROW(seen) == kept)
#else
#define LOCALS short seen; byte row, number, asked; bool wrote, inside
#define KEEP skip
#define FORGET skip
#define is_known false
#endif
#define CLEAR seen = 0; row = 0; number = 0; asked = 0; wrote = false; inside = false
#define MAY_DIE unless { atomic { gone[me] -> CLEAR } }

inline end_hold(victim, n)
{
    if
    :: holder_of[n] == victim -> holder_of[n] = NOBODY; holder_died[n] = true
    :: else
    fi
}

inline end_row(victim, r)
{
#ifdef NAMES
    skip
#else
    if
    :: user[r] == victim -> user[r] = NOBODY
    :: taker[r] == victim -> taker[r] = NOBODY
    :: else
    fi
#endif
}

/* The end of a process, killed or not: the kernel ends its locks. */
inline end(victim)
{
    d_step {
        !gone[victim] ->
        gone[victim] = true;
        asleep[victim] = false;
        end_hold(victim, 0);
        end_hold(victim, 1);
        end_row(victim, 1);
        end_row(victim, 2)
    }
}

/* ---- writing.  A CAS compares with `seen`, and leaves there what it found where it failed. */

inline cas_write(n, v, same)
{
    if
    :: word[n] == seen ->
       word[n] = SUCCESSOR(seen, v, same, row);
       if
       :: owned[n] || (same)
       :: else -> answers[n] = (LEASES(v) -> me : NOBODY)
       fi;
       wrote = true
    :: else -> seen = word[n]
    fi
}

/* compare_and_set(v, v), without the lock */
inline set_same(n, v)
{
    atomic { seen = word[n]; wrote = false };
    do
    :: atomic { VALUE(seen) == v && !wrote -> cas_write(n, v, true) }
    :: atomic { VALUE(seen) != v || wrote -> seen = 0; wrote = false; break }
    od
}

/* A store, by the lock's holder or by anybody.  The lock is free after it. */
inline set(n, v)
{
    atomic { seen = word[n]; wrote = false };
    do
    :: atomic { !wrote && !barred(seen) -> cas_write(n, v, false) }
    :: atomic { !wrote && barred(seen) && holder_of[n] == NOBODY -> holder_of[n] = me };
       enter(n);
       seen = word[n]
    :: atomic { !wrote && barred(seen) && !(word[n] & LOCKED) -> seen = word[n] } /* a slice is over */
    :: atomic { wrote && (seen & WAITERS) -> seen = 0 };
       wake_all()
    :: atomic { wrote && !(seen & WAITERS) -> seen = 0; wrote = false; break }
    od;
    if
    :: inside -> leave(n)
    :: atomic { !inside }
    fi
}

/* ---- giving back */

/* `seen` is 0 for a word that bears no row. */
inline load(n)
{
    seen = word[n];
    if
    :: ROW(seen) == NOBODY -> seen = 0
    :: else
    fi
}

#define must_wake (seen == WAITERS)

/* Leaves 0, or WAITERS if somebody sleeps; or where it failed what it found. */
inline cas_back(n, rightly)
{
    if
    :: word[n] == seen ->
       assert(answers[n] != NOBODY);
       assert(rightly);
       word[n] = GIVEN_BACK(seen);
       answers[n] = NOBODY;
       owned[n] = false;
#ifdef FAULT_NOBODY_WOKEN
       seen = 0
#else
       seen = seen & WAITERS
#endif
    :: else -> load(n)
    fi
}

/* Leaves 1 in `asked` if no living process uses the row, else nothing to do: 0 in `seen`. */
inline ask()
{
#ifdef NAMES
    asked = name(ROW(seen));
    atomic {
        if
        :: is_gone(asked) -> asked = 1
        :: else -> asked = 0; seen = 0
        fi
    }
#else
    atomic {
        if
        :: is_known -> asked = 1
        :: !is_known && living(ROW(seen)) -> seen = 0
        :: else -> asked = 1; KEEP
        fi
    }
#endif
}

#ifdef FAULT_NOT_ASKED_AGAIN
#define CAS_IS_OVER skip
#else
#define CAS_IS_OVER asked = 0
#endif
#ifdef FAULT_NOT_ASKED_INSIDE
#define IS_INSIDE skip
#else
#define IS_INSIDE asked = 0
#endif

/* What a look finds. */
#define is_left(n) (ROW(word[n]) != NOBODY && !living(ROW(word[n])) && !is_held(n))

#define bears_row (ROW(seen) != NOBODY)

/* By anybody: the word first, then its row, then the CAS of the whole word; and from the start where that
 * fails, or where the lock had to be taken in between. */
inline give_back(n)
{
    atomic { load(n) };
    do
    :: bears_row && !asked ->
       ask();
#ifdef FAULT_ASKED_FIRST
       atomic {
           if
           :: asked && ROW(seen) == ROW(word[n]) -> seen = word[n]
           :: asked && ROW(seen) != ROW(word[n]) -> seen = 0
           :: !asked
           fi
       }
#endif
    :: atomic {
           bears_row && asked && barred(seen) ->
           if
           :: holder_of[n] == NOBODY -> holder_of[n] = me
           :: else -> seen = 0; asked = 0; break /* for the next look */
           fi
       };
       enter(n);
       atomic { load(n); IS_INSIDE }
    :: atomic { bears_row && asked && !barred(seen) -> cas_back(n, gone[answers[n]]); CAS_IS_OVER }
    :: atomic { must_wake -> seen = 0 };
       wake_all()
    :: atomic { seen == 0 && inside };
       leave(n)
    :: atomic { seen == 0 && !inside -> asked = 0; break }
    od
}

/* ---- taking a row: its lock, a walk that leaves no word of it, and then its use.  Where another process
 * holds a word's lock, or took the row first, all of it begins again. */

/* `seen` is 0 for a word that does not bear the row.  The walk is past it then. */
inline walk_past()
{
    if
    :: ROW(seen) == row || must_wake
    :: else ->
       seen = 0;
       if
       :: !inside -> number++
       :: else
       fi
    fi
}

inline walk_back()
{
    cas_back(number, gone[answers[number]]);
#ifdef FAULT_WALK_ONCE
    seen = seen & WAITERS;
#endif
    walk_past()
}

inline let_go()
{
#ifndef NAMES
    taker[row] = NOBODY;
#endif
    seen = 0;
    row = 0;
    number = 0;
    asked = 0
}

inline use_row()
{
    number = 0;
    asked = 0;
    stranded = ROW(word[0]) == row || ROW(word[1]) == row;
    assert(!stranded)
}

#define bears_mine (ROW(seen) == row)

inline take_row()
{
    skip;
again:
    if
#ifdef NAMES
    :: atomic { can_be_taken(1) -> row = 1; asked = name(1) }
    :: atomic { can_be_taken(2) -> row = 2; asked = name(2) }
#else
    :: atomic { can_be_taken(1) -> row = 1; taker[1] = me }
    :: atomic { can_be_taken(2) -> row = 2; taker[2] = me }
#endif
    fi;
#ifdef FAULT_NO_WALK
    number = WORDS;
#endif
#ifdef FAULT_LOCKED_PASSED
walk:
#endif
    do
    :: atomic { seen == 0 && !inside && number < WORDS -> load(number); walk_past() }
    :: atomic {
           bears_mine && barred(seen) ->
           if
           :: holder_of[number] == NOBODY -> holder_of[number] = me
#ifdef FAULT_LOCKED_PASSED
           :: else -> seen = 0; number++; goto walk
#else
           :: else -> let_go(); goto again
#endif
           fi
       };
       enter(number);
       atomic { load(number); walk_past() }
#ifdef NAMES
    :: atomic {
           bears_mine && !barred(seen) ->
#ifndef FAULT_UNCONFIRMED
           if
           :: name(row) != asked -> let_go(); goto again
           :: else
           fi
#endif
       };
       atomic { walk_back() }
#else
    :: atomic { bears_mine && !barred(seen) -> walk_back() }
#endif
    :: atomic { must_wake -> seen = 0 };
       wake_all();
       atomic { walk_past() }
    :: atomic { seen == 0 && inside };
       leave(number);
       number++
    :: atomic { seen == 0 && number == WORDS -> break }
    od;
#ifdef NAMES
    atomic {
        if
        :: name(row) != asked -> let_go(); goto again
        :: else -> name_of[row] = me; use_row()
        fi
    };
#ifdef FAULT_TWO_FIELDS
    second_of[row] = me
#else
    skip
#endif
#else
    atomic { taker[row] = NOBODY; user[row] = me; use_row() }
#endif
}
