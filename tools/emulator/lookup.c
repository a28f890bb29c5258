/* lookup.c: the items that a query has to look at, found by an index: either all that meet a condition, in the order of
 * their numbers as a scan would meet them; or, for ORDER BY, in the order of their keys, a part after the other until
 * there are enough. Whichever it is, the query gives the rows that it would give without.
 *
 * A path is indexed when it was asked for twice of a scope with many items, and the container's policy allows it. */
#include "lookup.h"
#include "policy.h"

#include <stdlib.h>
#include <string.h>

#define EMU_FOUND_MOST 200000                              /* items: beyond, sorting them takes longer than reading */
#define EMU_PART_LEAST 32                                  /* items of a part */
#define EMU_PART_MOST  4096

void emu_lookup_free(emu_store *store, emu_lookup *lookup)
{
    emu_list_free(&store->memory, &lookup->found);
    lookup->current = false;
}

/*------------------------------------------------------------------------------
 * MARK: - Which index
 *----------------------------------------------------------------------------*/

/* Items in the scope, at most. */
static uint64_t emu_scope_items(const emu_container *container, const emu_scope *scope)
{
    uint64_t items = 0;
    uint32_t i;
    if (scope->whole_key) {
        const emu_partition *partition = emu_find_partition(container, scope->key);
        return partition ? partition->items.live : 0;
    }
    if (scope->only) return scope->only->items.live;
    for (i = 0; i < container->range_count; i++) {
        const emu_range *range = container->range[i];
        if (scope->max.len == 0 || (aioc_protocol_epk_compare(aioc_mem_str(range->min), scope->max) < 0 &&
                                    aioc_protocol_epk_compare(aioc_mem_str(range->max), scope->min) > 0))
            items += range->items.live;
    }
    return items;
}

/* What the service adds to an item is not in its text. */
static bool emu_path_is_known(const char *path)
{
    static const char *const ours[] = { "/_rid", "/_self", "/_etag", "/_attachments" };
    size_t i, len = 1 + strcspn(path + 1, "/");
    for (i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strlen(ours[i]) == len && memcmp(path, ours[i], len) == 0) return false;
    return strlen(path) + 3 <= EMU_POLICY_PATH;
}

static bool emu_path_is_indexed(emu_exchange *x, const char *path)
{
    aiocosmos_json_doc doc;
    bool is;
    aioc_json_open(&doc, &x->store->memory);
    is = emu_policy_indexes_value(emu_policy(x, &doc), path);
    aioc_json_close(&doc);
    return is;
}

/* NULL: there is none for this path. */
static emu_index *emu_index_of(emu_exchange *x, const char *path)
{
    emu_index *index;
    bool made;
    if (!path || !emu_path_is_known(path)) return NULL;
    index = emu_index_find(x->store, x->container, path, &made);
    if (made || (index && index->uses == 0)) index->excluded = !emu_path_is_indexed(x, path);
    return index && !index->excluded ? index : NULL;
}

static void emu_note_path(emu_exchange *x, const char *path)
{
    emu_index *index = emu_index_of(x, path);
    if (index && index->uses < UINT32_MAX) index->uses++;
}

/* Of what indexes may take there is left. */
static bool emu_has_room(const emu_store *store)
{
    return store->memory.used < store->memory.max - store->memory.max / 8;
}

/* *index: one that can be used now, or NULL. False: later. */
static bool emu_ready_index(emu_exchange *x, const char *path, uint64_t *steps, emu_index **out)
{
    emu_index *index = emu_index_of(x, path);
    *out = NULL;
    if (!index || (!index->ready && (index->uses < 2 || !emu_has_room(x->store)))) return true;
    if (!index->ready && !emu_index_build(x->store, x->container, index, steps)) return index->excluded;
    *out = index;
    return true;
}

static uint64_t emu_count_keys(const emu_index *index, const emu_sql_condition *condition)
{
    uint64_t count = 0;
    size_t i;
    for (i = 0; i < condition->count; i++)
        count += emu_index_seek(index, condition->intervals[i].high, 0, NULL, NULL) -
                 emu_index_seek(index, condition->intervals[i].low, 0, NULL, NULL);
    return count;
}

/* Reading an item takes some times as long as finding it. */
#define EMU_IS_WORTH(found, read) (4 * (found) <= (read) + 32)

/* In the order of keys of this index, of those keys only that meet the condition. */
static void emu_lookup_walk(emu_lookup *lookup, const emu_sql_shape *shape, emu_index *index,
                            const emu_sql_condition *condition, int64_t rows)
{
    lookup->index = index;
    lookup->condition = condition;
    lookup->walks = true;
    lookup->descending = shape->descending;
    lookup->alone = shape->sorted_count == 1;
    lookup->from_len = shape->resume.len;
    lookup->from_number = 0;
    if (shape->resume.len) memcpy(lookup->from, shape->resume.ptr, shape->resume.len);
    if (shape->resume.len && emu_sql_is_exact(shape->resume)) lookup->from_number = shape->resume_number;
    lookup->part = rows < EMU_PART_LEAST ? EMU_PART_LEAST : rows > EMU_PART_MOST ? EMU_PART_MOST : (uint32_t)rows;
}

bool emu_lookup_choose(emu_exchange *x, emu_lookup *lookup, const emu_sql_shape *shape, const emu_scope *scope,
                       bool count, int64_t rows, bool sorted, uint64_t *steps)
{
    uint64_t in_scope = emu_scope_items(x->container, scope), all = x->container->items.count, best = all, other = all;
    uint64_t read = in_scope;
    const emu_sql_condition *of_order = NULL;
    emu_index *index, *order = NULL;
    size_t i;
    lookup->index = NULL;
    lookup->condition = NULL;
    lookup->chosen = in_scope < x->core->index_least || in_scope == 0;
    if (lookup->chosen) return true;
    for (i = 0; count && !lookup->noted && i < shape->condition_count; i++) emu_note_path(x, shape->conditions[i].path);
    if (count && !lookup->noted && sorted) emu_note_path(x, shape->order_path);
    lookup->noted = true;
    for (i = 0; i < shape->condition_count; i++) {
        const emu_sql_condition *condition = &shape->conditions[i];
        uint64_t found;
        if (!emu_ready_index(x, condition->path, steps, &index)) return false;
        if (!index) continue;
        found = emu_count_keys(index, condition);
        if (shape->order_path && strcmp(condition->path, shape->order_path) == 0) of_order = condition;
        else if (found < other) other = found;
        if (found >= best) continue;
        best = found;
        lookup->index = index;
        lookup->condition = condition;
    }
    if (sorted && shape->order_path && !emu_ready_index(x, shape->order_path, steps, &order)) return false;
    lookup->chosen = true;
    if (order && rows >= 0 && EMU_IS_WORTH((uint64_t)rows * (all / (other + 1) + 1) * (all / in_scope / 8 + 1),
                                           best < in_scope ? best : in_scope)) {
        emu_lookup_walk(lookup, shape, order, of_order, rows);
        return true;
    }
    if (!sorted && rows >= 0 && (uint64_t)rows * (all / (best + 1) + 1) < read)
        read = (uint64_t)rows * (all / (best + 1) + 1);
    if (lookup->index && (best > EMU_FOUND_MOST || !EMU_IS_WORTH(best, read))) lookup->index = NULL;
    return true;
}

/*------------------------------------------------------------------------------
 * MARK: - What it finds
 *----------------------------------------------------------------------------*/

typedef struct emu_finder {
    emu_exchange *x;
    const emu_scope *scope;
    const emu_partition *partition;                        /* of the scope's key */
    emu_lookup *lookup;
    uint64_t after, last;
    bool sorted, failed;
} emu_finder;

static void emu_find(emu_finder *finder, const emu_entry *entry)
{
    emu_item *item = emu_entry_item(entry);
    const emu_scope *scope = finder->scope;
    emu_list *found = &finder->lookup->found;
    if (item->number <= finder->after || (scope->whole_key && item->partition != finder->partition) ||
        (scope->only && item->partition->range != scope->only) || !emu_in_scope(scope, item)) return;
    if (!emu_list_reserve(&finder->x->store->memory, found, 1)) {
        finder->failed = true;
        return;
    }
    if (item->number < finder->last) finder->sorted = false;
    finder->last = item->number;
    emu_list_push(found, item);
}

static int emu_compare_items(const void *a, const void *b)
{
    const emu_item *one = *(emu_item *const *)a, *other = *(emu_item *const *)b;
    return one->number < other->number ? -1 : one->number > other->number;
}

static bool emu_is_point(const emu_sql_interval *interval)
{
    return interval->high.len == interval->low.len + 1 && interval->high.ptr[interval->low.len] == 0 &&
           memcmp(interval->low.ptr, interval->high.ptr, interval->low.len) == 0;
}

static void emu_find_all(emu_finder *finder)
{
    const emu_lookup *lookup = finder->lookup;
    size_t i;
    for (i = 0; i < lookup->condition->count; i++) {
        const emu_sql_interval *interval = &lookup->condition->intervals[i];
        emu_entry *entry, *end;
        emu_index_seek(lookup->index, interval->low, emu_is_point(interval) ? finder->after + 1 : 0, &entry, NULL);
        emu_index_seek(lookup->index, interval->high, 0, &end, NULL);
        for (; entry != end && !finder->failed; entry = emu_entry_next(entry)) emu_find(finder, entry);
    }
}

static aiocosmos_str emu_lookup_key(const unsigned char *bytes, size_t len)
{
    return emu_str((const char *)bytes, len);
}

/* The part is full, and what is in it sorts before this entry: then it is where the next one goes on. Entries of one
 * key sort by number if the key says all of their values. */
static bool emu_part_ends(emu_lookup *lookup, const emu_entry *entry, aiocosmos_str last)
{
    aiocosmos_str key = emu_entry_key(entry);
    if (lookup->found.count < lookup->part) return false;
    if (emu_compare_keys(key, last) == 0 && !(lookup->alone && emu_sql_is_exact(key))) return false;
    memcpy(lookup->next, key.ptr, key.len);
    lookup->next_len = key.len;
    lookup->next_number = emu_entry_item(entry)->number;
    lookup->through = false;
    return true;
}

/* False: the part is full. */
static bool emu_find_until(emu_finder *finder, const emu_entry *entry, const emu_entry *end)
{
    aiocosmos_str last = emu_str("", 0);
    for (; entry && entry != end && !finder->failed; entry = emu_entry_next(entry)) {
        if (emu_part_ends(finder->lookup, entry, last)) return false;
        last = emu_entry_key(entry);
        emu_find(finder, entry);
    }
    return !finder->failed;
}

/* high.len 0: to the end. */
static bool emu_find_up(emu_finder *finder, aiocosmos_str low, aiocosmos_str high)
{
    const emu_lookup *lookup = finder->lookup;
    aiocosmos_str from = emu_lookup_key(lookup->from, lookup->from_len);
    bool within = from.len && emu_compare_keys(from, low) >= 0;
    emu_entry *entry, *end = NULL;
    if (within && high.len && emu_compare_keys(from, high) >= 0) return true;
    emu_index_seek(lookup->index, within ? from : low, within ? lookup->from_number : 0, &entry, NULL);
    if (high.len) emu_index_seek(lookup->index, high, 0, &end, NULL);
    return emu_find_until(finder, entry, end);
}

/* Key by key from the highest, of each by number. */
static bool emu_find_down(emu_finder *finder, aiocosmos_str low, aiocosmos_str high)
{
    const emu_lookup *lookup = finder->lookup;
    aiocosmos_str from = emu_lookup_key(lookup->from, lookup->from_len);
    uint64_t number = 0;
    emu_entry *entry, *end, *before;
    if (from.len && (!high.len || emu_compare_keys(from, high) < 0)) {
        emu_index_seek(lookup->index, from, UINT64_MAX, NULL, &before);
        if (before && emu_compare_keys(emu_entry_key(before), from) == 0) number = lookup->from_number;
    } else {
        emu_index_seek(lookup->index, high.len ? high : emu_str("\377", 1), 0, NULL, &before);
    }
    while (before && emu_compare_keys(emu_entry_key(before), low) >= 0) {
        aiocosmos_str key = emu_entry_key(before);
        end = emu_entry_next(before);
        emu_index_seek(lookup->index, key, 0, &entry, &before);
        if (number) emu_index_seek(lookup->index, key, number, &entry, NULL);
        if (!emu_find_until(finder, entry, end)) return false;
        number = 0;
    }
    return true;
}

static bool emu_find_between(emu_finder *finder, aiocosmos_str low, aiocosmos_str high)
{
    return (finder->lookup->descending ? emu_find_down : emu_find_up)(finder, low, high);
}

static void emu_find_part(emu_finder *finder)
{
    emu_lookup *lookup = finder->lookup;
    const emu_sql_condition *condition = lookup->condition;
    size_t i, count = condition ? condition->count : 0;
    lookup->through = true;
    if (!condition) emu_find_between(finder, emu_str("", 0), emu_str("", 0));
    for (i = 0; i < count; i++) {
        const emu_sql_interval *interval = &condition->intervals[lookup->descending ? count - 1 - i : i];
        if (!emu_find_between(finder, interval->low, interval->high)) return;
    }
}

bool emu_lookup_refresh(emu_exchange *x, emu_lookup *lookup, const emu_scope *scope, uint64_t after)
{
    emu_finder finder;
    if (!lookup->index || (lookup->current && lookup->changes == x->container->changes)) return true;
    memset(&finder, 0, sizeof finder);
    finder.x = x;
    finder.scope = scope;
    finder.partition = scope->whole_key ? emu_find_partition(x->container, scope->key) : NULL;
    finder.lookup = lookup;
    finder.after = after;
    finder.sorted = true;
    finder.failed = !lookup->index->ready;
    lookup->found.count = lookup->found.live = 0;
    if (!finder.failed && lookup->walks) emu_find_part(&finder);
    else if (!finder.failed) emu_find_all(&finder);
    if (finder.failed) lookup->index = NULL;
    if (finder.failed) return false;
    if (!finder.sorted) qsort(lookup->found.at, lookup->found.count, sizeof *lookup->found.at, emu_compare_items);
    lookup->changes = x->container->changes;
    lookup->current = true;
    return true;
}

bool emu_lookup_next(emu_lookup *lookup)
{
    if (!lookup->walks || lookup->through) return false;
    memcpy(lookup->from, lookup->next, lookup->next_len);
    lookup->from_len = lookup->next_len;
    lookup->from_number = lookup->next_number;
    if (lookup->part < EMU_PART_MOST) lookup->part *= 2;
    lookup->current = false;
    return true;
}
