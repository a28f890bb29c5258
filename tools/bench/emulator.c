/* bench/emulator.c: `make bench-emulator`: the emulator's figures, each beside what is asked of it.
 *
 *     emulator PROGRAM CLIENT SERVER DOCUMENTS SECONDS [FILTER]
 *
 * PROGRAM is the emulator, CLIENT and SERVER are bench/client and bench/server, each a process of its own; what concerns
 * memory, indexes and single requests is measured on the emulator's core within this program. Rates are by CPU time, of
 * the emulator alone, so that whatever else runs on the machine takes nothing from them but caches; SERVER, which does
 * nothing but HTTP, has the same to do in turn with it, and is what the system itself takes. FILTER: only figures whose
 * names have this in them ("batches", ...). The exit status is 0 when all are met, 1 when not, 2 when something did not
 * run. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "tools/emulator/aiocosmos_emulator.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH   100u                                       /* operations of a request */
#define STARTS  21
#define ROUNDS  3                                          /* of a rate */
#define BODY    "{\"id\":\"event-%08u\",\"deviceId\":\"device-%08u\",\"temperature\":21.5,\"humidity\":40,\"status\":" \
                "\"ok\",\"at\":\"2026-11-20T00:00:00Z\",\"note\":\"%08u" \
                "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\"}"
#define DOCS    "/dbs/bench/colls/events/docs"

static struct {
    const char *program, *client, *server, *filter;
    unsigned documents;
    double seconds;
    int missed;
    aioc_auth_signer signer;
    aioc_mem memory;
    double slice_ms;                                       /* of CPU time: the longest without a pause for others */
    char data[64];                                         /* a file */
    FILE *kept;
} b;

static void give_up(const char *what)
{
    fprintf(stderr, "bench/emulator: %s\n", what);
    if (b.data[0]) unlink(b.data);
    exit(2);
}

static aiocosmos_str str(const char *ptr, size_t len)
{
    aiocosmos_str s;
    s.ptr = ptr;
    s.len = len;
    return s;
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* is and asked: at most so much, or, at_least, at least. */
static void report(const char *what, double is, double asked, const char *unit, bool at_least)
{
    const bool met = at_least ? is >= asked : is <= asked;
    printf("%s: %.*f %s (asked %s %.*f: %s)\n", what, is < 100 ? 2 : 0, is, unit, at_least ? ">=" : "<=",
           asked < 100 && asked != (double)(int)asked ? 2 : 0, asked, met ? "met" : "NOT MET");
    fflush(stdout);
    if (!met) b.missed++;
}

static bool wanted(const char *figure)
{
    return !b.filter || strstr(figure, b.filter);
}

/*--- The program ------------------------------------------------------------*/

typedef struct server { pid_t pid; FILE *output; char url[128]; } server;

/* option and value: of the emulator, beside its port. */
static server server_start(const char *program, const char *option, const char *value)
{
    server s;
    int ends[2];
    if (pipe(ends) < 0) give_up("no pipe");
    s.pid = fork();
    if (s.pid < 0) give_up("no process");
    if (s.pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        if (program == b.program)
            execl(program, program, "--host", "127.0.0.1", "--port", "0", option, value, (char *)NULL);
        else
            execl(program, program, "0", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    s.output = fdopen(ends[0], "r");
    if (!s.output || fscanf(s.output, "ready %127s", s.url) != 1) give_up("a server did not start");
    return s;
}

static void server_stop(server *s)
{
    kill(s->pid, SIGTERM);
    waitpid(s->pid, NULL, 0);
    fclose(s->output);
}

static int by_value(const void *a, const void *c)
{
    const double x = *(const double *)a, y = *(const double *)c;
    return x < y ? -1 : x > y;
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
}

static void bench_start(void)
{
    double ms[STARTS];
    size_t i;
    for (i = 0; i < STARTS; i++) {
        const double begun = seconds_of(CLOCK_MONOTONIC);
        server s = server_start(b.program, "--partitions", "1");
        ms[i] = (seconds_of(CLOCK_MONOTONIC) - begun) * 1e3;
        server_stop(&s);
    }
    report("start, until it is ready, the median", median(ms, STARTS), 5, "ms", false);
}

/* What a process has used of CPUs, in seconds. */
static double cpu_of(pid_t pid)
{
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock) != 0) give_up("no CPU time of the emulator");
    return seconds_of(clock);
}

static void make_container_there(const char *url)
{
    aiocosmos_client *client;
    aiocosmos_options options;
    aiocosmos_request make;
    char why[256];
    memset(&options, 0, sizeof options);
    options.endpoint = url;
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.default_database = "bench";
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) give_up(why);
    memset(&make, 0, sizeof make);
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    if (aiocosmos_run(client, &make, NULL) < 0) give_up(aiocosmos_last_error(client));
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "events";
    make.partition_key_paths[0] = "/deviceId";
    if (aiocosmos_run(client, &make, NULL) < 0) give_up(aiocosmos_last_error(client));
    aiocosmos_destroy(client);
}

typedef struct load { double inserts, cpu, wall; } load;   /* and what they took, of the server's CPU and by the clock */

/* Adds inserts by the client, over sockets, into a server that is new. */
static void load_add(load *sum, const char *program, const char *way)
{
    server s = server_start(program, "--partitions", "4");
    char command[1024], line[128];
    double inserts = 0, value, cpu, begun;
    FILE *lines;
    if (program == b.program) make_container_there(s.url);
    snprintf(command, sizeof command, "'%s' '%s' %s %g", b.client, s.url, way, b.seconds / ROUNDS);
    cpu = cpu_of(s.pid);
    begun = seconds_of(CLOCK_MONOTONIC);
    lines = popen(command, "r");
    if (!lines) give_up("the client did not start");
    while (fgets(line, sizeof line, lines))
        if (sscanf(line, "inserts %lf", &value) == 1) inserts = value;
    if (pclose(lines) != 0 || inserts <= 0) give_up("the client has failed");
    sum->inserts += inserts;
    sum->wall += seconds_of(CLOCK_MONOTONIC) - begun;
    sum->cpu += cpu_of(s.pid) - cpu;
    server_stop(&s);
}

static void bench_inserts(const char *what, const char *way, double asked)
{
    load ours, least;
    int i;
    memset(&ours, 0, sizeof ours);
    memset(&least, 0, sizeof least);
    for (i = 0; i < ROUNDS; i++) {
        load_add(&least, b.server, way);
        load_add(&ours, b.program, way);
    }
    report(what, ours.inserts / ours.cpu, asked, "a second of its CPU", true);
    printf("  %.2f us each, of which a server that does nothing takes %.2f (%.0f a second); by the clock %.0f a second; "
           "the emulator had %.0f %% of a core\n", ours.cpu / ours.inserts * 1e6, least.cpu / least.inserts * 1e6,
           least.inserts / least.cpu, ours.inserts / ours.wall, ours.cpu / ours.wall * 100);
}

/*--- The core ---------------------------------------------------------------*/

typedef struct core { aiocosmos_emulator *emulator; aiocosmos_emulator_conn *conn; } core;

static bool keep(void *user_data, const void *bytes, size_t len)
{
    (void)user_data;
    return fwrite(bytes, 1, len, b.kept) == len;
}

static void put(aioc_mem_buffer *out, const char *text)
{
    if (!aioc_mem_append(&b.memory, out, text, strlen(text))) give_up("no memory");
}

static void note_slice(double *begun)
{
    const double now = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    if ((now - *begun) * 1e3 > b.slice_ms) b.slice_ms = (now - *begun) * 1e3;
    *begun = now;
}

/* Sends a request and returns its answer's status; *body, where asked for, is lent until the next one. */
static int ask(core *c, const char *verb, const char *path, const char *type, const char *link, const char *lines,
               aiocosmos_str body, aiocosmos_str *answer)
{
    static aioc_mem_buffer out;
    const int64_t now_s = aiocosmos_emulator_now_ms(c->emulator) / 1000;
    aiocosmos_str date = aioc_auth_signer_date(&b.signer, now_s), sig;
    char head[512];
    const char *bytes, *end;
    double begun;
    size_t len;
    int status;
    sig = aioc_auth_sign(&b.signer, verb, type, aioc_mem_str(link), now_s);
    snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: localhost\r\nx-ms-version: 2020-07-15\r\nx-ms-date: %.*s\r\n"
             "authorization: %.*s\r\nContent-Length: %lu\r\n", verb, path, (int)date.len, date.ptr, (int)sig.len,
             sig.ptr, (unsigned long)body.len);
    out.len = 0;
    put(&out, head);
    put(&out, lines);
    put(&out, "\r\n");
    if (!aioc_mem_append(&b.memory, &out, body.ptr, body.len)) give_up("no memory");
    bytes = aiocosmos_emulator_conn_output(c->conn, &len);
    aiocosmos_emulator_conn_sent(c->conn, len);            /* the last answer, which nobody needs any more */
    begun = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    aiocosmos_emulator_conn_feed(c->conn, out.data, out.len);
    while (aiocosmos_emulator_conn_waits(c->conn) == AIOCOSMOS_EMULATOR_WORKS) {
        note_slice(&begun);
        aiocosmos_emulator_conn_tick(c->conn);
    }
    note_slice(&begun);
    bytes = aiocosmos_emulator_conn_output(c->conn, &len);
    if (len < 12 || sscanf(bytes, "HTTP/1.1 %d", &status) != 1) give_up("no answer");
    end = strstr(bytes, "\r\n\r\n");
    if (answer && end) *answer = str(end + 4, len - (size_t)(end + 4 - bytes));
    return status;
}

static void core_open(core *c, bool keeps)
{
    aiocosmos_emulator_options options;
    memset(&options, 0, sizeof options);
    options.partitions = 1;
    if (keeps) options.keep = keep;
    c->emulator = aiocosmos_emulator_open(&options, NULL);
    c->conn = c->emulator ? aiocosmos_emulator_conn_open(c->emulator) : NULL;
    if (!c->conn) give_up("no emulator");
    if (ask(c, "POST", "/dbs", "dbs", "", "", aioc_mem_str("{\"id\":\"bench\"}"), NULL) != 201 ||
        ask(c, "POST", "/dbs/bench/colls", "colls", "dbs/bench", "",
            aioc_mem_str("{\"id\":\"events\",\"partitionKey\":{\"paths\":[\"/deviceId\"],\"version\":2}}"), NULL) != 201) give_up("no container");
}

static void core_close(core *c)
{
    aiocosmos_emulator_conn_close(c->conn);
    aiocosmos_emulator_close(c->emulator);
}

static void put_operation(aioc_mem_buffer *out, unsigned number)
{
    char text[512];
    snprintf(text, sizeof text, "%s{\"operationType\":\"Create\",\"partitionKey\":\"[\\\"device-%08u\\\"]\","
             "\"minimalReturnPreference\":true,\"resourceBody\":" BODY "}", out->len > 1 ? "," : "", number, number,
             number, number);
    put(out, text);
}

/* Documents in batches; returns the CPU time that took, without making them. */
static double fill(core *c, unsigned documents)
{
    static aioc_mem_buffer batch;
    double cpu = 0, begun;
    unsigned i, k;
    for (i = 0; i < documents; i += BATCH) {
        batch.len = 0;
        put(&batch, "[");
        for (k = i; k < i + BATCH && k < documents; k++) put_operation(&batch, k);
        put(&batch, "]");
        begun = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
        if (ask(c, "POST", DOCS, "docs", "dbs/bench/colls/events", "x-ms-cosmos-is-batch-request: True\r\n"
                "x-ms-cosmos-batch-continue-on-error: True\r\nx-ms-documentdb-partitionkeyrangeid: 0\r\n",
                str(batch.data, batch.len), NULL) != 200) give_up("a batch failed");
        cpu += seconds_of(CLOCK_PROCESS_CPUTIME_ID) - begun;
    }
    return cpu;
}

/* The milliseconds of one query, by CPU. */
static double query(core *c, const char *sql, int64_t count)
{
    char body[512], expected[32];
    aiocosmos_str answer = str(NULL, 0);
    double begun;
    int status;
    snprintf(body, sizeof body, "{\"query\":\"%s\"}", sql);
    snprintf(expected, sizeof expected, "\"_count\":%lld}", (long long)count);
    begun = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    status = ask(c, "POST", DOCS, "docs", "dbs/bench/colls/events", "x-ms-documentdb-isquery: True\r\n"
                 "x-ms-documentdb-partitionkeyrangeid: 0\r\nContent-Type: application/query+json\r\n",
                 aioc_mem_str(body), &answer);
    begun = (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - begun) * 1e3;
    if (status != 200 || !answer.ptr || answer.len < strlen(expected) ||
        memcmp(answer.ptr + answer.len - strlen(expected), expected, strlen(expected)) != 0) {
        fprintf(stderr, "%s: %d %.*s\n", sql, status, (int)(answer.len < 400 ? answer.len : 400), answer.ptr);
        give_up("a query failed");
    }
    return begun;
}

#define WHERE_NOTE "SELECT * FROM c WHERE c.note = '%08unnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn'"

static void bench_index(core *c)
{
    double ms[STARTS], made;
    char sql[256];
    size_t i;
    snprintf(sql, sizeof sql, WHERE_NOTE, b.documents / 2);
    printf("  a filter without index: %.0f ms of CPU\n", query(c, sql, 1));
    made = query(c, sql, 1);
    printf("  the same, making the index: %.0f ms of CPU\n", made);
    for (i = 0; i < STARTS; i++) {
        snprintf(sql, sizeof sql, WHERE_NOTE, (unsigned)((uint64_t)b.documents * i / STARTS));
        ms[i] = query(c, sql, 1);
    }
    report("a filter on an indexed path", median(ms, STARTS), 1, "ms", false);
}

static void bench_core(void)
{
    core c;
    char text[512];
    double cpu, before;
    unsigned body = (unsigned)snprintf(text, sizeof text, BODY, 0u, 0u, 0u);
    core_open(&c, false);
    fill(&c, BATCH);
    before = (double)aiocosmos_emulator_memory(c.emulator);
    core_close(&c);
    core_open(&c, false);
    cpu = fill(&c, b.documents);
    printf("%u documents of %u bytes, each of its own key, in batches of %u: %.2f us of CPU each, without a socket\n",
           b.documents, body, BATCH, cpu * 1e6 / b.documents);
    report("memory of a document beside its text",
           ((double)aiocosmos_emulator_memory(c.emulator) - before) / b.documents - body, 320, "bytes", false);
    bench_index(&c);
    core_close(&c);
}

/* Work on one document that is more than a slice of it may be: for so long does a point read beside it wait. */
static void bench_slices(void)
{
    static const char *const queries[] = {
        "SELECT VALUE COUNT(1) FROM c JOIN x IN c.l JOIN y IN c.l JOIN z IN c.l",
        "SELECT VALUE (SELECT VALUE COUNT(1) FROM x IN c.l JOIN y IN c.l JOIN z IN c.l) FROM c",
        "SELECT VALUE c.id FROM c WHERE EXISTS("
            "SELECT VALUE 1 FROM x IN c.l JOIN y IN c.l JOIN z IN c.l WHERE x+y+z < 0)",
        "SELECT VALUE ARRAY(SELECT VALUE x FROM x IN c.l WHERE EXISTS(SELECT VALUE 1 FROM y IN c.l JOIN z IN c.l "
            "WHERE x+y+z < 0)) FROM c"
    };
    char body[4096], *at = body;
    size_t i;
    core c;
    core_open(&c, false);
    at += sprintf(at, "{\"id\":\"a\",\"deviceId\":\"a\",\"l\":[0");
    for (i = 1; i < 70; i++) at += sprintf(at, ",%u", (unsigned)i);
    sprintf(at, "]}");
    if (ask(&c, "POST", DOCS, "docs", "dbs/bench/colls/events", "x-ms-documentdb-partitionkey: [\"a\"]\r\n",
            aioc_mem_str(body), NULL) != 201) give_up("no document");
    b.slice_ms = 0;
    for (i = 0; i < sizeof queries / sizeof *queries; i++) {
        double ms = query(&c, queries[i], i == 2 ? 0 : 1);
        printf("  %.0f ms of CPU: %s\n", ms, queries[i]);
    }
    report("the longest slice of them", b.slice_ms, 50, "ms", false);
    core_close(&c);
}

static void bench_replay(void)
{
    core c;
    double begun;
    server s;
    strcpy(b.data, "/tmp/bench-emulator-XXXXXX");
    b.kept = fdopen(mkstemp(b.data), "w");
    if (!b.kept) give_up("no file for --data");
    core_open(&c, true);
    fill(&c, b.documents);
    core_close(&c);
    if (fclose(b.kept) != 0) give_up("the file for --data was not written");
    begun = seconds_of(CLOCK_MONOTONIC);
    s = server_start(b.program, "--data", b.data);
    begun = seconds_of(CLOCK_MONOTONIC) - begun;
    report("ready with what --data has, in CPU time", cpu_of(s.pid), 2.0 * b.documents / 1e6, "s", false);
    printf("  by the clock %.2f s\n", begun);
    server_stop(&s);
    unlink(b.data);
}

int main(int argc, char **argv)
{
    size_t error_at;
    if (argc < 6) {
        fprintf(stderr, "usage: emulator PROGRAM CLIENT SERVER DOCUMENTS SECONDS [FILTER]\n");
        return 2;
    }
    b.program = argv[1];
    b.client = argv[2];
    b.server = argv[3];
    b.documents = (unsigned)strtoul(argv[4], NULL, 10) / BATCH * BATCH;
    b.seconds = strtod(argv[5], NULL);
    b.filter = argc > 6 ? argv[6] : NULL;
    if (b.documents == 0 || b.seconds <= 0) give_up("how many documents, and how many seconds?");
    aioc_mem_init(&b.memory, NULL, SIZE_MAX);
    aioc_auth_signer_set_key(&b.signer, aioc_mem_str(AIOCOSMOS_EMULATOR_KEY), &error_at);
    if (wanted("start")) bench_start();
    if (wanted("inserts")) bench_inserts("single inserts", "bulk", 110000);
    if (wanted("batches")) bench_inserts("items in batches", "batches", 400000);
    if (wanted("core")) bench_core();
    if (wanted("slices")) bench_slices();
    if (wanted("replay")) bench_replay();
    return b.missed > 0;
}
