/* deadly.h -- put before native.c by -include: a process dies at the AIE_POINT that DEADLY_POINT in its
 * environment names. */
#ifndef DEADLY_H
#define DEADLY_H

#define _GNU_SOURCE 1
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void deadly_point(const char *name)
{
    const char *point = getenv("DEADLY_POINT");
    if (point != NULL && strcmp(point, name) == 0) {
        kill(getpid(), SIGKILL);
    }
}

#define AIE_POINT(name) deadly_point(name)

#endif
