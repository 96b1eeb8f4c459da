/* layout.h -- the shared layout: what every process that maps a segment agrees on.
 *
 *   +--------------------------+ 0
 *   | aie_header (192 bytes)   |   magic is stored last, with release
 *   | vocabulary text          |   JSON, vocabulary_size bytes
 *   | on_death text            |   JSON, on_death_size bytes; none where nothing is said
 *   +--------------------------+ header_size (a multiple of 64)
 *   | capacity state words     |   one every word_stride bytes (64 for single values)
 *   +--------------------------+ control_offset (a multiple of 64)
 *   | capacity control blocks  |   aie_control, 64 bytes each on Linux
 *   +--------------------------+ owners_offset (a multiple of 64), with on_death only
 *   | AIE_ROWS rows of owners  |   8 bytes each
 *   +--------------------------+
 *
 * A state word is one 64-bit atomic:
 *
 *   bits  0-31  value    the member's value, signed 32-bit, two's complement
 *   bit   32    LOCKED   somebody holds this value's lock: writers take the slow path
 *   bit   33    WAITERS  somebody sleeps on this word: the next writer wakes them and clears it
 *   bit   34    OWNED    somebody called own(): writes keep the owner
 *   bits 35-44  owner    who answers for the word: a row of the table of owners; 0: nobody
 *   bits 45-63  version  counts the writes, modulo 2^19
 *
 * The upper half is what a sleeper would wait on: every write changes it (the version), so an
 * A-B-A of the value cannot be missed.  csrc/README.md has the protocol in prose.
 */
#pragma once

#include "sysfeatures.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#if defined(AIE_PRETEND_NO_ATOMICS) || ATOMIC_LLONG_LOCK_FREE != 2 || ATOMIC_INT_LOCK_FREE != 2
/* A lock that the compiler's library puts in place of the instruction lives in one process's own
 * memory: another process would see torn values.  Better no core; the lock-based path serves. */
#error "64-bit atomics are not always lock-free here: the lock-based path must serve"
#endif

typedef _Atomic uint64_t aie_word;

/* Where the value is in a word, for a reader of 32 bits. */
#define AIE_VALUE_OFFSET (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 0 : 4)

#define AIE_LOCKED_BIT (UINT64_C(1) << 32)
#define AIE_WAITERS_BIT (UINT64_C(1) << 33)
#define AIE_OWNED_BIT (UINT64_C(1) << 34)
#define AIE_OWNER_SHIFT 35
#define AIE_OWNER_MASK (UINT64_C(1023) << AIE_OWNER_SHIFT)
#define AIE_VERSION_SHIFT 45
#define AIE_VERSION_ONE (UINT64_C(1) << AIE_VERSION_SHIFT)
#define AIE_VERSION_MASK (~UINT64_C(0) << AIE_VERSION_SHIFT)

#define AIE_MAGIC UINT64_C(0x4D554E4554414D31) /* "1MATENUM" in a little-endian dump */
/* The magic of a half made segment, until all else is there. */
#define AIE_MAGIC_UNFINISHED UINT64_C(0x4D554E4554414D30)
#define AIE_LAYOUT_VERSION 2u
#define AIE_HEAD_SIZE 128 /* keeps its places in every later version */

#define AIE_PROTOCOL_ATOMIC 1u /* this core */

/* A pthread_mutex_t means something only to the libc that made it. */
#if defined(__GLIBC__)
#define AIE_LIBC 1u
#elif defined(__linux__)
#define AIE_LIBC 2u /* musl: no macro of its own */
#elif defined(__APPLE__)
#define AIE_LIBC 3u
#else
#define AIE_LIBC 4u
#endif

#define AIE_ROWS 1024 /* as many as a word can name; row 0 names nobody */

#define AIE_LINE 64 /* bytes: what two words must keep apart not to share a cache line */
#define AIE_SINGLE_STRIDE AIE_LINE

typedef struct {
    _Atomic uint64_t magic;
    uint32_t layout_version;
    uint32_t kind; /* what the words are for, KIND_... of layout.py: nothing here asks */
    uint32_t creator_pid;
    uint32_t vocabulary_size; /* bytes of the text */
    uint64_t creator_start;   /* of the creating process, in the system's own ticks; 0 if unknown */
    uint64_t pid_namespace;   /* inode; 0 where there is no such thing */
    uint64_t nonce;           /* random: tells this segment from a later one of the same name */
    uint32_t vocabulary_offset;
    uint32_t protocol;
    uint64_t fingerprint; /* of the vocabulary text */
    uint64_t capacity;
    uint64_t control_offset;
    uint32_t header_size; /* bytes from 0 to the first word, vocabulary text included */
    uint32_t word_stride;
    uint32_t control_stride;
    uint32_t mutex_size; /* sizeof(pthread_mutex_t) of the creator */
    uint32_t libc;       /* AIE_LIBC of the creator */
    uint32_t on_death_size;
    uint64_t owners_offset; /* of the table of owners; 0: there is none */
    uint32_t reserved[4];
    /* For watchers of many words: see event.h.  On a line of its own, since a watcher writes it while
     * everybody reads the fields above. */
    _Atomic uint32_t event;
    uint32_t event_padding[15];
} aie_header;

typedef struct {
    pthread_mutex_t mutex;   /* PROCESS_SHARED, ROBUST, RECURSIVE */
    _Atomic uint32_t depth;  /* acquisitions by the holder; written by it alone */
    _Atomic uint32_t flags;  /* AIE_ABANDONED, AIE_HUNGRY */
    _Atomic uint64_t holder; /* pid << 32 | tid; set after locking, zeroed before unlocking */
} aie_control_fields;

/* Aligned, and so padded, to whole cache lines: one on Linux, where a mutex is 24 to 48 bytes; two
 * on macOS, where it is 64. */
typedef union {
    alignas(AIE_LINE) aie_control_fields fields;
} aie_control;

/* In flags, sticky: a holder died; the next explicit acquire reports and clears it. */
#define AIE_ABANDONED 1u
/* In flags: somebody has waited long, so who comes newly steps back; who got it after a wait clears
 * it. */
#define AIE_HUNGRY 2u

_Static_assert(sizeof(aie_word) == 8 && alignof(aie_word) == 8, "a word is one natural uint64_t");
#if defined(__linux__)
_Static_assert(sizeof(aie_control) == AIE_LINE, "a control block fills one cache line");
#endif
_Static_assert(sizeof(aie_control) % AIE_LINE == 0, "control blocks share no cache line");
_Static_assert(offsetof(aie_header, magic) == 0, "magic comes first");
_Static_assert(offsetof(aie_header, creator_pid) == 16, "header fields do not move");
_Static_assert(offsetof(aie_header, nonce) == 40, "header fields do not move");
_Static_assert(offsetof(aie_header, capacity) == 64, "header fields do not move");
_Static_assert(offsetof(aie_header, libc) == 96, "header fields do not move");
_Static_assert(offsetof(aie_header, owners_offset) == 104, "header fields do not move");
_Static_assert(AIE_ROWS == (AIE_OWNER_MASK >> AIE_OWNER_SHIFT) + 1, "a word can name each row");
_Static_assert(offsetof(aie_header, event) == AIE_HEAD_SIZE, "the event word has its own line");
_Static_assert(sizeof(aie_header) == 192, "the vocabulary text starts at 192");

static inline int32_t aie_word_value(uint64_t word)
{
    uint32_t low = (uint32_t)word;
    /* Two's complement without the implementation-defined conversion of a large unsigned. */
    return low <= INT32_MAX ? (int32_t)low : -(int32_t)(UINT32_MAX - low) - 1;
}

static inline uint32_t aie_word_owner(uint64_t word)
{
    return (uint32_t)((word & AIE_OWNER_MASK) >> AIE_OWNER_SHIFT);
}

static inline uint32_t aie_word_version(uint64_t word)
{
    return (uint32_t)(word >> AIE_VERSION_SHIFT);
}
