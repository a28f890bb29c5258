/* scope.c: which items a request is about. */
#include "scope.h"
#include "plan.h"

#include <string.h>

#define EMU_PAGE_DEFAULT 100

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
           aioc_protocol_pk_components(&x->store->memory, &core->key_text, emu_text_str(text), values, &count) &&
           count == x->container->key.path_count &&
           emu_key_from_values(x->container, values, count, &core->header_key, NULL);
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
    if (!emu_sql_needs_merge(query)) return true;
    if (!emu_header_true(x, EMU_H_MERGED)) return emu_refuse_with_plan(x, query);
    scope->min = aioc_mem_str("");                         /* what no client sends: the explorer's page has no merge */
    scope->max = aioc_mem_str("FF");
    return true;
}

bool emu_in_scope(const emu_scope *scope, const emu_item *item)
{
    const emu_partition *partition = item->partition;
    if (scope->prefix && (partition->key_len < scope->key->len ||
                          memcmp(emu_partition_key(partition), scope->key->bytes, scope->key->len) != 0)) return false;
    if (scope->max.len == 0) return true;
    return aioc_protocol_epk_compare(emu_partition_epk(partition), scope->min) >= 0 &&
           aioc_protocol_epk_compare(emu_partition_epk(partition), scope->max) < 0;
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
