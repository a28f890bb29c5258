/* bind.c: a query is prepared: its text parsed, the names in it bound, its parameters and what it resumes taken. */
#include "bind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*------------------------------------------------------------------------------
 * MARK: - Names bound, aggregates found
 *----------------------------------------------------------------------------*/

typedef struct sql_binder {
    sql_parser *parser;
    sql_select *select;                /* whose names are in scope */
    bool aggregates_allowed, in_aggregate, in_rank;
} sql_binder;

static void sql_bind_select(sql_parser *parser, sql_select *select, sql_select *outer, bool rooted);
static void sql_bind(sql_binder *binder, sql_node *node);

static const sql_source *sql_find_alias(const sql_select *select, aiocosmos_str name)
{
    for (; select; select = select->outer) {
        uint32_t i = select->visible;
        while (i-- > 0)
            if (select->sources[i].alias.ptr && aioc_mem_same(select->sources[i].alias, name))
                return &select->sources[i];
    }
    return NULL;
}

static void sql_bind_name(sql_binder *binder, sql_node *node)
{
    const sql_source *source = sql_find_alias(binder->select, node->name);
    if (!source)
        sql_fail_at(binder->parser, "SC2001", node->start, node->end, "Identifier '%.*s' could not be resolved.",
                    sql_quote_len(node->name.ptr, node->name.len), node->name.ptr);
    node->kind = SQL_ALIAS;
    node->slot = source->slot;
}

static void sql_bind_aggregate(sql_binder *binder, sql_node *node)
{
    sql_select *select = binder->select;
    sql_node **aggregates;
    if (binder->in_aggregate)
        sql_fail_at(binder->parser, "SC2101", node->start, node->end,
                    "Cannot perform an aggregate function on an expression containing an aggregate or a subquery.");
    if (!binder->aggregates_allowed)
        sql_fail_at(binder->parser, "SC2103", node->start, node->end,
                    "An aggregate function is only allowed in the SELECT clause.");
    aggregates = (sql_node **)sql_alloc(binder->parser->arena, (select->aggregate_count + 1) * sizeof *aggregates);
    if (select->aggregate_count) memcpy(aggregates, select->aggregates, select->aggregate_count * sizeof *aggregates);
    sql_spend(binder->parser->env, select->aggregate_count);
    node->slot = select->aggregate_count;
    aggregates[select->aggregate_count++] = node;
    select->aggregates = aggregates;
    binder->in_aggregate = true;
    sql_bind(binder, node->children[0]);
    binder->in_aggregate = false;
}

static void sql_note_distance(emu_sql_query *query, sql_node *node)
{
    uint32_t count = query->distance_count;
    if ((count & (count - 1)) == 0) {                      /* full: 1, 2, 4, ... */
        sql_node **more = (sql_node **)sql_alloc(&query->arena, (count ? 2 * count : 1) * sizeof *more);
        if (count) memcpy(more, query->distances, count * sizeof *more);
        query->distances = more;
    }
    query->distances[query->distance_count++] = node;
}

static void sql_bind_call(sql_binder *binder, sql_node *node)
{
    bool score = sql_calls(node, "FullTextScore");
    if (sql_calls(node, "VectorDistance")) sql_note_distance(binder->parser->query, node);
    if (!binder->in_rank && (score || sql_calls(node, "RRF")))
        sql_fail_at(binder->parser, "SC2240", node->start, node->end,
                    "The %s function is only allowed in the ORDER BY RANK clause.", node->function->name);
    if (score && node->children[0]->kind != SQL_PROPERTY && node->children[0]->kind != SQL_MEMBER)
        sql_fail_at(binder->parser, "SC2241", node->start, node->end,
                    "The first argument of FullTextScore must be a property path.");
}

static void sql_bind(sql_binder *binder, sql_node *node)
{
    uint32_t i;
    if (node->kind == SQL_CALL) sql_bind_call(binder, node);
    switch (node->kind) {
    case SQL_NAME:
        sql_bind_name(binder, node);
        return;
    case SQL_AGGREGATE:
        sql_bind_aggregate(binder, node);
        return;
    case SQL_EXISTS:
    case SQL_ARRAY_OF:
    case SQL_SCALAR:
        if (binder->in_aggregate)
            sql_fail_at(binder->parser, "SC2101", node->start, node->end,
                        "Cannot perform an aggregate function on an expression containing an aggregate or a subquery.");
        sql_bind_select(binder->parser, node->select, binder->select, false);
        return;
    default:
        for (i = 0; i < node->count; i++) sql_bind(binder, node->children[i]);
    }
}

static void sql_bind_source(sql_binder *binder, sql_select *select, uint32_t index)
{
    sql_source *source = &select->sources[index];
    uint32_t i;
    for (i = 0; i < index; i++) {
        if (source->alias.ptr && select->sources[i].alias.ptr && aioc_mem_same(source->alias, select->sources[i].alias))
            sql_fail_at(binder->parser, "SC2010", source->start, source->end,
                        "The input alias '%.*s' is specified more than once in the FROM clause.",
                        sql_quote_len(source->alias.ptr, source->alias.len), source->alias.ptr);
        sql_spend(binder->parser->env, 1);
    }
    if (source->select) {
        sql_bind_select(binder->parser, source->select, select, select->rooted && index == 0);
    } else {
        sql_node *root = (sql_node *)(uintptr_t)sql_path_root(source->path);
        if (select->rooted && index == 0 && !sql_find_alias(select, root->name)) {
            root->kind = SQL_ALIAS;                        /* whatever it is called, it is the container */
            root->slot = source->root = binder->parser->query->slots++;
            source->whole = true;
        }
        sql_bind(binder, source->path);
    }
    select->visible = index + 1;
}

static void sql_check_grouped_select(sql_parser *parser, const sql_select *select, sql_select *inner);

/* A property of something that is grouped by. */
static bool sql_is_of_group(sql_parser *parser, const sql_select *select, const sql_node *node)
{
    uint32_t i;
    while (node->kind == SQL_PROPERTY || node->kind == SQL_MEMBER) {
        node = node->children[0];
        sql_spend(parser->env, select->group_count);
        for (i = 0; i < select->group_count; i++)
            if (sql_same_node(node, select->groups[i])) return true;
    }
    return false;
}

/* Outside of aggregates a row of groups may only name what it is grouped by. Such expressions become GROUP_KEY. */
static void sql_check_grouped(sql_parser *parser, const sql_select *select, sql_node **at)
{
    sql_node *node = *at;
    const char *text = parser->query->text + node->start;
    uint32_t i;
    if (node->kind == SQL_AGGREGATE || node->kind == SQL_CONSTANT || node->kind == SQL_GROUP_KEY) return;
    for (i = 0; i < select->group_count; i++) {
        sql_spend(parser->env, 1);
        if (!sql_same_node(node, select->groups[i])) continue;
        *at = sql_new_parent(parser, SQL_GROUP_KEY, node->start, node, NULL, NULL);
        (*at)->slot = i;
        return;
    }
    if ((node->kind == SQL_PROPERTY || node->kind == SQL_MEMBER || node->kind == SQL_ALIAS) &&
        !sql_is_of_group(parser, select, node)) {
        const sql_node *root = sql_path_root(node);
        for (i = 0; root->kind == SQL_ALIAS && i < select->source_count; i++) {
            if (select->sources[i].slot != root->slot) continue;
            sql_fail_at(parser, "SC2102", node->start, node->end,
                        "Property reference '%.*s' is invalid in the select list because it is not contained in "
                        "either an aggregate function or the GROUP BY clause.",
                        sql_quote_len(text, node->end - node->start), text);
        }
    }
    for (i = 0; i < node->count; i++) sql_check_grouped(parser, select, &node->children[i]);
    if (node->select) sql_check_grouped_select(parser, select, node->select);
}

static void sql_check_grouped_select(sql_parser *parser, const sql_select *select, sql_select *inner)
{
    uint32_t i;
    for (i = 0; i < inner->source_count; i++) {
        if (inner->sources[i].path) sql_check_grouped(parser, select, &inner->sources[i].path);
        if (inner->sources[i].select) sql_check_grouped_select(parser, select, inner->sources[i].select);
    }
    for (i = 0; i < inner->item_count; i++) sql_check_grouped(parser, select, &inner->items[i]);
    if (inner->where) sql_check_grouped(parser, select, &inner->where);
    for (i = 0; i < inner->aggregate_count; i++) sql_check_grouped(parser, select, &inner->aggregates[i]->children[0]);
}

static void sql_bind_select(sql_parser *parser, sql_select *select, sql_select *outer, bool rooted)
{
    sql_binder binder;
    uint32_t i;
    memset(&binder, 0, sizeof binder);
    binder.parser = parser;
    binder.select = select;
    select->outer = outer;
    select->rooted = rooted;
    sql_check_clauses(parser, select);
    for (i = 0; i < select->source_count; i++) sql_bind_source(&binder, select, i);
    if (select->star) {                                    /* the one source, whether it has a name or not */
        sql_node *node = sql_new_node(parser, SQL_ALIAS, select->star_start);
        node->slot = select->sources[0].slot;
        node->name = select->sources[0].alias;
        select->items = (sql_node **)sql_alloc(parser->arena, sizeof(sql_node *));
        select->items[0] = node;
        select->item_count = 1;
    }
    if (select->where) sql_bind(&binder, select->where);
    for (i = 0; i < select->group_count; i++) sql_bind(&binder, select->groups[i]);
    for (i = 0; i < select->order_count; i++) sql_bind(&binder, select->orders[i].node);
    if (select->rank) {
        binder.in_rank = true;
        sql_bind(&binder, select->rank);
        binder.in_rank = false;
    }
    binder.aggregates_allowed = true;
    for (i = 0; i < select->item_count; i++) sql_bind(&binder, select->items[i]);
    if (select->group_count || select->aggregate_count)
        for (i = 0; i < select->item_count; i++) sql_check_grouped(parser, select, &select->items[i]);
}

/*------------------------------------------------------------------------------
 * MARK: - Queries
 *----------------------------------------------------------------------------*/

static void sql_fail_resume(sql_parser *parser) __attribute__((noreturn));
static void sql_fail_resume(sql_parser *parser)
{
    sql_fail_plain(parser->env, 400, "The input content is invalid: 'resumeFilter' must have a value for each item of "
                   "ORDER BY, whether to exclude what is the same, and nothing else but a _rid.");
}

/* A value of resumeFilter: undefined is []; an array or object is {"type":"array","low":…,"high":…}, the halves of
 * its hash as signed numbers. */
static void sql_read_resume_value(sql_parser *parser, aiocosmos_json json, sql_resume_value *out)
{
    static const char *const names[3] = {"type", "low", "high"};
    aiocosmos_json fields[3];
    aiocosmos_str type;
    int64_t low, high;
    memset(out, 0, sizeof *out);
    if (json.type == AIOCOSMOS_JSON_ARR) {
        if (aioc_json_count(json)) sql_fail_resume(parser);
    } else if (json.type == AIOCOSMOS_JSON_OBJ) {
        aioc_json_fields(json, names, 3, fields);
        if (fields[0].type != AIOCOSMOS_JSON_STR || !aioc_json_get_i64(fields[1], &low) ||
            !aioc_json_get_i64(fields[2], &high)) sql_fail_resume(parser);
        type = sql_unescape(parser->arena, fields[0]);
        if (aioc_mem_same(type, aioc_mem_str("array"))) out->value.type = SQL_ARRAY;
        else if (aioc_mem_same(type, aioc_mem_str("object"))) out->value.type = SQL_OBJECT;
        else sql_fail_resume(parser);
        out->low = (uint64_t)low;
        out->high = (uint64_t)high;
    } else {
        sql_read(parser->arena, json, &out->value);
    }
}

static void sql_read_resume_values(sql_parser *parser, aiocosmos_json list)
{
    sql_resume *resume = &parser->query->resume;
    aiocosmos_json value;
    resume->values = (sql_resume_value *)sql_alloc(parser->arena,
                                                   (aioc_json_count(list) + 1) * sizeof *resume->values);
    resume->count = 0;
    memset(&value, 0, sizeof value);
    while (aioc_json_next(list, NULL, &value))
        sql_read_resume_value(parser, value, &resume->values[resume->count++]);
}

static void sql_read_resume(sql_parser *parser, aiocosmos_json filter)
{
    static const char *const names[3] = {"value", "rid", "exclude"};
    sql_resume *resume = &parser->query->resume;
    aiocosmos_json fields[3];
    if (filter.type == AIOCOSMOS_JSON_NONE || filter.type == AIOCOSMOS_JSON_NULL) return;
    if (filter.type != AIOCOSMOS_JSON_OBJ) sql_fail_resume(parser);
    aioc_json_fields(filter, names, 3, fields);
    if (fields[0].type != AIOCOSMOS_JSON_ARR || fields[2].type != AIOCOSMOS_JSON_BOOL) sql_fail_resume(parser);
    sql_read_resume_values(parser, fields[0]);
    resume->exclude = fields[2].ptr[0] == 't';
    resume->has_rid = fields[1].type == AIOCOSMOS_JSON_STR;
    if (resume->has_rid ? !sql_rid_document(sql_unescape(parser->arena, fields[1]), &resume->rid) :
        fields[1].type != AIOCOSMOS_JSON_NONE && fields[1].type != AIOCOSMOS_JSON_NULL) sql_fail_resume(parser);
}

/* Text and parameters of the request's body. */
static void sql_read_body(sql_parser *parser, const char *body, size_t len)
{
    static const char *const names[3] = {"query", "parameters", "resumeFilter"};
    emu_sql_query *query = parser->query;
    aiocosmos_json fields[3];
    aiocosmos_str text;
    if (aioc_json_parse(&query->body, body, len) != 0) {
        char message[200];
        snprintf(message, sizeof message, "The query's request body is not JSON: %s at byte %lu.",
                 query->body.error ? query->body.error : "out of memory", (unsigned long)query->body.error_at);
        sql_fail_plain(parser->env, 400, message);
    }
    aioc_json_fields(aioc_json_root(&query->body), names, 3, fields);
    if (fields[0].type != AIOCOSMOS_JSON_STR)
        sql_fail_plain(parser->env, 400,
                       "The input content is invalid because the required properties - 'query; ' - are missing");
    if (fields[1].type != AIOCOSMOS_JSON_NONE && fields[1].type != AIOCOSMOS_JSON_ARR &&
        fields[1].type != AIOCOSMOS_JSON_NULL)
        sql_fail_plain(parser->env, 400, "The input content is invalid: 'parameters' must be an array.");
    text = sql_unescape(parser->arena, fields[0]);
    query->text = text.ptr;
    query->len = text.len;
    parser->parameters = fields[1];
    sql_read_resume(parser, fields[2]);
    if (text.len > EMU_SQL_TEXT_MAX)
        sql_fail_at(parser, "SC3001", 0, text.len, "The SQL query text exceeded the maximum limit of %u characters.",
                    EMU_SQL_TEXT_MAX);
}

/* Writes out the constants that emu_sql_equals may find. */
static void sql_write_constants(emu_sql_query *query, sql_node *node)
{
    uint32_t i;
    if (node->kind == SQL_AND || node->kind == SQL_BINARY || node->kind == SQL_IN) {
        for (i = 0; i < node->count; i++) sql_write_constants(query, node->children[i]);
    } else if (node->kind == SQL_CONSTANT && node->value.text.ptr) {
        node->json = node->value.text;
    } else if (node->kind == SQL_CONSTANT) {
        aioc_mem_buffer *buffer = &query->scratch;
        buffer->len = 0;
        sql_render(&query->arena, buffer, &node->value, false);
        node->json = sql_copy_str(&query->arena, sql_str(buffer->data, buffer->len));
    }
}

static void sql_take_distance(sql_node *node, aiocosmos_str name)
{
    static const char *const names[] = {"cosine", "dotproduct", "euclidean"};
    int i;
    for (i = 0; i < 3; i++)
        if (aioc_mem_same_nocase(name, aioc_mem_str(names[i]))) node->op = (uint8_t)i;
}

/* VectorDistance(a, b, bruteforce, {distanceFunction: 'Euclidean'}), the options written out or a parameter. */
static void sql_read_distance_options(emu_sql_query *query, sql_node *node)
{
    const sql_node *options = node->count > 3 ? node->children[3] : NULL;
    const sql_value *name = NULL;
    sql_value found;
    uint32_t i;
    for (i = 0; options && options->kind == SQL_NEW_OBJECT && i < options->count; i++)
        if (aioc_mem_same_nocase(options->names[i], aioc_mem_str("distanceFunction")) &&
            options->children[i]->kind == SQL_CONSTANT) name = &options->children[i]->value;
    if (options && options->kind == SQL_CONSTANT && options->value.type == SQL_OBJECT) {
        sql_property(&query->arena, &options->value, aioc_mem_str("distanceFunction"), &found);
        name = &found;
    }
    if (name && name->type == SQL_STRING) sql_take_distance(node, name->as.string);
}

/* Sorted by VectorDistance alone, the nearest come first. */
static void sql_find_nearest(emu_sql_query *query)
{
    sql_select *select = query->select;
    uint32_t i;
    for (i = 0; i < query->distance_count; i++) sql_read_distance_options(query, query->distances[i]);
    for (i = 0; i < select->order_count; i++) {
        sql_order_key *key = &select->orders[i];
        if (!sql_calls(key->node, "VectorDistance")) continue;
        key->nearest = true;
        key->descending = key->node->op != SQL_EUCLIDEAN;
    }
}

static void sql_parse_query(emu_sql_query *query, const char *body, size_t len)
{
    sql_parser parser;
    memset(&parser, 0, sizeof parser);
    parser.query = query;
    parser.env = &query->env;
    parser.arena = &query->arena;
    sql_read_body(&parser, body, len);
    sql_advance(&parser);
    query->select = sql_parse_select(&parser, false);
    if (parser.token.kind != SQL_T_END) sql_fail_near(&parser, &parser.token);
    sql_bind_select(&parser, query->select, NULL, true);
    sql_find_nearest(query);
    if (query->resume.values && query->resume.count != query->select->order_count) sql_fail_resume(&parser);
    if (query->select->where) sql_write_constants(query, query->select->where);
}

static bool sql_try_parse(emu_sql_query *query, size_t len)
{
    if (setjmp(query->env.leave)) return false;
    sql_parse_query(query, query->request, len);
    return true;
}

emu_sql_query *emu_sql_prepare(const char *body, size_t len, int64_t now_ms, aioc_mem *memory, emu_sql_error *error)
{
    emu_sql_query *query = (emu_sql_query *)sql_take(memory, sizeof *query);
    char *copy = (char *)sql_take(memory, len + 1);
    memset(error, 0, sizeof *error);
    if (!query || !copy) {
        sql_give(memory, query, sizeof *query);
        sql_give(memory, copy, len + 1);
        error->status = 503;
        snprintf(error->message, sizeof error->message, "The emulator is out of memory.");
        return NULL;
    }
    memcpy(copy, body, len);
    query->request = copy;
    query->request_size = len + 1;
    query->now_ms = now_ms;
    sql_env_init(&query->env, memory, SQL_MEMORY_PREPARE);
    sql_arena_init(&query->arena, &query->env, SQL_MEMORY_PREPARE);
    aioc_json_open(&query->body, &query->env.memory);
    if (sql_try_parse(query, len)) return query;
    *error = query->env.error;
    emu_sql_free(query);
    return NULL;
}

void emu_sql_free(emu_sql_query *query)
{
    if (!query) return;
    aioc_json_close(&query->body);
    sql_arena_free(&query->arena);
    aioc_mem_buffer_free(&query->env.memory, &query->scratch);
    aioc_mem_close(&query->env.memory);
    sql_give(query->env.parent, query->request, query->request_size);
    sql_give(query->env.parent, query, sizeof *query);
}

static bool sql_try_go_on(emu_sql_query *query, aiocosmos_json_doc *doc, aiocosmos_str keys)
{
    sql_parser parser;
    if (setjmp(query->env.leave)) return false;
    memset(&parser, 0, sizeof parser);
    parser.query = query;
    parser.env = &query->env;
    parser.arena = &query->arena;
    sql_allow_steps(&query->env);
    keys = sql_copy_str(&query->arena, keys);              /* strings of the values point into it */
    if (aioc_json_parse(doc, keys.ptr, keys.len) != 0) return false;
    sql_read_resume_values(&parser, aioc_json_root(doc));
    return query->resume.count == query->select->order_count;
}

bool emu_sql_go_on(emu_sql_query *query, aiocosmos_str keys, uint64_t rid, uint64_t same, int64_t given)
{
    aiocosmos_json_doc doc;
    bool ok;
    aioc_json_open(&doc, &query->env.memory);
    ok = sql_try_go_on(query, &doc, keys);
    aioc_json_close(&doc);
    query->resume.exclude = false;
    query->resume.has_rid = true;
    query->resume.rid = rid;
    query->resume.same = same;
    query->given = given;
    return ok;
}

bool emu_sql_is_ordered(const emu_sql_query *query)
{
    const sql_select *select = query->select;
    if (!select->order_count || select->distinct || select->group_count || select->aggregate_count) return false;
    while (select->source_count && (select = select->sources[0].select) != NULL)
        if (select->top >= 0 || select->limit >= 0 || select->distinct || select->group_count ||
            select->aggregate_count) return false;
    return query->select->source_count > 0;
}

bool emu_sql_has_source(const emu_sql_query *query)
{
    return query->select->source_count > 0;
}

bool emu_sql_needs_merge(const emu_sql_query *query)
{
    const sql_select *select = query->select;
    for (; select; select = select->source_count ? select->sources[0].select : NULL)
        if (select->top >= 0 || select->limit >= 0 || select->order_count || select->rank || select->aggregate_count ||
            select->group_count || select->distinct)
            return true;
    return false;
}

bool emu_sql_ranks(const emu_sql_query *query)
{
    return query->select->rank != NULL;
}

static void sql_read_embedding(emu_sql_query *query, aiocosmos_json embedding)
{
    static const char *const names[2] = {"path", "distanceFunction"};
    aiocosmos_json fields[2];
    char path[256], name[32];
    size_t len;
    uint32_t i, j;
    aioc_json_fields(embedding, names, 2, fields);
    if (fields[0].type != AIOCOSMOS_JSON_STR || fields[0].len > sizeof path ||
        fields[1].type != AIOCOSMOS_JSON_STR || fields[1].len > sizeof name) return;
    len = aioc_json_get_str(fields[0], path, sizeof path);
    path[len] = '\0';
    for (i = 0; i < query->distance_count; i++) {
        sql_node *node = query->distances[i];
        for (j = 0; j < 2; j++) {
            const sql_node *vector = node->children[j], *root = sql_path_root(vector);
            if (root->kind == SQL_ALIAS && sql_is_path(vector, root->slot, path, len))
                sql_take_distance(node, sql_str(name, aioc_json_get_str(fields[1], name, sizeof name)));
        }
    }
}

/* May leave. Not inlined: what it keeps in registers is not what setjmp() would find there. */
__attribute__((noinline))
static void sql_read_embeddings(emu_sql_query *query, aiocosmos_json embeddings)
{
    aiocosmos_json embedding;
    memset(&embedding, 0, sizeof embedding);
    while (embeddings.type == AIOCOSMOS_JSON_ARR && aioc_json_next(embeddings, NULL, &embedding))
        if (embedding.type == AIOCOSMOS_JSON_OBJ) sql_read_embedding(query, embedding);
    sql_find_nearest(query);
}

static bool sql_try_define(emu_sql_query *query, aiocosmos_json embeddings)
{
    if (setjmp(query->env.leave)) return false;
    sql_read_embeddings(query, embeddings);
    return true;
}

void emu_sql_define(emu_sql_query *query, const char *definition, size_t len)
{
    aiocosmos_json_doc doc;
    if (!query->distance_count) return;
    aioc_json_open(&doc, &query->env.memory);
    if (aioc_json_parse(&doc, definition, len) == 0)
        sql_try_define(query, aioc_json_at(aioc_json_root(&doc), "/vectorEmbeddingPolicy/vectorEmbeddings"));
    aioc_json_close(&doc);
}

void emu_sql_set_flat(emu_sql_query *query, bool flat)
{
    query->env.flat = flat;
}

static const sql_node *sql_implied(const sql_node *node, uint32_t slot, const char *path)
{
    uint32_t i;
    if (node->kind == SQL_AND) {
        for (i = 0; i < node->count; i++) {
            const sql_node *found = sql_implied(node->children[i], slot, path);
            if (found) return found;
        }
    }
    if ((node->kind == SQL_BINARY && node->op == SQL_OP_EQUAL) ||
        (node->kind == SQL_IN && !node->negated && node->count == 2)) {
        for (i = 0; i < 2; i++)
            if (node->children[i]->kind == SQL_CONSTANT && sql_is_path(node->children[1 - i], slot, path, strlen(path)))
                return node->children[i];
    }
    return NULL;
}

bool emu_sql_equals(const emu_sql_query *query, const char *path, aiocosmos_str *json_value)
{
    const sql_select *select = query->select;
    const sql_source *source = select->sources;
    const sql_node *constant;
    if (!select->where || !select->source_count || !source->whole || source->each || source->path->kind != SQL_ALIAS)
        return false;
    constant = sql_implied(select->where, source->slot, path);
    if (!constant || constant->value.type == SQL_UNDEFINED) return false;
    *json_value = constant->json;
    return true;
}
