/* Batches of the emulator's core: operations each for itself, in one partition key range, and transactions. */
#include "emulator_world.h"

#define TRANSACTION "x-ms-cosmos-is-batch-request: True\r\nx-ms-cosmos-batch-atomic: True\r\n" \
                    "x-ms-cosmos-batch-continue-on-error: False\r\n"
#define BULK        "x-ms-cosmos-is-batch-request: True\r\nx-ms-cosmos-batch-atomic: False\r\n" \
                    "x-ms-cosmos-batch-continue-on-error: True\r\n" RANGE_0

/* A property of the result at an index, as it stands in the answer. */
static const char *result(int index, const char *name)
{
    static char room[8][1024];
    static int next;
    char *out = room[next++ % 8];
    aioc_mem memory;
    aiocosmos_json_doc doc;
    aiocosmos_json value;
    aioc_mem_init(&memory, NULL, (size_t)1 << 20);
    aioc_json_open(&doc, &memory);
    *out = 0;
    if (aioc_json_parse(&doc, got.body.ptr, got.body.len) == 0) {
        value = aioc_json_at(aioc_json_root(&doc), f("/%d/%s", index, name));
        snprintf(out, sizeof room[0], "%.*s", (int)value.len, value.len ? value.ptr : "");
    }
    aioc_json_close(&doc);
    aioc_mem_close(&memory);
    return out;
}

/* All statuses, as "201 424". */
static const char *statuses(void)
{
    static char text[1024];
    size_t len = 0;
    int i;
    for (i = 0; *result(i, "statusCode"); i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", i ? " " : "", result(i, "statusCode"));
    text[len] = 0;
    return text;
}

#define CREATE(ID, N) "{\"operationType\":\"Create\",\"resourceBody\":{\"id\":\"" ID "\",\"pk\":\"a\",\"n\":" N "}}"
#define KEYED(TYPE, REST) "{\"operationType\":\"" TYPE "\",\"partitionKey\":\"[\\\"a\\\"]\"," REST "}"

/* What is no status becomes of the answer of the whole. */
TEST(a_fault_of_an_operation_that_is_no_status_hits_the_batch)
{
    char why[200];
    open_world(1);
    CHECK(aiocosmos_emulator_fault(w.core, "action=chunked,kind=create_item,count=1", why, sizeof why));
    CHECK_INT(call("POST", DOCS, BULK, "[" KEYED("Create", "\"resourceBody\":{\"id\":\"1\",\"pk\":\"a\"}") "]"), 200);
    CHECK_STR(statuses(), "201");
    CHECK_STR(header("transfer-encoding"), "chunked");
    CHECK(aiocosmos_emulator_fault(w.core, "action=html,kind=create_item,skip=1", why, sizeof why));
    CHECK_INT(call("POST", DOCS, BULK, "[" KEYED("Create", "\"resourceBody\":{\"id\":\"2\",\"pk\":\"a\"}") ","
                   KEYED("Create", "\"resourceBody\":{\"id\":\"3\",\"pk\":\"a\"}") "]"), 503);
    CHECK(says("<html"));
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 200);
    CHECK_INT(call("GET", DOCS "/2", PK("[\"a\"]"), NULL), 200);
    CHECK_INT(call("GET", DOCS "/3", PK("[\"a\"]"), NULL), 404);
    close_world();
}

TEST(a_transaction_is_all_or_nothing)
{
    open_world(4);
    CHECK_INT(call("POST", DOCS, TRANSACTION PK("[\"a\"]"), "[" CREATE("1", "1") "," CREATE("2", "2") "]"), 200);
    CHECK_STR(statuses(), "201 201");
    CHECK(strstr(result(0, "resourceBody"), "\"n\":1") != NULL);
    CHECK(got.charge > 10);
    CHECK(strlen(header("x-ms-session-token")) > 0);
    CHECK_INT(call("POST", DOCS, TRANSACTION PK("[\"a\"]"),
                   "[" CREATE("3", "3") ",{\"operationType\":\"Delete\",\"id\":\"1\"}," CREATE("2", "9") ","
                   CREATE("4", "4") "]"), 207);
    CHECK_STR(statuses(), "424 424 409 424");
    CHECK(got.charge > 0);
    CHECK_INT(call("GET", DOCS "/3", PK("[\"a\"]"), NULL), 404);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 200);
    CHECK_INT(call("GET", DOCS "/2", PK("[\"a\"]"), NULL), 200);
    CHECK(says("\"n\":2"));
    close_world();
}

TEST(a_transaction_sees_what_it_has_done)
{
    open_world(4);
    add_item("old", "a", 1);
    CHECK_INT(call("POST", DOCS, TRANSACTION PK("[\"a\"]"),
                   "[" CREATE("1", "1") ",{\"operationType\":\"Patch\",\"id\":\"1\",\"resourceBody\":{\"operations\":"
                   "[{\"op\":\"incr\",\"path\":\"/n\",\"value\":5}]}},{\"operationType\":\"Read\",\"id\":\"1\"},"
                   "{\"operationType\":\"Replace\",\"id\":\"old\",\"resourceBody\":{\"id\":\"old\",\"pk\":\"a\",\"n\":7}},"
                   "{\"operationType\":\"Upsert\",\"resourceBody\":{\"id\":\"old\",\"pk\":\"a\",\"n\":8}},"
                   "{\"operationType\":\"Read\",\"id\":\"old\"},{\"operationType\":\"Delete\",\"id\":\"1\"}]"), 200);
    CHECK_STR(statuses(), "201 200 200 200 200 200 204");
    CHECK(strstr(result(2, "resourceBody"), "\"n\":6") != NULL);
    CHECK(strstr(result(5, "resourceBody"), "\"n\":8") != NULL);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 404);
    CHECK_INT(call("GET", DOCS "/old", PK("[\"a\"]"), NULL), 200);
    CHECK(says("\"n\":8"));
    close_world();
}

/* Go asks so for a whole batch, and not if there are reads in it. */
TEST(what_is_written_does_not_come_back_unasked)
{
    open_world(1);
    CHECK_INT(call("POST", DOCS, TRANSACTION "Prefer: return=minimal\r\n" PK("[\"a\"]"),
                   "[" CREATE("1", "1") ",{\"operationType\":\"Upsert\",\"minimalReturnPreference\":false,"
                   "\"resourceBody\":{\"id\":\"2\",\"pk\":\"a\"}},{\"operationType\":\"Read\",\"id\":\"1\"}]"), 200);
    CHECK_STR(statuses(), "201 201 200");
    CHECK_STR(result(0, "resourceBody"), "");
    CHECK(strlen(result(0, "eTag")) > 4);
    CHECK(*result(1, "resourceBody") == '{');
    CHECK(*result(2, "resourceBody") == '{');
    close_world();
}

TEST(a_transaction_keeps_to_etags_and_unique_keys)
{
    const char *etag;
    open_world(1);
    CHECK_INT(call("POST", "/dbs/D/colls", NULL, "{\"id\":\"U\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2},"
                   "\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/n\"]}]}}"), 201);
    CHECK_INT(call("POST", "/dbs/D/colls/U/docs", PK("[\"a\"]"), "{\"id\":\"x\",\"pk\":\"a\",\"n\":1}"), 201);
    etag = f("%s", property("_etag"));
    CHECK_INT(call("POST", "/dbs/D/colls/U/docs", TRANSACTION PK("[\"a\"]"),
                   "[" CREATE("y", "2") "," CREATE("z", "1") "]"), 207);
    CHECK_STR(statuses(), "424 409");
    CHECK_STR(result(1, "subStatusCode"), "3301");
    CHECK_INT(call("POST", "/dbs/D/colls/U/docs", TRANSACTION PK("[\"a\"]"),
                   f("[{\"operationType\":\"Delete\",\"id\":\"x\",\"ifMatch\":\"\\\"%.*s\\\"\"}," CREATE("z", "1") "]",
                     (int)strlen(etag) - 2, etag + 1)), 200);
    CHECK_STR(statuses(), "204 201");
    CHECK_INT(call("POST", "/dbs/D/colls/U/docs", TRANSACTION PK("[\"a\"]"),
                   "[{\"operationType\":\"Delete\",\"id\":\"z\",\"ifMatch\":\"\\\"other\\\"\"}," CREATE("v", "5") "]"), 207);
    CHECK_STR(statuses(), "412 424");
    close_world();
}

TEST(operations_of_a_bulk_are_each_for_itself)
{
    open_world(1);
    CHECK_INT(call("POST", DOCS, BULK,
                   "[" KEYED("Create", "\"resourceBody\":{\"id\":\"1\",\"pk\":\"a\"}") ","
                   KEYED("Create", "\"resourceBody\":{\"id\":\"1\",\"pk\":\"a\"}") ","
                   KEYED("Create", "\"resourceBody\":{\"id\":\"2\",\"pk\":\"b\"}") ","
                   KEYED("Upsert", "\"minimalReturnPreference\":true,\"resourceBody\":{\"id\":\"1\",\"pk\":\"a\"}") ","
                   "{\"operationType\":\"Create\",\"partitionKey\":\"[\\\"b\\\"]\",\"resourceBody\":{\"id\":\"1\",\"pk\":"
                   "\"b\"}}," KEYED("Read", "\"id\":\"none\"") "," KEYED("Delete", "\"id\":\"1\"") "]"), 207);
    CHECK_STR(statuses(), "201 409 400 200 201 404 204");
    CHECK(*result(1, "message") == '"' && strstr(result(1, "message"), "already exists") != NULL);
    CHECK_STR(result(0, "message"), "");
    CHECK_STR(result(1, "error"), "");
    CHECK_STR(result(2, "subStatusCode"), "1001");
    CHECK_STR(result(3, "resourceBody"), "");
    CHECK(strlen(result(3, "eTag")) > 4);
    CHECK_INT(call("POST", DOCS, BULK, "[" KEYED("Create", "\"resourceBody\":{\"id\":\"1\",\"pk\":\"a\"}") "]"), 200);
    close_world();
}

TEST(a_key_of_another_range_is_gone)
{
    int i, gone = 0, made = 0;
    open_world(4);
    for (i = 0; i < 20; i++) {
        int status = call("POST", DOCS, BULK, f("[{\"operationType\":\"Create\",\"partitionKey\":\"[\\\"k%d\\\"]\","
                          "\"resourceBody\":{\"id\":\"1\",\"pk\":\"k%d\"}}]", i, i));
        if (status == 200) made++;
        else if (strcmp(statuses(), "410") == 0 && strcmp(result(0, "subStatusCode"), "1002") == 0) gone++;
    }
    CHECK(made > 0);
    CHECK_INT(made + gone, 20);
    CHECK_INT(call("POST", DOCS, "x-ms-cosmos-is-batch-request: True\r\nx-ms-documentdb-partitionkeyrangeid: 77\r\n",
                   "[" KEYED("Delete", "\"id\":\"1\"") "]"), 410);
    close_world();
}

TEST(an_item_of_a_batch_is_throttled_or_fails_alone)
{
    aiocosmos_emulator_options options;
    memset(&options, 0, sizeof options);
    options.partitions = 1;
    options.ru_per_second = 10;
    open_core(options);
    make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":2}}");
    CHECK_INT(call("POST", DOCS, BULK,
                   "[" KEYED("Create", "\"resourceBody\":{\"id\":\"1\",\"pk\":\"a\"}") ","
                   KEYED("Create", "\"resourceBody\":{\"id\":\"2\",\"pk\":\"a\"}") ","
                   KEYED("Create", "\"resourceBody\":{\"id\":\"3\",\"pk\":\"a\"}") "]"), 207);
    CHECK_STR(statuses(), "201 201 429");
    CHECK_STR(result(2, "subStatusCode"), "3200");
    CHECK(atoi(result(2, "retryAfterMilliseconds")) > 0);
    CHECK_INT(call("POST", DOCS, BULK, "[" KEYED("Read", "\"id\":\"1\"") "]"), 429);
    CHECK_INT(call("POST", DOCS, TRANSACTION PK("[\"a\"]"), "[" CREATE("9", "1") "]"), 429);
    w.now_ms += 5000;
    CHECK_INT(call("POST", "/_emulator/faults", NULL, "{\"status\":449,\"kind\":\"create_item\",\"count\":1}"), 204);
    CHECK_INT(call("POST", DOCS, BULK, "[" KEYED("Create", "\"resourceBody\":{\"id\":\"7\",\"pk\":\"a\"}") "]"), 207);
    CHECK_STR(statuses(), "449");
    CHECK_INT(call("GET", DOCS "/7", PK("[\"a\"]"), NULL), 404);
    close_world();
}

TEST(batches_that_are_none_are_refused)
{
    static const char *const bad[] = {
        "", "{}", "[]", "[1]", "[{\"operationType\":\"Fly\"}]", "[{\"operationType\":\"Read\"}]", "[",
        "[" CREATE("1", "1")
    };
    char *many = (char *)malloc(101 * 128);
    size_t i, len = 1;
    open_world(1);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        int status = call("POST", DOCS, TRANSACTION PK("[\"a\"]"), bad[i]);
        if (status != 400 && !(status == 207 && strcmp(statuses(), "400") == 0))
            test_fail(__FILE__, __LINE__, "%s: %d", bad[i], status);
    }
    CHECK_INT(call("POST", DOCS, TRANSACTION, "[" CREATE("1", "1") "]"), 400);
    CHECK_INT(call("POST", DOCS, "x-ms-cosmos-is-batch-request: True\r\n", "[" CREATE("1", "1") "]"), 400);
    CHECK_INT(call("POST", DOCS, TRANSACTION PK("[\"a\"]"), "\x81\x01"), 400);
    CHECK(says("HybridRow"));
    many[0] = '[';
    for (i = 0; i < 101; i++) len += (size_t)sprintf(many + len, "%s" CREATE("i%d", "1"), i ? "," : "", (int)i);
    strcpy(many + len, "]");
    CHECK_INT(call("POST", DOCS, TRANSACTION PK("[\"a\"]"), many), 400);
    many[len - strlen("," CREATE("i100", "1"))] = ']';
    many[len - strlen("," CREATE("i100", "1")) + 1] = 0;
    CHECK_INT(call("POST", DOCS, TRANSACTION PK("[\"a\"]"), many), 200);
    free(many);
    close_world();
}

/* On a new connection: the last refusal may have ended the old one. */
static void drop_filler(const char *id)
{
    aiocosmos_emulator_conn_close(w.conn);
    w.conn = aiocosmos_emulator_conn_open(w.core);
    CHECK(w.conn != NULL);
    CHECK_INT(call("DELETE", f(DOCS "/%s", id), PK("[\"f\"]"), NULL), 204);
}

/* Items of another key until there is no memory for the smallest, and then one of so many bytes less. */
static void leave_memory(int bytes)
{
    static char body[4096];
    int size, n = 0;
    CHECK_INT(call("POST", DOCS, PK("[\"f\"]"), f("{\"id\":\"spare\",\"pk\":\"f\",\"t\":\"%0*d\"}", bytes, 0)), 201);
    for (size = 2048; size > 30; size /= 2) {
        do snprintf(body, sizeof body, "{\"id\":\"%d\",\"pk\":\"f\",\"t\":\"%0*d\"}", n++, size, 0);
        while (call("POST", DOCS, PK("[\"f\"]"), body) == 201);
    }
    drop_filler("spare");
}

/* However little memory there is: nothing is half done. */
TEST(a_transaction_is_whole_whatever_memory_there_is)
{
    aiocosmos_emulator_options options;
    int bytes, done = 0, refused = 0;
    memset(&options, 0, sizeof options);
    options.partitions = 1;
    options.memory_max = (size_t)192 << 10;
    for (bytes = 1; bytes < 4000; bytes += 50) {
        int status, i, there = 0;
        open_core(options);
        make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":2}}");
        add_item("0", "a", 1);
        leave_memory(bytes);
        status = call("POST", DOCS, TRANSACTION PK("[\"a\"]"),
                      "[" CREATE("1", "1") "," CREATE("2", "2") ",{\"operationType\":\"Delete\",\"id\":\"0\"}]");
        for (i = 0; i < 4; i++) drop_filler(f("%d", i));
        for (i = 0; i < 3; i++) there |= (call("GET", f(DOCS "/%d", i), PK("[\"a\"]"), NULL) == 200) << i;
        /* Without a status the answer had no memory: it may be either. */
        if ((there != 6 && there != 1) || (status == 200 && there == 1) || (status >= 207 && there == 6))
            test_fail(__FILE__, __LINE__, "%d: %d, items %d", bytes, status, there);
        if (status == 200) done++;
        else refused++;
        close_world();
    }
    CHECK(done > 0);
    CHECK(refused > 0);
}
