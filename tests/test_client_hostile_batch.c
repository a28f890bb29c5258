/* Transactions against servers that answer what is no answer. */
#include "hostile.h"

static const char *said_body;
static int said_status;
static bool breaks_off;

static void answer_batch(peer *link)
{
    CHECK(!heard(link, "ifMatch") || heard(link, "\"ifMatch\":\"\\\"a\\tb\\\"\""));
    if (!heard(link, "x-ms-cosmos-batch-atomic: True")) reply(link, 200, "x-ms-activity-id: a\r\n", definition);
    else if (breaks_off) {
        say(link, "HTTP/1.1 200 OK\r\nx-ms-activity-id: a\r\nContent-Length: 100\r\n\r\n%s", said_body);
        link->closed = true;
    } else reply(link, said_status, "x-ms-activity-id: a\r\n", said_body);
}

static struct { int calls, status, fate; bool named; size_t count; int of[100]; double charge_ru; } got;

static void keep(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_batch_result *results,
                 size_t count, void *user_data)
{
    size_t i;
    (void)client; (void)user_data;
    got.calls++;
    got.status = result->status;
    got.fate = result->fate;
    got.named = strstr(result->message.ptr, "items[0]") != NULL;
    got.count = count;
    for (i = 0; i < count; i++) {
        got.of[i] = results[i].status;
        got.charge_ru += results[i].charge_ru;
        if (results[i].item.type != AIOCOSMOS_JSON_NONE) aiocosmos_json_count(results[i].item);
    }
}

static int trade_two(aiocosmos_client *client)
{
    aiocosmos_bulk_item items[2];
    aiocosmos_batch_request request;
    memset(items, 0, sizeof items);
    memset(&request, 0, sizeof request);
    memset(&got, 0, sizeof got);
    items[0].body = aiocosmos_text("{\"id\":\"1\",\"pk\":\"a\"}");
    items[1].kind = AIOCOSMOS_DELETE_ITEM;
    items[1].id = "2";
    items[1].if_match = aiocosmos_text("\"a\tb\"");
    request.timeout_ms = 20000;
    request.database = "db";
    request.container = "c";
    request.pk = aiocosmos_pk1(aiocosmos_s("a"));
    request.items = items;
    request.item_count = 2;
    request.done = keep;
    CHECK_INT(aiocosmos_batch(client, &request, NULL), 0);
    drain(client);
    CHECK_INT(got.calls, 1);
    return got.status;
}

TEST(an_answer_that_is_no_result_of_a_transaction_is_told_by_its_fate)
{
    static const struct { int http_status; const char *body; int status, fate; size_t count; } cases[] = {
        { 200, "[{\"statusCode\":201},{\"statusCode\":204}]", 0, AIOCOSMOS_FATE_ANSWERED, 2 },
        { 200, "[{\"statusCode\":201,\"requestCharge\":1e400},{\"statusCode\":204,\"subStatusCode\":-1}]", 0,
          AIOCOSMOS_FATE_ANSWERED, 2 },
        { 200, "[{\"statusCode\":201,\"requestCharge\":-1,\"retryAfterMilliseconds\":-5},{\"statusCode\":204,"
          "\"subStatusCode\":99999999999,\"requestCharge\":\"x\"}]", 0, AIOCOSMOS_FATE_ANSWERED, 2 },
        { 200, "[{\"statusCode\":201},{\"statusCode\":304}]", AIOCOSMOS_E_PROTOCOL,    /* which no write asks for */
          AIOCOSMOS_FATE_MAYBE_APPLIED, 0 },
        { 207, "[{\"statusCode\":304},{\"statusCode\":424}]", AIOCOSMOS_E_PROTOCOL, AIOCOSMOS_FATE_MAYBE_APPLIED, 0 },
        { 207, "[{\"statusCode\":424},{\"statusCode\":404}]", 404, AIOCOSMOS_FATE_ANSWERED, 2 },
        { 207, "[{\"statusCode\":404,\"resourceBody\":{\"message\":\"no\"},\"retryAfterMilliseconds\":7},"
          "{\"statusCode\":409}]", 404, AIOCOSMOS_FATE_ANSWERED, 2 },
        { 200, "[{\"statusCode\":201},{\"statusCode\":409}]", 409, AIOCOSMOS_FATE_ANSWERED, 2 },
        { 207, "[{\"statusCode\":424},{\"statusCode\":301}]", 301, AIOCOSMOS_FATE_ANSWERED, 2 },
        { 207, "[{\"statusCode\":424},{\"statusCode\":424}]", AIOCOSMOS_E_PROTOCOL, AIOCOSMOS_FATE_MAYBE_APPLIED, 0 },
        { 200, "[{\"statusCode\":201}]", AIOCOSMOS_E_PROTOCOL, AIOCOSMOS_FATE_MAYBE_APPLIED, 0 },
        { 200, "[{\"statusCode\":201},{\"statusCode\":204},{\"statusCode\":204}]", AIOCOSMOS_E_PROTOCOL,
          AIOCOSMOS_FATE_MAYBE_APPLIED, 0 },
        { 207, "[{\"statusCode\":\"201\"},{}]", AIOCOSMOS_E_PROTOCOL, AIOCOSMOS_FATE_MAYBE_APPLIED, 0 },
        { 207, "[7,[]]", AIOCOSMOS_E_PROTOCOL, AIOCOSMOS_FATE_MAYBE_APPLIED, 0 },
        { 200, "[{\"statusCode\":99999999999},{\"statusCode\":200}]", AIOCOSMOS_E_PROTOCOL,
          AIOCOSMOS_FATE_MAYBE_APPLIED, 0 },
        { 200, "[{\"statusCode\":201},{\"statusCo", AIOCOSMOS_E_PROTOCOL, AIOCOSMOS_FATE_MAYBE_APPLIED, 0 },
        { 200, "", AIOCOSMOS_E_PROTOCOL, AIOCOSMOS_FATE_MAYBE_APPLIED, 0 },
        { 200, "{}", AIOCOSMOS_E_PROTOCOL, AIOCOSMOS_FATE_MAYBE_APPLIED, 0 },
        { 201, "null", AIOCOSMOS_E_PROTOCOL, AIOCOSMOS_FATE_MAYBE_APPLIED, 0 },
        { 400, "[{\"statusCode\":400},{\"statusCode\":424}]", 400, AIOCOSMOS_FATE_ANSWERED, 0 },
        { 413, "", 413, AIOCOSMOS_FATE_ANSWERED, 0 }
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        aiocosmos_client *client;
        net_begin(answer_batch);
        said_status = cases[i].http_status;
        said_body = cases[i].body;
        client = open_usual();
        trade_two(client);
        if (got.status != cases[i].status || got.fate != cases[i].fate || got.count != cases[i].count)
            test_fail(__FILE__, __LINE__, "%s: %d, fate %d, %d results", cases[i].body, got.status, got.fate,
                      (int)got.count);
        CHECK(got.charge_ru < 1e9);
        close_client(client);
    }
}

TEST(a_transaction_whose_answer_breaks_off_may_have_been_applied)
{
    aiocosmos_client *client;
    net_begin(answer_batch);
    said_body = "[{\"statusCode\":201},";
    breaks_off = true;
    client = open_usual();
    CHECK(trade_two(client) < 0);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    CHECK_INT(got.count, 0);
    breaks_off = false;
    close_client(client);
}

/* Whichever allocation fails, the transaction is refused or called back once, and nothing is left. */
static void survive(int http_status, const char *body, unsigned long nth, unsigned long count, int reads)
{
    aiocosmos_bulk_item items[100];
    aiocosmos_batch_request request;
    aiocosmos_client *client;
    size_t i;
    net_begin(answer_batch);
    said_status = http_status;
    said_body = body;
    client = open_usual();
    memset(items, 0, sizeof items);
    memset(&request, 0, sizeof request);
    memset(&got, 0, sizeof got);
    items[0].body = aiocosmos_text("{\"id\":\"1\",\"pk\":\"a\"}");
    for (i = reads < 100; i < (size_t)reads + (reads < 100); i++) {
        items[i].kind = AIOCOSMOS_READ_ITEM;
        items[i].id = "1";
        items[i].if_none_match = aiocosmos_text("\"x\"");
        items[i].body = aiocosmos_text(NULL);
    }
    request.database = "db";
    request.container = "c";
    request.pk = aiocosmos_pk1(aiocosmos_s("a"));
    request.items = items;
    request.item_count = i;
    request.done = keep;
    heap_fail(&heap, nth, count);
    if (aiocosmos_batch(client, &request, NULL) == 0) {
        drain(client);
        CHECK_INT(got.calls, 1);
        CHECK(got.status == (http_status == 207 ? 409 : 0) || got.status < 0);
        CHECK(got.status || got.count == request.item_count);     /* a success has results */
        CHECK(got.status != 409 || got.named);
        CHECK(got.status != AIOCOSMOS_E_PROTOCOL);
    }
    heap.fail_from = heap.fail_to = 0;
    close_client(client);
}

TEST(a_transaction_survives_every_allocation_that_fails)
{
    static char large[100000], taken[100000], unchanged[4000];
    unsigned long nth, count;
    size_t i;
    sprintf(large, "[{\"statusCode\":201,\"eTag\":\"x\",\"resourceBody\":%090000d}]", 0);
    large[strlen(large) - 90002] = '1';      /* no number begins with more zeros */
    strcpy(taken, large);
    memcpy(strstr(taken, "201"), "409", 3);
    strcpy(unchanged, "[");
    for (i = 0; i < 100; i++) strcat(unchanged, i ? ",{\"statusCode\":304}" : "{\"statusCode\":304}");
    strcat(unchanged, "]");
    for (count = 1; count < 4; count += 2) {
        for (nth = 1; nth < 100; nth++) {
            survive(200, "[{\"statusCode\":201,\"eTag\":\"x\"}]", nth, count, 0);
            survive(207, "[{\"statusCode\":409,\"eTag\":\"x\"}]", nth, count, 0);
            survive(200, large, nth, count, 0);
            survive(207, taken, nth, count, 0);
            survive(200, unchanged, nth, count, 100);
            survive(200, "[{\"statusCode\":201},{\"statusCode\":304}]", nth, count, 1);   /* never asked for again */
        }
    }
}
