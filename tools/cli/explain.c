/* explain.c: how a query was answered: the plan, the ranges, what each cost, the indexes. */
#include "explain.h"
#include "io.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A text of the service on one line; any other value as it is, and nothing of one that is not there. */
static void put_plain(aiocosmos_json value)
{
    char *text = value.type == AIOCOSMOS_JSON_STR ? malloc(value.len + 1) : NULL, *at;
    if (value.type == AIOCOSMOS_JSON_NONE) return;
    if (!text) {
        fwrite(value.ptr, 1, value.len, stdout);
        return;
    }
    aiocosmos_json_get_str(value, text, value.len + 1);
    for (at = text; (at = strpbrk(at, "\t\r\n")) != NULL; at++) *at = ' ';     /* plans break queries into lines */
    tame(text, strlen(text), "");
    fputs(text, stdout);
    free(text);
}

static bool means(aiocosmos_json value, const char *text)
{
    return aiocosmos_json_is_str(value, text);
}

static void put_label(const char *label)
{
    printf("  %-14s", label);
}

/* The elements of an array, behind each the word DESC if another array says so. False: there are none. */
static bool put_elements(const char *label, aiocosmos_json list, aiocosmos_json directions)
{
    aiocosmos_json element = {0}, direction = {0};
    bool first = true;
    while (aiocosmos_json_next(list, NULL, &element)) {
        if (first) put_label(label);
        else fputs(", ", stdout);
        first = false;
        put_plain(element);
        if (aiocosmos_json_next(directions, NULL, &direction) && means(direction, "Descending")) fputs(" DESC", stdout);
    }
    if (!first) putchar('\n');
    return !first;
}

/* "players Count, level Average"; the columns that are no aggregates are left out. */
static bool put_aggregates(aiocosmos_json columns)
{
    aiocosmos_json column = {0}, name;
    bool first = true;
    while (aiocosmos_json_next(columns, &name, &column)) {
        if (column.type != AIOCOSMOS_JSON_STR) continue;
        if (first) put_label("aggregates");
        else fputs(", ", stdout);
        first = false;
        put_plain(name);
        putchar(' ');
        put_plain(column);
    }
    if (!first) putchar('\n');
    return !first;
}

static bool put_field(const char *label, aiocosmos_json value)
{
    if (value.type == AIOCOSMOS_JSON_NONE || value.type == AIOCOSMOS_JSON_NULL || means(value, "") ||
        means(value, "None")) return false;
    put_label(label);
    put_plain(value);
    putchar('\n');
    return true;
}

/* What is to be done with the rows of one query, and the query that each range is asked. */
static void explain_query(aiocosmos_json info)
{
    const aiocosmos_json none = {0};
    bool merges = put_elements("order by", aiocosmos_json_at(info, "/orderByExpressions"),
                               aiocosmos_json_at(info, "/orderBy"));
    merges |= put_elements("group by", aiocosmos_json_at(info, "/groupByExpressions"), none);
    merges |= put_elements("aggregates", aiocosmos_json_at(info, "/aggregates"), none);
    merges |= put_aggregates(aiocosmos_json_at(info, "/groupByAliasToAggregateType"));
    merges |= put_field("distinct", aiocosmos_json_at(info, "/distinctType"));
    merges |= put_field("count distinct", aiocosmos_json_at(info, "/dCountInfo/dCountAlias"));
    merges |= put_field("top", aiocosmos_json_at(info, "/top"));
    merges |= put_field("offset", aiocosmos_json_at(info, "/offset"));
    merges |= put_field("limit", aiocosmos_json_at(info, "/limit"));
    if (!merges) puts("  one range after the other, each as it is");
    if (!put_field("each is asked", aiocosmos_json_at(info, "/rewrittenQuery")))
        puts("  each is asked the query itself");
}

static void explain_keys(aiocosmos_json ranges)
{
    aiocosmos_json range = {0};
    size_t count = aiocosmos_json_count(ranges), shown = 0;
    put_label("keys");
    while (shown < 4 && aiocosmos_json_next(ranges, NULL, &range)) {
        aiocosmos_json min = aiocosmos_json_at(range, "/min"), max = aiocosmos_json_at(range, "/max");
        if (shown++) fputs(", ", stdout);
        if (means(min, "") && means(max, "FF")) {
            fputs("all", stdout);
        } else {
            put_plain(min);
            if (min.len == max.len && memcmp(min.ptr, max.ptr, min.len) == 0) continue;
            fputs(" to ", stdout);
            put_plain(max);
        }
    }
    if (count > shown) printf(", and %zu more", count - shown);
    putchar('\n');
}

static void explain_plan(tool *t, aiocosmos_str text)
{
    aiocosmos_json_doc *doc;
    aiocosmos_json plan, hybrid, component = {0};
    if (text.len == 0 || aiocosmos_json_parse(t->client, text.ptr, text.len, &doc, NULL) < 0) {
        puts("There is no plan: it is of one partition key, or the server makes none, and answers by itself.");
        return;
    }
    plan = aiocosmos_json_root(doc);
    hybrid = aiocosmos_json_at(plan, "/hybridSearchQueryInfo");
    puts("The service's plan:");
    explain_keys(aiocosmos_json_at(plan, "/queryRanges"));
    if (hybrid.type == AIOCOSMOS_JSON_OBJ) {
        put_field("statistics", aiocosmos_json_at(hybrid, "/globalStatisticsQuery"));
        while (aiocosmos_json_next(aiocosmos_json_at(hybrid, "/componentQueryInfos"), NULL, &component)) {
            puts("  One of the rankings that are fused:");
            explain_query(component);
        }
    } else {
        explain_query(aiocosmos_json_at(plan, "/queryInfo"));
    }
    aiocosmos_json_free(doc);
}

/* An edge of the key space, cut to fit its column. */
static void put_edge(aiocosmos_str edge, const char *if_outermost)
{
    bool outermost = edge.len == 0 || (edge.len == 2 && memcmp(edge.ptr, "FF", 2) == 0);
    if (outermost) printf("  %-16s", if_outermost);
    else printf("  %-*.*s%s", edge.len > 16 ? 14 : 16, edge.len > 16 ? 14 : 16, edge.ptr, edge.len > 16 ? ".." : "");
}

static void explain_ranges(tool *t, aiocosmos_cursor query, const aiocosmos_cursor_stats *stats)
{
    aiocosmos_range_stats range;
    double of_ranges = 0;
    uint32_t i;
    if (stats->range_count)
        printf("\n%-6s  %-16s  %-16s  %8s %10s %11s\n", "Range", "from", "up to", "requests", "rows", "RU");
    for (i = 0; aiocosmos_cursor_get_range(t->client, query, i, &range); i++) {
        printf("%-6.*s", (int)range.id.len, range.id.ptr);
        put_edge(range.min, "the first key");
        put_edge(range.max, "the last key");
        printf("  %8" PRIu64 " %10" PRIu64 " %11.2f\n", range.requests, range.items, range.charge_ru);
        of_ranges += range.charge_ru;
    }
    if (stats->range_count && stats->charge_ru - of_ranges > 0.005)
        printf("%-63s %11.2f\n", "the plan, and what had to be asked again", stats->charge_ru - of_ranges);
    if (!stats->range_count)
        printf("\nRequests: %" PRIu64 ", rows: %" PRIu64 ", RU: %.2f\n", stats->requests, stats->items,
               stats->charge_ru);
}

/* The service's "index utilization" is about documents, whether or not an index has found them. */
static const char *meaning_of(const char *name, size_t len)
{
    static const char ratio[] = "indexUtilizationRatio";
    return len == sizeof ratio - 1 && memcmp(name, ratio, len) == 0
               ? " (of the documents that were read, those that met the filter)" : "";
}

/* "name=value;name=value". What is 0 says nothing. */
static void explain_metrics(aiocosmos_str metrics)
{
    const char *at = metrics.ptr, *end = metrics.ptr + metrics.len;
    bool first = true;
    while (at < end) {
        const char *semicolon = memchr(at, ';', (size_t)(end - at)), *stop = semicolon ? semicolon : end;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        bool is_zero = equals && stop - equals == 2 && equals[1] == '0';
        if (equals && !is_zero) {
            if (first) puts("\nMeasured by the service, over all ranges:");
            first = false;
            printf("  %-40.*s %.*s%s\n", (int)(equals - at), at, (int)(stop - equals - 1), equals + 1,
                   meaning_of(at, (size_t)(equals - at)));
        }
        at = stop + 1;
    }
}

/* Single indexes have one specification, composite ones several. */
static bool put_indexes(const char *label, aiocosmos_json list)
{
    aiocosmos_json index = {0};
    bool any = false;
    while (aiocosmos_json_next(list, NULL, &index)) {
        aiocosmos_json impact = aiocosmos_json_at(index, "/IndexImpactScore"), specification = {0};
        bool several = false;
        any = true;
        put_label(label);
        put_plain(aiocosmos_json_at(index, "/IndexSpec"));
        while (aiocosmos_json_next(aiocosmos_json_at(index, "/IndexSpecs"), NULL, &specification)) {
            if (several) fputs(", ", stdout);
            several = true;
            put_plain(specification);
        }
        if (impact.type == AIOCOSMOS_JSON_STR) {
            fputs(" (impact: ", stdout);
            put_plain(impact);
            putchar(')');
        }
        putchar('\n');
    }
    return any;
}

/* The service has had two forms of this. */
static void explain_indexes(tool *t, aiocosmos_str text)
{
    static const struct { const char *label, *path; } lists[] = {
        { "used", "/UtilizedSingleIndexes" }, { "used", "/UtilizedIndexes/SingleIndexes" },
        { "used", "/UtilizedCompositeIndexes" }, { "used", "/UtilizedIndexes/CompositeIndexes" },
        { "would help", "/PotentialSingleIndexes" }, { "would help", "/PotentialIndexes/SingleIndexes" },
        { "would help", "/PotentialCompositeIndexes" }, { "would help", "/PotentialIndexes/CompositeIndexes" }
    };
    aiocosmos_json_doc *doc;
    bool any = false;
    size_t i;
    if (text.len == 0 || aiocosmos_json_parse(t->client, text.ptr, text.len, &doc, NULL) < 0) return;
    puts("\nIndexes:");
    for (i = 0; i < sizeof lists / sizeof *lists; i++)
        any |= put_indexes(lists[i].label, aiocosmos_json_at(aiocosmos_json_root(doc), lists[i].path));
    if (!any) puts("  the service names none that it has used, and none that would help");
    aiocosmos_json_free(doc);
}

/*--- Advice -------------------------------------------------------------------
 * Percent-encoded JSON, [{"Id":"QA1002","Params":[...]}, ...]. */

static const struct { const char *rule, *advice; } rules[] = {
    { "QA1000", "ARRAY_CONTAINS with a partial match (true): EXISTS with a subquery may cost less" },
    { "QA1001", "DISTINCT over a JOIN: EXISTS with a subquery may cost less" },
    { "QA1002", "CONTAINS: where the text begins so, STARTSWITH costs less" },
    { "QA1003", "STARTSWITH or STRINGEQUALS in any case: a computed property with LOWER() may cost less" },
    { "QA1004", "ENDSWITH in any case: STARTSWITH on a computed property with REVERSE() may cost less" },
    { "QA1005", "GROUP BY an expression: a computed property of it may cost less" },
    { "QA1006", "UPPER() or LOWER() is compared: a computed property of it may cost less" },
    { "QA1007", "GetCurrentDateTime() in WHERE: GetCurrentDateTimeStatic() is worked out once" },
    { "QA1008", "GetCurrentTicks() in WHERE: GetCurrentTicksStatic() is worked out once" },
    { "QA1009", "GetCurrentTimestamp() in WHERE: GetCurrentTimestampStatic() is worked out once" }
};

static void put_advice(aiocosmos_json rule)
{
    size_t i;
    put_label("");
    for (i = 0; i < sizeof rules / sizeof *rules; i++)
        if (means(rule, rules[i].rule)) {
            puts(rules[i].advice);
            return;
        }
    fputs("the service's rule ", stdout);
    put_plain(rule);
    fputs(", see https://aka.ms/CosmosDB/QueryAdvisor/", stdout);
    put_plain(rule);
    putchar('\n');
}

static void explain_advice(tool *t, aiocosmos_str encoded)
{
    aiocosmos_json_doc *doc;
    aiocosmos_json entry = {0};
    char *text = encoded.len ? text_of(encoded) : NULL;
    size_t len = text ? percent_decode(text) : 0;
    bool first = true;
    if (!len || aiocosmos_json_parse(t->client, text, len, &doc, NULL) < 0) {
        free(text);
        return;
    }
    while (aiocosmos_json_next(aiocosmos_json_root(doc), NULL, &entry)) {
        aiocosmos_json rule = aiocosmos_json_at(entry, "/Id");
        if (rule.type != AIOCOSMOS_JSON_STR) continue;
        if (first) puts("\nThe service advises:");
        first = false;
        put_advice(rule);
    }
    aiocosmos_json_free(doc);
    free(text);
}

void explain(tool *t, aiocosmos_cursor query)
{
    aiocosmos_cursor_stats stats;
    wipe_progress(t);
    if (!aiocosmos_cursor_get_stats(t->client, query, &stats)) return;
    explain_plan(t, stats.plan);
    explain_ranges(t, query, &stats);
    if (!aiocosmos_cursor_get_stats(t->client, query, &stats)) return;     /* its texts are lent until the next call */
    explain_metrics(stats.metrics);
    explain_indexes(t, stats.index_metrics);
    explain_advice(t, stats.advice);
}
