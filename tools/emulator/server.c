/* server.c: build/aiocosmos-emulator: sockets, TLS and options around the core of aiocosmos_emulator.h. One thread, one
 * loop: the library's own platform layer waits. */
#define AIOCOSMOS_STATIC
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"

#include "aiocosmos_emulator.h"

#include <netdb.h>
#include <signal.h>
#include <sys/resource.h>

#define EMU_RECEIVE     65536
#define EMU_LISTENERS   4
#define EMU_FAULTS_MAX  32
#define EMU_LINGER_US   2000000u                           /* for a peer to read our last answer */
#define EMU_REST_US     100000u                            /* until room for connections is looked for again */
#define EMU_CHAIN_MAX   8                                  /* certificates */
#define EMU_FILE_MAX    (1u << 20)

typedef struct server_options {
    const char *host, *certificate, *key_file;
    int port;
    bool tls;
    const char *fault[EMU_FAULTS_MAX];
    int faults;
    int connections;                                       /* 0: as many as there are descriptors for */
    double head_s, body_s, idle_s;                         /* what a peer may take for a head; for more of a body, or
                                                            * for reading; and for the next request */
    bool log;
    aiocosmos_emulator_options core;
} server_options;

/* Our certificates and their key, as BearSSL takes them. */
typedef struct server_tls {
    br_x509_certificate chain[EMU_CHAIN_MAX];
    size_t chain_len;
    br_skey_decoder_context key;
    unsigned issuer_key_type;
    br_ssl_session_cache_lru sessions;
    unsigned char session_room[64 * 1024];
} server_tls;

typedef struct peer peer;

typedef struct server {
    const server_options *options;
    aioc_mem memory;
    aioc_reactor reactor;
    aioc_reactor_source listener[EMU_LISTENERS];
    int listeners;
    int peer_count;
    bool resting;                                          /* there is no room for the next connection */
    aioc_reactor_timer rest;                               /* until room is looked for again */
    uint64_t asked_us;                                     /* when the request began that will be logged next */
    aiocosmos_emulator *core;
    server_tls *tls;
    peer *peers;
    char receive[EMU_RECEIVE];
} server;

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
    bool shut;                                             /* our side is: only the peer's end is waited for */
    bool ended;                                            /* the peer's side is */
};

/* What a signal handler may touch. */
static volatile sig_atomic_t stop_asked;
static server *stop_server;

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

static void peer_close(peer *p)
{
    server *s = p->owner;
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
    if (state == AIOCOSMOS_EMULATOR_RESET) {
        peer_reset(p);
        return;
    }
    if (left == 0 && !blocked && due < 0 && (state == AIOCOSMOS_EMULATOR_CLOSING || p->ended) && !p->shut) {
        if (!peer_shut(p)) return;
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

static void peer_open(server *s, int fd)
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
    if (!p->conn || (s->tls && !peer_start_tls(p)) ||
        aioc_reactor_watch(&s->reactor, &p->source, AIOCOSMOS_READABLE) < 0) peer_close(p);
    else peer_set_limit(p);
}

/* The peer that has been idle longest makes room. */
static bool close_idle(server *s)
{
    peer *p, *oldest = NULL;
    for (p = s->peers; p; p = p->next)
        if (p->waits == AIOCOSMOS_EMULATOR_WAITS_FOR_REQUEST && !p->shut &&
            (!oldest || p->moved_us <= oldest->moved_us)) oldest = p;
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

static void on_connection(aioc_reactor_source *source, unsigned ready)
{
    server *s = (server *)source->owner;
    int fd;
    (void)ready;
    for (;;) {
        fd = accept((int)source->fd, NULL, NULL);
        if (fd >= 0) {
            peer_open(s, fd);
            /* Where all others are busy, that is the new one. */
            if (s->options->connections && s->peer_count > s->options->connections) close_idle(s);
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
static bool listen_all(server *s, int *port)
{
    bool local = strcmp(s->options->host, "localhost") == 0;
    int first_error = 0;
    if (!listen_host(s, local ? "127.0.0.1" : s->options->host, port, &first_error)) {
        fprintf(stderr, "aiocosmos-emulator: %s: no such host\n", s->options->host);
        return false;
    }
    if (local) listen_host(s, "::1", port, &first_error);
    if (s->listeners) return true;
    fprintf(stderr, "aiocosmos-emulator: port %d of %s: %s\n", *port, s->options->host, strerror(first_error));
    return false;
}

/*------------------------------------------------------------------------------
 * MARK: - Certificates
 *----------------------------------------------------------------------------*/

typedef struct pem_object {
    char name[128];
    aioc_mem_buffer bytes;
    aioc_mem *memory;
    bool failed;
} pem_object;

static void pem_append(void *user, const void *bytes, size_t len)
{
    pem_object *object = (pem_object *)user;
    if (!aioc_mem_append(object->memory, &object->bytes, bytes, len)) object->failed = true;
}

/* The next object of a PEM text. False: there is none. */
static bool pem_next(br_pem_decoder_context *decoder, const char *text, size_t len, size_t *at, pem_object *object)
{
    object->bytes.len = 0;
    while (*at < len) {
        *at += br_pem_decoder_push(decoder, text + *at, len - *at);
        switch (br_pem_decoder_event(decoder)) {
        case BR_PEM_BEGIN_OBJ:
            snprintf(object->name, sizeof object->name, "%s", br_pem_decoder_name(decoder));
            br_pem_decoder_setdest(decoder, pem_append, object);
            object->bytes.len = 0;
            break;
        case BR_PEM_END_OBJ: return !object->failed;
        case BR_PEM_ERROR: return false;
        default: break;
        }
    }
    return false;
}

static char *read_whole(aioc_mem *memory, const char *path, size_t *len)
{
    char *text = (char *)aioc_mem_alloc(memory, EMU_FILE_MAX);
    ptrdiff_t size = text ? aioc_platform_system.file_read(NULL, path, text, EMU_FILE_MAX - 1) : -1;
    if (size >= 0 && (size_t)size < EMU_FILE_MAX) {
        text[size] = '\n';                                 /* the decoder wants the last line to end */
        *len = (size_t)size + 1;
        return text;
    }
    fprintf(stderr, "aiocosmos-emulator: cannot read %s\n", path);
    aioc_mem_free(memory, text, EMU_FILE_MAX);
    return NULL;
}

/* Who signed the certificate decides, with an EC key, which cipher suites there are. */
static unsigned issuer_key_type(const br_x509_certificate *certificate)
{
    br_x509_decoder_context decoder;
    br_x509_decoder_init(&decoder, NULL, NULL);
    br_x509_decoder_push(&decoder, certificate->data, certificate->data_len);
    return (unsigned)br_x509_decoder_get_signer_key_type(&decoder);
}

static bool load_chain(server *s, const char *text, size_t len)
{
    br_pem_decoder_context decoder;
    pem_object object;
    size_t at = 0;
    server_tls *tls = s->tls;
    memset(&object, 0, sizeof object);
    object.memory = &s->memory;
    br_pem_decoder_init(&decoder);
    while (tls->chain_len < EMU_CHAIN_MAX && pem_next(&decoder, text, len, &at, &object)) {
        br_x509_certificate *certificate = &tls->chain[tls->chain_len];
        if (strcmp(object.name, "CERTIFICATE") != 0 && strcmp(object.name, "X509 CERTIFICATE") != 0) continue;
        certificate->data = (unsigned char *)aioc_mem_alloc(&s->memory, object.bytes.len);
        if (!certificate->data) break;
        memcpy(certificate->data, object.bytes.data, object.bytes.len);
        certificate->data_len = object.bytes.len;
        tls->chain_len++;
    }
    aioc_mem_buffer_free(&s->memory, &object.bytes);
    return tls->chain_len > 0;
}

/* PKCS#1, PKCS#8 and SEC1 alike: the decoder looks for itself. */
static bool load_key(server *s, const char *text, size_t len)
{
    br_pem_decoder_context decoder;
    pem_object object;
    size_t at = 0;
    memset(&object, 0, sizeof object);
    object.memory = &s->memory;
    br_pem_decoder_init(&decoder);
    br_skey_decoder_init(&s->tls->key);
    while (pem_next(&decoder, text, len, &at, &object)) {
        if (!strstr(object.name, "PRIVATE KEY")) continue;
        br_skey_decoder_push(&s->tls->key, object.bytes.data, object.bytes.len);
        break;
    }
    aioc_mem_wipe(object.bytes.data, object.bytes.len);
    aioc_mem_buffer_free(&s->memory, &object.bytes);
    return br_skey_decoder_last_error(&s->tls->key) == 0 && br_skey_decoder_key_type(&s->tls->key) != 0;
}

static bool load_tls(server *s)
{
    size_t len;
    char *text;
    bool ok;
    s->tls = (server_tls *)aioc_mem_zalloc(&s->memory, sizeof *s->tls);
    if (!s->tls || !(text = read_whole(&s->memory, s->options->certificate, &len))) return false;
    ok = load_chain(s, text, len);
    aioc_mem_free(&s->memory, text, EMU_FILE_MAX);
    if (!ok) {
        fprintf(stderr, "aiocosmos-emulator: %s has no certificate in PEM\n", s->options->certificate);
        return false;
    }
    s->tls->issuer_key_type = issuer_key_type(&s->tls->chain[0]);
    if (!(text = read_whole(&s->memory, s->options->key_file, &len))) return false;
    ok = load_key(s, text, len);
    aioc_mem_wipe(text, len);
    aioc_mem_free(&s->memory, text, EMU_FILE_MAX);
    if (!ok) fprintf(stderr, "aiocosmos-emulator: %s has no RSA or EC private key in PEM, or it has a pass phrase\n",
                     s->options->key_file);
    br_ssl_session_cache_lru_init(&s->tls->sessions, s->tls->session_room, sizeof s->tls->session_room);
    return ok;
}

static void unload_tls(server *s)
{
    size_t i;
    if (!s->tls) return;
    for (i = 0; i < s->tls->chain_len; i++)
        aioc_mem_free(&s->memory, s->tls->chain[i].data, s->tls->chain[i].data_len);
    aioc_mem_wipe(s->tls, sizeof *s->tls);
    aioc_mem_free(&s->memory, s->tls, sizeof *s->tls);
}

/*------------------------------------------------------------------------------
 * MARK: - Options
 *----------------------------------------------------------------------------*/

static const char help[] =
    "aiocosmos-emulator: a server that speaks Azure Cosmos DB's gateway protocol, in memory\n"
    "\n"
    "  aiocosmos-emulator [options]\n"
    "\n"
    "  --help            this\n"
    "  --version         what version this is\n"
    "  --port N          the port to listen at (8081); 0: any that is free\n"
    "  --host H          the name or address to listen at (localhost); 0.0.0.0: everywhere\n"
    "  --key K           the account's key, base64 (the public key of all emulators)\n"
    "  --aad-token T     a text that is accepted as an Entra token (none)\n"
    "  --partitions N    physical partitions of a new container, 1 to 256 (4)\n"
    "  --ru N            request units a second of a container, spread over its partitions; above: 429 (no limit)\n"
    "  --memory N        MiB that may be used; above: 503 (no limit)\n"
    "  --connections N   at a time; beyond, the one that was idle longest is closed (as there are descriptors)\n"
    "  --timeouts H,B,I  seconds for a request's head, for progress of its body or of reading the answer, and\n"
    "                    for the next request (10,30,240)\n"
    "  --log             a line for each request on stderr: status, what was asked, RU, time, why it was refused\n"
    "  --shuffle N       split or merge a container's partitions once in about N requests to it (never), with\n"
    "  --shuffle-min N   at least so many of them (1),\n"
    "  --shuffle-max N   at most so many (16), and\n"
    "  --shuffle-busy N  up to N requests answered 410/1007 or 1008 before (0)\n"
    "  --merge-enabled   as an account with partition merge: refuse clients that do not say that they can follow one\n"
    "  --tls             serve HTTPS, TLS 1.2, with\n"
    "  --cert FILE       the certificate, and those that lead to its authority behind it, in PEM\n"
    "  --key-file FILE   the certificate's key, RSA or EC, in PEM\n"
    "  --fault SPEC      fail on purpose; may be given again. SPEC is JSON, or as short as one of\n"
    "                      status=429,kind=create_item,skip=10,count=3,retry_after_ms=5\n"
    "                      action=reset,when=after,kind=upsert,probability=0.01,seed=1\n"
    "                      delay_ms=200,verb=GET,path=/docs\n"
    "                    action: reset close hang html json big truncate garble chunked trickle end\n"
    "\n"
    "While it runs, PUT, POST, GET and DELETE of /_emulator/faults change and show these rules, and PUT of\n"
    "/_emulator/split with {\"database\":D,\"container\":C,\"range\":R} splits a physical partition, of\n"
    "/_emulator/merge makes one of it and its right neighbour, of /_emulator/shuffle with\n"
    "{\"every\":N,\"min\":A,\"max\":B,\"busy\":M} makes both happen as --shuffle does, of /_emulator/clock with\n"
    "{\"ahead_ms\":N} moves its clock. They are for this machine, or signed as other requests are; GET of\n"
    "/_emulator/health is for everybody.\n"
    "\n"
    "Prints \"ready URL\" when it accepts connections, and ends on SIGTERM or Ctrl-C. Nothing is kept when it ends.\n";

/* "HEAD,BODY,IDLE" */
static bool parse_timeouts(server_options *options, const char *text)
{
    double *out[3];
    int i;
    out[0] = &options->head_s;
    out[1] = &options->body_s;
    out[2] = &options->idle_s;
    for (i = 0; i < 3; i++) {
        size_t len = strcspn(text, ",");
        if (!aioc_json_number_parse(text, len, out[i]) || *out[i] <= 0 || *out[i] > 1e6) return false;
        if (text[len] != (i < 2 ? ',' : 0)) return false;
        text += len + 1;
    }
    return true;
}

static bool parse_number(const char *text, double max, double *out)
{
    return aioc_json_number_parse(text, strlen(text), out) && *out >= 0 && *out <= max;
}

/* One option and its value; returns how many arguments that was, or 0: wrong. */
static int parse_option(server_options *options, const char *name, const char *value)
{
    double number = 0;
    if (strcmp(name, "--tls") == 0) {
        options->tls = true;
        return 1;
    }
    if (strcmp(name, "--merge-enabled") == 0) {
        options->core.merge_enabled = true;
        return 1;
    }
    if (strcmp(name, "--log") == 0) {
        options->log = true;
        return 1;
    }
    if (!value) return 0;
    if (strcmp(name, "--host") == 0) options->host = value;
    else if (strcmp(name, "--key") == 0) options->core.key = value;
    else if (strcmp(name, "--aad-token") == 0) options->core.aad_token = value;
    else if (strcmp(name, "--cert") == 0) options->certificate = value;
    else if (strcmp(name, "--key-file") == 0) options->key_file = value;
    else if (strcmp(name, "--port") == 0 && parse_number(value, 65535, &number)) options->port = (int)number;
    else if (strcmp(name, "--partitions") == 0 && parse_number(value, AIOCOSMOS_EMULATOR_PARTITIONS_MAX, &number) &&
             number >= 1)
        options->core.partitions = (int)number;
    else if (strcmp(name, "--ru") == 0 && parse_number(value, 1e12, &number)) options->core.ru_per_second = number;
    else if (strcmp(name, "--memory") == 0 && parse_number(value, 1e9, &number) && number >= 1)
        options->core.memory_max = (size_t)number << 20;
    else if (strcmp(name, "--connections") == 0 && parse_number(value, 1e6, &number) && number >= 1)
        options->connections = (int)number;
    else if (strcmp(name, "--timeouts") == 0 && parse_timeouts(options, value)) return 2;
    else if (strcmp(name, "--shuffle") == 0 && parse_number(value, 1e9, &number))
        options->core.shuffle.every = (uint32_t)number;
    else if (strcmp(name, "--shuffle-min") == 0 && parse_number(value, AIOCOSMOS_EMULATOR_PARTITIONS_MAX, &number))
        options->core.shuffle.min = (uint32_t)number;
    else if (strcmp(name, "--shuffle-max") == 0 && parse_number(value, AIOCOSMOS_EMULATOR_PARTITIONS_MAX, &number))
        options->core.shuffle.max = (uint32_t)number;
    else if (strcmp(name, "--shuffle-busy") == 0 && parse_number(value, 1e9, &number))
        options->core.shuffle.busy = (uint32_t)number;
    else if (strcmp(name, "--fault") == 0 && options->faults < EMU_FAULTS_MAX)
        options->fault[options->faults++] = value;
    else return 0;
    return 2;
}

/* 0: go on. Else the exit status, plus 1. */
static int parse_options(server_options *options, int argc, char **argv)
{
    int i = 1, used;
    memset(options, 0, sizeof *options);
    options->host = "localhost";
    options->port = 8081;
    options->head_s = 10;
    options->body_s = 30;
    options->idle_s = 240;
    for (; i < argc; i += used) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return 1;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("aiocosmos-emulator %u.%u.%u\n", AIOCOSMOS_VERSION >> 16, AIOCOSMOS_VERSION >> 8 & 255u,
                   AIOCOSMOS_VERSION & 255u);
            return 1;
        }
        used = parse_option(options, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
        if (used) continue;
        fprintf(stderr, "aiocosmos-emulator: %s%s%s: not an option, or not a value for it; see --help\n", argv[i],
                i + 1 < argc ? " " : "", i + 1 < argc ? argv[i + 1] : "");
        return 3;
    }
    if (options->tls ? options->certificate && options->key_file : !options->certificate && !options->key_file)
        return 0;
    fprintf(stderr, "aiocosmos-emulator: --tls, --cert and --key-file go together\n");
    return 3;
}

/*------------------------------------------------------------------------------
 * MARK: - The program
 *----------------------------------------------------------------------------*/

static void on_signal(int number)
{
    (void)number;
    stop_asked = 1;
    aioc_platform_system.poller_wake(NULL, stop_server->reactor.poller);
}

static bool add_faults(server *s)
{
    char why[200];
    int i;
    for (i = 0; i < s->options->faults; i++) {
        if (aiocosmos_emulator_fault(s->core, s->options->fault[i], why, sizeof why)) continue;
        fprintf(stderr, "aiocosmos-emulator: --fault %s: %s\n", s->options->fault[i], why);
        return false;
    }
    return true;
}

static bool announce(server *s, int port)
{
    char url[300];
    bool any = strcmp(s->options->host, "0.0.0.0") == 0 || strcmp(s->options->host, "::") == 0;
    bool literal6 = !any && strchr(s->options->host, ':') != NULL;
    snprintf(url, sizeof url, "%s://%s%s%s:%d/", s->tls ? "https" : "http", literal6 ? "[" : "",
             any ? "localhost" : s->options->host, literal6 ? "]" : "", port);
    if (!aiocosmos_emulator_set_endpoint(s->core, url)) return false;
    printf("ready %s\n", url);
    return fflush(stdout) == 0;
}

static void run(server *s)
{
    uint64_t due;
    while (!stop_asked) {
        int timeout = -1;
        if (aioc_reactor_timer_next(&s->reactor, &due)) {
            uint64_t wait = due > s->reactor.now_us ? (due - s->reactor.now_us + 999) / 1000 : 0;
            timeout = wait < 60000 ? (int)wait : 60000;
        }
        aioc_reactor_poll(&s->reactor, timeout);
        aioc_reactor_tick(&s->reactor);
        while (aioc_reactor_dispatch_one(&s->reactor)) continue;
        while (aioc_reactor_timer_run_one(&s->reactor)) continue;
    }
}

static void server_close(server *s)
{
    int i;
    while (s->peers) peer_close(s->peers);
    for (i = 0; i < s->listeners; i++) {
        aioc_reactor_watch(&s->reactor, &s->listener[i], 0);
        close((int)s->listener[i].fd);
    }
    if (s->core) aiocosmos_emulator_close(s->core);
    unload_tls(s);
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

static bool server_open(server *s, const server_options *options)
{
    aiocosmos_emulator_options core = options->core;
    const char *error;
    aiocosmos_allocator allocator;
    struct rlimit files;
    s->options = options;
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
    if (options->log) {
        core.log = on_log;
        core.log_user_data = s;
    }
    s->core = aiocosmos_emulator_open(&core, &error);
    if (!s->core) fprintf(stderr, "aiocosmos-emulator: --%s\n", error);
    return s->core && add_faults(s) && (!options->tls || load_tls(s));
}

int main(int argc, char **argv)
{
    static server s;                                       /* large for a stack */
    static server_options options;
    struct sigaction action;
    int port, status = parse_options(&options, argc, argv);
    if (status) return status - 1;
    if (!server_open(&s, &options)) {
        server_close(&s);
        return 1;
    }
    stop_server = &s;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    port = options.port;
    if (listen_all(&s, &port) && announce(&s, port)) run(&s);
    else status = 1;
    server_close(&s);
    return status;
}
