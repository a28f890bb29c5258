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
    *(int *)user_data = 0;
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

/* What a query's first page is, as `page` has it: count_page, keep_status. -1: none came. */
static int first_page(aiocosmos_client *client, const aiocosmos_query_request *request, aiocosmos_page_fn page)
{
    aiocosmos_cursor cursor;
    int found = -1;
    CHECK_INT(aiocosmos_query_open(client, request, &cursor), 0);
    CHECK_INT(aiocosmos_cursor_next(client, cursor, page, &found), 0);
    CHECK_INT(aiocosmos_drain(client, 10000), 0);
    aiocosmos_cursor_close(client, cursor);
    return found;
}

/* How many there are in a list. */
static int listed(aiocosmos_client *client, aiocosmos_feed feed, const char *sql)
{
    aiocosmos_query_request request = {0};
    request.feed = feed;
    request.sql = sql;
    if (feed == AIOCOSMOS_FEED_PERMISSIONS) request.user = "ann";
    else if (feed != AIOCOSMOS_FEED_USERS) request.container = "C";
    return first_page(client, &request, count_page);
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
    request.id = "bob";
    CHECK_INT(aiocosmos_run(client, &request, NULL), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "id: not of a user, whose name goes into user");
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
    *query = first_page(client, &all, keep_status);
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

/*--- Throughput ---*/

static void keep_offer(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_json root = aiocosmos_result_json(result);
    aiocosmos_str least = aiocosmos_result_header(result, "x-ms-cosmos-min-throughput");
    aiocosmos_str pending = aiocosmos_result_header(result, "x-ms-offer-replace-pending");
    int64_t manual = 0, autoscale = 0;
    (void)client;
    aiocosmos_json_get_i64(aiocosmos_json_at(root, "/content/offerThroughput"), &manual);
    aiocosmos_json_get_i64(aiocosmos_json_at(root, "/content/offerAutopilotSettings/maxThroughput"), &autoscale);
    snprintf((char *)user_data, 128, "%d: %s%lld, least %.*s%s, %u", result->status, autoscale ? "to " : "",
             (long long)(autoscale ? autoscale : manual), (int)least.len, least.ptr,
             pending.len && *pending.ptr == 't' ? ", pending" : "", (unsigned)result->attempts);
}

/* "status: value, least n, attempts" */
static const char *throughput(aiocosmos_client *client, const char *container, uint32_t manual, uint32_t autoscale,
                              bool until_replaced)
{
    static char text[128];
    aiocosmos_request request = {0};
    request.kind = manual || autoscale ? AIOCOSMOS_REPLACE_THROUGHPUT : AIOCOSMOS_READ_THROUGHPUT;
    request.container = container;
    request.throughput_ru = manual;
    request.autoscale_max_ru = autoscale;
    request.until_replaced = until_replaced;
    request.done = keep_offer;
    request.user_data = text;
    aiocosmos_run(client, &request, NULL);
    return text;
}

static void make_container(aiocosmos_client *client, const char *id, uint32_t manual, uint32_t autoscale)
{
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.container = id;
    request.partition_key_paths[0] = "/pk";
    request.throughput_ru = manual;
    request.autoscale_max_ru = autoscale;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
}

TEST(throughput_is_read_and_replaced)
{
    aiocosmos_client *client = begin();
    make_container(client, "manual", 500, 0);
    make_container(client, "auto", 0, 5000);
    CHECK_STR(throughput(client, "manual", 0, 0, false), "0: 500, least 400, 3");
    CHECK_STR(throughput(client, "auto", 0, 0, false), "0: to 5000, least 1000, 3");
    CHECK_STR(throughput(client, "manual", 700, 0, false), "0: 700, least 400, 4");
    CHECK_STR(throughput(client, "auto", 0, 7000, false), "0: to 7000, least 1000, 4");
    /* The service chooses 4000 and 7000; the second PUT says what is wanted. */
    CHECK_STR(throughput(client, "manual", 0, 6000, false), "0: to 6000, least 1000, 5");
    CHECK_STR(throughput(client, "auto", 900, 0, false), "0: 900, least 400, 5");
    CHECK_STR(throughput(client, "manual", 0, 0, false), "0: to 6000, least 1000, 3");
    CHECK_STR(throughput(client, "manual", 6000, 0, false), "0: 6000, least 400, 4");
    CHECK_STR(throughput(client, "manual", 1, 0, false), "400: 0, least , 4");
    CHECK_STR(throughput(client, "none", 0, 0, false), "404: 0, least , 1");
    end(client);
}

TEST(throughput_is_replaced_before_it_is_said_so)
{
    aiocosmos_client *client = begin();
    make_container(client, "manual", 500, 0);
    CHECK_STR(throughput(client, "manual", 20000, 0, false), "0: 20000, least 400, pending, 4");
    CHECK_STR(throughput(client, "manual", 30000, 0, true), "423: 0, least , 4");
    aiocosmos_emulator_advance(emulator, 2000);
    CHECK_STR(throughput(client, "manual", 30000, 0, true), "0: 30000, least 400, 6");
    end(client);
}

TEST(what_has_no_throughput_is_said_so)
{
    aiocosmos_client *client;
    aiocosmos_request request = {0};
    CHECK(open_emulator());
    CHECK_INT(open_client(&client, "http://localhost:8081"), 0);
    request.kind = AIOCOSMOS_CREATE_DATABASE;
    request.throughput_ru = 800;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    make_container(client, "C", 0, 0);
    CHECK_STR(throughput(client, NULL, 0, 0, false), "0: 800, least 400, 3");
    CHECK_STR(throughput(client, NULL, 0, 9000, false), "0: to 9000, least 1000, 5");
    CHECK_STR(throughput(client, "C", 0, 0, false), "404: 0, least , 2");
    CHECK(strstr(aiocosmos_last_error(client), "no throughput of its own"));
    end(client);
}

/*--- Each step of it may be the last ---*/

static struct { unsigned calls; int status; aiocosmos_fate fate; char message[512]; } ended;

static void on_end(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    (void)user_data;
    ended.calls++;
    ended.status = result->status;
    ended.fate = result->fate;
    snprintf(ended.message, sizeof ended.message, "%.*s", (int)result->message.len, result->message.ptr);
    CHECK_INT(result->op.id != 0, 1);
}

static aiocosmos_op begin_replacing(aiocosmos_client *client, uint32_t timeout_ms)
{
    aiocosmos_request request = {0};
    aiocosmos_op op;
    memset(&ended, 0, sizeof ended);
    request.kind = AIOCOSMOS_REPLACE_THROUGHPUT;
    request.container = "manual";
    request.autoscale_max_ru = 50000;
    request.until_replaced = true;
    request.timeout_ms = timeout_ms;
    request.done = on_end;
    CHECK_INT(aiocosmos_submit(client, &request, &op), 0);
    return op;
}

enum { CANCEL, DESTROY, FORGET };

/* After so many steps. How many requests had been sent. */
static uint64_t end_after(unsigned steps, int how)
{
    aiocosmos_client *client = begin();
    aiocosmos_stats before, after;
    aiocosmos_op op;
    make_container(client, "manual", 500, 0);
    aiocosmos_get_stats(client, &before);
    op = begin_replacing(client, 0);
    aiocosmos_set_step_budget_us(client, 1);
    for (; steps > 0 && !ended.calls; steps--) aiocosmos_step(client, aiocosmos_next_timeout_ms(client));
    aiocosmos_set_step_budget_us(client, 0);
    aiocosmos_get_stats(client, &after);
    if (how == DESTROY || ended.calls) {
        end(client);
        CHECK_INT(ended.calls, 1);
        CHECK(ended.status == AIOCOSMOS_E_SHUTDOWN || ended.status == 0);
    } else {
        CHECK(how == CANCEL ? aiocosmos_cancel(client, op) : aiocosmos_forget(client, op));
        CHECK_INT(aiocosmos_drain(client, 60000), 0);
        CHECK_INT(ended.calls, how == CANCEL);
        if (how == FORGET) CHECK_STR(throughput(client, "manual", 0, 0, false), "0: to 50000, least 1000, 3");
        else CHECK_INT(ended.status, AIOCOSMOS_E_CANCELLED);
        end(client);
    }
    /* Nothing has been written before the fourth request. */
    if (ended.status && after.attempts - before.attempts < 4) CHECK_INT(ended.fate, AIOCOSMOS_FATE_NOT_SENT);
    if (ended.status && after.attempts - before.attempts > 4) CHECK_INT(ended.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    return after.attempts - before.attempts;
}

TEST(a_replacement_ends_in_each_of_its_steps)
{
    uint64_t requests = 0, seen = 0;
    unsigned steps;
    int how;
    for (how = CANCEL; how <= FORGET; how++) {
        for (steps = 0, seen = requests = 0; steps < 400 && requests < 7; steps++) {
            requests = end_after(steps, how);
            seen |= UINT64_C(1) << requests;
        }
        CHECK_INT(seen & 0x7f, 0x7f);   /* in each of its requests */
    }
}

TEST(one_timeout_is_for_all_requests)
{
    aiocosmos_client *client = begin();
    make_container(client, "manual", 500, 0);
    begin_replacing(client, 700);   /* it is pending for 2 s */
    CHECK_INT(aiocosmos_drain(client, 60000), 0);
    CHECK_INT(ended.status, AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(ended.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    CHECK_STR(ended.message, "timed out after 5 attempts while waiting to ask again");
    end(client);
}

static void break_it(const char *rule)
{
    char why[200];
    if (!aiocosmos_emulator_fault(emulator, rule, why, sizeof why)) test_fail(__FILE__, __LINE__, "%s: %s", rule, why);
}

TEST(what_is_said_of_repeats_counts_those_of_one_request)
{
    aiocosmos_client *client = begin();
    make_container(client, "manual", 500, 0);
    CHECK_STR(throughput(client, "manual", 1, 0, false), "400: 0, least , 4");
    CHECK(!strstr(aiocosmos_last_error(client), "(attempt"));
    break_it("kind=replace_offer,status=429,count=1");
    CHECK_STR(throughput(client, "manual", 1, 0, false), "400: 0, least , 5");
    CHECK(strstr(aiocosmos_last_error(client), " (attempt 2)"));
    aiocosmos_emulator_clear_faults(emulator);
    end(client);
}

/* What can be asked again is; a write whose answer is lost is said to be maybe applied, if it may not be repeated. */
TEST(throughput_is_replaced_through_faults)
{
    static const struct { const char *rule; int status; aiocosmos_fate fate; } faults[] = {
        { "kind=read_container,status=503,count=2", 0, AIOCOSMOS_FATE_ANSWERED },
        { "kind=query_offers,status=429,count=2", 0, AIOCOSMOS_FATE_ANSWERED },
        { "kind=query_offers,action=close,when=after,count=1", 0, AIOCOSMOS_FATE_ANSWERED },
        { "kind=read_offer,action=reset,count=2", 0, AIOCOSMOS_FATE_ANSWERED },
        { "kind=read_offer,action=close,skip=1,count=2", 0, AIOCOSMOS_FATE_ANSWERED },
        { "kind=replace_offer,status=429,count=1", 0, AIOCOSMOS_FATE_ANSWERED },
        { "kind=replace_offer,status=429,skip=1,count=1", 0, AIOCOSMOS_FATE_ANSWERED },
        { "kind=replace_offer,action=close,when=after,skip=1,count=1", 0, AIOCOSMOS_FATE_ANSWERED },
        { "kind=replace_offer,action=close,when=after,count=1", AIOCOSMOS_E_CONNECT, AIOCOSMOS_FATE_MAYBE_APPLIED },
        { "kind=replace_offer,status=403,count=1", 403, AIOCOSMOS_FATE_ANSWERED },
        { "kind=query_offers,action=garble,at=300,count=1", AIOCOSMOS_E_PROTOCOL, AIOCOSMOS_FATE_NOT_SENT }
    };
    size_t i;
    for (i = 0; i < sizeof faults / sizeof *faults; i++) {
        aiocosmos_client *client = begin();
        make_container(client, "manual", 500, 0);
        break_it(faults[i].rule);
        begin_replacing(client, 0);
        CHECK_INT(aiocosmos_drain(client, 60000), 0);
        if (ended.status != faults[i].status) printf("  %s\n", faults[i].rule);
        CHECK_INT(ended.calls, 1);
        CHECK_INT(ended.status, faults[i].status);
        CHECK_INT(ended.fate, faults[i].fate);
        aiocosmos_emulator_clear_faults(emulator);
        if (ended.fate == AIOCOSMOS_FATE_MAYBE_APPLIED)
            CHECK_STR(throughput(client, "manual", 0, 50000, true), "0: to 50000, least 1000, 6");
        end(client);
    }
}

/* The nth allocation fails: it ends all the same, once, and memory is all given back. */
TEST(throughput_is_replaced_or_not_without_memory)
{
    unsigned long nth, failures;
    bool failed = true;
    for (nth = 1; failed && nth < 2000; nth++) {
        aiocosmos_client *client = begin();
        aiocosmos_request request = {0};
        int refused;
        make_container(client, "manual", 500, 0);
        memset(&ended, 0, sizeof ended);
        request.kind = AIOCOSMOS_REPLACE_THROUGHPUT;
        request.container = "manual";
        request.autoscale_max_ru = 50000;
        request.done = on_end;
        failures = heap.failed;
        heap_fail(&heap, nth, 1);
        refused = aiocosmos_submit(client, &request, NULL);
        CHECK_INT(aiocosmos_drain(client, 60000), 0);
        failed = heap.failed > failures;
        heap_recover(&heap);
        CHECK_INT(ended.calls, refused == 0);
        if (!refused && !failed) CHECK_INT(ended.status, 0);
        end(client);
    }
    CHECK(nth > 5);
}

/*--- Keys and tokens ---*/

static int read_definition(aiocosmos_client *client, const char *container)
{
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_READ_CONTAINER;
    request.container = container;
    return aiocosmos_run(client, &request, NULL);
}

TEST(where_a_key_stands)
{
    aiocosmos_client *client = begin();
    aiocosmos_request request = {0};
    aiocosmos_query_request query = {0};
    aiocosmos_str epk = aiocosmos_epk_of(client, "C", aiocosmos_pk_s("a"));
    char first[80], from[80], to[80];
    size_t i;
    CHECK_INT(epk.len, 0);
    CHECK(strstr(aiocosmos_last_error(client), "not known yet"));
    CHECK_INT(read_definition(client, "C"), 0);
    CHECK_INT(aiocosmos_epk_of(client, "C", aiocosmos_pk_s(NULL)).len, 0);
    CHECK_STR(aiocosmos_last_error(client), "pk: required");
    CHECK_INT(aiocosmos_epk_of(client, "C", aiocosmos_pk2(aiocosmos_s("a"), aiocosmos_s("b"))).len, 0);
    CHECK(strstr(aiocosmos_last_error(client), "pk: "));
    request.kind = AIOCOSMOS_CREATE_ITEM;
    request.container = "C";
    request.pk = aiocosmos_pk_s("b");
    request.body = aiocosmos_text("{\"id\":\"b\"}");
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    epk = aiocosmos_epk_of(client, "C", aiocosmos_pk_s("a"));
    snprintf(first, sizeof first, "%.*s", (int)epk.len, epk.ptr);
    epk = aiocosmos_epk_of(client, "dbs/D/colls/C", aiocosmos_pk_s("b"));
    CHECK_INT(epk.len, 32);
    snprintf(from, sizeof from, "%.*s", (int)epk.len, epk.ptr);
    memcpy(to, from, sizeof to);
    for (i = epk.len; to[i - 1] == 'F'; i--) to[i - 1] = '0';
    to[i - 1] = to[i - 1] == '9' ? 'A' : (char)(to[i - 1] + 1);
    query.container = "C";
    query.sql = "SELECT * FROM c";
    query.skip_empty = true;
    query.epk_min = from;
    query.epk_max = to;
    CHECK_INT(first_page(client, &query, count_page), 1);    /* and not that of "a" */
    query.epk_min = NULL;
    query.epk_max = from;
    CHECK_INT(first_page(client, &query, count_page), memcmp(first, from, 32) < 0);
    query.epk_min = to;
    query.epk_max = "FF";
    CHECK_INT(first_page(client, &query, count_page), memcmp(first, from, 32) > 0);
    end(client);
}

TEST(keys_of_several_levels_stand_behind_their_first)
{
    aiocosmos_client *client = begin();
    aiocosmos_request request = {0};
    aiocosmos_str epk;
    char first[80];
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.container = "H";
    request.partition_key_paths[0] = "/a";
    request.partition_key_paths[1] = "/b";
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK_INT(read_definition(client, "H"), 0);
    epk = aiocosmos_epk_of(client, "H", aiocosmos_pk_s("x"));
    CHECK_INT(epk.len, 32);
    snprintf(first, sizeof first, "%.*s", (int)epk.len, epk.ptr);
    epk = aiocosmos_epk_of(client, "H", aiocosmos_pk2(aiocosmos_s("x"), aiocosmos_i(1)));
    CHECK_INT(epk.len, 64);
    CHECK_MEM(epk.ptr, first, 32);
    end(client);
}

/* Several tokens are one, with commas between them. */
TEST(session_tokens_are_merged)
{
    aiocosmos_client *client = begin();
    aiocosmos_str token;
    CHECK_INT(aiocosmos_session_merge(client, "D", "other", aiocosmos_text("0:-1#5,1:-1#7,0:-1#9,1:-1#6")), 0);
    token = aiocosmos_session_get(client, "D", "other");
    CHECK(token.len == 13 && memcmp(token.ptr, "0:-1#9,1:-1#7", 13) == 0);
    end(client);
}

/*--- Queries ---*/

static uint64_t requests_of(aiocosmos_client *client, bool local_scores)
{
    aiocosmos_query_request request = {0};
    aiocosmos_cursor_stats stats;
    aiocosmos_cursor cursor;
    int count = 0;
    request.container = "C";
    request.sql = "SELECT TOP 3 c.id FROM c WHERE c.id = 'a' ORDER BY RANK FullTextScore(c.t, 'x')";
    request.local_scores = local_scores;
    request.skip_empty = true;
    CHECK_INT(aiocosmos_query_open(client, &request, &cursor), 0);
    CHECK_INT(aiocosmos_cursor_next(client, cursor, count_page, &count), 0);
    CHECK_INT(aiocosmos_drain(client, 10000), 0);
    CHECK_INT(count, 1);
    CHECK(aiocosmos_cursor_get_stats(client, cursor, &stats));
    aiocosmos_cursor_close(client, cursor);
    return stats.requests;
}

/* The statistics are of all ranges, or of those that the query is about. */
TEST(full_text_is_scored_where_it_is_asked)
{
    aiocosmos_client *client;
    aiocosmos_emulator_options options = {0};
    options.allocate = heap_fn;
    options.partitions = 4;
    emulator = aiocosmos_emulator_open(&options, NULL);
    CHECK(emulator != NULL);
    CHECK_INT(open_client(&client, "http://localhost:8081"), 0);
    CHECK_INT(make(client), 0);
    CHECK_INT(run(client, AIOCOSMOS_CREATE_ITEM, "{\"id\":\"a\",\"t\":\"x y\"}", 0), 0);
    CHECK_INT(requests_of(client, false), 6);   /* the plan, four for the statistics, the one range asked */
    CHECK_INT(requests_of(client, true), 2);    /* by the same plan */
    end(client);
}

static void keep_ids(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    char *ids = (char *)user_data;
    aiocosmos_json row;
    (void)client;
    memset(&row, 0, sizeof row);
    if (page->result->status) snprintf(ids, 64, "%d", page->result->status);
    while (aiocosmos_json_next(page->items, NULL, &row)) strncat(ids, row.ptr + 1, 1);
}

/* The best of several rankings are the same on one range and on many, of which each gives its own best. */
TEST(a_hybrid_search_ranks_what_all_ranges_give)
{
    static const char *const queries[] = {
        "SELECT TOP 6 VALUE c.id FROM c ORDER BY RANK FullTextScore(c.t, 'x')",
        "SELECT TOP 6 VALUE c.id FROM c WHERE c.id < 'k' ORDER BY RANK RRF(FullTextScore(c.t, 'x'), "
        "FullTextScore(c.u, 'y'), [3, 1])",
        "SELECT VALUE c.id FROM c ORDER BY RANK RRF(FullTextScore(c.t, 'x'), FullTextScore(c.u, 'y')) OFFSET 2 LIMIT 4"
    };
    char ids[3][2][64];
    int partitions, i;
    size_t k;
    memset(ids, 0, sizeof ids);
    for (partitions = 0; partitions < 2; partitions++) {
        aiocosmos_client *client;
        aiocosmos_emulator_options options = {0};
        options.allocate = heap_fn;
        options.partitions = partitions ? 5 : 1;
        emulator = aiocosmos_emulator_open(&options, NULL);
        CHECK(emulator != NULL);
        CHECK_INT(open_client(&client, "http://localhost:8081"), 0);
        CHECK_INT(make(client), 0);
        for (i = 0; i < 12; i++) {
            char body[512], id[2] = { (char)('a' + i), '\0' };
            aiocosmos_request request = {0};
            snprintf(body, sizeof body, "{\"id\":\"%s\",\"t\":\"%.*s and more\",\"u\":\"%.*s or less\"}", id,
                     2 * (i * 5 % 12), "x x x x x x x x x x x x x x x x", 2 * (i * 7 % 12), "y y y y y y y y y y y y y");
            request.kind = AIOCOSMOS_CREATE_ITEM;
            request.container = "C";
            request.pk = aiocosmos_pk_s(id);
            request.body = aiocosmos_text(body);
            CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
        }
        for (k = 0; k < 3; k++) {
            aiocosmos_query_request request = {0};
            aiocosmos_cursor cursor;
            request.container = "C";
            request.sql = queries[k];
            request.skip_empty = true;
            CHECK_INT(aiocosmos_query_open(client, &request, &cursor), 0);
            CHECK_INT(aiocosmos_cursor_next(client, cursor, keep_ids, ids[k][partitions]), 0);
            CHECK_INT(aiocosmos_drain(client, 10000), 0);
            aiocosmos_cursor_close(client, cursor);
        }
        end(client);
    }
    for (k = 0; k < 3; k++) CHECK_STR(ids[k][0], ids[k][1]);
    for (k = 0; k < 3; k++) CHECK_INT(strlen(ids[k][0]), k == 2 ? 4 : 6);
}
