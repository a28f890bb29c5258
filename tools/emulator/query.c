/* query.c: many items at a time: feeds and queries, their pages and continuations.
 *
 * A page comes from one physical partition, as the gateway's fan-out does it: when that is through, the continuation
 * names the next, and an empty page in between is normal. A query that holds back its rows (ORDER BY, aggregates, ...)
 * runs once; its rows are kept for the pages to come, and made anew where something has changed meanwhile.
 *
 * A partition's continuation goes on with each of those that came of it. Each then gives what is its own. For a query
 * that holds back, all of them make the same rows in the same order, over the part of the key space that the first page
 * was about, and a row belongs to where its item is; a row of several items, to where the first of them is. */
#include "internal.h"

#define EMU_PAGE_DEFAULT 100
#define EMU_PAGE_MOST    10000


/* Where the next page begins: in the part of the key space that was one partition when this began, and may be several
 * by now. Of its items, those up to a number are through; and so is what lies before it. Of a query that holds back, so
 * many rows are through, and the last of them was so many-th (`after`) of this item. */
typedef struct emu_position {
    char min[EMU_EPK_MAX], max[EMU_EPK_MAX];
    uint64_t after;
    uint64_t item, rows;                                   /* of this item so many rows */
} emu_position;

/* One page under construction. */
typedef struct emu_page {
    emu_text *body;
    int64_t max, count;
    uint64_t skip;                                         /* rows to leave out */
    uint64_t left_out;
    bool full;                                             /* rows did not fit */
} emu_page;

/*------------------------------------------------------------------------------
 * MARK: - Continuations
 *----------------------------------------------------------------------------*/

static uint32_t emu_continuation_check(const emu_exchange *x, aiocosmos_str token)
{
    const emu_container *container = x->container;
    aiocosmos_str body = x->request->body;
    return aioc_protocol_murmur3_32(token.ptr, token.len) ^ aioc_protocol_murmur3_32(body.ptr, body.len) ^
           aioc_protocol_murmur3_32(container->rid, strlen(container->rid));
}

/* after-item-rows-min-max-check, in hex: bound to the container and to the query's text. */
static void emu_write_continuation(emu_exchange *x, const emu_position *position)
{
    size_t len;
    snprintf(x->continuation, sizeof x->continuation, "%llx-%llx-%llx-%s-%s", (unsigned long long)position->after,
             (unsigned long long)position->item, (unsigned long long)position->rows, position->min, position->max);
    len = strlen(x->continuation);
    snprintf(x->continuation + len, sizeof x->continuation - len, "-%08x",
             emu_continuation_check(x, emu_str(x->continuation, len)));
}

static bool emu_take_part(aiocosmos_str *rest, char *out, size_t cap)
{
    size_t len = 0;
    while (len < rest->len && rest->ptr[len] != '-') len++;
    if (len == rest->len || len + 1 > cap) return false;
    memcpy(out, rest->ptr, len);
    out[len] = 0;
    rest->ptr += len + 1;
    rest->len -= len + 1;
    return true;
}

static bool emu_read_continuation(emu_exchange *x, emu_position *position, bool *given)
{
    aiocosmos_str text = x->request->header[EMU_H_CONTINUATION], rest = text;
    char after[20], item[20], rows[20], check[12];
    memset(position, 0, sizeof *position);
    *given = text.len > 0;
    if (text.len == 0) return true;
    if (emu_take_part(&rest, after, sizeof after) && emu_take_part(&rest, item, sizeof item) &&
        emu_take_part(&rest, rows, sizeof rows) && emu_take_part(&rest, position->min, sizeof position->min) &&
        emu_take_part(&rest, position->max, sizeof position->max) && rest.len == 8) {
        snprintf(check, sizeof check, "%08x", emu_continuation_check(x, emu_str(text.ptr, text.len - 9)));
        position->after = strtoull(after, NULL, 16);
        position->item = strtoull(item, NULL, 16);
        position->rows = strtoull(rows, NULL, 16);
        if (emu_is(rest, check)) return true;
    }
    return emu_refuse(x, 400, 0, "Invalid Continuation Token: it is not one of this query and container.");
}

/*------------------------------------------------------------------------------
 * MARK: - Scope
 *----------------------------------------------------------------------------*/

/* A query that says itself which key it is about: WHERE c.pk = 'a'. */
static bool emu_key_of_query(emu_exchange *x, const emu_sql_query *query)
{
    emu_text *text = &x->core->scratch;
    aiocosmos_str value;
    emu_core *core = x->core;
    aiocosmos_value values[EMU_LEVELS];
    size_t i, count;
    emu_text_clear(text);
    for (i = 0; i < x->container->key.path_count; i++) {
        char path[256];
        aiocosmos_str name = x->container->key_path[i];
        if (name.len >= sizeof path) return false;
        memcpy(path, name.ptr, name.len);
        path[name.len] = 0;
        if (!emu_sql_equals(query, path, &value)) return false;
        emu_puts(text, i ? "," : "[");
        emu_put_str(text, value);
    }
    emu_puts(text, "]");
    core->key_text.len = 0;
    return !text->failed &&
           aioc_protocol_pk_components(&core->memory, &core->key_text, emu_str(text->buffer.data, text->buffer.len),
                                       values, &count) &&
           count == x->container->key.path_count && emu_key_from_values(x->container, values, count, &core->header_key);
}

static bool emu_scope_by_range(emu_exchange *x, emu_scope *scope)
{
    const emu_request *request = x->request;
    scope->only = emu_named_range(x, request->header[EMU_H_RANGE_ID]);
    if (!scope->only) return false;
    if (aioc_mem_same_nocase(request->header[EMU_H_KEY_TYPE], aioc_mem_str("EffectivePartitionKeyRange"))) {
        scope->min = request->header[EMU_H_START_EPK];     /* without them, as Python sends it: all of the partition */
        scope->max = request->header[EMU_H_END_EPK];
        if (scope->min.len == 0) scope->min = aioc_mem_str(scope->only->min);
        if (scope->max.len == 0) scope->max = aioc_mem_str(scope->only->max);
        if (scope->min.len >= EMU_EPK_MAX || scope->max.len >= EMU_EPK_MAX ||
            memchr(scope->min.ptr, '-', scope->min.len) || memchr(scope->max.ptr, '-', scope->max.len))
            return emu_refuse(x, 400, 0, "The range of effective partition keys is not one.");
        if (aioc_protocol_epk_compare(scope->min, aioc_mem_str(scope->only->min)) < 0 ||
            aioc_protocol_epk_compare(scope->max, aioc_mem_str(scope->only->max)) > 0)
            return emu_refuse(x, 410, 1002, "The requested range of partition keys is not within that partition.");
    }
    return true;
}

static bool emu_scope_by_key(emu_exchange *x, emu_scope *scope)
{
    scope->key = &x->core->header_key;
    scope->whole_key = scope->key->levels == x->container->key.path_count;
    scope->prefix = !scope->whole_key;
    scope->only = emu_range_of(x->container, emu_str(scope->key->epk, scope->key->epk_len));
    return true;
}

/* query NULL: a feed. */
bool emu_find_scope(emu_exchange *x, const emu_sql_query *query, emu_scope *scope)
{
    bool given;
    memset(scope, 0, sizeof *scope);
    if (!emu_header_key(x, &given)) return false;
    if (given) return emu_scope_by_key(x, scope);
    if (x->request->header[EMU_H_RANGE_ID].len) return emu_scope_by_range(x, scope);
    if (!query) return true;
    if (emu_key_of_query(x, query)) return emu_scope_by_key(x, scope);
    if (!emu_header_true(x, EMU_H_CROSS_PARTITION))
        return emu_refuse(x, 400, 0, "Cross partition query is required but disabled. Please set "
                          "x-ms-documentdb-query-enablecrosspartition to true, specify x-ms-documentdb-partitionkey, "
                          "or revise your query to avoid this exception.");
    return emu_sql_needs_merge(query) ? emu_refuse_with_plan(x, query) : true;
}

static bool emu_in_scope(const emu_scope *scope, const emu_item *item)
{
    const emu_partition *partition = item->partition;
    if (scope->prefix && (partition->key_len < scope->key->len ||
                          memcmp(emu_partition_key(partition), scope->key->bytes, scope->key->len) != 0)) return false;
    if (scope->max.len == 0) return true;
    return aioc_protocol_epk_compare(emu_partition_epk(partition), scope->min) >= 0 &&
           aioc_protocol_epk_compare(emu_partition_epk(partition), scope->max) < 0;
}

static void emu_copy_border(char to[EMU_EPK_MAX], aiocosmos_str border)
{
    memcpy(to, border.ptr, border.len);
    to[border.len] = 0;
}

/* The first partition of the next page. */
static emu_range *emu_first_range(emu_exchange *x, const emu_scope *scope, emu_position *position, bool given)
{
    emu_range *range = scope->only;
    if (!range) range = emu_range_of(x->container, aioc_mem_str(position->min));
    if (given) return range;
    emu_copy_border(position->min, scope->max.len ? scope->min : aioc_mem_str(range->min));
    emu_copy_border(position->max, scope->max.len ? scope->max : aioc_mem_str(range->max));
    return range;
}

/* Goes on to the part of the key space behind this one. False: there is none. */
static bool emu_next_part(const emu_container *container, const emu_scope *scope, emu_position *position)
{
    if (scope->only || strcmp(position->max, "FF") == 0) return false;
    memcpy(position->min, position->max, sizeof position->min);
    memcpy(position->max, emu_range_of(container, aioc_mem_str(position->min))->max, sizeof position->max);
    position->after = position->item = position->rows = 0;
    return true;
}

/*------------------------------------------------------------------------------
 * MARK: - Sources: the items of a scope, in the order of their numbers
 *----------------------------------------------------------------------------*/

typedef struct emu_cursor { const emu_list *list; uint32_t slot; } emu_cursor;

typedef struct emu_source {
    emu_exchange *x;
    const emu_scope *scope;
    emu_cursor *cursor;                                    /* one, but for a partition that was split meanwhile */
    size_t count, cap;
} emu_source;

static void emu_source_add(emu_source *source, const emu_list *list, uint64_t after)
{
    source->cursor[source->count].list = list;
    source->cursor[source->count++].slot = emu_list_after(list, after);
}

static bool emu_in_part(const emu_range *range, const emu_position *position)
{
    return aioc_protocol_epk_compare(aioc_mem_str(range->min), aioc_mem_str(position->max)) < 0 &&
           aioc_protocol_epk_compare(aioc_mem_str(range->max), aioc_mem_str(position->min)) > 0;
}

static bool emu_source_open(emu_source *source, emu_exchange *x, const emu_scope *scope, const emu_position *position)
{
    const emu_container *container = x->container;
    emu_partition *partition = scope->whole_key ? emu_find_partition(container, scope->key) : NULL;
    uint32_t i;
    source->x = x;
    source->scope = scope;
    source->count = 0;
    source->cap = container->range_count;
    source->cursor = (emu_cursor *)aioc_mem_alloc(&x->core->memory, source->cap * sizeof *source->cursor);
    if (!source->cursor) return emu_no_memory(x);
    if (scope->whole_key) {
        if (partition) emu_source_add(source, &partition->items, position->after);
        return true;
    }
    for (i = 0; i < container->range_count; i++) {
        emu_range *range = container->range[i];
        if (scope->only ? range != scope->only : !emu_in_part(range, position)) continue;
        if (!emu_session_ok(x, range)) return false;
        emu_source_add(source, &range->items, position->after);
    }
    return true;
}

static void emu_source_close(emu_source *source)
{
    aioc_mem_free(&source->x->core->memory, source->cursor, source->cap * sizeof *source->cursor);
}

/* The next item, which stays the next one until it is taken. NULL: there is none. */
static const emu_item *emu_source_peek(emu_source *source, emu_cursor **from)
{
    const emu_item *first = NULL;
    size_t i;
    for (i = 0; i < source->count; i++) {
        emu_cursor *cursor = &source->cursor[i];
        const emu_item *item = NULL;
        for (; cursor->slot < cursor->list->count; cursor->slot++) {
            item = cursor->list->at[cursor->slot];
            if (item && emu_in_scope(source->scope, item) &&
                !emu_item_expired(source->x->container, item, source->x->now_ms)) break;
        }
        if (cursor->slot == cursor->list->count || (first && first->number < item->number)) continue;
        first = item;
        *from = cursor;
    }
    return first;
}

/*------------------------------------------------------------------------------
 * MARK: - Pages
 *----------------------------------------------------------------------------*/

static void emu_page_row(void *user, const char *json, size_t len)
{
    emu_page *page = (emu_page *)user;
    if (page->left_out < page->skip) {
        page->left_out++;
        return;
    }
    if (page->full || page->count >= page->max || (page->count > 0 && page->body->buffer.len + len > EMU_PAGE_MAX)) {
        page->full = true;
        return;
    }
    if (page->count++) emu_put(page->body, ",", 1);
    emu_put(page->body, json, len);
}

bool emu_page_size(emu_exchange *x, int64_t *max)
{
    aiocosmos_str text = x->request->header[EMU_H_MAX_ITEMS];
    uint64_t number;
    *max = EMU_PAGE_DEFAULT;
    if (!text.len) return true;
    *max = EMU_PAGE_MOST;
    if (emu_is(text, "-1")) return true;
    if (aioc_text_parse_u64(text, &number) && number > 0) {
        if (number < EMU_PAGE_MOST) *max = (int64_t)number;
        return true;
    }
    return emu_refuse(x, 400, 0, "The value of x-ms-max-item-count is invalid: -1, or a positive number.");
}

typedef struct emu_scan {
    uint64_t looked;                                       /* items */
    size_t   bytes;                                        /* of them */
    bool     more;                                         /* the page ended before its part of the key space did */
    bool     failed;
} emu_scan;

/* 0: go on. > 0: the query has enough. < 0: it failed. run NULL: the items themselves are the rows. */
static int emu_scan_item(emu_exchange *x, const emu_item *item, emu_sql_run *run, emu_page *page, emu_scan *scan)
{
    emu_text *text = &x->core->scratch;
    emu_text_clear(text);
    emu_put_item(text, x->container, item);
    scan->looked++;
    scan->bytes += item->text_len;
    if (text->failed) return -1;
    if (run) return emu_sql_feed(run, text->buffer.data, text->buffer.len);
    emu_page_row(page, text->buffer.data, text->buffer.len);
    return 0;
}

/* Items one by one; each gives its rows at once. */
static void emu_scan_streaming(emu_source *source, emu_position *position, emu_sql_run *run, emu_page *page,
                               emu_scan *scan)
{
    emu_cursor *from;
    const emu_item *item;
    int status = 0;
    while ((item = emu_source_peek(source, &from)) != NULL && status == 0) {
        int64_t before = page->count;
        page->skip = item->number == position->item ? position->rows : 0;
        page->left_out = 0;
        scan->more = page->count >= page->max || scan->looked >= EMU_PAGE_SCAN;
        if (scan->more) return;
        status = emu_scan_item(source->x, item, run, page, scan);
        if (page->full) {                                  /* come back to this item, behind the rows that are given */
            position->item = item->number;
            position->rows = page->left_out + (uint64_t)(page->count - before);
            scan->more = true;
            return;
        }
        position->after = item->number;
        from->slot++;
    }
    scan->failed = status < 0 || (run && emu_sql_finish(run) < 0);
}

/* Ends a run. False: it has failed, and the request with it. */
static bool emu_scan_end(emu_exchange *x, emu_sql_run *run, const emu_scan *scan)
{
    emu_sql_error error;
    memset(&error, 0, sizeof error);
    if (run && scan->failed) error = *emu_sql_run_error(run);
    emu_sql_stop(run);
    if (!scan->failed) return true;
    if (error.status) return emu_refuse_json(x, error.status, error.sub_status, error.message, NULL);
    return emu_no_memory(x);
}

static bool emu_stream_page(emu_exchange *x, const emu_scope *scope, emu_position *position, const emu_sql_query *query,
                            emu_page *page, emu_scan *scan)
{
    emu_sql_run *run = query ? emu_sql_start(query, emu_page_row, page) : NULL;
    emu_scope part = *scope;
    emu_source source;
    bool ok;
    if (query && !run) return emu_no_memory(x);
    /* What is one partition now may have been two when this began: it is read in the parts that it was. */
    if (scope->max.len == 0 && !scope->whole_key && !scope->only) {
        part.min = aioc_mem_str(position->min);
        part.max = aioc_mem_str(position->max);
    }
    ok = emu_source_open(&source, x, &part, position);
    if (ok) emu_scan_streaming(&source, position, run, page, scan);
    emu_source_close(&source);
    if (ok) return emu_scan_end(x, run, scan);
    emu_sql_stop(run);
    return false;
}

/*------------------------------------------------------------------------------
 * MARK: - Rows held back
 *----------------------------------------------------------------------------*/

#define EMU_HELD_MOST  64                                  /* queries */
#define EMU_HELD_BYTES ((size_t)1 << 30)

typedef struct emu_held_row {
    uint64_t item;                                         /* its number; 0: of none */
    size_t end;                                            /* of its text, which begins where the last one's ends */
    bool ours;                                             /* for this scope to give */
} emu_held_row;

/* All rows of one query over one scope. */
struct emu_held {
    emu_held *next;                                        /* used less recently */
    emu_container *container;
    uint64_t changes;                                      /* of the container, that it has seen */
    uint64_t key[2];                                       /* a hash of query and scope */
    emu_text text;
    emu_held_row *row;
    size_t count, cap;
};

typedef struct emu_holding {                               /* while rows are made */
    emu_held *held;
    emu_sql_run *run;
    const emu_item **fed;
    size_t count, cap;
    const emu_scope *scope;
} emu_holding;

static void emu_held_free(emu_core *core, emu_held *held)
{
    if (!held) return;
    aioc_mem_buffer_free(&core->memory, &held->text.buffer);
    aioc_mem_free(&core->memory, held->row, held->cap * sizeof *held->row);
    aioc_mem_free(&core->memory, held, sizeof *held);
}

void emu_held_forget(emu_core *core, const emu_container *container)
{
    emu_held **at = &core->held, *held;
    while ((held = *at) != NULL) {
        if (held->container == container) {
            *at = held->next;
            emu_held_free(core, held);
        } else {
            at = &held->next;
        }
    }
}

/* Takes it out of the list. Those that the container has left behind go away on the way. */
static emu_held *emu_held_take(emu_core *core, const emu_container *container, const uint64_t key[2])
{
    emu_held **at = &core->held, *held, *found = NULL;
    while ((held = *at) != NULL) {
        bool same = held->container == container && memcmp(held->key, key, sizeof held->key) == 0;
        if (!same && (held->container != container || held->changes == container->changes)) {
            at = &held->next;
            continue;
        }
        *at = held->next;
        if (same && held->changes == container->changes) found = held;
        else emu_held_free(core, held);
    }
    return found;
}

/* For the next page. Expiry changes what there is without a sound. */
static void emu_held_keep(emu_core *core, emu_held *held)
{
    emu_held **at;
    size_t count = 0, bytes = 0, most = core->memory.max / 8;  /* the rest is for items */
    if (most > EMU_HELD_BYTES) most = EMU_HELD_BYTES;
    if (held->container->has_ttl) {
        emu_held_free(core, held);
        return;
    }
    held->next = core->held;
    core->held = held;
    for (at = &core->held; *at;) {
        bytes += (*at)->text.buffer.cap + (*at)->cap * sizeof *(*at)->row;
        if (++count <= EMU_HELD_MOST && bytes <= most) {
            at = &(*at)->next;
        } else {
            held = *at;
            *at = held->next;
            emu_held_free(core, held);
        }
    }
}

static void emu_hold_row(void *user, const char *json, size_t len)
{
    emu_holding *holding = (emu_holding *)user;
    emu_held *held = holding->held;
    uint64_t document = emu_sql_row_document(holding->run);
    const emu_item *item = document > 0 && document <= holding->count ? holding->fed[document - 1] : NULL;
    emu_put(&held->text, json, len);
    if (held->count == held->cap) {
        size_t cap = held->cap ? 2 * held->cap : 64;
        emu_held_row *grown = (emu_held_row *)aioc_mem_resize(held->text.memory, held->row,
                                                              held->cap * sizeof *grown, cap * sizeof *grown);
        if (!grown) {
            held->text.failed = true;
            return;
        }
        held->row = grown;
        held->cap = cap;
    }
    held->row[held->count].item = item ? item->number : 0;
    held->row[held->count].end = held->text.buffer.len;
    held->row[held->count++].ours = !item || emu_in_scope(holding->scope, item);
}

static bool emu_holding_fed(emu_holding *holding, const emu_item *item)
{
    aioc_mem *memory = holding->held->text.memory;
    if (holding->count == holding->cap) {
        size_t cap = holding->cap ? 2 * holding->cap : 64;
        const emu_item **grown = (const emu_item **)aioc_mem_resize(memory, holding->fed, holding->cap * sizeof *grown,
                                                                    cap * sizeof *grown);
        if (!grown) return false;
        holding->fed = grown;
        holding->cap = cap;
    }
    holding->fed[holding->count++] = item;
    return true;
}

static void emu_scan_holding(emu_source *source, emu_holding *holding, emu_scan *scan)
{
    emu_cursor *from;
    const emu_item *item;
    int status = 0;
    while ((item = emu_source_peek(source, &from)) != NULL && status == 0) {
        status = emu_holding_fed(holding, item) ? emu_scan_item(source->x, item, holding->run, NULL, scan) : -1;
        from->slot++;
    }
    scan->failed = status < 0 || emu_sql_finish(holding->run) < 0 || holding->held->text.failed;
}

/* Makes the rows of a query over the position's part of the key space. NULL: refused. */
static emu_held *emu_hold(emu_exchange *x, const emu_scope *scope, const emu_position *position,
                          const emu_sql_query *query, emu_scan *scan)
{
    aioc_mem *memory = &x->core->memory;
    emu_held *held = (emu_held *)aioc_mem_zalloc(memory, sizeof *held);
    emu_holding holding;
    emu_scope part = *scope;
    emu_position begin = *position;
    emu_source source;
    bool ok;
    if (!held) {
        emu_no_memory(x);
        return NULL;
    }
    held->text.memory = memory;
    held->container = x->container;
    held->changes = x->container->changes;
    memset(&holding, 0, sizeof holding);
    holding.held = held;
    holding.scope = scope;
    begin.after = 0;
    if (!scope->whole_key && !scope->prefix) {
        part.only = NULL;
        part.min = aioc_mem_str(position->min);
        part.max = aioc_mem_str(position->max);
    }
    holding.run = emu_sql_start(query, emu_hold_row, &holding);
    ok = holding.run ? emu_source_open(&source, x, &part, &begin) : emu_no_memory(x);
    if (ok) emu_scan_holding(&source, &holding, scan);
    if (holding.run) emu_source_close(&source);
    if (ok) ok = emu_scan_end(x, holding.run, scan);
    else emu_sql_stop(holding.run);
    aioc_mem_free(memory, holding.fed, holding.cap * sizeof *holding.fed);
    if (ok) return held;
    emu_held_free(x->core, held);
    return NULL;
}

/* What decides about the rows: the key, or the parts of the key space asked for now and by the continuation. */
static bool emu_held_key(emu_exchange *x, const emu_scope *scope, const emu_position *position, uint64_t key[2])
{
    emu_text *text = &x->core->scratch;
    emu_text_clear(text);
    emu_puts(text, x->container->rid);
    if (scope->key) {
        emu_puts(text, " key ");
        emu_put(text, scope->key->bytes, scope->key->len);
    } else {
        emu_puts(text, " from ");
        emu_put_str(text, scope->min);
        emu_puts(text, " to ");
        emu_put_str(text, scope->max);
        emu_puts(text, " of ");
        emu_puts(text, position->min);
        emu_puts(text, "-");
        emu_puts(text, position->max);
    }
    emu_puts(text, "\n");
    emu_put_str(text, x->request->body);
    aioc_protocol_murmur3_128(text->buffer.data, text->buffer.len, key);
    return !text->failed || emu_no_memory(x);
}

/* The row to go on with. The last one that was given is looked for, so that rows which came or went before it meanwhile
 * make no difference; where it is gone or has changed, the number of rows has to do. */
static size_t emu_held_from(const emu_held *held, const emu_position *position)
{
    uint64_t found = 0;
    size_t i;
    if (position->rows == 0) return 0;
    for (i = 0; i < held->count && position->item; i++)
        if (held->row[i].item == position->item && ++found == position->after) return i + 1;
    return position->rows < held->count ? (size_t)position->rows : held->count;
}

static void emu_held_give(const emu_held *held, emu_position *position, emu_page *page, emu_scan *scan)
{
    size_t i = emu_held_from(held, position), k;
    for (; i < held->count && !scan->more; i++) {
        size_t start = i ? held->row[i - 1].end : 0;
        if (!held->row[i].ours) continue;
        emu_page_row(page, held->text.buffer.data + start, held->row[i].end - start);
        scan->more = page->full;
        if (page->full) break;
    }
    if (!scan->more) return;
    position->rows = i;
    position->item = i ? held->row[i - 1].item : 0;
    for (position->after = 0, k = 0; k < i; k++) position->after += held->row[k].item == position->item;
}

/* The part of the key space that a continuation is about, and what is asked for now, which is not in it only where a
 * client forgot to say how far a position goes. */
static void emu_widen(const emu_scope *scope, emu_position *position)
{
    if (aioc_protocol_epk_compare(scope->min, aioc_mem_str(position->min)) < 0)
        emu_copy_border(position->min, scope->min);
    if (aioc_protocol_epk_compare(scope->max, aioc_mem_str(position->max)) > 0)
        emu_copy_border(position->max, scope->max);
}

static bool emu_held_page(emu_exchange *x, const emu_scope *scope, emu_position *position, const emu_sql_query *query,
                          emu_page *page, emu_scan *scan)
{
    emu_core *core = x->core;
    uint64_t key[2];
    emu_held *held;
    emu_scope mine = *scope;
    if (!scope->key && scope->max.len == 0) {
        mine.min = aioc_mem_str(scope->only->min);
        mine.max = aioc_mem_str(scope->only->max);
    }
    if (!scope->key) emu_widen(&mine, position);
    if (!emu_held_key(x, &mine, position, key)) return false;
    held = emu_held_take(core, x->container, key);
    if (!held) held = emu_hold(x, &mine, position, query, scan);
    if (!held) return false;
    memcpy(held->key, key, sizeof key);
    emu_held_give(held, position, page, scan);
    if (scan->more) emu_held_keep(core, held);
    else emu_held_free(core, held);
    return true;
}

static void emu_answer_page(emu_exchange *x, const emu_scope *scope, const emu_sql_query *query)
{
    emu_position position;
    emu_range *range;
    emu_page page;
    emu_scan scan;
    emu_work work;
    size_t start;
    bool given, everywhere;
    memset(&page, 0, sizeof page);
    memset(&scan, 0, sizeof scan);
    page.body = &x->core->body;
    if (!emu_page_size(x, &page.max) || !emu_read_continuation(x, &position, &given)) return;
    range = emu_first_range(x, scope, &position, given);
    if (!emu_session_ok(x, range) || !emu_spend(x, range)) return;
    x->range = range;
    emu_put_format(page.body, "{\"_rid\":\"%s\",\"Documents\":[", x->container->rid);
    start = page.body->buffer.len;
    if (!(query && emu_sql_needs_merge(query) ? emu_held_page : emu_stream_page)(x, scope, &position, query, &page,
                                                                                &scan))
        return;
    work.documents = scan.looked;
    work.document_bytes = scan.bytes;
    work.rows = (uint64_t)page.count;
    work.row_bytes = page.body->buffer.len - start - (page.count ? (size_t)page.count - 1 : 0);
    if (query) emu_report(x, query, &work);
    emu_put_format(page.body, "],\"_count\":%lld}", (long long)page.count);
    everywhere = !query || emu_sql_has_source(query);
    if (scan.more || (everywhere && emu_next_part(x->container, scope, &position)))
        emu_write_continuation(x, &position);
    emu_charge(x, range, (query ? 2.2 : 1.0) + 0.02 * (double)scan.looked + 0.05 * (double)scan.bytes / 1024 +
                             0.3 * (double)page.body->buffer.len / 1024);
    x->status = 200;
    x->has_body = true;
    x->item_count = page.count;
}

/*------------------------------------------------------------------------------
 * MARK: - Routes
 *----------------------------------------------------------------------------*/

static bool emu_is_query_body(emu_exchange *x)
{
    aiocosmos_str type = x->request->header[EMU_H_CONTENT_TYPE];
    size_t i;
    for (i = 0; i < type.len && type.ptr[i] != ';' && type.ptr[i] != ' '; i++) continue;
    type.len = i;
    if (aioc_mem_same_nocase(type, aioc_mem_str("application/query+json")) ||
        aioc_mem_same_nocase(type, aioc_mem_str("application/json"))) return true;
    return emu_refuse(x, 400, 0, "The content type of a query has to be application/query+json.");
}

void emu_query_items(emu_exchange *x, bool is_query)
{
    emu_scope scope;
    emu_sql_query *query = NULL;
    emu_sql_error error;
    if (!emu_read_headers_ok(x)) return;
    if (!is_query && x->request->header[EMU_H_A_IM].len) {
        emu_change_feed(x);
        return;
    }
    if (is_query) {
        if (!emu_is_query_body(x)) return;
        query = emu_sql_prepare(x->request->body.ptr, x->request->body.len, x->now_ms, &error);
        if (!query) {
            emu_refuse_json(x, error.status, error.sub_status, error.message, NULL);
            return;
        }
        emu_define_query(x, query);
        if (emu_sql_ranks(query)) {
            emu_refuse_with_plan(x, query);
            emu_sql_free(query);
            return;
        }
    }
    if (emu_find_scope(x, query, &scope)) emu_answer_page(x, &scope, query);
    emu_sql_free(query);
}

/*------------------------------------------------------------------------------
 * MARK: - Lists of everything else
 *----------------------------------------------------------------------------*/

static void emu_listing_row(void *user, const char *json, size_t len)
{
    emu_listing *listing = (emu_listing *)user;
    emu_exchange *x = listing->x;
    if (listing->skip > 0) {
        listing->skip--;
        listing->rows++;
        return;
    }
    if (x->item_count >= listing->max) {
        listing->more = true;
        return;
    }
    if (x->item_count++) emu_put(&x->core->body, ",", 1);
    emu_put(&x->core->body, json, len);
    listing->rows++;
}

/* A continuation of these is the number of rows given so far. False: refused. */
bool emu_listing_begin(emu_listing *listing, emu_exchange *x, const char *array, const char *rid)
{
    aiocosmos_str body = x->request->body, continuation = x->request->header[EMU_H_CONTINUATION];
    emu_sql_error error;
    uint64_t skip = 0;
    memset(listing, 0, sizeof *listing);
    listing->x = x;
    if (!emu_page_size(x, &listing->max)) return false;
    if (x->request->header[EMU_H_MAX_ITEMS].len == 0) listing->max = EMU_PAGE_MOST;
    if (continuation.len && (!aioc_text_parse_u64(continuation, &skip) || skip > INT32_MAX))
        return emu_refuse(x, 400, 0, "Invalid Continuation Token.");
    listing->skip = (int64_t)skip;
    x->charge = 2;
    if (strncmp(x->kind, "query", 5) == 0) {
        listing->query = emu_sql_prepare(body.ptr, body.len, x->now_ms, &error);
        if (!listing->query) return emu_refuse_json(x, error.status, error.sub_status, error.message, NULL);
        listing->run = emu_sql_start(listing->query, emu_listing_row, listing);
        if (!listing->run) {
            emu_sql_free(listing->query);
            return emu_no_memory(x);
        }
    }
    x->item_count = 0;
    emu_put_format(&x->core->body, "{\"_rid\":\"%s\",\"%s\":[", rid, array);
    return true;
}

void emu_listing_add(emu_listing *listing, aiocosmos_str text)
{
    if (listing->run) emu_sql_feed(listing->run, text.ptr, text.len);
    else emu_listing_row(listing, text.ptr, text.len);
}

void emu_listing_end(emu_listing *listing)
{
    emu_exchange *x = listing->x;
    emu_sql_error error;
    memset(&error, 0, sizeof error);
    if (listing->run) {
        emu_sql_finish(listing->run);
        error = *emu_sql_run_error(listing->run);
    }
    emu_sql_stop(listing->run);
    emu_sql_free(listing->query);
    if (error.status) {
        emu_refuse_json(x, error.status, error.sub_status, error.message, NULL);
        return;
    }
    emu_put_format(&x->core->body, "],\"_count\":%lld}", (long long)x->item_count);
    if (listing->more) snprintf(x->continuation, sizeof x->continuation, "%lld", (long long)listing->rows);
    x->status = 200;
    x->has_body = true;
}
