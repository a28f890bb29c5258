/* The pool, against a network and a clock made of a few arrays, so that every nasty timing can be played without
 * waiting; then over real sockets, and over TLS. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"
#include "vacant.h"
#include "texts.h"
#include "pool_awake.h"
#include "by_hand.h"
#include <arpa/inet.h>

#define BYTES_MAX (1u << 18)

#ifndef CERTS_DIR
#define CERTS_DIR "build/certs"
#endif

/*------------------------------------------------------------------------------
 * The client's side of it
 *----------------------------------------------------------------------------*/

static const aiocosmos_str header_names[] = { { "etag", 4 }, { "date", 4 } };
static const aioc_http_names names = { header_names, 2 };

static struct {
    aioc_mem memory;
    aiocosmos_allocator allocator;
    aioc_reactor reactor;
    aioc_dns resolver;
    aioc_pool pool;
    char scratch[65536];
    char log[1024];
    int logged;
    uint64_t question;                             /* last put to the hook */
    int questions;
} rig;

static void note_log(void *user, const char *message)
{
    (void)user;
    rig.logged++;
    snprintf(rig.log, sizeof rig.log, "%s", message);
}

static void note_question(void *user, const char *host, uint64_t question)
{
    (void)user;
    CHECK_STR(host, "db.example");
    rig.question = question;
    rig.questions++;
}

static uint64_t chance;

static int ticket_prepare(aioc_pool_exchange *exchange, aiocosmos_slice slices[2]);
static void ticket_done(aioc_pool_exchange *exchange, const aioc_pool_outcome *outcome);

/* Everything but the pool, whose options a test may still change. */
static void rig_open(const aiocosmos_platform *platform, const char *host)
{
    aiocosmos_allocator allocator = heap_allocator(&heap);
    memset(&rig, 0, sizeof rig);
    net.now_us = 1000000000u;
    net.batch_max = 64;
    net.v4.delay_us = 1000;
    net.v6.io = AIOCOSMOS_IO_UNREACHABLE;
    aioc_mem_init(&rig.memory, &allocator, 64 << 20);
    rig.allocator = aioc_mem_allocator(&rig.memory);
    CHECK_INT(aioc_reactor_open(&rig.reactor, platform, &rig.allocator), 0);
    aioc_dns_open(&rig.resolver, &rig.reactor, &rig.memory, note_question, NULL);
    rig.pool.place.reactor = &rig.reactor;
    rig.pool.place.memory = &rig.memory;
    rig.pool.place.resolver = &rig.resolver;
    rig.pool.place.host = host;
    rig.pool.place.port = 8081;
    rig.pool.place.connect_timeout_ms = 5000;
    rig.pool.options.connections_max = 100;
    rig.pool.options.idle_timeout_ms = 60000;
    rig.pool.options.head_max = 32768;
    rig.pool.options.prepare = ticket_prepare;
    rig.pool.options.done = ticket_done;
    rig.pool.options.random = &chance;
    rig.pool.options.body_max = 1 << 20;
    rig.pool.options.names = &names;
    rig.pool.options.scratch = rig.scratch;
    rig.pool.options.scratch_size = sizeof rig.scratch;
    rig.pool.options.log = note_log;
}

static void setup(const char *host)
{
    rig_open(made_up(), host);
    aioc_pool_open(&rig.pool);
}

/* Closes all, and checks that nothing is left: no socket, no timer, no byte. */
static void teardown(void)
{
    aioc_pool_close(&rig.pool);
    aioc_dns_close(&rig.resolver);
    CHECK_INT(rig.reactor.source_count, 0);
    CHECK(!rig.reactor.timers);
    CHECK_INT(net.open, 0);
    CHECK_INT(rig.pool.open, 0);
    CHECK_INT(rig.pool.opening, 0);
    CHECK_INT(rig.pool.idle_count, 0);
    aioc_reactor_close(&rig.reactor);
    aioc_mem_close(&rig.memory);
    CHECK_INT(heap.bytes, 0);
}

/* One piece of work was done: whatever is left, the host would hear of it if its step ended here. */
static bool piece_done(void)
{
    const char *sleeps = aioc_pool_sleeps(&rig.pool);
    if (sleeps) test_fail(__FILE__, __LINE__, "%s", sleeps);
    return true;
}

/* One step of a client, without a wait. */
static bool step(void)
{
    bool worked = false;
    aioc_reactor_tick(&rig.reactor);
    while (aioc_reactor_dispatch_one(&rig.reactor) || aioc_reactor_timer_run_one(&rig.reactor) ||
           aioc_pool_work(&rig.pool))
        worked = piece_done();
    if (aioc_stream_handshake_work(&rig.pool.place)) worked = piece_done();
    CHECK_INT(aioc_reactor_poll(&rig.reactor, 0), 0);
    return worked || rig.reactor.batch_count > 0;
}

/* Steps until nothing happens any more at this time. */
static void settle(void)
{
    int rounds = 0;
    while (step()) CHECK(++rounds < 100000);
    CHECK(!aioc_pool_has_work(&rig.pool));
}

/* Lets so much time pass; what is due on the way happens when it is due. */
static void pass_us(uint64_t us)
{
    uint64_t until_us = net.now_us + us;
    settle();
    while (net.now_us < until_us) {
        pass_to_next(&rig.reactor, until_us);
        settle();
    }
}

static void pass_ms(uint64_t ms) { pass_us(ms * 1000u); }

typedef struct ticket ticket;
struct ticket {
    aioc_pool_exchange exchange;
    const char *head, *body;
    int prepare_error, prepared, calls;
    aioc_pool_outcome outcome;                     /* of the last call; its pointers are stale */
    int status;
    bool lent;
    char text[256], message[AIOC_STREAM_MESSAGE_MAX];
    size_t body_len;
    void (*then)(ticket *t);                       /* called inside done */
    ticket *other;
    int again;                                     /* so many times it is started again, inside done */
};

static int ticket_prepare(aioc_pool_exchange *exchange, aiocosmos_slice slices[2])
{
    ticket *t = exchange->owner;
    t->prepared++;
    if (t->prepare_error) return t->prepare_error;
    slices[0].ptr = t->head;
    slices[0].len = strlen(t->head);
    slices[1].ptr = t->body;
    slices[1].len = t->body ? strlen(t->body) : 0;
    return 0;
}

static void ticket_done(aioc_pool_exchange *exchange, const aioc_pool_outcome *outcome)
{
    ticket *t = exchange->owner;
    t->calls++;
    t->outcome = *outcome;
    t->status = 0;
    t->text[0] = '\0';
    snprintf(t->message, sizeof t->message, "%s", outcome->message ? outcome->message : "");
    CHECK((outcome->error == 0) == (outcome->response != NULL && outcome->parser != NULL));
    if (outcome->error) CHECK(!outcome->response || outcome->response->head.len > 0);     /* of a whole head */
    if (outcome->parser) {
        const aiocosmos_str body = outcome->response->body;
        char *taken;
        size_t size;
        t->status = outcome->response->status;
        t->body_len = body.len;
        snprintf(t->text, sizeof t->text, "%.*s", (int)(body.len < 255 ? body.len : 255), body.ptr ? body.ptr : "");
        t->lent = !aioc_http_take_body(outcome->parser, &taken, &size);
        if (!t->lent) aioc_mem_free(&rig.memory, taken, size);
    }
    if (t->then) t->then(t);
    if (t->again > 0) {
        t->again--;
        aioc_pool_start(&rig.pool, &t->exchange);
    }
}

static ticket *fill(ticket *t)
{
    memset(t, 0, sizeof *t);
    t->exchange.owner = t;
    t->head = "POST /docs HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
    t->body = "body";
    return t;
}

static void start(ticket *t) { aioc_pool_start(&rig.pool, &fill(t)->exchange); }

/*------------------------------------------------------------------------------
 * The server's side of it
 *----------------------------------------------------------------------------*/

#define OK      "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 2\r\n\r\nok"
#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

/* The socket with a request that has not been answered; there must be one. */
static int asking(void)
{
    int fd;
    for (fd = 0; fd < net.count; fd++) {
        const world_socket *s = net.sockets[fd];
        if (s->machine && s->out_len > 0 && s->in_at == s->in_len && rig.pool.connections) {
            aioc_pool_connection *c = rig.pool.connections;
            for (; c; c = c->next) {
                if (c->stream.source.fd == fd && c->exchange) return fd;
            }
        }
    }
    test_fail(__FILE__, __LINE__, "nobody asks");
}

/* Runs one exchange from start to a good end. */
static void round_trip(ticket *t)
{
    start(t);
    pass_ms(2);
    serve(asking(), OK);
    settle();
    CHECK_INT(t->calls, 1);
    CHECK_INT(t->status, 200);
}

/*------------------------------------------------------------------------------
 * The ordinary way
 *----------------------------------------------------------------------------*/

TEST(pool_exchanges_a_request_for_an_answer)
{
    ticket t;
    int fd;
    setup("127.0.0.1");
    start(&t);
    CHECK_INT(net.count, 0);                       /* start does nothing by itself */
    settle();
    CHECK_INT(net.count, 1);
    CHECK_INT(net.sockets[0]->peer.port, 8081);
    pass_ms(1);
    fd = asking();
    CHECK_TEXT(net.sockets[fd]->out, net.sockets[fd]->out_len, "POST /docs HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody");
    CHECK_INT(net.sends, 1);
    CHECK_INT(net.receives, 0);
    CHECK_INT(t.calls, 0);
    pass_us(700);
    serve(fd, OK);
    settle();
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.status, 200);
    CHECK_STR(t.text, "ok");
    CHECK(t.lent);
    CHECK(t.outcome.sent && !t.outcome.reused && !t.outcome.silent);
    CHECK_INT(t.outcome.queue_us, 0);
    CHECK_INT(t.outcome.dns_us, 0);
    CHECK_INT(t.outcome.tcp_us, 1000);
    CHECK_INT(t.outcome.tls_us, 0);
    CHECK_INT(t.outcome.first_byte_us, 700);
    CHECK_INT(net.receives, 1);
    CHECK_INT(rig.pool.idle_count, 1);
    CHECK_INT(rig.pool.place.bytes_received, strlen(OK));
    teardown();
}

TEST(pool_steady_state_is_one_send_and_one_receive)
{
    static ticket tickets[8];
    int i, round, sets = 0;
    uint64_t allocations = 0;
    setup("127.0.0.1");
    for (i = 0; i < 8; i++) start(&tickets[i]);
    pass_ms(5);
    CHECK_INT(rig.pool.open, 8);
    for (round = 0; round < 50; round++) {
        if (round == 2) {                          /* the second round is steady */
            net.sends = net.receives = 0;
            sets = net.sets;
            allocations = rig.memory.allocations;
        }
        for (i = 0; i < 8; i++) {
            tickets[i].again = 1;
            serve(i, OK);
        }
        settle();
    }
    CHECK_INT(net.sends, 48 * 8);
    CHECK_INT(net.receives, 48 * 8);
    CHECK_INT(net.sets, sets);
    CHECK_INT(rig.memory.allocations, allocations);
    CHECK_INT(net.count, 8);
    for (i = 0; i < 8; i++) {
        CHECK_INT(tickets[i].calls, 50);
        CHECK(tickets[i].outcome.reused);
        CHECK(aioc_pool_cancel(&rig.pool, &tickets[i].exchange));
    }
    teardown();
}

TEST(pool_opens_as_many_as_wait_up_to_the_limit)
{
    static ticket tickets[10];
    int i;
    rig_open(made_up(), "127.0.0.1");
    rig.pool.options.connections_max = 4;
    aioc_pool_open(&rig.pool);
    for (i = 0; i < 3; i++) start(&tickets[i]);
    settle();
    CHECK_INT(net.count, 1);                       /* the first finds the way */
    pass_ms(1);
    CHECK_INT(net.count, 3);                       /* it has taken one, two more wait for two */
    for (i = 3; i < 10; i++) start(&tickets[i]);
    pass_ms(3);
    CHECK_INT(net.count, 4);
    for (i = 0; i < 10; i++) {
        serve(asking(), OK);
        settle();
    }
    for (i = 0; i < 10; i++) CHECK_INT(tickets[i].calls, 1);
    CHECK_INT(net.count, 4);
    CHECK_INT(rig.pool.idle_count, 4);
    CHECK(tickets[9].outcome.reused && tickets[9].outcome.tcp_us == 0);
    teardown();
}

TEST(pool_serves_in_order_and_uses_the_last_used_first)
{
    static ticket tickets[6];
    int i, last;
    rig_open(made_up(), "127.0.0.1");
    rig.pool.options.connections_max = 3;
    aioc_pool_open(&rig.pool);
    for (i = 0; i < 6; i++) start(&tickets[i]);
    pass_ms(5);
    for (i = 0; i < 3; i++) CHECK_INT(tickets[i].prepared, 1);
    for (i = 3; i < 6; i++) {
        CHECK_INT(tickets[i].prepared, 0);
        serve(asking(), OK);
        settle();
        CHECK_INT(tickets[i].prepared, 1);
    }
    for (i = 0; i < 3; i++) {
        pass_ms(1);
        serve(last = asking(), OK);
        settle();
    }
    start(&tickets[0]);
    settle();
    CHECK_INT(asking(), last);
    serve(last, OK);
    settle();
    teardown();
}

TEST(pool_closes_what_is_idle_for_too_long)
{
    static ticket tickets[3];
    int i;
    setup("127.0.0.1");
    for (i = 0; i < 3; i++) start(&tickets[i]);
    pass_ms(5);
    for (i = 0; i < 3; i++) serve(i, OK);
    settle();
    CHECK_INT(net.open, 3);
    for (i = 0; i < 59; i++) {
        pass_ms(1000);
        round_trip(&tickets[0]);                   /* always on the same connection */
    }
    CHECK_INT(net.open, 3);
    pass_ms(1100);
    CHECK_INT(net.open, 1);
    CHECK_INT(net.count, 3);
    pass_ms(60100);
    CHECK_INT(net.open, 0);
    CHECK(!rig.reactor.timers);
    teardown();
}

TEST(pool_retires_old_connections)
{
    ticket t;
    int seconds = 0;
    setup("127.0.0.1");
    while (net.count < 2) {
        round_trip(&t);
        pass_ms(1000);
        CHECK(++seconds < 400);
    }
    CHECK(seconds > 299 && seconds < 362);
    CHECK_INT(net.open, 1);
    teardown();
}

TEST(pool_warms_up_a_few_at_a_time)
{
    int open = 0, rounds = 0;
    aiocosmos_stats stats;
    setup("127.0.0.1");
    aioc_pool_warm(&rig.pool, 10);
    CHECK(aioc_pool_has_work(&rig.pool));
    settle();
    CHECK_INT(net.count, 1);
    while (open < 10) {
        pass_us(1000);
        CHECK(net.count - open <= 4 + 4);
        CHECK(rig.pool.opening <= 4);
        open = (int)rig.pool.open;
        CHECK(++rounds < 10);
    }
    CHECK_INT(net.count, 10);
    aioc_pool_get_stats(&rig.pool, &stats);
    CHECK_INT(stats.connections_open, 10);
    CHECK_INT(stats.connections_idle, 10);
    CHECK_INT(stats.connections_opened, 10);
    pass_ms(60100);
    CHECK_INT(net.open, 0);
    CHECK_INT(net.count, 10);
    teardown();
}

TEST(pool_ends_an_exchange_that_cannot_be_prepared)
{
    ticket t;
    setup("127.0.0.1");
    start(&t);
    t.prepare_error = AIOCOSMOS_E_AUTH;
    pass_ms(2);
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.outcome.error, AIOCOSMOS_E_AUTH);
    CHECK(!t.outcome.sent);
    CHECK_INT(rig.pool.idle_count, 1);
    round_trip(&t);
    CHECK_INT(net.count, 1);
    teardown();
}

/* Memory comes back from those that are under way; who is alone waits for nobody. */
TEST(pool_lets_a_request_without_memory_wait_for_others)
{
    ticket tickets[2];
    int fd;
    setup("127.0.0.1");
    rig.pool.options.connections_max = 2;
    aioc_pool_warm(&rig.pool, 2);
    pass_ms(5);
    start(&tickets[0]);
    settle();
    fd = asking();
    start(&tickets[1]);
    tickets[1].prepare_error = AIOCOSMOS_E_NOMEM;
    pass_ms(35);
    CHECK(tickets[1].prepared >= 3 && tickets[1].prepared <= 5);
    CHECK_INT(tickets[1].calls, 0);
    tickets[1].prepare_error = 0;
    pass_ms(15);
    serve((int)tickets[1].exchange.connection->stream.source.fd, OK);
    settle();
    CHECK_INT(tickets[1].status, 200);
    start(&tickets[1]);
    tickets[1].prepare_error = AIOCOSMOS_E_NOMEM;
    settle();
    CHECK_INT(tickets[1].calls, 0);
    serve(fd, OK);
    pass_ms(15);
    CHECK_INT(tickets[0].status, 200);
    CHECK_INT(tickets[1].outcome.error, AIOCOSMOS_E_NOMEM);
    round_trip(&tickets[1]);
    CHECK_INT(net.open, 2);
    teardown();
}

/*------------------------------------------------------------------------------
 * Answers in every shape
 *----------------------------------------------------------------------------*/

TEST(pool_takes_answers_cut_anywhere)
{
    ticket t;
    size_t i;
    setup("127.0.0.1");
    round_trip(&t);
    for (i = 0; i < 5; i++) {
        const char *at = OK;
        start(&t);
        settle();
        for (; *at; at++) {
            char one[2] = { 0, 0 };
            one[0] = *at;
            CHECK_INT(t.calls, 0);
            serve(0, one);
            settle();
        }
        CHECK_INT(t.calls, 1);
        CHECK_STR(t.text, "ok");
        CHECK(!t.lent);
    }
    CHECK_INT(rig.pool.idle_count, 1);
    teardown();
}

TEST(pool_takes_large_answers_without_more_receives_than_needed)
{
    ticket t;
    setup("127.0.0.1");
    round_trip(&t);
    start(&t);
    settle();
    net.receives = 0;
    serve_long(0, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", 200000);
    settle();
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.body_len, 200000);
    CHECK(!t.lent);
    CHECK_INT(net.receives, 2);                    /* the scratch full, then all the rest into its place */
    teardown();
}

TEST(pool_closes_connections_that_the_answer_ends)
{
    static const struct { const char *text; bool hang_up; const char *body; } ends[] = {
        { "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false, "ok" },
        { "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false, "ok" },
        { "HTTP/1.0 200 OK\r\n\r\nall of it", true, "all of it" },
        { "HTTP/1.1 200 OK\r\n\r\n", true, "" },
        { OK "more than was asked for", false, "ok" },       /* the answer stands all the same */
        { OK OK, false, "ok" }
    };
    ticket t;
    size_t i;
    setup("127.0.0.1");
    for (i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        start(&t);
        pass_ms(2);
        serve(newest(), ends[i].text);
        settle();
        if (ends[i].hang_up) {
            CHECK_INT(t.calls, 0);
            hang_up(newest());
            settle();
        }
        CHECK_INT(t.calls, 1);
        CHECK_INT(t.outcome.error, 0);
        CHECK_STR(t.text, ends[i].body);
        CHECK_INT(net.open, 0);
        CHECK_INT(net.count, (int)i + 1);
    }
    teardown();
}

TEST(pool_says_what_is_wrong_with_an_answer)
{
    static const struct { const char *text; int error; const char *message; } wrong[] = {
        { "SSH-2.0\r\n", AIOCOSMOS_E_PROTOCOL, "127.0.0.1:8081: the answer is not HTTP/1.1" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", AIOCOSMOS_E_PROTOCOL,
          "127.0.0.1:8081: the answer has two different Content-Lengths" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n", AIOCOSMOS_E_TOO_LARGE,
          "127.0.0.1:8081: the answer's body is over the limit" }
    };
    ticket t;
    size_t i;
    setup("127.0.0.1");
    for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        start(&t);
        pass_ms(2);
        serve(newest(), wrong[i].text);
        settle();
        CHECK_INT(t.calls, 1);
        CHECK_INT(t.outcome.error, wrong[i].error);
        CHECK_STR(t.message, wrong[i].message);
        CHECK(t.outcome.sent && !t.outcome.silent);
        CHECK_INT(net.open, 0);
    }
    teardown();
}

/*------------------------------------------------------------------------------
 * Connections that end when they should not
 *----------------------------------------------------------------------------*/

TEST(pool_sees_an_idle_connection_close_before_it_is_used)
{
    ticket t;
    setup("127.0.0.1");
    round_trip(&t);
    hang_up(0);
    step();                                        /* polls: a client does so before it hands out work */
    start(&t);
    pass_ms(2);
    CHECK_INT(net.count, 2);                       /* a fresh one */
    serve(1, OK);
    settle();
    CHECK_INT(t.status, 200);
    reset(1);
    settle();
    CHECK_INT(net.open, 0);
    round_trip(&t);
    serve(2, "HTTP/1.1 408 Request Timeout\r\n\r\n");   /* nobody asked */
    settle();
    CHECK_INT(net.open, 0);
    CHECK_INT(t.calls, 1);
    teardown();
}

/* Inside the callback of an answer, before the poller was asked again, the next exchange is started. */
static void start_other(ticket *t)
{
    if (t->other) start(t->other);
}

TEST(pool_writes_nothing_on_a_connection_that_hung_up_behind_its_answer)
{
    ticket a, b;
    int fd;
    setup("127.0.0.1");
    start(&a);
    pass_ms(2);
    a.then = start_other;
    a.other = &b;
    serve(fd = asking(), OK);                      /* "Connection: close" is not said, and yet it is closed */
    hang_up(fd);
    pass_ms(2);
    CHECK_INT(a.status, 200);
    CHECK_INT(b.calls, 0);
    CHECK(!is_open(fd));
    CHECK(newest() != fd);
    serve(asking(), OK);
    settle();
    CHECK_INT(b.status, 200);
    CHECK(!b.outcome.reused);
    teardown();
}

/* Without the hint, what is written there is lost, and says so. */
TEST(pool_gets_along_with_a_poller_that_cannot_tell_of_a_hang_up)
{
    ticket a, b;
    int fd;
    setup("127.0.0.1");
    machine.tells_hang_ups = false;
    start(&a);
    pass_ms(2);
    a.then = start_other;
    a.other = &b;
    serve(fd = asking(), OK);
    hang_up(fd);
    settle();
    CHECK_INT(a.status, 200);
    CHECK_INT(b.outcome.error, AIOCOSMOS_E_CONNECT);
    CHECK(b.outcome.reused && b.outcome.silent);
    CHECK_INT(net.open, 0);
    teardown();
}

/* The server has said that it writes no more, and its answer comes in pieces from the socket: all of it is read. */
TEST(pool_reads_to_the_end_what_came_before_a_hang_up)
{
    ticket t;
    int fd;
    setup("127.0.0.1");
    rig.pool.options.body_max = 1 << 20;
    net.receive_max = 1000;
    start(&t);
    pass_ms(2);
    serve_long(fd = asking(), "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", 100000);
    hang_up(fd);
    settle();
    CHECK_INT(t.status, 200);
    CHECK_INT(t.body_len, 100000);
    CHECK_INT(net.open, 0);
    teardown();
}

TEST(pool_tells_a_stale_connection_from_a_broken_one)
{
    static ticket tickets[3];
    ticket t;
    int i, fd;
    setup("127.0.0.1");
    for (i = 0; i < 3; i++) start(&tickets[i]);
    pass_ms(5);
    for (i = 0; i < 3; i++) {
        serve(asking(), OK);
        pass_ms(1);
    }
    CHECK_INT(rig.pool.idle_count, 3);
    start(&t);
    settle();
    hang_up(fd = asking());
    settle();
    CHECK_INT(t.outcome.error, AIOCOSMOS_E_CONNECT);
    CHECK(t.outcome.reused && t.outcome.silent && t.outcome.sent);
    CHECK_STR(t.message, "127.0.0.1:8081: the connection was closed before the answer");
    CHECK_INT(net.open, 0);                        /* what idled longer went with it: the next try is on a fresh one */
    start(&t);
    pass_ms(2);
    serve(asking(), "HTTP/1.1 200 OK\r\n");
    reset(newest());
    settle();
    CHECK_INT(t.outcome.error, AIOCOSMOS_E_CONNECT);
    CHECK(!t.outcome.reused && !t.outcome.silent && t.outcome.sent);
    CHECK_STR(t.message, "127.0.0.1:8081: the connection was closed in the middle of the answer");
    teardown();
}

TEST(pool_asks_whether_tls_is_missing_where_plain_http_never_got_an_answer)
{
    ticket t;
    setup("127.0.0.1");
    start(&t);
    pass_ms(5);
    hang_up(asking());
    settle();
    CHECK_INT(t.outcome.error, AIOCOSMOS_E_CONNECT);
    CHECK_STR(t.message, "127.0.0.1:8081: the connection was closed without an answer: is https:// missing?");
    teardown();
}

TEST(pool_closes_one_stale_connection_at_a_time)
{
    static ticket tickets[20];
    ticket t;
    int i, before;
    setup("127.0.0.1");
    for (i = 0; i < 20; i++) start(&tickets[i]);
    pass_ms(5);
    for (i = 0; i < 20; i++) {
        serve(asking(), OK);
        settle();
    }
    CHECK_INT(rig.pool.idle_count, 20);
    start(&t);
    settle();
    hang_up(asking());
    CHECK_INT(aioc_reactor_poll(&rig.reactor, 0), 0);
    while (aioc_reactor_dispatch_one(&rig.reactor)) continue;
    CHECK_INT(t.calls, 1);
    for (i = 0; i < 19; i++) {
        before = net.open;
        CHECK(aioc_reactor_timer_run_one(&rig.reactor));
        CHECK_INT(net.open, before - 1);
    }
    CHECK_INT(net.open, 0);
    teardown();
}

/* Says where db.example is, by the last number of its address. */
static void resolve_to(int number)
{
    aiocosmos_address address;
    memset(&address, 0, sizeof address);
    address.family = 4;
    address.ip[0] = 10;
    address.ip[3] = (uint8_t)number;
    CHECK_INT(aioc_dns_answer(&rig.resolver, rig.question, &address, 1, 300), 0);
}

static void leave(ticket *t)
{
    (void)t;
    aioc_pool_leave(&rig.pool);
}

TEST(pool_leaves_an_endpoint_that_has_moved)
{
    static ticket tickets[5];
    ticket *late;
    int i, fd;
    setup("db.example");
    for (i = 0; i < 4; i++) start(&tickets[i]);
    settle();
    resolve_to(1);
    pass_ms(5);
    CHECK_INT(net.open, 4);
    for (i = 0; i < 2; i++) {
        serve(asking(), OK);
        settle();
    }
    CHECK_INT(rig.pool.idle_count, 2);             /* two are idle, two busy */
    for (i = 0; i < 4; i++) tickets[i].then = leave;
    serve(fd = asking(), OK);                      /* one of these says that the endpoint has moved */
    settle();
    CHECK_INT(net.open, 1);                        /* itself and the idle ones are closed */
    CHECK(!is_open(fd));
    start(&tickets[4]);
    settle();
    CHECK_INT(rig.questions, 2);                   /* the name is asked anew, though its time was not over */
    resolve_to(2);
    pass_ms(5);
    CHECK_INT(net.sockets[newest()]->peer.ip[3], 2);
    serve(newest(), OK);
    settle();
    CHECK_INT(tickets[4].status, 200);
    for (late = tickets; late->calls; late++) continue;
    serve(asking(), OK);                           /* the last busy one ends well, and is not used again */
    settle();
    CHECK_INT(late->status, 200);
    CHECK_INT(net.open, 1);
    CHECK_INT(net.sockets[newest()]->peer.ip[3], 2);
    aioc_pool_leave(&rig.pool);                    /* what came late is about the old place: the new one stays */
    settle();
    CHECK_INT(net.open, 1);
    pass_ms(1100);
    aioc_pool_leave(&rig.pool);
    settle();
    CHECK_INT(net.open, 0);
    teardown();
}

TEST(pool_keeps_what_was_known_of_a_name_it_has_left)
{
    ticket t;
    setup("db.example");
    start(&t);
    settle();
    resolve_to(1);
    pass_ms(5);
    serve(asking(), OK);
    settle();
    aioc_pool_leave(&rig.pool);
    start(&t);
    pass_ms(31000);                                /* nobody can say where it is; the host never answers */
    CHECK_INT(rig.questions, 2);
    CHECK_INT(rig.pool.open, 1);
    CHECK_INT(net.sockets[newest()]->peer.ip[3], 1);
    aioc_pool_cancel(&rig.pool, &t.exchange);
    teardown();
}

TEST(pool_does_not_keep_for_long_what_is_on_its_way_when_it_leaves)
{
    ticket t;
    setup("127.0.0.1");
    net.v4.delay_us = 500000;
    start(&t);
    settle();
    aioc_pool_leave(&rig.pool);
    pass_ms(600);
    serve(asking(), OK);
    settle();
    CHECK_INT(t.status, 200);
    CHECK_INT(net.open, 1);
    pass_ms(500);
    CHECK_INT(net.open, 0);
    teardown();
}

/* Nobody waits for it: whoever is queued has a connection to where the name says then. */
TEST(pool_does_not_wait_for_what_is_on_its_way_to_a_place_it_has_left)
{
    ticket t;
    setup("db.example");
    net.v4.delay_us = 1000000000;
    start(&t);
    settle();
    resolve_to(1);
    settle();
    aioc_pool_leave(&rig.pool);
    net.v4.delay_us = 1000;
    pass_ms(1100);
    CHECK_INT(rig.questions, 2);
    resolve_to(2);
    pass_ms(5);
    CHECK_INT(net.sockets[newest()]->peer.ip[3], 2);
    serve(asking(), OK);
    settle();
    CHECK_INT(t.status, 200);
    CHECK_INT(net.open, 1);
    teardown();
}

TEST(pool_says_when_an_exchange_moved_last)
{
    ticket t;
    int fd;
    uint64_t begun_us;
    setup("127.0.0.1");
    net.room = 10;
    start(&t);
    settle();
    CHECK_INT(aioc_pool_progress_us(&t.exchange), 0);      /* waits for a connection */
    pass_ms(1);
    begun_us = net.now_us;
    CHECK_INT(aioc_pool_progress_us(&t.exchange), begun_us);
    pass_ms(100);
    CHECK_INT(aioc_pool_progress_us(&t.exchange), begun_us);
    net.sockets[fd = asking()]->room = 10;                /* a little more can be sent */
    settle();
    CHECK_INT(aioc_pool_progress_us(&t.exchange), net.now_us);
    pass_ms(100);
    net.sockets[fd]->room = SIZE_MAX;
    settle();
    begun_us = net.now_us;
    pass_ms(100);
    CHECK_INT(aioc_pool_progress_us(&t.exchange), begun_us);
    serve(fd, "HTTP/1.1 2");
    settle();
    CHECK_INT(aioc_pool_progress_us(&t.exchange), net.now_us);
    serve(fd, "00 OK\r\nContent-Length: 0\r\n\r\n");
    settle();
    CHECK_INT(t.status, 200);
    CHECK_INT(aioc_pool_progress_us(&t.exchange), 0);
    teardown();
}

TEST(pool_abandons_an_exchange_and_what_was_idle_for_longer)
{
    static ticket tickets[3];
    ticket t;
    int i;
    setup("127.0.0.1");
    for (i = 0; i < 3; i++) start(&tickets[i]);
    pass_ms(5);
    for (i = 0; i < 3; i++) {
        serve(asking(), OK);
        pass_ms(1);
    }
    start(&t);
    settle();
    pass_ms(10);
    aioc_pool_fail(t.exchange.connection, AIOCOSMOS_E_CONNECT, "nothing was heard for 6000 ms");
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.outcome.error, AIOCOSMOS_E_CONNECT);
    CHECK(t.outcome.sent && t.outcome.reused && t.outcome.silent);
    CHECK_STR(t.message, "127.0.0.1:8081: nothing was heard for 6000 ms");
    settle();
    CHECK_INT(net.open, 0);
    round_trip(&t);
    CHECK(!t.outcome.reused);
    teardown();
}

TEST(pool_reports_a_short_body)
{
    ticket t;
    setup("127.0.0.1");
    start(&t);
    pass_ms(2);
    serve(0, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell");
    hang_up(0);
    settle();
    CHECK_INT(t.outcome.error, AIOCOSMOS_E_CONNECT);
    CHECK_STR(t.message, "127.0.0.1:8081: the connection was closed in the middle of the answer");
    teardown();
}

static void hear_nothing(world_socket *socket, const char *bytes, size_t len) { (void)socket, (void)bytes, (void)len; }

TEST(pool_sends_and_receives_a_little_at_a_time_when_the_step_is_over)
{
    static char body[AIOC_STREAM_TURN_BYTES + 1];
    ticket t;
    int fd, receives, turns = 0;
    setup("127.0.0.1");
    memset(body, 'b', sizeof body - 1);
    start(&t);
    t.body = body;
    net.servers.hear = hear_nothing;
    pass_ms(2);
    fd = newest();
    CHECK_INT(net.sends, 2);                       /* more than a turn's bytes, so two turns */
    serve_long(fd, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", 200000);
    rig.reactor.until_us = 1;
    while (t.calls == 0) {
        CHECK_INT(aioc_reactor_poll(&rig.reactor, 0), 0);
        receives = net.receives;
        CHECK(aioc_reactor_dispatch_one(&rig.reactor));
        CHECK_INT(net.receives, receives + 1);
        turns++;
    }
    CHECK_INT(turns, 4);
    CHECK_INT(t.status, 200);
    CHECK_INT(t.body_len, 200000);
    teardown();
}

TEST(pool_sends_the_rest_when_there_is_room)
{
    ticket t;
    setup("127.0.0.1");
    net.room = 10;
    start(&t);
    pass_ms(2);
    CHECK_INT(net.sockets[0]->out_len, 10);
    CHECK_INT(net.sockets[0]->want, AIOCOSMOS_READABLE | AIOCOSMOS_WRITABLE);
    while (net.sockets[0]->out_len < strlen(t.head) + 4) {
        net.sockets[0]->room = 7;
        settle();
    }
    CHECK_INT(net.sockets[0]->want, AIOCOSMOS_READABLE);
    CHECK_TEXT(net.sockets[0]->out, net.sockets[0]->out_len, "POST /docs HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody");
    serve(0, OK);
    settle();
    CHECK_INT(t.status, 200);
    CHECK(t.outcome.sent);
    CHECK_INT(rig.pool.idle_count, 1);
    teardown();
}

TEST(pool_hears_an_answer_to_half_a_request)
{
    ticket t;
    setup("127.0.0.1");
    net.room = 10;
    /* The server refuses early. Half a request is on the connection: it cannot be used again. */
    start(&t);
    pass_ms(2);
    serve(0, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
    settle();
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.status, 413);
    CHECK(!t.outcome.sent);
    CHECK_INT(net.open, 0);
    /* The same, and it hangs up: the answer is there before the broken pipe. */
    start(&t);
    pass_ms(2);
    serve(1, "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
    reset(1);
    settle();
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.status, 401);
    CHECK_INT(net.open, 0);
    /* It just hangs up. */
    start(&t);
    pass_ms(2);
    reset(2);
    settle();
    CHECK_INT(t.outcome.error, AIOCOSMOS_E_CONNECT);
    CHECK(!t.outcome.sent && t.outcome.silent);
    CHECK_STR(t.message, "127.0.0.1:8081: the connection was closed before the request was sent");
    CHECK_INT(net.open, 0);
    teardown();
}

TEST(pool_looks_for_an_answer_when_the_first_send_fails)
{
    ticket t;
    setup("127.0.0.1");
    round_trip(&t);
    /* Between the last look and this send, the server has answered and gone. */
    start(&t);
    serve(0, "HTTP/1.1 503 Going\r\nContent-Length: 0\r\n\r\n");
    reset(0);
    while (aioc_pool_work(&rig.pool)) continue;
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.status, 503);
    CHECK_INT(net.open, 0);
    round_trip(&t);
    start(&t);
    reset(1);
    while (aioc_pool_work(&rig.pool)) continue;
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.outcome.error, AIOCOSMOS_E_CONNECT);
    CHECK(!t.outcome.sent && t.outcome.reused && t.outcome.silent);
    teardown();
}

TEST(pool_reads_a_long_answer_of_who_has_gone_in_pieces)
{
    static ticket t;
    setup("127.0.0.1");
    round_trip(&t);
    /* Between the last look and this send, the server has said more than one turn reads, and gone. */
    start(&t);
    serve_long(0, "HTTP/1.1 503 Going\r\nContent-Length: 200000\r\n\r\n", 200000);
    reset(0);
    rig.reactor.until_us = 1;
    settle();
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.status, 503);
    CHECK_INT(t.body_len, 200000);
    CHECK(!t.outcome.sent);
    CHECK_INT(net.open, 0);
    teardown();
}

TEST(pool_ignores_events_that_are_out_of_date)
{
    aioc_stream *idle;
    ticket t;
    setup("127.0.0.1");
    round_trip(&t);
    idle = (aioc_stream *)rig.pool.idle.last;
    idle->source.ready(&idle->source, AIOCOSMOS_READABLE);
    CHECK_INT(rig.pool.idle_count, 1);
    round_trip(&t);
    CHECK_INT(net.count, 1);
    teardown();
}

/*------------------------------------------------------------------------------
 * Callbacks that do something
 *----------------------------------------------------------------------------*/

static void cancel_other(ticket *t)
{
    if (t->other->calls == 0) aioc_pool_cancel(&rig.pool, &t->other->exchange);
}

TEST(pool_callback_cancels_another_of_the_same_batch)
{
    static ticket tickets[2];
    int i, way;
    for (way = 0; way < 4; way++) {
        setup("127.0.0.1");
        for (i = 0; i < 2; i++) start(&tickets[i]);
        pass_ms(5);
        for (i = 0; i < 2; i++) {
            tickets[i].then = cancel_other;
            tickets[i].other = &tickets[1 - i];
            if (way == 0) serve(i, OK);
            else if (way == 1) reset(i);
            else if (way == 2) serve(i, "garbage");
            else serve(i, OK), hang_up(i);
        }
        settle();
        CHECK_INT(tickets[0].calls + tickets[1].calls, 1);
        teardown();
    }
}

TEST(pool_callback_cancels_one_that_is_half_sent)
{
    static ticket tickets[2];
    setup("127.0.0.1");
    start(&tickets[0]);
    pass_ms(2);
    net.room = 5;
    start(&tickets[1]);
    pass_ms(2);
    CHECK_INT(net.sockets[1]->out_len, 5);
    tickets[0].then = cancel_other;
    tickets[0].other = &tickets[1];
    serve(0, OK);
    serve(1, OK);
    settle();
    CHECK_INT(tickets[0].calls, 1);
    CHECK_INT(tickets[1].calls, 0);
    CHECK_INT(net.open, 1);
    teardown();
}

/*------------------------------------------------------------------------------
 * Cancelling
 *----------------------------------------------------------------------------*/

TEST(pool_cancels_what_waits)
{
    static ticket tickets[3];
    int i;
    setup("127.0.0.1");
    for (i = 0; i < 3; i++) start(&tickets[i]);
    CHECK(!aioc_pool_cancel(&rig.pool, &tickets[1].exchange));
    CHECK(!aioc_pool_cancel(&rig.pool, &tickets[1].exchange));         /* harmless */
    CHECK(!aioc_pool_cancel(&rig.pool, &tickets[0].exchange));
    CHECK_INT(rig.pool.queued, 1);
    pass_ms(2);
    serve(0, OK);
    settle();
    CHECK_INT(tickets[2].calls, 1);
    CHECK_INT(tickets[0].calls + tickets[1].calls, 0);
    CHECK_INT(net.count, 1);
    /* With nobody left to wait, the connection that was on its way is idle. */
    teardown();
    setup("127.0.0.1");
    start(&tickets[0]);
    settle();
    CHECK(!aioc_pool_cancel(&rig.pool, &tickets[0].exchange));
    pass_ms(2);
    CHECK_INT(rig.pool.idle_count, 1);
    teardown();
}

TEST(pool_drains_what_a_cancelled_exchange_leaves)
{
    ticket t;
    setup("127.0.0.1");
    start(&t);
    pass_ms(2);
    CHECK(aioc_pool_cancel(&rig.pool, &t.exchange));
    CHECK_INT(rig.pool.idle_count, 0);
    serve_long(0, "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", 60000);
    settle();
    CHECK_INT(rig.pool.idle_count, 1);
    CHECK(!rig.pool.connections->timer.armed);
    round_trip(&t);
    CHECK_INT(net.count, 1);
    /* In the middle of a body that is being collected. */
    start(&t);
    settle();
    serve_long(0, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", 500);
    settle();
    CHECK(aioc_pool_cancel(&rig.pool, &t.exchange));
    serve_long(0, "", 500);
    settle();
    CHECK_INT(rig.pool.idle_count, 1);
    CHECK_INT(t.calls, 0);
    teardown();
}

TEST(pool_drains_only_a_little)
{
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n",            /* too much */
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",              /* too slow */
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 70\r\n\r\n",
        "garbage"
    };
    static const size_t lengths[] = { 70000, 99, 70, 0 };
    ticket t;
    int i;
    setup("127.0.0.1");
    for (i = 0; i < 4; i++) {
        start(&t);
        pass_ms(2);
        CHECK(aioc_pool_cancel(&rig.pool, &t.exchange));
        serve_long(i, heads[i], lengths[i]);
        pass_ms(i == 1 ? 998 : 0);
        CHECK_INT(net.open, i == 1);
        pass_ms(3);
        CHECK_INT(net.open, 0);
    }
    start(&t);
    pass_ms(2);
    CHECK(aioc_pool_cancel(&rig.pool, &t.exchange));
    hang_up(4);
    settle();
    CHECK_INT(net.open, 0);
    teardown();
}

/*------------------------------------------------------------------------------
 * Connecting
 *----------------------------------------------------------------------------*/

TEST(pool_says_why_nobody_can_be_reached)
{
    static const struct { const char *host; int v4, v6; uint64_t delay_us; const char *message; } walls[] = {
        { "127.0.0.1", AIOCOSMOS_IO_REFUSED, 0, 0, "connect to 127.0.0.1:8081 refused: nobody listens there" },
        { "127.0.0.1", AIOCOSMOS_IO_REFUSED, 0, 300, "connect to 127.0.0.1:8081 refused: nobody listens there" },
        { "::1", 0, AIOCOSMOS_IO_REFUSED, 300, "connect to [::1]:8081 refused: nobody listens there" },
        { "[::1]", 0, AIOCOSMOS_IO_REFUSED, 300, "connect to [::1]:8081 refused: nobody listens there" },
        { "localhost", AIOCOSMOS_IO_REFUSED, AIOCOSMOS_IO_REFUSED, 300,
          "connect to localhost (127.0.0.1:8081) refused: nobody listens there" },
        { "192.0.2.1", AIOCOSMOS_IO_UNREACHABLE, 0, 0,
          "connect to 192.0.2.1:8081 failed: the host cannot be reached (no route, firewall, no answer in time)" },
        { "192.0.2.1", AIOCOSMOS_IO_LIMIT, 0, 0,
          "connect to 192.0.2.1:8081 failed: this machine is out of descriptors, ports or memory" },
        { "192.0.2.1", AIOCOSMOS_IO_UNSUPPORTED, 0, 0,
          "connect to 192.0.2.1:8081 failed: this machine does not support that kind of address" },
        { "192.0.2.1", AIOCOSMOS_IO_CLOSED, 0, 300,
          "connect to 192.0.2.1:8081 failed: the other side closed the connection" },
        { "192.0.2.1", AIOCOSMOS_IO_FAILED, 0, 0, "connect to 192.0.2.1:8081 failed: the system refused" },
        { "192.0.2.1", AIOCOSMOS_IO_AGAIN, 0, 100000000, "connect to 192.0.2.1:8081 timed out after 5000 ms" }
    };
    ticket t;
    size_t i;
    for (i = 0; i < sizeof walls / sizeof walls[0]; i++) {
        setup(walls[i].host);
        net.v4.io = walls[i].v4;
        net.v6.io = walls[i].v6;
        net.v4.delay_us = net.v6.delay_us = walls[i].delay_us;
        start(&t);
        pass_ms(walls[i].v4 == AIOCOSMOS_IO_AGAIN ? 4999 : 0);
        CHECK_INT(t.calls, walls[i].delay_us == 0);
        pass_ms(1);
        CHECK_INT(t.calls, 1);
        CHECK_INT(t.outcome.error, AIOCOSMOS_E_CONNECT);
        CHECK_STR(t.message, walls[i].message);
        CHECK_STR(rig.log, walls[i].message);
        CHECK(!t.outcome.sent && !t.outcome.reused && t.outcome.silent);
        CHECK_INT(net.open, 0);
        teardown();
    }
}

TEST(pool_books_the_time_of_a_failed_connect_where_it_was_spent)
{
    ticket t;
    setup("db.example");
    net.v4.io = AIOCOSMOS_IO_REFUSED;
    net.v4.delay_us = 200000;
    start(&t);
    pass_ms(300);
    resolve_to(1);
    pass_ms(201);
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.outcome.error, AIOCOSMOS_E_CONNECT);
    CHECK_INT(t.outcome.dns_us, 300000);
    CHECK_INT(t.outcome.tcp_us, 200000);
    CHECK_INT(t.outcome.tls_us, 0);
    CHECK_INT(t.outcome.queue_us, 0);
    start(&t);                                     /* its turn comes when the back-off is over: that is the queue's */
    pass_ms(300);
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.outcome.dns_us, 0);
    CHECK_INT(t.outcome.tcp_us, 200000);
    CHECK(t.outcome.queue_us >= 25000 && t.outcome.queue_us <= 50000);
    teardown();
}

/* A thousand who wait for one connect are told one a piece, all of them why; who fails of something else meanwhile does
 * not get their reason. */
TEST(pool_tells_a_thousand_one_at_a_time)
{
    static ticket tickets[1000];
    int i;
    setup("127.0.0.1");
    net.v4.io = AIOCOSMOS_IO_REFUSED;
    for (i = 0; i < 1000; i++) start(&tickets[i]);
    CHECK(aioc_pool_work(&rig.pool));
    CHECK(aioc_pool_work(&rig.pool));
    net.now_us += 1000;
    aioc_reactor_tick(&rig.reactor);
    CHECK_INT(aioc_reactor_poll(&rig.reactor, 0), 0);
    CHECK(aioc_reactor_dispatch_one(&rig.reactor));
    for (i = 0; i < 1000; i++) {
        CHECK_INT(tickets[i].calls, 0);
        CHECK(aioc_pool_work(&rig.pool));
        CHECK_INT(tickets[i].calls, 1);
        CHECK_INT(tickets[i].outcome.error, AIOCOSMOS_E_CONNECT);
        CHECK_INT(tickets[i].outcome.tcp_us, 1000);
        CHECK_STR(tickets[i].message, "connect to 127.0.0.1:8081 refused: nobody listens there");
    }
    teardown();
}

TEST(pool_gives_each_failure_its_own_error)
{
    static ticket tickets[2];
    aioc_pool_connection *second;
    setup("127.0.0.1");
    net.v4.delay_us = 2000000;
    start(&tickets[0]);
    pass_ms(250);
    start(&tickets[1]);
    settle();
    CHECK_INT(rig.pool.opening, 2);
    second = rig.pool.connections;
    aioc_pool_open_failed(&second->next->stream, AIOCOSMOS_E_CONNECT, "the first", false);
    /* Before anybody is told of the first. */
    aioc_pool_open_failed(&second->stream, AIOCOSMOS_E_TLS, "the second", false);
    CHECK(aioc_pool_work(&rig.pool));
    CHECK_INT(tickets[0].outcome.error, AIOCOSMOS_E_CONNECT);
    CHECK_STR(tickets[0].message, "the first");
    net.v4.delay_us = 1000;
    pass_ms(60);
    CHECK_INT(tickets[1].calls, 0);                /* nor is it told something else's reason: it has another try */
    serve(asking(), OK);
    settle();
    CHECK_INT(tickets[1].status, 200);
    teardown();
}

TEST(pool_does_not_storm_a_dead_server)
{
    static ticket tickets[50];
    int i, calls = 0;
    setup("127.0.0.1");
    net.v4.io = AIOCOSMOS_IO_REFUSED;
    net.v4.delay_us = 100;
    for (i = 0; i < 50; i++) {
        start(&tickets[i]);
        tickets[i].again = 1000000;                /* each tries again at once */
    }
    pass_ms(1);
    CHECK_INT(net.count, 1);
    for (i = 0; i < 50; i++) CHECK_INT(tickets[i].calls, 1);           /* all of them waited for that one try */
    pass_ms(10000);
    CHECK(net.count >= 8 && net.count < 20);
    /* It comes back. */
    net.v4.io = 0;
    pass_ms(2000);
    CHECK_INT(net.open, 50);
    for (i = 0; i < 50; i++) {
        CHECK_INT(tickets[i].prepared, 1);
        tickets[i].again = 0;
        calls += tickets[i].calls;
    }
    for (i = 0; i < net.count; i++) {
        if (is_open(i)) serve(i, OK);
    }
    settle();
    for (i = 0; i < 50; i++) calls -= tickets[i].calls - 1;
    CHECK_INT(calls, 0);
    teardown();
}

TEST(pool_takes_one_incident_for_one_failure)
{
    static ticket tickets[22];
    uint64_t back_us;
    int i, count;
    setup("127.0.0.1");
    round_trip(&tickets[0]);
    start(&tickets[1]);
    settle();                                      /* one connection is there, and busy */
    net.v4.io = AIOCOSMOS_IO_REFUSED;
    for (i = 2; i < 22; i++) start(&tickets[i]);
    pass_us(1100);                                 /* twenty connects are refused in the same instant */
    CHECK_INT(net.count, 21);
    net.v4.io = 0;                                 /* the server is back at once */
    back_us = net.now_us;
    for (count = net.count; net.count == count;) pass_ms(1);
    CHECK(net.now_us - back_us <= 50000);
    pass_ms(5);
    CHECK_INT(rig.pool.open, 21);                  /* the first that opens lets all others open */
    for (i = 1; i < 22; i++) {
        serve(asking(), OK);
        settle();
    }
    for (i = 1; i < 22; i++) CHECK_INT(tickets[i].status, 200);
    teardown();
}

TEST(pool_that_has_connections_gets_along_with_them)
{
    static ticket tickets[5];
    int i;
    setup("127.0.0.1");
    start(&tickets[0]);
    pass_ms(2);
    net.v4.io = AIOCOSMOS_IO_LIMIT;
    for (i = 1; i < 5; i++) start(&tickets[i]);
    pass_ms(1000);
    CHECK(net.count > 2 && net.count < 12);
    for (i = 0; i < 5; i++) {
        CHECK_INT(tickets[i].calls, 0);
        serve(0, OK);
        settle();
        CHECK_INT(tickets[i].calls, 1);
        CHECK_INT(tickets[i].status, 200);
    }
    teardown();
}

TEST(pool_lets_later_exchanges_have_their_own_try)
{
    static ticket tickets[2];
    setup("127.0.0.1");
    net.v4.io = AIOCOSMOS_IO_REFUSED;
    net.v4.delay_us = 1000;
    start(&tickets[0]);
    settle();
    start(&tickets[1]);
    pass_ms(1);
    CHECK_INT(tickets[0].calls, 1);
    CHECK_INT(tickets[1].calls, 0);
    net.v4.io = 0;
    pass_ms(100);
    serve(asking(), OK);
    settle();
    CHECK_INT(tickets[1].status, 200);
    teardown();
}

TEST(pool_opens_more_when_the_first_is_slow)
{
    static ticket tickets[3];
    int i;
    setup("127.0.0.1");
    net.v4.io = AIOCOSMOS_IO_AGAIN;                /* silence */
    for (i = 0; i < 3; i++) start(&tickets[i]);
    pass_ms(240);
    CHECK_INT(net.count, 1);
    net.v4.io = 0;
    pass_ms(20);
    CHECK_INT(net.open, 1 + 2);                    /* the second went through, so the third follows at once */
    for (i = 0; i < 2; i++) serve(asking(), OK), settle();
    serve(asking(), OK);
    settle();
    for (i = 0; i < 3; i++) CHECK_INT(tickets[i].status, 200);
    pass_ms(6000);
    CHECK_INT(net.open, 2);                        /* the silent one was given up, nothing fails */
    teardown();
}

TEST(pool_looks_a_name_up_once_for_all)
{
    static ticket tickets[3];
    aiocosmos_address address;
    int i;
    setup("db.example");
    for (i = 0; i < 3; i++) start(&tickets[i]);
    pass_ms(600);                                  /* three connections wait for the name by now */
    CHECK_INT(rig.questions, 1);
    CHECK_INT(rig.pool.opening, 3);
    CHECK_INT(net.count, 0);
    memset(&address, 0, sizeof address);
    address.family = 4;
    address.ip[0] = 127;
    address.ip[3] = 9;
    CHECK_INT(aioc_dns_answer(&rig.resolver, rig.question, &address, 1, 60), 0);
    pass_ms(5);
    CHECK_INT(rig.pool.open, 3);
    CHECK_INT(net.sockets[0]->peer.ip[3], 9);
    CHECK_INT(net.sockets[0]->peer.port, 8081);
    for (i = 0; i < 3; i++) serve(asking(), OK), settle();
    for (i = 0; i < 3; i++) CHECK_INT(tickets[i].status, 200);
    for (i = 0; i < 3; i++) CHECK_INT(tickets[i].outcome.queue_us + tickets[i].outcome.dns_us, 600000);
    teardown();
}

TEST(pool_dials_one_connection_at_a_time)
{
    static ticket tickets[40];
    int i, fd, count;
    setup("db.example");
    start(&tickets[0]);
    settle();
    resolve_to(1);
    pass_ms(2);
    fd = asking();
    aioc_pool_leave(&rig.pool);                    /* the name is asked for anew, by many at once */
    for (i = 1; i < 40; i++) start(&tickets[i]);
    settle();
    CHECK_INT(rig.pool.opening, 39);
    CHECK_INT(rig.questions, 2);
    resolve_to(2);
    while (aioc_reactor_timer_run_one(&rig.reactor)) continue;
    CHECK_INT(net.count, 1);
    for (count = 2; count <= 40; count++) {
        CHECK(aioc_pool_work(&rig.pool));
        CHECK_INT(net.count, count);
        CHECK(!aioc_pool_sleeps(&rig.pool));
    }
    settle();
    serve(fd, OK);
    pass_ms(2);
    for (i = 1; i < 40; i++) serve(asking(), OK), settle();
    for (i = 0; i < 40; i++) CHECK_INT(tickets[i].status, 200);
    teardown();
}

TEST(pool_says_when_a_name_cannot_be_found)
{
    static ticket tickets[2];
    setup("db.example");
    start(&tickets[0]);
    settle();
    CHECK_INT(aioc_dns_answer(&rig.resolver, rig.question, NULL, 0, 60), 0);
    settle();
    CHECK_INT(tickets[0].calls, 1);
    CHECK_INT(tickets[0].outcome.error, AIOCOSMOS_E_DNS);
    CHECK(strstr(tickets[0].message, "db.example") != NULL);
    teardown();
    setup("db.example");
    start(&tickets[0]);
    start(&tickets[1]);
    pass_ms(4999);
    CHECK_INT(tickets[0].calls, 0);
    pass_ms(2);
    CHECK_INT(tickets[0].calls, 1);
    CHECK_INT(tickets[0].outcome.error, AIOCOSMOS_E_DNS);
    CHECK_STR(tickets[0].message, "look up db.example:8081: timed out after 5000 ms");
    teardown();                                    /* while others still look it up */
}

TEST(pool_cancels_what_has_failed_but_was_not_told)
{
    static ticket tickets[3];
    int i;
    setup("127.0.0.1");
    net.v4.io = AIOCOSMOS_IO_REFUSED;
    net.v4.delay_us = 0;
    for (i = 0; i < 3; i++) start(&tickets[i]);
    aioc_reactor_tick(&rig.reactor);
    CHECK(aioc_pool_work(&rig.pool));              /* begins a connection */
    CHECK(aioc_pool_work(&rig.pool));              /* dials, and fails */
    CHECK_INT(tickets[0].calls, 0);
    CHECK(aioc_pool_has_work(&rig.pool));
    CHECK(!aioc_pool_cancel(&rig.pool, &tickets[1].exchange));
    CHECK(aioc_pool_work(&rig.pool));
    CHECK_INT(tickets[0].calls, 1);
    CHECK(aioc_pool_work(&rig.pool));
    CHECK_INT(tickets[2].calls, 1);
    CHECK_INT(tickets[1].calls, 0);
    CHECK(!aioc_pool_has_work(&rig.pool));
    teardown();
}

TEST(pool_closes_at_any_stage)
{
    static ticket tickets[4];
    int i;
    setup("db.example");
    start(&tickets[0]);
    settle();                                      /* the name is being looked up */
    teardown();
    setup("localhost");
    net.v6.io = net.v4.io = AIOCOSMOS_IO_AGAIN;
    start(&tickets[0]);
    pass_ms(300);                                  /* two addresses are being tried */
    CHECK_INT(net.open, 2);
    teardown();
    setup("127.0.0.1");
    for (i = 0; i < 4; i++) start(&tickets[i]);
    pass_ms(5);
    serve(0, OK);                                  /* idle */
    serve(1, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");    /* collecting */
    settle();
    aioc_pool_cancel(&rig.pool, &tickets[2].exchange);                 /* draining, perhaps */
    CHECK_INT(rig.pool.open, 4);
    teardown();
}

/*------------------------------------------------------------------------------
 * Without memory
 *----------------------------------------------------------------------------*/

TEST(pool_pauses_an_answer_until_there_is_memory)
{
    ticket t;
    size_t normal;
    setup("127.0.0.1");
    round_trip(&t);
    start(&t);
    settle();
    normal = heap.bytes;
    heap.bytes_max = normal + 150000;                  /* enough to put aside what came, not for the whole */
    serve_long(0, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", 200000);
    settle();
    CHECK_INT(t.calls, 0);
    CHECK_INT(net.sockets[0]->want, 0);             /* nothing more is read */
    CHECK(heap.bytes < heap.bytes_max);
    pass_ms(100);
    CHECK_INT(t.calls, 0);
    heap.bytes_max = 0;
    pass_ms(15);
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.body_len, 200000);
    CHECK_INT(rig.pool.idle_count, 1);
    round_trip(&t);
    CHECK_INT(net.count, 1);
    /* None comes. */
    start(&t);
    settle();
    heap.bytes_max = heap.bytes + 100000;
    serve_long(0, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", 20000);
    pass_ms(29900);
    CHECK_INT(t.calls, 0);
    pass_ms(200);
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.outcome.error, AIOCOSMOS_E_NOMEM);
    CHECK_STR(t.message, "127.0.0.1:8081: no memory for the answer");
    CHECK_INT(net.open, 0);
    teardown();
}

/* The server could not go on as long as nothing was read. */
TEST(pool_counts_a_pause_as_no_silence)
{
    ticket t;
    setup("127.0.0.1");
    round_trip(&t);
    start(&t);
    settle();
    heap.bytes_max = heap.bytes + 100000;
    serve_long(0, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", 20000);
    pass_ms(7000);
    CHECK_INT(aioc_pool_progress_us(&t.exchange), net.now_us);
    heap.bytes_max = 0;
    pass_ms(15);
    CHECK_INT(net.sockets[0]->want, AIOCOSMOS_READABLE);
    CHECK(net.now_us - aioc_pool_progress_us(&t.exchange) <= 15000);
    aioc_pool_cancel(&rig.pool, &t.exchange);
    teardown();
}

/* What came of it lies where all answers arrive, so another waits, too, though it needs no memory; it is not lost. */
TEST(pool_keeps_what_came_where_there_is_no_memory_at_all)
{
    static ticket tickets[2];
    int i;
    for (i = 0; i < 2; i++) {
        setup("127.0.0.1");
        start(&tickets[0]);
        start(&tickets[1]);
        pass_ms(5);
        heap.bytes_max = heap.bytes;
        serve_long(0, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", 60000);
        serve(1, OK);
        pass_ms(1000);
        if (i == 1) heap.bytes_max = 0;
        if (i == 1) serve_long(0, "", 140000);
        pass_ms(i == 1 ? 20 : 29100);
        CHECK_INT(tickets[0].status + tickets[1].status, i == 1 ? 400 : 200);
        CHECK_INT(tickets[0].outcome.error + tickets[1].outcome.error, i == 1 ? 0 : AIOCOSMOS_E_NOMEM);
        heap.bytes_max = 0;
        teardown();
    }
}

/* Answers of random sizes, chunked, of known length or until the end of their connection, in memory in which each fits
 * alone: all arrive, however they come. */
static uint64_t share_seed;

static uint32_t share_random(uint32_t below)
{
    share_seed = share_seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(share_seed >> 33) % below;
}

typedef struct share_answer { size_t size, sent; int kind; } share_answer;

/* The server says a little more. False: it has said all. */
static bool share_say(int fd, share_answer *a)
{
    static char text[40000];
    char head[96];
    world_socket *s = socket_at(fd);
    size_t n = 1 + share_random(30000);
    if (s->in_len - s->in_at > BYTES_MAX / 2) return true;
    if (a->sent == SIZE_MAX) return false;
    if (a->sent == 0) {
        if (a->kind == 0) snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", a->size);
        else if (a->kind == 1) snprintf(head, sizeof head, CHUNKED);
        else snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n\r\n");
        serve(fd, head);
    }
    if (n > a->size - a->sent) n = a->size - a->sent;
    memset(text, 'x', n);
    text[n] = '\0';
    if (a->kind == 1) {
        snprintf(head, sizeof head, "%zx\r\n", n);
        serve(fd, head);
    }
    serve(fd, text);
    if (a->kind == 1) serve(fd, "\r\n");
    a->sent += n;
    if (a->sent < a->size) return true;
    if (a->kind == 1) serve(fd, "0\r\n\r\n");
    if (a->kind == 2) hang_up(fd);
    a->sent = SIZE_MAX;
    return true;
}

/* How much memory the answers take at most, beyond what the connections do. 0: some did not arrive. */
static size_t share_run(const share_answer *answers, int count, size_t limit)
{
    static ticket tickets[8];
    static share_answer left[8];
    size_t before, most;
    int i, fd, rounds = 0, calls = 0;
    setup("127.0.0.1");
    rig.pool.options.body_max = 1 << 20;
    for (i = 0; i < count; i++) start(&tickets[i]);
    pass_ms(5);
    for (i = 0; i < count; i++) left[i] = answers[i];
    before = rig.memory.used - rig.memory.kept;
    rig.memory.max = before + limit;
    rig.memory.peak = before;
    net.receive_max = 1 + share_random(70000);
    while (calls < count && ++rounds < 4000) {
        for (fd = 0; fd < count; fd++)
            if (is_open(fd) && share_random(3)) share_say(fd, &left[fd]);
        pass_us(share_random(2) * 3000);
        for (i = calls = 0; i < count; i++) calls += tickets[i].calls;
    }
    most = rig.memory.peak - before;
    for (i = 0; i < count; i++)
        if (tickets[i].status != 200) most = 0;
    for (i = 0; i < count; i++)
        if (tickets[i].calls == 0) aioc_pool_cancel(&rig.pool, &tickets[i].exchange);
    teardown();
    return most;
}

TEST(pool_receives_every_answer_that_fits_alone)
{
    static share_answer answers[8];
    int round, i;
    for (round = 0; round < 60; round++) {
        int count = 2 + (int)(round % 7);
        size_t limit = 0;
        share_seed = (uint64_t)round + 1;
        for (i = 0; i < count; i++) {
            size_t least, low, high;
            answers[i].size = 1 + share_random(share_random(2) ? 400000 : 70000);
            answers[i].sent = 0;
            answers[i].kind = (int)share_random(3);
            /* The least memory in which it arrives alone, however it is cut, to 4 KiB. */
            for (low = 0, high = 2000000; high - low > 4096;) {
                int tries = 6;
                least = (low + high) / 2;
                while (tries > 0 && share_run(&answers[i], 1, least)) tries--;
                if (tries == 0) high = least;
                else low = least;
            }
            if (high > limit) limit = high;
        }
        /* Half a head that came first is kept, whoever has the turn: that much more may be needed. */
        limit += 1024u * (unsigned)count;
        if (!share_run(answers, count, limit + share_random(3) * 50000))
            test_fail(__FILE__, __LINE__, "round %d: not all of %d answers arrive in %zu bytes", round, count, limit);
    }
}

TEST(pool_pause_ends_by_cancel_reset_and_a_poller_that_refuses)
{
    ticket t;
    int way;
    for (way = 0; way < 3; way++) {
        setup("127.0.0.1");
        start(&t);
        pass_ms(2);
        heap.bytes_max = heap.bytes + 150000;
        serve_long(0, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", 20000);
        settle();
        if (way == 0) {
            CHECK(aioc_pool_cancel(&rig.pool, &t.exchange));
            CHECK_INT(net.open, 0);
        } else {
            if (way == 1) reset(0);
            else shaky_fail(CALL_WATCH, shaky.calls[CALL_WATCH] + 1, false, AIOCOSMOS_IO_LIMIT);
            heap.bytes_max = 0;
            pass_ms(20);
            CHECK_INT(t.outcome.error, way == 1 ? AIOCOSMOS_E_CONNECT : AIOCOSMOS_E_NOMEM);
            CHECK_INT(net.open, 0);
        }
        teardown();
    }
}

TEST(pool_without_memory_for_a_connection)
{
    static ticket tickets[2];
    setup("127.0.0.1");
    heap.bytes_max = 1;
    start(&tickets[0]);
    settle();
    CHECK_INT(tickets[0].calls, 1);
    CHECK_INT(tickets[0].outcome.error, AIOCOSMOS_E_NOMEM);
    CHECK_STR(tickets[0].message, "no memory for a connection");
    heap.bytes_max = 0;
    start(&tickets[0]);
    pass_ms(100);
    heap.bytes_max = 1;
    start(&tickets[1]);
    pass_ms(1000);
    CHECK_INT(tickets[1].calls, 0);                /* there is another: it waits for that */
    serve(asking(), OK);
    settle();
    serve(asking(), OK);
    settle();
    CHECK_INT(tickets[1].status, 200);
    teardown();
}

/* A scene with a name, refused and slow addresses, cut, large and cancelled answers; what fails in it may change, but
 * all of it ends, and nothing is left. */
static void scene(void)
{
    static ticket tickets[6];
    aiocosmos_address addresses[2];
    int i, rounds;
    for (i = 0; i < 6; i++) start(&tickets[i]);
    pass_ms(10);
    memset(addresses, 0, sizeof addresses);
    addresses[0].family = 6;
    addresses[1].family = 4;
    if (rig.questions) aioc_dns_answer(&rig.resolver, rig.question, addresses, 2, 60);
    for (rounds = 0; rounds < 400; rounds++) {
        pass_ms(10);
        if (rounds == 20) aioc_pool_cancel(&rig.pool, &tickets[5].exchange);
        for (i = 0; i < net.count; i++) {
            world_socket *s = net.sockets[i];
            if (!s->machine || !s->told || s->out_len < 40 || s->in_len > s->in_at) continue;
            s->out_len = 0;
            if (i % 3 == 0) serve_long(i, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", 200000);
            else if (i % 3 == 1) serve(i, CHUNKED "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n");
            else serve(i, OK);
        }
    }
    for (i = 0; i < 5; i++) CHECK_INT(tickets[i].calls, 1);
}

TEST(pool_survives_the_failure_of_every_allocation)
{
    unsigned long n, asked = 0, before;
    for (n = 0; n == 0 || n <= asked; n++) {
        rig_open(made_up(), "db.example");
        rig.memory.kept_max = 0;
        aioc_pool_open(&rig.pool);
        net.v6.delay_us = 400000;
        net.v6.io = 0;
        net.receive_max = 30000;
        before = heap.calls;
        if (n) heap_fail(&heap, n, 3);
        scene();
        if (n == 0) asked = heap.calls - before;
        teardown();
    }
    CHECK(asked > 10);
}

TEST(pool_survives_a_poller_that_refuses)
{
    unsigned long n;
    for (n = 1; n < 30; n++) {
        setup("localhost");
        net.v6.io = 0;
        net.v6.delay_us = 300000;
        net.room = 10;
        shaky_fail(CALL_WATCH, shaky.calls[CALL_WATCH] + n, false, AIOCOSMOS_IO_LIMIT);
        {
            static ticket tickets[3];
            int i, fd;
            for (i = 0; i < 3; i++) start(&tickets[i]);
            for (i = 0; i < 30; i++) {
                pass_ms(50);
                for (fd = 0; fd < net.count; fd++) {
                    world_socket *s = net.sockets[fd];
                    if (!s->machine) continue;
                    s->room = 100;
                    if (s->told && s->out_len >= 40 && s->in_at == s->in_len) s->out_len = 0, serve(fd, OK);
                }
            }
            for (i = 0; i < 3; i++) CHECK_INT(tickets[i].calls, 1);
        }
        teardown();
    }
}

/*------------------------------------------------------------------------------
 * Anything, at any time
 *----------------------------------------------------------------------------*/

#define CROWD 24

static ticket crowd[CROWD];

static bool in_pool(const aioc_pool_exchange *exchange)
{
    return exchange->queued || exchange->connection;
}
static int started[CROWD], cancelled[CROWD];

static void crowd_then(ticket *t)
{
    size_t i = random_below(CROWD), self = (size_t)(t - crowd);
    CHECK_INT(t->calls + cancelled[self], started[self]);
    if (random_below(3) == 0 && in_pool(&crowd[i].exchange)) {
        aioc_pool_cancel(&rig.pool, &crowd[i].exchange);
        cancelled[i]++;
    }
    if (random_below(3) == 0 && !in_pool(&t->exchange)) {
        aioc_pool_start(&rig.pool, &t->exchange);
        started[self]++;
    }
}

static void mischief(int fd)
{
    static const char *const answers[] = {
        OK, OK, OK, OK "x", CHUNKED "1\r\nx\r\n1\r\ny\r\n0\r\n\r\n", "garbage",
        "HTTP/1.1 200 OK\r\nContent-Le", "ngth: 2\r\n\r\nok", "HTTP/1.0 200 OK\r\n\r\nend",
        "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 429 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    };
    world_socket *s = net.sockets[fd];
    switch (random_below(40)) {
    case 0: s->closed = true; break;
    case 1: s->broken = AIOCOSMOS_IO_CLOSED; break;
    case 2: s->room = random_below(60); break;
    case 3:
        if (s->in_len + 90000 < BYTES_MAX) serve_long(fd, "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", 90000);
        break;
    case 4: serve(fd, answers[random_below(sizeof answers / sizeof answers[0])]); break;
    default:
        if (s->out_len > 0 && s->in_at == s->in_len && s->in_len + 1000 < BYTES_MAX) {
            s->out_len = 0;
            serve(fd, answers[random_below(sizeof answers / sizeof answers[0])]);
        }
    }
}

TEST(pool_ends_everything_once_whatever_happens)
{
    int run, round;
    size_t i;
    for (run = 1; run <= 120; run++) {
        seed = 0x9e3779b97f4a7c15u * (uint64_t)run;
        rig_open(made_up(), random_below(2) ? "localhost" : "127.0.0.1");
        rig.pool.options.connections_max = (uint32_t)(1 + random_below(8));
        aioc_pool_open(&rig.pool);
        net.receive_max = random_below(2) ? SIZE_MAX : 1 + random_below(40000);
        net.batch_max = (int)(1 + random_below(8));
        for (i = 0; i < CROWD; i++) {
            fill(&crowd[i])->then = crowd_then;
            started[i] = cancelled[i] = 0;
        }
        for (round = 0; round < 400 && net.count < 1000; round++) {
            int fd;
            net.v4.io = random_below(10) ? 0 : random_below(2) ? AIOCOSMOS_IO_REFUSED : AIOCOSMOS_IO_AGAIN;
            net.v6.io = random_below(3) ? AIOCOSMOS_IO_UNREACHABLE : random_below(2) ? 0 : AIOCOSMOS_IO_AGAIN;
            net.v4.delay_us = random_below(3) ? random_below(20000) : 0;
            net.v6.delay_us = random_below(300000);
            net.room = random_below(4) ? SIZE_MAX : random_below(100);
            heap.bytes_max = random_below(10) ? 0 : heap.bytes + random_below(100000);
            for (i = random_below(6); i > 0; i--) {
                size_t who = random_below(CROWD);
                if (!in_pool(&crowd[who].exchange)) {
                    aioc_pool_start(&rig.pool, &crowd[who].exchange);
                    started[who]++;
                } else if (random_below(4) == 0) {
                    aioc_pool_cancel(&rig.pool, &crowd[who].exchange);
                    cancelled[who]++;
                }
            }
            if (random_below(30) == 0) aioc_pool_warm(&rig.pool, (uint32_t)random_below(10));
            for (i = random_below(8); i > 0; i--) step();
            for (fd = 0; fd < net.count; fd++) {
                if (is_open(fd) && net.sockets[fd]->told) mischief(fd);
            }
            net.now_us += random_below(20) ? random_below(20000) : random_below(3000000);
            CHECK(rig.pool.open + rig.pool.opening <= rig.pool.options.connections_max);
        }
        for (i = 0; i < CROWD; i++) {
            bool active = in_pool(&crowd[i].exchange);
            if (crowd[i].calls + cancelled[i] + active != started[i])
                test_fail(__FILE__, __LINE__, "run %d: %d calls, %d cancelled, %d started", run, crowd[i].calls,
                          cancelled[i], started[i]);
            if (active) aioc_pool_cancel(&rig.pool, &crowd[i].exchange);
        }
        CHECK(!rig.pool.queue.first && rig.pool.queued == 0);
        teardown();
    }
}

/*------------------------------------------------------------------------------
 * TLS: a BearSSL server at the other end of each fake socket
 *----------------------------------------------------------------------------*/

typedef struct tls_peer {
    br_ssl_server_context context;
    unsigned char buffer[BR_SSL_BUFSIZE_BIDI];
    size_t asked;                                  /* bytes of a request so far */
} tls_peer;

static struct {
    unsigned char der[32768];
    size_t der_len;
    br_x509_certificate chain[4];
    size_t chain_len;
    br_skey_decoder_context key;
    br_ssl_session_cache_lru cache;
    unsigned char cached[4096];
    tls_peer *peers[64];
    aioc_tls_trust trust;
    aioc_tls_config config;
    const char *answer;                            /* to each request; NULL: none */
    size_t answer_more;                            /* so many bytes of 'x' behind it */
    bool goodbye;                                  /* close_notify behind it */
} tls;

static void tls_take_der(void *user, const void *bytes, size_t len)
{
    (void)user;
    CHECK(tls.der_len + len <= sizeof tls.der);
    memcpy(tls.der + tls.der_len, bytes, len);
    tls.der_len += len;
}

static size_t tls_file(const char *name, char *out, size_t cap)
{
    char path[256];
    FILE *file;
    size_t len;
    snprintf(path, sizeof path, "%s/ec/%s", CERTS_DIR, name);
    file = fopen(path, "rb");
    if (!file) test_fail(__FILE__, __LINE__, "%s is missing: run tests/make-certs.sh %s", path, CERTS_DIR);
    len = fread(out, 1, cap, file);
    fclose(file);
    return len;
}

/* Appends the objects of a PEM file to the chain; returns where they begin. */
static size_t tls_pem(const char *name)
{
    static char text[65536];
    size_t len = tls_file(name, text, sizeof text), at = 0, from = tls.der_len;
    br_pem_decoder_context pem;
    br_pem_decoder_init(&pem);
    while (at < len) {
        at += br_pem_decoder_push(&pem, text + at, len - at);
        switch (br_pem_decoder_event(&pem)) {
        case BR_PEM_BEGIN_OBJ:
            tls.chain[tls.chain_len].data = tls.der + tls.der_len;
            br_pem_decoder_setdest(&pem, tls_take_der, NULL);
            break;
        case BR_PEM_END_OBJ:
            tls.chain[tls.chain_len].data_len = (size_t)(tls.der + tls.der_len - tls.chain[tls.chain_len].data);
            tls.chain_len++;
            break;
        default: break;
        }
    }
    return from;
}

/* A pool that speaks TLS to localhost, whose certificate is in this file. */
static void tls_setup(const char *certificate)
{
    static char text[65536];
    char why[256];
    size_t from;
    memset(&tls, 0, sizeof tls);
    rig_open(made_up(), "localhost");
    from = tls_pem("leaf.key");
    br_skey_decoder_init(&tls.key);
    br_skey_decoder_push(&tls.key, tls.der + from, tls.der_len - from);
    CHECK_INT(br_skey_decoder_key_type(&tls.key), BR_KEYTYPE_EC);
    tls.chain_len = 0;
    tls_pem(certificate);
    br_ssl_session_cache_lru_init(&tls.cache, tls.cached, sizeof tls.cached);
    from = tls_file("ca.pem", text, sizeof text);
    CHECK_INT(aioc_tls_bearssl.trust_open(&tls.trust, &rig.memory, text, from, why, sizeof why), 0);
    tls.config.table = &aioc_tls_bearssl;
    tls.config.trust = &tls.trust;
    tls.answer = OK;
    rig.pool.place.tls = &tls.config;
    aioc_pool_open(&rig.pool);
}

static void tls_teardown(void)
{
    size_t i;
    for (i = 0; i < 64; i++) free(tls.peers[i]);
    aioc_tls_bearssl.trust_close(&tls.trust, &rig.memory);
    teardown();
}

static br_ssl_engine_context *tls_peer_of(int fd)
{
    CHECK(fd < 64);
    if (!tls.peers[fd]) {
        tls_peer *peer = tls.peers[fd] = malloc(sizeof *peer);
        memset(peer, 0, sizeof *peer);
        br_ssl_server_init_full_ec(&peer->context, tls.chain, tls.chain_len, BR_KEYTYPE_EC,
                                   br_skey_decoder_get_ec(&tls.key));
        br_ssl_server_set_cache(&peer->context, &tls.cache.vtable);
        br_ssl_engine_set_buffer(&peer->context.eng, peer->buffer, sizeof peer->buffer, 1);
        br_ssl_engine_inject_entropy(&peer->context.eng, &fd, sizeof fd);
        CHECK(br_ssl_server_reset(&peer->context));
    }
    return &tls.peers[fd]->context.eng;
}

/* What the server has to send goes onto the wire. */
static bool tls_flush(int fd)
{
    br_ssl_engine_context *engine = tls_peer_of(fd);
    size_t len;
    unsigned char *from = br_ssl_engine_sendrec_buf(engine, &len);
    if (len == 0) return false;
    world_say(socket_at(fd), from, len);
    br_ssl_engine_sendrec_ack(engine, len);
    return true;
}

static void tls_say(int fd, const char *bytes, size_t len)
{
    br_ssl_engine_context *engine = tls_peer_of(fd);
    while (len > 0) {
        size_t room;
        unsigned char *to = br_ssl_engine_sendapp_buf(engine, &room);
        CHECK(room > 0);
        if (room > len) room = len;
        memcpy(to, bytes, room);
        br_ssl_engine_sendapp_ack(engine, room);
        br_ssl_engine_flush(engine, 0);
        while (tls_flush(fd)) continue;
        bytes += room;
        len -= room;
    }
}

static void tls_answer(int fd)
{
    static char text[BYTES_MAX];
    size_t len = strlen(tls.answer);
    memcpy(text, tls.answer, len);
    memset(text + len, 'x', tls.answer_more);
    tls_say(fd, text, len + tls.answer_more);
    if (!tls.goodbye) return;
    br_ssl_engine_close(tls_peer_of(fd));
    while (tls_flush(fd)) continue;
}

/* The server of one connection takes and says what it can. */
static bool tls_turn(int fd, size_t request_len)
{
    br_ssl_engine_context *engine = tls_peer_of(fd);
    world_socket *s = socket_at(fd);
    size_t len, used = 0, room;
    bool moved = false;
    while (used < s->out_len) {
        unsigned char *to = br_ssl_engine_recvrec_buf(engine, &room);
        if (room == 0) break;
        if (room > s->out_len - used) room = s->out_len - used;
        memcpy(to, s->out + used, room);
        used += room;
        br_ssl_engine_recvrec_ack(engine, room);
        while (tls_flush(fd)) continue;
        br_ssl_engine_recvapp_buf(engine, &len);
        if (len == 0) continue;
        br_ssl_engine_recvapp_ack(engine, len);
        tls.peers[fd]->asked += len;
    }
    moved = used > 0;
    memmove(s->out, s->out + used, s->out_len - used);
    s->out_len -= used;
    while (tls.answer && tls.peers[fd]->asked >= request_len) {
        tls.peers[fd]->asked -= request_len;
        tls_answer(fd);
        moved = true;
    }
    return tls_flush(fd) || moved;
}

#define TLS_REQUEST (sizeof "POST /docs HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody" - 1)

/* Both sides go on until nothing moves. */
static void tls_settle(void)
{
    bool moved = true;
    int rounds = 0;
    while (moved) {
        int fd;
        CHECK(++rounds < 10000);
        moved = false;
        settle();
        for (fd = 0; fd < net.count && fd < 64; fd++) {
            if (is_open(fd) && net.sockets[fd]->told && tls_turn(fd, TLS_REQUEST)) moved = true;
        }
    }
}

static void tls_pass_ms(uint64_t ms)
{
    uint64_t until_us = net.now_us + ms * 1000u;
    tls_settle();
    while (net.now_us < until_us) {
        pass_to_next(&rig.reactor, until_us);
        tls_settle();
    }
}

TEST(pool_speaks_tls)
{
    static ticket tickets[3];
    aiocosmos_stats stats;
    int i;
    tls_setup("good.pem");
    start(&tickets[0]);
    tls_pass_ms(5);
    CHECK_STR(tickets[0].message, "");
    CHECK_INT(tickets[0].status, 200);
    CHECK_STR(tickets[0].text, "ok");
    CHECK(tickets[0].lent && tickets[0].outcome.sent && !tickets[0].outcome.reused);
    CHECK_INT(rig.pool.idle_count, 1);
    /* In steady state, one send and one receive, and no memory, as without TLS. */
    for (i = 0; i < 10; i++) {
        uint64_t allocations = rig.memory.allocations;
        net.sends = net.receives = net.sets = 0;
        start(&tickets[0]);
        tls_settle();
        CHECK_INT(tickets[0].status, 200);
        CHECK(tickets[0].outcome.reused);
        CHECK_INT(net.sends, 1);
        CHECK_INT(net.receives, 1);
        CHECK_INT(net.sets, 0);
        CHECK_INT(rig.memory.allocations, allocations);
    }
    /* Further connections resume the session of the first. */
    for (i = 0; i < 3; i++) start(&tickets[i]);
    tls_pass_ms(5);
    for (i = 0; i < 3; i++) CHECK_INT(tickets[i].status, 200);
    aioc_pool_get_stats(&rig.pool, &stats);
    CHECK_INT(stats.connections_open, 3);
    CHECK_INT(stats.tls_handshakes, 3);
    CHECK_INT(stats.tls_resumptions, 2);
    tls_teardown();
}

TEST(pool_reads_one_handshake_record_at_a_time)
{
    static ticket tickets[2];
    int records = 0, rounds = 0;
    tls_setup("good.pem");
    start(&tickets[0]);
    pass_ms(2);
    while (tickets[0].calls == 0) {
        int receives;
        size_t at;
        CHECK(++rounds < 100);
        tls_turn(newest(), TLS_REQUEST);
        aioc_reactor_poll(&rig.reactor, 0);
        aioc_reactor_tick(&rig.reactor);
        while (aioc_reactor_dispatch_one(&rig.reactor) || aioc_pool_work(&rig.pool)) continue;
        if (rig.pool.open) continue;
        receives = net.receives;
        at = net.sockets[newest()]->in_at;
        if (!aioc_stream_handshake_work(&rig.pool.place)) continue;
        CHECK(net.receives - receives <= 4);       /* header and rest of one record, perhaps of a one-byte one before */
        CHECK(net.sockets[newest()]->in_at > at);
        records++;
    }
    CHECK(records >= 2);                           /* hello to done in one record, finished */
    CHECK_INT(tickets[0].status, 200);
    tls_teardown();
}

TEST(pool_says_why_a_certificate_is_refused)
{
    static const struct { const char *file, *message; } refused[] = {
        { "expired.pem", "TLS with localhost:8081: the server's certificate 'localhost' expired on 2020-12-31" },
        { "wrong-name.pem", "TLS with localhost:8081: the server's certificate is not for localhost" },
        { "other.pem", "TLS with localhost:8081: nobody trusted issued the server's certificate" }
    };
    static ticket tickets[2];
    size_t i;
    for (i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        tls_setup(refused[i].file);
        start(&tickets[0]);
        start(&tickets[1]);
        tls_pass_ms(5);
        CHECK_INT(tickets[0].calls, 1);
        CHECK_INT(tickets[1].calls, 1);
        CHECK_INT(tickets[0].outcome.error, AIOCOSMOS_E_TLS);
        CHECK(strncmp(tickets[0].message, refused[i].message, strlen(refused[i].message)) == 0);
        CHECK(!tickets[0].outcome.sent);
        CHECK_INT(net.count, 1 + 1);               /* ::1 is unreachable here */
        tls_teardown();
    }
}

TEST(pool_makes_no_tls_session_without_randomness)
{
    ticket t;
    tls_setup("good.pem");
    net.entropy_io = AIOCOSMOS_IO_AGAIN;
    start(&t);
    tls_pass_ms(5);
    CHECK_INT(t.outcome.error, AIOCOSMOS_E_TLS);
    CHECK_STR(t.message, "TLS with localhost:8081: this machine has no randomness to give yet");
    tls_teardown();
}

TEST(pool_takes_large_answers_over_tls)
{
    ticket t;
    int way;
    for (way = 0; way < 3; way++) {
        tls_setup("good.pem");
        if (way == 1) net.receive_max = 3;
        if (way == 2) net.receive_max = 20000;
        tls.answer = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
        tls.answer_more = 100000;
        start(&t);
        tls_pass_ms(5);
        CHECK_INT(t.status, 200);
        CHECK_INT(t.body_len, 100000);
        CHECK_INT(rig.pool.idle_count, 1);
        tls_teardown();
    }
}

TEST(pool_sends_large_requests_over_tls_through_a_narrow_window)
{
    static char body[50001];
    ticket t;
    int rounds = 0;
    tls_setup("good.pem");
    tls.answer = NULL;
    memset(body, 'b', 50000);
    start(&t);
    t.body = body;
    tls_pass_ms(2);
    CHECK(tls.peers[newest()]->asked == strlen(t.head) + 50000);
    aioc_pool_cancel(&rig.pool, &t.exchange);
    tls_teardown();
    tls_setup("good.pem");
    start(&t);
    t.body = body;
    net.room = 700;
    pass_ms(2);
    while (t.calls == 0) {
        CHECK(++rounds < 10000);
        if (is_open(newest())) net.sockets[newest()]->room = 700;
        settle();
        if (t.calls == 0) tls_turn(newest(), strlen(t.head) + 50000);
        if (rounds == 30) CHECK(!rig.pool.connections->sent);
    }
    CHECK_INT(t.status, 200);
    CHECK(t.outcome.sent);
    CHECK_INT(rig.pool.idle_count, 1);
    CHECK_INT(net.sockets[newest()]->want, AIOCOSMOS_READABLE);
    tls_teardown();
}

/* When the step's time is over, as it always is here, a turn seals one record: to seal all of a document takes ms. */
TEST(pool_seals_a_large_request_in_pieces)
{
    static char body[50001];
    ticket t;
    int fd, pieces = 0;
    tls_setup("good.pem");
    memset(body, 'b', 50000);
    start(&t);
    tls_pass_ms(5);
    CHECK_INT(t.status, 200);
    start(&t);
    t.body = body;
    rig.reactor.until_us = 1;
    fd = newest();
    while (net.sockets[fd]->out_len < 50000) {
        size_t before = net.sockets[fd]->out_len;
        CHECK(aioc_reactor_dispatch_one(&rig.reactor) || aioc_pool_work(&rig.pool));
        CHECK(net.sockets[fd]->out_len > before && net.sockets[fd]->out_len - before < 17000);
        CHECK(!aioc_pool_sleeps(&rig.pool));
        CHECK_INT(aioc_reactor_poll(&rig.reactor, 0), 0);
        pieces++;
    }
    CHECK_INT(pieces, 4);
    while (t.calls == 0) {
        settle();
        if (t.calls == 0) tls_turn(fd, strlen(t.head) + 50000);
    }
    CHECK_INT(t.status, 200);
    tls_teardown();
}

TEST(pool_tells_the_end_of_a_tls_answer_from_a_cut)
{
    ticket t;
    int way;
    for (way = 0; way < 2; way++) {
        tls_setup("good.pem");
        tls.answer = "HTTP/1.0 200 OK\r\n\r\nup to the end";
        tls.goodbye = way == 0;
        start(&t);
        tls_pass_ms(2);
        if (way == 1) {
            CHECK_INT(t.calls, 0);
            hang_up(newest());
            settle();
        }
        CHECK_INT(t.calls, 1);
        CHECK_INT(t.outcome.error, way == 0 ? 0 : AIOCOSMOS_E_CONNECT);
        if (way == 0) CHECK_STR(t.text, "up to the end");
        CHECK_INT(net.open, 0);
        tls_teardown();
    }
}

TEST(pool_closes_an_idle_tls_connection_that_says_goodbye_or_anything_else)
{
    static const char *const texts[] = { OK, OK OK };
    ticket t;
    int way;
    for (way = 0; way < 4; way++) {
        tls_setup("good.pem");
        tls.answer = texts[way == 1];              /* 1: a second answer right behind, in the same record */
        tls.goodbye = way == 0;                    /* 0: close_notify right behind */
        start(&t);
        tls_pass_ms(2);
        CHECK_INT(t.calls, 1);
        CHECK_INT(t.status, 200);
        if (way >= 2) {
            CHECK_INT(rig.pool.idle_count, 1);
            if (way == 2) tls_say(newest(), "hello?", 6);
            else serve(newest(), "no TLS at all");
            settle();
        }
        CHECK_INT(net.open, 0);
        CHECK_INT(t.calls, 1);
        tls_teardown();
    }
}

TEST(pool_gives_up_a_handshake_that_is_cut_or_slow)
{
    static const char *const messages[] = {
        "TLS with localhost:8081: the server closed the connection instead of answering: does this port speak TLS?",
        "TLS with localhost:8081: the server closed the connection instead of answering: does this port speak TLS?",
        "TLS with localhost:8081: the server answered in plain HTTP: this port has no TLS",
        "TLS with localhost:8081: timed out after 5000 ms: does this port speak TLS?"
    };
    ticket t;
    int way;
    for (way = 0; way < 4; way++) {
        tls_setup("good.pem");
        start(&t);
        pass_ms(2);
        if (way == 0) hang_up(newest());
        if (way == 1) reset(newest());
        if (way == 2) serve(newest(), "HTTP/1.1 400 This is no TLS\r\n\r\n");
        if (way == 3) pass_ms(4997);
        if (way == 3) CHECK_INT(t.calls, 0);
        pass_ms(2);
        CHECK_INT(t.calls, 1);
        CHECK_INT(t.outcome.error, way == 2 ? AIOCOSMOS_E_TLS : AIOCOSMOS_E_CONNECT);
        CHECK_STR(t.message, messages[way]);
        CHECK_INT(t.outcome.tcp_us, 1000);
        CHECK_INT(t.outcome.queue_us, 0);
        if (way == 3) CHECK_INT(t.outcome.tls_us, 4999000);
        CHECK_INT(net.open, 0);
        tls_teardown();
    }
}

TEST(pool_drains_and_pauses_over_tls)
{
    ticket t;
    tls_setup("good.pem");
    start(&t);
    tls_pass_ms(2);
    CHECK_INT(t.calls, 1);
    tls.answer = "HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n";
    tls.answer_more = 40000;
    start(&t);
    settle();
    CHECK(aioc_pool_cancel(&rig.pool, &t.exchange));
    tls_settle();
    CHECK_INT(rig.pool.idle_count, 1);
    CHECK_INT(t.calls, 0);
    tls.answer = "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n";
    tls.answer_more = 200000;
    start(&t);
    settle();
    heap.bytes_max = heap.bytes + 100000;
    tls_settle();
    CHECK_INT(t.calls, 0);
    tls_pass_ms(100);
    CHECK_INT(t.calls, 0);
    heap.bytes_max = 0;
    tls_pass_ms(20);
    CHECK_INT(t.calls, 1);
    CHECK_INT(t.body_len, 200000);
    CHECK_INT(rig.pool.idle_count, 1);
    tls_teardown();
}

TEST(pool_survives_the_failure_of_every_allocation_over_tls)
{
    static ticket tickets[3];
    unsigned long n, asked = 0, before;
    int i;
    for (n = 0; n == 0 || n <= asked; n++) {
        tls_setup("good.pem");
        rig.memory.kept_max = 0;
        tls.answer = "HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n";
        tls.answer_more = 30000;
        before = heap.calls;
        if (n) heap_fail(&heap, n, 3);
        for (i = 0; i < 3; i++) start(&tickets[i]);
        tls_pass_ms(3000);
        for (i = 0; i < 3; i++) CHECK_INT(tickets[i].calls, 1);
        if (n == 0) asked = heap.calls - before;
        tls_teardown();
    }
    CHECK(asked > 5);
}

/* A session that fails in a way that the next one avoids. */
static struct { aioc_tls_table table; int bad, opened; } moody;

static aioc_tls_session *moody_open(aioc_mem *memory, const aioc_tls_config *config, aioc_tls_resumption *resumption,
                                    const char *host, int64_t wall_s, const unsigned char entropy[32])
{
    aioc_tls_session *session = aioc_tls_bearssl.open(memory, config, resumption, host, wall_s, entropy);
    moody.opened++;
    if (!session || moody.bad-- <= 0) return session;
    session->state = AIOC_TLS_FAILED;
    session->again = true;
    snprintf(session->why, sizeof session->why, "in a bad mood");
    return session;
}

TEST(pool_connects_again_at_once_where_that_helps)
{
    ticket t;
    int bad;
    for (bad = 1; bad <= 3; bad++) {
        tls_setup("good.pem");
        moody.table = aioc_tls_bearssl;
        moody.table.open = moody_open;
        moody.bad = bad;
        moody.opened = 0;
        tls.config.table = &moody.table;
        start(&t);
        tls_pass_ms(5);
        CHECK_INT(t.calls, 1);
        CHECK_INT(moody.opened, bad < 3 ? bad + 1 : 3);
        if (bad < 3) CHECK_INT(t.status, 200);
        else CHECK_STR(t.message, "TLS with localhost:8081: in a bad mood");
        tls_teardown();
    }
}

TEST(pool_of_a_forked_child_says_nothing)
{
    static ticket tickets[2];
    int sends, sets, i;
    tls_setup("good.pem");
    start(&tickets[0]);
    tls_pass_ms(5);
    tls.answer = NULL;
    start(&tickets[0]);
    start(&tickets[1]);
    tls_pass_ms(5);
    CHECK_INT(rig.pool.open, 2);
    memset(tickets, 0xee, sizeof tickets);         /* the operations are gone already */
    aioc_reactor_abandon(&rig.reactor);
    sends = net.sends;
    sets = net.sets;
    for (i = 0; i < net.count; i++) net.sockets[i]->want = 0;           /* the parent's poller keeps its own books */
    tls_teardown();
    CHECK_INT(net.sends, sends);
    CHECK_INT(net.sets, sets);
}

TEST(pool_says_goodbye_when_it_closes_a_tls_connection)
{
    ticket t;
    int fd;
    size_t len;
    tls_setup("good.pem");
    start(&t);
    tls_pass_ms(5);
    fd = newest();
    CHECK_INT(net.sockets[fd]->out_len, 0);
    net.sockets[fd]->room = 1000;
    aioc_stream_say_goodbye((aioc_stream *)rig.pool.idle.last);
    len = net.sockets[fd]->out_len;
    CHECK(len > 20 && len < 60);
    tls_turn(fd, TLS_REQUEST);
    CHECK_INT(br_ssl_engine_current_state(tls_peer_of(fd)) & BR_SSL_CLOSED, BR_SSL_CLOSED);
    CHECK_INT(br_ssl_engine_last_error(tls_peer_of(fd)), BR_ERR_OK);
    tls_teardown();
}

TEST(pool_ends_everything_once_whatever_happens_over_tls)
{
    static const char *const answers[] = {
        OK, OK, OK OK, "HTTP/1.0 200 OK\r\n\r\nto the end", "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n",
        "HTTP/1.1 429 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "garbage", NULL
    };
    int run, round, fd;
    size_t i;
    for (run = 1; run <= 12; run++) {
        seed = 0xd1b54a32d192ed03u * (uint64_t)run;
        tls_setup("good.pem");
        rig.pool.options.connections_max = (uint32_t)(1 + random_below(5));
        net.receive_max = random_below(2) ? SIZE_MAX : 1 + random_below(3000);
        for (i = 0; i < CROWD; i++) {
            fill(&crowd[i])->then = crowd_then;
            started[i] = cancelled[i] = 0;
        }
        for (round = 0; round < 150 && net.count < 60; round++) {
            net.room = random_below(4) ? SIZE_MAX : random_below(300);
            heap.bytes_max = random_below(8) ? 0 : heap.bytes + random_below(100000);
            for (i = random_below(5); i > 0; i--) {
                size_t who = random_below(CROWD);
                if (!in_pool(&crowd[who].exchange)) {
                    aioc_pool_start(&rig.pool, &crowd[who].exchange);
                    started[who]++;
                } else if (random_below(4) == 0) {
                    aioc_pool_cancel(&rig.pool, &crowd[who].exchange);
                    cancelled[who]++;
                }
            }
            for (i = random_below(12); i > 0; i--) step();
            for (fd = 0; fd < net.count; fd++) {
                world_socket *s = net.sockets[fd];
                if (!s->machine || !s->told) continue;
                size_t what = random_below(sizeof answers / sizeof answers[0]);
                tls.answer = answers[what];
                tls.answer_more = what == 4 ? 60000 : 0;
                tls.goodbye = what == 3 && random_below(2);
                if (s->in_len < 100000 && br_ssl_engine_current_state(tls_peer_of(fd)) != BR_SSL_CLOSED)
                    tls_turn(fd, TLS_REQUEST);
                switch (random_below(60)) {
                case 0: s->closed = true; break;
                case 1: s->broken = AIOCOSMOS_IO_CLOSED; break;
                case 2: serve(fd, "no record"); break;
                default: if (s->room < 100) s->room = random_below(3000);
                }
            }
            net.now_us += random_below(20) ? random_below(20000) : random_below(3000000);
        }
        for (i = 0; i < CROWD; i++) {
            bool active = in_pool(&crowd[i].exchange);
            CHECK_INT(crowd[i].calls + cancelled[i] + active, started[i]);
            if (active) aioc_pool_cancel(&rig.pool, &crowd[i].exchange);
        }
        tls_teardown();
    }
}

/*------------------------------------------------------------------------------
 * Real sockets
 *----------------------------------------------------------------------------*/

typedef struct real_client { int fd; size_t got; } real_client;

static struct { int listener, vacant, count; real_client clients[128]; uint16_t port; int requests; } real;

static void real_open(void)
{
    memset(&real, 0, sizeof real);
    real.listener = vacant_keep(0);
    CHECK(real.listener >= 0 && listen(real.listener, 128) == 0);
    fcntl(real.listener, F_SETFL, O_NONBLOCK);
    real.port = (uint16_t)vacant_port(real.listener);
}

static void real_close(void)
{
    while (real.count > 0) close(real.clients[--real.count].fd);
    close(real.listener);
    real.vacant = vacant_keep(real.port);
    CHECK(real.vacant >= 0);
}

/* Answers every request of `size` bytes that is there. */
static void real_serve(size_t size)
{
    static char bytes[65536];
    int fd, i;
    while ((fd = accept(real.listener, NULL, NULL)) >= 0) {
        CHECK(real.count < 128);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        real.clients[real.count].fd = fd;
        real.clients[real.count++].got = 0;
    }
    for (i = 0; i < real.count; i++) {
        real_client *c = &real.clients[i];
        ssize_t got = recv(c->fd, bytes, sizeof bytes, 0);
        if (got > 0) c->got += (size_t)got;
        for (; c->got >= size; c->got -= size) {
            real.requests++;
            CHECK(send(c->fd, OK, sizeof OK - 1, MSG_NOSIGNAL) == (ssize_t)sizeof OK - 1);
        }
    }
}

static int real_step(int wait_ms)
{
    int events;
    aioc_reactor_tick(&rig.reactor);
    while (aioc_pool_work(&rig.pool) || aioc_reactor_timer_run_one(&rig.reactor)) continue;
    CHECK_INT(aioc_reactor_poll(&rig.reactor, aioc_pool_has_work(&rig.pool) ? 0 : wait_ms), 0);
    events = rig.reactor.batch_count;
    aioc_reactor_tick(&rig.reactor);
    while (aioc_reactor_dispatch_one(&rig.reactor)) continue;
    aioc_stream_handshake_work(&rig.pool.place);
    return events;
}

TEST(pool_over_real_sockets)
{
    static ticket tickets[100];
    int i, rounds = 0, calls;
    uint64_t allocations = 0, sent;
    rig_open(&aioc_platform_system, "127.0.0.1");
    real_open();
    rig.pool.place.port = real.port;
    aioc_pool_open(&rig.pool);
    for (i = 0; i < 100; i++) {
        start(&tickets[i]);
        tickets[i].again = 49;
    }
    do {
        CHECK(++rounds < 100000);
        real_step(0);
        real_serve(strlen(tickets[0].head) + 4);
        for (calls = i = 0; i < 100; i++) calls += tickets[i].calls;
        if (calls < 2500) allocations = rig.memory.allocations;
    } while (calls < 5000);
    CHECK_INT(real.requests, 5000);
    CHECK_INT(rig.memory.allocations, allocations);
    CHECK(real.count <= 100);
    for (i = 0; i < 100; i++) CHECK_INT(tickets[i].status, 200);
    sent = rig.pool.place.bytes_sent;
    CHECK_INT(sent, 5000 * (strlen(tickets[0].head) + 4));
    /* The server goes: every connection is closed before it is used again, and the next exchange hears that nobody is
     * there. */
    real_close();
    while (rig.pool.open > 0) {
        CHECK(++rounds < 200000);
        real_step(100);
    }
    start(&tickets[0]);
    while (tickets[0].calls == 0) {
        CHECK(++rounds < 300000);
        real_step(100);
    }
    CHECK_INT(tickets[0].outcome.error, AIOCOSMOS_E_CONNECT);
    CHECK(strstr(tickets[0].message, "refused: nobody listens there") != NULL);
    close(real.vacant);
    teardown();
}
