/* page.c: one page of rows, of a feed or of a query that gives them as it finds them. */
#include "page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EMU_ITEM_STEPS 20                                  /* what an item takes beside its query */

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

/* after-item-rows-min-max-keys-check, numbers in hex, keys in base64: bound to container and text of the query. */
void emu_write_continuation(emu_exchange *x, const emu_position *position)
{
    size_t len;
    snprintf(x->continuation, sizeof x->continuation, "%llx-%llx-%llx-%s-%s-", (unsigned long long)position->after,
             (unsigned long long)position->item, (unsigned long long)position->rows, position->min, position->max);
    len = strlen(x->continuation);
    len += aioc_text_base64_encode(position->keys, position->keys_len, x->continuation + len);
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

static bool emu_take_keys(aiocosmos_str *rest, emu_position *position)
{
    char base64[(EMU_KEYS_MAX + 2) / 3 * 4 + 1];
    size_t error_at;
    return emu_take_part(rest, base64, sizeof base64) &&
           aioc_text_base64_decode(aioc_mem_str(base64), (unsigned char *)position->keys, sizeof position->keys,
                                   &position->keys_len, &error_at);
}

bool emu_read_continuation(emu_exchange *x, emu_position *position, bool *given)
{
    aiocosmos_str text = x->request->header[EMU_H_CONTINUATION], rest = text;
    char after[20], item[20], rows[20], check[12];
    memset(position, 0, sizeof *position);
    *given = text.len > 0;
    if (text.len == 0) return true;
    if (emu_take_part(&rest, after, sizeof after) && emu_take_part(&rest, item, sizeof item) &&
        emu_take_part(&rest, rows, sizeof rows) && emu_take_part(&rest, position->min, sizeof position->min) &&
        emu_take_part(&rest, position->max, sizeof position->max) && emu_take_keys(&rest, position) &&
        rest.len == 8) {
        snprintf(check, sizeof check, "%08x", emu_continuation_check(x, emu_str(text.ptr, text.len - 9)));
        position->after = strtoull(after, NULL, 16);
        position->item = strtoull(item, NULL, 16);
        position->rows = strtoull(rows, NULL, 16);
        if (emu_is(rest, check)) return true;
    }
    return emu_refuse(x, 400, 0, "Invalid Continuation Token: it is not one of this query and container.");
}

void emu_copy_border(char to[EMU_EPK_MAX], aiocosmos_str border)
{
    memcpy(to, border.ptr, border.len);
    to[border.len] = 0;
}

/* The first partition of the next page. */
emu_range *emu_first_range(emu_exchange *x, const emu_scope *scope, emu_position *position, bool given)
{
    emu_range *range = scope->only;
    if (!range) range = emu_range_of(x->container, aioc_mem_str(position->min));
    if (given) return range;
    emu_copy_border(position->min, scope->max.len ? scope->min : aioc_mem_str(range->min));
    emu_copy_border(position->max, scope->max.len ? scope->max : aioc_mem_str(range->max));
    return range;
}

/* Goes on to the part of the key space behind this one. False: there is none. */
bool emu_next_part(const emu_container *container, const emu_scope *scope, emu_position *position)
{
    if (scope->only || strcmp(position->max, "FF") == 0) return false;
    memcpy(position->min, position->max, sizeof position->min);
    memcpy(position->max, emu_range_of(container, aioc_mem_str(position->min))->max, sizeof position->max);
    position->after = position->item = position->rows = 0;
    position->keys_len = 0;
    return true;
}

/*------------------------------------------------------------------------------
 * MARK: - Sources: the items of a scope, in the order of their numbers
 *----------------------------------------------------------------------------*/

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

static uint64_t emu_slice_left(const emu_job *job)
{
    return job->slice_end > job->scan.steps ? job->slice_end - job->scan.steps : 1;
}

/* Making an index takes nothing of what a page may. */
bool emu_choose_lookup(emu_exchange *x, emu_job *job, emu_lookup *lookup, emu_sql_query *query, const emu_scope *scope,
                       int64_t rows, bool sorted)
{
    uint64_t all = emu_slice_left(job), left = all;
    if (lookup->chosen) return true;
    job->suspended = !emu_lookup_choose(x, lookup, emu_sql_shape_of(query), scope, !job->continued, rows, sorted,
                                        &left);
    job->scan.steps += all - left;
    job->page_end += all - left;
    return !job->suspended;
}

bool emu_source_open(emu_source *source, emu_exchange *x, const emu_scope *scope, const emu_position *position,
                     const emu_lookup *lookup)
{
    const emu_container *container = x->container;
    const emu_list *found = lookup && lookup->index ? &lookup->found : NULL;
    emu_partition *partition = scope->whole_key && !found ? emu_find_partition(container, scope->key) : NULL;
    uint32_t i;
    source->x = x;
    source->scope = scope;
    source->count = 0;
    source->cap = container->range_count;
    source->cursor = (emu_cursor *)aioc_mem_alloc(&x->store->memory, source->cap * sizeof *source->cursor);
    if (!source->cursor) return emu_no_memory(x);
    if (found) emu_source_add(source, found, position->after);
    if (scope->whole_key) {
        if (partition) emu_source_add(source, &partition->items, position->after);
        return true;
    }
    for (i = 0; i < container->range_count; i++) {
        emu_range *range = container->range[i];
        if (scope->only ? range != scope->only : !emu_in_part(range, position)) continue;
        if (!emu_session_ok(x, range)) return false;
        if (!found) emu_source_add(source, &range->items, position->after);
    }
    return true;
}

void emu_source_close(emu_source *source)
{
    aioc_mem_free(&source->x->store->memory, source->cursor, source->cap * sizeof *source->cursor);
}

/* The next item, which stays the next one until it is taken. NULL: there is none. */
const emu_item *emu_source_peek(emu_source *source, emu_cursor **from)
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

/* Past what has been through already. */
static void emu_source_skip(emu_source *source, uint64_t number)
{
    size_t i;
    for (i = 0; i < source->count; i++)
        source->cursor[i].slot = emu_list_after(source->cursor[i].list, number);
}

/*------------------------------------------------------------------------------
 * MARK: - Pages
 *----------------------------------------------------------------------------*/

void emu_page_row(void *user, const char *json, size_t len)
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

bool emu_slice_over(emu_job *job)
{
    job->suspended = job->scan.steps >= job->slice_end;
    return job->suspended;
}

bool emu_page_over(const emu_job *job)
{
    return job->scan.looked > 0 && job->scan.steps >= job->page_end;
}

/* Counts what a run has done since `before`, and sees whether it has paused. */
static int emu_scan_count(emu_job *job, const emu_sql_run *run, uint64_t before, int status)
{
    job->scan.steps += emu_sql_steps(run) - before;
    if (emu_sql_reads(run) != job->scan.read_before) {
        job->scan.read++;
        job->scan.read_bytes += job->scan.item_bytes;
    }
    if (status == EMU_SQL_PAUSED) job->suspended = true;
    return status;
}

static uint64_t emu_scan_begin(emu_job *job, emu_sql_run *run)
{
    emu_sql_pause_after(run, emu_slice_left(job));
    job->scan.read_before = emu_sql_reads(run);
    return emu_sql_steps(run);
}

/* Whether an item's own text is tried before the whole of it is put together: mostly it is read a second time if it
 * passes, so not where most do. Some are tried all the same, since what comes may be otherwise. */
static bool emu_scan_tries(emu_scan *scan)
{
    if (scan->tried >= 16 && scan->passed > scan->tried / 2 && ++scan->untried % 16 != 0) return false;
    if (scan->tried >= 64) {                               /* the last ones count for more */
        scan->tried /= 2;
        scan->passed /= 2;
    }
    scan->tried++;
    return true;
}

int emu_scan_item(emu_exchange *x, emu_job *job, const emu_item *item, emu_sql_run *run, emu_text *document)
{
    const emu_sql_shape *shape = run ? emu_sql_run_shape(run) : NULL;
    uint64_t before = run ? emu_scan_begin(job, run) : 0;
    int status;
    if (!item) return emu_scan_count(job, run, before, emu_sql_resume(run));
    job->scan.item_bytes = item->text_len;
    job->scan.looked++;
    job->scan.steps += EMU_ITEM_STEPS;
    if (shape && shape->blind) return emu_scan_count(job, run, before, emu_sql_feed(run, "{}", 2));
    job->scan.bytes += item->text_len;
    if (shape && shape->own_filter && !shape->own && (shape->own_row || emu_scan_tries(&job->scan))) {
        aiocosmos_str own = emu_item_own(item);
        status = emu_sql_tries(run, own.ptr, own.len);
        if (status != 1) return emu_scan_count(job, run, before, status);
        job->scan.passed++;
    }
    emu_text_clear(document);
    if (shape && shape->own) emu_put_str(document, emu_item_own(item));
    else emu_put_item(document, x->container, item);
    job->scan.steps += document->buffer.len / 64;
    if (document->failed) return -1;
    if (run) return emu_scan_count(job, run, before, emu_sql_feed(run, document->buffer.data, document->buffer.len));
    emu_page_row(&job->page, document->buffer.data, document->buffer.len);
    return 0;
}

int emu_scan_finish(emu_job *job, emu_sql_run *run)
{
    uint64_t before = emu_scan_begin(job, run);
    return emu_scan_count(job, run, before, emu_sql_finish(run));
}

/* What became of the item at hand. False: it is not through, or the page has no room for all of its rows. */
static bool emu_stream_through(emu_job *job)
{
    emu_position *position = &job->position;
    job->fed_in_part = job->suspended && !job->page.full;
    if (job->fed_in_part) return false;
    if (!job->page.full) {
        position->after = job->number;
        return true;
    }
    position->item = job->number;                          /* come back to this item, behind the rows that are given */
    position->rows = job->page.left_out + (uint64_t)(job->page.count - job->count_before);
    job->scan.more = true;
    job->suspended = false;
    return false;
}

/* Items one by one; each gives its rows at once. */
static void emu_stream(emu_source *source, emu_job *job)
{
    emu_page *page = &job->page;
    emu_scan *scan = &job->scan;
    emu_cursor *from;
    const emu_item *item;
    int status = 0;
    if (job->fed_in_part) {
        status = emu_scan_item(source->x, job, NULL, job->run, &job->document);
        if (!emu_stream_through(job)) return;
        emu_source_skip(source, job->number);
    }
    while (status == 0 && (item = emu_source_peek(source, &from)) != NULL) {
        job->number = item->number;
        job->count_before = page->count;
        page->skip = item->number == job->position.item ? job->position.rows : 0;
        page->left_out = 0;
        scan->more = page->count >= page->max || emu_page_over(job);
        if (scan->more || emu_slice_over(job)) return;
        status = emu_scan_item(source->x, job, item, job->run, &job->document);
        if (!emu_stream_through(job)) return;
        from->slot++;
    }
    scan->failed = status < 0 || (job->run && emu_sql_finish(job->run) < 0);
}

/* Ends a run. False: it has failed, and the request with it. */
bool emu_scan_end(emu_exchange *x, emu_sql_run *run, const emu_scan *scan)
{
    emu_sql_error error;
    memset(&error, 0, sizeof error);
    if (run && scan->failed) error = *emu_sql_run_error(run);
    emu_sql_stop(run);
    if (!scan->failed) return true;
    if (error.status) return emu_refuse_json(x, error.status, error.sub_status, error.message, NULL);
    return emu_no_memory(x);
}

bool emu_stream_page(emu_exchange *x, const emu_scope *scope, emu_job *job)
{
    emu_scope part = *scope;
    emu_source source;
    emu_sql_run *run;
    bool ok;
    if (job->query && !job->run) {
        job->run = emu_sql_start(job->query, emu_page_row, &job->page);
        if (!job->run) return emu_no_memory(x);
        if (job->bill.counted) emu_sql_count_reads(job->run, job->bill.served);
    }
    /* What is one partition now may have been two when this began: it is read in the parts that it was. */
    if (scope->max.len == 0 && !scope->whole_key && !scope->only) {
        part.min = aioc_mem_str(job->position.min);
        part.max = aioc_mem_str(job->position.max);
    }
    if (job->query && !emu_choose_lookup(x, job, &job->lookup, job->query, &part, job->page.max, false)) return true;
    emu_lookup_refresh(x, &job->lookup, &part, job->position.after);   /* without an index it is the same, and slower */
    ok = emu_source_open(&source, x, &part, &job->position, &job->lookup);
    if (ok) emu_stream(&source, job);
    emu_source_close(&source);
    if (!ok || job->suspended) return ok;
    run = job->run;
    job->run = NULL;
    return emu_scan_end(x, run, &job->scan);
}
