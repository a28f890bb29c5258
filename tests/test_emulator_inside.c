/* test_emulator_inside.c: the emulator as the network of a client in the same process. */
#include "inside.h"

#include <time.h>

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void fault(const char *rule)
{
    char why[200];
    aiocosmos_emulator_clear_faults(emulator);
    if (!aiocosmos_emulator_fault(emulator, rule, why, sizeof why)) test_fail(__FILE__, __LINE__, "%s: %s", rule, why);
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
