/* csv.c: comma-separated values, as RFC 4180 has them. */
#include "csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIGITS_MAX = 15,                       /* of a number that a double has as it is written, whatever the number */
    SHORTEST_BYTES_MAX = 32,               /* of a number that nobody writes longer */
    JSON_BYTES = DOCUMENT_BYTES_MAX + 8    /* of a document in the making; longer ones are refused */
};

/*------------------------------------------------------------------------------
 * MARK: - Where a record ends
 *----------------------------------------------------------------------------*/

static void refuse(csv *c, const char *why)
{
    if (!c->why) c->why = why;
    c->state = CSV_SKIP;                   /* to the end of this line */
}

/* A byte of a record; false: it is the line end behind it. */
static bool look_at(csv *c, char byte)
{
    if (c->state == CSV_QUOTED) {
        if (byte == '"') c->state = CSV_QUOTE;
        c->lines_inside += byte == '\n';
        return true;
    }
    if (byte == '\n') return false;
    if (c->state == CSV_SKIP) return true;
    if (byte == ',') c->state = CSV_FIELD;
    else if (byte != '"') {
        if (c->state == CSV_FIELD) c->state = CSV_BARE;
        else if (c->state == CSV_QUOTE && byte != '\r') refuse(c, "text behind the closing quote of a field");
    } else if (c->state == CSV_BARE) {
        refuse(c, "a quote in a field that does not begin with one");
    } else {
        c->state = CSV_QUOTED;             /* its begin, or the second of two */
    }
    return true;
}

/* To the line end behind the record; true: there it is, or the input ends. No further than it takes to see that it is
 * too long, so that what becomes of it does not depend on how much has been read. */
static bool find_end(csv *c, input *in, size_t *len)
{
    const char *text = in->buffer + in->begin;
    size_t held = in->end - in->begin, limit = held;
    if (c->dropped == 0 && limit > DOCUMENT_BYTES_MAX + 2) limit = DOCUMENT_BYTES_MAX + 2;
    while (c->at < limit && look_at(c, text[c->at])) c->at++;
    *len = c->at;
    return c->at < limit || (limit == held && in->ended);
}

/*------------------------------------------------------------------------------
 * MARK: - A record as a document
 *----------------------------------------------------------------------------*/

typedef struct field {
    const char *text;
    size_t len;
    bool quoted;
} field;

/* The field at *at of a record that is in order, and where the next one begins. False: that was the last. */
static bool next_field(const char *record, size_t len, size_t *at, field *out)
{
    size_t i = *at;
    out->quoted = i < len && record[i] == '"';
    if (out->quoted)
        for (i++; i < len && (record[i] != '"' || (i + 1 < len && record[i + 1] == '"')); i++) i += record[i] == '"';
    out->text = record + *at + out->quoted;
    if (out->quoted) {
        out->len = (size_t)(record + i - out->text);
        i++;
    }
    while (i < len && record[i] != ',') i++;
    if (!out->quoted) out->len = (size_t)(record + i - out->text);
    *at = i + 1;
    return i < len;
}

/* Appends to the document; false: there is no room. */
static bool put(csv *c, size_t *used, const char *text, size_t len)
{
    if (len > JSON_BYTES - *used) return false;
    memcpy(c->json + *used, text, len);
    *used += len;
    return true;
}

/* A string; that it is UTF-8 is for the library to say. */
static bool put_text(csv *c, size_t *used, const field *f)
{
    static const char hex[] = "0123456789abcdef";
    char escape[6] = { '\\', 'u', '0', '0', 0, 0 };
    size_t i, from = 0;
    bool ok = put(c, used, "\"", 1);
    for (i = 0; i < f->len && ok; i++) {
        unsigned char byte = (unsigned char)f->text[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
        ok = put(c, used, f->text + from, i - from);
        from = i + 1;
        if (byte == '"' && f->quoted) i++, from++;         /* two stand for one */
        if (byte < 0x20) {
            escape[4] = hex[byte >> 4];
            escape[5] = hex[byte & 15];
            ok = ok && put(c, used, escape, 6);
        } else {
            ok = ok && put(c, used, byte == '"' ? "\\\"" : "\\\\", 2);
        }
    }
    return ok && put(c, used, f->text + from, f->len - from) && put(c, used, "\"", 1);
}

static size_t digits(const char *text, size_t len, size_t at)
{
    size_t from = at;
    while (at < len && text[at] >= '0' && text[at] <= '9') at++;
    return at - from;
}

/* The digits of a number without the zeros around them. Returns where its point stands, from the first of them. */
static long digits_of(const char *text, char *out)
{
    size_t count = 0;
    long point = 0;
    bool behind = false;
    for (; *text && *text != 'e' && *text != 'E'; text++) {
        bool leads = count == 0 && *text == '0';
        behind = behind || *text == '.';
        if (*text < '0' || *text > '9') continue;
        if (!leads) out[count++] = *text;
        point += behind ? -(long)leads : (long)!leads;
    }
    while (count && out[count - 1] == '0') count--;
    out[count] = 0;
    return count ? (*text ? strtol(text + 1, NULL, 10) : 0) + point : 0;
}

/* Whether a double has it as it is written: no shorter number means this double. */
static bool is_shortest(const char *text, size_t len)
{
    char own[SHORTEST_BYTES_MAX + 1], again[40], digits[SHORTEST_BYTES_MAX + 1], its_digits[40];
    double value;
    long point;
    int count;
    if (len > SHORTEST_BYTES_MAX) return false;
    memcpy(own, text, len);
    own[len] = 0;
    value = strtod(own, NULL);
    point = digits_of(own, digits);
    count = (int)strlen(digits);
    if (count == 0) return true;
    snprintf(again, sizeof again, "%.*e", count - 1, value);
    if (digits_of(again, its_digits) != point || strcmp(digits, its_digits) != 0) return false;
    if (count > 1) snprintf(again, sizeof again, "%.*e", count - 2, value);
    return count == 1 || strtod(again, NULL) != value;
}

/* RFC 8259, 6: so that 007 and +49 stay what they are; and so do numbers of accounts that a double cannot hold. */
static bool is_number(const char *text, size_t len)
{
    size_t at = len && text[0] == '-', whole = digits(text, len, at), part = 0, exponent = 0;
    if (whole == 0 || (whole > 1 && text[at] == '0')) return false;
    at += whole;
    if (at < len && text[at] == '.') {
        part = digits(text, len, at + 1);
        if (part == 0) return false;
        at += 1 + part;
    }
    if (at < len && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        at += at < len && (text[at] == '+' || text[at] == '-');
        exponent = digits(text, len, at);
        if (exponent == 0 || exponent > 3) return false;
        at += exponent;
    }
    return at == len && ((whole + part <= DIGITS_MAX && exponent < 3) || is_shortest(text, len));
}

bool csv_is_bare(const char *text, size_t len)
{
    return (len == 4 && (memcmp(text, "true", 4) == 0 || memcmp(text, "null", 4) == 0)) ||
           (len == 5 && memcmp(text, "false", 5) == 0) || is_number(text, len);
}

static bool put_value(csv *c, size_t *used, const field *f, const char *name)
{
    bool bare = !f->quoted && strcmp(name, "\"id\"") != 0 && csv_is_bare(f->text, f->len);
    return bare ? put(c, used, f->text, f->len) : put_text(c, used, f);
}

/* False: there is no room. */
static bool put_record(csv *c, const char *record, size_t len, size_t *used)
{
    size_t at = 0, i = 0;
    bool more = true, ok, some = false;
    field f;
    *used = 0;
    ok = put(c, used, "{", 1);
    while (more && ok) {
        more = next_field(record, len, &at, &f);
        if (i == c->name_count) c->why = "more fields than the header has";
        if (i == c->name_count) return true;
        if (f.len || f.quoted) {
            ok = (!some || put(c, used, ",", 1)) && put(c, used, c->names[i], strlen(c->names[i])) &&
                 put(c, used, ":", 1) && put_value(c, used, &f, c->names[i]);
            some = true;
        }
        i++;
    }
    if (ok && i < c->name_count) c->why = "fewer fields than the header has";
    return ok && put(c, used, "}", 1);
}

/*------------------------------------------------------------------------------
 * MARK: - The header line
 *----------------------------------------------------------------------------*/

static const char *add_name(csv *c, const field *f)
{
    size_t used = 0, i;
    if (f->len == 0 && !f->quoted) return "the header has a column without a name";    /* "" is a name */
    if (c->name_count == CSV_COLUMNS_MAX) return "the header has over 1000 columns";
    if (!put_text(c, &used, f)) return "the header is too long";
    c->names[c->name_count] = malloc(used + 1);
    if (!c->names[c->name_count]) return "no memory";
    memcpy(c->names[c->name_count], c->json, used);
    c->names[c->name_count][used] = 0;
    for (i = 0; i < c->name_count; i++)
        if (strcmp(c->names[i], c->names[c->name_count]) == 0) {
            free(c->names[c->name_count]);
            return "the header names a column twice";
        }
    c->name_count++;
    return NULL;
}

/* Repeats so much of it as shows what is wrong. */
static const char *no_id(csv *c, aiocosmos_str line)
{
    size_t shown = line.len < 100 ? line.len : 100, i;
    char *text = c->wrong_header;
    while (shown < line.len && shown && ((unsigned char)line.ptr[shown] & 0xC0) == 0x80) shown--;
    i = (size_t)snprintf(text, sizeof c->wrong_header,
                         "the header, which is the first line, has no column \"id\", and commas separate columns: ");
    snprintf(text + i, sizeof c->wrong_header - i, "%.*s%s", (int)shown, line.ptr, shown < line.len ? "..." : "");
    for (; text[i]; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F) text[i] = '?';
    return text;
}

/* NULL: it is one that documents can be made by. */
static const char *take_header(csv *c, aiocosmos_str line)
{
    const char *why = c->why;
    size_t at = 0, i;
    bool more = true;
    field f;
    while (more && !why) {
        more = next_field(line.ptr, line.len, &at, &f);
        why = add_name(c, &f);
    }
    for (i = 0; !why && i < c->name_count; i++)
        if (strcmp(c->names[i], "\"id\"") == 0) return NULL;
    return why ? why : no_id(c, line);
}

/*------------------------------------------------------------------------------
 * MARK: - Records
 *----------------------------------------------------------------------------*/

/* The first line alone, of a record whose quote is never closed, or not in time: what follows is looked at anew. */
static size_t first_line(const input *in)
{
    const char *text = in->buffer + in->begin;
    size_t held = in->end - in->begin;
    const char *newline = memchr(text, '\n', held);
    return newline ? (size_t)(newline - text) : held;
}

/* What has been found becomes the document that is taken; `len` bytes and the line end are behind us. */
static void take_record(csv *c, input *in, size_t len, document *out)
{
    bool behind = in->begin + len < in->end;               /* a line end follows */
    size_t used = 0;
    memset(out, 0, sizeof *out);
    out->line = c->line;
    out->text.ptr = in->buffer + in->begin;
    out->text.len = len;
    if (len && out->text.ptr[len - 1] == '\r') out->text.len--;
    if (c->dropped + out->text.len > DOCUMENT_BYTES_MAX) out->too_long = c->dropped + out->text.len;
    if (!out->too_long && !c->why && c->begun && out->text.len) {
        if (!put_record(c, out->text.ptr, out->text.len, &used) || used > DOCUMENT_BYTES_MAX)
            c->why = "as JSON it is too long for an item";
        if (!c->why) {
            out->text.ptr = c->json;
            out->text.len = used;
        }
    }
    out->why = c->why;
    in->begin += len + behind;
    c->line += c->lines_inside + 1;
    out->next = c->line;
    c->state = CSV_FIELD;
    c->at = 0;
    c->lines_inside = 0;
    c->dropped = 0;
}

/* TAKEN_NONE_YET: it has not come in whole. */
static taken take_next(csv *c, input *in, document *out)
{
    size_t len, held;
    bool ends, open;
    if (!input_pass_mark(in)) return TAKEN_NONE_YET;
    ends = find_end(c, in, &len);
    open = c->state == CSV_QUOTED;
    held = in->end - in->begin;
    if (ends && held == 0 && c->dropped == 0) return TAKEN_END;
    if (open && c->dropped == 0 && (ends || held > DOCUMENT_BYTES_MAX + 1)) {
        c->why = "a quote that is not closed";
        c->lines_inside = 0;
        len = first_line(in);
        if (len < held || ends) ends = true;
        else c->state = CSV_SKIP;          /* the line alone is too long */
    }
    if (!ends && held > DOCUMENT_BYTES_MAX + 1) {
        bool first = c->dropped == 0;
        c->dropped += c->at - 1;
        in->begin += c->at - 1;
        c->at = 1;
        c->state = CSV_SKIP;
        if (first) return take_next(c, in, out);           /* what is held behind that */
    }
    if (!ends) return TAKEN_NONE_YET;
    take_record(c, in, len, out);
    return TAKEN_DOCUMENT;
}

taken csv_take(csv *c, input *in, document *out)
{
    if (!c->json) {
        c->json = malloc(JSON_BYTES);
        c->line = 1;
    }
    for (;;) {
        taken got = c->json ? take_next(c, in, out) : TAKEN_ERROR;
        if (got == TAKEN_DOCUMENT && c->begun && (out->text.len || out->why || out->too_long)) {
            c->why = NULL;
            return got;
        }
        if (got == TAKEN_DOCUMENT) {
            const char *why = c->begun ? NULL : out->too_long ? "the header is too long" : take_header(c, out->text);
            c->begun = true;
            c->why = NULL;
            if (!why) continue;
            out->why = why;
            return TAKEN_ERROR;
        }
        if (got == TAKEN_NONE_YET && input_fill(in)) continue;
        memset(out, 0, sizeof *out);
        out->why = c->json ? in->fault : "no memory";
        return got == TAKEN_NONE_YET && in->fault ? TAKEN_ERROR : got;
    }
}

void csv_free(csv *c)
{
    while (c->name_count) free(c->names[--c->name_count]);
    free(c->json);
}
