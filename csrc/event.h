/* event.h -- watching many words of a segment: one 32-bit word in its header.
 *
 *   bit  0     ARMED     somebody watches all words: the next writer rings
 *   bit  1     BELL      somebody watches some words, and has set WAITERS on each of them: the next writer
 *                        that sees WAITERS on its own word rings; the others pay nothing
 *   bits 2-31  sequence  counts the rings, modulo 2^30
 *
 * Ringing: advance the sequence, clear both bits, and wake all who sleep on the event word.
 *
 * csrc/README.md says why no wake-up is lost.
 */
#pragma once

#include "crash_point.h"
#include "park.h"

typedef _Atomic uint32_t aie_event;

#define AIE_ARMED 1u
#define AIE_BELL 2u

/* A watcher calls this before it reads the words, and sleeps on what it returns.  If it loaded the
 * event word again after its look, it could miss a writer whose word the look had passed. */
static inline uint32_t aie_event_arm(aie_event *event, uint32_t bits)
{
    /* seq_cst: pairs with the load in aie_event_signal.  Either this comes before that load, and
     * then the writer sees the bits; or after it, and then the watcher's loads of the words, which
     * come later still, see that writer's CAS, which came before its load. */
    return atomic_fetch_or_explicit(event, bits, memory_order_seq_cst) | bits;
}

/* Ring, once: the writer saw `seen`, with a bit that concerns it. */
__attribute__((noinline, cold, unused)) static void aie_event_ring(aie_event *event, uint32_t seen)
{
    uint32_t sequence = seen / (AIE_BELL * 2);
    AIE_POINT("event-before-advance");
    do {
        /* seq_cst: a watcher that armed after this is not disarmed by it. */
        uint32_t next = (seen | AIE_ARMED | AIE_BELL) + 1;
        if (atomic_compare_exchange_strong_explicit(event, &seen, next, memory_order_seq_cst,
                                                    memory_order_seq_cst)) {
            AIE_POINT("event-before-wake");
            aie_wake_all(event);
            return;
        }
        /* The same sequence: somebody has set the other bit, and wakes nobody by that.  Another one: a
         * writer rang, and wakes; who armed since then reads the words after this write. */
    } while (seen / (AIE_BELL * 2) == sequence);
}

/* Every writer calls this after its CAS, with the bits that concern it.  It costs one load, unless
 * somebody watches. */
AIE_ALWAYS void aie_event_signal(aie_event *event, uint32_t bits)
{
    /* seq_cst: after the CAS of the word in the one order of all of them; see aie_event_arm. */
    uint32_t seen = atomic_load_explicit(event, memory_order_seq_cst);
    if (__builtin_expect((seen & bits) != 0, 0)) {
        aie_event_ring(event, seen);
    }
}
