/* network.c: the core as the other end of whatever a client in this process connects to: a table of functions in the
 * place of the system's.
 *
 * Where a poller would wait, the time until the next thing happens is added to both clocks instead: the client's, which
 * otherwise is the system's, and the core's. */
#include "network.h"

#include <string.h>

typedef struct emu_poller emu_poller;

typedef struct emu_socket {
    struct emu_socket *next;
    emu_conn *conn;
    emu_poller *poller;                                    /* that watches it */
    unsigned want;
    void *source;
} emu_socket;

struct emu_network {
    emu_core *core;
    aiocosmos_platform platform;
    emu_socket *sockets;
    uint64_t skipped_us;
};

struct emu_poller {
    aiocosmos_allocator allocator;
    void *system;                                          /* a poller of no sockets: who waits can be woken */
};

/*------------------------------------------------------------------------------
 * MARK: - Time and chance
 *----------------------------------------------------------------------------*/

static uint64_t emu_network_monotonic_us(void *user_data)
{
    return aioc_platform_system.monotonic_us(NULL) + ((emu_network *)user_data)->skipped_us;
}

static int64_t emu_network_wall_ms(void *user_data)
{
    return emu_now(&((emu_network *)user_data)->core->store.clock);
}

static void emu_network_skip(emu_network *network, int64_t ms)
{
    network->skipped_us += (uint64_t)ms * 1000;
    network->core->store.clock.ahead_ms += ms;
}

static int emu_network_entropy(void *user_data, void *out, size_t len)
{
    emu_clock *clock = &((emu_network *)user_data)->core->store.clock;
    unsigned char *at = (unsigned char *)out;
    for (; len > 0; len--) *at++ = (unsigned char)(emu_random(clock) >> 32);
    return 0;
}

/*------------------------------------------------------------------------------
 * MARK: - Sockets
 *----------------------------------------------------------------------------*/

static int emu_network_open(void *user_data, intptr_t *out, bool datagram, const aiocosmos_address *peer)
{
    emu_network *network = (emu_network *)user_data;
    emu_socket *made;
    (void)peer;
    if (datagram) return AIOCOSMOS_IO_UNREACHABLE;         /* there are no name servers */
    made = (emu_socket *)aioc_mem_zalloc(&network->core->store.memory, sizeof *made);
    if (!made) return AIOCOSMOS_IO_LIMIT;
    made->conn = aiocosmos_emulator_conn_open(network->core);
    if (!made->conn) {
        aioc_mem_free(&network->core->store.memory, made, sizeof *made);
        return AIOCOSMOS_IO_LIMIT;
    }
    made->next = network->sockets;
    network->sockets = made;
    *out = (intptr_t)made;
    return 0;
}

static int emu_network_error(void *user_data, intptr_t which)
{
    (void)user_data;
    (void)which;
    return 0;
}

static ptrdiff_t emu_network_send(void *user_data, intptr_t which, const aiocosmos_slice *slices, size_t count)
{
    emu_conn *conn = ((emu_socket *)which)->conn;
    ptrdiff_t sent = 0;
    size_t i;
    (void)user_data;
    if (aiocosmos_emulator_conn_state(conn) == AIOCOSMOS_EMULATOR_RESET) return AIOCOSMOS_IO_CLOSED;
    for (i = 0; i < count && !aiocosmos_emulator_conn_full(conn); i++) {
        aiocosmos_emulator_conn_feed(conn, (const char *)slices[i].ptr, slices[i].len);
        sent += (ptrdiff_t)slices[i].len;
    }
    return i > 0 || count == 0 ? sent : AIOCOSMOS_IO_AGAIN;
}

/* Nothing more will come. */
static bool emu_network_ended(emu_conn *conn)
{
    size_t len;
    aiocosmos_emulator_conn_output(conn, &len);
    return len == 0 && aiocosmos_emulator_conn_due_ms(conn) < 0 &&
           aiocosmos_emulator_conn_state(conn) == AIOCOSMOS_EMULATOR_CLOSING;
}

static ptrdiff_t emu_network_receive(void *user_data, intptr_t which, void *out, size_t cap)
{
    emu_conn *conn = ((emu_socket *)which)->conn;
    const char *bytes;
    size_t len;
    (void)user_data;
    if (aiocosmos_emulator_conn_state(conn) == AIOCOSMOS_EMULATOR_RESET) return AIOCOSMOS_IO_CLOSED;
    bytes = aiocosmos_emulator_conn_output(conn, &len);
    if (len == 0) return emu_network_ended(conn) ? 0 : AIOCOSMOS_IO_AGAIN;
    if (len > cap) len = cap;
    memcpy(out, bytes, len);
    aiocosmos_emulator_conn_sent(conn, len);
    return (ptrdiff_t)len;
}

static void emu_socket_close(emu_network *network, emu_socket *gone)
{
    emu_socket **at = &network->sockets;
    while (*at != gone) at = &(*at)->next;
    *at = gone->next;
    aiocosmos_emulator_conn_close(gone->conn);
    aioc_mem_free(&network->core->store.memory, gone, sizeof *gone);
}

static void emu_network_close_socket(void *user_data, intptr_t which)
{
    emu_socket_close((emu_network *)user_data, (emu_socket *)which);
}

/*------------------------------------------------------------------------------
 * MARK: - The poller
 *----------------------------------------------------------------------------*/

static int emu_poller_create(void *user_data, const aiocosmos_allocator *allocator, void **out)
{
    emu_poller *poller = (emu_poller *)aioc_platform_allocate(allocator, NULL, 0, sizeof *poller);
    int status;
    (void)user_data;
    if (!poller) return AIOCOSMOS_IO_LIMIT;
    poller->allocator = *allocator;
    status = aioc_platform_system.poller_create(NULL, allocator, &poller->system);
    if (status == 0) *out = poller;
    else aioc_platform_allocate(allocator, poller, sizeof *poller, 0);
    return status;
}

static void emu_poller_destroy(void *user_data, void *opaque)
{
    emu_poller *poller = (emu_poller *)opaque;
    aiocosmos_allocator allocator = poller->allocator;
    (void)user_data;
    aioc_platform_system.poller_destroy(NULL, poller->system);
    aioc_platform_allocate(&allocator, poller, sizeof *poller, 0);
}

static int emu_poller_set(void *user_data, void *poller, intptr_t which, unsigned had, unsigned want, void *source)
{
    emu_socket *watched = (emu_socket *)which;
    (void)user_data;
    (void)had;
    watched->poller = (emu_poller *)poller;
    watched->want = want;
    watched->source = source;
    return 0;
}

static unsigned emu_socket_ready(emu_socket *watched)
{
    emu_conn *conn = watched->conn;
    unsigned ready = 0;
    size_t len;
    aiocosmos_emulator_conn_tick(conn);
    if (aiocosmos_emulator_conn_state(conn) == AIOCOSMOS_EMULATOR_RESET)
        return AIOCOSMOS_READABLE | AIOCOSMOS_WRITABLE | AIOCOSMOS_HUNG_UP;
    aiocosmos_emulator_conn_output(conn, &len);
    if (len > 0) ready |= AIOCOSMOS_READABLE;
    if (emu_network_ended(conn)) ready |= AIOCOSMOS_READABLE | AIOCOSMOS_HUNG_UP;
    if (!aiocosmos_emulator_conn_full(conn)) ready |= AIOCOSMOS_WRITABLE;
    return ready;
}

static int emu_poller_look(emu_network *network, const emu_poller *poller, aiocosmos_event *events, int cap)
{
    emu_socket *watched;
    int count = 0;
    for (watched = network->sockets; watched && count < cap; watched = watched->next) {
        unsigned ready = watched->poller == poller && watched->want ? emu_socket_ready(watched) : 0;
        if (!(ready & watched->want)) continue;
        events[count].source = watched->source;
        events[count++].ready = ready & (watched->want | AIOCOSMOS_HUNG_UP);
    }
    return count;
}

/* How long until an answer that is held back comes, or as long as the client would wait; -1: for ever. */
static int64_t emu_poller_pause(emu_network *network, int timeout_ms)
{
    int64_t now_ms = emu_now(&network->core->store.clock), pause_ms = timeout_ms;
    const emu_socket *watched;
    for (watched = network->sockets; watched; watched = watched->next) {
        int64_t due_ms = aiocosmos_emulator_conn_due_ms(watched->conn);
        if (due_ms < 0 || due_ms == INT64_MAX) continue;
        due_ms = due_ms > now_ms ? due_ms - now_ms : 0;
        if (pause_ms < 0 || due_ms < pause_ms) pause_ms = due_ms;
    }
    return pause_ms;
}

static int emu_poller_wait(void *user_data, void *opaque, aiocosmos_event *events, int cap, int timeout_ms)
{
    emu_network *network = (emu_network *)user_data;
    emu_poller *poller = (emu_poller *)opaque;
    int count = emu_poller_look(network, poller, events, cap);
    int64_t pause_ms = count > 0 ? 0 : emu_poller_pause(network, timeout_ms);
    aiocosmos_event none;
    aioc_platform_system.poller_wait(NULL, poller->system, &none, 1, pause_ms < 0 ? -1 : 0);
    if (pause_ms <= 0) return count;
    emu_network_skip(network, pause_ms);
    return emu_poller_look(network, poller, events, cap);
}

static void emu_poller_wake(void *user_data, void *poller)
{
    (void)user_data;
    aioc_platform_system.poller_wake(NULL, ((emu_poller *)poller)->system);
}

static intptr_t emu_poller_fd(void *user_data, void *poller)
{
    (void)user_data;
    (void)poller;
    return -1;
}

static intptr_t emu_poller_wake_fd(void *user_data, void *poller)
{
    (void)user_data;
    return aioc_platform_system.poller_wake_fd(NULL, ((emu_poller *)poller)->system);
}

static ptrdiff_t emu_network_file(void *user_data, const char *path, void *out, size_t cap)
{
    (void)user_data;
    (void)path;
    (void)out;
    (void)cap;
    return AIOCOSMOS_IO_FAILED;
}

/*------------------------------------------------------------------------------
 * MARK: - The table
 *----------------------------------------------------------------------------*/

const aiocosmos_platform *aiocosmos_emulator_platform(aiocosmos_emulator *core)
{
    emu_network *network = core->network;
    aiocosmos_platform *table;
    if (network) return &network->platform;
    network = (emu_network *)aioc_mem_zalloc(&core->store.memory, sizeof *network);
    if (!network) return NULL;
    core->network = network;
    network->core = core;
    table = &network->platform;
    table->user_data = network;
    table->monotonic_us = emu_network_monotonic_us;
    table->wall_ms = emu_network_wall_ms;
    table->entropy = emu_network_entropy;
    table->socket_open = emu_network_open;
    table->socket_error = emu_network_error;
    table->socket_send = emu_network_send;
    table->socket_receive = emu_network_receive;
    table->socket_close = emu_network_close_socket;
    table->poller_create = emu_poller_create;
    table->poller_destroy = emu_poller_destroy;
    table->poller_set = emu_poller_set;
    table->poller_wait = emu_poller_wait;
    table->poller_wake = emu_poller_wake;
    table->poller_fd = emu_poller_fd;
    table->poller_wake_fd = emu_poller_wake_fd;
    table->file_read = emu_network_file;
    return table;
}

void aiocosmos_emulator_advance(aiocosmos_emulator *core, int64_t ms)
{
    if (ms <= 0) return;
    core->store.clock.ahead_ms += ms;
    if (core->network) core->network->skipped_us += (uint64_t)ms * 1000;
}

void emu_network_close(emu_network *network)
{
    if (!network) return;
    while (network->sockets) emu_socket_close(network, network->sockets);
    aioc_mem_free(&network->core->store.memory, network, sizeof *network);
}
