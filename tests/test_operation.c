/* The operation layer without a network: what each outcome leads to, order keys, and what is refused before it is sent. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"

/*--- The retry policy ---------------------------------------------------------*/

enum { AGAIN = 1, OVER = 0 };

typedef struct policy_case {
    const char *what;
    aioc_operation_situation now;
    aioc_operation_outcome seen;
    int again, status, fate;
} policy_case;

static aioc_operation_situation reading(void)
{
    aioc_operation_situation now;
    memset(&now, 0, sizeof now);
    now.retries_max = 9;
    now.throttle_wait_max_ms = 20000;
    now.answered_once = true;
    now.random = 12345;
    return now;
}

static aioc_operation_situation writing(void)
{
    aioc_operation_situation now = reading();
    now.write = true;
    return now;
}

static aioc_operation_outcome lost(int error, bool sent)
{
    aioc_operation_outcome seen;
    memset(&seen, 0, sizeof seen);
    seen.error = error;
    seen.sent = sent;
    return seen;
}

static aioc_operation_outcome answer(int http_status, int sub_status)
{
    aioc_operation_outcome seen;
    memset(&seen, 0, sizeof seen);
    seen.sent = true;
    seen.http_status = http_status;
    seen.sub_status = sub_status;
    return seen;
}

static void check_policy(const char *what, aioc_operation_situation now, aioc_operation_outcome seen, int again, int status,
                         int fate)
{
    aioc_operation_verdict verdict = aioc_operation_judge(&now, &seen);
    if (verdict.again != (again == AGAIN) || (!verdict.again && (verdict.status != status || verdict.fate != fate)))
        printf("  %s: again %d, status %d, fate %d\n", what, verdict.again, verdict.status, verdict.fate);
    CHECK_INT(verdict.again, again == AGAIN);
    if (verdict.again) return;
    CHECK_INT(verdict.status, status);
    CHECK_INT(verdict.fate, fate);
}

TEST(policy_answers)
{
    check_policy("200", reading(), answer(200, 0), OVER, 0, AIOCOSMOS_ANSWERED);
    check_policy("201", writing(), answer(201, 0), OVER, 0, AIOCOSMOS_ANSWERED);
    check_policy("304", reading(), answer(304, 0), OVER, 304, AIOCOSMOS_ANSWERED);
    check_policy("400", writing(), answer(400, 0), OVER, 400, AIOCOSMOS_ANSWERED);
    check_policy("404", reading(), answer(404, 0), OVER, 404, AIOCOSMOS_ANSWERED);
    check_policy("409", writing(), answer(409, 0), OVER, 409, AIOCOSMOS_ANSWERED);
    check_policy("412", writing(), answer(412, 0), OVER, 412, AIOCOSMOS_ANSWERED);
    check_policy("413", writing(), answer(413, 0), OVER, 413, AIOCOSMOS_ANSWERED);
    check_policy("449", writing(), answer(449, 0), AGAIN, 0, 0);
    check_policy("410/1002", writing(), answer(410, 1002), AGAIN, 0, 0);
    check_policy("503", writing(), answer(503, 0), AGAIN, 0, 0);
    check_policy("403/3", writing(), answer(403, 3), AGAIN, 0, 0);
    check_policy("403/0", writing(), answer(403, 0), OVER, 403, AIOCOSMOS_ANSWERED);
    check_policy("404/1002", reading(), answer(404, 1002), AGAIN, 0, 0);
    check_policy("404/1003", reading(), answer(404, 1003), AGAIN, 0, 0);
}

TEST(policy_of_lost_answers)
{
    aioc_operation_situation now;
    check_policy("read", reading(), lost(AIOCOSMOS_E_CONNECT, true), AGAIN, 0, 0);
    check_policy("write not sent", writing(), lost(AIOCOSMOS_E_CONNECT, false), AGAIN, 0, 0);
    check_policy("write sent", writing(), lost(AIOCOSMOS_E_CONNECT, true), OVER, AIOCOSMOS_E_CONNECT, AIOCOSMOS_MAYBE_APPLIED);
    check_policy("garbled", writing(), lost(AIOCOSMOS_E_PROTOCOL, true), OVER, AIOCOSMOS_E_PROTOCOL, AIOCOSMOS_MAYBE_APPLIED);
    check_policy("too large", reading(), lost(AIOCOSMOS_E_TOO_LARGE, true), OVER, AIOCOSMOS_E_TOO_LARGE, AIOCOSMOS_NOT_SENT);
    check_policy("certificate", writing(), lost(AIOCOSMOS_E_TLS, false), OVER, AIOCOSMOS_E_TLS, AIOCOSMOS_NOT_SENT);
    now = writing();
    now.repeatable = true;
    check_policy("with if_match", now, lost(AIOCOSMOS_E_CONNECT, true), AGAIN, 0, 0);
    now = writing();
    now.retries = 9;
    check_policy("retries are used up", now, lost(AIOCOSMOS_E_CONNECT, false), OVER, AIOCOSMOS_E_CONNECT, AIOCOSMOS_NOT_SENT);
    now = reading();
    now.answered_once = false;
    now.retries = 3;
    check_policy("nobody ever answered", now, lost(AIOCOSMOS_E_CONNECT, false), OVER, AIOCOSMOS_E_CONNECT, AIOCOSMOS_NOT_SENT);
}

TEST(policy_keeps_the_doubt_of_an_earlier_attempt)
{
    static const int echoes[] = { 404, 409, 412 };
    aioc_operation_situation now = writing();
    size_t i;
    now.doubt = true;
    for (i = 0; i < 3; i++) check_policy("echo", now, answer(echoes[i], 0), OVER, echoes[i], AIOCOSMOS_MAYBE_APPLIED);
    check_policy("success clears it", now, answer(200, 0), OVER, 0, AIOCOSMOS_ANSWERED);
    now.repeatable = true;
    now.retries = 9;
    check_policy("not sent this time", now, lost(AIOCOSMOS_E_CONNECT, false), OVER, AIOCOSMOS_E_CONNECT, AIOCOSMOS_MAYBE_APPLIED);
}

TEST(policy_of_unclear_answers)
{
    static const int unclear[] = { 408, 500, 502, 504 };
    aioc_operation_situation now = writing();
    size_t i;
    now.repeatable = true;
    for (i = 0; i < 4; i++) {
        check_policy("read", reading(), answer(unclear[i], 0), AGAIN, 0, 0);
        check_policy("write", writing(), answer(unclear[i], 0), OVER, unclear[i], AIOCOSMOS_MAYBE_APPLIED);
        check_policy("repeatable write", now, answer(unclear[i], 0), AGAIN, 0, 0);
    }
}

TEST(policy_of_throttling)
{
    aioc_operation_situation now = writing();
    aioc_operation_outcome seen = answer(429, 3200);
    aioc_operation_verdict verdict;
    seen.has_retry_after = true;
    seen.retry_after_ms = 250;
    verdict = aioc_operation_judge(&now, &seen);
    CHECK(verdict.again && verdict.counts && verdict.throttled);
    CHECK_INT(verdict.wait_us, 250000);
    now.throttle_wait_ms = 19800;
    check_policy("the total wait is used up", now, seen, OVER, 429, AIOCOSMOS_ANSWERED);
    now.throttle_wait_max_ms = AIOCOSMOS_OFF;
    check_policy("no limit of the wait", now, seen, AGAIN, 0, 0);
    now.retries = 9;
    check_policy("retries are used up", now, seen, OVER, 429, AIOCOSMOS_ANSWERED);
    now.patient = true;
    verdict = aioc_operation_judge(&now, &seen);
    CHECK(verdict.again && !verdict.counts);
    seen.has_retry_after = false;
    verdict = aioc_operation_judge(&now, &seen);
    CHECK(verdict.again && verdict.wait_us > 0);
}

TEST(policy_tries_a_new_signature_once)
{
    aioc_operation_situation now = writing();
    aioc_operation_outcome seen = answer(403, 0);
    seen.clock_was_off = true;
    check_policy("skewed", now, seen, AGAIN, 0, 0);
    now.fresh_signature = true;
    check_policy("still refused", now, seen, OVER, 403, AIOCOSMOS_ANSWERED);
    now.fresh_signature = false;
    seen = answer(401, 0);
    check_policy("a wrong key", now, seen, OVER, 401, AIOCOSMOS_ANSWERED);
    seen.token_expired = true;
    check_policy("an expired token", now, seen, AGAIN, 0, 0);
}

TEST(policy_if_not_exists)
{
    aioc_operation_situation now = writing();
    now.if_not_exists = now.repeatable = true;
    check_policy("exists", now, answer(409, 0), OVER, 0, AIOCOSMOS_ANSWERED);
    now.doubt = true;
    check_policy("exists, perhaps by us", now, answer(409, 0), OVER, 0, AIOCOSMOS_ANSWERED);
    check_policy("lost", now, lost(AIOCOSMOS_E_CONNECT, true), AGAIN, 0, 0);
}

TEST(backoff_doubles_to_its_limit)
{
    uint32_t retries;
    for (retries = 0; retries < 40; retries++) {
        uint64_t full = retries < 5 ? 50000ull << retries : 1000000ull;
        uint64_t low = aioc_operation_backoff_us(retries, 50, 1000, 0);
        uint64_t high = aioc_operation_backoff_us(retries, 50, 1000, UINT32_MAX);
        CHECK(low >= full / 2 && low <= full);
        CHECK(high >= full / 2 && high <= full);
    }
}

/*--- What is refused before it is sent -------------------------------------------*/

static aiocosmos_client *new_client(void)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client = NULL;
    char why[256];
    options.endpoint = "http://localhost:1";
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.default_database = "db";
    CHECK_INT(aiocosmos_create(&options, &client, why, sizeof why), 0);
    return client;
}

static aiocosmos_request item_request(aiocosmos_kind kind)
{
    aiocosmos_request request = {0};
    static const char body[] = "{\"id\":\"x\"}";
    request.kind = kind;
    request.container = "c";
    request.pk = aiocosmos_pk1(aiocosmos_s("p"));
    if (kind != AIOCOSMOS_CREATE_ITEM && kind != AIOCOSMOS_UPSERT_ITEM) request.id = "x";
    if (kind != AIOCOSMOS_READ_ITEM && kind != AIOCOSMOS_DELETE_ITEM) {
        request.body.ptr = body;
        request.body.len = sizeof body - 1;
    }
    return request;
}

static void refused(aiocosmos_client *client, const aiocosmos_request *request, const char *part)
{
    aiocosmos_op op;
    int status = aiocosmos_submit(client, request, &op);
    if (status != AIOCOSMOS_E_ARGUMENT || !strstr(aiocosmos_refusal(client), part))
        printf("  %d: \"%s\" instead of \"%s\"\n", status, aiocosmos_refusal(client), part);
    CHECK_INT(status, AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(op.id, 0);
    CHECK(strstr(aiocosmos_refusal(client), part));
    CHECK_INT(aiocosmos_pending(client), 0);
}

static aiocosmos_request with_body(aiocosmos_kind kind, const char *body)
{
    aiocosmos_request request = item_request(kind);
    request.body.ptr = body;
    request.body.len = strlen(body);
    return request;
}

TEST(bad_requests_are_refused_with_what_and_where)
{
    aiocosmos_client *client = new_client();
    aiocosmos_request request = {0};
    refused(client, &request, "kind: required");
    request = item_request(AIOCOSMOS_READ_ITEM);
    request.container = NULL;
    refused(client, &request, "container:");
    request = item_request(AIOCOSMOS_READ_ITEM);
    request.id = "a/b";
    refused(client, &request, "id: '/' at byte 1");
    request = item_request(AIOCOSMOS_READ_ITEM);
    request.id = "";
    refused(client, &request, "id: empty");
    request = item_request(AIOCOSMOS_READ_ITEM);
    memset(&request.pk, 0, sizeof request.pk);
    refused(client, &request, "pk: required");
    request.pk = aiocosmos_pk1(aiocosmos_i(INT64_C(9007199254740993)));
    refused(client, &request, "pk:");
    request.pk = aiocosmos_pk1(aiocosmos_sn("\xff", 1));
    refused(client, &request, "pk:");
    request = item_request(AIOCOSMOS_READ_ITEM);
    request.body.ptr = "{}";
    request.body.len = 2;
    refused(client, &request, "body:");
    request = item_request(AIOCOSMOS_READ_ITEM);
    request.if_match = "\"e\"";
    refused(client, &request, "if_match:");
    request = item_request(AIOCOSMOS_REPLACE_ITEM);
    request.if_match = "unquoted";
    refused(client, &request, "if_match:");
    request.if_match = "\"a\r\nx: y\"";
    refused(client, &request, "if_match:");
    request = item_request(AIOCOSMOS_READ_ITEM);
    request.session_token = "0:nonsense";
    refused(client, &request, "session_token:");
    aiocosmos_destroy(client);
}

TEST(bad_documents_are_refused_with_what_and_where)
{
    aiocosmos_client *client = new_client();
    aiocosmos_request request = with_body(AIOCOSMOS_CREATE_ITEM, "");
    refused(client, &request, "body: required");
    request = with_body(AIOCOSMOS_CREATE_ITEM, "{\"id\":\"x\",}");
    refused(client, &request, "at byte 10");
    request = with_body(AIOCOSMOS_CREATE_ITEM, "[1]");
    refused(client, &request, "body: an item is a JSON object");
    request = with_body(AIOCOSMOS_CREATE_ITEM, "{}");
    refused(client, &request, "\"id\" is required");
    request = with_body(AIOCOSMOS_UPSERT_ITEM, "{\"id\":7}");
    refused(client, &request, "\"id\" is required");
    request = with_body(AIOCOSMOS_CREATE_ITEM, "{\"id\":\"a#b\"}");
    refused(client, &request, "'#' at byte 1");
    request = with_body(AIOCOSMOS_PATCH_ITEM, "{\"op\":\"set\"}");
    refused(client, &request, "body: a patch is");
    request = with_body(AIOCOSMOS_PATCH_ITEM, "[");
    refused(client, &request, "at byte 1");
    aiocosmos_destroy(client);
}

TEST(bad_headers_are_refused)
{
    static const char *const none[] = { "no colon", NULL }, *const ours[] = { "Authorization: x", NULL };
    static const char *const split[] = { "x-a: b\r\nx-c: d", NULL }, *const empty[] = { ": b", NULL };
    const char *const *const all[] = { none, ours, split, empty };
    aiocosmos_client *client = new_client();
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    size_t i;
    for (i = 0; i < sizeof all / sizeof *all; i++) {
        request.headers = all[i];
        refused(client, &request, "headers:");
    }
    aiocosmos_destroy(client);
}

TEST(bad_containers_are_refused)
{
    aiocosmos_client *client = new_client();
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.container = "c";
    refused(client, &request, "partition_key_paths: required");
    request.partition_key_paths[0] = "no slash";
    refused(client, &request, "partition_key_paths:");
    request.partition_key_paths[0] = "/a";
    request.partition_key_paths[2] = "/c";
    refused(client, &request, "partition_key_paths: a gap");
    request.partition_key_paths[2] = NULL;
    request.default_ttl_s = -2;
    refused(client, &request, "default_ttl_s:");
    request.default_ttl_s = 0;
    request.throughput_ru = request.autoscale_max_ru = 400;
    refused(client, &request, "autoscale_max_ru:");
    request.throughput_ru = request.autoscale_max_ru = 0;
    request.indexing_policy.ptr = "{\"indexingMode\":}";
    request.indexing_policy.len = strlen(request.indexing_policy.ptr);
    refused(client, &request, "indexing_policy:");
    request.indexing_policy.len = 0;
    request.body.ptr = "{\"partitionKey\":{\"paths\":[\"/b\"]}}";
    request.body.len = strlen(request.body.ptr);
    refused(client, &request, "body: \"partitionKey\"");
    request.container = "c?";
    refused(client, &request, "container: '?'");
    request.kind = AIOCOSMOS_REPLACE_CONTAINER;
    request.container = "c";
    request.partition_key_paths[0] = NULL;
    request.body.ptr = "{\"id\":\"other\"}";
    request.body.len = strlen(request.body.ptr);
    refused(client, &request, "body: \"id\"");
    aiocosmos_destroy(client);
}

static void expect_body(aiocosmos_client *client, const aiocosmos_request *request, const char *want)
{
    aioc_operation_spec spec;
    int status = aioc_operation_specify(&client->engine, request, &spec);
    if (status) printf("  %s\n", aiocosmos_refusal(client));
    CHECK_INT(status, 0);
    CHECK_INT(spec.body.len, strlen(want));
    CHECK_MEM(spec.body.ptr, want, strlen(want));
}

TEST(bodies_that_the_library_writes)
{
    aiocosmos_client *client = new_client();
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_CREATE_DATABASE;
    request.database = "a \"b\"";
    expect_body(client, &request, "{\"id\":\"a \\\"b\\\"\"}");
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.database = NULL;
    request.container = "c";
    request.partition_key_paths[0] = "/tenant";
    request.default_ttl_s = -1;
    request.indexing_policy.ptr = "{\"automatic\":true}";
    request.indexing_policy.len = strlen(request.indexing_policy.ptr);
    expect_body(client, &request, "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/tenant\"],\"kind\":\"Hash\",\"version\":2},"
                                  "\"defaultTtl\":-1,\"indexingPolicy\":{\"automatic\":true}}");
    request.partition_key_paths[1] = "/user";
    request.default_ttl_s = 0;
    request.indexing_policy.len = 0;
    request.body.ptr = " { \"id\" : \"c\", \"uniqueKeyPolicy\" : {\"uniqueKeys\":[]} } ";
    request.body.len = strlen(request.body.ptr);
    expect_body(client, &request, "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/tenant\",\"/user\"],\"kind\":\"MultiHash\","
                                  "\"version\":2},\"uniqueKeyPolicy\":{\"uniqueKeys\":[]}}");
    request = with_body(AIOCOSMOS_PATCH_ITEM, "[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}]");
    expect_body(client, &request, "{\"operations\":[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}]}");
    aiocosmos_destroy(client);
}

TEST(a_full_client_says_so)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    aiocosmos_op first, op;
    options.endpoint = "http://localhost:1";
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.default_database = "db";
    options.pending_max = 3;
    CHECK_INT(aiocosmos_create(&options, &client, NULL, 0), 0);
    CHECK_INT(aiocosmos_submit(client, &request, &first), 0);
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    CHECK_INT(aiocosmos_submit(client, &request, NULL), AIOCOSMOS_E_FULL);
    CHECK(strstr(aiocosmos_refusal(client), "3 operations are pending"));
    CHECK(aiocosmos_cancel(client, first));
    CHECK_INT(aiocosmos_step(client, 0) >= 0, 1);
    CHECK(!aiocosmos_cancel(client, first));
    CHECK_INT(aiocosmos_submit(client, &request, &op), 0);
    CHECK(op.id != first.id);
    aiocosmos_destroy(client);
}

typedef struct endings { int count, statuses[16]; uint64_t ids[16]; } endings;

static void note_ending(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    endings *seen = user_data;
    (void)client;
    CHECK(seen->count < 16);
    seen->ids[seen->count] = result->op.id;
    seen->statuses[seen->count++] = result->status;
}

TEST(cancel_and_destroy_complete_each_operation_once)
{
    aiocosmos_client *client = new_client();
    endings seen = {0};
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    aiocosmos_op ops[4];
    int i;
    request.done = note_ending;
    request.user_data = &seen;
    request.order_key = 7;
    for (i = 0; i < 4; i++) CHECK_INT(aiocosmos_submit(client, &request, &ops[i]), 0);
    CHECK(aiocosmos_cancel(client, ops[2]));
    CHECK(aiocosmos_cancel(client, ops[2]));
    CHECK_INT(seen.count, 0);
    CHECK(aiocosmos_step(client, 0) >= 1);
    CHECK_INT(seen.count, 1);
    CHECK(seen.ids[0] == ops[2].id);
    CHECK_INT(seen.statuses[0], AIOCOSMOS_E_CANCELLED);
    aiocosmos_destroy(client);
    CHECK_INT(seen.count, 4);
    for (i = 1; i < 4; i++) CHECK_INT(seen.statuses[i], AIOCOSMOS_E_SHUTDOWN);
}
