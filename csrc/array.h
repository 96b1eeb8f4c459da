/* array.h -- many state words side by side: reading, counting, claiming and watching all of them.
 *
 * Each word is read by one atomic load, so each is some true value of the time that the call took;
 * all of them together need never have been so at one instant.
 */
#ifndef AIE_ARRAY_H
#define AIE_ARRAY_H

#include "sysfeatures.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "await.h"
#include "locked_write.h"
#include "event.h"
#include "word.h"

typedef struct {
    unsigned char *words;    /* the first one */
    unsigned char *controls; /* the first one */
    size_t stride;           /* bytes from a word to the next */
    size_t count;            /* words; at least one */
    aie_event *event;        /* of the segment */
} aie_array;

static inline aie_word *aie_array_word(const aie_array *array, size_t index)
{
    return (aie_word *)(void *)(array->words + index * array->stride);
}

static inline aie_control *aie_array_control(const aie_array *array, size_t index)
{
    return (aie_control *)(void *)array->controls + index;
}

static inline int32_t aie_array_value(const aie_array *array, size_t index)
{
    return aie_word_value(aie_word_load(aie_array_word(array, index)));
}

/* A walk over the words, with all that it needs in registers: after an atomic load the compiler has
 * to read again whatever is in memory, the array itself too. */
typedef struct {
    const unsigned char *at;
    size_t stride;
} aie_walk;

static inline aie_walk aie_walk_from(const aie_array *array, size_t index)
{
    return (aie_walk){array->words + index * array->stride, array->stride};
}

static inline int32_t aie_walk_next(aie_walk *walk)
{
    int32_t value = aie_word_value(aie_word_load((const aie_word *)(const void *)walk->at));
    walk->at += walk->stride;
    return value;
}

/* The values of words `from` to `to` (exclusive), into `values`. */
static inline void aie_array_read(const aie_array *array, size_t from, size_t to, int32_t *values)
{
    aie_walk walk = aie_walk_from(array, from);
    for (size_t left = to - from; left > 0; left--) {
        *values++ = aie_walk_next(&walk);
    }
}

/* How many words hold `value`. */
static inline size_t aie_array_count(const aie_array *array, int32_t value)
{
    aie_walk walk = aie_walk_from(array, 0);
    size_t found = 0;
    size_t left = array->count;
    for (; left >= 4; left -= 4) { /* by fours: the loop itself costs as much as a look */
        found += aie_walk_next(&walk) == value;
        found += aie_walk_next(&walk) == value;
        found += aie_walk_next(&walk) == value;
        found += aie_walk_next(&walk) == value;
    }
    for (; left > 0; left--) {
        found += aie_walk_next(&walk) == value;
    }
    return found;
}

/* ------------------------------------------------------------------ tallies
 *
 * How many words hold each of the `span` values from `low` on: tallies[value - low]; and in
 * tallies[span] those that hold another. */

#define AIE_NARROW 8 /* values that one 64-bit number counts, eight bits each */

/* The next word's byte, with a one in it; `seen` gathers what is none of the eight. */
static inline uint64_t aie_tally_one(aie_walk *walk, int32_t low, uint32_t *seen)
{
    static const uint64_t ones[AIE_NARROW] = {
        UINT64_C(1),       UINT64_C(1) << 8,  UINT64_C(1) << 16, UINT64_C(1) << 24,
        UINT64_C(1) << 32, UINT64_C(1) << 40, UINT64_C(1) << 48, UINT64_C(1) << 56};
    uint32_t slot = (uint32_t)aie_walk_next(walk) - (uint32_t)low;
    *seen |= slot;
    return ones[slot % AIE_NARROW];
}

/* Of the next `count` words, at most 255; each of them adds one to a byte of a register.  Memory
 * would be slower: adding to what was just written waits for that write. */
static inline uint64_t aie_tally_block(aie_walk *walk, size_t count, int32_t low, uint32_t *seen)
{
    uint64_t even = 0, odd = 0; /* two, so that they need not wait for each other */
    size_t left = count;
    for (; left >= 4; left -= 4) { /* written out: the compiler does not unroll atomic loads */
        even += aie_tally_one(walk, low, seen);
        odd += aie_tally_one(walk, low, seen);
        even += aie_tally_one(walk, low, seen);
        odd += aie_tally_one(walk, low, seen);
    }
    for (; left > 0; left--) {
        even += aie_tally_one(walk, low, seen);
    }
    return even + odd;
}

/* For `span` up to AIE_NARROW.  False, with the tallies undefined, if a word holds a value that is
 * none of the AIE_NARROW from `low` on. */
static inline bool aie_array_tally_narrow(const aie_array *array, int32_t low, uint32_t span,
                                          size_t *tallies)
{
    uint32_t seen = 0;
    size_t counts[AIE_NARROW] = {0};
    aie_walk walk = aie_walk_from(array, 0);
    size_t block;
    for (size_t left = array->count; left > 0; left -= block) {
        block = left < 252 ? left : 252; /* fours, and no byte overflows */
        uint64_t sums = aie_tally_block(&walk, block, low, &seen);
        for (size_t slot = 0; slot < AIE_NARROW; slot++) {
            counts[slot] += sums >> (8 * slot) & 0xFF;
        }
    }
    tallies[span] = 0;
    for (size_t slot = 0; slot < AIE_NARROW; slot++) {
        if (slot < span) {
            tallies[slot] = counts[slot];
        }
        else {
            tallies[span] += counts[slot];
        }
    }
    return seen < AIE_NARROW;
}

#define AIE_LANES 4

/* The next word's number in a lane. */
static inline size_t *aie_tally_slot(aie_walk *walk, int32_t low, uint32_t span, size_t *lane)
{
    uint32_t slot = (uint32_t)aie_walk_next(walk) - (uint32_t)low;
    return lane + (size_t)(slot < span ? slot : span) * AIE_LANES;
}

/* For any `span`.  `lanes` is AIE_LANES * (span + 1) numbers of scratch.  Neighbours go to lanes of
 * their own: adding one to the number that was just written would wait for that write. */
static inline void aie_array_tally_wide(const aie_array *array, int32_t low, uint32_t span,
                                        size_t *lanes, size_t *tallies)
{
    size_t slots = (size_t)span + 1;
    for (size_t i = 0; i < AIE_LANES * slots; i++) {
        lanes[i] = 0;
    }
    aie_walk walk = aie_walk_from(array, 0);
    size_t left = array->count;
    for (; left >= AIE_LANES; left -= AIE_LANES) {
        ++*aie_tally_slot(&walk, low, span, lanes);
        ++*aie_tally_slot(&walk, low, span, lanes + 1);
        ++*aie_tally_slot(&walk, low, span, lanes + 2);
        ++*aie_tally_slot(&walk, low, span, lanes + 3);
    }
    for (; left > 0; left--) {
        ++*aie_tally_slot(&walk, low, span, lanes);
    }
    for (size_t slot = 0; slot < slots; slot++) {
        tallies[slot] = 0;
        for (size_t lane = 0; lane < AIE_LANES; lane++) {
            tallies[slot] += lanes[slot * AIE_LANES + lane];
        }
    }
}

static inline void aie_array_tally(const aie_array *array, int32_t low, uint32_t span,
                                   size_t *lanes, size_t *tallies)
{
    if (span > AIE_NARROW || !aie_array_tally_narrow(array, low, span, tallies)) {
        aie_array_tally_wide(array, low, span, lanes, tallies);
    }
}

/* Write `value` into the words from `from` on, until one is LOCKED.  Its index, with nothing
 * written there; or the number of words when all are done. */
static inline size_t aie_array_fill(const aie_array *array, size_t from, int32_t value)
{
    aie_change change = {.desired = value, .compare = false};
    size_t i = from;
    while (i < array->count
           && aie_word_change(aie_array_word(array, i), array->event, &change) == AIE_OK) {
        i++;
    }
    return i;
}

/* ------------------------------------------------------------------ claiming */

/* Find a word that is `expected`, make it `desired`, and say which; looking at every word once,
 * from `start` on.
 *
 *   OK        *index is this caller's: nobody else got it
 *   LOCKED    those that matched are LOCKED by somebody; *index is the first of them
 *   MISMATCH  none matched
 *
 * Who loses a word to another claimer goes on elsewhere, once: claimers that start at one place
 * (the children of one fork) would otherwise meet again at every word. */
static inline aie_result aie_array_claim(const aie_array *array, size_t start, int32_t expected,
                                         int32_t desired, size_t *index)
{
    aie_change change = {.expected = expected, .desired = desired, .compare = true};
    bool locked = false;
    bool moved = false;
    size_t i = start < array->count ? start : 0;
    for (size_t left = array->count; left > 0; left--) {
        aie_word *word = aie_array_word(array, i);
        if (aie_word_value(aie_word_load(word)) == expected) {
            aie_result result = aie_word_change(word, array->event, &change);
            if (result == AIE_OK) {
                *index = i;
                return AIE_OK;
            }
            if (result == AIE_LOCKED && !locked) {
                locked = true;
                *index = i;
            }
            if (result == AIE_MISMATCH && !moved) {
                moved = true;
                /* Multiplied, so that neighbours' ids give places far apart. */
                i = (i + aie_thread_id() * UINT64_C(0x9E3779B97F4A7C15)) % array->count;
                left = array->count + 1;
                continue;
            }
        }
        i = i + 1 < array->count ? i + 1 : 0;
    }
    return locked ? AIE_LOCKED : AIE_MISMATCH;
}

/* 2 ms: how long one lock is waited for, of several. */
#define AIE_CLAIM_SLICE (AIE_NS_PER_S / 500)

/* After LOCKED: wait a moment for the lock of word *index, and write if it still matches.  OK, or
 * MISMATCH or BUSY: claim again, since another word may match by now.
 *
 * First the locks of all that match are tried: one may be this thread's own, or that of a holder
 * who died, while *index stays locked for long. */
static inline aie_result aie_array_claim_slice(const aie_array *array, int32_t expected,
                                               int32_t desired, size_t *index)
{
    aie_change change = {.expected = expected, .desired = desired, .compare = true};
    size_t i = *index;
    for (size_t left = array->count; left > 0; left--) {
        aie_word *word = aie_array_word(array, i);
        if (aie_word_value(aie_word_load(word)) == expected) {
            aie_result result =
                aie_change_slice(word, aie_array_control(array, i), array->event, &change, 0);
            if (result != AIE_MISMATCH && result != AIE_BUSY) {
                *index = i;
                return result;
            }
        }
        i = i + 1 < array->count ? i + 1 : 0;
    }
    return aie_change_slice(aie_array_word(array, *index), aie_array_control(array, *index),
                            array->event, &change, aie_now() + AIE_CLAIM_SLICE);
}

/* ------------------------------------------------------------------ watching */

/* The first word, from `start` on and around, that meets the goal (or, with `met` false, does not);
 * the number of words if there is none. */
static inline size_t aie_array_find(const aie_array *array, const aie_goal *goal, bool met,
                                    size_t start)
{
    size_t i = start;
    for (size_t left = array->count; left > 0; left--) {
        if (aie_goal_met(goal, aie_word_load(aie_array_word(array, i))) == met) {
            return i;
        }
        i = i + 1 < array->count ? i + 1 : 0;
    }
    return array->count;
}

/* What a watcher waits for: one word that meets the goal; or with `all`, that no word fails it. */
typedef struct {
    aie_goal goal;
    bool all;
    size_t index; /* the word that met it; with `all` the last one that failed, looked at first */
} aie_watch;

static inline bool aie_watch_met(const aie_array *array, aie_watch *watch)
{
    /* All: from the word that failed last, so that most looks end at once.  Any: the lowest one. */
    size_t found = aie_array_find(array, &watch->goal, !watch->all, watch->all ? watch->index : 0);
    if (watch->all) {
        watch->index = found < array->count ? found : 0;
        return found == array->count;
    }
    watch->index = found;
    return found < array->count;
}

/* Look without sleeping until `until` (ns), once at least.  OK when it is met, else BUSY. */
static inline aie_result aie_watch_spinning(const aie_array *array, aie_watch *watch, int64_t until)
{
    do {
        if (aie_watch_met(array, watch)) {
            return AIE_OK;
        }
        aie_relax();
    } while (aie_now() < until);
    return AIE_BUSY;
}

/* Sleep once; outcomes as aie_await_sleeping. */
static inline aie_result aie_watch_sleeping(const aie_array *array, aie_watch *watch,
                                            int64_t deadline)
{
    int64_t now = aie_now(); /* before the look, as in aie_await_sleeping */
    uint32_t armed = aie_event_arm(array->event);
    AIE_POINT("watch-armed");
    if (aie_watch_met(array, watch)) {
        return AIE_OK;
    }
    if (now >= deadline) {
        return AIE_BUSY;
    }
    int64_t until = deadline - now < AIE_LOOK_AGAIN ? deadline : now + AIE_LOOK_AGAIN;
    aie_result result = aie_wait(array->event, armed, until);
    AIE_POINT("watch-woken");
    if (result == AIE_INTERRUPTED) {
        return AIE_INTERRUPTED;
    }
    if (aie_now() < deadline) {
        return AIE_AGAIN; /* the next call looks */
    }
    return aie_watch_met(array, watch) ? AIE_OK : AIE_BUSY;
}

/* Wait once, as aie_watch_sleeping does; with `spin`, look for a while before that. */
static inline aie_result aie_watch_await(const aie_array *array, aie_watch *watch, int64_t deadline,
                                         bool spin)
{
    if (spin && aie_spin() > 0) {
        int64_t until = aie_now() + aie_spin();
        if (aie_watch_spinning(array, watch, until < deadline ? until : deadline) == AIE_OK) {
            return AIE_OK;
        }
    }
    return aie_watch_sleeping(array, watch, deadline);
}

/* Whether nobody but the calling thread could make it so, for a watch that is not met: it holds the
 * lock of a word that fails (all), or of every word (any). */
static inline bool aie_watch_is_own(const aie_array *array, const aie_watch *watch)
{
    for (size_t i = 0; i < array->count; i++) {
        aie_word *word = aie_array_word(array, i);
        uint64_t seen = aie_word_load(word);
        bool mine = (seen & AIE_LOCKED_BIT) && aie_lock_is_mine(aie_array_control(array, i), word);
        if (watch->all ? mine && !aie_goal_met(&watch->goal, seen) : !mine) {
            return watch->all;
        }
    }
    return !watch->all;
}

#endif
