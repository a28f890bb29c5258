/* What the emulator keeps of changes, and what another one makes of that: the same, to the byte. */
#include "emulator_world.h"

#define VERSIONS ",\"changeFeedPolicy\":{\"retentionDuration\":60}"
#define BATCH "x-ms-cosmos-is-batch-request: True\r\nx-ms-cosmos-batch-atomic: True\r\n"

/*--- A file in memory --------------------------------------------------------------------*/

struct file { char *bytes; size_t len, cap; int left; };           /* left: writes until it is full; < 0: never */
static struct file file, anew;

static bool keep(void *user, const void *bytes, size_t len)
{
    struct file *to = (struct file *)user;
    if (to->left == 0) return false;
    if (to->left > 0) to->left--;
    if (to->len + len > to->cap) {
        to->cap = 2 * (to->len + len);
        to->bytes = (char *)realloc(to->bytes, to->cap);
    }
    memcpy(to->bytes + to->len, bytes, len);
    to->len += len;
    return true;
}

static aiocosmos_emulator_options kept(void)
{
    aiocosmos_emulator_options options;
    memset(&options, 0, sizeof options);
    options.partitions = 2;
    options.keep = keep;
    options.keep_user_data = &file;
    return options;
}

static void open_kept(void)
{
    file.len = 0;
    file.left = -1;
    open_core(kept());
}

/* Another emulator, with what was kept of the one before. */
static size_t open_again(size_t len, const char **error)
{
    aiocosmos_emulator_options options = kept();
    options.partitions = 3;                                /* of new containers only */
    close_core();
    put_core(options);
    return aiocosmos_emulator_restore(w.core, file.bytes, len, error);
}

/*--- All that can be seen of an emulator ----------------------------------------------------*/

static void see(char **all, size_t *len, const char *path)
{
    char text[300];
    int size = snprintf(text, sizeof text, "%s %d %s %s\n", path, got.status, header("x-ms-session-token"),
                        header("etag"));
    if (got.status >= 400) got.body.len = 0;               /* it names the request */
    *all = (char *)realloc(*all, *len + (size_t)size + got.body.len + 2);
    memcpy(*all + *len, text, (size_t)size);
    memcpy(*all + *len + size, got.body.ptr, got.body.len);
    *len += (size_t)size + got.body.len;
    (*all)[(*len)++] = '\n';
    (*all)[*len] = 0;
}

/* A change feed of each partition, from several points on. */
static void see_feeds(char **all, size_t *len, const char *mode, const char *container)
{
    char docs[64], *ranges;
    const char *at;
    int start;
    snprintf(docs, sizeof docs, "%s/docs", container);
    call("GET", f("%s/pkranges", container), NULL, NULL);
    ranges = strndup(got.body.ptr, got.body.len);
    for (at = ranges; (at = strstr(at, "\"id\":\"")) != NULL; at++) {
        for (start = 1, got.status = 0; got.status != 304 && start < 3000; start += 9) {
            call("GET", docs, f("A-IM: %s\r\nx-ms-cosmos-changefeed-wire-format-version: 2021-09-15\r\n"
                                "If-None-Match: \"%d\"\r\nx-ms-documentdb-partitionkeyrangeid: %d\r\n", mode, start,
                                atoi(at + 6)), NULL);
            see(all, len, docs);
        }
    }
    free(ranges);
}

static char *seen_all(void)
{
    static const char *const paths[][2] = {
        { "/dbs", NULL }, { "/offers", NULL }, { "/dbs/D/colls", NULL }, { "/dbs/D/users", NULL },
        { "/dbs/D/colls/C/sprocs", NULL }, { "/dbs/D/colls/C/triggers", NULL }, { "/dbs/D/colls/C/pkranges", NULL },
        { "/dbs/D/colls/T/pkranges", NULL }, { DOCS, "x-ms-max-item-count: 1000\r\n" },
        { "/dbs/D/colls/T/docs", "x-ms-max-item-count: 1000\r\n" },
        { DOCS, "A-IM: Incremental feed\r\n" PK("[\"k1\"]") }, { DOCS, "A-IM: Incremental feed\r\n" PK("[\"k2\"]") }
    };
    char *all = NULL;
    size_t i, len = 0;
    int pages;
    for (i = 0; i < 4; i++)                                /* first, because some of these find what has expired */
        see_feeds(&all, &len, i < 2 ? "Full-Fidelity Feed" : "Incremental feed",
                  i % 2 ? "/dbs/D/colls/T" : "/dbs/D/colls/C");
    for (i = 0; i < sizeof paths / sizeof *paths; i++) {
        char continuation[700] = "";
        for (pages = 0; pages < 50; pages++) {
            const char *name = *continuation ? "x-ms-continuation: " : "", *end = *continuation ? "\r\n" : "";
            call("GET", paths[i][0], f("%s%s%s%s", paths[i][1] ? paths[i][1] : "", name, continuation, end), NULL);
            see(&all, &len, paths[i][0]);
            snprintf(continuation, sizeof continuation, "%s", header("x-ms-continuation"));
            if (!*continuation) break;
        }
    }
    return all;
}

static void check_same(const char *a, const char *b)
{
    size_t i = 0;
    while (a[i] && a[i] == b[i]) i++;
    if (!a[i] && !b[i]) return;
    i = i > 60 ? i - 60 : 0;
    test_fail(__FILE__, __LINE__, "seen was\n%.200s\nand is\n%.200s", a + i, b + i);
}

/*--- Tests --------------------------------------------------------------------------------*/

/* C and T, and what each has more in its definition. */
static void make_these(const char *more, const char *more_of_t)
{
    CHECK_INT(call("POST", "/dbs", "x-ms-offer-throughput: 500\r\n", "{\"id\":\"D\"}"), 201);
    CHECK_INT(call("POST", "/dbs/D/colls", NULL,
                   f("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2},"
                     "\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/u\"]}]}%s}", more)), 201);
    CHECK_INT(call("POST", "/dbs/D/colls", "x-ms-cosmos-offer-autopilot-settings: {\"maxThroughput\":4000}\r\n",
                   f("{\"id\":\"T\",\"partitionKey\":{\"paths\":[\"/pk\",\"/id\"],\"kind\":\"MultiHash\","
                     "\"version\":2},\"defaultTtl\":100%s}", more_of_t)), 201);
    CHECK_INT(call("POST", "/dbs/D/users", NULL, "{\"id\":\"ann\"}"), 201);
    CHECK_INT(call("POST", "/dbs/D/users", "x-ms-documentdb-is-upsert: True\r\n", "{\"id\":\"ann\",\"n\":1}"), 200);
    CHECK_INT(call("POST", "/dbs/D/users/ann/permissions", NULL, "{\"id\":\"p\",\"permissionMode\":\"All\","
                   "\"resource\":\"dbs/D/colls/C\"}"), 201);
    CHECK_INT(call("POST", "/dbs/D/colls/C/sprocs", NULL, "{\"id\":\"s\",\"body\":\"\"}"), 201);
}

static void make_all(void)
{
    make_these(VERSIONS, VERSIONS);
}

/* One change, or an attempt at one. */
static void change(uint64_t n)
{
    const char *id = f("%d", (int)(n >> 8) % 12), *key = f("k%d", (int)(n >> 16) % 4), *path = f(DOCS "/%s", id);
    const char *document = f("{\"id\":\"%s\",\"pk\":\"%s\",\"u\":%d,\"n\":%d}", id, key, (int)(n >> 24) % 20,
                             (int)(n >> 32) % 90);
    w.now_ms += (int)(n >> 40) % 3000;
    switch (n % 16) {
    case 0: call("DELETE", path, key_line(key), NULL); break;
    case 1: call("PUT", path, key_line(key), document); break;
    case 2:
        call("PATCH", path, key_line(key), "{\"operations\":[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}]}");
        break;
    case 3:
        call("POST", DOCS, f("%s" BATCH, key_line(key)),
             f("[{\"operationType\":\"Upsert\",\"resourceBody\":%s},{\"operationType\":\"Create\",\"resourceBody\":"
               "{\"id\":\"b%s\",\"pk\":\"%s\",\"u\":%d}}]", document, id, key, 100 + (int)(n >> 24) % 30));
        break;
    case 4: aiocosmos_emulator_split(w.core, "D", n & 256 ? "C" : "T", NULL); break;
    case 5: aiocosmos_emulator_merge(w.core, "D", "C", NULL); break;
    case 6: case 7:
        call("POST", "/dbs/D/colls/T/docs", f(UPSERT PK("[\"%s\",\"%s\"]"), key, id),
             f("{\"id\":\"%s\",\"pk\":\"%s\",\"ttl\":%d}", id, key, 1 + (int)(n >> 24) % 50));
        break;
    case 8:
        if (n & 256) call("POST", "/dbs/D/colls/C/operations/partitionkeydelete", key_line(key), NULL);
        else call("PUT", "/dbs/D/users/ann", NULL, f("{\"id\":\"ann\",\"n\":%d}", (int)(n >> 24) % 9));
        break;
    case 9:
        if (n & 256) call("DELETE", "/dbs/D/colls/C/sprocs/s", NULL, NULL);
        else call("POST", "/dbs/D/colls/C/sprocs", NULL, "{\"id\":\"s\",\"body\":\"\"}");
        break;
    case 10:                                               /* another name, maybe */
        call("PUT", path, key_line(key), f("{\"id\":\"%d\",\"pk\":\"%s\",\"u\":%d}", (int)(n >> 28) % 12, key,
                                           (int)(n >> 24) % 20));
        break;
    default: call("POST", DOCS, f("%s%s", n & 256 ? UPSERT : "", key_line(key)), document);
    }
}

static void change_some(uint64_t *dice, int changes)
{
    for (; changes > 0; changes--) {
        *dice = *dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        change(*dice >> 13);
    }
}

/* Frees what was seen before. */
static void check_opens_the_same(char *before)
{
    const char *error = "none";
    char *after;
    CHECK_INT(open_again(file.len, &error), file.len);
    CHECK_STR(error, NULL);
    after = seen_all();
    check_same(before, after);
    free(before);
    free(after);
}

TEST(what_was_kept_is_the_same_again)
{
    uint64_t state;
    for (state = 1; state <= 20; state++) {
        uint64_t dice = state * 77;
        open_kept();
        make_all();
        change_some(&dice, 150);
        check_opens_the_same(seen_all());
        change_some(&dice, 30);                            /* and goes on from there */
        check_opens_the_same(seen_all());
        close_world();
    }
}

/* The file becomes the one that was written anew. */
static void take_anew(void)
{
    struct file old = file;
    file = anew;
    anew = old;
    anew.len = 0;
    anew.left = -1;
}

/* Once more written anew, and gone on with, and read: it is the same as what happened, deletions and all versions among
 * it, where they are kept. */
TEST(what_is_written_anew_is_the_same_again)
{
    static const char *const policies[] = { "", VERSIONS };
    uint64_t state;
    int round;
    for (state = 1; state <= 16; state++) {
        uint64_t dice = state * 1201;
        const char *error;
        open_kept();
        make_these(policies[state & 1], policies[state >> 1 & 1]);
        anew.len = 0;
        anew.left = -1;
        for (round = 0; round < 3; round++) {
            char *before, *after;
            size_t needs;
            change_some(&dice, 150);
            before = seen_all();
            CHECK_INT(open_again(file.len, &error), file.len);
            CHECK_STR(error, NULL);
            needs = aiocosmos_emulator_needs(w.core, file.bytes, file.len);
            CHECK(aiocosmos_emulator_rewrite(w.core, file.bytes, file.len, keep, &anew));
            CHECK(needs <= anew.len && anew.len < needs + 1000);
            take_anew();
            after = seen_all();
            check_same(before, after);
            free(after);
            check_opens_the_same(before);
        }
        close_world();
    }
}

static void set_policy(const char *more)
{
    CHECK_INT(call("PUT", "/dbs/D/colls/C", NULL,
                   f("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2},"
                     "\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/u\"]}]}%s}", more)), 200);
}

/* Versions are kept from some time on, and then no more, and then again, with the file written anew at each time. */
TEST(what_is_written_anew_knows_since_when_versions_are_kept)
{
    static const char *const policies[] = { "", VERSIONS ",\"defaultTtl\":40", "", VERSIONS };
    uint64_t dice = 11;
    size_t i;
    open_kept();
    make_these("", "");
    anew.len = 0;
    anew.left = -1;
    for (i = 0; i < 12; i++) {
        const char *error;
        char *before;
        change_some(&dice, 60);
        set_policy(policies[i % 4]);
        change_some(&dice, 60);
        before = seen_all();
        CHECK(strstr(before, "previousImageLSN") || i % 2 == 0);
        CHECK_INT(open_again(file.len, &error), file.len);
        CHECK(aiocosmos_emulator_rewrite(w.core, file.bytes, file.len, keep, &anew));
        take_anew();
        check_opens_the_same(before);
    }
    close_world();
}

/* An item that says a ttl which is none, written before its container had any. */
TEST(items_are_written_anew_as_they_were_taken)
{
    const char *error;
    open_kept();
    make_these("", "");
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"1\",\"pk\":\"a\",\"ttl\":\"often\"}"), 201);
    CHECK_INT(call("PUT", "/dbs/D/colls/C", NULL, "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2},"
                   "\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/u\"]}]},\"defaultTtl\":50}"), 200);
    anew.len = 0;
    anew.left = -1;
    CHECK(aiocosmos_emulator_rewrite(w.core, file.bytes, file.len, keep, &anew));
    take_anew();
    CHECK_INT(open_again(file.len, &error), file.len);
    CHECK_STR(error, NULL);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 200);
    w.now_ms += 60000;
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 404);
    close_world();
}

/* Whatever fails, the old file is as good as before, and is written on. */
TEST(what_cannot_be_written_anew_stays)
{
    const char *error;
    uint64_t dice = 5;
    unsigned long nth, failed = 1, refused = 0;
    open_kept();
    make_these("", "");
    change_some(&dice, 100);
    for (nth = 0; nth < 2; nth++) {
        anew.len = 0;
        anew.left = (int)nth;
        CHECK(!aiocosmos_emulator_rewrite(w.core, file.bytes, file.len, keep, &anew));
    }
    for (nth = 1; failed; nth++) {
        CHECK_INT(open_again(file.len, &error), file.len);
        anew.len = 0;
        anew.left = -1;
        failed = heap.failed;
        heap_fail(&heap, nth, 3);
        refused += !aiocosmos_emulator_rewrite(w.core, file.bytes, file.len, keep, &anew);
        failed = heap.failed - failed;
        heap_recover(&heap);
    }
    CHECK(refused > 0);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"last\",\"pk\":\"a\",\"u\":\"z\"}"), 201);
    CHECK_INT(open_again(file.len, &error), file.len);
    CHECK_INT(call("GET", DOCS "/last", PK("[\"a\"]"), NULL), 200);
    close_world();
}

/* Of a container that keeps all versions no record is needless; of another beside it all but the last are. */
TEST(versions_that_are_kept_stay)
{
    const char *error;
    char *before;
    size_t needs;
    int i;
    open_kept();
    make_these(VERSIONS, "");
    add_item("1", "a", 1);
    CHECK_INT(call("DELETE", DOCS "/1", PK("[\"a\"]"), NULL), 204);
    CHECK(aiocosmos_emulator_needs(w.core, file.bytes, file.len) > file.len - 300);    /* heads of frames */
    for (i = 0; i < 100; i++)
        CHECK_INT(call("POST", "/dbs/D/colls/T/docs", UPSERT PK("[\"a\",\"2\"]"),
                       f("{\"id\":\"2\",\"pk\":\"a\",\"n\":%d}", i)) / 100, 2);
    needs = aiocosmos_emulator_needs(w.core, file.bytes, file.len);
    CHECK(needs < file.len - 99 * 60);
    before = seen_all();
    CHECK(strstr(before, "\"operationType\":\"delete\"") != NULL);
    anew.len = 0;
    anew.left = -1;
    CHECK_INT(open_again(file.len, &error), file.len);
    CHECK(aiocosmos_emulator_rewrite(w.core, file.bytes, file.len, keep, &anew));
    CHECK(anew.len < needs + 1000);
    take_anew();
    check_opens_the_same(before);
    close_world();
    free(anew.bytes);
    memset(&anew, 0, sizeof anew);
}

TEST(a_renamed_item_is_kept)
{
    const char *error;
    char *before, *after;
    open_kept();
    make_all();
    add_item("1", "a", 1);
    add_item("2", "b", 2);
    CHECK_INT(call("PUT", DOCS "/1", PK("[\"a\"]"), "{\"id\":\"3\",\"pk\":\"a\",\"u\":7}"), 200);
    before = seen_all();
    CHECK_INT(open_again(file.len, &error), file.len);
    CHECK_STR(error, NULL);
    after = seen_all();
    check_same(before, after);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 404);
    CHECK_INT(call("GET", DOCS "/3", PK("[\"a\"]"), NULL), 200);
    free(before);
    free(after);
    close_world();
}

TEST(a_torn_end_is_no_change)
{
    size_t len, cut, end;
    const char *error;
    open_kept();
    make_all();
    len = file.len;
    add_item("1", "a", 1);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]") BATCH,
                   "[{\"operationType\":\"Create\",\"resourceBody\":{\"id\":\"2\",\"pk\":\"a\",\"u\":5}},"
                   "{\"operationType\":\"Create\",\"resourceBody\":{\"id\":\"3\",\"pk\":\"a\",\"u\":6}}]"), 200);
    end = file.len;
    for (cut = 0; cut <= end; cut++) {
        size_t whole = open_again(cut, &error);
        CHECK_STR(error, NULL);
        CHECK(whole <= cut);
        if (cut < len) continue;
        CHECK(whole >= len);
        call("POST", DOCS, QUERY PK("[\"a\"]"), "{\"query\":\"SELECT VALUE c.id FROM c\"}");
        CHECK_INT(got.status, 200);
        CHECK_INT(count(), cut == end ? 3 : whole > len);  /* never one of two */
    }
    close_world();
}

/* As a file is after the power failed that had grown, but not all of it was written. */
TEST(zeros_at_the_end_are_torn_too)
{
    size_t last, end, cut, more;
    const char *error;
    open_kept();
    make_all();
    last = file.len;
    add_item("1", "a", 1);
    end = file.len;
    file.cap = end + 100;
    file.bytes = (char *)realloc(file.bytes, file.cap);
    for (more = 0; more <= 100; more++) {
        memset(file.bytes + end, 0, more);
        CHECK_INT(open_again(end + more, &error), end);
        CHECK_STR(error, NULL);
    }
    for (cut = end - 1; cut >= last; cut--) {
        file.bytes[cut] = 0;
        CHECK_INT(open_again(end + cut % 100, &error), last);
        CHECK_STR(error, NULL);
    }
    close_world();
}

TEST(damage_is_said)
{
    size_t last, end, at;
    const char *error;
    open_kept();
    make_all();
    last = file.len;
    add_item("1", "a", 1);
    end = file.len;
    for (at = 0; at < end; at++) {
        file.bytes[at] ^= 0x20;
        CHECK(open_again(end, &error) <= last);
        CHECK((error != NULL) == (at < last + 8));         /* of the last change only its length can be said */
        file.bytes[at] ^= 0x20;
    }
    CHECK_INT(open_again(end, &error), end);
    CHECK_STR(error, NULL);
    open_again(0, &error);
    CHECK_STR(error, NULL);
    memcpy(file.bytes, "something", 9);
    CHECK_INT(open_again(end, &error), 0);
    CHECK(strstr(error, "no data"));
    close_world();
}

TEST(what_cannot_be_kept_is_refused)
{
    open_kept();
    make_all();
    add_item("1", "a", 1);
    file.left = 0;
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"2\",\"pk\":\"a\",\"u\":7}"), 503);
    CHECK(says("--data"));
    file.left = -1;                                        /* there would be a gap */
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"3\",\"pk\":\"a\"}"), 503);
    CHECK_INT(call("DELETE", "/dbs/D", NULL, NULL), 503);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 200);
    CHECK_INT(call("POST", DOCS, ACROSS, "{\"query\":\"SELECT * FROM c\"}"), 200);
    close_world();
}

TEST(restoring_bears_failing_memory)
{
    aiocosmos_emulator_options options = kept();
    const char *error;
    size_t end;
    unsigned long nth, calls, failed = 0;
    open_kept();
    make_all();
    add_item("1", "a", 1);
    CHECK(aiocosmos_emulator_split(w.core, "D", "C", NULL));
    end = file.len;
    close_core();
    put_core(options);
    calls = heap.calls;
    CHECK_INT(aiocosmos_emulator_restore(w.core, file.bytes, end, &error), end);
    calls = heap.calls - calls;
    for (nth = 1; nth <= calls; nth++) {
        size_t whole;
        close_core();
        put_core(options);
        heap_fail(&heap, nth, 3);
        whole = aiocosmos_emulator_restore(w.core, file.bytes, end, &error);
        heap_recover(&heap);
        CHECK((whole == end) == (error == NULL));
        failed += error != NULL;
    }
    CHECK(failed > 30);
    CHECK_INT(open_again(end, &error), end);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 200);
    close_world();
    free(file.bytes);
    memset(&file, 0, sizeof file);
}

static int larges;

static void *count_larges(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    (void)user_data;
    if (new_size > 500000 && new_size > old_size) larges++;
    return heap_fn(ptr, old_size, new_size, NULL);
}

/* Items and keys have a table each, which is as large at once as it will be in the end. */
TEST(tables_are_restored_at_once)
{
    aiocosmos_emulator_options options = kept();
    const char *error;
    int i;
    open_kept();
    CHECK_INT(call("POST", "/dbs", NULL, "{\"id\":\"D\"}"), 201);
    CHECK_INT(call("POST", "/dbs/D/colls", NULL, "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}"),
              201);
    for (i = 0; i < 40000; i++) add_item("a", f("k%d", i), i);
    for (i = 0; i < 90; i++) CHECK_INT(call("DELETE", DOCS "/a", key_line(f("k%d", 400 * i)), NULL), 204);
    for (i = 1; i < 90; i++) CHECK_INT(call("PUT", DOCS "/a", key_line(f("k%d", i)),
                                            f("{\"id\":\"a\",\"pk\":\"k%d\"}", i)), 200);
    close_core();
    options.now_ms = world_now;
    options.allocate = count_larges;
    larges = 0;
    w.core = aiocosmos_emulator_open(&options, &error);
    CHECK(w.core != NULL);
    CHECK_INT(aiocosmos_emulator_restore(w.core, file.bytes, file.len, &error), file.len);
    CHECK(error == NULL);
    CHECK_INT(larges, 2);
    w.conn = aiocosmos_emulator_conn_open(w.core);
    CHECK_INT(call("GET", DOCS "/a", key_line("k400"), NULL), 404);
    CHECK_INT(call("GET", DOCS "/a", key_line("k39999"), NULL), 200);
    close_world();
    free(file.bytes);
    memset(&file, 0, sizeof file);
}

/* A file that had got its length when the power failed, and nothing else. */
TEST(nothing_but_zeros_is_nothing)
{
    static const char zeros[100];
    const char *error;
    open_world(1);
    CHECK_INT(aiocosmos_emulator_restore(w.core, zeros, 7, &error), 0);
    CHECK(error == NULL);
    CHECK_INT(aiocosmos_emulator_restore(w.core, zeros, sizeof zeros, &error), 0);
    CHECK(error == NULL);
    close_world();
}
