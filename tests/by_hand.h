/* by_hand.h: a world of one machine, whose other side the test plays by hand: the nth socket is n. */
#ifndef BY_HAND_H
#define BY_HAND_H

#include "world.h"
#include "shaky.h"

static world_net net;
static world_machine machine;

/* Its platform, of a world that is made new. */
static inline const aiocosmos_platform *made_up(void)
{
    world_begin(&net);
    world_machine_begin(&machine, &net);
    return shaky_platform(&machine.platform);
}

static inline world_socket *socket_at(int fd)
{
    return world_socket_of(&machine, fd);
}

static inline bool is_open(int fd) { return net.sockets[fd]->machine != NULL; }

static inline void serve(int fd, const char *text) { world_say(socket_at(fd), text, strlen(text)); }

static inline void serve_long(int fd, const char *head, size_t len)
{
    char *body = (char *)malloc(len);
    serve(fd, head);
    memset(body, 'x', len);
    world_say(socket_at(fd), body, len);
    free(body);
}

static inline void hang_up(int fd) { socket_at(fd)->closed = true; }
static inline void reset(int fd) { socket_at(fd)->broken = AIOCOSMOS_IO_CLOSED; }

/* The socket opened last that still is. */
static inline int newest(void)
{
    CHECK(machine.count > 0);
    return machine.sockets[machine.count - 1]->number;
}

/* The time passes to when something is due next, a timer too, but not beyond until_us. */
static inline void pass_to_next(aioc_reactor *reactor, uint64_t until_us)
{
    uint64_t due_us;
    if (aioc_reactor_timer_next(reactor, &due_us) && due_us > net.now_us && due_us < until_us) until_us = due_us;
    net.now_us = world_next_us(&net, &machine, until_us);
}

#endif
