/* sim_net.h: the network of a simulation, played in world.h, and the emulator's core behind it.
 *
 * Each connection is two directions with a latency, a rate and a window; what is sent is cut into packets, which arrive
 * later, late, or never. A connection may be refused, reset on one side or both, fall silent in one direction, or be
 * closed by the server because it idles. Whatever crosses a connection is read along: which operations' requests were
 * handed to send(), and which reached the server, is known exactly. */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "sim_world.h"

#define SIM_PORT       8081
#define SIM_DNS_PORT   53
#define SIM_HOST_NAME  "sim.example"
#define SIM_SOCKETS    65536             /* of one run */
#define SIM_BASE_MS    INT64_C(1795228304000)              /* the server's clock when a run begins */
#define SIM_NOT_YET    UINT64_MAX

/*------------------------------------------------------------------------------
 * A request that is read along
 *----------------------------------------------------------------------------*/

typedef struct sim_request {
    aiocosmos_str head, body;
    long op;                             /* whose: what "x-sim-op: 12" or #12# in the body says; -1: nobody's */
    bool batch;                          /* of many: each has its own #12# */
} sim_request;

typedef struct sim_reader {              /* of one direction of one connection */
    char  *bytes;
    size_t len, cap;
    size_t head_len, body_len;           /* of the request at hand; head_len 0: its head is not all there */
} sim_reader;

static aiocosmos_str sim_header(aiocosmos_str head, const char *name)
{
    aiocosmos_str line, wanted = aioc_mem_str(name);
    const char *at = head.ptr, *end = head.ptr + head.len, *stop;
    for (; at < end; at = stop + 1) {
        stop = (const char *)memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        line = emu_str(at, (size_t)(stop - at));
        /* Most lines begin with another letter: that is looked at first. */
        if (line.len < wanted.len || (*at | 32) != *name || !aioc_mem_same_nocase(emu_str(at, wanted.len), wanted))
            continue;
        line = aioc_text_behind(line, wanted.len);
        return line.len && line.ptr[line.len - 1] == '\r' ? emu_str(line.ptr, line.len - 1) : line;
    }
    return emu_str("", 0);
}

static long sim_number(aiocosmos_str text)
{
    uint64_t number;
    return aioc_text_parse_u64(text, &number) ? (long)number : -1;
}

/* The next #12# of a text, which is then what follows it. */
static long sim_next_marker(aiocosmos_str *text)
{
    const char *mark;
    size_t at = 0, end;
    for (; at < text->len && (mark = (const char *)memchr(text->ptr + at, '#', text->len - at)) != NULL; at++) {
        at = (size_t)(mark - text->ptr);
        for (end = at + 1; end < text->len && text->ptr[end] >= '0' && text->ptr[end] <= '9'; end++) continue;
        if (end < text->len && end > at + 1 && text->ptr[end] == '#') {
            long number = sim_number(emu_str(text->ptr + at + 1, end - at - 1));
            *text = emu_str(text->ptr + end + 1, text->len - end - 1);
            return number;
        }
    }
    return -1;
}

static long sim_marker(aiocosmos_str text)
{
    return sim_next_marker(&text);
}

/* Reads along up to the end of a request; returns how many bytes that is. *whole: request is one, until the next
 * call. */
static size_t sim_read_along(sim_reader *reader, const char *bytes, size_t len, bool *whole, sim_request *request)
{
    size_t used = 0;
    *whole = false;
    while (used < len && !*whole) {
        const char *from = bytes + used, *line = reader->head_len ? NULL : memchr(from, '\n', len - used);
        size_t left = reader->head_len ? reader->head_len + reader->body_len - reader->len : SIZE_MAX;
        size_t take = line ? (size_t)(line + 1 - from) : left < len - used ? left : len - used;
        world_append(&reader->bytes, &reader->len, &reader->cap, from, take);
        used += take;
        if (!reader->head_len && reader->len >= 4 && memcmp(reader->bytes + reader->len - 4, "\r\n\r\n", 4) == 0) {
            long body = sim_number(sim_header(emu_str(reader->bytes, reader->len), "content-length: "));
            reader->head_len = reader->len;
            reader->body_len = body > 0 ? (size_t)body : 0;
        }
        *whole = reader->head_len && reader->len == reader->head_len + reader->body_len;
    }
    if (!*whole) return used;
    request->head = emu_str(reader->bytes, reader->head_len);
    request->body = emu_str(reader->bytes + reader->head_len, reader->body_len);
    request->op = sim_number(sim_header(request->head, "x-sim-op: "));
    request->batch = sim_header(request->head, "x-ms-cosmos-is-batch-request: ").len > 0;
    if (request->op < 0 && !request->batch) request->op = sim_marker(request->body);
    reader->len = reader->head_len = reader->body_len = 0;
    return used;
}

/*------------------------------------------------------------------------------
 * Sockets, the net
 *----------------------------------------------------------------------------*/

typedef struct sim_net sim_net;

typedef enum sim_role { SIM_TO_SERVER, SIM_TO_DNS } sim_role;

typedef struct sim_socket {
    world_socket made;                   /* the client's end */
    sim_net  *net;
    sim_role  role;
    unsigned  site;                      /* of the server's: see sim_net */
    bool      up_dead, down_dead;        /* that direction is silent for good */
    size_t    down_window, down_flight;
    uint64_t  latency_us, up_last_us, down_last_us;
    double    us_per_byte;
    sim_reader sent, arrived;
    /* The server's end: */
    aiocosmos_emulator_conn *conn;                      /* NULL: closed there */
    bool      shut;                      /* it said its last word, and ignores what comes */
    bool      armed;                     /* a whole request is there, and not served yet */
    long      armed_op;
    bool      idle_armed;
    uint64_t  active_us, idle_us;
    char     *question;                  /* of DNS over TCP */
    size_t    question_len, question_cap;
} sim_socket;

/* What the model wants to know. */
typedef struct sim_hooks {
    void (*sent)(void *user, world_machine *host, const sim_request *request);  /* its last byte was handed to send() */
    void (*arrived)(void *user, const sim_request *request);                   /* at the server, whole */
    void (*serving)(void *user, long op);                                      /* before and after the server works */
    void (*served)(void *user, long op);
    void *user;
} sim_hooks;

/* How the network is, in one run. Chances are per packet, call or connection. */
typedef struct sim_climate {
    double cut_send, cut_receive, block_send, cut_packet;
    double reset, dead, slow;
    double refuse, ignore, unreachable, no_socket, at_once;
    double subset;                       /* of the events that wait, only some are handed out */
    uint64_t latency_low_us, latency_high_us, slow_us, window_low;
    uint64_t idle_us;                    /* the server closes what idles so long; 0: never */
    double us_per_byte_max;
    bool no_ipv6, brittle_poller;
    bool black_holes;                    /* a connection falls silent both ways at once */
    double dns_lost, dns_failed, dns_truncated, no_entropy;
} sim_climate;

struct sim_net {
    sim_world *world;
    aiocosmos_emulator *core;
    sim_climate climate;
    sim_hooks hooks;
    uint64_t down_until_us;              /* the server cannot be reached */
    uint64_t stalled_until_us;           /* nothing arrives */
    uint64_t work;                       /* of any kind: what a busy loop lacks */
    unsigned site, named_site;           /* where the server is, 0 or 1, and where its name says that it is */
    uint64_t missed_us, told_us;         /* when somebody asked last where it is not, and first since told_us was 0 */
    bool     subset;                     /* of the events that wait now */
};

enum { SIM_DATA = 0, SIM_END = 1, SIM_RESET = AIOCOSMOS_IO_CLOSED };       /* what a packet brings */

static void sim_packet_arrives(world_packet *packet);

/* Puts something on its way: behind all that is under way in its direction. */
static void sim_put_packet(sim_socket *socket, bool up, int kind, const void *bytes, size_t len)
{
    sim_net *net = socket->net;
    sim_world *world = net->world;
    uint64_t *last_us = up ? &socket->up_last_us : &socket->down_last_us, at_us;
    double wire_us = (double)len * socket->us_per_byte;
    if (up ? socket->up_dead : socket->down_dead) return;
    at_us = world->made.now_us + socket->latency_us + sim_below(&world->net, socket->latency_us / 4 + 1);
    if (sim_chance(&world->net, net->climate.slow)) {
        at_us += sim_below(&world->net, net->climate.slow_us + 1);
        sim_cover(world, up ? SIM_request_delayed : SIM_answer_delayed);
    }
    if (at_us < net->stalled_until_us) at_us = net->stalled_until_us;
    if (at_us < *last_us) at_us = *last_us;
    at_us += (uint64_t)wire_us;
    *last_us = at_us;
    world_post(&socket->made, at_us, sim_packet_arrives, up, kind, bytes, len);
}

/*------------------------------------------------------------------------------
 * The server's end
 *----------------------------------------------------------------------------*/

static void sim_server_pump(sim_socket *socket);

static void sim_server_close(sim_socket *socket)
{
    if (socket->conn) aiocosmos_emulator_conn_close(socket->conn);
    socket->conn = NULL;
    socket->armed = false;
}

/* That a request was sent by a host, or, with none, that it has arrived: of each operation that is in it. */
static void sim_tell_of(sim_net *net, world_machine *host, sim_request *request)
{
    aiocosmos_str rest = request->body;
    do {
        if (request->batch && (request->op = sim_next_marker(&rest)) < 0) break;
        if (host && net->hooks.sent) net->hooks.sent(net->hooks.user, host, request);
        if (!host && net->hooks.arrived) net->hooks.arrived(net->hooks.user, request);
    } while (request->batch);
}

/* The client's end learns of a reset now. */
static void sim_client_reset(sim_socket *socket, bool drop_received)
{
    world_socket *made = &socket->made;
    made->broken = AIOCOSMOS_IO_CLOSED;
    if (drop_received) made->in_len = made->in_at = 0;
    if (world_standing(made) == AIOCOSMOS_IO_AGAIN) made->comes_to = AIOCOSMOS_IO_CLOSED;
}

static size_t sim_unread(const sim_socket *socket)
{
    return socket->made.in_len - socket->made.in_at;
}

/* Around whatever may make the emulator serve the request that has arrived. */
static void sim_server_before(sim_socket *socket, uint64_t *requests)
{
    sim_net *net = socket->net;
    *requests = aiocosmos_emulator_requests(net->core);
    if (socket->armed && net->hooks.serving) net->hooks.serving(net->hooks.user, socket->armed_op);
}

static void sim_server_after(sim_socket *socket, uint64_t requests)
{
    sim_net *net = socket->net;
    uint64_t served = aiocosmos_emulator_requests(net->core) - requests;
    if (served == 0) return;
    SIM_CHECK(net->world, served == 1 && socket->armed, "socket %d: the server saw %u requests where one was whole",
              socket->made.number, (unsigned)served);
    socket->armed = false;
    net->world->report->requests++;
    if (net->hooks.served) net->hooks.served(net->hooks.user, socket->armed_op);
}

static void sim_server_tick(world_net *made, void *what, uint64_t number)
{
    sim_socket *socket = (sim_socket *)what;
    uint64_t requests;
    (void)number;
    (void)made;
    if (!socket->conn) return;
    sim_server_before(socket, &requests);
    aiocosmos_emulator_conn_tick(socket->conn);
    sim_server_after(socket, requests);
    sim_server_pump(socket);
}

static void sim_server_gone(world_net *made, void *what, uint64_t number)
{
    (void)made;
    (void)number;
    sim_server_close((sim_socket *)what);
}

static void sim_server_idle(world_net *made, void *what, uint64_t number)
{
    sim_world *world = (sim_world *)made;
    sim_socket *socket = (sim_socket *)what;
    size_t len;
    (void)number;
    socket->idle_armed = false;
    if (!socket->conn || socket->shut) return;
    aiocosmos_emulator_conn_output(socket->conn, &len);
    if (len || socket->armed || socket->arrived.len || aiocosmos_emulator_conn_due_ms(socket->conn) >= 0 ||
        world->made.now_us < socket->active_us + socket->idle_us) {
        socket->idle_armed = true;
        sim_in(world, socket->idle_us, sim_server_idle, socket, 0);
        return;
    }
    sim_trace(world, "socket %d: the server closes, it was idle", socket->made.number);
    sim_cover(world, SIM_idle_closed);
    sim_put_packet(socket, false, SIM_END, NULL, 0);
    sim_server_close(socket);
}

/* Sends what can be sent, and acts on what the core wants of the connection. */
static void sim_server_pump(sim_socket *socket)
{
    sim_net *net = socket->net;
    sim_world *world = net->world;
    size_t len = 0, room;
    const char *bytes;
    uint64_t requests;
    int64_t due;
    while (socket->conn && !socket->shut && aiocosmos_emulator_conn_state(socket->conn) != AIOCOSMOS_EMULATOR_RESET) {
        bytes = aiocosmos_emulator_conn_output(socket->conn, &len);
        room = socket->down_window - socket->down_flight;
        if (sim_unread(socket) >= room || len == 0) break;
        room -= sim_unread(socket);
        if (len > room) len = room;
        if (sim_chance(&world->net, net->climate.cut_packet)) {
            len = (size_t)sim_between(&world->net, 1, len);
            sim_cover(world, SIM_answer_in_pieces);
        }
        sim_put_packet(socket, false, SIM_DATA, bytes, len);
        socket->down_flight += len;
        sim_server_before(socket, &requests);
        aiocosmos_emulator_conn_sent(socket->conn, len);
        sim_server_after(socket, requests);
        len = 0;
    }
    if (!socket->conn || socket->shut) return;
    due = aiocosmos_emulator_conn_due_ms(socket->conn);
    if (aiocosmos_emulator_conn_state(socket->conn) == AIOCOSMOS_EMULATOR_RESET) {
        sim_put_packet(socket, false, SIM_RESET, NULL, 0);
        sim_server_close(socket);
    } else if (aiocosmos_emulator_conn_state(socket->conn) == AIOCOSMOS_EMULATOR_CLOSING && due < 0 && len == 0) {
        sim_put_packet(socket, false, SIM_END, NULL, 0);
        socket->shut = true;             /* what comes is ignored for a while, so that the last word can be read */
        sim_in(world, 2000000, sim_server_gone, socket, 0);
    } else if (due >= 0 && due != INT64_MAX) {
        int64_t wait_ms = due - aiocosmos_emulator_now_ms(net->core);
        sim_in(world, (wait_ms > 0 ? (uint64_t)wait_ms * 1000u : 0u), sim_server_tick, socket, 0);
    }
}

/* A reset somewhere on the way: one end or both hear of it, and what is under way may be lost. */
static void sim_break(sim_socket *socket, const char *where)
{
    sim_world *world = socket->net->world;
    unsigned which = (unsigned)sim_below(&world->net, 4);
    sim_trace(world, "socket %d: reset %s, heard by %s", socket->made.number, where,
              which == 0 ? "the client" : which == 1 ? "the server" : "both");
    if (which != 0) sim_server_close(socket);
    if (which == 1) {
        socket->down_dead = true;        /* until the client sends: then it is told */
        sim_cover(world, SIM_server_forgot_connection);
        return;
    }
    if (which == 0) socket->down_dead = true;
    else socket->up_dead = socket->down_dead = true;
    sim_client_reset(socket, sim_chance(&world->net, 0.5));
}

/* The server has moved: what was one answers that it is none any more. */
static void sim_server_moved(sim_socket *socket)
{
    static const char answer[] =
        "HTTP/1.1 403 Forbidden\r\nx-ms-activity-id: 11111111-2222-3333-4444-555555555555\r\nx-ms-substatus: 3\r\n"
        "x-ms-request-charge: 0\r\nContent-Type: application/json\r\nContent-Length: 54\r\n\r\n"
        "{\"code\":\"Forbidden\",\"message\":\"not a write region now\"}";
    sim_cover(socket->net->world, SIM_request_met_failover);
    socket->net->missed_us = socket->net->world->made.now_us;
    if (!socket->net->told_us) socket->net->told_us = socket->net->missed_us;
    socket->down_flight += sizeof answer - 1;
    sim_put_packet(socket, false, SIM_DATA, answer, sizeof answer - 1);
}

static void sim_server_receive(sim_socket *socket, const char *bytes, size_t len)
{
    sim_net *net = socket->net;
    sim_world *world = net->world;
    size_t used;
    bool whole, any = false;
    uint64_t requests;
    sim_request request;
    if (!socket->conn) {
        if (socket->down_dead) socket->down_dead = socket->up_dead;
        if (socket->arrived.len == 0) sim_cover(world, SIM_request_met_idle_close);
        sim_put_packet(socket, false, SIM_RESET, NULL, 0);
        return;
    }
    if (socket->shut) return;
    socket->active_us = world->made.now_us;
    for (; len && socket->conn; bytes += used, len -= used) {
        used = sim_read_along(&socket->arrived, bytes, len, &whole, &request);
        if (whole) {
            SIM_CHECK(world, !socket->armed, "socket %d: a request came before the one before it was answered",
                      socket->made.number);
            any = true;
            socket->armed_op = request.op;
            sim_tell_of(net, NULL, &request);
        }
        if (!whole || socket->site != net->site) {
            if (whole) sim_server_moved(socket);
            continue;
        }
        socket->armed = true;
        sim_server_before(socket, &requests);
        aiocosmos_emulator_conn_feed(socket->conn, request.head.ptr, request.head.len + request.body.len);
        sim_server_after(socket, requests);
    }
    if (sim_chance(&world->net, net->climate.reset)) {
        sim_cover(world, any ? SIM_reset_after_request
                             : socket->arrived.len ? SIM_reset_amid_request : SIM_reset_before_request);
        sim_break(socket, any ? "behind a whole request" : "amid a request");
    }
    sim_server_pump(socket);
}

/*------------------------------------------------------------------------------
 * DNS (RFC 1035)
 *----------------------------------------------------------------------------*/

static size_t sim_dns_put(unsigned char *out, size_t at, bool six, unsigned last, uint32_t ttl)
{
    unsigned i, size = six ? 16 : 4;
    static const unsigned char four_net[4] = { 10, 0, 0, 0 };
    out[at++] = 0xC0;                    /* the name of the question */
    out[at++] = 12;
    out[at++] = 0;
    out[at++] = six ? 28 : 1;
    out[at++] = 0;
    out[at++] = 1;
    for (i = 0; i < 4; i++) out[at++] = (unsigned char)(ttl >> (24 - 8 * i));
    out[at++] = 0;
    out[at++] = (unsigned char)size;
    for (i = 0; i < size; i++) out[at++] = six ? (i == 0 ? 0xFD : 0) : four_net[i];
    out[at - 1] = (unsigned char)last;
    return at;
}

/* Returns the length of the answer, 0: none is given. */
static size_t sim_dns_answer(sim_net *net, const unsigned char *question, size_t len, bool tcp, unsigned char *out)
{
    sim_world *world = net->world;
    size_t at = 12;
    bool six, fails = sim_chance(&world->net, net->climate.dns_failed);
    SIM_CHECK(world, len > 16 && len < 400, "a DNS question of %zu bytes", len);
    while (at < len && question[at]) at += question[at] + 1u;
    at += 5;
    SIM_CHECK(world, at <= len, "a DNS question that ends inside");
    six = question[at - 3] == 28;
    memcpy(out, question, at);
    out[2] = 0x81;
    out[3] = fails ? 0x82 : 0x80;        /* server failure */
    memset(out + 6, 0, 6);
    if (fails) {
        sim_cover(world, SIM_name_dns_failed);
        return at;
    }
    if (!tcp && sim_chance(&world->net, net->climate.dns_truncated)) {
        sim_cover(world, SIM_name_dns_truncated);
        out[2] |= 0x02;
        return at;
    }
    sim_cover(world, SIM_name_by_dns);
    if (six && sim_chance(&world->net, 0.5)) return at;
    out[7] = 2;
    at = sim_dns_put(out, at, six, (unsigned)sim_between(&world->net, 1, 2) + 2 * net->named_site, 5);
    return sim_dns_put(out, at, six, sim_chance(&world->net, 0.3) ? 7 : 1 + 2 * net->named_site, 5);
}

static void sim_dns_receive(sim_socket *socket, const char *bytes, size_t len)
{
    unsigned char answer[1024];
    size_t size;
    if (socket->made.datagram) {
        if (sim_chance(&socket->net->world->net, socket->net->climate.dns_lost)) {
            sim_cover(socket->net->world, SIM_name_dns_lost);
            return;
        }
        size = sim_dns_answer(socket->net, (const unsigned char *)bytes, len, false, answer);
        sim_put_packet(socket, false, SIM_DATA, answer, size);
        return;
    }
    for (; len; bytes++, len--) {
        unsigned char *all;
        socket->question = (char *)world_grow(socket->question, socket->question_len, &socket->question_cap, 1);
        socket->question[socket->question_len++] = *bytes;
        all = (unsigned char *)socket->question;
        if (socket->question_len < 2 || socket->question_len < 2u + (size_t)(all[0] << 8 | all[1])) continue;
        size = sim_dns_answer(socket->net, all + 2, socket->question_len - 2, true, answer + 2);
        answer[0] = (unsigned char)(size >> 8);
        answer[1] = (unsigned char)size;
        sim_put_packet(socket, false, SIM_DATA, answer, size + 2);
        socket->question_len = 0;
    }
}

/*------------------------------------------------------------------------------
 * Packets
 *----------------------------------------------------------------------------*/

static void sim_client_receive(sim_socket *socket, world_packet *packet)
{
    if (packet->io != SIM_RESET) world_arrive(packet);
    else if (socket->made.machine && !socket->made.broken)
        sim_client_reset(socket, sim_chance(&socket->net->world->net, 0.5));
}

static void sim_server_hears(sim_socket *socket, const world_packet *packet)
{
    if (packet->io == SIM_DATA) {
        if (socket->role == SIM_TO_DNS) sim_dns_receive(socket, packet->bytes, packet->len);
        else sim_server_receive(socket, packet->bytes, packet->len);
    } else {
        sim_server_close(socket);
    }
}

static void sim_packet_arrives(world_packet *packet)
{
    sim_socket *socket = (sim_socket *)packet->socket;
    sim_net *net = socket->net;
    sim_world *world = net->world;
    bool lost = packet->up ? socket->up_dead : socket->down_dead;
    if (!packet->up && packet->io == SIM_RESET && !socket->made.broken) lost = false;
    if (!lost && !socket->made.datagram && packet->io == SIM_DATA && socket->role == SIM_TO_SERVER) {
        if (sim_chance(&world->net, net->climate.dead)) {
            sim_trace(world, "socket %d: silent %s", socket->made.number, packet->up ? "upwards" : "downwards");
            if (net->climate.black_holes) {
                sim_cover(world, SIM_black_hole);
                socket->up_dead = socket->down_dead = true;
            }
            sim_cover(world, packet->up ? SIM_half_open_up : SIM_half_open_down);
            *(packet->up ? &socket->up_dead : &socket->down_dead) = lost = true;
        } else if (sim_chance(&world->net, net->climate.reset)) {
            sim_cover(world, !packet->up ? SIM_reset_amid_answer
                                         : socket->arrived.len ? SIM_reset_amid_request : SIM_reset_before_request);
            sim_break(socket, packet->up ? "amid a request" : "amid an answer");
            lost = true;
            if (packet->up) socket->up_dead = true;        /* nothing arrives behind a gap */
        }
    }
    /* What is lost is never acknowledged: the window of a silent direction stays used. */
    if (!lost && packet->up && !socket->made.datagram) socket->made.room += packet->len;
    if (!lost && !packet->up) socket->down_flight -= packet->io == SIM_DATA && !socket->made.datagram ? packet->len : 0;
    if (!lost && packet->up) sim_server_hears(socket, packet);
    if (!lost && !packet->up) sim_client_receive(socket, packet);
}

/*------------------------------------------------------------------------------
 * The client's end: what becomes of its connections and calls
 *----------------------------------------------------------------------------*/

static sim_world *sim_world_of(const world_machine *host)
{
    return (sim_world *)host->net;
}

static void sim_decide(sim_socket *socket, uint64_t error)
{
    sim_net *net = socket->net;
    sim_world *world = net->world;
    if (!error && socket->role == SIM_TO_SERVER && world->made.now_us < net->down_until_us) {
        error = 1;
        sim_cover(world, SIM_server_down);
    }
    socket->made.comes_to = error ? error == 1 ? AIOCOSMOS_IO_REFUSED : AIOCOSMOS_IO_UNREACHABLE : 0;
    if (error) sim_cover(world, error == 1 ? SIM_connect_refused : SIM_connect_unreachable);
    if (error || socket->role != SIM_TO_SERVER) return;
    socket->conn = aiocosmos_emulator_conn_open(net->core);
    SIM_CHECK(world, socket->conn, "the emulator has no memory for a connection");
    socket->active_us = world->made.now_us;
    if (!net->climate.idle_us) return;
    socket->idle_us = net->climate.idle_us + sim_below(&world->net, net->climate.idle_us + 1);
    socket->idle_armed = true;
    sim_in(world, socket->idle_us, sim_server_idle, socket, 0);
}

static void sim_connected(world_net *made, void *what, uint64_t error)
{
    sim_socket *socket = (sim_socket *)what;
    (void)made;
    if (socket->made.machine && socket->made.comes_to == AIOCOSMOS_IO_AGAIN) sim_decide(socket, error);
}

static size_t sim_window(sim_net *net)
{
    uint64_t low = net->climate.window_low;
    return (size_t)sim_magnitude(&net->world->net, low, low > 65536 ? low : 65536);
}

/* 10.0.0.1, .2 and fd00::1, ::2 are the server's, and .3, .4 and ::3, ::4 if it moves; .7 refuses, .9 never answers. */
static void sim_open_socket(world_socket *made)
{
    sim_socket *socket = (sim_socket *)made;
    sim_world *world = (sim_world *)made->net;
    sim_net *net = socket->net = world->network;
    sim_random *random = &world->net;
    unsigned last = made->peer.family == 6 ? made->peer.ip[15] : made->peer.ip[3];
    uint64_t error = 0;
    SIM_CHECK(world, made->number < SIM_SOCKETS, "sockets are opened without end");
    net->work++;
    if (made->peer.family == 6 && net->climate.no_ipv6) made->comes_to = AIOCOSMOS_IO_UNREACHABLE;
    else if (sim_chance(random, net->climate.no_socket)) {
        sim_cover(world, SIM_connect_out_of_sockets);
        made->comes_to = AIOCOSMOS_IO_LIMIT;
    }
    if (made->comes_to) return;
    socket->role = made->peer.port == SIM_DNS_PORT ? SIM_TO_DNS : SIM_TO_SERVER;
    socket->site = last == 3 || last == 4;
    socket->down_window = sim_window(net);
    socket->latency_us = sim_magnitude(random, net->climate.latency_low_us, net->climate.latency_high_us);
    socket->us_per_byte = (double)sim_below(random, 1000) / 1000.0 * net->climate.us_per_byte_max;
    if (made->datagram) return;
    made->room = sim_window(net);
    made->comes_to = AIOCOSMOS_IO_AGAIN;
    if (last == 7 || sim_chance(random, net->climate.refuse)) error = 1;
    else if (sim_chance(random, net->climate.unreachable)) error = 2;
    if (!error && socket->role == SIM_TO_SERVER && world->made.now_us >= net->down_until_us && last != 9 &&
        sim_chance(random, net->climate.at_once)) {
        sim_cover(world, SIM_connect_at_once);
        sim_decide(socket, 0);
    } else if (last == 9 || sim_chance(random, net->climate.ignore)) sim_cover(world, SIM_connect_ignored);
    else sim_in(world, 2 * socket->latency_us, sim_connected, socket, error);
}

/* What leaves the client, in packets. */
static void sim_send_bytes(world_socket *made, const char *bytes, size_t len)
{
    sim_socket *socket = (sim_socket *)made;
    sim_net *net = socket->net;
    sim_world *world = net->world;
    sim_request request;
    size_t at = 0, size;
    bool whole;
    while (socket->role == SIM_TO_SERVER && at < len) {
        at += sim_read_along(&socket->sent, bytes + at, len - at, &whole, &request);
        if (whole) sim_tell_of(net, made->machine, &request);
    }
    for (at = 0; at < len; at += size) {
        size = len - at;
        if (!made->datagram && sim_chance(&world->net, net->climate.cut_packet))
            size = (size_t)sim_between(&world->net, 1, size);
        sim_put_packet(socket, true, SIM_DATA, bytes + at, size);
    }
}

static void sim_window_opens(world_net *made, void *what, uint64_t number)
{
    (void)made;
    (void)number;
    sim_server_pump((sim_socket *)what);
}

static size_t sim_cut(world_socket *made, bool sends, size_t len)
{
    sim_socket *socket = (sim_socket *)made;
    sim_world *world = (sim_world *)made->net;
    const sim_climate *climate = &socket->net->climate;
    if (sends && sim_chance(&world->net, climate->block_send)) {
        sim_cover(world, SIM_send_blocked);
        return 0;
    }
    socket->net->work++;
    if (sim_chance(&world->net, sends ? climate->cut_send : climate->cut_receive)) {
        len = (size_t)sim_between(&world->net, 1, len);
        sim_cover(world, sends ? SIM_send_cut : SIM_receive_cut);
    }
    sim_spend(world, 1 + (sends ? len / 2000 : 0));
    if (!sends && socket->conn)
        sim_in(world, socket->latency_us, sim_window_opens, socket, 0);
    return len;
}

static void sim_hung_up(world_socket *made)
{
    sim_socket *socket = (sim_socket *)made;
    socket->net->work++;
    /* Unread bytes make a close a reset (RFC 2525, 2.17); to the server it is the same. */
    if (world_standing(made) == 0 && !made->datagram && !made->broken)
        sim_put_packet(socket, true, sim_unread(socket) ? SIM_RESET : SIM_END, NULL, 0);
    made->in_len = made->in_at = 0;
}

/* Events come in an order that changes, and with a climate's chance not all of them. */
static void sim_turn_to(world_machine *host)
{
    sim_net *net = sim_world_of(host)->network;
    sim_random *random = &net->world->net;
    host->first = host->count ? (size_t)sim_below(random, host->count) : 0;
    net->subset = sim_chance(random, net->climate.subset);
}

static bool sim_tells(world_socket *made, int count)
{
    sim_socket *socket = (sim_socket *)made;
    if (socket->net->subset && count && sim_chance(&socket->net->world->net, 0.5)) return false;
    if (made->closed && sim_unread(socket) && made->machine->tells_hang_ups)
        sim_cover(socket->net->world, SIM_hung_up_behind_answer);
    return true;
}

/*------------------------------------------------------------------------------
 * The table, where it differs
 *----------------------------------------------------------------------------*/

static uint64_t sim_monotonic_us(void *user_data)
{
    sim_world *world = sim_world_of((world_machine *)user_data);
    sim_spend(world, sim_below(&world->host, 3));
    return world->made.now_us;
}

static int64_t sim_server_ms(void *user)
{
    return SIM_BASE_MS + (int64_t)(((sim_world *)user)->made.now_us / 1000u);
}

static int sim_entropy(void *user_data, void *out, size_t len)
{
    sim_world *world = sim_world_of((world_machine *)user_data);
    unsigned char *at = (unsigned char *)out;
    if (sim_chance(&world->trouble, world->network->climate.no_entropy)) {
        sim_cover(world, SIM_entropy_failed);
        return AIOCOSMOS_IO_AGAIN;
    }
    while (len--) *at++ = (unsigned char)sim_next(&world->host);
    return 0;
}

/* Of the client's memory, which may fail. */
static int sim_poller_create(void *user_data, const aiocosmos_allocator *allocator, void **out)
{
    void *block = allocator->fn(NULL, 0, sizeof *allocator, allocator->user_data);
    if (!block) return AIOCOSMOS_IO_LIMIT;
    world_poller_create(user_data, allocator, out);
    memcpy(block, allocator, sizeof *allocator);
    *out = block;
    return 0;
}

static void sim_poller_destroy(void *user_data, void *poller)
{
    aiocosmos_allocator allocator;
    memcpy(&allocator, poller, sizeof allocator);
    allocator.fn(poller, sizeof allocator, 0, allocator.user_data);
    world_poller_destroy(user_data, NULL);
}

static int sim_poller_set(void *user_data, void *poller, intptr_t number, unsigned had, unsigned want, void *source)
{
    sim_world *world = sim_world_of((world_machine *)user_data);
    if (had == 0 && want != 0 && world->network->climate.brittle_poller && sim_chance(&world->net, 0.02))
        return AIOCOSMOS_IO_LIMIT;
    return world_poller_set(user_data, poller, number, had, want, source);
}

/* Lets time pass until one of the hosts has something to do, or until_us; nobody is woken exactly in time. */
static void sim_pass_time(sim_world *world, world_machine *const *hosts, size_t count, uint64_t until_us)
{
    world_pass_time(&world->made, hosts, count, until_us);
    if (world->made.now_us != until_us) return;
    sim_spend(world, sim_below(&world->host, 200));
    world_run_due(&world->made);
}

static int sim_poller_wait(void *user_data, void *poller, aiocosmos_event *events, int cap, int timeout_ms)
{
    world_machine *host = (world_machine *)user_data;
    sim_world *world = sim_world_of(host);
    sim_spend(world, 1);
    if (timeout_ms > 0) sim_pass_time(world, &host, 1, world->made.now_us + (uint64_t)timeout_ms * 1000u);
    return world_poller_wait(user_data, poller, events, cap, timeout_ms > 0 ? 0 : timeout_ms);
}

static intptr_t sim_poller_fd(void *user_data, void *poller)
{
    (void)user_data;
    (void)poller;
    return SIM_SOCKETS;
}

static intptr_t sim_poller_wake_fd(void *user_data, void *poller)
{
    (void)user_data;
    (void)poller;
    return SIM_SOCKETS + 1;
}

/*------------------------------------------------------------------------------
 * Birth and death
 *----------------------------------------------------------------------------*/

static void sim_host_init(world_machine *host, sim_net *net)
{
    aiocosmos_platform *platform = &host->platform;
    memset(host, 0, sizeof *host);
    world_machine_begin(host, &net->world->made);
    platform->monotonic_us = sim_monotonic_us;
    platform->entropy = sim_entropy;
    platform->poller_create = sim_poller_create;
    platform->poller_destroy = sim_poller_destroy;
    platform->poller_set = sim_poller_set;
    platform->poller_wait = sim_poller_wait;
    platform->poller_fd = sim_poller_fd;
    platform->poller_wake_fd = sim_poller_wake_fd;
}

static void sim_host_free(world_machine *host)
{
    free(host->sockets);
}

/* Every connection ends at once, as when the server's process does; what it has stored stays. */
static void sim_restart_server(sim_net *net)
{
    int i;
    for (i = 0; i < net->world->made.count; i++) {
        sim_socket *socket = (sim_socket *)net->world->made.sockets[i];
        if (!socket->conn) continue;
        sim_put_packet(socket, false, SIM_RESET, NULL, 0);
        sim_server_close(socket);
    }
}

/* Past the network: somebody else's request, an upsert where there is a key. Returns the answer's body, to be freed. */
static char *sim_server_does(sim_world *world, aiocosmos_emulator *core, const char *verb, const char *path,
                             const char *type, const char *link, const char *key, const char *body)
{
    char *got;
    size_t len, cap = strlen(body) + 1024 + (key ? strlen(key) : 0);
    char *request = (char *)malloc(cap);
    const char *answer;
    int64_t now_s = sim_server_ms(world) / 1000;
    aiocosmos_str signature = aioc_auth_sign(&core->signer, verb, type, aioc_mem_str(link), now_s);
    aiocosmos_str date = aioc_auth_signer_date(&core->signer, now_s);
    aiocosmos_emulator_conn *conn = aiocosmos_emulator_conn_open(core);
    SIM_CHECK(world, conn && request, "the emulator has no memory for a connection");
    snprintf(request, cap, "%s %s HTTP/1.1\r\nx-ms-version: 2020-07-15\r\nx-ms-date: %.*s\r\n"
             "x-ms-cosmos-sdk-supportedcapabilities: 1\r\nauthorization: %.*s\r\nContent-Length: %zu\r\n%s%s%s\r\n%s",
             verb, path, (int)date.len, date.ptr, (int)signature.len, signature.ptr, strlen(body),
             key ? "x-ms-documentdb-is-upsert: True\r\nx-ms-documentdb-partitionkey: " : "", key ? key : "",
             key ? "\r\n" : "", body);
    aiocosmos_emulator_conn_feed(conn, request, strlen(request));
    answer = aiocosmos_emulator_conn_output(conn, &len);
    SIM_CHECK(world, len > 12 && answer[9] == '2', "%s %s: %.*s", verb, path, (int)len, answer);
    got = (char *)calloc(len + 1, 1);
    if (!got) abort();
    memcpy(got, answer, len);
    answer = strstr(got, "\r\n\r\n") + 4;
    memmove(got, answer, strlen(answer) + 1);
    aiocosmos_emulator_conn_close(conn);
    free(request);
    return got;
}

static void sim_net_open(sim_net *net, sim_world *world, aiocosmos_emulator *core)
{
    static const world_servers servers = {
        sim_open_socket, NULL, sim_send_bytes, sim_hung_up, sim_cut, sim_turn_to, sim_tells
    };
    memset(net, 0, sizeof *net);
    net->world = world;
    net->core = core;
    world->network = net;
    world->made.servers = servers;
    world->made.socket_bytes = sizeof(sim_socket);
    world->made.wall_ms = SIM_BASE_MS;
    world->made.hosts = "127.0.0.1 localhost\n";
    world->made.config = "nameserver 10.0.0.53\nnameserver 10.0.0.54\n";
}

/* The hosts have closed their sockets. */
static void sim_net_close(sim_net *net)
{
    int i;
    for (i = 0; i < net->world->made.count; i++) {
        sim_socket *socket = (sim_socket *)net->world->made.sockets[i];
        sim_server_close(socket);
        free(socket->sent.bytes);
        free(socket->arrived.bytes);
        free(socket->question);
    }
}

#endif
