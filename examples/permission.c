/* permission.c: a player's device reads her scores by itself. It has a token of a permission, not the account's key.
 * With build/aiocosmos-emulator: cc -I. -o build/permission examples/permission.c -lbearssl && build/permission */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATABASE "example-permission"
#define TOKEN_BYTES 2048

static void keep_token(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    char *token = user_data;
    (void)client;
    if (aiocosmos_json_get_str(aiocosmos_json_at(aiocosmos_result_json(result), "/_token"), token, TOKEN_BYTES)
        >= TOKEN_BYTES) *token = 0;              /* too long, or there is none */
}

/* The server, which has the key, when she logs in. Each answer has a new token; so has a READ_RESOURCE. */
static bool permit(aiocosmos_client *server, const char *player, char *token)
{
    aiocosmos_request user = {0}, permission = {0};
    int status;
    user.kind = AIOCOSMOS_CREATE_RESOURCE;
    user.feed = AIOCOSMOS_FEED_USERS;
    user.user = player;                          /* a name within the database: nobody logs in as it */
    status = aiocosmos_run(server, &user, NULL);
    if (status != 0 && status != 409) return false;
    permission.kind = AIOCOSMOS_CREATE_RESOURCE;
    permission.feed = AIOCOSMOS_FEED_PERMISSIONS;
    permission.user = player;
    permission.id = "own-scores";
    permission.permission_mode = "Read";
    permission.resource = "dbs/" DATABASE "/colls/scores";
    permission.pk = aiocosmos_pk_s(player);      /* of the container, her items only */
    permission.expiry_s = 600;
    permission.done = keep_token;
    permission.user_data = token;
    status = aiocosmos_run(server, &permission, NULL);
    permission.kind = AIOCOSMOS_REPLACE_RESOURCE;
    if (status == 409) status = aiocosmos_run(server, &permission, NULL);    /* from an earlier log-in */
    return status == 0 && *token;
}

/* Her device has been told where, and the token. One that runs for longer gives a token_fn, which fetches the next. */
static aiocosmos_client *start_device(const char *endpoint, const char *token)
{
    aiocosmos_options options = {0};
    aiocosmos_client *device;
    char why[256];
    options.endpoint = endpoint;
    options.token = token;
    options.default_database = DATABASE;
    if (aiocosmos_create(&options, &device, why, sizeof why) < 0) puts(why);
    return device;                               /* NULL after a failure */
}

/* token NULL: as the client is. */
static int ask(aiocosmos_client *client, aiocosmos_kind kind, const char *player, const char *token)
{
    aiocosmos_request request = {0};
    int status;
    request.kind = kind;
    request.container = "scores";
    request.pk = aiocosmos_pk_s(player);
    request.token = token;
    if (kind == AIOCOSMOS_READ_ITEM) request.id = "best";
    else request.body = aiocosmos_text(*player == 'a' ? "{\"id\":\"best\",\"player\":\"ann\",\"points\":7}"
                                                      : "{\"id\":\"best\",\"player\":\"bob\",\"points\":9}");
    status = aiocosmos_run(client, &request, NULL);
    printf("%s %s's best: %s\n", kind == AIOCOSMOS_READ_ITEM ? "read" : "write", player,
           status == 0 ? "done" : aiocosmos_last_error(client));
    return status;
}

int main(void)
{
    aiocosmos_options options = {0};
    aiocosmos_request make = {0};
    aiocosmos_client *server, *device;
    char why[256], token[TOKEN_BYTES] = "", endpoint[256] = "";
    bool ok;
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    sscanf(options.connection_string, "AccountEndpoint=%255[^;]", endpoint);
    options.default_database = DATABASE;
    if (aiocosmos_create(&options, &server, why, sizeof why) < 0) return puts(why), 1;
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(server, &make, NULL) != 0) return puts(aiocosmos_last_error(server)), 1;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "scores";
    make.partition_key_paths[0] = "/player";
    if (aiocosmos_run(server, &make, NULL) != 0) return puts(aiocosmos_last_error(server)), 1;
    ok = ask(server, AIOCOSMOS_UPSERT_ITEM, "ann", NULL) == 0 && ask(server, AIOCOSMOS_UPSERT_ITEM, "bob", NULL) == 0;
    if (!ok || !permit(server, "ann", token)) return puts(aiocosmos_last_error(server)), 1;
    device = start_device(endpoint, token);
    if (!device) return 1;
    puts("ann's device:");
    ok = ask(device, AIOCOSMOS_READ_ITEM, "ann", NULL) == 0;
    ok = ask(device, AIOCOSMOS_UPSERT_ITEM, "ann", NULL) == 403 && ok;       /* Read, not All */
    ok = ask(device, AIOCOSMOS_READ_ITEM, "bob", NULL) == 403 && ok;         /* of another key */
    /* Who asks for many users needs no client for each: a request may have its own token. */
    puts("the server, for ann:");
    ok = ask(server, AIOCOSMOS_READ_ITEM, "ann", token) == 0 && ok;
    ok = ask(server, AIOCOSMOS_READ_ITEM, "bob", token) == 403 && ok;
    aiocosmos_destroy(device);
    aiocosmos_destroy(server);
    return ok ? 0 : 1;
}
/* In .NET, with Microsoft.Azure.Cosmos:
 *     User ann = await database.UpsertUserAsync("ann");
 *     var wanted = new PermissionProperties("own-scores", PermissionMode.Read, scores, new PartitionKey("ann"));
 *     PermissionResponse hers = await ann.UpsertPermissionAsync(wanted, tokenExpiryInSeconds: 600);
 *     using var device = new CosmosClient(endpoint, hers.Resource.Token);
 *     await device.GetContainer(database.Id, "scores").ReadItemAsync<Score>("best", new PartitionKey("ann")); */
