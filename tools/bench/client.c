/* bench/client.c: inserts by the library for `make bench`: 100 in flight on 100 connections, one thread. Each has its
 * own id, key and body.
 *
 *     client URL batches|bulk|submit SECONDS [count|steps|lone] [BUDGET_US]
 *
 * bulk and submit are the two ways in. count: allocations and system calls of the steady state are counted. steps: the
 * program waits by itself, as a game or an event loop does, and times each aiocosmos_step(client, 0); BUDGET_US is
 * options.step_budget_us. The steady state is what follows the first third of the time. Prints lines "name value". */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"

#include <inttypes.h>
#include <poll.h>

#define IN_FLIGHT 100u
#define STEPS_MAX (1u << 22)
#define NUMBER    "10000000"               /* counts up; its width never changes */
#define DIGITS    (sizeof NUMBER - 1)

/* What is counted, by the host's hooks. */
typedef struct counts {
    uint64_t inserts, allocations, send, receive, wait, watch, other;
} counts;

typedef struct bench {
    aiocosmos_client *client;
    bool bulk, batches, counting, timing, lone;
    uint64_t now_us, steady_us, end_us;    /* on the system's monotonic clock */
    uint64_t failed;
    bool over;
    counts all, before;                    /* before: as they were when the steady state began */
    bool steady;
    char number[DIGITS + 1];
    char device[sizeof "device-" + DIGITS];
    char body[256];
    size_t body_len;
    char *body_number[3];
    uint32_t *step_ns, *step_cpu_ns;       /* of each step of the steady state */
    size_t steps;
    aiocosmos_op op;                       /* the bulk */
    bool under_way;                        /* lone: one is, since then */
    uint64_t began_ns;
} bench;

static bench b;

/*--- Inserts ----------------------------------------------------------------*/

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The numbers in it are written over for each insert; bench/wrk.lua sends the same document. */
static void document_prepare(void)
{
    static const char form[] =
        "{\"id\":\"event-" NUMBER "\",\"deviceId\":\"device-" NUMBER "\",\"temperature\":21.5,\"humidity\":40,"
        "\"status\":\"ok\",\"at\":\"2026-11-20T00:00:00Z\",\"note\":\"" NUMBER
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\"}";
    char *at = b.body;
    size_t i;
    memcpy(b.body, form, sizeof form);
    b.body_len = sizeof form - 1;
    memcpy(b.number, NUMBER, sizeof NUMBER);
    memcpy(b.device, "device-" NUMBER, sizeof "device-" NUMBER);
    for (i = 0; i < 3; i++) b.body_number[i] = at = strstr(at + (i > 0), NUMBER);
}

static void document_next(void)
{
    size_t i = DIGITS;
    while (i-- > 0 && ++b.number[i] > '9') b.number[i] = '0';
    for (i = 0; i < 3; i++) memcpy(b.body_number[i], b.number, DIGITS);
    memcpy(b.device + sizeof "device-" - 1, b.number, DIGITS);
}

static void lone_begin(void)
{
    b.under_way = true;
    b.began_ns = clock_ns(CLOCK_MONOTONIC);
}

static void insert_over(const aiocosmos_result *result)
{
    b.all.inserts++;
    if (b.lone && b.steady && b.steps < STEPS_MAX)
        b.step_ns[b.steps++] = (uint32_t)(clock_ns(CLOCK_MONOTONIC) - b.began_ns);
    b.under_way = false;
    if (result->http_status == 201) return;
    if (b.failed++ == 0)
        fprintf(stderr, "bench/client: %d %.*s\n", result->status, (int)result->message.len, result->message.ptr);
}

static aiocosmos_pull bulk_next(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    (void)client;
    (void)user_data;
    if (b.over) return AIOCOSMOS_PULL_END;
    if (b.lone && b.under_way) return AIOCOSMOS_PULL_LATER;
    lone_begin();
    document_next();
    item->pk = aiocosmos_pk1(aiocosmos_s(b.device));
    item->body.ptr = b.body;
    item->body.len = b.body_len;
    return AIOCOSMOS_PULL_ITEM;
}

static void bulk_item_done(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    (void)item_data;
    (void)user_data;
    insert_over(result);
    if (b.lone) aiocosmos_bulk_resume(client, b.op);
}

static int bulk_start(void)
{
    aiocosmos_bulk_request request;
    memset(&request, 0, sizeof request);
    request.container = "events";
    request.concurrency_max = IN_FLIGHT;
    request.next = bulk_next;
    request.item_done = bulk_item_done;
    request.single_items = !b.batches;
    return aiocosmos_bulk(b.client, &request, &b.op);
}

static int submit_one(void);

static void submit_done(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    (void)user_data;
    insert_over(result);
    if (!b.over && submit_one() < 0) b.failed++;
}

static int submit_one(void)
{
    aiocosmos_request request;
    memset(&request, 0, sizeof request);
    lone_begin();
    document_next();
    request.kind = AIOCOSMOS_CREATE_ITEM;
    request.container = "events";
    request.pk = aiocosmos_pk1(aiocosmos_s(b.device));
    request.body.ptr = b.body;
    request.body.len = b.body_len;
    request.done = submit_done;
    return aiocosmos_submit(b.client, &request, NULL);
}

static int submit_start(void)
{
    uint32_t i;
    int error = 0;
    for (i = 0; i < (b.lone ? 1 : IN_FLIGHT) && error == 0; i++) error = submit_one();
    return error;
}

/*--- Counting hooks ---------------------------------------------------------*/

static void *count_allocation(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    (void)old_size;
    (void)user_data;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    b.all.allocations++;
    return realloc(ptr, new_size);
}

/* The clocks are not counted: on Linux they are read without a system call. */
static int count_entropy(void *user_data, void *out, size_t len)
{
    b.all.other++;
    return aiocosmos_system_platform()->entropy(user_data, out, len);
}

static int count_open(void *user_data, intptr_t *out, bool datagram, const aiocosmos_address *peer)
{
    b.all.other += 3;                      /* socket, setsockopt, connect */
    return aiocosmos_system_platform()->socket_open(user_data, out, datagram, peer);
}

static int count_error(void *user_data, intptr_t fd)
{
    b.all.other++;
    return aiocosmos_system_platform()->socket_error(user_data, fd);
}

static ptrdiff_t count_send(void *user_data, intptr_t fd, const aiocosmos_slice *slices, size_t count)
{
    b.all.send++;
    return aiocosmos_system_platform()->socket_send(user_data, fd, slices, count);
}

static ptrdiff_t count_receive(void *user_data, intptr_t fd, void *out, size_t cap)
{
    b.all.receive++;
    return aiocosmos_system_platform()->socket_receive(user_data, fd, out, cap);
}

static void count_close(void *user_data, intptr_t fd)
{
    b.all.other++;
    aiocosmos_system_platform()->socket_close(user_data, fd);
}

static int count_set(void *user_data, void *poller, intptr_t fd, unsigned had, unsigned want, void *source)
{
    b.all.watch++;
    return aiocosmos_system_platform()->poller_set(user_data, poller, fd, had, want, source);
}

static int count_wait(void *user_data, void *poller, aiocosmos_event *events, int cap, int timeout_ms)
{
    b.all.wait++;
    return aiocosmos_system_platform()->poller_wait(user_data, poller, events, cap, timeout_ms);
}

static ptrdiff_t count_file(void *user_data, const char *path, void *out, size_t cap)
{
    b.all.other++;
    return aiocosmos_system_platform()->file_read(user_data, path, out, cap);
}

static const aiocosmos_platform *counting_platform(void)
{
    static aiocosmos_platform platform;
    platform = *aiocosmos_system_platform();
    platform.entropy = count_entropy;
    platform.socket_open = count_open;
    platform.socket_error = count_error;
    platform.socket_send = count_send;
    platform.socket_receive = count_receive;
    platform.socket_close = count_close;
    platform.poller_set = count_set;
    platform.poller_wait = count_wait;
    platform.file_read = count_file;
    return &platform;
}

/*--- Running ----------------------------------------------------------------*/

/* Waits outside of the library, and times the step alone: by the clock on the wall, and by what this thread used, which
 * leaves out what other programs took away. */
static int timed_step(void)
{
    struct pollfd wait;
    uint64_t wall, cpu;
    int status;
    wait.fd = (int)aiocosmos_fd(b.client);
    wait.events = POLLIN;
    poll(&wait, 1, aiocosmos_next_timeout_ms(b.client));
    wall = clock_ns(CLOCK_MONOTONIC);
    cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    status = aiocosmos_step(b.client, 0);
    cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    wall = clock_ns(CLOCK_MONOTONIC) - wall;
    if (b.steady && !b.over && b.steps < STEPS_MAX) {
        b.step_ns[b.steps] = wall > UINT32_MAX ? UINT32_MAX : (uint32_t)wall;
        b.step_cpu_ns[b.steps++] = cpu > UINT32_MAX ? UINT32_MAX : (uint32_t)cpu;
    }
    return status;
}

static int run(void)
{
    int status = b.bulk ? bulk_start() : submit_start();
    while (status >= 0 && aiocosmos_pending(b.client) > 0) {
        status = b.timing ? timed_step() : aiocosmos_step(b.client, 1000);
        b.now_us = clock_ns(CLOCK_MONOTONIC) / 1000u;
        if (!b.steady && b.now_us >= b.steady_us) {
            b.steady = true;
            b.before = b.all;
        }
        b.over = b.now_us >= b.end_us;
    }
    if (status < 0) fprintf(stderr, "bench/client: %s\n", aiocosmos_last_error(b.client));
    return status < 0 || b.failed > 0 ? 1 : 0;
}

/*--- Report -----------------------------------------------------------------*/

static int by_size(const void *a, const void *c)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)c;
    return x < y ? -1 : x > y;
}

static void print_steps(const char *name, uint32_t *ns)
{
    static const struct { const char *name; double share; } marks[] = {
        { "p50", 0.5 }, { "p99", 0.99 }, { "p99.9", 0.999 }, { "max", 1.0 }
    };
    size_t i;
    if (b.steps == 0) return;
    qsort(ns, b.steps, sizeof *ns, by_size);
    for (i = 0; i < sizeof marks / sizeof *marks; i++)
        printf("%s_%s %.1f\n", name, marks[i].name, ns[(size_t)((double)(b.steps - 1) * marks[i].share)] / 1e3);
}

static void print_counts(void)
{
    const uint64_t inserts = b.all.inserts - b.before.inserts;
    const double each = 1.0 / (inserts ? (double)inserts : 1.0);
    printf("steady_inserts %" PRIu64 "\n", inserts);
    printf("allocations %.6f\n", (double)(b.all.allocations - b.before.allocations) * each);
    printf("send %.4f\n", (double)(b.all.send - b.before.send) * each);
    printf("receive %.4f\n", (double)(b.all.receive - b.before.receive) * each);
    printf("wait %.4f\n", (double)(b.all.wait - b.before.wait) * each);
    printf("watch %.4f\n", (double)(b.all.watch - b.before.watch) * each);
    printf("other %.4f\n", (double)(b.all.other - b.before.other) * each);
}

static void report(void)
{
    aiocosmos_stats stats;
    aiocosmos_get_stats(b.client, &stats);
    printf("inserts %" PRIu64 "\n", b.all.inserts);
    printf("failed %" PRIu64 "\n", b.failed);
    printf("signatures %" PRIu64 "\n", stats.signatures_computed);
    printf("connections %" PRIu64 "\n", stats.connections_opened);
    printf("memory_peak %zu\n", stats.memory_peak);
    if (b.counting) print_counts();
    if (b.lone) print_steps("lone_us", b.step_ns);
    if (b.timing) {
        printf("steps %zu\n", b.steps);
        print_steps("step_us", b.step_ns);
        print_steps("step_cpu_us", b.step_cpu_ns);
    }
}

/* What has signed the server's certificate. "": it cannot be read, and nothing is trusted. */
static const char *tests_authority(size_t *len)
{
    static char text[16384];
    FILE *file = fopen("build/certs/ec/ca.pem", "r");
    *len = file ? fread(text, 1, sizeof text, file) : 0;
    if (file) fclose(file);
    return text;
}

static bool start(const char *url, uint32_t budget_us)
{
    char why[256];
    aiocosmos_options options;
    memset(&options, 0, sizeof options);
    options.endpoint = url;
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.default_database = "bench";
    options.step_budget_us = budget_us;
    if (strncmp(url, "https:", 6) == 0) options.trust_pem = tests_authority(&options.trust_pem_len);
    if (b.counting) {
        options.platform = counting_platform();
        options.allocator.fn = count_allocation;
    }
    if (b.timing || b.lone) {
        b.step_ns = (uint32_t *)calloc(STEPS_MAX, sizeof *b.step_ns);
        b.step_cpu_ns = (uint32_t *)calloc(STEPS_MAX, sizeof *b.step_cpu_ns);
        if (!b.step_ns || !b.step_cpu_ns) return false;
    }
    if (aiocosmos_create(&options, &b.client, why, sizeof why) == 0) return true;
    fprintf(stderr, "bench/client: %s\n", why);
    return false;
}

int main(int argc, char **argv)
{
    const double seconds = argc > 3 ? strtod(argv[3], NULL) : 0;
    int status;
    b.batches = argc > 2 && strcmp(argv[2], "batches") == 0;
    if (argc < 4 || seconds <= 0 || (!b.batches && strcmp(argv[2], "bulk") != 0 && strcmp(argv[2], "submit") != 0)) {
        fprintf(stderr, "usage: client URL batches|bulk|submit SECONDS [count|steps|lone] [BUDGET_US]\n");
        return 2;
    }
    b.bulk = b.batches || strcmp(argv[2], "bulk") == 0;
    b.counting = argc > 4 && strcmp(argv[4], "count") == 0;
    b.timing = argc > 4 && strcmp(argv[4], "steps") == 0;
    b.lone = argc > 4 && strcmp(argv[4], "lone") == 0;
    document_prepare();
    if (!start(argv[1], argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 10) : 0)) return 1;
    b.now_us = clock_ns(CLOCK_MONOTONIC) / 1000u;
    b.steady_us = b.now_us + (uint64_t)(seconds * 1e6 / 3);
    b.end_us = b.now_us + (uint64_t)(seconds * 1e6);
    status = run();
    report();
    aiocosmos_destroy(b.client);
    free(b.step_ns);
    free(b.step_cpu_ns);
    return status;
}
