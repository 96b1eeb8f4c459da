/* cffi_calls.h -- what build_cffi.py binds: the core in calls that take and return plain integers.
 *
 * A call that filled a struct would cost an allocation in Python.  So an outcome that carries a
 * value is one int64: the value itself, and below all of those AIE_CFFI_RESULT - result.  And what
 * belongs together is one call: between two of them a signal handler may raise.
 */
#pragma once

#include "attach.h"
#include "core.h"
#include "create.h"
#include "desk.h"

#define AIE_CFFI_RESULT (-(INT64_C(1) << 40)) /* below any 32-bit value */
#define AIE_CFFI_ANY AIE_CFFI_RESULT          /* as an expected value: whatever it is */

/* More outcomes than result.h's, of acquiring. */
#define AIE_CFFI_OUTERMOST 64 /* OK, and it was not held before */
#define AIE_CFFI_ABANDONED 65 /* the same, and a holder died since the last report */

/* Words, their locks, and what they are in.  A value's is an array of one. */
typedef struct {
    aie_array words;
    aie_region *region;
} aie_cffi_place;

#define AIE_MUTEX_SIZE sizeof(pthread_mutex_t)
#define AIE_CONTROL_SIZE sizeof(aie_control)

/* As aie_region_create and aie_region_open; the region goes to *region at once, where it is found
 * whatever happens to the call.  0, or an errno. */
static inline int aie_cffi_create(aie_region **region, const char *name, const unsigned char *head,
                                  size_t head_size, size_t size, int32_t first, bool nameless)
{
    aie_plan plan = {head, head_size, size, first,
                     nameless ? AIE_ANSWER_NAMELESS : AIE_ANSWER_NAMED};
    *region = aie_region_create(name, &plan);
    return *region != NULL ? 0 : errno;
}

static inline int aie_cffi_attach(aie_region **region, const char *name, int answer, char *why)
{
    *region = aie_region_open(name, (aie_answer)answer, why);
    return *region != NULL ? 0 : errno;
}

/* The words, without control blocks where locks mean nothing, in another PID namespace. */
static inline aie_array aie_cffi_here(const aie_cffi_place *place)
{
    aie_array here = place->words;
    here.controls = (unsigned char *)aie_region_control(place->region, here.controls);
    return here;
}

/* Only the 32 bits that are wanted: a uint64 would be a big integer to PyPy. */
static inline int32_t aie_cffi_number(aie_word *word)
{
    return aie_word_value(aie_word_load(word));
}

static inline uint32_t aie_cffi_version(aie_word *word)
{
    return aie_word_version(aie_word_load(word));
}

static inline bool aie_cffi_is_locked(aie_word *word)
{
    return aie_word_load(word) & AIE_LOCKED_BIT;
}

/* A change may have this process own what it writes: have a row for it, unless no word (of one, or of
 * all) is what it compares with. */
static inline aie_result aie_cffi_leases(const aie_cffi_place *place, const aie_array *words,
                                         aie_change *change)
{
    aie_owners *owners = words->owners;
    if (owners == NULL || aie_change_leases(owners, change)) {
        return AIE_OK;
    }
    if (change->compare && aie_array_count(words, change->expected) == 0) {
        return AIE_MISMATCH;
    }
    aie_result result = aie_owners_enter(place->region);
    (void)aie_change_leases(owners, change);
    return result;
}

/* The value before; or AIE_CFFI_RESULT - result: MISMATCH; BUSY, call again to `wait` a moment for
 * the lock. */
static inline int64_t aie_cffi_change(const aie_cffi_place *place, size_t index, int64_t expected,
                                      int32_t desired, bool wait)
{
    aie_change change = {
        .expected = (int32_t)expected, .desired = desired, .compare = expected != AIE_CFFI_ANY};
    aie_array one = aie_cffi_here(place);
    aie_control *control = aie_array_control(&one, index);
    one.words += index * one.stride;
    one.count = 1;
    aie_result result = aie_cffi_leases(place, &one, &change);
    if (result == AIE_OK) {
        result = aie_change_slice(aie_array_word(&one, 0), control, one.event, &change,
                                  wait ? aie_now() + AIE_SLICE : 0);
    }
    return result == AIE_OK ? aie_word_value(change.seen) : AIE_CFFI_RESULT - (int64_t)result;
}

/* A value's first attempt, by few arguments: each costs as much as all that is done here. */
static inline int64_t aie_cffi_exchange(const aie_cffi_place *place, int32_t desired)
{
    return aie_cffi_change(place, 0, AIE_CFFI_ANY, desired, false);
}

static inline int64_t aie_cffi_compare_and_set(const aie_cffi_place *place, int32_t expected,
                                               int32_t desired)
{
    return aie_cffi_change(place, 0, expected, desired, false);
}

/* As aie_array_fill: where it has come to; or AIE_CFFI_RESULT - result. */
static inline int64_t aie_cffi_fill(const aie_cffi_place *place, size_t from, int32_t desired)
{
    aie_change change = {.desired = desired, .compare = false};
    aie_result result = aie_cffi_leases(place, &place->words, &change);
    return result == AIE_OK ? (int64_t)aie_array_fill(&place->words, from, &change)
                            : AIE_CFFI_RESULT - (int64_t)result;
}

/* The index; or AIE_CFFI_RESULT - result: MISMATCH, no word matches (and with `at_last`, no dead owners'
 * either); BUSY, call again to `wait` another moment for the lock of one that does. */
static inline int64_t aie_cffi_claim(const aie_cffi_place *place, size_t start, int32_t expected,
                                     int32_t desired, bool wait, bool at_last)
{
    size_t index = start;
    aie_array here = aie_cffi_here(place);
    aie_judge judge = here.owners == NULL ? NULL : aie_owners_judge;
    aie_change change = {.expected = expected, .desired = desired, .compare = true};
    aie_result result;
    do {
        result = aie_cffi_leases(place, &here, &change);
        if (result == AIE_OK) {
            result = aie_array_claim(&here, index, &change, &index, judge);
        }
    } while (here.owners != NULL
             && ((result == AIE_MISMATCH && at_last && aie_owners_recover(&here, true, NULL) > 0)
                 || (result == AIE_LOCKED && aie_owners_recover(&here, false, NULL) > 0)));
    if (result == AIE_LOCKED) {
        result = aie_array_claim_slice(&here, &change, &index, wait ? AIE_CLAIM_SLICE : 0, judge);
        if (result == AIE_MISMATCH) {
            result = AIE_BUSY; /* of this word alone */
        }
    }
    return result == AIE_OK ? (int64_t)index : AIE_CFFI_RESULT - (int64_t)result;
}

/* What a wait does now and then: give back what dead processes own. */
static inline void aie_cffi_notice(const aie_cffi_place *place)
{
    aie_array here = aie_cffi_here(place);
    aie_owners_recover(&here, false, NULL);
}

/* The pids of the owners of some words. */
static inline void aie_cffi_owners(const aie_region *region, size_t first, size_t count,
                                   uint32_t *pids)
{
    aie_array part = aie_region_part(region, first, count);
    aie_owners_pids(&part, pids);
}

/* How many words are given back; from `first` on, their indices go to `given`. */
static inline size_t aie_cffi_recover(const aie_region *region, size_t first, size_t count,
                                      size_t *given)
{
    aie_array part = aie_region_part(region, first, count);
    return aie_owners_recover(&part, true, given);
}

/* As aie_region_own: 0, a pid, or AIE_CFFI_RESULT - result. */
static inline int64_t aie_cffi_own(aie_region *region, size_t index, bool ends, bool wait)
{
    uint32_t pid = 0;
    aie_result result = aie_region_own(region, index, ends, wait ? aie_now() + AIE_SLICE : 0, &pid);
    return result == AIE_OK || result == AIE_OWNED ? (int64_t)pid
                                                   : AIE_CFFI_RESULT - (int64_t)result;
}

static inline bool aie_cffi_watch_is_own(const aie_cffi_place *place, const aie_watch *watch)
{
    aie_array here = aie_cffi_here(place);
    return aie_watch_is_own(&here, watch);
}

/* Acquire the lock of a value.  A `deadline` of 0 never waits.  Before a positive one, until which a
 * slice waits, comes its negative, which leaves the lock to who has waited long, and tries.  The
 * report of a death is taken unless it is for a write (`quietly`). */
static inline int aie_cffi_lock(const aie_cffi_place *place, bool quietly, int64_t deadline)
{
    aie_word *word = aie_array_word(&place->words, 0);
    aie_control *control = aie_array_control(&place->words, 0);
    if (deadline < 0 && !place->region->elsewhere) {
        aie_lock_step_back(control, -deadline);
    }
    aie_result result = place->region->elsewhere ? AIE_ELSEWHERE
                        : deadline > 0           ? aie_lock_until(control, word, deadline)
                                                 : aie_lock_try(control, word);
    if (result != AIE_OK || aie_lock_depth(control) != 1) {
        return result;
    }
    return !quietly && aie_lock_take_report(control) ? AIE_CFFI_ABANDONED : AIE_CFFI_OUTERMOST;
}

static inline int aie_cffi_lock_release(const aie_cffi_place *place)
{
    return place->region->elsewhere ? AIE_ELSEWHERE
                                    : aie_lock_release(aie_array_control(&place->words, 0),
                                                       aie_array_word(&place->words, 0));
}

static inline void aie_cffi_lock_goes(const aie_cffi_place *place)
{
    aie_region_leave_lock(place->region, aie_array_control(&place->words, 0));
}

static inline bool aie_cffi_is_mine(const aie_cffi_place *place)
{
    return !place->region->elsewhere
           && aie_lock_is_mine(aie_array_control(&place->words, 0),
                               aie_array_word(&place->words, 0));
}

static inline void aie_cffi_set_spin(int64_t ns)
{
    /* relaxed: any wait that begins later sees it soon enough. */
    atomic_store_explicit(&aie_spin_ns, ns, memory_order_relaxed);
}
