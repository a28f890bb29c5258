/* full.c: five thousand saves at once, of which the client holds a hundred at a time. What it has no room for is kept
 * here until it says that there is some: nothing is lost, and memory stays flat. With the emulator:
 * cc -I. -o build/full examples/full.c -lbearssl && build/full */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>

enum { SAVES = 5000, PENDING_MAX = 100 };
typedef struct saves { int submitted, stored, waits; bool is_refused; } saves;

static void on_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
}

static void on_stored(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    if (result->status == 0) ((saves *)user_data)->stored++;
}

static int save(aiocosmos_client *client, int number, saves *all)
{
    char text[64], id[16];                       /* submit copies them */
    aiocosmos_request request = {0};
    snprintf(id, sizeof id, "%d", number);
    snprintf(text, sizeof text, "{\"id\":\"%s\"}", id);
    request.kind = AIOCOSMOS_UPSERT_ITEM;
    request.container = "players";
    request.pk = aiocosmos_pk_s(id);
    request.body = aiocosmos_text(text);
    request.done = on_stored;
    request.user_data = all;
    return aiocosmos_submit(client, &request, NULL);
}

/* At first, and whenever there is room again: as many as there is room for. */
static void submit_some(aiocosmos_client *client, void *user_data)
{
    saves *all = user_data;
    while (all->submitted < SAVES && !all->is_refused) {
        int status = save(client, all->submitted, all);
        if (status == AIOCOSMOS_E_FULL) {        /* a refused submit has taken nothing: the same one comes next time */
            all->waits++;
            return;
        }
        if (status < 0) puts(aiocosmos_last_error(client)), all->is_refused = true;
        else all->submitted++;
    }
}

int main(void)
{
    saves all = {0, 0, 0, false};
    aiocosmos_options options = {0};
    aiocosmos_request make = {0};
    aiocosmos_client *client;
    char why[256];
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-full";
    options.pending_max = PENDING_MAX;           /* 1024 unless set; memory_max limits them, too */
    options.on_failure = on_failure;
    options.on_room = submit_some;
    options.on_room_user_data = &all;
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return 1;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "players";
    make.partition_key_paths[0] = "/id";
    if (aiocosmos_run(client, &make, NULL) != 0) return 1;
    submit_some(client, &all);
    while (aiocosmos_pending(client) > 0) aiocosmos_step(client, 100);       /* your own loop */
    aiocosmos_destroy(client);
    printf("%d of %d stored, room awaited %d times\n", all.stored, SAVES, all.waits);
    return all.stored == SAVES && all.waits > 0 ? 0 : 1;
}
/* In Python, with azure.cosmos.aio, which has no limit of its own:
 *     room = asyncio.Semaphore(100)
 *     async def save(player):
 *         async with room:
 *             await players.upsert_item(player)
 *     await asyncio.gather(*(save(player) for player in all_players)) */
