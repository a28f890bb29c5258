/* test_with_emulator.c: a test of a small program, on an emulator inside of the test: no port, no other process, no wait.
 * cc -I. -Itools/emulator -o build/test examples/test_with_emulator.c build/libaiocosmos-emulator.a -lbearssl -lm && build/test */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "aiocosmos_emulator.h"

#include <stdio.h>
#include <string.h>

/*--- The program: it gives away each name once ---------------------------------*/

typedef enum taken { TAKEN_NOW, TAKEN_BEFORE, NOT_TAKEN } taken;

static taken take_name(aiocosmos_client *client, const char *name)
{
    char body[200];
    aiocosmos_request request = {0};
    int status;
    snprintf(body, sizeof body, "{\"id\":\"%s\",\"ttl\":60}", name);
    request.kind = AIOCOSMOS_CREATE_ITEM;
    request.database = "game";
    request.container = "names";
    request.body = aiocosmos_text(body);
    request.pk = aiocosmos_pk_s(name);
    status = aiocosmos_run(client, &request, NULL);
    return status == 0 ? TAKEN_NOW : status == 409 ? TAKEN_BEFORE : NOT_TAKEN;
}

static int make_container(aiocosmos_client *client)
{
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_CREATE_DATABASE;
    request.database = "game";
    if (aiocosmos_run(client, &request, NULL) != 0) return -1;
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.container = "names";
    request.partition_key_paths[0] = "/id";
    request.default_ttl_s = -1;                            /* names say how long they are taken */
    return aiocosmos_run(client, &request, NULL);
}

/*--- Its test ------------------------------------------------------------------*/

static int failed;

#define CHECK(what) ((what) ? (void)0 : (void)(failed++, printf("line %d: %s\n", __LINE__, #what)))

static void test(aiocosmos_client *client, aiocosmos_emulator *emulator)
{
    char why[200];
    uint64_t before;
    CHECK(make_container(client) == 0);
    CHECK(take_name(client, "ann") == TAKEN_NOW);
    CHECK(take_name(client, "ann") == TAKEN_BEFORE);

    aiocosmos_emulator_advance(emulator, 61000);           /* a minute later it is free again */
    CHECK(take_name(client, "ann") == TAKEN_NOW);

    /* A busy service asks for patience, here for 1.5 s in all, of which the test spends none. */
    before = aiocosmos_emulator_requests(emulator);
    CHECK(aiocosmos_emulator_fault(emulator, "status=429,retry_after_ms=500,kind=create_item,count=3", why, sizeof why));
    CHECK(take_name(client, "bob") == TAKEN_NOW);
    CHECK(aiocosmos_emulator_requests(emulator) == before + 4);

    /* The name was taken, but the answer is lost: was it us? The program has no idea, and says so. */
    CHECK(aiocosmos_emulator_fault(emulator, "action=reset,when=after,kind=create_item,count=1", why, sizeof why));
    CHECK(take_name(client, "eve") == NOT_TAKEN);
    CHECK(take_name(client, "eve") == TAKEN_BEFORE);
}

int main(void)
{
    aiocosmos_emulator *emulator = aiocosmos_emulator_open(NULL, NULL);
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    char why[256];
    if (!emulator) return puts("no memory"), 1;
    options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.platform = aiocosmos_emulator_platform(emulator);
    if (!options.platform || aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    test(client, emulator);
    aiocosmos_destroy(client);
    aiocosmos_emulator_close(emulator);
    printf("%s\n", failed ? "failed" : "passed");
    return failed > 0;
}
