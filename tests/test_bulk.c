/* The pace of a bulk, alone: what a 429 and a clean answer do to what may be under way, how long a bulk pauses, what a
 * budget of units leaves, and when items are pulled. No network, and a clock that the tests set. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include <stdlib.h>

enum { SLOTS = 128 };

static struct world {
    aioc_mem memory;
    aioc_reactor reactor;
    aioc_op_engine engine;
    aiocosmos_options options;
    aioc_bulk_list bulks;
    aioc_bulk bulk;
    aioc_account_container container;
    aioc_op op;
    aioc_bulk_queue shares[16];
    int pulls, pull_answer;
} world;

static aiocosmos_pull pull(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    (void)client; (void)item; (void)user_data;
    world.pulls++;
    return (aiocosmos_pull)world.pull_answer;
}

/* A bulk that may send so many requests of so many operations, and has so many operations under way. */
static void open_world(uint32_t requests, uint32_t unit, uint32_t operations)
{
    aiocosmos_allocator none = {NULL, NULL};
    aioc_bulk *bulk = &world.bulk;
    memset(&world, 0, sizeof world);
    aioc_mem_init(&world.memory, &none, 1u << 20);
    world.reactor.now_us = 1000000;
    world.engine.memory = &world.memory;
    world.engine.reactor = &world.reactor;
    world.engine.options = &world.options;
    world.options.pending_max = world.engine.free_count = SLOTS;
    world.options.attempt_timeout_ms = 1000;
    world.bulks.engine = &world.engine;
    aioc_mem_list_add(&world.bulks.bulks, &bulk->node);
    world.bulks.count = world.engine.pending = 1;
    bulk->all = &world.bulks;
    bulk->container = &world.container;
    bulk->request.next = pull;
    bulk->request.concurrency_max = requests;
    bulk->op = &world.op;
    bulk->request.single_items = unit == 1;
    bulk->share_count = unit == 1 ? 0 : requests;
    bulk->shares = world.shares;
    bulk->allowed = INT32_MAX;
    bulk->operations = operations;
    bulk->requests = (operations + unit - 1) / unit;
    bulk->left = operations;
    world.bulks.left = operations;
}

static void throttle_for(uint64_t wait_us)
{
    aioc_bulk_throttled(&world.bulk, world.reactor.now_us, wait_us, false);
}

TEST(a_429_halves_what_may_be_under_way)
{
    open_world(40, 1, 40);
    throttle_for(0);
    CHECK_INT(world.bulk.allowed, 20);
    CHECK_INT(world.bulk.totals.throttled, 1);
    open_world(8, 100, 300);
    CHECK_INT(aioc_bulk_totals(&world.bulk).concurrency, 8);
    throttle_for(0);                                       /* of what was under way, not of what might have been */
    CHECK_INT(world.bulk.allowed, 150);
    CHECK_INT(aioc_bulk_totals(&world.bulk).concurrency, 2);
}

TEST(those_sent_before_the_last_halving_say_nothing_new)
{
    int i;
    open_world(40, 1, 40);
    for (i = 0; i < 10; i++) throttle_for(0);
    CHECK_INT(world.bulk.allowed, 20);
    CHECK_INT(world.bulk.totals.throttled, 10);
    world.reactor.now_us += 1000;
    throttle_for(0);
    CHECK_INT(world.bulk.allowed, 10);
}

TEST(one_may_always_be_under_way)
{
    int i;
    open_world(40, 1, 0);
    for (i = 0; i < 20; i++) {
        world.reactor.now_us += 1000;
        throttle_for(0);
    }
    CHECK_INT(world.bulk.allowed, 1);
    CHECK_INT(aioc_bulk_room(&world.bulk), 1);
}

TEST(a_clean_window_allows_more)
{
    int i;
    open_world(40, 1, 40);
    throttle_for(0);
    for (i = 0; i < 19; i++) aioc_bulk_unthrottled(&world.bulk, world.reactor.now_us);
    CHECK_INT(world.bulk.allowed, 20);
    aioc_bulk_unthrottled(&world.bulk, world.reactor.now_us);
    CHECK_INT(world.bulk.allowed, 21);
    open_world(8, 100, 300);
    throttle_for(0);
    for (i = 0; i < 150; i++) aioc_bulk_unthrottled(&world.bulk, world.reactor.now_us);
    CHECK_INT(world.bulk.allowed, 250);                    /* a batch more; of less than one, an operation more */
    world.bulk.allowed = 40;
    for (i = 0; i < 40; i++) aioc_bulk_unthrottled(&world.bulk, world.reactor.now_us);
    CHECK_INT(world.bulk.allowed, 41);
}

/* Until a 429: each answer that comes soon doubles what was under way. */
TEST(at_first_each_clean_item_allows_one_more)
{
    uint64_t sent_us;
    int i;
    open_world(8, 100, 100);
    sent_us = world.reactor.now_us;
    world.bulk.request.timeout_ms = 60000;
    world.bulk.allowed = 100;
    for (i = 0; i < 100; i++) aioc_bulk_unthrottled(&world.bulk, sent_us);
    CHECK_INT(world.bulk.allowed, 200);
    world.reactor.now_us += 250000;                        /* a quarter of a second, of one that an answer has */
    aioc_bulk_unthrottled(&world.bulk, sent_us);
    CHECK_INT(world.bulk.allowed, 201);
    world.reactor.now_us++;
    aioc_bulk_unthrottled(&world.bulk, sent_us);
    CHECK_INT(world.bulk.allowed, 201);
    world.options.attempt_timeout_ms = 2000;               /* the item itself has less */
    world.bulk.request.timeout_ms = 1000;
    aioc_bulk_unthrottled(&world.bulk, sent_us);
    CHECK_INT(world.bulk.allowed, 201);
    world.bulk.least_us = 140000;                          /* no slower than the fastest was, by half */
    aioc_bulk_unthrottled(&world.bulk, world.reactor.now_us - 280000);
    CHECK_INT(world.bulk.allowed, 202);
    aioc_bulk_unthrottled(&world.bulk, world.reactor.now_us - 280001);
    CHECK_INT(world.bulk.allowed, 202);
    world.bulk.least_us = 260000;
    aioc_bulk_unthrottled(&world.bulk, world.reactor.now_us - 500001);
    CHECK_INT(world.bulk.allowed, 202);
    world.bulk.least_us = 250000;                          /* and now nearly too late: half of them are too many */
    world.bulk.operations = 120;
    for (i = 0; i < 5; i++) aioc_bulk_unthrottled(&world.bulk, world.reactor.now_us - 500001);
    CHECK_INT(world.bulk.allowed, 60);
    world.bulk.lowered_us = 0;
    world.bulk.allowed = 201;
    world.bulk.operations = 100;
    throttle_for(0);
    CHECK(world.bulk.least_us == UINT64_MAX);              /* that has another reason */
    for (i = 0; i < 49; i++) aioc_bulk_unthrottled(&world.bulk, world.reactor.now_us);
    CHECK_INT(world.bulk.allowed, 50);
    world.bulk.lowered_us = 0;
    world.bulk.allowed = INT32_MAX;
    aioc_bulk_unthrottled(&world.bulk, world.reactor.now_us);
    CHECK_INT(world.bulk.allowed, INT32_MAX);
}

TEST(nothing_is_pulled_ahead_of_what_may_be_sent)
{
    open_world(4, 100, 100);
    world.bulk.version = world.container.ranges_version = 1;
    world.container.knowledge = AIOC_ACCOUNT_KNOWN;
    world.bulk.allowed = 150;
    CHECK(aioc_bulk_may_pull(&world.bulk));
    world.bulk.left = 149;                                 /* 49 wait */
    CHECK(aioc_bulk_may_pull(&world.bulk));
    world.bulk.left = 150;
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.bulk.allowed = 100;
    world.bulk.left = 100;
    CHECK(!aioc_bulk_may_pull(&world.bulk));
}

TEST(more_than_the_most_is_never_under_way)
{
    open_world(3, 1, 3);
    CHECK_INT(aioc_bulk_totals(&world.bulk).concurrency, 3);
    CHECK_INT(aioc_bulk_room(&world.bulk), 0);
    open_world(3, 100, 250);
    CHECK_INT(aioc_bulk_room(&world.bulk), 0);             /* each of the three requests has less than it might */
    world.bulk.requests = 2;
    CHECK_INT(aioc_bulk_room(&world.bulk), 100);
}

TEST(what_is_allowed_is_counted_in_operations)
{
    open_world(10, 100, 500);
    throttle_for(0);
    CHECK_INT(aioc_bulk_totals(&world.bulk).concurrency, 3);
    world.bulk.share_count = 0;
    CHECK_INT(aioc_bulk_totals(&world.bulk).concurrency, 10);
}

TEST(a_bulk_pauses_until_the_longest_wait_is_over)
{
    uint64_t began_us;
    open_world(8, 1, 0);
    began_us = world.reactor.now_us;
    throttle_for(3000);
    throttle_for(9000);
    throttle_for(1000);
    world.reactor.now_us = began_us + 8999;
    CHECK(!aioc_reactor_timer_run_one(&world.reactor));
    CHECK_INT(aioc_bulk_room(&world.bulk), 0);
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.reactor.now_us = began_us + 9000;
    CHECK(aioc_reactor_timer_run_one(&world.reactor));
    CHECK_INT(aioc_bulk_room(&world.bulk), 1);
    CHECK(aioc_bulk_may_pull(&world.bulk));
}

TEST(a_wait_that_is_longer_than_its_item_lives_stops_nobody_else)
{
    open_world(4, 1, 2);
    aioc_bulk_throttled(&world.bulk, world.reactor.now_us, 5000, true);
    CHECK(!world.bulk.pause.armed);
    throttle_for(5000);
    CHECK(world.bulk.pause.armed);
}

TEST(a_budget_lets_one_try_first_and_then_as_many_as_it_pays_for)
{
    open_world(10, 100, 0);
    world.bulk.request.ru_per_second_max = 1000;
    world.bulk.request.timeout_ms = 32000;
    world.bulk.ru_each = 1000;
    CHECK_INT(aioc_bulk_room(&world.bulk), 1);
    CHECK(aioc_bulk_may_pull(&world.bulk));
    world.bulk.left = 1;                                   /* until it has been answered, it is alone */
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    aioc_bulk_spend(&world.bulk, 1000);
    CHECK_INT(aioc_bulk_room(&world.bulk), 0);
    CHECK_INT(world.bulk.pause.due_us, world.reactor.now_us + 1000000);   /* it begins with none */
    aioc_bulk_spend(&world.bulk, 10 - 1000);
    world.bulk.ru_each = 10;
    CHECK_INT(world.bulk.pause.due_us, world.reactor.now_us + 10000);
    world.reactor.now_us += 10000000;                      /* unused units are kept for a tenth of a second only */
    CHECK(aioc_reactor_timer_run_one(&world.reactor));
    CHECK_INT(aioc_bulk_room(&world.bulk), 10);
    aioc_bulk_spend(&world.bulk, 300);
    CHECK_INT(aioc_bulk_room(&world.bulk), 0);
    CHECK_INT(world.bulk.pause.due_us, world.reactor.now_us + 200000);
    world.reactor.now_us += 200000;
    CHECK(aioc_reactor_timer_run_one(&world.reactor));
    CHECK_INT(aioc_bulk_room(&world.bulk), 10);
    world.bulk.left = 99;                                  /* of a second, a 32nd of their time */
    CHECK(aioc_bulk_may_pull(&world.bulk));
    world.bulk.left = 100;
    CHECK(!aioc_bulk_may_pull(&world.bulk));
}

/* What is sent costs less than was expected: the pause ends sooner, but not before the wait for a 429. */
TEST(units_that_come_back_shorten_a_pause)
{
    open_world(10, 100, 0);
    world.bulk.request.ru_per_second_max = 1000;
    world.bulk.paid_us = world.reactor.now_us;
    world.bulk.ru_each = 10;
    aioc_bulk_spend(&world.bulk, 500);
    CHECK_INT(world.bulk.pause.due_us, world.reactor.now_us + 500000);
    aioc_bulk_spend(&world.bulk, -400);
    CHECK_INT(world.bulk.pause.due_us, world.reactor.now_us + 100000);
    throttle_for(30000);
    CHECK_INT(world.bulk.pause.due_us, world.reactor.now_us + 100000);
    aioc_bulk_spend(&world.bulk, -150);
    CHECK_INT(world.bulk.pause.due_us, world.reactor.now_us + 30000);
    world.reactor.now_us += 30000;
    CHECK(aioc_reactor_timer_run_one(&world.reactor));
    aioc_bulk_spend(&world.bulk, 0);
    CHECK(!world.bulk.pause.armed && aioc_bulk_room(&world.bulk) > 0);
}

TEST(nothing_is_pulled_beyond_what_can_be_sent)
{
    open_world(4, 1, 3);
    CHECK(aioc_bulk_may_pull(&world.bulk));
    world.bulk.left = world.bulk.operations = world.bulk.requests = 4;
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.bulk.left = world.bulk.operations = world.bulk.requests = 3;
    world.bulk.singles.count = 1;
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.bulk.singles.count = 0;
    world.bulk.later = true;
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.bulk.later = false;
    world.bulk.ended = true;
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.engine.free_count = 1;
    CHECK(!aioc_bulk_has_work(&world.bulks));
}

TEST(items_are_pulled_until_every_range_has_a_batch)
{
    open_world(4, 100, 0);
    world.bulk.left = 399;
    CHECK(aioc_bulk_may_pull(&world.bulk));
    world.bulk.left = 400;
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.bulk.left = 1600;
    world.bulk.operations = 1201;                          /* those under way are beside them */
    CHECK(aioc_bulk_may_pull(&world.bulk));
}

TEST(without_memory_nothing_is_pulled_while_others_may_give_some_back)
{
    open_world(4, 1, 0);
    world.memory.used = world.memory.max;
    CHECK(aioc_bulk_may_pull(&world.bulk));
    world.engine.pending = 2;                              /* somebody else's */
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.engine.pending = 1;
    world.bulks.left = 1;                                  /* another bulk's */
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.memory.used = 0;
    CHECK(aioc_bulk_may_pull(&world.bulk));
}

TEST(later_and_end_stop_the_pulling)
{
    open_world(4, 1, 1);
    world.pull_answer = AIOCOSMOS_PULL_LATER;
    CHECK(aioc_bulk_work(&world.bulks, false));
    CHECK(!aioc_bulk_work(&world.bulks, false));
    CHECK_INT(world.pulls, 1);
    world.bulk.later = false;
    world.pull_answer = AIOCOSMOS_PULL_END;
    CHECK(aioc_bulk_work(&world.bulks, true));             /* also in a hurry, with nothing to send */
    CHECK(!aioc_bulk_work(&world.bulks, false));
    CHECK_INT(world.pulls, 2);
    CHECK(world.bulk.ended);
    CHECK(!world.bulk.failed);
}

/* LATER is forgotten at once, as if more had come. */
static aiocosmos_pull pull_and_tell_who(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    (void)client; (void)item;
    world.pulls = world.pulls * 10 + *(int *)user_data;
    return AIOCOSMOS_PULL_LATER;
}

TEST(each_of_several_bulks_has_its_turn)
{
    aioc_bulk others[2];
    int i, numbers[3] = {1, 2, 3};
    open_world(4, 1, 1);
    world.bulk.request.next = pull_and_tell_who;
    for (i = 0; i < 2; i++) {
        others[i] = world.bulk;
        others[i].request.user_data = &numbers[i + 1];
        aioc_mem_list_add(&world.bulks.bulks, &others[i].node);
        world.bulks.count++;
        world.engine.pending++;
    }
    world.bulk.request.user_data = &numbers[0];
    for (i = 0; i < 7; i++) {
        world.bulk.later = others[1].later = false;
        others[0].later = i == 3 || i == 4;                /* it has nothing for a while */
        CHECK(aioc_bulk_work(&world.bulks, false));
    }
    CHECK_INT(world.pulls, 1231321);
}

TEST(items_leave_a_queue_from_anywhere)
{
    aioc_bulk_item item[3];
    int gone;
    for (gone = 0; gone < 3; gone++) {
        aioc_bulk_queue *queue = &world.bulk.singles;
        int i;
        open_world(4, 1, 0);
        memset(item, 0, sizeof item);
        for (i = 0; i < 3; i++) item[i].bulk = &world.bulk;
        aioc_bulk_put(queue, &item[1], false);
        aioc_bulk_put(queue, &item[0], true);
        aioc_bulk_put(queue, &item[2], false);
        aioc_bulk_remove(&item[gone]);
        CHECK(queue->first == &item[gone == 0] && queue->last == &item[gone == 2 ? 1 : 2]);
        CHECK(queue->first->next == queue->last && queue->last->prev == queue->first);
        CHECK(queue->count == 2 && !item[gone].queue);
    }
}
