/* epoll_host.c: the client in somebody else's epoll loop, beside a timer that wants a reading every 5 ms. Beside a
 * running build/aiocosmos-emulator: cc -I. -o build/epoll_host examples/epoll_host.c -lbearssl && build/epoll_host */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { READINGS = 50, EVERY_NS = 5000000 };
static int taken, stored;

static void on_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
}

static void on_stored(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    if (result->status == 0) stored++;
}

static void store_reading(aiocosmos_client *client)
{
    char text[64];                               /* submit copies it */
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_UPSERT_ITEM;
    request.container = "readings";
    request.pk = aiocosmos_pk_s("roof");
    request.body.len = (size_t)snprintf(text, sizeof text, "{\"id\":\"%d\",\"station\":\"roof\"}", ++taken);
    request.body.ptr = text;
    request.done = on_stored;
    if (aiocosmos_submit(client, &request, NULL) < 0) puts(aiocosmos_last_error(client));
}

static bool make_container(aiocosmos_client *client)
{
    aiocosmos_request make = {0};
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return false;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "readings";
    make.partition_key_paths[0] = "/station";
    return aiocosmos_run(client, &make, NULL) == 0;
}

static bool watch(int loop, int fd)
{
    struct epoll_event event = {EPOLLIN, {0}};
    event.data.fd = fd;
    return epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) == 0;
}

int main(void)
{
    static const struct itimerspec every = {{0, EVERY_NS}, {0, EVERY_NS}};
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    int loop = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    char why[256];

    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-epoll-host";
    options.on_failure = on_failure;
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    if (!make_container(client)) return 1;       /* this waits in the client; what follows waits in the loop only */

    if (timerfd_settime(timer, 0, &every, NULL) < 0 || !watch(loop, timer)) return perror("timer"), 1;
    /* One descriptor for all connections. It is the client's: ask for no other events, and never close it. */
    if (!watch(loop, (int)aiocosmos_fd(client))) return perror("client"), 1;
    while (taken < READINGS || aiocosmos_pending(client) > 0) {
        struct epoll_event ready[8];
        uint64_t ticks = 0;
        /* Asked each time: a submit does no I/O, so that the answer is 0 after it. */
        int i, count = epoll_wait(loop, ready, 8, aiocosmos_next_timeout_ms(client));
        if (count < 0 && errno != EINTR) return perror("epoll_wait"), 1;
        for (i = 0; i < count; i++) {
            if (ready[i].data.fd == timer && read(timer, &ticks, sizeof ticks) < 0) return perror("read"), 1;
        }
        for (; ticks > 0 && taken < READINGS; ticks--) store_reading(client);     /* a late loop has several to take */
        aiocosmos_step(client, 0);               /* costs next to nothing when neither descriptor nor timeout asked */
    }
    epoll_ctl(loop, EPOLL_CTL_DEL, (int)aiocosmos_fd(client), NULL);               /* it ends with the client */
    aiocosmos_destroy(client);
    printf("%d of %d readings stored\n", stored, READINGS);
    return stored == READINGS ? 0 : 1;
}
/* In Java, with azure-cosmos, the event loop is Netty's, on threads of its own, and calls back there:
 *     readings.upsertItem(reading).subscribe(answer -> stored.incrementAndGet(), error -> log(error)); */
