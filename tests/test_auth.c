/* The auth layer alone: dates, signatures and their cache, tokens, connection strings. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"
#include "texts.h"

#include <stdlib.h>

/* An allocator that sees secrets in what is freed. */
static bool dirty;

static void *watching_fn(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    const char *byte = ptr;
    size_t i;
    for (i = 0; new_size == 0 && i + 5 <= old_size; i++) dirty = dirty || memcmp(byte + i, "sEcRe", 5) == 0;
    return heap_fn(ptr, old_size, new_size, user_data);
}

/*--- Vectors -----------------------------------------------------------------*/

typedef struct vectors {
    aioc_mem memory;
    aiocosmos_json_doc doc;
    char *text;
    aiocosmos_json cases;
} vectors;

static void vectors_open(vectors *v, const char *path)
{
    FILE *file = fopen(path, "rb");
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
}

static void vectors_close(vectors *v)
{
    aioc_json_close(&v->doc);
    aioc_mem_close(&v->memory);
    free(v->text);
}

static aiocosmos_str field(aiocosmos_json object, const char *pointer, char *room, size_t cap)
{
    aiocosmos_str text;
    text.ptr = room;
    text.len = aioc_json_get_str(aioc_json_at(object, pointer), room, cap);
    CHECK(text.len < cap);
    return text;
}

TEST(every_signature_vector_is_made)
{
    vectors v;
    aiocosmos_json row;
    size_t rows = 0;
    vectors_open(&v, "tests/vectors/auth-signatures.json");
    memset(&row, 0, sizeof row);
    while (aioc_json_next(v.cases, NULL, &row)) {
        static aioc_auth_signer signer;
        char verb[16], type[32], link[256], date[64], key[128], want[256], signature[64], expected[200];
        aiocosmos_str value, base64, named;
        int64_t wall_s;
        size_t error_at, len;
        memset(&signer, 0, sizeof signer);
        field(row, "/verb", verb, sizeof verb);
        field(row, "/resource_type", type, sizeof type);
        named = field(row, "/resource_link", link, sizeof link);
        CHECK(aioc_auth_parse_date(field(row, "/x_ms_date", date, sizeof date), &wall_s));
        CHECK_INT(aioc_auth_signer_set_key(&signer, field(row, "/key_base64", key, sizeof key), &error_at), 0);
        value = aioc_auth_sign(&signer, verb, type, named, wall_s);
        field(row, "/authorization", want, sizeof want);
        CHECK_TEXT(value.ptr, value.len, want);
        CHECK_STR(aioc_auth_signer_date(&signer, wall_s).ptr, date);
        base64 = field(row, "/signature_base64", signature, sizeof signature);
        memcpy(expected, AIOC_AUTH_VALUE_PREFIX, sizeof AIOC_AUTH_VALUE_PREFIX - 1);
        len = sizeof AIOC_AUTH_VALUE_PREFIX - 1;
        len += aioc_auth_percent_encode(base64, 0, expected + len);
        CHECK_TEXT(expected, len, want);
        rows++;
    }
    CHECK_INT(rows, aioc_json_count(v.cases));
    vectors_close(&v);
}

/*--- Dates -------------------------------------------------------------------*/

static void check_day(uint32_t days, uint32_t year, uint32_t month, uint32_t day)
{
    char text[AIOC_AUTH_DATE_LEN + 1], want[64];
    uint32_t second = (uint32_t)(random_number() % 86400);
    int64_t wall_s = (int64_t)days * 86400 + second, back = -1;
    aiocosmos_str view;
    aioc_auth_date(text, wall_s);
    snprintf(want, sizeof want, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", &"SunMonTueWedThuFriSat"[(days + 4) % 7 * 3],
             day, &"JanFebMarAprMayJunJulAugSepOctNovDec"[(month - 1) * 3], year, second / 3600, second / 60 % 60,
             second % 60);
    CHECK_STR(text, want);
    view.ptr = text;
    view.len = AIOC_AUTH_DATE_LEN;
    CHECK(aioc_auth_parse_date(view, &back));
    CHECK_INT(back, wall_s);
}

/* Day after day as a calendar on the wall does it. The Gregorian calendar repeats after 400 years: from then on the
 * ends of the months will do. */
TEST(days_from_1970_to_9999_are_written_and_read_back)
{
    static const uint32_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint32_t year = 1970, month = 1, day = 1, days = 0;
    seed = 11;
    for (; year < 10000; days++) {
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        if (year < 2375 || day == 1 || day >= 28) check_day(days, year, month, day);
        if (++day > lengths[month - 1] + (month == 2 && leap)) day = 1, month++;
        if (month > 12) month = 1, year++;
    }
    CHECK_INT(days, 2932897);
}

TEST(dates_outside_the_range_become_its_ends)
{
    char text[AIOC_AUTH_DATE_LEN + 1];
    aioc_auth_date(text, INT64_MIN);
    CHECK_STR(text, "Thu, 01 Jan 1970 00:00:00 GMT");
    aioc_auth_date(text, INT64_MAX);
    CHECK_STR(text, "Fri, 31 Dec 9999 23:59:59 GMT");
    aioc_auth_date(text, 1795228304);
    CHECK_STR(text, "Sat, 21 Nov 2026 02:31:44 GMT");
}

TEST(the_three_date_forms_of_rfc_9110_are_read)
{
    int64_t wall_s;
    CHECK(aioc_auth_parse_date(str("Sun, 06 Nov 1994 08:49:37 GMT"), &wall_s));
    CHECK_INT(wall_s, 784111777);
    CHECK(aioc_auth_parse_date(str("Sunday, 06-Nov-94 08:49:37 GMT"), &wall_s));
    CHECK_INT(wall_s, 784111777);
    CHECK(aioc_auth_parse_date(str("Sun Nov  6 08:49:37 1994"), &wall_s));
    CHECK_INT(wall_s, 784111777);
    CHECK(aioc_auth_parse_date(str("Wed Nov 16 08:49:37 1994"), &wall_s));
    CHECK_INT(wall_s, 784111777 + 10 * 86400);
    CHECK(aioc_auth_parse_date(str("Saturday, 21-Nov-26 02:31:44 GMT"), &wall_s));
    CHECK_INT(wall_s, 1795228304);
    CHECK(aioc_auth_parse_date(str("Sat, 31 Dec 2016 23:59:60 GMT"), &wall_s));
    CHECK_INT(wall_s, 1483228800);
}

TEST(what_is_no_date_is_refused)
{
    static const char *const bad[] = {
        "", " ", "Sun", "Sun, 06 Nov 1994 08:49:37 GMT ", " Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Xxx 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 2023 08:49:37 GMT", "Sun, 29 Feb 2100 08:49:37 GMT", "Sun, 32 Dec 1994 08:49:37 GMT",
        "Sun, 99 Dec 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Nov 1969 08:49:37 GMT", "Sun, 06 Nov 0000 08:49:37 GMT",
        ", 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08-49-37 GMT", "Sun, -6 Nov 1994 08:49:37 GMT",
        "Sun, _6 Nov 1994 08:49:37 GMT", "Sun Nov 6 08:49:37 1994", "Sun Nov __ 08:49:37 1994",
        "Sun Nov    08:49:37 1994",
        "Sunday, 06-Nov-1994 08:49:37 GMT", "Sun, DD N YYYY hh:mm:ss GMT", "w, 06 Nov YYYY 08:49:37 GMT"};
    size_t i;
    int64_t wall_s = 7;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (aioc_auth_parse_date(str(bad[i]), &wall_s)) test_fail(__FILE__, __LINE__, "accepted: %s", bad[i]);
    }
    CHECK_INT(wall_s, 7);
}

TEST(dates_cut_and_changed_anywhere_never_read_too_far)
{
    static const char *const good[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                       "Sun Nov  6 08:49:37 1994"};
    size_t i, cut;
    int byte;
    int64_t wall_s;
    for (i = 0; i < 3; i++) {
        aiocosmos_str whole = tight(str(good[i]));
        for (cut = 0; cut < whole.len; cut++) {
            aiocosmos_str part = whole;
            char *at = (char *)(uintptr_t)whole.ptr + cut, was = *at;
            part.len = cut;
            part = tight(part);
            CHECK(!aioc_auth_parse_date(part, &wall_s));
            loosen(part);
            for (byte = 0; byte < 256; byte++) {
                *at = (char)byte;
                if (!aioc_auth_parse_date(whole, &wall_s)) continue;
                CHECK(wall_s >= 0 && wall_s <= AIOC_TEXT_DATE_LAST + 1);
            }
            *at = was;
        }
        CHECK(aioc_auth_parse_date(whole, &wall_s));
        loosen(whole);
    }
}

/*--- Percent-encoding --------------------------------------------------------------*/

TEST(percent_encoding_keeps_only_the_unreserved)
{
    char out[3 * 256], text[256];
    aiocosmos_str all;
    size_t i, len;
    for (i = 0; i < 256; i++) text[i] = (char)i;
    all.ptr = text;
    all.len = 256;
    len = aioc_auth_percent_encode(all, 0, out);
    CHECK_INT(len, 66 + 3 * (256 - 66));
    CHECK_MEM(out, "%00%01", 6);
    all.ptr = "a b/c\xC3\xA9%+~_.-=Z09";
    all.len = strlen(all.ptr);
    len = aioc_auth_percent_encode(all, 0, out);
    CHECK_TEXT(out, len, "a%20b%2Fc%C3%A9%25%2B~_.-%3DZ09");
}

/*--- Signer ------------------------------------------------------------------------*/

static aioc_auth_signer *new_signer(void)
{
    aioc_auth_signer *signer = calloc(1, sizeof *signer);
    size_t error_at;
    CHECK_INT(aioc_auth_signer_set_key(signer, str(AIOCOSMOS_EMULATOR_KEY), &error_at), 0);
    return signer;
}

/* What a signer that has never signed before says. */
static void check_fresh(aiocosmos_str value, const char *verb, const char *type, const char *link, int64_t wall_s)
{
    aioc_auth_signer *fresh = new_signer();
    aiocosmos_str want = aioc_auth_sign(fresh, verb, type, str(link), wall_s);
    CHECK(want.len > 0 && want.len <= AIOC_AUTH_VALUE_MAX);
    CHECK_INT(value.len, want.len);
    CHECK_MEM(value.ptr, want.ptr, want.len);
    free(fresh);
}

TEST(a_key_that_is_no_base64_leaves_the_old_one)
{
    aioc_auth_signer *signer = new_signer();
    size_t error_at = 99;
    char before[AIOC_AUTH_VALUE_MAX], long_key[4 * AIOC_AUTH_KEY_BYTES_MAX];
    aiocosmos_str value = aioc_auth_sign(signer, "GET", "dbs", str("dbs/a"), 5);
    memcpy(before, value.ptr, value.len);
    CHECK_INT(aioc_auth_signer_set_key(signer, str("abc!"), &error_at), AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(error_at, 3);
    CHECK_INT(aioc_auth_signer_set_key(signer, str(""), &error_at), AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(error_at, 0);
    memset(long_key, 'A', sizeof long_key);
    long_key[sizeof long_key - 4] = 0;
    CHECK_INT(aioc_auth_signer_set_key(signer, str(long_key), &error_at), AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(error_at, AIOC_AUTH_KEY_BYTES_MAX / 3 * 4 + 2);
    memset(signer->slots, 0, sizeof signer->slots);
    value = aioc_auth_sign(signer, "GET", "dbs", str("dbs/a"), 5);
    CHECK_MEM(value.ptr, before, value.len);
    free(signer);
}

TEST(another_key_gives_other_signatures_at_once)
{
    aioc_auth_signer *signer = new_signer();
    size_t error_at;
    char before[AIOC_AUTH_VALUE_MAX];
    aiocosmos_str value = aioc_auth_sign(signer, "GET", "dbs", str("dbs/a"), 5);
    memcpy(before, value.ptr, value.len);
    CHECK_INT(aioc_auth_signer_set_key(signer, str("c2VjcmV0"), &error_at), 0);
    value = aioc_auth_sign(signer, "GET", "dbs", str("dbs/a"), 5);
    CHECK(memcmp(value.ptr, before, 60) != 0);
    CHECK_INT(aioc_auth_signer_set_key(signer, str(AIOCOSMOS_EMULATOR_KEY), &error_at), 0);
    value = aioc_auth_sign(signer, "GET", "dbs", str("dbs/a"), 5);
    CHECK_MEM(value.ptr, before, value.len);
    free(signer);
}

TEST(a_signer_without_a_key_signs_nothing)
{
    aioc_auth_signer *signer = calloc(1, sizeof *signer);
    CHECK_INT(aioc_auth_sign(signer, "GET", "dbs", str(""), 5).len, 0);
    CHECK_STR(aioc_auth_signer_date(signer, 0).ptr, "Thu, 01 Jan 1970 00:00:00 GMT");
    CHECK_STR(aioc_auth_signer_date(signer, 1795228304).ptr, "Sat, 21 Nov 2026 02:31:44 GMT");
    free(signer);
}

TEST(wiping_leaves_nothing_of_the_key)
{
    aioc_auth_signer *signer = new_signer();
    size_t i;
    aioc_auth_sign(signer, "GET", "dbs", str("dbs/a"), 5);
    aioc_mem_wipe(signer, sizeof *signer);
    for (i = 0; i < sizeof *signer && ((unsigned char *)signer)[i] == 0; i++) continue;
    CHECK_INT(i, sizeof *signer);
    CHECK_INT(aioc_auth_sign(signer, "GET", "dbs", str("dbs/a"), 5).len, 0);
    free(signer);
}

TEST(the_same_signature_of_one_second_is_computed_once)
{
    aioc_auth_signer *signer = new_signer();
    const char *link = "dbs/game/colls/players";
    aiocosmos_str value;
    int i;
    for (i = 0; i < 1000; i++) value = aioc_auth_sign(signer, "POST", "docs", str(link), 1795228304);
    CHECK_INT(signer->computed, 1);
    check_fresh(value, "POST", "docs", link, 1795228304);
    for (i = 0; i < 1000; i++) value = aioc_auth_sign(signer, i % 2 ? "GET" : "POST", "docs", str(link), 1795228304);
    CHECK_INT(signer->computed, 2);
    for (i = 0; i < 1000; i++) value = aioc_auth_sign(signer, "POST", i % 2 ? "docs" : "colls", str(link), 1795228304);
    CHECK_INT(signer->computed, 3);
    value = aioc_auth_sign(signer, "POST", "docs", str(link), 1795228305);
    CHECK_INT(signer->computed, 4);
    check_fresh(value, "POST", "docs", link, 1795228305);
    value = aioc_auth_sign(signer, "post", "DOCS", str(link), 1795228305);
    CHECK_INT(signer->computed, 4);
    check_fresh(value, "POST", "docs", link, 1795228305);
    free(signer);
}

TEST(half_as_many_links_as_slots_are_kept_side_by_side)
{
    aioc_auth_signer *signer = new_signer();
    size_t round, i, links = AIOC_AUTH_SLOTS / 2, lost;
    for (round = 0; round < 10; round++) {
        for (i = 0; i < links; i++) {
            char link[64];
            snprintf(link, sizeof link, "dbs/game/colls/players/docs/player-%u", (unsigned)i);
            aioc_auth_sign(signer, "GET", "docs", str(link), 42);
        }
    }
    lost = (size_t)signer->computed - links;
    CHECK(lost <= 2 * 9 * AIOC_AUTH_WAYS);   /* no more than a set or two can be too small for its links */
    free(signer);
}

TEST(whatever_is_kept_the_signature_is_right)
{
    aioc_auth_signer *signer = new_signer();
    static const char *const verbs[] = {"GET", "POST", "PUT", "DELETE", "PATCH"};
    static const char *const types[] = {"", "dbs", "colls", "docs", "pkranges"};
    int i;
    seed = 33;
    for (i = 0; i < 4000; i++) {
        char link[400];
        const char *verb = verbs[random_number() % 5], *type = types[random_number() % 5];
        int64_t wall_s = 1795228304 + i / 500 + (int64_t)(random_number() % 2);
        int pad = random_number() % 4 ? 0 : (int)(random_number() % 240);
        snprintf(link, sizeof link, "dbs/d/colls/c/docs/%d%0*d", (int)(random_number() % 90), pad, 0);
        check_fresh(aioc_auth_sign(signer, verb, type, str(link), wall_s), verb, type, link, wall_s);
    }
    CHECK(signer->computed < 4000);
    free(signer);
}

TEST(a_link_too_long_for_a_slot_is_signed_each_time)
{
    aioc_auth_signer *signer = new_signer();
    char link[1400];
    size_t room = AIOC_AUTH_TEXT_MAX - strlen("get\ndocs\n");
    memset(link, 'x', sizeof link);
    link[room] = 0;
    check_fresh(aioc_auth_sign(signer, "GET", "docs", str(link), 9), "GET", "docs", link, 9);
    check_fresh(aioc_auth_sign(signer, "GET", "docs", str(link), 9), "GET", "docs", link, 9);
    CHECK_INT(signer->computed, 1);
    link[room] = 'x';
    link[room + 1] = 0;
    check_fresh(aioc_auth_sign(signer, "GET", "docs", str(link), 9), "GET", "docs", link, 9);
    check_fresh(aioc_auth_sign(signer, "GET", "docs", str(link), 9), "GET", "docs", link, 9);
    CHECK_INT(signer->computed, 3);
    link[room + 1] = 'x';
    link[sizeof link - 1] = 0;
    check_fresh(aioc_auth_sign(signer, "GET", "docs", str(link), 9), "GET", "docs", link, 9);
    free(signer);
}

/*--- Tokens --------------------------------------------------------------------------*/

static void check_token(aioc_auth_tokens *tokens, const char *link, uint64_t now_us, const char *want)
{
    const aioc_auth_token *found = aioc_auth_tokens_find(tokens, str(link), now_us);
    CHECK_INT(found != NULL, want != NULL);
    if (want) CHECK_TEXT((const char *)(found + 1) + found->link_len, found->value_len, want);
}

static bool drop_token(aioc_auth_tokens *tokens, aioc_mem *memory, const char *link)
{
    const aioc_auth_token *found = aioc_auth_tokens_find(tokens, str(link), 0);
    return found && aioc_auth_tokens_holds(tokens, memory, found->serial, true);
}

static aioc_auth_tokens no_tokens(void)
{
    aioc_auth_tokens tokens;
    memset(&tokens, 0, sizeof tokens);
    tokens.max = 64;
    return tokens;
}

TEST(the_token_with_the_longest_link_that_covers_is_used)
{
    aioc_auth_tokens tokens = no_tokens();
    heap_state r;
    aioc_mem memory = rationed(&r, 1000);
    check_token(&tokens, "dbs/a", 0, NULL);
    check_token(&tokens, "", 0, NULL);
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), "type=resource&ver=1&sig=x+/=;", 0, 0), 0);
    check_token(&tokens, "dbs/a", 0, "type%3Dresource%26ver%3D1%26sig%3Dx%2B%2F%3D%3B");
    check_token(&tokens, "dbs/a/colls/b", 0, "type%3Dresource%26ver%3D1%26sig%3Dx%2B%2F%3D%3B");
    check_token(&tokens, "dbs/ab", 0, NULL);
    check_token(&tokens, "dbs", 0, NULL);
    check_token(&tokens, "", 0, "type%3Dresource%26ver%3D1%26sig%3Dx%2B%2F%3D%3B");       /* the account: any token */
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("/dbs/a/colls/b/"), "type%3Dresource%26sig%3dY", 0, 100), 0);
    check_token(&tokens, "dbs/a/colls/b", 99, "type%3Dresource%26sig%3dY");
    check_token(&tokens, "dbs/a/colls/b/docs/c", 99, "type%3Dresource%26sig%3dY");
    check_token(&tokens, "dbs/a/colls/bb", 99, "type%3Dresource%26ver%3D1%26sig%3Dx%2B%2F%3D%3B");
    check_token(&tokens, "dbs/a/colls/b", 100, "type%3Dresource%26ver%3D1%26sig%3Dx%2B%2F%3D%3B");
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str(""), " eyJ0.eyJh.c2ln-_\r\n", 0, 0), 0);
    check_token(&tokens, "dbs/z", 0, "type%3Daad%26ver%3D1.0%26sig%3DeyJ0.eyJh.c2ln-_");
    check_token(&tokens, "dbs/a/colls/b", 99, "type%3Dresource%26sig%3dY");
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a/colls/b"), "type=resource&sig=Z", 100, 100), 0);
    check_token(&tokens, "dbs/a/colls/b", 150, "type%3Dresource%26sig%3DZ");
    CHECK_INT(tokens.count, 3);
    CHECK(drop_token(&tokens, &memory, "dbs/a/colls/b/docs/c"));
    check_token(&tokens, "dbs/a/colls/b", 0, "type%3Dresource%26ver%3D1%26sig%3Dx%2B%2F%3D%3B");
    CHECK(drop_token(&tokens, &memory, "dbs/a/colls/b/docs/c"));
    CHECK(drop_token(&tokens, &memory, "dbs/a/colls/b/docs/c"));
    CHECK(!drop_token(&tokens, &memory, "dbs/a/colls/b/docs/c"));
    CHECK_INT(tokens.count, 0);
    aioc_auth_tokens_wipe(&tokens, &memory);
    CHECK_INT(r.blocks, 0);
}

TEST(a_token_that_replaced_a_refused_one_is_not_dropped_with_it)
{
    aioc_auth_tokens tokens = no_tokens();
    heap_state r;
    aioc_mem memory = rationed(&r, 1000);
    uint32_t refused;
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), "old", 0, 0), 0);
    refused = aioc_auth_tokens_find(&tokens, str("dbs/a"), 0)->serial;
    CHECK(aioc_auth_tokens_holds(&tokens, &memory, refused, false));
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), "new", 0, 0), 0);
    CHECK(!aioc_auth_tokens_holds(&tokens, &memory, refused, true));
    check_token(&tokens, "dbs/a", 0, "type%3Daad%26ver%3D1.0%26sig%3Dnew");
    aioc_auth_tokens_wipe(&tokens, &memory);
    CHECK_INT(r.blocks, 0);
}

/* Whatever links are held, in whatever order they came, the answer is that of a search by the rule itself. */
TEST(tokens_of_many_links_are_found_by_the_rule)
{
    static const char *const names[] = {"", "dbs/a", "dbs/b", "dbs/aa", "dbs/a/colls/a", "dbs/a/colls/b",
                                        "dbs/a/colls/ab", "dbs/b/colls/a", "dbs/a/colls/a/docs/x", "dbs"};
    enum { NAMES = sizeof names / sizeof *names };
    heap_state r;
    aioc_mem memory = rationed(&r, 1000000);
    unsigned set, i, k;
    for (set = 0; set < 1u << NAMES; set++) {
        aioc_auth_tokens tokens = no_tokens();
        for (i = 0; i < NAMES; i++) {
            k = (i * 7 + set) % NAMES;
            if (set >> k & 1) CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str(names[k]), "t", 0, 0), 0);
        }
        for (i = 1; i < NAMES; i++) {
            const aioc_auth_token *found = aioc_auth_tokens_find(&tokens, str(names[i]), 0);
            size_t best = SIZE_MAX;
            for (k = 0; k < NAMES; k++) {
                size_t len = strlen(names[k]);
                bool covers = len == 0 || (strncmp(names[i], names[k], len) == 0 &&
                                           (names[i][len] == 0 || names[i][len] == '/'));
                if ((set >> k & 1) && covers && (best == SIZE_MAX || len > best)) best = len;
            }
            CHECK_INT(found ? found->link_len : SIZE_MAX, best);
        }
        aioc_auth_tokens_wipe(&tokens, &memory);
    }
    CHECK_INT(r.blocks, 0);
}

static bool denied(aioc_auth_tokens *tokens, const char *link, uint64_t now_us)
{
    const aioc_auth_token *found = aioc_auth_tokens_find(tokens, str(link), now_us);
    return found && found->value_len == 0;
}

TEST(a_link_for_which_the_host_has_no_token_is_denied_for_seconds_at_most)
{
    aioc_auth_tokens tokens = no_tokens();
    heap_state r;
    aioc_mem memory = rationed(&r, 1000);
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), NULL, 0, 50), 0);
    CHECK(denied(&tokens, "dbs/a/colls/b", 49));
    check_token(&tokens, "dbs/a/colls/b", 50, NULL);
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str(""), NULL, 0, 50), 0);
    CHECK(denied(&tokens, "", 49));
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/b"), "jwt", 0, 50), 0);
    check_token(&tokens, "", 49, "type%3Daad%26ver%3D1.0%26sig%3Djwt");
    check_token(&tokens, "dbs/b", 49, "type%3Daad%26ver%3D1.0%26sig%3Djwt");
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/c"), "type%3Xjwt", 0, 50), 0);
    check_token(&tokens, "dbs/c", 49, "type%3Daad%26ver%3D1.0%26sig%3Dtype%253Xjwt");
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), NULL, 100, 0), 0);
    CHECK(denied(&tokens, "dbs/a", 99 + AIOC_AUTH_DENIAL_US));
    CHECK(!denied(&tokens, "dbs/a", 100 + AIOC_AUTH_DENIAL_US));
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), NULL, 100, UINT64_C(3600000000)), 0);
    CHECK(!denied(&tokens, "dbs/a", 100 + AIOC_AUTH_DENIAL_US));
    aioc_auth_tokens_wipe(&tokens, &memory);
    CHECK_INT(r.blocks, 0);
}

/* A host that was asked for a successor ahead of time and has none has not taken back what it gave. */
TEST(a_denial_takes_the_token_held_but_not_while_that_is_renewed)
{
    aioc_auth_tokens tokens = no_tokens();
    heap_state r;
    aioc_mem memory = rationed(&r, 1000);
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), "t", 0, 1000), 0);
    CHECK_INT(aioc_auth_tokens_find(&tokens, str("dbs/a"), 0)->renew_us, 800);
    aioc_auth_tokens_find(&tokens, str("dbs/a"), 0)->renewing = true;
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), NULL, 900, 0), 0);
    check_token(&tokens, "dbs/a", 999, "type%3Daad%26ver%3D1.0%26sig%3Dt");
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), NULL, 1000, 0), 0);
    CHECK(denied(&tokens, "dbs/a", 1000));
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), "u", 1000, 1000), 0);
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), NULL, 1100, 0), 0);
    CHECK(denied(&tokens, "dbs/a", 1100));
    aioc_auth_tokens_wipe(&tokens, &memory);
    CHECK_INT(r.blocks, 0);
}

TEST(what_cannot_be_a_token_is_refused)
{
    static const char *const bad[] = {"", " \n", "a b", "a\r\nx: y", "type%3Dr\r\nx: y", "a\xC3\xA9", "a\x7F"};
    aioc_auth_tokens tokens = no_tokens();
    heap_state r;
    aioc_mem memory = rationed(&r, 1000);
    char *large = malloc(AIOC_AUTH_TOKEN_MAX + 8);
    size_t prefix = strlen("type%3Daad%26ver%3D1.0%26sig%3D"), i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), bad[i], 0, 50), AIOCOSMOS_E_ARGUMENT);
    memset(large, 'a', AIOC_AUTH_TOKEN_MAX);
    large[4097] = 0;
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str(large), "t", 0, 50), AIOCOSMOS_E_ARGUMENT);
    large[4097] = 'a';
    large[AIOC_AUTH_TOKEN_MAX - prefix + 1] = 0;
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), large, 0, 50), AIOCOSMOS_E_ARGUMENT);
    large[AIOC_AUTH_TOKEN_MAX - prefix] = 0;
    CHECK_INT(tokens.count, 0);
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), large, 0, 50), 0);
    CHECK_INT(tokens.first->value_len, AIOC_AUTH_TOKEN_MAX);
    aioc_auth_tokens_wipe(&tokens, &memory);
    free(large);
    CHECK_INT(r.blocks, 0);
}

TEST(one_token_more_than_are_kept_takes_the_place_of_the_least_recently_used)
{
    aioc_auth_tokens tokens = no_tokens();
    heap_state r;
    aioc_mem memory = rationed(&r, 1000);
    char link[32];
    uint32_t i;
    for (i = 0; i < 64; i++) {
        snprintf(link, sizeof link, "dbs/d%u", (unsigned)i);
        CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str(link), "t", 0, 0), 0);
    }
    check_token(&tokens, "dbs/d0/colls/c", 0, "type%3Daad%26ver%3D1.0%26sig%3Dt");
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/x"), "x", 0, 0), 0);
    check_token(&tokens, "dbs/d0", 0, "type%3Daad%26ver%3D1.0%26sig%3Dt");
    check_token(&tokens, "dbs/d1", 0, NULL);
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/d2"), "again", 0, 0), 0);
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/y"), "y", 0, 0), 0);
    check_token(&tokens, "dbs/d2", 0, "type%3Daad%26ver%3D1.0%26sig%3Dagain");
    check_token(&tokens, "dbs/d3", 0, NULL);
    for (i = 4; i < 64; i++) {
        snprintf(link, sizeof link, "dbs/d%u", (unsigned)i);
        check_token(&tokens, link, 0, "type%3Daad%26ver%3D1.0%26sig%3Dt");
    }
    check_token(&tokens, "dbs/x", 0, "type%3Daad%26ver%3D1.0%26sig%3Dx");
    check_token(&tokens, "dbs/y", 0, "type%3Daad%26ver%3D1.0%26sig%3Dy");
    CHECK_INT(tokens.count, 64);
    aioc_auth_tokens_wipe(&tokens, &memory);
    CHECK_INT(r.blocks, 0);
}

TEST(tokens_are_wiped_before_their_memory_is_freed)
{
    aioc_auth_tokens tokens = no_tokens();
    heap_state r;
    aioc_mem memory = rationed(&r, 1000);
    memory.allocator.fn = watching_fn;
    dirty = false;
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), "sEcReT1", 0, 0), 0);
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), "sEcReT2", 0, 0), 0);
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/b"), "sEcReT3", 0, 0), 0);
    CHECK(drop_token(&tokens, &memory, "dbs/b"));
    aioc_auth_tokens_wipe(&tokens, &memory);
    CHECK_INT(r.blocks, 0);
    CHECK(!dirty);
}

TEST(without_memory_the_token_that_was_held_stays)
{
    aioc_auth_tokens tokens = no_tokens();
    heap_state r;
    aioc_mem memory = rationed(&r, 1);
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), "old", 0, 0), 0);
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/a"), "new", 0, 0), AIOCOSMOS_E_NOMEM);
    CHECK_INT(aioc_auth_tokens_set(&tokens, &memory, str("dbs/b"), "new", 0, 0), AIOCOSMOS_E_NOMEM);
    CHECK_INT(tokens.count, 1);
    check_token(&tokens, "dbs/a", 0, "type%3Daad%26ver%3D1.0%26sig%3Dold");
    aioc_auth_tokens_wipe(&tokens, &memory);
    CHECK_INT(r.blocks, 0);
}

/* {"a":"??>>~"} has both of the digits in which the alphabets differ. */
TEST(claims_are_found_in_a_challenge_and_decoded)
{
    static const struct { const char *head, *want; } cases[] = {
        {"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer error=\"insufficient_claims\", claims=\"eyJhIjoxfQ==\"\r\n",
         "{\"a\":1}"},
        {"WWW-Authenticate: PoP nonce=\"x\"\r\nwww-authenticate: bearer Claims=\"eyJhIjoxfQ\"\r\n", "{\"a\":1}"},
        {"WWW-Authenticate: Bearer realm=\"\",claims=\"eyJhIjoiPz8-Pn4ifQ\", x=\"y\"\r\n", "{\"a\":\"?\?>>~\"}"},
        {"WWW-Authenticate: Bearer realm=\"\",\tclaims=\"eyJhIjoiPz8+Pn4ifQ==\"", "{\"a\":\"?\?>>~\"}"},
        {"WWW-Authenticate: Bearer claims=\"eyJhIjoxfQ", "{\"a\":1}"},
        {"WWW-Authenticate: Bearer myclaims=\"eyJhIjoxfQ\"\r\n", NULL},
        {"WWW-Authenticate: Bearer claims=\"\"\r\n", NULL},
        {"WWW-Authenticate: Bearer claims=\"", NULL},
        {"WWW-Authenticate: Bearer claims=\"!!!!\"\r\n", NULL},
        {"WWW-Authenticate: Bearer claims=\"YWJj\"\r\n", NULL},                           /* abc */
        {"WWW-Authenticate: Bearer claims=\"ewB9\"\r\n", NULL},                           /* { NUL } */
        {"WWW-Authenticate: Bearer\r\n", NULL}, {"", NULL}, {"claims=\"eyJhIjoxfQ==\"", NULL}};
    size_t i, cut;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = strlen(cases[i].head), got;
        for (cut = 0; cut <= len; cut++) {                 /* memory of its own, for the sanitizer to watch its ends */
            char *head = malloc(cut + 1), *out = malloc(cut + 1);
            aiocosmos_str text;
            memcpy(head, cases[i].head, cut);
            text.ptr = head;
            text.len = cut;
            got = aioc_auth_claims(text, out);
            CHECK(got < cut + 1);
            if (got) CHECK_INT(strlen(out), got);
            if (cut == len) CHECK_TEXT(out, got, cases[i].want ? cases[i].want : "");
            free(head);
            free(out);
        }
    }
}

/*--- Connection strings ------------------------------------------------------------------*/

typedef struct connection {
    aioc_auth_connection found;
    const char *error;
    size_t error_at;
} connection;

static connection connect_by(aiocosmos_str text)
{
    connection c;
    c.error = aioc_auth_connection_string(text, &c.found);
    c.error_at = (size_t)(c.found.at - text.ptr);
    return c;
}

#define ENDPOINT "AccountEndpoint=https://a.documents.azure.com:443/"

TEST(connection_strings_in_any_order_and_case)
{
    static const char *const good[] = {
        ENDPOINT ";AccountKey=YWJj==;",
        ENDPOINT ";AccountKey=YWJj==",
        "AccountKey=YWJj==;" ENDPOINT,
        "accountkey=YWJj==;ACCOUNTENDPOINT=https://a.documents.azure.com:443/;;",
        " AccountEndpoint = https://a.documents.azure.com:443/ ; AccountKey = YWJj== ;\r\n",
        "Database=x;AccountKey=YWJj==;=;Other=;" ENDPOINT,
        "TLS=1;AccountKey=YWJj==;DisableServerCertificateValidation=False;" ENDPOINT};
    size_t i;
    for (i = 0; i < sizeof good / sizeof good[0]; i++) {
        connection c = connect_by(str(good[i]));
        CHECK(c.error == NULL);
        CHECK_TEXT(c.found.endpoint.ptr, c.found.endpoint.len, "https://a.documents.azure.com:443/");
        CHECK_TEXT(c.found.key.ptr, c.found.key.len, "YWJj==");
        CHECK(!aioc_mem_same_nocase(c.found.insecure, str("true")));
    }
    {
        connection c = connect_by(str("AccountEndpoint=e;AccountKey=k;disableservercertificatevalidation=TRUE;"));
        CHECK_TEXT(c.found.insecure.ptr, c.found.insecure.len, "TRUE");
    }
}

TEST(bad_connection_strings_say_what_and_where)
{
    static const struct { const char *text, *error; size_t at; } bad[] = {
        {"", "AccountEndpoint is missing", 0},
        {"AccountKey=k", "AccountEndpoint is missing", 12},
        {"AccountEndpoint=e;", "AccountKey is missing", 18},
        {"https://a.documents.azure.com", "a part without '='", 0},
        {"AccountEndpoint=e; key ;AccountKey=k", "a part without '='", 19},
        {"AccountEndpoint=e;AccountKey=;", "a value is missing", 29},
        {"AccountEndpoint= ;AccountKey=k;", "a value is missing", 16},
        {"AccountEndpoint=e;AccountKey=k;AccountKey=l", "this name stands twice", 31},
        {"AccountEndpoint=e;AccountKey=k;DisableServerCertificateValidation=yes",
         "DisableServerCertificateValidation is neither true nor false", 66}};
    size_t i;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        connection c = connect_by(str(bad[i].text));
        CHECK_STR(c.error, bad[i].error);
        CHECK_INT(c.error_at, bad[i].at);
    }
}

TEST(connection_strings_cut_and_changed_anywhere)
{
    const char *good = "AccountEndpoint=https://a:1/;AccountKey=YWJj==;DisableServerCertificateValidation=true;";
    aiocosmos_str whole = tight(str(good));
    size_t cut, round;
    connection c;
    for (cut = 0; cut < whole.len; cut++) {
        aiocosmos_str part = whole;
        part.len = cut;
        part = tight(part);
        c = connect_by(part);
        CHECK(!c.error ? cut >= strlen("AccountEndpoint=https://a:1/;AccountKey=Y") : c.error_at <= cut);
        loosen(part);
    }
    seed = 44;
    for (round = 0; round < 20000; round++) {
        char *at = (char *)(uintptr_t)whole.ptr + random_number() % whole.len, was = *at;
        *at = "=; aA\0\n\xFF"[random_number() % 8];
        c = connect_by(whole);
        CHECK(!c.error ? c.found.key.len > 0 && c.found.endpoint.len > 0 : c.error_at <= whole.len);
        if (random_number() % 8) *at = was;  /* mostly one change at a time, sometimes they add up */
        if (random_number() % 64 == 0) memcpy((char *)(uintptr_t)whole.ptr, good, whole.len);
    }
    loosen(whole);
}
