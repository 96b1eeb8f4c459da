/* crash_point.h -- the named points where a process may be killed; csrc/README.md lists each.
 *
 * Nothing in an ordinary build.  A build that wants to stop at one defines AIE_POINT(name) before
 * it includes core.h.
 */
#pragma once

#ifndef AIE_POINT
#define AIE_POINT(name) ((void)0)
#endif
