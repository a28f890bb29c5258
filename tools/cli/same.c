/* same.c: whether two documents are the same one. */
#include "same.h"
#include "request.h"

#include <stdlib.h>
#include <string.h>

static likeness same_value(aiocosmos_json a, aiocosmos_json b);

/*--- Strings ------------------------------------------------------------------
 * By UTF-16 units, escapes undone: so is half of a surrogate pair, which has no UTF-8. */

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* A character behind the backslash that *at is at. */
static uint32_t take_escape(const char **at)
{
    static const char letters[] = "bfnrt", means[] = "\b\f\n\r\t";
    const char *letter, *from = *at + 2;
    *at = from;
    if (from[-1] == 'u') {
        *at += 4;
        return hex_digit(from[0]) << 12 | hex_digit(from[1]) << 8 | hex_digit(from[2]) << 4 | hex_digit(from[3]);
    }
    letter = strchr(letters, from[-1]);
    return (unsigned char)(letter ? means[letter - letters] : from[-1]);
}

typedef struct units {
    const char *at, *end;
    uint32_t half;                         /* the second unit of a pair, to come next; 0: none */
} units;

/* The next unit, from a checked text; UINT32_MAX: its end. */
static uint32_t take_unit(units *t)
{
    uint32_t c = t->half;
    unsigned more;
    t->half = 0;
    if (c) return c;
    if (t->at == t->end) return UINT32_MAX;
    if (*t->at == '\\') return take_escape(&t->at);
    c = (unsigned char)*t->at++;
    if (c < 0x80) return c;
    more = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    for (c &= 0x3Fu >> more; more; more--) c = c << 6 | ((unsigned char)*t->at++ & 0x3Fu);
    if (c < 0x10000) return c;
    t->half = 0xDC00 | ((c - 0x10000) & 0x3FF);
    return 0xD800 | (c - 0x10000) >> 10;
}

static units units_of(aiocosmos_json string)
{
    units t = { string.ptr + 1, string.ptr + string.len - 1, 0 };
    return t;
}

/* < 0, 0 or > 0, in some order that is the same for all. */
static int compare_strings(aiocosmos_json a, aiocosmos_json b)
{
    units s = units_of(a), t = units_of(b);
    uint32_t x, y;
    if (a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0) return 0;
    do {
        x = take_unit(&s);
        y = take_unit(&t);
    } while (x == y && x != UINT32_MAX);
    return x < y ? -1 : x > y;
}

/*--- Objects ----------------------------------------------------------------*/

typedef struct property {
    aiocosmos_json name, value;
} property;

static int by_name(const void *a, const void *b)
{
    const property *p = a, *q = b;
    int order = compare_strings(p->name, q->name);
    return order ? order : p->name.ptr < q->name.ptr ? -1 : p->name.ptr > q->name.ptr;
}

/* The properties by name, of those named twice the last, and of a document those of its own; to be freed. NULL: no
 * memory. */
static property *list_properties(aiocosmos_json object, bool whole, size_t *count)
{
    size_t all = 0, i;
    property *list = malloc((aiocosmos_json_count(object) + 1) * sizeof *list);
    aiocosmos_json name, value = {0};
    *count = 0;
    if (!list) return NULL;
    while (aiocosmos_json_next(object, &name, &value)) {
        if (whole && is_system(name)) continue;
        list[all].name = name;
        list[all++].value = value;
    }
    qsort(list, all, sizeof *list, by_name);
    for (i = 0; i < all; i++)
        if (i + 1 == all || compare_strings(list[i].name, list[i + 1].name) != 0) list[(*count)++] = list[i];
    return list;
}

static likeness same_object(aiocosmos_json a, aiocosmos_json b, bool whole)
{
    size_t a_count, b_count, i;
    property *p = list_properties(a, whole, &a_count), *q = list_properties(b, whole, &b_count);
    likeness so_far = !p || !q ? UNKNOWN : a_count == b_count ? SAME : DIFFERENT;
    for (i = 0; so_far == SAME && i < a_count; i++) {
        if (compare_strings(p[i].name, q[i].name) != 0) so_far = DIFFERENT;
        else so_far = same_value(p[i].value, q[i].value);
    }
    free(p);
    free(q);
    return so_far;
}

/*--- Values -----------------------------------------------------------------*/

static likeness same_array(aiocosmos_json a, aiocosmos_json b)
{
    aiocosmos_json x = {0}, y = {0};
    likeness so_far = aiocosmos_json_count(a) == aiocosmos_json_count(b) ? SAME : DIFFERENT;
    while (so_far == SAME && aiocosmos_json_next(a, NULL, &x) && aiocosmos_json_next(b, NULL, &y))
        so_far = same_value(x, y);
    return so_far;
}

/* The service keeps doubles: what is one and the same as a double is the same there. */
static bool is_same_number(aiocosmos_json a, aiocosmos_json b)
{
    double x, y;
    return aiocosmos_json_get_f64(a, &x) && aiocosmos_json_get_f64(b, &y) && x >= y && x <= y;
}

/* As deep as the parser lets a text be. */
static likeness same_value(aiocosmos_json a, aiocosmos_json b)
{
    if (a.type != b.type) return DIFFERENT;
    if (a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0) return SAME;
    switch (a.type) {
    case AIOCOSMOS_JSON_NUM: return is_same_number(a, b) ? SAME : DIFFERENT;
    case AIOCOSMOS_JSON_STR: return compare_strings(a, b) == 0 ? SAME : DIFFERENT;
    case AIOCOSMOS_JSON_ARR: return same_array(a, b);
    case AIOCOSMOS_JSON_OBJ: return same_object(a, b, false);
    default: return DIFFERENT;             /* true and false */
    }
}

likeness same_document(aiocosmos_json a, aiocosmos_json b)
{
    if (a.type != AIOCOSMOS_JSON_OBJ || b.type != AIOCOSMOS_JSON_OBJ) return DIFFERENT;
    return same_object(a, b, true);
}
