/* emulator_world.h: for the tests of the emulator's core: one core and one connection, a clock and memory of the test's
 * own, requests made and signed, the last answer taken apart. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"

#include "test.h"
#include "heap.h"
#include "tools/emulator/aiocosmos_emulator.h"

#include <stdlib.h>

/* Of the work on a page, in steps, between which others are served (query.c). 0: as it is. */
#ifndef WORLD_SLICE
#define WORLD_SLICE 0
#endif

void emu_pace(aiocosmos_emulator *core, uint64_t slice_steps, uint64_t page_steps);

#define START_MS INT64_C(1795228304000)                    /* Sat, 21 Nov 2026 02:31:44 GMT */
#define PK(JSON) "x-ms-documentdb-partitionkey: " JSON "\r\n"
#define QUERY    "x-ms-documentdb-isquery: True\r\nContent-Type: application/query+json\r\n"
#define ACROSS   QUERY "x-ms-documentdb-query-enablecrosspartition: True\r\n"
#define RANGE_0  "x-ms-documentdb-partitionkeyrangeid: 0\r\n"
#define BY_EPK   "x-ms-read-key-type: EffectivePartitionKeyRange\r\n"
#define UPSERT   "x-ms-documentdb-is-upsert: True\r\n"
#define DOCS     "/dbs/D/colls/C/docs"

/*--- A world: one core, one connection, counted memory (heap) ----------------------------*/

static struct world {
    aiocosmos_emulator *core;
    aiocosmos_emulator_conn *conn;
    int64_t now_ms;
    aioc_auth_signer signer;
    aioc_mem memory;                                       /* of the test */
} w;

/* The last answer. */
static struct answer {
    int status, sub_status;
    double charge;
    aiocosmos_str head, body;
    char *bytes, *text;                                    /* text: the body, NUL-terminated */
} got;

static inline int64_t world_now(void *user)
{
    (void)user;
    return w.now_ms;
}

/* Into the world that is there. */
static inline void put_core(aiocosmos_emulator_options options)
{
    const char *error = NULL;
    options.now_ms = world_now;
    options.allocate = heap_fn;
    w.core = aiocosmos_emulator_open(&options, &error);
    if (!w.core) test_fail(__FILE__, __LINE__, "no core: %s", error);
    emu_pace(w.core, WORLD_SLICE, 0);
    w.conn = aiocosmos_emulator_conn_open(w.core);
}

static inline void open_core(aiocosmos_emulator_options options)
{
    size_t error_at;
    memset(&w, 0, sizeof w);
    memset(&heap, 0, sizeof heap);
    w.now_ms = START_MS;
    aioc_mem_init(&w.memory, NULL, SIZE_MAX);
    aioc_auth_signer_set_key(&w.signer, aioc_mem_str(options.key ? options.key : AIOCOSMOS_EMULATOR_KEY), &error_at);
    put_core(options);
}

static inline void close_core(void)
{
    aiocosmos_emulator_conn_close(w.conn);
    aiocosmos_emulator_close(w.core);
    CHECK_INT(heap.bytes, 0);
}

static inline void close_world(void)
{
    close_core();
    aioc_mem_close(&w.memory);
    free(got.bytes);
    free(got.text);
    memset(&got, 0, sizeof got);
}

/*--- Requests and answers ------------------------------------------------------------*/

/* "…" with each part of a path percent-encoded. */
static inline void put_target(aioc_mem_buffer *out, const char *path)
{
    aiocosmos_str link = aioc_mem_str(path + 1);
    if (!aioc_protocol_append_path(&w.memory, out, link)) abort();
}

/* What is signed (1.2), from a path of names. */
static inline aiocosmos_str link_of(const char *path, char type[32])
{
    aiocosmos_str link = aioc_mem_str(path + 1);
    size_t i, slashes = 0, last = 0, last_but_one = 0;
    for (i = 0; i < link.len; i++) {
        if (link.ptr[i] != '/') continue;
        slashes++;
        last_but_one = last;
        last = i + 1;
    }
    if (link.len == 0) {
        type[0] = 0;
    } else if (slashes % 2 == 0) {                         /* ends with a type */
        snprintf(type, 32, "%s", link.ptr + last);
        link.len = last ? last - 1 : 0;
    } else {
        snprintf(type, 32, "%.*s", (int)(last - 1 - last_but_one), link.ptr + last_but_one);
    }
    if (strcmp(type, "operations") == 0) {                 /* of a container, and signed as that */
        link.len = (size_t)(strstr(path, "/operations") - path - 1);
        snprintf(type, 32, "colls");
    }
    if (strcmp(type, "offers") == 0 && link.len) link = aioc_mem_str(link.ptr + last);
    return link;
}

/* A whole signed request; lines are further header lines. */
static inline void put_request(aioc_mem_buffer *out, const char *verb, const char *path, const char *lines,
                        const char *body)
{
    char type[32], lower[64], room[400];
    aiocosmos_str link = link_of(path, type), value, date;
    size_t i;
    if (strcmp(type, "offers") == 0) {
        for (i = 0; i < link.len && i < sizeof lower; i++) lower[i] = aioc_mem_lower(link.ptr[i]);
        link.ptr = lower;
    }
    date = aioc_auth_signer_date(&w.signer, w.now_ms / 1000);
    snprintf(room, sizeof room, "%s ", verb);
    aioc_mem_append_str(&w.memory, out, room);
    put_target(out, path);
    snprintf(room, sizeof room, " HTTP/1.1\r\nHost: localhost\r\nx-ms-version: 2020-07-15\r\nx-ms-date: %.*s\r\n",
             (int)date.len, date.ptr);
    aioc_mem_append_str(&w.memory, out, room);
    if (!lines || !strstr(lines, "authorization:")) {
        value = aioc_auth_sign(&w.signer, verb, type, link, w.now_ms / 1000);
        snprintf(room, sizeof room, "authorization: %.*s\r\n", (int)value.len, value.ptr);
        aioc_mem_append_str(&w.memory, out, room);
    }
    if (lines) aioc_mem_append_str(&w.memory, out, lines);
    if (body) {
        snprintf(room, sizeof room, "Content-Length: %d\r\n", (int)strlen(body));
        aioc_mem_append_str(&w.memory, out, room);
    }
    aioc_mem_append_str(&w.memory, out, "\r\n");
    if (body) aioc_mem_append_str(&w.memory, out, body);
}

/* A header of the last answer, NUL-terminated; "" where there is none. */
static inline const char *header(const char *name)
{
    static char room[4][1024];
    static int next;
    aiocosmos_str value = aioc_http_header(got.head, name);
    char *out = room[next++ % 4];
    snprintf(out, sizeof room[0], "%.*s", (int)value.len, value.len ? value.ptr : "");
    return out;
}

/* Reads one answer off the output, with the library's own parser. Returns its bytes; 0: there is no whole one. */
static inline size_t take_answer(const char *bytes, size_t len)
{
    aioc_http_names none = {NULL, 0};
    aioc_http_parser parser;
    size_t used = 0;
    aioc_http_open(&parser, &w.memory, &none, 65536, 16u << 20);
    aioc_http_start(&parser);
    free(got.bytes);
    free(got.text);
    memset(&got, 0, sizeof got);
    got.bytes = (char *)malloc(len + 1);
    if (len) memcpy(got.bytes, bytes, len);
    if (aioc_http_feed(&parser, got.bytes, len, &used) == AIOC_HTTP_DONE) {
        got.status = parser.response.status;
        got.head = parser.response.head;
        got.text = (char *)malloc(parser.response.body.len + 1);
        memcpy(got.text, parser.response.body.ptr ? parser.response.body.ptr : "", parser.response.body.len);
        got.text[parser.response.body.len] = 0;
        got.body.ptr = got.text;
        got.body.len = parser.response.body.len;
        got.sub_status = atoi(header("x-ms-substatus"));
        got.charge = atof(header("x-ms-request-charge"));
    } else {
        used = 0;
    }
    aioc_http_reset(&parser);
    return used;
}

/* Lets a connection work until its answer is there. */
static inline void work_out(aiocosmos_emulator_conn *conn)
{
    while (aiocosmos_emulator_conn_waits(conn) == AIOCOSMOS_EMULATOR_WORKS) aiocosmos_emulator_conn_tick(conn);
}

/* Sends what is in the buffer and takes the one answer. */
static inline int exchange(aioc_mem_buffer *request)
{
    const char *bytes;
    size_t len;
    aiocosmos_emulator_conn_feed(w.conn, request->data, request->len);
    aioc_mem_buffer_free(&w.memory, request);
    work_out(w.conn);
    bytes = aiocosmos_emulator_conn_output(w.conn, &len);
    CHECK_INT(take_answer(bytes, len), len);
    aiocosmos_emulator_conn_sent(w.conn, len);
    return got.status;
}

static inline int call(const char *verb, const char *path, const char *lines, const char *body)
{
    aioc_mem_buffer request;
    memset(&request, 0, sizeof request);
    put_request(&request, verb, path, lines, body);
    return exchange(&request);
}

/* On a connection of its own, for when memory fails; whatever the answer. */
static inline void send_alone(const char *verb, const char *path, const char *lines, const char *body)
{
    aioc_mem_buffer request;
    size_t len;
    aiocosmos_emulator_conn *conn = aiocosmos_emulator_conn_open(w.core);
    memset(&request, 0, sizeof request);
    put_request(&request, verb, path, lines, body);
    if (conn) {
        aiocosmos_emulator_conn_feed(conn, request.data, request.len);
        work_out(conn);
        aiocosmos_emulator_conn_output(conn, &len);
        if (len) aiocosmos_emulator_conn_sent(conn, len);
        aiocosmos_emulator_conn_close(conn);
    }
    aioc_mem_buffer_free(&w.memory, &request);
}

/* Formats into one of a few rooms. */
static inline const char *f(const char *format, ...)
{
    static char room[8][4096];
    static int next;
    char *out = room[next++ % 8];
    va_list values;
    va_start(values, format);
    vsnprintf(out, sizeof room[0], format, values);
    va_end(values);
    return out;
}

static inline bool says(const char *text)
{
    return got.text && strstr(got.text, text) != NULL;
}

static inline long long count(void)
{
    const char *at = got.text ? strstr(got.text, "\"_count\":") : NULL;
    return at ? atoll(at + 9) : -1;
}

/* Value of a top-level string property of the body, as it stands in the JSON. */
static inline const char *property(const char *name)
{
    static char room[4][1024];
    static int next;
    char *out = room[next++ % 4];
    aiocosmos_str sought = aioc_mem_str(name);
    aiocosmos_json value;
    const char *error;
    size_t at;
    memset(&value, 0, sizeof value);
    aioc_json_check(got.body.ptr, got.body.len, &sought, 1, &value, &error, &at);
    if (value.type == AIOCOSMOS_JSON_STR) aioc_json_get_str(value, out, sizeof room[0]);
    else snprintf(out, sizeof room[0], "%.*s", (int)value.len, value.len ? value.ptr : "");
    return out;
}

static inline void make_container(const char *body)
{
    CHECK_INT(call("POST", "/dbs", NULL, "{\"id\":\"D\"}"), 201);
    CHECK_INT(call("POST", "/dbs/D/colls", NULL, body), 201);
}

static inline void open_world(int partitions)
{
    aiocosmos_emulator_options options;
    memset(&options, 0, sizeof options);
    options.partitions = partitions;
    open_core(options);
    make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":2}}");
}

static inline const char *key_line(const char *key)
{
    return f(PK("[\"%s\"]"), key);
}

static inline void add_item(const char *id, const char *key, int number)
{
    CHECK_INT(call("POST", DOCS, key_line(key), f("{\"id\":\"%s\",\"pk\":\"%s\",\"n\":%d,\"l\":[1,2,3,4,5]}", id, key,
                                                  number)), 201);
}

static inline void fill(int items, int keys)
{
    int i;
    for (i = 0; i < items; i++) add_item(f("i%d", i), f("k%d", i % keys), 1 << (i % 8));
}
