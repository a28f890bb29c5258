/* answer.c: an exchange as the bytes of its answer. */
#include "answer.h"

#include <string.h>

/* What the resource, or the list, is in: Java makes links of it. */
static char *emu_put_owner(char *at, const emu_exchange *x)
{
    const emu_container *c = x->container;
    const emu_resource *database = &x->database->resource;
    const char *rid = c ? c->rid : x->database->rid;
    at = EMU_PUT(at, "x-ms-alt-content-path: dbs/");
    at += aioc_auth_percent_encode(emu_str(database->id, database->id_len), 0, at);
    if (c) {
        at = EMU_PUT(at, "/colls/");
        at += aioc_auth_percent_encode(emu_str(c->resource.id, c->resource.id_len), 0, at);
    }
    at = EMU_PUT(at, "\r\nx-ms-content-path: ");
    at = emu_put_at(at, rid, strlen(rid));
    return EMU_PUT(at, "\r\n");
}

static char *emu_put_range(char *at, const emu_exchange *x)
{
    const emu_range *range = x->range;
    at = EMU_PUT(at, "x-ms-documentdb-partitionkeyrangeid: ");
    at = emu_put_at(at, range->id, strlen(range->id));
    at = EMU_PUT(at, "\r\nlsn: ");
    at = emu_put_number(at, range->lsn);
    at = EMU_PUT(at, "\r\nx-ms-session-token: ");
    at = emu_put_at(at, range->id, strlen(range->id));
    *at++ = ':';
    at = emu_put_number(at, range->version);
    *at++ = '#';
    at = emu_put_number(at, range->lsn);
    at = EMU_PUT(at, "\r\n");
    if (x->item_lsn < 0) return at;
    at = EMU_PUT(at, "x-ms-item-lsn: ");
    at = emu_put_number(at, x->item_lsn);
    return EMU_PUT(at, "\r\n");
}

static char *emu_put_named(char *at, const char *name, const char *value)
{
    if (*value == 0) return at;
    at = emu_put_at(at, name, strlen(name));
    at = emu_put_at(at, value, strlen(value));
    return EMU_PUT(at, "\r\n");
}

/* By these the service is known. */
static char *emu_put_service_lines(char *at, const emu_exchange *x)
{
    at = EMU_PUT(at, "Server: aiocosmos-emulator\r\nx-ms-gatewayversion: version=2.0.0\r\nx-ms-activity-id: ");
    at = emu_put_at(at, x->activity, EMU_GUID);
    at = EMU_PUT(at, "\r\nx-ms-request-charge: ");
    at = emu_put_decimal(at, x->charge);
    at = EMU_PUT(at, "\r\n");
    if (x->sub_status) {
        at = EMU_PUT(at, "x-ms-substatus: ");
        at = emu_put_number(at, x->sub_status);
        at = EMU_PUT(at, "\r\n");
    }
    if (x->retry_after_ms >= 0) {
        at = EMU_PUT(at, "x-ms-retry-after-ms: ");
        at = emu_put_decimal(at, x->retry_after_ms);
        at = EMU_PUT(at, "\r\n");
    }
    if (x->item_count >= 0) {
        at = EMU_PUT(at, "x-ms-item-count: ");
        at = emu_put_number(at, x->item_count);
        at = EMU_PUT(at, "\r\n");
    }
    at = emu_put_named(at, "etag: ", x->etag);
    at = emu_put_named(at, "x-ms-continuation: ", x->continuation);
    at = emu_put_named(at, "", x->extra);
    if (x->database && emu_kind_subject(x->kind) != EMU_PERMISSIONS) at = emu_put_owner(at, x);
    return x->range ? emu_put_range(at, x) : at;
}

static char *emu_put_head(char *at, emu_exchange *x)
{
    emu_core *core = x->core;
    const char *text = emu_status_text(x->status);
    if (core->date_s != x->now_ms / 1000) {
        core->date_s = x->now_ms / 1000;
        aioc_auth_date(core->date, core->date_s);
    }
    at = EMU_PUT(at, "HTTP/1.1 ");
    at = emu_put_number(at, x->status);
    *at++ = ' ';
    at = emu_put_at(at, text, strlen(text));
    at = EMU_PUT(at, "\r\nDate: ");
    at = emu_put_at(at, core->date, AIOC_AUTH_DATE_LEN);
    at = EMU_PUT(at, "\r\n");
    if (!x->stranger) at = emu_put_service_lines(at, x);
    if (!x->request->keep_alive) at = EMU_PUT(at, "Connection: close\r\n");
    else if (x->request->minor == 0) at = EMU_PUT(at, "Connection: keep-alive\r\n");
    return at;
}

/* In pieces of growing size, with what chunks may have (RFC 9112, 7.1). */
static void emu_put_chunked(emu_text *out, aiocosmos_str body)
{
    size_t at, size;
    for (at = 0, size = 1; at < body.len; at += size, size = size * 2 + 1) {
        if (size > body.len - at) size = body.len - at;
        emu_put_format(out, "%x;part=\"%u\"\r\n", (unsigned)size, (unsigned)at);
        emu_put(out, body.ptr + at, size);
        emu_puts(out, "\r\n");
    }
    emu_puts(out, "0\r\nx-trailer: end\r\n\r\n");
}

void emu_answer_write(emu_text *out, emu_exchange *x, bool chunked)
{
    aiocosmos_str body = emu_str(x->core->body.buffer.data, x->has_body ? x->core->body.buffer.len : 0);
    size_t owner = 3 * ((x->database ? x->database->resource.id_len : 0) +
                        (x->container ? x->container->resource.id_len : 0));
    char *start, *at;
    bool bodiless = x->status == 204 || x->status == 304;  /* RFC 9110, 6.4.1 */
    size_t size = 2304 + strlen(x->continuation) + strlen(x->extra) + owner + body.len;
    if (out->failed || !aioc_mem_reserve(out->memory, &out->buffer, size)) {
        out->failed = true;
        return;
    }
    start = out->buffer.data + out->buffer.len;
    at = emu_put_head(start, x);
    if (bodiless) {
        body.len = 0;
    } else {
        at = emu_put_named(at, "Content-Type: ", x->html ? "text/html; charset=us-ascii" : "application/json");
        if (chunked) {
            at = EMU_PUT(at, "Transfer-Encoding: chunked\r\n");
        } else {
            at = EMU_PUT(at, "Content-Length: ");
            at = emu_put_number(at, (int64_t)body.len);
            at = EMU_PUT(at, "\r\n");
        }
    }
    at = EMU_PUT(at, "\r\n");
    out->buffer.len += (size_t)(at - start);
    if (x->request->head_only || bodiless) return;
    if (chunked) emu_put_chunked(out, body);
    else emu_put_str(out, body);
}
