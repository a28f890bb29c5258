/* plan.c: routes of query plans. */
#include "plan.h"

#include <string.h>

static bool emu_plan_epk(void *user, const aiocosmos_value *values, size_t count, char *out, size_t cap)
{
    emu_exchange *x = (emu_exchange *)user;
    emu_key *key = &x->core->key;
    if (!emu_key_from_values(x->container, values, count, key, NULL) || key->epk_len >= cap) return false;
    memcpy(out, key->epk, key->epk_len);
    out[key->epk_len] = 0;
    return true;
}

static void emu_plan_row(void *user, const char *json, size_t len)
{
    emu_put((emu_text *)user, json, len);
}

/* False: refused. */
static bool emu_put_plan(emu_exchange *x, const emu_sql_query *query, aiocosmos_str features, emu_text *out)
{
    emu_sql_key key;
    emu_sql_error error;
    key.paths = x->container->key_path;
    key.path_count = x->container->key.path_count;
    key.hierarchical = x->container->key.kind == AIOC_PROTOCOL_MULTI_HASH;
    key.epk = emu_plan_epk;
    key.user = x;
    if (emu_sql_plan(query, &key, features, emu_plan_row, out, &error)) return !out->failed || emu_no_memory(x);
    return emu_refuse_json(x, error.status, error.sub_status, error.message, NULL);
}

/* What VectorDistance and places mean depends on the container. */
void emu_define_query(emu_exchange *x, emu_sql_query *query)
{
    emu_text *text = &x->core->scratch;
    emu_sql_set_flat(query, x->container->flat);
    emu_text_clear(text);
    emu_put(text, x->container->resource.text, x->container->resource.text_len);
    emu_puts(text, "}");
    if (!text->failed) emu_sql_define(query, text->buffer.data, text->buffer.len);
}

/* Who says nothing of what it can do can do nothing. */
void emu_query_plan(emu_exchange *x)
{
    aiocosmos_str features = x->request->header[EMU_H_FEATURES];
    emu_sql_error error;
    aiocosmos_str body = x->request->body;
    emu_sql_query *query = emu_sql_prepare(body.ptr, body.len, x->now_ms, &x->store->memory, &error);
    if (!features.ptr) features = aioc_mem_str("");
    if (query) emu_define_query(x, query);
    if (!query) {
        emu_refuse_json(x, error.status, error.sub_status, error.message, NULL);
    } else if (emu_put_plan(x, query, features, &x->core->body)) {
        x->status = 200;
        x->has_body = true;
        x->charge = 1;
    }
    emu_sql_free(query);
}

/* A query over several partitions that somebody has to merge: not the gateway, but it says how. Always false. */
bool emu_refuse_with_plan(emu_exchange *x, const emu_sql_query *query)
{
    emu_text *text = &x->core->scratch2;
    emu_text_clear(text);
    if (!emu_put_plan(x, query, x->request->header[EMU_H_FEATURES], text)) return false;
    emu_put(text, "", 1);
    if (text->failed) return emu_no_memory(x);
    return emu_refuse_json(x, 400, 1004, "{\"Errors\":[\"The provided cross partition query can not be directly served "
                           "by the gateway. This is a first chance (internal) exception that all newer clients will "
                           "know how to handle gracefully.\"]}", text->buffer.data);
}
