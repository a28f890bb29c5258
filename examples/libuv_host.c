/* libuv_host.c: the client in a libuv loop, beside a timer that wants a reading stored every 5 ms. With the emulator:
 * cc -I. -o build/libuv_host examples/libuv_host.c -lbearssl -luv && build/libuv_host */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { READINGS = 50, EVERY_MS = 5 };
static int taken, stored;

/* The adapter: this and the next four functions. */
typedef struct host { aiocosmos_client *client; uv_poll_t poll; uv_timer_t timer; uv_prepare_t prepare; } host;

static void on_io(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    aiocosmos_step(((host *)poll->data)->client, 0);
}

static void on_timeout(uv_timer_t *timer) { aiocosmos_step(((host *)timer->data)->client, 0); }

/* Before each wait of the loop: how long may it be, and is there anything to wait for? */
static void on_prepare(uv_prepare_t *prepare)
{
    host *h = prepare->data;
    int timeout_ms = aiocosmos_next_timeout_ms(h->client);
    if (timeout_ms < 0) uv_timer_stop(&h->timer);
    else uv_timer_start(&h->timer, on_timeout, (uint64_t)timeout_ms, 0);
    if (aiocosmos_pending(h->client) > 0) uv_ref((uv_handle_t *)&h->poll);
    else uv_unref((uv_handle_t *)&h->poll);
}

static int start(host *h, uv_loop_t *loop, aiocosmos_client *client)
{
    int status = uv_poll_init(loop, &h->poll, (int)aiocosmos_fd(client));        /* speaks for all connections */
    if (status < 0) return status;
    uv_timer_init(loop, &h->timer);
    uv_prepare_init(loop, &h->prepare);
    h->client = client;
    h->poll.data = h->timer.data = h->prepare.data = h;
    uv_unref((uv_handle_t *)&h->timer);          /* only what is pending keeps uv_run() from returning */
    uv_unref((uv_handle_t *)&h->prepare);
    uv_prepare_start(&h->prepare, on_prepare);
    return uv_poll_start(&h->poll, UV_READABLE, on_io);
}

static void on_stored(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    if (result->status == 0) stored++;
    else printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
}

static void store_reading(uv_timer_t *every)
{
    char text[64];                               /* submit copies it */
    aiocosmos_request request = {0};
    snprintf(text, sizeof text, "{\"id\":\"%d\",\"station\":\"roof\"}", ++taken);
    request.kind = AIOCOSMOS_UPSERT_ITEM;
    request.container = "readings";
    request.pk = aiocosmos_pk_s("roof");
    request.body = aiocosmos_text(text);
    request.done = on_stored;
    if (aiocosmos_submit(every->data, &request, NULL) < 0) puts(aiocosmos_last_error(every->data));
    if (taken == READINGS) uv_close((uv_handle_t *)every, NULL);
}

int main(void)
{
    aiocosmos_options options = {0};
    aiocosmos_request make = {0};
    aiocosmos_client *client;
    host cosmos;
    uv_loop_t *loop = uv_default_loop();
    uv_timer_t every;
    char why[256];
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-libuv-host";
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return puts(aiocosmos_last_error(client)), 1;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "readings";
    make.partition_key_paths[0] = "/station";
    if (aiocosmos_run(client, &make, NULL) != 0) return puts(aiocosmos_last_error(client)), 1;
    if (start(&cosmos, loop, client) < 0) return puts("the loop cannot watch the client"), 1;
    uv_timer_init(loop, &every);
    every.data = client;
    uv_timer_start(&every, store_reading, EVERY_MS, EVERY_MS);
    uv_run(loop, UV_RUN_DEFAULT);                /* returns when the timer is closed and nothing is pending */
    uv_close((uv_handle_t *)&cosmos.poll, NULL);
    uv_close((uv_handle_t *)&cosmos.timer, NULL);
    uv_close((uv_handle_t *)&cosmos.prepare, NULL);
    uv_run(loop, UV_RUN_DEFAULT);                /* closes them: before the client, whose descriptor it is */
    aiocosmos_destroy(client);
    uv_loop_close(loop);
    printf("%d of %d readings stored\n", stored, READINGS);
    return stored == READINGS ? 0 : 1;
}
/* In JavaScript, with @azure/cosmos, the loop is Node's own, which is libuv's:
 *     const every = setInterval(async () => {
 *         const id = String(++taken);
 *         if (taken === READINGS) clearInterval(every);
 *         await readings.items.upsert({ id, station: "roof" });
 *         stored++;
 *     }, EVERY_MS); */
