/* The change feed of the whole client: where it starts, what of, that its state travels, and that nothing is lost and
 * nothing comes twice while ranges split and merge, requests fail and memory runs out. */
#include "client.h"

enum { ITEMS = 60, KEYS = 17, VERSIONS = 12000, DELETED = -1 };

/*--- What happens in the container, and what a reader has seen of it ----------------------------*/

static struct { int item, n; } history[VERSIONS];          /* n: DELETED or counted up */
static struct { int n; bool there; } model[ITEMS];
static int versions;
static uint64_t chance;

static int draw(int below)
{
    chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((chance >> 33) % (uint64_t)below);
}

static void forget_history(void)
{
    versions = 0;
    chance = 11;
    memset(model, 0, sizeof model);
}

static aiocosmos_value key_of(int item)
{
    static const char *const keys[KEYS] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o",
        "p", "q"};
    return aiocosmos_s(keys[item % KEYS]);
}

static void note(int item, int n)
{
    CHECK(versions < VERSIONS);
    history[versions].item = item;
    history[versions++].n = n;
    if (n != DELETED) model[item].n = n;
    model[item].there = n != DELETED;
}

static void put(aiocosmos_client *client, int item)
{
    char body[96];
    aiocosmos_value key = key_of(item);
    snprintf(body, sizeof body, "{\"id\":\"i%d\",\"pk\":\"%s\",\"n\":%d}", item, key.str, model[item].n + 1);
    must(client, upsert_item(key, body));
    note(item, model[item].n + 1);
}

static void drop(aiocosmos_client *client, int item)
{
    char id[16];
    snprintf(id, sizeof id, "i%d", item);
    must(client, delete_item(id, key_of(item)));
    note(item, DELETED);
}

static void put_all(aiocosmos_client *client)
{
    int item;
    for (item = 0; item < ITEMS; item++) put(client, item);
}

typedef struct reader {
    aiocosmos_cursor query;
    int seen[ITEMS];                         /* the version that comes next can only be from here on, in the history */
    int last_of_key[KEYS];                   /* one key's changes come in their order */
    bool all_versions;
    int calls, status, sub_status, items, pages, empty_pages;
    bool more;
    double charge_ru;
    char state[65536], message[512], session[300];
} reader;

static void take_row(reader *r, int item, int n)
{
    int i = r->seen[item];
    while (i < versions && (history[i].item != item || (!r->all_versions && history[i].n != n))) i++;
    CHECK(i < versions);
    CHECK_INT(history[i].n, n);
    CHECK(i >= r->last_of_key[item % KEYS]);
    r->seen[item] = r->last_of_key[item % KEYS] = i + 1;
}

static int number_of(aiocosmos_json item, const char *pointer)
{
    int64_t number = INT64_MIN;
    CHECK(aiocosmos_json_get_i64(aiocosmos_json_at(item, pointer), &number));
    return (int)number;
}

/* Of "i17": 17. */
static int item_of(aiocosmos_json item, const char *pointer)
{
    char id[32];
    CHECK(aiocosmos_json_get_str(aiocosmos_json_at(item, pointer), id, sizeof id) > 1 && id[0] == 'i');
    return atoi(id + 1);
}

static void take_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    reader *r = user_data;
    aiocosmos_json item;
    (void)client;
    r->calls++;
    r->status = page->result->status;
    r->sub_status = page->result->sub_status;
    r->more = page->more;
    r->charge_ru += page->result->charge_ru;
    copy_text(r->message, sizeof r->message, page->result->message);
    copy_text(r->session, sizeof r->session, page->result->session_token);
    if (r->status != 0 && r->status != 304) {
        CHECK(!page->more && page->continuation.len == 0 && page->item_count == 0);
        return;
    }
    CHECK(page->more && page->continuation.len > 0 && page->continuation.len < sizeof r->state);
    CHECK_INT(page->result->http_status, r->status ? 304 : 200);
    CHECK((r->status == 0) == (page->item_count > 0));
    copy_text(r->state, sizeof r->state, page->continuation);
    r->pages++;
    r->empty_pages += r->status == 304;
    r->items += (int)page->item_count;
    memset(&item, 0, sizeof item);
    while (aiocosmos_json_next(page->items, NULL, &item)) {
        if (!r->all_versions) take_row(r, item_of(item, "/id"), number_of(item, "/n"));
        else if (aiocosmos_json_at(item, "/current/id").type != AIOCOSMOS_JSON_NONE)
            take_row(r, item_of(item, "/current/id"), number_of(item, "/current/n"));
        else take_row(r, item_of(item, "/metadata/id"), DELETED);
    }
}

static aiocosmos_changes_request of_changes(aiocosmos_changes_from from)
{
    aiocosmos_changes_request request;
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.from = from;
    return request;
}

static void open_reader(aiocosmos_client *client, reader *r, const aiocosmos_changes_request *request)
{
    if (aiocosmos_changes_open(client, request, &r->query) != 0) CHECK_STR(aiocosmos_last_error(client), "accepted");
}

static void begin_reader(aiocosmos_client *client, reader *r, const aiocosmos_changes_request *request)
{
    memset(r, 0, sizeof *r);
    r->all_versions = request->all_versions;
    open_reader(client, r, request);
}

static int read_changes(aiocosmos_client *client, reader *r)
{
    int calls = r->calls;
    CHECK_INT(aiocosmos_cursor_next(client, r->query, take_page, r), 0);
    drain(client);
    CHECK_INT(r->calls, calls + 1);
    return r->status;
}

/* Until there is nothing more. */
static void catch_up(aiocosmos_client *client, reader *r)
{
    while (read_changes(client, r) == 0) continue;
    if (r->status != 304) CHECK_STR(r->message, "304");
}

/* The same feed from where it stands, by another query and perhaps another client. */
static void move_reader(aiocosmos_client *from, aiocosmos_client *to, reader *r, aiocosmos_changes_request request)
{
    aiocosmos_cursor_close(from, r->query);
    request.continuation = aiocosmos_text(r->state);
    open_reader(to, r, &request);
}

/* Each item's last version has come, and of all versions none was left out (take_row sees to that). */
static void check_complete(const reader *r)
{
    int item, last;
    for (item = 0; item < ITEMS; item++) {
        for (last = versions; last > 0 && history[last - 1].item != item; last--) continue;
        if (r->all_versions || model[item].there) CHECK_INT(r->seen[item], last);
    }
}

/* So that every version is kept for some minutes. */
static aiocosmos_client *open_retaining_world(const char *emulator_options)
{
    aiocosmos_client *client = open_world(emulator_options);
    aiocosmos_request request = create_container("c", "/pk");
    must(client, of_kind(AIOCOSMOS_DELETE_CONTAINER));
    request.body = text_of("{\"changeFeedPolicy\":{\"retentionDuration\":10}}");
    must(client, request);
    return client;
}

static void move_clock(int ahead_ms)
{
    char body[64];
    snprintf(body, sizeof body, "{\"ahead_ms\":%d}", ahead_ms);
    control("PUT", "clock", body);
}

/* Whether a request with this header line was sent. */
static bool was_sent(const char *line)
{
    return strstr(bend.sent, line) != NULL;
}

static int times_sent(const char *text)
{
    const char *at = bend.sent;
    int times = 0;
    while ((at = strstr(at, text)) != NULL) {
        at += strlen(text);
        times++;
    }
    return times;
}

/*--- Where a feed starts ------------------------------------------------------------------------*/

TEST_TWICE(a_feed_has_all_items_and_then_what_changes)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 4");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    forget_history();
    put_all(client);
    put_all(client);
    drop(client, 3);
    begin_reader(client, &r, &request);
    catch_up(client, &r);
    CHECK_INT(r.items, ITEMS - 1);                         /* each once, in its last version; what is gone is gone */
    CHECK_INT(r.pages, 5);                                 /* one of each range, and that there is no more */
    CHECK(r.more);
    CHECK(r.charge_ru > 4 && *r.session);
    check_complete(&r);
    CHECK_INT(read_changes(client, &r), 304);
    CHECK_STR(r.message, "nothing has changed");
    put(client, 5);
    put(client, 3);
    CHECK_INT(read_changes(client, &r), 0);
    catch_up(client, &r);
    CHECK_INT(r.items, ITEMS + 1);
    check_complete(&r);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

TEST(a_feed_of_an_empty_container_has_nothing_and_a_state)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 3");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    forget_history();
    begin_reader(client, &r, &request);
    CHECK_INT(read_changes(client, &r), 304);
    put_all(client);
    move_reader(client, client, &r, request);
    catch_up(client, &r);
    check_complete(&r);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

/* The first page says where "now" is, of every range, so that what comes behind it is not lost between two of them. */
TEST(a_feed_from_now_has_what_changes_after_its_first_page)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 8");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_NOW);
    forget_history();
    put_all(client);
    request.parallel_max = 3;
    begin_reader(client, &r, &request);
    CHECK_INT(read_changes(client, &r), 304);
    move_reader(client, client, &r, request);              /* from there, not from a later now */
    put_all(client);
    aiocosmos_cursor_close(client, r.query);
    request.continuation = aiocosmos_text(r.state);
    open_reader(client, &r, &request);
    catch_up(client, &r);
    CHECK_INT(r.items, ITEMS);
    check_complete(&r);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

TEST(now_is_known_of_every_range_before_anything_is_given)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 4");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_NOW);
    forget_history();
    put_all(client);
    request.timeout_ms = 200;
    control("PUT", "split", "{\"database\":\"db\",\"container\":\"c\",\"busy\":1000000}");
    begin_reader(client, &r, &request);
    CHECK_INT(read_changes(client, &r), AIOCOSMOS_E_TIMEOUT);
    put(client, 1);                                        /* of one of the other ranges, which know by then */
    put(client, 2);
    put(client, 3);
    CHECK_INT(read_changes(client, &r), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(r.items, 0);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
    request.timeout_ms = 0;
    client = open_world("--partitions 4");
    forget_history();
    put_all(client);
    fault("status=400,verb=GET,path=/docs,skip=3,count=1");
    begin_reader(client, &r, &request);
    CHECK_INT(read_changes(client, &r), 400);              /* of three ranges it is known by then, and stays */
    put_all(client);
    CHECK_INT(read_changes(client, &r), 0);
    move_reader(client, client, &r, request);              /* none is read from its beginning */
    catch_up(client, &r);
    CHECK(r.items > 0 && r.items < ITEMS);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

TEST(a_feed_from_a_time_keeps_asking_for_it)
{
    static reader r;
    static char line[96];
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_TIME);
    time_t since;
    options.platform = bent_platform();
    client = open_world_with("--partitions 3", &options);
    forget_history();
    put(client, 1);
    put(client, 2);
    move_clock(60000);
    request.from_time_s = (int64_t)time(NULL) + 30;
    put(client, 2);
    put(client, 3);
    since = (time_t)request.from_time_s;
    strftime(line, sizeof line, "If-Modified-Since: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime(&since));
    begin_reader(client, &r, &request);
    catch_up(client, &r);
    CHECK_INT(r.items, 2);
    CHECK_INT(r.seen[1], 0);
    CHECK(was_sent(line));
    forget_sent();
    put(client, 3);
    request = of_changes(AIOCOSMOS_FROM_BEGINNING);        /* the state knows the time */
    move_reader(client, client, &r, request);
    catch_up(client, &r);
    CHECK_INT(r.items, 3);
    CHECK_INT(times_sent(line), times_sent("A-IM: Incremental Feed\r\n"));
    CHECK_INT(times_sent(line), times_sent("If-None-Match: \""));
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

/*--- What of ------------------------------------------------------------------------------------*/

TEST(a_feed_of_one_key)
{
    static reader r;
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    options.platform = bent_platform();
    client = open_world_with("--partitions 4", &options);
    forget_history();
    put_all(client);
    request.pk = aiocosmos_pk1(key_of(2));
    forget_sent();
    begin_reader(client, &r, &request);
    catch_up(client, &r);
    CHECK_INT(r.items, 4);                                 /* 2, 19, 36, 53 */
    CHECK(was_sent("x-ms-documentdb-partitionkey: [\"c\"]\r\n"));
    CHECK(!was_sent("partitionkeyrangeid"));
    put_all(client);
    split_first_range();
    move_reader(client, client, &r, request);
    catch_up(client, &r);
    CHECK_INT(r.items, 8);
    aiocosmos_cursor_close(client, r.query);
    request.from = AIOCOSMOS_FROM_NOW;
    begin_reader(client, &r, &request);
    CHECK_INT(read_changes(client, &r), 304);
    put(client, 2);
    put(client, 1);
    catch_up(client, &r);
    CHECK_INT(r.items, 1);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

TEST(a_feed_of_all_keys_that_begin_with_one)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 6");
    aiocosmos_request create = create_container("h", "/t");
    aiocosmos_request item;
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    char body[96];
    int i, k;
    forget_history();
    create.partition_key_paths[1] = "/u";
    must(client, create);
    for (k = 0; k < 2; k++) {
        for (i = 0; i < ITEMS; i++) {
            snprintf(body, sizeof body, "{\"id\":\"i%d\",\"t\":\"%c\",\"u\":%d,\"n\":1}", i, "xy"[k], i);
            item = upsert_item(aiocosmos_null(), body);
            item.container = "h";
            item.pk = aiocosmos_pk2(aiocosmos_sn(&"xy"[k], 1), aiocosmos_i(i));
            must(client, item);
            if (k == 0) note(i, 1);
        }
        if (k == 0) control("PUT", "split", "{\"database\":\"db\",\"container\":\"h\"}");
    }
    request.container = "h";
    request.pk = aiocosmos_pk1(aiocosmos_s("x"));
    begin_reader(client, &r, &request);
    for (i = 0; read_changes(client, &r) == 0; i++) move_reader(client, client, &r, request);
    CHECK_INT(r.status, 304);
    CHECK_INT(r.items, ITEMS);
    CHECK(i >= 1);
    aiocosmos_cursor_close(client, r.query);
    request.pk = aiocosmos_pk2(aiocosmos_s("x"), aiocosmos_i(7));
    begin_reader(client, &r, &request);
    catch_up(client, &r);
    CHECK_INT(r.items, 1);
    CHECK_INT(r.seen[7], 8);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

TEST(feeds_of_parts_of_the_keys_share_the_work)
{
    static reader r;
    static const char *const borders[] = {NULL, "10", "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "30", NULL};
    aiocosmos_client *client = open_world("--partitions 2");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    int i, items = 0;
    forget_history();
    put_all(client);
    for (i = 0; i < 4; i++) {
        request.epk_min = borders[i];
        request.epk_max = borders[i + 1];
        begin_reader(client, &r, &request);
        catch_up(client, &r);
        CHECK(r.items > 0);
        items += r.items;
        aiocosmos_cursor_close(client, r.query);
    }
    CHECK_INT(items, ITEMS);
    close_world(client);
}

TEST(all_versions_and_deletions)
{
    static reader r;
    aiocosmos_client *client = open_retaining_world("--partitions 3");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_NOW);
    int i;
    forget_history();
    request.all_versions = true;
    begin_reader(client, &r, &request);
    CHECK_INT(read_changes(client, &r), 304);
    for (i = 0; i < 3; i++) {
        put_all(client);
        put_all(client);
        drop(client, i);
        move_reader(client, client, &r, request);
        catch_up(client, &r);
        CHECK_INT(r.items, (i + 1) * (2 * ITEMS + 1));
    }
    check_complete(&r);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

TEST(all_versions_of_a_container_that_keeps_none_are_refused_by_the_service)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 2");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_NOW);
    request.all_versions = true;
    begin_reader(client, &r, &request);
    CHECK_INT(read_changes(client, &r), 400);
    CHECK(strstr(r.message, "retention") != NULL);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

/*--- Pages --------------------------------------------------------------------------------------*/

TEST(ranges_take_turns)
{
    static reader r;
    aiocosmos_client *client = open_retaining_world("--partitions 4");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_NOW);
    int parallel, i;
    request.all_versions = true;
    request.page_items_max = 1;
    for (parallel = 1; parallel <= 4; parallel += 3) {
        forget_history();
        request.parallel_max = (uint32_t)parallel;
        begin_reader(client, &r, &request);
        CHECK_INT(read_changes(client, &r), 304);
        for (i = 0; i < 100; i++) put(client, 0);          /* one range has so many pages to come */
        for (i = 0; i < 5; i++) CHECK_INT(read_changes(client, &r), 0);
        for (i = 1; i < ITEMS; i++) if (i % KEYS) put(client, i);
        for (i = 0; i < 40; i++) CHECK_INT(read_changes(client, &r), 0);
        for (i = 1; i < ITEMS && !r.seen[i]; i++) continue;
        CHECK(i < ITEMS);                                  /* the others are heard meanwhile */
        CHECK(r.seen[0] < 100);
        catch_up(client, &r);
        check_complete(&r);
        aiocosmos_cursor_close(client, r.query);
    }
    close_world(client);
}

/* What was written before a page was asked for is not missed by that page. */
TEST(nothing_means_that_nothing_was_there_when_it_was_asked_for)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 5");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    int i;
    forget_history();
    begin_reader(client, &r, &request);
    catch_up(client, &r);
    for (i = 0; i < 50; i++) {
        put(client, draw(ITEMS));
        CHECK_INT(read_changes(client, &r), 0);
        if (i % 3 == 0) CHECK_INT(read_changes(client, &r), 304);
    }
    CHECK_INT(r.items, 50);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

TEST(a_quiet_feed_asks_nothing_by_itself)
{
    static reader r;
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    int i;
    options.platform = bent_platform();
    client = open_world_with("--partitions 5", &options);
    forget_history();
    put_all(client);
    begin_reader(client, &r, &request);
    catch_up(client, &r);
    forget_sent();
    for (i = 0; i < 20; i++) aiocosmos_step(client, 1);
    CHECK_INT(times_sent("A-IM"), 0);
    CHECK_INT(read_changes(client, &r), 304);
    for (i = 0; i < 20; i++) aiocosmos_step(client, 1);
    CHECK_INT(times_sent("A-IM"), 5);                      /* each range once */
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

/*--- poll_ms -------------------------------------------------------------------------------------*/

/* Until the reader waits to ask again; it has not been called back meanwhile. */
static void await_poll(aiocosmos_client *client, const reader *r, int calls)
{
    while (!client_polls(client, r->query))
        CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
    CHECK_INT(r->calls, calls);
}

static uint64_t attempts_of(const aiocosmos_client *client)
{
    aiocosmos_stats stats;
    aiocosmos_get_stats(client, &stats);
    return stats.attempts;
}

TEST(a_feed_that_polls_calls_back_with_changes_only)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    reader *r = calloc(1, sizeof *r);
    aiocosmos_stats stats;
    uint64_t attempts;
    int calls, round;
    open_emulator("--partitions 3");
    options = usual_options();
    options.platform = bent_platform();
    client = open_client(&options);
    fill_world(client);
    forget_history();
    put(client, 1);
    request.poll_ms = 60000;
    request.timeout_ms = 20000;                            /* of each asking, not of the wait between two */
    begin_reader(client, r, &request);
    CHECK_INT(read_changes(client, r), 0);
    CHECK_INT(r->items, 1);
    calls = r->calls;
    CHECK_INT(aiocosmos_cursor_next(client, r->query, take_page, r), 0);
    for (round = 0; round < 5; round++) {
        await_poll(client, r, calls);
        attempts = attempts_of(client);
        aiocosmos_get_stats(client, &stats);
        CHECK_INT(stats.connections_idle, stats.connections_open);
        for (int i = 0; i < 5; i++) CHECK_INT(aiocosmos_step(client, 1), 0);
        bend.monotonic_us += 30000000;                                 /* half of it: nothing is asked for */
        CHECK_INT(aiocosmos_step(client, 1), 0);
        CHECK_INT(attempts_of(client), attempts);
        CHECK(aiocosmos_next_timeout_ms(client) > 1000);
        CHECK_INT(aiocosmos_drain(client, 0), AIOCOSMOS_E_TIMEOUT);        /* the page is owed */
        bend.monotonic_us += 30000000;
        while (attempts_of(client) < attempts + 3) CHECK_INT(aiocosmos_step(client, PATIENCE_MS), 0);
        CHECK_INT(attempts_of(client), attempts + 3);      /* of each range, once */
    }
    await_poll(client, r, calls);
    note(2, 1);
    {
        answer put_later;
        send_off(client, upsert_item(key_of(2), "{\"id\":\"i2\",\"pk\":\"c\",\"n\":1}"), &put_later);
        while (!put_later.calls) CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
    }
    CHECK_INT(r->calls, calls);
    bend.monotonic_us += 60000000;
    drain(client);
    CHECK_INT(r->calls, calls + 1);
    CHECK_INT(r->status, 0);
    CHECK_INT(r->items, 2);
    CHECK(r->charge_ru > 15);                              /* with what all the asking has cost */
    check_complete(r);
    aiocosmos_get_stats(client, &stats);
    CHECK_INT(stats.retries, 0);
    /* An asking that takes too long fails the page, which can be asked for again. */
    CHECK_INT(aiocosmos_cursor_next(client, r->query, take_page, r), 0);
    await_poll(client, r, calls + 1);
    fault("action=hang,kind=list_items");
    attempts = attempts_of(client);
    bend.monotonic_us += 60000000;
    while (attempts_of(client) < attempts + 3) CHECK_INT(aiocosmos_step(client, PATIENCE_MS), 0);
    CHECK_INT(r->calls, calls + 1);
    bend.monotonic_us += 20001000;
    drain(client);
    CHECK_INT(r->calls, calls + 2);
    CHECK_INT(r->status, AIOCOSMOS_E_TIMEOUT);
    no_faults();
    CHECK_INT(aiocosmos_cursor_next(client, r->query, take_page, r), 0);
    await_poll(client, r, calls + 2);
    close_world(client);                                   /* while it waits: that ends the page */
    CHECK_INT(r->status, AIOCOSMOS_E_SHUTDOWN);
    free(r);
}

/* Close, forget, cancel and destroy end the wait at once. */
TEST(a_feed_that_waits_to_poll_can_be_ended)
{
    aiocosmos_client *client = open_world("--partitions 3");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_NOW);
    static reader r;
    int way;
    request.poll_ms = 10 * PATIENCE_MS;
    for (way = 0; way < 3; way++) {
        begin_reader(client, &r, &request);
        CHECK_INT(aiocosmos_cursor_next(client, r.query, take_page, &r), 0);
        await_poll(client, &r, 0);
        if (way == 0) aiocosmos_cursor_close(client, r.query);
        if (way == 1) CHECK(aiocosmos_cursor_forget(client, r.query));
        if (way == 2) aiocosmos_cancel(client, client_page(client, r.query));
        CHECK(aiocosmos_step(client, 0) >= 0);
        CHECK_INT(aiocosmos_pending(client), 0);
        CHECK_INT(r.calls, way != 1);
        if (way != 1) CHECK_STR(r.message, "cancelled while waiting for changes");
    }
    CHECK_INT(aiocosmos_cursor_next(client, r.query, take_page, &r), 0);
    await_poll(client, &r, 1);
    close_world(client);
    CHECK_INT(r.status, AIOCOSMOS_E_SHUTDOWN);
}

static void count_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    (void)result;
    ++*(int *)user_data;
}

TEST(nothing_new_is_no_failure)
{
    static reader r;
    int failures = 0;
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    options.on_failure = count_failure;
    options.on_failure_user_data = &failures;
    client = open_world_with("--partitions 3", &options);
    begin_reader(client, &r, &request);
    CHECK_INT(read_changes(client, &r), 304);
    CHECK_INT(failures, 0);
    fault("status=400,verb=GET,path=/docs,count=1");
    CHECK_INT(read_changes(client, &r), 400);
    CHECK_INT(failures, 1);
    CHECK_INT(read_changes(client, &r), 304);              /* the same page again */
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

/*--- What is refused ----------------------------------------------------------------------------*/

static const char *refusal_of_changes(aiocosmos_client *client, const aiocosmos_changes_request *request)
{
    aiocosmos_cursor query;
    CHECK_INT(aiocosmos_changes_open(client, request, &query), AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(query.id, 0);
    return aiocosmos_last_error(client);
}

TEST(a_feed_that_cannot_be_is_refused_with_the_reason)
{
    static const char *const ours[] = {"A-IM: Incremental Feed", NULL};
    aiocosmos_client *client = open_world("--partitions 2");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_TIME);
    request.from_time_s = -1;
    CHECK_STR(refusal_of_changes(client, &request), "from_time_s: before 1970");
    request.from_time_s = 1700000000000;
    CHECK_STR(refusal_of_changes(client, &request), "from_time_s: after the year 9999: are these seconds?");
    request.from_time_s = 5;
    request.from = AIOCOSMOS_FROM_NOW;
    CHECK_STR(refusal_of_changes(client, &request), "from_time_s: given, but from is not AIOCOSMOS_FROM_TIME");
    request = of_changes((aiocosmos_changes_from)3);
    CHECK_STR(refusal_of_changes(client, &request), "from: one of aiocosmos_changes_from is expected");
    request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    request.all_versions = true;
    CHECK_STR(refusal_of_changes(client, &request), "all_versions: only AIOCOSMOS_FROM_NOW, or with a continuation: "
              "the service cannot tell earlier ones");
    request.from = AIOCOSMOS_FROM_TIME;
    CHECK(strstr(refusal_of_changes(client, &request), "all_versions: ") != NULL);
    request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    request.pk = aiocosmos_pk1(aiocosmos_s("a"));
    request.epk_min = "10";
    CHECK_STR(refusal_of_changes(client, &request), "epk_min: a key is given, too");
    request.pk = aiocosmos_pk1(aiocosmos_s(NULL));
    request.epk_max = "0F";
    CHECK_STR(refusal_of_changes(client, &request), "epk_max: not behind epk_min");
    request.epk_max = "xyz";
    CHECK_STR(refusal_of_changes(client, &request), "epk_max: not an even number of upper-case hexadecimal digits");
    request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    request.container = NULL;
    CHECK_STR(refusal_of_changes(client, &request), "container: required");
    request.container = "c";
    request.session_token = aiocosmos_text("nonsense");
    CHECK(strstr(refusal_of_changes(client, &request), "session_token: ") != NULL);
    request.session_token = aiocosmos_text(NULL);
    request.headers = ours;
    CHECK_STR(refusal_of_changes(client, &request), "headers: A-IM: use aiocosmos_changes_open()");
    request.headers = NULL;
    request.page_items_max = UINT32_MAX;
    CHECK_STR(refusal_of_changes(client, &request), "page_items_max: over 2^31-1");
    close_world(client);
}

TEST(a_state_of_something_else_is_refused_by_name)
{
    static reader r;
    static listing all;
    static char text[sizeof r.state];
    static const char other[] = "continuation: of another container, another part of it, or another kind of change "
                                "feed";
    aiocosmos_client *client = open_retaining_world("--partitions 2");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    aiocosmos_query_request query;
    size_t i;
    forget_history();
    put_all(client);
    must(client, create_container("other", "/pk"));
    begin_reader(client, &r, &request);
    catch_up(client, &r);
    aiocosmos_cursor_close(client, r.query);
    request.continuation = aiocosmos_text(r.state);
    request.container = "other";
    CHECK_STR(refusal_of_changes(client, &request), other);
    request.container = "c";
    request.all_versions = true;
    CHECK_STR(refusal_of_changes(client, &request), other);
    request.all_versions = false;
    request.pk = aiocosmos_pk1(aiocosmos_s("a"));
    CHECK(strstr(refusal_of_changes(client, &request), "another part") != NULL);
    request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    memset(&query, 0, sizeof query);
    query.container = "c";
    query.continuation = aiocosmos_text(r.state);
    CHECK_STR(refusal_of_query(client, &query), "continuation: of a change feed, not of a query");
    query.pk = aiocosmos_pk1(aiocosmos_s("a"));
    CHECK_STR(refusal_of_query(client, &query), "continuation: of a change feed, not of a query");
    query.continuation = aiocosmos_text(NULL);
    query.pk = aiocosmos_pk1(aiocosmos_s(NULL));
    query.page_items_max = 5;
    memset(&all, 0, sizeof all);
    r.query = open_query(client, &query);
    CHECK_INT(read_page(client, r.query, &all), 0);
    aiocosmos_cursor_close(client, r.query);
    CHECK(all.continuation[0]);
    request.continuation = aiocosmos_text(all.continuation);
    CHECK_STR(refusal_of_changes(client, &request), "continuation: of a query, not of a change feed");
    request.continuation = aiocosmos_text("12345");
    CHECK_STR(refusal_of_changes(client, &request), "continuation: not a continuation token of this library");
    for (i = 4; r.state[i]; i++) {
        snprintf(text, sizeof text, "%s", r.state);
        text[i] = text[i] == 'A' ? 'B' : 'A';
        request.continuation = aiocosmos_text(text);
        CHECK_STR(refusal_of_changes(client, &request), "continuation: a damaged continuation token");
    }
    close_world(client);
}

static void make_container_anew(void)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *other = open_client(&options);
    must(other, of_kind(AIOCOSMOS_DELETE_CONTAINER));
    must(other, create_container("c", "/pk"));
    aiocosmos_destroy(other);
}

/* Its ranges may have the same names, and its positions other meanings: what a reader would get is anything. */
TEST(a_container_created_anew_has_other_changes)
{
    static reader r;
    static const char why[] = "continuation: of a deleted container: read this one from its beginning";
    aiocosmos_client *client = open_world("--partitions 2"), *other;
    aiocosmos_options options = usual_options();
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    int by_key;
    for (by_key = 0; by_key < 2; by_key++) {
        forget_history();
        request.continuation = aiocosmos_text(NULL);
        if (by_key) request.pk = aiocosmos_pk1(key_of(1));
        put_all(client);
        begin_reader(client, &r, &request);
        CHECK_INT(read_changes(client, &r), 0);
        make_container_anew();
        forget_history();
        other = open_client(&options);
        put_all(other);
        put_all(other);
        aiocosmos_destroy(other);
        while (read_changes(client, &r) == 0) continue;    /* what was read ahead may come first */
        CHECK_INT(r.status, AIOCOSMOS_E_ARGUMENT);
        CHECK_STR(r.message, why);
        CHECK_INT(aiocosmos_cursor_next(client, r.query, take_page, &r), AIOCOSMOS_E_ARGUMENT);
        aiocosmos_cursor_close(client, r.query);
        request.continuation = aiocosmos_text(r.state);
        open_reader(client, &r, &request);
        CHECK_INT(read_changes(client, &r), AIOCOSMOS_E_ARGUMENT);
        CHECK_STR(r.message, why);
        aiocosmos_cursor_close(client, r.query);
        request.continuation = aiocosmos_text(NULL);
        begin_reader(client, &r, &request);
        catch_up(client, &r);
        CHECK_INT(r.items, by_key ? 4 : ITEMS);
        aiocosmos_cursor_close(client, r.query);
    }
    close_world(client);
}

/* Nothing was told of the container that the client remembers. */
TEST(a_feed_that_gave_no_page_is_of_the_new_container)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 2"), *other;
    aiocosmos_options options = usual_options();
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    int by_key;
    for (by_key = 0; by_key < 2; by_key++) {
        forget_history();
        if (by_key) request.pk = aiocosmos_pk1(key_of(1));
        put_all(client);
        begin_reader(client, &r, &request);
        catch_up(client, &r);
        aiocosmos_cursor_close(client, r.query);
        make_container_anew();
        forget_history();
        other = open_client(&options);
        put_all(other);
        aiocosmos_destroy(other);
        begin_reader(client, &r, &request);
        catch_up(client, &r);
        CHECK_INT(r.items, by_key ? 4 : ITEMS);
        aiocosmos_cursor_close(client, r.query);
    }
    close_world(client);
}

/* The other way round: the client remembers the old container, and the state is of the new one. */
TEST(a_state_of_the_new_container_is_good_for_who_remembers_the_old_one)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 2"), *other;
    aiocosmos_options options = usual_options();
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    forget_history();
    put_all(client);
    begin_reader(client, &r, &request);
    catch_up(client, &r);
    aiocosmos_cursor_close(client, r.query);
    make_container_anew();
    forget_history();
    other = open_client(&options);
    put_all(other);
    begin_reader(other, &r, &request);
    catch_up(other, &r);
    put_all(other);
    move_reader(other, client, &r, request);
    aiocosmos_destroy(other);
    catch_up(client, &r);
    CHECK_INT(r.items, 2 * ITEMS);
    check_complete(&r);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

/*--- What goes wrong on the way -----------------------------------------------------------------*/

TEST(one_page_of_a_feed_is_owed_at_a_time_and_closing_cancels_it)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 2");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    fault("delay_ms=5000,verb=GET,path=/docs");
    begin_reader(client, &r, &request);
    CHECK_INT(aiocosmos_cursor_next(client, r.query, take_page, &r), 0);
    CHECK_INT(aiocosmos_cursor_next(client, r.query, take_page, &r), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "cursor: a page is still owed");
    aiocosmos_step(client, 20);
    aiocosmos_cursor_close(client, r.query);
    drain(client);
    CHECK_INT(r.calls, 1);
    CHECK_INT(r.status, AIOCOSMOS_E_CANCELLED);
    close_world(client);
}

TEST(a_page_that_takes_too_long_can_be_asked_for_again)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 3");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    forget_history();
    put_all(client);
    request.timeout_ms = 200;
    fault("action=hang,verb=GET,path=/docs,count=3");
    begin_reader(client, &r, &request);
    CHECK_INT(read_changes(client, &r), AIOCOSMOS_E_TIMEOUT);
    CHECK_STR(r.message, "timed out while waiting for the ranges' answers");
    no_faults();
    while (read_changes(client, &r) != 304) CHECK(r.status == 0 || r.status == AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(r.items, ITEMS);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

TEST(where_ranges_cannot_be_had_a_key_is_read_all_the_same)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 1"), *other;
    aiocosmos_options options = usual_options();
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    forget_history();
    put_all(client);
    fault("status=404,verb=GET,path=/pkranges");
    other = open_client(&options);
    begin_reader(other, &r, &request);
    CHECK_INT(read_changes(other, &r), 404);
    aiocosmos_cursor_close(other, r.query);
    request.pk = aiocosmos_pk1(key_of(2));
    begin_reader(other, &r, &request);
    catch_up(other, &r);
    CHECK_INT(r.items, 4);
    no_faults();
    put(client, 2);
    move_reader(other, client, &r, request);
    catch_up(client, &r);
    CHECK_INT(r.items, 5);
    aiocosmos_cursor_close(client, r.query);
    aiocosmos_destroy(other);
    request.container = "missing";
    begin_reader(client, &r, &request);
    CHECK_INT(read_changes(client, &r), 404);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

/*--- Splits and merges --------------------------------------------------------------------------*/

TEST(a_feed_goes_on_across_a_split_that_takes_its_time)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 2");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    int sub_status;
    forget_history();
    request.page_items_max = 3;
    begin_reader(client, &r, &request);
    for (sub_status = 1007; sub_status <= 1008; sub_status++) {
        char body[128];
        put_all(client);
        CHECK_INT(read_changes(client, &r), 0);
        snprintf(body, sizeof body, "{\"database\":\"db\",\"container\":\"c\",\"busy\":4,\"sub_status\":%d}",
                 sub_status);
        control("PUT", "split", body);
        put_all(client);
        catch_up(client, &r);
        check_complete(&r);
    }
    control("PUT", "merge", "{\"database\":\"db\",\"container\":\"c\",\"busy\":3}");
    put_all(client);
    CHECK_INT(read_changes(client, &r), 0);
    move_reader(client, client, &r, request);
    catch_up(client, &r);
    check_complete(&r);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

/* A split that takes long: what has nothing to do with it goes on, and nothing is asked over and over. */
TEST(a_range_that_splits_for_long_is_not_asked_all_the_time)
{
    static reader r;
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    int i;
    options.platform = bent_platform();
    client = open_world_with("--partitions 4", &options);
    forget_history();
    put_all(client);
    control("PUT", "split", "{\"database\":\"db\",\"container\":\"c\",\"busy\":1000000}");
    request.page_items_max = 2;
    request.timeout_ms = 300;
    begin_reader(client, &r, &request);
    forget_sent();
    for (i = 0; i < 10; i++) {
        int k;
        CHECK_INT(read_changes(client, &r), 0);
        for (k = 0; k < 20; k++) aiocosmos_step(client, 1);
    }
    CHECK(times_sent("/docs HTTP") < 40);
    CHECK(times_sent("/pkranges HTTP") < 30);
    while (read_changes(client, &r) == 0) continue;
    CHECK_INT(r.status, AIOCOSMOS_E_TIMEOUT);
    CHECK(strstr(r.message, "partition key range") != NULL);
    CHECK(r.items > ITEMS / 2 && r.items < ITEMS);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

/* What was split and is one range again is asked with one request again. */
TEST(the_state_does_not_grow_with_splits_that_were_undone)
{
    static reader r;
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    size_t len;
    int i;
    options.platform = bent_platform();
    client = open_world_with("--partitions 2", &options);
    forget_history();
    put_all(client);
    begin_reader(client, &r, &request);
    catch_up(client, &r);
    len = strlen(r.state);
    for (i = 0; i < 6; i++) split_first_range();
    put_all(client);
    catch_up(client, &r);
    CHECK(strlen(r.state) > 2 * len);
    for (i = 0; i < 6; i++) control("PUT", "merge", "{\"database\":\"db\",\"container\":\"c\"}");
    put_all(client);
    catch_up(client, &r);
    check_complete(&r);
    forget_sent();
    CHECK_INT(read_changes(client, &r), 304);
    CHECK_INT(times_sent("A-IM: Incremental Feed"), 2);
    CHECK(strlen(r.state) < len + 16);
    put_all(client);
    move_reader(client, client, &r, request);
    catch_up(client, &r);
    check_complete(&r);
    CHECK_INT(r.items, 4 * ITEMS);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

/* An answer without a position, or in pieces, fails its page; the next asks again, and nothing is left out. */
TEST(an_answer_that_is_no_page_of_a_change_feed_fails_its_page)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 2");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_NOW);
    forget_history();
    fault("status=304,verb=GET,path=/docs,count=1");
    begin_reader(client, &r, &request);
    CHECK_INT(read_changes(client, &r), AIOCOSMOS_E_PROTOCOL);
    CHECK(strstr(r.message, "no JSON, or has no items, or no etag") != NULL);
    CHECK_INT(read_changes(client, &r), 304);
    put_all(client);
    catch_up(client, &r);
    check_complete(&r);
    aiocosmos_cursor_close(client, r.query);
    request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    begin_reader(client, &r, &request);
    fault("status=200,verb=GET,path=/docs,count=1");
    while (read_changes(client, &r) == 0) continue;
    CHECK_INT(r.status, AIOCOSMOS_E_PROTOCOL);
    catch_up(client, &r);
    CHECK_INT(r.items, ITEMS);
    aiocosmos_cursor_close(client, r.query);
    begin_reader(client, &r, &request);
    fault("status=304,verb=GET,path=/docs,count=1");       /* from the beginning, nothing says where: there again */
    catch_up(client, &r);
    CHECK_INT(read_changes(client, &r), 304);
    CHECK_INT(r.items, ITEMS);
    aiocosmos_cursor_close(client, r.query);
    close_world(client);
}

static void change_something(aiocosmos_client *client)
{
    int item = draw(ITEMS);
    if (model[item].there && draw(5) == 0) drop(client, item);
    else put(client, item);
}

/* Readers of the latest versions, of all, and of one key, while items change and ranges split and merge by themselves,
 * now and then in another client from their state. */
static void follow_everything(const char *emulator_options, int rounds)
{
    static reader readers[3];
    aiocosmos_changes_request request[3];
    aiocosmos_client *writer = open_retaining_world(emulator_options), *client[3];
    aiocosmos_options options = usual_options();
    int round, i, k;
    forget_history();
    for (k = 0; k < 3; k++) {
        client[k] = open_client(&options);
        request[k] = of_changes(k == 1 ? AIOCOSMOS_FROM_NOW : AIOCOSMOS_FROM_BEGINNING);
        request[k].page_items_max = (uint32_t)draw(6);
        request[k].parallel_max = (uint32_t)draw(6);
        request[k].all_versions = k == 1;
        if (k == 2) request[k].pk = aiocosmos_pk1(key_of(1));
        begin_reader(client[k], &readers[k], &request[k]);
    }
    CHECK_INT(read_changes(client[1], &readers[1]), 304);
    for (round = 0; round < rounds; round++) {
        for (i = draw(6); i > 0; i--) change_something(writer);
        k = draw(3);
        read_changes(client[k], &readers[k]);
        if (readers[k].status != 304) CHECK_INT(readers[k].status, 0);
        if (draw(10) == 0) move_reader(client[k], client[k], &readers[k], request[k]);
        if (draw(40) == 0) {
            aiocosmos_client *fresh = open_client(&options);
            move_reader(client[k], fresh, &readers[k], request[k]);
            aiocosmos_destroy(client[k]);
            client[k] = fresh;
        }
    }
    for (k = 0; k < 3; k++) {
        catch_up(client[k], &readers[k]);
        CHECK(readers[k].items > 0);
        if (k < 2) check_complete(&readers[k]);
        aiocosmos_cursor_close(client[k], readers[k].query);
        aiocosmos_destroy(client[k]);
    }
    for (i = 1; i < ITEMS; i += KEYS)
        for (k = versions - 1; model[i].there && k >= readers[2].seen[i]; k--) CHECK(history[k].item != i);
    close_world(writer);
}

TEST_TWICE(nothing_is_lost_and_nothing_comes_twice_across_splits_and_merges)
{
    follow_everything("--partitions 3 --shuffle 25 --shuffle-max 9 --shuffle-busy 3", over_tls() ? 60 : 800);
}

TEST(nothing_is_lost_and_nothing_comes_twice_when_requests_fail)
{
    follow_everything("--partitions 3 --shuffle 25 --shuffle-max 9 --shuffle-busy 2"
                      " --fault status=429,verb=GET,path=/docs,probability=0.05,seed=3,retry_after_ms=1"
                      " --fault action=reset,verb=GET,path=/docs,probability=0.03,seed=5"
                      " --fault status=503,verb=GET,path=/docs,probability=0.01,seed=8", 200);
}

/*--- Memory -------------------------------------------------------------------------------------*/

/* Each allocation fails once in turn, in a feed of which every page is asked for: what it misses comes when it is asked
 * again, or, where it cannot go on, from the state of the page before. */
TEST(a_feed_survives_every_allocation_that_fails)
{
    static reader r;
    aiocosmos_client *client = open_world("--partitions 3");
    aiocosmos_changes_request request = of_changes(AIOCOSMOS_FROM_BEGINNING);
    unsigned long at, calls = 1;
    forget_history();
    put_all(client);
    request.page_items_max = 7;
    for (at = 1; at <= calls; at++) {
        unsigned long start = heap.calls;
        bool opened;
        memset(&r, 0, sizeof r);
        heap.fail_from = heap.fail_to = start + at;
        opened = aiocosmos_changes_open(client, &request, &r.query) == 0;
        if (!opened) CHECK_STR(aiocosmos_last_error(client), "out of memory");
        if (!opened) open_reader(client, &r, &request);
        if (at % 16 == 0) split_first_range();
        for (;;) {
            int asked = aiocosmos_cursor_next(client, r.query, take_page, &r);
            if (asked == AIOCOSMOS_E_NOMEM) continue;
            if (asked == AIOCOSMOS_E_ARGUMENT) {           /* it cannot go on */
                aiocosmos_changes_request again = request;
                again.continuation = aiocosmos_text(r.state[0] ? r.state : NULL);
                CHECK_INT(r.status, AIOCOSMOS_E_NOMEM);
                aiocosmos_cursor_close(client, r.query);
                open_reader(client, &r, &again);
                continue;
            }
            CHECK_INT(asked, 0);
            drain(client);
            if (r.status == 304) break;
            if (r.status) CHECK_INT(r.status, AIOCOSMOS_E_NOMEM);
        }
        aiocosmos_cursor_close(client, r.query);
        heap.fail_from = heap.fail_to = 0;
        calls = heap.calls - start;
        CHECK_INT(r.items, ITEMS);
        check_complete(&r);
    }
    close_world(client);
}
