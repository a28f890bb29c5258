/* text.h: text under construction, and small things with bytes. */
#ifndef EMULATOR_TEXT_H
#define EMULATOR_TEXT_H

#include "base.h"

#define EMU_GUID 36

/* Failure sticks: it is looked at once, when the answer is written. */
typedef struct emu_text {
    aioc_mem *memory;
    aioc_mem_buffer buffer;
    bool failed;
} emu_text;

EMU_PRIVATE void emu_put(emu_text *text, const void *bytes, size_t len);
EMU_PRIVATE void emu_puts(emu_text *text, const char *string);
EMU_PRIVATE void emu_put_str(emu_text *text, aiocosmos_str string);
/* As a JSON string, quotes and all. */
EMU_PRIVATE void emu_put_json(emu_text *text, aiocosmos_str string);
EMU_PRIVATE void emu_put_format(emu_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
EMU_PRIVATE void emu_text_clear(emu_text *text);
EMU_PRIVATE aiocosmos_str emu_text_str(const emu_text *text);

/* To a place with room for it; return what is behind it. */
EMU_PRIVATE char *emu_put_at(char *at, const char *text, size_t len);
EMU_PRIVATE char *emu_put_number(char *at, int64_t number);
EMU_PRIVATE char *emu_put_decimal(char *at, double number);    /* not negative; two decimals */
#define EMU_PUT(at, literal) emu_put_at((at), literal, sizeof literal - 1)

/* digits hexadecimal ones, the lowest last. */
EMU_PRIVATE void emu_put_hex(char *out, uint64_t number, int digits);
EMU_PRIVATE int emu_hex_digit(char c);
EMU_PRIVATE void emu_lower(char *text, size_t len);
/* Returns the length. out has room for all of text. */
EMU_PRIVATE size_t emu_percent_decode(aiocosmos_str text, char *out);

static inline aiocosmos_str emu_str(const char *ptr, size_t len)
{
    aiocosmos_str str;
    str.ptr = ptr;
    str.len = len;
    return str;
}

/* An aiocosmos_str of a literal, in a table. */
#define EMU_NAME(text) { text, sizeof text - 1 }

/* At most so many bytes of a text, for "%.*s". */
#define EMU_CUT(text, most) ((text).len < (most) ? (int)(text).len : (most)), (text).ptr

static inline void emu_store32be(unsigned char *at, uint32_t value)
{
    aioc_text_store16be(at, value >> 16);
    aioc_text_store16be(at + 2, value);
}

static inline bool emu_is(aiocosmos_str text, const char *string)
{
    return text.len == strlen(string) && memcmp(text.ptr, string, text.len) == 0;
}

#endif
