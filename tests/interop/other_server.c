/* other_server.c: our client, by its public functions alone, against a server that others wrote,
 * @vercel/cosmosdb-server. OTHER_SERVER and OTHER_SERVER_TLS are its addresses; every test runs on both. It has one
 * partition key range, no session tokens, and ETags without quotes, and does not look at signatures. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "../test.h"
#include <stdlib.h>

#define PATIENCE_MS 30000

#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)

#define BOTH(NAME)                           \
    static void both_##NAME(void);           \
    TEST(NAME) { both_##NAME(); }            \
    TEST(NAME##_over_tls) { both_##NAME(); } \
    static void both_##NAME(void)

/* What a callback has seen. */
typedef struct answer {
    int count, status, http_status;
    double charge_ru;
    char etag[80], body[2048], message[300];
} answer;

static aiocosmos_client *open_client(void)
{
    aiocosmos_client *client;
    aiocosmos_options options = {0};
    char why[256];
    options.endpoint = getenv(strstr(test.running->name, "_over_tls") ? "OTHER_SERVER_TLS" : "OTHER_SERVER");
    if (!options.endpoint) SKIP("OTHER_SERVER and OTHER_SERVER_TLS are not set");
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.insecure = true;
    options.default_database = test.running->name;         /* each test has its own */
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) FAIL("%s", why);
    return client;
}

static void copy(char *out, size_t cap, aiocosmos_str text)
{
    snprintf(out, cap, "%.*s", (int)text.len, text.len ? text.ptr : "");
}

static void on_answer(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    answer *to = (answer *)user_data;
    (void)client;
    to->count++;
    to->status = result->status;
    to->http_status = result->http_status;
    to->charge_ru = result->charge_ru;
    copy(to->etag, sizeof to->etag, result->etag);
    copy(to->body, sizeof to->body, result->body);
    copy(to->message, sizeof to->message, result->message);
}

static aiocosmos_request request(aiocosmos_kind kind, const char *id)
{
    aiocosmos_request made = {0};
    made.kind = kind;
    made.container = "c";
    made.id = id;
    made.want_body = true;
    if (kind <= AIOCOSMOS_DELETE_ITEM) made.pk = aiocosmos_pk1(aiocosmos_s("eu"));
    else made.want_body = false;
    return made;
}

static aiocosmos_request saving(aiocosmos_kind kind, const char *id, const char *body)
{
    aiocosmos_request made = request(kind, id);
    made.body.ptr = body;
    made.body.len = strlen(body);
    return made;
}

/* Carries a request out and fails the test if its status is another one. */
static answer ask(aiocosmos_client *client, aiocosmos_request asked, int status)
{
    answer got = {0};
    asked.done = on_answer;
    asked.user_data = &got;
    if (aiocosmos_submit(client, &asked, NULL) < 0) FAIL("refused: %s", aiocosmos_last_error(client));
    CHECK_INT(aiocosmos_drain(client, PATIENCE_MS), 0);
    CHECK_INT(got.count, 1);
    if (got.status != status) FAIL("status %d, not %d: %s %s", got.status, status, got.message, got.body);
    return got;
}

/* A client with a database and a container by /pk. */
static aiocosmos_client *open_world(void)
{
    aiocosmos_client *client = open_client();
    aiocosmos_request database = {0}, container;
    database.kind = AIOCOSMOS_CREATE_DATABASE;
    ask(client, database, 0);
    container = request(AIOCOSMOS_CREATE_CONTAINER, NULL);
    container.partition_key_paths[0] = "/pk";
    ask(client, container, 0);
    return client;
}

static void close_world(aiocosmos_client *client)
{
    aiocosmos_request database = {0};
    database.kind = AIOCOSMOS_DELETE_DATABASE;
    ask(client, database, 0);
    aiocosmos_destroy(client);
}

/*--- Pages ----------------------------------------------------------------------*/

typedef struct rows {
    int pages, count, status;
    bool more;
    double sum;                                            /* of the rows that are numbers */
    char continuation[2048], last[512], message[300];
} rows;

static void on_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    rows *to = (rows *)user_data;
    aiocosmos_json item = {0};
    double number;
    (void)client;
    to->pages++;
    to->status = page->result->status;
    to->more = page->more;
    to->count += (int)page->item_count;
    while (aiocosmos_json_next(page->items, NULL, &item)) {
        if (aiocosmos_json_get_f64(item, &number)) to->sum += number;
        snprintf(to->last, sizeof to->last, "%.*s", (int)item.len, item.ptr);
    }
    copy(to->continuation, sizeof to->continuation, page->continuation);
    copy(to->message, sizeof to->message, page->result->message);
}

/* Up to so many pages. */
static rows ask_pages(aiocosmos_client *client, aiocosmos_query_request asked, int pages)
{
    aiocosmos_cursor query;
    rows got = {0};
    if (aiocosmos_query_open(client, &asked, &query) < 0) FAIL("refused: %s", aiocosmos_last_error(client));
    do {
        CHECK_INT(aiocosmos_cursor_next(client, query, on_page, &got), 0);
        CHECK_INT(aiocosmos_drain(client, PATIENCE_MS), 0);
    } while (got.more && got.status == 0 && got.pages < pages);
    aiocosmos_cursor_close(client, query);
    return got;
}

static aiocosmos_query_request query(const char *sql)
{
    aiocosmos_query_request made = {0};
    made.container = "c";
    made.sql = sql;
    return made;
}

static rows ask_all(aiocosmos_client *client, aiocosmos_query_request asked)
{
    rows got = ask_pages(client, asked, 1000);
    if (got.status != 0) FAIL("%s: %d %s", asked.sql ? asked.sql : "list", got.status, got.message);
    CHECK(!got.more);
    return got;
}

/*--- Items by bulk --------------------------------------------------------------*/

typedef struct bulk {
    int made, wanted, ends, status;
    aiocosmos_bulk_totals totals;
    char body[200], first_error[300];
} bulk;

static aiocosmos_pull on_pull(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    bulk *b = (bulk *)user_data;
    const char *pk = b->made % 2 ? "eu" : "us";
    (void)client;
    if (b->made == b->wanted) return AIOCOSMOS_PULL_END;
    item->pk = aiocosmos_pk1(aiocosmos_s(pk));
    item->body.len = (size_t)snprintf(b->body, sizeof b->body,
        "{\"id\":\"item %d\",\"pk\":\"%s\",\"n\":%d,\"name\":\"J\xc3\xbcrgen\"}", b->made, pk, b->made);
    item->body.ptr = b->body;
    b->made++;
    return AIOCOSMOS_PULL_ITEM;
}

static void on_item(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    bulk *b = (bulk *)user_data;
    (void)client;
    (void)item_data;
    if (result->status != 0 && !b->first_error[0]) copy(b->first_error, sizeof b->first_error, result->message);
}

static void on_bulk(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                    void *user_data)
{
    bulk *b = (bulk *)user_data;
    (void)client;
    b->ends++;
    b->status = result->status;
    b->totals = *totals;
}

/* Items 0 to count - 1, half of them in "eu". */
static bulk fill(aiocosmos_client *client, int count)
{
    aiocosmos_bulk_request asked = {0};
    bulk b = {0};
    b.wanted = count;
    asked.container = "c";
    asked.concurrency_max = 20;
    asked.next = on_pull;
    asked.item_done = on_item;
    asked.done = on_bulk;
    asked.user_data = &b;
    CHECK_INT(aiocosmos_bulk(client, &asked, NULL), 0);
    CHECK_INT(aiocosmos_drain(client, 2 * PATIENCE_MS), 0);
    CHECK_INT(b.ends, 1);
    CHECK_INT(b.status, 0);
    return b;
}

/*--- The tests ------------------------------------------------------------------*/

BOTH(databases_and_containers)
{
    aiocosmos_client *client = open_world();
    aiocosmos_request database = {0}, container = request(AIOCOSMOS_CREATE_CONTAINER, NULL);
    aiocosmos_query_request list = {0};
    container.partition_key_paths[0] = "/pk";
    ask(client, container, 409);
    container.if_not_exists = true;
    ask(client, container, 0);
    database.kind = AIOCOSMOS_CREATE_DATABASE;
    ask(client, database, 409);
    database.kind = AIOCOSMOS_READ_DATABASE;
    CHECK(strstr(ask(client, database, 0).body, "\"_rid\"") != NULL);
    container = request(AIOCOSMOS_READ_CONTAINER, NULL);
    CHECK(strstr(ask(client, container, 0).body, "\"/pk\"") != NULL);
    list.feed = AIOCOSMOS_FEED_CONTAINERS;
    CHECK_INT(ask_all(client, list).count, 1);
    list.feed = AIOCOSMOS_FEED_DATABASES;
    CHECK(ask_all(client, list).count >= 1);
    container = request(AIOCOSMOS_DELETE_CONTAINER, NULL);
    ask(client, container, 0);
    ask(client, container, 404);
    close_world(client);
}

BOTH(items)
{
    aiocosmos_client *client = open_world();
    static const char ann[] = "{\"id\":\"ann\",\"pk\":\"eu\",\"n\":1,\"s\":\"\\u00e9\\\"\"}";
    aiocosmos_request change;
    answer got = ask(client, saving(AIOCOSMOS_CREATE_ITEM, NULL, ann), 0);
    CHECK_INT(got.http_status, 201);
    CHECK(got.charge_ru > 0);
    CHECK(got.etag[0] != 0);
    ask(client, saving(AIOCOSMOS_CREATE_ITEM, NULL, "{\"id\":\"ann\",\"pk\":\"eu\"}"), 409);
    CHECK(strstr(ask(client, request(AIOCOSMOS_READ_ITEM, "ann"), 0).body, "\"n\":1") != NULL);
    got = ask(client, saving(AIOCOSMOS_UPSERT_ITEM, NULL, "{\"id\":\"ann\",\"pk\":\"eu\",\"n\":2}"), 0);
    CHECK_INT(got.http_status, 200);
    CHECK_INT(ask(client, saving(AIOCOSMOS_UPSERT_ITEM, NULL, "{\"id\":\"bob\",\"pk\":\"eu\"}"), 0).http_status, 201);
    change = saving(AIOCOSMOS_REPLACE_ITEM, "ann", "{\"id\":\"ann\",\"pk\":\"eu\",\"n\":3}");
    change.if_match = aiocosmos_text("\"another version\"");
    ask(client, change, 412);
    change.if_match = aiocosmos_text(NULL);        /* its own ETags have no quotes, and are no ETags */
    ask(client, change, 0);
    change = saving(AIOCOSMOS_PATCH_ITEM, "ann", "[{\"op\":\"incr\",\"path\":\"/n\",\"value\":4}]");
    CHECK(strstr(ask(client, change, 0).body, "\"n\":7") != NULL);
    ask(client, request(AIOCOSMOS_DELETE_ITEM, "ann"), 0);
    ask(client, request(AIOCOSMOS_DELETE_ITEM, "ann"), 404);
    close_world(client);
}

BOTH(odd_ids)
{
    static const char *const ids[] = { "a b", "100%", "%41", "a+b", "a&b=c", "\xc3\xbc",
                                       "\xe6\x97\xa5 \xf0\x9f\x98\x80", "'`<x>", "a;b,c@d:e", "~!$*()[]{}|^" };
    aiocosmos_client *client = open_world();
    size_t i;
    for (i = 0; i < sizeof ids / sizeof *ids; i++) {
        char body[200];
        snprintf(body, sizeof body, "{\"id\":\"%s\",\"pk\":\"eu\"}", ids[i]);
        ask(client, saving(AIOCOSMOS_CREATE_ITEM, NULL, body), 0);
        CHECK(strstr(ask(client, request(AIOCOSMOS_READ_ITEM, ids[i]), 0).body, ids[i]) != NULL);
        ask(client, request(AIOCOSMOS_DELETE_ITEM, ids[i]), 0);
    }
    close_world(client);
}

BOTH(bulk_and_paging)
{
    aiocosmos_client *client = open_world(), *other = open_client();
    aiocosmos_query_request all = query(NULL);
    bulk b = fill(client, 500);
    rows some, rest;
    if (b.totals.failed) FAIL("%d failed: %s", (int)b.totals.failed, b.first_error);
    CHECK_INT(b.totals.succeeded, 500);
    all.page_items_max = 30;
    some = ask_pages(client, all, 5);
    CHECK_INT(some.count, 150);
    CHECK(some.more && some.continuation[0]);
    all.continuation = aiocosmos_text(some.continuation);                  /* in another process, as it were */
    rest = ask_all(other, all);
    CHECK_INT(rest.count, 350);
    CHECK_INT(rest.pages, 12);
    b = fill(client, 10);                                  /* they are there */
    CHECK_INT(b.totals.failed, 10);
    CHECK_INT(ask_all(client, query(NULL)).count, 500);
    aiocosmos_destroy(other);
    close_world(client);
}

BOTH(queries)
{
    static const struct { const char *sql; int count; double sum; const char *last; } expected[] = {
        { "SELECT VALUE c.n FROM c", 100, 4950, NULL },
        { "SELECT VALUE c.n FROM c WHERE c.n < 10", 10, 45, NULL },
        { "SELECT VALUE c.n FROM c ORDER BY c.n DESC", 100, 4950, "0" },
        { "SELECT TOP 3 VALUE c.n FROM c ORDER BY c.n DESC", 3, 294, "97" },
        { "SELECT VALUE COUNT(1) FROM c", 1, 100, "100" },
        { "SELECT VALUE SUM(c.n) FROM c", 1, 4950, "4950" },
        { "SELECT VALUE c.name FROM c WHERE c.n = 5", 1, 0, "\"J\xc3\xbcrgen\"" },
        { "SELECT VALUE {x: [c.n, c.pk]} FROM c WHERE c.id = 'item 7'", 1, 0, "{\"x\":[7,\"eu\"]}" }
    };
    aiocosmos_client *client = open_world();
    aiocosmos_query_request one;
    aiocosmos_param params[2];
    rows got;
    size_t i;
    fill(client, 100);
    for (i = 0; i < sizeof expected / sizeof *expected; i++) {
        got = ask_all(client, query(expected[i].sql));
        if (got.count != expected[i].count || got.sum < expected[i].sum || got.sum > expected[i].sum ||
            (expected[i].last && strcmp(got.last, expected[i].last) != 0))
            FAIL("%s: %d rows, sum %g, last %s", expected[i].sql, got.count, got.sum, got.last);
    }
    one = query("SELECT VALUE c.n FROM c WHERE c.pk = @pk AND c.n >= @from");
    params[0].name = "@pk";
    params[0].value = aiocosmos_s("eu");
    params[1].name = "@from";
    params[1].value = aiocosmos_i(90);
    one.params = params;
    one.param_count = 2;
    one.pk = aiocosmos_pk1(aiocosmos_s("eu"));
    one.page_items_max = 2;
    got = ask_all(client, one);
    CHECK_INT(got.count, 5);
    CHECK_INT(got.pages, 3);
    CHECK_INT(got.sum, 475);
    CHECK_INT(ask_pages(client, query("SELECT * FORM c"), 1).status, 400);
    close_world(client);
}

/* It has no session tokens; one from elsewhere must do no harm. */
BOTH(sessions)
{
    static const char token[] = "0:-1#42";
    aiocosmos_client *client = open_world();
    aiocosmos_str text;
    ask(client, saving(AIOCOSMOS_CREATE_ITEM, NULL, "{\"id\":\"ann\",\"pk\":\"eu\"}"), 0);
    CHECK_INT(aiocosmos_session_get(client, NULL, "c").len, 0);
    text.ptr = token;
    text.len = strlen(token);
    CHECK_INT(aiocosmos_session_merge(client, NULL, "c", text), 0);
    ask(client, request(AIOCOSMOS_READ_ITEM, "ann"), 0);
    text = aiocosmos_session_get(client, NULL, "c");
    CHECK_TEXT(text.ptr, text.len, token);
    close_world(client);
}

/* What is submitted together arrives by many connections; each operation is answered once. */
BOTH(a_hundred_at_a_time)
{
    enum { COUNT = 100 };
    static answer got[COUNT];
    aiocosmos_client *client = open_world();
    aiocosmos_stats stats;
    char body[100];
    int i;
    memset(got, 0, sizeof got);
    for (i = 0; i < COUNT; i++) {
        aiocosmos_request save;
        snprintf(body, sizeof body, "{\"id\":\"%d\",\"pk\":\"eu\"}", i);
        save = saving(AIOCOSMOS_CREATE_ITEM, NULL, body);
        save.done = on_answer;
        save.user_data = &got[i];
        CHECK_INT(aiocosmos_submit(client, &save, NULL), 0);
    }
    CHECK_INT(aiocosmos_drain(client, 2 * PATIENCE_MS), 0);
    for (i = 0; i < COUNT; i++) {
        CHECK_INT(got[i].count, 1);
        CHECK_INT(got[i].status, 0);
    }
    CHECK_INT(ask_all(client, query("SELECT VALUE 1 FROM c")).count, COUNT);
    aiocosmos_get_stats(client, &stats);
    CHECK_INT(stats.ops_completed, stats.ops_submitted);
    close_world(client);
}
