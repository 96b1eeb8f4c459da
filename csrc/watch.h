/* watch.h -- one thread a process that watches words and whole arrays for event loops, which cannot
 * sleep on them.  For bindings, as region.h: it allocates, and has a mutex.
 *
 *   a loop:     note what it saw of a word (its version);  list it;  advance the control word, and wake the
 *               thread;  look again.  As it is told: look;  if it still waits: list the word again
 *   the thread: load the control word;  under the mutex: arm the event words, look at what is listed, tell the
 *               loops what has moved;  sleep until a write rings, or the control word changes
 *
 * A loop is told by a descriptor that becomes readable.  The thread knows versions and no values, so it
 * tells each loop of a word once, and that one lists it again.  It takes no lock but this mutex and
 * region.h's, never an interpreter's; all signals are blocked in it.  It ends a second after the last
 * word was unlisted.  csrc/README.md says why no wake-up is lost.
 */
#pragma once

#include "sysfeatures.h"

#include <signal.h>

#include "owning.h"

struct aie_watched;

/* What has become of a spot: the loop has none such; it is listed; it has moved, until the loop watches
 * it on. */
typedef enum { AIE_SPOT_FREE, AIE_SPOT_LISTED, AIE_SPOT_MOVED } aie_spot_state;

/* What a loop waits for: one word, or all words of an array. */
typedef struct aie_spot {
    struct aie_spot *next;  /* listed and whole; moved; or free */
    struct aie_spot **link; /* moved: what leads to it */
    struct aie_desk *desk;
    struct aie_watched *watched;
    aie_array words;
    uint64_t seen; /* how many writes: of the word, or of all; as it was listed, or told */
    int64_t due;   /* when to look at it; 0: at once */
    int64_t pace;  /* what was last between telling and looking */
    int64_t told;  /* when */
    size_t place;  /* of a word that is listed */
    uint32_t slot;
    aie_spot_state state;
    bool whole;
} aie_spot;

/* One event loop. */
typedef struct aie_desk {
    int ends[2]; /* it reads the first; the thread writes to the second */
    pid_t pid;   /* whose; a child of fork can only close it */
    bool rung;
    aie_spot *moved;
    aie_spot *free;
    aie_spot **spots; /* by slot */
    uint32_t slots, room;
} aie_desk;

/* A word that is listed; side by side, since most looks find them all unmoved. */
typedef struct {
    aie_word *word;
    uint64_t seen;
    int64_t due;
    aie_spot *spot;
} aie_listed;

/* A segment that loops have spots in.  It ends with the last of them, though the thread may be about to
 * sleep on it: then that call fails, and it looks again. */
typedef struct aie_watched {
    struct aie_watched *next;
    aie_region *region; /* one user of it */
    size_t spots;
    aie_event *event;
    uint32_t bits;  /* that are armed for it */
    uint32_t heard; /* the event word, as arming left it */
    bool fresh;     /* something was listed since the last look */
    int64_t due;    /* when something in it is */
    int64_t pace;   /* of looks that found nothing though somebody rang */
    int64_t vain;   /* the last one */
    int64_t notice; /* when to look for dead owners */
    aie_listed *words;
    size_t count, room;
    aie_spot *whole;
} aie_watched;

/* Between telling of a word that moved and looking at it again, if nobody was content: else a busy
 * writer would take the whole core. */
#define AIE_SHORTEST_PACE INT64_C(50000)
#define AIE_LONGEST_PACE INT64_C(1000000)

/* The next pace: longer, if what moved has not been still for long. */
static inline int64_t aie_pace(int64_t pace, int64_t still)
{
    int64_t longer = still < 4 * AIE_LONGEST_PACE ? pace * 2 : 0;
    return longer < AIE_SHORTEST_PACE  ? AIE_SHORTEST_PACE
           : longer < AIE_LONGEST_PACE ? longer
                                       : AIE_LONGEST_PACE;
}

/* How long the thread outlives the last word that was listed. */
#define AIE_IDLE AIE_NS_PER_S

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t left;
    _Atomic uint32_t control; /* counts what the thread is to look at */
    aie_watched *first;
    pid_t pid; /* whose thread it is */
    bool runs;
    bool told; /* somebody, since the thread's last look */
    bool ends; /* the process does */
} aie_watcher = {.mutex = PTHREAD_MUTEX_INITIALIZER, .left = PTHREAD_COND_INITIALIZER};

static inline void aie_watcher_call(void)
{
    /* seq_cst: after what was listed; the thread loads it before it looks, so either it looks at that, or it
     * does not fall asleep. */
    atomic_fetch_add_explicit(&aie_watcher.control, 1, memory_order_seq_cst);
    aie_wake_all(&aie_watcher.control);
}

/* ------------------------------------------------------------------ telling */

/* The spot, which is listed no more, has moved: there were so many writes as this looked. */
static inline void aie_spot_tell(aie_spot *spot, uint64_t writes, int64_t now)
{
    aie_desk *desk = spot->desk;
    spot->state = AIE_SPOT_MOVED;
    spot->seen = writes;
    spot->told = now;
    spot->next = desk->moved;
    spot->link = &desk->moved;
    if (spot->next != NULL) {
        spot->next->link = &spot->next;
    }
    desk->moved = spot;
    aie_watcher.told = true;
    if (!desk->rung) {
        static const uint64_t one = 1;
        desk->rung = true;
        /* Full: then it is readable.  Nothing else can go wrong with a descriptor of one's own. */
        ssize_t written = write(desk->ends[1], &one, sizeof(one));
        (void)written;
    }
}

static inline void aie_watched_unlist(aie_watched *watched, size_t place)
{
    aie_listed *last = &watched->words[--watched->count];
    watched->words[place] = *last;
    last->spot->place = place;
}

/* Have WAITERS on a word; false: it has been written to since it was seen, so many times. */
static inline bool aie_listed_arm(const aie_listed *listed, uint64_t *writes)
{
    uint64_t seen = aie_word_load(listed->word);
    while ((*writes = aie_word_version(seen)) == listed->seen) {
        if (seen & AIE_WAITERS_BIT) {
            return true;
        }
        /* seq_cst: as in aie_await_sleeping; and after the event word was armed, so that the writer who
         * takes it away sees BELL. */
        if (atomic_compare_exchange_weak_explicit(listed->word, &seen, seen | AIE_WAITERS_BIT,
                                                  memory_order_seq_cst, memory_order_seq_cst)) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ the thread's look */

/* Give back what dead processes own of what is listed. */
static inline void aie_watched_notice(const aie_watched *watched)
{
    aie_array words = aie_region_words(watched->region);
    if (watched->whole != NULL) {
        aie_owners_recover(&words, false, NULL);
        return;
    }
    for (size_t i = 0; i < watched->count; i++) {
        const aie_spot *spot = watched->words[i].spot;
        if (aie_word_owner(aie_word_load(watched->words[i].word)) != 0) {
            aie_array one = words;
            one.words = spot->words.words;
            one.controls = words.controls == NULL ? NULL : spot->words.controls;
            one.count = 1;
            aie_owners_recover(&one, false, NULL);
        }
    }
}

/* Tell of the arrays that have moved.  The sum takes 0.3 us for 1,000 words. */
static inline bool aie_watched_look_whole(aie_watched *watched, int64_t now)
{
    bool told = false;
    uint64_t writes = aie_array_writes(&watched->whole->words);
    for (aie_spot **link = &watched->whole, *spot; (spot = *link) != NULL;) {
        if (spot->due <= now && spot->seen != writes) {
            *link = spot->next;
            aie_spot_tell(spot, writes, now);
            told = true;
        }
        else {
            link = &spot->next;
        }
    }
    return told;
}

/* Arm, and then look.  It sleeps on what arming left; but not where somebody rang, and nothing that is
 * listed has moved: the word of others, whom a busy writer wakes.  There it looks a little later. */
static inline void aie_watched_look(aie_watched *watched, bool rung, int64_t now)
{
    bool whole = false, told = false;
    watched->due = INT64_MAX;
    watched->fresh = false;
    for (const aie_spot *spot = watched->whole; spot != NULL; spot = spot->next) {
        whole = whole || spot->due <= now;
        if (spot->due > now && spot->due < watched->due) {
            watched->due = spot->due;
        }
    }
    watched->bits = (whole ? AIE_ARMED : 0) | (watched->count > 0 ? AIE_BELL : 0);
    if (watched->bits != 0) {
        watched->heard = aie_event_arm(watched->event, watched->bits);
    }
    AIE_POINT("watcher-armed");
    for (size_t i = 0; i < watched->count;) {
        aie_listed *listed = &watched->words[i];
        uint64_t writes;
        if (listed->due <= now && !aie_listed_arm(listed, &writes)) {
            aie_spot *spot = listed->spot;
            aie_watched_unlist(watched, i);
            aie_spot_tell(spot, writes, now);
            told = true;
            continue;
        }
        if (listed->due > now && listed->due < watched->due) {
            watched->due = listed->due;
        }
        i++;
    }
    if (whole) {
        told = aie_watched_look_whole(watched, now) || told;
    }
    if (rung && !told && watched->bits != 0) {
        watched->pace = aie_pace(watched->pace, now - watched->vain);
        watched->vain = now;
        watched->bits = 0;
        watched->due = now + watched->pace < watched->due ? now + watched->pace : watched->due;
    }
}

/* Whether somebody rang since it was armed: until then nothing has moved that is armed. */
static inline bool aie_watched_rung(const aie_watched *watched)
{
    /* seq_cst: who rings after this ends the sleep. */
    return watched->bits != 0
           && atomic_load_explicit(watched->event, memory_order_seq_cst) != watched->heard;
}

/* One look at everything that may have moved, or with `all` at everything.  What to sleep on goes to
 * `parked`, behind the control word; how many, or AIE_PARKED_MOST + 1 if they are too many.  *until
 * becomes earlier where something is due then. */
static inline size_t aie_watcher_look(bool all, int64_t now, aie_parked *parked, int64_t *until)
{
    size_t count = 1;
    for (aie_watched *watched = aie_watcher.first; watched != NULL; watched = watched->next) {
        if (watched->region->owners != NULL && now >= watched->notice) {
            watched->notice = now + AIE_NOTICE;
            aie_watched_notice(watched);
        }
        bool rung = aie_watched_rung(watched);
        if (all || rung || watched->fresh || watched->due <= now) {
            aie_watched_look(watched, rung, now);
        }
        if (watched->bits != 0 && count <= AIE_PARKED_MOST) {
            if (count < AIE_PARKED_MOST) {
                parked[count] = (aie_parked){watched->event, watched->heard};
            }
            count++;
        }
        int64_t due = watched->due;
        if (watched->region->owners != NULL && watched->notice < due) {
            due = watched->notice;
        }
        *until = due < *until ? due : *until;
    }
    return count;
}

/* Sleep: on all of it, or where that cannot be on the control word, in naps that grow with the time
 * since somebody was told. */
static inline void aie_watcher_sleep(const aie_parked *parked, size_t count, int64_t until,
                                     int64_t now, int64_t quiet)
{
    if (count <= AIE_PARKED_MOST && aie_wait_any(parked, count, until) != AIE_AGAIN) {
        return;
    }
    int64_t nap = (now - quiet) / 4;
    nap = nap < AIE_SHORTEST_PACE ? AIE_SHORTEST_PACE
          : nap > AIE_LONGEST_NAP ? AIE_LONGEST_NAP
                                  : nap;
    (void)aie_wait(parked[0].address, parked[0].expected, now + nap < until ? now + nap : until);
}

static inline void *aie_watcher_runs(void *unused)
{
    aie_parked parked[AIE_PARKED_MOST] = {{NULL, 0}};
    int64_t again = 0, idle = INT64_MAX, quiet = 0;
    (void)unused;
    aie_name_thread("intenum-watch");
    for (;;) {
        /* seq_cst, and before the look: pairs with aie_watcher_call. */
        uint32_t control = atomic_load_explicit(&aie_watcher.control, memory_order_seq_cst);
        pthread_mutex_lock(&aie_watcher.mutex);
        int64_t now = aie_now();
        quiet = aie_watcher.told || control != parked[0].expected ? now : quiet;
        aie_watcher.told = false;
        bool all = now >= again; /* a writer may have been killed before it rang */
        again = all ? now + AIE_LOOK_AGAIN : again;
        int64_t until = again;
        parked[0] = (aie_parked){&aie_watcher.control, control};
        size_t count = aie_watcher_look(all, now, parked, &until);
        idle = aie_watcher.first != NULL ? INT64_MAX : idle == INT64_MAX ? now + AIE_IDLE : idle;
        if (aie_watcher.ends || now >= idle) {
            aie_watcher.runs = false;
            pthread_cond_broadcast(&aie_watcher.left);
            pthread_mutex_unlock(&aie_watcher.mutex);
            return NULL;
        }
        pthread_mutex_unlock(&aie_watcher.mutex);
        AIE_POINT("watcher-looked");
        aie_watcher_sleep(parked, count, until, now, quiet);
    }
}

/* ------------------------------------------------------------------ forks, and the end */

/* A child has no such thread, and its parent's loops are not its own. */
static inline void aie_watcher_begin(void)
{
    aie_watcher.pid = getpid();
    aie_watcher.runs = aie_watcher.ends = false;
    aie_watcher.left = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    for (aie_watched *watched; (watched = aie_watcher.first) != NULL;) {
        aie_watcher.first = watched->next;
        watched->region->watched = NULL;
        aie_region_drop(watched->region);
        free(watched->words);
        free(watched);
    }
}

static inline void aie_watcher_lock(void)
{
    pthread_mutex_lock(&aie_watcher.mutex);
    if (aie_watcher.pid != getpid()) { /* the first call; or a raw clone, which runs no hooks */
        aie_watcher_begin();
    }
}

static inline void aie_watcher_unlock(void)
{
    pthread_mutex_unlock(&aie_watcher.mutex);
}

static inline void aie_watcher_fork_begins(void)
{
    pthread_mutex_lock(&aie_watcher.mutex);
}

static inline void aie_watcher_fork_ends_in_child(void)
{
    if (aie_watcher.pid != 0) {
        aie_watcher_begin();
    }
    aie_watcher_unlock();
}

/* At the end of the process: no thread of ours looks at what others take apart. */
static inline void aie_watcher_end(void)
{
    aie_watcher_lock();
    aie_watcher.ends = true;
    aie_watcher_call();
    while (aie_watcher.runs) {
        pthread_cond_wait(&aie_watcher.left, &aie_watcher.mutex);
    }
    aie_watcher_unlock();
}

/* Behind region.h's: so this mutex is taken before that one, by forks as by calls. */
__attribute__((constructor)) static void aie_watcher_load(void)
{
    pthread_atfork(aie_watcher_fork_begins, aie_watcher_unlock, aie_watcher_fork_ends_in_child);
    atexit(aie_watcher_end);
}
