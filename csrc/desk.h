/* desk.h -- what an event loop asks of watch.h's thread: one desk a loop, and one slot for each word or
 * array that it waits for.  A loop's calls come from one thread at a time.
 */
#pragma once

#include "watch.h"

/* ------------------------------------------------------------------ listing, with the mutex */

/* 0, or an errno. */
static inline int aie_watcher_start(void)
{
    if (aie_watcher.runs || aie_watcher.ends) {
        return aie_watcher.ends ? ECANCELED : 0;
    }
    pthread_attr_t attr;
    int error = pthread_attr_init(&attr);
    if (error == 0) {
        pthread_t thread;
        sigset_t all, before;
        sigfillset(&all);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        pthread_sigmask(SIG_SETMASK, &all, &before); /* which the thread inherits */
        error = pthread_create(&thread, &attr, aie_watcher_runs, NULL);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
    }
    aie_watcher.runs = error == 0;
    return error;
}

/* The region's place in the thread's list, with one spot more; NULL: there is no memory. */
static inline aie_watched *aie_watched_enter(aie_region *region)
{
    aie_watched *watched = region->watched;
    if (watched == NULL && (watched = calloc(1, sizeof(*watched))) != NULL) {
        *watched = (aie_watched){.next = aie_watcher.first,
                                 .region = region,
                                 .event = &((aie_header *)(void *)region->base)->event,
                                 .due = INT64_MAX,
                                 .notice = aie_now() + AIE_ASK_AGAIN};
        aie_region_hold(region);
        region->watched = aie_watcher.first = watched;
    }
    if (watched != NULL) {
        watched->spots++;
    }
    return watched;
}

static inline void aie_watched_leave(aie_watched *watched)
{
    if (--watched->spots > 0) {
        return;
    }
    aie_watched **link = &aie_watcher.first;
    while (*link != watched) {
        link = &(*link)->next;
    }
    *link = watched->next;
    watched->region->watched = NULL;
    aie_region_drop(watched->region);
    free(watched->words);
    free(watched);
}

/* 0, or an errno. */
static inline int aie_spot_list(aie_spot *spot)
{
    aie_watched *watched = spot->watched;
    int error = aie_watcher_start();
    if (error != 0) {
        return error;
    }
    if (spot->whole) {
        spot->next = watched->whole;
        watched->whole = spot;
    }
    else {
        if (watched->count == watched->room) {
            size_t room = watched->room == 0 ? 8 : watched->room * 2;
            aie_listed *words = realloc(watched->words, room * sizeof(*words));
            if (words == NULL) {
                return ENOMEM;
            }
            watched->words = words;
            watched->room = room;
        }
        spot->place = watched->count++;
        watched->words[spot->place] =
            (aie_listed){aie_array_word(&spot->words, 0), spot->seen, spot->due, spot};
    }
    watched->fresh = true;
    spot->state = AIE_SPOT_LISTED;
    return 0;
}

/* It is listed no more, nor told. */
static inline void aie_spot_unlist(aie_spot *spot)
{
    aie_watched *watched = spot->watched;
    if (spot->state == AIE_SPOT_MOVED) {
        *spot->link = spot->next;
        if (spot->next != NULL) {
            spot->next->link = spot->link;
        }
    }
    else if (spot->whole) {
        aie_spot **link = &watched->whole;
        while (*link != spot) {
            link = &(*link)->next;
        }
        *link = spot->next;
    }
    else {
        aie_watched_unlist(watched, spot->place);
    }
}

/* ------------------------------------------------------------------ a loop's calls */

/* 0, or an errno. */
static inline int aie_desk_open(aie_desk *desk)
{
    memset(desk, 0, sizeof(*desk));
    desk->pid = getpid();
    return aie_bell_open(desk->ends) ? 0 : errno;
}

/* The spot of this slot; NULL: it stands for nothing that is waited for, or for a parent's. */
static inline aie_spot *aie_desk_spot(const aie_desk *desk, uint32_t slot)
{
    return desk->pid == aie_watcher.pid && slot < desk->slots
                   && desk->spots[slot]->state != AIE_SPOT_FREE
               ? desk->spots[slot]
               : NULL;
}

/* Of what is neither listed nor told. */
static inline void aie_desk_recycle(aie_desk *desk, aie_spot *spot)
{
    if (spot->watched != NULL) {
        aie_watched_leave(spot->watched);
    }
    spot->state = AIE_SPOT_FREE;
    spot->next = desk->free;
    desk->free = spot;
}

static inline void aie_desk_close(aie_desk *desk)
{
    aie_watcher_lock();
    for (uint32_t slot = 0; slot < desk->slots; slot++) {
        aie_spot *spot = aie_desk_spot(desk, slot);
        if (spot != NULL) {
            aie_spot_unlist(spot);
            aie_watched_leave(spot->watched);
        }
        free(desk->spots[slot]);
    }
    aie_watcher_unlock();
    free(desk->spots);
    close(desk->ends[0]);
    if (desk->ends[1] != desk->ends[0]) {
        close(desk->ends[1]);
    }
}

/* A spot that is free, with its slot; NULL: there is no memory. */
static inline aie_spot *aie_desk_fresh(aie_desk *desk)
{
    if (desk->free != NULL) {
        aie_spot *spot = desk->free;
        desk->free = spot->next;
        return spot;
    }
    if (desk->slots == desk->room) {
        uint32_t room = desk->room == 0 ? 8 : desk->room * 2;
        aie_spot **spots = realloc(desk->spots, room * sizeof(*spots));
        if (spots == NULL) {
            return NULL;
        }
        desk->spots = spots;
        desk->room = room;
    }
    aie_spot *spot = calloc(1, sizeof(*spot));
    if (spot != NULL) {
        spot->slot = desk->slots;
        desk->spots[desk->slots++] = spot;
    }
    return spot;
}

/* How many writes to the one word, or to all, there were. */
static inline uint64_t aie_spot_writes(const aie_array *words, bool whole)
{
    return whole ? aie_array_writes(words)
                 : aie_word_version(aie_word_load(aie_array_word(words, 0)));
}

/* Watch a word (`words` has one), or with `whole` all of an array's, for a loop; and look again after
 * this.  The caller holds the region meanwhile.  0 and the slot, or an errno. */
static inline int aie_desk_watch(aie_desk *desk, aie_region *region, const aie_array *words,
                                 bool whole, uint32_t *slot)
{
    uint64_t seen = aie_spot_writes(words, whole);
    aie_watcher_lock();
    aie_spot *spot = desk->pid == aie_watcher.pid ? aie_desk_fresh(desk) : NULL;
    int error = ENOMEM;
    if (spot != NULL) {
        *spot = (aie_spot){.desk = desk,
                           .watched = aie_watched_enter(region),
                           .words = *words,
                           .whole = whole,
                           .seen = seen,
                           .slot = spot->slot};
        *slot = spot->slot;
        error = spot->watched == NULL ? ENOMEM : aie_spot_list(spot);
        if (error != 0) {
            aie_desk_recycle(desk, spot);
        }
    }
    aie_watcher_unlock();
    aie_watcher_call();
    return error;
}

/* Go on watching what has moved, and has been looked at.  What came since it was told is told again.
 * `content`: what came was waited for by somebody; else it is looked at a little later.  0, or an
 * errno: it stays told. */
static inline int aie_desk_watch_on(aie_desk *desk, uint32_t slot, bool content)
{
    int error = EINVAL;
    aie_watcher_lock();
    aie_spot *spot = aie_desk_spot(desk, slot);
    if (spot != NULL && spot->state == AIE_SPOT_MOVED) {
        aie_spot before = *spot;
        spot->pace = content ? 0 : aie_pace(spot->pace, spot->told - spot->due);
        spot->due = content ? 0 : aie_now() + spot->pace;
        aie_spot_unlist(spot);
        error = aie_spot_list(spot);
        if (error != 0) {
            aie_spot_tell(spot, before.seen, before.told);
        }
    }
    aie_watcher_unlock();
    aie_watcher_call();
    return error;
}

static inline void aie_desk_unwatch(aie_desk *desk, uint32_t slot)
{
    aie_watcher_lock();
    aie_spot *spot = aie_desk_spot(desk, slot);
    if (spot != NULL) {
        aie_spot_unlist(spot);
        aie_desk_recycle(desk, spot);
    }
    aie_watcher_unlock();
}

/* The descriptor was readable: the slots of at most `room` that have moved.  They are told again until
 * the loop watches them on, or no more. */
static inline size_t aie_desk_take(aie_desk *desk, uint32_t *slots, size_t room)
{
    size_t count = 0;
    aie_watcher_lock();
    bool inherited = desk->pid != aie_watcher.pid; /* what has rung is its parent's to read */
    if (desk->rung && !inherited) {
        char rung[64];
        ssize_t taken = read(desk->ends[0], rung, sizeof(rung)); /* one write at most is in it */
        (void)taken;
        desk->rung = false;
    }
    for (const aie_spot *spot = inherited ? NULL : desk->moved; spot != NULL && count < room;
         spot = spot->next) {
        slots[count++] = spot->slot;
    }
    aie_watcher_unlock();
    return count;
}
