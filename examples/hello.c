/* hello.c: a database, a container, one item written and read back. With AIOCOSMOS_CONNECTION_STRING unset it talks to
 * the emulator: build/aiocosmos-emulator &
 *
 * In Python, with azure-cosmos, which waits in each line:
 *     database = CosmosClient(endpoint, key).create_database_if_not_exists("hello")
 *     players = database.create_container_if_not_exists("players", PartitionKey(path="/region"))
 *     players.upsert_item({"id": "ann", "region": "eu", "score": 7})
 *     print(players.read_item("ann", partition_key="eu")) */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_ann(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    bool *ok = user_data;
    (void)client;
    *ok = result->status == 0;
    if (*ok) printf("%.*s for %.2f RU\n", (int)result->body.len, result->body.ptr, result->charge_ru);
}

/* Sees every operation that failed, so that one place can say so. */
static void on_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    (void)user_data;
    printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
    if (result->status == AIOCOSMOS_E_CONNECT) puts("Is the emulator running? build/aiocosmos-emulator &");
}

int main(void)
{
    static const char ann[] = "{\"id\":\"ann\",\"region\":\"eu\",\"score\":7}";
    aiocosmos_options options = {0};
    aiocosmos_request make = {0}, save = {0}, read = {0};
    aiocosmos_client *client;
    char why[256];
    bool ok = false;

    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "hello";
    options.on_failure = on_failure;
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;

    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return 1;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "players";
    make.partition_key_paths[0] = "/region";
    if (aiocosmos_run(client, &make, NULL) != 0) return 1;

    save.kind = AIOCOSMOS_UPSERT_ITEM;           /* nothing waits for this answer */
    save.container = "players";
    save.pk = aiocosmos_pk_s("eu");
    save.body.ptr = ann;
    save.body.len = strlen(ann);
    save.order_key = 1;                          /* the read of the same key comes after it */
    if (aiocosmos_submit(client, &save, NULL) < 0) puts(aiocosmos_last_error(client));

    read.kind = AIOCOSMOS_READ_ITEM;
    read.container = "players";
    read.id = "ann";
    read.pk = aiocosmos_pk_s("eu");
    read.order_key = 1;
    read.done = on_ann;
    read.user_data = &ok;
    if (aiocosmos_submit(client, &read, NULL) < 0) puts(aiocosmos_last_error(client));

    while (aiocosmos_pending(client) > 0) aiocosmos_step(client, 100);       /* your own loop */
    aiocosmos_destroy(client);
    return ok ? 0 : 1;
}
