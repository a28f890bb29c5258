/* routes.c: which request goes where. */
#include "routes.h"
#include "auth.h"
#include "batch.h"
#include "control.h"
#include "feed.h"
#include "held.h"
#include "item.h"
#include "keep.h"
#include "meta.h"
#include "plan.h"
#include "query.h"
#include "script.h"

#include <stddef.h>
#include <string.h>

/*------------------------------------------------------------------------------
 * MARK: - Routes
 *----------------------------------------------------------------------------*/

typedef struct emu_route {
    emu_verb verb;
    uint8_t segments;
    const char *type[3];                                   /* segments 0, 2 and 4; the others are names */
    emu_kind kind;
} emu_route;

static const emu_route emu_routes[] = {
    { EMU_POST,   5, { "dbs", "colls", "docs" },        EMU_CREATE_ITEM },
    { EMU_GET,    6, { "dbs", "colls", "docs" },        EMU_READ_ITEM },
    { EMU_PUT,    6, { "dbs", "colls", "docs" },        EMU_REPLACE_ITEM },
    { EMU_PATCH,  6, { "dbs", "colls", "docs" },        EMU_PATCH_ITEM },
    { EMU_DELETE, 6, { "dbs", "colls", "docs" },        EMU_DELETE_ITEM },
    { EMU_GET,    5, { "dbs", "colls", "docs" },        EMU_LIST_ITEMS },
    { EMU_GET,    0, { NULL, NULL, NULL },              EMU_READ_ACCOUNT },
    { EMU_GET,    1, { "dbs", NULL, NULL },             EMU_LIST_DATABASES },
    { EMU_POST,   1, { "dbs", NULL, NULL },             EMU_CREATE_DATABASE },
    { EMU_GET,    2, { "dbs", NULL, NULL },             EMU_READ_DATABASE },
    { EMU_DELETE, 2, { "dbs", NULL, NULL },             EMU_DELETE_DATABASE },
    { EMU_GET,    3, { "dbs", "colls", NULL },          EMU_LIST_CONTAINERS },
    { EMU_POST,   3, { "dbs", "colls", NULL },          EMU_CREATE_CONTAINER },
    { EMU_GET,    4, { "dbs", "colls", NULL },          EMU_READ_CONTAINER },
    { EMU_PUT,    4, { "dbs", "colls", NULL },          EMU_REPLACE_CONTAINER },
    { EMU_DELETE, 4, { "dbs", "colls", NULL },          EMU_DELETE_CONTAINER },
    { EMU_GET,    5, { "dbs", "colls", "pkranges" },    EMU_LIST_RANGES },
    { EMU_GET,    1, { "offers", NULL, NULL },          EMU_LIST_OFFERS },
    { EMU_POST,   1, { "offers", NULL, NULL },          EMU_QUERY_OFFERS },
    { EMU_GET,    2, { "offers", NULL, NULL },          EMU_READ_OFFER },
    { EMU_PUT,    2, { "offers", NULL, NULL },          EMU_REPLACE_OFFER },
    { EMU_GET,    3, { "dbs", "users", NULL },          EMU_LIST_USERS },
    { EMU_POST,   3, { "dbs", "users", NULL },          EMU_CREATE_USER },
    { EMU_GET,    4, { "dbs", "users", NULL },          EMU_READ_USER },
    { EMU_PUT,    4, { "dbs", "users", NULL },          EMU_REPLACE_USER },
    { EMU_DELETE, 4, { "dbs", "users", NULL },          EMU_DELETE_USER },
    { EMU_GET,    5, { "dbs", "users", "permissions" }, EMU_LIST_PERMISSIONS },
    { EMU_POST,   5, { "dbs", "users", "permissions" }, EMU_CREATE_PERMISSION },
    { EMU_GET,    6, { "dbs", "users", "permissions" }, EMU_READ_PERMISSION },
    { EMU_PUT,    6, { "dbs", "users", "permissions" }, EMU_REPLACE_PERMISSION },
    { EMU_DELETE, 6, { "dbs", "users", "permissions" }, EMU_DELETE_PERMISSION },
    { EMU_GET,    5, { "dbs", "colls", "scripts" },     EMU_LIST_SCRIPTS },
    { EMU_POST,   5, { "dbs", "colls", "scripts" },     EMU_CREATE_SCRIPT },
    { EMU_GET,    6, { "dbs", "colls", "scripts" },     EMU_READ_SCRIPT },
    { EMU_PUT,    6, { "dbs", "colls", "scripts" },     EMU_REPLACE_SCRIPT },
    { EMU_DELETE, 6, { "dbs", "colls", "scripts" },     EMU_DELETE_SCRIPT },
    { EMU_POST,   6, { "dbs", "colls", "sprocs" },      EMU_EXECUTE_SCRIPT },
    { EMU_GET,    5, { "dbs", "colls", "conflicts" },   EMU_LIST_CONFLICTS },
    { EMU_POST,   5, { "dbs", "colls", "conflicts" },   EMU_QUERY_CONFLICTS },
    { EMU_GET,    6, { "dbs", "colls", "conflicts" },   EMU_READ_CONFLICT },
    { EMU_DELETE, 6, { "dbs", "colls", "conflicts" },   EMU_DELETE_CONFLICT },
    { EMU_POST,   6, { "dbs", "colls", "operations" },  EMU_DELETE_KEY }
};

/* Splits the path at '/' and decodes it: ids come percent-encoded, once. */
static bool emu_split_target(emu_exchange *x, aiocosmos_str target)
{
    size_t at = 0, end, len = 0;
    x->segments = 0;
    while (at < target.len && target.ptr[at] != '/') at++; /* http://host/… is allowed too (RFC 9112, 3.2.2) */
    if (at > 0 && at + 2 < target.len && target.ptr[at - 1] == ':') {
        for (at += 2; at < target.len && target.ptr[at] != '/'; at++) continue;
    }
    for (end = at; end < target.len && target.ptr[end] != '?' && target.ptr[end] != '#'; end++) continue;
    while (end > at && target.ptr[end - 1] == '/') end--;
    while (at < end && target.ptr[at] == '/') at++;
    while (at < end) {
        size_t start = at, size;
        while (at < end && target.ptr[at] != '/') at++;
        if (x->segments == EMU_SEGMENTS || len + (at - start) + 1 > sizeof x->path) return false;
        if (len) x->path[len++] = '/';
        size = emu_percent_decode(emu_str(target.ptr + start, at - start), x->path + len);
        if (size == 0 || memchr(x->path + len, '/', size)) return false;
        x->segment[x->segments++] = emu_str(x->path + len, size);
        len += size;
        at++;
    }
    return aioc_json_utf8_ok(x->path, len, &at);
}

/* Who writes many items asks for the same path again and again. */
static bool emu_split_path(emu_exchange *x)
{
    aiocosmos_str target = x->request->target;
    if (x->target_len && aioc_mem_same(target, emu_str(x->target, x->target_len))) return true;
    x->target_len = 0;
    if (!emu_split_target(x, target)) return false;
    if (target.len > sizeof x->target) return true;
    memcpy(x->target, target.ptr, target.len);
    x->target_len = target.len;
    return true;
}

/* What else a POST means where a header says so. */
static const struct { emu_kind kind; emu_header header; emu_kind meant; } emu_posts[] = {
    { EMU_CREATE_ITEM,       EMU_H_PLAN,   EMU_PLAN_ITEMS },
    { EMU_CREATE_ITEM,       EMU_H_QUERY,  EMU_QUERY_ITEMS },
    { EMU_CREATE_ITEM,       EMU_H_BATCH,  EMU_BATCH_ITEMS },
    { EMU_CREATE_ITEM,       EMU_H_UPSERT, EMU_UPSERT_ITEM },
    { EMU_CREATE_DATABASE,   EMU_H_QUERY,  EMU_QUERY_DATABASES },
    { EMU_CREATE_CONTAINER,  EMU_H_QUERY,  EMU_QUERY_CONTAINERS },
    { EMU_CREATE_USER,       EMU_H_QUERY,  EMU_QUERY_USERS },
    { EMU_CREATE_PERMISSION, EMU_H_QUERY,  EMU_QUERY_PERMISSIONS },
    { EMU_CREATE_SCRIPT,     EMU_H_QUERY,  EMU_QUERY_SCRIPTS }
};

/* Go says that a POST is a query by its content type alone. */
static bool emu_means(const emu_exchange *x, emu_header header)
{
    if (emu_header_true(x, header)) return true;
    return header == EMU_H_QUERY && aioc_mem_same_nocase(x->request->header[EMU_H_CONTENT_TYPE],
                                                         aioc_mem_str("application/query+json"));
}

static emu_kind emu_post_kind(const emu_exchange *x, emu_kind kind)
{
    size_t i;
    if (x->request->verb != EMU_POST) return kind;
    for (i = 0; i < sizeof emu_posts / sizeof emu_posts[0]; i++)
        if (kind == emu_posts[i].kind && emu_means(x, emu_posts[i].header)) return emu_posts[i].meant;
    return kind;
}

static bool emu_is_type(aiocosmos_str segment, const char *type)
{
    return emu_is(segment, type) || (strcmp(type, "scripts") == 0 && emu_script_type_of(segment) < EMU_SCRIPT_TYPES);
}

static const emu_route *emu_find_route(emu_exchange *x)
{
    size_t i, k;
    bool other_verb = false;
    for (i = 0; i < sizeof emu_routes / sizeof emu_routes[0]; i++) {
        const emu_route *route = &emu_routes[i];
        if (route->segments != x->segments) continue;
        for (k = 0; 2 * k < x->segments && emu_is_type(x->segment[2 * k], route->type[k]); k++) continue;
        if (2 * k < x->segments) continue;
        if (route->verb == x->request->verb) return route;
        other_verb = true;
    }
    x->kind = EMU_UNKNOWN;
    if (other_verb) emu_refuse(x, 405, 0, "The requested verb is not supported for this resource.");
    else emu_refuse(x, 404, 0, "The requested resource type is unknown to this server.");
    return NULL;
}

/* What is signed: the path as far as its last name, and the type before or behind that. */
static void emu_set_link(emu_exchange *x)
{
    bool of_container = x->kind == EMU_DELETE_KEY;         /* which is what its name stands behind */
    size_t named = of_container ? 4 : x->segments / 2 * 2;
    size_t of_type = of_container ? 2 : (x->segments - 1) / 2 * 2;
    aiocosmos_str type = x->segments == 0 ? emu_str("", 0) : x->segment[of_type];
    x->link = named == 0 ? emu_str("", 0)
                         : emu_str(x->path, (size_t)(x->segment[named - 1].ptr + x->segment[named - 1].len - x->path));
    memcpy(x->type, type.ptr, type.len);                   /* of a route, so it is short */
    x->type[type.len] = 0;
    if (emu_is(type, "offers") && named) {         /* always by _rid */
        size_t len = x->segment[1].len < sizeof x->offer_link ? x->segment[1].len : sizeof x->offer_link;
        memcpy(x->offer_link, x->segment[1].ptr, len);
        emu_lower(x->offer_link, len);
        x->link = emu_str(x->offer_link, len);
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Serving
 *----------------------------------------------------------------------------*/

static void emu_begin(emu_exchange *x, emu_core *core, const emu_request *request, emu_job *job)
{
    aiocosmos_str activity = request->header[EMU_H_ACTIVITY];
    memset((char *)x + offsetof(emu_exchange, link), 0,
           offsetof(emu_exchange, extra) + 1 - offsetof(emu_exchange, link));
    x->continuation[0] = 0;
    x->core = core;
    x->store = &core->store;
    x->job = job;
    x->request = request;
    x->kind = EMU_UNKNOWN;
    x->now_ms = emu_now(&core->store.clock);
    x->item_lsn = x->item_count = -1;
    x->retry_after_ms = -1;
    if (activity.len == EMU_GUID) memcpy(x->activity, activity.ptr, EMU_GUID);
    else emu_make_guid(&core->store.clock, x->activity);
    emu_text_clear(&core->body);
    emu_held_forget_old(core);
    if (!job) core->requests++;
}

static void emu_big_answer(emu_text *body, size_t size)
{
    emu_text_clear(body);
    if (size < 2 || !aioc_mem_reserve(body->memory, &body->buffer, size)) return;
    memset(body->buffer.data, 'x', size);
    body->buffer.data[0] = body->buffer.data[size - 1] = '"';
    body->buffer.len = size;
}

/* Fills in what a fault wants to be answered. */
static void emu_fault_answer(emu_exchange *x, const emu_fault *fault)
{
    emu_refuse(x, fault->status, fault->sub_status, "A fault was asked for.");
    x->retry_after_ms = fault->retry_after_ms;
    if (fault->action == EMU_FAULT_BIG) emu_big_answer(&x->core->body, fault->at);
    x->html = fault->action == EMU_FAULT_HTML;
    x->stranger = x->html || fault->action == EMU_FAULT_JSON;
    if (!x->stranger) return;
    emu_text_clear(&x->core->body);
    emu_put_format(&x->core->body, x->html ? "<!DOCTYPE HTML><html><head><title>%s</title></head></html>\r\n"
                                           : "{\"error\":\"%s\"}", emu_status_text(fault->status));
}

/* Bit 1 of the set: it finds its way when partition key ranges become one. */
static bool emu_can_merge(const emu_exchange *x)
{
    uint64_t capabilities;
    return aioc_text_parse_u64(x->request->header[EMU_H_CAPABILITIES], &capabilities) && (capabilities & 1);
}

static void emu_run_items(emu_exchange *x)
{
    if (!emu_find_owner(x)) return;
    switch (x->kind) {
    case EMU_PLAN_ITEMS: emu_query_plan(x); break;
    case EMU_BATCH_ITEMS: emu_batch(x); break;
    case EMU_DELETE_KEY: emu_delete_key(x); break;
    case EMU_QUERY_ITEMS: emu_query_items(x, true); break;
    case EMU_LIST_ITEMS:
        if (!emu_read_headers_ok(x)) return;
        if (x->request->header[EMU_H_A_IM].len) emu_change_feed(x);
        else emu_query_items(x, false);
        break;
    default: emu_item_operation(x);
    }
}

static void emu_not_kept(emu_exchange *x)
{
    emu_refuse(x, 503, 0, "Changes cannot be kept any more: see the emulator's --data.");
}

static void emu_carry_out(emu_exchange *x)
{
    if (!emu_authorize(x)) return;
    if (x->request->header[EMU_H_VERSION].len == 0) {
        emu_refuse(x, 400, 0, "The required header 'x-ms-version' is missing.");
        return;
    }
    if (x->core->options.merge_enabled && !emu_can_merge(x)) {
        emu_refuse(x, 400, 0, "The account has partition merge, which this client does not support: it has to say "
                   "that it does in x-ms-cosmos-sdk-supportedcapabilities.");
        return;
    }
    if (x->core->keeps_no_more && x->request->verb != EMU_GET && !emu_kind_asks(x->kind)) {
        emu_not_kept(x);
        return;
    }
    if (emu_kind_subject(x->kind) == EMU_ITEMS) {
        emu_run_items(x);
    } else {
        emu_counters counters = emu_counters_of(x->store);
        emu_meta_route(x);
        if (x->status < 300 && x->request->verb != EMU_GET && !emu_kind_asks(x->kind) && x->kind != EMU_EXECUTE_SCRIPT)
            emu_keep_request(x, &counters);
    }
    if (x->core->body.failed) emu_no_memory(x);
}

static bool emu_find_kind(emu_exchange *x)
{
    const emu_route *route = emu_find_route(x);
    if (!route) return false;
    x->kind = emu_post_kind(x, route->kind);
    emu_set_link(x);
    return true;
}

static void emu_serve_request(emu_exchange *x, emu_fault **fault)
{
    emu_core *core = x->core;
    if (!emu_split_path(x)) {
        emu_refuse(x, 400, 0, "The path is malformed.");
        return;
    }
    if (x->segments && emu_is(x->segment[0], "_emulator")) {
        x->kind = EMU_CONTROL;
        x->link = x->segment[x->segments - 1];
        x->link = emu_str(x->path, (size_t)(x->link.ptr + x->link.len - x->path));
        strcpy(x->type, "_emulator");
        emu_control_route(x);
        return;
    }
    if (emu_sends_to_page(x)) return;
    if (!emu_find_kind(x)) return;
    if (!x->job) *fault = core->faults ? emu_fault_find(core, x) : NULL;
    if (!*fault || (*fault)->after || (*fault)->action >= EMU_FAULT_TRUNCATE) emu_carry_out(x);
    if (!*fault) *fault = x->fault_within;
    if (x->job && !x->job->suspended) {                    /* refused on the way to going on with it */
        emu_job_free(x->job);
        x->job = NULL;
    }
    if (*fault && !x->job && (*fault)->action <= EMU_FAULT_BIG) emu_fault_answer(x, *fault);
}

void emu_serve(emu_exchange *x, emu_core *core, const emu_request *request, emu_job *job, emu_fault **fault)
{
    emu_begin(x, core, request, job);
    emu_serve_request(x, fault);
    if (!emu_keep(core)) emu_not_kept(x);
}

void emu_restore_begin(emu_exchange *x, emu_core *core)
{
    static const emu_request nothing;
    emu_begin(x, core, &nothing, NULL);
}

bool emu_restore_request(emu_exchange *x, emu_core *core, const emu_request *request)
{
    emu_begin(x, core, request, NULL);
    if (!emu_split_path(x) || !emu_find_kind(x) || emu_kind_subject(x->kind) == EMU_ITEMS) return false;
    emu_meta_route(x);
    return x->status < 300 && !core->body.failed;
}
