/* rows.pml -- a row is taken again, while others write its dead owner's words, hold their locks, and
 * give them back.
 *
 * Process 1 has row 1, owns word 0 and has leased word 1.  A writer without the lock writes word 0
 * three times; or with HELD a holder, who has row 2, writes it under its lock.  A newcomer takes a
 * row as soon as one is free, and leases one of the words by it.  Each of them may be killed at any
 * step.  Without HELD, where nobody waits for it, the newcomer may be stopped for good instead.  A
 * looker, who is neither, gives back what it finds, word after word.
 *
 * Shown: no process uses a row that a dead one's word bears, whatever fails on the way; nothing of a
 * living owner's is given back; nothing of a dead one's stays.
 * What is left out: see owners.pml.
 */
#define PROCESSES 6
#include "owners.pml"

bool stopped; /* the newcomer */

proctype owner(byte me)
{
    LOCALS;
    {
        row = 1;
        set(0, RUNNING);
        end(me)
    } MAY_DIE
}

proctype writer(byte me)
{
    LOCALS;
    {
        set(0, DONE);
        set(0, PENDING);
        set(0, DONE);
        end(me)
    } MAY_DIE
}

proctype holder(byte me)
{
    LOCALS;
    {
        atomic { holder_of[0] == NOBODY -> holder_of[0] = me };
        row = 2;
        enter(0);
        set(0, RUNNING);
        end(me)
    } MAY_DIE
}

proctype newcomer(byte me)
{
    LOCALS;
    {
        take_row();
        if
        :: set(0, RUNNING)
        :: set(1, RUNNING)
        fi;
        end(me)
    } unless { atomic { gone[me] || stopped -> CLEAR } }
}

proctype looker(byte me)
{
    LOCALS;
    {
end_looking:
        do
        :: is_left(0) || is_left(1) ->
           give_back(0);
           give_back(1);
           FORGET
        od
    } MAY_DIE
}

proctype killer()
{
    do
    :: end(1)
#ifdef HELD
    :: end(3)
#else
    :: end(2)
    :: stopped = true
#endif
    :: end(4)
    :: break
    od
}

init {
    atomic {
        user[1] = 1;
        user[2] = 3;
        word[0] = PENDING | OWNED | AT_ROW(1);
        word[1] = RUNNING | AT_ROW(1);
        answers[0] = 1;
        owned[0] = true;
        answers[1] = 1;
        run owner(1);
#ifdef HELD
        run holder(3);
#else
        run writer(2);
#endif
        run newcomer(4);
        run looker(5);
        run killer()
    };
    timeout ->
    stranded = gone[answers[0]] || gone[answers[1]];
    assert(!stranded)
}
