/* The emulator's query plans: the vectors, which are the service's own; and what the vectors leave out. */
#define AIOCOSMOS_STATIC
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"

#include "test.h"
#include "tools/emulator/sql/sql.h"

#include <stdlib.h>

/*--- Text ---------------------------------------------------------------------------*/

typedef struct text { char *at; size_t len, cap; } text;

static void text_add(void *user, const char *bytes, size_t len)
{
    text *to = (text *)user;
    if (to->len + len + 1 > to->cap) {
        to->cap = 2 * (to->len + len + 1);
        to->at = (char *)realloc(to->at, to->cap);
        if (!to->at) abort();
    }
    memcpy(to->at + to->len, bytes, len);
    to->len += len;
    to->at[to->len] = 0;
}

static void text_puts(text *to, const char *string)
{
    text_add(to, string, strlen(string));
}

/* A JSON string. */
static void text_quote(text *to, aiocosmos_str string)
{
    aioc_mem memory;
    aioc_mem_buffer buffer = {NULL, 0, 0};
    aioc_mem_writer out;
    aioc_mem_init(&memory, NULL, SIZE_MAX);
    out = aioc_mem_write(&memory, &buffer);
    aioc_json_put_string(&out, string);
    if (!aioc_mem_written(&out)) abort();
    text_add(to, buffer.data, buffer.len);
    aioc_mem_buffer_free(&memory, &buffer);
    aioc_mem_close(&memory);
}

/*--- JSON ---------------------------------------------------------------------------*/

typedef struct json_text { aioc_mem memory; aiocosmos_json_doc doc; aiocosmos_json root; } json_text;

static bool json_open(json_text *json, const char *bytes, size_t len)
{
    bool parsed;
    aioc_mem_init(&json->memory, NULL, SIZE_MAX);
    aioc_json_open(&json->doc, &json->memory);
    parsed = aioc_json_parse(&json->doc, bytes, len) == 0;
    json->root = aioc_json_root(&json->doc);
    return parsed;
}

static void json_close(json_text *json)
{
    aioc_json_close(&json->doc);
    aioc_mem_close(&json->memory);
}

static aiocosmos_json field(aiocosmos_json object, const char *name)
{
    aiocosmos_json found;
    aioc_json_fields(object, &name, 1, &found);
    return found;
}

/* Properties in any order; numbers and strings by their text, which both sides write in the same way. */
static bool same_json(aiocosmos_json a, aiocosmos_json b)
{
    aiocosmos_json key, x, y;
    char name[200];
    if (a.type != b.type) return false;
    memset(&x, 0, sizeof x);
    memset(&y, 0, sizeof y);
    if (a.type == AIOCOSMOS_JSON_ARR) {
        if (aioc_json_count(a) != aioc_json_count(b)) return false;
        while (aioc_json_next(a, NULL, &x) && aioc_json_next(b, NULL, &y))
            if (!same_json(x, y)) return false;
        return true;
    }
    if (a.type == AIOCOSMOS_JSON_OBJ) {
        if (aioc_json_count(a) != aioc_json_count(b)) return false;
        while (aioc_json_next(a, &key, &x)) {
            name[aioc_json_get_str(key, name, sizeof name)] = 0;
            if (!same_json(x, field(b, name))) return false;
        }
        return true;
    }
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

/*--- Plans --------------------------------------------------------------------------*/

/* How containers of these tests are keyed. */
typedef struct keyed {
    aioc_protocol_pk_def def;
    aiocosmos_str path[AIOC_PROTOCOL_PK_LEVELS];
} keyed;

static bool keyed_epk(void *user, const aiocosmos_value *values, size_t count, char *out, size_t cap)
{
    const keyed *by = (const keyed *)user;
    char epk[AIOC_PROTOCOL_EPK_MAX];
    size_t len;
    if (!aioc_protocol_epk(&by->def, values, count, epk, &len) || len >= cap) return false;
    memcpy(out, epk, len);
    out[len] = 0;
    return true;
}

/* paths: "/a /b" */
static void key_by(keyed *by, int kind, int version, const char *paths)
{
    memset(by, 0, sizeof *by);
    by->def.kind = (uint8_t)kind;
    by->def.version = (uint8_t)version;
    while (*paths) {
        size_t len = strcspn(paths, " ");
        by->path[by->def.path_count].ptr = paths;
        by->path[by->def.path_count++].len = len;
        paths += len + (paths[len] == ' ');
    }
}

/* The plan, or '!' and the error. */
static void make_plan(text *out, aiocosmos_str sql, const char *parameters, keyed *by, const char *features)
{
    text body = {NULL, 0, 0};
    emu_sql_error error;
    emu_sql_key key;
    emu_sql_query *query;
    aiocosmos_str list = aioc_mem_str(features ? features : "");
    if (!features) list.ptr = NULL;
    key.paths = by->path;
    key.path_count = by->def.path_count;
    key.hierarchical = by->def.kind == AIOC_PROTOCOL_MULTI_HASH;
    key.epk = keyed_epk;
    key.user = by;
    text_puts(&body, "{\"query\":");
    text_quote(&body, sql);
    text_puts(&body, ",\"parameters\":");
    text_puts(&body, parameters ? parameters : "[]");
    text_puts(&body, "}");
    out->len = 0;
    query = emu_sql_prepare(body.at, body.len, 0, NULL, &error);
    if (!query || !emu_sql_plan(query, &key, list, text_add, out, &error)) {
        out->len = 0;
        text_puts(out, "!");
        text_puts(out, error.message);
        if (error.status != 400) text_puts(out, " and it is not 400");
    }
    emu_sql_free(query);
    free(body.at);
}

static void show(const char *what, aiocosmos_json json)
{
    printf("  %s %.*s\n", what, (int)json.len, json.ptr);
}

/*--- The vectors --------------------------------------------------------------------*/

/* Of some the vectors have the answer alone: what was asked stands in the test that they come from, too. */
static const char *const asked_elsewhere[] = {
    "SELECT * FROM c ORDER BY c.id",
    "SELECT c.id FROM c GROUP BY c.id",
    "SELECT DISTINCT VALUE c.id FROM c",
    "SELECT c.id, "
    "VectorDistance([-0.008861,0.097097,0.100236,0.070044,-0.079279,0.000923,-0.012829,0.064301,-0.029405], c.vector1, "
    "true, {dataType:'Float32', distanceFunction:'DotProduct'}) AS VectorDistance FROM c ORDER BY "
    "VectorDistance([-0.008861,0.097097,0.100236,0.070044,-0.079279,0.000923,-0.012829,0.064301,-0.029405], c.vector1, "
    "true, {dataType:'Float32', distanceFunction:'DotProduct'})",
    "SELECT VALUE MAKELIST(c.id) FROM c",
    "SELECT VALUE MAKESET(c.id) FROM c",
    "SELECT MAKELIST(c.id) FROM c",
    "SELECT VALUE COUNTIF(c.valid) FROM c"
};

static bool check_vector(aiocosmos_json vector, aiocosmos_str sql, text *got)
{
    aiocosmos_json paths = field(vector, "partitionKeyPaths"), path, want = field(vector, "plan"), plan;
    char list[200] = "";
    json_text json;
    keyed by;
    bool same;
    memset(&path, 0, sizeof path);
    while (paths.type == AIOCOSMOS_JSON_ARR && aioc_json_next(paths, NULL, &path))
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%.*s", *list ? " " : "", (int)path.len - 2,
                 path.ptr + 1);
    key_by(&by, AIOC_PROTOCOL_HASH, 2, list);
    make_plan(got, sql, NULL, &by, NULL);
    if (!json_open(&json, got->at, got->len)) {
        printf("  %.*s\n  gives %s\n", (int)sql.len, sql.ptr, got->at);
        json_close(&json);
        return false;
    }
    plan = json.root;
    if (want.type == AIOCOSMOS_JSON_NONE) {
        want = field(vector, "queryInfo");
        plan = field(plan, "queryInfo");
    }
    same = same_json(want, plan);
    if (!same) {
        printf("  %.*s\n", (int)sql.len, sql.ptr);
        show("gives", plan);
        show("not  ", want);
    }
    json_close(&json);
    return same;
}

TEST(plans_are_those_of_the_service)
{
    FILE *file = fopen("tests/vectors/query-plans.json", "rb");
    text bytes = {NULL, 0, 0}, got = {NULL, 0, 0};
    char room[4096];
    size_t n, seen = 0, wrong = 0, elsewhere = 0;
    json_text json;
    aiocosmos_json vector;
    CHECK(file != NULL);
    while ((n = fread(room, 1, sizeof room, file)) > 0) text_add(&bytes, room, n);
    fclose(file);
    CHECK(json_open(&json, bytes.at, bytes.len));
    memset(&vector, 0, sizeof vector);
    while (aioc_json_next(field(json.root, "cases"), NULL, &vector)) {
        aiocosmos_json query = field(vector, "query");
        aiocosmos_str sql;
        seen++;
        if (query.type == AIOCOSMOS_JSON_STR) {
            sql.ptr = room;
            sql.len = aioc_json_get_str(query, room, sizeof room);
        } else {
            CHECK(elsewhere < sizeof asked_elsewhere / sizeof *asked_elsewhere);
            sql = aioc_mem_str(asked_elsewhere[elsewhere++]);
        }
        if (!check_vector(vector, sql, &got)) wrong++;
    }
    json_close(&json);
    free(bytes.at);
    free(got.at);
    CHECK_INT(seen, 55);
    CHECK_INT(wrong, 0);
}

/*--- Pieces of plans ----------------------------------------------------------------*/

/* One property of queryInfo, or of the plan, as JSON; or a part of the error behind '!'. */
typedef struct plan_case { const char *sql, *name, *answer; } plan_case;

static void check_plan(const plan_case *one, const char *parameters, keyed *by, const char *features)
{
    text out = {NULL, 0, 0};
    json_text json;
    aiocosmos_json got;
    bool right = false;
    make_plan(&out, aioc_mem_str(one->sql), parameters, by, features);
    if (one->answer[0] == '!') {
        right = out.at[0] == '!' && strstr(out.at, one->answer + 1);
    } else if (json_open(&json, out.at, out.len)) {
        got = field(field(json.root, "queryInfo"), one->name);
        if (got.type == AIOCOSMOS_JSON_NONE) got = field(json.root, one->name);
        right = got.len == strlen(one->answer) && memcmp(got.ptr, one->answer, got.len) == 0;
        json_close(&json);
    } else {
        json_close(&json);
    }
    if (!right) printf("  %s\n  gives %s\n  not   %s: %s\n", one->sql, out.at, one->name, one->answer);
    free(out.at);
    CHECK(right);
}

static void check_plans(const plan_case *cases, size_t count, keyed *by)
{
    size_t i;
    for (i = 0; i < count; i++) check_plan(&cases[i], NULL, by, NULL);
}

#define COUNT_OF(ARRAY) (sizeof(ARRAY) / sizeof *(ARRAY))

TEST(rows_that_are_what_they_are_sorted_by_are_distinct_in_order)
{
    static const plan_case cases[] = {
        {"SELECT DISTINCT c.a FROM c ORDER BY c.a DESC", "distinctType", "\"Ordered\""},
        {"SELECT DISTINCT c.a, c.b FROM c ORDER BY c.b, c.a", "distinctType", "\"Ordered\""},
        {"SELECT DISTINCT c.a FROM c ORDER BY c.b, c.a", "distinctType", "\"Unordered\""},
        {"SELECT DISTINCT c.a, c.b FROM c ORDER BY c.a", "distinctType", "\"Unordered\""},
        {"SELECT DISTINCT * FROM c ORDER BY c.a", "distinctType", "\"Unordered\""},
        {"SELECT DISTINCT TOP 2 c.a FROM c ORDER BY c.b", "rewrittenQuery",
         "\"SELECT c._rid, [{\\\"item\\\": c.b}] AS orderByItems, {\\\"a\\\": c.a} AS payload\\nFROM c\\n"
         "WHERE ({documentdb-formattableorderbyquery-filter})\\nORDER BY c.b\""},
        {"SELECT DISTINCT c.a FROM c OFFSET 3 LIMIT 4", "rewrittenQuery", "\"SELECT DISTINCT c.a\\nFROM c\""}
    };
    keyed by;
    key_by(&by, AIOC_PROTOCOL_HASH, 2, "/pk");
    check_plans(cases, COUNT_OF(cases), &by);
}

TEST(numbers_of_rows_come_from_parameters_too)
{
    static const char parameters[] = "[{\"name\":\"@m\",\"value\":40},{\"name\":\"@n\",\"value\":5}]";
    static const plan_case cases[] = {
        {"SELECT TOP @n * FROM c", "top", "5"},
        {"SELECT * FROM c OFFSET @m LIMIT @n", "offset", "40"},
        {"SELECT * FROM c OFFSET @m LIMIT @n", "limit", "5"},
        {"SELECT c.x FROM c WHERE c.y > @n ORDER BY c.x OFFSET @m LIMIT @n", "rewrittenQuery",
         "\"SELECT c._rid, [{\\\"item\\\": c.x}] AS orderByItems, {\\\"x\\\": c.x} AS payload\\nFROM c\\n"
         "WHERE ((c.y > @n) AND ({documentdb-formattableorderbyquery-filter}))\\nORDER BY c.x\\nOFFSET 0 LIMIT 45\""}
    };
    size_t i;
    keyed by;
    key_by(&by, AIOC_PROTOCOL_HASH, 2, "/pk");
    for (i = 0; i < COUNT_OF(cases); i++) check_plan(&cases[i], parameters, &by, NULL);
}

TEST(counts_of_distinct_rows_are_left_to_the_client)
{
    static const plan_case cases[] = {
        {"SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.a FROM c)", "dCountInfo", "{\"dCountAlias\":\"\"}"},
        {"SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.a FROM c)", "distinctType", "\"Unordered\""},
        {"SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.a FROM c)", "aggregates", "[]"},
        {"SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.a FROM c WHERE c.b = 1)", "rewrittenQuery",
         "\"SELECT DISTINCT VALUE c.a\\nFROM c\\nWHERE (c.b = 1)\""},
        {"SELECT COUNT(d) AS n FROM (SELECT DISTINCT c.a, c.b FROM c) AS d", "dCountInfo", "{\"dCountAlias\":\"n\"}"},
        {"SELECT COUNT(1) FROM (SELECT DISTINCT c.a FROM c) AS d", "dCountInfo", "{\"dCountAlias\":\"$1\"}"},
        {"SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.a FROM c WHERE c.pk IS_NULL)", "", "!SC1001"},
        {"SELECT VALUE SUM(d.a) FROM (SELECT DISTINCT c.a FROM c) AS d", "", "!subquery over the whole container"},
        {"SELECT VALUE COUNT(d.a) FROM (SELECT DISTINCT c.a FROM c) AS d", "", "!subquery over the whole container"},
        {"SELECT * FROM (SELECT c.a, COUNT(1) AS n FROM c GROUP BY c.a) AS g", "", "!subquery over the whole"},
        {"SELECT VALUE s FROM (SELECT VALUE c.a FROM c) AS s", "rewrittenQuery", "\"\""}
    };
    keyed by;
    key_by(&by, AIOC_PROTOCOL_HASH, 2, "/pk");
    check_plans(cases, COUNT_OF(cases), &by);
}

TEST(what_the_gateway_refuses_is_refused)
{
    static const plan_case cases[] = {
        {"SELECT VALUE {'sum': SUM(c.n)} FROM c", "", "!Compositions of aggregates"},
        {"SELECT MIN(c.a) / 2 FROM c", "", "!Compositions of aggregates"},
        {"SELECT c.a, ABS(AVG(c.n)) AS n FROM c GROUP BY c.a", "", "!Compositions of aggregates"},
        {"SELECT * FROM c GROUP BY c.a", "", "!SC2041"},
        {"SELECT * FROM c ORDER BY LOWER(c.a)", "", "!2206"},
        {"SELECT * FROM c ORDER BY c", "", "!2206"},
        {"SELECT VALUE t FROM c JOIN t IN c.tags ORDER BY t.name", "", "!Order-by over correlated collections"},
        {"SELECT DISTINCT c.a, COUNT(1) AS n FROM c GROUP BY c.a", "", "!DISTINCT with GROUP BY"},
        {"SELECT BADFUNC(c.a) FROM c", "", "!SC2005"},
        {"SELECT * FORM c", "", "!SC1001"}
    };
    keyed by;
    key_by(&by, AIOC_PROTOCOL_HASH, 2, "/pk");
    check_plans(cases, COUNT_OF(cases), &by);
}

TEST(a_feature_that_the_client_lacks_is_named)
{
    static const struct { const char *sql, *needs; } cases[] = {
        {"SELECT TOP 1 * FROM c", "Top"},
        {"SELECT * FROM c OFFSET 1 LIMIT 1", "OffsetAndLimit"},
        {"SELECT DISTINCT c.a FROM c", "Distinct"},
        {"SELECT * FROM c ORDER BY c.a", "OrderBy"},
        {"SELECT * FROM c ORDER BY c.a, c.b", "MultipleOrderBy"},
        {"SELECT c.a FROM c GROUP BY c.a", "GroupBy"},
        {"SELECT VALUE COUNT(1) FROM c", "Aggregate"},
        {"SELECT COUNT(1) AS n FROM c", "NonValueAggregate"},
        {"SELECT COUNT(1) AS n, SUM(c.a) AS s FROM c", "MultipleAggregates"},
        {"SELECT VALUE COUNTIF(c.a) FROM c", "CountIf"},
        {"SELECT VALUE MAKESET(c.a) FROM c", "ListAndSetAggregate"},
        {"SELECT VALUE COUNT(1) FROM (SELECT DISTINCT c.a FROM c)", "DCount"}
    };
    static const char all[] = "Aggregate, CompositeAggregate, CountIf, DCount, Distinct, GroupBy,HybridSearch, "
        "ListAndSetAggregate,MultipleAggregates, MultipleOrderBy, NonStreamingOrderBy, NonValueAggregate, "
        "OffsetAndLimit, OrderBy, Top";
    size_t i;
    keyed by;
    key_by(&by, AIOC_PROTOCOL_HASH, 2, "/pk");
    for (i = 0; i < COUNT_OF(cases); i++) {
        char others[sizeof all], wanted[64], *at = others;
        plan_case one = {cases[i].sql, "distinctType", NULL};
        snprintf(others, sizeof others, "%s", all);
        for (;;) {                                         /* the name alone, not one that it is a part of */
            at = strstr(at, cases[i].needs);
            CHECK(at != NULL);
            if ((at == others || at[-1] == ' ' || at[-1] == ',') && strchr(", ", at[strlen(cases[i].needs)])) break;
            at++;
        }
        one.answer = strstr(one.sql, "DISTINCT") ? "\"Unordered\"" : "\"None\"";
        check_plan(&one, NULL, &by, all);
        memset(at, '-', strlen(cases[i].needs));
        snprintf(wanted, sizeof wanted, "!does not support (%s)", cases[i].needs);
        one.answer = wanted;
        check_plan(&one, NULL, &by, others);
        one.answer = "!does not support";
        check_plan(&one, NULL, &by, "");
        check_plan(&one, NULL, &by, "OrderByX, Tops Distincts");
    }
    check_plan(&(plan_case){"SELECT * FROM c WHERE c.a = 1", "rewrittenQuery", "\"\""}, NULL, &by, "");
}

/*--- Vectors and full text ------------------------------------------------------------*/

/* Whether a part stands in the plan (or '!': in the error). */
static void check_holds(const char *sql, const char *parameters, const char *features, const char *part)
{
    text out = {NULL, 0, 0};
    keyed by;
    bool holds;
    key_by(&by, AIOC_PROTOCOL_HASH, 2, "/pk");
    make_plan(&out, aioc_mem_str(sql), parameters, &by, features);
    holds = part[0] == '!' ? out.at[0] == '!' && strstr(out.at, part + 1) : out.at[0] == '{' && strstr(out.at, part);
    if (!holds) printf("  %s\n  gives %s\n  without %s\n", sql, out.at, part);
    free(out.at);
    CHECK(holds);
}

#define NEAR(OPTIONS) "SELECT TOP 3 c.id FROM c ORDER BY VectorDistance(c.v, [1, 2]" OPTIONS ")"

TEST(the_nearest_come_first_without_being_told)
{
    check_holds(NEAR(""), NULL, NULL, "\"orderBy\":[\"Descending\"]");
    check_holds(NEAR(""), NULL, NULL, "\"hasNonStreamingOrderBy\":true");
    check_holds(NEAR(""), NULL, NULL, "\\nORDER BY VectorDistance(c.v, [1, 2])\"");
    check_holds(NEAR(", true, {'distanceFunction': 'euclidean'}"), NULL, NULL, "\"orderBy\":[\"Ascending\"]");
    check_holds(NEAR(", true, @o"), "[{\"name\":\"@o\",\"value\":{\"distanceFunction\":\"Euclidean\"}}]", NULL,
                "\"orderBy\":[\"Ascending\"]");
    check_holds(NEAR(", true, @o"), "[{\"name\":\"@o\",\"value\":{\"dataType\":\"Float32\"}}]", NULL,
                "\"orderBy\":[\"Descending\"]");
    check_holds(NEAR(""), NULL, "OrderBy,Top", "!does not support (NonStreamingOrderBy)");
    check_holds(NEAR(""), NULL, "NonStreamingOrderBy,OrderBy,Top", "\"top\":3");
}

#define BOTH "RRF(FullTextScore(c.t, 'swim', 'run'), VectorDistance(c.v, [1])"
#define PLACE(NAME) "{documentdb-formattablehybridsearchquery-" NAME "}"

TEST(hybrid_search_asks_for_statistics_and_for_each_score)
{
    static const char fused[] = "SELECT TOP 9 c.id FROM c WHERE c.n > 1 ORDER BY RANK " BOTH ")";
    check_holds(fused, NULL, NULL,
                "\"globalStatisticsQuery\":\"SELECT COUNT(1) AS documentCount, [{\\\"totalWordCount\\\": "
                "SUM(_FullTextWordCount(c.t)), \\\"hitCounts\\\": [COUNTIF(FullTextContains(c.t, \\\"swim\\\")), "
                "COUNTIF(FullTextContains(c.t, \\\"run\\\"))]}] AS fullTextStatistics\\nFROM c\"");
    check_holds(fused, NULL, NULL, "\"orderByExpressions\":[\"_FullTextScore(c.t, [\\\"swim\\\", \\\"run\\\"], "
                PLACE("totaldocumentcount") ", " PLACE("totalwordcount-0") ", " PLACE("hitcountsarray-0") ")\"]");
    check_holds(fused, NULL, NULL, "\"orderByExpressions\":[\"VectorDistance(c.v, [1])\"]");
    check_holds(fused, NULL, NULL,
                "] AS orderByItems, {\\\"payload\\\": {\\\"id\\\": c.id}, \\\"componentScores\\\": [");
    check_holds(fused, NULL, NULL, " ?? -1), (VectorDistance(c.v, [1]) ?? -1)]} AS payload\\nFROM c\\n"
                "WHERE ((c.n > 1) AND ({documentdb-formattableorderbyquery-filter}))\\nORDER BY VectorDistance");
    check_holds(fused, NULL, NULL, "\"skip\":null,\"take\":9,\"requiresGlobalStatistics\":true}");
    check_holds("SELECT * FROM c ORDER BY RANK VectorDistance(c.v, [1]) OFFSET 70 LIMIT 5", NULL, NULL,
                "\"skip\":70,\"take\":5,\"requiresGlobalStatistics\":false}");
    check_holds("SELECT * FROM c ORDER BY RANK VectorDistance(c.v, [1]) OFFSET 70 LIMIT 5", NULL, NULL,
                "OFFSET 0 LIMIT 150\"");
    check_holds("SELECT TOP 2 * FROM c ORDER BY RANK " BOTH ", [2, 0.5])", NULL, NULL, "\"componentWeights\":[2,0.5]");
    check_holds("SELECT TOP 2 * FROM c ORDER BY RANK FullTextScore(c.t, @t)",
                "[{\"name\":\"@t\",\"value\":[\"a\",\"b\"]}]", NULL,
                "COUNTIF(FullTextContains(c.t, \\\"a\\\")), COUNTIF(FullTextContains(c.t, \\\"b\\\"))");
    check_holds("SELECT TOP 2 * FROM c ORDER BY RANK FullTextScore(c.t, @t)", "[{\"name\":\"@t\",\"value\":\"a\"}]",
                NULL, "_FullTextScore(c.t, [@t], ");
    check_holds("SELECT * FROM c ORDER BY RANK RRF(VectorDistance(c.v, [1]), FullTextScore(c.t, 'x'))", NULL, NULL,
                PLACE("hitcountsarray-1"));
}

/* A client that says so sorts by the scores alone; but where less is better, an order has to be told, and those of a
 * single component it does not sort. */
TEST(components_of_a_hybrid_search_need_not_be_rewritten)
{
    static const char features[] = "HybridSearch,HybridSearchSkipOrderByRewrite,NonStreamingOrderBy,OrderBy,Top,"
                                   "WeightedRankFusion";
    static const char fused[] = "SELECT TOP 9 c.id FROM c WHERE c.n > 1 ORDER BY RANK " BOTH ")";
    check_holds(fused, NULL, features, "\"top\":null,");
    check_holds(fused, NULL, features, "\"orderBy\":[],\"orderByExpressions\":[],");
    check_holds(fused, NULL, features, "\"rewrittenQuery\":\"SELECT TOP 120 c._rid, {\\\"id\\\": c.id} AS payload, [(");
    check_holds(fused, NULL, features, " ?? -1)] AS componentScores\\nFROM c\\nWHERE (c.n > 1)\\nORDER BY VectorDistance");
    check_holds(fused, NULL, features, "\"hasNonStreamingOrderBy\":false}");
    check_holds("SELECT TOP 9 c.id FROM c ORDER BY RANK VectorDistance(c.v, [1], false, {'distanceFunction': "
                "'euclidean'})", NULL, features, "\"orderBy\":[\"Ascending\"]");
    check_holds("SELECT TOP 9 c.id FROM c ORDER BY RANK FullTextScore(c.text, 'a')", NULL, features,
                "\"orderBy\":[\"Descending\"]");
}

TEST(hybrid_search_is_refused_where_it_makes_no_sense)
{
    check_holds("SELECT * FROM c ORDER BY RANK c.a", NULL, NULL, "!SC1001");
    check_holds("SELECT * FROM c ORDER BY RANK LOWER(c.a)", NULL, NULL, "!ORDER BY RANK sorts by");
    check_holds("SELECT * FROM c ORDER BY RANK RRF(FullTextScore(c.t, 'a'))", NULL, NULL, "!at least two");
    check_holds("SELECT * FROM c ORDER BY RANK " BOTH ", [1])", NULL, NULL, "!weights of RRF");
    check_holds("SELECT * FROM c ORDER BY RANK " BOTH ", [1, 'x'])", NULL, NULL, "!weights of RRF");
    check_holds("SELECT FullTextScore(c.t, 'a') FROM c", NULL, NULL, "!only allowed in the ORDER BY RANK");
    check_holds("SELECT * FROM c ORDER BY FullTextScore(c.t, 'a')", NULL, NULL, "!only allowed in the ORDER BY RANK");
    check_holds("SELECT DISTINCT c.a FROM c ORDER BY RANK FullTextScore(c.t, 'a')", NULL, NULL, "!with DISTINCT");
    check_holds("SELECT COUNT(1) FROM c ORDER BY RANK FullTextScore(c.t, 'a')", NULL, NULL, "!with DISTINCT");
    check_holds("SELECT * FROM c ORDER BY RANK FullTextScore('a', 'a')", NULL, NULL, "!must be a property path");
    check_holds("SELECT * FROM c ORDER BY RANK " BOTH ")", NULL, "OrderBy,Top", "!does not support (HybridSearch)");
    check_holds("SELECT * FROM c ORDER BY RANK " BOTH ", [1, 2])", NULL, "HybridSearch",
                "!does not support (WeightedRankFusion)");
    check_holds("SELECT * FROM rank ORDER BY rank.a", NULL, NULL, "\"orderByExpressions\":[\"rank.a\"]");
}

/*--- Ranges -------------------------------------------------------------------------*/

/* The number of ranges that are points, of those that are not, and whether that is the whole key space. */
static void check_ranges(const char *where, keyed *by, int points, int parts)
{
    text out = {NULL, 0, 0}, sql = {NULL, 0, 0};
    json_text json;
    aiocosmos_json range;
    char last[AIOC_PROTOCOL_EPK_MAX] = "";
    int got_points = 0, got_parts = 0;
    bool sorted = true;
    text_puts(&sql, "SELECT * FROM c WHERE ");
    text_puts(&sql, where);
    make_plan(&out, aioc_mem_str(sql.at), "[{\"name\":\"@a\",\"value\":\"x\"}]", by, NULL);
    CHECK(json_open(&json, out.at, out.len));
    memset(&range, 0, sizeof range);
    while (aioc_json_next(field(json.root, "queryRanges"), NULL, &range)) {
        aiocosmos_json min = field(range, "min"), max = field(range, "max");
        bool point = field(range, "isMaxInclusive").ptr[0] == 't';
        if (point != (min.len == max.len && memcmp(min.ptr, max.ptr, min.len) == 0)) sorted = false;
        if (got_points + got_parts && strncmp(last, min.ptr + 1, min.len - 2) >= 0) sorted = false;
        snprintf(last, sizeof last, "%.*s", (int)min.len - 2, min.ptr + 1);
        if (point) got_points++;
        else got_parts++;
    }
    if (got_points != points || got_parts != parts || !sorted) printf("  %s\n  gives %s\n", where, out.at);
    json_close(&json);
    free(out.at);
    free(sql.at);
    CHECK_INT(got_points, points);
    CHECK_INT(got_parts, parts);
    CHECK(sorted);
}

TEST(where_decides_which_keys_are_asked)
{
    static const struct { const char *where; int points, parts; } cases[] = {
        {"c.a = 1", 1, 0}, {"1 = c.a", 1, 0}, {"c.a = @a", 1, 0}, {"c['a'] = 1", 1, 0}, {"c.a = 1 AND c.b > 2", 1, 0},
        {"c.a IN (1, 2, 3)", 3, 0}, {"c.a IN (1, 1.0, 1e0)", 1, 0}, {"c.a IN (1, c.b)", 0, 1},
        {"c.a NOT IN (1, 2)", 0, 1}, {"c.a = 1 OR c.a = 2", 2, 0}, {"c.a = 1 OR c.b = 2", 0, 1},
        {"c.a = 1 AND c.a = 2", 1, 0}, {"c.a != 1", 0, 1}, {"c.a > 1", 0, 1}, {"NOT (c.a = 1)", 0, 1}, {"true", 0, 1},
        {"(c.a = 1 OR c.a = 2) AND (c.a = 2 OR c.a = 3)", 1, 0}, {"c.a IN (1, 2) OR c.a IN (2, 3)", 3, 0},
        {"IS_NULL(c.a)", 1, 0}, {"IS_BOOL(c.a)", 2, 0}, {"NOT IS_DEFINED(c.a)", 1, 0}, {"IS_DEFINED(c.a)", 0, 1},
        {"c.a", 1, 0}, {"NOT c.a", 1, 0}, {"ABS(c.a) = 3", 2, 0}, {"ARRAY_CONTAINS([1, 'x'], c.a)", 2, 0},
        {"c.a LIKE 'x!%' ESCAPE '!'", 1, 0}, {"c.a LIKE 'x%'", 0, 1}, {"c.a = 'x' AND c.a LIKE 'x%'", 1, 0},
        {"EXISTS(SELECT VALUE t FROM t IN c.tags WHERE t.a = 1)", 0, 1}, {"c.b.a = 1", 0, 1}, {"c.a.b = 1", 0, 1}
    };
    size_t i;
    keyed by;
    for (i = 0; i < 2 * COUNT_OF(cases); i++) {
        key_by(&by, AIOC_PROTOCOL_HASH, i % 2 ? 1 : 2, "/a");
        check_ranges(cases[i / 2].where, &by, cases[i / 2].points, cases[i / 2].parts);
    }
}

TEST(a_prefix_of_a_hierarchical_key_is_a_range)
{
    keyed by;
    key_by(&by, AIOC_PROTOCOL_MULTI_HASH, 2, "/a /b /c");
    check_ranges("c.a = 1 AND c.b = 2 AND c.c = 3", &by, 1, 0);
    check_ranges("c.a = 1 AND c.b = 2", &by, 0, 1);
    check_ranges("c.a = 1", &by, 0, 1);
    check_ranges("c.a IN (1, 2, 3)", &by, 0, 3);
    check_ranges("c.a IN (1, 2) AND c.b IN (1, 2) AND c.c = 0", &by, 4, 0);
    check_ranges("c.a = 1 OR (c.a = 1 AND c.b = 2 AND c.c = 3)", &by, 0, 1);    /* the range has the point */
    check_ranges("(c.a = 1 AND c.b = 2) OR (c.a = 3 AND c.b = 4 AND c.c = 5)", &by, 1, 1);
    check_ranges("c.b = 2 AND c.c = 3", &by, 0, 1);
    check_plan(&(plan_case){"SELECT * FROM c WHERE c.b = 2", "queryRanges",
               "[{\"min\":\"\",\"max\":\"FF\",\"isMinInclusive\":true,\"isMaxInclusive\":false}]"}, NULL, &by, NULL);
    key_by(&by, AIOC_PROTOCOL_HASH, 2, "/a /b");
    check_ranges("c.a = 1 AND c.b = 2", &by, 1, 0);
    check_ranges("c.a = 1", &by, 0, 1);
}

/* Ten thousand keys are told apart; more, and products of lists beyond that, are not worth it. */
TEST(lists_of_keys_too_long_to_tell_are_the_whole_key_space)
{
    text where = {NULL, 0, 0};
    char number[24];
    keyed by;
    int i;
    key_by(&by, AIOC_PROTOCOL_MULTI_HASH, 2, "/a /b");
    text_puts(&where, "c.a IN (0");
    for (i = 1; i < 12000; i++) {
        snprintf(number, sizeof number, ",%d", i);
        text_puts(&where, number);
        if (i == 9999) {
            size_t len = where.len;
            text_puts(&where, ")");
            check_ranges(where.at, &by, 0, 10000);
            text_puts(&where, " AND c.b IN (1, 2)");       /* b is given up: too many pairs */
            check_ranges(where.at, &by, 0, 1);
            where.len = len;
        }
    }
    text_puts(&where, ")");
    check_ranges(where.at, &by, 0, 1);
    free(where.at);
}

/*--- Text ---------------------------------------------------------------------------*/

static void check_print(const char *sql, const char *wanted)
{
    text body = {NULL, 0, 0}, once = {NULL, 0, 0}, twice = {NULL, 0, 0};
    emu_sql_error error;
    emu_sql_query *query;
    int i;
    text_puts(&once, sql);
    for (i = 0; i < 2; i++) {                              /* what it prints is read and printed the same */
        text *out = i ? &twice : &once;
        body.len = 0;
        text_puts(&body, "{\"parameters\":[{\"name\":\"@p\",\"value\":[1]}],\"query\":");
        text_quote(&body, aioc_mem_str(once.at));
        text_puts(&body, "}");
        query = emu_sql_prepare(body.at, body.len, 0, NULL, &error);
        if (!query) printf("  %s: %s\n", once.at, error.message);
        CHECK(query != NULL);
        out->len = 0;
        CHECK(emu_sql_print(query, text_add, out, &error));
        emu_sql_free(query);
    }
    CHECK_STR(once.at, wanted);
    CHECK_STR(twice.at, wanted);
    free(body.at);
    free(once.at);
    free(twice.at);
}

TEST(text_is_in_the_spelling_of_the_service)
{
    check_print("select * from c", "SELECT *\nFROM c");
    check_print("SELECT DISTINCT TOP 3 VALUE c.a From Root c where c.b=1", "SELECT DISTINCT TOP 3 VALUE c.a\n"
                "FROM Root AS c\nWHERE (c.b = 1)");
    check_print("SELECT c.a, c.b AS bb, c['a b'], c[\"x\"] y, 1+2, Upper(c.a), c.t[0] FROM c",
                "SELECT c.a, c.b AS bb, c[\"a b\"], c[\"x\"] AS y, (1 + 2), Upper(c.a), c.t[0]\nFROM c");
    check_print("SELECT VALUE 'a\"b\\\\c\\n' FROM c", "SELECT VALUE \"a\\\"b\\\\c\\n\"\nFROM c");
    check_print("SELECT VALUE [1,-2.5,1e3,0.1,1e300,true,null,undefined,{},{'a':[]},@p] FROM c",
                "SELECT VALUE [1, -2.5, 1000, 0.1, 1e+300, true, null, undefined, {}, {\"a\": []}, @p]\nFROM c");
    check_print("SELECT VALUE 0.005676387343555689 FROM c", "SELECT VALUE 0.0056763873435556889\nFROM c");
    check_print("SELECT VALUE c.a AND c.b AND NOT c.c OR c.d FROM c",
                "SELECT VALUE (((c.a AND c.b) AND (NOT c.c)) OR c.d)\nFROM c");
    check_print("SELECT VALUE c.a<>1?c.b??2:-c.c FROM c", "SELECT VALUE ((c.a != 1) ? (c.b ?? 2) : (- c.c))\nFROM c");
    check_print("SELECT * FROM c WHERE c.a NOT IN (1,2) AND c.b NOT BETWEEN 1 AND 2 AND c.d LIKE 'x' ESCAPE '!'",
                "SELECT *\nFROM c\nWHERE (((c.a NOT IN (1, 2)) AND (c.b NOT BETWEEN 1 AND 2)) AND "
                "(c.d LIKE \"x\" ESCAPE \"!\"))");
    check_print("SELECT t FROM c JOIN t IN c.tags JOIN (SELECT VALUE u FROM u IN t.us WHERE u > 1) AS s",
                "SELECT t\nFROM c\nJOIN t IN c.tags\nJOIN (\n    SELECT VALUE u\n    FROM u IN t.us\n"
                "    WHERE (u > 1)\n) AS s");
    check_print("SELECT VALUE ARRAY(SELECT VALUE t FROM t IN c.tags) FROM c",
                "SELECT VALUE ARRAY(\n    SELECT VALUE t\n    FROM t IN c.tags\n)\nFROM c");
    check_print("SELECT * FROM c WHERE EXISTS(SELECT VALUE (SELECT VALUE 1) FROM t IN c.tags)",
                "SELECT *\nFROM c\nWHERE EXISTS(\n    SELECT VALUE (\n        SELECT VALUE 1\n    )\n"
                "    FROM t IN c.tags\n)");
    check_print("SELECT c.a, COUNT(1) AS n FROM c GROUP BY c.a OFFSET 1 LIMIT 2",
                "SELECT c.a, COUNT(1) AS n\nFROM c\nGROUP BY c.a\nOFFSET 1 LIMIT 2");
    check_print("SELECT * FROM c ORDER BY c.a, c.b ASC, c.d DESC",
                "SELECT *\nFROM c\nORDER BY c.a, c.b ASC, c.d DESC");
    check_print("SELECT VALUE t FROM t IN c.a.tags", "SELECT VALUE t\nFROM t IN c.a.tags");
}

/*--- Whatever is asked ----------------------------------------------------------------*/

static const char *const pieces[] = {
    "SELECT", "DISTINCT", "TOP 3", "VALUE", "*", "c", "c.a", "c['b c']", "c.t[0]", "FROM", "FROM c", "JOIN t IN c.tags",
    "WHERE", "c.pk = 1", "c.pk IN (1, 'x', null)", "AND", "OR", "NOT", "(", ")", ",", "GROUP BY", "ORDER BY", "DESC",
    "OFFSET 1 LIMIT 2", "COUNT(1)", "SUM(c.n)", "AVG(c.n + 1)", "MAKESET(c.s)", "AS x", "1", "-2.5", "'it''", "@p",
    "{'k': c.a}", "[1, c.b]", "EXISTS(SELECT VALUE t FROM t IN c.tags)", "(SELECT VALUE 1)", "c.a BETWEEN 1 AND 2",
    "c.s LIKE 'x%'", "?", ":", "??", "RANK", "FullTextScore(c.t, 'a')", "VectorDistance(c.v, [1, 2])", "RRF(",
    "ABS(c.pk)", "FROM (SELECT DISTINCT c.a FROM c) AS s", "true", "undefined"
};

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* A query out of a whole one: pieces put in, taken out, changed. */
static void make_any_query(text *out, uint64_t *random)
{
    static const char *const whole[] = {
        "SELECT c.a, COUNT(1) AS n FROM c WHERE c.pk IN (1, 2) GROUP BY c.a", "SELECT DISTINCT VALUE c.a FROM c",
        "SELECT TOP 3 * FROM c WHERE c.a > 1 AND c.pk = 'x' ORDER BY c.a DESC, c.b",
        "SELECT VALUE AVG(c.n) FROM c JOIN t IN c.tags WHERE NOT (t.x = @p) OR c.pk LIKE 'a!%' ESCAPE '!'",
        "SELECT VALUE COUNT(1) FROM (SELECT DISTINCT c.a FROM c) AS s",
        "SELECT * FROM c ORDER BY RANK RRF(FullTextScore(c.t, 'a'), VectorDistance(c.v, [1]), [1, 2]) OFFSET 1 LIMIT 2",
        "SELECT VALUE {'a': ARRAY(SELECT VALUE t FROM t IN c.tags), 'b': c.a ? 1 : c.b ?? 2} FROM c OFFSET 1 LIMIT 2"
    };
    const char *from = whole[random_next(random) % COUNT_OF(whole)];
    unsigned changes = (unsigned)(random_next(random) % 4);
    out->len = 0;
    while (*from) {
        size_t len = strcspn(from, " ") + 1;
        if (len > strlen(from)) len = strlen(from);
        if (changes && random_next(random) % 8 == 0) {
            changes--;
            if (random_next(random) % 2) {
                text_puts(out, pieces[random_next(random) % COUNT_OF(pieces)]);
                text_puts(out, " ");
            }
            if (random_next(random) % 2) from += len;
            continue;
        }
        text_add(out, from, len);
        from += len;
    }
}

/* What was parsed prints as what parses and prints the same; and its plan is JSON, or an error is. */
static bool is_sound(const text *sql)
{
    static const char parameters[] = "[{\"name\":\"@p\",\"value\":[1]}]";
    text body = {NULL, 0, 0}, once = {NULL, 0, 0}, twice = {NULL, 0, 0}, plan = {NULL, 0, 0};
    emu_sql_error error;
    emu_sql_query *query;
    aiocosmos_str source = aioc_mem_str(sql->at);
    json_text json;
    keyed by;
    bool sound = true;
    int turn;
    for (turn = 0; turn < 2 && sound; turn++) {
        text *out = turn ? &twice : &once;
        body.len = 0;
        text_puts(&body, "{\"query\":");
        text_quote(&body, source);
        text_puts(&body, ",\"parameters\":");
        text_puts(&body, parameters);
        text_puts(&body, "}");
        query = emu_sql_prepare(body.at, body.len, 0, NULL, &error);
        if (!query && turn == 0) break;                    /* no query: nothing to print */
        sound = query && emu_sql_print(query, text_add, out, &error);
        emu_sql_free(query);
        source = aioc_mem_str(once.at ? once.at : "");
    }
    if (sound && twice.at) sound = strcmp(once.at, twice.at) == 0;
    key_by(&by, AIOC_PROTOCOL_MULTI_HASH, 2, "/pk /a");
    make_plan(&plan, aioc_mem_str(sql->at), parameters, &by, NULL);
    sound = sound && json_open(&json, plan.at + (plan.at[0] == '!'), plan.len - (plan.at[0] == '!'));
    if (sound) json_close(&json);
    free(body.at);
    free(once.at);
    free(twice.at);
    free(plan.at);
    return sound;
}

TEST(any_text_has_a_sound_plan_or_is_refused)
{
    text sql = {NULL, 0, 0};
    uint64_t random = 20261121;
    int i;
    for (i = 0; i < 20000; i++) {
        make_any_query(&sql, &random);
        if (is_sound(&sql)) continue;
        printf("  %s\n", sql.at);
        CHECK(false);
    }
    free(sql.at);
}
