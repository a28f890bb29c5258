/* shaky.h: a platform over another one, real or made up, whose calls fail when a test says so. */
#ifndef SHAKY_H
#define SHAKY_H

#include "aiocosmos.h"

#include <string.h>

enum { CALL_OPEN, CALL_ERROR, CALL_SEND, CALL_RECEIVE, CALL_WATCH, CALL_WAIT, CALL_ENTROPY, CALLS };

static struct shaky {
    aiocosmos_platform platform, under;
    unsigned long calls[CALLS], fail_from[CALLS], fail_to[CALLS];      /* calls with these numbers fail; 0: none */
    int fail_with[CALLS];
} shaky;

/* What a call can come to; a socket that opens AGAIN would be one. */
static const int shaky_errors[] = { AIOCOSMOS_IO_AGAIN, AIOCOSMOS_IO_CLOSED, AIOCOSMOS_IO_LIMIT, AIOCOSMOS_IO_FAILED,
                                    AIOCOSMOS_IO_UNREACHABLE };

static bool shaky_fails(int call)
{
    unsigned long n = ++shaky.calls[call];
    return n >= shaky.fail_from[call] && n <= shaky.fail_to[call];
}

static int shaky_entropy(void *user_data, void *out, size_t len)
{
    return shaky_fails(CALL_ENTROPY) ? shaky.fail_with[CALL_ENTROPY] : shaky.under.entropy(user_data, out, len);
}

static int shaky_open(void *user_data, intptr_t *out, bool datagram, const aiocosmos_address *peer)
{
    return shaky_fails(CALL_OPEN) ? shaky.fail_with[CALL_OPEN] : shaky.under.socket_open(user_data, out, datagram, peer);
}

static int shaky_error(void *user_data, intptr_t socket)
{
    return shaky_fails(CALL_ERROR) ? shaky.fail_with[CALL_ERROR] : shaky.under.socket_error(user_data, socket);
}

static ptrdiff_t shaky_send(void *user_data, intptr_t socket, const aiocosmos_slice *slices, size_t count)
{
    return shaky_fails(CALL_SEND) ? shaky.fail_with[CALL_SEND]
                                  : shaky.under.socket_send(user_data, socket, slices, count);
}

static ptrdiff_t shaky_receive(void *user_data, intptr_t socket, void *out, size_t cap)
{
    return shaky_fails(CALL_RECEIVE) ? shaky.fail_with[CALL_RECEIVE]
                                     : shaky.under.socket_receive(user_data, socket, out, cap);
}

static int shaky_set(void *user_data, void *poller, intptr_t socket, unsigned had, unsigned want, void *source)
{
    if (want && shaky_fails(CALL_WATCH)) return shaky.fail_with[CALL_WATCH];
    return shaky.under.poller_set(user_data, poller, socket, had, want, source);
}

static int shaky_wait(void *user_data, void *poller, aiocosmos_event *events, int cap, int timeout_ms)
{
    return shaky_fails(CALL_WAIT) ? shaky.fail_with[CALL_WAIT]
                                  : shaky.under.poller_wait(user_data, poller, events, cap, timeout_ms);
}

/* Nothing fails yet. */
static inline const aiocosmos_platform *shaky_platform(const aiocosmos_platform *under)
{
    memset(&shaky, 0, sizeof shaky);
    shaky.under = shaky.platform = *under;
    shaky.platform.entropy = shaky_entropy;
    shaky.platform.socket_open = shaky_open;
    shaky.platform.socket_error = shaky_error;
    shaky.platform.socket_send = shaky_send;
    shaky.platform.socket_receive = shaky_receive;
    shaky.platform.poller_set = shaky_set;
    shaky.platform.poller_wait = shaky_wait;
    return &shaky.platform;
}

/* Calls of that kind fail from the nth on, which counts from the beginning: that one, or all. */
static inline void shaky_fail(int call, unsigned long nth, bool for_good, int with)
{
    shaky.fail_from[call] = nth;
    shaky.fail_to[call] = for_good ? ~0ul : nth;
    shaky.fail_with[call] = with;
}

static inline void shaky_recover(void)
{
    memset(shaky.fail_to, 0, sizeof shaky.fail_to);
    memset(shaky.fail_from, 0, sizeof shaky.fail_from);
}

#endif
