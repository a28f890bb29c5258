/* sim.c: the whole client and the emulator's core in one process, over a network, clocks and chance that are simulated.
 *
 *     sim                      the batch that the tests run, and what it covered
 *     sim SEED                 one seed; -v SEED tells its story
 *     sim --from N --count M   seeds N to N+M-1 (environment: SIM_FROM, SIM_SEEDS)
 *
 * Everything that a seed does follows from the seed: a failure names it, and replays exactly. Seeds run in child
 * processes, so that one that crashes or hangs is a failure of that seed alone. See sim_run.h for what a run is,
 * sim_net.h for the network, sim_model.h for what must be true, sim_work.h for what clients do, and sim_workers.h for
 * runs of another kind, of workers who share a change feed. */
#ifndef BUILD_DIR
#define BUILD_DIR "build"
#endif
#define AIOC_KEY_BYTES_MAX 200        /* some keys at a time, so that a query's are several times some */
#include "sim_workers.h"

#ifndef SIM_FAILURES_MAX
#define SIM_FAILURES_MAX  20u            /* then a batch ends */
#endif
#define SIM_WHOLE_SEEDS   1500u         /* meet everything; fewer need not */
#ifdef __SANITIZE_ADDRESS__
#define SIM_DEFAULT_SEEDS 300u
#else
#define SIM_DEFAULT_SEEDS SIM_WHOLE_SEEDS
#endif
#define SIM_TWICE         25u            /* one of so many seeds is run twice, and has to tell the same story */
#define SIM_CREWS         15u           /* one of so many is the seed of a run of workers, too: see sim_workers.h */
#define SIM_SECONDS_MAX   60u            /* for one seed */

static void sim_on_signal(int number)
{
    char line[160];
    int len = snprintf(line, sizeof line, "seed %" PRIu64 ": stopped by signal %d\n  replay: %s/tests/sim -v %" PRIu64
                       "\n",
                       sim_running ? sim_running->seed : 0, number, BUILD_DIR, sim_running ? sim_running->seed : 0);
    if (write(STDOUT_FILENO, line, (size_t)len) < 0) _exit(3);
    _exit(1);
}

static void sim_catch_signals(void)
{
    static const int fatal[] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGPROF };
    size_t i;
    for (i = 0; i < sizeof fatal / sizeof *fatal; i++) {
        struct sigaction old;
        if (sigaction(fatal[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL) signal(fatal[i], sim_on_signal);
    }
}

static void sim_run_checked(uint64_t seed, sim_report *report, bool verbose)
{
    static uint64_t (*const runs[])(uint64_t, sim_report *, bool) = { sim_run, sim_crew_run };
    size_t i, count = seed % SIM_CREWS == 0 ? 2 : 1;
    for (i = 0; i < count; i++) {
        static sim_report scrap;
        uint64_t story;
        sim_limit_seconds(SIM_SECONDS_MAX);
        story = runs[i](seed, report, verbose);
        if (seed % SIM_TWICE == 0 && !verbose && runs[i](seed, &scrap, false) != story) {
            printf("seed %" PRIu64 ": two runs tell two stories\n", seed);
            fflush(stdout);
            _exit(1);
        }
        sim_limit_seconds(0);
    }
}

/* Runs seeds in a child until one fails; returns the seed that it stopped at. */
static uint64_t sim_run_some(uint64_t from, uint64_t end, sim_report *report)
{
    int status;
    pid_t child;
    fflush(stdout);
    report->seed = from;
    report->done = false;
    child = fork();
    if (child == 0) {
        sim_catch_signals();
        for (; report->seed < end; report->seed++) sim_run_checked(report->seed, report, false);
        report->done = true;
        exit(0);                         /* as programs do, so that what leaks is told */
    }
    if (child < 0 || waitpid(child, &status, 0) < 0) {
        perror("sim");
        exit(1);
    }
    if (report->done && WIFEXITED(status) && WEXITSTATUS(status) == 0) return end;
    report->failed++;
    if (report->done) printf("sim: the seeds from %" PRIu64 " on leave something behind\n", from);
    else if (!WIFEXITED(status)) printf("seed %" PRIu64 ": ended by signal %d\n", report->seed, WTERMSIG(status));
    return report->done ? end : report->seed + 1;
}

static unsigned sim_print_coverage(const sim_report *report)
{
    unsigned i, missing = 0;
    printf("%" PRIu64 " runs, %" PRIu64 " operations, %" PRIu64 " requests, %" PRIu64 " events, %" PRIu64
           " s of simulated time\n", report->runs, report->operations, report->requests, report->events,
           report->simulated_ms / 1000);
    for (i = 0; i < SIM_COVERED_COUNT; i++) {
        printf("  %-30s %10" PRIu64 "%s", sim_covered_names[i], report->covered[i], i % 2 ? "\n" : "");
        missing += report->covered[i] == 0;
    }
    printf("\n");
    return missing;
}

static int sim_batch(uint64_t from, uint64_t count, bool whole)
{
    sim_report *report = (sim_report *)mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                                            -1, 0);
    uint64_t seed = from;
    unsigned missing, i;
    if (report == MAP_FAILED) return perror("sim"), 1;
    while (seed < from + count && report->failed < SIM_FAILURES_MAX) seed = sim_run_some(seed, from + count, report);
    missing = sim_print_coverage(report);
    for (i = 0; whole && i < SIM_COVERED_COUNT; i++)
        if (report->covered[i] == 0) printf("sim: %s never happened: the batch has stopped testing it\n",
                                            sim_covered_names[i]);
    if (whole && missing) report->failed++;
    printf("sim: %" PRIu64 " passed, %" PRIu64 " failed\n", report->runs, report->failed);
    return report->failed ? 1 : 0;
}

static uint64_t sim_setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    uint64_t from = sim_setting("SIM_FROM", 1), count = sim_setting("SIM_SEEDS", SIM_DEFAULT_SEEDS);
    bool verbose = false;
    int i;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0) verbose = true;
        else if (strcmp(argv[i], "--from") == 0 && i + 1 < argc) from = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--count") == 0 && i + 1 < argc) count = strtoull(argv[++i], NULL, 10);
        else if (*argv[i] >= '0' && *argv[i] <= '9') {
            static sim_report report;
            sim_catch_signals();
            sim_run_checked(strtoull(argv[i], NULL, 10), &report, verbose);
            printf("sim: 1 passed, 0 failed\n");
            return 0;
        } else {
            fprintf(stderr, "sim [SEED | -v SEED | --from N --count M]\n");
            return 2;
        }
    }
    return sim_batch(from, count, from == 1 && count >= SIM_WHOLE_SEEDS);
}
