/* Queries over many ranges against servers that lie about plans, ranges and pages, with little memory and less time:
 * nothing may crash, hang, leak or go on for ever, and no row that was lost may go unsaid. */
#include "hostile.h"

/*--- A server of queries ----------------------------------------------------------------------*/

#define RANGE(id, min, max) \
    "{\"id\":\"" id "\",\"minInclusive\":\"" min "\",\"maxExclusive\":\"" max "\",\"parents\":[]}"
#define RANGES(list) "{\"PartitionKeyRanges\":[" list "]}"
#define EVERYWHERE "\"queryRanges\":[{\"min\":\"\",\"max\":\"FF\",\"isMinInclusive\":true,\"isMaxInclusive\":false}]"
#define PLAN(info) "{\"partitionedQueryExecutionInfoVersion\":2,\"queryInfo\":{" info "}," EVERYWHERE "}"
#define HOLE "{documentdb-formattableorderbyquery-filter}"
#define REWRITTEN "\"rewrittenQuery\":\"SELECT c._rid FROM c WHERE (" HOLE ")\""
#define COMPONENT(name) "{\"orderBy\":[\"Descending\"],\"rewrittenQuery\":\"SELECT " name " FROM c WHERE " HOLE "\"}"

/* Makes rows so long that pages grow while they are made. */
#define PAD \
    "\"p\":\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\""

static const char four_ranges[] = RANGES(RANGE("0", "", "40") "," RANGE("1", "40", "80") "," RANGE("2", "80", "C0") ","
                                         RANGE("3", "C0", "FF"));

static struct server {
    const char *ranges, *plan, *definition;
    int plan_status, status, sub_status;     /* status: of the pages of the range that is bad, or of all (-1) */
    int bad_range;
    const char *page;                        /* what every range answers; NULL: pages of rows as they should be */
    const char *const *answers;              /* or, one for each range, the rows of its only page */
    const char *lines;                       /* of those answers; NULL: none */
    const char *row;                         /* printf format of a row, of the number of the row, thrice */
    int pages, rows;                         /* of each range, and of each page */
    const char *gateway;                     /* the rows of what names no range, in two pages; NULL: it is refused */
    const char *rid;                         /* of the container that is there; NULL: whoever says which does not err */
    bool unchanged;                          /* ranges do not change, says a 304 and nothing else */
    const char *failing;                     /* what the requests have in them that end with fails_with; NULL: none */
    int fails_with, fails_sub;
    bool for_ever;                           /* the same continuation again and again */
    int plans, asked, metadata;
} server;

static int range_of(const peer *link)
{
    const char *at = strstr(link->out, "x-ms-documentdb-partitionkeyrangeid: ");
    return at ? atoi(at + 37) : 0;
}

static int page_of(const peer *link)
{
    const char *at = strstr(link->out, "x-ms-continuation: ");
    return at ? atoi(at + 19) : 0;
}

/* Rows are numbered so that merging the ranges gives them in turn. */
static void serve_rows(peer *link)
{
    static char body[65536], lines[64];
    int range = range_of(link), page = page_of(link), i;
    size_t len = (size_t)sprintf(body, "{\"Documents\":[");
    for (i = 0; i < server.rows; i++) {
        int number = ((page * server.rows) + i) * 4 + range;
        if (i) body[len++] = ',';
        len += (size_t)snprintf(body + len, sizeof body - len - 20, server.row, number, number, number);
    }
    sprintf(body + len, "],\"_count\":%d}", server.rows);
    lines[0] = 0;
    if (server.for_ever) sprintf(lines, "x-ms-continuation: 0\r\n");
    else if (page + 1 < server.pages) sprintf(lines, "x-ms-continuation: %d\r\n", page + 1);
    reply(link, 200, lines, body);
}

static void serve_answer(peer *link, const char *rows)
{
    static char body[8192];
    snprintf(body, sizeof body, "{\"Documents\":[%s]}", rows);
    reply(link, 200, server.lines ? server.lines : "", body);
}

static void serve_bad(peer *link)
{
    char lines[96];
    sprintf(lines, "x-ms-substatus: %d\r\nx-ms-retry-after-ms: 10\r\n", server.sub_status);
    if (server.status == 0) world_reset(link);
    else reply(link, server.status, lines, "{\"code\":\"X\",\"message\":\"no\"}");
}

/* The gateway by itself: a page of nothing first. */
static void serve_gateway(peer *link)
{
    static char body[8192];
    bool later = heard(link, "x-ms-continuation: ");
    CHECK(heard(link, "x-ms-documentdb-query-enablecrosspartition: True\r\n") !=
          heard(link, "x-ms-documentdb-partitionkey: "));
    CHECK(heard(link, "{\"query\":\"SELECT * FROM c\""));
    snprintf(body, sizeof body, "{\"Documents\":[%s]}", later ? server.gateway : "");
    reply(link, 200, later ? "x-ms-request-charge: 5\r\n" : "x-ms-request-charge: 5\r\nx-ms-continuation: b\r\n", body);
}

static void serve(peer *link)
{
    static const char statistics[] = "{\"Documents\":[{\"documentCount\":9,\"fullTextStatistics\":"
                                     "[{\"totalWordCount\":5,\"hitCounts\":[1]}]}]}";
    if (server.rid && heard(link, "x-ms-cosmos-intended-collection-rid: ") && !heard(link, server.rid)) {
        reply(link, 400, "x-ms-substatus: 1024\r\n", "{\"code\":\"BadRequest\",\"message\":\"another one\"}");
    } else if (server.failing && heard(link, server.failing)) {
        char lines[96];
        sprintf(lines, "x-ms-substatus: %d\r\nx-ms-retry-after-ms: 10\r\nx-ms-request-charge: 1\r\n",
                server.fails_sub);
        reply(link, server.fails_with, lines, "{\"code\":\"X\",\"message\":\"for a while\"}");
    } else if (heard(link, "/pkranges ")) {
        server.metadata++;
        if (server.unchanged) server.status = 0;             /* the range that was gone is there again */
        if (server.unchanged && heard(link, "If-None-Match: ")) reply(link, 304, "", "");
        else reply(link, 200, server.unchanged ? "etag: \"7\"\r\n" : "", server.ranges);
    } else if (heard(link, "GET /dbs/db/colls/c HTTP")) {
        server.metadata++;
        reply(link, 200, "", server.definition);
    } else if (heard(link, "DELETE /dbs/db/colls/c HTTP")) {
        reply(link, 204, "", "");
    } else if (heard(link, "POST /dbs/db/colls HTTP")) {
        reply(link, 201, "", server.definition);
    } else if (heard(link, "x-ms-cosmos-is-query-plan-request: True")) {
        server.plans++;
        if (server.plan_status == 0) world_reset(link);
        else if (server.plan_status > 0) reply(link, server.plan_status, "x-ms-retry-after-ms: 10\r\n", server.plan);
    } else {
        server.asked++;
        if (!heard(link, "x-ms-documentdb-partitionkeyrangeid: ") && server.gateway) {
            serve_gateway(link);
            return;
        }
        if (!heard(link, "x-ms-documentdb-partitionkeyrangeid: ")) {       /* without a plan, the gateway refuses */
            reply(link, 400, "x-ms-substatus: 1004\r\n", "{\"code\":\"BadRequest\",\"message\":\"no\"}");
            return;
        }
        if (server.status && (server.bad_range < 0 || server.bad_range == range_of(link))) serve_bad(link);
        else if (heard(link, "\"query\":\"STATISTICS\"")) reply(link, 200, "", statistics);
        else if (server.answers) serve_answer(link, server.answers[range_of(link)]);
        else if (server.page) reply(link, 200, server.for_ever ? "x-ms-continuation: more\r\n" : "", server.page);
        else serve_rows(link);
    }
}

typedef struct shape { const char *name, *plan, *row; } shape;

static const shape shapes[] = {
    { "plain", PLAN(""), "{\"n\":%d," PAD "}" },
    { "top", PLAN("\"top\":20"), "{\"n\":%d," PAD "}" },
    { "offset", PLAN("\"offset\":5,\"limit\":15"), "{\"n\":%d," PAD "}" },
    { "distinct", PLAN("\"distinctType\":\"Unordered\""), "{\"n\":%d," PAD "}" },
    { "order", PLAN("\"orderBy\":[\"Ascending\"],\"orderByExpressions\":[\"c.n\"]," REWRITTEN),
      "{\"_rid\":\"r%d\",\"orderByItems\":[{\"item\":%d}],\"payload\":{\"n\":%d," PAD "}}" },
    { "order, top", PLAN("\"top\":17,\"orderBy\":[\"Ascending\"],\"orderByExpressions\":[\"c.n\"]," REWRITTEN),
      "{\"_rid\":\"r%d\",\"orderByItems\":[{\"item\":%d}],\"payload\":{\"n\":%d," PAD "}}" },
    { "order, distinct",
      PLAN("\"distinctType\":\"Ordered\",\"orderBy\":[\"Ascending\"],\"orderByExpressions\":[\"c.n\"],"
      REWRITTEN), "{\"_rid\":\"r%d\",\"orderByItems\":[{\"item\":%d}],\"payload\":{\"n\":%d," PAD "}}" },
    { "group", PLAN("\"groupByExpressions\":[\"c.n\"],\"groupByAliases\":[\"n\",\"k\"],\"groupByAliasToAggregateType\":"
      "{\"n\":null,\"k\":\"Count\"}," REWRITTEN),
      "{\"groupByItems\":[{\"item\":%d}],\"payload\":{\"n\":%d,\"k\":{\"item\":%d}}}" },
    { "sum", PLAN("\"aggregates\":[\"Sum\"],\"hasSelectValue\":true," REWRITTEN), "[{\"item\":%d}]" },
    { "distinct count",
      PLAN("\"distinctType\":\"Unordered\",\"dCountInfo\":{\"dCountAlias\":\"n\"}"), "{\"n\":%d," PAD "}" },
    { "nearest", PLAN("\"top\":7,\"orderBy\":[\"Ascending\"],\"hasNonStreamingOrderBy\":true," REWRITTEN),
      "{\"_rid\":\"r%d\",\"orderByItems\":[{\"item\":%d}],\"payload\":{\"n\":%d," PAD "}}" },
    { "hybrid", "{\"partitionedQueryExecutionInfoVersion\":2,\"hybridSearchQueryInfo\":{\"globalStatisticsQuery\":"
      "\"STATISTICS\",\"requiresGlobalStatistics\":true,\"componentQueryInfos\":[" COMPONENT("ONE") "," COMPONENT("TWO")
      "," COMPONENT("THREE") "],\"skip\":1,\"take\":9}," EVERYWHERE "}",
      "{\"_rid\":\"r%d\",\"orderByItems\":[{\"item\":%d}],\"payload\":{\"payload\":{\"n\":%d," PAD "},"
      "\"componentScores\":[1,2,3]}}" },
    { "order, count", PLAN("\"dCountInfo\":{\"dCountAlias\":\"n\"},\"orderBy\":[\"Ascending\"],\"orderByExpressions\":"
      "[\"c.n\"]," REWRITTEN), "{\"_rid\":\"r%d\",\"orderByItems\":[{\"item\":%d}],\"payload\":{\"n\":%d," PAD "}}" }
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void serve_shape(const shape *which)
{
    net_begin(serve);
    memset(&server, 0, sizeof server);
    server.ranges = four_ranges;
    server.definition = definition;
    server.plan_status = 200;
    server.plan = which->plan;
    server.row = which->row;
    server.bad_range = -1;
    server.pages = 3;
    server.rows = 6;
}

/*--- Reading -------------------------------------------------------------------------------------*/

typedef struct reading {
    aiocosmos_cursor query;
    int pages, status;                       /* of the last page */
    bool more;
    size_t items;
    double charge_ru;
    uint32_t attempts;
    uint64_t latency_us;
    char rows[65536], token[65536], message[1200];
    size_t rows_len;
} reading;

static void on_rows(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    static const char refused[] = "op: no such bulk";
    const aiocosmos_op none = {0};
    reading *kept = user_data;
    aiocosmos_json row;
    memset(&row, 0, sizeof row);
    CHECK_INT(aiocosmos_bulk_resume(client, none), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), refused);
    CHECK(!page->result->message.len || strncmp(page->result->message.ptr, refused, sizeof refused - 1) != 0);
    kept->pages++;
    kept->status = page->result->status;
    kept->more = page->more;
    kept->charge_ru = page->result->charge_ru;
    kept->attempts = page->result->attempts;
    kept->latency_us = page->result->latency_us;
    CHECK(page->result->message.len < sizeof kept->message);
    memcpy(kept->message, page->result->message.ptr ? page->result->message.ptr : "", page->result->message.len);
    kept->message[page->result->message.len] = 0;
    CHECK(kept->status == 0 || (page->result->message.len > 0 && !page->more));
    if (kept->status != 0) return;
    kept->items += page->item_count;
    CHECK(page->continuation.len < sizeof kept->token);
    if (page->continuation.len) memcpy(kept->token, page->continuation.ptr, page->continuation.len);
    kept->token[page->continuation.len] = 0;
    while (aiocosmos_json_next(page->items, NULL, &row) && kept->rows_len + row.len + 2 < sizeof kept->rows) {
        memcpy(kept->rows + kept->rows_len, row.ptr, row.len);
        kept->rows_len += row.len;
        kept->rows[kept->rows_len++] = '\n';
    }
    kept->rows[kept->rows_len] = 0;
}

static aiocosmos_query_request usual_request(void)
{
    aiocosmos_query_request request;
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.sql = "SELECT * FROM c";
    request.page_items_max = 11;
    request.skip_empty = true;
    return request;
}

static int next_page(aiocosmos_client *client, reading *got)
{
    int pages = got->pages, status = aiocosmos_cursor_next(client, got->query, on_rows, got);
    if (status) return status;
    drain(client);
    CHECK_INT(got->pages, pages + 1);
    return 0;
}

/* Reads to the end or to the first failure, at most so many pages. */
static void read_all(aiocosmos_client *client, const aiocosmos_query_request *request, reading *got, int most)
{
    memset(got, 0, sizeof *got);
    CHECK_INT(aiocosmos_query_open(client, request, &got->query), 0);
    do CHECK_INT(next_page(client, got), 0);
    while (got->status == 0 && got->more && got->pages < most);
    aiocosmos_cursor_close(client, got->query);
}

/* From here on it knows the container's keys: a query of one is an operation a page, which the gateway answers. */
static void make_known(aiocosmos_client *client)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    read_all(client, &request, &got, 1000);
    CHECK_STR(got.message, "");
}

static const char only_range[] = RANGES(RANGE("0", "", "FF"));

/* One answer of so many rows; 0: the usual four ranges with three pages each. */
static void serve_few(int rows)
{
    if (rows == 0) return;
    server.ranges = only_range;
    server.pages = 1;
    server.rows = rows;
}

static void rows_of_shape(const shape *which, int rows, reading *got)
{
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    serve_shape(which);
    serve_few(rows);
    client = open_usual();
    read_all(client, &request, got, 1000);
    if (got->status) CHECK_STR(got->message, which->name);
    close_client(client);
}

/* What its version hashes in nobody's way, or is a version that nobody knows: no client could say which ranges. */
TEST(keys_that_only_the_service_can_hash_are_no_lack_of_memory)
{
    static const char *const definitions[] = {
        "{\"id\":\"c\",\"_rid\":\"abcdAMsp2wU=\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\"}}",
        "{\"id\":\"c\",\"_rid\":\"abcdAMsp2wU=\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\","
        "\"version\":3}}",
        "{\"id\":\"c\",\"_rid\":\"abcdAMsp2wU=\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Range\"}}"
    };
    static char wide[121];
    aiocosmos_pk keys[2];
    static reading got;
    size_t i;
    for (i = 0; i < 60; i++) memcpy(wide + 2 * i, "\xC3\xA9", 2);
    keys[0] = aiocosmos_pk_s("a");
    keys[1] = aiocosmos_pk_s(wide);
    for (i = 0; i < sizeof definitions / sizeof *definitions; i++) {
        aiocosmos_query_request request = usual_request();
        aiocosmos_client *client;
        serve_shape(&shapes[0]);
        server.definition = definitions[i];
        client = open_usual();
        request.pks = keys;
        request.pk_count = 2;
        read_all(client, &request, &got, 1);
        CHECK_INT(got.status, AIOCOSMOS_E_ARGUMENT);
        if (i == 0) CHECK_STR(got.message, "pks: one has too many levels, or only the service can hash it");
        request.pk_count = 1;
        read_all(client, &request, &got, 1);
        CHECK(got.status != AIOCOSMOS_E_NOMEM);
        close_client(client);
    }
}

/*--- How much is asked, and when ---------------------------------------------------------------------*/

static struct asking { int trips, waits, largest; } asking;    /* trips: requests under way together are one */

static void serve_counted(peer *link)
{
    const char *size = strstr(link->out, "x-ms-max-item-count: ");
    if (net.waits != asking.waits && heard(link, "x-ms-documentdb-partitionkeyrangeid: ")) {
        asking.trips++;
        asking.waits = net.waits;
    }
    if (size && atoi(size + 21) > asking.largest) asking.largest = atoi(size + 21);
    serve(link);
}

static int trips_of(int which, int pages)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    serve_shape(&shapes[which]);
    memset(&asking, 0, sizeof asking);
    remote.answer = serve_counted;
    server.pages = pages;
    client = open_usual();
    read_all(client, &request, &got, 1000);
    CHECK_STR(got.message, "");
    CHECK_INT(server.asked, 4 * pages);
    close_client(client);
    return asking.trips;
}

TEST(ranges_whose_rows_need_no_order_are_read_side_by_side)
{
    int i;
    for (i = 0; i < SHAPES; i++) {
        const char *name = shapes[i].name;
        if (strcmp(name, "group") == 0 || strcmp(name, "sum") == 0 || strcmp(name, "distinct count") == 0 ||
            strcmp(name, "nearest") == 0) CHECK(trips_of(i, 10) <= 10);
        if (strcmp(name, "distinct") == 0) CHECK(trips_of(i, 10) <= 13);
    }
}

/* Groups are given in pieces, and a page has its limit, whatever is asked for. */
TEST(rows_that_had_to_be_complete_first_come_in_pages_of_any_size)
{
    static const uint32_t sizes[] = { 0, 3, 700, INT32_MAX };
    static const int of[] = { 7, 4, 3 };     /* group, order, distinct: a page of an answer */
    static reading got;
    aiocosmos_query_request request = usual_request();
    size_t i, k;
    for (i = 0; i < sizeof of / sizeof *of; i++) {
        for (k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            int size = sizes[k] && sizes[k] < INT32_MAX ? (int)sizes[k] : 2000;
            aiocosmos_client *client;
            serve_shape(&shapes[of[i]]);
            server.pages = 1;
            server.rows = of[i] == 7 ? 550 : 300;
            request.page_items_max = sizes[k];
            request.continuation_bytes_max = 64;
            client = open_usual();
            read_all(client, &request, &got, 1);
            CHECK(got.items == (size_t)size || !got.more || of[i] == 3);
            CHECK(of[i] != 7 || !got.token[0]);              /* it would be longer */
            read_all(client, &request, &got, 2000);
            CHECK_STR(got.message, "");
            CHECK_INT(got.items, server.rows * 4);
            if (of[i] != 3) CHECK_INT(got.pages, (server.rows * 4 + size - 1) / size);
            close_client(client);
        }
    }
}

/* What it remembers of rows, to know them again or to add to, has a limit. */
TEST(a_query_that_remembers_too_much_ends)
{
    static const char *const plans[] = { PLAN("\"distinctType\":\"Unordered\""),
        PLAN("\"distinctType\":\"Unordered\",\"orderBy\":[\"Ascending\"],\"orderByExpressions\":[\"c.n\"],"
             REWRITTEN) };
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    size_t i;
    request.memory_max = 4096;
    for (i = 0; i < sizeof plans / sizeof *plans; i++) {
        serve_shape(&shapes[i ? 4 : 3]);
        server.plan = plans[i];
        server.pages = 100;
        client = open_usual();
        read_all(client, &request, &got, 1000);
        CHECK_INT(got.status, AIOCOSMOS_E_TOO_LARGE);
        if (!strstr(got.message, "memory_max of 4096 bytes")) CHECK_STR(got.message, "memory_max");
        CHECK_INT(next_page(client, &got), AIOCOSMOS_E_ARGUMENT);
        close_client(client);
    }
}

TEST(small_pages_ask_ranges_for_little)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    serve_shape(&shapes[4]);                 /* order */
    memset(&asking, 0, sizeof asking);
    remote.answer = serve_counted;
    server.pages = 100;
    request.page_items_max = 3;
    client = open_usual();
    read_all(client, &request, &got, 4);
    CHECK_INT(got.items, 12);
    CHECK(asking.largest <= 6);
    close_client(client);
}

/*--- Plans -----------------------------------------------------------------------------------------*/

static char big[9 << 20];

/* A plan, or the lack of one, ends in an answer or in an error, at once. */
static void survives_plan(const char *plan, int status)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    uint64_t start;
    serve_shape(&shapes[4]);
    server.plan = plan;
    server.plan_status = status;
    client = open_usual();
    start = net.now_us;
    read_all(client, &request, &got, 1000);
    CHECK(net.now_us - start < 40000000);
    CHECK(server.plans <= 40);
    close_client(client);
}

TEST(plans_that_are_none_or_lie_end_in_an_answer_or_an_error)
{
    static const char *const plans[] = {
        "", "{", "null", "[]", "1", "{}", "{\"queryInfo\":", "{\"queryInfo\":1}", "{\"queryInfo\":{}}", "<html>",
        PLAN("\"top\":-1"), PLAN("\"top\":1e300"), PLAN("\"top\":9223372036854775807,\"offset\":9223372036854775807,"
        "\"limit\":9223372036854775807,\"orderBy\":[\"Ascending\"]," REWRITTEN), PLAN("\"top\":\"1\""),
        PLAN("\"top\":9223372036854775807,\"offset\":9223372036854775807,\"hasNonStreamingOrderBy\":true," REWRITTEN),
        PLAN("\"top\":0"), PLAN("\"limit\":0,\"orderBy\":[\"Ascending\"]," REWRITTEN), PLAN("\"distinctType\":\"Odd\""),
        PLAN("\"orderBy\":[\"Sideways\"]," REWRITTEN), PLAN("\"orderBy\":[\"Ascending\",\"Ascending\"],"
        "\"orderByExpressions\":[\"c.a\"]," REWRITTEN), PLAN("\"orderBy\":[\"Ascending\",\"Descending\"]," REWRITTEN),
        PLAN("\"orderBy\":[\"Ascending\"],\"rewrittenQuery\":\"SELECT 1\""), PLAN("\"orderBy\":[\"Ascending\"]"),
        PLAN("\"orderBy\":\"Ascending\""), PLAN("\"orderBy\":[null]"), PLAN("\"aggregates\":[\"Median\"]"),
        PLAN("\"aggregates\":[\"Sum\",\"Sum\"],\"hasSelectValue\":true"), PLAN("\"aggregates\":[null]"),
        PLAN("\"groupByExpressions\":[\"c.a\"],\"groupByAliases\":[\"a\",\"a\"],\"groupByAliasToAggregateType\":"
        "{\"a\":null,\"b\":null}"), PLAN("\"groupByExpressions\":[\"c.a\"],\"groupByAliases\":[\"a\"]"),
        PLAN("\"groupByAliasToAggregateType\":[]"), PLAN("\"dCountInfo\":1"),
        PLAN("\"dCountInfo\":{\"dCountAlias\":[]}"),
        PLAN("\"rewrittenQuery\":{}"), PLAN("\"hasNonStreamingOrderBy\":true"), PLAN("\"hasSelectValue\":7"),
        "{\"queryInfo\":{},\"queryRanges\":[{\"min\":\"80\",\"max\":\"40\"}]}",
        "{\"queryInfo\":{},\"queryRanges\":[{\"min\":\"ZZ\",\"max\":\"FF\"}]}",
        "{\"queryInfo\":{},\"queryRanges\":[{\"min\":\"\",\"max\":\"80\"},{\"min\":\"40\",\"max\":\"FF\"}]}",
        "{\"queryInfo\":{},\"queryRanges\":[]}", "{\"queryInfo\":{},\"queryRanges\":[{}]}",
        "{\"queryInfo\":{},\"queryRanges\":[{\"min\":\"FF\",\"max\":\"FFFF\"}]}",
        "{\"queryInfo\":{},\"queryRanges\":[{\"min\":\"\",\"max\":\"\",\"isMaxInclusive\":true}]}",
        "{\"queryInfo\":{},\"queryRanges\":[{\"min\":\"FF\",\"max\":\"FF\",\"isMaxInclusive\":true}]}",
        "{\"hybridSearchQueryInfo\":{}}", "{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[]}}",
        "{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[{}]}}", "{\"hybridSearchQueryInfo\":[]}",
        "{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[]," "\"componentQueryInfos\":[" COMPONENT("a") ","
        COMPONENT("b") "," COMPONENT("c") "," COMPONENT("d") "]}}",
        "{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":["
        COMPONENT("a") "," COMPONENT("b") "," COMPONENT("c") "],"
        "\"component\\u0051ueryInfos\":[" COMPONENT("a") "]},\"hybridSearchQueryInfo\":null,\"queryInfo\":{}}",
        "{\"hybridSearchQueryInfo\":{},\"hybridSearchQueryInf\\u006f\":{\"componentQueryInfos\":[" COMPONENT("a") ","
        COMPONENT("b") "," COMPONENT("c") "," COMPONENT("d") "]}}",
        "{\"hybridSearchQueryInfo\":{\"requiresGlobalStatistics\":true,\"componentQueryInfos\":[" COMPONENT("a") "]}}",
        "{\"hybridSearchQueryInfo\":{\"skip\":9223372036854775807,"
        "\"take\":9223372036854775807,\"componentQueryInfos\":["
        COMPONENT("a") "],\"componentWeights\":[1e308]}}",
        "{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[{\"rewrittenQuery\":"
        "\"{documentdb-formattablehybridsearchquery-totalwordcount-99}\"}]}}",
        "{\"partitionedQueryExecutionInfoVersion\":3,\"queryInfo\":{}}"
    };
    static const int statuses[] = { 200, 400, 403, 404, 410, 429, 449, 500, 503, 0, -1 };
    size_t i;
    for (i = 0; i < sizeof plans / sizeof *plans; i++) survives_plan(plans[i], 200);
    for (i = 0; i < sizeof statuses / sizeof *statuses; i++) survives_plan(shapes[4].plan, statuses[i]);
}

/*--- Plans that ask for several things at once --------------------------------------------------*/

#define ORDER    "\"orderBy\":[\"Ascending\"],\"orderByExpressions\":[\"c.n\"]," REWRITTEN
#define NEAREST  "\"orderBy\":[\"Descending\"],\"hasNonStreamingOrderBy\":true," REWRITTEN
#define DISTINCT "\"distinctType\":\"Unordered\""
#define ORDERED_DISTINCT "\"distinctType\":\"Ordered\""
#define COUNTED  "\"dCountInfo\":{\"dCountAlias\":\"\"}"
#define GROUPED  "\"groupByExpressions\":[\"c.n\"],\"groupByAliases\":[\"k\"]," \
                 "\"groupByAliasToAggregateType\":{\"k\":\"Count\"}," REWRITTEN
#define SUMMED   "\"aggregates\":[\"Sum\"],\"hasSelectValue\":true," REWRITTEN
#define RANKING(more) "{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":[{\"orderBy\":[\"Descending\"]," more "," \
                      "\"rewrittenQuery\":\"SELECT\"}],\"take\":9}," EVERYWHERE "}"

#define SORTED(rid, n, payload) \
    "{\"_rid\":\"" rid "\",\"orderByItems\":[{\"item\":" n "}],\"payload\":" payload "}"
#define GROUP(n, k) "{\"groupByItems\":[{\"item\":" n "}],\"payload\":{\"k\":{\"item\":" k "}}}"

static const char two_ranges[] = RANGES(RANGE("0", "", "80") "," RANGE("1", "80", "FF"));

static const char *const bare_rows[] = { "1,2,3", "3,4" };
static const char *const rising_rows[] = { SORTED("a", "1", "1") "," SORTED("b", "2", "2"),
                                           SORTED("c", "1", "1") "," SORTED("d", "2", "2") "," SORTED("e", "3", "3") };
static const char *const near_rows[] = {
    SORTED("a", "0.9", "\"A\"") "," SORTED("a", "0.9", "\"A2\"") "," SORTED("b", "0.5", "\"B\""),
    SORTED("c", "0.6", "\"B\"") "," SORTED("d", "0.7", "\"A\"") "," SORTED("e", "0.55", "\"A\"") ","
    SORTED("f", "0.52", "\"C\"")
};
static const char *const grouped_rows[] = { GROUP("1", "1") "," GROUP("2", "3"), GROUP("1", "2") "," GROUP("4", "5") };
static const char *const grouped_in_order[] = {
    SORTED("a", "2", GROUP("1", "1")) "," SORTED("b", "3", GROUP("2", "2")),
    SORTED("c", "1", GROUP("3", "4")) "," SORTED("d", "4", GROUP("1", "8"))
};
static const char *const summed_rows[] = { "[{\"item\":2}]", "[{\"item\":3}]" };

/* What a plan may ask for together, and what comes of it: the rows, as .NET's PipelineFactory has the stages (order,
 * distinct, offset, limit, top, count), or the words that say what cannot be done. */
static const struct combination { const char *name, *plan; const char *const *answers; const char *rows, *refusal; }
combinations[] = {
    { "distinct", PLAN(DISTINCT), bare_rows, "1 2 3 4", NULL },
    { "distinct, top", PLAN(DISTINCT ",\"top\":2"), bare_rows, "1 2", NULL },
    { "distinct, offset", PLAN(DISTINCT ",\"offset\":1,\"limit\":2"), bare_rows, "2 3", NULL },
    { "count", PLAN(COUNTED), bare_rows, "5", NULL },
    { "count, distinct", PLAN(COUNTED "," DISTINCT), bare_rows, "4", NULL },
    { "count, distinct, top", PLAN(COUNTED "," DISTINCT ",\"top\":2"), bare_rows, "2", NULL },
    { "count, distinct, top 0", PLAN(COUNTED "," DISTINCT ",\"top\":0"), bare_rows, "0", NULL },
    { "count, distinct, offset", PLAN(COUNTED "," DISTINCT ",\"offset\":1,\"limit\":2"), bare_rows, "2", NULL },
    { "count, distinct, far offset", PLAN(COUNTED "," DISTINCT ",\"offset\":9,\"limit\":2"), bare_rows, "0", NULL },
    { "count, distinct, order", PLAN(COUNTED "," ORDERED_DISTINCT "," ORDER), rising_rows, "3", NULL },
    { "count, order", PLAN(COUNTED "," ORDER), rising_rows, "5", NULL },
    { "count, distinct, order, top", PLAN(COUNTED "," DISTINCT ",\"top\":2," ORDER), rising_rows, "2", NULL },
    { "count, distinct, vector", PLAN(COUNTED "," DISTINCT ",\"top\":9," NEAREST), near_rows, "4", NULL },
    { "count, vector", PLAN(COUNTED ",\"top\":6," NEAREST), near_rows, "6", NULL },
    { "order, distinct", PLAN(ORDERED_DISTINCT "," ORDER), rising_rows, "1 2 3", NULL },
    { "order, distinct, offset", PLAN(ORDERED_DISTINCT ",\"offset\":1,\"limit\":1," ORDER), rising_rows, "2", NULL },
    { "order, distinct unordered", PLAN(DISTINCT "," ORDER), rising_rows, "1 2 3", NULL },
    { "vector", PLAN("\"top\":9," NEAREST), near_rows, "\"A\" \"A2\" \"A\" \"B\" \"A\" \"C\" \"B\"", NULL },
    { "vector, offset", PLAN("\"offset\":1,\"limit\":3," NEAREST), near_rows, "\"A2\" \"A\" \"B\"", NULL },
    { "vector, distinct", PLAN(DISTINCT ",\"top\":9," NEAREST), near_rows, "\"A\" \"A2\" \"B\" \"C\"", NULL },
    { "vector, distinct, top", PLAN(DISTINCT ",\"top\":3," NEAREST), near_rows, "\"A\" \"A2\" \"B\"", NULL },
    { "vector, distinct, offset", PLAN(DISTINCT ",\"offset\":2,\"limit\":9," NEAREST), near_rows, "\"B\" \"C\"", NULL },
    { "vector without top", PLAN(NEAREST), near_rows, NULL, "needs TOP" },
    { "groups", PLAN(GROUPED), grouped_rows, "{\"k\":3} {\"k\":3} {\"k\":5}", NULL },
    { "groups, distinct", PLAN(GROUPED "," DISTINCT), grouped_rows, "{\"k\":3} {\"k\":5}", NULL },
    { "groups, offset", PLAN(GROUPED ",\"offset\":1,\"limit\":1"), grouped_rows, "{\"k\":3}", NULL },
    { "groups, distinct, offset", PLAN(GROUPED "," DISTINCT ",\"offset\":1,\"limit\":1"), grouped_rows, "{\"k\":5}",
      NULL },
    { "groups, count", PLAN(GROUPED "," COUNTED), grouped_rows, "3", NULL },
    { "groups, distinct, count", PLAN(GROUPED "," DISTINCT "," COUNTED), grouped_rows, "2", NULL },
    { "groups, offset, count", PLAN(GROUPED ",\"offset\":1,\"limit\":9," COUNTED), grouped_rows, "2", NULL },
    { "groups, none, count", PLAN(GROUPED ",\"top\":0," COUNTED), grouped_rows, "0", NULL },
    { "groups, order", PLAN(GROUPED "," ORDER), grouped_in_order, "{\"k\":4} {\"k\":9} {\"k\":2}", NULL },
    { "groups, order, top", PLAN(GROUPED ",\"top\":2," ORDER), grouped_in_order, "{\"k\":4} {\"k\":9}", NULL },
    { "groups, order, distinct", PLAN(GROUPED "," ORDERED_DISTINCT "," ORDER), grouped_in_order,
      "{\"k\":4} {\"k\":9} {\"k\":2}", NULL },
    { "groups, order, count", PLAN(GROUPED "," ORDER "," COUNTED), grouped_in_order, "3", NULL },
    { "groups, order, rows without", PLAN(GROUPED "," ORDER), grouped_rows, NULL, "a value for each column" },
    { "groups, vector", PLAN(GROUPED ",\"top\":9," NEAREST), grouped_rows, NULL, "the query plan groups and ranks" },
    { "sum", PLAN(SUMMED), summed_rows, "5", NULL },
    { "sum, distinct", PLAN(SUMMED "," DISTINCT), summed_rows, "5", NULL },
    { "sum, top", PLAN(SUMMED ",\"top\":1"), summed_rows, "5", NULL },
    { "sum, count", PLAN(SUMMED "," COUNTED), summed_rows, "1", NULL },
    { "sum, order", PLAN(SUMMED "," ORDER), summed_rows, NULL, "a value for each column" },
    { "sum, rows as they are", PLAN("\"aggregates\":[\"Sum\"],\"hasSelectValue\":true"), summed_rows, NULL,
      "the query plan groups and has no rewritten query" },
    { "order, rows as they are", PLAN("\"orderBy\":[\"Ascending\"]"), rising_rows, NULL,
      "the query plan orders and has no rewritten query" },
    { "ranking, distinct", RANKING(DISTINCT), near_rows, NULL, "which does more than rank" },
    { "ranking, count", RANKING(COUNTED), near_rows, NULL, "which does more than rank" },
    { "ranking, sum", RANKING("\"aggregates\":[\"Sum\"],\"hasSelectValue\":true"), near_rows, NULL,
      "which does more than rank" }
};

/* Each page is asked for with the token of the one before, by a query of its own. All rows are in got->rows. */
static void read_in_pieces(aiocosmos_client *client, const aiocosmos_query_request *request, reading *got)
{
    static reading before;
    aiocosmos_query_request next = *request;
    read_all(client, request, got, 1);
    while (got->status == 0 && got->more && *got->token && got->pages < 100) {
        before = *got;
        next.continuation = aiocosmos_text(before.token);
        read_all(client, &next, got, 1);
        got->pages += before.pages;
        memmove(got->rows + before.rows_len, got->rows, got->rows_len + 1);
        memcpy(got->rows, before.rows, before.rows_len);
        got->rows_len += before.rows_len;
    }
}

static void check_combination(const struct combination *which, bool resumed)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    char *at;
    serve_shape(&shapes[0]);
    server.ranges = two_ranges;
    server.plan = which->plan;
    server.answers = which->answers;
    client = open_usual();
    request.parallel_max = 1;
    if (resumed) request.page_items_max = 1;
    if (resumed) read_in_pieces(client, &request, &got);
    else read_all(client, &request, &got, 1000);
    if (which->refusal) {
        CHECK(got.status == AIOCOSMOS_E_PROTOCOL || got.status == 400);
        if (!strstr(got.message, which->refusal)) CHECK_STR(got.message, which->name);
    } else {
        if (got.status) CHECK_STR(got.message, which->name);
        for (at = got.rows; *at; at++) if (*at == '\n') *at = at[1] ? ' ' : 0;
        if (strcmp(got.rows, which->rows) != 0) printf("%s%s\n", which->name, resumed ? ", resumed" : "");
        CHECK_STR(got.rows, which->rows);
    }
    close_client(client);
}

TEST(what_a_plan_asks_for_together_comes_out_right_or_is_refused_by_name)
{
    size_t i;
    for (i = 0; i < sizeof combinations / sizeof *combinations; i++) {
        check_combination(&combinations[i], false);
        /* This server does not look at the filter by which an order is resumed. */
        if (strncmp(combinations[i].name, "order", 5) != 0) check_combination(&combinations[i], true);
    }
}

/*--- Where a query is resumed ----------------------------------------------------------------------*/

#define RID(last) "AAAAAAAAAAADAAAAAAAAA" last "=="
#define NO_EXPRESSIONS "\"orderBy\":[\"Ascending\"]," REWRITTEN
#define NO_HOLE "\"orderBy\":[\"Ascending\"],\"orderByExpressions\":[\"c.n\"],\"rewrittenQuery\":\"SELECT\""
#define FALLING "\"orderBy\":[\"Descending\"],\"orderByExpressions\":[\"c.n\"]," REWRITTEN

/* Rows of one value come by their _rids, up or down, without a word on which. */
static const char *const ties_up[] = { SORTED(RID("A"), "7", "1") "," SORTED(RID("Q"), "7", "2") ","
                                       SORTED(RID("g"), "7", "3") "," SORTED(RID("w"), "7", "4"), "" };
static const char *const ties_down[] = { SORTED(RID("w"), "7", "1") "," SORTED(RID("g"), "7", "2") ","
                                         SORTED(RID("Q"), "7", "3") "," SORTED(RID("A"), "7", "4"), "" };
static const char *const both_sides[] = { SORTED(RID("A"), "1", "1") "," SORTED(RID("Q"), "3", "3") ","
                                          SORTED(RID("g"), "5", "5"),
                                          SORTED(RID("w"), "2", "2") "," SORTED(RID("A"), "3", "4") ","
                                          SORTED(RID("Q"), "6", "6") };
/* Rows of one document, whose value is written in several ways. */
static const char *const joined[] = { SORTED(RID("A"), "1", "1") "," SORTED(RID("A"), "1.0", "2") ","
                                      SORTED(RID("A"), "1e0", "3") "," SORTED(RID("Q"), "2", "4"), "" };
static const char *const joined_alike[] = { SORTED(RID("A"), "1", "1") "," SORTED(RID("A"), "1", "2") ","
                                            SORTED(RID("Q"), "2", "3") "," SORTED(RID("Q"), "2", "4"), "" };
/* In the order of the service's hashes. */
static const char *const joined_arrays[] = { SORTED(RID("A"), "[0]", "1") "," SORTED(RID("A"), "[1]", "2") ","
                                             SORTED(RID("A"), "[3]", "3") "," SORTED(RID("Q"), "[2]", "4"), "" };

/* What two ranges give, in pages of so many rows, each by a cursor of its own. lines: NULL, or more of each answer. */
static void gives_in_pieces(const char *plan, const char *const *answers, const char *lines, uint32_t rows,
                            const char *wanted)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    serve_shape(&shapes[0]);
    server.ranges = two_ranges;
    server.plan = plan;
    server.answers = answers;
    if (lines) server.lines = lines;
    request.page_items_max = rows;
    client = open_usual();
    read_in_pieces(client, &request, &got);
    if (got.status || strcmp(got.rows, wanted) != 0) printf("%s, pages of %u:\n", plan, (unsigned)rows);
    CHECK_STR(got.status ? got.message : got.rows, wanted);
    close_client(client);
}

/* The server does not look at the filter: so it gives what it gave before, again. */
TEST(a_query_in_order_that_is_resumed_gives_each_row_once)
{
    static const struct { const char *plan; const char *const *answers; const char *rows; } cases[] = {
        { PLAN(ORDER), ties_up, "1\n2\n3\n4\n" }, { PLAN(ORDER), ties_down, "1\n2\n3\n4\n" },
        { PLAN(FALLING), ties_up, "1\n2\n3\n4\n" }, { PLAN(FALLING), ties_down, "1\n2\n3\n4\n" },
        { PLAN(NO_EXPRESSIONS), both_sides, "1\n2\n3\n4\n5\n6\n" },
        { PLAN(NO_HOLE), both_sides, "1\n2\n3\n4\n5\n6\n" },
        { PLAN(NO_EXPRESSIONS ",\"top\":5"), both_sides, "1\n2\n3\n4\n5\n" },
        { PLAN(NO_EXPRESSIONS ",\"offset\":1,\"limit\":3"), both_sides, "2\n3\n4\n" },
        { PLAN(ORDER), joined, "1\n2\n3\n4\n" }, { PLAN(ORDER), joined_alike, "1\n2\n3\n4\n" },
        { PLAN(ORDER), joined_arrays, "1\n2\n3\n4\n" }
    };
    size_t i;
    uint32_t rows;
    for (i = 0; i < sizeof cases / sizeof *cases; i++)
        for (rows = 1; rows < 6; rows++)
            gives_in_pieces(cases[i].plan, cases[i].answers, NULL, rows, cases[i].rows);
}

#define SCANNED(what) "x-ms-cosmos-query-execution-info: {" what "}\r\n"

/* The service says which way it went through its index; what is no JSON says nothing. */
TEST(rows_of_one_value_come_the_way_that_the_service_says)
{
    static const struct { const char *plan; const char *const *answers; const char *lines; } cases[] = {
        { PLAN(ORDER), ties_up, SCANNED("\"reverseRidEnabled\":true,\"reverseIndexScan\":true") },
        { PLAN(ORDER), ties_up, SCANNED("\"reverseIndexScan\":false") },
        { PLAN(ORDER), ties_down, SCANNED("\"reverseRidEnabled\":false,\"reverseIndexScan\":true") },
        { PLAN(FALLING), ties_up, SCANNED("\"reverseIndexScan\":false") },
        { PLAN(FALLING), ties_down, SCANNED("\"reverseRidEnabled\":true") },
        { PLAN(ORDER), ties_up, SCANNED("{") }, { PLAN(FALLING), ties_down, SCANNED("{") }
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++)
        gives_in_pieces(cases[i].plan, cases[i].answers, cases[i].lines, 1, "1\n2\n3\n4\n");
}

/* The first page of a query, and what another client reads behind it, of a server that has changed meanwhile. */
static void read_behind(const char *plan, const char *const *answers, const char *later_plan, const char *ranges,
                        const char *const *later, reading *got)
{
    static char token[65536];
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    serve_shape(&shapes[0]);
    server.ranges = two_ranges;
    server.plan = plan;
    server.answers = answers;
    request.page_items_max = 2;
    client = open_usual();
    read_all(client, &request, got, 1);
    CHECK_STR(got->message, "");
    CHECK(got->token[0]);
    close_client(client);
    memcpy(token, got->token, sizeof token);
    request.continuation = aiocosmos_text(token);
    server.plan = later_plan;
    if (ranges) server.ranges = ranges;
    server.answers = later;
    client = open_usual();
    read_all(client, &request, got, 100);
    close_client(client);
}

static const char three_ranges[] = RANGES(RANGE("0", "", "40") "," RANGE("1", "40", "80") "," RANGE("2", "80", "FF"));

/* Rows of one value come by their _rids in all that a range has become. */
TEST(rows_of_one_value_keep_their_order_when_their_range_splits)
{
    static const char *const up[] = { SORTED(RID("A"), "7", "1") "," SORTED(RID("g"), "7", "3"),
                                      SORTED(RID("Q"), "7", "2") "," SORTED(RID("w"), "7", "4"),
                                      SORTED(RID("B"), "7", "9") };
    static const char *const down[] = { SORTED(RID("w"), "7", "1") "," SORTED(RID("Q"), "7", "3"),
                                        SORTED(RID("g"), "7", "2") "," SORTED(RID("A"), "7", "4"), "" };
    static reading got;
    read_behind(PLAN(ORDER), ties_up, PLAN(ORDER), three_ranges, up, &got);
    CHECK_STR(got.status ? got.message : got.rows, "3\n4\n9\n");
    read_behind(PLAN(FALLING), ties_down, PLAN(FALLING), three_ranges, down, &got);
    CHECK_STR(got.status ? got.message : got.rows, "3\n4\n");
}

/* One range, which is split once it has answered. */
static void serve_split(peer *link)
{
    static const char *const all[] = {
        SORTED(RID("A"), "5", "0") "," SORTED(RID("A"), "6", "1") "," SORTED(RID("A"), "6", "2") ","
        SORTED(RID("A"), "7", "3") "," SORTED(RID("Q"), "7", "4") "," SORTED(RID("g"), "7", "5"),
        SORTED(RID("w"), "7", "6"), SORTED(RID("A"), "8", "7")
    };
    bool of_range = heard(link, "partitionkeyrangeid: ");
    if (of_range && range_of(link) == 0 && server.asked) {
        server.ranges = RANGES(RANGE("1", "", "80") "," RANGE("2", "80", "FF"));
        reply(link, 410, "x-ms-substatus: 1002\r\n", "{}");
    } else if (of_range) {
        server.lines = server.asked++ ? "" : "x-ms-continuation: 1\r\n";
        serve_answer(link, all[range_of(link)]);
    } else {
        serve(link);
    }
}

/* What has become of a range comes behind what that itself has still to give, though it is asked before. */
TEST(rows_of_one_value_keep_their_order_when_their_range_splits_meanwhile)
{
    static reading got, other;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    int i;
    serve_shape(&shapes[0]);
    remote.answer = serve_split;
    server.ranges = only_range;
    server.plan = PLAN(ORDER);
    request.page_items_max = 1;
    client = open_usual();
    memset(&got, 0, sizeof got);
    CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
    CHECK_INT(next_page(client, &got), 0);
    read_all(client, &request, &other, 100);         /* by it the client gets to know of the split */
    while (got.status == 0 && got.more) {
        CHECK_INT(next_page(client, &got), 0);
        for (i = 0; i < 50; i++) aiocosmos_step(client, 1);          /* more is asked for ahead */
    }
    CHECK_STR(got.status ? got.message : got.rows, "0\n1\n2\n3\n4\n5\n6\n7\n");
    aiocosmos_cursor_close(client, got.query);
    close_client(client);
}

/* Behind the second of four rows: it is not there any more, or what comes behind the first says nothing of it. */
TEST(a_query_is_resumed_where_its_last_row_is_gone)
{
    static const char *const gone[] = { SORTED(RID("g"), "7", "3") "," SORTED(RID("w"), "7", "4"), "" };
    static const char *const other[] = { SORTED(RID("A"), "7", "1") "," SORTED(RID("g"), "8", "3"), "" };
    static const char *const alone[] = { SORTED(RID("A"), "7", "1"), "" };
    static const char *const garbled[] = { SORTED(RID("A"), "7", "1") ",{\"x\":1}", "" };
    static reading got;
    read_behind(PLAN(ORDER), ties_up, PLAN(ORDER), NULL, gone, &got);
    CHECK_STR(got.status ? got.message : got.rows, "3\n4\n");
    read_behind(PLAN(ORDER), ties_up, PLAN(ORDER), NULL, other, &got);
    CHECK_STR(got.status ? got.message : got.rows, "3\n");
    read_behind(PLAN(ORDER), ties_up, PLAN(ORDER), NULL, alone, &got);
    CHECK_STR(got.status ? got.message : got.rows, "");
    read_behind(PLAN(ORDER), ties_up, PLAN(ORDER), NULL, garbled, &got);
    CHECK_INT(got.status, AIOCOSMOS_E_PROTOCOL);
}

#define COLUMN  ",\"Ascending\""
#define COLUMNS COLUMN COLUMN COLUMN COLUMN COLUMN COLUMN COLUMN COLUMN
#define ORDER_OF_17 "\"orderBy\":[\"Ascending\"" COLUMNS COLUMNS "]," REWRITTEN
#define ORDER_OF_2  "\"orderBy\":[\"Ascending\"" COLUMN "]," REWRITTEN

/* What a token says holds for the plan that it was made by. */
TEST(a_query_is_not_resumed_by_another_plan)
{
    static const struct { const char *plan, *later, *why; } cases[] = {
        { PLAN(""), PLAN(ORDER), "another plan" },
        { PLAN(""), PLAN(SUMMED), "another plan" },
        { PLAN(""), "{}", "the server makes no query plans" },
        { PLAN(ORDER), PLAN(""), "another plan" },
        { PLAN(ORDER), PLAN(GROUPED "," ORDER), "another plan" },
        { PLAN(ORDER), PLAN(ORDER_OF_2), "another plan" }
    };
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        read_behind(cases[i].plan, rising_rows, cases[i].later, NULL, rising_rows, &got);
        CHECK_INT(got.status, AIOCOSMOS_E_ARGUMENT);
        if (!strstr(got.message, cases[i].why)) CHECK_STR(got.message, cases[i].why);
    }
    serve_shape(&shapes[0]);
    server.plan = PLAN(ORDER_OF_17);
    client = open_usual();
    read_all(client, &request, &got, 10);
    CHECK_INT(got.status, AIOCOSMOS_E_PROTOCOL);
    CHECK(strstr(got.message, "the query plan's orderBy is ") && strstr(got.message, ", with more than 16 columns"));
    close_client(client);
}

/* One level of a key of two is a part of the key space, but a whole key of the container that came after. */
TEST(a_token_of_several_ranges_is_none_of_a_whole_key)
{
    static const char two_levels[] = "{\"id\":\"c\",\"_rid\":\"abcdAMsp2wQ=\",\"partitionKey\":{\"paths\":[\"/a\","
                                     "\"/b\"],\"kind\":\"MultiHash\",\"version\":2}}";
    static char token[65536];
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    serve_shape(&shapes[0]);
    server.definition = two_levels;
    request.pk = aiocosmos_pk1(aiocosmos_s("eu"));
    client = open_usual();
    read_all(client, &request, &got, 1);
    CHECK_STR(got.message, "");
    CHECK(got.token[0]);
    close_client(client);
    memcpy(token, got.token, sizeof token);
    server.definition = definition;
    client = open_usual();
    request.pk = aiocosmos_pk1(aiocosmos_s(NULL));
    read_all(client, &request, &got, 1);                     /* knows its keys from here on */
    CHECK_STR(got.message, "");
    request.pk = aiocosmos_pk1(aiocosmos_s("eu"));
    request.continuation = aiocosmos_text(token);
    CHECK_INT(aiocosmos_query_open(client, &request, &got.query), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "continuation: of a query across partitions");
    close_client(client);
}

static void on_done(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    *(int *)user_data = result->status;
}

/* Under the same name, with another key. */
static void make_anew(aiocosmos_client *client)
{
    aiocosmos_request admin;
    int status = -1;
    memset(&admin, 0, sizeof admin);
    admin.container = "c";
    admin.done = on_done;
    admin.user_data = &status;
    admin.kind = AIOCOSMOS_DELETE_CONTAINER;
    CHECK_INT(aiocosmos_submit(client, &admin, NULL), 0);
    drain(client);
    CHECK_INT(status, 0);
    server.definition = "{\"id\":\"c\",\"_rid\":\"abcdAMsp2wU=\",\"partitionKey\":{\"paths\":[\"/other\"],"
                        "\"kind\":\"Hash\",\"version\":2}}";
    admin.kind = AIOCOSMOS_CREATE_CONTAINER;
    admin.partition_key_paths[0] = "/other";
    CHECK_INT(aiocosmos_submit(client, &admin, NULL), 0);
    drain(client);
    CHECK_INT(status, 0);
}

TEST(a_container_made_anew_has_other_plans)
{
    static const char narrow[] = "{\"queryInfo\":{},\"queryRanges\":[{\"min\":\"10\",\"max\":\"20\"}]}";
    static const char *const rows[] = { "0", "1" };
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    serve_shape(&shapes[0]);
    server.ranges = two_ranges;
    server.plan = narrow;
    server.answers = rows;
    client = open_usual();
    read_all(client, &request, &got, 10);
    CHECK_STR(got.rows, "0\n");
    read_all(client, &request, &got, 10);
    CHECK_INT(server.plans, 1);
    make_anew(client);
    server.plan = PLAN("");
    read_all(client, &request, &got, 10);
    CHECK_STR(got.status ? got.message : got.rows, "0\n1\n");
    CHECK_INT(server.plans, 2);
    close_client(client);
}

/* Nor does it follow from the old one that the server makes none. */
TEST(a_container_made_anew_may_have_plans_where_there_were_none)
{
    static const char *const rows[] = { "0", "1" };
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    int i;
    serve_shape(&shapes[0]);
    server.ranges = two_ranges;
    server.plan = "{}";
    server.answers = rows;
    server.gateway = "7";
    client = open_usual();
    for (i = 0; i < 2; i++) {
        read_all(client, &request, &got, 10);
        CHECK_STR(got.rows, "7\n");
        CHECK_INT(server.plans, 1);
    }
    make_anew(client);
    server.plan = PLAN("");
    read_all(client, &request, &got, 10);
    CHECK_STR(got.status ? got.message : got.rows, "0\n1\n");
    CHECK_INT(server.plans, 2);
    close_client(client);
}

/* As somebody else makes it: nobody tells the client. */
static void made_anew_elsewhere(void)
{
    server.definition = "{\"id\":\"c\",\"_rid\":\"abcdAMsp2wU=\",\"partitionKey\":{\"paths\":[\"/other\"],"
                        "\"kind\":\"Hash\",\"version\":2}}";
    server.ranges = two_ranges;
    server.rid = "abcdAMsp2wU=";
}

/* Ranges and continuations of the old container mean nothing, or something else, in the new one: who has taken rows of
 * the old one ends. */
TEST(a_query_does_not_go_on_in_a_container_made_anew)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    int i, failures;
    for (i = 0; i < SHAPES; i++) {
        size_t all;
        rows_of_shape(&shapes[i], 0, &got);
        all = got.items;
        serve_shape(&shapes[i]);
        request.page_items_max = 3;
        client = open_usual();
        memset(&got, 0, sizeof got);
        CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
        CHECK_INT(next_page(client, &got), 0);
        CHECK_INT(got.status, 0);
        made_anew_elsewhere();
        for (failures = 0; failures < 5 && (got.status || got.more) && next_page(client, &got) == 0;) {
            if (got.status == 0) continue;
            CHECK_INT(got.status, 400);
            if (!strstr(got.message, "created anew")) CHECK_STR(got.message, "created anew");
            failures++;
        }
        CHECK(failures < 4);
        CHECK(failures ? got.items < all : got.items == all);          /* or all of it was there */
        aiocosmos_cursor_close(client, got.query);
        close_client(client);
    }
}

/* Who has not taken any begins anew: with the ranges and the plan of the new one; once. */
TEST(a_query_begins_anew_in_a_container_made_anew)
{
    static const char narrow[] = "{\"queryInfo\":{},\"queryRanges\":[{\"min\":\"10\",\"max\":\"20\"}]}";
    static const char *const rows[] = { "0", "1", "2", "3" };
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    serve_shape(&shapes[0]);
    server.plan = narrow;
    server.answers = rows;
    client = open_usual();
    read_all(client, &request, &got, 10);
    CHECK_STR(got.rows, "0\n");
    made_anew_elsewhere();
    server.plan = PLAN("");
    read_all(client, &request, &got, 10);
    CHECK_STR(got.status ? got.message : got.rows, "0\n1\n");
    CHECK_INT(server.plans, 2);
    server.rid = "neither of both";
    server.asked = 0;
    read_all(client, &request, &got, 10);
    CHECK_INT(got.status, 400);
    CHECK(server.asked == 0 && server.metadata < 10);
    close_client(client);
}

static peer *held;                           /* who waits for a plan until the new container is known */

static void serve_plan_late(peer *link)
{
    peer *late = held;
    if (!held && heard(link, "x-ms-cosmos-is-query-plan-request: True")) {
        held = link;
        return;
    }
    serve(link);
    if (!late || !late->machine || !heard(link, "GET /dbs/db/colls/c HTTP")) return;
    server.plans++;
    reply(late, 200, "", "{\"queryInfo\":{},\"queryRanges\":[{\"min\":\"10\",\"max\":\"20\"}]}");
}

/* Two queries: one waits for its plan, the other hears that the container is another one. */
TEST(a_plan_that_may_be_of_the_container_before_is_asked_for_anew)
{
    static const char *const rows[] = { "0", "1", "2", "3" };
    static reading got, other;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    serve_shape(&shapes[0]);
    server.answers = rows;
    client = open_usual();
    request.sql = NULL;
    read_all(client, &request, &got, 10);
    made_anew_elsewhere();
    server.plan = PLAN("");
    held = NULL;
    remote.answer = serve_plan_late;
    memset(&got, 0, sizeof got);
    memset(&other, 0, sizeof other);
    CHECK_INT(aiocosmos_query_open(client, &request, &other.query), 0);
    request.sql = "SELECT * FROM c WHERE c.n > 0";
    CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
    CHECK_INT(aiocosmos_cursor_next(client, got.query, on_rows, &got), 0);
    while (!held) aiocosmos_step(client, 10);
    CHECK_INT(next_page(client, &other), 0);
    while (got.status == 0 && got.more) CHECK_INT(next_page(client, &got), 0);
    CHECK_STR(got.status ? got.message : got.rows, "0\n1\n");
    CHECK_INT(other.status, 0);
    CHECK_INT(server.plans, 2);
    aiocosmos_cursor_close(client, got.query);
    aiocosmos_cursor_close(client, other.query);
    close_client(client);
}

static int asked_by_name[2];                 /* by those that the two containers give the key */

static void serve_names(peer *link)
{
    asked_by_name[0] += heard(link, "c[\\\"pk\\\"] IN (\\\"b\\\",\\\"a\\\")");
    asked_by_name[1] += heard(link, "c[\\\"other\\\"] IN (\\\"b\\\",\\\"a\\\")");
    serve(link);
}

/* Keys are hashed and named as the new one has them. */
TEST(a_query_of_keys_begins_anew_in_a_container_made_anew)
{
    static const char *const rows[] = { "0", "1", "2", "3" };
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    aiocosmos_pk keys[3];
    keys[0] = keys[2] = aiocosmos_pk_s("a");
    keys[1] = aiocosmos_pk_s("b");
    serve_shape(&shapes[0]);
    server.plan = PLAN("");
    server.answers = rows;
    remote.answer = serve_names;
    memset(asked_by_name, 0, sizeof asked_by_name);
    client = open_usual();
    request.pks = keys;
    request.pk_count = 3;
    read_all(client, &request, &got, 10);
    CHECK_STR(got.status ? got.message : got.rows, "0\n");
    made_anew_elsewhere();
    read_all(client, &request, &got, 10);
    CHECK_STR(got.status ? got.message : got.rows, "0\n");
    CHECK(asked_by_name[0] >= 1 && asked_by_name[1] == 1);
    close_client(client);
}

/* Nor does what was said of the old one: a place in it, a part of its keys. */
TEST(what_is_of_a_container_does_not_hold_for_the_one_made_anew)
{
    static char token[65536];
    static reading got;
    int i, k;
    for (i = 0; i < 3; i++) {
        aiocosmos_query_request request = usual_request();
        aiocosmos_client *client;
        serve_shape(&shapes[0]);
        client = open_usual();
        read_all(client, &request, &got, i ? 100 : 1);
        CHECK_STR(got.message, "");
        memcpy(token, got.token, sizeof token);
        for (k = 0; k < 5; k++) aiocosmos_step(client, 10);  /* what was read ahead is there */
        made_anew_elsewhere();
        if (i == 0) request.continuation = aiocosmos_text(token);
        if (i == 1) request.epk_max = "80";
        if (i == 2) request.epk_min = "80";
        read_all(client, &request, &got, 100);
        CHECK(got.status == 400 || got.status == AIOCOSMOS_E_ARGUMENT);
        CHECK_INT(got.items, 0);
        close_client(client);
    }
}

/* The gateway knows no part of the key space: it would give all rows. */
TEST(a_part_of_the_keys_is_not_left_to_the_gateway)
{
    static const char *const plans[] = { "{}", PLAN("\"aggregates\":[\"Avg\"]") };
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_pk keys[2];
    int i;
    keys[0] = aiocosmos_pk_s("a");
    keys[1] = aiocosmos_pk_s("b");
    for (i = 0; i < 4; i++) {
        aiocosmos_client *client;
        request.epk_min = i < 2 ? "40" : NULL;
        request.pks = i < 2 ? NULL : keys;
        request.pk_count = i < 2 ? 0 : 2;
        serve_shape(&shapes[0]);
        server.plan = plans[i % 2];
        server.gateway = "7";
        client = open_usual();
        read_all(client, &request, &got, 10);
        CHECK_INT(got.status, i % 2 ? AIOCOSMOS_E_PROTOCOL : AIOCOSMOS_E_ARGUMENT);
        CHECK_INT(server.asked, 0);
        close_client(client);
    }
}

/*--- Many keys ---------------------------------------------------------------------------------------*/

static size_t put_many(size_t len, const char *text, int times);

/* Each range is asked once for its pages, whatever number of keys a query names; and the time does not grow with their
 * square. */
TEST(keys_of_one_range_are_asked_for_together)
{
    static const struct { const char *info; int row; } of[] = { { "", 0 }, { ORDER, 4 } };
    static const int counts[] = { 1, 2, 100, 8000 };
    static reading got;
    size_t i, k;
    for (i = 0; i < 2; i++) {
        for (k = 0; k < sizeof counts / sizeof *counts; k++) {
            aiocosmos_query_request request = usual_request();
            aiocosmos_client *client;
            clock_t start = clock();
            int n, whole;
            size_t len = put_many(0, "{\"queryInfo\":{", 1);
            len = put_many(len, of[i].info, 1);
            len = put_many(len, "},\"queryRanges\":[", 1);
            for (n = 0; n < counts[k]; n++)
                len += (size_t)sprintf(big + len, "%s{\"min\":\"%04X%028d\",\"max\":\"%04X%028d\","
                                       "\"isMinInclusive\":true,\"isMaxInclusive\":true}", n ? "," : "", n * 8, 0,
                                       n * 8, 0);
            put_many(len, "]}", 1);
            serve_shape(&shapes[of[i].row]);
            server.ranges = two_ranges;
            server.plan = big;
            client = open_usual();
            request.page_items_max = 4;
            read_all(client, &request, &got, 1000);
            CHECK_INT(got.status, 0);
            whole = counts[k] == 8000 ? 2 : 1;                   /* ranges */
            CHECK_INT(got.items, 18 * whole);
            CHECK_INT(server.asked, 3 * whole);
            if (counts[k] < 8000) {
                size_t items = got.items;
                read_in_pieces(client, &request, &got);
                CHECK_INT(got.status, 0);
                for (n = 0; got.rows[n]; n++) items -= got.rows[n] == '\n';
                CHECK(i == 1 || items == 0);                     /* in order, the server does not look at the filter */
            }
            close_client(client);
            CHECK((double)(clock() - start) / CLOCKS_PER_SEC < 10);
        }
    }
}

/*--- Plans that are of no use, and failures that pass ------------------------------------------------*/

/* Some are what Microsoft's Rust emulator makes, others what a later version of the service may. */
static const struct { const char *plan, *why; } unusable[] = {
    { PLAN("\"aggregates\":[\"Count\"]"), "the query plan groups and has no rewritten query" },
    { PLAN("\"aggregates\":[\"Count\"],\"hasSelectValue\":true"), "the query plan groups and has no rewritten" },
    { PLAN("\"aggregates\":[\"Count\"],\"hasSelectValue\":false"), "it is not of a SELECT VALUE and has no alias" },
    { PLAN("\"aggregates\":[\"Avg\"],\"hasSelectValue\":1," REWRITTEN),
      "which this version does not know" },
    { PLAN("\"aggregates\":[\"Sum\",\"Count\"]," REWRITTEN), "more than SELECT VALUE has" },
    { PLAN("\"groupByExpressions\":[\"c.a\"],\"groupByAliases\":[\"a\"]," REWRITTEN),
      "not as long as its groupByAliases" },
    { PLAN("\"orderBy\":[\"Ascending\"]"), "the query plan orders and has no rewritten query" },
    { PLAN("\"orderBy\":[\"Random\"]," REWRITTEN), "which this version does not know" },
    { PLAN("\"distinctType\":\"Sorted\""), "the query plan's distinctType is \"Sorted\", which this version" },
    { PLAN("\"hasSelectValue\":2"), "neither true nor false" },
    { PLAN("\"top\":-1"), "not a count" },
    { PLAN(GROUPED "," NEAREST), "the query plan groups and ranks" },
    { "{\"queryInfo\":{},\"queryRanges\":[{\"min\":\"\"}]}", "not an effective key" },
    { "{\"queryInfo\":", "the query plan is not JSON" },
    { "{\"partitionedQueryExecutionInfoVersion\":9,\"queryInfo\":{}}", "which this version does not know" }
};

/* What is used, though it is not as our emulator writes it. */
static const struct { const char *plan, *rows; } usable[] = {
    { "{\"queryInfo\":{}}", "1\n2\n3\n3\n4\n" },
    { "{\"queryInfo\":{\"hasSelectValue\":1,\"hasNonStreamingOrderBy\":0,\"distinctType\":null}}",
      "1\n2\n3\n3\n4\n" },
    { PLAN(REWRITTEN ",\"top\":4"), "1\n2\n3\n3\n" },     /* a place for a filter where none is needed */
    { "{\"queryInfo\":{},\"queryRanges\":[]}", "" },         /* nowhere */
    { "{\"queryInfo\":{},\"queryRanges\":null}", "1\n2\n3\n3\n4\n" }
};

TEST(plans_of_no_use_leave_the_query_to_the_gateway)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    size_t i, served;
    for (i = 0; i < sizeof unusable / sizeof *unusable; i++) {
        for (served = 0; served < 2; served++) {
            aiocosmos_client *client;
            serve_shape(&shapes[0]);
            server.plan = unusable[i].plan;
            server.gateway = served ? "7" : NULL;
            client = open_usual();
            read_all(client, &request, &got, 10);
            if (served) CHECK_STR(got.status ? got.message : got.rows, "7\n");
            if (!served) CHECK_INT(got.status, AIOCOSMOS_E_PROTOCOL);
            if (!served && !strstr(got.message, unusable[i].why)) CHECK_STR(got.message, unusable[i].why);
            close_client(client);
        }
    }
    for (i = 0; i < sizeof usable / sizeof *usable; i++) {
        aiocosmos_client *client;
        serve_shape(&shapes[0]);
        server.ranges = two_ranges;
        server.plan = usable[i].plan;
        server.answers = bare_rows;
        client = open_usual();
        read_all(client, &request, &got, 10);
        CHECK_STR(got.status ? got.message : got.rows, usable[i].rows);
        close_client(client);
    }
}

/* A garbled plan is no plan: its page says of what it is, no row comes by it, and the next page asks for it anew. */
TEST(garbled_plans_are_told_and_asked_for_again)
{
    static const struct { const char *plan, *why; } garbled[] = {
        { "", "the query plan is not JSON at byte 0" }, { "{", "the query plan is not JSON at byte 1" },
        { "{\"queryInfo\":{\"top\":1", "the query plan is not JSON at byte 21" },
        { "<html><title>Log in</title></html>", "answered with HTML: Log in" },
        { "{\"queryInfo\":\"text\"}", "queryInfo is \"text\", not an object" },
        { PLAN("\"top\":1e300"), "top is 1e300, not a count" }, { PLAN("\"top\":\"1\""), "top is \"1\", not a count" },
        { PLAN("\"offset\":1.5,\"limit\":1"), "offset is 1.5, not a count" },
        { PLAN("\"limit\":18446744073709551616"), "limit is 18446744073709551616, not a count" },
        { PLAN("\"orderBy\":{}"), "orderBy is {}, not a list" },
        { PLAN("\"rewrittenQuery\":7"), "rewrittenQuery is 7, not a text" },
        { PLAN("\"distinctType\":[]"), "distinctType is []" },
        { "{\"queryInfo\":{},\"queryRanges\":{}}", "queryRanges is {}, not a list" },
        { "{\"queryInfo\":{},\"queryRanges\":[{\"min\":\"80\",\"max\":\"40\"}]}", "that has no inside" },
        { "{\"hybridSearchQueryInfo\":{\"componentQueryInfos\":7}}", "componentQueryInfos is 7, not a list" }
    };
    static const char *const rows[] = { "0", "1" };
    static reading got;
    aiocosmos_query_request request = usual_request();
    size_t i;
    for (i = 0; i < sizeof garbled / sizeof *garbled; i++) {
        aiocosmos_client *client;
        serve_shape(&shapes[0]);
        server.ranges = two_ranges;
        server.answers = rows;
        server.plan = garbled[i].plan;
        client = open_usual();
        memset(&got, 0, sizeof got);
        CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
        CHECK_INT(next_page(client, &got), 0);
        CHECK_INT(got.status, AIOCOSMOS_E_PROTOCOL);
        if (!strstr(got.message, garbled[i].why)) CHECK_STR(got.message, garbled[i].why);
        CHECK_INT(got.items, 0);
        server.plan = PLAN("");
        do CHECK_INT(next_page(client, &got), 0);
        while (got.status == 0 && got.more);
        CHECK_STR(got.status ? got.message : got.rows, "0\n1\n");
        aiocosmos_cursor_close(client, got.query);
        close_client(client);
    }
}

/* What passes is what it is, and the next page is asked for as if it had not been. A plan or a list of ranges that is
 * not there may be there later: as long as the gateway serves nothing by itself, it is asked for. */
TEST(failures_of_ranges_and_plan_that_pass_are_told_and_passed)
{
    static const char *const what[] = {
        "/pkranges ", "x-ms-cosmos-is-query-plan-request: True", "GET /dbs/db/colls/c HTTP"
    };
    static const struct { int status, sub; } with[] = {
        { 429, 3200 }, { 503, 0 }, { 403, 5 }, { 404, 0 }, { 404, 1003 }, { 400, 0 }, { 405, 0 }, { 500, 0 }, { 501, 0 }
    };
    static reading got;
    aiocosmos_query_request request = usual_request();
    size_t i, k;
    request.timeout_ms = 60000;
    for (i = 0; i < sizeof what / sizeof *what; i++) {
        for (k = 0; k < sizeof with / sizeof *with; k++) {
            aiocosmos_client *client;
            serve_shape(&shapes[0]);
            server.ranges = two_ranges;
            server.plan = PLAN(SUMMED);
            server.answers = summed_rows;
            server.failing = what[i];
            server.fails_with = with[k].status;
            server.fails_sub = with[k].sub;
            client = open_usual();
            memset(&got, 0, sizeof got);
            CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
            CHECK_INT(next_page(client, &got), 0);
            CHECK_INT(got.status, with[k].status);
            if (!strstr(got.message, "for a while")) CHECK_STR(got.message, "for a while");
            CHECK_INT(next_page(client, &got), 0);
            CHECK_INT(got.status, with[k].status);
            server.failing = NULL;
            CHECK_INT(next_page(client, &got), 0);
            CHECK_STR(got.status ? got.message : got.rows, "5\n");
            CHECK(!got.more);
            aiocosmos_cursor_close(client, got.query);
            close_client(client);
        }
    }
}

static void hold_range_1(peer *link)
{
    if (!held && heard(link, "x-ms-documentdb-partitionkeyrangeid: 1\r\n")) held = link;
    else serve(link);
}

/* One range fails a page when another has yet to answer; that one fails, too, when the page is asked for again: for
 * this one the range has not been asked yet. */
TEST(what_was_asked_for_a_page_that_failed_does_not_fail_the_next_one)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    serve_shape(&shapes[0]);
    server.ranges = two_ranges;
    server.plan = PLAN(SUMMED);
    server.answers = summed_rows;
    server.status = 403;
    client = open_usual();
    held = NULL;
    remote.answer = hold_range_1;
    memset(&got, 0, sizeof got);
    CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
    CHECK_INT(aiocosmos_cursor_next(client, got.query, on_rows, &got), 0);
    while (!got.pages) aiocosmos_step(client, 10);
    CHECK_INT(got.status, 403);
    CHECK(held && held->machine);
    server.status = 0;
    CHECK_INT(aiocosmos_cursor_next(client, got.query, on_rows, &got), 0);
    reply(held, 403, "", "{\"code\":\"X\",\"message\":\"no\"}");
    drain(client);
    CHECK_STR(got.status ? got.message : got.rows, "5\n");
    CHECK(!got.more);
    aiocosmos_cursor_close(client, got.query);
    close_client(client);
}

/* Somebody else's requests have the ranges forgotten all the time: each part of a query waits until they are known. */
static int forgetting;

static void forget_once_more(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_request read;
    if (result) CHECK_INT(result->status, 410);
    if (forgetting-- <= 0) return;
    memset(&read, 0, sizeof read);
    read.kind = AIOCOSMOS_READ_ITEM;
    read.container = "c";
    read.id = "a";
    read.pk = aiocosmos_pk1(aiocosmos_s("p"));
    read.done = forget_once_more;
    read.user_data = user_data;
    CHECK_INT(aiocosmos_submit(client, &read, NULL), 0);
}

TEST(ranges_that_are_forgotten_between_two_parts_of_a_query_are_waited_for)
{
    static reading got, whole;
    aiocosmos_query_request request = usual_request();
    int i, reads;
    for (i = 0; i < SHAPES; i++) {
        rows_of_shape(&shapes[i], 0, &whole);
        for (reads = 1; reads < 20; reads++) {
            aiocosmos_client *client;
            serve_shape(&shapes[i]);
            server.failing = "GET /dbs/db/colls/c/docs/a HTTP";
            server.fails_with = 410;
            server.fails_sub = 1000;
            client = open_usual();
            read_all(client, &request, &got, 1000);
            CHECK_STR(got.rows, whole.rows);
            forgetting = reads;
            forget_once_more(client, NULL, NULL);
            read_all(client, &request, &got, 1000);
            CHECK_STR(got.status ? got.message : got.rows, whole.rows);
            close_client(client);
        }
    }
}

/* 304 is never a failure: one that nothing proves to be the service's, as of an emulator that is not on this machine,
 * means that all ranges are read. */
TEST(ranges_that_have_not_changed_are_no_failure_whoever_says_so)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    options.endpoint = "http://10.0.0.1:8081/";
    options.allow_http = true;
    serve_shape(&shapes[0]);
    server.unchanged = true;
    client = open_client(&options);
    read_all(client, &request, &got, 1000);
    CHECK_INT(got.status, 0);
    server.metadata = 0;
    server.status = 410;
    server.sub_status = 1002;
    read_all(client, &request, &got, 1000);
    CHECK_STR(got.message, "");
    CHECK_INT(got.items, 72);
    CHECK(server.status == 0 && server.metadata <= 5);
    close_client(client);
}

/* Nobody has said why the ranges are of no use: the gateway's answer counts, or its refusal. */
TEST(ranges_that_leave_a_gap_leave_the_query_to_the_gateway)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    int served;
    for (served = 0; served < 2; served++) {
        aiocosmos_client *client;
        serve_shape(&shapes[0]);
        server.ranges = RANGES(RANGE("0", "", "80"));
        server.gateway = served ? "7" : NULL;
        client = open_usual();
        read_all(client, &request, &got, 10);
        if (served) CHECK_STR(got.status ? got.message : got.rows, "7\n");
        else CHECK_INT(got.status, 400);
        close_client(client);
    }
}

/* Where ranges or plans are a thing unheard of, the gateway is asked; and what it does for a page is told with it. */
TEST(servers_without_ranges_or_plans_are_asked_by_themselves)
{
    static const char *const what[] = { "/pkranges ", "x-ms-cosmos-is-query-plan-request: True" };
    static const int with[] = { 400, 405, 501, 404, 500 };
    static reading got;
    aiocosmos_query_request request = usual_request();
    size_t i, k;
    for (i = 0; i < sizeof what / sizeof *what; i++) {
        for (k = 0; k < 4; k++) {
            aiocosmos_client *client;
            serve_shape(&shapes[0]);
            server.failing = what[i];
            server.fails_with = i == 1 && with[k] == 404 ? 500 : with[k];
            server.gateway = "8,9";
            client = open_usual();
            read_all(client, &request, &got, 10);
            CHECK_STR(got.status ? got.message : got.rows, "8\n9\n");
            CHECK_INT(got.pages, 1);
            CHECK_INT(got.charge_ru, i == 0 ? 10 : with[k] == 404 ? 14 : 11);
            CHECK(got.latency_us > 0 && got.attempts >= 2);
            close_client(client);
        }
    }
}

/* Pages of nothing that are skipped have cost something. */
TEST(pages_that_are_skipped_are_counted)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    aiocosmos_cursor_stats stats;
    serve_shape(&shapes[0]);
    server.gateway = "8,9";
    request.pk = aiocosmos_pk1(aiocosmos_s("eu"));
    client = open_usual();
    make_known(client);
    memset(&got, 0, sizeof got);
    CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
    CHECK_INT(next_page(client, &got), 0);
    CHECK_STR(got.status ? got.message : got.rows, "8\n9\n");
    CHECK_INT(got.charge_ru, 10);
    CHECK_INT(got.attempts, 2);
    CHECK(aiocosmos_cursor_get_stats(client, got.query, &stats));
    CHECK_INT(stats.charge_ru, 10);
    aiocosmos_cursor_close(client, got.query);
    close_client(client);
}

static void serve_after_the_deadline(peer *link)
{
    serve(link);
    if (heard(link, "\"query\":")) net.now_us += 40000000;
}

/* What came is given, but in no time nothing more is asked for. */
TEST(a_page_of_nothing_that_comes_too_late_is_not_skipped)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    serve_shape(&shapes[0]);
    server.gateway = "8,9";
    request.pk = aiocosmos_pk_s("p");
    client = open_usual();
    make_known(client);
    remote.answer = serve_after_the_deadline;
    read_all(client, &request, &got, 1);
    CHECK(got.status == 0 && got.items == 0 && got.more);
    CHECK_INT(got.attempts, 1);
    close_client(client);
}

static void serve_all_but_the_second_page(peer *link)
{
    if (range_of(link) != 1 || page_of(link) == 0) serve(link);
}

/* A range is silent after its first page: the rows before that are a page of their own, then the deadline is told. */
TEST(rows_that_are_there_at_the_deadline_are_a_page)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    serve_shape(&shapes[4]);                 /* order */
    remote.answer = serve_all_but_the_second_page;
    request.page_items_max = 100;
    client = open_usual();
    memset(&got, 0, sizeof got);
    CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
    CHECK_INT(next_page(client, &got), 0);
    CHECK_STR(got.message, "");
    CHECK(got.items == 22 && got.more && got.token[0]);
    CHECK_INT(next_page(client, &got), 0);
    CHECK_INT(got.status, AIOCOSMOS_E_TIMEOUT);
    aiocosmos_cursor_close(client, got.query);
    close_client(client);
}

static size_t put_many(size_t len, const char *text, int times)
{
    size_t unit = strlen(text);
    for (; times-- > 0; len += unit) memcpy(big + len, text, unit);
    big[len] = 0;
    return len;
}

/* Where there is no memory to ask on, the page is told of, and may be let go of there, as any. */
static int at_page;                          /* 0: forgets the cursor; 1: closes it first; 2: asks for the next page */

static void leave_page(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_op_info *info,
                       void *user_data)
{
    reading *got = user_data;
    (void)result;
    if (info->kind != AIOCOSMOS_QUERY_PAGE || got->attempts) return;
    if (at_page == 1) aiocosmos_cursor_close(client, got->query);
    if (at_page == 2) CHECK_INT(aiocosmos_cursor_next(client, got->query, on_rows, got), AIOCOSMOS_E_ARGUMENT);
    else CHECK(aiocosmos_cursor_forget(client, got->query));
    got->attempts = 1;
}

TEST(a_page_that_cannot_be_skipped_for_memory_is_owed_until_it_is_told)
{
    static reading got;
    unsigned long n;
    for (at_page = 0; at_page < 3; at_page++) {
        for (n = 1; n < 40; n++) {
            aiocosmos_options options = usual_options();
            aiocosmos_query_request request = usual_request();
            aiocosmos_client *client;
            serve_shape(&shapes[0]);
            server.gateway = "8,9";
            options.on_result = leave_page;
            options.on_result_user_data = &got;
            got.attempts = 1;
            client = open_client(&options);
            make_known(client);
            request.pk = aiocosmos_pk_s("p");
            memset(&got, 0, sizeof got);
            CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
            CHECK_INT(aiocosmos_cursor_next(client, got.query, on_rows, &got), 0);
            heap.fail_from = heap.calls + n;
            heap.fail_to = heap.fail_from + 3;
            drain(client);
            CHECK_INT(got.pages, at_page == 2);
            close_client(client);
        }
    }
}

TEST(plans_of_many_megabytes_are_refused_or_followed_in_time)
{
    clock_t start = clock();
    size_t len = put_many(0, "[", 200000);
    survives_plan(big, 200);
    len = put_many(0, "{\"queryInfo\":{},\"x\":\"", 1);
    len = put_many(len, "0123456789abcdef", 500000);
    put_many(len, "\"}", 1);
    survives_plan(big, 200);
    len = put_many(0, "{\"queryInfo\":{\"orderBy\":[\"Ascending\"],\"rewrittenQuery\":\"SELECT ", 1);
    len = put_many(len, HOLE " ", 10000);
    put_many(len, "\"}}", 1);
    survives_plan(big, 200);
    len = put_many(0, "{\"queryInfo\":{\"orderBy\":[\"Ascending\"", 1);
    len = put_many(len, ",\"Ascending\"", 300000);
    put_many(len, "]}}", 1);
    survives_plan(big, 200);
    CHECK((double)(clock() - start) / CLOCKS_PER_SEC < 20);
}

/*--- Pages -------------------------------------------------------------------------------------------*/

#define DOCUMENTS(rows) "{\"Documents\":[" rows "],\"_count\":7}"

TEST(pages_that_contradict_the_plan_end_in_an_answer_or_an_error)
{
    static const char *const pages[] = {
        "", "{", "[]", "{}", "null", "{\"Documents\":{}}", "{\"Documents\":1}", DOCUMENTS(""), DOCUMENTS("1"),
        DOCUMENTS("null,[],{},\"\""), DOCUMENTS("{\"orderByItems\":[]}"), DOCUMENTS("{\"orderByItems\":[1]}"),
        DOCUMENTS("{\"orderByItems\":[{},{}]}"), DOCUMENTS("{\"orderByItems\":[{}]}"), DOCUMENTS("[{}]"),
        DOCUMENTS("{\"_rid\":7,\"orderByItems\":[{\"item\":[]}],\"payload\":1}"), DOCUMENTS("[{\"item\":\"x\"}]"),
        DOCUMENTS("{\"_rid\":\"\\u0000\",\"orderByItems\":[{\"item\":{}}]}"),
        DOCUMENTS("[{\"item\":1e308}],[{\"item\":1e308}]"),
        DOCUMENTS("{\"groupByItems\":[],\"payload\":{}}"), DOCUMENTS("{\"groupByItems\":1,\"payload\":{\"k\":1}}"),
        DOCUMENTS("{\"groupByItems\":[{}],\"payload\":{\"k\":{\"item\":\"x\"}}}"), DOCUMENTS("{\"payload\":[]}"),
        DOCUMENTS("{\"_rid\":\"a\",\"orderByItems\":[{\"item\":9}],\"payload\":1},{\"_rid\":\"b\",\"orderByItems\":"
                  "[{\"item\":1}],\"payload\":2}"), 
        DOCUMENTS("{\"_rid\":\"a\",\"orderByItems\":[{\"item\":9}],\"payload\":1},{}"),
        "{\"Documents\":[1],\"Documents\":[2]}"
    };
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    size_t i, j;
    for (i = 0; i < SHAPES; i++) {
        for (j = 0; j <= sizeof pages / sizeof *pages; j++) {
            serve_shape(&shapes[i]);
            put_many(put_many(0, "{\"Documents\":[", 1), "[", 200000);
            server.page = j < sizeof pages / sizeof *pages ? pages[j] : big;
            client = open_usual();
            read_all(client, &request, &got, 100);
            CHECK(server.asked < 400);
            close_client(client);
        }
    }
}

/* The same continuation for ever, with rows or without, is at an end with the page's deadline. */
TEST(continuations_without_end_do_not_keep_a_page_owed)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    size_t i;
    int empty;
    for (i = 0; i < SHAPES; i++) {
        for (empty = 0; empty < 2; empty++) {
            uint64_t start;
            serve_shape(&shapes[i]);
            net.tick_us = 1000;
            server.for_ever = true;
            if (empty) server.page = DOCUMENTS("");
            client = open_usual();
            start = net.now_us;
            read_all(client, &request, &got, 1);
            CHECK(net.now_us - start < 60000000);
            close_client(client);
        }
    }
}

TEST(ranges_that_stay_gone_end_with_the_deadline_and_are_not_asked_all_the_time)
{
    static const int sub_statuses[] = { 1002, 1007, 1008, 1000, 0 };
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    size_t i, j;
    int bad;
    for (i = 0; i < SHAPES; i++) {
        for (j = 0; j < 5; j++) {
            for (bad = -1; bad < 3; bad += 3) {
                uint64_t start;
                serve_shape(&shapes[i]);
                server.status = 410;
                server.sub_status = sub_statuses[j];
                server.bad_range = bad;
                client = open_usual();
                start = net.now_us;
                read_all(client, &request, &got, 100);
                CHECK(net.now_us - start < 60000000);
                CHECK(server.asked < 400 && server.metadata < 200);
                close_client(client);
            }
        }
    }
}

/* "Not modified", to who did not ask so: the host must not take it for the answer of a change feed, which goes on. */
TEST(a_304_that_nobody_asked_for_is_a_failure_of_the_page)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    size_t i;
    for (i = 0; i < SHAPES; i++) {
        serve_shape(&shapes[i]);
        server.status = 304;
        server.bad_range = 1;
        client = open_usual();
        read_all(client, &request, &got, 100);
        CHECK_INT(got.status, AIOCOSMOS_E_PROTOCOL);
        CHECK(!got.more);
        close_client(client);
    }
    serve_shape(&shapes[0]);
    server.failing = "x-ms-documentdb-partitionkey: ";
    server.fails_with = 304;
    request.pk = aiocosmos_pk_s("p");
    client = open_usual();
    make_known(client);
    read_all(client, &request, &got, 100);
    CHECK(got.status != 0 && !got.more && !got.token[0]);
    close_client(client);
}

/* Nobody asks for the next page: what is read ahead is not looked for all the time. */
TEST(a_query_that_nobody_reads_does_not_ask_a_range_that_is_gone_for_ever)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    int i;
    serve_shape(&shapes[0]);
    server.status = 410;
    server.sub_status = 1002;
    server.bad_range = 1;
    client = open_usual();
    memset(&got, 0, sizeof got);
    CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
    for (i = 0; i < 2; i++) CHECK_INT(next_page(client, &got), 0);
    for (i = 0; i < 5000; i++) {
        aiocosmos_step(client, 0);
        net.now_us += 10000;
    }
    i = server.asked;
    CHECK(i < 40);
    aiocosmos_cursor_close(client, got.query);
    drain(client);
    close_client(client);
}

TEST(ranges_that_lie_end_in_an_answer_or_an_error)
{
    static const char *const lists[] = {
        RANGES(""), RANGES(RANGE("0", "", "FF") "," RANGE("1", "FF", "FF")),
        RANGES(RANGE("0", "", "80") "," RANGE("1", "80", "80") "," RANGE("2", "80", "FF")),
        RANGES(RANGE("2", "80", "FF") "," RANGE("1", "80", "80") "," RANGE("0", "", "80")),
        RANGES(RANGE("1", "80", "80") "," RANGE("2", "80", "FF") "," RANGE("0", "", "80")),
        RANGES(RANGE("a", "80", "80") "," RANGE("b", "80", "80") "," RANGE("2", "80", "FF") "," RANGE("0", "", "80")),
        RANGES(RANGE("0", "", "00") "," RANGE("1", "00", "FF")),
        RANGES(RANGE("0", "", "FFFF") "," RANGE("1", "FFFF", "FF")),
        RANGES(RANGE("0", "", "G0") "," RANGE("1", "G0", "FF")), RANGES(RANGE("\\r\\nX: y", "", "FF")),
        RANGES(RANGE("0,1", "", "FF")), RANGES(RANGE("\\u0000", "", "FF")), RANGES(RANGE("\xC3\xA9", "", "FF"))
    };
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    size_t i, j;
    for (i = 0; i < SHAPES; i++) {
        for (j = 0; j < sizeof lists / sizeof *lists; j++) {
            aiocosmos_stats stats;
            serve_shape(&shapes[i]);
            server.ranges = lists[j];
            client = open_usual();
            read_all(client, &request, &got, 1000);
            aiocosmos_get_stats(client, &stats);
            CHECK(stats.memory_peak < 4u << 20);
            close_client(client);
        }
    }
}

/*--- Memory ------------------------------------------------------------------------------------------*/

/* A page that failed is asked for again. Where the query goes on, nothing is lost and nothing comes twice; where it is
 * over, it says so. */
static bool read_without_memory(const shape *which, int few, const char *whole, unsigned long nth, bool resuming)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    static char token[65536];
    int rounds = 0, status = 0;
    bool failed;
    serve_shape(which);
    serve_few(few);
    client = open_usual();
    memset(&got, 0, sizeof got);
    heap.fail_from = heap.calls + nth;
    heap.fail_to = heap.fail_from + (unsigned)few % 3;
    while (aiocosmos_query_open(client, &request, &got.query) != 0) CHECK(rounds++ < 3);
    for (rounds = 0; rounds < 100; rounds++) {
        status = next_page(client, &got);
        if (status == AIOCOSMOS_E_ARGUMENT) break;
        if (status == 0 && got.status == 0 && !got.more) break;
        CHECK(got.status == 0 || got.status == AIOCOSMOS_E_NOMEM);
        if (!resuming || status || got.status || !got.token[0]) continue;
        memcpy(token, got.token, sizeof token);
        request.continuation = aiocosmos_text(token);
        aiocosmos_cursor_close(client, got.query);
        while (aiocosmos_query_open(client, &request, &got.query) != 0) CHECK(rounds++ < 100);
    }
    CHECK(rounds < 100);
    if (status == AIOCOSMOS_E_ARGUMENT) {
        CHECK(got.status != 0 && strncmp(got.rows, whole, got.rows_len) == 0);
    } else {
        CHECK_STR(got.rows, whole);
    }
    failed = heap.calls >= heap.fail_from;
    aiocosmos_cursor_close(client, got.query);
    close_client(client);
    return failed;
}

TEST(queries_that_run_out_of_memory_lose_no_row_unsaid)
{
    static reading whole;
    size_t i;
    int resuming, few;
    for (i = 0; i < SHAPES; i++) {
        for (few = 0; few < 10; few++) {
            rows_of_shape(&shapes[i], few, &whole);
            for (resuming = 0; resuming < (few ? 1 : 2); resuming++) {
                unsigned long n = 0;
                while (read_without_memory(&shapes[i], few, whole.rows, ++n, resuming)) continue;
                CHECK(n > 20);
            }
        }
    }
}

/* Two pages of one key, each an answer of the service. */
static bool read_key_without_memory(unsigned long nth)
{
    static reading got;
    aiocosmos_query_request request = usual_request();
    aiocosmos_client *client;
    bool failed;
    serve_shape(&shapes[0]);
    server.gateway = "8,9";
    request.pk = aiocosmos_pk_s("p");
    request.skip_empty = nth % 2;
    client = open_usual();
    make_known(client);
    client_keeps_nothing(client);
    memset(&got, 0, sizeof got);
    heap.fail_from = heap.calls + (nth + 1) / 2;
    heap.fail_to = heap.fail_from + nth % 3;
    while (aiocosmos_query_open(client, &request, &got.query) != 0) CHECK(heap.calls <= heap.fail_to);
    do {
        int status = next_page(client, &got);
        CHECK(status == 0 || status == AIOCOSMOS_E_NOMEM);
        if (status) got.more = true;
        else if (got.status) CHECK_INT(got.status, AIOCOSMOS_E_NOMEM);
    } while (got.status || got.more);
    CHECK_STR(got.rows, "8\n9\n");
    failed = heap.calls >= heap.fail_from;
    aiocosmos_cursor_close(client, got.query);
    close_client(client);
    return failed;
}

TEST(pages_of_a_key_that_run_out_of_memory_lose_no_row)
{
    unsigned long nth = 0;
    while (read_key_without_memory(++nth)) continue;
    CHECK(nth > 20);
}

static void keep_state(aiocosmos_client *client, size_t i, int status, aiocosmos_json item, void *user_data)
{
    (void)client; (void)item;
    ((int *)user_data)[i] = status;
}

static void keep_totals(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_many_totals *totals,
                        void *user_data)
{
    (void)client; (void)user_data;
    CHECK_INT(result->status, 0);
    CHECK_INT(totals->found, 1);
    CHECK_INT(totals->missing, 2);
}

/* Of no item, of another one, of a key that is none; and one that was asked for. */
TEST(rows_that_a_read_of_many_did_not_ask_for_are_passed_over)
{
    static const char rows[] = "7,{\"id\":7,\"pk\":\"p\"},{\"id\":\"a\",\"pk\":{}},{\"id\":\"b\"},{\"pk\":\"p\"},"
                               "{\"id\":\"a\",\"pk\":\"q\"},{\"id\":\"c\",\"pk\":\"p\"},{\"id\":\"";
    static char all[4096];
    const char *answers[1];
    aiocosmos_read_many_request request;
    aiocosmos_item_key keys[3];
    aiocosmos_client *client;
    int states[3] = { -1, -1, -1 }, i;
    sprintf(all, "%s%01500d\",\"pk\":\"p\"}", rows, 0);
    answers[0] = all;
    serve_shape(&shapes[0]);
    server.ranges = only_range;
    server.answers = answers;
    memset(&request, 0, sizeof request);
    for (i = 0; i < 3; i++) {
        keys[i].id = i == 0 ? "a" : i == 1 ? "b" : "c";
        keys[i].pk = i == 1 ? aiocosmos_pk_s("r") : aiocosmos_pk_s("p");
    }
    request.container = "c";
    request.items = keys;
    request.item_count = 3;
    request.item = keep_state;
    request.done = keep_totals;
    request.user_data = states;
    client = open_usual();
    CHECK_INT(aiocosmos_read_many(client, &request, NULL), 0);
    drain(client);
    CHECK(states[0] == 404 && states[1] == 404 && states[2] == 0);
    close_client(client);
}

/* Five pages of one row, the second and the third long; from the third on they tell of indexes, at length. Writes are
 * not answered at all, and keep their memory. */
static void serve_costs(peer *link)
{
    static char lines[70000], text[400000];
    int page = page_of(link);
    size_t len, bytes = page == 1 ? 165000 : page == 2 ? 220000 : 0;
    if (heard(link, "x-ms-documentdb-partitionkey: ")) return;
    if (!heard(link, "POST /dbs/db/colls/c/docs")) {
        serve(link);
        return;
    }
    len = (size_t)sprintf(text, "{\"Documents\":[{\"n\":%d,\"p\":\"", page);
    while (len < bytes) text[len++] = 'x';
    strcpy(text + len, "\"}]}");
    len = page < 4 ? (size_t)sprintf(lines, "x-ms-continuation: %d\r\n", page + 1) : 0;
    if (page >= 2) len += (size_t)sprintf(lines + len, "x-ms-cosmos-index-utilization: {%060000d}\r\n", 0);
    lines[len] = 0;
    reply(link, 200, lines, text);
}

static void on_number(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    int64_t n = -1;
    (void)client;
    CHECK_INT(page->result->status, 0);
    aiocosmos_json_get_i64(aiocosmos_json_at(page->items, "/0/n"), &n);
    CHECK_INT(n, *(int *)user_data);
    ++*(int *)user_data;
}

/* What an answer costs may take the memory of those before it, which were read ahead: then it is not put in their
 * place. */
TEST(answers_given_back_for_the_next_ones_costs_are_asked_again)
{
    static const char head[] = "{\"id\":\"a\",\"pk\":\"a\",\"t\":\"";
    static char item[2 << 20];
    size_t len;
    for (len = 1280000; len < 1420000; len += 10000) {
        aiocosmos_query_request query = usual_request();
        aiocosmos_request write;
        aiocosmos_options options = usual_options();
        aiocosmos_client *client;
        aiocosmos_cursor handle;
        int number = 0, i;
        serve_shape(&shapes[0]);
        remote.answer = serve_costs;
        server.ranges = only_range;
        options.memory_max = 2 << 20;
        options.attempt_timeout_ms = options.request_timeout_ms = AIOCOSMOS_OFF;
        client = open_client(&options);
        memset(&write, 0, sizeof write);
        write.kind = AIOCOSMOS_CREATE_ITEM;
        write.container = "c";
        write.pk = aiocosmos_pk1(aiocosmos_s("a"));
        memset(item, 'x', len);
        memcpy(item, head, sizeof head - 1);
        memcpy(item + len, "\"}", 2);
        write.body.ptr = item;
        write.body.len = len + 2;
        CHECK_INT(aiocosmos_submit(client, &write, NULL), 0);
        query.sql = NULL;
        query.want_index_metrics = true;
        CHECK_INT(aiocosmos_query_open(client, &query, &handle), 0);
        while (number < 5) {
            int before = number;
            CHECK_INT(aiocosmos_cursor_next(client, handle, on_number, &number), 0);
            for (i = 0; i < 100 && number == before; i++) aiocosmos_step(client, 10);
            CHECK_INT(number, before + 1);
            for (i = 0; i < 20; i++) aiocosmos_step(client, 1);          /* more is read ahead */
        }
        aiocosmos_cursor_close(client, handle);
        close_client(client);
    }
}

/*--- Hosts that let go of anything anywhere ------------------------------------------------------------*/

/* Somebody who waits for something. Whoever leaves is freed at once. */
typedef struct waiter {
    struct waiter *next;
    aiocosmos_kind kind;
    aiocosmos_op op;
    aiocosmos_cursor cursor;
    bool over;                               /* nothing is owed any more */
    int pulled, back, settled;
    bool ended[20];                          /* items of a bulk */
} waiter;

static struct crowd {
    waiter *first;
    uint64_t random;
    int to_start, accepted, pulled, told, failing;         /* failing: percent of the answers */
    uint64_t told_last;
    bool destroyed;
} crowd;

static bool start_one(aiocosmos_client *client);

static unsigned any(unsigned below)
{
    crowd.random = crowd.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(crowd.random >> 33) % below;
}

static bool is_there(const waiter *who)
{
    const waiter *other = crowd.first;
    while (other && other != who) other = other->next;
    return other != NULL;
}

static void go(waiter *who)
{
    waiter **at = &crowd.first;
    while (*at != who) at = &(*at)->next;
    *at = who->next;
    memset(who, 0xdd, sizeof *who);
    free(who);
}

static void call_off(aiocosmos_client *client, const waiter *who)
{
    if (who->cursor.id) aiocosmos_cursor_close(client, who->cursor);
    else aiocosmos_cancel(client, who->op);
}

static void leave(aiocosmos_client *client, waiter *who)
{
    unsigned how = any(4);
    bool known;
    if (how == 0) call_off(client, who);
    if (how == 1 && !(who->over && who->cursor.id)) known = aiocosmos_forget_all(client, who) == 1;
    else known = who->cursor.id ? aiocosmos_cursor_forget(client, who->cursor) : aiocosmos_forget(client, who->op);
    CHECK(known == !who->over || who->cursor.id);
    if (how == 2) call_off(client, who);
    go(who);
}

static waiter *anybody(void)
{
    waiter *who = crowd.first;
    unsigned skip = any(8);
    while (who && skip-- && who->next) who = who->next;
    return who;
}

/* What a host may do in a callback. Returns whether the one whose it is has left. */
static bool do_anything(aiocosmos_client *client, waiter *self)
{
    bool left = false;
    waiter *who;
    unsigned n;
    for (n = any(3); n > 0; n--) {
        switch (any(8)) {
        case 0:
            if (self && !left) leave(client, self);
            left = true;
            break;
        case 1: case 2: if ((who = anybody()) != NULL && who != self) leave(client, who); break;
        case 3: if ((who = anybody()) != NULL && !who->cursor.id) call_off(client, who); break;
        case 4: case 5: start_one(client); break;
        case 6: CHECK_INT(aiocosmos_step(client, 0), AIOCOSMOS_E_REENTERED); break;
        default:
            if (any(8)) break;
            crowd.destroyed = true;
            aiocosmos_destroy(client);
        }
    }
    return left && self;
}

static void it_is_over(aiocosmos_client *client, const aiocosmos_result *result, waiter *who)
{
    CHECK(is_there(who) && !who->over && crowd.told_last == result->op.id);
    who->over = true;
    if (!do_anything(client, who)) go(who);
}

static void was_done(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    it_is_over(client, result, user_data);
}

static void page_was_read(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    waiter *who = user_data;
    CHECK(is_there(who) && !who->over && crowd.told_last == page->result->op.id);
    who->over = true;
    if (do_anything(client, who)) return;
    if (page->more && aiocosmos_cursor_next(client, who->cursor, page_was_read, who) == 0) {
        crowd.accepted++;
        who->over = false;
        return;
    }
    aiocosmos_cursor_close(client, who->cursor);
    go(who);
}

static void pair_was_read(aiocosmos_client *client, size_t i, int status, aiocosmos_json item, void *user_data)
{
    (void)i; (void)status; (void)item;
    CHECK(is_there(user_data));
    if (any(4) == 0) do_anything(client, user_data);
}

static void many_were_read(aiocosmos_client *client, const aiocosmos_result *result,
                           const aiocosmos_many_totals *totals, void *user_data)
{
    CHECK_INT(totals->found + totals->missing + totals->failed, 20);
    it_is_over(client, result, user_data);
}

/* So many items from the first on have ended, as long as on_result has not been told of more. */
static void check_settled(aiocosmos_client *client, const waiter *who)
{
    aiocosmos_bulk_totals totals;
    int first = 0;
    while (first < who->pulled && who->ended[first]) first++;
    CHECK(aiocosmos_bulk_get_totals(client, who->op, &totals));
    CHECK_INT(totals.settled, first);
}

static aiocosmos_pull pull_one(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    waiter *who = user_data;
    CHECK(is_there(who) && !who->over);
    check_settled(client, who);
    if (who->pulled == 20) return AIOCOSMOS_PULL_END;
    item->kind = AIOCOSMOS_UPSERT_ITEM;
    item->pk = aiocosmos_pk_s("p");
    item->body = aiocosmos_text(any(8) ? "{\"id\":\"a\",\"pk\":\"p\"}" : "{\"id\":7}");
    item->item_data = &who->ended[who->pulled];
    if (any(6) == 0 && do_anything(client, who)) return AIOCOSMOS_PULL_ITEM;         /* which is not taken */
    who->pulled++;
    crowd.pulled++;
    return AIOCOSMOS_PULL_ITEM;
}

static void item_is_back(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    waiter *who = user_data;
    CHECK(is_there(who) && !who->over && crowd.told_last == result->op.id);
    *(bool *)item_data = true;
    who->back++;
    check_settled(client, who);
    if (any(4) == 0) do_anything(client, who);
}

static void bulk_is_over(aiocosmos_client *client, const aiocosmos_result *result,
                         const aiocosmos_bulk_totals *totals, void *user_data)
{
    waiter *who = user_data;
    CHECK_INT(who->back, who->pulled);
    CHECK_INT(totals->succeeded + totals->failed, who->pulled);
    CHECK_INT(totals->settled, who->pulled);
    it_is_over(client, result, who);
}

/* Here, too, what has just ended can be let go of. */
static void was_told(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_op_info *info,
                     void *user_data)
{
    waiter *who = crowd.first;
    (void)info; (void)user_data;
    crowd.told++;
    crowd.told_last = result->op.id;
    while (who && (!who->op.id || who->op.id != result->op.id)) who = who->next;
    if (who && any(4) == 0) leave(client, who);
    if (any(3) == 0) do_anything(client, NULL);
}

static void room_came(aiocosmos_client *client, void *user_data)
{
    (void)user_data;
    do_anything(client, NULL);
}

static int start_pages(aiocosmos_client *client, waiter *who)
{
    aiocosmos_query_request query = usual_request();
    aiocosmos_changes_request changes;
    int status;
    memset(&changes, 0, sizeof changes);
    changes.container = "c";
    changes.poll_ms = any(2) * 500;
    if (any(2)) query.pk = aiocosmos_pk_s("p");
    if (who->kind == AIOCOSMOS_QUERY_PAGE) status = aiocosmos_query_open(client, &query, &who->cursor);
    else status = aiocosmos_changes_open(client, &changes, &who->cursor);
    if (status) return status;
    status = aiocosmos_cursor_next(client, who->cursor, page_was_read, who);
    if (status) aiocosmos_cursor_close(client, who->cursor);
    return status;
}

static int start_of_kind(aiocosmos_client *client, waiter *who)
{
    aiocosmos_request request;
    aiocosmos_read_many_request many;
    aiocosmos_bulk_request bulk;
    aiocosmos_item_key keys[20];
    int i;
    switch (who->kind) {
    case AIOCOSMOS_READ_MANY:
        for (i = 0; i < 20; i++) keys[i].id = "a", keys[i].pk = aiocosmos_pk1(aiocosmos_i(i));
        memset(&many, 0, sizeof many);
        many.container = "c";
        many.items = keys;
        many.item_count = 20;
        many.item = pair_was_read;
        many.done = many_were_read;
        many.user_data = who;
        return aiocosmos_read_many(client, &many, &who->op);
    case AIOCOSMOS_BULK:
        memset(&bulk, 0, sizeof bulk);
        bulk.container = "c";
        bulk.concurrency_max = 1 + any(6);
        bulk.next = pull_one;
        bulk.item_done = item_is_back;
        bulk.done = bulk_is_over;
        bulk.user_data = who;
        return aiocosmos_bulk(client, &bulk, &who->op);
    case AIOCOSMOS_QUERY_PAGE: case AIOCOSMOS_CHANGES_PAGE: return start_pages(client, who);
    default:
        memset(&request, 0, sizeof request);
        request.kind = who->kind;
        request.container = "c";
        request.id = "a";
        request.pk = aiocosmos_pk_s("p");
        request.order_key = any(3);
        request.done = was_done;
        request.user_data = who;
        return aiocosmos_submit(client, &request, &who->op);
    }
}

static bool start_one(aiocosmos_client *client)
{
    static const aiocosmos_kind kinds[] = { AIOCOSMOS_READ_ITEM, AIOCOSMOS_DELETE_ITEM, AIOCOSMOS_QUERY_PAGE,
        AIOCOSMOS_QUERY_PAGE, AIOCOSMOS_CHANGES_PAGE, AIOCOSMOS_READ_MANY, AIOCOSMOS_BULK };
    waiter *who;
    if (crowd.to_start == 0) return false;
    crowd.to_start--;
    who = calloc(1, sizeof *who);
    CHECK(who != NULL);
    who->kind = kinds[any(sizeof kinds / sizeof *kinds)];
    who->next = crowd.first;
    crowd.first = who;
    if (start_of_kind(client, who) != 0) return go(who), false;
    crowd.accepted++;
    return true;
}

static void serve_crowd(peer *link)
{
    static const struct { int status; const char *lines; } failures[] = {
        { 429, "x-ms-retry-after-ms: 50\r\n" }, { 503, "" }, { 410, "x-ms-substatus: 1002\r\n" }, { 449, "" },
        { 410, "x-ms-substatus: 1000\r\n" }, { 404, "x-ms-substatus: 1002\r\n" }, { 500, "" }, { 404, "" },
        { 401, "" } };
    unsigned which = any(sizeof failures / sizeof *failures + 2);
    char lines[128];
    if ((int)any(100) >= crowd.failing) {
        if (heard(link, "A-IM: ")) reply(link, 304, "etag: \"5\"\r\n", "");
        else if (heard(link, "\"query\":") || !heard(link, " /dbs/db/colls/c/docs")) serve(link);
        else reply(link, 200, "", "{\"id\":\"a\"}");
    } else if (which < sizeof failures / sizeof *failures) {
        sprintf(lines, "x-ms-request-charge: 1\r\n%s", failures[which].lines);
        reply(link, failures[which].status, lines, "{\"code\":\"X\",\"message\":\"no\"}");
    } else if (which % 2) {
        world_reset(link);
    }
}

/* Where memory, answers and room fail as well: who has left is not touched, who stays is called back once, and
 * on_result is told of everything once. */
TEST(hosts_may_let_go_of_anything_in_any_callback)
{
    uint64_t seed;
    int i;
    for (seed = 1; seed <= 600; seed++) {
        aiocosmos_options options = usual_options();
        aiocosmos_client *client;
        memset(&crowd, 0, sizeof crowd);
        crowd.random = seed;
        any(2);
        serve_shape(&shapes[any(SHAPES)]);
        server.gateway = any(4) ? "8,9" : NULL;
        remote.answer = serve_crowd;
        crowd.failing = (int)any(2) * (int)any(60);
        crowd.to_start = 60;
        options.on_result = was_told;
        options.on_room = room_came;
        options.pending_max = any(2) * (1 + any(20));
        options.memory_max = any(4) ? 0 : 150000 + any(400000);
        options.request_timeout_ms = 1000 + any(9000);
        client = open_client(&options);
        for (i = 0; i < 200 && !crowd.destroyed; i++) {
            if (any(3) == 0) start_one(client);
            if (any(4) == 0) heap.fail_from = heap.calls + any(60);
            if (seed % 2) heap.fail_to = heap.fail_from + 2;
            aiocosmos_step(client, (int)any(100));
        }
        crowd.to_start = 0;
        if (!crowd.destroyed && any(2)) while (crowd.first) leave(client, crowd.first);
        if (!crowd.destroyed && !crowd.first) aiocosmos_drain(client, PATIENCE_MS);
        if (!crowd.destroyed) aiocosmos_destroy(client);
        CHECK(!crowd.first);
        CHECK_INT(crowd.told, crowd.accepted + crowd.pulled);
        nothing_is_left();
    }
}

/* A page that a deadline ends within an answer has no token, for that would stand behind rows that were not given; who
 * goes on loses none. Nor is there a page of half an answer whose rows take too much memory. */
TEST(no_token_stands_within_an_answer)
{
    static reading got;
    enum { ROWS_THERE = 100 };
    aiocosmos_query_request request = usual_request();
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    size_t distinct = 0;
    int steps, halves = 0;
    while (strcmp(shapes[distinct].name, "distinct") != 0) distinct++;
    options.step_budget_us = 1;
    for (steps = 0; steps < 60; steps++) {
        int step;
        serve_shape(&shapes[distinct]);
        serve_few(ROWS_THERE);
        client = open_client(&options);
        memset(&got, 0, sizeof got);
        CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
        CHECK_INT(aiocosmos_cursor_next(client, got.query, on_rows, &got), 0);
        for (step = 0; step < steps && got.pages == 0; step++) aiocosmos_step(client, 0);
        if (got.pages == 0) net.now_us += 60000000;
        drain(client);
        if (got.status == 0 && got.items < ROWS_THERE) {
            CHECK(got.items > 0 && got.more && got.token[0] == 0);
            halves++;
        }
        while (got.status ? got.status == AIOCOSMOS_E_TIMEOUT : got.more) CHECK_INT(next_page(client, &got), 0);
        CHECK_INT(got.items, ROWS_THERE);
        aiocosmos_cursor_close(client, got.query);
        close_client(client);
    }
    CHECK(halves > 0);
    serve_shape(&shapes[distinct]);
    serve_few(ROWS_THERE);
    request.memory_max = 58;
    client = open_client(&options);
    read_all(client, &request, &got, 1);
    CHECK_INT(got.status, AIOCOSMOS_E_TOO_LARGE);
    CHECK_INT(got.items, 0);
    close_client(client);
}

/* With a budget that allows nothing, little room and answers in pieces: closed or destroyed at every moment. */
TEST(queries_can_be_closed_or_left_at_every_moment)
{
    static reading all[3];
    aiocosmos_query_request request = usual_request();
    size_t i, j;
    int steps, how;
    for (i = 0; i < SHAPES; i++) {
        for (steps = 0; steps < 60; steps += 1 + steps / 8) {
            for (how = 0; how < 8; how++) {
                aiocosmos_options options = usual_options();
                aiocosmos_client *client;
                int owed[3], called = 0, step;
                serve_shape(&shapes[i]);
                net.receive_max = 200;
                options.step_budget_us = 1;
                options.platform = &shaky.platform;
                options.pending_max = how & 2 ? 3 : 0;
                options.memory_max = how & 4 ? 200000 : 0;
                request.parallel_max = how & 4 ? 1 : 0;
                client = open_client(&options);
                memset(all, 0, sizeof all);
                for (j = 0; j < 3; j++) {
                    owed[j] = aiocosmos_query_open(client, &request, &all[j].query) == 0 &&
                              aiocosmos_cursor_next(client, all[j].query, on_rows, &all[j]) == 0;
                }
                for (step = 0; step < steps; step++) aiocosmos_step(client, 10);
                if (how & 1) for (j = 0; j < 3; j++) aiocosmos_cursor_close(client, all[j].query);
                if (how & 1) drain(client);
                close_client(client);
                for (j = 0; j < 3; j++) CHECK_INT(all[j].pages, owed[j]);
                for (j = 0; j < 3; j++) called += all[j].pages;
                CHECK(called > 0);
            }
        }
    }
}
