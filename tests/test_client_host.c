/* The whole client and its host: event loops, limits, hooks, credentials, TLS, memory that runs out, fork. */
#include "client.h"
#include "shaky.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

static const char item_a[] = "{\"id\":\"a\",\"pk\":\"p\",\"v\":1}";

static aiocosmos_request write_a(void) { return upsert_item(aiocosmos_s("p"), item_a); }
static aiocosmos_request read_a(void) { return read_item("a", aiocosmos_s("p")); }

/*--- Event loops ------------------------------------------------------------------------*/

enum { LOOP_OPS = 40, LOOP_STEPS_MAX = 2000 };

/* A loop has enough to do: many operations, on few connections, some of them throttled. */
static void start_loop_work(aiocosmos_client *client, answer *answers)
{
    int i;
    must(client, write_a());
    fault("status=429,retry_after_ms=3,kind=item,probability=0.2");
    for (i = 0; i < LOOP_OPS; i++) send_off(client, i % 2 ? read_a() : write_a(), &answers[i]);
}

static void check_loop_work(const answer *answers)
{
    int i;
    for (i = 0; i < LOOP_OPS; i++) CHECK(answers[i].calls == 1 && answers[i].status == 0);
}

#ifdef AIOCOSMOS_NO_EPOLL
TEST(poll_has_no_descriptor_of_its_own)
{
    aiocosmos_client *client = open_world("");
    CHECK_INT(aiocosmos_fd(client), -1);
    close_world(client);
}
#else
TEST_TWICE(a_descriptor_and_a_timeout_are_all_that_a_host_needs)
{
    static answer answers[LOOP_OPS];
    aiocosmos_client *client = open_world("");
    struct pollfd ready = {(int)aiocosmos_fd(client), POLLIN, 0};
    int steps = 0;
    CHECK(ready.fd >= 0);
    start_loop_work(client, answers);
    while (aiocosmos_pending(client) && steps++ < LOOP_STEPS_MAX) {
        CHECK(poll(&ready, 1, aiocosmos_next_timeout_ms(client)) >= 0);
        CHECK(aiocosmos_step(client, 0) >= 0);
    }
    CHECK_INT(aiocosmos_pending(client), 0);
    CHECK(steps < LOOP_STEPS_MAX);
    check_loop_work(answers);
    close_world(client);
}
#endif

TEST_TWICE(a_host_may_poll_the_descriptors_itself)
{
    static answer answers[LOOP_OPS];
    aiocosmos_client *client = open_world("");
    int steps = 0;
    start_loop_work(client, answers);
    while (aiocosmos_pending(client) && steps++ < LOOP_STEPS_MAX) {
        aiocosmos_pollfd watched[128];
        struct pollfd polled[128];
        size_t count = aiocosmos_poll_fds(client, watched, 128), i;
        CHECK(count <= 128);
        CHECK_INT(aiocosmos_poll_fds(client, NULL, 0), count);
        for (i = 0; i < count; i++) {
            polled[i].fd = (int)watched[i].fd;
            polled[i].events = (short)((watched[i].read ? POLLIN : 0) | (watched[i].write ? POLLOUT : 0));
        }
        CHECK(poll(polled, count, aiocosmos_next_timeout_ms(client)) >= 0);
        CHECK(aiocosmos_step(client, 0) >= 0);
    }
    CHECK(steps < LOOP_STEPS_MAX);
    check_loop_work(answers);
    close_world(client);
}

TEST(the_next_timeout_says_when_to_step)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_options options = usual_options();
    aiocosmos_client *fresh = open_client(&options);
    answer got;
    int timeout_ms;
    CHECK_INT(aiocosmos_next_timeout_ms(fresh), -1);
    aiocosmos_destroy(fresh);
    fault("action=hang,kind=item");
    send_off(client, read_a(), &got);
    CHECK_INT(aiocosmos_next_timeout_ms(client), 0);
    while (aiocosmos_next_timeout_ms(client) == 0) CHECK_INT(aiocosmos_step(client, 0), 0);
    timeout_ms = aiocosmos_next_timeout_ms(client);
    CHECK(timeout_ms > 1000 && timeout_ms <= 30000);
    close_world(client);
}

TEST(a_step_says_how_many_callbacks_ran)
{
    aiocosmos_client *client = open_world("");
    answer answers[5];
    int i, ran = 0;
    for (i = 0; i < 5; i++) send_off(client, read_a(), &answers[i]);
    while (aiocosmos_pending(client)) {
        int calls = aiocosmos_step(client, PATIENCE_MS);
        CHECK(calls >= 0);
        ran += calls;
    }
    CHECK_INT(ran, 5);
    CHECK_INT(aiocosmos_drain(client, -1), 0);
    close_world(client);
}

static void count_result(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_op_info *info,
                         void *user_data)
{
    (void)client, (void)result, (void)info;
    ++*(int *)user_data;
}

static void count_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)result;
    ++*(int *)user_data;
}

/* A step that has told somebody does not go on waiting, whoever that was. */
TEST(what_all_results_are_told_to_is_a_callback_too)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    aiocosmos_request request = read_item("missing", aiocosmos_s("p"));
    int told = 0, ran = 0;
    close_client(open_world(""));
    options = usual_options();
    options.on_result = count_result;
    options.on_failure = count_failure;
    options.on_result_user_data = options.on_failure_user_data = &told;
    client = open_client(&options);
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    while (aiocosmos_pending(client)) {
        int calls = aiocosmos_step(client, PATIENCE_MS);
        CHECK(calls >= 0);
        ran += calls;
    }
    CHECK_INT(told, 2);
    CHECK_INT(ran, 2);
    close_world(client);
}

static void *wake_from_thread(void *client)
{
    aiocosmos_wake(client);
    return NULL;
}

/* A program whose loop is step() does not spin, nor is it deaf. */
TEST(a_step_waits_for_its_time_or_a_wake_with_nothing_pending)
{
    const aiocosmos_platform *system = aiocosmos_system_platform();
    aiocosmos_options options;
    aiocosmos_client *client;
    uint64_t began_us, waited_us = 0;
    pthread_t thread;
    int steps = 0;
    open_emulator("");
    options = usual_options();
    client = open_client(&options);                        /* it has no connection, and no timer */
    CHECK_INT(aiocosmos_step(client, -1), 0);              /* for nothing, it does not wait for ever */
    began_us = system->monotonic_us(system->user_data);
    for (; waited_us < 30000; steps++) {
        CHECK_INT(aiocosmos_step(client, 30), 0);
        waited_us = system->monotonic_us(system->user_data) - began_us;
    }
    CHECK(steps <= 2);
    CHECK_INT(pthread_create(&thread, NULL, wake_from_thread, client), 0);
    CHECK_INT(aiocosmos_step(client, 1000 * PATIENCE_MS), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    fill_world(client);                                    /* with an idle connection, too */
    CHECK_INT(aiocosmos_step(client, -1), 0);
    CHECK_INT(pthread_create(&thread, NULL, wake_from_thread, client), 0);
    CHECK_INT(aiocosmos_step(client, 1000 * PATIENCE_MS), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    close_world(client);
}

/* Who waits for what calls nobody back is not kept waiting behind its end. */
TEST(a_step_ends_with_the_last_that_is_pending)
{
    const aiocosmos_platform *system = aiocosmos_system_platform();
    aiocosmos_client *client = open_world("");
    uint64_t began_us = system->monotonic_us(system->user_data);
    aiocosmos_request request = upsert_item(aiocosmos_s("p"), "{\"id\":\"a\",\"pk\":\"p\"}");
    answer never;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    CHECK_INT(aiocosmos_drain(client, 2 * PATIENCE_MS), 0);
    aiocosmos_cancel(client, send_off(client, request, &never));
    CHECK_INT(aiocosmos_forget_all(client, &never), 1);
    while (aiocosmos_pending(client)) CHECK_INT(aiocosmos_step(client, 2 * PATIENCE_MS), 0);
    CHECK(system->monotonic_us(system->user_data) - began_us < PATIENCE_MS * 1000u);
    close_world(client);
}

static aiocosmos_client *to_wake;
static void wake_from_signal(int number)
{
    (void)number;
    aiocosmos_wake(to_wake);
}

TEST(a_wait_is_ended_from_a_thread_or_a_signal_handler)
{
    aiocosmos_client *client = open_world("");
    struct sigaction on_alarm, before;
    pthread_t thread;
    answer got;
    int i;
    fault("action=hang,kind=item");
    send_off(client, read_a(), &got);
    while (aiocosmos_next_timeout_ms(client) == 0) CHECK_INT(aiocosmos_step(client, 0), 0);
    for (i = 0; i < 20; i++) {
        CHECK_INT(pthread_create(&thread, NULL, wake_from_thread, client), 0);
        CHECK_INT(aiocosmos_step(client, -1), 0);
        CHECK_INT(pthread_join(thread, NULL), 0);
    }
    memset(&on_alarm, 0, sizeof on_alarm);
    on_alarm.sa_handler = wake_from_signal;
    to_wake = client;
    CHECK_INT(sigaction(SIGUSR1, &on_alarm, &before), 0);
    raise(SIGUSR1);
    CHECK_INT(aiocosmos_step(client, -1), 0);
    CHECK_INT(sigaction(SIGUSR1, &before, NULL), 0);
    CHECK_INT(got.calls, 0);
    close_world(client);
}

TEST_TWICE(a_budget_bounds_the_work_of_a_step)
{
    enum { COUNT = 200 };
    static answer answers[COUNT];
    aiocosmos_client *client = open_world("");
    int i, most = 0, steps = 0;
    must(client, write_a());
    aiocosmos_set_step_budget_us(client, 1);
    for (i = 0; i < COUNT; i++) send_off(client, read_a(), &answers[i]);
    while (aiocosmos_pending(client)) {
        int calls = aiocosmos_step(client, 100);
        CHECK(calls >= 0);
        if (calls > most) most = calls;
        steps++;
    }
    for (i = 0; i < COUNT; i++) CHECK_INT(answers[i].status, 0);
    CHECK(most <= 4);
    CHECK(steps >= COUNT / 4);
    aiocosmos_set_step_budget_us(client, 0);
    CHECK_INT(ask(client, read_a(), &answers[0]), 0);
    close_world(client);
}

/* A clock that is never read twice in one microsecond. */
static uint64_t next_us(void *user_data)
{
    static uint64_t reads;
    return aiocosmos_system_platform()->monotonic_us(user_data) + ++reads;
}

TEST(drain_gives_up_when_told_to)
{
    aiocosmos_platform platform = *aiocosmos_system_platform();
    aiocosmos_options options;
    aiocosmos_client *client;
    aiocosmos_stats before, after;
    answer got;
    close_client(open_world(""));
    options = usual_options();
    platform.monotonic_us = next_us;
    options.platform = &platform;
    client = open_client(&options);
    CHECK_INT(aiocosmos_drain(client, 0), 0);
    must(client, write_a());
    fault("action=hang,kind=item");
    send_off(client, read_a(), &got);
    aiocosmos_get_stats(client, &before);
    CHECK_INT(aiocosmos_drain(client, 0), AIOCOSMOS_E_TIMEOUT);
    aiocosmos_get_stats(client, &after);
    CHECK_INT(after.attempts, before.attempts + 1);        /* it steps once, however late it is */
    CHECK_INT(aiocosmos_drain(client, 10), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(got.calls, 0);
    close_world(client);
}

TEST_TWICE(connections_are_opened_ahead_and_closed_when_idle)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    aiocosmos_stats stats;
    answer got;
    int steps = 0;
    open_emulator("");
    options = usual_options();
    options.platform = bent_platform();
    client = open_client(&options);
    CHECK_INT(aiocosmos_warm(client, 3), 0);
    do {
        CHECK_INT(aiocosmos_step(client, 10), 0);
        aiocosmos_get_stats(client, &stats);
        usleep(100);
    } while (stats.connections_idle < 3 && steps++ < 5000);
    CHECK_INT(stats.connections_idle, 3);
    fill_world(client);
    aiocosmos_get_stats(client, &stats);
    CHECK_INT(stats.connections_opened, 3);
    bend.monotonic_us += 61000000u;
    CHECK_INT(aiocosmos_step(client, 0), 0);
    aiocosmos_get_stats(client, &stats);
    CHECK_INT(stats.connections_open, 0);
    CHECK_INT(ask(client, read_a(), &got), 404);
    CHECK_INT(got.attempts, 1);
    close_world(client);
}

/*--- A system that fails ------------------------------------------------------------------*/

/* The system's platform, but that names are asked of a server of ours, which says over UDP that its answer is cut, and
 * over TCP that every name is this machine; and that the clock is ahead. */
static struct named {
    aiocosmos_platform platform;
    int udp, tcp, stream;                    /* stream -1: nobody has called */
    uint16_t port;
    uint64_t ahead_us;
} named;

static uint64_t named_monotonic(void *user_data)
{
    return aiocosmos_system_platform()->monotonic_us(user_data) + named.ahead_us;
}

static int named_open(void *user_data, intptr_t *out, bool datagram, const aiocosmos_address *peer)
{
    aiocosmos_address moved = *peer;
    if (peer->port == 53) moved.port = named.port;
    return aiocosmos_system_platform()->socket_open(user_data, out, datagram, &moved);
}

static ptrdiff_t named_servers(void *user_data, void *out, size_t cap)
{
    static const char text[] = "nameserver 127.0.0.1\n";
    (void)user_data;
    CHECK(cap >= sizeof text);
    memcpy(out, text, sizeof text - 1);
    return (ptrdiff_t)sizeof text - 1;
}

/* One port for both, which nobody else has. False: there was none. */
static bool named_begin(void)
{
    struct sockaddr_in in;
    socklen_t len = sizeof in;
    int tries;
    memset(&named, 0, sizeof named);
    named.stream = -1;
    named.platform = *aiocosmos_system_platform();
    named.platform.monotonic_us = named_monotonic;
    named.platform.socket_open = named_open;
    named.platform.name_servers = named_servers;
    for (tries = 0; tries < 10; tries++) {
        memset(&in, 0, sizeof in);
        in.sin_family = AF_INET;
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        named.udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        named.tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (bind(named.udp, (struct sockaddr *)&in, len) == 0 &&
            getsockname(named.udp, (struct sockaddr *)&in, &len) == 0 &&
            bind(named.tcp, (struct sockaddr *)&in, len) == 0 && listen(named.tcp, 4) == 0) break;
        close(named.udp);
        close(named.tcp);
    }
    named.port = ntohs(in.sin_port);
    return tries < 10;
}

static void named_end(void)
{
    if (named.stream >= 0) close(named.stream);
    close(named.udp);
    close(named.tcp);
}

/* Makes the answer of a question (RFC 1035); returns its length. */
static size_t named_answer(unsigned char *message, size_t len, bool cut)
{
    static const unsigned char record[] = { 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1 };
    bool four = message[len - 3] == 1;
    message[2] = cut ? 0x83 : 0x81;
    message[3] = 0x80;
    if (cut || !four) return len;
    message[7] = 1;
    memcpy(message + len, record, sizeof record);
    return len + sizeof record;
}

static void named_serve(void)
{
    unsigned char message[700];
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    ssize_t got;
    while ((got = recvfrom(named.udp, message, 512, 0, (struct sockaddr *)&from, &len)) > 16) {
        size_t size = named_answer(message, (size_t)got, true);
        if (sendto(named.udp, message, size, 0, (struct sockaddr *)&from, len) < 0) continue;      /* it has gone */
    }
    if (named.stream < 0) named.stream = accept(named.tcp, NULL, NULL);
    if (named.stream < 0) return;
    got = recv(named.stream, message, 514, MSG_DONTWAIT);
    if (got > 18) {
        size_t size = named_answer(message + 2, (size_t)got - 2, false);
        message[0] = 0;
        message[1] = (unsigned char)size;
        if (send(named.stream, message, size + 2, MSG_NOSIGNAL) >= 0) return;
    } else if (got < 0 && errno == EAGAIN) {
        return;
    }
    close(named.stream);
    named.stream = -1;
}

/* How a read ends, while nobody waits for long. */
static int named_read(aiocosmos_client *client)
{
    answer got;
    int steps;
    send_off(client, read_item("nobody", aiocosmos_s("eu")), &got);
    for (steps = 0; !got.calls && steps < 10000; steps++) {
        aiocosmos_step(client, 1);
        named_serve();
        named.ahead_us += 5000;
    }
    CHECK_INT(got.calls, 1);
    return got.status;
}

/* A read while a call fails ends once, however; with the system well again, one is answered. Returns how many calls of
 * that kind the first one took. */
static unsigned long read_on_shaky_ground(int call, unsigned long nth, bool for_good, int with)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client = NULL;
    char endpoint[64];
    int tries;
    unsigned long calls;
    snprintf(endpoint, sizeof endpoint, "%s://a.db.example:%d", over_tls() ? "https" : "http", emulator.port);
    options.endpoint = endpoint;
    options.allow_http = true;
    options.platform = shaky_platform(&named.platform);
    options.request_timeout_ms = for_good ? 100 : 5000;
    shaky_fail(call, nth, for_good, with);
    if (aiocosmos_create(&options, &client, NULL, 0) == 0) {
        named_read(client);
        calls = shaky.calls[call];
        shaky_recover();
        for (tries = 0; tries < 50 && named_read(client) != 404; tries++) continue;
        CHECK(tries < 50);
        aiocosmos_destroy(client);
    } else {
        calls = shaky.calls[call];
    }
    CHECK_INT(heap.blocks, 0);
    return calls;
}

TEST_TWICE(each_call_to_the_system_may_fail_from_the_name_to_the_answer)
{
    unsigned long n, last, failed[CALLS];
    int call;
    if (!named_begin()) SKIP("no port is free for both UDP and TCP");
    open_emulator(over_tls() ? "--cert build/certs/rsa/wildcard.pem" : "");
    for (call = 0; call < CALLS; call++) {
        for (n = 1, last = 1; n <= last && n < 200; n++) {
            last = read_on_shaky_ground(call, n, false, shaky_errors[1 + n % 4]);
            if (call != CALL_WAIT && n % 4 == 1) read_on_shaky_ground(call, n, true, shaky_errors[1 + n / 4 % 4]);
        }
        failed[call] = n - 1;
    }
    /* Three sockets for the name (A and AAAA over UDP, then one over TCP or two) and one for the service. */
    CHECK(failed[CALL_OPEN] >= 4 && failed[CALL_ERROR] >= 2 && failed[CALL_SEND] >= (over_tls() ? 6u : 4u));
    CHECK(failed[CALL_RECEIVE] >= 4 && failed[CALL_WATCH] >= 4 && failed[CALL_WAIT] >= 4 && failed[CALL_ENTROPY] >= 1);
    named_end();
    stop_emulator();
}

/*--- Options ------------------------------------------------------------------------------*/

/* Why no client is made of these options. */
static const char *why_not(const aiocosmos_options *options)
{
    static char why[256];
    aiocosmos_client *client;
    CHECK_INT(aiocosmos_create(options, &client, why, sizeof why), AIOCOSMOS_E_ARGUMENT);
    CHECK(!client);
    CHECK_INT(heap.blocks, 0);
    return why;
}

TEST(an_endpoint_that_is_none_is_refused)
{
    static const struct { const char *endpoint, *why; } cases[] = {
        {NULL, "endpoint: required, or connection_string"},
        {"", "endpoint: it starts with https:// or http://"},
        {"example.com", "endpoint: it starts with https:// or http://"},
        {"ftp://example.com", "endpoint: it starts with https:// or http://"},
        {"https://", "endpoint: no host"},
        {"https:///", "endpoint: no host"},
        {"https://host:0/", "endpoint: the port is a number up to 65535"},
        {"https://host:65536/", "endpoint: the port is a number up to 65535"},
        {"https://host:/", "endpoint: the port is a number up to 65535"},
        {"https://host:8o81/", "endpoint: the port is a number up to 65535"},
        {"https://host/path", "endpoint: nothing may follow the host and port"},
        {"https://host?x", "endpoint: has a character that no host name has"},
        {"https://[::1", "endpoint: ']' is missing"},
        {"https://[::1]x/", "endpoint: a port is expected behind the host"},
        {"https://user@host/", "endpoint: has a character that no host name has"},
        {"https://ho st/", "endpoint: has a character that no host name has"},
        {"https://h\xc3\xb6st/",
         "endpoint: has letters beyond ASCII: write it as it is registered, with xn--"},
        {"https://10.0.0.256/", "endpoint: is neither an IPv4 address nor a host name"},
        {"https://a..b/", "endpoint: is no host name: a part between dots is empty or over 63 characters, or all of it "
                          "over 253"},
        {"http://example.com/", "endpoint: http is for loopback addresses only, unless allow_http is set"},
        {"http://127.evil.example/", "endpoint: http is for loopback addresses only, unless allow_http is set"},
        {"http://localhost.evil.example/", "endpoint: http is for loopback addresses only, unless allow_http is set"},
    };
    aiocosmos_options options = {0};
    char text[600];
    size_t i;
    memset(&heap, 0, sizeof heap);
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.allocator.fn = heap_fn;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        options.endpoint = cases[i].endpoint;
        CHECK_STR(why_not(&options), cases[i].why);
    }
    options.endpoint = text;
    snprintf(text, sizeof text, "https://%0254d/", 0);
    CHECK_STR(why_not(&options), "endpoint: is no host name: a part between dots is empty or over 63 characters, or "
              "all of it over 253");
    snprintf(text, sizeof text, "https://%0512d/", 0);
    CHECK_STR(why_not(&options), "endpoint: is no host name: a part between dots is empty or over 63 characters, or "
              "all of it over 253");
}

TEST(json_is_read_with_a_client_or_without_one)
{
    static char many[40000];                         /* of whose nodes nothing is kept */
    static const char text[] = "{\"f\":1.5,\"t\":true,\"n\":null}";
    aiocosmos_options options = {0};
    aiocosmos_client *client = NULL;
    aiocosmos_json_doc *doc;
    size_t at = 0, i;
    int with;
    memset(&heap, 0, sizeof heap);
    options.endpoint = "http://localhost/";
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.allocator.fn = heap_fn;
    for (with = 0; with < 2; with++) {
        double number = 0;
        bool flag = false;
        client = with ? open_client(&options) : NULL;
        CHECK_INT(aiocosmos_json_parse(client, text, strlen(text), &doc, &at), 0);
        CHECK(aiocosmos_json_get_f64(aiocosmos_json_at(aiocosmos_json_root(doc), "/f"), &number) && number == 1.5);
        CHECK(aiocosmos_json_get_bool(aiocosmos_json_at(aiocosmos_json_root(doc), "/t"), &flag) && flag);
        CHECK(!aiocosmos_json_get_bool(aiocosmos_json_at(aiocosmos_json_root(doc), "/n"), &flag));
        aiocosmos_json_free(doc);
        CHECK_INT(aiocosmos_json_parse(client, "[1,]", 4, &doc, &at), AIOCOSMOS_E_ARGUMENT);
        CHECK(!doc && at == 3);
        CHECK_INT(aiocosmos_json_parse(client, "[", 1, &doc, NULL), AIOCOSMOS_E_ARGUMENT);
        if (with) CHECK(strstr(aiocosmos_last_error(client), "at byte 1"));
        memset(many, ' ', sizeof many);
        for (i = 0; i + 2 < sizeof many; i += 2) memcpy(many + i, i ? ",1" : "[1", 2);
        many[sizeof many - 1] = ']';
        heap_fail(&heap, 1, ULONG_MAX);
        if (with) CHECK_INT(aiocosmos_json_parse(client, many, sizeof many, &doc, &at), AIOCOSMOS_E_NOMEM);
        if (with) CHECK_STR(aiocosmos_last_error(client), "out of memory");
        heap_recover(&heap);
        if (with) close_client(client);
    }
}

TEST(an_endpoint_has_many_good_forms)
{
    static const char *const endpoints[] = {"http://localhost", "http://LOCALHOST:8081/", "HTTP://127.0.0.1:1",
        "http://[::1]:8081/", "http://emulator.localhost/", "http://127.255.1.2/", "https://db.example:443/"};
    aiocosmos_options options = {0};
    size_t i;
    memset(&heap, 0, sizeof heap);
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.allocator.fn = heap_fn;
    options.trust_pem = read_text("build/certs/rsa/ca.pem");     /* not every system has its own */
    for (i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        options.endpoint = endpoints[i];
        close_client(open_client(&options));
    }
    options.allow_http = true;
    options.endpoint = "http://example.com/";
    close_client(open_client(&options));
}

TEST(options_that_contradict_themselves_are_refused)
{
    aiocosmos_options options = {0};
    char agent[256];
    memset(&heap, 0, sizeof heap);
    options.allocator.fn = heap_fn;
    options.endpoint = "http://localhost:8081/";
    CHECK_STR(why_not(NULL), "options: required");
    CHECK_STR(why_not(&options), "key: required, or token, or token_fn");
    options.key = "not base64!";
    CHECK_STR(why_not(&options), "key: not base64 at byte 3");
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.token = "type=resource&ver=1&sig=abc";
    CHECK_STR(why_not(&options), "key: and a token are both given");
    options.token = NULL;
    options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    CHECK_STR(why_not(&options), "connection_string: endpoint or key is given, too");
    options.endpoint = NULL;
    CHECK_STR(why_not(&options), "connection_string: endpoint or key is given, too");
    options.endpoint = "http://localhost:8081/";
    options.connection_string = NULL;
    options.connections_max = 65536;
    CHECK_STR(why_not(&options), "connections_max: over 65535");
    options.connections_max = 0;
    options.pending_max = (1u << 24) + 1;
    CHECK_STR(why_not(&options), "pending_max: over 2^24");
    options.pending_max = 0;
    options.step_budget_us = 60000001u;
    CHECK_STR(why_not(&options), "step_budget_us: over a minute");
    options.step_budget_us = 0;
    options.user_agent = "a\nb";
    CHECK_STR(why_not(&options), "user_agent: a character that no header may hold at byte 1");
    options.user_agent = "caf\xC3\xA9";
    CHECK_STR(why_not(&options), "user_agent: a character that no header may hold at byte 3");
    memset(agent, 'a', 201);
    agent[201] = 0;
    options.user_agent = agent;
    CHECK_STR(why_not(&options), "user_agent: over 200 characters");
}

TEST(a_connection_string_that_is_wrong_says_what_and_where)
{
    static const char *const texts[] = {"", "nonsense", "AccountEndpoint=", ("AccountKey=" AIOCOSMOS_EMULATOR_KEY ";"),
        "AccountEndpoint=http://localhost/;", "AccountEndpoint=http://localhost/;AccountKey=*;",
        ("AccountEndpoint=http://localhost/;AccountEndpoint=http://localhost/;AccountKey=" AIOCOSMOS_EMULATOR_KEY)};
    aiocosmos_options options = {0};
    size_t i;
    memset(&heap, 0, sizeof heap);
    options.allocator.fn = heap_fn;
    for (i = 0; i < sizeof texts / sizeof *texts; i++) {
        options.connection_string = texts[i];
        if (strlen(why_not(&options)) < 10) CHECK_STR(texts[i], "a reason");
    }
    options.connection_string = "AccountEndpoint=http://localhost/;AccountKey=abc$;";
    CHECK(strstr(why_not(&options), "at byte "));
}

TEST_TWICE(a_connection_string_is_all_that_a_client_needs)
{
    aiocosmos_options options, usual;
    aiocosmos_client *client;
    char text[256];
    open_emulator("");
    usual = usual_options();
    memset(&options, 0, sizeof options);
    snprintf(text, sizeof text, "AccountEndpoint=%s;AccountKey=%s;", emulator.url, AIOCOSMOS_EMULATOR_KEY);
    options.connection_string = text;
    options.trust_pem = usual.trust_pem;
    options.allocator = usual.allocator;
    options.default_database = "db";
    client = open_client(&options);
    fill_world(client);
    close_client(client);
    snprintf(text, sizeof text, " AccountKey = %s ; AccountEndpoint = %s", AIOCOSMOS_EMULATOR_KEY, emulator.url);
    client = open_client(&options);
    must(client, write_a());
    close_world(client);
}

TEST(a_host_names_itself_before_us)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    open_emulator("");
    options = usual_options();
    options.platform = bent_platform();
    options.user_agent = "game/7";
    client = open_client(&options);
    fill_world(client);
    CHECK(strstr(bend.sent, "\r\nUser-Agent: game/7 aiocosmos/"));
    close_world(client);
}

TEST(without_a_database_a_request_is_refused)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    open_emulator("");
    options = usual_options();
    options.default_database = NULL;
    client = open_client(&options);
    CHECK_STR(refusal_of(client, read_a()), "database: required");
    CHECK_STR(refusal_of(client, of_kind(AIOCOSMOS_CREATE_DATABASE)), "database: required");
    close_world(client);
}

/*--- Why a call was refused -------------------------------------------------------------*/

static int refused_inside;

static void submit_wrong(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)result, (void)user_data;
    CHECK_INT(aiocosmos_drain(client, 0), AIOCOSMOS_E_REENTERED);
    CHECK_STR(aiocosmos_last_error(client), "called inside a callback");
    refused_inside++;
}

TEST(the_last_error_is_that_of_the_last_call)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request wrong = read_item("a/b", aiocosmos_s("p")), right = read_a();
    aiocosmos_query_request query;
    aiocosmos_bulk_request bulk;
    aiocosmos_read_many_request many;
    aiocosmos_cursor cursor = {0};
    aiocosmos_op op = {0};
    static const char slash[] = "id: '/' at byte 1";
    answer got;
    int i;
    memset(&query, 0, sizeof query);
    memset(&bulk, 0, sizeof bulk);
    memset(&many, 0, sizeof many);
    CHECK_STR(aiocosmos_last_error(client), "");
    for (i = 0; i < 8; i++) {                              /* each success leaves nothing behind */
        CHECK_INT(aiocosmos_submit(client, &wrong, NULL), AIOCOSMOS_E_ARGUMENT);
        CHECK_STR(aiocosmos_last_error(client), slash);
        CHECK(!aiocosmos_cancel(client, op) && !aiocosmos_forget(client, op));
        CHECK_STR(aiocosmos_last_error(client), slash);    /* what returns no status is no call that succeeds */
        if (i == 0) CHECK_INT(aiocosmos_step(client, 0), 0);
        if (i == 1) CHECK_INT(aiocosmos_drain(client, 0), 0);
        if (i == 2) CHECK_INT(aiocosmos_warm(client, 0), 0);
        if (i == 3) CHECK_INT(aiocosmos_set_key(client, AIOCOSMOS_EMULATOR_KEY), 0);
        if (i == 4) CHECK_INT(aiocosmos_session_merge(client, "db", "c", text_of("0:-1#1")), 0);
        if (i == 5) number_in(client, "{\"n\":1}", "/n");
        if (i == 6) CHECK_INT(aiocosmos_run(client, &right, NULL), 404);
        if (i == 7) send_off(client, right, &got);
        CHECK(i == 6 ? strncmp(aiocosmos_last_error(client), "404 Not Found", 13) == 0
                     : !*aiocosmos_last_error(client));
    }
    CHECK_INT(aiocosmos_drain(client, 0), AIOCOSMOS_E_TIMEOUT);
    CHECK_STR(aiocosmos_last_error(client), "timed out");
    drain(client);
    query.sql = "";
    query.container = "c";
    CHECK_INT(aiocosmos_query_open(client, &query, &cursor), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "sql: empty");
    CHECK_INT(aiocosmos_cursor_next(client, cursor, NULL, NULL), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "cursor: unknown or closed");
    CHECK_INT(aiocosmos_bulk(client, &bulk, NULL), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "next: required");
    CHECK_INT(aiocosmos_read_many(client, &many, NULL), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "item: required");
    query.sql = NULL;
    CHECK_INT(aiocosmos_query_open(client, &query, &cursor), 0);
    CHECK_STR(aiocosmos_last_error(client), "");
    right.done = submit_wrong;
    CHECK_INT(aiocosmos_run(client, &right, NULL), 404);
    CHECK_INT(refused_inside, 1);
    CHECK(strncmp(aiocosmos_last_error(client), "404 Not Found", 13) == 0);
    right.done = NULL;
    right.timeout_ms = 1;
    fault("delay_ms=2000,kind=read_item");
    CHECK_INT(aiocosmos_run(client, &right, NULL), AIOCOSMOS_E_TIMEOUT);
    CHECK(strncmp(aiocosmos_last_error(client), "-6: timed out", 13) == 0);
    no_faults();
    must(client, upsert_item(aiocosmos_s("p"), "{\"id\":\"a\",\"pk\":\"p\"}"));
    right.timeout_ms = 0;
    CHECK_INT(aiocosmos_run(client, &right, NULL), 0);
    CHECK_STR(aiocosmos_last_error(client), "");
    close_world(client);
}

TEST(versions_and_texts_are_there)
{
    int status;
    CHECK_INT(aiocosmos_version(), AIOCOSMOS_VERSION);
    CHECK_STR(aiocosmos_status_text(404), "Not Found");
    CHECK_STR(aiocosmos_status_text(AIOCOSMOS_E_TIMEOUT), "timed out");
    for (status = -100; status < 1000; status++) CHECK(aiocosmos_status_text(status)[0]);
    aiocosmos_destroy(NULL);
    aiocosmos_abandon(NULL);
}

/*--- Limits ---------------------------------------------------------------------------------*/

TEST(only_so_many_operations_may_be_pending)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    aiocosmos_request request = read_a();
    answer answers[3], got;
    int i;
    open_emulator("");
    options = usual_options();
    options.pending_max = 3;
    client = open_client(&options);
    fill_world(client);
    for (i = 0; i < 3; i++) send_off(client, write_a(), &answers[i]);
    CHECK_INT(aiocosmos_submit(client, &request, NULL), AIOCOSMOS_E_FULL);
    CHECK_STR(aiocosmos_last_error(client), "full: 3 operations are pending: step first");
    CHECK_INT(aiocosmos_pending(client), 3);
    drain(client);
    for (i = 0; i < 3; i++) CHECK_INT(answers[i].status, 0);
    CHECK_INT(ask(client, request, &got), 0);
    close_world(client);
}

TEST_TWICE(memory_has_a_limit_and_submit_says_full)
{
    enum { COUNT = 60 };
    static answer answers[COUNT];
    static char body[200000];
    aiocosmos_options options;
    aiocosmos_client *client;
    aiocosmos_stats stats;
    int i, accepted = 0, full = 0;
    open_emulator("");
    options = usual_options();
    options.memory_max = (size_t)4 << 20;
    options.connections_max = 4;
    client = open_client(&options);
    fill_world(client);
    snprintf(body, sizeof body, "{\"id\":\"a\",\"pk\":\"p\",\"fill\":\"%0*d\"}", (int)sizeof body - 64, 0);
    memset(answers, 0, sizeof answers);
    for (i = 0; i < COUNT; i++) {
        aiocosmos_request request = upsert_item(aiocosmos_s("p"), body);
        int status;
        request.done = keep_answer;
        request.user_data = &answers[i];
        status = aiocosmos_submit(client, &request, NULL);
        CHECK(status == 0 || status == AIOCOSMOS_E_FULL);
        accepted += status == 0;
        full += status == AIOCOSMOS_E_FULL;
    }
    CHECK(accepted > 10 && full > 10);
    CHECK_STR(aiocosmos_last_error(client), "full: memory_max is held: step first");
    drain(client);
    for (i = 0; i < accepted; i++) CHECK(answers[i].calls == 1 && answers[i].status == 0);
    aiocosmos_get_stats(client, &stats);
    CHECK(stats.memory_peak <= options.memory_max);
    CHECK(heap.bytes <= options.memory_max + client_size());
    must(client, write_a());
    close_world(client);
}

/*--- on_room: everything is submitted, in as many turns as it takes -----------------------*/

typedef struct loop {
    int next, count, done, rooms, full;
    size_t body_bytes;
    uint32_t most;                           /* pending when there was room */
    size_t most_bytes;
    bool destroys;
} loop;

static char loop_body[100000];

static void loop_done(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    CHECK(result->status == 0 || result->status == AIOCOSMOS_E_SHUTDOWN);
    ++*(int *)user_data;
}

static void submit_all(aiocosmos_client *client, loop *all)
{
    int n, status = 0;
    while (all->next < all->count && status == 0) {
        aiocosmos_request request;
        n = snprintf(loop_body, sizeof loop_body, "{\"id\":\"%d\",\"pk\":\"p\",\"pad\":\"", all->next);
        memset(loop_body + n, 'x', all->body_bytes);
        snprintf(loop_body + n + all->body_bytes, sizeof loop_body - (size_t)n - all->body_bytes, "\"}");
        request = upsert_item(aiocosmos_s("p"), loop_body);
        request.done = loop_done;
        request.user_data = &all->done;
        status = aiocosmos_submit(client, &request, NULL);
        all->next += status == 0;
    }
    CHECK(status == 0 || status == AIOCOSMOS_E_FULL);
    all->full += status != 0;
}

static void room_again(aiocosmos_client *client, void *user_data)
{
    loop *all = user_data;
    aiocosmos_stats stats;
    aiocosmos_get_stats(client, &stats);
    CHECK_INT(aiocosmos_step(client, 0), AIOCOSMOS_E_REENTERED);
    if (aiocosmos_pending(client) > all->most) all->most = aiocosmos_pending(client);
    if (stats.memory_used > all->most_bytes) all->most_bytes = stats.memory_used;
    all->rooms++;
    CHECK_INT(all->rooms, all->full);                      /* once for each refusal */
    if (all->destroys) aiocosmos_destroy(client);
    else submit_all(client, all);
}

static aiocosmos_client *open_loop(loop *all, uint32_t pending_max, size_t memory_max)
{
    aiocosmos_options options = usual_options();
    options.pending_max = pending_max;
    options.memory_max = memory_max;
    options.on_room = room_again;
    options.on_room_user_data = all;
    return open_client(&options);
}

TEST(a_loop_that_is_full_goes_on_when_there_is_room)
{
    static loop all;
    aiocosmos_client *client;
    aiocosmos_read_many_request many;
    aiocosmos_query_request query;
    aiocosmos_cursor cursor, last;
    aiocosmos_item_key *keys;
    answer got;
    int i;
    close_client(open_world(""));
    memset(&all, 0, sizeof all);
    all.count = 5000;
    client = open_loop(&all, 0, 0);
    submit_all(client, &all);
    CHECK_INT(all.next, 1024);
    CHECK_INT(aiocosmos_drain(client, 3 * PATIENCE_MS), 0);
    CHECK_INT(all.done, 5000);
    CHECK_INT(all.rooms, all.full);
    CHECK(all.most <= 768 && all.rooms >= 5);
    close_client(client);
    memset(&all, 0, sizeof all);
    all.count = 300;
    all.body_bytes = 50000;
    client = open_loop(&all, 0, (size_t)4 << 20);
    submit_all(client, &all);
    CHECK(all.next < 100 && all.full == 1);
    CHECK_INT(aiocosmos_drain(client, 3 * PATIENCE_MS), 0);
    CHECK_INT(all.done, 300);
    CHECK(all.rooms >= 4);
    /* What can never be had is not offered again and again. */
    keys = calloc(100000, sizeof *keys);
    memset(&many, 0, sizeof many);
    for (i = 0; i < 100000; i++) {
        keys[i].id = "some-longer-name-of-an-item";
        keys[i].pk = aiocosmos_pk1(aiocosmos_i(i));
    }
    many.container = "c";
    many.items = keys;
    many.item_count = 100000;
    many.item = (void (*)(aiocosmos_client *, size_t, int, aiocosmos_json, void *))abort;
    CHECK_INT(aiocosmos_read_many(client, &many, NULL), AIOCOSMOS_E_NOMEM);
    i = all.rooms;
    CHECK_INT(aiocosmos_step(client, 0), 0);
    CHECK(aiocosmos_next_timeout_ms(client) != 0);
    must(client, read_item("1", aiocosmos_s("p")));
    CHECK_INT(all.rooms, i);
    send_off(client, read_item("1", aiocosmos_s("p")), &got);
    CHECK_INT(aiocosmos_read_many(client, &many, NULL), AIOCOSMOS_E_FULL);         /* what is pending may make room */
    free(keys);
    all.full++;
    drain(client);
    CHECK_INT(all.rooms, i + 1);
    close_client(client);
    memset(&all, 0, sizeof all);
    client = open_loop(&all, 3, 0);                        /* too many queries are open */
    memset(&query, 0, sizeof query);
    query.container = "c";
    for (i = 0; i < 3; i++) last = open_query(client, &query);
    CHECK_INT(aiocosmos_query_open(client, &query, &cursor), AIOCOSMOS_E_FULL);
    CHECK_INT(aiocosmos_step(client, 0), 0);
    CHECK_INT(all.rooms, 0);
    all.full++;
    aiocosmos_cursor_close(client, last);
    CHECK_INT(aiocosmos_step(client, 0), 1);
    CHECK_INT(all.rooms, 1);
    last = open_query(client, &query);
    CHECK_INT(aiocosmos_query_open(client, &query, &cursor), AIOCOSMOS_E_FULL);
    all.full++;
    close_client(client);
    CHECK_INT(all.rooms, 1);                               /* not from destroy */
    memset(&all, 0, sizeof all);
    all.count = 10;
    all.destroys = true;
    client = open_loop(&all, 4, 0);
    submit_all(client, &all);
    CHECK_INT(aiocosmos_drain(client, PATIENCE_MS), AIOCOSMOS_E_DESTROYED);
    CHECK_INT(all.rooms, 1);
    CHECK_INT(all.done, 4);
    CHECK_INT(heap.blocks, 0);
    stop_emulator();
}

/* What the host itself holds of memory_max does not keep it waiting for room, once nothing else could make some. */
TEST(there_is_room_when_nothing_is_pending)
{
    enum { DOCS = 1000, NUMBERS = 2000 };
    static aiocosmos_json_doc *docs[DOCS];
    static char text[2 * NUMBERS + 1];
    static loop all;
    const size_t memory_max = (size_t)4 << 20;
    aiocosmos_client *client;
    aiocosmos_stats stats;
    int i, held = 0;
    close_client(open_world(""));
    for (i = 0; i < NUMBERS; i++) memcpy(text + 2 * i, ",1", 2);
    text[0] = '[';
    text[2 * NUMBERS] = ']';
    memset(&all, 0, sizeof all);
    all.count = 100;
    all.body_bytes = 50000;
    client = open_loop(&all, 0, memory_max);
    do {
        CHECK_INT(aiocosmos_json_parse(client, text, sizeof text, &docs[held++], NULL), 0);
        aiocosmos_get_stats(client, &stats);
    } while (stats.memory_used < memory_max / 8 * 5 && held < DOCS);
    submit_all(client, &all);
    CHECK(all.next > 0 && all.full == 1);
    CHECK_INT(aiocosmos_drain(client, 3 * PATIENCE_MS), 0);
    CHECK_INT(all.done, 100);
    while (held > 0) aiocosmos_json_free(docs[--held]);
    close_client(client);
    stop_emulator();
}

TEST(memory_that_is_not_enough_for_a_client_makes_none)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    char why[64];
    memset(&heap, 0, sizeof heap);
    options.endpoint = "http://localhost:8081/";
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.allocator.fn = heap_fn;
    options.memory_max = 10000;
    CHECK_INT(aiocosmos_create(&options, &client, why, sizeof why), AIOCOSMOS_E_NOMEM);
    CHECK(!client && why[0]);
    CHECK_INT(heap.blocks, 0);
}

TEST_TWICE(an_answer_over_the_limit_is_too_large)
{
    static char body[20000];
    aiocosmos_options options;
    aiocosmos_client *client;
    aiocosmos_request request;
    answer got;
    open_emulator("");
    options = usual_options();
    options.response_bytes_max = 10000;
    client = open_client(&options);
    fill_world(client);
    snprintf(body, sizeof body, "{\"id\":\"a\",\"pk\":\"p\",\"fill\":\"%0*d\"}", (int)sizeof body - 64, 0);
    CHECK_INT(ask(client, upsert_item(aiocosmos_s("p"), body), &got), 0);
    CHECK_INT(ask(client, read_a(), &got), AIOCOSMOS_E_TOO_LARGE);
    CHECK_INT(got.attempts, 1);
    CHECK(got.message[0]);
    request = upsert_item(aiocosmos_s("p"), body);
    request.want_body = true;
    CHECK_INT(ask(client, request, &got), AIOCOSMOS_E_TOO_LARGE);
    CHECK_INT(got.http_status, 200);         /* the head has said it */
    CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
    must(client, write_a());
    CHECK_INT(ask(client, read_a(), &got), 0);
    close_world(client);
}

/*--- Keys -------------------------------------------------------------------------------------*/

static const char another_key[] = "bm90IHRoZSBrZXkgb2YgdGhpcyBhY2NvdW50LCBidXQgYSBrZXkgYWxsIHRoZSBzYW1lLg==";

TEST(a_wrong_key_is_401_and_can_be_replaced)
{
    aiocosmos_client *client = open_world("");
    answer got;
    CHECK_INT(aiocosmos_set_key(client, another_key), 0);
    CHECK_INT(ask(client, read_a(), &got), 401);
    CHECK_INT(got.attempts, 1);
    CHECK(strstr(got.message, "key"));
    CHECK_INT(aiocosmos_set_key(client, "***"), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "key: not base64 at byte 0");
    CHECK_INT(ask(client, read_a(), &got), 401);
    CHECK_INT(aiocosmos_set_key(client, AIOCOSMOS_EMULATOR_KEY), 0);
    CHECK_INT(ask(client, read_a(), &got), 404);
    CHECK_INT(aiocosmos_set_token(client, "", "type=resource&x", 0), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "token: this client was created with a key");
    close_world(client);
}

TEST(a_key_is_used_from_the_next_attempt_on)
{
    aiocosmos_client *client = open_world("");
    answer got;
    CHECK_INT(aiocosmos_set_key(client, another_key), 0);
    fault("status=429,retry_after_ms=30,kind=create_item,count=1");     /* before any signature is looked at */
    send_off(client, create_item(aiocosmos_s("p"), item_a), &got);
    CHECK_INT(aiocosmos_drain(client, 10), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(aiocosmos_set_key(client, AIOCOSMOS_EMULATOR_KEY), 0);
    drain(client);
    CHECK_INT(got.status, 0);
    CHECK_INT(got.attempts, 2);
    close_world(client);
}

TEST(a_clock_that_is_off_is_corrected_once)
{
    static const int64_t shifts_ms[] = {86400000, -86400000, (int64_t)86400000 * 365};
    size_t i;
    for (i = 0; i < sizeof shifts_ms / sizeof *shifts_ms; i++) {
        aiocosmos_options options;
        aiocosmos_client *client;
        answer got;
        open_emulator("");
        options = usual_options();
        options.platform = bent_platform();
        bend.wall_ms = shifts_ms[i];
        client = open_client(&options);
        CHECK_INT(ask(client, of_kind(AIOCOSMOS_CREATE_DATABASE), &got), 0);
        CHECK_INT(got.attempts, 2);
        CHECK_INT(ask(client, of_kind(AIOCOSMOS_READ_DATABASE), &got), 0);
        CHECK_INT(got.attempts, 1);
        bend.wall_ms = 0;                                  /* somebody sets this machine's clock */
        CHECK_INT(ask(client, of_kind(AIOCOSMOS_READ_DATABASE), &got), 0);
        CHECK_INT(got.attempts, 2);
        close_world(client);
    }
}

/*--- Tokens -----------------------------------------------------------------------------------*/

/* A resource token for the container "c", as the account's owner makes it. */
static void make_token(char *token, size_t cap, const char *mode)
{
    static char body[256];
    const char *at;
    size_t len;
    http_signed("POST", "users", "dbs/db", "/dbs/db/users", "{\"id\":\"u\"}");
    snprintf(body, sizeof body, "{\"id\":\"%s\",\"permissionMode\":\"%s\",\"resource\":\"dbs/db/colls/c\"}", mode,
             mode);
    CHECK_INT(http_signed("POST", "permissions", "dbs/db/users/u", "/dbs/db/users/u/permissions", body), 201);
    at = strstr(http_answer, "\"_token\":\"");
    CHECK(at);
    at += strlen("\"_token\":\"");
    len = strcspn(at, "\"");
    CHECK(len > 0 && len < cap);
    memcpy(token, at, len);
    token[len] = 0;
}

static aiocosmos_options token_options(void)
{
    aiocosmos_options options = usual_options();
    options.key = NULL;
    return options;
}

TEST(a_resource_token_opens_its_container_and_no_other)
{
    aiocosmos_client *owner = open_world(""), *client;
    aiocosmos_options options = token_options();
    aiocosmos_request elsewhere = write_a();
    char all[1024], read[1024];
    answer got;
    must(owner, create_container("other", "/pk"));
    make_token(all, sizeof all, "All");
    make_token(read, sizeof read, "Read");
    options.token = all;
    client = open_client(&options);
    CHECK_INT(ask(client, write_a(), &got), 0);
    CHECK_INT(ask(client, read_a(), &got), 0);
    elsewhere.container = "other";
    CHECK(ask(client, elsewhere, &got) == 401 || got.status == 403);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
    aiocosmos_destroy(client);
    options.token = read;
    client = open_client(&options);
    CHECK_INT(ask(client, read_a(), &got), 0);
    CHECK(ask(client, write_a(), &got) == 401 || got.status == 403);
    CHECK(got.message[0]);
    CHECK_INT(aiocosmos_set_key(client, AIOCOSMOS_EMULATOR_KEY), AIOCOSMOS_E_ARGUMENT);
    aiocosmos_destroy(client);
    close_world(owner);
}

/* A host that answers for tokens: at once, later, with a bad one first, or not at all. */
typedef struct purse {
    char token[1024], link[256];
    int asked, bad_ones;
    bool at_once, deny;
} purse;

static void ask_purse(aiocosmos_client *client, const char *resource_link, const char *claims, void *user_data)
{
    purse *p = user_data;
    CHECK(claims == NULL);
    const char *token = p->asked++ < p->bad_ones ? "type=resource&ver=1&sig=bad" : p->token;
    snprintf(p->link, sizeof p->link, "%s", resource_link);
    if (!p->at_once) return;
    CHECK_INT(aiocosmos_set_token(client, resource_link, p->deny ? NULL : token, 3600), 0);
}

static aiocosmos_client *open_with_purse(purse *p)
{
    aiocosmos_options options = token_options();
    options.token_fn = ask_purse;
    options.token_user_data = p;
    return open_client(&options);
}

TEST(the_host_is_asked_for_a_token_once_and_may_answer_later)
{
    aiocosmos_client *owner = open_world(""), *client;
    answer first, second;
    purse p;
    memset(&p, 0, sizeof p);
    make_token(p.token, sizeof p.token, "All");
    client = open_with_purse(&p);
    send_off(client, write_a(), &first);
    send_off(client, write_a(), &second);
    CHECK_INT(p.asked, 0);
    CHECK_INT(aiocosmos_drain(client, 10), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(p.asked, 1);
    CHECK_STR(p.link, "dbs/db/colls/c");
    CHECK_INT(aiocosmos_set_token(client, p.link, "type=resource ver=1", 0), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "token: empty, too long, or with a blank or a byte that is no ASCII");
    CHECK_INT(aiocosmos_set_token(client, p.link, p.token, 0), 0);
    CHECK_INT(aiocosmos_next_timeout_ms(client), 0);
    drain(client);
    CHECK(first.status == 0 && second.status == 0);
    CHECK_INT(ask(client, read_a(), &first), 0);
    CHECK_INT(p.asked, 1);
    aiocosmos_destroy(client);
    close_world(owner);
}

TEST(the_host_may_answer_at_once)
{
    aiocosmos_client *owner = open_world(""), *client;
    answer got;
    purse p;
    memset(&p, 0, sizeof p);
    p.at_once = true;
    make_token(p.token, sizeof p.token, "All");
    client = open_with_purse(&p);
    CHECK_INT(ask(client, write_a(), &got), 0);
    CHECK_INT(got.attempts, 1);
    aiocosmos_destroy(client);
    close_world(owner);
}

TEST(a_token_that_the_service_refuses_is_renewed_once)
{
    aiocosmos_client *owner = open_world(""), *client;
    answer got;
    purse p;
    memset(&p, 0, sizeof p);
    p.at_once = true;
    p.bad_ones = 1;
    make_token(p.token, sizeof p.token, "All");
    client = open_with_purse(&p);
    CHECK_INT(ask(client, write_a(), &got), 0);
    CHECK_INT(p.asked, 2);
    CHECK_INT(got.attempts, 2);
    aiocosmos_destroy(client);
    p.asked = 0;
    p.bad_ones = 100;
    client = open_with_purse(&p);
    CHECK_INT(ask(client, write_a(), &got), 401);
    CHECK_INT(p.asked, 2);
    aiocosmos_destroy(client);
    close_world(owner);
}

TEST(a_host_without_a_token_ends_what_waits_for_it)
{
    aiocosmos_client *owner = open_world(""), *client;
    answer got, other;
    purse p;
    memset(&p, 0, sizeof p);
    p.at_once = p.deny = true;
    client = open_with_purse(&p);
    CHECK_INT(ask(client, write_a(), &got), AIOCOSMOS_E_AUTH);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_NOT_SENT);
    CHECK_STR(got.message, "the host has no token for this resource");
    aiocosmos_destroy(client);
    p.at_once = false;
    client = open_with_purse(&p);
    send_off(client, write_a(), &got);
    send_off(client, read_a(), &other);
    CHECK_INT(aiocosmos_step(client, 0), 0);
    CHECK_INT(aiocosmos_set_token(client, "dbs/db/colls/c", NULL, 0), 0);
    drain(client);
    CHECK(got.status == AIOCOSMOS_E_AUTH && other.status == AIOCOSMOS_E_AUTH);
    aiocosmos_destroy(client);
    close_world(owner);
}

TEST(waiting_for_a_token_can_end_by_deadline_cancel_and_destroy)
{
    aiocosmos_client *owner = open_world(""), *client;
    aiocosmos_request hasty = write_a();
    answer got, cancelled, left;
    aiocosmos_op op;
    purse p;
    memset(&p, 0, sizeof p);
    client = open_with_purse(&p);
    hasty.timeout_ms = 20;
    send_off(client, hasty, &got);
    op = send_off(client, write_a(), &cancelled);
    send_off(client, write_a(), &left);
    CHECK_INT(aiocosmos_step(client, 0), 0);
    CHECK(aiocosmos_cancel(client, op));
    CHECK_INT(aiocosmos_drain(client, 40), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(got.status, AIOCOSMOS_E_TIMEOUT);
    CHECK(strstr(got.message, "waiting for a token"));
    CHECK_INT(cancelled.status, AIOCOSMOS_E_CANCELLED);
    CHECK_INT(cancelled.fate, AIOCOSMOS_FATE_NOT_SENT);
    aiocosmos_destroy(client);
    CHECK_INT(left.status, AIOCOSMOS_E_SHUTDOWN);
    close_world(owner);
}

TEST(an_entra_token_is_sent_as_one)
{
    static const char token[] = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJnYW1lIn0.c2lnbmF0dXJl";
    aiocosmos_client *owner, *client;
    aiocosmos_options options;
    char emulator_options[128];
    answer got;
    purse p;
    memset(&p, 0, sizeof p);
    p.at_once = true;
    snprintf(p.token, sizeof p.token, "%s", token);
    snprintf(emulator_options, sizeof emulator_options, "--aad-token %s", token);
    owner = open_world(emulator_options);
    options = token_options();
    options.token = token;
    client = open_client(&options);
    CHECK_INT(ask(client, write_a(), &got), 0);
    CHECK_INT(ask(client, read_a(), &got), 0);
    aiocosmos_destroy(client);
    client = open_with_purse(&p);
    CHECK_INT(ask(client, read_a(), &got), 0);
    CHECK_INT(p.asked, 1);
    aiocosmos_destroy(client);
    close_world(owner);
}

/*--- TLS ----------------------------------------------------------------------------------------*/

/* An emulator with this certificate, "rsa/good". */
static void open_tls_emulator(const char *certificate)
{
    char options[256], kind[8];
    snprintf(kind, sizeof kind, "%.*s", (int)strcspn(certificate, "/"), certificate);
    snprintf(options, sizeof options, "--tls --cert build/certs/%s.pem --key-file build/certs/%s/leaf.key", certificate,
             kind);
    memset(&heap, 0, sizeof heap);
    start_emulator(options);
}

static aiocosmos_options tls_options(const char *ca)
{
    aiocosmos_options options = usual_options();
    options.trust_pem = read_text(ca);
    return options;
}

TEST(certificates_that_are_good_are_trusted)
{
    static const char *const certificates[] = {"rsa/good", "rsa/chain", "ec/good", "ec/chain"};
    size_t i;
    for (i = 0; i < sizeof certificates / sizeof *certificates; i++) {
        aiocosmos_options options;
        aiocosmos_client *client;
        open_tls_emulator(certificates[i]);
        options = tls_options(certificates[i][0] == 'r' ? "build/certs/rsa/ca.pem" : "build/certs/ec/ca.pem");
        client = open_client(&options);
        fill_world(client);
        close_world(client);
    }
}

TEST(a_certificate_that_is_refused_says_why)
{
    static const struct { const char *certificate, *why; } cases[] = {
        {"rsa/other", "trust"}, {"rsa/wrong-name", "other.example"}, {"rsa/expired", "expired"}, {"rsa/future", "2060"},
        {"ec/other", "trust"}, {"ec/wrong-name", "other.example"}, {"ec/expired", "2020"},
        {"ec/future", "not valid before"},
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        aiocosmos_options options;
        aiocosmos_client *client;
        answer got;
        open_tls_emulator(cases[i].certificate);
        options = tls_options(cases[i].certificate[0] == 'r' ? "build/certs/rsa/ca.pem" : "build/certs/ec/ca.pem");
        client = open_client(&options);
        CHECK_INT(ask(client, of_kind(AIOCOSMOS_CREATE_DATABASE), &got), AIOCOSMOS_E_TLS);
        CHECK_INT(got.attempts, 1);
        CHECK_INT(got.fate, AIOCOSMOS_FATE_NOT_SENT);
        if (!strstr(got.message, cases[i].why)) CHECK_STR(got.message, cases[i].why);
        aiocosmos_destroy(client);
        options.insecure = true;
        client = open_client(&options);
        CHECK_INT(ask(client, of_kind(AIOCOSMOS_CREATE_DATABASE), &got), 0);
        close_world(client);
    }
}

static ptrdiff_t no_roots(void *user_data, void *out, size_t cap)
{
    (void)user_data, (void)out, (void)cap;
    return AIOCOSMOS_IO_FAILED;
}

TEST(trust_that_holds_no_certificate_is_refused)
{
    aiocosmos_options options = {0};
    aiocosmos_platform bare = *aiocosmos_system_platform();
    bare.system_roots = NULL;
    memset(&heap, 0, sizeof heap);
    options.endpoint = "https://localhost/";
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.allocator.fn = heap_fn;
    options.platform = &bare;
    CHECK_STR(why_not(&options), "trust_pem: required, as no system certificates were found");
    bare.system_roots = no_roots;
    CHECK_STR(why_not(&options), "trust_pem: required, as no system certificates were found");
    options.trust_pem = "no certificate";
    CHECK(strlen(why_not(&options)) > 10);
    options.trust_pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    CHECK(strlen(why_not(&options)) > 10);
}

TEST(tls_sessions_are_resumed)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    aiocosmos_stats stats;
    answer got;
    int i;
    open_tls_emulator("rsa/good");
    options = tls_options("build/certs/rsa/ca.pem");
    options.platform = bent_platform();
    client = open_client(&options);
    fill_world(client);
    for (i = 0; i < 3; i++) {
        bend.monotonic_us += 61000000u;                    /* idle for so long that the connection is closed */
        CHECK_INT(aiocosmos_step(client, 0), 0);
        CHECK_INT(ask(client, write_a(), &got), 0);
    }
    aiocosmos_get_stats(client, &stats);
    CHECK_INT(stats.connections_opened, 4);
    CHECK_INT(stats.tls_handshakes, 4);
    CHECK_INT(stats.tls_resumptions, 3);
    close_world(client);
}

TEST(tls_to_a_server_that_speaks_none_says_so)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    char url[64];
    answer got;
    open_emulator("");
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", emulator.port);
    options = tls_options("build/certs/rsa/ca.pem");
    options.endpoint = url;
    options.retries_max = 1;
    options.connect_timeout_ms = 50;
    client = open_client(&options);
    CHECK(ask(client, write_a(), &got) < 0);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_NOT_SENT);
    CHECK(strstr(got.message, "127.0.0.1"));
    close_world(client);
}

/*--- Logging --------------------------------------------------------------------------------------*/

typedef struct journal { int lines, levels[5]; char text[8192]; } journal;

static void note_line(int level, const char *message, uint64_t op_id, void *user_data)
{
    journal *j = user_data;
    size_t len = strlen(j->text);
    (void)op_id;
    CHECK(level >= 1 && level <= 4);
    j->lines++;
    j->levels[level]++;
    snprintf(j->text + len, sizeof j->text - len, "%s\n", message);
}

TEST(a_logger_hears_of_failures_but_never_secrets)
{
    static journal j;
    static listing all;
    aiocosmos_options options;
    aiocosmos_query_request query;
    aiocosmos_client *client;
    answer got;
    memset(&j, 0, sizeof j);
    open_emulator("");
    options = usual_options();
    options.logger.fn = note_line;
    options.logger.user_data = &j;
    options.logger.level_max = 4;
    client = open_client(&options);
    fill_world(client);
    fault("action=reset,kind=upsert_item,count=1");
    CHECK(ask(client, upsert_item(aiocosmos_s("p"), "{\"id\":\"a\",\"pk\":\"p\",\"secret\":\"hunter2\"}"), &got) != 0);
    CHECK(j.levels[2] > 0);
    CHECK(!strstr(j.text, "hunter2") && !strstr(j.text, "C2y6yDjf5") && !strstr(j.text, "sig%3D"));
    memset(&j, 0, sizeof j);
    memset(&query, 0, sizeof query);
    query.container = "c";
    query.sql = "SELECT * FROM c WHERE 'hunter2' hunter2";    /* a syntax error that the service quotes */
    CHECK_INT(read_all(client, &query, &all), 400);
    CHECK(strstr(all.message, "hunter2"));
    CHECK(j.levels[2] > 0 && !strstr(j.text, "hunter2"));
    close_client(client);
    memset(&j, 0, sizeof j);
    options.logger.level_max = 1;
    client = open_client(&options);
    CHECK_INT(ask(client, read_item("nobody", aiocosmos_s("p")), &got), 404);
    CHECK_INT(j.lines, 0);
    close_world(client);
}

TEST(checking_no_certificates_is_logged_once)
{
    static journal j;
    aiocosmos_options options;
    memset(&j, 0, sizeof j);
    memset(&heap, 0, sizeof heap);
    memset(&options, 0, sizeof options);
    options.endpoint = "https://localhost/";
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.allocator.fn = heap_fn;
    options.insecure = true;
    options.logger.fn = note_line;
    options.logger.user_data = &j;
    close_client(open_client(&options));
    CHECK_INT(j.lines, 1);
    CHECK_INT(j.levels[1], 1);
    CHECK(strstr(j.text, "insecure"));
}

/*--- Names ----------------------------------------------------------------------------------------*/

static void resolve_to_loopback(aiocosmos_client *client, const char *host, uint64_t question, void *user_data)
{
    aiocosmos_address address;
    memset(&address, 0, sizeof address);
    address.family = 4;
    address.ip[0] = 127;
    address.ip[3] = 1;
    CHECK_STR(host, "cosmos.example");
    *(uint64_t *)user_data = question;
    if (question % 2 == 0) CHECK_INT(aiocosmos_resolved(client, question, &address, 1, 60), 0);
}

TEST(the_host_may_resolve_names)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    aiocosmos_address address;
    uint64_t question = 0;
    char url[64];
    answer got;
    open_emulator("");
    options = usual_options();
    snprintf(url, sizeof url, "http://cosmos.example:%d/", emulator.port);
    options.endpoint = url;
    options.allow_http = true;
    options.resolve_fn = resolve_to_loopback;
    options.resolve_user_data = &question;
    client = open_client(&options);
    send_off(client, of_kind(AIOCOSMOS_CREATE_DATABASE), &got);
    while (!question) CHECK(aiocosmos_step(client, 0) >= 0);
    memset(&address, 0, sizeof address);
    address.family = 4;
    address.ip[0] = 127;
    address.ip[3] = 1;
    if (question % 2) CHECK_INT(aiocosmos_resolved(client, question, &address, 1, 60), 0);
    CHECK_INT(aiocosmos_resolved(client, question, &address, 1, 60), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "question: not open: answered already, or given up");
    drain(client);
    CHECK_INT(got.status, 0);
    close_world(client);
}

static void resolve_to_nothing(aiocosmos_client *client, const char *host, uint64_t question, void *user_data)
{
    (void)host; (void)user_data;
    CHECK_INT(aiocosmos_resolved(client, question, NULL, 0, 60), 0);
}

TEST(a_name_without_an_address_is_a_dns_error)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    answer got;
    open_emulator("");
    options = usual_options();
    options.endpoint = "http://nowhere.example/";
    options.allow_http = true;
    options.resolve_fn = resolve_to_nothing;
    options.retries_max = 1;
    client = open_client(&options);
    CHECK_INT(ask(client, write_a(), &got), AIOCOSMOS_E_DNS);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_NOT_SENT);
    CHECK(strstr(got.message, "nowhere.example"));
    close_world(client);
}

/*--- Memory that runs out ---------------------------------------------------------------------------*/

typedef struct tiny_bulk { int next; int items, calls; } tiny_bulk;

static aiocosmos_pull pull_tiny(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    tiny_bulk *b = user_data;
    (void)client;
    if (b->next == 3) return AIOCOSMOS_PULL_END;
    b->next++;
    item->kind = AIOCOSMOS_UPSERT_ITEM;
    item->pk = aiocosmos_pk1(aiocosmos_s("p"));
    item->body = text_of(item_a);
    return AIOCOSMOS_PULL_ITEM;
}

static void tiny_item(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    (void)client; (void)result; (void)item_data;
    ((tiny_bulk *)user_data)->items++;
}

static void tiny_done(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                      void *user_data)
{
    (void)client; (void)result; (void)totals;
    ((tiny_bulk *)user_data)->calls++;
}

static int submit_kept(aiocosmos_client *client, aiocosmos_request request, answer *kept)
{
    memset(kept, 0, sizeof *kept);
    request.done = keep_answer;
    request.user_data = kept;
    return aiocosmos_submit(client, &request, NULL);
}

static void tiny_many_item(aiocosmos_client *client, size_t index, int status, aiocosmos_json item, void *user_data)
{
    (void)client; (void)index; (void)status; (void)item;
    ((tiny_bulk *)user_data)->items++;
}

static void tiny_many_done(aiocosmos_client *client, const aiocosmos_result *result,
                           const aiocosmos_many_totals *totals, void *user_data)
{
    (void)client; (void)result; (void)totals;
    ((tiny_bulk *)user_data)->calls++;
}

static void tiny_batch_done(aiocosmos_client *client, const aiocosmos_result *result,
                            const aiocosmos_batch_result *results, size_t count, void *user_data)
{
    (void)client; (void)result; (void)results; (void)count;
    ++*(int *)user_data;
}

/* What there is beside single items and queries, all at once, and whether each was accepted. */
typedef struct crowd {
    tiny_bulk bulk, many;
    listing changes;
    int batches;
    bool has_bulk, has_many, has_changes, has_batch;
} crowd;

/* False: there was no memory. */
static bool is_taken(int refused)
{
    if (refused != AIOCOSMOS_E_NOMEM && refused != AIOCOSMOS_E_FULL) CHECK_INT(refused, 0);
    return refused == 0;
}

static bool start_many(aiocosmos_client *client, tiny_bulk *counts)
{
    static const char *const ids[3] = { "a", "b", "a" }, *const keys[3] = { "p", "p", "q" };
    aiocosmos_item_key pairs[3];
    aiocosmos_read_many_request many;
    int i;
    for (i = 0; i < 3; i++) {
        pairs[i].id = ids[i];
        pairs[i].pk = aiocosmos_pk_s(keys[i]);
    }
    memset(&many, 0, sizeof many);
    many.container = "c";
    many.items = pairs;
    many.item_count = 3;
    many.item = tiny_many_item;
    many.done = tiny_many_done;
    many.user_data = counts;
    return is_taken(aiocosmos_read_many(client, &many, NULL));
}

static bool start_batch(aiocosmos_client *client, int *calls)
{
    aiocosmos_batch_request batch;
    aiocosmos_bulk_item operation;
    memset(&operation, 0, sizeof operation);
    operation.kind = AIOCOSMOS_UPSERT_ITEM;
    operation.body = text_of(item_a);
    memset(&batch, 0, sizeof batch);
    batch.container = "c";
    batch.pk = aiocosmos_pk_s("p");
    batch.items = &operation;
    batch.item_count = 1;
    batch.done = tiny_batch_done;
    batch.user_data = calls;
    return is_taken(aiocosmos_batch(client, &batch, NULL));
}

static void start_crowd(aiocosmos_client *client, crowd *all)
{
    aiocosmos_bulk_request bulk;
    aiocosmos_changes_request changes;
    aiocosmos_cursor cursor;
    memset(&bulk, 0, sizeof bulk);
    bulk.container = "c";
    bulk.next = pull_tiny;
    bulk.item_done = tiny_item;
    bulk.done = tiny_done;
    bulk.user_data = &all->bulk;
    all->has_bulk = is_taken(aiocosmos_bulk(client, &bulk, NULL));
    memset(&changes, 0, sizeof changes);
    changes.container = "c";
    all->has_changes = is_taken(aiocosmos_changes_open(client, &changes, &cursor)) &&
                       is_taken(aiocosmos_cursor_next(client, cursor, keep_page, &all->changes));
    all->has_many = start_many(client, &all->many);
    all->has_batch = start_batch(client, &all->batches);
}

static void check_crowd(const crowd *all)
{
    CHECK_INT(all->bulk.calls, all->has_bulk);
    CHECK_INT(all->bulk.items, all->bulk.next);
    CHECK_INT(all->many.calls, all->has_many);
    CHECK_INT(all->many.items, all->has_many ? 3 : 0);
    CHECK_INT(all->changes.calls, all->has_changes);
    CHECK_INT(all->batches, all->has_batch);
}

/* A life in full: create, items, session, query, then all else at once, destroy. Each call may fail for want of memory,
 * and nothing else; what was accepted is called back once. */
static void live(const aiocosmos_options *options, const char *sql)
{
    static listing all;
    static answer answers[3];
    static crowd others;
    aiocosmos_param last = { "@last", aiocosmos_s("~") };
    aiocosmos_query_request query;
    aiocosmos_cursor handle;
    aiocosmos_client *client;
    char why[128];
    bool accepted[3], queried;
    int i;
    memset(&all, 0, sizeof all);
    memset(&others, 0, sizeof others);
    memset(&query, 0, sizeof query);
    i = aiocosmos_create(options, &client, why, sizeof why);
    if (i) {
        CHECK_INT(i, AIOCOSMOS_E_NOMEM);
        return;
    }
    query.container = "c";
    query.sql = sql;
    query.params = &last;
    query.param_count = sql ? 1 : 0;
    query.want_metrics = query.want_index_metrics = true;
    query.page_items_max = 1;
    accepted[0] = is_taken(submit_kept(client, write_a(), &answers[0]));
    accepted[1] = is_taken(submit_kept(client, read_a(), &answers[1]));
    CHECK_INT(aiocosmos_drain(client, PATIENCE_MS), 0);
    accepted[2] = is_taken(submit_kept(client, read_a(), &answers[2]));
    queried = is_taken(aiocosmos_query_open(client, &query, &handle)) &&
              is_taken(aiocosmos_cursor_next(client, handle, keep_page, &all));
    start_crowd(client, &others);
    CHECK_INT(aiocosmos_drain(client, PATIENCE_MS), 0);
    aiocosmos_session_get(client, NULL, "c");
    aiocosmos_session_merge(client, NULL, "c", text_of("77:-1#1"));
    for (i = 0; i < 3; i++) CHECK_INT(answers[i].calls, accepted[i]);
    CHECK_INT(all.calls, queried);
    check_crowd(&others);
    aiocosmos_destroy(client);
}

/* Once for each n, until a life needs fewer: the nth allocation fails, and where `for_good` all that follow. */
static void live_without_memory(bool for_good, const char *sql)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_options options = usual_options();
    unsigned long n = 0;
    aiocosmos_destroy(client);
    do {
        memset(&heap, 0, sizeof heap);
        heap.fail_from = ++n;
        heap.fail_to = for_good ? ULONG_MAX : n;
        live(&options, sql);
        CHECK_INT(heap.blocks, 0);
        CHECK_INT(heap.bytes, 0);
    } while (heap.calls >= n);
    CHECK(n > 20);
    stop_emulator();
}

TEST_TWICE(every_allocation_may_fail)
{
    live_without_memory(false, NULL);
}

TEST_TWICE(memory_may_run_out_for_good)
{
    live_without_memory(true, NULL);
}

/* What merges rows waits for memory that others, such as the bulk, can only give back if they have their turn. */
TEST_TWICE(memory_may_run_out_for_good_where_rows_are_merged)
{
    live_without_memory(true, "SELECT * FROM c WHERE c.id < @last ORDER BY c.id");
}

/*--- Two clients, and two processes -------------------------------------------------------------------*/

TEST(clients_share_nothing)
{
    aiocosmos_client *client = open_world(""), *other;
    aiocosmos_options options = usual_options();
    answer mine, theirs;
    options.key = another_key;
    other = open_client(&options);
    send_off(client, write_a(), &mine);
    send_off(other, write_a(), &theirs);
    drain(other);
    CHECK_INT(theirs.status, 401);
    CHECK_INT(mine.calls, 0);
    drain(client);
    CHECK_INT(mine.status, 0);
    aiocosmos_destroy(other);
    close_world(client);
}

TEST_TWICE(a_forked_child_abandons_the_client_and_the_parent_goes_on)
{
    aiocosmos_options options = usual_options();
    aiocosmos_client *client;
    aiocosmos_stats before, after;
    answer owed, got;
    pid_t child;
    int status = -1;
    options.connections_max = 1;
    client = open_world_with("", &options);
    must(client, write_a());
    must(client, read_a());
    await_ranges(client);
    aiocosmos_get_stats(client, &before);
    send_off(client, read_a(), &owed);
    CHECK_INT(aiocosmos_step(client, 0), 0);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        aiocosmos_abandon(client);
        _exit(owed.calls == 0 && heap.blocks == 0 ? 0 : 1);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    drain(client);
    CHECK_INT(owed.status, 0);
    CHECK_INT(owed.attempts, 1);
    CHECK_INT(ask(client, read_a(), &got), 0);
    aiocosmos_get_stats(client, &after);
    CHECK_INT(after.connections_opened, before.connections_opened);
    close_world(client);
}
