/* The layer rows alone: the order of values, what makes two of them the same, sets, partial aggregates, groups, and
 * the best rows of many. Values are made as models first, which know their order and equality in another way, and are
 * then written as JSON in as many ways as JSON has. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"
#include "texts.h"

#include <stdlib.h>

/*--- Small things that the tests share ----------------------------------------*/

static bool one_in(size_t n)
{
    return random_below(n) == 0;
}

#define PLENTY 1000000000ul

/* The memory of what is tested, of which nothing is kept on free lists, and that of the texts it reads. */
static struct world {
    heap_state heap;
    aioc_mem memory, texts;
    aioc_mem_buffer out;
    size_t next;  /* of the rows of a stage */
    struct { aiocosmos_json_doc doc; char *text; } *docs;
    size_t doc_count, doc_cap;
} world;

static const uint64_t key[2] = {UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210)};

static void enter(unsigned long allocations)
{
    memset(&world, 0, sizeof world);
    world.memory = rationed(&world.heap, allocations);
    aioc_mem_init(&world.texts, NULL, (size_t)1 << 30);
}

static void forget_texts(void)
{
    while (world.doc_count > 0) {
        world.doc_count--;
        aioc_json_close(&world.docs[world.doc_count].doc);
        free(world.docs[world.doc_count].text);
    }
}

/* The output, which grows in the memory that is tested. */
static void free_out(void)
{
    aioc_mem_buffer_free(&world.memory, &world.out);
}

static void leave(void)
{
    forget_texts();
    free(world.docs);
    free_out();
    CHECK_INT(world.memory.used, 0);
    CHECK_INT(world.heap.blocks, 0);
    aioc_mem_close(&world.memory);
    aioc_mem_close(&world.texts);
}

/* Reads a copy on the heap that ends where the text does. It lives until the texts are forgotten. */
static aiocosmos_json json_of(const char *text, size_t len)
{
    char *copy = malloc(len > 0 ? len : 1);
    size_t at = world.doc_count;
    if (len == 0) {
        free(copy);
        return aioc_json_none();
    }
    memcpy(copy, text, len);
    if (at == world.doc_cap) {
        world.doc_cap = at > 0 ? 2 * at : 64;
        world.docs = realloc(world.docs, world.doc_cap * sizeof *world.docs);
    }
    world.docs[at].text = copy;
    aioc_json_open(&world.docs[at].doc, &world.texts);
    world.doc_count++;
    if (aioc_json_parse(&world.docs[at].doc, copy, len) != 0) {
        test_fail(__FILE__, __LINE__, "%s at %zu: %.*s", world.docs[at].doc.error, world.docs[at].doc.error_at,
                  (int)len, text);
    }
    return aioc_json_root(&world.docs[at].doc);
}

/* "" is undefined. */
static aiocosmos_json json(const char *text)
{
    return json_of(text, strlen(text));
}

static aioc_val_hash hash_of(aiocosmos_json value)
{
    return aioc_val_hash_of(key, value);
}

static bool same(aioc_val_hash a, aioc_val_hash b)
{
    return a.high == b.high && a.low == b.low;
}

/* What was put out. It lives until the next is taken. */
static const char *taken(void)
{
    static char text[1 << 16];
    CHECK(world.out.len < sizeof text);
    if (world.out.len > 0) memcpy(text, world.out.data, world.out.len);
    text[world.out.len] = '\0';
    free_out();
    return text;
}

/* Text that grows without a thought for memory. */
typedef struct paper { char text[1 << 21]; size_t len; } paper;

__attribute__((format(printf, 2, 3)))
static void put(paper *p, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    p->len += (size_t)vsnprintf(p->text + p->len, sizeof p->text - p->len, format, values);
    va_end(values);
    CHECK(p->len < sizeof p->text);
}

static aiocosmos_json json_on(const paper *p)
{
    return json_of(p->text, p->len);
}

/*--- Vectors ------------------------------------------------------------------*/

static char *vector_text;
static aiocosmos_json vector_cases;

static void vectors_open(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t len;
    CHECK(file != NULL);
    vector_text = malloc(1 << 20);
    len = fread(vector_text, 1, 1 << 20, file);
    fclose(file);
    vector_cases = aioc_json_at(json_of(vector_text, len), "/cases");
    free(vector_text);
    CHECK(aioc_json_count(vector_cases) > 0);
}

static int int_at(aiocosmos_json value, const char *pointer)
{
    int64_t number;
    CHECK(aioc_json_get_i64(aioc_json_at(value, pointer), &number));
    return (int)number;
}

static int compare(const char *a, const char *b)
{
    int order = aioc_val_compare(json(a), json(b));
    CHECK_INT(aioc_val_compare(json(b), json(a)), -order);
    return order;
}

static void check_sequence(aiocosmos_json items)
{
    aiocosmos_json item = aioc_json_none(), before = item, value;
    bool first = true;
    while (aioc_json_next(items, NULL, &item)) {
        value = aioc_json_at(item, "/item");
        if (!first) CHECK_INT(aioc_val_compare(before, value), -1);
        if (!first) CHECK_INT(aioc_val_compare(value, before), 1);
        before = value;
        first = false;
    }
}

static void check_tuple(aiocosmos_json one)
{
    aiocosmos_json direction = aioc_json_none(), a = direction, b = direction;
    int result = 0;
    while (result == 0 && aioc_json_next(aioc_json_at(one, "/directions"), NULL, &direction)) {
        aioc_json_next(aioc_json_at(one, "/a"), NULL, &a);
        aioc_json_next(aioc_json_at(one, "/b"), NULL, &b);
        result = aioc_val_compare(aioc_json_at(a, "/item"), aioc_json_at(b, "/item"));
        if (aioc_json_is_str(direction, "Descending")) result = -result;
    }
    CHECK_INT(result, int_at(one, "/result"));
}

TEST(the_order_is_that_of_the_vectors)
{
    aiocosmos_json one = aioc_json_none();
    int compared = 0, sequences = 0, strings = 0, tuples = 0;
    enter(PLENTY);
    vectors_open("tests/vectors/order-by-compare.json");
    while (aioc_json_next(vector_cases, NULL, &one)) {
        aiocosmos_json op = aioc_json_at(one, "/op");
        int order = aioc_val_compare(aioc_json_at(one, "/a/item"), aioc_json_at(one, "/b/item"));
        if (aioc_json_is_str(op, "compare")) {
            CHECK_INT(order, int_at(one, "/result"));
            compared++;
        } else if (aioc_json_is_str(op, "compare-strings-differ-by-sdk")) {
            CHECK_INT(order, int_at(one, "/utf16_ordinal"));
            strings++;
        } else if (aioc_json_is_str(op, "ascending-sequence")) {
            check_sequence(aioc_json_at(one, "/items"));
            sequences++;
        } else if (aioc_json_is_str(op, "compare-tuple")) {
            check_tuple(one);
            tuples++;
        }
    }
    CHECK(compared >= 15 && sequences == 1 && strings == 1 && tuples == 4);
    leave();
}

TEST(types_come_in_the_order_of_the_service)
{
    static const char *const rising[] = {
        "", "null", "false", "true", "-1e999", "0", "1e999", "\"\"", "\"z\"", "[]", "{}"
    };
    size_t i, j;
    enter(PLENTY);
    for (i = 0; i < COUNT(rising); i++) {
        for (j = i + 1; j < COUNT(rising); j++) CHECK_INT(compare(rising[i], rising[j]), -1);
        CHECK_INT(compare(rising[i], rising[i]), 0);
    }
    leave();
}

/* By the bytes of their hashes; none of this can be told from the values. */
TEST(arrays_and_objects_come_in_the_order_of_the_service)
{
    static const char *const alike[][2] = {
        {"[1]", "[ 1.0 ]"}, {"[\"a\\u00e9\"]", "[\"\\u0061\xc3\xa9\"]"}, {"{\"a\":1,\"b\":[]}", "{\"b\":[],\"a\":1}"},
        {"{\"a\":2,\"a\":1}", "{\"\\u0061\":1}"}, {"[0]", "[-0]"},
        {"[\"sixteen bytes a block, and more\"]", "[\"sixteen bytes \\u0061 block\\u002c and more\"]"}
    };
    static const char *const others[] = {
        "[]", "[1]", "[2]", "[[1]]", "[null]", "[false]", "[true]", "[\"1\"]", "[1,2]", "[2,1]", "[9007199254740993]",
        "[9007199254740992]", "[-9007199254740993]", "[\"\"]", "[{}]", "[1.5]"
    };
    /* As the tests of Microsoft's SDKs have them, the high half first. */
    static const struct { const char *json; uint64_t high, low; } known[] = {
        {"[]", UINT64_C(0x7d54f729ff4a63ff), UINT64_C(0xa2ef3ca359538082)},
        {"{}", UINT64_C(0x14b86a60aa01a738), UINT64_C(0x1438743e80b965d8)},
        {"1234", UINT64_C(0xa94bf61335c9fba4), UINT64_C(0x2c28d7d9895d1434)},
        {"[null,false,true,1234,\"asdfasdfasdfasdfasdfasdf\"]", UINT64_C(0xa9407916de27f316),
         UINT64_C(0xcc5a8e4eb9afd5e6)},
        {"{\"null\":null,\"false\":false,\"true\":true,\"cosmosNumber\":1234,"
         "\"cosmosString\":\"asdfasdfasdf\\u0061sdfasdfasdf\"}", UINT64_C(0x3b6aa9f4f43aaec0),
         UINT64_C(0xe48ebe2bc020d55c)}
    };
    size_t i, j;
    enter(PLENTY);
    for (i = 0; i < COUNT(known); i++) {
        uint64_t hash[2] = {aioc_val_seeds[0][0], aioc_val_seeds[0][1]};
        aioc_val_mix_value(json_of(known[i].json, strlen(known[i].json)), hash);
        CHECK(hash[0] == known[i].low && hash[1] == known[i].high);
    }
    for (i = 0; i < COUNT(alike); i++) CHECK_INT(compare(alike[i][0], alike[i][1]), 0);
    for (i = 0; i < COUNT(others); i++) {
        for (j = 0; j < COUNT(others); j++) {
            int order = compare(others[i], others[j]);
            CHECK(i == j ? order == 0 : order == -compare(others[j], others[i]) && order != 0);
        }
    }
    leave();
}

TEST(numbers_are_compared_exactly)
{
    static const char *const rising[] = {
        "-1e400", "-1.7976931348623157e308", "-9223372036854775809e1", "-9223372036854775808", "-9223372036854775807",
        "-9007199254740993", "-9007199254740992", "-1.5", "-1", "-0.5", "-5e-324",
        "0", "5e-324", "0.5", "1", "1.5", "2",
        "9007199254740991", "9007199254740992", "9007199254740993", "9007199254740994", "9223372036854775806",
        "9223372036854775807", "9223372036854775808", "1e19", "1.7976931348623157e308", "1e400"
    };
    static const char *const equal[][2] = {
        {"1", "1.0"}, {"1", "1e0"}, {"1", "10e-1"}, {"0", "-0"}, {"0", "-0.0"}, {"0", "0e99"}, {"0", "1e-999"},
        {"100", "1e2"}, {"0.5", "5e-1"}, {"9007199254740992", "9.007199254740992e15"}, {"1e400", "1e401"},
        {"1", "1.00000000000000000000000000001"}, {"9223372036854775808", "9.223372036854775808e18"},
        {"-9223372036854775808", "-9.223372036854775808e18"}, {"1e400", "2e999999999999"}
    };
    size_t i, j;
    enter(PLENTY);
    for (i = 0; i < COUNT(rising); i++) {
        for (j = i + 1; j < COUNT(rising); j++) {
            if (compare(rising[i], rising[j]) != -1) test_fail(__FILE__, __LINE__, "%s, %s", rising[i], rising[j]);
            CHECK(!same(hash_of(json(rising[i])), hash_of(json(rising[j]))));
        }
    }
    for (i = 0; i < COUNT(equal); i++) {
        if (compare(equal[i][0], equal[i][1]) != 0) test_fail(__FILE__, __LINE__, "%s, %s", equal[i][0], equal[i][1]);
        CHECK(same(hash_of(json(equal[i][0])), hash_of(json(equal[i][1]))));
    }
    leave();
}

TEST(strings_are_compared_by_utf16_units)
{
    static const char *const rising[] = {
        "\"\"", "\"\\u0000\"", "\"\\t\"", "\"a\"", "\"a\\u0000\"", "\"aaaaaaaa\"", "\"aaaaaaaaa\"",
        "\"aaaaaaaaab\"", "\"aaaaaaaab\"", "\"aaaaaaaab\\u0001\"", "\"aaaabaaa\"", "\"aaaabaaaa\"", "\"aaaabbaa\"",
        "\"aaaa\xf0\x9f\x98\x80yy\"", "\"aaaa\xf0\x9f\x98\x81xx\"", "\"aaaa\xef\xbd\x9exxx\"", "\"\x7f\"",
        "\"\xc3\xa9\"", "\"\xed\x9f\xbf\"",
        "\"\\ud800\"", "\"\\ud83d\"", "\"\xf0\x9f\x98\x80\"", "\"\xf0\x9f\x98\x81\"", "\"\\ud83e\"", "\"\\ude00\"",
        "\"\xee\x80\x80\"", "\"\xef\xbd\x9e\"", "\"\\ufffd\"", "\"\xef\xbf\xbf\""
    };
    static const char *const equal[][2] = {
        {"\"a\"", "\"\\u0061\""}, {"\"/\"", "\"\\/\""}, {"\"\\n\"", "\"\\u000A\""}, {"\"\\\"\"", "\"\\u0022\""},
        {"\"\xf0\x9f\x98\x80\"", "\"\\ud83d\\uDE00\""}, {"\"\xef\xbf\xbd\"", "\"\\ufffd\""}
    };
    size_t i, j;
    enter(PLENTY);
    for (i = 0; i < COUNT(rising); i++) {
        for (j = i + 1; j < COUNT(rising); j++) {
            if (compare(rising[i], rising[j]) != -1) test_fail(__FILE__, __LINE__, "%s, %s", rising[i], rising[j]);
            CHECK(!same(hash_of(json(rising[i])), hash_of(json(rising[j]))));
        }
    }
    for (i = 0; i < COUNT(equal); i++) {
        if (compare(equal[i][0], equal[i][1]) != 0) test_fail(__FILE__, __LINE__, "%s, %s", equal[i][0], equal[i][1]);
        CHECK(same(hash_of(json(equal[i][0])), hash_of(json(equal[i][1]))));
    }
    leave();
}

/*--- Models of values ---------------------------------------------------------*/

enum { MEMBERS = 5, UNITS = 12 };
enum { UNDEFINED, NUL, NO, YES, NUMBER, STRING, ARRAY, OBJECT };           /* in their order */

typedef struct text { uint16_t unit[UNITS]; size_t len; } text;

typedef struct model {
    int type;
    bool whole;
    int64_t integer;
    double real;
    text string;
    size_t count;
    text name[MEMBERS];
    struct model *member[MEMBERS];
} model;

static text random_string(size_t len_max)
{
    static const uint16_t few[] = {
        'a', 'a', 'a', 'a', 'b', '"', '\\', '/', 0, 1, '\n', 0x7F, 0x80, 0xE9, 0x7FF, 0x800, 0x20AC, 0xD7FF, 0xD800,
        0xD83D, 0xDBFF, 0xDC00, 0xDE00, 0xDFFF, 0xE000, 0xFF5E, 0xFFFD, 0xFFFF
    };
    text string;
    memset(&string, 0, sizeof string);
    string.len = random_below(len_max + 1);
    for (size_t i = 0; i < string.len; i++) string.unit[i] = few[random_below(one_in(3) ? COUNT(few) : 5)];
    return string;
}

static bool same_text(const text *a, const text *b)
{
    return a->len == b->len && memcmp(a->unit, b->unit, a->len * sizeof *a->unit) == 0;
}

static void random_double(model *m)
{
    static const int64_t edges[] = {0, 1, -1, 10, 1000, INT64_MAX, INT64_MIN, INT64_MAX - 1, INT64_MIN + 1,
                                    INT64_C(1) << 53, (INT64_C(1) << 53) + 1, -(INT64_C(1) << 53) - 1};
    static const double reals[] = {0.5, -0.5, 0.1, 1e300, -1e300, 5e-324, 18446744073709551616.0, 1e19, -1e19, 1e-7,
                                   -9223372036854777856.0, 4503599627370495.5};
    m->whole = !one_in(3);
    if (m->whole) m->integer = one_in(2) ? edges[random_below(COUNT(edges))] : (int64_t)random_below(9) - 4;
    else if (one_in(2)) m->real = reals[random_below(COUNT(reals))];
    else m->real = (double)random_below(9) - 4 + 0.25 * (double)(1 + random_below(3));
}

static model *random_model(int depth)
{
    model *m = calloc(1, sizeof *m);
    m->type = (int)random_below(depth > 0 ? OBJECT + 1 : STRING + 1);
    if (m->type == UNDEFINED) m->type = NUMBER;
    if (m->type == NUMBER) random_double(m);
    if (m->type == STRING) m->string = random_string(UNITS);
    if (m->type < ARRAY) return m;
    m->count = random_below(MEMBERS + 1);
    for (size_t i = 0; i < m->count; i++) {
        bool fresh = false;
        while (m->type == OBJECT && !fresh) {
            m->name[i] = random_string(3);
            fresh = true;
            for (size_t j = 0; j < i; j++) fresh = fresh && !same_text(&m->name[i], &m->name[j]);
        }
        m->member[i] = random_model(depth - 1);
    }
    return m;
}

static void free_model(model *m)
{
    for (size_t i = 0; i < m->count; i++) free_model(m->member[i]);
    free(m);
}

static long double number_of(const model *m)
{
    return m->whole ? (long double)m->integer : (long double)m->real;
}

static bool same_model(const model *a, const model *b)
{
    size_t i, j;
    if (a->type != b->type || a->count != b->count) return false;
    if (a->type == NUMBER) return number_of(a) == number_of(b);
    if (a->type == STRING) return same_text(&a->string, &b->string);
    for (i = 0; i < a->count; i++) {
        for (j = a->type == OBJECT ? 0 : i; j < b->count; j++) {
            if (a->type != OBJECT || same_text(&a->name[i], &b->name[j])) break;
        }
        if (j == b->count || !same_model(a->member[i], b->member[j])) return false;
    }
    return true;
}

static int order_of_models(const model *a, const model *b)
{
    size_t i;
    if (a->type != b->type) return a->type < b->type ? -1 : 1;
    if (a->type == NUMBER) return (number_of(a) > number_of(b)) - (number_of(a) < number_of(b));
    if (a->type < NUMBER) return 0;
    for (i = 0; i < a->string.len && i < b->string.len; i++) {
        if (a->string.unit[i] != b->string.unit[i]) return a->string.unit[i] < b->string.unit[i] ? -1 : 1;
    }
    return (a->string.len > b->string.len) - (a->string.len < b->string.len);
}

/*--- Models as JSON, written in different ways --------------------------------*/

static void spell_space(paper *p)
{
    if (one_in(8)) put(p, "%s", one_in(2) ? " " : "\n\t");
}

static void spell_string(paper *p, const text *string)
{
    size_t i;
    bool plainly = one_in(2);
    put(p, "\"");
    for (i = 0; i < string->len; i++) {
        uint32_t unit = string->unit[i], code = unit;
        bool high = unit - 0xD800 < 0x400, pair = high && i + 1 < string->len && string->unit[i + 1] - 0xDC00u < 0x400u;
        bool must = unit < 0x20 || unit == '"' || unit == '\\' || (unit - 0xD800 < 0x800 && !pair);
        char utf8[4];
        if (must ? unit == '\n' || unit == '"' || unit == '\\' : unit == '/') {
            if (!plainly && one_in(2)) {
                put(p, "\\%c", unit == '\n' ? 'n' : (int)unit);
                continue;
            }
        }
        if (must || (!plainly && one_in(3))) {
            put(p, one_in(2) ? "\\u%04x" : "\\u%04X", (unsigned)unit);
            if (pair) put(p, "\\u%04x", (unsigned)string->unit[++i]);
            continue;
        }
        if (pair) code = 0x10000 + ((unit - 0xD800) << 10) + (string->unit[++i] - 0xDC00u);
        put(p, "%.*s", (int)aioc_json_utf8_put(code, utf8), utf8);
    }
    put(p, "\"");
}

static void spell_number(paper *p, const model *m)
{
    long long integer = m->integer;
    int zeros = 0;
    if (!m->whole) {
        put(p, one_in(2) ? "%.17g" : "%.25e", m->real);
        return;
    }
    if (integer == 0 && one_in(2)) put(p, "-");
    switch (random_below(4)) {
    case 0: put(p, "%lld.0", integer); break;
    case 1: put(p, "%llde0", integer); break;
    case 2:
        while (integer != 0 && integer % 10 == 0) integer /= 10, zeros++;
        put(p, "%lldE+%d", integer, zeros);
        break;
    default: put(p, "%lld", integer);
    }
}

static void spell(paper *p, const model *m);

/* The properties in any order, now and then with one of the same name, and another value, before the one that
 * counts. */
static void spell_object(paper *p, const model *m)
{
    size_t order[MEMBERS], i, j;
    for (i = 0; i < m->count; i++) {
        j = random_below(i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    put(p, "{");
    for (i = 0; i < m->count; i++) {
        if (i > 0) put(p, ",");
        if (one_in(6)) {
            spell_string(p, &m->name[order[i + random_below(m->count - i)]]);
            put(p, ":[\"hidden\",%u],", (unsigned)random_below(1000));
        }
        spell_space(p);
        spell_string(p, &m->name[order[i]]);
        spell_space(p);
        put(p, ":");
        spell(p, m->member[order[i]]);
    }
    put(p, "}");
}

static void spell(paper *p, const model *m)
{
    size_t i;
    spell_space(p);
    switch (m->type) {
    case NUL: put(p, "null"); break;
    case NO: put(p, "false"); break;
    case YES: put(p, "true"); break;
    case NUMBER: spell_number(p, m); break;
    case STRING: spell_string(p, &m->string); break;
    case ARRAY:
        put(p, "[");
        for (i = 0; i < m->count; i++) {
            if (i > 0) put(p, ",");
            spell(p, m->member[i]);
        }
        put(p, "]");
        break;
    default: spell_object(p, m);
    }
    spell_space(p);
}

static paper page;

static aiocosmos_json spelled(const model *m)
{
    page.len = 0;
    spell(&page, m);
    return json_on(&page);
}

/* Long enough to be compared by words, and often without an escape. */
TEST(random_strings_are_in_one_order)
{
    enum { STRINGS = 400 };
    static const uint16_t few[][3] = {{'a', 0, 0}, {'b', 0, 0}, {0xE9, 0, 0}, {0x20AC, 0, 0}, {0xFF5E, 0, 0},
                                      {0xD83D, 0xDE00, 0}, {0xDBFF, 0xDFFF, 0}, {0xE000, 0, 0}, {0xD7FF, 0, 0}};
    static model models[STRINGS];
    static aiocosmos_json strings[STRINGS];
    size_t i, j, unit;
    seed = 27;
    enter(PLENTY);
    for (i = 0; i < STRINGS; i++) {
        text *string = &models[i].string;
        models[i].type = STRING;
        for (j = random_below(UNITS); string->len < j;) {
            const uint16_t *units = few[one_in(4) ? random_below(COUNT(few)) : 0];
            for (unit = 0; units[unit] && string->len < UNITS; unit++) string->unit[string->len++] = units[unit];
        }
        strings[i] = spelled(&models[i]);
    }
    for (i = 0; i < STRINGS; i++) {
        for (j = 0; j < STRINGS; j++) {
            CHECK_INT(aioc_val_compare(strings[i], strings[j]), order_of_models(&models[i], &models[j]));
            CHECK_INT(same(hash_of(strings[i]), hash_of(strings[j])), same_model(&models[i], &models[j]));
        }
    }
    leave();
}

TEST(random_values_are_in_one_order)
{
    enum { VALUES = 300 };
    static model *models[VALUES];
    static aiocosmos_json one[VALUES], other[VALUES];
    size_t i, j;
    if (LDBL_MANT_DIG < 64) SKIP("long double has no 64 bits here, so the models have no exact order");
    seed = 20;
    enter(PLENTY);
    for (i = 0; i < VALUES; i++) {
        models[i] = random_model(1);
        one[i] = spelled(models[i]);
        other[i] = spelled(models[i]);
    }
    for (i = 0; i < VALUES; i++) {
        for (j = 0; j < VALUES; j++) {
            int got = aioc_val_compare(one[i], other[j]), want;
            if (models[i]->type != models[j]->type || models[i]->type < ARRAY)
                want = order_of_models(models[i], models[j]);
            else if (same_model(models[i], models[j])) want = 0;
            else want = got ? -aioc_val_compare(other[j], one[i]) : 1;      /* by a hash: one way or the other */
            if (got == want) continue;
            test_fail(__FILE__, __LINE__, "%d, not %d: %.*s %.*s", got, want, (int)one[i].len, one[i].ptr,
                      (int)other[j].len, other[j].ptr);
        }
    }
    for (i = 0; i < VALUES; i++) free_model(models[i]);
    leave();
}

/*--- Hashes -------------------------------------------------------------------*/

/* As OpenSSL has it, with c-rounds 1 and d-rounds 3: key 00 01 ... 0f, input 00 01 ... and so many bytes. */
TEST(siphash_is_that_of_others)
{
    static const struct { size_t len; unsigned char want[16]; } vectors[] = {
        {0, {0xE7, 0x7E, 0xBC, 0xB2, 0x27, 0x88, 0xA5, 0xBE, 0xFD, 0x62, 0xDB, 0x6A, 0xDD, 0x30, 0x30, 0x01}},
        {8, {0xAA, 0x12, 0xFE, 0xE1, 0xD5, 0xE3, 0xDA, 0xB4, 0x72, 0x4F, 0x16, 0xAB, 0x35, 0xF9, 0xC7, 0x99}},
        {16, {0xD0, 0xA8, 0xD9, 0x57, 0x15, 0x51, 0x8E, 0xEB, 0xB5, 0x13, 0xB0, 0xF8, 0x3D, 0x9E, 0x17, 0x93}},
        {56, {0x94, 0xEC, 0x2E, 0x19, 0xA4, 0x0B, 0xE4, 0x1A, 0xF3, 0x94, 0x0D, 0x6B, 0x30, 0xC4, 0x93, 0x84}}
    };
    unsigned char bytes[64], got[16];
    uint64_t sip_key[2];
    size_t i, at;
    for (i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)i;
    sip_key[0] = aioc_text_load64le(bytes);
    sip_key[1] = aioc_text_load64le(bytes + 8);
    for (i = 0; i < COUNT(vectors); i++) {
        aioc_val_sip sip;
        aioc_val_hash hash;
        aioc_val_sip_open(&sip, sip_key);
        for (at = 0; at < vectors[i].len; at += 8) aioc_val_sip_word(&sip, aioc_text_load64le(bytes + at));
        aioc_val_sip_word(&sip, (uint64_t)vectors[i].len << 56);             /* we have no need of it */
        hash = aioc_val_sip_close(&sip);
        aioc_text_store64le(got, hash.low);
        aioc_text_store64le(got + 8, hash.high);
        CHECK_MEM(got, vectors[i].want, sizeof got);
    }
}

/* Another value in one place. */
static void change(model *m)
{
    if (m->type == ARRAY || m->type == OBJECT) {
        if (m->count > 0 && !one_in(4)) {
            change(m->member[random_below(m->count)]);
        } else if (m->count > 0) {
            free_model(m->member[--m->count]);
        } else {
            m->type = m->type == ARRAY ? OBJECT : ARRAY;
        }
    } else if (m->type == STRING && m->string.len > 0) {
        m->string.unit[random_below(m->string.len)] ^= 1;
    } else {
        m->type = m->type == NUL ? YES : NUL;
    }
}

TEST(the_same_value_has_the_same_hash_however_it_is_written)
{
    static const uint64_t other_key[2] = {UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543211)};
    int round;
    seed = 21;
    enter(PLENTY);
    for (round = 0; round < 4000; round++) {
        model *m = random_model(3);
        aiocosmos_json one = spelled(m), other = spelled(m);
        aioc_val_hash hash = hash_of(one);
        if (!same(hash, hash_of(other))) {
            test_fail(__FILE__, __LINE__, "%.*s\n%.*s", (int)one.len, one.ptr, (int)other.len, other.ptr);
        }
        CHECK(!same(hash, aioc_val_hash_of(other_key, one)));
        change(m);
        other = spelled(m);
        if (same(hash, hash_of(other))) {
            test_fail(__FILE__, __LINE__, "%.*s\n%.*s", (int)one.len, one.ptr, (int)other.len, other.ptr);
        }
        free_model(m);
        forget_texts();
    }
    leave();
}

TEST(different_values_have_different_hashes)
{
    enum { VALUES = 500 };
    static model *models[VALUES];
    static aioc_val_hash hashes[VALUES];
    size_t i, j, equal = 0;
    if (LDBL_MANT_DIG < 64) SKIP("long double has no 64 bits here, so the models have no exact equality");
    seed = 22;
    enter(PLENTY);
    for (i = 0; i < VALUES; i++) {
        models[i] = random_model(one_in(2) ? 0 : 2);
        hashes[i] = hash_of(spelled(models[i]));
    }
    for (i = 0; i < VALUES; i++) {
        for (j = 0; j < i; j++) {
            bool want = same_model(models[i], models[j]);
            CHECK_INT(same(hashes[i], hashes[j]), want);
            equal += want;
        }
    }
    CHECK(equal > 100);
    for (i = 0; i < VALUES; i++) free_model(models[i]);
    leave();
}

TEST(values_that_look_alike_are_told_apart)
{
    static const char *const texts[] = {
        "", "null", "false", "true", "0", "1", "\"\"", "\"0\"", "\"null\"", "[]", "{}",
        "[[]]", "[{}]", "[null]", "[[],[]]",
        "[1,2]", "[2,1]", "[[1],2]", "[[1,2]]", "[[[1]],[2]]", "[12]", "[\"a\",\"b\"]", "[\"ab\",\"\"]", "[\"ab\"]",
        "[\"a\\\"b\"]",
        "{\"a\":1}", "{\"a\":\"1\"}", "{\"b\":1}", "{\"a\":1,\"b\":1}", "{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":1}",
        "{\"a\":{\"b\":1}}", "{\"a\":null}", "{\"a\":{}}", "{\"a\":[]}", "{\"\":1}",
        "[\"a\",1]", "\"\\ufffd\"", "\"\\ud800\"", "\"\\udfff\"", "{\"\\ud800\":1}", "{\"\\ufffd\":1}"
    };
    size_t i, j;
    enter(PLENTY);
    for (i = 0; i < COUNT(texts); i++) {
        for (j = 0; j < i; j++) {
            if (!same(hash_of(json(texts[i])), hash_of(json(texts[j])))) continue;
            test_fail(__FILE__, __LINE__, "%s and %s", texts[i], texts[j]);
        }
    }
    leave();
}

/* So many properties, of which each name that divides by so much stands twice, the second time last. */
static aiocosmos_json large_object(size_t count, size_t every, bool twice)
{
    size_t i;
    page.len = 0;
    put(&page, "{");
    for (i = 0; i < count; i++) {
        bool again = i % every == 0;
        if (again && twice) put(&page, "\"n%zu\":\"no\",", i);
        if (!again) put(&page, "\"n%zu\":%zu,", i, i);
    }
    for (i = 0; i < count; i += every) put(&page, "\"%s%zu\":%zu,", i % 2 ? "n" : "\\u006e", i, i);
    put(&page, "\"end\":0}");
    return json_on(&page);
}

TEST(of_properties_named_twice_the_last_counts)
{
    static const size_t counts[] = {1, 2, 15, 31};
    size_t i;
    enter(PLENTY);
    CHECK(same(hash_of(json("{\"a\":1,\"a\":2}")), hash_of(json("{\"a\":2}"))));
    CHECK(same(hash_of(json("{\"a\":1,\"\\u0061\":2,\"a\":3}")), hash_of(json("{\"a\":3}"))));
    CHECK(!same(hash_of(json("{\"a\":1,\"a\":2}")), hash_of(json("{\"a\":1}"))));
    CHECK(!same(hash_of(json("{\"a\":1,\"a\":1}")), hash_of(json("{}"))));
    for (i = 0; i < COUNT(counts); i++) {
        aioc_val_hash once = hash_of(large_object(counts[i], 3, false));
        CHECK(same(once, hash_of(large_object(counts[i], 3, true))));
        CHECK(same(once, hash_of(large_object(counts[i], 1, true))));
        CHECK(!same(once, hash_of(large_object(counts[i] + 1, 3, false))));
        forget_texts();
    }
    CHECK(aioc_json_count(large_object(AIOC_VAL_NAMES_MAX - 2, 100, true)) == AIOC_VAL_NAMES_MAX);
    CHECK(same(hash_of(large_object(AIOC_VAL_NAMES_MAX - 2, 100, false)),
               hash_of(large_object(AIOC_VAL_NAMES_MAX - 2, 100, true))));
    leave();
}

TEST(an_object_of_too_many_properties_is_still_hashed_in_any_order)
{
    aioc_val_hash hash;
    size_t i, count = AIOC_VAL_NAMES_MAX + 10;
    enter(PLENTY);
    page.len = 0;
    for (i = 0; i < count; i++) put(&page, "%s\"n%zu\":%zu", i == 0 ? "{" : ",", i, i);
    put(&page, "}");
    hash = hash_of(json_on(&page));
    page.len = 0;
    for (i = count; i > 0; i--) put(&page, "%s\"n%zu\":%zu", i == count ? "{" : ",", i - 1, i - 1);
    put(&page, "}");
    CHECK(same(hash, hash_of(json_on(&page))));
    leave();
}

TEST(the_deepest_values_are_hashed)
{
    aioc_val_hash hash[3];
    int round, i;
    enter(PLENTY);
    for (round = 0; round < 3; round++) {
        page.len = 0;
        for (i = 0; i < AIOC_JSON_DEPTH_MAX; i++) put(&page, i % 2 ? "[" : "{\"a\":1,\"a\":");
        put(&page, round == 2 ? "2" : "1");
        for (i = AIOC_JSON_DEPTH_MAX; i-- > 0;) put(&page, i % 2 ? "]" : "}");
        hash[round] = hash_of(json_on(&page));
    }
    CHECK(same(hash[0], hash[1]));
    CHECK(!same(hash[0], hash[2]));
    leave();
}

/* Kept in tokens: what one process hashed another must find. Computed by another SipHash (in Python) over what the
 * layer says that it feeds. */
TEST(a_hash_does_not_depend_on_the_machine)
{
    aioc_val_hash hash;
    enter(PLENTY);
    hash = hash_of(json("{\"a\":[1,2.5,\"\\u00e9\",null],\"b\":{\"c\":true}}"));
    CHECK(hash.high == UINT64_C(0xc36f779e24be8676) && hash.low == UINT64_C(0x5549c8067afa97d4));
    leave();
}

/*--- Sets ---------------------------------------------------------------------*/

/* Few bits, so that many are the same, and many in the same place. */
static aioc_val_hash random_hash(void)
{
    aioc_val_hash hash;
    hash.low = (uint64_t)random_below(8) << 32 | random_below(40);
    hash.high = random_below(8);
    return hash;
}

TEST(a_set_has_each_hash_once_in_order_of_arrival)
{
    static aioc_val_hash seen[4000];
    aioc_val_set set = {{NULL, 0, 0}, 0, 0};
    uint32_t count = 0, i;
    int round;
    seed = 23;
    enter(PLENTY);
    CHECK_INT(aioc_val_set_bytes(&set), 0);
    for (round = 0; round < 4000; round++) {
        aioc_val_hash hash = random_hash();
        for (i = 0; i < count && !same(seen[i], hash); i++) continue;
        CHECK_INT(aioc_val_set_find(&set, hash), i < count ? i : UINT32_MAX);
        CHECK_INT(aioc_val_set_add(&world.memory, &set, hash), i == count);
        if (i == count) seen[count++] = hash;
        CHECK_INT(set.count, count);
    }
    CHECK(count > 1000 && count < 2560);
    for (i = 0; i < count; i++) CHECK(same(aioc_val_set_slot(&set, i)->hash, seen[i]));
    CHECK(aioc_val_set_bytes(&set) >= count * sizeof(aioc_val_hash));
    CHECK(aioc_val_set_bytes(&set) <= world.memory.used);
    aioc_val_set_free(&world.memory, &set);
    CHECK_INT(set.count, 0);
    leave();
}

TEST(a_hash_of_zeros_is_one_like_others)
{
    aioc_val_set set = {{NULL, 0, 0}, 0, 0};
    aioc_val_hash zero = {0, 0}, one = {0, 1};
    enter(PLENTY);
    CHECK_INT(aioc_val_set_add(&world.memory, &set, one), 1);
    CHECK_INT(aioc_val_set_find(&set, zero), UINT32_MAX);
    CHECK_INT(aioc_val_set_add(&world.memory, &set, zero), 1);
    CHECK_INT(aioc_val_set_add(&world.memory, &set, zero), 0);
    aioc_val_set_free(&world.memory, &set);
    leave();
}

TEST(a_set_survives_that_there_is_no_memory)
{
    unsigned allowed;
    for (allowed = 0; allowed < 8; allowed++) {
        aioc_val_set set = {{NULL, 0, 0}, 0, 0};
        aioc_val_hash hash = {7, 0};
        int result = 1;
        enter(allowed);
        for (hash.low = 0; hash.low < 1000 && result > 0; hash.low++) {
            result = aioc_val_set_add(&world.memory, &set, hash);
        }
        CHECK_INT(result, AIOCOSMOS_E_NOMEM);
        CHECK_INT(set.count, hash.low - 1);
        CHECK_INT(set.count, allowed == 0 ? 0 : AIOC_VAL_ARRAY_PIECE * (allowed - 1)); /* one is the directory's */
        heap_recover(&world.heap);
        hash.low--;
        CHECK_INT(aioc_val_set_add(&world.memory, &set, hash), 1);
        while (hash.low-- > 0) CHECK_INT(aioc_val_set_add(&world.memory, &set, hash), 0);
        aioc_val_set_free(&world.memory, &set);
        leave();
    }
}

/*--- Cells ---------------------------------------------------------------------*/

/* The aggregates as the vectors name them, in the order of aioc_plan_aggregate. */
static const char *const aggregate_names[] = {"", "Count", "CountIf", "Sum", "Average", "Min", "Max", "MakeList",
                                              "MakeSet"};

static uint8_t aggregate_of(aiocosmos_json name)
{
    uint8_t i = 1;
    while (i < COUNT(aggregate_names) && !aioc_json_is_str(name, aggregate_names[i])) i++;
    CHECK(i < COUNT(aggregate_names));
    return i;
}

/* A cell alone; the groups have what sets need. */
static void open_cell(aioc_row_groups *groups, aioc_row_cell *cell)
{
    static const aioc_plan_shape shape;
    aioc_row_groups_open(groups, &world.memory, &shape, key);
    memset(cell, 0, sizeof *cell);
}

static void close_cell(aioc_row_groups *groups, aioc_row_cell *cell)
{
    aioc_row_cell_clear(&world.memory, cell);
    aioc_row_groups_close(&groups->stage);
}

/* The result of partial answers, a JSON array; of AIOC_PLAN_PLAIN they are bare. "undefined", or why it is refused. */
static const char *accumulated(uint8_t aggregate, aiocosmos_json partials)
{
    aioc_row_groups groups;
    aioc_row_cell accumulator;
    aiocosmos_json partial = aioc_json_none();
    const char *why = NULL;
    int result = 0;
    open_cell(&groups, &accumulator);
    while (result == 0 && aioc_json_next(partials, NULL, &partial)) {
        result = row_status(aioc_row_accumulate(&groups, &accumulator, aggregate, partial), &why);
    }
    CHECK((result == 0) == (why == NULL));
    CHECK(result == 0 || result == AIOCOSMOS_E_PROTOCOL);
    CHECK(aioc_row_cell_bytes(&accumulator) <= world.memory.used);
    if (result == 0) result = aioc_row_cell_append(&world.memory, &accumulator, aggregate, &world.out);
    if (result == 0) why = "undefined";
    close_cell(&groups, &accumulator);
    if (!why) why = taken();
    CHECK_INT(world.memory.used, 0);
    return why;
}

TEST(aggregates_are_those_of_the_vectors)
{
    aiocosmos_json one = aioc_json_none();
    int count = 0;
    enter(PLENTY);
    vectors_open("tests/vectors/aggregate-merge.json");
    while (aioc_json_next(vector_cases, NULL, &one)) {
        aiocosmos_json want = aioc_json_at(one, "/result");
        const char *got = accumulated(aggregate_of(aioc_json_at(one, "/aggregate")), aioc_json_at(one, "/partials"));
        bool undefined = aioc_json_is_str(want, "undefined");
        if (undefined ? strcmp(got, "undefined") != 0 : aioc_val_compare(json(got), want) != 0) {
            test_fail(__FILE__, __LINE__, "%.*s: %s", (int)one.len, one.ptr, got);
        }
        count++;
    }
    CHECK_INT(count, 17);
    leave();
}

TEST(aggregates_of_all_kinds)
{
    static const struct { uint8_t aggregate; const char *partials, *want; } rows[] = {
        {AIOC_PLAN_PLAIN, "[]", "undefined"},
        {AIOC_PLAN_PLAIN, "[{\"a\" : [1]},2]", "{\"a\" : [1]}"},
        {AIOC_PLAN_PLAIN, "[\"of twenty-four bytes...\",2]", "\"of twenty-four bytes...\""},
        {AIOC_PLAN_PLAIN, "[\"of 23 bytes, but for..\",2]", "\"of 23 bytes, but for..\""},
        {AIOC_PLAN_PLAIN, "[null,2]", "null"},
        {AIOC_PLAN_COUNT, "[]", "0"},
        {AIOC_PLAN_COUNT, "[{\"item\":1e3},{\"item\":5.0}]", "1005"},
        {AIOC_PLAN_COUNT, "[{}]", "a COUNT that is not a number"},
        {AIOC_PLAN_COUNT, "[{\"item\":\"1\"}]", "a COUNT that is not a number"},
        {AIOC_PLAN_COUNT, "[{\"item\":-1}]", "a COUNT that is not a number"},
        {AIOC_PLAN_COUNT, "[{\"item\":1.5}]", "a COUNT that is not a number"},
        {AIOC_PLAN_COUNT, "[5]", "an aggregate that is not an object"},
        {AIOC_PLAN_COUNT_IF, "[{\"item\":0},{\"item\":4}]", "4"},
        {AIOC_PLAN_COUNT_IF, "[{\"item\":null}]", "a COUNT that is not a number"},
        {AIOC_PLAN_SUM, "[]", "0"},
        {AIOC_PLAN_SUM, "[{},{\"item\":1}]", "undefined"},
        {AIOC_PLAN_SUM, "[{\"item\":1},{},{\"item\":1}]", "undefined"},
        {AIOC_PLAN_SUM, "[{},{\"item\":\"1\"}]", "a SUM that is not a number"},
        {AIOC_PLAN_SUM, "[{\"item\":9007199254740992},{\"item\":1}]", "9007199254740993"},
        {AIOC_PLAN_SUM, "[{\"item\":9223372036854775806},{\"item\":1}]", "9223372036854775807"},
        {AIOC_PLAN_SUM, "[{\"item\":9223372036854775807},{\"item\":1}]", "9223372036854776000"},
        {AIOC_PLAN_SUM, "[{\"item\":-9223372036854775807},{\"item\":-1}]", "-9223372036854775808"},
        {AIOC_PLAN_SUM, "[{\"item\":-9223372036854775808},{\"item\":-9223372036854775808}]", "-18446744073709552000"},
        {AIOC_PLAN_SUM, "[{\"item\":9223372036854775807},{\"item\":9223372036854775807},{\"item\":-1}]",
         "18446744073709552000"},
        {AIOC_PLAN_SUM, "[{\"item\":-5},{\"item\":5}]", "0"},
        {AIOC_PLAN_SUM, "[{\"item\":0.5},{\"item\":1.5}]", "2"},
        {AIOC_PLAN_SUM, "[{\"item\":1e308},{\"item\":1e308}]", "undefined"},
        {AIOC_PLAN_SUM, "[{\"item\":1e999},{\"item\":-1e999}]", "undefined"},
        {AIOC_PLAN_AVERAGE, "[]", "undefined"},
        {AIOC_PLAN_AVERAGE, "[{\"item\":{\"sum\":1,\"count\":3}}]", "0.3333333333333333"},
        {AIOC_PLAN_AVERAGE, "[{\"item\":{\"sum\":1.5,\"count\":1}},{\"item\":{\"sum\":2.5,\"count\":1}}]", "2"},
        {AIOC_PLAN_AVERAGE, "[{\"item\":{\"sum\":3,\"count\":1}},{\"item\":{\"count\":0}}]", "undefined"},
        {AIOC_PLAN_AVERAGE, "[{\"item\":{\"count\":1}},{\"item\":{\"sum\":true,\"count\":0}}]", "an AVG without a sum"},
        {AIOC_PLAN_AVERAGE, "[{\"item\":{\"sum\":3}}]", "an AVG without a count"},
        {AIOC_PLAN_AVERAGE, "[{\"item\":5}]", "an AVG without a count"},
        {AIOC_PLAN_AVERAGE, "[{}]", "an AVG without a count"},
        {AIOC_PLAN_AVERAGE, "[{\"item\":{\"sum\":1,\"count\":9223372036854775807}},{\"item\":{\"sum\":1,\"count\":1}}]",
         "an AVG of too many"},
        {AIOC_PLAN_MIN, "[]", "undefined"},
        {AIOC_PLAN_MIN, "[{}]", "undefined"},
        {AIOC_PLAN_MIN, "[{\"item\":3},{},{\"item\":2}]", "undefined"},
        {AIOC_PLAN_MIN, "[{\"item\":null},{\"item\":false},{\"item\":-1}]", "null"},
        {AIOC_PLAN_MIN, "[{\"item\":\"a longer text than fits without a block\"},{\"item\":\"b\"}]",
         "\"a longer text than fits without a block\""},
        {AIOC_PLAN_MIN, "[{\"item\":\"b, a longer text than fits without a block\"},{\"item\":\"a\"}]", "\"a\""},
        {AIOC_PLAN_MIN, "[{\"item\":\"b, a longer text than fits without a block\"},{\"item\":[]}]", "undefined"},
        {AIOC_PLAN_MIN, "[{\"item\":1,\"item2\":{\"min\":{\"a\":1},\"count\":1}},{\"item\":0}]", "undefined"},
        {AIOC_PLAN_MIN, "[{\"item\":{\"min\":4,\"count\":1}},{\"item\":{\"count\":0}}]", "4"},
        {AIOC_PLAN_MIN, "[{\"item\":{\"min\":4}}]", "{\"min\":4}"},
        {AIOC_PLAN_MIN, "[{\"item\":{\"a\":1}},{\"item\":{\"a\":0}}]", "undefined"},
        {AIOC_PLAN_MIN, "[{\"item\":{\"a\":1}},{\"item\":2}]", "undefined"},
        {AIOC_PLAN_MAX, "[{\"item\":[1, \"a text that is longer than what is kept within\"]},"
                        "{\"item\":{\"count\":0}}]",
         "[1, \"a text that is longer than what is kept within\"]"},
        {AIOC_PLAN_MAX, "[{\"item\":[1]},{\"item\":\"a\"}]", "undefined"},
        {AIOC_PLAN_MAX, "[{\"item2\":{\"max\":4,\"count\":-1}}]", "{\"max\":4,\"count\":-1}"},
        {AIOC_PLAN_MAX, "[{\"item\":9,\"item2\":{\"min\":4,\"count\":1}}]", "undefined"},
        {AIOC_PLAN_MAX, "[{\"item\":1},{\"item\":1.0}]", "1"},
        {AIOC_PLAN_MAX, "[{\"item\":\"\\ue000\"},{\"item\":\"\\ud83d\\ude00\"}]", "\"\\ue000\""},
        {AIOC_PLAN_MAX, "[{\"item\":9007199254740992},{\"item\":9007199254740993}]", "9007199254740993"},
        {AIOC_PLAN_MAKE_LIST, "[]", "[]"},
        {AIOC_PLAN_MAKE_LIST, "[{\"item\":[]},{\"item\":[]}]", "[]"},
        {AIOC_PLAN_MAKE_LIST, "[{\"item\":[1, {\"a\":2}]},{\"item\":[]},{\"item\":[1]}]", "[1,{\"a\":2},1]"},
        {AIOC_PLAN_MAKE_LIST, "[{\"item\":1}]", "a MAKELIST or MAKESET without a list"},
        {AIOC_PLAN_MAKE_LIST, "[{}]", "a MAKELIST or MAKESET without a list"},
        {AIOC_PLAN_MAKE_SET, "[{\"item\":[1,{\"a\":1,\"b\":2}]},{\"item\":[1.0,{\"b\":2,\"a\":1},\"1\"]}]",
         "[1,{\"a\":1,\"b\":2},\"1\"]"},
        {AIOC_PLAN_MAKE_SET, "[]", "[]"}
    };
    size_t i;
    enter(PLENTY);
    for (i = 0; i < COUNT(rows); i++) {
        const char *got = accumulated(rows[i].aggregate, json(rows[i].partials));
        if (strcmp(got, rows[i].want) == 0) continue;
        test_fail(__FILE__, __LINE__, "%s of %s is %s, not %s", aggregate_names[rows[i].aggregate],
                  rows[i].partials, got, rows[i].want);
    }
    leave();
}

TEST(a_plain_value_that_was_first_undefined_stays_so)
{
    aioc_row_groups groups;
    aioc_row_cell accumulator;
    enter(PLENTY);
    open_cell(&groups, &accumulator);
    CHECK(!aioc_row_accumulate(&groups, &accumulator, AIOC_PLAN_PLAIN, aioc_json_none()));
    CHECK(!aioc_row_accumulate(&groups, &accumulator, AIOC_PLAN_PLAIN, json("1")));
    CHECK_INT(aioc_row_cell_append(&world.memory, &accumulator, AIOC_PLAN_PLAIN, &world.out), 0);
    leave();
}

/*--- Groups -------------------------------------------------------------------*/

typedef struct shape { aioc_plan_alias aliases[8]; aioc_plan_shape shape; } shape;

static shape shape_of(bool grouped, const char *const *names, const uint8_t *aggregates)
{
    shape s;
    memset(&s, 0, sizeof s);
    s.shape.grouped = grouped;
    for (; names[s.shape.alias_count]; s.shape.alias_count++) {
        s.aliases[s.shape.alias_count].name = aioc_mem_str(names[s.shape.alias_count]);
        s.aliases[s.shape.alias_count].aggregate = aggregates[s.shape.alias_count];
    }
    return s;
}

static shape shape_of_value(bool grouped, uint8_t aggregate)
{
    shape s;
    memset(&s, 0, sizeof s);
    s.shape.grouped = grouped;
    s.shape.value = true;
    s.shape.value_aggregate = aggregate;
    return s;
}

/* The next row of those that a stage keeps, however much work it takes. */
static int next_of(aioc_row_stage *stage)
{
    int result;
    do result = stage->kind->next(stage, &world.next, &world.out);
    while (result == AIOC_ROW_AGAIN);
    return result;
}

/* What is counted is what is taken, but for the rounding of small blocks. */
static void check_books(size_t bytes, size_t blocks_max)
{
    CHECK(bytes <= world.memory.used);
    CHECK(world.memory.used <= bytes + bytes / 4 + 64 * blocks_max);
}

/* All results, one after the other, for rows in a JSON array; or why a row is refused. */
static const char *grouped(shape *s, const char *rows)
{
    aioc_row_groups groups;
    aiocosmos_json row = aioc_json_none(), all = json(rows);
    const char *why = NULL;
    int result = 0;
    s->shape.aliases = s->aliases;
    world.next = 0;
    aioc_row_groups_open(&groups, &world.memory, &s->shape, key);
    while (result == 0 && aioc_json_next(all, NULL, &row))
        result = row_status(aioc_row_groups_add(&groups.stage, row), &why);
    CHECK((result == 0) == (why == NULL));
    CHECK(result == 0 || result == AIOCOSMOS_E_PROTOCOL);
    check_books(aioc_row_groups_bytes(&groups.stage), 100);
    while (!why && (result = next_of(&groups.stage)) > 0) {
        CHECK(aioc_mem_append(&world.memory, &world.out, " ", 1));
    }
    CHECK(why || result == 0);
    aioc_row_groups_close(&groups.stage);
    return why ? why : taken();
}

TEST(groups_of_every_shape)
{
    static const char *const team[] = {"team", "count", "avg", "$1", NULL};
    static const uint8_t of_team[] = {AIOC_PLAN_PLAIN, AIOC_PLAN_COUNT, AIOC_PLAN_AVERAGE, AIOC_PLAN_MAX};
    static const char *const odd[] = {"a \"quote\"", "\xc3\xa9", NULL};
    static const uint8_t of_odd[] = {AIOC_PLAN_SUM, AIOC_PLAN_MIN};
    shape by_team = shape_of(true, team, of_team), total = shape_of(false, odd, of_odd);
    shape value = shape_of_value(false, AIOC_PLAN_COUNT), undefined = shape_of_value(false, AIOC_PLAN_AVERAGE);
    shape values = shape_of_value(true, AIOC_PLAN_SUM), plain = shape_of_value(true, AIOC_PLAN_PLAIN);
    static const struct { int which; const char *rows, *want; } cases[] = {
        {0, "[]", ""},
        {0, "[{\"groupByItems\":[{\"item\":\"A\"}],\"payload\":{\"team\":\"A\",\"count\":{\"item\":2},"
            "\"avg\":{\"item\":{\"sum\":3,\"count\":2}},\"$1\":{\"item\":4,\"item2\":{\"max\":4,\"count\":1}}}},"
            "{\"groupByItems\":[{}],\"payload\":{\"count\":{\"item\":1},\"avg\":{\"item\":{\"sum\":0,\"count\":0}},"
            "\"$1\":{\"item2\":{\"count\":0}}}},"
            "{\"groupByItems\":[{\"item\":\"\\u0041\"}],\"payload\":{\"$1\":{\"item2\":{\"max\":\"x\",\"count\":1}},"
            "\"avg\":{\"item\":{\"sum\":4.5,\"count\":1}},\"\\u0063ount\":{\"item\":40},\"team\":\"ignored\","
            "\"other\":1}}]",
         "{\"team\":\"A\",\"count\":42,\"avg\":2.5,\"$1\":\"x\"} {\"count\":1} "},
        {0, "[{\"groupByItems\":[],\"payload\":{\"count\":{\"item\":2},\"avg\":{\"item\":{\"count\":2}},"
            "\"$1\":{}}}]", "{\"count\":2} "},
        {0, "[{\"payload\":{}}]", "a row without groupByItems"},
        {0, "[{\"groupByItems\":{},\"payload\":{}}]", "a row without groupByItems"},
        {0, "[{\"groupByItems\":[]}]", "a row without a payload"},
        {0, "[{\"groupByItems\":[],\"payload\":[]}]", "a row without a payload"},
        {0, "[{\"groupByItems\":[],\"payload\":{\"team\":1}}]", "an aggregate that is not an object"},
        {0, "[[{\"item\":5}]]", "a row without groupByItems"},
        {1, "[]", "{\"a \\\"quote\\\"\":0} "},
        {1, "[{\"payload\":{\"a \\\"quote\\\"\":{\"item\":1},\"\\u00e9\":{\"item\":null}}},"
            "{\"payload\":{\"a \\\"quote\\\"\":{\"item\":2},\"\xc3\xa9\":{\"item\":5}}}]",
         "{\"a \\\"quote\\\"\":3,\"\xc3\xa9\":null} "},
        {1, "[{\"payload\":{\"a \\\"quote\\\"\":{},\"\\u00e9\":{}}}]", "{} "},
        {1, "[{\"payload\":{\"a \\\"quote\\\"\":{\"item\":1}}}]", "an aggregate that is not an object"},
        {1, "[5]", "a row without a payload"},
        {2, "[]", "0 "},
        {2, "[[{\"item\":5}],[{\"item\":3}]]", "8 "},
        {2, "[{\"item\":5}]", "an aggregate that is not a list of one"},
        {2, "[[]]", "an aggregate that is not a list of one"},
        {2, "[[{\"item\":5},{\"item\":5}]]", "an aggregate that is not a list of one"},
        {2, "[[5]]", "an aggregate that is not an object"},
        {3, "[]", ""},
        {3, "[[{\"item\":{\"sum\":0,\"count\":0}}]]", ""},
        {3, "[[{\"item\":{\"sum\":0,\"count\":0}}],[{\"item\":{\"sum\":3,\"count\":2}}]]", "1.5 "},
        {4, "[{\"groupByItems\":[{\"item\":1},{}],\"payload\":[{\"item\":1}]},"
            "{\"groupByItems\":[{},{\"item\":1}],\"payload\":[{}]},"
            "{\"groupByItems\":[{\"item\":1},{\"item\":null}],\"payload\":[{\"item\":3}]},"
            "{\"groupByItems\":[{\"item\":1.0},{}],\"payload\":[{\"item\":1}]}]", "2 3 "},
        {4, "[{\"groupByItems\":[],\"payload\":{\"item\":1}}]", "an aggregate that is not a list of one"},
        {4, "[{\"groupByItems\":[]}]", "an aggregate that is not a list of one"},
        {5, "[{\"groupByItems\":[{\"item\":[1,{\"a\":1,\"b\":2}]}],\"payload\":[1,{\"a\":1,\"b\":2}]},"
            "{\"groupByItems\":[{}]},{\"groupByItems\":[{\"item\":null}],\"payload\":null},"
            "{\"groupByItems\":[{\"item\":[1,{\"b\":2,\"a\":1}]}],\"payload\":[1,{\"b\":2,\"a\":1}]}]",
         "[1,{\"a\":1,\"b\":2}] null "}
    };
    shape *shapes[] = {&by_team, &total, &value, &undefined, &values, &plain};
    size_t i;
    enter(PLENTY);
    for (i = 0; i < COUNT(cases); i++) {
        const char *got = grouped(shapes[cases[i].which], cases[i].rows);
        if (strcmp(got, cases[i].want) != 0) {
            test_fail(__FILE__, __LINE__, "%s: %s, not %s", cases[i].rows, got, cases[i].want);
        }
    }
    leave();
}

/* An object without aliases is odd, but no reason to fall over. */
TEST(a_shape_without_aliases_gives_empty_objects)
{
    static const char *const none[] = {NULL};
    static const char rows[] = "[{\"groupByItems\":[1],\"payload\":{}},{\"groupByItems\":[2],\"payload\":{\"a\":1}}]";
    shape s = shape_of(true, none, NULL);
    enter(PLENTY);
    CHECK_STR(grouped(&s, rows), "{} {} ");
    leave();
}

/*--- Groups: what many ranges give is what one gives --------------------------*/

enum { DOCS = 400, KEYS = 6, RANGES = 7 };

/* SELECT c.k, COUNT(1) AS n, COUNTIF(c.x > 0) AS pos, SUM(c.x) AS sum, AVG(c.x) AS avg, MIN(c.x) AS min,
 * MAX(c.x) AS max, MAKELIST(c.x) AS list FROM c GROUP BY c.k */
static const char *const wide_names[] = {"k", "n", "pos", "sum", "avg", "min", "max", "list", NULL};
static const uint8_t wide_aggregates[] = {AIOC_PLAN_PLAIN, AIOC_PLAN_COUNT, AIOC_PLAN_COUNT_IF, AIOC_PLAN_SUM,
                                          AIOC_PLAN_AVERAGE, AIOC_PLAN_MIN, AIOC_PLAN_MAX, AIOC_PLAN_MAKE_LIST};

/* A document: its key, which may be undefined, and x: an integer, undefined or a string. */
typedef struct doc { size_t group; int range; bool defined, is_text; long long x; } doc;

static const char *const key_texts[KEYS][2] = {
    {"\"a\"", "\"\\u0061\""}, {"1", "1.0"}, {"", ""}, {"{\"p\":1,\"q\":[]}", "{\"q\":[],\"p\":1e0}"}, {"null", " null"},
    {"[1,2]", "[1, 2]"}
};

/* The documents of one group in one range, or in all of them if range < 0, as the partial answer that a range gives, or
 * as the final row. False: there are none. */
static bool put_group(paper *p, const doc *docs, size_t group, int range, bool partial)
{
    long long sum = 0, pos = 0, count = 0, numbers = 0, min = 0, max = 0, texts = 0, defined = 0;
    const char *key_text = key_texts[group][partial ? random_below(2) : 0];
    char list[16384];
    size_t i, len = 0;
    for (i = 0; i < DOCS; i++) {
        const doc *d = &docs[i];
        if (d->group != group || (range >= 0 && d->range != range)) continue;
        count++;
        if (!d->defined) continue;
        len += (size_t)snprintf(list + len, sizeof list - len, d->is_text ? "%s\"t%lld\"" : "%s%lld",
                                defined ? "," : "", d->x);
        defined++;
        texts += d->is_text;
        if (d->is_text) continue;
        if (numbers == 0 || d->x < min) min = d->x;
        if (numbers == 0 || d->x > max) max = d->x;
        numbers++;
        sum += d->x;
        pos += d->x > 0;
    }
    list[len] = '\0';
    if (count == 0) return false;
    put(p, "%s", p->len > 1 ? "," : "");
    if (partial) put(p, "{\"groupByItems\":[{%s%s}],\"payload\":", *key_text ? "\"item\":" : "", key_text);
    put(p, "{");
    if (*key_text) put(p, "\"k\":%s,", key_text);
    if (!partial) {
        put(p, "\"n\":%lld,\"pos\":%lld", count, pos);
        if (texts == 0) put(p, ",\"sum\":%lld", sum);
        if (texts == 0 && numbers > 0) {
            char average[AIOC_JSON_NUMBER_MAX];
            put(p, ",\"avg\":%.*s", (int)aioc_json_number_write((double)sum / (double)numbers, average), average);
        }
        if (numbers > 0) put(p, ",\"min\":%lld", min);
        if (texts > 0) {
            if (numbers == 0) put(p, ",\"min\":\"t1\"");
            put(p, ",\"max\":\"t1\"");
        } else if (numbers > 0) {
            put(p, ",\"max\":%lld", max);
        }
        put(p, ",\"list\":[%s]}", list);
        return true;
    }
    put(p, "\"n\":{\"item\":%lld},\"pos\":{\"item\":%lld},\"sum\":{", count, pos);
    if (texts == 0) put(p, "\"item\":%lld", sum);
    put(p, "},\"avg\":{\"item\":{");
    if (texts == 0) put(p, "\"sum\":%lld,", sum);
    put(p, "\"count\":%lld}},\"min\":{\"item2\":{", defined);
    if (numbers > 0) put(p, "\"min\":%lld,", min);
    else if (texts > 0) put(p, "\"min\":\"t1\",");
    put(p, "\"count\":%lld}},\"max\":{\"item2\":{", defined);
    if (texts > 0) put(p, "\"max\":\"t1\",");
    else if (numbers > 0) put(p, "\"max\":%lld,", max);
    put(p, "\"count\":%lld}},\"list\":{\"item\":[%s]}}}", defined, list);
    return true;
}

/* Rows with a space behind each are these. A key is written as the first range wrote it, so they are compared as
 * values. */
static void check_rows(const char *got, aiocosmos_json want)
{
    aiocosmos_json rows, row = aioc_json_none(), wanted = row;
    static paper array;
    array.len = 0;
    put(&array, "[%s", got);
    if (array.len > 1) array.len--;
    put(&array, "]");
    for (char *at = array.text; (at = strstr(at, "} {")) != NULL; at++) at[1] = ',';
    rows = json_on(&array);
    CHECK_INT(aioc_json_count(rows), aioc_json_count(want));
    while (aioc_json_next(rows, NULL, &row) && aioc_json_next(want, NULL, &wanted)) {
        if (same(hash_of(row), hash_of(wanted))) continue;
        test_fail(__FILE__, __LINE__, "%.*s, not %.*s", (int)row.len, row.ptr, (int)wanted.len, wanted.ptr);
    }
}

TEST(what_many_ranges_give_is_what_one_gives)
{
    static doc docs[DOCS];
    static paper want;
    shape s = shape_of(true, wide_names, wide_aggregates);
    int round, range, first;
    size_t i, group;
    seed = 24;
    for (round = 0; round < 60; round++) {
        bool seen[KEYS] = {false};
        size_t texts = one_in(2) ? 3 : 1000, count = 1 + random_below(DOCS - 1);
        enter(PLENTY);
        /* In the order of the ranges, so that a list comes out in the order of the documents. */
        for (i = 0; i < DOCS; i++) {
            docs[i].range = (int)(i * RANGES / DOCS);
            docs[i].group = i < count ? random_below(KEYS) : KEYS;
            docs[i].defined = !one_in(4);
            docs[i].is_text = one_in(texts) && docs[i].group % 2;
            docs[i].x = docs[i].is_text ? 1 : (long long)random_below(2000) - 1000;
        }
        page.len = want.len = 0;
        put(&page, "[");
        put(&want, "[");
        for (range = 0; range < RANGES; range++) {
            for (first = (int)random_below(KEYS), group = 0; group < KEYS; group++) {
                size_t which = (group + (size_t)first) % KEYS;
                if (!put_group(&page, docs, which, range, true)) continue;
                if (!seen[which]) put_group(&want, docs, which, -1, false);
                seen[which] = true;
            }
        }
        put(&page, "]");
        put(&want, "]");
        check_rows(grouped(&s, page.text), json_on(&want));
        leave();
    }
}

/* Rows of as many groups, with a long text and a set each. */
static aiocosmos_json many_groups(int count)
{
    int i;
    page.len = 0;
    put(&page, "[");
    for (i = 0; i < count; i++) {
        put(&page, "%s{\"groupByItems\":[{\"item\":%d}],\"payload\":{"
            "\"key\":\"a text that needs a block of its own %d\","
            "\"set\":{\"item\":[%d,%d,\"x\"]}}}", i ? "," : "", i, i, i % 3, i % 7);
    }
    put(&page, "]");
    return json_on(&page);
}

/* Adds the rows and takes the results; stops at the first that fails, but asks once more for a result. */
static int run_groups(aioc_row_groups *groups, aiocosmos_json rows, int *results)
{
    aiocosmos_json row = aioc_json_none();
    const char *why = NULL;
    int result = 0;
    *results = 0;
    while (result == 0 && aioc_json_next(rows, NULL, &row))
        result = row_status(aioc_row_groups_add(&groups->stage, row), &why);
    CHECK(why == NULL);
    if (result != 0) return result;
    for (;;) {
        size_t before = world.out.len;
        result = next_of(&groups->stage);
        if (result > 0) {
            ++*results;
            continue;
        }
        CHECK_INT(world.out.len, before);
        if (result == 0 || !world.heap.fail_to) return result;
        heap_recover(&world.heap);
    }
}

TEST(groups_survive_that_there_is_no_memory)
{
    static const char *const names[] = {"key", "set", NULL};
    static const uint8_t aggregates[] = {AIOC_PLAN_PLAIN, AIOC_PLAN_MAKE_SET};
    shape s = shape_of(true, names, aggregates);
    unsigned long allowed, failed = 0, late = 0;
    int result, results;
    s.shape.aliases = s.aliases;
    for (allowed = 0;; allowed++) {
        aioc_row_groups groups;
        bool ran_out;
        enter(allowed);
        world.next = 0;
        aioc_row_groups_open(&groups, &world.memory, &s.shape, key);
        result = run_groups(&groups, many_groups(50), &results);
        ran_out = world.heap.failed > 0;
        if (result == 0) {
            CHECK_INT(results, 50);
            late += ran_out;
        } else {
            CHECK_INT(result, AIOCOSMOS_E_NOMEM);
            failed++;
        }
        aioc_row_groups_close(&groups.stage);
        leave();
        if (result == 0 && !ran_out) break;
    }
    CHECK(failed > 100 && late > 3);
}

/* An output that has room for so many bytes more and cannot grow, as there is no memory. */
static void leave_room(size_t room)
{
    heap_recover(&world.heap);
    CHECK(aioc_mem_reserve(&world.memory, &world.out, 256));
    memset(world.out.data, '.', world.out.cap);
    world.out.len = world.out.cap - room;
    heap_fail(&world.heap, 1, ULONG_MAX);
}

TEST(a_result_for_which_there_is_no_room_is_given_once_there_is)
{
    static const char *const names[] = {"k", "sum", "min", "list", "none", NULL};
    static const uint8_t aggregates[] = {AIOC_PLAN_PLAIN, AIOC_PLAN_SUM, AIOC_PLAN_MIN, AIOC_PLAN_MAKE_LIST,
                                         AIOC_PLAN_AVERAGE};
    static const char row[] = "{\"payload\":{\"k\":1,\"sum\":{\"item\":1.5},\"min\":{\"item\":\"a\"},"
                              "\"list\":{\"item\":[1,2]},\"none\":{\"item\":{\"sum\":0,\"count\":0}}}}";
    static const char want[] = "{\"k\":1,\"sum\":1.5,\"min\":\"a\",\"list\":[1,2]}";
    shape s = shape_of(false, names, aggregates);
    size_t room, most = sizeof want - 2 + strlen(",\"none\":");       /* is begun and taken back */
    s.shape.aliases = s.aliases;
    for (room = 0; room <= most; room++) {
        aioc_row_groups groups;
        const char *why = NULL;
        size_t before;
        int result;
        enter(PLENTY);
        world.next = 0;
        aioc_row_groups_open(&groups, &world.memory, &s.shape, key);
        CHECK_INT(row_status(aioc_row_groups_add(&groups.stage, json(row)), &why), 0);
        leave_room(room);
        before = world.out.len;
        result = next_of(&groups.stage);
        CHECK_INT(result, room < most ? AIOCOSMOS_E_NOMEM : 1);
        if (room < most) CHECK_INT(world.out.len, before);
        heap_recover(&world.heap);
        if (room < most) CHECK_INT(next_of(&groups.stage), 1);
        CHECK_TEXT(world.out.data + before, world.out.len - before, want);
        CHECK_INT(next_of(&groups.stage), 0);
        aioc_row_groups_close(&groups.stage);
        leave();
    }
}

TEST(one_group_of_everything_needs_memory_too)
{
    shape s = shape_of_value(false, AIOC_PLAN_COUNT);
    aioc_row_groups groups;
    enter(0);
    world.next = 0;
    aioc_row_groups_open(&groups, &world.memory, &s.shape, key);
    CHECK_INT(next_of(&groups.stage), AIOCOSMOS_E_NOMEM);
    heap_recover(&world.heap);
    CHECK_INT(next_of(&groups.stage), 1);
    CHECK_STR(taken(), "0");
    aioc_row_groups_close(&groups.stage);
    leave();
}

TEST(accumulators_survive_that_there_is_no_memory)
{
    static const char *const partials[] = {
        "[{\"item\":\"a text that is longer than fits\"},"
        "{\"item\":\"a text that is far longer than what fits in a block, even"
        " if the block is that of the one before, which has 64 bytes and no more\"}]",
        "[{\"item\":[\"a text that is longer than sixty-four bytes, in a list, so that it grows\",2,3]},"
        "{\"item\":[4,\"and one more text, of the same kind, so that the list grows once more\",5,6,7,8,9,10,11,12,13,"
        "14,15,16,17,18]}]"
    };
    static const uint8_t aggregates[] = {AIOC_PLAN_MIN, AIOC_PLAN_MAKE_SET};
    size_t i;
    for (i = 0; i < COUNT(aggregates); i++) {
        unsigned long allowed = 0;
        int result = -1;
        for (; result != 0; allowed++) {
            aioc_row_groups groups;
            aioc_row_cell accumulator;
            aiocosmos_json all, partial = aioc_json_none();
            const char *why = NULL;
            enter(allowed);
            open_cell(&groups, &accumulator);
            all = json(partials[i]);
            result = 0;
            while (result == 0 && aioc_json_next(all, NULL, &partial)) {
                result = row_status(aioc_row_accumulate(&groups, &accumulator, aggregates[i], partial), &why);
            }
            CHECK(result == 0 || result == AIOCOSMOS_E_NOMEM);
            CHECK(why == NULL);
            close_cell(&groups, &accumulator);
            leave();
        }
        CHECK(allowed > 2);
    }
}

TEST(groups_count_what_they_hold)
{
    static const char *const names[] = {"key", "set", NULL};
    static const uint8_t aggregates[] = {AIOC_PLAN_PLAIN, AIOC_PLAN_MAKE_SET};
    shape s = shape_of(true, names, aggregates);
    aioc_row_groups groups;
    aiocosmos_json rows, row = aioc_json_none();
    const char *why = NULL;
    size_t before = 0;
    s.shape.aliases = s.aliases;
    enter(PLENTY);
    world.next = 0;
    aioc_row_groups_open(&groups, &world.memory, &s.shape, key);
    CHECK_INT(aioc_row_groups_bytes(&groups.stage), 0);
    rows = many_groups(1000);
    while (aioc_json_next(rows, NULL, &row)) {
        CHECK_INT(row_status(aioc_row_groups_add(&groups.stage, row), &why), 0);
        CHECK(aioc_row_groups_bytes(&groups.stage) > before);
        before = aioc_row_groups_bytes(&groups.stage);
        check_books(before, 3 + groups.stage.count);
    }
    while (next_of(&groups.stage) > 0) CHECK_INT(aioc_row_groups_bytes(&groups.stage), before);
    aioc_row_groups_close(&groups.stage);
    leave();
}

/*--- Best rows ----------------------------------------------------------------*/

typedef struct best_row { size_t id, value[2]; bool bare; } best_row;

static const char *const few_values[] = {"", "null", "false", "0", "0.5", "1", "\"a\"", "\"b\"", "[]", "{}"};
static const aioc_plan_info *down_up(bool distinct)
{
    static const uint8_t descending[2] = {1, 0};
    static aioc_plan_info info;
    memset(&info, 0, sizeof info);
    info.descending = descending;
    info.order_count = 2;
    info.distinct = distinct ? AIOC_PLAN_DISTINCT_UNORDERED : AIOC_PLAN_ALL;
    return &info;
}

/* The first column falls, the second rises; ties stay as they came. */
static void sort_rows(best_row *rows, size_t count)
{
    size_t i, j;
    for (i = 1; i < count; i++) {
        best_row row = rows[i];
        for (j = i; j > 0; j--) {
            const best_row *other = &rows[j - 1];
            if (other->value[0] > row.value[0] ||
                (other->value[0] == row.value[0] && other->value[1] <= row.value[1])) break;
            rows[j] = rows[j - 1];
        }
        rows[j] = row;
    }
}

static void put_best_row(paper *p, const best_row *row)
{
    int i;
    put(p, "%s{\"_rid\":\"r%zu\",\"orderByItems\":[", p->len > 1 ? "," : "", row->id);
    for (i = 0; i < 2; i++) {
        const char *value = few_values[row->value[i]];
        put(p, "%s{%s%s}", i ? "," : "", *value ? "\"item\":" : "", value);
    }
    put(p, "]");
    if (!row->bare) put(p, ",\"payload\":{\"id\":%zu}", row->id);
    put(p, "}");
}

TEST(the_best_rows_are_the_first_of_all_sorted)
{
    enum { ROWS = 300 };
    static best_row rows[ROWS];
    static bool seen[ROWS];
    static paper want;
    int round;
    size_t i;
    seed = 25;
    for (round = 0; round < 200; round++) {
        aioc_row_best best;
        aiocosmos_json all, at = aioc_json_none();
        const char *why = NULL;
        size_t kept = 0, most = one_in(10) ? 0 : 1 + random_below(one_in(2) ? 20 : ROWS), ids = one_in(2) ? 20 : ROWS;
        size_t left = most;
        bool distinct = one_in(2);
        enter(PLENTY);
        page.len = want.len = 0;
        put(&page, "[");
        for (i = 0; i < ROWS; i++) {
            best_row *row = &rows[kept];
            row->id = random_below(ids);
            row->value[0] = random_below(COUNT(few_values));
            row->value[1] = random_below(COUNT(few_values));
            row->bare = one_in(10);
            put_best_row(&page, row);
            if (!row->bare) kept++;
        }
        put(&page, "]");
        sort_rows(rows, kept);
        memset(seen, 0, sizeof seen);
        for (i = 0; i < kept && left > 0; i++) {
            if (distinct && seen[rows[i].id]) continue;
            seen[rows[i].id] = true;
            put(&want, "{\"id\":%zu}", rows[i].id);
            left--;
        }
        put(&want, "%s", "");
        world.next = 0;
        aioc_row_best_open(&best, &world.memory, down_up(distinct), most, key);
        all = json_on(&page);
        while (aioc_json_next(all, NULL, &at)) {
            CHECK_INT(row_status(aioc_row_best_add(&best.rows.stage, at), &why), 0);
            check_books(aioc_row_kept_bytes(&best.rows.stage), 1 + best.rows.stage.count);
        }
        while (next_of(&best.rows.stage) > 0) continue;
        CHECK_TEXT(world.out.data, world.out.len, want.text);
        aioc_row_kept_close(&best.rows.stage);
        leave();
    }
}

TEST(best_rows_that_contradict_the_plan_are_refused)
{
    static const struct { const char *row, *why; } cases[] = {
        {"5", "a row without a value for each column of ORDER BY"},
        {"{\"_rid\":\"a\",\"payload\":1}", "a row without a value for each column of ORDER BY"},
        {"{\"_rid\":\"a\",\"orderByItems\":{},\"payload\":1}", "a row without a value for each column of ORDER BY"},
        {"{\"_rid\":\"a\",\"orderByItems\":[{}],\"payload\":1}", "a row without a value for each column of ORDER BY"},
        {"{\"_rid\":\"a\",\"orderByItems\":[{},{},{}]}", "a row without a value for each column of ORDER BY"},
        {"{\"_rid\":\"a\",\"orderByItems\":[{},5]}", "a row whose orderByItems are not objects"}
    };
    size_t i;
    uint64_t most;
    enter(PLENTY);
    for (most = 0; most < 3; most++) {
        for (i = 0; i < COUNT(cases); i++) {
            aioc_row_best best;
            const char *why = NULL;
            world.next = 0;
            aioc_row_best_open(&best, &world.memory, down_up(most == 2), most, key);
            CHECK_INT(row_status(aioc_row_best_add(&best.rows.stage, json(cases[i].row)), &why), AIOCOSMOS_E_PROTOCOL);
            CHECK_STR(why, cases[i].why);
            CHECK_INT(next_of(&best.rows.stage), 0);
            aioc_row_kept_close(&best.rows.stage);
        }
    }
    leave();
}

TEST(best_rows_survive_that_there_is_no_memory)
{
    enum { ROWS = 60, MOST = 40 };
    unsigned long allowed, failed = 0, late = 0;
    bool done = false;
    for (allowed = 0; !done; allowed++) {
        aioc_row_best best;
        aiocosmos_json rows, at = aioc_json_none();
        const char *why = NULL;
        int result = 0, given = 0;
        best_row row;
        size_t i;
        enter(allowed);
        seed = 26;
        page.len = 0;
        put(&page, "[");
        for (i = 0; i < ROWS; i++) {
            row.id = i;
            row.value[0] = random_below(COUNT(few_values));
            row.value[1] = random_below(COUNT(few_values));
            row.bare = false;
            put_best_row(&page, &row);
        }
        put(&page, "]");
        rows = json_on(&page);
        world.next = 0;
        aioc_row_best_open(&best, &world.memory, down_up(allowed % 2 == 0), MOST, key);
        while (result == 0 && aioc_json_next(rows, NULL, &at))
            result = row_status(aioc_row_best_add(&best.rows.stage, at), &why);
        if (result == 0) {
            done = true;
            while ((result = next_of(&best.rows.stage)) != 0) {
                if (result > 0) {
                    given++;
                    continue;
                }
                CHECK_INT(result, AIOCOSMOS_E_NOMEM);
                done = false;
                late++;
                heap_recover(&world.heap);
            }
            CHECK_INT(given, MOST);
        } else {
            CHECK_INT(result, AIOCOSMOS_E_NOMEM);
            failed++;
        }
        aioc_row_kept_close(&best.rows.stage);
        leave();
    }
    CHECK(failed > MOST && late > 1);
}
