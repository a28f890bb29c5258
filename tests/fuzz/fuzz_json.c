/* JSON texts: the checker says what the parser says, and what is read reads the same when it is written again. */
#include "fuzz.h"

static aioc_mem memory;
static aioc_mem_buffer out;

/* A string read with its escapes resolved, written and read once more, is the same bytes; and the same value, if no half
 * of a surrogate pair became U+FFFD. */
static void check_string(aiocosmos_json value, bool ascii)
{
    size_t len = aioc_json_get_str(value, NULL, 0), again;
    char *text = (char *)malloc(len + 1), *copy = (char *)malloc(len + 1);
    aiocosmos_json_doc doc;
    aioc_mem_writer writer;
    CHECK(len <= value.len);
    CHECK_INT(aioc_json_get_str(value, text, len + 1), len);
    out.len = 0;
    writer = aioc_mem_write(&memory, &out);
    aioc_json_put_quoted(&writer, aioc_text_view(text, len), ascii);
    CHECK(aioc_mem_written(&writer));
    aioc_json_open(&doc, &memory);
    CHECK_INT(aioc_json_parse(&doc, out.data, out.len), 0);
    again = aioc_json_get_str(aioc_json_root(&doc), copy, len + 1);
    CHECK_INT(again, len);
    CHECK_MEM(copy, text, len);
    if (!strstr(text, "\xef\xbf\xbd") && strlen(text) == len)
        CHECK_INT(aioc_val_compare(value, aioc_json_root(&doc)), 0);
    aioc_json_close(&doc);
    free(text);
    free(copy);
}

/* A number is written in the shortest form that reads back as the same bits, and as an integer where it is one. */
static void check_number(aiocosmos_json value)
{
    char text[AIOC_JSON_NUMBER_MAX];
    double number, again;
    int64_t whole;
    size_t len;
    if (!aioc_json_get_f64(value, &number)) return;            /* beyond the doubles */
    len = aioc_json_number_write(number, text);
    CHECK(len > 0 && len <= sizeof text);
    CHECK(aioc_json_number_parse(text, len, &again));
    CHECK_MEM(&again, &number, sizeof number);
    if (!aioc_json_get_i64(value, &whole)) return;
    CHECK((double)whole == number);
    len = aioc_json_i64_write(whole, text);
    CHECK_INT(aioc_json_get_i64(aioc_json_alone(text, len), &whole), true);
    CHECK((double)whole == number);
}

/* Every value, by its own text too. Returns how many there are. */
static size_t check_values(aiocosmos_json value, bool ascii)
{
    aiocosmos_json name = aioc_json_none(), member = aioc_json_none();
    size_t count = 0, values = 1;
    CHECK(value.len > 0 && aioc_json_alone(value.ptr, value.len).type == value.type);
    CHECK_INT(aioc_json_check(value.ptr, value.len, NULL, 0, NULL, NULL, NULL), 0);
    if (value.type == AIOCOSMOS_JSON_STR) check_string(value, ascii);
    if (value.type == AIOCOSMOS_JSON_NUM) check_number(value);
    while (aioc_json_next(value, &name, &member)) {
        CHECK(member.ptr > value.ptr && member.ptr + member.len < value.ptr + value.len);
        if (value.type == AIOCOSMOS_JSON_OBJ) check_string(name, ascii);
        values += check_values(member, ascii);
        count++;
    }
    CHECK_INT(aioc_json_count(value), count);
    return values;
}

/* The whole text on one line of ASCII means the same. */
static void check_ascii(aiocosmos_json root, const char *text, size_t len)
{
    aioc_mem_buffer line = {NULL, 0, 0};
    aioc_mem_writer writer = aioc_mem_write(&memory, &line);
    aiocosmos_json_doc doc;
    static const uint64_t key[2] = {1, 2};
    aioc_val_hash a = aioc_val_hash_of(key, root), b;
    size_t i;
    aioc_json_put_json(&writer, aioc_text_view(text, len), true, AIOC_JSON_DEPTH_MAX);
    CHECK(aioc_mem_written(&writer));
    for (i = 0; i < line.len; i++) CHECK(line.data[i] >= ' ' && line.data[i] < 127);
    aioc_json_open(&doc, &memory);
    CHECK_INT(aioc_json_parse(&doc, line.data, line.len), 0);
    b = aioc_val_hash_of(key, aioc_json_root(&doc));
    CHECK_MEM(&a, &b, sizeof a);
    aioc_json_close(&doc);
    aioc_mem_buffer_free(&memory, &line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    unsigned nth = fuzz_knob(&in) % 10;
    size_t len = in.len, at;
    char *text = fuzz_copy(fuzz_rest(&in));
    const char *error;
    aiocosmos_json_doc doc;
    int parsed, checked = aioc_json_check(text, len, NULL, 0, NULL, &error, &at);
    memory = fuzz_memory(nth);
    memset(&out, 0, sizeof out);
    aioc_json_open(&doc, &memory);
    parsed = aioc_json_parse(&doc, text, len);
    if (parsed == AIOCOSMOS_E_NOMEM) {
        CHECK(nth > 0);
        heap_recover(&heap);
        parsed = aioc_json_parse(&doc, text, len);
    }
    heap_recover(&heap);
    CHECK_INT(parsed, checked);
    CHECK_STR(doc.error, error);
    CHECK_INT(doc.error_at, at);
    CHECK(at <= len);
    if (parsed == 0) {
        CHECK_INT(check_values(aioc_json_root(&doc), len % 2) > 0, true);
        check_ascii(aioc_json_root(&doc), text, len);
    } else {
        CHECK(error != NULL);
    }
    aioc_json_close(&doc);
    aioc_mem_buffer_free(&memory, &out);
    fuzz_close(&memory);
    free(text);
    return 0;
}
