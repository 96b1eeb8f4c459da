/* claims.pml -- three workers share two jobs and two rows, and two of them may be killed at any
 * step.
 *
 * Each takes a row, claims what is PENDING, commits it, and gives back what dead ones left, until
 * all is DONE.  The third gets a row only after one of the others has ended: rows are used again.  A
 * supervisor, who lives on, sets RUNNING where it is RUNNING, which leaves the claim the claimer's.
 *
 * With NAMES the same, without the supervisor, on a system that has no locks that end with a
 * process.
 *
 * With LEAVING process 1 is at its exit: a thread gives back what bears the process's row, once, and
 * then ends the process, while another, a daemon, still claims and commits by that row.  Its commit
 * looks at the process's own flag between load and CAS, and stops.  Two workers, one of whom may be
 * killed.
 *
 * Shown: who claimed and lives still has its claim as it commits (but who is at its exit may have
 * lost it, and knows); each job is committed exactly once; nothing stays RUNNING; no process uses a
 * row that a dead one's word bears.
 * What is left out: see owners.pml.  Nobody holds a value's lock, and nobody calls own().
 */
#define PROCESSES 5
#include "owners.pml"

byte committed[WORDS];

#define all_done (VALUE(word[0]) == DONE && VALUE(word[1]) == DONE)

inline claim(n)
{
#ifdef FAULT_TWO_STEPS
    atomic {
        if
        :: word[n] == seen -> word[n] = NEXT_VERSION(seen) | RUNNING; answers[n] = me; wrote = true
        :: else
        fi;
        seen = word[n]
    };
    if
    :: wrote -> word[n] = word[n] | AT_ROW(row)
    :: else
    fi
#else
    atomic { cas_write(n, RUNNING, false) }
#endif
}

inline cas_commit(n)
{
    assert(answers[n] == me);
    cas_write(n, DONE, false);
    committed[n] = committed[n] + wrote;
    assert(committed[n] <= 1)
}

/* compare_and_set(RUNNING, DONE) */
inline commit(n)
{
    atomic { wrote = false; seen = word[n]; assert(VALUE(seen) == RUNNING && answers[n] == me) };
    do
    :: atomic { !wrote -> cas_commit(n) }
    :: atomic { wrote -> seen = 0; wrote = false; break }
    od
}

proctype worker(byte me)
{
    LOCALS;
    {
        take_row();
        do
        :: atomic { all_done -> break }
        :: atomic {
               if
               :: VALUE(word[0]) == PENDING || is_left(0) -> number = 0
               :: VALUE(word[1]) == PENDING || is_left(1) -> number = 1
               fi;
               seen = word[number]
           };
           if
           :: VALUE(seen) == PENDING ->
              claim(number);
              if
              :: wrote -> commit(number)
              :: atomic { !wrote -> seen = 0 }
              fi
           :: atomic { VALUE(seen) != PENDING -> seen = 0 };
              give_back(number)
           fi
        od;
        end(me)
    } MAY_DIE
}

/* Who only confirms: the claim stays the claimer's. */
proctype supervisor(byte me)
{
    LOCALS;
    row = 3;
    set_same(0, RUNNING);
end_supervising:
    false
}

#ifdef LEAVING

bool leaving; /* process 1's own memory */

inline look_at_flag()
{
    if
    :: atomic { leaving -> seen = 0; goto end_stopped }
    :: !leaving
    fi
}

/* compare_and_set(RUNNING, DONE), by a thread whose claim the other may have given back */
inline commit_or_stop(n)
{
    do
    :: atomic { wrote -> wrote = false; seen = 0; break }
    :: !wrote ->
#ifdef FAULT_FLAG_FIRST
       look_at_flag();
#endif
       seen = word[n];
#if !defined(FAULT_FLAG_FIRST) && !defined(FAULT_FLAG_IGNORED)
       look_at_flag();
#endif
       atomic {
           if
           :: VALUE(seen) == RUNNING && word[n] == seen -> cas_commit(n)
           :: VALUE(seen) == RUNNING && word[n] != seen -> seen = 0
           :: VALUE(seen) != RUNNING -> seen = 0; break
           fi
       }
    od
}

proctype daemon(byte me)
{
    LOCALS;
    {
        row = 1;
        do
        :: atomic {
               if
               :: VALUE(word[0]) == PENDING -> number = 0
               :: VALUE(word[1]) == PENDING -> number = 1
               fi;
               seen = word[number]
           };
           if
           :: VALUE(seen) == PENDING -> claim(number)
           :: VALUE(seen) != PENDING
           fi;
           if
           :: wrote -> atomic { wrote = false; seen = 0 }; commit_or_stop(number)
           :: atomic { !wrote -> seen = 0 }
           fi
        od;
end_stopped:
        false
    } MAY_DIE
}

proctype leaver(byte me)
{
    LOCALS;
    {
        row = 1;
        leaving = true;
        do
        :: atomic {
               number < WORDS && seen == 0 ->
               load(number);
               if
               :: ROW(seen) != row -> seen = 0; number++
               :: else
               fi
           }
        :: atomic {
               seen != 0 ->
               cas_back(number, answers[number] == me);
               if
               :: seen == 0 -> number++
               :: else -> seen = 0
               fi
           }
        :: atomic { number == WORDS -> number = 0; break }
        od;
#ifdef FAULT_ROW_FREED
        user[1] = NOBODY;
#endif
        end(me)
    } MAY_DIE
}

#endif

proctype killer()
{
    do
    :: end(1)
    :: end(2)
    :: break
    od
}

init {
    atomic {
#ifdef LEAVING
        user[1] = 1;
        run daemon(1);
        run leaver(1);
#else
        run worker(1);
#ifndef NAMES
        user[3] = 4;
        run supervisor(4);
#endif
#endif
        run worker(2);
        run worker(3);
        run killer()
    };
    timeout ->
    stranded = VALUE(word[0]) != DONE || VALUE(word[1]) != DONE;
    assert(!stranded)
}
