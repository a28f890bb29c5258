/* bench/tool.c: `make bench-tool`: the tool's figures, each beside what is asked of it.
 *
 *     tool AIOCOSMOS EMULATOR DOCUMENTS
 *
 * Both are processes of their own, and their CPU time is what the system charged them. A rate is by the clock: it means
 * something where nothing else runs, and the CPU time of either for a document stands beside it, which tells what it
 * would be. Each document has 250 bytes. The exit status is 0 when all figures are met, 1 when not, 2 when something did
 * not run. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STARTS     21
#define PARTITIONS "4"
#define MEMORY_MB  "6000"                                  /* for two containers of a million documents */
#define NOTES      "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

static struct {
    const char *tool, *server_program;
    long documents;
    char file[64], url[128];
    pid_t server;
    int missed;
} b;

typedef struct usage {
    double wall_us, cpu_us, server_us, rss_mb;
} usage;

static void give_up(const char *what)
{
    fprintf(stderr, "bench/tool: %s: %s\n", what, strerror(errno));
    if (b.file[0]) unlink(b.file);
    exit(2);
}

static double us_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double server_us(void)
{
    clockid_t clock;
    return clock_getcpuclockid(b.server, &clock) == 0 ? us_of(clock) : 0;
}

static void report(const char *what, double is, double asked, const char *unit, bool at_least)
{
    const bool met = at_least ? is >= asked : is <= asked;
    printf("%s: %.*f %s (asked %s %.*f: %s)", what, is < 100 ? 2 : 0, is, unit, at_least ? ">=" : "<=",
           asked < 3 ? 1 : 0, asked, met ? "met" : "NOT MET");
    if (!met) b.missed++;
}

/*--- Processes --------------------------------------------------------------*/

/* With *output, its stdout can be read from there; without, nobody reads it. It ends with us, however we end. */
static pid_t start(const char *const *argv, FILE **output)
{
    int ends[2] = { -1, -1 };
    pid_t pid;
    if (output && pipe(ends) < 0) give_up("pipe");
    pid = fork();
    if (pid < 0) give_up("fork");
    if (pid == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(output ? ends[1] : nowhere, STDOUT_FILENO);
        if (!output) dup2(nowhere, STDERR_FILENO);
        if (output) close(ends[0]);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    if (output) close(ends[1]);
    if (output && (*output = fdopen(ends[0], "r")) == NULL) give_up("fdopen");
    return pid;
}

/* Runs the tool on the emulator to its end. */
static usage run(const char *const *words)
{
    const char *argv[16] = { b.tool, "--endpoint", b.url };
    double began_us = us_of(CLOCK_MONOTONIC), server_began_us = server_us();
    struct rusage used;
    usage u;
    int status, i;
    pid_t pid;
    for (i = 0; words[i]; i++) argv[3 + i] = words[i];
    pid = start(argv, NULL);
    if (wait4(pid, &status, 0, &used) != pid) give_up("wait4");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "bench/tool: aiocosmos %s %s: status %#x\n", words[0], words[1], (unsigned)status);
        unlink(b.file);
        exit(2);
    }
    u.wall_us = us_of(CLOCK_MONOTONIC) - began_us;
    u.server_us = server_us() - server_began_us;
    u.cpu_us = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    u.rss_mb = (double)used.ru_maxrss / 1024;
    return u;
}

static void start_server(void)
{
    const char *const argv[] = { b.server_program, "--port", "0", "--partitions", PARTITIONS, "--memory", MEMORY_MB,
                                 NULL };
    FILE *output;
    b.server = start(argv, &output);
    if (fscanf(output, "ready %127s", b.url) != 1) give_up("the emulator does not start");
}

/*--- The figures ------------------------------------------------------------*/

static void write_documents(void)
{
    FILE *to;
    long i;
    int fd;
    strcpy(b.file, "/tmp/bench-tool-XXXXXX");
    fd = mkstemp(b.file);
    to = fd < 0 ? NULL : fdopen(fd, "w");
    if (!to) give_up("a file in /tmp");
    for (i = 0; i < b.documents; i++)
        fprintf(to, "{\"id\":\"event-%08ld\",\"deviceId\":\"device-%04ld\",\"temperature\":21.5,\"humidity\":40,"
                    "\"status\":\"ok\",\"at\":\"2026-11-20T00:00:00Z\",\"note\":\"" NOTES "%08ld\"}\n",
                i, i % 5000, i);
    if (fclose(to) != 0) give_up(b.file);
}

static int by_size(const void *a, const void *b_)
{
    const double x = *(const double *)a, y = *(const double *)b_;
    return (x > y) - (x < y);
}

static void measure_start(void)
{
    static const char *const words[] = { "account", "--help", NULL };
    double ms[STARTS];
    int i;
    for (i = 0; i < STARTS; i++) ms[i] = run(words).wall_us / 1e3;
    qsort(ms, STARTS, sizeof *ms, by_size);
    report("start, median", ms[STARTS / 2], 10, "ms", false);
    printf("\n");
}

static void measure_import(void)
{
    const char *const words[] = { "import", "bench", "from", b.file, NULL };
    usage u = run(words);
    report("import, CPU of a document", u.cpu_us / (double)b.documents, 2, "us", false);
    printf(", the emulator's %.2f us\n", u.server_us / (double)b.documents);
    report("import, resident", u.rss_mb, 32, "MB", false);
    printf("\n");
}

static void measure_rate(const char *what, const char *const *words)
{
    usage u = run(words);
    report(what, (double)b.documents * 1e6 / u.wall_us, 300000, "documents a second", true);
    printf(", CPU of a document: the tool's %.2f us, the emulator's %.2f us\n", u.cpu_us / (double)b.documents,
           u.server_us / (double)b.documents);
}

int main(int argc, char **argv)
{
    static const char *const database[] = { "db", "create", "bench", NULL };
    static const char *const from[] = { "container", "create", "bench", "from", "--partition-key", "/deviceId", NULL };
    static const char *const to[] = { "container", "create", "bench", "to", "--partition-key", "/deviceId", NULL };
    static const char *const export[] = { "export", "bench", "from", NULL };
    static const char *const copy[] = { "copy", "bench", "from", "bench", "to", NULL };
    if (argc != 4 || (b.documents = atol(argv[3])) < 1) {
        fputs("usage: tool AIOCOSMOS EMULATOR DOCUMENTS\n", stderr);
        return 2;
    }
    b.tool = argv[1];
    b.server_program = argv[2];
    setvbuf(stdout, NULL, _IOLBF, 0);
    start_server();
    measure_start();
    run(database);
    run(from);
    run(to);
    write_documents();
    measure_import();
    unlink(b.file);
    measure_rate("export", export);
    measure_rate("copy", copy);
    kill(b.server, SIGTERM);
    waitpid(b.server, NULL, 0);
    return b.missed ? 1 : 0;
}
