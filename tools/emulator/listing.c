/* listing.c: lists of anything but items, with or without a query. */
#include "listing.h"
#include "scope.h"

#include <stdio.h>
#include <string.h>

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
    if (emu_kind_asks(x->kind)) {
        listing->query = emu_sql_prepare(body.ptr, body.len, x->now_ms, &x->store->memory, &error);
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
