/* Bulks in batches against a server that answers what a test makes up: what a batch holds, what each item is told, and
 * what becomes of it when a server lies, forgets, refuses or splits. The network and the clock are hostile.h's. */
#include "hostile.h"

enum { ITEMS_MAX = 1000, OPERATIONS_MAX = 100 };

typedef struct told {
    int calls, status, sub_status, fate, http_status;
    uint32_t attempts;
    double charge_ru;
    char etag[32], body[64];
    uint64_t at_us;
} told;

static struct {
    int count, next, body_bytes, later_at;
    aiocosmos_kind kind;
    const char *if_match;                    /* of every third */
    bool keyed;                              /* an order key for each five */
    told items[ITEMS_MAX];
    int ended, status;
    aiocosmos_bulk_totals totals;
} source;

/* What the server has seen and says. */
static struct {
    int batches, singles, ranges_asked, most, two_of_key, overtaken;
    int sizes[64];                           /* operations of each batch */
    int sent[ITEMS_MAX];                     /* how often each item was */
    char range[64][4];                       /* which each batch was of */
    bool split;
    int whole_status;                        /* 0: results */
    int single_status;                       /* 0: 201 */
    bool another;                            /* container has this name by now */
    int moved;                               /* so many singles are told so */
    const char *whole_lines, *whole_body, *single_lines;
    int whole_count;                         /* so many batches are answered so; 0: all */
    bool (*entry)(int item, char *out, size_t cap);    /* false: the usual result */
    int hang_up;                             /* so many batches more get no answer but an end */
    size_t largest;
} server;

static const char two_ranges[] =
    "{\"_rid\":\"abcdAMsp2wQ=\",\"PartitionKeyRanges\":["
    "{\"id\":\"1\",\"minInclusive\":\"\",\"maxExclusive\":\"1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\",\"parents\":[\"0\"]},"
    "{\"id\":\"2\",\"minInclusive\":\"1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\",\"maxExclusive\":\"FF\","
    "\"parents\":[\"0\"]}],\"_count\":2}";
static const char one_range[] =
    "{\"_rid\":\"abcdAMsp2wQ=\",\"PartitionKeyRanges\":[{\"id\":\"0\",\"minInclusive\":\"\",\"maxExclusive\":\"FF\","
    "\"parents\":[]}],\"_count\":1}";

static const char another_definition[] =
    "{\"id\":\"c\",\"_rid\":\"abcdAPsp2wQ=\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":2}}";

static void see_operation(int item)
{
    int of_key = item % 5, i;
    CHECK(item >= 0 && item < ITEMS_MAX);
    CHECK_INT(source.items[item].calls, 0);
    server.sent[item]++;
    for (i = of_key; source.keyed && i < item; i += 5)
        if (!source.items[i].calls) server.overtaken++;
}

static void answer_batch(peer *link)
{
    static char text[65536];
    const char *at = link->out, *range = strstr(link->out, "x-ms-documentdb-partitionkeyrangeid: ");
    size_t len = 0;
    int n = 0;
    CHECK(range && heard(link, "x-ms-cosmos-batch-atomic: False\r\n") &&
          heard(link, "x-ms-cosmos-batch-continue-on-error: True\r\n") &&
          !heard(link, "x-ms-documentdb-partitionkey:"));
    snprintf(server.range[server.batches % 64], 4, "%.1s", range + 37);
    while ((at = strstr(at, "{\"operationType\"")) != NULL) {
        char entry[256];
        const char *id = strstr(at, "\"id\":\"");
        int item = (int)strtol(id + 6, NULL, 10);
        see_operation(item);
        if (!server.entry || !server.entry(item, entry, sizeof entry))
            snprintf(entry, sizeof entry, "{\"statusCode\":%d,\"requestCharge\":5.5,\"eTag\":\"\\\"e%d\\\"\"}",
                     source.kind == AIOCOSMOS_READ_ITEM ? 200 : 201, item);
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", n ? "," : "[", entry);
        at++;
        n++;
    }
    snprintf(text + len, sizeof text - len, "]");
    server.sizes[server.batches++ % 64] = n;
    if (n > server.most) server.most = n;
    if (link->out_len > server.largest) server.largest = link->out_len;
    if (server.hang_up && server.hang_up--) {
        link->closed = true;
    } else if (server.whole_status && (!server.whole_count || server.batches <= server.whole_count)) {
        reply(link, server.whole_status, server.whole_lines, server.whole_body ? server.whole_body : text);
    } else {
        char lines[128];
        snprintf(lines, sizeof lines, "x-ms-activity-id: a\r\nx-ms-request-charge: %.1f\r\n"
                 "x-ms-session-token: 0:-1#9\r\n", 5.5 * n);
        reply(link, 200, lines, text);
    }
}

static void answer(peer *link)
{
    const char *id = strstr(link->out, "{\"id\":\"");
    if (heard(link, "/pkranges ")) {
        server.ranges_asked++;
        reply(link, 200, "x-ms-activity-id: a\r\n", server.split ? two_ranges : one_range);
    } else if (heard(link, "GET /dbs/db/colls/c HTTP")) {
        reply(link, 200, "x-ms-activity-id: a\r\n", server.another ? another_definition : definition);
    } else if (heard(link, "x-ms-cosmos-is-batch-request: True\r\n")) {
        answer_batch(link);
    } else if (server.moved && server.moved--) {
        reply(link, 410, "x-ms-activity-id: a\r\nx-ms-substatus: 1000\r\n", "{\"code\":\"Gone\"}");
    } else {
        server.singles++;
        if (id) see_operation((int)strtol(id + 7, NULL, 10));
        reply(link, server.single_status ? server.single_status : 201,
              server.single_lines ? server.single_lines : "x-ms-activity-id: a\r\nx-ms-request-charge: 5.5\r\n",
              server.single_status ? "{\"code\":\"Conflict\"}" : "");
    }
}

static aiocosmos_pull pull(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    static char body[400000], id[16], key[16];
    int n = source.next, i;
    (void)client, (void)user_data;
    if (n == source.count) return AIOCOSMOS_PULL_END;
    if (n && n == source.later_at) {
        source.later_at = 0;
        return AIOCOSMOS_PULL_LATER;
    }
    source.next++;
    snprintf(id, sizeof id, "%d", n);
    snprintf(key, sizeof key, "p%d", n);
    i = snprintf(body, sizeof body, "{\"id\":\"%d\",\"pk\":\"p%d\",\"t\":\"", n, n);
    memset(body + i, 'x', (size_t)source.body_bytes);
    snprintf(body + i + source.body_bytes, 4, "\"}");
    item->kind = source.kind;
    item->pk = aiocosmos_pk1(aiocosmos_s(key));
    if (source.kind == AIOCOSMOS_READ_ITEM) item->id = id;
    else item->body = aiocosmos_text(body);
    if (source.if_match && n % 3 == 0) {
        item->kind = AIOCOSMOS_UPSERT_ITEM;
        item->if_match = aiocosmos_text(source.if_match);
    }
    if (source.keyed) item->order_key = (uint64_t)(n % 5 + 1);
    item->item_data = &source.items[n];
    return AIOCOSMOS_PULL_ITEM;
}

static void item_came(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    told *item = (told *)item_data;
    (void)client, (void)user_data;
    item->calls++;
    item->status = result->status;
    item->sub_status = result->sub_status;
    item->http_status = result->http_status;
    item->fate = result->fate;
    item->attempts = result->attempts;
    item->charge_ru = result->charge_ru;
    item->at_us = net.now_us;
    snprintf(item->etag, sizeof item->etag, "%.*s", (int)result->etag.len, result->etag.ptr);
    snprintf(item->body, sizeof item->body, "%.*s", (int)result->body.len, result->body.ptr ? result->body.ptr : "");
    if (result->status) CHECK(result->message.len > 0);
}

static void bulk_came(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                      void *user_data)
{
    (void)client, (void)user_data;
    source.ended++;
    source.status = result->status;
    source.totals = *totals;
}

static aiocosmos_bulk_request bulk_of(int count, aiocosmos_kind kind)
{
    aiocosmos_bulk_request request;
    memset(&request, 0, sizeof request);
    memset(&source, 0, sizeof source);
    source.count = count;
    source.kind = kind;
    request.container = "c";
    request.next = pull;
    request.item_done = item_came;
    request.done = bulk_came;
    return request;
}

/* Every item is told of once; returns how many well. */
static int run(aiocosmos_client *client, const aiocosmos_bulk_request *request)
{
    aiocosmos_op op;
    int i, well = 0;
    CHECK_INT(aiocosmos_bulk(client, request, &op), 0);
    while (!source.ended) {
        CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
        if (!source.ended) aiocosmos_bulk_resume(client, op);
    }
    CHECK_INT(source.ended, 1);
    for (i = 0; i < source.count; i++) {
        CHECK_INT(source.items[i].calls, 1);
        well += source.items[i].status == 0;
    }
    CHECK_INT(source.totals.succeeded, (unsigned)well);
    CHECK_INT(source.totals.succeeded + source.totals.failed, (unsigned)source.count);
    CHECK_INT(aiocosmos_pending(client), 0);
    return well;
}

static aiocosmos_client *open_world(void)
{
    memset(&server, 0, sizeof server);
    server.whole_lines = "x-ms-activity-id: a\r\n";
    net_begin(answer);
    return open_usual();
}

/* As after many answers that came soon. */
static void allow_many(aiocosmos_client *client)
{
    client_bulk_allows(client, INT32_MAX);
}

/*--- What is sent -------------------------------------------------------------------------*/

TEST(items_are_packed_to_the_brim)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(250, AIOCOSMOS_CREATE_ITEM);
    CHECK_INT(run(client, &request), 250);
    CHECK_INT(server.batches, 3);
    CHECK(server.sizes[0] == 100 && server.sizes[1] == 100 && server.sizes[2] == 50);
    CHECK_INT(server.singles, 0);
    CHECK_STR(source.items[7].etag, "\"e7\"");
    CHECK(source.items[7].charge_ru == 5.5 && source.items[7].attempts == 1);
    CHECK_INT(source.items[7].http_status, 201);
    close_client(client);
}

TEST(a_lone_item_waits_for_nobody)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(1, AIOCOSMOS_CREATE_ITEM);
    CHECK_INT(run(client, &request), 1);
    CHECK(server.singles == 1 && server.batches == 0);         /* it is a request as any */
    CHECK(source.items[0].attempts == 1 && source.items[0].charge_ru == 5.5);
    request = bulk_of(20, AIOCOSMOS_CREATE_ITEM);
    source.later_at = 7;
    memset(server.sent, 0, sizeof server.sent);
    CHECK_INT(run(client, &request), 20);
    CHECK(server.sizes[0] == 7 && server.sizes[1] == 13);
    close_client(client);
}

static bool one_has_come;

static aiocosmos_pull pull_one(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    if (!one_has_come) return AIOCOSMOS_PULL_LATER;
    one_has_come = false;
    return pull(client, item, user_data);
}

/* What comes item by item, faster than it is answered, waits and is packed as soon as four are under way. */
TEST(lone_items_are_under_way_like_batches)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(1, AIOCOSMOS_CREATE_ITEM);
    aiocosmos_op op;
    int i;
    CHECK_INT(run(client, &request), 1);             /* the ranges are known */
    remote.answer = NULL;
    request = bulk_of(30, AIOCOSMOS_CREATE_ITEM);
    request.next = pull_one;
    CHECK_INT(aiocosmos_bulk(client, &request, &op), 0);
    for (i = 0; i < 20; i++) {
        one_has_come = true;
        aiocosmos_bulk_resume(client, op);
        CHECK(aiocosmos_step(client, 1) >= 0);
    }
    CHECK_INT(client_bulk_requests(client), 4);
    CHECK_INT(client_bulk_packed(client), 16);
    CHECK(aiocosmos_cancel(client, op));
    drain(client);
    close_client(client);
}

TEST(a_batch_is_no_larger_than_the_service_takes)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(10, AIOCOSMOS_CREATE_ITEM);
    int i;
    source.body_bytes = 70000;
    CHECK_INT(run(client, &request), 10);
    for (i = 0; i < 3; i++) CHECK_INT(server.sizes[i], 3);
    CHECK(server.largest < client_bulk_bytes_max() + 1000);
    request = bulk_of(2, AIOCOSMOS_CREATE_ITEM);
    server.batches = server.singles = 0;
    source.body_bytes = 300000;
    CHECK_INT(run(client, &request), 2);             /* each alone */
    CHECK(server.batches + server.singles == 2);
    CHECK_INT(client_bulk_body_cap(client), 0);            /* nothing so large is kept */
    close_client(client);
}

/* What is pulled and sent leaves room to what comes back, however little memory there is. */
TEST(a_bulk_that_is_short_of_memory_goes_slower_and_loses_nothing)
{
    static const size_t memory[] = { 700000, 1000000, 2000000 };
    size_t i;
    for (i = 0; i < 6; i++) {
        aiocosmos_options options = usual_options();
        aiocosmos_bulk_request request;
        aiocosmos_client *client;
        aiocosmos_destroy(open_world());
        options.memory_max = memory[i % 3];
        client = open_client(&options);
        request = bulk_of(200, AIOCOSMOS_CREATE_ITEM);
        source.body_bytes = i < 3 ? 8000 : 60000;
        CHECK_INT(run(client, &request), 200);
        close_client(client);
    }
}

TEST(four_batches_of_a_range_are_under_way_at_most)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(1000, AIOCOSMOS_CREATE_ITEM);
    aiocosmos_op op;
    int i;
    CHECK_INT(aiocosmos_bulk(client, &request, &op), 0);
    allow_many(client);
    while (server.ranges_asked == 0) CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
    remote.answer = NULL;
    for (i = 0; i < 20; i++) CHECK(aiocosmos_step(client, 1) >= 0);
    CHECK_INT(client_bulk_requests(client), 4);
    CHECK_INT(source.next, 500);                     /* and a fifth is ready */
    CHECK(aiocosmos_cancel(client, op));
    drain(client);
    for (i = 0; i < 500; i++) {
        CHECK_INT(source.items[i].status, AIOCOSMOS_E_CANCELLED);
        CHECK_INT(source.items[i].fate, i < 400 ? AIOCOSMOS_FATE_MAYBE_APPLIED : AIOCOSMOS_FATE_NOT_SENT);
    }
    close_client(client);
}

TEST(of_an_order_key_one_is_under_way_at_a_time)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(60, AIOCOSMOS_CREATE_ITEM);
    source.keyed = true;
    CHECK_INT(run(client, &request), 60);
    CHECK_INT(server.overtaken, 0);
    CHECK_INT(server.most, 5);
    close_client(client);
}

TEST(a_budget_of_units_is_kept_to)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(300, AIOCOSMOS_CREATE_ITEM);
    uint64_t from_us = net.now_us;
    request.ru_per_second_max = 100;
    CHECK_INT(run(client, &request), 300);
    CHECK_INT((int)source.totals.charge_ru, 1650);
    CHECK(net.now_us - from_us >= 16000000 && net.now_us - from_us < 20000000);
    CHECK(server.most < 10);
    close_client(client);
}

/* An item is pulled when the budget soon pays for it, so that its time is not spent on waiting for that. */
TEST(a_small_budget_makes_a_bulk_slow_and_fails_nothing)
{
    static const struct { uint32_t timeout_ms, ru_per_second_max; } cases[] = { { 0, 20 }, { 1000, 50 } };
    size_t i;
    for (i = 0; i < 2; i++) {
        aiocosmos_client *client = open_world();
        aiocosmos_bulk_request request = bulk_of(400, AIOCOSMOS_CREATE_ITEM);
        uint64_t from_us = net.now_us;
        double seconds;
        server.split = true;
        request.ru_per_second_max = cases[i].ru_per_second_max;
        request.timeout_ms = cases[i].timeout_ms;
        CHECK_INT(run(client, &request), 400);
        seconds = (double)(net.now_us - from_us) / 1e6;
        CHECK(seconds * request.ru_per_second_max >= 2190 && seconds * request.ru_per_second_max < 2400);
        close_client(client);
    }
}

/* What the budget does not pay for yet gathers: what goes out are batches, of a tenth of a second's units at most. */
TEST(a_budget_leaves_batches_whole)
{
    static const struct { uint32_t ru_per_second_max; int most, requests; } cases[] = {
        { 500, 10, 115 }, { 5000, 91, 15 }, { 20000, 100, 13 } };
    size_t i;
    for (i = 0; i < 3; i++) {
        aiocosmos_client *client = open_world();
        aiocosmos_bulk_request request = bulk_of(1000, AIOCOSMOS_CREATE_ITEM);
        uint64_t from_us = net.now_us;
        double seconds;
        request.ru_per_second_max = cases[i].ru_per_second_max;
        CHECK_INT(run(client, &request), 1000);
        CHECK(server.most <= cases[i].most);
        CHECK(server.batches + server.singles <= cases[i].requests);
        seconds = (double)(net.now_us - from_us) / 1e6;
        CHECK(5500 <= (seconds + 0.1) * request.ru_per_second_max);
        CHECK(5500 >= (seconds - 0.2) * request.ru_per_second_max * 0.95);
        close_client(client);
    }
}

TEST(no_charge_stops_a_bulk_with_a_budget_for_more_than_an_hour)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(2, AIOCOSMOS_CREATE_ITEM);
    uint64_t from_us = net.now_us;
    request.ru_per_second_max = 1;
    server.single_lines = "x-ms-activity-id: a\r\nx-ms-request-charge: 1e8\r\n";
    CHECK_INT(run(client, &request), 2);
    CHECK((net.now_us - from_us) / 2 > 3500000000u && (net.now_us - from_us) / 2 < 3800000000u);
    close_client(client);
}

TEST(priority_and_bucket_go_with_every_request)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(5, AIOCOSMOS_CREATE_ITEM);
    request.throughput_bucket = 6;
    CHECK_INT(aiocosmos_bulk(client, &request, NULL), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "throughput_bucket: 1 to 5");
    request.throughput_bucket = 5;
    request.priority_low = true;
    CHECK_INT(run(client, &request), 5);
    CHECK(heard(net.sockets[0], "x-ms-cosmos-priority-level: Low\r\n") || heard(net.sockets[1], "priority-level: Low"));
    CHECK(heard(net.sockets[0], "x-ms-cosmos-throughput-bucket: 5\r\n") || heard(net.sockets[1], "-bucket: 5\r\n"));
    close_client(client);
}

/*--- What comes back ----------------------------------------------------------------------*/

TEST(a_server_that_knows_no_batches_is_served_singly)
{
    static const int statuses[] = { 400, 404, 405, 501 };
    size_t i;
    for (i = 0; i < 4; i++) {
        aiocosmos_client *client = open_world();
        aiocosmos_bulk_request request = bulk_of(150, AIOCOSMOS_CREATE_ITEM);
        server.whole_status = statuses[i];
        server.whole_body = "{\"code\":\"BadRequest\"}";
        CHECK_INT(run(client, &request), 150);
        CHECK_INT(server.singles, 150);
        CHECK(server.batches >= 1 && server.batches <= 2);
        request = bulk_of(10, AIOCOSMOS_CREATE_ITEM);
        server.batches = 0;
        CHECK_INT(run(client, &request), 10);        /* that is remembered */
        CHECK_INT(server.batches, 0);
        close_client(client);
    }
}

TEST(batches_are_tried_anew_on_another_container)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(10, AIOCOSMOS_CREATE_ITEM);
    server.whole_status = 404;
    server.whole_body = "{\"code\":\"NotFound\"}";
    CHECK_INT(run(client, &request), 10);
    CHECK_INT(server.singles, 10);
    server.whole_status = 0;
    server.batches = server.singles = 0;
    server.another = true;
    server.moved = 1;
    request = bulk_of(30, AIOCOSMOS_CREATE_ITEM);
    request.concurrency_max = 5;
    CHECK_INT(run(client, &request), 30);
    CHECK_INT(server.moved, 0);
    CHECK(server.batches > 0 && server.most > 1);
    close_client(client);
}

TEST(a_server_that_has_answered_a_batch_knows_them)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(4, AIOCOSMOS_CREATE_ITEM);
    CHECK_INT(run(client, &request), 4);
    request = bulk_of(8, AIOCOSMOS_CREATE_ITEM);
    server.batches = 0;
    server.whole_status = 400;
    server.whole_body = "{\"code\":\"BadRequest\"}";
    server.single_status = 400;
    CHECK_INT(run(client, &request), 0);             /* halved, until each is refused by itself */
    CHECK_INT(server.batches, 1 + 2 + 4);
    CHECK_INT(server.singles, 8);
    CHECK(source.items[0].status == 400 && source.items[0].fate == AIOCOSMOS_FATE_ANSWERED);
    close_client(client);
}

TEST(an_answer_that_is_no_array_of_results_leaves_all_in_doubt)
{
    static const char *const bodies[] = { "", "{}", "null", "[]", "[{\"statusCode\":201}]", "not JSON",
        "[{\"statusCode\":201},{\"statusCode\":201},{\"statusCode\":201},{\"statusCode\":201}]",
        "[{\"statusCode\":201},{\"statusCode\":201},{\"stat" };
    static const int statuses[] = { 200, 201, 207 };
    size_t i;
    int k;
    for (i = 0; i < 3 * sizeof bodies / sizeof *bodies; i++) {
        aiocosmos_client *client = open_world();
        aiocosmos_bulk_request request = bulk_of(3, AIOCOSMOS_CREATE_ITEM);
        server.whole_status = statuses[i % 3];
        server.whole_body = bodies[i / 3];
        CHECK_INT(run(client, &request), 0);
        for (k = 0; k < 3; k++) {
            CHECK_INT(source.items[k].status, AIOCOSMOS_E_PROTOCOL);
            CHECK_INT(source.items[k].fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
        }
        CHECK_INT(server.batches, 1);
        CHECK_INT(source.totals.maybe_applied, 3);
        close_client(client);
    }
}

static aiocosmos_op to_cancel;

static void item_came_and_cancels(aiocosmos_client *client, const aiocosmos_result *result, void *item_data,
                                  void *user_data)
{
    item_came(client, result, item_data, user_data);
    aiocosmos_cancel(client, to_cancel);
}

TEST(what_has_been_answered_is_told_even_if_the_bulk_is_cancelled_meanwhile)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(150, AIOCOSMOS_CREATE_ITEM);
    int i;
    request.item_done = item_came_and_cancels;
    CHECK_INT(aiocosmos_bulk(client, &request, &to_cancel), 0);
    allow_many(client);
    drain(client);
    CHECK_INT(source.status, AIOCOSMOS_E_CANCELLED);
    for (i = 0; i < 150; i++) {
        CHECK_INT(source.items[i].calls, 1);
        CHECK_INT(source.items[i].status, server.sent[i] ? 0 : AIOCOSMOS_E_CANCELLED);
    }
    CHECK(source.totals.succeeded >= 100 && source.totals.maybe_applied == 0);
    close_client(client);
}

static const char *odd_entry;

static bool one_is_odd(int item, char *out, size_t cap)
{
    if (item == 1) snprintf(out, cap, "%s", odd_entry);
    return item == 1;
}

TEST(an_entry_that_is_no_result_is_its_items_affair)
{
    static const char *const entries[] = { "7", "null", "\"201\"", "[]", "{}", "{\"statusCode\":\"201\"}",
        "{\"statusCode\":0}", "{\"statusCode\":99}", "{\"statusCode\":600}", "{\"statusCode\":2e400}",
        "{\"statusCode\":304}" };              /* which nobody asked for */
    size_t i;
    for (i = 0; i < sizeof entries / sizeof *entries; i++) {
        aiocosmos_client *client = open_world();
        aiocosmos_bulk_request request = bulk_of(3, AIOCOSMOS_CREATE_ITEM);
        odd_entry = entries[i];
        server.entry = one_is_odd;
        CHECK_INT(run(client, &request), 2);
        CHECK_INT(source.items[1].status, AIOCOSMOS_E_PROTOCOL);
        CHECK_INT(source.items[1].fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
        close_client(client);
    }
}

TEST(numbers_of_an_entry_that_make_no_sense_are_left_out)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(3, AIOCOSMOS_CREATE_ITEM);
    server.entry = one_is_odd;
    odd_entry = "{\"statusCode\":409,\"subStatusCode\":-7,\"requestCharge\":-1,\"retryAfterMilliseconds\":1e99,"
                "\"eTag\":9,\"message\":\"it is \\\"there\\\"\"}";
    CHECK_INT(run(client, &request), 2);
    CHECK(source.items[1].status == 409 && source.items[1].sub_status == 0 && source.items[1].charge_ru == 0);
    CHECK_INT(source.items[1].fate, AIOCOSMOS_FATE_ANSWERED);
    CHECK_STR(source.items[1].etag, "");
    close_client(client);
}

static bool throttled_once(int item, char *out, size_t cap)
{
    bool now = item == 2 && server.sent[item] == 1;
    if (now) snprintf(out, cap, "{\"statusCode\":429,\"subStatusCode\":3200,\"retryAfterMilliseconds\":80}");
    return now;
}

TEST(a_429_of_an_item_sends_that_item_again)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(5, AIOCOSMOS_CREATE_ITEM);
    server.entry = throttled_once;
    CHECK_INT(run(client, &request), 5);
    CHECK(server.batches == 1 && server.sizes[0] == 5 && server.singles == 1);
    CHECK(server.sent[2] == 2 && server.sent[1] == 1);
    CHECK(source.items[2].attempts == 2 && source.items[1].attempts == 1);
    CHECK(source.items[2].at_us - source.items[1].at_us >= 80000);
    CHECK_INT(source.totals.throttled, 1);
    CHECK_INT(source.totals.retries, 1);
    close_client(client);
}

TEST(a_whole_that_is_refused_is_dealt_with_by_item)
{
    static const int statuses[] = { 429, 449, 503 };
    size_t i;
    for (i = 0; i < 3; i++) {
        aiocosmos_client *client = open_world();
        aiocosmos_bulk_request request = bulk_of(5, AIOCOSMOS_CREATE_ITEM);
        server.whole_status = statuses[i];
        server.whole_lines = "x-ms-activity-id: a\r\nx-ms-retry-after-ms: 20\r\nx-ms-request-charge: 10\r\n";
        server.whole_body = "{}";
        server.whole_count = 1;
        CHECK_INT(run(client, &request), 5);
        CHECK_INT(source.items[4].attempts, 2);
        CHECK(source.items[4].charge_ru == 5.5 + 2);
        CHECK_INT(source.totals.maybe_applied, 0);
        close_client(client);
    }
}

TEST(a_batch_that_is_too_large_is_halved)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(16, AIOCOSMOS_READ_ITEM);
    server.whole_status = 413;
    server.whole_lines = "x-ms-activity-id: a\r\nx-ms-request-charge: 16\r\n";
    server.whole_body = "{}";
    server.whole_count = 2;
    CHECK_INT(run(client, &request), 16);
    CHECK(server.sizes[0] == 16 && server.sizes[1] == 8 && server.sizes[2] <= 8);
    CHECK_INT(server.singles, 0);
    CHECK(source.totals.charge_ru == 16 * 5.5 + 2 * 16);     /* what was refused has its price too */
    close_client(client);
}

static bool gone_once(int item, char *out, size_t cap)
{
    bool now = server.sent[item] == 1;
    server.split = true;
    if (now) snprintf(out, cap, "{\"statusCode\":410,\"subStatusCode\":1002}");
    return now;
}

TEST(items_of_a_range_that_was_split_go_to_its_heirs)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(60, AIOCOSMOS_CREATE_ITEM);
    int i, one = 0, two = 0;
    server.entry = gone_once;
    CHECK_INT(run(client, &request), 60);
    CHECK_STR(server.range[0], "0");
    for (i = 1; i < server.batches; i++) {
        one += strcmp(server.range[i], "1") == 0;
        two += strcmp(server.range[i], "2") == 0;
    }
    CHECK(one >= 1 && two >= 1 && one + two == server.batches - 1);
    CHECK_INT(server.ranges_asked, 2);
    for (i = 0; i < 60; i++) CHECK_INT(server.sent[i], 2);
    close_client(client);
}

TEST(a_whole_that_is_gone_is_sorted_anew)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(60, AIOCOSMOS_CREATE_ITEM);
    int i;
    server.whole_status = 410;
    server.whole_lines = "x-ms-activity-id: a\r\nx-ms-substatus: 1002\r\n";
    server.whole_body = "{}";
    server.whole_count = 1;
    CHECK_INT(aiocosmos_bulk(client, &request, NULL), 0);
    while (server.ranges_asked == 0) CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
    server.split = true;
    drain(client);
    for (i = 0; i < 60; i++) CHECK(source.items[i].status == 0 && source.items[i].attempts == 2);
    CHECK_INT(server.ranges_asked, 2);
    CHECK_STR(server.range[0], "0");
    for (i = 1; i < server.batches; i++) CHECK(strcmp(server.range[i], "0") != 0);
    CHECK_INT(source.totals.maybe_applied, 0);
    close_client(client);
}

TEST(a_lost_answer_leaves_in_doubt_what_may_not_be_sent_again)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(9, AIOCOSMOS_UPSERT_ITEM);
    int i;
    source.if_match = "\"e\"";
    server.hang_up = 1;
    CHECK_INT(run(client, &request), 3);
    CHECK(server.sizes[0] == 9 && server.sizes[1] == 3);
    for (i = 0; i < 9; i++) {
        CHECK_INT(server.sent[i], i % 3 ? 1 : 2);
        if (i % 3) CHECK_INT(source.items[i].fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    }
    request = bulk_of(9, AIOCOSMOS_READ_ITEM);
    memset(server.sent, 0, sizeof server.sent);
    server.hang_up = 1;
    CHECK_INT(run(client, &request), 9);
    close_client(client);
}

static bool with_document(int item, char *out, size_t cap)
{
    snprintf(out, cap, "{\"statusCode\":200,\"requestCharge\":1,\"resourceBody\":{\"id\":\"%d\"}}", item);
    return true;
}

TEST(an_item_that_is_read_is_lent)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(12, AIOCOSMOS_READ_ITEM);
    server.entry = with_document;
    CHECK_INT(run(client, &request), 12);
    CHECK_STR(source.items[11].body, "{\"id\":\"11\"}");
    close_client(client);
}

TEST(an_items_time_ends_it_alone)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(10, AIOCOSMOS_CREATE_ITEM);
    aiocosmos_op op;
    int i;
    request.timeout_ms = 1000;
    source.later_at = 5;
    net.tick_us = 0;
    CHECK_INT(aiocosmos_bulk(client, &request, &op), 0);
    while (server.ranges_asked == 0) CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
    remote.answer = NULL;                               /* silence from here on */
    while (!source.ended) {
        CHECK(aiocosmos_step(client, 100) >= 0);
        if (!source.ended && net.now_us) aiocosmos_bulk_resume(client, op);
    }
    for (i = 0; i < 10; i++) {
        CHECK_INT(source.items[i].status, AIOCOSMOS_E_TIMEOUT);
        CHECK_INT(source.items[i].fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    }
    close_client(client);
}

static peer *unanswered;

static void answer_late(peer *link)
{
    if (heard(link, "x-ms-cosmos-is-batch-request: True\r\n")) unanswered = link;
    else answer(link);
}

/* Operations are carried out one by one, each in 20 ms, as by a server that has much else to do. */
static struct { peer *links[128]; int count; uint64_t due_us; } queue;

static uint64_t takes_us(const peer *link)
{
    const char *at = link->out;
    uint64_t us = 20000;
    while ((at = strstr(at + 1, "},{\"op")) != NULL) us += 20000;
    return us;
}

static void answer_in_turn(peer *link)
{
    if (!heard(link, "POST ")) {
        answer(link);
        return;
    }
    if (queue.count == 0) queue.due_us = net.now_us + takes_us(link);
    queue.links[queue.count++] = link;
}

static int run_in_turn(aiocosmos_client *client, const aiocosmos_bulk_request *request)
{
    aiocosmos_op op;
    int i, well = 0;
    memset(&queue, 0, sizeof queue);
    remote.answer = answer_in_turn;
    CHECK_INT(aiocosmos_bulk(client, request, &op), 0);
    while (!source.ended) {
        CHECK(aiocosmos_step(client, 100) >= 0);
        if (queue.count == 0 || net.now_us < queue.due_us) continue;
        answer(queue.links[0]);
        memmove(queue.links, queue.links + 1, (size_t)--queue.count * sizeof *queue.links);
        if (queue.count) queue.due_us += takes_us(queue.links[0]);
    }
    for (i = 0; i < source.count; i++) well += source.items[i].status == 0;
    return well;
}

TEST(a_slow_server_is_given_no_more_than_it_answers_in_the_items_time)
{
    int split;
    for (split = 0; split < 2; split++) {
        aiocosmos_client *client = open_world();
        aiocosmos_bulk_request request = bulk_of(1000, AIOCOSMOS_CREATE_ITEM);
        net.tick_us = 0;
        server.split = split;
        CHECK_INT(run_in_turn(client, &request), 1000);
        close_client(client);
    }
}

/* Each request is answered so long after it came, however many others are under way. */
static struct { peer *links[128]; uint64_t due_us[128], takes_us; int count, most; } distance;

static void answer_from_afar(peer *link)
{
    if (!heard(link, "POST ")) {
        answer(link);
        return;
    }
    distance.due_us[distance.count] = net.now_us + distance.takes_us;
    distance.links[distance.count++] = link;
    if (distance.count > distance.most) distance.most = distance.count;
}

/* fast_before: many may be under way at once. Returns how many items are stored. */
static int run_from_afar(const aiocosmos_bulk_request *request, uint64_t takes_ms, bool fast_before)
{
    aiocosmos_client *client = open_world();
    int i, well = 0;
    memset(&distance, 0, sizeof distance);
    distance.takes_us = takes_ms * 1000;
    net.tick_us = 100;
    remote.answer = answer_from_afar;
    CHECK_INT(aiocosmos_bulk(client, request, NULL), 0);
    if (fast_before) allow_many(client);
    while (!source.ended) {
        CHECK(aiocosmos_step(client, 5) >= 0);
        for (i = 0; i < distance.count; i++) {
            if (net.now_us < distance.due_us[i]) continue;
            answer(distance.links[i]);
            distance.links[i] = distance.links[--distance.count];
            distance.due_us[i] = distance.due_us[distance.count];
        }
    }
    for (i = 0; i < source.count; i++) well += source.items[i].status == 0;
    close_client(client);
    return well;
}

/* An item's time is that of its requests: what is pulled early and waits for its range has not lost any. */
TEST(items_that_wait_to_be_sent_do_not_run_out_of_time)
{
    aiocosmos_bulk_request request = bulk_of(1000, AIOCOSMOS_CREATE_ITEM);
    request.timeout_ms = 4000;
    CHECK_INT(run_from_afar(&request, 3000, true), 1000);
    CHECK_INT(source.totals.retries, 0);
    request = bulk_of(300, AIOCOSMOS_CREATE_ITEM);
    request.timeout_ms = 2000;
    CHECK_INT(run_from_afar(&request, 90000, true), 0);  /* but they have no more */
    CHECK_INT(source.totals.maybe_applied, 300);
}

TEST(a_distant_service_is_given_more_as_it_answers_no_slower)
{
    aiocosmos_bulk_request request = bulk_of(1000, AIOCOSMOS_CREATE_ITEM);
    CHECK_INT(run_from_afar(&request, 2500, false), 1000);
    CHECK_INT(distance.most, 4);                     /* batches of its range */
}

/* A service that bears eight items a second. */
static bool throttled_mostly(int item, char *out, size_t cap)
{
    static uint64_t second;
    static int done;
    (void)item;
    if (net.now_us / 1000000 != second) done = 0;
    second = net.now_us / 1000000;
    if (++done <= 8) return false;
    snprintf(out, cap, "{\"statusCode\":429,\"subStatusCode\":3200,\"retryAfterMilliseconds\":1000}");
    return true;
}

TEST(a_flood_that_is_throttled_loses_no_item_for_it)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(600, AIOCOSMOS_CREATE_ITEM);
    server.entry = throttled_mostly;
    CHECK_INT(run(client, &request), 600);
    close_client(client);
}

/* The first two are asked for again in 600 ms. */
static bool two_throttled_once(int item, char *out, size_t cap)
{
    if (item >= 2 || server.sent[item] > 1) return false;
    snprintf(out, cap, "{\"statusCode\":429,\"retryAfterMilliseconds\":600}");
    return true;
}

TEST(a_request_goes_on_for_those_of_its_items_that_have_time)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(4, AIOCOSMOS_CREATE_ITEM);
    aiocosmos_op op;
    int i;
    net.tick_us = 0;
    unanswered = NULL;
    request.timeout_ms = 1000;
    source.later_at = 2;
    server.entry = two_throttled_once;
    CHECK_INT(aiocosmos_bulk(client, &request, &op), 0);
    while (client_bulk_throttled(client) == 0) CHECK(aiocosmos_step(client, 0) >= 0);
    CHECK_INT(source.next, 2);
    remote.answer = answer_late;
    allow_many(client);
    net.now_us += 700000;
    CHECK(aiocosmos_bulk_resume(client, op) == 0);
    while (!unanswered) CHECK(aiocosmos_step(client, 0) >= 0);
    net.now_us += 500000;
    for (i = 0; i < 10; i++) CHECK(aiocosmos_step(client, 0) >= 0);
    for (i = 0; i < 4; i++) CHECK_INT(source.items[i].calls, i < 2);
    for (i = 0; i < 2; i++) CHECK_INT(source.items[i].status, AIOCOSMOS_E_TIMEOUT);
    for (i = 0; i < 2; i++) CHECK_INT(source.items[i].fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    for (i = 0; i < 2; i++) source.items[i].calls = 0;   /* the answer tells of these too, and nobody is told */
    remote.answer = answer;
    answer(unanswered);
    drain(client);
    for (i = 0; i < 4; i++) CHECK_INT(source.items[i].calls, i >= 2);
    for (i = 2; i < 4; i++) CHECK(source.items[i].status == 0 && source.items[i].attempts == 1);
    CHECK_INT(server.sizes[1], 4);
    CHECK_INT(source.totals.maybe_applied, 2);
    close_client(client);
}

TEST(an_order_key_is_one_of_items_and_operations)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request bulk = bulk_of(5, AIOCOSMOS_CREATE_ITEM);
    aiocosmos_request request;
    memset(&request, 0, sizeof request);
    source.keyed = true;
    remote.answer = answer_late;
    unanswered = NULL;
    request.kind = AIOCOSMOS_CREATE_ITEM;
    request.container = "c";
    request.pk = aiocosmos_pk_s("x");
    request.body = aiocosmos_text("{\"id\":\"999\",\"pk\":\"x\"}");
    request.order_key = 1;                           /* that of the first of each five */
    CHECK_INT(aiocosmos_bulk(client, &bulk, NULL), 0);
    while (source.next < 4) CHECK(aiocosmos_step(client, 0) >= 0);
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    while (!unanswered) CHECK(aiocosmos_step(client, 0) >= 0);
    CHECK(heard(unanswered, "x-ms-cosmos-is-batch-request"));
    CHECK_INT(server.singles, 0);
    remote.answer = answer;
    answer(unanswered);
    drain(client);
    CHECK_INT(server.singles, 1);
    close_client(client);
}

TEST(any_allocation_of_a_bulk_may_fail)
{
    unsigned long n;
    int failed = 1;
    for (n = 1; failed; n++) {
        aiocosmos_client *client = open_world();
        aiocosmos_bulk_request request = bulk_of(30, AIOCOSMOS_CREATE_ITEM);
        int i, status;
        source.keyed = n % 2;
        heap.failed = 0;
        heap_fail(&heap, n, 1);
        status = aiocosmos_bulk(client, &request, NULL);
        CHECK(status == 0 || status == AIOCOSMOS_E_NOMEM);
        CHECK_INT(aiocosmos_drain(client, PATIENCE_MS), 0);
        failed = heap.failed > 0;
        for (i = 0; i < source.next; i++) {
            CHECK_INT(source.items[i].calls, 1);
            if (source.items[i].status == 0) CHECK(server.sent[i] >= 1);
        }
        CHECK_INT(source.ended, status == 0);
        close_client(client);
    }
    CHECK(n > 20);
}

/* One item a request: the service's own words come along, as they do in a batch. */
TEST(an_item_that_is_refused_has_the_services_words)
{
    aiocosmos_client *client = open_world();
    aiocosmos_bulk_request request = bulk_of(2, AIOCOSMOS_CREATE_ITEM);
    request.single_items = true;
    server.single_status = 409;
    CHECK_INT(run(client, &request), 0);
    CHECK(server.singles == 2 && source.items[1].status == 409);
    CHECK_STR(source.items[1].body, "{\"code\":\"Conflict\"}");
    close_client(client);
}
