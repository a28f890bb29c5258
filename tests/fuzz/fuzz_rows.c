/* Rows of ranges through what a plan makes of them: the same rows come out when it is interrupted in between and goes on
 * from a token, and when memory runs out and is asked for again. */
#include "fuzz.h"

#define INFO(INSIDE) "{\"queryInfo\":{" INSIDE "}}"
#define RANK(SQL, MORE) \
    "{\"orderBy\":[\"Descending\"],\"orderByExpressions\":[\"x\"],\"hasNonStreamingOrderBy\":true," \
    "\"rewrittenQuery\":\"" SQL "\"" MORE "}"

static const char *const plans[] = {
    INFO("\"distinctType\":\"Unordered\",\"offset\":1,\"limit\":3"),
    INFO("\"aggregates\":[\"Sum\"],\"hasSelectValue\":true,\"rewrittenQuery\":\"x\""),
    INFO("\"groupByExpressions\":[\"c.a\"],\"groupByAliases\":[\"a\",\"n\",\"s\",\"m\"],\"groupByAliasToAggregateType\":"
         "{\"a\":null,\"n\":\"Count\",\"s\":\"Average\",\"m\":\"Max\"},\"rewrittenQuery\":\"x\""),
    INFO("\"orderBy\":[\"Descending\",\"Ascending\"],\"orderByExpressions\":[\"c.n\",\"c.m\"],"
         "\"hasNonStreamingOrderBy\":true,\"top\":3,\"rewrittenQuery\":\"x\""),
    INFO("\"dCountInfo\":{\"dCountAlias\":\"n\"},\"distinctType\":\"Unordered\""),
    INFO("\"groupByExpressions\":[\"c.a\"],\"hasSelectValue\":true,\"aggregates\":[\"MakeSet\"],\"limit\":2,"
         "\"offset\":0,\"rewrittenQuery\":\"x\""),
    "{\"hybridSearchQueryInfo\":{\"requiresGlobalStatistics\":true,\"globalStatisticsQuery\":\"s\","
    "\"componentQueryInfos\":[" RANK("{documentdb-formattablehybridsearchquery-totaldocumentcount}", "") ","
    RANK("b", ",\"limit\":2") "],\"componentWeights\":[1,-2],\"take\":3}}",
    INFO("\"groupByAliases\":[\"l\",\"e\"],\"groupByAliasToAggregateType\":"
         "{\"l\":\"MakeList\",\"e\":\"Min\"},\"rewrittenQuery\":\"x\""),
};

enum { PLANS = (int)(sizeof plans / sizeof plans[0]), GIVES_MAX = 1 << 20 };

static aioc_mem memory;

/* What is told of the rows: each on a line, and how it ended. */
typedef struct run { aioc_row_chain chain; aioc_row_progress progress; aioc_mem_buffer told; int status; } run;

/* A component of a hybrid search is read behind the other. */
static void next_component(aioc_row_rrf *rrf)
{
    aioc_mem_buffer sql = {NULL, 0, 0};
    char why[256];
    if (rrf->reading + 1 < rrf->plan->component_count || rrf->reading == AIOC_ROW_STATISTICS) rrf->reading++;
    aioc_row_rrf_component_text(rrf, rrf->reading, &sql, why, sizeof why);
    aioc_mem_buffer_free(&memory, &sql);
}

static void add(run *r, const aioc_plan *plan, aiocosmos_str row)
{
    char *copy = fuzz_copy(row);                             /* a stage keeps what it needs */
    aiocosmos_json_doc doc;
    aiocosmos_json root;
    const char *said = NULL;
    if (plan->hybrid && row.len == 1 && *row.ptr == '!') next_component(&r->chain.u.rrf);
    aioc_json_open(&doc, &memory);
    if (aioc_json_parse(&doc, copy, row.len) == 0) {
        root = aioc_json_root(&doc);
        said = aioc_row_pass(&r->chain, root);
        r->status = said == aioc_row_no_memory ? AIOCOSMOS_E_NOMEM
                    : said && said != aioc_row_passes ? AIOCOSMOS_E_PROTOCOL : 0;
        if (said == aioc_row_passes) CHECK(aioc_mem_append(&memory, &r->told, root.ptr, root.len) &&
                                  aioc_mem_append(&memory, &r->told, "\n", 1));
    }
    aioc_json_close(&doc);
    free(copy);
}

/* All rows of the input. */
static void begin(run *r, aioc_plan *plan, fuzz_input rows)
{
    static const uint64_t key[2] = {3, 4};
    memset(r, 0, sizeof *r);
    r->progress.skip = plan->info.skip;
    r->progress.take = plan->info.take;
    CHECK_INT(aioc_row_chain_open(&r->chain, &memory, plan, &plan->info, key, &r->progress, aioc_mem_str("")), 0);
    while (rows.len > 0 && r->status >= 0) add(r, plan, fuzz_part(&rows));
}

/* Up to so many rows that were kept. Returns how many there were. */
static size_t give(run *r, size_t rows_max)
{
    size_t rows = 0, steps = 0;
    int found = r->status < 0 ? 0 : AIOC_ROW_AGAIN;
    while (found != 0 && rows < rows_max) {
        aiocosmos_json row;
        CHECK(steps++ < GIVES_MAX);
        found = aioc_row_chain_next(&r->chain, &row);
        if (found == 1) found = aioc_row_chain_pass(&r->chain, row);
        if (found < 0) heap_recover(&heap);
        if (found == 1) CHECK(aioc_mem_append(&memory, &r->told, row.ptr, row.len) &&
                              aioc_mem_append(&memory, &r->told, "\n", 1));
        rows += found == 1;
    }
    return rows;
}

static void end(run *r)
{
    aioc_row_chain_close(&r->chain);
    aioc_val_set_free(&memory, &r->progress.seen);
    aioc_mem_buffer_free(&memory, &r->told);
}

/* Goes on in a chain of its own, as behind a token. */
static void resume(run *r, aioc_plan *plan)
{
    aioc_mem_buffer rest = {NULL, 0, 0};
    const uint64_t *key = r->chain.key;
    CHECK_INT(aioc_row_chain_rest(&r->chain, &rest, 1u << 24), 1);
    CHECK_INT(aioc_json_check(rest.data, rest.len, NULL, 0, NULL, NULL, NULL), 0);
    aioc_row_chain_close(&r->chain);
    CHECK_INT(aioc_row_chain_open(&r->chain, &memory, plan, &plan->info, key, &r->progress, fuzz_text(&rest)), 0);
    aioc_mem_buffer_free(&memory, &rest);
}

static void check_run(aioc_plan *plan, fuzz_input rows, size_t first, unsigned nth)
{
    run whole, parted, starved;
    begin(&whole, plan, rows);
    CHECK(aioc_row_chain_bytes(&whole.chain) <= memory.used);
    give(&whole, SIZE_MAX);
    begin(&parted, plan, rows);
    CHECK_INT(parted.status, whole.status);
    /* A page ends with a row. */
    if (give(&parted, first) > 0 && aioc_row_chain_has_more(&parted.chain)) resume(&parted, plan);
    give(&parted, SIZE_MAX);
    CHECK(fuzz_same(fuzz_text(&parted.told), fuzz_text(&whole.told)));
    end(&parted);
    begin(&starved, plan, rows);
    heap_fail(&heap, nth, 1);
    give(&starved, SIZE_MAX);
    heap_recover(&heap);
    CHECK(fuzz_same(fuzz_text(&starved.told), fuzz_text(&whole.told)));
    end(&starved);
    end(&whole);
}

/* Which plan, 9: the first part; the rows, "!" between those of a hybrid search's components. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    unsigned which = fuzz_knob(&in) % 10, first = 1 + fuzz_knob(&in) % 10, nth = 1 + fuzz_knob(&in) % 10;
    aiocosmos_str text = which < PLANS ? aioc_mem_str(plans[which]) : fuzz_part(&in);
    aioc_plan *plan;
    char why[200];
    memory = fuzz_memory(0);
    if (aioc_plan_read(&memory, text, &plan, why, sizeof why) == 0) {
        if (plan->info.order_count == 0 || plan->info.non_streaming) check_run(plan, in, first, nth);
        aioc_plan_release(&memory, plan);
    } else {
        if (which < PLANS) CHECK_STR(why, "a plan");
    }
    fuzz_close(&memory);
    return 0;
}
