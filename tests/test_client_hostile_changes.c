/* Change feeds against servers whose answers lead nowhere. */
#include "hostile.h"

#define RANGE(id, min, max) "{\"id\":\"" id "\",\"minInclusive\":\"" min "\",\"maxExclusive\":\"" max "\"}"

static const char one_range[] = "{\"PartitionKeyRanges\":[" RANGE("0", "", "FF") "]}";
static const char two_ranges[] = "{\"PartitionKeyRanges\":[" RANGE("0", "", "80") "," RANGE("1", "80", "FF") "]}";

/* What the feed is answered, in turn; the last one again and again. */
typedef struct said { int status; const char *lines, *body; } said;

static struct server {
    const char *ranges, *definition;
    const said *answers;
    int count, feeds;
} server;

static char since[32];                       /* what the last one asked for changes from */

static void serve_feed(peer *link)
{
    const char *from = strstr(link->out, "If-Modified-Since: ");
    sprintf(since, "%.29s", from ? from + 19 : "");
    if (heard(link, "/pkranges ")) {
        reply(link, 200, "", server.ranges);
    } else if (heard(link, "A-IM: ")) {
        const said *what = &server.answers[server.feeds < server.count ? server.feeds : server.count - 1];
        server.feeds++;
        reply(link, what->status, what->lines, what->body);
    } else {
        reply(link, 200, "", server.definition);
    }
}

static void serve_answers(const char *ranges, const said *answers, int count)
{
    net_begin(serve_feed);
    memset(&server, 0, sizeof server);
    server.ranges = ranges;
    server.definition = definition;
    server.answers = answers;
    server.count = count;
}

static struct { int calls, status; size_t items; bool more; char token[4096], message[400]; } got;

static void keep(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    (void)client; (void)user_data;
    got.calls++;
    got.status = page->result->status;
    got.items = page->item_count;
    got.more = page->more;
    CHECK(page->continuation.len < sizeof got.token && page->result->message.len < sizeof got.message);
    sprintf(got.token, "%.*s", (int)page->continuation.len, page->continuation.len ? page->continuation.ptr : "");
    sprintf(got.message, "%.*s", (int)page->result->message.len, page->result->message.ptr);
}

static int next_page(aiocosmos_client *client, aiocosmos_cursor cursor)
{
    int calls = got.calls;
    CHECK_INT(aiocosmos_cursor_next(client, cursor, keep, NULL), 0);
    drain(client);
    CHECK_INT(got.calls, calls + 1);
    return got.status;
}

static aiocosmos_cursor open_feed(aiocosmos_client *client, aiocosmos_changes_from from)
{
    aiocosmos_changes_request request;
    aiocosmos_cursor cursor;
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.from = from;
    CHECK_INT(aiocosmos_changes_open(client, &request, &cursor), 0);
    return cursor;
}

#define NOTHING "{\"Documents\":[],\"_count\":0}"
#define ONE     "{\"Documents\":[{\"id\":\"a\"}],\"_count\":1}"

TEST(an_answer_of_a_change_feed_says_where_it_stands_or_is_none)
{
    static const struct { said first; aiocosmos_changes_from from; int status; size_t items; int feeds; } cases[] = {
        { { 200, "etag: \"1\"\r\n", ONE }, AIOCOSMOS_FROM_BEGINNING, 0, 1, 1 },
        { { 200, "", ONE }, AIOCOSMOS_FROM_BEGINNING, AIOCOSMOS_E_PROTOCOL, 0, 1 },
        { { 200, "etag: \"\t\"\r\n", ONE }, AIOCOSMOS_FROM_BEGINNING, AIOCOSMOS_E_PROTOCOL, 0, 1 },
        { { 200, "etag: \"\xC3\xA9\"\r\n", ONE }, AIOCOSMOS_FROM_BEGINNING, AIOCOSMOS_E_PROTOCOL, 0, 1 },
        { { 304, "etag: \"\xC3\xA9\"\r\n", "" }, AIOCOSMOS_FROM_BEGINNING, AIOCOSMOS_E_PROTOCOL, 0, 1 },
        { { 200, "etag: \"1\"\r\n", "{\"Documents\":[" }, AIOCOSMOS_FROM_BEGINNING, AIOCOSMOS_E_PROTOCOL, 0, 1 },
        { { 200, "etag: \"1\"\r\n", "{\"Items\":[]}" }, AIOCOSMOS_FROM_BEGINNING, AIOCOSMOS_E_PROTOCOL, 0, 1 },
        /* Nothing yet, but further on there may be something; or that was all. */
        { { 200, "etag: \"1\"\r\n", NOTHING }, AIOCOSMOS_FROM_BEGINNING, 304, 0, 2 },
        { { 200, "etag: \"9\"\r\n", NOTHING }, AIOCOSMOS_FROM_NOW, 304, 0, 2 },
        { { 304, "", "" }, AIOCOSMOS_FROM_BEGINNING, 304, 0, 1 },
        { { 304, "", "" }, AIOCOSMOS_FROM_NOW, AIOCOSMOS_E_PROTOCOL, 0, 1 },
        { { 304, "etag: \"9\"\r\n", "" }, AIOCOSMOS_FROM_NOW, 304, 0, 1 }
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        said answers[2] = { { 0, NULL, NULL }, { 304, "etag: \"9\"\r\n", "" } };
        aiocosmos_client *client;
        aiocosmos_cursor cursor;
        answers[0] = cases[i].first;
        serve_answers(one_range, answers, 2);
        client = open_usual();
        cursor = open_feed(client, cases[i].from);
        next_page(client, cursor);
        if (got.status != cases[i].status || got.items != cases[i].items || server.feeds < cases[i].feeds)
            test_fail(__FILE__, __LINE__, "case %d: %d, %d items, %d requests: %s", (int)i, got.status, (int)got.items,
                      server.feeds, got.message);
        CHECK(got.more == (got.status >= 0) && got.more == (got.token[0] != 0));
        CHECK_INT(next_page(client, cursor), 304);             /* whatever that was: it goes on */
        aiocosmos_cursor_close(client, cursor);
        close_client(client);
    }
}

/* An empty page that leads on is not the end; one that stays where it was is. */
TEST(a_feed_goes_on_behind_pages_of_nothing)
{
    static const said answers[] = { { 200, "etag: \"1\"\r\n", NOTHING }, { 200, "etag: \"2\"\r\n", NOTHING },
                                    { 200, "etag: \"3\"\r\n", ONE }, { 200, "etag: \"3\"\r\n", NOTHING } };
    aiocosmos_client *client;
    aiocosmos_cursor cursor;
    serve_answers(one_range, answers, 4);
    client = open_usual();
    cursor = open_feed(client, AIOCOSMOS_FROM_BEGINNING);
    CHECK_INT(next_page(client, cursor), 0);
    CHECK_INT(got.items, 1);
    CHECK_INT(next_page(client, cursor), 304);
    CHECK(server.feeds <= 5);
    aiocosmos_cursor_close(client, cursor);
    close_client(client);
}

/* Neighbours at one position are one range's only where they were made of one. */
TEST(neighbours_go_on_as_one_where_their_range_is_one)
{
    static const said same[] = { { 304, "etag: \"5\"\r\n", "" } };
    static const said apart[] = { { 304, "etag: \"5\"\r\n", "" }, { 304, "etag: \"6\"\r\n", "" } };
    static const said nowhere[] = { { 304, "", "" } };
    static const said *const all[] = { same, apart, nowhere };
    int i;
    for (i = 0; i < 3; i++) {
        aiocosmos_client *client;
        aiocosmos_cursor cursor;
        serve_answers(two_ranges, all[i], 1 + (i == 1));
        client = open_usual();
        cursor = open_feed(client, AIOCOSMOS_FROM_BEGINNING);
        CHECK_INT(next_page(client, cursor), 304);
        CHECK_INT(server.feeds, 2);
        CHECK_INT(next_page(client, cursor), 304);
        CHECK_INT(server.feeds, 4);
        aiocosmos_cursor_close(client, cursor);
        close_client(client);
    }
}

/* A state may come from anybody: its time is that of a year that has a date. */
TEST(a_state_of_a_time_without_a_date_asks_from_the_last_one_that_has)
{
    static const said nothing[] = { { 304, "etag: \"5\"\r\n", "" } };
    aiocosmos_changes_request request;
    aiocosmos_client *client;
    aiocosmos_cursor cursor;
    char forged[1024];
    serve_answers(one_range, nothing, 1);
    client = open_usual();
    cursor = open_feed(client, AIOCOSMOS_FROM_BEGINNING);
    CHECK_INT(next_page(client, cursor), 304);
    aiocosmos_cursor_close(client, cursor);
    CHECK(client_forge_skip(client, got.token, UINT64_MAX, forged, sizeof forged));
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.continuation = aiocosmos_text(forged);
    CHECK_INT(aiocosmos_changes_open(client, &request, &cursor), 0);
    CHECK_INT(next_page(client, cursor), 304);
    CHECK_STR(since, "Fri, 31 Dec 9999 23:59:59 GMT");
    aiocosmos_cursor_close(client, cursor);
    close_client(client);
}
