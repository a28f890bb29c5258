/* The whole client against an emulator that fails: retries, what became of each write, deadlines, cancelling, order,
 * and who is called back when. */
#include "client.h"

static const char item_a[] = "{\"id\":\"a\",\"pk\":\"p\",\"v\":1}";

static aiocosmos_request write_a(void) { return create_item(aiocosmos_s("p"), item_a); }
static aiocosmos_request read_a(void) { return read_item("a", aiocosmos_s("p")); }

static bool is_stored(aiocosmos_client *client, const char *id)
{
    answer got;
    int status = ask(client, read_item(id, aiocosmos_s("p")), &got);
    CHECK(status == 0 || status == 404);
    return status == 0;
}

/* A world whose client differs from the usual one. */
static aiocosmos_client *open_world_of(void (*change)(aiocosmos_options *options))
{
    aiocosmos_options options;
    aiocosmos_client *client;
    open_emulator("");
    options = usual_options();
    change(&options);
    client = open_client(&options);
    fill_world(client);
    return client;
}

/*--- Answers that ask to come again ---------------------------------------------------*/

TEST_TWICE(a_429_is_retried_after_the_time_that_it_names)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_stats stats;
    answer got;
    fault("status=429,retry_after_ms=20,kind=create_item,count=3");
    CHECK_INT(ask(client, write_a(), &got), 0);
    CHECK_INT(got.attempts, 4);
    CHECK(got.throttled_us >= 60000 && got.throttled_us <= 72000);
    CHECK(got.latency_us >= got.throttled_us);
    aiocosmos_get_stats(client, &stats);
    CHECK_INT(stats.throttled, 3);
    CHECK_INT(stats.retries, 3);
    close_world(client);
}

static void few_retries(aiocosmos_options *options) { options->retries_max = 2; }
static void no_retries(aiocosmos_options *options) { options->retries_max = AIOCOSMOS_OFF; }
static void short_throttle(aiocosmos_options *options) { options->throttle_wait_ms = 50; }

TEST(retries_on_429_are_counted)
{
    aiocosmos_client *client = open_world_of(few_retries);
    answer got;
    fault("status=429,retry_after_ms=1,kind=create_item");
    CHECK_INT(ask(client, write_a(), &got), 429);
    CHECK_INT(got.attempts, 3);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
    CHECK(strstr(got.message, "attempt 3"));
    close_world(client);
}

TEST(no_retries_means_none)
{
    static const char *const rules[] = {"status=429,retry_after_ms=1,kind=read_item", "status=449,kind=read_item",
        "status=503,kind=read_item", "status=410,sub_status=1002,kind=read_item",
        "status=404,sub_status=1002,kind=read_item", "action=reset,kind=read_item"};
    aiocosmos_client *client = open_world_of(no_retries);
    size_t i;
    must(client, write_a());
    for (i = 0; i < sizeof rules / sizeof *rules; i++) {
        answer got;
        fault(rules[i]);
        CHECK(ask(client, read_a(), &got) != 0);
        if (got.attempts != 1) CHECK_STR(rules[i], "one attempt");
        no_faults();
    }
    close_world(client);
}

TEST(waiting_on_429_has_a_limit)
{
    aiocosmos_client *client = open_world_of(short_throttle);
    answer got;
    fault("status=429,retry_after_ms=20,kind=create_item");
    CHECK_INT(ask(client, write_a(), &got), 429);
    CHECK_INT(got.attempts, 3);                            /* 20 + 20 ms, and up to a fifth more, are within 50 */
    CHECK(got.throttled_us >= 40000 && got.throttled_us <= 48000);
    no_faults();
    fault("status=429,retry_after_ms=100000,kind=create_item");
    CHECK_INT(ask(client, write_a(), &got), 429);
    CHECK_INT(got.attempts, 1);
    close_world(client);
}

TEST(a_429_that_names_no_time_is_retried_all_the_same)
{
    aiocosmos_client *client = open_world("");
    answer got;
    fault("status=429,kind=create_item,count=1");
    CHECK_INT(ask(client, write_a(), &got), 0);
    CHECK_INT(got.attempts, 2);
    CHECK(got.throttled_us > 0);
    close_world(client);
}

TEST(a_503_or_449_is_retried_after_the_time_that_it_names)
{
    static const char *const rules[] = {"status=503,retry_after_ms=300,kind=create_item,count=1",
        "status=449,retry_after_ms=300,kind=create_item,count=1"};
    aiocosmos_client *client = open_world("");
    size_t i;
    for (i = 0; i < 2; i++) {
        answer got;
        fault(rules[i]);
        CHECK_INT(ask(client, write_a(), &got), i == 0 ? 0 : 409);
        CHECK_INT(got.attempts, 2);
        CHECK(got.latency_us >= 300000);
        no_faults();
        fault("status=503,retry_after_ms=60000,kind=create_item");       /* longer than there is time */
        CHECK_INT(ask(client, write_a(), &got), 503);
        CHECK_INT(got.attempts, 1);
        CHECK(got.latency_us < 1000000);
        no_faults();
    }
    close_world(client);
}

TEST(what_the_service_did_not_process_is_sent_again)
{
    static const char *const rules[] = {"status=449,kind=create_item,count=2", "status=503,kind=create_item,count=1",
        "status=410,sub_status=1002,kind=create_item,count=1", "status=410,sub_status=1007,kind=create_item,count=1",
        "status=410,sub_status=1000,kind=create_item,count=1", "status=404,sub_status=1003,kind=create_item,count=1"};
    aiocosmos_client *client = open_world("");
    size_t i;
    for (i = 0; i < sizeof rules / sizeof *rules; i++) {
        answer got;
        fault(rules[i]);
        if (ask(client, write_a(), &got) != 0) CHECK_STR(rules[i], got.message);
        CHECK_INT(got.attempts, i == 0 ? 3 : 2);
        CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
        must(client, delete_item("a", aiocosmos_s("p")));
    }
    close_world(client);
}

TEST(what_will_not_get_better_is_not_sent_again)
{
    static const int statuses[] = {400, 401, 403, 404, 405, 409, 412, 413, 415, 423, 424};
    aiocosmos_client *client = open_world("");
    size_t i;
    for (i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        char rule[64];
        answer got;
        snprintf(rule, sizeof rule, "status=%d,kind=create_item", statuses[i]);
        fault(rule);
        CHECK_INT(ask(client, write_a(), &got), statuses[i]);
        CHECK_INT(got.attempts, 1);
        CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
        CHECK(got.message[0]);
        no_faults();
    }
    close_world(client);
}

TEST(a_read_goes_through_every_passing_fault)
{
    static const char *const rules[] = {"status=500,kind=read_item,count=1", "status=502,kind=read_item,count=1",
        "status=504,kind=read_item,count=1", "status=408,kind=read_item,count=1", "action=reset,kind=read_item,count=2",
        "action=close,kind=read_item,count=2", "action=truncate,at=30,kind=read_item,count=1",
        "action=truncate,at=400,kind=read_item,count=1", "action=garble,at=0,kind=read_item,count=1",
        "action=reset,when=after,kind=read_item,count=1", "action=chunked,kind=read_item,count=1",
        "action=trickle,kind=read_item,count=1", "delay_ms=20,kind=read_item,count=1"};
    aiocosmos_client *client = open_world("");
    size_t i;
    must(client, write_a());
    for (i = 0; i < sizeof rules / sizeof *rules; i++) {
        answer got;
        fault(rules[i]);
        if (ask(client, read_a(), &got) != 0) CHECK_STR(rules[i], got.message);
        CHECK_INT(number_in(client, got.body, "/v"), 1);
        CHECK_INT(got.attempts, i < 4 || (i > 5 && i < 10) ? 2 : i < 6 ? 3 : 1);
        no_faults();
    }
    close_world(client);
}

/*--- The fate of a write ----------------------------------------------------------------*/

typedef struct fate_case {
    const char *rule;
    int status, fate;
    bool stored;
} fate_case;

static const fate_case fates[] = {
    {"action=reset,kind=create_item", AIOCOSMOS_E_CONNECT, AIOCOSMOS_FATE_MAYBE_APPLIED, false},
    {"action=reset,when=after,kind=create_item", AIOCOSMOS_E_CONNECT, AIOCOSMOS_FATE_MAYBE_APPLIED, true},
    {"action=close,kind=create_item", AIOCOSMOS_E_CONNECT, AIOCOSMOS_FATE_MAYBE_APPLIED, false},
    {"action=close,when=after,kind=create_item", AIOCOSMOS_E_CONNECT, AIOCOSMOS_FATE_MAYBE_APPLIED, true},
    {"action=truncate,at=20,kind=create_item", AIOCOSMOS_E_CONNECT, AIOCOSMOS_FATE_MAYBE_APPLIED, true},
    {"action=garble,at=0,kind=create_item", AIOCOSMOS_E_PROTOCOL, AIOCOSMOS_FATE_MAYBE_APPLIED, true},
    {"status=500,kind=create_item", 500, AIOCOSMOS_FATE_MAYBE_APPLIED, false},
    {"status=408,when=after,kind=create_item", 408, AIOCOSMOS_FATE_MAYBE_APPLIED, true},
    {"status=409,kind=create_item", 409, AIOCOSMOS_FATE_ANSWERED, false},
};

TEST_TWICE(a_write_whose_answer_is_lost_is_sent_once_and_may_have_been_applied)
{
    aiocosmos_client *client = open_world("");
    size_t i;
    for (i = 0; i < sizeof fates / sizeof *fates; i++) {
        answer got;
        fault(fates[i].rule);
        if (ask(client, write_a(), &got) != fates[i].status) CHECK_STR(fates[i].rule, got.message);
        CHECK_INT(got.fate, fates[i].fate);
        CHECK_INT(got.attempts, 1);
        CHECK_INT(strstr(got.message, "the write may have been applied") != NULL,
                  fates[i].fate == AIOCOSMOS_FATE_MAYBE_APPLIED);
        no_faults();
        if (is_stored(client, "a") != fates[i].stored) CHECK_STR(fates[i].rule, "otherwise");
        if (fates[i].stored) must(client, delete_item("a", aiocosmos_s("p")));
    }
    close_world(client);
}

TEST(a_write_to_nobody_was_not_sent)
{
    aiocosmos_client *client = open_world_of(few_retries);
    answer got;
    stop_emulator();
    CHECK_INT(ask(client, write_a(), &got), AIOCOSMOS_E_CONNECT);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_NOT_SENT);
    CHECK_INT(got.attempts, 3);
    CHECK(strstr(got.message, "127.0.0.1") || strstr(got.message, "localhost"));
    close_world(client);
}

TEST(with_if_match_a_write_is_sent_again)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = replace_item("a", aiocosmos_s("p"), "{\"id\":\"a\",\"pk\":\"p\",\"v\":2}");
    answer created, got;
    CHECK_INT(ask(client, write_a(), &created), 0);
    request.if_match = aiocosmos_text(created.etag);
    fault("action=reset,kind=replace_item,count=1");
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_INT(got.attempts, 2);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
    close_world(client);
}

/* The first try was applied, so that the second meets its own trace. */
TEST(an_echo_of_our_own_write_is_not_taken_for_an_answer)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = replace_item("a", aiocosmos_s("p"), "{\"id\":\"a\",\"pk\":\"p\",\"v\":2}");
    answer created, got;
    CHECK_INT(ask(client, write_a(), &created), 0);
    request.if_match = aiocosmos_text(created.etag);
    fault("action=reset,when=after,kind=replace_item,count=1");
    CHECK_INT(ask(client, request, &got), 412);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    CHECK_INT(got.attempts, 2);
    must(client, delete_item("a", aiocosmos_s("p")));
    CHECK_INT(ask(client, write_a(), &created), 0);
    request = delete_item("a", aiocosmos_s("p"));
    request.if_match = aiocosmos_text(created.etag);
    no_faults();
    fault("action=reset,when=after,kind=delete_item,count=1");
    CHECK_INT(ask(client, request, &got), 404);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    close_world(client);
}

/* "*" is met by any version, that of our own first try as well: a second one would be applied on top of it. */
TEST(an_if_match_that_any_version_meets_is_no_leave_to_send_again)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = of_item(AIOCOSMOS_PATCH_ITEM, "a", aiocosmos_s("p"),
                                        "[{\"op\":\"incr\",\"path\":\"/v\",\"value\":1}]");
    answer got;
    must(client, write_a());
    request.if_match = aiocosmos_text("*");
    fault("action=reset,when=after,kind=patch_item,count=1");
    CHECK_INT(ask(client, request, &got), AIOCOSMOS_E_CONNECT);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    CHECK_INT(ask(client, read_a(), &got), 0);
    CHECK_INT(number_in(client, got.body, "/v"), 2);
    close_world(client);
}

static void retry_writes(aiocosmos_options *options) { options->retry_writes = true; }

TEST_TWICE(with_retry_writes_every_write_is_sent_again)
{
    aiocosmos_client *client = open_world_of(retry_writes);
    answer got;
    fault("action=reset,kind=create_item,count=2");
    CHECK_INT(ask(client, write_a(), &got), 0);
    CHECK_INT(got.attempts, 3);
    no_faults();
    fault("action=reset,when=after,kind=create_item,count=1");
    CHECK_INT(ask(client, create_item(aiocosmos_s("p"), "{\"id\":\"b\",\"pk\":\"p\"}"), &got), 409);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    CHECK(is_stored(client, "b"));
    no_faults();
    fault("action=garble,at=0,kind=upsert_item,count=1");
    CHECK_INT(ask(client, upsert_item(aiocosmos_s("p"), "{\"id\":\"b\",\"pk\":\"p\"}"), &got), 0);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
    close_world(client);
}

TEST(if_not_exists_may_be_sent_again)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = create_container("again", "/pk");
    answer got;
    request.if_not_exists = true;
    fault("action=reset,when=after,kind=create_container,count=1");
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_INT(got.attempts, 2);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
    close_world(client);
}

/* While the host is busy elsewhere the server closes what is idle; that is seen before the next write, not by it. */
TEST_TWICE(a_connection_that_the_server_closed_is_not_written_to)
{
    aiocosmos_client *client = open_world("");
    char url[sizeof emulator.url], options[640];
    answer got;
    snprintf(url, sizeof url, "%s", emulator.url);
    snprintf(options, sizeof options, "%s --port %d", over_tls() ? TLS_OPTIONS : "", emulator.port);
    start_emulator(options);                               /* the same port, another process */
    CHECK_STR(emulator.url, url);
    CHECK_INT(ask(client, of_kind(AIOCOSMOS_CREATE_DATABASE), &got), 0);
    CHECK_INT(got.attempts, 1);
    close_world(client);
}

TEST(an_answer_in_pieces_is_one_answer)
{
    aiocosmos_client *client = open_world("");
    answer got;
    must(client, write_a());
    fault("action=trickle,kind=read_item");
    CHECK_INT(ask(client, read_a(), &got), 0);
    CHECK_INT(number_in(client, got.body, "/v"), 1);
    CHECK_INT(got.attempts, 1);
    close_world(client);
}

/*--- Attempts, as a result shows them -----------------------------------------------------*/

typedef struct attempts {
    uint32_t count, numbers[8];
    int statuses[8];
    char line[2048];
    size_t line_len;
} attempts;

static void keep_attempts(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    attempts *kept = user_data;
    aiocosmos_attempt attempt;
    (void)client;
    for (kept->count = 0; aiocosmos_result_attempt(result, kept->count, &attempt); kept->count++) {
        kept->numbers[kept->count] = attempt.number;
        kept->statuses[kept->count] = attempt.status;
    }
    kept->line_len = aiocosmos_result_describe(result, kept->line, sizeof kept->line);
}

TEST(the_first_and_the_last_attempts_are_kept)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = read_a();
    attempts kept;
    must(client, write_a());
    fault("status=429,retry_after_ms=1,kind=read_item,count=8");
    request.done = keep_attempts;
    request.user_data = &kept;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK_INT(kept.count, 6);
    CHECK_INT(kept.numbers[2], 3);
    CHECK_INT(kept.numbers[3], 7);
    CHECK_INT(kept.numbers[5], 9);
    CHECK_INT(kept.statuses[0], 429);
    CHECK_INT(kept.statuses[5], 200);
    CHECK(kept.line_len == strlen(kept.line) && strstr(kept.line, "9 attempts") && strstr(kept.line, "#9 200/0"));
    close_world(client);
}

/*--- Deadlines --------------------------------------------------------------------------*/

static aiocosmos_request within(aiocosmos_request request, uint32_t timeout_ms)
{
    request.timeout_ms = timeout_ms;
    return request;
}

TEST_TWICE(a_deadline_ends_the_wait_for_an_answer)
{
    aiocosmos_client *client = open_world("");
    answer got;
    must(client, write_a());
    fault("action=hang,kind=item");
    CHECK_INT(ask(client, within(read_a(), 30), &got), AIOCOSMOS_E_TIMEOUT);
    CHECK(got.latency_us >= 30000);
    CHECK(strstr(got.message, "waiting for the answer"));
    CHECK_INT(ask(client, within(upsert_item(aiocosmos_s("p"), item_a), 30), &got), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    no_faults();
    CHECK_INT(ask(client, read_a(), &got), 0);
    close_world(client);
}

TEST(a_deadline_ends_the_time_between_two_attempts)
{
    aiocosmos_client *client = open_world("");
    answer got;
    fault("status=429,retry_after_ms=600,kind=create_item");
    CHECK_INT(ask(client, within(write_a(), 1000), &got), 429);    /* no time is left: the service's word is better */
    CHECK_INT(got.attempts, 2);
    CHECK_INT(got.http_status, 429);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
    close_world(client);
}

static void one_connection(aiocosmos_options *options) { options->connections_max = 1; }

TEST(a_deadline_ends_the_wait_for_a_connection)
{
    aiocosmos_client *client = open_world_of(one_connection);
    answer first, second;
    fault("action=hang,kind=create_item,count=1");
    send_off(client, within(write_a(), 60), &first);
    CHECK(aiocosmos_step(client, 0) >= 0);
    send_off(client, within(create_item(aiocosmos_s("p"), "{\"id\":\"b\",\"pk\":\"p\"}"), 20), &second);
    drain(client);
    CHECK_INT(second.status, AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(second.fate, AIOCOSMOS_FATE_NOT_SENT);
    CHECK(strstr(second.message, "waiting for a connection"));
    CHECK_INT(first.status, AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(first.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
    close_world(client);
}

/* A client that can never connect, at one stage or another. */
typedef struct lost { aiocosmos_client *client; int listener; } lost;

static void never_resolve(aiocosmos_client *client, const char *host, uint64_t question, void *user_data)
{
    (void)client; (void)question;
    CHECK_STR(host, "nowhere.example");
    ++*(int *)user_data;
}

static aiocosmos_client *open_lost_in_dns(int *asked)
{
    aiocosmos_options options;
    open_emulator("");
    options = usual_options();
    options.endpoint = "https://nowhere.example/";
    options.trust_pem = read_text("build/certs/rsa/ca.pem");
    options.resolve_fn = never_resolve;
    options.resolve_user_data = asked;
    return open_client(&options);
}

static aiocosmos_client *open_lost_in_tcp(void)
{
    aiocosmos_options options;
    open_emulator("");
    options = usual_options();
    options.endpoint = "http://127.0.0.1:1/";
    options.platform = bent_platform();
    bend.open_answer = AIOCOSMOS_IO_AGAIN;
    return open_client(&options);
}

/* A server that accepts, by its backlog, and never says a word. */
static aiocosmos_client *open_lost_in_tls(int *listener)
{
    static char url[64];
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    aiocosmos_options options;
    open_emulator("");
    memset(&name, 0, sizeof name);
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_INT(bind(*listener, (struct sockaddr *)&name, sizeof name), 0);
    CHECK_INT(listen(*listener, 8), 0);
    CHECK_INT(getsockname(*listener, (struct sockaddr *)&name, &len), 0);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", ntohs(name.sin_port));
    options = usual_options();
    options.endpoint = url;
    options.trust_pem = read_text("build/certs/rsa/ca.pem");
    return open_client(&options);
}

TEST(a_deadline_ends_every_stage_of_connecting)
{
    aiocosmos_client *client;
    int asked = 0, listener;
    answer got;
    client = open_lost_in_dns(&asked);
    CHECK_INT(ask(client, within(write_a(), 30), &got), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(asked, 1);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_NOT_SENT);
    close_world(client);
    client = open_lost_in_tcp();
    CHECK_INT(ask(client, within(write_a(), 30), &got), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_NOT_SENT);
    close_world(client);
    client = open_lost_in_tls(&listener);
    CHECK_INT(ask(client, within(write_a(), 30), &got), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_NOT_SENT);
    close(listener);
    close_world(client);
}

TEST(connecting_has_a_time_limit_of_its_own)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    answer got;
    open_emulator("");
    options = usual_options();
    options.endpoint = "http://127.0.0.1:1/";
    options.platform = bent_platform();
    options.connect_timeout_ms = 20;
    options.retries_max = 1;
    bend.open_answer = AIOCOSMOS_IO_AGAIN;
    client = open_client(&options);
    CHECK_INT(ask(client, write_a(), &got), AIOCOSMOS_E_CONNECT);
    CHECK_INT(got.attempts, 2);
    CHECK(strstr(got.message, "127.0.0.1:1"));
    close_world(client);
}

TEST(no_deadline_means_none)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    answer got;
    open_emulator("");
    options = usual_options();
    options.platform = bent_platform();
    client = open_client(&options);
    fill_world(client);
    fault("action=hang,kind=create_item");
    send_off(client, within(write_a(), AIOCOSMOS_OFF), &got);
    CHECK_INT(aiocosmos_drain(client, 20), AIOCOSMOS_E_TIMEOUT);
    bend.monotonic_us += 86400000000u;
    CHECK_INT(aiocosmos_drain(client, 20), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(got.calls, 0);
    close_world(client);
    CHECK_INT(got.calls, 1);
    CHECK_INT(got.status, AIOCOSMOS_E_SHUTDOWN);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_MAYBE_APPLIED);
}

/*--- Cancelling -------------------------------------------------------------------------*/

static void check_cancelled(aiocosmos_client *client, aiocosmos_op op, answer *got, int fate)
{
    CHECK_INT(got->calls, 0);
    CHECK(aiocosmos_cancel(client, op));
    CHECK(aiocosmos_cancel(client, op));
    CHECK_INT(got->calls, 0);                              /* never from inside cancel */
    drain(client);
    CHECK_INT(got->calls, 1);
    CHECK_INT(got->status, AIOCOSMOS_E_CANCELLED);
    CHECK_INT(got->fate, fate);
    CHECK(!aiocosmos_cancel(client, op));
}

TEST_TWICE(what_is_queued_or_on_the_wire_can_be_cancelled)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_op op;
    answer got;
    op = send_off(client, write_a(), &got);
    check_cancelled(client, op, &got, AIOCOSMOS_FATE_NOT_SENT);
    CHECK(!is_stored(client, "a"));
    fault("action=hang,kind=create_item");
    op = send_off(client, write_a(), &got);
    CHECK_INT(aiocosmos_step(client, 0), 0);
    CHECK_INT(aiocosmos_step(client, 0), 0);
    check_cancelled(client, op, &got, AIOCOSMOS_FATE_MAYBE_APPLIED);
    CHECK(strstr(got.message, "waiting for the answer"));
    close_world(client);
}

TEST(what_is_connecting_can_be_cancelled)
{
    aiocosmos_client *client;
    int asked = 0, listener;
    aiocosmos_op op;
    answer got;
    client = open_lost_in_dns(&asked);
    op = send_off(client, write_a(), &got);
    CHECK_INT(aiocosmos_step(client, 0), 0);
    CHECK_INT(asked, 1);
    check_cancelled(client, op, &got, AIOCOSMOS_FATE_NOT_SENT);
    close_world(client);
    client = open_lost_in_tcp();
    op = send_off(client, write_a(), &got);
    CHECK_INT(aiocosmos_step(client, 0), 0);
    check_cancelled(client, op, &got, AIOCOSMOS_FATE_NOT_SENT);
    close_world(client);
    client = open_lost_in_tls(&listener);
    op = send_off(client, write_a(), &got);
    CHECK_INT(aiocosmos_step(client, 10), 0);
    check_cancelled(client, op, &got, AIOCOSMOS_FATE_NOT_SENT);
    close(listener);
    close_world(client);
}

TEST(what_backs_off_can_be_cancelled)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_stats stats;
    aiocosmos_op op;
    answer got;
    fault("status=429,retry_after_ms=5000,kind=create_item");
    op = send_off(client, write_a(), &got);
    do {
        CHECK_INT(aiocosmos_step(client, 100), 0);
        aiocosmos_get_stats(client, &stats);
    } while (stats.throttled == 0);
    check_cancelled(client, op, &got, AIOCOSMOS_FATE_NOT_SENT);
    CHECK_INT(got.http_status, 429);
    close_world(client);
}

TEST(what_waits_its_turn_can_be_cancelled)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = upsert_item(aiocosmos_s("p"), item_a);
    answer answers[4];
    aiocosmos_op ops[4];
    int i;
    request.order_key = 7;
    for (i = 0; i < 4; i++) ops[i] = send_off(client, request, &answers[i]);
    CHECK(aiocosmos_cancel(client, ops[1]));
    CHECK(aiocosmos_cancel(client, ops[3]));
    drain(client);
    for (i = 0; i < 4; i++) {
        CHECK_INT(answers[i].calls, 1);
        CHECK_INT(answers[i].status, i % 2 ? AIOCOSMOS_E_CANCELLED : 0);
    }
    CHECK(strstr(answers[1].message, "order") || strstr(answers[1].message, "ready"));
    close_world(client);
}

TEST(a_cancelled_operation_leaves_its_connection_to_others)
{
    aiocosmos_client *client = open_world_of(one_connection);
    aiocosmos_stats before, after;
    answer cancelled, got;
    aiocosmos_op op;
    must(client, write_a());
    aiocosmos_get_stats(client, &before);
    fault("delay_ms=20,kind=read_item,count=1");
    op = send_off(client, read_a(), &cancelled);
    CHECK_INT(aiocosmos_step(client, 0), 0);
    CHECK_INT(aiocosmos_step(client, 0), 0);
    CHECK(aiocosmos_cancel(client, op));
    CHECK_INT(ask(client, read_a(), &got), 0);
    aiocosmos_get_stats(client, &after);
    CHECK_INT(after.connections_opened, before.connections_opened);
    CHECK_INT(cancelled.status, AIOCOSMOS_E_CANCELLED);
    close_world(client);
}

TEST(what_is_cancelled_at_its_deadline_ends_as_cancelled)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    aiocosmos_op op;
    answer got;
    open_emulator("");
    options = usual_options();
    options.platform = bent_platform();
    options.request_timeout_ms = 1000;
    client = open_client(&options);
    op = send_off(client, of_kind(AIOCOSMOS_READ_DATABASE), &got);
    bend.monotonic_us += 2000000;
    CHECK(aiocosmos_cancel(client, op));
    drain(client);
    CHECK_INT(got.status, AIOCOSMOS_E_CANCELLED);
    close_world(client);
}

TEST(a_stale_handle_cancels_nothing)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_op none = {0}, wild = {UINT64_MAX}, old;
    answer got;
    old = send_off(client, write_a(), &got);
    drain(client);
    CHECK(!aiocosmos_cancel(client, none));
    CHECK(!aiocosmos_cancel(client, wild));
    CHECK(!aiocosmos_cancel(client, old));
    send_off(client, read_a(), &got);                      /* takes the place of the old one */
    CHECK(!aiocosmos_cancel(client, old));
    drain(client);
    CHECK_INT(got.status, 0);
    close_world(client);
}

/*--- Order keys -------------------------------------------------------------------------*/

typedef struct order_log { int at[64]; int count; } order_log;
typedef struct ordered { order_log *log; int number; } ordered;

static void note_order(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    ordered *self = user_data;
    (void)client;
    CHECK_INT(result->status, 0);
    self->log->at[self->log->count++] = self->number;
}

TEST_TWICE(an_order_key_keeps_submit_order_under_429)
{
    enum { COUNT = 30 };
    aiocosmos_client *client = open_world("");
    order_log logs[2];
    ordered each[COUNT];
    answer got;
    int i, k;
    memset(logs, 0, sizeof logs);
    fault("status=429,retry_after_ms=1,kind=upsert_item,probability=0.3");
    for (i = 0; i < COUNT; i++) {
        char body[64];
        aiocosmos_request request;
        snprintf(body, sizeof body, "{\"id\":\"%d\",\"pk\":\"p\",\"v\":%d}", i % 2, i);
        request = upsert_item(aiocosmos_s("p"), body);
        each[i].log = &logs[i % 2];
        each[i].number = i;
        request.order_key = 1u + (unsigned)(i % 2) * 256u;
        request.done = note_order;
        request.user_data = &each[i];
        CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    }
    drain(client);
    for (k = 0; k < 2; k++) {
        CHECK_INT(logs[k].count, COUNT / 2);
        for (i = 0; i < logs[k].count; i++) CHECK_INT(logs[k].at[i], i * 2 + k);
    }
    no_faults();
    CHECK_INT(ask(client, read_item("1", aiocosmos_s("p")), &got), 0);
    CHECK_INT(number_in(client, got.body, "/v"), COUNT - 1);
    close_world(client);
}

/*--- Callbacks ----------------------------------------------------------------------------*/

typedef struct plot {
    aiocosmos_client *client;
    int calls, more, step_answer, run_answer, drain_answer, submit_answer;
    int shut_down, destroyed_at;
} plot;

static void submit_more(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    plot *p = user_data;
    aiocosmos_request request = read_a();
    CHECK_INT(result->status, 0);
    p->calls++;
    if (p->more-- <= 0) return;
    request.done = submit_more;
    request.user_data = p;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
}

TEST_TWICE(a_callback_may_submit)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = read_a();
    plot p;
    memset(&p, 0, sizeof p);
    p.more = 50;
    must(client, write_a());
    request.done = submit_more;
    request.user_data = &p;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    drain(client);
    CHECK_INT(p.calls, 51);
    close_world(client);
}

static void step_inside(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    plot *p = user_data;
    aiocosmos_request request = read_a();
    (void)result;
    p->calls++;
    p->step_answer = aiocosmos_step(client, 0);
    p->run_answer = aiocosmos_run(client, &request, NULL);
    p->drain_answer = aiocosmos_drain(client, 0);
}

TEST(stepping_inside_a_callback_is_refused)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = read_a();
    plot p;
    memset(&p, 0, sizeof p);
    request.done = step_inside;
    request.user_data = &p;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    drain(client);
    CHECK_INT(p.calls, 1);
    CHECK_INT(p.step_answer, AIOCOSMOS_E_REENTERED);
    CHECK_INT(p.run_answer, AIOCOSMOS_E_REENTERED);
    CHECK_INT(p.drain_answer, AIOCOSMOS_E_REENTERED);
    close_world(client);
}

static void destroy_inside(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    plot *p = user_data;
    aiocosmos_request request = read_a();
    aiocosmos_query_request query;
    aiocosmos_cursor handle;
    p->calls++;
    if (result->status == AIOCOSMOS_E_SHUTDOWN) p->shut_down++;
    if (p->calls != p->destroyed_at) return;
    aiocosmos_destroy(client);
    aiocosmos_destroy(client);
    p->submit_answer = aiocosmos_submit(client, &request, NULL);
    CHECK_STR(aiocosmos_last_error(client), "shut down");
    memset(&query, 0, sizeof query);
    query.container = "c";
    CHECK_INT(aiocosmos_query_open(client, &query, &handle), AIOCOSMOS_E_SHUTDOWN);
}

TEST_TWICE(a_callback_may_destroy_the_client)
{
    int when, i;
    for (when = 1; when <= 10; when += 3) {
        aiocosmos_client *client = open_world("");
        aiocosmos_request request = read_a();
        plot p;
        int status;
        memset(&p, 0, sizeof p);
        p.destroyed_at = when;
        request.done = destroy_inside;
        request.user_data = &p;
        for (i = 0; i < 10; i++) CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
        do status = aiocosmos_step(client, PATIENCE_MS); while (status >= 0);
        CHECK_INT(status, AIOCOSMOS_E_DESTROYED);
        CHECK_INT(p.calls, 10);
        CHECK_INT(p.submit_answer, AIOCOSMOS_E_SHUTDOWN);
        CHECK_INT(p.shut_down, 10 - when);
        CHECK_INT(heap.blocks, 0);
        stop_emulator();
    }
}

TEST(run_and_drain_say_that_a_callback_destroyed_the_client)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = read_a();
    plot p;
    memset(&p, 0, sizeof p);
    p.destroyed_at = 1;
    request.done = destroy_inside;
    request.user_data = &p;
    CHECK_INT(aiocosmos_run(client, &request, NULL), AIOCOSMOS_E_DESTROYED);
    CHECK_INT(heap.blocks, 0);
    client = open_world("");
    p.calls = 0;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    CHECK_INT(aiocosmos_drain(client, PATIENCE_MS), AIOCOSMOS_E_DESTROYED);
    CHECK_INT(heap.blocks, 0);
    stop_emulator();
}

static void submit_at_the_end(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    plot *p = user_data;
    aiocosmos_request request = read_a();
    CHECK_INT(result->status, AIOCOSMOS_E_SHUTDOWN);
    p->calls++;
    p->submit_answer = aiocosmos_submit(client, &request, NULL);
    p->step_answer = aiocosmos_step(client, 0);
    aiocosmos_destroy(client);
}

TEST(destroying_completes_what_is_pending_as_shut_down)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = read_a();
    plot p;
    int i;
    memset(&p, 0, sizeof p);
    fault("action=hang,kind=read_item");
    request.done = submit_at_the_end;
    request.user_data = &p;
    for (i = 0; i < 10; i++) {
        request.order_key = (uint64_t)(i / 3);
        CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    }
    CHECK_INT(aiocosmos_step(client, 0), 0);
    close_world(client);
    CHECK_INT(p.calls, 10);
    CHECK_INT(p.submit_answer, AIOCOSMOS_E_SHUTDOWN);
    CHECK_INT(p.step_answer, AIOCOSMOS_E_REENTERED);
}

TEST(nothing_is_called_back_outside_step)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_op op;
    answer got;
    op = send_off(client, read_a(), &got);
    aiocosmos_cancel(client, op);
    aiocosmos_next_timeout_ms(client);
    aiocosmos_wake(client);
    CHECK_INT(got.calls, 0);
    CHECK_INT(aiocosmos_step(client, 0), 1);
    CHECK_INT(got.calls, 1);
    close_world(client);
}

/*--- on_failure ---------------------------------------------------------------------------*/

typedef struct failures { int calls, status; bool before_own; answer *own; } failures;

static void note_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    failures *seen = user_data;
    (void)client;
    seen->calls++;
    seen->status = result->status;
    seen->before_own = seen->own->calls == 0;
}

/* What on_result sees, in words; what it is followed by: F on_failure, C the callback. */
static char seen_text[8192];

static void see(const char *what)
{
    snprintf(seen_text + strlen(seen_text), sizeof seen_text - strlen(seen_text), "%s", what);
}

static void see_result(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_op_info *info,
                       void *user_data)
{
    char text[256];
    (void)client;
    CHECK(user_data == seen_text);
    snprintf(text, sizeof text, "\n%d %.*s|%.*s|%.*s %d ", (int)info->kind, (int)info->database.len, info->database.ptr,
             (int)info->container.len, info->container.ptr, (int)info->id.len, info->id.ptr, result->status);
    see(text);
}

static void see_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)result, (void)user_data;
    see("F");
}

static void see_done(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)result, (void)user_data;
    see("C");
}

static void see_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    (void)client, (void)page, (void)user_data;
    see("C");
}

static void see_pair(aiocosmos_client *client, size_t index, int status, aiocosmos_json item, void *user_data)
{
    (void)client, (void)index, (void)status, (void)item, (void)user_data;
    see("i");
}

static void see_many(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_many_totals *totals,
                     void *user_data)
{
    (void)client, (void)result, (void)totals, (void)user_data;
    see("C");
}

static aiocosmos_pull pull_two(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    int *pulled = user_data;
    (void)client;
    if (*pulled == 2) return AIOCOSMOS_PULL_END;
    item->kind = AIOCOSMOS_READ_ITEM;
    item->id = (*pulled)++ ? "b" : "no/id";
    item->pk = aiocosmos_pk1(aiocosmos_s("p"));
    return AIOCOSMOS_PULL_ITEM;
}

static void see_bulk_item(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    (void)client, (void)result, (void)item_data, (void)user_data;
    see("C");
}

static void see_bulk(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                     void *user_data)
{
    (void)client, (void)result, (void)totals, (void)user_data;
    see("C");
}

static void see_op(aiocosmos_client *client, aiocosmos_request request, const char *want)
{
    seen_text[0] = 0;
    request.done = see_done;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    drain(client);
    CHECK_STR(seen_text, want);
}

static void see_cursor(aiocosmos_client *client, aiocosmos_cursor cursor, const char *want)
{
    seen_text[0] = 0;
    CHECK_INT(aiocosmos_cursor_next(client, cursor, see_page, NULL), 0);
    drain(client);
    CHECK_STR(seen_text, want);
}

TEST(on_result_sees_each_result_once_and_first_and_knows_what_it_is_of)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    aiocosmos_query_request query;
    aiocosmos_changes_request changes;
    aiocosmos_read_many_request many;
    aiocosmos_bulk_request bulk;
    aiocosmos_item_key keys[2];
    aiocosmos_cursor cursor;
    aiocosmos_op op;
    aiocosmos_request request;
    int pulled = 0, of_query = AIOCOSMOS_QUERY_PAGE;
    char want[512];
    open_emulator("--partitions 3");
    options = usual_options();
    options.on_result = see_result;
    options.on_result_user_data = seen_text;
    options.on_failure = see_failure;
    client = open_client(&options);
    see_op(client, of_kind(AIOCOSMOS_READ_ACCOUNT), "\n14 || 0 C");
    see_op(client, of_kind(AIOCOSMOS_CREATE_DATABASE), "\n12 || 0 C");            /* named by the body */
    see_op(client, create_container("c", "/pk"), "\n8 db|| 0 C");
    see_op(client, of_kind(AIOCOSMOS_READ_CONTAINER), "\n7 db|c| 0 C");
    request = of_kind(AIOCOSMOS_READ_THROUGHPUT);                                  /* not of the offers that it asks */
    see_op(client, request, "\n21 db|| 404 FC");
    request.container = "c";
    see_op(client, request, "\n21 db|c| 0 C");
    request = create_container("t", "/pk");
    request.throughput_ru = 500;
    see_op(client, request, "\n8 db|| 0 C");
    request = of_kind(AIOCOSMOS_REPLACE_THROUGHPUT);
    request.container = "t";
    request.throughput_ru = 700;
    see_op(client, request, "\n22 db|t| 0 C");
    see_op(client, write_a(), "\n2 db|c| 0 C");
    see_op(client, read_a(), "\n1 db|c|a 0 C");
    see_op(client, read_item("b", aiocosmos_s("p")), "\n1 db|c|b 404 FC");
    fault("status=449,kind=read_item,count=2");
    see_op(client, read_a(), "\n1 db|c|a 0 C");                                   /* not by attempt */
    request = of_kind(AIOCOSMOS_RAW);
    request.raw_verb = "GET";
    request.raw_link = "dbs/db/colls/c/docs/a";
    request.pk = aiocosmos_pk1(aiocosmos_s("p"));
    snprintf(want, sizeof want, "\n%d db|c|a 0 C", AIOCOSMOS_RAW);
    see_op(client, request, want);
    request.raw_link = "dbs/db/users";
    memset(&request.pk, 0, sizeof request.pk);
    snprintf(want, sizeof want, "\n%d db|| 0 C", AIOCOSMOS_RAW);
    see_op(client, request, want);
    request.raw_link = "dbs/db/users/nobody";              /* is no container */
    snprintf(want, sizeof want, "\n%d db||nobody 404 FC", AIOCOSMOS_RAW);
    see_op(client, request, want);
    request = of_kind(AIOCOSMOS_READ_RESOURCE);
    request.feed = AIOCOSMOS_FEED_PERMISSIONS;
    request.user = "nobody";
    request.id = "p";
    snprintf(want, sizeof want, "\n%d db||p 404 FC", AIOCOSMOS_READ_RESOURCE);
    see_op(client, request, want);
    request.feed = AIOCOSMOS_FEED_TRIGGERS;
    request.user = NULL;
    request.container = "c";
    snprintf(want, sizeof want, "\n%d db|c|p 404 FC", AIOCOSMOS_READ_RESOURCE);
    see_op(client, request, want);
    request = read_a();
    request.done = NULL;
    seen_text[0] = 0;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK_STR(seen_text, "\n1 db|c|a 0 ");
    memset(&query, 0, sizeof query);
    query.container = "c";
    snprintf(want, sizeof want, "\n%d db|c| 0 C", of_query);
    see_cursor(client, open_query(client, &query), want);
    query.sql = "SELECT * FROM c ORDER BY c.id";           /* its plan and its ranges are not seen */
    see_cursor(client, open_query(client, &query), want);
    query.pk = aiocosmos_pk1(aiocosmos_s("p"));
    see_cursor(client, open_query(client, &query), want);
    memset(&query, 0, sizeof query);
    query.feed = AIOCOSMOS_FEED_CONTAINERS;
    snprintf(want, sizeof want, "\n%d db|| 0 C", of_query);
    see_cursor(client, open_query(client, &query), want);
    fault("status=400,kind=query");
    query.feed = AIOCOSMOS_FEED_ITEMS;
    query.container = "c";
    query.sql = "SELECT * FROM c";
    query.pk = aiocosmos_pk1(aiocosmos_s("p"));
    snprintf(want, sizeof want, "\n%d db|c| 400 FC", of_query);
    see_cursor(client, open_query(client, &query), want);
    no_faults();
    memset(&changes, 0, sizeof changes);
    changes.container = "c";
    CHECK_INT(aiocosmos_changes_open(client, &changes, &cursor), 0);
    snprintf(want, sizeof want, "\n%d db|c| 0 C", AIOCOSMOS_CHANGES_PAGE);
    see_cursor(client, cursor, want);
    snprintf(want, sizeof want, "\n%d db|c| 304 C", AIOCOSMOS_CHANGES_PAGE);
    see_cursor(client, cursor, want);
    memset(&many, 0, sizeof many);
    keys[0].id = "a";
    keys[1].id = "b";
    keys[0].pk = keys[1].pk = aiocosmos_pk1(aiocosmos_s("p"));
    many.container = "c";
    many.items = keys;
    many.item_count = 2;
    many.item = see_pair;
    many.done = see_many;
    seen_text[0] = 0;
    CHECK_INT(aiocosmos_read_many(client, &many, &op), 0);
    drain(client);
    snprintf(want, sizeof want, "ii\n%d db|c| 0 C", AIOCOSMOS_READ_MANY);
    CHECK_STR(seen_text, want);
    memset(&bulk, 0, sizeof bulk);
    bulk.container = "c";
    bulk.next = pull_two;
    bulk.item_done = see_bulk_item;
    bulk.done = see_bulk;
    bulk.user_data = &pulled;
    seen_text[0] = 0;
    CHECK_INT(aiocosmos_bulk(client, &bulk, &op), 0);
    drain(client);
    snprintf(want, sizeof want, "\n1 db|c|no/id -1 FC\n1 db|c|b 404 FC\n%d db|c| 0 C", AIOCOSMOS_BULK);
    CHECK_STR(seen_text, want);
    request.kind = AIOCOSMOS_BULK;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), AIOCOSMOS_E_ARGUMENT);     /* a kind of results only */
    seen_text[0] = 0;
    close_world(client);
    CHECK_STR(seen_text, "");
}

TEST(on_failure_sees_each_failure_once_and_first)
{
    static failures seen;
    aiocosmos_options options;
    aiocosmos_client *client;
    aiocosmos_request request;
    aiocosmos_op op;
    answer got, created;
    memset(&seen, 0, sizeof seen);
    seen.own = &got;
    open_emulator("");
    options = usual_options();
    options.on_failure = note_failure;
    options.on_failure_user_data = &seen;
    client = open_client(&options);
    fill_world(client);
    CHECK_INT(ask(client, write_a(), &created), 0);
    fault("status=449,kind=read_item,count=2");
    CHECK_INT(ask(client, read_a(), &got), 0);             /* a retry is no failure */
    request = read_a();
    request.if_none_match = aiocosmos_text(created.etag);
    CHECK_INT(ask(client, request, &got), 304);            /* nor is that */
    CHECK_INT(seen.calls, 0);
    CHECK_INT(ask(client, read_item("b", aiocosmos_s("p")), &got), 404);
    CHECK_INT(seen.calls, 1);
    CHECK_INT(seen.status, 404);
    CHECK(seen.before_own);
    op = send_off(client, read_a(), &got);
    aiocosmos_cancel(client, op);
    drain(client);
    CHECK_INT(seen.calls, 2);
    CHECK_INT(seen.status, AIOCOSMOS_E_CANCELLED);
    close_world(client);
    CHECK_INT(seen.calls, 2);
}
