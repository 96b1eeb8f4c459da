/* event.h -- watching a whole segment: one 32-bit word in its header.
 *
 *   bit  0     ARMED     somebody watches: the next writer advances, disarms and wakes
 *   bits 1-31  sequence  counts the advances, modulo 2^31
 *
 * csrc/README.md says why no wake-up is lost.
 */
#pragma once

#include "crash_point.h"
#include "park.h"

typedef _Atomic uint32_t aie_event;

#define AIE_ARMED 1u

/* A watcher calls this before it reads the words, and sleeps on what it returns.  If it loaded the
 * event word again after its look, it could miss a writer whose word the look had passed. */
static inline uint32_t aie_event_arm(aie_event *event)
{
    /* seq_cst: pairs with the load in aie_event_signal.  Either this comes before that load, and
     * then the writer sees ARMED; or after it, and then the watcher's loads of the words, which
     * come later still, see that writer's CAS, which came before its load. */
    return atomic_fetch_or_explicit(event, AIE_ARMED, memory_order_seq_cst) | AIE_ARMED;
}

/* Every writer calls this after its CAS.  It costs one load, unless somebody watches. */
static inline void aie_event_signal(aie_event *event)
{
    /* seq_cst: after the CAS of the word in the one order of all of them; see aie_event_arm. */
    uint32_t seen = atomic_load_explicit(event, memory_order_seq_cst);
    if (__builtin_expect((seen & AIE_ARMED) != 0, 0)) {
        AIE_POINT("event-before-advance");
        /* seq_cst: a watcher that armed after this is not disarmed by it.  seen + 1 is the next
         * sequence with ARMED clear.  Failed: another writer advanced, and wakes; or, had that been
         * before this write, who armed since reads the words after it. */
        if (atomic_compare_exchange_strong_explicit(event, &seen, seen + 1, memory_order_seq_cst,
                                                    memory_order_seq_cst)) {
            AIE_POINT("event-before-wake");
            aie_wake_all(event);
        }
    }
}
