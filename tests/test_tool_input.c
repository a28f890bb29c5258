/* What the tool's import reads: JSON documents in any layout, and CSV; and when two documents are the same one. */
#define AIOCOSMOS_IMPLEMENTATION
#define DOCUMENT_BYTES_MAX 64
#define INPUT_READ_BYTES 32
#include "test.h"
#include "../tools/cli/tool.c"
#include "../tools/cli/io.c"
#include "../tools/cli/blocks.c"
#include "../tools/cli/input.c"
#include "../tools/cli/values.c"
#include "../tools/cli/csv.c"
#include "../tools/cli/request.c"
#include "../tools/cli/same.c"

typedef struct reading {
    input in;
    values values;
    csv csv;
    bool is_csv;
    char told[8192];                           /* what was taken, as text */
    size_t told_len;
    uint64_t next;
} reading;

static void tell(reading *r, const char *format, ...)
{
    va_list arguments;
    int len;
    va_start(arguments, format);
    len = vsnprintf(r->told + r->told_len, sizeof r->told - r->told_len, format, arguments);
    va_end(arguments);
    r->told_len += (size_t)len;
    CHECK(r->told_len < sizeof r->told);
}

/* Takes what there is: "LINE/ELEMENT:TEXT;", with what is known to be wrong, or its length, in front. */
static taken take_all(reading *r)
{
    document at;
    taken got;
    while (got = r->is_csv ? csv_take(&r->csv, &r->in, &at) : values_take(&r->values, &r->in, &at),
           got == TAKEN_DOCUMENT) {
        tell(r, "%d", (int)at.line);
        if (at.element) tell(r, "/%d", (int)at.element);
        if (at.why) tell(r, "(%s)", at.why);
        if (at.too_long) tell(r, "(%d bytes)", (int)at.too_long);
        else tell(r, ":%.*s", (int)at.text.len, at.text.ptr);
        tell(r, ";");
        r->next = at.next;
    }
    if (got == TAKEN_ERROR) tell(r, "%d(%s)", (int)at.line, at.why);
    return got;
}

/* What is taken of a text that comes in two parts, through a pipe. */
static const char *cut(bool is_csv, const char *text, size_t len, size_t first)
{
    static reading r;
    int ends[2];
    taken got;
    memset(&r, 0, sizeof r);
    r.is_csv = is_csv;
    CHECK(pipe(ends) == 0 && len <= 32768);
    CHECK(input_open(&r.in, ends[0]));
    CHECK(write(ends[1], text, first) == (ssize_t)first);
    got = take_all(&r);
    if (got == TAKEN_NONE_YET) {
        CHECK(write(ends[1], text + first, len - first) == (ssize_t)(len - first));
        got = take_all(&r);
    }
    close(ends[1]);
    if (got == TAKEN_NONE_YET) got = take_all(&r);
    CHECK(got == TAKEN_END || got == TAKEN_ERROR);
    input_close(&r.in);
    csv_free(&r.csv);
    return r.told;
}

static void check_cuts(bool is_csv, const char *text, size_t len, const char *want)
{
    size_t first;
    for (first = 0; first <= len; first++) CHECK_STR(cut(is_csv, text, len, first), want);
}

#define VALUES(TEXT, WANT) check_cuts(false, TEXT, sizeof TEXT - 1, WANT)
#define Y70 "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
#define CSV(TEXT, WANT)    check_cuts(true, TEXT, sizeof TEXT - 1, WANT)

TEST(one_document_a_line)
{
    VALUES("", "");
    VALUES("\n \t\r\n", "");
    VALUES("{\"id\":1}\n{\"id\":2}\r\n\n{\"id\":3}", "1:{\"id\":1};2:{\"id\":2};4:{\"id\":3};");
    VALUES("\xEF\xBB\xBF{}\n", "1:{};");
    VALUES("\xEF\xBB", "1:\xEF\xBB;");
}

TEST(utf16_is_told)
{
    VALUES("\xFF\xFE{\0}\0", "0(" UTF16_FAULT ")");
    VALUES("\xFE\xFF", "0(" UTF16_FAULT ")");
    VALUES("\xFF{}\n", "1:\xFF{};");
    CSV("\xFF\xFEi\0d\0\n\0", "0(" UTF16_FAULT ")");
}

TEST(what_is_wrong_on_a_line_stays_on_it)
{
    VALUES("{\"id\":}\n{\"id\":2}\n", "1:{\"id\":};2:{\"id\":2};");
    VALUES("{\"id\":1}}\n42\n[]\nnonsense\n\"\\\n", "1:{\"id\":1}};2:42;3:[];4:nonsense;5:\"\\;");
    VALUES("{\"id\":1},\n{\"id\":2},\n", "1:{\"id\":1},;2:{\"id\":2},;");
    VALUES("{\"a\":\"x\n{}\n", "1:{\"a\":\"x;2:{};");                      /* the quote is missing */
    VALUES("{\"a\":1\n{\"b\":2}\n{}", "1:{\"a\":1;2:{\"b\":2};3:{};");      /* the brace is */
    VALUES("{\"a\":[1,\n{\"b\":2}\n{}", "1:{\"a\":[1,;2:{\"b\":2};3:{};");
    VALUES("{\"a\":\n", "1:{\"a\":;");
    VALUES("{\"a\":\"\\\"\n{}\n", "1:{\"a\":\"\\\";2:{};");           /* the quote is escaped */
    VALUES("{\"a\":\"\\\\\"}{}\n{}\n", "1:{\"a\":\"\\\\\"};1:{};2:{};");  /* the backslash is */
    VALUES("{\"a\":\"\\\\\\\"}\"}\n{}\n", "1:{\"a\":\"\\\\\\\"}\"};2:{};");
}

TEST(documents_of_several_lines)
{
    VALUES("{\n  \"a\": {\n    \"b\": [1, \"}\\\"{\"]\n  }\n}\n{\n}\n",
           "1:{\n  \"a\": {\n    \"b\": [1, \"}\\\"{\"]\n  }\n};6:{\n};");
    VALUES("{\"a\":1}{\"b\":2} {\"c\":3}\n{}", "1:{\"a\":1};1:{\"b\":2} ;1:{\"c\":3};2:{};");
    VALUES("{\"a\":1}\t[2]{}\n{\"a\":\"} {\"}\n{}\n", "1:{\"a\":1}\t;1:[2];1:{};2:{\"a\":\"} {\"};3:{};");
    VALUES("{\"a\":[{} \n,{}]}\n{}\n", "1:{\"a\":[{} \n,{}]};3:{};");
    VALUES("{\"a\":[{},\n{}]}\n{}\n", "1:{\"a\":[{},\n{}]};3:{};");
    VALUES("{\"a\":[{}\n{},{}]}\n{}\n", "1:{\"a\":[{};2:{},{}]};3:{};");   /* the comma is missing */
    VALUES("{\n\"a\":\n1}{\"b\":2}\n", "1:{\n\"a\":\n1};3:{\"b\":2};");
    VALUES("{\n\"a\" 1\n}\n{\n}\n", "1:{\n\"a\" 1\n};4:{\n};");             /* up to what may be the next */
    VALUES("{\n\"a\":1\n", "1:{\n\"a\":1;");
    VALUES("{\n\"a\":1\n} nonsense\n{}\n", "1:{\n\"a\":1\n} nonsense;4:{};");
}

TEST(elements_of_an_array)
{
    VALUES("[]", "");
    VALUES(" \n[{\"a\":1},\n {\"b\":[{}]} ,3,\"x\"\n]\n", "2/1:{\"a\":1};3/2:{\"b\":[{}]};3/3:3;3/4:\"x\";");
    VALUES("[1][2]\n[[3],null]{}", "1/1:1;1/2:2;2/3:[3];2/4:null;2:{};");
    VALUES("[{},{}", "1/1:{};1/2:{};1(the array does not end)");
    VALUES("[{},\n", "1/1:{};2(the array does not end)");
    VALUES("[{}\n{}]", "1/1:{};2(',' or ']' is expected in the array)");
    VALUES("[{\"a\" 1},{}]", "1(an element of the array is not JSON)");
    VALUES("[,{}]", "1(an element of the array is not JSON)");
    VALUES("[{},]", "1/1:{};1(an element of the array is not JSON)");
    VALUES("[{\"a\":", "1(the array does not end)");
}

TEST(too_long_to_keep)
{
    char text[4096], want[256];
    size_t fill;
    for (fill = 54; fill < 300; fill += fill < 60 ? 1 : 7) {               /* {"a":""} has 8 bytes */
        int len = snprintf(text, sizeof text, "{\"a\":\"%0*d\"}\r\n{}\n", (int)fill, 0);
        if (fill + 8 > 64) snprintf(want, sizeof want, "1(%d bytes);2:{};", (int)fill + 8);
        else snprintf(want, sizeof want, "1:{\"a\":\"%0*d\"};2:{};", (int)fill, 0);
        check_cuts(false, text, (size_t)len, want);
        len = snprintf(text, sizeof text, "[{\"a\":\"%0*d\"},{}]", (int)fill, 0);
        if (fill + 8 > 64) snprintf(want, sizeof want, "1/1(%d bytes);1/2:{};", (int)fill + 8);
        else snprintf(want, sizeof want, "1/1:{\"a\":\"%0*d\"};1/2:{};", (int)fill, 0);
        check_cuts(false, text, (size_t)len, want);
    }
    VALUES("nonsense-----------------------------------------------------------------------------------\n{}",
           "1(91 bytes);2:{};");
    VALUES("{\n\"a\":\"--------------------------------------------------------------------------\"\n}\n{}",
           "1(84 bytes);4:{};");
    VALUES("{\n\"a\" \"--------------------------------------------------------------------------\"\n}\n{}",
           "1(84 bytes);4:{};");
}

TEST(where_to_go_on)
{
    static reading r;
    static const char text[] = "{} {\n}{}\n";
    uint64_t next[] = { 1, 2, 3 };
    int ends[2], i;
    document at;
    memset(&r, 0, sizeof r);
    CHECK(pipe(ends) == 0 && write(ends[1], text, sizeof text - 1) == sizeof text - 1 && close(ends[1]) == 0);
    CHECK(input_open(&r.in, ends[0]));
    for (i = 0; i < 3; i++) {
        CHECK_INT(values_take(&r.values, &r.in, &at), TAKEN_DOCUMENT);
        CHECK_INT(at.next, next[i]);           /* the same line again, where another document is on it */
    }
    input_close(&r.in);
}

TEST(records_as_documents)
{
    CSV("id\n", "");
    CSV("id,n\r\na,1\r\nb,2", "2:{\"id\":\"a\",\"n\":1};3:{\"id\":\"b\",\"n\":2};");
    CSV("\xEF\xBB\xBF\"id\",\"a \"\"b\"\"\"\n1,x\n", "2:{\"id\":\"1\",\"a \\\"b\\\"\":\"x\"};");
    CSV("id,x\n1,\n2,\"\"\n\n3, y \n", "2:{\"id\":\"1\"};3:{\"id\":\"2\",\"x\":\"\"};5:{\"id\":\"3\",\"x\":\" y \"};");
    CSV("id,x\n1,\"a\nb,\"\"c\"\"\"\n2,\\\n",
        "2:{\"id\":\"1\",\"x\":\"a\\u000ab,\\\"c\\\"\"};4:{\"id\":\"2\",\"x\":\"\\\\\"};");
    CSV("x,id\n\"1\",true\n", "2:{\"x\":\"1\",\"id\":\"true\"};");
}

TEST(a_name_may_be_empty)
{
    CSV("id,\"\"\n1,2\n", "2:{\"id\":\"1\",\"\":2};");
}

TEST(types_of_fields)
{
    static const char *const bare[] = { "0", "-1", "1.50", "1e3", "-0.5E-10", "true", "false", "null",
                                        "123456789012345", "1234567890123456", "1796064510123456",
                                        "0.30000000000000004", "-1.7976931348623157e+308", "5E-324", "1e21", "1e100",
                                        "9007199254740993000", "0.00001234567890123456", "0.0000000000000000" };
    static const char *const text[] = { "007", "+1", "1.", ".5", "1e", "True", "NULL", "0x1", "1 ", "1e400", "1e1000",
                                        "1e-400", "-", "NaN", "1,5", "9007199254740993", "1234567890123456789",
                                        "0.300000000000000044", "1796064510.12345678", "1.7976931348623159e308" };
    char record[64], want[96];
    size_t i;
    for (i = 0; i < sizeof bare / sizeof *bare; i++) {
        snprintf(record, sizeof record, "id,x\n1,%s\n", bare[i]);
        snprintf(want, sizeof want, "2:{\"id\":\"1\",\"x\":%s};", bare[i]);
        check_cuts(true, record, strlen(record), want);
        snprintf(record, sizeof record, "id,x\n1,\"%s\"\n", bare[i]);
        snprintf(want, sizeof want, "2:{\"id\":\"1\",\"x\":\"%s\"};", bare[i]);
        check_cuts(true, record, strlen(record), want);
    }
    for (i = 0; i < sizeof text / sizeof *text; i++) {
        bool quoted = strchr(text[i], ',') != NULL;
        snprintf(record, sizeof record, quoted ? "id,x\n1,\"%s\"\n" : "id,x\n1,%s\n", text[i]);
        snprintf(want, sizeof want, "2:{\"id\":\"1\",\"x\":\"%s\"};", text[i]);
        check_cuts(true, record, strlen(record), want);
    }
}

TEST(records_that_are_refused)
{
    CSV("id,x\n1,a\"b\n2,\"a\"b\n3,4\n", "2(a quote in a field that does not begin with one):1,a\"b;"
                                         "3(text behind the closing quote of a field):2,\"a\"b;"
                                         "4:{\"id\":\"3\",\"x\":4};");
    CSV("id,x\n1\n2,3,4\n5,6\n", "2(fewer fields than the header has):1;3(more fields than the header has):2,3,4;"
                                 "4:{\"id\":\"5\",\"x\":6};");
    /* One that is closed, but too late, whether its end has been read with it or not. */
    CSV("id,x\n1,\"" Y70 "\"\n2,3\n", "2(a quote that is not closed)(74 bytes);3:{\"id\":\"2\",\"x\":3};");
    CSV("id,x\n1,\"\n" Y70 "\"\n2,3\n", "2(a quote that is not closed):1,\";3(71 bytes);4:{\"id\":\"2\",\"x\":3};");
    CSV("id,x\n1,\"a\n2,3\n", "2(a quote that is not closed):1,\"a;3:{\"id\":\"2\",\"x\":3};");
    CSV("id,x\n1,\"a\n2,3\n--------------------------------------------------------------------------,4\n5,6\n",
        "2(a quote that is not closed):1,\"a;3:{\"id\":\"2\",\"x\":3};4(76 bytes);5:{\"id\":\"5\",\"x\":6};");
    CSV("id\n\"--------------------------------------------------------------------------\n1\n",
        "2(a quote that is not closed)(75 bytes);3:{\"id\":\"1\"};");
    CSV("id\n\"\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\"\n",
        "2(as JSON it is too long for an item):\"\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\";");
    CSV("id;\1a\n", "1(the header, which is the first line, has no column \"id\", and commas separate columns: id;?a)");
    CSV("", "");                             /* no rows: no documents */
    CSV("id,\n", "1(the header has a column without a name)");
    CSV("id,id\n", "1(the header names a column twice)");
    CSV("id,a\"\n", "1(a quote in a field that does not begin with one)");
}

/* Whatever comes, in whatever pieces, the same is taken. */
TEST(random_texts_cut_anywhere)
{
    static const char alphabet[] = "{{}}[]\"\"\",::\n\n\r 1a\\-";
    char text[200], whole[8192];
    uint64_t seed = 1;
    int round;
    for (round = 0; round < 4000; round++) {
        size_t len, i;
        bool is_csv = round % 2 != 0;
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        len = seed >> 33 & 127;
        memcpy(text, "id,a\n", 5);
        for (i = is_csv ? 5 : 0; i < len; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[i] = alphabet[(seed >> 33) % (sizeof alphabet - 1)];
        }
        strcpy(whole, cut(is_csv, text, len, len));
        for (i = 0; i < len; i += 7) CHECK_STR(cut(is_csv, text, len, i), whole);
    }
}

TEST(what_a_terminal_would_obey_is_tamed)
{
    char text[] = "a\tb\33[2J\xC2\x9B" "2J\xC3\x9B\x7F\n\0z\xC2";
    tame(text, sizeof text - 1, "\t\n");
    CHECK_STR(text, "a\tb?[2J??2J\xC3\x9B?\n?z\xC2");
}

TEST(blocks_go_with_the_last_that_is_in_them)
{
    static const size_t sizes[] = {0, 1, 8, 300, BLOCK_BYTES - 100, BLOCK_BYTES, 5 * BLOCK_BYTES};
    enum { SIZES = sizeof sizes / sizeof *sizes, THINGS = 1000 };
    char *things[THINGS];
    size_t i, k;
    blocks b = {0};
    for (i = 0; i < THINGS; i++) {
        things[i] = blocks_take(&b, sizes[i % SIZES]);
        CHECK(things[i] && (uintptr_t)things[i] % sizeof(uint64_t) == 0);
        memset(things[i], (int)i & 127, sizes[i % SIZES]);
        if (i < 100) continue;
        for (k = 0; k < sizes[(i - 100) % SIZES]; k++) CHECK_INT(things[i - 100][k], (i - 100) & 127);
        blocks_drop(&b, things[i - 100]);
        CHECK(b.bytes < 100 * 6 * BLOCK_BYTES);
    }
    for (i = THINGS; i-- > THINGS - 100;) blocks_drop(&b, things[i]);
    CHECK(b.last && b.last->taken == 0);
    CHECK_INT(b.bytes, b.last->bytes);
    for (i = 0; i < THINGS; i++) {                         /* the same memory, again and again */
        blocks_drop(&b, blocks_take(&b, 100));
        CHECK_INT(b.bytes, b.last->bytes);
    }
    free(b.last);
}

static likeness likeness_of(const char *a, const char *b)
{
    aiocosmos_json_doc *x, *y;
    likeness found;
    CHECK_INT(aiocosmos_json_parse(NULL, a, strlen(a), &x, NULL), 0);
    CHECK_INT(aiocosmos_json_parse(NULL, b, strlen(b), &y, NULL), 0);
    found = same_document(aiocosmos_json_root(x), aiocosmos_json_root(y));
    CHECK_INT(same_document(aiocosmos_json_root(y), aiocosmos_json_root(x)), found);
    CHECK_INT(same_document(aiocosmos_json_root(x), aiocosmos_json_root(x)), SAME);
    aiocosmos_json_free(x);
    aiocosmos_json_free(y);
    return found;
}

#define CHECK_SAME(A, B)      CHECK_INT(likeness_of(A, B), SAME)
#define CHECK_DIFFERENT(A, B) CHECK_INT(likeness_of(A, B), DIFFERENT)

TEST(documents_of_the_same_values_are_the_same)
{
    CHECK_SAME("{}", "{ }");
    CHECK_SAME("{\"id\":\"1\",\"a\":[1,{\"b\":null}]}", "{\"a\" : [ 1.0, {\"b\":null} ], \"id\":\"\\u0031\"}");
    CHECK_SAME("{\"a\":1e2}", "{\"a\":100}");
    CHECK_SAME("{\"a\":-0}", "{\"a\":0}");
    CHECK_SAME("{\"a\":9007199254740993}", "{\"a\":9007199254740992}");
    CHECK_SAME("{\"a\":1e999}", "{\"a\":1e999}");
    CHECK_SAME("{\"\\u0061\":1}", "{\"a\":1}");
    CHECK_SAME("{\"a\":\"\\/\\b\\n\\\\\\\"\"}", "{\"a\":\"/\\u0008\\u000A\\u005c\\u0022\"}");
    CHECK_SAME("{\"a\":\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\"}", "{\"a\":\"\\u00E4\\u20ac\\ud83d\\uDE00\"}");
    CHECK_SAME("{\"a\":1,\"b\":2,\"a\":3}", "{\"b\":2,\"a\":3}");
    CHECK_SAME("{\"id\":\"1\",\"_etag\":\"old\",\"_ts\":1}",
               "{\"id\":\"1\",\"_rid\":\"x\",\"_etag\":\"new\",\"_self\":\"\"}");
    CHECK_SAME("{\"\\u005fts\":1,\"\\u005f\\u0061ttachments\":2}", "{\"_ts\":3,\"_lsn\":4}");
}

TEST(documents_of_other_values_are_different)
{
    CHECK_DIFFERENT("{}", "{\"a\":1}");
    CHECK_DIFFERENT("{\"a\":1}", "{\"b\":1}");
    CHECK_DIFFERENT("{\"a\":1}", "{\"a\":2}");
    CHECK_DIFFERENT("{\"a\":1}", "{\"a\":\"1\"}");
    CHECK_DIFFERENT("{\"a\":true}", "{\"a\":false}");
    CHECK_DIFFERENT("{\"a\":null}", "{}");
    CHECK_DIFFERENT("{\"a\":1e999}", "{\"a\":1e998}");
    CHECK_DIFFERENT("{\"a\":[1,2]}", "{\"a\":[2,1]}");
    CHECK_DIFFERENT("{\"a\":[1,2]}", "{\"a\":[1,2,3]}");
    CHECK_DIFFERENT("{\"a\":{\"_ts\":1}}", "{\"a\":{\"_ts\":2}}");
    CHECK_DIFFERENT("{\"a\":\"ab\"}", "{\"a\":\"abc\"}");
    CHECK_DIFFERENT("{\"a\":\"\xF0\x9F\x98\x80\"}", "{\"a\":\"\\ud83d\"}");
    CHECK_DIFFERENT("{\"a\":\"\xF0\x9F\x98\x80\"}", "{\"a\":\"\xF0\x9F\x98\x81\"}");
    CHECK_DIFFERENT("{\"_mine\":1}", "{\"_mine\":2}");
    CHECK_DIFFERENT("{\"\\u005fts_and_more_than_any\":1}", "{}");
}

/* Each name is there many times, and in another order: the last ones count. */
TEST(documents_of_many_properties_are_compared_quickly)
{
    enum { NAMES = 20000 };
    static char a[NAMES * 16], b[NAMES * 16];
    char *to = a, *from = b;
    int i;
    for (i = 0; i < NAMES; i++) to += sprintf(to, "%c\"%d\":%d", i ? ',' : '{', i % 5000, i);
    for (i = NAMES; i-- > 0;)
        from += sprintf(from, "%c\"%d\":%d", from == b ? '{' : ',', i % 5000, NAMES - 5000 + i % 5000);
    strcpy(to, "}");
    strcpy(from, "}");
    CHECK_SAME(a, b);
    from[-1] = from[-1] == '9' ? '8' : '9';
    CHECK_DIFFERENT(a, b);
}
