/* array.h -- many state words side by side: reading, counting, claiming and watching all of them.
 *
 * Each word is read by one atomic load, so each is some true value of the time that the call took;
 * all of them together need never have been so at one instant.
 */
#pragma once

#include "await.h"
#include "locked_write.h"

typedef struct {
    unsigned char *words;      /* the first one */
    unsigned char *controls;   /* the first one; NULL in another PID namespace */
    size_t stride;             /* bytes from a word to the next */
    size_t count;              /* words; at least one */
    aie_event *event;          /* of the segment */
    struct aie_owners *owners; /* of the segment, see owner.h; NULL: it has none */
} aie_array;

static inline aie_word *aie_array_word(const aie_array *array, size_t index)
{
    return (aie_word *)(void *)(array->words + index * array->stride);
}

static inline aie_control *aie_array_control(const aie_array *array, size_t index)
{
    return array->controls == NULL ? NULL : (aie_control *)(void *)array->controls + index;
}

static inline int32_t aie_array_value(const aie_array *array, size_t index)
{
    return aie_word_value(aie_word_load(aie_array_word(array, index)));
}

/* A walk over the words, whose state fits registers: after an atomic load the compiler reads again
 * whatever is in memory, the array itself too. */
typedef struct {
    const unsigned char *at;
    size_t stride;
} aie_walk;

static inline int32_t aie_walk_next(aie_walk *walk)
{
    int32_t value = aie_word_value(aie_word_load((const aie_word *)(const void *)walk->at));
    walk->at += walk->stride;
    return value;
}

/* The values of all words, into `values`. */
static inline void aie_array_read(const aie_array *array, int32_t *values)
{
    aie_walk walk = {array->words, array->stride};
    for (size_t left = array->count; left > 0; left--) {
        *values++ = aie_walk_next(&walk);
    }
}

/* The sum of all versions: how many writes there were, but for what the versions lose as they come
 * round. */
static inline uint64_t aie_array_writes(const aie_array *array)
{
    const unsigned char *at = array->words;
    uint64_t writes = 0;
    for (size_t left = array->count; left > 0; left--) {
        writes += aie_word_version(aie_word_load((const aie_word *)(const void *)at));
        at += array->stride;
    }
    return writes;
}

/* ------------------------------------------------------------------ counting */

#define AIE_FEW_VALUES 16 /* so many values are counted block by block, more word by word */
#define AIE_BLOCK 240     /* words at a time: fours, and a byte counts them */

/* The next word's place among the `span` values from `low` on; `span` if it holds another. */
static inline uint32_t aie_slot_next(aie_walk *walk, int32_t low, uint32_t span)
{
    uint32_t slot = (uint32_t)aie_walk_next(walk) - (uint32_t)low;
    return slot < span ? slot : span;
}

/* Written for the compiler to use vector instructions: bytes, and a sum of bytes. */
static inline uint8_t aie_count_in(const uint8_t *slots, size_t count, uint8_t slot)
{
    uint8_t found = 0;
    for (size_t i = 0; i < count; i++) {
        found += slots[i] == slot;
    }
    return found;
}

/* Of the next `count` words, at most AIE_BLOCK: first a byte for each, since no vector instruction
 * is an atomic load; then those bytes are counted. */
static inline void aie_tally_block(aie_walk *walk, size_t count, int32_t low, uint32_t span,
                                   size_t *tallies)
{
    uint8_t slots[AIE_BLOCK];
    size_t i = 0;
    for (; i + 4 <= count; i += 4) { /* by fours: the loop itself costs as much as a look */
        slots[i] = (uint8_t)aie_slot_next(walk, low, span);
        slots[i + 1] = (uint8_t)aie_slot_next(walk, low, span);
        slots[i + 2] = (uint8_t)aie_slot_next(walk, low, span);
        slots[i + 3] = (uint8_t)aie_slot_next(walk, low, span);
    }
    for (; i < count; i++) {
        slots[i] = (uint8_t)aie_slot_next(walk, low, span);
    }
    for (uint32_t slot = 0; slot <= span; slot++) {
        tallies[slot] += aie_count_in(slots, count, (uint8_t)slot);
    }
}

/* How many words hold each of the `span` values from `low` on: tallies[value - low]; and in
 * tallies[span] those that hold another. */
static inline void aie_array_tally(const aie_array *array, int32_t low, uint32_t span,
                                   size_t *tallies)
{
    for (uint32_t slot = 0; slot <= span; slot++) {
        tallies[slot] = 0;
    }
    aie_walk walk = {array->words, array->stride};
    size_t block;
    for (size_t left = array->count; left > 0 && span <= AIE_FEW_VALUES; left -= block) {
        block = left < AIE_BLOCK ? left : AIE_BLOCK;
        aie_tally_block(&walk, block, low, span, tallies);
    }
    for (size_t left = array->count; left > 0 && span > AIE_FEW_VALUES; left--) {
        tallies[aie_slot_next(&walk, low, span)]++;
    }
}

/* How many words hold `value`. */
static inline size_t aie_array_count(const aie_array *array, int32_t value)
{
    size_t tallies[2];
    aie_array_tally(array, value, 1, tallies);
    return tallies[0];
}

/* Make the change, which does not compare, to the words from `from` on, until one is LOCKED.  Its
 * index, with nothing written there; or the number of words when all are done. */
static inline size_t aie_array_fill(const aie_array *array, size_t from, aie_change *change)
{
    size_t i = from;
    while (i < array->count
           && aie_word_change(aie_array_word(array, i), array->event, change) == AIE_OK) {
        i++;
    }
    return i;
}

/* ------------------------------------------------------------------ claiming */

typedef aie_result (*aie_judge)(const aie_array *array, size_t index, int64_t deadline);

/* Find a word that the change, which compares, can be made to, make it, and say which; looking at
 * every word once, from `start` on.
 *
 *   OK        *index is this caller's: nobody else got it
 *   LOCKED    those that matched are LOCKED by somebody; *index is the first of them
 *   MISMATCH  none matched
 *
 * Who loses a word to another claimer goes on elsewhere, once: claimers that start at one place
 * (the children of one fork) would otherwise meet again at every word.
 *
 * A word that is OWNED is judged first, where there is a judge (owner.h): what a dead process owns is
 * not claimed for it. */
static inline aie_result aie_array_claim(const aie_array *array, size_t start, aie_change *change,
                                         size_t *index, aie_judge judge)
{
    int32_t expected = change->expected;
    bool locked = false;
    bool moved = false;
    size_t i = start < array->count ? start : 0;
    for (size_t left = array->count; left > 0; left--) {
        aie_word *word = aie_array_word(array, i);
        uint64_t seen = aie_word_load(word);
        if (aie_word_value(seen) == expected) {
            aie_result result =
                judge == NULL || !(seen & AIE_OWNED_BIT) ? AIE_MISMATCH : judge(array, i, 0);
            /* Neither nobody's, nor a live process's, and its lock is not to be had. */
            bool kept = result != AIE_OK && result != AIE_MISMATCH;
            result = kept ? AIE_LOCKED : aie_word_change(word, array->event, change);
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
                /* The product takes neighbouring ids to places far apart. */
                i = (i + aie_self_get()->thread * UINT64_C(0x9E3779B97F4A7C15)) % array->count;
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

/* A slice of the claim of one word that was LOCKED: as aie_change_slice. */
static inline aie_result aie_array_claim_locked(const aie_array *array, size_t index,
                                                aie_change *change, int64_t deadline,
                                                aie_judge judge)
{
    aie_word *word = aie_array_word(array, index);
    aie_result judged = judge == NULL || !(aie_word_load(word) & AIE_OWNED_BIT)
                            ? AIE_MISMATCH
                            : judge(array, index, deadline);
    if (judged != AIE_MISMATCH) {
        return judged == AIE_OK ? AIE_MISMATCH : judged; /* it has been given back: claim again */
    }
    return aie_change_slice(word, aie_array_control(array, index), array->event, change, deadline);
}

/* After LOCKED: wait so long (ns) for the lock of word *index, and write if it still matches.  OK, or
 * MISMATCH or BUSY: claim again, since another word may match by now.
 *
 * First the locks of all that match are tried: one may be this thread's own, or that of a holder
 * who died, while *index stays locked for long. */
static inline aie_result aie_array_claim_slice(const aie_array *array, aie_change *change,
                                               size_t *index, int64_t patience, aie_judge judge)
{
    size_t i = *index;
    for (size_t left = array->count; left > 0; left--) {
        if (aie_word_value(aie_word_load(aie_array_word(array, i))) == change->expected) {
            aie_result result = aie_array_claim_locked(array, i, change, 0, judge);
            if (result != AIE_MISMATCH && result != AIE_BUSY) {
                *index = i;
                return result;
            }
        }
        i = i + 1 < array->count ? i + 1 : 0;
    }
    return patience == 0
               ? AIE_BUSY
               : aie_array_claim_locked(array, *index, change, aie_now() + patience, judge);
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

/* What a watcher waits for: one word that meets the goal; or with `all`, that no word fails it; or,
 * with `before`, one that has another value than there. */
typedef struct {
    aie_goal goal;
    bool all;
    size_t index; /* the word that met it; with `all` the last one that failed, looked at first */
    const int32_t *before;
} aie_watch;

/* The first word whose value is another than before; the number of words if there is none. */
static inline size_t aie_array_find_moved(const aie_array *array, const int32_t *before)
{
    aie_walk walk = {array->words, array->stride};
    size_t i = 0;
    while (i < array->count && aie_walk_next(&walk) == before[i]) {
        i++;
    }
    return i;
}

static inline bool aie_watch_met(const aie_array *array, aie_watch *watch)
{
    if (watch->before != NULL) {
        return aie_array_find_moved(array, watch->before) < array->count;
    }
    /* All: from the word that failed last, so that most looks end at once.  Any: the lowest one. */
    size_t found = aie_array_find(array, &watch->goal, !watch->all, watch->all ? watch->index : 0);
    if (watch->all) {
        watch->index = found < array->count ? found : 0;
        return found == array->count;
    }
    watch->index = found;
    return found < array->count;
}

/* Sleep once; outcomes as aie_await_sleeping. */
static inline aie_result aie_watch_sleeping(const aie_array *array, aie_watch *watch,
                                            int64_t deadline)
{
    int64_t now = aie_now(); /* before the look, as in aie_await_sleeping */
    uint32_t armed = aie_event_arm(array->event, AIE_ARMED);
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
        do {
            if (aie_watch_met(array, watch)) {
                return AIE_OK;
            }
            aie_relax();
        } while (aie_now() < (until < deadline ? until : deadline));
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
        bool mine = (seen & AIE_LOCKED_BIT) && array->controls != NULL
                    && aie_lock_is_mine(aie_array_control(array, i), word);
        if (watch->all ? mine && !aie_goal_met(&watch->goal, seen) : !mine) {
            return watch->all;
        }
    }
    return !watch->all;
}
