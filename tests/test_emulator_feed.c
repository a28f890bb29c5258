/* The emulator's change feed: what it gives, in which order and from where, and that positions outlive splits and
 * merges. */
#include "emulator_world.h"

#define FEED      "A-IM: Incremental Feed\r\n"
#define ALL       "A-IM: Full-Fidelity Feed\r\nx-ms-cosmos-changefeed-wire-format-version: 2021-09-15\r\n"
#define CONTAINER "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":2}%s}"
#define POLICY    ",\"changeFeedPolicy\":{\"retentionDuration\":10}"

static void open_container(int partitions, const char *more)
{
    aiocosmos_emulator_options options;
    memset(&options, 0, sizeof options);
    options.partitions = partitions;
    open_core(options);
    make_container(f(CONTAINER, more));
}

static void put_item(const char *id, const char *key, int number)
{
    CHECK_INT(call("POST", DOCS, f(PK("[\"%s\"]") UPSERT, key), f("{\"id\":\"%s\",\"pk\":\"%s\",\"n\":%d}", id, key,
                                                                  number)) / 100, 2);
}

static void drop_item(const char *id, const char *key)
{
    CHECK_INT(call("DELETE", f(DOCS "/%s", id), key_line(key), NULL), 204);
}

/* Where the last answer says to go on. */
static const char *from_here(void)
{
    return f("If-None-Match: %s\r\n", header("etag"));
}

/* The values of a property of the rows, in their order: "a b c". The property may be a path. */
static const char *listed(const char *path)
{
    static char text[4096];
    aiocosmos_json_doc doc;
    aiocosmos_json list, row;
    size_t len = 0, rows = 0;
    text[0] = 0;
    if (got.status != 200) return text;
    aioc_json_open(&doc, &w.memory);
    CHECK_INT(aioc_json_parse(&doc, got.body.ptr, got.body.len), 0);
    list = aioc_json_at(aioc_json_root(&doc), "/Documents");
    memset(&row, 0, sizeof row);
    while (aioc_json_next(list, NULL, &row)) {
        aiocosmos_json value = aioc_json_at(row, path);
        bool quoted = value.type == AIOCOSMOS_JSON_STR;
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", rows++ ? " " : "",
                                (int)(value.len - (quoted ? 2 : 0)), value.len ? value.ptr + (quoted ? 1 : 0) : "");
    }
    aioc_json_close(&doc);
    return text;
}

TEST(items_come_in_the_order_of_their_last_change)
{
    char etag[64];
    open_container(1, "");
    CHECK_INT(call("GET", DOCS, FEED, NULL), 304);         /* nothing yet, and that has a position too */
    CHECK_INT(got.body.len, 0);
    CHECK_STR(header("etag"), "\"1\"");
    CHECK(*header("x-ms-session-token"));
    put_item("a", "k1", 1);
    put_item("b", "k2", 1);
    put_item("c", "k3", 1);
    put_item("a", "k1", 2);
    CHECK_INT(call("GET", DOCS, FEED, NULL), 200);
    CHECK_STR(listed("/id"), "b c a");
    CHECK_STR(listed("/_lsn"), "3 4 5");
    CHECK_INT(count(), 3);
    CHECK_STR(header("etag"), "\"5\"");
    snprintf(etag, sizeof etag, "%s", from_here());
    CHECK_INT(call("GET", DOCS, f(FEED "%s", etag), NULL), 304);
    CHECK_STR(header("etag"), "\"5\"");
    put_item("c", "k3", 2);
    drop_item("b", "k2");
    CHECK_INT(call("GET", DOCS, f(FEED "%s", etag), NULL), 200);
    CHECK_STR(listed("/id"), "c");
    CHECK_STR(header("etag"), "\"7\"");                    /* the deletion counts, and is not told */
    drop_item("c", "k3");
    CHECK_INT(call("GET", DOCS, FEED "If-None-Match: \"7\"\r\n", NULL), 304);
    CHECK_STR(header("etag"), "\"8\"");
    CHECK_INT(call("GET", DOCS, f(FEED "%s", from_here()), NULL), 304);
    CHECK_STR(header("etag"), "\"8\"");
    CHECK_INT(call("GET", DOCS, FEED, NULL), 200);
    CHECK_STR(listed("/id"), "a");
    close_world();
}

TEST(feed_pages)
{
    int i, n = 0, page = 0;
    char from[64] = "";
    open_container(1, "");
    for (i = 0; i < 50; i++) put_item(f("%d", i), f("k%d", i % 7), 0);
    for (i = 0; i < 50; i += 2) put_item(f("%d", i), f("k%d", i % 7), 1);
    for (;; page++) {
        const char *at;
        call("GET", DOCS, f(FEED "x-ms-max-item-count: 8\r\n%s", from), NULL);
        snprintf(from, sizeof from, "%s", from_here());
        if (got.status == 304) break;
        CHECK_INT(got.status, 200);
        CHECK(count() <= 8);
        for (at = listed("/id"); *at; at += *at == ' ') {
            i = (int)strtol(at, (char **)&at, 10);
            CHECK_INT(i, n < 25 ? 2 * n + 1 : 2 * (n - 25));
            n++;
        }
    }
    CHECK_INT(n, 50);
    CHECK_INT(page, 7);
    CHECK_INT(call("GET", DOCS, FEED "x-ms-max-item-count: -1\r\n", NULL), 200);
    CHECK_INT(count(), 50);
    for (i = 0; i < 1000; i++) put_item(f("%d", i % 3), f("k%d", i % 3), i);   /* holes are closed */
    CHECK_INT(call("GET", DOCS, f(FEED "%s", from), NULL), 200);
    CHECK_STR(listed("/id"), "1 2 0");
    close_world();
}

TEST(where_a_feed_starts)
{
    open_container(1, "");
    put_item("a", "k", 1);
    CHECK_INT(call("GET", DOCS, FEED "If-None-Match: *\r\n", NULL), 304);
    w.now_ms += 10000;
    put_item("b", "k", 1);
    CHECK_INT(call("GET", DOCS, f(FEED "%s", "If-None-Match: \"2\"\r\n"), NULL), 200);
    CHECK_STR(listed("/id"), "b");
    CHECK_INT(call("GET", DOCS, f(FEED "%s", "If-None-Match: 2\r\n"), NULL), 200);
    CHECK_STR(listed("/id"), "b");
    CHECK_INT(call("GET", DOCS, FEED "If-Modified-Since: Sat, 21 Nov 2026 02:31:55 UTC\r\n", NULL), 304);  /* as Go does */
    CHECK_INT(call("GET", DOCS, FEED "If-Modified-Since: Sat, 21 Nov 2026 02:31:54 GMT\r\n", NULL), 200);
    CHECK_STR(listed("/id"), "b");
    CHECK_INT(call("GET", DOCS, FEED "If-Modified-Since: Sat, 21 Nov 2026 02:31:44 GMT\r\n", NULL), 200);
    CHECK_STR(listed("/id"), "a b");
    CHECK_INT(call("GET", DOCS, FEED "If-Modified-Since: Sat, 21 Nov 2026 02:31:55 GMT\r\n", NULL), 304);
    CHECK_STR(header("etag"), "\"3\"");
    /* Python sends the time along with the position. */
    CHECK_INT(call("GET", DOCS, FEED "If-Modified-Since: Sat, 21 Nov 2026 02:31:54 GMT\r\nIf-None-Match: \"1\"\r\n",
                   NULL), 200);
    CHECK_STR(listed("/id"), "b");
    CHECK_INT(call("GET", DOCS, FEED "If-None-Match: \"x\"\r\n", NULL), 400);
    CHECK_INT(call("GET", DOCS, FEED "If-Modified-Since: yesterday\r\n", NULL), 400);
    CHECK_INT(call("GET", DOCS, "A-IM: Some Feed\r\n", NULL), 400);
    CHECK_INT(call("GET", DOCS, FEED "x-ms-cosmos-changefeed-wire-format-version: 1999-01-01\r\n", NULL), 400);
    CHECK_INT(call("GET", DOCS, FEED "x-ms-max-item-count: 0\r\n", NULL), 400);
    CHECK_INT(call("GET", DOCS, FEED "x-ms-session-token: 0:-1#99\r\n", NULL), 404);
    CHECK_INT(got.sub_status, 1002);
    CHECK_INT(call("GET", DOCS, FEED "x-ms-cosmos-changefeed-wire-format-version: 2021-09-15\r\n", NULL), 200);
    CHECK_STR(listed("/current/id"), "a b");
    CHECK_STR(listed("/metadata/lsn"), "2 3");
    CHECK_STR(listed("/metadata/crts"), "1795228304 1795228314");
    close_world();
}

TEST(what_a_feed_is_about)
{
    open_container(2, "");
    put_item("a", "k1", 1);
    put_item("b", "k2", 1);
    put_item("c", "k1", 1);
    put_item("a", "k1", 2);
    CHECK_INT(call("GET", DOCS, FEED PK("[\"k1\"]"), NULL), 200);
    CHECK_STR(listed("/id"), "c a");
    CHECK_INT(call("GET", DOCS, f(FEED PK("[\"k1\"]") "%s", from_here()), NULL), 304);
    CHECK_INT(call("GET", DOCS, FEED PK("[\"k9\"]"), NULL), 304);
    CHECK_INT(call("GET", DOCS, FEED, NULL), 400);         /* several partitions, each with its own positions */
    CHECK_INT(call("GET", DOCS, FEED "x-ms-documentdb-partitionkeyrangeid: 7\r\n", NULL), 410);
    CHECK_INT(got.sub_status, 1002);
    CHECK_INT(call("GET", DOCS, FEED RANGE_0 BY_EPK "x-ms-start-epk: 10\r\nx-ms-end-epk: 30\r\n", NULL), 410);
    CHECK_INT(got.sub_status, 1002);
    close_world();
    open_container(1, "");
    fill(40, 40);
    CHECK_INT(call("GET", DOCS, FEED RANGE_0 BY_EPK
                   "x-ms-start-epk: \r\nx-ms-end-epk: 20000000000000000000000000000000\r\n", NULL), 200);
    CHECK(count() > 5 && count() < 35);
    CHECK_STR(header("etag"), "\"41\"");
    close_world();
}

TEST(feed_of_a_hierarchical_prefix)
{
    aiocosmos_emulator_options options;
    memset(&options, 0, sizeof options);
    options.partitions = 1;
    open_core(options);
    make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/t\",\"/u\"],\"kind\":\"MultiHash\",\"version\":2}}");
    CHECK_INT(call("POST", DOCS, PK("[\"x\",\"1\"]"), "{\"id\":\"a\",\"t\":\"x\",\"u\":\"1\"}"), 201);
    CHECK_INT(call("POST", DOCS, PK("[\"y\",\"1\"]"), "{\"id\":\"b\",\"t\":\"y\",\"u\":\"1\"}"), 201);
    CHECK_INT(call("POST", DOCS, PK("[\"x\",\"2\"]"), "{\"id\":\"c\",\"t\":\"x\",\"u\":\"2\"}"), 201);
    CHECK_INT(call("GET", DOCS, FEED PK("[\"x\"]"), NULL), 200);
    CHECK_STR(listed("/id"), "a c");
    CHECK_INT(call("GET", DOCS, FEED PK("[\"x\",\"2\"]"), NULL), 200);
    CHECK_STR(listed("/id"), "c");
    close_world();
}

TEST(all_versions_and_deletes)
{
    char etag[64];
    open_container(1, POLICY ",\"defaultTtl\":-1");
    put_item("early", "k", 1);
    CHECK_INT(call("GET", DOCS, ALL, NULL), 400);          /* not from the beginning, not from a time */
    CHECK_INT(call("GET", DOCS, ALL "If-Modified-Since: Sat, 21 Nov 2026 02:31:44 GMT\r\n", NULL), 400);
    CHECK_INT(call("GET", DOCS, ALL "If-None-Match: *\r\n", NULL), 304);
    snprintf(etag, sizeof etag, "%s", from_here());
    put_item("a", "k", 1);
    put_item("a", "k", 2);
    drop_item("a", "k");
    put_item("a", "k", 3);
    CHECK_INT(call("GET", DOCS, f(ALL "%s", etag), NULL), 200);
    CHECK_STR(listed("/metadata/operationType"), "create replace delete create");
    CHECK_STR(listed("/metadata/lsn"), "3 4 5 6");
    CHECK_STR(listed("/metadata/previousImageLSN"), " 3 4 ");
    CHECK_STR(listed("/current/n"), "1 2  3");
    CHECK_STR(listed("/previous/n"), "  2 ");
    CHECK_STR(listed("/metadata/id"), "  a ");
    CHECK_STR(listed("/metadata/partitionKey/pk"), "  k ");
    CHECK_STR(header("etag"), "\"6\"");
    CHECK_INT(call("GET", DOCS, f(ALL "x-ms-max-item-count: 2\r\n%s", etag), NULL), 200);
    CHECK_STR(listed("/current/n"), "1 2");
    CHECK_INT(call("GET", DOCS, f(ALL "%s", from_here()), NULL), 200);
    CHECK_STR(listed("/metadata/lsn"), "5 6");
    /* Time kills as well, without anybody looking. */
    CHECK_INT(call("POST", DOCS, PK("[\"k\"]"), "{\"id\":\"short\",\"pk\":\"k\",\"ttl\":5}"), 201);
    w.now_ms += 6000;
    CHECK_INT(call("GET", DOCS, f(ALL PK("[\"k\"]") "If-None-Match: \"6\"\r\n"), NULL), 200);
    CHECK_STR(listed("/metadata/operationType"), "create delete");
    CHECK_STR(listed("/metadata/timeToLiveExpired"), " true");
    CHECK_STR(listed("/metadata/id"), " short");
    /* After ten minutes all of that is forgotten, and who comes late is told so. */
    w.now_ms += 11 * 60000;
    put_item("late", "k", 1);
    CHECK_INT(call("GET", DOCS, f(ALL "%s", etag), NULL), 400);
    CHECK(says("retention"));
    CHECK_INT(call("GET", DOCS, ALL "If-None-Match: \"8\"\r\n", NULL), 200);
    CHECK_STR(listed("/current/id"), "late");
    close_world();
}

TEST(all_versions_have_to_be_kept)
{
    open_container(2, "");
    put_item("a", "k", 1);
    CHECK_INT(call("GET", DOCS, ALL PK("[\"k\"]") "If-None-Match: *\r\n", NULL), 400);
    CHECK_INT(call("POST", "/dbs/D/colls", NULL, "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/pk\"]},"
                   "\"changeFeedPolicy\":{\"retentionDuration\":\"long\"}}"), 400);
    CHECK_INT(call("PUT", "/dbs/D/colls/C", NULL, f(CONTAINER, POLICY)), 200);
    CHECK_INT(call("GET", DOCS, ALL PK("[\"k\"]") "If-None-Match: \"1\"\r\n", NULL), 400);    /* before it was kept */
    CHECK_INT(call("GET", DOCS, ALL PK("[\"k\"]") "If-None-Match: *\r\n", NULL), 304);
    put_item("a", "k", 2);
    CHECK_INT(call("GET", DOCS, f(ALL PK("[\"k\"]") "If-None-Match: \"2\"\r\n"), NULL), 200);
    CHECK_STR(listed("/metadata/operationType"), "replace");
    CHECK_INT(call("PUT", "/dbs/D/colls/C", NULL, f(CONTAINER, "")), 200);
    CHECK_INT(call("GET", DOCS, ALL PK("[\"k\"]") "If-None-Match: *\r\n", NULL), 400);
    close_world();
}

/*--- Splits and merges -------------------------------------------------------------------------*/

enum { ITEMS = 40, VERSIONS = 4000, PIECES_MAX = 64 };

static struct { int n; bool there; } model[ITEMS];
static struct { int item, n; } history[VERSIONS];         /* n < 0: deleted */
static int versions;
static uint64_t chance;

static uint64_t draw(uint64_t below)
{
    chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (chance >> 33) % below;
}

static struct { char id[16], min[80], max[80]; } range[16];
static int ranges;

typedef struct position { char min[80], max[80], etag[32]; } position;
typedef struct reader { position at[PIECES_MAX]; int count; bool all; int seen[ITEMS]; } reader;

static void read_ranges(void)
{
    aiocosmos_json_doc doc;
    aiocosmos_json list, at, field[3];
    static const char *const names[] = { "id", "minInclusive", "maxExclusive" };
    CHECK_INT(call("GET", "/dbs/D/colls/C/pkranges", NULL, NULL), 200);
    aioc_json_open(&doc, &w.memory);
    CHECK_INT(aioc_json_parse(&doc, got.body.ptr, got.body.len), 0);
    list = aioc_json_at(aioc_json_root(&doc), "/PartitionKeyRanges");
    memset(&at, 0, sizeof at);
    for (ranges = 0; aioc_json_next(list, NULL, &at); ranges++) {
        CHECK(ranges < 16);
        aioc_json_fields(at, names, 3, field);
        aioc_json_get_str(field[0], range[ranges].id, sizeof range[0].id);
        aioc_json_get_str(field[1], range[ranges].min, sizeof range[0].min);
        aioc_json_get_str(field[2], range[ranges].max, sizeof range[0].max);
    }
    aioc_json_close(&doc);
}

static void change_something(void)
{
    int item = (int)draw(ITEMS);
    const char *id = f("i%d", item), *key = f("k%d", item % 13);
    if (model[item].there && draw(4) == 0) {
        drop_item(id, key);
        model[item].there = false;
        history[versions].n = -1;
    } else {
        put_item(id, key, ++model[item].n);
        model[item].there = true;
        history[versions].n = model[item].n;
    }
    history[versions++].item = item;
}

/* One row that came: of all versions the item's next one, of the latest a later one than before. */
static void take_row(reader *r, int item, int n)
{
    int i;
    for (i = r->seen[item]; i < versions && history[i].item != item; i++) continue;
    if (r->all) CHECK(i < versions && history[i].n == n);
    else for (; i < versions && (history[i].item != item || history[i].n != n); i++) continue;
    CHECK(i < versions);
    r->seen[item] = i + 1;
}

static void take_page(reader *r)
{
    char ids[4096], numbers[4096];
    const char *id = ids, *n = numbers;
    snprintf(ids, sizeof ids, "%s", listed(r->all ? "/metadata/id" : "/id"));
    if (r->all) {                                          /* of deletes alone it stands in the metadata */
        aiocosmos_json_doc doc;
        aiocosmos_json list, row;
        aioc_json_open(&doc, &w.memory);
        CHECK_INT(aioc_json_parse(&doc, got.body.ptr, got.body.len), 0);
        list = aioc_json_at(aioc_json_root(&doc), "/Documents");
        memset(&row, 0, sizeof row);
        while (aioc_json_next(list, NULL, &row)) {
            aiocosmos_json deleted = aioc_json_at(row, "/metadata/id"), kept = aioc_json_at(row, "/current/id");
            aiocosmos_json number = aioc_json_at(row, "/current/n");
            CHECK((deleted.type == AIOCOSMOS_JSON_NONE) != (kept.type == AIOCOSMOS_JSON_NONE));
            if (kept.len) take_row(r, atoi(kept.ptr + 2), atoi(number.ptr));
            else take_row(r, atoi(deleted.ptr + 2), -1);
        }
        aioc_json_close(&doc);
        return;
    }
    snprintf(numbers, sizeof numbers, "%s", listed("/n"));
    while (*id) {
        int item = (int)strtol(id + 1, (char **)&id, 10);
        take_row(r, item, (int)strtol(n, (char **)&n, 10));
        id += *id == ' ';
    }
}

static void add_position(reader *r, const char *min, const char *max, const char *etag)
{
    position *at = &r->at[r->count++];
    CHECK(r->count <= PIECES_MAX);
    snprintf(at->min, sizeof at->min, "%s", min);
    snprintf(at->max, sizeof at->max, "%s", max);
    snprintf(at->etag, sizeof at->etag, "%s", etag);
}

/* Asks for what is behind one of its positions. False: nothing was. */
static bool read_some(reader *r, int which)
{
    position p = r->at[which];
    const char *bounds = "";
    int first = 0, last, i;
    for (;;) {
        for (first = 0; strcmp(range[first].max, p.min) <= 0; first++) continue;
        for (last = first; strcmp(range[last].max, p.max) < 0; last++) continue;
        if (last > first) {                                /* its part on each */
            r->at[which] = r->at[--r->count];
            for (i = first; i <= last; i++)
                add_position(r, i == first ? p.min : range[i].min, i == last ? p.max : range[i].max, p.etag);
            return true;
        }
        if (strcmp(range[first].min, p.min) != 0 || strcmp(range[first].max, p.max) != 0)
            bounds = f(BY_EPK "x-ms-start-epk: %s\r\nx-ms-end-epk: %s\r\n", p.min, p.max);
        call("GET", DOCS, f("%sx-ms-documentdb-partitionkeyrangeid: %s\r\n%sx-ms-max-item-count: %d\r\n%s%s%s",
                            r->all ? ALL : FEED, range[first].id, bounds, (int)draw(5) + 1,
                            *p.etag ? "If-None-Match: " : "", p.etag, *p.etag ? "\r\n" : ""), NULL);
        if (got.status != 410) break;
        CHECK_INT(got.sub_status, 1002);
        read_ranges();
        bounds = "";
    }
    if (got.status != 200 && got.status != 304) test_fail(__FILE__, __LINE__, "%d %s", got.status, got.text);
    snprintf(r->at[which].etag, sizeof p.etag, "%s", header("etag"));
    if (got.status == 200) take_page(r);
    return got.status == 200;
}

static void reshape(void)
{
    int which;
    read_ranges();
    which = (int)draw((uint64_t)ranges);
    if (ranges < 10 && draw(2)) CHECK(aiocosmos_emulator_split(w.core, "D", "C", range[which].id));
    else if (which + 1 < ranges) CHECK(aiocosmos_emulator_merge(w.core, "D", "C", range[which].id));
}

/* A reader of the latest versions and one of all, while items and partitions change. */
TEST(positions_outlive_splits_and_merges)
{
    static reader latest, all;
    int round, i, k, last;
    open_container(1, POLICY);
    chance = 7;
    versions = 0;
    memset(model, 0, sizeof model);
    memset(&latest, 0, sizeof latest);
    memset(&all, 0, sizeof all);
    all.all = true;
    read_ranges();
    add_position(&latest, "", "FF", "");
    CHECK_INT(call("GET", DOCS, ALL "If-None-Match: *\r\n", NULL), 304);
    add_position(&all, "", "FF", header("etag"));
    for (round = 0; round < 600; round++) {
        for (i = (int)draw(6); i > 0; i--) change_something();
        if (draw(8) == 0) reshape();
        read_some(&latest, (int)draw((uint64_t)latest.count));
        read_some(&all, (int)draw((uint64_t)all.count));
    }
    for (i = 0; i < latest.count; i++) while (read_some(&latest, i)) i = 0;
    for (i = 0; i < all.count; i++) while (read_some(&all, i)) i = 0;
    for (k = 0; k < ITEMS; k++) {
        for (last = versions - 1; last >= 0 && history[last].item != k; last--) continue;
        CHECK_INT(all.seen[k], last + 1);                  /* each version, once, in order */
        if (model[k].there) CHECK_INT(latest.seen[k], last + 1);
    }
    CHECK(versions > 1000 && latest.count > 3);
    close_world();
}

/*--- Memory ------------------------------------------------------------------------------------*/

static void work(void)
{
    int i;
    send_alone("POST", "/dbs", NULL, "{\"id\":\"D\"}");
    send_alone("POST", "/dbs/D/colls", NULL, f(CONTAINER, POLICY));
    for (i = 0; i < 12; i++) {
        send_alone("POST", DOCS, f(PK("[\"%d\"]") UPSERT, i % 5), f("{\"id\":\"%d\",\"pk\":\"%d\"}", i % 7, i % 5));
        if (i == 5) send_alone("GET", DOCS, FEED, NULL);
        if (i == 7) aiocosmos_emulator_split(w.core, "D", "C", NULL);
    }
    send_alone("DELETE", DOCS "/1", PK("[\"1\"]"), NULL);
    send_alone("GET", DOCS, FEED PK("[\"2\"]"), NULL);
    send_alone("GET", DOCS, FEED "x-ms-documentdb-partitionkeyrangeid: 1\r\n", NULL);
    send_alone("GET", DOCS, ALL "x-ms-documentdb-partitionkeyrangeid: 1\r\nIf-None-Match: \"1\"\r\n", NULL);
    send_alone("POST", DOCS, QUERY "x-ms-documentdb-partitionkeyrangeid: 2\r\nx-ms-max-item-count: 1\r\n",
         "{\"query\":\"SELECT * FROM c ORDER BY c.id\"}");
    aiocosmos_emulator_merge(w.core, "D", "C", NULL);
    send_alone("GET", DOCS, ALL "If-None-Match: \"1\"\r\n", NULL);
}

/* The same with each allocation failing in turn, alone and with all that follow: answers, no crash, nothing kept. */
TEST(every_allocation_of_it_may_fail)
{
    unsigned long n, calls = 1;
    int all;
    for (all = 0; all < 2; all++) {
        for (n = 0; n <= calls; n++) {
            aiocosmos_emulator_options options;
            memset(&options, 0, sizeof options);
            options.partitions = 1;
            open_core(options);
            calls = n == 0 ? heap.calls : calls;
            if (n) heap_fail(&heap, n, all ? ULONG_MAX : 1);
            work();
            if (n == 0) calls = heap.calls - calls;
            heap_recover(&heap);
            close_world();
        }
    }
    CHECK(calls > 50);
}
