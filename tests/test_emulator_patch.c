/* What a patch makes of a document's text and of what was parsed of it: the same as if the text were parsed anew. */
#define EMU_PRIVATE extern
#include "emulator_world.h"
#include "tools/emulator/exchange.h"

static uint64_t seed;

static unsigned any(unsigned below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % below;
}

static const char *any_path(void)
{
    static const char *const paths[] = {
        "/a", "/b", "/l", "/l/0", "/l/1", "/l/2", "/l/-", "/o", "/o/x", "/o/y", "/o/x/0", "/o/x/-", "/o/l", "/l/0/z",
        "/l/1/0", "/n", "/q\\\"t", "/u~1~0v", "/a/b", "/missing/too", "/ttl"
    };
    return paths[any(sizeof paths / sizeof *paths)];
}

static const char *any_value(void)
{
    static const char *const values[] = {
        "1", "-2.5", "null", "true", "\"s\"", "\"\\u0041\\n\"", "[]", "{}", "[1,[2,{\"z\":3}],4]",
        "{ \"x\" : [ 1 , 2 ] }", "{\"x\":{\"y\":{}},\"l\":[[]]}", "[{\"z\":1},[5]]", "123456789012"
    };
    return values[any(sizeof values / sizeof *values)];
}

static void put_any_operation(char *out)
{
    static const char *const names[] = { "add", "set", "replace", "remove", "incr", "move" };
    const char *name = names[any(6)];
    char from[40];
    snprintf(from, sizeof from, "%s", any_path());
    sprintf(out, "{\"op\":\"%s\",\"path\":\"%s\",\"from\":\"%s\",\"value\":%s}", name, any_path(), from, any_value());
}

/* The document that the last patch has made, parsed again, has the same nodes. */
static void check_nodes(const char *operations)
{
    const aiocosmos_json_doc *made = &w.core->doc2;
    const aiocosmos_str text = { w.core->scratch2.buffer.data, w.core->scratch2.buffer.len };
    aiocosmos_json_doc anew;
    uint32_t i;
    aioc_json_open(&anew, &w.memory);
    CHECK_INT(aioc_json_parse(&anew, text.ptr, text.len), 0);
    CHECK(made->text == text.ptr);
    if (made->count != anew.count || memcmp(made->nodes, anew.nodes, anew.count * sizeof *anew.nodes) != 0) {
        for (i = 0; i < anew.count && memcmp(&made->nodes[i], &anew.nodes[i], sizeof *anew.nodes) == 0; i++) continue;
        test_fail(__FILE__, __LINE__, "%s: node %u of %u, which are %u, of %.*s", operations, i, anew.count,
                  made->count, (int)text.len, text.ptr);
    }
    aioc_json_close(&anew);
}

/* By itself or in a batch, whose operations were parsed with it. */
static bool patch(const char *operations, bool batch)
{
    if (!batch) return call("PATCH", DOCS "/1", PK("[\"a\"]"), operations) == 200;
    call("POST", DOCS, PK("[\"a\"]") "x-ms-cosmos-is-batch-request: True\r\nx-ms-cosmos-batch-atomic: True\r\n",
         f("[{\"operationType\":\"Patch\",\"id\":\"1\",\"resourceBody\":{\"operations\":%s}}]", operations));
    return strstr(got.text, "\"statusCode\":200") != NULL;
}

TEST(nodes_are_as_if_parsed_anew)
{
    static char operations[10 * 300];
    int round, done = 0;
    open_world(1);
    for (round = 0; round < 4000; round++) {
        unsigned count = 1 + any(4), i;
        seed = (uint64_t)round * 7919 + 1;
        if (round % 8 == 0)
            call("POST", DOCS, UPSERT PK("[\"a\"]"),
                 "{ \"id\":\"1\", \"pk\" : \"a\",\"a\":1, \"l\" :[ 1,[2] ,{\"z\":3}],"
                 "\"o\":{\"x\":[],\"y\":{\"x\":1}},\"n\":5,\"b\":{},\"b\":[1]}");
        strcpy(operations, "[");
        for (i = 0; i < count; i++) {
            if (i > 0) strcat(operations, ",");
            put_any_operation(operations + strlen(operations));
        }
        strcat(operations, "]");
        if (!patch(operations, round % 3 == 0)) continue;
        check_nodes(operations);
        done++;
    }
    CHECK(done > 800);
    close_world();
}

/* What is pasted may make it deeper than a document may be. */
TEST(documents_stay_128_deep_at_most)
{
    char deep[200], path[200] = "/l";
    int i;
    open_world(1);
    memset(deep, '[', 70);
    memset(deep + 70, ']', 70);
    deep[140] = 0;
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), f("{\"id\":\"1\",\"pk\":\"a\",\"l\":[%s]}", deep)), 201);
    for (i = 0; i < 60; i++) strcat(path, "/0");
    CHECK(!patch(f("[{\"op\":\"add\",\"path\":\"%s/-\",\"value\":%s}]", path, deep), false));
    CHECK_INT(got.status, 400);
    CHECK(strstr(got.text, "deeper than 128 levels") != NULL);
    CHECK(patch(f("[{\"op\":\"add\",\"path\":\"/l/-\",\"value\":%s}]", deep), false));
    check_nodes("deep");
    close_world();
}

/* Whichever allocation fails, the document is as it was or as it should be. */
TEST(patches_bear_failing_memory)
{
    static const char operations[] =
        "[{\"op\":\"add\",\"path\":\"/l\",\"value\":[1,2,3,[4,5,6],{\"a\":[7,8,9]}]},"
        "{\"op\":\"move\",\"from\":\"/l/3\",\"path\":\"/m\"},{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}]";
    unsigned long nth;
    bool ok = false;
    for (nth = 1; !ok && nth < 200; nth++) {
        open_world(1);
        CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"1\",\"pk\":\"a\",\"n\":1}"), 201);
        heap_fail(&heap, nth, 1);
        ok = patch(operations, false);
        ok = ok && heap.failed == 0;
        heap_recover(&heap);
        if (heap.failed == 0) check_nodes(operations);
        close_world();
    }
    CHECK(nth > 3);
    CHECK(ok);
}
