/* fake_net.h: a network and a clock made of a few arrays. Sockets are indices; time stands still unless a test moves it
 * or nothing else is left to wait for. Whoever includes it has included the implementation. */
#ifndef FAKE_NET_H
#define FAKE_NET_H

#define SOCKETS_MAX 1024
#define BYTES_MAX   (1 << 18)

typedef struct fake_socket {
    bool open, connected, closed, reset;           /* closed, reset: by the peer */
    bool datagram;
    int connect_io;                                /* how connecting ends, at decided_us */
    uint64_t decided_us;
    aiocosmos_address peer;
    char *in, *out;                                /* to the client, and from it */
    size_t in_len, in_at, out_len;
    size_t window;                                 /* so many bytes more can be sent by the client */
    unsigned want;
    void *source;
} fake_socket;

typedef struct fake_route { int io; uint64_t delay_us; } fake_route;

static struct {
    fake_socket sockets[SOCKETS_MAX];
    int count, open;                               /* sockets so far, and those open now */
    uint64_t now_us;
    fake_route v4, v6;                             /* what becomes of new connections */
    size_t window;                                 /* of new ones */
    size_t receive_max;                            /* a receive returns at most so many bytes */
    int sends, receives, sets;                     /* calls */
    int fail_set;                                  /* the so manieth poller_set from now fails; 0: none */
    int batch_max;
    bool no_entropy;
    bool out_dropped;                              /* nobody looks at what the client sends */
    bool no_hints;                                 /* a poller that does not know HUNG_UP */
} net;

static uint64_t fake_monotonic_us(void *user) { (void)user; return net.now_us; }
static int64_t fake_wall_ms(void *user) { (void)user; return 1700000000000 + (int64_t)(net.now_us / 1000u); }

static inline int fake_entropy(void *user, void *out, size_t len)
{
    (void)user;
    if (net.no_entropy) return AIOCOSMOS_IO_AGAIN;
    memset(out, 7, len);
    return 0;
}

static inline int fake_open(void *user, intptr_t *out, bool datagram, const aiocosmos_address *peer)
{
    fake_route route = peer->family == 4 ? net.v4 : net.v6;
    fake_socket *s = &net.sockets[net.count];
    (void)user;
    CHECK(net.count < SOCKETS_MAX);
    if (datagram) route.io = 0, route.delay_us = 0;
    if (route.io != 0 && route.io != AIOCOSMOS_IO_AGAIN && route.delay_us == 0) {
        net.count++;
        return route.io;
    }
    memset(s, 0, sizeof *s);
    s->open = true;
    s->peer = *peer;
    s->datagram = datagram;
    s->connect_io = route.io;
    s->decided_us = net.now_us + route.delay_us;
    s->connected = route.io == 0 && route.delay_us == 0;
    s->in = malloc(BYTES_MAX);
    s->out = malloc(BYTES_MAX);
    s->window = net.window;
    net.open++;
    *out = net.count++;
    return s->connected ? 0 : AIOCOSMOS_IO_AGAIN;
}

static inline fake_socket *fake_of(intptr_t fd)
{
    CHECK(fd >= 0 && fd < net.count && net.sockets[fd].open);
    return &net.sockets[fd];
}

static inline int fake_error(void *user, intptr_t fd)
{
    fake_socket *s = fake_of(fd);
    (void)user;
    if (s->connected) return 0;
    if (net.now_us < s->decided_us) return AIOCOSMOS_IO_AGAIN;
    s->connected = s->connect_io == 0;
    return s->connect_io;
}

static inline ptrdiff_t fake_send(void *user, intptr_t fd, const aiocosmos_slice *slices, size_t count)
{
    fake_socket *s = fake_of(fd);
    size_t i, total = 0;
    (void)user;
    net.sends++;
    CHECK(s->connected);
    CHECK(count >= 1 && count <= 2);
    if (s->reset) return AIOCOSMOS_IO_CLOSED;
    if (s->window == 0) return AIOCOSMOS_IO_AGAIN;
    for (i = 0; i < count; i++) {
        size_t n = slices[i].len < s->window ? slices[i].len : s->window;
        CHECK(slices[i].len > 0);
        CHECK(net.out_dropped || s->out_len + n <= BYTES_MAX);
        if (!net.out_dropped) memcpy(s->out + s->out_len, slices[i].ptr, n);
        if (!net.out_dropped) s->out_len += n;
        s->window -= n;
        total += n;
    }
    return (ptrdiff_t)total;
}

static inline ptrdiff_t fake_receive(void *user, intptr_t fd, void *out, size_t cap)
{
    fake_socket *s = fake_of(fd);
    size_t n = s->in_len - s->in_at;
    (void)user;
    net.receives++;
    CHECK(s->connected && cap > 0);
    if (n == 0) return s->reset ? AIOCOSMOS_IO_CLOSED : s->closed ? 0 : AIOCOSMOS_IO_AGAIN;
    if (n > cap) n = cap;
    if (n > net.receive_max) n = net.receive_max;
    memcpy(out, s->in + s->in_at, n);
    s->in_at += n;
    return (ptrdiff_t)n;
}

static inline void fake_close(void *user, intptr_t fd)
{
    fake_socket *s = fake_of(fd);
    (void)user;
    CHECK_INT(s->want, 0);                         /* never closed while it is watched */
    s->open = false;
    net.open--;
    free(s->in);
    free(s->out);
}

static inline int fake_poller_create(void *user, const aiocosmos_allocator *allocator, void **out)
{
    (void)user;
    (void)allocator;
    *out = &net;
    return 0;
}

static inline void fake_poller_destroy(void *user, void *poller) { (void)user; (void)poller; }

static inline int fake_poller_set(void *user, void *poller, intptr_t fd, unsigned had, unsigned want, void *source)
{
    fake_socket *s = fake_of(fd);
    (void)user;
    (void)poller;
    net.sets++;
    CHECK_INT(s->want, had);
    if (net.fail_set > 0 && want != 0 && --net.fail_set == 0) return AIOCOSMOS_IO_LIMIT;
    s->want = want;
    s->source = source;
    return 0;
}

static inline unsigned fake_ready(const fake_socket *s)
{
    unsigned ready = 0;
    if (!s->connected) {
        if (net.now_us < s->decided_us || s->connect_io == AIOCOSMOS_IO_AGAIN) return 0;
        return s->connect_io ? AIOCOSMOS_READABLE | AIOCOSMOS_WRITABLE : AIOCOSMOS_WRITABLE;
    }
    if (s->in_at < s->in_len || s->closed || s->reset) ready |= AIOCOSMOS_READABLE;
    if (s->window > 0 || s->reset) ready |= AIOCOSMOS_WRITABLE;
    if ((s->closed || s->reset) && !net.no_hints) ready |= AIOCOSMOS_HUNG_UP;
    return ready;
}

/* Time passes only here, and only if nothing is ready: until the next connect is decided, or to the end of the wait. */
static inline int fake_poller_wait(void *user, void *poller, aiocosmos_event *events, int cap, int timeout_ms)
{
    uint64_t until_us = timeout_ms < 0 ? UINT64_MAX : net.now_us + (uint64_t)timeout_ms * 1000u;
    int i, count = 0;
    (void)user;
    (void)poller;
    if (cap > net.batch_max) cap = net.batch_max;
    for (;;) {
        uint64_t next_us = UINT64_MAX;
        for (i = 0; i < net.count && count < cap; i++) {
            fake_socket *s = &net.sockets[i];
            unsigned ready = s->open && s->want ? fake_ready(s) : 0;
            bool undecided = s->open && !s->connected && s->decided_us > net.now_us;
            if (undecided && s->decided_us < next_us) next_us = s->decided_us;
            if (s->want != 0 && (ready & (s->want | (s->reset || s->connect_io ? 3u : 0)))) {
                events[count].source = s->source;
                events[count++].ready = ready;
            }
        }
        if (count > 0 || timeout_ms == 0) return count;
        CHECK(next_us != UINT64_MAX || until_us != UINT64_MAX);
        if (next_us > until_us) {
            net.now_us = until_us;
            return 0;
        }
        net.now_us = next_us;
    }
}

static inline void fake_wake(void *user, void *poller) { (void)user; (void)poller; }
static inline intptr_t fake_fd(void *user, void *poller) { (void)user; (void)poller; return -1; }
static inline ptrdiff_t fake_file(void *user, const char *path, void *out, size_t cap)
{
    (void)user, (void)path, (void)out, (void)cap;
    return AIOCOSMOS_IO_FAILED;
}

static const aiocosmos_platform fake_platform = {
    NULL, fake_monotonic_us, fake_wall_ms, fake_entropy, fake_open, fake_error, fake_send, fake_receive, fake_close,
    fake_poller_create, fake_poller_destroy, fake_poller_set, fake_poller_wait, fake_wake, fake_fd, fake_fd, fake_file,
    NULL, NULL, NULL
};

/*--- The other side ---*/

static inline void serve(int fd, const char *text)
{
    fake_socket *s = fake_of(fd);
    size_t len = strlen(text);
    if (s->in_at == s->in_len) s->in_at = s->in_len = 0;
    CHECK(s->in_len + len <= BYTES_MAX);
    memcpy(s->in + s->in_len, text, len);
    s->in_len += len;
}

static inline void serve_long(int fd, const char *head, size_t len)
{
    fake_socket *s = fake_of(fd);
    serve(fd, head);
    CHECK(s->in_len + len <= BYTES_MAX);
    memset(s->in + s->in_len, 'x', len);
    s->in_len += len;
}

static inline void hang_up(int fd) { fake_of(fd)->closed = true; }
static inline void reset(int fd) { fake_of(fd)->reset = true; }

/* The socket opened last that still is. */
static inline int newest(void)
{
    int fd = net.count - 1;
    while (fd >= 0 && !net.sockets[fd].open) fd--;
    CHECK(fd >= 0);
    return fd;
}

#endif
