/* hierarchical_keys.c: sessions lie under tenant, user and session, so that a tenant may grow beyond one partition, and
 * all of a tenant, or of one of its users, are still read without asking every partition. With the emulator:
 * cc -I. -o build/hierarchical_keys examples/hierarchical_keys.c -lbearssl && build/hierarchical_keys */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>

enum { TENANTS = 3, USERS = 4, SESSIONS = 5 };   /* users of a tenant, sessions of a user */
static int saved;
typedef struct reader { aiocosmos_cursor query; int rows; } reader;

static void on_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
}

static void on_saved(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    saved += result->status == 0;
}

static void save_session(aiocosmos_client *client, int tenant, int user, int session)
{
    char text[128], tenant_id[24], user_id[24];
    aiocosmos_request request = {0};
    snprintf(tenant_id, sizeof tenant_id, "tenant-%d", tenant);
    snprintf(user_id, sizeof user_id, "user-%d", user);
    request.kind = AIOCOSMOS_UPSERT_ITEM;
    request.container = "sessions";
    request.pk = aiocosmos_pk3(aiocosmos_s(tenant_id), aiocosmos_s(user_id), aiocosmos_i(session));
    snprintf(text, sizeof text, "{\"id\":\"1\",\"tenant\":\"%s\",\"user\":\"%s\",\"session\":%d}", tenant_id, user_id,
             session);
    request.body = aiocosmos_text(text);
    request.done = on_saved;
    if (aiocosmos_submit(client, &request, NULL) < 0) puts(aiocosmos_last_error(client));
}

static void on_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    reader *r = user_data;
    if (page->status != 0) r->rows = -1;         /* said by on_failure */
    else r->rows += (int)page->item_count;
    if (page->more && aiocosmos_cursor_next(client, r->query, on_page, r) < 0) r->rows = -1;
}

/* A key of fewer levels than the container has is a prefix. -1: not all could be read. */
static int count_sessions(aiocosmos_client *client, aiocosmos_pk prefix)
{
    reader r = {{0}, 0};
    aiocosmos_query_request request = {0};
    request.container = "sessions";
    request.sql = "SELECT c.session FROM c";
    request.pk = prefix;
    if (aiocosmos_query_open(client, &request, &r.query) < 0 ||
        aiocosmos_cursor_next(client, r.query, on_page, &r) < 0) return puts(aiocosmos_last_error(client)), -1;
    aiocosmos_drain(client, -1);
    aiocosmos_cursor_close(client, r.query);
    return r.rows;
}

int main(void)
{
    aiocosmos_options options = {0};
    aiocosmos_request make = {0};
    aiocosmos_client *client;
    int i, of_tenant, of_user;
    char why[256];
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-hierarchical-keys";
    options.on_failure = on_failure;
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return 1;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "sessions";
    make.partition_key_paths[0] = "/tenant";
    make.partition_key_paths[1] = "/user";
    make.partition_key_paths[2] = "/session";
    if (aiocosmos_run(client, &make, NULL) != 0) return 1;
    for (i = 0; i < TENANTS * USERS * SESSIONS; i++)
        save_session(client, i / (USERS * SESSIONS), i / SESSIONS % USERS, i % SESSIONS);
    aiocosmos_drain(client, -1);
    of_tenant = count_sessions(client, aiocosmos_pk_s("tenant-1"));
    of_user = count_sessions(client, aiocosmos_pk2(aiocosmos_s("tenant-1"), aiocosmos_s("user-2")));
    printf("%d sessions, %d of tenant-1, %d of its user-2\n", saved, of_tenant, of_user);
    aiocosmos_destroy(client);
    return saved == TENANTS * USERS * SESSIONS && of_tenant == USERS * SESSIONS && of_user == SESSIONS ? 0 : 1;
}
/* In .NET, with Microsoft.Azure.Cosmos:
 *     var properties = new ContainerProperties("sessions", new List<string> { "/tenant", "/user", "/session" });
 *     var whole = new PartitionKeyBuilder().Add("tenant-1").Add("user-2").Add(3).Build();
 *     await container.UpsertItemAsync(new { id = "1", tenant = "tenant-1", user = "user-2", session = 3 }, whole);
 *     var prefix = new PartitionKeyBuilder().Add("tenant-1").Build();
 *     using var pages = container.GetItemQueryIterator<Session>("SELECT c.session FROM c",
 *         requestOptions: new QueryRequestOptions { PartitionKey = prefix });
 *     while (pages.HasMoreResults) rows += (await pages.ReadNextAsync()).Count; */
