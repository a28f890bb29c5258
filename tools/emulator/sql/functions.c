/* functions.c: the functions that a query may call. */
#include "functions.h"
#include "geometry.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*------------------------------------------------------------------------------
 * MARK: - Functions: types and numbers
 *----------------------------------------------------------------------------*/

enum {
    SQL_IS_ARRAY, SQL_IS_BOOL, SQL_IS_DEFINED, SQL_IS_FINITE, SQL_IS_INTEGER, SQL_IS_NULL, SQL_IS_NUMBER, SQL_IS_OBJECT,
    SQL_IS_PRIMITIVE, SQL_IS_STRING
};

static void sql_apply_is(sql_call *call)
{
    const sql_value *value = &call->args[0];
    bool number = value->type == SQL_NUMBER, is = false;
    switch (call->function->which) {
    case SQL_IS_ARRAY: is = value->type == SQL_ARRAY; break;
    case SQL_IS_BOOL: is = value->type == SQL_BOOL; break;
    case SQL_IS_DEFINED: is = value->type != SQL_UNDEFINED; break;
    case SQL_IS_FINITE: is = number && isfinite(value->as.number.real); break;
    case SQL_IS_INTEGER: is = number && value->whole; break;
    case SQL_IS_NULL: is = value->type == SQL_NULL; break;
    case SQL_IS_NUMBER: is = number; break;
    case SQL_IS_OBJECT: is = value->type == SQL_OBJECT; break;
    case SQL_IS_PRIMITIVE: is = value->type >= SQL_NULL && value->type <= SQL_STRING; break;
    default: is = value->type == SQL_STRING;
    }
    sql_set_bool(call->out, is);
}

enum {
    SQL_ABS, SQL_ACOS, SQL_ASIN, SQL_ATAN, SQL_CEILING, SQL_COS, SQL_COT, SQL_DEGREES, SQL_EXP, SQL_FLOOR, SQL_LOG10,
    SQL_RADIANS, SQL_SIGN, SQL_SIN, SQL_SQRT, SQL_SQUARE, SQL_TAN, SQL_TRUNC
};

#define SQL_PI 3.14159265358979323846

static double sql_math(int which, double x)
{
    switch (which) {
    case SQL_ABS: return fabs(x);
    case SQL_ACOS: return acos(x);
    case SQL_ASIN: return asin(x);
    case SQL_ATAN: return atan(x);
    case SQL_CEILING: return ceil(x);
    case SQL_COS: return cos(x);
    case SQL_COT: return 1 / tan(x);
    case SQL_DEGREES: return 180 / SQL_PI * x;
    case SQL_EXP: return exp(x);
    case SQL_FLOOR: return floor(x);
    case SQL_LOG10: return log10(x);
    case SQL_RADIANS: return SQL_PI * x / 180;
    case SQL_SIGN: return x > 0 ? 1 : x < 0 ? -1 : 0;
    case SQL_SIN: return sin(x);
    case SQL_SQRT: return sqrt(x);
    case SQL_SQUARE: return x * x;
    case SQL_TAN: return tan(x);
    default: return trunc(x);
    }
}

static void sql_apply_math(sql_call *call)
{
    const sql_value *x = &call->args[0];
    int which = call->function->which;
    if (x->type != SQL_NUMBER) return;
    if (x->whole && (which == SQL_CEILING || which == SQL_FLOOR || which == SQL_TRUNC))
        sql_set_integer(call->out, x->as.number.integer);
    else sql_set_number(call->out, sql_math(which, x->as.number.real));
}

static bool sql_all_numbers(const sql_call *call)
{
    uint32_t i;
    for (i = 0; i < call->count; i++)
        if (call->args[i].type != SQL_NUMBER) return false;
    return true;
}

enum { SQL_ATN2, SQL_LOG, SQL_NUMBERBIN, SQL_POWER, SQL_ROUND };

static void sql_apply_math2(sql_call *call)
{
    double x = call->args[0].as.number.real, y = call->count > 1 ? call->args[1].as.number.real : 0;
    if (!sql_all_numbers(call)) return;
    switch (call->function->which) {
    case SQL_ATN2: sql_set_number(call->out, atan2(y, x)); break; /* The service names x first. */
    case SQL_LOG: sql_set_number(call->out, call->count > 1 ? log(x) / log(y) : log(x)); break;
    case SQL_POWER: sql_set_number(call->out, pow(x, y)); break;
    case SQL_NUMBERBIN:
        if (call->count == 1) y = 1;
        if (y > 0 && isfinite(y)) sql_set_number(call->out, floor(x / y) * y);
        break;
    default:                                               /* ROUND: halves away from zero */
        if (call->count > 1) {
            double scale = pow(10, trunc(y));
            if (isfinite(x * scale) && scale > 0) x = round(x * scale) / scale;
            sql_set_number(call->out, x);
        } else if (call->args[0].whole) {
            sql_set_integer(call->out, call->args[0].as.number.integer);
        } else {
            sql_set_number(call->out, round(x));
        }
    }
}

static void sql_apply_pi(sql_call *call)
{
    sql_set_number(call->out, SQL_PI);
}

static void sql_apply_rand(sql_call *call)
{
    call->work->random = sql_mix(call->work->random, 0x5bf03635u);
    sql_set_number(call->out, (double)(call->work->random >> 11) / 9007199254740992.0);
}

enum {
    SQL_INT_ADD, SQL_INT_AND, SQL_INT_DIV, SQL_INT_LEFT, SQL_INT_MOD, SQL_INT_MUL, SQL_INT_NOT, SQL_INT_OR,
    SQL_INT_RIGHT, SQL_INT_SUB, SQL_INT_XOR
};

/* 64-bit integers that wrap around. */
static void sql_apply_int(sql_call *call)
{
    int64_t a = call->args[0].as.number.integer, b = call->count > 1 ? call->args[1].as.number.integer : 0;
    uint64_t x = (uint64_t)a, y = (uint64_t)b, result = 0;
    uint32_t i;
    for (i = 0; i < call->count; i++)
        if (call->args[i].type != SQL_NUMBER || !call->args[i].whole) return;
    switch (call->function->which) {
    case SQL_INT_ADD: result = x + y; break;
    case SQL_INT_SUB: result = x - y; break;
    case SQL_INT_MUL: result = x * y; break;
    case SQL_INT_AND: result = x & y; break;
    case SQL_INT_OR: result = x | y; break;
    case SQL_INT_XOR: result = x ^ y; break;
    case SQL_INT_NOT: result = ~x; break;
    case SQL_INT_LEFT:
        if (b < 0 || b > 63) return;
        result = x << b;
        break;
    case SQL_INT_RIGHT:
        if (b < 0 || b > 63) return;
        result = a < 0 ? ~(~x >> b) : x >> b;
        break;
    default:                                               /* DIV, MOD */
        if (b == 0) return;
        if (b == -1) result = call->function->which == SQL_INT_DIV ? 0 - x : 0;
        else result = (uint64_t)(call->function->which == SQL_INT_DIV ? a / b : a % b);
    }
    memcpy(&a, &result, sizeof a);
    sql_set_integer(call->out, a);
}

/*------------------------------------------------------------------------------
 * MARK: - Functions: strings
 *----------------------------------------------------------------------------*/

static bool sql_strings(const sql_call *call, uint32_t count)
{
    uint32_t i;
    for (i = 0; i < count; i++)
        if (call->args[i].type != SQL_STRING) return false;
    return true;
}

/* The byte at which `part` starts in `whole`, from byte `from` on; SIZE_MAX: nowhere. */
static size_t sql_find(sql_env *env, aiocosmos_str whole, aiocosmos_str part, size_t from)
{
    while (from + part.len <= whole.len) {
        const char *hit;
        if (!part.len) return from;
        hit = (const char *)memchr(whole.ptr + from, part.ptr[0], whole.len - part.len - from + 1);
        if (!hit) return SIZE_MAX;
        from = (size_t)(hit - whole.ptr);
        sql_spend(env, 1 + part.len / 32);
        if (memcmp(hit, part.ptr, part.len) == 0) return from;
        from++;
    }
    return SIZE_MAX;
}

static size_t sql_find_last(sql_env *env, aiocosmos_str whole, aiocosmos_str part)
{
    size_t from = part.len > whole.len ? 0 : whole.len - part.len + 1;
    while (from-- > 0) {
        sql_spend(env, 1 + part.len / 32);
        if (!part.len || memcmp(whole.ptr + from, part.ptr, part.len) == 0) return from;
    }
    return SIZE_MAX;
}

enum { SQL_CONTAINS, SQL_ENDSWITH, SQL_STARTSWITH, SQL_STRINGEQUALS };

static void sql_apply_compare(sql_call *call)
{
    aiocosmos_str whole = call->args[0].as.string, part = call->args[1].as.string;
    bool is;
    if (!sql_strings(call, 2)) return;
    if (call->count > 2 && call->args[2].type != SQL_UNDEFINED) {
        if (call->args[2].type != SQL_BOOL) return;
        if (call->args[2].truth) {
            whole = sql_map_case(call->arena, whole, sql_lower);
            part = sql_map_case(call->arena, part, sql_lower);
        }
    }
    switch (call->function->which) {
    case SQL_CONTAINS: is = sql_find(call->arena->env, whole, part, 0) != SIZE_MAX; break;
    case SQL_STRINGEQUALS: is = aioc_mem_same(whole, part); break;
    case SQL_STARTSWITH: is = part.len <= whole.len && aioc_mem_same(sql_str(whole.ptr, part.len), part); break;
    default: is = part.len <= whole.len && aioc_mem_same(sql_str(whole.ptr + whole.len - part.len, part.len), part);
    }
    sql_set_bool(call->out, is);
}

enum { SQL_ANY, SQL_ALL };

static void sql_contains_several(sql_call *call, bool fold)
{
    bool all = call->function->which == SQL_ALL;
    aiocosmos_str whole = call->args[0].as.string;
    uint32_t i;
    if (!sql_strings(call, call->count)) return;
    if (fold) whole = sql_map_case(call->arena, whole, sql_lower);
    sql_set_bool(call->out, all);
    for (i = 1; i < call->count; i++) {
        aiocosmos_str part = call->args[i].as.string;
        if (fold) part = sql_map_case(call->arena, part, sql_lower);
        if ((sql_find(call->arena->env, whole, part, 0) != SIZE_MAX) != all) sql_set_bool(call->out, !all);
    }
}

static void sql_apply_contains_ci(sql_call *call)
{
    sql_contains_several(call, true);
}

static void sql_apply_contains_cs(sql_call *call)
{
    sql_contains_several(call, false);
}

static void sql_apply_concat(sql_call *call)
{
    size_t len = 0;
    uint32_t i;
    char *out;
    if (!sql_strings(call, call->count)) return;
    for (i = 0; i < call->count; i++) len += call->args[i].as.string.len;
    out = (char *)sql_alloc(call->arena, len + 1);
    for (i = 0, len = 0; i < call->count; i++) {
        aiocosmos_str part = call->args[i].as.string;
        if (part.len) memcpy(out + len, part.ptr, part.len);
        len += part.len;
    }
    sql_set_string(call->out, sql_str(out, len));
}

static void sql_apply_index_of(sql_call *call)
{
    aiocosmos_str whole = call->args[0].as.string;
    size_t from = 0, at;
    if (!sql_strings(call, 2)) return;
    if (call->count > 2) {
        const sql_value *start = &call->args[2];
        if (start->type != SQL_NUMBER || !start->whole) return;
        if (start->as.number.integer > 0) from = sql_offset(whole, (size_t)start->as.number.integer);
    }
    at = call->function->which ? sql_find_last(call->arena->env, whole, call->args[1].as.string) :
         sql_find(call->arena->env, whole, call->args[1].as.string, from);
    sql_set_integer(call->out, at == SIZE_MAX ? -1 : (int64_t)sql_length(sql_str(whole.ptr, at)));
}

enum { SQL_LEFT, SQL_RIGHT, SQL_SUBSTRING };

static void sql_apply_part(sql_call *call)
{
    aiocosmos_str text = call->args[0].as.string;
    int64_t start = 0, length;
    size_t from, to;
    uint32_t i;
    if (call->args[0].type != SQL_STRING) return;
    for (i = 1; i < call->count; i++)
        if (call->args[i].type != SQL_NUMBER || !call->args[i].whole) return;
    length = call->args[call->count - 1].as.number.integer;
    if (call->function->which == SQL_SUBSTRING) {
        start = call->args[1].as.number.integer;
    } else if (call->function->which == SQL_RIGHT) {
        int64_t have = (int64_t)sql_length(text);
        start = length >= have ? 0 : length < 0 ? have : have - length;
    }
    if (start < 0 || length <= 0) {
        sql_set_string(call->out, sql_str("", 0));
        return;
    }
    from = sql_offset(text, (size_t)start);
    text = sql_str(text.ptr + from, text.len - from);
    to = sql_offset(text, (size_t)length);
    sql_set_string(call->out, sql_str(text.ptr, to));
}

static void sql_apply_length(sql_call *call)
{
    if (sql_strings(call, 1)) sql_set_integer(call->out, (int64_t)sql_length(call->args[0].as.string));
}

static void sql_apply_case(sql_call *call)
{
    int which = call->function->which;
    if (sql_strings(call, 1))
        sql_set_string(call->out, sql_map_case(call->arena, call->args[0].as.string, which ? sql_upper : sql_lower));
}

static bool sql_trims(aiocosmos_str set, bool blanks, uint32_t c)
{
    const char *at, *end;
    if (blanks)
        return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || (c >= 0x2000 && c <= 0x200a) ||
               c == 0x2028 || c == 0x2029 || c == 0x3000 || c == 0xfeff;
    for (at = set.ptr, end = at + set.len; at < end;)
        if (sql_character(&at, end) == c) return true;
    return false;
}

/* which: 1 the left end, 2 the right, 3 both. The second argument is a set of characters. */
static void sql_apply_trim(sql_call *call)
{
    aiocosmos_str text = call->args[0].as.string, set = call->count > 1 ? call->args[1].as.string : sql_str(NULL, 0);
    const char *at = text.ptr, *end = text.ptr + text.len, *next;
    bool blanks = call->count == 1;
    if (!sql_strings(call, call->count)) return;
    while ((call->function->which & 1) && at < end) {
        next = at;
        sql_spend(call->arena->env, 1 + set.len / 8);
        if (!sql_trims(set, blanks, sql_character(&next, end))) break;
        at = next;
    }
    while ((call->function->which & 2) && at < end) {
        const char *last = end - 1;
        while (last > at && ((unsigned char)*last & 0xc0) == 0x80) last--;
        next = last;
        sql_spend(call->arena->env, 1 + set.len / 8);
        if (!sql_trims(set, blanks, sql_character(&next, end))) break;
        end = last;
    }
    sql_set_string(call->out, sql_str(at, (size_t)(end - at)));
}

static void sql_apply_replace(sql_call *call)
{
    aiocosmos_str text = call->args[0].as.string, part = call->args[1].as.string, with = call->args[2].as.string;
    size_t at, from = 0, count = 0, n = 0;
    char *out;
    if (!sql_strings(call, 3)) return;
    if (!part.len) {
        *call->out = call->args[0];
        return;
    }
    while ((at = sql_find(call->arena->env, text, part, from)) != SIZE_MAX) {
        count++;
        from = at + part.len;
    }
    if (with.len > part.len && count > SQL_MEMORY_VALUES / (with.len - part.len)) sql_fail_memory(call->arena->env);
    out = (char *)sql_alloc(call->arena, text.len + count * with.len + 1);
    for (from = 0; (at = sql_find(call->arena->env, text, part, from)) != SIZE_MAX; from = at + part.len) {
        memcpy(out + n, text.ptr + from, at - from);
        n += at - from;
        if (with.len) memcpy(out + n, with.ptr, with.len);
        n += with.len;
    }
    if (text.len > from) memcpy(out + n, text.ptr + from, text.len - from);
    sql_set_string(call->out, sql_str(out, n + text.len - from));
}

/* The service's limit: a result of 10,000 characters. */
static void sql_apply_replicate(sql_call *call)
{
    aiocosmos_str text = call->args[0].as.string;
    const sql_value *times = &call->args[1];
    size_t length, whole, done, more;
    char *out;
    if (!sql_strings(call, 1) || times->type != SQL_NUMBER || !times->whole || times->as.number.integer < 0) return;
    length = sql_length(text);
    if (length && (uint64_t)times->as.number.integer > 10000 / length) return;
    if (!length) {
        *call->out = call->args[0];
        return;
    }
    whole = text.len * (size_t)times->as.number.integer;
    sql_spend(call->arena->env, whole / SQL_STEP_BYTES);
    out = (char *)sql_alloc(call->arena, whole + 1);
    if (whole) memcpy(out, text.ptr, text.len);
    for (done = text.len; done < whole; done += more) {    /* what is there, once more */
        more = done < whole - done ? done : whole - done;
        memcpy(out + done, out, more);
    }
    sql_set_string(call->out, sql_str(out, whole));
}

static void sql_apply_reverse(sql_call *call)
{
    aiocosmos_str text = call->args[0].as.string;
    const char *at = text.ptr, *end = text.ptr + text.len, *from;
    char *out;
    if (!sql_strings(call, 1)) return;
    sql_spend(call->arena->env, text.len);
    out = (char *)sql_alloc(call->arena, text.len + 1) + text.len;
    while (at < end) {
        from = at;
        sql_character(&at, end);
        out -= at - from;
        memcpy(out, from, (size_t)(at - from));
    }
    sql_set_string(call->out, sql_str(out, text.len));
}

/* A pattern is compiled once for all documents, as long as one REGEXMATCH follows another with the same. */
static void sql_apply_regex(sql_call *call)
{
    sql_work *work = call->work;
    aiocosmos_str pattern = call->args[1].as.string;
    aiocosmos_str modifiers = call->count > 2 ? call->args[2].as.string : sql_str("", 0);
    if (!sql_strings(call, call->count)) return;
    if (!work->regex || !aioc_mem_same(work->regex_pattern, pattern) ||
        !aioc_mem_same(work->regex_modifiers, modifiers)) {
        work->regex = NULL;
        sql_arena_free(&work->regex_arena);
        work->regex_pattern = sql_copy_str(&work->regex_arena, pattern);
        work->regex_modifiers = sql_copy_str(&work->regex_arena, modifiers);
        sql_spend(call->arena->env, 1000);
        work->regex = sql_regex_compile(&work->regex_arena, work->regex_pattern, work->regex_modifiers);
    }
    sql_set_bool(call->out, sql_regex_match(call->arena, work->regex, call->args[0].as.string));
}

enum { SQL_AFTER, SQL_AFTER_LAST, SQL_BEFORE, SQL_BEFORE_LAST };

static void sql_apply_around(sql_call *call)
{
    aiocosmos_str text = call->args[0].as.string, part = call->args[1].as.string;
    int which = call->function->which;
    size_t at;
    if (!sql_strings(call, 2)) return;
    at = which == SQL_AFTER || which == SQL_BEFORE ? sql_find(call->arena->env, text, part, 0) :
         sql_find_last(call->arena->env, text, part);
    if (at == SIZE_MAX) return;
    if (which == SQL_BEFORE || which == SQL_BEFORE_LAST) text.len = at;
    else text = sql_str(text.ptr + at + part.len, text.len - at - part.len);
    sql_set_string(call->out, text);
}

/* Parses the text of a string as JSON of one type; the parsed document lives as long as the one that was fed. */
static void sql_apply_parse(sql_call *call)
{
    sql_env *env = call->arena->env;
    sql_work *work = call->work;
    aiocosmos_str text = call->args[0].as.string;
    aiocosmos_json_doc *doc;
    sql_value value;
    int result;
    if (!sql_strings(call, 1)) return;
    if (work->text_count == work->text_cap) {
        size_t cap = work->text_cap ? work->text_cap * 2 : 4, i;
        aiocosmos_json_doc *texts = (aiocosmos_json_doc *)aioc_mem_resize(
            &env->memory, work->texts, work->text_cap * sizeof *texts, cap * sizeof *texts);
        if (!texts) sql_fail_allocation(env);
        work->texts = texts;
        for (i = work->text_cap; i < cap; i++) aioc_json_open(&texts[i], &env->memory);
        work->text_cap = cap;
    }
    doc = &work->texts[work->text_count];
    sql_spend(env, 1 + text.len);
    result = aioc_json_parse(doc, text.ptr, text.len);
    if (result == AIOCOSMOS_E_NOMEM) sql_fail_allocation(env);
    if (result != 0) return;
    work->text_count++;
    sql_read(call->arena, aioc_json_root(doc), &value);
    if (value.type == call->function->which) *call->out = value;
}

static void sql_apply_to_string(sql_call *call)
{
    const sql_value *value = &call->args[0];
    aioc_mem_buffer *text = &call->work->text;
    if (value->type == SQL_UNDEFINED) return;
    if (value->type == SQL_STRING) {
        *call->out = *value;
        return;
    }
    if (value->type == SQL_NUMBER) {
        char number[AIOC_JSON_NUMBER_MAX + 2];
        sql_set_string(call->out, sql_copy_str(call->arena, sql_str(number, sql_number_text(value, number))));
        return;
    }
    text->len = 0;
    sql_render(call->arena, text, value, true);
    sql_set_string(call->out, sql_copy_str(call->arena, sql_str(text->data, text->len)));
}

static void sql_apply_join(sql_call *call)
{
    aiocosmos_str between = call->args[1].as.string;
    sql_cursor cursor;
    sql_value item;
    size_t len = 0, n = 0;
    char *out;
    if (call->args[0].type != SQL_ARRAY || call->args[1].type != SQL_STRING) return;
    memset(&cursor, 0, sizeof cursor);
    while (sql_next(call->arena, &call->args[0], &cursor, NULL, &item)) {
        if (item.type != SQL_STRING) return;
        len += item.as.string.len + between.len;
        if (len > SQL_MEMORY_VALUES) sql_fail_memory(call->arena->env);
    }
    out = (char *)sql_alloc(call->arena, len + 1);
    memset(&cursor, 0, sizeof cursor);
    while (sql_next(call->arena, &call->args[0], &cursor, NULL, &item)) {
        if (item.as.string.len) memcpy(out + n, item.as.string.ptr, item.as.string.len);
        n += item.as.string.len;
        if (between.len && n + between.len <= len) memcpy(out + n, between.ptr, between.len);
        n += between.len;
    }
    sql_set_string(call->out, sql_str(out, n >= between.len && n ? n - between.len : 0));
}

static void sql_apply_split(sql_call *call)
{
    aiocosmos_str text = call->args[0].as.string, mark = call->args[1].as.string;
    size_t from = 0, at;
    sql_value piece, pieces;
    if (!sql_strings(call, 2)) return;
    sql_set_members(&pieces, call->arena, SQL_ARRAY, 0);
    while (mark.len && (at = sql_find(call->arena->env, text, mark, from)) != SIZE_MAX) {
        sql_set_string(&piece, sql_str(text.ptr + from, at - from));
        sql_append_element(call->arena, &pieces, &piece);
        from = at + mark.len;
    }
    sql_set_string(&piece, sql_str(text.ptr + from, text.len - from));
    sql_append_element(call->arena, &pieces, &piece);
    *call->out = pieces;
}

/*------------------------------------------------------------------------------
 * MARK: - Functions: arrays, objects, choices
 *----------------------------------------------------------------------------*/

static void sql_apply_array_concat(sql_call *call)
{
    sql_value made, item;
    uint32_t i;
    for (i = 0; i < call->count; i++)
        if (call->args[i].type != SQL_ARRAY) return;
    sql_set_members(&made, call->arena, SQL_ARRAY, 0);
    for (i = 0; i < call->count; i++) {
        sql_cursor cursor;
        memset(&cursor, 0, sizeof cursor);
        while (sql_next(call->arena, &call->args[i], &cursor, NULL, &item))
            sql_append_element(call->arena, &made, &item);
    }
    *call->out = made;
}

static void sql_apply_array_contains(sql_call *call)
{
    bool partial = false;
    if (call->args[0].type != SQL_ARRAY || call->args[1].type == SQL_UNDEFINED) return;
    if (call->count > 2 && call->args[2].type != SQL_UNDEFINED) {
        if (call->args[2].type != SQL_BOOL) return;
        partial = call->args[2].truth;
    }
    sql_set_bool(call->out, sql_array_has(call->arena, &call->args[0], &call->args[1], partial));
}

static void sql_apply_array_contains_several(sql_call *call)
{
    bool all = call->function->which == SQL_ALL;
    uint32_t i;
    if (call->args[0].type != SQL_ARRAY) return;
    sql_set_bool(call->out, all);
    for (i = 1; i < call->count; i++)
        if (sql_array_has(call->arena, &call->args[0], &call->args[i], false) != all) sql_set_bool(call->out, !all);
}

/* The number of a document in its partition, by its _rid. */
static void sql_apply_document_id(sql_call *call)
{
    sql_value rid;
    uint64_t number;
    sql_property(call->arena, &call->args[0], aioc_mem_str("_rid"), &rid);
    if (rid.type == SQL_STRING && sql_rid_document(rid.as.string, &number) && number <= INT64_MAX)
        sql_set_integer(call->out, (int64_t)number);
}

static void sql_apply_array_length(sql_call *call)
{
    if (call->args[0].type == SQL_ARRAY) sql_set_integer(call->out, (int64_t)sql_count(&call->args[0]));
}

static void sql_apply_array_slice(sql_call *call)
{
    int64_t count, start, length, i = 0;
    sql_cursor cursor;
    sql_value item, made;
    uint32_t arg;
    if (call->args[0].type != SQL_ARRAY) return;
    for (arg = 1; arg < call->count; arg++)
        if (call->args[arg].type != SQL_NUMBER || !call->args[arg].whole) return;
    count = (int64_t)sql_count(&call->args[0]);
    start = call->args[1].as.number.integer;
    length = call->count > 2 ? call->args[2].as.number.integer : count;
    if (start < 0) start = start < -count ? 0 : start + count;
    sql_set_members(&made, call->arena, SQL_ARRAY, 0);
    memset(&cursor, 0, sizeof cursor);
    while (start < count && length > 0 && sql_next(call->arena, &call->args[0], &cursor, NULL, &item)) {
        if (i >= start && i - start < length) sql_append_element(call->arena, &made, &item);
        if (i++ >= start && i - start >= length) break;
    }
    *call->out = made;
}

enum { SQL_ARRAY_AVG, SQL_ARRAY_MAX, SQL_ARRAY_MEDIAN, SQL_ARRAY_MIN, SQL_ARRAY_SUM };

static void sql_apply_array_statistics(sql_call *call)
{
    int which = call->function->which;
    double sum = 0;
    size_t count = 0, i, j;
    sql_cursor cursor;
    sql_value item, sorted;
    if (call->args[0].type != SQL_ARRAY) return;
    sql_set_members(&sorted, call->arena, SQL_ARRAY, 0);
    memset(&cursor, 0, sizeof cursor);
    while (sql_next(call->arena, &call->args[0], &cursor, NULL, &item)) {
        if (item.type != SQL_NUMBER) return;
        sum += item.as.number.real;
        sql_append_element(call->arena, &sorted, &item);
        count++;
    }
    if (which == SQL_ARRAY_SUM) sql_set_number(call->out, sum);
    if (which == SQL_ARRAY_SUM || !count) return;
    if (which == SQL_ARRAY_AVG) {
        sql_set_number(call->out, sum / (double)count);
        return;
    }
    for (i = 1; i < count; i++) {      /* arrays in documents are short; the limit on work is for the others */
        item = sorted.as.members->values[i];
        for (j = i; j > 0 && sql_compare_numbers(&sorted.as.members->values[j - 1], &item) > 0; j--)
            sorted.as.members->values[j] = sorted.as.members->values[j - 1];
        sorted.as.members->values[j] = item;
        sql_spend(call->arena->env, i - j + 1);
    }
    if (which == SQL_ARRAY_MEDIAN && count % 2 == 0) {
        const sql_value *middle = &sorted.as.members->values[count / 2];
        sql_set_number(call->out, (middle[-1].as.number.real + middle[0].as.number.real) / 2);
        return;
    }
    *call->out = sorted.as.members->values[which == SQL_ARRAY_MIN ? 0 : which == SQL_ARRAY_MAX ? count - 1 : count / 2];
}

enum { SQL_SET_DIFFERENCE, SQL_SET_EQUAL, SQL_SET_INTERSECT, SQL_SET_UNION };

/* The items of `from` for which being in `other` is `wanted` (other NULL: all), each once. */
static void sql_collect(sql_call *call, const sql_value *from, const sql_value *other, bool wanted, sql_value *made)
{
    sql_cursor cursor;
    sql_value item;
    memset(&cursor, 0, sizeof cursor);
    while (sql_next(call->arena, from, &cursor, NULL, &item)) {
        if (other && sql_array_has(call->arena, other, &item, false) != wanted) continue;
        if (!sql_array_has(call->arena, made, &item, false)) sql_append_element(call->arena, made, &item);
    }
}

static void sql_apply_set(sql_call *call)
{
    const sql_value *a = &call->args[0], *b = &call->args[1];
    sql_value made;
    if (a->type != SQL_ARRAY || b->type != SQL_ARRAY) return;
    sql_set_members(&made, call->arena, SQL_ARRAY, 0);
    switch (call->function->which) {
    case SQL_SET_UNION:
        sql_collect(call, a, NULL, true, &made);
        sql_collect(call, b, NULL, true, &made);
        break;
    case SQL_SET_INTERSECT: sql_collect(call, b, a, true, &made); break;
    case SQL_SET_DIFFERENCE: sql_collect(call, a, b, false, &made); break;
    default:
        sql_collect(call, a, b, false, &made);
        sql_collect(call, b, a, false, &made);
        sql_set_bool(call->out, made.as.members->count == 0);
        return;
    }
    *call->out = made;
}

static void sql_apply_object_to_array(sql_call *call)
{
    aiocosmos_str key = aioc_mem_str("k"), content = aioc_mem_str("v"), name;
    sql_cursor cursor;
    sql_value value, text, pair, made;
    if (call->args[0].type != SQL_OBJECT) return;
    if (call->count > 1 && call->args[1].type != SQL_STRING) return;
    if (call->count > 2 && call->args[2].type != SQL_STRING) return;
    if (call->count > 1) key = call->args[1].as.string;
    if (call->count > 2) content = call->args[2].as.string;
    sql_set_members(&made, call->arena, SQL_ARRAY, 0);
    memset(&cursor, 0, sizeof cursor);
    while (sql_next(call->arena, &call->args[0], &cursor, &name, &value)) {
        sql_set_string(&text, name);
        sql_set_members(&pair, call->arena, SQL_OBJECT, 2);
        sql_append(call->arena, &pair, key, &text);
        sql_append(call->arena, &pair, content, &value);
        sql_append_element(call->arena, &made, &pair);
    }
    *call->out = made;
}

static void sql_apply_choose(sql_call *call)
{
    const sql_value *index = &call->args[0];
    if (index->type == SQL_NUMBER && index->whole && index->as.number.integer >= 1 &&
        index->as.number.integer < (int64_t)call->count)
        *call->out = call->args[index->as.number.integer];
}

static void sql_apply_iif(sql_call *call)
{
    *call->out = call->args[call->args[0].type == SQL_BOOL && call->args[0].truth ? 1 : 2];
}

/*------------------------------------------------------------------------------
 * MARK: - Functions: dates
 *
 * A moment is a count of 100 ns ticks since 1970; its text is always "2026-11-21T02:31:44.1234567Z".
 *----------------------------------------------------------------------------*/

#define SQL_TICKS_MS     ((int64_t)10000)
#define SQL_TICKS_SECOND ((int64_t)10000000)
#define SQL_TICKS_DAY    (86400 * SQL_TICKS_SECOND)

typedef struct sql_date { int64_t year, month, day, hour, minute, second, ticks; } sql_date;

/* Days since 1970-01-01 in the Gregorian calendar (years from March, so that the leap day is the last). */
static int64_t sql_days(int64_t year, int64_t month, int64_t day)
{
    int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t sql_floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static void sql_split_date(int64_t ticks, sql_date *date)
{
    int64_t days = sql_floor_div(ticks, SQL_TICKS_DAY), rest = ticks - days * SQL_TICKS_DAY;
    int64_t z = days + 719468, era = sql_floor_div(z, 146097), of_era = z - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;
    date->day = of_year - (153 * m + 2) / 5 + 1;
    date->month = m < 10 ? m + 3 : m - 9;
    date->year = y + era * 400 + (date->month <= 2);
    date->hour = rest / (3600 * SQL_TICKS_SECOND);
    date->minute = rest / (60 * SQL_TICKS_SECOND) % 60;
    date->second = rest / SQL_TICKS_SECOND % 60;
    date->ticks = rest % SQL_TICKS_SECOND;
}

static int64_t sql_month_days(int64_t year, int64_t month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

static bool sql_join_date(const sql_date *date, int64_t *ticks)
{
    if (date->year < 1 || date->year > 9999 || date->month < 1 || date->month > 12 || date->day < 1 ||
        date->day > sql_month_days(date->year, date->month) || date->hour < 0 || date->hour > 23 || date->minute < 0 ||
        date->minute > 59 || date->second < 0 || date->second > 59 || date->ticks < 0 ||
        date->ticks >= SQL_TICKS_SECOND)
        return false;
    *ticks = sql_days(date->year, date->month, date->day) * SQL_TICKS_DAY +
             (date->hour * 3600 + date->minute * 60 + date->second) * SQL_TICKS_SECOND + date->ticks;
    return true;
}

static bool sql_take_digits(aiocosmos_str text, size_t *at, size_t count, int64_t *out)
{
    size_t i;
    *out = 0;
    if (*at + count > text.len) return false;
    for (i = 0; i < count; i++) {
        if (!sql_is_digit(text.ptr[*at + i])) return false;
        *out = *out * 10 + (text.ptr[*at + i] - '0');
    }
    *at += count;
    return true;
}

static bool sql_take_char(aiocosmos_str text, size_t *at, char c)
{
    if (*at >= text.len || text.ptr[*at] != c) return false;
    ++*at;
    return true;
}

/* ISO 8601: a date, then perhaps a time with up to seven digits of a second, then perhaps Z. */
static bool sql_parse_date(aiocosmos_str text, int64_t *ticks)
{
    sql_date date;
    size_t at = 0, i;
    memset(&date, 0, sizeof date);
    if (!sql_take_digits(text, &at, 4, &date.year) || !sql_take_char(text, &at, '-') ||
        !sql_take_digits(text, &at, 2, &date.month) || !sql_take_char(text, &at, '-') ||
        !sql_take_digits(text, &at, 2, &date.day))
        return false;
    if (sql_take_char(text, &at, 'T') || sql_take_char(text, &at, ' ')) {
        if (!sql_take_digits(text, &at, 2, &date.hour) || !sql_take_char(text, &at, ':') ||
            !sql_take_digits(text, &at, 2, &date.minute))
            return false;
        if (sql_take_char(text, &at, ':') && !sql_take_digits(text, &at, 2, &date.second)) return false;
        if (sql_take_char(text, &at, '.')) {
            int64_t digit, unit = SQL_TICKS_SECOND / 10;
            for (i = 0; i < 7 && sql_take_digits(text, &at, 1, &digit); i++, unit /= 10) date.ticks += digit * unit;
            if (!i) return false;
        }
        sql_take_char(text, &at, 'Z');
    }
    return at == text.len && sql_join_date(&date, ticks);
}

#define SQL_READ_DATE_STEPS  10
#define SQL_WRITE_DATE_STEPS 30

static bool sql_date_arg(sql_call *call, uint32_t index, int64_t *ticks)
{
    const sql_value *value = &call->args[index];
    sql_spend(call->arena->env, SQL_READ_DATE_STEPS);
    return value->type == SQL_STRING && sql_parse_date(value->as.string, ticks);
}

static void sql_set_date(sql_call *call, int64_t ticks)
{
    sql_date date;
    char text[40];
    if (ticks < sql_days(1, 1, 1) * SQL_TICKS_DAY || ticks >= sql_days(10000, 1, 1) * SQL_TICKS_DAY) return;
    sql_spend(call->arena->env, SQL_WRITE_DATE_STEPS);
    sql_split_date(ticks, &date);
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%07dZ", (int)date.year, (int)date.month, (int)date.day,
             (int)date.hour, (int)date.minute, (int)date.second, (int)date.ticks);
    sql_set_string(call->out, sql_copy_str(call->arena, aioc_mem_str(text)));
}

enum { SQL_NOW_DATETIME, SQL_NOW_TICKS, SQL_NOW_TIMESTAMP };

static void sql_apply_now(sql_call *call)
{
    int64_t now_ms = call->work->now_ms;
    if (call->function->which == SQL_NOW_DATETIME) sql_set_date(call, now_ms * SQL_TICKS_MS);
    else if (call->function->which == SQL_NOW_TICKS) sql_set_integer(call->out, now_ms * SQL_TICKS_MS);
    else sql_set_integer(call->out, now_ms);
}

typedef enum sql_part {
    SQL_YEAR, SQL_MONTH, SQL_WEEKDAY, SQL_DAY, SQL_HOUR, SQL_MINUTE, SQL_SECOND, SQL_MS, SQL_US, SQL_NS
} sql_part;

static bool sql_find_part(const sql_value *value, sql_part *out)
{
    static const struct { const char *name; sql_part part; } names[] = {
        {"year", SQL_YEAR}, {"yyyy", SQL_YEAR}, {"yy", SQL_YEAR},
        {"month", SQL_MONTH}, {"mm", SQL_MONTH}, {"m", SQL_MONTH},
        {"weekday", SQL_WEEKDAY}, {"dw", SQL_WEEKDAY}, {"w", SQL_WEEKDAY},
        {"day", SQL_DAY}, {"dd", SQL_DAY}, {"d", SQL_DAY},
        {"hour", SQL_HOUR}, {"hh", SQL_HOUR},
        {"minute", SQL_MINUTE}, {"mi", SQL_MINUTE}, {"n", SQL_MINUTE},
        {"second", SQL_SECOND}, {"ss", SQL_SECOND}, {"s", SQL_SECOND},
        {"millisecond", SQL_MS}, {"ms", SQL_MS},
        {"microsecond", SQL_US}, {"mcs", SQL_US},
        {"nanosecond", SQL_NS}, {"ns", SQL_NS}
    };
    size_t i;
    if (value->type != SQL_STRING) return false;
    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!aioc_mem_same_nocase(value->as.string, aioc_mem_str(names[i].name))) continue;
        *out = names[i].part;
        return true;
    }
    return false;
}

/* Ticks in a part of fixed length. 0: it has none, or is smaller than a tick. */
static int64_t sql_part_ticks(sql_part part)
{
    switch (part) {
    case SQL_DAY: return SQL_TICKS_DAY;
    case SQL_HOUR: return 3600 * SQL_TICKS_SECOND;
    case SQL_MINUTE: return 60 * SQL_TICKS_SECOND;
    case SQL_SECOND: return SQL_TICKS_SECOND;
    case SQL_MS: return SQL_TICKS_MS;
    case SQL_US: return 10;
    default: return 0;
    }
}

static bool sql_add_months(int64_t ticks, int64_t months, int64_t *out)
{
    sql_date date;
    int64_t total;
    sql_split_date(ticks, &date);
    if (months < -120000 || months > 120000) return false;
    total = date.year * 12 + date.month - 1 + months;
    date.year = sql_floor_div(total, 12);
    date.month = total - date.year * 12 + 1;
    if (date.year < 1 || date.year > 9999) return false;
    if (date.day > sql_month_days(date.year, date.month)) date.day = sql_month_days(date.year, date.month);
    return sql_join_date(&date, out);
}

static void sql_apply_date_add(sql_call *call)
{
    int64_t ticks, amount = call->args[1].as.number.integer, unit;
    sql_part part;
    if (!sql_find_part(&call->args[0], &part) || part == SQL_WEEKDAY || call->args[1].type != SQL_NUMBER ||
        !call->args[1].whole || !sql_date_arg(call, 2, &ticks))
        return;
    unit = sql_part_ticks(part);
    if (amount < -4 * SQL_TICKS_DAY * 10000 || amount > 4 * SQL_TICKS_DAY * 10000) return;
    if (part == SQL_YEAR || part == SQL_MONTH) {
        if (amount < -120000 || amount > 120000 || !sql_add_months(ticks, amount * (part == SQL_YEAR ? 12 : 1), &ticks))
            return;
    } else if (part == SQL_NS) {
        ticks += amount / 100;
    } else {
        if (amount > INT64_MAX / 4 / unit || amount < -(INT64_MAX / 4 / unit)) return;
        ticks += amount * unit;
    }
    sql_set_date(call, ticks);
}

/* How many boundaries of the part lie between the two, not how much time. */
static void sql_apply_date_diff(sql_call *call)
{
    int64_t from, to, unit;
    sql_date a, b;
    sql_part part;
    if (!sql_find_part(&call->args[0], &part) || part == SQL_WEEKDAY || !sql_date_arg(call, 1, &from) ||
        !sql_date_arg(call, 2, &to))
        return;
    sql_split_date(from, &a);
    sql_split_date(to, &b);
    unit = sql_part_ticks(part);
    if (part == SQL_YEAR) sql_set_integer(call->out, b.year - a.year);
    else if (part == SQL_MONTH) sql_set_integer(call->out, (b.year - a.year) * 12 + b.month - a.month);
    else if (part == SQL_NS) sql_set_number(call->out, (double)(to - from) * 100);
    else sql_set_integer(call->out, sql_floor_div(to, unit) - sql_floor_div(from, unit));
}

static void sql_set_part(sql_call *call, int64_t ticks, sql_part part)
{
    sql_date date;
    int64_t value = 0;
    sql_split_date(ticks, &date);
    switch (part) {
    case SQL_YEAR: value = date.year; break;
    case SQL_MONTH: value = date.month; break;
    case SQL_DAY: value = date.day; break;
    case SQL_HOUR: value = date.hour; break;
    case SQL_MINUTE: value = date.minute; break;
    case SQL_SECOND: value = date.second; break;
    case SQL_MS: value = date.ticks / SQL_TICKS_MS; break;
    case SQL_US: value = date.ticks / 10; break;
    case SQL_NS: value = date.ticks * 100; break;
    case SQL_WEEKDAY: {                                    /* Sunday is 1; 1970-01-01 was a Thursday */
        int64_t days = sql_floor_div(ticks, SQL_TICKS_DAY) + 4;
        value = days - sql_floor_div(days, 7) * 7 + 1;
        break;
    }
    }
    sql_set_integer(call->out, value);
}

static void sql_apply_date_part(sql_call *call)
{
    int64_t ticks;
    sql_part part;
    if (sql_find_part(&call->args[0], &part) && sql_date_arg(call, 1, &ticks)) sql_set_part(call, ticks, part);
}

/* YEAR, MONTH, DAY */
static void sql_apply_date_field(sql_call *call)
{
    int64_t ticks;
    if (sql_date_arg(call, 0, &ticks)) sql_set_part(call, ticks, (sql_part)call->function->which);
}

static void sql_apply_date_from_parts(sql_call *call)
{
    sql_date date;
    int64_t *fields[7], ticks;
    uint32_t i;
    memset(&date, 0, sizeof date);
    fields[0] = &date.year;
    fields[1] = &date.month;
    fields[2] = &date.day;
    fields[3] = &date.hour;
    fields[4] = &date.minute;
    fields[5] = &date.second;
    fields[6] = &date.ticks;
    for (i = 0; i < call->count; i++) {
        if (call->args[i].type != SQL_NUMBER || !call->args[i].whole) return;
        *fields[i] = call->args[i].as.number.integer;
    }
    if (sql_join_date(&date, &ticks)) sql_set_date(call, ticks);
}

static void sql_apply_date_to_number(sql_call *call)
{
    int64_t ticks;
    if (!sql_date_arg(call, 0, &ticks)) return;
    if (call->function->which == SQL_NOW_TICKS) sql_set_number(call->out, (double)ticks);   /* so the service's pages */
    else sql_set_integer(call->out, sql_floor_div(ticks, SQL_TICKS_MS));
}

static void sql_apply_number_to_date(sql_call *call)
{
    const sql_value *value = &call->args[0];
    int64_t unit = call->function->which == SQL_NOW_TICKS ? 1 : SQL_TICKS_MS;
    if (value->type != SQL_NUMBER || !value->whole) return;
    if (value->as.number.integer > INT64_MAX / unit || value->as.number.integer < INT64_MIN / unit) return;
    sql_set_date(call, value->as.number.integer * unit);
}

/* The start of the bin that the moment lies in; bins are counted from an origin, 1970 unless given. */
static void sql_apply_date_bin(sql_call *call)
{
    int64_t ticks, origin = 0, size = 1, unit;
    sql_part part;
    if (!sql_date_arg(call, 0, &ticks) || !sql_find_part(&call->args[1], &part) || part == SQL_WEEKDAY) return;
    if (call->count > 2) {
        if (call->args[2].type != SQL_NUMBER || !call->args[2].whole || call->args[2].as.number.integer <= 0) return;
        size = call->args[2].as.number.integer;
    }
    if (call->count > 3 && (!sql_date_arg(call, 3, &origin) || origin < sql_days(1601, 1, 1) * SQL_TICKS_DAY))
        return;
    unit = part == SQL_NS ? 1 : sql_part_ticks(part);
    if (part == SQL_NS) size = size < 100 ? 1 : size / 100;
    if (part == SQL_YEAR || part == SQL_MONTH) {
        sql_date at, from;
        int64_t months;
        if (size > 120000) return;
        if (part == SQL_YEAR) size *= 12;
        sql_split_date(ticks, &at);
        sql_split_date(origin, &from);
        months = (at.year - from.year) * 12 + at.month - from.month;
        if (!sql_add_months(origin, sql_floor_div(months, size) * size, &ticks)) return;
    } else {
        if (size > INT64_MAX / 4 / unit) return;
        unit *= size;
        ticks = origin + sql_floor_div(ticks - origin, unit) * unit;
    }
    sql_set_date(call, ticks);
}

static void sql_apply_is_datetime(sql_call *call)
{
    int64_t ticks;
    sql_set_bool(call->out, sql_date_arg(call, 0, &ticks));
}

/*------------------------------------------------------------------------------
 * MARK: - Functions: vectors and full text
 *----------------------------------------------------------------------------*/

/* VectorDistance: by the angle and by the product the more alike are the higher, by the distance the lower. Vectors of
 * different lengths, and what is no array of numbers, have no distance. */
static void sql_apply_distance(sql_call *call)
{
    double product = 0, left = 0, right = 0, distance = 0;
    sql_cursor at_a, at_b;
    sql_value a, b;
    if (call->args[0].type != SQL_ARRAY || call->args[1].type != SQL_ARRAY) return;
    memset(&at_a, 0, sizeof at_a);
    memset(&at_b, 0, sizeof at_b);
    for (;;) {
        bool more = sql_next(call->arena, &call->args[0], &at_a, NULL, &a);
        if (more != sql_next(call->arena, &call->args[1], &at_b, NULL, &b)) return;
        if (!more) break;
        if (a.type != SQL_NUMBER || b.type != SQL_NUMBER) return;
        sql_spend(call->arena->env, 1);
        product += a.as.number.real * b.as.number.real;
        left += a.as.number.real * a.as.number.real;
        right += b.as.number.real * b.as.number.real;
        distance += (a.as.number.real - b.as.number.real) * (a.as.number.real - b.as.number.real);
    }
    if (call->distance == SQL_EUCLIDEAN) sql_set_number(call->out, sqrt(distance));
    else if (call->distance == SQL_DOTPRODUCT) sql_set_number(call->out, product);
    else if (left > 0 && right > 0) sql_set_number(call->out, product / (sqrt(left) * sqrt(right)));
    else sql_set_number(call->out, 0);
}

enum { SQL_ST_DISTANCE, SQL_ST_INTERSECTS, SQL_ST_WITHIN };

static void sql_apply_st_area(sql_call *call)
{
    const sql_geometry *geometry = sql_read_geometry(call->arena, &call->args[0], NULL);
    if (geometry) sql_set_number(call->out, sql_geometry_area(call->arena->env, geometry));
}

static void sql_apply_spatial(sql_call *call)
{
    sql_env *env = call->arena->env;
    const sql_geometry *a = sql_read_geometry(call->arena, &call->args[0], NULL);
    const sql_geometry *b = a ? sql_read_geometry(call->arena, &call->args[1], NULL) : NULL;
    if (!b) return;
    switch (call->function->which) {
    case SQL_ST_DISTANCE: sql_set_number(call->out, sql_geometry_distance(env, a, b)); break;
    case SQL_ST_INTERSECTS: sql_set_bool(call->out, sql_geometry_intersects(env, a, b)); break;
    default: sql_set_bool(call->out, sql_geometry_within(env, a, b));
    }
}

/* which 1: in detail. */
static void sql_apply_st_is_valid(sql_call *call)
{
    const char *reason = "";
    sql_value valid, why;
    if (call->args[0].type == SQL_UNDEFINED) return;
    sql_set_bool(&valid, sql_read_geometry(call->arena, &call->args[0], &reason) != NULL);
    if (call->function->which == 0) {
        *call->out = valid;
        return;
    }
    sql_set_members(call->out, call->arena, SQL_OBJECT, 2);
    sql_append(call->arena, call->out, aioc_mem_str("valid"), &valid);
    if (valid.truth) return;
    sql_set_string(&why, aioc_mem_str(reason));
    sql_append(call->arena, call->out, aioc_mem_str("reason"), &why);
}

typedef struct sql_terms { aiocosmos_str *at; size_t count; } sql_terms;

static bool sql_is_term(uint32_t c)
{
    return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The words of a text in lower case: runs of letters and digits. The service also stems them and leaves out the most
 * frequent ones of a language; that is not done here. */
static sql_terms sql_terms_of(sql_arena *arena, aiocosmos_str text)
{
    aiocosmos_str lower = sql_map_case(arena, text, sql_lower);
    const char *at = lower.ptr, *end = lower.ptr + lower.len, *start = NULL;
    sql_terms terms;
    terms.at = (aiocosmos_str *)sql_alloc(arena, (lower.len / 2 + 1) * sizeof *terms.at);
    terms.count = 0;
    sql_spend(arena->env, lower.len);
    while (at < end) {
        const char *before = at;
        bool in = sql_is_term(sql_character(&at, end));
        if (in && !start) start = before;
        if (!in && start) {
            terms.at[terms.count++] = sql_str(start, (size_t)(before - start));
            start = NULL;
        }
    }
    if (start) terms.at[terms.count++] = sql_str(start, (size_t)(end - start));
    return terms;
}

/* How often the words of the phrase stand one after another in the text. */
static size_t sql_occurrences(sql_arena *arena, const sql_terms *text, aiocosmos_str phrase)
{
    sql_terms wanted = sql_terms_of(arena, phrase);
    size_t i, j, found = 0;
    if (!wanted.count) return 0;
    for (i = 0; i + wanted.count <= text->count; i++) {
        for (j = 0; j < wanted.count && aioc_mem_same(text->at[i + j], wanted.at[j]); j++) continue;
        found += j == wanted.count;
    }
    sql_spend(arena->env, text->count);
    return found;
}

/* FullTextContains, ...All, ...Any */
static void sql_apply_full_text(sql_call *call)
{
    sql_terms text;
    uint32_t i, found = 0;
    if (call->args[0].type != SQL_STRING) return;
    text = sql_terms_of(call->arena, call->args[0].as.string);
    for (i = 1; i < call->count; i++) {
        if (call->args[i].type != SQL_STRING) return;
        found += sql_occurrences(call->arena, &text, call->args[i].as.string) > 0;
    }
    sql_set_bool(call->out, call->function->which == SQL_ANY ? found > 0 : found == call->count - 1);
}

static void sql_apply_word_count(sql_call *call)
{
    if (call->args[0].type == SQL_STRING)
        sql_set_integer(call->out, (int64_t)sql_terms_of(call->arena, call->args[0].as.string).count);
}

/* BM25 of (text, terms, documents, words of all documents, documents that have each term). */
static void sql_apply_score(sql_call *call)
{
    const double k = 1.2, b = 0.75;
    double documents = call->args[2].as.number.real, words = call->args[3].as.number.real, score = 0, mean;
    sql_cursor at_term, at_hits;
    sql_value term, hits;
    sql_terms text;
    if (call->args[0].type != SQL_STRING || call->args[1].type != SQL_ARRAY || call->args[2].type != SQL_NUMBER ||
        call->args[3].type != SQL_NUMBER || call->args[4].type != SQL_ARRAY) return;
    text = sql_terms_of(call->arena, call->args[0].as.string);
    mean = documents > 0 && words > 0 ? words / documents : 1;
    memset(&at_term, 0, sizeof at_term);
    memset(&at_hits, 0, sizeof at_hits);
    while (sql_next(call->arena, &call->args[1], &at_term, NULL, &term) &&
           sql_next(call->arena, &call->args[4], &at_hits, NULL, &hits)) {
        double often, rare;
        if (term.type != SQL_STRING || hits.type != SQL_NUMBER) return;
        often = (double)sql_occurrences(call->arena, &text, term.as.string);
        rare = log(1 + (documents - hits.as.number.real + 0.5) / (hits.as.number.real + 0.5));
        score += rare * often * (k + 1) / (often + k * (1 - b + b * (double)text.count / mean));
    }
    sql_set_number(call->out, score);
}

/* FullTextScore and RRF: names in ORDER BY RANK, which the planner takes apart. */
static void sql_apply_nothing(sql_call *call)
{
    (void)call;
}

/*------------------------------------------------------------------------------
 * MARK: - Functions: the table
 *----------------------------------------------------------------------------*/

/* In the order of the alphabet, without regard to case. */
static const sql_function sql_functions[] = {
    {"_FullTextScore", 5, 5, sql_apply_score, 0},
    {"_FullTextWordCount", 1, 1, sql_apply_word_count, 0},
    {"ABS", 1, 1, sql_apply_math, SQL_ABS},
    {"ACOS", 1, 1, sql_apply_math, SQL_ACOS},
    {"ARRAY_AVG", 1, 1, sql_apply_array_statistics, SQL_ARRAY_AVG},
    {"ARRAY_CONCAT", 2, -1, sql_apply_array_concat, 0},
    {"ARRAY_CONTAINS", 2, 3, sql_apply_array_contains, 0},
    {"ARRAY_CONTAINS_ALL", 2, -1, sql_apply_array_contains_several, SQL_ALL},
    {"ARRAY_CONTAINS_ANY", 2, -1, sql_apply_array_contains_several, SQL_ANY},
    {"ARRAY_LENGTH", 1, 1, sql_apply_array_length, 0},
    {"ARRAY_MAX", 1, 1, sql_apply_array_statistics, SQL_ARRAY_MAX},
    {"ARRAY_MEDIAN", 1, 1, sql_apply_array_statistics, SQL_ARRAY_MEDIAN},
    {"ARRAY_MIN", 1, 1, sql_apply_array_statistics, SQL_ARRAY_MIN},
    {"ARRAY_SLICE", 2, 3, sql_apply_array_slice, 0},
    {"ARRAY_SUM", 1, 1, sql_apply_array_statistics, SQL_ARRAY_SUM},
    {"ASIN", 1, 1, sql_apply_math, SQL_ASIN},
    {"ATAN", 1, 1, sql_apply_math, SQL_ATAN},
    {"ATN2", 2, 2, sql_apply_math2, SQL_ATN2},
    {"CEILING", 1, 1, sql_apply_math, SQL_CEILING},
    {"CHOOSE", 2, -1, sql_apply_choose, 0},
    {"CONCAT", 2, -1, sql_apply_concat, 0},
    {"CONTAINS", 2, 3, sql_apply_compare, SQL_CONTAINS},
    {"ContainsAllCi", 2, -1, sql_apply_contains_ci, SQL_ALL},
    {"ContainsAllCs", 2, -1, sql_apply_contains_cs, SQL_ALL},
    {"ContainsAnyCi", 2, -1, sql_apply_contains_ci, SQL_ANY},
    {"ContainsAnyCs", 2, -1, sql_apply_contains_cs, SQL_ANY},
    {"COS", 1, 1, sql_apply_math, SQL_COS},
    {"COT", 1, 1, sql_apply_math, SQL_COT},
    {"DateTimeAdd", 3, 3, sql_apply_date_add, 0},
    {"DateTimeBin", 2, 4, sql_apply_date_bin, 0},
    {"DateTimeDiff", 3, 3, sql_apply_date_diff, 0},
    {"DateTimeFromParts", 3, 7, sql_apply_date_from_parts, 0},
    {"DateTimePart", 2, 2, sql_apply_date_part, 0},
    {"DateTimeToTicks", 1, 1, sql_apply_date_to_number, SQL_NOW_TICKS},
    {"DateTimeToTimestamp", 1, 1, sql_apply_date_to_number, SQL_NOW_TIMESTAMP},
    {"DAY", 1, 1, sql_apply_date_field, SQL_DAY},
    {"DEGREES", 1, 1, sql_apply_math, SQL_DEGREES},
    {"DocumentId", 1, 1, sql_apply_document_id, 0},
    {"ENDSWITH", 2, 3, sql_apply_compare, SQL_ENDSWITH},
    {"EXP", 1, 1, sql_apply_math, SQL_EXP},
    {"FLOOR", 1, 1, sql_apply_math, SQL_FLOOR},
    {"FullTextContains", 2, 2, sql_apply_full_text, SQL_ALL},
    {"FullTextContainsAll", 2, -1, sql_apply_full_text, SQL_ALL},
    {"FullTextContainsAny", 2, -1, sql_apply_full_text, SQL_ANY},
    {"FullTextScore", 2, -1, sql_apply_nothing, 0},
    {"GetCurrentDateTime", 0, 0, sql_apply_now, SQL_NOW_DATETIME},
    {"GetCurrentDateTimeStatic", 0, 0, sql_apply_now, SQL_NOW_DATETIME},
    {"GetCurrentTicks", 0, 0, sql_apply_now, SQL_NOW_TICKS},
    {"GetCurrentTicksStatic", 0, 0, sql_apply_now, SQL_NOW_TICKS},
    {"GetCurrentTimestamp", 0, 0, sql_apply_now, SQL_NOW_TIMESTAMP},
    {"GetCurrentTimestampStatic", 0, 0, sql_apply_now, SQL_NOW_TIMESTAMP},
    {"IIF", 3, 3, sql_apply_iif, 0},
    {"INDEX_OF", 2, 3, sql_apply_index_of, 0},
    {"IntAdd", 2, 2, sql_apply_int, SQL_INT_ADD},
    {"IntBitAnd", 2, 2, sql_apply_int, SQL_INT_AND},
    {"IntBitLeftShift", 2, 2, sql_apply_int, SQL_INT_LEFT},
    {"IntBitNot", 1, 1, sql_apply_int, SQL_INT_NOT},
    {"IntBitOr", 2, 2, sql_apply_int, SQL_INT_OR},
    {"IntBitRightShift", 2, 2, sql_apply_int, SQL_INT_RIGHT},
    {"IntBitwiseAnd", 2, 2, sql_apply_int, SQL_INT_AND},
    {"IntBitwiseLeftShift", 2, 2, sql_apply_int, SQL_INT_LEFT},
    {"IntBitwiseNot", 1, 1, sql_apply_int, SQL_INT_NOT},
    {"IntBitwiseOr", 2, 2, sql_apply_int, SQL_INT_OR},
    {"IntBitwiseRightShift", 2, 2, sql_apply_int, SQL_INT_RIGHT},
    {"IntBitwiseXor", 2, 2, sql_apply_int, SQL_INT_XOR},
    {"IntBitXor", 2, 2, sql_apply_int, SQL_INT_XOR},
    {"IntDiv", 2, 2, sql_apply_int, SQL_INT_DIV},
    {"IntMod", 2, 2, sql_apply_int, SQL_INT_MOD},
    {"IntMul", 2, 2, sql_apply_int, SQL_INT_MUL},
    {"IntSub", 2, 2, sql_apply_int, SQL_INT_SUB},
    {"IS_ARRAY", 1, 1, sql_apply_is, SQL_IS_ARRAY},
    {"IS_BOOL", 1, 1, sql_apply_is, SQL_IS_BOOL},
    {"IS_BOOLEAN", 1, 1, sql_apply_is, SQL_IS_BOOL},
    {"IS_DATETIME", 1, 1, sql_apply_is_datetime, 0},
    {"IS_DEFINED", 1, 1, sql_apply_is, SQL_IS_DEFINED},
    {"IS_FINITE_NUMBER", 1, 1, sql_apply_is, SQL_IS_FINITE},
    {"IS_INTEGER", 1, 1, sql_apply_is, SQL_IS_INTEGER},
    {"IS_NULL", 1, 1, sql_apply_is, SQL_IS_NULL},
    {"IS_NUMBER", 1, 1, sql_apply_is, SQL_IS_NUMBER},
    {"IS_OBJECT", 1, 1, sql_apply_is, SQL_IS_OBJECT},
    {"IS_PRIMITIVE", 1, 1, sql_apply_is, SQL_IS_PRIMITIVE},
    {"IS_STRING", 1, 1, sql_apply_is, SQL_IS_STRING},
    {"LastIndexOf", 2, 2, sql_apply_index_of, 1},
    {"LastSubstringAfter", 2, 2, sql_apply_around, SQL_AFTER_LAST},
    {"LastSubstringBefore", 2, 2, sql_apply_around, SQL_BEFORE_LAST},
    {"LEFT", 2, 2, sql_apply_part, SQL_LEFT},
    {"LENGTH", 1, 1, sql_apply_length, 0},
    {"LOG", 1, 2, sql_apply_math2, SQL_LOG},
    {"LOG10", 1, 1, sql_apply_math, SQL_LOG10},
    {"LOWER", 1, 1, sql_apply_case, 0},
    {"LTRIM", 1, 2, sql_apply_trim, 1},
    {"MONTH", 1, 1, sql_apply_date_field, SQL_MONTH},
    {"NUMBERBIN", 1, 2, sql_apply_math2, SQL_NUMBERBIN},
    {"ObjectToArray", 1, 3, sql_apply_object_to_array, 0},
    {"PI", 0, 0, sql_apply_pi, 0},
    {"POWER", 2, 2, sql_apply_math2, SQL_POWER},
    {"RADIANS", 1, 1, sql_apply_math, SQL_RADIANS},
    {"RAND", 0, 0, sql_apply_rand, 0},
    {"REGEXMATCH", 2, 3, sql_apply_regex, 0},
    {"REPLACE", 3, 3, sql_apply_replace, 0},
    {"REPLICATE", 2, 2, sql_apply_replicate, 0},
    {"REVERSE", 1, 1, sql_apply_reverse, 0},
    {"RIGHT", 2, 2, sql_apply_part, SQL_RIGHT},
    {"ROUND", 1, 2, sql_apply_math2, SQL_ROUND},
    {"RRF", 1, -1, sql_apply_nothing, 0},
    {"RTRIM", 1, 2, sql_apply_trim, 2},
    {"SetDifference", 2, 2, sql_apply_set, SQL_SET_DIFFERENCE},
    {"SetEqual", 2, 2, sql_apply_set, SQL_SET_EQUAL},
    {"SetIntersect", 2, 2, sql_apply_set, SQL_SET_INTERSECT},
    {"SetUnion", 2, 2, sql_apply_set, SQL_SET_UNION},
    {"SIGN", 1, 1, sql_apply_math, SQL_SIGN},
    {"SIN", 1, 1, sql_apply_math, SQL_SIN},
    {"SQRT", 1, 1, sql_apply_math, SQL_SQRT},
    {"SQUARE", 1, 1, sql_apply_math, SQL_SQUARE},
    {"ST_AREA", 1, 1, sql_apply_st_area, 0},
    {"ST_DISTANCE", 2, 2, sql_apply_spatial, SQL_ST_DISTANCE},
    {"ST_INTERSECTS", 2, 2, sql_apply_spatial, SQL_ST_INTERSECTS},
    {"ST_ISVALID", 1, 1, sql_apply_st_is_valid, 0},
    {"ST_ISVALIDDETAILED", 1, 1, sql_apply_st_is_valid, 1},
    {"ST_WITHIN", 2, 2, sql_apply_spatial, SQL_ST_WITHIN},
    {"STARTSWITH", 2, 3, sql_apply_compare, SQL_STARTSWITH},
    {"STRINGEQUALS", 2, 3, sql_apply_compare, SQL_STRINGEQUALS},
    {"StringJoin", 2, 2, sql_apply_join, 0},
    {"StringSplit", 2, 2, sql_apply_split, 0},
    {"StringToArray", 1, 1, sql_apply_parse, SQL_ARRAY},
    {"StringToBoolean", 1, 1, sql_apply_parse, SQL_BOOL},
    {"StringToNull", 1, 1, sql_apply_parse, SQL_NULL},
    {"StringToNumber", 1, 1, sql_apply_parse, SQL_NUMBER},
    {"StringToObject", 1, 1, sql_apply_parse, SQL_OBJECT},
    {"SUBSTRING", 3, 3, sql_apply_part, SQL_SUBSTRING},
    {"SubstringAfter", 2, 2, sql_apply_around, SQL_AFTER},
    {"SubstringBefore", 2, 2, sql_apply_around, SQL_BEFORE},
    {"TAN", 1, 1, sql_apply_math, SQL_TAN},
    {"TicksToDateTime", 1, 1, sql_apply_number_to_date, SQL_NOW_TICKS},
    {"TimestampToDateTime", 1, 1, sql_apply_number_to_date, SQL_NOW_TIMESTAMP},
    {"ToString", 1, 1, sql_apply_to_string, 0},
    {"TRIM", 1, 2, sql_apply_trim, 3},
    {"TRUNC", 1, 1, sql_apply_math, SQL_TRUNC},
    {"UPPER", 1, 1, sql_apply_case, 1},
    {"VectorDistance", 2, 4, sql_apply_distance, 0},
    {"YEAR", 1, 1, sql_apply_date_field, SQL_YEAR}
};

const sql_function *sql_find_function(aiocosmos_str name)
{
    size_t i;
    for (i = 0; i < sizeof sql_functions / sizeof sql_functions[0]; i++)
        if (aioc_mem_same_nocase(name, aioc_mem_str(sql_functions[i].name))) return &sql_functions[i];
    return NULL;
}

/*------------------------------------------------------------------------------
 * MARK: - What they need
 *----------------------------------------------------------------------------*/

void sql_work_init(sql_work *work, sql_env *env, int64_t now_ms)
{
    memset(work, 0, sizeof *work);
    work->now_ms = now_ms;
    work->random = (uint64_t)now_ms;
    sql_arena_init(&work->regex_arena, env, SQL_MEMORY_VALUES);
}

void sql_work_reset(sql_work *work)
{
    work->text_count = 0;
}

void sql_work_free(sql_work *work, sql_env *env)
{
    size_t i;
    for (i = 0; i < work->text_cap; i++) aioc_json_close(&work->texts[i]);
    aioc_mem_free(&env->memory, work->texts, work->text_cap * sizeof *work->texts);
    aioc_mem_buffer_free(&env->memory, &work->text);
    sql_arena_free(&work->regex_arena);
}
