/* sim_workers.h: workers of examples/change_feed_processor.h share the change feed of a container in one simulated
 * world: they are killed, sleep longer than their leases last and steal, their clocks go apart; ranges of both
 * containers split and merge; the service throttles and refuses, the network breaks, memory is short. At every look the
 * spans of the leases cover the key space once; in the end each change was dealt with at least once, each lease is one
 * worker's, all workers have as many, and no lease spans two ranges. */
#ifndef SIM_WORKERS_H
#define SIM_WORKERS_H

#include "sim_run.h"
#include <stddef.h>

/* The processor's own memory: counted, and short now and then. */
static struct { sim_heap heap; size_t blocks; } sim_cfp_memory;

static void *sim_cfp_calloc(size_t count, size_t size)
{
    const sim_heap *own = &sim_cfp_memory.heap;
    void *block = NULL;
    if (!sim_chance(&own->world->memory, own->failing)) block = calloc(count, size);
    else sim_cover(own->world, SIM_workers_short_of_memory);
    sim_cfp_memory.blocks += block != NULL;
    return block;
}

static void sim_cfp_free(void *block)
{
    sim_cfp_memory.blocks -= block != NULL;
    free(block);
}

#define malloc(SIZE)        sim_cfp_calloc(1, SIZE)
#define calloc(COUNT, SIZE) sim_cfp_calloc(COUNT, SIZE)
#define free                sim_cfp_free
#include "examples/change_feed_processor.h"
#undef malloc
#undef calloc
#undef free

#define SIM_WORKERS     4
#define SIM_POSTS       300                  /* items that are written */
#define SIM_LEASES      "leases"
#define SIM_LEASES_MAX  512
#define SIM_LEASES_OF_ONE 40                 /* hardly more than that are one worker's */
#define SIM_CREW_TURNS  400000u
#define SIM_CREW_WAITS_US 300000000u         /* for leases that know where to begin; then it clears up */

typedef struct sim_crew sim_crew;

/* A page that a worker has, of so many items. */
typedef struct sim_hand {
    struct sim_hand *next;
    uint64_t page_id, due_us;
    size_t   count;
    struct { unsigned post, version; } of[];
} sim_hand;

typedef struct sim_worker {
    sim_crew *crew;
    world_machine host;
    sim_heap  heap;
    aiocosmos_client *client;                /* NULL: it is not at work */
    cfp      *processor;
    char      name[24];
    int64_t   ahead_us;                      /* its clock, which counts from when it was started, */
    double    pace;                          /* and runs so fast */
    uint64_t  asleep_us;                     /* until then nobody steps it */
    uint64_t  due_us, stepped_us;
    unsigned  idle_turns;                    /* in which it had nothing to do, one soon after the other */
    bool      inside, stopping;
    sim_hand *hands;
} sim_worker;

struct sim_crew {
    sim s;
    sim_worker worker[SIM_WORKERS];
    cfp_options usual;
    unsigned  workers, born, posts, writes, writes_max;
    unsigned  written[SIM_POSTS], seen[SIM_POSTS];         /* versions: the last; the last that was dealt with */
    double    trouble, slow;
};

static sim_random *sim_crew_chance(sim_crew *crew)
{
    return &crew->s.world.readers;
}

/*------------------------------------------------------------------------------
 * Workers
 *----------------------------------------------------------------------------*/

static uint64_t sim_worker_clock(void *user_data)
{
    sim_worker *worker = (sim_worker *)((char *)user_data - offsetof(sim_worker, host));
    return (uint64_t)((double)sim_monotonic_us(user_data) * worker->pace) + (uint64_t)worker->ahead_us;
}

static void sim_forget_hands(sim_worker *worker)
{
    sim_hand *hand;
    while ((hand = worker->hands) != NULL) {
        worker->hands = hand->next;
        free(hand);
    }
}

/* As kill -9: what it has in its hands was not dealt with, and nothing is given back. */
static void sim_worker_ends(sim_worker *worker)
{
    sim_trace(&worker->crew->s.world, "worker %s ends", worker->name);
    cfp_close(worker->processor);
    worker->processor = NULL;
    sim_forget_hands(worker);
    aiocosmos_destroy(worker->client);
    if (worker->inside) return;              /* and is gone when step returns */
    worker->client = NULL;
    sim_heap_check_empty(&worker->heap);
}

/* The host deals with a page: only now what is in it counts as seen. */
static void sim_worker_deals(sim_worker *worker)
{
    sim_crew *crew = worker->crew;
    sim_hand **at = &worker->hands;
    while (*at) {
        sim_hand *hand = *at;
        size_t i;
        if (hand->due_us > crew->s.world.made.now_us) {
            at = &hand->next;
            continue;
        }
        *at = hand->next;
        for (i = 0; i < hand->count; i++)
            if (hand->of[i].version > crew->seen[hand->of[i].post]) crew->seen[hand->of[i].post] = hand->of[i].version;
        if (!cfp_done(worker->processor, hand->page_id)) sim_cover(&crew->s.world, SIM_workers_robbed);
        free(hand);
    }
}

static void sim_on_worker_page(cfp *processor, uint64_t page_id, const aiocosmos_page *page, void *user_data)
{
    sim_worker *worker = (sim_worker *)user_data;
    sim_crew *crew = worker->crew;
    sim_random *random = sim_crew_chance(crew);
    size_t count = aiocosmos_json_count(page->items);
    sim_hand *hand = (sim_hand *)malloc(sizeof *hand + count * sizeof hand->of[0]);
    aiocosmos_json item;
    char id[16];
    int64_t version;
    SIM_CHECK(&crew->s.world, hand && processor == worker->processor && worker->inside, "a page out of turn");
    memset(&item, 0, sizeof item);
    for (hand->count = 0; aiocosmos_json_next(page->items, NULL, &item); hand->count++) {
        aiocosmos_json_get_str(aiocosmos_json_at(item, "/id"), id, sizeof id);
        aiocosmos_json_get_i64(aiocosmos_json_at(item, "/n"), &version);
        hand->of[hand->count].post = (unsigned)atoi(id + 1);
        hand->of[hand->count].version = (unsigned)version;
        SIM_CHECK(&crew->s.world, hand->of[hand->count].post < crew->posts &&
                  hand->of[hand->count].version <= crew->written[hand->of[hand->count].post], "a change of %s that "
                  "nobody made", id);
    }
    hand->page_id = page_id;
    hand->due_us = crew->s.world.made.now_us;
    if (!crew->s.calm && sim_chance(random, crew->slow))
        hand->due_us += sim_magnitude(random, 1000, crew->usual.expire_ms * UINT64_C(2000));
    hand->next = worker->hands;
    worker->hands = hand;
    sim_cover(&crew->s.world, SIM_workers_page);
    if (!crew->s.calm && sim_chance(random, crew->trouble / 20)) {
        sim_cover(&crew->s.world, SIM_worker_killed_inside);
        sim_worker_ends(worker);
    } else if (sim_chance(random, 0.3)) sim_worker_deals(worker);
}

static void sim_on_cfp_failure(cfp *processor, int status, aiocosmos_str message, void *user_data)
{
    sim_worker *worker = (sim_worker *)user_data;
    sim_world *world = &worker->crew->s.world;
    (void)processor;
    sim_trace(world, "worker %s is told %d: %.*s", worker->name, status, (int)message.len, message.ptr);
    sim_cover(world, SIM_workers_failure);
}

static void sim_worker_begins(sim_worker *worker)
{
    sim_crew *crew = worker->crew;
    sim_random *random = sim_crew_chance(crew);
    bool same = *worker->name && sim_chance(random, 0.3);          /* whoever it was before, whose leases are its own */
    aiocosmos_options options;
    char why[256];
    int status;
    if (!same) snprintf(worker->name, sizeof worker->name, "w%u", ++crew->born);
    if (same) sim_cover(&crew->s.world, SIM_worker_of_the_same_name);
    memset(&options, 0, sizeof options);
    worker->ahead_us = (int64_t)sim_below(random, UINT64_C(1000000000000));
    worker->pace = 0.95 + 0.1 * (double)sim_below(random, 1000) / 1000;
    worker->host.skew_ms = (int64_t)sim_below(random, 600000) - 300000;
    worker->asleep_us = worker->due_us = 0;
    worker->stopping = false;
    options.endpoint = "http://10.0.0.1:8081/";
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.allow_http = true;
    options.default_database = SIM_DATABASE;
    options.request_timeout_ms = sim_maybe(random, 0.3, 500, 20000);
    options.connections_max = sim_maybe(random, 0.5, 1, 10);
    options.pending_max = sim_maybe(random, 0.2, 3 * SIM_LEASES_OF_ONE, 400);
    options.platform = &worker->host.platform;
    options.allocator.fn = sim_allocate;
    options.allocator.user_data = &worker->heap;
    sim_heap_init(&worker->heap, &crew->s.world, "a worker");
    status = aiocosmos_create(&options, &worker->client, why, sizeof why);
    SIM_CHECK(&crew->s.world, status == 0, "a worker: %s", why);
    crew->usual.worker = worker->name;
    crew->usual.platform = &worker->host.platform;
    crew->usual.user_data = worker;
    worker->processor = cfp_open(worker->client, &crew->usual);
    sim_trace(&crew->s.world, "worker %s begins", worker->name);
    if (worker->processor) return;           /* no memory: another time */
    aiocosmos_destroy(worker->client);
    worker->client = NULL;
}

/* Steps it as a host does that has a loop of its own. */
static void sim_worker_steps(sim_worker *worker)
{
    sim_crew *crew = worker->crew;
    uint64_t now_us = crew->s.world.made.now_us, work = crew->s.net.work;
    bool at_once = now_us < worker->stepped_us + 100 && !world_any_ready(&worker->host);
    int ran, next_ms, timeout_ms;
    sim_hand *hand;
    worker->inside = true;
    ran = aiocosmos_step(worker->client, 0);
    worker->inside = false;
    SIM_CHECK(&crew->s.world, ran >= 0 || (ran == AIOCOSMOS_E_DESTROYED && !worker->processor), "step says %d", ran);
    if (!worker->processor) {
        worker->client = NULL;
        sim_heap_check_empty(&worker->heap);
        return;
    }
    sim_worker_deals(worker);
    next_ms = cfp_step(worker->processor);
    timeout_ms = aiocosmos_next_timeout_ms(worker->client);
    if (timeout_ms >= 0 && timeout_ms < next_ms) next_ms = timeout_ms;
    worker->due_us = now_us + (uint64_t)next_ms * 1000u;
    for (hand = worker->hands; hand; hand = hand->next)
        if (hand->due_us < worker->due_us) worker->due_us = hand->due_us;
    worker->idle_turns = at_once && crew->s.net.work == work ? worker->idle_turns + 1 : 0;
    SIM_CHECK(&crew->s.world, worker->idle_turns < SIM_IDLE_TURNS, "worker %s steps and steps, and does nothing",
              worker->name);
    worker->stepped_us = crew->s.world.made.now_us;
    if (worker->stopping && cfp_held(worker->processor) == 0) {
        sim_cover(&crew->s.world, SIM_worker_stopped);
        sim_worker_ends(worker);
    }
}

/*------------------------------------------------------------------------------
 * What must be true
 *----------------------------------------------------------------------------*/

typedef struct sim_span { char min[CFP_BORDER], max[CFP_BORDER]; } sim_span;

static int sim_span_order(const void *a, const void *b)
{
    return strcmp(((const sim_span *)a)->min, ((const sim_span *)b)->min);
}

static void sim_span_text(const char *text, const char *name, char out[CFP_BORDER])
{
    const char *at = strstr(text, name);
    snprintf(out, CFP_BORDER, "%.*s", at ? (int)strcspn(at + strlen(name), "\"") : 0, at ? at + strlen(name) : "");
}

/* The leases of the store, in order. */
static size_t sim_read_leases(sim_crew *crew, sim_span spans[SIM_LEASES_MAX])
{
    const emu_container *container = sim_container(&crew->s, SIM_LEASES);
    size_t count = 0;
    uint32_t i, k;
    for (i = 0; i < container->range_count; i++) {
        const emu_list *items = &container->range[i]->items;
        for (k = 0; k < items->count && count < SIM_LEASES_MAX; k++) {
            const emu_item *item = items->at[k];
            char text[8192];
            if (!item) continue;
            snprintf(text, sizeof text, "%.*s", (int)item->text_len, emu_item_text(item));
            sim_span_text(text, "\"min\":\"", spans[count].min);
            sim_span_text(text, "\"max\":\"", spans[count++].max);
        }
    }
    qsort(spans, count, sizeof *spans, sim_span_order);
    return count;
}

/* All of them say where to go on. */
static bool sim_leases_stand(sim_crew *crew)
{
    const emu_container *container = sim_container(&crew->s, SIM_LEASES);
    uint32_t i, k, count = 0;
    for (i = 0; i < container->range_count; i++) {
        const emu_list *items = &container->range[i]->items;
        for (k = 0; k < items->count; k++) {
            const emu_item *item = items->at[k];
            if (item && !sim_has(emu_str(emu_item_text(item), item->text_len), aioc_mem_str("\"continuation\":\"")))
                return false;
            count += item != NULL;
        }
    }
    return count > 0;
}

/* They cover the key space once. Returns how many there are; 0: they are not made yet. */
static size_t sim_check_leases(sim_crew *crew)
{
    static sim_span spans[SIM_LEASES_MAX];
    size_t count = sim_read_leases(crew, spans), i;
    SIM_CHECK(&crew->s.world, count < SIM_LEASES_MAX, "leases without end");
    for (i = 0; i < count; i++)
        SIM_CHECK(&crew->s.world, strcmp(spans[i].min, i ? spans[i - 1].max : "") == 0 &&
                  (i + 1 < count || strcmp(spans[i].max, "FF") == 0), "the lease from \"%s\" to \"%s\" follows the one "
                  "to \"%s\"", spans[i].min, spans[i].max, i ? spans[i - 1].max : "");
    return count;
}

/* Why it is not over yet: NULL: it is. */
static const char *sim_crew_lacks(sim_crew *crew)
{
    static sim_span spans[SIM_LEASES_MAX];
    const emu_container *container = sim_container(&crew->s, SIM_CONTAINER);
    size_t count = sim_read_leases(crew, spans), sum = 0, most = 0, least = SIZE_MAX, i;
    uint32_t k;
    for (i = 0; i < crew->posts; i++) if (crew->seen[i] != crew->written[i]) return "changes that nobody has seen";
    for (i = 0; i < crew->workers; i++) {
        size_t held = (size_t)cfp_held(crew->worker[i].processor);
        sum += held;
        if (held > most) most = held;
        if (held < least) least = held;
        if (crew->worker[i].hands) return "pages in hands";
    }
    if (sum != count) return "leases that nobody has, or two";
    if (most > least + 1) return "workers that have more than others";
    for (i = 0; i < count; i++)
        for (k = 0; k < container->range_count; k++)
            if (cfp_compare(container->range[k]->min, spans[i].min) > 0 &&
                cfp_compare(container->range[k]->min, spans[i].max) < 0) return "leases of several ranges";
    for (i = 0; i < crew->workers; i++)
        if (cfp_behind(crew->worker[i].processor) != 0) return "a worker that does not know that it is not behind";
    return NULL;
}

/*------------------------------------------------------------------------------
 * What comes over them
 *----------------------------------------------------------------------------*/

static void sim_somebody_writes(world_net *made, void *what, uint64_t number)
{
    sim_crew *crew = (sim_crew *)what;
    sim_random *random = sim_crew_chance(crew);
    unsigned post = crew->posts;
    char key[32], body[128];
    (void)number;
    if (crew->s.calm) return;
    if (crew->usual.from == AIOCOSMOS_FROM_NOW && !crew->posts && !sim_leases_stand(crew)) {
        if (made->now_us > SIM_CREW_WAITS_US) {
            sim_fair(&crew->s);
            crew->s.core->options.ru_per_second = 0;
        }
        sim_in(&crew->s.world, 100000, sim_somebody_writes, crew, 0);
        return;
    }
    if (crew->posts == SIM_POSTS || (crew->posts && sim_chance(random, 0.3)))
        post = (unsigned)sim_below(random, crew->posts);
    else crew->posts++;
    snprintf(key, sizeof key, "[\"k%u\"]", post % 50);
    snprintf(body, sizeof body, "{\"id\":\"p%u\",\"pk\":\"k%u\",\"n\":%u}", post, post % 50, ++crew->written[post]);
    free(sim_past_weather(&crew->s, "POST", "/dbs/" SIM_DATABASE "/colls/" SIM_CONTAINER "/docs", "docs",
                          "dbs/" SIM_DATABASE "/colls/" SIM_CONTAINER, key, body));
    if (++crew->writes < crew->writes_max)
        sim_in(&crew->s.world, sim_magnitude(random, 1000, 1000000), sim_somebody_writes, crew, 0);
}

static void sim_crew_ranges(sim_crew *crew)
{
    sim_random *random = sim_crew_chance(crew);
    const char *name = sim_chance(random, 0.8) ? SIM_CONTAINER : SIM_LEASES;
    const emu_container *container = sim_container(&crew->s, name);
    bool merge = container->range_count > 8 || sim_chance(random, 0.45);
    char id[16];
    snprintf(id, sizeof id, "%s", container->range[sim_below(random, container->range_count)]->id);
    sim_trace(&crew->s.world, "range %s of %s is %s", id, name, merge ? "merged" : "split");
    if (merge) aiocosmos_emulator_merge(crew->s.core, SIM_DATABASE, name, id);
    else aiocosmos_emulator_split(crew->s.core, SIM_DATABASE, name, id);
    sim_cover(&crew->s.world, merge ? SIM_workers_merge : SIM_workers_split);
}

static void sim_crew_weather(world_net *made, void *what, uint64_t number)
{
    sim_crew *crew = (sim_crew *)what;
    sim_world *world = (sim_world *)made;
    sim_random *random = sim_crew_chance(crew);
    sim_worker *worker = &crew->worker[sim_below(random, crew->workers)];
    (void)number;
    if (crew->s.calm) return;
    sim_in(world, sim_magnitude(random, 5000, 1000000), sim_crew_weather, crew, 0);
    sim_check_leases(crew);
    switch (sim_below(random, 9)) {
    case 0: case 1: if (crew->s.plan.faults) sim_add_fault(&crew->s); break;
    case 2: sim_count_faults(&crew->s); break;
    case 3: if (crew->s.plan.splits) sim_crew_ranges(crew); break;
    case 4: if (worker->client) worker->host.skew_ms += (int64_t)sim_below(random, 600000) - 300000; break;
    case 5:
        if (crew->s.net.climate.reset <= 0) break;
        crew->s.net.down_until_us = world->made.now_us + sim_magnitude(random, 100, 3000000);
        sim_restart_server(&crew->s.net);
        break;
    case 6:
        if (!worker->client || worker->inside || !sim_chance(random, crew->trouble)) break;
        sim_cover(world, SIM_worker_killed);
        sim_worker_ends(worker);
        break;
    case 7:
        if (!worker->client || !sim_chance(random, crew->trouble)) break;
        worker->asleep_us = world->made.now_us + sim_magnitude(random, 10000, crew->usual.expire_ms * UINT64_C(3000));
        sim_cover(world, SIM_worker_asleep);
        sim_trace(world, "worker %s sleeps", worker->name);
        break;
    default:
        if (!worker->client || worker->stopping || !sim_chance(random, crew->trouble)) break;
        cfp_stop(worker->processor);
        worker->stopping = true;
        sim_trace(world, "worker %s is stopped", worker->name);
    }
}

/*------------------------------------------------------------------------------
 * A run
 *----------------------------------------------------------------------------*/

static void sim_crew_turn(sim_crew *crew)
{
    sim_world *world = &crew->s.world;
    sim_random *random = sim_crew_chance(crew);
    world_machine *hosts[SIM_WORKERS];
    uint64_t until_us = world->made.now_us + 1000000;
    unsigned i, count = 0;
    for (i = 0; i < crew->workers; i++) {
        sim_worker *worker = &crew->worker[i];
        if (!worker->client && (crew->s.calm || sim_chance(random, 0.02))) sim_worker_begins(worker);
        if (crew->s.calm) worker->asleep_us = 0;
        if (!worker->client) continue;
        if (worker->asleep_us > world->made.now_us) {
            if (worker->asleep_us < until_us) until_us = worker->asleep_us;
            continue;
        }
        hosts[count++] = &worker->host;
        if (worker->due_us < until_us) until_us = worker->due_us;
    }
    sim_pass_time(world, hosts, count, until_us);
    for (i = 0; i < crew->workers; i++) {
        sim_worker *worker = &crew->worker[i];
        if (!worker->client || worker->asleep_us > world->made.now_us) continue;
        if (world_any_ready(&worker->host) || worker->due_us <= world->made.now_us || sim_chance(random, 0.1))
            sim_worker_steps(worker);
    }
}

static void sim_crew_furnish(sim_crew *crew)
{
    sim_clerk clerk;
    aiocosmos_request request;
    sim_clerk_open(&clerk, &crew->s);
    memset(&request, 0, sizeof request);
    request.kind = AIOCOSMOS_CREATE_DATABASE;
    SIM_CHECK(&crew->s.world, sim_clerk_ask(&clerk, &request, NULL) == 0, "no database");
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.partition_key_paths[0] = "/pk";
    request.container = SIM_CONTAINER;
    SIM_CHECK(&crew->s.world, sim_clerk_ask(&clerk, &request, NULL) == 0, "no container");
    request.partition_key_paths[0] = "/processor";
    request.container = SIM_LEASES;
    SIM_CHECK(&crew->s.world, sim_clerk_ask(&clerk, &request, NULL) == 0, "no container for leases");
    sim_clerk_close(&clerk);
}

static void sim_crew_choose(sim_crew *crew)
{
    sim_random *random = sim_crew_chance(crew);
    cfp_options *usual = &crew->usual;
    crew->workers = (unsigned)sim_between(random, 1, SIM_WORKERS);
    crew->writes_max = (unsigned)sim_magnitude(random, 20, 600);
    crew->trouble = sim_chance(random, 0.2) ? 0 : 0.3;
    crew->slow = sim_chance(random, 0.5) ? 0.3 : 0;
    crew->s.plan.faults = sim_chance(random, 0.7);
    crew->s.plan.splits = sim_chance(random, 0.7);
    crew->s.plan.ru_per_second = sim_chance(random, 0.2) ? (double)sim_magnitude(random, 100, 2000) : 0;
    sim_cfp_memory.heap.failing = sim_chance(random, 0.3) ? 1.0 / (double)sim_magnitude(random, 20, 500) : 0;
    usual->container = SIM_CONTAINER;
    usual->lease_container = SIM_LEASES;
    usual->name = "crew";
    usual->page_items_max = sim_maybe(random, 0.7, 1, 20);
    usual->leases_min = sim_maybe(random, 0.5, 1, 12);
    usual->poll_ms = (uint32_t)sim_magnitude(random, 5, 1000);
    usual->checkpoint_ms = (uint32_t)sim_magnitude(random, 5, 1000);
    usual->expire_ms = (uint32_t)sim_magnitude(random, 500, 20000);
    usual->renew_ms = (uint32_t)sim_between(random, usual->expire_ms / 20, usual->expire_ms / 2);
    usual->ranges_ms = (uint32_t)sim_magnitude(random, 100, 10000);
    if (sim_chance(random, 0.3)) usual->from = AIOCOSMOS_FROM_NOW;
    usual->changes = sim_on_worker_page;
    usual->failed = sim_on_cfp_failure;
}

static void sim_crew_open(sim_crew *crew, uint64_t seed, sim_report *report, bool verbose)
{
    sim *s = &crew->s;
    unsigned i;
    memset(crew, 0, sizeof *crew);
    memset(&sim_cfp_memory, 0, sizeof sim_cfp_memory);
    sim_world_open(&s->world, seed, report, verbose);
    sim_heap_init(&sim_cfp_memory.heap, &s->world, "the processor");
    sim_core_open(s, (int)sim_between(sim_crew_chance(crew), 1, 4));
    sim_crew_furnish(crew);
    sim_crew_choose(crew);
    s->core->options.ru_per_second = s->plan.ru_per_second;
    sim_choose_climate(s);
    for (i = 0; i < crew->workers; i++) {
        crew->worker[i].crew = crew;
        sim_host_init(&crew->worker[i].host, &s->net);
        crew->worker[i].host.platform.monotonic_us = sim_worker_clock;
    }
    sim_in(&s->world, 1000, sim_somebody_writes, crew, 0);
    sim_in(&s->world, 1000, sim_crew_weather, crew, 0);
}

static void sim_crew_calms_down(sim_crew *crew)
{
    sim *s = &crew->s;
    const cfp_options *usual = &crew->usual;
    uint64_t turns = 0, until_us = s->world.made.now_us + 60000000 + (usual->expire_ms + usual->ranges_ms +
                                   usual->poll_ms) * UINT64_C(30000);
    const char *lacks = "";
    sim_fair(s);
    s->core->options.ru_per_second = 0;
    sim_cfp_memory.heap.failing = 0;
    s->calm = true;
    sim_trace(&s->world, "calm");
    while (lacks) {
        SIM_CHECK(&s->world, s->world.made.now_us < until_us && ++turns < SIM_CREW_TURNS, "there are still %s", lacks);
        sim_crew_turn(crew);
        if (turns % 20 == 0) lacks = sim_crew_lacks(crew);
    }
    SIM_CHECK(&s->world, sim_check_leases(crew) > 0, "no leases");
    sim_cover(&s->world, SIM_workers_share);
}

static uint64_t sim_crew_run(uint64_t seed, sim_report *report, bool verbose)
{
    static sim_crew crew;
    sim_world *world = &crew.s.world;
    uint64_t story, turns = 0;
    unsigned i;
    sim_crew_open(&crew, seed, report, verbose);
    while (crew.writes < crew.writes_max) {
        SIM_CHECK(world, ++turns < SIM_CREW_TURNS, "the workers' run does not end");
        sim_crew_turn(&crew);
    }
    sim_crew_calms_down(&crew);
    for (i = 0; i < crew.workers; i++) {
        sim_worker_ends(&crew.worker[i]);
        sim_host_free(&crew.worker[i].host);
    }
    SIM_CHECK(world, sim_cfp_memory.blocks == 0, "the processors leave %zu blocks", sim_cfp_memory.blocks);
    report->events += world->made.events_run;
    report->simulated_ms += world->made.now_us / 1000;
    story = world->story;
    sim_close(&crew.s);
    return story;
}

#endif
