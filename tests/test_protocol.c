/* The protocol layer alone: names, paths, partition keys and their hashes, session tokens, messages. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include <ctype.h>
#include "heap.h"
#include "texts.h"

#include <stdlib.h>

static char *at_of(aiocosmos_str text, size_t at)
{
    return (char *)(uintptr_t)text.ptr + at;
}

/*--- Values and vectors ------------------------------------------------------------*/

static aiocosmos_value value_of(int type)
{
    aiocosmos_value v;
    memset(&v, 0, sizeof v);
    v.type = (uint8_t)type;
    return v;
}

static aiocosmos_value string(const char *text, size_t len)
{
    aiocosmos_value v = value_of(AIOCOSMOS_VALUE_STR);
    v.str = text;
    v.len = len;
    return v;
}

static aiocosmos_value text_value(const char *text)
{
    return string(text, strlen(text));
}

static aiocosmos_value json(const char *text)
{
    aiocosmos_value v = text_value(text);
    v.type = AIOCOSMOS_VALUE_JSON;
    return v;
}

static aiocosmos_value number(double f64)
{
    aiocosmos_value v = value_of(AIOCOSMOS_VALUE_F64);
    v.f64 = f64;
    return v;
}

static aiocosmos_value integer(int64_t i64)
{
    aiocosmos_value v = value_of(AIOCOSMOS_VALUE_I64);
    v.i64 = i64;
    return v;
}

static aiocosmos_pk key(aiocosmos_value a, aiocosmos_value b, aiocosmos_value c)
{
    aiocosmos_pk pk;
    pk.level[0] = a;
    pk.level[1] = b;
    pk.level[2] = c;
    return pk;
}

static aiocosmos_pk key1(aiocosmos_value a)
{
    return key(a, value_of(AIOCOSMOS_VALUE_UNSET), value_of(AIOCOSMOS_VALUE_UNSET));
}

typedef struct vectors {
    aioc_mem memory;
    aiocosmos_json_doc doc;
    char *text, room[16384];
    size_t used;
    aiocosmos_json cases;
} vectors;

static vectors *vectors_open(const char *path)
{
    FILE *file = fopen(path, "rb");
    vectors *v = calloc(1, sizeof *v);
    size_t len;
    CHECK(file != NULL);
    v->text = malloc(1 << 20);
    len = fread(v->text, 1, 1 << 20, file);
    fclose(file);
    aioc_mem_init(&v->memory, NULL, 64u << 20);
    aioc_json_open(&v->doc, &v->memory);
    CHECK_INT(aioc_json_parse(&v->doc, v->text, len), 0);
    v->cases = aioc_json_at(aioc_json_root(&v->doc), "/cases");
    CHECK(aioc_json_count(v->cases) > 0);
    return v;
}

static void vectors_close(vectors *v)
{
    aioc_json_close(&v->doc);
    aioc_mem_close(&v->memory);
    free(v->text);
    free(v);
}

/* The next row; what field() returned of the one before is gone. */
static bool next_row(vectors *v, aiocosmos_json *row)
{
    v->used = 0;
    return aioc_json_next(v->cases, NULL, row);
}

static aiocosmos_str unescaped(vectors *v, aiocosmos_json value)
{
    size_t room = sizeof v->room - v->used, len = aioc_json_get_str(value, v->room + v->used, room);
    aiocosmos_str text = view(v->room + v->used, len);
    CHECK(len < room);
    v->used += len + 1;
    return text;
}

static aiocosmos_str field(vectors *v, aiocosmos_json object, const char *pointer)
{
    return unescaped(v, aioc_json_at(object, pointer));
}

/* A component as the vector files write it: a scalar, {"undefined":true}, {"number":..,"f64_be_hex":..}, {"repeat":..,
 * "count":..}. */
static aiocosmos_value component(vectors *v, aiocosmos_json json_value)
{
    double f64 = 0;
    bool truth = false;
    int64_t count = 0;
    uint64_t bits;
    aiocosmos_value out;
    aiocosmos_str text;
    switch (json_value.type) {
    case AIOCOSMOS_JSON_NULL: return value_of(AIOCOSMOS_VALUE_NULL);
    case AIOCOSMOS_JSON_NUM: CHECK(aioc_json_get_f64(json_value, &f64)); return number(f64);
    case AIOCOSMOS_JSON_STR: text = unescaped(v, json_value); return string(text.ptr, text.len);
    case AIOCOSMOS_JSON_BOOL:
        CHECK(aioc_json_get_bool(json_value, &truth));
        out = value_of(AIOCOSMOS_VALUE_BOOL);
        out.i64 = truth;
        return out;
    default: break;
    }
    CHECK_INT(json_value.type, AIOCOSMOS_JSON_OBJ);
    if (aioc_json_at(json_value, "/undefined").type) return value_of(AIOCOSMOS_VALUE_NONE);
    if (aioc_json_at(json_value, "/f64_be_hex").type) {
        bits = strtoull(field(v, json_value, "/f64_be_hex").ptr, NULL, 16);
        memcpy(&f64, &bits, sizeof f64);
        return number(f64);
    }
    text = field(v, json_value, "/repeat");
    CHECK(aioc_json_get_i64(aioc_json_at(json_value, "/count"), &count) && count > 0);
    v->used--;
    out = string(text.ptr, text.len * (size_t)count);
    while (--count) {
        memcpy(v->room + v->used, text.ptr, text.len);
        v->used += text.len;
    }
    return out;
}

static size_t components_of(vectors *v, aiocosmos_json array, aiocosmos_value out[4])
{
    aiocosmos_json element;
    size_t count = 0;
    memset(&element, 0, sizeof element);
    while (aioc_json_next(array, NULL, &element)) {
        CHECK(count < 4);
        out[count++] = component(v, element);
    }
    return count;
}

/*--- Headers, names, paths -----------------------------------------------------------*/

TEST(the_header_table_is_in_the_order_of_its_names)
{
    const aiocosmos_str *names = aioc_protocol_headers.names;
    size_t i, k;
    CHECK_INT(aioc_protocol_headers.count, AIOC_PROTOCOL_H_COUNT);
    CHECK_STR(names[AIOC_PROTOCOL_H_CHARGE].ptr, "x-ms-request-charge");
    CHECK_STR(names[AIOC_PROTOCOL_H_SESSION].ptr, "x-ms-session-token");
    CHECK_STR(names[AIOC_PROTOCOL_H_ETAG].ptr, "etag");
    CHECK_STR(names[AIOC_PROTOCOL_H_ACTIVITY].ptr, "x-ms-activity-id");
    CHECK_STR(names[AIOC_PROTOCOL_H_SUBSTATUS].ptr, "x-ms-substatus");
    CHECK_STR(names[AIOC_PROTOCOL_H_RETRY_AFTER].ptr, "x-ms-retry-after-ms");
    CHECK_STR(names[AIOC_PROTOCOL_H_CONTINUATION].ptr, "x-ms-continuation");
    CHECK_STR(names[AIOC_PROTOCOL_H_DATE].ptr, "date");
    CHECK_STR(names[AIOC_PROTOCOL_H_CONTENT_TYPE].ptr, "content-type");
    CHECK_STR(names[AIOC_PROTOCOL_H_OWNER_RID].ptr, "x-ms-content-path");
    for (i = 0; i < AIOC_PROTOCOL_H_COUNT; i++) {
        CHECK_INT(names[i].len, strlen(names[i].ptr));
        for (k = 0; k < names[i].len; k++) CHECK_INT(names[i].ptr[k], aioc_mem_lower(names[i].ptr[k]));
    }
}

static void check_id(const char *id, const char *want)
{
    char why[128] = "?";
    bool ok = aioc_protocol_id_ok(id, why, sizeof why);
    CHECK_STR(why, want ? want : "");
    CHECK_INT(ok, want == NULL);
}

TEST(ids_that_cannot_be_addressed_are_refused)
{
    char id[1100];
    check_id("a", NULL);
    check_id("a b+%25'\"<>&=;:@!$*(){}[]|^~`,", NULL);
    check_id(" leading space", NULL);
    check_id("...", NULL);
    check_id("\xC3\xA9\xE6\x97\xA5\xF0\x9F\x98\x80", NULL);
    check_id(NULL, "missing");
    check_id("", "empty");
    check_id("players/1", "'/' at byte 7");
    check_id("a\\b", "'\\' at byte 1");
    check_id("?", "'?' at byte 0");
    check_id("ab#", "'#' at byte 2");
    check_id("a\tb", "control character 9 at byte 1");
    check_id("ab\x7F", "control character 127 at byte 2");
    check_id("ab\r\nx-ms: y", "control character 13 at byte 2");
    check_id("ab ", "a space at the end, byte 2");
    check_id(".", "'.' is a step in a path");
    check_id("..", "'..' is a step in a path");
    check_id("a\xC3", "not UTF-8 at byte 1");
    check_id("a\xED\xA0\x80", "not UTF-8 at byte 1");
    memset(id, 'x', sizeof id);
    id[1023] = 0;
    check_id(id, NULL);
    id[1023] = 'x';
    id[1024] = 0;
    check_id(id, "1024 bytes, at most 1023 are allowed");
    CHECK(!aioc_protocol_id_ok("a/b", NULL, 0));
}

TEST(every_byte_of_an_id_is_judged_wherever_it_stands)
{
    int byte, at;
    for (byte = 1; byte < 128; byte++) {
        for (at = 0; at < 5; at++) {
            char id[6] = "abcde", why[64];
            bool bad = byte < 32 || byte == 127 || strchr("/\\?#", byte) || (byte == ' ' && at == 4);
            id[at] = (char)byte;
            CHECK_INT(aioc_protocol_id_ok(id, why, sizeof why), !bad);
        }
    }
}

/* In its quotes, of any length: what the short way lets through is an id. */
TEST(a_plain_id_is_an_id)
{
    static const size_t lens[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 40};
    char quoted[1200], id[1100], why[64];
    size_t i, at;
    int byte;
    for (i = 0; i < COUNT(lens); i++) {
        for (at = 0; at < lens[i]; at++) {
            for (byte = 1; byte < 256; byte++) {
                bool plain;
                memset(id, 'x', sizeof id);
                id[at] = (char)byte;
                id[lens[i]] = 0;
                snprintf(quoted, sizeof quoted, "\"%s\"", id);
                plain = aioc_protocol_id_is_plain(quoted + 1, lens[i]);
                CHECK(!plain || aioc_protocol_id_ok(id, why, sizeof why));
                if (lens[i] > 2 && byte < 128 && (isalnum(byte) || strchr("-_.~:;,=+*()", byte))) CHECK(plain);
            }
        }
    }
    memset(quoted, 'x', sizeof quoted);
    quoted[1023] = quoted[1024] = '"';
    CHECK(aioc_protocol_id_is_plain(quoted, 1023));
    quoted[1023] = 'x';
    CHECK(!aioc_protocol_id_is_plain(quoted, 1024));
    CHECK(!aioc_protocol_id_is_plain("..\"", 2));
}

TEST(names_are_counted_in_utf16_units)
{
    char name[1200] = "", why[128];
    int i;
    for (i = 0; i < 255; i++) strcat(name, "\xE6\x97\xA5");
    CHECK(aioc_protocol_name_ok(name, why, sizeof why));
    name[765] = 'x';
    name[766] = 0;
    CHECK(!aioc_protocol_name_ok(name, why, sizeof why));
    CHECK_STR(why, "256 characters, at most 255 are allowed");
    name[0] = 0;
    for (i = 0; i < 127; i++) strcat(name, "\xF0\x9F\x98\x80");
    strcat(name, "x");
    CHECK(aioc_protocol_name_ok(name, why, sizeof why));
    strcat(name, "y");
    CHECK(!aioc_protocol_name_ok(name, why, sizeof why));
    CHECK_STR(why, "256 characters, at most 255 are allowed");
    CHECK(!aioc_protocol_name_ok("a/b", why, sizeof why));
    CHECK_STR(why, "'/' at byte 1");
}

static void check_path(const char *link, const char *want)
{
    aioc_mem memory;
    aioc_mem_buffer path = {NULL, 0, 0};
    heap_state r;
    memory = rationed(&r, 100);
    CHECK(aioc_protocol_append_path(&memory, &path, str(link)));
    CHECK_TEXT(path.data, path.len, want);
    aioc_mem_buffer_free(&memory, &path);
    CHECK_INT(r.blocks, 0);
}

TEST(paths_have_each_segment_percent_encoded)
{
    check_path("", "/");
    check_path("dbs", "/dbs");
    check_path("dbs/MyDb/colls/MyColl", "/dbs/MyDb/colls/MyColl");
    check_path("dbs/d/colls/c/docs/item 1", "/dbs/d/colls/c/docs/item%201");
    check_path("dbs/d/colls/c/docs/Id+%25", "/dbs/d/colls/c/docs/Id%2B%2525");
    check_path("dbs/d/colls/c/docs/\xC3\xA9\xE6\x97\xA5", "/dbs/d/colls/c/docs/%C3%A9%E6%97%A5");
}

/*--- Partition keys as text --------------------------------------------------------------*/

static void check_pk(aiocosmos_pk pk, int status, const char *want)
{
    heap_state r;
    aioc_mem memory = rationed(&r, 100);
    aioc_mem_buffer text = {NULL, 0, 0};
    char why[256] = "";
    CHECK(aioc_mem_append_str(&memory, &text, "k: "));
    CHECK_INT(aioc_protocol_pk_text(&memory, &text, &pk, why, sizeof why), status);
    if (status == 0) CHECK_TEXT(text.data + 3, text.len - 3, want);
    else CHECK_STR(why, want);
    if (status < 0) CHECK_INT(text.len, 3);
    aioc_mem_buffer_free(&memory, &text);
    CHECK_INT(r.blocks, 0);
}

TEST(every_partition_key_header_vector_is_written)
{
    vectors *v = vectors_open("tests/vectors/partition-key-header.json");
    aiocosmos_json row;
    size_t rows = 0;
    memset(&row, 0, sizeof row);
    while (next_row(v, &row)) {
        aiocosmos_value levels[4];
        size_t i, count = components_of(v, aioc_json_at(row, "/components"), levels);
        aiocosmos_str want = field(v, row, "/header");
        CHECK(count <= 3);
        for (i = count; i < 3; i++) levels[i] = value_of(AIOCOSMOS_VALUE_UNSET);
        if (count) check_pk(key(levels[0], levels[1], levels[2]), 0, want.ptr);
        else CHECK_STR(want.ptr, "[]");      /* of a system key, which only the operation layer knows of */
        rows++;
    }
    CHECK_INT(rows, 19);
    vectors_close(v);
}

TEST(partition_keys_of_every_type_are_written)
{
    aiocosmos_value yes = value_of(AIOCOSMOS_VALUE_BOOL), unset = value_of(AIOCOSMOS_VALUE_UNSET);
    char large[2048];
    yes.i64 = 1;
    check_pk(key1(integer(INT64_C(9007199254740992))), 0, "[9007199254740992]");
    check_pk(key1(integer(-INT64_C(9007199254740992))), 0, "[-9007199254740992]");
    check_pk(key1(number(0.1)), 0, "[0.1]");
    check_pk(key1(number(-0.0)), 0, "[0]");
    check_pk(key1(number(5)), 0, "[5]");
    check_pk(key(yes, value_of(AIOCOSMOS_VALUE_BOOL), value_of(AIOCOSMOS_VALUE_NULL)), 0, "[true,false,null]");
    check_pk(key(value_of(AIOCOSMOS_VALUE_NONE), text_value(""), unset), 0, "[{},\"\"]");
    check_pk(key1(string("a\0b", 3)), 0, "[\"a\\u0000b\"]");
    check_pk(key1(json("\"a\\u00e9\"")), 0, "[\"a\\u00e9\"]");
    check_pk(key1(json("\"a\"")), 0, "[\"a\"]");
    check_pk(key1(json(" \"a\"\t")), 0, "[\"a\"]");
    check_pk(key1(json("\"\"")), 0, "[\"\"]");
    check_pk(key1(json("\"")), AIOCOSMOS_E_ARGUMENT, "level 1: not JSON at byte 1: a closing quote is expected");
    check_pk(key1(json("\"a\"b\"")), AIOCOSMOS_E_ARGUMENT, "level 1: not JSON at byte 3: nothing may follow the value");
    check_pk(key1(json("\"a\\\"")), AIOCOSMOS_E_ARGUMENT, "level 1: not JSON at byte 4: a closing quote is expected");
    check_pk(key1(json("1.50e2")), 0, "[1.50e2]");
    check_pk(key1(json("\r\n\r\n 5 \t\n")), 0, "[5]");      /* would end the header, or all of them */
    check_pk(key(json("true"), json("null"), json("\"x\"")), 0, "[true,null,\"x\"]");
    memset(large, 'x', sizeof large);
    {
        heap_state r;
        aioc_mem memory = rationed(&r, 100);
        aioc_mem_buffer text = {NULL, 0, 0};
        aiocosmos_pk pk = key1(string(large, sizeof large));
        char why[64];
        CHECK_INT(aioc_protocol_pk_text(&memory, &text, &pk, why, sizeof why), 0);
        CHECK_INT(text.len, 2048 + 4);
        aioc_mem_buffer_free(&memory, &text);
    }
}

TEST(a_json_string_as_a_key_becomes_ascii)
{
    check_pk(key1(json("\"\xC3\xA9\xF0\x9F\x98\x80\"")), 0, "[\"\\u00e9\\ud83d\\ude00\"]");
}

TEST(bad_partition_keys_say_what_is_wrong_and_where)
{
    char large[3000];
    aiocosmos_value unset = value_of(AIOCOSMOS_VALUE_UNSET), a = text_value("a");
    double zero = 0;
    check_pk(key(unset, unset, unset), AIOCOSMOS_E_ARGUMENT, "no partition key is given");
    check_pk(key(unset, a, unset), AIOCOSMOS_E_ARGUMENT, "level 1: not set, but a later one is");
    check_pk(key(a, unset, a), AIOCOSMOS_E_ARGUMENT, "level 2: not set, but a later one is");
    check_pk(key1(number(0 / zero)), AIOCOSMOS_E_ARGUMENT, "level 1: NaN and infinities are not JSON");
    check_pk(key(a, number(1 / zero), unset), AIOCOSMOS_E_ARGUMENT, "level 2: NaN and infinities are not JSON");
    check_pk(key1(number(-1 / zero)), AIOCOSMOS_E_ARGUMENT, "level 1: NaN and infinities are not JSON");
    check_pk(key1(integer(INT64_C(9007199254740993))), AIOCOSMOS_E_ARGUMENT,
             "level 1: 9007199254740993 is beyond 2^53, where doubles skip integers: use a string");
    check_pk(key1(integer(INT64_MIN)), AIOCOSMOS_E_ARGUMENT,
             "level 1: -9223372036854775808 is beyond 2^53, where doubles skip integers: use a string");
    check_pk(key1(json("9007199254740993")), AIOCOSMOS_E_ARGUMENT,
             "level 1: 9007199254740993 is beyond 2^53, where doubles skip integers: use a string");
    check_pk(key1(json("100000000000000000000")), AIOCOSMOS_E_ARGUMENT,
             "level 1: 100000000000000000000 is beyond 2^53, where doubles skip integers: use a string");
    check_pk(key1(json("-9007199254740993")), AIOCOSMOS_E_ARGUMENT,
             "level 1: -9007199254740993 is beyond 2^53, where doubles skip integers: use a string");
    check_pk(key1(json("-12345678901234567890123456789012345678901234567890")), AIOCOSMOS_E_ARGUMENT,
             "level 1: -123456789012345678901234567890123456789 is beyond 2^53, where doubles skip integers: use a "
             "string");
    check_pk(key1(json("-9007199254740992")), 0, "[-9007199254740992]");
    check_pk(key1(json("1e300")), 0, "[1e300]");
    check_pk(key1(string("ab\xFF", 3)), AIOCOSMOS_E_ARGUMENT, "level 1: not UTF-8 at byte 2");
    memset(large, 'x', sizeof large);
    check_pk(key1(string(large, 2049)), AIOCOSMOS_E_ARGUMENT, "level 1: 2049 bytes, at most 2048 are allowed");
    large[0] = '"';
    large[2050] = '"';
    large[2051] = 0;
    check_pk(key1(json(large)), AIOCOSMOS_E_ARGUMENT, "level 1: 2049 bytes, at most 2048 are allowed");
    check_pk(key1(json("{}")), AIOCOSMOS_E_ARGUMENT, "level 1: an object cannot be a key");
    check_pk(key1(json(" [1]")), AIOCOSMOS_E_ARGUMENT, "level 1: an array cannot be a key");
    check_pk(key1(json("")), AIOCOSMOS_E_ARGUMENT, "level 1: not JSON at byte 0: a value is expected");
    check_pk(key1(json("1e999")), AIOCOSMOS_E_ARGUMENT, "level 1: a number beyond the range of doubles");
    check_pk(key1(value_of(99)), AIOCOSMOS_E_ARGUMENT, "level 1: a value of no known type");
}

TEST(json_that_is_not_json_is_no_key)
{
    static const char *const bad[] = {"x", "\"a", "a\"", "1 2", "1,2", "\"a\",\"b\"", "tru", "nul", "-", "01",
                                      "\"\\x\"", "]", "\"\r\nx: y\"", "1]\r\nx: y"};
    size_t i;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        heap_state r;
        aioc_mem memory = rationed(&r, 100);
        aioc_mem_buffer text = {NULL, 0, 0};
        aiocosmos_pk pk = key1(json(bad[i]));
        char why[256] = "";
        if (aioc_protocol_pk_text(&memory, &text, &pk, why, sizeof why) != AIOCOSMOS_E_ARGUMENT)
            test_fail(__FILE__, __LINE__, "accepted: %s", bad[i]);
        if (strncmp(why, "level 1: not JSON at byte ", 26) != 0) test_fail(__FILE__, __LINE__, "%s: %s", bad[i], why);
        aioc_mem_buffer_free(&memory, &text);
    }
}

/* Appends a random character to UTF-8 text. */
static size_t random_character(char *out)
{
    static const char *const some[] = {"a", "Z", "0", " ", "\"", "\\", "/", "\n", "\x01", "\x7F", "\xC2\x80",
                                       "\xC3\xA9", "\xDF\xBF", "\xE0\xA0\x80", "\xE6\x97\xA5", "\xEF\xBF\xBF",
                                       "\xF0\x90\x80\x80",
                                       "\xF4\x8F\xBF\xBF", ",", "]", "[", "{}", ":"};
    const char *one = some[random_number() % (sizeof some / sizeof some[0])];
    memcpy(out, one, strlen(one));
    return strlen(one);
}

static aiocosmos_value random_value(char *room)
{
    aiocosmos_value v;
    size_t len = 0, i;
    uint64_t bits;
    switch (random_number() % 6) {
    case 0: return value_of(AIOCOSMOS_VALUE_NULL);
    case 1: return value_of(AIOCOSMOS_VALUE_NONE);
    case 2:
        v = value_of(AIOCOSMOS_VALUE_BOOL);
        v.i64 = (int64_t)(random_number() % 2);
        return v;
    case 3: return integer((int64_t)(random_number() >> 11) - (INT64_C(1) << 52));
    case 4:
        do {
            bits = random_number();
            v = value_of(AIOCOSMOS_VALUE_F64);
            memcpy(&v.f64, &bits, sizeof bits);
        } while (v.f64 - v.f64 != 0);
        return v;
    default:
        for (i = random_number() % 12; i > 0; i--) len += random_character(room + len);
        return string(room, len);
    }
}

/* As the text of a key gives it back: all numbers are doubles. */
static aiocosmos_value as_component(aiocosmos_value value)
{
    return value.type == AIOCOSMOS_VALUE_I64 ? number((double)value.i64) : value;
}

static void check_same_key(const aiocosmos_value *got, const aiocosmos_value *want)
{
    if (want->type == AIOCOSMOS_VALUE_I64 || want->type == AIOCOSMOS_VALUE_F64) {
        double expected = want->type == AIOCOSMOS_VALUE_I64 ? (double)want->i64 : want->f64;
        CHECK_INT(got->type, AIOCOSMOS_VALUE_F64);
        CHECK(got->f64 == expected);
        return;
    }
    CHECK_INT(got->type, want->type);
    CHECK_INT(got->i64, want->i64);
    CHECK_INT(got->len, want->len);
    if (want->len) CHECK_MEM(got->str, want->str, want->len);
}

TEST(keys_come_back_from_their_text)
{
    int round;
    seed = 55;
    for (round = 0; round < 20000; round++) {
        char rooms[3][64], why[128], epk[AIOC_PROTOCOL_EPK_MAX], again[AIOC_PROTOCOL_EPK_MAX];
        size_t i, count = 1 + random_number() % 3, got = 0, len, len_again;
        aiocosmos_value components[3];
        aiocosmos_pk pk = key1(random_value(rooms[0]));
        aioc_protocol_pk_def def = {AIOC_PROTOCOL_MULTI_HASH, 2, 3, false};
        aioc_mem_buffer text = {NULL, 0, 0}, texts = {NULL, 0, 0};
        heap_state r;
        aioc_mem memory = rationed(&r, 1000);
        for (i = 1; i < count; i++) pk.level[i] = random_value(rooms[i]);
        CHECK_INT(aioc_protocol_pk_text(&memory, &text, &pk, why, sizeof why), 0);
        for (i = 0; i < text.len; i++) CHECK(text.data[i] >= ' ' && text.data[i] < 127);
        CHECK(aioc_protocol_pk_components(&memory, &texts, view(text.data, text.len), components, &got));
        CHECK_INT(got, count);
        for (i = 0; i < count; i++) check_same_key(&components[i], &pk.level[i]);
        for (i = 0; i < count; i++) pk.level[i] = as_component(pk.level[i]);
        CHECK(aioc_protocol_epk(&def, pk.level, count, epk, &len));
        CHECK(aioc_protocol_epk(&def, components, count, again, &len_again));
        CHECK_STR(epk, again);
        aioc_mem_buffer_free(&memory, &text);
        aioc_mem_buffer_free(&memory, &texts);
        CHECK_INT(r.blocks, 0);
    }
}

static bool reads_as_key(aiocosmos_str text, size_t *count)
{
    aioc_mem_buffer texts = {NULL, 0, 0};
    aiocosmos_value components[3];
    heap_state r;
    aioc_mem memory = rationed(&r, 1000);
    bool ok = aioc_protocol_pk_components(&memory, &texts, text, components, count);
    CHECK(*count <= 3);
    aioc_mem_buffer_free(&memory, &texts);
    CHECK_INT(r.blocks, 0);
    return ok;
}

TEST(key_texts_from_elsewhere_are_read_or_refused)
{
    static const struct { const char *text; int count; } rows[] = {
        {"[]", 0}, {" [ ] ", 0}, {"[{}]", 1}, {"[\"a\"]", 1}, {"[ \"a\" , 5 ]", 2}, {"[\"a,]\\\"\",5,null]", 3},
        {"[1,2,3,4]", -1}, {"", -1}, {"5", -1}, {"{}", -1}, {"[", -1}, {"[1", -1}, {"[1,]", -1}, {"[[1]]", -1},
        {"[{\"a\":1}]", -1}, {"[\"a\"] x", -1}, {"[1e999]", -1}, {"[tru]", -1}, {"[,]", -1}};
    size_t i, count;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        aiocosmos_str text = tight(str(rows[i].text));
        bool ok = reads_as_key(text, &count);
        if (ok != (rows[i].count >= 0)) test_fail(__FILE__, __LINE__, "%s: %d", rows[i].text, ok);
        if (ok) CHECK_INT(count, rows[i].count);
        loosen(text);
    }
}

TEST(key_texts_cut_and_changed_anywhere)
{
    const char *good = "[\"a\\u00e9,\\\"]\",-1.5e3,{}]";
    aiocosmos_str whole = tight(str(good));
    size_t cut, count;
    int byte;
    for (cut = 0; cut < whole.len; cut++) {
        char was = whole.ptr[cut];
        aiocosmos_str part = tight(view(whole.ptr, cut));
        CHECK(!reads_as_key(part, &count));
        loosen(part);
        for (byte = 0; byte < 256; byte++) {
            *at_of(whole, cut) = (char)byte;
            reads_as_key(whole, &count);
        }
        *at_of(whole, cut) = was;
    }
    CHECK(reads_as_key(whole, &count));
    CHECK_INT(count, 3);
    loosen(whole);
}

TEST(without_memory_keys_and_paths_fail_and_leave_the_buffer)
{
    aiocosmos_pk pk = key(text_value("tenant \xC3\xA9"), number(1.5),
                          json("\"a somewhat longer string to grow the buffer by\""));
    unsigned long calls;
    bool finished = false;
    for (calls = 0; !finished && calls < 50; calls++) {
        aioc_mem_buffer text = {NULL, 0, 0}, texts = {NULL, 0, 0};
        aiocosmos_value components[3];
        char why[128];
        size_t count;
        heap_state r;
        aioc_mem memory = rationed(&r, calls);
        int status = aioc_protocol_pk_text(&memory, &text, &pk, why, sizeof why);
        CHECK(status == 0 || status == AIOCOSMOS_E_NOMEM);
        if (status < 0) CHECK_INT(text.len, 0);
        finished = status == 0 &&
                   aioc_protocol_pk_components(&memory, &texts, view(text.data, text.len), components, &count);
        if (finished) CHECK_INT(count, 3);
        aioc_mem_buffer_free(&memory, &text);
        aioc_mem_buffer_free(&memory, &texts);
        CHECK_INT(r.blocks, 0);
    }
    CHECK(finished && calls > 2);
    {
        heap_state r;
        aioc_mem memory = rationed(&r, 0);
        aioc_mem_buffer path = {NULL, 0, 0};
        CHECK(!aioc_protocol_append_path(&memory, &path, str("dbs/a")));
        CHECK_INT(path.len, 0);
        CHECK(!aioc_protocol_append_path(&memory, &path, view("", SIZE_MAX / 2)));
    }
}

/*--- Keys of documents -------------------------------------------------------------------*/

static void check_document(const char *document, const char *path_a, const char *path_b, int status, const char *want)
{
    aiocosmos_json_doc doc;
    aiocosmos_str paths[2];
    aiocosmos_json id;
    aiocosmos_pk pk;
    char why[400] = "";
    heap_state r;
    aioc_mem memory = rationed(&r, 1000);
    int got;
    paths[0] = str(path_a);
    paths[1] = str(path_b);
    aioc_json_open(&doc, &memory);
    CHECK_INT(aioc_json_parse(&doc, document, strlen(document)), 0);
    got = aioc_protocol_pk_from_document(aioc_json_root(&doc), paths, path_b ? 2 : 1, &id, &pk, why, sizeof why);
    CHECK_INT(got, status);
    if (status == 0) check_pk(pk, 0, want);
    else CHECK_STR(why, want);
    aioc_json_close(&doc);
    CHECK_INT(r.blocks, 0);
}

TEST(the_key_of_a_document_is_found_by_the_paths_of_its_container)
{
    const char *document = "{\"id\":\"1\",\"a\":{\"b\":\"x\\u00e9\",\"n\":null,\"f\":1.50},"
                           "\"a b\":{\"c\":7,\"d'e\":8,\"f\\\"g\":9},"
                           "\"t\":true,\"arr\":[1,2],\"a/b\":6,\"\xE6\x97\xA5\":5}";
    check_document(document, "/id", NULL, 0, "[\"1\"]");
    check_document(document, "/a/b", NULL, 0, "[\"x\\u00e9\"]");
    check_document(document, "/a/n", NULL, 0, "[null]");
    check_document(document, "/a/f", "/t", 0, "[1.50,true]");
    check_document(document, "/\"a b\"/c", NULL, 0, "[7]");
    check_document(document, "/'a b'/\"d'e\"", NULL, 0, "[8]");
    check_document(document, "/\"a b\"/\"f\\\"g\"", NULL, 0, "[9]");
    check_document(document, "/a b/c", NULL, 0, "[7]");
    check_document(document, "/\"a/b\"", NULL, 0, "[6]");
    check_document(document, "/\xE6\x97\xA5", NULL, 0, "[5]");
    check_document(document, "/missing", NULL, 0, "[{}]");
    check_document(document, "/missing/deeper", "/id", 0, "[{},\"1\"]");
    check_document(document, "/id/deeper", NULL, 0, "[{}]");
    check_document(document, "/arr/0", NULL, 0, "[{}]");       /* paths do not go through arrays */
    check_document(document, "/a", NULL, AIOCOSMOS_E_ARGUMENT,
                   "the partition key path /a leads to an object or array, which cannot be a key");
    check_document(document, "/id", "/arr", AIOCOSMOS_E_ARGUMENT,
                   "the partition key path /arr leads to an object or array, which cannot be a key");
    check_document("[1]", "/id", NULL, AIOCOSMOS_E_ARGUMENT, "required: the item, a JSON object");
}

TEST(a_path_with_a_nul_is_no_path)
{
    aiocosmos_str path = view("/a\0b", 4);
    aiocosmos_json id;
    aiocosmos_pk pk;
    char why[64];
    CHECK_INT(aioc_protocol_pk_from_document(aioc_protocol_scalar(str("{}")), &path, 1, &id, &pk, why, sizeof why),
              AIOCOSMOS_E_ARGUMENT);
}

TEST(malformed_key_paths_are_refused)
{
    static const char *const bad[] = {"", "/", "a", "ab", "a/b", "//", "//a", "/a//b", "/a/", "/\"a", "/\"a\"b",
                                      "/\"\"", "/'a\"", "/\"a\\", "/\"a\\\"", "/\"", "/'"};
    size_t i, cut;
    const char *path = "/\"a b\"/'c'/de";
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char want[64];
        snprintf(want, sizeof want, "the partition key path %s is malformed", bad[i]);
        check_document("{\"a\":{\"b\":1}}", bad[i], NULL, AIOCOSMOS_E_ARGUMENT, want);
    }
    for (cut = 0; cut <= strlen(path); cut++) {
        aiocosmos_str part = tight(view(path, cut)), rest = part;
        char name[8];
        while (rest.len && aioc_protocol_path_step(&rest, name, sizeof name)) CHECK(strlen(name) > 0);
        loosen(part);
    }
    {
        char name[4];
        aiocosmos_str rest = str("/abc");
        CHECK(aioc_protocol_path_step(&rest, name, sizeof name));
        CHECK_STR(name, "abc");
        rest = str("/abcd");
        CHECK(!aioc_protocol_path_step(&rest, name, sizeof name));
    }
}

/*--- Hashes and effective partition keys ---------------------------------------------------*/

static size_t from_hex(aiocosmos_str hex, unsigned char *out)
{
    size_t i;
    for (i = 0; i + 1 < hex.len; i += 2) {
        char two[3] = {hex.ptr[i], hex.ptr[i + 1], 0};
        out[i / 2] = (unsigned char)strtoul(two, NULL, 16);
    }
    return hex.len / 2;
}

TEST(every_murmur3_vector)
{
    vectors *v = vectors_open("tests/vectors/murmur3.json");
    aiocosmos_json row;
    size_t rows = 0;
    memset(&row, 0, sizeof row);
    while (next_row(v, &row)) {
        unsigned char input[4096];
        size_t len = from_hex(field(v, row, "/input_hex"), input);
        unsigned char *bytes = malloc(len ? len : 1);
        uint64_t hash[2];
        char got[40];
        memcpy(bytes, input, len);
        snprintf(got, sizeof got, "%08lX", (unsigned long)aioc_protocol_murmur3_32(bytes, len));
        CHECK_STR(got, field(v, row, "/murmur3_32").ptr);
        aioc_protocol_murmur3_128(bytes, len, hash);
        snprintf(got, sizeof got, "%016llX", (unsigned long long)hash[0]);
        CHECK_STR(got, field(v, row, "/murmur3_128_h1").ptr);
        snprintf(got, sizeof got, "%016llX", (unsigned long long)hash[1]);
        CHECK_STR(got, field(v, row, "/murmur3_128_h2").ptr);
        snprintf(got, sizeof got, "%016llX%016llX", (unsigned long long)hash[1], (unsigned long long)hash[0]);
        CHECK_STR(got, field(v, row, "/v2_unmasked").ptr);
        snprintf(got, sizeof got, "%016llX%016llX", (unsigned long long)(hash[1] & (UINT64_MAX >> 2)),
                 (unsigned long long)hash[0]);
        CHECK_STR(got, field(v, row, "/v2_epk").ptr);
        free(bytes);
        rows++;
    }
    CHECK_INT(rows, 39);
    vectors_close(v);
}

TEST(every_partition_key_hash_vector)
{
    vectors *v = vectors_open("tests/vectors/partition-key-hash.json");
    aiocosmos_json row;
    size_t rows = 0;
    memset(&row, 0, sizeof row);
    while (next_row(v, &row)) {
        aiocosmos_value components[4];
        int64_t version = 0;
        size_t count = components_of(v, aioc_json_at(row, "/components"), components), len = 0;
        aioc_protocol_pk_def def = {AIOC_PROTOCOL_HASH, 0, (uint8_t)count, false};
        char epk[AIOC_PROTOCOL_EPK_MAX];
        CHECK(aioc_json_get_i64(aioc_json_at(row, "/version"), &version));
        def.version = (uint8_t)version;
        if (aioc_json_is_str(aioc_json_at(row, "/kind"), "MultiHash")) def.kind = AIOC_PROTOCOL_MULTI_HASH;
        if (count <= 3) {
            CHECK(aioc_protocol_epk(&def, components, count, epk, &len));
            CHECK_TEXT(epk, len, field(v, row, "/epk").ptr);
            CHECK_INT(strlen(epk), len);
        } else {                             /* no container has four levels; the hash itself does not mind */
            unsigned char bytes[AIOC_PROTOCOL_EPK_BYTES];
            if (version == 1) CHECK(aioc_protocol_epk_v1(components, count, bytes, &len));
            if (version == 2) {
                unsigned char text[64];
                uint64_t hash[2];
                size_t i, size = 0;
                for (i = 0; i < count; i++) size += aioc_protocol_hashed_form(&components[i], 0xFF, text + size);
                aioc_protocol_murmur3_128(text, size, hash);
                for (i = 0; i < 16; i++) bytes[i] = (unsigned char)(hash[1 - i / 8] >> (56 - 8 * (i % 8)));
                bytes[0] &= 0x3F;
                len = 16;
            }
            len = aioc_protocol_hex(bytes, len, epk);
            CHECK_TEXT(epk, len, field(v, row, "/epk").ptr);
        }
        rows++;
    }
    CHECK_INT(rows, 117);
    vectors_close(v);
}

/* The raw baselines hash what V1 cuts and what V2 masks, and -0 as it is: so the form is built here, by hand. */
static size_t raw_form(aiocosmos_value value, unsigned char end, unsigned char *out)
{
    uint64_t bits;
    int i;
    if (value.type != AIOCOSMOS_VALUE_F64) return aioc_protocol_hashed_form(&value, end, out);
    memcpy(&bits, &value.f64, 8);
    out[0] = 5;
    for (i = 0; i < 8; i++) out[i + 1] = (unsigned char)(bits >> (8 * i));
    return 9;
}

static aiocosmos_value from_bits(uint64_t bits)
{
    aiocosmos_value v = number(0);
    memcpy(&v.f64, &bits, sizeof bits);
    return v;
}

TEST(every_raw_hash_baseline)
{
    vectors *v = vectors_open("tests/vectors/partition-key-hash-raw-baseline.json");
    aiocosmos_json row;
    size_t rows = 0;
    memset(&row, 0, sizeof row);
    while (next_row(v, &row)) {
        aiocosmos_json inner = aioc_json_at(row, "/value");
        aiocosmos_json_doc doc;
        aiocosmos_value components[4];
        size_t i, count = 1, len;
        unsigned char form[4096];
        char v1[100] = "", v2[100] = "";
        aioc_json_open(&doc, &v->memory);
        if (inner.type == AIOCOSMOS_JSON_OBJ) {
            components[0] = component(v, inner);
        } else {                             /* JSON inside a string, or the word UNDEFINED */
            aiocosmos_str text = unescaped(v, inner);
            if (strcmp(text.ptr, "UNDEFINED") == 0) components[0] = value_of(AIOCOSMOS_VALUE_NONE);
            else {
                CHECK_INT(aioc_json_parse(&doc, text.ptr, text.len), 0);
                inner = aioc_json_root(&doc);
                if (inner.type == AIOCOSMOS_JSON_ARR) count = components_of(v, inner, components);
                else components[0] = component(v, inner);
                if (strcmp(text.ptr, "\"Infinity\"") == 0) components[0] = from_bits(UINT64_C(0x7FF) << 52);
                if (strcmp(text.ptr, "\"-Infinity\"") == 0) components[0] = from_bits(UINT64_C(0xFFF) << 52);
                if (strcmp(text.ptr, "\"NaN\"") == 0) components[0] = from_bits(UINT64_C(0x1FFF) << 51);    /* .NET's */
            }
        }
        for (i = 0; i < count; i++) {
            uint64_t hash[2];
            len = raw_form(components[i], 0x00, form);
            snprintf(v1 + 32 * i, 33, "%032lX", (unsigned long)aioc_protocol_murmur3_32(form, len));
            len = raw_form(components[i], 0xFF, form);
            aioc_protocol_murmur3_128(form, len, hash);
            snprintf(v2 + 32 * i, 33, "%016llX%016llX", (unsigned long long)hash[1], (unsigned long long)hash[0]);
        }
        CHECK_STR(v1, field(v, row, "/v1_raw_untruncated").ptr);
        CHECK_STR(v2, field(v, row, "/v2_raw_unmasked").ptr);
        aioc_json_close(&doc);
        rows++;
    }
    CHECK_INT(rows, 29);
    vectors_close(v);
}

TEST(v1_strings_beyond_ascii_and_a_hundred_bytes_are_left_to_the_service)
{
    vectors *v = vectors_open("tests/vectors/partition-key-hash-v1-nonascii.json");
    aiocosmos_json row;
    size_t rows = 0, hashed = 0;
    memset(&row, 0, sizeof row);
    while (next_row(v, &row)) {
        aiocosmos_value value = component(v, aioc_json_at(row, "/string"));
        aioc_protocol_pk_def def = {AIOC_PROTOCOL_HASH, 1, 1, false};
        char epk[AIOC_PROTOCOL_EPK_MAX];
        size_t len;
        bool known = aioc_protocol_epk(&def, &value, 1, epk, &len);
        CHECK_INT(known, value.len <= 100);
        if (known) {
            CHECK_STR(epk, field(v, row, "/epk_utf16_truncation").ptr);
            hashed++;
        }
        rows++;
    }
    CHECK(rows > hashed && hashed > 0);
    vectors_close(v);
}

TEST(every_epk_range_vector)
{
    vectors *v = vectors_open("tests/vectors/epk-ranges.json");
    aiocosmos_json row;
    size_t rows = 0;
    memset(&row, 0, sizeof row);
    while (next_row(v, &row)) {
        aiocosmos_json op = aioc_json_at(row, "/op");
        char epk[AIOC_PROTOCOL_EPK_MAX + 2];
        size_t len = 0;
        int64_t paths = 0, result = 0;
        if (aioc_json_is_str(op, "compare-length-aware")) {
            aiocosmos_str a = field(v, row, "/a"), b = field(v, row, "/b");
            CHECK(aioc_json_get_i64(aioc_json_at(row, "/result"), &result));
            CHECK_INT(aioc_protocol_epk_compare(a, b), result);
            CHECK_INT(aioc_protocol_epk_compare(b, a), -result);
        } else if (aioc_json_is_str(op, "successor")) {
            aiocosmos_str from = field(v, row, "/epk");
            memcpy(epk, from.ptr, from.len + 1);
            len = from.len;
            aioc_protocol_epk_end(true, epk, &len);
            CHECK_TEXT(epk, len, field(v, row, "/result").ptr);
            CHECK_INT(strlen(epk), len);
        } else {
            bool whole = aioc_json_is_str(op, "full-key-point-range");
            aiocosmos_value components[4];
            size_t count = components_of(v, aioc_json_at(row, "/components"), components);
            aioc_protocol_pk_def def = {AIOC_PROTOCOL_MULTI_HASH, 2, 0, false};
            CHECK(whole || aioc_json_is_str(op, "prefix-range"));
            CHECK(aioc_json_get_i64(aioc_json_at(row, "/paths_in_definition"), &paths));
            def.path_count = (uint8_t)paths;
            CHECK_INT(count == def.path_count, whole);
            CHECK(aioc_protocol_epk(&def, components, count, epk, &len));
            CHECK_TEXT(epk, len, field(v, row, "/min").ptr);
            if (whole) CHECK_TEXT(epk, len, field(v, row, "/max").ptr);           /* there both ends are inclusive */
            aioc_protocol_epk_end(whole, epk, &len);
            if (!whole) CHECK_TEXT(epk, len, field(v, row, "/max").ptr);
            CHECK_INT(strlen(epk), len);
        }
        rows++;
    }
    CHECK_INT(rows, aioc_json_count(v->cases));
    vectors_close(v);
}

TEST(keys_that_cannot_be_hashed_here_are_left_to_the_service)
{
    aioc_protocol_pk_def def = {AIOC_PROTOCOL_HASH, 2, 1, false};
    aiocosmos_value three[3], none = value_of(AIOC_PROTOCOL_HASH);
    char epk[AIOC_PROTOCOL_EPK_MAX], large[2100];
    size_t len = 9;
    memset(large, 'x', sizeof large);
    three[0] = three[1] = three[2] = text_value("a");
    CHECK(!aioc_protocol_epk(&def, three, 0, epk, &len));
    CHECK_INT(len, 0);
    def.kind = AIOC_PROTOCOL_RANGE;
    CHECK(!aioc_protocol_epk(&def, three, 1, epk, &len));
    def.kind = AIOC_PROTOCOL_HASH;
    def.version = 0;
    CHECK(!aioc_protocol_epk(&def, three, 1, epk, &len));
    def.version = 3;
    CHECK(!aioc_protocol_epk(&def, three, 1, epk, &len));
    def.version = 2;
    three[0] = json("1");
    CHECK(!aioc_protocol_epk(&def, three, 1, epk, &len));
    CHECK(!aioc_protocol_epk(&def, &none, 1, epk, &len));
    def.version = 1;
    CHECK(!aioc_protocol_epk(&def, three, 1, epk, &len));
    def.version = 2;
    def.kind = AIOC_PROTOCOL_MULTI_HASH;
    CHECK(!aioc_protocol_epk(&def, three, 1, epk, &len));
    def.kind = AIOC_PROTOCOL_HASH;
    three[0] = string(large, 2049);
    CHECK(!aioc_protocol_epk(&def, three, 1, epk, &len));
    three[0] = string(large, 2048);
    CHECK(aioc_protocol_epk(&def, three, 1, epk, &len));
    def.kind = AIOC_PROTOCOL_MULTI_HASH;
    def.path_count = 2;
    CHECK(aioc_protocol_epk(&def, three, 2, epk, &len));
    CHECK(!aioc_protocol_epk(&def, three, 3, epk, &len));
    def.version = 1;
    def.kind = AIOC_PROTOCOL_HASH;
    CHECK(aioc_protocol_epk(&def, three, 1, epk, &len));           /* ASCII is cut */
    CHECK(len > 2 * 102 && len < AIOC_PROTOCOL_EPK_MAX);
    CHECK_STR(epk + len - 6, "797900");
    three[1] = string(large, 100);
    CHECK(!aioc_protocol_epk(&def, three, 2, epk, &len));          /* V1 never has two levels of that size */
    three[0] = number(1.1);
    CHECK(!aioc_protocol_epk(&def, three, 2, epk, &len));
    CHECK(aioc_protocol_epk(&def, three, 1, epk, &len));
    {
        aiocosmos_value four[4];
        four[0] = four[1] = four[2] = four[3] = string(large, 1500);
        def.version = 2;
        CHECK(!aioc_protocol_epk(&def, four, 4, epk, &len));
        def.kind = AIOC_PROTOCOL_MULTI_HASH;
        def.path_count = 4;
        CHECK(!aioc_protocol_epk(&def, four, 4, epk, &len));
    }
}

TEST(items_from_before_a_container_had_a_key_are_at_the_beginning)
{
    aioc_protocol_pk_def def = {AIOC_PROTOCOL_HASH, 2, 1, true};
    aiocosmos_value value = value_of(AIOCOSMOS_VALUE_NONE);
    char epk[AIOC_PROTOCOL_EPK_MAX] = "x";
    size_t len = 9;
    CHECK(aioc_protocol_epk(&def, NULL, 0, epk, &len));
    CHECK_INT(len, 0);
    CHECK(aioc_protocol_epk(&def, &value, 1, epk, &len));
    CHECK_STR(epk, "");
    value = text_value("");
    CHECK(aioc_protocol_epk(&def, &value, 1, epk, &len));          /* items of today are where they belong */
    CHECK_STR(epk, "32E9366E637A71B4E710384B2F4970A0");
    value = value_of(AIOCOSMOS_VALUE_NONE);
    def.system_key = false;
    CHECK(aioc_protocol_epk(&def, &value, 1, epk, &len));
    CHECK_STR(epk, "11622DAA78F835834610ABE56EFF5CB5");
}

TEST(numbers_behind_a_v1_hash_sort_as_they_do)
{
    int round;
    seed = 66;
    for (round = 0; round < 50000; round++) {
        double pair[2];
        unsigned char form[2][10];
        size_t len[2], i;
        int order;
        for (i = 0; i < 2; i++) {
            uint64_t bits;
            do {
                bits = random_number();
                if (random_number() % 2) bits &= ~(UINT64_MAX >> (12 + random_number() % 52));  /* short mantissas */
                memcpy(&pair[i], &bits, 8);
            } while (pair[i] - pair[i] != 0);
            if (random_number() % 4 == 0) pair[i] = (double)(int64_t)(random_number() % 21) - 10;
            len[i] = aioc_protocol_sorted_number(pair[i], form[i]);
            CHECK(len[i] >= 3 && len[i] <= sizeof form[i]);
        }
        order = memcmp(form[0], form[1], len[0] < len[1] ? len[0] : len[1]);
        if (pair[0] < pair[1]) CHECK(order < 0);
        else if (pair[0] > pair[1]) CHECK(order > 0);
        else CHECK(order == 0 && len[0] == len[1]);
    }
}

TEST(comparing_borders_is_an_order)
{
    static const char *const widths[] = {"", "0", "00", "8", "80", "8000", "8001", "7F", "7FFF", "80FF", "ff", "FF",
                                         "FFFF", "3fff", "3FFF", "3FFF00"};
    size_t count = sizeof widths / sizeof widths[0], a, b, c;
    for (a = 0; a < count; a++) {
        CHECK_INT(aioc_protocol_epk_compare(str(widths[a]), str(widths[a])), 0);
        for (b = 0; b < count; b++) {
            int ab = aioc_protocol_epk_compare(str(widths[a]), str(widths[b]));
            CHECK_INT(ab, -aioc_protocol_epk_compare(str(widths[b]), str(widths[a])));
            for (c = 0; c < count; c++) {
                int bc = aioc_protocol_epk_compare(str(widths[b]), str(widths[c]));
                if (ab <= 0 && bc <= 0) CHECK(aioc_protocol_epk_compare(str(widths[a]), str(widths[c])) <= 0);
            }
        }
    }
}

TEST(the_next_key_carries)
{
    static const char *const rows[][2] = {{"09", "0A"}, {"0F", "10"}, {"99FF", "9A00"}, {"3FFFFF", "400000"}};
    size_t i, len;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char epk[AIOC_PROTOCOL_EPK_MAX];
        len = strlen(rows[i][0]);
        memcpy(epk, rows[i][0], len + 1);
        aioc_protocol_epk_end(true, epk, &len);
        CHECK_TEXT(epk, len, rows[i][1]);
    }
}

TEST(the_end_of_a_key_is_behind_it_and_before_the_next)
{
    int round;
    seed = 77;
    for (round = 0; round < 2000; round++) {
        char epk[AIOC_PROTOCOL_EPK_MAX], end[AIOC_PROTOCOL_EPK_MAX], next[AIOC_PROTOCOL_EPK_MAX], room[64];
        aiocosmos_value value = as_component(random_value(room));
        aioc_protocol_pk_def def = {AIOC_PROTOCOL_MULTI_HASH, 2, 2, false};
        size_t len, end_len, next_len;
        aiocosmos_value two[2];
        CHECK(aioc_protocol_epk(&def, &value, 1, epk, &len));
        memcpy(end, epk, sizeof end);
        end_len = len;
        aioc_protocol_epk_end(round % 2, end, &end_len);
        CHECK(aioc_protocol_epk_compare(view(epk, len), view(end, end_len)) < 0);
        two[0] = value;
        two[1] = number(round);
        CHECK(aioc_protocol_epk(&def, two, 2, next, &next_len));
        CHECK_INT(next_len, 64);
        CHECK(aioc_protocol_epk_compare(view(epk, len), view(next, next_len)) < 0);
        CHECK(aioc_protocol_epk_compare(view(next, next_len), view(end, end_len)) < 0);
    }
}

/*--- Session tokens --------------------------------------------------------------------------*/

/* What two values of one range say together. One that is no token says nothing. */
static bool merge_value(aioc_mem *memory, aioc_mem_buffer *into, aiocosmos_str held, aiocosmos_str given)
{
    aioc_protocol_session a, b;
    aioc_mem_writer out = aioc_mem_write(memory, into);
    size_t bad_at;
    if (!aioc_protocol_session_parse(given, &b, &bad_at)) return aioc_mem_append(memory, into, held.ptr, held.len);
    if (!aioc_protocol_session_parse(held, &a, &bad_at)) return aioc_mem_append(memory, into, given.ptr, given.len);
    aioc_protocol_session_add(&a, &b);
    aioc_protocol_session_put(&out, &a);
    return aioc_mem_written(&out);
}

static aiocosmos_str merged(vectors *v, aiocosmos_str a, aiocosmos_str b)
{
    aioc_mem_buffer into = {NULL, 0, 0};
    aiocosmos_str out;
    CHECK(merge_value(&v->memory, &into, a, b));
    CHECK(into.len < sizeof v->room - v->used);
    if (into.len) memcpy(v->room + v->used, into.data, into.len);
    out = view(v->room + v->used, into.len);
    v->room[v->used + into.len] = 0;
    v->used += into.len + 1;
    aioc_mem_buffer_free(&v->memory, &into);
    return out;
}

static bool parsed(aiocosmos_str value, aioc_protocol_session *out)
{
    size_t bad_at = 999999;
    aiocosmos_str copy = tight(value);
    bool ok = aioc_protocol_session_parse(copy, out, &bad_at);
    CHECK(bad_at <= value.len);
    loosen(copy);
    return ok;
}

static bool covers(const aioc_protocol_session *a, const aioc_protocol_session *b)
{
    aioc_protocol_session both = *a;
    return aioc_protocol_session_add(&both, b);
}

/* The same but for the order of regions. */
static void check_same_session(aiocosmos_str got, aiocosmos_str want)
{
    aioc_protocol_session a, b;
    CHECK(parsed(got, &a) && parsed(want, &b));
    if (a.version != b.version || a.lsn != b.lsn || a.old_form != b.old_form || a.region_count != b.region_count ||
        (!a.old_form && (!covers(&a, &b) || !covers(&b, &a))))
        test_fail(__FILE__, __LINE__, "%.*s is not %.*s", (int)got.len, got.ptr, (int)want.len, want.ptr);
}

/* A composite merged into another one, each range's value by itself: what the account layer does with its own store. */
static void check_composite_merge(vectors *v, aiocosmos_str a, aiocosmos_str b, aiocosmos_str want)
{
    aiocosmos_str id, value, expected_id, expected, held[8], ids[8];
    size_t count = 0, i, turn;
    for (turn = 0; turn < 2; turn++) {
        aiocosmos_str rest = turn ? b : a;
        while (aioc_protocol_session_next(&rest, &id, &value)) {
            for (i = 0; i < count && !aioc_mem_same(ids[i], id); i++) continue;
            held[i] = i < count ? merged(v, held[i], value) : value;
            ids[i] = id;
            if (i == count) count++;
        }
        CHECK_INT(rest.len, 0);
    }
    for (i = 0; aioc_protocol_session_next(&want, &expected_id, &expected); i++) {
        CHECK(i < count && aioc_mem_same(ids[i], expected_id));
        check_same_session(held[i], expected);
    }
    CHECK_INT(i, count);
}

static void check_session_row(vectors *v, aiocosmos_json row)
{
    aiocosmos_json op = aioc_json_at(row, "/op");
    aioc_protocol_session a, b;
    if (aioc_json_is_str(op, "parse-vector") || aioc_json_is_str(op, "parse-simple")) {
        bool ok = false, got = parsed(field(v, row, "/token"), &a);
        int64_t want = 0;
        CHECK(aioc_json_get_bool(aioc_json_at(row, "/ok"), &ok));
        CHECK_INT(got, ok);
        if (!ok) return;
        CHECK_INT(a.old_form, aioc_json_is_str(op, "parse-simple"));
        CHECK(aioc_json_get_i64(aioc_json_at(row, a.old_form ? "/expect/lsn" : "/expect/globalLsn"), &want));
        CHECK_INT(a.lsn, want);
        if (!a.old_form) {
            aiocosmos_json region_id, lsn, regions = aioc_json_at(row, "/expect/regions");
            size_t i;
            CHECK(aioc_json_get_i64(aioc_json_at(row, "/expect/version"), &want));
            CHECK_INT(a.version, want);
            CHECK_INT(a.region_count, aioc_json_count(regions));
            memset(&lsn, 0, sizeof lsn);
            while (aioc_json_next(regions, &region_id, &lsn)) {
                int64_t id = strtoll(unescaped(v, region_id).ptr, NULL, 10);
                for (i = 0; i < a.region_count && a.region[i].id != id; i++) continue;
                CHECK(i < a.region_count);
                CHECK(aioc_json_get_i64(lsn, &want));
                CHECK_INT(a.region[i].lsn, want);
            }
        }
    } else if (aioc_json_is_str(op, "merge-vector") || aioc_json_is_str(op, "merge-simple") ||
               aioc_json_is_str(op, "merge-mixed")) {
        aiocosmos_str want = field(v, row, "/expect"), left = field(v, row, "/a"), right = field(v, row, "/b");
        check_same_session(merged(v, left, right), want);
        check_same_session(merged(v, right, left), want);
    } else if (aioc_json_is_str(op, "merge-vector-region-set-differs")) {
        aiocosmos_str left = field(v, row, "/a"), right = field(v, row, "/b"), both = merged(v, left, right);
        aioc_protocol_session c;
        CHECK(parsed(left, &a) && parsed(right, &b) && parsed(both, &c));
        CHECK(covers(&c, &a) && covers(&c, &b));
        check_same_session(merged(v, right, left), both);
        CHECK(c.region_count > a.region_count || c.region_count > b.region_count);
    } else if (aioc_json_is_str(op, "merge-composite")) {
        check_composite_merge(v, field(v, row, "/a"), field(v, row, "/b"), field(v, row, "/expect"));
    } else if (aioc_json_is_str(op, "at-least-as-recent")) {
        bool want = false;
        CHECK(parsed(field(v, row, "/a"), &a) && parsed(field(v, row, "/b"), &b));
        CHECK(aioc_json_get_bool(aioc_json_at(row, "/expect"), &want));
        CHECK_INT(covers(&a, &b), want);
    } else {
        aiocosmos_json parent, cached = aioc_json_at(row, "/cached"), send = aioc_json_at(row, "/send");
        aiocosmos_str sum = str("");
        CHECK(aioc_json_is_str(op, "resolve-after-split"));
        memset(&parent, 0, sizeof parent);
        while (aioc_json_next(aioc_json_at(row, "/range/parents"), NULL, &parent)) {
            char pointer[32] = "/";
            CHECK(aioc_json_get_str(parent, pointer + 1, sizeof pointer - 1) < 30);
            if (aioc_json_at(cached, pointer).type) sum = merged(v, sum, field(v, cached, pointer));
        }
        if (send.type == AIOCOSMOS_JSON_NULL) CHECK_INT(sum.len, 0);
        else {
            aiocosmos_str rest = unescaped(v, send), id, value;
            CHECK(aioc_protocol_session_next(&rest, &id, &value));
            CHECK(aioc_mem_same(id, field(v, row, "/range/id")));
            check_same_session(sum, value);
        }
    }
}

TEST(every_session_token_vector)
{
    vectors *v = vectors_open("tests/vectors/session-tokens.json");
    aiocosmos_json row;
    size_t rows = 0;
    memset(&row, 0, sizeof row);
    while (next_row(v, &row)) {
        check_session_row(v, row);
        rows++;
    }
    CHECK_INT(rows, aioc_json_count(v->cases));
    CHECK(rows > 40);
    vectors_close(v);
}

static void check_session(const char *text, long bad_at)
{
    size_t error_at = 999999;
    aiocosmos_str copy = tight(str(text));
    bool ok = aioc_protocol_session_check(copy, &error_at);
    loosen(copy);
    if (ok != (bad_at < 0)) test_fail(__FILE__, __LINE__, "%s: %d", text, ok);
    if (!ok) CHECK_INT(error_at, bad_at);
}

TEST(composites_are_checked_to_the_byte)
{
    check_session("0:-1#42", -1);
    check_session("0:-1#42,1:-1#7", -1);
    check_session("0:1#9#4=8#5=7,12:500", -1);
    check_session("abc-D_1:9223372036854775807", -1);
    check_session("0:-9223372036854775807#-1#-1=-1", -1);
    check_session("", 0);
    check_session(",", 0);
    check_session("0", 0);
    check_session("0:", 2);
    check_session(":1", 0);
    check_session("0:1,", 3);
    check_session(",0:1", 0);
    check_session("0:1,,1:2", 4);
    check_session("0:1#2,1", 6);
    check_session("0:x", 2);
    check_session("0:1#", 4);
    check_session("0:1#2#", 6);
    check_session("0:1#2#3", 7);
    check_session("0:1#2#3=", 8);
    check_session("0:1#2#3=4x", 9);
    check_session("0:1-2", 3);
    check_session("0:1#2-3=4", 5);
    check_session("0:1#2#3-4", 7);
    check_session("0:1#2#3=4#3=5", 13);      /* a region named twice */
    check_session("0:1#2 ", 5);
    check_session(" 0:1#2", 0);
    check_session("0:1#2\r\nx: y", 5);
    check_session("a\nb:1", 1);
    check_session("a;b:1", 1);
    check_session("0:9223372036854775808", 21);
    check_session("0:--1", 3);
    check_session("0:1#2, 1:3", 6);
}

TEST(composites_have_a_longest_length)
{
    static char text[AIOC_PROTOCOL_SESSION_MAX + 16];
    size_t len = 0, error_at, i;
    aiocosmos_str many;
    char value[2048] = "1#2";
    aioc_protocol_session out;
    for (i = 0; i < 500; i++) len += (size_t)sprintf(text + len, "7:123456789#123456789,");
    len += (size_t)sprintf(text + len, "8:");
    while (len < AIOC_PROTOCOL_SESSION_MAX) text[len++] = '0';
    CHECK(aioc_protocol_session_check(view(text, len), &error_at));
    text[len++] = '0';
    CHECK(!aioc_protocol_session_check(view(text, len), &error_at));
    CHECK_INT(error_at, AIOC_PROTOCOL_SESSION_MAX);
    for (len = 0, i = 0; i < AIOC_PROTOCOL_SEGMENTS_MAX; i++) len += (size_t)sprintf(text + len, "%s7:1", i ? "," : "");
    check_session(text, -1);
    sprintf(text + len, ",7:1");
    check_session(text, (long)len + 1);
    memset(text, 'a', AIOC_PROTOCOL_RANGE_ID_MAX);
    memcpy(text + AIOC_PROTOCOL_RANGE_ID_MAX, ":1", 3);
    check_session(text, -1);
    text[AIOC_PROTOCOL_RANGE_ID_MAX] = 'a';
    memcpy(text + AIOC_PROTOCOL_RANGE_ID_MAX + 1, ":1", 3);
    check_session(text, AIOC_PROTOCOL_RANGE_ID_MAX);
    for (i = 0; i < AIOC_PROTOCOL_REGIONS_MAX; i++) sprintf(value + strlen(value), "#%u=1", (unsigned)i);
    many = str(value);
    CHECK(parsed(many, &out));
    CHECK_INT(out.region_count, AIOC_PROTOCOL_REGIONS_MAX);
    strcat(value, "#99=1");
    CHECK(!parsed(str(value), &out));
}

TEST(composites_cut_and_changed_anywhere)
{
    const char *good = "0:-1#42#4=8,12:1#9#4=8#5=-1,3:77";
    aiocosmos_str whole = tight(str(good)), rest, id, value;
    size_t cut, error_at;
    int byte;
    for (cut = 0; cut <= whole.len; cut++) {
        aiocosmos_str part = tight(view(whole.ptr, cut));
        bool ok = aioc_protocol_session_check(part, &error_at);
        CHECK(ok || error_at <= cut);
        for (rest = part; aioc_protocol_session_next(&rest, &id, &value);) CHECK(id.len + value.len < cut);
        CHECK(!ok || rest.len == 0);
        loosen(part);
        if (cut == whole.len) break;
        for (byte = 0; byte < 256; byte++) {
            char was = whole.ptr[cut];
            *at_of(whole, cut) = (char)byte;
            ok = aioc_protocol_session_check(whole, &error_at);
            CHECK(ok || error_at <= whole.len);
            if (ok) CHECK(byte > ' ' && byte < 127);
            *at_of(whole, cut) = was;
        }
    }
    loosen(whole);
}

static aiocosmos_str random_session(char *out)
{
    size_t len = 0, i, count = random_number() % 4;
    if (random_number() % 8 == 0) return view(out, (size_t)sprintf(out, "%d", (int)(random_number() % 20)));
    len += (size_t)sprintf(out, "%d#%d", (int)(random_number() % 4) - 1, (int)(random_number() % 20));
    for (i = 0; i < count; i++)
        len += (size_t)sprintf(out + len, "#%u=%d", (unsigned)(i * 2 + random_number() % 2),
                               (int)(random_number() % 20) - 1);
    return view(out, len);
}

TEST(merging_loses_nothing_whatever_the_order)
{
    vectors *v = calloc(1, sizeof *v);
    int round;
    aioc_mem_init(&v->memory, NULL, 1 << 20);
    seed = 88;
    for (round = 0; round < 20000; round++) {
        char left[128], right[128];
        aiocosmos_str a = random_session(left), b = random_session(right), ab, ba;
        aioc_protocol_session pa, pb, pc;
        size_t error_at;
        char composite[300];
        v->used = 0;
        ab = merged(v, a, b);
        ba = merged(v, b, a);
        check_same_session(ab, ba);
        check_same_session(merged(v, a, a), a);
        check_same_session(merged(v, ab, b), ab);
        check_same_session(merged(v, a, ab), ab);
        CHECK(parsed(a, &pa) && parsed(b, &pb) && parsed(ab, &pc));
        CHECK(covers(&pc, &pa) && covers(&pc, &pb));
        CHECK(aioc_mem_same(merged(v, a, str("")), a) && aioc_mem_same(merged(v, str(""), a), a));
        CHECK(aioc_mem_same(merged(v, a, str("x#1")), a));
        sprintf(composite, "0:%s,1:%s", ab.ptr, ba.ptr);
        CHECK(aioc_protocol_session_check(str(composite), &error_at));
    }
    CHECK_INT(merged(v, str(""), str("")).len, 0);
    aioc_mem_close(&v->memory);
    free(v);
}

TEST(two_full_tokens_of_one_version_stay_within_the_limit)
{
    vectors *v = calloc(1, sizeof *v);
    char left[2048] = "1#2", right[2048] = "1#2";
    aioc_protocol_session out;
    size_t i;
    aioc_mem_init(&v->memory, NULL, 1 << 20);
    for (i = 0; i < AIOC_PROTOCOL_REGIONS_MAX; i++) {
        sprintf(left + strlen(left), "#%u=1", (unsigned)i);
        sprintf(right + strlen(right), "#%u=2", (unsigned)i + 32);
    }
    CHECK(parsed(merged(v, str(left), str(right)), &out));
    CHECK_INT(out.region_count, AIOC_PROTOCOL_REGIONS_MAX);
    aioc_mem_close(&v->memory);
    free(v);
}

TEST(without_memory_a_merge_leaves_the_buffer)
{
    const char *a = "1#1000000000000#1=1000000000000#2=1000000000000#3=1000000000000#4=1000000000000#5=1000000000000";
    const char *b = "1#2000000000000#1=1#7=2000000000000#8=1000000000000#9=1000000000000";
    unsigned long calls;
    bool finished = false;
    for (calls = 0; !finished && calls < 20; calls++) {
        heap_state r;
        aioc_mem memory = rationed(&r, calls);
        aioc_mem_buffer into = {NULL, 0, 0};
        finished = aioc_mem_append_str(&memory, &into, "0:") &&
                   merge_value(&memory, &into, str(a), str(b));
        if (!finished) CHECK_INT(into.len, calls ? 2 : 0);
        aioc_mem_buffer_free(&memory, &into);
        CHECK_INT(r.blocks, 0);
    }
    CHECK(finished && calls > 2);
}

/*--- Words -----------------------------------------------------------------------------------------*/

static void check_message(int status, int sub_status, const char *body, const char *want)
{
    char out[1024];
    aiocosmos_str copy = tight(str(body));
    aioc_protocol_message(status, sub_status, copy, true, out, sizeof out);
    loosen(copy);
    CHECK_STR(out, want);
}

TEST(every_status_has_a_name)
{
    int status;
    for (status = -100; status < 700; status++) CHECK(strlen(aioc_protocol_status_text(status)) > 0);
    for (status = AIOCOSMOS_E_AUTH; status < 0; status++)
        CHECK(strcmp(aioc_protocol_status_text(status), "unknown status") != 0);
    CHECK_STR(aioc_protocol_status_text(404), "Not Found");
    CHECK_STR(aioc_protocol_status_text(AIOCOSMOS_E_TIMEOUT), "timed out");
    CHECK_STR(aioc_protocol_status_text(0), "OK");
    CHECK_STR(aioc_protocol_status_text(599), "unknown status");
    CHECK_STR(aioc_protocol_status_text(-99), "unknown status");
}

TEST(messages_say_what_to_do)
{
    check_message(401, 0, "", "401 Unauthorized: the signature or token is not accepted: check the key, and that the "
                              "clock is right to 15 minutes");
    check_message(403, 3, "", "403/3 Forbidden: this region takes no writes, as after a failover: another region does");
    check_message(404, 1002, "", "404/1002 Not Found: no replica here has seen the session token yet, or it is another "
                                 "container's; the item may exist");
    check_message(404, 1003, "", "404/1003 Not Found: the database, container or user does not exist");
    check_message(410, 1002, "", "410/1002 Gone: the partition was split or merged");
    check_message(429, 3200, "", "429/3200 Too Many Requests: over the request units a second provisioned: send less, "
                                 "or raise the throughput");
    check_message(429, 9999, "", "429/9999 Too Many Requests: too many requests: send less, or raise the throughput");
    check_message(413, 0, "", "413 Content Too Large: the item or request is over 2 MB");
    check_message(418, 7, "", "418/7 unknown status");
    check_message(404, 0, "{\"code\":\"NotFound\",\"message\":\"Entity with the specified id does not exist.\"}",
                  "404 Not Found: there is none of this name; of an item: with this partition key; the "
                  "service: Entity with the specified id does not exist.");
    check_message(409, 0, "{\"message\":\"Message: {\\\"Errors\\\":[\\\"Resource with specified id exists.\\\"]}\\r\\n"
                          "ActivityId: 1\"}",
                  "409 Conflict: this id is taken; the service: Resource with specified id exists.");
    check_message(418, 0, "{\"message\":\"Message: {\\\"Errors\\\":[\\\"a \\\\\\\"message\\\\\\\":b\\\"]}\"}",
                  "418 unknown status; the service: a \"message\":b");
    check_message(400, 0, "{\"code\":\"BadRequest\",\"message\":\"Message: {\\\"errors\\\":[{\\\"severity\\\":"
                          "\\\"Error\\\",\\\"location\\\":{\\\"start\\\":0,\\\"end\\\":5},\\\"code\\\":"
                          "\\\"SC1001\\\",\\\"message\\\":"
                          "\\\"Syntax error, incorrect syntax near 'SELEC'.\\\"}]}\\r\\nActivityId: 1\"}",
                  "400 Bad Request; the service: Syntax error, incorrect syntax near 'SELEC'.");
    check_message(400, 0, "{\"message\":\"Message: {\\\"errors\\\":[{\\\"message\\\":\\\"incorrect syntax near "
                          "'\\\\\\\"num\\\\\\\"', \\\\\\\\ \\\\u00e9.\\\"}]}\"}",
                  "400 Bad Request; the service: incorrect syntax near '\"num\"', \\ \xC3\xA9.");
    check_message(418, 0, "{\"message\":\"Message: {\\\"errors\\\":[\\\"a \\\\\\\"b\\\\\"}",
                  "418 unknown status; the service: a \"b");  /* cut within an escape */
    check_message(418, 0, "{\"message\":\"Message: {\\\"errors\\\":[\\\"a \\\\x b\\\"]}\"}",
                  "418 unknown status; the service: a \\x b");
    check_message(418, 0, "{\"message\":\"Message: {\\\"errors\\\":[]}\"}", "418 unknown status");
    check_message(418, 0, "{\"message\":\"Message: {\\\"errors\\\":[\"}", "418 unknown status");
    check_message(418, 0, "{\"message\":\"first\\nsecond\"}", "418 unknown status; the service: first");
    check_message(418, 0, "{\"message\":5}", "418 unknown status; the service: {\"message\":5}");
    check_message(418, 0, "  plain words\r\nmore", "418 unknown status; the service: plain words");
    check_message(418, 0, "{\"message\":\"cut", "418 unknown status; the service: {\"message\":\"cut");
}

TEST(html_is_told_as_what_it_is)
{
    check_message(502, 0, "\r\n<!DOCTYPE html><html><head><TITLE>\n 502 Bad\n</TITLE></head><body>x</body>",
                  "502 Bad Gateway: a proxy or the gateway front end answered with HTML: 502 Bad");
    check_message(401, 0, "<html><title>Log in</title>",
                  "401 Unauthorized: a proxy or the gateway front end answered with HTML: Log in");
    check_message(400, 0, "<html>", "400 Bad Request: a proxy or the gateway front end answered with HTML: no title");
    check_message(400, 0, "<title>", "400 Bad Request: a proxy or the gateway front end answered with HTML");
    check_message(400, 0, "<title>open", "400 Bad Request: a proxy or the gateway front end answered with HTML: open");
    check_message(400, 0, "<", "400 Bad Request: a proxy or the gateway front end answered with HTML: no title");
}

TEST(what_others_wrote_is_fit_for_a_terminal)
{
    char body[4096], want[1024];
    int i;
    check_message(418, 0, "{\"message\":\"a\\u001b[31mb\\tc\\u0000d\\u007fe\\u0085f\"}",
                  "418 unknown status; the service: a [31mb c d e??f");
    check_message(418, 0, "\xC2\xA9x\xC2\xA0", "418 unknown status; the service: \xC2\xA9x\xC2\xA0");
    check_message(418, 0, "a\xFF\xC3" "b\xE2\x82\xAC\xE2\x82", "418 unknown status; the service: a??b\xE2\x82\xAC??");
    memset(body, 0, sizeof body);
    memset(body, 'x', 1000);
    strcpy(want, "418 unknown status; the service: ");
    i = (int)strlen(want);
    memset(want + i, 'x', AIOC_PROTOCOL_QUOTE_MAX);
    strcpy(want + i + AIOC_PROTOCOL_QUOTE_MAX, "...");
    check_message(418, 0, body, want);
    body[AIOC_PROTOCOL_QUOTE_MAX] = 0;
    want[i + AIOC_PROTOCOL_QUOTE_MAX] = 0;
    check_message(418, 0, body, want);
    strcpy(body, "{\"message\":\"");
    memset(body + strlen(body), 'x', 2000);
    strcpy(body + 2000, "\"}");
    strcpy(want + i + AIOC_PROTOCOL_QUOTE_MAX, "...");
    check_message(418, 0, body, want);
    memset(body, 'x', AIOC_PROTOCOL_QUOTE_MAX);
    strcpy(body + AIOC_PROTOCOL_QUOTE_MAX - 1, "\xE2\x82\xAC");
    strcpy(want + i + AIOC_PROTOCOL_QUOTE_MAX - 1, "...");
    check_message(418, 0, body, want);
}

TEST(messages_are_cut_to_the_room_there_is)
{
    const char *body = "{\"code\":\"NotFound\",\"message\":\"Entity \xE2\x82\xAC does not exist.\"}";
    char whole[512];
    size_t cap;
    aioc_protocol_message(404, 0, str(body), true, whole, sizeof whole);
    for (cap = 1; cap < sizeof whole; cap++) {
        char *out = malloc(cap);
        aioc_protocol_message(404, 0, str(body), true, out, cap);
        CHECK_INT(strlen(out), cap <= strlen(whole) ? cap - 1 : strlen(whole));
        CHECK_MEM(out, whole, strlen(out));
        free(out);
    }
}

TEST(error_bodies_cut_and_changed_anywhere)
{
    static const char *const bodies[] = {
        "{\"code\":\"Conflict\","
        "\"message\":\"Message: {\\\"Errors\\\":[\\\"a \\u00e9\\ud83d\\ude00 b\\\"]}\\r\\nActivity\"}",
        "<html><head><title>\xE2\x82\xAC bad</title></head></html>"};
    size_t i, cut;
    int byte;
    char out[1024];
    for (i = 0; i < 2; i++) {
        aiocosmos_str whole = tight(str(bodies[i]));
        for (cut = 0; cut < whole.len; cut++) {
            char was = whole.ptr[cut];
            aiocosmos_str part = tight(view(whole.ptr, cut));
            aioc_protocol_message(409, 0, part, true, out, sizeof out);
            loosen(part);
            for (byte = 0; byte < 256; byte++) {
                size_t k, bad_at;
                *at_of(whole, cut) = (char)byte;
                aioc_protocol_message(409, 0, whole, true, out, sizeof out);
                CHECK(aioc_json_utf8_ok(out, strlen(out), &bad_at));
                for (k = 0; out[k]; k++) CHECK((unsigned char)out[k] >= ' ' && out[k] != 127);
            }
            *at_of(whole, cut) = was;
        }
        loosen(whole);
    }
}

TEST(the_dearest_answer_is_traced_as_it_is)
{
    aiocosmos_attempt attempt;
    char out[256];
    memset(&attempt, 0, sizeof attempt);
    attempt.number = 1;
    attempt.charge_ru = 1e8;                       /* AIOC_OP_CHARGE_MAX */
    aioc_protocol_trace(&attempt, "GET", str("dbs/d"), str(""), out, sizeof out);
    CHECK_STR(out, "attempt 1: GET 0/0, 0 us, 100000000.00 RU, dbs/d");
}
