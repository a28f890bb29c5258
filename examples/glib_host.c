/* glib_host.c: the client in a GLib main loop, as a source beside a timer that wants a reading stored every 5 ms. With
 * the emulator: cc -I. -o build/glib_host examples/glib_host.c -lbearssl $(pkg-config --cflags --libs glib-2.0) &&
 * build/glib_host */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>

enum { READINGS = 50, EVERY_MS = 5 };
static int taken, ended, stored;
static GMainLoop *loop;

/* The adapter: this and the next four functions. */
typedef struct cosmos_source { GSource source; aiocosmos_client *client; gpointer watch; } cosmos_source;

static gboolean cosmos_prepare(GSource *source, gint *timeout_ms)
{
    *timeout_ms = aiocosmos_next_timeout_ms(((cosmos_source *)source)->client);
    return *timeout_ms == 0;
}

static gboolean cosmos_check(GSource *source)
{
    cosmos_source *cosmos = (cosmos_source *)source;
    return g_source_query_unix_fd(source, cosmos->watch) != 0 || aiocosmos_next_timeout_ms(cosmos->client) == 0;
}

static gboolean cosmos_dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
    (void)callback, (void)user_data;
    aiocosmos_step(((cosmos_source *)source)->client, 0);
    return G_SOURCE_CONTINUE;
}

static GSource *cosmos_source_new(aiocosmos_client *client)
{
    static GSourceFuncs functions = {cosmos_prepare, cosmos_check, cosmos_dispatch, NULL, NULL, NULL};
    GSource *source = g_source_new(&functions, sizeof(cosmos_source));
    ((cosmos_source *)source)->client = client;
    ((cosmos_source *)source)->watch = g_source_add_unix_fd(source, (gint)aiocosmos_fd(client), G_IO_IN);
    return source;
}

static void on_stored(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    if (result->status == 0) stored++;
    else printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
    if (++ended == READINGS) g_main_loop_quit(loop);
}

static gboolean store_reading(gpointer user_data)
{
    char text[64];                               /* submit copies it */
    aiocosmos_request request = {0};
    snprintf(text, sizeof text, "{\"id\":\"%d\",\"station\":\"roof\"}", taken);
    request.kind = AIOCOSMOS_UPSERT_ITEM;
    request.container = "readings";
    request.pk = aiocosmos_pk_s("roof");
    request.body = aiocosmos_text(text);
    request.done = on_stored;
    if (aiocosmos_submit(user_data, &request, NULL) < 0) puts(aiocosmos_last_error(user_data));     /* next time */
    else taken++;
    return taken < READINGS ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

int main(void)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    aiocosmos_request make = {0};
    GSource *source;
    char why[256];
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-glib-host";
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return puts(aiocosmos_last_error(client)), 1;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "readings";
    make.partition_key_paths[0] = "/station";
    if (aiocosmos_run(client, &make, NULL) != 0) return puts(aiocosmos_last_error(client)), 1;
    loop = g_main_loop_new(NULL, FALSE);
    source = cosmos_source_new(client);
    g_source_attach(source, NULL);
    g_timeout_add(EVERY_MS, store_reading, client);
    g_main_loop_run(loop);
    g_source_destroy(source);                    /* first: its descriptor ends with the client */
    g_source_unref(source);
    aiocosmos_destroy(client);
    g_main_loop_unref(loop);
    printf("%d of %d readings stored\n", stored, READINGS);
    return stored == READINGS ? 0 : 1;
}
/* In Python, with azure.cosmos.aio, GLib's loop becomes asyncio's (PyGObject 3.50 and later):
 *     asyncio.set_event_loop_policy(gi.events.GLibEventLoopPolicy())
 *     async def store_reading(taken):
 *         await readings.upsert_item({"id": str(taken), "station": "roof"}) */
