/* What a client knows of its containers, and what that is good for: definitions, ranges and session tokens, asked of a
 * made-up server that answers them late, wrongly or not at all, and says of each request what was in it. */
#include "hostile.h"

/*--- A server of one container ----------------------------------------------------------------*/

#define RANGE(id, min, max, parents) \
    "{\"id\":\"" id "\",\"minInclusive\":\"" min "\",\"maxExclusive\":\"" max "\",\"parents\":" parents "}"
#define RANGES(rid, list) "{\"_rid\":\"" rid "\",\"PartitionKeyRanges\":[" list "]}"
#define RID   "abcdAMsp2wQ="
#define RID_2 "abcdAMsp2wU="
static const char definition_2[] = "{\"_rid\":\"" RID_2 "\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}";

static struct service {
    const char *definition;
    const char *ranges, *changed;            /* all of them; what changed of them, NULL: 304 */
    const char *write_lines, *read_lines;    /* of its answers */
    bool hold_changes, hold_lists;           /* what changed, or is, is not said yet: `held` waits for it */
    peer *held;
    int definitions, range_lists, changes;   /* so often asked for */
    char head[70000];                        /* of the last request of an item */
} service;

static void serve(peer *link)
{
    if (heard(link, "/pkranges ")) {
        if (!heard(link, "If-None-Match: ")) {
            service.range_lists++;
            if (service.hold_lists) service.held = link;
            else reply(link, 200, "etag: \"1\"\r\n", service.ranges);
        } else {
            service.changes++;
            if (service.hold_changes) service.held = link;
            else if (service.changed) reply(link, 200, "etag: \"2\"\r\n", service.changed);
            else say(link, "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n");
        }
    } else if (heard(link, "GET /dbs/db/colls/c HTTP")) {
        service.definitions++;
        reply(link, 200, "", service.definition);
    } else if (heard(link, "A-IM: ")) {
        reply(link, 200, "etag: \"9\"\r\n", "{\"Documents\":[{\"id\":\"a\"}],\"_count\":1}");
    } else {
        snprintf(service.head, sizeof service.head, "%s", link->out);
        reply(link, heard(link, "GET ") ? 200 : 201, heard(link, "GET ") ? service.read_lines : service.write_lines,
              heard(link, "x-ms-max-item-count") ? "{\"Documents\":[{\"id\":\"a\"}],\"_count\":1}"
                                                 : "{\"id\":\"a\",\"pk\":\"p\"}");
    }
}

static aiocosmos_client *open_service(void (*answer)(peer *link))
{
    memset(&service, 0, sizeof service);
    service.definition = definition;
    service.ranges = RANGES(RID, RANGE("0", "", "FF", "[]"));
    service.write_lines = service.read_lines = "x-ms-session-token: 0:-1#5\r\n";
    net_begin(answer);
    return open_usual();
}

/*--- What is asked of it ----------------------------------------------------------------------*/

typedef struct answer {
    int calls, status, http_status, sub_status;
    uint32_t attempts;
    uint64_t at_us;
    size_t items;
    bool more;
    aiocosmos_cursor query;
} answer;

static void keep(answer *kept, const aiocosmos_result *result)
{
    kept->calls++;
    kept->status = result->status;
    kept->http_status = result->http_status;
    kept->sub_status = result->sub_status;
    kept->attempts = result->attempts;
    kept->at_us = net.now_us;
}

static void on_done(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    keep(user_data, result);
}

static void on_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    answer *kept = user_data;
    (void)client;
    keep(kept, page->result);
    kept->items = page->item_count;
    kept->more = page->more;
}

static aiocosmos_request of_kind(aiocosmos_kind kind)
{
    aiocosmos_request request;
    memset(&request, 0, sizeof request);
    request.kind = kind;
    request.done = on_done;
    if (kind <= AIOCOSMOS_DELETE_CONTAINER) request.container = "c";
    if (kind <= AIOCOSMOS_DELETE_ITEM) request.pk = aiocosmos_pk1(aiocosmos_s("p"));
    if (kind == AIOCOSMOS_READ_ITEM) request.id = "a";
    if (kind == AIOCOSMOS_CREATE_ITEM) request.body.ptr = "{\"id\":\"a\",\"pk\":\"p\"}";
    if (kind == AIOCOSMOS_REPLACE_CONTAINER) request.body.ptr = definition;
    if (request.body.ptr) request.body.len = strlen(request.body.ptr);
    return request;
}

static void submit(aiocosmos_client *client, aiocosmos_request request, answer *later)
{
    memset(later, 0, sizeof *later);
    request.user_data = later;
    if (aiocosmos_submit(client, &request, NULL) != 0) CHECK_STR(aiocosmos_last_error(client), "accepted");
}

static int ask(aiocosmos_client *client, aiocosmos_request request, answer *got)
{
    submit(client, request, got);
    drain(client);
    CHECK_INT(got->calls, 1);
    return got->status;
}

static int ask_for(aiocosmos_client *client, aiocosmos_kind kind)
{
    answer got;
    return ask(client, of_kind(kind), &got);
}

/* Begins a change feed; its page is owed. */
static void begin_changes(aiocosmos_client *client, answer *later)
{
    aiocosmos_changes_request request;
    memset(&request, 0, sizeof request);
    memset(later, 0, sizeof *later);
    request.container = "c";
    CHECK_INT(aiocosmos_changes_open(client, &request, &later->query), 0);
    CHECK_INT(aiocosmos_cursor_next(client, later->query, on_page, later), 0);
}

static void step_until(aiocosmos_client *client, const int *count)
{
    while (*count == 0) CHECK(aiocosmos_step(client, 100) >= 0);
}

/* Nobody waits for what is asked for in the background. */
static void learn(aiocosmos_client *client)
{
    while (!client_knows_ranges(client)) CHECK(aiocosmos_step(client, 100) >= 0);
}

/*--- Metadata that is forgotten while it is on its way ---------------------------------------------*/

/* Ranges known, and in doubt: a token told of one that is not among them. */
static void learn_and_doubt(aiocosmos_client *client)
{
    answer page;
    CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
    begin_changes(client, &page);
    drain(client);
    CHECK_INT(page.status, 0);
    aiocosmos_cursor_close(client, page.query);
    CHECK(client_knows_ranges(client));
    service.write_lines = "x-ms-session-token: 7:-1#5\r\n";
    CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
    CHECK(client_rid(client) != NULL && !client_knows_ranges(client));
}

/* The answer of what changed is of ranges that were forgotten while it was on its way. It is no failure, nobody is told
 * that nothing changed, and everything is asked for again. */
static void forgotten_meanwhile(const char *late)
{
    aiocosmos_client *client = open_service(serve);
    answer page, created;
    learn_and_doubt(client);
    service.hold_changes = true;
    begin_changes(client, &page);
    step_until(client, &service.changes);
    service.write_lines = "x-ms-session-token: 0:-1#5\r\nx-ms-content-path: " RID_2 "\r\n";
    submit(client, of_kind(AIOCOSMOS_CREATE_ITEM), &created);        /* it tells of another container */
    step_until(client, &created.calls);
    CHECK_INT(page.calls, 0);
    service.hold_changes = false;
    service.ranges = RANGES(RID_2, RANGE("0", "", "FF", "[]"));
    say_text(service.held, late);
    drain(client);
    CHECK_INT(page.calls, 1);
    CHECK_INT(page.status, 0);
    CHECK_INT(page.items, 1);
    CHECK_INT(service.range_lists, 2);
    CHECK(client_knows_ranges(client));
    aiocosmos_cursor_close(client, page.query);
    close_client(client);
}

TEST(changes_of_ranges_that_were_forgotten_meanwhile_are_asked_for_anew)
{
    static const char changes[] = RANGES(RID, RANGE("8", "", "7F", "[\"0\"]"));          /* a half of what there is */
    char late[512];
    forgotten_meanwhile("HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n");
    snprintf(late, sizeof late, "HTTP/1.1 200 OK\r\netag: \"2\"\r\nContent-Length: %zu\r\n\r\n%s", strlen(changes),
             changes);
    forgotten_meanwhile(late);
}

/* 304 to who did not ask what changed. */
static void serve_304(peer *link)
{
    if (heard(link, "/pkranges ")) say(link, "HTTP/1.1 304 Not Modified\r\n\r\n");
    else serve(link);
}

TEST(a_304_that_nobody_asked_for_is_a_failure_of_its_own)
{
    aiocosmos_client *client = open_service(serve_304);
    answer page;
    begin_changes(client, &page);
    drain(client);
    CHECK_INT(page.calls, 1);
    CHECK_INT(page.status, AIOCOSMOS_E_PROTOCOL);
    aiocosmos_cursor_close(client, page.query);
    close_client(client);
}

/*--- Nothing waits for what it can do without -----------------------------------------------------*/

static const char *const silent_on[] = { "GET /dbs/db/colls/c HTTP", "/pkranges " };
static const char *silent;                   /* is not answered */

static uint64_t silent_us[8];
static int silent_count;

static void serve_half(peer *link)
{
    if (!heard(link, silent)) serve(link);
    else if (silent_count < 8) silent_us[silent_count++] = net.now_us;
}

/* While the definition or the ranges do not come, reads send the tokens of all ranges. */
TEST(reads_do_not_wait_for_metadata)
{
    size_t i;
    for (i = 0; i < 2; i++) {
        aiocosmos_client *client = open_service(serve_half);
        int n;
        silent = silent_on[i];
        service.write_lines = "x-ms-session-token: 3:-1#7\r\n";
        CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
        for (n = 0; n < 4; n++) {
            uint64_t from_us = net.now_us;
            CHECK_INT(ask_for(client, AIOCOSMOS_READ_ITEM), 0);
            CHECK(net.now_us - from_us < 10000);
            CHECK(strstr(service.head, n ? "x-ms-session-token: 0:-1#5,3:-1#7\r\n" : "x-ms-session-token: 3:-1#7\r\n"));
            net.now_us += 15000000;
        }
        close_client(client);
    }
}

TEST(a_read_sends_one_range_s_token_once_the_ranges_are_known)
{
    aiocosmos_client *client = open_service(serve);
    service.ranges = RANGES(RID, RANGE("0", "", "FF", "[\"9\"]"));
    CHECK_INT(aiocosmos_session_merge(client, NULL, "c", aiocosmos_text("9:-1#4")), 0);
    CHECK_INT(ask_for(client, AIOCOSMOS_READ_ITEM), 0);
    CHECK(strstr(service.head, "x-ms-session-token: 9:-1#4\r\n"));
    learn(client);
    CHECK_INT(ask_for(client, AIOCOSMOS_READ_ITEM), 0);
    CHECK(strstr(service.head, "x-ms-session-token: 0:-1#5\r\n"));
    CHECK_INT(service.range_lists, 1);
    close_client(client);
}

/* It comes quickly, or not at all: each try has a limit of its own, and all together. */
TEST(metadata_that_does_not_come_is_asked_for_again)
{
    size_t i;
    for (i = 0; i < 2; i++) {
        aiocosmos_client *client = open_service(serve_half);
        uint64_t from_us = net.now_us;
        answer page;
        silent = silent_on[i];
        silent_count = 0;
        begin_changes(client, &page);
        drain(client);
        CHECK_INT(page.calls, 1);
        CHECK(page.status < 0);
        CHECK_INT(silent_count, 4);
        CHECK(silent_us[1] - silent_us[0] > 1000000 && silent_us[1] - silent_us[0] < 1300000);
        CHECK(silent_us[2] - silent_us[1] > 5000000 && silent_us[2] - silent_us[1] < 5700000);
        CHECK(page.at_us - from_us < 15100000);
        aiocosmos_cursor_close(client, page.query);
        close_client(client);
    }
}

/* Without a limit on attempts, it has the one for all of it. */
TEST(metadata_that_does_not_come_is_asked_for_once_if_attempts_have_no_limit)
{
    size_t i;
    for (i = 0; i < 2; i++) {
        aiocosmos_options options = usual_options();
        aiocosmos_client *client = open_service(serve_half);
        uint64_t from_us;
        answer page;
        close_client(client);
        options.attempt_timeout_ms = AIOCOSMOS_OFF;
        client = open_client(&options);
        from_us = net.now_us;
        silent = silent_on[i];
        silent_count = 0;
        begin_changes(client, &page);
        drain(client);
        CHECK_INT(page.status, AIOCOSMOS_E_TIMEOUT);
        CHECK_INT(silent_count, 1);
        CHECK(page.at_us - from_us > 14990000 && page.at_us - from_us < 15100000);
        aiocosmos_cursor_close(client, page.query);
        close_client(client);
    }
}

/* An item without its key: the header depends on the definition, and on nothing else. */
TEST(an_item_without_its_key_waits_for_the_definition_alone)
{
    aiocosmos_client *client = open_service(serve_half);
    aiocosmos_request request = of_kind(AIOCOSMOS_CREATE_ITEM);
    uint64_t from_us = net.now_us;
    answer got;
    silent = "/pkranges ";
    request.pk = aiocosmos_pk1(aiocosmos_none());
    submit(client, request, &got);
    step_until(client, &got.calls);
    CHECK_INT(got.status, 0);
    CHECK(got.at_us - from_us < 10000);
    CHECK_INT(service.definitions, 1);
    CHECK(strstr(service.head, "x-ms-documentdb-partitionkey: [{}]\r\n"));
    close_client(client);
}

/* Tokens of so many ranges, each with three regions, come with a write. */
static char many_tokens[60000];

static void claim_many(int from, int count)
{
    size_t len = (size_t)sprintf(many_tokens, "x-ms-session-token: ");
    int i;
    for (i = from; i < from + count; i++)
        len += (size_t)sprintf(many_tokens + len, "%s%d:1#123456789#1=123456789#2=123456789", i > from ? "," : "", i);
    sprintf(many_tokens + len, "\r\n");
    service.write_lines = many_tokens;
}

/* A composite of more than gateways take waits for the ranges, as long as they may take, and then goes as it is;
 * one that no header can hold is no read that may be stale. */
TEST(a_composite_too_long_waits_for_the_ranges)
{
    aiocosmos_client *client = open_service(serve);
    answer got;
    claim_many(0, 150);
    CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
    service.write_lines = "";
    CHECK_INT(ask(client, of_kind(AIOCOSMOS_READ_ITEM), &got), 0);
    CHECK(strstr(service.head, "x-ms-session-token: 0:1#123456789#1=123456789#2=123456789\r\n"));
    CHECK(strlen(service.head) < 1000);
    close_client(client);
    client = open_service(serve_half);
    silent = "/pkranges ";
    claim_many(0, 150);
    CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
    CHECK_INT(ask(client, of_kind(AIOCOSMOS_READ_ITEM), &got), 0);
    CHECK(strstr(service.head, "x-ms-session-token: 0:1#") && strlen(service.head) > 5000);
    claim_many(150, 500);
    CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
    CHECK_INT(ask(client, of_kind(AIOCOSMOS_READ_ITEM), &got), AIOCOSMOS_E_TOO_LARGE);
    CHECK_INT(got.attempts, 0);
    silent = "nothing";                                      /* the ranges come, and all is well again */
    net.now_us += 31000000;
    CHECK_INT(ask(client, of_kind(AIOCOSMOS_READ_ITEM), &got), 0);
    close_client(client);
}

/* Ranges that are forgotten on their way are waited for once more. */
TEST(a_composite_too_long_waits_for_ranges_that_were_forgotten_meanwhile)
{
    aiocosmos_client *client = open_service(serve);
    answer got, replaced;
    claim_many(0, 650);
    CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
    service.write_lines = "";
    service.hold_lists = true;
    submit(client, of_kind(AIOCOSMOS_READ_ITEM), &got);
    step_until(client, &service.range_lists);
    submit(client, of_kind(AIOCOSMOS_REPLACE_CONTAINER), &replaced);
    step_until(client, &replaced.calls);
    CHECK_INT(replaced.status, 0);
    CHECK_INT(got.calls, 0);
    service.hold_lists = false;
    reply(service.held, 200, "etag: \"1\"\r\n", service.ranges);
    drain(client);
    CHECK_INT(got.status, 0);
    CHECK_INT(service.range_lists, 2);
    CHECK(strlen(service.head) < 1000);
    close_client(client);
}

/*--- Cookies --------------------------------------------------------------------------------------*/

static void serve_claims(peer *link)
{
    if (heard(link, "GET /dbs/db/colls/c/docs/") && heard(link, "#9223372036854775807")) {
        snprintf(service.head, sizeof service.head, "%s", link->out);
        reply(link, 404, "x-ms-substatus: 1002\r\nx-ms-activity-id: 1\r\n", "{}");
    } else {
        serve(link);
    }
}

/* A token that no server ever gave fails who brings it along; merged, it fails one read, which is not given what may be
 * stale, and then it is gone, but not what answers gave. */
TEST(a_made_up_cookie_stops_one_read_and_no_more)
{
    static const char *const made_up[] = { "0:-1#9223372036854775807", "0:-1#9223372036854775807,7:-1#1" };
    size_t i;
    for (i = 0; i < 4; i++) {
        aiocosmos_client *client = open_service(serve_claims);
        aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
        answer got;
        CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
        if (i % 2) CHECK_INT(ask_for(client, AIOCOSMOS_READ_ITEM), 0);
        if (i % 2) learn(client);
        CHECK_INT(aiocosmos_session_merge(client, NULL, "c", aiocosmos_text(made_up[i / 2])), 0);
        CHECK_INT(ask(client, of_kind(AIOCOSMOS_READ_ITEM), &got), 404);
        CHECK_INT(got.sub_status, 1002);
        CHECK(got.attempts > 5);
        CHECK(strstr(service.head, "#9223372036854775807"));
        CHECK_INT(ask(client, of_kind(AIOCOSMOS_READ_ITEM), &got), 0);
        CHECK_INT(got.attempts, 1);
        CHECK(strstr(service.head, "x-ms-session-token: 0:-1#5\r\n"));
        request.session_token = aiocosmos_text(made_up[i / 2]);
        CHECK_INT(ask(client, request, &got), 404);
        CHECK_INT(ask_for(client, AIOCOSMOS_READ_ITEM), 0);
        close_client(client);
    }
}

static peer *held[2];

static void hold(peer *link)
{
    if (heard(link, "GET /dbs/db/colls/c/docs/")) held[held[0] != NULL] = link;
    else serve(link);
}

static void cancel_other(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    CHECK_INT(result->status, 0);
    CHECK(aiocosmos_cancel(client, *(const aiocosmos_op *)user_data));
}

/* Whoever cancels a read has not waited for a replica that is behind: what was merged may yet be borne out. Its answer
 * comes together with the one that has it cancelled. */
TEST(a_read_that_is_cancelled_takes_no_claim_along)
{
    aiocosmos_client *client = open_service(serve_claims);
    aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM), first = request;
    aiocosmos_str token;
    aiocosmos_op op;
    answer got;
    CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
    CHECK_INT(aiocosmos_session_merge(client, NULL, "c", aiocosmos_text("0:-1#9223372036854775807")), 0);
    memset(held, 0, sizeof held);
    memset(&got, 0, sizeof got);
    remote.answer = hold;
    first.done = cancel_other;
    first.user_data = &op;
    request.user_data = &got;
    CHECK_INT(aiocosmos_submit(client, &first, NULL), 0);
    while (!held[0]) CHECK(aiocosmos_step(client, 100) >= 0);
    CHECK_INT(aiocosmos_submit(client, &request, &op), 0);
    while (!held[1]) CHECK(aiocosmos_step(client, 100) >= 0);
    say_text(held[0], "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    say_text(held[1], "HTTP/1.1 404 Not Found\r\nx-ms-substatus: 1002\r\nx-ms-activity-id: 1\r\n"
                      "Content-Length: 2\r\n\r\n{}");
    drain(client);
    CHECK_INT(got.status, AIOCOSMOS_E_CANCELLED);
    CHECK_INT(got.sub_status, 1002);
    token = aiocosmos_session_get(client, NULL, "c");
    CHECK_TEXT(token.ptr, token.len, "0:-1#9223372036854775807");
    close_client(client);
}

/* What is claimed of other ranges is none of that read's. */
TEST(a_made_up_cookie_takes_no_other_range_s_claim_along)
{
    aiocosmos_client *client = open_service(serve_claims);
    char claims[64];
    const char *at;
    service.ranges = RANGES(RID, RANGE("0", "", "1F", "[]") "," RANGE("1", "1F", "FF", "[]"));
    service.write_lines = service.read_lines = "x-ms-session-token: 0:-1#5,1:-1#5\r\n";
    CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
    CHECK_INT(ask_for(client, AIOCOSMOS_READ_ITEM), 0);
    learn(client);
    CHECK_INT(ask_for(client, AIOCOSMOS_READ_ITEM), 0);
    at = strstr(service.head, "x-ms-session-token: ");
    CHECK(at && at[21] == ':' && (at[20] == '0' || at[20] == '1'));
    snprintf(claims, sizeof claims, "%c:-1#9223372036854775807,%c:-1#9", at[20], '0' + '1' - at[20]);
    CHECK_INT(aiocosmos_session_merge(client, NULL, "c", aiocosmos_text(claims)), 0);
    CHECK_INT(ask_for(client, AIOCOSMOS_READ_ITEM), 404);
    CHECK_TEXT(aiocosmos_session_get(client, NULL, "c").ptr, aiocosmos_session_get(client, NULL, "c").len,
               claims[0] == '0' ? "0:-1#5,1:-1#9" : "0:-1#9,1:-1#5");
    close_client(client);
}

/* Of a range that there is not, when the ranges were asked for after it came: nobody is held up. */
TEST(a_made_up_range_is_forgotten_once_the_ranges_are_known)
{
    aiocosmos_client *client = open_service(serve_claims);
    answer got;
    CHECK_INT(aiocosmos_session_merge(client, NULL, "c", aiocosmos_text("7:-1#9223372036854775807")), 0);
    CHECK_INT(ask(client, of_kind(AIOCOSMOS_READ_ITEM), &got), 0);
    CHECK_INT(got.attempts, 2);
    CHECK(!strstr(service.head, "x-ms-session-token"));
    close_client(client);
}

/*--- Whose tokens they are ------------------------------------------------------------------------*/

static int said_status;                      /* to reads of items */
static const char *said_lines;

static void serve_status(peer *link)
{
    if (heard(link, "GET /dbs/db/colls/c/docs/")) {
        if (said_status == 304) say(link, "HTTP/1.1 304 Not Modified\r\n%s\r\n", said_lines);
        else reply(link, said_status, said_lines, "{}");
    } else {
        serve(link);
    }
}

/* Answers of no item, of another version or of a lost race have seen something, too. */
TEST(answers_that_are_no_success_count_for_the_session)
{
    static const struct { int status; const char *lines; bool counts; } said[] = {
        {304, "", true}, {404, "", true}, {409, "", true}, {412, "", true},
        {404, "x-ms-substatus: 1002\r\n", false}, {404, "x-ms-substatus: 1003\r\n", false}, {400, "", false},
        {403, "", false}, {413, "", false}
    };
    static char lines[256];
    size_t i;
    said_lines = lines;
    for (i = 0; i < sizeof said / sizeof *said; i++) {
        aiocosmos_client *client = open_service(serve_status);
        aiocosmos_request request = of_kind(AIOCOSMOS_READ_ITEM);
        answer got;
        said_status = said[i].status;
        snprintf(lines, sizeof lines, "%sx-ms-activity-id: 1\r\nx-ms-session-token: 0:-1#77\r\n", said[i].lines);
        request.if_none_match = aiocosmos_text("\"x\"");
        CHECK_INT(ask(client, request, &got), said_status);
        CHECK_INT(aiocosmos_session_get(client, NULL, "c").len, said[i].counts ? strlen("0:-1#77") : 0);
        close_client(client);
    }
}

TEST(a_container_that_was_replaced_keeps_its_session)
{
    aiocosmos_client *client = open_service(serve);
    CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
    CHECK_INT(ask_for(client, AIOCOSMOS_REPLACE_CONTAINER), 0);
    CHECK_INT(ask_for(client, AIOCOSMOS_READ_ITEM), 0);
    CHECK(strstr(service.head, "x-ms-session-token: 0:-1#5\r\n"));
    close_client(client);
}

TEST(what_was_deleted_leaves_no_session)
{
    static const char *const names[] = { "c", "d" };
    aiocosmos_kind kind;
    for (kind = AIOCOSMOS_DELETE_CONTAINER; kind <= AIOCOSMOS_DELETE_DATABASE;
         kind = kind == AIOCOSMOS_DELETE_CONTAINER ? AIOCOSMOS_DELETE_DATABASE : (aiocosmos_kind)(kind + 1)) {
        aiocosmos_client *client = open_service(serve);
        aiocosmos_request request = of_kind(AIOCOSMOS_CREATE_ITEM);
        answer got;
        size_t i;
        for (i = 0; i < 2; i++) {
            request.container = names[i];
            request.database = "db";
            CHECK_INT(ask(client, request, &got), 0);
            request.database = "db2";
            CHECK_INT(ask(client, request, &got), 0);
        }
        CHECK_INT(ask_for(client, kind), 0);
        CHECK_INT(aiocosmos_session_get(client, "db", "c").len, 0);
        CHECK((aiocosmos_session_get(client, "db", "d").len > 0) == (kind == AIOCOSMOS_DELETE_CONTAINER));
        CHECK(aiocosmos_session_get(client, "db2", "c").len > 0);
        close_client(client);
    }
}

/* The list of ranges tells whose they are, and nothing else need. */
TEST(a_list_of_ranges_tells_of_another_container)
{
    aiocosmos_client *client = open_service(serve);
    answer page;
    learn_and_doubt(client);
    CHECK_STR(client_rid(client), RID);
    service.definition = definition_2;
    service.changed = RANGES(RID_2, RANGE("0", "", "FF", "[]"));
    service.ranges = RANGES(RID_2, RANGE("0", "", "FF", "[]"));
    begin_changes(client, &page);
    drain(client);
    CHECK_INT(page.status, 0);
    CHECK_INT(service.definitions, 2);
    CHECK_INT(aiocosmos_session_get(client, NULL, "c").len, 0);
    aiocosmos_cursor_close(client, page.query);
    close_client(client);
}

static const char *intended;                 /* of requests of items; others are refused */

static void serve_intended(peer *link)
{
    const char *at = strstr(link->out, "x-ms-cosmos-intended-collection-rid: ");
    if (heard(link, "/docs") && at && strncmp(at + 37, intended, 12) != 0)
        reply(link, 400, "x-ms-substatus: 1024\r\nx-ms-activity-id: 1\r\n", "{}");
    else serve(link);
}

TEST(requests_of_items_say_which_container_they_mean)
{
    aiocosmos_client *client = open_service(serve_intended);
    aiocosmos_request request = of_kind(AIOCOSMOS_CREATE_ITEM);
    answer got;
    intended = RID;
    service.write_lines = "x-ms-session-token: 0:-1#50\r\nx-ms-content-path: " RID "\r\n";
    CHECK_INT(ask(client, request, &got), 0);
    CHECK(!strstr(service.head, "intended"));
    CHECK_INT(ask(client, request, &got), 0);
    CHECK(strstr(service.head, "x-ms-cosmos-intended-collection-rid: " RID "\r\n"));
    service.write_lines = "x-ms-session-token: 0:-1#6\r\n";
    intended = RID_2;                                        /* created anew; the definition says so, too */
    service.definition = definition_2;
    service.ranges = RANGES(RID_2, RANGE("0", "", "FF", "[]"));
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_INT(got.attempts, 2);
    CHECK(strstr(service.head, "x-ms-cosmos-intended-collection-rid: " RID_2 "\r\n"));
    CHECK_TEXT(aiocosmos_session_get(client, NULL, "c").ptr, 6, "0:-1#6");
    intended = RID;                                          /* whoever is never content is asked twice */
    CHECK_INT(ask(client, request, &got), 400);
    CHECK_INT(got.attempts, 2);
    close_client(client);
}

TEST(a_range_s_id_writes_no_header_lines)
{
    aiocosmos_client *client = open_service(serve);
    service.ranges = RANGES(RID, RANGE("1\\r\\nX-Evil: yes\\r\\nX", "", "FF", "[\"0\"]"));
    CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
    CHECK_INT(ask_for(client, AIOCOSMOS_READ_ITEM), 0);
    while (client_fetches_ranges(client)) CHECK(aiocosmos_step(client, 100) >= 0);
    CHECK_INT(ask_for(client, AIOCOSMOS_READ_ITEM), 0);
    CHECK(!strstr(service.head, "X-Evil"));
    CHECK(strstr(service.head, "x-ms-session-token: 0:-1#5\r\n"));
    close_client(client);
}

static void keep_message(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    (void)client;
    snprintf(user_data, 400, "%d: %.*s", page->status, (int)page->result->message.len, page->result->message.ptr);
}

/* Items are read and written, and queries asked, without ranges; who needs them is told which is of no use, and why. */
TEST(who_needs_ranges_that_cannot_be_used_is_told_which_and_why)
{
    static const struct { const char *list, *why; } cases[] = {
        { RANGE("0", "", "80", "[]") "," RANGE("1\\r\\nX: y", "80", "FF", "[]"), "range 1: \"id\" " },
        { RANGE("0,1", "", "FF", "[]"), "range 0: \"id\" " },
        { RANGE("0:-1", "", "FF", "[]"), "range 0: \"id\" " },
        { RANGE("", "", "FF", "[]"), "range 0: \"id\" " },
        { RANGE("0", "G", "FF", "[]"), "range 0: \"minInclusive\" " },
        { RANGE("0", "", "FF\\u0000", "[]"), "range 0: \"maxExclusive\" " },
        { RANGE("0", "", "FF", "[7]"), "range 0: \"parents\" " },
        { "{\"minInclusive\":\"\",\"maxExclusive\":\"FF\"}", "range 0: \"id\" " },
        { "", "leave gaps, or overlap" } };
    char ranges[400], message[400];
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        aiocosmos_client *client = open_service(serve);
        answer got;
        snprintf(ranges, sizeof ranges, RANGES(RID, "%s"), cases[i].list);
        service.ranges = ranges;
        CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
        CHECK_INT(ask_for(client, AIOCOSMOS_READ_ITEM), 0);
        begin_changes(client, &got);
        drain(client);
        CHECK_INT(got.status, AIOCOSMOS_E_PROTOCOL);
        CHECK_INT(aiocosmos_cursor_next(client, got.query, keep_message, message), 0);
        drain(client);
        if (!strstr(message, cases[i].why)) CHECK_STR(message, cases[i].why);
        CHECK_INT(ask_for(client, AIOCOSMOS_READ_ITEM), 0);
        CHECK_INT(ask_for(client, AIOCOSMOS_CREATE_ITEM), 0);
        aiocosmos_cursor_close(client, got.query);
        close_client(client);
    }
}
