/* property_values.h: for the random queries of the simulation: text that grows, values in a form in which equal ones
 * are equal bytes, and the order that ORDER BY gives them. All of it is written from the rules, not from the code under
 * test. */
#ifndef PROPERTY_VALUES_H
#define PROPERTY_VALUES_H

#include "sim_world.h"

/*--- Text ----------------------------------------------------------------------*/

typedef struct prop_text { char *ptr; size_t len, cap; } prop_text;        /* always ends with a NUL */

static void prop_put_bytes(prop_text *text, const char *bytes, size_t len)
{
    if (text->len + len + 1 > text->cap) {
        text->cap = (text->len + len + 1) * 2;
        text->ptr = (char *)realloc(text->ptr, text->cap);
        if (!text->ptr) abort();
    }
    if (len) memcpy(text->ptr + text->len, bytes, len);
    text->len += len;
    text->ptr[text->len] = 0;
}

__attribute__((format(printf, 2, 3)))
static void prop_put(prop_text *text, const char *format, ...)
{
    char small[16384];
    va_list values;
    int len;
    va_start(values, format);
    len = vsnprintf(small, sizeof small, format, values);
    va_end(values);
    if (len < 0 || (size_t)len >= sizeof small) abort();
    prop_put_bytes(text, small, (size_t)len);
}

static void prop_put_text(prop_text *text, const char *other)
{
    prop_put_bytes(text, other, strlen(other));
}

static void prop_free(prop_text *text)
{
    free(text->ptr);
    memset(text, 0, sizeof *text);
}

/* A JSON string of UTF-8 that is all there. */
static void prop_put_quoted(prop_text *text, const char *utf8)
{
    prop_put_text(text, "\"");
    for (; *utf8; utf8++) {
        unsigned char c = (unsigned char)*utf8;
        if (c == '"' || c == '\\') prop_put(text, "\\%c", c);
        else if (c < 0x20) prop_put(text, "\\u%04x", c);
        else prop_put_bytes(text, utf8, 1);
    }
    prop_put_text(text, "\"");
}

/*--- Lists of texts ---------------------------------------------------------------*/

typedef struct prop_list { char **at; size_t count, cap; } prop_list;

/* Takes the text over. */
static void prop_add(prop_list *list, prop_text *text)
{
    list->at = (char **)world_grow(list->at, list->count, &list->cap, sizeof *list->at);
    if (!text->ptr) prop_put_text(text, "");
    list->at[list->count++] = text->ptr;
    memset(text, 0, sizeof *text);
}

static void prop_clear(prop_list *list)
{
    while (list->count) free(list->at[--list->count]);
    free(list->at);
    memset(list, 0, sizeof *list);
}

static int prop_compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/*--- Values: equal ones have the same text --------------------------------------------*/

static long double prop_number(aiocosmos_json value)
{
    char text[400];
    long double number;
    if (value.len >= sizeof text) abort();
    memcpy(text, value.ptr, value.len);
    text[value.len] = 0;
    number = strtold(text, NULL);
    /* What is no 64-bit integer is a double. */
    if (number != floorl(number) || number < -0x1p63L || number >= 0x1p63L) number = (double)number;
    return number == 0 ? 0 : number;
}

static char *prop_string(aiocosmos_json value)
{
    size_t len = aioc_json_get_str(value, NULL, 0);
    char *text = (char *)malloc(len + 1);
    if (!text) abort();
    aioc_json_get_str(value, text, len + 1);
    return text;
}

static void prop_put_value(prop_text *out, aiocosmos_json value);

static void prop_put_object(prop_text *out, aiocosmos_json value)
{
    prop_list members = { NULL, 0, 0 };
    aiocosmos_json key, member;
    size_t i;
    memset(&member, 0, sizeof member);
    while (aioc_json_next(value, &key, &member)) {
        prop_text text = { NULL, 0, 0 };
        char *name = prop_string(key);
        prop_put_quoted(&text, name);
        prop_put_text(&text, ":");
        prop_put_value(&text, member);
        prop_add(&members, &text);
        free(name);
    }
    if (members.count) qsort(members.at, members.count, sizeof *members.at, prop_compare_texts);
    prop_put_text(out, "{");
    for (i = 0; i < members.count; i++) {
        if (i) prop_put_text(out, ",");
        prop_put_text(out, members.at[i]);
    }
    prop_put_text(out, "}");
    prop_clear(&members);
}

static void prop_put_array(prop_text *out, aiocosmos_json value)
{
    aiocosmos_json element;
    bool some = false;
    memset(&element, 0, sizeof element);
    prop_put_text(out, "[");
    while (aioc_json_next(value, NULL, &element)) {
        if (some) prop_put_text(out, ",");
        some = true;
        prop_put_value(out, element);
    }
    prop_put_text(out, "]");
}

static void prop_put_value(prop_text *out, aiocosmos_json value)
{
    char *string;
    switch (value.type) {
    case AIOCOSMOS_JSON_OBJ: prop_put_object(out, value); return;
    case AIOCOSMOS_JSON_ARR: prop_put_array(out, value); return;
    case AIOCOSMOS_JSON_NUM: prop_put(out, "%.21Lg", prop_number(value)); return;
    case AIOCOSMOS_JSON_STR:
        string = prop_string(value);
        prop_put_quoted(out, string);
        free(string);
        return;
    default: prop_put_bytes(out, value.ptr, value.len);
    }
}

/*--- Order ---------------------------------------------------------------------------*/

enum { PROP_UNDEFINED, PROP_NULL, PROP_FALSE, PROP_TRUE, PROP_NUMBER, PROP_STRING, PROP_ARRAY, PROP_OBJECT };

typedef struct prop_key {                /* arrays are all the same, and so are objects */
    int type;
    long double number;
    unsigned char *units;                /* UTF-16, high byte first */
    size_t bytes;
} prop_key;

static int prop_type(aiocosmos_json value)
{
    switch (value.type) {
    case AIOCOSMOS_JSON_NONE: return PROP_UNDEFINED;
    case AIOCOSMOS_JSON_NULL: return PROP_NULL;
    case AIOCOSMOS_JSON_BOOL: return *value.ptr == 't' ? PROP_TRUE : PROP_FALSE;
    case AIOCOSMOS_JSON_NUM: return PROP_NUMBER;
    case AIOCOSMOS_JSON_STR: return PROP_STRING;
    default: return value.type == AIOCOSMOS_JSON_ARR ? PROP_ARRAY : PROP_OBJECT;
    }
}

static void prop_put_unit(prop_key *key, uint32_t unit)
{
    key->units[key->bytes++] = (unsigned char)(unit >> 8);
    key->units[key->bytes++] = (unsigned char)unit;
}

static prop_key prop_key_of(aiocosmos_json value)
{
    prop_key key;
    char *string, *at;
    memset(&key, 0, sizeof key);
    key.type = prop_type(value);
    if (key.type == PROP_NUMBER) key.number = prop_number(value);
    if (key.type != PROP_STRING) return key;
    at = string = prop_string(value);
    key.units = (unsigned char *)malloc(2 * strlen(string) + 2);
    if (!key.units) abort();
    while (*at) {
        unsigned char c = (unsigned char)*at++;
        int more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : c >= 0xC0 ? 1 : 0;
        uint32_t code = more == 0 ? c : c & (0x3Fu >> more);
        while (more--) code = code << 6 | ((unsigned char)*at++ & 0x3Fu);
        if (code >= 0x10000) prop_put_unit(&key, 0xD800 + ((code - 0x10000) >> 10));
        prop_put_unit(&key, code >= 0x10000 ? 0xDC00 + ((code - 0x10000) & 0x3FF) : code);
    }
    free(string);
    return key;
}

static int prop_compare_keys(const prop_key *a, const prop_key *b)
{
    size_t common = a->bytes < b->bytes ? a->bytes : b->bytes;
    int order;
    if (a->type != b->type) return a->type < b->type ? -1 : 1;
    if (a->type == PROP_NUMBER) return a->number < b->number ? -1 : a->number > b->number;
    if (a->type != PROP_STRING) return 0;
    order = common ? memcmp(a->units, b->units, common) : 0;
    return order ? order : a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

#endif
