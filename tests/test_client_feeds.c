/* The whole client against the emulator over real sockets: queries page by page, session tokens, bulk. */
#include "client.h"

/* So many items {"id":"N","pk":KEY,"n":N} in one partition. */
static void fill(aiocosmos_client *client, const char *key, int from, int to)
{
    static answer answers[256];
    char body[128];
    int i;
    CHECK(to - from <= (int)(sizeof answers / sizeof *answers));
    for (i = from; i < to; i++) {
        snprintf(body, sizeof body, "{\"id\":\"%d\",\"pk\":\"%s\",\"n\":%d}", i, key, i);
        send_off(client, create_item(aiocosmos_s(key), body), &answers[i - from]);
    }
    drain(client);
    for (i = from; i < to; i++) CHECK_INT(answers[i - from].status, 0);
}

static aiocosmos_query_request query_of(const char *sql)
{
    aiocosmos_query_request query;
    memset(&query, 0, sizeof query);
    query.container = "c";
    query.sql = sql;
    return query;
}

static aiocosmos_query_request query_in(const char *key, const char *sql)
{
    aiocosmos_query_request query = query_of(sql);
    query.pk = aiocosmos_pk1(aiocosmos_s(key));
    return query;
}

/*--- Queries ------------------------------------------------------------------------*/

TEST_TWICE(a_query_takes_parameters_of_every_type)
{
    static const char json[] = "{\"deep\":[1,{\"x\":null}]}";
    const struct { aiocosmos_value value; const char *text; } cases[] = {
        {aiocosmos_s("plain"), "[\"plain\"]"},
        {aiocosmos_s("\"q\" \\ \xC3\xA9 \xF0\x9F\x98\x80"), "[\"\\\"q\\\" \\\\ \xC3\xA9 \xF0\x9F\x98\x80\"]"},
        {aiocosmos_i(42), "[42]"},
        {aiocosmos_i(-9007199254740991), "[-9007199254740991]"},
        {aiocosmos_f(1.5), "[1.5]"},
        {aiocosmos_b(true), "[true]"},
        {aiocosmos_b(false), "[false]"},
        {aiocosmos_null(), "[null]"},
        {aiocosmos_json_text(json, sizeof json - 1), "[{\"deep\":[1,{\"x\":null}]}]"},
    };
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request query = query_in("eu", "SELECT VALUE @v FROM c");
    aiocosmos_param param;
    size_t i;
    fill(client, "eu", 0, 1);
    param.name = "@v";
    query.params = &param;
    query.param_count = 1;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        listing all;
        param.value = cases[i].value;
        CHECK_INT(read_all(client, &query, &all), 0);
        CHECK_STR(all.text, cases[i].text);
    }
    close_world(client);
}

TEST(what_does_not_belong_to_a_feed_is_refused)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request plain, query;
    aiocosmos_param param = {"@a", aiocosmos_i(1)};
    char edge[400];
    memset(&plain, 0, sizeof plain);
    plain.container = "c";
    query = plain;
    query.feed = (aiocosmos_feed)(AIOCOSMOS_FEED_PERMISSIONS + 1);
    CHECK_STR(refusal_of_query(client, &query), "feed: one of aiocosmos_feed is expected");
    plain.feed = AIOCOSMOS_FEED_RANGES;
    query = plain;
    query.pk = aiocosmos_pk1(aiocosmos_s("eu"));
    CHECK_STR(refusal_of_query(client, &query), "pk: does not belong to this feed");
    query = plain;
    query.session_token = aiocosmos_text("0:-1#1");
    CHECK_STR(refusal_of_query(client, &query), "session_token: does not belong to this feed");
    query = plain;
    query.epk_min = "10";
    CHECK_STR(refusal_of_query(client, &query), "epk_min: does not belong to this feed");
    query = plain;
    query.epk_max = "10";
    CHECK_STR(refusal_of_query(client, &query), "epk_min: does not belong to this feed");
    query = plain;
    query.sql = "SELECT * FROM c";
    CHECK_STR(refusal_of_query(client, &query), "sql: does not belong to this feed");
    query = plain;
    query.want_metrics = true;
    CHECK_STR(refusal_of_query(client, &query), "want_metrics: does not belong to this feed");
    query = plain;
    query.want_index_metrics = true;
    CHECK_STR(refusal_of_query(client, &query), "want_metrics: does not belong to this feed");
    query = plain;
    query.feed = AIOCOSMOS_FEED_DATABASES;
    CHECK_STR(refusal_of_query(client, &query), "container: does not belong to this feed");
    query.container = NULL;
    query.database = "db";
    CHECK_STR(refusal_of_query(client, &query), "database: does not belong to this feed");
    plain.feed = AIOCOSMOS_FEED_ITEMS;
    query = plain;
    query.params = &param;
    query.param_count = 1;
    CHECK_STR(refusal_of_query(client, &query), "params: there is no sql");
    query = plain;
    query.page_items_max = (uint32_t)INT32_MAX + 1u;
    CHECK_STR(refusal_of_query(client, &query), "page_items_max: over 2^31-1");
    query = plain;
    query.epk_max = edge;
    snprintf(edge, sizeof edge, "%0300d", 0);
    CHECK_STR(refusal_of_query(client, &query), "epk_max: too long for a partition key's hash");
    query.epk_max = "0g";
    CHECK_STR(refusal_of_query(client, &query), "epk_max: not an even number of upper-case hexadecimal digits");
    query.epk_max = "/0";
    CHECK_STR(refusal_of_query(client, &query), "epk_max: not an even number of upper-case hexadecimal digits");
    query.epk_max = "@0";
    CHECK_STR(refusal_of_query(client, &query), "epk_max: not an even number of upper-case hexadecimal digits");
    query.epk_max = "0A0";
    CHECK_STR(refusal_of_query(client, &query), "epk_max: not an even number of upper-case hexadecimal digits");
    query.epk_min = "0g";
    CHECK_STR(refusal_of_query(client, &query), "epk_min: not an even number of upper-case hexadecimal digits");
    query.epk_max = query.epk_min = "0A";
    CHECK_STR(refusal_of_query(client, &query), "epk_max: not behind epk_min");
    query.pk = aiocosmos_pk1(aiocosmos_s("eu"));
    CHECK_STR(refusal_of_query(client, &query), "epk_min: a key is given, too");
    query = plain;
    query.token = "no\nline";
    CHECK_STR(refusal_of_query(client, &query), "token: empty, too long, or with a blank or a byte that is no ASCII");
    close_world(client);
}

TEST(a_query_that_cannot_be_sent_is_refused_with_the_reason)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request query = query_of("");
    aiocosmos_param param = {"name", aiocosmos_i(1)};
    char *huge = malloc(300000);
    CHECK_STR(refusal_of_query(client, &query), "sql: empty");
    query.sql = "SELECT \xFF";
    CHECK_STR(refusal_of_query(client, &query), "sql: not UTF-8 at byte 7");
    memset(huge, ' ', 299999);
    huge[299999] = 0;
    query.sql = huge;
    CHECK_STR(refusal_of_query(client, &query), "sql: over 256 KiB");
    free(huge);
    query.sql = "SELECT * FROM c";
    query.params = &param;
    query.param_count = 1;
    CHECK_STR(refusal_of_query(client, &query), "params[0]: a name starts with '@'");
    param.name = "@";
    CHECK_STR(refusal_of_query(client, &query), "params[0]: a name starts with '@'");
    param.name = NULL;
    CHECK_STR(refusal_of_query(client, &query), "params[0]: a name starts with '@'");
    param.name = "@name";
    param.value = aiocosmos_s(NULL);
    CHECK_STR(refusal_of_query(client, &query), "params[0]: no value is given");
    param.value = aiocosmos_none();
    CHECK_STR(refusal_of_query(client, &query), "params[0]: no value is given");
    param.value = aiocosmos_f((double)INFINITY);
    CHECK(strncmp(refusal_of_query(client, &query), "params[0]: ", 11) == 0);
    param.value = aiocosmos_json_text("{", 1);
    CHECK(strncmp(refusal_of_query(client, &query), "params[0]: ", 11) == 0);
    query.params = NULL;
    CHECK_STR(refusal_of_query(client, &query), "params: required: param_count is set");
    query.param_count = 0;
    query.continuation = aiocosmos_text("no\nline");
    CHECK_STR(refusal_of_query(client, &query), "continuation: not a continuation token of this library");
    query.continuation = aiocosmos_text(NULL);
    query.session_token = aiocosmos_text("not-a-token");
    CHECK(strncmp(refusal_of_query(client, &query), "session_token: malformed at byte ", 33) == 0);
    query.session_token = aiocosmos_text(NULL);
    query.container = NULL;
    CHECK_STR(refusal_of_query(client, &query), "container: required");
    close_world(client);
}

/* Every item of 0 to count - 1 stands in the listing exactly once. */
static void check_complete(const listing *all, int count)
{
    int i;
    CHECK_INT(all->items, count);
    for (i = 0; i < count; i++) {
        char id[32];
        const char *first;
        snprintf(id, sizeof id, "\"id\":\"%d\"", i);
        first = strstr(all->text, id);
        if (!first || strstr(first + 1, id)) CHECK_STR(id, "there once");
    }
}

TEST_TWICE(pages_of_every_size_hold_every_item_once)
{
    enum { COUNT = 23 };
    aiocosmos_client *client = open_world("");
    uint32_t size;
    fill(client, "eu", 0, COUNT);
    for (size = 1; size <= COUNT + 1; size++) {
        aiocosmos_query_request query = query_in("eu", "SELECT * FROM c");
        listing all;
        query.page_items_max = size;
        CHECK_INT(read_all(client, &query, &all), 0);
        check_complete(&all, COUNT);
        CHECK(all.pages >= (COUNT + (int)size - 1) / (int)size);
    }
    close_world(client);
}

TEST_TWICE(a_continuation_goes_on_in_another_client)
{
    aiocosmos_client *client = open_world("--partitions 3"), *other;
    aiocosmos_options options = usual_options();
    aiocosmos_query_request query = query_of("SELECT * FROM c");
    char key[2] = "a";
    int i, moves = 0;
    listing all;
    for (i = 0; i < 6; i++, key[0]++) fill(client, key, i * 5, i * 5 + 5);
    memset(&all, 0, sizeof all);
    query.page_items_max = 4;
    other = open_client(&options);
    do {
        aiocosmos_client *turn = moves++ % 2 ? other : client;
        aiocosmos_cursor page = open_query(turn, &query);
        CHECK_INT(read_page(turn, page, &all), 0);
        aiocosmos_cursor_close(turn, page);
        query.continuation = aiocosmos_text(all.continuation);
    } while (all.more);
    check_complete(&all, 30);
    CHECK(moves >= 8);
    CHECK_STR(all.continuation, "");
    aiocosmos_destroy(other);
    close_world(client);
}

TEST(a_continuation_of_something_else_is_refused_by_name)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request query = query_of("SELECT * FROM c ORDER BY c.n");
    char token[sizeof ((listing *)0)->continuation];
    listing all;
    aiocosmos_cursor open;
    fill(client, "eu", 0, 10);
    query.page_items_max = 4;
    open = open_query(client, &query);
    memset(&all, 0, sizeof all);
    CHECK_INT(read_page(client, open, &all), 0);
    aiocosmos_cursor_close(client, open);
    snprintf(token, sizeof token, "%s", all.continuation);
    query.continuation = aiocosmos_text("nonsense");
    CHECK_STR(refusal_of_query(client, &query), "continuation: not a continuation token of this library");
    query.continuation = aiocosmos_text(token);
    query.sql = "SELECT * FROM c ORDER BY c.m";
    CHECK_STR(refusal_of_query(client, &query), "continuation: of another query, container or list of keys");
    query.sql = "SELECT * FROM c ORDER BY c.n";
    query.container = "other";
    CHECK_STR(refusal_of_query(client, &query), "continuation: of another query, container or list of keys");
    query.container = "c";
    token[strlen(token) / 2]++;
    CHECK(strncmp(refusal_of_query(client, &query), "continuation: ", 14) == 0);
    close_world(client);
}

/* What the first levels of a hierarchical key have in common, from as few ranges as hold it. */
TEST_TWICE(the_first_levels_of_a_key_are_a_part_of_the_key_space)
{
    aiocosmos_client *client = open_world("--partitions 8");
    aiocosmos_request make = {0};
    aiocosmos_query_request query = query_of("SELECT VALUE c.n FROM c ORDER BY c.n");
    aiocosmos_pk keys[5];
    answer got;
    listing all;
    int i;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "levels";
    make.partition_key_paths[0] = "/tenant";
    make.partition_key_paths[1] = "/user";
    make.partition_key_paths[2] = "/session";
    CHECK_INT(ask(client, make, &got), 0);
    for (i = 0; i < 40; i++) {
        char body[128], user[16];
        aiocosmos_request item = {0};
        snprintf(user, sizeof user, "u%d", i % 5);
        snprintf(body, sizeof body, "{\"id\":\"%d\",\"tenant\":%d,\"user\":\"%s\",\"session\":%d,\"n\":%d}", i, i % 2,
                 user, i, i);
        item.kind = AIOCOSMOS_CREATE_ITEM;
        item.container = "levels";
        item.pk = aiocosmos_pk3(aiocosmos_i(i % 2), aiocosmos_s(user), aiocosmos_i(i));
        item.body.ptr = body;
        item.body.len = strlen(body);
        CHECK_INT(ask(client, item, &got), 0);
    }
    query.container = "levels";
    query.pk = aiocosmos_pk1(aiocosmos_i(1));
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_STR(all.text, "[1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31,33,35,37,39]");
    query.pk = aiocosmos_pk2(aiocosmos_i(1), aiocosmos_s("u3"));
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_STR(all.text, "[3,13,23,33]");
    query.pk = aiocosmos_pk3(aiocosmos_i(1), aiocosmos_s("u3"), aiocosmos_i(13));
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_STR(all.text, "[13]");
    memset(&query.pk, 0, sizeof query.pk);
    keys[0] = aiocosmos_pk2(aiocosmos_i(1), aiocosmos_s("u3"));
    keys[1] = aiocosmos_pk3(aiocosmos_i(0), aiocosmos_s("u2"), aiocosmos_i(12));
    keys[2] = aiocosmos_pk3(aiocosmos_i(1), aiocosmos_s("u3"), aiocosmos_i(13));   /* lies in the first */
    keys[3] = aiocosmos_pk3(aiocosmos_i(7), aiocosmos_s("u3"), aiocosmos_i(13));   /* of which there is nothing */
    keys[4] = keys[1];
    query.pks = keys;
    query.pk_count = 5;
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_STR(all.text, "[3,12,13,23,33]");
    query.sql = "SELECT VALUE COUNT(1) FROM c";
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_STR(all.text, "[5]");
    keys[4] = aiocosmos_pk1(aiocosmos_i(1));     /* the first lies in it, and came before it */
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_STR(all.text, "[21]");
    query.pks = &keys[1];
    query.pk_count = 1;
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_STR(all.text, "[1]");
    close_world(client);
}

/* The service is told with which row to go on: what came before is not read again. */
TEST(an_ordered_query_is_resumed_where_it_was)
{
    aiocosmos_client *client = open_world("--partitions 4");
    aiocosmos_query_request query = query_of("SELECT VALUE c.n FROM c ORDER BY c.n");
    aiocosmos_cursor open;
    aiocosmos_cursor_stats stats;
    char key[16];
    static listing all;
    int i;
    for (i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "k%d", i);
        fill(client, key, i, i + 1);
    }
    query.page_items_max = 150;
    open = open_query(client, &query);
    CHECK_INT(read_page(client, open, &all), 0);
    CHECK_INT(all.items, 150);
    aiocosmos_cursor_close(client, open);
    query.continuation = aiocosmos_text(all.continuation);
    open = open_query(client, &query);
    memset(&all.text, 0, sizeof all.text);
    CHECK_INT(read_page(client, open, &all), 0);
    CHECK_INT(all.items, 200);
    CHECK(aiocosmos_cursor_get_stats(client, open, &stats));
    CHECK(stats.items <= 51);                    /* the last one, which was given, and all behind it */
    aiocosmos_cursor_close(client, open);
    close_world(client);
}

/* Page by page, each from its token, as all ranges are. */
TEST_TWICE(the_items_of_many_keys_are_merged_and_resumed)
{
    aiocosmos_client *client = open_world("--partitions 8");
    aiocosmos_query_request query = query_of("SELECT VALUE c.n FROM c ORDER BY c.n DESC");
    static aiocosmos_pk keys[300];
    static char names[100][16];
    char token[sizeof ((listing *)0)->continuation] = "";
    listing all;
    int i, n = 0;
    for (i = 0; i < 100; i++) {
        snprintf(names[i], sizeof names[i], "key %d", i);
        if (i < 50) fill(client, names[i], i, i + 1);
        keys[i] = keys[299 - i] = aiocosmos_pk1(aiocosmos_s(names[i]));
    }
    for (i = 100; i < 200; i++) keys[i] = aiocosmos_pk1(aiocosmos_i(i));
    fill(client, "another", 50, 60);
    query.pks = keys;
    query.pk_count = 300;
    query.page_items_max = 7;
    for (n = 49; n >= 0;) {
        aiocosmos_cursor open;
        char want[64] = "", *at = want;
        query.continuation = aiocosmos_text(*token ? token : NULL);
        open = open_query(client, &query);
        memset(&all, 0, sizeof all);
        CHECK_INT(read_page(client, open, &all), 0);
        for (i = 0; i < 7 && n >= 0; i++, n--) at += snprintf(at, 8, "%s%d", i ? "," : "[", n);
        snprintf(at, 2, "]");
        CHECK_STR(all.text, want);
        snprintf(token, sizeof token, "%s", all.continuation);
        aiocosmos_cursor_close(client, open);
    }
    query.continuation = aiocosmos_text(NULL);
    query.page_items_max = 0;
    query.sql = NULL;
    query.skip_empty = true;
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_INT(all.items, 50);
    query.pk = keys[0];
    CHECK_STR(refusal_of_query(client, &query), "pks: at least one, with pk_count, and instead of pk");
    memset(&query.pk, 0, sizeof query.pk);
    query.pks = NULL;
    CHECK_STR(refusal_of_query(client, &query), "pks: at least one, with pk_count, and instead of pk");
    query.pks = keys;
    query.pk_count = 0;                          /* no key's items are not everybody's */
    CHECK_STR(refusal_of_query(client, &query), "pks: at least one, with pk_count, and instead of pk");
    query.pk_count = 300;
    keys[17] = aiocosmos_pk2(aiocosmos_s("one level"), aiocosmos_s("too many"));
    CHECK_INT(read_all(client, &query, &all), AIOCOSMOS_E_ARGUMENT);
    memset(&keys[17], 0, sizeof keys[17]);
    CHECK_STR(refusal_of_query(client, &query), "pk: required");
    close_world(client);
}

/* The first client has not seen the container when it asks, the second has. */
TEST(a_token_does_not_depend_on_what_its_client_knew)
{
    aiocosmos_client *client = open_world(""), *other;
    aiocosmos_query_request query = query_in("eu", "SELECT * FROM c");
    aiocosmos_options options = usual_options();
    char token[sizeof ((listing *)0)->continuation];
    aiocosmos_cursor open;
    listing all;
    fill(client, "eu", 0, 10);
    query.page_items_max = 4;
    other = open_client(&options);
    open = open_query(other, &query);
    memset(&all, 0, sizeof all);
    CHECK_INT(read_page(other, open, &all), 0);
    aiocosmos_cursor_close(other, open);
    aiocosmos_destroy(other);
    snprintf(token, sizeof token, "%s", all.continuation);
    query.page_items_max = 0;
    CHECK_INT(read_all(client, &query, &all), 0);            /* knows its ranges from here on */
    query.continuation = aiocosmos_text(token);
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_INT(all.items, 6);
    close_world(client);
}

TEST(a_query_says_what_it_has_cost)
{
    aiocosmos_client *client = open_world("--partitions 4");
    aiocosmos_query_request query = query_of("SELECT c.id FROM c ORDER BY c.n");
    aiocosmos_cursor_stats stats;
    aiocosmos_range_stats range;
    aiocosmos_cursor open;
    listing all;
    double charge_ru = 0;
    uint64_t items = 0;
    uint32_t i;
    fill(client, "a", 0, 10);
    fill(client, "b", 10, 20);
    query.want_metrics = true;
    query.want_index_metrics = true;
    query.parallel_max = UINT32_MAX;
    open = open_query(client, &query);
    memset(&all, 0, sizeof all);
    while (read_page(client, open, &all) == 0 && all.more) continue;
    CHECK(aiocosmos_cursor_get_stats(client, open, &stats));
    CHECK_INT(stats.items, 20);
    CHECK_INT(stats.requests, 5);                            /* four ranges, and the plan */
    CHECK_INT(stats.range_count, 4);
    CHECK(strstr(stats.plan.ptr, "orderByExpressions"));
    CHECK(strstr(stats.metrics.ptr, "outputDocumentCount=20"));
    CHECK(stats.index_metrics.len > 0 && *stats.index_metrics.ptr == '{');
    for (i = 0; i < stats.range_count; i++) {
        CHECK(aiocosmos_cursor_get_range(client, open, i, &range));
        CHECK(range.id.len > 0 && range.max.len > 0 && range.requests == 1);
        charge_ru += range.charge_ru;
        items += range.items;
    }
    CHECK_INT(items, 20);
    CHECK(charge_ru > 8 && charge_ru <= stats.charge_ru && stats.charge_ru - all.charge_ru < 0.01);
    CHECK(!aiocosmos_cursor_get_range(client, open, i, &range));
    aiocosmos_cursor_close(client, open);
    CHECK(!aiocosmos_cursor_get_stats(client, open, &stats));
    CHECK(!aiocosmos_cursor_get_range(client, open, 0, &range));
    query = query_in("a", "SELECT * FROM c");                /* the service merges it */
    open = open_query(client, &query);
    CHECK_INT(read_page(client, open, &all), 0);
    CHECK(aiocosmos_cursor_get_stats(client, open, &stats));
    CHECK_INT(stats.items, 10);
    CHECK(stats.requests == 1 && stats.plan.len == 0 && stats.memory_used == 0);
    aiocosmos_cursor_close(client, open);
    close_world(client);
}

TEST(empty_pages_are_shown_or_skipped)
{
    aiocosmos_client *client = open_world("--partitions 8");
    aiocosmos_query_request query = query_of("SELECT * FROM c WHERE c.n = 7");
    listing all;
    fill(client, "eu", 0, 10);
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_INT(all.items, 1);
    CHECK(all.empty_pages > 0);
    query.skip_empty = true;
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_INT(all.items, 1);
    CHECK(all.empty_pages <= 1);
    query.sql = "SELECT * FROM c WHERE c.n = 700";
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_INT(all.items, 0);
    CHECK_INT(all.pages, 1);
    close_world(client);
}

TEST_TWICE(one_partition_serves_the_whole_language)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request query;
    listing all;
    fill(client, "eu", 0, 10);
    fill(client, "us", 10, 20);
    query = query_in("eu", "SELECT VALUE c.n FROM c WHERE c.n >= 3 ORDER BY c.n DESC OFFSET 1 LIMIT 3");
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_STR(all.text, "[8,7,6]");
    query = query_in("eu", "SELECT COUNT(1) AS count, SUM(c.n) AS sum, AVG(c.n) AS avg, MIN(c.n) AS min, "
                           "MAX(c.n) AS max FROM c");
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_STR(all.text, "[{\"count\":10,\"sum\":45,\"avg\":4.5,\"min\":0,\"max\":9}]");
    query = query_in("us", "SELECT c.n % 2 AS odd, COUNT(1) AS count FROM c GROUP BY c.n % 2");
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_INT(all.items, 2);
    CHECK(strstr(all.text, "\"count\":5"));
    close_world(client);
}

TEST_TWICE(a_filter_runs_across_partitions)
{
    aiocosmos_client *client = open_world("--partitions 5");
    aiocosmos_query_request query = query_of("SELECT c.id FROM c WHERE c.n >= 5 AND c.n < 25");
    listing all;
    fill(client, "a", 0, 10);
    fill(client, "b", 10, 20);
    fill(client, "c", 20, 30);
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_INT(all.items, 20);
    query.sql = NULL;
    CHECK_INT(read_all(client, &query, &all), 0);
    check_complete(&all, 30);
    query.pk = aiocosmos_pk1(aiocosmos_s("b"));
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_INT(all.items, 10);
    close_world(client);
}

TEST_TWICE(what_the_gateway_cannot_merge_is_merged_here)
{
    static const struct { const char *sql, *answer; } cases[] = {
        { "SELECT VALUE c.n FROM c ORDER BY c.n DESC", "[29,28,27,26,25,24,23,22,21,20,19,18,17,16,15,14,13,12,11,10,"
          "9,8,7,6,5,4,3,2,1,0]" },
        { "SELECT TOP 3 VALUE c.n FROM c ORDER BY c.n", "[0,1,2]" },
        { "SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 12 LIMIT 3", "[12,13,14]" },
        { "SELECT VALUE COUNT(1) FROM c", "[30]" },
        { "SELECT COUNT(1) AS n, SUM(c.n) AS s, AVG(c.n) AS a, MIN(c.n) AS lo, MAX(c.n) AS hi FROM c",
          "[{\"n\":30,\"s\":435,\"a\":14.5,\"lo\":0,\"hi\":29}]" },
        { "SELECT DISTINCT VALUE c.pk FROM c ORDER BY c.pk", "[\"a\",\"b\",\"c\"]" },
        { "SELECT VALUE COUNT(1) FROM (SELECT DISTINCT c.pk FROM c)", "[3]" },
    };
    aiocosmos_client *client = open_world("--partitions 5");
    size_t i;
    fill(client, "a", 0, 10);
    fill(client, "b", 10, 20);
    fill(client, "c", 20, 30);
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        aiocosmos_query_request query = query_of(cases[i].sql);
        listing all;
        CHECK_INT(read_all(client, &query, &all), 0);
        CHECK_STR(all.text, cases[i].answer);
    }
    close_world(client);
}

TEST(sql_that_is_wrong_says_what_and_where)
{
    static const struct { const char *sql, *says; } cases[] = {
        {"SELECT * FORM c", "FORM"}, {"SELECT", "Syntax error"}, {"SELECT NOSUCH(c.n) FROM c", "NOSUCH"},
        {"SELECT * FROM c WHERE x.n = 1", "x"}, {"SELECT * FROM c WHERE c.n = @missing", "@missing"},
        {"SELECT 'open FROM c", "Syntax error"},
    };
    aiocosmos_client *client = open_world("");
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        aiocosmos_query_request query = query_in("eu", cases[i].sql);
        listing all;
        CHECK_INT(read_all(client, &query, &all), 400);
        if (!strstr(all.message, cases[i].says)) CHECK_STR(all.message, cases[i].says);
    }
    close_world(client);
}

TEST(one_page_is_owed_at_a_time)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request request = query_in("eu", "SELECT * FROM c");
    aiocosmos_cursor query = open_query(client, &request);
    listing all;
    memset(&all, 0, sizeof all);
    CHECK_INT(aiocosmos_pending(client), 0);
    CHECK_INT(aiocosmos_cursor_next(client, query, keep_page, &all), 0);
    CHECK_INT(aiocosmos_pending(client), 1);
    CHECK_INT(aiocosmos_cursor_next(client, query, keep_page, &all), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "cursor: a page is still owed");
    drain(client);
    CHECK_INT(all.calls, 1);
    CHECK_INT(aiocosmos_cursor_next(client, query, keep_page, &all), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "cursor: the last page has been delivered");
    aiocosmos_cursor_close(client, query);
    CHECK_INT(aiocosmos_cursor_next(client, query, keep_page, &all), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "cursor: unknown or closed");
    aiocosmos_cursor_close(client, query);
    drain(client);
    CHECK_INT(all.calls, 1);
    close_world(client);
}

static void forget_too_late(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    const aiocosmos_cursor *query = user_data;
    CHECK_INT(page->result->status, AIOCOSMOS_E_CANCELLED);
    CHECK(!aiocosmos_cursor_forget(client, *query));
    CHECK_INT(aiocosmos_cursor_next(client, *query, forget_too_late, NULL), AIOCOSMOS_E_ARGUMENT);
}

TEST(a_query_that_is_closed_is_unknown_in_its_last_callback)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request request = query_in("eu", "SELECT * FROM c");
    aiocosmos_cursor query = open_query(client, &request);
    CHECK_INT(aiocosmos_cursor_next(client, query, forget_too_late, &query), 0);
    aiocosmos_cursor_close(client, query);
    drain(client);
    close_world(client);
}

TEST(closing_a_query_cancels_the_page_that_is_owed)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request request = query_in("eu", "SELECT * FROM c");
    int steps, i;
    fault("action=hang,kind=query_items");
    for (steps = 0; steps < 3; steps++) {                  /* not begun, sent, waited for */
        aiocosmos_cursor query = open_query(client, &request);
        listing all;
        memset(&all, 0, sizeof all);
        CHECK_INT(aiocosmos_cursor_next(client, query, keep_page, &all), 0);
        for (i = 0; i < steps; i++) CHECK_INT(aiocosmos_step(client, 1), 0);
        aiocosmos_cursor_close(client, query);
        CHECK_INT(all.calls, 0);
        drain(client);
        CHECK_INT(all.calls, 1);
        CHECK_INT(all.status, AIOCOSMOS_E_CANCELLED);
        CHECK(!all.more);
    }
    close_world(client);
}

TEST(a_page_that_failed_can_be_asked_for_again)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request request = query_in("eu", "SELECT * FROM c");
    aiocosmos_cursor query;
    listing all;
    fill(client, "eu", 0, 10);
    request.page_items_max = 5;
    query = open_query(client, &request);
    memset(&all, 0, sizeof all);
    CHECK_INT(read_page(client, query, &all), 0);
    fault("status=400,kind=query_items,count=1");
    CHECK_INT(read_page(client, query, &all), 400);
    CHECK(!all.more);
    CHECK_INT(read_page(client, query, &all), 0);
    if (all.more) CHECK_INT(read_page(client, query, &all), 0);
    check_complete(&all, 10);
    aiocosmos_cursor_close(client, query);
    close_world(client);
}

/* What was garbled on its way need not be so again: the query goes on where it was. */
TEST(a_page_that_is_none_fails_and_the_next_asks_again)
{
    static const char *const sqls[] = {
        "SELECT * FROM c", "SELECT * FROM c ORDER BY c.n", "SELECT TOP 30 * FROM c", "SELECT DISTINCT * FROM c"
    };
    aiocosmos_client *client = open_world("--partitions 4");
    size_t i;
    fill(client, "a", 0, 10);
    fill(client, "b", 10, 20);
    fill(client, "c", 20, 30);
    for (i = 0; i < 2 * sizeof sqls / sizeof *sqls; i++) {
        aiocosmos_query_request request = query_of(sqls[i / 2]);
        aiocosmos_cursor query;
        listing all;
        int failures = 0, status = 0;
        request.page_items_max = 7;
        memset(&all, 0, sizeof all);
        query = open_query(client, &request);
        fault(i % 2 ? "status=200,kind=query_items,skip=3,count=2" : "status=200,kind=query_items,count=1");
        for (all.more = true; all.more || status; failures += status != 0) {
            status = read_page(client, query, &all);
            if (status) CHECK_INT(status, AIOCOSMOS_E_PROTOCOL);
        }
        CHECK(failures > 0);
        check_complete(&all, 30);
        aiocosmos_cursor_close(client, query);
        no_faults();
    }
    close_world(client);
}

/* An ordered query that had to give back what it had read ahead goes on behind its last row, by the ranges: who has
 * lost those, too, asks for them, and does not take no ranges for no rows. */
TEST(a_query_that_lost_its_answers_and_its_ranges_goes_on)
{
    aiocosmos_client *client = open_world("--partitions 4");
    aiocosmos_query_request request = query_of("SELECT * FROM c ORDER BY c.n");
    aiocosmos_cursor query;
    listing all;
    fill(client, "a", 0, 10);
    fill(client, "b", 10, 20);
    fill(client, "c", 20, 30);
    request.page_items_max = 7;
    query = open_query(client, &request);
    memset(&all, 0, sizeof all);
    do {
        CHECK_INT(read_page(client, query, &all), 0);
        client_loses_answers(client, query);
    } while (all.more);
    check_complete(&all, 30);
    aiocosmos_cursor_close(client, query);
    close_world(client);
}

typedef struct walker {
    aiocosmos_cursor query;
    int pages, items;
    bool close_early;
} walker;

static void walk_on(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    walker *w = user_data;
    w->pages++;
    w->items += (int)page->item_count;
    CHECK_INT(page->result->status, 0);
    if (page->more && !(w->close_early && w->pages == 2))
        CHECK_INT(aiocosmos_cursor_next(client, w->query, walk_on, w), 0);
    else
        aiocosmos_cursor_close(client, w->query);
}

TEST(a_page_may_ask_for_the_next_or_close_its_query)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request request = query_in("eu", "SELECT * FROM c");
    walker w;
    fill(client, "eu", 0, 10);
    request.page_items_max = 2;
    memset(&w, 0, sizeof w);
    w.query = open_query(client, &request);
    CHECK_INT(aiocosmos_cursor_next(client, w.query, walk_on, &w), 0);
    drain(client);
    CHECK_INT(w.items, 10);
    memset(&w, 0, sizeof w);
    w.close_early = true;
    w.query = open_query(client, &request);
    CHECK_INT(aiocosmos_cursor_next(client, w.query, walk_on, &w), 0);
    drain(client);
    CHECK_INT(w.items, 4);
    close_world(client);
}

TEST(open_queries_are_freed_with_the_client)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request request = query_in("eu", "SELECT * FROM c");
    listing owed;
    int i;
    memset(&owed, 0, sizeof owed);
    for (i = 0; i < 20; i++) open_query(client, &request);
    CHECK_INT(aiocosmos_cursor_next(client, open_query(client, &request), keep_page, &owed), 0);
    close_world(client);
    CHECK_INT(owed.calls, 1);
    CHECK_INT(owed.status, AIOCOSMOS_E_SHUTDOWN);
}

/*--- Session tokens -------------------------------------------------------------------*/

static const char *session_of(aiocosmos_client *client)
{
    static char text[1024];
    copy_text(text, sizeof text, aiocosmos_session_get(client, NULL, "c"));
    return text;
}

TEST(tokens_are_tracked_by_container_and_range)
{
    aiocosmos_client *client = open_world("--partitions 4");
    char key[2] = "a";
    answer got;
    CHECK_STR(session_of(client), "");
    CHECK_INT(ask(client, create_item(aiocosmos_s("x"), "{\"id\":\"1\",\"pk\":\"x\"}"), &got), 0);
    CHECK_STR(session_of(client), got.session);
    for (; key[0] < 'q'; key[0]++) fill(client, key, 0, 1);
    CHECK(strchr(session_of(client), ','));
    CHECK_INT(aiocosmos_session_get(client, NULL, "unknown").len, 0);
    CHECK_INT(aiocosmos_session_get(client, "other", "c").len, 0);
    close_world(client);
}

TEST(a_token_is_carried_to_another_client)
{
    aiocosmos_client *client = open_world("--partitions 4"), *other;
    aiocosmos_options options = usual_options();
    char key[2] = "a", token[1024];
    for (; key[0] < 'k'; key[0]++) fill(client, key, 0, 1);
    snprintf(token, sizeof token, "%s", session_of(client));
    other = open_client(&options);
    CHECK_INT(aiocosmos_session_merge(other, NULL, "c", text_of(token)), 0);
    CHECK_STR(session_of(other), token);
    CHECK_INT(aiocosmos_session_merge(other, NULL, "c", text_of(token)), 0);
    CHECK_STR(session_of(other), token);
    CHECK_INT(aiocosmos_session_merge(other, NULL, "c", aiocosmos_session_get(other, "other", "c")), 0);  /* none */
    CHECK_STR(session_of(other), token);
    CHECK_INT(aiocosmos_session_merge(other, NULL, "c", text_of("0:-1#1,nonsense")), AIOCOSMOS_E_ARGUMENT);
    CHECK(strstr(aiocosmos_last_error(other), "token: malformed at byte "));
    CHECK_STR(session_of(other), token);
    aiocosmos_destroy(other);
    close_world(client);
}

TEST(a_read_sends_the_token_of_its_range_and_a_write_none)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    const char *sent;
    char first[64];
    answer got;
    open_emulator("--partitions 4");
    options = usual_options();
    options.platform = bent_platform();
    client = open_client(&options);
    fill_world(client);
    CHECK_INT(ask(client, create_item(aiocosmos_s("a"), "{\"id\":\"1\",\"pk\":\"a\"}"), &got), 0);
    copy_text(first, sizeof first, text_of(got.session));
    fill(client, "b", 0, 1);
    fill(client, "c", 0, 1);
    fill(client, "d", 0, 1);
    CHECK(!strstr(bend.sent, "x-ms-session-token"));
    forget_sent();
    CHECK_INT(ask(client, read_item("1", aiocosmos_s("a")), &got), 0);
    sent = strstr(bend.sent, "x-ms-session-token: ");        /* of all ranges, meanwhile */
    CHECK(sent && strchr(sent, ',') && strchr(sent, ',') < strchr(sent, '\r'));
    await_ranges(client);
    CHECK(strstr(bend.sent, "GET /dbs/db/colls/c HTTP/1.1"));
    CHECK(strstr(bend.sent, "GET /dbs/db/colls/c/pkranges HTTP/1.1"));
    forget_sent();
    CHECK_INT(ask(client, read_item("1", aiocosmos_s("a")), &got), 0);
    sent = strstr(bend.sent, "x-ms-session-token: ");
    CHECK(sent);
    CHECK_MEM(sent + 20, first, strlen(first));
    CHECK_MEM(sent + 20 + strlen(first), "\r\n", 2);
    forget_sent();
    CHECK_INT(ask(client, read_item("1", aiocosmos_s("a")), &got), 0);
    CHECK(!strstr(bend.sent, "pkranges"));                  /* asked once */
    close_world(client);
}

TEST(where_ranges_cannot_be_had_the_composite_is_sent)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    const char *sent, *token;
    char key[2] = "a";
    answer got;
    open_emulator("--partitions 4");
    options = usual_options();
    options.platform = bent_platform();
    client = open_client(&options);
    fill_world(client);
    for (; key[0] < 'k'; key[0]++) fill(client, key, 0, 1);
    fault("status=404,kind=list_ranges");
    forget_sent();
    CHECK_INT(ask(client, read_item("0", aiocosmos_s("a")), &got), 0);
    token = session_of(client);
    CHECK(strchr(token, ','));
    sent = strstr(bend.sent, "x-ms-session-token: ");
    CHECK(sent);
    CHECK_MEM(sent + 20, token, strlen(token));
    close_world(client);
}

TEST(a_client_without_sessions_sends_and_keeps_no_tokens)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    answer got;
    open_emulator("");
    options = usual_options();
    options.platform = bent_platform();
    options.no_session = true;
    client = open_client(&options);
    fill_world(client);
    fill(client, "a", 0, 1);
    CHECK_INT(ask(client, read_item("0", aiocosmos_s("a")), &got), 0);
    CHECK(got.session[0]);                                   /* the result still says what came */
    CHECK_STR(session_of(client), "");
    CHECK(!strstr(bend.sent, "x-ms-session-token") && !strstr(bend.sent, "pkranges"));
    close_world(client);
}

TEST(a_token_given_by_hand_counts_for_that_request_alone)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    aiocosmos_request request = read_item("0", aiocosmos_s("a"));
    char range[16];
    answer got;
    open_emulator("--partitions 1");
    options = usual_options();
    options.retries_max = 2;
    client = open_client(&options);
    fill_world(client);
    CHECK_INT(ask(client, create_item(aiocosmos_s("a"), "{\"id\":\"0\",\"pk\":\"a\"}"), &got), 0);
    CHECK_INT(sscanf(got.session, "%7[^:]", range), 1);
    strcat(range, ":-1#999999");
    request.session_token = aiocosmos_text(range);          /* from the future: no replica has got there */
    CHECK_INT(ask(client, request, &got), 404);
    CHECK_INT(got.sub_status, 1002);
    CHECK_INT(got.attempts, 3);
    CHECK(strstr(got.message, "session"));
    CHECK_INT(ask(client, read_item("0", aiocosmos_s("a")), &got), 0);
    request.session_token = aiocosmos_text("0:");
    CHECK(strncmp(refusal_of(client, request), "session_token: malformed at byte ", 33) == 0);
    close_world(client);
}

TEST(a_replica_that_lags_is_asked_again_until_it_has_our_write)
{
    aiocosmos_client *client = open_world("");
    answer got;
    fill(client, "a", 0, 1);
    fault("status=404,sub_status=1002,kind=read_item,count=3");
    CHECK_INT(ask(client, read_item("0", aiocosmos_s("a")), &got), 0);
    CHECK_INT(got.attempts, 4);
    close_world(client);
}

TEST(tokens_survive_a_split)
{
    aiocosmos_client *client = open_world("--partitions 1");
    char key[2] = "a";
    answer got;
    for (; key[0] < 'k'; key[0]++) fill(client, key, 0, 1);
    CHECK_INT(ask(client, read_item("0", aiocosmos_s("a")), &got), 0);
    split_first_range();
    for (key[0] = 'a'; key[0] < 'k'; key[0]++) CHECK_INT(ask(client, read_item("0", aiocosmos_s(key)), &got), 0);
    fill(client, "z", 0, 1);
    CHECK_INT(ask(client, read_item("0", aiocosmos_s("z")), &got), 0);
    close_world(client);
}

TEST(a_container_created_anew_under_its_name_is_a_new_one)
{
    aiocosmos_client *client = open_world(""), *other;
    aiocosmos_options options = usual_options();
    answer got;
    fill(client, "a", 0, 20);
    CHECK_INT(ask(client, read_item("0", aiocosmos_s("a")), &got), 0);
    other = open_client(&options);
    must(other, of_kind(AIOCOSMOS_DELETE_CONTAINER));
    must(other, create_container("c", "/pk"));
    aiocosmos_destroy(other);
    fill(client, "a", 0, 1);              /* the answer names another rid: the old tokens are forgotten */
    CHECK_INT(ask(client, read_item("0", aiocosmos_s("a")), &got), 0);
    CHECK_INT(got.attempts, 1);
    CHECK_INT(ask(client, read_item("19", aiocosmos_s("a")), &got), 404);
    must(client, of_kind(AIOCOSMOS_DELETE_CONTAINER));
    CHECK_STR(session_of(client), "");
    close_world(client);
}

/* Another client has read its first page: a token that is not of the container that this one knows may be of a new
 * one. */
TEST(a_token_of_a_container_created_anew_tells_of_it)
{
    aiocosmos_client *client = open_world("--partitions 2"), *other;
    aiocosmos_options options = usual_options();
    aiocosmos_query_request query = query_of("SELECT * FROM c WHERE c.n >= 0");
    aiocosmos_cursor first;
    listing all;
    fill(client, "a", 0, 20);
    CHECK_INT(read_all(client, &query, &all), 0);
    other = open_client(&options);
    must(other, of_kind(AIOCOSMOS_DELETE_CONTAINER));
    must(other, create_container("c", "/pk"));
    fill(other, "b", 0, 5);
    query.page_items_max = 2;
    query.skip_empty = true;
    first = open_query(other, &query);
    memset(&all, 0, sizeof all);
    CHECK_INT(read_page(other, first, &all), 0);
    aiocosmos_destroy(other);
    query.continuation = aiocosmos_text(all.continuation);
    CHECK_INT(read_all(client, &query, &all), 0);
    CHECK_INT(all.items, 3);
    close_world(client);
}

/* A 404, 409 or 412 names it, too: its token is the new container's, and the old one's go before it is kept. */
TEST(a_failure_tells_of_a_container_created_anew)
{
    aiocosmos_client *client = open_world("--partitions 1"), *other;
    aiocosmos_options options = usual_options();
    answer got;
    fill(client, "a", 0, 20);
    other = open_client(&options);
    must(other, of_kind(AIOCOSMOS_DELETE_CONTAINER));
    must(other, create_container("c", "/pk"));
    aiocosmos_destroy(other);
    CHECK_INT(ask(client, delete_item("0", aiocosmos_s("a")), &got), 404);
    CHECK_STR(session_of(client), "0:-1#1");
    CHECK_INT(ask(client, read_item("0", aiocosmos_s("a")), &got), 404);
    CHECK_INT(got.attempts, 1);
    close_world(client);
}

TEST(only_so_many_containers_are_remembered)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    answer got;
    open_emulator("");
    options = usual_options();
    options.containers_max = 1;
    client = open_client(&options);
    fill_world(client);
    must(client, create_container("c2", "/pk"));
    fill(client, "a", 0, 1);
    CHECK(aiocosmos_session_get(client, NULL, "c").len > 0);
    got.status = 0;
    {
        aiocosmos_request elsewhere = create_item(aiocosmos_s("a"), "{\"id\":\"0\",\"pk\":\"a\"}");
        elsewhere.container = "c2";
        CHECK_INT(ask(client, elsewhere, &got), 0);
    }
    CHECK_INT(aiocosmos_session_get(client, NULL, "c").len, 0);
    CHECK(aiocosmos_session_get(client, NULL, "c2").len > 0);
    CHECK_INT(ask(client, read_item("0", aiocosmos_s("a")), &got), 0);
    close_world(client);
}

/* The range that is split is the first that is asked, and nothing else is under way. */
TEST(a_query_follows_a_split_of_its_first_range)
{
    aiocosmos_client *client = open_world("--partitions 2");
    aiocosmos_query_request request = query_of(NULL);
    char key[2] = "a";
    listing all;
    for (; key[0] < 'k'; key[0]++) fill(client, key, 0, 1);
    request.timeout_ms = 5000;
    request.page_items_max = 1;
    CHECK_INT(read_all(client, &request, &all), 0);
    CHECK_INT(all.items, 10);
    split_first_range();
    CHECK_INT(read_all(client, &request, &all), 0);
    CHECK_INT(all.items, 10);
    close_world(client);
}

/* The list of ranges is on its way, and old when it comes: a write has told of a split meanwhile. */
TEST(a_read_after_a_split_during_the_fetch_of_ranges_carries_the_new_token)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    answer first, got;
    char line[600];
    open_emulator("--partitions 1");
    options = usual_options();
    options.platform = bent_platform();
    client = open_client(&options);
    fill_world(client);
    must(client, upsert_item(aiocosmos_s("eu"), "{\"id\":\"a\",\"pk\":\"eu\"}"));
    fault("delay_ms=300,kind=list_ranges,count=1");
    send_off(client, read_item("a", aiocosmos_s("eu")), &first);
    while (!strstr(bend.sent, "/pkranges ")) CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
    split_first_range();
    send_off(client, upsert_item(aiocosmos_s("eu"), "{\"id\":\"b\",\"pk\":\"eu\"}"), &got);
    while (!got.calls) CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
    CHECK_INT(got.status, 0);
    CHECK(got.session[0] != '0');
    snprintf(line, sizeof line, "%s", got.session);
    drain(client);
    forget_sent();
    CHECK_INT(ask(client, read_item("b", aiocosmos_s("eu")), &got), 0);
    if (!strstr(bend.sent, line)) CHECK_STR(bend.sent, line);
    await_ranges(client);
    CHECK_INT(ask(client, read_item("b", aiocosmos_s("eu")), &got), 0);    /* the list was old: asks what changed */
    await_ranges(client);
    forget_sent();
    CHECK_INT(ask(client, read_item("b", aiocosmos_s("eu")), &got), 0);
    if (!strstr(bend.sent, line)) CHECK_STR(bend.sent, line);
    close_world(client);
}

/*--- Bulk -----------------------------------------------------------------------------*/

/* Runs with batches, and with one request an item. */
#define TEST_BOTH(NAME)                          \
    static void both_##NAME(void);               \
    TEST(NAME) { both_##NAME(); }                \
    TEST(NAME##_singly) { both_##NAME(); }       \
    static void both_##NAME(void)

static bool singly(void)
{
    return strstr(test.running->name, "_singly") != NULL;
}

/* Of each item; or of the request that it is in. */
static void fault_items(const char *rule)
{
    char text[128];
    snprintf(text, sizeof text, "%s,kind=%s", rule, singly() ? "create_item" : "batched_create_item");
    fault(text);
}

static void fault_requests(const char *rule)
{
    char text[128];
    snprintf(text, sizeof text, "%s,kind=%s", rule, singly() ? "create_item" : "batch_items");
    fault(text);
}

/* A host that hands out items {"id":"N","pk":N % keys}, and what it hears of them. */
typedef struct source {
    int next, count, keys;
    int later_at, fail_at;                   /* these items are LATER (once) or FAIL; 0: none */
    int bad_at, conflict_at, wrong_key_at;   /* these cannot be sent, are there already, lie about their key */
    aiocosmos_kind kind;
    bool cancel_in_item;
    aiocosmos_op op;
    char body[96], id[16];
    int pulls, item_calls, calls, succeeded, failed, cancelled, timed_out, refused;
    uint32_t lowest, highest_after;          /* concurrency seen */
    size_t memory_early, memory_late;
    int status;
    aiocosmos_bulk_totals totals;
    char message[256];
} source;

static aiocosmos_pull pull(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    source *s = user_data;
    int n = s->next, number = n && n == s->conflict_at ? n - 1 : n, key = number % s->keys;
    (void)client;
    s->pulls++;
    if (n == s->count) return AIOCOSMOS_PULL_END;
    if (n && n == s->later_at) {
        s->later_at = 0;
        return AIOCOSMOS_PULL_LATER;
    }
    if (n && n == s->fail_at) return AIOCOSMOS_PULL_FAIL;
    s->next++;
    snprintf(s->id, sizeof s->id, "%d", n);
    snprintf(s->body, sizeof s->body, "{\"id\":\"%d\",\"pk\":%d%s", number, key, n && n == s->bad_at ? "" : "}");
    item->kind = s->kind;
    item->pk = aiocosmos_pk1(aiocosmos_i(n && n == s->wrong_key_at ? -1 : key));
    if (s->kind != AIOCOSMOS_READ_ITEM && s->kind != AIOCOSMOS_DELETE_ITEM) item->body = text_of(s->body);
    if (s->kind && s->kind != AIOCOSMOS_CREATE_ITEM && s->kind != AIOCOSMOS_UPSERT_ITEM) item->id = s->id;
    if (s->kind == AIOCOSMOS_PATCH_ITEM) item->body = text_of("[{\"op\":\"set\",\"path\":\"/v\",\"value\":1}]");
    item->item_data = s;
    return AIOCOSMOS_PULL_ITEM;
}

static void item_came(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    source *s = user_data;
    aiocosmos_bulk_totals totals;
    aiocosmos_stats stats;
    CHECK(item_data == s);
    s->item_calls++;
    s->succeeded += result->status == 0;
    s->failed += result->status != 0;
    s->cancelled += result->status == AIOCOSMOS_E_CANCELLED;
    s->timed_out += result->status == AIOCOSMOS_E_TIMEOUT;
    s->refused += result->status == AIOCOSMOS_E_ARGUMENT;
    if (result->status) copy_text(s->message, sizeof s->message, result->message);
    if (s->cancel_in_item && s->item_calls == 1) CHECK(aiocosmos_cancel(client, s->op));
    if (aiocosmos_bulk_get_totals(client, s->op, &totals)) {
        if (totals.concurrency < s->lowest) s->lowest = s->highest_after = totals.concurrency;
        if (totals.concurrency > s->highest_after) s->highest_after = totals.concurrency;
    }
    aiocosmos_get_stats(client, &stats);
    if (s->item_calls == s->count / 2) s->memory_early = stats.memory_peak;
    s->memory_late = stats.memory_peak;
}

static void bulk_came(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                      void *user_data)
{
    source *s = user_data;
    aiocosmos_bulk_totals gone;
    s->calls++;
    s->status = result->status;
    s->totals = *totals;
    CHECK(!aiocosmos_bulk_get_totals(client, s->op, &gone));
}

static source items(int count, int keys)
{
    source s;
    memset(&s, 0, sizeof s);
    s.count = count;
    s.keys = keys;
    s.lowest = UINT32_MAX;
    return s;
}

static aiocosmos_bulk_request bulk_of(source *s)
{
    aiocosmos_bulk_request request;
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.next = pull;
    request.item_done = item_came;
    request.done = bulk_came;
    request.user_data = s;
    request.single_items = singly();
    return request;
}

static void start_bulk(aiocosmos_client *client, const aiocosmos_bulk_request *request, source *s)
{
    if (aiocosmos_bulk(client, request, &s->op) != 0) CHECK_STR(aiocosmos_last_error(client), "accepted");
    CHECK_INT(s->pulls, 0);                                /* nothing happens outside step */
}

/* Runs a bulk to its end; every item and the bulk itself are heard of once, and the totals are their sum. */
static int run_bulk(aiocosmos_client *client, const aiocosmos_bulk_request *request, source *s)
{
    start_bulk(client, request, s);
    CHECK_INT(aiocosmos_drain(client, 3 * PATIENCE_MS), 0);
    CHECK_INT(s->calls, 1);
    CHECK_INT(s->item_calls, s->next);
    CHECK_INT(s->totals.succeeded, s->succeeded);
    CHECK_INT(s->totals.failed, s->failed);
    return s->status;
}

static int count_items(aiocosmos_client *client)
{
    aiocosmos_query_request query = query_of("SELECT VALUE 1 FROM c");
    static listing all;
    query.skip_empty = true;
    CHECK_INT(read_all(client, &query, &all), 0);
    return all.items;
}

TEST_TWICE(ten_thousand_items_go_in_and_memory_stays_flat)
{
    aiocosmos_client *client = open_world("");
    source s = items(10000, 100);
    aiocosmos_bulk_request request = bulk_of(&s);
    CHECK_INT(run_bulk(client, &request, &s), 0);
    CHECK_INT(s.succeeded, 10000);
    CHECK_INT(s.totals.retries, 0);
    CHECK(s.totals.charge_ru > 10000);
    CHECK(s.memory_late <= s.memory_early + s.memory_early / 8);    /* what is under way has grown to its full */
    CHECK_INT(count_items(client), 10000);
    close_world(client);
}

TEST_BOTH(a_bulk_has_every_kind_of_item)
{
    static const aiocosmos_kind kinds[] = {AIOCOSMOS_CREATE_ITEM, AIOCOSMOS_UPSERT_ITEM, AIOCOSMOS_READ_ITEM,
        AIOCOSMOS_REPLACE_ITEM, AIOCOSMOS_PATCH_ITEM, AIOCOSMOS_DELETE_ITEM};
    aiocosmos_client *client = open_world("");
    size_t i;
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        source s = items(50, 7);
        aiocosmos_bulk_request request = bulk_of(&s);
        s.kind = kinds[i];
        CHECK_INT(run_bulk(client, &request, &s), 0);
        CHECK_INT(s.succeeded, 50);
    }
    CHECK_INT(count_items(client), 0);
    close_world(client);
}

/* An ingester that writes down where it would go on. */
enum { TAKEN_MAX = 3000 };
static struct { bool done[TAKEN_MAX]; int pulled, count, first_open; uint64_t said; aiocosmos_op op; } taken;

static aiocosmos_pull take_next(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    static char body[64];
    int n = taken.pulled;
    (void)client, (void)user_data;
    if (n == taken.count) return AIOCOSMOS_PULL_END;
    snprintf(body, sizeof body, "{\"id\":\"%d\",\"pk\":%d%s", n, n % 50, n % 7 == 3 ? "" : "}");       /* refused */
    item->pk = aiocosmos_pk1(aiocosmos_i(n % 50));
    item->body = text_of(body);
    item->item_data = &taken.done[taken.pulled++];
    return AIOCOSMOS_PULL_ITEM;
}

static void check_settled(uint64_t settled)
{
    while (taken.first_open < taken.pulled && taken.done[taken.first_open]) taken.first_open++;
    CHECK_INT(settled, taken.first_open);
    CHECK(settled >= taken.said);
    taken.said = settled;
}

static void taken_back(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    aiocosmos_bulk_totals totals;
    (void)result, (void)user_data;
    CHECK(!*(bool *)item_data);
    *(bool *)item_data = true;
    CHECK(aiocosmos_bulk_get_totals(client, taken.op, &totals));
    check_settled(totals.settled);
}

static void taken_all(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                      void *user_data)
{
    (void)client, (void)result, (void)user_data;
    check_settled(totals->settled);
    CHECK_INT(totals->settled, taken.pulled);
    CHECK_INT(totals->settled, totals->succeeded + totals->failed);
}

TEST_BOTH(a_bulk_says_below_which_item_all_have_ended)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_bulk_request request;
    int round;
    for (round = 0; round < 3; round++) {
        memset(&taken, 0, sizeof taken);
        memset(&request, 0, sizeof request);
        taken.count = round ? TAKEN_MAX : 2;
        request.container = "c";
        request.next = take_next;
        request.single_items = singly();
        request.item_done = taken_back;
        request.done = taken_all;
        fault_requests("delay_ms=30,probability=0.1,seed=7");
        fault_items("status=429,probability=0.05,seed=8,retry_after_ms=5");
        CHECK_INT(aiocosmos_bulk(client, &request, &taken.op), 0);
        while (round == 2 && taken.pulled < 500) CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
        if (round == 2) CHECK(aiocosmos_cancel(client, taken.op));
        CHECK_INT(aiocosmos_drain(client, 3 * PATIENCE_MS), 0);
        CHECK_INT(taken.said, taken.pulled);
        CHECK(round == 2 ? taken.pulled < taken.count : taken.pulled == taken.count);
        no_faults();
    }
    close_world(client);
}

TEST_BOTH(a_bad_item_fails_alone)
{
    aiocosmos_client *client = open_world("");
    source s = items(200, 10);
    aiocosmos_bulk_request request = bulk_of(&s);
    s.bad_at = 50;
    s.conflict_at = 100;
    s.wrong_key_at = 150;
    request.concurrency_max = 1;                           /* the conflict needs its rival stored */
    CHECK_INT(run_bulk(client, &request, &s), 0);
    CHECK_INT(s.succeeded, 197);
    CHECK_INT(s.refused, 1);
    CHECK_INT(s.totals.maybe_applied, 0);
    CHECK_INT(count_items(client), 197);
    close_world(client);
}

TEST_BOTH(a_storm_of_429_lowers_the_concurrency_and_every_item_succeeds)
{
    aiocosmos_client *client = open_world("--ru 4000");
    source s = items(1200, 100);
    aiocosmos_bulk_request request = bulk_of(&s);
    fault_items("status=429,retry_after_ms=20,skip=200,count=20");   /* also where the units suffice: on a slow host */
    CHECK_INT(run_bulk(client, &request, &s), 0);
    CHECK_INT(s.succeeded, 1200);
    CHECK(s.totals.throttled >= 20);
    CHECK(s.totals.throttled < (singly() ? 1200 : 2400));  /* a refusal costs units too: 26,000 when each item tries */
    CHECK(s.totals.retries >= s.totals.throttled);
    CHECK(s.lowest < 100);
    if (singly()) CHECK(s.highest_after > s.lowest);       /* 1 is a batch of one, and one of a hundred */
    close_world(client);
}

TEST_BOTH(a_bulk_sends_nothing_while_the_service_asks_it_to_wait)
{
    enum { WAIT_MS = 200 };
    aiocosmos_client *client = open_world("");
    source s = items(50, 5);
    aiocosmos_bulk_request request = bulk_of(&s);
    aiocosmos_stats stats;
    uint64_t attempts, began_us;
    char rule[64];
    snprintf(rule, sizeof rule, "status=429,retry_after_ms=%d,skip=10,count=1", WAIT_MS);
    fault_items(rule);
    request.concurrency_max = 4;
    start_bulk(client, &request, &s);
    do {
        CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
        aiocosmos_get_stats(client, &stats);
    } while (stats.throttled == 0);
    began_us = client_now_us(client);
    while (s.item_calls < s.pulls - (s.next < 50 ? 1 : 2)) {   /* those that were under way; END was pulled, too */
        CHECK(s.next < 50 || !singly());
        CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
    }
    aiocosmos_get_stats(client, &stats);
    attempts = stats.attempts;
    while (stats.attempts == attempts) {
        CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
        aiocosmos_get_stats(client, &stats);
    }
    CHECK(client_now_us(client) - began_us >= (WAIT_MS - 10) * 1000);
    drain(client);
    CHECK_INT(s.succeeded, 50);
    CHECK_INT(s.totals.retries, 1);
    close_world(client);
}

TEST_BOTH(a_429_never_uses_up_the_retries_of_a_bulk)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    source s = items(20, 5);
    aiocosmos_bulk_request request = bulk_of(&s);
    open_emulator("");
    options = usual_options();
    options.retries_max = 1;
    options.throttle_wait_ms = 1;
    client = open_client(&options);
    fill_world(client);
    fault_items("status=429,retry_after_ms=1,count=100");
    CHECK_INT(run_bulk(client, &request, &s), 0);
    CHECK_INT(s.succeeded, 20);
    CHECK_INT(s.totals.throttled, 100);
    close_world(client);
}

TEST_BOTH(a_source_that_has_nothing_now_is_asked_again_when_it_says_so)
{
    aiocosmos_client *client = open_world("");
    source s = items(20, 5);
    aiocosmos_bulk_request request = bulk_of(&s);
    aiocosmos_bulk_totals totals;
    int pulls;
    s.later_at = 10;
    start_bulk(client, &request, &s);
    while (s.item_calls < 10) CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
    pulls = s.pulls;
    CHECK_INT(aiocosmos_step(client, 0), 0);
    CHECK_INT(s.pulls, pulls);
    CHECK_INT(aiocosmos_pending(client), 1);
    CHECK(aiocosmos_bulk_get_totals(client, s.op, &totals));
    CHECK_INT(totals.succeeded, 10);
    CHECK_INT(aiocosmos_bulk_resume(client, s.op), 0);
    CHECK_INT(aiocosmos_next_timeout_ms(client), 0);
    drain(client);
    CHECK_INT(s.succeeded, 20);
    CHECK_INT(s.calls, 1);
    CHECK_INT(aiocosmos_bulk_resume(client, s.op), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "op: no such bulk");
    close_world(client);
}

TEST_BOTH(a_source_that_fails_ends_the_bulk_after_what_is_in_flight)
{
    aiocosmos_client *client = open_world("");
    source s = items(20, 5);
    aiocosmos_bulk_request request = bulk_of(&s);
    s.fail_at = 10;
    CHECK_INT(run_bulk(client, &request, &s), AIOCOSMOS_E_CANCELLED);
    CHECK_INT(s.succeeded, 10);
    close_world(client);
}

TEST(an_empty_bulk_ends_at_once)
{
    aiocosmos_client *client = open_world("");
    source s = items(0, 1);
    aiocosmos_bulk_request request = bulk_of(&s);
    CHECK_INT(run_bulk(client, &request, &s), 0);
    CHECK_INT(s.pulls, 1);
    request.next = NULL;
    CHECK_INT(aiocosmos_bulk(client, &request, NULL), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "next: required");
    close_world(client);
}

TEST_BOTH(cancelling_a_bulk_ends_its_items_and_then_itself)
{
    aiocosmos_client *client = open_world("");
    source s = items(1000, 10);
    aiocosmos_bulk_request request = bulk_of(&s);
    fault_requests("action=hang,skip=1");
    request.concurrency_max = 10;
    s.cancel_in_item = true;
    CHECK_INT(run_bulk(client, &request, &s), AIOCOSMOS_E_CANCELLED);
    if (singly()) CHECK_INT(s.next, 10);
    CHECK_INT(s.succeeded, singly() ? 1 : 50);       /* the other items of its answer are told what it says, too */
    CHECK_INT(s.cancelled, s.next - s.succeeded);
    close_world(client);
}

TEST_BOTH(a_bulk_that_its_last_item_cancels_ends_as_cancelled)
{
    aiocosmos_client *client = open_world("");
    source s = items(1, 1);
    aiocosmos_bulk_request request = bulk_of(&s);
    s.cancel_in_item = true;
    CHECK_INT(run_bulk(client, &request, &s), AIOCOSMOS_E_CANCELLED);
    CHECK_INT(s.succeeded, 1);
    close_world(client);
}

TEST_BOTH(a_bulk_that_is_cancelled_while_its_deadline_ends_it_ends_as_cancelled)
{
    aiocosmos_client *client = open_world("");
    source s = items(1000, 10);
    aiocosmos_bulk_request request = bulk_of(&s);
    fault_requests("action=hang");
    request.concurrency_max = 10;
    request.deadline_ms = 20;
    s.cancel_in_item = true;                               /* the first that the deadline ends */
    CHECK_INT(run_bulk(client, &request, &s), AIOCOSMOS_E_CANCELLED);
    CHECK_INT(s.timed_out + s.cancelled, s.next);
    close_world(client);
}

TEST_BOTH(cancelling_a_bulk_reaches_the_items_that_back_off_or_are_held)
{
    aiocosmos_client *client = open_world("");
    source s = items(1000, 10);
    aiocosmos_bulk_request request = bulk_of(&s);
    aiocosmos_stats stats;
    fault_items("status=429,retry_after_ms=1");
    request.concurrency_max = 10;
    start_bulk(client, &request, &s);
    do {
        CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
        aiocosmos_get_stats(client, &stats);
    } while (stats.throttled < 50);
    CHECK(aiocosmos_cancel(client, s.op));
    drain(client);
    CHECK_INT(s.calls, 1);
    CHECK_INT(s.status, AIOCOSMOS_E_CANCELLED);
    CHECK_INT(s.failed, s.next);
    CHECK(s.cancelled > 0);                          /* but for the rest of an answer in a batch, which says 429 */
    if (singly()) CHECK_INT(s.cancelled, s.next);
    if (singly()) CHECK_INT(s.next, 10);
    if (singly()) CHECK_INT(s.totals.maybe_applied, 0);
    close_world(client);
}

TEST_BOTH(the_deadline_of_a_bulk_ends_its_items_and_then_itself)
{
    aiocosmos_client *client = open_world("");
    source s = items(1000, 10);
    aiocosmos_bulk_request request = bulk_of(&s);
    fault_requests("action=hang");
    request.concurrency_max = 10;
    request.deadline_ms = 50;
    CHECK_INT(run_bulk(client, &request, &s), AIOCOSMOS_E_TIMEOUT);
    if (singly()) CHECK_INT(s.next, 10);
    CHECK_INT(s.timed_out, s.next);
    CHECK(s.totals.maybe_applied >= 10);
    if (singly()) CHECK_INT(s.totals.maybe_applied, 10);
    close_world(client);
}

TEST_BOTH(each_item_of_a_bulk_has_its_own_deadline)
{
    aiocosmos_client *client = open_world("");
    source s = items(20, 10);
    aiocosmos_bulk_request request = bulk_of(&s);
    fault_requests("action=hang,count=3");
    request.timeout_ms = 100;
    CHECK_INT(run_bulk(client, &request, &s), 0);
    CHECK(s.timed_out >= 3);
    if (singly()) CHECK_INT(s.timed_out, 3);
    CHECK_INT(s.succeeded + s.timed_out, 20);
    CHECK_INT(s.totals.maybe_applied, s.timed_out);
    close_world(client);
}

TEST_BOTH(a_bulk_keeps_within_the_operations_that_may_be_pending)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    source s = items(100, 10);
    aiocosmos_bulk_request request = bulk_of(&s);
    open_emulator("");
    options = usual_options();
    options.pending_max = 4;
    client = open_client(&options);
    fill_world(client);
    CHECK_INT(run_bulk(client, &request, &s), 0);
    CHECK_INT(s.succeeded, 100);
    close_world(client);
}

TEST_BOTH(two_bulks_share_the_client)
{
    aiocosmos_client *client = open_world("");
    source a = items(300, 10), b = items(300, 10);
    aiocosmos_bulk_request first = bulk_of(&a), second = bulk_of(&b);
    b.kind = AIOCOSMOS_UPSERT_ITEM;
    start_bulk(client, &first, &a);
    start_bulk(client, &second, &b);
    drain(client);
    CHECK_INT(b.succeeded, 300);
    CHECK_INT(a.succeeded + a.failed, 300);
    CHECK(a.calls == 1 && b.calls == 1);
    close_world(client);
}

TEST_BOTH(a_bulk_ends_with_its_client)
{
    aiocosmos_client *client = open_world("");
    source s = items(20000, 10);
    aiocosmos_bulk_request request = bulk_of(&s);
    start_bulk(client, &request, &s);
    while (s.item_calls < 20) CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
    close_world(client);
    CHECK_INT(s.calls, 1);
    CHECK_INT(s.status, AIOCOSMOS_E_SHUTDOWN);
    CHECK_INT(s.item_calls, s.next);
    CHECK_INT(s.totals.succeeded + s.totals.failed, (uint64_t)s.next);
}
