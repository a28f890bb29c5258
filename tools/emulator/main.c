/* main.c: build/aiocosmos-emulator: what its options say, and until when it runs. */
#include "server.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define EMU_FAULTS_MAX 32

static struct {
    server_options server;
    const char *fault[EMU_FAULTS_MAX];
    int faults;
    const char *timeouts;
    double port, partitions, ru, memory_mib, connections, every, min, max, busy;   /* as they were given */
} options;

/* What a signal handler may touch. */
static volatile sig_atomic_t stop_asked;
static server *stop_server;

/*------------------------------------------------------------------------------
 * MARK: - Options
 *----------------------------------------------------------------------------*/

static const char help[] =
    "aiocosmos-emulator: a server that speaks Azure Cosmos DB's gateway protocol, in memory\n"
    "\n"
    "  aiocosmos-emulator [options]\n"
    "\n"
    "  --help            this\n"
    "  --version         what version this is\n"
    "  --port N          the port to listen at (8081); 0: any that is free\n"
    "  --host H          the name or address to listen at (localhost); 0.0.0.0: everywhere. Who reaches it has all\n"
    "                    that the key allows, if that is the public one\n"
    "  --key K           the account's key, base64 (the public key of all emulators)\n"
    "  --aad-token T     a text that is accepted as an Entra token (none)\n"
    "  --partitions N    physical partitions of a new container, 1 to 256 (4)\n"
    "  --ru N            request units a second of a container, spread over its partitions; above: 429 (no limit)\n"
    "  --memory N        MiB that may be used; above: 503 (no limit)\n"
    "  --connections N   at a time; beyond, the one that was idle longest is closed (as there are descriptors)\n"
    "  --timeouts H,B,I  seconds for a request's head, for progress of its body or of reading the answer, and\n"
    "                    for the next request (10,30,240)\n"
    "  --data FILE       keep everything in this file, and begin with what it has (nothing is kept)\n"
    "  --sync            each change is on the disk before it is answered\n"
    "  --log             a line for each request on stderr: status, what was asked, RU, time, why it was refused\n"
    "  --shuffle N       split or merge a container's partitions once in about N requests to it (never), with\n"
    "  --shuffle-min N   at least so many of them (1),\n"
    "  --shuffle-max N   at most so many (16), and\n"
    "  --shuffle-busy N  up to N requests answered 410/1007 or 1008 before (0)\n"
    "  --merge-enabled   as an account with partition merge: refuse clients that do not say that they can follow one\n"
    "  --any-order       ORDER BY needs no index (one of several keys needs a composite index, as in the service)\n"
    "  --strict-numbers  keep numbers as doubles, as the service does, and refuse those out of their range\n"
    "  --tls             serve HTTPS, TLS 1.2, with\n"
    "  --cert FILE       the certificate, and those that lead to its authority behind it, in PEM\n"
    "  --key-file FILE   the certificate's key, RSA or EC, in PEM\n"
    "  --fault SPEC      fail on purpose; may be given again. SPEC is JSON, or as short as one of\n"
    "                      status=429,kind=create_item,skip=10,count=3,retry_after_ms=5\n"
    "                      action=reset,when=after,kind=upsert,probability=0.01,seed=1\n"
    "                      delay_ms=200,verb=GET,path=/docs\n"
    "                    action: reset close hang html json big truncate garble chunked trickle end\n"
    "\n"
    "While it runs, PUT, POST, GET and DELETE of /_emulator/faults change and show these rules, and PUT of\n"
    "/_emulator/split with {\"database\":D,\"container\":C,\"range\":R} splits a physical partition, of\n"
    "/_emulator/merge makes one of it and its right neighbour, of /_emulator/shuffle with\n"
    "{\"every\":N,\"min\":A,\"max\":B,\"busy\":M} makes both happen as --shuffle does, of /_emulator/clock with\n"
    "{\"ahead_ms\":N} moves its clock. They are for who calls it localhost on this machine, or signed\n"
    "as other requests are, and so is GET of /_emulator/stats, which counts requests, memory and splits; GET of\n"
    "/_emulator/health is for everybody. For people, /_emulator/explorer is a page for the browser, which\n"
    "finds it by the URL alone.\n"
    "\n"
    "Prints \"ready URL\" when it accepts connections, and ends on SIGTERM or Ctrl-C.\n";

/* What its value is stands in the one place that is not NULL; a flag has none. */
typedef struct option {
    const char *name;
    bool *flag;
    const char **text;
    double *number, min, max;
} option;

static const option known[] = {
    { "--tls", &options.server.tls, NULL, NULL, 0, 0 },
    { "--log", &options.server.log, NULL, NULL, 0, 0 },
    { "--sync", &options.server.sync, NULL, NULL, 0, 0 },
    { "--merge-enabled", &options.server.core.merge_enabled, NULL, NULL, 0, 0 },
    { "--strict-numbers", &options.server.core.strict_numbers, NULL, NULL, 0, 0 },
    { "--any-order", &options.server.core.any_order, NULL, NULL, 0, 0 },
    { "--host", NULL, &options.server.host, NULL, 0, 0 },
    { "--key", NULL, &options.server.core.key, NULL, 0, 0 },
    { "--aad-token", NULL, &options.server.core.aad_token, NULL, 0, 0 },
    { "--data", NULL, &options.server.data, NULL, 0, 0 },
    { "--cert", NULL, &options.server.certificate, NULL, 0, 0 },
    { "--key-file", NULL, &options.server.key_file, NULL, 0, 0 },
    { "--timeouts", NULL, &options.timeouts, NULL, 0, 0 },
    { "--port", NULL, NULL, &options.port, 0, 65535 },
    { "--partitions", NULL, NULL, &options.partitions, 1, AIOCOSMOS_EMULATOR_PARTITIONS_MAX },
    { "--ru", NULL, NULL, &options.ru, 0, 1e12 },
    { "--memory", NULL, NULL, &options.memory_mib, 1, 1e9 },
    { "--connections", NULL, NULL, &options.connections, 1, 1e6 },
    { "--shuffle", NULL, NULL, &options.every, 0, 1e9 },
    { "--shuffle-min", NULL, NULL, &options.min, 0, AIOCOSMOS_EMULATOR_PARTITIONS_MAX },
    { "--shuffle-max", NULL, NULL, &options.max, 0, AIOCOSMOS_EMULATOR_PARTITIONS_MAX },
    { "--shuffle-busy", NULL, NULL, &options.busy, 0, 1e9 }
};

static bool refuse(const char *name, const char *value, const char *why)
{
    fprintf(stderr, "aiocosmos-emulator: %s%s%s: %s\n", name, value ? " " : "", value ? value : "", why);
    return false;
}

/* "HEAD,BODY,IDLE" */
static bool take_timeouts(const char *text)
{
    double *out[3];
    const char *at = text;
    size_t i, len = 0;
    out[0] = &options.server.head_s;
    out[1] = &options.server.body_s;
    out[2] = &options.server.idle_s;
    for (i = 0; i < 3; i++, at += len + 1) {
        len = strcspn(at, ",");
        if (!aioc_json_number_parse(at, len, out[i]) || *out[i] <= 0 || *out[i] > 1e6 ||
            at[len] != (i < 2 ? ',' : 0))
            return refuse("--timeouts", text, "three numbers of seconds are expected, as in 10,30,240");
    }
    return true;
}

static bool take_number(const option *o, const char *text)
{
    char why[80];
    double number;
    if (aioc_json_number_parse(text, strlen(text), &number) && number >= o->min && number <= o->max &&
        (number == (double)(int64_t)number || o->number == &options.ru)) {
        *o->number = number;
        return true;
    }
    snprintf(why, sizeof why, "a %snumber from %.0f to %.0f is expected", o->number == &options.ru ? "" : "whole ",
             o->min, o->max);
    return refuse(o->name, text, why);
}

/* One option; *used says how many arguments that was. False: it has been refused. */
static bool take_option(const char *name, const char *value, int *used)
{
    const option *o = known, *end = known + sizeof known / sizeof *known;
    bool is_fault = strcmp(name, "--fault") == 0;
    while (o < end && strcmp(name, o->name) != 0) o++;
    *used = 1;
    if (o == end && !is_fault) {
        fprintf(stderr, "aiocosmos-emulator: there is no option %s; see --help\n", name);
        return false;
    }
    if (!is_fault && o->flag) return *o->flag = true;
    if (!value) return refuse(name, NULL, "its value is missing; see --help");
    *used = 2;
    if (is_fault && options.faults == EMU_FAULTS_MAX) return refuse(name, value, "that is one too many");
    if (is_fault) options.fault[options.faults++] = value;
    else if (o->number) return take_number(o, value);
    else *o->text = value;
    return true;
}

static void hand_over_numbers(void)
{
    options.server.port = (int)options.port;
    options.server.connections = (int)options.connections;
    options.server.core.partitions = (int)options.partitions;
    options.server.core.ru_per_second = options.ru;
    options.server.core.memory_max = (size_t)options.memory_mib << 20;
    options.server.core.shuffle.every = (uint32_t)options.every;
    options.server.core.shuffle.min = (uint32_t)options.min;
    options.server.core.shuffle.max = (uint32_t)options.max;
    options.server.core.shuffle.busy = (uint32_t)options.busy;
}

/* 0: go on. Else the exit status, plus 1. */
static int parse_options(int argc, char **argv)
{
    int i = 1, used;
    options.server.host = "localhost";
    options.port = 8081;
    options.server.head_s = 10;
    options.server.body_s = 30;
    options.server.idle_s = 240;
    for (; i < argc; i += used) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return 1;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("aiocosmos-emulator %u.%u.%u\n", AIOCOSMOS_VERSION >> 16, AIOCOSMOS_VERSION >> 8 & 255u,
                   AIOCOSMOS_VERSION & 255u);
            return 1;
        }
        if (!take_option(argv[i], i + 1 < argc ? argv[i + 1] : NULL, &used)) return 3;
    }
    if (options.timeouts && !take_timeouts(options.timeouts)) return 3;
    hand_over_numbers();
    if (options.server.sync && !options.server.data) {
        fprintf(stderr, "aiocosmos-emulator: --sync is about --data\n");
        return 3;
    }
    if (options.server.tls == (options.server.certificate != NULL) &&
        options.server.tls == (options.server.key_file != NULL)) return 0;
    fprintf(stderr, "aiocosmos-emulator: --tls, --cert and --key-file go together\n");
    return 3;
}

/*------------------------------------------------------------------------------
 * MARK: - The program
 *----------------------------------------------------------------------------*/

static void on_signal(int number)
{
    (void)number;
    stop_asked = 1;
    aioc_platform_system.poller_wake(NULL, stop_server->reactor.poller);
}

static bool add_faults(server *s)
{
    char why[200];
    int i;
    for (i = 0; i < options.faults; i++) {
        if (aiocosmos_emulator_fault(s->core, options.fault[i], why, sizeof why)) continue;
        fprintf(stderr, "aiocosmos-emulator: --fault %s: %s\n", options.fault[i], why);
        return false;
    }
    return true;
}

static bool announce(server *s, int port)
{
    const char *host = options.server.host;
    char url[300];
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    bool literal6 = !any && strchr(host, ':') != NULL;
    snprintf(url, sizeof url, "%s://%s%s%s:%d/", options.server.tls ? "https" : "http", literal6 ? "[" : "",
             any ? "localhost" : host, literal6 ? "]" : "", port);
    if (!aiocosmos_emulator_set_endpoint(s->core, url)) return false;
    printf("ready %s\n", url);
    return fflush(stdout) == 0;
}

int main(int argc, char **argv)
{
    static server s;                                       /* large for a stack */
    struct sigaction action;
    int port, status = parse_options(argc, argv);
    if (status) return status - 1;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);                              /* a file that may not grow refuses writes */
    if (!server_open(&s, &options.server) || !add_faults(&s)) {
        server_close(&s);
        return 1;
    }
    stop_server = &s;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    port = options.server.port;
    if (server_listen(&s, &port) && announce(&s, port)) {
        while (!stop_asked) server_step(&s);
    } else {
        status = 1;
    }
    server_close(&s);
    return status;
}
