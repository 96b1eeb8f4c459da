/* event.pml -- watching all words of a segment by its one event word: bit 0 armed, the rest a sequence.
 *
 * A watcher arms the event word by fetch-or, reads the words one by one, and sleeps on the very
 * value that its fetch-or left.  A writer loads the event word after its write, and if it is armed
 * advances and disarms it by one CAS, which is not tried again, and wakes all.  Where that CAS fails
 * the model lets it wake or not: either will do.
 *
 * Two words; a watcher for any (one word that is 1) and one for all; two writers, one of which takes its
 * word back and sets it again.  With KILLED both write once, each process may be killed at any step,
 * and watchers look again by themselves.
 *
 * With LEFT_BEHIND too there is one watcher, who may be killed at any step, four writes follow in any
 * order, and a writer whose CAS fails wakes nobody.
 *
 * Shown: no wake-up is lost (with KILLED: nobody who lives hangs); nobody returns without its goal;
 * with LEFT_BEHIND, a watcher that is gone, killed or not, costs one wake-up at most: after its end only
 * one writer's CAS finds the event word armed.
 * What is left out: the state words' own bits, which are protocol.pml's matter; the sequence does not
 * come round; time, as in protocol.pml: a watcher looks again where it would find something else.
 */
#define PROCESSES 5
#define ARMED 1

#ifdef LEFT_BEHIND
#define KILLED
#endif

/* As in protocol.pml. */
#ifdef KILLED
#define MAY_DIE(clear) unless { atomic { dead[me] -> clear } }
#define END(clear) dead[me] = true
#else
#define MAY_DIE(clear)
#define END(clear) atomic { clear }
#endif

bool value[2];
byte event;
bool asleep[PROCESSES];
bool dead[PROCESSES];
byte need_of[PROCESSES]; /* how many words have to be 1 */

#ifdef LEFT_BEHIND
byte needless; /* wake-ups decided on when the watcher was gone */
#define COUNT_NEEDLESS \
    if \
    :: dead[1] -> needless = needless + 1; assert(needless <= 1) \
    :: else \
    fi
#else
#define COUNT_NEEDLESS skip
#endif

#define goal_met(me) (value[0] + value[1] >= need_of[me])

inline scan()
{
    found = value[0];
    found = found + value[1]
}

proctype watcher(byte me)
{
    byte armed, found;
    {
        do
        :: true ->
#ifdef FAULT_SCAN_FIRST
           scan();
#endif
           atomic { event = event | ARMED; armed = event };
#ifndef FAULT_SCAN_FIRST
           scan();
#endif
           if
           :: found >= need_of[me] -> break
           :: found < need_of[me]
           fi;
#ifdef FAULT_RELOADED
           armed = event;
#endif
           atomic {
               found = 0;
               if
#ifdef FAULT_NO_COMPARE
               :: true -> asleep[me] = true
#else
               :: event == armed -> asleep[me] = true
               :: else
#endif
               fi
           };
end_asleep:
           if
           :: !asleep[me]
#if defined(KILLED) && !defined(FAULT_NO_SECOND_LOOK)
           :: asleep[me] && (event != armed || goal_met(me)) -> asleep[me] = false
#endif
           fi;
#ifdef FAULT_NO_SECOND_READ
           break
#endif
        od;
        assert(found >= need_of[me]);
        END(found = 0; armed = 0)
    } MAY_DIE(found = 0; armed = 0)
}

inline wake_all()
{
#ifndef FAULT_NO_WAKE
    d_step { asleep[1] = false; asleep[2] = false }
#else
    skip
#endif
}

inline load_event()
{
    seen = event
}

inline write(number, new)
{
#ifdef FAULT_EVENT_LOADED_FIRST
    load_event();
#endif
    value[number] = new;
#ifndef FAULT_EVENT_LOADED_FIRST
    load_event();
#endif
    if
    :: atomic {
           seen & ARMED ->
           if
           :: event == seen ->
#if defined(FAULT_NOT_ADVANCED)
              event = seen & ~ARMED;
#elif defined(FAULT_NOT_DISARMED)
              event = seen + 2;
#else
              event = (seen & ~ARMED) + 2;
#endif
              won = true;
              COUNT_NEEDLESS
           :: else -> won = false
           fi;
           seen = 0
       };
       if
#if !defined(LEFT_BEHIND)
       :: atomic { won = false; wake_all() }
#elif defined(FAULT_LOSER_WAKES)
       :: atomic {
              if
              :: !won -> COUNT_NEEDLESS
              :: else
              fi;
              won = false;
              wake_all()
          }
#else
       :: atomic { won -> won = false; wake_all() }
#endif
       :: !won
       fi
    :: atomic { !(seen & ARMED) -> seen = 0 }
    fi
}

proctype writer(byte me; byte number)
{
    byte seen;
    bool won;
    {
        write(number, true);
        END(skip)
    } MAY_DIE(seen = 0; won = false)
}

proctype wavering_writer(byte me; byte number)
{
    byte seen;
    bool won;
    {
        write(number, true);
        write(number, false);
        write(number, true);
        END(skip)
    } MAY_DIE(seen = 0; won = false)
}

#ifdef KILLED
inline kill(victim)
{
    d_step { !dead[victim] -> dead[victim] = true; asleep[victim] = false }
}

proctype killer()
{
    do
    :: kill(1)
#ifndef LEFT_BEHIND
    :: kill(2)
    :: kill(3)
    :: kill(4)
#endif
    :: break
    od
}
#endif

#define lost_wakeup(me) (asleep[me] && goal_met(me))

init {
    atomic {
        need_of[1] = 1;
        need_of[2] = 2;
        run watcher(1);
#ifndef LEFT_BEHIND
        run watcher(2);
#endif
        run writer(3, 0);
#if defined(LEFT_BEHIND)
        run wavering_writer(4, 1);
        run killer()
#elif defined(KILLED)
        run writer(4, 1);
        run killer()
#else
        run wavering_writer(4, 1)
#endif
    };
    timeout -> assert(!lost_wakeup(1) && !lost_wakeup(2))
}
