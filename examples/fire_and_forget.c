/* fire_and_forget.c: a game notes what happens in it and waits for no answer. At exit all notes are at rest, or it is
 * said which are not. With build/aiocosmos-emulator:
 * cc -I. -o build/fire_and_forget examples/fire_and_forget.c -lbearssl && build/fire_and_forget */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>

enum { FRAMES = 60, NOTES_A_FRAME = 5, AT_EXIT_MS = 2000 };
static int lost;

/* The only one that hears of a write without a callback. */
static void on_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    char line[1024];
    (void)client, (void)user_data;
    aiocosmos_result_describe(result, line, sizeof line);
    fprintf(stderr, "%s: %s\n", result->fate == AIOCOSMOS_FATE_MAYBE_APPLIED ? "maybe lost" : "lost", line);
    lost++;
}

static void note(aiocosmos_client *client, int frame, int player)
{
    char text[128];                              /* submit copies it */
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_UPSERT_ITEM;        /* with an id of our own: written twice, it is still one note */
    request.container = "notes";
    request.pk = aiocosmos_pk1(aiocosmos_i(player));
    snprintf(text, sizeof text, "{\"id\":\"frame-%d\",\"player\":%d,\"did\":\"jump\"}", frame, player);
    request.body = aiocosmos_text(text);
    if (aiocosmos_submit(client, &request, NULL) < 0) {          /* E_FULL, too: full.c shows how to wait for room */
        fprintf(stderr, "lost: %s\n", aiocosmos_last_error(client));
        lost++;
    }
}

static bool make_container(aiocosmos_client *client)
{
    aiocosmos_request make = {0};
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return false;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "notes";
    make.partition_key_paths[0] = "/player";
    return aiocosmos_run(client, &make, NULL) == 0;
}

int main(void)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    char why[256];
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-fire-and-forget";
    options.on_failure = on_failure;
    options.retry_writes = true;                 /* if an answer is lost, a write may be sent again */
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    if (!make_container(client)) return 1;
    for (int frame = 0; frame < FRAMES; frame++) {
        for (int player = 0; player < NOTES_A_FRAME; player++) note(client, frame, player);
        aiocosmos_step(client, 0);
    }
    /* A service that has gone must not keep a program from ending. What is under way still ends in destroy, which tells
     * on_failure of it. */
    if (aiocosmos_drain(client, AT_EXIT_MS) != 0) fprintf(stderr, "%u not at rest\n", aiocosmos_pending(client));
    aiocosmos_destroy(client);
    printf("%d notes, %d lost\n", FRAMES * NOTES_A_FRAME, lost);
    return lost == 0 ? 0 : 1;
}
/* In Python, with azure.cosmos.aio, somebody has to hold what nobody awaits:
 *     def note(doc):
 *         write = asyncio.create_task(notes.upsert_item(doc))
 *         writes.add(write)
 *         write.add_done_callback(on_done)      # takes it out of writes, and says why it failed
 *     _, not_at_rest = await asyncio.wait(writes, timeout=2) */
