/* The change feed processor of examples/: leases are made, shared, stolen, split and merged; workers are killed,
 * answers are lost, ranges split: every change is seen at least once. */
#include "client.h"
#include "examples/change_feed_processor.h"

enum { ITEMS = 40, WORKERS = 4, UNDONE = 64 };

typedef struct worker {
    char name[16];
    aiocosmos_client *client;
    cfp *processor;
    uint64_t undone[UNDONE];                     /* pages that it still deals with */
    struct { int item, n; } held_back[ITEMS * 4];     /* what they are about */
    int undone_count, held_back_count, pages, failures, refusals;
    bool slow;                                   /* deals with its pages when told to */
} worker;

static worker workers[WORKERS];
static int written[ITEMS], seen[ITEMS];          /* the last version of each item; the last that was dealt with */
static int deliveries;                           /* of items, repeated ones too */
static uint64_t chance;
static cfp_options usual;

static int draw(int below)
{
    chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((chance >> 33) % (uint64_t)below);
}

static void finish_pages(worker *w)
{
    int i;
    for (i = 0; i < w->held_back_count; i++)
        if (w->held_back[i].n > seen[w->held_back[i].item]) seen[w->held_back[i].item] = w->held_back[i].n;
    for (i = 0; i < w->undone_count; i++) w->refusals += !cfp_done(w->processor, w->undone[i]);
    w->held_back_count = w->undone_count = 0;
}

static void on_changes(cfp *processor, uint64_t page_id, const aiocosmos_page *page, void *user_data)
{
    worker *w = user_data;
    aiocosmos_json item;
    char id[16];
    int64_t n;
    CHECK(processor == w->processor);
    memset(&item, 0, sizeof item);
    while (aiocosmos_json_next(page->items, NULL, &item)) {
        aiocosmos_json_get_str(aiocosmos_json_at(item, "/id"), id, sizeof id);
        CHECK(aiocosmos_json_get_i64(aiocosmos_json_at(item, "/n"), &n));
        CHECK(w->held_back_count < (int)(sizeof w->held_back / sizeof w->held_back[0]));
        w->held_back[w->held_back_count].item = atoi(id + 1);
        w->held_back[w->held_back_count++].n = (int)n;
        deliveries++;
    }
    CHECK(w->undone_count < UNDONE);
    w->undone[w->undone_count++] = page_id;
    w->pages++;
    if (!w->slow) finish_pages(w);
}

static void on_failed(cfp *processor, int status, aiocosmos_str message, void *user_data)
{
    worker *w = user_data;
    (void)processor, (void)status, (void)message;
    w->failures++;
}

static aiocosmos_client *begin(const char *emulator_options)
{
    aiocosmos_client *writer = open_world(emulator_options);
    must(writer, create_container("leases", "/processor"));
    memset(workers, 0, sizeof workers);
    memset(written, 0, sizeof written);
    memset(seen, 0, sizeof seen);
    memset(&usual, 0, sizeof usual);
    deliveries = 0;
    chance = 5;
    usual.container = "c";
    usual.lease_container = "leases";
    usual.name = "test";
    usual.page_items_max = 3;
    usual.poll_ms = 5;
    usual.checkpoint_ms = 5;
    usual.renew_ms = 20;
    usual.expire_ms = 1000;
    usual.ranges_ms = 40;
    usual.changes = on_changes;
    usual.failed = on_failed;
    return writer;
}

static void start(int i)
{
    static unsigned born;
    worker *w = &workers[i];
    aiocosmos_options options = usual_options();
    memset(w, 0, sizeof *w);
    snprintf(w->name, sizeof w->name, "w%u", ++born);
    usual.worker = w->name;
    usual.user_data = w;
    w->client = open_client(&options);
    w->processor = cfp_open(w->client, &usual);
}

/* As kill -9: nothing is given back. What it had seen and not dealt with is forgotten. */
static void end(int i)
{
    cfp_close(workers[i].processor);
    aiocosmos_destroy(workers[i].client);
    workers[i].processor = NULL;
}

static void put(aiocosmos_client *writer, int item)
{
    char body[96];
    snprintf(body, sizeof body, "{\"id\":\"i%d\",\"pk\":\"%d\",\"n\":%d}", item, item % 17, ++written[item]);
    must(writer, upsert_item(aiocosmos_sn(strstr(body, "pk") + 5, strcspn(strstr(body, "pk") + 5, "\"")), body));
}

static void put_all(aiocosmos_client *writer)
{
    int item;
    for (item = 0; item < ITEMS; item++) put(writer, item);
}

/* Every worker goes on a little. */
static void turn(void)
{
    int i;
    for (i = 0; i < WORKERS; i++) {
        int due;
        if (!workers[i].processor) continue;
        due = cfp_step(workers[i].processor);
        CHECK(aiocosmos_step(workers[i].client, due > 0 ? 1 : 0) >= 0);
    }
}

static int held_by(int i)
{
    const cfp_lease *l;
    int count = 0;
    if (!workers[i].processor) return 0;
    for (l = workers[i].processor->leases; l; l = l->next) count += l->held;
    return count;
}

/* What the workers hold has no gap. */
static bool is_covered(void)
{
    char at[CFP_BORDER] = "";
    int i, found = 1;
    while (found && strcmp(at, "FF") != 0) {
        for (i = found = 0; i < WORKERS; i++) {
            const cfp_lease *l = workers[i].processor ? workers[i].processor->leases : NULL;
            while (l && !(l->held && !found && strcmp(l->min, at) == 0)) l = l->next;
            if (!l) continue;
            found = 1;
            memcpy(at, l->max, sizeof at);
            break;
        }
    }
    return found != 0;
}

static bool all_seen(void)
{
    return memcmp(seen, written, sizeof seen) == 0;
}

static uint64_t clock_us(void)
{
    const aiocosmos_platform *system = aiocosmos_system_platform();
    return system->monotonic_us(system->user_data);
}

/* Goes on until it is so, and says that it never was. */
#define UNTIL(CONDITION)                                                                          \
    do {                                                                                          \
        uint64_t until_us = clock_us() + PATIENCE_MS * UINT64_C(2000);                            \
        while (!(CONDITION)) {                                                                    \
            if (clock_us() > until_us) test_fail(__FILE__, __LINE__, "never: %s", #CONDITION);    \
            turn();                                                                               \
        }                                                                                         \
    } while (0)

static void stop(int i)
{
    cfp_stop(workers[i].processor);
    UNTIL(cfp_held(workers[i].processor) == 0);
    end(i);
}

static void finish(aiocosmos_client *writer)
{
    int i;
    for (i = 0; i < WORKERS; i++)
        if (workers[i].processor) end(i);
    close_world(writer);
}

static void list_leases(aiocosmos_client *writer, listing *all)
{
    aiocosmos_query_request query;
    memset(&query, 0, sizeof query);
    query.container = "leases";
    query.pk = aiocosmos_pk_s("test");
    CHECK_INT(read_all(writer, &query, all), 0);
}

static void do_to_range(const char *what)
{
    control("PUT", what, "{\"database\":\"db\",\"container\":\"c\"}");
}

TEST(one_worker_makes_the_leases_and_gives_them_back)
{
    static listing all;
    aiocosmos_client *writer = begin("--partitions 3");
    put_all(writer);
    start(0);
    CHECK_INT(cfp_behind(workers[0].processor), -1);
    UNTIL(all_seen());
    CHECK(held_by(0) == 3 && is_covered());
    UNTIL(cfp_behind(workers[0].processor) == 0);
    put_all(writer);
    UNTIL(all_seen());
    CHECK_INT(workers[0].failures, 0);
    stop(0);
    list_leases(writer, &all);
    CHECK_INT(all.items, 3);
    CHECK(strstr(all.text, "\"owner\":\"\"") && !strstr(all.text, "\"owner\":\"w"));
    start(0);                                    /* goes on where the other ended */
    UNTIL(held_by(0) == 3 && cfp_behind(workers[0].processor) == 0);
    put(writer, 7);
    UNTIL(all_seen());
    CHECK_INT(workers[0].pages, 1);
    finish(writer);
}

/* A list of leases or of ranges that takes long is waited for without a call for each moment of it. */
TEST(a_host_does_not_spin_while_a_list_is_on_its_way)
{
    static const char *const slow[] = { "delay_ms=200,path=leases/docs", "delay_ms=200,kind=list_ranges" };
    aiocosmos_client *writer = begin("--partitions 1");
    cfp *p;
    int i;
    usual.poll_ms = usual.expire_ms = 100 * PATIENCE_MS;
    start(0);
    p = workers[0].processor;
    UNTIL(held_by(0) == 1 && cfp_behind(p) == 0);
    for (i = 0; i < 2; i++) {
        fault(slow[i]);
        UNTIL(i ? p->range_list.id && cfp_now(p) > p->ranges_ms : p->list.id && cfp_now(p) > p->list_ms);
        CHECK(cfp_step(p) > 0 || cfp_step(p) > 0 || cfp_step(p) > 0);      /* something else may be due now */
        no_faults();
    }
    finish(writer);
}

TEST(a_processor_without_names_is_none)
{
    aiocosmos_client *writer = begin("");
    cfp_options options = usual;
    options.worker = "";
    CHECK(cfp_open(writer, &options) == NULL);
    options.worker = "1234567890123456789012345678901234567890123456789012345678901234";
    CHECK(cfp_open(writer, &options) == NULL);
    options.worker = "w";
    options.name = "";
    CHECK(cfp_open(writer, &options) == NULL);
    close_world(writer);
}

TEST(workers_without_a_name_get_different_ones)
{
    aiocosmos_client *writer = begin("");
    cfp *one, *other;
    usual.worker = NULL;
    one = cfp_open(writer, &usual);
    other = cfp_open(writer, &usual);
    CHECK(one && other);
    CHECK_INT(strlen(one->options.worker), 32);
    CHECK(strcmp(one->options.worker, other->options.worker) != 0);
    cfp_close(one);
    cfp_close(other);
    close_world(writer);
}

/* What cannot succeed is said, and tried again no more often than leases are renewed. */
TEST(a_container_that_is_not_there_is_told)
{
    uint64_t requests, began_us;
    aiocosmos_stats stats;
    aiocosmos_client *writer = begin("");
    usual.lease_container = "nowhere";
    usual.renew_ms = 100;
    start(0);
    UNTIL(workers[0].failures == 1);
    aiocosmos_get_stats(workers[0].client, &stats);
    requests = stats.attempts;
    began_us = clock_us();
    UNTIL(workers[0].failures >= 4);
    aiocosmos_get_stats(workers[0].client, &stats);
    CHECK(clock_us() - began_us >= 2 * usual.renew_ms * UINT64_C(1000));
    CHECK(stats.attempts - requests <= 24);
    finish(writer);
}

TEST(more_leases_than_ranges)
{
    aiocosmos_client *writer = begin("--partitions 2");
    put_all(writer);
    usual.leases_min = 7;
    start(0);
    UNTIL(all_seen());
    UNTIL(held_by(0) == 8 && is_covered());
    finish(writer);
}

TEST(workers_that_begin_at_once_make_the_leases_once)
{
    static listing all;
    int i;
    aiocosmos_client *writer = begin("--partitions 4");
    put_all(writer);
    for (i = 0; i < WORKERS; i++) start(i);
    UNTIL(all_seen());
    UNTIL(held_by(0) == 1 && held_by(1) == 1 && held_by(2) == 1 && held_by(3) == 1 && is_covered());
    list_leases(writer, &all);
    CHECK_INT(all.items, 4);
    finish(writer);
}

/* Nobody steals, and so nothing comes twice, although checkpoints are late. */
TEST(workers_that_begin_at_once_share_without_stealing)
{
    aiocosmos_client *writer = begin("--partitions 4");
    put_all(writer);
    usual.checkpoint_ms = usual.renew_ms = 300;
    usual.expire_ms = 5000;
    start(0);
    start(1);
    UNTIL(all_seen() && held_by(0) == 2 && held_by(1) == 2 && is_covered());
    CHECK_INT(deliveries, ITEMS);
    finish(writer);
}

TEST(a_worker_that_comes_later_steals_its_share)
{
    aiocosmos_client *writer = begin("--partitions 5");
    put_all(writer);
    start(0);
    UNTIL(all_seen() && held_by(0) == 5);
    start(1);
    UNTIL(held_by(1) == 2 && held_by(0) == 3 && is_covered());
    put_all(writer);
    UNTIL(all_seen());
    CHECK(workers[1].pages > 0);
    start(2);
    UNTIL(held_by(0) + held_by(1) + held_by(2) == 5 && held_by(2) > 0 && held_by(0) <= 2 && held_by(1) <= 2);
    stop(0);
    UNTIL(held_by(1) + held_by(2) == 5 && held_by(1) >= 2 && held_by(2) >= 2);
    put_all(writer);
    UNTIL(all_seen());
    finish(writer);
}

static bool has_renewed_since(int i, uint64_t since_ms)
{
    const cfp_lease *l = workers[i].processor->leases;
    while (l && (!l->held || l->written_ms > since_ms)) l = l->next;
    return l == NULL;
}

/* What it had and had not done comes again, to another: what it has written meanwhile does not say that it was done. */
TEST(the_leases_of_a_killed_worker_expire)
{
    uint64_t since_ms;
    aiocosmos_client *writer = begin("--partitions 4");
    start(0);
    start(1);
    UNTIL(held_by(0) == 2 && held_by(1) == 2);
    workers[0].slow = true;
    put_all(writer);
    UNTIL(workers[0].undone_count == 2);
    since_ms = cfp_now(workers[0].processor);
    UNTIL(has_renewed_since(0, since_ms));
    end(0);
    CHECK(!all_seen());
    UNTIL(all_seen());
    CHECK(held_by(1) == 4 && is_covered());
    finish(writer);
}

/* By whom it is, and by who only reads the leases. */
TEST(how_far_it_is_behind)
{
    int64_t behind;
    aiocosmos_client *writer = begin("--partitions 1");
    put_all(writer);
    start(0);
    workers[0].slow = true;
    UNTIL(workers[0].undone_count == 1);
    CHECK_INT(cfp_behind(workers[0].processor), -1);
    finish_pages(&workers[0]);
    behind = cfp_behind(workers[0].processor);
    CHECK_INT(behind, ITEMS - 3);                /* less a page */
    UNTIL(workers[0].undone_count == 1);
    CHECK_INT(cfp_behind(workers[0].processor), behind);
    start(1);
    UNTIL(cfp_behind(workers[1].processor) == behind);
    CHECK_INT(held_by(1), 0);
    workers[0].slow = false;
    finish_pages(&workers[0]);
    UNTIL(cfp_behind(workers[0].processor) == 0 && cfp_behind(workers[1].processor) == 0);
    CHECK(all_seen());
    finish(writer);
}

/* A page that takes long does not cost its lease, which is renewed. */
TEST(a_slow_worker_keeps_its_leases)
{
    uint64_t began_us;
    aiocosmos_client *writer = begin("--partitions 2");
    start(0);
    start(1);
    UNTIL(held_by(0) == 1 && held_by(1) == 1);
    workers[0].slow = workers[1].slow = true;
    put_all(writer);
    UNTIL(workers[0].undone_count == 1 && workers[1].undone_count == 1);
    began_us = clock_us();
    UNTIL(clock_us() - began_us > usual.expire_ms * UINT64_C(2000));
    CHECK_INT(workers[0].pages, 1);
    CHECK_INT(workers[1].pages, 1);
    workers[0].slow = workers[1].slow = false;
    finish_pages(&workers[0]);
    finish_pages(&workers[1]);
    CHECK_INT(workers[0].refusals + workers[1].refusals, 0);
    UNTIL(all_seen());
    finish(writer);
}

/* The write with the old ETag says so, and what it has done since does not count. */
TEST(a_robbed_worker_learns_it_and_stores_nothing)
{
    static listing all;
    aiocosmos_client *writer = begin("--partitions 1");
    aiocosmos_request rob;
    start(0);
    UNTIL(held_by(0) == 1 && cfp_behind(workers[0].processor) == 0);
    workers[0].slow = true;
    put_all(writer);
    UNTIL(workers[0].undone_count == 1);
    rob = upsert_item(aiocosmos_s("test"), "{\"id\":\"from-\",\"processor\":\"test\",\"min\":\"\",\"max\":\"FF\","
                      "\"owner\":\"thief\",\"behind\":-1}");
    rob.container = "leases";
    must(writer, rob);
    workers[0].processor->options.expire_ms = 100 * PATIENCE_MS;      /* from the write, not from the time */
    UNTIL(held_by(0) == 0);
    workers[0].processor->options.expire_ms = usual.expire_ms;
    finish_pages(&workers[0]);
    CHECK_INT(workers[0].refusals, 1);
    memset(seen, 0, sizeof seen);
    list_leases(writer, &all);
    CHECK(strstr(all.text, "thief") && !strstr(all.text, "continuation"));
    workers[0].slow = false;
    UNTIL(all_seen());                           /* the thief does nothing, and expires */
    finish(writer);
}

/* A worker that was stopped for longer than its leases last hands out nothing that it may not have any more. */
TEST(a_worker_that_slept_lets_go)
{
    aiocosmos_client *writer = begin("--partitions 2");
    const cfp_lease *first;
    usual.platform = bent_platform();
    usual.expire_ms = 2000;
    usual.renew_ms = 1000;
    start(0);
    UNTIL(held_by(0) == 2 && cfp_behind(workers[0].processor) == 0 && !workers[0].processor->leases->owed);
    put_all(writer);
    first = workers[0].processor->leases;
    while (!first->owed || !first->next->owed) cfp_step(workers[0].processor);      /* both ask */
    bend.monotonic_us += usual.expire_ms * UINT64_C(1000);
    while (first->owed || first->next->owed) CHECK(aiocosmos_step(workers[0].client, PATIENCE_MS) >= 0);
    CHECK_INT(workers[0].pages, 0);
    CHECK_INT(held_by(0), 0);
    UNTIL(all_seen());
    finish(writer);
}

TEST(leases_split_and_merge_with_the_ranges)
{
    static listing all;
    aiocosmos_client *writer = begin("--partitions 1");
    int i;
    put_all(writer);
    start(0);
    UNTIL(all_seen() && held_by(0) == 1);
    start(1);
    for (i = 0; i < 3; i++) do_to_range("split");
    put_all(writer);
    UNTIL(all_seen());
    UNTIL(held_by(0) == 2 && held_by(1) == 2 && is_covered());
    put_all(writer);
    UNTIL(all_seen());
    stop(1);                                     /* only neighbours of one worker merge */
    for (i = 0; i < 3; i++) do_to_range("merge");
    put_all(writer);
    UNTIL(held_by(0) == 1 && is_covered());
    list_leases(writer, &all);
    CHECK_INT(all.items, 1);
    put_all(writer);
    UNTIL(all_seen());
    finish(writer);
}

/* A border of leases that were cut within a range is no other one when ranges split there, too. */
TEST(a_lease_splits_where_ranges_do_behind_its_own_border)
{
    aiocosmos_client *writer = begin("--partitions 1");
    usual.leases_min = 2;
    put_all(writer);
    start(0);
    UNTIL(all_seen() && held_by(0) == 2);
    do_to_range("split");                        /* at 20000000000000000000000000000000, and the leases at 20000000 */
    control("PUT", "split", "{\"database\":\"db\",\"container\":\"c\",\"range\":\"2\"}");
    put_all(writer);
    UNTIL(all_seen() && held_by(0) == 3 && is_covered());
    finish(writer);
}

static cfp_lease *resizing(int i)
{
    cfp_lease *l = workers[i].processor->leases;
    while (l && !(l->write.id && l->resizing)) l = l->next;
    return l;
}

/* Until the first worker's lease is being split or merged, of which it learns only later. */
static void begin_resize(const char *what)
{
    fault("delay_ms=300,kind=batch_items,count=1");
    do_to_range(what);
    UNTIL(resizing(0));
}

/* All leases say whence and whither, and where they are. */
static void check_leases(aiocosmos_client *writer, int count)
{
    static listing all;
    const char *at;
    int said = 0;
    list_leases(writer, &all);
    CHECK_INT(all.items, count);
    CHECK(!strstr(all.text, "\"max\":\"\""));
    for (at = all.text; (at = strstr(at, "\"continuation\"")) != NULL; at++) said++;
    CHECK_INT(said, count);
}

TEST(a_worker_that_stops_while_a_lease_splits_leaves_two)
{
    aiocosmos_client *writer = begin("--partitions 1");
    put_all(writer);
    start(0);
    UNTIL(all_seen() && held_by(0) == 1);
    begin_resize("split");
    stop(0);
    check_leases(writer, 2);
    put_all(writer);
    start(0);
    UNTIL(all_seen() && held_by(0) == 2 && is_covered());
    finish(writer);
}

TEST(a_worker_that_stops_while_leases_merge_leaves_one)
{
    aiocosmos_client *writer = begin("--partitions 2");
    put_all(writer);
    start(0);
    UNTIL(all_seen() && held_by(0) == 2);
    begin_resize("merge");
    stop(0);
    check_leases(writer, 1);
    put_all(writer);
    start(0);
    UNTIL(all_seen() && held_by(0) == 1 && is_covered());
    finish(writer);
}

/* The right one of two runs out of time while it is not known whether they are one. */
TEST(a_lease_that_is_lost_while_it_merges_takes_the_other_with_it)
{
    aiocosmos_client *writer = begin("--partitions 2");
    put_all(writer);
    start(0);
    UNTIL(all_seen() && held_by(0) == 2);
    begin_resize("merge");
    resizing(0)->other->written_ms -= usual.expire_ms;
    turn();
    CHECK_INT(held_by(0), 0);
    put_all(writer);
    UNTIL(all_seen() && held_by(0) == 1 && is_covered());
    stop(0);
    check_leases(writer, 1);
    finish(writer);
}

/* Leases are renewed before they expire, whatever was asked for. */
TEST(a_lease_is_renewed_while_it_lasts)
{
    uint64_t began_us;
    aiocosmos_client *writer = begin("--partitions 1");
    put_all(writer);
    usual.renew_ms = usual.checkpoint_ms = 5 * usual.expire_ms;
    start(0);
    UNTIL(all_seen() && held_by(0) == 1);
    began_us = clock_us();
    while (clock_us() - began_us < 2 * usual.expire_ms * UINT64_C(1000)) {
        turn();
        CHECK_INT(held_by(0), 1);
    }
    finish(writer);
}

static bool both_leases_say_where(aiocosmos_client *writer)
{
    static listing all;
    const char *first;
    list_leases(writer, &all);
    first = strstr(all.text, "\"continuation\"");
    return first && strstr(first + 1, "\"continuation\"");
}

/* From now on: the leases say at once where that is, and then nothing is lost, whoever reads. */
TEST(now_outlives_who_asked_for_it)
{
    aiocosmos_client *writer = begin("--partitions 2");
    cfp_options of_others = usual;
    put_all(writer);
    memcpy(seen, written, sizeof seen);
    usual.from = of_others.from = AIOCOSMOS_FROM_NOW;
    usual.renew_ms = usual.expire_ms = 100 * PATIENCE_MS;
    start(0);
    UNTIL(both_leases_say_where(writer));
    end(0);
    CHECK_INT(workers[0].pages, 0);
    put_all(writer);
    usual = of_others;
    start(1);
    UNTIL(all_seen());
    finish(writer);
}

/* Workers come and are killed, ranges split and merge by themselves, answers are lost, while items change. Where memory
 * is short, an allocation of their clients fails in each turn. */
static void weather(const char *emulator_options, int rounds, bool short_of_memory)
{
    aiocosmos_client *writer = begin(emulator_options);
    int round, i;
    usual.expire_ms = 300;
    start(0);
    for (round = 0; round < rounds; round++) {
        put(writer, draw(ITEMS));
        i = draw(WORKERS);
        if (workers[i].processor && draw(8) == 0) {
            workers[i].slow = !workers[i].slow;
            finish_pages(&workers[i]);
        }
        if (draw(30) == 0 && workers[i].processor) end(i);
        else if (draw(12) == 0 && !workers[i].processor) start(i);
        if (short_of_memory) heap.fail_from = heap.fail_to = heap.calls + 1 + (unsigned long)draw(40);
        turn();
        heap.fail_from = heap.fail_to = 0;
    }
    no_faults();
    if (!workers[0].processor) start(0);
    for (i = 0; i < WORKERS; i++) workers[i].slow = false;
    for (i = 0; i < WORKERS; i++)
        if (workers[i].processor) finish_pages(&workers[i]);
    UNTIL(all_seen());
    UNTIL(is_covered());
    finish(writer);
}

TEST(nothing_is_lost_when_workers_are_killed_and_ranges_split)
{
    weather("--partitions 3 --shuffle 40 --shuffle-max 8 --shuffle-busy 2", 1200, false);
}

TEST(nothing_is_lost_when_answers_are_lost)
{
    weather("--partitions 3 --shuffle 60 --shuffle-max 6"
            " --fault action=reset,when=after,kind=replace_item,probability=0.05,seed=3"
            " --fault action=reset,when=after,kind=batch,probability=0.2,seed=5"
            " --fault status=503,verb=GET,path=/docs,probability=0.01,seed=8", 800, false);
}

TEST(nothing_is_lost_when_memory_is_short)
{
    weather("--partitions 3 --shuffle 60 --shuffle-max 6", 800, true);
}
