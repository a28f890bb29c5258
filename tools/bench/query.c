/* bench/query.c: queries across partitions, for `make bench-queries`: how many merged rows a second, at what CPU, and
 * in how much memory.
 *
 *     query URL ROWS            a container of so many documents: ORDER BY of all, in a limit that is stated
 *     query URL ROWS DOCUMENTS  and one of so many documents, kept for others: ORDER BY, DISTINCT, GROUP BY
 *
 * The emulator decides how many partitions there are. Exit status 1: rows were missing or in disorder, or the memory
 * was more than stated. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define IN_FLIGHT   100u
#define ANSWERS_MAX ((size_t)16 << 20)     /* memory_max of the query: what it may read ahead */
#define PEAK_MAX    ((size_t)32 << 20)     /* stated: of the whole client, its connections and the page that is lent */

typedef struct fill { uint64_t next, count; char key[32], body[400]; int status; bool done; } fill;

typedef struct reading {
    bool     ordered, came, more;
    int      status;
    uint64_t rows, disorders;
    double   last;
} reading;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "query: %s: %s\n", what, why);
    exit(1);
}

static double seconds(void)
{
    const aiocosmos_platform *system = aiocosmos_system_platform();
    return (double)system->monotonic_us(system->user_data) / 1e6;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static aiocosmos_client *open_client(const char *url)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    char why[256];
    memset(&options, 0, sizeof options);
    options.endpoint = url;
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.default_database = "bench queries";
    if (aiocosmos_create(&options, &client, why, sizeof why) != 0) die(url, why);
    return client;
}

/*--- Documents ----------------------------------------------------------------*/

/* Numbers that go up and down, users that have four documents each and devices that have ten, in any partitions. */
static aiocosmos_pull next_document(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    fill *f = (fill *)user_data;
    uint64_t i = f->next++;
    int len;
    (void)client;
    if (i >= f->count) return AIOCOSMOS_PULL_END;
    snprintf(f->key, sizeof f->key, "key-%" PRIu64, i);
    len = snprintf(f->body, sizeof f->body, "{\"id\":\"document-%" PRIu64 "\",\"pk\":\"%s\",\"value\":%" PRIu64
                   ",\"user\":\"user-%" PRIu64 "\",\"device\":\"device-%" PRIu64 "\",\"reading\":%" PRIu64
                   ",\"note\":\"%.*s\"}", i, f->key, i * 7919 % (f->count | 1), i % (f->count / 4 + 1),
                   i % (f->count / 10 + 1), i % 1000, 60, "a note of some length, as documents of devices and users "
                   "have them");
    item->kind = AIOCOSMOS_UPSERT_ITEM;
    item->pk = aiocosmos_pk1(aiocosmos_s(f->key));
    item->body.ptr = f->body;
    item->body.len = (size_t)len;
    return AIOCOSMOS_PULL_ITEM;
}

static void documents_done(aiocosmos_client *client, const aiocosmos_result *result,
                           const aiocosmos_bulk_totals *totals, void *user_data)
{
    fill *f = (fill *)user_data;
    (void)client;
    f->done = true;
    f->status = totals->failed ? -1 : result->status;
}

static void fill_container(const char *url, const char *name, uint64_t count)
{
    aiocosmos_client *client = open_client(url);
    aiocosmos_request request;
    aiocosmos_bulk_request bulk;
    fill f;
    memset(&request, 0, sizeof request);
    memset(&bulk, 0, sizeof bulk);
    memset(&f, 0, sizeof f);
    f.count = count;
    request.kind = AIOCOSMOS_CREATE_DATABASE;
    request.if_not_exists = true;
    if (aiocosmos_run(client, &request, NULL) != 0) die("no database", aiocosmos_last_error(client));
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.container = name;
    request.partition_key_paths[0] = "/pk";
    if (aiocosmos_run(client, &request, NULL) != 0) die("no container", aiocosmos_last_error(client));
    bulk.container = name;
    bulk.concurrency_max = IN_FLIGHT;
    bulk.next = next_document;
    bulk.done = documents_done;
    bulk.user_data = &f;
    if (aiocosmos_bulk(client, &bulk, NULL) < 0) die("no bulk", aiocosmos_last_error(client));
    while (!f.done) aiocosmos_step(client, 1000);
    if (f.status) die(name, "not all documents were stored");
    aiocosmos_destroy(client);
}

/*--- Queries ---------------------------------------------------------------------*/

static void page_came(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    reading *r = (reading *)user_data;
    aiocosmos_json row;
    double value;
    (void)client;
    memset(&row, 0, sizeof row);
    r->came = true;
    r->more = page->more;
    r->status = page->result->status;
    if (r->status) fprintf(stderr, "query: %.*s\n", (int)page->result->message.len, page->result->message.ptr);
    r->rows += page->item_count;
    while (r->ordered && aiocosmos_json_next(page->items, NULL, &row)) {
        if (!aiocosmos_json_get_f64(aiocosmos_json_at(row, "/value"), &value) || value < r->last) r->disorders++;
        r->last = value;
    }
}

/* Reads all of it in a client of its own, and prints what that took. Returns the client's peak of memory. */
static size_t read_all(const char *url, const char *container, const char *name, const char *sql, uint64_t rows,
                       bool ordered)
{
    aiocosmos_client *client = open_client(url);
    aiocosmos_query_request request;
    aiocosmos_cursor query;
    aiocosmos_stats stats;
    reading r;
    double began = seconds(), cpu = cpu_seconds();
    memset(&request, 0, sizeof request);
    memset(&r, 0, sizeof r);
    request.container = container;
    request.sql = sql;
    request.page_items_max = 1000;
    request.memory_max = ANSWERS_MAX;
    r.ordered = ordered;
    if (aiocosmos_query_open(client, &request, &query) != 0) die(sql, aiocosmos_last_error(client));
    do {
        r.came = false;
        if (aiocosmos_cursor_next(client, query, page_came, &r) != 0) die(sql, aiocosmos_last_error(client));
        while (!r.came) aiocosmos_step(client, 1000);
    } while (r.more);
    aiocosmos_cursor_close(client, query);
    began = seconds() - began;
    cpu = cpu_seconds() - cpu;
    aiocosmos_get_stats(client, &stats);
    aiocosmos_destroy(client);
    if (r.status) die(sql, "failed");
    if (r.rows != rows) die(sql, "not all rows came");
    if (r.disorders) die(sql, "the rows are in disorder");
    printf("%-9s library    %8" PRIu64 " rows  %9.0f rows/s  %6.2f us of CPU a row  %6.1f MB\n", name, r.rows,
           (double)r.rows / began, cpu / (double)r.rows * 1e6, (double)stats.memory_peak / 1048576.0);
    return stats.memory_peak;
}

int main(int argc, char **argv)
{
    uint64_t rows = argc > 2 ? strtoull(argv[2], NULL, 10) : 0, count = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    size_t peak;
    if (rows == 0) return fprintf(stderr, "query URL ROWS [DOCUMENTS]\n"), 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count) {
        fill_container(argv[1], "some", count);
        read_all(argv[1], "some", "ORDER BY", "SELECT c.id, c[\"value\"] FROM c ORDER BY c[\"value\"]", count, true);
        read_all(argv[1], "some", "DISTINCT", "SELECT DISTINCT VALUE c.user FROM c", count / 4 + 1, false);
        read_all(argv[1], "some", "GROUP BY", "SELECT c.device, COUNT(1) AS n, AVG(c.reading) AS mean FROM c "
                 "GROUP BY c.device", count / 10 + 1, false);
    }
    fill_container(argv[1], "many", rows);
    peak = read_all(argv[1], "many", "ORDER BY", "SELECT * FROM c ORDER BY c[\"value\"]", rows, true);
    printf("the client's memory: %.1f MB at most, of %.0f MB stated, for %" PRIu64 " sorted documents\n",
           (double)peak / 1048576.0, (double)PEAK_MAX / 1048576.0, rows);
    return peak > PEAK_MAX;
}
