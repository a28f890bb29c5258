/* inside.h: a client and the emulator in one process: database D, container C by /id, item "a". */
#include "client_inside.h"

#include "heap.h"
#include "test.h"
#include "tools/emulator/aiocosmos_emulator.h"

static aiocosmos_emulator *emulator;

static inline int open_client(aiocosmos_client **client, const char *endpoint)
{
    aiocosmos_options options = {0};
    char why[256];
    options.endpoint = endpoint;
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.allow_http = true;
    options.platform = aiocosmos_emulator_platform(emulator);
    options.allocator.fn = heap_fn;
    options.default_database = "D";
    return options.platform ? aiocosmos_create(&options, client, why, sizeof why) : AIOCOSMOS_E_NOMEM;
}

static inline bool open_emulator(void)
{
    aiocosmos_emulator_options options = {0};
    options.allocate = heap_fn;
    emulator = aiocosmos_emulator_open(&options, NULL);
    return emulator != NULL;
}

static inline int make(aiocosmos_client *client)
{
    aiocosmos_request request = {0};
    int status;
    request.kind = AIOCOSMOS_CREATE_DATABASE;
    status = aiocosmos_run(client, &request, NULL);
    if (status != 0) return status;
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.container = "C";
    request.partition_key_paths[0] = "/id";
    return aiocosmos_run(client, &request, NULL);
}

static inline int run(aiocosmos_client *client, aiocosmos_kind kind, const char *body, uint32_t timeout_ms)
{
    aiocosmos_request request = {0};
    request.kind = kind;
    request.container = "C";
    request.pk = aiocosmos_pk_s("a");
    if (kind == AIOCOSMOS_READ_ITEM) request.id = "a";
    else request.body = aiocosmos_text(body);
    request.timeout_ms = timeout_ms;
    return aiocosmos_run(client, &request, NULL);
}

static inline aiocosmos_client *begin(void)
{
    aiocosmos_client *client;
    CHECK(open_emulator());
    CHECK_INT(open_client(&client, "http://localhost:8081"), 0);
    CHECK_INT(make(client), 0);
    CHECK_INT(run(client, AIOCOSMOS_CREATE_ITEM, "{\"id\":\"a\"}", 0), 0);
    return client;
}

static inline void end(aiocosmos_client *client)
{
    aiocosmos_destroy(client);
    aiocosmos_emulator_close(emulator);
    CHECK_INT(heap.bytes, 0);
}
