/* text.c: text under construction. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>

void emu_put(emu_text *text, const void *bytes, size_t len)
{
    if (!text->failed && !aioc_mem_append(text->memory, &text->buffer, bytes, len)) text->failed = true;
}

void emu_puts(emu_text *text, const char *string)
{
    emu_put(text, string, strlen(string));
}

void emu_put_str(emu_text *text, aiocosmos_str string)
{
    emu_put(text, string.ptr, string.len);
}

void emu_put_json(emu_text *text, aiocosmos_str string)
{
    aioc_mem_writer out = aioc_mem_write(text->memory, &text->buffer);
    if (text->failed) return;
    aioc_json_put_string(&out, string);
    if (!aioc_mem_written(&out)) text->failed = true;
}

/* Only short texts of our own making. */
void emu_put_format(emu_text *text, const char *format, ...)
{
    char room[1024];
    va_list values;
    int len;
    va_start(values, format);
    len = vsnprintf(room, sizeof room, format, values);
    va_end(values);
    emu_put(text, room, len < 0 ? 0 : (size_t)len < sizeof room ? (size_t)len : sizeof room - 1);
}

/* Empty again. What a large request made it grow to is given back. */
void emu_text_clear(emu_text *text)
{
    if (text->buffer.cap > (1u << 20)) aioc_mem_buffer_free(text->memory, &text->buffer);
    text->buffer.len = 0;
    text->failed = false;
}

char *emu_put_at(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

char *emu_put_number(char *at, int64_t number)
{
    return at + aioc_json_i64_write(number, at);
}

char *emu_put_decimal(char *at, double number)
{
    int64_t hundredths = (int64_t)(number * 100 + 0.5);
    at = emu_put_number(at, hundredths / 100);
    if (hundredths % 100 == 0) return at;
    *at++ = '.';
    *at++ = (char)('0' + hundredths / 10 % 10);
    if (hundredths % 10) *at++ = (char)('0' + hundredths % 10);
    return at;
}

void emu_put_hex(char *out, uint64_t number, int digits)
{
    for (; digits > 0; digits--, number >>= 4) out[digits - 1] = "0123456789abcdef"[number & 15];
}

/* -1: it is none. */
int emu_hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

size_t emu_percent_decode(aiocosmos_str text, char *out)
{
    size_t i, len = 0;
    for (i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%' && i + 2 < text.len) {
            unsigned value = 0, k;
            for (k = 1; k <= 2; k++) {
                int digit = emu_hex_digit(text.ptr[i + k]);
                if (digit < 0) break;
                value = value * 16 + (unsigned)digit;
            }
            if (k == 3) {
                c = (char)value;
                i += 2;
            }
        }
        out[len++] = c;
    }
    return len;
}

void emu_lower(char *text, size_t len)
{
    size_t i;
    for (i = 0; i < len; i++) text[i] = aioc_mem_lower(text[i]);
}

aiocosmos_str emu_text_str(const emu_text *text)
{
    return emu_str(text->buffer.data, text->buffer.len);
}
