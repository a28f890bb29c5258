/* player_left.c: players leave at any moment, with whatever they have under way. Their memory goes at once, and so do
 * their callbacks; what they wanted saved is saved all the same. With the emulator:
 * cc -I. -o build/player_left examples/player_left.c -lbearssl && build/player_left */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>

enum { PLAYERS = 40 };
typedef struct player { char id[24]; bool is_saved, is_loaded; } player;
static int loaded, lost;

/* Sees what nobody else hears of any more, too. */
static void on_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
    lost++;
}

static void on_saved(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    ((player *)user_data)->is_saved = result->status == 0;
}

static void on_loaded(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    player *p = user_data;
    (void)client;
    p->is_loaded = result->status == 0;
    loaded += p->is_loaded;
}

static void submit(aiocosmos_client *client, player *p, aiocosmos_request request, aiocosmos_done_fn done)
{
    request.container = "players";
    request.pk = aiocosmos_pk_s(p->id);
    request.order_key = (uint64_t)(uintptr_t)p;  /* its load sees its save */
    request.done = done;
    request.user_data = p;                       /* what forget_all knows them by */
    if (aiocosmos_submit(client, &request, NULL) < 0) puts(aiocosmos_last_error(client)), lost++;
}

static player *player_enters(aiocosmos_client *client, int number)
{
    aiocosmos_request save = {0}, load = {0};
    char text[64];                               /* submit copies it */
    player *p = calloc(1, sizeof *p);
    if (!p) abort();
    snprintf(p->id, sizeof p->id, "player-%d", number);
    snprintf(text, sizeof text, "{\"id\":\"%s\"}", p->id);
    save.kind = AIOCOSMOS_UPSERT_ITEM;
    save.body = aiocosmos_text(text);
    submit(client, p, save, on_saved);
    load.kind = AIOCOSMOS_READ_ITEM;
    load.id = p->id;
    submit(client, p, load, on_loaded);
    return p;
}

/* After the first line nothing comes back to p. aiocosmos_cancel() would: later, with E_CANCELLED. */
static size_t player_leaves(aiocosmos_client *client, player *p)
{
    size_t under_way = aiocosmos_forget_all(client, p);
    free(p);
    return under_way;
}

int main(void)
{
    aiocosmos_options options = {0};
    aiocosmos_request make = {0};
    aiocosmos_client *client;
    player *players[PLAYERS];
    size_t forgotten = 0;
    char why[256];
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-player-left";
    options.on_failure = on_failure;
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return 1;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "players";
    make.partition_key_paths[0] = "/id";
    if (aiocosmos_run(client, &make, NULL) != 0) return 1;
    for (int i = 0; i < PLAYERS; i++) players[i] = player_enters(client, i);
    for (int i = 0; i < PLAYERS; i += 2) forgotten += player_leaves(client, players[i]);    /* every other one */
    aiocosmos_drain(client, -1);                 /* waits for what was forgotten, too */
    for (int i = 1; i < PLAYERS; i += 2) player_leaves(client, players[i]);
    aiocosmos_destroy(client);
    printf("%d players, %zu operations forgotten, %d loaded, %d lost\n", PLAYERS, forgotten, loaded, lost);
    return forgotten == PLAYERS && loaded == PLAYERS / 2 && lost == 0 ? 0 : 1;
}
/* In JavaScript, with @azure/cosmos, each continuation has to ask whether the player is still there:
 *     const { resource } = await players.item(id, id).read();
 *     if (online.has(id)) online.get(id).load(resource); */
