/* The text layer: byte order, digits, and what else more than one layer does with bytes. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"

static aiocosmos_str view(const char *text) { return aioc_memory_str(text); }

TEST(byte_order_helpers_work_at_any_alignment)
{
    unsigned char bytes[9];
    aioc_text_store16be(bytes + 1, 0xfffe1234u);
    CHECK_MEM(bytes + 1, "\x12\x34", 2);
    CHECK_INT(aioc_text_load16be(bytes + 1), 0x1234);
    aioc_text_store32be(bytes + 1, 0xf1e2d3c4u);
    CHECK_MEM(bytes + 1, "\xf1\xe2\xd3\xc4", 4);
    CHECK_INT(aioc_text_load32be(bytes + 1), 0xf1e2d3c4u);
    CHECK_INT(aioc_text_load32le(bytes + 1), 0xc4d3e2f1u);
    aioc_text_store32le(bytes + 1, 0xf1e2d3c4u);
    CHECK_MEM(bytes + 1, "\xc4\xd3\xe2\xf1", 4);
    aioc_text_store64be(bytes + 1, 0xf1e2d3c4b5a69788u);
    CHECK_MEM(bytes + 1, "\xf1\xe2\xd3\xc4\xb5\xa6\x97\x88", 8);
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

TEST(white_space_is_trimmed_at_both_ends)
{
    static const struct { const char *text, *trimmed, *of_slashes; } cases[] = {
        {"", "", ""}, {" ", "", " "}, {" \t\r\n ", "", " \t\r\n "}, {"a", "a", "a"}, {" \ta b\r\n", "a b", " \ta b\r\n"},
        {"//dbs/a/", "//dbs/a/", "dbs/a"}, {"///", "///", ""}, {"\va\f", "\va\f", "\va\f"}, {"\xa0", "\xa0", "\xa0"}
    };
    aiocosmos_str zero = {"\0 ", 2};
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        aiocosmos_str trimmed = aioc_text_trim(view(cases[i].text)), of = aioc_text_trim_of(view(cases[i].text), '/');
        CHECK_TEXT(trimmed.ptr, trimmed.len, cases[i].trimmed);
        CHECK_TEXT(of.ptr, of.len, cases[i].of_slashes);
    }
    CHECK_INT(aioc_text_trim(zero).len, 1);
    CHECK_INT(aioc_text_trim(view(NULL)).len, 0);
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
    CHECK(aioc_text_parse_u64(view("0"), &n) && n == 0);
    CHECK(aioc_text_parse_u64(view("00042"), &n) && n == 42);
    CHECK(aioc_text_parse_u64(view("18446744073709551615"), &n) && n == UINT64_MAX);
    CHECK(aioc_text_parse_u64(cut, &n) && n == 12);
    CHECK(!aioc_text_parse_u64(zero, &n));
    CHECK(!aioc_text_parse_u64(view(NULL), &n));
    n = 7;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (aioc_text_parse_u64(view(bad[i]), &n)) test_fail(__FILE__, __LINE__, "\"%s\" was taken", bad[i]);
        CHECK_INT(n, 7);                                           /* untouched */
    }
}
