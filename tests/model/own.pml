/* own.pml -- own() and disown() against leases, against others' writes, and against deaths.
 *
 * Two processes own word 0, one after the other or one instead of the other.  Each writes it,
 * disowns it, and ends.  A supervisor, who has a row from the start, leases it by a write of RUNNING,
 * writes PENDING, and lives on.  They share two rows.  Each of the three may be killed at any step.
 * A looker, who is not killed, gives back.
 *
 * Shown: an owned word stays its owner's whoever writes it; what an owner or a leaser left is DEAD
 * if it was RUNNING, never before its death, and nobody's in the end; own() is refused only for a
 * living one.
 * What is left out: see owners.pml.  Nobody holds the value's lock.
 */
#define PROCESSES 5
#define MAPPED(v) (LEASES(v) -> DEAD : (v))
#include "owners.pml"

bool robbed; /* an owner's word bears another owner */
bool misled; /* own() was refused, and nobody who lives owned or leased the word */

/* It counts a version, so that no word with a row ever comes again: who read it before it was disowned
 * would give back what somebody else, by the same row, owns now. */
#ifdef FAULT_OWN_UNCOUNTED
#define OWNED_BY(w, r) (((w) & ~OWNER(w)) | OWNED | AT_ROW(r))
#else
#define OWNED_BY(w, r) (NEXT_VERSION(w) | ((w) & 15) | OWNED | AT_ROW(r))
#endif

inline cas_owner(n, new, who, is_owned)
{
    if
    :: word[n] == seen ->
       word[n] = new;
       answers[n] = who;
       owned[n] = is_owned;
       seen = 0;
       wrote = true
    :: else -> seen = word[n]
    fi
}

#define is_anothers (ROW(seen) != NOBODY && ROW(seen) != row)

/* `wrote` tells whether it is its own now.  It is refused for a row that is used, if the word is then still
 * the same: else that row may be another's since. */
inline own(n)
{
    atomic { seen = word[n]; wrote = false };
    do
    :: atomic { !wrote && !is_anothers -> cas_owner(n, OWNED_BY(seen, row), me, true) }
    :: atomic {
           !wrote && is_anothers ->
           if
           :: living(ROW(seen)) -> asked = (answers[n] != NOBODY && !gone[answers[n]] -> 1 : 2)
           :: else
           fi
       };
       if
       :: atomic {
              asked ->
#ifndef FAULT_REFUSED_AT_ONCE
              if
              :: word[n] != seen -> seen = word[n]; asked = 0; goto look
              :: else
              fi;
#endif
              misled = asked == 2;
              assert(!misled);
              asked = 0;
              seen = 0;
              break
          }
       :: atomic { !asked -> seen = 0 };
          give_back(n);
          seen = word[n]
       fi;
look:
       skip
    :: atomic { wrote -> break }
    od
}

inline disown(n)
{
    atomic { seen = word[n]; wrote = false };
    do
    :: atomic {
           !wrote ->
           robbed = !(seen & OWNED) || ROW(seen) != row;
           assert(!robbed);
           cas_owner(n, seen & ~OWNER(seen), NOBODY, false)
       }
    :: atomic { wrote -> wrote = false; break }
    od
}

proctype keeper(byte me)
{
    LOCALS;
    {
        take_row();
        own(0);
        if
        :: atomic { wrote -> wrote = false };
           set(0, RUNNING);
           disown(0)
        :: atomic { !wrote }
        fi;
        end(me)
    } MAY_DIE
}

proctype supervisor(byte me)
{
    LOCALS;
    {
        row = 2;
        set(0, RUNNING);
        set(0, PENDING);
end_supervising:
        false
    } MAY_DIE
}

proctype looker(byte me)
{
    LOCALS;
    {
end_looking:
        do
        :: is_left(0) -> give_back(0)
        od
    } MAY_DIE
}

proctype killer()
{
    do
    :: end(1)
    :: end(2)
    :: end(3)
    :: break
    od
}

init {
    atomic {
        user[2] = 3;
        run keeper(1);
        run keeper(2);
        run supervisor(3);
        run looker(4);
        run killer()
    };
    timeout ->
    stranded = gone[answers[0]];
    assert(!stranded)
}
