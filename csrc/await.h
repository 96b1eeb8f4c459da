/* await.h -- waiting until a state word holds one of some values, or none of them.
 *
 * csrc/README.md says why no write goes unnoticed between a sleeper's look and its sleep.
 */
#pragma once

#include "word.h"

#ifndef AIE_LOOK_AGAIN /* a stress test makes it hours: a lost wake-up then shows */
/* 250 ms: after so long a sleeper looks by itself, since a writer may have been killed between its
 * CAS, which cleared WAITERS, and its wake-up. */
#define AIE_LOOK_AGAIN (AIE_NS_PER_S / 4)
#endif

/* What is waited for: that the value is one of `values`, or with `leave` that it is none of them. */
typedef struct {
    const int32_t *values;
    size_t count;
    bool leave;
} aie_goal;

static inline bool aie_goal_met(const aie_goal *goal, uint64_t word)
{
    int32_t value = aie_word_value(word);
    bool among = false;
    for (size_t i = 0; i < goal->count && !among; i++) {
        among = goal->values[i] == value;
    }
    return among != goal->leave;
}

/* Look for about a microsecond: so long it is not worth while to read the clock, or to let go of
 * the GIL.  OK when the goal is met, else BUSY. */
static inline aie_result aie_await_looking(aie_word *word, const aie_goal *goal, uint64_t *seen)
{
    for (int i = 0; i < 32; i++) {
        *seen = aie_word_load(word);
        if (aie_goal_met(goal, *seen)) {
            return AIE_OK;
        }
        aie_relax();
    }
    return AIE_BUSY;
}

/* Sleep once.  OK with the goal met and `seen` the word that meets it; BUSY when the monotonic
 * `deadline` is past; INTERRUPTED by a signal; AGAIN for any other reason to call again (at the
 * latest after AIE_LOOK_AGAIN). */
static inline aie_result aie_await_sleeping(aie_word *word, const aie_goal *goal, int64_t deadline,
                                            uint64_t *seen)
{
    /* The clock before the word, here and below: what came before the deadline is not too late. */
    int64_t now = aie_now();
    *seen = aie_word_load(word);
    for (;;) {
        if (aie_goal_met(goal, *seen)) {
            return AIE_OK;
        }
        if (*seen & AIE_WAITERS_BIT) {
            break;
        }
        /* seq_cst: in the word's one order this is before the next write, which then sees WAITERS
         * and wakes, or after the last one, and then it fails and the loop looks at its value. */
        if (atomic_compare_exchange_weak_explicit(word, seen, *seen | AIE_WAITERS_BIT,
                                                  memory_order_seq_cst, memory_order_seq_cst)) {
            *seen |= AIE_WAITERS_BIT;
            break;
        }
    }
    AIE_POINT("wait-announced");
    if (now >= deadline) {
        return AIE_BUSY;
    }
    int64_t until = deadline - now < AIE_LOOK_AGAIN ? deadline : now + AIE_LOOK_AGAIN;
    aie_result result = aie_wait(aie_word_upper(word), (uint32_t)(*seen >> 32), until);
    AIE_POINT("wait-woken");
    now = aie_now();
    *seen = aie_word_load(word); /* any wake-up reads again */
    if (aie_goal_met(goal, *seen)) {
        return AIE_OK;
    }
    if (result == AIE_INTERRUPTED) {
        return AIE_INTERRUPTED;
    }
    return now >= deadline ? AIE_BUSY : AIE_AGAIN;
}

/* Wait once, as aie_await_sleeping does; with `spin`, look for a while before that. */
static inline aie_result aie_await(aie_word *word, const aie_goal *goal, int64_t deadline,
                                   bool spin, uint64_t *seen)
{
    if (spin && aie_spin() > 0) {
        int64_t until = aie_now() + aie_spin();
        do {
            if (aie_await_looking(word, goal, seen) == AIE_OK) {
                return AIE_OK;
            }
        } while (aie_now() < (until < deadline ? until : deadline));
    }
    return aie_await_sleeping(word, goal, deadline, seen);
}
