/* server.c: the core on sockets, with TLS or without: the library's own reactor waits. */
#include "server.h"

#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define EMU_LINGER_US   2000000u                           /* for a peer to read our last answer */
#define EMU_REST_US     100000u                            /* until room for connections is looked for again */

typedef struct peer_tls {
    br_ssl_server_context context;
    unsigned char room[BR_SSL_BUFSIZE_BIDI];
} peer_tls;

struct peer {                                              /* one connection */
    peer *prev, *next;
    server *owner;
    aioc_reactor_source source;
    aioc_reactor_timer timer;
    aioc_reactor_timer limit;                              /* of what is waited for */
    aiocosmos_emulator_wait waits;
    uint64_t since_us, moved_us;                           /* when it began, when the last byte came or went */
    aiocosmos_emulator_conn *conn;
    peer_tls *tls;
    peer *next_working;
    bool works;                                            /* is in the list of those */
    bool shut;                                             /* our side is: only the peer's end is waited for */
    bool ended;                                            /* the peer's side is */
};

/*------------------------------------------------------------------------------
 * MARK: - Connections
 *----------------------------------------------------------------------------*/

static void listen_again(server *s)
{
    int i;
    if (!s->resting) return;
    s->resting = false;
    aioc_reactor_timer_stop(&s->reactor, &s->rest);
    for (i = 0; i < s->listeners; i++) aioc_reactor_watch(&s->reactor, &s->listener[i], AIOCOSMOS_READABLE);
}

static void work_later(peer *p)
{
    if (p->works) return;
    p->works = true;
    p->next_working = NULL;
    *p->owner->last_working = p;
    p->owner->last_working = &p->next_working;
}

static void work_no_more(peer *p)
{
    peer **at = &p->owner->working;
    if (!p->works) return;
    p->works = false;
    while (*at != p) at = &(*at)->next_working;
    *at = p->next_working;
    if (!*at) p->owner->last_working = at;
}

static void peer_close(peer *p)
{
    server *s = p->owner;
    work_no_more(p);
    aioc_reactor_timer_stop(&s->reactor, &p->timer);
    aioc_reactor_timer_stop(&s->reactor, &p->limit);
    aioc_reactor_watch(&s->reactor, &p->source, 0);
    s->reactor.platform->socket_close(NULL, p->source.fd);
    *(p->prev ? &p->prev->next : &s->peers) = p->next;
    if (p->next) p->next->prev = p->prev;
    if (p->conn) aiocosmos_emulator_conn_close(p->conn);
    aioc_mem_free(&s->memory, p->tls, sizeof *p->tls);
    aioc_mem_free(&s->memory, p, sizeof *p);
    s->peer_count--;
    listen_again(s);
}

/* As a machine that died would: what was not delivered is lost, and the peer gets a reset. */
static void peer_reset(peer *p)
{
    struct linger none;
    none.l_onoff = 1;
    none.l_linger = 0;
    setsockopt((int)p->source.fd, SOL_SOCKET, SO_LINGER, &none, (socklen_t)sizeof none);
    peer_close(p);
}

static bool peer_send(peer *p, const void *bytes, size_t len, size_t *sent)
{
    aiocosmos_slice slice;
    ptrdiff_t got;
    slice.ptr = bytes;
    slice.len = len;
    *sent = 0;
    if (len == 0) return true;
    got = p->owner->reactor.platform->socket_send(NULL, p->source.fd, &slice, 1);
    if (got > 0) *sent = (size_t)got;
    if (got > 0) p->moved_us = p->owner->reactor.now_us;
    return got > 0 || got == AIOCOSMOS_IO_AGAIN;
}

/* Sends what can be sent. False: the connection is broken. */
static bool peer_send_plain(peer *p, bool *blocked)
{
    size_t len, sent;
    const char *bytes;
    *blocked = false;
    while ((bytes = aiocosmos_emulator_conn_output(p->conn, &len)) != NULL && len > 0) {
        if (!peer_send(p, bytes, len, &sent)) return false;
        aiocosmos_emulator_conn_sent(p->conn, sent);
        if (sent < len) {
            *blocked = true;
            return true;
        }
    }
    return true;
}

/* Moves bytes between the core, the TLS engine and the socket until one of them has to wait. */
static bool peer_pump_tls(peer *p, bool *blocked)
{
    br_ssl_engine_context *engine = &p->tls->context.eng;
    *blocked = false;
    for (;;) {
        unsigned state = br_ssl_engine_current_state(engine);
        unsigned char *room;
        const char *bytes;
        size_t len, have, sent;
        if (state & BR_SSL_SENDREC) {
            room = br_ssl_engine_sendrec_buf(engine, &len);
            if (!peer_send(p, room, len, &sent)) return false;
            if (sent) br_ssl_engine_sendrec_ack(engine, sent);
            if (sent == len) continue;
            *blocked = true;
        }
        if (state & BR_SSL_CLOSED) return *blocked;
        if ((state & BR_SSL_RECVAPP) && !aiocosmos_emulator_conn_full(p->conn)) {
            room = br_ssl_engine_recvapp_buf(engine, &len);
            aiocosmos_emulator_conn_feed(p->conn, (const char *)room, len);
            br_ssl_engine_recvapp_ack(engine, len);
            continue;
        }
        bytes = aiocosmos_emulator_conn_output(p->conn, &have);
        if ((state & BR_SSL_SENDAPP) && have > 0 && !*blocked) {
            room = br_ssl_engine_sendapp_buf(engine, &len);
            if (len > have) len = have;
            memcpy(room, bytes, len);
            br_ssl_engine_sendapp_ack(engine, len);
            aiocosmos_emulator_conn_sent(p->conn, len);
            aiocosmos_emulator_conn_output(p->conn, &have);
            if (have == 0 || len == 1) br_ssl_engine_flush(engine, 0);
            continue;
        }
        return true;
    }
}

/* Our last byte is on its way. The peer gets some time to read it: a socket that is closed while it still has something
 * to read resets the connection, and what was sent may be lost with it (RFC 9112, 9.6). False: the connection is
 * closed. */
static bool peer_shut(peer *p)
{
    bool blocked = false;
    if (p->tls) {
        br_ssl_engine_close(&p->tls->context.eng);
        peer_pump_tls(p, &blocked);                        /* close_notify: if the socket takes it now */
    }
    if (p->ended) {
        peer_close(p);
        return false;
    }
    p->shut = true;
    shutdown((int)p->source.fd, SHUT_WR);
    aioc_reactor_timer_start(&p->owner->reactor, &p->timer, p->owner->reactor.now_us + EMU_LINGER_US);
    return true;
}

/* Whether what arrives can be taken. */
static bool peer_wants(const peer *p)
{
    if (p->ended) return false;
    if (p->shut) return true;
    if (p->tls && !(br_ssl_engine_current_state(&p->tls->context.eng) & BR_SSL_RECVREC)) return false;
    return !aiocosmos_emulator_conn_full(p->conn);
}

/* Until when what is waited for has to come. A head has its time as a whole, or a byte now and then would hold a
 * descriptor for ever; a handshake has a head's. */
static uint64_t peer_limit_us(const peer *p)
{
    const server_options *options = p->owner->options;
    bool shaking = p->tls && !(br_ssl_engine_current_state(&p->tls->context.eng) & (BR_SSL_SENDAPP | BR_SSL_RECVAPP));
    size_t left;
    aiocosmos_emulator_conn_output(p->conn, &left);
    if (left > 0 || p->waits == AIOCOSMOS_EMULATOR_WAITS_FOR_BODY)
        return p->moved_us + (uint64_t)(options->body_s * 1e6);
    if (shaking || p->waits == AIOCOSMOS_EMULATOR_WAITS_FOR_HEAD)
        return p->since_us + (uint64_t)(options->head_s * 1e6);
    return p->moved_us + (uint64_t)(options->idle_s * 1e6);
}

/* Looks now and then, not at each byte. */
static void peer_on_limit(aioc_reactor_timer *timer)
{
    peer *p = (peer *)timer->owner;
    uint64_t limit_us = peer_limit_us(p);
    uint64_t now_us = p->owner->reactor.now_us;
    if (aiocosmos_emulator_conn_due_ms(p->conn) >= 0) limit_us = now_us + 1000000u;  /* we hold the answer back */
    if (limit_us <= now_us) peer_close(p);
    else aioc_reactor_timer_start(&p->owner->reactor, timer, limit_us);
}

static void peer_set_limit(peer *p)
{
    aiocosmos_emulator_wait waits = aiocosmos_emulator_conn_waits(p->conn);
    uint64_t limit_us;
    if (waits != p->waits) p->since_us = p->owner->reactor.now_us;
    p->waits = waits;
    limit_us = peer_limit_us(p);
    if (!p->limit.armed || limit_us < p->limit.due_us)
        aioc_reactor_timer_start(&p->owner->reactor, &p->limit, limit_us);
}

/* Goes on wherever the connection stands, and says what to wait for. The peer may be gone afterwards. */
static void peer_work(peer *p)
{
    server *s = p->owner;
    bool blocked = false;
    bool works;
    size_t left;
    int64_t due;
    unsigned want;
    aiocosmos_emulator_state state = aiocosmos_emulator_conn_state(p->conn);
    if (state == AIOCOSMOS_EMULATOR_RESET) {
        peer_reset(p);
        return;
    }
    if (!(p->tls ? peer_pump_tls(p, &blocked) : peer_send_plain(p, &blocked))) {
        peer_close(p);
        return;
    }
    state = aiocosmos_emulator_conn_state(p->conn);
    aiocosmos_emulator_conn_output(p->conn, &left);
    due = aiocosmos_emulator_conn_due_ms(p->conn);
    works = aiocosmos_emulator_conn_waits(p->conn) == AIOCOSMOS_EMULATOR_WORKS;
    if (works && p->ended) {                               /* nobody waits for what this would be */
        peer_close(p);
        return;
    }
    if (state == AIOCOSMOS_EMULATOR_RESET) {
        peer_reset(p);
        return;
    }
    if (left == 0 && !blocked && due < 0 && (state == AIOCOSMOS_EMULATOR_CLOSING || p->ended) && !p->shut) {
        if (!peer_shut(p)) return;
    } else if (works) {
        work_later(p);
    } else if (due >= 0 && due != INT64_MAX && !p->timer.armed) {
        int64_t wait = due - aiocosmos_emulator_now_ms(s->core);
        aioc_reactor_timer_start(&s->reactor, &p->timer, s->reactor.now_us + (wait > 0 ? (uint64_t)wait * 1000u : 0u));
    }
    peer_set_limit(p);
    want = (peer_wants(p) ? AIOCOSMOS_READABLE : 0u) | (blocked ? AIOCOSMOS_WRITABLE : 0u);
    if (aioc_reactor_watch(&s->reactor, &p->source, want) < 0 ||
        (p->ended && !blocked && (due < 0 || due == INT64_MAX)))
        peer_close(p);
}

static void peer_on_timer(aioc_reactor_timer *timer)
{
    peer *p = (peer *)timer->owner;
    if (p->shut) {
        peer_close(p);
        return;
    }
    aiocosmos_emulator_conn_tick(p->conn);
    peer_work(p);
}

/* False: the connection is broken. */
static bool peer_receive_tls(peer *p)
{
    br_ssl_engine_context *engine = &p->tls->context.eng;
    while (br_ssl_engine_current_state(engine) & BR_SSL_RECVREC) {
        size_t len;
        unsigned char *room = br_ssl_engine_recvrec_buf(engine, &len);
        ptrdiff_t got = p->owner->reactor.platform->socket_receive(NULL, p->source.fd, room, len);
        if (got == AIOCOSMOS_IO_AGAIN) return true;
        if (got <= 0) {
            p->ended = true;
            return got == 0;
        }
        br_ssl_engine_recvrec_ack(engine, (size_t)got);
        if ((br_ssl_engine_current_state(engine) & (BR_SSL_RECVAPP | BR_SSL_SENDREC)) != 0 || (size_t)got < len)
            return true;
    }
    return true;
}

static bool peer_receive(peer *p)
{
    server *s = p->owner;
    ptrdiff_t got;
    if (p->tls && !p->shut) return peer_receive_tls(p);
    got = s->reactor.platform->socket_receive(NULL, p->source.fd, s->receive, sizeof s->receive);
    if (got == AIOCOSMOS_IO_AGAIN) return true;
    if (got < 0) return false;
    if (got == 0) p->ended = true;
    else if (!p->shut) aiocosmos_emulator_conn_feed(p->conn, s->receive, (size_t)got);
    return true;
}

static void peer_ready(aioc_reactor_source *source, unsigned ready)
{
    peer *p = (peer *)source->owner;
    p->moved_us = p->owner->reactor.now_us;
    if (p->owner->options->log) p->owner->asked_us = aioc_platform_monotonic_us(NULL);
    if ((ready & AIOCOSMOS_READABLE) && !p->ended && !peer_receive(p)) peer_close(p);
    else if (p->shut && p->ended) peer_close(p);
    else peer_work(p);
}

static bool peer_start_tls(peer *p)
{
    server *s = p->owner;
    server_tls *tls = s->tls;
    br_ssl_server_context *context;
    unsigned char seed[32];
    p->tls = (peer_tls *)aioc_mem_alloc(&s->memory, sizeof *p->tls);
    if (!p->tls || aioc_platform_system.entropy(NULL, seed, sizeof seed) < 0) return false;
    context = &p->tls->context;
    if (br_skey_decoder_key_type(&tls->key) == BR_KEYTYPE_RSA)
        br_ssl_server_init_full_rsa(context, tls->chain, tls->chain_len, br_skey_decoder_get_rsa(&tls->key));
    else
        br_ssl_server_init_full_ec(context, tls->chain, tls->chain_len, tls->issuer_key_type,
                                   br_skey_decoder_get_ec(&tls->key));
    br_ssl_engine_set_versions(&context->eng, BR_TLS12, BR_TLS12);
    br_ssl_engine_set_buffer(&context->eng, p->tls->room, sizeof p->tls->room, 1);
    br_ssl_engine_inject_entropy(&context->eng, seed, sizeof seed);
    br_ssl_server_set_cache(context, &tls->sessions.vtable);
    return br_ssl_server_reset(context) != 0;
}

static void peer_open(server *s, int fd, bool remote)
{
    int on = 1;
    peer *p = (peer *)aioc_mem_zalloc(&s->memory, sizeof *p);
    if (!p) {
        close(fd);
        return;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, (socklen_t)sizeof on);
    s->peer_count++;
    p->owner = s;
    p->since_us = p->moved_us = s->reactor.now_us;
    p->limit.fire = peer_on_limit;
    p->limit.owner = p;
    p->source.fd = fd;
    p->source.ready = peer_ready;
    p->source.owner = p->timer.owner = p;
    p->timer.fire = peer_on_timer;
    p->next = s->peers;
    if (p->next) p->next->prev = p;
    s->peers = p;
    p->conn = aiocosmos_emulator_conn_open(s->core);
    if (p->conn && remote) aiocosmos_emulator_conn_remote(p->conn);
    if (!p->conn || (s->tls && !peer_start_tls(p)) ||
        aioc_reactor_watch(&s->reactor, &p->source, AIOCOSMOS_READABLE) < 0) peer_close(p);
    else peer_set_limit(p);
}

/* Not one that has come in this round, nor one whose request is there and was not read yet. */
static bool peer_is_idle(const peer *p)
{
    char byte;
    return p->waits == AIOCOSMOS_EMULATOR_WAITS_FOR_REQUEST && !p->shut && p->moved_us < p->owner->reactor.now_us &&
           recv((int)p->source.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

/* The peer that has been idle longest makes room. */
static bool close_idle(server *s)
{
    peer *p, *oldest = NULL;
    for (p = s->peers; p; p = p->next)
        if ((!oldest || p->moved_us <= oldest->moved_us) && peer_is_idle(p)) oldest = p;
    if (oldest) peer_close(oldest);
    return oldest != NULL;
}

static void on_rest_over(aioc_reactor_timer *timer)
{
    listen_again((server *)timer->owner);
}

/* The queue of connections would wake us for ever. */
static void rest(server *s)
{
    int i;
    s->resting = true;
    s->rest.fire = on_rest_over;
    s->rest.owner = s;
    aioc_reactor_timer_start(&s->reactor, &s->rest, s->reactor.now_us + EMU_REST_US);
    for (i = 0; i < s->listeners; i++) aioc_reactor_watch(&s->reactor, &s->listener[i], 0);
}

static bool is_remote(const struct sockaddr_storage *address)
{
    static const unsigned char mapped[13] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127 };
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)address;
    if (address->ss_family == AF_INET) return ntohl(four->sin_addr.s_addr) >> 24 != 127;
    if (address->ss_family != AF_INET6) return true;
    return !IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) && memcmp(six->sin6_addr.s6_addr, mapped, sizeof mapped) != 0;
}

static void on_connection(aioc_reactor_source *source, unsigned ready)
{
    server *s = (server *)source->owner;
    (void)ready;
    for (;;) {
        struct sockaddr_storage address;
        socklen_t len = (socklen_t)sizeof address;
        int fd = accept((int)source->fd, (struct sockaddr *)&address, &len);
        if (fd >= 0) {
            peer_open(s, fd, is_remote(&address));
            /* Where all others are busy, the new one has no room. */
            if (s->options->connections && s->peer_count > s->options->connections && !close_idle(s))
                peer_close(s->peers);
        } else if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) {
            return;
        } else if (!close_idle(s)) {
            rest(s);
            return;
        }
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Listening
 *----------------------------------------------------------------------------*/

static bool listen_at(server *s, const struct addrinfo *at, int *port)
{
    struct sockaddr_storage address;
    socklen_t len = (socklen_t)sizeof address;
    int on = 1, fd = socket(at->ai_family, SOCK_STREAM, 0);
    aioc_reactor_source *source = &s->listener[s->listeners];
    if (fd < 0) return false;
    memcpy(&address, at->ai_addr, at->ai_addrlen);
    if (at->ai_family == AF_INET6) ((struct sockaddr_in6 *)(void *)&address)->sin6_port = htons((uint16_t)*port);
    else ((struct sockaddr_in *)(void *)&address)->sin_port = htons((uint16_t)*port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, (socklen_t)sizeof on);
    if (at->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, (socklen_t)sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (bind(fd, (struct sockaddr *)&address, at->ai_addrlen) < 0 || listen(fd, 1024) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
        close(fd);
        return false;
    }
    if (address.ss_family == AF_INET6) *port = ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port);
    else *port = ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
    memset(source, 0, sizeof *source);
    source->fd = fd;
    source->ready = on_connection;
    source->owner = s;
    if (aioc_reactor_watch(&s->reactor, source, AIOCOSMOS_READABLE) < 0) {
        close(fd);
        return false;
    }
    s->listeners++;
    return true;
}

/* Each address of a host, on one port. False: there is no such host. */
static bool listen_host(server *s, const char *host, int *port, int *first_error)
{
    struct addrinfo hints, *all = NULL, *at;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE;
    if (getaddrinfo(host, NULL, &hints, &all) != 0) return false;
    for (at = all; at && s->listeners < EMU_LISTENERS; at = at->ai_next) {
        if (at->ai_family != AF_INET && at->ai_family != AF_INET6) continue;
        if (!listen_at(s, at, port) && !*first_error) *first_error = errno;
    }
    freeaddrinfo(all);
    return true;
}

/* "localhost" is 127.0.0.1 and ::1 (RFC 6761), whether this machine has a hosts file or not. One of them has to work,
 * and the first decides about the port. */
bool server_listen(server *s, int *port)
{
    bool local = strcmp(s->options->host, "localhost") == 0;
    int first_error = 0;
    if (!listen_host(s, local ? "127.0.0.1" : s->options->host, port, &first_error)) {
        fprintf(stderr, "aiocosmos-emulator: %s: no such host\n", s->options->host);
        return false;
    }
    if (local) listen_host(s, "::1", port, &first_error);
    if (s->listeners) return true;
    fprintf(stderr, "aiocosmos-emulator: port %d of %s: %s%s\n", *port, s->options->host, strerror(first_error),
            first_error == EADDRINUSE ? "; --port 0 takes any that is free" : "");
    return false;
}

/*------------------------------------------------------------------------------
 * MARK: - The server
 *----------------------------------------------------------------------------*/

void server_close(server *s)
{
    int i;
    while (s->peers) peer_close(s->peers);
    for (i = 0; i < s->listeners; i++) {
        aioc_reactor_watch(&s->reactor, &s->listener[i], 0);
        close((int)s->listener[i].fd);
    }
    if (s->core) aiocosmos_emulator_close(s->core);
    if (s->options->data) server_data_close(&s->data);
    server_tls_free(&s->memory, s->tls);
    aioc_reactor_close(&s->reactor);
    aioc_mem_close(&s->memory);
}

static void on_log(void *user, const char *line)
{
    server *s = (server *)user;
    uint64_t now_us = aioc_platform_monotonic_us(NULL);
    fprintf(stderr, "%s, %llu us\n", line, (unsigned long long)(now_us - s->asked_us));
    s->asked_us = now_us;
}

bool server_open(server *s, const server_options *options)
{
    aiocosmos_emulator_options core = options->core;
    const char *error;
    aiocosmos_allocator allocator;
    struct rlimit files;
    s->options = options;
    s->data.fd = -1;
    s->last_working = &s->working;
    aioc_mem_init(&s->memory, NULL, SIZE_MAX);
    allocator = aioc_mem_allocator(&s->memory);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {           /* as many connections as we may have */
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (aioc_reactor_open(&s->reactor, &aioc_platform_system, &allocator) < 0) {
        fprintf(stderr, "aiocosmos-emulator: the system has no poller for us\n");
        return false;
    }
    core.allocate = server_allocate;
    if (options->log) {
        core.log = on_log;
        core.log_user_data = s;
    }
    if (options->data) {
        if (!server_data_open(&s->data, options->data, options->sync)) return false;
        core.keep = server_data_keep;
        core.keep_user_data = &s->data;
    }
    s->core = aiocosmos_emulator_open(&core, &error);
    if (!s->core) fprintf(stderr, "aiocosmos-emulator: --%s\n", error);
    if (!s->core || (options->data && !server_data_restore(&s->data, s->core))) return false;
    if (!options->tls) return true;
    s->tls = server_tls_load(&s->memory, options->certificate, options->key_file);
    return s->tls != NULL;
}

/* A slice of the work of the first in turn. */
static void work_some(server *s)
{
    peer *p = s->working;
    if (!p) return;
    work_no_more(p);
    aiocosmos_emulator_conn_tick(p->conn);
    peer_work(p);
}

void server_step(server *s)
{
    uint64_t due;
    int timeout = -1;
    if (s->working) {
        timeout = 0;
    } else if (aioc_reactor_timer_next(&s->reactor, &due)) {
        uint64_t wait = due > s->reactor.now_us ? (due - s->reactor.now_us + 999) / 1000 : 0;
        timeout = wait < 60000 ? (int)wait : 60000;
    }
    aioc_reactor_poll(&s->reactor, timeout);
    aioc_reactor_tick(&s->reactor);
    while (aioc_reactor_dispatch_one(&s->reactor)) continue;
    while (aioc_reactor_timer_run_one(&s->reactor)) continue;
    work_some(s);
}
