/* The text layer: byte order, digits, base64, dates, addresses. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "texts.h"

#include <arpa/inet.h>

TEST(byte_order_helpers_work_at_any_alignment)
{
    unsigned char bytes[9];
    aioc_text_store16be(bytes + 1, 0xfffe1234u);
    CHECK_MEM(bytes + 1, "\x12\x34", 2);
    CHECK_INT(aioc_text_load16be(bytes + 1), 0x1234);
    memcpy(bytes + 1, "\xf1\xe2\xd3\xc4", 4);
    CHECK_INT(aioc_text_load32le(bytes + 1), 0xc4d3e2f1u);
    aioc_text_store32le(bytes + 1, 0xf1e2d3c4u);
    CHECK_MEM(bytes + 1, "\xc4\xd3\xe2\xf1", 4);
    aioc_text_store64le(bytes + 1, 0xf1e2d3c4b5a69788u);
    CHECK_MEM(bytes + 1, "\x88\x97\xa6\xb5\xc4\xd3\xe2\xf1", 8);
    CHECK(aioc_text_load64le(bytes + 1) == 0xf1e2d3c4b5a69788u);
}

TEST(the_first_byte_of_a_word_that_is_not_0)
{
    unsigned char bytes[8];
    unsigned at, bit;
    for (at = 0; at < 8; at++) {
        for (bit = 0; bit < 8; bit++) {
            memset(bytes, 0xff, sizeof bytes);
            memset(bytes, 0, at);
            bytes[at] = (unsigned char)(1u << bit);
            CHECK_INT(aioc_text_first(aioc_text_load64le(bytes)), at);
        }
    }
}

TEST(less_than_a_word_is_loaded_with_zeros_behind)
{
    size_t len, i;
    for (len = 0; len <= 9; len++) {
        unsigned char *exact = (unsigned char *)malloc(len + !len);
        uint64_t want = 0;
        for (i = 0; i < len; i++) exact[i] = (unsigned char)(0xf1 + i);
        for (i = 0; i < len && i < 8; i++) want |= (uint64_t)exact[i] << 8 * i;
        CHECK(aioc_text_load_some(exact, len) == want);
        free(exact);
    }
}

/* Of every length, with one byte of each value at each place. */
TEST(the_first_byte_of_some_is_found)
{
    int byte, wide;
    size_t len, at;
    for (len = 0; len < 40; len++) {
        char *text = (char *)malloc(len + !len);
        for (at = 0; at < len; at++) {
            for (byte = 0; byte < 512; byte++) {
                bool some = (byte & 255) <= 0x1F || (byte & 255) == '"' || (byte & 255) == '\\';
                wide = byte >= 256;
                memset(text, 'x', len);
                text[at] = (char)(byte & 255);
                some = some || (wide && (byte & 255) >= 128);
                CHECK_INT(aioc_text_find(text, text + len, ' ' ^ '"', ' ', '\\', wide) - text, some ? at : len);
                CHECK_INT(aioc_text_find_words(text, text + len, ' ' ^ '"', ' ', '\\', wide) - text, some ? at : len);
            }
        }
        free(text);
    }
}

#if AIOC_TEXT_SSE2
TEST(the_first_mark_is_guessed_right)
{
    char text[16];
    unsigned marks, at;
    for (marks = 1; marks < 1u << 16; marks++) {
        for (at = 0; !(marks >> at & 1); at++) continue;
        CHECK_INT(aioc_text_guess(text, marks) - text, at);
    }
}
#endif

TEST(white_space_is_trimmed_at_both_ends)
{
    static const struct { const char *text, *trimmed; } cases[] = {
        {"", ""}, {" ", ""}, {" \t\r\n ", ""}, {"a", "a"}, {" \ta b\r\n", "a b"}, {"\va\f", "\va\f"}, {"\xa0", "\xa0"}
    };
    aiocosmos_str zero = {"\0 ", 2};
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        aiocosmos_str trimmed = aioc_text_trim(str(cases[i].text));
        CHECK_TEXT(trimmed.ptr, trimmed.len, cases[i].trimmed);
    }
    CHECK_INT(aioc_text_trim(zero).len, 1);
    CHECK_INT(aioc_text_trim(str(NULL)).len, 0);
}

TEST(hexadecimal_digits_have_either_case)
{
    static const char digits[] = "0123456789abcdef", capitals[] = "0123456789ABCDEF";
    int c;
    for (c = 0; c < 256; c++) {
        const char *small = c ? strchr(digits, c) : NULL, *capital = c ? strchr(capitals, c) : NULL;
        CHECK_INT(aioc_text_hex((char)c), small ? small - digits : capital ? capital - capitals : -1);
    }
}

TEST(numbers_are_digits_only_and_fit)
{
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "1.0", "0x1", "1e3", "18446744073709551616",
                                      "99999999999999999999", "184467440737095516150", "\xb1", "/", ":"};
    aiocosmos_str cut = {"123", 2}, zero = {"1\0", 2};
    uint64_t n = 7;
    size_t i;
    CHECK(aioc_text_parse_u64(str("0"), &n) && n == 0);
    CHECK(aioc_text_parse_u64(str("00042"), &n) && n == 42);
    CHECK(aioc_text_parse_u64(str("18446744073709551615"), &n) && n == UINT64_MAX);
    CHECK(aioc_text_parse_u64(cut, &n) && n == 12);
    CHECK(!aioc_text_parse_u64(zero, &n));
    CHECK(!aioc_text_parse_u64(str(NULL), &n));
    n = 7;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (aioc_text_parse_u64(str(bad[i]), &n)) test_fail(__FILE__, __LINE__, "\"%s\" was taken", bad[i]);
        CHECK_INT(n, 7);                                           /* untouched */
    }
}

TEST(base64_of_rfc_4648)
{
    static const char *const pairs[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
    size_t i, len, error_at;
    for (i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char text[16];
        unsigned char bytes[16];
        size_t size = aioc_text_base64_encode(pairs[i][0], strlen(pairs[i][0]), text);
        CHECK_INT(size, strlen(pairs[i][1]));
        CHECK_TEXT(text, size, pairs[i][1]);
        CHECK(aioc_text_base64_decode(str(pairs[i][1]), bytes, sizeof bytes, &len, &error_at));
        CHECK_TEXT((char *)bytes, len, pairs[i][0]);
    }
}

TEST(base64_round_trips_and_says_where_it_is_wrong)
{
    unsigned char bytes[96], back[96];
    size_t round, i, len, error_at;
    for (round = 0; round < 2000; round++) {
        size_t size = random_below(sizeof bytes);
        aiocosmos_str text;
        char *room = malloc((size + 2) / 3 * 4 + 1);
        for (i = 0; i < size; i++) bytes[i] = (unsigned char)random_below(256);
        text.ptr = room;
        text.len = aioc_text_base64_encode(bytes, size, room);
        CHECK(aioc_text_base64_decode(text, back, sizeof back, &len, &error_at));
        CHECK_INT(len, size);
        CHECK_MEM(back, bytes, size);
        if (size > 0) {
            size_t at = random_below((unsigned)text.len - 2);
            char was = room[at];
            CHECK(!aioc_text_base64_decode(text, back, size - 1, &len, &error_at));           /* no room */
            CHECK(len <= size - 1);
            room[at] = "-_ \n=.%\x80"[random_below(8)];
            CHECK(!aioc_text_base64_decode(text, back, sizeof back, &len, &error_at));
            CHECK_INT(error_at, at);
            room[at] = was;
            text.len -= 1 + random_below(3);
            CHECK(!aioc_text_base64_decode(text, back, sizeof back, &len, &error_at));
            CHECK_INT(error_at, text.len);
        }
        free(room);
    }
}

TEST(base64_padding_stands_only_at_the_end)
{
    static const struct { const char *text; size_t at; } bad[] = {
        {"=", 1}, {"==", 2}, {"===", 0}, {"====", 0}, {"A===", 1}, {"AA=A", 2}, {"AA==AA==", 2}, {"A", 1}, {"AA", 2},
        {"AAA", 3}, {"AAAA=", 5}, {"AAAA====", 4}, {"AAA\n", 3}, {" AAA", 0}};
    size_t i, len, error_at;
    unsigned char out[16];
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(!aioc_text_base64_decode(str(bad[i].text), out, sizeof out, &len, &error_at));
        CHECK_INT(error_at, bad[i].at);
    }
}

static bool parses(const char *text, aiocosmos_address *out, aiocosmos_str *zone)
{
    size_t len = strlen(text);
    char *copy = exact_copy(text, len);
    bool fine = aioc_text_address(aioc_text_view(copy, len), out, zone);
    if (fine && zone->len) zone->ptr = text + (zone->ptr - copy);
    free(copy);
    return fine;
}

TEST(addresses_are_read_and_written)
{
    static const char *const table[][2] = {
        {"0.0.0.0", "0.0.0.0"}, {"127.0.0.1", "127.0.0.1"}, {"255.255.255.255", "255.255.255.255"},
        {"::", "::"}, {"::1", "::1"}, {"1::", "1::"}, {"0:0:0:0:0:0:0:0", "::"}, {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {"2001:0DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"}, {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"1:0:0:0:2:0:0:0", "1::2:0:0:0"}, {"::ffff:1.2.3.4", "::ffff:1.2.3.4"},
        {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
        {"fe80::1%7", "fe80::1%7"}, {"fe80::1%4294967295", "fe80::1%4294967295"},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295"},
    };
    char text[AIOC_TEXT_ADDRESS_MAX];
    aiocosmos_address address;
    aiocosmos_str zone;
    size_t i;
    for (i = 0; i < COUNT(table); i++) {
        if (!parses(table[i][0], &address, &zone)) test_fail(__FILE__, __LINE__, "%s", table[i][0]);
        CHECK_INT(zone.len, 0);
        CHECK_INT(address.port, 0);
        aioc_text_put_address(&address, text);
        CHECK_STR(text, table[i][1]);
    }
    CHECK(parses("fe80::2%eth0", &address, &zone));
    CHECK_TEXT(zone.ptr, zone.len, "eth0");
}

TEST(what_is_no_address_is_refused)
{
    static const char *const table[] = {
        "", ".", "1", "1.2.3", "1.2.3.4.", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.04", "1..2.3", "1.2.3.",
        " 1.2.3.4",
        "1.2.3.4 ", "0x1.2.3.4", "-1.2.3.4", "1000.2.3.4", "1.2.3.4%1", ":", ":::", "1:", ":1", "1::2::3",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "12345::", "g::",
        "::1.2.3", "::1.2.3.4:1",
        "1:2:3:4:5:6:7:1.2.3.4", "[::1]", "::1%", "::1%4294967296", "::1%abcdefghijklmnop", "%eth0",
    };
    aiocosmos_address address;
    aiocosmos_str zone;
    size_t i;
    for (i = 0; i < COUNT(table); i++) {
        if (parses(table[i], &address, &zone)) test_fail(__FILE__, __LINE__, "\"%s\" is taken for one", table[i]);
    }
}

/* The C library is the judge of random texts that look like addresses. */
TEST(addresses_are_read_as_inet_pton_reads_them)
{
    static const char letters[] = "0123456789abcdefF:::::....1";
    static const char *const seeds[] = {"1.2.3.4", "::1", "2001:db8::a:b", "::ffff:10.0.0.1", "1:2:3:4:5:6:7:8",
                                        "fe80::"};
    int round, good = 0;
    for (round = 0; round < 60000; round++) {
        char text[64];
        unsigned char want[16] = {0};
        aiocosmos_address address;
        aiocosmos_str zone;
        unsigned changes = random_below(4);
        int family;
        strcpy(text, seeds[random_below((unsigned)COUNT(seeds))]);
        while (changes-- > 0) {
            size_t len = strlen(text), at = random_below((unsigned)len + 1);
            if (random_below(3) == 0 && at < len) memmove(text + at, text + at + 1, len - at);
            else if (random_below(2) == 0 && at < len) text[at] = letters[random_below((unsigned)sizeof letters - 1)];
            else {
                memmove(text + at + 1, text + at, len + 1 - at);
                text[at] = letters[random_below((unsigned)sizeof letters - 1)];
            }
            if (text[0] == '\0') break;
        }
        family = inet_pton(AF_INET, text, want) == 1 ? 4 : inet_pton(AF_INET6, text, want) == 1 ? 6 : 0;
        if (parses(text, &address, &zone) != (family != 0)) {
            test_fail(__FILE__, __LINE__, "\"%s\" family %d", text, family);
        }
        if (family == 0) continue;
        good++;
        CHECK_INT(address.family, family);
        CHECK_MEM(address.ip, want, 16);
        if (family == 6) {
            char ours[AIOC_TEXT_ADDRESS_MAX];
            aioc_text_put_address(&address, ours);
            CHECK(parses(ours, &address, &zone));
            CHECK_MEM(address.ip, want, 16);
        }
    }
    CHECK(good > 6000);
}

TEST(a_host_may_stand_in_brackets_if_it_is_ipv6)
{
    static const struct { const char *host; int family; const char *zone; } table[] = {
        {"[::1]", 6, ""}, {"::1", 6, ""}, {"127.0.0.1", 4, ""}, {"[127.0.0.1]", 0, ""}, {"[fe80::1%eth0]", 6, "eth0"},
        {"[fe80::1%3]", 6, ""}, {"[::1", 0, ""}, {"::1]", 0, ""}, {"[]", 0, ""}, {"[[::1]]", 0, ""},
        {"db.example", 0, ""}
    };
    aiocosmos_address address;
    aiocosmos_str zone;
    size_t i;
    for (i = 0; i < COUNT(table); i++) {
        bool is = aioc_text_host_address(str(table[i].host), &address, &zone);
        if (is != (table[i].family != 0)) test_fail(__FILE__, __LINE__, "%s", table[i].host);
        if (!is) continue;
        CHECK_INT(address.family, table[i].family);
        CHECK_TEXT(zone.ptr, zone.len, table[i].zone);
    }
}

/* Every day of a thousand years, against a calendar that counts. */
TEST(dates_follow_each_other)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int32_t day = 0, field[6] = {1970, 1, 1, 0, 0, 0};
    for (; field[0] < 2970; day++) {
        int leap = field[1] == 2 && field[0] % 4 == 0 && (field[0] % 100 != 0 || field[0] % 400 == 0);
        int32_t date[3];
        int64_t wall_s;
        aioc_text_date_of(day, date);
        CHECK(memcmp(date, field, sizeof date) == 0);
        CHECK(aioc_text_date_seconds(field, &wall_s));
        CHECK(wall_s == (int64_t)day * 86400);
        if (++field[2] <= lengths[field[1] - 1] + leap) continue;
        CHECK(!aioc_text_date_seconds(field, &wall_s));                    /* the day behind the last */
        field[2] = 1;
        if (++field[1] <= 12) continue;
        CHECK(!aioc_text_date_seconds(field, &wall_s));
        field[1] = 1;
        field[0]++;
    }
    CHECK_INT(day, 365243);
}
