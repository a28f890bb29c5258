/* poll_host.c: the client in a poll() loop, beside a pipe from which it takes orders no faster than it can store them.
 * With build/aiocosmos-emulator: cc -I. -o build/poll_host examples/poll_host.c -lbearssl && build/poll_host */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ORDERS = 500, IN_FLIGHT_MAX = 20, WATCHED_MAX = 64 };
static int stored;

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

static void store(aiocosmos_client *client, int order)
{
    char text[64], id[16];                       /* submit copies them */
    aiocosmos_request request = {0};
    snprintf(id, sizeof id, "%d", order);
    request.kind = AIOCOSMOS_UPSERT_ITEM;
    request.container = "orders";
    request.pk = aiocosmos_pk_s(id);
    request.body.len = (size_t)snprintf(text, sizeof text, "{\"id\":\"%s\"}", id);
    request.body.ptr = text;
    request.done = on_stored;
    if (aiocosmos_submit(client, &request, NULL) < 0) puts(aiocosmos_last_error(client));
}

/* Another process makes the orders. It is started before there is a client, which a child must not use. */
static int start_orders(void)
{
    int ends[2], order;
    pid_t child;
    if (pipe(ends) < 0 || (child = fork()) < 0) return perror("orders"), -1;
    if (child > 0) return close(ends[1]), ends[0];
    close(ends[0]);
    for (order = 1; order <= ORDERS; order++) if (write(ends[1], &order, sizeof order) < 0) _exit(1);
    _exit(0);
}

static bool make_container(aiocosmos_client *client)
{
    aiocosmos_request make = {0};
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return false;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "orders";
    make.partition_key_paths[0] = "/id";
    return aiocosmos_run(client, &make, NULL) == 0;
}

int main(void)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    int order, orders = start_orders();
    char why[256];

    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-poll-host";
    options.connections_max = 8;                 /* so that there are few descriptors: one each, and a few more */
    options.on_failure = on_failure;
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    if (!make_container(client)) return 1;

    while (orders >= 0 || aiocosmos_pending(client) > 0) {
        aiocosmos_pollfd watched[WATCHED_MAX];
        struct pollfd polled[WATCHED_MAX + 1];
        size_t i, count = aiocosmos_poll_fds(client, watched, WATCHED_MAX);     /* anew: connections come and go */
        if (count > WATCHED_MAX) return puts("no room for that many descriptors"), 1;
        for (i = 0; i < count; i++) {
            polled[i].fd = (int)watched[i].fd;
            polled[i].events = (short)((watched[i].read ? POLLIN : 0) | (watched[i].write ? POLLOUT : 0));
        }
        /* While enough is in flight the orders can wait: poll() skips a negative descriptor. */
        polled[count].fd = aiocosmos_pending(client) < IN_FLIGHT_MAX ? orders : -1;
        polled[count].events = POLLIN, polled[count].revents = 0;
        if (poll(polled, (nfds_t)count + 1, aiocosmos_next_timeout_ms(client)) < 0 && errno != EINTR) break;
        if (polled[count].revents && read(orders, &order, sizeof order) == sizeof order) store(client, order);
        else if (polled[count].revents) orders = -1;                           /* all have come */
        aiocosmos_step(client, 0);               /* finds by itself which connections are ready */
    }
    aiocosmos_destroy(client);
    printf("%d of %d orders stored\n", stored, ORDERS);
    return stored == ORDERS ? 0 : 1;
}
/* In Java, with azure-cosmos and Reactor, which asks for no more orders than are in flight:
 *     long stored = orders.flatMap(order -> container.upsertItem(order), IN_FLIGHT_MAX).count().block(); */
