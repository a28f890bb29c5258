/* The client against servers that lie, stall and flood, callers that ask for the absurd, and a system that fails:
 * nothing may crash, hang, leak or grow it past its limits, and every accepted submit leads to one callback.
 *
 * The network is made up: sockets are buffers in this process, the server runs when the client polls, and a wait is
 * over at once, for the clock is made up too. So a test of 30 s of silence takes no time, and every run is the same.
 * Only the last tests use real sockets, and so the poller that the build has. */
#include "hostile.h"

/*--- All that can be asked of a client --------------------------------------------------------*/

static const char one_range[] =
    "{\"PartitionKeyRanges\":[{\"id\":\"0\",\"minInclusive\":\"\",\"maxExclusive\":\"FF\",\"parents\":[]}],"
    "\"_count\":1}";
static const char some_page[] =
    "{\"Documents\":[{\"id\":\"a\"}],\"DocumentCollections\":[{\"id\":\"c\"}],\"Databases\":[{\"id\":\"db\"}],"
    "\"_count\":1}";

/* A success for each operation. */
static const char *batch_results(const peer *link)
{
    static char text[4096];
    const char *at = link->out;
    size_t len = 0;
    while ((at = strstr(at, "\"operationType\"")) != NULL && len + 64 < sizeof text) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s{\"statusCode\":200,\"requestCharge\":1}",
                                len ? "," : "[");
        at++;
    }
    snprintf(text + len, sizeof text - len, "]");
    return text;
}

#define OFFER "{\"id\":\"x1Yz\",\"_rid\":\"x1Yz\",\"content\":{\"offerThroughput\":400}}"

static const char *fitting_body(const peer *link)
{
    if (heard(link, "x-ms-cosmos-is-batch-request: True")) return batch_results(link);
    if (heard(link, "/pkranges ")) return one_range;
    if (heard(link, "GET /dbs/db/colls/c HTTP")) return definition;
    if (heard(link, "POST /offers HTTP")) return "{\"Offers\":[" OFFER "],\"_count\":1}";
    if (heard(link, " /offers/")) return OFFER;
    if (heard(link, "x-ms-max-item-count")) return some_page;
    return "{\"id\":\"a\",\"pk\":\"p\"}";
}

static void answer_well(peer *link)
{
    if (heard(link, "HEAD /")) say_text(link, "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n");
    else reply(link, 200, "", fitting_body(link));
}

/* All ways to use the client: the kinds of requests, then these; and what not every server can do. */
enum { USE_QUERY = AIOCOSMOS_RAW + 1, USE_QUERY_OF_KEY, USE_CONTAINERS, USE_DATABASES, USE_BULK, USE_BULK_SINGLY, USES,
       USE_QUERY_OF_KEYS };

typedef struct answer {
    int calls;                               /* of the last callback that is owed: one, when all is well */
    int status, http_status, sub_status, fate;
    uint32_t attempts;
    double charge_ru;
    size_t body_len, items;
    uint64_t at_us;
    char message[1200], activity_id[40];
    int pulls, item_calls;                   /* of a bulk */
    bool more;
    aiocosmos_cursor query;
} answer;

/* What is handed to callbacks has to be sound, whatever the server said, and stay as it is, whatever they call;
 * messages are for one line of a log. */
static void keep(aiocosmos_client *client, answer *kept, const aiocosmos_result *result)
{
    static const char refused[] = "op: no such bulk";
    const aiocosmos_op none = {0};
    char line[4096];
    size_t i;
    CHECK_INT(aiocosmos_bulk_resume(client, none), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), refused);
    CHECK(result->message.len == 0 || strncmp(result->message.ptr, refused, sizeof refused - 1) != 0);
    kept->status = result->status;
    kept->http_status = result->http_status;
    kept->sub_status = result->sub_status;
    kept->fate = result->fate;
    kept->attempts = result->attempts;
    kept->charge_ru = result->charge_ru;
    kept->body_len = result->body.len;
    kept->at_us = net.now_us;
    CHECK(result->activity_id.len < sizeof kept->activity_id);
    sprintf(kept->activity_id, "%.*s", (int)result->activity_id.len, result->activity_id.ptr);
    CHECK(result->message.len < sizeof kept->message);
    if (result->message.len) memcpy(kept->message, result->message.ptr, result->message.len);
    kept->message[result->message.len] = 0;
    CHECK(result->status == 0 || result->message.len > 0);
    for (i = 0; i < result->message.len; i++) CHECK((unsigned char)result->message.ptr[i] >= ' ');
    CHECK(aiocosmos_result_describe(result, line, sizeof line) < sizeof line);
    aiocosmos_result_json(result);
    aiocosmos_result_header(result, "x-ms-request-charge");
}

static void on_done(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    answer *kept = user_data;
    kept->calls++;
    keep(client, kept, result);
}

static void on_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    answer *kept = user_data;
    kept->calls++;
    keep(client, kept, page->result);
    kept->items = page->item_count;
    kept->more = page->more;
    CHECK(page->result->status == 0 || !page->more);
    if (page->status) CHECK_INT(page->items.type, AIOCOSMOS_JSON_NONE);
    if (page->status) CHECK_INT(page->item_count, 0);
    aiocosmos_cursor_close(client, kept->query);
}

#define BULK_ITEMS 3

static aiocosmos_pull on_pull(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    answer *kept = user_data;
    (void)client;
    if (kept->pulls++ == BULK_ITEMS) return AIOCOSMOS_PULL_END;
    item->pk = aiocosmos_pk1(aiocosmos_s("p"));
    item->body.ptr = "{\"id\":\"a\",\"pk\":\"p\"}";
    item->body.len = strlen(item->body.ptr);
    item->item_data = kept;
    return AIOCOSMOS_PULL_ITEM;
}

static void on_item(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    answer *kept = user_data;
    CHECK(item_data == user_data);
    kept->item_calls++;
    keep(client, kept, result);
}

/* The status of the last item stays, for a bulk itself does not fail. */
static void on_bulk(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                    void *user_data)
{
    answer *kept = user_data;
    (void)client; (void)result;
    kept->calls++;
    CHECK_INT(totals->succeeded + totals->failed, (unsigned)kept->item_calls);
}

static aiocosmos_request of_kind(int kind)
{
    aiocosmos_request request;
    memset(&request, 0, sizeof request);
    request.kind = (aiocosmos_kind)kind;
    if (kind <= AIOCOSMOS_DELETE_CONTAINER) request.container = "c";
    if (kind <= AIOCOSMOS_DELETE_ITEM) request.pk = aiocosmos_pk1(aiocosmos_s("p"));
    if (kind <= AIOCOSMOS_DELETE_ITEM && kind != AIOCOSMOS_CREATE_ITEM &&
        kind != AIOCOSMOS_UPSERT_ITEM) request.id = "a";
    switch (kind) {
    case AIOCOSMOS_CREATE_ITEM: case AIOCOSMOS_UPSERT_ITEM: case AIOCOSMOS_REPLACE_ITEM:
        request.body.ptr = "{\"id\":\"a\",\"pk\":\"p\"}";
        break;
    case AIOCOSMOS_PATCH_ITEM: request.body.ptr = "[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}]"; break;
    case AIOCOSMOS_CREATE_CONTAINER: request.partition_key_paths[0] = "/pk"; break;
    case AIOCOSMOS_REPLACE_CONTAINER: request.body.ptr = definition; break;
    case AIOCOSMOS_EXECUTE_PROCEDURE:
        request.id = "s";
        request.body.ptr = "[1]";
        /* fall through */
    case AIOCOSMOS_DELETE_PARTITION:
        request.container = "c";
        request.pk = aiocosmos_pk1(aiocosmos_s("p"));
        break;
    case AIOCOSMOS_REPLACE_THROUGHPUT:
        request.throughput_ru = 400;
        /* fall through */
    case AIOCOSMOS_READ_THROUGHPUT: request.container = "c"; break;
    case AIOCOSMOS_CREATE_RESOURCE: case AIOCOSMOS_REPLACE_RESOURCE:
        request.script = "function () {}";
        /* fall through */
    case AIOCOSMOS_READ_RESOURCE: case AIOCOSMOS_DELETE_RESOURCE:
        request.feed = AIOCOSMOS_FEED_PROCEDURES;
        request.container = "c";
        request.id = "s";
        break;
    case AIOCOSMOS_RAW:
        request.raw_verb = "POST";
        request.raw_link = "dbs/db/colls/c/sprocs/s";
        request.body.ptr = "[1]";
        request.pk = aiocosmos_pk1(aiocosmos_s("p"));
        break;
    default: break;
    }
    if (request.body.ptr) request.body.len = strlen(request.body.ptr);
    return request;
}

/* Asks for one thing. Returns what submit did; the answer comes later. */
static int begin(aiocosmos_client *client, int use, answer *later)
{
    aiocosmos_query_request query;
    aiocosmos_bulk_request bulk;
    aiocosmos_pk keys[2];
    int status;
    memset(later, 0, sizeof *later);
    if (use < USE_QUERY) {
        aiocosmos_request request = of_kind(use);
        request.done = on_done;
        request.user_data = later;
        return aiocosmos_submit(client, &request, NULL);
    }
    if (use == USE_BULK || use == USE_BULK_SINGLY) {
        memset(&bulk, 0, sizeof bulk);
        bulk.container = "c";
        bulk.next = on_pull;
        bulk.item_done = on_item;
        bulk.done = on_bulk;
        bulk.user_data = later;
        bulk.single_items = use == USE_BULK_SINGLY;
        return aiocosmos_bulk(client, &bulk, NULL);
    }
    memset(&query, 0, sizeof query);
    if (use != USE_CONTAINERS && use != USE_DATABASES) query.container = "c";
    if (use == USE_QUERY_OF_KEYS) {
        keys[0] = aiocosmos_pk_s("p");
        keys[1] = aiocosmos_pk_s("q");
        query.pks = keys;
        query.pk_count = 2;
    }
    if (use == USE_QUERY) query.sql = "SELECT * FROM c WHERE c.x = 1";
    if (use == USE_QUERY_OF_KEY) query.pk = aiocosmos_pk1(aiocosmos_s("p"));
    if (use == USE_CONTAINERS) query.feed = AIOCOSMOS_FEED_CONTAINERS;
    if (use == USE_DATABASES) query.feed = AIOCOSMOS_FEED_DATABASES;
    status = aiocosmos_query_open(client, &query, &later->query);
    if (status) return status;
    status = aiocosmos_cursor_next(client, later->query, on_page, later);
    if (status) aiocosmos_cursor_close(client, later->query);
    return status;
}

/* Asks, and waits for the one callback. Returns its status. */
static int ask(aiocosmos_client *client, int use, answer *got)
{
    int status = begin(client, use, got);
    if (status != 0) CHECK_STR(aiocosmos_last_error(client), "accepted");
    drain(client);
    CHECK_INT(got->calls, 1);
    if (use == USE_BULK || use == USE_BULK_SINGLY) CHECK_INT(got->item_calls, BULK_ITEMS);
    return got->status;
}

/* The limits that hold whatever came. */
static void limits_held(aiocosmos_client *client, const aiocosmos_options *options)
{
    aiocosmos_stats stats;
    size_t max = options->memory_max ? options->memory_max : AIOCOSMOS_DEFAULT_MEMORY;
    uint32_t open_max = options->connections_max ? options->connections_max : AIOCOSMOS_DEFAULT_CONNECTIONS;
    aiocosmos_get_stats(client, &stats);
    CHECK(stats.memory_peak <= max);
    CHECK(stats.connections_open <= open_max);
}

/*--- What every request carries ------------------------------------------------------------*/

/* How often a header line stands in the head of a request, its name in any case; *found: the last. */
static int lines_found(const peer *link, const char *start, const char **found)
{
    const char *line = link->out;
    int count = 0;
    while ((line = strstr(line, "\r\n")) != NULL && strncmp(line += 2, "\r\n", 2) != 0) {
        if (strncasecmp(line, start, strlen(start)) != 0) continue;
        *found = line;
        count++;
    }
    return count;
}

static int lines_heard(const peer *link, const char *start)
{
    const char *found;
    return lines_found(link, start, &found);
}

static void answer_the_capable(peer *link)
{
    bool capable = lines_heard(link, "x-ms-cosmos-sdk-supportedcapabilities: 3\r\n") == 1 &&
                   lines_heard(link, "x-ms-noretry-449: true\r\n") == 1;
    if (capable) answer_well(link);
    else reply(link, 400, "x-ms-substatus: 0\r\n", "{\"message\":\"does not support partition merge\"}");
}

/* An account with partition merge refuses whoever does not say that it can live with that. */
TEST(every_request_says_what_the_client_can_do)
{
    aiocosmos_client *client;
    answer got;
    int use;
    net_begin(answer_the_capable);
    client = open_usual();
    for (use = 1; use < USES; use++) CHECK_INT(ask(client, use, &got), 0);
    CHECK(remote.requests >= USES);             /* those for definitions and ranges among them */
    close_client(client);
}

static char activities[4096][40];            /* of the requests heard */
static int activity_count, activity_answer;

/* 0: nothing is said. 200, or 429: that, without an id. 201: with one of the server's. */
static void answer_noting_activities(peer *link)
{
    const char *id = "";
    CHECK_INT(lines_found(link, "x-ms-activity-id:", &id), 1);
    CHECK(activity_count < 4096);
    CHECK_INT(sscanf(id, "%*[^:]: %39[^\r ]", activities[activity_count++]), 1);
    if (activity_answer == 201) reply(link, 200, "x-ms-activity-id: theirs\r\n", fitting_body(link));
    else if (activity_answer == 429) reply(link, 429, "x-ms-request-charge: 1\r\n", "{}");
    else if (activity_answer) answer_well(link);
}

/* RFC 9562, 5.4 */
static bool is_uuid_of_version_4(const char *text)
{
    size_t i;
    for (i = 0; i < 36; i++) {
        const char *allowed = i == 8 || i == 13 || i == 18 || i == 23 ? "-" : i == 14 ? "4" : i == 19 ? "89ab"
                                                                                     : "0123456789abcdef";
        if (!text[i] || !strchr(allowed, text[i])) return false;
    }
    return text[36] == 0;
}

static void activities_are_uuids_that_differ(void)
{
    int i, k;
    for (i = 0; i < activity_count; i++) {
        if (!is_uuid_of_version_4(activities[i])) CHECK_STR(activities[i], "a UUID of version 4");
        for (k = 0; k < i; k++) CHECK(strcmp(activities[i], activities[k]) != 0);
    }
}

TEST(each_attempt_has_an_activity_id_that_the_result_tells_even_without_an_answer)
{
    aiocosmos_client *client;
    answer got;
    int use;
    net_begin(answer_noting_activities);
    activity_count = 0;
    activity_answer = 200;
    client = open_usual();
    for (use = 1; use < USES; use++) {
        CHECK_INT(ask(client, use, &got), 0);
        if (use < USE_BULK) CHECK_STR(got.activity_id, activities[activity_count - 1]);
    }
    activity_answer = 429;
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 429);
    CHECK(got.attempts > 2);
    CHECK_STR(got.activity_id, activities[activity_count - 1]);
    activity_answer = 201;
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    CHECK_STR(got.activity_id, "theirs");
    activity_answer = 0;
    CHECK_INT(ask(client, AIOCOSMOS_CREATE_ITEM, &got), AIOCOSMOS_E_CONNECT);
    CHECK_STR(got.activity_id, activities[activity_count - 1]);
    CHECK(activity_count > USES);
    activities_are_uuids_that_differ();
    close_client(client);
}

TEST(an_activity_id_that_the_caller_gives_is_the_one_that_is_sent)
{
    static const char *const mine[] = { "X-a: b", "X-MS-Activity-Id:  mine ", NULL };
    aiocosmos_client *client;
    aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
    answer got;
    memset(&got, 0, sizeof got);
    net_begin(answer_noting_activities);
    activity_count = activity_answer = 0;
    client = open_usual();
    request.headers = mine;
    request.done = on_done;
    request.user_data = &got;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    drain(client);
    CHECK_INT(got.status, AIOCOSMOS_E_TIMEOUT);
    CHECK_STR(got.activity_id, "mine");
    CHECK_STR(activities[0], "mine");
    close_client(client);
}

/* Without entropy there is no TLS, and all else goes on; ids still differ, from client to client too. */
TEST(without_entropy_clients_work_but_over_tls)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    answer got;
    int i;
    net_begin(answer_noting_activities);
    shaky_fail(CALL_ENTROPY, 1, true, AIOCOSMOS_IO_AGAIN);
    activity_count = 0;
    activity_answer = 200;
    for (i = 0; i < 100; i++) {
        client = open_usual();
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
        close_client(client);
    }
    activities_are_uuids_that_differ();
    options.endpoint = "https://127.0.0.1:8081/";
    options.insecure = true;
    options.logger.level_max = 1;
    client = open_client(&options);
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), AIOCOSMOS_E_TLS);
    CHECK(strstr(got.message, "no randomness") != NULL);
    shaky.fail_to[CALL_ENTROPY] = 0;           /* there is some by now: the handshake begins, which nobody answers */
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), AIOCOSMOS_E_CONNECT);
    close_client(client);
}

/*--- All that HTTP allows -------------------------------------------------------------------*/

static int manner;                           /* how answer_in_a_manner() answers */
enum { MANNERS = 14 };

static void answer_in_a_manner(peer *link)
{
    const char *body = fitting_body(link);
    size_t len = strlen(body), i;
    switch (manner) {
    case 0: answer_well(link); break;
    case 1:                                  /* chunks with extensions, then trailers */
        say(link, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx;a=b;c=\"d;e\"\r\n%.*s\r\n", len / 2,
            (int)(len / 2), body);
        say(link, "%08zX \t\r\n%s\r\n0;last\r\nX-Trailer: yes\r\nEtag: \"late\"\r\n\r\n", len - len / 2,
            body + len / 2);
        break;
    case 2:                                  /* one byte a chunk */
        say(link, "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n");
        for (i = 0; i < len; i++) say(link, "1\r\n%c\r\n", body[i]);
        say(link, "0\r\n\r\n");
        break;
    case 3:
        reply(link, 200, "Connection: close\r\n", body);
        link->closed = true;
        break;
    case 4:                                  /* it says so, and does not do it */
        reply(link, 200, "Connection: foo, CLOSE\r\n", body);
        break;
    case 5:
        say(link, "HTTP/1.0 200 OK\r\n\r\n%s", body);
        link->closed = true;
        break;
    case 6:
        say(link, "HTTP/1.1 200 OK\r\nX: y\r\n\r\n%s", body);
        link->closed = true;
        break;
    case 7:
        say(link, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        answer_well(link);
        break;
    case 8:                                  /* odd case, odd spacing, bare LF, no reason */
        say(link, "HTTP/1.1 200\ncOnTeNt-LeNgTh:\t %zu \t \nX-MS-REQUEST-CHARGE:1.5\neTaG:   \"a\"\nEmpty:\n\n%s",
            len, body);
        break;
    case 9:
        say(link, "HTTP/1.1 200 OK\r\n");
        for (i = 0; i < 40; i++) say(link, "X-Header-%zu: some value %zu\r\n", i, i * i);
        say(link, "Content-Length: %zu\r\n\r\n%s", len, body);
        break;
    case 10:
        reply(link, 201, "", body);
        break;
    case 11:
        say(link, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: %zu\r\n\r\n%s", len, body);
        break;
    case 12:                                  /* the same length, three times */
        say(link, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\ncontent-length: %zu, %zu\r\n\r\n%s", len, len, len, body);
        break;
    default:                                  /* closed without a word about it */
        answer_well(link);
        link->closed = true;
    }
}

static void every_use_works(void)
{
    aiocosmos_client *client = open_usual();
    int use, round;
    answer got;
    for (round = 0; round < 2; round++)
        for (use = 1; use < USES; use++)
            if (ask(client, use, &got) != 0) CHECK_STR(got.message, "success");
    close_client(client);
}

TEST(every_manner_of_http_serves_every_operation)
{
    for (manner = 0; manner < MANNERS; manner++) {
        net_begin(answer_in_a_manner);
        every_use_works();
    }
}

TEST(every_manner_of_http_serves_every_operation_one_byte_at_a_time)
{
    for (manner = 0; manner < MANNERS; manner++) {
        net_begin(answer_in_a_manner);
        net.receive_max = 1;
        every_use_works();
        net_begin(answer_in_a_manner);
        net.send_max = 1;
        net.spurious = 3;
        net_is_slow(20);
        every_use_works();
    }
}

/*--- Answers that are none -----------------------------------------------------------------*/

typedef struct falsehood {
    int status;                              /* what becomes of a read */
    bool closes;
    char endless;                            /* not 0: goes on and on with this byte */
    const char *text;
} falsehood;

static const falsehood *lie;

static void answer_with_a_lie(peer *link)
{
    say_text(link, lie->text);
    link->closed = lie->closes;
    if (!lie->endless) return;
    link->endless = UINT64_C(10) << 30;
    link->endless_byte = lie->endless;
}

#define HEAD "HTTP/1.1 200 OK\r\n"
#define CHUNKED HEAD "Transfer-Encoding: chunked\r\n\r\n"

static const falsehood lies[] = {
    { AIOCOSMOS_E_CONNECT, true, 0, "" },
    { AIOCOSMOS_E_CONNECT, true, 0, "HTTP/1.1 20" },
    { AIOCOSMOS_E_CONNECT, true, 0, HEAD "Content-Length: 5\r\n" },
    { AIOCOSMOS_E_CONNECT, true, 0, HEAD "Content-Length: 100\r\n\r\n{\"id\":" },
    { AIOCOSMOS_E_CONNECT, true, 0, CHUNKED "5\r\n{\"id\"" },
    { AIOCOSMOS_E_CONNECT, true, 0, CHUNKED "2\r\n{}\r\n0\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "Content-Length: abc\r\n\r\n{}" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "Content-Length: -1\r\n\r\n{}" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "Content-Length: +2\r\n\r\n{}" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "Content-Length: 0x2\r\n\r\n{}" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "Content-Length:\r\n\r\n{}" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "Content-Length: 2, 3\r\n\r\n{}" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "Content-Length: 18446744073709551618\r\n\r\n{}" },
    { AIOCOSMOS_E_TOO_LARGE, false, 'x', HEAD "Content-Length: 18446744073709551615\r\n\r\n" },
    { AIOCOSMOS_E_TOO_LARGE, false, 'x', HEAD "Content-Length: 10737418240\r\n\r\n" },
    { AIOCOSMOS_E_TOO_LARGE, false, 'x', HEAD "\r\n" },
    { AIOCOSMOS_E_TOO_LARGE, false, 'x', "HTTP/1.0 200 OK\r\n\r\n" },
    { AIOCOSMOS_E_TOO_LARGE, false, 'x', CHUNKED "280000000\r\n" },
    { AIOCOSMOS_E_TOO_LARGE, false, 'x', CHUNKED "FFFFFFFFFFFFFFFF\r\n" },
    { AIOCOSMOS_E_TOO_LARGE, false, 'x', CHUNKED "2;a=" },
    { AIOCOSMOS_E_TOO_LARGE, false, 'x', CHUNKED "2\r\n{}\r\n0\r\nx" },
    { AIOCOSMOS_E_TOO_LARGE, false, 'x', CHUNKED "2\r\n{}\r\n0\r\nx: " },
    { AIOCOSMOS_E_PROTOCOL, false, '0', CHUNKED },
    { AIOCOSMOS_E_PROTOCOL, false, 0, CHUNKED "-1\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, CHUNKED "2\r\n{}xx" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, CHUNKED "\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0,
        HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "X: a\r\n folded\r\nContent-Length: 2\r\n\r\n{}" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "Content-Length : 2\r\n\r\n{}" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "no colon at all\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD ": no name\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "etag: \"\001\033[31m\"\r\nContent-Length: 2\r\n\r\n{}" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, HEAD "etag: \"a\rSet-Cookie: b\"\r\nContent-Length: 2\r\n\r\n{}" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, "HTTP/1.1 99 Low\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, "HTTP/1.1 099 Low\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, "HTTP/1.1 1000 High\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, "HTTP/1.1 2x0 OK\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, "HTTP/1.1  200 OK\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, "HTTP/1.x 200 OK\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, "HTTP/2 200\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, "\r\nHTTP/1.1 200 OK\r\n\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, "SSH-2.0-OpenSSH_9.2\r\n" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, "<html><title>Hello</title></html>" },
    { AIOCOSMOS_E_PROTOCOL, false, 0, "\025\003\003\002\002\050" },                /* a TLS alert */
    { AIOCOSMOS_E_PROTOCOL, false, 0, "\026\003\001" },
    { AIOCOSMOS_E_PROTOCOL, false, 'H', "" },
    { AIOCOSMOS_E_PROTOCOL, false, '\377', "" },
    { AIOCOSMOS_E_TOO_LARGE, false, '\n', HEAD "A: b" },
    { AIOCOSMOS_E_TOO_LARGE, false, 'x', HEAD },
    { AIOCOSMOS_E_TOO_LARGE, false, 'x', HEAD "A: " },
    { AIOCOSMOS_E_TOO_LARGE, false, 'x', "HTTP/1.1 200 " },
    { AIOCOSMOS_E_PROTOCOL, true, 0, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\nContent-Length: 1\r\n\r\n<>" }
};

static const int few_uses[] = { AIOCOSMOS_READ_ITEM, AIOCOSMOS_CREATE_ITEM, AIOCOSMOS_READ_ACCOUNT, USE_QUERY,
    USE_BULK };
enum { FEW_USES = sizeof few_uses / sizeof *few_uses };

/* The same for each use: one callback with that status, in bounded time and memory; and then the client is as good as
 * ever. A create is not tried again, for it may have been applied. */
static void is_refused(int status, uint64_t bytes_max)
{
    void (*answer_badly)(peer *link) = remote.answer;
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    uint64_t from_us;
    size_t i;
    answer got;
    options.response_bytes_max = 1u << 20;
    client = open_client(&options);
    for (i = 0; i < FEW_USES; i++) {
        int use = few_uses[i];
        from_us = net.now_us;
        net.received = 0;
        remote.answer = answer_badly;
        CHECK_INT(ask(client, use, &got), status);
        CHECK(got.at_us - from_us <= 31000000);
        if (use == USE_QUERY) got.attempts += 4;         /* for the ranges, which it has to know first */
        CHECK(net.received <= bytes_max * got.attempts * (use >= USE_BULK ? BULK_ITEMS : 1));
        if (use == AIOCOSMOS_CREATE_ITEM) CHECK_INT(got.attempts, 1);
        if (use == AIOCOSMOS_CREATE_ITEM) CHECK_INT(got.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
        remote.answer = answer_well;
        CHECK_INT(ask(client, use, &got), 0);
    }
    limits_held(client, &options);
    close_client(client);
}

TEST(answers_that_are_no_http_are_refused)
{
    size_t i;
    for (i = 0; i < sizeof lies / sizeof *lies; i++) {
        lie = &lies[i];
        net_begin(answer_with_a_lie);
        is_refused(lie->status, (1u << 20) + (1u << 18) + 65536);
        net_begin(answer_with_a_lie);
        net.receive_max = lie->endless ? 1000 : 1;
        is_refused(lie->status, (1u << 20) + (1u << 18) + 65536);
    }
}

static void announce_for_ever(peer *link)
{
    int i;
    for (i = 0; i < 10000; i++) say(link, "HTTP/1.1 102 Processing\r\n\r\n");
}

static void send_headers_for_ever(peer *link)
{
    int i;
    say_text(link, HEAD);
    for (i = 0; i < 300; i++) say(link, "x-%d: y\r\n", i);
    say_text(link, "Content-Length: 0\r\n\r\n");
}

TEST(announcements_and_headers_have_to_end)
{
    net_begin(announce_for_ever);
    is_refused(AIOCOSMOS_E_PROTOCOL, 300000);
    net_begin(send_headers_for_ever);
    is_refused(AIOCOSMOS_E_TOO_LARGE, 300000);
}

/*--- Answers that are HTTP, and still no answers -----------------------------------------------*/

static int said_status;
static const char *said_lines = "", *said_body = "";

static void answer_as_said(peer *link) { reply(link, said_status, said_lines, said_body); }

static const char portal[] =
    "\r\n <!DOCTYPE html><html><head><title>Log in\x1b[2J\r\nto Wi-Fi</title></head><body>...</body></html>";

TEST(html_of_a_proxy_is_never_taken_for_an_answer)
{
    static const int statuses[] = { 200, 201, 204, 403, 407, 502, 511 };
    aiocosmos_client *client;
    size_t i, k;
    answer got;
    for (i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        net_begin(answer_as_said);
        said_status = statuses[i];
        said_lines = "Content-Type: text/html\r\n";
        said_body = portal;
        client = open_usual();
        for (k = 0; k < FEW_USES; k++) {
            int status = ask(client, few_uses[k], &got);
            if (said_status == 204) continue;          /* has no body, whatever stands behind it */
            CHECK_INT(status, said_status < 300 ? AIOCOSMOS_E_PROTOCOL : said_status);
            CHECK_INT(got.http_status, said_status);
            CHECK(strstr(got.message, "Log in") != NULL);
            if (said_status < 300 && few_uses[k] == AIOCOSMOS_CREATE_ITEM)
                CHECK_INT(got.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
        }
        close_client(client);
    }
    said_lines = said_body = "";
}

TEST(every_status_ends_every_operation)
{
    aiocosmos_client *client;
    size_t k;
    answer got;
    net_begin(answer_as_said);
    said_lines = "x-ms-activity-id: a\r\n";
    client = open_usual();
    for (said_status = 100; said_status < 1000; said_status++) {
        for (k = 0; k < FEW_USES; k++) {
            uint64_t from_us = net.now_us;
            int status = ask(client, few_uses[k], &got);
            CHECK(got.at_us - from_us < 31000000);
            if (said_status < 200) CHECK(status < 0);
            else if (said_status == 304) CHECK_INT(status, AIOCOSMOS_E_PROTOCOL);      /* to no condition */
            else if (said_status == 410 && few_uses[k] == USE_BULK)                    /* and so are the ranges */
                CHECK(status == 410 || status == AIOCOSMOS_E_TIMEOUT);
            else if (said_status >= 300) CHECK_INT(status, said_status);
            else if (few_uses[k] != USE_QUERY) CHECK_INT(status, 0);
            else CHECK_INT(status, AIOCOSMOS_E_PROTOCOL);
        }
    }
    close_client(client);
    said_lines = "";
}

/*--- Answers of somebody else than the service ---------------------------------------------------*/

/* A machine that is not this one. */
static aiocosmos_client *open_remote(void)
{
    aiocosmos_options options = usual_options();
    options.endpoint = "http://192.0.2.1:8081/";
    options.allow_http = true;
    return open_client(&options);
}

static void answer_with_a_nul(peer *link)
{
    say_text(link, "HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\n");
    say_bytes(link, "\0{}\n", 4);
}

TEST(a_body_that_begins_with_a_nul_is_no_json)
{
    aiocosmos_client *client;
    answer got;
    net_begin(answer_with_a_nul);
    client = open_remote();
    CHECK_INT(ask(client, AIOCOSMOS_CREATE_ITEM, &got), AIOCOSMOS_E_PROTOCOL);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    close_client(client);
}

/* Whatever a proxy says, and in whatever form: nothing that it says is missing, there already or unchanged, no write
 * that may have got through is sent again, and none is said not to have been applied. */
TEST(what_a_proxy_says_is_not_taken_for_the_services_word)
{
    static const int statuses[] = { 200, 201, 204, 301, 304, 400, 401, 403, 404, 407, 408, 409, 410, 412, 413, 429, 449,
        500, 502, 503, 504, 511 };
    static const char *const lines[] = { "", "Content-Type: application/json\r\n", "Content-Type: text/plain\r\n" };
    static const char *const bodies[] = { "", "{\"error\":\"no\"}", "upstream connect error", portal };
    static const int uses[] = { AIOCOSMOS_READ_ITEM, AIOCOSMOS_CREATE_ITEM, AIOCOSMOS_DELETE_ITEM,
        AIOCOSMOS_CREATE_DATABASE };
    aiocosmos_client *client;
    size_t i, k, l, u;
    answer got;
    for (i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        int kind = statuses[i];
        bool success = kind < 300;
        for (k = 0; k < 12; k++) {
            said_status = kind;
            said_lines = lines[k % 3];
            said_body = kind == 204 || kind == 304 ? "" : bodies[k / 3];
            net_begin(answer_as_said);
            client = open_remote();
            for (u = 0; u < sizeof uses / sizeof *uses; u++) {
                bool json = *said_body == '{' || (*said_body && *said_body != '\r' && k % 3 == 1);
                bool silent = kind == 304 || kind == 404 || kind == 409 || kind == 412;
                int status = ask(client, uses[u], &got);
                CHECK_INT(got.http_status, kind);
                CHECK_INT(status, success && json ? 0 : success || silent ? AIOCOSMOS_E_PROTOCOL : kind);
                if (status == 0) continue;
                if (uses[u] != AIOCOSMOS_READ_ITEM) CHECK_INT(got.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
                if (uses[u] != AIOCOSMOS_READ_ITEM) CHECK_INT(got.attempts, 1);
                if (success || silent) CHECK(strstr(got.message, "proxies") || strstr(got.message, "proxy"));
                if (uses[u] == AIOCOSMOS_READ_ITEM && (silent || kind == 503)) CHECK_INT(got.attempts, 4);
            }
            close_client(client);
        }
    }
    /* One header of the service's is enough; and on this machine, where no proxy is, JSON. */
    for (l = 0; l < 4; l++) {
        static const char *const proofs[] = { "x-ms-activity-id: a\r\n", "x-ms-request-charge: 1\r\n",
            "x-ms-substatus: 0\r\n", "" };
        for (k = 0; k < 3; k++) {
            said_status = k == 0 ? 404 : k == 1 ? 409 : 412;
            said_lines = proofs[l];
            said_body = l < 3 ? "" : "{\"code\":\"NotFound\"}";
            net_begin(answer_as_said);
            client = l < 3 ? open_remote() : open_usual();
            CHECK_INT(ask(client, AIOCOSMOS_DELETE_ITEM, &got), said_status);
            CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
            CHECK_INT(got.attempts, 1);
            close_client(client);
        }
    }
    said_lines = said_body = "";
}

/* An account that fails over: connections opened before the name has moved lead to the region that was, which takes
 * nothing any more. */
static int old_links;
static uint64_t moved_at_us;
static const char *moved_lines;

static void answer_as_two_regions(peer *link)
{
    if (net.now_us < moved_at_us || link->number < old_links) reply(link, 403, moved_lines, "{}");
    else reply(link, 201, "x-ms-request-charge: 1\r\n", "{}");
}

static void begin_failover(uint64_t wait_us, int old, const char *lines)
{
    net_begin(answer_as_two_regions);
    moved_at_us = net.now_us + wait_us;
    old_links = old;
    moved_lines = lines;
}

TEST(after_a_failover_the_next_try_goes_over_a_fresh_connection)
{
    static const char *const lines[] = { "x-ms-substatus: 3\r\n", "x-ms-substatus: 1008\r\n" };
    aiocosmos_client *client;
    answer got;
    int i;
    for (i = 0; i < 4; i++) {
        int use = i < 2 ? AIOCOSMOS_CREATE_ITEM : AIOCOSMOS_READ_ITEM, k;
        begin_failover(0, 1, lines[i % 2]);
        client = open_usual();
        for (k = 0; k < 3; k++) {
            uint64_t from_us = net.now_us;
            CHECK_INT(ask(client, use, &got), 0);
            CHECK_INT(got.attempts, k == 0 ? 2 : 1);
            CHECK(got.at_us - from_us < 100000);
        }
        CHECK_INT(net.count, 2);
        close_client(client);
    }
}

/* Many that are under way when it happens are one incident: each connection is left once, and nobody waits for it. */
TEST(a_failover_leaves_each_connection_once)
{
    enum { WRITES = 40 };
    aiocosmos_client *client;
    answer got[WRITES];
    aiocosmos_request request;
    uint64_t from_us;
    int i;
    begin_failover(0, WRITES, "x-ms-substatus: 3\r\n");
    client = open_usual();
    from_us = net.now_us;
    for (i = 0; i < WRITES; i++) {
        memset(&got[i], 0, sizeof got[i]);
        request = of_kind(AIOCOSMOS_CREATE_ITEM);
        request.done = on_done;
        request.user_data = &got[i];
        CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    }
    drain(client);
    for (i = 0; i < WRITES; i++) {
        CHECK_INT(got[i].status, 0);
        CHECK_INT(got[i].attempts, 2);
    }
    CHECK(net.now_us - from_us < 200000);
    CHECK_INT(net.count, 2 * WRITES);
    close_client(client);
}

/* Until the name has moved, too, an operation is patient up to its deadline, and the name is asked once a second. */
TEST(a_failover_is_waited_for)
{
    aiocosmos_client *client;
    aiocosmos_options options = usual_options();
    uint64_t from_us;
    answer got;
    begin_failover(20000000, 0, "x-ms-substatus: 3\r\n");
    client = open_client(&options);
    from_us = net.now_us;
    CHECK_INT(ask(client, AIOCOSMOS_CREATE_ITEM, &got), 0);
    CHECK(got.attempts > 15 && got.attempts < 45);
    CHECK(got.at_us - from_us < 21100000);
    CHECK(net.count > 10 && net.count < 25);
    close_client(client);
    begin_failover(20000000, 0, "x-ms-substatus: 3\r\n");
    options.request_timeout_ms = 5000;
    client = open_client(&options);
    from_us = net.now_us;
    CHECK_INT(ask(client, AIOCOSMOS_CREATE_ITEM, &got), 403);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
    CHECK(got.at_us - from_us > 3000000 && got.at_us - from_us < 5000000);
    close_client(client);
}

/* The head of an answer that breaks off, or has too large a body, has told what became of the write. */
static const char *broken_head;
static bool broken_by_size;

static void answer_with_a_head(peer *link)
{
    say(link, "HTTP/1.1 %s\r\nx-ms-request-charge: 7\r\nContent-Length: %d\r\n\r\n{\"id\":", broken_head,
        broken_by_size ? 2000000 : 100);
    link->closed = !broken_by_size;
}

TEST(the_head_of_an_answer_that_breaks_off_counts)
{
    static const char *const heads[] = { "201 Created", "409 Conflict", "412 Precondition Failed", "413 Too Large" };
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    answer got;
    int i;
    options.response_bytes_max = 1000000;
    options.retry_writes = true;
    for (i = 0; i < 8; i++) {
        net_begin(answer_with_a_head);
        broken_head = heads[i / 2];
        broken_by_size = i % 2;
        client = open_client(&options);
        CHECK_INT(ask(client, AIOCOSMOS_CREATE_ITEM, &got), i >= 2 ? atoi(broken_head)
                  : broken_by_size ? AIOCOSMOS_E_TOO_LARGE : AIOCOSMOS_E_CONNECT);
        CHECK_INT(got.http_status, atoi(broken_head));
        CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
        CHECK_INT(got.attempts, 1);
        if (i < 2) CHECK(strstr(got.message, "the write has been applied"));
        remote.answer = answer_well;
        CHECK_INT(ask(client, AIOCOSMOS_CREATE_ITEM, &got), 0);
        close_client(client);
    }
}

/* A key that is replaced while a request is under way: the service knows the new one. */
static aiocosmos_client *key_client;
static int keys_set;

static void answer_to_the_second_key(peer *link)
{
    if (keys_set == 0) {
        keys_set++;
        CHECK_INT(aiocosmos_set_key(key_client, "AAAA"), 0);
    } else if (keys_set == 1) {
        keys_set++;
        reply(link, 201, "x-ms-request-charge: 1\r\n", "{}");
        return;
    }
    reply(link, 401, "x-ms-activity-id: a\r\n", "{}");
}

TEST(a_401_to_a_key_that_was_replaced_is_tried_with_the_new_one)
{
    answer got;
    net_begin(answer_to_the_second_key);
    keys_set = 0;
    key_client = open_usual();
    CHECK_INT(ask(key_client, AIOCOSMOS_CREATE_ITEM, &got), 0);
    CHECK_INT(got.attempts, 2);
    CHECK_INT(ask(key_client, AIOCOSMOS_CREATE_ITEM, &got), 401);
    CHECK_INT(got.attempts, 1);
    close_client(key_client);
}

/* Envoy's "connection termination" comes when the request has gone on to the service, and may have been done there. */
static void answer_as_envoy(peer *link)
{
    if (remote.requests == 1) reply(link, 503, "server: envoy\r\n", "upstream connect error or disconnect/reset");
    else reply(link, 409, "x-ms-request-charge: 1\r\n", "{}");
}

TEST(a_write_is_not_sent_again_because_a_proxy_says_503)
{
    aiocosmos_client *client;
    answer got;
    net_begin(answer_as_envoy);
    client = open_usual();
    CHECK_INT(ask(client, AIOCOSMOS_CREATE_ITEM, &got), 503);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    CHECK_INT(remote.requests, 1);
    close_client(client);
}

TEST(a_page_without_its_array_is_refused)
{
    static const char *const bodies[] = { "", "{}", "[]", "null", "{\"Documents\":{}}", "{\"Databases\":{\"a\":1}}",
        "{\"Documents\":null}", "{\"Documents\":[1,2}",
        "{\"Documents\":[1,2]", "{\"documents\":[]}", "{\"Documents\":[01]}", "\xEF\xBB\xBF{\"Documents\":[]}",
        "{\"Documents\":[\"\xFF\"]}",
        "{\"Documents\":[]}{}", "Documents", "\"Documents\"" };
    aiocosmos_client *client;
    size_t i;
    answer got;
    net_begin(answer_as_said);
    client = open_usual();
    said_status = 200;
    for (i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        said_body = bodies[i];
        CHECK_INT(ask(client, USE_QUERY, &got), AIOCOSMOS_E_PROTOCOL);
        CHECK_INT(ask(client, USE_DATABASES, &got), AIOCOSMOS_E_PROTOCOL);
    }
    said_body = "";
    close_client(client);
}

/*--- Offers that are none ----------------------------------------------------------------------*/

enum { OF_OWNER, OF_QUERY, OF_OFFER, NOWHERE };

static struct { const char *rid, *content; int wrong, pending, puts, asked, bare; char last[512]; } offer;

static void answer_with_offer(peer *link)
{
    char body[4096];
    int place = heard(link, "POST /offers HTTP") ? OF_QUERY : heard(link, " /offers/") ? OF_OFFER : OF_OWNER;
    const char *rid = place == offer.wrong ? offer.rid : "\"x1Yz\"";
    bool waits = false;
    offer.asked += !heard(link, "GET / HTTP");
    if (heard(link, "GET / HTTP")) {
        reply(link, 200, "", "{}");
        return;
    }
    if (!heard(link, "x-ms-own: 1") || !heard(link, "x-ms-all: 2") ||
        strstr(strstr(link->out, "x-ms-all"), "\nx-ms-all"))
        offer.bare++;
    if (heard(link, "PUT /offers/")) {
        offer.puts++;
        snprintf(offer.last, sizeof offer.last, "%s", strstr(link->out, "\r\n\r\n") + 4);
    }
    if (offer.puts && offer.pending > 0) waits = offer.pending--;
    snprintf(body, sizeof body, place == OF_QUERY ? "{\"Offers\":[{\"_rid\":%s}]}"
             : "{\"_rid\":%s,\"content\":%s}", rid, offer.content ? offer.content : "{\"offerThroughput\":400}");
    reply(link, 200, waits ? "x-ms-offer-replace-pending: true\r\n" : "", body);
}

static int replace_throughput(aiocosmos_client *client, uint32_t ru, answer *got)
{
    aiocosmos_request request = of_kind(AIOCOSMOS_REPLACE_THROUGHPUT);
    int status;
    memset(got, 0, sizeof *got);
    request.throughput_ru = ru;
    request.until_replaced = true;
    request.done = on_done;
    request.user_data = got;
    status = aiocosmos_submit(client, &request, NULL);
    if (status) return status;
    drain(client);
    CHECK_INT(got->calls, 1);
    return got->status;
}

TEST(an_offer_without_a_rid_is_none)
{
    static const char *const rids[] = { "\"\"", "\"a/b\"", "\"..\"", "\"?\"", "\"#\"", "\"\\\\\"", "\"\\u0000\"",
        "\"a \"", "7", "null", "[\"x\"]", "\"0123456789012345678901234567890123456789012345678901234567890123\"" };
    size_t i;
    answer got;
    for (i = 0; i < sizeof rids / sizeof *rids; i++) {
        for (offer.wrong = OF_OWNER; offer.wrong < NOWHERE; offer.wrong++) {
            aiocosmos_client *client;
            net_begin(answer_with_offer);
            client = open_usual();
            offer.rid = rids[i];
            offer.puts = 0;
            CHECK_INT(replace_throughput(client, 400, &got), AIOCOSMOS_E_PROTOCOL);
            CHECK_INT(got.fate, AIOCOSMOS_FATE_NOT_SENT);
            CHECK_STR(got.message, "an answer without what an offer has");
            CHECK_INT(offer.puts, 0);
            close_client(client);
        }
    }
}

/* What would be put back with another throughput has to be all of it. */
TEST(an_offer_that_is_too_large_is_none)
{
    static char large[3000];
    aiocosmos_client *client;
    answer got;
    int fits;
    memset(&offer, 0, sizeof offer);
    offer.wrong = NOWHERE;
    for (fits = 0; fits < 2; fits++) {
        snprintf(large, sizeof large, "{\"offerThroughput\":500,\"pad\":\"%0*d\"}", fits ? 1900 : 2100, 0);
        offer.content = large;
        net_begin(answer_with_offer);
        client = open_usual();
        CHECK_INT(replace_throughput(client, 400, &got), fits ? 0 : AIOCOSMOS_E_PROTOCOL);
        CHECK_INT(offer.puts > 0, fits);
        close_client(client);
    }
    offer.content = NULL;
}

static void remember_end(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    *(int *)user_data = result->status;
    CHECK_INT(result->fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
}

/* Headers of the request and of the client go with each of its requests, once. */
TEST(all_requests_for_a_throughput_have_its_headers)
{
    static const char *const own[] = { "x-ms-own: 1", NULL }, *const all[] = { "x-ms-all: 2", NULL };
    aiocosmos_options options = usual_options();
    aiocosmos_request request = of_kind(AIOCOSMOS_REPLACE_THROUGHPUT);
    aiocosmos_client *client;
    answer got;
    net_begin(answer_with_offer);
    options.headers = all;
    client = open_client(&options);
    memset(&offer, 0, sizeof offer);
    memset(&got, 0, sizeof got);
    offer.wrong = NOWHERE;
    offer.pending = 2;
    request.throughput_ru = 400;
    request.until_replaced = true;
    request.headers = own;
    request.token = "type=resource&ver=1&sig=abc";
    request.done = on_done;
    request.user_data = &got;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    drain(client);
    CHECK_INT(got.status, 0);
    CHECK_INT(offer.asked, 6);               /* owner, query, read, PUT, and twice whether it is done */
    CHECK_INT(offer.bare, 0);
    close_client(client);
}

/* It may take hours: without a timeout it goes on asking, less and less often, until it is cancelled. */
TEST(a_replacement_without_end_is_asked_for_less_and_less)
{
    aiocosmos_request request = of_kind(AIOCOSMOS_REPLACE_THROUGHPUT);
    aiocosmos_client *client;
    aiocosmos_op op;
    uint64_t end_us;
    int status = 1;
    net_begin(answer_with_offer);
    client = open_usual();
    memset(&offer, 0, sizeof offer);
    offer.wrong = NOWHERE;
    offer.pending = INT_MAX;
    request.throughput_ru = 0;
    request.autoscale_max_ru = 5000;
    request.timeout_ms = AIOCOSMOS_OFF;
    request.done = remember_end;
    request.user_data = &status;
    CHECK_INT(aiocosmos_submit(client, &request, &op), 0);
    end_us = net.now_us + UINT64_C(6) * 3600 * 1000000;
    while (net.now_us < end_us) aiocosmos_step(client, aiocosmos_next_timeout_ms(client));
    CHECK_INT(status, 1);
    CHECK(offer.asked > 300 && offer.asked < 500);
    CHECK(aiocosmos_cancel(client, op));
    drain(client);
    CHECK_INT(status, AIOCOSMOS_E_CANCELLED);
    close_client(client);
}

/* Read as it is, also while it is being replaced; without a content it is none. */
TEST(a_throughput_is_read_while_it_is_replaced)
{
    static const char *const contents[] = { "{\"offerThroughput\":400}", "7", "[]", "null" };
    size_t i;
    answer got;
    for (i = 0; i < sizeof contents / sizeof *contents; i++) {
        aiocosmos_client *client;
        net_begin(answer_with_offer);
        client = open_usual();
        memset(&offer, 0, sizeof offer);
        offer.wrong = NOWHERE;
        offer.content = contents[i];
        offer.puts = offer.pending = 1;
        CHECK_INT(ask(client, AIOCOSMOS_READ_THROUGHPUT, &got), i ? AIOCOSMOS_E_PROTOCOL : 0);
        CHECK_INT(offer.asked, 3);
        if (i) CHECK_INT(replace_throughput(client, 400, &got), AIOCOSMOS_E_PROTOCOL);
        CHECK_INT(offer.puts, 1);
        close_client(client);
    }
    offer.content = NULL;
}

TEST(a_throughput_of_32_bits_is_written_as_it_is)
{
    aiocosmos_client *client;
    answer got;
    net_begin(answer_with_offer);
    client = open_usual();
    offer.wrong = NOWHERE;
    replace_throughput(client, 4000000000u, &got);
    CHECK(strstr(offer.last, "\"content\":{\"offerThroughput\":4000000000}") != NULL);
    close_client(client);
}

/* Whichever allocation fails, what was written is not said to be not sent. */
TEST(a_replacement_that_runs_out_of_memory_says_what_it_has_done)
{
    unsigned long at;
    int failed = 0;
    answer got;
    offer.wrong = NOWHERE;
    for (at = 1; at < 100; at++) {
        aiocosmos_client *client;
        int status;
        net_begin(answer_with_offer);
        client = open_usual();
        client_keeps_nothing(client);
        offer.pending = 2;
        offer.puts = 0;
        heap_fail(&heap, at, 1);
        status = replace_throughput(client, 400, &got);
        heap_recover(&heap);
        if (status && got.calls && offer.puts) {
            CHECK(got.fate != AIOCOSMOS_FATE_NOT_SENT);
            failed++;
        }
        close_client(client);
    }
    CHECK(failed > 0);
}

/* In a page, in an item, in an error; arrays, objects, and both. */
TEST(json_that_is_200000_deep_is_refused)
{
    static const char *const units[] = { "[", "{\"a\":", "[{\"message\":" };
    static char text[3000000];
    aiocosmos_client *client;
    size_t i, k, len;
    answer got;
    net_begin(answer_as_said);
    client = open_usual();
    said_body = text;
    for (i = 0; i < 3; i++) {
        len = (size_t)sprintf(text, "{\"Documents\":");
        for (k = 0; k < 200000; k++) len += (size_t)sprintf(text + len, "%s", units[i]);
        said_status = 200;
        CHECK_INT(ask(client, USE_QUERY, &got), AIOCOSMOS_E_PROTOCOL);
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
        said_status = 400;
        CHECK_INT(ask(client, USE_QUERY, &got), 400);
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 400);
    }
    said_body = "";
    close_client(client);
}

/*--- Header values that make no sense ------------------------------------------------------------*/

static char lines[131072];                   /* room for header lines */

static void line_of(const char *name, const char *start, const char *unit, size_t times, const char *end)
{
    size_t len = (size_t)sprintf(lines, "%s: %s", name, start);
    for (; times > 0; times--) len += (size_t)sprintf(lines + len, "%s", unit);
    sprintf(lines + len, "%s\r\n", end);
    said_lines = lines;
}

static void answer_fittingly_as_said(peer *link) { reply(link, said_status, said_lines, fitting_body(link)); }

TEST(absurd_charges_do_not_spoil_the_sums)
{
    static const char *const charges[] = { "1e999", "-1e999", "-5", "NaN", "inf", "1e308", "1e308", "0x10", "1,5",
        "5.", "",
        "99999999999999999999999999999999999999999999999999", "1e-400", "00000001" };
    aiocosmos_client *client;
    aiocosmos_stats stats;
    size_t i, k;
    answer got;
    net_begin(answer_fittingly_as_said);
    client = open_usual();
    said_status = 200;
    for (i = 0; i < sizeof charges / sizeof *charges; i++) {
        line_of("x-ms-request-charge", charges[i], "", 0, "");
        for (k = 0; k < FEW_USES; k++) {
            CHECK_INT(ask(client, few_uses[k], &got), 0);
            CHECK(got.charge_ru >= 0 && got.charge_ru < 1e12);
        }
    }
    aiocosmos_get_stats(client, &stats);
    CHECK(stats.charge_ru >= 0 && stats.charge_ru < 1e15);
    said_lines = "";
    close_client(client);
}

TEST(absurd_waits_end_with_the_operation)
{
    static const char *const waits[] = { "1000000000000000000", "99999999999999999999999999", "-1", "0", "0.0000001",
        "1e18",
        "1e999", "NaN", "soon", "", "4294967296", "Wed, 21 Oct 2015 07:28:00 GMT" };
    static const int statuses[] = { 429, 449, 503, 403, 410 };
    aiocosmos_client *client;
    size_t i, k, n;
    answer got;
    net_begin(answer_as_said);
    client = open_usual();
    for (n = 0; n < sizeof statuses / sizeof *statuses; n++) {
        for (i = 0; i < sizeof waits / sizeof *waits; i++) {
            said_status = statuses[n];
            line_of("x-ms-retry-after-ms", waits[i], "", 0, "");
            for (k = 0; k < FEW_USES; k++) {
                uint64_t from_us = net.now_us;
                CHECK_INT(ask(client, few_uses[k], &got), said_status);
                CHECK(got.at_us - from_us < 31000000);
                CHECK(got.attempts < 2000);
            }
        }
    }
    said_lines = "";
    close_client(client);
}

TEST(absurd_sub_statuses_and_activity_ids_are_harmless)
{
    static const char *const names[] = { "x-ms-substatus", "x-ms-activity-id", "x-ms-item-count", "content-type",
        "x-ms-content-path",
        "x-ms-alt-content-path", "x-ms-documentdb-partitionkeyrangeid", "date", "etag", "connection" };
    static const char *const values[] = { "", "-1", "2147483647", "2147483648", "99999999999999999999", "1002", "a",
        ",,,,", "%s%n%d",
        "\xFF\xFE\x80", "\t \t", "\"", "W/", "close, close" };
    static const int statuses[] = { 200, 304, 400, 401, 403, 404, 409, 410, 412 };
    aiocosmos_client *client;
    size_t i, k, n;
    answer got;
    net_begin(answer_fittingly_as_said);
    client = open_usual();
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        for (k = 0; k < sizeof values / sizeof *values; k++) {
            line_of(names[i], values[k], "", 0, "");
            for (n = 0; n < sizeof statuses / sizeof *statuses; n++) {
                int wanted;
                said_status = statuses[n];
                wanted = said_status == 200 ? 0 : said_status == 304 ? AIOCOSMOS_E_PROTOCOL : said_status;
                CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), wanted);
                CHECK_INT(ask(client, USE_QUERY, &got), wanted);
            }
        }
        line_of(names[i], "", "abc,", 15000, "");
        said_status = 400;
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 400);
    }
    said_lines = "";
    close_client(client);
}

/* Nothing of a malformed token is kept, and what is kept stays within limits and can be sent. */
TEST(session_tokens_of_every_malformed_kind_are_ignored)
{
    static const char *const tokens[] = { "", ":", "0", "0:", ":1", "0:-1", "0:-1#", "0:#1", "0:1#2#", "0:1#2#3",
        "0:1#2#3=",
        "0:1#2#=3", "0:1#2#3=4#", "0:1#2,", ",0:1#2", "0:1#2,,1:1#2", "0:99999999999999999999#1",
        "0:1#-99999999999999999999",
        "0:1#2#99999999999=1", "0:1#2#3=99999999999999999999", "0:1#2;0:1#2", "0 :1#2", "\xFF:1#2", "0:1#2#1=1#1=2" };
    aiocosmos_client *client;
    size_t i;
    answer got;
    net_begin(answer_fittingly_as_said);
    client = open_usual();
    said_status = 200;
    for (i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        line_of("x-ms-session-token", tokens[i], "", 0, "");
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
        CHECK_INT(ask(client, USE_QUERY, &got), 0);
        CHECK_INT(ask(client, AIOCOSMOS_CREATE_ITEM, &got), 0);
    }
    CHECK(aiocosmos_session_get(client, NULL, "c").len < 100);
    said_lines = "";
    close_client(client);
}

static unsigned long token_number;

/* Other ranges in every answer, thousands of them. */
static void answer_with_tokens(peer *link)
{
    size_t len = (size_t)sprintf(lines, "x-ms-session-token: "), i;
    for (i = 0; i < 5000 && i < (token_number % 5 + 1) * 1000; i++)
        len += (size_t)sprintf(lines + len, "%s%lu:1#%lu", i ? "," : "", token_number * 5000 + i, token_number);
    sprintf(lines + len, "\r\n");
    token_number++;
    reply(link, 200, lines, fitting_body(link));
}

TEST(session_tokens_of_thousands_of_ranges_are_held_to_their_limit)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    int i;
    answer got;
    net_begin(answer_with_tokens);
    options = usual_options();
    client = open_client(&options);
    for (i = 0; i < 40; i++) {
        CHECK_INT(ask(client, i % 2 ? AIOCOSMOS_READ_ITEM : USE_QUERY, &got), 0);
        CHECK(aiocosmos_session_get(client, NULL, "c").len <= client_session_bytes_max());
    }
    limits_held(client, &options);
    close_client(client);
}

TEST(a_continuation_of_60_kib_is_sent_back_and_a_longer_one_refused)
{
    aiocosmos_client *client;
    aiocosmos_query_request request;
    answer got;
    net_begin(answer_fittingly_as_said);
    client = open_usual();
    said_status = 200;
    memset(&got, 0, sizeof got);
    memset(&request, 0, sizeof request);
    request.container = "c";
    line_of("x-ms-continuation", "", "abcdefghij", 6000, "");
    CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
    CHECK_INT(aiocosmos_cursor_next(client, got.query, on_page, &got), 0);
    drain(client);
    CHECK_INT(got.status, 0);
    CHECK(got.more);
    line_of("x-ms-continuation", "", "abcdefghij", 7000, "");
    CHECK_INT(ask(client, USE_QUERY, &got), AIOCOSMOS_E_TOO_LARGE);
    said_lines = "";
    close_client(client);
}

/* A refusal with such a date makes the client sign with it once; the next honest one sets it right. */
TEST(dates_of_1970_and_9999_do_not_lock_the_client_out)
{
    static const char *const dates[] = { "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 32 Foo 2026 99:99:99 GMT",
        "0", "Sunday, 06-Nov-94 08:49:37 GMT", "" };
    aiocosmos_client *client;
    size_t i, k;
    answer got;
    for (k = 0; k < 3; k++) {
        net_begin(answer_as_said);
        net.wall_ms = k == 0 ? 0 : k == 1 ? INT64_C(253402300799000) : INT64_C(1795000000000);
        client = open_usual();
        for (i = 0; i < sizeof dates / sizeof *dates; i++) {
            said_status = i % 2 ? 401 : 403;
            line_of("date", dates[i], "", 0, "");
            CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), said_status);
            CHECK(got.attempts <= 2);
            line_of("date", "Sat, 21 Nov 2026 02:31:44 GMT", "", 0, "");
            CHECK_INT(ask(client, AIOCOSMOS_CREATE_ITEM, &got), said_status);
            CHECK(got.attempts <= 2);
        }
        close_client(client);
    }
    said_lines = "";
}

/*--- Servers without manners ------------------------------------------------------------------*/

static void reset(peer *link) { world_reset(link); }

static void answer_twice(peer *link) { answer_well(link); answer_well(link); }

static void answer_before_asked(peer *link) { reply(link, 200, "", "{\"id\":\"other\"}"); }

static void hang_up(peer *link) { link->closed = true; }

static void speak_tls(peer *link) { say_bytes(link, "\025\003\003\000\002\002\050", 7); }

static void trickle(peer *link) { say_text(link, HEAD "X: y"); link->endless = 0; }

TEST(silence_ends_with_the_deadline)
{
    aiocosmos_client *client;
    int use;
    answer got;
    net_begin(NULL);
    client = open_usual();
    for (use = 1; use < USES; use++) {
        uint64_t from_us = net.now_us;
        bool write = (use >= AIOCOSMOS_CREATE_ITEM && use <= AIOCOSMOS_DELETE_ITEM) ||
                     use == AIOCOSMOS_DELETE_PARTITION || use == AIOCOSMOS_EXECUTE_PROCEDURE || use == AIOCOSMOS_RAW ||
                     use >= USE_BULK;
        CHECK_INT(ask(client, use, &got), write ? AIOCOSMOS_E_CONNECT : AIOCOSMOS_E_TIMEOUT);
        if (write && use != USE_BULK) CHECK(got.at_us - from_us >= 6000000 && got.at_us - from_us < 6500000);
        else CHECK(got.at_us - from_us < 30100000);
        /* The ranges of a query have a time of their own. */
        if (!write && use != USE_QUERY && use != USE_QUERY_OF_KEY) CHECK(got.at_us - from_us >= 30000000);
    }
    remote.answer = trickle;
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), AIOCOSMOS_E_TIMEOUT);
    close_client(client);
}

/*--- Attempts that are not heard of any more ----------------------------------------------------*/

static int black_links;                      /* connections opened so far that swallow all that they are given */

static void answer_unless_black(peer *link)
{
    if (link->number >= black_links) answer_well(link);
}

static aiocosmos_client *open_before_a_black_hole(const aiocosmos_options *options, int connections)
{
    aiocosmos_client *client;
    net_begin(answer_unless_black);
    black_links = 0;
    client = open_client(options);
    CHECK_INT(aiocosmos_warm(client, (uint32_t)connections), 0);
    while (net.count < connections) aiocosmos_step(client, 0);
    aiocosmos_step(client, 0);
    black_links = net.count;
    return client;
}

/* All connections of a client lead nowhere, as when a NAT has forgotten them: that costs one attempt of one operation,
 * not the deadline of each. */
TEST(a_black_hole_costs_one_attempt)
{
    aiocosmos_options options = usual_options();
    static const uint32_t limits_ms[] = { 0, 500, 20000 };
    uint64_t limit_us, from_us;
    aiocosmos_client *client;
    answer got;
    size_t i;
    for (i = 0; i < 3; i++) {
        options.attempt_timeout_ms = limits_ms[i];
        limit_us = (limits_ms[i] ? limits_ms[i] : 6000u) * UINT64_C(1000);
        client = open_before_a_black_hole(&options, 10);
        from_us = net.now_us;
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
        CHECK_INT(got.attempts, 2);
        CHECK(got.at_us - from_us >= limit_us && got.at_us - from_us < limit_us + limit_us / 16 + 100000);
        from_us = net.now_us;
        CHECK_INT(ask(client, AIOCOSMOS_CREATE_ITEM, &got), 0);
        CHECK(got.attempts == 1 && net.now_us - from_us < 100000);
        CHECK_INT(net.count, 11);
        close_client(client);
    }
    client = open_before_a_black_hole(&options, 10);       /* a write whose answer is lost is not sent again */
    CHECK_INT(ask(client, AIOCOSMOS_CREATE_ITEM, &got), AIOCOSMOS_E_CONNECT);
    CHECK(got.attempts == 1 && got.fate == AIOCOSMOS_FATE_MAYBE_APPLIED);
    CHECK(strstr(got.message, "not a byte sent or heard for 20000 ms"));
    CHECK_INT(ask(client, AIOCOSMOS_CREATE_ITEM, &got), 0);
    close_client(client);
    options.retry_writes = true;
    client = open_before_a_black_hole(&options, 10);
    CHECK_INT(ask(client, AIOCOSMOS_CREATE_ITEM, &got), 0);
    CHECK_INT(got.attempts, 2);
    close_client(client);
    options.attempt_timeout_ms = AIOCOSMOS_OFF;
    client = open_before_a_black_hole(&options, 1);
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(got.attempts, 1);
    close_client(client);
}

/* It holds for operations without a deadline, too, and not for those that make databases and containers. */
TEST(whose_attempts_may_be_silent)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    uint64_t from_us;
    answer got;
    int use;
    options.request_timeout_ms = AIOCOSMOS_OFF;
    client = open_before_a_black_hole(&options, 1);
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    CHECK_INT(got.attempts, 2);
    close_client(client);
    options.request_timeout_ms = 25000;
    for (use = AIOCOSMOS_CREATE_CONTAINER; use <= AIOCOSMOS_DELETE_DATABASE; use++) {
        if (use == AIOCOSMOS_READ_DATABASE) continue;
        client = open_before_a_black_hole(&options, 1);
        from_us = net.now_us;
        CHECK_INT(ask(client, use, &got), AIOCOSMOS_E_TIMEOUT);
        CHECK_INT(got.attempts, 1);
        CHECK(got.at_us - from_us >= 25000000);
        close_client(client);
    }
}

/* A byte every five seconds keeps an attempt alive. */
static void say_a_letter_later(peer *link)
{
    say(link, "HTTP/1.1 200 OK\r\nx-ms-request-charge: 1\r\nContent-Length: 4\r\n\r\n");
}

TEST(an_attempt_that_goes_on_slowly_is_not_given_up)
{
    aiocosmos_client *client;
    aiocosmos_request request = of_kind(AIOCOSMOS_CREATE_ITEM);
    answer got;
    int i;
    net_begin(say_a_letter_later);
    client = open_usual();
    memset(&got, 0, sizeof got);
    request.done = on_done;
    request.user_data = &got;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    for (i = 0; i < 4; i++) {
        uint64_t until_us = net.now_us + 5000000;
        while (net.now_us < until_us) aiocosmos_step(client, (int)((until_us - net.now_us + 999u) / 1000u));
        CHECK_INT(got.calls, 0);
        say_text(net.sockets[0], "x");
    }
    drain(client);
    CHECK_INT(got.status, 0);
    CHECK_INT(got.attempts, 1);
    close_client(client);
}

/* Connections that take no more of a request than all but so many bytes, and say nothing. */
static struct { int links; size_t left; } stalled;

static void hear_until_the_stall(peer *link, const char *bytes, size_t len)
{
    const char *end;
    world_gather(link, bytes, len);
    end = strstr(link->out, "\r\n\r\n");
    if (!end || net.count > stalled.links) return;
    link->room = (size_t)(end + 4 - link->out) + (size_t)atol(strstr(link->out, "Content-Length: ") + 16) -
                 stalled.left - link->out_len;
}

static void answer_unless_stalled(peer *link)
{
    if (net.count > stalled.links) answer_well(link);
}

/* What was not sent to its last byte may be sent again: the stall of a large upload costs an attempt, and nothing is in
 * doubt. Of one that was taken whole, something is. */
TEST(an_upload_that_stalls_costs_one_attempt)
{
    static const struct { size_t left; int links, status, fate; uint32_t attempts; } of[] = {
        { 500000, 1, 0, AIOCOSMOS_FATE_ANSWERED, 2 }, { 1, 1, 0, AIOCOSMOS_FATE_ANSWERED, 2 },
        { 500000, 99, AIOCOSMOS_E_CONNECT, AIOCOSMOS_FATE_NOT_SENT, 4 },
        { 1, 99, AIOCOSMOS_E_CONNECT, AIOCOSMOS_FATE_NOT_SENT, 4 },
        { 0, 99, AIOCOSMOS_E_CONNECT, AIOCOSMOS_FATE_MAYBE_APPLIED, 1 }
    };
    static char body[1000000];
    aiocosmos_request request = of_kind(AIOCOSMOS_CREATE_ITEM);
    answer got;
    size_t i;
    memset(body, 'x', sizeof body);
    memcpy(body, "{\"id\":\"a\",\"pk\":\"p\",\"x\":\"", 24);
    memcpy(body + sizeof body - 2, "\"}", 2);
    request.body.ptr = body;
    request.body.len = sizeof body;
    request.done = on_done;
    request.user_data = &got;
    for (i = 0; i < 2 * sizeof of / sizeof *of; i++) {
        aiocosmos_client *client;
        uint64_t from_us;
        memset(&got, 0, sizeof got);
        net_begin(answer_unless_stalled);
        net.servers.hear = hear_until_the_stall;
        net.send_max = i % 2 ? 100000 : 0;
        stalled.links = of[i / 2].links;
        stalled.left = of[i / 2].left;
        client = open_usual();
        from_us = net.now_us;
        CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
        drain(client);
        CHECK_INT(got.status, of[i / 2].status);
        CHECK_INT(got.fate, of[i / 2].fate);
        CHECK_INT(got.attempts, of[i / 2].attempts);
        if (got.attempts < 3) CHECK(got.at_us - from_us >= 6000000 && got.at_us - from_us < 6600000);
        CHECK(got.at_us - from_us < 30000000);
        CHECK_INT(remote.requests, (int)(got.status == 0 || stalled.left == 0));
        net.servers.hear = NULL;
        stalled.links = 0;
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
        close_client(client);
    }
}

/* A host that was away for a while finds its answers, which came meanwhile, whatever the budget of its steps. */
TEST(a_host_that_was_away_finds_its_answers)
{
    enum { WRITES = 60 };
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    aiocosmos_request request = of_kind(AIOCOSMOS_CREATE_ITEM);
    answer got[WRITES];
    int i, round;
    for (round = 0; round < 2; round++) {
        options.step_budget_us = round ? 1 : 0;
        net_begin(answer_well);
        net_is_slow(0);
        client = open_client(&options);
        memset(got, 0, sizeof got);
        for (i = 0; i < WRITES; i++) {
            request.done = on_done;
            request.user_data = &got[i];
            CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
        }
        remote.answer = NULL;
        for (i = 0; i < 1000; i++) aiocosmos_step(client, 0);
        remote.answer = answer_well;
        net.now_us += 20000000;
        for (i = 0; i < 1000; i++) aiocosmos_step(client, 0);
        for (i = 0; i < WRITES; i++) CHECK_INT(got[i].status, 0);
        drain(client);
        for (i = 0; i < WRITES; i++) CHECK(got[i].calls == 1 && got[i].status == 0 && got[i].attempts == 1);
        close_client(client);
    }
}

/* A connection is never there, or always dies. */
/*--- Raw requests ---------------------------------------------------------------------------------*/

static int ask_raw(aiocosmos_client *client, const char *verb, const char *link, const char *etag, answer *got)
{
    aiocosmos_request request;
    memset(&request, 0, sizeof request);
    memset(got, 0, sizeof *got);
    request.kind = AIOCOSMOS_RAW;
    request.raw_verb = verb;
    request.raw_link = link;
    request.pk = aiocosmos_pk1(aiocosmos_s("p"));
    if (etag) request.if_match = aiocosmos_text(etag);
    request.done = on_done;
    request.user_data = got;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    drain(client);
    CHECK_INT(got->calls, 1);
    return got->status;
}

/* RFC 9110, 9.3.2: whatever the head says, no body follows. A server that sends one all the same has desynchronised its
 * connection, and may not spoil the next answer. */
static const char *head_answer;

static void answer_heads(peer *link)
{
    if (heard(link, "HEAD /")) say_text(link, head_answer);
    else reply(link, 200, "x-ms-request-charge: 1\r\n", "{\"id\":\"a\",\"pk\":\"p\"}");
}

TEST(the_answer_to_a_head_has_no_body)
{
    static const struct { const char *answer; int status; bool kept; } cases[] = {
        { "HTTP/1.1 200 OK\r\nx-ms-request-charge: 1\r\nContent-Length: 1000\r\n\r\n", 0, true },
        { "HTTP/1.1 200 OK\r\nx-ms-request-charge: 1\r\nContent-Length: 99999999999\r\n\r\n", 0, true },
        { "HTTP/1.1 200 OK\r\nx-ms-request-charge: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 0, true },
        { "HTTP/1.1 200 OK\r\nx-ms-request-charge: 1\r\n\r\n", 0, true },
        { "HTTP/1.1 404 Not Found\r\nx-ms-substatus: 0\r\nContent-Length: 77\r\n\r\n", 404, true },
        { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n", 0, true },
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 0, false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\nHTTP/1.1 404 Not\r\nContent-Length: 0\r\n\r\n", 0, false } };
    size_t i, send_max;
    for (send_max = 0; send_max < 2; send_max++) {
        for (i = 0; i < sizeof cases / sizeof *cases; i++) {
            aiocosmos_client *client;
            answer got;
            net_begin(answer_heads);
            net.receive_max = send_max;
            head_answer = cases[i].answer;
            client = open_usual();
            CHECK_INT(ask_raw(client, "HEAD", "dbs/db/colls/c/docs/a", NULL, &got), cases[i].status);
            CHECK_INT(got.body_len, 0);
            CHECK_INT(got.attempts, 1);
            CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
            CHECK_INT(got.body_len, 19);
            CHECK_INT(net.count, cases[i].kept ? 1 : 2);
            CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
            CHECK_INT(got.body_len, 19);
            close_client(client);
        }
    }
}

/* The first two requests are heard, and never answered. */
static void lose_two_answers(peer *link)
{
    if (remote.requests <= 2) link->closed = true;
    else answer_well(link);
}

TEST(raw_requests_have_the_fate_of_their_verb)
{
    static const struct { const char *verb, *etag; int attempts; } cases[] = {
        { "GET", NULL, 3 }, { "HEAD", NULL, 3 }, { "PUT", NULL, 1 }, { "PUT", "\"e\"", 3 }, { "PUT", "*", 1 },
        { "DELETE", NULL, 1 }, { "DELETE", "\"e\"", 3 }, { "POST", NULL, 1 }, { "POST", "\"e\"", 1 } };
    aiocosmos_options options = usual_options();
    size_t i;
    options.no_session = true;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        aiocosmos_client *client;
        answer got;
        net_begin(lose_two_answers);
        client = open_client(&options);
        CHECK_INT(ask_raw(client, cases[i].verb, "dbs/db/colls/c/sprocs/a", cases[i].etag, &got),
                  cases[i].attempts == 1 ? AIOCOSMOS_E_CONNECT : 0);
        CHECK_INT(got.attempts, cases[i].attempts);
        CHECK_INT(got.fate, cases[i].attempts == 1 ? AIOCOSMOS_FATE_MAYBE_APPLIED : AIOCOSMOS_FATE_ANSWERED);
        CHECK_INT(remote.requests, cases[i].attempts);
        close_client(client);
    }
}

TEST(endless_resets_and_hang_ups_are_given_up)
{
    static void (*const servers[])(peer *link) = { reset, hang_up };
    aiocosmos_client *client;
    size_t i;
    int use;
    answer got;
    for (i = 0; i < 4; i++) {
        net_begin(i < 2 ? servers[i] : NULL);
        if (i >= 2) net.servers.opened = servers[i - 2];
        client = open_usual();
        for (use = 1; use < USES; use++) {
            uint64_t from_us = net.now_us;
            CHECK_INT(ask(client, use, &got), AIOCOSMOS_E_CONNECT);
            CHECK(got.at_us - from_us < 31000000);
            CHECK(net.count < 3000);
        }
        close_client(client);
    }
}

/* What nobody asked for is no answer, and taints the connection. */
TEST(answers_that_nobody_asked_for_are_not_taken)
{
    aiocosmos_client *client;
    int use, i;
    answer got;
    net_begin(answer_twice);
    client = open_usual();
    for (use = 1; use < USES; use++) CHECK_INT(ask(client, use, &got), 0);
    CHECK(net.count > USES);                 /* none was used twice */
    CHECK_INT(net.count, remote.requests);
    close_client(client);
    net_begin(answer_well);
    client = open_usual();
    for (use = 1; use < USES; use++) {
        CHECK_INT(ask(client, use, &got), 0);
        for (i = 0; i < net.count; i++) if (net.sockets[i]->machine) answer_before_asked(net.sockets[i]);
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
        CHECK_INT(got.body_len, strlen("{\"id\":\"a\",\"pk\":\"p\"}"));
    }
    close_client(client);
}

/* It ends, however each connection greets. */
TEST(servers_that_speak_first_end_every_operation)
{
    static void (*const greetings[])(peer *link) = { answer_before_asked, speak_tls, announce_for_ever };
    aiocosmos_client *client;
    size_t i;
    int use;
    answer got;
    for (i = 0; i < 6; i++) {
        net_begin(i < 3 ? answer_well : NULL);
        net.servers.opened = greetings[i % 3];
        net_is_slow(10);
        client = open_usual();
        for (use = 1; use < USES; use++) {
            ask(client, use, &got);
            CHECK(net.count < 20000);
        }
        close_client(client);
    }
}

TEST(tls_and_plain_http_at_the_wrong_end_are_told_apart)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    answer got;
    size_t i;
    static const char *const words[] = { "HTTP/1.1 400 Bad Request\r\n\r\n", "<html>", "SSH-2.0-x\r\n",
        "\026\003\003\377\377", "" };
    net_begin(speak_tls);
    client = open_client(&options);
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), AIOCOSMOS_E_PROTOCOL);
    CHECK(strstr(got.message, "https://") != NULL);
    close_client(client);
    for (i = 0; i < sizeof words / sizeof *words; i++) {
        static falsehood first;
        uint64_t from_us;
        first.text = words[i];
        first.closes = i % 2;
        lie = &first;
        net_begin(NULL);
        net.servers.opened = answer_with_a_lie;
        options = usual_options();
        options.endpoint = "https://127.0.0.1:8081/";
        options.insecure = true;
        client = open_client(&options);
        from_us = net.now_us;
        CHECK(ask(client, AIOCOSMOS_READ_ITEM, &got) < 0);
        CHECK(got.status == AIOCOSMOS_E_TLS || got.status == AIOCOSMOS_E_CONNECT);
        CHECK_INT(got.fate, AIOCOSMOS_FATE_NOT_SENT);
        CHECK(got.at_us - from_us < 31000000);
        first.closes = false;
        first.endless = 'x';
        CHECK(ask(client, USE_QUERY, &got) < 0);
        CHECK_INT(ask(client, USE_BULK, &got) < 0, 1);
        limits_held(client, &options);
        close_client(client);
    }
}

/*--- Containers and ranges that lie ------------------------------------------------------------*/

static struct feed {
    const char *definition, *ranges;
    int pages;                               /* of ranges, before the last; -1: there is no last */
    int asked, definitions;
    char *text;                              /* ranges that were made up */
} feed;

/* Items carry a session token, so that the client wants to know the ranges. */
static void answer_with_a_feed(peer *link)
{
    if (heard(link, "/pkranges ")) {
        bool more = feed.pages < 0 || feed.asked < feed.pages;
        feed.asked++;
        reply(link, 200, more ? "x-ms-continuation: more\r\n" : "", feed.ranges);
    } else if (heard(link, "GET /dbs/db/colls/c HTTP")) {
        feed.definitions++;
        reply(link, 200, "", feed.definition);
    } else {
        reply(link, 200, "x-ms-session-token: 0:1#5\r\n", fitting_body(link));
    }
}

/* What is no JSON is not of the service, and may be over soon. */
static bool is_garbled(const char *text)
{
    return *text == 0 || *text == '<' || text[strlen(text) - 1] == ':';
}

/* Reads and queries work, with the ranges or without. */
static void works_with_feed(const char *definition_text, const char *ranges, int pages)
{
    bool garbled = is_garbled(definition_text) || is_garbled(ranges);
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    answer got;
    int i;
    memset(&feed, 0, sizeof feed);
    feed.definition = definition_text;
    feed.ranges = ranges;
    feed.pages = pages;
    net_begin(answer_with_a_feed);
    client = open_client(&options);
    for (i = 0; i < 4; i++) {
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
        if (ask(client, USE_QUERY, &got) != 0) CHECK(garbled && got.status == AIOCOSMOS_E_PROTOCOL);
        if (ask(client, USE_QUERY_OF_KEY, &got) != 0) CHECK(garbled && got.status == AIOCOSMOS_E_PROTOCOL);
        if (ask(client, USE_QUERY_OF_KEYS, &got) != 0)
            CHECK(got.status == AIOCOSMOS_E_ARGUMENT || (garbled && got.status == AIOCOSMOS_E_PROTOCOL));
    }
    limits_held(client, &options);
    close_client(client);
}

#define RANGE(id, min, max, parents) \
    "{\"id\":\"" id "\",\"minInclusive\":\"" min "\",\"maxExclusive\":\"" max "\",\"parents\":" parents "}"
#define RANGES(list) "{\"PartitionKeyRanges\":[" list "]}"

TEST(ranges_with_gaps_overlaps_and_cycles_are_done_without)
{
    static const char *const lists[] = {
        RANGES(""), RANGES(RANGE("0", "", "80", "[]")), RANGES(RANGE("0", "80", "FF", "[]")),
        RANGES(RANGE("0", "", "70", "[]") "," RANGE("1", "80", "FF", "[]")),
        RANGES(RANGE("0", "", "90", "[]") "," RANGE("1", "80", "FF", "[]")),
        RANGES(RANGE("0", "", "FF", "[]") "," RANGE("0", "", "FF", "[]")),
        RANGES(RANGE("0", "", "FF", "[\"0\"]")),
        RANGES(RANGE("0", "", "80", "[\"1\"]") "," RANGE("1", "80", "FF", "[\"0\"]")),
        RANGES(RANGE("0", "", "FF", "[\"1\"]") "," RANGE("1", "", "FF", "[\"2\"]") "," RANGE("2", "", "FF", "[\"0\"]")),
        RANGES(RANGE("0", "FF", "", "[]")), RANGES(RANGE("0", "", "", "[]")), RANGES(RANGE("", "", "FF", "[]")),
        RANGES(RANGE("0", "", "FF", "null")), RANGES(RANGE("0", "", "FF", "[1]")), RANGES(RANGE("0", "", "FF", "[[]]")),
        RANGES("{\"id\":0}"), RANGES("1"), RANGES("[]"), RANGES("null"), "{\"PartitionKeyRanges\":{}}", "{}", "[]",
            "", "<html>",
        RANGES(RANGE("0,1", "", "FF", "[\",\",\"\"]")), RANGES(RANGE("0\\u0000", "\\uD800", "FF", "[]")),
        RANGES(RANGE("0:1#2,\\r\\nX: y", "", "FF", "[]")), RANGES(RANGE("0", "ZZ", "FF", "[]")), RANGES(RANGE("0", "",
            "FF", "[]"))
    };
    size_t i;
    for (i = 0; i < sizeof lists / sizeof *lists; i++) {
        works_with_feed(definition, lists[i], 0);
        works_with_feed(definition, lists[i], 1);
    }
}

TEST(definitions_that_lie_are_done_without)
{
    static const char *const definitions[] = {
        "", "{}", "[]", "null", "{\"partitionKey\":null}", "{\"partitionKey\":{\"paths\":[]}}",
        "{\"partitionKey\":{\"paths\":\"/pk\"}}",
        "{\"partitionKey\":{\"paths\":[\"/a\",\"/b\",\"/c\",\"/d\"]}}", "{\"partitionKey\":{\"paths\":[1,2,3]}}",
        "{\"partitionKey\":{\"paths\":[\"/a\",\"/b\"],\"kind\":\"Hash\",\"version\":-1}}",
        "{\"partitionKey\":{\"paths\":[\"/a\"],\"kind\":\"MultiHash\",\"version\":99999999999999999999}}",
        "{\"partitionKey\":{\"paths\":[\"/a\"],\"kind\":{},\"version\":\"2\",\"systemKey\":\"yes\"}}",
        "{\"_rid\":\"0123456789012345678901234567890123456789\","
        "\"partitionKey\":{\"paths\":[\"/a\"],\"kind\":\"Range\"}}",
        "{\"_rid\":\"\",\"partitionKey\":{\"paths\":[\"/a\"],\"kind\":\"Hash\"}}", "<html>", "{\"partitionKey\":"
    };
    size_t i;
    for (i = 0; i < sizeof definitions / sizeof *definitions; i++) works_with_feed(definitions[i], one_range, 0);
}

/* Pages without end, with ranges in them or without. */
TEST(a_feed_of_ranges_that_never_ends_is_given_up)
{
    works_with_feed(definition, RANGES(RANGE("0", "", "FF", "[]")), -1);
    CHECK(feed.asked < 4 * 4200);
    works_with_feed(definition, RANGES(""), -1);
    CHECK(feed.asked < 4 * 4200);
}

/* The longest time that a step took, in real time. */
static double longest_step_s(aiocosmos_client *client)
{
    double longest_s = 0;
    while (aiocosmos_pending(client)) {
        clock_t from = clock();
        double took_s;
        CHECK(aiocosmos_step(client, -1) >= 0);
        took_s = (double)(clock() - from) / CLOCKS_PER_SEC;
        if (took_s > longest_s) longest_s = took_s;
    }
    return longest_s;
}

/* Many ranges, in the worst of orders, each with many parents. */
static void make_ranges(unsigned count, unsigned parents)
{
    size_t len;
    unsigned i, k;
    feed.text = malloc((size_t)count * (90u + parents * 10u) + 100);
    CHECK(feed.text != NULL);
    len = (size_t)sprintf(feed.text, "{\"PartitionKeyRanges\":[");
    for (i = count; i-- > 0;) {
        len += (size_t)sprintf(feed.text + len,
            "{\"id\":\"%u\",\"minInclusive\":\"%.8X\",\"maxExclusive\":\"%.8X\",\"parents\":[", i, i, i + 1);
        for (k = 0; k < parents; k++) len += (size_t)sprintf(feed.text + len, "%s\"p%u\"", k ? "," : "", k);
        len += (size_t)sprintf(feed.text + len, "]}%s", i ? "," : "]}");
    }
    feed.ranges = feed.text;
}

TEST(masses_of_ranges_do_not_hold_up_a_step)
{
    static const unsigned counts[] = { 4096, 4096, 20000, 300 }, parents[] = { 0, 30, 0, 400 };
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    answer got;
    size_t i;
    for (i = 0; i < sizeof counts / sizeof *counts; i++) {
        double took_s;
        net_begin(answer_with_a_feed);
        memset(&feed, 0, sizeof feed);
        feed.definition = definition;
        make_ranges(counts[i], parents[i]);
        options.response_bytes_max = 64u << 20;
        client = open_client(&options);
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
        CHECK_INT(begin(client, AIOCOSMOS_READ_ITEM, &got), 0);
        took_s = longest_step_s(client);
        if (took_s > 1.0) test_fail(__FILE__, __LINE__, "%u ranges of %u parents: a step of %.1f s", counts[i],
            parents[i], took_s);
        CHECK_INT(got.status, 0);
        limits_held(client, &options);
        close_client(client);
        free(feed.text);
    }
}

/*--- Callbacks that do everything at every moment ---------------------------------------------*/

enum { DO_NOTHING, DO_CANCEL, DO_SUBMIT, DO_STEP, DO_CLOSE, DO_DESTROY, DEEDS };
enum { TICKETS = 64 };

/* One thing that was accepted, and so is owed one callback. */
typedef struct owed {
    bool accepted;
    int calls, items;
    int use, pulls;
    aiocosmos_op op;
    aiocosmos_cursor query;
} owed;

static struct stage {
    aiocosmos_client *client;
    owed tickets[TICKETS];
    int count;
    int callbacks, deed_at, deed;            /* the deed is done in the callback with that number; 0: in each */
    bool destroyed;
} stage;

static void stage_submit(int use);

static void stage_deed(void)
{
    int i;
    stage.callbacks++;
    CHECK(stage.callbacks < 10000);
    if (stage.deed_at && stage.callbacks != stage.deed_at) return;
    switch (stage.deed) {
    case DO_CANCEL:
        for (i = 0; i < stage.count; i++) aiocosmos_cancel(stage.client, stage.tickets[i].op);
        break;
    case DO_SUBMIT:
        for (i = 0; i < 4; i++) stage_submit((stage.callbacks * 5 + i * 7) % (USES - 1) + 1);
        break;
    case DO_STEP:
        CHECK_INT(aiocosmos_step(stage.client, -1), AIOCOSMOS_E_REENTERED);
        CHECK(aiocosmos_drain(stage.client, 1000) < 0);
        break;
    case DO_CLOSE:
        for (i = 0; i < stage.count; i++) aiocosmos_cursor_close(stage.client, stage.tickets[i].query);
        break;
    case DO_DESTROY:
        aiocosmos_destroy(stage.client);
        stage.destroyed = true;
        break;
    default: break;
    }
}

static void stage_read(const aiocosmos_result *result)
{
    char line[4096];
    aiocosmos_attempt attempt;
    uint32_t i;
    aiocosmos_json_at(aiocosmos_result_json(result), "/id");
    aiocosmos_result_header(result, "etag");
    aiocosmos_result_describe(result, line, sizeof line);
    for (i = 0; aiocosmos_result_attempt(result, i, &attempt); i++) continue;
}

static void stage_done(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    owed *ticket = user_data;
    CHECK(ticket->accepted);
    CHECK_INT(++ticket->calls, 1);
    CHECK_INT(result->op.id, ticket->op.id);
    stage_read(result);
    CHECK(client == stage.client);
    stage_deed();
    stage_read(result);
}

static void stage_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    owed *ticket = user_data;
    CHECK_INT(++ticket->calls, 1);
    (void)client;
    stage_read(page->result);
    stage_deed();
    stage_read(page->result);
    aiocosmos_json_count(page->items);
    aiocosmos_cursor_close(stage.client, ticket->query);
}

static void stage_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client; (void)user_data;
    stage_read(result);
    stage_deed();
}

static aiocosmos_pull stage_pull(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    owed *ticket = user_data;
    (void)client;
    if (stage.deed != DO_DESTROY && stage.deed != DO_STEP) stage_deed();       /* a hook: it may do less */
    if (ticket->pulls == 4) return AIOCOSMOS_PULL_END;
    if (++ticket->pulls == 2) return AIOCOSMOS_PULL_ITEM;                      /* one that is refused */
    item->pk = aiocosmos_pk1(aiocosmos_s("p"));
    item->body.ptr = "{\"id\":\"a\",\"pk\":\"p\"}";
    item->body.len = strlen(item->body.ptr);
    return AIOCOSMOS_PULL_ITEM;
}

static void stage_item(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    (void)client; (void)item_data;
    ((owed *)user_data)->items++;
    stage_read(result);
    stage_deed();
    stage_read(result);
}

static void stage_bulk(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                       void *user_data)
{
    owed *ticket = user_data;
    (void)client;
    CHECK_INT(++ticket->calls, 1);
    CHECK_INT(ticket->items, ticket->pulls);
    CHECK_INT(totals->succeeded + totals->failed, (unsigned)ticket->items);
    stage_read(result);
    stage_deed();
}

static void stage_submit(int use)
{
    owed *ticket = &stage.tickets[stage.count];
    aiocosmos_bulk_request bulk;
    aiocosmos_query_request query;
    if (stage.count == TICKETS) return;
    memset(ticket, 0, sizeof *ticket);
    ticket->use = use;
    if (use < USE_QUERY) {
        aiocosmos_request request = of_kind(use);
        request.order_key = (uint64_t)(stage.count % 3);
        request.done = stage_done;
        request.user_data = ticket;
        ticket->accepted = aiocosmos_submit(stage.client, &request, &ticket->op) == 0;
    } else if (use >= USE_BULK) {
        memset(&bulk, 0, sizeof bulk);
        bulk.container = "c";
        bulk.concurrency_max = 2;
        bulk.next = stage_pull;
        bulk.item_done = stage_item;
        bulk.done = stage_bulk;
        bulk.user_data = ticket;
        ticket->accepted = aiocosmos_bulk(stage.client, &bulk, &ticket->op) == 0;
    } else {
        memset(&query, 0, sizeof query);
        query.container = "c";
        ticket->accepted = aiocosmos_query_open(stage.client, &query, &ticket->query) == 0 &&
                           aiocosmos_cursor_next(stage.client, ticket->query, stage_page, ticket) == 0;
        if (!ticket->accepted) aiocosmos_cursor_close(stage.client, ticket->query);
    }
    stage.count++;
}

/* Plays with one deed at one moment. Returns how many callbacks there were. */
static int stage_play(aiocosmos_options options, int deed, int deed_at)
{
    static const int uses[] = { AIOCOSMOS_READ_ITEM, AIOCOSMOS_CREATE_ITEM, USE_QUERY, USE_BULK,
        AIOCOSMOS_READ_ACCOUNT, AIOCOSMOS_READ_ITEM };
    size_t i;
    int status = 0, k;
    memset(&stage, 0, sizeof stage);
    stage.deed = deed;
    stage.deed_at = deed_at;
    options.on_failure = stage_failure;
    stage.client = open_client(&options);
    for (i = 0; i < sizeof uses / sizeof *uses; i++) stage_submit(uses[i]);
    while (status >= 0 && aiocosmos_pending(stage.client)) status = aiocosmos_step(stage.client, 1000);
    CHECK_INT(status < 0 ? status : 0, stage.destroyed ? AIOCOSMOS_E_DESTROYED : 0);
    if (!stage.destroyed) aiocosmos_destroy(stage.client);
    for (k = 0; k < stage.count; k++) CHECK_INT(stage.tickets[k].calls, stage.tickets[k].accepted);
    nothing_is_left();
    return stage.callbacks;
}

static void answer_badly_now_and_then(peer *link)
{
    static const int statuses[] = { 200, 429, 404, 503, 200, 409 };
    int status = statuses[(remote.requests + heard(link, "/docs")) % 6];
    if (remote.requests % 7 == 6) world_reset(link);
    else reply(link, status, "x-ms-session-token: 0:1#5\r\nx-ms-retry-after-ms: 10\r\n", fitting_body(link));
}

/* With each of these servers and limits, each deed in each callback. */
static void stage_everything(void (*server)(peer *link), aiocosmos_options options)
{
    int deed, at;
    for (deed = 0; deed < DEEDS; deed++) {
        for (at = 0; ; at++) {
            net_begin(server);
            options.platform = &shaky.platform;
            if (stage_play(options, deed, at) < at || at > 60 || deed == DO_NOTHING) break;
        }
    }
}

TEST(callbacks_may_do_everything_at_every_moment)
{
    aiocosmos_options options = usual_options();
    stage_everything(answer_well, options);
    stage_everything(answer_badly_now_and_then, options);
    stage_everything(reset, options);
    options.step_budget_us = 1;
    options.connections_max = 1;
    stage_everything(answer_badly_now_and_then, options);
    options.pending_max = 3;
    stage_everything(answer_well, options);
}

TEST(with_one_pending_operation_at_a_time_everything_still_ends)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    answer got;
    int use;
    options.pending_max = 1;
    options.connections_max = 1;
    net_begin(answer_well);
    client = open_client(&options);
    for (use = 1; use < USES; use++) CHECK_INT(ask(client, use, &got), 0);
    close_client(client);
    stage_everything(answer_badly_now_and_then, options);
}

/*--- A system that fails --------------------------------------------------------------------------*/

/* Some of everything, at once; then, with the system well again, everything works. */
static void survives(const aiocosmos_options *options)
{
    aiocosmos_client *client = NULL;
    answer all[USES], got;
    char why[128];
    int use, status = aiocosmos_create(options, &client, why, sizeof why);
    if (status != 0) {
        CHECK(client == NULL && why[0] != 0);
        nothing_is_left();
        return;
    }
    for (use = 1; use < USES; use++) {
        status = begin(client, use, &all[use]);
        CHECK(status == 0 || status == AIOCOSMOS_E_NOMEM || status == AIOCOSMOS_E_FULL ||
            status == AIOCOSMOS_E_ARGUMENT);
        if (status != 0) all[use].calls = 1;
    }
    drain(client);
    for (use = 1; use < USES; use++) CHECK_INT(all[use].calls, 1);
    heap.fail_from = heap.fail_to = 0;
    shaky_recover();
    net.receive_max = net.send_max = 0;
    net.now_us += 60000000;
    for (use = 1; use < USES; use++)
        if (ask(client, use, &got) != 0) CHECK_STR(got.message, "success");
    limits_held(client, options);
    close_client(client);
}

static void answer_with_a_token(peer *link) { reply(link, 200, "x-ms-session-token: 0:1#5\r\n", fitting_body(link)); }

static void answer_with_chunks_and_a_token(peer *link)
{
    const char *body = fitting_body(link);
    say(link, HEAD "x-ms-session-token: 0:1#5\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%.10s\r\n", (size_t)10, body);
    say(link, "%zx\r\n%s\r\n0\r\n\r\n", strlen(body) - 10, body + 10);
}

TEST(every_call_to_the_system_may_fail_once_or_from_then_on)
{
    aiocosmos_options options = usual_options();
    unsigned long n, last;
    int call, error, on;
    options.connections_max = 3;
    for (call = 0; call < CALLS; call++) {
        for (error = 0; error < 5; error++) {
            if (call == CALL_OPEN && shaky_errors[error] == AIOCOSMOS_IO_AGAIN) continue; /* would be a socket */
            for (on = 0; on < 2; on++) {
                for (n = 1, last = 1; n <= last && n < 40; n += 1 + n / 4) {
                    net_begin(answer_with_a_token);
                    net_is_slow(10);
                    net.tick_us = 2000;
                    shaky_fail(call, n, on, shaky_errors[error]);
                    survives(&options);
                    last = shaky.calls[call];
                }
            }
        }
    }
}

TEST(every_allocation_may_fail_once_or_from_then_on)
{
    aiocosmos_options options = usual_options();
    unsigned long n, last;
    int on, drip;
    options.connections_max = 3;
    for (on = 0; on < 2; on++) {
        for (drip = 0; drip < 2; drip++) {
            for (n = 1, last = 1; n <= last; n += 1) {
                net_begin(drip ? answer_with_chunks_and_a_token : answer_with_a_token);
                net.receive_max = drip ? 7 : 0;
                heap.fail_from = n;
                heap.fail_to = on ? ~0ul : n;
                survives(&options);
                last = heap.calls;
                if (on && n > 40) n += 7;
            }
        }
    }
}

TEST(storms_of_again_short_writes_and_spurious_readiness_are_weathered)
{
    aiocosmos_options options = usual_options();
    size_t i;
    for (i = 0; i < 4; i++) {
        net_begin(i % 2 ? answer_with_chunks_and_a_token : answer_with_a_token);
        net.spurious = 1 + (unsigned)i;
        net.send_max = 1;
        net.receive_max = i < 2 ? 1 : 100;
        net_is_slow(30);
        options.step_budget_us = i % 2 ? 1 : 0;
        survives(&options);
    }
}

TEST(with_little_memory_operations_fail_and_the_limit_holds)
{
    aiocosmos_options options = usual_options();
    size_t max;
    for (max = 1; max < (1u << 20); max += 1 + max / 9) {
        aiocosmos_client *client = NULL;
        char why[128];
        answer all[USES];
        int use;
        net_begin(answer_with_chunks_and_a_token);
        net.receive_max = 50;
        options.memory_max = max;
        options.pending_max = 20;
        if (aiocosmos_create(&options, &client, why, sizeof why) != 0) {
            nothing_is_left();
            continue;
        }
        for (use = 1; use < USES; use++) if (begin(client, use, &all[use]) != 0) all[use].calls = 1;
        drain(client);
        for (use = 1; use < USES; use++) CHECK_INT(all[use].calls, 1);
        limits_held(client, &options);
        close_client(client);
    }
    options.memory_max = 0;
    CHECK(max > 0);
}

static void trickle_for_ever(peer *link)
{
    say_text(link, CHUNKED "30000000\r\n");
    link->endless = 1000000000;
    link->endless_byte = 'x';
}

/* However little a step may do, and however much comes in, deadlines hold and everybody has a turn. */
TEST(the_smallest_of_budgets_starves_nobody)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    answer all[USES], got;
    int use, i;
    options.step_budget_us = 1;
    options.response_bytes_max = 1000000000;
    net_begin(trickle_for_ever);
    net.receive_max = 1;
    net.tick_us = 100;
    client = open_client(&options);
    for (use = 1; use < USES; use++) CHECK_INT(begin(client, use, &all[use]), 0);
    for (i = 0; i < 1000000 && aiocosmos_pending(client); i++) CHECK(aiocosmos_step(client, 0) >= 0);
    for (use = 1; use < USES; use++) CHECK_INT(all[use].calls, 1);
    for (use = 1; use < USES; use++)
        CHECK(all[use].at_us < (use == USE_BULK ? 75000000u : 60000000u));     /* ranges: 15 s */
    CHECK_INT(all[AIOCOSMOS_READ_ITEM].status, AIOCOSMOS_E_TIMEOUT);
    remote.answer = answer_well;
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    close_client(client);
}

/* What comes in on one connection may take each step's budget: operations that begin, end or are called off, pages and
 * bulks have a turn all the same. */
TEST(an_answer_without_end_keeps_no_other_work_waiting)
{
    enum { STEPS_MAX = 1000 };
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    answer endless, cancelled, all[USES];
    aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
    aiocosmos_op op;
    int use, steps = 0;
    options.step_budget_us = 1;
    options.response_bytes_max = 1000000000;
    options.request_timeout_ms = PATIENCE_MS;
    net_begin(trickle_for_ever);
    net.receive_max = 200;
    net.tick_us = 1;
    client = open_client(&options);
    CHECK_INT(begin(client, AIOCOSMOS_READ_ITEM, &endless), 0);
    while (net.received < 2000) CHECK(aiocosmos_step(client, 0) >= 0);
    remote.answer = answer_well;
    memset(&cancelled, 0, sizeof cancelled);
    request.done = on_done;
    request.user_data = &cancelled;
    CHECK_INT(aiocosmos_submit(client, &request, &op), 0);
    CHECK(aiocosmos_cancel(client, op));
    for (use = 1; use < USES; use++) CHECK_INT(begin(client, use, &all[use]), 0);
    while (aiocosmos_pending(client) > 1 && steps++ < STEPS_MAX) CHECK(aiocosmos_step(client, 0) >= 0);
    CHECK_INT(cancelled.status, AIOCOSMOS_E_CANCELLED);
    for (use = 1; use < USES; use++) CHECK_INT(all[use].calls, 1);
    CHECK_INT(endless.calls, 0);
    close_client(client);
}

/* What the last step has left over, and what has come since: all in one budget. */
TEST(a_step_has_one_budget)
{
    enum { COUNT = 300, BUDGET_US = 70, PIECE_US = 10 };
    static answer all[COUNT];
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    uint64_t began_us, longest_us = 0;
    int i;
    options.step_budget_us = BUDGET_US;
    options.connections_max = 100;
    net_begin(NULL);
    client = open_client(&options);
    for (i = 0; i < COUNT; i++) CHECK_INT(begin(client, AIOCOSMOS_READ_ITEM, &all[i]), 0);
    while (aiocosmos_next_timeout_ms(client) == 0) CHECK(aiocosmos_step(client, 0) >= 0);
    remote.answer = answer_well;                /* to 100 at once, and the others wait */
    while (aiocosmos_pending(client)) {
        began_us = net.now_us;
        CHECK(aiocosmos_step(client, 0) >= 0);
        if (net.now_us - began_us > longest_us) longest_us = net.now_us - began_us;
    }
    for (i = 0; i < COUNT; i++) CHECK_INT(all[i].status, 0);
    CHECK(longest_us >= BUDGET_US / 4 * 3);
    CHECK(longest_us <= BUDGET_US / 4 * 3 + PIECE_US);     /* the pieces that are begun before take the rest */
    close_client(client);
}

TEST(clocks_may_jump)
{
    static const int64_t walls[] = { 0, -1, INT64_C(-62135596800000), INT64_C(253402300800000),
        INT64_C(9000000000000000) };
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    answer got[USES];
    size_t i;
    int use;
    for (i = 0; i < sizeof walls / sizeof *walls; i++) {
        net_begin(answer_with_a_token);
        client = open_client(&options);
        net.wall_ms = walls[i];
        for (use = 1; use < USES; use++) CHECK_INT(begin(client, use, &got[use]), 0);
        aiocosmos_step(client, 0);
        net.now_us += UINT64_C(86400) * 1000000 * 365;       /* asleep for a year */
        drain(client);
        for (use = 1; use < USES; use++) CHECK_INT(got[use].calls, 1);
        net.now_us -= UINT64_C(86400) * 1000000 * 300;       /* back, which no monotonic clock should do */
        for (use = 1; use < USES; use++) CHECK_INT(begin(client, use, &got[use]), 0);
        for (use = 0; use < 1000 && aiocosmos_pending(client); use++) aiocosmos_step(client, 0);
        CHECK_INT(aiocosmos_pending(client), 0);
        close_client(client);
    }
}

/*--- Pages that never come to anything -------------------------------------------------------------*/

static const char *empty_page = "{\"Documents\":[],\"_count\":0}";

/* skip_empty goes over empty pages by itself, but not for ever: all of them have the time of one page. */
TEST(empty_pages_without_end_do_not_keep_a_page_owed_for_ever)
{
    aiocosmos_query_request request;
    aiocosmos_client *client;
    uint64_t end_us;
    answer got;
    int round;
    net_begin(answer_as_said);
    net.tick_us = 700;
    client = open_usual();
    said_status = 200;
    said_body = empty_page;
    line_of("x-ms-continuation", "more", "", 0, "");
    memset(&request, 0, sizeof request);
    memset(&got, 0, sizeof got);
    request.container = "c";
    request.skip_empty = true;
    CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
    end_us = net.now_us + AIOCOSMOS_DEFAULT_REQUEST_TIMEOUT_MS * UINT64_C(1000);
    CHECK_INT(aiocosmos_cursor_next(client, got.query, on_page, &got), 0);
    for (round = 0; round < 100000 && got.calls == 0; round++) aiocosmos_step(client, 1000);
    CHECK_INT(got.calls, 1);
    CHECK(net.now_us >= end_us && net.now_us < end_us + 20 * 700);
    said_lines = said_body = "";
    close_client(client);
}

static struct shelf { aiocosmos_cursor query; aiocosmos_op op; answer other; int failures; } shelf;

static void close_query_and_submit(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_request request = of_kind(AIOCOSMOS_READ_ACCOUNT);
    (void)result; (void)user_data;
    if (shelf.failures++ > 0) return;
    request.done = on_done;
    request.user_data = &shelf.other;
    CHECK_INT(aiocosmos_submit(client, &request, &shelf.op), 0);
    aiocosmos_cursor_close(client, shelf.query);
}

static void on_any_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    answer *kept = user_data;
    kept->calls++;
    keep(client, kept, page->result);
    kept->items = page->item_count;
    kept->more = page->more;
}

/* on_failure is called while the page's operation is over and the page still owed. */
TEST(a_query_that_is_closed_as_its_page_fails_takes_nothing_else_with_it)
{
    aiocosmos_options options = usual_options();
    aiocosmos_query_request request;
    aiocosmos_client *client;
    answer got;
    memset(&shelf, 0, sizeof shelf);
    memset(&request, 0, sizeof request);
    memset(&got, 0, sizeof got);
    net_begin(answer_as_said);
    said_status = 400;
    options.on_failure = close_query_and_submit;
    client = open_client(&options);
    request.container = "c";
    CHECK_INT(aiocosmos_query_open(client, &request, &shelf.query), 0);
    CHECK_INT(aiocosmos_cursor_next(client, shelf.query, on_any_page, &got), 0);
    drain(client);
    CHECK_INT(got.calls, 1);
    CHECK_INT(shelf.other.calls, 1);
    CHECK_INT(shelf.other.status, 400);
    close_client(client);
}

static void count_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client; (void)user_data;
    CHECK(result->status != 0);
    shelf.failures++;
}

TEST(on_failure_sees_pages_that_are_none)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    answer got;
    memset(&shelf, 0, sizeof shelf);
    net_begin(answer_as_said);
    said_status = 200;
    said_body = "{\"Documents\":";
    options.on_failure = count_failure;
    client = open_client(&options);
    CHECK_INT(ask(client, USE_QUERY, &got), AIOCOSMOS_E_PROTOCOL);
    CHECK_INT(shelf.failures, 1);
    said_body = "";
    close_client(client);
}

/* Three pages; the first continuation is longer than the others. */
static void answer_with_three_pages(peer *link)
{
    static char said[9000];
    bool last = heard(link, "x-ms-continuation: b");
    memset(said, 0, sizeof said);
    if (!heard(link, "x-ms-continuation: ")) sprintf(said, "x-ms-continuation: a%s\r\n", "");
    else if (!last) sprintf(said, "x-ms-continuation: b%07999d\r\n", 0);
    reply(link, 200, said,
        last ? "{\"Documents\":[3]}" : strlen(said) > 100 ? "{\"Documents\":[2,2]}" : "{\"Documents\":[1]}");
}

/* A page that fails is asked for again, and only that one: wherever memory runs out, nothing comes twice or is lost. */
static void query_without_memory(aiocosmos_client *client, unsigned long nth)
{
    aiocosmos_query_request request;
    answer got;
    size_t items = 0;
    int rounds = 0;
    memset(&request, 0, sizeof request);
    memset(&got, 0, sizeof got);
    request.container = "c";
    CHECK_INT(aiocosmos_query_open(client, &request, &got.query), 0);
    heap.fail_from = heap.fail_to = heap.calls + nth;
    do {
        int calls = got.calls;
        CHECK(rounds++ < 10);
        if (aiocosmos_cursor_next(client, got.query, on_any_page, &got) != 0) continue;
        drain(client);
        CHECK_INT(got.calls, calls + 1);
        CHECK(got.status == 0 || got.status == AIOCOSMOS_E_NOMEM);
        if (got.status == 0) items += got.items;
    } while (got.calls == 0 || got.status != 0 || got.more);
    CHECK_INT(items, 4);
    aiocosmos_cursor_close(client, got.query);
}

TEST(a_query_that_runs_out_of_memory_goes_on_where_it_was)
{
    unsigned long n = 0;
    bool failed;
    do {
        aiocosmos_client *client;
        net_begin(answer_with_three_pages);
        client = open_usual();
        query_without_memory(client, ++n);
        failed = heap.calls >= heap.fail_from;
        close_client(client);
    } while (failed);
    CHECK(n > 5);
}

/*--- Hosts without manners ---------------------------------------------------------------------*/

static int token_mood, tokens_asked;

static void give_token(aiocosmos_client *client, const char *resource_link, const char *claims, void *user_data)
{
    (void)user_data;
    CHECK(claims == NULL);
    CHECK(++tokens_asked < 1000);
    switch (token_mood) {
    case 0: aiocosmos_set_token(client, "dbs/other", "type=resource&ver=1.0&sig=abc", 0); break;     /* another */
    case 1: aiocosmos_set_token(client, resource_link, NULL, 0); break;
    case 2: aiocosmos_set_token(client, resource_link, "", 0); break;
    case 3: break;
    case 4: aiocosmos_set_token(client, "", "type=resource&ver=1.0&sig=abc", 1); break;
    case 5: CHECK_INT(aiocosmos_step(client, 0), AIOCOSMOS_E_REENTERED); break;
    default: aiocosmos_set_token(client, resource_link, "type=resource&ver=1.0&sig=abc", 0); break;
    }
}

/* Answers of the host that are no answers, and servers that take no token. */
TEST(token_callbacks_without_a_token_end_every_operation)
{
    aiocosmos_client *client;
    answer got;
    int use;
    for (token_mood = 0; token_mood < 7; token_mood++) {
        aiocosmos_options options = usual_options();
        options.key = NULL;
        options.token_fn = give_token;
        net_begin(answer_as_said);
        said_status = 401;
        client = open_client(&options);
        for (use = 1; use < USES; use++) {
            int status;
            tokens_asked = 0;
            status = ask(client, use, &got);
            CHECK(status == 401 || status == AIOCOSMOS_E_AUTH || status == AIOCOSMOS_E_TIMEOUT);
        }
        close_client(client);
    }
}

/* A host that is asked for tokens, and answers at once if it wants to. */
typedef struct purse {
    int asked, with_claims;
    bool silent, denies;
    uint32_t lifetime_s;
    uint64_t asked_us;
    const char *link;                        /* answered with this one, or with that which was asked for */
    char last_link[64], claims[64];
} purse;

static void ask_purse(aiocosmos_client *client, const char *resource_link, const char *claims, void *user_data)
{
    purse *p = user_data;
    p->asked++;
    p->asked_us = net.now_us;
    p->with_claims += claims != NULL;
    sprintf(p->last_link, "%.60s", resource_link);
    if (!p->silent) CHECK_INT(aiocosmos_set_token(client, p->link ? p->link : resource_link, p->denies ? NULL : "a.b.c",
                                                  p->lifetime_s), 0);
    CHECK(strncmp(resource_link, p->last_link, 60) == 0);  /* lent until here, even if it was answered */
    if (claims) sprintf(p->claims, "%.60s", claims);
}

static aiocosmos_client *open_with_purse(purse *p)
{
    aiocosmos_options options = usual_options();
    options.key = NULL;
    options.token_fn = ask_purse;
    options.token_user_data = p;
    options.no_session = true;
    return open_client(&options);
}

static void let_pass(aiocosmos_client *client, unsigned seconds)
{
    uint64_t until_us = net.now_us + seconds * UINT64_C(1000000);
    aiocosmos_step(client, 0);
    if (net.now_us < until_us) net.now_us = until_us;
}

/* The operations of the last fifth of a token's lifetime do not wait, whether an answer comes soon, late or never. */
TEST(a_token_is_renewed_ahead_of_its_end_while_operations_go_on)
{
    aiocosmos_client *client;
    purse p;
    answer got;
    int second;
    net_begin(answer_well);
    memset(&p, 0, sizeof p);
    p.lifetime_s = 100;
    p.link = "";
    client = open_with_purse(&p);
    for (second = 0; second < 79; second++, let_pass(client, 1))
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    CHECK_INT(p.asked, 1);
    CHECK_STR(p.last_link, "dbs/db/colls/c");
    p.silent = true;
    for (; second < 92; second++, let_pass(client, 1)) CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    CHECK(p.asked >= 3 && p.asked <= 4);
    CHECK_STR(p.last_link, "");
    p.silent = false;
    p.denies = true;                         /* which takes nothing away that it did not ask for */
    for (; second < 99; second++, let_pass(client, 1)) CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    p.denies = false;
    for (; second < 300; second++, let_pass(client, 1)) CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    CHECK(p.asked >= 6 && p.asked <= 9);
    let_pass(client, 1000);                  /* nobody needs one meanwhile */
    second = p.asked;
    let_pass(client, 1);
    CHECK_INT(p.asked, second);
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    CHECK_INT(p.asked, second + 1);
    close_client(client);
}

TEST(a_question_for_a_token_that_the_host_lost_is_repeated)
{
    aiocosmos_client *client;
    purse p;
    answer got[4];
    int i;
    net_begin(answer_well);
    memset(&p, 0, sizeof p);
    p.silent = true;
    client = open_with_purse(&p);
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got[0]), AIOCOSMOS_E_TIMEOUT);
    CHECK(p.asked >= 5 && p.asked <= 6);     /* in 30 s */
    p.asked = 0;
    for (i = 0; i < 4; i++) CHECK_INT(begin(client, AIOCOSMOS_READ_ITEM, &got[i]), 0);
    CHECK_INT(aiocosmos_drain(client, 4000), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(p.asked, 1);                   /* for all of them */
    p.silent = false;
    drain(client);
    for (i = 0; i < 4; i++) CHECK_INT(got[i].status, 0);
    CHECK_INT(p.asked, 2);
    CHECK(aiocosmos_next_timeout_ms(client) < 0 || aiocosmos_next_timeout_ms(client) > 5000);
    close_client(client);
}

TEST(a_host_that_has_no_token_is_asked_again_after_seconds)
{
    aiocosmos_client *client;
    purse p;
    answer got;
    net_begin(answer_well);
    memset(&p, 0, sizeof p);
    p.denies = true;
    client = open_with_purse(&p);
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), AIOCOSMOS_E_AUTH);
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), AIOCOSMOS_E_AUTH);
    CHECK_INT(p.asked, 1);
    p.denies = false;
    let_pass(client, 5);
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    CHECK_INT(p.asked, 2);
    close_client(client);
}

static peer *held[2];

static void hold_reads(peer *link) { held[held[0] != NULL] = link; }

static void cancel_other(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    CHECK_INT(result->status, 0);
    CHECK(aiocosmos_cancel(client, *(const aiocosmos_op *)user_data));
}

/* Nobody else is sent off with it, even if who hears so is cancelled and does not go again. */
TEST(a_token_that_is_refused_is_asked_for_anew_whoever_hears_of_it)
{
    aiocosmos_request first = of_kind(AIOCOSMOS_READ_ITEM), second = first;
    aiocosmos_client *client;
    aiocosmos_op op;
    purse p;
    answer got;
    net_begin(hold_reads);
    memset(&p, 0, sizeof p);
    memset(held, 0, sizeof held);
    memset(&got, 0, sizeof got);
    client = open_with_purse(&p);
    first.done = cancel_other;
    first.user_data = &op;
    second.done = on_done;
    second.user_data = &got;
    CHECK_INT(aiocosmos_submit(client, &first, NULL), 0);
    while (!held[0]) CHECK(aiocosmos_step(client, 100) >= 0);
    CHECK_INT(aiocosmos_submit(client, &second, &op), 0);
    while (!held[1]) CHECK(aiocosmos_step(client, 100) >= 0);
    reply(held[0], 200, "x-ms-activity-id: a\r\n", "{}");
    reply(held[1], 401, "x-ms-activity-id: a\r\n", "{}");
    remote.answer = answer_well;
    drain(client);
    CHECK(got.status == AIOCOSMOS_E_CANCELLED && got.http_status == 401);
    CHECK_INT(p.asked, 1);
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    CHECK_INT(p.asked, 2);
    close_client(client);
}

static void read_of_container(aiocosmos_client *client, unsigned number)
{
    aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
    answer got;
    char name[16];
    sprintf(name, "c%u", number);
    memset(&got, 0, sizeof got);
    request.container = name;
    request.done = on_done;
    request.user_data = &got;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    drain(client);
    CHECK_INT(got.status, 0);
}

/* 0: all is well. 1: a challenge. 2: a refusal without one. 3: one whose claims are no JSON, with a line break. */
static int challenge;

static void answer_with_a_challenge(peer *link)
{
    if (challenge == 0) answer_well(link);
    else reply(link, 401, challenge == 2 ? "" : challenge == 3 ?
               "WWW-Authenticate: Bearer claims=\"eyJhIjoiDQpYLUV2aWw6IHllcyJ9\"\r\n" :
               "WWW-Authenticate: Bearer error=\"insufficient_claims\", "
               "claims=\"eyJhY2Nlc3NfdG9rZW4iOnt9fQ==\"\r\n", "{}");
    challenge = 0;
}

TEST(the_claims_of_a_challenge_reach_whoever_is_asked_for_the_next_token)
{
    aiocosmos_client *client;
    purse p;
    answer got, other;
    net_begin(answer_with_a_challenge);
    memset(&p, 0, sizeof p);
    challenge = 0;
    client = open_with_purse(&p);
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    challenge = 2;
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    CHECK_INT(p.asked, 2);
    challenge = 3;
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    CHECK_INT(p.asked, 3);
    CHECK_INT(p.with_claims, 0);
    challenge = 1;
    p.silent = true;
    CHECK_INT(begin(client, AIOCOSMOS_READ_ITEM, &got), 0);
    CHECK_INT(aiocosmos_drain(client, 100), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(begin(client, AIOCOSMOS_CREATE_ITEM, &other), 0);
    CHECK_INT(aiocosmos_drain(client, 100), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(p.asked, 4);
    CHECK_INT(p.with_claims, 1);
    CHECK_STR(p.claims, "{\"access_token\":{}}");
    CHECK_INT(aiocosmos_drain(client, 6000), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(p.with_claims, 2);             /* until they are met */
    p.silent = false;
    drain(client);
    CHECK(got.status == 0 && other.status == 0);
    CHECK_INT(got.attempts, 2);
    read_of_container(client, 1);
    CHECK_INT(p.asked, p.with_claims + 4);   /* and no longer */
    close_client(client);
}

/* A token for each container: those of as many as are kept are asked for once, those of more in turn. */
TEST(hosts_give_tokens_for_hundreds_of_containers)
{
    aiocosmos_client *client;
    uint32_t lifetime_s;
    for (lifetime_s = 0; lifetime_s <= 36000; lifetime_s += 36000) {
        unsigned i;
        purse p;
        net_begin(answer_well);
        memset(&p, 0, sizeof p);
        p.lifetime_s = lifetime_s;
        client = open_with_purse(&p);
        for (i = 0; i < 2 * 320; i++) read_of_container(client, i % 320);
        CHECK_INT(p.asked, 320);
        for (i = 0; i < 700; i++) read_of_container(client, i);
        CHECK_INT(p.asked, 320 + 380);
        close_client(client);
    }
}

/*--- What is told of attempts ---------------------------------------------------------------------*/

static char told[512], traced[4][512];
static int traced_count;

static void keep_trace(int level, const char *message, uint64_t op_id, void *user_data)
{
    (void)user_data;
    if (level != 4) return;
    CHECK(op_id != 0 && traced_count < 4);
    sprintf(traced[traced_count++], "%.500s", message);
}

static void describe_it(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client; (void)user_data;
    aiocosmos_result_describe(result, told, sizeof told);
}

static void submit_to_be_told(aiocosmos_client *client, int kind, uint32_t timeout_ms)
{
    aiocosmos_request request = of_kind(kind);
    traced_count = 0;
    request.timeout_ms = timeout_ms;
    request.done = describe_it;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    drain(client);
}

static const char *answer_lines;
static int answer_status;
static void answer_with_lines(peer *link) { reply(link, answer_status, answer_lines, "{}"); }

static int times_in(const char *text, const char *what)
{
    int count = 0;
    for (; (text = strstr(text, what)) != NULL; text++) count++;
    return count;
}

TEST(a_description_says_nothing_twice_and_nothing_empty)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    net_begin(answer_with_lines);
    options.no_session = true;
    client = open_client(&options);
    answer_status = 404;
    answer_lines = "x-ms-activity-id: theirs\r\nx-ms-request-charge: 1.25\r\n";
    submit_to_be_told(client, AIOCOSMOS_READ_ITEM, 0);
    CHECK(strncmp(told, "status 404 Not Found", 20) == 0);
    CHECK_INT(times_in(told, "404"), 1);
    CHECK_INT(times_in(told, "Not Found"), 1);
    CHECK_INT(times_in(told, "1.25 RU"), 1);
    CHECK_INT(times_in(told, ", activity theirs"), 1);
    answer_status = 201;
    submit_to_be_told(client, AIOCOSMOS_CREATE_ITEM, 0);
    CHECK(strncmp(told, "status 0: ", 10) == 0);
    CHECK_INT(times_in(told, "http 201/0"), 1);
    CHECK_INT(times_in(told, "201"), 1);
    CHECK_INT(times_in(told, "tcp"), 0);     /* of a connection that was there */
    remote.answer = NULL;
    submit_to_be_told(client, AIOCOSMOS_READ_ITEM, 0);
    CHECK(strncmp(told, "status -6: timed out", 20) == 0);
    CHECK_INT(times_in(told, "http"), 0);
    CHECK_INT(times_in(told, "not sent"), 0);     /* it was, and a read has no fate */
    shaky_fail(CALL_OPEN, 1, true, AIOCOSMOS_IO_REFUSED);
    close_client(client);
    client = open_client(&options);
    submit_to_be_told(client, AIOCOSMOS_READ_ITEM, 0);
    CHECK(strncmp(told, "status -8: ", 11) == 0);
    CHECK_INT(times_in(told, "activity"), 0);
    CHECK_INT(times_in(told, "not sent"), 0);
    submit_to_be_told(client, AIOCOSMOS_CREATE_ITEM, 0);
    CHECK_INT(times_in(told, ", not sent"), 1);
    close_client(client);
}

TEST(a_trace_has_a_line_for_each_attempt)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    int level;
    for (level = 3; level <= 4; level++) {
        net_begin(answer_with_lines);
        options.no_session = true;
        options.retries_max = 1;
        options.logger.fn = keep_trace;
        options.logger.level_max = level;
        client = open_client(&options);
        answer_status = 429;
        answer_lines = "x-ms-activity-id: theirs\r\nx-ms-substatus: 3200\r\nx-ms-request-charge: 0.38\r\n";
        submit_to_be_told(client, AIOCOSMOS_READ_ITEM, 0);
        CHECK_INT(traced_count, level == 4 ? 2 : 0);
        if (level == 4) {
            CHECK(strncmp(traced[0], "attempt 1: GET 429/3200, ", 25) == 0);
            CHECK(strncmp(traced[1], "attempt 2: GET 429/3200, ", 25) == 0);
            CHECK(strstr(traced[1], " us, 0.38 RU, dbs/db/colls/c/docs/a") != NULL);
            remote.answer = answer_with_a_head;
            broken_head = "503 Busy\r\nx-ms-substatus: 21001";
            broken_by_size = false;
            submit_to_be_told(client, AIOCOSMOS_READ_ITEM, 0);
            CHECK(strncmp(traced[traced_count - 1], "attempt 2: GET -8/0 behind 503/21001, ", 38) == 0);
            remote.answer = NULL;
            submit_to_be_told(client, AIOCOSMOS_DELETE_ITEM, 1000);
            CHECK(strncmp(traced[traced_count - 1], "attempt 1: DELETE -6/0, ", 24) == 0);
        }
        close_client(client);
    }
}

static int names_asked, name_mood;

static void resolve_at_once(aiocosmos_client *client, const char *host, uint64_t question, void *user_data)
{
    static const aiocosmos_address here = { { 127, 0, 0, 1 }, 0, 1, 4 };
    static aiocosmos_address many[1000];
    (void)host; (void)user_data;
    CHECK(++names_asked < 1000);
    switch (name_mood) {
    case 0: CHECK_INT(aiocosmos_resolved(client, question, &here, 1, 60), 0); break;
    case 1: aiocosmos_resolved(client, question, NULL, 0, 0); break;
    case 2: aiocosmos_resolved(client, question, many, 1000, 0xFFFFFFFFu); break;     /* of no family */
    case 3: aiocosmos_resolved(client, question + 1, &here, 1, 60); break;
    case 4: break;
    default:
        CHECK_INT(aiocosmos_resolved(client, question, &here, 1, 0), 0);
        CHECK(aiocosmos_resolved(client, question, &here, 1, 0) < 0);
        CHECK_INT(aiocosmos_step(client, 0), AIOCOSMOS_E_REENTERED);
    }
}

TEST(name_callbacks_may_answer_at_once_wrongly_or_never)
{
    aiocosmos_client *client;
    answer got;
    int use;
    for (name_mood = 0; name_mood < 6; name_mood++) {
        aiocosmos_options options = usual_options();
        options.endpoint = "http://account.example.com/";
        options.allow_http = true;
        options.resolve_fn = resolve_at_once;
        net_begin(answer_well);
        client = open_client(&options);
        for (use = 1; use < USES; use++) {
            uint64_t from_us = net.now_us;
            bool of_ranges = use == USE_QUERY || use == USE_QUERY_OF_KEY || use == USE_BULK;
            int status;
            names_asked = 0;
            status = ask(client, use, &got);
            if (name_mood == 0 || name_mood == 5) CHECK_INT(status, 0);
            else if (name_mood != 2 && !(name_mood > 2 && of_ranges && status == AIOCOSMOS_E_TIMEOUT))
                CHECK_INT(status, AIOCOSMOS_E_DNS);
            /* A bulk takes its items, whose time begins then, when it has waited for the container's definition. */
            CHECK(net.now_us - from_us < (use == USE_BULK ? 61000000 : 31000000));
        }
        close_client(client);
    }
}

static struct run { aiocosmos_body taken, again; bool destroy; } run;

static void take_and_free(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)user_data;
    run.taken = aiocosmos_result_take_body(result);
    aiocosmos_body_free(&run.taken);
    if (run.destroy) aiocosmos_destroy(client);
}

/* The callback of a request that is run may take the body too, and may destroy the client. */
TEST(run_hands_over_a_body_that_its_callback_took_and_freed)
{
    aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
    aiocosmos_client *client;
    aiocosmos_body body;
    int drip;
    request.done = take_and_free;
    for (drip = 0; drip < 4; drip++) {
        net_begin(answer_well);
        net.receive_max = drip % 2 ? 5 : 0;
        client = open_usual();
        run.destroy = drip >= 2;
        if (run.destroy) {
            CHECK_INT(aiocosmos_run(client, &request, &body), AIOCOSMOS_E_DESTROYED);
            CHECK_TEXT(body.text.ptr, body.text.len, "{\"id\":\"a\",\"pk\":\"p\"}");
            aiocosmos_body_free(&body);
            nothing_is_left();
            continue;
        }
        CHECK_INT(aiocosmos_run(client, &request, &body), 0);
        CHECK_TEXT(body.text.ptr, body.text.len, "{\"id\":\"a\",\"pk\":\"p\"}");
        aiocosmos_body_free(&body);
        close_client(client);
    }
}

static aiocosmos_body kept[3];

static void keep_body(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_stats before, after;
    aiocosmos_get_stats(client, &before);
    *(aiocosmos_body *)user_data = aiocosmos_result_take_body(result);
    aiocosmos_get_stats(client, &after);
    CHECK(after.memory_used <= before.memory_used);        /* what is taken is not the client's any more */
}

/* A body needs nothing but itself: it is freed after its client, through the allocator that it came from, by its exact
 * size, which the allocator of these tests checks. */
TEST(a_body_that_was_taken_outlives_its_client)
{
    aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
    int drip, i;
    request.done = keep_body;
    for (drip = 0; drip < 2; drip++) {
        aiocosmos_client *client;
        net_begin(answer_well);
        net.receive_max = drip ? 5 : 0;
        client = open_usual();
        for (i = 0; i < 3; i++) {
            request.user_data = &kept[i];
            CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
        }
        aiocosmos_body_free(&kept[1]);
        aiocosmos_body_free(&kept[1]);
        CHECK(!kept[1].owner && !kept[1].text.ptr);
        aiocosmos_destroy(client);
        for (i = 0; i < 3; i += 2) {
            CHECK_TEXT(kept[i].text.ptr, kept[i].text.len, "{\"id\":\"a\",\"pk\":\"p\"}");
            aiocosmos_body_free(&kept[i]);
        }
        nothing_is_left();
    }
}

static int chained;

static void submit_and_cancel(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
    aiocosmos_op op;
    (void)user_data;
    if (result->status == AIOCOSMOS_E_SHUTDOWN || ++chained == 100000) return;
    request.done = submit_and_cancel;
    CHECK_INT(aiocosmos_submit(client, &request, &op), 0);
    aiocosmos_cancel(client, op);
}

/* Each callback asks for the next. The host keeps its share of the time: a step comes back. */
TEST(callbacks_that_lead_to_callbacks_do_not_keep_a_step_for_ever)
{
    aiocosmos_client *client;
    aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
    aiocosmos_op op;
    net_begin(answer_well);
    client = open_usual();
    chained = 0;
    request.done = submit_and_cancel;
    CHECK_INT(aiocosmos_submit(client, &request, &op), 0);
    aiocosmos_cancel(client, op);
    CHECK(aiocosmos_step(client, 0) > 0);
    CHECK(chained < 20000);
    CHECK(aiocosmos_step(client, 0) > 0);
    close_client(client);
}

/*--- Callers without measure -----------------------------------------------------------------------*/

static char *long_text(size_t len, char byte)
{
    char *text = malloc(len + 1);
    CHECK(text != NULL);
    memset(text, byte, len);
    text[len] = 0;
    return text;
}

static int submit_status(aiocosmos_client *client, aiocosmos_request request, answer *later)
{
    memset(later, 0, sizeof *later);
    request.done = on_done;
    request.user_data = later;
    return aiocosmos_submit(client, &request, NULL);
}

TEST(sizes_at_the_limits_are_taken_and_beyond_them_refused)
{
    static const size_t lengths[] = { 0, 1, 254, 255, 256, 1022, 1023, 1024, 100000, 3000000 };
    aiocosmos_client *client;
    aiocosmos_request request;
    answer got;
    size_t i;
    net_begin(answer_well);
    client = open_usual();
    for (i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t len = lengths[i];
        char *text = long_text(len, 'a'), *body = malloc(len + 100);
        request = of_kind(AIOCOSMOS_READ_ITEM);
        request.id = text;
        CHECK_INT(submit_status(client, request, &got), len > 0 && len <= 1023 ? 0 : AIOCOSMOS_E_ARGUMENT);
        request = of_kind(AIOCOSMOS_CREATE_ITEM);
        request.body.ptr = body;
        request.body.len = (size_t)sprintf(body, "{\"id\":\"%s\"}", text);
        CHECK_INT(submit_status(client, request, &got), len > 0 && len <= 1023 ? 0 : AIOCOSMOS_E_ARGUMENT);
        request = of_kind(AIOCOSMOS_READ_ITEM);
        request.container = text;
        CHECK_INT(submit_status(client, request, &got), len > 0 && len <= 255 ? 0 : AIOCOSMOS_E_ARGUMENT);
        request = of_kind(AIOCOSMOS_READ_ITEM);
        request.database = text;
        CHECK_INT(submit_status(client, request, &got), len > 0 && len <= 255 ? 0 : AIOCOSMOS_E_ARGUMENT);
        request = of_kind(AIOCOSMOS_READ_ITEM);
        request.if_none_match = aiocosmos_text(text);
        CHECK_INT(submit_status(client, request, &got), AIOCOSMOS_E_ARGUMENT);
        request = of_kind(AIOCOSMOS_READ_ITEM);
        request.session_token = aiocosmos_text(text);      /* len 0: there is none, as a result may have it */
        CHECK_INT(submit_status(client, request, &got), len > 0 ? AIOCOSMOS_E_ARGUMENT : 0);
        request = of_kind(AIOCOSMOS_CREATE_CONTAINER);
        request.partition_key_paths[0] = text;
        CHECK_INT(submit_status(client, request, &got), AIOCOSMOS_E_ARGUMENT);
        drain(client);
        free(text);
        free(body);
    }
    close_client(client);
}

TEST(partition_keys_of_2048_bytes_are_taken_and_longer_ones_refused)
{
    static const char *const chars[] = { "a", "\"", "\\", "\001", "\xC3\xA9", "\xF0\x9F\x98\x80" };
    aiocosmos_client *client;
    size_t i, len, k;
    net_begin(answer_with_a_token);
    client = open_usual();
    for (i = 0; i < sizeof chars / sizeof *chars; i++) {
        size_t unit = strlen(chars[i]);
        for (len = 2040; len < 2060; len++) {
            char *text = malloc(len + 1);
            aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
            answer got;
            int status;
            for (k = 0; k < len; k++) text[k] = chars[i][k % unit];
            request.pk = aiocosmos_pk1(aiocosmos_sn(text, len));
            status = submit_status(client, request, &got);
            CHECK_INT(status, len <= 2048 && len % unit == 0 ? 0 : AIOCOSMOS_E_ARGUMENT);
            request.pk = aiocosmos_pk3(aiocosmos_sn(text, len), aiocosmos_sn(text, len), aiocosmos_sn(text, len));
            submit_status(client, request, &got);
            drain(client);
            free(text);
        }
    }
    close_client(client);
}

TEST(bodies_of_many_megabytes_are_sent_or_refused_whole)
{
    static const size_t lengths[] = { 2u << 20, (2u << 20) + 1, 8u << 20, 20u << 20, 120u << 20 };
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    size_t i;
    options.memory_max = 64u << 20;
    net_begin(answer_well);
    client = open_client(&options);
    for (i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        aiocosmos_request request = of_kind(AIOCOSMOS_CREATE_ITEM);
        char *text = long_text(lengths[i], 'x');
        answer got;
        int status;
        memcpy(text, "{\"id\":\"a\",\"x\":\"", 15);
        memcpy(text + lengths[i] - 2, "\"}", 2);
        request.body.ptr = text;
        request.body.len = lengths[i];
        status = submit_status(client, request, &got);
        if (i < 4) CHECK_INT(status, 0);
        else CHECK(status == AIOCOSMOS_E_FULL || status == AIOCOSMOS_E_NOMEM || status == AIOCOSMOS_E_ARGUMENT);
        drain(client);
        if (i < 4) CHECK_INT(got.status, 0);
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
        free(text);
    }
    limits_held(client, &options);
    close_client(client);
}

TEST(queries_of_absurd_size_are_taken_or_refused)
{
    enum { PARAMS = 1000 };
    static aiocosmos_param params[PARAMS];
    static char names[PARAMS][16];
    static const size_t lengths[] = { 1, 256 * 1024, 256 * 1024 + 1, 5u << 20 };
    aiocosmos_client *client;
    size_t i;
    answer got;
    net_begin(answer_well);
    client = open_usual();
    for (i = 0; i < PARAMS; i++) {
        sprintf(names[i], "@p%zu", i);
        params[i].name = names[i];
        params[i].value = aiocosmos_i((int64_t)i);
    }
    for (i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        aiocosmos_query_request request;
        char *text = long_text(lengths[i], '\001');
        int status;
        memset(&request, 0, sizeof request);
        memset(&got, 0, sizeof got);
        request.container = "c";
        request.sql = text;
        request.params = params;
        request.param_count = PARAMS;
        status = aiocosmos_query_open(client, &request, &got.query);
        CHECK_INT(status, lengths[i] <= 256 * 1024 ? 0 : AIOCOSMOS_E_ARGUMENT);
        if (status == 0) CHECK_INT(aiocosmos_cursor_next(client, got.query, on_page, &got), 0);
        drain(client);
        CHECK_INT(got.status, 0);
        request.sql = "SELECT 1";
        request.continuation = aiocosmos_text(text);
        CHECK_INT(aiocosmos_query_open(client, &request, &got.query), AIOCOSMOS_E_ARGUMENT);
        free(text);
    }
    close_client(client);
}

TEST(lists_of_headers_are_sent_or_refused)
{
    enum { COUNT = 10000 };
    static const char *many[COUNT + 1];
    static const char *const bad[] = { "", ":", "a", ": b", "a b: c", "a: b\r\nc: d", "a: \001", "Host: x",
        "content-LENGTH: 5",
        "a: \xFF", "Authorization: x", "a\n: b" };
    const char *one[2] = { NULL, NULL };
    aiocosmos_client *client;
    aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
    answer got;
    size_t i;
    char *text = long_text(1u << 20, 'v');
    net_begin(answer_well);
    client = open_usual();
    memcpy(text, "name: ", 6);
    for (i = 0; i < COUNT; i++) many[i] = "x-some-header: some value";
    request.headers = many;
    CHECK_INT(submit_status(client, request, &got), 0);
    drain(client);
    CHECK_INT(got.status, 0);
    request.headers = one;
    one[0] = text;
    CHECK_INT(submit_status(client, request, &got), 0);
    drain(client);
    CHECK_INT(got.status, 0);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        one[0] = bad[i];
        CHECK_INT(submit_status(client, request, &got), AIOCOSMOS_E_ARGUMENT);
    }
    free(text);
    close_client(client);
}

/* What huge requests need while they are checked may not fill the client for good, whether they are taken or not. */
TEST(what_a_huge_request_has_needed_is_given_back)
{
    enum { LINES = 300, BYTES = 8000, VALUES = 200000 };
    static const char *header_lines[LINES + 2], *const unique[] = { "/a", NULL };
    static const char *const ends[] = { "1]}", "1]}x", "1]" };
    char *line = long_text(BYTES, 'v'), *body = long_text(2 * VALUES + 40, 0);
    aiocosmos_client *client;
    aiocosmos_request request;
    aiocosmos_stats before, after;
    answer got;
    size_t i, len;
    memcpy(line, "x: ", 3);
    for (i = 0; i < LINES; i++) header_lines[i] = line;
    len = (size_t)sprintf(body, "{\"x\":[");
    for (i = 0; i < VALUES; i++, len += 2) memcpy(body + len, "1,", 2);
    net_begin(answer_well);
    client = open_usual();
    CHECK_INT(ask(client, AIOCOSMOS_READ_CONTAINER, &got), 0);
    aiocosmos_get_stats(client, &before);
    for (i = 0; i < 8; i++) {
        request = of_kind(i < 3 ? AIOCOSMOS_CREATE_CONTAINER : AIOCOSMOS_READ_ITEM);
        if (i < 6) strcpy(body + len, ends[i % 3]);
        if (i < 3) request.body = aiocosmos_text(body);
        if (i < 3) request.unique_keys = unique;
        if (i >= 3 && i < 6) aiocosmos_pk_of(client, "c", aiocosmos_text(body));
        if (i >= 6) request.headers = header_lines;
        if (i == 7) header_lines[LINES] = "no line";
        CHECK_INT(submit_status(client, request, &got), i == 1 || i == 2 || i == 7 ? AIOCOSMOS_E_ARGUMENT : 0);
        drain(client);
        aiocosmos_get_stats(client, &after);
        CHECK(after.memory_used < before.memory_used + 500000);
    }
    free(line);
    free(body);
    close_client(client);
}

static const char *refusal_of_header(aiocosmos_client *client, int kind, const char *header)
{
    const char *one[2] = { NULL, NULL };
    aiocosmos_request request = of_kind(kind);
    one[0] = header;
    request.headers = one;
    return aiocosmos_submit(client, &request, NULL) < 0 ? aiocosmos_last_error(client) : "";
}

/* Each request of each kind is looked at: a header line that the library writes may not be given a second time. */
static aiocosmos_client *header_client;
static int header_kind;

static void answer_refusing_our_headers(peer *link)
{
    const char *line = strstr(link->out, "\r\n") + 2;
    for (; strncmp(line, "\r\n", 2) != 0; line = strstr(line, "\r\n") + 2) {
        char text[4096];
        sprintf(text, "%.*s", (int)strcspn(line, "\r"), line);
        if (strncmp(text, "x-ms-activity-id:", 17) != 0 &&
            (header_kind != AIOCOSMOS_RAW || strncmp(text, "Content-Type:", 13) != 0) &&
            !*refusal_of_header(header_client, header_kind, text))
            CHECK_STR(text, "a header line that is refused");
    }
    answer_well(link);
}

TEST(headers_that_we_set_or_that_break_the_framing_are_refused_by_name)
{
    static const struct { const char *line, *refusal; } cases[] = {
        { "Accept-Encoding: gzip", "headers: Accept-Encoding: it belongs to the connection" },
        { "te: trailers", "headers: te: it belongs to the connection" },
        { "UPGRADE: h2c", "headers: UPGRADE: it belongs to the connection" },
        { "Trailer: x", "headers: Trailer: it belongs to the connection" },
        { "Content-Encoding: gzip", "headers: Content-Encoding: it belongs to the connection" },
        { "Keep-Alive: 5", "headers: Keep-Alive: it belongs to the connection" },
        { "Proxy-Authorization: x", "headers: Proxy-Authorization: it belongs to the connection" },
        { "proxy-connection: x", "headers: proxy-connection: it belongs to the connection" },
        { "Transfer-Encoding: chunked", "headers: Transfer-Encoding: it belongs to the connection" },
        { "date: x", "headers: date: the library sets it" },
        { "x-ms-start-epk: 00", "headers: x-ms-start-epk: use epk_min" },
        { "x-ms-documentdb-partitionkeyrangeid: 0",
          "headers: x-ms-documentdb-partitionkeyrangeid: use epk_min" },
        { "x-ms-cosmos-is-batch-request: True",
          "headers: x-ms-cosmos-is-batch-request: the library sets it" },
        { "x-ms-cosmos-batch-atomic: True", "headers: x-ms-cosmos-batch-atomic: the library sets it" },
        { "If-Match: \"a\"", "headers: If-Match: use if_match" },
        { "x-ms-consistency-level: Eventual", "" }, { "x-ms-activity-id: x", "" }, { "x-teapot: x", "" },
        { "proxy: x", "" }, { "dates: x", "" }, { "x-ms-documentdb-query-enable-scan: True", "" } };
    aiocosmos_client *client;
    answer got;
    size_t i;
    int use;
    net_begin(answer_refusing_our_headers);
    client = header_client = open_usual();
    for (i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_STR(refusal_of_header(client, AIOCOSMOS_READ_ITEM, cases[i].line), cases[i].refusal);
    remote.answer = answer_well;
    drain(client);
    remote.answer = answer_refusing_our_headers;
    for (use = 1; use < USES; use++) {
        header_kind = use == AIOCOSMOS_RAW ? use : AIOCOSMOS_READ_ITEM;
        CHECK_INT(ask(client, use, &got), 0);
    }
    close_client(client);
}

static void forget_it(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    (void)client; (void)page; (void)user_data;
}

/* Handles that were never given, or are of the past. */
TEST(handles_out_of_thin_air_are_harmless)
{
    aiocosmos_client *client;
    aiocosmos_bulk_totals totals;
    uint64_t id;
    int i;
    answer got;
    net_begin(answer_well);
    client = open_usual();
    CHECK_INT(ask(client, USE_BULK, &got), 0);
    CHECK_INT(begin(client, AIOCOSMOS_READ_ITEM, &got), 0);
    for (i = 0; i < 20000; i++) {
        aiocosmos_op op;
        aiocosmos_cursor query;
        id = (uint64_t)i * UINT64_C(0x9E3779B97F4A7C15);
        op.id = query.id = i < 4000 ? (uint64_t)(i % 2000) | (uint64_t)(i / 2000 + 7) << 32 : id;
        if (i == 0) op.id = query.id = 0;
        CHECK(!aiocosmos_cancel(client, op));
        CHECK(aiocosmos_bulk_resume(client, op) < 0);
        CHECK(!aiocosmos_bulk_get_totals(client, op, &totals));
        CHECK(aiocosmos_cursor_next(client, query, forget_it, NULL) < 0);
        aiocosmos_cursor_close(client, query);
    }
    drain(client);
    CHECK_INT(got.status, 0);
    close_client(client);
}

/*--- Header lines for many requests -----------------------------------------------------------------*/

static unsigned with_low, with_high, with_bucket, with_none, with_two;

static int lines_of(const peer *link, const char *name)
{
    const char *at = link->out;
    int count = 0;
    for (; (at = strstr(at, name)) != NULL; at++) count++;
    return count;
}

/* Metadata and plans are the client's own. */
static void answer_counting_lines(peer *link)
{
    int count = lines_of(link, "\r\nx-ms-cosmos-priority-level: ") + lines_of(link, "\r\nX-MS-cosmos-Priority-Level: ");
    if (heard(link, "/pkranges ") || heard(link, "is-query-plan-request")) {
        CHECK_INT(count, 0);
    } else if (!heard(link, "GET /dbs/db/colls/c HTTP")) {                   /* whoever asked that */
        with_low += heard(link, "riority-level: Low\r\n");
        with_high += heard(link, "riority-Level: High\r\n");
        with_bucket += lines_of(link, "\r\nx-ms-cosmos-throughput-bucket: 2\r\n") == 1;
        with_none += count == 0;
        with_two += count > 1;
    }
    answer_well(link);
}

static void forget_pair(aiocosmos_client *client, size_t index, int status, aiocosmos_json item, void *user_data)
{
    (void)client; (void)index; (void)status; (void)item; (void)user_data;
}

static void ask_many(aiocosmos_client *client, const char *const *headers)
{
    aiocosmos_read_many_request many;
    aiocosmos_item_key key;
    memset(&many, 0, sizeof many);
    key.id = "a";
    key.pk = aiocosmos_pk1(aiocosmos_s("p"));
    many.container = "c";
    many.items = &key;
    many.item_count = 1;
    many.headers = headers;
    many.item = forget_pair;
    CHECK_INT(aiocosmos_read_many(client, &many, NULL), 0);
    drain(client);
}

static void ask_bulk(aiocosmos_client *client, const char *const *headers, bool singly)
{
    aiocosmos_bulk_request bulk;
    answer got;
    memset(&bulk, 0, sizeof bulk);
    memset(&got, 0, sizeof got);
    bulk.container = "c";
    bulk.headers = headers;
    bulk.next = on_pull;
    bulk.item_done = on_item;
    bulk.done = on_bulk;
    bulk.user_data = &got;
    bulk.single_items = singly;
    CHECK_INT(aiocosmos_bulk(client, &bulk, NULL), 0);
    drain(client);
    CHECK(got.item_calls == BULK_ITEMS && got.status == 0);
}

TEST(lines_of_a_client_go_with_all_that_is_asked_of_it)
{
    static const char *const all[] = { "x-ms-cosmos-priority-level: Low", "x-ms-cosmos-throughput-bucket: 2", NULL };
    static const char *const high[] = { "X-MS-cosmos-Priority-Level: High", NULL };
    static const char *const ours[] = { "Host: x", NULL };
    char own[64] = "x-ms-cosmos-priority-level: Low";
    const char *lent[2];
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
    answer got;
    char why[256];
    int use;
    with_low = with_high = with_bucket = with_none = with_two = 0;
    net_begin(answer_counting_lines);
    options.headers = ours;
    CHECK_INT(aiocosmos_create(&options, &client, why, sizeof why), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(why, "headers: Host: the library sets it");
    nothing_is_left();
    options.headers = all;
    client = open_client(&options);
    for (use = 1; use < USES; use++) CHECK_INT(ask(client, use, &got), 0);
    ask_many(client, NULL);
    CHECK(with_low >= USES && with_bucket == with_low && with_high == 0 && with_none == 0 && with_two == 0);
    with_low = with_bucket = 0;
    request.headers = high;                  /* in the place of the client's, whose other lines stay */
    CHECK_INT(submit_status(client, request, &got), 0);
    drain(client);
    ask_many(client, high);
    ask_bulk(client, high, true);
    ask_bulk(client, high, false);
    CHECK(with_high == 2 + BULK_ITEMS + 1 && with_bucket == with_high);
    CHECK(with_low == 0 && with_none == 0 && with_two == 0);
    close_client(client);
    net_begin(answer_counting_lines);
    client = open_usual();
    lent[0] = own;
    lent[1] = NULL;
    with_high = 0;
    ask_many(client, lent);
    ask_bulk(client, lent, true);
    CHECK(with_low == 1 + BULK_ITEMS && with_none == 0 && with_two == 0);
    CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    CHECK_INT(with_none, 1);                 /* a bulk's are its own */
    close_client(client);
}

/* A session is what a weaker read does without. */
static unsigned with_session;

static void answer_counting_sessions(peer *link)
{
    with_session += heard(link, "\r\nx-ms-session-token: ");
    reply(link, 200, "x-ms-session-token: 0:-1#7\r\n", fitting_body(link));
}

TEST(a_read_of_weaker_consistency_sends_no_token_but_a_given_one)
{
    static const struct { const char *line; unsigned sent; } cases[] = { { "x-some: line", 1 },
        { "x-ms-consistency-level: Session", 1 }, { "X-MS-Consistency-Level: Eventual", 0 },
        { "x-ms-consistency-level: ConsistentPrefix", 0 } };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
        const char *level[2] = { NULL, NULL };
        aiocosmos_client *client;
        answer got;
        level[0] = cases[i].line;
        net_begin(answer_counting_sessions);
        client = open_usual();
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
        drain(client);
        with_session = 0;
        request.headers = level;
        CHECK_INT(submit_status(client, request, &got), 0);
        drain(client);
        CHECK_INT(with_session, cases[i].sent);
        request.session_token = aiocosmos_text("0:-1#9");
        CHECK_INT(submit_status(client, request, &got), 0);
        drain(client);
        CHECK_INT(with_session, cases[i].sent + 1);
        close_client(client);
    }
}

/*--- Memory that is short while much comes in ---------------------------------------------------------*/

static char *large_body;

static void answer_largely(peer *link)
{
    say(link, HEAD "Content-Length: %zu\r\n\r\n", strlen(large_body));
    say_text(link, large_body);
}

static void answer_largely_in_chunks(peer *link)
{
    size_t len = strlen(large_body), at;
    say(link, CHUNKED);
    for (at = 0; at < len; at += 10000) {
        size_t part = len - at < 10000 ? len - at : 10000;
        say(link, "%zx\r\n", part);
        say_bytes(link, large_body + at, part);
        say_text(link, "\r\n");
    }
    say_text(link, "0\r\n\r\n");
}

/* Sixty answers of 300 KB at a time into a few MB: some wait for others, some may fail, all end, and whole are
 * those that come. The poller fails now and then, too, just when readers pause. */
TEST(many_large_answers_share_little_memory)
{
    enum { MANY = 60 };
    static answer got[MANY];
    size_t i, round, well = 0;
    large_body = long_text(300000, 'x');
    memcpy(large_body, "{\"Documents\":[\"", 15);
    memcpy(large_body + 300000 - 3, "\"]}", 3);
    for (round = 0; round < 24; round++) {
        aiocosmos_options options = usual_options();
        aiocosmos_client *client;
        net_begin(round % 2 ? answer_largely_in_chunks : answer_largely);
        net.tick_us = 10;
        net.receive_max = round % 3 ? 5000 : 0;
        options.memory_max = (size_t)(round % 4 + 1) << 20;
        client = open_client(&options);
        if (round >= 4) shaky.fail_from[CALL_WATCH] = round * 3;
        if (round >= 4) shaky.fail_to[CALL_WATCH] = round % 5 ? round * 3 + round % 7 : ~0ul;
        shaky.fail_with[CALL_WATCH] = AIOCOSMOS_IO_LIMIT;
        for (i = 0; i < MANY; i++) if (begin(client, i % 2 ? AIOCOSMOS_READ_ITEM : USE_QUERY,
            &got[i]) != 0) got[i].calls = -1;
        drain(client);
        for (i = 0; i < MANY; i++) {
            CHECK(got[i].calls == 1 || got[i].calls == -1);
            if (got[i].calls == 1 && got[i].status == 0) CHECK_INT(got[i].body_len, 300000);
            well += got[i].calls == 1 && got[i].status == 0;
        }
        limits_held(client, &options);
        close_client(client);
    }
    CHECK(well > MANY);
    free(large_body);
}

/*--- Answers with a few bytes wrong --------------------------------------------------------------------*/

static uint32_t noise_state;

static uint32_t noise(uint32_t below)
{
    noise_state = noise_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)noise_state * below) >> 32);
}

static void answer_with_noise(peer *link)
{
    static const char odd[] = "\r\n\0 :;,\"{}[]#=0123456789-+eE\xFF\x80<";
    uint32_t i, count = noise(4);
    size_t from = link->in_len;
    int old = manner;
    manner = (int)noise(MANNERS);
    said_status = 200;
    if (noise(3) == 0) answer_badly_now_and_then(link);
    else if (noise(3) == 0) answer_with_a_token(link);
    else if (noise(3) == 0) answer_with_tokens(link);
    else answer_in_a_manner(link);
    manner = old;
    if (link->in_at == 0 && from > link->in_len) from = 0;
    for (i = 0; i < count && link->in_len > from; i++) {
        size_t at = from + noise((uint32_t)(link->in_len - from));
        switch (noise(4)) {
        case 0: link->in[at] = odd[noise(sizeof odd - 1)]; break;
        case 1: link->in[at] = (char)(link->in[at] ^ (1 << noise(8))); break;
        case 2: link->in_len = at; link->closed = noise(2); break;
        default: memmove(link->in + at, link->in + at + 1, link->in_len - at - 1); link->in_len--;
        }
    }
}

TEST(noise_in_answers_is_survived)
{
    uint32_t round;
    for (round = 0; round < 300; round++) {
        aiocosmos_options options = usual_options();
        aiocosmos_client *client;
        answer all[USES];
        int use;
        noise_state = round;
        net_begin(answer_with_noise);
        net.tick_us = 200;
        net.receive_max = noise(3) ? 0 : 1 + noise(100);
        net.send_max = noise(3) ? 0 : 1 + noise(100);
        net.spurious = noise(4);
        options.connections_max = 1 + noise(4);
        options.request_timeout_ms = 3000;
        client = open_client(&options);
        for (use = 1; use < USES; use++) CHECK_INT(begin(client, use, &all[use]), 0);
        if (noise(8) == 0) aiocosmos_step(client, 100);
        else drain(client);
        limits_held(client, &options);
        close_client(client);
        for (use = 1; use < USES; use++) CHECK_INT(all[use].calls, 1);
    }
}

/*--- Options without sense, clients left behind ----------------------------------------------------------*/

TEST(clients_can_be_abandoned_or_destroyed_at_every_moment)
{
    int steps, how, i;
    for (how = 0; how < 6; how++) {
        for (steps = 0; steps < 25; steps++) {
            aiocosmos_options options = usual_options();
            int called;
            net_begin(how % 3 == 0 ? answer_with_a_token : how % 3 == 1 ? answer_badly_now_and_then : NULL);
            net.receive_max = 40;
            options.connections_max = 2;
            options.step_budget_us = 1;
            memset(&stage, 0, sizeof stage);
            stage.client = open_client(&options);
            for (i = 1; i < USES; i++) stage_submit(i);
            for (i = 0; i < steps; i++) aiocosmos_step(stage.client, 10);
            called = stage.callbacks;
            if (how < 3) aiocosmos_abandon(stage.client);
            else aiocosmos_destroy(stage.client);
            if (how < 3) CHECK_INT(stage.callbacks, called);
            else for (i = 0; i < stage.count; i++) CHECK_INT(stage.tickets[i].calls, stage.tickets[i].accepted);
            nothing_is_left();
        }
    }
}

/* Whatever is pasted into a configuration, an account's certificate is checked. */
TEST(a_connection_string_turns_the_checks_of_certificates_off_on_loopback_only)
{
    static const struct { const char *endpoint, *value; bool insecure, allow_http, refused; } cases[] = {
        { "https://localhost:8081/", "true", false, false, false },
        { "https://127.0.0.2:8081/", "True", false, false, false },
        { "https://[::1]:8081/", "true", false, false, false },
        { "https://name.documents.azure.com/", "true", false, false, true },
        { "https://127.0.0.1.evil.example/", "true", false, false, true },
        { "https://name.documents.azure.com/", "true", true, false, false },
        { "http://emulator:8081/", "true", false, true, false } };             /* there is none to check */
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        aiocosmos_options options = usual_options();
        aiocosmos_client *client = NULL;
        char text[512], why[256];
        net_begin(answer_well);
        sprintf(text, "AccountEndpoint=%s;AccountKey=%s;DisableServerCertificateValidation=%s;", cases[i].endpoint,
                AIOCOSMOS_EMULATOR_KEY, cases[i].value);
        options.endpoint = options.key = NULL;
        options.connection_string = text;
        options.insecure = cases[i].insecure;
        options.allow_http = cases[i].allow_http;
        CHECK_INT(aiocosmos_create(&options, &client, why, sizeof why), cases[i].refused ? AIOCOSMOS_E_ARGUMENT : 0);
        CHECK(!cases[i].refused == (client != NULL));
        CHECK_STR(why, cases[i].refused ? "connection_string: DisableServerCertificateValidation is for loopback "
                                          "addresses only, unless insecure is set" : "");
        aiocosmos_destroy(client);
        nothing_is_left();
    }
}

TEST(a_header_of_another_version_is_refused)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client = (aiocosmos_client *)&options;
    char why[256];
    net_begin(answer_well);
    CHECK_INT(aiocosmos_create_checked(AIOCOSMOS_VERSION + 0x10203, sizeof options, &options, &client, why, sizeof why),
              AIOCOSMOS_E_ARGUMENT);
    CHECK(client == NULL);
    CHECK(strstr(why, "aiocosmos.h of version 0x010303 (") && strstr(why, "implementation of 0x000100 ("));
    CHECK_INT(aiocosmos_create_checked(AIOCOSMOS_VERSION, sizeof options - 8, &options, &client, why, sizeof why),
              AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(aiocosmos_create_checked(0, 0, NULL, &client, NULL, 0), AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(aiocosmos_create_checked(aiocosmos_version(), sizeof options, &options, &client, why, sizeof why), 0);
    close_client(client);
}

TEST(options_without_sense_are_refused_or_survived)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    answer got;
    int i, use;
    for (i = 0; i < 12; i++) {
        options = usual_options();
        net_begin(i % 2 ? NULL : answer_well);
        net.tick_us = 100;
        switch (i) {
        case 0: options.connections_max = UINT32_MAX; break;
        case 1: options.pending_max = UINT32_MAX; break;
        case 2: options.response_bytes_max = UINT32_MAX; break;
        case 3: options.request_timeout_ms = 1; break;
        case 4: options.idle_timeout_ms = UINT32_MAX; break;
        case 5: options.connect_timeout_ms = UINT32_MAX; break;
        case 6: options.containers_max = 1; break;
        case 7: options.retries_max = UINT32_MAX - 1; options.throttle_wait_ms = UINT32_MAX; break;
        case 8: options.memory_max = SIZE_MAX; break;
        case 9: options.handshakes_max = UINT32_MAX; break;
        case 10: options.idle_timeout_ms = 1; options.connect_timeout_ms = 1; break;
        default: options.step_budget_us = 60000000; break;
        }
        client = NULL;
        if (aiocosmos_create(&options, &client, NULL, 0) != 0) {
            nothing_is_left();
            continue;
        }
        for (use = 1; use < USES; use++) {
            int status = ask(client, use, &got);
            CHECK(status == 0 || (i % 2 && (status == AIOCOSMOS_E_TIMEOUT || status == AIOCOSMOS_E_CONNECT)));
        }
        close_client(client);
    }
}

TEST(session_tokens_from_the_host_are_checked)
{
    aiocosmos_client *client;
    size_t i, n;
    answer got;
    char *text = malloc(400000);
    net_begin(answer_well);
    client = open_usual();
    for (n = 1; n <= 5000; n += n < 2000 ? 333 : 1000) {
        size_t len = 0;
        aiocosmos_str token;
        for (i = 0; i < n; i++) len += (size_t)sprintf(text + len, "%s%zu:1#%zu", i ? "," : "", i, n);
        token.ptr = text;
        token.len = len;
        if (n > 1024) CHECK(aiocosmos_session_merge(client, NULL, "c", token) < 0);
        else aiocosmos_session_merge(client, NULL, "c", token);
        CHECK(aiocosmos_session_get(client, NULL, "c").len <= client_session_bytes_max());
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
    }
    free(text);
    close_client(client);
}

/*--- Answers that go on when nobody wants them any more ----------------------------------------------------*/

TEST(a_cancelled_answer_without_end_is_not_read_to_its_end)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
    aiocosmos_op op;
    answer got;
    int k;
    options.response_bytes_max = 1u << 30;
    for (k = 0; k < 3; k++) {
        uint64_t received;
        net_begin(trickle_for_ever);
        net.receive_max = 1000;
        if (k == 1) net.receive_max = 1;
        client = open_client(&options);
        memset(&got, 0, sizeof got);
        request.done = on_done;
        request.user_data = &got;
        CHECK_INT(aiocosmos_submit(client, &request, &op), 0);
        while (net.received < 100) CHECK(aiocosmos_step(client, 10) == 0 && net.waits < 1000);
        CHECK(aiocosmos_cancel(client, op));
        received = net.received;
        drain(client);
        CHECK_INT(got.status, AIOCOSMOS_E_CANCELLED);
        net.tick_us = 1000;
        while (net.sockets[0]->machine) CHECK(aiocosmos_step(client, 0) == 0 && net.waits < 100000);
        CHECK(net.received - received < 200000);
        remote.answer = answer_well;
        CHECK_INT(ask(client, AIOCOSMOS_READ_ITEM, &got), 0);
        close_client(client);
    }
}

static aiocosmos_pull pull_nonsense(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    (void)client; (void)item;
    ++*(int *)user_data;
    return AIOCOSMOS_PULL_ITEM;              /* of no key, no body, no end */
}

TEST(a_bulk_of_nonsense_without_end_can_be_cancelled)
{
    aiocosmos_bulk_request bulk;
    aiocosmos_client *client;
    aiocosmos_op op;
    int pulls = 0;
    net_begin(answer_well);
    client = open_usual();
    memset(&bulk, 0, sizeof bulk);
    bulk.container = "c";
    bulk.next = pull_nonsense;
    bulk.user_data = &pulls;
    CHECK_INT(aiocosmos_bulk(client, &bulk, &op), 0);
    while (pulls == 0) CHECK_INT(aiocosmos_step(client, 1), 0);
    CHECK(pulls < 100000);
    CHECK(aiocosmos_cancel(client, op));
    drain(client);
    close_client(client);
}

/*--- The same over real sockets ------------------------------------------------------------------------------*/

#define REAL_MAX 4096

static struct real { int listener, sockets[REAL_MAX]; char url[64]; } real;   /* a socket for each of net.sockets */

static void real_open(void)
{
    struct sockaddr_in here;
    socklen_t len = sizeof here;
    memset(&here, 0, sizeof here);
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    real.listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(real.listener >= 0);
    CHECK_INT(bind(real.listener, (struct sockaddr *)&here, len), 0);
    CHECK_INT(listen(real.listener, 128), 0);
    CHECK_INT(getsockname(real.listener, (struct sockaddr *)&here, &len), 0);
    CHECK_INT(fcntl(real.listener, F_SETFL, O_NONBLOCK), 0);
    snprintf(real.url, sizeof real.url, "http://127.0.0.1:%d/", ntohs(here.sin_port));
}

static void real_hang_up(peer *link)
{
    close(real.sockets[link->number]);
    world_detach(link);
}

static void real_accept(void)
{
    static const aiocosmos_address nowhere;
    int socket;
    while ((socket = accept(real.listener, NULL, NULL)) >= 0) {
        peer *link = world_make_socket(&machine, false, &nowhere);
        CHECK(link->number < REAL_MAX);
        CHECK_INT(fcntl(socket, F_SETFL, O_NONBLOCK), 0);
        real.sockets[link->number] = socket;
        world_attach(&machine, link);
    }
}

/* Carries bytes between a link and its socket, as many at a time as net.receive_max says. */
static void real_carry(peer *link)
{
    size_t left = link->in_len - link->in_at;
    char bytes[4096];
    ssize_t got = recv(real.sockets[link->number], bytes, sizeof bytes, 0), sent = 0;
    if (got == 0) {
        real_hang_up(link);
        return;
    }
    if (got > 0) world_gather(link, bytes, (size_t)got);
    if (net.receive_max && left > net.receive_max) left = net.receive_max;
    if (left) sent = send(real.sockets[link->number], link->in + link->in_at, left, MSG_NOSIGNAL);
    if (sent > 0) link->in_at += (size_t)sent;
    if (link->closed && link->in_at == link->in_len) real_hang_up(link);
}

static int real_ask(aiocosmos_client *client, int use, answer *got)
{
    size_t i;
    int turns = 0;
    CHECK_INT(begin(client, use, got), 0);
    while (aiocosmos_pending(client)) {
        CHECK(turns++ < 1000000);
        CHECK(aiocosmos_step(client, 0) >= 0);
        real_accept();
        for (i = machine.count; i-- > 0; ) real_carry(machine.sockets[i]);
        net_serve(&machine);
    }
    CHECK_INT(got->calls, 1);
    return got->status;
}

static aiocosmos_client *real_client(void)
{
    aiocosmos_options options = usual_options();
    options.platform = NULL;
    options.endpoint = real.url;
    return open_client(&options);
}

static void real_close(aiocosmos_client *client)
{
    aiocosmos_destroy(client);
    CHECK_INT(heap.blocks, 0);
    while (machine.count) real_hang_up(machine.sockets[0]);
    close(real.listener);
}

TEST(every_manner_of_http_serves_every_operation_over_real_sockets)
{
    answer got;
    for (manner = 0; manner < MANNERS; manner++) {
        aiocosmos_client *client;
        int use;
        net_begin(answer_in_a_manner);
        net.receive_max = manner % 2 ? 11 : 0;
        real_open();
        client = real_client();
        for (use = 1; use < USES; use++)
            if (real_ask(client, use, &got) != 0) CHECK_STR(got.message, "success");
        real_close(client);
    }
}

TEST(answers_that_are_no_http_are_refused_over_real_sockets)
{
    aiocosmos_client *client;
    size_t i;
    answer got;
    net_begin(answer_with_a_lie);
    real_open();
    client = real_client();
    for (i = 0; i < sizeof lies / sizeof *lies; i++) {
        lie = &lies[i];
        if (lie->endless) continue;
        CHECK_INT(real_ask(client, AIOCOSMOS_CREATE_ITEM, &got), lie->status);      /* is tried once: no waiting */
    }
    real_close(client);
}
