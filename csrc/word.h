/* word.h -- lock-free operations on a state word.
 *
 * Every access is seq_cst.  A seq_cst load is a plain mov on x86-64 and one ldar on ARM, as an
 * acquire load is, and users may reason about one total order over all their values.
 *
 * Wait-free: aie_word_load.  Lock-free: all others (a failed CAS means that somebody else's
 * succeeded).
 */
#pragma once

#include "event.h"
#include "layout.h"

/* Part of each frequent call, however often it stands elsewhere: a call would cost it a tenth. */
#define AIE_ALWAYS static inline __attribute__((always_inline))

/* What to write: `desired`, and with `compare` only where the word holds `expected`.
 * `seen` comes back as the word that the outcome was decided on (the one before the write).
 * In a segment with owners owner.h says `owned`, and `lease`: the owner bits of a word that nobody
 * has called own() for; or, of the word that is `left`, `resumed`. */
typedef struct {
    uint64_t seen;
    int32_t expected;
    int32_t desired;
    bool compare;
    bool owned;
    uint64_t lease;
    uint64_t left; /* but for LOCKED and WAITERS; 0: none is */
    uint64_t resumed;
    const _Atomic uint32_t *ending; /* or NULL; see aie_change_is_late */
} aie_change;

static inline uint64_t aie_word_load(const aie_word *word)
{
    /* seq_cst: pairs with every change below; what happened before a change is visible to whoever
     * reads the changed value. */
    return atomic_load_explicit(word, memory_order_seq_cst);
}

/* What a write of `value` over `seen` leaves: one version more, LOCKED kept, all else cleared. */
static inline uint64_t aie_word_successor(uint64_t seen, int32_t value)
{
    uint64_t version = (seen + AIE_VERSION_ONE) & AIE_VERSION_MASK;
    return version | (seen & AIE_LOCKED_BIT) | (uint32_t)value;
}

/* What a change leaves.  A word that is OWNED keeps its owner, and who writes what was there does not
 * become it. */
static inline uint64_t aie_word_changed(uint64_t seen, const aie_change *change)
{
    uint64_t after = aie_word_successor(seen, change->desired);
    if (!change->owned) {
        return after;
    }
    bool keeps =
        (seen & AIE_OWNED_BIT) != 0 || (change->compare && change->expected == change->desired);
    if (change->left != 0 && (seen & ~(AIE_LOCKED_BIT | AIE_WAITERS_BIT)) == change->left) {
        return after | change->resumed;
    }
    return after | (keeps ? seen & (AIE_OWNED_BIT | AIE_OWNER_MASK) : change->lease);
}

/* The half of the word that a sleeper sleeps on: LOCKED, WAITERS and the version.  Only the kernel
 * looks at it, and only for a change. */
static inline const _Atomic uint32_t *aie_word_upper(const aie_word *word)
{
    const _Atomic uint32_t *halves = (const _Atomic uint32_t *)(const void *)word;
    return AIE_VALUE_OFFSET == 0 ? halves + 1 : halves;
}

/* After the CAS of a write over `seen`: wake who sleeps on the word, and who watches the segment. */
static inline void aie_word_wake(const aie_word *word, uint64_t seen, aie_event *event)
{
    if (seen & AIE_WAITERS_BIT) {
        AIE_POINT("write-before-wake");
        aie_wake_all(aie_word_upper(word));
    }
    aie_event_signal(event);
}

/* A process that ends has given back what it leased, and somebody else may have leased it since.  A
 * thread of it that goes on and commits would take the other's for its own. */
static inline bool aie_change_is_late(uint64_t seen, const aie_change *change)
{
    /* seq_cst, and behind the load of the word: either this sees that the process ends, or its walk comes
     * after that load, and the CAS fails. */
    uint32_t row = change->owned && change->ending != NULL
                       ? atomic_load_explicit(change->ending, memory_order_seq_cst)
                       : 0;
    return row != 0 && aie_word_owner(seen) != row;
}

/* One attempt to make the change, stopping at `stop_bits` (LOCKED for a bare writer, nothing for
 * the lock's holder).  `event` is the segment's.  OK, MISMATCH or LOCKED. */
AIE_ALWAYS aie_result aie_word_attempt(aie_word *word, aie_event *event, aie_change *change,
                                       uint64_t stop_bits)
{
    uint64_t seen = aie_word_load(word);
    for (;;) {
        change->seen = seen;
        /* Before the LOCKED test: a compare that fails is answered from the load alone. */
        if (change->compare
            && (aie_word_value(seen) != change->expected || aie_change_is_late(seen, change))) {
            return AIE_MISMATCH;
        }
        if (seen & stop_bits) {
            return AIE_LOCKED;
        }
        /* seq_cst on success: publishes everything before the write to whoever loads it (pairs
         * with aie_word_load), and orders the write against the lock's fetch-or of LOCKED: either
         * this CAS comes first, or it fails and sees LOCKED.  seq_cst on failure: `seen` is then
         * a load like any other. */
        if (atomic_compare_exchange_weak_explicit(word, &seen, aie_word_changed(seen, change),
                                                  memory_order_seq_cst, memory_order_seq_cst)) {
            aie_word_wake(word, seen, event);
            return AIE_OK;
        }
    }
}

/* The fast path.  OK, MISMATCH, or LOCKED with nothing written: locked_write.h goes on. */
AIE_ALWAYS aie_result aie_word_change(aie_word *word, aie_event *event, aie_change *change)
{
    return aie_word_attempt(word, event, change, AIE_LOCKED_BIT);
}

/* For the thread that holds the lock.  OK or MISMATCH.  It still needs a CAS: sleepers set WAITERS
 * whether or not the word is locked. */
static inline aie_result aie_word_change_held(aie_word *word, aie_event *event, aie_change *change)
{
    return aie_word_attempt(word, event, change, 0);
}

/* The first value of a fresh word, before anybody else knows the word: version 0. */
static inline void aie_word_first(aie_word *word, int32_t value)
{
    /* seq_cst: as any other write; whoever is told of the word later sees the value. */
    atomic_store_explicit(word, (uint64_t)(uint32_t)value, memory_order_seq_cst);
}
