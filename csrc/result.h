/* result.h -- the named outcomes of every operation of the core.
 *
 * The core sets no errno and raises nothing: a binding turns these into its own language's errors.
 */
#pragma once

typedef enum {
    AIE_OK = 0,        /* done */
    AIE_MISMATCH = 1,  /* compare-and-set: the word holds another value; nothing was written */
    AIE_LOCKED = 2,    /* the fast path saw LOCKED: the slow path is needed; nothing was written */
    AIE_BUSY = 3,      /* somebody else holds the lock, still at the end of this slice */
    AIE_NOT_OWNER = 4, /* release by a thread that does not hold the lock; nothing changed */
    AIE_TOO_MANY = 5,  /* this thread holds AIE_MAX_HELD locks already; nothing changed */
    AIE_TOO_DEEP = 6,  /* the recursion counter is full; nothing changed */
    AIE_BROKEN = 7,    /* the mutex itself reports an error: foreign bytes in the control block */
    AIE_INTERRUPTED = 8, /* a signal came: look at it, then go on with the time that is left */
    AIE_AGAIN = 9,       /* nothing decided yet: call again */
    AIE_ELSEWHERE = 10,  /* of a segment of another PID namespace, whose locks mean nothing here */
    AIE_OWNED = 11,      /* own() or disown(): a live process other than this one is the owner */
    AIE_FULL = 12,  /* each row of the table of owners is a live process's; nothing was written */
    AIE_NO_ROW = 13 /* no row can be locked; nothing was written */
} aie_result;
