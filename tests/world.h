/* world.h: a made-up platform that tests share: a clock, machines with sockets, a poller, chance and files, and at the
 * other end of each connection whatever a test plays there.
 *
 * - The clock stands still until somebody waits for what is not there, or a test moves it. What is to happen later is
 *   an event: world_at(). So 30 s of silence take no time, and every run is the same.
 * - A connection is two queues of bytes. `in` holds what has arrived for the client, and what comes behind it follows
 *   from `closed` and `broken`; `out` holds what the client has sent, unless somebody hears it. The client can send
 *   `room` bytes more. What connecting comes to is known from decided_us on.
 * - What a test plays is a world_servers: it is told of what is opened, sent and closed, cuts what a call moves, and
 *   answers by world_say(), at once, or by world_post(), later. Where it has no such function, connections go as the
 *   routes of their family say, and bytes gather.
 * - One machine is one client's. Its table of functions is a copy, in which a test may put others; calls that fail when
 *   a test says so are shaky.h's, over this or the system's.
 *
 * On it stand: the tests of resolve, stream and pool, whose servers are played by hand (by_hand.h); hostile.h, whose
 * servers are functions; and the simulation, with packets, chance and the emulator's core. */
#ifndef WORLD_H
#define WORLD_H

#ifndef AIOCOSMOS_IMPLEMENTATION
#  define AIOCOSMOS_IMPLEMENTATION
#endif
#include "aiocosmos.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifndef WORLD_CHECK
#  include "test.h"
#  define WORLD_CHECK(CONDITION) CHECK(CONDITION)
#endif

#define WORLD_NEVER UINT64_MAX

typedef struct world_net world_net;
typedef struct world_machine world_machine;

typedef struct world_socket {
    world_net *net;
    world_machine *machine;              /* NULL: closed by the client */
    int      number;                     /* among all that there were */
    bool     datagram;
    aiocosmos_address peer;
    int      comes_to;                   /* connecting, from decided_us on. AGAIN: to nothing */
    uint64_t decided_us;
    bool     told;                       /* that it is connected: both sides know */
    unsigned want;
    void    *source;
    char    *in, *out;                   /* to the client: datagrams behind their size; from it: a NUL is behind that */
    size_t   in_len, in_at, in_cap, out_len, out_cap;
    size_t   room;
    bool     closed;                     /* by the server, behind what it said */
    int      broken;                     /* what each call comes to, behind what has arrived; 0: it is not */
    uint64_t endless;                    /* so many more bytes follow what the server said */
    char     endless_byte;
    size_t   searched_len;               /* of out, with no end of a request in it */
    int      requests;                   /* answered on this connection */
} world_socket;

/* What a test plays. Each may be NULL. */
typedef struct world_servers {
    void   (*open)(world_socket *socket);          /* decides comes_to and decided_us, and may change room */
    void   (*opened)(world_socket *socket);        /* the client knows that it is connected */
    void   (*hear)(world_socket *socket, const char *bytes, size_t len);
    void   (*hung_up)(world_socket *socket);       /* the client closes it */
    size_t (*cut)(world_socket *socket, bool sends, size_t len);      /* how many of them one call moves */
    void   (*turn)(world_machine *machine);        /* the client waits, or looks */
    bool   (*tells)(world_socket *socket, int count);      /* that it is ready, behind so many others */
} world_servers;

typedef struct world_route { int io; uint64_t delay_us; } world_route;

typedef struct world_event {
    uint64_t at_us, order;
    void   (*run)(world_net *net, void *what, uint64_t number);
    void    *what;
    uint64_t number;
} world_event;

struct world_net {
    world_servers servers;
    uint64_t now_us;
    int64_t  wall_ms;                    /* when now_us was 0 */
    uint64_t tick_us;                    /* how much later it is each time that somebody asks */
    uint64_t asked, asked_us;            /* how often the time was asked, since when */
    world_event *events;                 /* a binary heap */
    size_t   event_count, event_cap;
    uint64_t event_order, events_run;
    size_t   socket_bytes;               /* of a test's own struct, which begins with a world_socket; 0: none */
    world_socket **sockets;
    int      count, open;                /* sockets so far, and those open now */
    size_t   socket_cap;
    world_route v4, v6;                  /* what becomes of new connections */
    size_t   room;                       /* of new ones */
    size_t   send_max, receive_max;      /* bytes of one call; 0: any number */
    int      batch_max;                  /* events of one wait; 0: any number */
    unsigned spurious;                   /* each that many waits, all sockets are said to be ready; 0: never */
    int      sends, receives, sets, waits, files_read;     /* calls */
    uint64_t received;                   /* bytes */
    uint64_t chance;
    int      entropy_io;                 /* what asking for it comes to */
    const char *hosts, *config;          /* the hosts file and what names the name servers; NULL: no such file */
    uint32_t eth0;                       /* 0: no such interface */
};

struct world_machine {
    world_net *net;
    aiocosmos_platform platform;
    int64_t  skew_ms;                    /* its clock ahead of the world's */
    bool     poller_open, woken, tells_hang_ups;
    world_socket **sockets;              /* its open ones, in the order in which they were opened */
    size_t   count, cap;
    size_t   first;                      /* of these, to be told of */
    uint64_t handed;                     /* events, ever */
};

static inline void *world_grow(void *block, size_t count, size_t *cap, size_t size)
{
    if (count < *cap) return block;
    *cap = count < 8 ? 16 : count * 2;
    block = realloc(block, *cap * size);
    if (!block) abort();
    return block;
}

/*------------------------------------------------------------------------------
 * Events
 *----------------------------------------------------------------------------*/

static inline bool world_event_before(const world_event *a, const world_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static inline void world_at(world_net *net, uint64_t at_us, void (*run)(world_net *, void *, uint64_t), void *what,
                            uint64_t number)
{
    world_event added, *queue;
    size_t at = net->event_count;
    added.at_us = at_us > net->now_us ? at_us : net->now_us;
    added.order = net->event_order++;
    added.run = run;
    added.what = what;
    added.number = number;
    queue = net->events = (world_event *)world_grow(net->events, at, &net->event_cap, sizeof *queue);
    net->event_count++;
    for (; at > 0 && world_event_before(&added, &queue[(at - 1) / 2]); at = (at - 1) / 2)
        queue[at] = queue[(at - 1) / 2];
    queue[at] = added;
}

static inline world_event world_take_event(world_net *net)
{
    world_event *queue = net->events, first = queue[0], last = queue[--net->event_count];
    size_t at = 0, count = net->event_count, child;
    for (; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && world_event_before(&queue[child + 1], &queue[child])) child++;
        if (!world_event_before(&queue[child], &last)) break;
        queue[at] = queue[child];
    }
    queue[at] = last;
    return first;
}

/* Lets everything happen that is due. */
static inline void world_run_due(world_net *net)
{
    while (net->event_count && net->events[0].at_us <= net->now_us) {
        world_event event = world_take_event(net);
        WORLD_CHECK(++net->events_run < 4000000u);         /* or it does not end */
        event.run(net, event.what, event.number);
    }
}

/*------------------------------------------------------------------------------
 * The other side
 *----------------------------------------------------------------------------*/

/* Of connecting. AGAIN: not decided. A clock that goes back takes back no connection. */
static inline int world_standing(const world_socket *socket)
{
    return !socket->told && socket->net->now_us < socket->decided_us ? AIOCOSMOS_IO_AGAIN : socket->comes_to;
}

static inline void world_append(char **text, size_t *len, size_t *cap, const void *bytes, size_t count)
{
    *text = (char *)world_grow(*text, *len + count, cap, 1);
    if (count) memcpy(*text + *len, bytes, count);
    (*text)[*len += count] = 0;
}

/* Arrives at the client now: one datagram, or that many bytes of a stream. */
static inline void world_say(world_socket *socket, const void *bytes, size_t len)
{
    uint32_t size = (uint32_t)len;
    if (socket->in_at == socket->in_len) socket->in_at = socket->in_len = 0;
    if (socket->in_at > 65536) {
        memmove(socket->in, socket->in + socket->in_at, socket->in_len - socket->in_at);
        socket->in_len -= socket->in_at;
        socket->in_at = 0;
    }
    if (socket->datagram) world_append(&socket->in, &socket->in_len, &socket->in_cap, &size, sizeof size);
    world_append(&socket->in, &socket->in_len, &socket->in_cap, bytes, len);
}

/* The client's end learns of a reset now, and what has not been received is lost. */
static inline void world_reset(world_socket *socket)
{
    socket->broken = AIOCOSMOS_IO_CLOSED;
    socket->in_len = socket->in_at = 0;
    socket->endless = 0;
}

static inline void world_gather(world_socket *socket, const char *bytes, size_t len)
{
    world_append(&socket->out, &socket->out_len, &socket->out_cap, bytes, len);
}

/* What is on its way: to the client, or, up, from it. */
typedef struct world_packet {
    world_socket *socket;
    void (*arrives)(struct world_packet *packet);
    bool   up;
    int    io;                           /* 0: bytes; 1: the end; else what calls come to from then on */
    size_t len;
    char   bytes[];
} world_packet;

static inline void world_packet_arrives(world_net *net, void *what, uint64_t number)
{
    world_packet *packet = (world_packet *)what;
    (void)net, (void)number;
    packet->arrives(packet);
    free(packet);
}

/* To the client, if it has not closed. */
static inline void world_arrive(world_packet *packet)
{
    world_socket *socket = packet->socket;
    if (!socket->machine || socket->broken) return;
    if (packet->io == 0) world_say(socket, packet->bytes, packet->len);
    else if (packet->io == 1) socket->closed = true;
    else socket->broken = packet->io;
}

static inline void world_post(world_socket *socket, uint64_t at_us, void (*arrives)(world_packet *), bool up, int io,
                              const void *bytes, size_t len)
{
    world_packet *packet = (world_packet *)malloc(sizeof *packet + len);
    if (!packet) abort();
    packet->socket = socket;
    packet->arrives = arrives;
    packet->up = up;
    packet->io = io;
    packet->len = len;
    if (len) memcpy(packet->bytes, bytes, len);
    world_at(socket->net, at_us, world_packet_arrives, packet, 0);
}

/*------------------------------------------------------------------------------
 * The table: clocks, chance, files
 *----------------------------------------------------------------------------*/

/* A client that does not come to an end is found here, for it asks the time again and again. */
static inline uint64_t world_monotonic_us(void *user)
{
    world_net *net = ((world_machine *)user)->net;
    if (net->now_us - net->asked_us > 2000000u) net->asked = 0;
    if (net->asked++ == 0) net->asked_us = net->now_us;
    WORLD_CHECK(net->asked < 1000000);
    return net->now_us += net->tick_us;
}

static inline int64_t world_wall_ms(void *user)
{
    const world_machine *machine = (const world_machine *)user;
    return machine->net->wall_ms + (int64_t)(machine->net->now_us / 1000u) + machine->skew_ms;
}

static inline int world_entropy(void *user, void *out, size_t len)
{
    world_net *net = ((world_machine *)user)->net;
    unsigned char *at = (unsigned char *)out;
    for (; net->entropy_io == 0 && len; len--) {
        net->chance = net->chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        *at++ = (unsigned char)(net->chance >> 56);
    }
    return net->entropy_io;
}

static inline ptrdiff_t world_text(world_net *net, const char *text, void *out, size_t cap)
{
    size_t len = text ? strlen(text) : 0;
    net->files_read++;
    if (!text) return AIOCOSMOS_IO_FAILED;
    memcpy(out, text, len < cap ? len : cap);
    return (ptrdiff_t)len;
}

static inline ptrdiff_t world_file_read(void *user, const char *path, void *out, size_t cap)
{
    world_net *net = ((world_machine *)user)->net;
    return world_text(net, strcmp(path, "/etc/hosts") == 0 ? net->hosts : NULL, out, cap);
}

static inline ptrdiff_t world_name_servers(void *user, void *out, size_t cap)
{
    world_net *net = ((world_machine *)user)->net;
    return world_text(net, net->config, out, cap);
}

static inline uint32_t world_zone(void *user, const char *name)
{
    return strcmp(name, "eth0") == 0 ? ((world_machine *)user)->net->eth0 : 0;
}

/*------------------------------------------------------------------------------
 * The table: sockets
 *----------------------------------------------------------------------------*/

static inline world_socket *world_socket_of(world_machine *machine, intptr_t number)
{
    WORLD_CHECK(number >= 0 && number < machine->net->count);
    WORLD_CHECK(machine->net->sockets[number]->machine == machine);        /* or it was closed */
    return machine->net->sockets[number];
}

static inline world_socket *world_make_socket(world_machine *machine, bool datagram, const aiocosmos_address *peer)
{
    world_net *net = machine->net;
    const world_route *route = peer->family == 4 ? &net->v4 : &net->v6;
    world_socket *socket = (world_socket *)calloc(1, net->socket_bytes ? net->socket_bytes : sizeof *socket);
    if (!socket) abort();
    net->sockets = (world_socket **)world_grow(net->sockets, (size_t)net->count, &net->socket_cap, sizeof socket);
    net->sockets[net->count] = socket;
    socket->net = net;
    socket->number = net->count++;
    socket->datagram = datagram;
    socket->peer = *peer;
    socket->comes_to = datagram ? 0 : route->io;
    socket->decided_us = datagram ? 0 : net->now_us + route->delay_us;
    socket->room = datagram ? SIZE_MAX : net->room;
    return socket;
}

static inline void world_tell_opened(world_socket *socket)
{
    if (socket->told) return;
    socket->told = true;
    if (socket->net->servers.opened) socket->net->servers.opened(socket);
}

/* The client has it from now on. */
static inline void world_attach(world_machine *machine, world_socket *socket)
{
    machine->sockets = (world_socket **)world_grow(machine->sockets, machine->count, &machine->cap, sizeof socket);
    machine->sockets[machine->count++] = socket;
    socket->machine = machine;
    machine->net->open++;
}

static inline void world_detach(world_socket *socket)
{
    world_machine *machine = socket->machine;
    size_t at = 0;
    while (machine->sockets[at] != socket) at++;
    memmove(machine->sockets + at, machine->sockets + at + 1, (--machine->count - at) * sizeof socket);
    machine->net->open--;
    socket->machine = NULL;
    free(socket->in);
    free(socket->out);
    socket->in = socket->out = NULL;
    socket->in_cap = socket->out_cap = 0;
}

static inline int world_socket_open(void *user, intptr_t *out, bool datagram, const aiocosmos_address *peer)
{
    world_machine *machine = (world_machine *)user;
    world_net *net = machine->net;
    world_socket *socket = world_make_socket(machine, datagram, peer);
    int io;
    if (net->servers.open) net->servers.open(socket);
    io = world_standing(socket);
    if (io != 0 && io != AIOCOSMOS_IO_AGAIN) {
        memset(&socket->peer, 0, sizeof socket->peer);     /* nobody was asked */
        return io;
    }
    world_attach(machine, socket);
    *out = socket->number;
    if (io == 0) world_tell_opened(socket);
    return io;
}

static inline int world_socket_error(void *user, intptr_t number)
{
    world_socket *socket = world_socket_of((world_machine *)user, number);
    int io = world_standing(socket);
    if (io == 0) world_tell_opened(socket);
    return io ? io : socket->broken;
}

/* How many bytes one call moves. */
static inline size_t world_moves(world_socket *socket, bool sends, size_t len)
{
    const world_net *net = socket->net;
    size_t most = sends ? net->send_max : net->receive_max;
    if (socket->datagram) return len;
    if (most && len > most) len = most;
    return len && net->servers.cut ? net->servers.cut(socket, sends, len) : len;
}

static inline ptrdiff_t world_socket_send(void *user, intptr_t number, const aiocosmos_slice *slices, size_t count)
{
    world_socket *socket = world_socket_of((world_machine *)user, number);
    world_net *net = socket->net;
    size_t len = 0, left, i;
    int io = world_standing(socket);
    WORLD_CHECK(io != AIOCOSMOS_IO_AGAIN && count > 0);
    net->sends++;
    if (io || socket->broken) return io ? io : socket->broken;
    for (i = 0; i < count; i++) len += slices[i].len;
    WORLD_CHECK(len > 0);
    left = world_moves(socket, true, len < socket->room ? len : socket->room);
    for (i = len = 0; i < count; i++) {
        size_t part = slices[i].len < left ? slices[i].len : left;
        if (part > socket->room) part = socket->room;      /* which what was heard before may have changed */
        if (part == 0) continue;
        if (socket->room != SIZE_MAX) socket->room -= part;
        if (net->servers.hear) net->servers.hear(socket, (const char *)slices[i].ptr, part);
        else world_gather(socket, (const char *)slices[i].ptr, part);
        left -= part;
        len += part;
    }
    return len ? (ptrdiff_t)len : AIOCOSMOS_IO_AGAIN;
}

static inline size_t world_take_datagram(world_socket *socket, void *out, size_t cap)
{
    uint32_t size;
    memcpy(&size, socket->in + socket->in_at, sizeof size);
    memcpy(out, socket->in + socket->in_at + sizeof size, size < cap ? size : cap);
    socket->in_at += sizeof size + size;
    return size < cap ? size : cap;
}

static inline size_t world_take(world_socket *socket, void *out, size_t cap)
{
    size_t len = socket->in_len - socket->in_at;
    if (len) memcpy(out, socket->in + socket->in_at, len = world_moves(socket, false, len < cap ? len : cap));
    else memset(out, socket->endless_byte, len = world_moves(socket, false, socket->endless < cap ?
                                                                           (size_t)socket->endless : cap));
    if (socket->in_at == socket->in_len) socket->endless -= len;
    else socket->in_at += len;
    return len;
}

static inline ptrdiff_t world_socket_receive(void *user, intptr_t number, void *out, size_t cap)
{
    world_socket *socket = world_socket_of((world_machine *)user, number);
    int io = world_standing(socket);
    size_t len;
    WORLD_CHECK(io != AIOCOSMOS_IO_AGAIN && cap > 0);
    socket->net->receives++;
    if (io) return io;
    if (socket->in_at == socket->in_len && !socket->endless)
        return socket->broken ? socket->broken : socket->closed ? 0 : AIOCOSMOS_IO_AGAIN;
    len = socket->datagram ? world_take_datagram(socket, out, cap) : world_take(socket, out, cap);
    socket->net->received += len;
    return (ptrdiff_t)len;
}

static inline void world_socket_close(void *user, intptr_t number)
{
    world_socket *socket = world_socket_of((world_machine *)user, number);
    WORLD_CHECK(socket->want == 0);                /* never closed while it is watched */
    if (socket->net->servers.hung_up) socket->net->servers.hung_up(socket);
    world_detach(socket);
}

/*------------------------------------------------------------------------------
 * The table: the poller, which is where time passes
 *----------------------------------------------------------------------------*/

static inline int world_poller_create(void *user, const aiocosmos_allocator *allocator, void **out)
{
    (void)allocator;
    ((world_machine *)user)->poller_open = true;
    *out = user;
    return 0;
}

static inline void world_poller_destroy(void *user, void *poller)
{
    world_machine *machine = (world_machine *)user;
    size_t i;
    (void)poller;
    machine->poller_open = false;
    for (i = 0; i < machine->count; i++) machine->sockets[i]->want = 0;
}

static inline int world_poller_set(void *user, void *poller, intptr_t number, unsigned had, unsigned want, void *source)
{
    world_socket *socket = world_socket_of((world_machine *)user, number);
    (void)poller;
    socket->net->sets++;
    WORLD_CHECK(socket->want == had);
    socket->want = want;
    socket->source = source;
    return 0;
}

/* What the poller tells of a socket, 0: nothing. Failure is told whatever is wanted. */
static inline unsigned world_ready(const world_socket *socket)
{
    int io = world_standing(socket);
    unsigned ready = 0, wanted = socket->want;
    if (wanted == 0 || io == AIOCOSMOS_IO_AGAIN) return 0;
    if (io || socket->broken) wanted |= ready = AIOCOSMOS_READABLE | AIOCOSMOS_WRITABLE;
    if (socket->in_at < socket->in_len || socket->endless || socket->closed) ready |= AIOCOSMOS_READABLE;
    if (socket->room > 0 || !socket->told) ready |= AIOCOSMOS_WRITABLE;
    ready &= wanted;
    if (ready && (socket->closed || socket->broken) && socket->machine->tells_hang_ups) ready |= AIOCOSMOS_HUNG_UP;
    return ready;
}

static inline bool world_is_spurious(const world_net *net)
{
    return net->spurious && (unsigned)net->waits % net->spurious == 0;
}

static inline int world_collect(world_machine *machine, aiocosmos_event *events, int cap)
{
    world_net *net = machine->net;
    bool spurious = world_is_spurious(net);
    int count = 0;
    size_t i;
    if (net->batch_max && cap > net->batch_max) cap = net->batch_max;
    for (i = 0; i < machine->count && count < cap; i++) {
        world_socket *socket = machine->sockets[(machine->first + i) % machine->count];
        unsigned ready = world_ready(socket);
        if (spurious && world_standing(socket) != AIOCOSMOS_IO_AGAIN) ready |= socket->want;
        if (!ready || (net->servers.tells && !net->servers.tells(socket, count))) continue;
        events[count].source = socket->source;
        events[count++].ready = ready;
    }
    return count;
}

static inline bool world_any_ready(const world_machine *machine)
{
    size_t i;
    for (i = 0; i < machine->count && !world_ready(machine->sockets[i]); i++) continue;
    return machine->woken || i < machine->count;
}

/* When something happens by itself next, but not later than that. */
static inline uint64_t world_next_us(const world_net *net, const world_machine *machine, uint64_t until_us)
{
    size_t i;
    if (net->event_count && net->events[0].at_us < until_us) until_us = net->events[0].at_us;
    for (i = 0; machine && i < machine->count; i++) {
        const world_socket *socket = machine->sockets[i];
        if (world_standing(socket) == 0 || socket->comes_to == AIOCOSMOS_IO_AGAIN) continue;
        if (socket->decided_us > net->now_us && socket->decided_us < until_us) until_us = socket->decided_us;
    }
    return until_us;
}

/* Lets time pass until one of the machines has something to do, or until_us. */
static inline void world_pass_time(world_net *net, world_machine *const *machines, size_t count, uint64_t until_us)
{
    for (;;) {
        uint64_t next_us = until_us;
        size_t i;
        world_run_due(net);
        for (i = 0; i < count; i++) {
            if (net->servers.turn) net->servers.turn(machines[i]);
            if (world_any_ready(machines[i])) return;
            next_us = world_next_us(net, machines[i], next_us);
        }
        if (net->now_us >= until_us) return;
        net->now_us = count ? next_us : world_next_us(net, NULL, until_us);
        WORLD_CHECK(net->now_us != WORLD_NEVER);           /* it waits for ever, and nothing is to come */
    }
}

static inline int world_poller_wait(void *user, void *poller, aiocosmos_event *events, int cap, int timeout_ms)
{
    world_machine *machine = (world_machine *)user;
    world_net *net = machine->net;
    int count;
    (void)poller;
    if (world_is_spurious(net)) timeout_ms = 0;
    world_pass_time(net, &machine, 1, timeout_ms < 0 ? WORLD_NEVER : net->now_us + (uint64_t)timeout_ms * 1000u);
    count = world_collect(machine, events, cap);
    machine->handed += (uint64_t)count;
    net->waits++;
    machine->woken = false;
    return count;
}

static inline void world_poller_wake(void *user, void *poller)
{
    (void)poller;
    ((world_machine *)user)->woken = true;
}

static inline intptr_t world_poller_fd(void *user, void *poller)
{
    (void)user, (void)poller;
    return -1;
}

/*------------------------------------------------------------------------------
 * Birth and death
 *----------------------------------------------------------------------------*/

static inline void world_machine_begin(world_machine *machine, world_net *net)
{
    static const aiocosmos_platform platform = {
        NULL, world_monotonic_us, world_wall_ms, world_entropy, world_socket_open, world_socket_error,
        world_socket_send, world_socket_receive, world_socket_close, world_poller_create, world_poller_destroy,
        world_poller_set, world_poller_wait, world_poller_wake, world_poller_fd, world_poller_fd, world_file_read,
        world_name_servers, NULL, world_zone
    };
    free(machine->sockets);
    memset(machine, 0, sizeof *machine);
    machine->net = net;
    machine->platform = platform;
    machine->platform.user_data = machine;
    machine->tells_hang_ups = true;
}

/* Made new, or of zeroes; what is left of a test that failed goes. */
static inline void world_begin(world_net *net)
{
    size_t event;
    int i;
    for (event = 0; event < net->event_count; event++)
        if (net->events[event].run == world_packet_arrives) free(net->events[event].what);
    for (i = 0; i < net->count; i++) {
        free(net->sockets[i]->in);
        free(net->sockets[i]->out);
        free(net->sockets[i]);
    }
    free(net->events);
    free(net->sockets);
    memset(net, 0, sizeof *net);
    net->now_us = 1000000;
    net->wall_ms = INT64_C(1795000000000);         /* in November of 2026 */
    net->room = SIZE_MAX;
}

#endif
