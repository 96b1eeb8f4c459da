/* killed.pml -- each process may be killed, all of them, each at any step; sleepers look again by
 * themselves.
 *
 * A sleeper, two writers without the lock (who take the slow path where the word is locked) and an
 * explicit acquirer; or with LOCKERS one such writer and three explicit acquirers.  A kill is one step: the process stops where it is, and the kernel marks the
 * robust mutex that it owns.  (In truth the kernel's walk comes a moment later; meanwhile the mutex
 * looks taken, as it does while its owner is merely slow.)
 *
 * Shown: whoever lives comes to an end, so nobody hangs and the lock recovers; nobody writes beside
 * the lock, nor over what a dead holder left before somebody has repaired; of the explicit acquirers the
 * first after a death is told of it, and only that one, whoever has repaired.
 * What is left out: see protocol.pml.
 */
#define PROCESSES 5
#define KILLED
#define SECOND_LOOK
#ifdef FAULT_NO_SECOND_LOOK
#undef SECOND_LOOK
#endif
#include "protocol.pml"

inline kill(victim)
{
    d_step {
        !dead[victim] ->
        dead[victim] = true;
        asleep[victim] = false;
        if
        :: owner == victim -> owner = NOBODY; owner_died = true; owed = true
        :: else
        fi;
        if
        :: inside == victim -> inside = DIED_INSIDE
        :: else
        fi
    }
}

proctype killer()
{
    do
    :: kill(1)
    :: kill(2)
    :: kill(3)
    :: kill(4)
    :: break
    od
}

init {
    atomic {
#ifdef LOCKERS
        run writer(1, ANY, 1);
        run holder(2, 2);
        run holder(3, 1);
        run holder(4, 0);
#else
        goal_of[1] = 1;
        run sleeper(1);
        run writer(2, ANY, 1);
        run writer(3, 2, 1);
        run holder(4, 2);
#endif
        run killer()
    };
    timeout -> assert(!lost_wakeup(1))
}
