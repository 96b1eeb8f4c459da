/* waiting.pml -- nobody is killed, and nobody looks a second time: every wake-up has to come from a
 * writer.
 *
 * Two sleepers with goals of their own, two writers without the lock (a store, and a
 * compare-and-set of what a sleeper does not wait for), who take the slow path where the word is
 * locked, and a holder, whose value is the second one's goal.
 *
 * Shown: no wake-up is lost; nobody writes beside the lock; no write is lost or torn; nobody is stuck.
 * What is left out: see protocol.pml.
 */
#define PROCESSES 6
#include "protocol.pml"

init {
    atomic {
        goal_of[1] = 1;
        goal_of[2] = 2;
        run sleeper(1);
        run sleeper(2);
        run writer(3, ANY, 1);
        run writer(4, 1, 2);
        run holder(5, 2)
    };
    timeout -> assert(!lost_wakeup(1) && !lost_wakeup(2))
}
