/* property_queries.h: for the random queries of the simulation: documents that tie, group and collide, and a grammar of
 * all the shapes that a query across partitions may have. */
#ifndef PROPERTY_QUERIES_H
#define PROPERTY_QUERIES_H

#include "property_values.h"

#define PROP_COLUMNS_MAX 3

static const char *prop_pick(sim_random *random, const char *const *from, size_t count)
{
    return from[sim_below(random, count)];
}

#define PROP_PICK(RANDOM, LIST) prop_pick((RANDOM), (LIST), sizeof (LIST) / sizeof *(LIST))

/*--- Documents -------------------------------------------------------------------*/

static const char *const prop_strings[] = {
    "\"\"", "\"a\"", "\"A\"", "\"ab\"", "\"b\"", "\"\\u00e9\"", "\"\xc3\xa9\"", "\"\\ud83d\\ude00\"",
    "\"\xf0\x9f\x98\x80\"", "\"\xef\xbf\xae\"", "\"\\n\\t\\\"\\\\ \\/\"", "\"zz\"", "\"'\""
};

static const char *const prop_numbers[] = {
    "0", "-0", "-0.0", "1", "1.0", "1e0", "-1", "2", "-3", "0.5", "-2.5", "100", "1e2", "9007199254740993",
    "9007199254740992", "-9007199254740993", "9223372036854775807", "-9223372036854775808", "1e300", "-1e300", "1e-7"
};

static const char *const prop_friendly[] = {     /* any sum of these is exact */
    "0", "1", "2", "3", "-1", "0.5", "-2.25", "1.0", "40", "1e3", "1000000"
};

static const char *const prop_nested[] = {
    "[]", "[1]", "[1.0]", "[1,2]", "[\"a\",null]", "{}", "{\"x\":1}", "{\"x\":1,\"y\":2}", "{\"y\":2.0,\"x\":1}",
    "[[],{}]"
};

/* A value of any type; false: none. */
static bool prop_any(sim_random *random, const char **value)
{
    switch (sim_below(random, 12)) {
    case 0: return false;
    case 1: *value = "null"; return true;
    case 2: *value = "false"; return true;
    case 3: *value = "true"; return true;
    case 4: case 5: case 6: *value = PROP_PICK(random, prop_numbers); return true;
    case 7: case 8: case 9: *value = PROP_PICK(random, prop_strings); return true;
    default: *value = PROP_PICK(random, prop_nested); return true;
    }
}

static const char *prop_constant(sim_random *random)
{
    const char *value = "null";
    if (sim_chance(random, 0.4)) return PROP_PICK(random, prop_numbers);
    prop_any(random, &value);
    return value;
}

static void prop_put_any(prop_text *out, sim_random *random, const char *name)
{
    const char *value;
    if (prop_any(random, &value)) prop_put(out, ",\"%s\":%s", name, value);
}

static void prop_put_key_level(prop_text *out, sim_random *random, const char *name)
{
    static const char *const keys[] = {
        "\"eu\"", "\"us\"", "\"asia\"", "\"x\"", "\"\"", "\"\xc3\xa9\"", "1", "2.5", "-7", "0", "true", "false", "null"
    };
    if (sim_chance(random, 0.05)) return;
    if (sim_chance(random, 0.5)) prop_put(out, ",\"%s\":\"k%u\"", name, (unsigned)sim_below(random, 30));
    else prop_put(out, ",\"%s\":%s", name, PROP_PICK(random, keys));
}

static void prop_put_list(prop_text *out, sim_random *random)
{
    unsigned count = (unsigned)sim_below(random, 4), i;
    prop_put_text(out, ",\"list\":[");
    for (i = 0; i < count; i++) {
        const char *value = "0";
        prop_any(random, &value);
        if (i) prop_put_text(out, ",");
        if (sim_chance(random, 0.4)) prop_put(out, "{\"q\":%s}", value);
        else prop_put_text(out, value);
    }
    prop_put_text(out, "]");
}

/* Values are few, so that many are the same. */
static void prop_put_document(prop_text *out, sim_random *random, unsigned number)
{
    prop_put(out, "{\"id\":\"d%u\"", number);
    prop_put_key_level(out, random, "pk");
    prop_put_key_level(out, random, "h");
    prop_put_any(out, random, "a");
    prop_put_any(out, random, "b");
    prop_put_any(out, random, "c d");
    if (sim_chance(random, 0.9)) prop_put(out, ",\"n\":%s", PROP_PICK(random, prop_friendly));
    prop_put(out, ",\"m\":%s", sim_chance(random, 0.97) ? PROP_PICK(random, prop_friendly) : "\"x\"");
    if (sim_chance(random, 0.9)) prop_put(out, ",\"s\":%s", PROP_PICK(random, prop_strings));
    if (sim_chance(random, 0.8)) {
        prop_put(out, ",\"o\":{\"y\":%s", PROP_PICK(random, prop_friendly));
        prop_put_any(out, random, "x");
        prop_put_text(out, "}");
    }
    if (sim_chance(random, 0.8)) prop_put_list(out, random);
    if (sim_chance(random, 0.9))
        prop_put(out, ",\"v\":[%d,%d,%d]", (int)sim_below(random, 5) - 2, (int)sim_below(random, 5) - 2,
                 (int)sim_below(random, 4) + 1);
    prop_put_text(out, "}");
}

/*--- A query ------------------------------------------------------------------------*/

typedef enum prop_shape { PROP_ROWS, PROP_AGGREGATES, PROP_GROUPS, PROP_DISTINCT_COUNT, PROP_VECTOR } prop_shape;

typedef struct prop_query {
    prop_shape shape;
    prop_text sql;
    prop_text truth;                     /* the query that the engine answers over all documents at once */
    char param[64];                      /* JSON of @p; "": there is none */
    unsigned columns;                    /* of ORDER BY; the truth is then rows {"k":[{"item":..},..],"p":..} */
    bool keyed;                          /* the truth has that form, with or without columns */
    bool descending[PROP_COLUMNS_MAX];
    bool distinct;
    uint64_t skip, take;                 /* take UINT64_MAX: all */
    bool many_keys;
    bool stateful;                       /* may hold more than it may, and may have no token */
} prop_query;

typedef struct prop_grammar {
    sim_random *random;
    prop_query *query;
    const char *from;                    /* FROM and what follows, but for WHERE */
    bool joined, of_list;                /* t is an element of c.list; or the only alias */
    prop_text where;
} prop_grammar;

static const char *prop_path(const prop_grammar *g)
{
    static const char *const plain[] = {
        "c.a", "c.a", "c.b", "c[\"c d\"]", "c.n", "c.s", "c.o.x", "c.o.y", "c.pk", "c.h", "c.list[0]", "c.nothing"
    };
    static const char *const joined[] = { "t", "t.q", "c.a", "c.n", "c.s", "c.o.x" };
    static const char *const listed[] = { "t", "t.q" };
    if (g->of_list) return PROP_PICK(g->random, listed);
    return g->joined ? PROP_PICK(g->random, joined) : PROP_PICK(g->random, plain);
}

/* ORDER BY takes properties of the document only. */
static const char *prop_order_path(const prop_grammar *g)
{
    static const char *const paths[] = {
        "c.a", "c.b", "c[\"c d\"]", "c.n", "c.s", "c.o.x", "c.o.y", "c.pk", "c.nothing"
    };
    return PROP_PICK(g->random, paths);
}

static void prop_put_expression(prop_text *out, const prop_grammar *g)
{
    const char *one = prop_path(g), *other = prop_path(g);
    switch (sim_below(g->random, 14)) {
    case 0: prop_put(out, "{\"x\": %s, \"y\": %s}", one, other); return;
    case 1: prop_put(out, "[%s, %s]", one, other); return;
    case 2: prop_put(out, "(%s ?? \"none\")", one); return;
    case 3: prop_put(out, "IS_DEFINED(%s)", one); return;
    case 4: prop_put(out, "{\"deep\": {\"er\": [%s]}}", one); return;
    case 5: prop_put(out, "(IS_NUMBER(%s) ? %s : \"no\")", one, one); return;
    case 6: if (!g->of_list) { prop_put_text(out, "(c.n + 1)"); return; } /* fall through */
    default: prop_put_text(out, one);
    }
}

/*--- FROM and WHERE ------------------------------------------------------------------*/

/* As many as there are, or far more. */
static void prop_put_keys(prop_text *out, prop_grammar *g)
{
    unsigned count = (unsigned)sim_magnitude(g->random, 1, 400), i;
    prop_put_text(out, "c.pk IN (\"eu\", 1, null");
    for (i = 0; i < count; i++) prop_put(out, ", \"k%u\"", count < 30 ? (unsigned)sim_below(g->random, 30) : i);
    prop_put_text(out, ")");
    g->query->many_keys = count >= 30;
}

static void prop_put_predicate(prop_text *out, prop_grammar *g)
{
    static const char *const operators[] = { "=", "!=", "<", "<=", ">", ">=" };
    const char *path = prop_path(g), *constant = prop_constant(g->random);
    switch (sim_below(g->random, g->of_list ? 4 : 9)) {
    case 0: prop_put(out, "%s %s %s", path, PROP_PICK(g->random, operators), constant); return;
    case 1: prop_put(out, "IS_DEFINED(%s)", path); return;
    case 2: prop_put(out, "NOT IS_STRING(%s)", path); return;
    case 3:
        snprintf(g->query->param, sizeof g->query->param, "%s", constant);
        prop_put(out, "%s %s @p", path, PROP_PICK(g->random, operators));
        return;
    case 4: prop_put(out, "c.pk = \"k%u\"", (unsigned)sim_below(g->random, 30)); return;
    case 5: prop_put_keys(out, g); return;
    case 6: prop_put(out, "c.n > %s", PROP_PICK(g->random, prop_friendly)); return;
    case 7: prop_put_text(out, "(c.pk = \"eu\" AND c.h = \"us\")"); return;
    default: prop_put(out, "ARRAY_CONTAINS(c.list, %s)", constant); return;
    }
}

static void prop_choose_scope(prop_grammar *g, bool plain)
{
    static const char *const roots[] = { "c", "root c", "c AS c" };
    g->from = PROP_PICK(g->random, roots);
    if (!plain && sim_chance(g->random, 0.2)) {
        g->joined = true;
        g->from = sim_chance(g->random, 0.7) ? "c JOIN t IN c.list" : "c JOIN t IN c.list JOIN u IN c.list";
    } else if (!plain && sim_chance(g->random, 0.05)) {
        g->of_list = true;
        g->from = "t IN c.list";
    }
    if (sim_chance(g->random, 0.5)) return;
    prop_put_text(&g->where, " WHERE ");
    prop_put_predicate(&g->where, g);
    if (sim_chance(g->random, 0.3)) {
        prop_put_text(&g->where, sim_chance(g->random, 0.5) ? " AND " : " OR ");
        prop_put_predicate(&g->where, g);
    }
}

static void prop_put_from(prop_text *out, const prop_grammar *g)
{
    prop_put(out, " FROM %s%s", g->from, g->where.ptr ? g->where.ptr : "");
}

/*--- TOP, OFFSET LIMIT ----------------------------------------------------------------*/

static uint64_t prop_some(sim_random *random)
{
    return sim_chance(random, 0.1) ? 0 : sim_magnitude(random, 1, 300);
}

/* Behind SELECT and DISTINCT. */
static void prop_put_top(prop_text *out, const prop_grammar *g, double probability)
{
    if (!sim_chance(g->random, probability)) return;
    g->query->take = prop_some(g->random);
    prop_put(out, " TOP %u", (unsigned)g->query->take);
}

/* At the end. */
static void prop_put_limit(prop_text *out, const prop_grammar *g, double probability)
{
    if (g->query->take != UINT64_MAX || !sim_chance(g->random, probability)) return;
    g->query->skip = prop_some(g->random) / 2;
    g->query->take = prop_some(g->random);
    prop_put(out, " OFFSET %u LIMIT %u", (unsigned)g->query->skip, (unsigned)g->query->take);
}

/*--- SELECT of rows ---------------------------------------------------------------------*/

/* Projections: what stands behind SELECT, and the same as one value. */
typedef struct prop_projection {
    prop_text list, value;
    const char *paths[PROP_COLUMNS_MAX];           /* of the list, as far as they are paths: DISTINCT sorts by them */
    unsigned path_count;
} prop_projection;

static void prop_project(prop_projection *p, const prop_grammar *g, bool paths_only, bool ordered)
{
    prop_text expression = { NULL, 0, 0 };
    unsigned count = 1 + (unsigned)sim_below(g->random, 3), i;
    bool value = sim_chance(g->random, 0.4);
    memset(p, 0, sizeof *p);
    if (!paths_only && !g->joined && !g->of_list && sim_chance(g->random, 0.25)) {
        prop_put_text(&p->list, "*");
        prop_put_text(&p->value, "c");
        return;
    }
    if (value) count = 1;
    if (value) prop_put_text(&p->list, "VALUE ");
    else prop_put_text(&p->value, "{");
    for (i = 0; i < count; i++) {
        expression.len = 0;
        if (paths_only) p->paths[p->path_count] = ordered ? prop_order_path(g) : prop_path(g);
        if (paths_only) prop_put_text(&expression, p->paths[p->path_count++]);
        else prop_put_expression(&expression, g);
        prop_put(&p->list, "%s%s", i ? ", " : "", expression.ptr);
        if (!value) prop_put(&p->list, " AS f%u", i);
        if (!value) prop_put(&p->value, "%s\"f%u\": ", i ? ", " : "", i);
        prop_put_text(&p->value, expression.ptr);
    }
    if (!value) prop_put_text(&p->value, "}");
    prop_free(&expression);
}

static void prop_order_by(prop_grammar *g, const prop_projection *p, const char *keys[PROP_COLUMNS_MAX])
{
    unsigned count = 1 + (unsigned)(sim_below(g->random, 6) / 3) + (unsigned)(sim_below(g->random, 6) / 5), i, k;
    prop_query *q = g->query;
    if (q->distinct && count > p->path_count) count = p->path_count;
    for (i = 0; i < count; i++) {
        keys[i] = q->distinct ? p->paths[i] : prop_order_path(g);
        for (k = 0; k < i && strcmp(keys[k], keys[i]) != 0; k++) continue;
        if (k < i) break;
        q->descending[i] = sim_chance(g->random, 0.5);
    }
    q->columns = i;
}

static void prop_make_rows(prop_grammar *g)
{
    prop_query *q = g->query;
    prop_projection p;
    const char *keys[PROP_COLUMNS_MAX];
    bool ordered = sim_chance(g->random, 0.65);
    unsigned i;
    q->distinct = sim_chance(g->random, 0.25);
    prop_choose_scope(g, false);
    ordered = ordered && !g->of_list;
    prop_project(&p, g, q->distinct && ordered, q->distinct && ordered);
    if (ordered) prop_order_by(g, &p, keys);
    prop_put_text(&q->sql, q->distinct ? "SELECT DISTINCT" : "SELECT");
    prop_put_top(&q->sql, g, 0.2);
    prop_put(&q->sql, " %s", p.list.ptr);
    prop_put_from(&q->sql, g);
    prop_put_text(&q->truth, "SELECT VALUE {\"k\": [");
    for (i = 0; i < q->columns; i++) {
        prop_put(&q->sql, "%s%s%s", i ? ", " : " ORDER BY ", keys[i], q->descending[i] ? " DESC"
                 : sim_chance(g->random, 0.5) ? " ASC" : "");
        prop_put(&q->truth, "%s{\"item\": %s}", i ? ", " : "", keys[i]);
    }
    prop_put_limit(&q->sql, g, 0.2);
    prop_put(&q->truth, "], \"p\": %s}", p.value.ptr);
    prop_put_from(&q->truth, g);
    q->keyed = true;
    q->stateful = q->distinct;
    prop_free(&p.list);
    prop_free(&p.value);
}

/*--- Aggregates ---------------------------------------------------------------------------*/

static void prop_put_aggregate(prop_text *out, const prop_grammar *g)
{
    static const char *const sums[] = { "c.n", "c.o.y", "c.m", "c.s", "c.nothing" };
    static const char *const all[] = { "c.a", "c.n", "c.s", "c.o.x", "c.b", "c.nothing" };
    switch (sim_below(g->random, 7)) {
    case 0: prop_put_text(out, "COUNT(1)"); return;
    case 1: prop_put(out, "COUNT(%s)", PROP_PICK(g->random, all)); return;
    case 2: prop_put(out, "SUM(%s)", PROP_PICK(g->random, sums)); return;
    case 3: prop_put(out, "AVG(%s)", PROP_PICK(g->random, sums)); return;
    case 4: prop_put(out, "MIN(%s)", PROP_PICK(g->random, all)); return;
    case 5: prop_put(out, "MAX(%s)", PROP_PICK(g->random, all)); return;
    default: prop_put(out, "COUNTIF(c.n > %s)", PROP_PICK(g->random, prop_friendly)); return;
    }
}

static void prop_make_aggregates(prop_grammar *g)
{
    prop_query *q = g->query;
    unsigned count = 1 + (unsigned)sim_below(g->random, 4), i;
    prop_choose_scope(g, !sim_chance(g->random, 0.3));
    if (g->of_list) g->of_list = false, g->from = "c", prop_free(&g->where), *q->param = 0;
    prop_put_text(&q->sql, "SELECT ");
    if (sim_chance(g->random, 0.5)) {
        prop_put_text(&q->sql, "VALUE ");
        prop_put_aggregate(&q->sql, g);
    } else {
        for (i = 0; i < count; i++) {
            if (i) prop_put_text(&q->sql, ", ");
            prop_put_aggregate(&q->sql, g);
            if (sim_chance(g->random, 0.7)) prop_put(&q->sql, " AS g%u", i);
        }
    }
    prop_put_from(&q->sql, g);
    prop_put_text(&q->truth, q->sql.ptr);
    q->stateful = true;
}

static void prop_make_groups(prop_grammar *g)
{
    static const char *const keys[] = { "c.a", "c.s", "c.o.x", "c.pk", "c.n", "c.b", "LOWER(c.s)", "c.nothing" };
    prop_query *q = g->query;
    const char *key[2];
    unsigned keys_used = 1 + (unsigned)sim_below(g->random, 2), count = 1 + (unsigned)sim_below(g->random, 4), i;
    prop_choose_scope(g, true);
    key[0] = PROP_PICK(g->random, keys);
    do key[1] = PROP_PICK(g->random, keys); while (strcmp(key[0], key[1]) == 0);
    prop_put_text(&q->sql, "SELECT ");
    if (sim_chance(g->random, 0.3)) {
        prop_put_text(&q->sql, "VALUE ");
        if (sim_chance(g->random, 0.5)) prop_put_aggregate(&q->sql, g);
        else prop_put_text(&q->sql, key[0]);
    } else {
        for (i = 0; i < count; i++) {
            if (i) prop_put_text(&q->sql, ", ");
            if (sim_chance(g->random, 0.6)) prop_put_aggregate(&q->sql, g);
            else prop_put_text(&q->sql, key[sim_below(g->random, keys_used)]);
            prop_put(&q->sql, " AS g%u", i);
        }
    }
    prop_put_from(&q->sql, g);
    prop_put(&q->sql, " GROUP BY %s", key[0]);
    if (keys_used == 2) prop_put(&q->sql, ", %s", key[1]);
    prop_put_text(&q->truth, q->sql.ptr);
    prop_put_limit(&q->sql, g, 0.3);
    q->stateful = true;
}

/*--- Counts of distinct rows, vectors ------------------------------------------------------*/

static void prop_make_distinct_count(prop_grammar *g)
{
    prop_query *q = g->query;
    prop_projection p;
    bool value = sim_chance(g->random, 0.5);
    prop_choose_scope(g, false);
    prop_project(&p, g, true, false);
    prop_put(&q->sql, "SELECT %sCOUNT(1)%s FROM (SELECT DISTINCT %s", value ? "VALUE " : "",
             value ? "" : " AS number", p.list.ptr);
    prop_put_from(&q->sql, g);
    prop_put_text(&q->sql, ")");
    prop_put_text(&q->truth, q->sql.ptr);
    q->stateful = true;
    prop_free(&p.list);
    prop_free(&p.value);
}

static void prop_make_vector(prop_grammar *g)
{
    prop_query *q = g->query;
    prop_projection p;
    char distance[128];
    snprintf(distance, sizeof distance, "VectorDistance(c.v, [%d, %d, 1])", (int)sim_below(g->random, 5) - 2,
             (int)sim_below(g->random, 5) - 2);
    prop_choose_scope(g, false);
    if (g->of_list) g->of_list = false, g->from = "c", prop_free(&g->where), *q->param = 0;
    q->distinct = sim_chance(g->random, 0.4);
    prop_project(&p, g, false, false);
    prop_put_text(&q->sql, q->distinct ? "SELECT DISTINCT" : "SELECT");
    prop_put_top(&q->sql, g, 0.5);
    prop_put(&q->sql, " %s", p.list.ptr);
    prop_put_from(&q->sql, g);
    prop_put(&q->sql, " ORDER BY %s", distance);
    prop_put_limit(&q->sql, g, 1);
    prop_put(&q->truth, "SELECT VALUE {\"k\": [{\"item\": %s}], \"p\": %s}", distance, p.value.ptr);
    prop_put_from(&q->truth, g);
    q->keyed = true;
    q->columns = 1;
    q->descending[0] = true;             /* by the cosine, the most alike first */
    q->stateful = true;
    prop_free(&p.list);
    prop_free(&p.value);
}

static void prop_make_query(prop_query *query, sim_random *random)
{
    prop_grammar g;
    uint64_t dice = sim_below(random, 100);
    memset(query, 0, sizeof *query);
    memset(&g, 0, sizeof g);
    g.random = random;
    g.query = query;
    query->take = UINT64_MAX;
    query->shape = dice < 60 ? PROP_ROWS : dice < 72 ? PROP_AGGREGATES : dice < 86 ? PROP_GROUPS
                   : dice < 93 ? PROP_DISTINCT_COUNT : PROP_VECTOR;
    switch (query->shape) {
    case PROP_ROWS: prop_make_rows(&g); break;
    case PROP_AGGREGATES: prop_make_aggregates(&g); break;
    case PROP_GROUPS: prop_make_groups(&g); break;
    case PROP_DISTINCT_COUNT: prop_make_distinct_count(&g); break;
    default: prop_make_vector(&g); break;
    }
    prop_free(&g.where);
}

static void prop_query_free(prop_query *query)
{
    prop_free(&query->sql);
    prop_free(&query->truth);
}

#endif
