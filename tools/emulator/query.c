/* query.c: many items at a time: feeds and queries, their pages and continuations.
 *
 * A page comes from one physical partition, as the gateway's fan-out does it: when that is through, the continuation
 * names the next, and an empty page in between is normal. A query that holds back its rows (ORDER BY, aggregates, ...)
 * runs once; its rows are kept for the pages to come, and made anew where something has changed meanwhile.
 *
 * A partition's continuation goes on with each of those that came of it. Each then gives what is its own. For a query
 * that holds back, all of them make the same rows in the same order, over the part of the key space that the first page
 * was about, and a row belongs to where its item is; a row of several items, to where the first of them is.
 *
 * One query stops nobody: a page is made in slices of some milliseconds, between which others are served. */
#include "query.h"
#include "held.h"
#include "metrics.h"
#include "plan.h"

#include <string.h>

/* In steps of some ten nanoseconds. The service ends a page after five seconds, wherever it is. */
#define EMU_SLICE_STEPS UINT64_C(100000)
#define EMU_PAGE_STEPS  UINT64_C(300000000)

void emu_pace(emu_core *core, uint64_t slice_steps, uint64_t page_steps)
{
    core->slice_steps = slice_steps ? slice_steps : EMU_SLICE_STEPS;
    core->page_steps = page_steps ? page_steps : EMU_PAGE_STEPS;
}

void emu_index_scopes_of(emu_core *core, uint32_t items)
{
    core->index_least = items;
}

void emu_job_free(emu_job *job)
{
    emu_store *store;
    if (!job) return;
    store = job->store;
    emu_sql_stop(job->run);
    emu_held_free(store, job->held);
    emu_lookup_free(store, &job->lookup);
    emu_sql_free(job->query);
    aioc_mem_buffer_free(&store->memory, &job->body.buffer);
    aioc_mem_buffer_free(&store->memory, &job->document.buffer);
    aioc_mem_free(&store->memory, job, sizeof *job);
}

/*------------------------------------------------------------------------------
 * MARK: - A page and its answer
 *----------------------------------------------------------------------------*/

/* False: refused. */
static bool emu_begin_page(emu_exchange *x, emu_job *job, const emu_scope *scope)
{
    emu_range *range;
    if (!emu_page_size(x, &job->page.max) || !emu_read_continuation(x, &job->position, &job->continued)) return false;
    range = emu_first_range(x, scope, &job->position, job->continued);
    if (!emu_session_ok(x, range) || !emu_spend(x, range)) return false;
    x->range = range;
    emu_put_format(&x->core->body, "{\"_rid\":\"%s\",\"Documents\":[", x->container->rid);
    job->rows_at = x->core->body.buffer.len;
    return true;
}

static void emu_answer_page(emu_exchange *x, emu_job *job, const emu_scope *scope)
{
    const emu_page *page = &job->page;
    const emu_scan *scan = &job->scan;
    emu_range *range = emu_first_range(x, scope, &job->position, true);
    emu_work work;
    bool everywhere = !job->query || emu_sql_has_source(job->query);
    work.documents = scan->looked;
    work.document_bytes = scan->bytes;
    work.rows = (uint64_t)page->count;
    work.row_bytes = page->body->buffer.len - job->rows_at - (page->count ? (size_t)page->count - 1 : 0);
    if (job->query) emu_report(x, job->query, &work);
    emu_put_format(page->body, "],\"_count\":%lld}", (long long)page->count);
    if (scan->more || (everywhere && emu_next_part(x->container, scope, &job->position)))
        emu_write_continuation(x, &job->position);
    x->range = range;
    if (job->query) {                                      /* what is charged is what the service would have read */
        work.documents = scan->read;
        work.document_bytes = scan->read_bytes;
    }
    emu_charge(x, range, emu_bill_page(job->query ? &job->bill : NULL, &work, !job->continued));
    x->status = 200;
    x->has_body = true;
    x->item_count = page->count;
}

/* A slice. The page is done, or refused, or suspended. */
static void emu_work_page(emu_exchange *x, emu_job *job, const emu_scope *scope)
{
    bool holds = job->query && emu_sql_needs_merge(job->query);
    if ((holds ? emu_held_page : emu_stream_page)(x, scope, job) && !job->suspended) emu_answer_page(x, job, scope);
}

/*------------------------------------------------------------------------------
 * MARK: - The request
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

/* The query of a request; or refused. */
static bool emu_take_query(emu_exchange *x, emu_job *job)
{
    emu_sql_error error;
    aiocosmos_str body = x->request->body;
    if (!emu_is_query_body(x)) return false;
    job->query = emu_sql_prepare(body.ptr, body.len, x->now_ms, &x->store->memory, &error);
    if (!job->query) return emu_refuse_json(x, error.status, error.sub_status, error.message, NULL);
    emu_define_query(x, job->query);
    return !emu_sql_ranks(job->query) || emu_refuse_with_plan(x, job->query);
}

static emu_job *emu_make_job(emu_exchange *x)
{
    emu_job *job = (emu_job *)aioc_mem_zalloc(&x->store->memory, sizeof *job);
    if (!job) return NULL;
    job->store = x->store;
    job->body.memory = job->document.memory = &x->store->memory;
    job->page.body = &x->core->body;
    job->slice_end = x->core->slice_steps / 4;             /* what is done by then is answered at once */
    job->page_end = x->core->page_steps;
    memcpy(job->container, x->container->rid, sizeof job->container);
    return job;
}

static void emu_swap_body(emu_exchange *x, emu_job *job)
{
    emu_text kept = job->body;
    job->body = x->core->body;
    x->core->body = kept;
}

static void emu_start_job(emu_exchange *x, bool is_query)
{
    emu_job *job;
    emu_scope scope;
    if (!emu_read_headers_ok(x)) return;
    job = emu_make_job(x);
    if (!job) {
        emu_no_memory(x);
        return;
    }
    x->job = job;
    if ((!is_query || emu_take_query(x, job)) && emu_find_scope(x, job->query, &scope) &&
        (!is_query || emu_bill_open(x, job->query, &job->bill)) && emu_begin_page(x, job, &scope))
        emu_work_page(x, job, &scope);
}

static void emu_resume_job(emu_exchange *x)
{
    emu_job *job = x->job;
    emu_scope scope;
    emu_swap_body(x, job);
    job->suspended = false;
    job->slice_end = job->scan.steps + x->core->slice_steps;
    if (strcmp(job->container, x->container->rid) != 0)
        emu_refuse(x, 404, 1003, "The container was deleted while the query ran.");
    else if (emu_find_scope(x, job->query, &scope)) emu_work_page(x, job, &scope);
}

void emu_query_items(emu_exchange *x, bool is_query)
{
    if (x->job) emu_resume_job(x);
    else emu_start_job(x, is_query);
    if (x->job && x->job->suspended) {
        emu_swap_body(x, x->job);
    } else {
        emu_job_free(x->job);
        x->job = NULL;
    }
}
