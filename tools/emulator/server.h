/* server.h: the core on sockets: one thread, one loop. */
#ifndef EMULATOR_SERVER_H
#define EMULATOR_SERVER_H

#include "aiocosmos_emulator.h"
#include "data.h"
#include "pages.h"
#include "tls.h"

#define EMU_RECEIVE     65536
#define EMU_LISTENERS   4

typedef struct server_options {
    const char *host, *certificate, *key_file;
    int port;
    bool tls;
    int connections;                                       /* 0: as many as there are descriptors for */
    double head_s, body_s, idle_s;                         /* what a peer may take for a head; for more of a body, or
                                                            * for reading; and for the next request */
    bool log;
    const char *data;                                      /* a file that keeps all; NULL: nothing does */
    bool sync;
    aiocosmos_emulator_options core;
} server_options;

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
    server_data data;
    server_tls *tls;
    peer *peers;
    peer *working, **last_working;                         /* those whose answers take slices of time, in turn */
    char receive[EMU_RECEIVE];
} server;

/* options are lent. False: why not has been said; to be closed all the same. */
EMU_PRIVATE bool server_open(server *s, const server_options *options);
/* On each address of the host. *port 0: any that is free, and then this one. */
EMU_PRIVATE bool server_listen(server *s, int *port);
EMU_PRIVATE void server_step(server *s);                   /* waits for something, and does it */
EMU_PRIVATE void server_close(server *s);

#endif
