/* looking.pml -- who waits looks for a dead owner, as its wait begins and whenever it looks again.
 *
 * Process 1 has leased word 0.  It writes it once more under the value's lock, and then makes it
 * DONE without.  A waiter waits for DONE.  A claimer waits until the word is no longer RUNNING,
 * claims it if it is PENDING, and makes it DONE.  The first two may be killed at any step: process 1
 * with the lock, the waiter as it gives back.
 *
 * With AWAKE process 1 does nothing but die, there is a second waiter, nobody else dies, and who
 * sleeps looks again for a dead owner only: what others have done must come as a wake-up.
 *
 * Shown: nobody who lives hangs, so who waits comes to its goal; no wake-up is lost.
 * What is left out: see owners.pml, and protocol.pml for the wait itself.
 */
#define PROCESSES 5
#include "owners.pml"

#define is_met(w) ((goal >> VALUE(w)) & 1)
#define FOR(v) (1 << (v))

/* What a second look would find. */
#ifdef FAULT_OWNER_NOT_ASKED
#define finds_owner false
#else
#define finds_owner is_left(0)
#endif
#ifdef AWAKE
#define finds_more finds_owner
#else
#define finds_more (finds_owner || UPPER(word[0]) != UPPER(seen))
#endif

/* Leaves in `seen` what met the goal. */
inline wait_for(goal)
{
    give_back(0);
    seen = word[0];
    do
    :: atomic { is_met(seen) -> break }
    :: atomic {
           !is_met(seen) && !(seen & WAITERS) ->
           if
           :: word[0] == seen -> seen = seen | WAITERS; word[0] = seen
           :: else -> seen = word[0]
           fi
       }
    :: atomic {
           !is_met(seen) && (seen & WAITERS) ->
           if
           :: UPPER(word[0]) == UPPER(seen) -> asleep[me] = true
           :: else
           fi
       };
end_asleep:
       if
       :: atomic { !asleep[me] -> seen = word[0] }
#ifndef FAULT_NO_SECOND_LOOK
       :: atomic { asleep[me] && finds_more -> asleep[me] = false; seen = 0 };
#ifdef FAULT_OWNER_NOT_ASKED
          seen = word[0]
#else
          give_back(0);
          seen = word[0]
#endif
#endif
       fi
    od
}

proctype owner(byte me)
{
    LOCALS;
    {
        row = 1;
#ifndef AWAKE
        atomic { holder_of[0] == NOBODY -> holder_of[0] = me };
        enter(0);
        set(0, RUNNING);
        set(0, DONE);
#endif
        end(me)
    } MAY_DIE
}

proctype waiter(byte me)
{
    LOCALS;
    {
        wait_for(FOR(DONE));
        end(me)
    } MAY_DIE
}

proctype claimer(byte me)
{
    LOCALS;
    {
        take_row();
        wait_for(FOR(PENDING) + FOR(DONE));
        if
        :: VALUE(seen) == PENDING ->
           set(0, RUNNING);
           set(0, DONE)
        :: VALUE(seen) == DONE
        fi;
        end(me)
    } MAY_DIE
}

proctype killer()
{
    do
    :: end(1)
#ifndef AWAKE
    :: end(2)
#endif
    :: break
    od
}

init {
    atomic {
        user[1] = 1;
        word[0] = RUNNING | AT_ROW(1);
        answers[0] = 1;
        run owner(1);
        run waiter(2);
#ifdef AWAKE
        run waiter(3);
#endif
        run claimer(4);
        run killer()
    };
    timeout -> assert(!asleep[2] && !asleep[3] && !asleep[4])
}
