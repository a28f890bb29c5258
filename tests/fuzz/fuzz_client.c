/* The whole client against a server that says what the input says, over a made-up network in made-up time: each thing
 * that was accepted is called back once, what is lent can be read, memory stays below its limit and comes back. */
#include "fuzz.h"
#include "../hostile.h"

enum { TICKETS = 2, KEYS = 6, PULLS = 6, PAGES = 4 };

/* One thing that is asked. */
typedef struct ticket {
    int owed, calls, items;
    int pulls, pages;
    int seen[KEYS];                          /* of a read of many */
    aiocosmos_cursor cursor;
} ticket;

static ticket tickets[TICKETS];
static fuzz_input script;

/*--- The server ------------------------------------------------------------------------------*/

#define PLAN(INSIDE) \
    "{\"partitionedQueryExecutionInfoVersion\":2,\"queryInfo\":{" INSIDE "},\"queryRanges\":[{\"min\":\"\"," \
    "\"max\":\"FF\",\"isMinInclusive\":true,\"isMaxInclusive\":false}]}"

static const char *const plans[] = {
    PLAN(""),
    PLAN("\"orderBy\":[\"Ascending\"],\"orderByExpressions\":[\"c.n\"],\"rewrittenQuery\":"
         "\"SELECT c._rid FROM c WHERE ({documentdb-formattableorderbyquery-filter})\""),
    PLAN("\"distinctType\":\"Unordered\",\"top\":3,\"offset\":1,\"limit\":2"),
    PLAN("\"aggregates\":[\"Sum\"],\"hasSelectValue\":true,\"rewrittenQuery\":\"SELECT SUM(c.n) AS item FROM c\""),
    PLAN("\"groupByExpressions\":[\"c.a\"],\"groupByAliases\":[\"a\",\"b\"],\"groupByAliasToAggregateType\":"
         "{\"a\":null,\"b\":\"Count\"},\"rewrittenQuery\":\"x\""),
    PLAN("\"orderBy\":[\"Descending\"],\"orderByExpressions\":[\"c.n\"],\"hasNonStreamingOrderBy\":true,\"top\":2,"
         "\"rewrittenQuery\":\"SELECT c._rid\""),
};

static const char ranges[] =
    "{\"PartitionKeyRanges\":[{\"id\":\"0\",\"minInclusive\":\"\",\"maxExclusive\":\"80\",\"parents\":[]},"
    "{\"id\":\"1\",\"minInclusive\":\"80\",\"maxExclusive\":\"FF\",\"parents\":[]}],\"_count\":2}";
static const char page[] =
    "{\"Documents\":[{\"id\":\"a\",\"_rid\":\"abcdAMsp2wQBAAAAAAAAAA==\",\"orderByItems\":[{\"item\":1}],"
    "\"payload\":{\"id\":\"a\"}}],\"_count\":1}";
static const char batch[] =
    "[{\"statusCode\":200,\"requestCharge\":1},{\"statusCode\":201,\"eTag\":\"\\\"1\\\"\",\"requestCharge\":1.5}]";

static const char *fitting_body(const peer *link)
{
    if (heard(link, "x-ms-cosmos-is-query-plan-request: True"))
        return plans[fuzz_knob(&script) % (sizeof plans / sizeof plans[0])];
    if (heard(link, "x-ms-cosmos-is-batch-request: True")) return batch;
    if (heard(link, "/pkranges ")) return ranges;
    if (heard(link, "GET /dbs/db/colls/c HTTP")) return definition;
    if (heard(link, "x-ms-max-item-count")) return page;
    return "{\"id\":\"a\",\"pk\":\"p\"}";
}

/* A status with what the service says beside it, and a body of the input's. */
static void answer_with_status(peer *link)
{
    static const int statuses[] = {200, 201, 204, 207, 304, 401, 403, 404, 408, 409, 410, 412, 429, 449, 500, 503};
    static const int sub_statuses[] = {0, 3, 1000, 1002, 1007, 1008, 1022, 3200};
    char lines[512];
    unsigned status = fuzz_knob(&script) % 16, sub_status = fuzz_knob(&script) % 8, which = fuzz_knob(&script) % 16;
    aiocosmos_str token = fuzz_part(&script), body = fuzz_part(&script);
    size_t len = (size_t)snprintf(lines, sizeof lines, "x-ms-request-charge: 1\r\n");
    if (sub_status)
        len += (size_t)snprintf(lines + len, 64, "x-ms-substatus: %d\r\n", sub_statuses[sub_status]);
    if (which & 1) len += (size_t)snprintf(lines + len, 64, "x-ms-retry-after-ms: %u\r\n", 7 * which);
    if (which & 2) len += (size_t)snprintf(lines + len, 64, "etag: \"%u\"\r\n", which);
    if (which & 4)
        snprintf(lines + len, 200, "x-ms-session-token: %.*s\r\n", (int)(token.len % 128), token.ptr);
    else if (which & 8)
        snprintf(lines + len, 200, "x-ms-continuation: %.*s\r\n", (int)(token.len % 128), token.ptr);
    say(link, "HTTP/1.1 %d X\r\n%sContent-Length: %zu\r\n\r\n", statuses[status], lines, body.len);
    say_bytes(link, body.ptr, body.len);
}

static void answer_in_chunks(peer *link)
{
    aiocosmos_str body = fuzz_part(&script);
    size_t i;
    say_text(link, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (i = 0; i < body.len; i++) say(link, "1\r\n%c\r\n", body.ptr[i]);
    say_text(link, "0\r\n\r\n");
}

static void answer_with_rows(peer *link)
{
    aiocosmos_str rows = fuzz_part(&script);
    bool more = fuzz_knob(&script) % 2 != 0;
    say(link, "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n{\"Documents\":[",
        more ? "x-ms-continuation: x\r\n" : "", rows.len + 27);
    say_bytes(link, rows.ptr, rows.len);
    say_text(link, "],\"_count\":1}");
}

static void answer_as_said(peer *link)
{
    unsigned how = script.len ? fuzz_knob(&script) % 16 : 0;
    aiocosmos_str raw;
    switch (how) {
    case 3: case 4: case 5: answer_with_status(link); break;
    case 6: case 7: answer_with_rows(link); break;
    case 8: answer_in_chunks(link); break;
    case 9: link->closed = true; break;
    case 10: world_reset(link); break;
    case 11: break;                          /* silence */
    case 12:                                 /* two answers for one */
        reply(link, 200, "", fitting_body(link));
        reply(link, 200, "", "{}");
        break;
    case 13:                                 /* half of one, or what nobody asked for */
        raw = fuzz_part(&script);
        say_bytes(link, raw.ptr, raw.len);
        link->closed = true;
        break;
    case 14:
        link->endless = 1u << fuzz_knob(&script) % 20;
        link->endless_byte = (char)fuzz_byte(&script);
        break;
    case 15: net.now_us += (fuzz_knob(&script) & 63) * 1000000u;       /* a late one */
        /* fall through */
    default: reply(link, 200, how == 1 ? "etag: \"1\"\r\nx-ms-session-token: 0:-1#5\r\n" : "", fitting_body(link));
    }
}

/*--- Callbacks -------------------------------------------------------------------------------*/

static void touch(aiocosmos_str text)
{
    volatile char sum = 0;
    size_t i;
    for (i = 0; i < text.len; i++) sum = (char)(sum ^ text.ptr[i]);
}

static void look_at(const aiocosmos_result *result)
{
    char line[2048];
    CHECK((result->status == 0) == (result->message.len == 0));
    touch(result->message);
    touch(result->body);
    touch(result->etag);
    touch(result->session_token);
    touch(result->activity_id);
    aiocosmos_result_describe(result, line, sizeof line);
    aiocosmos_json_at(aiocosmos_result_json(result), "/id");
}

static void on_done(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    ((ticket *)user_data)->calls++;
    look_at(result);
}

static void ask_page(aiocosmos_client *client, ticket *asker);

static void on_page(aiocosmos_client *client, const aiocosmos_page *got, void *user_data)
{
    ticket *asker = (ticket *)user_data;
    aiocosmos_cursor_stats stats;
    aiocosmos_json item;
    size_t count = 0;
    memset(&item, 0, sizeof item);
    asker->calls++;
    look_at(got->result);
    while (aiocosmos_json_next(got->items, NULL, &item)) {
        touch((aiocosmos_str){item.ptr, item.len});
        count++;
    }
    CHECK_INT(count, got->item_count);
    touch(got->continuation);
    if (aiocosmos_cursor_get_stats(client, asker->cursor, &stats)) touch(stats.metrics);
    if ((got->more || got->status) && asker->pages-- > 0) ask_page(client, asker);
    else aiocosmos_cursor_close(client, asker->cursor);
}

static void ask_page(aiocosmos_client *client, ticket *asker)
{
    if (aiocosmos_cursor_next(client, asker->cursor, on_page, asker) == 0) asker->owed++;
    else aiocosmos_cursor_close(client, asker->cursor);
}

static aiocosmos_pull on_pull(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    ticket *asker = (ticket *)user_data;
    (void)client;
    if (asker->pulls == PULLS) return AIOCOSMOS_PULL_END;
    item->pk = aiocosmos_pk1(aiocosmos_s(asker->pulls++ & 1 ? "p" : "q"));
    item->body = aiocosmos_text("{\"id\":\"a\",\"pk\":\"p\"}");
    return AIOCOSMOS_PULL_ITEM;
}

static void on_item(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    (void)client; (void)item_data;
    ((ticket *)user_data)->items++;
    look_at(result);
}

static void on_bulk(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                    void *user_data)
{
    ticket *asker = (ticket *)user_data;
    CHECK_INT(totals->succeeded + totals->failed, (unsigned)asker->items);
    CHECK_INT(asker->items, asker->pulls);
    on_done(client, result, user_data);
}

static void on_batch(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_batch_result *results,
                     size_t count, void *user_data)
{
    size_t i;
    CHECK(count == 0 || count == 2);
    for (i = 0; i < count; i++) touch(results[i].etag);
    on_done(client, result, user_data);
}

static void on_one_of_many(aiocosmos_client *client, size_t index, int status, aiocosmos_json item, void *user_data)
{
    (void)client;
    CHECK(index < KEYS);
    CHECK_INT(++((ticket *)user_data)->seen[index], 1);
    if (status == 0) touch((aiocosmos_str){item.ptr, item.len});
}

static void on_many(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_many_totals *totals,
                    void *user_data)
{
    int i;
    for (i = 0; i < KEYS; i++) CHECK_INT(((ticket *)user_data)->seen[i], 1);
    CHECK_INT(totals->found + totals->missing + totals->failed, KEYS);
    on_done(client, result, user_data);
}

/*--- What is asked ---------------------------------------------------------------------------*/

static void ask_one(aiocosmos_client *client, ticket *asker, unsigned which)
{
    static const aiocosmos_kind kinds[] = {AIOCOSMOS_READ_ITEM, AIOCOSMOS_CREATE_ITEM, AIOCOSMOS_PATCH_ITEM,
                                           AIOCOSMOS_READ_CONTAINER};
    aiocosmos_request request;
    memset(&request, 0, sizeof request);
    request.kind = kinds[which % 4];
    request.container = "c";
    if (which % 4 < 3) request.pk = aiocosmos_pk1(aiocosmos_s("p"));
    if (which % 2 == 0) request.id = "a";
    if (which % 4 == 1) request.body = aiocosmos_text("{\"id\":\"a\",\"pk\":\"p\"}");
    if (which % 4 == 2) request.body = aiocosmos_text("[{\"op\":\"set\",\"path\":\"/a\",\"value\":1}]");
    request.done = on_done;
    request.user_data = asker;
    asker->owed += aiocosmos_submit(client, &request, NULL) == 0;
}

static void ask_query(aiocosmos_client *client, ticket *asker, unsigned which, unsigned knob)
{
    aiocosmos_query_request request;
    memset(&request, 0, sizeof request);
    request.container = "c";
    if (which == 4) request.pk = aiocosmos_pk1(aiocosmos_s("p"));
    else if (which == 8) request.feed = AIOCOSMOS_FEED_RANGES;
    else request.sql = "SELECT * FROM c ORDER BY c.n";
    request.want_metrics = which == 5;
    request.page_items_max = knob & 1 ? 2 : 0;
    request.skip_empty = (knob & 2) != 0;
    request.memory_max = knob & 4 ? 4096 : 0;
    if (aiocosmos_query_open(client, &request, &asker->cursor) == 0) ask_page(client, asker);
}

static void ask_changes(aiocosmos_client *client, ticket *asker)
{
    aiocosmos_changes_request request;
    memset(&request, 0, sizeof request);
    request.container = "c";
    if (aiocosmos_changes_open(client, &request, &asker->cursor) == 0) ask_page(client, asker);
}

static void ask_bulk(aiocosmos_client *client, ticket *asker, bool singly)
{
    aiocosmos_bulk_request request;
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.single_items = singly;
    request.next = on_pull;
    request.item_done = on_item;
    request.done = on_bulk;
    request.user_data = asker;
    asker->owed += aiocosmos_bulk(client, &request, NULL) == 0;
}

static void ask_batch(aiocosmos_client *client, ticket *asker)
{
    aiocosmos_batch_request request;
    aiocosmos_bulk_item items[2];
    memset(&request, 0, sizeof request);
    memset(items, 0, sizeof items);
    items[0].kind = AIOCOSMOS_READ_ITEM;
    items[0].id = "a";
    items[1].kind = AIOCOSMOS_CREATE_ITEM;
    items[1].body = aiocosmos_text("{\"id\":\"b\",\"pk\":\"p\"}");
    request.container = "c";
    request.pk = aiocosmos_pk1(aiocosmos_s("p"));
    request.items = items;
    request.item_count = 2;
    request.done = on_batch;
    request.user_data = asker;
    asker->owed += aiocosmos_batch(client, &request, NULL) == 0;
}

static void ask_many(aiocosmos_client *client, ticket *asker)
{
    aiocosmos_read_many_request request;
    aiocosmos_item_key keys[KEYS];
    int i;
    for (i = 0; i < KEYS; i++) {
        keys[i].id = i & 1 ? "a" : "b";
        keys[i].pk = aiocosmos_pk1(aiocosmos_s(i < 3 ? "p" : "q"));
    }
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.items = keys;
    request.item_count = KEYS;
    request.item = on_one_of_many;
    request.done = on_many;
    request.user_data = asker;
    asker->owed += aiocosmos_read_many(client, &request, NULL) == 0;
}

static void ask(aiocosmos_client *client, ticket *asker, unsigned use, unsigned knob)
{
    memset(asker, 0, sizeof *asker);
    asker->pages = PAGES;
    switch (use) {
    case 0: case 1: case 2: case 3: ask_one(client, asker, use); break;
    case 4: case 5: case 6: case 7: case 8: ask_query(client, asker, use, knob); break;
    case 9: ask_changes(client, asker); break;
    case 10: case 11: ask_bulk(client, asker, use == 11); break;
    case 12: ask_many(client, asker); break;
    case 13: ask_batch(client, asker); break;
    case 14: aiocosmos_warm(client, 2); break;
    default: break;
    }
}

/* Knobs: two uses, the network, its pieces, when memory fails, options; then what the server says, answer by answer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    unsigned use[TICKETS], network, knob, fails, i;
    aiocosmos_options options;
    aiocosmos_client *client;
    aiocosmos_stats stats;
    for (i = 0; i < TICKETS; i++) use[i] = fuzz_knob(&in) % 16;
    network = fuzz_knob(&in);
    knob = fuzz_knob(&in);
    fails = fuzz_knob(&in);
    net_begin(answer_as_said);
    if (network & 1) net.receive_max = 1 + knob % 64;
    if (network & 2) net.send_max = 1 + knob % 32;
    if (network & 4) net.spurious = 3;
    if (network & 8) net_is_slow(20);
    options = usual_options();
    options.response_bytes_max = 1u << 20;
    options.memory_max = 8u << 20;
    options.retries_max = 3;
    options.connections_max = 1 + (knob & 3);
    options.retry_writes = (network & 16) != 0;
    client = open_client(&options);
    script = in;
    if (fails) heap_fail(&heap, fails, 1 + knob / 64);
    for (i = 0; i < TICKETS; i++) ask(client, &tickets[i], use[i], knob);
    for (i = 0; i < 30 && aiocosmos_drain(client, PATIENCE_MS) == AIOCOSMOS_E_TIMEOUT; i++) continue;
    CHECK_INT(aiocosmos_pending(client), 0);
    for (i = 0; i < TICKETS; i++) CHECK_INT(tickets[i].calls, tickets[i].owed);
    aiocosmos_get_stats(client, &stats);
    CHECK(stats.memory_peak <= options.memory_max);
    close_client(client);
    world_begin(&net);
    return 0;
}
