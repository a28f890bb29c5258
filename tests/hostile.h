/* A made-up world for clients: memory that is counted and can run out, a network whose servers are functions of the
 * test, and a clock that runs only when somebody waits. So 30 s of silence take no time, and every run is the same. */
#ifndef HOSTILE_H
#define HOSTILE_H

#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"
#include "shaky.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 200000                   /* of made-up time: what takes longer has failed */

/*--- A network that is made up -------------------------------------------------------------*/

#define LINKS 128

typedef struct peer {
    bool open;                               /* the client has a socket */
    bool closed, reset;                      /* the server has hung up: behind what it said, or at once */
    int undecided;                           /* so many waits more until the connection is there */
    unsigned want;                           /* what the client's poller watches */
    void *source;
    char *said;                              /* by the server, and not received yet */
    size_t said_len, said_at, said_cap;
    uint64_t endless;                        /* so many more bytes behind that */
    char endless_byte;
    char *heard;                             /* from the client, up to a whole request */
    size_t heard_len, heard_cap;
    size_t searched_len;                     /* of that, with no end of a request in it */
    int requests;                            /* answered on this link */
} peer;

static struct net {
    uint64_t now_us;
    int64_t wall_ms;
    uint64_t tick_us;                        /* how much later it is each time that somebody asks */
    uint64_t asked, asked_us;                /* how often the time was asked, since when */
    peer links[LINKS];
    int links_used;                          /* those behind them have never been open */
    void (*opened)(peer *link);            /* a connection is there; NULL: nothing happens */
    void (*answer)(peer *link);            /* a whole request is in link->heard; NULL: silence */
    int opens, requests, waits;
    uint64_t received;
    size_t receive_max, send_max;            /* bytes of one call; 0: any number */
    size_t (*room)(const peer *link);        /* bytes that a connection takes now; NULL: any number */
    int slow_open;                           /* so many waits until a connection is there */
    unsigned spurious;                       /* each that many waits, all sockets are said to be ready; 0: never */
    bool stuck;                              /* the client waited for ever for nothing */
    char poller;
} net;

/* A client that does not come to an end is found here, for it asks the time again and again. */
static uint64_t net_monotonic(void *user_data)
{
    (void)user_data;
    if (net.now_us - net.asked_us > 2000000u) net.asked = 0;
    if (net.asked++ == 0) net.asked_us = net.now_us;
    CHECK(net.asked < 1000000);
    return net.now_us += net.tick_us;
}

static int64_t net_wall(void *user_data)
{
    (void)user_data;
    return net.wall_ms + (int64_t)(net.now_us / 1000u);
}

static int net_entropy(void *user_data, void *out, size_t len)
{
    (void)user_data;
    memset(out, 0x5a, len);
    return 0;
}

/* A new connection, of which nothing has been said or heard. */
static void net_begin_link(int i)
{
    peer *link = &net.links[i];
    link->open = true;
    link->closed = link->reset = false;
    link->want = 0;
    link->said_len = link->said_at = link->heard_len = link->searched_len = 0;
    link->endless = 0;
    link->requests = 0;
    if (i >= net.links_used) net.links_used = i + 1;
}

static int net_open(void *user_data, intptr_t *out, bool datagram, const aiocosmos_address *address)
{
    intptr_t i;
    (void)user_data; (void)address;
    if (datagram) return AIOCOSMOS_IO_UNSUPPORTED;
    for (i = 0; i < LINKS && net.links[i].open; i++) continue;
    if (i == LINKS) return AIOCOSMOS_IO_LIMIT;
    net_begin_link((int)i);
    net.opens++;
    *out = i;
    net.links[i].undecided = net.slow_open;
    if (net.slow_open) return AIOCOSMOS_IO_AGAIN;
    if (net.opened) net.opened(&net.links[i]);
    return 0;
}

static peer *net_link(intptr_t socket)
{
    CHECK(socket >= 0 && socket < LINKS && net.links[socket].open);
    return &net.links[socket];
}

static int net_error(void *user_data, intptr_t socket)
{
    peer *link = net_link(socket);
    (void)user_data;
    if (link->undecided > 0) return AIOCOSMOS_IO_AGAIN;
    if (net.opened) net.opened(link);
    return 0;
}

static void grow(char **text, size_t *cap, size_t need)
{
    if (need <= *cap) return;
    *cap = need * 2;
    *text = realloc(*text, *cap);
    CHECK(*text != NULL);
}

static ptrdiff_t net_send(void *user_data, intptr_t socket, const aiocosmos_slice *slices, size_t count)
{
    peer *link = net_link(socket);
    size_t i, sent = 0;
    (void)user_data;
    if (link->reset) return AIOCOSMOS_IO_CLOSED;
    if (net.room && net.room(link) == 0) return AIOCOSMOS_IO_AGAIN;
    for (i = 0; i < count; i++) {
        size_t len = slices[i].len;
        if (net.room && len > net.room(link)) len = net.room(link);
        if (net.send_max && len > net.send_max - sent) len = net.send_max - sent;
        grow(&link->heard, &link->heard_cap, link->heard_len + len + 1);
        if (len) memcpy(link->heard + link->heard_len, slices[i].ptr, len);
        link->heard[link->heard_len += len] = 0;
        sent += len;
    }
    return (ptrdiff_t)sent;
}

static ptrdiff_t net_receive(void *user_data, intptr_t socket, void *out, size_t cap)
{
    peer *link = net_link(socket);
    size_t len = link->said_len - link->said_at;
    (void)user_data;
    if (link->reset) return AIOCOSMOS_IO_CLOSED;
    if (net.receive_max && cap > net.receive_max) cap = net.receive_max;
    if (len == 0 && link->endless) {
        len = cap < link->endless ? cap : (size_t)link->endless;
        memset(out, link->endless_byte, len);
        link->endless -= len;
    } else if (len) {
        if (len > cap) len = cap;
        memcpy(out, link->said + link->said_at, len);
        link->said_at += len;
    } else {
        return link->closed ? 0 : AIOCOSMOS_IO_AGAIN;
    }
    net.received += len;
    return (ptrdiff_t)len;
}

static void net_close(void *user_data, intptr_t socket)
{
    (void)user_data;
    CHECK_INT(net_link(socket)->want, 0);
    net_link(socket)->open = false;
}

static int net_poller_create(void *user_data, const aiocosmos_allocator *allocator, void **out)
{
    (void)user_data; (void)allocator;
    *out = &net.poller;
    return 0;
}

static void net_poller_destroy(void *user_data, void *poller)
{
    int i;
    (void)user_data; (void)poller;
    for (i = 0; i < net.links_used; i++) net.links[i].want = 0;
}

static void net_poller_wake(void *user_data, void *poller) { (void)user_data; (void)poller; }
static intptr_t net_no_fd(void *user_data, void *poller) { (void)user_data; (void)poller; return -1; }

static int net_poller_set(void *user_data, void *poller, intptr_t socket, unsigned had, unsigned want, void *source)
{
    peer *link = net_link(socket);
    (void)user_data; (void)poller;
    CHECK_INT(link->want, had);
    link->want = want;
    link->source = source;
    return 0;
}

/* Whether a whole request has been heard. */
static bool net_heard(peer *link)
{
    const char *end, *length;
    if (link->heard_len == link->searched_len) return false;
    link->searched_len = link->heard_len;
    if ((end = strstr(link->heard, "\r\n\r\n")) == NULL) return false;
    length = strstr(link->heard, "Content-Length: ");
    return link->heard_len >= (size_t)(end + 4 - link->heard) + (length &&
        length < end ? (size_t)atol(length + 16) : 0);
}

static void net_serve(void)
{
    peer *link;
    for (link = net.links; link < net.links + net.links_used; link++) {
        if (!link->open || link->closed || link->reset || !net.answer || !net_heard(link)) continue;
        net.requests++;
        link->requests++;
        net.answer(link);
        link->heard_len = link->searched_len = 0;
    }
}

static unsigned net_ready(const peer *link, bool spurious)
{
    unsigned ready = net.room && net.room(link) == 0 ? 0 : AIOCOSMOS_WRITABLE;
    if (link->said_len > link->said_at || link->endless || link->closed || link->reset) ready |= AIOCOSMOS_READABLE;
    return spurious ? link->want : ready & link->want;
}

static int net_poller_wait(void *user_data, void *poller, aiocosmos_event *events, int cap, int timeout_ms)
{
    bool spurious = net.spurious && (unsigned)net.waits % net.spurious == 0;
    int i, count = 0;
    (void)user_data; (void)poller;
    net.waits++;
    net_serve();
    for (i = 0; i < net.links_used && count < cap; i++) {
        peer *link = &net.links[i];
        unsigned ready = link->open && link->want ? net_ready(link, spurious) : 0;
        if (link->open && link->undecided > 0) {
            if (--link->undecided > 0) ready = 0;
            if (timeout_ms > 1) timeout_ms = 1;
        }
        if (!ready) continue;
        events[count].source = link->source;
        events[count++].ready = ready;
    }
    if (count == 0 && timeout_ms > 0) net.now_us += (uint64_t)timeout_ms * 1000u;
    if (count == 0 && timeout_ms < 0) net.stuck = true;
    CHECK(!net.stuck);
    return count;
}

static ptrdiff_t net_file(void *user_data, const char *path, void *out, size_t cap)
{
    (void)user_data; (void)path; (void)out; (void)cap;
    return AIOCOSMOS_IO_FAILED;
}

static void net_free(void)
{
    int i;
    for (i = 0; i < net.links_used; i++) {
        free(net.links[i].said);
        free(net.links[i].heard);
    }
    memset(&net, 0, sizeof net);
}

static void net_begin(void (*answer)(peer *link))
{
    aiocosmos_platform platform = *aiocosmos_system_platform();
    net_free();
    memset(&heap, 0, sizeof heap);
    net.now_us = 1000000;
    net.tick_us = 1;
    net.wall_ms = INT64_C(1795000000000);    /* in November of 2026 */
    net.answer = answer;
    platform.monotonic_us = net_monotonic;
    platform.wall_ms = net_wall;
    platform.entropy = net_entropy;
    platform.socket_open = net_open;
    platform.socket_error = net_error;
    platform.socket_send = net_send;
    platform.socket_receive = net_receive;
    platform.socket_close = net_close;
    platform.poller_create = net_poller_create;
    platform.poller_destroy = net_poller_destroy;
    platform.poller_set = net_poller_set;
    platform.poller_wait = net_poller_wait;
    platform.poller_wake = net_poller_wake;
    platform.poller_fd = net_no_fd;
    platform.poller_wake_fd = net_no_fd;
    platform.file_read = net_file;
    platform.name_servers = NULL;
    shaky_platform(&platform);
}

/*--- What servers say ----------------------------------------------------------------------*/

static void say_bytes(peer *link, const char *bytes, size_t len)
{
    if (link->said_at == link->said_len) link->said_at = link->said_len = 0;
    grow(&link->said, &link->said_cap, link->said_len + len);
    if (len) memcpy(link->said + link->said_len, bytes, len);
    link->said_len += len;
}

static void say_text(peer *link, const char *text) { say_bytes(link, text, strlen(text)); }

__attribute__((format(printf, 2, 3)))
static void say(peer *link, const char *format, ...)
{
    static char text[262144];
    va_list values;
    va_start(values, format);
    say_bytes(link, text, (size_t)vsnprintf(text, sizeof text, format, values));
    va_end(values);
}

static bool heard(const peer *link, const char *text) { return strstr(link->heard, text) != NULL; }

static const char definition[] =
    "{\"id\":\"c\",\"_rid\":\"abcdAMsp2wQ=\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":2}}";

static void reply(peer *link, int status, const char *lines, const char *body)
{
    say(link, "HTTP/1.1 %d Some Words\r\n%sContent-Length: %zu\r\n\r\n", status, lines, strlen(body));
    say_text(link, body);
}

/*--- Clients, and all that can be asked of them --------------------------------------------*/

/* One line each, whatever a server put into it. */
static void check_log(int level, const char *message, uint64_t op_id, void *user_data)
{
    (void)op_id; (void)user_data;
    CHECK(level >= 1 && level <= 4 && *message);
    for (; *message; message++) CHECK((unsigned char)*message >= ' ' && *message != 127);
}

static aiocosmos_options usual_options(void)
{
    aiocosmos_options options;
    memset(&options, 0, sizeof options);
    options.logger.fn = check_log;
    options.logger.level_max = 4;
    options.endpoint = "http://127.0.0.1:8081/";
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.default_database = "db";
    options.allocator.fn = heap_fn;
    options.platform = &shaky.platform;
    return options;
}

static aiocosmos_client *open_client(const aiocosmos_options *options)
{
    char why[256];
    aiocosmos_client *client = NULL;
    if (aiocosmos_create(options, &client, why, sizeof why) != 0) CHECK_STR(why, "a client");
    return client;
}

static inline aiocosmos_client *open_usual(void)
{
    aiocosmos_options options = usual_options();
    return open_client(&options);
}

static void nothing_is_left(void)
{
    int i;
    CHECK_INT(heap.blocks, 0);
    CHECK_INT(heap.bytes, 0);
    for (i = 0; i < LINKS; i++) CHECK(!net.links[i].open);
}

static void close_client(aiocosmos_client *client)
{
    aiocosmos_destroy(client);
    nothing_is_left();
}

static inline void drain(aiocosmos_client *client)
{
    CHECK_INT(aiocosmos_drain(client, PATIENCE_MS), 0);
    CHECK_INT(aiocosmos_pending(client), 0);
}

#endif
