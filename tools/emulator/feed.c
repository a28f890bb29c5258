/* feed.c: the change feed: items by when they were last changed, and, where the container keeps them, all
 * changes with their deletions.
 *
 * A position is an LSN of a partition: an ETag of that number means "what came after". As those that come of a
 * partition start from its LSN and take its items over with theirs, positions outlive splits and merges.
 *
 * The order of changes costs nothing until somebody asks a partition for it: then it is sorted once, and kept from
 * there on. A split or merge forgets it again. */
#include "internal.h"

/*------------------------------------------------------------------------------
 * MARK: - Items in the order of their last change
 *----------------------------------------------------------------------------*/

static int emu_change_order(const void *a, const void *b)
{
    const emu_change *one = (const emu_change *)a, *other = (const emu_change *)b;
    if (one->lsn != other->lsn) return one->lsn < other->lsn ? -1 : 1;
    return one->item->number < other->item->number ? -1 : one->item->number > other->item->number;
}

void emu_changes_free(emu_core *core, emu_changes *changes)
{
    aioc_mem_free(&core->memory, changes->at, changes->cap * sizeof *changes->at);
    memset(changes, 0, sizeof *changes);
}

/* False: no memory. */
static bool emu_changes_gather(emu_core *core, emu_changes *changes, const emu_list *items)
{
    uint32_t i;
    changes->cap = items->live + 64;
    changes->at = (emu_change *)aioc_mem_alloc(&core->memory, changes->cap * sizeof *changes->at);
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
static uint32_t emu_changes_after(const emu_changes *changes, int64_t lsn)
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

static void emu_changes_add(emu_core *core, emu_changes *changes, emu_item *item)
{
    if (changes->count == changes->cap) {
        uint32_t cap = 2 * changes->cap;
        emu_change *grown = (emu_change *)aioc_mem_resize(&core->memory, changes->at,
                                                          changes->cap * sizeof *grown, cap * sizeof *grown);
        if (!grown) {
            emu_changes_free(core, changes);               /* whoever asks next may have more luck */
            return;
        }
        changes->at = grown;
        changes->cap = cap;
    }
    changes->at[changes->count].lsn = item->lsn;
    changes->at[changes->count++].item = item;
    changes->live++;
}

void emu_changes_replace(emu_core *core, emu_changes *changes, const emu_item *old, emu_item *item)
{
    if (old) emu_changes_remove(changes, old);
    if (item) emu_changes_add(core, changes, item);
}

/*------------------------------------------------------------------------------
 * MARK: - All changes
 *----------------------------------------------------------------------------*/

typedef enum emu_event_kind { EMU_CREATED, EMU_REPLACED, EMU_DELETED } emu_event_kind;

struct emu_event {                                         /* followed by the partition's key and EPK */
    emu_event_kind kind;
    bool    expired;
    int64_t lsn, previous_lsn, ts;
    aioc_mem_buffer image;                                 /* the item's JSON: new, or the last one where deleted */
    size_t  key_len, epk_len;
};

static void emu_event_free(emu_core *core, emu_event *event)
{
    if (!event) return;
    aioc_mem_buffer_free(&core->memory, &event->image);
    aioc_mem_free(&core->memory, event, sizeof *event + event->key_len + event->epk_len);
}

void emu_events_free(emu_core *core, emu_events *events)
{
    while (events->first < events->count) emu_event_free(core, events->at[events->first++]);
    aioc_mem_free(&core->memory, events->at, events->cap * sizeof *events->at);
    memset(events, 0, sizeof *events);
}

bool emu_events_reserve(emu_core *core, emu_events *events, size_t extra)
{
    size_t live = events->count - events->first, cap = 2 * live + extra;
    emu_event **at;
    if (extra <= events->cap - events->count) return true;
    at = (emu_event **)aioc_mem_alloc(&core->memory, cap * sizeof *at);
    if (!at) return false;
    if (live) memcpy(at, events->at + events->first, live * sizeof *at);
    aioc_mem_free(&core->memory, events->at, events->cap * sizeof *at);
    events->at = at;
    events->cap = cap;
    events->first = 0;
    events->count = live;
    return true;
}

/* What is older than the container wants to know is gone. */
static void emu_events_purge(emu_core *core, emu_range *range, int64_t now_ms)
{
    emu_events *events = &range->events;
    while (events->first < events->count &&
           events->at[events->first]->ts + range->container->retention_s < now_ms / 1000) {
        events->purged = events->at[events->first]->lsn;
        emu_event_free(core, events->at[events->first++]);
    }
}

emu_event *emu_event_begin(emu_core *core, const emu_partition *partition, const emu_item *deleted, size_t text_len)
{
    size_t key_len = partition->key_len, epk_len = partition->epk_len;
    emu_range *range = partition->range;
    emu_event *event = (emu_event *)aioc_mem_zalloc(&core->memory, sizeof *event + key_len + epk_len);
    emu_text image;
    if (!event) return NULL;
    memset(&image, 0, sizeof image);
    image.memory = &core->memory;
    event->key_len = key_len;
    event->epk_len = epk_len;
    memcpy(event + 1, emu_partition_key(partition), key_len + epk_len);    /* side by side there too */
    if (deleted) emu_put_item(&image, range->container, deleted);
    else image.failed = !aioc_mem_reserve(&core->memory, &image.buffer, text_len + EMU_SYSTEM_BYTES);
    event->image = image.buffer;
    if (!image.failed && emu_events_reserve(core, &range->events, 1)) return event;
    emu_event_free(core, event);
    return NULL;
}

void emu_event_commit(emu_core *core, emu_range *range, emu_event *event, const emu_item *item, const emu_item *old,
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
        image.memory = &core->memory;
        image.buffer = event->image;                       /* has room for it */
        emu_put_item(&image, range->container, item);
        event->image = image.buffer;
    }
    emu_events_purge(core, range, now_ms);
    range->events.at[range->events.count++] = event;
}

static aiocosmos_str emu_event_epk(const emu_event *event)
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
void emu_events_retain(emu_core *core, emu_container *container, int64_t retention_s)
{
    int64_t lsn = 0;
    uint32_t i;
    bool changes = (container->retention_s > 0) != (retention_s > 0);
    container->retention_s = retention_s;
    if (!changes) return;
    for (i = 0; i < container->range_count; i++)
        if (container->range[i]->lsn > lsn) lsn = container->range[i]->lsn;
    for (i = 0; i < container->range_count; i++) {
        emu_events_free(core, &container->range[i]->events);
        container->range[i]->events.purged = container->range[i]->lsn = lsn;
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Pages
 *----------------------------------------------------------------------------*/

typedef struct emu_feed {
    emu_exchange *x;
    const emu_scope *scope;
    emu_range *range;
    int64_t after, last;                                   /* LSNs: where it starts; of the last row */
    int64_t since_s;                                       /* only what changed then or later */
    int64_t max, count;
    bool all, enveloped;                                   /* all versions; the form with metadata */
    uint64_t looked;
} emu_feed;

static bool emu_feed_key_in_scope(const emu_scope *scope, const void *key, size_t key_len, aiocosmos_str epk)
{
    if (scope->key && (key_len < scope->key->len || (scope->whole_key && key_len != scope->key->len) ||
                       memcmp(key, scope->key->bytes, scope->key->len) != 0)) return false;
    return scope->max.len == 0 || (aioc_protocol_epk_compare(epk, scope->min) >= 0 &&
                                   aioc_protocol_epk_compare(epk, scope->max) < 0);
}

/* Whether the row fits the page. What one transaction has changed, one LSN, is never torn apart. */
static bool emu_feed_fits(const emu_feed *feed, int64_t lsn, size_t len)
{
    if (feed->count == 0 || lsn == feed->last) return true;
    return feed->count < feed->max && feed->x->core->body.buffer.len + len <= EMU_PAGE_MAX;
}

static void emu_feed_row(emu_feed *feed, int64_t lsn, const emu_text *row)
{
    emu_text *body = &feed->x->core->body;
    if (feed->count++) emu_puts(body, ",");
    emu_put(body, row->buffer.data, row->buffer.len);
    if (row->failed) body->failed = true;
    feed->last = lsn;
}

static void emu_put_change(emu_text *out, const emu_feed *feed, const emu_item *item)
{
    emu_text_clear(out);
    if (feed->enveloped) emu_puts(out, "{\"current\":");
    emu_put_item(out, feed->x->container, item);
    if (out->failed) return;
    if (feed->enveloped) {
        emu_put_format(out, ",\"metadata\":{\"lsn\":%lld,\"crts\":%lld}}", (long long)item->lsn, (long long)item->ts);
    } else {
        out->buffer.len--;                                 /* one more system property */
        emu_put_format(out, ",\"_lsn\":%lld}", (long long)item->lsn);
    }
}

/* False: the page is full. */
static bool emu_feed_change(emu_feed *feed, const emu_item *item)
{
    emu_exchange *x = feed->x;
    const emu_partition *partition = item->partition;
    emu_text *row = &x->core->scratch;
    feed->looked++;
    if (item->ts < feed->since_s || emu_item_expired(x->container, item, x->now_ms) ||
        !emu_feed_key_in_scope(feed->scope, emu_partition_key(partition), partition->key_len,
                               emu_partition_epk(partition))) return true;
    if (!emu_feed_fits(feed, item->lsn, item->text_len + EMU_SYSTEM_BYTES)) return false;
    emu_put_change(row, feed, item);
    emu_feed_row(feed, item->lsn, row);
    return true;
}

/* False: refused. */
static bool emu_feed_changes(emu_feed *feed, bool *through)
{
    emu_exchange *x = feed->x;
    emu_changes of_key, *changes = &feed->range->changes;
    emu_partition *partition;
    uint32_t i;
    *through = true;
    memset(&of_key, 0, sizeof of_key);
    if (feed->scope->whole_key) {                          /* that partition's few alone */
        partition = emu_find_partition(x->container, feed->scope->key);
        if (!partition) return true;
        changes = &of_key;
        if (!emu_changes_gather(x->core, changes, &partition->items)) return emu_no_memory(x);
    } else if (!changes->kept && !emu_changes_gather(x->core, changes, &feed->range->items)) {
        return emu_no_memory(x);
    }
    for (i = emu_changes_after(changes, feed->after); i < changes->count && *through; i++)
        if (changes->at[i].item) *through = emu_feed_change(feed, changes->at[i].item);
    emu_changes_free(x->core, &of_key);
    return true;
}

/* What is left of a deleted item: its id, and its key by the names of the definition. */
static void emu_put_deleted(emu_text *out, emu_exchange *x, const emu_event *event)
{
    static const char *const names[] = { "id" };
    aiocosmos_json_doc *doc = &x->core->doc2;
    aiocosmos_json root, value;
    bool some = false;
    size_t i;
    if (aioc_json_parse(doc, event->image.data, event->image.len) < 0) {
        out->failed = true;
        return;
    }
    root = aioc_json_root(doc);
    aioc_json_fields(root, names, 1, &value);
    emu_puts(out, ",\"id\":");
    emu_put(out, value.ptr, value.len);
    emu_puts(out, ",\"partitionKey\":{");
    for (i = 0; i < x->container->key.path_count; i++) {
        aiocosmos_str path = x->container->key_path[i];
        if (!aioc_protocol_path_value(root, path, &value) || value.type == AIOCOSMOS_JSON_NONE) continue;
        if (some) emu_puts(out, ",");
        emu_put_json(out, emu_str(path.ptr + 1, path.len - 1));
        emu_puts(out, ":");
        emu_put(out, value.ptr, value.len);
        some = true;
    }
    emu_puts(out, "}");
}

static void emu_put_event(emu_text *out, emu_exchange *x, const emu_event *event)
{
    static const char *const kinds[] = { "create", "replace", "delete" };
    emu_text_clear(out);
    emu_puts(out, event->kind == EMU_DELETED ? "{\"previous\":" : "{\"current\":");
    emu_put(out, event->image.data, event->image.len);
    emu_put_format(out, ",\"metadata\":{\"operationType\":\"%s\",\"lsn\":%lld,\"crts\":%lld", kinds[event->kind],
                   (long long)event->lsn, (long long)event->ts);
    if (event->kind != EMU_CREATED) emu_put_format(out, ",\"previousImageLSN\":%lld", (long long)event->previous_lsn);
    if (event->expired) emu_puts(out, ",\"timeToLiveExpired\":true");
    if (event->kind == EMU_DELETED) emu_put_deleted(out, x, event);
    emu_puts(out, "}}");
}

/* Nobody has deleted what has expired, until somebody looks. */
static void emu_feed_expire(emu_feed *feed)
{
    emu_exchange *x = feed->x;
    emu_list *items = &feed->range->items;
    uint32_t i = items->count;
    while (x->container->has_ttl && i > 0) {
        emu_item *item;
        if (i > items->count) i = items->count;            /* holes were closed */
        if (i == 0) break;
        item = items->at[--i];
        if (item && emu_item_expired(x->container, item, x->now_ms))
            emu_remove_item(x->core, x->container, item, true, x->now_ms);
    }
}

/* False: refused. */
static bool emu_feed_events(emu_feed *feed, bool *through)
{
    emu_exchange *x = feed->x;
    emu_events *events = &feed->range->events;
    emu_text *row = &x->core->scratch;
    size_t i;
    emu_feed_expire(feed);
    emu_events_purge(x->core, feed->range, x->now_ms);
    *through = true;
    if (feed->after < events->purged)
        return emu_refuse(x, 400, 0, "The change feed's start is not within the retention window of the container.");
    for (i = events->first; i < events->count; i++) {
        const emu_event *event = events->at[i];
        if (event->lsn <= feed->after ||
            !emu_feed_key_in_scope(feed->scope, event + 1, event->key_len, emu_event_epk(event))) continue;
        feed->looked++;
        *through = emu_feed_fits(feed, event->lsn, event->image.len + EMU_SYSTEM_BYTES);
        if (!*through) break;
        emu_put_event(row, x, event);
        emu_feed_row(feed, event->lsn, row);
    }
    return true;
}

/*------------------------------------------------------------------------------
 * MARK: - The request
 *----------------------------------------------------------------------------*/

static bool emu_feed_start(emu_feed *feed)
{
    emu_exchange *x = feed->x;
    aiocosmos_str etag = x->request->header[EMU_H_IF_NONE_MATCH], since = x->request->header[EMU_H_IF_MODIFIED];
    uint64_t number = 0;
    feed->since_s = INT64_MIN;
    if (since.len && !aioc_auth_parse_date(since, &feed->since_s))
        return emu_refuse(x, 400, 0, "The value of the If-Modified-Since header is not a date of RFC 1123.");
    if (feed->all && etag.len == 0)
        return emu_refuse(x, 400, 0, "A full fidelity change feed cannot start from the beginning or from a point in "
                          "time: only from now, or from a continuation.");
    if (emu_is(etag, "*")) {
        feed->after = feed->range->lsn;
        return true;
    }
    if (etag.len > 2 && etag.ptr[0] == '"' && etag.ptr[etag.len - 1] == '"') etag = emu_str(etag.ptr + 1, etag.len - 2);
    if (etag.len && (!aioc_text_parse_u64(etag, &number) || number > INT64_MAX))
        return emu_refuse(x, 400, 0, "The value of the If-None-Match header is not a continuation of a change feed.");
    feed->after = (int64_t)number;
    return true;
}

static bool emu_feed_mode(emu_feed *feed)
{
    emu_exchange *x = feed->x;
    aiocosmos_str mode = x->request->header[EMU_H_A_IM], format = x->request->header[EMU_H_FEED_FORMAT];
    feed->all = aioc_mem_same_nocase(mode, aioc_mem_str("Full-Fidelity Feed"));
    if (!feed->all && !aioc_mem_same_nocase(mode, aioc_mem_str("Incremental Feed")))
        return emu_refuse(x, 400, 0, "The value '%.*s' of the A-IM header is neither Incremental Feed nor "
                          "Full-Fidelity Feed.", EMU_CUT(mode, 60));
    if (format.len && !emu_is(format, "2021-09-15"))
        return emu_refuse(x, 400, 0, "The wire format version '%.*s' of the change feed is not known.",
                          EMU_CUT(format, 60));
    feed->enveloped = format.len > 0;
    return !feed->all || x->container->retention_s > 0 ||
           emu_refuse(x, 400, 0, "A full fidelity change feed needs a container whose change feed policy has a "
                      "retention duration, so that all versions and deletes are kept.");
}

static void emu_feed_answer(emu_feed *feed, bool through)
{
    emu_exchange *x = feed->x;
    emu_text *body = &x->core->body;
    int64_t at = through && feed->range->lsn > feed->after ? feed->range->lsn : through ? feed->after : feed->last;
    snprintf(x->etag, sizeof x->etag, "\"%lld\"", (long long)at);
    emu_charge(x, feed->range, 1.0 + 0.02 * (double)feed->looked + 0.3 * (double)body->buffer.len / 1024);
    if (feed->count == 0) {
        x->status = 304;
        return;
    }
    emu_put_format(body, "],\"_count\":%lld}", (long long)feed->count);
    x->status = 200;
    x->has_body = true;
    x->item_count = feed->count;
}

void emu_change_feed(emu_exchange *x)
{
    emu_scope scope;
    emu_feed feed;
    bool through;
    memset(&feed, 0, sizeof feed);
    feed.x = x;
    feed.scope = &scope;
    if (!emu_feed_mode(&feed) || !emu_find_scope(x, NULL, &scope) || !emu_page_size(x, &feed.max)) return;
    if (!scope.only && x->container->range_count > 1) {
        emu_refuse(x, 400, 0, "A change feed needs a partition key, or a partition key range id: each partition has "
                   "its own.");
        return;
    }
    feed.range = scope.only ? scope.only : x->container->range[0];
    if (!emu_session_ok(x, feed.range) || !emu_spend(x, feed.range) || !emu_feed_start(&feed)) return;
    x->range = feed.range;
    emu_put_format(&x->core->body, "{\"_rid\":\"%s\",\"Documents\":[", x->container->rid);
    if (feed.all ? emu_feed_events(&feed, &through) : emu_feed_changes(&feed, &through))
        emu_feed_answer(&feed, through);
}
