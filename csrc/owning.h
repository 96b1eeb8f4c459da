/* owning.h -- how a process comes to own words: its row of a segment's table of owners.  For
 * bindings, as region.h: it allocates, and has a mutex.
 *
 *   write-lock the byte of a row that nobody has locked;  give back every word that names the row, since
 *   its owner has died;  have a read lock instead;  write the name;  use it
 *
 * The walk comes before the first use: a word that named the row from before would be this process's
 * from then on, and a dead one's state for ever.  The row is kept until the process ends, or until
 * nobody here uses the segment and no word names it: a thread may have looked it up already.
 */
#pragma once

#include "region.h"

/* Where the owners of a segment are in it, and its on_death. */
typedef struct {
    size_t word_offset;
    size_t word_stride;
    size_t control_offset;
    size_t count;
    size_t owners_offset;
    const unsigned char *rules; /* rule_count of aie_rule, of any alignment */
    size_t rule_count;
    bool always;
} aie_owners_plan;

/* Give a region its owners, once; what the plan says was checked against the region's size.  0, or an
 * errno. */
static inline int aie_region_has_owners(aie_region *region, const aie_owners_plan *plan)
{
    size_t bytes = plan->rule_count * sizeof(aie_rule);
    aie_owners *owners = malloc(sizeof(*owners) + bytes);
    if (owners == NULL) {
        return ENOMEM;
    }
    memset(owners, 0, sizeof(*owners));
    memcpy(owners + 1, plan->rules, bytes);
    owners->rows = (_Atomic uint64_t *)(void *)(region->base + plan->owners_offset);
    owners->is = &region->is;
    owners->name = region->name;
    owners->descriptor = &region->descriptor;
    owners->rules = (const aie_rule *)(const void *)(owners + 1);
    owners->count = plan->rule_count;
    owners->always = plan->always;
    owners->words = (aie_array){.words = region->base + plan->word_offset,
                                .controls = region->base + plan->control_offset,
                                .stride = plan->word_stride,
                                .count = plan->count,
                                .event = &((aie_header *)(void *)region->base)->event,
                                .owners = owners};
    aie_regions_lock();
    if (region->owners == NULL) {
        void *page = aie_wiped_page();
        owners->mine = page == NULL ? &owners->here : page;
        region->owners = owners;
        owners = NULL;
    }
    aie_regions_unlock();
    free(owners);
    return 0;
}

/* Where no lock tells who lives: the row is whose name is in it, by one CAS. */
static inline aie_result aie_row_by_name(const aie_array *words, uint32_t row, uint64_t name)
{
    _Atomic uint64_t *place = &words->owners->rows[row];
    uint64_t before = atomic_load_explicit(place, memory_order_seq_cst);
    if (!aie_owner_ended(before)) {
        return AIE_BUSY;
    }
    /* Each word asks again whether the row's owner has ended: another process may get the row. */
    for (size_t i = 0; i < words->count; i++) {
        if (aie_word_owner(aie_word_load(aie_array_word(words, i))) == row
            && aie_owner_give_back(words, i, 0, 0) != AIE_OK) {
            return AIE_BUSY;
        }
    }
    return atomic_compare_exchange_strong_explicit(place, &before, name, memory_order_seq_cst,
                                                   memory_order_seq_cst)
               ? AIE_OK
               : AIE_BUSY;
}

/* Take this row, if it is nobody's.  BUSY: it is somebody's, or a word that names it is locked. */
static inline aie_result aie_row_take(const aie_region *region, const aie_array *words, int fd,
                                      uint32_t row, uint64_t name)
{
    if (!aie_life_by_page) {
        return aie_row_by_name(words, row, name);
    }
    if (!aie_life_lock(fd, F_WRLCK, AIE_ROW_BYTE(row))) {
        return errno == EAGAIN || errno == EACCES ? AIE_BUSY : AIE_NO_ROW;
    }
    AIE_POINT("row-locked");
    if (!aie_owners_give_back(words, row)) {
        aie_life_lock(fd, F_UNLCK, AIE_ROW_BYTE(row));
        return AIE_BUSY;
    }
    AIE_POINT("row-walked");
    /* From here on the row's words are this process's; before, anybody may give them back. */
    void *page = aie_life_lock(fd, F_RDLCK, AIE_ROW_BYTE(row)) ? aie_life_page(fd, false) : NULL;
    /* Asked by another descriptor: somebody may have closed this one, and the page be another file's. */
    if (page == NULL || !aie_region_is(region, fd) || aie_owner_asked(words->owners, row) != 1) {
        if (page != NULL) {
            aie_life_end(page);
        }
        if (aie_region_is(region, fd)) { /* it may be the spare one, and stay open */
            aie_life_lock(fd, F_UNLCK, AIE_ROW_BYTE(row));
        }
        return AIE_NO_ROW;
    }
    words->owners->page = page;
    /* seq_cst: before any word names the row. */
    atomic_store_explicit(&words->owners->rows[row], name, memory_order_seq_cst);
    AIE_POINT("row-named");
    return AIE_OK;
}

/* Have a row for this process, with the mutex.  Next-fit: a row that was given up is taken again as
 * late as can be. */
static inline aie_result aie_region_take_row(aie_region *region)
{
    aie_owners *owners = region->owners;
    aie_array words = aie_region_words(region);
    uint64_t name = aie_owner_name(aie_regions.namespace);
    int fd = aie_life_by_page ? aie_region_opened(region) : -1;
    bool spare =
        fd < 0 && aie_region_is(region, region->spare)
        && region->spare != atomic_load_explicit(&region->descriptor, memory_order_relaxed);
    fd = spare ? region->spare : fd;
    aie_result result = aie_life_by_page && fd < 0 ? AIE_NO_ROW : AIE_BUSY;
    /* relaxed: a hint. */
    uint64_t last = atomic_load_explicit(&owners->rows[0], memory_order_relaxed);
    for (uint32_t i = 0; result == AIE_BUSY && i < AIE_ROWS - 1; i++) {
        uint32_t row = (uint32_t)(last + i) % (AIE_ROWS - 1) + 1;
        result = aie_row_take(region, &words, fd, row, name);
        if (result == AIE_OK) {
            atomic_store_explicit(&owners->rows[0], row, memory_order_relaxed);
            /* release: who finds the row finds the process's lock on it. */
            atomic_store_explicit(owners->mine, row, memory_order_release);
        }
    }
    if (!spare || result == AIE_OK) {
        aie_region_close(region, fd); /* the page keeps the row's lock */
        region->spare = spare ? -1 : region->spare;
    }
    return result == AIE_BUSY ? AIE_FULL : result;
}

/* Have a row for this process, if it has none: OK, FULL or NO_ROW.  It may wait for the mutex. */
static inline aie_result aie_owners_enter(aie_region *region)
{
    aie_result result = AIE_OK;
    aie_regions_lock();
    if (aie_owners_mine(region->owners) == 0) {
        result = aie_region_take_row(region);
    }
    aie_regions_unlock();
    return result;
}

/* Some words of a region with owners. */
static inline aie_array aie_region_part(const aie_region *region, size_t first, size_t count)
{
    aie_array part = aie_region_words(region);
    part.words += first * part.stride;
    part.controls = (unsigned char *)aie_array_control(&part, first);
    part.count = count;
    return part;
}

/* A slice of own(), or of disown() if it `ends`: OK; OWNED and whose it is; BUSY, call again; FULL or
 * NO_ROW. */
static inline aie_result aie_region_own(aie_region *region, size_t index, bool ends,
                                        int64_t deadline, uint32_t *pid)
{
    aie_array word = aie_region_part(region, index, 1);
    uint32_t mine = aie_owners_mine(region->owners);
    aie_result result = mine == 0 && !ends ? aie_owners_enter(region) : AIE_OK;
    if (result == AIE_OK) {
        mine = aie_owners_mine(region->owners);
        result = aie_owner_own(&word, 0, mine, ends, deadline);
    }
    if (result == AIE_OWNED) {
        aie_owners_pids(&word, pid);
        return *pid == 0 ? AIE_BUSY : AIE_OWNED; /* it has ended meanwhile */
    }
    if (result == AIE_BUSY && deadline > 0 && word.controls == NULL) {
        aie_life_nap(); /* nothing else has waited */
    }
    return result;
}
