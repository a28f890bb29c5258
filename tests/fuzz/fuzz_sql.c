/* The emulator's SQL: what is parsed is printed as SQL that means the same, its rows are JSON, and a run that pauses
 * gives the rows of one that does not. */
#include "fuzz.h"
#define EMU_PRIVATE extern
#include "tools/emulator/sql/sql.h"

#define NOW_MS 1795228304000

static const char *const documents[] = {
    "{\"id\":\"a\",\"pk\":\"x\",\"n\":1,\"s\":\"hello\",\"l\":[1,2,[3,4],{\"q\":5}],\"o\":{\"p\":{\"r\":null}},\"t\":true,"
    "\"d\":\"2026-01-02T03:04:05.0000000Z\",\"v\":[0.1,0.2],\"g\":{\"type\":\"Point\",\"coordinates\":[1,2]}}",
    "{\"id\":\"b\",\"pk\":\"y\",\"n\":-2.5,\"s\":\"\\u00e9\\ud83d\\ude00%_\",\"l\":[],\"o\":{},\"t\":false,\"v\":[1,0],"
    "\"g\":{\"type\":\"Polygon\",\"coordinates\":[[[0,0],[4,0],[4,4],[0,4],[0,0]]]}}",
    "{\"id\":\"c\",\"pk\":null,\"n\":1e300,\"l\":[\"a\",\"b\",\"a\"]}"
};

enum { DOCUMENTS = (int)(sizeof documents / sizeof documents[0]), ROWS_BYTES_MAX = 1 << 20 };

static aioc_mem memory, texts;

static void append(void *user, const char *text, size_t len)
{
    CHECK(aioc_mem_append(&texts, (aioc_mem_buffer *)user, text, len));
}

static void take_row(void *user, const char *text, size_t len)
{
    CHECK_INT(aioc_json_check(text, len, NULL, 0, NULL, NULL, NULL), 0);
    append(user, text, len);
    append(user, "\n", 1);
}

static int go_on(emu_sql_run *run, uint64_t steps, int result)
{
    while (result == EMU_SQL_PAUSED) {
        emu_sql_pause_after(run, steps);
        result = emu_sql_resume(run);
    }
    return result;
}

/* The rows of all documents. Returns 0, or less where the run has failed. steps: after how many it pauses; 0: never. */
static int run_query(const emu_sql_query *query, uint64_t steps, aioc_mem_buffer *rows)
{
    emu_sql_run *run = emu_sql_start(query, take_row, rows);
    int i, result = 0;
    CHECK(run != NULL);
    emu_sql_limit_memory(run, 4u << 20);
    if (steps) emu_sql_pause_after(run, steps);
    for (i = 0; i < DOCUMENTS && result == 0; i++) {
        char *copy = fuzz_copy(aioc_mem_str(documents[i]));
        result = go_on(run, steps, emu_sql_feed(run, copy, strlen(documents[i])));
        free(copy);
    }
    if (result >= 0) result = go_on(run, steps, emu_sql_finish(run));
    if (result < 0) CHECK(emu_sql_run_error(run)->status >= 400 && emu_sql_run_error(run)->message[0]);
    emu_sql_stop(run);
    return result < 0 ? result : 0;
}

static emu_sql_query *prepare(aiocosmos_str sql, aiocosmos_str parameters, emu_sql_error *error)
{
    aioc_mem_buffer body = {NULL, 0, 0};
    emu_sql_query *query = NULL;
    aioc_mem_writer out;
    char *copy;
    append(&body, "{\"query\":", 9);
    out = aioc_mem_write(&texts, &body);
    aioc_json_put_string(&out, sql);
    if (aioc_mem_written(&out)) {
        if (parameters.len) {
            append(&body, ",\"parameters\":[{\"name\":\"@a\",\"value\":", 36);
            append(&body, parameters.ptr, parameters.len);
            append(&body, "}]", 2);
        }
        append(&body, "}", 1);
        copy = fuzz_copy(fuzz_text(&body));
        memset(error, 0, sizeof *error);
        query = emu_sql_prepare(copy, body.len, NOW_MS, &memory, error);
        CHECK(query || (error->status >= 400 && error->message[0]));
        free(copy);
    }
    aioc_mem_buffer_free(&texts, &body);
    return query;
}

/* Printed, it is SQL; that printed is the same text; and it gives the same rows. */
static void check_printed(const emu_sql_query *query, aiocosmos_str parameters, const aioc_mem_buffer *rows, int result)
{
    aioc_mem_buffer text = {NULL, 0, 0}, again = {NULL, 0, 0}, other = {NULL, 0, 0};
    emu_sql_error error;
    emu_sql_query *printed;
    if (emu_sql_print(query, append, &text, &error)) {
        printed = prepare(fuzz_text(&text), parameters, &error);
        if (!printed && !strstr(error.message, "deep") && !strstr(error.message, "long"))
            test_fail(__FILE__, __LINE__, "%.*s: %s", (int)text.len, text.data, error.message);
        if (printed) {
            CHECK(emu_sql_print(printed, append, &again, &error));
            CHECK(fuzz_same(fuzz_text(&again), fuzz_text(&text)));
            CHECK_INT(run_query(printed, 0, &other), result);
            if (result == 0) CHECK(fuzz_same(fuzz_text(&other), fuzz_text(rows)));
            emu_sql_free(printed);
        }
    }
    aioc_mem_buffer_free(&texts, &text);
    aioc_mem_buffer_free(&texts, &again);
    aioc_mem_buffer_free(&texts, &other);
}

static void check_plan(const emu_sql_query *query)
{
    static const aiocosmos_str path = {"/pk", 3}, all = {NULL, 0};
    aioc_mem_buffer json = {NULL, 0, 0};
    emu_sql_error error;
    emu_sql_key key;
    aioc_plan *plan;
    char why[200];
    memset(&key, 0, sizeof key);
    key.paths = &path;
    key.path_count = 1;
    if (emu_sql_plan(query, &key, all, append, &json, &error)) {
        CHECK_INT(aioc_json_check(json.data, json.len, NULL, 0, NULL, NULL, NULL), 0);
        if (aioc_plan_read(&texts, fuzz_text(&json), &plan, why, sizeof why) == 0) aioc_plan_release(&texts, plan);
    } else {
        CHECK(error.status >= 400);
    }
    aioc_mem_buffer_free(&texts, &json);
}

/* SQL, and the value of its parameter @a. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    uint64_t steps = 1 + fuzz_knob(&in);
    aiocosmos_str sql = fuzz_part(&in), parameters = fuzz_rest(&in), value;
    aioc_mem_buffer rows = {NULL, 0, 0}, paused = {NULL, 0, 0};
    emu_sql_error error;
    emu_sql_query *query;
    int result;
    memory = fuzz_memory(0);
    aioc_mem_init(&texts, NULL, (size_t)1 << 30);
    query = prepare(sql, parameters, &error);
    if (query) {
        emu_sql_equals(query, "/pk", &value);
        check_plan(query);
        result = run_query(query, 0, &rows);
        if (result == 0 && rows.len < ROWS_BYTES_MAX) {
            CHECK_INT(run_query(query, steps, &paused), 0);
            CHECK(fuzz_same(fuzz_text(&paused), fuzz_text(&rows)));
        }
        check_printed(query, parameters, &rows, result);
        emu_sql_free(query);
    }
    aioc_mem_buffer_free(&texts, &rows);
    aioc_mem_buffer_free(&texts, &paused);
    aioc_mem_close(&texts);
    fuzz_close(&memory);
    return 0;
}
