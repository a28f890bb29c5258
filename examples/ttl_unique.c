/* ttl_unique.c: a name is reserved for one player only, and free again after a second. The container sees to
 * both, by a unique key and a time to live. With the emulator:
 * cc -I. -o build/ttl_unique examples/ttl_unique.c -lbearssl && build/ttl_unique */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>

enum { RESERVED_S = 1, EVERY_MS = 200, TRIES = 50, SUB_STATUS_UNIQUE_KEY = 3301 };
typedef struct answer { int status, sub_status; } answer;

static void on_reserved(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    answer *out = user_data;
    (void)client;
    out->status = result->status;
    out->sub_status = result->sub_status;
    if (result->status != 0 && result->status != 409)
        printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
}

static answer reserve(aiocosmos_client *client, const char *player, const char *name)
{
    answer out = {AIOCOSMOS_E_ARGUMENT, 0};
    aiocosmos_request request = {0};
    aiocosmos_jw w;
    char text[256];                              /* submit copies it */
    aiocosmos_jw_init(&w, text, sizeof text);
    aiocosmos_jw_object(&w, NULL);
    aiocosmos_jw_str(&w, "id", player);
    aiocosmos_jw_str(&w, "realm", "eu");         /* keys are unique within a partition key */
    aiocosmos_jw_str(&w, "name", name);
    aiocosmos_jw_i64(&w, "ttl", RESERVED_S);     /* without it, it would stay */
    aiocosmos_jw_end(&w);
    request.kind = AIOCOSMOS_UPSERT_ITEM;        /* again by the same player: for longer */
    request.container = "names";
    request.pk = aiocosmos_pk_s("eu");
    request.body = aiocosmos_jw_finish(&w);
    request.done = on_reserved;
    request.user_data = &out;
    if (aiocosmos_run(client, &request, NULL) == AIOCOSMOS_E_ARGUMENT) puts(aiocosmos_last_error(client));
    return out;
}

static bool make_container(aiocosmos_client *client)
{
    static const char *const unique_keys[] = {"/name", NULL};
    aiocosmos_request make = {0};
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return false;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "names";
    make.partition_key_paths[0] = "/realm";
    make.unique_keys = unique_keys;              /* these cannot be changed later */
    make.default_ttl_s = -1;                     /* items live for ever, but for those that say otherwise */
    return aiocosmos_run(client, &make, NULL) == 0;
}

int main(void)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    answer bob;
    bool was_taken;
    char why[256];
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-ttl-unique";
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    if (!make_container(client)) return puts(aiocosmos_last_error(client)), 1;
    if (reserve(client, "ann", "Storm").status != 0) return puts("ann comes too late"), 1;
    bob = reserve(client, "bob", "Storm");
    was_taken = bob.status == 409 && bob.sub_status == SUB_STATUS_UNIQUE_KEY;    /* not: there is a bob */
    printf("ann has reserved the name; bob is told %d/%d\n", bob.status, bob.sub_status);
    for (int i = 0; i < TRIES && bob.status == 409; i++) {
        aiocosmos_step(client, EVERY_MS);        /* waits, as nothing is pending */
        bob = reserve(client, "bob", "Storm");
    }
    printf("her reservation is over; bob is told %d\n", bob.status);
    aiocosmos_destroy(client);
    return was_taken && bob.status == 0 ? 0 : 1;
}
/* In .NET, with Microsoft.Azure.Cosmos:
 *     var properties = new ContainerProperties("names", "/realm") { DefaultTimeToLive = -1 };
 *     properties.UniqueKeyPolicy.UniqueKeys.Add(new UniqueKey { Paths = { "/name" } });
 *     Container names = await database.CreateContainerIfNotExistsAsync(properties);
 *     try { await names.UpsertItemAsync(new { id = "ann", realm = "eu", name = "Storm", ttl = 1 }); }
 *     catch (CosmosException e) when (e.StatusCode == HttpStatusCode.Conflict) { taken = true; } */
