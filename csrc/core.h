/* core.h -- the one header that a binding includes.
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
