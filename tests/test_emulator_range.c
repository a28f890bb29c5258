/* The emulator's physical partitions: splits and merges, on request and by themselves, and what clients hold on to
 * while they happen: continuations, session tokens, lists of partitions. */
#include "emulator_world.h"

#define PKRANGES    "/dbs/D/colls/C/pkranges"
#define NAMED(MORE) "{\"database\":\"D\",\"container\":\"C\"," MORE "}"

/*--- A client that pages, range by range ---------------------------------------------------*/

enum { RANGES_MAX = 64, PIECES_MAX = 512, ROWS_MAX = 4000 };

/* What the client knows of the partitions. */
static struct { char id[16], min[80], max[80]; } range[RANGES_MAX];
static int ranges;

/* Parts of the key space with what is left to read in them. */
static struct piece { char min[80], max[80], token[1024]; } piece[PIECES_MAX];
static int pieces;

static char *row[ROWS_MAX];
static int rows;

static void text_of(aiocosmos_json object, const char *name, char *to, size_t cap)
{
    aiocosmos_json value;
    aioc_json_fields(object, &name, 1, &value);
    CHECK(aioc_json_get_str(value, to, cap) < cap);
}

/* Reads the list anew: it has to cover the key space without a gap. */
static void read_ranges(void)
{
    aiocosmos_json_doc doc;
    aiocosmos_json list, at;
    const char *edge = "";
    CHECK_INT(call("GET", PKRANGES, NULL, NULL), 200);
    aioc_json_open(&doc, &w.memory);
    CHECK_INT(aioc_json_parse(&doc, got.body.ptr, got.body.len), 0);
    list = aioc_json_at(aioc_json_root(&doc), "/PartitionKeyRanges");
    memset(&at, 0, sizeof at);
    for (ranges = 0; aioc_json_next(list, NULL, &at); ranges++) {
        CHECK(ranges < RANGES_MAX);
        text_of(at, "id", range[ranges].id, sizeof range[0].id);
        text_of(at, "minInclusive", range[ranges].min, sizeof range[0].min);
        text_of(at, "maxExclusive", range[ranges].max, sizeof range[0].max);
        CHECK_STR(range[ranges].min, edge);
        edge = range[ranges].max;
    }
    CHECK_STR(edge, "FF");
    aioc_json_close(&doc);
}

static void add_piece(const char *min, const char *max, const char *token)
{
    CHECK(pieces < PIECES_MAX);
    snprintf(piece[pieces].min, sizeof piece[0].min, "%s", min);
    snprintf(piece[pieces].max, sizeof piece[0].max, "%s", max);
    snprintf(piece[pieces].token, sizeof piece[0].token, "%s", token);
    pieces++;
}

static int order_of_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void forget_rows(void)
{
    while (rows) free(row[--rows]);
}

static void take_rows(const char *array)
{
    aiocosmos_json_doc doc;
    aiocosmos_json list, at;
    aioc_json_open(&doc, &w.memory);
    CHECK_INT(aioc_json_parse(&doc, got.body.ptr, got.body.len), 0);
    list = aioc_json_at(aioc_json_root(&doc), array);
    memset(&at, 0, sizeof at);
    while (aioc_json_next(list, NULL, &at)) {
        CHECK(rows < ROWS_MAX);
        row[rows] = (char *)malloc(at.len + 1);
        memcpy(row[rows], at.ptr, at.len);
        row[rows++][at.len] = 0;
    }
    aioc_json_close(&doc);
}

/* One request for the last piece. Where it spans several partitions, or its partition is gone, the piece is cut in
 * parts that go on with the same token. */
static void read_piece(const char *sql, int size)
{
    struct piece p = piece[--pieces];
    int first = 0, last, i;
    const char *bounds = "";
    while (strcmp(range[first].max, p.min) <= 0) first++;
    for (last = first; strcmp(range[last].max, p.max) < 0; last++) continue;
    if (last > first) {
        for (i = last; i >= first; i--)
            add_piece(i == first ? p.min : range[i].min, i == last ? p.max : range[i].max, p.token);
        return;
    }
    if (strcmp(range[first].min, p.min) != 0 || strcmp(range[first].max, p.max) != 0)
        bounds = f(BY_EPK "x-ms-start-epk: %s\r\nx-ms-end-epk: %s\r\n", p.min, p.max);
    call("POST", DOCS, f(QUERY "x-ms-documentdb-partitionkeyrangeid: %s\r\n%sx-ms-max-item-count: %d\r\n%s%s%s",
                         range[first].id, bounds, size, *p.token ? "x-ms-continuation: " : "", p.token,
                         *p.token ? "\r\n" : ""), f("{\"query\":\"%s\"}", sql));
    if (got.status == 410) {
        CHECK(got.sub_status == 1002 || got.sub_status == 1007 || got.sub_status == 1008);
        read_ranges();
        add_piece(p.min, p.max, p.token);
        return;
    }
    if (got.status != 200) test_fail(__FILE__, __LINE__, "%d %s", got.status, got.text);
    take_rows("/Documents");
    if (*header("x-ms-continuation")) add_piece(p.min, p.max, header("x-ms-continuation"));
}

static uint64_t chance = 1;

static uint64_t draw(uint64_t below)
{
    chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (chance >> 33) % below;
}

static void reshape(void)
{
    int which;
    if (draw(3)) return;
    read_ranges();                                         /* forgotten at once: the client finds out by itself */
    which = (int)draw((uint64_t)ranges);
    if (ranges < 12 && draw(2)) CHECK(aiocosmos_emulator_split(w.core, "D", "C", range[which].id));
    else if (which + 1 < ranges) CHECK(aiocosmos_emulator_merge(w.core, "D", "C", range[which].id));
}

static const char *const shapes[] = {
    "SELECT VALUE c.id FROM c", "SELECT VALUE [c.id, x] FROM c JOIN x IN c.l", "SELECT * FROM c ORDER BY c.n",
    "SELECT VALUE c.id FROM c ORDER BY c.n DESC", "SELECT VALUE [c.id, x] FROM c JOIN x IN c.l ORDER BY c.n",
    "SELECT DISTINCT VALUE c.n FROM c", "SELECT DISTINCT VALUE c.n FROM c ORDER BY c.n",
    "SELECT c.n, COUNT(1) AS count, MIN(c.id) AS first FROM c GROUP BY c.n", "SELECT TOP 50 c.id FROM c",
    "SELECT TOP 50 VALUE c.id FROM c ORDER BY c.n", "SELECT VALUE c.id FROM c ORDER BY c.n OFFSET 20 LIMIT 60",
    "SELECT VALUE COUNT(1) FROM c" };

/* The rows of a query over one partition, which is split and merged after its first page; sorted. */
static void read_through(const char *sql, int size, bool moving)
{
    forget_rows();
    pieces = 0;
    read_ranges();
    CHECK_INT(ranges, 1);
    add_piece("", "FF", "");
    read_piece(sql, size);
    while (pieces) {
        if (moving) reshape();
        if (moving && draw(2)) {                           /* another one's turn */
            struct piece swap = piece[pieces - 1];
            int with = (int)draw((uint64_t)pieces);
            piece[pieces - 1] = piece[with];
            piece[with] = swap;
        }
        read_piece(sql, size);
    }
    qsort(row, (size_t)rows, sizeof *row, order_of_text);
    for (read_ranges(); ranges > 1; read_ranges()) CHECK(aiocosmos_emulator_merge(w.core, "D", "C", NULL));
}

TEST(continuations_go_on_with_what_came_of_their_partition)
{
    static const int sizes[] = { 2, 9 };
    static char *wanted[ROWS_MAX];
    int count_wanted, i;
    size_t q, s;
    open_world(1);
    fill(60, 23);
    for (q = 0; q < sizeof shapes / sizeof *shapes; q++) {
        read_through(shapes[q], 1000, false);
        memcpy(wanted, row, sizeof row);
        count_wanted = rows;
        rows = 0;
        CHECK(count_wanted > 0);
        for (s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            read_through(shapes[q], sizes[s], true);
            CHECK_INT(rows, count_wanted);
            for (i = 0; i < rows; i++) CHECK_STR(row[i], wanted[i]);
        }
        forget_rows();
        while (count_wanted) free(wanted[--count_wanted]);
    }
    close_world();
}

/* Rows held back come once, although items come, go and change before and behind the last one that was given. */
TEST(sorted_rows_come_once_while_others_come_and_go)
{
    int i, page = 0, seen[100];
    char token[1024] = "";
    open_world(1);
    memset(seen, 0, sizeof seen);
    for (i = 0; i < 100; i++) add_item(f("i%02d", i), f("k%d", i), i);
    do {
        int n;
        CHECK_INT(call("POST", DOCS, f(QUERY RANGE_0 "x-ms-max-item-count: 7\r\n%s%s%s",
                                       *token ? "x-ms-continuation: " : "", token, *token ? "\r\n" : ""),
                       "{\"query\":\"SELECT VALUE c.n FROM c ORDER BY c.n\"}"), 200);
        forget_rows();
        take_rows("/Documents");
        for (i = 0; i < rows; i++) {
            n = atoi(row[i]);
            CHECK(n >= 0 && n < 100 && seen[n]++ == 0);
        }
        snprintf(token, sizeof token, "%s", header("x-ms-continuation"));
        n = rows ? atoi(row[rows - 1]) : 0;
        add_item(f("new%d", page), "k", -1 - page);        /* before it */
        if (n > 10) CHECK_INT(call("DELETE", f(DOCS "/i%02d", n - 10), key_line(f("k%d", n - 10)), NULL), 204);
        page++;
    } while (*token);
    forget_rows();
    for (i = 0; i < 100; i++) CHECK_INT(seen[i], 1);
    close_world();
}

/*--- Merges ------------------------------------------------------------------------------------*/

/* The gateway goes from partition to partition by itself; that they become one meanwhile changes nothing. */
TEST(a_query_across_partitions_goes_on_behind_a_merge)
{
    char token[1024] = "";
    long long seen = 0;
    int pages;
    open_world(4);
    fill(40, 40);
    for (pages = 0; pages == 0 || *token; pages++) {
        CHECK_INT(call("POST", DOCS, f(ACROSS "x-ms-max-item-count: 3\r\n%s%s%s", *token ? "x-ms-continuation: " : "",
                                       token, *token ? "\r\n" : ""), "{\"query\":\"SELECT VALUE c.id FROM c\"}"), 200);
        seen += count();
        snprintf(token, sizeof token, "%s", header("x-ms-continuation"));
        if (pages == 1 || pages == 5 || pages == 8) CHECK(aiocosmos_emulator_merge(w.core, "D", "C", NULL));
        if (pages == 6) CHECK(aiocosmos_emulator_split(w.core, "D", "C", NULL));
    }
    CHECK_INT(seen, 40);
    close_world();
}

TEST(merged_partitions)
{
    char etag[64];
    long left, right, lsn;
    open_world(2);
    snprintf(etag, sizeof etag, "%s", (call("GET", PKRANGES, NULL, NULL), header("etag")));
    fill(30, 30);
    CHECK_INT(call("GET", DOCS, RANGE_0, NULL), 200);
    left = atol(header("lsn"));
    CHECK_INT(call("GET", DOCS, "x-ms-documentdb-partitionkeyrangeid: 1\r\n", NULL), 200);
    right = atol(header("lsn"));
    CHECK(!aiocosmos_emulator_merge(w.core, "D", "C", "1"));  /* the last one has no neighbour */
    CHECK(!aiocosmos_emulator_merge(w.core, "D", "C", "7"));
    CHECK(!aiocosmos_emulator_merge(w.core, "D", "X", "0"));
    CHECK_INT(call("PUT", "/_emulator/merge", NULL, NAMED("\"range\":\"0\"")), 204);
    CHECK_INT(call("GET", PKRANGES, f("A-IM: Incremental Feed\r\nIf-None-Match: %s\r\n", etag), NULL), 200);
    CHECK_INT(count(), 1);
    CHECK(says("\"id\":\"2\",\"minInclusive\":\"\",\"maxExclusive\":\"FF\""));
    CHECK(says("\"parents\":[\"0\",\"1\"]"));
    CHECK_INT(call("GET", DOCS, RANGE_0, NULL), 410);
    CHECK_INT(got.sub_status, 1002);
    CHECK_INT(call("GET", DOCS, "x-ms-documentdb-partitionkeyrangeid: 2\r\n", NULL), 200);
    CHECK_INT(count(), 30);
    lsn = left > right ? left : right;
    CHECK_STR(header("x-ms-session-token"), f("2:1#%ld", lsn));
    /* Tokens of the parents hold, those of a future do not. */
    CHECK_INT(call("GET", DOCS "/i1", f("%sx-ms-session-token: 0:-1#%ld,1:-1#%ld\r\n", PK("[\"k1\"]"), left, right),
                   NULL), 200);
    CHECK_INT(call("GET", DOCS "/i1", f("%sx-ms-session-token: 1:-1#%ld\r\n", PK("[\"k1\"]"), lsn + 1), NULL), 404);
    CHECK_INT(got.sub_status, 1002);
    CHECK_INT(call("GET", DOCS "/i1", f("%sx-ms-session-token: 2:2#%ld\r\n", PK("[\"k1\"]"), lsn), NULL), 404);
    CHECK_INT(got.sub_status, 1002);
    CHECK_INT(call("GET", DOCS "/i1", f("%sx-ms-session-token: 2:-1#%ld\r\n", PK("[\"k1\"]"), lsn), NULL), 200);
    /* A split keeps the version; grandchildren know all of their ancestors, each once. */
    CHECK(aiocosmos_emulator_split(w.core, "D", "C", "2"));
    CHECK(aiocosmos_emulator_merge(w.core, "D", "C", "3"));
    CHECK_INT(call("GET", DOCS "/i1", f("%sx-ms-session-token: 0:-1#%ld,3:1#%ld\r\n", PK("[\"k1\"]"), left, lsn), NULL),
              200);
    CHECK_STR(header("x-ms-session-token"), f("5:2#%ld", lsn));
    CHECK_INT(call("GET", PKRANGES, NULL, NULL), 200);
    CHECK(says("\"parents\":[\"0\",\"1\",\"2\",\"3\",\"4\"]"));
    close_world();
}

TEST(load_of_partitions)
{
    static const char *const path = "/_emulator/partitions/D/C";
    open_world(1);
    fill(10, 10);
    CHECK_INT(call("GET", path, NULL, NULL), 200);
    CHECK(says("[{\"id\":\"0\",\"min\":\"\",\"max\":\"FF\",\"share\":1.000000,\"parents\":[],\"items\":10,"
               "\"requests\":10,\"throttled\":0,\"charge\":"));
    CHECK_INT(call("PUT", "/_emulator/split", NULL, NAMED("\"range\":\"0\",\"busy\":2")), 204);
    CHECK_INT(call("GET", path, NULL, NULL), 200);
    CHECK(says("\"lsn\":11,\"moves\":true}]"));
    CHECK(aiocosmos_emulator_split(w.core, "D", "C", "1"));
    CHECK_INT(call("GET", path, NULL, NULL), 200);
    CHECK(says("\"share\":0.500000,\"parents\":[\"0\"]") && says("\"share\":0.250000,\"parents\":[\"0\",\"1\"]"));
    CHECK(says("\"requests\":0,") && says("\"moves\":false"));
    CHECK_INT(call("GET", "/_emulator/partitions/D/X", NULL, NULL), 404);
    CHECK_INT(call("GET", "/_emulator/partitions", NULL, NULL), 404);
    close_world();
}

/* What no client asks for: the explorer has no merge of its own. */
TEST(a_query_that_the_emulator_merges)
{
    const char *body = "{\"query\":\"SELECT VALUE c.id FROM c ORDER BY c.n DESC, c.id\"}";
    const char *lines = ACROSS "x-emulator-merged: True\r\nx-ms-max-item-count: 7\r\n";
    aiocosmos_emulator_options options;
    int i;
    memset(&options, 0, sizeof options);
    options.any_order = true;
    open_core(options);
    make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":2}}");
    for (i = 0; i < 16; i++) add_item(f("i%02d", i), f("k%d", i), i / 2);
    CHECK_INT(call("POST", DOCS, ACROSS, body), 400);
    CHECK_INT(call("POST", DOCS, lines, body), 200);
    CHECK(says("[\"i14\",\"i15\",\"i12\",\"i13\",\"i10\",\"i11\",\"i08\"]"));
    CHECK(aiocosmos_emulator_split(w.core, "D", "C", "2"));
    CHECK_INT(call("POST", DOCS, f("%sx-ms-continuation: %s\r\n", lines, header("x-ms-continuation")), body), 200);
    CHECK(says("[\"i09\",\"i06\",\"i07\",\"i04\",\"i05\",\"i02\",\"i03\"]"));
    CHECK_INT(call("POST", DOCS, f("%sx-ms-continuation: %s\r\n", lines, header("x-ms-continuation")), body), 200);
    CHECK(says("[\"i00\",\"i01\"]"));
    CHECK_STR(header("x-ms-continuation"), "");
    CHECK_INT(call("POST", DOCS, lines, "{\"query\":\"SELECT VALUE SUM(c.n) FROM c\"}"), 200);
    CHECK(says("[56]"));
    close_world();
}

/* A split that takes its time: the partition stays listed and refuses who names it; keys are routed all the while. */
TEST(splits_that_take_their_time)
{
    int i;
    open_world(1);
    fill(10, 10);
    CHECK_INT(call("PUT", "/_emulator/split", NULL, NAMED("\"range\":\"0\",\"busy\":2")), 204);
    CHECK_INT(call("GET", PKRANGES, NULL, NULL), 200);
    CHECK_INT(count(), 1);
    CHECK(says("\"status\":\"splitting\""));
    for (i = 0; i < 2; i++) {
        CHECK_INT(call("GET", DOCS, RANGE_0, NULL), 410);
        CHECK_INT(got.sub_status, 1007);
        CHECK_INT(call("GET", DOCS "/i1", PK("[\"k1\"]"), NULL), 200);
    }
    CHECK_INT(call("GET", DOCS, RANGE_0, NULL), 410);
    CHECK_INT(got.sub_status, 1002);
    read_ranges();
    CHECK_INT(ranges, 2);
    /* Merging, with the other status; nobody names them, and it ends all the same. */
    CHECK_INT(call("PUT", "/_emulator/merge", NULL, NAMED("\"range\":\"1\",\"busy\":3,\"sub_status\":1008")), 204);
    CHECK_INT(call("GET", DOCS, "x-ms-documentdb-partitionkeyrangeid: 2\r\n", NULL), 410);
    CHECK_INT(got.sub_status, 1008);
    for (i = 0; i < 100 && ranges > 1; i++) read_ranges();
    CHECK_INT(ranges, 1);
    CHECK_INT(call("PUT", "/_emulator/split", NULL, NAMED("\"busy\":-1")), 400);
    CHECK_INT(call("PUT", "/_emulator/split", NULL, NAMED("\"range\":\"77\"")), 404);
    close_world();
}

/*--- By themselves -----------------------------------------------------------------------------*/

TEST(partitions_that_shuffle)
{
    aiocosmos_emulator_options options;
    int i, size, least = 99, most = 0;
    memset(&options, 0, sizeof options);
    options.partitions = 4;
    options.shuffle.every = 3;
    options.shuffle.min = 2;
    options.shuffle.max = 8;
    options.shuffle.busy = 2;
    open_core(options);
    make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}");
    for (i = 0; i < 200; i++) {
        CHECK_INT(call("POST", DOCS, key_line(f("k%d", i)), f("{\"id\":\"%d\",\"pk\":\"k%d\"}", i, i)), 201);
        CHECK_INT(call("GET", f(DOCS "/%d", i / 2), f("%sx-ms-session-token: %s\r\n", key_line(f("k%d", i / 2)),
                                                      header("x-ms-session-token")), NULL), 200);
    }
    for (size = 1; size <= 100; size *= 10) {
        forget_rows();
        pieces = 0;
        read_ranges();
        add_piece("", "FF", "");
        while (pieces) {
            read_piece("SELECT VALUE c.id FROM c ORDER BY c.id", size);
            if (ranges < least) least = ranges;
            if (ranges > most) most = ranges;
        }
        qsort(row, (size_t)rows, sizeof *row, order_of_text);
        CHECK_INT(rows, 200);
        for (i = 1; i < rows; i++) CHECK(strcmp(row[i - 1], row[i]) != 0);
    }
    forget_rows();
    CHECK(least >= 2 && most <= 8 && most > least);
    CHECK_INT(call("PUT", "/_emulator/shuffle", NULL, "{\"every\":0}"), 204);
    CHECK_INT(call("GET", "/_emulator/stats", NULL, NULL), 200);
    CHECK(atoi(property("splits")) > 20 && atoi(property("merges")) > 20);
    for (i = 0; i < 50; i++) read_ranges();                /* what had begun ends */
    CHECK_INT(call("GET", PKRANGES, NULL, NULL), 200);
    CHECK(!says("splitting"));
    size = ranges;
    for (i = 0; i < 50; i++) read_ranges();
    CHECK_INT(ranges, size);
    CHECK_INT(call("PUT", "/_emulator/shuffle", NULL, "{\"every\":1,\"min\":5,\"max\":5}"), 204);
    for (i = 0; i < 50; i++) read_ranges();
    CHECK_INT(ranges, 5);
    CHECK_INT(call("PUT", "/_emulator/shuffle", NULL, "{\"every\":1,\"min\":5,\"max\":4}"), 400);
    CHECK_INT(call("PUT", "/_emulator/shuffle", NULL, "{\"every\":\"often\"}"), 400);
    close_world();
}
