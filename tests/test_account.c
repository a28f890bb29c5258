/* The account layer alone: what is kept of containers, how ranges are put together and found, and how session tokens
 * are stored, limited and inherited. */
#define AIOCOSMOS_IMPLEMENTATION
#define AIOC_ACCOUNT_RANGES_MAX 64
#define AIOC_ACCOUNT_SESSION_BYTES_MAX 256
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"
#include <stdlib.h>

/*--- A place to stand -------------------------------------------------------------*/

static struct world {
    aioc_mem memory;
    aioc_account account;
    unsigned fetches, resumed;
    aioc_account_waiter *last_resumed;
} world;

static void note_fetch(void *engine, aioc_account_container *container)
{
    CHECK(engine == &world);
    CHECK_INT(container->knowledge, AIOC_ACCOUNT_FETCHING);
    world.fetches++;
}

static void open_world(uint32_t containers_max)
{
    aiocosmos_allocator allocator = heap_allocator(&heap);
    memset(&world, 0, sizeof world);
    aioc_mem_init(&world.memory, &allocator, (size_t)1 << 24);
    memset(&world.account, 0, sizeof world.account);
    world.account.memory = &world.memory;
    world.account.max = containers_max;
    world.account.fetch = note_fetch;
    world.account.engine = &world;
}

static void close_world(void)
{
    aioc_account_close(&world.account);
    aioc_mem_close(&world.memory);
    CHECK_INT(heap.bytes, 0);
}

static aioc_account_container *hold(const char *link)
{
    return aioc_account_hold(&world.account, aioc_mem_str(link));
}

static const char *text_of(aiocosmos_str str)
{
    static char texts[4][512];
    static unsigned turn;
    char *text = texts[turn++ % 4];
    CHECK(str.len < sizeof texts[0]);
    memcpy(text, str.len ? str.ptr : "", str.len);
    text[str.len] = 0;
    return text;
}

/*--- Containers -------------------------------------------------------------------*/

TEST(a_container_is_found_again_by_its_link)
{
    aioc_account_container *a, *b;
    open_world(8);
    a = hold("dbs/d/colls/a");
    b = hold("dbs/d/colls/b");
    CHECK(a && b && a != b);
    CHECK(hold("dbs/d/colls/a") == a);
    CHECK_INT(a->refs, 2);
    CHECK(aioc_account_find(&world.account, aioc_mem_str("dbs/d/colls/b")) == b);
    CHECK(!aioc_account_find(&world.account, aioc_mem_str("dbs/d/colls")));
    close_world();
}

TEST(the_least_recently_used_container_is_forgotten_first)
{
    aioc_account_container *a;
    open_world(2);
    a = hold("a");
    aioc_account_release(a);
    aioc_account_release(hold("b"));
    aioc_account_release(hold("a"));
    aioc_account_release(hold("c"));
    CHECK(aioc_account_find(&world.account, aioc_mem_str("a")) == a);
    CHECK(!aioc_account_find(&world.account, aioc_mem_str("b")));
    CHECK(aioc_account_find(&world.account, aioc_mem_str("c")));
    CHECK_INT(world.account.count, 2);
    close_world();
}

TEST(a_container_in_use_is_never_forgotten)
{
    aioc_account_container *a, *b;
    open_world(1);
    a = hold("a");
    b = hold("b");
    CHECK_INT(world.account.count, 2);
    CHECK(aioc_account_find(&world.account, aioc_mem_str("a")) == a);
    aioc_account_release(a);
    aioc_account_release(b);
    aioc_account_release(hold("c"));
    CHECK_INT(world.account.count, 1);                     /* what was too many goes as soon as it can */
    CHECK(!aioc_account_find(&world.account, aioc_mem_str("a")));
    CHECK(!aioc_account_find(&world.account, aioc_mem_str("b")));
    close_world();
}

TEST(many_containers_share_the_buckets)
{
    char link[32];
    int i;
    open_world(1000);
    for (i = 0; i < 1000; i++) {
        snprintf(link, sizeof link, "dbs/d/colls/%d", i);
        aioc_account_release(hold(link));
    }
    for (i = 0; i < 1000; i++) {
        snprintf(link, sizeof link, "dbs/d/colls/%d", i);
        CHECK_STR(aioc_account_find(&world.account, aioc_mem_str(link))->link.ptr, link);
    }
    close_world();
}

TEST(holding_survives_each_allocation_that_fails)
{
    unsigned long n;
    for (n = 1; ; n++) {
        aioc_account_container *container;
        open_world(4);
        heap_fail(&heap, n, 1);
        container = hold("dbs/d/colls/c");
        if (container) break;
        CHECK_INT(world.account.count, 0);
        close_world();
    }
    CHECK(n > 1);
    close_world();
}

/*--- Definition and ranges ----------------------------------------------------------*/

static bool reads_late;                      /* its container has been forgotten since that was asked for */

static bool read_definition(aioc_account_container *container, const char *text)
{
    aiocosmos_json_doc doc;
    bool read;
    aioc_json_open(&doc, &world.memory);
    CHECK_INT(aioc_json_parse(&doc, text, strlen(text)), 0);
    read = aioc_account_read_definition(container, aioc_json_root(&doc), reads_late);
    aioc_json_close(&doc);
    return read;
}

TEST(a_definition_is_read)
{
    aioc_account_container *container;
    open_world(4);
    container = hold("c");
    CHECK(read_definition(container, "{\"id\":\"c\",\"_rid\":\"abcdAMsp2wQ=\","
                                     "\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":2}}"));
    CHECK_INT(container->pk_def.kind, AIOC_PROTOCOL_HASH);
    CHECK_INT(container->pk_def.version, 2);
    CHECK_INT(container->pk_def.path_count, 1);
    CHECK_STR(container->rid, "abcdAMsp2wQ=");
    CHECK(read_definition(container, "{\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\"}}"));
    CHECK_INT(container->pk_def.version, 1);
    CHECK(read_definition(container, "{\"partitionKey\":{\"paths\":[\"/a\",\"/b\",\"/c\"],\"kind\":\"MultiHash\","
                                     "\"version\":2}}"));
    CHECK_INT(container->pk_def.kind, AIOC_PROTOCOL_MULTI_HASH);
    CHECK_INT(container->pk_def.path_count, 3);
    CHECK(read_definition(container, "{\"partitionKey\":{\"paths\":[\"/_pk\"],\"systemKey\":true}}"));
    CHECK(container->pk_def.system_key);
    CHECK(read_definition(container, "{\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":3}}"));
    CHECK_INT(container->pk_def.version, 0);               /* of the future: not taken for 1 */
    close_world();
}

TEST(a_definition_that_makes_no_sense_is_refused)
{
    static const char *const texts[] = {"{}", "[]", "7", "{\"partitionKey\":7}",
        "{\"partitionKey\":{\"paths\":\"/pk\"}}", "{\"partitionKey\":{\"paths\":[]}}",
        "{\"partitionKey\":{\"paths\":[\"/a\",\"/b\",\"/c\",\"/d\"]}}"};
    aioc_account_container *container;
    size_t i;
    open_world(4);
    container = hold("c");
    for (i = 0; i < sizeof texts / sizeof *texts; i++)
        if (read_definition(container, texts[i])) CHECK_STR(texts[i], "refused");
    close_world();
}

/* What is forgotten is not hashed by; and a late answer does not bring back what was there before. */
TEST(a_definition_is_of_the_container_that_there_is)
{
    static const char first[] = "{\"_rid\":\"abcdAMsp2wQ=\",\"partitionKey\":{\"paths\":[\"/a\",\"/b\"],"
                                "\"kind\":\"MultiHash\",\"version\":2}}";
    static const char second[] = "{\"_rid\":\"abcdAMsp2wU=\",\"partitionKey\":{\"paths\":[\"/c\"],\"version\":2}}";
    aiocosmos_str paths[AIOC_PROTOCOL_PK_LEVELS];
    aioc_account_container *container;
    open_world(4);
    container = hold("c");
    CHECK_INT(aioc_account_key_paths(container, paths), 0);
    CHECK(read_definition(container, first));
    CHECK_INT(aioc_account_key_paths(container, paths), 2);
    CHECK_TEXT(paths[1].ptr, paths[1].len, "/b");
    aioc_account_forget(container);
    CHECK_INT(container->pk_def.path_count, 0);
    CHECK_INT(aioc_account_key_paths(container, paths), 2);               /* these stay until others are known */
    CHECK(read_definition(container, second));
    reads_late = true;
    CHECK(!read_definition(container, first));
    CHECK(read_definition(container, second));
    reads_late = false;
    CHECK_INT(aioc_account_key_paths(container, paths), 1);
    CHECK_TEXT(paths[0].ptr, paths[0].len, "/c");
    CHECK(read_definition(container, first));
    CHECK_INT(aioc_account_key_paths(container, paths), 2);
    close_world();
}

TEST(another_rid_is_another_container)
{
    static const char *const same[] = {"abcdAMsp2wQ=", "abcdAMsp2wQBAAAAAAAAAA==", "", "abcdAA==", "abcdAEsp2wQ=",
                                       "second", "longer-than-any-rid-can-be-in-this-world", "abcdAMsp2wQ"};
    aioc_account_container *container;
    size_t i;
    open_world(4);
    container = hold("c");
    CHECK(aioc_account_see_rid(container, aioc_mem_str("abcdAMsp2wQ="), true));
    CHECK(aioc_account_session_take(container, aioc_mem_str("0:-1#5"), false));
    for (i = 0; i < sizeof same / sizeof *same; i++) {       /* an item of it, its database, a user, or nothing */
        CHECK(aioc_account_see_rid(container, aioc_mem_str(same[i]), i % 2));
        CHECK_STR(container->rid, "abcdAMsp2wQ=");
        CHECK_INT(container->token_count, 1);
    }
    CHECK(!aioc_account_see_rid(container, aioc_mem_str("abcdAMsp2wU="), true));         /* of its predecessor, late */
    CHECK_STR(container->rid, "abcdAMsp2wQ=");
    CHECK_INT(container->token_count, 1);
    CHECK(aioc_account_see_rid(container, aioc_mem_str("abcdAMsp2wUBAAAAAAAAAA=="), false));
    CHECK_INT(container->token_count, 0);
    CHECK_STR(container->rid, "abcdAMsp2wU=");
    CHECK(aioc_account_see_rid(container, aioc_mem_str("abcdAMsp-wU="), false));
    CHECK_STR(container->rid, "abcdAMsp-wU=");
    close_world();
}

static bool add_page(aioc_account_container *container, const char *text)
{
    aiocosmos_json_doc doc;
    bool added;
    aioc_json_open(&doc, &world.memory);
    CHECK_INT(aioc_json_parse(&doc, text, strlen(text)), 0);
    added = aioc_account_add_ranges(container, aioc_json_root(&doc));
    aioc_json_close(&doc);
    return added;
}

#define RANGE(ID, MIN, MAX) "{\"id\":\"" ID "\",\"minInclusive\":\"" MIN "\",\"maxExclusive\":\"" MAX "\"}"
#define CHILD(ID, MIN, MAX, PARENTS) \
    "{\"id\":\"" ID "\",\"minInclusive\":\"" MIN "\",\"maxExclusive\":\"" MAX "\",\"parents\":[" PARENTS "]}"
#define FEED(RANGES) "{\"PartitionKeyRanges\":[" RANGES "]}"

/* A container whose ranges are these, settled as they deserve. */
static aioc_account_container *container_of(const char *feed)
{
    aioc_account_container *container = hold("c");
    CHECK(add_page(container, feed));
    container->knowledge = AIOC_ACCOUNT_FETCHING;
    aioc_account_settle(container,
                        aioc_account_finish_ranges(container) ? AIOC_ACCOUNT_KNOWN : AIOC_ACCOUNT_UNAVAILABLE, 0);
    return container;
}

static const char *route(const aioc_account_container *container, const char *epk)
{
    const aioc_account_range *range = aioc_account_route(container, aioc_mem_str(epk));
    return range ? text_of(aioc_account_text(container, range->id)) : "nowhere";
}

/* The short way by the first digits leads where the whole ones do; borders that begin as a key does are no trap. */
TEST(a_key_is_routed_by_its_first_digits)
{
    aioc_account_container *container;
    char feed[1200], key[32], epk[AIOC_PROTOCOL_EPK_MAX], end[AIOC_PROTOCOL_EPK_MAX];
    size_t levels, len, end_len;
    int i, seen[4] = {0};
    open_world(4);
    container = container_of(FEED(RANGE("0", "", "FF")));
    container->pk_def.version = 2;
    container->pk_def.path_count = 1;
    CHECK(aioc_account_epk(container, aioc_mem_str("[\"key 7\"]"), &levels, epk, &len));
    memcpy(end, epk, sizeof end);
    end_len = len;
    aioc_protocol_epk_end(true, end, &end_len);
    CHECK(memcmp(epk, end, 16) == 0);
    snprintf(feed, sizeof feed, FEED(RANGE("1", "", "08") "," RANGE("2", "08", "%s") "," RANGE("3", "%s", "%s") ","
             RANGE("4", "%s", "FF")), epk, epk, end, end);
    aioc_account_forget_ranges(container);
    container = container_of(feed);
    CHECK_INT(container->range_count, 4);
    for (i = 0; i < 500; i++) {
        const aioc_account_range *range;
        int n = snprintf(key, sizeof key, "[\"key %d\"]", i);
        range = aioc_account_range_of(container, aioc_text_view(key, (size_t)n));
        CHECK(aioc_account_epk(container, aioc_mem_str(key), &levels, epk, &len));
        CHECK(range && range == aioc_account_route(container, aioc_text_view(epk, len)));
        seen[range - container->ranges]++;
    }
    CHECK(seen[0] > 20 && seen[1] > 20 && seen[2] == 1 && seen[3] > 20);
    close_world();
}

TEST(a_key_is_routed_to_its_range)
{
    aioc_account_container *container;
    open_world(4);
    container = container_of(FEED(RANGE("0", "", "0F") "," RANGE("1", "0F", "1F") "," RANGE("2", "1F", "FF")));
    CHECK_INT(container->knowledge, AIOC_ACCOUNT_KNOWN);
    CHECK_STR(route(container, ""), "0");
    CHECK_STR(route(container, "00"), "0");
    CHECK_STR(route(container, "0EFFFFFF"), "0");
    CHECK_STR(route(container, "0F"), "1");
    CHECK_STR(route(container, "0F00"), "1");              /* a missing tail is zero */
    CHECK_STR(route(container, "1EFF"), "1");
    CHECK_STR(route(container, "1F"), "2");
    CHECK_STR(route(container, "3FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"), "2");
    close_world();
}

TEST(ranges_come_in_any_order_and_over_several_pages)
{
    aioc_account_container *container;
    open_world(4);
    container = hold("c");
    CHECK(add_page(container, FEED(RANGE("2", "1F", "FF"))));
    CHECK(add_page(container, FEED("")));
    CHECK(add_page(container, FEED(RANGE("1", "0F", "1F") "," RANGE("0", "", "0F"))));
    CHECK(aioc_account_finish_ranges(container));
    CHECK_INT(container->range_count, 3);
    CHECK_STR(text_of(aioc_account_text(container, container->ranges[0].id)), "0");
    CHECK_STR(text_of(aioc_account_text(container, container->ranges[2].id)), "2");
    close_world();
}

TEST(a_range_that_was_split_gives_way_to_its_children)
{
    aioc_account_container *container;
    open_world(4);
    container = container_of(FEED(RANGE("0", "", "1F") "," RANGE("1", "1F", "FF") "," CHILD("2", "", "0F", "\"0\"") ","
                                  CHILD("3", "0F", "1F", "\"0\"")));
    CHECK_INT(container->knowledge, AIOC_ACCOUNT_KNOWN);
    CHECK_INT(container->range_count, 3);
    CHECK_STR(route(container, "05"), "2");
    CHECK_STR(route(container, "15"), "3");
    CHECK_STR(route(container, "25"), "1");
    close_world();
}

TEST(a_grandchild_replaces_two_generations)
{
    aioc_account_container *container;
    open_world(4);
    container = container_of(FEED(RANGE("0", "", "FF") "," CHILD("1", "", "0F", "\"0\"") ","
                                  CHILD("2", "0F", "FF", "\"0\"") ","
                                  CHILD("3", "", "07", "\"0\",\"1\"") "," CHILD("4", "07", "0F", "\"0\",\"1\"")));
    CHECK_INT(container->knowledge, AIOC_ACCOUNT_KNOWN);
    CHECK_STR(route(container, "01"), "3");
    CHECK_STR(route(container, "08"), "4");
    CHECK_STR(route(container, "10"), "2");
    close_world();
}

TEST(an_id_is_no_parent_because_it_begins_like_one)
{
    aioc_account_container *container;
    open_world(4);
    container = container_of(FEED(RANGE("1", "", "0F") "," CHILD("20", "0F", "1F", "\"11\"") ","
                                  CHILD("21", "1F", "FF", "\"11\"")));
    CHECK_INT(container->knowledge, AIOC_ACCOUNT_KNOWN);
    CHECK_INT(container->range_count, 3);
    close_world();
}

TEST(ranges_with_a_gap_or_an_overlap_are_not_believed)
{
    static const char *const feeds[] = {
        FEED(""), FEED(RANGE("0", "", "0F")), FEED(RANGE("0", "01", "FF")),
        FEED(RANGE("0", "", "0F") "," RANGE("1", "1F", "FF")),
        FEED(RANGE("0", "", "1F") "," RANGE("1", "0F", "FF")), FEED(RANGE("0", "", "FF") "," RANGE("1", "", "FF")),
    };
    size_t i;
    for (i = 0; i < sizeof feeds / sizeof *feeds; i++) {
        aioc_account_container *container;
        open_world(4);
        container = container_of(feeds[i]);
        if (container->knowledge != AIOC_ACCOUNT_UNAVAILABLE) CHECK_STR(feeds[i], "unavailable");
        CHECK_STR(route(container, "05"), "nowhere");
        close_world();
    }
}

TEST(a_page_that_is_no_range_feed_is_refused)
{
    static const char *const pages[] = {"{}", "[]", "{\"PartitionKeyRanges\":{}}", FEED("7"), FEED("{\"id\":\"0\"}"),
        FEED(RANGE("0:1", "", "FF")), FEED(RANGE("1\\r\\nX: y", "", "FF")), FEED(RANGE("", "", "FF")),
        FEED(RANGE("0", "", "FG")), FEED(RANGE("0", "\\u0000", "FF")), FEED(RANGE("0 ", "", "FF")),
        FEED(RANGE("00000000001111111111222222222233333333334444444444555555555566666", "", "FF")),
        FEED("{\"id\":0,\"minInclusive\":\"\",\"maxExclusive\":\"FF\"}"), FEED(CHILD("0", "", "FF", "7"))};
    aioc_account_container *container;
    size_t i;
    open_world(4);
    container = hold("c");
    for (i = 0; i < sizeof pages / sizeof *pages; i++)
        if (add_page(container, pages[i])) CHECK_STR(pages[i], "refused");
    close_world();
}

TEST(a_server_cannot_make_ranges_grow_without_end)
{
    aioc_account_container *container;
    int added = 0;
    open_world(4);
    container = hold("c");
    while (added < 1000 && add_page(container, FEED(RANGE("0", "", "FF")))) added++;
    CHECK_INT(added, 64);
    close_world();
}

TEST(adding_ranges_survives_each_allocation_that_fails)
{
    static const char feed[] = FEED(RANGE("0", "", "0F") "," CHILD("1", "0F", "FF", "\"7\",\"8\""));
    unsigned long n;
    bool added = false;
    for (n = 1; !added; n++) {
        aiocosmos_json_doc doc;
        aioc_account_container *container;
        open_world(4);
        container = hold("c");
        aioc_json_open(&doc, &world.memory);
        CHECK_INT(aioc_json_parse(&doc, feed, strlen(feed)), 0);
        heap_fail(&heap, n, 1);
        added = aioc_account_add_ranges(container, aioc_json_root(&doc));
        aioc_json_close(&doc);
        close_world();
    }
    CHECK(n > 2);
}

/*--- Waiting for metadata -------------------------------------------------------------*/

static void note_resumed(aioc_account_waiter *waiter)
{
    world.resumed++;
    world.last_resumed = waiter;
}

TEST(metadata_is_fetched_once_for_all_who_wait)
{
    aioc_account_waiter waiters[3];
    aioc_account_container *container;
    int i;
    open_world(4);
    container = hold("c");
    memset(waiters, 0, sizeof waiters);
    for (i = 0; i < 3; i++) {
        waiters[i].resume = note_resumed;
        CHECK(!aioc_account_settled(container, 0));
        aioc_account_wait(&world.account, container, &waiters[i]);
    }
    CHECK_INT(world.fetches, 1);
    aioc_mem_list_remove(&container->waiters, &waiters[1].node);
    aioc_account_settle(container, AIOC_ACCOUNT_UNAVAILABLE, 0);
    CHECK(aioc_account_settled(container, 0));
    CHECK_INT(world.resumed, 2);
    CHECK(world.last_resumed == &waiters[2]);
    CHECK(!container->waiters.first && !container->waiters.last);
    close_world();
}

TEST(a_waiter_may_leave_from_any_place_in_the_line)
{
    int leaver;
    for (leaver = 0; leaver < 3; leaver++) {
        aioc_account_waiter waiters[3];
        aioc_account_container *container;
        int i;
        open_world(4);
        container = hold("c");
        memset(waiters, 0, sizeof waiters);
        for (i = 0; i < 3; i++) {
            waiters[i].resume = note_resumed;
            aioc_account_wait(&world.account, container, &waiters[i]);
        }
        aioc_mem_list_remove(&container->waiters, &waiters[leaver].node);
        aioc_account_settle(container, AIOC_ACCOUNT_KNOWN, 0);
        CHECK_INT(world.resumed, 2);
        CHECK(world.last_resumed == &waiters[leaver == 2 ? 1 : 2]);
        close_world();
    }
}

/*--- Session tokens -------------------------------------------------------------------*/

static void merge(aioc_account_container *container, const char *composite)
{
    if (!aioc_account_session_take(container, aioc_mem_str(composite), false))
        CHECK_STR(composite, "merged");
}

static void claim(aioc_account_container *container, const char *composite)
{
    if (!aioc_account_session_take(container, aioc_mem_str(composite), true))
        CHECK_STR(composite, "claimed");
}

static const char *all_of(aioc_account_container *container)
{
    aioc_mem_buffer out = {NULL, 0, 0};
    const char *text;
    CHECK(aioc_account_session_for(container, NULL, aioc_mem_str(""), &out));
    text = text_of(aioc_text_view(out.data, out.len));
    aioc_mem_buffer_free(&world.memory, &out);
    return text;
}

/* What is sent for the range that a key belongs to. */
static const char *token_with(aioc_account_container *container, const char *epk, const char *given)
{
    aioc_mem_buffer out = {NULL, 0, 0};
    const aioc_account_range *range = aioc_account_route(container, aioc_mem_str(epk));
    const char *text;
    CHECK(range && aioc_account_session_for(container, range, aioc_mem_str(given), &out));
    text = text_of(aioc_text_view(out.data, out.len));
    aioc_mem_buffer_free(&world.memory, &out);
    return text;
}

static const char *token_for(aioc_account_container *container, const char *epk)
{
    return token_with(container, epk, "");
}

TEST(tokens_are_kept_by_range_and_only_grow)
{
    aioc_account_container *container;
    open_world(4);
    container = hold("c");
    CHECK_STR(all_of(container), "");
    merge(container, "0:-1#5");
    merge(container, "1:-1#7");
    CHECK_STR(all_of(container), "0:-1#5,1:-1#7");
    merge(container, "0:-1#4");
    CHECK_STR(all_of(container), "0:-1#5,1:-1#7");
    merge(container, "1:-1#10000,0:-1#6,2:-1#1");
    CHECK_STR(all_of(container), "0:-1#6,1:-1#10000,2:-1#1");
    close_world();
}

TEST(tokens_of_several_regions_are_merged_region_by_region)
{
    aioc_account_container *container;
    open_world(4);
    container = hold("c");
    merge(container, "0:1#9#4=8#5=7");
    merge(container, "0:1#8#4=9#5=6");
    CHECK_STR(all_of(container), "0:1#9#4=9#5=7");
    close_world();
}

TEST(a_range_is_sent_its_own_token_only)
{
    aioc_account_container *container;
    open_world(4);
    container = container_of(FEED(RANGE("0", "", "1F") "," RANGE("1", "1F", "FF")));
    merge(container, "0:-1#5,1:-1#7");
    CHECK_STR(token_for(container, "05"), "0:-1#5");
    CHECK_STR(token_for(container, "25"), "1:-1#7");
    close_world();
}

TEST(a_range_without_a_token_inherits_from_its_parents)
{
    aioc_account_container *container;
    open_world(4);
    container = container_of(FEED(CHILD("3", "", "0F", "\"0\"") "," CHILD("4", "0F", "1F", "\"0\"") ","
                                  CHILD("5", "1F", "FF", "\"1\",\"2\"")));
    merge(container, "0:-1#5");
    CHECK_STR(token_for(container, "01"), "3:-1#5");
    merge(container, "3:-1#8");
    CHECK_STR(token_for(container, "01"), "3:-1#8");
    CHECK_STR(token_for(container, "10"), "4:-1#5");
    CHECK_STR(token_for(container, "20"), "");
    merge(container, "1:-1#3");
    CHECK_STR(token_for(container, "20"), "5:-1#3");
    merge(container, "2:-1#4");                              /* two ranges were merged into one */
    CHECK_STR(token_for(container, "20"), "5:-1#4");
    close_world();
}

/* A gateway follows a split by itself; only the new ranges' tokens tell of it. */
TEST(a_token_of_an_unknown_range_tells_of_a_split)
{
    aioc_account_container *container;
    open_world(4);
    container = container_of(FEED(CHILD("1", "", "1F", "\"0\"") "," RANGE("2", "1F", "FF")));
    CHECK(aioc_account_session_take(container, aioc_mem_str("1:-1#5,2:-1#7,0:-1#3"), false));
    CHECK_INT(container->knowledge, AIOC_ACCOUNT_KNOWN);   /* ours, and a parent of ours */
    CHECK(aioc_account_session_take(container, aioc_mem_str("3:-1#8"), false));
    CHECK_INT(container->knowledge, AIOC_ACCOUNT_UNKNOWN);
    CHECK_STR(all_of(container), "1:-1#5,2:-1#7,3:-1#8");   /* its only child has a token of its own */
    aioc_account_want(&world.account, container);
    CHECK(add_page(container, FEED(CHILD("1", "", "1F", "\"0\"") "," RANGE("2", "1F", "FF"))));
    aioc_account_settle(container,
                        aioc_account_finish_ranges(container) ? AIOC_ACCOUNT_KNOWN : AIOC_ACCOUNT_UNAVAILABLE, 0);
    CHECK(aioc_account_session_take(container, aioc_mem_str("3:-1#9"), false));
    CHECK_INT(container->knowledge, AIOC_ACCOUNT_KNOWN);   /* a server whose ids differ is asked once for each */
    close_world();
}

TEST(what_changed_of_the_ranges_is_added_to_what_was_known)
{
    aioc_account_container *container;
    uint32_t version;
    open_world(4);
    container = container_of(FEED(RANGE("0", "", "1F") "," RANGE("1", "1F", "FF")));
    version = container->ranges_version;
    CHECK(aioc_mem_set(container->memory, &container->ranges_etag, aioc_mem_str("\"7\"")));
    aioc_account_doubt_ranges(container);
    CHECK(!aioc_account_route(container, aioc_mem_str("05")));
    /* A split, a range said again, and a merge. */
    CHECK(add_page(container, FEED(RANGE("1", "1F", "FF") "," CHILD("2", "", "0F", "\"0\"") ","
                                   CHILD("3", "0F", "1F", "\"0\"") "," CHILD("4", "0F", "FF", "\"0\",\"3\",\"1\""))));
    aioc_account_settle(container,
                        aioc_account_finish_ranges(container) ? AIOC_ACCOUNT_KNOWN : AIOC_ACCOUNT_UNAVAILABLE, 0);
    CHECK(container->ranges_version != version);
    CHECK_STR(route(container, "05"), "2");
    CHECK_STR(route(container, "1E"), "4");
    CHECK_STR(route(container, "3A"), "4");
    CHECK_INT(container->range_count, 2);
    CHECK(add_page(container, FEED(CHILD("9", "", "0E", "\"2\""))));      /* leaves a gap: all is to be read again */
    CHECK(!aioc_account_finish_ranges(container));
    close_world();
}

TEST(a_range_said_twice_in_a_whole_feed_is_refused)
{
    aioc_account_container *container;
    open_world(4);
    container = hold("c");
    CHECK(add_page(container, FEED(RANGE("0", "", "FF") "," RANGE("0", "", "FF"))));
    CHECK(!aioc_account_finish_ranges(container));
    close_world();
}

/* A split is over when each child has a token of its own; an id that nobody knows is let go of only if no answer gave
 * it. */
TEST(tokens_of_dead_parents_and_made_up_ones_are_pruned)
{
    aioc_account_container *container;
    open_world(4);
    container = hold("c");
    merge(container, "0:-1#5,1:-1#7,77:-1#1");
    claim(container, "88:-1#1,99:-1#1");
    CHECK(add_page(container, FEED(RANGE("1", "1F", "FF") "," CHILD("2", "", "0F", "\"0\"") ","
                                   CHILD("3", "0F", "1F", "\"0\""))));
    aioc_account_want(&world.account, container);
    aioc_account_settle(container,
                        aioc_account_finish_ranges(container) ? AIOC_ACCOUNT_KNOWN : AIOC_ACCOUNT_UNAVAILABLE, 0);
    CHECK_STR(all_of(container), "0:-1#5,1:-1#7,77:-1#1");
    merge(container, "2:-1#6");
    CHECK_STR(all_of(container), "0:-1#5,1:-1#7,2:-1#6,77:-1#1");
    claim(container, "3:-1#8");                              /* is no proof that there is another */
    CHECK_STR(token_for(container, "10"), "3:-1#8");
    CHECK_STR(all_of(container), "0:-1#5,1:-1#7,2:-1#6,3:-1#8,77:-1#1");
    merge(container, "3:-1#9");
    CHECK(!aioc_account_review(container));
    CHECK_STR(all_of(container), "1:-1#7,2:-1#6,3:-1#9,77:-1#1");
    CHECK_INT(container->token_bytes, strlen(all_of(container)) + 1);
    CHECK_INT(container->knowledge, AIOC_ACCOUNT_KNOWN);
    close_world();
}

TEST(what_is_claimed_is_sent_until_it_is_proven_or_dropped)
{
    aioc_account_container *container;
    const aioc_account_range *first;
    open_world(4);
    container = container_of(FEED(RANGE("0", "", "1F") "," RANGE("1", "1F", "FF")));
    first = aioc_account_route(container, aioc_mem_str("05"));
    merge(container, "0:-1#5,1:-1#5");
    claim(container, "0:-1#4");                              /* nothing new */
    CHECK_INT(container->token_count, 2);
    claim(container, "0:-1#9,1:-1#9");
    CHECK_STR(all_of(container), "0:-1#9,1:-1#9");
    merge(container, "0:-1#7,1:-1#9");                       /* one falls short, one proves it */
    CHECK_STR(all_of(container), "0:-1#9,1:-1#9");
    aioc_account_drop_claims(container, first);
    CHECK_STR(all_of(container), "0:-1#7,1:-1#9");
    claim(container, "0:-1#9,1:-1#20,5:-1#9223372036854775807");
    aioc_account_drop_claims(container, first);         /* and who may be that range by now */
    CHECK_STR(all_of(container), "0:-1#7,1:-1#20");
    aioc_account_drop_claims(container, NULL);
    CHECK_STR(all_of(container), "0:-1#7,1:-1#9");
    CHECK_INT(container->token_bytes, strlen(all_of(container)) + 1);
    close_world();
}

TEST(what_is_given_counts_for_its_request_alone)
{
    aioc_account_container *container;
    open_world(4);
    container = container_of(FEED(CHILD("2", "", "1F", "\"0\"") "," RANGE("1", "1F", "FF")));
    merge(container, "1:-1#5");
    CHECK_STR(token_with(container, "05", "2:-1#8,1:-1#9"), "2:-1#8");
    CHECK_STR(token_with(container, "05", "0:-1#3,1:-1#9"), "2:-1#3");           /* of its parent */
    CHECK_STR(token_with(container, "05", "0:-1#3,2:-1#2"), "2:-1#2");
    CHECK_STR(token_with(container, "25", "1:-1#4"), "1:-1#5");
    CHECK_STR(token_with(container, "25", "1:-1#4#7=2,9:-1#4"), "1:-1#5#7=2,9:-1#4");    /* perhaps its heir's */
    CHECK_STR(all_of(container), "1:-1#5");
    close_world();
}

/* Whatever somebody claims: of what answers give, nothing is refused, and it can always grow. */
TEST(a_full_store_has_room_for_what_is_known)
{
    aioc_account_container *container;
    char token[64];
    int i;
    open_world(4);
    container = container_of(FEED(RANGE("0", "", "1F") "," RANGE("1", "1F", "FF")));
    for (i = 100; i < 200; i++) {
        snprintf(token, sizeof token, "%d:-1#1234567890", i);
        aioc_account_session_take(container, aioc_mem_str(token), true);
    }
    CHECK(container->token_bytes <= AIOC_ACCOUNT_SESSION_BYTES_MAX / 2);
    CHECK(container->knowledge != AIOC_ACCOUNT_KNOWN);       /* the made-up ones go when it is known again */
    merge(container, "300:-1#5");                            /* a range that is not known yet, of an answer */
    for (i = 100; i < 200; i++) {
        snprintf(token, sizeof token, "%d:-1#1234567890", i);
        aioc_account_session_take(container, aioc_mem_str(token), false);
    }
    CHECK(!aioc_account_session_take(container, aioc_mem_str("200:-1#1234567890"), false));
    container->knowledge = AIOC_ACCOUNT_KNOWN;               /* they have been read again, and are the same */
    CHECK(!aioc_account_session_take(container, aioc_mem_str("201:-1#1234567890"), false));
    CHECK_INT(container->knowledge, AIOC_ACCOUNT_KNOWN);     /* or they would be read for every answer */
    merge(container, "0:-1#5,1:-1#7");
    merge(container, "0:1#123456789012345#1=123456789012345#2=123456789012345#3=123456789012345#4=123456789012345");
    CHECK_STR(text_of(aioc_mem_text(&aioc_account_token_of(container, aioc_mem_str("0"))->proven)),
              "1#123456789012345#1=123456789012345#2=123456789012345#3=123456789012345#4=123456789012345");
    close_world();
}

/* A header that gateways refuse helps nobody: what was made up is left out first. */
TEST(made_up_ids_do_not_make_a_long_header)
{
    static char given[8000];
    aioc_account_container *container;
    aioc_mem_buffer out = {NULL, 0, 0};
    size_t len = (size_t)sprintf(given, "0:-1#9");
    int i;
    open_world(4);
    container = container_of(FEED(RANGE("0", "", "1F") "," RANGE("1", "1F", "FF")));
    for (i = 0; i < 1000; i++) len += (size_t)sprintf(given + len, ",%d:1", 5000 + i);
    CHECK(aioc_account_session_for(container, container->ranges, aioc_mem_str(given), &out));
    CHECK_TEXT(out.data, out.len, "0:-1#9");
    aioc_mem_buffer_free(&world.memory, &out);
    close_world();
}

TEST(tokens_are_held_to_their_limit)
{
    aioc_account_container *container;
    char token[64];
    int i, merged = 0;
    open_world(4);
    container = hold("c");
    for (i = 0; i < 100; i++) {
        snprintf(token, sizeof token, "%d:-1#1234567890", i);
        merged += aioc_account_session_take(container, aioc_mem_str(token), false);
    }
    CHECK(merged > 10 && merged < 20);
    CHECK(strlen(all_of(container)) <= AIOC_ACCOUNT_SESSION_BYTES_MAX);
    CHECK(container->token_bytes <= AIOC_ACCOUNT_SESSION_BYTES_MAX);
    merge(container, "0:-1#1234567891");                     /* what is held can still be renewed */
    close_world();
}

TEST(what_counts_of_tokens_is_what_is_written)
{
    aioc_account_container *container;
    open_world(4);
    container = hold("c");
    merge(container, "0:-1#5,1:-1#7");
    merge(container, "0:-1#500000,1:-1#8");
    CHECK_INT(container->token_bytes, strlen(all_of(container)) + 1);   /* one separator each */
    aioc_account_forget(container);
    CHECK_INT(container->token_bytes, 0);
    close_world();
}

TEST(merging_survives_each_allocation_that_fails)
{
    unsigned long n, failed = 0;
    for (n = 1; n < 40; n++) {
        aioc_account_container *container;
        open_world(4);
        container = hold("c");
        merge(container, "0:-1#5");
        claim(container, "0:-1#6");
        heap_fail(&heap, n, ULONG_MAX);
        failed += !aioc_account_session_take(container, aioc_mem_str(
            "1:-1#9,0:-1#1234567890123456#1=99999999999999999#7=999999,2:-1#4,3:-1#4,4:-1#4,5:-1#4"), n % 2);
        heap_recover(&heap);
        CHECK(strncmp(all_of(container), "0:-1#", 5) == 0);
        aioc_account_drop_claims(container, NULL);
        CHECK(strncmp(all_of(container), "0:-1#", 5) == 0);
        close_world();
    }
    CHECK(failed > 0);
}
