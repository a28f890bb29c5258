/* The main job, run by `make demo`: 10,000 telemetry events of 100 devices inserted with 100 in flight, questions about
 * them, and summaries that are read, computed and written back side by side.
 *
 * On the emulator of AIOCOSMOS_EMULATOR (http://localhost:8081), or on the account of AIOCOSMOS_CONNECTION_STRING. The
 * database has a name of its own and is deleted at the end, unless --keep is given. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DEVICES = 100, EVENTS_PER_DEVICE = 100, EVENTS = DEVICES * EVENTS_PER_DEVICE, IN_FLIGHT = 100, HOURS = 24,
       EVENT_SECONDS = HOURS * 3600 / EVENTS_PER_DEVICE, PROGRESS_MS = 100 };

static const char CONTAINER[] = "events";
static const char DAY[] = "2026-11-20";

typedef struct device {
    struct demo *demo;
    char name[16];
    aiocosmos_cursor query;            /* all its events, page by page */
    struct { unsigned count; double sum, min, max; } hours[HOURS];
    bool complete;                     /* every page has been read */
} device;

typedef struct demo {
    aiocosmos_client *client;
    char database[64];
    bool is_terminal;
    int failures;                      /* whatever did not work, and was reported */
    unsigned next_event;
    struct timespec started;
    device devices[DEVICES];
    aiocosmos_op summaries;            /* the bulk that writes them */
    unsigned next_device, next_hour;
    unsigned rows;                     /* printed of the query under way */
    char continuation[AIOCOSMOS_DEFAULT_CONTINUATION_BYTES + 1];       /* behind its last page */
} demo;

/*--- The set-up -------------------------------------------------------------*/

static double seconds_since(struct timespec then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then.tv_sec) + (double)(now.tv_nsec - then.tv_nsec) / 1e9;
}

/* Every failure of the client comes by here first, whatever it belongs to. */
static void report_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    demo *d = user_data;
    (void)client;
    if (d->failures++ < 5) {
        fprintf(stderr, "\nfailed with %d (%s): %.*s\n", result->status, aiocosmos_status_text(result->status),
                (int)result->message.len, result->message.ptr);
    }
}

static bool connect_client(demo *d)
{
    aiocosmos_options options = {0};
    const char *emulator = getenv("AIOCOSMOS_EMULATOR");
    char why[256];
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) {
        options.endpoint = emulator ? emulator : "http://localhost:8081";
        options.key = AIOCOSMOS_EMULATOR_KEY;
    }
    options.default_database = d->database;
    options.on_failure = report_failure;
    options.on_failure_user_data = d;
    if (aiocosmos_create(&options, &d->client, why, sizeof why) == 0) return true;
    fprintf(stderr, "%s\n", why);
    return false;
}

static bool create_database_and_container(demo *d)
{
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_CREATE_DATABASE;
    request.if_not_exists = true;
    if (aiocosmos_run(d->client, &request, NULL) != 0) return false;
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.container = CONTAINER;
    request.partition_key_paths[0] = "/deviceId";
    request.autoscale_max_ru = 4000;
    return aiocosmos_run(d->client, &request, NULL) == 0;
}

static void delete_database(demo *d)
{
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_DELETE_DATABASE;
    aiocosmos_run(d->client, &request, NULL);
}

/*--- 10,000 inserts, 100 in flight --------------------------------------------*/

/* A number of two decimals from a range: the same ones in every run. */
static double reading(unsigned seed, unsigned from, unsigned to)
{
    seed = (seed ^ 61u) ^ (seed >> 16);
    seed *= 9u;
    seed = (seed ^ (seed >> 4)) * 0x27d4eb2du;
    return (double)(from * 100u + (seed ^ (seed >> 15)) % ((to - from) * 100u)) / 100.0;
}

static aiocosmos_pull next_event(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    static const char *const states[] = { "ok", "ok", "ok", "ok", "ok", "ok", "ok", "warning", "warning", "error" };
    demo *d = user_data;
    static char text[512];             /* is copied when this function has returned */
    char id[32], at[32];
    unsigned event = d->next_event++, second = event / DEVICES * EVENT_SECONDS;
    const char *device_id;
    aiocosmos_jw w;
    (void)client;
    if (event >= EVENTS) return AIOCOSMOS_PULL_END;
    device_id = d->devices[event % DEVICES].name;
    snprintf(id, sizeof id, "event-%05u", event);
    snprintf(at, sizeof at, "%sT%02u:%02u:%02uZ", DAY, second / 3600, second / 60 % 60, second % 60);
    aiocosmos_jw_init(&w, text, sizeof text);
    aiocosmos_jw_object(&w, NULL);
    aiocosmos_jw_str(&w, "id", id);
    aiocosmos_jw_str(&w, "deviceId", device_id);
    aiocosmos_jw_str(&w, "type", "event");
    aiocosmos_jw_str(&w, "at", at);
    aiocosmos_jw_f64(&w, "temperature", reading(event, 15, 35));
    aiocosmos_jw_f64(&w, "humidity", reading(event + EVENTS, 30, 80));
    aiocosmos_jw_str(&w, "status", states[(unsigned)reading(event * 7u + 3u, 0, 10)]);
    aiocosmos_jw_end(&w);
    item->body = aiocosmos_jw_finish(&w);
    item->pk = aiocosmos_pk_s(device_id);
    return AIOCOSMOS_PULL_ITEM;
}

static void events_done(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                        void *user_data)
{
    demo *d = user_data;
    double seconds = seconds_since(d->started);
    (void)client;
    (void)result;
    printf("%sinserted %" PRIu64 ", failed %" PRIu64 " (%" PRIu64 " maybe applied), %" PRIu64 " retries, %.1f RU: "
           "%.2f s, %.0f inserts/s\n", d->is_terminal ? "\r\033[K" : "", totals->succeeded, totals->failed,
           totals->maybe_applied, totals->retries, totals->charge_ru, seconds, (double)totals->succeeded / seconds);
}

static void show_progress(const demo *d, aiocosmos_op op)
{
    aiocosmos_bulk_totals totals;
    unsigned percent, i;
    if (!aiocosmos_bulk_get_totals(d->client, op, &totals)) return;
    percent = (unsigned)((totals.succeeded + totals.failed) * 100 / EVENTS);
    if (d->is_terminal) {
        printf("\r[");
        for (i = 0; i < 50; i++) putchar(i < percent / 2 ? '#' : '.');
        printf("] %3u %%, %.0f RU, %" PRIu32 " in flight", percent, totals.charge_ru, totals.concurrency);
    } else {
        printf("%u %%, %.0f RU\n", percent, totals.charge_ru);
    }
    fflush(stdout);
}

static bool insert_events(demo *d)
{
    aiocosmos_bulk_request bulk = {0};
    aiocosmos_op op;
    double shown = 0;
    bulk.container = CONTAINER;
    bulk.concurrency_max = IN_FLIGHT;
    bulk.next = next_event;
    bulk.done = events_done;
    bulk.user_data = d;
    clock_gettime(CLOCK_MONOTONIC, &d->started);
    if (aiocosmos_bulk(d->client, &bulk, &op) < 0) return puts(aiocosmos_last_error(d->client)), false;
    while (aiocosmos_pending(d->client) > 0) {
        aiocosmos_step(d->client, PROGRESS_MS);
        if (seconds_since(d->started) - shown < PROGRESS_MS / 1000.0) continue;
        shown = seconds_since(d->started);
        show_progress(d, op);
    }
    return true;
}

/*--- Questions ----------------------------------------------------------------*/

static void print_rows(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    demo *d = user_data;
    aiocosmos_json row = {0};
    (void)client;
    while (aiocosmos_json_next(page->items, NULL, &row)) {
        if (d->rows++ < 5) printf("  %.*s\n", (int)row.len, row.ptr);
    }
}

/* One device's own partition when a device is given, else all partitions. */
static bool ask(demo *d, const char *title, const char *sql, const device *about, const aiocosmos_param *params,
                size_t param_count)
{
    aiocosmos_query_request request = {0};
    aiocosmos_cursor query;
    int failures = d->failures;
    bool more = true;
    printf("%s\n", title);
    request.container = CONTAINER;
    request.sql = sql;
    request.params = params;
    request.param_count = param_count;
    if (about) request.pk = aiocosmos_pk_s(about->name);
    if (aiocosmos_query_open(d->client, &request, &query) < 0) return puts(aiocosmos_last_error(d->client)), false;
    d->rows = 0;
    while (more && d->failures == failures) {
        /* Refused once the last page has come. */
        more = aiocosmos_cursor_next(d->client, query, print_rows, d) == 0;
        aiocosmos_drain(d->client, -1);
    }
    aiocosmos_cursor_close(d->client, query);
    if (d->rows > 5) printf("  and %u more rows\n", d->rows - 5);
    return d->failures == failures;
}

/* A program may end between two pages: all that it has to keep is a text. */
static void keep_continuation(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    demo *d = user_data;
    snprintf(d->continuation, sizeof d->continuation, "%.*s", (int)page->continuation.len, page->continuation.ptr);
    print_rows(client, page, user_data);
}

static bool ask_for_one_page(demo *d, const char *title, aiocosmos_query_request *request)
{
    aiocosmos_cursor query;
    int failures = d->failures;
    printf("%s\n", title);
    d->rows = 0;
    if (aiocosmos_query_open(d->client, request, &query) < 0 ||
        aiocosmos_cursor_next(d->client, query, keep_continuation, d) < 0)
        return puts(aiocosmos_last_error(d->client)), false;
    aiocosmos_drain(d->client, -1);
    aiocosmos_cursor_close(d->client, query);
    return d->failures == failures;
}

/* The second page is asked for by a query that knows nothing of the first but its token. */
static bool ask_and_resume(demo *d)
{
    aiocosmos_query_request request = {0};
    request.container = CONTAINER;
    request.sql = "SELECT c.deviceId, c.at, c.humidity FROM c WHERE c.status = 'error' ORDER BY c.humidity DESC";
    request.page_items_max = 3;
    if (!ask_for_one_page(d, "errors of all devices, dampest first, one page:", &request)) return false;
    request.continuation = aiocosmos_text(d->continuation);
    return ask_for_one_page(d, "and the next page, resumed from its token:", &request);
}

static bool ask_questions(demo *d)
{
    const device *seven = &d->devices[7];
    aiocosmos_param params[2] = { { "@type", aiocosmos_s("event") }, { "@limit", aiocosmos_f(34.9) } };
    return ask(d, "latest events of device-007:",
               "SELECT TOP 3 c.at, c.temperature, c.status FROM c WHERE c.type = @type ORDER BY c.at DESC", seven,
               params, 1) &&
           ask(d, "its temperature:",
               "SELECT AVG(c.temperature) AS average, MIN(c.temperature) AS lowest, MAX(c.temperature) AS highest, "
               "COUNT(1) AS readings FROM c WHERE c.type = @type", seven, params, 1) &&
           ask(d, "its events by status:",
               "SELECT c.status, COUNT(1) AS events FROM c WHERE c.type = @type GROUP BY c.status", seven, params, 1) &&
           ask(d, "high temperatures of all devices:",
               "SELECT c.deviceId, c.at, c.temperature FROM c WHERE c.type = @type AND c.temperature > @limit", NULL,
               params, 2) &&
           ask(d, "the hottest readings over all devices, put in order across partitions:",
               "SELECT TOP 5 c.deviceId, c.at, c.temperature FROM c WHERE c.type = @type ORDER BY c.temperature DESC",
               NULL, params, 1) &&
           ask(d, "averages per device, grouped across partitions:",
               "SELECT c.deviceId, AVG(c.temperature) AS average, COUNT(1) AS readings FROM c WHERE c.type = @type "
               "GROUP BY c.deviceId", NULL, params, 1) &&
           ask_and_resume(d);
}

/*--- Read, summarise, upsert: every device at once --------------------------------*/

static void add_reading(device *of, aiocosmos_json event)
{
    static const char *const names[] = { "at", "temperature" };
    aiocosmos_json field[2];
    char at[32];
    double temperature;
    unsigned hour;
    aiocosmos_json_fields(event, names, 2, field);
    if (aiocosmos_json_get_str(field[0], at, sizeof at) >= sizeof at || !aiocosmos_json_get_f64(field[1], &temperature))
        return;
    hour = (unsigned)strtoul(at + sizeof DAY, NULL, 10) % HOURS;
    if (of->hours[hour].count++ == 0) of->hours[hour].min = of->hours[hour].max = temperature;
    if (temperature < of->hours[hour].min) of->hours[hour].min = temperature;
    if (temperature > of->hours[hour].max) of->hours[hour].max = temperature;
    of->hours[hour].sum += temperature;
}

static void events_read(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    device *of = user_data;
    aiocosmos_json event = {0};
    while (aiocosmos_json_next(page->items, NULL, &event)) add_reading(of, event);
    if (page->more && aiocosmos_cursor_next(client, of->query, events_read, of) == 0) return;
    aiocosmos_cursor_close(client, of->query);
    of->complete = true;
    aiocosmos_bulk_resume(client, of->demo->summaries);      /* this device's summaries can be written */
}

static aiocosmos_str write_summary(const device *of, unsigned hour, char *text, size_t cap)
{
    char id[64];
    aiocosmos_jw w;
    snprintf(id, sizeof id, "summary-%sT%02u", DAY, hour);
    aiocosmos_jw_init(&w, text, cap);
    aiocosmos_jw_object(&w, NULL);
    aiocosmos_jw_str(&w, "id", id);
    aiocosmos_jw_str(&w, "deviceId", of->name);
    aiocosmos_jw_str(&w, "type", "summary");
    aiocosmos_jw_i64(&w, "readings", of->hours[hour].count);
    aiocosmos_jw_f64(&w, "average", of->hours[hour].sum / of->hours[hour].count);
    aiocosmos_jw_f64(&w, "lowest", of->hours[hour].min);
    aiocosmos_jw_f64(&w, "highest", of->hours[hour].max);
    aiocosmos_jw_end(&w);
    return aiocosmos_jw_finish(&w);
}

static aiocosmos_pull next_summary(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    demo *d = user_data;
    static char text[512];
    (void)client;
    for (; d->next_device < DEVICES; d->next_device++, d->next_hour = 0) {
        const device *of = &d->devices[d->next_device];
        if (!of->complete) return AIOCOSMOS_PULL_LATER;
        while (d->next_hour < HOURS && of->hours[d->next_hour].count == 0) d->next_hour++;
        if (d->next_hour == HOURS) continue;
        item->kind = AIOCOSMOS_UPSERT_ITEM;
        item->body = write_summary(of, d->next_hour++, text, sizeof text);
        item->pk = aiocosmos_pk_s(of->name);
        return AIOCOSMOS_PULL_ITEM;
    }
    return AIOCOSMOS_PULL_END;
}

static void summaries_done(aiocosmos_client *client, const aiocosmos_result *result,
                           const aiocosmos_bulk_totals *totals, void *user_data)
{
    demo *d = user_data;
    (void)client;
    (void)result;
    printf("  %" PRIu64 " written, %" PRIu64 " failed, %.1f RU, %.2f s\n", totals->succeeded, totals->failed,
           totals->charge_ru, seconds_since(d->started));
}

static bool summarise(demo *d)
{
    aiocosmos_param type = { "@type", aiocosmos_s("event") };
    aiocosmos_query_request events = {0};
    aiocosmos_bulk_request bulk = {0};
    int failures = d->failures;
    unsigned i;
    printf("hourly summaries of every device, read, computed and upserted side by side:\n");
    clock_gettime(CLOCK_MONOTONIC, &d->started);
    bulk.container = CONTAINER;
    bulk.next = next_summary;
    bulk.done = summaries_done;
    bulk.user_data = d;
    if (aiocosmos_bulk(d->client, &bulk, &d->summaries) < 0) return puts(aiocosmos_last_error(d->client)), false;
    events.container = CONTAINER;
    events.sql = "SELECT c.at, c.temperature FROM c WHERE c.type = @type";
    events.params = &type;
    events.param_count = 1;
    for (i = 0; i < DEVICES; i++) {
        device *of = &d->devices[i];
        events.pk = aiocosmos_pk_s(of->name);
        if (aiocosmos_query_open(d->client, &events, &of->query) < 0 ||
            aiocosmos_cursor_next(d->client, of->query, events_read, of) < 0)
            return puts(aiocosmos_last_error(d->client)), false;
    }
    aiocosmos_drain(d->client, -1);
    return d->failures == failures;
}

int main(int argc, char **argv)
{
    static demo d;                     /* large, and zeroed */
    bool keep = argc > 1 && strcmp(argv[1], "--keep") == 0, ok;
    aiocosmos_stats stats;
    unsigned i;
    if (argc > 2 || (argc == 2 && !keep)) return fprintf(stderr, "usage: telemetry [--keep]\n"), 2;
    snprintf(d.database, sizeof d.database, "aiocosmos-demo-%ld-%ld", (long)time(NULL), (long)getpid());
    d.is_terminal = isatty(STDOUT_FILENO);
    for (i = 0; i < DEVICES; i++) {
        d.devices[i].demo = &d;
        snprintf(d.devices[i].name, sizeof d.devices[i].name, "device-%03u", i);
    }
    if (!connect_client(&d)) return 1;
    if (getenv("AIOCOSMOS_CONNECTION_STRING")) {
        printf("This costs at most %u RU of work and, as the service bills by the hour, one hour of an autoscale\n"
               "container with a maximum of 4000 RU/s.\n", EVENTS * 7 + DEVICES * HOURS * 12);
    }
    printf("database %s, container %s: autoscale to 4000 RU/s%s\n", d.database, CONTAINER,
           getenv("AIOCOSMOS_CONNECTION_STRING") ? "" : ", which the emulator does not enforce unless given --ru");
    ok = create_database_and_container(&d);
    ok = ok && insert_events(&d) && ask_questions(&d) && summarise(&d);
    if (keep) printf("database %s is kept\n", d.database);
    else delete_database(&d);
    aiocosmos_get_stats(d.client, &stats);
    printf("in all %.1f RU, %" PRIu64 " requests over %" PRIu64 " connections\n", stats.charge_ru, stats.attempts,
           stats.connections_opened);
    aiocosmos_destroy(d.client);
    return ok && d.failures == 0 ? 0 : 1;
}
