/* Pages that are made in slices, between which others are served; here as small as they can be. What is tested in
 * test_emulator_range.c is tested so too. */
#define WORLD_SLICE 1
#include "test_emulator_range.c"

static const char triple[] = "{\"query\":\"SELECT VALUE COUNT(1) FROM c JOIN x IN c.l JOIN y IN c.l JOIN z IN c.l\"}";

static void ask_on(aiocosmos_emulator_conn *conn, const char *verb, const char *path, const char *lines,
                   const char *body)
{
    aioc_mem_buffer request;
    memset(&request, 0, sizeof request);
    put_request(&request, verb, path, lines, body);
    aiocosmos_emulator_conn_feed(conn, request.data, request.len);
    aioc_mem_buffer_free(&w.memory, &request);
}

static int answer_on(aiocosmos_emulator_conn *conn)
{
    size_t len, used;
    const char *bytes = aiocosmos_emulator_conn_output(conn, &len);
    used = take_answer(bytes, len);
    aiocosmos_emulator_conn_sent(conn, used);
    return got.status;
}

static bool works(const aiocosmos_emulator_conn *conn)
{
    return aiocosmos_emulator_conn_waits(conn) == AIOCOSMOS_EMULATOR_WORKS;
}

TEST(others_are_served_while_a_query_works)
{
    aiocosmos_emulator_conn *other;
    int reads = 0;
    open_world(1);
    other = aiocosmos_emulator_conn_open(w.core);
    fill(10, 1);
    emu_pace(w.core, 1000, 0);
    ask_on(w.conn, "POST", DOCS, QUERY PK("[\"k0\"]"), triple);
    while (works(w.conn)) {
        CHECK(aiocosmos_emulator_conn_due_ms(w.conn) <= w.now_ms);
        ask_on(other, "GET", DOCS "/i3", PK("[\"k0\"]"), NULL);
        CHECK_INT(answer_on(other), 200);
        reads++;
        if (reads == 3) {                                  /* and change what is read, behind and before its place */
            ask_on(other, "DELETE", DOCS "/i0", PK("[\"k0\"]"), NULL);
            CHECK_INT(answer_on(other), 204);
            ask_on(other, "DELETE", DOCS "/i9", PK("[\"k0\"]"), NULL);
            CHECK_INT(answer_on(other), 204);
        }
        aiocosmos_emulator_conn_tick(w.conn);
    }
    CHECK_INT(answer_on(w.conn), 200);
    CHECK(says(f("[%d]", 9 * 125)));
    CHECK(reads > 3);
    aiocosmos_emulator_conn_close(other);
    close_world();
}

TEST(who_hangs_up_ends_the_work)
{
    aiocosmos_emulator_conn *other;
    static const char sorted[] = "{\"query\":\"SELECT * FROM c ORDER BY c.n\"}";
    size_t before = 0;
    int i;
    open_world(1);
    fill(20, 1);
    for (i = 40; i > 0; i--) {
        int ticks;
        other = aiocosmos_emulator_conn_open(w.core);
        ask_on(other, "POST", DOCS, QUERY PK("[\"k0\"]"), i % 2 ? triple : sorted);
        for (ticks = 0; ticks < i; ticks++) aiocosmos_emulator_conn_tick(other);
        CHECK(works(other));
        aiocosmos_emulator_conn_close(other);
        if (i == 38) before = heap.bytes;                  /* what they share has its size by now */
        CHECK(i >= 38 || heap.bytes == before);
    }
    close_world();
}

/* A request that comes in parts, in chunks, and with others behind it, is served again from its bytes. */
TEST(requests_wait_behind_one_that_works)
{
    static const char *const bodies[] = { "{\"query\":\"SELECT VALUE c.id FROM c WHERE c.n >= 0\"}",
                                          "{\"query\":\"SELECT VALUE c.id FROM c ORDER BY c.n\"}" };
    aioc_mem_buffer all, chunked;
    size_t i, b, cut;
    memset(&all, 0, sizeof all);
    memset(&chunked, 0, sizeof chunked);
    open_world(1);
    fill(7, 1);
    for (b = 0; b < 2; b++) {
        all.len = chunked.len = 0;
        put_request(&all, "POST", DOCS, QUERY PK("[\"k0\"]"), bodies[b]);
        put_request(&chunked, "POST", DOCS, QUERY PK("[\"k0\"]") "Transfer-Encoding: chunked\r\n", NULL);
        for (i = 0; i < strlen(bodies[b]); i++)
            aioc_mem_append_str(&w.memory, &chunked, f("1\r\n%c\r\n", bodies[b][i]));
        aioc_mem_append_str(&w.memory, &chunked, "0\r\n\r\n");
        aioc_mem_append_str(&w.memory, &all, f("%.*s", (int)chunked.len, chunked.data));
        put_request(&all, "GET", DOCS "/i1", PK("[\"k0\"]"), NULL);
        for (cut = 1; cut < all.len; cut += 37) {
            int answers = 0, ticks = 0;
            aiocosmos_emulator_conn_feed(w.conn, all.data, cut);
            if (works(w.conn)) aiocosmos_emulator_conn_tick(w.conn);
            aiocosmos_emulator_conn_feed(w.conn, all.data + cut, all.len - cut);
            for (; works(w.conn); ticks++) aiocosmos_emulator_conn_tick(w.conn);
            CHECK(ticks > 5);
            for (; answers < 3; answers++) {
                CHECK_INT(answer_on(w.conn), 200);
                if (answers < 2) CHECK_INT(count(), 7);
            }
        }
    }
    aioc_mem_buffer_free(&w.memory, &all);
    aioc_mem_buffer_free(&w.memory, &chunked);
    close_world();
}

TEST(what_a_query_is_about_may_go)
{
    aiocosmos_emulator_conn *other;
    int way;
    for (way = 0; way < 4; way++) {
        const char *lines = way % 2 ? QUERY RANGE_0 : QUERY PK("[\"k0\"]");
        open_world(1);
        other = aiocosmos_emulator_conn_open(w.core);
        fill(20, 2);
        ask_on(w.conn, "POST", DOCS, lines, "{\"query\":\"SELECT c.id FROM c ORDER BY c.n\"}");
        aiocosmos_emulator_conn_tick(w.conn);
        if (way < 2) {
            ask_on(other, "DELETE", "/dbs/D/colls/C", NULL, NULL);
            CHECK_INT(answer_on(other), 204);
            ask_on(other, "POST", "/dbs/D/colls", NULL, "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"]}}");
            CHECK_INT(answer_on(other), 201);
        } else {
            CHECK(aiocosmos_emulator_split(w.core, "D", "C", NULL));
        }
        work_out(w.conn);
        answer_on(w.conn);
        if (way < 2) CHECK_INT(got.status, 404);
        else CHECK_INT(got.status, way % 2 ? 410 : 200);   /* a key is somewhere, a range is gone */
        if (way == 2) CHECK_INT(count(), 10);
        aiocosmos_emulator_conn_close(other);
        close_world();
    }
}

TEST(faults_meet_an_answer_that_took_slices)
{
    char why[100];
    open_world(1);
    fill(5, 1);
    CHECK(aiocosmos_emulator_fault(w.core, "kind=query_items,action=truncate,at=40,count=1", why, sizeof why));
    ask_on(w.conn, "POST", DOCS, QUERY PK("[\"k0\"]"), triple);
    CHECK(works(w.conn));
    aiocosmos_emulator_clear_faults(w.core);               /* it has begun under it */
    work_out(w.conn);
    CHECK_INT(aiocosmos_emulator_conn_state(w.conn), AIOCOSMOS_EMULATOR_CLOSING);
    CHECK_INT(answer_on(w.conn), 0);
    close_world();
}

/* A page has an end, also where it has no row yet; the next one goes on. */
TEST(a_page_that_takes_too_long_is_continued)
{
    static const char *const queries[] = {
        "{\"query\":\"SELECT VALUE c.n FROM c JOIN x IN c.l WHERE x = 3\"}",
        "{\"query\":\"SELECT VALUE c.n FROM c ORDER BY c.n\"}", "{\"query\":\"SELECT VALUE COUNT(1) FROM c\"}",
        "{\"query\":\"SELECT c.n, COUNT(1) AS m FROM c GROUP BY c.n\"}",
        "{\"query\":\"SELECT DISTINCT VALUE c.n FROM c\"}"
    };
    static const int wanted[] = { 40, 40, 1, 8, 8 };
    size_t i;
    open_world(1);
    fill(40, 1);
    emu_pace(w.core, 100, 300);
    for (i = 0; i < sizeof queries / sizeof *queries; i++) {
        char continuation[600] = "";
        int pages = 0, all = 0, empty = 0;
        do {
            CHECK_INT(call("POST", DOCS, f(QUERY PK("[\"k0\"]") "x-ms-max-item-count: 1000\r\n%s%s%s",
                                           *continuation ? "x-ms-continuation: " : "", continuation,
                                           *continuation ? "\r\n" : ""), queries[i]), 200);
            all += (int)count();
            empty += count() == 0;
            snprintf(continuation, sizeof continuation, "%s", header("x-ms-continuation"));
            if (pages == 1 && i != 2) add_item(f("new%d", (int)i), "other", 1);    /* changes nothing about these */
            pages++;
        } while (*continuation && pages < 100);
        CHECK_INT(all, wanted[i]);
        CHECK(pages > 2);
        CHECK(i == 0 || empty > 1);
    }
    close_world();
}

/* Each allocation fails in turn while a query works. */
TEST(slices_bear_any_failing_allocation)
{
    static const char *const bodies[] = { "{\"query\":\"SELECT c.id, x FROM c JOIN x IN c.l WHERE x > 2\"}",
                                          "{\"query\":\"SELECT * FROM c ORDER BY c.n\"}",
                                          "{\"query\":\"SELECT c.n, COUNT(1) AS m FROM c GROUP BY c.n\"}" };
    unsigned long used, nth;
    size_t i;
    open_world(1);
    fill(6, 1);
    for (i = 0; i < 3; i++) {
        used = heap.calls;
        CHECK_INT(call("POST", DOCS, QUERY PK("[\"k0\"]"), bodies[i]), 200);
        used = heap.calls - used;
        for (nth = 1; nth <= used + 5; nth++) {
            heap_fail(&heap, nth, nth % 2 ? 1 : 3);
            send_alone("POST", DOCS, QUERY PK("[\"k0\"]"), bodies[i]);
            heap_recover(&heap);
        }
        CHECK_INT(call("POST", DOCS, QUERY PK("[\"k0\"]"), bodies[i]), 200);
    }
    close_world();
}

/*--- ORDER BY between changes ------------------------------------------------------------*/

/* Pages of a sorted query while others write: what has not changed itself comes once, in order. */
static void check_sorted_pages(const char *sql, uint64_t slice, int change)
{
    char continuation[600] = "", seen[300];
    int pages = 0, i, last = -1;
    bool falls = strstr(sql, "DESC") != NULL;
    memset(seen, 0, sizeof seen);
    open_world(1);
    emu_pace(w.core, slice, 0);
    for (i = 0; i < 200; i++)
        CHECK_INT(call("POST", DOCS, PK("[\"k\"]"), f("{\"id\":\"%d\",\"pk\":\"k\",\"n\":%d}", i, i / 3)), 201);
    do {
        aiocosmos_json documents, one;
        aiocosmos_json_doc doc;
        CHECK_INT(call("POST", DOCS, f(QUERY PK("[\"k\"]") "x-ms-max-item-count: 7\r\n%s%s%s",
                                       *continuation ? "x-ms-continuation: " : "", continuation,
                                       *continuation ? "\r\n" : ""), f("{\"query\":\"%s\"}", sql)), 200);
        snprintf(continuation, sizeof continuation, "%s", header("x-ms-continuation"));
        aioc_json_open(&doc, &w.memory);
        CHECK_INT(aioc_json_parse(&doc, got.body.ptr, got.body.len), 0);
        documents = aioc_json_at(aioc_json_root(&doc), "/Documents");
        memset(&one, 0, sizeof one);
        while (aioc_json_next(documents, NULL, &one)) {
            int64_t n = -1;
            char id[20];
            aioc_json_get_i64(aioc_json_at(one, "/n"), &n);
            aioc_json_get_str(aioc_json_at(one, "/id"), id, sizeof id);
            CHECK(last < 0 || (falls ? n <= last : n >= last));
            last = (int)n;
            if (id[0] != 'x') seen[atoi(id)]++;
        }
        aioc_json_close(&doc);
        i = pages * 7;
        if (change == 1) {                                 /* new ones before and behind the place, and one is gone */
            CHECK_INT(call("POST", DOCS, PK("[\"k\"]"), f("{\"id\":\"x%d\",\"pk\":\"k\",\"n\":0}", pages)), 201);
            CHECK_INT(call("POST", DOCS, PK("[\"k\"]"), f("{\"id\":\"y%d\",\"pk\":\"k\",\"n\":70}", pages)), 201);
            if (i < 150) CHECK_INT(call("DELETE", f(DOCS "/%d", i), PK("[\"k\"]"), NULL), 204);
        } else if (change == 2 && i < 200) {               /* the last row given changes, and keeps its place or not */
            CHECK_INT(call("POST", DOCS, UPSERT PK("[\"k\"]"), f("{\"id\":\"%d\",\"pk\":\"k\",\"n\":%d,\"new\":1}", i,
                                                                 pages % 2 ? i / 3 : falls ? 66 : 0)), 200);
        }
        pages++;
    } while (*continuation && pages < 100);
    CHECK(pages < 100);
    for (i = 0; i < 200; i++) {
        if (change == 2 && i % 7 == 0) continue;
        if (change == 1 && i % 7 == 0 && i < 150) continue;
        if (seen[i] != 1) printf("  %s: %d came %d times\n", sql, i, seen[i]);
        CHECK_INT(seen[i], 1);
    }
    close_world();
}

TEST(changes_between_pages_give_no_row_twice_or_never)
{
    int change;
    for (change = 0; change < 3; change++) {
        check_sorted_pages("SELECT * FROM c ORDER BY c.n", 0, change);
        check_sorted_pages("SELECT c.id, c.n FROM c ORDER BY c.n DESC", 100, change);
        check_sorted_pages("SELECT * FROM c ORDER BY c.n OFFSET 0 LIMIT 1000", 0, change);
    }
}

/* Rows of more pages than are held at once. */
TEST(order_by_of_many_rows_is_held_in_part)
{
    char continuation[600] = "";
    size_t before;
    int pages = 0, all = 0, i;
    static char text[20100];
    open_world(1);
    emu_pace(w.core, 0, 0);
    memset(text, 'x', 20000);
    for (i = 0; i < 3000; i++) {
        char *body = (char *)malloc(20200);
        snprintf(body, 20200, "{\"id\":\"%d\",\"pk\":\"k\",\"n\":%d,\"t\":\"%s\"}", i, 3000 - i, i < 200 ? text : "");
        CHECK_INT(call("POST", DOCS, PK("[\"k\"]"), body), 201);
        free(body);
    }
    do {
        CHECK_INT(call("POST", DOCS, f(QUERY PK("[\"k\"]") "x-ms-max-item-count: 70\r\n%s%s%s",
                                       *continuation ? "x-ms-continuation: " : "", continuation,
                                       *continuation ? "\r\n" : ""),
                       "{\"query\":\"SELECT * FROM c ORDER BY c.n\"}"), 200);
        snprintf(continuation, sizeof continuation, "%s", header("x-ms-continuation"));
        CHECK(pages++ || says("\"id\":\"2999\""));
        all += (int)count();
    } while (*continuation && pages < 200);
    CHECK_INT(all, 3000);
    CHECK_INT(call("POST", DOCS, QUERY PK("[\"k\"]") "x-ms-max-item-count: 1\r\n",
                   "{\"query\":\"SELECT * FROM c ORDER BY c.n DESC\"}"), 200);
    before = heap.bytes;
    w.now_ms += 61000;                                     /* nobody came back for it */
    CHECK_INT(call("GET", DOCS "/1", PK("[\"k\"]"), NULL), 200);
    CHECK(heap.bytes + 100000 < before);
    close_world();
}

/* A string of so many bytes is looked at, compared or copied for so many elements of an array, in one piece. */
TEST(long_strings_are_work)
{
    static const char *const filters[] = {
        "LENGTH(c.s) < 0", "c.s = c.t", "c.s < c.t", "SUBSTRING(c.s, 90000, 2) = 'b'", "UPPER(c.s) = 'b'",
        "c.s BETWEEN c.t AND c.t", "c.s IN (c.t, 1)", "StringEquals(c.s, c.t, true)", "c.s LIKE '%b'", "c.o = c.p"
    };
    enum { SIZE = 100000 };
    char *document = (char *)malloc(3 * SIZE), *at = document, *string = (char *)malloc(SIZE + 1);
    size_t i;
    open_world(1);
    memset(string, 'a', SIZE);
    string[SIZE] = 0;
    at += sprintf(at, "{\"id\":\"1\",\"pk\":\"k\",\"s\":\"%s\",\"t\":\"%.*sb\",", string, SIZE - 1, string);
    at += sprintf(at, "\"o\":{\"x\":\"%.900s\"},\"p\":{\"x\":\"%.899sb\"},\"l\":[0", string, string);
    for (i = 1; i < 400; i++) at += sprintf(at, ",1");
    strcpy(at, "]}");
    CHECK_INT(call("POST", DOCS, key_line("k"), document), 201);
    for (i = 0; i < sizeof filters / sizeof *filters; i++) {
        const char *query = f("{\"query\":\"SELECT VALUE (SELECT VALUE COUNT(1) FROM x IN c.l JOIN y IN c.l "
                              "JOIN z IN c.l WHERE %s) FROM c\"}", filters[i]);
        CHECK_INT(call("POST", DOCS, f(QUERY "%s", key_line("k")), query), 400);
        CHECK(says("more work") || says("more memory"));
    }
    CHECK_INT(call("PATCH", DOCS "/1", key_line("k"),
                   "{\"condition\":\"FROM c JOIN x IN c.l JOIN y IN c.l JOIN z IN c.l WHERE x + y + z < 0\","
                   "\"operations\":[{\"op\":\"set\",\"path\":\"/n\",\"value\":1}]}"), 400);
    CHECK(says("more work"));
    free(document);
    free(string);
    close_world();
}

static int ticks_of(const char *where)
{
    int ticks = 0;
    ask_on(w.conn, "POST", DOCS, f(QUERY "x-ms-max-item-count: 1000\r\n%s", key_line("k")),
           f("{\"query\":\"SELECT * FROM c WHERE %s\"}", where));
    for (; works(w.conn); ticks++) aiocosmos_emulator_conn_tick(w.conn);
    CHECK_INT(answer_on(w.conn), 200);
    return ticks;
}

/* A document that is a row is read once, as one is whose filter needs what the service adds; one that is none is not
 * put together, and where rows come after many that are none, all are found. */
TEST(a_document_is_read_once_whether_it_is_a_row_or_not)
{
    static char text[3001];
    int i, whole, own, few;
    open_world(1);
    emu_pace(w.core, 1000, 0);
    memset(text, 'x', sizeof text - 1);
    for (i = 0; i < 300; i++)
        CHECK_INT(call("POST", DOCS, key_line("k"), f("{\"id\":\"%d\",\"pk\":\"k\",\"n\":%d,\"t\":\"%s\"}", i, i,
                                                      text)), 201);
    whole = ticks_of("c._ts > 0 AND c.n >= 0");
    CHECK_INT(count(), 300);
    own = ticks_of("c.n >= 0");
    CHECK_INT(count(), 300);
    few = ticks_of("c.n >= 290");
    CHECK_INT(count(), 10);
    CHECK(own * 4 <= whole * 5);
    CHECK(few * 4 <= whole * 5);
    ticks_of("c.n < 100 OR c.n >= 200");
    CHECK_INT(count(), 200);
    ticks_of("c.n % 3 != 1");
    CHECK_INT(count(), 200);
    close_world();
}
