/* core.h -- the one header that a binding includes.
 *
 *   layout.h    what is in shared memory
 *   word.h      lock-free operations on a state word
 *   lock.h      the robust lock of a value
 *   locked_write.h    a write while somebody holds that lock
 *   await.h     waiting until a word holds some value
 *   event.h     watching a whole segment
 *   array.h     many words side by side
 *   park.h      sleeping and waking, per system
 *   platform.h  what differs between systems
 *   result.h    named outcomes; nothing here sets errno, allocates, or knows of Python
 *   crash_point.h     where a process may be killed
 */
#ifndef AIE_CORE_H
#define AIE_CORE_H

#include "sysfeatures.h"

#include "array.h"
#include "await.h"
#include "locked_write.h"
#include "event.h"
#include "layout.h"
#include "lock.h"
#include "platform.h"
#include "crash_point.h"
#include "result.h"
#include "park.h"
#include "word.h"

#endif
