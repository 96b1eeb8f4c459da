/* park.h -- sleeping on a 32-bit word of shared memory, and waking who sleeps: one contract, and
 * the only ladder of platforms.
 *
 *   aie_wait(address, expected, deadline)
 *       Sleep while *address is `expected`, until woken or until the monotonic `deadline` (ns).
 *       AIE_OK           woken, or the word differs; or for no reason: the caller looks again
 *       AIE_BUSY         the deadline is past
 *       AIE_INTERRUPTED  a signal came: the caller looks at it, and waits for the time that is left
 *   aie_wait_any(parked, count, deadline)
 *       The same of several words, at most AIE_PARKED_MOST: sleep while each is what is expected of it.
 *       AIE_AGAIN        it cannot: the caller takes naps
 *   aie_wake_all(address)
 *       Wake all who sleep on it, in every process.
 *
 * Checking and falling asleep is one step against aie_wake_all: a wake-up that follows a change of
 * the word is not lost on who compared with the word before.
 *
 * The step is chosen as this is compiled; macOS's asks at run time whether it is there.  All processes
 * of a segment must be on one step: the polling aie_wake_all wakes nobody, and a sleeper of another step
 * then looks only every 250 ms.  An error that is none of the three is AIE_OK or AIE_INTERRUPTED, and the
 * caller looks again; or, where it may stay, naps.
 *
 * Build switches: AIE_PRETEND_NO_FUTEX takes the polling one everywhere; AIE_PRETEND_NO_WAITV is Linux
 * before 5.16.  AIE_PRETEND_MACOS_PARK and AIE_PRETEND_FREEBSD_PARK take theirs on Linux too, where a
 * program has to bring what they call: tests/core_c/os_sync.h, umtx.h.
 *
 * AIE_FUTEX: sleepers are woken; on macOS, if they are where it runs.
 */
#pragma once

#include "parked.h"
#include "platform.h"

#if defined(AIE_PRETEND_NO_FUTEX)
#define AIE_FUTEX 0
#include "park_poll.h"
#elif defined(__APPLE__) || defined(AIE_PRETEND_MACOS_PARK)
#define AIE_FUTEX 1
#include "park_macos.h"
#elif defined(__FreeBSD__) || defined(AIE_PRETEND_FREEBSD_PARK)
#define AIE_FUTEX 1
#include "park_freebsd.h"
#elif defined(__linux__)
#define AIE_FUTEX 1
#include "park_futex.h"
#else
#define AIE_FUTEX 0
#include "park_poll.h"
#endif
