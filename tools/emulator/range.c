/* range.c: physical partitions: their borders, how one becomes two and two become one, on request and by
 * themselves.
 *
 * A split or a merge takes time in the service, and so it can here: for some requests the partitions that it is about
 * stay in the list and refuse whoever names them, and then they are gone for good. A request that brings a partition
 * key is routed by the gateway and notices nothing. */
#include "range.h"

#include <stdio.h>
#include <string.h>

#define EMU_PARENTS_MAX  16384                             /* bytes of ancestors; then a partition stays as it is */
#define EMU_PATIENCE     8                                 /* of the container for each that the partition refuses */

/* V1 hashes are of 32 bits, the others use 126, of which the upper 62 are enough for borders. */
static uint64_t emu_hash_space(const emu_container *container)
{
    return container->key.version == 1 ? (uint64_t)1 << 32 : (uint64_t)1 << 62;
}

static void emu_border(const emu_container *container, uint64_t at, char out[EMU_EPK_MAX])
{
    unsigned char bytes[16];
    size_t len = sizeof bytes;
    if (at == 0 || at == emu_hash_space(container)) {
        snprintf(out, EMU_EPK_MAX, "%s", at ? "FF" : "");
        return;
    }
    memset(bytes, 0, sizeof bytes);
    if (container->key.version == 1) {
        len = aioc_protocol_sorted_number((double)at, bytes);
    } else {
        emu_store32be(bytes, (uint32_t)(at >> 32));
        emu_store32be(bytes + 4, (uint32_t)at);
    }
    aioc_protocol_hex(bytes, len, out);
}

static emu_range *emu_make_range(emu_store *store, emu_container *container, uint64_t low, uint64_t high)
{
    emu_range *range = (emu_range *)aioc_mem_zalloc(&store->memory, sizeof *range);
    if (!range) return NULL;
    range->container = container;
    snprintf(range->id, sizeof range->id, "%u", container->next_range++);
    range->low = low;
    range->high = high;
    emu_border(container, low, range->min);
    emu_border(container, high, range->max);
    range->made = container->range_version;
    range->version = -1;
    range->lsn = 1;
    range->ru_ms = -1;
    return range;
}

static void emu_free_range(emu_store *store, emu_range *range)
{
    if (!range) return;
    emu_list_free(&store->memory, &range->items);
    emu_changes_free(store, &range->changes);
    emu_events_free(store, &range->events);
    aioc_mem_free(&store->memory, range->parents, range->parents_size);
    aioc_mem_free(&store->memory, range, sizeof *range);
}

void emu_free_ranges(emu_store *store, emu_container *container)
{
    uint32_t i;
    for (i = 0; i < container->range_count; i++) emu_free_range(store, container->range[i]);
    aioc_mem_free(&store->memory, container->range, container->range_count * sizeof *container->range);
    container->range = NULL;
    container->range_count = 0;
}

bool emu_make_ranges(emu_store *store, emu_container *container, uint32_t count)
{
    uint64_t step = emu_hash_space(container) / count;
    uint32_t i;
    container->range = (emu_range **)aioc_mem_zalloc(&store->memory, count * sizeof *container->range);
    if (!container->range) return false;
    container->range_count = count;
    container->range_version = 1;
    for (i = 0; i < count; i++) {
        uint64_t high = i + 1 < count ? (i + 1) * step : emu_hash_space(container);
        container->range[i] = emu_make_range(store, container, i * step, high);
        if (!container->range[i]) return false;            /* emu_drop_container gives back what there is */
    }
    return true;
}

/*------------------------------------------------------------------------------
 * MARK: - Finding them
 *----------------------------------------------------------------------------*/

/* container->range_count: there is none of that name. */
uint32_t emu_range_index(const emu_container *container, aiocosmos_str id)
{
    uint32_t i = 0;
    while (i < container->range_count && !emu_is(id, container->range[i]->id)) i++;
    return i;
}

emu_range *emu_range_of(const emu_container *container, aiocosmos_str epk)
{
    uint32_t low = 0, high = container->range_count - 1;
    while (low < high) {                                   /* the last range whose minimum is not above */
        uint32_t middle = low + (high - low + 1) / 2;
        if (aioc_protocol_epk_compare(aioc_mem_str(container->range[middle]->min), epk) <= 0) low = middle;
        else high = middle - 1;
    }
    return container->range[low];
}

bool emu_range_moves(const emu_range *range)
{
    const emu_reshaping *pending = &range->container->pending;
    return pending->gone > 0 && (pending->range[0] == range || (pending->gone == 2 && pending->range[1] == range));
}

/*------------------------------------------------------------------------------
 * MARK: - New ones in the place of old ones
 *----------------------------------------------------------------------------*/

/* Takes the first id off a list like "0","3". len 0: there is none. */
static aiocosmos_str emu_take_range_id(aiocosmos_str *ids)
{
    const char *comma = ids->len ? (const char *)memchr(ids->ptr, ',', ids->len) : NULL;
    aiocosmos_str id = emu_str(ids->ptr, comma ? (size_t)(comma - ids->ptr) : ids->len);
    *ids = comma ? emu_str(comma + 1, ids->len - id.len - 1) : emu_str(NULL, 0);
    return id;
}

/* Numbers without leading zeros. Behind all: none. */
static int emu_compare_range_ids(aiocosmos_str a, aiocosmos_str b)
{
    if (a.len != b.len) return !b.len || (a.len && a.len < b.len) ? -1 : 1;
    return a.len ? memcmp(a.ptr, b.ptr, a.len) : 0;
}

/* Two lists, each in order, as one. */
static void emu_put_ids(emu_text *text, aiocosmos_str a, aiocosmos_str b)
{
    aiocosmos_str of_a = emu_take_range_id(&a), of_b = emu_take_range_id(&b);
    while (of_a.len || of_b.len) {
        int order = emu_compare_range_ids(of_a, of_b);
        if (text->buffer.len) emu_puts(text, ",");
        emu_put_str(text, order <= 0 ? of_a : of_b);
        if (order <= 0) of_a = emu_take_range_id(&a);
        if (order >= 0) of_b = emu_take_range_id(&b);
    }
}

/* The service names all ancestors, so that whoever missed some steps still finds the way. */
static bool emu_name_parents(emu_store *store, emu_range *child, emu_range *const *parent, uint32_t count)
{
    emu_text line[2], text;                                /* a parent and its own; all */
    uint32_t i;
    bool ok;
    memset(line, 0, sizeof line);
    memset(&text, 0, sizeof text);
    text.memory = &store->memory;
    for (i = 0; i < count; i++) {
        line[i].memory = &store->memory;
        emu_puts(&line[i], emu_range_parents(parent[i]));
        emu_put_format(&line[i], "%s\"%s\"", line[i].buffer.len ? "," : "", parent[i]->id);
    }
    emu_put_ids(&text, emu_text_str(&line[0]), emu_text_str(&line[1]));
    ok = !line[0].failed && !line[1].failed && !text.failed && text.buffer.len < EMU_PARENTS_MAX;
    child->parents = ok ? (char *)aioc_mem_alloc(&store->memory, text.buffer.len + 1) : NULL;
    if (child->parents) {
        child->parents_size = text.buffer.len + 1;
        memcpy(child->parents, text.buffer.data, text.buffer.len);
        child->parents[text.buffer.len] = 0;
    }
    for (i = 0; i < count; i++) aioc_mem_buffer_free(&store->memory, &line[i].buffer);
    aioc_mem_buffer_free(&store->memory, &text.buffer);
    return child->parents != NULL;
}

/* What was true of the parents' session tokens and change feed positions is true of the child's: it starts from the
 * highest number. Only a merge raises the version (cosmos-rest 7). */
static void emu_inherit(emu_range *child, emu_range *const *parent, uint32_t parents, uint32_t children)
{
    uint32_t i;
    child->ru_ms = parent[0]->ru_ms;
    for (i = 0; i < parents; i++) {
        if (parent[i]->lsn > child->lsn) child->lsn = parent[i]->lsn;
        if (parent[i]->version > child->version) child->version = parent[i]->version;
        child->ru += parent[i]->ru / children;
    }
    if (parents > 1) child->version = child->version < 0 ? 1 : child->version + 1;
}

/* The items of up to two partitions, in the order of their numbers, to where they belong now. Space was made before. */
static void emu_move_items(emu_range *const *from, uint32_t count, emu_range *const *to, uint32_t to_count)
{
    uint32_t slot[2] = { 0, 0 }, i;
    for (;;) {
        emu_item *first = NULL;
        emu_range *into;
        uint32_t which = 0;
        for (i = 0; i < count; i++) {
            const emu_list *list = &from[i]->items;
            while (slot[i] < list->count && !list->at[slot[i]]) slot[i]++;
            if (slot[i] == list->count || (first && first->number < list->at[slot[i]]->number)) continue;
            first = list->at[slot[i]];
            which = i;
        }
        if (!first) return;
        slot[which]++;
        into = to[to_count == 2 && aioc_protocol_epk_compare(emu_partition_epk(first->partition),
                                                             aioc_mem_str(to[1]->min)) >= 0];
        first->range_slot = emu_list_push(&into->items, first);
        first->partition->range = into;
    }
}

static bool emu_prepare_child(emu_store *store, emu_range *child, emu_range *const *parent, uint32_t parents)
{
    uint32_t i, live = 0;
    size_t events = 0;
    if (!child) return false;
    for (i = 0; i < parents; i++) {
        live += parent[i]->items.live;
        events += parent[i]->events.count - parent[i]->events.first;
    }
    return emu_name_parents(store, child, parent, parents) && emu_list_reserve(&store->memory, &child->items, live) &&
           emu_events_reserve(store, &child->events, events);
}

bool emu_reshape(emu_store *store, emu_container *container, uint32_t at, uint32_t gone, uint64_t cut)
{
    emu_range *old[2] = { NULL, NULL }, *made[2] = { NULL, NULL }, **ranges;
    uint32_t count = gone == 1 ? 2 : 1, size = container->range_count, next_range = container->next_range, i;
    bool ok = true;
    for (i = 0; i < gone; i++) old[i] = container->range[at + i];
    ranges = (emu_range **)aioc_mem_alloc(&store->memory, (size - gone + count) * sizeof *ranges);
    container->range_version++;
    for (i = 0; i < count && ok; i++) {
        made[i] = emu_make_range(store, container, i ? cut : old[0]->low, i + 1 < count ? cut : old[gone - 1]->high);
        ok = emu_prepare_child(store, made[i], old, gone);
    }
    if (!ok || !ranges) {
        emu_free_range(store, made[0]);
        emu_free_range(store, made[1]);
        aioc_mem_free(&store->memory, ranges, (size - gone + count) * sizeof *ranges);
        container->range_version--;
        return false;
    }
    container->changes++;
    for (i = 0; i < count; i++) emu_inherit(made[i], old, gone, count);
    emu_move_items(old, gone, made, count);
    emu_events_move(old, gone, made, count);
    memcpy(ranges, container->range, at * sizeof *ranges);
    memcpy(ranges + at, made, count * sizeof *ranges);
    memcpy(ranges + at + count, container->range + at + gone, (size - at - gone) * sizeof *ranges);
    aioc_mem_free(&store->memory, container->range, size * sizeof *ranges);
    container->range = ranges;
    container->range_count = size - gone + count;
    for (i = 0; i < gone; i++) emu_free_range(store, old[i]);
    *(gone == 1 ? &store->splits : &store->merges) += 1;
    emu_journal_reshaping(store, container, next_range, at, gone, cut);
    return true;
}

/*------------------------------------------------------------------------------
 * MARK: - Splits and merges that take their time
 *----------------------------------------------------------------------------*/

static bool emu_reshape_pending(emu_store *store, emu_container *container)
{
    emu_reshaping pending = container->pending;
    memset(&container->pending, 0, sizeof container->pending);
    return pending.gone == 0 ||
           emu_reshape(store, container, emu_range_index(container, aioc_mem_str(pending.range[0]->id)), pending.gone,
                       pending.cut);
}

/* gone 1: a split of the partition at an index, at a point of the hashes. 2: a merge with its right neighbour. The
 * first `busy` requests that name it are refused with that sub-status. */
static bool emu_reshape_soon(emu_store *store, emu_container *container, uint32_t at, uint32_t gone, uint64_t cut,
                             uint32_t busy, int sub_status)
{
    emu_reshaping *pending = &container->pending;
    if (at + gone > container->range_count) return false;
    if (gone == 1 && (cut <= container->range[at]->low || cut >= container->range[at]->high)) return false;
    if (busy == 0) return emu_reshape(store, container, at, gone, cut);
    pending->range[0] = container->range[at];
    pending->range[1] = gone == 2 ? container->range[at + 1] : NULL;
    pending->gone = gone;
    pending->cut = cut;
    pending->busy = busy;
    pending->patience = busy > UINT32_MAX / EMU_PATIENCE ? UINT32_MAX : busy * EMU_PATIENCE;
    pending->sub_status = sub_status;
    return true;
}

/* A random partition is cut somewhere in its middle half, or becomes one with its neighbour. */
static void emu_shuffle_one(emu_store *store, emu_container *container)
{
    const emu_shuffle *shuffle = &store->shuffle;
    uint32_t count = container->range_count, gone, at;
    uint64_t span, cut = 0;
    bool may_split = count < shuffle->max, may_merge = count > shuffle->min;
    if (!may_split && !may_merge) return;
    gone = may_merge && (!may_split || emu_random(&store->clock) % 2) ? 2 : 1;
    at = (uint32_t)(emu_random(&store->clock) % (count - gone + 1));
    span = container->range[at]->high - container->range[at]->low;
    if (gone == 1) cut = container->range[at]->low + span / 4 + emu_random(&store->clock) % (span / 2 + 1);
    emu_reshape_soon(store, container, at, gone, cut,
                     shuffle->busy ? (uint32_t)(emu_random(&store->clock) % ((uint64_t)shuffle->busy + 1)) : 0,
                     emu_random(&store->clock) % 2 ? 1007 : 1008);
}

void emu_ranges_tick(emu_store *store, emu_container *container)
{
    emu_reshaping *pending = &container->pending;
    if (pending->gone && (pending->busy == 0 || pending->patience-- == 0)) emu_reshape_pending(store, container);
    if (store->shuffle.every && !pending->gone && emu_random(&store->clock) % store->shuffle.every == 0)
        emu_shuffle_one(store, container);
}

/*------------------------------------------------------------------------------
 * MARK: - On request
 *----------------------------------------------------------------------------*/

const char *emu_shuffle_wrong(emu_shuffle *shuffle)
{
    bool by_default = shuffle->max == 0;
    if (shuffle->min == 0) shuffle->min = 1;
    if (shuffle->max == 0) shuffle->max = AIOCOSMOS_EMULATOR_DEFAULT_SHUFFLE_MAX;
    if (shuffle->max < shuffle->min && by_default) shuffle->max = shuffle->min;
    return shuffle->min > shuffle->max || shuffle->max > AIOCOSMOS_EMULATOR_PARTITIONS_MAX
               ? "shuffle: a least number of partitions that is not above the most, and that at most 256" : NULL;
}

bool emu_reshape_named(emu_store *store, const char *database, const char *container, const char *range_id,
                              uint32_t gone, uint32_t busy, int sub_status)
{
    emu_database *d = emu_find_database(store, aioc_mem_str(database));
    emu_container *c = d ? emu_find_container(d, aioc_mem_str(container)) : NULL;
    uint32_t at;
    if (!c || !emu_reshape_pending(store, c)) return false;
    at = range_id ? emu_range_index(c, aioc_mem_str(range_id)) : 0;
    return at < c->range_count &&
           emu_reshape_soon(store, c, at, gone, c->range[at]->low + (c->range[at]->high - c->range[at]->low) / 2, busy,
                            sub_status);
}
