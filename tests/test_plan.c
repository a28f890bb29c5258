/* The layers plan and position alone, and of rows what needs a plan: plans, texts, tokens, hybrid search. */
#define AIOCOSMOS_STATIC
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"
#include "texts.h"
#include "tools/emulator/sql/sql.h"

#include <ctype.h>
#include <stdlib.h>

static heap_state plenty;

/* A JSON text and what is read of it. */
typedef struct parsed {
    aioc_mem memory;
    aiocosmos_json_doc doc;
    char *text;
    aiocosmos_json root;
} parsed;

static parsed *parse(aiocosmos_str text)
{
    parsed *p = calloc(1, sizeof *p);
    aioc_mem_init(&p->memory, NULL, 64u << 20);
    aioc_json_open(&p->doc, &p->memory);
    p->text = malloc(text.len + 1);
    if (text.len) memcpy(p->text, text.ptr, text.len);
    if (aioc_json_parse(&p->doc, p->text, text.len) != 0)
        test_fail(__FILE__, __LINE__, "%.*s: %s at %zu", (int)text.len, text.ptr, p->doc.error, p->doc.error_at);
    p->root = aioc_json_root(&p->doc);
    return p;
}

static void forget(parsed *p)
{
    aioc_json_close(&p->doc);
    aioc_mem_close(&p->memory);
    free(p->text);
    free(p);
}

static parsed *parse_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    static char text[1 << 20];
    size_t len;
    if (!file) test_fail(__FILE__, __LINE__, "cannot read %s: run it from the root of the repository", path);
    len = fread(text, 1, sizeof text, file);
    fclose(file);
    CHECK(len > 0 && len < sizeof text);
    return parse(view(text, len));
}

static void check_text(int line, const char *what, aiocosmos_str got, aiocosmos_str want)
{
    if (aioc_mem_same(got, want)) return;
    test_fail(__FILE__, line, "%s: \"%.*s\", not \"%.*s\"", what, (int)got.len, got.len ? got.ptr : "", (int)want.len,
              want.len ? want.ptr : "");
}

#define CHECK_VIEW(GOT, WANT) check_text(__LINE__, #GOT, (GOT), str(WANT))
#define CHECK_BUFFER(GOT, WANT) check_text(__LINE__, #GOT, view((GOT).data, (GOT).len), str(WANT))

/* The JSON string's own text, unescaped; lent until the next but three. */
static const char *unescaped(aiocosmos_json value)
{
    static char texts[4][8192];
    static unsigned turn;
    char *text = texts[turn++ % 4];
    *text = '\0';
    if (value.type == AIOCOSMOS_JSON_STR) CHECK(aioc_json_get_str(value, text, sizeof texts[0]) < sizeof texts[0]);
    return text;
}

/*--- Plans ---------------------------------------------------------------------*/

/* A plan and the memory it is in. */
typedef struct planned {
    heap_state r;
    aioc_mem memory;
    aioc_plan *plan;
    int result;
    char why[300];
} planned;

static planned *plan_of(aiocosmos_str json)
{
    planned *p = calloc(1, sizeof *p);
    aiocosmos_str copy = tight(json);
    p->memory = rationed(&p->r, 1 << 20);
    p->result = aioc_plan_read(&p->memory, copy, &p->plan, p->why, sizeof p->why);
    loosen(copy);
    return p;
}

static void unplan(planned *p)
{
    aioc_plan_release(&p->memory, p->plan);
    aioc_mem_close(&p->memory);
    CHECK_INT(p->r.blocks, 0);
    free(p);
}

static planned *plan_ok(const char *json)
{
    planned *p = plan_of(str(json));
    if (p->result != 0) test_fail(__FILE__, __LINE__, "%s: %d, %s", json, p->result, p->why);
    return p;
}

/* The count that a plan has, or the one that stands for none. */
static uint64_t count_of(aiocosmos_json value, uint64_t none)
{
    int64_t count = 0;
    return aioc_json_get_i64(value, &count) ? (uint64_t)count : none;
}

static void check_limits(aiocosmos_json json, const char *skip, const char *const take[2], const aioc_plan_info *info)
{
    uint64_t first = count_of(aioc_json_at(json, take[0]), UINT64_MAX);
    uint64_t second = count_of(aioc_json_at(json, take[1]), UINT64_MAX);
    CHECK_INT(info->skip, count_of(aioc_json_at(json, skip), 0));
    CHECK_INT(info->take, first < second ? first : second);
}

static const char *aggregate_name(unsigned aggregate)
{
    static const char *const names[] = {"", "Count", "CountIf", "Sum", "Average", "Min", "Max", "MakeList", "MakeSet"};
    return aggregate < 9 ? names[aggregate] : "?";
}

/* What a text becomes: "true" where there is room for a filter. */
static const char *without_filter(const char *sql)
{
    static char text[4000];
    const char *room;
    size_t len = 0;
    for (; (room = strstr(sql, AIOC_PLAN_FILTER)) != NULL; sql = room + sizeof AIOC_PLAN_FILTER - 1)
        len += (size_t)snprintf(text + len, sizeof text - len, "%.*strue", (int)(room - sql), sql);
    snprintf(text + len, sizeof text - len, "%s", sql);
    return text;
}

/* One queryInfo against what was read of it. */
static void check_info(aiocosmos_json json, const aioc_plan_info *info)
{
    static const char *const distinct[] = {"None", "Ordered", "Unordered"}, *const take[] = {"/top", "/limit"};
    aiocosmos_json value = aioc_json_none(), type;
    uint32_t i = 0;
    bool truth = false, merges = false;
    CHECK(aioc_json_is_str(aioc_json_at(json, "/distinctType"), distinct[info->distinct]));
    check_limits(json, "/offset", take, info);
    CHECK_INT(info->order_count, aioc_json_count(aioc_json_at(json, "/orderBy")));
    for (i = 0; aioc_json_next(aioc_json_at(json, "/orderBy"), NULL, &value); i++) {
        CHECK(aioc_json_is_str(value, info->descending[i] ? "Descending" : "Ascending"));
    }
    value = aioc_json_none();
    CHECK_INT(info->shape.alias_count, aioc_json_count(aioc_json_at(json, "/groupByAliases")));
    for (i = 0; aioc_json_next(aioc_json_at(json, "/groupByAliases"), NULL, &value); i++) {
        char pointer[200];
        CHECK_VIEW(info->shape.aliases[i].name, unescaped(value));
        snprintf(pointer, sizeof pointer, "/groupByAliasToAggregateType/%s", unescaped(value));
        type = aioc_json_at(json, pointer);
        CHECK_STR(unescaped(type), aggregate_name(info->shape.aliases[i].aggregate));
        merges = merges || type.type == AIOCOSMOS_JSON_STR;
    }
    CHECK_STR(unescaped(aioc_json_at(json, "/aggregates/0")), aggregate_name(info->shape.value_aggregate));
    CHECK_INT(info->shape.grouped, aioc_json_count(aioc_json_at(json, "/groupByExpressions")) > 0);
    CHECK(aioc_json_get_bool(aioc_json_at(json, "/hasSelectValue"), &truth));
    CHECK_INT(info->shape.value, truth);
    CHECK_INT(info->merges_groups, merges || info->shape.grouped || info->shape.value_aggregate != AIOC_PLAN_PLAIN);
    CHECK_VIEW(info->rewritten, without_filter(unescaped(aioc_json_at(json, "/rewrittenQuery"))));
    CHECK_INT(info->has_dcount, aioc_json_at(json, "/dCountInfo").type == AIOCOSMOS_JSON_OBJ);
    CHECK(aioc_json_get_bool(aioc_json_at(json, "/hasNonStreamingOrderBy"), &truth));
    CHECK_INT(info->non_streaming, truth);
}

static void check_hybrid(aiocosmos_json json, const aioc_plan *plan)
{
    static const char *const take[] = {"/take", "/take"};
    aiocosmos_json value = aioc_json_none();
    uint32_t i = 0;
    CHECK(plan->hybrid && plan->needs_statistics);
    CHECK_VIEW(plan->statistics, unescaped(aioc_json_at(json, "/globalStatisticsQuery")));
    check_limits(json, "/skip", take, &plan->info);
    CHECK_INT(plan->component_count, aioc_json_count(aioc_json_at(json, "/componentQueryInfos")));
    for (; aioc_json_next(aioc_json_at(json, "/componentQueryInfos"), NULL, &value); i++) {
        check_info(value, &plan->components[i].info);
        CHECK(plan->components[i].weight == 1);
    }
}

/* A point ends before its successor. */
static void check_span(aiocosmos_json range, const aioc_plan_span *span)
{
    bool inclusive = false;
    const char *min = unescaped(aioc_json_at(range, "/min")), *max = unescaped(aioc_json_at(range, "/max"));
    CHECK_VIEW(span->min, min);
    CHECK(aioc_json_get_bool(aioc_json_at(range, "/isMaxInclusive"), &inclusive));
    if (!inclusive) CHECK_VIEW(span->max, max);
    else {
        CHECK_STR(min, max);
        CHECK(aioc_protocol_epk_compare(span->min, span->max) < 0);
        CHECK_INT(span->max.len, *min ? strlen(min) : 32);
    }
}

TEST(plan_vectors)
{
    parsed *vectors = parse_file("tests/vectors/query-plans.json");
    aiocosmos_json one = aioc_json_none();
    unsigned count = 0;
    while (aioc_json_next(aioc_json_at(vectors->root, "/cases"), NULL, &one)) {
        aiocosmos_json plan = aioc_json_at(one, "/plan"), info, range = aioc_json_none();
        planned *p;
        uint32_t i = 0;
        if (plan.type == AIOCOSMOS_JSON_NONE) plan = one;                  /* those with a queryInfo alone */
        p = plan_of(view(plan.ptr, plan.len));
        if (p->result != 0) test_fail(__FILE__, __LINE__, "%.*s: %s", (int)plan.len, plan.ptr, p->why);
        check_text(__LINE__, "text", p->plan->text, view(plan.ptr, plan.len));
        info = aioc_json_at(plan, "/queryInfo");
        if (info.type == AIOCOSMOS_JSON_OBJ) check_info(info, &p->plan->info);
        else check_hybrid(aioc_json_at(plan, "/hybridSearchQueryInfo"), p->plan);
        for (; aioc_json_next(aioc_json_at(plan, "/queryRanges"), NULL, &range); i++)
            check_span(range, &p->plan->spans[i]);
        CHECK_INT(p->plan->span_count, i > 0 ? i : 1);
        unplan(p);
        count++;
    }
    CHECK_INT(count, 55);
    forget(vectors);
}

TEST(plan_that_says_little)
{
    planned *p = plan_ok("{\"queryInfo\":{}}");
    CHECK_INT(p->plan->refs, 1);
    CHECK(!p->plan->hybrid && p->plan->info.distinct == AIOC_PLAN_ALL && p->plan->info.take == UINT64_MAX);
    CHECK(!p->plan->info.merges_groups && p->plan->info.order_count == 0 && p->plan->info.rewritten.len == 0);
    CHECK_INT(p->plan->span_count, 1);
    CHECK_VIEW(p->plan->spans[0].min, "");
    CHECK_VIEW(p->plan->spans[0].max, "FF");
    unplan(p);
}

TEST(plan_of_native_code_has_numbers_for_booleans)
{
    planned *p = plan_ok("{\"partitionedQueryExecutionInfoVersion\":1,"
                         "\"queryInfo\":{\"rewrittenQuery\":\"SELECT\",\"hasSelectValue\":1,"
                         "\"hasNonStreamingOrderBy\":0,\"aggregates\":[\"Max\"],\"somethingNew\":{\"a\":[1]}},"
                         "\"queryRanges\":[{\"min\":[],\"max\":\"Infinity\",\"isMinInclusive\":1,"
                             "\"isMaxInclusive\":0}]}");
    CHECK(p->plan->info.shape.value && !p->plan->info.non_streaming && p->plan->info.merges_groups);
    CHECK_INT(p->plan->info.shape.value_aggregate, AIOC_PLAN_MAX);
    CHECK_VIEW(p->plan->spans[0].min, "");
    CHECK_VIEW(p->plan->spans[0].max, "FF");
    unplan(p);
}

TEST(plan_counts_distinct_rows)
{
    planned *p = plan_ok("{\"queryInfo\":{\"distinctType\":\"Unordered\","
        "\"dCountInfo\":{\"dCountAlias\":\"n\\u00e9\"}}}");
    CHECK(p->plan->info.has_dcount);
    CHECK_VIEW(p->plan->info.dcount_alias, "n\xc3\xa9");
    unplan(p);
    p = plan_ok("{\"queryInfo\":{\"dCountInfo\":{\"dCountAlias\":null}}}");
    CHECK(p->plan->info.has_dcount && p->plan->info.dcount_alias.len == 0);
    unplan(p);
}

TEST(plan_orders_without_expressions)
{
    planned *p = plan_ok("{\"queryInfo\":{\"rewrittenQuery\":\"SELECT\",\"orderBy\":[\"Descending\",\"Ascending\"],"
                         "\"orderByExpressions\":[]}}");
    CHECK_INT(p->plan->info.order_count, 2);
    CHECK(p->plan->info.descending[0] && !p->plan->info.descending[1]);
    unplan(p);
}

/* Rows that are not sorted can't be compared with the one before only. */
TEST(plan_ordered_distinct_needs_an_order)
{
    planned *p = plan_ok("{\"queryInfo\":{\"distinctType\":\"Ordered\"}}");
    CHECK_INT(p->plan->info.distinct, AIOC_PLAN_DISTINCT_UNORDERED);
    unplan(p);
    p = plan_ok("{\"queryInfo\":{\"rewrittenQuery\":\"SELECT\","
                "\"distinctType\":\"Ordered\",\"orderBy\":[\"Ascending\"]}}");
    CHECK_INT(p->plan->info.distinct, AIOC_PLAN_DISTINCT_ORDERED);
    unplan(p);
}

TEST(plan_aliases_in_the_order_of_the_list)
{
    planned *p = plan_ok("{\"queryInfo\":{\"rewrittenQuery\":\"SELECT\",\"groupByExpressions\":[\"c.a\"],"
                         "\"groupByAliases\":[\"a~1b/c\",\"$1\",\"\"],"
                         "\"groupByAliasToAggregateType\":{\"\":\"Average\",\"\\u0024\\u0031\":\"CountIf\","
                             "\"a~1b/c\":null}}}");
    const aioc_plan_shape *shape = &p->plan->info.shape;
    CHECK(shape->grouped && p->plan->info.merges_groups && !shape->value);
    CHECK_INT(shape->alias_count, 3);
    CHECK_VIEW(shape->aliases[0].name, "a~1b/c");
    CHECK_INT(shape->aliases[0].aggregate, AIOC_PLAN_PLAIN);
    CHECK_VIEW(shape->aliases[1].name, "$1");
    CHECK_INT(shape->aliases[1].aggregate, AIOC_PLAN_COUNT_IF);
    CHECK_VIEW(shape->aliases[2].name, "");
    CHECK_INT(shape->aliases[2].aggregate, AIOC_PLAN_AVERAGE);
    unplan(p);
    p = plan_ok("{\"queryInfo\":{\"rewrittenQuery\":\"SELECT\",\"groupByAliasToAggregateType\":"
                "{\"b\":\"MakeSet\",\"a\":null}}}");
    CHECK_INT(p->plan->info.shape.alias_count, 2);
    CHECK_VIEW(p->plan->info.shape.aliases[0].name, "b");
    CHECK(p->plan->info.merges_groups && !p->plan->info.shape.grouped);
    unplan(p);
}

/* SELECT VALUE: an alias that is plain and no group is nothing to merge. */
TEST(plan_of_plain_aliases_merges_nothing)
{
    planned *p = plan_ok("{\"queryInfo\":{\"groupByAliases\":[\"a\"],\"groupByAliasToAggregateType\":{\"a\":null}}}");
    CHECK(!p->plan->info.merges_groups);
    unplan(p);
}

#define SPAN(MIN, MAX, WITH_MIN, WITH_MAX) \
    "{\"min\":\"" MIN "\",\"max\":\"" MAX "\",\"isMinInclusive\":" WITH_MIN ",\"isMaxInclusive\":" WITH_MAX "}"

TEST(plan_spans)
{
    static const struct { const char *ranges, *want; } cases[] = {
        {"[]", ""},
        {"null", "-FF"},
        {"[" SPAN("", "FF", "true", "false") "]", "-FF"},
        {"[" SPAN("", "FF", "true", "true") "]", "-FF"},
        {"[" SPAN("", "", "true", "true") "]", "-00000000000000000000000000000001"},
        {"[" SPAN("30", "30", "true", "true") "]", "30-31"},
        {"[" SPAN("3AFF", "3AFF", "true", "true") "]", "3AFF-3B00"},
        {"[" SPAN("09", "09", "true", "true") "]", "09-0A"},
        {"[" SPAN("01ffff", "01ffff", "true", "true") "]", "01ffff-020000"},
        {"[" SPAN("10", "20", "false", "true") "]", "11-21"},
        {"[" SPAN("10", "10FF", "true", "false") "]", "10-10FF"},
        {"[{\"min\":\"10\",\"max\":\"20\"}]", "10-20"},
        {"[" SPAN("30", "30", "true", "true") "," SPAN("", "10", "true", "false") "," SPAN("10", "20", "true",
            "false") "]",
         "-10 10-20 30-31"},
        {"[" SPAN("05", "05", "true", "true") "," SPAN("04", "04", "true", "true") "," SPAN("03", "03", "true",
            "true") ","
         SPAN("01", "01", "true", "true") "," SPAN("02", "02", "true", "true") "]", "01-02 02-03 03-04 04-05 05-06"},
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[1024], got[512] = "";
        planned *p;
        uint32_t k;
        snprintf(json, sizeof json, "{\"queryInfo\":{},\"queryRanges\":%s}", cases[i].ranges);
        p = plan_ok(json);
        for (k = 0; k < p->plan->span_count; k++) {
            const aioc_plan_span *span = &p->plan->spans[k];
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s%.*s-%.*s", k ? " " : "", (int)span->min.len,
                     span->min.ptr, (int)span->max.len, span->max.ptr);
        }
        CHECK_STR(got, cases[i].want);
        unplan(p);
    }
}

TEST(plan_spans_of_thousands_of_points)
{
    static char json[600000];
    planned *p;
    size_t len = (size_t)snprintf(json, sizeof json, "{\"queryInfo\":{},\"queryRanges\":[");
    uint32_t i;
    for (i = 0; i < 5000; i++) {
        unsigned key = i * 7919u % 5000u * 2u;
        len += (size_t)snprintf(json + len, sizeof json - len, "%s{\"min\":\"%04X\",\"max\":\"%04X\","
            "\"isMaxInclusive\":1}",
                                i ? "," : "", key, key);
    }
    snprintf(json + len, sizeof json - len, "]}");
    p = plan_ok(json);
    CHECK_INT(p->plan->span_count, 5000);
    for (i = 0; i < 5000; i++) {
        char want[8];
        snprintf(want, sizeof want, "%04X", i * 2);
        CHECK_VIEW(p->plan->spans[i].min, want);
        snprintf(want, sizeof want, "%04X", i * 2 + 1);
        CHECK_VIEW(p->plan->spans[i].max, want);
    }
    unplan(p);
}

/* The successors of the vectors, but for the key of no width: "00" is that same key. */
TEST(plan_epk_successors)
{
    parsed *vectors = parse_file("tests/vectors/epk-ranges.json");
    aiocosmos_json one = aioc_json_none();
    unsigned count = 0;
    while (aioc_json_next(aioc_json_at(vectors->root, "/cases"), NULL, &one)) {
        char epk[200];
        if (!aioc_json_is_str(aioc_json_at(one, "/op"), "successor")) continue;
        snprintf(epk, sizeof epk, "%s", unescaped(aioc_json_at(one, "/epk")));
        if (*epk) CHECK_VIEW(aioc_plan_epk_successor(str(epk)), unescaped(aioc_json_at(one, "/result")));
        count++;
    }
    CHECK_INT(count, 7);
    forget(vectors);
}

TEST(plan_refusals)
{
    static const struct { const char *json, *why; } cases[] = {
        {"{\"queryInfo\":{\"distinctType\":\"Fuzzy\"}}",
         "the query plan's distinctType is \"Fuzzy\", which this version does not know"},
        {"{\"queryInfo\":{\"distinctType\":7}}", "distinctType is 7"},
        {"{\"queryInfo\":{\"top\":-1}}", "top is -1, not a count"},
        {"{\"queryInfo\":{\"top\":1.5}}", "top is 1.5, not a count"},
        {"{\"queryInfo\":{\"offset\":\"1\"}}", "offset is \"1\", not a count"},
        {"{\"queryInfo\":{\"limit\":[]}}", "limit is [], not a count"},
        {"{\"queryInfo\":{\"limit\":1e30}}", "limit is 1e30, not a count"},
        {"{\"queryInfo\":{\"orderBy\":[\"Sideways\"]}}", "orderBy is \"Sideways\", which this version does not know"},
        {"{\"queryInfo\":{\"orderBy\":\"Ascending\"}}", "orderBy is \"Ascending\", not a list"},
        {"{\"queryInfo\":{\"aggregates\":[\"Median\"],\"hasSelectValue\":true}}",
         "aggregates is \"Median\", which this version does not know"},
        {"{\"queryInfo\":{\"aggregates\":[null]}}", "aggregates is null, not an aggregate"},
        {"{\"queryInfo\":{\"aggregates\":[\"Sum\",\"Count\"]}}", "more than SELECT VALUE has"},
        {"{\"queryInfo\":{\"aggregates\":[\"Sum\"],\"hasSelectValue\":false}}", "not of a SELECT VALUE"},
        {"{\"queryInfo\":{\"groupByAliases\":[\"a\"]}}", "groupByAliasToAggregateType is missing, not as long"},
        {"{\"queryInfo\":{\"groupByAliases\":[\"a\"],\"groupByAliasToAggregateType\":{\"b\":null}}}",
         "groupByAliases is \"a\", of which it does not say what it is"},
        {"{\"queryInfo\":{\"groupByAliases\":[\"a\"],\"groupByAliasToAggregateType\":{\"a\":\"First\"}}}",
            "\"First\", which this"},
        {"{\"queryInfo\":{\"groupByAliases\":[1],\"groupByAliasToAggregateType\":{\"a\":null}}}",
            "groupByAliases is 1, not"},
        {"{\"queryInfo\":{\"groupByAliasToAggregateType\":[]}}", "not an object"},
        {"{\"queryInfo\":{\"hasSelectValue\":\"yes\"}}", "hasSelectValue is \"yes\", neither true nor false"},
        {"{\"queryInfo\":{\"hasNonStreamingOrderBy\":2}}", "neither true nor false"},
        {"{\"queryInfo\":{\"rewrittenQuery\":5}}", "rewrittenQuery is 5, not a text"},
        {"{\"queryInfo\":{\"dCountInfo\":true}}", "dCountInfo is true, not an object"},
        {"{\"queryInfo\":[]}", "queryInfo is [], not an object"},
        {"{\"queryInfo\":{},\"partitionedQueryExecutionInfoVersion\":3}", "Version is 3,"
            " which this version does not know"},
        {"{\"queryInfo\":{},\"partitionedQueryExecutionInfoVersion\":\"2\"}", "Version is \"2\""},
        {"{\"queryInfo\":{},\"hybridSearchQueryInfo\":{}}", "but it has a queryInfo too"},
        {"{\"queryInfo\":{},\"queryRanges\":{}}", "queryRanges is {}, not a list"},
        {"{\"queryInfo\":{},\"queryRanges\":[5]}", "queryRanges' min is missing, not an effective key"},
        {"{\"queryInfo\":{},\"queryRanges\":[" SPAN("0G", "FF", "true", "false") "]}", "min is \"0G\","
            " not an effective key"},
        {"{\"queryInfo\":{},\"queryRanges\":[" SPAN("0", "FF", "true", "false") "]}", "min is \"0\","
            " not an effective key"},
        {"{\"queryInfo\":{},\"queryRanges\":[{\"min\":[\"a\"],\"max\":\"FF\"}]}", "min is [\"a\"],"
            " not an effective key"},
        {"{\"queryInfo\":{},\"queryRanges\":[" SPAN("20", "10", "true", "false") "]}", "that has no inside"},
        {"{\"queryInfo\":{},\"queryRanges\":[" SPAN("20", "20", "true", "false") "]}", "that has no inside"},
        {"{\"queryInfo\":{},\"queryRanges\":[" SPAN("FF", "FF", "true", "true") "]}", "that has no inside"},
        {"{\"queryInfo\":{},\"queryRanges\":[" SPAN("10", "20", "true", "false") "," SPAN("15", "30", "true",
            "false") "]}",
         "two of them overlap"},
        {"{\"queryInfo\":{},\"queryRanges\":[" SPAN("10", "10", "true", "true") "," SPAN("10", "10", "true",
            "true") "]}",
         "two of them overlap"},
        {"{\"hybridSearchQueryInfo\":{}}", "componentQueryInfos is missing, so that nothing is ranked"},
        {"{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[{}]}}", "which has no query"},
        {"{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[5]}}", "queryInfo is 5, not an object"},
        {"{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":{}}}", "not a list"},
        {"{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[{\"rewrittenQuery\":\"q\"}],\"componentWeights\":[1,"
            "2]}}",
         "not as long as its componentQueryInfos"},
        {"{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[{\"rewrittenQuery\":\"q\"}],"
            "\"componentWeights\":[\"x\"]}}",
         "\"x\", not a weight"},
        {"{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[{\"rewrittenQuery\":\"q\"}],\"take\":-5}}",
            "take is -5"},
        {"{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[{\"rewrittenQuery\":\"q\"}],"
            "\"requiresGlobalStatistics\":1}}",
         "globalStatisticsQuery is missing, but it requires"},
        {"{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[{\"rewrittenQuery\":\"q\",\"orderBy\":[\"Ascending\","
         "\"Ascending\"]}]}}", "ordered by more than a score"},
        {"{\"queryInfo\":", "the query plan is not JSON at byte 13"},
        {"<html>", "the query plan is not JSON at byte 0"},
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        planned *p = plan_of(str(cases[i].json));
        if (p->result != AIOCOSMOS_E_PROTOCOL || !strstr(p->why, cases[i].why) || p->plan)
            test_fail(__FILE__, __LINE__, "%s: %d, %s", cases[i].json, p->result, p->why);
        unplan(p);
    }
}

TEST(plan_of_too_many_components)
{
    char json[4096] = "{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[";
    planned *p;
    int i;
    for (i = 0; i < 65; i++) strcat(json, i ? ",{\"rewrittenQuery\":\"q\"}" : "{\"rewrittenQuery\":\"q\"}");
    strcat(json, "]}}");
    p = plan_of(str(json));
    CHECK_INT(p->result, AIOCOSMOS_E_PROTOCOL);
    CHECK(strstr(p->why, "more than this version ranks by"));
    unplan(p);
}

TEST(plan_or_something_else)
{
    static const char *const others[] = {"{}", "5", "null", "[]", "\"queryInfo\"", "{\"Errors\":[]}",
                                         "{\"queryInfo\":null,\"hybridSearchQueryInfo\":null}"};
    size_t i;
    for (i = 0; i < sizeof others / sizeof others[0]; i++) {
        planned *p = plan_of(str(others[i]));
        CHECK_INT(p->result, AIOCOSMOS_E_ARGUMENT);
        CHECK(strncmp(p->why, "not a query plan", 16) == 0);
        unplan(p);
    }
}

TEST(plan_is_shared)
{
    planned *p = plan_ok("{\"queryInfo\":{}}");
    p->plan->refs++;
    aioc_plan_release(&p->memory, p->plan);
    CHECK_INT(p->plan->refs, 1);
    CHECK(p->plan->bytes > p->plan->text.len);
    unplan(p);
}

TEST(plan_the_nth_allocation_fails)
{
    parsed *vectors = parse_file("tests/vectors/query-plans.json");
    aiocosmos_json one = aioc_json_none();
    while (aioc_json_next(aioc_json_at(vectors->root, "/cases"), NULL, &one)) {
        aiocosmos_json json = aioc_json_at(one, "/plan");
        unsigned long n;
        int result = AIOCOSMOS_E_NOMEM;
        if (json.type == AIOCOSMOS_JSON_NONE) continue;
        for (n = 0; result == AIOCOSMOS_E_NOMEM; n++) {
            heap_state r;
            aioc_mem memory = rationed(&r, n);
            aioc_plan *plan;
            char why[100];
            result = aioc_plan_read(&memory, view(json.ptr, json.len), &plan, why, sizeof why);
            CHECK(result == 0 ? plan != NULL : result == AIOCOSMOS_E_NOMEM && !plan);
            aioc_plan_release(&memory, plan);
            aioc_mem_close(&memory);
            CHECK_INT(r.blocks, 0);
        }
        CHECK(n > 2);
    }
    forget(vectors);
}

/* Plans with some bytes changed: whatever they are taken for, nothing is touched that isn't theirs. */
TEST(plan_garbled)
{
    parsed *vectors = parse_file("tests/vectors/query-plans.json");
    aiocosmos_json one = aioc_json_none();
    unsigned outcomes[3] = {0, 0, 0};
    seed = 11;
    while (aioc_json_next(aioc_json_at(vectors->root, "/cases"), NULL, &one)) {
        static const char bytes[] = "{}[]\",:0159.-eEAFGx\\nullN ";
        aiocosmos_json json = aioc_json_at(one, "/plan");
        int round;
        for (round = 0; round < 300 && json.type != AIOCOSMOS_JSON_NONE; round++) {
            aiocosmos_str copy = tight(view(json.ptr, json.len));
            uint32_t changes = 1 + random_below(3);
            planned *p;
            while (changes-- > 0)
                ((char *)(uintptr_t)copy.ptr)[random_below((uint32_t)copy.len)] = bytes[random_below(sizeof bytes - 1)];
            p = plan_of(copy);
            outcomes[p->result == 0 ? 0 : p->result == AIOCOSMOS_E_PROTOCOL ? 1 : 2]++;
            unplan(p);
            loosen(copy);
        }
    }
    CHECK(outcomes[0] > 100 && outcomes[1] > 1000);
    forget(vectors);
}

TEST(plan_general)
{
    static const struct { const char *sql; bool general; } cases[] = {
        {"SELECT * FROM c WHERE c.a = @a", true},
        {"SELECT TOP 10 * FROM c WHERE c.a = @a", true},
        {"SELECT TOP @n * FROM c", false},
        {"select top @n * FROM c", false},
        {"SELECT TOP(@n) * FROM c", false},
        {"SELECT TOP -- how many\n @n * FROM c", false},
        {"SELECT TOP /* @x */ 5 * FROM c WHERE c.a = @a", true},
        {"SELECT * FROM c OFFSET @o LIMIT 5", false},
        {"SELECT * FROM c OFFSET 5 LIMIT @l", false},
        {"SELECT * FROM c OFFSET 5 LIMIT\t\r\n@l", false},
        {"SELECT * FROM c WHERE c.s = 'TOP @n' AND c.a = @a", true},
        {"SELECT * FROM c WHERE c.s = \"\\\" LIMIT @n\"", true},
        {"SELECT * FROM c -- LIMIT @n\nWHERE c.a = @a", true},
        {"SELECT c.limit, @a AS b FROM c", true},
        {"SELECT c.top @a", true},
        {"SELECT desktop @a", true},
        {"SELECT top_ @a", true},
        {"SELECT 'it", true},
        {"", true},
    };
    planned *p = plan_ok("{\"queryInfo\":{}}");
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        aiocosmos_str sql = tight(str(cases[i].sql));
        if (aioc_plan_is_general(p->plan, sql) != cases[i].general)
            test_fail(__FILE__, __LINE__, "%s", cases[i].sql);
        loosen(sql);
    }
    unplan(p);
    p = plan_ok("{\"queryInfo\":{},\"queryRanges\":[" SPAN("10", "10", "true", "true") "]}");
    CHECK(!aioc_plan_is_general(p->plan, str("SELECT * FROM c")));
    unplan(p);
    p = plan_ok("{\"queryInfo\":{},\"queryRanges\":[" SPAN("", "10", "true", "false") "," SPAN("20", "FF", "true",
        "false") "]}");
    CHECK(!aioc_plan_is_general(p->plan, str("SELECT * FROM c")));
    unplan(p);
    p = plan_ok("{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[{\"rewrittenQuery\":\"q\"}]}}");
    CHECK(aioc_plan_is_general(p->plan, str("SELECT * FROM c ORDER BY RANK FullTextScore(c.t, 'a@b')")));
    CHECK(!aioc_plan_is_general(p->plan, str("SELECT * FROM c ORDER BY RANK FullTextScore(c.t, @t)")));
    unplan(p);
}

static bool no_key(void *user, const aiocosmos_value *values, size_t count, char *out, size_t cap)
{
    (void)user, (void)values, (void)count, (void)out, (void)cap;
    return false;
}

static void keep_plan(void *user, const char *json, size_t len)
{
    snprintf((char *)user, 10000, "%.*s", (int)len, json);
}

/* What the gateway plans for a client with these features is understood, and says what the query does. */
TEST(plan_of_the_emulator)
{
    static const struct { const char *sql; uint8_t distinct; uint32_t order, aliases; bool merges, dcount; } cases[] = {
        {"SELECT * FROM c", AIOC_PLAN_ALL, 0, 0, false, false},
        {"SELECT TOP 5 c.a FROM c", AIOC_PLAN_ALL, 0, 0, false, false},
        {"SELECT c.a FROM c ORDER BY c.a DESC, c.b OFFSET 3 LIMIT 4", AIOC_PLAN_ALL, 2, 0, false, false},
        {"SELECT DISTINCT c.a FROM c", AIOC_PLAN_DISTINCT_UNORDERED, 0, 0, false, false},
        {"SELECT DISTINCT VALUE c.a FROM c ORDER BY c.a", AIOC_PLAN_DISTINCT_ORDERED, 1, 0, false, false},
        {"SELECT VALUE SUM(c.a) FROM c", AIOC_PLAN_ALL, 0, 0, true, false},
        {"SELECT COUNT(1) AS n, MIN(c.a), MAX(c.a) AS m, AVG(c.a) AS a FROM c", AIOC_PLAN_ALL, 0, 4, true, false},
        {"SELECT COUNTIF(c.a > 1) AS n, MAKELIST(c.a) AS l, MAKESET(c.a) AS s FROM c", AIOC_PLAN_ALL, 0, 3, true,
            false},
        {"SELECT c.a, c.b, SUM(c.d) AS d FROM c GROUP BY c.a, c.b", AIOC_PLAN_ALL, 0, 3, true, false},
        {"SELECT VALUE COUNT(1) FROM c GROUP BY c.a", AIOC_PLAN_ALL, 0, 0, true, false},
        {"SELECT VALUE c.a FROM c GROUP BY c.a OFFSET 1 LIMIT 2", AIOC_PLAN_ALL, 0, 0, true, false},
        {"SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.a FROM c)", AIOC_PLAN_DISTINCT_UNORDERED, 0, 0, false,
            true},
    };
    aiocosmos_str path = str("/pk");
    emu_sql_key key = {&path, 1, false, no_key, NULL};
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static char json[10000];
        char body[300];
        emu_sql_error error;
        const aioc_plan_info *info;
        emu_sql_query *query;
        planned *p;
        snprintf(body, sizeof body, "{\"query\":\"%s\"}", cases[i].sql);
        query = emu_sql_prepare(body, strlen(body), 0, NULL, &error);
        if (!query || !emu_sql_plan(query, &key, str(AIOC_PLAN_FEATURES), keep_plan, json, &error))
            test_fail(__FILE__, __LINE__, "%s: %s", cases[i].sql, error.message);
        emu_sql_free(query);
        p = plan_ok(json);
        info = &p->plan->info;
        if (info->distinct != cases[i].distinct || info->order_count != cases[i].order ||
            info->shape.alias_count != cases[i].aliases || info->merges_groups != cases[i].merges ||
            info->has_dcount != cases[i].dcount) test_fail(__FILE__, __LINE__, "%s: %s", cases[i].sql, json);
        unplan(p);
    }
}

/*--- Texts ---------------------------------------------------------------------*/

#define HOLE AIOC_PLAN_FILTER

TEST(text_filled_in)
{
    static const struct { const char *sql, *want; } cases[] = {
        {"SELECT 1", "SELECT 1"},
        {"", ""},
        {"WHERE (" HOLE ") ORDER", "WHERE (true) ORDER"},
        {HOLE HOLE, "truetrue"},
        {"x" HOLE " AND c.s = \"" HOLE "\"", "xtrue AND c.s = \"" HOLE "\""},
        {"'" HOLE "' -- " HOLE "\n" HOLE, "'" HOLE "' -- " HOLE "\ntrue"},
        {"/* " HOLE " */" HOLE, "/* " HOLE " */true"},
        {"'\\'" HOLE "'" HOLE, "'\\'" HOLE "'true"},
        {"\"'\" " HOLE " '\"'", "\"'\" true '\"'"},
        {"5-" HOLE "/" HOLE "*", "5-true/true*"},
        {"{documentdb-formattableorderbyquery-filter", "{documentdb-formattableorderbyquery-filter"},
        {"'" HOLE, "'" HOLE},
        {"/*" HOLE, "/*" HOLE},
        {"--" HOLE, "--" HOLE},
        {"'\\", "'\\"},
    };
    aioc_mem memory = rationed(&plenty, 1 << 20);
    aioc_mem_buffer json;
    size_t i;
    memset(&json, 0, sizeof json);
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        aioc_plan_reader in;
        aiocosmos_str given = str(cases[i].sql), sql;
        aioc_mem_writer writer;
        parsed *p;
        memset(&in, 0, sizeof in);
        json.len = 0;
        writer = aioc_mem_write(&memory, &json);
        aioc_json_put_string(&writer, given);
        CHECK(writer.ok);
        p = parse(aioc_mem_text(&json));
        in.texts = (char *)malloc(p->root.len);          /* no more than the JSON takes */
        CHECK_INT(aioc_plan_find(given, 0, AIOC_PLAN_FILTER) < given.len, strstr(cases[i].want, "true") != NULL);
        sql = aioc_plan_take_sql(&in, p->root);
        CHECK(aioc_mem_is(sql, cases[i].want));
        CHECK(in.texts == sql.ptr + given.len);
        free(in.texts - given.len);
        forget(p);
    }
    aioc_mem_buffer_free(&memory, &json);
    aioc_mem_close(&memory);
}

/* Before and behind what a further condition stands beside, and what an item is called; no name: it is not certain. */
TEST(room_for_a_condition)
{
    static const struct { const char *sql, *root; int where, end; } cases[] = {
        {"SELECT * FROM c", "c", 15, 15},
        {"select * from root r -- WHERE", "r", 20, 20},
        {"SELECT * FROM c AS x WHERE x.a OR x.b", "x", 26, 37},
        {"SELECT * FROM c WHERE(c.a)GROUP BY c.a", "c", 21, 26},
        {"SELECT * FROM c ORDER BY c.a", "c", 15, 15},
        {"SELECT * FROM c WHERE c.a OFFSET 1 LIMIT 2", "c", 21, 25},
        {"SELECT VALUE t FROM c JOIN t IN c.t JOIN u IN (SELECT 1 WHERE true)", "c", 67, 67},
        {"SELECT (SELECT 1 FROM x WHERE y) FROM c WHERE c.where = 'WHERE' /* GROUP */", "c", 45, 63},
        {"SELECT c.from, {from: 1}, [c.order] FROM c WHERE {order: c[\"group\"]}.order", "c", 48, 74},
        {"SELECT * FROM c WHERE @where = \"\\\" GROUP\" -- GROUP\n ORDER BY c.a", "c", 21, 41},
        {"SELECT 1", NULL, 0, 0}, {"", NULL, 0, 0}, {"FROM", NULL, 0, 0}, {"SELECT 1 WHERE true", NULL, 0, 0},
        {"SELECT * FROM c.n n", NULL, 0, 0}, {"SELECT * FROM c[\"n\"] n", NULL, 0, 0},
        {"SELECT * FROM t IN c.t", NULL, 0, 0}, {"SELECT * FROM (SELECT * FROM c) x", NULL, 0, 0},
        {"SELECT * FROM c WHERE c.a) OR (true", NULL, 0, 0}, {"SELECT * FROM c WHERE (c.a", NULL, 0, 0},
        {"SELECT * FROM c WHERE \"", "c", 21, 23}, {"SELECT * FROM c WHERE a /*", "c", 21, 23},
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        aiocosmos_str sql = tight(str(cases[i].sql));
        aioc_plan_room room;
        aioc_plan_find_room(&room, sql);
        if ((int)room.end != cases[i].end || (room.end && (int)room.where != cases[i].where))
            test_fail(__FILE__, __LINE__, "%s: %d to %d", cases[i].sql, (int)room.where, (int)room.end);
        if (room.end) CHECK(aioc_mem_is(room.root, cases[i].root) && room.sql.ptr == sql.ptr);
        loosen(sql);
    }
}

static const char *resume_of(const char *items, aioc_plan_side side)
{
    static char text[2000];
    aioc_mem memory = rationed(&plenty, 1 << 20);
    aioc_mem_buffer out;
    parsed *p = parse(str(items));
    memset(&out, 0, sizeof out);
    CHECK(aioc_plan_append_resume(&memory, &out, p->root, str("RID"), side));
    CHECK(out.len < sizeof text);
    if (out.len) memcpy(text, out.data, out.len);
    text[out.len] = '\0';
    aioc_mem_buffer_free(&memory, &out);
    aioc_mem_close(&memory);
    forget(p);
    return text;
}

TEST(resume_vectors)
{
    parsed *vectors = parse_file("tests/vectors/order-by-resume.json");
    aiocosmos_json one = aioc_json_none();
    unsigned count = 0;
    while (aioc_json_next(aioc_json_at(vectors->root, "/cases"), NULL, &one)) {
        static const char *const names[] = { "left of target", "target", "right of target" };
        static const char *const fields[] = { "/resumeFilter/value", "/resumeFilter/rid", "/resumeFilter/exclude" };
        char items[200];
        aiocosmos_json boundary = aioc_json_at(one, "/boundary");
        parsed *written;
        int side = 0;
        size_t i;
        if (!aioc_json_is_str(aioc_json_at(one, "/form"), "resumeFilter body field")) continue;
        while (!aioc_json_is_str(aioc_json_at(one, "/side"), names[side])) side++;
        snprintf(items, sizeof items, "%.*s", (int)boundary.len, boundary.ptr);
        snprintf(items, sizeof items, "{%s}", resume_of(items, (aioc_plan_side)(AIOC_PLAN_LEFT + side)) + 1);
        written = parse(str(items));
        for (i = 0; i < 3; i++) {
            aiocosmos_json want = aioc_json_at(one, fields[i]), is = aioc_json_at(written->root, fields[i]);
            CHECK_INT(is.type, want.type);
            CHECK_INT(aioc_val_compare(is, want), 0);
        }
        forget(written);
        count++;
    }
    CHECK_INT(count, 4);
    forget(vectors);
}

TEST(resume_of_values)
{
    CHECK_STR(resume_of("[{\"item\":1}]", AIOC_PLAN_FRESH), "");
    CHECK_STR(resume_of("[{\"item\":\"a\\\"\"},{},{\"item\":-1e5}]", AIOC_PLAN_TARGET),
              ",\"resumeFilter\":{\"value\":[\"a\\\"\",[],-1e5],\"exclude\":false,\"rid\":\"RID\"}");
    /* Whoever reads drops what was given before. */
    CHECK_STR(resume_of("[{\"item\":1},{\"item\":[]}]", AIOC_PLAN_TARGET), "");
    CHECK_STR(resume_of("[{\"item\":{}}]", AIOC_PLAN_LEFT), "");
}

TEST(text_the_nth_allocation_fails)
{
    parsed *p = parse(str("[{\"item\":\"some text that is long enough for the buffer to grow\"},{\"item\":2}]"));
    unsigned long n;
    bool ok = false;
    for (n = 0; !ok; n++) {
        heap_state r;
        aioc_mem memory = rationed(&r, n);
        aioc_mem_buffer out;
        memset(&out, 0, sizeof out);
        ok = aioc_plan_append_resume(&memory, &out, p->root, str("RID"), AIOC_PLAN_LEFT);
        if (!ok) CHECK_INT(out.len, 0);
        aioc_mem_buffer_free(&memory, &out);
        aioc_mem_close(&memory);
        CHECK_INT(r.blocks, 0);
    }
    CHECK(n > 1);
    forget(p);
}

/*--- Resource ids --------------------------------------------------------------*/

static void make_rid(uint64_t item, char rid[25])
{
    unsigned char bytes[16] = {1, 2, 3, 4, 0xFF, 0xFE, 0x3F, 8};
    int i;
    aioc_text_store64le(bytes + 8, item);
    aioc_text_base64_encode(bytes, sizeof bytes, rid);
    rid[24] = '\0';
    for (i = 0; i < 24; i++)
        if (rid[i] == '/') rid[i] = '-';
}

TEST(rids_are_numbers)
{
    char a[25], b[25];
    int round;
    make_rid(255, a);
    make_rid(256, b);
    CHECK(strcmp(a, b) > 0);                                               /* the text says otherwise */
    CHECK_INT(aioc_row_rid_compare(str(a), str(b)), -1);
    CHECK_INT(aioc_row_rid_compare(str(b), str(a)), 1);
    CHECK_INT(aioc_row_rid_compare(str(a), str(a)), 0);
    seed = 3;
    for (round = 0; round < 1000; round++) {
        uint64_t left = random_number() >> random_below(64), right = random_number() >> random_below(64);
        make_rid(left, a);
        make_rid(right, b);
        CHECK_INT(aioc_row_rid_compare(str(a), str(b)), left < right ? -1 : left > right);
    }
    CHECK_INT(aioc_row_rid_compare(str("a"), str("b")), -1);
    CHECK_INT(aioc_row_rid_compare(str("ab"), str("a")), 1);
    CHECK_INT(aioc_row_rid_compare(str(""), str("")), 0);
    CHECK_INT(aioc_row_rid_compare(str("zz"), str(a)), 1);
    CHECK_INT(aioc_row_rid_compare(str(a), str("")), -1);
}

/*--- Tokens --------------------------------------------------------------------*/

/* A position with room for what it points at. */
typedef struct place {
    aioc_pos position;
    aioc_pos_piece pieces[6];
    aioc_val_slot seen[2][AIOC_VAL_ARRAY_PIECE];
    char *seen_pieces[2];
    char texts[64][40];
    unsigned text_count;
    char rows[200];
} place;

static aiocosmos_str random_text(place *p, const char *alphabet, size_t min)
{
    char *text = p->texts[p->text_count++ % 64];
    size_t i, len = min + random_below(30);
    for (i = 0; i < len; i++) text[i] = alphabet[random_below((uint32_t)strlen(alphabet))];
    return view(text, len);
}

/* Random borders that rise from one to the next. */
static aiocosmos_str random_border(place *p, unsigned *above)
{
    char *text = p->texts[p->text_count++ % 64];
    *above += 1 + random_below(4000);
    snprintf(text, sizeof p->texts[0], "%04X%s", *above, random_below(2) ? "00" : "");
    return str(text);
}

static void random_position(place *p)
{
    static const char printable[] = "abcXYZ019+/=-_#:{}\"[], ";
    static const char *const items[] = {
        "[{\"item\":1}]", "[{}]", "[{\"item\":\"a,]}\\\"\"}, {} ,{\"item\":[1,{\"a\":[]}]}]",
        "[ {\"item\":null},\n\t{\"item\":false} ]"};
    aioc_pos *at = &p->position;
    unsigned border = 0, i;
    memset(p, 0, sizeof *p);
    at->place = (uint8_t)(1 + random_below(5));
    at->question = random_number();
    if (random_below(2)) memcpy(at->rid, "Ab0xAJ+1-bQ=", 13);
    at->progress.skip = random_number() >> random_below(64);
    at->progress.take = random_below(2) ? UINT64_MAX : random_number() >> random_below(64);
    at->rest_min = str(random_below(2) ? "FF" : "EE00");
    at->pieces = p->pieces;
    if (at->place == AIOC_POS_IN_SEQUENCE || at->place == AIOC_POS_IN_CHANGES)
        at->piece_count = 1 + random_below(6);
    for (i = 0; i < at->piece_count; i++) {
        p->pieces[i].min = i > 0 && random_below(2) ? p->pieces[i - 1].max : random_border(p, &border);
        p->pieces[i].max = random_border(p, &border);
        p->pieces[i].continuation = random_below(3) ? random_text(p, printable, 0) : str("");
    }
    if (at->place == AIOC_POS_AT_SERVICE) {
        at->piece_count = 1;
        p->pieces[0].min = str("");
        p->pieces[0].max = str("FF");
        p->pieces[0].continuation = random_text(p, printable, 1);
    }
    if (at->place == AIOC_POS_IN_ORDER && random_below(5) > 0) {
        at->min = random_border(p, &border);
        at->max = random_border(p, &border);
        at->values = str(items[random_below(4)]);
        at->rid_of_row = random_text(p, "abcdefghij=-+", 0);
        at->rows_of_rid = (uint32_t)(random_number() >> (32 + random_below(32)));
    }
    if (at->place == AIOC_POS_IN_ROWS) at->rows = str(random_below(2) ? "[]" : "[{\"a\":[1,2]},null,\"x\"]");
    if (random_below(2)) {
        at->key[0] = random_number();
        at->key[1] = random_number();
        at->progress.has_last = random_below(2);
        at->progress.seen.count = at->progress.has_last ? random_below(20) : 1 + random_below(19);
        if (at->progress.has_last) at->progress.last.high = random_number(), at->progress.last.low = random_number();
        for (i = 0; i < 2; i++) p->seen_pieces[i] = (char *)p->seen[i];
        at->progress.seen.slots.pieces = p->seen_pieces;
        for (i = 0; i < at->progress.seen.count; i++) {
            aioc_val_hash *hash = &aioc_val_set_slot(&at->progress.seen, i)->hash;
            hash->high = random_number(), hash->low = random_number();
        }
    }
}

static void check_same_position(const aioc_pos *got, const aioc_pos *want)
{
    uint32_t i;
    CHECK_INT(got->place, want->place);
    CHECK(got->question == want->question);
    CHECK_STR(got->rid, want->rid);
    CHECK(got->progress.skip == want->progress.skip && got->progress.take == want->progress.take);
    CHECK_INT(got->piece_count, want->piece_count);
    for (i = 0; i < want->piece_count; i++) {
        CHECK(aioc_mem_same(got->pieces[i].min, want->pieces[i].min));
        CHECK(aioc_mem_same(got->pieces[i].max, want->pieces[i].max));
        CHECK(aioc_mem_same(got->pieces[i].continuation, want->pieces[i].continuation));
    }
    CHECK(aioc_mem_same(got->rest_min, want->rest_min));
    CHECK(aioc_mem_same(got->min, want->min) && aioc_mem_same(got->max, want->max));
    CHECK(aioc_mem_same(got->values, want->values));
    CHECK(aioc_mem_same(got->rid_of_row, want->rid_of_row));
    CHECK_INT(got->rows_of_rid, want->rows_of_rid);
    CHECK(got->key[0] == want->key[0] && got->key[1] == want->key[1]);
    CHECK_INT(got->progress.has_last, want->progress.has_last);
    CHECK(got->progress.last.high == want->progress.last.high && got->progress.last.low == want->progress.last.low);
    CHECK_INT(got->progress.seen.count, want->progress.seen.count);
    for (i = 0; i < want->progress.seen.count; i++)
        CHECK(memcmp(&aioc_val_set_slot(&got->progress.seen, i)->hash,
                     &aioc_val_set_slot(&want->progress.seen, i)->hash, 16) == 0);
    CHECK(aioc_mem_same(got->rows, want->rows));
}

/* The token of a position; freed with loosen. */
static aiocosmos_str token_of(const aioc_pos *position)
{
    aioc_mem memory = rationed(&plenty, 1 << 20);
    aioc_mem_buffer out;
    aiocosmos_str token;
    memset(&out, 0, sizeof out);
    CHECK_INT(aioc_pos_write(&memory, &out, position, 1 << 20), 1);
    token = tight(view(out.data, out.len));
    aioc_mem_buffer_free(&memory, &out);
    aioc_mem_close(&memory);
    return token;
}

/* Reads a token and throws away what it says. One that is accepted is what its position is written as. */
static int judge(aiocosmos_str token, const char **why)
{
    heap_state r;
    aioc_mem memory = rationed(&r, 1 << 20);
    aioc_mem_buffer block, again;
    aioc_pos position;
    int result;
    memset(&block, 0, sizeof block);
    memset(&again, 0, sizeof again);
    result = aioc_pos_read(&memory, token, &block, &position, why);
    if (memory.peak > 4096 + 8 * token.len)
        test_fail(__FILE__, __LINE__, "%zu bytes of memory for a token of %zu", memory.peak, token.len);
    if (result == 0) {
        CHECK_INT(aioc_pos_write(&memory, &again, &position, token.len), 1);
        CHECK_INT(again.len, token.len);
        CHECK_MEM(again.data, token.ptr, token.len);
        aioc_mem_buffer_free(&memory, &again);
    }
    aioc_pos_free(&memory, &position);
    aioc_mem_buffer_free(&memory, &block);
    aioc_mem_close(&memory);
    CHECK_INT(r.blocks, 0);
    return result;
}

TEST(token_round_trip)
{
    int round;
    seed = 5;
    for (round = 0; round < 5000; round++) {
        aioc_mem memory = rationed(&plenty, 1 << 20);
        aioc_mem_buffer block;
        aioc_pos got;
        aiocosmos_str token;
        const char *why = "";
        place p;
        size_t i;
        random_position(&p);
        token = token_of(&p.position);
        CHECK(token.len > 4 && memcmp(token.ptr, "aq3-", 4) == 0);
        for (i = 0; i < token.len; i++) CHECK(isalnum((unsigned char)token.ptr[i]) || strchr("-_", token.ptr[i]));
        memset(&block, 0, sizeof block);
        if (aioc_pos_read(&memory, token, &block, &got, &why) != 0)
            test_fail(__FILE__, __LINE__, "round %d, place %d: %s", round, p.position.place, why);
        check_same_position(&got, &p.position);
        aioc_pos_free(&memory, &got);
        aioc_mem_buffer_free(&memory, &block);
        aioc_mem_close(&memory);
        loosen(token);
    }
}

TEST(token_with_a_byte_changed)
{
    static const char others[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. %~\n";
    int round;
    seed = 6;
    for (round = 0; round < 40; round++) {
        aiocosmos_str token;
        const char *why;
        place p;
        size_t i, k;
        random_position(&p);
        token = token_of(&p.position);
        for (i = 0; i < token.len; i++) {
            char *at = (char *)(uintptr_t)token.ptr + i, before = *at;
            for (k = 0; k < sizeof others; k++) {                          /* the NUL among them */
                if (others[k] == before) continue;
                *at = others[k];
                if (judge(token, &why) != AIOCOSMOS_E_ARGUMENT)
                    test_fail(__FILE__, __LINE__, "round %d: byte %zu of %zu as '%c'", round, i, token.len, others[k]);
            }
            *at = before;
        }
        CHECK_INT(judge(token, &why), 0);
        loosen(token);
    }
}

TEST(token_cut_or_lengthened)
{
    int round;
    seed = 7;
    for (round = 0; round < 100; round++) {
        aiocosmos_str token, cut;
        const char *why;
        place p;
        size_t len;
        char longer[4000];
        random_position(&p);
        token = token_of(&p.position);
        for (len = 0; len < token.len; len++) {
            cut = tight(view(token.ptr, len));
            CHECK_INT(judge(cut, &why), AIOCOSMOS_E_ARGUMENT);
            loosen(cut);
        }
        CHECK(token.len + 4 < sizeof longer);
        for (len = 1; len <= 4; len++) {
            memcpy(longer, token.ptr, token.len);
            memset(longer + token.len, "A=-a"[random_below(4)], len);
            cut = tight(view(longer, token.len + len));
            CHECK_INT(judge(cut, &why), AIOCOSMOS_E_ARGUMENT);
            loosen(cut);
        }
        loosen(token);
    }
}

TEST(token_refusals_say_why)
{
    static const struct { const char *token, *why; } cases[] = {
        {"", "not a continuation token of this library"},
        {"aq", "not a continuation token of this library"},
        {"{\"token\":1}", "not a continuation token of this library"},
        {"-RID:~abc#RT:1", "not a continuation token of this library"},
        {"aq1", "not a continuation token of this library"},
        {"aq1-AAAA", "a continuation token of another version of this library"},
        {"aq3-", "a damaged continuation token"},
        {"aq3-A", "a damaged continuation token"},
        {"aq3-AAAA", "a damaged continuation token"},
        {"aq3-AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "a damaged continuation token"},
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        aiocosmos_str token = tight(str(cases[i].token));
        const char *why = "";
        CHECK_INT(judge(token, &why), AIOCOSMOS_E_ARGUMENT);
        CHECK_STR(why, cases[i].why);
        loosen(token);
    }
}

TEST(token_random_bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    int round;
    seed = 8;
    for (round = 0; round < 20000; round++) {
        char text[300] = "aq3-";
        size_t i, len = 4 + random_below(290);
        aiocosmos_str token;
        const char *why;
        for (i = 4; i < len; i++) text[i] = random_below(50) ? digits[random_below(64)] : (char)random_number();
        token = tight(view(text, len));
        CHECK_INT(judge(token, &why), AIOCOSMOS_E_ARGUMENT);
        loosen(token);
    }
}

/* The token of bytes with the checksum that they should have. */
static aiocosmos_str forged(const unsigned char *bytes, size_t len)
{
    aioc_mem memory = rationed(&plenty, 1 << 20);
    aioc_mem_buffer raw = {NULL, 0, 0}, out = {NULL, 0, 0};
    aioc_mem_writer writer = aioc_mem_write(&memory, &raw);
    aioc_pos_pass pass = {&writer, NULL, NULL, true};
    aiocosmos_str token;
    uint64_t checksum;
    CHECK(aioc_mem_reserve(&memory, &raw, 1));
    CHECK(aioc_mem_append(&memory, &raw, bytes, len));
    checksum = aioc_pos_checksum(raw.data, raw.len);
    aioc_pos_pass_word(&pass, &checksum);
    CHECK(aioc_mem_append_str(&memory, &out, "aq3-"));
    CHECK(aioc_pos_append_base64(&memory, &out, &raw));
    token = tight(view(out.data, out.len));
    aioc_mem_buffer_free(&memory, &raw);
    aioc_mem_buffer_free(&memory, &out);
    aioc_mem_close(&memory);
    return token;
}

/* Whoever knows the form can make the checksum right: then each field has to stand by itself. */
TEST(token_forged)
{
    unsigned outcomes[2] = {0, 0};
    int round;
    seed = 9;
    for (round = 0; round < 30000; round++) {
        unsigned char bytes[2000];
        aioc_mem memory = rationed(&plenty, 1 << 20);
        aioc_mem_buffer raw = {NULL, 0, 0};
        aioc_mem_writer writer = aioc_mem_write(&memory, &raw);
        aioc_pos_pass pass = {&writer, NULL, NULL, true};
        aiocosmos_str token;
        const char *why;
        size_t len, changes = 1 + random_below(4);
        place p;
        random_position(&p);
        aioc_pos_pass_all(&memory, &pass, &p.position);
        CHECK(writer.ok && raw.len < sizeof bytes);
        memcpy(bytes, raw.data, len = raw.len);
        aioc_mem_buffer_free(&memory, &raw);
        aioc_mem_close(&memory);
        while (changes-- > 0) bytes[random_below((uint32_t)len)] = (unsigned char)random_number();
        if (random_below(10) == 0) len = random_below((uint32_t)len + 1);
        token = forged(bytes, len);
        outcomes[judge(token, &why) != 0]++;
        loosen(token);
    }
    CHECK(outcomes[0] > 1000 && outcomes[1] > 10000);
}

TEST(token_bytes_that_no_writer_writes)
{
    static const unsigned char all[10] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 1};
    aioc_mem memory = rationed(&plenty, 1 << 20);
    aioc_mem_buffer raw = {NULL, 0, 0};
    aioc_mem_writer writer = aioc_mem_write(&memory, &raw);
    aioc_pos_pass pass = {&writer, NULL, NULL, true};
    aioc_pos position;
    int change;
    memset(&position, 0, sizeof position);
    position.place = AIOC_POS_IN_SEQUENCE;
    position.rest_min = str("FF");
    position.progress.skip = UINT64_MAX;
    aioc_pos_pass_all(&memory, &pass, &position);
    CHECK(writer.ok && raw.len + 1 < 100);
    for (change = 0; change < 6; change++) {
        unsigned char bytes[100];
        size_t len = raw.len, at;
        aiocosmos_str token;
        const char *why;
        memcpy(bytes, raw.data, len);
        for (at = 0; memcmp(bytes + at, all, sizeof all) != 0; at++) CHECK(at + sizeof all < len);
        switch (change) {
        case 1: bytes[at + 9] = 3; break;                                  /* a number of 65 bits */
        case 2: bytes[at + 9] = 129; break;                                /* and one that does not end */
        case 3: bytes[len++] = 0; break;                                   /* something behind all */
        case 4: bytes[1] = 4; break;                                       /* an unknown flag */
        case 5: bytes[0] = 128 + 2; break;                                 /* a place that takes the flags with it */
        default: break;
        }
        token = forged(bytes, len);
        if (judge(token, &why) != (change ? AIOCOSMOS_E_ARGUMENT : 0)) test_fail(__FILE__, __LINE__, "%d", change);
        loosen(token);
    }
    aioc_mem_buffer_free(&memory, &raw);
    aioc_mem_close(&memory);
}

/* What no writer writes, each by itself. */
TEST(token_positions_that_cannot_be)
{
    typedef struct wrong { const char *what; aioc_pos position; aioc_pos_piece pieces[2]; } wrong;
    static wrong cases[32];
    size_t i, n = 0;
    const char *why;
    memset(cases, 0, sizeof cases);
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cases[i].position.pieces = cases[i].pieces;
        cases[i].position.rest_min = str("FF");
        cases[i].position.progress.take = UINT64_MAX;
        cases[i].position.place = AIOC_POS_IN_SEQUENCE;
        cases[i].pieces[0].min = str("10");
        cases[i].pieces[0].max = str("20");
        cases[i].pieces[1].min = str("20");
        cases[i].pieces[1].max = str("30");
    }
    cases[n++].what = NULL;                                                /* nothing is wrong */
    cases[n].what = "no place";
    cases[n++].position.place = 0;
    cases[n].what = "an unknown place";
    cases[n++].position.place = 6;
    cases[n].what = "no piece of the service";
    cases[n++].position.place = AIOC_POS_AT_SERVICE;
    cases[n].what = "a piece of the service without a continuation";
    cases[n].position.place = AIOC_POS_AT_SERVICE;
    cases[n++].position.piece_count = 1;
    cases[n].what = "no pieces of a change feed";
    cases[n++].position.place = AIOC_POS_IN_CHANGES;
    cases[n].what = "pieces that overlap";
    cases[n].pieces[1].min = str("1F");
    cases[n++].position.piece_count = 2;
    cases[n].what = "pieces in the wrong order";
    cases[n].pieces[1].min = str("00");
    cases[n].pieces[1].max = str("05");
    cases[n++].position.piece_count = 2;
    cases[n].what = "an empty piece";
    cases[n].pieces[0].max = str("10");
    cases[n++].position.piece_count = 1;
    cases[n].what = "a border that is not hex";
    cases[n].pieces[0].max = str("2x");
    cases[n++].position.piece_count = 1;
    cases[n].what = "a border that would end a header";
    cases[n].pieces[0].max = str("20\r\n");
    cases[n++].position.piece_count = 1;
    cases[n].what = "a continuation that would end a header";
    cases[n].pieces[0].continuation = str("abc\r\nx-ms-other: 1");
    cases[n++].position.piece_count = 1;
    cases[n].what = "a rest before the end of the last piece";
    cases[n].position.rest_min = str("15");
    cases[n++].position.piece_count = 1;
    cases[n].what = "values that are not JSON";
    cases[n].position.place = AIOC_POS_IN_ORDER;
    cases[n].position.max = str("FF");
    cases[n++].position.values = str("[{\"item\":}]");
    cases[n].what = "values that are no list";
    cases[n].position.place = AIOC_POS_IN_ORDER;
    cases[n].position.max = str("FF");
    cases[n++].position.values = str("{\"item\":1}");
    cases[n].what = "white space behind values";
    cases[n].position.place = AIOC_POS_IN_ORDER;
    cases[n].position.max = str("FF");
    cases[n++].position.values = str("[{}]  ");
    cases[n].what = "an empty range";
    cases[n].position.place = AIOC_POS_IN_ORDER;
    cases[n].position.min = str("FF");
    cases[n].position.max = str("FF");
    cases[n++].position.values = str("[{}]");
    cases[n].what = "rows that are no list";
    cases[n].position.place = AIOC_POS_IN_ROWS;
    cases[n++].position.rows = str("5");
    cases[n].what = "white space behind rows";
    cases[n].position.place = AIOC_POS_IN_ROWS;
    cases[n++].position.rows = str("[5] ");
    cases[n].what = "rows that are not there";
    cases[n++].position.place = AIOC_POS_IN_ROWS;
    cases[n].what = "a control character in a _rid";
    cases[n].position.place = AIOC_POS_IN_ORDER;
    cases[n].position.max = str("FF");
    cases[n].position.values = str("[{}]");
    cases[n++].position.rid_of_row = str("a\nb");
    for (i = 0; i < n; i++) {
        aiocosmos_str token = token_of(&cases[i].position);
        if (judge(token, &why) != (cases[i].what ? AIOCOSMOS_E_ARGUMENT : 0))
            test_fail(__FILE__, __LINE__, "%s", cases[i].what ? cases[i].what : "refused");
        loosen(token);
    }
}

/* A hostile token of many small pieces takes no more memory than an honest one. */
TEST(token_of_many_pieces)
{
    enum { PIECES = 60000 };
    aioc_pos_piece *pieces = calloc(PIECES, sizeof *pieces);
    char (*borders)[8] = calloc(PIECES + 1, sizeof *borders);
    aioc_pos position;
    aiocosmos_str token;
    const char *why;
    uint32_t i;
    memset(&position, 0, sizeof position);
    for (i = 0; i <= PIECES; i++) snprintf(borders[i], sizeof borders[i], "%04X", i);
    for (i = 0; i < PIECES; i++) pieces[i].min = str(borders[i]), pieces[i].max = str(borders[i + 1]);
    position.place = AIOC_POS_IN_CHANGES;
    position.pieces = pieces;
    position.piece_count = PIECES;
    token = token_of(&position);
    CHECK_INT(judge(token, &why), 0);
    loosen(token);
    free(pieces);
    free(borders);
}

TEST(token_no_longer_than_allowed)
{
    int round;
    seed = 10;
    for (round = 0; round < 200; round++) {
        aioc_mem memory = rationed(&plenty, 1 << 20);
        aioc_mem_buffer out;
        aiocosmos_str token;
        place p;
        size_t max;
        random_position(&p);
        token = token_of(&p.position);
        memset(&out, 0, sizeof out);
        CHECK(aioc_mem_append_str(&memory, &out, "before"));
        for (max = 0; max < token.len; max++) {
            CHECK_INT(aioc_pos_write(&memory, &out, &p.position, max), 0);
            CHECK_INT(out.len, 6);
        }
        CHECK_INT(aioc_pos_write(&memory, &out, &p.position, token.len), 1);
        check_text(__LINE__, "token", view(out.data + 6, out.len - 6), token);
        aioc_mem_buffer_free(&memory, &out);
        aioc_mem_close(&memory);
        loosen(token);
    }
}

TEST(token_the_nth_allocation_fails)
{
    int round;
    seed = 12;
    for (round = 0; round < 50; round++) {
        aiocosmos_str token;
        place p;
        unsigned long n;
        int result = AIOCOSMOS_E_NOMEM;
        random_position(&p);
        for (n = 0; result == AIOCOSMOS_E_NOMEM; n++) {
            heap_state r;
            aioc_mem memory = rationed(&r, n);
            aioc_mem_buffer out;
            memset(&out, 0, sizeof out);
            result = aioc_pos_write(&memory, &out, &p.position, 1 << 20);
            CHECK(result == 1 || (result == AIOCOSMOS_E_NOMEM && out.len == 0));
            aioc_mem_buffer_free(&memory, &out);
            aioc_mem_close(&memory);
            CHECK_INT(r.blocks, 0);
        }
        CHECK(n > 1);
        token = token_of(&p.position);
        result = AIOCOSMOS_E_NOMEM;
        for (n = 0; result == AIOCOSMOS_E_NOMEM; n++) {
            heap_state r;
            aioc_mem memory = rationed(&r, n);
            aioc_mem_buffer block;
            aioc_pos position;
            const char *why;
            memset(&block, 0, sizeof block);
            result = aioc_pos_read(&memory, token, &block, &position, &why);
            CHECK(result == 0 || result == AIOCOSMOS_E_NOMEM);
            if (result != 0) CHECK(!block.data && !position.pieces && position.progress.seen.count == 0);
            aioc_pos_free(&memory, &position);
            aioc_mem_buffer_free(&memory, &block);
            aioc_mem_close(&memory);
            CHECK_INT(r.blocks, 0);
        }
        CHECK(n > 1);
        loosen(token);
    }
}

/*--- Hybrid search -------------------------------------------------------------*/

#define DOCUMENTS "{documentdb-formattablehybridsearchquery-totaldocumentcount}"
#define WORDS(N) "{documentdb-formattablehybridsearchquery-totalwordcount-" #N "}"
#define HITS(N) "{documentdb-formattablehybridsearchquery-hitcountsarray-" #N "}"
#define COMPONENT(ORDER, MORE, SQL) \
    "{\"orderBy\":[\"" ORDER "\"],\"orderByExpressions\":[\"s\"],\"hasNonStreamingOrderBy\":true" MORE "," \
    "\"rewrittenQuery\":\"" SQL "\"}"
#define HYBRID(COMPONENTS, MORE) "{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[" COMPONENTS "]" MORE "}}"

static const uint64_t hash_key[2] = {1, 2};

static void open_hybrid(aioc_row_chain *chain, planned *p)
{
    static aioc_row_progress progress;
    memset(chain, 0, sizeof *chain);
    progress.skip = p->plan->info.skip;
    progress.take = p->plan->info.take;
    CHECK_INT(aioc_row_chain_open(chain, &p->memory, p->plan, &p->plan->info, hash_key, &progress, str("")), 0);
}

static int add_statistics(aioc_row_chain *chain, const char *json, const char **why)
{
    parsed *p = parse(str(json));
    int result = row_status(aioc_row_rrf_add_statistics(&chain->u.rrf, p->root), why);
    forget(p);
    return result;
}

static int add_row(aioc_row_chain *chain, uint32_t component, const char *json, const char **why)
{
    parsed *p = parse(str(json));
    aiocosmos_str copy = tight(str(json));                                 /* nothing is lent past the call */
    parsed *q = parse(copy);
    int result;
    chain->u.rrf.reading = component;
    result = row_status(aioc_row_pass(chain, q->root), why);
    memset(q->text, 'x', copy.len);
    forget(q);
    loosen(copy);
    forget(p);
    return result;
}

static void add_rows(aioc_row_chain *chain, uint32_t component, const char *const *rows)
{
    const char *why = "";
    for (; *rows; rows++)
        if (add_row(chain, component, *rows, &why) != 0) test_fail(__FILE__, __LINE__, "%s: %s", *rows, why);
}

/* The next row to be given: as a stage's next. */
static int give(aioc_row_chain *chain, aiocosmos_json *row)
{
    int found = aioc_row_chain_next(chain, row);
    return found == 1 ? aioc_row_chain_pass(chain, *row) : found;
}

/* All payloads, with a space between them. */
static const char *results_of(aioc_row_chain *chain)
{
    static char text[100000];
    aiocosmos_json row;
    size_t len = 0;
    int result;
    while ((result = give(chain, &row)) > 0) {
        if (result == AIOC_ROW_AGAIN) continue;
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", len ? " " : "", (int)row.len, row.ptr);
    }
    CHECK_INT(result, 0);
    CHECK_INT(give(chain, &row), 0);
    text[len] = '\0';
    return text;
}

static const char *component_text(aioc_row_chain *chain, uint32_t component)
{
    static char text[4096];
    aioc_mem_buffer sql;
    char why[300] = "";
    memset(&sql, 0, sizeof sql);
    if (aioc_row_rrf_component_text(&chain->u.rrf, component, &sql, why, sizeof why) != 0)
        snprintf(text, sizeof text, "! %s", why);
    else snprintf(text, sizeof text, "%.*s", (int)sql.len, sql.data);
    aioc_mem_buffer_free(chain->memory, &sql);
    return text;
}

static void shut(aioc_row_chain *chain, planned *p)
{
    aioc_row_chain_close(chain);
    aioc_row_chain_close(chain);
    CHECK_INT(p->plan->refs, 1);
    unplan(p);
}

/* Statistics are counted over the components that have some, the numbers in the texts over all. */
TEST(hybrid_statistics_in_the_texts)
{
    planned *p = plan_ok(HYBRID(
        COMPONENT("Descending", "", "a " DOCUMENTS " " WORDS(0) " " HITS(0) " " WORDS(2) HITS(2) " WHERE (" HOLE ") '"
            DOCUMENTS "'") ","
        COMPONENT("Ascending", "", "b WHERE (" HOLE ")") ","
        COMPONENT("Descending", "", HITS(2)), ""));
    aioc_row_chain chain;
    const char *why = "";
    open_hybrid(&chain, p);
    CHECK_STR(component_text(&chain, 1), "b WHERE (true)");
    CHECK(strncmp(component_text(&chain, 0), "! the query plan wants " DOCUMENTS, 60) == 0);
    CHECK_INT(add_statistics(&chain, "{\"documentCount\":3,\"fullTextStatistics\":[{\"totalWordCount\":10,"
        "\"hitCounts\":[1,2]},"
                                      "{\"totalWordCount\":7,\"hitCounts\":[]}]}", &why), 0);
    CHECK_INT(add_statistics(&chain, "{\"fullTextStatistics\":[{\"hitCounts\":[30,40]},{\"totalWordCount\":5,"
        "\"hitCounts\":[]}],"
                                      "\"documentCount\":4}", &why), 0);
    CHECK_STR(component_text(&chain, 0), "a 7 10 [31,42] 12[] WHERE (true) '" DOCUMENTS "'");
    CHECK_STR(component_text(&chain, 2), "[]");
    shut(&chain, p);
}

TEST(hybrid_sums_do_not_wrap)
{
    planned *p = plan_ok(HYBRID(COMPONENT("Descending", "", DOCUMENTS), ""));
    aioc_row_chain chain;
    const char *why = "";
    open_hybrid(&chain, p);
    CHECK_INT(add_statistics(&chain, "{\"documentCount\":9223372036854775807,\"fullTextStatistics\":[]}", &why), 0);
    CHECK_INT(add_statistics(&chain, "{\"documentCount\":9223372036854775807,\"fullTextStatistics\":[]}", &why), 0);
    CHECK_STR(component_text(&chain, 0), "9223372036854775807");
    shut(&chain, p);
}

TEST(hybrid_texts_that_cannot_be_filled)
{
    static const char *const texts[] = {
        "{documentdb-formattablehybridsearchquery-totalwordcount-x}",
            "{documentdb-formattablehybridsearchquery-somethingelse}",
        "{documentdb-formattablehybridsearchquery-", "{documentdb-formattablehybridsearchquery-totalwordcount-64}",
        "{documentdb-formattablehybridsearchquery-hitcountsarray-}", WORDS(0) WORDS(5),
        "{documentdb-formattablehybridsearchquery-totaldocumentcount-0}"};
    size_t i;
    for (i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char json[600];
        aioc_row_chain chain;
        const char *why = "";
        planned *p;
        snprintf(json, sizeof json, HYBRID("{\"rewrittenQuery\":\"x %s\"}", ""), texts[i]);
        p = plan_ok(json);
        open_hybrid(&chain, p);
        CHECK_INT(add_statistics(&chain, "{\"documentCount\":1,\"fullTextStatistics\":[{\"totalWordCount\":1,"
            "\"hitCounts\":[1]}]}",
                                 &why), 0);
        if (strncmp(component_text(&chain, 0), "! the query plan wants {", 24) != 0)
            test_fail(__FILE__, __LINE__, "%s: %s", texts[i], component_text(&chain, 0));
        shut(&chain, p);
    }
}

TEST(hybrid_statistics_that_do_not_match)
{
    static const struct { const char *json, *why; } cases[] = {
        {"5", "full text statistics without a document count"},
        {"{\"documentCount\":1}", "full text statistics without a document count"},
        {"{\"fullTextStatistics\":[]}", "full text statistics without a document count"},
        {"{\"documentCount\":-1,\"fullTextStatistics\":[]}", "full text statistics without a document count"},
        {"{\"documentCount\":1,\"fullTextStatistics\":[]}", "the statistics of two ranges do not match"},
        {"{\"documentCount\":1,\"fullTextStatistics\":[{\"hitCounts\":[1]}]}",
            "the statistics of two ranges do not match"},
        {"{\"documentCount\":1,\"fullTextStatistics\":[{\"hitCounts\":[1,2,3]}]}",
            "the statistics of two ranges do not match"},
        {"{\"documentCount\":1,\"fullTextStatistics\":[{\"hitCounts\":[1,2]},{\"hitCounts\":[]}]}",
         "the statistics of two ranges do not match"},
        {"{\"documentCount\":1,\"fullTextStatistics\":[5]}",
            "full text statistics that are no word count and no list of hit counts"},
        {"{\"documentCount\":1,\"fullTextStatistics\":[{\"totalWordCount\":\"1\",\"hitCounts\":[1,2]}]}",
         "full text statistics that are no word count and no list of hit counts"},
        {"{\"documentCount\":1,\"fullTextStatistics\":[{\"hitCounts\":[1,null]}]}", "a hit count that is not a number"},
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        planned *p = plan_ok(HYBRID(COMPONENT("Descending", "", "q"), ""));
        aioc_row_chain chain;
        const char *why = "";
        open_hybrid(&chain, p);
        CHECK_INT(add_statistics(&chain, "{\"documentCount\":1,\"fullTextStatistics\":[{\"totalWordCount\":1,"
            "\"hitCounts\":[1,2]}]}",
                                 &why), 0);
        CHECK_INT(add_statistics(&chain, cases[i].json, &why), AIOCOSMOS_E_PROTOCOL);
        CHECK_STR(why, cases[i].why);
        shut(&chain, p);
    }
}

#define NESTED(RID, SCORES, PAYLOAD) \
    "{\"_rid\":\"" RID "\",\"orderByItems\":[{\"item\":1}]," \
    "\"payload\":{\"payload\":" PAYLOAD ",\"componentScores\":[" SCORES "]}}"
#define FLAT(RID, SCORES, PAYLOAD) \
    "{\"_rid\":\"" RID "\",\"payload\":" PAYLOAD ",\"componentScores\":[" SCORES "]}"

/* Worked by hand. Scores of a and b: (5, 1), (3, 9), (3, 5), (1, 9). Ranks: 1 2 2 3 and, ascending, 1 3 2 3. So the
 * sums of 1 / (60 + rank): w 2/61 = .032787, x 1/62 + 1/63 = .032002, y 2/62 = .032258, z 2/63 = .031746. */
TEST(hybrid_fuses_reciprocal_ranks)
{
    static const char *const first[] = {NESTED("w", "5,1", "\"w\""), NESTED("x", "3,9", "{\"n\":\"x\"}"),
                                        FLAT("y", "3.0,5", "[\"y\"]"), NULL};
    static const char *const second[] = {FLAT("z", "1,9", "4"), NESTED("w", "5,1", "\"not again\""),
                                         FLAT("y", "3,5", "\"not again\""), NULL};
    planned *p = plan_ok(HYBRID(COMPONENT("Descending", "", "q") "," COMPONENT("Ascending", "", "q"), ""));
    aioc_row_chain chain;
    open_hybrid(&chain, p);
    CHECK_INT(aioc_row_chain_bytes(&chain), 0);
    add_rows(&chain, 0, first);
    add_rows(&chain, 1, second);
    CHECK(aioc_row_chain_bytes(&chain) > 200);
    CHECK_STR(results_of(&chain), "\"w\" [\"y\"] {\"n\":\"x\"} 4");
    shut(&chain, p);
}

/* The second component counts a hundredfold: its order is the result's, ties aside. */
TEST(hybrid_weighs)
{
    static const char *const rows[] = {FLAT("a", "9,1", "1"), FLAT("b", "8,2", "2"), FLAT("c", "7,2", "3"),
                                       FLAT("d", "6,3", "4"), NULL};
    planned *p = plan_ok(HYBRID(COMPONENT("Descending", "", "q") "," COMPONENT("Descending", "", "q"),
                                ",\"componentWeights\":[0.01,1]"));
    aioc_row_chain chain;
    open_hybrid(&chain, p);
    add_rows(&chain, 0, rows);
    CHECK_STR(results_of(&chain), "4 2 3 1");
    shut(&chain, p);
}

TEST(hybrid_skips_and_takes)
{
    static const char *const rows[] = {"{\"_rid\":\"0\",\"componentScores\":[10,10]}", FLAT("a", "9,9", "1"),
                                       FLAT("b", "8,8", "2"),
                                       "{\"_rid\":\"c\",\"componentScores\":[7,7]}", FLAT("d", "6,6", "4"),
                                       FLAT("e", "5,5", "5"), NULL};
    planned *p = plan_ok(HYBRID(COMPONENT("Descending", "", "q") "," COMPONENT("Descending", "", "q"), ",\"skip\":1,"
                                "\"take\":2"));
    aioc_row_chain chain;
    open_hybrid(&chain, p);
    add_rows(&chain, 0, rows);
    CHECK_STR(results_of(&chain), "2 4");             /* 0 and c project nothing, so they are no rows */
    shut(&chain, p);
    p = plan_ok(HYBRID(COMPONENT("Descending", "", "q") "," COMPONENT("Descending", "", "q"), ",\"skip\":7,"
        "\"take\":2"));
    open_hybrid(&chain, p);
    add_rows(&chain, 0, rows);
    CHECK_STR(results_of(&chain), "");
    shut(&chain, p);
    p = plan_ok(HYBRID(COMPONENT("Descending", "", "q"), ",\"take\":0"));
    open_hybrid(&chain, p);
    CHECK_STR(results_of(&chain), "");
    shut(&chain, p);
}

/* One component is not fused: its own order counts, whatever it weighs, and a row without a score is last. */
TEST(hybrid_of_one_component)
{
    static const char *const rows[] = {
        "{\"_rid\":\"a\",\"orderByItems\":[{\"item\":2}],\"payload\":{\"payload\":2,\"componentScores\":[2]}}",
        "{\"_rid\":\"b\",\"orderByItems\":[{}],\"payload\":{\"payload\":-1,\"componentScores\":[-1]}}",
        "{\"_rid\":\"c\",\"orderByItems\":[{\"item\":-3}],\"payload\":{\"payload\":-3,\"componentScores\":[-3]}}",
        "{\"_rid\":\"d\",\"orderByItems\":[{\"item\":5}],\"payload\":{\"payload\":5,\"componentScores\":[5]}}",
        "{\"_rid\":\"a\",\"orderByItems\":[{\"item\":2}],\"payload\":{\"payload\":2,\"componentScores\":[2]}}", NULL};
    static const struct { const char *order, *more, *want; } cases[] = {
        {"Descending", "", "5 2 -3 -1"},
        {"Ascending", "", "-3 2 5 -1"},
        {"Descending", ",\"limit\":2", "5 2"},
        {"Descending", ",\"top\":1,\"limit\":2", "5"},
        {"Descending", ",\"offset\":1,\"limit\":2", "2 -3"},
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[400];
        aioc_row_chain chain;
        planned *p;
        snprintf(json, sizeof json, HYBRID(COMPONENT("%s", "%s", "q"), ",\"componentWeights\":[-1]"), cases[i].order,
                 cases[i].more);
        p = plan_ok(json);
        open_hybrid(&chain, p);
        add_rows(&chain, 0, rows);
        CHECK_STR(results_of(&chain), cases[i].want);
        shut(&chain, p);
    }
}

/* No component gave any score. */
TEST(hybrid_of_empty_scores)
{
    static const char *const rows[] = {FLAT("b", "", "2"), FLAT("a", "", "1"), FLAT("c", "1,1", "3"), NULL};
    planned *p = plan_ok(HYBRID(COMPONENT("Descending", "", "q") "," COMPONENT("Ascending", "", "q"), ""));
    aioc_row_chain chain;
    open_hybrid(&chain, p);
    add_rows(&chain, 0, rows);
    CHECK_STR(results_of(&chain), "3 1 2");
    shut(&chain, p);
}

/* Two ranges gave two rows each, and the component wants two in all: the third and fourth best don't count for it, but
 * the fourth is among the other one's best. */
TEST(hybrid_cuts_each_component)
{
    static const char *const first[] = {FLAT("a", "9,1", "1"), FLAT("b", "5,2", "2"), FLAT("c", "8,3", "3"),
                                        FLAT("d", "4,9", "4"), NULL};
    static const char *const second[] = {FLAT("d", "4,9", "4"), NULL};
    planned *p = plan_ok(HYBRID(COMPONENT("Descending", ",\"limit\":2", "q") "," COMPONENT("Descending", ","
        "\"limit\":2", "q"), ""));
    aioc_row_chain chain;
    open_hybrid(&chain, p);
    add_rows(&chain, 0, first);
    add_rows(&chain, 1, second);
    /* Ranks: a 1 and 3, c 2 and 2, d 3 and 1. */
    CHECK_STR(results_of(&chain), "1 4 3");
    shut(&chain, p);
}

TEST(hybrid_rows_that_are_none)
{
    static const struct { const char *json, *why; } cases[] = {
        {"5", "a row of a hybrid search without a _rid"},
        {"{\"_rid\":\"\",\"componentScores\":[1,2]}", "a row of a hybrid search without a _rid"},
        {"{\"_rid\":5,\"componentScores\":[1,2]}", "a row of a hybrid search without a _rid"},
        {"{\"_rid\":\"a\"}", "a row of a hybrid search without componentScores"},
        {"{\"_rid\":\"a\",\"payload\":{\"payload\":1}}", "a row of a hybrid search without componentScores"},
        {"{\"_rid\":\"a\",\"componentScores\":5}", "a row of a hybrid search without componentScores"},
        {"{\"_rid\":\"a\",\"componentScores\":[1]}", "componentScores that are not a number for each component"},
        {"{\"_rid\":\"a\",\"componentScores\":[1,2,3]}", "componentScores that are not a number for each component"},
        {"{\"_rid\":\"a\",\"componentScores\":[1,null]}", "componentScores that are not a number for each component"},
        {"{\"_rid\":\"a\",\"componentScores\":[1,\"2\"]}", "componentScores that are not a number for each component"},
    };
    planned *p = plan_ok(HYBRID(COMPONENT("Descending", "", "q") "," COMPONENT("Descending", "", "q"), ""));
    aioc_row_chain chain;
    size_t i;
    open_hybrid(&chain, p);
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *why = "";
        CHECK_INT(add_row(&chain, 0, cases[i].json, &why), AIOCOSMOS_E_PROTOCOL);
        CHECK_STR(why, cases[i].why);
    }
    CHECK_STR(results_of(&chain), "");
    shut(&chain, p);
    p = plan_ok(HYBRID(COMPONENT("Descending", "", "q"), ""));
    open_hybrid(&chain, p);
    {
        const char *why = "";
        CHECK_INT(add_row(&chain, 0, "{\"_rid\":\"a\",\"orderByItems\":[{\"item\":\"x\"}],\"componentScores\":[1]}",
            &why),
                  AIOCOSMOS_E_PROTOCOL);
        CHECK_STR(why, "a score that is not a number");
    }
    shut(&chain, p);
}

/* The same, plainly: for each row, how many better scores there are. */
typedef struct plain_row { char rid[16]; double score[3]; bool from[3], kept; double fused; } plain_row;

static bool is_better(double a, double b, bool ascending)
{
    return ascending ? a < b : a > b;
}

static unsigned better_scores(const plain_row *rows, int count, int at, int component, bool ascending)
{
    unsigned better = 0;
    int i, k;
    for (i = 0; i < count; i++) {
        bool before = false;
        if (!rows[i].kept || !is_better(rows[i].score[component], rows[at].score[component], ascending)) continue;
        for (k = 0; k < i; k++) before = before || (rows[k].kept &&
            rows[k].score[component] == rows[i].score[component]);
        better += !before;
    }
    return better;
}

TEST(hybrid_equals_the_plain_way)
{
    int round;
    seed = 14;
    for (round = 0; round < 300; round++) {
        enum { MOST = 40 };
        plain_row rows[MOST];
        int order[MOST], count = (int)random_below(MOST), n = 2 + (int)random_below(2), i, k, c, kept = 0;
        int limit = 1 + (int)random_below(20);
        bool ascending[3];
        double weight[3];
        char json[2000] = "{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[", want[2000] = "";
        const char *why = "";
        aioc_row_chain chain;
        planned *p;
        for (c = 0; c < n; c++) {
            ascending[c] = random_below(3) == 0;
            weight[c] = random_below(5) ? (double)random_below(100) / 8 : -1;
            snprintf(json + strlen(json), sizeof json - strlen(json), "%s{\"orderBy\":[\"%s\"],"
                "\"rewrittenQuery\":\"q\","
                     "\"limit\":%d}", c ? "," : "", ascending[c] ? "Ascending" : "Descending", limit);
        }
        for (c = 0; c < n; c++)
            snprintf(json + strlen(json), sizeof json - strlen(json), "%s%.3f", c ? "," : "],\"componentWeights\":[",
                weight[c]);
        strcat(json, "]}}");
        p = plan_ok(json);
        open_hybrid(&chain, p);
        memset(rows, 0, sizeof rows);
        for (i = 0; i < count; i++) {
            snprintf(rows[i].rid, sizeof rows[i].rid, "r%d", (int)random_below(1000) * MOST + i);
            /* No two scores are equal where a cut would have to choose between them. */
            for (c = 0; c < n; c++) rows[i].score[c] = limit < count ? i * 7 % 41 * (c + 1) : (double)random_below(6);
        }
        for (c = 0; c < n; c++) {
            for (i = 0; i < count; i++) {
                char row[300];
                rows[i].from[c] = random_below(2);
                for (k = 0; k < 2 && rows[i].from[c]; k++) {               /* and once more now and then */
                    size_t len = (size_t)snprintf(row, sizeof row, "{\"_rid\":\"%s\",\"payload\":%d,"
                        "\"componentScores\":[",
                                                  rows[i].rid, i);
                    int s;
                    for (s = 0; s < n; s++)
                        len += (size_t)snprintf(row + len, sizeof row - len, "%s%g", s ? "," : "", rows[i].score[s]);
                    snprintf(row + len, sizeof row - len, "]}");
                    CHECK_INT(add_row(&chain, (uint32_t)c, row, &why), 0);
                    if (random_below(4)) break;
                }
            }
        }
        for (i = 0; i < count; i++) {
            for (c = 0; c < n; c++) {
                int better = 0;
                for (k = 0; k < count; k++)
                    better += rows[k].from[c] && is_better(rows[k].score[c], rows[i].score[c], ascending[c]);
                rows[i].kept = rows[i].kept || (rows[i].from[c] && better < limit);
            }
        }
        for (i = 0; i < count; i++) {
            for (c = 0; c < n; c++)
                rows[i].fused += weight[c] / (60.0 + 1 + better_scores(rows, count, i, c, ascending[c]));
            for (k = kept; rows[i].kept && k > 0 && (rows[order[k - 1]].fused < rows[i].fused ||
                 (rows[order[k - 1]].fused == rows[i].fused && strcmp(rows[order[k - 1]].rid, rows[i].rid) > 0)); k--)
                order[k] = order[k - 1];
            if (rows[i].kept) order[k] = i, kept++;
        }
        for (i = 0; i < kept; i++)
            snprintf(want + strlen(want), sizeof want - strlen(want), "%s%d", i ? " " : "", order[i]);
        if (strcmp(results_of(&chain), want) != 0)
            test_fail(__FILE__, __LINE__, "round %d, %s", round, json);
        shut(&chain, p);
    }
}

TEST(hybrid_the_nth_allocation_fails)
{
    static const char *const json = HYBRID(COMPONENT("Descending", "", DOCUMENTS " some text,"
        " so long that it does not fit into "
                                                     "what a buffer has at first " HITS(0)) "," COMPONENT("Descending",
                                                         "", "q"), "");
    unsigned long n;
    bool done = false;
    for (n = 0; !done; n++) {
        planned *p = plan_ok(json);
        aioc_row_chain chain;
        aioc_mem_buffer out;
        const char *why = "";
        char text[2000] = "";
        int i, result;
        heap_fail(&p->r, n + 1, ULONG_MAX);
        memset(&out, 0, sizeof out);
        open_hybrid(&chain, p);
        result = add_statistics(&chain, "{\"documentCount\":1,\"fullTextStatistics\":[{\"totalWordCount\":1,"
                                "\"hitCounts\":[1,2,3,4,5,6,7,8,9]}]}", &why);
        if (result == 0) result = aioc_row_rrf_component_text(&chain.u.rrf, 0, &out, text, sizeof text);
        for (i = 0; result == 0 && i < 150; i++) {
            char row[100];
            snprintf(row, sizeof row, FLAT("r%d", "%d,%d", "%d"), i / 2, i / 2, i / 2, i / 2);
            result = add_row(&chain, (uint32_t)i % 2, row, &why);
            /* Once more, with memory: what failed has left nothing half done. */
            if (result == AIOCOSMOS_E_NOMEM) {
                done = false;
                heap_recover(&p->r);
                result = add_row(&chain, (uint32_t)i % 2, row, &why);
            }
        }
        if (result == 0) {
            size_t rows = 0;
            aiocosmos_json row;
            while ((result = give(&chain, &row)) > 0) rows += result == 1;
            if (result == 0) CHECK_INT(rows, 75);
        }
        CHECK(result == 0 || result == AIOCOSMOS_E_NOMEM);
        done = result == 0 && p->r.failed == 0 && n > 100;
        aioc_mem_buffer_free(&p->memory, &out);
        shut(&chain, p);
    }
}
