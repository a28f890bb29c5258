/* values.c: JSON documents in an input.
 *
 * Which layout it is shows as it comes. A document on one line is one line, whatever is wrong with it: it alone is
 * rejected. One of several lines that goes wrong is rejected up to the next line that begins with '{', as the next
 * document does where people or programs wrote them below each other. Of an array that goes wrong nothing behind can be
 * trusted, and it ends the input. Whether what has an end is JSON at all is not asked here. */
#include "values.h"

#include <string.h>

/*------------------------------------------------------------------------------
 * MARK: - Where a value ends
 *----------------------------------------------------------------------------*/

enum { DEPTH_MAX = 128 };                  /* what the library reads */

typedef enum outlined { OUTLINED_ON, OUTLINED_END, OUTLINED_END_BEFORE, OUTLINED_WRONG } outlined;

static outlined value_ends(outline *o)
{
    o->expected = OUTLINE_COMMA;
    return o->depth ? OUTLINED_ON : OUTLINED_END;
}

static bool in_object(const outline *o)
{
    return (o->is_object[(o->depth - 1) / 64] >> (o->depth - 1) % 64 & 1) != 0;
}

static bool is_value_expected(const outline *o)
{
    return o->expected == OUTLINE_VALUE || o->expected == OUTLINE_VALUE_OR_END;
}

static outlined begin_container(outline *o, bool object)
{
    uint64_t bit = (uint64_t)1 << o->depth % 64;
    if (!is_value_expected(o) || o->depth == DEPTH_MAX) return OUTLINED_WRONG;
    if (object) o->is_object[o->depth / 64] |= bit;
    else o->is_object[o->depth / 64] &= ~bit;
    o->depth++;
    o->expected = object ? OUTLINE_KEY_OR_END : OUTLINE_VALUE_OR_END;
    return OUTLINED_ON;
}

static outlined end_container(outline *o, bool object)
{
    bool empty = o->expected == (object ? OUTLINE_KEY_OR_END : OUTLINE_VALUE_OR_END);
    if (o->depth == 0 || in_object(o) != object || (!empty && o->expected != OUTLINE_COMMA)) return OUTLINED_WRONG;
    o->depth--;
    return value_ends(o);
}

static outlined begin_string(outline *o)
{
    if (o->expected == OUTLINE_COLON || o->expected == OUTLINE_COMMA) return OUTLINED_WRONG;
    o->in_string = true;
    return OUTLINED_ON;
}

static outlined end_string(outline *o)
{
    bool is_key = o->expected == OUTLINE_KEY || o->expected == OUTLINE_KEY_OR_END;
    o->in_string = false;
    if (!is_key) return value_ends(o);
    o->expected = OUTLINE_COLON;
    return OUTLINED_ON;
}

static bool is_of_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '+' ||
           c == '.';
}

/* A byte outside of strings. */
static outlined outline_token(outline *o, char c)
{
    if (o->in_word) {
        if (is_of_word(c)) return OUTLINED_ON;
        o->in_word = false;
        if (value_ends(o) == OUTLINED_END) return OUTLINED_END_BEFORE;
    }
    switch (c) {
    case ' ': case '\t': case '\r': case '\n': return OUTLINED_ON;
    case '"': return begin_string(o);
    case '{': return begin_container(o, true);
    case '[': return begin_container(o, false);
    case '}': return end_container(o, true);
    case ']': return end_container(o, false);
    case ',':
        if (o->expected != OUTLINE_COMMA) return OUTLINED_WRONG;
        o->expected = in_object(o) ? OUTLINE_KEY : OUTLINE_VALUE;
        return OUTLINED_ON;
    case ':':
        if (o->expected != OUTLINE_COLON) return OUTLINED_WRONG;
        o->expected = OUTLINE_VALUE;
        return OUTLINED_ON;
    default:
        if (!is_value_expected(o) || !is_of_word(c)) return OUTLINED_WRONG;
        o->in_word = true;
        return OUTLINED_ON;
    }
}

static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && c != '"' && c != '\\';
}

/* A byte of a string that is not plain, or one that is escaped. */
static outlined outline_string(outline *o, char c)
{
    if (o->escaped) return o->escaped = false, OUTLINED_ON;
    if (c == '"') return end_string(o);
    o->escaped = c == '\\';
    return o->escaped ? OUTLINED_ON : OUTLINED_WRONG;
}

/* Looks at text from *at on. END: behind the last byte of the value; END_BEFORE and WRONG: at the byte that says so. */
static outlined outline_run(outline *o, const char *text, size_t len, size_t *at, uint64_t *line)
{
    size_t i = *at;
    outlined now = OUTLINED_ON;
    while (i < len) {
        if (o->in_string) {
            if (!o->escaped)
                while (i < len && is_plain(text[i])) i++;
            if (i == len) break;
            now = outline_string(o, text[i]);
        } else {
            now = outline_token(o, text[i]);
            *line += text[i] == '\n' && now == OUTLINED_ON;
        }
        i += now == OUTLINED_ON || now == OUTLINED_END;
        if (now != OUTLINED_ON) break;
    }
    *at = i;
    return now;
}

/*--- Lines that are one value -------------------------------------------------
 * It is what most lines are, and shows in a twentieth of the time by how they begin and end. */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Of a line up to its newline, in a text up to `end`. True: '}' is its last byte and '{' the next line's first, between
 * which no value goes on, and no value within it follows another. So it is a document, or wrong, and either ends here. */
static bool is_one_value(const char *at, const char *newline, const char *end)
{
    const char *last = newline - 1;
    if (*at != '{' || newline + 1 == end || newline[1] != '{') return false;
    while (is_blank(*last)) last--;
    if (*last != '}') return false;
    while ((at = memchr(at, '}', (size_t)(newline - at))) != last) {
        do at++;
        while (is_blank(*at));
        if (*at == '{' || *at == '[') return false;
    }
    return true;
}

/*------------------------------------------------------------------------------
 * MARK: - Documents
 *----------------------------------------------------------------------------*/

static const char *held(const input *in, size_t *len)
{
    *len = in->end - in->begin;
    return in->buffer + in->begin;
}

/* The first `len` bytes held are a document. */
static taken take(values *v, input *in, size_t len, document *out)
{
    memset(out, 0, sizeof *out);
    out->text.ptr = in->buffer + in->begin;
    out->text.len = len;
    if (out->text.len && out->text.ptr[out->text.len - 1] == '\n') out->text.len--;
    if (out->text.len && out->text.ptr[out->text.len - 1] == '\r') out->text.len--;
    if (v->dropped + out->text.len > DOCUMENT_BYTES_MAX) out->too_long = v->dropped + out->text.len;
    out->line = v->begin_line;
    if (v->array != ARRAY_NONE) out->element = ++v->element;
    out->next = out->element ? out->element + 1 : v->line;
    in->begin += len;
    v->at = 0;
    v->dropped = 0;
    v->state = VALUES_BETWEEN;
    return TAKEN_DOCUMENT;
}

static void begin(values *v, bool is_outlined)
{
    v->state = is_outlined ? VALUES_INSIDE : VALUES_LINE;
    v->begin_line = v->line;
    v->at = 0;
    memset(&v->outline, 0, sizeof v->outline);
}

static taken break_off(values *v, document *out, const char *why)
{
    v->state = VALUES_BROKEN;
    memset(out, 0, sizeof *out);
    out->why = why;
    out->line = v->line;
    return TAKEN_ERROR;
}

/* A byte between documents; true: it was one to pass over. */
static bool pass_over(values *v, char c)
{
    if (is_blank(c)) return true;
    if (c == '\n') return v->line++, true;
    if (!v->begun) v->arrays = c == '[';
    v->begun = true;
    if (v->array == ARRAY_NONE && v->arrays && c == '[') return v->array = ARRAY_FIRST, true;
    if ((v->array == ARRAY_FIRST || v->array == ARRAY_COMMA) && c == ']') return v->array = ARRAY_NONE, true;
    if (v->array == ARRAY_COMMA && c == ',') return v->array = ARRAY_ELEMENT, true;
    return false;
}

/* Up to the first byte of a document, with which it begins. */
static taken look_between(values *v, input *in, document *out)
{
    size_t len;
    const char *text;
    if (!input_pass_mark(in)) return TAKEN_NONE_YET;
    text = held(in, &len);
    if (v->line == 0) v->line = 1;
    while (len && pass_over(v, *text)) {
        in->begin++;
        text++;
        len--;
    }
    if (len && v->array == ARRAY_COMMA) return break_off(v, out, "',' or ']' is expected in the array");
    if (len) begin(v, v->array != ARRAY_NONE || *text == '{' || *text == '[');
    else if (in->ended && v->array != ARRAY_NONE) return break_off(v, out, "the array does not end");
    else if (in->ended) return TAKEN_END;
    return TAKEN_NONE_YET;
}

/* A document ends here, unless more than blanks follows it on its line. */
static taken look_at_tail(values *v, input *in, document *out)
{
    size_t len, at = v->at;
    const char *text = held(in, &len);
    while (at < len && is_blank(text[at])) at++;
    if (at == len && !in->ended) return TAKEN_NONE_YET;
    if (at == len || text[at] == '\n') {
        v->line += at < len;
        return take(v, in, at + (at < len), out);
    }
    if (text[at] == '{' || text[at] == '[') return take(v, in, at, out);
    v->state = VALUES_LINE;
    return TAKEN_NONE_YET;
}

static taken look_for_line_end(values *v, input *in, document *out)
{
    size_t len;
    const char *text = held(in, &len);
    const char *newline = memchr(text + v->at, '\n', len - v->at);
    if (newline) {
        v->line++;
        return take(v, in, (size_t)(newline - text) + 1, out);
    }
    if (in->ended) return take(v, in, len, out);
    v->at = len;
    return TAKEN_NONE_YET;
}

/* Behind the document's first line, for one that begins as documents do. */
static taken look_for_next(values *v, input *in, document *out)
{
    size_t len;
    const char *text = held(in, &len);
    for (;;) {
        const char *newline = memchr(text + v->at, '\n', len - v->at);
        v->at = newline ? (size_t)(newline - text) : len;
        if (v->at + 1 < len) {
            v->line++;
            v->at++;
            if (text[v->at] == '{') return take(v, in, v->at, out);
        } else if (in->ended) {
            v->line += newline != NULL;
            return take(v, in, len, out);
        } else {
            return TAKEN_NONE_YET;
        }
    }
}

static taken look_inside(values *v, input *in, document *out)
{
    size_t len;
    const char *text = held(in, &len), *newline = NULL;
    outlined now;
    bool ends_here;
    if (v->at == 0 && v->dropped == 0 && v->array == ARRAY_NONE) newline = memchr(text, '\n', len);
    if (newline && is_one_value(text, newline, text + len)) {
        v->line++;
        return take(v, in, (size_t)(newline - text) + 1, out);
    }
    now = outline_run(&v->outline, text, len, &v->at, &v->line);
    ends_here = now == OUTLINED_ON && in->ended;
    if (now == OUTLINED_ON && !ends_here) return TAKEN_NONE_YET;
    if (v->array != ARRAY_NONE && (now == OUTLINED_END || now == OUTLINED_END_BEFORE)) {
        taken got = take(v, in, v->at, out);
        v->array = ARRAY_COMMA;
        return got;
    }
    if (v->array != ARRAY_NONE)
        return break_off(v, out, ends_here ? "the array does not end" : "an element of the array is not JSON");
    if (now == OUTLINED_END || now == OUTLINED_END_BEFORE) {
        v->state = VALUES_TAIL;
    } else if (v->line == v->begin_line) {
        v->state = VALUES_LINE;
    } else {
        v->state = VALUES_RESYNC;
        if (v->dropped == 0) {
            v->line = v->begin_line;
            v->at = 0;
        }
    }
    return TAKEN_NONE_YET;
}

static taken look(values *v, input *in, document *out)
{
    switch (v->state) {
    case VALUES_BETWEEN: return look_between(v, in, out);
    case VALUES_INSIDE: return look_inside(v, in, out);
    case VALUES_TAIL: return look_at_tail(v, in, out);
    case VALUES_LINE: return look_for_line_end(v, in, out);
    case VALUES_RESYNC: return look_for_next(v, in, out);
    default: return break_off(v, out, "the array is broken");
    }
}

/* What is held of a document that has become too long goes, but for what may be its line end. */
static void drop(values *v, input *in)
{
    size_t len = in->end - in->begin;
    if (len <= DOCUMENT_BYTES_MAX + 1 || v->state == VALUES_BETWEEN) return;
    v->dropped += len - 2;
    in->begin = in->end - 2;
    v->at = v->at > len - 2 ? v->at - (len - 2) : 0;
}

taken values_take(values *v, input *in, document *out)
{
    for (;;) {
        int before = (int)v->state;
        taken got = look(v, in, out);
        if (got != TAKEN_NONE_YET) return got;
        if ((int)v->state != before) continue;
        drop(v, in);
        if (!input_fill(in)) {
            memset(out, 0, sizeof *out);
            out->why = in->fault;
            return in->fault ? TAKEN_ERROR : TAKEN_NONE_YET;
        }
    }
}
