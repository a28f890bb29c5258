/* The JSON layer: what is accepted and what is refused, and where; walking, getting, writing; numbers both ways. */
#include <assert.h>
#define AIOCOSMOS_ASSERT(x) assert(x)
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"
#include "texts.h"
#include <locale.h>

/*--- Small things that the tests share ----------------------------------------*/

typedef struct reader { aioc_mem memory; aiocosmos_json_doc doc; } reader;

static void reader_open(reader *r)
{
    aioc_mem_init(&r->memory, NULL, (size_t)1 << 30);
    aioc_json_open(&r->doc, &r->memory);
}

static void reader_close(reader *r)
{
    aioc_json_close(&r->doc);
    aioc_mem_close(&r->memory);
    CHECK_INT(r->memory.used, 0);
}

/* Parsing in the smallest pieces gives what parsing at once has given, node for node. */
static void check_pieces(reader *r, const char *text, size_t len, int parsed)
{
    aiocosmos_json_doc pieces;
    int some;
    aioc_json_open(&pieces, &r->memory);
    do some = aioc_json_parse_some(&pieces, text, len, 1);
    while (some == 1);
    CHECK_INT(some, parsed);
    CHECK_STR(pieces.error, r->doc.error);
    CHECK_INT(pieces.error_at, r->doc.error_at);
    CHECK_INT(pieces.count, r->doc.count);
    CHECK_MEM(pieces.nodes, r->doc.nodes, pieces.count * sizeof *pieces.nodes);
    aioc_json_close(&pieces);
}

/* Parsing and checking say the same of a text. */
static int verdict(reader *r, const char *text, size_t len)
{
    char *copy = exact_copy(text, len);
    const char *error;
    size_t error_at;
    int checked = aioc_json_check(copy, len, NULL, 0, NULL, &error, &error_at);
    int parsed = aioc_json_parse(&r->doc, copy, len);
    CHECK_INT(parsed, checked);
    CHECK_STR(r->doc.error, error);
    CHECK_INT(r->doc.error_at, error_at);
    CHECK((parsed == 0) == (error == NULL));
    CHECK(error_at <= len);
    CHECK_INT(aioc_json_root(&r->doc).type == AIOCOSMOS_JSON_NONE, parsed != 0);
    check_pieces(r, copy, len, parsed);
    free(copy);
    return parsed;
}

static aiocosmos_json parsed(reader *r, const char *text)
{
    CHECK_INT(aioc_json_parse(&r->doc, text, strlen(text)), 0);
    return aioc_json_root(&r->doc);
}

static aiocosmos_json scalar(uint8_t type, const char *text)
{
    aiocosmos_json value;
    memset(&value, 0, sizeof value);
    value.type = type;
    value.ptr = text;
    value.len = strlen(text);
    return value;
}

static double double_of(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static uint64_t bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

/*--- What is JSON and what is not ---------------------------------------------*/

TEST(json_accepts_what_rfc_8259_does)
{
    static const char *const texts[] = {
        "null", "true", "false", "0", "\"\"", "[]", "{}",
        " \t\r\n null \t\r\n ", " [ ] ", " { } ", "\n[\n1\r,\t2 ]", "{ \"a\" : 1 , \"b\" : 2 }", "[[]   ]", "[{},[]]",
        "-0", "-1", "10", "123456789012345678901234567890", "0.0", "-0.0", "1.5", "0.000000", "1e5", "1E5", "1e+5",
        "1e-5",
        "0e0", "0E+00", "1.5e005", "1e999999999999999999999", "-0.0e-0", "[1,-2.5,3e3]",
        "1.0000000000000000000000000001",
        "\"a\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u0041\\u00e9\\uABCD\\uabcd\"", "\"\\ud83d\\ude00\"",
        "\"\\u0000\"",
        "\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83dx\"", "\"\\ude00\\ud83d\"", "\"\\ud83d\\ud83d\\ude00\"",
        "\"\x7f\"", "\"\xc2\x80\"", "\"\xc3\xa9\"", "\"\xdf\xbf\"", "\"\xe0\xa0\x80\"", "\"\xed\x9f\xbf\"",
        "\"\xee\x80\x80\"",
        "\"\xef\xbb\xbf\"", "\"\xef\xbf\xbf\"", "\"\xf0\x90\x80\x80\"", "\"\xf4\x8f\xbf\xbf\"",
        "\"\xe2\x80\xa8\xe2\x80\xa9\"",
        "\"/\"", "\"'\"", "\"//\"", "\"abcdefgh\"", "\"abcdefghijklmno\"", "\"abcdefghijklmnop\"",
        "\"abcdefghijklmnopq\"",
        "{\"a]b}c\":0}", "{\"]\":0}", "{\"}\":{}}", "{\"aB_9\\n\":0}", "{\"a_b c-d\":0}", "{\"na\xc3\xafve\":0}",
        "{\"\":0}", "{\"a\":1,\"a\":2}", "{\"a\\u0062\":1}", "{\"a\":{\"b\":{\"c\":[]}}}", "{\"a\":[{}]}",
        "[[[[[[[[[[]]]]]]]]]]", "[[],[[]],[[],[]]]", "[\"a\",1,null,true,false,{},[]]", "[1 ]", "[ 1]", "{\"a\":1 }",
    };
    reader r;
    size_t i;
    reader_open(&r);
    for (i = 0; i < COUNT(texts); i++) {
        if (verdict(&r, texts[i], strlen(texts[i])) != 0) {
            test_fail(__FILE__, __LINE__, "%s: %s at %zu", texts[i], r.doc.error, r.doc.error_at);
        }
    }
    reader_close(&r);
}

static const char value_expected[] = "a value is expected";
static const char name_expected[] = "a property name is expected";
static const char colon_expected[] = "a colon is expected";
static const char comma_or_bracket[] = "a comma or ']' is expected";
static const char comma_or_brace[] = "a comma or '}' is expected";
static const char digit_expected[] = "a digit is expected";
static const char zero_refused[] = "a number starts with no extra 0";
static const char quote_expected[] = "a closing quote is expected";
static const char escape_expected[] = "one of \"\\/bfnrtu is expected";
static const char hex_expected[] = "a hex digit is expected";
static const char control_refused[] = "a control character must be escaped";
static const char utf8_expected[] = "the string is not UTF-8";
static const char end_expected[] = "nothing may follow the value";

TEST(json_refuses_the_rest_and_says_what_and_where)
{
#define BAD(TEXT, AT, ERROR) {TEXT, sizeof TEXT - 1, AT, ERROR}
    static const struct { const char *text; size_t len, at; const char *error; } cases[] = {
        BAD("", 0, value_expected), BAD(" ", 1, value_expected), BAD("\xef\xbb\xbf{}", 0, value_expected),
        BAD("\xef\xbb\xbf", 0, value_expected), BAD("\xfe\xff", 0, value_expected), BAD("\0", 0, value_expected),
        BAD("\v1", 0, value_expected), BAD("\f1", 0, value_expected), BAD("\xc2\xa0" "1", 0, value_expected),
        BAD("'a'", 0, value_expected), BAD("a", 0, value_expected), BAD("]", 0, value_expected),
        BAD("}", 0, value_expected),
        BAD(",", 0, value_expected), BAD(":", 0, value_expected), BAD("/**/1", 0, value_expected),
        BAD("+1", 0, value_expected), BAD(".5", 0, value_expected), BAD("Infinity", 0, value_expected),
        BAD("NaN", 0, value_expected), BAD("True", 0, value_expected), BAD("\xff", 0, value_expected),
        BAD("1 2", 2, end_expected), BAD("1,", 1, end_expected), BAD("[]]", 2, end_expected),
        BAD("{}}", 2, end_expected),
        BAD("{}{}", 2, end_expected), BAD("\"a\"\"b\"", 3, end_expected), BAD("null\0", 4, end_expected),
        BAD("nullx", 4, end_expected), BAD("1 // one", 2, end_expected), BAD("[1]\0", 3, end_expected),
        BAD("1a", 1, end_expected),
        BAD("0x10", 1, end_expected), BAD("1.5.5", 3, end_expected), BAD("1e5.5", 3, end_expected),
        BAD("1-1", 1, end_expected),
        BAD("nul", 0, value_expected), BAD("nulL", 0, value_expected), BAD("t", 0, value_expected),
        BAD("trUe", 0, value_expected),
        BAD("fals", 0, value_expected), BAD("falsy", 0, value_expected), BAD("[nan]", 1, value_expected),
        BAD("truE", 0, value_expected),
        BAD("-", 1, digit_expected), BAD("--1", 1, digit_expected), BAD("-a", 1, digit_expected),
        BAD("-.5", 1, digit_expected),
        BAD("1.", 2, digit_expected), BAD("1.e5", 2, digit_expected), BAD("1.a", 2, digit_expected),
        BAD("1e", 2, digit_expected),
        BAD("1e+", 3, digit_expected), BAD("1e-", 3, digit_expected), BAD("1e+-5", 3, digit_expected),
        BAD("1ea", 2, digit_expected),
        BAD("[-]", 2, digit_expected), BAD("[1.]", 3, digit_expected), BAD("[1e]", 3, digit_expected),
        BAD("- 1", 1, digit_expected),
        BAD("-Infinity", 1, digit_expected), BAD("1.5e", 4, digit_expected), BAD("0e", 2, digit_expected),
        BAD("00", 1, zero_refused), BAD("01", 1, zero_refused), BAD("-01", 2, zero_refused),
        BAD("[-012]", 3, zero_refused),
        BAD("\"", 1, quote_expected), BAD("\"a", 2, quote_expected), BAD("[\"a]", 4, quote_expected),
        BAD("\"abcdefghijklmnopqrstuvwxyz", 27, quote_expected), BAD("{\"a:1}", 6, quote_expected),
        BAD("\"\\\"", 3, quote_expected),
        BAD("\"\\", 2, escape_expected), BAD("\"\\x41\"", 2, escape_expected), BAD("\"\\a\"", 2, escape_expected),
        BAD("\"\\'\"", 2, escape_expected), BAD("\"\\U0041\"", 2, escape_expected), BAD("\"\\\n\"", 2, escape_expected),
        BAD("\"\\\0\"", 2, escape_expected), BAD("\"\\\xc3\xa9\"", 2, escape_expected),
        BAD("\"\\ \"", 2, escape_expected),
        BAD("\"\\0\"", 2, escape_expected), BAD("{\"\\q\":1}", 3, escape_expected),
        BAD("\"\\u", 3, hex_expected), BAD("\"\\u\"", 3, hex_expected), BAD("\"\\u1", 4, hex_expected),
        BAD("\"\\u12\"", 5, hex_expected),
        BAD("\"\\u123\"", 6, hex_expected), BAD("\"\\u123g\"", 6, hex_expected), BAD("\"\\u 123\"", 3, hex_expected),
        BAD("\"\\u-123\"", 3, hex_expected), BAD("\"\\u00:0\"", 5, hex_expected), BAD("\"\\u00`0\"", 5, hex_expected),
        BAD("\"\\u00@0\"", 5, hex_expected), BAD("\"\\u00/0\"", 5, hex_expected),
        BAD("\"\\ud83d\\u\"", 9, hex_expected),
        BAD("\"\n\"", 1, control_refused), BAD("\"\t\"", 1, control_refused), BAD("\"\0\"", 1, control_refused),
        BAD("\"abc\x1f\"", 4, control_refused), BAD("\"\x01\"", 1, control_refused),
        BAD("{\"a\nb\":1}", 3, control_refused),
        BAD("\"0123456789abcdef\r\"", 17, control_refused),
        BAD("\"\x80\"", 1, utf8_expected), BAD("\"\xbf\"", 1, utf8_expected), BAD("\"\xc0\x80\"", 1, utf8_expected),
        BAD("\"\xc1\xbf\"", 1, utf8_expected), BAD("\"\xc3\"", 1, utf8_expected), BAD("\"\xc3", 1, utf8_expected),
        BAD("\"\xe0\x80\x80\"", 1, utf8_expected), BAD("\"\xe0\x9f\xbf\"", 1, utf8_expected),
        BAD("\"\xe2\x82\"", 1, utf8_expected),
        BAD("\"\xe2\x82", 1, utf8_expected), BAD("\"\xed\xa0\x80\"", 1, utf8_expected),
        BAD("\"\xed\xbf\xbf\"", 1, utf8_expected),
        BAD("\"\xf0\x80\x80\x80\"", 1, utf8_expected), BAD("\"\xf0\x8f\xbf\xbf\"", 1, utf8_expected),
        BAD("\"\xf0\x9f\x98\"", 1, utf8_expected), BAD("\"\xf0\x9f\x98", 1, utf8_expected),
        BAD("\"\xf4\x90\x80\x80\"", 1, utf8_expected),
        BAD("\"\xf5\x80\x80\x80\"", 1, utf8_expected), BAD("\"\xff\"", 1, utf8_expected),
        BAD("\"\xfe\"", 1, utf8_expected),
        BAD("\"ab\xc3\xa9\xc3\"", 5, utf8_expected), BAD("\"\xe9\"", 1, utf8_expected),
        BAD("{\"\xff\":1}", 2, utf8_expected),
        BAD("[", 1, value_expected), BAD("[ ", 2, value_expected), BAD("[,", 1, value_expected),
        BAD("[}", 1, value_expected),
        BAD("[,1]", 1, value_expected), BAD("[[", 2, value_expected), BAD("[:]", 1, value_expected),
        BAD("[\n+1]", 2, value_expected),
        BAD("[1,", 3, value_expected), BAD("[1,]", 3, value_expected), BAD("[1,,2]", 3, value_expected),
        BAD("[1, ,2]", 4, value_expected),
        BAD("[\xff]", 1, value_expected), BAD("[1,\xff]", 3, value_expected),
        BAD("[1", 2, comma_or_bracket), BAD("[1 2]", 3, comma_or_bracket), BAD("[1}", 2, comma_or_bracket),
        BAD("[1:2]", 2, comma_or_bracket),
        BAD("[\"a\"\"b\"]", 4, comma_or_bracket), BAD("[[]", 3, comma_or_bracket), BAD("[1;2]", 2, comma_or_bracket),
        BAD("[[]}", 3, comma_or_bracket),
        BAD("[\"\":1]", 3, comma_or_bracket), BAD("[1\0]", 2, comma_or_bracket), BAD("[{}", 3, comma_or_bracket),
        BAD("[1 ", 3, comma_or_bracket),
        BAD("{", 1, name_expected), BAD("{ ", 2, name_expected), BAD("{,}", 1, name_expected),
        BAD("{]", 1, name_expected),
        BAD("{1:1}", 1, name_expected), BAD("{a:1}", 1, name_expected), BAD("{'a':1}", 1, name_expected),
        BAD("{null:1}", 1, name_expected), BAD("{[]:1}", 1, name_expected), BAD("{:1}", 1, name_expected),
        BAD("{\"a\":1,", 7, name_expected), BAD("{\"a\":1,}", 7, name_expected), BAD("{\"a\":1,,}", 7, name_expected),
        BAD("{\"a\":1,2}", 7, name_expected), BAD("{\"a\":{},]", 8, name_expected),
        BAD("{\"a\"", 4, colon_expected), BAD("{\"a\"}", 4, colon_expected), BAD("{\"a\",1}", 4, colon_expected),
        BAD("{\"a\" 1}", 5, colon_expected),
        BAD("{\"a\"=1}", 4, colon_expected), BAD("{\"a\"\"b\"}", 4, colon_expected),
        BAD("{\"a\"\0:1}", 4, colon_expected),
        BAD("{\"a\":", 5, value_expected), BAD("{\"a\":}", 5, value_expected), BAD("{\"a\":,", 5, value_expected),
        BAD("{\"a\"::1}", 5, value_expected),
        BAD("{\"a\":1", 6, comma_or_brace), BAD("{\"a\":1]", 6, comma_or_brace), BAD("{\"a\":1:2}", 6, comma_or_brace),
        BAD("{\"a\":1 \"b\":2}", 7, comma_or_brace),
        BAD("{\"a\":[]", 7, comma_or_brace), BAD("{\"a\":{}", 7, comma_or_brace),
        BAD("{\"a\":\"b\" \xc2\xa0}", 9, comma_or_brace),
    };
#undef BAD
    reader r;
    size_t i;
    reader_open(&r);
    for (i = 0; i < COUNT(cases); i++) {
        int result = verdict(&r, cases[i].text, cases[i].len);
        const char *error = r.doc.error ? r.doc.error : "no error";
        bool same = r.doc.error_at == cases[i].at && strcmp(error, cases[i].error) == 0;
        if (same && result == AIOCOSMOS_E_ARGUMENT) continue;
        test_fail(__FILE__, __LINE__, "%s: %d, %s at %zu, not %s at %zu", cases[i].text, result, error, r.doc.error_at,
                  cases[i].error, cases[i].at);
    }
    reader_close(&r);
}

/* A second, slow reader, written from the grammar's rules one by one, as a judge of the first. */
typedef struct judge { const unsigned char *at, *end; int depth; } judge;

static void judge_space(judge *j)
{
    while (j->at < j->end && (*j->at == 0x20 || *j->at == 0x09 || *j->at == 0x0A || *j->at == 0x0D)) j->at++;
}

static bool judge_char(judge *j, const char *any)
{
    if (j->at == j->end || *j->at == 0 || !strchr(any, *j->at)) return false;
    j->at++;
    return true;
}

static bool judge_text(judge *j, const char *text)
{
    for (; *text; text++) {
        char one[2] = {*text, 0};
        if (!judge_char(j, one)) return false;
    }
    return true;
}

static bool judge_number(judge *j)
{
    judge_char(j, "-");
    if (!judge_char(j, "0")) {
        if (!judge_char(j, "123456789")) return false;
        while (judge_char(j, "0123456789")) continue;
    }
    if (judge_char(j, ".")) {
        if (!judge_char(j, "0123456789")) return false;
        while (judge_char(j, "0123456789")) continue;
    }
    if (judge_char(j, "eE")) {
        judge_char(j, "+-");
        if (!judge_char(j, "0123456789")) return false;
        while (judge_char(j, "0123456789")) continue;
    }
    return true;
}

/* The length of the character whose bytes are these, found by decoding it; 0: none. */
static size_t judge_utf8(const unsigned char *at, size_t left)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = 0, i;
    uint32_t code;
    if (left > 0) len = at[0] < 0x80 ? 1 : at[0] >> 5 == 6 ? 2 : at[0] >> 4 == 14 ? 3 : at[0] >> 3 == 30 ? 4 : 0;
    if (len <= 1 || len > left) return len > left ? 0 : len;
    code = at[0] & (0x7Fu >> len);
    for (i = 1; i < len; i++) {
        if (at[i] >> 6 != 2) return 0;
        code = code << 6 | (at[i] & 0x3Fu);
    }
    return code < least[len] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF) ? 0 : len;
}

static bool judge_string(judge *j)
{
    if (!judge_char(j, "\"")) return false;
    while (j->at < j->end) {
        size_t size = judge_utf8(j->at, (size_t)(j->end - j->at));
        if (judge_char(j, "\"")) return true;
        if (judge_char(j, "\\")) {
            int i;
            if (judge_char(j, "\"\\/bfnrt")) continue;
            if (!judge_char(j, "u")) return false;
            for (i = 0; i < 4; i++) {
                if (!judge_char(j, "0123456789abcdefABCDEF")) return false;
            }
            continue;
        }
        if (size == 0 || *j->at < 0x20) return false;
        j->at += size;
    }
    return false;
}

static bool judge_value(judge *j);

static bool judge_members(judge *j, bool object, const char *closing)
{
    judge_space(j);
    if (judge_char(j, closing)) return true;
    do {
        judge_space(j);
        if (object) {
            if (!judge_string(j)) return false;
            judge_space(j);
            if (!judge_char(j, ":")) return false;
            judge_space(j);
        }
        if (!judge_value(j)) return false;
        judge_space(j);
    } while (judge_char(j, ","));
    return judge_char(j, closing);
}

static bool judge_value(judge *j)
{
    bool ok;
    if (j->at == j->end) return false;
    if (*j->at == '{' || *j->at == '[') {
        bool object = *j->at++ == '{';
        if (++j->depth > 128) return false;
        ok = judge_members(j, object, object ? "}" : "]");
        j->depth--;
        return ok;
    }
    switch (*j->at) {
    case '"': return judge_string(j);
    case 't': return judge_text(j, "true");
    case 'f': return judge_text(j, "false");
    case 'n': return judge_text(j, "null");
    default: return judge_number(j);
    }
}

static bool judged(const char *text, size_t len)
{
    judge j;
    j.at = (const unsigned char *)text;
    j.end = j.at + len;
    j.depth = 0;
    judge_space(&j);
    if (!judge_value(&j)) return false;
    judge_space(&j);
    return j.at == j.end;
}

TEST(json_every_short_text_is_judged_right)
{
    static const char alphabet[] = "[]{},:\"0e- ";
    char text[6];
    size_t len, i;
    reader r;
    reader_open(&r);
    for (len = 0; len <= sizeof text; len++) {
        size_t digits[6] = {0}, carry = 0;
        memset(text, alphabet[0], sizeof text);
        while (carry < len || len == 0) {
            int result = aioc_json_parse(&r.doc, text, len);
            if ((result == 0) != judged(text, len)) test_fail(__FILE__, __LINE__, "%.*s: %d", (int)len, text, result);
            for (carry = 0; carry < len && ++digits[carry] == sizeof alphabet - 1; carry++) digits[carry] = 0;
            for (i = 0; i <= carry && i < len; i++) text[i] = alphabet[digits[i]];
            if (len == 0) break;
        }
    }
    reader_close(&r);
}

static const char page[] =
    "{\"_rid\":\"sZYnAKq1sUo=\",\"Documents\":[{\"id\":\"evt-1\",\"n\":-12.5e+3,\"ok\":true,"
    "\"tags\":[\"a\",\"\\u00e9\\n\",\"caf\xc3\xa9\"],\"loc\":{\"x\":0.5,\"y\":null,\"\":[]},"
    "\"at\":\"2026-11-21T02:31:44.000Z\",\"_ts\":1770000000},\n"
    " { \"id\" : \"\xf0\x9f\x98\x80\" , \"empty\" : { } , \"deep\" : [ [ [ 1 ] , false ] ] } ] , \"_count\" : 2 }";

TEST(json_cut_at_every_byte)
{
    size_t len = sizeof page - 1, cut;
    reader r;
    reader_open(&r);
    CHECK_INT(verdict(&r, page, len), 0);
    for (cut = 0; cut < len; cut++) {
        CHECK_INT(verdict(&r, page, cut), AIOCOSMOS_E_ARGUMENT);
        CHECK(r.doc.error_at <= cut);
        CHECK((verdict(&r, page + cut, len - cut) == 0) == judged(page + cut, len - cut));
    }
    reader_close(&r);
}

/* Walks all of a value; what is inside has its text inside. */
static size_t walk(aiocosmos_json value)
{
    aiocosmos_json key, member, again;
    size_t members = 0, all = 1;
    memset(&member, 0, sizeof member);
    CHECK(value.len > 0);
    CHECK(judged(value.ptr, value.len));
    while (aioc_json_next(value, &key, &member)) {
        CHECK(member.ptr > value.ptr && member.ptr + member.len < value.ptr + value.len);
        CHECK_INT(key.type, value.type == AIOCOSMOS_JSON_OBJ ? AIOCOSMOS_JSON_STR : AIOCOSMOS_JSON_NONE);
        if (key.type) CHECK(key.ptr > value.ptr && key.ptr + key.len < member.ptr);
        members++;
        all += walk(member);
    }
    CHECK_INT(member.type, AIOCOSMOS_JSON_NONE);
    CHECK_INT(aioc_json_count(value), members);
    memset(&again, 0, sizeof again);
    CHECK_INT(aioc_json_next(value, NULL, &again), members > 0);
    return all;
}

/* Other scripts, where characters of two, three and four bytes follow each other. */
static const char wide[] =
    "[\"\xd0\x9c\xd0\xbe\xd1\x81\xd0\xba\xd0\xb2\xd0\xb0 \xd0\xb8 \xd0\xbe\xd0\xb1\xd0\xbb\xd0\xb0\xd1\x81\xd1\x82\","
    "\"\xe3\x83\x97\xe3\x83\xac\xe3\x82\xa4\xe3\x83\xa4\xe3\x83\xbc 1 \xe5\xa4\xaa\xe9\x83\x8e\","
    "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xc3\xa9\","
    "{\"\xed\x95\x9c\xea\xb5\xad\":1},[2],3,4,5,6,7]";

static void mutate(char *text, size_t *len)
{
    static const char bytes[] = "[]{},:\"\\/0123456789.eE+-tfnu \t\n\x80\xbf\xc3\xe0\xed\xf0\xf4\xff";
    size_t at = random_below(*len);
    switch (random_below(3)) {
    case 0: break;
    case 1: memmove(text + at, text + at + 1, --*len - at); return;
    default: memmove(text + at + 1, text + at, (*len)++ - at);
    }
    text[at] = bytes[random_below(sizeof bytes)];      /* the NUL included */
}

TEST(json_mutations)
{
    size_t accepted = 0, mutations;
    int round;
    reader r;
    reader_open(&r);
    seed = 20261121;
    for (round = 0; round < 60000; round++) {
        char text[sizeof page + 8];
        size_t len = (round % 3 ? sizeof page : sizeof wide) - 1;
        bool ok;
        memcpy(text, round % 3 ? page : wide, len);
        for (mutations = 1 + random_below(3); mutations > 0; mutations--) mutate(text, &len);
        ok = judged(text, len);
        if ((verdict(&r, text, len) == 0) != ok) test_fail(__FILE__, __LINE__, "%d: %.*s", round, (int)len, text);
        if (!ok) continue;
        CHECK_INT(aioc_json_parse(&r.doc, text, len), 0);
        CHECK(walk(aioc_json_root(&r.doc)) > 10);
        accepted++;
    }
    CHECK(accepted > 1000);                            /* else it is no test of walking */
    reader_close(&r);
}

TEST(json_depth)
{
    static const struct { const char *opening, *closing; } kinds[] = {{"[", "]"}, {"{\"\":", "}"}};
    size_t kind, depth, i;
    reader r;
    reader_open(&r);
    for (kind = 0; kind < COUNT(kinds); kind++) {
        for (depth = 126; depth <= 131; depth++) {
            char text[800] = "";
            size_t step = strlen(kinds[kind].opening);
            for (i = 0; i < depth; i++) memcpy(text + i * step, kinds[kind].opening, step);
            text[depth * step] = '1';
            memset(text + depth * step + 1, *kinds[kind].closing, depth);
            CHECK_INT(verdict(&r, text, strlen(text)), depth > 128 ? AIOCOSMOS_E_ARGUMENT : 0);
            if (depth > 128) {
                CHECK_STR(r.doc.error, "nested deeper than 128 levels");
                CHECK_INT(r.doc.error_at, 128 * step);
            } else {
                CHECK_INT(walk(parsed(&r, text)), depth + 1);
            }
        }
    }
    reader_close(&r);
}

TEST(json_a_text_over_4_gib_is_refused_unread)
{
    static const char *const why = "the text is larger than 4 GiB";
#if SIZE_MAX > UINT32_MAX
    const char *error;
    size_t error_at;
    reader r;
    reader_open(&r);
    CHECK_INT(aioc_json_parse(&r.doc, "1", (size_t)UINT32_MAX + 1), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(r.doc.error, why);
    CHECK_INT(aioc_json_root(&r.doc).type, AIOCOSMOS_JSON_NONE);
    CHECK_INT(aioc_json_check("1", (size_t)UINT32_MAX + 1, NULL, 0, NULL, &error, &error_at), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(error, why);
    reader_close(&r);
#else
    SKIP(why);
#endif
}

/* As many nodes as its length lets expect are more than there may be; its values need far less. */
TEST(json_a_text_over_1_gib_has_room_for_few_values)
{
    const size_t len = (size_t)AIOC_JSON_NODES_MAX * 8 + 64;
    char *text = (char *)malloc(len);  /* never read, so it takes no pages */
    aioc_json_node *limit;
    aioc_json_scan scan;
    reader r;
    if (!text) SKIP("there is no room for such a text");
    reader_open(&r);
    aioc_json_scan_begin(&scan, text, len);
    scan.doc = &r.doc;
    CHECK(aioc_json_more(&scan, text, NULL, &limit) == r.doc.nodes && r.doc.nodes);
    CHECK_INT(r.doc.cap, AIOC_JSON_NODES_MIN);
    CHECK_INT(scan.result, 0);
    reader_close(&r);
    free(text);
}

/*--- Characters ---------------------------------------------------------------*/

/* As machines without SSE2 do it. */
static const char *skip_plain_words(const char *at, const char *end)
{
    return aioc_text_find_words(at, end, ' ' ^ '"', ' ', '\\', true);
}

TEST(json_plain_runs_end_where_they_should)
{
    static const char *(*const skips[])(const char *, const char *) = { aioc_json_skip_plain, skip_plain_words };
    size_t skip, len, at;
    unsigned c;
    for (skip = 0; skip < COUNT(skips); skip++) {
        for (len = 0; len <= 40; len++) {
            char *text = exact_copy("abcdefghijklmnopqrstuvwxyz0123456789~\x7f !", len);
            CHECK(skips[skip](text, text + len) == text + len);
            for (at = 0; at < len; at++) {
                for (c = 0; c < 256; c++) {
                    bool plain = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
                    char was = text[at];
                    text[at] = (char)c;
                    if (skips[skip](text, text + len) != text + (plain ? len : at)) {
                        test_fail(__FILE__, __LINE__, "%02x at %zu of %zu", c, at, len);
                    }
                    text[at] = was;
                }
            }
            free(text);
        }
    }
}

TEST(json_utf8_of_every_kind)
{
    static const unsigned char tails[] = {
        0x00, 0x22, 0x7F, 0x80, 0x81, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xF0, 0xFF
    };
    unsigned lead, second;
    size_t third, fourth, len, bad_at;
    uint32_t code;
    for (lead = 0; lead < 256; lead++) {
        for (second = 0; second < 256; second++) {
            for (third = 0; third < sizeof tails; third++) {
                for (fourth = 0; fourth < sizeof tails; fourth++) {
                    unsigned char text[4];
                    text[0] = (unsigned char)lead, text[1] = (unsigned char)second;
                    text[2] = tails[third], text[3] = tails[fourth];
                    for (len = third + fourth > 0 ? 3 : 0; len <= 4; len++) {
                        const char *start = (const char *)text;
                        if (aioc_json_utf8_len(start, start + len) == judge_utf8(text, len)) continue;
                        test_fail(__FILE__, __LINE__, "%02x %02x %02x %02x: %zu", lead, second, text[2], text[3], len);
                    }
                }
            }
        }
    }
    for (code = 0; code <= 0x10FFFF; code++) {
        char text[4];
        if (code >= 0xD800 && code <= 0xDFFF) continue;
        len = aioc_json_utf8_put(code, text);
        if (aioc_json_utf8_len(text, text + len) != len || aioc_json_utf8_code(text, len) != code) {
            test_fail(__FILE__, __LINE__, "U+%04X", (unsigned)code);
        }
    }
    CHECK(aioc_json_utf8_ok("", 0, &bad_at));
    CHECK(aioc_json_utf8_ok("plain, and long enough for words", 32, &bad_at));
    CHECK(aioc_json_utf8_ok("caf\xc3\xa9 \xf0\x9f\x98\x80\0 and so on", 20, &bad_at));
    CHECK(!aioc_json_utf8_ok("plain, and long enough for words\xc3", 33, &bad_at));
    CHECK_INT(bad_at, 32);
    CHECK(!aioc_json_utf8_ok("caf\xc3\xa9\xff", 6, &bad_at));
    CHECK_INT(bad_at, 5);
    CHECK(!aioc_json_utf8_ok("\xed\xa0\x80", 3, &bad_at));
}

/*--- Walking and finding ------------------------------------------------------*/

TEST(json_values_know_their_text_and_type)
{
    static const struct { const char *pointer, *text; uint8_t type; } cases[] = {
        {"/_rid", "\"sZYnAKq1sUo=\"", AIOCOSMOS_JSON_STR}, {"/Documents/0/n", "-12.5e+3", AIOCOSMOS_JSON_NUM},
        {"/Documents/0/ok", "true", AIOCOSMOS_JSON_BOOL},
        {"/Documents/0/tags/2", "\"caf\xc3\xa9\"", AIOCOSMOS_JSON_STR},
        {"/Documents/0/loc", "{\"x\":0.5,\"y\":null,\"\":[]}", AIOCOSMOS_JSON_OBJ},
        {"/Documents/0/loc/y", "null", AIOCOSMOS_JSON_NULL},
        {"/Documents/0/loc/", "[]", AIOCOSMOS_JSON_ARR}, {"/Documents/1/empty", "{ }", AIOCOSMOS_JSON_OBJ},
        {"/Documents/1/deep", "[ [ [ 1 ] , false ] ]", AIOCOSMOS_JSON_ARR},
        {"/Documents/1/deep/0/0/0", "1", AIOCOSMOS_JSON_NUM},
        {"/Documents/1/deep/0/1", "false", AIOCOSMOS_JSON_BOOL}, {"/_count", "2", AIOCOSMOS_JSON_NUM},
        {"", page, AIOCOSMOS_JSON_OBJ},
    };
    reader r;
    aiocosmos_json root;
    size_t i;
    reader_open(&r);
    root = parsed(&r, page);
    for (i = 0; i < COUNT(cases); i++) {
        aiocosmos_json value = aioc_json_at(root, cases[i].pointer);
        CHECK_TEXT(value.ptr, value.len, cases[i].text);
        CHECK_INT(value.type, cases[i].type);
    }
    CHECK_INT(aioc_json_count(root), 3);
    CHECK_INT(aioc_json_count(aioc_json_at(root, "/Documents/0")), 7);
    CHECK_INT(aioc_json_count(aioc_json_at(root, "/Documents/1/empty")), 0);
    CHECK_INT(aioc_json_count(aioc_json_at(root, "/_count")), 0);
    CHECK_INT(aioc_json_count(aioc_json_at(root, "/nothing")), 0);
    CHECK_INT(walk(root), 26);
    reader_close(&r);
}

TEST(json_pointers)
{
    static const char text[] =
        "{\"a/b\":1,\"m~n\":2,\"\":3,\"a\":{\"\":[10,11,12,13,14,15,16,17,18,19,20]},\"~1\":4,\"\\u0061b\\n\":5,"
        "\"0\":6,\"\\ud800\":7,\"x\":8,\"x\":9,\"n\\u0000\":10,\"~\":11,\"\\/\\u007e\":12}";
    static const struct { const char *pointer; int want; } cases[] = {
        {"/a~1b", 1}, {"/m~0n", 2}, {"/", 3}, {"/~01", 4}, {"/ab\n", 5}, {"/0", 6}, {"/\xef\xbf\xbd", 7}, {"/x", 9},
        {"/a//0", 10}, {"/a//9", 19}, {"/a//10", 20}, {"/~0", 11}, {"/~1~0", 12},
        {"/a//11", 0}, {"/a//00", 0}, {"/a//01", 0}, {"/a//-", 0}, {"/a//", 0}, {"/a//-1", 0}, {"/a//+1", 0},
        {"/a//1 ", 0},
        {"/a//18446744073709551616", 0}, {"/a//4294967296", 0}, {"/a//1e0", 0}, {"/a//~0", 0},
        {"/a/b", 0}, {"/m~n", 0}, {"/~", 0}, {"/m~2n", 0}, {"/m~", 0}, {"/~1", 0}, {"a", 0}, {"x", 0}, {"/x/", 0},
        {"/x/0", 0}, {"/A", 0},
        {"/a~1", 0}, {"/a~1bc", 0}, {"/a~1b~0", 0}, {"/n", 0}, {"/abc", 0}, {" ", 0}, {"/ab", 0}, {"/ab\nc", 0},
        {"/a///0", 0},
    };
    reader r;
    aiocosmos_json root;
    size_t i;
    reader_open(&r);
    root = parsed(&r, text);
    for (i = 0; i < COUNT(cases); i++) {
        int64_t got = 0;
        aiocosmos_json value = aioc_json_at(root, cases[i].pointer);
        CHECK_INT(aioc_json_get_i64(value, &got), cases[i].want != 0);
        if (got != cases[i].want) test_fail(__FILE__, __LINE__, "%s is %lld", cases[i].pointer, (long long)got);
    }
    CHECK_INT(aioc_json_at(aioc_json_none(), "").type, AIOCOSMOS_JSON_NONE);
    CHECK_INT(aioc_json_at(aioc_json_none(), "/a").type, AIOCOSMOS_JSON_NONE);
    reader_close(&r);
}

TEST(json_fields_in_one_pass)
{
    static const char *const names[] = {"b", "missing", "a", "", "esc\n", "abc"};
    aiocosmos_json out[COUNT(names)], root;
    int64_t number = 0;
    reader r;
    reader_open(&r);
    root = parsed(&r, "{\"a\":1,\"ab\":0,\"b\":2,\"esc\\n\":3,\"\":4,\"a\":5,\"in\":{\"missing\":6}}");
    CHECK_INT(aioc_json_fields(root, names, COUNT(names), out), 4);
    CHECK(aioc_json_get_i64(out[0], &number) && number == 2);
    CHECK_INT(out[1].type, AIOCOSMOS_JSON_NONE);
    CHECK(aioc_json_get_i64(out[2], &number) && number == 5);      /* of two, the last */
    CHECK(aioc_json_get_i64(out[3], &number) && number == 4);
    CHECK(aioc_json_get_i64(out[4], &number) && number == 3);
    CHECK_INT(out[5].type, AIOCOSMOS_JSON_NONE);
    CHECK_INT(aioc_json_fields(aioc_json_at(root, "/a"), names, COUNT(names), out), 0);
    CHECK_INT(out[0].type, AIOCOSMOS_JSON_NONE);
    CHECK_INT(aioc_json_fields(parsed(&r, "[\"a\",1]"), names, COUNT(names), out), 0);
    CHECK_INT(aioc_json_fields(aioc_json_none(), names, COUNT(names), out), 0);
    CHECK_INT(aioc_json_fields(parsed(&r, "{}"), names, 0, out), 0);
    reader_close(&r);
}

TEST(json_next_walks_arrays_and_objects_only)
{
    aiocosmos_json root, key, value;
    reader r;
    reader_open(&r);
    root = parsed(&r, "[[1,[2]],{\"k\":[3]},4]");
    memset(&value, 0, sizeof value);
    CHECK(aioc_json_next(root, NULL, &value));
    CHECK_TEXT(value.ptr, value.len, "[1,[2]]");
    CHECK(aioc_json_next(root, &key, &value));
    CHECK_TEXT(value.ptr, value.len, "{\"k\":[3]}");
    CHECK_INT(key.type, AIOCOSMOS_JSON_NONE);
    root = value;
    memset(&value, 0, sizeof value);
    CHECK(aioc_json_next(root, &key, &value));
    CHECK_TEXT(key.ptr, key.len, "\"k\"");
    CHECK_TEXT(value.ptr, value.len, "[3]");
    CHECK(!aioc_json_next(root, &key, &value));
    CHECK_INT(key.type, AIOCOSMOS_JSON_NONE);
    root = parsed(&r, "\"text\"");
    memset(&value, 0, sizeof value);
    CHECK(!aioc_json_next(root, &key, &value));
    CHECK(!aioc_json_next(aioc_json_none(), &key, &value));
    reader_close(&r);
}

TEST(json_check_reports_a_top_level_property)
{
    static const struct { const char *text, *want; uint8_t type; } cases[] = {
        {"{\"id\":\"a\"}", "\"a\"", AIOCOSMOS_JSON_STR},
        {" { \"id\" : [ 1, {\"id\":2} ] , \"x\":1 } ", "[ 1, {\"id\":2} ]", AIOCOSMOS_JSON_ARR},
        {"{\"x\":{\"id\":1},\"id\":{}}", "{}", AIOCOSMOS_JSON_OBJ},
        {"{\"id\":1,\"id\":2.5e1}", "2.5e1", AIOCOSMOS_JSON_NUM},
        {"{\"\\u0069d\":null}", "null", AIOCOSMOS_JSON_NULL}, {"{\"id\":true ,\"x\":[]}", "true", AIOCOSMOS_JSON_BOOL},
        {"{\"id\":false}", "false", AIOCOSMOS_JSON_BOOL}, {"{\"id\":-1}", "-1", AIOCOSMOS_JSON_NUM},
        {"{\"x\":{\"id\":1}}", "", AIOCOSMOS_JSON_NONE}, {"[{\"id\":1}]", "", AIOCOSMOS_JSON_NONE},
        {"{\"Id\":1,\"id \":1,\"i\":1}", "", AIOCOSMOS_JSON_NONE},
        {"{\"x\":\"id\"}", "", AIOCOSMOS_JSON_NONE}, {"\"id\"", "", AIOCOSMOS_JSON_NONE},
        {"{}", "", AIOCOSMOS_JSON_NONE},
    };
    aiocosmos_str id = {"id", 2};
    aiocosmos_json found, key, member;
    const char *error;
    size_t i, error_at;
    for (i = 0; i < COUNT(cases); i++) {
        CHECK_INT(aioc_json_check(cases[i].text, strlen(cases[i].text), &id, 1, &found, &error, &error_at), 0);
        CHECK_TEXT(found.ptr, found.len, cases[i].want);
        CHECK_INT(found.type, cases[i].type);
        CHECK(found.node == NULL);
        memset(&member, 0, sizeof member);
        CHECK(!aioc_json_next(found, &key, &member));  /* it has no nodes to walk */
        CHECK_INT(aioc_json_count(found), 0);
    }
    CHECK_INT(aioc_json_check("{\"id\":\"a\\nb\"}", 13, &id, 1, &found, NULL, NULL), 0);
    CHECK(aioc_json_is_str(found, "a\nb"));
    CHECK_INT(aioc_json_check("{\"id\":1,", 8, &id, 1, &found, &error, &error_at), AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(found.type, AIOCOSMOS_JSON_NONE);
    CHECK_INT(error_at, 8);
}

/*--- Getting ------------------------------------------------------------------*/

TEST(json_i64_is_exact_or_not_at_all)
{
    static const struct { const char *text; int64_t want; } right[] = {
        {"0", 0}, {"-0", 0}, {"0.0", 0}, {"-0.000e5", 0}, {"0e999999999999999999999", 0},
        {"0e-99999999999999999999", 0}, {"1", 1}, {"-1", -1},
        {"1.0", 1}, {"1e3", 1000}, {"1E+3", 1000}, {"1.5e1", 15}, {"1.50e1", 15}, {"15e-0", 15}, {"150e-1", 15},
        {"-2.50e2", -250},
        {"0.001e3", 1}, {"0.0010e3", 1}, {"123456789.000", 123456789}, {"100e-2", 1},
        {"1e18", INT64_C(1000000000000000000)},
        {"9007199254740993", INT64_C(9007199254740993)}, {"-9007199254740993", INT64_C(-9007199254740993)},
        {"9223372036854775807", INT64_MAX}, {"-9223372036854775808", INT64_MIN}, {"9.223372036854775807e18", INT64_MAX},
        {"-922337203685477580.8e1", INT64_MIN}, {"-9223372036854775808.000", INT64_MIN},
        {"92233720368547758070e-1", INT64_MAX},
        {"9223372036854775807000000000000000000000e-21", INT64_MAX},
        {"0.00000000000000000000000000009223372036854775807e47", INT64_MAX},
        {"1000000000000000000000000000000000000000000e-42", 1}, {"999999999999999999", INT64_C(999999999999999999)},
    };
    static const char *const wrong[] = {
        "1.5", "0.1", "1e-1", "15e-1", "9223372036854775808", "-9223372036854775809", "18446744073709551616",
        "9223372036854775807.1",
        "1e19", "1e20", "1e999999999999999999999", "1e-999999999999999999999", "99999999999999999999",
        "12345678901234567890123",
        "9.2233720368547758071e18", "0.00000000000000000000000000009223372036854775807e46", "10000000000000000000",
        "-1e19", "1.0000000000000000000000001",
    };
    int64_t got;
    size_t i;
    for (i = 0; i < COUNT(right); i++) {
        got = 77;
        if (!aioc_json_get_i64(scalar(AIOCOSMOS_JSON_NUM, right[i].text), &got) || got != right[i].want) {
            test_fail(__FILE__, __LINE__, "%s: %lld", right[i].text, (long long)got);
        }
    }
    for (i = 0; i < COUNT(wrong); i++) {
        got = 77;
        if (aioc_json_get_i64(scalar(AIOCOSMOS_JSON_NUM, wrong[i]), &got) || got != 77) {
            test_fail(__FILE__, __LINE__, "%s: %lld", wrong[i], (long long)got);
        }
    }
    CHECK(!aioc_json_get_i64(scalar(AIOCOSMOS_JSON_STR, "\"1\""), &got));
    CHECK(!aioc_json_get_i64(scalar(AIOCOSMOS_JSON_NULL, "null"), &got));
    CHECK(!aioc_json_get_i64(aioc_json_none(), &got));
    seed = 64;
    for (i = 0; i < 20000; i++) {
        int64_t number = (int64_t)random_number() >> random_below(64);
        char text[24];
        text[aioc_json_i64_write(number, text)] = '\0';
        CHECK(aioc_json_get_i64(scalar(AIOCOSMOS_JSON_NUM, text), &got) && got == number);
    }
}

TEST(json_getters_want_their_own_type)
{
    bool truth = false;
    double number = 0;
    CHECK(aioc_json_get_bool(scalar(AIOCOSMOS_JSON_BOOL, "true"), &truth) && truth);
    CHECK(aioc_json_get_bool(scalar(AIOCOSMOS_JSON_BOOL, "false"), &truth) && !truth);
    CHECK(!aioc_json_get_bool(scalar(AIOCOSMOS_JSON_NUM, "1"), &truth));
    CHECK(!aioc_json_get_bool(aioc_json_none(), &truth));
    CHECK(aioc_json_get_f64(scalar(AIOCOSMOS_JSON_NUM, "1.5"), &number) && number == 1.5);
    CHECK(!aioc_json_get_f64(scalar(AIOCOSMOS_JSON_STR, "\"1.5\""), &number));
    CHECK(!aioc_json_get_f64(aioc_json_none(), &number));
    CHECK(aioc_json_get_str(scalar(AIOCOSMOS_JSON_NUM, "1"), NULL, 0) == SIZE_MAX);
    CHECK(aioc_json_get_str(aioc_json_none(), NULL, 0) == SIZE_MAX);
    CHECK(!aioc_json_is_str(scalar(AIOCOSMOS_JSON_NUM, "1"), "1"));
    CHECK(!aioc_json_is_str(aioc_json_none(), ""));
}

TEST(json_strings_lose_their_escapes)
{
    static const struct { const char *text, *want; size_t len; } cases[] = {
        {"\"\"", "", 0}, {"\"plain\"", "plain", 5}, {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"a\\u0041b\"", "aAb", 3},
        {"\"\\u00e9\\u00E9\"", "\xc3\xa9\xc3\xa9", 4}, {"\"\\u20ac\"", "\xe2\x82\xac", 3},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4},
        {"\"\\uD800\\uDC00\"", "\xf0\x90\x80\x80", 4}, {"\"\\udbff\\udfff\"", "\xf4\x8f\xbf\xbf", 4},
        {"\"\\u0000x\"", "\0x", 2},
        {"\"\\ud83d\"", "\xef\xbf\xbd", 3}, {"\"\\ude00\"", "\xef\xbf\xbd", 3}, {"\"\\ud83d\\n\"", "\xef\xbf\xbd\n", 4},
        {"\"\\ud83d\\ue000\"", "\xef\xbf\xbd\xee\x80\x80", 6},
        {"\"\\ud83d\\u0041\"", "\xef\xbf\xbd" "A", 4}, {"\"\\ud83dx\"", "\xef\xbf\xbdx", 4},
        {"\"\\ude00\\ud83d\"", "\xef\xbf\xbd\xef\xbf\xbd", 6},
        {"\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80", 7},
        {"\"\\uffff\\ud7ff\\ue000\"", "\xef\xbf\xbf\xed\x9f\xbf\xee\x80\x80", 9},
        {"\"caf\xc3\xa9 \\n end\"", "caf\xc3\xa9 \n end", 11},
        {"\"\\u007f\\u0080\\u07ff\\u0800\"", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80", 8},
    };
    size_t i, cap, bad_at;
    for (i = 0; i < COUNT(cases); i++) {
        aiocosmos_json value = scalar(AIOCOSMOS_JSON_STR, cases[i].text);
        CHECK_INT(aioc_json_get_str(value, NULL, 0), cases[i].len);
        CHECK_INT(aioc_json_is_str(value, cases[i].want), strlen(cases[i].want) == cases[i].len);
        for (cap = 1; cap <= cases[i].len + 2; cap++) {
            char *buf = exact_copy("################", cap);
            size_t held = cap - 1 < cases[i].len ? cap - 1 : cases[i].len;
            CHECK_INT(aioc_json_get_str(value, buf, cap), cases[i].len);
            while (!aioc_json_utf8_ok(cases[i].want, held, &bad_at)) held--;
            CHECK_MEM(buf, cases[i].want, held);
            CHECK_INT(buf[held], 0);
            free(buf);
        }
    }
    CHECK(!aioc_json_is_str(scalar(AIOCOSMOS_JSON_STR, "\"abc\""), "ab"));
    CHECK(!aioc_json_is_str(scalar(AIOCOSMOS_JSON_STR, "\"abc\""), "abcd"));
    CHECK(!aioc_json_is_str(scalar(AIOCOSMOS_JSON_STR, "\"a\\u0062c\""), "ab"));
    CHECK(!aioc_json_is_str(scalar(AIOCOSMOS_JSON_STR, "\"a\\u0062c\""), "abcd"));
    CHECK(!aioc_json_is_str(scalar(AIOCOSMOS_JSON_STR, "\"\\u0000\""), ""));
    CHECK(!aioc_json_is_str(scalar(AIOCOSMOS_JSON_STR, "\"\""), NULL));
}

/*--- Numbers ------------------------------------------------------------------*/

/* A large whole number, lowest word first: powers of ten and of two, multiplied. */
#define BIG_WORDS 96
typedef struct large { uint32_t word[BIG_WORDS]; int count; } large;

static void big_multiply(large *big, uint32_t factor, uint32_t carry)
{
    int i;
    for (i = 0; i < big->count; i++) {
        uint64_t product = (uint64_t)big->word[i] * factor + carry;
        big->word[i] = (uint32_t)product;
        carry = (uint32_t)(product >> 32);
    }
    CHECK(big->count < BIG_WORDS);
    if (carry) big->word[big->count++] = carry;
}

static void big_multiply_fives(large *big, int64_t fives)
{
    for (; fives >= 13; fives -= 13) big_multiply(big, 1220703125u, 0);  /* 5^13 */
    for (; fives > 0; fives--) big_multiply(big, 5, 0);
}

static void big_double(large *big, int64_t times)
{
    int words = (int)(times / 32);
    big_multiply(big, (uint32_t)1 << times % 32, 0);
    CHECK(big->count + words <= BIG_WORDS);
    memmove(big->word + words, big->word, (size_t)big->count * sizeof *big->word);
    memset(big->word, 0, (size_t)words * sizeof *big->word);
    big->count += words;
}

static int big_compare(const large *a, const large *b)
{
    int i;
    if (a->count != b->count) return a->count < b->count ? -1 : 1;
    for (i = a->count - 1; i >= 0; i--) {
        if (a->word[i] != b->word[i]) return a->word[i] < b->word[i] ? -1 : 1;
    }
    return 0;
}

/* Puts 2^two * 10^ten, ten >= 0, into a large number. */
static void big_make(large *big, int64_t two, int64_t ten)
{
    memset(big, 0, sizeof *big);
    big->word[0] = 1;
    big->count = 1;
    big_multiply_fives(big, ten);
    big_double(big, two + ten);
}

static void big_make_u128(large *big, uint64_t high, uint64_t low)
{
    memset(big, 0, sizeof *big);
    big->word[3] = (uint32_t)(high >> 32), big->word[2] = (uint32_t)high;
    big->word[1] = (uint32_t)(low >> 32), big->word[0] = (uint32_t)low;
    big->count = 4;
}

/* P is 10^ten, shifted and rounded down: P <= 10^ten * 2^s < P + 1. All are multiplied by what makes them whole. */
TEST(json_every_power_of_ten_is_right_to_128_bits)
{
    int ten;
    for (ten = AIOC_JSON_POWER_MIN; ten <= 324; ten++) {  /* 5e-324 is written with the last */
        large wanted, got, next;
        uint64_t high, low, high_up, low_up;
        bool exact;
        int shift = 127 - aioc_json_log2_of_power(ten);
        aioc_json_power(ten, &high, &low);
        CHECK(high >> 63);
        CHECK(high != UINT64_MAX || low != UINT64_MAX);                    /* it may be rounded up, too */
        high_up = high, low_up = low;
        aioc_json_power_up(ten, &high_up, &low_up);
        exact = high_up == high && low_up == low;
        big_make_u128(&got, high, low);
        big_make_u128(&next, high + (low == UINT64_MAX), low + 1);
        if (!exact) CHECK(high_up == high + (low == UINT64_MAX) && low_up == low + 1);
        big_make(&wanted, shift > 0 ? shift : 0, ten > 0 ? ten : 0);
        if (ten < 0) big_multiply_fives(&got, -ten), big_double(&got, -ten);
        if (ten < 0) big_multiply_fives(&next, -ten), big_double(&next, -ten);
        if (shift < 0) big_double(&got, -shift), big_double(&next, -shift);
        CHECK_INT(big_compare(&got, &wanted), exact ? 0 : -1);
        CHECK_INT(big_compare(&next, &wanted), 1);
    }
}

static double number_parsed(const char *text)
{
    double number = -77;
    if (!aioc_json_number_parse(text, strlen(text), &number)) test_fail(__FILE__, __LINE__, "%s is refused", text);
    return number;
}

TEST(json_numbers_round_right)
{
    static const struct { const char *text; uint64_t bits; } cases[] = {
        {"0", 0}, {"-0", UINT64_C(0x8000000000000000)}, {"-0.0e9", UINT64_C(0x8000000000000000)},
        {"1", UINT64_C(0x3FF0000000000000)},
        {"0e9999999999999999999", 0}, {"0.1", UINT64_C(0x3FB999999999999A)}, {"-0.1", UINT64_C(0xBFB999999999999A)},
        {"3.14159265358979323846264338327950288419716939937510", UINT64_C(0x400921FB54442D18)},
        {"1e22", UINT64_C(0x4480F0CF064DD592)},
        {"1e23", UINT64_C(0x44B52D02C7E14AF6)}, {"9007199254740991", UINT64_C(0x433FFFFFFFFFFFFF)},
        {"9007199254740992", UINT64_C(0x4340000000000000)},
        {"9007199254740993", UINT64_C(0x4340000000000000)}, {"9007199254740994", UINT64_C(0x4340000000000001)},
        {"9007199254740995", UINT64_C(0x4340000000000002)},
        {"9007199254740993.0000000000000000000000000000000000000001", UINT64_C(0x4340000000000001)},
        {"9007199254740992.9999999999999999999999999999999999999999", UINT64_C(0x4340000000000000)},
        {"900719925474099300000000000000000000000000000000000e-35", UINT64_C(0x4340000000000000)},
        {"9444732965739293573120", UINT64_C(0x4480000000000002)},
        {"9444732965739293573121", UINT64_C(0x4480000000000002)},
        {"9444732965739293573119", UINT64_C(0x4480000000000001)},
        {"9444732965739293573120e3", UINT64_C(0x451F400000000003)},
        {"1.7976931348623157e308", UINT64_C(0x7FEFFFFFFFFFFFFF)},
        {"1.7976931348623158e308", UINT64_C(0x7FEFFFFFFFFFFFFF)},
        {"1.797693134862315807e308", UINT64_C(0x7FEFFFFFFFFFFFFF)},
        {"179769313486231570000000000000000000000e270", UINT64_C(0x7FEFFFFFFFFFFFFF)},
        {"2.2250738585072014e-308", UINT64_C(0x0010000000000000)},
        {"2.2250738585072011e-308", UINT64_C(0x000FFFFFFFFFFFFF)},
        {"2.2250738585072012e-308", UINT64_C(0x0010000000000000)},
        {"2.225073858507201136057409796709131975934e-308", UINT64_C(0x000FFFFFFFFFFFFF)},
        {"5e-324", 1}, {"4.9406564584124654e-324", 1}, {"2.4703282292062328e-324", 1}, {"2.4703282292062327e-324", 0},
        {"2e-324", 0}, {"1e-400", 0},
        {"-1e-99999999999999999999", UINT64_C(0x8000000000000000)},
        {"7.2057594037927933e16", UINT64_C(0x4370000000000000)},
        {"123456789012345678901234567890e-10", UINT64_C(0x43E56A95319D63E1)},
        {"6.9294956446009195e15", UINT64_C(0x43389E56EE5E7A58)},
        {"8.41e21", UINT64_C(0x447C7E83209E90B2)}, {"9.5e-311", UINT64_C(0x0000117CEADE7443)},
    };
    static const char *const infinite[] = {
        "1.7976931348623159e308", "1.797693134862315808e308", "1e309", "1e400", "-1e309", "2e308",
        "1e99999999999999999999",
        "123456789012345678901234567890e300", "0.1e310",
    };
    static const char *const no_numbers[] = {
        "", " ", "+1", "01", "1.", ".5", "1e", "0x1", "NaN", "inf", "1 ", " 1", "1,5", "--1", "\"1\"", "1e5x", "-",
    };
    double number;
    size_t i;
    for (i = 0; i < COUNT(cases); i++) {
        number = number_parsed(cases[i].text);
        if (bits_of(number) != cases[i].bits) test_fail(__FILE__, __LINE__, "%s is read as %a", cases[i].text, number);
    }
    for (i = 0; i < COUNT(infinite); i++) {
        if (!aioc_json_number_parse(infinite[i], strlen(infinite[i]), &number)) continue;
        test_fail(__FILE__, __LINE__, "%s is read as %a", infinite[i], number);
    }
    for (i = 0; i < COUNT(no_numbers); i++) {
        if (!aioc_json_number_parse(no_numbers[i], strlen(no_numbers[i]), &number)) continue;
        test_fail(__FILE__, __LINE__, "%s is read as %a", no_numbers[i], number);
    }
}

TEST(json_numbers_are_laid_out_as_in_ecmascript)
{
    static const struct { double number; const char *want; } cases[] = {
        {0, "0"}, {1, "1"}, {-1, "-1"}, {5, "5"}, {10, "10"}, {1.5, "1.5"}, {-0.25, "-0.25"}, {100, "100"},
        {123456789, "123456789"},
        {0.1, "0.1"}, {0.3, "0.3"}, {0.1 + 0.2, "0.30000000000000004"}, {1.0 / 3, "0.3333333333333333"},
        {2.0 / 3, "0.6666666666666666"},
        {1e20, "100000000000000000000"}, {1e21, "1e+21"}, {1.5e21, "1.5e+21"},
        {123456789012345680000.0, "123456789012345680000"},
        {1e22, "1e+22"}, {1e23, "1e+23"}, {9.5e22, "9.5e+22"}, {0.000001, "0.000001"}, {0.0000015, "0.0000015"},
        {1e-7, "1e-7"}, {1.5e-7, "1.5e-7"},
        {-0.0000012345678901234567, "-0.0000012345678901234567"}, {9007199254740991.0, "9007199254740991"},
        {9007199254740993.0, "9007199254740992"},
        {9007199254740992.0, "9007199254740992"}, {4611686018427387904.0, "4611686018427388000"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"}, {5e-324, "5e-324"}, {-5e-324, "-5e-324"},
        {1e-323, "1e-323"}, {2.2250738585072011e-308, "2.225073858507201e-308"},
        {1e100, "1e+100"}, {123e-20, "1.23e-18"}, {1844674407370955161.6, "1844674407370955300"},
        {299792458, "299792458"}, {1770000000.123, "1770000000.123"},
        {4.35, "4.35"}, {9.9, "9.9"}, {99.99, "99.99"}, {1e15, "1000000000000000"}, {12345.678, "12345.678"},
        {2e-3, "0.002"}, {9.109e-31, "9.109e-31"},
    };
    char text[AIOC_JSON_NUMBER_MAX];
    size_t i;
    for (i = 0; i < COUNT(cases); i++) CHECK_TEXT(text, aioc_json_number_write(cases[i].number, text), cases[i].want);
    CHECK_TEXT(text, aioc_json_number_write(double_of(UINT64_C(1) << 63), text), "-0");
    CHECK_INT(aioc_json_number_write(double_of(UINT64_C(0x7FF0000000000000)), text), 0);
    CHECK_INT(aioc_json_number_write(double_of(UINT64_C(0xFFF0000000000000)), text), 0);
    CHECK_INT(aioc_json_number_write(double_of(UINT64_C(0x7FF8000000000000)), text), 0);
    CHECK_TEXT(text, aioc_json_i64_write(0, text), "0");
    CHECK_TEXT(text, aioc_json_i64_write(INT64_MAX, text), "9223372036854775807");
    CHECK_TEXT(text, aioc_json_i64_write(INT64_MIN, text), "-9223372036854775808");
    CHECK_TEXT(text, aioc_json_i64_write(-10, text), "-10");
}

/* The digits of a number's text, from the first to the last that is not 0. */
static size_t significant(const char *text, char *digits)
{
    size_t count = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text >= '0' && *text <= '9' && (count > 0 || *text != '0')) digits[count++] = *text;
    }
    while (count > 1 && digits[count - 1] == '0') count--;
    digits[count] = '\0';
    return count;
}

/* libc's strtod and printf, in the C locale, are the judges: what is written reads back, one digit less would not,
 * and it is the nearest text so short, if that one reads back; and texts of 15 to 20 digits read the same here and
 * there. */
static void number_check(uint64_t bits)
{
    double number = double_of(bits), other;
    char text[AIOC_JSON_NUMBER_MAX], theirs[64], digits[32], their_digits[32];
    int precision, count;
    if ((bits >> 52 & 2047) == 2047) return;
    text[aioc_json_number_write(number, text)] = '\0';
    if (bits_of(strtod(text, NULL)) != bits) test_fail(__FILE__, __LINE__, "%a is written %s", number, text);
    if (bits_of(number_parsed(text)) != bits) test_fail(__FILE__, __LINE__, "%a: not read back from %s", number, text);
    count = (int)significant(text, digits);
    snprintf(theirs, sizeof theirs, "%.*e", count - 1, number);
    significant(theirs, their_digits);
    if (strtod(theirs, NULL) == number) CHECK_STR(digits, their_digits);   /* below a power of two it may not */
    if (count > 1) {
        snprintf(theirs, sizeof theirs, "%.*e", count - 2, number);
        if (strtod(theirs, NULL) == number) test_fail(__FILE__, __LINE__, "%s is not as short as %s", text, theirs);
    }
    for (precision = 14; precision < 20; precision++) {
        snprintf(theirs, sizeof theirs, "%.*e", precision, number);
        if (!aioc_json_number_parse(theirs, strlen(theirs), &other)) other = strtod("inf", NULL);
        if (bits_of(other) != bits_of(strtod(theirs, NULL))) test_fail(__FILE__, __LINE__, "%s: %a", theirs, other);
    }
}

TEST(json_numbers_agree_with_libc)
{
    uint64_t exponent, near;
    int i;
    seed = 1234567;
    for (i = 0; i < 60000; i++) {
        number_check(random_number());
        number_check(random_number() >> 12 >> random_below(52));                             /* subnormal */
        number_check(bits_of((double)(int64_t)(random_number() >> random_below(64)) / 1000)); /* as people have them */
    }
    for (exponent = 0; exponent < 2047; exponent++) {
        for (near = 0; near < 5; near++) number_check((exponent << 52) + near - (exponent > 0 ? 2 : 0));
    }
}

/* Exactly halfway between two doubles, and one unit of the last digit above and below. */
TEST(json_numbers_halfway_become_the_even_neighbour)
{
    int i, side;
    seed = 7654321;
    for (i = 0; i < 1500; i++) {
        uint64_t bits = i == 0 ? 0 : random_number() >> 1 >> random_below(13);
        long double halfway;
        char text[1200];
        size_t last;
        if (bits >= UINT64_C(0x7FEFFFFFFFFFFFFF)) continue;
        halfway = ((long double)double_of(bits) + (long double)double_of(bits + 1)) / 2;
        snprintf(text, sizeof text, "%.1100Lf", halfway);
        last = strlen(text) - 1;
        while (text[last] == '0') last--;
        if (text[last] == '.' || last < 2) continue;
        for (side = 0; side < 3; side++) {
            double number = -1;
            if (side == 1) text[++last] = '1', text[last + 1] = '\0';
            else if (side == 2) text[last--] = '\0', text[last]--, text[last + 1] = '9', text[last + 2] = '\0';
            else text[last + 1] = '\0';
            CHECK(aioc_json_number_parse(text, strlen(text), &number));
            if (bits_of(number) == (side == 0 ? bits + (bits & 1) : bits + (side == 1))) continue;
            test_fail(__FILE__, __LINE__, "%a: halfway above, side %d", double_of(bits), side);
        }
    }
}

TEST(json_numbers_know_no_locale)
{
    static const char *const locales[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8"};
    static const char halfway[] = "9007199254740993.0000000000000000000000000000001";
    char text[AIOC_JSON_NUMBER_MAX] = "";
    double number = 0;
    size_t i, len;
    bool ok;
    for (i = 0; i < COUNT(locales) && !setlocale(LC_ALL, locales[i]); i++) continue;
    if (i == COUNT(locales)) SKIP("no locale with a decimal comma is installed");
    ok = aioc_json_number_parse("1234.5", 6, &number) && number == 1234.5 &&
         aioc_json_number_parse(halfway, strlen(halfway), &number) && number == 9007199254740994;
    len = aioc_json_number_write(-0.125, text);
    setlocale(LC_ALL, "C");
    CHECK(ok);
    CHECK_TEXT(text, len, "-0.125");
}

/*--- Memory -------------------------------------------------------------------*/

TEST(json_the_nth_allocation_fails)
{
    size_t len = 0, n;
    char *text = malloc(100000);
    CHECK(text != NULL);
    text[len++] = '[';
    while (len < 99000) text[len++] = '1', text[len++] = ',';
    text[len - 1] = ']';
    for (n = 1;; n++) {
        heap_state h;
        aiocosmos_allocator allocator = heap_allocator(&h);
        reader r;
        int result;
        heap_fail(&h, n, 2);                                              /* when it tries for less, too */
        aioc_mem_init(&r.memory, &allocator, (size_t)1 << 30);
        aioc_json_open(&r.doc, &r.memory);
        result = aioc_json_parse(&r.doc, text, len);
        if (h.calls >= n) {
            CHECK_INT(result, AIOCOSMOS_E_NOMEM);
            CHECK(r.doc.error != NULL);
            CHECK_INT(aioc_json_root(&r.doc).type, AIOCOSMOS_JSON_NONE);
            result = aioc_json_parse(&r.doc, text, len);                   /* the next attempt has what it needs */
        }
        CHECK_INT(result, 0);
        CHECK_INT(aioc_json_count(aioc_json_root(&r.doc)), len / 2);
        reader_close(&r);
        CHECK_INT(h.blocks, 0);
        if (h.calls < n) break;
    }
    CHECK(n > 2);
    free(text);
}

TEST(json_nodes_are_reused)
{
    uint64_t allocations;
    reader r;
    int i;
    reader_open(&r);
    CHECK_INT(aioc_json_parse(&r.doc, page, sizeof page - 1), 0);
    allocations = r.memory.allocations;
    for (i = 0; i < 100; i++) CHECK_INT(aioc_json_parse(&r.doc, page, sizeof page - 1), 0);
    CHECK_INT(r.memory.allocations, allocations);
    CHECK_INT(aioc_json_parse(&r.doc, "[", 1), AIOCOSMOS_E_ARGUMENT);      /* nothing of the last text is left */
    CHECK_INT(aioc_json_root(&r.doc).type, AIOCOSMOS_JSON_NONE);
    CHECK_INT(walk(parsed(&r, "[1]")), 2);
    CHECK_INT(aioc_json_parse(&r.doc, NULL, 0), AIOCOSMOS_E_ARGUMENT);     /* an empty body may come so */
    CHECK_STR(r.doc.error, value_expected);
    CHECK_INT(r.doc.error_at, 0);
    reader_close(&r);
}

/*--- Writing ------------------------------------------------------------------*/

/* An array that is put together of values is the one that is read of its text: node for node. */
TEST(json_an_array_is_put_together_of_values_of_others)
{
    static const char *const values[] = { "1", "\"\\u0041 and more\"", "[]", "{\"a\":[1,{\"b\":null}],\"c\":{}}",
                                          "true", "[[[\"x\"]],-0.5e1]" };
    reader from, read;
    aioc_mem_buffer nodes = {NULL, 0, 0};
    char text[4000] = "around[";
    size_t start = strlen(text) - 1;
    uint32_t count;
    reader_open(&from);
    reader_open(&read);
    for (count = 0; count <= 200; count++) {
        char whole[4000];
        aiocosmos_json put;
        size_t len = strlen(text), whole_len;
        whole_len = (size_t)snprintf(whole, sizeof whole, "%s]", text + start);
        CHECK(aioc_json_array_reserve(&from.memory, &nodes, aioc_json_none()));
        put = aioc_json_array_of(&nodes, text + start, whole_len, count);
        CHECK_INT(aioc_json_parse(&read.doc, whole, whole_len), 0);
        CHECK_INT(aioc_json_count(put), count);
        CHECK(memcmp(nodes.data, read.doc.nodes, read.doc.count * sizeof *read.doc.nodes) == 0);
        CHECK(put.ptr == text + start && put.len == whole_len && put.type == AIOCOSMOS_JSON_ARR);
        snprintf(whole, sizeof whole, " {\"skipped\":0,\"taken\": %s}", values[count % COUNT(values)]);
        CHECK_INT(aioc_json_parse(&from.doc, whole, strlen(whole)), 0);
        put = aioc_json_at(aioc_json_root(&from.doc), "/taken");
        CHECK(aioc_json_array_reserve(&from.memory, &nodes, put));
        aioc_json_array_add(&nodes, put, len + (count > 0) - start);
        snprintf(text + len, sizeof text - len, "%s%.*s", count > 0 ? "," : "", (int)put.len, put.ptr);
    }
    aioc_mem_buffer_free(&from.memory, &nodes);
    reader_close(&from);
    reader_close(&read);
}

static bool append_string(aioc_mem *memory, aioc_mem_buffer *buffer, const char *text, size_t len, bool ascii)
{
    aioc_mem_writer out = aioc_mem_write(memory, buffer);
    aioc_json_put_quoted(&out, aioc_text_view(text, len), ascii);
    return aioc_mem_written(&out);
}

static bool append_value(aioc_mem *memory, aioc_mem_buffer *buffer, const aiocosmos_value *value, bool ascii)
{
    aioc_mem_writer out = aioc_mem_write(memory, buffer);
    aioc_json_put_value(&out, value, ascii, AIOC_JSON_DEPTH_MAX);
    return aioc_mem_written(&out);
}

TEST(json_strings_are_escaped)
{
    static const struct { const char *text; size_t len; const char *json, *ascii; } cases[] = {
        {"", 0, "\"\"", "\"\""}, {"plain", 5, "\"plain\"", "\"plain\""},
        {"\"\\/\b\f\n\r\t", 8, "\"\\\"\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {"\0\x01\x1f", 3, "\"\\u0000\\u0001\\u001f\"", "\"\\u0000\\u0001\\u001f\""},
        {"\x7f", 1, "\"\x7f\"", "\"\\u007f\""},
        {"caf\xc3\xa9", 5, "\"caf\xc3\xa9\"", "\"caf\\u00e9\""}, {"\xe2\x82\xac", 3, "\"\xe2\x82\xac\"", "\"\\u20ac\""},
        {"\xf0\x9f\x98\x80!", 5, "\"\xf0\x9f\x98\x80!\"", "\"\\ud83d\\ude00!\""},
        {"\xf4\x8f\xbf\xbf", 4, "\"\xf4\x8f\xbf\xbf\"", "\"\\udbff\\udfff\""},
        {"a long text with one\nescape and \xc3\xa9", 34, "\"a long text with one\\nescape and \xc3\xa9\"", "\"a long "
         "text with one\\nescape and \\u00e9\""},
    };
    aioc_mem memory;
    aioc_mem_buffer buffer = {NULL, 0, 0};
    size_t i;
    aioc_mem_init(&memory, NULL, (size_t)1 << 20);
    for (i = 0; i < COUNT(cases); i++) {
        char *copy = exact_copy(cases[i].text, cases[i].len);
        buffer.len = 0;
        CHECK(aioc_mem_append_str(&memory, &buffer, "x="));
        CHECK(append_string(&memory, &buffer, copy, cases[i].len, false));
        CHECK_TEXT(buffer.data + 2, buffer.len - 2, cases[i].json);
        buffer.len = 2;
        CHECK(append_string(&memory, &buffer, copy, cases[i].len, true));
        CHECK_TEXT(buffer.data + 2, buffer.len - 2, cases[i].ascii);
        free(copy);
    }
    buffer.len = 2;
    CHECK(append_string(&memory, &buffer, NULL, 0, false));
    CHECK_TEXT(buffer.data + 2, buffer.len - 2, "\"\"");
    buffer.len = 2;
    CHECK(!append_string(&memory, &buffer, "good, then bad \xff", 16, false));
    CHECK(!append_string(&memory, &buffer, "good, then bad \xc3", 16, true));
    CHECK(!append_string(&memory, &buffer, "\xed\xa0\x80", 3, false));
    CHECK_INT(buffer.len, 2);                          /* as it was */
    aioc_mem_buffer_free(&memory, &buffer);
    aioc_mem_close(&memory);
}

static aiocosmos_value value_of(aiocosmos_value_type type, const char *text, int64_t i64, double f64)
{
    aiocosmos_value value;
    memset(&value, 0, sizeof value);
    value.type = (uint8_t)type;
    value.str = text;
    value.len = text ? strlen(text) : 0;
    value.i64 = i64;
    value.f64 = f64;
    return value;
}

TEST(json_values_of_every_type_are_appended)
{
    const struct { aiocosmos_value value; bool ascii; const char *want; } cases[] = {
        {value_of(AIOCOSMOS_VALUE_STR, "caf\xc3\xa9", 0, 0), true, "\"caf\\u00e9\""},
        {value_of(AIOCOSMOS_VALUE_STR, "caf\xc3\xa9", 0, 0), false, "\"caf\xc3\xa9\""},
        {value_of(AIOCOSMOS_VALUE_F64, NULL, 0, 1.5), false, "1.5"},
        {value_of(AIOCOSMOS_VALUE_I64, NULL, INT64_MIN, 0), false, "-9223372036854775808"},
        {value_of(AIOCOSMOS_VALUE_BOOL, NULL, 1, 0), false, "true"},
        {value_of(AIOCOSMOS_VALUE_BOOL, NULL, 0, 0), false, "false"},
        {value_of(AIOCOSMOS_VALUE_NULL, NULL, 0, 0), false, "null"},
        {value_of(AIOCOSMOS_VALUE_NONE, NULL, 0, 0), false, "{}"},
        {value_of(AIOCOSMOS_VALUE_JSON, " [1,\n\"\xc3\xa9\\n\x7f\"]\t", 0, 0), false, " [1,\n\"\xc3\xa9\\n\x7f\"]\t"},
        {value_of(AIOCOSMOS_VALUE_JSON, " [1,\n\"\xc3\xa9\\n\x7f\"]\t", 0, 0), true, " [1, \"\\u00e9\\n\\u007f\"] "},
        {value_of(AIOCOSMOS_VALUE_UNSET, "x", 0, 0), false, NULL},
        {value_of(AIOCOSMOS_VALUE_STR, "\xff", 0, 0), false, NULL},
        {value_of(AIOCOSMOS_VALUE_F64, NULL, 0, HUGE_VAL), false, NULL},
        {value_of(AIOCOSMOS_VALUE_F64, NULL, 0, -HUGE_VAL), false, NULL},
        {value_of(AIOCOSMOS_VALUE_F64, NULL, 0, double_of(UINT64_C(0x7FF8000000000000))), false, NULL},
        {value_of(AIOCOSMOS_VALUE_JSON, "[1,]", 0, 0), false, NULL},
        {value_of(AIOCOSMOS_VALUE_JSON, "", 0, 0), true, NULL},
        {value_of((aiocosmos_value_type)99, "x", 0, 0), false, NULL},
    };
    aioc_mem memory;
    aioc_mem_buffer buffer = {NULL, 0, 0};
    size_t i;
    aioc_mem_init(&memory, NULL, (size_t)1 << 20);
    for (i = 0; i < COUNT(cases); i++) {
        buffer.len = 0;
        CHECK(aioc_mem_append_str(&memory, &buffer, "x="));
        CHECK_INT(append_value(&memory, &buffer, &cases[i].value, cases[i].ascii), cases[i].want != NULL);
        CHECK_TEXT(buffer.data + 2, buffer.len - 2, cases[i].want ? cases[i].want : "");
    }
    aioc_mem_buffer_free(&memory, &buffer);
    aioc_mem_close(&memory);
}

TEST(json_a_failed_append_changes_nothing)
{
    static const char newlines[] = "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n";
    static const char accents[] =
        "[\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\"]";
    aiocosmos_value value = value_of(AIOCOSMOS_VALUE_JSON, accents, 0, 0);
    aioc_mem memory;
    aioc_mem_buffer buffer = {NULL, 0, 0};
    aioc_mem_init(&memory, NULL, 64);                  /* one block of the smallest size */
    CHECK(aioc_mem_append_str(&memory, &buffer, "x="));
    CHECK(!append_value(&memory, &buffer, &value, true));
    CHECK(!append_string(&memory, &buffer, newlines, sizeof newlines - 1, false));
    CHECK_TEXT(buffer.data, buffer.len, "x=");
    aioc_mem_buffer_free(&memory, &buffer);
    aioc_mem_close(&memory);
}

static char *text_of_many(size_t count)
{
    char *text = malloc(2 * count + 2), *at = text;
    *at++ = '[';
    while (count-- > 0) at += sprintf(at, "1%s", count ? "," : "]");
    return text;
}

TEST(json_is_parsed_without_a_client)
{
    static const char bad[] = "{\"a\":01}";
    char *text = text_of_many(20000);
    aiocosmos_json_doc *doc, *other;
    size_t error_at = 0;
    int64_t number = 0;
    CHECK_INT(aiocosmos_json_parse(NULL, text, strlen(text), &doc, NULL), 0);
    CHECK_INT(aiocosmos_json_parse(NULL, "[7]", 3, &other, &error_at), 0);
    CHECK_INT(aiocosmos_json_count(aiocosmos_json_root(doc)), 20000);
    CHECK(aiocosmos_json_get_i64(aiocosmos_json_at(aiocosmos_json_root(other), "/0"), &number) && number == 7);
    aiocosmos_json_free(doc);
    aiocosmos_json_free(other);
    CHECK_INT(aiocosmos_json_parse(NULL, bad, sizeof bad - 1, &doc, &error_at), AIOCOSMOS_E_ARGUMENT);
    CHECK(doc == NULL);
    CHECK_INT(error_at, 6);
    CHECK_INT(aiocosmos_json_parse(NULL, "", 0, &doc, NULL), AIOCOSMOS_E_ARGUMENT);
    aiocosmos_json_free(doc);
    free(text);
}

static void write_player(aiocosmos_jw *w)
{
    aiocosmos_jw_object(w, NULL);
    aiocosmos_jw_str(w, "id", "ann \"the\" \xc3\xa9");
    aiocosmos_jw_i64(w, "score", -12);
    aiocosmos_jw_f64(w, "hp", 0.5);
    aiocosmos_jw_bool(w, "alive", true);
    aiocosmos_jw_array(w, "tags");
    aiocosmos_jw_end(w);
    aiocosmos_jw_array(w, "path");
    aiocosmos_jw_i64(w, NULL, 1);
    aiocosmos_jw_object(w, NULL);
    aiocosmos_jw_end(w);
    aiocosmos_jw_array(w, NULL);
    aiocosmos_jw_str(w, NULL, "");
    aiocosmos_jw_value(w, NULL, value_of(AIOCOSMOS_VALUE_NULL, NULL, 0, 0));
    aiocosmos_jw_end(w);
    aiocosmos_jw_end(w);
    aiocosmos_jw_value(w, "raw\n", value_of(AIOCOSMOS_VALUE_JSON, " {\"a\":[]} ", 0, 0));
    aiocosmos_jw_end(w);
}

TEST(json_the_writer_writes)
{
    static const char want[] =
        "{\"id\":\"ann \\\"the\\\" \xc3\xa9\",\"score\":-12,\"hp\":0.5,\"alive\":true,\"tags\":[],"
        "\"path\":[1,{},[\"\",null]],\"raw\\n\": {\"a\":[]} }";
    size_t cap;
    for (cap = 0; cap <= sizeof want; cap++) {
        char *buf = exact_copy(want, cap < sizeof want ? cap : sizeof want);
        aiocosmos_jw w;
        aiocosmos_str text;
        aiocosmos_jw_init(&w, buf, cap);
        write_player(&w);
        text = aiocosmos_jw_finish(&w);
        CHECK_TEXT(text.ptr, text.len, cap < sizeof want ? "" : want);
        CHECK_STR(text.ptr, cap < sizeof want ? "" : want);
        CHECK_STR(w.error, cap < sizeof want ? "the buffer is too small" : NULL);
        CHECK_INT(w.len, sizeof want - 1);                 /* whatever there is room for */
        free(buf);
    }
}

TEST(json_the_writer_takes_text_by_its_length_and_json)
{
    static const char cut[] = "annabel", nul[] = "a\0b";
    char buf[200];
    aiocosmos_jw w;
    aiocosmos_jw_init(&w, buf, sizeof buf);
    aiocosmos_jw_object(&w, NULL);
    aiocosmos_jw_strn(&w, "id", cut, 3);
    aiocosmos_jw_strn(&w, "nul", nul, 3);
    aiocosmos_jw_strn(&w, "none", NULL, 0);                /* as an empty string_view is */
    aiocosmos_jw_raw(&w, "tags", "[1,2],", 5);
    aiocosmos_jw_array(&w, "more");
    aiocosmos_jw_raw(&w, NULL, "null", 4);
    aiocosmos_jw_end(&w);
    aiocosmos_jw_end(&w);
    CHECK_STR(aiocosmos_jw_finish(&w).ptr,
              "{\"id\":\"ann\",\"nul\":\"a\\u0000b\",\"none\":\"\",\"tags\":[1,2],\"more\":[null]}");
    CHECK_STR(w.error, NULL);
}

/* Steps of a writer, one sign each: { [ open a container without a name, o a with one, } closes it; 1 is a value
 * without a name, i one with; the rest are values and names that are no JSON. */
static void jw_step(aiocosmos_jw *w, char step)
{
    switch (step) {
    case 'r': aiocosmos_jw_raw(w, NULL, "[1,]", 3); break;
    case 'R': aiocosmos_jw_raw(w, NULL, "", 0); break;
    case 'Q': aiocosmos_jw_raw(w, NULL, NULL, 0); break;
    case 's': aiocosmos_jw_strn(w, NULL, "\xc3\xa9", 1); break;
    case 'S': aiocosmos_jw_strn(w, NULL, NULL, 1); break;
    case '{': aiocosmos_jw_object(w, NULL); break;
    case '[': aiocosmos_jw_array(w, NULL); break;
    case 'o': aiocosmos_jw_object(w, "o"); break;
    case 'a': aiocosmos_jw_array(w, "a"); break;
    case '}': aiocosmos_jw_end(w); break;
    case '1': aiocosmos_jw_i64(w, NULL, 1); break;
    case 'i': aiocosmos_jw_i64(w, "i", 1); break;
    case 'F': aiocosmos_jw_f64(w, NULL, HUGE_VAL); break;
    case 'N': aiocosmos_jw_f64(w, NULL, double_of(UINT64_C(0x7FF8000000000000))); break;
    case 'U': aiocosmos_jw_str(w, NULL, "\xff"); break;
    case '0': aiocosmos_jw_str(w, NULL, NULL); break;
    case 'k': aiocosmos_jw_i64(w, "\xff", 1); break;
    case 'J': aiocosmos_jw_value(w, NULL, value_of(AIOCOSMOS_VALUE_JSON, "[1,]", 0, 0)); break;
    case 'E': aiocosmos_jw_value(w, NULL, value_of(AIOCOSMOS_VALUE_NONE, NULL, 0, 0)); break;
    case '?': aiocosmos_jw_value(w, NULL, value_of(AIOCOSMOS_VALUE_UNSET, NULL, 0, 0)); break;
    default: test_fail(__FILE__, __LINE__, "no step %c", step);
    }
}

TEST(json_the_writer_refuses_what_is_no_json)
{
    static const struct { const char *steps, *want; } cases[] = {
        {"1", "1"}, {"{}", "{}"}, {"[}", "[]"}, {"{i}", "{\"i\":1}"}, {"[1}", "[1]"}, {"{oi}ai}", ""},
        {"{oi}a1}}", "{\"o\":{\"i\":1},\"a\":[1]}"},
        {"", ""}, {"{", ""}, {"[", ""}, {"}", ""}, {"{}}", ""}, {"[[}", ""}, {"11", ""}, {"{}{}", ""}, {"1}", ""},
        {"[}1", ""}, {"i", ""}, {"o}", ""},
        {"{1}", ""}, {"{{}}", ""}, {"{[}}", ""}, {"[i}", ""}, {"[o}}", ""}, {"[a}}", ""}, {"F", ""}, {"[F}", ""},
        {"[N}", ""}, {"[U}", ""}, {"[0}", ""}, {"{k}", ""},
        {"[J}", ""}, {"[E}", ""}, {"[?}", ""}, {"{i1i}", ""}, {"[F1}", ""}, {"[1F}", ""},
        {"[r}", ""}, {"[R}", ""}, {"[Q}", ""}, {"[s}", ""}, {"[S}", ""},
    };
    size_t i;
    for (i = 0; i < COUNT(cases); i++) {
        char buf[200];
        const char *step;
        aiocosmos_jw w;
        aiocosmos_str text;
        aiocosmos_jw_init(&w, buf, sizeof buf);
        for (step = cases[i].steps; *step; step++) jw_step(&w, *step);
        text = aiocosmos_jw_finish(&w);
        if (strcmp(text.ptr, cases[i].want) != 0) test_fail(__FILE__, __LINE__, "%s: %s", cases[i].steps, text.ptr);
        CHECK_INT(text.len, strlen(cases[i].want));
        CHECK_INT(w.error != NULL, text.len == 0);
        if (text.len > 0) continue;
        jw_step(&w, '1');                              /* what failed stays failed */
        CHECK_INT(aiocosmos_jw_finish(&w).len, 0);
    }
}

/* The same steps into a buffer of any size: what is written is JSON, or the error says why there is nothing; a buffer
 * that is too small is told how much is needed, which then suffices; and nothing is written behind the buffer. */
TEST(json_the_writer_survives_any_steps_and_any_buffer)
{
    static const char signs[] = "{[oa}}}}1i1i1i1i0FUkJErRs?";
    int round, written = 0, small = 0;
    seed = 7;
    for (round = 0; round < 20000; round++) {
        char steps[24], buf[400], tight[400];
        size_t count = random_below(sizeof steps), i, cap, fits;
        size_t kinds = random_below(8) ? 16 : sizeof signs - 1;  /* mostly only such as can be JSON */
        aiocosmos_jw w, again;
        aiocosmos_str text;
        for (i = 0; i < count; i++) steps[i] = signs[random_below(kinds)];
        aiocosmos_jw_init(&w, buf, sizeof buf);
        for (i = 0; i < count; i++) {
            bool named = aioc_json_jw_in_object(&w), closes = steps[i] == '}';
            static const char pairs[] = "{o[a1i";
            const char *other = strchr(pairs, steps[i]);
            if (other && kinds == 16 && !closes && ((other - pairs) % 2 != 0) != named)
                steps[i] = pairs[(other - pairs) ^ 1];     /* what belongs there, so that some come to an end */
            jw_step(&w, steps[i]);
        }
        text = aiocosmos_jw_finish(&w);
        CHECK_INT(text.len == 0, w.error != NULL);
        cap = random_below(text.len + 3);
        memset(tight, 'x', sizeof tight);
        aiocosmos_jw_init(&again, cap ? tight : NULL, cap);
        for (i = 0; i < count; i++) jw_step(&again, steps[i]);
        text = aiocosmos_jw_finish(&again);
        for (i = cap; i < sizeof tight; i++) CHECK_INT(tight[i], 'x');
        fits = w.error ? 0 : w.len + 1;
        if (w.error) {
            CHECK_INT(text.len, 0);
            CHECK_STR(again.error, w.error);
        } else if (cap < fits) {
            CHECK_STR(again.error, "the buffer is too small");
            CHECK_INT(again.len + 1, fits);
            small++;
        } else {
            reader r;
            CHECK_TEXT(text.ptr, text.len, buf);
            reader_open(&r);
            CHECK_INT(verdict(&r, text.ptr, text.len), 0);
            reader_close(&r);
            written++;
        }
    }
    CHECK(written > 100 && small > 100);
}

TEST(json_the_writer_knows_the_depth)
{
    static const struct { int depth; const char *inside; bool ok; } cases[] = {
        {128, "1", true}, {129, "1", false}, {128, "[]", false}, {127, "[]", true}, {127, "[[]]", false},
        {64, "{\"a\":1}", true}, {65, "[1]", true},
    };
    size_t i;
    for (i = 0; i < COUNT(cases); i++) {
        char buf[1000];
        aiocosmos_jw w;
        aiocosmos_str text;
        reader r;
        int depth;
        aiocosmos_jw_init(&w, buf, sizeof buf);
        for (depth = 0; depth < cases[i].depth; depth++) {
            CHECK_STR(w.error, NULL);
            if (depth % 3 == 1) aiocosmos_jw_object(&w, NULL);
            else aiocosmos_jw_array(&w, depth % 3 == 2 ? "in" : NULL);
        }
        CHECK_INT(w.error != NULL, depth > 128);
        aiocosmos_jw_value(&w, depth % 3 == 2 ? "in" : NULL, value_of(AIOCOSMOS_VALUE_JSON, cases[i].inside, 0, 0));
        for (depth = 0; depth < cases[i].depth; depth++) aiocosmos_jw_end(&w);
        text = aiocosmos_jw_finish(&w);
        CHECK_INT(text.len > 0, cases[i].ok);
        if (!cases[i].ok) CHECK(strstr(w.error, "too deep"));
        if (text.len == 0) continue;
        reader_open(&r);
        CHECK_INT(verdict(&r, text.ptr, text.len), 0);
        reader_close(&r);
    }
}

TEST(json_what_is_written_reads_back)
{
    int round;
    seed = 99;
    for (round = 0; round < 300; round++) {
        char buf[4096], text[64], got[64];
        size_t len = random_below(40), i;
        aiocosmos_jw w;
        aiocosmos_str json;
        aiocosmos_json root;
        double number = double_of(random_number() & ~(UINT64_C(1) << 62)), number_got = 0;
        int64_t whole = (int64_t)random_number(), whole_got = 0;
        reader r;
        for (i = 0; i < len;) {
            uint32_t code = 1 + (uint32_t)random_below(random_below(2) ? 0x7F : 0x10FFFF);
            if (code - 0xD800 < 0x800 || i + 4 > len) code = '\n';
            i += aioc_json_utf8_put(code, text + i);
        }
        text[i] = '\0';
        aiocosmos_jw_init(&w, buf, sizeof buf);
        aiocosmos_jw_object(&w, NULL);
        aiocosmos_jw_str(&w, text, text);
        aiocosmos_jw_f64(&w, "/f", number);
        aiocosmos_jw_i64(&w, "~i", whole);
        aiocosmos_jw_end(&w);
        json = aiocosmos_jw_finish(&w);
        CHECK(json.len > 0);
        reader_open(&r);
        root = parsed(&r, json.ptr);
        CHECK(aioc_json_get_f64(aioc_json_at(root, "/~1f"), &number_got));
        CHECK(bits_of(number_got) == bits_of(number));
        CHECK(aioc_json_get_i64(aioc_json_at(root, "/~0i"), &whole_got));
        CHECK_INT(whole_got, whole);
        {
            const char *name = text;
            aiocosmos_json value;
            CHECK_INT(aioc_json_fields(root, &name, 1, &value), 1);
            CHECK_INT(aioc_json_get_str(value, got, sizeof got), i);
            CHECK_STR(got, text);
            CHECK(aioc_json_is_str(value, text));
        }
        reader_close(&r);
    }
}
