/* The pace of a bulk, alone: what a 429 and a clean answer do to the number of items in flight, how long a bulk pauses,
 * and in which order those that were held back go on. No network, and a clock that the tests set: items are operations
 * that never leave the ready list. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include <stdlib.h>

enum { ITEMS = 64 };

static struct world {
    aioc_mem memory;
    aioc_reactor reactor;
    aiocosmos_options options;
    aioc_op_engine engine;
    aioc_bulk_list bulks;
    aioc_bulk bulk;
    aioc_op item[ITEMS];
    int pulls, pull_answer, item_calls;
} world;

static aiocosmos_pull pull(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    (void)client; (void)item; (void)user_data;
    world.pulls++;
    return (aiocosmos_pull)world.pull_answer;
}

static void count_item(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    (void)client; (void)result; (void)item_data; (void)user_data;
    world.item_calls++;
}

/* A bulk that may have so many in flight, and has them. */
static void open_world(uint32_t concurrency, uint32_t in_flight)
{
    aiocosmos_allocator none = {NULL, NULL};
    uint32_t i;
    memset(&world, 0, sizeof world);
    aioc_mem_init(&world.memory, &none, 1u << 20);
    world.reactor.now_us = 1000000;
    world.engine.memory = &world.memory;
    world.engine.reactor = &world.reactor;
    world.engine.options = &world.options;
    world.options.pending_max = world.engine.free_count = ITEMS * 2;
    world.bulks.engine = &world.engine;
    world.bulks.first = &world.bulk;
    world.bulk.all = &world.bulks;
    world.bulk.request.next = pull;
    world.bulk.request.item_done = count_item;
    world.bulk.request.concurrency_max = world.bulk.allowed = concurrency;
    world.bulk.in_flight = in_flight;
    for (i = 0; i < ITEMS; i++) {
        world.item[i].engine = &world.engine;
        world.item[i].owner = &world.bulk;
        world.item[i].role = &aioc_bulk_item_role;
        world.item[i].attempt_us = world.reactor.now_us;
        world.item[i].state = AIOC_OP_IN_POOL;
    }
}

static void throttle_for(int i, uint64_t wait_us)
{
    world.item[i].state = AIOC_OP_BACKING_OFF;
    world.item[i].throttled_us = 1;
    aioc_bulk_throttled(&world.item[i], wait_us);
}

/* With leave to come back at once. */
static void throttle(int i)
{
    throttle_for(i, 0);
}

/* The back-off of an item is over. True: it was held back. */
static bool wake(int i)
{
    bool held = aioc_bulk_hold(&world.item[i]);
    world.item[i].state = held ? AIOC_OP_HELD : AIOC_OP_READY;
    return held;
}

static void finish_with(int i, int status)
{
    aiocosmos_result result;
    aioc_op_delivery delivery;
    memset(&result, 0, sizeof result);
    memset(&delivery, 0, sizeof delivery);
    delivery.op = &world.item[i];
    result.internal = &delivery;
    result.attempts = 1;
    result.status = status;
    aioc_bulk_item_came(&world.item[i], &result);
}

static void finish(int i)
{
    finish_with(i, 0);
}

static int ready_count(void)
{
    const aioc_mem_node *op = world.engine.ready.first;
    int count = 0;
    for (; op; op = op->next) count++;
    return count;
}

TEST(a_429_halves_what_may_be_in_flight)
{
    open_world(40, 40);
    throttle(0);
    CHECK_INT(world.bulk.allowed, 20);
    CHECK_INT(world.bulk.totals.throttled, 1);
    CHECK_INT(aioc_bulk_active(&world.bulk), 39);
}

TEST(those_sent_before_the_last_halving_say_nothing_new)
{
    int i;
    open_world(40, 40);
    for (i = 0; i < 10; i++) throttle(i);
    CHECK_INT(world.bulk.allowed, 20);
    CHECK_INT(world.bulk.totals.throttled, 10);
    world.reactor.now_us += 1000;
    world.item[10].attempt_us = world.reactor.now_us;
    throttle(10);
    CHECK_INT(world.bulk.allowed, 10);
}

TEST(one_may_always_be_in_flight)
{
    int i;
    open_world(40, 40);
    for (i = 0; i < 20; i++) {
        world.item[i].attempt_us = world.reactor.now_us += 1000;
        throttle(i);
    }
    CHECK_INT(world.bulk.allowed, 1);
}

TEST(a_clean_window_allows_one_more)
{
    int i;
    open_world(40, 40);
    throttle(0);
    for (i = 1; i <= 19; i++) finish(i);
    CHECK_INT(world.bulk.allowed, 20);
    finish(20);
    CHECK_INT(world.bulk.allowed, 21);
    for (i = 21; i < 41; i++) finish(i);
    CHECK_INT(world.bulk.allowed, 21);
}

TEST(an_item_that_was_throttled_does_not_count_as_clean)
{
    open_world(2, 2);
    throttle(0);
    CHECK_INT(world.bulk.allowed, 1);
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.bulk.in_flight = 2;
    finish(0);
    CHECK_INT(world.bulk.allowed, 1);
    finish(1);
    CHECK_INT(world.bulk.allowed, 2);
}

TEST(an_item_that_ends_with_429_does_not_count_as_clean)
{
    open_world(4, 4);
    world.bulk.allowed = 1;
    finish_with(0, 429);
    CHECK_INT(world.bulk.allowed, 1);
}

TEST(without_memory_nothing_is_pulled_while_others_may_give_some_back)
{
    open_world(4, 0);
    world.memory.used = world.memory.max;
    world.bulks.count = world.engine.pending = 1;
    CHECK(aioc_bulk_may_pull(&world.bulk));
    world.engine.pending = 2;                              /* somebody else's */
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.memory.used = 0;
    CHECK(aioc_bulk_may_pull(&world.bulk));
}

TEST(more_than_the_most_is_never_allowed)
{
    int i;
    open_world(3, 30);
    for (i = 0; i < 30; i++) finish(i);
    CHECK_INT(world.bulk.allowed, 3);
}

TEST(those_held_back_go_on_in_order_before_new_ones_are_pulled)
{
    open_world(8, 8);
    throttle(0);
    throttle(1);
    CHECK_INT(world.bulk.allowed, 4);
    CHECK(wake(0));                                        /* six are still under way */
    CHECK(wake(1));
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    finish(2);
    finish(3);
    CHECK_INT(ready_count(), 0);
    finish(4);
    CHECK_INT(ready_count(), 1);
    CHECK(world.engine.ready.first == &world.item[0].node);
    CHECK_INT(world.item[0].paced, false);
    finish(5);
    CHECK_INT(ready_count(), 2);
    CHECK_INT(world.bulk.waiting, 0);
    CHECK(!world.bulk.held.first && !world.bulk.held.last);
}

TEST(a_bulk_pauses_until_the_longest_wait_is_over)
{
    uint64_t began_us;
    open_world(8, 8);
    began_us = world.reactor.now_us;
    throttle_for(0, 3000);
    throttle_for(1, 9000);
    throttle_for(2, 1000);
    world.bulk.in_flight = 4;                              /* the others are done: there is room for two */
    world.reactor.now_us = began_us + 8999;
    CHECK(wake(2));
    CHECK(wake(0));
    CHECK(!aioc_reactor_timer_run_one(&world.reactor));
    CHECK_INT(ready_count(), 0);
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.reactor.now_us = began_us + 9000;
    CHECK(aioc_reactor_timer_run_one(&world.reactor));
    CHECK_INT(ready_count(), 2);
    CHECK(world.engine.ready.first == &world.item[2].node);     /* the first that was held */
    CHECK(!wake(1));
}

TEST(a_pause_ends_without_the_item_that_called_for_it)
{
    open_world(4, 2);
    throttle_for(0, 5000);
    aioc_bulk_let_go(&world.item[0]);                      /* cancelled, say */
    world.bulk.in_flight = 1;
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.reactor.now_us += 5000;
    CHECK(aioc_reactor_timer_run_one(&world.reactor));
    CHECK(aioc_bulk_may_pull(&world.bulk));
}

TEST(a_wait_that_is_longer_than_its_item_lives_stops_nobody_else)
{
    open_world(4, 2);
    world.item[0].deadline_us = world.reactor.now_us + 5000;
    throttle_for(0, 5000);
    CHECK(!world.bulk.pause.armed);
    throttle_for(1, 5000);
    CHECK(world.bulk.pause.armed);
}

TEST(a_back_off_that_ends_where_there_is_room_goes_on_at_once)
{
    open_world(8, 3);
    throttle(0);
    CHECK_INT(world.bulk.waiting, 1);
    CHECK(!wake(0));
    CHECK_INT(world.bulk.waiting, 0);
    CHECK_INT(world.item[0].paced, false);
}

TEST(an_item_that_ends_while_it_waits_gives_up_its_place)
{
    open_world(2, 4);
    throttle(0);
    throttle(1);
    throttle(2);
    CHECK_INT(world.bulk.waiting, 3);
    aioc_bulk_let_go(&world.item[0]);                      /* still backing off */
    CHECK_INT(world.bulk.waiting, 2);
    CHECK(wake(1) && wake(2));
    aioc_bulk_let_go(&world.item[1]);
    CHECK(world.bulk.held.first == &world.item[2].node && world.bulk.held.last == &world.item[2].node);
    aioc_bulk_let_go(&world.item[2]);
    CHECK(!world.bulk.held.first && !world.bulk.held.last);
    CHECK_INT(world.bulk.waiting, 0);
}

TEST(nothing_is_pulled_beyond_what_is_allowed)
{
    open_world(4, 3);
    CHECK(aioc_bulk_may_pull(&world.bulk));
    world.bulk.in_flight = 4;
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.bulk.in_flight = 3;
    world.bulk.later = true;
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.bulk.later = false;
    world.bulk.ended = true;
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    world.bulk.ended = false;
    world.engine.pending = world.options.pending_max;
    CHECK(!aioc_bulk_may_pull(&world.bulk));
    CHECK(!aioc_bulk_pulling(&world.bulks));
}

TEST(later_and_end_stop_the_pulling)
{
    open_world(4, 1);
    world.pull_answer = AIOCOSMOS_PULL_LATER;
    CHECK(aioc_bulk_work(&world.bulks));
    CHECK(!aioc_bulk_work(&world.bulks));
    CHECK_INT(world.pulls, 1);
    world.bulk.later = false;
    world.pull_answer = AIOCOSMOS_PULL_END;
    CHECK(aioc_bulk_work(&world.bulks));
    CHECK(!aioc_bulk_work(&world.bulks));
    CHECK_INT(world.pulls, 2);
    CHECK(world.bulk.ended);
    CHECK_INT(world.bulk.status, 0);
}

TEST(totals_add_up)
{
    aiocosmos_result result;
    open_world(4, 4);
    memset(&result, 0, sizeof result);
    result.attempts = 3;
    result.charge_ru = 5.5;
    aioc_bulk_count(&world.bulk, &result);
    result.status = 409;
    result.fate = AIOCOSMOS_FATE_MAYBE_APPLIED;
    aioc_bulk_count(&world.bulk, &result);
    result.fate = AIOCOSMOS_FATE_ANSWERED;
    result.attempts = 0;
    aioc_bulk_count(&world.bulk, &result);
    CHECK_INT(world.bulk.totals.succeeded, 1);
    CHECK_INT(world.bulk.totals.failed, 2);
    CHECK_INT(world.bulk.totals.maybe_applied, 1);
    CHECK_INT(world.bulk.totals.retries, 4);
    CHECK(world.bulk.totals.charge_ru > 16.4 && world.bulk.totals.charge_ru < 16.6);
}
