/* test_client_data.c: what is beside items, queries and containers, from end to end: scripts, users, permissions,
 * tokens, conflicts, throughput, partitions deleted. */
#include "inside.h"

/* Answers with its arguments. */
static int echo(aiocosmos_emulator_call *call, void *user_data)
{
    (void)user_data;
    aiocosmos_emulator_print(call, "for ");
    aiocosmos_emulator_print(call, call->partition_key.len == 5 ? "a" : "?");
    aiocosmos_emulator_answer(call, call->input.ptr, call->input.len);
    return 200;
}

static void procedure_done(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_str log = aiocosmos_result_header(result, "x-ms-documentdb-script-log-results");
    (void)client;
    CHECK_INT(result->status, 0);
    CHECK_INT(result->fate, AIOCOSMOS_FATE_ANSWERED);
    CHECK(result->charge_ru > 0 && result->session_token.len > 0);
    snprintf((char *)user_data, 64, "%.*s|%.*s", (int)result->body.len, result->body.ptr, (int)log.len, log.ptr);
}

TEST(a_stored_procedure_is_executed)
{
    static const char *const logging[] = { "x-ms-documentdb-script-enable-logging: True", NULL };
    aiocosmos_client *client = begin();
    aiocosmos_request request = {0}, make_it = {0};
    char got[64] = "";
    CHECK(aiocosmos_emulator_register(emulator, "echo", echo, NULL));
    request.kind = AIOCOSMOS_EXECUTE_PROCEDURE;
    request.container = "C";
    request.id = "echo";
    request.pk = aiocosmos_pk_s("a");
    request.body = aiocosmos_text("[1, \"x\"]");
    request.headers = logging;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 404);
    make_it.kind = AIOCOSMOS_RAW;
    make_it.raw_verb = "POST";
    make_it.raw_link = "dbs/D/colls/C/sprocs";
    make_it.body = aiocosmos_text("{\"id\":\"echo\",\"body\":\"function () {}\"}");
    CHECK_INT(aiocosmos_run(client, &make_it, NULL), 0);
    request.done = procedure_done;
    request.user_data = got;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK_STR(got, "[1, \"x\"]|for%20a");
    request.body = aiocosmos_text(NULL);
    request.headers = NULL;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK_STR(got, "[]|");
    end(client);
}

/* And no others. */
TEST(the_items_of_a_key_are_deleted)
{
    aiocosmos_client *client = begin();
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_CREATE_ITEM;
    request.container = "C";
    request.pk = aiocosmos_pk_s("b");
    request.body = aiocosmos_text("{\"id\":\"b\"}");
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    memset(&request, 0, sizeof request);
    request.kind = AIOCOSMOS_DELETE_PARTITION;
    request.container = "C";
    CHECK_INT(aiocosmos_run(client, &request, NULL), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "pk: required");
    request.pk = aiocosmos_pk_s("a");
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK_INT(run(client, AIOCOSMOS_READ_ITEM, NULL, 0), 404);
    request.kind = AIOCOSMOS_READ_ITEM;
    request.id = "b";
    request.pk = aiocosmos_pk_s("b");
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    end(client);
}

static aiocosmos_request resource(aiocosmos_kind kind, aiocosmos_feed feed, const char *id)
{
    aiocosmos_request request;
    memset(&request, 0, sizeof request);
    request.kind = kind;
    request.feed = feed;
    request.id = id;
    if (feed == AIOCOSMOS_FEED_PERMISSIONS) request.user = "ann";
    else request.container = "C";
    return request;
}

/* Its body, in a room that the next call takes. */
static const char *answer(aiocosmos_client *client, const aiocosmos_request *request)
{
    static char room[4096];
    aiocosmos_body body;
    int status = aiocosmos_run(client, request, &body);
    if (status) snprintf(room, sizeof room, "%d: %s", status, aiocosmos_last_error(client));
    else snprintf(room, sizeof room, "%.*s", (int)body.text.len, body.text.ptr);
    aiocosmos_body_free(&body);
    return room;
}

static void count_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    aiocosmos_json key, item;
    (void)client;
    CHECK_INT(page->status, 0);
    memset(&item, 0, sizeof item);
    while (aiocosmos_json_next(page->items, &key, &item)) {
        CHECK(aiocosmos_json_at(item, "/id").type == AIOCOSMOS_JSON_STR);
        ++*(int *)user_data;
    }
}

static void keep_status(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    (void)client;
    *(int *)user_data = page->status;
}

/* Of the first page. */
static int status_of_page(aiocosmos_client *client, const aiocosmos_query_request *request)
{
    aiocosmos_cursor cursor;
    int status = 1;
    CHECK_INT(aiocosmos_query_open(client, request, &cursor), 0);
    CHECK_INT(aiocosmos_cursor_next(client, cursor, keep_status, &status), 0);
    CHECK_INT(aiocosmos_drain(client, 10000), 0);
    aiocosmos_cursor_close(client, cursor);
    return status;
}

/* How many there are in a list. */
static int listed(aiocosmos_client *client, aiocosmos_feed feed, const char *sql)
{
    aiocosmos_query_request request = {0};
    aiocosmos_cursor cursor;
    int count = 0;
    request.feed = feed;
    request.sql = sql;
    if (feed == AIOCOSMOS_FEED_PERMISSIONS) request.user = "ann";
    else if (feed != AIOCOSMOS_FEED_USERS) request.container = "C";
    CHECK_INT(aiocosmos_query_open(client, &request, &cursor), 0);
    CHECK_INT(aiocosmos_cursor_next(client, cursor, count_page, &count), 0);
    CHECK_INT(aiocosmos_drain(client, 10000), 0);
    aiocosmos_cursor_close(client, cursor);
    return count;
}

TEST(scripts_are_created_read_replaced_listed_and_deleted)
{
    aiocosmos_client *client = begin();
    int feed;
    for (feed = AIOCOSMOS_FEED_PROCEDURES; feed <= AIOCOSMOS_FEED_FUNCTIONS; feed++) {
        aiocosmos_request request = resource(AIOCOSMOS_CREATE_RESOURCE, (aiocosmos_feed)feed, "my script");
        aiocosmos_body body;
        aiocosmos_json_doc *doc;
        char etag[64];
        CHECK_INT(listed(client, (aiocosmos_feed)feed, NULL), 0);
        request.script = "function (a) {\n  return \"b\"; }";
        if (feed == AIOCOSMOS_FEED_TRIGGERS) {
            request.trigger_type = "Post";
            request.trigger_operation = "All";
        }
        CHECK_INT(aiocosmos_run(client, &request, &body), 0);
        CHECK_INT(aiocosmos_json_parse(NULL, body.text.ptr, body.text.len, &doc, NULL), 0);
        CHECK(aiocosmos_json_is_str(aiocosmos_json_at(aiocosmos_json_root(doc), "/body"), request.script));
        aiocosmos_json_get_str(aiocosmos_json_at(aiocosmos_json_root(doc), "/_etag"), etag, sizeof etag);
        aiocosmos_json_free(doc);
        aiocosmos_body_free(&body);
        CHECK_INT(aiocosmos_run(client, &request, NULL), 409);
        CHECK_INT(listed(client, (aiocosmos_feed)feed, NULL), 1);
        request.kind = AIOCOSMOS_REPLACE_RESOURCE;
        request.script = "function () {}";
        request.if_match = aiocosmos_text("\"other\"");
        CHECK_INT(aiocosmos_run(client, &request, NULL), 412);
        request.if_match = aiocosmos_text(etag);
        CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
        request = resource(AIOCOSMOS_READ_RESOURCE, (aiocosmos_feed)feed, "my script");
        CHECK(strstr(answer(client, &request), "\"body\":\"function () {}\""));
        request.kind = AIOCOSMOS_DELETE_RESOURCE;
        CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
        CHECK_INT(aiocosmos_run(client, &request, NULL), 404);
    }
    end(client);
}

TEST(users_and_permissions_and_conflicts)
{
    aiocosmos_client *client = begin();
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_CREATE_RESOURCE;
    request.feed = AIOCOSMOS_FEED_USERS;
    request.user = "ann";
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK_INT(listed(client, AIOCOSMOS_FEED_USERS, NULL), 1);
    request = resource(AIOCOSMOS_CREATE_RESOURCE, AIOCOSMOS_FEED_PERMISSIONS, "hers");
    request.permission_mode = "Read";
    request.resource = "dbs/D/colls/C";
    request.pk = aiocosmos_pk_s("a");
    request.expiry_s = 601;
    CHECK(strstr(answer(client, &request), "\"resourcePartitionKey\":[\"a\"]"));
    request.expiry_s = 1;
    request.id = "short";
    CHECK_INT(aiocosmos_run(client, &request, NULL), 400);
    CHECK_INT(listed(client, AIOCOSMOS_FEED_PERMISSIONS, NULL), 1);
    request = resource(AIOCOSMOS_REPLACE_RESOURCE, AIOCOSMOS_FEED_PERMISSIONS, "hers");
    request.permission_mode = "All";
    request.resource = "dbs/D/colls/C";
    CHECK(strstr(answer(client, &request), "\"permissionMode\":\"All\""));
    request = resource(AIOCOSMOS_DELETE_RESOURCE, AIOCOSMOS_FEED_PERMISSIONS, "hers");
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    request.kind = AIOCOSMOS_READ_RESOURCE;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 404);
    request.feed = AIOCOSMOS_FEED_USERS;
    request.id = NULL;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    request.kind = AIOCOSMOS_DELETE_RESOURCE;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK_INT(listed(client, AIOCOSMOS_FEED_CONFLICTS, NULL), 0);
    request = resource(AIOCOSMOS_DELETE_RESOURCE, AIOCOSMOS_FEED_CONFLICTS, "x");
    request.pk = aiocosmos_pk_s("a");
    CHECK_INT(aiocosmos_run(client, &request, NULL), 404);
    end(client);
}

/* "read a b, query a, create a" of an item each, as their statuses. */
static void with_token(aiocosmos_client *client, const char *token, int *read, int *query, int *create)
{
    aiocosmos_request request = {0};
    aiocosmos_query_request all = {0};
    request.kind = AIOCOSMOS_READ_ITEM;
    request.container = "C";
    request.id = "a";
    request.pk = aiocosmos_pk_s("a");
    request.token = token;
    *read = aiocosmos_run(client, &request, NULL);
    request.kind = AIOCOSMOS_UPSERT_ITEM;
    request.id = NULL;
    request.body = aiocosmos_text("{\"id\":\"a\"}");
    *create = aiocosmos_run(client, &request, NULL);
    all.container = "C";
    all.pk = aiocosmos_pk_s("a");
    all.sql = "SELECT * FROM c";
    all.token = token;
    *query = status_of_page(client, &all);
}

/* The client's own key, or another's that is wrong: what is asked with a permission's token is asked with that. But a
 * query's plan and the container's metadata are asked for with the key. */
TEST(a_token_signs_one_request)
{
    static const char *const modes[] = { "Read", "All" };
    aiocosmos_client *client = begin(), *stranger;
    aiocosmos_options options = {0};
    aiocosmos_request request = {0};
    int mode, read, query, create;
    char why[256];
    request.kind = AIOCOSMOS_CREATE_RESOURCE;
    request.feed = AIOCOSMOS_FEED_USERS;
    request.user = "ann";
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    options.endpoint = "http://localhost:8081";
    options.key = "d3Jvbmc=";
    options.allocator.fn = heap_fn;
    options.default_database = "D";
    options.platform = aiocosmos_emulator_platform(emulator);
    CHECK_INT(aiocosmos_create(&options, &stranger, why, sizeof why), 0);
    for (mode = 0; mode < 2; mode++) {
        aiocosmos_body body;
        aiocosmos_json_doc *doc;
        aiocosmos_json found;
        char token[1024];
        request = resource(AIOCOSMOS_CREATE_RESOURCE, AIOCOSMOS_FEED_PERMISSIONS, modes[mode]);
        request.permission_mode = modes[mode];
        request.resource = "dbs/D/colls/C";
        CHECK_INT(aiocosmos_run(client, &request, &body), 0);
        CHECK_INT(aiocosmos_json_parse(NULL, body.text.ptr, body.text.len, &doc, NULL), 0);
        found = aiocosmos_json_at(aiocosmos_json_root(doc), "/_token");
        CHECK(aiocosmos_json_get_str(found, token, sizeof token) < sizeof token);
        aiocosmos_json_free(doc);
        aiocosmos_body_free(&body);
        with_token(stranger, token, &read, &query, &create);
        CHECK_INT(read, 0);
        CHECK_INT(create, mode ? 0 : 403);
        with_token(client, token, &read, &query, &create);
        CHECK_INT(query, 0);
        CHECK_INT(create, mode ? 0 : 403);
    }
    with_token(stranger, NULL, &read, &query, &create);
    CHECK_INT(read, 401);
    CHECK_INT(query, 401);
    with_token(client, "type=resource&ver=1&sig=bm9uZQ==", &read, &query, &create);
    CHECK_INT(read, 401);
    CHECK_INT(query, 401);
    with_token(client, NULL, &read, &query, &create);
    CHECK_INT(read, 0);
    aiocosmos_destroy(stranger);
    end(client);
}
