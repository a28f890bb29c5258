/* session_token.c: whichever server of a web site answers, users see what they wrote: a cookie has the session token.
 * With the emulator: cc -I. -o build/session_token examples/session_token.c -lbearssl && build/session_token */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
}

/* Each server has a client, which knows the tokens of its own reads and writes only. */
static aiocosmos_client *start_server(void)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    char why[256];
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-session-token";
    options.on_failure = on_failure;
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) puts(why);
    return client;                               /* NULL after a failure */
}

static bool make_container(aiocosmos_client *client)
{
    aiocosmos_request make = {0};
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return false;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "posts";
    make.partition_key_paths[0] = "/user";
    return aiocosmos_run(client, &make, NULL) == 0;
}

/* Cookies may not have the commas of a token. */
static void replace_all(char *text, char from, char to)
{
    for (; *text; text++) if (*text == from) *text = to;
}

/* POST: the answer sets the cookie. */
static bool write_post(aiocosmos_client *server, char *cookie, size_t cap)
{
    static const char post[] = "{\"id\":\"1\",\"user\":\"ann\",\"text\":\"hello\"}";
    aiocosmos_request write = {0};
    aiocosmos_str token;
    write.kind = AIOCOSMOS_UPSERT_ITEM;
    write.container = "posts";
    write.pk = aiocosmos_pk_s("ann");
    write.body.ptr = post;
    write.body.len = strlen(post);
    if (aiocosmos_run(server, &write, NULL) != 0) return false;
    token = aiocosmos_session_get(server, NULL, "posts");    /* "0:-1#42,1:-1#7": a part for each range in use */
    snprintf(cookie, cap, "%.*s", (int)token.len, token.ptr);
    replace_all(cookie, ',', '~');
    return token.len > 0 && token.len < cap;     /* a cookie holds about 4,000 bytes */
}

/* GET: the cookie comes from outside and may hold anything. So it counts for this request only: merged into the client,
 * by aiocosmos_session_merge(), a forged token of a far future would fail the reads of everybody. */
static int read_post(aiocosmos_client *server, const char *cookie)
{
    char token[4000];
    aiocosmos_request read = {0};
    snprintf(token, sizeof token, "%s", cookie);
    replace_all(token, '~', ',');
    read.kind = AIOCOSMOS_READ_ITEM;
    read.container = "posts";
    read.pk = aiocosmos_pk_s("ann");
    read.id = "1";
    read.session_token = aiocosmos_text(token);
    return aiocosmos_run(server, &read, NULL);
}

int main(void)
{
    aiocosmos_client *one = start_server(), *other = start_server();
    char cookie[4000];
    bool ok = one && other && make_container(one) && write_post(one, cookie, sizeof cookie);
    if (!ok) return puts("nothing was written"), 1;
    printf("Set-Cookie: session=%s\n", cookie);
    ok = read_post(other, cookie) == 0;
    printf("the other server %s\n", ok ? "has read the post" : "has not read the post");
    /* What is no token is refused before anything is sent. Go on without it, as for a user without a cookie. */
    ok = read_post(other, "0:-1#4x") == AIOCOSMOS_E_ARGUMENT && ok;
    printf("a damaged cookie: %s\n", aiocosmos_last_error(other));
    aiocosmos_destroy(one);
    aiocosmos_destroy(other);
    return ok ? 0 : 1;
}
/* In .NET, with Microsoft.Azure.Cosmos:
 *     var written = await posts.UpsertItemAsync(post, new PartitionKey("ann"));
 *     string cookie = written.Headers.Session;
 *     var options = new ItemRequestOptions { SessionToken = cookie };
 *     await posts.ReadItemAsync<Post>("1", new PartitionKey("ann"), options); */
