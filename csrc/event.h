/* event.h -- watching a whole segment: one 32-bit word in its header.
 *
 *   bit  0     ARMED     somebody watches: the next writer advances, disarms and wakes
 *   bits 1-31  sequence  counts the advances, modulo 2^31
 *
 *   watching:  event = fetch-or ARMED;  read the words;  sleep while the event word is `event`
 *   writing:   CAS of the word;  load the event word;  if ARMED: one CAS to the next sequence,
 *              disarmed, and wake all
 *
 * The watcher sleeps on the very value that its fetch-or left.  Loaded again after the scan, it
 * could be one that a writer advanced to after the watcher had passed that writer's word.
 *
 * A writer whose one CAS fails need not try again: somebody else advanced, and wakes.  Had that
 * happened before this write, and somebody armed again in between, then that watcher reads the
 * words after this write.  csrc/README.md has the argument in full.
 */
#ifndef AIE_EVENT_H
#define AIE_EVENT_H

#include "sysfeatures.h"

#include <stdatomic.h>
#include <stdint.h>

#include "crash_point.h"
#include "park.h"

typedef _Atomic uint32_t aie_event;

#define AIE_ARMED 1u

/* Of a watcher, before it reads the words.  Returns what to sleep on. */
static inline uint32_t aie_event_arm(aie_event *event)
{
    /* seq_cst: pairs with the load in aie_event_signal.  Either this comes before that load, and
     * then the writer sees ARMED; or after it, and then the watcher's loads of the words, which
     * come later still, see that writer's CAS, which came before its load. */
    return atomic_fetch_or_explicit(event, AIE_ARMED, memory_order_seq_cst) | AIE_ARMED;
}

/* Of a writer, after its CAS: somebody watches. */
static inline void aie_event_advance(aie_event *event, uint32_t armed)
{
    AIE_POINT("event-before-advance");
    /* seq_cst: a watcher that armed after this is not disarmed by it.  armed + 1 is the next
     * sequence with ARMED clear.  Failed: another writer advanced, and wakes. */
    if (atomic_compare_exchange_strong_explicit(event, &armed, armed + 1, memory_order_seq_cst,
                                                memory_order_seq_cst)) {
        AIE_POINT("event-before-wake");
        aie_wake_all(event);
    }
}

/* Of every writer, after its CAS: one load, unless somebody watches. */
static inline void aie_event_signal(aie_event *event)
{
    /* seq_cst: after the CAS of the word in the one order of all of them; see aie_event_arm. */
    uint32_t seen = atomic_load_explicit(event, memory_order_seq_cst);
    if (__builtin_expect((seen & AIE_ARMED) != 0, 0)) {
        aie_event_advance(event, seen);
    }
}

#endif
