/* The whole client against the emulator over real sockets: transactions. */
#include "client.h"

/* A transaction, and what came of it. */
typedef struct trade {
    int calls, status, sub_status, http_status, fate;
    uint32_t attempts;
    size_t count;
    int of[100];                             /* the status of each operation */
    char etag[100][64], item[100][160], message[512];
    double charge_ru;
} trade;

static void keep_trade(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_batch_result *results,
                       size_t count, void *user_data)
{
    trade *kept = user_data;
    size_t i;
    (void)client;
    kept->calls++;
    kept->status = result->status;
    kept->sub_status = result->sub_status;
    kept->http_status = result->http_status;
    kept->fate = result->fate;
    kept->attempts = result->attempts;
    kept->count = count;
    kept->charge_ru = result->charge_ru;
    copy_text(kept->message, sizeof kept->message, result->message);
    for (i = 0; i < count; i++) {
        kept->of[i] = results[i].status;
        copy_text(kept->etag[i], sizeof kept->etag[i], results[i].etag);
        copy_text(kept->item[i], sizeof kept->item[i], aiocosmos_text(NULL));
        if (results[i].item.type != AIOCOSMOS_JSON_NONE) {
            aiocosmos_str text = { results[i].item.ptr, results[i].item.len };
            copy_text(kept->item[i], sizeof kept->item[i], text);
        }
    }
}

static aiocosmos_bulk_item operation(aiocosmos_kind kind, const char *id, const char *body)
{
    aiocosmos_bulk_item item;
    memset(&item, 0, sizeof item);
    item.kind = kind;
    item.id = id;
    item.body = aiocosmos_text(body);
    return item;
}

static aiocosmos_batch_request of_items(const aiocosmos_bulk_item *items, size_t count)
{
    aiocosmos_batch_request request;
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.pk = aiocosmos_pk1(aiocosmos_s("a"));
    request.items = items;
    request.item_count = count;
    request.done = keep_trade;
    return request;
}

static int trade_all(aiocosmos_client *client, aiocosmos_batch_request request, trade *got)
{
    memset(got, 0, sizeof *got);
    request.user_data = got;
    if (aiocosmos_batch(client, &request, NULL) != 0) CHECK_STR(aiocosmos_last_error(client), "accepted");
    drain(client);
    CHECK_INT(got->calls, 1);
    return got->status;
}

static const char *refusal_of_trade(aiocosmos_client *client, aiocosmos_batch_request request)
{
    CHECK_INT(aiocosmos_batch(client, &request, NULL), AIOCOSMOS_E_ARGUMENT);
    return aiocosmos_last_error(client);
}

static trade got;

TEST_TWICE(a_transaction_is_carried_out_as_a_whole)
{
    aiocosmos_client *client = open_world("--partitions 4");
    aiocosmos_bulk_item items[5];
    aiocosmos_batch_request request = of_items(items, 5);
    answer read;
    items[0] = operation(AIOCOSMOS_CREATE_ITEM, NULL, "{\"id\":\"ann \\u00e9\\\"\",\"pk\":\"a\",\"n\":1}");
    items[1] = operation(AIOCOSMOS_PATCH_ITEM, "ann \xc3\xa9\"", "[{\"op\":\"incr\",\"path\":\"/n\",\"value\":4}]");
    items[2] = operation(AIOCOSMOS_READ_ITEM, "ann \xc3\xa9\"", NULL);
    items[3] = operation(AIOCOSMOS_UPSERT_ITEM, NULL, "{\"id\":\"bob\",\"pk\":\"a\",\"n\":2}");
    items[4] = operation(AIOCOSMOS_DELETE_ITEM, "bob", NULL);
    CHECK_INT(trade_all(client, request, &got), 0);
    CHECK_INT(got.count, 5);
    CHECK_INT(got.http_status, 200);
    CHECK_INT(got.of[0] | got.of[1] | got.of[2] | got.of[3] | got.of[4], 0);
    CHECK(strstr(got.item[2], "\"n\":5") != NULL);
    CHECK_STR(got.item[0], "");
    CHECK(got.etag[0][0] == '"' && strlen(got.etag[0]) > 30);
    CHECK(strcmp(got.etag[0], got.etag[1]) != 0);
    CHECK(got.charge_ru > 10);
    CHECK_INT(ask(client, read_item("ann \xc3\xa9\"", aiocosmos_s("a")), &read), 0);
    CHECK_INT(ask(client, read_item("bob", aiocosmos_s("a")), &read), 404);
    request.want_body = true;
    CHECK_INT(trade_all(client, request, &got), 409);
    CHECK_INT(got.of[0], 409);
    CHECK_INT(got.of[4], 424);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
    CHECK(strstr(got.message, "items[0], so that nothing was done: 409") == got.message);
    CHECK_INT(ask(client, read_item("bob", aiocosmos_s("a")), &read), 404);
    close_world(client);
}

TEST(a_transaction_keeps_to_etags)
{
    aiocosmos_client *client = open_world("--partitions 1");
    aiocosmos_bulk_item items[2];
    char etag[80];
    answer read;
    items[0] = operation(AIOCOSMOS_UPSERT_ITEM, NULL, "{\"id\":\"1\",\"pk\":\"a\",\"n\":1}");
    items[1] = operation(AIOCOSMOS_UPSERT_ITEM, NULL, "{\"id\":\"2\",\"pk\":\"a\",\"n\":1}");
    CHECK_INT(trade_all(client, of_items(items, 2), &got), 0);
    snprintf(etag, sizeof etag, "%s", got.etag[0]);
    items[0].if_match = aiocosmos_text(etag);
    CHECK_INT(trade_all(client, of_items(items, 2), &got), 0);
    items[0].body = aiocosmos_text("{\"id\":\"1\",\"pk\":\"a\",\"n\":9}");
    CHECK_INT(trade_all(client, of_items(items, 2), &got), 412);
    CHECK_INT(got.of[0], 412);
    CHECK_INT(got.of[1], 424);
    CHECK_INT(ask(client, read_item("1", aiocosmos_s("a")), &read), 0);
    CHECK_INT(number_in(client, read.body, "/n"), 1);
    snprintf(etag, sizeof etag, "%s", read.etag);
    items[0] = operation(AIOCOSMOS_READ_ITEM, "1", NULL);
    items[0].if_none_match = aiocosmos_text(etag);
    CHECK_INT(trade_all(client, of_items(items, 2), &got), 0);
    CHECK_INT(got.of[0], 304);                   /* nothing has changed: that was asked, and is no failure */
    CHECK_INT(got.of[1], 0);
    close_world(client);
}

TEST(a_transaction_is_tried_again_as_any_write)
{
    aiocosmos_client *client = open_world("--partitions 1");
    aiocosmos_bulk_item items[1];
    answer read;
    items[0] = operation(AIOCOSMOS_CREATE_ITEM, NULL, "{\"id\":\"1\",\"pk\":\"a\"}");
    fault("status=429,kind=batch_items,count=2,retry_after_ms=1");
    CHECK_INT(trade_all(client, of_items(items, 1), &got), 0);
    CHECK_INT(got.attempts, 3);
    fault("action=reset,when=after,kind=batch_items,count=1");
    items[0].body = aiocosmos_text("{\"id\":\"2\",\"pk\":\"a\"}");
    CHECK_INT(trade_all(client, of_items(items, 1), &got), AIOCOSMOS_E_CONNECT);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    CHECK_INT(got.attempts, 1);
    CHECK_INT(got.count, 0);
    CHECK_INT(ask(client, read_item("2", aiocosmos_s("a")), &read), 0);
    items[0] = operation(AIOCOSMOS_REPLACE_ITEM, "2", "{\"id\":\"2\",\"pk\":\"a\",\"n\":1}");
    items[0].if_match = aiocosmos_text(read.etag);
    fault("action=reset,kind=batch_items,count=1");
    CHECK_INT(trade_all(client, of_items(items, 1), &got), 0);
    CHECK_INT(got.attempts, 2);
    close_world(client);
}

/* The second one needs what the first one makes, which is refused twice for now. */
TEST(transactions_of_one_order_key_run_one_after_the_other)
{
    static trade first, second;
    aiocosmos_client *client = open_world("--partitions 1");
    aiocosmos_bulk_item made = operation(AIOCOSMOS_CREATE_ITEM, NULL, "{\"id\":\"1\",\"pk\":\"a\",\"n\":1}");
    aiocosmos_bulk_item raised = operation(AIOCOSMOS_PATCH_ITEM, "1",
                                           "[{\"op\":\"incr\",\"path\":\"/n\",\"value\":4}]");
    aiocosmos_batch_request request = of_items(&made, 1);
    answer read;
    made.order_key = raised.order_key = 9;               /* of items, which say nothing in a transaction */
    fault("status=429,kind=batch_items,count=2,retry_after_ms=5");
    request.order_key = 7;
    request.user_data = &first;
    CHECK_INT(aiocosmos_batch(client, &request, NULL), 0);
    request.items = &raised;
    request.user_data = &second;
    CHECK_INT(aiocosmos_batch(client, &request, NULL), 0);
    drain(client);
    CHECK(first.status == 0 && first.attempts == 3);
    CHECK(second.status == 0 && second.attempts == 1);
    CHECK_INT(ask(client, read_item("1", aiocosmos_s("a")), &read), 0);
    CHECK_INT(number_in(client, read.body, "/n"), 5);
    close_world(client);
}

/*--- Operations of a bulk, each for itself ---*/

enum { IN_BULK = 9 };

static struct {
    aiocosmos_bulk_item items[IN_BULK];
    int pulled, count, status[IN_BULK];
    uint32_t attempts[IN_BULK];
    char etag[IN_BULK][64], message[IN_BULK][200];
    bool keyless;                            /* each key is that of its body */
} several;

static aiocosmos_pull pull_several(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    (void)client; (void)user_data;
    if (several.pulled == several.count) return AIOCOSMOS_PULL_END;
    *item = several.items[several.pulled];
    if (!several.keyless) item->pk = aiocosmos_pk1(aiocosmos_s("a"));
    item->item_data = &several.status[several.pulled++];
    return AIOCOSMOS_PULL_ITEM;
}

static void keep_several(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    int *status = item_data;
    size_t i = (size_t)(status - several.status);
    (void)client; (void)user_data;
    *status = result->status;
    several.attempts[i] = result->attempts;
    copy_text(several.etag[i], sizeof several.etag[i], result->etag);
    copy_text(several.message[i], sizeof several.message[i], result->message);
}

static void run_several_in(aiocosmos_client *client, const char *container, int count)
{
    aiocosmos_bulk_request request;
    memset(&request, 0, sizeof request);
    request.container = container;
    request.next = pull_several;
    request.item_done = keep_several;
    several.pulled = 0;
    several.count = count;
    CHECK_INT(aiocosmos_bulk(client, &request, NULL), 0);
    drain(client);
}

static void run_several(aiocosmos_client *client, int count)
{
    run_several_in(client, "c", count);
}

TEST(operations_of_a_bulk_keep_to_their_own_conditions)
{
    static const int want[IN_BULK] = { 0, 412, 0, 412, 0, 412, 304, 412, 409 };
    static char bodies[IN_BULK][40], etags[IN_BULK][64], ids[IN_BULK][2];
    static const char raise[] = "[{\"op\":\"incr\",\"path\":\"/n\",\"value\":4}]";
    aiocosmos_client *client = open_world("--partitions 1");
    aiocosmos_str other = aiocosmos_text("\"00000000-0000-0000-0000-000000000000\"");
    answer read;
    int i;
    memset(&several, 0, sizeof several);
    for (i = 0; i < IN_BULK; i++) {
        snprintf(bodies[i], sizeof bodies[i], "{\"id\":\"%d\",\"pk\":\"a\",\"n\":1}", i);
        snprintf(ids[i], sizeof ids[i], "%u", (unsigned)i % 10);
        several.items[i] = operation(AIOCOSMOS_CREATE_ITEM, NULL, bodies[i]);
    }
    run_several(client, IN_BULK);
    for (i = 0; i < IN_BULK; i++) CHECK_INT(several.status[i], 0);
    memcpy(etags, several.etag, sizeof etags);
    for (i = 0; i < 2; i++) {
        several.items[i] = operation(AIOCOSMOS_REPLACE_ITEM, ids[i], i ? "{\"id\":\"1\",\"pk\":\"a\",\"n\":7}"
                                                                      : "{\"id\":\"0\",\"pk\":\"a\",\"n\":7}");
        several.items[2 + i] = operation(AIOCOSMOS_PATCH_ITEM, ids[2 + i], raise);
        several.items[4 + i] = operation(AIOCOSMOS_DELETE_ITEM, ids[4 + i], NULL);
    }
    for (i = 0; i < 6; i++) several.items[i].if_match = i % 2 ? other : aiocosmos_text(etags[i]);
    several.items[6] = operation(AIOCOSMOS_READ_ITEM, ids[6], NULL);
    several.items[6].if_none_match = aiocosmos_text(etags[6]);
    several.items[7] = operation(AIOCOSMOS_UPSERT_ITEM, NULL, bodies[7]);
    several.items[7].if_match = other;
    fault("status=429,kind=batch_items,count=1,retry_after_ms=1");    /* of all together, as the attempts show */
    run_several(client, IN_BULK);
    for (i = 0; i < IN_BULK; i++) {
        CHECK_INT(several.status[i], want[i]);
        CHECK_INT(several.attempts[i], 2);
    }
    for (i = 0; i < 6; i++) {
        CHECK_INT(ask(client, read_item(ids[i], aiocosmos_s("a")), &read), i == 4 ? 404 : 0);
        if (i != 4) CHECK_INT(number_in(client, read.body, "/n"), i == 0 ? 7 : i == 2 ? 5 : 1);
    }
    close_world(client);
}

TEST(what_is_no_transaction_is_refused_by_name)
{
    static char big[1200000];
    static aiocosmos_bulk_item many[101];
    static const char *const ours[] = { "Content-Length: 7", NULL };
    aiocosmos_client *client = open_world("--partitions 1");
    aiocosmos_bulk_item items[2];
    aiocosmos_batch_request request = of_items(items, 2);
    size_t i;
    items[0] = items[1] = operation(AIOCOSMOS_CREATE_ITEM, NULL, "{\"id\":\"1\",\"pk\":\"a\"}");
    request.item_count = 0;
    CHECK_STR(refusal_of_trade(client, request), "item_count: a transaction has 1 to 100 operations");
    CHECK_STR(refusal_of_trade(client, of_items(NULL, 2)), "item_count: a transaction has 1 to 100 operations");
    for (i = 0; i < 101; i++) many[i] = items[0];
    CHECK_STR(refusal_of_trade(client, of_items(many, 101)), "item_count: a transaction has 1 to 100 operations");
    request = of_items(items, 2);
    request.pk = aiocosmos_pk1(aiocosmos_s(NULL));
    CHECK_STR(refusal_of_trade(client, request), "pk: required");
    request = of_items(items, 2);
    request.container = NULL;
    CHECK_STR(refusal_of_trade(client, request), "container: required");
    request = of_items(items, 2);
    request.headers = ours;
    CHECK(strstr(refusal_of_trade(client, request), "headers: ") != NULL);
    items[1].pk = aiocosmos_pk1(aiocosmos_s("b"));
    CHECK_STR(refusal_of_trade(client, of_items(items, 2)),
              "items[1]: pk: not that of the transaction");
    items[1].pk = aiocosmos_pk1(aiocosmos_s("a"));
    items[1].body = aiocosmos_text("{\"id\":1}");
    CHECK_STR(refusal_of_trade(client, of_items(items, 2)), "items[1]: body: \"id\" is required and must be a string");
    items[1] = operation(AIOCOSMOS_READ_ITEM, NULL, NULL);
    CHECK_STR(refusal_of_trade(client, of_items(items, 2)), "items[1]: id: required");
    items[1] = operation(AIOCOSMOS_DELETE_CONTAINER, NULL, NULL);
    CHECK(strstr(refusal_of_trade(client, of_items(items, 2)), "items[1]: ") != NULL);
    memset(big, 'x', sizeof big - 1);
    memcpy(big, "{\"id\":\"1\",\"pk\":\"", 16);
    memcpy(big + sizeof big - 3, "\"}", 2);
    items[0].body = aiocosmos_text(big);
    items[1] = items[0];
    CHECK_STR(refusal_of_trade(client, of_items(items, 2)), "items: over 2 MB together");
    CHECK_INT(aiocosmos_pending(client), 0);
    close_world(client);
}

/* Cancelled, forgotten, abandoned: called back once or never, and nothing is left. */
TEST(a_transaction_can_be_let_go)
{
    aiocosmos_client *client = open_world("--partitions 1");
    aiocosmos_bulk_item items[1];
    aiocosmos_batch_request request = of_items(items, 1);
    aiocosmos_op op;
    items[0] = operation(AIOCOSMOS_UPSERT_ITEM, NULL, "{\"id\":\"1\",\"pk\":\"a\"}");
    memset(&got, 0, sizeof got);
    request.user_data = &got;
    CHECK_INT(aiocosmos_batch(client, &request, &op), 0);
    CHECK(aiocosmos_cancel(client, op));
    drain(client);
    CHECK_INT(got.calls, 1);
    CHECK_INT(got.status, AIOCOSMOS_E_CANCELLED);
    CHECK_INT(aiocosmos_batch(client, &request, &op), 0);
    CHECK(aiocosmos_forget(client, op));
    drain(client);
    CHECK_INT(got.calls, 1);
    CHECK_INT(aiocosmos_batch(client, &request, &op), 0);
    close_world(client);                       /* ends it as shut down */
    CHECK_INT(got.calls, 2);
    CHECK_INT(got.status, AIOCOSMOS_E_SHUTDOWN);
}

/*--- Keys that items bring in their bodies ---*/

/* Bodies with ids "0", "1", ... are stored by a bulk that is given no keys, and found by these: JSON, a level each;
 * "{}": the item has no such property. A key that begins with '!': why it is refused. Behind the last: NULL. */
static void check_own_keys(const char *container, const char *const (*cases)[4])
{
    aiocosmos_client *client = open_world("--partitions 4");
    aiocosmos_request read = of_kind(AIOCOSMOS_READ_ITEM), make = create_container("tree", "/tenant");
    char id[2] = "0";
    answer found;
    int i, k, count = 0;
    while (cases[count][0]) count++;
    make.partition_key_paths[1] = "/user/name";
    make.partition_key_paths[2] = "/user/n";
    must(client, make);
    make = create_container("own", "/id");
    make.partition_key_paths[1] = "/kind";
    must(client, make);
    must(client, create_container("deep", "/a/\"b c\"/'d/e'"));
    memset(&several, 0, sizeof several);
    several.keyless = true;
    for (i = 0; i < count; i++)
        several.items[i] = operation(i % 2 ? AIOCOSMOS_UPSERT_ITEM : AIOCOSMOS_CREATE_ITEM, NULL, cases[i][0]);
    run_several_in(client, container, count);
    for (i = 0; i < count; i++, id[0]++) {
        const char *why = cases[i][1] && cases[i][1][0] == '!' ? cases[i][1] + 1 : NULL;
        if (!strstr(several.message[i], why ? why : "")) CHECK_STR(several.message[i], why);
        CHECK_INT(several.status[i], why ? AIOCOSMOS_E_ARGUMENT : 0);
        if (why) continue;
        memset(&read.pk, 0, sizeof read.pk);
        for (k = 0; k < 3 && cases[i][1 + k]; k++) {
            const char *level = cases[i][1 + k];
            read.pk.level[k] = strcmp(level, "{}") ? aiocosmos_json_text(level, strlen(level)) : aiocosmos_none();
        }
        read.container = container;
        read.id = id;
        CHECK_INT(ask(client, read, &found), 0);
    }
    close_world(client);
}

TEST(a_key_is_taken_from_the_body_of_its_item)
{
    static const char *const cases[][4] = {
        { "{\"id\":\"0\",\"pk\":\"x\"}", "\"x\"" }, { "{\"pk\":\"x\\u0041\\n\",\"id\":\"1\"}", "\"xA\\n\"" },
        { " { \"id\" : \"2\" , \"pk\" : -4.5e1 } ", "-45" }, { "{\"id\":\"3\",\"pk\":null}", "null" },
        { "{\"id\":\"4\",\"p\\u006b\":true}", "true" }, { "{\"id\":\"5\"}", "{}" },
        { "{\"id\":\"6\",\"pk\":1,\"pk\":\"\xc3\xa9\"}", "\"\\u00e9\"" },
        { "{\"id\":\"7\",\"in\":{\"pk\":1},\"pk\":\"\"}", "\"\"" }, { NULL }
    };
    check_own_keys("c", cases);
}

TEST(a_key_that_cannot_be_taken_is_refused)
{
    static const char *const cases[][4] = {
        { "{\"id\":\"0\",\"pk\":[1]}", "!body: the partition key path /pk leads to an object or array" },
        { "{\"id\":\"1\",\"pk\":{}}", "!body: the partition key path /pk leads to an object or array" },
        { "[]", "!body: required: the item, a JSON object" }, { "", "!body: " },
        { "{\"id\":\"4\",\"pk\":9007199254740993}", "!pk: level 1: 9007199254740993 is beyond 2^53" },
        { "{\"pk\":\"x\"}", "!body: \"id\" is required" }, { "{\"pk\":\"x\",\"id\":\"6\",}", "!at byte 19" },
        { "{\"pk\":\"x\",\"id\":\"7\"} {", "!at byte 20" }, { "{\"id\":\"8\",\"pk\":\"ok\"}", "\"ok\"" }, { NULL }
    };
    check_own_keys("c", cases);
}

TEST(a_deep_key_is_taken_from_the_body)
{
    static const char *const cases[][4] = {
        { "{\"id\":\"0\",\"a\":{\"b c\":{\"d/e\":\"x\"}}}", "\"x\"" }, { "{\"id\":\"1\",\"a\":{\"b c\":[1]}}", "{}" },
        { "{\"id\":\"2\",\"a\":{\"b c\":{\"d\\/e\":7}},\"d/e\":8}", "7" }, { "{\"id\":\"3\",\"a\":\"b c\"}", "{}" },
        { "{\"id\":\"4\",\"a\":{\"b c\":{\"d/e\":[]}}}", "!leads to an object or array" },
        { "{\"a\":{\"b c\":{\"d/e\":false}},\"id\":\"5\"}", "false" }, { NULL }
    };
    check_own_keys("deep", cases);
}

TEST(the_levels_of_a_key_are_taken_from_the_body)
{
    static const char *const cases[][4] = {
        { "{\"id\":\"0\",\"tenant\":\"t\",\"user\":{\"name\":\"ann\",\"n\":1}}", "\"t\"", "\"ann\"", "1" },
        { "{\"user\":{\"n\":2},\"tenant\":null,\"id\":\"1\"}", "null", "{}", "2" },
        { "{\"id\":\"2\",\"user\":\"ann\"}", "{}", "{}", "{}" }, { NULL }
    };
    check_own_keys("tree", cases);
}

TEST(an_id_that_is_its_key_is_taken_once)
{
    static const char *const cases[][4] = {
        { "{\"id\":\"0\",\"kind\":5}", "\"0\"", "5" }, { "{\"kind\":\"k\",\"id\":\"1\"}", "\"1\"", "\"k\"" },
        { "{\"id\":\"0\",\"kind\":5,\"id\":\"2\"}", "\"2\"", "5" }, { NULL }
    };
    check_own_keys("own", cases);
}

TEST(operations_without_an_item_need_their_key)
{
    aiocosmos_client *client = open_world("--partitions 1");
    int i;
    memset(&several, 0, sizeof several);
    several.keyless = true;
    several.items[0] = operation(AIOCOSMOS_READ_ITEM, "1", NULL);
    several.items[1] = operation(AIOCOSMOS_DELETE_ITEM, "1", NULL);
    several.items[2] = operation(AIOCOSMOS_PATCH_ITEM, "1", "[{\"op\":\"set\",\"path\":\"/pk\",\"value\":\"a\"}]");
    run_several(client, 3);
    for (i = 0; i < 3; i++) {
        CHECK_INT(several.status[i], AIOCOSMOS_E_ARGUMENT);
        CHECK(strstr(several.message[i], "pk: required"));
    }
    close_world(client);
}

static const struct { aiocosmos_kind kind; const char *id, *body, *if_match, *if_none_match, *why; } foreign[] = {
    { AIOCOSMOS_CREATE_ITEM, "1", "{\"id\":\"1\",\"pk\":\"a\"}", NULL, NULL, "id: " },
    { AIOCOSMOS_CREATE_ITEM, NULL, "{\"id\":\"1\",\"pk\":\"a\"}", "\"e\"", NULL, "if_match: " },
    { AIOCOSMOS_UPSERT_ITEM, "1", "{\"id\":\"1\",\"pk\":\"a\"}", NULL, NULL, "id: " },
    { AIOCOSMOS_UPSERT_ITEM, NULL, "{\"id\":\"1\",\"pk\":\"a\"}", NULL, "\"e\"", "if_none_match: " },
    { AIOCOSMOS_READ_ITEM, "1", "{\"id\":\"1\",\"pk\":\"a\"}", NULL, NULL, "body: " },
    { AIOCOSMOS_READ_ITEM, "1", NULL, "\"e\"", NULL, "if_match: " },
    { AIOCOSMOS_DELETE_ITEM, "1", "{\"id\":\"1\",\"pk\":\"a\"}", NULL, NULL, "body: " },
    { AIOCOSMOS_REPLACE_ITEM, "1", "{\"id\":\"1\",\"pk\":\"a\"}", NULL, "\"e\"", "if_none_match: " },
    { AIOCOSMOS_PATCH_ITEM, "1", "[{\"op\":\"remove\",\"path\":\"/n\"}]", NULL, "\"e\"", "if_none_match: " }
};

/* Of a transaction's and of a bulk's operation alike. */
TEST(what_does_not_belong_to_its_kind_is_refused)
{
    static const char why[] = "does not belong to this kind of operation";
    aiocosmos_client *client = open_world("--partitions 1");
    char want[100];
    int i, count = (int)(sizeof foreign / sizeof *foreign);
    CHECK_INT(count, IN_BULK);
    memset(&several, 0, sizeof several);
    for (i = 0; i < count; i++) {
        aiocosmos_bulk_item item = operation(foreign[i].kind, foreign[i].id, foreign[i].body);
        item.if_match = aiocosmos_text(foreign[i].if_match);
        item.if_none_match = aiocosmos_text(foreign[i].if_none_match);
        snprintf(want, sizeof want, "items[0]: %s%s", foreign[i].why, why);
        CHECK_STR(refusal_of_trade(client, of_items(&item, 1)), want);
        several.items[i] = item;
    }
    run_several(client, count);
    for (i = 0; i < count; i++) {
        snprintf(want, sizeof want, "%s%s", foreign[i].why, why);
        CHECK_INT(several.status[i], AIOCOSMOS_E_ARGUMENT);
        CHECK_STR(several.message[i], want);
    }
    close_world(client);
}
