/* bench/json.c: how fast the library reads JSON, for `make bench`: a query page of 32 KB, parsed and freed over and
 * over, and the same with four properties of each of its items looked up; where yyjson is, in turns with it. Prints the
 * median and the best of all turns in MB (10^6 bytes) a second of this thread's CPU time, and the medians of the ratios
 * of two turns that follow each other. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#ifdef BENCH_YYJSON
#  include <yyjson.h>
#endif

#define PAGE_BYTES 32768u
#define TURNS      15u
#define TURN_NS    50000000u

/* Items as the service stores them: what a user put there and the service's own five properties. */
static size_t page_make(char *out, size_t cap)
{
    size_t len = (size_t)snprintf(out, cap, "{\"_rid\":\"FfN8ALcBm14=\",\"Documents\":[");
    unsigned n = 0;
    while (len < PAGE_BYTES) {
        len += (size_t)snprintf(
            out + len, cap - len,
            "%s{\"id\":\"event-%08u\",\"deviceId\":\"device-%03u\",\"temperature\":%u.%u,\"humidity\":%u,"
            "\"status\":\"%s\",\"place\":{\"room\":\"Sal\\u00f3n %u\",\"position\":[%u.25,-%u.5,0]},"
            "\"tags\":[\"indoor\",\"calibrated\"],\"alarm\":%s,\"note\":null,\"_rid\":\"FfN8ALcBm14BAAAAAA%04u==\","
            "\"_self\":\"dbs/FfN8AA==/colls/FfN8ALcBm14=/docs/FfN8ALcBm14BAAAAAA%04u==/\","
            "\"_etag\":\"\\\"0000d826-0000-0700-0000-65b3d5%06u\\\"\",\"_attachments\":\"attachments/\",\"_ts\":%u}",
            n ? "," : "", n, n % 100, 15 + n % 20, n % 10, 30 + n % 50, n % 7 ? "ok" : "warning", n % 12, n % 90,
            n % 45, n % 7 ? "false" : "true", n, n, n, 1763700000u + n);
        n++;
    }
    return len + (size_t)snprintf(out + len, cap - len, "],\"_count\":%u}", n);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Sums up, so that nothing of it can be left out. */
static double read_items(aiocosmos_json root)
{
    static const char *const names[] = { "temperature", "humidity", "status", "_ts" };
    aiocosmos_json found[4], item;
    double sum = 0;
    memset(&item, 0, sizeof item);
    root = aiocosmos_json_at(root, "/Documents");
    while (aiocosmos_json_next(root, NULL, &item)) {
        double temperature = 0;
        int64_t humidity = 0, at = 0;
        aiocosmos_json_fields(item, names, 4, found);
        aiocosmos_json_get_f64(found[0], &temperature);
        aiocosmos_json_get_i64(found[1], &humidity);
        aiocosmos_json_get_i64(found[3], &at);
        sum += temperature + (double)humidity + (double)at + (aiocosmos_json_is_str(found[2], "ok") ? 1 : 0);
    }
    return sum;
}

/* Parses a page, reads its items if asked to, and frees it. False: it could not be read. */
typedef bool reader(void *client, const char *page, size_t len, bool items, double *sum);

static bool ours(void *client, const char *page, size_t len, bool items, double *sum)
{
    aiocosmos_json_doc *doc;
    if (aiocosmos_json_parse((aiocosmos_client *)client, page, len, &doc, NULL) < 0) return false;
    if (items) *sum += read_items(aiocosmos_json_root(doc));
    aiocosmos_json_free(doc);
    return true;
}

#ifdef BENCH_YYJSON
#  define YYJSON_VERSION_TEXT YYJSON_VERSION_STRING

static bool theirs(void *client, const char *page, size_t len, bool items, double *sum)
{
    yyjson_doc *doc = yyjson_read(page, len, 0);
    (void)client;
    if (doc && items) {
        yyjson_arr_iter iter;
        yyjson_val *item;
        yyjson_arr_iter_init(yyjson_obj_get(yyjson_doc_get_root(doc), "Documents"), &iter);
        while ((item = yyjson_arr_iter_next(&iter)) != NULL)
            *sum += yyjson_get_num(yyjson_obj_get(item, "temperature")) +
                    (double)yyjson_get_sint(yyjson_obj_get(item, "humidity")) +
                    (double)yyjson_get_sint(yyjson_obj_get(item, "_ts")) +
                    (yyjson_equals_str(yyjson_obj_get(item, "status"), "ok") ? 1 : 0);
    }
    yyjson_doc_free(doc);
    return doc != NULL;
}
#else
#  define YYJSON_VERSION_TEXT ""
#  define theirs ours
#endif

/* MB a second; < 0: it could not be read. */
static double turn(reader *read, void *client, const char *page, size_t len, bool items, double *sum)
{
    const uint64_t start = cpu_ns();
    uint64_t ns;
    double pages = 0;
    do {
        unsigned i;
        for (i = 0; i < 64; i++, pages++)
            if (!read(client, page, len, items, sum)) return -1;
        ns = cpu_ns() - start;
    } while (ns < TURN_NS);
    return pages * (double)len * 1e3 / (double)ns;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int measure(aiocosmos_client *client, const char *page, size_t len, bool items)
{
    const char *name = items ? "read" : "parse";
    double speed[TURNS], ratio[TURNS], sum = 0;
    unsigned i;
    for (i = 0; i < TURNS; i++) {
        speed[i] = turn(ours, client, page, len, items, &sum);
        ratio[i] = speed[i] / turn(theirs, client, page, len, items, &sum);
    }
    qsort(speed, TURNS, sizeof *speed, by_size);
    qsort(ratio, TURNS, sizeof *ratio, by_size);
    if (speed[0] < 0 || ratio[0] < 0 || (items && !(sum > 0))) return 1;
    printf("%s %.0f\n%s_best %.0f\n%s_by_yyjson %.2f\n", name, speed[TURNS / 2], name, speed[TURNS - 1], name,
           ratio[TURNS / 2]);
    return 0;
}

int main(void)
{
    static char page[PAGE_BYTES * 2];
    const size_t len = page_make(page, sizeof page);
    char why[256];
    aiocosmos_client *client;
    aiocosmos_options options;
    int status;
    memset(&options, 0, sizeof options);
    options.endpoint = "http://127.0.0.1:1";               /* never connected: parsing needs a client's memory only */
    options.key = AIOCOSMOS_EMULATOR_KEY;
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) {
        fprintf(stderr, "bench/json: %s\n", why);
        return 1;
    }
    printf("page_bytes %zu\nyyjson %s\n", len, YYJSON_VERSION_TEXT);
    status = measure(client, page, len, false) | measure(client, page, len, true);
    if (status) fprintf(stderr, "bench/json: the page could not be read\n");
    aiocosmos_destroy(client);
    return status;
}
