/* bench/run.c: `make bench`: inserts by the library beside inserts by wrk, on the same minimal server, in alternation;
 * then what only the library can say of itself. Everything is a process of its own, and CPU time is what the system
 * charged that process for its whole life. With stunnel, both insert over TLS, too, which that ends.
 *
 * Environment: BENCH_SECONDS (3) for each run, BENCH_ROUNDS (5), BENCH_BOUND (1.5): the highest ratio of CPU time per
 * insert, ours by wrk's, with which the exit status is 0. It is 1 above that, and 2 when something did not run. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX   100
#define OUTPUT_BYTES 16384
#define SERVER_LOAD  0.85                  /* with more, the server may be what limits the rate */
#define OWN_LOAD     0.85                  /* with less, the machine was busy with something else */

enum { WRK, WRK_FIXED, BULK, SUBMIT, BATCHES, WRK_TLS, SUBMIT_TLS, CONTENDERS };

static const char *const contender_names[CONTENDERS] = {
    "wrk", "wrk, no script", "aiocosmos, bulk", "aiocosmos, submit", "in batches", "wrk, TLS", "submit, TLS"
};

typedef struct measures {                  /* of one contender, one of each per round */
    double cpu_us[ROUNDS_MAX], kernel_us[ROUNDS_MAX], rate[ROUNDS_MAX];
    double load[ROUNDS_MAX], own[ROUNDS_MAX];        /* of a core: the server's and its own */
    double request_bytes, rss_kb;
} measures;

typedef struct child {
    double cpu_us, kernel_us, wall_us, rss_kb;
    int status;
    char output[OUTPUT_BYTES];
} child;

typedef struct server_stats {
    double posts, inserts, bytes, cpu_us;
} server_stats;

typedef struct bench {
    char folder[4096], script[4096];       /* where the programs are, and wrk's script */
    char url[128], tls_url[128], seconds[16];
    int rounds, port, server_cpu, load_cpu;          /* a CPU < 0: not tied to one */
    double bound;
    bool wrk;
    pid_t server, tls;                     /* tls: stunnel before the server; 0: there is none */
    measures of[CONTENDERS];
} bench;

static bench b;

static void stop(pid_t *server)
{
    if (*server <= 0) return;
    kill(*server, SIGTERM);
    waitpid(*server, NULL, 0);
    *server = 0;
}

static void stop_servers(void)
{
    stop(&b.tls);
    stop(&b.server);
}

static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    stop_servers();
    exit(2);
}

static double wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/*--- Processes --------------------------------------------------------------*/

static void tie_to(int cpu)
{
    cpu_set_t set;
    if (cpu < 0) return;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

/* The first two CPUs that we may use: one is the server's and one the load's, so that neither takes the other's. */
static void choose_cpus(void)
{
    cpu_set_t set;
    int cpu;
    b.server_cpu = b.load_cpu = -1;
    if (sched_getaffinity(0, sizeof set, &set) < 0 || CPU_COUNT(&set) < 2) return;
    for (cpu = 0; b.load_cpu < 0; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &set)) continue;
        if (b.server_cpu < 0) b.server_cpu = cpu;
        else b.load_cpu = cpu;
    }
}

/* Starts a program whose output can be read from *output; it ends with us, however we end. */
static pid_t start(const char *const *argv, int cpu, int *output)
{
    int ends[2];
    pid_t pid;
    if (pipe(ends) < 0) give_up("pipe", strerror(errno));
    pid = fork();
    if (pid < 0) give_up("fork", strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        tie_to(cpu);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        fprintf(stderr, "bench: %s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    close(ends[1]);
    *output = ends[0];
    return pid;
}

/* Reads to the end; what does not fit is dropped. */
static void read_output(int fd, char *out, size_t cap)
{
    char rest[1024];
    size_t len = 0;
    ssize_t got;
    for (;;) {
        const bool room = len + 1 < cap;
        got = read(fd, room ? out + len : rest, room ? cap - 1 - len : sizeof rest);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        if (room) len += (size_t)got;
    }
    out[len] = 0;
}

static child *run(const char *const *argv)
{
    static child c;
    const double started = wall_us();
    struct rusage used;
    int output, status;
    const pid_t pid = start(argv, b.load_cpu, &output);
    read_output(output, c.output, sizeof c.output);
    close(output);
    while (wait4(pid, &status, 0, &used) < 0)
        if (errno != EINTR) give_up("wait4", strerror(errno));
    c.wall_us = wall_us() - started;
    c.cpu_us = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    c.kernel_us = (double)used.ru_stime.tv_sec * 1e6 + (double)used.ru_stime.tv_usec;
    c.rss_kb = (double)used.ru_maxrss;
    c.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    return &c;
}

/* A number that a program printed as "NAME VALUE", or in JSON as "NAME":VALUE. */
static double value_of(const char *output, const char *name)
{
    const size_t len = strlen(name);
    const char *at;
    for (at = output; (at = strstr(at, name)) != NULL; at += len) {
        const char before = at > output ? at[-1] : '\n';
        if ((before == '\n' && at[len] == ' ') || (before == '"' && at[len] == '"' && at[len + 1] == ':'))
            return strtod(at + len + (before == '"' ? 2 : 1), NULL);
    }
    give_up("not printed by a program of the bench", name);
    return 0;
}

/*--- The server -------------------------------------------------------------*/

static void server_start(void)
{
    char path[sizeof b.folder + 16], line[128];
    const char *argv[2] = { path, NULL };
    FILE *output;
    int fd;
    snprintf(path, sizeof path, "%s/server", b.folder);
    b.server = start(argv, b.server_cpu, &fd);
    output = fdopen(fd, "r");              /* stays open as long as we live */
    if (!output || !fgets(line, sizeof line, output) || sscanf(line, "ready %127s", b.url) != 1)
        give_up(path, "did not start");
    b.port = atoi(strrchr(b.url, ':') + 1);
}

/* A port that nobody has at the moment. */
static int free_port(void)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        give_up("a port for stunnel", strerror(errno));
    close(fd);
    return ntohs(address.sin_port);
}

/* Others' TLS before the server, on its CPU, for wrk as for us: its certificate is one of the tests'. Where it does not
 * start, there is none. */
static void tls_start(void)
{
    char path[sizeof b.folder + 16], line[1024];
    const char *argv[] = { "sh", "-c", "exec stunnel \"$0\" 2>/dev/null", path, NULL };
    const int port = free_port();
    FILE *file;
    bool begun;
    int fd;
    snprintf(path, sizeof path, "%s/stunnel.conf", b.folder);
    file = fopen(path, "w");
    if (!file || fprintf(file, "foreground = yes\npid =\noutput = /dev/stdout\ndebug = notice\nsslVersion = TLSv1.2\n"
                         "socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n[bench]\naccept = 127.0.0.1:%d\n"
                         "connect = 127.0.0.1:%d\ncert = build/certs/ec/good.pem\nkey = build/certs/ec/leaf.key\n",
                         port, b.port) < 0 || fclose(file) != 0)
        give_up(path, strerror(errno));
    b.tls = start(argv, b.server_cpu, &fd);
    file = fdopen(fd, "r");
    if (!file) give_up("stunnel", strerror(errno));
    while ((begun = fgets(line, sizeof line, file) != NULL) && !strstr(line, "Configuration successful")) continue;
    if (!begun) stop(&b.tls);
    else if (fork() == 0) {                /* what it has to say of each connection must not stop it */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (read(fd, line, sizeof line) > 0) continue;
        _exit(0);
    }
    fclose(file);
    snprintf(b.tls_url, sizeof b.tls_url, "https://127.0.0.1:%d", port);
}

/* What the server says of itself, asked on a connection of our own. */
static server_stats server_ask(void)
{
    static const char request[] = "GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    struct sockaddr_in address;
    char text[1024];
    server_stats s;
    size_t len = 0;
    ssize_t got = 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)b.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        write(fd, request, sizeof request - 1) < 0)
        give_up("/stats", strerror(errno));
    while (got > 0 && len + 1 < sizeof text && !(len > 0 && text[len - 1] == '\n' && memchr(text, '}', len))) {
        got = read(fd, text + len, sizeof text - 1 - len);
        if (got > 0) len += (size_t)got;
    }
    text[len] = 0;
    close(fd);
    s.posts = value_of(text, "posts");
    s.inserts = value_of(text, "inserts");
    s.bytes = value_of(text, "bytes");
    s.cpu_us = value_of(text, "cpu_us");
    return s;
}

/*--- The contest ------------------------------------------------------------*/

static const child *run_contender(int who)
{
    char path[sizeof b.folder + 16], duration[sizeof b.seconds + 1];
    const char *url = who >= WRK_TLS ? b.tls_url : b.url;
    const char *ours[] = { path, url, who == BULK ? "bulk" : who == BATCHES ? "batches" : "submit", b.seconds, NULL };
    const char *wrk[] = { "wrk", "-t1", "-c100", "-d", duration, "-s", b.script, url, NULL };
    snprintf(path, sizeof path, "%s/client", b.folder);
    snprintf(duration, sizeof duration, "%ss", b.seconds);
    if (who == WRK_FIXED) setenv("BENCH_FIXED", "1", 1);
    else unsetenv("BENCH_FIXED");
    return run(who == WRK || who == WRK_FIXED || who == WRK_TLS ? wrk : ours);
}

static bool takes_part(int who)
{
    return who >= WRK_TLS ? b.tls > 0 : who > WRK_FIXED || b.wrk;
}

/* wrk ends with 0 whatever it was answered, and says so in words. */
static void check_contender(int who, const child *c, double posts)
{
    if (c->status == 0 && posts > 0 && !strstr(c->output, "Non-2xx") && !strstr(c->output, "Socket errors")) return;
    fputs(c->output, stderr);
    give_up(contender_names[who], "did not insert what it should");
}

static void measure(int who, int round)
{
    measures *m = &b.of[who];
    const server_stats before = server_ask();
    const child *c = run_contender(who);
    const server_stats after = server_ask();
    const double posts = after.posts - before.posts, inserts = after.inserts - before.inserts;
    check_contender(who, c, posts);
    m->cpu_us[round] = c->cpu_us / inserts;
    m->kernel_us[round] = c->kernel_us / inserts;
    m->rate[round] = inserts * 1e6 / c->wall_us;
    m->load[round] = (after.cpu_us - before.cpu_us) / c->wall_us;
    m->own[round] = c->cpu_us / c->wall_us;
    m->request_bytes = (after.bytes - before.bytes) / posts;
    if (c->rss_kb > m->rss_kb) m->rss_kb = c->rss_kb;
}

/* Each round begins with another one, so that none always follows the same. */
static void contest(void)
{
    int round, i;
    for (round = 0; round < b.rounds; round++) {
        for (i = 0; i < CONTENDERS; i++) {
            const int who = (round + i) % CONTENDERS;
            if (!takes_part(who)) continue;
            measure(who, round);
        }
    }
}

static int by_size(const void *x, const void *y)
{
    const double a = *(const double *)x, c = *(const double *)y;
    return a < c ? -1 : a > c;
}

static double median(const double *sorted)
{
    return (sorted[(b.rounds - 1) / 2] + sorted[b.rounds / 2]) / 2;
}

static void print_contest(void)
{
    int who;
    printf("%-18s %20s %27s %12s %12s %8s %8s\n", "", "CPU us an insert", "inserts a second", "server's", "its own",
           "request", "RSS");
    printf("%-18s %6s %6s %6s  %8s %8s %8s %12s %12s %8s %8s\n", "", "min", "median", "max", "min", "median", "max",
           "core %", "core %", "bytes", "max KB");
    for (who = 0; who < CONTENDERS; who++) {
        measures *m = &b.of[who];
        const size_t rounds = (size_t)b.rounds;
        if (!takes_part(who)) continue;
        qsort(m->cpu_us, rounds, sizeof(double), by_size);
        qsort(m->kernel_us, rounds, sizeof(double), by_size);
        qsort(m->rate, rounds, sizeof(double), by_size);
        qsort(m->load, rounds, sizeof(double), by_size);
        qsort(m->own, rounds, sizeof(double), by_size);
        printf("%-18s %6.2f %6.2f %6.2f  %8.0f %8.0f %8.0f  %3.0f %3.0f %3.0f  %3.0f %3.0f %3.0f %8.0f %8.0f\n",
               contender_names[who], m->cpu_us[0], median(m->cpu_us), m->cpu_us[rounds - 1], m->rate[0],
               median(m->rate), m->rate[rounds - 1], m->load[0] * 100, median(m->load) * 100,
               m->load[rounds - 1] * 100, m->own[0] * 100, median(m->own) * 100, m->own[rounds - 1] * 100,
               m->request_bytes, m->rss_kb);
    }
}

/* Why the rates of two contenders say nothing; NULL: they do. */
static const char *rate_objection(const measures *ours, const measures *wrk)
{
    if (b.server_cpu < 0) return "one CPU for all";
    if (median(ours->load) >= SERVER_LOAD || median(wrk->load) >= SERVER_LOAD) return "the server's core was full";
    if (median(ours->own) < OWN_LOAD || median(wrk->own) < OWN_LOAD) return "the machine was busy with other things";
    return NULL;
}

/* A figure that was asked for, beside what it is. */
static void print_asked(const char *what, double value, const char *relation, double asked)
{
    const bool met = *relation == '<' ? value <= asked : value >= asked;
    printf("%s: %.2f (asked %s %.2f: %s)\n", what, value, relation, asked, met ? "met" : "NOT MET");
}

/* Ours by wrk's. False: over the bound. */
static bool print_ratio(int who)
{
    const measures *ours = &b.of[who], *wrk = &b.of[WRK], *fixed = &b.of[WRK_FIXED];
    const double cpu = median(ours->cpu_us) / median(wrk->cpu_us);
    const char *objection = rate_objection(ours, wrk);
    printf("%s, by wrk: CPU %.2f (bound %.2f: %s), by wrk without its script %.2f\n", contender_names[who], cpu,
           b.bound, cpu <= b.bound ? "kept" : "NOT KEPT", median(ours->cpu_us) / median(fixed->cpu_us));
    printf("%s, by wrk: rate %.2f, which %s%s; the server's core: %.0f %% and %.0f %% (limit %.0f %%)\n",
           contender_names[who], median(ours->rate) / median(wrk->rate), objection ? "does not count: " : "counts",
           objection ? objection : "", median(ours->load) * 100, median(wrk->load) * 100, SERVER_LOAD * 100);
    print_asked("of that, CPU", cpu, "<=", 0.78);
    return cpu <= b.bound;
}

static void print_tls(void)
{
    const double cpu = median(b.of[SUBMIT_TLS].cpu_us) / median(b.of[WRK_TLS].cpu_us);
    print_asked("aiocosmos, submit, over TLS, handshakes included, by wrk: CPU", cpu, "<=", 0.8);
}

/*--- What the library says of itself ----------------------------------------*/

static const char *run_ours(const char *program, const char *how, const char *mode, const char *budget)
{
    char path[sizeof b.folder + 16];
    const char *argv[] = { path, b.url, how, b.seconds, mode, budget, NULL };
    const child *c;
    snprintf(path, sizeof path, "%s/%s", b.folder, program);
    c = run(argv);
    if (c->status != 0) give_up(path, "failed");
    return c->output;
}

static void print_steady(const char *how)
{
    const char *out = run_ours("client", how, "count", NULL);
    const double send = value_of(out, "send"), receive = value_of(out, "receive"), wait = value_of(out, "wait"),
                 watch = value_of(out, "watch"), other = value_of(out, "other");
    printf("%-18s %11.4f %12.3f = %6.3f %8.3f %10.3f %9.3f %6.3f %10.0f %10.0f\n", how, value_of(out, "allocations"),
           send + receive + wait + watch + other, send, receive, wait, watch, other, value_of(out, "signatures"),
           value_of(out, "memory_peak") / 1024);
}

static void print_steps(const char *budget)
{
    static const char *const marks[] = { "p50", "p99", "p99.9", "max" };
    const char *out = run_ours("client", "bulk", "steps", budget);
    char name[32];
    size_t i;
    printf("%-15s %3s %10.0f", budget ? "budget, us" : "no budget", budget ? budget : "", value_of(out, "steps"));
    for (i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "step_us_%s", marks[i]);
        printf(" %7.0f", value_of(out, name));
    }
    printf("  ");
    for (i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "step_cpu_us_%s", marks[i]);
        printf(" %7.0f", value_of(out, name));
    }
    printf("\n");
    if (budget) print_asked("p99.9 of a step with it, us of CPU", value_of(out, "step_cpu_us_p99.9"), "<=", 300);
}

/* The items of a bulk in batches: what was asked of them, and a lone one beside a single request. */
static void print_batches(void)
{
    const measures *m = &b.of[BATCHES];
    double item_us, request_us;
    print_asked("an item in a batch, CPU us", median(m->cpu_us), "<=", 1.0);
    print_asked("of that, the kernel's", median(m->kernel_us), "<=", 0.25);
    print_asked("items a second", median(m->rate), ">=", 1e6);
    printf("the server's core meanwhile: %.0f %%%s\n", median(m->load) * 100,
           median(m->load) >= SERVER_LOAD ? ", which is full: it limits the rate" : "");
    item_us = value_of(run_ours("client", "batches", "lone", NULL), "lone_us_p50");
    request_us = value_of(run_ours("client", "submit", "lone", NULL), "lone_us_p50");
    printf("a lone item takes %.1f us, a single request %.1f (p50)\n", item_us, request_us);
    print_asked("a lone item by a single request", item_us / request_us, "<=", 1.05);
}

static void print_json(void)
{
    const char *out = run_ours("json", NULL, NULL, NULL), *yyjson = strstr(out, "yyjson ");
    const int version_len = yyjson ? (int)strcspn(yyjson + 7, "\n") : 0;
    char what[128];
    printf("JSON, MB/s on a query page of %.0f bytes: parsed %.0f (best turn %.0f); parsed, and four properties of "
           "each item read, %.0f (best %.0f)\n",
           value_of(out, "page_bytes"), value_of(out, "parse"), value_of(out, "parse_best"), value_of(out, "read"),
           value_of(out, "read_best"));
    if (version_len == 0) {
        printf("yyjson is not here: nothing to compare with\n");
        return;
    }
    snprintf(what, sizeof what, "JSON, by yyjson %.*s: parsed", version_len, yyjson + 7);
    print_asked(what, value_of(out, "parse_by_yyjson"), ">=", 1.0);
    print_asked("JSON, by the same: parsed, and four properties read", value_of(out, "read_by_yyjson"), ">=", 0.8);
}

static void print_own(void)
{
    printf("\n%-18s %11s %12s   %6s %8s %10s %9s %6s %10s %10s\n", "steady state", "allocations", "system calls",
           "send", "receive", "epoll_wait", "epoll_ctl", "other", "signatures", "memory max");
    printf("%-18s %11s %12s   %42s %11s %10s\n", "", "an insert", "an insert", "", "in all", "KB");
    print_steady("bulk");
    print_steady("submit");
    print_steady("batches");
    printf("\n%-19s %10s %31s   %31s\n", "steps of a bulk", "steps", "us by the clock", "us of CPU");
    printf("%-19s %10s", "", "");
    printf(" %7s %7s %7s %7s  ", "p50", "p99", "p99.9", "max");
    printf(" %7s %7s %7s %7s\n", "p50", "p99", "p99.9", "max");
    print_steps(NULL);
    print_steps("200");
    printf("\n");
    print_json();
}

/*--- Settings ---------------------------------------------------------------*/

static double setting(const char *name, double otherwise, double min, double max)
{
    const char *text = getenv(name);
    char *end;
    double value;
    if (!text || !*text) return otherwise;
    value = strtod(text, &end);
    if (*end || !(value >= min) || !(value <= max)) give_up(name, "out of range, or no number");
    return value;
}

static bool have(const char *program)
{
    const char *const argv[] = { "sh", "-c", "command -v \"$0\"", program, NULL };
    return run(argv)->status == 0;
}

/* Programs are beside this one; wrk's script is beside its source, named by the first argument. */
static void set_up(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    if (argc != 2) give_up("usage", "run SCRIPT.lua");
    snprintf(b.folder, sizeof b.folder, "%.*s", slash ? (int)(slash - argv[0]) : 1, slash ? argv[0] : ".");
    snprintf(b.script, sizeof b.script, "%s", argv[1]);
    snprintf(b.seconds, sizeof b.seconds, "%d", (int)setting("BENCH_SECONDS", 3, 1, 3600));    /* wrk's are whole */
    b.rounds = (int)setting("BENCH_ROUNDS", 5, 1, ROUNDS_MAX);
    b.bound = setting("BENCH_BOUND", 1.5, 0.01, 1000);
    b.wrk = have("wrk");
    choose_cpus();
    server_start();
    if (b.wrk && have("stunnel")) tls_start();
}

int main(int argc, char **argv)
{
    bool good = true;
    set_up(argc, argv);
    printf("inserts, 100 in flight on 100 connections, one thread, %d x %s s each in turn; ", b.rounds, b.seconds);
    if (b.server_cpu < 0) printf("one CPU for all\n");
    else printf("server on CPU %d, load on CPU %d\n", b.server_cpu, b.load_cpu);
    fflush(stdout);
    contest();
    print_contest();
    if (!b.wrk) printf("wrk is not here: nothing to compare with\n");
    if (b.wrk && !print_ratio(BULK)) good = false;
    if (b.wrk && !print_ratio(SUBMIT)) good = false;
    if (b.tls) print_tls();
    else printf("without wrk and stunnel: nothing over TLS\n");
    print_batches();
    fflush(stdout);
    print_own();
    stop_servers();
    return good ? 0 : 1;
}
