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

/* What a process that ends has left of a word that it had called own() for, but for LOCKED. */
typedef struct {
    const aie_word *word;
    _Atomic uint64_t left;
} aie_left_word;

/* A segment as this process has it once it ends, while threads of it may write on. */
typedef struct {
    _Atomic uint32_t row; /* this process's; 0: it does not end */
    size_t count;
    aie_left_word *words;
} aie_late;

/* What to write: `desired`, and with `compare` only where the word holds `expected`.
 * `seen` comes back as the word that the outcome was decided on (the one before the write).
 * In a segment with owners owner.h says the rest: `late`; `lease`, the owner bits of a word that nobody
 * has called own() for; and whether it `commits`, by a compare with what is leased. */
typedef struct {
    uint64_t seen;
    int32_t expected;
    int32_t desired;
    bool compare;
    bool commits;
    uint64_t lease;
    aie_late *late; /* NULL: there are no owners */
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

/* What the ending process has left of a word; NULL if it had not called own() for it. */
static inline aie_left_word *aie_late_find(const aie_late *late, const aie_word *word)
{
    for (size_t i = 0; i < late->count; i++) {
        if (late->words[i].word == word) {
            return &late->words[i];
        }
    }
    return NULL;
}

/* The owner bits that a change leaves, in a process that is of row `ends` if it ends.  A word that is
 * OWNED keeps its owner, and who writes what was there does not become it.  What an ending process
 * owned is its own again as soon as it writes that, unless somebody has written it since: so what it
 * writes is given back as well. */
static inline uint64_t aie_word_owner_after(const aie_word *word, uint64_t seen,
                                            const aie_change *change, uint32_t ends)
{
    if ((seen & AIE_OWNED_BIT) || (change->compare && change->expected == change->desired)) {
        return seen & (AIE_OWNED_BIT | AIE_OWNER_MASK);
    }
    aie_left_word *mine = ends == 0 ? NULL : aie_late_find(change->late, word);
    /* seq_cst: stored before the CAS that left this word. */
    if (mine != NULL
        && atomic_load_explicit(&mine->left, memory_order_seq_cst)
               == (seen & ~(AIE_LOCKED_BIT | AIE_WAITERS_BIT))) {
        return AIE_OWNED_BIT | (uint64_t)ends << AIE_OWNER_SHIFT;
    }
    return change->lease;
}

/* The half of the word that a sleeper sleeps on: LOCKED, WAITERS and the version.  Only the kernel
 * looks at it, and only for a change. */
static inline const _Atomic uint32_t *aie_word_upper(const aie_word *word)
{
    const _Atomic uint32_t *halves = (const _Atomic uint32_t *)(const void *)word;
    return AIE_VALUE_OFFSET == 0 ? halves + 1 : halves;
}

/* Who saw WAITERS wakes who sleeps on the word, and who watches it or the segment. */
__attribute__((noinline, cold, unused)) static void aie_word_wake_waiters(const aie_word *word,
                                                                          aie_event *event)
{
    AIE_POINT("write-before-wake");
    aie_wake_all(aie_word_upper(word));
    aie_event_signal(event, AIE_ARMED | AIE_BELL);
}

/* After the CAS of a write over `seen`: wake who sleeps on the word, and who watches the segment. */
AIE_ALWAYS void aie_word_wake(const aie_word *word, uint64_t seen, aie_event *event)
{
    if (__builtin_expect((seen & AIE_WAITERS_BIT) != 0, 0)) {
        aie_word_wake_waiters(word, event);
        return;
    }
    aie_event_signal(event, AIE_ARMED);
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
        if (change->compare && aie_word_value(seen) != change->expected) {
            return AIE_MISMATCH;
        }
        uint64_t owner = 0;
        if (change->late != NULL) {
            /* seq_cst, and behind the load of the word: either this sees that the process ends, or its
             * walk comes after that load, and the CAS fails. */
            uint32_t ends = atomic_load_explicit(&change->late->row, memory_order_seq_cst);
            /* It has given back what it leased, and somebody else may lease it by now. */
            if (ends != 0 && change->commits && aie_word_owner(seen) != ends) {
                return AIE_MISMATCH;
            }
            owner = aie_word_owner_after(word, seen, change, ends);
        }
        if (seen & stop_bits) {
            return AIE_LOCKED;
        }
        /* seq_cst on success: publishes everything before the write to whoever loads it (pairs
         * with aie_word_load), and orders the write against the lock's fetch-or of LOCKED: either
         * this CAS comes first, or it fails and sees LOCKED.  seq_cst on failure: `seen` is then
         * a load like any other. */
        if (atomic_compare_exchange_weak_explicit(word, &seen,
                                                  aie_word_successor(seen, change->desired) | owner,
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
