/* sim_run.h: one run: what its seed makes of network, server, clients and hosts; the trouble that comes over them while
 * they work; and the reckoning at the end. */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "sim_work.h"
#include "pool_awake.h"

#define SIM_TURNS_MAX   2000000u
#define SIM_IDLE_TURNS  5000u            /* without anything done: a busy loop */
#define SIM_WORK_US     1200000000u      /* then calm comes, whatever is left to do */
#define SIM_CALM_US     200000000u       /* in calm everything ends within this */
#define SIM_TOKEN       "eyJhbGciOiJub25lIn0.c2lt."

enum { SIM_STEPS, SIM_DESCRIPTOR, SIM_POLLS, SIM_FRAMES, SIM_MANNERS };

/*------------------------------------------------------------------------------
 * Names and tokens: hooks that answer at once, late, or badly
 *----------------------------------------------------------------------------*/

typedef struct sim_question {
    struct sim_question *next;
    sim_client *client;
    unsigned born;
    uint64_t id, due_us;
} sim_question;

static sim_question *sim_questions;      /* of the run */

static void sim_answer_name(sim_client *client, uint64_t question)
{
    sim_random *random = &client->sim->world.net;
    aiocosmos_address address[3];
    size_t count = (size_t)sim_between(random, 1, 3), i;
    memset(address, 0, sizeof address);
    if (sim_chance(random, 0.05)) {
        count = 0;
        sim_cover(&client->sim->world, SIM_name_by_hook_failed);
    }
    for (i = 0; i < count; i++) {
        static const uint8_t last[] = { 1, 2, 7, 9 };
        address[i].family = 4;
        address[i].ip[0] = 10;
        address[i].ip[3] = i + 1 == count ? 1 : last[sim_below(random, sizeof last)];
        if (address[i].ip[3] < 7) address[i].ip[3] = (uint8_t)(address[i].ip[3] + 2 * client->sim->net.named_site);
    }
    sim_cover(&client->sim->world, SIM_name_by_hook);
    aiocosmos_resolved(client->client, question, address, count, (uint32_t)sim_between(random, 0, 20));
}

static void sim_resolve(aiocosmos_client *handle, const char *host, uint64_t id, void *user_data)
{
    sim_client *client = (sim_client *)user_data;
    sim *s = client->sim;
    sim_question *question;
    SIM_CHECK(&s->world, handle == client->client && strcmp(host, SIM_HOST_NAME) == 0, "asked for %s", host);
    s->net.work++;
    if (sim_chance(&s->world.net, 0.5)) {
        sim_answer_name(client, id);
        return;
    }
    question = (sim_question *)calloc(1, sizeof *question);
    if (!question) abort();
    question->client = client;
    question->born = client->born;
    question->id = id;
    question->due_us = s->world.made.now_us + sim_magnitude(&s->world.net, 100, 3000000);
    question->next = sim_questions;
    sim_questions = question;
    sim_cover(&s->world, SIM_name_by_hook_late);
}

static void sim_tend_names(sim_client *client)
{
    sim_question **at = &sim_questions;
    while (*at) {
        sim_question *question = *at;
        bool mine = question->client == client;
        if (mine && question->born == client->born && question->due_us <= client->sim->world.made.now_us)
            sim_answer_name(client, question->id);
        else if (!mine || question->born == client->born) {
            at = &question->next;
            continue;
        }
        *at = question->next;
        free(question);
    }
}

static void sim_give_token(sim_client *client)
{
    sim *s = client->sim;
    bool refused = sim_chance(&s->world.net, 0.05);
    if (refused) sim_cover(&s->world, SIM_token_refused);
    client->token_asked = false;
    aiocosmos_set_token(client->client, "", refused ? NULL : SIM_TOKEN, (uint32_t)sim_between(&s->world.net, 1, 20));
}

static void sim_ask_token(aiocosmos_client *handle, const char *link, const char *claims, void *user_data)
{
    sim_client *client = (sim_client *)user_data;
    sim *s = client->sim;
    (void)handle;
    (void)link;
    (void)claims;
    s->net.work++;
    if (sim_chance(&s->world.net, 0.5)) {
        sim_give_token(client);
        return;
    }
    sim_cover(&s->world, SIM_token_late);
    client->token_asked = true;
    client->token_due_us = s->world.made.now_us + sim_magnitude(&s->world.net, 100, 500000);
}

/*------------------------------------------------------------------------------
 * Clients
 *----------------------------------------------------------------------------*/

static void sim_on_failure(aiocosmos_client *handle, const aiocosmos_result *result, void *user_data)
{
    sim_client *client = (sim_client *)user_data;
    SIM_CHECK(&client->sim->world, handle == client->client && client->inside, "on_failure outside of step");
    client->failure_seen = result->op.id;
    client->failure_fresh = true;
}

static void sim_on_log(int level, const char *message, uint64_t op_id, void *user_data)
{
    sim_client *client = (sim_client *)user_data;
    sim_trace(&client->sim->world, "client %u says %d of %" PRIx64 ": %s", client->number, level, op_id, message);
    sim_on_attempt(client, message, op_id);
}

static uint32_t sim_maybe(sim_random *random, double chance, uint64_t low, uint64_t high)
{
    return sim_chance(random, chance) ? (uint32_t)sim_magnitude(random, low, high) : 0;
}

static void sim_choose_options(sim_client *client)
{
    sim *s = client->sim;
    sim_random *random = &s->world.config;
    aiocosmos_options *options = &client->options;
    memset(options, 0, sizeof *options);
    options->default_database = SIM_DATABASE;
    options->allow_http = true;
    switch (sim_below(random, 5)) {
    case 0: options->endpoint = "http://10.0.0.1:8081/"; break;
    case 1: options->endpoint = "http://localhost:8081"; break;
    case 2: options->endpoint = "http://[fd00::1]:8081/"; break;
    case 3:
        options->resolve_fn = sim_resolve;
        options->resolve_user_data = client;     /* and no break: the same name */
        /* fallthrough */
    default: options->endpoint = "http://" SIM_HOST_NAME ":8081/"; break;
    }
    if (s->plan.fails_over) options->endpoint = "http://" SIM_HOST_NAME ":8081/";
    /* On a loopback address an answer without the service's headers may be the emulator's. */
    if (s->plan.proxies && strstr(options->endpoint, "localhost")) options->endpoint = "http://10.0.0.2:8081/";
    if (s->net.climate.no_ipv6 && strchr(options->endpoint, '[')) options->endpoint = "http://10.0.0.2:8081/";
    if (sim_chance(random, 0.15)) {
        options->token_fn = sim_ask_token;
        options->token_user_data = client;
    } else {
        options->key = AIOCOSMOS_EMULATOR_KEY;
    }
    options->retry_writes = sim_chance(random, 0.2);
    options->no_session = sim_chance(random, 0.1);
    options->retries_max = sim_chance(random, 0.1) ? AIOCOSMOS_OFF : sim_maybe(random, 0.3, 1, 30);
    options->throttle_wait_ms = sim_chance(random, 0.1) ? AIOCOSMOS_OFF : sim_maybe(random, 0.3, 10, 60000);
    options->request_timeout_ms = sim_maybe(random, 0.5, 100, 40000);
    options->connect_timeout_ms = sim_maybe(random, 0.5, 50, 10000);
    options->idle_timeout_ms = sim_maybe(random, 0.5, 20, 60000);
    options->connections_max = sim_maybe(random, 0.7, 1, 40);
    options->pending_max = sim_maybe(random, 0.5, 2, 200);
    options->response_bytes_max = sim_maybe(random, 0.1, 2000, 100000);
    options->step_budget_us = sim_maybe(random, 0.3, 1, 500);
    if (sim_chance(random, 0.15)) {
        options->memory_max = (size_t)sim_magnitude(random, 200000, 1000000);
        sim_cover(&s->world, SIM_memory_limited);
    }
    if (options->step_budget_us) sim_cover(&s->world, SIM_budget_spent);
    options->on_failure = sim_on_failure;
    options->on_failure_user_data = client;
    options->platform = &client->host.platform;
    options->allocator.fn = sim_allocate;
    options->allocator.user_data = &client->heap;
    options->logger.fn = sim_on_log;
    options->logger.user_data = client;
    options->logger.level_max = 4;
    if (s->plan.trial == SIM_NO_TRIAL) return;
    options->endpoint = "http://10.0.0.1:8081/";
    options->resolve_fn = NULL;
    options->token_fn = NULL;
    options->key = AIOCOSMOS_EMULATOR_KEY;
    options->connections_max = 200;
    options->request_timeout_ms = options->connect_timeout_ms = options->response_bytes_max = 0;
    options->memory_max = 0;
    if (s->plan.trial == SIM_READERS)
        options->memory_max = (size_t)sim_magnitude(&s->world.trouble, SIM_READERS_LOW, SIM_READERS_HIGH) *
                              (s->plan.numbers ? SIM_NUMBERS_GROW : 1);
    if (s->plan.trial == SIM_DISTANT) options->step_budget_us = 0;
    options->retries_max = 0;
}

static void sim_client_born(sim_client *client)
{
    sim *s = client->sim;
    sim_random *random = &s->world.config;
    char why[256];
    int status;
    sim_heap_init(&client->heap, &s->world, "a client");
    sim_choose_options(client);
    client->manner = s->plan.clients > 1 ? (unsigned)sim_between(random, SIM_DESCRIPTOR, SIM_POLLS)
                                         : (unsigned)sim_below(random, SIM_MANNERS);
    client->by_frames = client->manner == SIM_FRAMES;
    client->host.skew_ms = 0;
    client->host.tells_hang_ups = sim_chance(&s->world.trouble, 0.5);
    if (sim_chance(random, 0.3) && s->plan.trial != SIM_DISTANT) {
        client->host.skew_ms = (int64_t)sim_below(random, 14400000) - 7200000;
        sim_cover(&s->world, SIM_clock_skewed);
    }
    if (s->plan.breaks_memory) {
        if (sim_chance(random, 0.5)) heap_fail(&client->heap.own, sim_magnitude(random, 1, 1000), 1);
        else client->heap.failing = 1.0 / (double)sim_magnitude(random, 5, 500);
    }
    client->born++;
    client->doomed = client->failure_fresh = false;
    client->owed = 0;
    client->pages = 0;
    client->idle_turns = 0;
    client->full_since_us = 0;
    client->next_act_us = client->next_frame_us = s->world.made.now_us;
    client->token_asked = false;
    memset(client->order_last, 0, sizeof client->order_last);
    memset(client->tries, 0, sizeof client->tries);
    memset(client->lsn, 0xFF, sizeof client->lsn);
    client->session_checked = !client->options.no_session && !s->plan.garbles && !s->plan.breaks_memory &&
                              !client->options.memory_max;
    status = aiocosmos_create(&client->options, &client->client, why, sizeof why);
    sim_trace(&s->world, "client %u: created with %d: %s, %s, manner %u, pending %u, connections %u, budget %u",
              client->number, status, why, client->options.endpoint, client->manner,
              (unsigned)client->options.pending_max, (unsigned)client->options.connections_max,
              (unsigned)client->options.step_budget_us);
    if (status) {
        SIM_CHECK(&s->world, status == AIOCOSMOS_E_NOMEM && client->heap.own.failed && !client->client && *why,
                  "a client cannot be made: %d %s", status, why);
        sim_heap_check_empty(&client->heap);
        sim_cover(&s->world, SIM_create_failed_for_memory);
        return;
    }
    if (s->plan.breaks_memory && sim_chance(&s->world.queries, 0.5)) client->client->memory.kept_max = 0;
    if (client->options.memory_max)
        client->heap.bytes_promised = client->options.memory_max + sizeof(aiocosmos_client);
}

/* The library says that a client is gone: nothing may be left of it. */
static void sim_client_gone(sim_client *client)
{
    sim *s = client->sim;
    client->client = NULL;
    client->inside = false;
    SIM_CHECK(&s->world, client->owed == 0, "client %u is destroyed and owes %u callbacks", client->number,
              client->owed);
    SIM_CHECK(&s->world, client->host.count == 0 && !client->host.poller_open,
              "client %u is destroyed and holds %zu sockets", client->number, client->host.count);
    sim_heap_check_empty(&client->heap);
}

/* As in a forked child: nobody is called back. */
static void sim_abandon(sim_client *client)
{
    sim *s = client->sim;
    sim_trace(&s->world, "client %u: abandoned, %u are owed", client->number, client->owed);
    sim_cover(&s->world, SIM_abandoned);
    aiocosmos_abandon(client->client);
    sim_ops_abandoned(client);
    sim_client_gone(client);
}

static void sim_destroy(sim_client *client)
{
    sim *s = client->sim;
    sim_trace(&s->world, "client %u: destroyed, %u are owed", client->number, client->owed);
    if (client->owed) sim_cover(&s->world, SIM_destroyed_with_pending);
    client->inside = true;
    aiocosmos_destroy(client->client);
    sim_client_gone(client);
}

/*------------------------------------------------------------------------------
 * Weather: trouble that comes and goes
 *----------------------------------------------------------------------------*/

/* Faults that are no lies: what says that it was not done was not. */
static const char *const sim_fault_rules[] = {
    "status=429,retry_after_ms=%u", "status=429,sub_status=3200", "status=449", "status=410,sub_status=1002",
    "status=410,sub_status=1007", "status=410,sub_status=1008", "status=410,sub_status=1000", "status=503",
    "status=404,sub_status=1002,kind=read_item", "status=404,sub_status=1002,kind=query", "status=404,sub_status=1013",
    "status=404,sub_status=1003", "status=403,sub_status=3", "status=403,sub_status=1008", "status=408",
    "status=408,when=after", "status=500", "status=500,when=after", "status=502,when=after", "status=504,when=after",
    "action=reset,when=before", "action=reset,when=after", "action=close,when=before", "action=close,when=after",
    "action=hang,when=before", "action=hang,when=after", "action=truncate,at=%u", "action=chunked", "action=trickle",
    "action=end", "delay_ms=%u", "action=html", "action=html,status=502,when=after", "action=truncate,at=%u,delay_ms=9",
    "action=big,at=200000,status=500", "action=garble,at=%u"
};

/* What the rules did, before they are forgotten. */
static void sim_count_faults(sim *s)
{
    static const sim_covered by_action[] = {
        SIM_COVERED_COUNT, SIM_COVERED_COUNT, SIM_fault_html, SIM_proxy_answered_json, SIM_fault_unclear,
        SIM_fault_reset, SIM_fault_close, SIM_fault_hang, SIM_fault_truncate, SIM_fault_garble, SIM_fault_chunked,
        SIM_fault_trickle, SIM_fault_end, SIM_fault_delay
    };
    const emu_fault *fault;
    uint64_t *covered = s->world.report->covered;
    for (fault = s->core->faults; fault; fault = fault->next) {
        sim_covered what = by_action[fault->action];
        if (fault->action == EMU_FAULT_STATUS) {
            what = fault->status == 429 ? SIM_fault_429 : fault->status == 449 ? SIM_fault_449
                 : fault->status == 410 ? SIM_fault_410 : fault->status == 503 ? SIM_fault_503
                 : fault->status == 404 ? SIM_fault_404_1002 : fault->status == 403 ? SIM_fault_403 : SIM_fault_unclear;
        }
        covered[what] += fault->hits;
        if (fault->after) covered[SIM_fault_lost_answer] += fault->hits;
        if (fault->action == EMU_FAULT_HTML && *fault->path) covered[SIM_proxy_answered_html] += fault->hits;
    }
    aiocosmos_emulator_clear_faults(s->core);
}

static void sim_add_fault(sim *s)
{
    sim_random *random = &s->world.weather;
    size_t count = sizeof sim_fault_rules / sizeof *sim_fault_rules - (s->plan.garbles ? 0 : 1);
    char rule[256], why[200];
    int len = snprintf(rule, sizeof rule, sim_fault_rules[sim_below(random, count)],
                       (unsigned)sim_magnitude(random, 1, 3000));
    len += snprintf(rule + len, sizeof rule - (size_t)len, ",probability=%s,seed=%u,skip=%u,count=%u",
                    sim_chance(random, 0.3) ? "1" : sim_chance(random, 0.5) ? "0.3" : "0.05",
                    (unsigned)sim_below(random, 1000000), (unsigned)sim_below(random, 3),
                    (unsigned)sim_magnitude(random, 1, 60));
    sim_trace(&s->world, "weather: %s", rule);
    SIM_CHECK(&s->world, aiocosmos_emulator_fault(s->core, rule, why, sizeof why), "fault %s: %s", rule, why);
}

/* A proxy on the way, a load balancer or a captive portal answers, before or after the request has reached the server:
 * what it says is no word of the service's. */
static void sim_add_proxy(sim *s)
{
    static const unsigned statuses[] = { 404, 409, 412, 429, 449, 410, 500, 502, 503, 504 };
    sim_random *random = &s->world.trouble;
    char rule[200], why[200];
    snprintf(rule, sizeof rule, "action=%s,status=%u,when=%s,probability=%s,seed=%u,count=%u,path=/docs",
             sim_chance(random, 0.5) ? "html" : "json", statuses[sim_below(random, sizeof statuses / sizeof *statuses)],
             sim_chance(random, 0.5) ? "before" : "after", sim_chance(random, 0.3) ? "1" : "0.2",
             (unsigned)sim_below(random, 1000000), (unsigned)sim_magnitude(random, 1, 40));
    sim_trace(&s->world, "weather: %s", rule);
    SIM_CHECK(&s->world, aiocosmos_emulator_fault(s->core, rule, why, sizeof why), "fault %s: %s", rule, why);
}

static void sim_name_follows(world_net *made, void *what, uint64_t site)
{
    sim_world *world = (sim_world *)made;
    sim *s = (sim *)what;
    if (s->net.site == (unsigned)site) {
        s->net.named_site = s->net.site;
        s->net.missed_us = s->net.told_us = 0;             /* until now nobody could know better */
    }
    sim_trace(world, "weather: the name says site %u", s->net.named_site);
}

static void sim_fail_over(sim *s)
{
    s->net.site ^= 1u;
    sim_trace(&s->world, "weather: the server moves to site %u", s->net.site);
    sim_cover(&s->world, SIM_failed_over);
    sim_in(&s->world, sim_magnitude(&s->world.trouble, 1000, 10000000), sim_name_follows, s, s->net.site);
}

/* A cookie of somebody who has seen more than there is, or of another container's. */
static void sim_merge_foreign(sim *s, sim_client *client)
{
    char token[64];
    const emu_container *container = sim_container(s, SIM_CONTAINER);
    const emu_range *range = container->range[sim_below(&s->world.trouble, container->range_count)];
    snprintf(token, sizeof token, "%s:-1#%u", range->id, (unsigned)sim_magnitude(&s->world.trouble, 1, 1000000000));
    sim_trace(&s->world, "weather: client %u is given the session token %s", client->number, token);
    sim_cover(&s->world, SIM_token_of_the_future);
    aiocosmos_session_merge(client->client, NULL, SIM_CONTAINER, aioc_mem_str(token));
}

/* Whoever has not heard of it asks the new container for what was in the old one, with its session tokens. */
#define SIM_KEY_PATHS "\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}"

static void sim_recreate(sim *s)
{
    size_t i;
    sim_trace(&s->world, "weather: the container is made anew");
    sim_cover(&s->world, SIM_container_made_anew);
    free(sim_past_weather(s, "DELETE", "/dbs/" SIM_DATABASE "/colls/" SIM_CONTAINER, "colls",
                          "dbs/" SIM_DATABASE "/colls/" SIM_CONTAINER, NULL, ""));
    free(sim_past_weather(s, "POST", "/dbs/" SIM_DATABASE "/colls", "colls", "dbs/" SIM_DATABASE, NULL,
                          s->plan.expires ? "{\"id\":\"" SIM_CONTAINER "\"," SIM_KEY_PATHS ",\"defaultTtl\":-1}"
                                          : "{\"id\":\"" SIM_CONTAINER "\"," SIM_KEY_PATHS "}"));
    s->containers++;
    s->ranges_seen = 0;
    memset(s->range_before, 0, sizeof s->range_before);
    memset(s->range_keys, 0, sizeof s->range_keys);
    for (i = 0; i < SIM_CLIENTS; i++) memset(s->client[i].lsn, 0xFF, sizeof s->client[i].lsn);
    for (i = 0; i < s->op_count; i++) s->op[i]->seen_count = 0;
    for (i = 0; i < s->item_count; i++) sim_item_vanishes(s, s->item[i]);
}

/* What others do to the collection. */
static void sim_disturb_collection(sim *s)
{
    sim_random *random = &s->world.queries;
    if (s->plan.rewrites && sim_chance(random, 0.5)) sim_rewrite_paper(s);
    if (s->plan.anew && sim_chance(random, 0.01)) sim_collection_anew(s);
}

static void sim_library_weather(world_net *made, void *what, uint64_t number)
{
    sim_world *world = (sim_world *)made;
    sim *s = (sim *)what;
    (void)number;
    if (s->calm) return;
    sim_in(world, sim_magnitude(&world->queries, 1000, 1000000), sim_library_weather, s, 0);
    sim_disturb_collection(s);
}

/* More trouble, of the kinds that a run has. */
static void sim_more_weather(world_net *made, void *what, uint64_t number)
{
    sim_world *world = (sim_world *)made;
    sim *s = (sim *)what;
    sim_random *random = &world->trouble;
    sim_client *client = &s->client[sim_below(random, s->plan.clients)];
    (void)number;
    if (s->calm) return;
    sim_in(world, sim_magnitude(random, 5000, 2000000), sim_more_weather, s, 0);
    switch (sim_below(random, 4)) {
    case 2: if (s->plan.recreates && sim_chance(random, 0.2)) sim_recreate(s); break;
    case 0: if (s->plan.proxies) sim_add_proxy(s); break;
    case 1: if (s->plan.fails_over && sim_chance(random, 0.2)) sim_fail_over(s); break;
    default:
        if (s->plan.foreign_tokens && client->client && !client->doomed && sim_chance(random, 0.2))
            sim_merge_foreign(s, client);
        break;
    }
}

/* Splits a range or merges two; or lets the server do it by itself from now on. */
static void sim_shift_ranges(sim *s)
{
    sim_random *random = &s->world.weather;
    const char *name = sim_chance(random, 0.5) ? SIM_CONTAINER : SIM_LIBRARY;
    const emu_container *container;
    bool merge = sim_chance(random, 0.4);
    aiocosmos_emulator_shuffle shuffle;
    char id[16];
    if (s->plan.asks && sim_chance(&s->world.queries, s->plan.trial == SIM_QUERIES ? 0.9 : 0.3)) name = SIM_COLLECTION;
    container = sim_container(s, name);
    memset(&shuffle, 0, sizeof shuffle);
    if (sim_chance(random, 0.1)) {
        shuffle.every = (uint32_t)sim_magnitude(random, 20, 500);
        shuffle.max = (uint32_t)sim_between(random, 4, 16);
        shuffle.busy = (uint32_t)sim_below(random, 4);
        sim_trace(&s->world, "weather: ranges shift every %u requests", (unsigned)shuffle.every);
        SIM_CHECK(&s->world, aiocosmos_emulator_set_shuffle(s->core, &shuffle), "no shuffle");
        sim_cover(&s->world, SIM_shuffle);
        return;
    }
    if (container->range_count > 24 && !merge) return;
    snprintf(id, sizeof id, "%s", container->range[sim_below(random, container->range_count)]->id);
    sim_trace(&s->world, "weather: range %s of %s is %s", id, name, merge ? "merged" : "split");
    if (merge && aiocosmos_emulator_merge(s->core, SIM_DATABASE, name, id)) sim_cover(&s->world, SIM_merge);
    if (!merge && aiocosmos_emulator_split(s->core, SIM_DATABASE, name, id)) sim_cover(&s->world, SIM_split);
    sim_learn_ranges(s);
}

static void sim_weather(world_net *made, void *what, uint64_t number)
{
    sim_world *world = (sim_world *)made;
    sim *s = (sim *)what;
    sim_random *random = &world->weather;
    sim_client *client = &s->client[sim_below(random, s->plan.clients)];
    (void)number;
    if (s->calm) return;
    sim_in(world, sim_magnitude(random, 2000, 1000000), sim_weather, s, 0);
    switch (sim_below(random, 12)) {
    case 0: case 1: case 2: case 3:
        if (s->plan.faults) sim_add_fault(s);
        break;
    case 4: sim_count_faults(s); break;
    case 5: if (s->plan.splits) sim_shift_ranges(s); break;
    case 6:
        if (s->net.climate.reset <= 0) break;
        sim_trace(world, "weather: the server is restarted");
        sim_cover(world, SIM_server_restarted);
        s->net.down_until_us = world->made.now_us + sim_magnitude(random, 100, 3000000);
        sim_restart_server(&s->net);
        break;
    case 7:
        if (s->net.climate.slow <= 0) break;
        s->net.stalled_until_us = world->made.now_us + sim_magnitude(random, 1000, 2000000);
        sim_trace(world, "weather: nothing arrives until %" PRIu64, s->net.stalled_until_us);
        sim_cover(world, SIM_network_stalled);
        break;
    case 8:
        if (!sim_chance(random, 0.3) || s->plan.trial == SIM_DISTANT) break;
        client->host.skew_ms += (int64_t)sim_below(random, 7200000) - 3600000;
        sim_trace(world, "weather: client %u's clock is off by %lld ms", client->number,
                  (long long)client->host.skew_ms);
        sim_cover(world, SIM_clock_jumped);
        break;
    case 9:
        if (!client->client) break;
        aiocosmos_wake(client->client);  /* from anywhere, at any time */
        sim_cover(world, SIM_woken);
        break;
    default: break;
    }
}

/*------------------------------------------------------------------------------
 * What is drawn at the start
 *----------------------------------------------------------------------------*/

static void sim_choose_climate(sim *s)
{
    sim_climate *climate = &s->net.climate;
    sim_random *random = &s->world.config;
    double storm = sim_chance(random, 0.2) ? 0 : sim_chance(random, 0.5) ? 0.01 : 0.05;
    climate->cut_send = sim_chance(random, 0.5) ? 0.3 : 0;
    climate->cut_receive = sim_chance(random, 0.5) ? 0.3 : 0;
    climate->block_send = sim_chance(random, 0.3) ? 0.1 : 0;
    climate->cut_packet = sim_chance(random, 0.6) ? (sim_chance(random, 0.2) ? 0.95 : 0.3) : 0;
    climate->reset = sim_chance(random, 0.7) ? storm / 2 : 0;
    climate->dead = sim_chance(random, 0.3) ? storm / 5 : 0;
    climate->slow = sim_chance(random, 0.5) ? storm : 0;
    climate->slow_us = sim_magnitude(random, 1000, 10000000);
    climate->refuse = sim_chance(random, 0.4) ? storm * 2 : 0;
    climate->unreachable = sim_chance(random, 0.3) ? storm : 0;
    climate->ignore = sim_chance(random, 0.3) ? storm * 2 : 0;
    climate->no_socket = sim_chance(random, 0.2) ? storm : 0;
    climate->at_once = sim_chance(random, 0.3) ? 0.5 : 0;
    climate->subset = sim_chance(random, 0.3) ? 0.5 : 0;
    climate->latency_low_us = sim_magnitude(random, 20, 2000);
    climate->latency_high_us = climate->latency_low_us * sim_between(random, 2, 10);
    climate->us_per_byte_max = sim_chance(random, 0.3) ? 1.0 : 0.01;
    climate->idle_us = sim_chance(random, 0.5) ? sim_magnitude(random, 20000, 20000000) : 0;
    climate->no_ipv6 = sim_chance(random, 0.5);
    climate->dns_lost = climate->dns_failed = climate->dns_truncated = sim_chance(random, 0.5) ? 0.2 : 0;
    climate->brittle_poller = s->plan.breaks_memory;
    climate->window_low = 200;
    climate->no_entropy = s->plan.short_of_entropy ? 0.5 : 0;
    if (s->plan.trial == SIM_NO_TRIAL) return;
    climate->reset = climate->dead = climate->slow = climate->refuse = climate->unreachable = climate->ignore = 0;
    climate->no_socket = climate->dns_lost = climate->dns_failed = climate->us_per_byte_max = 0;
    climate->idle_us = 0;
    if (s->plan.trial == SIM_QUERIES && sim_chance(&s->world.queries, 0.5)) {
        climate->slow = 0.1;
        climate->slow_us = 20000;
    }
    if (s->plan.trial == SIM_DISTANT) {
        climate->latency_low_us = climate->latency_high_us = sim_magnitude(&s->world.trouble, 100000, 500000);
        climate->window_low = 1u << 22;
    }
    if (s->plan.trial == SIM_READERS) climate->window_low = 20000;
    climate->black_holes = s->plan.trial == SIM_BLACK_HOLES;
    if (climate->black_holes) climate->dead = 0.005;
}

static void sim_silence_metadata(sim *s)
{
    static const char *const rules[] = {
        "action=hang,kind=list_ranges", "action=hang,kind=read_container", "action=hang,kind=read_account"
    };
    char why[200];
    size_t i;
    for (i = 0; i < sizeof rules / sizeof *rules; i++)
        SIM_CHECK(&s->world, aiocosmos_emulator_fault(s->core, rules[i], why, sizeof why), "fault: %s", why);
    sim_cover(&s->world, SIM_metadata_silent);
}

static void sim_choose_trial(sim *s)
{
    sim_plan *plan = &s->plan;
    sim_random *random = &s->world.trouble;
    plan->garbles = plan->faults = plan->splits = plan->breaks_memory = plan->waits_for_ever = false;
    plan->proxies = plan->fails_over = plan->short_of_entropy = plan->foreign_tokens = false;
    plan->recreates = false;
    plan->ru_per_second = plan->cancel = plan->destroy = 0;
    plan->lives = 0;
    plan->numbers = plan->trial == SIM_READERS && sim_chance(&s->world.queries, 0.5);
    if (plan->trial == SIM_QUERIES) {
        plan->operations = (unsigned)sim_between(&s->world.queries, 50, 250);
        plan->in_flight = (unsigned)sim_between(&s->world.queries, 1, 3);
        plan->splits = sim_chance(&s->world.queries, 0.5);
        plan->destroy = 0.002;
        plan->lives = 20;
    }
    if (plan->trial != SIM_STORM && plan->trial != SIM_DISTANT) return;
    plan->operations = 1000;
    plan->in_flight = 1;
    if (plan->trial == SIM_DISTANT) return;
    plan->ru_per_second = (double)sim_magnitude(random, 100, 600);
}

static void sim_choose_trouble(sim *s)
{
    sim_plan *plan = &s->plan;
    sim_random *random = &s->world.trouble;
    plan->proxies = sim_chance(random, 0.15);
    plan->fails_over = sim_chance(random, 0.15);
    plan->short_of_entropy = sim_chance(random, 0.1);
    plan->foreign_tokens = sim_chance(random, 0.15);
    plan->recreates = sim_chance(random, 0.1);
    plan->expires = sim_chance(&s->world.readers, 0.3);
    plan->asks = sim_chance(&s->world.queries, 0.35);
    plan->rewrites = sim_chance(&s->world.queries, 0.3);
    plan->anew = sim_chance(&s->world.queries, 0.5);
    if (sim_chance(random, 0.15))
        plan->trial = sim_chance(random, 0.5) ? SIM_READERS
                                              : (sim_trial)sim_between(random, SIM_BLACK_HOLES, SIM_DISTANT);
    else if (plan->asks && sim_chance(&s->world.queries, 0.5)) plan->trial = SIM_QUERIES;
    if (plan->trial != SIM_NO_TRIAL && plan->trial != SIM_QUERIES) plan->asks = false;
    if (plan->trial != SIM_NO_TRIAL) sim_choose_trial(s);
}

static void sim_choose_plan(sim *s)
{
    sim_plan *plan = &s->plan;
    sim_random *random = &s->world.config;
    plan->operations = (unsigned)sim_magnitude(random, 20, 600);
    plan->in_flight = (unsigned)sim_magnitude(random, 1, 64);
    plan->clients = sim_chance(random, 0.2) ? 2 : 1;
    plan->think = sim_chance(random, 0.5) ? 0.05 : 0;
    plan->think_us = sim_magnitude(random, 1000, 5000000);
    plan->cancel = sim_chance(random, 0.5) ? 0 : sim_chance(random, 0.5) ? 0.05 : 0.3;
    plan->act_inside = sim_chance(random, 0.6) ? 0.2 : 0;
    plan->lives = (unsigned)sim_below(random, 4);
    plan->destroy = plan->lives ? 0.01 : 0;
    plan->garbles = sim_chance(random, 0.1);
    plan->faults = plan->garbles || sim_chance(random, 0.7);
    plan->splits = sim_chance(random, 0.4);
    plan->ru_per_second = sim_chance(random, 0.15) ? (double)sim_magnitude(random, 100, 3000) : 0;
    plan->breaks_memory = sim_chance(random, 0.15);
    plan->waits_for_ever = sim_chance(random, 0.1);
    if (plan->clients > 1) sim_cover(&s->world, SIM_two_clients);
    sim_choose_trouble(s);
}

/*------------------------------------------------------------------------------
 * A client of the harness's own, in fair weather: it furnishes the store, and audits it
 *----------------------------------------------------------------------------*/

static void sim_fair(sim *s)
{
    sim_climate fair;
    aiocosmos_emulator_shuffle no_shuffle;
    memset(&no_shuffle, 0, sizeof no_shuffle);
    memset(&fair, 0, sizeof fair);
    fair.latency_low_us = fair.latency_high_us = 50;
    fair.window_low = s->plan.trial == SIM_READERS ? 20000 : 200;
    s->net.climate = fair;
    aiocosmos_emulator_set_shuffle(s->core, &no_shuffle);
    s->net.down_until_us = s->net.stalled_until_us = 0;
    s->net.named_site = s->net.site;
    sim_count_faults(s);
}

typedef struct sim_clerk {
    sim *s;
    world_machine host;
    sim_heap heap;
    aiocosmos_client *client;
} sim_clerk;

static void sim_clerk_open(sim_clerk *clerk, sim *s)
{
    aiocosmos_options options;
    char why[256];
    memset(&options, 0, sizeof options);
    clerk->s = s;
    sim_host_init(&clerk->host, &s->net);
    sim_heap_init(&clerk->heap, &s->world, "the clerk");
    options.endpoint = s->net.site ? "http://10.0.0.3:8081/" : "http://10.0.0.1:8081/";
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.allow_http = true;
    options.default_database = SIM_DATABASE;
    options.platform = &clerk->host.platform;
    options.allocator.fn = sim_allocate;
    options.allocator.user_data = &clerk->heap;
    SIM_CHECK(&s->world, aiocosmos_create(&options, &clerk->client, why, sizeof why) == 0, "the clerk: %s", why);
}

static void sim_clerk_close(sim_clerk *clerk)
{
    aiocosmos_destroy(clerk->client);
    sim_host_free(&clerk->host);
    sim_heap_check_empty(&clerk->heap);
}

static int sim_clerk_ask(sim_clerk *clerk, const aiocosmos_request *request, aiocosmos_body *body)
{
    return aiocosmos_run(clerk->client, request, body);
}

/* [1,1,1]: parsed, eight times as large. */
static int sim_put_numbers(char *out, unsigned bytes)
{
    unsigned i;
    for (i = 0; i < bytes; i++) out[i] = i % 2 ? '1' : i ? ',' : '[';
    out[bytes] = ']';
    return (int)bytes + 1;
}

/* Books, each of so many bytes, which may be numbers; with keys of two levels, if wanted. */
static void sim_furnish_shelf(sim_clerk *clerk, const char *container, bool levels, unsigned books, unsigned bytes,
                              bool numbers)
{
    sim *s = clerk->s;
    aiocosmos_request request;
    size_t cap = bytes + 160;
    char *body = (char *)malloc(cap);
    unsigned i;
    if (!body) abort();
    memset(&request, 0, sizeof request);
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.partition_key_paths[0] = "/pk";
    if (levels) request.partition_key_paths[1] = "/half";
    request.container = container;
    SIM_CHECK(&s->world, sim_clerk_ask(clerk, &request, NULL) == 0, "no container %s", container);
    memset(&request, 0, sizeof request);
    request.kind = AIOCOSMOS_CREATE_ITEM;
    request.container = container;
    for (i = 0; i < books; i++) {
        int len = snprintf(body, cap, "{\"id\":\"book-%u\",\"pk\":%s,\"half\":%u,\"v\":%u,\"pad\":", i,
                           sim_key_json(i % SIM_KEYS), i * 2 / books, i);
        len += numbers ? sim_put_numbers(body + len, bytes)
                       : snprintf(body + len, cap - (size_t)len, "\"%0*d\"", (int)bytes, 0);
        body[len++] = '}';
        request.body = emu_str(body, (size_t)len);
        request.pk = levels ? aiocosmos_pk2(sim_key(i % SIM_KEYS), aiocosmos_i(i * 2 / books))
                            : aiocosmos_pk1(sim_key(i % SIM_KEYS));
        SIM_CHECK(&s->world, sim_clerk_ask(clerk, &request, NULL) == 0, "book %u", i);
    }
    free(body);
}

static void sim_furnish(sim *s)
{
    sim_clerk clerk;
    aiocosmos_request request;
    sim_clerk_open(&clerk, s);
    memset(&request, 0, sizeof request);
    request.kind = AIOCOSMOS_CREATE_DATABASE;
    SIM_CHECK(&s->world, sim_clerk_ask(&clerk, &request, NULL) == 0, "no database");
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.partition_key_paths[0] = "/pk";
    request.container = SIM_CONTAINER;
    if (s->plan.expires) request.default_ttl_s = -1;
    SIM_CHECK(&s->world, sim_clerk_ask(&clerk, &request, NULL) == 0, "no container");
    sim_furnish_shelf(&clerk, SIM_LIBRARY, false, SIM_BOOKS, 1, false);
    sim_furnish_shelf(&clerk, SIM_SHELVES, true, SIM_BOOKS, 1, false);
    if (s->plan.trial == SIM_READERS)
        sim_furnish_shelf(&clerk, SIM_ARCHIVE, false, SIM_VOLUMES, SIM_VOLUME_BYTES, s->plan.numbers);
    sim_clerk_close(&clerk);
}

static void sim_audit_item(sim_clerk *clerk, sim_item *item)
{
    sim *s = clerk->s;
    const sim_version *latest = sim_latest(item);
    aiocosmos_request request;
    aiocosmos_body body;
    int status;
    memset(&request, 0, sizeof request);
    request.kind = AIOCOSMOS_READ_ITEM;
    request.container = SIM_CONTAINER;
    request.id = item->id;
    request.pk = aiocosmos_pk1(sim_key(item->key));
    status = sim_clerk_ask(clerk, &request, &body);
    SIM_CHECK(&s->world, status == (latest->present ? 0 : 404), "item %s: the audit finds %d", item->id, status);
    if (status == 0)
        SIM_CHECK(&s->world, sim_marker(body.text) == latest->writer && sim_n_of(body.text) == latest->n,
                  "item %s: the audit finds %.*s, written last by %ld and patched %lld times", item->id,
                  (int)body.text.len, body.text.ptr, latest->writer, (long long)latest->n);
    aiocosmos_body_free(&body);
}

static void sim_count_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    size_t *count = (size_t *)user_data;
    (void)client;
    count[0] += page->item_count;
    count[1] = page->more;
    count[2] += page->result->status != 0;
}

/* Asks for everything through the front door. */
static void sim_audit(sim *s)
{
    sim_clerk clerk;
    aiocosmos_query_request request;
    aiocosmos_cursor query;
    size_t i, present = 0, count[3] = { 0, 1, 0 };
    sim_pass_time(&s->world, NULL, 0, s->world.made.now_us + SIM_TTL_MAX * 1000000u);  /* nothing expires meanwhile */
    sim_clerk_open(&clerk, s);
    for (i = 0; i < s->item_count; i++) {
        sim_audit_item(&clerk, s->item[i]);
        present += sim_latest(s->item[i])->present;
    }
    memset(&request, 0, sizeof request);
    request.container = SIM_CONTAINER;
    SIM_CHECK(&s->world, aiocosmos_query_open(clerk.client, &request, &query) == 0, "no query");
    while (count[1] && !count[2]) {
        SIM_CHECK(&s->world, aiocosmos_cursor_next(clerk.client, query, sim_count_page, count) == 0, "no page");
        SIM_CHECK(&s->world, aiocosmos_drain(clerk.client, 60000) == 0, "no end of a page");
    }
    SIM_CHECK(&s->world, count[0] == present && !count[2], "%zu items are there, and the audit's query shows %zu",
              present, count[0]);
    aiocosmos_cursor_close(clerk.client, query);
    sim_clerk_close(&clerk);
}

/*------------------------------------------------------------------------------
 * Turns: the hosts' loops
 *----------------------------------------------------------------------------*/

/* What a host does between two steps. */
static void sim_act_outside(sim_client *client)
{
    sim *s = client->sim;
    sim_random *random = &s->world.work;
    sim_tend_names(client);
    if (client->token_asked && client->token_due_us <= s->world.made.now_us) sim_give_token(client);
    sim_tend_bulks(client);
    sim_tend_queries(client);
    sim_tend_feeds(client);
    sim_tend_cases(client);
    if (s->world.made.now_us < client->next_act_us || s->calm) return;
    client->next_act_us = s->world.made.now_us + 1000;
    while (client->owed < s->plan.in_flight && s->op_count < s->plan.operations) {
        if (!sim_start_something(client)) break;
        if (!sim_chance(random, s->plan.think)) continue;
        client->next_act_us = s->world.made.now_us + sim_magnitude(random, 100, s->plan.think_us);
        break;
    }
    if (sim_chance(random, s->plan.cancel) && sim_cancel_one(client)) sim_cover(&s->world, SIM_cancel_outside);
    if (sim_chance(random, 0.01)) aiocosmos_warm(client->client, (uint32_t)sim_between(random, 1, 5));
    if (sim_chance(random, 0.02)) sim_share_session(&s->client[s->plan.clients - 1 - client->number], client);
    if (!sim_chance(random, s->plan.destroy)) return;
    if (sim_chance(random, 0.2)) {
        sim_abandon(client);
        return;
    }
    sim_cover(&s->world, SIM_destroy_outside);
    sim_destroy(client);
}

static void sim_step(sim_client *client, int timeout_ms)
{
    sim *s = client->sim;
    uint64_t before = s->net.work + s->world.made.events_run;
    bool at_once = s->world.made.now_us < client->stepped_us + 100;
    bool drains = client->manner == SIM_STEPS && sim_chance(&s->world.host, 0.05);
    uint32_t budget_us = drains || timeout_ms != 0 ? 0 : client->options.step_budget_us;
    uint64_t began_us = s->world.made.now_us;
    int ran;
    client->inside = true;
    client->items_told = 0;
    if (drains) ran = aiocosmos_drain(client->client, timeout_ms < 0 ? 1000 : timeout_ms);
    else ran = aiocosmos_step(client->client, timeout_ms);
    client->inside = false;
    if (drains && ran == AIOCOSMOS_E_TIMEOUT) ran = 0;
    if (drains) sim_cover(&s->world, SIM_host_drains);
    SIM_CHECK(&s->world, ran >= 0 || (ran == AIOCOSMOS_E_DESTROYED && client->doomed), "step says %d", ran);
    if (ran != AIOCOSMOS_E_DESTROYED) {
        const char *sleeps = aioc_pool_sleeps(&client->client->engine.endpoint.pool);
        SIM_CHECK(&s->world, !sleeps, "%s", sleeps);
    }
    if (ran == AIOCOSMOS_E_DESTROYED) sim_client_gone(client);
    else SIM_CHECK(&s->world, aiocosmos_pending(client->client) == client->owed, "%u are pending, and %u are owed",
                   (unsigned)aiocosmos_pending(client->client), (unsigned)client->owed);
    /* The answer of a batch is one piece, whose items are told of one by one. */
    if (client->items_told > AIOC_BATCH_OPERATIONS_MAX) client->items_told = AIOC_BATCH_OPERATIONS_MAX;
    SIM_CHECK(&s->world, !budget_us || client->doomed ||
                         s->world.made.now_us <= began_us + budget_us + (client->items_told + 1) * SIM_PIECE_US,
              "client %u has a budget of %u us, and steps for %" PRIu64, client->number, (unsigned)budget_us,
              s->world.made.now_us - began_us);
    client->stepped_us = s->world.made.now_us;
    client->idle_turns = at_once && s->net.work + s->world.made.events_run == before ? client->idle_turns + 1 : 0;
    SIM_CHECK(&s->world, client->idle_turns < SIM_IDLE_TURNS, "client %u steps and steps, and does nothing",
              client->number);
}

/* What has work, or a time set, says so: a step that nobody asked for finds nothing to do. */
static void sim_step_unasked(sim_client *client, uint64_t due_us)
{
    sim *s = client->sim;
    uint64_t work = s->net.work, handed = client->host.handed, now_us = s->world.made.now_us;
    sim_cover(&s->world, SIM_stepped_unasked);
    sim_step(client, 0);
    SIM_CHECK(&s->world, !client->client || s->net.work == work || client->host.handed != handed,
              "client %u had work to do at %" PRIu64 " us, and told its host to sleep until %" PRIu64, client->number,
              now_us, due_us);
}

/* No operation's end is slept through. */
static void sim_check_timeout(sim_client *client, int timeout_ms)
{
    sim *s = client->sim;
    uint64_t earliest_us = SIM_NOT_YET;
    size_t i;
    for (i = 0; i < s->op_count; i++) {
        const sim_op *op = s->op[i];
        if (op->client != client || op->life != client->born || op->calls || !op->deadline_us) continue;
        if (op->deadline_us < earliest_us) earliest_us = op->deadline_us;
    }
    if (earliest_us == SIM_NOT_YET) return;
    sim_cover(&s->world, SIM_deadline_awaited);
    if (earliest_us < s->world.made.now_us) earliest_us = s->world.made.now_us;
    SIM_CHECK(&s->world, timeout_ms >= 0 && s->world.made.now_us + (uint64_t)timeout_ms * 1000u <= earliest_us + 2000u,
              "client %u has an operation whose time is over in %" PRIu64 " us, and its next timeout is %d ms",
              client->number, earliest_us - s->world.made.now_us, timeout_ms);
}

/* When the host wants to do something of its own again. */
static uint64_t sim_next_act(const sim_client *client)
{
    const sim *s = client->sim;
    const sim_question *question;
    const sim_bulk *bulk;
    const sim_query *query;
    bool busy = s->op_count < s->plan.operations && client->owed < s->plan.in_flight && !s->calm;
    uint64_t next_us = busy ? client->next_act_us : SIM_NOT_YET;
    if (client->token_asked && client->token_due_us < next_us) next_us = client->token_due_us;
    for (question = sim_questions; question; question = question->next)
        if (question->client == client && question->due_us < next_us) next_us = question->due_us;
    for (bulk = sim_bulks; bulk; bulk = bulk->next)
        if (bulk->client == client && bulk->later && !bulk->op->calls && bulk->later_us < next_us)
            next_us = bulk->later_us;
    for (query = sim_queries; query; query = query->next)
        if (query->client == client && query->born == client->born && !query->over && !query->page &&
            query->again_us < next_us)
            next_us = query->again_us;
    if (sim_next_feed_us(client) < next_us) next_us = sim_next_feed_us(client);
    if (sim_next_case_us(client) < next_us) next_us = sim_next_case_us(client);
    return next_us;
}

static int sim_ms_until(const sim_world *world, uint64_t until_us)
{
    if (until_us <= world->made.now_us) return 0;
    return until_us == SIM_NOT_YET ? -1 : (int)((until_us - world->made.now_us + 999) / 1000);
}

/* A host that lets step wait. */
static void sim_turn_steps(sim_client *client)
{
    sim_world *world = &client->sim->world;
    int timeout_ms = sim_ms_until(world, sim_next_act(client));
    sim_cover(world, SIM_host_steps);
    if (sim_chance(&world->host, 0.3) && client->owed) timeout_ms = 0;
    if (timeout_ms < 0 && (!client->owed || client->sim->plan.waits_for_ever)) timeout_ms = client->owed ? 1000 : 0;
    sim_step(client, timeout_ms);
    if (client->client && !client->owed) {       /* it does not wait for nothing */
        uint64_t until_us = sim_next_act(client);
        if (until_us > world->made.now_us + 20000) until_us = world->made.now_us + 20000;
        sim_pass_time(world, NULL, 0, until_us);
    }
}

/* What a host with poll() would watch has to be what the library watches. */
static void sim_check_poll_fds(sim_client *client)
{
    aiocosmos_pollfd fds[256];
    sim *s = client->sim;
    size_t count = aiocosmos_poll_fds(client->client, fds, 256), i;
    SIM_CHECK(&s->world, count >= 1 && fds[0].fd == SIM_SOCKETS + 1, "no descriptor to wake by");
    for (i = 1; i < count && i < 256; i++) {
        const world_socket *socket = world_socket_of(&client->host, fds[i].fd);
        unsigned want = (fds[i].read ? AIOCOSMOS_READABLE : 0u) | (fds[i].write ? AIOCOSMOS_WRITABLE : 0u);
        SIM_CHECK(&s->world, socket->want == want, "socket %u: %u is watched, and poll_fds says %u", socket->number,
                  socket->want, want);
    }
}

/* Hosts that wait by themselves: for the descriptors of all clients, and the earliest of the timeouts. */
static void sim_turn_waits(sim *s)
{
    sim_world *world = &s->world;
    world_machine *hosts[SIM_CLIENTS];
    size_t count = 0, i;
    uint64_t until_us = world->made.now_us + 10000000, due_us[SIM_CLIENTS];
    for (i = 0; i < s->plan.clients; i++) {
        sim_client *client = &s->client[i];
        uint64_t next_us;
        int timeout_ms;
        if (!client->client) continue;
        hosts[count++] = &client->host;
        timeout_ms = aiocosmos_next_timeout_ms(client->client);
        if (sim_chance(&world->trouble, 0.1)) sim_check_timeout(client, timeout_ms);
        next_us = sim_next_act(client);
        if (next_us < until_us) until_us = next_us;
        due_us[i] = timeout_ms < 0 ? SIM_NOT_YET : world->made.now_us + (uint64_t)timeout_ms * 1000u;
        if (due_us[i] < until_us) until_us = due_us[i];
        if (client->manner == SIM_POLLS) sim_check_poll_fds(client);
        sim_cover(world, client->manner == SIM_POLLS ? SIM_host_polls : SIM_host_waits_on_descriptor);
    }
    if (sim_chance(&world->trouble, 0.2) && until_us > world->made.now_us)       /* something else has woken the host */
        until_us = world->made.now_us + sim_below(&world->trouble, until_us - world->made.now_us);
    sim_pass_time(world, hosts, count, until_us);
    for (i = 0; i < s->plan.clients; i++) {
        sim_client *client = &s->client[i];
        if (!client->client) continue;
        /* What it told is rounded up to a millisecond, and the clock goes on while it steps. */
        if (world->made.now_us + 1000 + SIM_PIECE_US < due_us[i] && !world_any_ready(&client->host))
            sim_step_unasked(client, due_us[i]);
        else sim_step(client, 0);
    }
}

/* A game: one step a frame. */
static void sim_turn_frame(sim_client *client)
{
    sim_world *world = &client->sim->world;
    sim_cover(world, SIM_host_draws_frames);
    client->next_frame_us += SIM_FRAME_US;
    if (client->next_frame_us < world->made.now_us) client->next_frame_us = world->made.now_us;
    sim_pass_time(world, NULL, 0, client->next_frame_us);
    sim_step(client, 0);
}

static void sim_stall(sim_world *world)
{
    uint64_t us = sim_magnitude(&world->host, 1000, 1000000);
    sim_trace(world, "the host sleeps for %" PRIu64 " us", us);
    sim_cover(world, SIM_host_stalled);
    world->stalled_us += us;
    world->made.now_us += us;
    world_run_due(&world->made);
}

static void sim_turn(sim *s)
{
    unsigned i;
    for (i = 0; i < s->plan.clients; i++) {
        sim_client *client = &s->client[i];
        if (!client->client && !s->calm && s->op_count < s->plan.operations && s->lives_used <= s->plan.lives + 8) {
            s->lives_used++;
            if (s->lives_used > s->plan.lives) s->plan.destroy = 0;
            sim_client_born(client);
        }
        if (client->client) sim_act_outside(client);
    }
    if (sim_chance(&s->world.host, 0.0005)) sim_stall(&s->world);
    if (s->plan.clients > 1 || !s->client[0].client || s->client[0].manner == SIM_DESCRIPTOR ||
        s->client[0].manner == SIM_POLLS) sim_turn_waits(s);
    else if (s->client[0].manner == SIM_STEPS) sim_turn_steps(&s->client[0]);
    else sim_turn_frame(&s->client[0]);
}

static bool sim_at_rest(const sim *s)
{
    unsigned i;
    for (i = 0; i < s->plan.clients; i++)
        if (s->client[i].client && s->client[i].owed) return false;
    return s->calm || s->op_count >= s->plan.operations;
}

/*------------------------------------------------------------------------------
 * A run
 *----------------------------------------------------------------------------*/

static uint64_t sim_core_random(void *user)
{
    return sim_next(&((sim *)user)->world.config);
}

static int64_t sim_core_now(void *user)
{
    return sim_server_ms(&((sim *)user)->world);
}

static void *sim_core_allocate(void *ptr, size_t old_size, size_t new_size, void *user)
{
    return sim_allocate(ptr, old_size, new_size, &((sim *)user)->world.server_heap);
}

static void sim_core_open(sim *s, int partitions)
{
    aiocosmos_emulator_options options;
    const char *error;
    memset(&options, 0, sizeof options);
    options.endpoint = "http://10.0.0.1:8081/";
    options.aad_token = SIM_TOKEN;
    options.partitions = partitions;
    options.any_order = true;
    options.merge_enabled = sim_chance(&s->world.trouble, 0.5);
    if (options.merge_enabled) sim_cover(&s->world, SIM_merge_enabled);
    options.now_ms = sim_core_now;
    options.random = sim_core_random;
    options.allocate = sim_core_allocate;
    options.user_data = s;
    s->core = aiocosmos_emulator_open(&options, &error);
    SIM_CHECK(&s->world, s->core, "the emulator: %s", error);
    sim_net_open(&s->net, &s->world, s->core);
    sim_fair(s);
}

static void sim_open(sim *s, uint64_t seed, sim_report *report, bool verbose)
{
    int partitions;
    unsigned i;
    memset(s, 0, sizeof *s);
    sim_world_open(&s->world, seed, report, verbose);
    sim_choose_plan(s);
    partitions = (int)sim_between(&s->world.config, 1, 6);
    if (s->plan.trial == SIM_QUERIES) partitions = (int)sim_between(&s->world.queries, 1, 16);
    sim_core_open(s, partitions);
    sim_furnish(s);
    s->throughputs = 1;
    if (s->plan.asks) sim_collection_open(s);
    s->core->options.ru_per_second = s->plan.ru_per_second;
    s->net.hooks.sent = sim_on_sent;
    s->net.hooks.arrived = sim_on_arrived;
    s->net.hooks.serving = sim_on_serving;
    s->net.hooks.served = sim_on_served;
    s->net.hooks.user = s;
    s->core->watch_operation = sim_on_operation;
    s->core->watch_user = s;
    sim_choose_climate(s);
    if (s->plan.trial == SIM_SILENT_METADATA) sim_silence_metadata(s);
    for (i = 0; i < s->plan.clients; i++) {
        s->client[i].sim = s;
        s->client[i].number = i;
        sim_host_init(&s->client[i].host, &s->net);
    }
    sim_trace(&s->world, "%u operations, %u in flight, %u clients, %d ranges", s->plan.operations, s->plan.in_flight,
              s->plan.clients, partitions);
    sim_in(&s->world, 1000, sim_weather, s, 0);
    sim_in(&s->world, 1000, sim_more_weather, s, 0);
    if (s->plan.asks) sim_in(&s->world, 1000, sim_library_weather, s, 0);
}

static void sim_work_until_calm(sim *s)
{
    uint64_t turns = 0, stop_us = SIM_WORK_US;
    while (!sim_at_rest(s) && s->world.made.now_us < stop_us) {
        SIM_CHECK(&s->world, ++turns < SIM_TURNS_MAX, "the run does not end");
        sim_turn(s);
        if (stop_us == SIM_WORK_US && s->op_count >= s->plan.operations) stop_us = s->world.made.now_us + 5000000;
        if (s->lives_used > s->plan.lives + 8 && !s->client[0].client && !s->client[1].client) break;
    }
}

static void sim_probed(aiocosmos_client *handle, const aiocosmos_result *result, void *user_data)
{
    (void)handle;
    *(int *)user_data = result->status == 404 && result->sub_status == 0 ? 0 : result->status;
}

/* Whatever has come over a client, in calm it finds its way back. Each connection that fell silent may cost it one
 * operation's time: nothing tells such a one from a slow one. */
static void sim_check_recovery_by(sim_client *client, aiocosmos_kind kind)
{
    sim *s = client->sim;
    aiocosmos_request request;
    int status = 1, tries = 0;
    uint64_t turns = 0;
    s->net.missed_us = s->net.told_us = 0;
    memset(&request, 0, sizeof request);
    request.kind = kind;
    if (kind == AIOCOSMOS_READ_ITEM) {
        request.container = SIM_CONTAINER;
        request.id = "nobody";
        request.pk = aiocosmos_pk1(sim_key(0));
    }
    request.timeout_ms = 10000;
    request.done = sim_probed;
    request.user_data = &status;
    while (tries == 0 || status != 0) {
        if (tries++) sim_pass_time(&s->world, NULL, 0, s->world.made.now_us + 200000);
        SIM_CHECK(&s->world, tries <= 20, "client %u does not recover: it still says %d", client->number, status);
        SIM_CHECK(&s->world, aiocosmos_submit(client->client, &request, NULL) == 0, "client %u does not recover: %s",
                  client->number, aiocosmos_last_error(client->client));
        while (aiocosmos_pending(client->client)) {
            sim_tend_names(client);
            client->inside = true;
            SIM_CHECK(&s->world, aiocosmos_step(client->client, 100) >= 0 && ++turns < SIM_TURNS_MAX, "a probe fails");
            client->inside = false;
        }
    }
    SIM_CHECK(&s->world, s->net.missed_us <= s->net.told_us + SIM_FOLLOWS_US, "client %u does not follow the server: "
              "it asked its old place for %" PRIu64 " us", client->number, s->net.missed_us - s->net.told_us);
    sim_cover(&s->world, SIM_recovered);
    if (tries > 1) sim_trace(&s->world, "client %u: recovered after %d tries", client->number, tries);
}

static void sim_check_recovery(sim_client *client)
{
    sim_check_recovery_by(client, AIOCOSMOS_READ_DATABASE);
    sim_check_recovery_by(client, AIOCOSMOS_READ_ITEM);
}

/* In calm everything ends, but for what has no deadline and whose answer will never come. */
static void sim_calm_down(sim *s)
{
    uint64_t until_us = s->world.made.now_us + SIM_CALM_US, turns = 0;
    unsigned i;
    sim_fair(s);
    s->calm = true;
    s->core->options.ru_per_second = 0;
    sim_trace(&s->world, "calm");
    while (!sim_at_rest(s) && s->world.made.now_us < until_us) {
        SIM_CHECK(&s->world, ++turns < SIM_TURNS_MAX, "calm does not end");
        sim_turn(s);
    }
    for (i = 0; i < s->plan.clients; i++) {
        sim_client *client = &s->client[i];
        if (!client->client) continue;
        SIM_CHECK(&s->world, !client->owed || s->plan.waits_for_ever, "client %u owes %u callbacks for ever", i,
                  client->owed);
        if (!client->owed && !client->options.token_fn && !s->plan.breaks_memory && !client->options.memory_max)
            sim_check_recovery(client);
        sim_destroy(client);
    }
    sim_pass_time(&s->world, NULL, 0, s->world.made.now_us + 30000000);         /* what is under way arrives */
}

static void sim_close(sim *s)
{
    unsigned i;
    for (i = 0; i < s->plan.clients; i++) sim_host_free(&s->client[i].host);
    sim_net_close(&s->net);
    aiocosmos_emulator_close(s->core);
    sim_heap_check_empty(&s->world.server_heap);
    sim_work_free();
    while (sim_questions) {
        sim_question *question = sim_questions;
        sim_questions = question->next;
        free(question);
    }
    sim_model_free(s);
    sim_world_close(&s->world);
}

/* Returns the hash of the run's story. */
static uint64_t sim_run(uint64_t seed, sim_report *report, bool verbose)
{
    static sim s;
    uint64_t story;
    sim_open(&s, seed, report, verbose);
    sim_work_until_calm(&s);
    sim_calm_down(&s);
    sim_check_all(&s);
    s.net.hooks.sent = NULL;
    s.net.hooks.arrived = NULL;
    s.net.hooks.serving = s.net.hooks.served = NULL;
    sim_audit(&s);
    sim_trace(&s.world, "over: %zu operations, %" PRIu64 " events", s.op_count, s.world.made.events_run);
    report->runs++;
    report->events += s.world.made.events_run;
    report->simulated_ms += s.world.made.now_us / 1000;
    story = s.world.story;
    sim_close(&s);
    return story;
}

#endif
