/* query.c: many items at a time: feeds and queries, their pages and continuations.
 *
 * A page comes from one physical partition, as the gateway's fan-out does it: when that is through, the continuation
 * names the next, and an empty page in between is normal. A query that holds back its rows (ORDER BY, aggregates, ...)
 * runs once; its rows are kept for the pages to come, and made anew where something has changed meanwhile.
 *
 * A partition's continuation goes on with each of those that came of it. Each then gives what is its own. For a query
 * that holds back, all of them make the same rows in the same order, over the part of the key space that the first page
 * was about, and a row belongs to where its item is; a row of several items, to where the first of them is. */
#include "query.h"
#include "held.h"
#include "metrics.h"
#include "plan.h"

#include <string.h>

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
    if (is_query) {
        if (!emu_is_query_body(x)) return;
        query = emu_sql_prepare(x->request->body.ptr, x->request->body.len, x->now_ms, &x->store->memory, &error);
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
