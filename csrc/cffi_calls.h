/* cffi_calls.h -- what build_cffi.py binds: the core in calls that take and return plain integers.
 *
 * A call that filled a struct would cost an allocation in Python.  So an outcome that carries a
 * value is one int64: the value itself, and below all of those AIE_CFFI_RESULT - result.  And what
 * belongs together is one call: between two of them a signal handler may raise.
 */
#ifndef AIE_CFFI_CALLS_H
#define AIE_CFFI_CALLS_H

#include "sysfeatures.h"

#include "core.h"
#include "region.h"

#define AIE_CFFI_RESULT (-(INT64_C(1) << 40)) /* below any 32-bit value */

/* More outcomes than result.h's, of acquiring and releasing. */
#define AIE_CFFI_OUTERMOST 64 /* OK, and it was not held before, or is not any more */
#define AIE_CFFI_ABANDONED 65 /* the same, and a holder died since the last report */

#define AIE_MUTEX_SIZE sizeof(pthread_mutex_t)
#define AIE_CONTROL_SIZE sizeof(aie_control)

static inline void *aie_cffi_base(aie_region *region)
{
    return region->base;
}

static inline aie_word *aie_cffi_word(aie_region *region, size_t offset)
{
    return (aie_word *)(region->base + offset);
}

static inline aie_control *aie_cffi_control(aie_region *region, size_t offset)
{
    return (aie_control *)(region->base + offset);
}

static inline aie_event *aie_cffi_event(aie_region *region)
{
    return &((aie_header *)region->base)->event;
}

/* 0, or pthread's error. */
static inline int aie_cffi_prepare(aie_control *controls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int error = aie_control_init(controls + i);
        if (error) {
            return error;
        }
    }
    return 0;
}

static inline void aie_cffi_publish(aie_region *region)
{
    /* release: pairs with the acquire of whoever looks whether the segment is complete. */
    atomic_store_explicit(&((aie_header *)region->base)->magic, AIE_MAGIC, memory_order_release);
}

static inline uint64_t aie_cffi_published(aie_region *region)
{
    /* acquire: see aie_cffi_publish. */
    return atomic_load_explicit(&((aie_header *)region->base)->magic, memory_order_acquire);
}

/* Of the word, the 32 bits that are wanted: a uint64 would be a big integer to PyPy. */
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

static inline int64_t aie_cffi_previous(aie_result result, const aie_change *change)
{
    return result == AIE_OK ? aie_word_value(change->seen) : AIE_CFFI_RESULT - (int64_t)result;
}

static inline int64_t aie_cffi_exchange(aie_word *word, aie_event *event, int32_t desired)
{
    aie_change change = {.desired = desired};
    aie_result result = aie_word_change(word, event, &change);
    return aie_cffi_previous(result, &change);
}

static inline int aie_cffi_compare_and_set(aie_word *word, aie_event *event, int32_t expected,
                                           int32_t desired)
{
    aie_change change = {.expected = expected, .desired = desired, .compare = true};
    return aie_word_change(word, event, &change);
}

/* One slice of a change whose word was seen LOCKED.  The value before; or AIE_CFFI_RESULT - result:
 * MISMATCH; BUSY, call again to `wait` another moment. */
static inline int64_t aie_cffi_change_slice(aie_word *word, aie_control *control, aie_event *event,
                                            bool compare, int32_t expected, int32_t desired,
                                            bool wait)
{
    aie_change change = {.expected = expected, .desired = desired, .compare = compare};
    int64_t deadline = wait ? aie_now() + AIE_SLICE : 0;
    aie_result result = aie_change_slice(word, control, event, &change, deadline);
    return aie_cffi_previous(result, &change);
}

/* What an acquisition adds to the core's: its memory stays mapped meanwhile, and a report is taken
 * unless it is for a write (`quietly`). */
static inline int aie_cffi_acquired(aie_region *region, aie_control *control, aie_result result,
                                    bool quietly)
{
    if (result != AIE_OK || aie_lock_depth(control) != 1) {
        return result;
    }
    aie_region_hold(region);
    return !quietly && aie_lock_take_report(control) ? AIE_CFFI_ABANDONED : AIE_CFFI_OUTERMOST;
}

static inline int aie_cffi_lock_try(aie_region *region, aie_control *control, aie_word *word,
                                    bool quietly)
{
    return aie_cffi_acquired(region, control, aie_lock_try(control, word), quietly);
}

static inline int aie_cffi_lock_until(aie_region *region, aie_control *control, aie_word *word,
                                      bool quietly, int64_t deadline)
{
    return aie_cffi_acquired(region, control, aie_lock_until(control, word, deadline), quietly);
}

static inline int aie_cffi_await(aie_word *word, const int32_t *values, size_t count, bool leave,
                                 int64_t deadline, bool spin)
{
    aie_goal goal = {values, count, leave};
    uint64_t seen;
    return aie_await(word, &goal, deadline, spin, &seen);
}

static inline int64_t aie_cffi_array_exchange(const aie_array *array, size_t index, int32_t desired)
{
    return aie_cffi_exchange(aie_array_word(array, index), array->event, desired);
}

static inline int aie_cffi_array_compare_and_set(const aie_array *array, size_t index,
                                                 int32_t expected, int32_t desired)
{
    return aie_cffi_compare_and_set(aie_array_word(array, index), array->event, expected, desired);
}

/* The index; or AIE_CFFI_RESULT - result: MISMATCH, no word matches; BUSY, call again to `wait`
 * another moment for the lock of one that does. */
static inline int64_t aie_cffi_array_claim(const aie_array *array, size_t start, int32_t expected,
                                           int32_t desired, bool wait)
{
    size_t index = 0;
    aie_result result = aie_array_claim(array, start, expected, desired, &index);
    if (result == AIE_LOCKED) {
        result = wait ? aie_array_claim_slice(array, expected, desired, &index) : AIE_BUSY;
        if (result == AIE_MISMATCH) {
            result = AIE_BUSY; /* of this word alone */
        }
    }
    return result == AIE_OK ? (int64_t)index : AIE_CFFI_RESULT - (int64_t)result;
}

static inline void aie_cffi_set_spin(int64_t ns)
{
    /* relaxed: any wait that begins later sees it soon enough. */
    atomic_store_explicit(&aie_spin_ns, ns, memory_order_relaxed);
}

static inline int aie_cffi_lock_release(aie_region *region, aie_control *control, aie_word *word)
{
    bool last = false;
    aie_result result = aie_lock_release(control, word, &last);
    if (result != AIE_OK || !last) {
        return result;
    }
    aie_region_drop(region);
    return AIE_CFFI_OUTERMOST;
}

#endif
