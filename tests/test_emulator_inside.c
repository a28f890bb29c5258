/* test_emulator_inside.c: the emulator as the network of a client in the same process. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"

#include "heap.h"
#include "test.h"
#include "tools/emulator/aiocosmos_emulator.h"

#include <time.h>

static aiocosmos_emulator *emulator;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int open_client(aiocosmos_client **client, const char *endpoint)
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

static bool open_emulator(void)
{
    aiocosmos_emulator_options options = {0};
    options.allocate = heap_fn;
    emulator = aiocosmos_emulator_open(&options, NULL);
    return emulator != NULL;
}

static int make(aiocosmos_client *client)
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

static int run(aiocosmos_client *client, aiocosmos_kind kind, const char *body, uint32_t timeout_ms)
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

static aiocosmos_client *begin(void)
{
    aiocosmos_client *client;
    CHECK(open_emulator());
    CHECK_INT(open_client(&client, "http://localhost:8081"), 0);
    CHECK_INT(make(client), 0);
    CHECK_INT(run(client, AIOCOSMOS_CREATE_ITEM, "{\"id\":\"a\"}", 0), 0);
    return client;
}

static void end(aiocosmos_client *client)
{
    aiocosmos_destroy(client);
    aiocosmos_emulator_close(emulator);
    CHECK_INT(heap.bytes, 0);
}

static void fault(const char *rule)
{
    char why[200];
    aiocosmos_emulator_clear_faults(emulator);
    if (!aiocosmos_emulator_fault(emulator, rule, why, sizeof why)) test_fail(__FILE__, __LINE__, "%s: %s", rule, why);
}

/* Answers with its arguments. */
static int echo(aiocosmos_emulator_call *call, void *user_data)
{
    (void)user_data;
    aiocosmos_emulator_print(call, "for ");
    aiocosmos_emulator_print(call, call->partition_key.len == 5 ? "a" : "?");
    aiocosmos_emulator_answer(call, call->input.ptr, call->input.len);
    return 200;
}

static void procedure_done(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_str log = aiocosmos_result_header(result, "x-ms-documentdb-script-log-results");
    (void)client;
    CHECK_INT(result->status, 0);
    CHECK_INT(result->fate, AIOCOSMOS_FATE_ANSWERED);
    CHECK(result->charge_ru > 0 && result->session_token.len > 0);
    snprintf((char *)user_data, 64, "%.*s|%.*s", (int)result->body.len, result->body.ptr, (int)log.len, log.ptr);
}

TEST(a_stored_procedure_is_executed)
{
    static const char *const logging[] = { "x-ms-documentdb-script-enable-logging: True", NULL };
    aiocosmos_client *client = begin();
    aiocosmos_request request = {0}, make_it = {0};
    char got[64] = "";
    CHECK(aiocosmos_emulator_register(emulator, "echo", echo, NULL));
    request.kind = AIOCOSMOS_EXECUTE_PROCEDURE;
    request.container = "C";
    request.id = "echo";
    request.pk = aiocosmos_pk_s("a");
    request.body = aiocosmos_text("[1, \"x\"]");
    request.headers = logging;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 404);
    make_it.kind = AIOCOSMOS_RAW;
    make_it.raw_verb = "POST";
    make_it.raw_link = "dbs/D/colls/C/sprocs";
    make_it.body = aiocosmos_text("{\"id\":\"echo\",\"body\":\"function () {}\"}");
    CHECK_INT(aiocosmos_run(client, &make_it, NULL), 0);
    request.done = procedure_done;
    request.user_data = got;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK_STR(got, "[1, \"x\"]|for%20a");
    request.body = aiocosmos_text(NULL);
    request.headers = NULL;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK_STR(got, "[]|");
    end(client);
}

/* And no others. */
TEST(the_items_of_a_key_are_deleted)
{
    aiocosmos_client *client = begin();
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_CREATE_ITEM;
    request.container = "C";
    request.pk = aiocosmos_pk_s("b");
    request.body = aiocosmos_text("{\"id\":\"b\"}");
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    memset(&request, 0, sizeof request);
    request.kind = AIOCOSMOS_DELETE_PARTITION;
    request.container = "C";
    CHECK_INT(aiocosmos_run(client, &request, NULL), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(aiocosmos_last_error(client), "pk: required");
    request.pk = aiocosmos_pk_s("a");
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK_INT(run(client, AIOCOSMOS_READ_ITEM, NULL, 0), 404);
    request.kind = AIOCOSMOS_READ_ITEM;
    request.id = "b";
    request.pk = aiocosmos_pk_s("b");
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    end(client);
}

TEST(pauses_take_no_time_on_either_clock)
{
    aiocosmos_client *client = begin();
    int64_t before = aiocosmos_emulator_now_ms(emulator);
    double began = seconds();
    fault("status=429,retry_after_ms=4000,kind=read_item,count=3");
    CHECK_INT(run(client, AIOCOSMOS_READ_ITEM, NULL, 0), 0);
    CHECK(aiocosmos_emulator_now_ms(emulator) >= before + 12000);
    fault("delay_ms=3000,kind=read_item");
    CHECK_INT(run(client, AIOCOSMOS_READ_ITEM, NULL, 0), 0);
    CHECK(aiocosmos_emulator_now_ms(emulator) >= before + 15000);
    CHECK(seconds() - began < 5);
    end(client);
}

TEST(an_answer_that_never_comes_is_given_up_at_once)
{
    aiocosmos_client *client = begin();
    double began = seconds();
    fault("action=hang,kind=read_item");
    CHECK_INT(run(client, AIOCOSMOS_READ_ITEM, NULL, 20000), AIOCOSMOS_E_TIMEOUT);
    CHECK(seconds() - began < 5);
    end(client);
}

TEST(time_passes_when_it_is_told_to)
{
    aiocosmos_client *client = begin();
    int64_t before = aiocosmos_emulator_now_ms(emulator);
    aiocosmos_emulator_advance(emulator, 3600000);
    aiocosmos_emulator_advance(emulator, -1);
    CHECK(aiocosmos_emulator_now_ms(emulator) >= before + 3600000);
    CHECK_INT(run(client, AIOCOSMOS_READ_ITEM, NULL, 0), 0);         /* signed by the same clock */
    end(client);
}

TEST(connections_end_in_every_way)
{
    static const char *const rules[] = {
        "action=reset,count=1", "action=close,count=1", "action=truncate,at=20,count=1", "action=end", "action=trickle",
        "action=chunked", "action=garble,at=0,count=1", "action=html,count=1", "status=503,count=2"
    };
    aiocosmos_client *client = begin();
    size_t i;
    for (i = 0; i < sizeof rules / sizeof *rules; i++) {
        fault(rules[i]);
        if (run(client, AIOCOSMOS_READ_ITEM, NULL, 0) != 0) test_fail(__FILE__, __LINE__, "%s", rules[i]);
        CHECK_INT(run(client, AIOCOSMOS_READ_ITEM, NULL, 0), 0);
    }
    end(client);
}

TEST(a_large_item_goes_both_ways)
{
    enum { SIZE = 1900000 };
    aiocosmos_client *client = begin();
    char *body = (char *)malloc(SIZE + 32);
    CHECK(body);
    memset(body + sprintf(body, "{\"id\":\"a\",\"text\":\""), 'x', SIZE);
    strcpy(body + 18 + SIZE, "\"}");
    CHECK_INT(run(client, AIOCOSMOS_UPSERT_ITEM, body, 0), 0);
    CHECK_INT(run(client, AIOCOSMOS_READ_ITEM, NULL, 0), 0);
    free(body);
    end(client);
}

TEST(several_clients_meet_the_same_service)
{
    aiocosmos_client *one = begin(), *other;
    CHECK_INT(open_client(&other, "http://127.0.0.1:1"), 0);
    CHECK_INT(run(other, AIOCOSMOS_READ_ITEM, NULL, 0), 0);
    CHECK_INT(run(other, AIOCOSMOS_UPSERT_ITEM, "{\"id\":\"a\",\"n\":2}", 0), 0);
    CHECK_INT(run(one, AIOCOSMOS_READ_ITEM, NULL, 0), 0);
    aiocosmos_destroy(other);
    end(one);
}

TEST(there_are_no_names_and_no_tls)
{
    aiocosmos_client *client = begin(), *other;
    double began = seconds();
    CHECK_INT(open_client(&other, "http://elsewhere.example:80"), 0);
    CHECK_INT(run(other, AIOCOSMOS_READ_ITEM, NULL, 0), AIOCOSMOS_E_DNS);
    aiocosmos_destroy(other);
    CHECK(seconds() - began < 5);
    end(client);
}

TEST(who_waits_for_ever_is_woken)
{
    aiocosmos_client *client = begin();
    aiocosmos_wake(client);
    aiocosmos_step(client, -1);
    end(client);
}

/* Whatever fails, nothing is lost and nothing is left behind. */
TEST(every_allocation_may_fail)
{
    unsigned long n, failed = 1;
    for (n = 1; failed; n += 1 + n / 16) {
        aiocosmos_client *client = NULL;
        heap_fail(&heap, n, 1);
        failed = heap.failed;
        if (open_emulator()) {
            if (open_client(&client, "http://localhost:8081") == 0) {
                if (make(client) == 0) run(client, AIOCOSMOS_CREATE_ITEM, "{\"id\":\"a\"}", 0);
                aiocosmos_destroy(client);
            }
            aiocosmos_emulator_close(emulator);
        }
        failed = heap.failed - failed;
        heap_recover(&heap);
        CHECK_INT(heap.bytes, 0);
    }
    CHECK(n > 40);
}
