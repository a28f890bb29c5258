/* game_loop.c: a game saves its players from its frame loop, and the client gets 200 us of a frame. Beside a running
 * build/aiocosmos-emulator: cc -I. -o build/game_loop examples/game_loop.c -lbearssl && build/game_loop */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* A spent budget stops new work, not the piece under way. Here the longest is a record of a TLS handshake: 2 ms; where
 * pages of large documents are read, it may be the parsing of one: see page_items_max. */
enum { PLAYERS = 200, FRAMES = 40, FRAME_US = 1000000 / 60, BUDGET_US = 200, STEP_US_MAX = BUDGET_US + 2000 };

static struct player { char id[24]; int hp; bool dirty; } players[PLAYERS];

static long long clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void on_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
}

static void on_saved(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    if (result->status != 0) ((struct player *)user_data)->dirty = true;            /* the next frame saves it again */
}

static void save(aiocosmos_client *client, struct player *p)
{
    char text[64];                               /* submit copies it */
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_UPSERT_ITEM;
    request.container = "players";
    request.pk = aiocosmos_pk_s(p->id);
    request.body.len = (size_t)snprintf(text, sizeof text, "{\"id\":\"%s\",\"hp\":%d}", p->id, p->hp);
    request.body.ptr = text;
    request.order_key = (uint64_t)(p - players) + 1;         /* two saves of a player never swap; 0 would be no key */
    request.done = on_saved;
    request.user_data = p;
    p->dirty = aiocosmos_submit(client, &request, NULL) != 0;                /* full: stays dirty for the next frame */
}

static bool make_container(aiocosmos_client *client)
{
    aiocosmos_request make = {0};
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return false;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "players";
    make.partition_key_paths[0] = "/id";
    return aiocosmos_run(client, &make, NULL) == 0;
}

/* Returns how long the step took, without what the system gave to others meanwhile. */
static long long play(aiocosmos_client *client, int frame)
{
    long long began_us;
    int i;
    for (i = 0; i < PLAYERS; i++) {
        struct player *p = &players[i];          /* every frame hits a few, and one explosion hits them all */
        if ((i + frame) % 25 == 0 || frame == FRAMES / 2) p->hp--, p->dirty = true;
        if (p->dirty) save(client, p);
    }
    began_us = clock_us();
    aiocosmos_step(client, 0);                   /* what is left when the budget is spent, the next frame's step does */
    return clock_us() - began_us;
}

int main(void)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    long long step_us, longest_us = 0;
    int i, lost = 0;
    char why[256];

    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-game-loop";
    options.on_failure = on_failure;
    options.step_budget_us = BUDGET_US;
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    aiocosmos_warm(client, 8);                   /* connects while the game loads, not in the middle of a fight */
    if (!make_container(client)) return 1;
    for (i = 0; i < PLAYERS; i++) snprintf(players[i].id, sizeof players[i].id, "player-%d", i);
    for (i = 0; i < FRAMES; i++) {
        step_us = play(client, i);
        if (step_us > longest_us) longest_us = step_us;
        usleep(FRAME_US);                        /* where a game waits for the next frame */
    }
    if (aiocosmos_drain(client, 10000) != 0) return puts("the last saves take too long"), 1;   /* here it may wait */
    aiocosmos_destroy(client);
    for (i = 0; i < PLAYERS; i++) lost += players[i].dirty;
    printf("%d frames, %d lost, longest step %lld us (budget %d, limit %d)\n", FRAMES, lost, longest_us, BUDGET_US,
           STEP_US_MAX);
    return lost == 0 && longest_us <= STEP_US_MAX ? 0 : 1;
}
/* In .NET, with Microsoft.Azure.Cosmos, on the thread pool, beside the frames instead of within them:
 *     try { await container.UpsertItemAsync(player, new PartitionKey(player.id)); }
 *     catch (CosmosException) { player.dirty = true; } */
