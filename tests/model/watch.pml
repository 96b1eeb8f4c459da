/* watch.pml -- a thread that watches words and whole segments for the event loops of its process: the
 * registry, the watcher, and the event word with its second bit, BELL.  One Promela step for each
 * access of shared memory and each system call.
 *
 * A segment has two words and an event word: ARMED, BELL, the rest a sequence.  A writer loads the
 * event word after its write.  It rings where it finds ARMED, and where it finds BELL if its own word had
 * WAITERS: by one CAS to the next sequence with both bits clear.  Where another watcher has added the
 * other bit meanwhile, it tries again; where the sequence has changed, it need not.
 *
 * A loop that waits looks, lists a spot (its word, and the version that this has by then; for the whole
 * segment the sum of all versions), advances a counter, looks again, and sleeps until it is told.
 * The watcher loads the counter and sets the bits that its spots need.  It looks at each spot, and either
 * tells the loop that it has moved, or sets WAITERS.  It sleeps on the counter and on the very
 * value that its fetch-or left.
 *
 * One loop waits for a word, may give that wait up once, and waits again; another process watches the
 * same word by BELL.  With SEEN_LOOKED the version is that of the look before, and there is no look
 * after.  With TWO_LOOPS a second loop waits for the other word; with WHOLE, for both words.  With OTHERS
 * another process waits for both words by ARMED.  With KILLED each of two writers writes the word that the
 * loop waits for; one of them, and the other process, may be killed at any step; and who watches looks
 * again.
 *
 * With LEFT_BEHIND there is no loop.  One process watches by ARMED, one by BELL; both may be killed at any
 * step.  A third sleeps on the word that is written three times.
 *
 * Shown: no wake-up is lost; nobody returns without its goal; a listed spot is told once at most, and
 * only while its wait lasts; no spot is listed while no watcher runs; who writes a word without WAITERS does
 * not ring for BELL; with LEFT_BEHIND, watchers that are gone cost one ring at most.
 * What is left out: LOCKED and the value's lock; memory orders, and numbers that come round, as in
 * protocol.pml; the rounds of a CAS that fails and is tried again, but for that of a ring; other
 * segments, and other spots of one loop; fork; owners that die.  The counter is only asked whether it
 * has changed.  A use of the registry is one step where it touches shared memory once; for the
 * watcher's looks the mutex is held.  Time, as in protocol.pml: who looks again by itself does so where
 * it would find something else.  A watcher may end whenever it sleeps without a spot.
 */
#define WORDS 2
#define WHOLE_SEGMENT WORDS

/* Who is who.  Loops are 1 and 2. */
#define LOOPS 2
#define WATCHER 3
#define BY_ARMED 4
#define BY_BELL 5
#define SLEEPER 6
#define WRITER 7 /* and the next */
#define PROCESSES 9

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
#if defined(KILLED) && !defined(FAULT_NO_SECOND_LOOK)
#define looks_again true
#else
#define looks_again false
#endif

/* ---- the words: value in bit 0, WAITERS, version in bits 2-7 */

#define VALUE(w) ((w) & 1)
#define WAITERS 2
#define VERSION(w) ((w) >> 2)
#define SUCCESSOR(w, v) (((w) & ~3) + 4 + (v))

/* ---- the event word: ARMED, BELL, sequence in bits 2-7 */

#define ARMED 1
#define BELL 2
#define BITS (ARMED | BELL)
#define SEQUENCE(e) ((e) >> 2)
#if defined(FAULT_NOT_ADVANCED)
#define ADVANCED(e) ((e) & ~BITS)
#elif defined(FAULT_ARMED_KEPT)
#define ADVANCED(e) (((e) & ~BELL) + 4)
#elif defined(FAULT_BELL_KEPT)
#define ADVANCED(e) (((e) & ~ARMED) + 4)
#else
#define ADVANCED(e) (((e) & ~BITS) + 4)
#endif

byte word[WORDS];
byte event;
bool asleep[PROCESSES];
bool dead[PROCESSES];

#ifdef LEFT_BEHIND
byte needless; /* rings while nobody watches */
#define COUNT_NEEDLESS \
    if \
    :: dead[BY_ARMED] && dead[BY_BELL] -> needless = needless + 1; assert(needless <= 1) \
    :: else \
    fi
#else
#define COUNT_NEEDLESS skip
#endif

/* ---- what is waited for: that a word is 1, or that both are */

byte place_of[PROCESSES];
byte need_of[PROCESSES]; /* how many words have to be 1 */
#define is_whole(me) (place_of[me] == WHOLE_SEGMENT)
#define place(me) (is_whole(me) -> 0 : place_of[me])
#define sum(of) (of(word[0]) + of(word[1]))
#define value_of(me) VALUE(word[place(me)])
#define version_of(me) VERSION(word[place(me)])
#define goal_met(me) ((is_whole(me) -> sum(VALUE) : value_of(me)) >= need_of[me])

/* ---- a process with loops: the counter of registrations, the registry and its mutex */

#define NONE 0
#define LISTED 1
#define MOVED 2
#define UNSEEN 255

bool registered;         /* the counter is no longer what the watcher has loaded */
bool locked;             /* the mutex, where it is held for more than a step */
byte spot[LOOPS + 1];    /* a loop's */
byte seen_of[LOOPS + 1]; /* the version, or the sum, that it was listed with */
bool told[LOOPS + 1];    /* set by the watcher; ends the loop's sleep */
bool running;            /* the watcher, as the registry has it */
bool started;            /* a thread is begun */

/* What really happened: no process looks at these, only the assertions do. */
bool waits[LOOPS + 1];
bool served[LOOPS + 1];  /* told since it was listed */

#define is_listed(me) (spot[me] == LISTED)
#define any_listed (is_listed(1) || is_listed(2))
#define has_moved(me) (is_listed(me) && (is_whole(me) -> sum(VERSION) : version_of(me)) != seen_of[me])
#ifdef FAULT_WHOLE_BY_BELL
#define BIT(me) BELL
#else
#define BIT(me) (is_whole(me) -> ARMED : BELL)
#endif
#ifdef FAULT_WITHOUT_BELL
#define BIT_OF(me) 0
#else
#define BIT_OF(me) (is_listed(me) -> BIT(me) : 0)
#endif

/* ---- a loop that waits.  What ends a look, or a use of the registry, is one step with it. */

inline list_spot(version)
{
    spot[me] = LISTED;
#ifdef FAULT_SEEN_BY_WATCHER
    seen_of[me] = UNSEEN;
#else
    seen_of[me] = version;
#endif
    waits[me] = true;
    served[me] = false;
    if
    :: !running -> running = true; started = true
    :: running
    fi
}

/* With the wake-up of who sleeps on the counter. */
inline advance_counter()
{
#ifdef FAULT_COUNTER_KEPT
    skip
#else
    atomic { registered = true; asleep[WATCHER] = false }
#endif
}

inline remove_spot()
{
#ifndef FAULT_SPOT_LEFT
    spot[me] = NONE;
#endif
    waits[me] = false
}

inline take_moved()
{
    if
    :: spot[me] == MOVED -> spot[me] = NONE; waits[me] = false
    :: spot[me] != MOVED
    fi
}

/* Until told; then it looks and lists its spot again, if that has moved. */
inline sleep_until_told()
{
#ifdef FAULT_FLAG_CLEARED_LAST
    atomic { asleep[me] && told[me] && !locked -> asleep[me] = false; take_moved() };
    atomic {
        told[me] = false;
#else
    atomic { asleep[me] && told[me] -> asleep[me] = false; told[me] = false };
    atomic {
        !locked ->
        take_moved();
#endif
        if
#ifdef FAULT_NO_LOOK_WHEN_TOLD
        :: spot[me] == NONE -> goto over
#else
        :: spot[me] == NONE -> goto look
#endif
        :: spot[me] != NONE -> asleep[me] = true; goto end_asleep
        fi
    }
}

/* What a look found, in one step with it. */
#define DECIDE(met) \
    if \
    :: found >= need_of[me] -> goto met \
    :: found < need_of[me] -> found = 0 \
    fi

proctype loop(byte me; bool gives_up)
{
    byte found, version;
look:
    atomic {
        found = value_of(me);
#ifdef SEEN_LOOKED
        version = version_of(me);
#endif
        DECIDE(over)
    };
    atomic {
        !locked ->
#ifndef SEEN_LOOKED
        version = version_of(me);
#endif
        list_spot(version);
        version = 0
    };
    advance_counter();
#if !defined(SEEN_LOOKED) && !defined(FAULT_NO_LOOK_AFTER)
    atomic { found = value_of(me); DECIDE(remove); asleep[me] = true };
#else
    asleep[me] = true;
#endif
end_asleep:
    if
    :: sleep_until_told()
    :: atomic {
           gives_up && !locked ->
           gives_up = false;
           asleep[me] = false;
           remove_spot();
           goto look
       }
    fi;
remove:
    atomic { !locked -> remove_spot() };
over:
    atomic { assert(found >= need_of[me]); found = 0; gives_up = false }
}

proctype loop_for_whole(byte me)
{
    byte found, version;
look:
    atomic {
        found = VALUE(word[0]);
#ifdef SEEN_LOOKED
        version = VERSION(word[0])
#endif
    };
    atomic {
        found = found + VALUE(word[1]);
#ifdef SEEN_LOOKED
        version = version + VERSION(word[1]);
#endif
        DECIDE(over)
    };
#ifdef SEEN_LOOKED
    atomic { !locked -> list_spot(version); version = 0 };
#else
    atomic { !locked -> locked = true; version = VERSION(word[0]) };
    atomic {
        version = version + VERSION(word[1]);
        list_spot(version);
        version = 0;
        locked = false
    };
#endif
    advance_counter();
#if !defined(SEEN_LOOKED) && !defined(FAULT_NO_LOOK_AFTER)
    found = VALUE(word[0]);
    atomic { found = found + VALUE(word[1]); DECIDE(remove); asleep[me] = true };
#else
    asleep[me] = true;
#endif
end_asleep:
    sleep_until_told();
remove:
    atomic { !locked -> remove_spot() };
over:
    atomic { assert(found >= need_of[me]); found = 0 }
}

/* ---- the watcher */

inline tell(number)
{
    assert(waits[number]);
    assert(!served[number]);
    served[number] = true;
#ifndef FAULT_STAYS_LISTED
    spot[number] = MOVED;
#endif
    told[number] = true
}

inline set_waiters(me)
{
    word[place(me)] = word[place(me)] | WAITERS
}

inline judge_word(number)
{
#ifdef FAULT_SEEN_BY_WATCHER
    if
    :: seen_of[number] == UNSEEN -> seen_of[number] = version_of(number)
    :: else
    fi;
#endif
    if
    :: version_of(number) != seen_of[number] -> tell(number)
#ifdef FAULT_WITHOUT_WAITERS
    :: else
#else
    :: else -> set_waiters(number)
#endif
    fi
}

inline arm()
{
    if
    :: watches -> event = event | bits; armed = event; bits = 0
    :: !watches
    fi
}

#ifdef FAULT_SCAN_FIRST
#define UNLOCK skip
#else
#define UNLOCK locked = false
#endif

/* The spots one after the other; the mutex is free with the last. */
inline judge_all()
{
    if
    :: atomic { is_listed(1) -> judge_word(1) }
    :: !is_listed(1)
    fi;
    if
    :: atomic { is_listed(2) && !is_whole(2) -> judge_word(2); UNLOCK }
    :: atomic { is_listed(2) && is_whole(2) -> total = VERSION(word[0]) };
       atomic {
           total = total + VERSION(word[1]);
           if
           :: total != seen_of[2] -> tell(2)
           :: total == seen_of[2]
           fi;
           total = 0;
           UNLOCK
       }
    :: atomic { !is_listed(2) -> UNLOCK }
    fi
}

inline wake_up()
{
    asleep[WATCHER] = false;
    armed = 0;
    watches = false
}

proctype watcher()
{
    byte armed, bits, total;
    bool watches; /* there are spots */
end_not_running:
    atomic { started -> started = false };
    do
    :: registered = false;
       atomic {
           !locked ->
           locked = true;
           watches = any_listed;
           bits = BIT_OF(1) | BIT_OF(2);
#ifndef FAULT_SCAN_FIRST
           arm()
#endif
       };
       judge_all();
#ifdef FAULT_SCAN_FIRST
       atomic { arm(); locked = false };
#endif
#ifdef FAULT_COUNTER_LATE
       registered = false;
#endif
#ifdef FAULT_RELOADED
       armed = event;
#endif
       asleep[WATCHER] = !registered && (!watches || event == armed);
end_asleep:
       if
       :: atomic { !asleep[WATCHER] -> wake_up() }
       :: atomic {
              looks_again && asleep[WATCHER] &&
                  (watches && event != armed || has_moved(1) || has_moved(2)) ->
              wake_up()
          }
       :: atomic { asleep[WATCHER] && !any_listed -> wake_up() }; /* for long enough */
          if
#if defined(FAULT_ENDS_UNLOOKED)
          :: atomic { !locked -> assert(!any_listed); running = false; goto end_not_running }
#elif defined(FAULT_ENDS_OUTSIDE)
          :: atomic { !locked && !any_listed -> skip };
             atomic { assert(!any_listed); running = false; goto end_not_running }
#else
          :: atomic { !locked && !any_listed -> running = false; goto end_not_running }
#endif
          :: !locked && any_listed
          fi
       fi
    od
}

/* ---- other processes */

/* For the whole segment, by ARMED: as event.pml's. */
proctype by_armed(byte me)
{
    byte armed, found;
    {
        do
        :: atomic { event = event | ARMED; armed = event };
           found = VALUE(word[0]);
           atomic {
               found = found + VALUE(word[1]);
               if
               :: found >= need_of[me] -> break
               :: found < need_of[me] -> found = 0
               fi
           };
           asleep[me] = (event == armed);
end_asleep:
           if
           :: atomic { !asleep[me] -> armed = 0 }
           :: atomic {
                  looks_again && asleep[me] && (event != armed || goal_met(me)) ->
                  asleep[me] = false;
                  armed = 0
              }
           fi
        od;
        END(found = 0; armed = 0)
    } MAY_DIE(found = 0; armed = 0)
}

/* For one word, by BELL. */
proctype by_bell(byte me)
{
    byte armed;
    {
        do
        :: atomic { event = event | BELL; armed = event };
           atomic {
               if
               :: value_of(me) -> break
               :: !value_of(me) -> set_waiters(me)
               fi
           };
           asleep[me] = (event == armed);
end_asleep:
           if
           :: atomic { !asleep[me] -> armed = 0 }
           :: atomic {
                  looks_again && asleep[me] && (event != armed || goal_met(me)) ->
                  asleep[me] = false;
                  armed = 0
              }
           fi
        od;
        END(armed = 0)
    } MAY_DIE(armed = 0)
}

/* On the word itself: as protocol.pml's. */
proctype sleeper(byte me)
{
    byte version;
    do
    :: atomic {
           if
           :: value_of(me) -> break
           :: !value_of(me) -> set_waiters(me); version = version_of(me)
           fi
       };
       atomic { asleep[me] = (version_of(me) == version); version = 0 };
end_asleep:
       if
       :: !asleep[me]
       :: atomic { looks_again && asleep[me] && goal_met(me) -> asleep[me] = false }
       fi
    od
}

/* ---- writers */

#ifdef FAULT_BELL_FOR_ALL
#define rings ((seen & BITS) != 0)
#else
#define rings ((seen & ARMED) || ((seen & BELL) && related))
#endif
#ifdef FAULT_NOT_RETRIED
#define only_bits false
#else
#define only_bits (SEQUENCE(event) == SEQUENCE(seen) && (event & seen) == seen)
#endif

/* In one step with what it decides. */
inline load_event()
{
    seen = event;
    if
    :: rings
    :: else -> seen = 0; related = false; goto again
    fi
}

inline wake_watchers()
{
#ifndef FAULT_NO_WAKE
    asleep[WATCHER] = false;
    asleep[BY_ARMED] = false;
    asleep[BY_BELL] = false
#else
    skip
#endif
}

#define sleeps_on(number) (need_of[SLEEPER] != 0 && place(SLEEPER) == number)

#define WRITE \
    related = (word[number] & WAITERS) != 0; \
    word[number] = SUCCESSOR(word[number], left & 1); \
    left = left - 1

/* Writes as often as `left` says, and 1 in the end. */
proctype writer(byte me; byte number; byte left)
{
    byte seen;
    bool related; /* somebody waits for this very word */
again:
    {
        if
        :: left == 0 -> goto end
#ifdef FAULT_EVENT_LOADED_FIRST
        :: left > 0 -> seen = event;
           atomic {
               WRITE;
               if
               :: rings
               :: else -> seen = 0; related = false; goto again
               fi
           }
#else
        :: atomic { left > 0 -> WRITE };
           if
           :: atomic { related && sleeps_on(number) -> asleep[SLEEPER] = false };
              atomic { load_event() }
           :: atomic { !(related && sleeps_on(number)) -> load_event() }
           fi
#endif
        fi;
        do
        :: atomic {
               event == seen ->
               assert((seen & ARMED) || related);
               event = ADVANCED(seen);
               COUNT_NEEDLESS;
               seen = 0;
               related = false
           };
           atomic { wake_watchers(); goto again }
        :: atomic { event != seen && only_bits -> seen = event }
        :: atomic { event != seen && !only_bits -> seen = 0; related = false; goto again }
        od;
end:
        END(skip)
    } MAY_DIE(seen = 0; related = false)
}

#ifdef KILLED
inline kill(victim)
{
    d_step { !dead[victim] -> dead[victim] = true; asleep[victim] = false }
}

proctype killer()
{
    do
    :: kill(BY_BELL)
#ifdef LEFT_BEHIND
    :: kill(BY_ARMED)
#else
    :: kill(WRITER)
#endif
    :: break
    od
}
#endif

inline take_place(who, number, need)
{
    place_of[who] = number;
    need_of[who] = need
}

#define lost_wakeup(me) (asleep[me] && goal_met(me))

init {
    atomic {
#ifdef LEFT_BEHIND
        take_place(BY_ARMED, WHOLE_SEGMENT, WORDS);
        take_place(BY_BELL, 0, 1);
        take_place(SLEEPER, 0, 1);
        run by_armed(BY_ARMED);
        run by_bell(BY_BELL);
        run sleeper(SLEEPER);
        run writer(WRITER, 0, 3);
        run killer();
#else
        run watcher();
        take_place(1, 0, 1);
#if defined(TWO_LOOPS)
        take_place(2, 1, 1);
        run loop(1, true);
        run loop(2, false);
        run writer(WRITER, 0, 1);
        run writer(WRITER + 1, 1, 1);
#elif defined(WHOLE)
        take_place(2, WHOLE_SEGMENT, WORDS);
        run loop(1, false);
        run loop_for_whole(2);
        run writer(WRITER, 0, 1);
        run writer(WRITER + 1, 1, 1);
#elif defined(OTHERS)
        take_place(BY_ARMED, WHOLE_SEGMENT, WORDS);
        run loop(1, false);
        run by_armed(BY_ARMED);
        run writer(WRITER, 0, 1);
        run writer(WRITER + 1, 1, 1);
#elif defined(KILLED)
        take_place(BY_BELL, 0, 1);
        run loop(1, false);
        run by_bell(BY_BELL);
        run writer(WRITER, 0, 1);
        run writer(WRITER + 1, 0, 1);
        run killer();
#else
        take_place(BY_BELL, 0, 1);
        run loop(1, true);
        run by_bell(BY_BELL);
        run writer(WRITER, 0, 2);
        run writer(WRITER + 1, 1, 1);
#endif
#endif
        skip
    };
    timeout -> assert(!lost_wakeup(1) && !lost_wakeup(2) && !lost_wakeup(BY_ARMED) &&
                      !lost_wakeup(BY_BELL) && !lost_wakeup(SLEEPER))
}
