/* plan.c: query plans. What the gateway tells a client that wants to ask every partition itself: what to send
 * to each (the rewritten query), how to put the answers together, and which part of the key space to ask.
 *
 *     tree → text in the service's own spelling → rewritten query
 *     WHERE → combinations of key values that it lets through → ranges of effective partition keys
 *
 * The shapes are those of the plans in the .NET SDK's tests. */
#include "bind.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAN_MEMORY       ((size_t)64 * 1024 * 1024)
#define PLAN_LEVELS       AIOC_PROTOCOL_PK_LEVELS
#define PLAN_TUPLES_MAX   10000u                           /* combinations of key values; more: the whole key space */
#define PLAN_PRODUCTS_MAX 100000u                          /* pairs looked at to AND two sets */
#define PLAN_FILTER       "({documentdb-formattableorderbyquery-filter})"

typedef struct plan {
    sql_env env;
    sql_arena arena;
    const emu_sql_query *query;
    const emu_sql_key *key;
    aiocosmos_str features;
    const sql_select *select;          /* the query, or what is counted by a query of the form of DCOUNT */
    const sql_node *dcount;            /* its COUNT */
    aiocosmos_str dcount_alias;
    sql_node *const *components;       /* of ORDER BY RANK */
    uint32_t component_count;
    const sql_node *weights;           /* of them, or NULL */
    aioc_mem_buffer text;              /* SQL being written */
    aioc_mem_buffer json;              /* the plan */
} plan;

/*------------------------------------------------------------------------------
 * MARK: - Expressions as text
 *----------------------------------------------------------------------------*/

static void plan_put(plan *p, const char *text)
{
    sql_put(&p->env, &p->text, text, strlen(text));
}

static void plan_put_str(plan *p, aiocosmos_str text)
{
    sql_put(&p->env, &p->text, text.ptr, text.len);
}

static void plan_put_quoted(plan *p, aiocosmos_str text)
{
    sql_put_string(&p->env, &p->text, text);
}

static void plan_put_count(plan *p, int64_t number)
{
    char text[AIOC_JSON_NUMBER_MAX];
    sql_put(&p->env, &p->text, text, aioc_json_i64_write(number, text));
}

/* Fifteen digits where they are enough, else seventeen. */
static void plan_put_number(plan *p, const sql_value *value)
{
    double real = value->as.number.real;
    char text[40];
    if (value->whole) {
        plan_put_count(p, value->as.number.integer);
    } else if (isnan(real) || isinf(real)) {
        plan_put(p, isnan(real) ? "NaN" : real < 0 ? "-Infinity" : "Infinity");
    } else {
        snprintf(text, sizeof text, "%.15g", real);
        if (strtod(text, NULL) != real) snprintf(text, sizeof text, "%.17g", real);
        plan_put(p, text);
    }
}

static void plan_put_constant(plan *p, const sql_node *node)
{
    const sql_value *value = &node->value;
    if (node->name.ptr) plan_put_str(p, node->name);       /* a parameter goes along with the rewritten query */
    else if (value->type == SQL_STRING) plan_put_quoted(p, value->as.string);
    else if (value->type == SQL_NUMBER) plan_put_number(p, value);
    else if (value->type == SQL_BOOL) plan_put(p, value->truth ? "true" : "false");
    else plan_put(p, value->type == SQL_NULL ? "null" : "undefined");
}

/* The name of a call as it was written. */
static aiocosmos_str plan_called(const plan *p, const sql_node *node)
{
    aiocosmos_str name;
    name.ptr = p->query->text + node->start;
    for (name.len = 0; name.ptr[name.len] != '(' && name.ptr[name.len] > ' '; name.len++) continue;
    return name;
}

static void plan_put_node(plan *p, const sql_node *node, int indent);
static void plan_put_select(plan *p, const sql_select *select, int indent);

static void plan_put_list(plan *p, const sql_node *node, uint32_t from, int indent)
{
    uint32_t i;
    for (i = from; i < node->count; i++) {
        if (i > from) plan_put(p, ", ");
        plan_put_node(p, node->children[i], indent);
    }
}

static void plan_put_object(plan *p, const sql_node *node, int indent)
{
    uint32_t i;
    plan_put(p, "{");
    for (i = 0; i < node->count; i++) {
        if (i) plan_put(p, ", ");
        plan_put_quoted(p, node->names[i]);
        plan_put(p, ": ");
        plan_put_node(p, node->children[i], indent);
    }
    plan_put(p, "}");
}

/* (a op b), and of chains ((a op b) op c). */
static void plan_put_chain(plan *p, const sql_node *node, const char *mark, int indent)
{
    uint32_t i;
    for (i = 1; i < node->count; i++) plan_put(p, "(");
    plan_put_node(p, node->children[0], indent);
    for (i = 1; i < node->count; i++) {
        plan_put(p, " ");
        plan_put(p, mark);
        plan_put(p, " ");
        plan_put_node(p, node->children[i], indent);
        plan_put(p, ")");
    }
}

static void plan_put_unary(plan *p, const sql_node *node, int indent)
{
    plan_put(p, node->op == SQL_OP_NOT ? "(NOT " : node->op == SQL_OP_MINUS ? "(- " : node->op == SQL_OP_PLUS ? "(+ " :
                "(~ ");
    plan_put_node(p, node->children[0], indent);
    plan_put(p, ")");
}

/* BETWEEN, IN, LIKE, and ? : */
static void plan_put_set(plan *p, const sql_node *node, int indent)
{
    plan_put(p, "(");
    plan_put_node(p, node->children[0], indent);
    if (node->negated) plan_put(p, " NOT");
    if (node->kind == SQL_IN) {
        plan_put(p, " IN (");
        plan_put_list(p, node, 1, indent);
        plan_put(p, ")");
    } else {
        plan_put(p, node->kind == SQL_BETWEEN ? " BETWEEN " : node->kind == SQL_LIKE ? " LIKE " : " ? ");
        plan_put_node(p, node->children[1], indent);
        if (node->count > 2) {
            plan_put(p, node->kind == SQL_BETWEEN ? " AND " : node->kind == SQL_LIKE ? " ESCAPE " : " : ");
            plan_put_node(p, node->children[2], indent);
        }
    }
    plan_put(p, ")");
}

static void plan_put_property(plan *p, const sql_node *node, int indent)
{
    plan_put_node(p, node->children[0], indent);
    if (node->kind == SQL_PROPERTY && !node->bracketed) {
        plan_put(p, ".");
        plan_put_str(p, node->name);
        return;
    }
    plan_put(p, "[");
    if (node->kind == SQL_PROPERTY) plan_put_quoted(p, node->name);
    else plan_put_node(p, node->children[1], indent);
    plan_put(p, "]");
}

static void plan_put_line(plan *p, int indent)
{
    plan_put(p, "\n");
    while (indent-- > 0) plan_put(p, "    ");
}

static void plan_put_subquery(plan *p, const sql_select *select, int indent)
{
    plan_put(p, "(");
    plan_put_line(p, indent + 1);
    plan_put_select(p, select, indent + 1);
    plan_put_line(p, indent);
    plan_put(p, ")");
}

static void plan_put_node(plan *p, const sql_node *node, int indent)
{
    switch ((sql_kind)node->kind) {
    case SQL_CONSTANT: plan_put_constant(p, node); break;
    case SQL_NAME:
    case SQL_ALIAS: plan_put_str(p, node->name); break;
    case SQL_GROUP_KEY: plan_put_node(p, node->children[0], indent); break;
    case SQL_PROPERTY:
    case SQL_MEMBER: plan_put_property(p, node, indent); break;
    case SQL_NEW_ARRAY:
        plan_put(p, "[");
        plan_put_list(p, node, 0, indent);
        plan_put(p, "]");
        break;
    case SQL_NEW_OBJECT: plan_put_object(p, node, indent); break;
    case SQL_UNARY: plan_put_unary(p, node, indent); break;
    case SQL_BINARY: plan_put_chain(p, node, sql_operator_mark((sql_op)node->op), indent); break;
    case SQL_AND: plan_put_chain(p, node, "AND", indent); break;
    case SQL_OR: plan_put_chain(p, node, "OR", indent); break;
    case SQL_COALESCE: plan_put_chain(p, node, "??", indent); break;
    case SQL_BETWEEN:
    case SQL_IN:
    case SQL_LIKE:
    case SQL_CONDITIONAL: plan_put_set(p, node, indent); break;
    case SQL_CALL:
    case SQL_AGGREGATE:
        plan_put_str(p, plan_called(p, node));
        plan_put(p, "(");
        plan_put_list(p, node, 0, indent);
        plan_put(p, ")");
        break;
    case SQL_EXISTS:
    case SQL_ARRAY_OF:
        plan_put(p, node->kind == SQL_EXISTS ? "EXISTS" : "ARRAY");
        plan_put_subquery(p, node->select, indent);
        break;
    case SQL_SCALAR: plan_put_subquery(p, node->select, indent); break;
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Clauses as text
 *----------------------------------------------------------------------------*/

static void plan_put_source(plan *p, const sql_source *source, int indent)
{
    if (source->each) {
        plan_put_str(p, source->alias);
        plan_put(p, " IN ");
    }
    if (source->select) plan_put_subquery(p, source->select, indent);
    else plan_put_node(p, source->path, indent);
    if (source->each || !source->alias.ptr) return;
    if (source->path && aioc_mem_same(sql_inferred_name(source->path), source->alias)) return;
    if (source->path && source->path->kind == SQL_ALIAS && aioc_mem_same(source->path->name, source->alias)) return;
    plan_put(p, " AS ");
    plan_put_str(p, source->alias);
}

static void plan_put_from(plan *p, const sql_select *select, int indent)
{
    uint32_t i;
    for (i = 0; i < select->source_count; i++) {
        plan_put_line(p, indent);
        plan_put(p, i ? "JOIN " : "FROM ");
        plan_put_source(p, &select->sources[i], indent);
    }
}

static void plan_put_groups(plan *p, const sql_select *select, int indent)
{
    uint32_t i;
    if (!select->group_count) return;
    plan_put_line(p, indent);
    plan_put(p, "GROUP BY ");
    for (i = 0; i < select->group_count; i++) {
        if (i) plan_put(p, ", ");
        plan_put_node(p, select->groups[i], indent);
    }
}

static void plan_put_orders(plan *p, const sql_select *select, int indent)
{
    uint32_t i;
    if (select->rank) {
        plan_put_line(p, indent);
        plan_put(p, "ORDER BY RANK ");
        plan_put_node(p, select->rank, indent);
    }
    if (!select->order_count) return;
    plan_put_line(p, indent);
    plan_put(p, "ORDER BY ");
    for (i = 0; i < select->order_count; i++) {
        const sql_order_key *key = &select->orders[i];
        if (i) plan_put(p, ", ");
        plan_put_node(p, key->node, indent);
        if (!key->nearest && (key->descending || key->ascending_said)) plan_put(p, key->descending ? " DESC" : " ASC");
    }
}

static void plan_put_limit(plan *p, int64_t offset, int64_t limit, int indent)
{
    if (limit < 0) return;
    plan_put_line(p, indent);
    plan_put(p, "OFFSET ");
    plan_put_count(p, offset);
    plan_put(p, " LIMIT ");
    plan_put_count(p, limit);
}

static void plan_put_top(plan *p, const sql_select *select)
{
    if (select->top < 0) return;
    plan_put(p, "TOP ");
    plan_put_count(p, select->top);
    plan_put(p, " ");
}

static void plan_put_items(plan *p, const sql_select *select, int indent)
{
    uint32_t i;
    if (select->star) {
        plan_put(p, "*");
        return;
    }
    if (select->value) plan_put(p, "VALUE ");
    for (i = 0; i < select->item_count; i++) {
        const sql_node *item = select->items[i], *node = item->kind == SQL_GROUP_KEY ? item->children[0] : item;
        bool numbered = !select->value && select->names[i].len && select->names[i].ptr[0] == '$';
        if (i) plan_put(p, ", ");
        plan_put_node(p, node, indent);
        if (select->value || numbered || aioc_mem_same(select->names[i], sql_inferred_name(node))) continue;
        if (node->kind == SQL_ALIAS && aioc_mem_same(select->names[i], node->name)) continue;
        plan_put(p, " AS ");
        plan_put_str(p, select->names[i]);
    }
}

static void plan_put_where(plan *p, const sql_select *select, int indent)
{
    if (!select->where) return;
    plan_put_line(p, indent);
    plan_put(p, "WHERE ");
    plan_put_node(p, select->where, indent);
}

static void plan_put_select(plan *p, const sql_select *select, int indent)
{
    plan_put(p, "SELECT ");
    if (select->distinct) plan_put(p, "DISTINCT ");
    plan_put_top(p, select);
    plan_put_items(p, select, indent);
    plan_put_from(p, select, indent);
    plan_put_where(p, select, indent);
    plan_put_groups(p, select, indent);
    plan_put_orders(p, select, indent);
    plan_put_limit(p, select->offset, select->limit, indent);
}

/*------------------------------------------------------------------------------
 * MARK: - Rewritten queries
 *----------------------------------------------------------------------------*/

static void plan_put_item(plan *p, const sql_node *node)
{
    plan_put(p, "{\"item\": ");
    plan_put_node(p, node, 0);
    plan_put(p, "}");
}

static void plan_put_applied(plan *p, const char *aggregate, const sql_node *node)
{
    plan_put(p, aggregate);
    plan_put(p, "(");
    plan_put_list(p, node, 0, 0);
    plan_put(p, ")");
}

/* What a partition says of an aggregate, so that others' words can be added to it. */
static void plan_put_partial(plan *p, const sql_node *node)
{
    const char *name = node->op == SQL_MIN ? "MIN" : "MAX";
    if (node->op == SQL_AVG) {
        plan_put(p, "{\"item\": {\"sum\": ");
        plan_put_applied(p, "SUM", node);
        plan_put(p, ", \"count\": ");
        plan_put_applied(p, "COUNT", node);
        plan_put(p, "}}");
    } else if (node->op == SQL_MIN || node->op == SQL_MAX) {
        plan_put(p, "{\"item\": ");
        plan_put_node(p, node, 0);
        plan_put(p, node->op == SQL_MIN ? ", \"item2\": {\"min\": " : ", \"item2\": {\"max\": ");
        plan_put_applied(p, name, node);
        plan_put(p, ", \"count\": ");
        plan_put_applied(p, "COUNT", node);
        plan_put(p, "}}");
    } else {
        plan_put_item(p, node);
    }
}

static void plan_put_payload(plan *p, const sql_select *select)
{
    const sql_node *first = select->items[0];
    uint32_t i;
    if (select->value) {
        bool partial = first->kind == SQL_AGGREGATE;
        if (partial) plan_put(p, "[");
        if (partial) plan_put_partial(p, first);
        else plan_put_node(p, first, 0);
        if (partial) plan_put(p, "]");
        return;
    }
    plan_put(p, "{");
    for (i = 0; i < select->item_count; i++) {
        if (i) plan_put(p, ", ");
        plan_put_quoted(p, select->names[i]);
        plan_put(p, ": ");
        if (select->items[i]->kind == SQL_AGGREGATE) plan_put_partial(p, select->items[i]);
        else plan_put_node(p, select->items[i], 0);
    }
    plan_put(p, "}");
}

static void plan_rewrite_grouped(plan *p, const sql_select *select)
{
    uint32_t i;
    plan_put(p, "SELECT ");
    if (select->group_count) {
        plan_put(p, "[");
        for (i = 0; i < select->group_count; i++) {
            if (i) plan_put(p, ", ");
            plan_put_item(p, select->groups[i]);
        }
        plan_put(p, "] AS groupByItems, ");
    } else if (select->value) {
        plan_put(p, "VALUE ");
    }
    plan_put_payload(p, select);
    if (select->group_count || !select->value) plan_put(p, " AS payload");
    plan_put_from(p, select, 0);
    plan_put_where(p, select, 0);
    plan_put_groups(p, select, 0);
    plan_put_orders(p, select, 0);
}

/* The client puts a filter in the place of the placeholder: true, or where it left off. */
static void plan_put_resumable_where(plan *p, const sql_select *select)
{
    bool value = select->value && !select->star;
    plan_put(p, "\nWHERE ");
    if (value) plan_put(p, "(");
    if (select->where) {
        plan_put(p, "(");
        plan_put_node(p, select->where, 0);
        plan_put(p, " AND ");
    }
    plan_put(p, PLAN_FILTER);
    if (select->where) plan_put(p, ")");
    if (value) {
        plan_put(p, " AND IS_DEFINED(");
        plan_put_node(p, select->items[0], 0);
        plan_put(p, "))");
    }
}

static void plan_rewrite_ordered(plan *p, const sql_select *select)
{
    uint32_t i;
    plan_put(p, "SELECT ");
    if (!select->distinct) plan_put_top(p, select);
    plan_put_str(p, select->sources[0].alias);
    plan_put(p, "._rid, [");
    for (i = 0; i < select->order_count; i++) {
        if (i) plan_put(p, ", ");
        plan_put_item(p, select->orders[i].node);
    }
    plan_put(p, "] AS orderByItems, ");
    plan_put_payload(p, select);
    plan_put(p, " AS payload");
    plan_put_from(p, select, 0);
    plan_put_resumable_where(p, select);
    plan_put_orders(p, select, 0);
    if (!select->distinct && select->limit >= 0) plan_put_limit(p, 0, select->offset + select->limit, 0);
}

/* Leaves out what only the client can do when it has all rows. */
static void plan_rewrite_plain(plan *p, const sql_select *select)
{
    plan_put(p, select->distinct ? "SELECT DISTINCT " : "SELECT ");
    plan_put_items(p, select, 0);
    plan_put_from(p, select, 0);
    plan_put_where(p, select, 0);
    if (!select->distinct && select->limit >= 0) plan_put_limit(p, 0, select->offset + select->limit, 0);
}

static bool plan_is_grouped(const sql_select *select)
{
    return select->group_count || select->aggregate_count;
}

static void plan_rewrite(plan *p, bool one_key)
{
    const sql_select *select = p->select;
    p->text.len = 0;
    if (plan_is_grouped(select)) plan_rewrite_grouped(p, select);
    else if (select->order_count) plan_rewrite_ordered(p, select);
    else if (p->dcount || (select->distinct ? select->top >= 0 || select->limit >= 0 : select->limit >= 0 && !one_key))
        plan_rewrite_plain(p, select);
}

/*------------------------------------------------------------------------------
 * MARK: - What is refused
 *----------------------------------------------------------------------------*/

static void plan_refuse(plan *p, const char *text) __attribute__((noreturn));
static void plan_refuse(plan *p, const char *text)
{
    char message[400];
    snprintf(message, sizeof message, "{\"Errors\":[\"%s\"]}", text);
    sql_fail_plain(&p->env, 400, message);
}

static bool plan_has_aggregate(const sql_node *node)
{
    uint32_t i;
    if (node->kind == SQL_AGGREGATE) return true;
    for (i = 0; i < node->count; i++)
        if (plan_has_aggregate(node->children[i])) return true;
    return false;
}

static void plan_check_items(plan *p, const sql_select *select)
{
    uint32_t i;
    for (i = 0; i < select->item_count; i++)
        if (select->items[i]->kind != SQL_AGGREGATE && plan_has_aggregate(select->items[i]))
            plan_refuse(p, "Compositions of aggregates and other expressions are not allowed.");
}

/* Properties and elements by number, from the alias of the container. */
static bool plan_is_document_path(const sql_select *select, const sql_node *node)
{
    if (node->kind != SQL_PROPERTY && node->kind != SQL_MEMBER) return false;
    for (; node->kind == SQL_PROPERTY || node->kind == SQL_MEMBER; node = node->children[0])
        if (node->kind == SQL_MEMBER && node->children[1]->kind != SQL_CONSTANT) return false;
    return node->kind == SQL_ALIAS && select->sources[0].whole && !select->sources[0].each &&
           node->slot == select->sources[0].slot;
}

/* Computed for each document, so that rows come sorted in no index. */
static bool plan_is_nearness(const sql_node *node)
{
    return sql_calls(node, "VectorDistance") || sql_calls(node, "_FullTextScore");
}

static void plan_check_orders(plan *p, const sql_select *select)
{
    uint32_t i;
    for (i = 0; i < select->order_count; i++) {
        const sql_node *node = select->orders[i].node;
        if (plan_is_document_path(select, node) || plan_is_nearness(node)) continue;
        if (node->kind != SQL_ALIAS && sql_path_root(node)->kind == SQL_ALIAS && select->source_count > 1)
            plan_refuse(p, "Order-by over correlated collections is not supported.");
        sql_fail_plain(&p->env, 400, "{\"errors\":[{\"severity\":\"Error\",\"code\":2206,\"message\":\"Unsupported "
                       "ORDER BY clause. ORDER BY item expression could not be mapped to a document path.\"}]}");
    }
}

/* Nothing in it has to be merged. */
static bool plan_is_plain(const sql_select *select)
{
    return !plan_is_grouped(select) && !select->distinct && !select->order_count && !select->rank &&
           select->top < 0 && select->limit < 0;
}

/* SELECT [VALUE] COUNT(1) FROM (SELECT DISTINCT ...) */
static bool plan_take_dcount(plan *p, const sql_select *select)
{
    const sql_select *inner = select->sources[0].select;
    const sql_node *count = select->item_count == 1 ? select->items[0] : NULL;
    const sql_node *what = count && count->kind == SQL_AGGREGATE && count->op == SQL_COUNT ? count->children[0] : NULL;
    if (select->source_count != 1 || select->where || select->group_count || select->order_count || select->distinct ||
        select->top >= 0 || select->limit >= 0 || !what) return false;
    if (what->kind != SQL_CONSTANT && what->kind != SQL_ALIAS) return false;
    if (what->kind == SQL_CONSTANT && what->value.type == SQL_UNDEFINED) return false;
    if (!inner->distinct || plan_is_grouped(inner) || (inner->source_count && inner->sources[0].select)) return false;
    p->dcount = count;
    if (!select->value) p->dcount_alias = select->names[0];
    p->select = inner;
    return true;
}

/* FullTextScore, VectorDistance, or RRF of several of them and perhaps an array of as many weights. */
static void plan_check_rank(plan *p, const sql_select *select)
{
    const sql_node *rank = select->rank;
    bool fused = sql_calls(rank, "RRF");
    uint32_t i, count = fused ? rank->count : 1;
    if (select->distinct || plan_is_grouped(select))
        plan_refuse(p, "ORDER BY RANK with DISTINCT, GROUP BY or an aggregate is not supported.");
    if (fused && rank->children[count - 1]->kind == SQL_NEW_ARRAY) {
        const sql_node *weights = rank->children[--count];
        for (i = 0; i < weights->count; i++)
            if (weights->children[i]->kind != SQL_CONSTANT || weights->children[i]->value.type != SQL_NUMBER) break;
        if (i < weights->count || weights->count != count)
            plan_refuse(p, "The weights of RRF must be as many numbers as it has scores.");
        p->weights = weights;
    }
    p->components = fused ? rank->children : (sql_node *const *)&select->rank;
    p->component_count = count;
    for (i = 0; i < count; i++)
        if (!sql_calls(p->components[i], "FullTextScore") && !sql_calls(p->components[i], "VectorDistance"))
            plan_refuse(p, "ORDER BY RANK sorts by FullTextScore, VectorDistance, or RRF of several of them.");
    if (count == 0 || (fused && count < 2)) plan_refuse(p, "RRF needs at least two scores.");
}

static void plan_check(plan *p)
{
    const sql_select *select = p->query->select, *inner = select;
    p->select = select;
    while (inner->source_count && inner->sources[0].select) {
        inner = inner->sources[0].select;
        if (plan_is_plain(inner)) continue;
        if (select->sources[0].select == inner && plan_take_dcount(p, select)) return;
        plan_refuse(p, "A subquery over the whole container must not have DISTINCT, GROUP BY or an aggregate in a "
                       "cross partition query.");
    }
    plan_check_items(p, select);
    if (select->distinct && plan_is_grouped(select))
        plan_refuse(p, "DISTINCT with GROUP BY or an aggregate is not supported in a cross partition query.");
    if (!plan_is_grouped(select)) plan_check_orders(p, select);
    if (select->rank) plan_check_rank(p, select);
}

/*------------------------------------------------------------------------------
 * MARK: - Features
 *----------------------------------------------------------------------------*/

/* "Aggregate, Distinct,Top" */
static bool plan_can(const plan *p, const char *feature)
{
    aiocosmos_str rest = p->features;
    size_t len = strlen(feature);
    if (!rest.ptr) return true;
    while (rest.len) {
        size_t i = 0;
        while (rest.len && (rest.ptr[0] == ' ' || rest.ptr[0] == ',')) {
            rest.ptr++;
            rest.len--;
        }
        while (i < rest.len && rest.ptr[i] != ',' && rest.ptr[i] != ' ') i++;
        if (i == len && memcmp(rest.ptr, feature, len) == 0) return true;
        rest.ptr += i;
        rest.len -= i;
    }
    return false;
}

static void plan_need(plan *p, bool needed, const char *feature, const char *clause)
{
    char text[300];
    if (!needed || plan_can(p, feature)) return;
    snprintf(text, sizeof text, "The query contains 1 or more unsupported features. Upgrade your SDK to a version that "
             "does support the requested features:\\r\\n\\tQuery contained %s, which the calling client does not "
             "support (%s).", clause, feature);
    plan_refuse(p, text);
}

static bool plan_is_non_streaming(const sql_select *select)
{
    uint32_t i;
    for (i = 0; i < select->order_count; i++)
        if (plan_is_nearness(select->orders[i].node)) return !plan_is_grouped(select);
    return false;
}

static void plan_check_features(plan *p)
{
    const sql_select *select = p->select;
    uint32_t i, aggregates = select->aggregate_count;
    if (p->dcount) {
        plan_need(p, true, "DCount", "DCOUNT");
        return;
    }
    plan_need(p, select->rank, "HybridSearch", "ORDER BY RANK");
    plan_need(p, p->weights, "WeightedRankFusion", "weights in RRF");
    plan_need(p, plan_is_non_streaming(select), "NonStreamingOrderBy", "ORDER BY VectorDistance");
    plan_need(p, select->top >= 0, "Top", "TOP");
    plan_need(p, select->limit >= 0, "OffsetAndLimit", "OFFSET LIMIT");
    plan_need(p, select->distinct, "Distinct", "DISTINCT");
    plan_need(p, select->order_count && !plan_is_grouped(select), "OrderBy", "ORDER BY");
    plan_need(p, select->order_count > 1 && !plan_is_grouped(select), "MultipleOrderBy", "multiple ORDER BY");
    plan_need(p, select->group_count, "GroupBy", "GROUP BY");
    plan_need(p, aggregates, "Aggregate", "an aggregate");
    plan_need(p, aggregates > 1, "MultipleAggregates", "multiple aggregates");
    plan_need(p, aggregates && !select->value, "NonValueAggregate", "an aggregate without VALUE");
    for (i = 0; i < aggregates; i++) {
        uint8_t op = select->aggregates[i]->op;
        plan_need(p, op == SQL_COUNTIF, "CountIf", "COUNTIF");
        plan_need(p, op == SQL_MAKELIST || op == SQL_MAKESET, "ListAndSetAggregate", "MAKELIST or MAKESET");
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Keys that WHERE lets through
 *----------------------------------------------------------------------------*/

/* One combination of key values; NULL: any value. */
typedef struct plan_tuple { const sql_value *value[PLAN_LEVELS]; } plan_tuple;
typedef struct plan_set { plan_tuple *tuples; size_t count; } plan_set;   /* no tuple: nothing gets through */

static plan_set plan_set_make(plan *p, size_t cap)
{
    plan_set set;
    set.tuples = (plan_tuple *)sql_alloc(&p->arena, (cap ? cap : 1) * sizeof *set.tuples);
    set.count = 0;
    memset(set.tuples, 0, (cap ? cap : 1) * sizeof *set.tuples);
    return set;
}

static plan_set plan_set_all(plan *p)
{
    plan_set set = plan_set_make(p, 1);
    set.count = 1;
    return set;
}

static plan_set plan_set_of(plan *p, size_t level, const sql_value *values, size_t count)
{
    plan_set set = plan_set_make(p, count);
    for (; set.count < count; set.count++) set.tuples[set.count].value[level] = &values[set.count];
    return set;
}

/* Each dropped conjunct only lets more through, so that a product too large is given up for one of its factors. */
static plan_set plan_set_and(plan *p, plan_set a, plan_set b)
{
    plan_set both;
    size_t i, j, k;
    if (a.count && b.count > PLAN_PRODUCTS_MAX / a.count) return a.count < b.count ? a : b;
    both = plan_set_make(p, a.count * b.count < PLAN_TUPLES_MAX ? a.count * b.count : PLAN_TUPLES_MAX);
    for (i = 0; i < a.count; i++) {
        for (j = 0; j < b.count; j++) {
            plan_tuple tuple = a.tuples[i];
            for (k = 0; k < PLAN_LEVELS; k++) {
                const sql_value *other = b.tuples[j].value[k];
                if (!tuple.value[k]) tuple.value[k] = other;
                else if (other && !sql_equal(&p->arena, tuple.value[k], other)) break;
            }
            if (k < PLAN_LEVELS) continue;
            if (both.count == PLAN_TUPLES_MAX) return a.count < b.count ? a : b;
            both.tuples[both.count++] = tuple;
        }
    }
    return both;
}

static plan_set plan_set_or(plan *p, plan_set a, plan_set b)
{
    plan_set any;
    if (a.count + b.count > PLAN_TUPLES_MAX) return plan_set_all(p);
    any = plan_set_make(p, a.count + b.count);
    memcpy(any.tuples, a.tuples, a.count * sizeof *a.tuples);
    memcpy(any.tuples + a.count, b.tuples, b.count * sizeof *b.tuples);
    any.count = a.count + b.count;
    return any;
}

/* The level of the key that the node is the path of; PLAN_LEVELS: none. */
static size_t plan_level(const plan *p, const sql_source *source, const sql_node *node)
{
    size_t i;
    for (i = 0; i < p->key->path_count && i < PLAN_LEVELS; i++) {
        char path[256];
        aiocosmos_str text = p->key->paths[i];
        if (text.len >= sizeof path) continue;
        memcpy(path, text.ptr, text.len);
        path[text.len] = 0;
        if (sql_is_path(node, source->slot, path, text.len)) return i;
    }
    return PLAN_LEVELS;
}

/* NULL: no constant. Arrays and objects are all the same to a key: no value. */
static const sql_value *plan_constant(const sql_node *node)
{
    static sql_members none;
    static const sql_value array = {.type = SQL_ARRAY, .as = {.members = &none}};
    if (node->kind == SQL_CONSTANT && node->value.type < SQL_ARRAY) return &node->value;
    return node->kind == SQL_CONSTANT || node->kind == SQL_NEW_ARRAY || node->kind == SQL_NEW_OBJECT ? &array : NULL;
}

static sql_value *plan_new_bools(plan *p, bool first, size_t count)
{
    sql_value *values = (sql_value *)sql_alloc(&p->arena, 2 * sizeof *values);
    size_t i;
    memset(values, 0, 2 * sizeof *values);
    for (i = 0; i < count; i++) {
        values[i].type = SQL_BOOL;
        values[i].truth = first != (i == 1);
    }
    return values;
}

/* path = constant, ABS(path) = constant */
static plan_set plan_keys_equal(plan *p, const sql_source *source, const sql_node *what, const sql_node *to)
{
    const sql_value *constant = plan_constant(to);
    bool absolute = sql_calls(what, "ABS");
    size_t level = plan_level(p, source, absolute ? what->children[0] : what);
    sql_value *values;
    if (!constant || level == PLAN_LEVELS) return plan_set_all(p);
    if (constant->type == SQL_UNDEFINED) return plan_set_make(p, 0);
    if (!absolute) return plan_set_of(p, level, constant, 1);
    if (constant->type != SQL_NUMBER || constant->as.number.real < 0) return plan_set_make(p, 0);
    values = (sql_value *)sql_alloc(&p->arena, 2 * sizeof *values);
    values[0] = values[1] = *constant;
    values[1].as.number.real = -values[1].as.number.real;
    values[1].whole = false;
    return plan_set_of(p, level, values, constant->as.number.real == 0 ? 1 : 2);
}

/* path IN (...), ARRAY_CONTAINS([...], path): the constants among the children of `list` from `first` on. */
static plan_set plan_keys_in(plan *p, size_t level, const sql_node *list, uint32_t first)
{
    plan_set set;
    uint32_t i;
    if (level == PLAN_LEVELS || list->count - first > PLAN_TUPLES_MAX) return plan_set_all(p);
    set = plan_set_make(p, list->count - first);
    for (i = first; i < list->count; i++) {
        const sql_value *constant = plan_constant(list->children[i]);
        if (!constant) return plan_set_all(p);
        if (constant->type != SQL_UNDEFINED) set.tuples[set.count++].value[level] = constant;
    }
    return set;
}

/* path LIKE 'text without a wildcard' */
static plan_set plan_keys_like(plan *p, const sql_source *source, const sql_node *node)
{
    size_t level = plan_level(p, source, node->children[0]), i, n = 0;
    const sql_node *pattern = node->children[1];
    aiocosmos_str text = pattern->value.as.string;
    char escape = node->count > 2 ? node->children[2]->value.as.string.ptr[0] : 0, *plain;
    sql_value *value;
    if (level == PLAN_LEVELS || pattern->kind != SQL_CONSTANT || pattern->value.type != SQL_STRING ||
        node->negated || (escape && node->children[2]->value.as.string.len != 1)) return plan_set_all(p);
    plain = (char *)sql_alloc(&p->arena, text.len + 1);
    for (i = 0; i < text.len; i++) {
        if (escape && text.ptr[i] == escape && i + 1 < text.len) i++;
        else if (strchr("%_[", text.ptr[i]) && text.ptr[i]) return plan_set_all(p);
        plain[n++] = text.ptr[i];
    }
    value = (sql_value *)sql_alloc(&p->arena, sizeof *value);
    memset(value, 0, sizeof *value);
    value->type = SQL_STRING;
    value->as.string.ptr = plain;
    value->as.string.len = n;
    return plan_set_of(p, level, value, 1);
}

static plan_set plan_keys_call(plan *p, const sql_source *source, const sql_node *node)
{
    static const sql_value null = {.type = SQL_NULL};
    size_t level = node->count ? plan_level(p, source, node->children[0]) : PLAN_LEVELS;
    if (sql_calls(node, "ARRAY_CONTAINS") && node->count == 2 && node->children[0]->kind == SQL_NEW_ARRAY)
        return plan_keys_in(p, plan_level(p, source, node->children[1]), node->children[0], 0);
    if (level == PLAN_LEVELS) return plan_set_all(p);
    if (sql_calls(node, "IS_NULL")) return plan_set_of(p, level, &null, 1);
    if (sql_calls(node, "IS_BOOL") || sql_calls(node, "IS_BOOLEAN"))
        return plan_set_of(p, level, plan_new_bools(p, false, 2), 2);
    if (sql_calls(node, "STRINGEQUALS") && node->count == 2)
        return plan_keys_equal(p, source, node->children[0], node->children[1]);
    return plan_set_all(p);
}

static plan_set plan_keys_not(plan *p, const sql_source *source, const sql_node *node)
{
    static const sql_value undefined;
    size_t level = plan_level(p, source, node);
    if (level < PLAN_LEVELS) return plan_set_of(p, level, plan_new_bools(p, false, 1), 1);
    if (sql_calls(node, "IS_DEFINED")) {
        level = plan_level(p, source, node->children[0]);
        if (level < PLAN_LEVELS) return plan_set_of(p, level, &undefined, 1);
    }
    if (node->kind == SQL_CONSTANT && !(node->value.type == SQL_BOOL && !node->value.truth)) return plan_set_make(p, 0);
    return plan_set_all(p);
}

static plan_set plan_keys(plan *p, const sql_source *source, const sql_node *node)
{
    plan_set set;
    size_t level;
    uint32_t i;
    switch ((sql_kind)node->kind) {
    case SQL_AND:
    case SQL_OR:
        set = plan_keys(p, source, node->children[0]);
        for (i = 1; i < node->count; i++) {
            plan_set more = plan_keys(p, source, node->children[i]);
            set = node->kind == SQL_AND ? plan_set_and(p, set, more) : plan_set_or(p, set, more);
        }
        return set;
    case SQL_BINARY:
        if (node->op != SQL_OP_EQUAL) return plan_set_all(p);
        return plan_set_and(p, plan_keys_equal(p, source, node->children[0], node->children[1]),
                            plan_keys_equal(p, source, node->children[1], node->children[0]));
    case SQL_IN:
        if (node->negated) return plan_set_all(p);
        return plan_keys_in(p, plan_level(p, source, node->children[0]), node, 1);
    case SQL_LIKE: return plan_keys_like(p, source, node);
    case SQL_CALL: return plan_keys_call(p, source, node);
    case SQL_UNARY:
        return node->op == SQL_OP_NOT ? plan_keys_not(p, source, node->children[0]) : plan_set_all(p);
    case SQL_CONSTANT:
        return node->value.type == SQL_BOOL && node->value.truth ? plan_set_all(p) : plan_set_make(p, 0);
    case SQL_PROPERTY:
        level = plan_level(p, source, node);
        if (level < PLAN_LEVELS) return plan_set_of(p, level, plan_new_bools(p, true, 1), 1);
        return plan_set_all(p);
    default: return plan_set_all(p);
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Ranges
 *----------------------------------------------------------------------------*/

typedef struct plan_range {
    char min[AIOC_PROTOCOL_EPK_MAX], max[AIOC_PROTOCOL_EPK_MAX];
    bool point;
} plan_range;

typedef struct plan_ranges { plan_range *at; size_t count; } plan_ranges;

static void plan_key_value(const sql_value *value, aiocosmos_value *out)
{
    memset(out, 0, sizeof *out);
    switch (value->type) {
    case SQL_NULL: out->type = AIOCOSMOS_VALUE_NULL; break;
    case SQL_BOOL:
        out->type = AIOCOSMOS_VALUE_BOOL;
        out->i64 = value->truth;
        break;
    case SQL_NUMBER:
        out->type = AIOCOSMOS_VALUE_F64;
        out->f64 = value->as.number.real + 0.0;            /* -0 is 0 */
        break;
    case SQL_STRING:
        out->type = AIOCOSMOS_VALUE_STR;
        out->str = value->as.string.ptr;
        out->len = value->as.string.len;
        break;
    default: out->type = AIOCOSMOS_VALUE_NONE;
    }
}

/* False: this combination can be anywhere. */
static bool plan_range_of(plan *p, const plan_tuple *tuple, plan_range *range)
{
    const emu_sql_key *key = p->key;
    aiocosmos_value values[PLAN_LEVELS];
    size_t count = 0;
    for (; count < key->path_count && count < PLAN_LEVELS && tuple->value[count]; count++)
        plan_key_value(tuple->value[count], &values[count]);
    if (count == 0 || (count < key->path_count && !key->hierarchical)) return false;
    if (!key->epk(key->user, values, count, range->min, sizeof range->min)) return false;
    range->point = count == key->path_count;
    snprintf(range->max, sizeof range->max, "%.*s%s", (int)(sizeof range->max - 3), range->min,
             range->point ? "" : "FF");
    return true;
}

static int plan_compare_ranges(const void *left, const void *right)
{
    const plan_range *a = (const plan_range *)left, *b = (const plan_range *)right;
    int order = aioc_protocol_epk_compare(aioc_mem_str(a->min), aioc_mem_str(b->min));
    return order ? order : (int)a->point - (int)b->point;  /* a range goes before the points in it */
}

static plan_ranges plan_whole(plan *p)
{
    plan_ranges ranges;
    ranges.at = (plan_range *)sql_alloc(&p->arena, sizeof *ranges.at);
    ranges.count = 1;
    memset(ranges.at, 0, sizeof *ranges.at);
    memcpy(ranges.at->max, "FF", 3);
    return ranges;
}

/* Sorted, each once, and no point that a range has already. */
static plan_ranges plan_ranges_of(plan *p, plan_set set)
{
    plan_ranges ranges;
    size_t i, n = 0;
    ranges.at = (plan_range *)sql_alloc(&p->arena, (set.count + 1) * sizeof *ranges.at);
    ranges.count = 1;
    memset(ranges.at, 0, sizeof *ranges.at);
    ranges.at->point = true;                               /* the key "", which nothing has */
    if (!set.count) return ranges;
    for (i = 0; i < set.count; i++)
        if (!plan_range_of(p, &set.tuples[i], &ranges.at[i])) return plan_whole(p);
    qsort(ranges.at, set.count, sizeof *ranges.at, plan_compare_ranges);
    for (i = 1; i < set.count; i++) {
        const plan_range *last = &ranges.at[n], *next = &ranges.at[i];
        if (strcmp(last->min, next->min) == 0) continue;
        if (!last->point && aioc_protocol_epk_compare(aioc_mem_str(next->min), aioc_mem_str(last->max)) < 0)
            continue;
        ranges.at[++n] = *next;
    }
    ranges.count = n + 1;
    return ranges;
}

static plan_ranges plan_find_ranges(plan *p)
{
    const sql_select *select = p->query->select;
    const sql_source *source;
    plan_set none;
    memset(&none, 0, sizeof none);
    while (select->source_count && select->sources[0].select) select = select->sources[0].select;
    source = select->sources;
    if (!select->source_count || !source->whole) return plan_ranges_of(p, none);
    if (!select->where) return plan_whole(p);
    return plan_ranges_of(p, plan_keys(p, source, select->where));
}

/*------------------------------------------------------------------------------
 * MARK: - The plan as JSON
 *----------------------------------------------------------------------------*/

static void plan_json(plan *p, const char *text)
{
    sql_put(&p->env, &p->json, text, strlen(text));
}

static void plan_json_string(plan *p, aiocosmos_str text)
{
    sql_put_string(&p->env, &p->json, text);
}

static void plan_json_count(plan *p, const char *name, int64_t count)
{
    char text[AIOC_JSON_NUMBER_MAX];
    plan_json(p, name);
    if (count < 0) plan_json(p, "null");
    else sql_put(&p->env, &p->json, text, aioc_json_i64_write(count, text));
}

/* p->text, as a string. */
static void plan_json_text(plan *p)
{
    aiocosmos_str text;
    text.ptr = p->text.data ? p->text.data : "";
    text.len = p->text.len;
    plan_json_string(p, text);
}

static void plan_json_node(plan *p, const sql_node *node)
{
    p->text.len = 0;
    plan_put_node(p, node, 0);
    plan_json_text(p);
}

static const char *plan_aggregate_name(const sql_node *node)
{
    static const char *const names[] = {
        "\"Average\"", "\"Count\"", "\"CountIf\"", "\"MakeList\"", "\"MakeSet\"", "\"Max\"", "\"Min\"", "\"Sum\""
    };
    return node->kind == SQL_AGGREGATE ? names[node->op] : "null";
}

/* Equal rows stand together if the rows are made of what they are sorted by, all of it and nothing else. */
static bool plan_sorts_rows(const sql_select *select)
{
    uint32_t i, j;
    if (!select->order_count || select->star) return false;
    for (i = 0; i < select->order_count; i++) {
        for (j = 0; j < select->item_count && !sql_same_node(select->orders[i].node, select->items[j]); j++) continue;
        if (j == select->item_count) return false;
    }
    for (j = 0; j < select->item_count; j++) {
        for (i = 0; i < select->order_count && !sql_same_node(select->orders[i].node, select->items[j]); i++) continue;
        if (i == select->order_count) return false;
    }
    return true;
}

static void plan_json_orders(plan *p, const sql_select *select)
{
    uint32_t i, count = plan_is_grouped(select) ? 0 : select->order_count;
    plan_json(p, ",\"orderBy\":[");
    for (i = 0; i < count; i++) {
        if (i) plan_json(p, ",");
        plan_json(p, select->orders[i].descending ? "\"Descending\"" : "\"Ascending\"");
    }
    plan_json(p, "],\"orderByExpressions\":[");
    for (i = 0; i < count; i++) {
        if (i) plan_json(p, ",");
        plan_json_node(p, select->orders[i].node);
    }
    plan_json(p, "]");
}

static void plan_json_groups(plan *p, const sql_select *select)
{
    bool aliases = plan_is_grouped(select) && !select->value;
    uint32_t i;
    plan_json(p, ",\"groupByExpressions\":[");
    for (i = 0; i < select->group_count; i++) {
        if (i) plan_json(p, ",");
        plan_json_node(p, select->groups[i]);
    }
    plan_json(p, "],\"groupByAliases\":[");
    for (i = 0; aliases && i < select->item_count; i++) {
        if (i) plan_json(p, ",");
        plan_json_string(p, select->names[i]);
    }
    plan_json(p, "],\"aggregates\":[");
    if (select->value && plan_is_grouped(select) && select->items[0]->kind == SQL_AGGREGATE)
        plan_json(p, plan_aggregate_name(select->items[0]));
    plan_json(p, "],\"groupByAliasToAggregateType\":{");
    for (i = 0; aliases && i < select->item_count; i++) {
        if (i) plan_json(p, ",");
        plan_json_string(p, select->names[i]);
        plan_json(p, ":");
        plan_json(p, plan_aggregate_name(select->items[i]));
    }
    plan_json(p, "}");
}

static void plan_json_info(plan *p, bool one_key)
{
    const sql_select *select = p->select;
    bool limited = select->limit >= 0 && !(one_key && !plan_is_grouped(select) && !select->distinct &&
                                           !select->order_count);
    plan_json(p, "\"queryInfo\":{\"distinctType\":");
    plan_json(p, !select->distinct ? "\"None\"" : plan_sorts_rows(select) ? "\"Ordered\"" : "\"Unordered\"");
    plan_json_count(p, ",\"top\":", select->source_count ? select->top : -1);
    plan_json_count(p, ",\"offset\":", limited ? select->offset : -1);
    plan_json_count(p, ",\"limit\":", limited ? select->limit : -1);
    plan_json_orders(p, select);
    plan_json_groups(p, select);
    plan_rewrite(p, one_key);
    plan_json(p, ",\"rewrittenQuery\":");
    plan_json_text(p);
    plan_json(p, p->query->select->value && !p->query->select->star ? ",\"hasSelectValue\":true" :
                                                                      ",\"hasSelectValue\":false");
    plan_json(p, ",\"dCountInfo\":");
    if (p->dcount) {
        plan_json(p, "{\"dCountAlias\":");
        plan_json_string(p, p->dcount_alias);
        plan_json(p, "}");
    } else {
        plan_json(p, "null");
    }
    plan_json(p, plan_is_non_streaming(select) ? ",\"hasNonStreamingOrderBy\":true}" :
                                                 ",\"hasNonStreamingOrderBy\":false}");
}

/*------------------------------------------------------------------------------
 * MARK: - Hybrid search
 *
 * A full-text score needs to know of all documents how many there are, how many words they have, and how many have each
 * term: the client asks every partition for that first, and puts the sums in the place of the placeholders. Then each
 * score is a query of its own, whose rows carry all scores.
 *----------------------------------------------------------------------------*/

/* The terms of FullTextScore(path, 'a', 'b') or of FullTextScore(path, ['a', 'b']), as an array. */
static void plan_put_terms(plan *p, const sql_node *score)
{
    const sql_node *first = score->children[1];
    bool whole = score->count == 2 && (first->kind == SQL_NEW_ARRAY ||
                                       (first->kind == SQL_CONSTANT && first->value.type == SQL_ARRAY));
    if (whole) {
        plan_put_node(p, first, 0);
    } else {
        plan_put(p, "[");
        plan_put_list(p, score, 1, 0);
        plan_put(p, "]");
    }
}

static void plan_put_hits_of(plan *p, const sql_node *score, uint32_t *count)
{
    plan_put(p, (*count)++ ? ", COUNTIF(FullTextContains(" : "COUNTIF(FullTextContains(");
    plan_put_node(p, score->children[0], 0);
    plan_put(p, ", ");
}

/* How many documents have each term, one COUNTIF each. */
static void plan_put_hits(plan *p, const sql_node *score)
{
    const sql_node *list = score->children[1];
    uint32_t i, count = 0;
    if (score->count == 2 && list->kind == SQL_CONSTANT && list->value.type == SQL_ARRAY) {
        aiocosmos_json array, term;
        array.node = list->value.as.node;
        array.ptr = list->value.text.ptr;
        array.len = list->value.text.len;
        array.type = AIOCOSMOS_JSON_ARR;
        memset(&term, 0, sizeof term);
        while (aioc_json_next(array, NULL, &term)) {
            plan_put_hits_of(p, score, &count);
            sql_put(&p->env, &p->text, term.ptr, term.len);
            plan_put(p, "))");
        }
        return;
    }
    if (score->count != 2 || list->kind != SQL_NEW_ARRAY) list = score;
    for (i = list == score ? 1 : 0; i < list->count; i++) {
        plan_put_hits_of(p, score, &count);
        plan_put_node(p, list->children[i], 0);
        plan_put(p, "))");
    }
}

static void plan_put_statistics(plan *p)
{
    uint32_t i, count = 0;
    plan_put(p, "SELECT COUNT(1) AS documentCount, [");
    for (i = 0; i < p->component_count; i++) {
        const sql_node *score = p->components[i];
        if (!sql_calls(score, "FullTextScore")) continue;
        plan_put(p, count++ ? ", {\"totalWordCount\": SUM(_FullTextWordCount(" :
                              "{\"totalWordCount\": SUM(_FullTextWordCount(");
        plan_put_node(p, score->children[0], 0);
        plan_put(p, ")), \"hitCounts\": [");
        plan_put_hits(p, score);
        plan_put(p, "]}");
    }
    plan_put(p, "] AS fullTextStatistics");
    plan_put_from(p, p->select, 0);
}

/* Placeholders are numbered by component, also where one before is no full-text score. */
static void plan_put_score(plan *p, uint32_t index)
{
    static const char prefix[] = "{documentdb-formattablehybridsearchquery-";
    const sql_node *score = p->components[index];
    if (!sql_calls(score, "FullTextScore")) {
        plan_put_node(p, score, 0);
        return;
    }
    plan_put(p, "_FullTextScore(");
    plan_put_node(p, score->children[0], 0);
    plan_put(p, ", ");
    plan_put_terms(p, score);
    plan_put(p, ", ");
    plan_put(p, prefix);
    plan_put(p, "totaldocumentcount}, ");
    plan_put(p, prefix);
    plan_put(p, "totalwordcount-");
    plan_put_count(p, index);
    plan_put(p, "}, ");
    plan_put(p, prefix);
    plan_put(p, "hitcountsarray-");
    plan_put_count(p, index);
    plan_put(p, "})");
}

static bool plan_ascends(const sql_node *score)
{
    return sql_calls(score, "VectorDistance") && score->op == SQL_EUCLIDEAN;
}

/* A document without a score is the least alike. */
static void plan_put_scores(plan *p)
{
    uint32_t i;
    for (i = 0; i < p->component_count; i++) {
        plan_put(p, i ? ", (" : "(");
        plan_put_score(p, i);
        plan_put(p, plan_ascends(p->components[i]) ? " ?? 1e+300)" : " ?? -1)");
    }
}

/* Twice what is wanted of all, and at least 120, so that the ranks of what comes out are known. */
static int64_t plan_component_rows(int64_t wanted)
{
    if (wanted < 0) return -1;
    return 2 * wanted < 120 ? 120 : 2 * wanted;
}

/* A client that says so gets rows as they are, the best of each range, and sorts them by their scores, the highest
 * first. Those of a single component the official clients hand on as they come, in order of orderByItems. */
static bool plan_skips_rewrite(const plan *p)
{
    uint32_t i;
    if (p->component_count == 1) return false;
    for (i = 0; i < p->component_count; i++)
        if (plan_ascends(p->components[i])) return false;
    return p->features.len && plan_can(p, "HybridSearchSkipOrderByRewrite");
}

static void plan_rewrite_component(plan *p, uint32_t index)
{
    const sql_select *select = p->select;
    int64_t top = plan_component_rows(select->top);
    bool skips = plan_skips_rewrite(p);
    p->text.len = 0;
    plan_put(p, "SELECT ");
    if (top >= 0) {
        plan_put(p, "TOP ");
        plan_put_count(p, top);
        plan_put(p, " ");
    }
    plan_put_str(p, select->sources[0].alias);
    plan_put(p, skips ? "._rid, " : "._rid, [{\"item\": ");
    if (!skips) plan_put_score(p, index);
    if (!skips) plan_put(p, "}] AS orderByItems, {\"payload\": ");
    plan_put_payload(p, select);
    plan_put(p, skips ? " AS payload, [" : ", \"componentScores\": [");
    plan_put_scores(p);
    plan_put(p, skips ? "] AS componentScores" : "]} AS payload");
    plan_put_from(p, select, 0);
    if (skips) plan_put_where(p, select, 0);
    else plan_put_resumable_where(p, select);
    plan_put(p, "\nORDER BY ");
    plan_put_score(p, index);
    if (sql_calls(p->components[index], "FullTextScore")) plan_put(p, " DESC");
    if (select->limit >= 0) plan_put_limit(p, 0, plan_component_rows(select->offset + select->limit), 0);
}

static void plan_json_component(plan *p, uint32_t index)
{
    const sql_select *select = p->select;
    bool skips = plan_skips_rewrite(p), limited = select->limit >= 0 && !skips;
    plan_json(p, index ? ",{\"distinctType\":\"None\"" : "{\"distinctType\":\"None\"");
    plan_json_count(p, ",\"top\":", skips ? -1 : plan_component_rows(select->top));
    plan_json_count(p, ",\"offset\":", limited ? 0 : -1);
    plan_json_count(p, ",\"limit\":", limited ? plan_component_rows(select->offset + select->limit) : -1);
    plan_json(p, skips ? ",\"orderBy\":[],\"orderByExpressions\":["
                 : plan_ascends(p->components[index]) ? ",\"orderBy\":[\"Ascending\"],\"orderByExpressions\":["
                 : ",\"orderBy\":[\"Descending\"],\"orderByExpressions\":[");
    p->text.len = 0;
    if (!skips) plan_put_score(p, index);
    if (!skips) plan_json_text(p);
    plan_json(p, "],\"groupByExpressions\":[],\"groupByAliases\":[],\"aggregates\":[],"
                 "\"groupByAliasToAggregateType\":{},\"rewrittenQuery\":");
    plan_rewrite_component(p, index);
    plan_json_text(p);
    plan_json(p, select->value && !select->star ? ",\"hasSelectValue\":true" : ",\"hasSelectValue\":false");
    plan_json(p, skips ? ",\"hasNonStreamingOrderBy\":false}" : ",\"hasNonStreamingOrderBy\":true}");
}

static void plan_json_hybrid(plan *p)
{
    const sql_select *select = p->select;
    bool statistics = false;
    uint32_t i;
    for (i = 0; i < p->component_count; i++) statistics |= sql_calls(p->components[i], "FullTextScore");
    p->text.len = 0;
    if (statistics) plan_put_statistics(p);
    plan_json(p, "\"hybridSearchQueryInfo\":{\"globalStatisticsQuery\":");
    plan_json_text(p);
    plan_json(p, ",\"componentQueryInfos\":[");
    for (i = 0; i < p->component_count; i++) plan_json_component(p, i);
    plan_json_count(p, "],\"skip\":", select->limit >= 0 ? select->offset : -1);
    plan_json_count(p, ",\"take\":", select->limit >= 0 ? select->limit : select->top);
    for (i = 0; p->weights && i < p->component_count; i++) {
        plan_json(p, i ? "," : ",\"componentWeights\":[");
        p->text.len = 0;
        plan_put_number(p, &p->weights->children[i]->value);
        sql_put(&p->env, &p->json, p->text.data, p->text.len);
    }
    plan_json(p, p->weights ? "],\"requiresGlobalStatistics\":" : ",\"requiresGlobalStatistics\":");
    plan_json(p, statistics ? "true}" : "false}");
}

static void plan_json_ranges(plan *p, plan_ranges ranges)
{
    size_t i;
    plan_json(p, ",\"queryRanges\":[");
    for (i = 0; i < ranges.count; i++) {
        const plan_range *range = &ranges.at[i];
        plan_json(p, i ? ",{\"min\":\"" : "{\"min\":\"");
        plan_json(p, range->min);
        plan_json(p, "\",\"max\":\"");
        plan_json(p, range->max);
        plan_json(p, range->point ? "\",\"isMinInclusive\":true,\"isMaxInclusive\":true}" :
                                    "\",\"isMinInclusive\":true,\"isMaxInclusive\":false}");
    }
    plan_json(p, "]");
}

static void plan_make(plan *p)
{
    plan_ranges ranges;
    plan_check(p);
    plan_check_features(p);
    ranges = plan_find_ranges(p);
    plan_json(p, "{\"partitionedQueryExecutionInfoVersion\":2,");
    if (p->select->rank) plan_json_hybrid(p);
    else plan_json_info(p, ranges.count == 1 && ranges.at->point);
    plan_json_ranges(p, ranges);
    plan_json(p, "}");
}

/*------------------------------------------------------------------------------
 * MARK: - Interface
 *----------------------------------------------------------------------------*/

static void plan_open(plan *p, const emu_sql_query *query)
{
    memset(p, 0, sizeof *p);
    p->query = query;
    sql_env_init(&p->env, query->env.parent, PLAN_MEMORY);
    sql_arena_init(&p->arena, &p->env, PLAN_MEMORY);
}

static void plan_close(plan *p, emu_sql_error *error)
{
    *error = p->env.error;
    sql_arena_free(&p->arena);
    aioc_mem_buffer_free(&p->env.memory, &p->text);
    aioc_mem_buffer_free(&p->env.memory, &p->json);
    aioc_mem_close(&p->env.memory);
}

static bool plan_try(plan *p, void (*make)(plan *p))
{
    if (setjmp(p->env.leave)) return false;
    make(p);
    return true;
}

static void plan_print(plan *p)
{
    plan_put_select(p, p->query->select, 0);
}

bool emu_sql_print(const emu_sql_query *query, void (*emit)(void *user, const char *text, size_t len), void *user,
                   emu_sql_error *error)
{
    plan p;
    bool made;
    plan_open(&p, query);
    made = plan_try(&p, plan_print);
    if (made) emit(user, p.text.data, p.text.len);
    plan_close(&p, error);
    return made;
}

bool emu_sql_plan(const emu_sql_query *query, const emu_sql_key *key, aiocosmos_str features,
                  void (*emit)(void *user, const char *json, size_t len), void *user, emu_sql_error *error)
{
    plan p;
    bool made;
    plan_open(&p, query);
    p.key = key;
    p.features = features;
    made = plan_try(&p, plan_make);
    if (made) emit(user, p.json.data, p.json.len);
    plan_close(&p, error);
    return made;
}
