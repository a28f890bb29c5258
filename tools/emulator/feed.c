/* feed.c: the change feed.
 *
 * A position is an LSN of a partition: an ETag of that number means "what came after". As those that come of a
 * partition start from its LSN and take its items over with theirs, positions outlive splits and merges. */
#include "feed.h"
#include "scope.h"

#include <stdio.h>
#include <string.h>

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
        if (!emu_changes_gather(x->store, changes, &partition->items)) return emu_no_memory(x);
    } else if (!changes->kept && !emu_changes_gather(x->store, changes, &feed->range->items)) {
        return emu_no_memory(x);
    }
    for (i = emu_changes_after(changes, feed->after); i < changes->count && *through; i++)
        if (changes->at[i].item) *through = emu_feed_change(feed, changes->at[i].item);
    emu_changes_free(x->store, &of_key);
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
            emu_remove_item(x->store, x->container, item, true, x->now_ms);
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
    emu_events_purge(x->store, feed->range, x->now_ms);
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

/* Go writes UTC where HTTP has GMT. */
static bool emu_parse_since(aiocosmos_str text, int64_t *wall_s)
{
    int32_t field[6];
    if (aioc_auth_parse_date(text, wall_s)) return true;
    return aioc_text_scan_date(text, "w, DD N YYYY hh:mm:ss UTC", field) && aioc_text_date_seconds(field, wall_s);
}

static bool emu_feed_start(emu_feed *feed)
{
    emu_exchange *x = feed->x;
    aiocosmos_str etag = x->request->header[EMU_H_IF_NONE_MATCH], since = x->request->header[EMU_H_IF_MODIFIED];
    uint64_t number = 0;
    feed->since_s = INT64_MIN;
    if (since.len && !emu_parse_since(since, &feed->since_s))
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
    emu_work work;
    int64_t at = through && feed->range->lsn > feed->after ? feed->range->lsn : through ? feed->after : feed->last;
    snprintf(x->etag, sizeof x->etag, "\"%lld\"", (long long)at);
    work.documents = feed->looked;
    work.rows = (uint64_t)feed->count;
    work.document_bytes = work.row_bytes = body->buffer.len;
    emu_charge(x, feed->range, emu_bill_page(NULL, &work, feed->after == 0));
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
