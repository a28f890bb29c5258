/* Several readers of large pages in one client that may hold little: whatever they hold, in whatever order their pages
 * are asked for, every page comes, every row once, and others find room at all times. */
#include "client.h"

#ifndef READERS_SEEDS
#define READERS_SEEDS 4                      /* from READERS_SEED on */
#endif
#ifndef READERS_SEED
#define READERS_SEED 1
#endif

enum { ITEMS = 140, KEYS = 35, READERS = 24 };

typedef enum kind { PLAIN, RISING, FALLING, GROUPS, DISTINCT_ROWS, LEFT_OUT, CHANGES, KINDS } kind;

static const char *const texts[] = { NULL, "SELECT * FROM c ORDER BY c.n", "SELECT * FROM c ORDER BY c.n DESC",
    "SELECT c.g, COUNT(1) AS k, SUM(c.n) AS n FROM c GROUP BY c.g", "SELECT DISTINCT c.id, c.n, c.text FROM c",
    "SELECT * FROM c OFFSET 70 LIMIT 1000" };

/* A query, and what has been read of it. */
typedef struct reader {
    aiocosmos_cursor query;
    kind kind;
    bool owed, over, closed;
    size_t rows;
    long long sum, last;                     /* of "n" */
} reader;

static struct readers {
    reader all[READERS];
    int count;
    long long sum;                           /* of "n" of all items */
    bool starved;                            /* there may be no memory for a page */
    uint64_t chance;
} r;

static int draw(int below)
{
    r.chance = r.chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((r.chance >> 33) % (uint64_t)below);
}

/* Items of up to 150 KB, some of one long text, some of many numbers: parsed, these are five times as large. */
static void furnish(aiocosmos_client *client)
{
    static char body[400000];
    static char keys[KEYS][16];
    int i;
    for (i = 0; i < KEYS; i++) snprintf(keys[i], sizeof keys[i], "k%d", i);
    r.sum = 0;
    for (i = 0; i < ITEMS; i++) {
        size_t len, most = (size_t)(10000 + draw(140000));
        len = (size_t)snprintf(body, sizeof body, "{\"id\":\"%d\",\"pk\":\"%s\",\"n\":%d,\"g\":%d,\"list\":[0", i,
                               keys[i % KEYS], i / 3, i % 7);
        while (i % 4 == 0 && len < most) len += (size_t)snprintf(body + len, sizeof body - len, ",%d", i);
        len += (size_t)snprintf(body + len, sizeof body - len, "],\"text\":\"");
        while (len < most) body[len++] = (char)('a' + i % 26);
        memcpy(body + len, "\"}", 3);
        must(client, create_item(aiocosmos_s(keys[i % KEYS]), body));
        r.sum += i / 3;
    }
}

static void open_reader(aiocosmos_client *client, reader *one)
{
    aiocosmos_query_request query;
    aiocosmos_changes_request changes;
    int refused;
    memset(one, 0, sizeof *one);
    memset(&query, 0, sizeof query);
    memset(&changes, 0, sizeof changes);
    one->kind = (kind)draw(KINDS);
    query.container = changes.container = "c";
    if (one->kind != CHANGES) query.sql = texts[one->kind];
    if (draw(3) == 0) query.page_items_max = changes.page_items_max = (uint32_t)(1 + draw(60));
    if (draw(3) == 0) query.memory_max = (size_t)1 << (14 + draw(12));
    query.skip_empty = draw(2) == 0;
    query.timeout_ms = changes.timeout_ms = 60000;
    one->last = one->kind == FALLING ? INT64_MAX : -1;
    refused = one->kind == CHANGES ? aiocosmos_changes_open(client, &changes, &one->query)
                                   : aiocosmos_query_open(client, &query, &one->query);
    if (refused) CHECK_STR(aiocosmos_last_error(client), "a query");
}

static void take_row(reader *one, aiocosmos_json row)
{
    int64_t n = -1;
    CHECK(aiocosmos_json_get_i64(aiocosmos_json_at(row, "/n"), &n));
    if (one->kind == RISING) CHECK(n >= one->last);
    if (one->kind == FALLING) CHECK(n <= one->last);
    one->last = n;
    one->sum += n;
    one->rows++;
}

static void take_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    reader *one = user_data;
    aiocosmos_json row;
    int status = page->result->status;
    (void)client;
    memset(&row, 0, sizeof row);
    one->owed = false;
    if (one->closed) return;
    if (status == 304 && one->kind == CHANGES) one->over = true;
    else if (status && !(r.starved && status == AIOCOSMOS_E_NOMEM))
        CHECK_TEXT(page->result->message.ptr, page->result->message.len, "a page");
    while (status == 0 && aiocosmos_json_next(page->items, NULL, &row)) take_row(one, row);
    if (status == 0 && !page->more) one->over = true;
}

static void check_over(const reader *one)
{
    if (one->kind == GROUPS) CHECK_INT(one->rows, 7);
    else CHECK_INT(one->rows, one->kind == LEFT_OUT ? ITEMS - 70 : ITEMS);
    if (one->kind != LEFT_OUT) CHECK_INT(one->sum, r.sum);
}

static void next_page(aiocosmos_client *client, reader *one)
{
    int refused = aiocosmos_cursor_next(client, one->query, take_page, one);
    if (refused) CHECK_STR(aiocosmos_last_error(client), "a page to come");
    one->owed = true;
}

/* A read of one item gets in at the latest when nothing else is owed. */
static void read_one(aiocosmos_client *client)
{
    aiocosmos_request request = read_item("0", aiocosmos_s("k0"));
    int refused = aiocosmos_submit(client, &request, NULL);
    if (refused == AIOCOSMOS_E_FULL) {
        CHECK_INT(aiocosmos_drain(client, 12 * PATIENCE_MS), 0);
        refused = aiocosmos_submit(client, &request, NULL);
    }
    if (refused) CHECK_STR(aiocosmos_last_error(client), "an item to come");
}

static void close_reader(aiocosmos_client *client, reader *one)
{
    one->closed = true;
    aiocosmos_cursor_close(client, one->query);
    while (one->owed) CHECK(aiocosmos_step(client, 1000) >= 0);
    open_reader(client, one);
}

static void act(aiocosmos_client *client)
{
    reader *one = &r.all[draw(r.count)];
    int what = draw(40);
    if (what == 0) close_reader(client, one);
    else if (what < 6) read_one(client);
    else if (what < 16) aiocosmos_step(client, draw(3));
    else if (!one->owed && !one->over) next_page(client, one);
    if (!one->over) return;
    check_over(one);
    close_reader(client, one);
}

/* So many readers in a client that may hold so much, for a while; then each is read to its end, the last first. */
static void read_together(int readers, size_t memory_max, uint64_t seed)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    aiocosmos_stats stats;
    int i;
    options.memory_max = memory_max;
    client = open_client(&options);
    r.chance = seed;
    r.count = readers;
    for (i = 0; i < readers; i++) open_reader(client, &r.all[i]);
    for (i = 0; i < 15 * readers; i++) act(client);
    for (i = readers - 1; i >= 0; i--) {
        while (!r.all[i].over) {
            if (!r.all[i].owed) next_page(client, &r.all[i]);
            CHECK(aiocosmos_step(client, 1000) >= 0);
        }
        check_over(&r.all[i]);
    }
    read_one(client);
    drain(client);
    aiocosmos_get_stats(client, &stats);
    CHECK(stats.memory_peak <= memory_max);
    close_client(client);
}

TEST(readers_that_share_a_client_lose_nothing_and_lock_nobody_out)
{
    static const size_t mega[] = { 8, 24, 12, 64 };
    aiocosmos_client *client = open_world("--partitions 4");
    uint64_t seed;
    r.chance = 1;
    furnish(client);
    close_client(client);
    for (seed = 0; seed < READERS_SEEDS; seed++)
        read_together(1 + (int)(seed * 7 % READERS), mega[seed % 4] << 20, READERS_SEED + seed);
    stop_emulator();
}

/* Items of one size, so that a client knows how large an answer will be once it has seen one. */
static void furnish_evenly(aiocosmos_client *client, int bytes)
{
    static char body[31000];
    static char keys[KEYS][16];
    int i;
    for (i = 0; i < KEYS; i++) snprintf(keys[i], sizeof keys[i], "k%d", i);
    r.sum = 0;
    for (i = 0; i < ITEMS; i++) {
        snprintf(body, sizeof body, "{\"id\":\"%d\",\"pk\":\"%s\",\"n\":%d,\"g\":%d,\"text\":\"%0*d\"}", i,
                 keys[i % KEYS], i, i % 7, bytes, 0);
        must(client, create_item(aiocosmos_s(keys[i % KEYS]), body));
        r.sum += i;
    }
}

static void open_even_reader(aiocosmos_client *client, reader *one, kind which)
{
    aiocosmos_query_request query;
    int refused;
    memset(one, 0, sizeof *one);
    memset(&query, 0, sizeof query);
    one->kind = which;
    one->last = -1;
    query.container = "c";
    query.sql = texts[which];
    query.page_items_max = 20;
    query.timeout_ms = 60000;
    do refused = aiocosmos_query_open(client, &query, &one->query);
    while (refused == AIOCOSMOS_E_NOMEM && r.starved);
    CHECK_INT(refused, 0);
}

/* A page for which there is no memory is asked for again; a query that has taken half of an answer begins anew. */
static void next_even_page(aiocosmos_client *client, reader *one)
{
    int refused = aiocosmos_cursor_next(client, one->query, take_page, one);
    one->owed = refused == 0;
    if (refused == 0 || (r.starved && refused == AIOCOSMOS_E_NOMEM)) return;
    if (!r.starved || refused != AIOCOSMOS_E_ARGUMENT) CHECK_STR(aiocosmos_last_error(client), "a page to come");
    aiocosmos_cursor_close(client, one->query);
    open_even_reader(client, one, one->kind);
}

/* So many readers, of these kinds in turn, ask for their next page as soon as they have one. */
static void read_at_once(aiocosmos_client *client, const kind *kinds, int kind_count, int readers)
{
    bool busy = true;
    int i;
    for (i = 0; i < readers; i++) open_even_reader(client, &r.all[i], kinds[i % kind_count]);
    while (busy) {
        busy = false;
        for (i = 0; i < readers; i++) {
            if (!r.all[i].over && !r.all[i].owed) next_even_page(client, &r.all[i]);
            busy = busy || !r.all[i].over;
        }
        if (busy) CHECK(aiocosmos_step(client, 1000) >= 0);
    }
    for (i = 0; i < readers; i++) {
        check_over(&r.all[i]);
        aiocosmos_cursor_close(client, r.all[i].query);
    }
}

/* What is on its way is reckoned with: answers do not come to find no room, to be dropped and asked for again. And who
 * waits for a turn with one of its ranges does not lose it over another of them: its page would never come. */
TEST(readers_of_even_pages_know_what_fits)
{
    static const kind plain = PLAIN, rising = RISING;
    static const size_t mega[] = { 8, 12, 24 };
    aiocosmos_client *client = open_world("--partitions 4");
    aiocosmos_stats stats;
    int i;
    furnish_evenly(client, 30000);
    close_client(client);
    for (i = 0; i < 3; i++) {
        aiocosmos_options options = usual_options();
        options.memory_max = mega[i] << 20;
        client = open_client(&options);
        read_at_once(client, &plain, 1, 1);                  /* it has seen one */
        read_at_once(client, &plain, 1, 8);
        aiocosmos_get_stats(client, &stats);
        CHECK(stats.memory_peak <= options.memory_max / 16 * 15);   /* all of it where nobody reckons */
        read_at_once(client, &rising, 1, 16);
        close_client(client);
    }
    stop_emulator();
}

/* A page fails only if there is no memory for it when nobody else has any to give back. */
TEST(readers_in_little_memory_wait_for_each_other)
{
    static const kind kinds[] = { PLAIN, RISING };
    aiocosmos_options options;
    aiocosmos_client *client = open_world("--partitions 4");
    furnish_evenly(client, 30000);
    close_client(client);
    options = usual_options();
    options.memory_max = 1400000;
    client = open_client(&options);
    read_at_once(client, kinds, 2, 20);
    close_world(client);
}

/* Items of many numbers, of one key or of all. */
static void furnish_with_numbers(aiocosmos_client *client, int items, int keys)
{
    static char body[30000];
    char key[16];
    int i;
    r.sum = 0;
    for (i = 0; i < items; i++) {
        size_t len;
        snprintf(key, sizeof key, "k%d", i % keys);
        len = (size_t)snprintf(body, sizeof body, "{\"id\":\"n%d\",\"pk\":\"%s\",\"n\":%d,\"list\":[0", i, key, i);
        while (len < sizeof body - 10) len += (size_t)snprintf(body + len, sizeof body - len, ",1");
        snprintf(body + len, sizeof body - len, "]}");
        must(client, create_item(aiocosmos_s(key), body));
        r.sum += i;
    }
}

static void read_alone(aiocosmos_client *client, reader *one)
{
    while (!one->over) {
        next_page(client, one);
        while (one->owed) CHECK(aiocosmos_step(client, 1000) >= 0);
    }
}

/* Parsed, an answer is eight times as large, and a page of it takes as much again: who finds no memory for that has
 * all of it in its turn, or readers would take it from each other for ever, each time that an answer comes. */
TEST(readers_of_numbers_take_turns)
{
    static const kind kinds[] = { RISING, PLAIN, DISTINCT_ROWS, LEFT_OUT };
    static const size_t mega[] = { 7, 8, 9, 12 };
    aiocosmos_client *client = open_world("--partitions 16");
    aiocosmos_stats stats;
    int i;
    furnish_with_numbers(client, ITEMS, KEYS);
    close_client(client);
    for (i = 0; i < 4; i++) {
        aiocosmos_options options = usual_options();
        options.memory_max = mega[i] << 20;
        client = open_client(&options);
        read_at_once(client, kinds, 4, 14);
        aiocosmos_get_stats(client, &stats);
        CHECK(stats.attempts < 5000);        /* 140 for each, and what is asked again; it was up to 60000 */
        close_client(client);
    }
    stop_emulator();
}

/* Who follows a feed asks all ranges at once as long as they have little to say. When all of them say much, none of
 * what was asked before is a sign that one item is too many. */
TEST(readers_of_a_sudden_flood_ask_for_less)
{
    aiocosmos_client *client = open_world("--partitions 16"), *writer = client;
    aiocosmos_options options = usual_options();
    aiocosmos_changes_request changes;
    reader one;
    options.memory_max = 3 << 20;
    client = open_client(&options);
    memset(&changes, 0, sizeof changes);
    memset(&one, 0, sizeof one);
    one.kind = CHANGES;
    changes.container = "c";
    furnish_evenly(writer, 1);
    CHECK_INT(aiocosmos_changes_open(client, &changes, &one.query), 0);
    read_alone(client, &one);
    check_over(&one);
    furnish_with_numbers(writer, ITEMS, KEYS);
    aiocosmos_destroy(writer);
    one.over = false;
    one.rows = 0;
    one.sum = 0;
    read_alone(client, &one);
    check_over(&one);
    close_world(client);
}

/* An answer is parsed, and then rows of it are a page, which are known as well: there is room for that before it is
 * taken, or fewer rows are asked for. */
TEST(readers_of_numbers_find_room_for_a_page_before_they_take_an_answer)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_options options = usual_options();
    aiocosmos_query_request query;
    reader one = { .kind = LEFT_OUT };
    furnish_with_numbers(client, 60, 1);
    close_client(client);
    options.memory_max = 12 << 20;
    client = open_client(&options);
    memset(&query, 0, sizeof query);
    query.container = "c";
    query.sql = "SELECT * FROM c OFFSET 1 LIMIT 1000";
    CHECK_INT(aiocosmos_query_open(client, &query, &one.query), 0);
    read_alone(client, &one);
    CHECK_INT(one.rows, 59);
    close_world(client);
}

/* Rows are merged in pieces; behind the first one there is no memory for anything more, but for what the reader itself
 * holds of answers. */
TEST(readers_give_back_what_they_hold_for_a_page_that_is_done)
{
    aiocosmos_client *client = open_world("--partitions 1");
    aiocosmos_options options = usual_options();
    aiocosmos_query_request query;
    reader one;
    furnish_evenly(client, 1000);
    close_client(client);
    options.step_budget_us = 1;
    client = open_client(&options);
    memset(&query, 0, sizeof query);
    memset(&one, 0, sizeof one);
    one.kind = RISING;
    one.last = -1;
    query.container = "c";
    query.sql = texts[RISING];
    query.page_items_max = 2 * client_query_slice();
    query.memory_max = 1;                    /* nothing is asked ahead */
    CHECK_INT(aiocosmos_query_open(client, &query, &one.query), 0);
    next_page(client, &one);
    while (client_page_rows(client) < client_query_slice()) CHECK(aiocosmos_step(client, 1000) >= 0);
    CHECK_INT(one.owed, true);
    client_fill_memory(client);
    while (one.owed) CHECK(aiocosmos_step(client, 1000) >= 0);
    CHECK(one.rows >= client_query_slice());
    client_limit_memory(client, SIZE_MAX);
    read_alone(client, &one);
    check_over(&one);
    close_world(client);
}

static void keep_status(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    (void)client;
    *(int *)user_data = page->status;
}

/* One row of each range is too much: that is found out once, not as long as the page has time. */
TEST(readers_of_rows_that_never_fit_are_told_so)
{
    static const kind kinds[] = { PLAIN, RISING, LEFT_OUT };
    aiocosmos_client *client = open_world("--partitions 4");
    size_t kilo;
    furnish_with_numbers(client, ITEMS, KEYS);
    close_client(client);
    for (kilo = 400; kilo <= 1000; kilo += 200) {
        aiocosmos_options options = usual_options();
        aiocosmos_stats stats;
        int i, status[6];
        options.memory_max = kilo * 1000;    /* each row, parsed, takes 270 KB */
        client = open_client(&options);
        for (i = 0; i < 6; i++) {
            aiocosmos_query_request query;
            aiocosmos_cursor cursor;
            memset(&query, 0, sizeof query);
            query.container = "c";
            query.sql = texts[kinds[i % 3]];
            query.timeout_ms = PATIENCE_MS;
            query.page_items_max = 1;
            status[i] = 1;
            CHECK_INT(aiocosmos_query_open(client, &query, &cursor), 0);
            CHECK_INT(aiocosmos_cursor_next(client, cursor, keep_status, &status[i]), 0);
        }
        while (aiocosmos_pending(client)) CHECK(aiocosmos_step(client, 1000) >= 0);
        for (i = 0; i < 6; i++) CHECK(status[i] == 0 || status[i] == AIOCOSMOS_E_NOMEM);
        aiocosmos_get_stats(client, &stats);
        CHECK(stats.attempts < 100);         /* it was up to all that a page has time for */
        close_client(client);
    }
    stop_emulator();
}

static aiocosmos_pull pull_later(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    (void)client; (void)item; (void)user_data;
    return AIOCOSMOS_PULL_LATER;
}

/* A bulk that has nothing in flight has nothing to give back: a page does not wait for it until it is out of time. */
TEST(readers_do_not_wait_for_the_memory_of_an_idle_bulk)
{
    aiocosmos_client *client = open_world("--partitions 4");
    aiocosmos_bulk_request bulk;
    aiocosmos_query_request query;
    aiocosmos_cursor cursor;
    aiocosmos_op op;
    int status = 1;
    furnish_evenly(client, 30000);
    memset(&bulk, 0, sizeof bulk);
    memset(&query, 0, sizeof query);
    bulk.container = query.container = "c";
    bulk.next = pull_later;
    query.timeout_ms = 1000;
    CHECK_INT(aiocosmos_bulk(client, &bulk, &op), 0);
    CHECK_INT(aiocosmos_query_open(client, &query, &cursor), 0);
    client_limit_memory(client, 4000);         /* a request takes more */
    CHECK_INT(aiocosmos_cursor_next(client, cursor, keep_status, &status), 0);
    while (status == 1) CHECK(aiocosmos_step(client, 1000) >= 0);
    CHECK_INT(status, AIOCOSMOS_E_NOMEM);
    client_limit_memory(client, SIZE_MAX);
    CHECK(aiocosmos_cancel(client, op));
    close_world(client);
}

/* One allocation after the other fails, alone or with those behind it, in a client whose readers wait for each other's
 * memory. */
TEST(readers_survive_allocations_that_fail)
{
    static const kind kinds[] = { PLAIN, RISING, GROUPS, DISTINCT_ROWS };
    aiocosmos_client *client = open_world("--partitions 4");
    unsigned long at, calls = 1;
    furnish_evenly(client, 10000);
    close_client(client);
    r.starved = true;
    for (at = 1; at <= calls; at += 1 + at / 24) {
        aiocosmos_options options = usual_options();
        unsigned long start;
        options.memory_max = 2 << 20;
        client = open_client(&options);
        start = heap.calls;
        heap.fail_from = start + at;
        heap.fail_to = heap.fail_from + at % 3;
        read_at_once(client, kinds, 4, 4);
        heap.fail_from = heap.fail_to = 0;
        calls = heap.calls - start;
        read_one(client);
        drain(client);
        close_client(client);
    }
    r.starved = false;
    stop_emulator();
}

/* As a forked child does, whoever has the turn and whoever waits for it. */
TEST(readers_can_be_abandoned_at_every_moment)
{
    aiocosmos_client *client = open_world("--partitions 4");
    int acts, i;
    r.chance = 1;
    furnish(client);
    close_client(client);
    for (acts = 30; acts < 400; acts += 5) {
        aiocosmos_options options = usual_options();
        options.memory_max = 8 << 20;
        client = open_client(&options);
        r.chance = (uint64_t)acts;
        r.count = READERS;
        for (i = 0; i < r.count; i++) open_reader(client, &r.all[i]);
        for (i = 0; i < acts; i++) act(client);
        aiocosmos_abandon(client);
        CHECK_INT(heap.blocks, 0);
    }
    stop_emulator();
}
