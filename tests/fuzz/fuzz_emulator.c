/* The emulator's core: whole signed requests of the input's making, and bytes as they come. What it answers is HTTP, with
 * a body that is JSON where it says so, whatever was asked before and wherever memory ran out; in the end nothing is
 * left. */
#include "fuzz.h"
#include "tools/emulator/aiocosmos_emulator.h"

#define NOW_MS INT64_C(1795228304000)

void emu_pace(aiocosmos_emulator *core, uint64_t slice_steps, uint64_t page_steps);

/*--- Requests --------------------------------------------------------------------------------*/

static const struct { const char *verb, *path, *type, *link; } routes[] = {
    {"POST", "/dbs/D/colls/C/docs", "docs", "dbs/D/colls/C"},
    {"GET", "/dbs/D/colls/C/docs", "docs", "dbs/D/colls/C"},
    {"GET", "/dbs/D/colls/C/docs/a", "docs", "dbs/D/colls/C/docs/a"},
    {"PUT", "/dbs/D/colls/C/docs/a", "docs", "dbs/D/colls/C/docs/a"},
    {"PATCH", "/dbs/D/colls/C/docs/a", "docs", "dbs/D/colls/C/docs/a"},
    {"DELETE", "/dbs/D/colls/C/docs/a", "docs", "dbs/D/colls/C/docs/a"},
    {"POST", "/dbs/D/colls", "colls", "dbs/D"},
    {"PUT", "/dbs/D/colls/C", "colls", "dbs/D/colls/C"},
    {"GET", "/dbs/D/colls/C/pkranges", "pkranges", "dbs/D/colls/C"},
    {"POST", "/dbs", "dbs", ""},
    {"POST", "/dbs/D/users", "users", "dbs/D"},
    {"POST", "/offers", "offers", ""},
    {"POST", "/dbs/D/colls/C/sprocs", "sprocs", "dbs/D/colls/C"},
    {"PUT", "/_emulator/faults", "", ""},
    {"PUT", "/_emulator/split", "", ""},
    {"GET", "/", "", ""},
};

static const char *const lines[] = {
    "",
    "x-ms-documentdb-partitionkey: [\"k\"]\r\n",
    "x-ms-documentdb-isquery: True\r\nContent-Type: application/query+json\r\n"
    "x-ms-documentdb-query-enablecrosspartition: True\r\n",
    "x-ms-documentdb-partitionkeyrangeid: 0\r\n",
    "x-ms-documentdb-is-upsert: True\r\nx-ms-documentdb-partitionkey: [\"k\"]\r\n",
    "A-IM: Incremental feed\r\nx-ms-documentdb-partitionkeyrangeid: 0\r\n",
    "x-ms-cosmos-is-query-plan-request: True\r\nx-ms-documentdb-isquery: True\r\nContent-Type: application/query+json\r\n"
    "x-ms-cosmos-supported-query-features: Aggregate,Distinct,GroupBy,OrderBy,Top,OffsetAndLimit,NonValueAggregate,"
    "MultipleOrderBy,MultipleAggregates,DCount,NonStreamingOrderBy,HybridSearch\r\n",
    "x-ms-cosmos-is-batch-request: True\r\nx-ms-cosmos-batch-atomic: True\r\nx-ms-documentdb-partitionkey: [\"k\"]\r\n",
};

enum { ROUTES = (int)(sizeof routes / sizeof routes[0]), LINES = (int)(sizeof lines / sizeof lines[0]) };

static aioc_auth_signer signer;
static aioc_mem texts;

static void put(aioc_mem_buffer *out, const char *text)
{
    CHECK(aioc_mem_append(&texts, out, text, strlen(text)));
}

/* more: further header lines, and body. */
static void put_request(aioc_mem_buffer *out, int route, const char *said, aiocosmos_str more, aiocosmos_str body)
{
    char length[64];
    aiocosmos_str value;
    put(out, routes[route].verb);
    put(out, " ");
    put(out, routes[route].path);
    put(out, " HTTP/1.1\r\nHost: localhost\r\nx-ms-version: 2020-07-15\r\nx-ms-date: ");
    value = aioc_auth_signer_date(&signer, NOW_MS / 1000);
    CHECK(aioc_mem_append(&texts, out, value.ptr, value.len));
    put(out, "\r\nauthorization: ");
    value = aioc_auth_sign(&signer, routes[route].verb, routes[route].type, aioc_mem_str(routes[route].link),
                           NOW_MS / 1000);
    CHECK(aioc_mem_append(&texts, out, value.ptr, value.len));
    put(out, "\r\n");
    put(out, said);
    if (more.len) CHECK(aioc_mem_append(&texts, out, more.ptr, more.len));
    if (more.len) put(out, "\r\n");
    snprintf(length, sizeof length, "Content-Length: %zu\r\n\r\n", body.len);
    put(out, length);
    CHECK(aioc_mem_append(&texts, out, body.ptr, body.len));
}

/*--- Answers ---------------------------------------------------------------------------------*/

static int64_t now_ms(void *user_data)
{
    (void)user_data;
    return NOW_MS;
}

/* The answers that are there, as the library's parser reads them. faulty: some are meant to be none. */
static void check_answers(const char *bytes, size_t len, bool faulty)
{
    static const aioc_http_names none = {NULL, 0};
    aioc_http_parser parser;
    size_t used = 0;
    aioc_http_open(&parser, &texts, &none, 65536, 16u << 20);
    while (len > 0 && !faulty) {
        aiocosmos_str type, body;
        const char *error;
        aioc_http_start(&parser);
        CHECK_INT(aioc_http_feed(&parser, bytes, len, &used), AIOC_HTTP_DONE);
        body = parser.response.body;
        type = aioc_http_header(parser.response.head, "content-type");
        CHECK(parser.response.status >= 200 && parser.response.status < 600);
        if (body.len > 0 && type.len >= 16 && memcmp(type.ptr, "application/json", 16) == 0 &&
            aioc_json_check(body.ptr, body.len, NULL, 0, NULL, &error, NULL) != 0)
            CHECK(strstr(error, "deep") != NULL);              /* a list of documents that just are not */
        bytes += used;
        len -= used;
    }
    aioc_http_reset(&parser);
}

static void work_out(aiocosmos_emulator_conn *conn, bool faulty)
{
    const char *bytes;
    size_t len;
    int ticks = 0;
    while (aiocosmos_emulator_conn_waits(conn) == AIOCOSMOS_EMULATOR_WORKS && ticks++ < 100000)
        aiocosmos_emulator_conn_tick(conn);
    bytes = aiocosmos_emulator_conn_output(conn, &len);
    check_answers(bytes, len, faulty);
    if (len) aiocosmos_emulator_conn_sent(conn, len);
}

/* In pieces, from memory that is gone behind each. */
static void feed(aiocosmos_emulator_conn *conn, aiocosmos_str text, size_t piece, bool faulty)
{
    while (text.len > 0) {
        aiocosmos_str part = aioc_text_view(text.ptr, text.len < piece ? text.len : piece);
        char *copy = fuzz_copy(part);
        aiocosmos_emulator_conn_feed(conn, copy, part.len);
        free(copy);
        text = aioc_text_behind(text, part.len);
        if (aiocosmos_emulator_conn_full(conn)) work_out(conn, faulty);
    }
}

static void fill(aiocosmos_emulator_conn *conn)
{
    aioc_mem_buffer out = {NULL, 0, 0};
    put_request(&out, 9, "", aioc_mem_str(""), aioc_mem_str("{\"id\":\"D\"}"));
    put_request(&out, 6, "", aioc_mem_str(""), aioc_mem_str("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],"
                                                            "\"kind\":\"Hash\",\"version\":2}}"));
    put_request(&out, 0, lines[1], aioc_mem_str(""), aioc_mem_str("{\"id\":\"a\",\"pk\":\"k\",\"n\":1,\"l\":[1,2,3],"
                                                                  "\"o\":{\"p\":1},\"~\":{\"/\":2}}"));
    feed(conn, fuzz_text(&out), SIZE_MAX, false);
    work_out(conn, false);
    aioc_mem_buffer_free(&texts, &out);
}

/* One that an attacker sends bytes to: each is a part; without its part a request is one of the table. */
static void ask(aiocosmos_emulator_conn *conn, fuzz_input *in, size_t piece)
{
    bool faulty = false;
    int requests = 0;
    while (in->len > 0 && requests++ < 12) {
        int route = (int)(fuzz_knob(in) % ROUTES);
        unsigned said = fuzz_knob(in) % (LINES + 1);
        aioc_mem_buffer out = {NULL, 0, 0};
        aiocosmos_str more, body;
        if (said == LINES) {
            feed(conn, fuzz_part(in), piece, faulty);
        } else {
            more = fuzz_part(in);
            body = fuzz_part(in);
            put_request(&out, route, lines[said], more, body);
            faulty = faulty || strstr(routes[route].path, "faults");
            feed(conn, fuzz_text(&out), piece, faulty);
        }
        work_out(conn, faulty);
        aioc_mem_buffer_free(&texts, &out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    size_t piece = 1 + fuzz_knob(&in) * 16u, error_at;
    unsigned fails = fuzz_knob(&in), slice = fuzz_knob(&in);
    aiocosmos_emulator_options options;
    aiocosmos_emulator_conn *conn;
    aiocosmos_emulator *core;
    heap_allocator(&heap);
    aioc_mem_init(&texts, NULL, SIZE_MAX);
    if (!signer.has_key) CHECK_INT(aioc_auth_signer_set_key(&signer, aioc_mem_str(AIOCOSMOS_EMULATOR_KEY), &error_at), 0);
    memset(&options, 0, sizeof options);
    options.partitions = 2;
    options.memory_max = 32u << 20;
    options.now_ms = now_ms;
    options.allocate = heap_fn;
    core = aiocosmos_emulator_open(&options, NULL);
    CHECK(core != NULL);
    if (slice) emu_pace(core, slice, 0);
    conn = aiocosmos_emulator_conn_open(core);
    CHECK(conn != NULL);
    fill(conn);
    if (fails) heap_fail(&heap, fails, 1 + slice % 4);
    ask(conn, &in, piece);
    aiocosmos_emulator_conn_close(conn);
    aiocosmos_emulator_close(core);
    CHECK_INT(heap.blocks, 0);
    CHECK_INT(heap.bytes, 0);
    aioc_mem_close(&texts);
    return 0;
}
