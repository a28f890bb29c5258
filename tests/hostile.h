/* A made-up world for clients: memory that is counted and can run out, a network whose servers are functions of the
 * test, and a clock that runs only when somebody waits. So 30 s of silence take no time, and every run is the same. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "client_inside.h"
#include "test.h"
#include "heap.h"
#include "shaky.h"
#include "world.h"
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

typedef world_socket peer;

static world_net net;
static world_machine machine;

static struct {
    void (*answer)(peer *link);              /* a whole request is in link->out; NULL: silence */
    int requests;
} remote;

/* Whether a whole request has been heard. */
static bool net_heard(peer *link)
{
    const char *end, *length;
    if (link->out_len == link->searched_len) return false;
    link->searched_len = link->out_len;
    if ((end = strstr(link->out, "\r\n\r\n")) == NULL) return false;
    length = strstr(link->out, "Content-Length: ");
    return link->out_len >= (size_t)(end + 4 - link->out) + (length && length < end ? (size_t)atol(length + 16) : 0);
}

static void net_serve(world_machine *whose)
{
    size_t i;
    for (i = 0; i < whose->count; i++) {
        peer *link = whose->sockets[i];
        if (link->closed || link->broken || !remote.answer || !net_heard(link)) continue;
        remote.requests++;
        link->requests++;
        remote.answer(link);
        link->out_len = link->searched_len = 0;
    }
}

static void net_open(peer *link)
{
    if (link->datagram) link->comes_to = AIOCOSMOS_IO_UNSUPPORTED;
}

static void net_begin(void (*answer)(peer *link))
{
    memset(&heap, 0, sizeof heap);
    world_begin(&net);
    world_machine_begin(&machine, &net);
    net.tick_us = 1;
    net.servers.open = net_open;
    net.servers.turn = net_serve;
    remote.answer = answer;
    remote.requests = 0;
    machine.platform.system_roots = aiocosmos_system_platform()->system_roots;
    shaky_platform(&machine.platform);
}

/* Connections take so long. */
static inline void net_is_slow(uint64_t us) { net.v4.delay_us = net.v6.delay_us = us; }

/*--- What servers say ----------------------------------------------------------------------*/

static void say_bytes(peer *link, const char *bytes, size_t len) { world_say(link, bytes, len); }

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

static bool heard(const peer *link, const char *text) { return strstr(link->out, text) != NULL; }

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
    CHECK_INT(heap.blocks, 0);
    CHECK_INT(heap.bytes, 0);
    CHECK_INT(net.open, 0);
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
