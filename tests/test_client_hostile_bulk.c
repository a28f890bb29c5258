/* Bulks against servers that say odd things of the container, and of its items. */
#include "hostile.h"

enum { ITEMS_MAX = 8 };

/* What the server says of the container, and of items: that all is well. */
static struct {
    int definition_status;                   /* 0: silence */
    char definition[8192];
    int whole_status;                        /* of batches, without a result; 0: results */
    int fits;                                /* so many of a batch; the others are too large: 413; 0: all, -1: none */
    int single_status;                       /* 0: 201 */
    int batches, singles;
} server;

/* What is asked for, and what came of it. */
static struct {
    int count, next;
    aiocosmos_kind kind;
    const char *bodies[ITEMS_MAX];
    bool keyed[ITEMS_MAX];
    struct { int calls, status, http_status, fate; double charge_ru; char message[256]; } items[ITEMS_MAX];
    aiocosmos_bulk_totals totals;
} source;

static void answer_batch(peer *link)
{
    static const char lines[] = "x-ms-activity-id: a\r\nx-ms-request-charge: 10\r\n";
    const char *at = link->out;
    char text[1024] = "[";
    int n;
    server.batches++;
    for (n = 0; (at = strstr(at, "{\"operationType\"")) != NULL; at++, n++)
        sprintf(strchr(text, 0), "%s{\"statusCode\":%d}", n ? "," : "", server.fits && n >= server.fits ? 413 : 200);
    if (server.whole_status) reply(link, server.whole_status, lines, "{}");
    else reply(link, 207, lines, strcat(text, "]"));
}

static void answer(peer *link)
{
    if (heard(link, "GET /dbs/db/colls/c HTTP")) {
        if (!server.definition_status) return;
        reply(link, server.definition_status, "x-ms-activity-id: a\r\n", server.definition);
    } else if (heard(link, "/pkranges ")) {
        reply(link, 200, "x-ms-activity-id: a\r\n",
              "{\"_rid\":\"abcdAMsp2wQ=\",\"PartitionKeyRanges\":[{\"id\":\"0\",\"minInclusive\":\"\","
              "\"maxExclusive\":\"FF\",\"parents\":[]}],\"_count\":1}");
    } else if (heard(link, "x-ms-cosmos-is-batch-request: True")) {
        answer_batch(link);
    } else {
        server.singles++;
        reply(link, server.single_status ? server.single_status : 201, "x-ms-activity-id: a\r\n", "");
    }
}

static aiocosmos_pull pull(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    int n = source.next;
    (void)client, (void)user_data;
    if (n == source.count) return AIOCOSMOS_PULL_END;
    source.next++;
    item->kind = source.kind;
    if (source.kind == AIOCOSMOS_READ_ITEM) item->id = "1";
    else item->body = aiocosmos_text(source.bodies[n]);
    if (source.keyed[n] || item->id) item->pk = aiocosmos_pk_s("a");
    item->item_data = &source.items[n];
    return AIOCOSMOS_PULL_ITEM;
}

static void item_came(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    int n = (int)((const char *)item_data - (const char *)source.items) / (int)sizeof *source.items;
    (void)client, (void)user_data;
    source.items[n].calls++;
    source.items[n].status = result->status;
    source.items[n].http_status = result->http_status;
    source.items[n].fate = result->fate;
    source.items[n].charge_ru = result->charge_ru;
    snprintf(source.items[n].message, sizeof source.items[n].message, "%.*s", (int)result->message.len,
             result->message.ptr);
}

static void bulk_came(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                      void *user_data)
{
    (void)client, (void)user_data;
    CHECK_INT(result->status, 0);
    source.totals = *totals;
}

/* Each item is told of once. */
static void run(aiocosmos_client *client, bool singly)
{
    aiocosmos_bulk_request request;
    int i;
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.next = pull;
    request.item_done = item_came;
    request.done = bulk_came;
    request.single_items = singly;
    CHECK_INT(aiocosmos_bulk(client, &request, NULL), 0);
    drain(client);
    for (i = 0; i < source.count; i++) CHECK_INT(source.items[i].calls, 1);
}

static aiocosmos_client *open_world(void)
{
    memset(&server, 0, sizeof server);
    memset(&source, 0, sizeof source);
    net_begin(answer);
    return open_usual();
}

/*--- The container's definition -----------------------------------------------------------*/

static void define(const char *format, ...)
{
    va_list values;
    int len = snprintf(server.definition, sizeof server.definition, "{\"id\":\"c\",\"_rid\":\"abcdAMsp2wQ=\",");
    va_start(values, format);
    vsnprintf(server.definition + len, sizeof server.definition - (size_t)len, format, values);
    va_end(values);
    server.definition_status = 200;
}

/* Paths are kept behind each other, a NUL between them: one in a path would make more of them than there may be. */
TEST(a_path_with_a_nul_in_it_is_no_definition)
{
    aiocosmos_client *client = open_world();
    aiocosmos_request request;
    char path[3000] = "/pk";
    int i;
    for (i = 0; i < 200; i++) strcat(path, "\\u0000/pk");
    define("\"partitionKey\":{\"paths\":[\"%s\"],\"version\":2}}", path);
    memset(&request, 0, sizeof request);
    request.kind = AIOCOSMOS_READ_CONTAINER;
    request.container = "c";
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK_INT(aiocosmos_pk_of(client, "c", aiocosmos_text("{\"id\":\"0\",\"pk\":1}")).level[0].type,
              AIOCOSMOS_VALUE_UNSET);
    CHECK(strstr(aiocosmos_last_error(client), "container: its definition is not known"));
    source.count = 1;
    source.bodies[0] = "{\"id\":\"0\",\"pk\":\"a\"}";
    run(client, false);
    CHECK_INT(source.items[0].fate, AIOCOSMOS_FATE_NOT_SENT);
    CHECK_INT(server.singles, 0);
    close_client(client);
}

/* A good document does not bear the blame. What brings its key goes singly meanwhile. */
TEST(a_definition_that_cannot_be_had_says_why_keys_cannot_be_taken_from_bodies)
{
    static const struct { int http_status; const char *body; int status; bool singly; const char *why; } cases[] = {
        { 403, "{\"message\":\"no right to metadata\"}", 403, false, "no right to metadata" },
        { 404, "{}", 404, false, "404 Not Found" },
        { 503, "{}", 503, false, "503 Service Unavailable" },
        { 200, "no JSON", AIOCOSMOS_E_PROTOCOL, false, "no key paths" },
        { 200, "{\"id\":\"c\",\"partitionKey\":{\"paths\":[]}}", AIOCOSMOS_E_PROTOCOL, false, "no key paths" },
        { 0, "", AIOCOSMOS_E_TIMEOUT, false, "timed out" },
        { 403, "{}", AIOCOSMOS_E_ARGUMENT, true, "pk: required" }      /* nobody asked for it */
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        aiocosmos_client *client = open_world();
        int k;
        server.definition_status = cases[i].http_status;
        strcpy(server.definition, cases[i].body);
        source.count = 4;
        for (k = 0; k < 4; k++) {
            source.bodies[k] = k == 2 ? "{\"pk\":\"a\"}" : "{\"id\":\"0\",\"pk\":\"a\"}";
            source.keyed[k] = k > 1;
        }
        run(client, cases[i].singly);
        for (k = 0; k < 2; k++) {
            CHECK_INT(source.items[k].status, cases[i].status);
            CHECK_INT(source.items[k].fate, AIOCOSMOS_FATE_NOT_SENT);
            if (!strstr(source.items[k].message, cases[i].why)) CHECK_STR(source.items[k].message, cases[i].why);
            CHECK(cases[i].singly || strstr(source.items[k].message, "pk: the container's definition: "));
        }
        CHECK_STR(source.items[2].message, "body: \"id\" is required and must be a string");
        CHECK_INT(source.items[3].status, 0);
        CHECK_INT(server.singles, 1);
        close_client(client);
    }
}

/*--- Answers to batches -------------------------------------------------------------------*/

static void five_of(aiocosmos_kind kind)
{
    static const char *const bodies[] = { "{\"id\":\"0\",\"pk\":\"a\"}", "{\"id\":\"1\",\"pk\":\"a\"}",
        "{\"id\":\"2\",\"pk\":\"a\"}", "{\"id\":\"3\",\"pk\":\"a\"}", "{\"id\":\"4\",\"pk\":\"a\"}" };
    define("\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}");
    for (source.count = 0; source.count < 5; source.count++) source.bodies[source.count] = bodies[source.count];
    source.kind = kind;
}

/* Each of its items has a share, whether the answer is believed or not. */
TEST(a_charge_of_a_whole_is_shared_out)
{
    static const int statuses[] = { 200, 207, 401, 500 };
    size_t i;
    int k;
    for (i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        aiocosmos_client *client = open_world();
        five_of(AIOCOSMOS_CREATE_ITEM);
        server.whole_status = statuses[i];
        run(client, false);
        for (k = 0; k < 5; k++) {
            CHECK(source.items[k].status);
            CHECK(source.items[k].charge_ru == 2);
        }
        CHECK(source.totals.charge_ru == 10);
        close_client(client);
    }
}

/* Of many large items an answer takes some: the others are asked for again, fewer at a time, a last one alone. */
TEST(a_read_that_did_not_fit_into_an_answer_is_read_again)
{
    aiocosmos_client *client = open_world();
    int k;
    five_of(AIOCOSMOS_READ_ITEM);
    server.fits = 1;
    run(client, false);
    for (k = 0; k < 5; k++) CHECK_INT(source.items[k].status, 0);
    CHECK(server.batches == 3 && server.singles == 2);       /* of 5, 2, 2, 1 and 1 */
    close_client(client);
    client = open_world();                     /* that of a write is its own */
    five_of(AIOCOSMOS_CREATE_ITEM);
    server.fits = 1;
    run(client, false);
    CHECK_INT(source.totals.succeeded, 1);
    for (k = 1; k < 5; k++) CHECK_INT(source.items[k].status, 413);
    CHECK_INT(server.batches, 1);
    close_client(client);
    client = open_world();                     /* a server without end */
    five_of(AIOCOSMOS_READ_ITEM);
    server.single_status = 413;
    server.fits = -1;
    run(client, false);
    for (k = 0; k < 5; k++) CHECK_INT(source.items[k].status, 413);
    close_client(client);
}

/*--- What a pull may do -------------------------------------------------------------------*/

static struct { int what, at, pulls, ended, told; aiocosmos_op bulk; bool destroyed; } host;

static void told(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    CHECK_INT(result->status, 0);
    host.told++;
}

static aiocosmos_pull pull_none(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    (void)client, (void)item, (void)user_data;
    return AIOCOSMOS_PULL_END;
}

static aiocosmos_pull pull_and_do(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    static const char body[] = "{\"id\":\"1\",\"pk\":\"a\"}";
    aiocosmos_request request;
    aiocosmos_bulk_request bulk;
    memset(&request, 0, sizeof request);
    memset(&bulk, 0, sizeof bulk);
    (void)user_data;
    request.kind = AIOCOSMOS_READ_ITEM;
    request.container = bulk.container = "c";
    request.id = "1";
    request.pk = item->pk = aiocosmos_pk_s("a");
    request.done = told;
    bulk.next = pull_none;
    item->body = aiocosmos_text(body);
    if (host.pulls == 5) return AIOCOSMOS_PULL_END;
    if (host.pulls++ != host.at) return AIOCOSMOS_PULL_ITEM;
    switch (host.what) {
    case 0: CHECK_INT(aiocosmos_submit(client, &request, NULL), 0); break;
    case 1: CHECK_INT(aiocosmos_bulk(client, &bulk, NULL), 0); break;
    case 2: CHECK(aiocosmos_cancel(client, host.bulk)); break;
    case 3: CHECK(aiocosmos_forget(client, host.bulk)); break;
    case 4: CHECK_INT(aiocosmos_step(client, 0), AIOCOSMOS_E_REENTERED); break;
    case 5: CHECK_INT(aiocosmos_run(client, &request, NULL), AIOCOSMOS_E_REENTERED); break;
    case 6: CHECK_INT(aiocosmos_pk_of(client, "c", item->body).level[0].type, AIOCOSMOS_VALUE_JSON); break;
    default:
        aiocosmos_destroy(client);
        host.destroyed = true;
    }
    return AIOCOSMOS_PULL_ITEM;
}

static void item_told(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    (void)client, (void)item_data, (void)user_data;
    CHECK(result->status == 0 || result->status == (host.what == 2 ? AIOCOSMOS_E_CANCELLED : AIOCOSMOS_E_SHUTDOWN));
    host.told++;
}

static void bulk_ended(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                       void *user_data)
{
    (void)client, (void)result, (void)user_data;
    CHECK_INT(totals->succeeded + totals->failed, host.pulls);
    host.ended++;
}

TEST(a_pull_may_call_what_a_callback_may)
{
    int k;
    for (k = 0; k < 2 * 8 * 5; k++) {
        aiocosmos_client *client = open_world();
        aiocosmos_bulk_request request;
        aiocosmos_request read;
        int ran;
        memset(&host, 0, sizeof host);
        host.what = k / 2 % 8;
        host.at = k / 16;
        define("\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}");
        memset(&read, 0, sizeof read);
        memset(&request, 0, sizeof request);
        read.kind = AIOCOSMOS_READ_CONTAINER;
        request.container = read.container = "c";
        CHECK_INT(aiocosmos_run(client, &read, NULL), 0);
        request.next = pull_and_do;
        request.item_done = item_told;
        request.done = bulk_ended;
        request.single_items = k % 2;
        CHECK_INT(aiocosmos_bulk(client, &request, &host.bulk), 0);
        ran = aiocosmos_drain(client, PATIENCE_MS);
        CHECK_INT(ran, host.destroyed ? AIOCOSMOS_E_DESTROYED : 0);
        CHECK_INT(host.ended, host.what != 3);
        CHECK_INT(host.told, host.what == 3 ? 0 : host.pulls + (host.what == 0));
        if (host.destroyed) nothing_is_left();
        else close_client(client);
    }
}
