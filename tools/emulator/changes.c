/* changes.c: a partition's items by when they were last changed, and, where the container keeps them, all changes with
 * their deletions.
 *
 * The order of changes costs nothing until somebody asks a partition for it: then it is sorted once, and kept from
 * there on. A split or merge forgets it again. */
#include "changes.h"

#include <stdlib.h>
#include <string.h>

/*------------------------------------------------------------------------------
 * MARK: - Items in the order of their last change
 *----------------------------------------------------------------------------*/

static int emu_change_order(const void *a, const void *b)
{
    const emu_change *one = (const emu_change *)a, *other = (const emu_change *)b;
    if (one->lsn != other->lsn) return one->lsn < other->lsn ? -1 : 1;
    return one->item->number < other->item->number ? -1 : one->item->number > other->item->number;
}

void emu_changes_free(emu_store *store, emu_changes *changes)
{
    aioc_mem_free(&store->memory, changes->at, changes->cap * sizeof *changes->at);
    memset(changes, 0, sizeof *changes);
}

/* False: no memory. */
bool emu_changes_gather(emu_store *store, emu_changes *changes, const emu_list *items)
{
    uint32_t i;
    changes->cap = items->live + 64;
    changes->at = (emu_change *)aioc_mem_alloc(&store->memory, changes->cap * sizeof *changes->at);
    if (!changes->at) {
        changes->cap = 0;
        return false;
    }
    for (i = 0; i < items->count; i++) {
        if (!items->at[i]) continue;
        changes->at[changes->count].lsn = items->at[i]->lsn;
        changes->at[changes->count++].item = items->at[i];
    }
    qsort(changes->at, changes->count, sizeof *changes->at, emu_change_order);
    changes->live = changes->count;
    changes->kept = true;
    return true;
}

/* The first change behind an LSN. */
uint32_t emu_changes_after(const emu_changes *changes, int64_t lsn)
{
    uint32_t low = 0, high = changes->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (changes->at[middle].lsn > lsn) high = middle;
        else low = middle + 1;
    }
    return low;
}

/* A change that is not the last one of its item leaves a hole; holes are closed when they are more than half. */
static void emu_changes_remove(emu_changes *changes, const emu_item *item)
{
    uint32_t at = emu_changes_after(changes, item->lsn - 1), kept = 0;
    while (changes->at[at].item != item) at++;             /* after a merge, two may have one number */
    changes->at[at].item = NULL;
    changes->live--;
    if (changes->count <= 2 * changes->live + 64) return;
    for (at = 0; at < changes->count; at++)
        if (changes->at[at].item) changes->at[kept++] = changes->at[at];
    changes->count = kept;
}

static void emu_changes_add(emu_store *store, emu_changes *changes, emu_item *item)
{
    if (changes->count == changes->cap) {
        uint32_t cap = 2 * changes->cap;
        emu_change *grown = (emu_change *)aioc_mem_resize(&store->memory, changes->at,
                                                          changes->cap * sizeof *grown, cap * sizeof *grown);
        if (!grown) {
            emu_changes_free(store, changes);               /* whoever asks next may have more luck */
            return;
        }
        changes->at = grown;
        changes->cap = cap;
    }
    changes->at[changes->count].lsn = item->lsn;
    changes->at[changes->count++].item = item;
    changes->live++;
}

void emu_changes_replace(emu_store *store, emu_changes *changes, const emu_item *old, emu_item *item)
{
    if (old) emu_changes_remove(changes, old);
    if (item) emu_changes_add(store, changes, item);
}

/*------------------------------------------------------------------------------
 * MARK: - All changes
 *----------------------------------------------------------------------------*/

static void emu_event_free(emu_store *store, emu_event *event)
{
    if (!event) return;
    aioc_mem_buffer_free(&store->memory, &event->image);
    aioc_mem_free(&store->memory, event, sizeof *event + event->key_len + event->epk_len);
}

void emu_events_free(emu_store *store, emu_events *events)
{
    while (events->first < events->count) emu_event_free(store, events->at[events->first++]);
    aioc_mem_free(&store->memory, events->at, events->cap * sizeof *events->at);
    memset(events, 0, sizeof *events);
}

bool emu_events_reserve(emu_store *store, emu_events *events, size_t extra)
{
    size_t live = events->count - events->first, cap = 2 * live + extra;
    emu_event **at;
    if (extra <= events->cap - events->count) return true;
    at = (emu_event **)aioc_mem_alloc(&store->memory, cap * sizeof *at);
    if (!at) return false;
    if (live) memcpy(at, events->at + events->first, live * sizeof *at);
    aioc_mem_free(&store->memory, events->at, events->cap * sizeof *at);
    events->at = at;
    events->cap = cap;
    events->first = 0;
    events->count = live;
    return true;
}

/* What is older than the container wants to know is gone. */
void emu_events_purge(emu_store *store, emu_range *range, int64_t now_ms)
{
    emu_events *events = &range->events;
    while (events->first < events->count &&
           events->at[events->first]->ts + range->container->retention_s < now_ms / 1000) {
        events->purged = events->at[events->first]->lsn;
        emu_event_free(store, events->at[events->first++]);
    }
}

emu_event *emu_event_begin(emu_store *store, const emu_partition *partition, const emu_item *deleted, size_t text_len)
{
    size_t key_len = partition->key_len, epk_len = partition->epk_len;
    emu_range *range = partition->range;
    emu_event *event = (emu_event *)aioc_mem_zalloc(&store->memory, sizeof *event + key_len + epk_len);
    emu_text image;
    if (!event) return NULL;
    memset(&image, 0, sizeof image);
    image.memory = &store->memory;
    event->key_len = key_len;
    event->epk_len = epk_len;
    memcpy(event + 1, emu_partition_key(partition), key_len + epk_len);    /* side by side there too */
    if (deleted) emu_put_item(&image, range->container, deleted);
    else image.failed = !aioc_mem_reserve(&store->memory, &image.buffer, text_len + EMU_SYSTEM_BYTES);
    event->image = image.buffer;
    if (!image.failed && emu_events_reserve(store, &range->events, 1)) return event;
    emu_event_free(store, event);
    return NULL;
}

void emu_event_commit(emu_store *store, emu_range *range, emu_event *event, const emu_item *item, const emu_item *old,
                      bool expired, int64_t now_ms)
{
    emu_text image;
    event->kind = !item ? EMU_DELETED : old ? EMU_REPLACED : EMU_CREATED;
    event->expired = expired;
    event->lsn = range->lsn;
    event->previous_lsn = old ? old->lsn : 0;
    event->ts = now_ms / 1000;
    if (item) {
        memset(&image, 0, sizeof image);
        image.memory = &store->memory;
        image.buffer = event->image;                       /* has room for it */
        emu_put_item(&image, range->container, item);
        event->image = image.buffer;
    }
    emu_events_purge(store, range, now_ms);
    range->events.at[range->events.count++] = event;
}

aiocosmos_str emu_event_epk(const emu_event *event)
{
    return emu_str((const char *)(event + 1) + event->key_len, event->epk_len);
}

/* All that up to two partitions have noted, in the order of LSNs, to what comes of them. Room was made. */
void emu_events_move(emu_range *const *from, uint32_t count, emu_range *const *to, uint32_t to_count)
{
    uint32_t i, k;
    for (i = 0; i < count; i++)
        for (k = 0; k < to_count; k++)
            if (from[i]->events.purged > to[k]->events.purged) to[k]->events.purged = from[i]->events.purged;
    for (;;) {
        emu_events *first = NULL;
        emu_event *event;
        emu_range *into;
        for (i = 0; i < count; i++) {
            emu_events *events = &from[i]->events;
            if (events->first == events->count) continue;
            if (!first || events->at[events->first]->lsn < first->at[first->first]->lsn) first = events;
        }
        if (!first) return;
        event = first->at[first->first++];
        into = to[to_count == 2 && aioc_protocol_epk_compare(emu_event_epk(event), aioc_mem_str(to[1]->min)) >= 0];
        into->events.at[into->events.count++] = event;
    }
}

/* From now on, or no more. What was before is not known; all partitions go on from one LSN, so that after a merge this
 * is still true of each part. */
void emu_events_retain(emu_store *store, emu_container *container, int64_t retention_s)
{
    int64_t lsn = 0;
    uint32_t i;
    bool changes = (container->retention_s > 0) != (retention_s > 0);
    container->retention_s = retention_s;
    if (!changes) return;
    for (i = 0; i < container->range_count; i++)
        if (container->range[i]->lsn > lsn) lsn = container->range[i]->lsn;
    for (i = 0; i < container->range_count; i++) {
        emu_events_free(store, &container->range[i]->events);
        container->range[i]->events.purged = container->range[i]->lsn = lsn;
    }
}
