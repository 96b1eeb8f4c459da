/* owner.h -- owners: which process answers for a word, and what becomes of the word when it dies.
 *
 * A segment that was made with on_death has a table of AIE_ROWS rows.  A row belongs to the process
 * that holds the life lock on the row's byte (life.h), which the kernel ends with the process: that
 * alone says whether an owner lives.  The row's content names the process, for people.  A word names
 * its owner's row:
 *
 *   owner 0                 nobody
 *   owner r, OWNED clear    leased: r's process wrote a member that on_death maps; the next write
 *                           decides anew
 *   owner r, OWNED set      owned: r's process called own(); writes by anybody leave it so
 *
 * State and owner change by one CAS, so no crash leaves a claim without its owner.
 *
 * Giving back: read the word; ask for the lock of its row; if that is free, CAS the whole word that
 * was read.  Who asked first and read then would take a live process's word: the row may have been
 * taken in between.  csrc/README.md has why this order has no such hole, and the points where a
 * process may be killed.
 *
 * How a process gets its row, and keeps it: owning.h.
 */
#pragma once

#include "sysfeatures.h"

#include <sys/wait.h>

#include "array.h"
#include "life.h"

/* What becomes of a word that was `from`. */
typedef struct {
    int32_t from;
    int32_t to;
} aie_rule;

/* A segment's owners, as one process has them. */
typedef struct aie_owners {
    _Atomic uint64_t *rows;  /* in the segment; row 0 is nobody's, and says which was taken last */
    _Atomic uint32_t *mine;  /* this process's row, or 0: a child of fork finds 0 there */
    const struct stat *is;   /* of the segment */
    const char *name;        /* of it, which may lead elsewhere by now */
    _Atomic int *descriptor; /* of it, for asking; somebody may have closed it */
    const aie_rule *rules;   /* in the order of `from` */
    size_t count;            /* of rules */
    bool always;             /* there is one rule, whatever the word is; then no write leases */
    aie_array words;         /* all words of the segment */
    void *page;              /* that keeps this process's row */
    aie_late late;           /* of this process */
    _Atomic uint32_t here;   /* what `mine` is where no page is wiped */
    _Atomic int64_t asked[AIE_ROWS]; /* when a wait of this process found the owner alive */
} aie_owners;

/* How seldom a wait asks whether one owner lives, and how often it looks for dead ones: with the
 * former, within 250 ms of a death. */
#define AIE_ASK_AGAIN (AIE_NS_PER_S / 20)
#define AIE_NOTICE (AIE_NS_PER_S / 5)

/* The rule for a value; NULL if there is none. */
static inline const aie_rule *aie_rule_of(const aie_owners *owners, int32_t value)
{
    if (owners->always) {
        return owners->rules;
    }
    size_t low = 0, high = owners->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (owners->rules[middle].from < value) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return low < owners->count && owners->rules[low].from == value ? &owners->rules[low] : NULL;
}

static inline uint32_t aie_owners_mine(const aie_owners *owners)
{
    /* acquire: pairs with the release of aie_region_take_row; who finds the row has its lock. */
    return atomic_load_explicit(owners->mine, memory_order_acquire);
}

/* Have the change say what it does to the owner.  False: it would make this process the owner, which
 * has no row yet; see aie_owners_enter. */
static inline bool aie_change_leases(aie_owners *owners, aie_change *change)
{
    change->late = &owners->late;
    change->lease = 0;
    change->commits =
        change->compare && !owners->always && aie_rule_of(owners, change->expected) != NULL;
    if (owners->always || (change->compare && change->expected == change->desired)
        || aie_rule_of(owners, change->desired) == NULL) {
        return true;
    }
    uint32_t row = aie_owners_mine(owners);
    change->lease = (uint64_t)row << AIE_OWNER_SHIFT;
    return row != 0;
}

/* ------------------------------------------------------------------ who lives */

/* What a row's content says: the pid, the low bits of its namespace's inode, and a random number. */
static inline uint64_t aie_owner_name(uint64_t namespace)
{
    uint64_t noise = ((uint64_t)aie_now() ^ (uintptr_t)&noise) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)getpid() | (namespace & 0xFFFF) << 32 | noise >> 48 << 48;
}

/* Where no lock tells: whether the process that the row names has ended.  Each doubt: no. */
static inline bool aie_owner_ended(uint64_t name)
{
    uint32_t pid = (uint32_t)name;
    if (pid == 0 || pid > INT32_MAX) {
        return true;
    }
    if ((name >> 32 & 0xFFFF) != (aie_pid_namespace() & 0xFFFF)) {
        return false;
    }
    siginfo_t child = {.si_pid = 0};
    if (waitid(P_PID, pid, &child, WEXITED | WNOHANG | WNOWAIT) == 0
        && child.si_pid == (pid_t)pid) {
        return true; /* a child of this process, which has not waited for it yet */
    }
    return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

/* Out of line, so that it takes nothing from the calls that are frequent. */
#define AIE_SELDOM __attribute__((noinline, cold, unused)) static

/* Whether this row's owner holds its lock.  Who closed all descriptors closed the one that asks: then
 * it is opened again, if the name is there. */
AIE_SELDOM int aie_owner_asked(aie_owners *owners, uint32_t row)
{
    if (!aie_life_by_page) {
        return -1;
    }
    /* relaxed: whatever number it is, what it stands for is looked at. */
    int fd = atomic_load_explicit(owners->descriptor, memory_order_relaxed);
    int held = aie_life_has(fd, AIE_ROW_BYTE(row), owners->is);
    if (held >= 0) {
        return held;
    }
    int opened = aie_name_open(owners->name);
    held = aie_life_has(opened, AIE_ROW_BYTE(row), owners->is);
    int again = held < 0 ? -1 : fcntl(opened, F_DUPFD_CLOEXEC, 3);
    if (again >= 0
        && !atomic_compare_exchange_strong_explicit(owners->descriptor, &fd, again,
                                                    memory_order_relaxed, memory_order_relaxed)) {
        close(again);
    }
    if (opened >= 0) {
        close(opened);
    }
    return held;
}

/* Whether the owner of this row lives.  Only of use for a word that was read before. */
static inline bool aie_owner_lives(aie_owners *owners, uint32_t row)
{
    if (row == aie_owners_mine(owners)) {
        return true;
    }
    int held = aie_owner_asked(owners, row);
    /* seq_cst: a row has its name before any word names it. */
    return held >= 0
               ? held > 0
               : !aie_owner_ended(atomic_load_explicit(&owners->rows[row], memory_order_seq_cst));
}

/* ------------------------------------------------------------------ giving back */

/* What giving back leaves of a word: the member that on_death says, or the same, and no owner. */
static inline uint64_t aie_word_given_back(const aie_owners *owners, uint64_t seen)
{
    const aie_rule *rule = aie_rule_of(owners, aie_word_value(seen));
    return aie_word_successor(seen, rule == NULL ? aie_word_value(seen) : rule->to);
}

/* If a word's owner has died, or is row `ended`: give it back, again until it has another owner or
 * none.
 *
 *   OK        given back, and nobody owns it
 *   MISMATCH  nobody owned it, or a live process does
 *   BUSY      somebody else holds its lock, still at the deadline (<= 0: it does not wait)
 *
 * Or what else the lock answers: it is left then, too. */
AIE_SELDOM aie_result aie_owner_give_back(const aie_array *words, size_t index, uint32_t ended,
                                          int64_t deadline)
{
    aie_owners *owners = words->owners;
    aie_word *word = aie_array_word(words, index);
    aie_control *control = aie_array_control(words, index);
    aie_left_word *note = ended == 0 ? NULL : aie_late_find(&owners->late, word);
    aie_result result = AIE_MISMATCH;
    bool inside = false;
    uint64_t seen = aie_word_load(word);
    /* The word before its row: see above. */
    while (aie_word_owner(seen) != 0
           && (aie_word_owner(seen) == ended || !aie_owner_lives(owners, aie_word_owner(seen)))) {
        if ((seen & AIE_LOCKED_BIT) && !inside) {
            aie_result entered = control == NULL ? AIE_BUSY
                                 : deadline > 0  ? aie_lock_until(control, word, deadline)
                                                 : aie_lock_try(control, word);
            if (entered != AIE_OK) {
                return entered;
            }
            inside = true;
            seen = aie_word_load(word);
            continue;
        }
        AIE_POINT("owner-dead");
        uint64_t after = aie_word_given_back(owners, seen);
        if (note != NULL) {
            /* seq_cst: before the CAS, so that who finds the word finds this; see word.h. */
            atomic_store_explicit(&note->left, after & ~AIE_LOCKED_BIT, memory_order_seq_cst);
        }
        /* seq_cst: as any write.  Strong, and of the whole word: a live process that came to own it
         * since has changed it, or had its row only after this word was rid of it. */
        if (atomic_compare_exchange_strong_explicit(word, &seen, after, memory_order_seq_cst,
                                                    memory_order_seq_cst)) {
            AIE_POINT("owner-given-back");
            aie_word_wake(word, seen, words->event);
            result = AIE_OK;
            break;
        }
    }
    if (inside) {
        aie_lock_release(control, word);
    }
    return result;
}

/* Give back every word that row `ended` owns.  False: the lock of one cannot be had, and it was left. */
static inline bool aie_owners_give_back(const aie_array *words, uint32_t ended)
{
    bool all = true;
    for (size_t i = 0; i < words->count; i++) {
        if (aie_word_owner(aie_word_load(aie_array_word(words, i))) == ended) {
            aie_result result = aie_owner_give_back(words, i, ended, 0);
            all = (result == AIE_OK || result == AIE_MISMATCH) && all;
        }
    }
    return all;
}

/* How many words row `mine` has called own() for; and with `list`, of so much `room`, which. */
static inline size_t aie_owners_list(const aie_array *words, uint32_t mine, aie_left_word *list,
                                     size_t room)
{
    size_t count = 0;
    for (size_t i = 0; i < words->count && count < room; i++) {
        const aie_word *word = aie_array_word(words, i);
        uint64_t seen = aie_word_load(word);
        if ((seen & AIE_OWNED_BIT) && aie_word_owner(seen) == mine) {
            if (list != NULL) {
                list[count].word = word;
                atomic_init(&list[count].left, 0);
            }
            count++;
        }
    }
    return count;
}

/* Give back what dead processes own of these words.  How many; the indices go to `given`, unless it
 * is NULL.  A wait (not `at_once`) does not ask for one row again and again. */
static inline size_t aie_owners_recover(const aie_array *words, bool at_once, size_t *given)
{
    aie_owners *owners = words->owners;
    uint64_t alive[AIE_ROWS / 64] = {0}; /* since this call began */
    int64_t now = aie_now();
    size_t count = 0;
    for (size_t i = 0; i < words->count; i++) {
        uint32_t row = aie_word_owner(aie_word_load(aie_array_word(words, i)));
        if (row == 0 || (alive[row / 64] >> row % 64 & 1)) {
            continue;
        }
        /* relaxed, here and below: a hint, of when it is worth asking. */
        int64_t asked = atomic_load_explicit(&owners->asked[row], memory_order_relaxed);
        if (at_once || now - asked >= AIE_ASK_AGAIN) {
            aie_result result = aie_owner_give_back(words, i, 0, 0);
            if (result == AIE_OK) {
                if (given != NULL) {
                    given[count] = i;
                }
                count++;
            }
            /* Only what the word says still tells that its owner lives. */
            if (result != AIE_MISMATCH
                || aie_word_owner(aie_word_load(aie_array_word(words, i))) != row) {
                continue;
            }
            atomic_store_explicit(&owners->asked[row], now, memory_order_relaxed);
        }
        alive[row / 64] |= UINT64_C(1) << row % 64;
    }
    return count;
}

/* Before a word is claimed that is OWNED: MISMATCH, its owner lives, or it has none; OK, it had a dead
 * one, and is given back; else that cannot be done now.  See aie_array_claim. */
AIE_SELDOM aie_result aie_owners_judge(const aie_array *words, size_t index, int64_t deadline)
{
    return aie_owner_give_back(words, index, 0, deadline);
}

/* ------------------------------------------------------------------ asking and owning */

/* The pids of the words' owners; 0 for nobody, or nobody alive. */
static inline void aie_owners_pids(const aie_array *words, uint32_t *pids)
{
    enum { UNKNOWN, LIVES, DEAD };
    uint8_t known[AIE_ROWS] = {UNKNOWN};
    aie_owners_recover(words, true, NULL);
    for (size_t i = 0; i < words->count; i++) {
        const aie_word *word = aie_array_word(words, i);
        uint32_t row = aie_word_owner(aie_word_load(word));
        if (row != 0 && known[row] == UNKNOWN) {
            known[row] =
                aie_owner_lives(words->owners, row) ? LIVES : DEAD; /* and its word locked */
        }
        uint64_t name = atomic_load_explicit(&words->owners->rows[row], memory_order_seq_cst);
        /* As long as a word names the row, that is nobody else's. */
        bool still = aie_word_owner(aie_word_load(word)) == row;
        pids[i] = row == 0 || known[row] == DEAD ? 0 : (uint32_t)name;
        i -= !still;
    }
}

/* One slice of own() (`mine`: this process's row) or disown() (`mine` as well, and `ends`).  It takes
 * no lock and wakes nobody: the value stays.  But it counts as a write: who asked about the word's row
 * before would else find the same word, of a later owner by that row.
 *
 *   OK     so it is
 *   OWNED  a live process is the owner
 *   BUSY   a dead one is, and somebody holds the word's lock: call again; or what else that answers */
static inline aie_result aie_owner_own(const aie_array *words, size_t index, uint32_t mine,
                                       bool ends, int64_t deadline)
{
    const uint64_t bits = AIE_OWNED_BIT | AIE_OWNER_MASK;
    const uint64_t owned = ends ? 0 : AIE_OWNED_BIT | (uint64_t)mine << AIE_OWNER_SHIFT;
    aie_word *word = aie_array_word(words, index);
    uint64_t seen = aie_word_load(word);
    for (;;) {
        uint32_t owner = aie_word_owner(seen);
        if ((seen & bits) == owned) {
            return AIE_OK;
        }
        if (owner != 0 && owner != mine) {
            aie_result result = aie_owner_give_back(words, index, 0, deadline);
            if (result != AIE_OK && result != AIE_MISMATCH) {
                return result;
            }
            seen = aie_word_load(word);
            if (result == AIE_MISMATCH && aie_word_owner(seen) == owner) {
                return AIE_OWNED;
            }
            continue;
        }
        /* seq_cst: as a write, of which it is the half that says whose the word is. */
        uint64_t after = aie_word_successor(seen, aie_word_value(seen));
        after |= (seen & AIE_WAITERS_BIT) | owned;
        if (atomic_compare_exchange_strong_explicit(word, &seen, after, memory_order_seq_cst,
                                                    memory_order_seq_cst)) {
            AIE_POINT("owner-owns");
            return AIE_OK;
        }
    }
}
