/* bench/merge.c: what merging rows costs, for `make bench-queries`: the client alone, on a made-up network whose server
 * has 16 ranges with pages of 1,000 rows of about 190 bytes. Its own CPU, the server's taken off; each figure beside
 * what is asked of it.
 *
 *     merge    client CPU a row, the best of some rounds; round trips of an aggregate; steps with a budget of 200 us:
 *              of groups, of vectors, of a query of many keys, and while idle connections are closed */
#include "../../tests/hostile.h"

enum { RANGES = 16, ROWS = 1000, PAGES = 8, ROUNDS = 7, BUDGET_US = 200, STEP_ROUNDS = 5 };
enum { KEYS = 8000, CONNECTIONS = 100 };

typedef enum rows_of { ITEMS, NUMBERS, STRINGS, BOTH, GROUPS, MANY_GROUPS, SCORES, SUMS } rows_of;

static struct {
    char *pages[RANGES][32];
    char ranges[8192];
    const char *plan;
    int page_count;
    uint64_t busy_ns;           /* the server's own CPU */
    int trips, last_wait;       /* round trips of what asks for rows */
    int answers;                /* with rows */
} server;

static struct { uint64_t ns[1 << 20]; size_t count; } steps;

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t client_ns(void) { return cpu_ns() - server.busy_ns; }

/* So that a budget is one of CPU, whatever else the machine does. */
static uint64_t client_us(void *user_data)
{
    (void)user_data;
    return 1000000u + client_ns() / 1000u;
}

/*--- The server ---------------------------------------------------------------*/

/* After `name` in what was asked; 0: it is not there. */
static int asked_number(const peer *link, const char *name)
{
    const char *at = strstr(link->out, name);
    return at ? atoi(at + strlen(name)) : 0;
}

static void answer(peer *link)
{
    uint64_t began = cpu_ns();
    if (heard(link, "/pkranges ")) reply(link, 200, "", server.ranges);
    else if (heard(link, "GET /dbs/db/colls/c HTTP")) reply(link, 200, "", definition);
    else if (heard(link, "x-ms-cosmos-is-query-plan-request: True")) reply(link, 200, "", server.plan);
    else {
        char lines[64] = "";
        int range = asked_number(link, "x-ms-documentdb-partitionkeyrangeid: ");
        int page = asked_number(link, "x-ms-continuation: ");
        if (page + 1 < server.page_count) snprintf(lines, sizeof lines, "x-ms-continuation: %d\r\n", page + 1);
        if (server.last_wait != net.waits) server.trips++;
        server.last_wait = net.waits;
        server.answers++;
        reply(link, 200, lines, server.pages[range][page]);
    }
    server.busy_ns += cpu_ns() - began;
}

static int put_row(char *out, rows_of rows, int number, int range, const char *rid)
{
    char item[300];
    snprintf(item, sizeof item, "{\"id\":\"item-%08d\",\"pk\":\"tenant-%d\",\"n\":%d.25,\"name\":\"a name of some"
             " length, as names are\",\"tags\":[\"x\",\"y\",%d],\"on\":true,\"_ts\":1795000000}", number, range, number,
             number % 1000);
    switch (rows) {
    case ITEMS: return sprintf(out, "%s", item);
    case NUMBERS:
        return sprintf(out, "{\"_rid\":\"%s\",\"orderByItems\":[{\"item\":%d.25}],\"payload\":%s}", rid, number, item);
    case STRINGS:
        return sprintf(out, "{\"_rid\":\"%s\",\"orderByItems\":[{\"item\":\"item-%08d\"}],\"payload\":%s}", rid, number,
                       item);
    case BOTH:
        return sprintf(out, "{\"_rid\":\"%s\",\"orderByItems\":[{\"item\":7},{\"item\":\"item-%08d\"}],\"payload\":%s}",
                       rid, number, item);
    case SCORES:
        return sprintf(out, "{\"_rid\":\"%s\",\"orderByItems\":[{\"item\":%d}],\"payload\":%s}", rid,
                       (int)((unsigned)number * 2654435761u >> 8), item);
    case SUMS: return sprintf(out, "[{\"item\":%d}]", number);
    default:
        number = rows == GROUPS ? number % 1000 : number;
        return sprintf(out, "{\"groupByItems\":[{\"item\":\"item-%d\"}],\"payload\":{\"g\":\"item-%d\",\"k\":"
                       "{\"item\":1},\"s\":{\"item\":%d.5},\"m\":{\"item\":%d,\"item2\":{\"max\":%d,\"count\":1}}}}",
                       number, number, number, number, number);
    }
}

static void make_pages(rows_of rows, int pages, int rows_a_page)
{
    int range, page, i;
    size_t len = (size_t)sprintf(server.ranges, "{\"PartitionKeyRanges\":[");
    server.page_count = pages;
    for (range = 0; range < RANGES; range++) {
        char min[8] = "", max[8] = "FF";
        if (range > 0) sprintf(min, "%02X", range * 256 / RANGES);
        if (range + 1 < RANGES) sprintf(max, "%02X", (range + 1) * 256 / RANGES);
        len += (size_t)sprintf(server.ranges + len, "%s{\"id\":\"%d\",\"minInclusive\":\"%s\",\"maxExclusive\":\"%s\","
                               "\"parents\":[]}", range ? "," : "", range, min, max);
        for (page = 0; page < pages; page++) {
            char *at = realloc(server.pages[range][page], (size_t)rows_a_page * 420 + 100);
            CHECK(at != NULL);
            server.pages[range][page] = at;
            at += sprintf(at, "{\"Documents\":[");
            for (i = 0; i < rows_a_page; i++) {
                unsigned char bytes[16] = {1, 2, (unsigned char)range};
                char rid[32] = "";
                aioc_text_store64le(bytes + 8, (uint64_t)(page * rows_a_page + i + 1));
                aioc_text_base64_encode(bytes, sizeof bytes, rid);
                if (i > 0) *at++ = ',';
                at += put_row(at, rows, (page * rows_a_page + i) * RANGES + range, range, rid);
            }
            strcpy(at, "]}");
        }
    }
    sprintf(server.ranges + len, "]}");
}

/*--- The client ---------------------------------------------------------------*/

typedef struct reading { size_t items; int status; bool came, more; } reading;

static void on_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    reading *r = user_data;
    (void)client;
    if (page->status) fprintf(stderr, "%.*s\n", (int)page->result->message.len, page->result->message.ptr);
    r->items += page->item_count;
    r->status = page->status;
    r->more = page->more;
    r->came = true;
}

static int by_size(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* Its clock is the client's own CPU. */
static aiocosmos_client *open_measured(bool budget)
{
    aiocosmos_options options;
    net_begin(answer);
    server.busy_ns = 0;
    server.trips = server.last_wait = server.answers = 0;
    shaky.platform.monotonic_us = client_us;
    options = usual_options();
    options.logger.fn = NULL;
    memset(&options.allocator, 0, sizeof options.allocator);               /* the tests' own fills what it gives */
    options.step_budget_us = budget ? BUDGET_US : 0;
    return open_client(&options);
}

static void step(aiocosmos_client *client)
{
    uint64_t began = client_ns();
    aiocosmos_step(client, 0);
    if (steps.count < sizeof steps.ns / sizeof *steps.ns) steps.ns[steps.count++] = client_ns() - began;
}

/* All rows of a query, of all keys if there are none, in a client of its own: CPU in ns. items 0: all that are sent. */
static uint64_t read_all(size_t items, const aiocosmos_pk *keys, bool budget)
{
    aiocosmos_client *client = open_measured(budget);
    aiocosmos_query_request request;
    aiocosmos_cursor cursor;
    reading r;
    uint64_t began;
    memset(&request, 0, sizeof request);
    memset(&r, 0, sizeof r);
    request.container = "c";
    request.sql = "SELECT * FROM c";
    request.pks = keys;
    request.pk_count = keys ? KEYS : 0;
    request.memory_max = (size_t)200 << 20;
    steps.count = 0;
    began = client_ns();
    CHECK_INT(aiocosmos_query_open(client, &request, &cursor), 0);
    do {
        r.came = false;
        CHECK_INT(aiocosmos_cursor_next(client, cursor, on_page, &r), 0);
        while (!r.came) step(client);
    } while (r.status == 0 && r.more);
    began = client_ns() - began;
    aiocosmos_cursor_close(client, cursor);
    close_client(client);
    CHECK_INT(r.items, items ? items : (size_t)server.answers * ROWS);
    return began;
}

static void report(const char *name, double got, const char *unit, double asked)
{
    printf("%-32s %8.0f %-9s asked <= %4.0f  %s\n", name, got, unit, asked, got <= asked ? "met" : "not met");
}

static void measure(const char *name, rows_of rows, const char *plan, size_t items, double asked)
{
    uint64_t best = UINT64_MAX;
    int round;
    server.plan = plan;
    make_pages(rows, PAGES, ROWS);
    for (round = 0; round < ROUNDS; round++) {
        uint64_t took = read_all(items, NULL, false);
        if (took < best) best = took;
    }
    report(name, (double)best / (RANGES * ROWS * PAGES), "ns a row", asked);
}

typedef struct slow_steps { uint64_t usual_ns, most_ns; size_t count; } slow_steps;

static slow_steps slow_steps_of_round(void)
{
    slow_steps slow;
    qsort(steps.ns, steps.count, sizeof *steps.ns, by_size);
    slow.usual_ns = steps.ns[steps.count - 1 - steps.count / 1000];
    slow.most_ns = steps.ns[steps.count - 1];
    slow.count = steps.count;
    return slow;
}

static int by_usual(const void *a, const void *b)
{
    return by_size(&((const slow_steps *)a)->usual_ns, &((const slow_steps *)b)->usual_ns);
}

/* The median of the rounds; beside it the best and the worst. */
static void report_steps(const char *name, slow_steps *rounds, size_t count)
{
    const slow_steps *median = &rounds[count / 2];
    qsort(rounds, count, sizeof *rounds, by_usual);
    report(name, (double)median->usual_ns / 1000, "us p99.9", 300);
    printf("%-32s %8.0f us at most, of %zu steps; p99.9 of %zu rounds: %.0f to %.0f\n", "",
           (double)median->most_ns / 1000, median->count, count, (double)rounds[0].usual_ns / 1000,
           (double)rounds[count - 1].usual_ns / 1000);
}

static void measure_steps(const char *name, rows_of rows, const char *plan, int pages, size_t items,
                          const aiocosmos_pk *keys)
{
    slow_steps rounds[STEP_ROUNDS];
    int round;
    server.plan = plan;
    make_pages(rows, pages, ROWS);
    for (round = 0; round < STEP_ROUNDS; round++) {
        read_all(items, keys, true);
        rounds[round] = slow_steps_of_round();
    }
    report_steps(name, rounds, STEP_ROUNDS);
}

/* The server closes all idle connections at once, again and again. */
static void measure_closing(void)
{
    aiocosmos_client *client = open_measured(true);
    aiocosmos_stats stats;
    slow_steps slow;
    size_t i;
    int round;
    steps.count = 0;
    for (round = 0; round < 200; round++) {
        CHECK_INT(aiocosmos_warm(client, CONNECTIONS), 0);
        do {
            aiocosmos_step(client, 0);
            aiocosmos_get_stats(client, &stats);
        } while (stats.connections_idle < CONNECTIONS);
        aiocosmos_step(client, 0);                     /* which sees that these are enough */
        for (i = 0; i < machine.count; i++) machine.sockets[i]->closed = true;
        do {
            step(client);
            aiocosmos_get_stats(client, &stats);
        } while (stats.connections_idle > 0);
    }
    close_client(client);
    slow = slow_steps_of_round();
    report_steps("100 idle connections closing", &slow, 1);
}

#define PLAN(INFO) "{\"partitionedQueryExecutionInfoVersion\":2,\"queryInfo\":{" INFO "},\"queryRanges\":[{" \
    "\"min\":\"\",\"max\":\"FF\",\"isMinInclusive\":true,\"isMaxInclusive\":false}]}"
#define REWRITTEN ",\"rewrittenQuery\":\"SELECT c._rid FROM c WHERE ({documentdb-formattableorderbyquery-filter})\""
#define ORDERED(WAYS, BY) PLAN("\"orderBy\":[" WAYS "],\"orderByExpressions\":[" BY "]" REWRITTEN)
#define GROUPED PLAN("\"groupByExpressions\":[\"c.n\"],\"groupByAliases\":[\"g\",\"k\",\"s\",\"m\"]," \
    "\"groupByAliasToAggregateType\":{\"g\":null,\"k\":\"Count\",\"s\":\"Sum\",\"m\":\"Max\"}" REWRITTEN)

TEST(merging)
{
    const size_t all = RANGES * ROWS * PAGES;
    static aiocosmos_pk keys[KEYS];
    static char names[KEYS][16];
    size_t i;
    setvbuf(stdout, NULL, _IOLBF, 0);
    measure("passed through", ITEMS, PLAN(""), all, 100);
    measure("ORDER BY a number", NUMBERS, ORDERED("\"Ascending\"", "\"c.n\""), all, 500);
    measure("ORDER BY a string", STRINGS, ORDERED("\"Ascending\"", "\"c.id\""), all, 500);
    measure("ORDER BY both", BOTH, ORDERED("\"Ascending\",\"Ascending\"", "\"c.one\",\"c.id\""), all, 500);
    measure("DISTINCT", ITEMS, PLAN("\"distinctType\":\"Unordered\""), all, 600);
    measure("GROUP BY, three aggregates", GROUPS, GROUPED, 1000, 400);
    server.plan = PLAN("\"aggregates\":[\"Sum\"],\"hasSelectValue\":true" REWRITTEN);
    make_pages(SUMS, 10, 1);
    read_all(1, NULL, false);
    report("an aggregate over 10 pages each", server.trips, "trips", 12);
    measure_steps("GROUP BY of 400,000 groups", MANY_GROUPS, GROUPED, 25, 400000, NULL);
    measure_steps("the best 5,000 of vectors", SCORES, PLAN("\"top\":5000,\"hasNonStreamingOrderBy\":true,"
                  "\"orderBy\":[\"Ascending\"],\"orderByExpressions\":[\"c.d\"]" REWRITTEN), 8, 5000, NULL);
    for (i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof names[i], "tenant-%zu", i);
        keys[i] = aiocosmos_pk_s(names[i]);
    }
    measure_steps("a query of 8,000 keys", ITEMS, PLAN(""), 4, 0, keys);
    measure_closing();
}
