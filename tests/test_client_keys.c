/* The whole client against the emulator over real sockets: queries of the items of many partition keys. */
#include "client.h"

enum { KEYS = 10000, FILLED = 1000 };

static aiocosmos_pk keys[KEYS + FILLED];
static char names[KEYS][24];
static unsigned char seen[KEYS];             /* rows of each key */

/* What comes of a query. */
static struct { int rows, pages, status; bool more; char token[1024], message[256]; } got;

static void count_rows(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    aiocosmos_json row;
    int64_t n = 0;
    (void)client; (void)user_data;
    memset(&row, 0, sizeof row);
    got.status = page->result->status;
    got.more = page->more;
    got.pages++;
    copy_text(got.message, sizeof got.message, page->result->message);
    copy_text(got.token, sizeof got.token, page->continuation);
    while (aiocosmos_json_next(page->items, NULL, &row)) {
        aiocosmos_json field = row.type == AIOCOSMOS_JSON_OBJ ? aiocosmos_json_at(row, "/n") : row;
        CHECK(aiocosmos_json_get_i64(field, &n) && n >= 0 && n < KEYS);
        seen[n]++;
        got.rows++;
    }
}

/* All pages, with a hand in between; what that cost. */
static aiocosmos_cursor_stats read_keys(aiocosmos_client *client, const aiocosmos_query_request *request,
                                        void (*meanwhile)(aiocosmos_client *client))
{
    aiocosmos_cursor query = open_query(client, request);
    aiocosmos_cursor_stats stats;
    memset(&got, 0, sizeof got);
    memset(seen, 0, sizeof seen);
    do {
        if (meanwhile) meanwhile(client);
        CHECK_INT(aiocosmos_cursor_next(client, query, count_rows, NULL), 0);
        drain(client);
    } while (got.status == 0 && got.more);
    CHECK(aiocosmos_cursor_get_stats(client, query, &stats));
    aiocosmos_cursor_close(client, query);
    return stats;
}

static void name_keys(void)
{
    int i;
    for (i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof names[i], "key %d", i);
        keys[i] = aiocosmos_pk_s(names[i]);
    }
    for (i = 0; i < FILLED; i++) keys[KEYS + i] = keys[i];   /* asked for once more, to no end */
}

/* Every tenth of the keys has an item {"n":its number}. */
static void fill_keys(aiocosmos_client *client)
{
    static answer answers[100];
    char body[160];
    int i, k;
    name_keys();
    for (i = 0; i < FILLED; i += 100) {
        for (k = 0; k < 100; k++) {
            int n = (i + k) * 10;
            snprintf(body, sizeof body, "{\"id\":\"%d\",\"pk\":\"%.23s\",\"n\":%d,\"even\":%s}", n, names[n], n,
                     n % 20 ? "false" : "true");
            send_off(client, create_item(aiocosmos_s(names[n]), body), &answers[k]);
        }
        drain(client);
        for (k = 0; k < 100; k++) CHECK_INT(answers[k].status, 0);
    }
}

static aiocosmos_query_request of_all_keys(const char *sql)
{
    aiocosmos_query_request request;
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.sql = sql;
    request.pks = keys;
    request.pk_count = KEYS + FILLED;
    return request;
}

static void check_seen(int every)
{
    int i;
    CHECK_INT(got.status, 0);
    for (i = 0; i < KEYS; i++)
        if (seen[i] != (i % every == 0)) CHECK_STR(names[i], "once");
}

/* 500 keys a request, and one more at the border of a range: not one for each key. */
TEST(ten_thousand_keys_of_four_ranges_take_dozens_of_requests)
{
    aiocosmos_client *client = open_world("--partitions 4");
    aiocosmos_query_request request = of_all_keys(NULL);
    aiocosmos_cursor_stats stats;
    fill_keys(client);
    stats = read_keys(client, &request, NULL);
    check_seen(10);
    CHECK(stats.requests >= 14 && stats.requests <= 24);
    request.sql = "SELECT * FROM c WHERE c.even OR c.n < 0";
    stats = read_keys(client, &request, NULL);
    check_seen(20);
    CHECK(stats.requests <= 25);
    request.sql = "SELECT VALUE c.n FROM c ORDER BY c.n DESC";
    read_keys(client, &request, NULL);
    check_seen(10);
    request.sql = "SELECT VALUE COUNT(1) FROM c";
    stats = read_keys(client, &request, NULL);
    CHECK_INT(got.rows, 1);
    CHECK_INT(seen[FILLED], 1);
    CHECK(stats.requests <= 25);
    close_world(client);
}

static void split_sometimes(aiocosmos_client *client)
{
    (void)client;
    if (got.pages % 5 == 2) split_first_range();
}

/* Until then each key was a reader of its own, and rows that are equal stood in another order. */
TEST(tokens_of_keys_that_were_asked_for_one_by_one_are_refused)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request request = of_all_keys("SELECT VALUE c.n FROM c ORDER BY c.n");
    keys[0] = aiocosmos_pk_s("a");
    keys[1] = aiocosmos_pk_s("b");
    request.pk_count = 2;
    request.continuation = aiocosmos_text(
        "aq3-AwDoRZDba9bK4gxTZ0FBQzRBQUFBdz0AAAACRkYgM0E1MzgxRTExMTRFQjhEM0ZDQzkwNzk1MDQ1QjQ5QjcgM0E1MzgxRTExMTRFQjhEM0"
        "ZDQzkwNzk1MDQ1QjQ5QjgMW3siaXRlbSI6MX1dGFNnQUFDNEFBQUF3RkFBQUFBQUFBQUE9PQEAAHX_gMJ7u1MW");
    CHECK_STR(refusal_of_query(client, &request), "continuation: of another query, container or list of keys");
    close_world(client);
}

static void squeeze(aiocosmos_client *client)
{
    (void)client;
    CHECK(heap.bytes < (size_t)4 << 20);
}

TEST(many_keys_are_asked_for_in_little_memory_and_small_steps)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    aiocosmos_query_request request = of_all_keys("SELECT VALUE c.n FROM c");
    options.memory_max = 4 << 20;
    client = open_world_with("--partitions 4", &options);
    fill_keys(client);
    aiocosmos_set_step_budget_us(client, 1);
    read_keys(client, &request, squeeze);
    check_seen(10);
    close_world(client);
}

/* Some at a time, and at most as many more as one request asks for: a step that may do little has one piece. */
TEST(many_keys_become_streams_in_pieces)
{
    aiocosmos_client *client = open_world("--partitions 4");
    aiocosmos_query_request request = of_all_keys("SELECT VALUE c.n FROM c");
    aiocosmos_cursor query;
    uint32_t before = 0;
    int pieces = 0;
    name_keys();
    query = open_query(client, &request);
    aiocosmos_set_step_budget_us(client, 1);
    CHECK_INT(aiocosmos_cursor_next(client, query, count_rows, NULL), 0);
    while (aiocosmos_pending(client)) {
        uint32_t cut;
        CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
        cut = client_keys_cut(client, query);
        CHECK(cut - before <= 256 + 1000);
        pieces += cut != before;
        before = cut;
    }
    CHECK_INT(before, KEYS + FILLED);
    CHECK(pieces >= 8);
    close_world(client);
}

TEST(many_keys_are_followed_through_splits_and_tokens)
{
    static const char *const texts[] = { "SELECT VALUE c.n FROM c", "SELECT VALUE c.n FROM c ORDER BY c.n" };
    aiocosmos_client *client = open_world("--partitions 2");
    size_t i;
    fill_keys(client);
    for (i = 0; i < 2; i++) {
        aiocosmos_query_request request = of_all_keys(texts[i]);
        int rows = 0, page = 0;
        static unsigned char all[KEYS];
        request.page_items_max = 70;
        read_keys(client, &request, split_sometimes);
        check_seen(10);
        memset(all, 0, sizeof all);
        memset(&got, 0, sizeof got);
        do {                                 /* page by page from its token */
            aiocosmos_cursor query;
            char token[sizeof got.token];
            memcpy(token, got.token, sizeof token);
            request.continuation = aiocosmos_text(*token ? token : NULL);
            query = open_query(client, &request);
            memset(seen, 0, sizeof seen);
            CHECK_INT(aiocosmos_cursor_next(client, query, count_rows, NULL), 0);
            drain(client);
            CHECK_INT(got.status, 0);
            for (rows = 0; rows < KEYS; rows++) all[rows] = (unsigned char)(all[rows] + seen[rows]);
            aiocosmos_cursor_close(client, query);
            if (++page % 9 == 4) split_first_range();
        } while (got.more);
        memcpy(seen, all, sizeof seen);
        check_seen(10);
    }
    close_world(client);
}

/* Keys of every type, and what would end a string. */
TEST(keys_are_literals_of_every_type)
{
    static const char *const odd[] = { "it's", "\"", "\\", "\\\"", "') OR true --", "\") OR true --", "\xC3\xBC",
                                       "\xF0\x9F\x98\x80", "a\nb", "", "1", "true", "null", "{}", "@p0" };
    static char bodies[40][96];
    enum { ODD = (int)(sizeof odd / sizeof *odd) };
    aiocosmos_client *client = open_world("--partitions 1");
    aiocosmos_query_request request = of_all_keys("SELECT VALUE c.n FROM c");
    aiocosmos_value values[ODD + 7];
    answer made;
    int i;
    for (i = 0; i < ODD; i++) values[i] = aiocosmos_s(odd[i]);
    values[ODD] = aiocosmos_i(1);
    values[ODD + 1] = aiocosmos_f(-2.5e-7);
    values[ODD + 2] = aiocosmos_f(1e300);
    values[ODD + 3] = aiocosmos_b(true);
    values[ODD + 4] = aiocosmos_b(false);
    values[ODD + 5] = aiocosmos_null();
    values[ODD + 6] = aiocosmos_none();
    for (i = 0; i < ODD + 7; i++) {
        aiocosmos_jw w;
        aiocosmos_jw_init(&w, bodies[i], sizeof bodies[i]);
        aiocosmos_jw_object(&w, NULL);
        aiocosmos_jw_str(&w, "id", "x");
        aiocosmos_jw_i64(&w, "n", i);
        if (i < ODD + 6) aiocosmos_jw_value(&w, "pk", values[i]);
        aiocosmos_jw_end(&w);
        CHECK_INT(ask(client, create_item(values[i], bodies[i]), &made), 0);
        keys[i] = aiocosmos_pk1(values[i]);
    }
    request.pk_count = ODD + 7;
    read_keys(client, &request, NULL);
    for (i = 0; i < ODD + 7; i++) CHECK_INT(seen[i], 1);
    CHECK_INT(got.rows, ODD + 7);
    for (i = 0; i < ODD + 7; i += 2) keys[i] = aiocosmos_pk_s("none");
    read_keys(client, &request, NULL);
    for (i = 0; i < ODD + 7; i++) CHECK_INT(seen[i], i % 2);
    keys[0] = aiocosmos_pk1(aiocosmos_none());
    request.pk_count = 2;
    read_keys(client, &request, NULL);
    CHECK_INT(got.rows, 2);
    close_world(client);
}

/* Where a condition goes is not certain of every text: then each key is asked for by itself. */
TEST(texts_that_take_no_condition_are_asked_key_by_key)
{
    static const struct { const char *sql; int requests; } texts[] = {
        { "SELECT VALUE c.n FROM c", 1 },
        { "SELECT VALUE r.n FROM c r -- all\n", 1 },
        { "select value r.n from c as r where (r.n >= 0 /* ) */) or r[\"where\"] = ')'", 1 },
        { "SELECT VALUE c.n FROM c WHERE c.n < 0 OR c.n >= 0 ORDER BY c.n", 1 },
        { "SELECT DISTINCT VALUE c.n FROM c", 1 },
        { "SELECT VALUE MAX(c.n) FROM c JOIN t IN c.tags WHERE t = 1 OR t != 1 GROUP BY c.n", 1 },
        { "SELECT VALUE c.n FROM c OFFSET 0 LIMIT 100", 1 },
        { "SELECT VALUE (SELECT VALUE MAX(x) FROM x IN c.tags WHERE x > 0) + c.n - 2 FROM c", 1 },
        { "SELECT VALUE n FROM c.n n", 10 },
        { "SELECT VALUE x.n FROM (SELECT VALUE c FROM c) AS x", 10 },
        { "SELECT VALUE t FROM t IN c.tags", 10 },
        { "SELECT VALUE c.n FROM c -- c\r\nWHERE c.n >= 0", 1 },
        { "SELECT VALUE c.n FROM c -- c\rWHERE c.n < 0\n", 10 }     /* which may be a comment as a whole, or not */
    };
    aiocosmos_client *client = open_world("--partitions 1");
    size_t i;
    int k;
    for (k = 0; k < 10; k++) {
        answer made;
        char body[96];
        snprintf(names[k], sizeof names[k], "k%d", k);
        keys[k] = aiocosmos_pk_s(names[k]);
        snprintf(body, sizeof body, "{\"id\":\"x\",\"pk\":\"k%d\",\"n\":%d,\"tags\":[1,2]}", k, k);
        CHECK_INT(ask(client, create_item(aiocosmos_s(names[k]), body), &made), 0);
        snprintf(body, sizeof body, "{\"id\":\"x\",\"pk\":\"other%d\",\"n\":%d,\"tags\":[1,2]}", k, k + 20);
        snprintf(names[k + 10], sizeof names[k], "other%d", k);
        CHECK_INT(ask(client, create_item(aiocosmos_s(names[k + 10]), body), &made), 0);
    }
    for (i = 0; i < sizeof texts / sizeof *texts; i++) {
        aiocosmos_query_request request = of_all_keys(texts[i].sql);
        aiocosmos_cursor_stats stats;
        request.pk_count = 10;
        stats = read_keys(client, &request, NULL);
        if (got.status || stats.requests - 1 != (uint64_t)texts[i].requests)
            test_fail(__FILE__, __LINE__, "%s: %d %s, %d requests", texts[i].sql, got.status, got.message,
                      (int)stats.requests - 1);
        if (got.rows == 10) for (k = 0; k < 10; k++) CHECK_INT(seen[k], 1);
        else CHECK_INT(got.rows, 20);        /* of each tag */
    }
    close_world(client);
}

/* Version 1 hashes the first 100 bytes of a string: keys that begin so are at one place, and are not each other. */
TEST(keys_of_one_hash_are_told_apart)
{
    static char wide[3][104], body[256];
    aiocosmos_client *client = open_world("--partitions 1");
    aiocosmos_request request = of_kind(AIOCOSMOS_CREATE_CONTAINER);
    aiocosmos_query_request query = of_all_keys("SELECT VALUE c.n FROM c");
    answer made;
    int i;
    request.container = "old";
    request.body = aiocosmos_text("{\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":1}}");
    must(client, request);
    for (i = 0; i < 3; i++) {
        memset(wide[i], 'a', 101);
        wide[i][101] = (char)('x' + i);
        snprintf(body, sizeof body, "{\"id\":\"x\",\"pk\":\"%.103s\",\"n\":%d}", wide[i], i);
        request = create_item(aiocosmos_s(wide[i]), body);
        request.container = "old";
        CHECK_INT(ask(client, request, &made), 0);
        keys[i] = aiocosmos_pk_s(wide[i]);
    }
    query.container = "old";
    keys[2] = keys[0];
    query.pk_count = 3;
    read_keys(client, &query, NULL);
    CHECK_INT(got.status, 0);
    CHECK_INT(seen[0] * 100 + seen[1] * 10 + seen[2], 110);
    close_world(client);
}

static aiocosmos_query_request of_some_keys(const char *sql, size_t count)
{
    aiocosmos_query_request request = of_all_keys(sql);
    request.pk_count = count;
    return request;
}

/* What a text says with parameters is said of the keys' items alone. */
TEST(parameters_and_many_keys_go_together)
{
    aiocosmos_client *client = open_world("--partitions 4");
    aiocosmos_query_request request = of_some_keys("SELECT DISTINCT VALUE c.n FROM c WHERE c.n < @max OR c[@even] AND "
                                                   "c.n < 40 ORDER BY c.n DESC", 500);
    aiocosmos_param params[2];
    fill_keys(client);
    params[0].name = "@max";
    params[0].value = aiocosmos_i(20);
    params[1].name = "@even";
    params[1].value = aiocosmos_s("even");
    request.params = params;
    request.param_count = 2;
    request.page_items_max = 2;
    read_keys(client, &request, NULL);
    CHECK_INT(got.status, 0);
    CHECK_INT(got.rows, 3);                  /* 0 and 10; 20 */
    CHECK_INT(seen[0] + seen[10] + seen[20], 3);
    close_world(client);
}

static void split_levels(aiocosmos_client *client)
{
    (void)client;
    if (got.pages == 2) control("PUT", "split", "{\"database\":\"db\",\"container\":\"levels\"}");
}

/* First levels that lie in several ranges, whole keys within them and apart, each once. */
TEST(prefixes_of_keys_are_asked_for_together)
{
    static const char *const texts[] = { "SELECT VALUE c.n FROM c", "SELECT VALUE c.n FROM c ORDER BY c.n DESC",
                                         "SELECT VALUE x.n FROM (SELECT VALUE c FROM c) x" };
    enum { TENANTS = 20, USERS = 25 };
    aiocosmos_client *client = open_world("--partitions 6");
    aiocosmos_request create = of_kind(AIOCOSMOS_CREATE_CONTAINER);
    aiocosmos_query_request request;
    answer made;
    char body[128];
    int i, tenant, wanted;
    size_t k;
    create.container = "levels";
    create.body = aiocosmos_text("{\"partitionKey\":{\"paths\":[\"/tenant\",\"/user\"],\"kind\":\"MultiHash\","
                                 "\"version\":2}}");
    must(client, create);
    for (i = 0; i < TENANTS * USERS; i++) {
        aiocosmos_request item;
        tenant = i % TENANTS;
        snprintf(names[i], sizeof names[i], "t%d", tenant);
        snprintf(body, sizeof body, "{\"id\":\"x\",\"tenant\":\"t%d\",\"user\":%d,\"n\":%d}", tenant, i, i);
        item = create_item(aiocosmos_s(names[i]), body);
        item.container = "levels";
        item.pk = aiocosmos_pk2(aiocosmos_s(names[i]), aiocosmos_i(i));
        CHECK_INT(ask(client, item, &made), 0);
        keys[i] = tenant < 5 ? aiocosmos_pk1(aiocosmos_s(names[i])) : item.pk;  /* of the others every other item */
        if (tenant % 2 == 0 && i % 3 == 0) keys[i] = item.pk;
        if (tenant >= 5 && i % 2) keys[i] = aiocosmos_pk2(aiocosmos_s("none"), aiocosmos_i(i));
    }
    for (k = 0; k < sizeof texts / sizeof *texts; k++) {
        aiocosmos_cursor_stats stats;
        request = of_some_keys(texts[k], TENANTS * USERS);
        request.container = "levels";
        request.page_items_max = 40;
        stats = read_keys(client, &request, k == 1 ? NULL : split_levels);
        CHECK_INT(got.status, 0);
        for (i = 0; i < TENANTS * USERS; i++) {
            wanted = i % TENANTS < 5 || i % 2 == 0;
            if (seen[i] != wanted) test_fail(__FILE__, __LINE__, "%s: row %d came %d times", texts[k], i, seen[i]);
        }
        CHECK(k == 2 || stats.requests < 100);
    }
    close_world(client);
}

/* Closed, or its client destroyed, after so many steps: while keys are hashed, sorted, asked for. */
TEST(keys_are_let_go_of_at_any_step)
{
    aiocosmos_client *client = open_world("--partitions 2");
    aiocosmos_query_request request = of_all_keys("SELECT VALUE c.n FROM c ORDER BY c.n");
    aiocosmos_options options = usual_options();
    int steps, i, way;
    bool over = false;
    fill_keys(client);
    for (steps = 0; !over && steps < 400; steps += 1 + steps / 4) {
        for (way = 0; way < 2; way++) {
            aiocosmos_cursor query = open_query(client, &request);
            memset(&got, 0, sizeof got);
            aiocosmos_set_step_budget_us(client, 1);
            CHECK_INT(aiocosmos_cursor_next(client, query, count_rows, NULL), 0);
            for (i = 0; i < steps && got.pages == 0; i++) aiocosmos_step(client, 1);
            over = got.pages > 0;
            if (way == 0) {
                aiocosmos_cursor_close(client, query);
                drain(client);
            } else {
                close_client(client);
                client = open_client(&options);
            }
        }
    }
    CHECK(steps > 30);
    close_world(client);
}

/* Once for each n, until a query needs fewer: the nth allocation fails, and it fails with that or goes on all the same;
 * and then reads all there is. */
TEST(keys_are_asked_for_when_memory_is_back)
{
    aiocosmos_client *client;
    aiocosmos_query_request request = of_some_keys("SELECT VALUE c.n FROM c WHERE c.n >= 0", 600);
    aiocosmos_options options;
    unsigned long nth;
    bool failed = true;
    client = open_world("--partitions 2");
    options = usual_options();
    fill_keys(client);
    close_client(client);
    for (nth = 1; failed; nth++) {
        aiocosmos_cursor query;
        unsigned long failures;
        client = open_client(&options);
        memset(seen, 0, sizeof seen);
        memset(&got, 0, sizeof got);
        failures = heap.failed;
        heap_fail(&heap, nth, 1);
        if (aiocosmos_query_open(client, &request, &query) == 0) {
            do {
                CHECK_INT(aiocosmos_cursor_next(client, query, count_rows, NULL), 0);
                drain(client);
                CHECK(got.status == 0 || got.status == AIOCOSMOS_E_NOMEM);
            } while (got.status || got.more);
            CHECK_INT(got.rows, 60);
            aiocosmos_cursor_close(client, query);
        }
        failed = heap.failed > failures;
        heap_recover(&heap);
        close_client(client);
    }
    CHECK(nth > 20);
    close_world(open_client(&options));
}
