/* One connection, against a network and a clock made of a few arrays: how it comes to be, in every order in which names
 * and addresses may answer, and then its bytes, the same with TLS as without. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"
#include "texts.h"
#include "by_hand.h"

/*------------------------------------------------------------------------------
 * A stream and who owns it
 *----------------------------------------------------------------------------*/

static struct {
    aioc_mem memory;
    aiocosmos_allocator allocator;
    aioc_reactor reactor;
    aioc_dns resolver;
    aioc_stream_place place;
    aioc_stream stream;
    int opened, failed, error, readable, writable;
    bool again;
    char message[AIOC_STREAM_MESSAGE_MAX];
} rig;

static void note_opened(aioc_stream *stream)
{
    CHECK(stream == &rig.stream && stream->state == AIOC_STREAM_OPEN);
    rig.opened++;
}

static void note_failed(aioc_stream *stream, int error, const char *message, bool again)
{
    CHECK(stream == &rig.stream);
    rig.failed++;
    rig.error = error;
    rig.again = again;
    snprintf(rig.message, sizeof rig.message, "%s", message);
    aioc_stream_close(stream);
}

static bool note_readable(aioc_stream *stream) { (void)stream; rig.readable++; return true; }
static void note_writable(aioc_stream *stream) { (void)stream; rig.writable++; }

static void setup(const char *host)
{
    const aiocosmos_platform *platform = made_up();
    memset(&heap, 0, sizeof heap);
    memset(&rig, 0, sizeof rig);
    net.now_us = 1000000000u;
    net.batch_max = 64;
    net.v4.delay_us = net.v6.delay_us = 1000;
    net.config = "nameserver 10.0.0.53\n";
    rig.allocator.fn = heap_fn;
    aioc_mem_init(&rig.memory, &rig.allocator, 64 << 20);
    rig.allocator = aioc_mem_allocator(&rig.memory);
    CHECK_INT(aioc_reactor_open(&rig.reactor, platform, &rig.allocator), 0);
    aioc_dns_open(&rig.resolver, &rig.reactor, &rig.memory, NULL, NULL);
    rig.place.reactor = &rig.reactor;
    rig.place.memory = &rig.memory;
    rig.place.resolver = &rig.resolver;
    rig.place.host = host;
    rig.place.port = 8081;
    rig.place.connect_timeout_ms = 5000;
    rig.place.opened = note_opened;
    rig.place.failed = note_failed;
    rig.place.readable = note_readable;
    rig.place.writable = note_writable;
    aioc_stream_open(&rig.stream, &rig.place);
}

/* Closes all, and checks that nothing is left: no socket, no timer, no queue, no byte. */
static void teardown(void)
{
    if (!rig.failed) aioc_stream_close(&rig.stream);
    aioc_dns_close(&rig.resolver);
    CHECK_INT(rig.reactor.source_count, 0);
    CHECK(!rig.reactor.timers);
    CHECK(!rig.place.asking.first && !rig.place.asking.last);
    CHECK(!rig.place.handshakes.first && !rig.place.handshakes.last);
    CHECK_INT(net.open, 0);
    aioc_reactor_close(&rig.reactor);
    aioc_mem_close(&rig.memory);
    CHECK_INT(heap.bytes, 0);
}

/* A stream that is neither open nor over hears of something: an event, a timer, or an address that it asks for. */
static void awake(void)
{
    const aioc_stream *s = &rig.stream;
    if (rig.failed || s->state == AIOC_STREAM_OPEN) return;
    CHECK(s->limit.armed);
    if (s->state == AIOC_STREAM_RESOLVING) CHECK(s->queue == &rig.place.asking);
    if (s->state != AIOC_STREAM_CONNECTING) return;
    CHECK(s->race && (s->race->open > 0 || s->queue == &rig.place.asking));
    CHECK(s->race->next == s->race->count || s->race->stagger.armed);
}

static bool step(void)
{
    bool worked = false;
    aioc_reactor_tick(&rig.reactor);
    for (;;) {
        if (!aioc_reactor_dispatch_one(&rig.reactor) && !aioc_reactor_timer_run_one(&rig.reactor)) {
            if (!aioc_stream_wants_address(&rig.place)) break;
            aioc_stream_look_up(&rig.place);
        }
        awake();
        worked = true;
    }
    if (aioc_stream_handshake_work(&rig.place)) worked = true;
    CHECK_INT(aioc_reactor_poll(&rig.reactor, 0), 0);
    return worked || rig.reactor.batch_count > 0;
}

static void settle(void)
{
    int rounds = 0;
    while (step()) CHECK(++rounds < 100000);
}

/* An open stream that has something to read is readable for ever, so it may only be stepped, not settled. */
static void steps(int count)
{
    while (count-- > 0) step();
}

static void pass_ms(uint64_t ms)
{
    uint64_t until_us = net.now_us + ms * 1000u;
    settle();
    while (net.now_us < until_us) {
        pass_to_next(&rig.reactor, until_us);
        settle();
    }
}

enum { A = 1, AAAA = 28 };

/* The name server answers the question that was asked for this type with addresses: 10.0.0.N or ::N. count 0: there is
 * none of this family. */
static void dns(unsigned type, size_t count, unsigned n)
{
    size_t size = type == A ? 4 : 16, i;
    int fd;
    for (fd = 0; fd < net.count; fd++) {
        world_socket *s = net.sockets[fd];
        unsigned char out[512], record[12] = {0xC0, 12, 0, 0, 0, 1, 0, 0, 0, 60, 0, 0};
        size_t len = s->out_len;
        if (!s->machine || !s->datagram || len < 16) continue;
        if (aioc_text_load16be((unsigned char *)s->out + len - 4) != type) continue;
        memcpy(out, s->out, len);
        out[2] = 0x81, out[3] = 0x80, out[7] = (unsigned char)count;
        record[3] = (unsigned char)type;
        record[11] = (unsigned char)size;
        for (i = 0; i < count; i++) {
            unsigned char ip[16] = {0};
            if (type == A) ip[0] = 10;
            ip[size - 1] = (unsigned char)(n + i);
            memcpy(out + len, record, sizeof record);
            memcpy(out + len + sizeof record, ip, size);
            len += sizeof record + size;
        }
        world_say(s, out, len);
        return;
    }
    test_fail(__FILE__, __LINE__, "nobody has asked for type %u", type);
}

/* The addresses that were tried so far, in turn: "6:1 4:1 6:2". */
static const char *tried(void)
{
    static char text[200];
    int fd;
    text[0] = '\0';
    for (fd = 0; fd < net.count; fd++) {
        const aiocosmos_address *peer = &net.sockets[fd]->peer;
        if (peer->port != 8081) continue;
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d:%d", text[0] ? " " : "", peer->family,
                 peer->ip[peer->family == 4 ? 3 : 15]);
    }
    return text;
}

/*------------------------------------------------------------------------------
 * The race for an address: RFC 8305
 *----------------------------------------------------------------------------*/

TEST(stream_tries_every_address_within_a_short_time)
{
    setup("localhost");
    net.v6.io = AIOCOSMOS_IO_AGAIN;
    aioc_reactor_timer_start(&rig.reactor, &rig.stream.limit, net.now_us + 200000);
    pass_ms(99);
    CHECK_STR(tried(), "6:1");
    pass_ms(3);
    CHECK_STR(tried(), "6:1 4:1");
    CHECK_INT(rig.opened, 1);
    teardown();
}

TEST(stream_tries_addresses_side_by_side)
{
    /* ::1 first, which is silent; 127.0.0.1 after 250 ms. */
    setup("localhost");
    net.v6.io = AIOCOSMOS_IO_AGAIN;
    pass_ms(249);
    CHECK_STR(tried(), "6:1");
    pass_ms(3);
    CHECK_STR(tried(), "6:1 4:1");
    CHECK_INT(rig.opened, 1);
    CHECK_INT(net.open, 1);                        /* the loser is closed */
    CHECK_INT(rig.stream.took_us[AIOC_STREAM_CONNECTING], 251000);
    /* The next one knows the way. */
    aioc_stream_close(&rig.stream);
    memset(&rig.stream, 0, sizeof rig.stream);
    aioc_stream_open(&rig.stream, &rig.place);
    pass_ms(2);
    CHECK_STR(tried(), "6:1 4:1 4:1");
    CHECK_INT(rig.opened, 2);
    teardown();
    /* Refused, at once or later: no need to wait. */
    setup("localhost");
    net.v6.io = AIOCOSMOS_IO_REFUSED;
    net.v6.delay_us = 0;
    pass_ms(2);
    CHECK_STR(tried(), "4:1");
    CHECK_INT(rig.opened, 1);
    teardown();
    setup("localhost");
    net.v6.io = AIOCOSMOS_IO_REFUSED;
    net.v6.delay_us = 3000;
    pass_ms(2);
    CHECK_STR(tried(), "6:1");
    pass_ms(4);
    CHECK_INT(rig.opened, 1);
    teardown();
    /* The first answers late, but before the second. */
    setup("localhost");
    net.v6.delay_us = 251000;
    net.v4.delay_us = 100000;
    pass_ms(256);
    CHECK_STR(tried(), "6:1 4:1");
    CHECK_INT(rig.opened, 1);
    CHECK_INT(rig.place.latest.family, 6);
    CHECK_INT(net.open, 1);
    teardown();
}

/* RFC 8305, 3: AAAA that comes first is not kept waiting for A, whose addresses join the race. */
TEST(stream_dials_ipv6_at_once_and_lets_ipv4_join)
{
    setup("db.example");
    net.v6.io = AIOCOSMOS_IO_AGAIN;                /* silent */
    pass_ms(3);
    dns(AAAA, 3, 1);
    pass_ms(0);
    CHECK_STR(tried(), "6:1");
    CHECK_INT(rig.stream.took_us[AIOC_STREAM_RESOLVING], 3000);
    pass_ms(100);
    dns(A, 2, 1);
    pass_ms(149);
    CHECK_STR(tried(), "6:1");                     /* each has its start of 250 ms */
    net.v4.io = AIOCOSMOS_IO_AGAIN;
    pass_ms(1);
    CHECK_STR(tried(), "6:1 4:1");
    pass_ms(250);
    CHECK_STR(tried(), "6:1 4:1 6:2");             /* in turns (RFC 8305, 4) */
    net.v4.io = 0;
    pass_ms(251);
    CHECK_STR(tried(), "6:1 4:1 6:2 4:2");
    CHECK_INT(rig.opened, 1);
    CHECK_INT(rig.place.latest.family, 4);
    teardown();
}

/* Where A comes when all of AAAA have been tried long ago, it is tried at once. */
TEST(stream_has_nothing_to_wait_for_when_ipv4_comes_late)
{
    setup("db.example");
    net.v6.io = AIOCOSMOS_IO_AGAIN;
    settle();
    dns(AAAA, 1, 1);
    pass_ms(380);
    CHECK_STR(tried(), "6:1");
    dns(A, 1, 1);
    pass_ms(2);
    CHECK_STR(tried(), "6:1 4:1");
    CHECK_INT(rig.opened, 1);
    teardown();
}

/* A machine without IPv6 loses nothing by that: what fails at once waits for the other family. */
TEST(stream_without_ipv6_waits_for_ipv4)
{
    static const uint64_t delays_us[] = {0, 20000};
    size_t i;
    for (i = 0; i < 2; i++) {
        setup("db.example");
        net.v6.io = AIOCOSMOS_IO_UNREACHABLE;
        net.v6.delay_us = delays_us[i];
        settle();
        dns(AAAA, AIOC_DNS_FAMILY_MAX, 1);         /* however many addresses lead nowhere */
        pass_ms(200);
        CHECK_INT(rig.failed, 0);
        CHECK_INT(rig.stream.state, AIOC_STREAM_CONNECTING);
        dns(A, 1, 1);
        pass_ms(1);
        CHECK_INT(rig.opened, 1);
        CHECK_INT(rig.place.latest.family, 4);
        teardown();
    }
}

TEST(stream_fails_when_no_other_family_comes)
{
    setup("db.example");
    net.v6.io = AIOCOSMOS_IO_UNREACHABLE;
    settle();
    dns(AAAA, 1, 1);
    pass_ms(100);
    CHECK_INT(rig.failed, 0);
    dns(A, 0, 0);
    settle();
    CHECK_INT(rig.failed, 1);
    CHECK_INT(rig.error, AIOCOSMOS_E_CONNECT);
    CHECK_STR(rig.message, "connect to db.example ([::1]:8081) failed: the host cannot be reached (no route, firewall, "
              "no answer in time)");
    teardown();
    /* The name server says nothing more: its silence ends, or our patience. */
    setup("db.example");
    net.v6.io = AIOCOSMOS_IO_REFUSED;
    settle();
    dns(AAAA, 1, 1);
    pass_ms(2300);
    CHECK_INT(rig.failed, 0);
    pass_ms(200);
    CHECK_INT(rig.error, AIOCOSMOS_E_CONNECT);
    CHECK_STR(rig.message, "connect to db.example ([::1]:8081) refused: nobody listens there");
    teardown();
    setup("db.example");
    net.v6.io = AIOCOSMOS_IO_UNREACHABLE;
    aioc_reactor_timer_start(&rig.reactor, &rig.stream.limit, net.now_us + 1000000);
    settle();
    dns(AAAA, 1, 1);
    pass_ms(1000);
    CHECK_STR(rig.message, "connect to db.example ([::1]:8081) timed out after 5000 ms");
    teardown();
}

TEST(stream_waits_50_ms_for_ipv6)
{
    setup("db.example");
    net.v4.io = AIOCOSMOS_IO_AGAIN;
    settle();
    dns(A, 1, 1);
    pass_ms(49);
    CHECK_STR(tried(), "");
    pass_ms(1);
    CHECK_STR(tried(), "4:1");
    pass_ms(10);
    dns(AAAA, 1, 1);                               /* it joins, too */
    pass_ms(241);
    CHECK_STR(tried(), "4:1 6:1");
    CHECK_INT(rig.opened, 1);
    teardown();
    setup("db.example");
    settle();
    dns(A, 1, 1);
    pass_ms(20);
    dns(AAAA, 1, 1);
    pass_ms(0);
    CHECK_STR(tried(), "6:1");
    teardown();
}

/* Both answers in one batch: one list, nothing is dialled before it is whole. */
TEST(stream_takes_both_families_that_come_together)
{
    setup("db.example");
    net.v6.io = net.v4.io = AIOCOSMOS_IO_AGAIN;
    settle();
    dns(AAAA, 6, 1);
    dns(A, 6, 1);
    pass_ms(0);
    CHECK_STR(tried(), "6:1");
    CHECK(!rig.stream.queue);
    CHECK_INT(rig.stream.race->count, 12);
    pass_ms(4999);
    CHECK_STR(tried(), "6:1 4:1 6:2 4:2 6:3 4:3 6:4 4:4 6:5 4:5 6:6 4:6");
    pass_ms(1);
    CHECK_STR(rig.message, "connect to db.example (10.0.0.6:8081) timed out after 5000 ms");
    teardown();
}

/*------------------------------------------------------------------------------
 * Its ends
 *----------------------------------------------------------------------------*/

TEST(stream_closes_in_any_state)
{
    int way;
    for (way = 0; way < 6; way++) {
        setup("db.example");
        net.v6.io = way < 5 ? AIOCOSMOS_IO_AGAIN : 0;
        if (way > 0) settle();
        if (way > 1) dns(AAAA, way == 2 ? 3 : 1, 1), settle();
        if (way == 3) socket_at(newest())->decided_us = 0, net.v6.io = AIOCOSMOS_IO_UNREACHABLE;
        if (way > 3) dns(A, 1, 1), settle();
        if (way == 5) pass_ms(2), CHECK_INT(rig.opened, 1);
        teardown();
    }
}

TEST(stream_leaves_its_queue_from_the_middle)
{
    aioc_stream more[3];
    int i;
    for (i = 0; i < 3; i++) {
        setup("db.example");
        memset(more, 0, sizeof more);
        settle();
        aioc_stream_open(&more[0], &rig.place);
        aioc_stream_open(&more[1], &rig.place);
        aioc_stream_open(&more[2], &rig.place);
        CHECK(rig.place.asking.first == &more[2].node && rig.place.asking.last == &rig.stream.node);
        settle();                                  /* all have asked: the first is behind the others */
        aioc_stream_close(&more[i]);
        CHECK(!more[i].queue);
        aioc_stream_close(&more[(i + 1) % 3]);
        aioc_stream_close(&more[(i + 2) % 3]);
        CHECK(rig.place.asking.first == &rig.stream.node && rig.place.asking.last == &rig.stream.node);
        teardown();
    }
}

/* The name is asked anew in the middle of a race, and is no more. */
TEST(stream_fails_when_its_name_vanishes)
{
    setup("db.example");
    net.v6.io = AIOCOSMOS_IO_UNREACHABLE;
    net.v6.delay_us = 0;
    settle();
    dns(AAAA, 1, 1);
    settle();
    CHECK_INT(rig.stream.state, AIOC_STREAM_CONNECTING);
    aioc_dns_forget(&rig.resolver, "db.example");
    settle();
    CHECK_INT(rig.failed, 0);
    dns(AAAA, 0, 0);
    dns(A, 0, 0);
    settle();
    CHECK_INT(rig.error, AIOCOSMOS_E_CONNECT);
    teardown();
}

TEST(stream_says_which_part_took_too_long)
{
    setup("db.example");
    aioc_reactor_timer_start(&rig.reactor, &rig.stream.limit, net.now_us + 1000000);
    pass_ms(1000);
    CHECK_INT(rig.error, AIOCOSMOS_E_DNS);
    CHECK_STR(rig.message, "look up db.example:8081: timed out after 5000 ms");
    CHECK_INT(rig.stream.took_us[AIOC_STREAM_RESOLVING], 1000000);
    teardown();
    setup("127.0.0.1");
    net.v4.io = AIOCOSMOS_IO_AGAIN;
    pass_ms(5000);
    CHECK_INT(rig.error, AIOCOSMOS_E_CONNECT);
    CHECK_STR(rig.message, "connect to 127.0.0.1:8081 timed out after 5000 ms");
    teardown();
}

TEST(stream_fails_when_its_name_has_no_address)
{
    setup("db.example");
    settle();
    dns(AAAA, 0, 0);
    dns(A, 0, 0);
    settle();
    CHECK_INT(rig.error, AIOCOSMOS_E_DNS);
    CHECK(strstr(rig.message, "has neither an IPv4 nor an IPv6 address"));
    teardown();
}

TEST(stream_survives_the_failure_of_every_allocation)
{
    unsigned long n;
    bool whole = false;
    for (n = 1; !whole; n++) {
        unsigned long failed;
        CHECK(n < 100);
        setup("db.example");
        heap_fail(&heap, n, 1);
        pass_ms(2);
        if (!rig.failed && rig.stream.state == AIOC_STREAM_RESOLVING && net.count == 2) {
            dns(AAAA, 1, 1);
            dns(A, 1, 1);
        }
        pass_ms(6000);
        failed = heap.failed;
        heap_recover(&heap);
        CHECK_INT(rig.opened + rig.failed, 1);
        whole = failed == 0;
        CHECK(!whole || rig.opened);
        teardown();
    }
}

/*------------------------------------------------------------------------------
 * Bytes, in plain and over a TLS that is not BearSSL: a greeting each way, then records of a length and bytes that were
 * turned over; a record of length 0 says goodbye
 *----------------------------------------------------------------------------*/

#define TOY_MAX 200

typedef struct toy {
    aioc_tls_session base;
    unsigned char in[1 + TOY_MAX], plain[TOY_MAX], out[1 + TOY_MAX];
    size_t in_len, plain_len, plain_at, out_len;
} toy;

static int toy_trust_open(aioc_tls_trust *trust, aioc_mem *memory, const char *pem, size_t len, char *err, size_t cap)
{
    (void)memory, (void)pem, (void)len, (void)err, (void)cap;    /* it has a store of its own */
    memset(trust, 0, sizeof *trust);
    return 0;
}

static void toy_trust_close(aioc_tls_trust *trust, aioc_mem *memory) { (void)trust, (void)memory; }

static aioc_tls_session *toy_open(aioc_mem *memory, const aioc_tls_config *config, aioc_tls_resumption *resumption,
                                  const char *host, int64_t wall_s, const unsigned char entropy[32])
{
    toy *t = aioc_mem_zalloc(memory, sizeof *t);
    (void)resumption, (void)host, (void)wall_s, (void)entropy;
    if (!t) return NULL;
    t->base.table = config->table;
    t->out[0] = 'H';
    t->out_len = 1;
    return &t->base;
}

static void toy_close(aioc_mem *memory, aioc_tls_session *s) { aioc_mem_free(memory, s, sizeof(toy)); }

/* Up to the end of the record that is arriving; the greeting is one byte. */
static unsigned char *toy_room(aioc_tls_session *s, size_t *len)
{
    toy *t = (toy *)s;
    *len = 0;
    if (s->state > AIOC_TLS_OPEN || t->plain_at < t->plain_len) return NULL;
    *len = s->state == AIOC_TLS_HANDSHAKE || t->in_len == 0 ? 1 : 1u + t->in[0] - t->in_len;
    return t->in + t->in_len;
}

static void toy_received(aioc_tls_session *s, size_t len)
{
    toy *t = (toy *)s;
    size_t i;
    t->in_len += len;
    if (s->state == AIOC_TLS_HANDSHAKE) {
        s->state = t->in[0] == 'h' ? AIOC_TLS_OPEN : t->in[0] == 'c' ? AIOC_TLS_CLOSED : AIOC_TLS_FAILED;
        snprintf(s->why, sizeof s->why, "no toy");
        t->in_len = 0;
    } else if (t->in[0] == 0) {
        s->state = AIOC_TLS_CLOSED;
    } else if (t->in_len == 1u + t->in[0]) {
        for (i = 0; i < t->in[0]; i++) t->plain[i] = (unsigned char)~t->in[1 + i];
        t->plain_len = t->in[0];
        t->plain_at = t->in_len = 0;
    }
}

static unsigned char *toy_to_send(aioc_tls_session *s, size_t *len)
{
    *len = ((toy *)s)->out_len;
    return *len ? ((toy *)s)->out : NULL;
}

static void toy_sent(aioc_tls_session *s, size_t len)
{
    toy *t = (toy *)s;
    memmove(t->out, t->out + len, t->out_len - len);
    t->out_len -= len;
}

static size_t toy_write(aioc_tls_session *s, const void *bytes, size_t len, bool more)
{
    toy *t = (toy *)s;
    size_t i;
    (void)more;                                    /* a record for each */
    if (s->state != AIOC_TLS_OPEN || t->out_len > 0) return 0;
    if (len > TOY_MAX) len = TOY_MAX;
    for (i = 0; i < len; i++) t->out[1 + i] = (unsigned char)~((const unsigned char *)bytes)[i];
    t->out[0] = (unsigned char)len;
    t->out_len = 1 + len;
    return len;
}

static const unsigned char *toy_plain(aioc_tls_session *s, size_t *len)
{
    toy *t = (toy *)s;
    *len = t->plain_len - t->plain_at;
    return *len ? t->plain + t->plain_at : NULL;
}

static void toy_plain_used(aioc_tls_session *s, size_t len) { ((toy *)s)->plain_at += len; }
static void toy_ended(aioc_tls_session *s)
{
    if (s->state != AIOC_TLS_CLOSED) s->state = AIOC_TLS_FAILED;
    snprintf(s->why, sizeof s->why, "cut");
}

static void toy_shutdown(aioc_tls_session *s)
{
    toy *t = (toy *)s;
    if (t->out_len == 0) t->out[t->out_len++] = 0;
}

static const aioc_tls_table toy_table = {
    toy_trust_open, toy_trust_close, toy_open, toy_close, toy_room, toy_received, toy_to_send, toy_sent, toy_write,
    toy_plain, toy_plain_used, toy_ended, toy_shutdown
};

static aioc_tls_config toy_config = {&toy_table, NULL, false};

/* The peer says this, in records of at most `most` bytes. */
static void peer_says(const char *text, size_t most)
{
    char wire[4096];
    size_t at = 0, i, len = strlen(text);
    if (!rig.place.tls) {
        serve(0, text);
        return;
    }
    while (len > 0) {
        size_t n = len < most ? len : most;
        wire[at++] = (char)n;
        for (i = 0; i < n; i++) wire[at++] = (char)~text[i];
        text += n;
        len -= n;
    }
    CHECK(!memchr(wire, 0, at));
    wire[at] = '\0';
    serve(0, wire);
}

/* What the peer has heard, out of its records. */
static const char *heard(void)
{
    static char text[4096];
    const world_socket *s = net.sockets[0];
    size_t at, len = 0, i;
    if (!rig.place.tls) {
        snprintf(text, sizeof text, "%s", s->out);
        return text;
    }
    CHECK(s->out_len >= 1 && s->out[0] == 'H');
    for (at = 1; at < s->out_len; at += 1 + (unsigned char)s->out[at]) {
        size_t end = at + 1 + (unsigned char)s->out[at];
        for (i = at + 1; i < end && i < s->out_len; i++) text[len++] = (char)~s->out[i];
    }
    text[len] = '\0';
    return text;
}

static void open_one(bool tls)
{
    setup("127.0.0.1");
    if (tls) rig.place.tls = &toy_config;
    pass_ms(2);
    if (tls) {
        CHECK_INT(rig.stream.state, AIOC_STREAM_HANDSHAKE);
        serve(0, "h");
        settle();
    }
    CHECK_INT(rig.opened, 1);
    CHECK_INT(rig.failed, 0);
}

static char scratch[256];

/* Reads all that there is, `step_len` bytes a use at most. True: the stream goes on. */
static bool read_all(char *out, size_t step_len, ptrdiff_t *got, bool *complete, const char **why)
{
    *out = '\0';
    *complete = false;
    *why = NULL;
    for (;;) {
        size_t len;
        const char *data;
        *got = aioc_stream_receive(&rig.stream, scratch, sizeof scratch);
        if (*got <= 0) return *got == AIOCOSMOS_IO_AGAIN;
        while ((data = aioc_stream_peek(&rig.stream, &len)) != NULL) {
            if (len > step_len) len = step_len;
            strncat(out, data, len);
            aioc_stream_used(&rig.stream, len);
        }
        if (aioc_stream_at_end(&rig.stream, complete, why)) return false;
    }
}

TEST(stream_carries_bytes_with_and_without_tls)
{
    static const size_t receive_max[] = {1, 2, 7, SIZE_MAX}, windows[] = {1, 5, SIZE_MAX};
    const char *request = "a request that is longer than one record of ten bytes, and its body", *why;
    char answer[1200], expected[1200];
    size_t i, k;
    int tls;
    for (i = 0; i < sizeof expected - 1; i++) expected[i] = (char)('a' + i % 26);
    expected[sizeof expected - 1] = '\0';
    for (tls = 0; tls < 2; tls++) {
        for (i = 0; i < 4; i++) {
            for (k = 0; k < 3; k++) {
                aiocosmos_slice slices[2];
                size_t written = 0, len = strlen(request);
                ptrdiff_t got;
                bool complete, sent;
                int rounds = 0;
                open_one(tls);
                net.receive_max = receive_max[i];
                net.sockets[0]->room = 0;
                slices[0].ptr = request;
                slices[0].len = 11;
                slices[1].ptr = request + 11;
                slices[1].len = len - 11;
                sent = aioc_stream_write(&rig.stream, slices, len, &written);
                CHECK(!sent);
                while (!sent) {
                    CHECK(++rounds < 1000);
                    steps(1);                                /* what was ready before */
                    rig.writable = 0;
                    steps(2);
                    CHECK_INT(rig.writable, 0);              /* no room yet */
                    net.sockets[0]->room = windows[k];
                    steps(2);
                    CHECK(rig.writable > 0);
                    sent = aioc_stream_write(&rig.stream, slices, len, &written);
                    if (!sent) net.sockets[0]->room = 0;
                }
                CHECK_INT(written, len);
                CHECK(aioc_stream_write(&rig.stream, slices, len, &written));      /* nothing is left */
                CHECK_STR(heard(), request);
                CHECK(!(rig.stream.source.want & AIOCOSMOS_WRITABLE));
                peer_says(expected, 50);
                rig.readable = 0;
                steps(2);
                CHECK(rig.readable > 0);
                CHECK(read_all(answer, 3, &got, &complete, &why));
                CHECK_STR(answer, expected);
                teardown();
            }
        }
    }
}

TEST(stream_tells_an_end_from_a_cut)
{
    char answer[100];
    const char *why;
    ptrdiff_t got;
    bool complete;
    int tls;
    for (tls = 0; tls < 2; tls++) {
        open_one(tls);
        peer_says("the last", 5);
        hang_up(0);
        steps(2);
        CHECK(rig.stream.hung_up);
        CHECK(!read_all(answer, 100, &got, &complete, &why));
        CHECK_STR(answer, "the last");
        CHECK_INT(got, 0);
        CHECK_INT(aioc_stream_is_direct(&rig.stream), !tls);  /* so that is the end only without TLS */
        teardown();
        open_one(tls);
        reset(0);
        CHECK(!read_all(answer, 100, &got, &complete, &why));
        CHECK_INT(got, AIOCOSMOS_IO_CLOSED);
        teardown();
    }
    open_one(true);
    peer_says("the last", 5);
    world_say(socket_at(0), "", 1);                /* goodbye */
    CHECK(!read_all(answer, 100, &got, &complete, &why));
    CHECK_STR(answer, "the last");
    CHECK(got > 0 && complete && !why);
    teardown();
}

TEST(stream_receives_part_of_a_record_where_there_is_no_other_room)
{
    size_t cap, len;
    const char *data;
    open_one(true);
    peer_says("record", 6);
    while ((data = aioc_stream_peek(&rig.stream, &len)) == NULL) {
        char *room = aioc_stream_room(&rig.stream, &cap);
        CHECK(room && cap <= 6);
        CHECK_INT(aioc_stream_receive(&rig.stream, room, cap), (ptrdiff_t)cap);
        CHECK_INT(rig.stream.rest.len, 0);
    }
    CHECK_TEXT(data, len, "record");
    aioc_stream_used(&rig.stream, len);
    teardown();
    open_one(false);
    CHECK(!aioc_stream_room(&rig.stream, &cap));
    teardown();
}

TEST(stream_breaks_when_it_cannot_be_written_to)
{
    aiocosmos_slice slices[2] = {{"request", 7}, {"", 0}};
    size_t written = 0;
    int tls;
    for (tls = 0; tls < 2; tls++) {
        open_one(tls);
        reset(0);
        written = 0;
        CHECK(!aioc_stream_write(&rig.stream, slices, 7, &written));
        CHECK(rig.stream.broken);
        teardown();
    }
}

TEST(stream_says_goodbye_over_tls_only)
{
    open_one(true);
    aioc_stream_say_goodbye(&rig.stream);
    CHECK_INT(net.sockets[0]->out_len, 2);
    CHECK_INT(net.sockets[0]->out[1], 0);
    teardown();
    open_one(false);
    CHECK_INT(net.sockets[0]->out_len, 0);
    teardown();
}

/* What is sent and heard meanwhile does not make the handshake look shorter than it was. */
TEST(stream_books_the_time_of_a_handshake)
{
    setup("127.0.0.1");
    rig.place.tls = &toy_config;
    net.room = 0;
    pass_ms(101);
    net.sockets[0]->room = 1;
    pass_ms(100);
    CHECK_INT(net.sockets[0]->out_len, 1);
    serve(0, "h");
    pass_ms(100);
    CHECK_INT(rig.opened, 1);
    CHECK_INT(rig.stream.took_us[AIOC_STREAM_CONNECTING], 1000);
    CHECK_INT(rig.stream.took_us[AIOC_STREAM_HANDSHAKE], 200000);
    teardown();
}

TEST(stream_times_stay_in_their_range)
{
    CHECK_INT(aioc_stream_span(5, 7), 2);
    CHECK_INT(aioc_stream_span(7, 5), 0);
    CHECK_INT(aioc_stream_span(0, (uint64_t)UINT32_MAX + 1), UINT32_MAX);
}

TEST(stream_names_its_place)
{
    static const char *const hosts[] = {"127.0.0.1", "::1", "[::1]"}, *const places[] = {"127.0.0.1", "[::1]", "[::1]"};
    char expected[200];
    size_t i;
    for (i = 0; i < 3; i++) {
        setup(hosts[i]);
        rig.place.tls = &toy_config;
        pass_ms(2);
        serve(0, "c");
        settle();
        CHECK_INT(rig.error, AIOCOSMOS_E_CONNECT);
        snprintf(expected, sizeof expected, "TLS with %s:8081: the server closed it at once", places[i]);
        CHECK_STR(rig.message, expected);
        teardown();
        setup(hosts[i]);
        net.v4.io = net.v6.io = AIOCOSMOS_IO_REFUSED;
        pass_ms(2);
        snprintf(expected, sizeof expected, "connect to %s:8081 refused: nobody listens there", places[i]);
        CHECK_STR(rig.message, expected);
        teardown();
    }
}

TEST(stream_fails_with_its_handshake)
{
    setup("127.0.0.1");
    rig.place.tls = &toy_config;
    pass_ms(2);
    serve(0, "x");
    settle();
    CHECK_INT(rig.error, AIOCOSMOS_E_TLS);
    CHECK_STR(rig.message, "TLS with 127.0.0.1:8081: no toy");
    CHECK(!rig.again);
    teardown();
    setup("127.0.0.1");
    rig.place.tls = &toy_config;
    pass_ms(2);
    hang_up(0);
    settle();
    CHECK_INT(rig.error, AIOCOSMOS_E_CONNECT);
    CHECK_STR(rig.message, "TLS with 127.0.0.1:8081: cut");
    teardown();
    /* It lets us in, and goes: what is sent there would perhaps have been applied, and never be answered. */
    setup("127.0.0.1");
    rig.place.tls = &toy_config;
    pass_ms(2);
    serve(0, "h");
    hang_up(0);
    settle();
    CHECK_INT(rig.opened, 0);
    CHECK_INT(rig.error, AIOCOSMOS_E_CONNECT);
    CHECK_STR(rig.message, "TLS with 127.0.0.1:8081: the server closed it at once");
    teardown();
    setup("127.0.0.1");
    rig.place.tls = &toy_config;
    pass_ms(5000);
    CHECK_STR(rig.message, "TLS with 127.0.0.1:8081: timed out after 5000 ms: does this port speak TLS?");
    CHECK_INT(rig.stream.took_us[AIOC_STREAM_HANDSHAKE], 4999000);
    teardown();
    setup("127.0.0.1");
    rig.place.tls = &toy_config;
    net.entropy_io = AIOCOSMOS_IO_AGAIN;
    pass_ms(2);
    CHECK_STR(rig.message, "TLS with 127.0.0.1:8081: this machine has no randomness to give yet");
    teardown();
}

/* An address where a handshake came to nothing is tried last: the race is only for who connects first. */
TEST(stream_does_not_always_go_where_no_handshake_succeeds)
{
    setup("localhost");
    rig.place.tls = &toy_config;
    pass_ms(5000);
    CHECK_STR(tried(), "6:1");
    CHECK_INT(rig.failed, 1);
    rig.failed = 0;
    memset(&rig.stream, 0, sizeof rig.stream);
    aioc_stream_open(&rig.stream, &rig.place);
    pass_ms(2);
    CHECK_STR(tried(), "6:1 4:1");
    serve(newest(), "h");
    settle();
    CHECK_INT(rig.opened, 1);
    aioc_stream_close(&rig.stream);
    memset(&rig.stream, 0, sizeof rig.stream);
    aioc_stream_open(&rig.stream, &rig.place);
    pass_ms(2);
    CHECK_STR(tried(), "6:1 4:1 4:1");
    teardown();
}
