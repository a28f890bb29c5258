/* sim_world.h: what a simulation stands on: chance, time, memory that is counted, what was covered, and how a
 * run fails.
 *
 * A seed decides everything. Each part of a simulation draws from a stream of chance of its own, so that a further draw
 * in one does not make every other seed a different story. Nothing here looks at a real clock, at an address in memory
 * or at anything that outlives a run. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#define EMU_PRIVATE extern
#include "tools/emulator/fault.h"        /* the library too, as the emulator's core has it */
#include "heap.h"

__attribute__((noreturn)) static void sim_fail_world(const char *file, int line, const char *what);
#define WORLD_CHECK(CONDITION) ((CONDITION) ? (void)0 : sim_fail_world(__FILE__, __LINE__, #CONDITION))
#include "world.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

/*------------------------------------------------------------------------------
 * Chance
 *----------------------------------------------------------------------------*/

typedef struct sim_random { uint64_t state; } sim_random;

/* SplitMix64. */
static uint64_t sim_next(sim_random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t sim_below(sim_random *random, uint64_t limit)
{
    return sim_next(random) % limit;
}

/* Both ends included. */
static uint64_t sim_between(sim_random *random, uint64_t low, uint64_t high)
{
    return low + sim_below(random, high - low + 1);
}

static bool sim_chance(sim_random *random, double probability)
{
    return (double)(sim_next(random) >> 11) * 0x1p-53 < probability;
}

/* Every order of magnitude is as likely as the others. */
static uint64_t sim_magnitude(sim_random *random, uint64_t low, uint64_t high)
{
    double at = (double)(sim_next(random) >> 11) * 0x1p-53;
    return (uint64_t)((double)low * exp(at * log((double)high / (double)low)));
}

/*------------------------------------------------------------------------------
 * What really happened, counted over a batch
 *----------------------------------------------------------------------------*/

/* A name each: what a batch that never did it has stopped testing. */
#define SIM_COVERAGE(X) \
    X(create_done) X(upsert_done) X(replace_done) X(patch_done) X(delete_done) X(read_done) X(read_not_modified) \
    X(metadata_done) X(conflict_409) X(missing_404) X(precondition_412) X(write_if_match) X(order_key_waited) \
    X(batch_sent) X(bulk_done) X(bulk_stopped) X(bulk_item_done) X(bulk_item_failed) X(bulk_waited_for_host) \
    X(bulk_key_of_body) X(bulk_key_unknown) X(bulk_of_distant_service) \
    X(query_page) X(query_complete) X(query_resumed) X(query_page_failed) X(query_closed_early) \
    X(fate_not_sent) X(fate_maybe_and_applied) X(fate_maybe_and_not_applied) X(fate_answered_failure) \
    X(applied_twice_by_leave) X(cancel_outside) X(cancel_inside) X(cancelled_after_success) X(cancelled_in_doubt) \
    X(destroy_outside) X(destroy_inside) X(destroyed_with_pending) X(submit_refused_full) X(submit_refused_shutdown) \
    X(submit_in_callback) X(timed_out) X(session_token_checked) X(session_token_of_parent) X(session_token_of_child) \
    X(session_token_of_failure) X(session_token_handed_over) X(abandoned) X(host_drains) X(recovered) \
    X(query_of_changing_items) X(merge) X(shuffle) X(stepped_unasked) X(deadline_awaited) \
    X(allocation_failed) X(create_failed_for_memory) X(memory_limited) X(budget_spent) \
    X(connect_refused) X(connect_unreachable) X(connect_out_of_sockets) X(connect_ignored) X(connect_at_once) \
    X(send_cut) X(send_blocked) X(receive_cut) X(answer_in_pieces) X(answer_delayed) X(request_delayed) \
    X(reset_before_request) X(reset_amid_request) X(reset_after_request) X(reset_amid_answer) \
    X(half_open_up) X(half_open_down) X(server_forgot_connection) X(idle_closed) X(request_met_idle_close) \
    X(server_restarted) X(server_down) X(network_stalled) X(host_stalled) X(clock_jumped) X(clock_skewed) X(woken) \
    X(fault_429) X(fault_449) X(fault_410) X(fault_503) X(fault_404_1002) X(fault_403) X(fault_unclear) \
    X(fault_lost_answer) X(fault_reset) X(fault_close) X(fault_hang) X(fault_truncate) X(fault_garble) \
    X(fault_chunked) X(fault_trickle) X(fault_end) X(fault_delay) X(fault_html) X(throttled_by_ru) X(split) \
    X(retries_used_up) X(bulk_throttled) \
    X(name_by_hook) X(name_by_hook_late) X(name_by_hook_failed) X(name_by_dns) X(name_dns_lost) X(name_dns_failed) \
    X(name_dns_truncated) X(token_late) X(token_refused) X(host_steps) X(host_waits_on_descriptor) X(host_polls) \
    X(host_draws_frames) X(two_clients) X(proxy_answered_html) X(proxy_answered_json) X(failed_over) \
    X(request_met_failover) X(hung_up_behind_answer) X(entropy_failed) X(token_of_the_future) X(black_hole) \
    X(read_left_black_hole) X(metadata_silent) X(merge_enabled) X(query_in_order) X(query_of_big_pages) \
    X(query_waited_for_memory) X(container_made_anew) \
    X(many_done) X(many_failed) X(many_found_some) X(changes_page) X(changes_all_seen) X(changes_resumed) \
    X(changes_page_failed) X(query_of_rows) X(query_summed_up) X(query_of_hierarchical_keys) X(query_of_listed_keys) \
    X(item_expired) \
    X(case_ordered) X(case_ordered_by_several) X(case_descending) X(case_limited) X(case_distinct) \
    X(case_distinct_ordered) X(case_aggregates) X(case_groups) X(case_distinct_count) X(case_vector) \
    X(case_vector_distinct) X(case_vector_joined) X(case_joined) X(case_of_part) X(case_of_keys) X(case_of_many_keys) \
    X(case_of_thousand) X(case_of_several_pages) X(case_without_rows) X(case_checked) X(case_page) X(case_page_empty) \
    X(case_page_without_token) X(case_page_failed) X(case_page_without_memory) X(case_out_of_memory) \
    X(case_failed_and_passed) X(case_opened_anew) X(case_resumed) X(case_resumed_elsewhere) \
    X(case_written_meanwhile) X(collection_made_anew) \
    X(trade_done) X(trade_undone) X(trade_failed) X(trade_in_doubt) X(trade_carried_out) X(trade_rolled_back) \
    X(throughput_read) X(throughput_replaced) X(throughput_failed) \
    X(workers_page) X(workers_failure) X(workers_robbed) X(workers_split) X(workers_merge) X(workers_share) \
    X(workers_short_of_memory) X(worker_killed) X(worker_killed_inside) X(worker_stopped) X(worker_asleep) \
    X(worker_of_the_same_name)

typedef enum sim_covered {
#define SIM_NAME(name) SIM_##name,
    SIM_COVERAGE(SIM_NAME)
#undef SIM_NAME
    SIM_COVERED_COUNT
} sim_covered;

static const char *const sim_covered_names[] = {
#define SIM_NAME(name) #name,
    SIM_COVERAGE(SIM_NAME)
#undef SIM_NAME
};

/* Shared by the process that runs a batch and those that run its seeds. */
typedef struct sim_report {
    uint64_t covered[SIM_COVERED_COUNT];
    uint64_t runs, operations, requests, events, simulated_ms;
    uint64_t seed;                       /* at work now */
    uint64_t failed;
    bool     done;                       /* with all of its seeds */
} sim_report;

/*------------------------------------------------------------------------------
 * The world
 *----------------------------------------------------------------------------*/

typedef struct sim_world sim_world;

/* A heap that knows what it owes. */
typedef struct sim_heap {
    sim_world *world;
    const char *whose;
    heap_state own;
    size_t   bytes_promised;             /* to hold more is a failure; 0: no limit */
    double   failing;                    /* chance that an allocation gets nothing */
} sim_heap;

struct sim_world {
    world_net made;                      /* time, events, sockets; first, so that who has it has all of this */
    uint64_t seed;
    bool     verbose;
    sim_report *report;
    uint64_t stalled_us;                 /* of that, while the host did nothing: nobody can be in time then */
    uint64_t story;                      /* hash of all that was traced */
    sim_random config, net, weather, work, host, memory, trouble, readers, queries, trades;
    sim_heap server_heap;
    struct sim_net *network;
};

/* SIGPROF when that much CPU time is spent: how busy the machine is does not count. 0: never. */
static void sim_limit_seconds(unsigned seconds)
{
    struct itimerval limit;
    memset(&limit, 0, sizeof limit);
    limit.it_value.tv_sec = (time_t)seconds;
    setitimer(ITIMER_PROF, &limit, NULL);
}

/* The one that runs: for the functions that a crash calls. */
static sim_world *sim_running;

static void sim_cover(sim_world *world, sim_covered what)
{
    world->report->covered[what]++;
}

/* Ends the process: what is left of a run that failed cannot be trusted, not even to be freed. */
__attribute__((noreturn, format(printf, 4, 5)))
static void sim_fail(const sim_world *world, const char *file, int line, const char *format, ...)
{
    va_list values;
    printf("%s:%d: seed %" PRIu64 " at %" PRIu64 " us: ", file, line, world->seed, world->made.now_us);
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    printf("\n  replay: %s/tests/sim -v %" PRIu64 "\n", BUILD_DIR, world->seed);
    fflush(stdout);
    _exit(1);
}

#define SIM_CHECK(WORLD, CONDITION, ...) \
    ((CONDITION) ? (void)0 : sim_fail((WORLD), __FILE__, __LINE__, __VA_ARGS__))

/* One line of the story: shown with -v, and always part of its hash, by which two runs of one seed are compared. */
__attribute__((format(printf, 2, 3)))
static void sim_trace(sim_world *world, const char *format, ...)
{
    char line[512];
    va_list values;
    const char *at = line;
    snprintf(line, sizeof line, "%12" PRIu64 "  ", world->made.now_us);
    va_start(values, format);
    vsnprintf(line + 14, sizeof line - 14, format, values);
    va_end(values);
    for (; *at; at++) world->story = (world->story ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    if (world->verbose) puts(line);
}

__attribute__((noreturn))
static void sim_fail_world(const char *file, int line, const char *what)
{
    sim_fail(sim_running, file, line, "%s", what);
}

static void sim_in(sim_world *world, uint64_t us, void (*run)(world_net *, void *, uint64_t), void *what,
                   uint64_t number)
{
    world_at(&world->made, world->made.now_us + us, run, what, number);
}

/* Computing takes time. */
static void sim_spend(sim_world *world, uint64_t us)
{
    world->made.now_us += us;
}

/*------------------------------------------------------------------------------
 * Memory
 *----------------------------------------------------------------------------*/

static void *sim_allocate(void *ptr, size_t old_size, size_t new_size, void *user)
{
    sim_heap *self = (sim_heap *)user;
    unsigned long failed = self->own.failed;
    void *block;
    if (new_size && self->failing > 0 && sim_chance(&self->world->memory, self->failing)) heap_fail(&self->own, 1, 1);
    block = heap_fn(ptr, old_size, new_size, &self->own);
    if (self->own.failed > failed) sim_cover(self->world, SIM_allocation_failed);
    SIM_CHECK(self->world, !self->bytes_promised || self->own.bytes <= self->bytes_promised,
              "%s holds %zu bytes, of at most %zu", self->whose, self->own.bytes, self->bytes_promised);
    return block;
}

static void sim_heap_init(sim_heap *self, sim_world *world, const char *whose)
{
    memset(self, 0, sizeof *self);
    self->world = world;
    self->whose = whose;
}

static void sim_heap_check_empty(const sim_heap *self)
{
    SIM_CHECK(self->world, self->own.blocks == 0, "%s leaves %zu blocks of %zu bytes", self->whose,
              self->own.blocks, self->own.bytes);
}

/*------------------------------------------------------------------------------
 * Birth and death
 *----------------------------------------------------------------------------*/

static sim_random sim_stream(uint64_t seed, uint64_t number)
{
    sim_random random;
    random.state = seed * UINT64_C(0xd1342543de82ef95) + number * UINT64_C(0xaf251af3b0f025b5);
    random.state = sim_next(&random);
    return random;
}

static void sim_world_open(sim_world *world, uint64_t seed, sim_report *report, bool verbose)
{
    memset(world, 0, sizeof *world);
    world_begin(&world->made);
    world->seed = seed;
    world->verbose = verbose;
    world->report = report;
    world->story = UINT64_C(0xcbf29ce484222325);
    world->config = sim_stream(seed, 1);
    world->net = sim_stream(seed, 2);
    world->weather = sim_stream(seed, 3);
    world->work = sim_stream(seed, 4);
    world->host = sim_stream(seed, 5);
    world->memory = sim_stream(seed, 6);
    world->trouble = sim_stream(seed, 7);
    world->readers = sim_stream(seed, 8);
    world->queries = sim_stream(seed, 9);
    world->trades = sim_stream(seed, 10);
    sim_heap_init(&world->server_heap, world, "the emulator");
    sim_running = world;
}

static void sim_world_close(sim_world *world)
{
    world_begin(&world->made);
    sim_running = NULL;
}

#endif
