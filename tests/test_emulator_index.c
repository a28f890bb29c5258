/* What the emulator finds by an index has to be what a scan finds, in the same order. */
#include "emulator_world.h"

void emu_index_scopes_of(aiocosmos_emulator *core, uint32_t items);

#define NO_INDEX UINT32_MAX

static uint64_t random_state;

static unsigned below(unsigned most)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((random_state >> 33) % most);
}

static const char *pick(const char *const *from, size_t count)
{
    return from[below((unsigned)count)];
}

#define PICK(LIST) pick(LIST, sizeof (LIST) / sizeof *(LIST))

/* As f(), for parts of a query, which are many. */
static const char *g(const char *format, ...)
{
    static char room[128][1024];
    static int next;
    char *out = room[next++ % 128];
    va_list list;
    va_start(list, format);
    vsnprintf(out, sizeof room[0], format, list);
    va_end(list);
    return out;
}

/*--- Documents and queries -------------------------------------------------------------*/

static const char *const values[] = {
    "0", "-0.0", "1", "1.0", "2", "-3", "0.5", "100", "9007199254740993", "9007199254740992", "-9007199254740993",
    "1e300", "1e400", "-1e400", "null", "true", "false", "\"\"", "\"a\"", "\"ab\"", "\"abc\"", "\"b\"", "\"B\"",
    "\"\xf0\x9f\x98\x80\"", "\"\\ud83d\\ude00x\"", "\"\xef\xbf\xae\"", "\"\xc3\xa9\"", "\"\\u00e9\"", "\"\\\"\\\\\"",
    "[]", "[1]", "{}", "{\"x\":1}",
    "\"a long one, so long that its key is cut before its end, which is beyond a hundred bytes, and this is it: 1\"",
    "\"a long one, so long that its key is cut before its end, which is beyond a hundred bytes, and this is it: 2\""
};

static const char *const names[] = { "a", "n", "s", "t y", "\\u0071" };

static const char *document(const char *id, int key)
{
    static char text[2048];
    size_t len, i;
    snprintf(text, sizeof text, "{\"id\":\"%s\",\"pk\":\"k%d\",\"n\":%u,\"l\":[%u,%u]", id, key, below(20), below(3),
             below(3));
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        len = strlen(text);
        if (below(5)) snprintf(text + len, sizeof text - len, ",\"%s\":%s", names[i], PICK(values));
    }
    len = strlen(text);
    snprintf(text + len, sizeof text - len, ",\"o\":{\"x\":%s}%s}", PICK(values), below(9) ? "" : ",\"ttl\":7");
    return text;
}

static const char *path(void)
{
    static const char *const paths[] = { "c.a", "c.n", "c.s", "c[\\\"t y\\\"]", "c.q", "c.o.x", "c.id", "c._ts",
                                         "c.nothing", "c.l", "c.o", "c._etag" };
    return PICK(paths);
}

static const char *constant(void)
{
    static const char *const constants[] = {
        "0", "1", "2", "-3", "0.5", "9007199254740993", "9007199254740992", "1e300", "null", "true", "false", "''",
        "'a'", "'ab'", "'b'", "'\xf0\x9f\x98\x80'", "'\xef\xbf\xae'", "'\xc3\xa9'", "[1]", "{}", "undefined",
        "1795228304", "'i7'",
        "'a long one, so long that its key is cut before its end, which is beyond a hundred bytes, and this is it: 1'"
    };
    return PICK(constants);
}

static const char *condition(int depth)
{
    static const char *const relations[] = { "=", "=", "<", "<=", ">", ">=", "!=" };
    const char *p = path();
    switch (below(depth > 2 ? 8 : 11)) {
    case 0: case 1: return g("%s %s %s", p, PICK(relations), constant());
    case 2: return g("%s %s %s", constant(), PICK(relations), p);
    case 3: return g("%s %sIN (%s, %s, %s)", p, below(4) ? "" : "NOT ", constant(), constant(), constant());
    case 4: return g("%s %sBETWEEN %s AND %s", p, below(4) ? "" : "NOT ", constant(), constant());
    case 5: return g("%s(%s, '%s'%s)", below(2) ? "STARTSWITH" : "StringEquals", p, below(2) ? "a" : "\xc3\xa9",
                     below(3) ? "" : below(2) ? ", true" : ", false");
    case 6: return g("%s LIKE '%s'", p, below(2) ? "a%" : below(2) ? "%b" : "_b[a-z]");
    case 7: return g("%s(%s)", below(2) ? "IS_DEFINED" : below(2) ? "IS_STRING" : "NOT IS_NULL", p);
    case 8: return g("(%s OR %s)", condition(depth + 1), condition(depth + 1));
    case 9: return g("NOT (%s)", condition(depth + 1));
    default: return g("(%s AND %s)", condition(depth + 1), condition(depth + 1));
    }
}

static const char *query_text(bool *merges)
{
    static char where[1024], text[2048], order[200], limits[64];
    const char *top = "";
    unsigned shape = below(8);
    *where = *order = *limits = 0;
    if (below(6)) snprintf(where, sizeof where, " WHERE %s", condition(0));
    if (*where && below(2)) snprintf(where + strlen(where), sizeof where - strlen(where), " AND %s", condition(0));
    *merges = shape > 2;
    if (shape > 2 && shape < 7) {
        snprintf(order, sizeof order, " ORDER BY %s%s", path(), below(2) ? " DESC" : "");
        if (below(3) == 0) top = g("TOP %u ", below(9));
        else if (below(3) == 0) snprintf(limits, sizeof limits, " OFFSET %u LIMIT %u", below(9), below(9));
    }
    if (shape == 7)
        snprintf(text, sizeof text, "{\"query\":\"SELECT %s FROM c%s\"}",
                 below(2) ? "VALUE COUNT(1)" : below(2) ? "VALUE MAX(c.n)" : "DISTINCT VALUE c.n", where);
    else if (shape == 0)
        snprintf(text, sizeof text, "{\"query\":\"SELECT c.id, x FROM c JOIN x IN c.l%s\"}", where);
    else
        snprintf(text, sizeof text, "{\"query\":\"SELECT %s%s FROM c%s%s%s\"}", top, below(3) ? "VALUE c.id" : "*",
                 where, order, limits);
    return text;
}

/*--- Asked with an index and without ---------------------------------------------------------*/

/* Rows of all pages, as one text. */
static char *rows_of(const char *scope, const char *body, unsigned page, aioc_mem_buffer *rows)
{
    char continuation[1024] = "";
    int pages = 0;
    rows->len = 0;
    do {
        const char *start, *end;
        const char *lines = f("%sx-ms-max-item-count: %u\r\n%s%s%s", scope, page,
                              *continuation ? "x-ms-continuation: " : "", continuation, *continuation ? "\r\n" : "");
        call("POST", DOCS, lines, body);
        if (got.status != 200 && !says("order-by item is excluded"))
            test_fail(__FILE__, __LINE__, "%s%s: %s", lines, body, got.text);
        if (got.status != 200) break;
        start = strstr(got.text, "\"Documents\":[") + 13;
        end = strstr(start, "],\"_count\"");
        aioc_mem_append(&w.memory, rows, start, (size_t)(end - start));
        if (end > start) aioc_mem_append_str(&w.memory, rows, ",");
        snprintf(continuation, sizeof continuation, "%s", header("x-ms-continuation"));
    } while (*continuation && ++pages < 1000);
    aioc_mem_append(&w.memory, rows, "", 1);
    return rows->data;
}

static const char *scope_of(bool merges)
{
    static char ids[16][12];
    const char *at;
    unsigned count = 0;
    if (below(3) == 0) return g(QUERY PK("[\"k%u\"]"), below(4));
    if (!merges && below(2)) return ACROSS;
    CHECK_INT(call("GET", "/dbs/D/colls/C/pkranges", NULL, NULL), 200);
    for (at = got.text; count < 16 && (at = strstr(at, "\"id\":\"")) != NULL; at += 6)
        snprintf(ids[count++], sizeof ids[0], "%.*s", (int)strcspn(at + 6, "\""), at + 6);
    return g(QUERY "x-ms-documentdb-partitionkeyrangeid: %s\r\n", ids[below(count)]);
}

static void change_something(int items)
{
    int i = (int)below((unsigned)items), key = i % 4;
    switch (below(12)) {
    case 0: call("DELETE", f(DOCS "/i%d", i), f(PK("[\"k%d\"]"), key), NULL); break;
    case 1: aiocosmos_emulator_split(w.core, "D", "C", NULL); break;
    case 2: aiocosmos_emulator_merge(w.core, "D", "C", NULL); break;
    case 3: w.now_ms += 1000; break;
    case 4:
        call("PATCH", f(DOCS "/i%d", i), f(PK("[\"k%d\"]"), key),
             f("{\"operations\":[{\"op\":\"set\",\"path\":\"/a\",\"value\":%s}]}", PICK(values)));
        break;
    default: call("POST", DOCS, f(UPSERT PK("[\"k%d\"]"), key), document(f("i%d", i), key));
    }
}

static void compare_once(unsigned seed)
{
    aioc_mem_buffer scanned, found;
    aiocosmos_emulator_options options;
    int items = 40 + (int)below(40), i;
    memset(&scanned, 0, sizeof scanned);
    memset(&found, 0, sizeof found);
    memset(&options, 0, sizeof options);
    open_core(options);
    make_container("{\"id\":\"C\",\"defaultTtl\":-1,\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\"},"
                   "\"indexingPolicy\":{\"indexingMode\":\"consistent\",\"includedPaths\":[{\"path\":\"/*\"}],"
                   "\"excludedPaths\":[{\"path\":\"/s/?\"}]}}");
    for (i = 0; i < items; i++)
        CHECK_INT(call("POST", DOCS, f(PK("[\"k%d\"]"), i % 4), document(f("i%d", i), i % 4)), 201);
    for (i = 0; i < 60; i++) {
        bool merges;
        unsigned page = 1 + below(12);
        const char *body = query_text(&merges), *scope = scope_of(merges);
        emu_index_scopes_of(w.core, NO_INDEX);
        emu_pace(w.core, 0, 0);
        rows_of(scope, body, page, &scanned);
        emu_index_scopes_of(w.core, 0);
        emu_pace(w.core, below(2) ? 0 : 1 + below(300), 0);
        rows_of(scope, body, page, &found);
        if (strcmp(scanned.data, found.data) != 0)
            test_fail(__FILE__, __LINE__, "seed %u: %s%s\n scanned %s\n   found %s", seed, scope, body, scanned.data,
                      found.data);
        change_something(items);
    }
    aioc_mem_buffer_free(&w.memory, &scanned);
    aioc_mem_buffer_free(&w.memory, &found);
    close_world();
}

TEST(an_index_finds_what_a_scan_finds)
{
    const char *wanted = getenv("SEED"), *seeds = getenv("SEEDS");
    unsigned seed = wanted ? (unsigned)atoi(wanted) : 1, last = wanted ? seed : seeds ? (unsigned)atoi(seeds) : 40;
    for (; seed <= last; seed++) {
        random_state = seed;
        compare_once(seed);
    }
}

/*--- When there is one ------------------------------------------------------------------*/

#define METRICS "x-ms-documentdb-populatequerymetrics: True\r\n"

/* How many documents a query reads. */
static int read_by(const char *query)
{
    const char *at;
    CHECK_INT(call("POST", DOCS, QUERY RANGE_0 METRICS, f("{\"query\":\"%s\"}", query)), 200);
    at = strstr(header("x-ms-documentdb-query-metrics"), "retrievedDocumentCount=");
    return at ? atoi(at + 23) : -1;
}

static void fill_many(int items)
{
    int i;
    for (i = 0; i < items; i++)
        CHECK_INT(call("POST", DOCS, f(PK("[\"k%d\"]"), i % 7),
                       f("{\"id\":\"i%d\",\"pk\":\"k%d\",\"n\":%d,\"s\":\"s%d\",\"x\":%d}", i, i % 7, i, i % 100,
                         i)), 201);
}

static const char indexed_but_x[] =
    "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":2},\"indexingPolicy\":{"
    "\"indexingMode\":\"consistent\",\"includedPaths\":[{\"path\":\"/*\"}],\"excludedPaths\":[{\"path\":\"/x/?\"}]}}";

static void open_many(int items)
{
    aiocosmos_emulator_options options;
    memset(&options, 0, sizeof options);
    options.partitions = 1;
    open_core(options);
    make_container(indexed_but_x);
    fill_many(items);
}

TEST(a_path_asked_for_twice_is_indexed)
{
    static const struct { const char *query; int reads; } queries[] = {
        { "SELECT * FROM c WHERE c.n = 77", 1 }, { "SELECT * FROM c WHERE c.n IN (1, 2, 5000)", 2 },
        { "SELECT * FROM c WHERE 'i5' = c.id", 1 }, { "SELECT * FROM c WHERE c.n > 10 AND c.n <= 20", 11 },
        { "SELECT * FROM c WHERE STARTSWITH(c.s, 's9') AND c.n >= 0", 132 }, { "SELECT * FROM c WHERE c.n = 'x'", 0 },
        { "SELECT VALUE COUNT(1) FROM c WHERE c.s = 's5'", 12 }, { "SELECT TOP 5 * FROM c ORDER BY c.n DESC", 32 },
        { "SELECT TOP 1 * FROM c WHERE c.n < 600 ORDER BY c.n DESC", 32 },
        { "SELECT * FROM c WHERE c.s = 's5' ORDER BY c.n", 12 },
        { "SELECT TOP 5 * FROM c ORDER BY c.pk", 32 }, { "SELECT TOP 5 * FROM c ORDER BY c.pk DESC", 32 }
    };
    size_t i;
    open_many(1200);
    CHECK_INT(read_by("SELECT TOP 1 * FROM c ORDER BY c.n"), 1200);
    CHECK_INT(read_by("SELECT TOP 1 * FROM c ORDER BY c.pk"), 1200);
    CHECK_INT(read_by("SELECT VALUE COUNT(1) FROM c WHERE c.s = 's5'"), 1200);
    CHECK_INT(read_by("SELECT VALUE COUNT(1) FROM c WHERE c.id = 's5'"), 1200);
    for (i = 0; i < sizeof queries / sizeof *queries; i++) {
        int reads = read_by(queries[i].query);
        if (reads > queries[i].reads) test_fail(__FILE__, __LINE__, "%s reads %d", queries[i].query, reads);
    }
    close_world();
}

TEST(what_the_policy_leaves_out_is_not_indexed)
{
    const char *query = "SELECT VALUE COUNT(1) FROM c WHERE c.x = 3 OR c.x = 5";
    int i;
    open_many(1200);
    for (i = 0; i < 4; i++) CHECK_INT(read_by(query), 1200);
    CHECK_INT(call("PUT", "/dbs/D/colls/C", NULL, "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],"
                   "\"kind\":\"Hash\",\"version\":2}}"), 200);
    CHECK_INT(read_by(query), 1200);
    CHECK_INT(read_by(query), 2);
    CHECK_INT(call("PUT", "/dbs/D/colls/C", NULL, indexed_but_x), 200);
    for (i = 0; i < 4; i++) CHECK_INT(read_by(query), 1200);
    close_world();
}

TEST(few_items_need_no_index)
{
    int i;
    open_many(50);
    for (i = 0; i < 4; i++) CHECK_INT(read_by("SELECT VALUE COUNT(1) FROM c WHERE c.n = 3"), 50);
    close_world();
}

/* A write is never refused for the sake of an index, and an index that lacks an item is none. */
TEST(an_index_bears_any_failing_allocation)
{
    static const char query[] = "{\"query\":\"SELECT VALUE COUNT(1) FROM c WHERE c.n >= 1000\"}";
    unsigned long nth;
    int there = 1200;
    open_many(there);
    for (nth = 1; nth < 40; nth++) {
        CHECK_INT(call("PUT", "/dbs/D/colls/C", NULL, indexed_but_x), 200);
        if (nth % 2) read_by("SELECT TOP 1 * FROM c WHERE c.n < 5 ORDER BY c.n");
        if (nth % 2) read_by("SELECT TOP 1 * FROM c WHERE c.n < 5 ORDER BY c.n");
        heap_fail(&heap, nth, 1);
        send_alone("POST", DOCS, QUERY RANGE_0, query);
        send_alone("POST", DOCS, QUERY RANGE_0, query);
        send_alone("POST", DOCS, key_line("k0"), f("{\"id\":\"new%lu\",\"pk\":\"k0\",\"n\":5000}", nth));
        heap_recover(&heap);
        there += call("GET", f(DOCS "/new%lu", nth), key_line("k0"), NULL) == 200;
        CHECK_INT(call("POST", DOCS, QUERY RANGE_0, query), 200);
        CHECK(says(f("[%d]", there - 1000)));
    }
    CHECK(there > 1210);
    close_world();
}

TEST(an_index_is_made_while_others_are_served)
{
    static const char query[] = "{\"query\":\"SELECT VALUE c.n FROM c WHERE c.n = 3 OR c.n = 4000\"}";
    aiocosmos_emulator_conn *other;
    const char *bytes;
    size_t len;
    int i, turns = 0;
    open_many(1200);
    emu_pace(w.core, 2000, 0);
    other = aiocosmos_emulator_conn_open(w.core);
    for (i = 0; i < 2; i++) {
        aioc_mem_buffer request;
        memset(&request, 0, sizeof request);
        put_request(&request, "POST", DOCS, QUERY RANGE_0, query);
        aiocosmos_emulator_conn_feed(other, request.data, request.len);
        aioc_mem_buffer_free(&w.memory, &request);
        for (; aiocosmos_emulator_conn_waits(other) == AIOCOSMOS_EMULATOR_WORKS; turns += i) {
            if (i && turns == 3) CHECK_INT(call("DELETE", DOCS "/i1", key_line("k1"), NULL), 204);
            if (i && turns == 4)
                CHECK_INT(call("PUT", DOCS "/i2", key_line("k2"), "{\"id\":\"i2\",\"pk\":\"k2\",\"n\":4000}"), 200);
            if (i && turns == 5)
                CHECK_INT(call("POST", DOCS, key_line("k2"), "{\"id\":\"z\",\"pk\":\"k2\",\"n\":4000}"), 201);
            aiocosmos_emulator_conn_tick(other);
        }
        bytes = aiocosmos_emulator_conn_output(other, &len);
        CHECK(take_answer(bytes, len) > 0);
        aiocosmos_emulator_conn_sent(other, len);
        CHECK(says(i ? "[4000,3,4000]" : "[3]"));
    }
    CHECK(turns > 20);
    aiocosmos_emulator_conn_close(other);
    close_world();
}
