/* sql.c: Cosmos SQL, from text to rows. See sql.h for how it is called.
 *
 *     text → lexer → parser → names bound → a tree that never changes (emu_sql_query)
 *     document → parsed nodes → FROM and JOIN bind aliases → WHERE → GROUP BY or SELECT → rows (emu_sql_run)
 *
 * Values are small structs that point into the document, the query or an arena. An arena is emptied after each
 * document; what outlives one (sort keys, groups, rows of DISTINCT) is copied to a second. Errors leave by longjmp to
 * the function that entered the engine: all memory hangs on arenas, so nothing is left behind, and no evaluator checks
 * for errors.
 *
 * Where Microsoft's pages and what the service does differ (= and != between types), this follows the service, as its
 * SDKs' tests describe it. */
#define AIOCOSMOS_STATIC
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"

#include "tree.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*------------------------------------------------------------------------------
 * MARK: - Errors, limits, memory
 *----------------------------------------------------------------------------*/

#define SQL_MEMORY_PREPARE ((size_t)64 * 1024 * 1024)      /* what a query may take while it is prepared */
#define SQL_MEMORY_VALUES  ((size_t)64 * 1024 * 1024)      /* what the values made for one document may take */
#define SQL_CHUNK          16384u
#define SQL_SOURCES_MAX    32                              /* in one FROM: each is a level of nested loops */

static size_t sql_escape(char *out, size_t cap, const char *text)
{
    size_t n = 0;
    for (; *text && n + 7 < cap; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c < 0x20) {
            n += (size_t)snprintf(out + n, cap - n, "\\u%04x", (unsigned)c);
        } else {
            out[n++] = (char)c;
        }
    }
    while (*text && n > 0 && ((unsigned char)out[n - 1] & 0xc0) == 0x80) n--;   /* no half character at the cut */
    if (*text && n > 0 && ((unsigned char)out[n - 1] & 0xc0) == 0xc0) n--;
    out[n] = '\0';
    return n;
}

void sql_fail(sql_env *env, const char *code, size_t start, size_t end, const char *format, ...)
{
    char text[300], escaped[340];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    sql_escape(escaped, sizeof escaped, text);
    env->error.status = 400;
    env->error.sub_status = 0;
    snprintf(env->error.message, sizeof env->error.message,
             "{\"errors\":[{\"severity\":\"Error\",\"location\":{\"start\":%lu,\"end\":%lu},"
             "\"code\":\"%s\",\"message\":\"%s\"}]}",
             (unsigned long)start, (unsigned long)end, code, escaped);
    longjmp(env->leave, 1);
}

void sql_fail_plain(sql_env *env, int status, const char *message)
{
    env->error.status = status;
    env->error.sub_status = 0;
    snprintf(env->error.message, sizeof env->error.message, "%s", message);
    longjmp(env->leave, 1);
}

static void sql_fail_memory(sql_env *env)
{
    sql_fail_plain(env, 400, "The query needs more memory than the emulator allows for one query.");
}

static void sql_spend(sql_env *env, size_t steps)
{
    env->steps += steps;
    if (env->steps > EMU_SQL_STEPS_MAX)
        sql_fail_plain(env, 400, "The query needs more work on one document than the emulator allows.");
}

static void *sql_alloc_chunk(sql_arena *arena, size_t size)
{
    size_t chunk_size = sizeof(sql_chunk) + (size > SQL_CHUNK ? size : SQL_CHUNK);
    sql_chunk *chunk;
    if (size > arena->max || arena->total + chunk_size > arena->max) sql_fail_memory(arena->env);
    chunk = (sql_chunk *)aioc_mem_alloc(&arena->env->memory, chunk_size);
    if (!chunk) sql_fail_memory(arena->env);
    chunk->size = chunk_size;
    chunk->used = sizeof(sql_chunk) + size;
    arena->total += chunk_size;
    if (size > SQL_CHUNK && arena->chunks) {               /* the one being filled stays in front */
        chunk->next = arena->chunks->next;
        arena->chunks->next = chunk;
    } else {
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    return (char *)chunk + sizeof(sql_chunk);
}

void *sql_alloc(sql_arena *arena, size_t size)
{
    sql_chunk *chunk = arena->chunks;
    size = (size + 7) & ~(size_t)7;
    if (chunk && chunk->size - chunk->used >= size) {
        chunk->used += size;
        return (char *)chunk + chunk->used - size;
    }
    return sql_alloc_chunk(arena, size);
}

static void *sql_zalloc(sql_arena *arena, size_t size)
{
    return memset(sql_alloc(arena, size), 0, size);
}

void sql_arena_init(sql_arena *arena, sql_env *env, size_t max)
{
    arena->env = env;
    arena->chunks = NULL;
    arena->total = 0;
    arena->max = max;
}

void sql_arena_free(sql_arena *arena)
{
    while (arena->chunks) {
        sql_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        aioc_mem_free(&arena->env->memory, chunk, chunk->size);
    }
    arena->total = 0;
}

/* Empties it; keeps one chunk, so that ordinary documents allocate nothing. */
static void sql_arena_reset(sql_arena *arena)
{
    if (!arena->chunks) return;
    if (!arena->chunks->next && arena->chunks->size == sizeof(sql_chunk) + SQL_CHUNK) {
        arena->chunks->used = sizeof(sql_chunk);
        return;
    }
    sql_arena_free(arena);
}

static aiocosmos_str sql_str(const char *ptr, size_t len)
{
    aiocosmos_str text;
    text.ptr = ptr;
    text.len = len;
    return text;
}

static aiocosmos_str sql_copy_str(sql_arena *arena, aiocosmos_str text)
{
    char *copy = (char *)sql_alloc(arena, text.len + 1);
    if (text.len) memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return sql_str(copy, text.len);
}

/*------------------------------------------------------------------------------
 * MARK: - Characters
 *----------------------------------------------------------------------------*/

/* Strings are valid UTF-8; a byte that is not counts as a character of its own, so nothing here can loop or overrun. */
static uint32_t sql_character(const char **at, const char *end)
{
    const unsigned char *p = (const unsigned char *)*at;
    size_t left = (size_t)(end - *at);
    uint32_t c = p[0];
    size_t n = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4, i;
    if (n > left) n = 1;
    if (n > 1) {
        c &= 0x7fu >> n;
        for (i = 1; i < n; i++) c = c << 6 | (p[i] & 0x3fu);
    }
    *at += n;
    return c;
}

static size_t sql_encode(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* The service counts UTF-16 units, of which a character outside of the basic plane, four bytes in UTF-8, has two. */
static size_t sql_units(char first)
{
    unsigned char c = (unsigned char)first;
    return (c & 0xc0) == 0x80 ? 0 : c < 0xf0 ? 1 : 2;
}

static size_t sql_length(aiocosmos_str text)
{
    size_t i, n = 0;
    for (i = 0; i < text.len; i++) n += sql_units(text.ptr[i]);
    return n;
}

/* The byte where unit `index` starts; text.len past the end. No character is cut in half: between its two units is in
 * front of it. */
static size_t sql_offset(aiocosmos_str text, size_t index)
{
    size_t i = 0;
    for (; i < text.len; i++) {
        size_t units = sql_units(text.ptr[i]);
        if (units > index) break;
        if (units && (index -= units) == 0) {
            for (i++; i < text.len && sql_units(text.ptr[i]) == 0; i++) continue;
            break;
        }
    }
    return i;
}

/* Simple case mapping of Latin, Greek and Cyrillic; other scripts with case are left alone. */
static uint32_t sql_lower(uint32_t c)
{
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    if (c >= 0xc0 && c <= 0xde) return c == 0xd7 ? c : c + 32;
    if ((c >= 0x100 && c <= 0x12f) || (c >= 0x132 && c <= 0x137) || (c >= 0x14a && c <= 0x177)) return c | 1;
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e)) return c & 1 ? c + 1 : c;
    if (c == 0x178) return 0xff;
    if (c >= 0x391 && c <= 0x3ab && c != 0x3a2) return c + 32;
    if (c >= 0x410 && c <= 0x42f) return c + 32;
    if (c >= 0x400 && c <= 0x40f) return c + 80;
    return c;
}

static uint32_t sql_upper(uint32_t c)
{
    if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 32 : c;
    if (c >= 0xe0 && c <= 0xfe) return c == 0xf7 ? c : c - 32;
    if (c == 0xff) return 0x178;
    if (c == 0x131 || c == 0x138 || c == 0x149 || c == 0x17f) return c;
    if ((c >= 0x100 && c <= 0x137) || (c >= 0x14a && c <= 0x177)) return c & ~1u;
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e)) return c & 1 ? c : c - 1;
    if (c >= 0x3b1 && c <= 0x3cb && c != 0x3c2) return c - 32;
    if (c >= 0x430 && c <= 0x44f) return c - 32;
    if (c >= 0x450 && c <= 0x45f) return c - 80;
    return c;
}

static aiocosmos_str sql_map_case(sql_arena *arena, aiocosmos_str text, uint32_t (*map)(uint32_t))
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    char *out = (char *)sql_alloc(arena, text.len * 2 + 4);    /* ÿ ↔ Ÿ and the like change length by one at most */
    size_t n = 0;
    while (at < end) n += sql_encode(map(sql_character(&at, end)), out + n);
    return sql_str(out, n);
}

/*------------------------------------------------------------------------------
 * MARK: - Values
 *----------------------------------------------------------------------------*/

static void sql_set_undefined(sql_value *out)
{
    memset(out, 0, sizeof *out);
}

static void sql_set_bool(sql_value *out, bool truth)
{
    sql_set_undefined(out);
    out->type = SQL_BOOL;
    out->truth = truth;
}

static void sql_set_integer(sql_value *out, int64_t integer)
{
    sql_set_undefined(out);
    out->type = SQL_NUMBER;
    out->whole = true;
    out->as.number.integer = integer;
    out->as.number.real = (double)integer;
}

/* Arithmetic is the service's: IEEE doubles. Small whole results are marked, which makes them exact as an int64 too. */
static void sql_set_number(sql_value *out, double real)
{
    sql_set_undefined(out);
    out->type = SQL_NUMBER;
    out->as.number.real = real;
    if (real >= -9007199254740992.0 && real <= 9007199254740992.0 && real == (double)(int64_t)real) {
        out->whole = true;
        out->as.number.integer = (int64_t)real;
    }
}

static void sql_set_string(sql_value *out, aiocosmos_str string)
{
    sql_set_undefined(out);
    out->type = SQL_STRING;
    out->as.string = string;
}

static void sql_set_members(sql_value *out, sql_arena *arena, sql_type type, size_t cap)
{
    sql_members *members = (sql_members *)sql_zalloc(arena, sizeof *members);
    members->cap = cap;
    if (cap) {
        members->values = (sql_value *)sql_alloc(arena, cap * sizeof(sql_value));
        if (type == SQL_OBJECT) members->names = (aiocosmos_str *)sql_alloc(arena, cap * sizeof(aiocosmos_str));
    }
    sql_set_undefined(out);
    out->type = (uint8_t)type;
    out->as.members = members;
}

static void sql_append(sql_arena *arena, sql_value *container, aiocosmos_str name, const sql_value *value)
{
    sql_members *members = container->as.members;
    if (value->type == SQL_UNDEFINED) return;              /* undefined is left out, everywhere */
    if (members->count == members->cap) {
        size_t cap = members->cap ? members->cap * 2 : 8;
        sql_value *values = (sql_value *)sql_alloc(arena, cap * sizeof *values);
        if (members->count) memcpy(values, members->values, members->count * sizeof *values);
        if (container->type == SQL_OBJECT) {
            aiocosmos_str *names = (aiocosmos_str *)sql_alloc(arena, cap * sizeof *names);
            if (members->count) memcpy(names, members->names, members->count * sizeof *names);
            members->names = names;
        }
        members->values = values;
        members->cap = cap;
    }
    if (container->type == SQL_OBJECT) members->names[members->count] = name;
    members->values[members->count++] = *value;
}

static void sql_append_element(sql_arena *arena, sql_value *array, const sql_value *value)
{
    sql_append(arena, array, sql_str(NULL, 0), value);
}

/* The text of a JSON string without quotes, escapes undone. */
static aiocosmos_str sql_unescape(sql_arena *arena, aiocosmos_json json)
{
    aiocosmos_str raw = sql_str(json.ptr + 1, json.len - 2);
    char *copy;
    if (!raw.len || !memchr(raw.ptr, '\\', raw.len)) return raw;
    copy = (char *)sql_alloc(arena, json.len);
    return sql_str(copy, aioc_json_get_str(json, copy, json.len));
}

static void sql_read(sql_arena *arena, aiocosmos_json json, sql_value *out)
{
    sql_set_undefined(out);
    out->text = sql_str(json.ptr, json.len);
    switch (json.type) {
    case AIOCOSMOS_JSON_NULL:
        out->type = SQL_NULL;
        break;
    case AIOCOSMOS_JSON_BOOL:
        out->type = SQL_BOOL;
        out->truth = json.ptr[0] == 't';
        break;
    case AIOCOSMOS_JSON_NUM:
        out->type = SQL_NUMBER;
        out->whole = aioc_json_get_i64(json, &out->as.number.integer);
        if (out->whole) out->as.number.real = (double)out->as.number.integer;
        else if (!aioc_json_get_f64(json, &out->as.number.real))
            out->as.number.real = json.ptr[0] == '-' ? -HUGE_VAL : HUGE_VAL;
        break;
    case AIOCOSMOS_JSON_STR:
        out->type = SQL_STRING;
        out->as.string = sql_unescape(arena, json);
        break;
    case AIOCOSMOS_JSON_ARR:
    case AIOCOSMOS_JSON_OBJ:
        out->type = json.type == AIOCOSMOS_JSON_ARR ? SQL_ARRAY : SQL_OBJECT;
        out->on_tape = true;
        out->as.node = json.node;
        break;
    default:
        out->text.ptr = NULL;
    }
}

static aiocosmos_json sql_json(const sql_value *value)
{
    aiocosmos_json json;
    json.node = value->as.node;
    json.ptr = value->text.ptr;
    json.len = value->text.len;
    json.type = value->type == SQL_ARRAY ? AIOCOSMOS_JSON_ARR : AIOCOSMOS_JSON_OBJ;
    return json;
}

/* Walks an array or an object. Start with a zeroed cursor. */
typedef struct sql_cursor {
    size_t index;
    aiocosmos_json json;
} sql_cursor;

static bool sql_next(sql_arena *arena, const sql_value *container, sql_cursor *cursor,
                     aiocosmos_str *name, sql_value *value)
{
    sql_spend(arena->env, 1);
    if (container->on_tape) {
        aiocosmos_json key;
        if (!aioc_json_next(sql_json(container), &key, &cursor->json)) return false;
        if (name && container->type == SQL_OBJECT) *name = sql_unescape(arena, key);
        sql_read(arena, cursor->json, value);
        return true;
    }
    if (cursor->index == container->as.members->count) return false;
    if (name && container->type == SQL_OBJECT) *name = container->as.members->names[cursor->index];
    *value = container->as.members->values[cursor->index++];
    return true;
}

static size_t sql_count(const sql_value *container)
{
    return container->on_tape ? aioc_json_count(sql_json(container)) : container->as.members->count;
}

/* Of properties named twice the last counts, as in JSON readers everywhere. */
static void sql_property(sql_arena *arena, const sql_value *object, aiocosmos_str name, sql_value *out)
{
    if (object->type == SQL_OBJECT && object->on_tape) {
        aiocosmos_json container = sql_json(object), key, value, found;
        size_t looked_at = 1;
        memset(&value, 0, sizeof value);
        memset(&found, 0, sizeof found);
        while (aioc_json_next(container, &key, &value)) {
            if (key.len == name.len + 2 && memcmp(key.ptr + 1, name.ptr, name.len) == 0 &&
                (!name.len || !memchr(name.ptr, '\\', name.len))) {
                found = value;
            } else if (key.len > name.len + 2 && memchr(key.ptr + 1, '\\', key.len - 2) &&
                       aioc_mem_same(sql_unescape(arena, key), name)) {
                found = value;
            }
            looked_at++;
        }
        sql_spend(arena->env, looked_at);
        sql_read(arena, found, out);
        return;
    }
    if (object->type == SQL_OBJECT) {
        const sql_members *members = object->as.members;
        size_t i = members->count;
        while (i-- > 0) {
            if (!aioc_mem_same(members->names[i], name)) continue;
            *out = members->values[i];
            return;
        }
    }
    sql_set_undefined(out);
}

static void sql_element(sql_arena *arena, const sql_value *array, const sql_value *index, sql_value *out)
{
    if (array->type == SQL_ARRAY && index->whole && index->as.number.integer >= 0) {
        uint64_t wanted = (uint64_t)index->as.number.integer, i;
        sql_cursor cursor;
        memset(&cursor, 0, sizeof cursor);
        if (!array->on_tape && wanted < array->as.members->count) {
            *out = array->as.members->values[wanted];
            return;
        }
        for (i = 0; array->on_tape && sql_next(arena, array, &cursor, NULL, out); i++)
            if (i == wanted) return;
    }
    sql_set_undefined(out);
}

static int sql_compare_whole(int64_t a, double b)
{
    int64_t whole;
    if (b >= 9223372036854775808.0) return -1;
    if (b < -9223372036854775808.0) return 1;
    whole = (int64_t)b;
    if (a != whole) return a < whole ? -1 : 1;
    return b > (double)whole ? -1 : b < (double)whole;
}

/* Exact, also between an int64 and a double, so that it is a total order. NaN has a fixed place before all others. */
static int sql_compare_numbers(const sql_value *a, const sql_value *b)
{
    double x = a->as.number.real, y = b->as.number.real;
    if (a->whole && b->whole)
        return a->as.number.integer < b->as.number.integer ? -1 : a->as.number.integer > b->as.number.integer;
    if (isnan(x) || isnan(y)) return (isnan(y) ? 1 : 0) - (isnan(x) ? 1 : 0);
    if (a->whole) return sql_compare_whole(a->as.number.integer, y);
    if (b->whole) return -sql_compare_whole(b->as.number.integer, x);
    return x < y ? -1 : x > y;
}

/* By UTF-16 units, as the SDKs that merge partitions do: unlike in UTF-8, what is outside of the basic plane comes before
 * U+E000 to U+FFFF, whose first bytes are 0xEE and 0xEF. */
static int sql_compare_strings(aiocosmos_str a, aiocosmos_str b)
{
    size_t n = a.len < b.len ? a.len : b.len, i;
    for (i = 0; i < n && a.ptr[i] == b.ptr[i]; i++) continue;
    if (i < n) {
        unsigned char x = (unsigned char)a.ptr[i], y = (unsigned char)b.ptr[i];
        return (x < y) != (x >= 0xEE && y >= 0xEE && (x < 0xF0) != (y < 0xF0)) ? -1 : 1;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

/* Two values of the same type, null, bool, number or string. */
static int sql_compare_primitives(const sql_value *a, const sql_value *b)
{
    switch (a->type) {
    case SQL_BOOL: return (int)a->truth - (int)b->truth;
    case SQL_NUMBER: return sql_compare_numbers(a, b);
    case SQL_STRING: return sql_compare_strings(a->as.string, b->as.string);
    default: return 0;
    }
}

/* JSON equality: numbers by value, properties in any order. Undefined equals undefined here; operators look before. */
bool sql_equal(sql_arena *arena, const sql_value *a, const sql_value *b)
{
    sql_cursor at_a, at_b;
    sql_value x, y;
    aiocosmos_str name;
    if (a->type != b->type) return false;
    if (a->type < SQL_ARRAY) return sql_compare_primitives(a, b) == 0;   /* and NaN is NaN: in a set it is there once */
    sql_spend(arena->env, 1);
    memset(&at_a, 0, sizeof at_a);
    memset(&at_b, 0, sizeof at_b);
    if (a->type == SQL_ARRAY) {
        for (;;) {
            bool more = sql_next(arena, a, &at_a, NULL, &x);
            if (more != sql_next(arena, b, &at_b, NULL, &y)) return false;
            if (!more) return true;
            if (!sql_equal(arena, &x, &y)) return false;
        }
    }
    if (sql_count(a) != sql_count(b)) return false;
    while (sql_next(arena, a, &at_a, &name, &x)) {
        sql_property(arena, b, name, &y);
        sql_spend(arena->env, sql_count(b));
        if (!sql_equal(arena, &x, &y)) return false;
    }
    return true;
}

static uint64_t sql_mix(uint64_t hash, uint64_t more)
{
    hash ^= more + 0x9e3779b97f4a7c15u;
    hash ^= hash >> 30;
    hash *= 0xbf58476d1ce4e5b9u;
    hash ^= hash >> 27;
    hash *= 0x94d049bb133111ebu;
    return hash ^ hash >> 31;
}

static uint64_t sql_hash_bytes(aiocosmos_str text)
{
    uint64_t hash = sql_mix(text.len, 0), word;
    size_t i;
    for (i = 0; i + 8 <= text.len; i += 8) {
        memcpy(&word, text.ptr + i, 8);
        hash = sql_mix(hash, word);
    }
    if (i == text.len) return hash;
    word = 0;
    memcpy(&word, text.ptr + i, text.len - i);
    return sql_mix(hash, word);
}

/* Equal values have equal hashes. */
static uint64_t sql_hash(sql_arena *arena, const sql_value *value)
{
    uint64_t hash = value->type, bits;
    double real;
    sql_cursor cursor;
    sql_value member;
    aiocosmos_str name;
    switch (value->type) {
    case SQL_BOOL:
        return sql_mix(hash, value->truth);
    case SQL_NUMBER:
        real = value->as.number.real + 0.0;                /* -0 + 0 is 0 */
        memcpy(&bits, &real, sizeof bits);
        return sql_mix(hash, isnan(real) ? 1 : bits);
    case SQL_STRING:
        return sql_mix(hash, sql_hash_bytes(value->as.string));
    case SQL_ARRAY:
        memset(&cursor, 0, sizeof cursor);
        while (sql_next(arena, value, &cursor, NULL, &member)) hash = sql_mix(hash, sql_hash(arena, &member));
        return hash;
    case SQL_OBJECT:                                       /* a sum: the order of the properties is none */
        memset(&cursor, 0, sizeof cursor);
        while (sql_next(arena, value, &cursor, &name, &member))
            hash += sql_mix(sql_hash_bytes(name), sql_hash(arena, &member));
        return sql_mix(hash, SQL_OBJECT);
    default:
        return sql_mix(hash, 0);
    }
}

/*------------------------------------------------------------------------------
 * MARK: - The order of arrays and objects
 *
 * ORDER BY puts them in the order of a 128-bit hash, of no use to anybody but that it is fixed, and that a client can
 * say where it left off. It is the hash by which the .NET SDK tells distinct values apart, because that is what such a
 * client sends back: MurmurHash3 of 16 bytes at a time, each seeded with the hash before it.
 *
 *     hash(value)         = hash(value, root)
 *     hash(null, seed)    = murmur(NULL, seed); false and true likewise
 *     hash(number, seed)  = murmur(its 80 bits, murmur(NUMBER, seed))
 *     hash(string, seed)  = murmur(its UTF-8, murmur(STRING, seed))
 *     hash(array, seed)   = h = murmur(ARRAY, seed), then for each element h = murmur(hash(element, INDEX + i), h)
 *     hash(object, seed)  = h = murmur(OBJECT, seed), all = 0, then for each property
 *                           all ^= hash(value, murmur(name, murmur(STRING, NAME)));
 *                           at last murmur(all, h), or h alone if all is 0
 *----------------------------------------------------------------------------*/

typedef struct sql_hash128 { uint64_t low, high; } sql_hash128;

static const sql_hash128 sql_seed_root = {0xbfc2359eafc0e2b7u, 0x8846e00284c4cf1fu};
static const sql_hash128 sql_seed_null = {0x1380f68bb3b0cfe4u, 0x156c918bf564ee48u};
static const sql_hash128 sql_seed_false = {0xc1be517fe893b40cu, 0xe9fc8a4c531cd0ddu};
static const sql_hash128 sql_seed_true = {0xf86d4abf9a412e74u, 0x788488365c8a985du};
static const sql_hash128 sql_seed_number = {0x2400e8b894ce9c2au, 0x790be1eabd7b9481u};
static const sql_hash128 sql_seed_string = {0x61f53f0a44204cfbu, 0x09481be8ef4b56ddu};
static const sql_hash128 sql_seed_array = {0xfa573b014c4dc18eu, 0xa014512c858eb115u};
static const sql_hash128 sql_seed_object = {0x77b285ac511aef30u, 0x3dcf187245822449u};
static const sql_hash128 sql_seed_index = {0xfe057204216db999u, 0x5b1cc3178bd9c593u};
static const sql_hash128 sql_seed_name = {0xc915dde058492a8au, 0x7c8be2eba72e4634u};

/* MurmurHash3, x64, 128 bits, with a seed for each half. */
static sql_hash128 sql_murmur(const void *data, size_t len, sql_hash128 seed)
{
    const uint64_t c1 = 0x87c37b91114253d5u, c2 = 0x4cf5ad432745937fu;
    const unsigned char *at = (const unsigned char *)data;
    uint64_t h1 = seed.low, h2 = seed.high, k1 = 0, k2 = 0;
    size_t left = len, i;
    for (; left >= 16; left -= 16, at += 16) {
        h1 ^= aioc_protocol_rotl64(aioc_text_load64le(at) * c1, 31) * c2;
        h1 = (aioc_protocol_rotl64(h1, 27) + h2) * 5 + 0x52dce729u;
        h2 ^= aioc_protocol_rotl64(aioc_text_load64le(at + 8) * c2, 33) * c1;
        h2 = (aioc_protocol_rotl64(h2, 31) + h1) * 5 + 0x38495ab5u;
    }
    for (i = left; i > 8; i--) k2 = k2 << 8 | at[i - 1];
    for (i = left < 8 ? left : 8; i > 0; i--) k1 = k1 << 8 | at[i - 1];
    h2 ^= aioc_protocol_rotl64(k2 * c2, 33) * c1;
    h1 ^= aioc_protocol_rotl64(k1 * c1, 31) * c2;
    h1 ^= len;
    h2 ^= len;
    h1 += h2;
    h2 += h1;
    h1 = aioc_protocol_murmur3_mix(h1);
    h2 = aioc_protocol_murmur3_mix(h2);
    h1 += h2;
    seed.low = h1;
    seed.high = h2 + h1;
    return seed;
}

static sql_hash128 sql_murmur_of(sql_hash128 value, sql_hash128 seed)
{
    unsigned char bytes[16];
    aioc_text_store64le(bytes, value.low);
    aioc_text_store64le(bytes + 8, value.high);
    return sql_murmur(bytes, sizeof bytes, seed);
}

/* A double, and behind it the ten bits that an int64 may have beyond its 53. */
static void sql_number_bits(const sql_value *value, unsigned char bits[10])
{
    int64_t whole = value->as.number.integer;
    double real = value->as.number.real + 0.0;             /* -0 is 0 */
    uint64_t size = whole < 0 ? 0 - (uint64_t)whole : (uint64_t)whole, exact;
    unsigned more = 0;
    int top = 63;
    memcpy(&exact, &real, sizeof exact);
    if (value->whole && size >> 53 && whole != INT64_MIN) {
        while (!(size >> top)) top--;
        if ((size << (63 - top)) & 0x7ffu) {               /* more than 53 bits from the first to the last */
            uint64_t mantissa = size << (62 - top) & 0x3fffffffffffffffu;
            more = (unsigned)(mantissa & 0x3ffu) << 6;
            exact = ((uint64_t)top + 1023) << 52 | mantissa >> 10 | (whole < 0 ? (uint64_t)1 << 63 : 0);
        }
    }
    aioc_text_store64le(bits, exact);
    bits[8] = (unsigned char)(more & 255u);
    bits[9] = (unsigned char)(more >> 8);
}

static sql_hash128 sql_hash_value(sql_arena *arena, const sql_value *value, sql_hash128 seed)
{
    sql_hash128 hash, all = {0, 0}, one;
    unsigned char bits[10];
    sql_cursor cursor;
    sql_value member;
    aiocosmos_str name;
    uint64_t i;
    memset(&cursor, 0, sizeof cursor);
    switch (value->type) {
    case SQL_NULL: return sql_murmur_of(sql_seed_null, seed);
    case SQL_BOOL: return sql_murmur_of(value->truth ? sql_seed_true : sql_seed_false, seed);
    case SQL_NUMBER:
        sql_number_bits(value, bits);
        return sql_murmur(bits, sizeof bits, sql_murmur_of(sql_seed_number, seed));
    case SQL_STRING:
        return sql_murmur(value->as.string.ptr, value->as.string.len, sql_murmur_of(sql_seed_string, seed));
    case SQL_ARRAY:
        hash = sql_murmur_of(sql_seed_array, seed);
        for (i = 0; sql_next(arena, value, &cursor, NULL, &member); i++) {
            one = sql_seed_index;
            one.low += i;
            one.high += one.low < i;
            hash = sql_murmur_of(sql_hash_value(arena, &member, one), hash);
        }
        return hash;
    case SQL_OBJECT:
        hash = sql_murmur_of(sql_seed_object, seed);
        while (sql_next(arena, value, &cursor, &name, &member)) {
            one = sql_murmur(name.ptr, name.len, sql_murmur_of(sql_seed_string, sql_seed_name));
            one = sql_hash_value(arena, &member, one);
            all.low ^= one.low;
            all.high ^= one.high;
        }
        return all.low || all.high ? sql_murmur_of(all, hash) : hash;
    default: return seed;
    }
}

static int sql_compare_hashes(sql_hash128 a, sql_hash128 b)
{
    if (a.high != b.high) return a.high < b.high ? -1 : 1;
    return a.low < b.low ? -1 : a.low > b.low;
}

/* The order of ORDER BY, over all types. */
static int sql_order(sql_arena *arena, const sql_value *a, const sql_value *b)
{
    if (a->type != b->type) return a->type < b->type ? -1 : 1;
    if (a->type < SQL_ARRAY) return sql_compare_primitives(a, b);
    return sql_compare_hashes(sql_hash_value(arena, a, sql_seed_root), sql_hash_value(arena, b, sql_seed_root));
}

static void sql_keep_into(sql_arena *from, sql_arena *to, const sql_value *value, aiocosmos_str old,
                          aiocosmos_str copied, sql_value *out);

/* A copy that owes nothing to the document or the arena that the value came from. */
static void sql_keep(sql_arena *from, sql_arena *to, const sql_value *value, sql_value *out)
{
    aiocosmos_str copied = value->text.ptr ? sql_copy_str(to, value->text) : sql_str(NULL, 0);
    sql_keep_into(from, to, value, value->text, copied, out);
}

/* `copied` is the copy of `old`, the JSON text that the value, or one around it, was read from. */
static void sql_keep_into(sql_arena *from, sql_arena *to, const sql_value *value, aiocosmos_str old,
                          aiocosmos_str copied, sql_value *out)
{
    *out = *value;
    if (value->text.ptr && old.ptr) out->text.ptr = copied.ptr + (value->text.ptr - old.ptr);
    if (value->type == SQL_STRING) {
        if (out->text.ptr && value->as.string.ptr == value->text.ptr + 1) out->as.string.ptr = out->text.ptr + 1;
        else out->as.string = sql_copy_str(to, value->as.string);
    } else if (value->type >= SQL_ARRAY) {
        sql_cursor cursor;
        sql_value member, kept;
        aiocosmos_str name = sql_str(NULL, 0);
        memset(&cursor, 0, sizeof cursor);
        sql_set_members(out, to, (sql_type)value->type, sql_count(value));
        if (value->text.ptr) out->text = sql_str(copied.ptr + (value->text.ptr - old.ptr), value->text.len);
        while (sql_next(from, value, &cursor, &name, &member)) {
            if (value->text.ptr) sql_keep_into(from, to, &member, old, copied, &kept);
            else sql_keep(from, to, &member, &kept);
            sql_append(to, out, name.ptr ? sql_copy_str(to, name) : name, &kept);
        }
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Values to JSON text
 *----------------------------------------------------------------------------*/

void sql_put(sql_env *env, aioc_mem_buffer *buffer, const char *text, size_t len)
{
    if (!aioc_mem_append(&env->memory, buffer, text, len)) sql_fail_memory(env);
}

void sql_put_string(sql_env *env, aioc_mem_buffer *buffer, aiocosmos_str text)
{
    if (!aioc_json_append_string(&env->memory, buffer, text.ptr, text.len, false)) sql_fail_memory(env);
}

static size_t sql_number_text(const sql_value *value, char out[AIOC_JSON_NUMBER_MAX])
{
    double real = value->as.number.real;
    if (value->whole) return aioc_json_i64_write(value->as.number.integer, out);
    if (isnan(real)) return (size_t)snprintf(out, AIOC_JSON_NUMBER_MAX, "NaN");
    if (isinf(real)) return (size_t)snprintf(out, AIOC_JSON_NUMBER_MAX, "%sInfinity", real < 0 ? "-" : "");
    return aioc_json_number_write(real, out);
}

/* JSON has no NaN and no infinity: the service's writer puts their names in quotes. `fresh`: numbers, strings and
 * spacing as ToString writes them, not as they stand in the document. */
void sql_render(sql_arena *arena, aioc_mem_buffer *buffer, const sql_value *value, bool fresh)
{
    sql_env *env = arena->env;
    char number[AIOC_JSON_NUMBER_MAX + 2];
    sql_cursor cursor;
    sql_value member;
    aiocosmos_str name;
    bool some = false;
    if (value->text.ptr && !fresh) {
        sql_put(env, buffer, value->text.ptr, value->text.len);
        return;
    }
    switch (value->type) {
    case SQL_NULL:
        sql_put(env, buffer, "null", 4);
        break;
    case SQL_BOOL:
        sql_put(env, buffer, value->truth ? "true" : "false", value->truth ? 4 : 5);
        break;
    case SQL_NUMBER:
        if (value->whole || isfinite(value->as.number.real))
            sql_put(env, buffer, number, sql_number_text(value, number));
        else sql_put_string(env, buffer, sql_str(number, sql_number_text(value, number)));
        break;
    case SQL_STRING:
        sql_put_string(env, buffer, value->as.string);
        break;
    case SQL_ARRAY:
    case SQL_OBJECT:
        memset(&cursor, 0, sizeof cursor);
        sql_put(env, buffer, value->type == SQL_ARRAY ? "[" : "{", 1);
        while (sql_next(arena, value, &cursor, &name, &member)) {
            if (some) sql_put(env, buffer, ",", 1);
            if (value->type == SQL_OBJECT) {
                sql_put_string(env, buffer, name);
                sql_put(env, buffer, ":", 1);
            }
            sql_render(arena, buffer, &member, fresh);
            some = true;
        }
        sql_put(env, buffer, value->type == SQL_ARRAY ? "]" : "}", 1);
        break;
    default:
        break;
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Words
 *----------------------------------------------------------------------------*/

typedef enum sql_token_kind {
    SQL_T_END, SQL_T_WORD, SQL_T_NUMBER, SQL_T_STRING, SQL_T_PARAMETER, SQL_T_PUNCTUATION
} sql_token_kind;

/* Reserved words, in the order of sql_words. TRUE and the like are not among them: the service knows only true, false,
 * null and undefined in lower case, anything else is a name. */
typedef enum sql_word {
    SQL_W_NONE, SQL_W_AND, SQL_W_ARRAY, SQL_W_AS, SQL_W_ASC, SQL_W_BETWEEN, SQL_W_BY, SQL_W_DESC, SQL_W_DISTINCT,
    SQL_W_ESCAPE, SQL_W_EXISTS, SQL_W_FROM, SQL_W_GROUP, SQL_W_IN, SQL_W_JOIN, SQL_W_LIKE, SQL_W_LIMIT, SQL_W_NOT,
    SQL_W_OFFSET, SQL_W_OR, SQL_W_ORDER, SQL_W_SELECT, SQL_W_TOP, SQL_W_VALUE, SQL_W_WHERE, SQL_W_COUNT
} sql_word;

static const char *const sql_words[SQL_W_COUNT] = {
    "", "AND", "ARRAY", "AS", "ASC", "BETWEEN", "BY", "DESC", "DISTINCT", "ESCAPE", "EXISTS", "FROM", "GROUP", "IN",
    "JOIN", "LIKE", "LIMIT", "NOT", "OFFSET", "OR", "ORDER", "SELECT", "TOP", "VALUE", "WHERE"
};

typedef struct sql_token {
    sql_token_kind kind;
    sql_word word;
    size_t start, end;
    aiocosmos_str text;                /* as written; a string's value, undone */
    char mark[4];                      /* PUNCTUATION: what it is */
} sql_token;

typedef struct sql_parser {
    emu_sql_query *query;
    sql_env *env;
    sql_arena *arena;
    size_t at;
    sql_token token;                   /* the one to be looked at next */
    size_t last_end;                   /* where the one before it ended */
    aiocosmos_json parameters;
    uint32_t depth;
    sql_select *select;                /* the innermost being parsed */
} sql_parser;

/* The service's positions count UTF-16 units. */
static size_t sql_position(const emu_sql_query *query, size_t byte)
{
    size_t i, n = 0;
    for (i = 0; i < byte && i < query->len; i++) {
        unsigned char c = (unsigned char)query->text[i];
        n += ((c & 0xc0) != 0x80) + (size_t)(c >= 0xf0);
    }
    return n;
}

#define sql_fail_at(PARSER, CODE, START, END, ...) \
    sql_fail((PARSER)->env, CODE, sql_position((PARSER)->query, START), sql_position((PARSER)->query, END), __VA_ARGS__)

/* How much of a text is quoted in a message, so that it ends with a whole character. */
static int sql_quote_len(const char *text, size_t len)
{
    if (len > 100) {
        len = 100;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) len--;
    }
    return (int)len;
}

static void sql_fail_near(sql_parser *parser, const sql_token *token) __attribute__((noreturn));
static void sql_fail_near(sql_parser *parser, const sql_token *token)
{
    const char *text = parser->query->text + token->start;
    if (token->kind == SQL_T_END)
        sql_fail_at(parser, "SC1002", token->start, token->start, "Syntax error, unexpected end-of-file.");
    sql_fail_at(parser, "SC1001", token->start, token->end, "Syntax error, incorrect syntax near '%.*s'.",
                sql_quote_len(text, token->end - token->start), text);
}

static bool sql_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool sql_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static int sql_hex(char c)
{
    if (sql_is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static size_t sql_skip_blanks(const char *text, size_t at, size_t len)
{
    for (;;) {
        while (at < len && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n')) at++;
        if (at + 1 < len && text[at] == '-' && text[at + 1] == '-') {
            while (at < len && text[at] != '\n') at++;
        } else if (at + 1 < len && text[at] == '/' && text[at + 1] == '*') {
            at += 2;
            while (at + 1 < len && !(text[at] == '*' && text[at + 1] == '/')) at++;
            at = at + 1 < len ? at + 2 : len;
        } else {
            return at;
        }
    }
}

static bool sql_hex4(const char *text, size_t at, size_t len, uint32_t *out)
{
    size_t i;
    *out = 0;
    for (i = 0; i < 4; i++) {
        if (at + i >= len || sql_hex(text[at + i]) < 0) return false;
        *out = *out << 4 | (uint32_t)sql_hex(text[at + i]);
    }
    return true;
}

/* \uXXXX at `at`, after the u, with the second half of a pair. Half a pair alone becomes U+FFFD. SIZE_MAX: bad. */
static size_t sql_lex_unicode(const char *text, size_t at, size_t len, uint32_t *c)
{
    uint32_t low;
    if (!sql_hex4(text, at, len, c)) return SIZE_MAX;
    at += 4;
    if (*c >= 0xd800 && *c < 0xdc00 && at + 1 < len && text[at] == '\\' && text[at + 1] == 'u' &&
        sql_hex4(text, at + 2, len, &low) && low >= 0xdc00 && low < 0xe000) {
        *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
        return at + 6;
    }
    if (*c >= 0xd800 && *c < 0xe000) *c = 0xfffd;
    return at;
}

static void sql_lex_string(sql_parser *parser, sql_token *token)
{
    static const char escapes[] = "\"'\\/bfnrt", values[] = "\"'\\/\b\f\n\r\t";
    const char *text = parser->query->text, *known;
    size_t len = parser->query->len, at = token->start + 1, n = 0, end = at;
    uint32_t c;
    char quote = text[token->start], *out;
    while (end < len && text[end] != quote) end += text[end] == '\\' ? 2 : 1;
    if (end > len) end = len;
    out = (char *)sql_alloc(parser->arena, end - at + 1);
    while (at < len && text[at] != quote) {
        if (text[at] != '\\') {
            out[n++] = text[at++];
        } else if (at + 1 < len && text[at + 1] && (known = strchr(escapes, text[at + 1])) != NULL) {
            out[n++] = values[known - escapes];
            at += 2;
        } else if (at + 1 < len && text[at + 1] == 'u' && sql_lex_unicode(text, at + 2, len, &c) != SIZE_MAX) {
            at = sql_lex_unicode(text, at + 2, len, &c);
            n += sql_encode(c, out + n);
        } else {
            break;
        }
    }
    if (at >= len || text[at] != quote) {
        if (end < len) end++;
        sql_fail_at(parser, "SC1012", token->start, end, "Syntax error, invalid string literal token '%.*s'.",
                    sql_quote_len(text + token->start, end - token->start), text + token->start);
    }
    token->kind = SQL_T_STRING;
    token->text = sql_str(out, n);
    token->end = at + 1;
}

static void sql_lex_number(sql_parser *parser, sql_token *token)
{
    const char *text = parser->query->text;
    size_t len = parser->query->len, at = token->start, digits;
    token->kind = SQL_T_NUMBER;
    if (text[at] == '0' && at + 2 < len && (text[at + 1] | 32) == 'x' && sql_hex(text[at + 2]) >= 0) {
        for (at += 2; at < len && sql_hex(text[at]) >= 0; at++) continue;
    } else {
        while (at < len && sql_is_digit(text[at])) at++;
        if (at < len && text[at] == '.') at++;
        while (at < len && sql_is_digit(text[at])) at++;
        if (at < len && (text[at] | 32) == 'e') {
            digits = at + 1;
            if (digits < len && (text[digits] == '+' || text[digits] == '-')) digits++;
            if (digits < len && sql_is_digit(text[digits])) {
                for (at = digits; at < len && sql_is_digit(text[at]); at++) continue;
            }
        }
    }
    if (at < len && sql_is_letter(text[at])) {
        while (at < len && (sql_is_letter(text[at]) || sql_is_digit(text[at]))) at++;
        sql_fail_at(parser, "SC1011", token->start, at, "Syntax error, invalid numeric value token '%.*s'.",
                    sql_quote_len(text + token->start, at - token->start), text + token->start);
    }
    token->end = at;
    token->text = sql_str(text + token->start, at - token->start);
}

static void sql_lex_word(sql_parser *parser, sql_token *token)
{
    const char *text = parser->query->text;
    size_t len = parser->query->len, at = token->start;
    int word;
    token->kind = text[at] == '@' ? SQL_T_PARAMETER : SQL_T_WORD;
    for (at++; at < len && (sql_is_letter(text[at]) || sql_is_digit(text[at])); at++) continue;
    token->end = at;
    token->text = sql_str(text + token->start, at - token->start);
    for (word = 1; word < SQL_W_COUNT && token->kind == SQL_T_WORD; word++)
        if (aioc_mem_same_nocase(token->text, aioc_mem_str(sql_words[word]))) token->word = (sql_word)word;
}

static void sql_lex_punctuation(sql_parser *parser, sql_token *token)
{
    static const char *const marks[] = {
        ">>>", "<<", ">>", "<=", ">=", "<>", "!=", "||", "??", "(", ")", "[", "]", "{", "}", ",", ".", ":", "?", "=",
        "<", ">", "+", "-", "*", "/", "%", "&", "|", "^", "~"
    };
    const char *text = parser->query->text + token->start, *end = parser->query->text + parser->query->len;
    const char *next = text;
    size_t i, left = (size_t)(end - text);
    token->kind = SQL_T_PUNCTUATION;
    for (i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        size_t n = strlen(marks[i]);
        if (n > left || memcmp(marks[i], text, n) != 0) continue;
        memcpy(token->mark, marks[i], n);
        token->end = token->start + n;
        return;
    }
    sql_character(&next, end);
    sql_fail_at(parser, "SC1010", token->start, token->start + (size_t)(next - text),
                "Syntax error, invalid token '%.*s'.",
                (int)(next - text), text);
}

/* Reads the next token into parser->token. */
static void sql_advance(sql_parser *parser)
{
    const char *text = parser->query->text;
    size_t len = parser->query->len;
    sql_token *token = &parser->token;
    char c;
    parser->last_end = token->end;
    memset(token, 0, sizeof *token);
    token->start = token->end = parser->at = sql_skip_blanks(text, parser->at, len);
    if (parser->at >= len) return;
    c = text[parser->at];
    if (c == '"' || c == '\'') sql_lex_string(parser, token);
    else if (sql_is_digit(c) || (c == '.' && parser->at + 1 < len && sql_is_digit(text[parser->at + 1])))
        sql_lex_number(parser, token);
    else if (sql_is_letter(c) || (c == '@' && parser->at + 1 < len && sql_is_letter(text[parser->at + 1])))
        sql_lex_word(parser, token);
    else sql_lex_punctuation(parser, token);
    parser->at = token->end;
}

static bool sql_at_word(const sql_parser *parser, sql_word word)
{
    return parser->token.kind == SQL_T_WORD && parser->token.word == word;
}

static bool sql_at_mark(const sql_parser *parser, const char *mark)
{
    return parser->token.kind == SQL_T_PUNCTUATION && strcmp(parser->token.mark, mark) == 0;
}

static bool sql_take_word(sql_parser *parser, sql_word word)
{
    if (!sql_at_word(parser, word)) return false;
    sql_advance(parser);
    return true;
}

static bool sql_take_mark(sql_parser *parser, const char *mark)
{
    if (!sql_at_mark(parser, mark)) return false;
    sql_advance(parser);
    return true;
}

static void sql_need_word(sql_parser *parser, sql_word word)
{
    if (!sql_take_word(parser, word)) sql_fail_near(parser, &parser->token);
}

static void sql_need_mark(sql_parser *parser, const char *mark)
{
    if (!sql_take_mark(parser, mark)) sql_fail_near(parser, &parser->token);
}

static aiocosmos_str sql_need_name(sql_parser *parser)
{
    aiocosmos_str name = parser->token.text;
    if (parser->token.kind != SQL_T_WORD || parser->token.word) sql_fail_near(parser, &parser->token);
    sql_advance(parser);
    return name;
}

/* What comes after the current token: "(" makes a call of a name. */
static bool sql_before_mark(const sql_parser *parser, char mark)
{
    size_t at = sql_skip_blanks(parser->query->text, parser->at, parser->query->len);
    return at < parser->query->len && parser->query->text[at] == mark;
}

/*------------------------------------------------------------------------------
 * MARK: - Expressions
 *----------------------------------------------------------------------------*/

static const sql_function *sql_find_function(aiocosmos_str name);

static sql_node *sql_parse_expression(sql_parser *parser);
static sql_select *sql_parse_select(sql_parser *parser, bool nested);

typedef struct sql_list {              /* of nodes, while their number is not known */
    sql_node **nodes;
    aiocosmos_str *names;
    uint32_t count, cap;
} sql_list;

static void sql_list_add(sql_parser *parser, sql_list *list, aiocosmos_str name, sql_node *node)
{
    if (list->count == list->cap) {
        uint32_t cap = list->cap ? list->cap * 2 : 4;
        sql_node **nodes = (sql_node **)sql_alloc(parser->arena, cap * sizeof *nodes);
        aiocosmos_str *names = (aiocosmos_str *)sql_alloc(parser->arena, cap * sizeof *names);
        if (list->count) {
            memcpy(nodes, list->nodes, list->count * sizeof *nodes);
            memcpy(names, list->names, list->count * sizeof *names);
        }
        list->nodes = nodes;
        list->names = names;
        list->cap = cap;
    }
    list->nodes[list->count] = node;
    list->names[list->count++] = name;
}

static void sql_too_deep(sql_parser *parser, size_t start)
{
    sql_fail_at(parser, "SC3004", start, parser->last_end,
                "The SQL query is nested too deeply. The allowed limit is %d levels.", EMU_SQL_DEPTH_MAX);
}

static void sql_enter(sql_parser *parser)
{
    if (++parser->depth > EMU_SQL_DEPTH_MAX) sql_too_deep(parser, parser->token.start);
}

static sql_node *sql_new_node(sql_parser *parser, sql_kind kind, size_t start)
{
    sql_node *node = (sql_node *)sql_zalloc(parser->arena, sizeof *node);
    node->kind = (uint8_t)kind;
    node->depth = 1;
    node->start = (uint32_t)start;
    node->end = (uint32_t)parser->last_end;
    return node;
}

/* A long chain of operators makes a deep tree without any recursion here, but evaluating it recurses. */
static void sql_adopt(sql_parser *parser, sql_node *node, const sql_list *list)
{
    uint32_t i;
    node->children = list->nodes;
    node->names = list->names;
    node->count = list->count;
    node->end = (uint32_t)parser->last_end;
    for (i = 0; i < list->count; i++)
        if (list->nodes[i]->depth >= node->depth) node->depth = (uint16_t)(list->nodes[i]->depth + 1);
    if (node->depth > 2 * EMU_SQL_DEPTH_MAX) sql_too_deep(parser, node->start);
}

static sql_node *sql_new_parent(sql_parser *parser, sql_kind kind, size_t start, sql_node *a, sql_node *b, sql_node *c)
{
    sql_node *node = sql_new_node(parser, kind, start);
    sql_list list;
    memset(&list, 0, sizeof list);
    sql_list_add(parser, &list, sql_str(NULL, 0), a);
    if (b) sql_list_add(parser, &list, sql_str(NULL, 0), b);
    if (c) sql_list_add(parser, &list, sql_str(NULL, 0), c);
    sql_adopt(parser, node, &list);
    return node;
}

static void sql_parse_list(sql_parser *parser, sql_list *list)
{
    do sql_list_add(parser, list, sql_str(NULL, 0), sql_parse_expression(parser));
    while (sql_take_mark(parser, ","));
}

/* "-" before a number belongs to it: a constant, whose text a row shows as written. */
static sql_node *sql_parse_number(sql_parser *parser)
{
    const sql_token *token = &parser->token;
    aiocosmos_str text = token->text;
    sql_node *node;
    double real = 0;
    size_t i, start = token->start;
    if (text.len > 2 && (text.ptr[1] | 32) == 'x') {
        for (i = 2; i < text.len; i++) real = real * 16 + sql_hex(text.ptr[i]);
    } else {                                               /* ".5" and "5." are not JSON */
        char *json = (char *)sql_alloc(parser->arena, text.len + 4);
        size_t n = 0;
        for (i = 0; i < text.len; i++) {
            if (text.ptr[i] == '.' && n == 0) json[n++] = '0';
            if (text.ptr[i] == '0' && n == 0 && i + 1 < text.len && sql_is_digit(text.ptr[i + 1])) continue;
            json[n++] = text.ptr[i];
            if (text.ptr[i] == '.' && (i + 1 == text.len || !sql_is_digit(text.ptr[i + 1]))) n--;
        }
        if (!aioc_json_number_parse(json, n, &real)) real = HUGE_VAL;
        if (n < 20 && !memchr(json, '.', n) && !memchr(json, 'e', n) && !memchr(json, 'E', n)) {
            uint64_t whole;
            if (aioc_text_parse_u64(sql_str(json, n), &whole) && whole <= INT64_MAX) {
                sql_advance(parser);
                node = sql_new_node(parser, SQL_CONSTANT, start);
                sql_set_integer(&node->value, (int64_t)whole);
                return node;
            }
        }
    }
    sql_advance(parser);
    node = sql_new_node(parser, SQL_CONSTANT, start);
    sql_set_number(&node->value, real);
    return node;
}

static sql_node *sql_parse_parameter(sql_parser *parser)
{
    size_t start = parser->token.start;
    aiocosmos_str name = parser->token.text;
    aiocosmos_json item, fields[2];
    static const char *const names[2] = {"name", "value"};
    sql_node *node;
    memset(&item, 0, sizeof item);
    while (aioc_json_next(parser->parameters, NULL, &item)) {
        sql_spend(parser->env, 1);
        aioc_json_fields(item, names, 2, fields);
        if (fields[0].type != AIOCOSMOS_JSON_STR) continue;
        if (!aioc_mem_same(sql_unescape(parser->arena, fields[0]), name)) continue;
        sql_advance(parser);
        node = sql_new_node(parser, SQL_CONSTANT, start);
        node->name = name;
        sql_read(parser->arena, fields[1], &node->value);
        return node;
    }
    sql_fail_at(parser, "SC2011", start, parser->token.end, "Parameter '%.*s' is not specified.",
                sql_quote_len(name.ptr, name.len), name.ptr);
}

static sql_node *sql_parse_subquery(sql_parser *parser, sql_kind kind, size_t start)
{
    sql_select *select = sql_parse_select(parser, true);
    sql_node *node;
    sql_need_mark(parser, ")");
    node = sql_new_node(parser, kind, start);
    node->select = select;
    node->depth = select->depth;
    return node;
}

static bool sql_find_aggregate(aiocosmos_str name, sql_aggregate *out)
{
    static const char *const names[] = {"AVG", "COUNT", "COUNTIF", "MAKELIST", "MAKESET", "MAX", "MIN", "SUM"};
    int i;
    for (i = 0; i < (int)(sizeof names / sizeof names[0]); i++) {
        if (!aioc_mem_same_nocase(name, aioc_mem_str(names[i]))) continue;
        *out = (sql_aggregate)i;
        return true;
    }
    return false;
}

static void sql_check_arguments(sql_parser *parser, const char *name, int least, int most, uint32_t count,
                                const sql_node *node)
{
    if ((int)count >= least && (most < 0 || (int)count <= most)) return;
    if (most < 0)
        sql_fail_at(parser, "SC2050", node->start, node->end, "The %s function requires at least %d argument(s).", name,
                    least);
    if (least == most)
        sql_fail_at(parser, "SC2050", node->start, node->end, "The %s function requires %d argument(s).", name, least);
    sql_fail_at(parser, "SC2050", node->start, node->end, "The %s function requires %d to %d argument(s).", name, least,
                most);
}

static sql_node *sql_parse_call(sql_parser *parser)
{
    aiocosmos_str name = parser->token.text;
    size_t start = parser->token.start, name_end = parser->token.end;
    const sql_function *function = sql_find_function(name);
    sql_aggregate aggregate = SQL_AVG;
    bool aggregated = sql_find_aggregate(name, &aggregate);
    sql_node *node;
    sql_list list;
    if (!function && !aggregated)
        sql_fail_at(parser, "SC2005", start, name_end, "'%.*s' is not a recognized built-in function name.",
                    sql_quote_len(name.ptr, name.len), name.ptr);
    memset(&list, 0, sizeof list);
    sql_advance(parser);
    sql_need_mark(parser, "(");
    if (!sql_at_mark(parser, ")")) sql_parse_list(parser, &list);
    sql_need_mark(parser, ")");
    node = sql_new_node(parser, aggregated ? SQL_AGGREGATE : SQL_CALL, start);
    sql_adopt(parser, node, &list);
    node->function = function;
    node->op = (uint8_t)aggregate;
    if (aggregated) {
        char upper[16];
        size_t i;
        for (i = 0; i < name.len; i++) upper[i] = (char)sql_upper((unsigned char)name.ptr[i]);
        upper[i] = '\0';
        sql_check_arguments(parser, upper, 1, 1, list.count, node);
    } else {
        sql_check_arguments(parser, function->name, function->least, function->most, list.count, node);
    }
    return node;
}

static sql_node *sql_parse_word(sql_parser *parser)
{
    static const char *const literals[] = {"undefined", "null", "false", "true", "NaN", "Infinity"};
    sql_token token = parser->token;
    sql_node *node;
    int i;
    if (token.word == SQL_W_EXISTS || token.word == SQL_W_ARRAY) {
        sql_advance(parser);
        sql_need_mark(parser, "(");
        return sql_parse_subquery(parser, token.word == SQL_W_EXISTS ? SQL_EXISTS : SQL_ARRAY_OF, token.start);
    }
    if (token.word) sql_fail_near(parser, &token);
    if (sql_before_mark(parser, '(')) return sql_parse_call(parser);
    if (token.text.len == 3 && memcmp(token.text.ptr, "udf", 3) == 0 && sql_before_mark(parser, '.'))
        sql_fail_at(parser, "SC2005", token.start, token.end, "The emulator has no user-defined functions.");
    sql_advance(parser);
    for (i = 0; i < (int)(sizeof literals / sizeof literals[0]); i++) {
        if (!aioc_mem_same(token.text, aioc_mem_str(literals[i]))) continue;
        node = sql_new_node(parser, SQL_CONSTANT, token.start);
        if (i > 3) sql_set_number(&node->value, i == 4 ? (double)NAN : HUGE_VAL);
        else if (i > 1) sql_set_bool(&node->value, i == 3);
        else node->value.type = (uint8_t)i;
        return node;
    }
    node = sql_new_node(parser, SQL_NAME, token.start);
    node->name = token.text;
    return node;
}

static sql_node *sql_parse_array(sql_parser *parser)
{
    size_t start = parser->token.start;
    sql_node *node;
    sql_list list;
    memset(&list, 0, sizeof list);
    sql_advance(parser);
    if (!sql_at_mark(parser, "]")) sql_parse_list(parser, &list);
    sql_need_mark(parser, "]");
    node = sql_new_node(parser, SQL_NEW_ARRAY, start);
    sql_adopt(parser, node, &list);
    return node;
}

static sql_node *sql_parse_object(sql_parser *parser)
{
    size_t start = parser->token.start;
    sql_node *node;
    sql_list list;
    memset(&list, 0, sizeof list);
    sql_advance(parser);
    while (!sql_at_mark(parser, "}")) {
        aiocosmos_str name = parser->token.text;
        if (list.count) sql_need_mark(parser, ",");
        if (list.count) name = parser->token.text;
        if (parser->token.kind != SQL_T_STRING && parser->token.kind != SQL_T_WORD)
            sql_fail_near(parser, &parser->token);
        sql_advance(parser);
        sql_need_mark(parser, ":");
        sql_list_add(parser, &list, name, sql_parse_expression(parser));
    }
    sql_advance(parser);
    node = sql_new_node(parser, SQL_NEW_OBJECT, start);
    sql_adopt(parser, node, &list);
    return node;
}

static sql_node *sql_parse_primary(sql_parser *parser)
{
    size_t start = parser->token.start;
    sql_node *node;
    switch (parser->token.kind) {
    case SQL_T_NUMBER: return sql_parse_number(parser);
    case SQL_T_PARAMETER: return sql_parse_parameter(parser);
    case SQL_T_WORD: return sql_parse_word(parser);
    case SQL_T_STRING: {
        aiocosmos_str text = parser->token.text;
        sql_advance(parser);
        node = sql_new_node(parser, SQL_CONSTANT, start);
        sql_set_string(&node->value, text);
        return node;
    }
    default: break;
    }
    if (sql_at_mark(parser, "[")) return sql_parse_array(parser);
    if (sql_at_mark(parser, "{")) return sql_parse_object(parser);
    if (!sql_take_mark(parser, "(")) sql_fail_near(parser, &parser->token);
    if (sql_at_word(parser, SQL_W_SELECT)) return sql_parse_subquery(parser, SQL_SCALAR, start);
    node = sql_parse_expression(parser);
    sql_need_mark(parser, ")");
    node->grouped = true;
    return node;
}

/* .name and [expression] */
static sql_node *sql_parse_path(sql_parser *parser, sql_node *node)
{
    for (;;) {
        if (sql_take_mark(parser, ".")) {
            aiocosmos_str name = sql_need_name(parser);
            node = sql_new_parent(parser, SQL_PROPERTY, node->start, node, NULL, NULL);
            node->name = name;
        } else if (sql_take_mark(parser, "[")) {
            sql_node *index = sql_parse_expression(parser);
            sql_need_mark(parser, "]");
            if (index->kind == SQL_CONSTANT && index->value.type == SQL_STRING) {
                node = sql_new_parent(parser, SQL_PROPERTY, node->start, node, NULL, NULL);
                node->name = index->value.as.string;
                node->bracketed = true;
            } else {
                node = sql_new_parent(parser, SQL_MEMBER, node->start, node, index, NULL);
            }
        } else {
            return node;
        }
    }
}

static sql_node *sql_parse_unary(sql_parser *parser)
{
    size_t start = parser->token.start;
    sql_op op = sql_at_mark(parser, "-") ? SQL_OP_MINUS : sql_at_mark(parser, "+") ? SQL_OP_PLUS :
                sql_at_mark(parser, "~") ? SQL_OP_BIT_NOT : sql_at_word(parser, SQL_W_NOT) ? SQL_OP_NOT : SQL_OP_NONE;
    sql_node *node;
    if (op == SQL_OP_NONE) return sql_parse_path(parser, sql_parse_primary(parser));
    sql_enter(parser);
    sql_advance(parser);
    node = sql_parse_unary(parser);
    parser->depth--;
    if (op == SQL_OP_MINUS && node->kind == SQL_CONSTANT && node->value.type == SQL_NUMBER && !node->name.ptr &&
        !node->grouped) {
        if (node->value.whole) node->value.as.number.integer = -node->value.as.number.integer;
        node->value.as.number.real = -node->value.as.number.real;
        node->start = (uint32_t)start;
        return node;
    }
    node = sql_new_parent(parser, SQL_UNARY, start, node, NULL, NULL);
    node->op = (uint8_t)op;
    return node;
}

/* Binary operators from loose to tight, as the service's grammar has them; IN, BETWEEN and LIKE stand between the
 * relational and the bit operators, NOT binds tighter than all of them. */
typedef struct sql_operator { const char *mark; sql_op op; int level; } sql_operator;
enum {
    SQL_LEVEL_EQUALITY, SQL_LEVEL_RELATION, SQL_LEVEL_SET, SQL_LEVEL_OR, SQL_LEVEL_XOR, SQL_LEVEL_AND, SQL_LEVEL_SHIFT,
    SQL_LEVEL_SUM, SQL_LEVEL_PRODUCT, SQL_LEVEL_UNARY
};

static const sql_operator sql_operators[] = {
    {"=", SQL_OP_EQUAL, SQL_LEVEL_EQUALITY},
    {"!=", SQL_OP_NOT_EQUAL, SQL_LEVEL_EQUALITY},
    {"<>", SQL_OP_NOT_EQUAL, SQL_LEVEL_EQUALITY},
    {"<", SQL_OP_LESS, SQL_LEVEL_RELATION},
    {"<=", SQL_OP_LESS_EQUAL, SQL_LEVEL_RELATION},
    {">", SQL_OP_GREATER, SQL_LEVEL_RELATION},
    {">=", SQL_OP_GREATER_EQUAL, SQL_LEVEL_RELATION},
    {"|", SQL_OP_BIT_OR, SQL_LEVEL_OR},
    {"^", SQL_OP_BIT_XOR, SQL_LEVEL_XOR},
    {"&", SQL_OP_BIT_AND, SQL_LEVEL_AND},
    {"<<", SQL_OP_SHIFT_LEFT, SQL_LEVEL_SHIFT},
    {">>", SQL_OP_SHIFT_RIGHT, SQL_LEVEL_SHIFT},
    {">>>", SQL_OP_SHIFT_RIGHT_ZERO, SQL_LEVEL_SHIFT},
    {"+", SQL_OP_ADD, SQL_LEVEL_SUM},
    {"-", SQL_OP_SUBTRACT, SQL_LEVEL_SUM},
    {"||", SQL_OP_CONCAT, SQL_LEVEL_SUM},
    {"*", SQL_OP_MULTIPLY, SQL_LEVEL_PRODUCT},
    {"/", SQL_OP_DIVIDE, SQL_LEVEL_PRODUCT},
    {"%", SQL_OP_MODULO, SQL_LEVEL_PRODUCT}
};

/* As it is written between two operands. */
const char *sql_operator_mark(sql_op op)
{
    size_t i = 0;
    while (sql_operators[i].op != op) i++;
    return sql_operators[i].mark;
}

static sql_op sql_at_operator(const sql_parser *parser, int level)
{
    size_t i;
    if (parser->token.kind != SQL_T_PUNCTUATION) return SQL_OP_NONE;
    for (i = 0; i < sizeof sql_operators / sizeof sql_operators[0]; i++)
        if (sql_operators[i].level == level && strcmp(sql_operators[i].mark, parser->token.mark) == 0)
            return sql_operators[i].op;
    return SQL_OP_NONE;
}

static sql_node *sql_parse_binary(sql_parser *parser, int level);

static sql_node *sql_parse_in(sql_parser *parser, sql_node *left)
{
    sql_node *node = sql_new_node(parser, SQL_IN, left->start);
    sql_list list;
    memset(&list, 0, sizeof list);
    sql_list_add(parser, &list, sql_str(NULL, 0), left);
    sql_need_mark(parser, "(");
    sql_parse_list(parser, &list);
    sql_need_mark(parser, ")");
    sql_adopt(parser, node, &list);
    return node;
}

static sql_node *sql_parse_between(sql_parser *parser, sql_node *left)
{
    sql_node *low = sql_parse_binary(parser, SQL_LEVEL_OR);
    sql_need_word(parser, SQL_W_AND);
    return sql_new_parent(parser, SQL_BETWEEN, left->start, left, low, sql_parse_binary(parser, SQL_LEVEL_OR));
}

static sql_node *sql_parse_like(sql_parser *parser, sql_node *left)
{
    sql_node *pattern = sql_parse_binary(parser, SQL_LEVEL_OR), *escape = NULL;
    if (sql_take_word(parser, SQL_W_ESCAPE)) {
        escape = sql_parse_primary(parser);
        if (escape->kind != SQL_CONSTANT || escape->value.type != SQL_STRING ||
            sql_length(escape->value.as.string) != 1)
            sql_fail_at(parser, "SC2070", escape->start, escape->end,
                        "The ESCAPE clause must be a string of one character.");
    }
    return sql_new_parent(parser, SQL_LIKE, left->start, left, pattern, escape);
}

/* [NOT] IN, BETWEEN, LIKE */
static sql_node *sql_parse_set(sql_parser *parser)
{
    sql_node *node = sql_parse_binary(parser, SQL_LEVEL_OR);
    for (;;) {
        bool negated = sql_at_word(parser, SQL_W_NOT);
        if (negated) sql_advance(parser);
        if (sql_take_word(parser, SQL_W_IN)) node = sql_parse_in(parser, node);
        else if (sql_take_word(parser, SQL_W_BETWEEN)) node = sql_parse_between(parser, node);
        else if (sql_take_word(parser, SQL_W_LIKE)) node = sql_parse_like(parser, node);
        else if (negated) sql_fail_near(parser, &parser->token);
        else return node;
        node->negated = negated;
    }
}

static sql_node *sql_parse_binary(sql_parser *parser, int level)
{
    sql_node *node;
    sql_op op;
    if (level == SQL_LEVEL_UNARY) return sql_parse_unary(parser);
    if (level == SQL_LEVEL_SET) return sql_parse_set(parser);
    node = sql_parse_binary(parser, level + 1);
    while ((op = sql_at_operator(parser, level)) != SQL_OP_NONE) {
        sql_advance(parser);
        node = sql_new_parent(parser, SQL_BINARY, node->start, node, sql_parse_binary(parser, level + 1), NULL);
        node->op = (uint8_t)op;
    }
    return node;
}

/* Chains of AND and OR become one node each, so that a list of thousands, as programs write them, is not deep. */
static sql_node *sql_parse_logical(sql_parser *parser, sql_kind kind)
{
    sql_node *node = kind == SQL_OR ? sql_parse_logical(parser, SQL_AND) : sql_parse_binary(parser, SQL_LEVEL_EQUALITY);
    sql_word word = kind == SQL_OR ? SQL_W_OR : SQL_W_AND;
    sql_list list;
    if (!sql_at_word(parser, word)) return node;
    memset(&list, 0, sizeof list);
    sql_list_add(parser, &list, sql_str(NULL, 0), node);
    while (sql_take_word(parser, word)) {
        node = kind == SQL_OR ? sql_parse_logical(parser, SQL_AND) : sql_parse_binary(parser, SQL_LEVEL_EQUALITY);
        sql_list_add(parser, &list, sql_str(NULL, 0), node);
    }
    node = sql_new_node(parser, kind, list.nodes[0]->start);
    sql_adopt(parser, node, &list);
    return node;
}

static sql_node *sql_parse_expression(sql_parser *parser)
{
    sql_node *node, *then;
    sql_enter(parser);
    node = sql_parse_logical(parser, SQL_OR);
    while (sql_take_mark(parser, "??"))
        node = sql_new_parent(parser, SQL_COALESCE, node->start, node, sql_parse_logical(parser, SQL_OR), NULL);
    if (sql_take_mark(parser, "?")) {
        then = sql_parse_expression(parser);
        sql_need_mark(parser, ":");
        node = sql_new_parent(parser, SQL_CONDITIONAL, node->start, node, then, sql_parse_expression(parser));
    }
    parser->depth--;
    return node;
}

/*------------------------------------------------------------------------------
 * MARK: - Clauses
 *----------------------------------------------------------------------------*/

static int64_t sql_parse_count(sql_parser *parser, const char *code, const char *clause)
{
    sql_node *node;
    if (parser->token.kind != SQL_T_NUMBER && parser->token.kind != SQL_T_PARAMETER)
        sql_fail_near(parser, &parser->token);
    node = sql_parse_primary(parser);
    if (node->value.type == SQL_NUMBER && node->value.whole && node->value.as.number.integer >= 0 &&
        node->value.as.number.integer <= INT32_MAX)
        return node->value.as.number.integer;
    if (strcmp(clause, "TOP") == 0 || node->value.type != SQL_NUMBER || !node->value.whole ||
        node->value.as.number.integer < 0)
        sql_fail_at(parser, "SC2060", node->start, node->end,
                    "The count value provided for a %s clause must be an integer.", clause);
    sql_fail_at(parser, code, node->start, node->end, "The %s count value exceeds the maximum allowed value.", clause);
}

/* The name of a property in a row: the alias, else the last name of a path; NULL: numbered later. */
aiocosmos_str sql_inferred_name(const sql_node *node)
{
    if (node->kind == SQL_PROPERTY || node->kind == SQL_NAME) return node->name;
    return sql_str(NULL, 0);
}

/* Of items with the same name the last one counts. */
static void sql_parse_items(sql_parser *parser, sql_select *select)
{
    sql_list list;
    uint32_t i, j, unnamed = 0;
    memset(&list, 0, sizeof list);
    do {
        sql_node *node = sql_parse_expression(parser);
        aiocosmos_str name = sql_inferred_name(node);
        if (sql_take_word(parser, SQL_W_AS)) name = sql_need_name(parser);
        else if (parser->token.kind == SQL_T_WORD && !parser->token.word) name = sql_need_name(parser);
        if (!name.ptr) {
            char number[24];
            snprintf(number, sizeof number, "$%u", (unsigned)++unnamed);
            name = sql_copy_str(parser->arena, aioc_mem_str(number));
        }
        sql_list_add(parser, &list, name, node);
    } while (sql_take_mark(parser, ","));
    for (i = j = 0; i < list.count; i++) {
        uint32_t later = i + 1;
        while (later < list.count && !aioc_mem_same(list.names[i], list.names[later])) later++;
        sql_spend(parser->env, later - i);
        if (later < list.count) continue;
        list.names[j] = list.names[i];
        list.nodes[j++] = list.nodes[i];
    }
    select->items = list.nodes;
    select->names = list.names;
    select->item_count = j;
}

static void sql_parse_selection(sql_parser *parser, sql_select *select)
{
    select->distinct = sql_take_word(parser, SQL_W_DISTINCT);
    select->top_start = (uint32_t)parser->token.start;
    if (sql_take_word(parser, SQL_W_TOP)) {
        select->top = sql_parse_count(parser, "SC2060", "TOP");
        select->top_end = (uint32_t)parser->last_end;
    }
    select->star_start = (uint32_t)parser->token.start;
    select->star_end = (uint32_t)parser->token.end;
    if (sql_take_mark(parser, "*")) {
        select->star = select->value = true;
    } else if (sql_take_word(parser, SQL_W_VALUE)) {
        select->value = true;
        select->items = (sql_node **)sql_alloc(parser->arena, sizeof(sql_node *));
        select->items[0] = sql_parse_expression(parser);
        select->item_count = 1;
    } else {
        sql_parse_items(parser, select);
    }
}

/* identifier path | ( subquery ) */
static void sql_parse_collection(sql_parser *parser, sql_source *source)
{
    size_t start = parser->token.start;
    if (sql_take_mark(parser, "(")) {
        source->select = sql_parse_select(parser, true);
        sql_need_mark(parser, ")");
    } else {
        sql_node *node;
        aiocosmos_str name = sql_need_name(parser);
        node = sql_new_node(parser, SQL_NAME, start);
        node->name = name;
        source->path = sql_parse_path(parser, node);
        if (!source->each) source->alias = sql_inferred_name(source->path);
    }
}

static void sql_parse_source(sql_parser *parser, sql_source *source)
{
    size_t after;
    source->start = (uint32_t)parser->token.start;
    after = sql_skip_blanks(parser->query->text, parser->at, parser->query->len);
    if (parser->token.kind == SQL_T_WORD && !parser->token.word && after + 2 < parser->query->len &&
        (parser->query->text[after] | 32) == 'i' && (parser->query->text[after + 1] | 32) == 'n' &&
        !sql_is_letter(parser->query->text[after + 2]) && !sql_is_digit(parser->query->text[after + 2])) {
        source->alias = sql_need_name(parser);
        sql_need_word(parser, SQL_W_IN);
        source->each = true;
    }
    sql_parse_collection(parser, source);
    if (!source->each) {
        if (sql_take_word(parser, SQL_W_AS)) source->alias = sql_need_name(parser);
        else if (parser->token.kind == SQL_T_WORD && !parser->token.word) source->alias = sql_need_name(parser);
    }
    source->end = (uint32_t)parser->last_end;
    source->slot = parser->query->slots++;
}

static void sql_parse_from(sql_parser *parser, sql_select *select)
{
    uint32_t cap = 0;
    do {
        if (select->source_count == cap) {
            sql_source *sources = (sql_source *)sql_zalloc(parser->arena, (cap ? cap * 2 : 2) * sizeof *sources);
            if (cap) memcpy(sources, select->sources, cap * sizeof *sources);
            cap = cap ? cap * 2 : 2;
            select->sources = sources;
        }
        sql_parse_source(parser, &select->sources[select->source_count++]);
        if (select->source_count > SQL_SOURCES_MAX)
            sql_fail_at(parser, "SC3002", select->sources[SQL_SOURCES_MAX].start, parser->last_end,
                        "The SQL query exceeded the maximum number of joins. The allowed limit is %d.",
                        SQL_SOURCES_MAX - 1);
    } while (sql_take_word(parser, SQL_W_JOIN));
}

static void sql_parse_order(sql_parser *parser, sql_select *select)
{
    sql_list list;
    uint32_t i;
    memset(&list, 0, sizeof list);
    do {
        sql_node *node = sql_parse_expression(parser);
        bool down = sql_take_word(parser, SQL_W_DESC), up = !down && sql_take_word(parser, SQL_W_ASC);
        sql_list_add(parser, &list, sql_str(NULL, down ? 1 : up ? 2 : 0), node);
    } while (sql_take_mark(parser, ","));
    select->order_count = list.count;
    select->orders = (sql_order_key *)sql_zalloc(parser->arena, list.count * sizeof *select->orders);
    for (i = 0; i < list.count; i++) {
        select->orders[i].node = list.nodes[i];
        select->orders[i].descending = list.names[i].len == 1;
        select->orders[i].ascending_said = list.names[i].len == 2;
    }
}

/* RANK is no reserved word: it is one before a call. */
static bool sql_before_rank(const sql_parser *parser)
{
    const char *text = parser->query->text;
    size_t at = parser->at, len = parser->query->len;
    if (parser->token.kind != SQL_T_WORD || !aioc_mem_same_nocase(parser->token.text, aioc_mem_str("RANK")))
        return false;
    at = sql_skip_blanks(text, at, len);
    if (at == parser->at || at >= len || !sql_is_letter(text[at])) return false;
    while (at < len && (sql_is_letter(text[at]) || sql_is_digit(text[at]))) at++;
    at = sql_skip_blanks(text, at, len);
    return at < len && text[at] == '(';
}

static void sql_parse_tail(sql_parser *parser, sql_select *select)
{
    sql_list list;
    memset(&list, 0, sizeof list);
    if (sql_take_word(parser, SQL_W_WHERE)) select->where = sql_parse_expression(parser);
    if (sql_take_word(parser, SQL_W_GROUP)) {
        sql_need_word(parser, SQL_W_BY);
        sql_parse_list(parser, &list);
        select->groups = list.nodes;
        select->group_count = list.count;
    }
    select->order_start = (uint32_t)parser->token.start;
    if (sql_take_word(parser, SQL_W_ORDER)) {
        sql_need_word(parser, SQL_W_BY);
        if (sql_before_rank(parser)) {
            sql_advance(parser);
            select->rank = sql_parse_expression(parser);
        } else {
            sql_parse_order(parser, select);
        }
        select->order_end = (uint32_t)parser->last_end;
    }
    select->limit_start = (uint32_t)parser->token.start;
    if (sql_take_word(parser, SQL_W_OFFSET)) {
        select->offset = sql_parse_count(parser, "SC2062", "OFFSET");
        sql_need_word(parser, SQL_W_LIMIT);
        select->limit = sql_parse_count(parser, "SC2061", "LIMIT");
        select->limit_end = (uint32_t)parser->last_end;
    }
}

/* What the service refuses about clauses that do not go together. */
static void sql_check_clauses(sql_parser *parser, const sql_select *select)
{
    bool nested = select->nested;
    if (nested && (select->order_count || select->rank))
        sql_fail_at(parser, "SC2202", select->order_start, select->order_end,
                    "'ORDER BY' is not supported in subqueries.");
    if (nested && select->top >= 0)
        sql_fail_at(parser, "SC2203", select->top_start, select->top_end, "'TOP' is not supported in subqueries.");
    if (nested && select->limit >= 0)
        sql_fail_at(parser, "SC2204", select->limit_start, select->limit_end,
                    "'OFFSET LIMIT' clause is not supported in subqueries.");
    if (select->top >= 0 && select->limit >= 0)
        sql_fail_at(parser, "SC2205", select->limit_start, select->limit_end,
                    "'TOP' and 'OFFSET LIMIT' cannot be used in the same query.");
    if (select->star && select->group_count)
        sql_fail_at(parser, "SC2041", select->star_start, select->star_end, "'SELECT *' is not allowed with GROUP BY.");
    if (select->star && select->source_count == 0)
        sql_fail_at(parser, "SC2040", select->star_start, select->star_end,
                    "'SELECT *' is not valid if FROM clause is omitted.");
    if (select->star && select->source_count != 1)
        sql_fail_at(parser, "SC2040", select->star_start, select->star_end,
                    "'SELECT *' is only valid with a single input set.");
    if ((select->order_count || select->rank) && select->group_count)
        sql_fail_at(parser, "SC2042", select->order_start, select->order_end,
                    "'ORDER BY' is not allowed with GROUP BY.");
}

static void sql_deepen(sql_select *select, uint16_t depth)
{
    if (select->depth < depth) select->depth = depth;
}

static void sql_measure(sql_parser *parser, sql_select *select)
{
    uint32_t i;
    for (i = 0; i < select->item_count; i++) sql_deepen(select, select->items[i]->depth);
    for (i = 0; i < select->group_count; i++) sql_deepen(select, select->groups[i]->depth);
    for (i = 0; i < select->order_count; i++) sql_deepen(select, select->orders[i].node->depth);
    if (select->where) sql_deepen(select, select->where->depth);
    if (select->rank) sql_deepen(select, select->rank->depth);
    for (i = 0; i < select->source_count; i++)
        sql_deepen(select, select->sources[i].select ? select->sources[i].select->depth :
                   select->sources[i].path->depth);
    select->depth = (uint16_t)(select->depth + 4 + select->source_count);
    if (select->depth > 2 * EMU_SQL_DEPTH_MAX) sql_too_deep(parser, select->start);
}

static sql_select *sql_parse_select(sql_parser *parser, bool nested)
{
    sql_select *select = (sql_select *)sql_zalloc(parser->arena, sizeof *select);
    sql_enter(parser);
    select->top = select->offset = select->limit = -1;
    select->start = (uint32_t)parser->token.start;
    sql_need_word(parser, SQL_W_SELECT);
    sql_parse_selection(parser, select);
    if (sql_take_word(parser, SQL_W_FROM)) sql_parse_from(parser, select);
    sql_parse_tail(parser, select);
    select->end = (uint32_t)parser->last_end;
    select->nested = nested;
    sql_measure(parser, select);
    parser->depth--;
    return select;
}

/*------------------------------------------------------------------------------
 * MARK: - Names bound, aggregates found
 *----------------------------------------------------------------------------*/

typedef struct sql_binder {
    sql_parser *parser;
    sql_select *select;                /* whose names are in scope */
    bool aggregates_allowed, in_aggregate, in_rank;
} sql_binder;

static void sql_bind_select(sql_parser *parser, sql_select *select, sql_select *outer, bool rooted);
static void sql_bind(sql_binder *binder, sql_node *node);

static const sql_source *sql_find_alias(const sql_select *select, aiocosmos_str name)
{
    for (; select; select = select->outer) {
        uint32_t i = select->visible;
        while (i-- > 0)
            if (select->sources[i].alias.ptr && aioc_mem_same(select->sources[i].alias, name))
                return &select->sources[i];
    }
    return NULL;
}

static void sql_bind_name(sql_binder *binder, sql_node *node)
{
    const sql_source *source = sql_find_alias(binder->select, node->name);
    if (!source)
        sql_fail_at(binder->parser, "SC2001", node->start, node->end, "Identifier '%.*s' could not be resolved.",
                    sql_quote_len(node->name.ptr, node->name.len), node->name.ptr);
    node->kind = SQL_ALIAS;
    node->slot = source->slot;
}

static void sql_bind_aggregate(sql_binder *binder, sql_node *node)
{
    sql_select *select = binder->select;
    sql_node **aggregates;
    if (binder->in_aggregate)
        sql_fail_at(binder->parser, "SC2101", node->start, node->end,
                    "Cannot perform an aggregate function on an expression containing an aggregate or a subquery.");
    if (!binder->aggregates_allowed)
        sql_fail_at(binder->parser, "SC2103", node->start, node->end,
                    "An aggregate function is only allowed in the SELECT clause.");
    aggregates = (sql_node **)sql_alloc(binder->parser->arena, (select->aggregate_count + 1) * sizeof *aggregates);
    if (select->aggregate_count) memcpy(aggregates, select->aggregates, select->aggregate_count * sizeof *aggregates);
    sql_spend(binder->parser->env, select->aggregate_count);
    node->slot = select->aggregate_count;
    aggregates[select->aggregate_count++] = node;
    select->aggregates = aggregates;
    binder->in_aggregate = true;
    sql_bind(binder, node->children[0]);
    binder->in_aggregate = false;
}

bool sql_calls(const sql_node *node, const char *function)
{
    return node->kind == SQL_CALL && strcmp(node->function->name, function) == 0;
}

static void sql_note_distance(emu_sql_query *query, sql_node *node)
{
    uint32_t count = query->distance_count;
    if ((count & (count - 1)) == 0) {                      /* full: 1, 2, 4, ... */
        sql_node **more = (sql_node **)sql_alloc(&query->arena, (count ? 2 * count : 1) * sizeof *more);
        if (count) memcpy(more, query->distances, count * sizeof *more);
        query->distances = more;
    }
    query->distances[query->distance_count++] = node;
}

static void sql_bind_call(sql_binder *binder, sql_node *node)
{
    bool score = sql_calls(node, "FullTextScore");
    if (sql_calls(node, "VectorDistance")) sql_note_distance(binder->parser->query, node);
    if (!binder->in_rank && (score || sql_calls(node, "RRF")))
        sql_fail_at(binder->parser, "SC2240", node->start, node->end,
                    "The %s function is only allowed in the ORDER BY RANK clause.", node->function->name);
    if (score && node->children[0]->kind != SQL_PROPERTY && node->children[0]->kind != SQL_MEMBER)
        sql_fail_at(binder->parser, "SC2241", node->start, node->end,
                    "The first argument of FullTextScore must be a property path.");
}

static void sql_bind(sql_binder *binder, sql_node *node)
{
    uint32_t i;
    if (node->kind == SQL_CALL) sql_bind_call(binder, node);
    switch (node->kind) {
    case SQL_NAME:
        sql_bind_name(binder, node);
        return;
    case SQL_AGGREGATE:
        sql_bind_aggregate(binder, node);
        return;
    case SQL_EXISTS:
    case SQL_ARRAY_OF:
    case SQL_SCALAR:
        if (binder->in_aggregate)
            sql_fail_at(binder->parser, "SC2101", node->start, node->end,
                        "Cannot perform an aggregate function on an expression containing an aggregate or a subquery.");
        sql_bind_select(binder->parser, node->select, binder->select, false);
        return;
    default:
        for (i = 0; i < node->count; i++) sql_bind(binder, node->children[i]);
    }
}

/* The name at the root of a path. */
const sql_node *sql_path_root(const sql_node *node)
{
    while (node->kind == SQL_PROPERTY || node->kind == SQL_MEMBER) node = node->children[0];
    return node;
}

static void sql_bind_source(sql_binder *binder, sql_select *select, uint32_t index)
{
    sql_source *source = &select->sources[index];
    uint32_t i;
    for (i = 0; i < index; i++) {
        if (source->alias.ptr && select->sources[i].alias.ptr && aioc_mem_same(source->alias, select->sources[i].alias))
            sql_fail_at(binder->parser, "SC2010", source->start, source->end,
                        "The input alias '%.*s' is specified more than once in the FROM clause.",
                        sql_quote_len(source->alias.ptr, source->alias.len), source->alias.ptr);
        sql_spend(binder->parser->env, 1);
    }
    if (source->select) {
        sql_bind_select(binder->parser, source->select, select, select->rooted && index == 0);
    } else {
        sql_node *root = (sql_node *)(uintptr_t)sql_path_root(source->path);
        if (select->rooted && index == 0 && !sql_find_alias(select, root->name)) {
            root->kind = SQL_ALIAS;                        /* whatever it is called, it is the container */
            root->slot = source->root = binder->parser->query->slots++;
            source->whole = true;
        }
        sql_bind(binder, source->path);
    }
    select->visible = index + 1;
}

bool sql_same_node(const sql_node *a, const sql_node *b)
{
    uint32_t i;
    if (a->kind == SQL_GROUP_KEY) a = a->children[0];
    if (b->kind == SQL_GROUP_KEY) b = b->children[0];
    if (a->kind != b->kind || a->op != b->op || a->negated != b->negated || a->count != b->count ||
        a->slot != b->slot || a->function != b->function || a->select || b->select || !aioc_mem_same(a->name, b->name))
        return false;
    if (a->kind == SQL_CONSTANT) {
        if (a->value.type != b->value.type || a->value.type >= SQL_ARRAY) return false;
        if (sql_compare_primitives(&a->value, &b->value) != 0) return false;
    }
    for (i = 0; i < a->count; i++) {
        if (a->kind == SQL_NEW_OBJECT && !aioc_mem_same(a->names[i], b->names[i])) return false;
        if (!sql_same_node(a->children[i], b->children[i])) return false;
    }
    return true;
}

static void sql_check_grouped_select(sql_parser *parser, const sql_select *select, sql_select *inner);

/* A property of something that is grouped by. */
static bool sql_is_of_group(sql_parser *parser, const sql_select *select, const sql_node *node)
{
    uint32_t i;
    while (node->kind == SQL_PROPERTY || node->kind == SQL_MEMBER) {
        node = node->children[0];
        sql_spend(parser->env, select->group_count);
        for (i = 0; i < select->group_count; i++)
            if (sql_same_node(node, select->groups[i])) return true;
    }
    return false;
}

/* Outside of aggregates a row of groups may only name what it is grouped by. Such expressions become GROUP_KEY. */
static void sql_check_grouped(sql_parser *parser, const sql_select *select, sql_node **at)
{
    sql_node *node = *at;
    const char *text = parser->query->text + node->start;
    uint32_t i;
    if (node->kind == SQL_AGGREGATE || node->kind == SQL_CONSTANT || node->kind == SQL_GROUP_KEY) return;
    for (i = 0; i < select->group_count; i++) {
        sql_spend(parser->env, 1);
        if (!sql_same_node(node, select->groups[i])) continue;
        *at = sql_new_parent(parser, SQL_GROUP_KEY, node->start, node, NULL, NULL);
        (*at)->slot = i;
        return;
    }
    if ((node->kind == SQL_PROPERTY || node->kind == SQL_MEMBER || node->kind == SQL_ALIAS) &&
        !sql_is_of_group(parser, select, node)) {
        const sql_node *root = sql_path_root(node);
        for (i = 0; root->kind == SQL_ALIAS && i < select->source_count; i++) {
            if (select->sources[i].slot != root->slot) continue;
            sql_fail_at(parser, "SC2102", node->start, node->end,
                        "Property reference '%.*s' is invalid in the select list because it is not contained in "
                        "either an aggregate function or the GROUP BY clause.",
                        sql_quote_len(text, node->end - node->start), text);
        }
    }
    for (i = 0; i < node->count; i++) sql_check_grouped(parser, select, &node->children[i]);
    if (node->select) sql_check_grouped_select(parser, select, node->select);
}

static void sql_check_grouped_select(sql_parser *parser, const sql_select *select, sql_select *inner)
{
    uint32_t i;
    for (i = 0; i < inner->source_count; i++) {
        if (inner->sources[i].path) sql_check_grouped(parser, select, &inner->sources[i].path);
        if (inner->sources[i].select) sql_check_grouped_select(parser, select, inner->sources[i].select);
    }
    for (i = 0; i < inner->item_count; i++) sql_check_grouped(parser, select, &inner->items[i]);
    if (inner->where) sql_check_grouped(parser, select, &inner->where);
    for (i = 0; i < inner->aggregate_count; i++) sql_check_grouped(parser, select, &inner->aggregates[i]->children[0]);
}

static void sql_bind_select(sql_parser *parser, sql_select *select, sql_select *outer, bool rooted)
{
    sql_binder binder;
    uint32_t i;
    memset(&binder, 0, sizeof binder);
    binder.parser = parser;
    binder.select = select;
    select->outer = outer;
    select->rooted = rooted;
    sql_check_clauses(parser, select);
    for (i = 0; i < select->source_count; i++) sql_bind_source(&binder, select, i);
    if (select->star) {                                    /* the one source, whether it has a name or not */
        sql_node *node = sql_new_node(parser, SQL_ALIAS, select->star_start);
        node->slot = select->sources[0].slot;
        node->name = select->sources[0].alias;
        select->items = (sql_node **)sql_alloc(parser->arena, sizeof(sql_node *));
        select->items[0] = node;
        select->item_count = 1;
    }
    if (select->where) sql_bind(&binder, select->where);
    for (i = 0; i < select->group_count; i++) sql_bind(&binder, select->groups[i]);
    for (i = 0; i < select->order_count; i++) sql_bind(&binder, select->orders[i].node);
    if (select->rank) {
        binder.in_rank = true;
        sql_bind(&binder, select->rank);
        binder.in_rank = false;
    }
    binder.aggregates_allowed = true;
    for (i = 0; i < select->item_count; i++) sql_bind(&binder, select->items[i]);
    if (select->group_count || select->aggregate_count)
        for (i = 0; i < select->item_count; i++) sql_check_grouped(parser, select, &select->items[i]);
}

/*------------------------------------------------------------------------------
 * MARK: - Regular expressions
 *
 * The service has PCRE. Here: everything but back references, look-around, possessive and atomic groups, in a machine
 * that follows all paths at once, so that its time is pattern times text and no pattern can hang it.
 *----------------------------------------------------------------------------*/

#define SQL_REGEX_MAX 4000             /* instructions */

typedef enum sql_regex_op {
    SQL_R_CHAR, SQL_R_ANY, SQL_R_SET, SQL_R_SPLIT, SQL_R_JUMP, SQL_R_BOUNDARY, SQL_R_NOT_BOUNDARY, SQL_R_LINE_START,
    SQL_R_LINE_END, SQL_R_START, SQL_R_END, SQL_R_END_OR_NEWLINE, SQL_R_MATCH
} sql_regex_op;

typedef struct sql_regex_range { uint32_t low, high; struct sql_regex_range *next; } sql_regex_range;
typedef struct sql_regex_code {
    uint8_t op;
    bool negated, fold;                /* SET; fold: compare in lower case */
    int to;                            /* SPLIT, JUMP: how far, relative */
    uint32_t c;
    const sql_regex_range *set;
} sql_regex_code;

typedef struct sql_regex {
    sql_arena *arena;
    const char *at, *end;              /* of the pattern */
    bool fold, lines, dot_all, free;   /* the modifiers i, m, s, x */
    sql_regex_code *code;
    int count, depth, alternatives;
} sql_regex;

static void sql_regex_fail(sql_regex *regex, const char *why) __attribute__((noreturn));
static void sql_regex_fail(sql_regex *regex, const char *why)
{
    char message[160];
    snprintf(message, sizeof message, "The regular expression of a REGEXMATCH %s.", why);
    sql_fail_plain(regex->arena->env, 400, message);
}

static sql_regex_code *sql_regex_emit(sql_regex *regex, sql_regex_op op)
{
    sql_regex_code *code;
    if (regex->count == SQL_REGEX_MAX) sql_regex_fail(regex, "is too long, or repeats too much");
    code = &regex->code[regex->count++];
    memset(code, 0, sizeof *code);
    code->op = (uint8_t)op;
    code->fold = regex->fold;
    return code;
}

static void sql_regex_add_range(sql_regex *regex, sql_regex_code *code, uint32_t low, uint32_t high)
{
    sql_regex_range *range = (sql_regex_range *)sql_alloc(regex->arena, sizeof *range);
    range->low = low;
    range->high = high;
    range->next = (sql_regex_range *)(uintptr_t)code->set;
    code->set = range;
}

/* \d \w \s and their opposites, of ASCII as in PCRE without its Unicode option. */
static bool sql_regex_class(sql_regex *regex, sql_regex_code *code, char letter)
{
    static const uint32_t digits[] = {'0', '9', 0}, words[] = {'0', '9', 'A', 'Z', '_', '_', 'a', 'z', 0},
                          blanks[] = {'\t', '\r', ' ', ' ', 0};
    const uint32_t *ranges = (letter | 32) == 'd' ? digits : (letter | 32) == 'w' ? words :
                             (letter | 32) == 's' ? blanks : NULL;
    uint32_t next = 0;
    if (!ranges) return false;
    for (; *ranges; ranges += 2) {
        if (letter >= 'a') {
            sql_regex_add_range(regex, code, ranges[0], ranges[1]);
        } else if (ranges[0] > next) {
            sql_regex_add_range(regex, code, next, ranges[0] - 1);
        }
        next = ranges[1] + 1;
    }
    if (letter < 'a') sql_regex_add_range(regex, code, next, 0x10ffff);
    return true;
}

/* After a backslash: the character that is meant. */
static uint32_t sql_regex_escape(sql_regex *regex)
{
    static const char letters[] = "nrtfvae0", values[] = "\n\r\t\f\v\a\x1b";
    const char *known;
    uint32_t c, value = 0;
    int digits = 0;
    if (regex->at == regex->end) sql_regex_fail(regex, "ends with a backslash");
    c = sql_character(&regex->at, regex->end);
    if (c == 'x' || c == 'u') {
        while (digits < (c == 'x' ? 2 : 4) && regex->at < regex->end && sql_hex(*regex->at) >= 0) {
            value = value << 4 | (uint32_t)sql_hex(*regex->at++);
            digits++;
        }
        return value;
    }
    if (c < 0x80 && c && (known = strchr(letters, (int)c)) != NULL)
        return (uint32_t)(unsigned char)values[known - letters];
    if ((c >= '1' && c <= '9') || c == 'k' || c == 'g')
        sql_regex_fail(regex, "has a back reference, which the emulator does not support");
    if (c == 'p' || c == 'P' || c == 'X' || c == 'G' || c == 'K' || c == 'Q' || c == 'R')
        sql_regex_fail(regex, "has an escape that the emulator does not support");
    return c;
}

static void sql_regex_set(sql_regex *regex)
{
    sql_regex_code *code = sql_regex_emit(regex, SQL_R_SET);
    bool first = true;
    if (regex->at < regex->end && *regex->at == '^') {
        code->negated = true;
        regex->at++;
    }
    for (;; first = false) {
        uint32_t low, high;
        if (regex->at == regex->end) sql_regex_fail(regex, "has a '[' without a ']'");
        if (*regex->at == ']' && !first) break;
        if (*regex->at == '[' && regex->at + 1 < regex->end &&
            (regex->at[1] == ':' || regex->at[1] == '.' || regex->at[1] == '='))
            sql_regex_fail(regex, "has a POSIX class, which the emulator does not support");
        low = sql_character(&regex->at, regex->end);
        if (low == '\\') {
            if (regex->at < regex->end && sql_regex_class(regex, code, *regex->at)) {
                regex->at++;
                continue;
            }
            if (regex->at < regex->end && *regex->at == 'b') {
                regex->at++;
                low = '\b';
            } else {
                low = sql_regex_escape(regex);
            }
        }
        high = low;
        if (regex->at + 1 < regex->end && *regex->at == '-' && regex->at[1] != ']') {
            regex->at++;
            high = sql_character(&regex->at, regex->end);
            if (high == '\\') high = sql_regex_escape(regex);
            if (high < low) sql_regex_fail(regex, "has a range whose ends are in the wrong order");
        }
        sql_regex_add_range(regex, code, low, high);
    }
    regex->at++;
}

static void sql_regex_alternatives(sql_regex *regex);

static void sql_regex_group(sql_regex *regex)
{
    bool fold = regex->fold;
    if (++regex->depth > 100) sql_regex_fail(regex, "is nested too deeply");
    if (regex->at < regex->end && *regex->at == '?') {
        regex->at++;
        if (regex->at + 1 < regex->end && *regex->at == 'i' && (regex->at[1] == ':' || regex->at[1] == ')')) {
            regex->fold = true;
            regex->at++;
            if (*regex->at == ')') {                       /* (?i): from here on */
                regex->at++;
                regex->depth--;
                return;
            }
        } else if (regex->at + 1 < regex->end && (*regex->at == 'P' || *regex->at == '<') && regex->at[1] != '=' &&
                   regex->at[1] != '!') {
            while (regex->at < regex->end && *regex->at != '>') regex->at++;   /* a group with a name */
        } else if (regex->at == regex->end || *regex->at != ':') {
            sql_regex_fail(regex, "has a kind of group that the emulator does not support");
        }
        if (regex->at < regex->end) regex->at++;
    }
    sql_regex_alternatives(regex);
    if (regex->at == regex->end || *regex->at != ')') sql_regex_fail(regex, "has a '(' without a ')'");
    regex->at++;
    regex->fold = fold;
    regex->depth--;
}

static void sql_regex_backslash(sql_regex *regex)
{
    char letter = regex->at < regex->end ? *regex->at : '\0';
    static const char letters[] = "bBAzZ";
    static const sql_regex_op ops[] =
        {SQL_R_BOUNDARY, SQL_R_NOT_BOUNDARY, SQL_R_START, SQL_R_END, SQL_R_END_OR_NEWLINE};
    const char *known = letter ? strchr(letters, letter) : NULL;
    if (known) {
        sql_regex_emit(regex, ops[known - letters]);
        regex->at++;
    } else if (letter && strchr("dDwWsS", letter)) {
        sql_regex_code *code = sql_regex_emit(regex, SQL_R_SET);
        sql_regex_class(regex, code, letter);
        regex->at++;
    } else {
        uint32_t c = sql_regex_escape(regex);
        sql_regex_emit(regex, SQL_R_CHAR)->c = regex->fold ? sql_lower(c) : c;
    }
}

static void sql_regex_atom(sql_regex *regex)
{
    uint32_t c = sql_character(&regex->at, regex->end);
    switch (c) {
    case '(': sql_regex_group(regex); break;
    case '[': sql_regex_set(regex); break;
    case '\\': sql_regex_backslash(regex); break;
    case '.': sql_regex_emit(regex, SQL_R_ANY)->c = regex->dot_all ? 0 : '\n'; break;
    case '^': sql_regex_emit(regex, regex->lines ? SQL_R_LINE_START : SQL_R_START); break;
    case '$': sql_regex_emit(regex, regex->lines ? SQL_R_LINE_END : SQL_R_END_OR_NEWLINE); break;
    case '*':
    case '+':
    case '?': sql_regex_fail(regex, "repeats nothing");
    default: sql_regex_emit(regex, SQL_R_CHAR)->c = regex->fold ? sql_lower(c) : c;
    }
}

/* {m}, {m,}, {m,n}; anything else is a brace like any other character. */
static bool sql_regex_braces(sql_regex *regex, int *least, int *most)
{
    const char *at = regex->at + 1;
    int values[2] = {0, 0}, i = 0;
    bool digits = false;
    for (; at < regex->end && *at != '}'; at++) {
        if (*at == ',' && i == 0 && digits) {
            i = 1;
            values[1] = -1;
        } else if (sql_is_digit(*at)) {
            digits = true;
            values[i] = (values[i] < 0 ? 0 : values[i]) * 10 + (*at - '0');
            if (values[i] > 1000) sql_regex_fail(regex, "is too long, or repeats too much");
        } else {
            return false;
        }
    }
    if (at == regex->end || !digits) return false;
    *least = values[0];
    *most = i ? values[1] : values[0];
    if (*most >= 0 && *most < *least) sql_regex_fail(regex, "has a repetition whose ends are in the wrong order");
    regex->at = at + 1;
    return true;
}

/* Opens a place for an instruction in front of the code from `start`. */
static sql_regex_code *sql_regex_insert(sql_regex *regex, int start)
{
    sql_regex_emit(regex, SQL_R_JUMP);
    memmove(&regex->code[start + 1], &regex->code[start], (size_t)(regex->count - 1 - start) * sizeof *regex->code);
    memset(&regex->code[start], 0, sizeof *regex->code);
    return &regex->code[start];
}

static void sql_regex_copy(sql_regex *regex, const sql_regex_code *from, int count)
{
    int i;
    for (i = 0; i < count; i++) *sql_regex_emit(regex, SQL_R_MATCH) = from[i];
}

/* The code from `start` is one atom: makes it match least to most times (-1: no end). Jumps inside it are relative, so
 * it can be copied. */
static void sql_regex_repeat(sql_regex *regex, int start, int least, int most)
{
    int size = regex->count - start, i;
    sql_regex_code *atom = (sql_regex_code *)sql_alloc(regex->arena, (size_t)(size + 1) * sizeof *atom);
    memcpy(atom, &regex->code[start], (size_t)size * sizeof *atom);
    regex->count = start;
    for (i = 0; i < least; i++) sql_regex_copy(regex, atom, size);
    if (most < 0) {
        sql_regex_emit(regex, SQL_R_SPLIT)->to = size + 2;
        sql_regex_copy(regex, atom, size);
        sql_regex_emit(regex, SQL_R_JUMP)->to = -(size + 1);
    }
    for (i = least; i < most; i++) {
        sql_regex_emit(regex, SQL_R_SPLIT)->to = (size + 1) * (most - i);
        sql_regex_copy(regex, atom, size);
    }
}

static void sql_regex_sequence(sql_regex *regex)
{
    while (regex->at < regex->end && *regex->at != '|' && *regex->at != ')') {
        int start = regex->count, least = 1, most = 1;
        if (regex->free && (strchr(" \t\r\n\f\v", *regex->at) || *regex->at == '#')) {
            bool comment = *regex->at == '#';
            do regex->at++;
            while (comment && regex->at < regex->end && regex->at[-1] != '\n');
            continue;
        }
        sql_regex_atom(regex);
        while (regex->free && regex->at < regex->end && strchr(" \t\r\n\f\v", *regex->at)) regex->at++;
        if (regex->at == regex->end) break;
        if (*regex->at == '{' && sql_regex_braces(regex, &least, &most)) {
            regex->at--;
        } else if (*regex->at == '*' || *regex->at == '+' || *regex->at == '?') {
            least = *regex->at == '+';
            most = *regex->at == '?' ? 1 : -1;
        } else {
            continue;
        }
        regex->at++;
        if (regex->at < regex->end && *regex->at == '+')
            sql_regex_fail(regex, "has a possessive quantifier, which the emulator does not support");
        if (regex->at < regex->end && *regex->at == '?') regex->at++;   /* lazy: it matches all the same */
        sql_regex_repeat(regex, start, least, most);
    }
}

static void sql_regex_alternatives(sql_regex *regex)
{
    int start = regex->count;
    sql_regex_sequence(regex);
    if (regex->at < regex->end && *regex->at == '|') {
        sql_regex_code *split;
        int jump;
        if (++regex->alternatives > 1000) sql_regex_fail(regex, "has too many alternatives");
        regex->at++;
        split = sql_regex_insert(regex, start);
        split->op = SQL_R_SPLIT;
        split->to = regex->count - start + 1;
        jump = regex->count;
        sql_regex_emit(regex, SQL_R_JUMP);
        sql_regex_alternatives(regex);
        regex->code[jump].to = regex->count - jump;
    }
}

static sql_regex *sql_regex_compile(sql_arena *arena, aiocosmos_str pattern, aiocosmos_str modifiers)
{
    sql_regex *regex = (sql_regex *)sql_zalloc(arena, sizeof *regex);
    size_t i;
    regex->arena = arena;
    regex->at = pattern.ptr;
    regex->end = pattern.ptr + pattern.len;
    regex->code = (sql_regex_code *)sql_alloc(arena, SQL_REGEX_MAX * sizeof *regex->code);
    for (i = 0; i < modifiers.len; i++) {
        switch (modifiers.ptr[i]) {
        case 'i': regex->fold = true; break;
        case 'm': regex->lines = true; break;
        case 's': regex->dot_all = true; break;
        case 'x': regex->free = true; break;
        default: sql_regex_fail(regex, "has a modifier other than i, m, s and x");
        }
    }
    sql_regex_alternatives(regex);
    if (regex->at < regex->end) sql_regex_fail(regex, "has a ')' without a '('");
    sql_regex_emit(regex, SQL_R_MATCH);
    return regex;
}

static bool sql_regex_in_set(const sql_regex_code *code, uint32_t c)
{
    const sql_regex_range *range;
    uint32_t lower = sql_lower(c), upper = sql_upper(c);
    for (range = code->set; range; range = range->next) {
        if (c >= range->low && c <= range->high) return !code->negated;
        if (code->fold && ((lower >= range->low && lower <= range->high) ||
                           (upper >= range->low && upper <= range->high)))
            return !code->negated;
    }
    return code->negated;
}

static bool sql_regex_word(uint32_t c)
{
    return c < 0x80 && (sql_is_digit((char)c) || (sql_is_letter((char)c)));
}

typedef struct sql_regex_run {
    const sql_regex *regex;
    int *list, *next, *stack;          /* instructions waiting for the character at hand, and for the one after it */
    int count, next_count;
    uint32_t *seen, mark;              /* seen[i] == mark: instruction i is on the list being made */
    const char *start, *end;
    bool matched;
} sql_regex_run;

static bool sql_regex_holds(const sql_regex_run *run, const sql_regex_code *code, const char *at)
{
    bool before, after;
    switch (code->op) {
    case SQL_R_START: return at == run->start;
    case SQL_R_END: return at == run->end;
    case SQL_R_END_OR_NEWLINE: return at == run->end || (at + 1 == run->end && *at == '\n');
    case SQL_R_LINE_START: return at == run->start || at[-1] == '\n';
    case SQL_R_LINE_END: return at == run->end || *at == '\n';
    default:
        before = at > run->start && sql_regex_word((unsigned char)at[-1]);
        after = at < run->end && sql_regex_word((unsigned char)*at);
        return (before != after) == (code->op == SQL_R_BOUNDARY);
    }
}

/* Puts an instruction on the next list, and all that is reached from it without reading a character. */
static void sql_regex_reach(sql_regex_run *run, int from, const char *at)
{
    int depth = 0;
    run->stack[depth++] = from;
    while (depth > 0) {
        int i = run->stack[--depth];
        const sql_regex_code *code = &run->regex->code[i];
        if (run->seen[i] == run->mark) continue;
        run->seen[i] = run->mark;
        switch (code->op) {
        case SQL_R_MATCH:
            run->matched = true;
            break;
        case SQL_R_SPLIT:
            run->stack[depth++] = i + code->to;
            run->stack[depth++] = i + 1;
            break;
        case SQL_R_JUMP:
            run->stack[depth++] = i + code->to;
            break;
        case SQL_R_CHAR:
        case SQL_R_ANY:
        case SQL_R_SET:
            run->next[run->next_count++] = i;
            break;
        default:
            if (sql_regex_holds(run, code, at)) run->stack[depth++] = i + 1;
        }
    }
}

static bool sql_regex_match(sql_arena *arena, const sql_regex *regex, aiocosmos_str text)
{
    size_t size = (size_t)regex->count;
    int *lists = (int *)sql_alloc(arena, size * 4 * sizeof(int));
    const char *at = text.ptr;
    sql_regex_run run;
    memset(&run, 0, sizeof run);
    run.regex = regex;
    run.list = lists;
    run.next = lists + size;
    run.stack = lists + 2 * size;      /* an instruction pushes two at most, and only when first seen */
    run.seen = (uint32_t *)sql_zalloc(arena, size * sizeof(uint32_t));
    run.mark = 1;
    run.start = text.ptr;
    run.end = text.ptr + text.len;
    for (;;) {
        uint32_t c;
        int *list, i;
        sql_regex_reach(&run, 0, at);                      /* a match may start anywhere */
        if (run.matched || at == run.end) return run.matched;
        list = run.list;
        run.list = run.next;
        run.next = list;
        run.count = run.next_count;
        run.next_count = 0;
        run.mark++;
        sql_spend(arena->env, (size_t)run.count / 4 + 1);
        c = sql_character(&at, run.end);
        for (i = 0; i < run.count; i++) {
            const sql_regex_code *code = &regex->code[run.list[i]];
            bool fits = code->op == SQL_R_ANY ? c != code->c || !code->c :
                        code->op == SQL_R_SET ? sql_regex_in_set(code, c) : (code->fold ? sql_lower(c) : c) == code->c;
            if (fits) sql_regex_reach(&run, run.list[i] + 1, at);
        }
    }
}

/*------------------------------------------------------------------------------
 * MARK: - A run, and evaluating expressions in it
 *----------------------------------------------------------------------------*/

typedef struct sql_pipe sql_pipe;

struct emu_sql_run {
    sql_env env;
    const emu_sql_query *query;
    void (*emit)(void *user, const char *json, size_t len);
    void *user;
    sql_arena arena;                   /* values of the document at hand */
    sql_arena kept;                    /* what outlives it */
    aiocosmos_json_doc document;
    aiocosmos_json_doc *texts;              /* parsed by StringToArray and the like, for the document at hand */
    size_t text_count, text_cap;
    sql_value *bindings;               /* by slot: what the aliases stand for now */
    const sql_value *aggregates;       /* results, while a group is projected */
    const sql_value *group_keys;
    sql_arena regex_arena;             /* the last pattern, compiled */
    sql_regex *regex;
    aiocosmos_str regex_pattern, regex_modifiers;
    aioc_mem_buffer row;
    uint64_t documents;                /* fed so far */
    uint64_t row_document;             /* the one that the row at hand comes from */
    uint64_t random;
    sql_pipe *pipe, *innermost;
};

typedef struct sql_call {
    emu_sql_run *run;
    sql_arena *arena;
    const sql_function *function;
    const sql_node *node;
    const sql_value *args;
    uint32_t count;
    sql_value *out;                    /* undefined when apply is called */
} sql_call;

static void sql_eval(emu_sql_run *run, const sql_node *node, sql_value *out);
static void sql_eval_subquery(emu_sql_run *run, const sql_node *node, sql_value *out);

/* A value without a copy where it is at hand already. */
static const sql_value *sql_eval_ref(emu_sql_run *run, const sql_node *node, sql_value *room)
{
    if (node->kind == SQL_ALIAS) return &run->bindings[node->slot];
    if (node->kind == SQL_CONSTANT) return &node->value;
    sql_eval(run, node, room);
    return room;
}

/* As JavaScript converts: modulo 2^32; NaN and infinities are 0. */
static uint32_t sql_to_uint32(double real)
{
    double rest;
    if (!isfinite(real)) return 0;
    rest = fmod(trunc(real), 4294967296.0);
    if (rest < 0) rest += 4294967296.0;
    return (uint32_t)rest;
}

static int32_t sql_to_int32(double real)
{
    uint32_t bits = sql_to_uint32(real);
    return bits < 0x80000000u ? (int32_t)bits : (int32_t)(bits - 0x80000000u) - 0x7fffffff - 1;
}

static double sql_arithmetic(sql_op op, double a, double b)
{
    switch (op) {
    case SQL_OP_ADD: return a + b;
    case SQL_OP_SUBTRACT: return a - b;
    case SQL_OP_MULTIPLY: return a * b;
    case SQL_OP_DIVIDE:
        if (b != 0) return a / b;
        return a == 0 || isnan(a) ? (double)NAN : copysign(HUGE_VAL, a) * copysign(1, b);
    case SQL_OP_MODULO: return b == 0 ? (double)NAN : fmod(a, b);
    case SQL_OP_BIT_AND: return sql_to_int32((double)(sql_to_uint32(a) & sql_to_uint32(b)));
    case SQL_OP_BIT_OR: return sql_to_int32((double)(sql_to_uint32(a) | sql_to_uint32(b)));
    case SQL_OP_BIT_XOR: return sql_to_int32((double)(sql_to_uint32(a) ^ sql_to_uint32(b)));
    case SQL_OP_SHIFT_LEFT: return sql_to_int32((double)(sql_to_uint32(a) << (sql_to_uint32(b) & 31)));
    case SQL_OP_SHIFT_RIGHT_ZERO: return (double)(sql_to_uint32(a) >> (sql_to_uint32(b) & 31));
    default: return floor(ldexp(sql_to_int32(a), -(int)(sql_to_uint32(b) & 31)));
    }
}

static aiocosmos_str sql_concat(sql_arena *arena, aiocosmos_str a, aiocosmos_str b)
{
    char *joined = (char *)sql_alloc(arena, a.len + b.len + 1);
    if (a.len) memcpy(joined, a.ptr, a.len);
    if (b.len) memcpy(joined + a.len, b.ptr, b.len);
    return sql_str(joined, a.len + b.len);
}

/* = and != see whether two values are the same, whatever their types; an undefined one makes the answer undefined. */
static void sql_eval_equality(emu_sql_run *run, bool wanted, const sql_value *a, const sql_value *b, sql_value *out)
{
    bool numbers = a->type == SQL_NUMBER && b->type == SQL_NUMBER;
    if (a->type == SQL_UNDEFINED || b->type == SQL_UNDEFINED) sql_set_undefined(out);
    else if (numbers && (isnan(a->as.number.real) || isnan(b->as.number.real))) sql_set_bool(out, !wanted);
    else sql_set_bool(out, sql_equal(&run->arena, a, b) == wanted);
}

/* < and its like compare values of one primitive type; all else is undefined. */
static void sql_eval_relation(sql_op op, const sql_value *a, const sql_value *b, sql_value *out)
{
    int order;
    sql_set_undefined(out);
    if (a->type != b->type || a->type == SQL_UNDEFINED || a->type >= SQL_ARRAY) return;
    if (a->type == SQL_NUMBER && (isnan(a->as.number.real) || isnan(b->as.number.real))) {
        sql_set_bool(out, false);
        return;
    }
    order = sql_compare_primitives(a, b);
    sql_set_bool(out, op == SQL_OP_LESS ? order < 0 : op == SQL_OP_LESS_EQUAL ? order <= 0 :
                      op == SQL_OP_GREATER ? order > 0 : order >= 0);
}

static void sql_eval_binary(emu_sql_run *run, const sql_node *node, sql_value *out)
{
    sql_value left_room, right_room;
    const sql_value *left = sql_eval_ref(run, node->children[0], &left_room);
    const sql_value *right = sql_eval_ref(run, node->children[1], &right_room);
    sql_op op = (sql_op)node->op;
    if (op == SQL_OP_EQUAL || op == SQL_OP_NOT_EQUAL) {
        sql_eval_equality(run, op == SQL_OP_EQUAL, left, right, out);
    } else if (op >= SQL_OP_LESS && op <= SQL_OP_GREATER_EQUAL) {
        sql_eval_relation(op, left, right, out);
    } else if (op == SQL_OP_CONCAT) {
        if (left->type == SQL_STRING && right->type == SQL_STRING)
            sql_set_string(out, sql_concat(&run->arena, left->as.string, right->as.string));
        else sql_set_undefined(out);
    } else if (left->type == SQL_NUMBER && right->type == SQL_NUMBER) {
        sql_set_number(out, sql_arithmetic(op, left->as.number.real, right->as.number.real));
    } else {
        sql_set_undefined(out);
    }
}

static void sql_eval_unary(emu_sql_run *run, const sql_node *node, sql_value *out)
{
    sql_value room;
    const sql_value *value = sql_eval_ref(run, node->children[0], &room);
    double real = value->as.number.real;
    if (node->op == SQL_OP_NOT && value->type == SQL_BOOL) sql_set_bool(out, !value->truth);
    else if (node->op == SQL_OP_NOT || value->type != SQL_NUMBER) sql_set_undefined(out);
    else sql_set_number(out, node->op == SQL_OP_MINUS ? -real : node->op == SQL_OP_PLUS ? real :
                             (double)sql_to_int32((double)~sql_to_uint32(real)));
}

/* Three-valued logic: false AND anything is false, true OR anything is true, also before or behind an undefined. */
static void sql_eval_logical(emu_sql_run *run, const sql_node *node, sql_value *out)
{
    bool deciding = node->kind == SQL_OR, undefined = false;
    uint32_t i;
    for (i = 0; i < node->count; i++) {
        sql_value room;
        const sql_value *value = sql_eval_ref(run, node->children[i], &room);
        if (value->type != SQL_BOOL) {
            undefined = true;
        } else if (value->truth == deciding) {
            sql_set_bool(out, deciding);
            return;
        }
    }
    if (undefined) sql_set_undefined(out);
    else sql_set_bool(out, !deciding);
}

static void sql_eval_between(emu_sql_run *run, const sql_node *node, sql_value *out)
{
    sql_value rooms[3], low, high;
    const sql_value *value = sql_eval_ref(run, node->children[0], &rooms[0]);
    sql_eval_relation(SQL_OP_GREATER_EQUAL, value, sql_eval_ref(run, node->children[1], &rooms[1]), &low);
    sql_eval_relation(SQL_OP_LESS_EQUAL, value, sql_eval_ref(run, node->children[2], &rooms[2]), &high);
    if ((low.type == SQL_BOOL && !low.truth) || (high.type == SQL_BOOL && !high.truth))
        sql_set_bool(out, node->negated);
    else if (low.type == SQL_BOOL && high.type == SQL_BOOL) sql_set_bool(out, !node->negated);
    else sql_set_undefined(out);
}

static void sql_eval_in(emu_sql_run *run, const sql_node *node, sql_value *out)
{
    sql_value room, item_room;
    const sql_value *value = sql_eval_ref(run, node->children[0], &room);
    uint32_t i;
    if (value->type == SQL_UNDEFINED) {
        sql_set_undefined(out);
        return;
    }
    for (i = 1; i < node->count; i++) {
        if (!sql_equal(&run->arena, value, sql_eval_ref(run, node->children[i], &item_room))) continue;
        sql_set_bool(out, !node->negated);
        return;
    }
    sql_spend(&run->env, node->count / 8);
    sql_set_bool(out, node->negated);
}

typedef enum sql_like_kind { SQL_LIKE_CHAR, SQL_LIKE_ONE, SQL_LIKE_SET, SQL_LIKE_MANY } sql_like_kind;

/* One element of a LIKE pattern. *c: the character; *set: what is between the brackets. */
static sql_like_kind sql_like_next(const char **at, const char *end, uint32_t escape, uint32_t *c, aiocosmos_str *set)
{
    const char *close;
    *c = sql_character(at, end);
    if (escape && *c == escape && *at < end) {
        *c = sql_character(at, end);
        return SQL_LIKE_CHAR;
    }
    if (*c == '%') return SQL_LIKE_MANY;
    if (*c == '_') return SQL_LIKE_ONE;
    if (*c != '[') return SQL_LIKE_CHAR;
    close = (const char *)memchr(*at, ']', (size_t)(end - *at));
    if (!close) return SQL_LIKE_CHAR;
    *set = sql_str(*at, (size_t)(close - *at));
    *at = close + 1;
    return SQL_LIKE_SET;
}

static bool sql_like_in_set(aiocosmos_str set, uint32_t c)
{
    const char *at = set.ptr, *end = set.ptr + set.len;
    bool negated = set.len > 1 && *at == '^', found = false;
    if (negated) at++;
    while (at < end) {
        uint32_t low = sql_character(&at, end), high = low;
        if (at + 1 < end && *at == '-') {
            at++;
            high = sql_character(&at, end);
        }
        if (c >= low && c <= high) found = true;
    }
    return found != negated;
}

/* After a mismatch it is enough to let the last % take one character more: what stands before it matched already. */
static bool sql_like(sql_env *env, aiocosmos_str text, aiocosmos_str pattern, uint32_t escape)
{
    const char *t = text.ptr, *t_end = text.ptr + text.len, *p = pattern.ptr, *p_end = pattern.ptr + pattern.len;
    const char *retry_t = NULL, *retry_p = NULL;
    for (;;) {
        uint32_t wanted = 0, c;
        aiocosmos_str set = sql_str(NULL, 0);
        bool fits = false;
        sql_spend(env, 1);
        if (p < p_end) {
            sql_like_kind kind = sql_like_next(&p, p_end, escape, &wanted, &set);
            if (kind == SQL_LIKE_MANY) {
                if (p == p_end) return true;
                retry_p = p;
                retry_t = t;
                continue;
            }
            if (t < t_end) {
                const char *next = t;
                c = sql_character(&next, t_end);
                fits = kind == SQL_LIKE_ONE || (kind == SQL_LIKE_SET ? sql_like_in_set(set, c) : c == wanted);
                if (fits) t = next;
            }
        } else if (t == t_end) {
            return true;
        }
        if (fits) continue;
        if (!retry_p || retry_t == t_end) return false;
        sql_character(&retry_t, t_end);
        t = retry_t;
        p = retry_p;
    }
}

static void sql_eval_like(emu_sql_run *run, const sql_node *node, sql_value *out)
{
    sql_value rooms[2];
    const sql_value *text = sql_eval_ref(run, node->children[0], &rooms[0]);
    const sql_value *pattern = sql_eval_ref(run, node->children[1], &rooms[1]);
    uint32_t escape = 0;
    sql_set_undefined(out);
    if (text->type != SQL_STRING || pattern->type != SQL_STRING) return;
    if (node->count == 3) {
        aiocosmos_str mark = node->children[2]->value.as.string;
        const char *at = mark.ptr;
        escape = sql_character(&at, mark.ptr + mark.len);
    }
    sql_set_bool(out, sql_like(&run->env, text->as.string, pattern->as.string, escape) != node->negated);
}

static void sql_eval_new(emu_sql_run *run, const sql_node *node, sql_value *out)
{
    sql_value made, member;
    uint32_t i;
    bool object = node->kind == SQL_NEW_OBJECT;
    sql_set_members(&made, &run->arena, object ? SQL_OBJECT : SQL_ARRAY, node->count);
    for (i = 0; i < node->count; i++) {
        sql_eval(run, node->children[i], &member);
        sql_append(&run->arena, &made, object ? node->names[i] : sql_str(NULL, 0), &member);
    }
    *out = made;
}

static void sql_eval_call(emu_sql_run *run, const sql_node *node, sql_value *out)
{
    sql_value few[4], *args = few;
    sql_call call;
    uint32_t i;
    if (node->count > sizeof few / sizeof few[0])
        args = (sql_value *)sql_alloc(&run->arena, node->count * sizeof *args);
    for (i = 0; i < node->count; i++) sql_eval(run, node->children[i], &args[i]);
    call.run = run;
    call.arena = &run->arena;
    call.function = node->function;
    call.node = node;
    call.args = args;
    call.count = node->count;
    call.out = out;
    sql_set_undefined(out);
    node->function->apply(&call);
}

static void sql_eval(emu_sql_run *run, const sql_node *node, sql_value *out)
{
    sql_value rooms[2];
    const sql_value *value;
    sql_spend(&run->env, 1);
    switch ((sql_kind)node->kind) {
    case SQL_CONSTANT: *out = node->value; break;
    case SQL_ALIAS: *out = run->bindings[node->slot]; break;
    case SQL_GROUP_KEY: *out = run->group_keys[node->slot]; break;
    case SQL_AGGREGATE: *out = run->aggregates[node->slot]; break;
    case SQL_PROPERTY:
        value = sql_eval_ref(run, node->children[0], &rooms[0]);
        sql_property(&run->arena, value, node->name, out);
        break;
    case SQL_MEMBER: {
        const sql_value *index = sql_eval_ref(run, node->children[1], &rooms[1]);
        value = sql_eval_ref(run, node->children[0], &rooms[0]);
        if (index->type == SQL_STRING) sql_property(&run->arena, value, index->as.string, out);
        else if (index->type == SQL_NUMBER) sql_element(&run->arena, value, index, out);
        else sql_set_undefined(out);
        break;
    }
    case SQL_NEW_ARRAY:
    case SQL_NEW_OBJECT: sql_eval_new(run, node, out); break;
    case SQL_UNARY: sql_eval_unary(run, node, out); break;
    case SQL_BINARY: sql_eval_binary(run, node, out); break;
    case SQL_AND:
    case SQL_OR: sql_eval_logical(run, node, out); break;
    case SQL_BETWEEN: sql_eval_between(run, node, out); break;
    case SQL_IN: sql_eval_in(run, node, out); break;
    case SQL_LIKE: sql_eval_like(run, node, out); break;
    case SQL_COALESCE:
        sql_eval(run, node->children[0], out);
        if (out->type == SQL_UNDEFINED) sql_eval(run, node->children[1], out);
        break;
    case SQL_CONDITIONAL:
        value = sql_eval_ref(run, node->children[0], &rooms[0]);
        sql_eval(run, node->children[value->type == SQL_BOOL && value->truth ? 1 : 2], out);
        break;
    case SQL_CALL: sql_eval_call(run, node, out); break;
    case SQL_EXISTS:
    case SQL_ARRAY_OF:
    case SQL_SCALAR: sql_eval_subquery(run, node, out); break;
    case SQL_NAME: sql_set_undefined(out); break;          /* all are bound */
    }
}

static bool sql_is_true(emu_sql_run *run, const sql_node *node)
{
    sql_value room;
    const sql_value *value = sql_eval_ref(run, node, &room);
    return value->type == SQL_BOOL && value->truth;
}

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
    call->run->random = sql_mix(call->run->random, 0x5bf03635u);
    sql_set_number(call->out, (double)(call->run->random >> 11) / 9007199254740992.0);
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
    case SQL_CONTAINS: is = sql_find(&call->run->env, whole, part, 0) != SIZE_MAX; break;
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
        if ((sql_find(&call->run->env, whole, part, 0) != SIZE_MAX) != all) sql_set_bool(call->out, !all);
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
    at = call->function->which ? sql_find_last(&call->run->env, whole, call->args[1].as.string) :
         sql_find(&call->run->env, whole, call->args[1].as.string, from);
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
        sql_spend(&call->run->env, 1 + set.len / 8);
        if (!sql_trims(set, blanks, sql_character(&next, end))) break;
        at = next;
    }
    while ((call->function->which & 2) && at < end) {
        const char *last = end - 1;
        while (last > at && ((unsigned char)*last & 0xc0) == 0x80) last--;
        next = last;
        sql_spend(&call->run->env, 1 + set.len / 8);
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
    while ((at = sql_find(&call->run->env, text, part, from)) != SIZE_MAX) {
        count++;
        from = at + part.len;
    }
    if (with.len > part.len && count > SQL_MEMORY_VALUES / (with.len - part.len)) sql_fail_memory(&call->run->env);
    out = (char *)sql_alloc(call->arena, text.len + count * with.len + 1);
    for (from = 0; (at = sql_find(&call->run->env, text, part, from)) != SIZE_MAX; from = at + part.len) {
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
    size_t i, length;
    char *out;
    if (!sql_strings(call, 1) || times->type != SQL_NUMBER || !times->whole || times->as.number.integer < 0) return;
    length = sql_length(text);
    if (length && (uint64_t)times->as.number.integer > 10000 / length) return;
    if (!length) {
        *call->out = call->args[0];
        return;
    }
    out = (char *)sql_alloc(call->arena, text.len * (size_t)times->as.number.integer + 1);
    for (i = 0; i < (size_t)times->as.number.integer; i++) memcpy(out + i * text.len, text.ptr, text.len);
    sql_set_string(call->out, sql_str(out, i * text.len));
}

static void sql_apply_reverse(sql_call *call)
{
    aiocosmos_str text = call->args[0].as.string;
    const char *at = text.ptr, *end = text.ptr + text.len, *from;
    char *out;
    if (!sql_strings(call, 1)) return;
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
    emu_sql_run *run = call->run;
    aiocosmos_str pattern = call->args[1].as.string;
    aiocosmos_str modifiers = call->count > 2 ? call->args[2].as.string : sql_str("", 0);
    if (!sql_strings(call, call->count)) return;
    if (!run->regex || !aioc_mem_same(run->regex_pattern, pattern) || !aioc_mem_same(run->regex_modifiers, modifiers)) {
        run->regex = NULL;
        sql_arena_free(&run->regex_arena);
        run->regex_pattern = sql_copy_str(&run->regex_arena, pattern);
        run->regex_modifiers = sql_copy_str(&run->regex_arena, modifiers);
        sql_spend(&run->env, 1000);
        run->regex = sql_regex_compile(&run->regex_arena, run->regex_pattern, run->regex_modifiers);
    }
    sql_set_bool(call->out, sql_regex_match(call->arena, run->regex, call->args[0].as.string));
}

enum { SQL_AFTER, SQL_AFTER_LAST, SQL_BEFORE, SQL_BEFORE_LAST };

static void sql_apply_around(sql_call *call)
{
    aiocosmos_str text = call->args[0].as.string, part = call->args[1].as.string;
    int which = call->function->which;
    size_t at;
    if (!sql_strings(call, 2)) return;
    at = which == SQL_AFTER || which == SQL_BEFORE ? sql_find(&call->run->env, text, part, 0) :
         sql_find_last(&call->run->env, text, part);
    if (at == SIZE_MAX) return;
    if (which == SQL_BEFORE || which == SQL_BEFORE_LAST) text.len = at;
    else text = sql_str(text.ptr + at + part.len, text.len - at - part.len);
    sql_set_string(call->out, text);
}

/* Parses the text of a string as JSON of one type; the parsed document lives as long as the one that was fed. */
static void sql_apply_parse(sql_call *call)
{
    emu_sql_run *run = call->run;
    aiocosmos_str text = call->args[0].as.string;
    aiocosmos_json_doc *doc;
    sql_value value;
    int result;
    if (!sql_strings(call, 1)) return;
    if (run->text_count == run->text_cap) {
        size_t cap = run->text_cap ? run->text_cap * 2 : 4, i;
        aiocosmos_json_doc *texts = (aiocosmos_json_doc *)aioc_mem_resize(
            &run->env.memory, run->texts, run->text_cap * sizeof *texts, cap * sizeof *texts);
        if (!texts) sql_fail_memory(&run->env);
        run->texts = texts;
        for (i = run->text_cap; i < cap; i++) aioc_json_open(&texts[i], &run->env.memory);
        run->text_cap = cap;
    }
    doc = &run->texts[run->text_count];
    sql_spend(&run->env, 1 + text.len);
    result = aioc_json_parse(doc, text.ptr, text.len);
    if (result == AIOCOSMOS_E_NOMEM) sql_fail_memory(&run->env);
    if (result != 0) return;
    run->text_count++;
    sql_read(call->arena, aioc_json_root(doc), &value);
    if (value.type == call->function->which) *call->out = value;
}

static void sql_apply_to_string(sql_call *call)
{
    emu_sql_run *run = call->run;
    const sql_value *value = &call->args[0];
    aioc_mem_buffer *row = &run->row;
    size_t before = row->len;
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
    sql_render(call->arena, row, value, true);             /* behind what is being written there, if anything */
    sql_set_string(call->out, sql_copy_str(call->arena, sql_str(row->data + before, row->len - before)));
    row->len = before;
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
        if (len > SQL_MEMORY_VALUES) sql_fail_memory(&call->run->env);
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
    while (mark.len && (at = sql_find(&call->run->env, text, mark, from)) != SIZE_MAX) {
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

/* All properties of `part` are in `whole`. */
static bool sql_covers(sql_arena *arena, const sql_value *whole, const sql_value *part)
{
    sql_cursor cursor;
    sql_value value, found;
    aiocosmos_str name;
    if (whole->type != SQL_OBJECT || part->type != SQL_OBJECT) return sql_equal(arena, whole, part);
    memset(&cursor, 0, sizeof cursor);
    while (sql_next(arena, part, &cursor, &name, &value)) {
        sql_property(arena, whole, name, &found);
        if (!sql_equal(arena, &found, &value)) return false;
    }
    return true;
}

static bool sql_array_has(sql_arena *arena, const sql_value *array, const sql_value *wanted, bool partial)
{
    sql_cursor cursor;
    sql_value item;
    memset(&cursor, 0, sizeof cursor);
    while (sql_next(arena, array, &cursor, NULL, &item))
        if (partial ? sql_covers(arena, &item, wanted) : sql_equal(arena, &item, wanted)) return true;
    return false;
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
        sql_spend(&call->run->env, i - j + 1);
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

static bool sql_date_arg(const sql_value *value, int64_t *ticks)
{
    return value->type == SQL_STRING && sql_parse_date(value->as.string, ticks);
}

static void sql_set_date(sql_call *call, int64_t ticks)
{
    sql_date date;
    char text[40];
    if (ticks < sql_days(1, 1, 1) * SQL_TICKS_DAY || ticks >= sql_days(10000, 1, 1) * SQL_TICKS_DAY) return;
    sql_split_date(ticks, &date);
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%07dZ", (int)date.year, (int)date.month, (int)date.day,
             (int)date.hour, (int)date.minute, (int)date.second, (int)date.ticks);
    sql_set_string(call->out, sql_copy_str(call->arena, aioc_mem_str(text)));
}

enum { SQL_NOW_DATETIME, SQL_NOW_TICKS, SQL_NOW_TIMESTAMP };

static void sql_apply_now(sql_call *call)
{
    int64_t now_ms = call->run->query->now_ms;
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
        !call->args[1].whole || !sql_date_arg(&call->args[2], &ticks))
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
    if (!sql_find_part(&call->args[0], &part) || part == SQL_WEEKDAY || !sql_date_arg(&call->args[1], &from) ||
        !sql_date_arg(&call->args[2], &to))
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
    if (sql_find_part(&call->args[0], &part) && sql_date_arg(&call->args[1], &ticks)) sql_set_part(call, ticks, part);
}

/* YEAR, MONTH, DAY */
static void sql_apply_date_field(sql_call *call)
{
    int64_t ticks;
    if (sql_date_arg(&call->args[0], &ticks)) sql_set_part(call, ticks, (sql_part)call->function->which);
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
    if (!sql_date_arg(&call->args[0], &ticks)) return;
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
    if (!sql_date_arg(&call->args[0], &ticks) || !sql_find_part(&call->args[1], &part) || part == SQL_WEEKDAY) return;
    if (call->count > 2) {
        if (call->args[2].type != SQL_NUMBER || !call->args[2].whole || call->args[2].as.number.integer <= 0) return;
        size = call->args[2].as.number.integer;
    }
    if (call->count > 3 && (!sql_date_arg(&call->args[3], &origin) || origin < sql_days(1601, 1, 1) * SQL_TICKS_DAY))
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
    sql_set_bool(call->out, sql_date_arg(&call->args[0], &ticks));
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
        product += a.as.number.real * b.as.number.real;
        left += a.as.number.real * a.as.number.real;
        right += b.as.number.real * b.as.number.real;
        distance += (a.as.number.real - b.as.number.real) * (a.as.number.real - b.as.number.real);
    }
    if (call->node->op == SQL_EUCLIDEAN) sql_set_number(call->out, sqrt(distance));
    else if (call->node->op == SQL_DOTPRODUCT) sql_set_number(call->out, product);
    else if (left > 0 && right > 0) sql_set_number(call->out, product / (sqrt(left) * sqrt(right)));
    else sql_set_number(call->out, 0);
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

static const sql_function *sql_find_function(aiocosmos_str name)
{
    size_t i;
    for (i = 0; i < sizeof sql_functions / sizeof sql_functions[0]; i++)
        if (aioc_mem_same_nocase(name, aioc_mem_str(sql_functions[i].name))) return &sql_functions[i];
    return NULL;
}

/*------------------------------------------------------------------------------
 * MARK: - Groups, sets, sorted rows
 *----------------------------------------------------------------------------*/

typedef struct sql_accumulator {
    uint64_t count;
    double sum;
    bool spoilt;                       /* SUM and AVG saw something that is no number, MIN and MAX an array or object */
    sql_value best;                    /* MIN, MAX; MAKELIST, MAKESET: the array */
} sql_accumulator;

typedef struct sql_entry {
    struct sql_entry *chain, *later;   /* in its bucket; in the order of being added */
    uint64_t hash, document;           /* the document that it was added for */
    sql_value *keys;
    sql_accumulator *accumulators;
} sql_entry;

typedef struct sql_table {             /* of combinations of values, each once */
    sql_entry **buckets, *first, *last;
    size_t count, cap;
} sql_table;

static void sql_table_grow(sql_arena *kept, sql_table *table)
{
    size_t cap = table->cap ? table->cap * 2 : 16;
    sql_entry *entry;
    table->buckets = (sql_entry **)sql_zalloc(kept, cap * sizeof *table->buckets);
    table->cap = cap;
    for (entry = table->first; entry; entry = entry->later) {
        sql_entry **bucket = &table->buckets[entry->hash & (cap - 1)];
        entry->chain = *bucket;
        *bucket = entry;
    }
}

static sql_entry *sql_table_find(emu_sql_run *run, sql_arena *kept, sql_table *table, const sql_value *keys,
                                 uint32_t count, bool *added)
{
    uint64_t hash = count;
    uint32_t i;
    sql_entry *entry;
    for (i = 0; i < count; i++) hash = sql_mix(hash, sql_hash(&run->arena, &keys[i]));
    if (table->count >= table->cap) sql_table_grow(kept, table);
    *added = false;
    for (entry = table->buckets[hash & (table->cap - 1)]; entry; entry = entry->chain) {
        if (entry->hash != hash) continue;
        for (i = 0; i < count && sql_equal(&run->arena, &keys[i], &entry->keys[i]); i++) continue;
        if (i == count) return entry;
    }
    entry = (sql_entry *)sql_zalloc(kept, sizeof *entry);
    entry->keys = (sql_value *)sql_alloc(kept, (count ? count : 1) * sizeof *entry->keys);
    for (i = 0; i < count; i++) sql_keep(&run->arena, kept, &keys[i], &entry->keys[i]);
    entry->hash = hash;
    entry->document = run->row_document;
    entry->chain = table->buckets[hash & (table->cap - 1)];
    table->buckets[hash & (table->cap - 1)] = entry;
    if (table->last) table->last->later = entry;
    else table->first = entry;
    table->last = entry;
    table->count++;
    *added = true;
    return entry;
}

typedef struct sql_row {
    sql_value *keys;                   /* of ORDER BY */
    aiocosmos_str text;
    uint64_t document, index;          /* where it came from, for ties */
} sql_row;

/* The end of a pipe. False: enough. */
typedef bool (*sql_sink)(emu_sql_run *run, void *data, const sql_value *row);

/* One SELECT at work: values of its first source go in at the top, rows come out of the sink. A subquery's lives for
 * one evaluation and keeps everything in the arena of the document; those of the query itself live as long as the
 * run. */
struct sql_pipe {
    emu_sql_run *run;
    const sql_select *select;
    sql_arena *kept;
    sql_sink sink;
    void *data;
    sql_pipe *inner;                   /* FROM (SELECT … FROM container): feeds this one */
    sql_table distinct, groups;
    sql_row **rows;
    size_t row_count, row_cap;
    sql_arena row_arena, old_arena;    /* old_arena: while rows move to a new one */
    uint64_t index;
    int64_t skipped, delivered;
    bool full;
};

static bool sql_row_before(sql_pipe *pipe, const sql_row *a, const sql_row *b)
{
    const sql_select *select = pipe->select;
    uint32_t i;
    for (i = 0; i < select->order_count; i++) {
        int order = sql_order(&pipe->run->arena, &a->keys[i], &b->keys[i]);
        if (order) return select->orders[i].descending ? order > 0 : order < 0;
    }
    return a->document != b->document ? a->document < b->document : a->index < b->index;
}

static void sql_sort_rows(sql_pipe *pipe, sql_row **rows, sql_row **room, size_t count)
{
    size_t half = count / 2, i = 0, j = half, n = 0;
    if (count < 2) return;
    sql_sort_rows(pipe, rows, room, half);
    sql_sort_rows(pipe, rows + half, room, count - half);
    pipe->run->env.steps = 0;
    memcpy(room, rows, half * sizeof *rows);
    while (i < half && j < count) {
        if (sql_row_before(pipe, rows[j], room[i])) rows[n++] = rows[j++];
        else rows[n++] = room[i++];
    }
    while (i < half) rows[n++] = room[i++];
}

static void sql_sort(sql_pipe *pipe)
{
    size_t size = (pipe->row_count + 1) * sizeof(sql_row *);
    sql_row **room = (sql_row **)sql_alloc(&pipe->row_arena, size);
    sql_sort_rows(pipe, pipe->rows, room, pipe->row_count);
}

static void sql_add_row(sql_pipe *pipe, const sql_row *row)
{
    sql_row *copy = (sql_row *)sql_alloc(&pipe->row_arena, sizeof *copy);
    uint32_t i;
    if (pipe->row_count == pipe->row_cap) {
        size_t cap = pipe->row_cap ? pipe->row_cap * 2 : 64;
        sql_row **rows = (sql_row **)sql_alloc(&pipe->row_arena, cap * sizeof *rows);
        if (pipe->row_count) memcpy(rows, pipe->rows, pipe->row_count * sizeof *rows);
        pipe->rows = rows;
        pipe->row_cap = cap;
    }
    *copy = *row;
    copy->keys = (sql_value *)sql_alloc(&pipe->row_arena, pipe->select->order_count * sizeof *copy->keys);
    for (i = 0; i < pipe->select->order_count; i++)
        sql_keep(&pipe->run->arena, &pipe->row_arena, &row->keys[i], &copy->keys[i]);
    copy->text = sql_copy_str(&pipe->row_arena, row->text);
    pipe->rows[pipe->row_count++] = copy;
}

/* How many rows can still come out; -1: all. */
static int64_t sql_wanted(const sql_select *select)
{
    if (select->top >= 0) return select->top;
    return select->limit >= 0 ? select->offset + select->limit : -1;
}

/* With TOP or LIMIT only the best rows so far are held. */
static void sql_drop_rows(sql_pipe *pipe)
{
    int64_t wanted = sql_wanted(pipe->select);
    sql_row **rows;
    size_t i, count;
    if (wanted < 0 || pipe->row_count < (size_t)wanted * 2 + 1000) return;
    sql_sort(pipe);
    rows = pipe->rows;
    count = (size_t)wanted;
    pipe->old_arena = pipe->row_arena;
    sql_arena_init(&pipe->row_arena, &pipe->run->env, EMU_SQL_MEMORY_MAX);
    pipe->rows = NULL;
    pipe->row_count = pipe->row_cap = 0;
    for (i = 0; i < count; i++) sql_add_row(pipe, rows[i]);
    sql_arena_free(&pipe->old_arena);
}

/*------------------------------------------------------------------------------
 * MARK: - Resuming ORDER BY
 *----------------------------------------------------------------------------*/

/* The document's part of a _rid: the last 8 of 16 bytes, in base64 with '-' for '/'. False: it is none. */
static bool sql_rid_document(aiocosmos_str rid, uint64_t *document)
{
    char base64[24];
    unsigned char bytes[16];
    size_t i, len, error_at;
    if (rid.len != sizeof base64) return false;
    for (i = 0; i < sizeof base64; i++) base64[i] = rid.ptr[i] == '-' ? '/' : rid.ptr[i];
    if (!aioc_text_base64_decode(sql_str(base64, sizeof base64), bytes, sizeof bytes, &len, &error_at) ||
        len != sizeof bytes) return false;
    *document = aioc_text_load64le(bytes + 8);
    return true;
}

static int sql_order_resumed(sql_arena *arena, const sql_value *key, const sql_resume_value *at)
{
    sql_hash128 hash;
    if (key->type != at->value.type || key->type < SQL_ARRAY) return sql_order(arena, key, &at->value);
    hash.low = at->low;
    hash.high = at->high;
    return sql_compare_hashes(sql_hash_value(arena, key, sql_seed_root), hash);
}

/* Whether a row with these keys is still to come. */
static bool sql_is_ahead(emu_sql_run *run, const sql_value *keys)
{
    const sql_resume *resume = &run->query->resume;
    const sql_select *select = run->query->select;
    uint64_t document;
    sql_value rid;
    uint32_t i;
    for (i = 0; i < resume->count; i++) {
        int order = sql_order_resumed(&run->arena, &keys[i], &resume->values[i]);
        if (order) return select->orders[i].descending ? order < 0 : order > 0;
    }
    if (!resume->has_rid) return !resume->exclude;
    sql_property(&run->arena, &run->bindings[run->innermost->select->sources[0].root],
                 aioc_mem_str("_rid"), &rid);
    if (rid.type != SQL_STRING || !sql_rid_document(rid.as.string, &document)) return true;
    return resume->exclude ? document > resume->rid : document >= resume->rid;
}

/*------------------------------------------------------------------------------
 * MARK: - Pipes
 *----------------------------------------------------------------------------*/

static bool sql_pipe_join(sql_pipe *pipe, uint32_t index);

static void sql_pipe_init(sql_pipe *pipe, emu_sql_run *run, const sql_select *select, sql_arena *kept, sql_sink sink,
                          void *data)
{
    memset(pipe, 0, sizeof *pipe);
    pipe->run = run;
    pipe->select = select;
    pipe->kept = kept;
    pipe->sink = sink;
    pipe->data = data;
    pipe->full = sql_wanted(select) == 0;
    sql_arena_init(&pipe->row_arena, &run->env, EMU_SQL_MEMORY_MAX);
    sql_arena_init(&pipe->old_arena, &run->env, EMU_SQL_MEMORY_MAX);
}

/* False: a VALUE that is undefined, and so no row. */
static bool sql_project(sql_pipe *pipe, sql_value *out)
{
    const sql_select *select = pipe->select;
    emu_sql_run *run = pipe->run;
    sql_value made, member;
    uint32_t i;
    if (select->value) {
        sql_eval(run, select->items[0], out);
        return out->type != SQL_UNDEFINED;
    }
    sql_set_members(&made, &run->arena, SQL_OBJECT, select->item_count);
    for (i = 0; i < select->item_count; i++) {
        sql_eval(run, select->items[i], &member);
        sql_append(&run->arena, &made, select->names[i], &member);
    }
    *out = made;
    return true;
}

static bool sql_is_new(sql_pipe *pipe, const sql_value *row)
{
    bool added = true;
    if (pipe->select->distinct) sql_table_find(pipe->run, pipe->kept, &pipe->distinct, row, 1, &added);
    return added;
}

/* OFFSET, LIMIT, TOP. */
static bool sql_passes(sql_pipe *pipe)
{
    const sql_select *select = pipe->select;
    int64_t most = select->top >= 0 ? select->top : select->limit;
    if (select->offset > pipe->skipped) {
        pipe->skipped++;
        return false;
    }
    pipe->delivered++;
    if (most >= 0 && pipe->delivered >= most) pipe->full = true;
    return most < 0 || pipe->delivered <= most;
}

static void sql_deliver(sql_pipe *pipe, const sql_value *row)
{
    if (!sql_is_new(pipe, row) || !sql_passes(pipe)) return;
    if (!pipe->sink(pipe->run, pipe->data, row)) pipe->full = true;
}

static void sql_accumulate(sql_pipe *pipe, const sql_node *node, sql_accumulator *sum)
{
    emu_sql_run *run = pipe->run;
    sql_value value, kept;
    int order;
    sql_eval(run, node->children[0], &value);
    if (value.type == SQL_UNDEFINED) return;
    switch ((sql_aggregate)node->op) {
    case SQL_COUNT:
        sum->count++;
        break;
    case SQL_COUNTIF:
        if (value.type == SQL_BOOL && value.truth) sum->count++;
        break;
    case SQL_AVG:
    case SQL_SUM:
        sum->count++;
        if (value.type == SQL_NUMBER) sum->sum += value.as.number.real;
        else sum->spoilt = true;
        break;
    case SQL_MIN:
    case SQL_MAX:
        if (value.type >= SQL_ARRAY) {
            sum->spoilt = true;
            break;
        }
        order = sum->count++ ? sql_order(&run->arena, &value, &sum->best) : node->op == SQL_MIN ? -1 : 1;
        if (node->op == SQL_MIN ? order < 0 : order > 0) sql_keep(&run->arena, pipe->kept, &value, &sum->best);
        break;
    case SQL_MAKELIST:
    case SQL_MAKESET:
        if (!sum->count++) sql_set_members(&sum->best, pipe->kept, SQL_ARRAY, 0);
        if (node->op == SQL_MAKESET && sql_array_has(&run->arena, &sum->best, &value, false)) break;
        sql_keep(&run->arena, pipe->kept, &value, &kept);
        sql_append_element(pipe->kept, &sum->best, &kept);
        break;
    }
}

static sql_entry *sql_group_of(sql_pipe *pipe, const sql_value *keys)
{
    size_t count = pipe->select->aggregate_count;
    bool added;
    sql_entry *entry = sql_table_find(pipe->run, pipe->kept, &pipe->groups, keys, pipe->select->group_count, &added);
    if (added && count)
        entry->accumulators = (sql_accumulator *)sql_zalloc(pipe->kept, count * sizeof(sql_accumulator));
    return entry;
}

static void sql_group(sql_pipe *pipe)
{
    const sql_select *select = pipe->select;
    sql_value few[4], *keys = few;
    sql_entry *entry;
    uint32_t i;
    if (select->group_count > sizeof few / sizeof few[0])
        keys = (sql_value *)sql_alloc(&pipe->run->arena, select->group_count * sizeof *keys);
    for (i = 0; i < select->group_count; i++) sql_eval(pipe->run, select->groups[i], &keys[i]);
    entry = sql_group_of(pipe, keys);
    for (i = 0; i < select->aggregate_count; i++) sql_accumulate(pipe, select->aggregates[i], &entry->accumulators[i]);
}

static void sql_aggregate_result(const sql_node *node, const sql_accumulator *sum, sql_arena *arena, sql_value *out)
{
    sql_set_undefined(out);
    switch ((sql_aggregate)node->op) {
    case SQL_COUNT:
    case SQL_COUNTIF: sql_set_integer(out, (int64_t)sum->count); break;
    case SQL_SUM:
        if (!sum->spoilt) sql_set_number(out, sum->sum);
        break;
    case SQL_AVG:
        if (!sum->spoilt && sum->count) sql_set_number(out, sum->sum / (double)sum->count);
        break;
    case SQL_MAKELIST:
    case SQL_MAKESET:
        if (sum->count) *out = sum->best;
        else sql_set_members(out, arena, SQL_ARRAY, 0);
        break;
    default:
        if (!sum->spoilt && sum->count) *out = sum->best;
    }
}

static void sql_sort_in(sql_pipe *pipe)
{
    emu_sql_run *run = pipe->run;
    const sql_select *select = pipe->select;
    sql_value value;
    sql_row row;
    uint32_t i;
    memset(&row, 0, sizeof row);
    row.keys = (sql_value *)sql_alloc(&run->arena, select->order_count * sizeof *row.keys);
    for (i = 0; i < select->order_count; i++) sql_eval(run, select->orders[i].node, &row.keys[i]);
    if (run->query->resume.values && !sql_is_ahead(run, row.keys)) return;
    if (!sql_project(pipe, &value) || !sql_is_new(pipe, &value)) return;
    row.text = value.text;
    if (!row.text.ptr) {
        run->row.len = 0;
        sql_render(&run->arena, &run->row, &value, false);
        row.text = sql_str(run->row.data, run->row.len);
    }
    row.document = run->documents;
    row.index = pipe->index++;
    sql_add_row(pipe, &row);
    sql_drop_rows(pipe);
}

/* All aliases are bound. */
static void sql_pipe_tuple(sql_pipe *pipe)
{
    const sql_select *select = pipe->select;
    sql_value row;
    sql_spend(&pipe->run->env, 1);
    if (select->where && !sql_is_true(pipe->run, select->where)) return;
    if (select->group_count || select->aggregate_count) sql_group(pipe);
    else if (select->order_count) sql_sort_in(pipe);
    else if (sql_project(pipe, &row)) sql_deliver(pipe, &row);
}

/* A value of a source: binds its alias, or for IN binds it to each element. False: enough. */
static bool sql_pipe_source(sql_pipe *pipe, uint32_t index, const sql_value *value)
{
    const sql_source *source = &pipe->select->sources[index];
    sql_value *binding = &pipe->run->bindings[source->slot];
    if (value->type == SQL_UNDEFINED) return true;
    if (!source->each) {
        *binding = *value;
        return sql_pipe_join(pipe, index + 1);
    }
    if (value->type == SQL_ARRAY) {
        sql_cursor cursor;
        sql_value item;
        memset(&cursor, 0, sizeof cursor);
        while (sql_next(&pipe->run->arena, value, &cursor, NULL, &item)) {
            *binding = item;
            if (!sql_pipe_join(pipe, index + 1)) return false;
        }
    }
    return true;
}

static void sql_pipe_finish(sql_pipe *pipe);

static void sql_run_subquery(emu_sql_run *run, const sql_select *select, sql_sink sink, void *data)
{
    sql_pipe pipe;
    sql_pipe_init(&pipe, run, select, &run->arena, sink, data);
    if (!pipe.full) sql_pipe_join(&pipe, 0);
    sql_pipe_finish(&pipe);
}

typedef struct sql_joint { sql_pipe *pipe; uint32_t index; } sql_joint;

static bool sql_sink_joint(emu_sql_run *run, void *data, const sql_value *row)
{
    sql_joint *joint = (sql_joint *)data;
    (void)run;
    return sql_pipe_source(joint->pipe, joint->index, row);
}

static bool sql_pipe_join(sql_pipe *pipe, uint32_t index)
{
    const sql_source *source;
    if (index == pipe->select->source_count) {
        sql_pipe_tuple(pipe);
        return !pipe->full;
    }
    source = &pipe->select->sources[index];
    if (source->select) {
        sql_joint joint;
        joint.pipe = pipe;
        joint.index = index;
        sql_run_subquery(pipe->run, source->select, sql_sink_joint, &joint);
    } else {
        sql_value room;
        sql_pipe_source(pipe, index, sql_eval_ref(pipe->run, source->path, &room));
    }
    return !pipe->full;
}

/* A value of the first source of a pipe of the query itself, from the container or the pipe inside. */
static bool sql_sink_outer(emu_sql_run *run, void *data, const sql_value *row)
{
    sql_pipe *outer = (sql_pipe *)data;
    (void)run;
    sql_pipe_source(outer, 0, row);
    return !outer->full;
}

static void sql_finish_groups(sql_pipe *pipe)
{
    emu_sql_run *run = pipe->run;
    const sql_select *select = pipe->select;
    const sql_value *outer_aggregates = run->aggregates, *outer_keys = run->group_keys;
    sql_value *results = (sql_value *)sql_alloc(pipe->kept, (select->aggregate_count + 1) * sizeof *results), row;
    sql_entry *entry;
    uint32_t i;
    if (!select->group_count) sql_group_of(pipe, NULL);    /* without GROUP BY there is one group, even of nothing */
    for (entry = pipe->groups.first; entry && !pipe->full; entry = entry->later) {
        run->row_document = entry->document;
        for (i = 0; i < select->aggregate_count; i++)
            sql_aggregate_result(select->aggregates[i], &entry->accumulators[i], &run->arena, &results[i]);
        run->aggregates = results;
        run->group_keys = entry->keys;
        if (sql_project(pipe, &row)) sql_deliver(pipe, &row);
        if (pipe->kept == &run->kept) {
            sql_arena_reset(&run->arena);
            run->text_count = 0;
            run->env.steps = 0;
        }
    }
    run->aggregates = outer_aggregates;
    run->group_keys = outer_keys;
}

static void sql_pipe_finish(sql_pipe *pipe)
{
    size_t i;
    if (pipe->full) return;
    if (pipe->select->group_count || pipe->select->aggregate_count) sql_finish_groups(pipe);
    if (pipe->row_count) sql_sort(pipe);
    for (i = 0; i < pipe->row_count && !pipe->full; i++) {
        pipe->run->row_document = pipe->rows[i]->document;
        if (sql_passes(pipe)) pipe->run->emit(pipe->run->user, pipe->rows[i]->text.ptr, pipe->rows[i]->text.len);
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Subqueries as values
 *----------------------------------------------------------------------------*/

static bool sql_sink_exists(emu_sql_run *run, void *data, const sql_value *row)
{
    (void)run;
    (void)row;
    *(bool *)data = true;
    return false;
}

static bool sql_sink_array(emu_sql_run *run, void *data, const sql_value *row)
{
    sql_append_element(&run->arena, (sql_value *)data, row);
    return true;
}

static bool sql_sink_scalar(emu_sql_run *run, void *data, const sql_value *row)
{
    sql_value *out = (sql_value *)data;
    if (out->type != SQL_UNDEFINED)
        sql_fail_plain(&run->env, 400, "The cardinality of a scalar subquery result set cannot be greater than one.");
    *out = *row;
    return true;
}

static void sql_eval_subquery(emu_sql_run *run, const sql_node *node, sql_value *out)
{
    bool exists = false;
    sql_value made;
    if (node->kind == SQL_EXISTS) {
        sql_run_subquery(run, node->select, sql_sink_exists, &exists);
        sql_set_bool(out, exists);
    } else if (node->kind == SQL_ARRAY_OF) {
        sql_set_members(&made, &run->arena, SQL_ARRAY, 0);
        sql_run_subquery(run, node->select, sql_sink_array, &made);
        *out = made;
    } else {
        sql_set_undefined(&made);
        sql_run_subquery(run, node->select, sql_sink_scalar, &made);
        *out = made;
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Queries
 *----------------------------------------------------------------------------*/

static void sql_fail_resume(sql_parser *parser) __attribute__((noreturn));
static void sql_fail_resume(sql_parser *parser)
{
    sql_fail_plain(parser->env, 400, "The input content is invalid: 'resumeFilter' must have a value for each item of "
                   "ORDER BY, whether to exclude what is the same, and nothing else but a _rid.");
}

/* A value of resumeFilter: undefined is []; an array or object is {"type":"array","low":…,"high":…}, the halves of
 * its hash as signed numbers. */
static void sql_read_resume_value(sql_parser *parser, aiocosmos_json json, sql_resume_value *out)
{
    static const char *const names[3] = {"type", "low", "high"};
    aiocosmos_json fields[3];
    aiocosmos_str type;
    int64_t low, high;
    memset(out, 0, sizeof *out);
    if (json.type == AIOCOSMOS_JSON_ARR) {
        if (aioc_json_count(json)) sql_fail_resume(parser);
    } else if (json.type == AIOCOSMOS_JSON_OBJ) {
        aioc_json_fields(json, names, 3, fields);
        if (fields[0].type != AIOCOSMOS_JSON_STR || !aioc_json_get_i64(fields[1], &low) ||
            !aioc_json_get_i64(fields[2], &high)) sql_fail_resume(parser);
        type = sql_unescape(parser->arena, fields[0]);
        if (aioc_mem_same(type, aioc_mem_str("array"))) out->value.type = SQL_ARRAY;
        else if (aioc_mem_same(type, aioc_mem_str("object"))) out->value.type = SQL_OBJECT;
        else sql_fail_resume(parser);
        out->low = (uint64_t)low;
        out->high = (uint64_t)high;
    } else {
        sql_read(parser->arena, json, &out->value);
    }
}

static void sql_read_resume(sql_parser *parser, aiocosmos_json filter)
{
    static const char *const names[3] = {"value", "rid", "exclude"};
    sql_resume *resume = &parser->query->resume;
    aiocosmos_json fields[3], value;
    if (filter.type == AIOCOSMOS_JSON_NONE || filter.type == AIOCOSMOS_JSON_NULL) return;
    if (filter.type != AIOCOSMOS_JSON_OBJ) sql_fail_resume(parser);
    aioc_json_fields(filter, names, 3, fields);
    if (fields[0].type != AIOCOSMOS_JSON_ARR || fields[2].type != AIOCOSMOS_JSON_BOOL) sql_fail_resume(parser);
    resume->values = (sql_resume_value *)sql_alloc(parser->arena,
                                                   (aioc_json_count(fields[0]) + 1) * sizeof *resume->values);
    memset(&value, 0, sizeof value);
    while (aioc_json_next(fields[0], NULL, &value))
        sql_read_resume_value(parser, value, &resume->values[resume->count++]);
    resume->exclude = fields[2].ptr[0] == 't';
    resume->has_rid = fields[1].type == AIOCOSMOS_JSON_STR;
    if (resume->has_rid ? !sql_rid_document(sql_unescape(parser->arena, fields[1]), &resume->rid) :
        fields[1].type != AIOCOSMOS_JSON_NONE && fields[1].type != AIOCOSMOS_JSON_NULL) sql_fail_resume(parser);
}

/* Text and parameters of the request's body. */
static void sql_read_body(sql_parser *parser, const char *body, size_t len)
{
    static const char *const names[3] = {"query", "parameters", "resumeFilter"};
    emu_sql_query *query = parser->query;
    aiocosmos_json fields[3];
    aiocosmos_str text;
    if (aioc_json_parse(&query->body, body, len) != 0) {
        char message[200];
        snprintf(message, sizeof message, "The query's request body is not JSON: %s at byte %lu.",
                 query->body.error ? query->body.error : "out of memory", (unsigned long)query->body.error_at);
        sql_fail_plain(parser->env, 400, message);
    }
    aioc_json_fields(aioc_json_root(&query->body), names, 3, fields);
    if (fields[0].type != AIOCOSMOS_JSON_STR)
        sql_fail_plain(parser->env, 400,
                       "The input content is invalid because the required properties - 'query; ' - are missing");
    if (fields[1].type != AIOCOSMOS_JSON_NONE && fields[1].type != AIOCOSMOS_JSON_ARR &&
        fields[1].type != AIOCOSMOS_JSON_NULL)
        sql_fail_plain(parser->env, 400, "The input content is invalid: 'parameters' must be an array.");
    text = sql_unescape(parser->arena, fields[0]);
    query->text = text.ptr;
    query->len = text.len;
    parser->parameters = fields[1];
    sql_read_resume(parser, fields[2]);
    if (text.len > EMU_SQL_TEXT_MAX)
        sql_fail_at(parser, "SC3001", 0, text.len, "The SQL query text exceeded the maximum limit of %u characters.",
                    EMU_SQL_TEXT_MAX);
}

/* Writes out the constants that emu_sql_equals may find. */
static void sql_write_constants(emu_sql_query *query, sql_node *node)
{
    uint32_t i;
    if (node->kind == SQL_AND || node->kind == SQL_BINARY || node->kind == SQL_IN) {
        for (i = 0; i < node->count; i++) sql_write_constants(query, node->children[i]);
    } else if (node->kind == SQL_CONSTANT && node->value.text.ptr) {
        node->json = node->value.text;
    } else if (node->kind == SQL_CONSTANT) {
        aioc_mem_buffer *buffer = &query->scratch;
        buffer->len = 0;
        sql_render(&query->arena, buffer, &node->value, false);
        node->json = sql_copy_str(&query->arena, sql_str(buffer->data, buffer->len));
    }
}

static void sql_take_distance(sql_node *node, aiocosmos_str name)
{
    static const char *const names[] = {"cosine", "dotproduct", "euclidean"};
    int i;
    for (i = 0; i < 3; i++)
        if (aioc_mem_same_nocase(name, aioc_mem_str(names[i]))) node->op = (uint8_t)i;
}

/* VectorDistance(a, b, bruteforce, {distanceFunction: 'Euclidean'}), the options written out or a parameter. */
static void sql_read_distance_options(emu_sql_query *query, sql_node *node)
{
    const sql_node *options = node->count > 3 ? node->children[3] : NULL;
    const sql_value *name = NULL;
    sql_value found;
    uint32_t i;
    for (i = 0; options && options->kind == SQL_NEW_OBJECT && i < options->count; i++)
        if (aioc_mem_same_nocase(options->names[i], aioc_mem_str("distanceFunction")) &&
            options->children[i]->kind == SQL_CONSTANT) name = &options->children[i]->value;
    if (options && options->kind == SQL_CONSTANT && options->value.type == SQL_OBJECT) {
        sql_property(&query->arena, &options->value, aioc_mem_str("distanceFunction"), &found);
        name = &found;
    }
    if (name && name->type == SQL_STRING) sql_take_distance(node, name->as.string);
}

/* Sorted by VectorDistance alone, the nearest come first. */
static void sql_find_nearest(emu_sql_query *query)
{
    sql_select *select = query->select;
    uint32_t i;
    for (i = 0; i < query->distance_count; i++) sql_read_distance_options(query, query->distances[i]);
    for (i = 0; i < select->order_count; i++) {
        sql_order_key *key = &select->orders[i];
        if (!sql_calls(key->node, "VectorDistance")) continue;
        key->nearest = true;
        key->descending = key->node->op != SQL_EUCLIDEAN;
    }
}

static void sql_parse_query(emu_sql_query *query, const char *body, size_t len)
{
    sql_parser parser;
    memset(&parser, 0, sizeof parser);
    parser.query = query;
    parser.env = &query->env;
    parser.arena = &query->arena;
    sql_read_body(&parser, body, len);
    sql_advance(&parser);
    query->select = sql_parse_select(&parser, false);
    if (parser.token.kind != SQL_T_END) sql_fail_near(&parser, &parser.token);
    sql_bind_select(&parser, query->select, NULL, true);
    sql_find_nearest(query);
    if (query->resume.values && query->resume.count != query->select->order_count) sql_fail_resume(&parser);
    if (query->select->where) sql_write_constants(query, query->select->where);
}

static bool sql_try_parse(emu_sql_query *query, size_t len)
{
    if (setjmp(query->env.leave)) return false;
    sql_parse_query(query, query->request, len);
    return true;
}

emu_sql_query *emu_sql_prepare(const char *body, size_t len, int64_t now_ms, emu_sql_error *error)
{
    emu_sql_query *query = (emu_sql_query *)calloc(1, sizeof *query);
    char *copy = (char *)malloc(len + 1);
    memset(error, 0, sizeof *error);
    if (!query || !copy) {
        free(query);
        free(copy);
        error->status = 503;
        snprintf(error->message, sizeof error->message, "The emulator is out of memory.");
        return NULL;
    }
    memcpy(copy, body, len);
    copy[len] = '\0';
    query->request = copy;
    query->now_ms = now_ms;
    aioc_mem_init(&query->env.memory, NULL, SQL_MEMORY_PREPARE);
    sql_arena_init(&query->arena, &query->env, SQL_MEMORY_PREPARE);
    aioc_json_open(&query->body, &query->env.memory);
    if (sql_try_parse(query, len)) return query;
    *error = query->env.error;
    emu_sql_free(query);
    return NULL;
}

void emu_sql_free(emu_sql_query *query)
{
    if (!query) return;
    aioc_json_close(&query->body);
    sql_arena_free(&query->arena);
    aioc_mem_buffer_free(&query->env.memory, &query->scratch);
    aioc_mem_close(&query->env.memory);
    free(query->request);
    free(query);
}

bool emu_sql_has_source(const emu_sql_query *query)
{
    return query->select->source_count > 0;
}

bool emu_sql_needs_merge(const emu_sql_query *query)
{
    const sql_select *select = query->select;
    for (; select; select = select->source_count ? select->sources[0].select : NULL)
        if (select->top >= 0 || select->limit >= 0 || select->order_count || select->rank || select->aggregate_count ||
            select->group_count || select->distinct)
            return true;
    return false;
}

/* Whether node is the path of the container's alias, segment by segment from the right. */
bool sql_is_path(const sql_node *node, uint32_t slot, const char *path, size_t len)
{
    while (len > 0) {
        size_t start = len;
        aiocosmos_str segment;
        while (start > 0 && path[start - 1] != '/') start--;
        if (start == 0 || node->kind != SQL_PROPERTY) return false;
        segment = sql_str(path + start, len - start);
        if (segment.len >= 2 && segment.ptr[0] == '"' && segment.ptr[segment.len - 1] == '"')
            segment = sql_str(segment.ptr + 1, segment.len - 2);
        if (!aioc_mem_same(node->name, segment)) return false;
        node = node->children[0];
        len = start - 1;
    }
    return node->kind == SQL_ALIAS && node->slot == slot;
}

bool emu_sql_ranks(const emu_sql_query *query)
{
    return query->select->rank != NULL;
}

static void sql_read_embedding(emu_sql_query *query, aiocosmos_json embedding)
{
    static const char *const names[2] = {"path", "distanceFunction"};
    aiocosmos_json fields[2];
    char path[256], name[32];
    size_t len;
    uint32_t i, j;
    aioc_json_fields(embedding, names, 2, fields);
    if (fields[0].type != AIOCOSMOS_JSON_STR || fields[0].len > sizeof path ||
        fields[1].type != AIOCOSMOS_JSON_STR || fields[1].len > sizeof name) return;
    len = aioc_json_get_str(fields[0], path, sizeof path);
    path[len] = '\0';
    for (i = 0; i < query->distance_count; i++) {
        sql_node *node = query->distances[i];
        for (j = 0; j < 2; j++) {
            const sql_node *vector = node->children[j], *root = sql_path_root(vector);
            if (root->kind == SQL_ALIAS && sql_is_path(vector, root->slot, path, len))
                sql_take_distance(node, sql_str(name, aioc_json_get_str(fields[1], name, sizeof name)));
        }
    }
}

static bool sql_try_define(emu_sql_query *query, aiocosmos_json embeddings)
{
    aiocosmos_json embedding;
    if (setjmp(query->env.leave)) return false;
    memset(&embedding, 0, sizeof embedding);
    while (embeddings.type == AIOCOSMOS_JSON_ARR && aioc_json_next(embeddings, NULL, &embedding))
        if (embedding.type == AIOCOSMOS_JSON_OBJ) sql_read_embedding(query, embedding);
    sql_find_nearest(query);
    return true;
}

void emu_sql_define(emu_sql_query *query, const char *definition, size_t len)
{
    aiocosmos_json_doc doc;
    if (!query->distance_count) return;
    aioc_json_open(&doc, &query->env.memory);
    if (aioc_json_parse(&doc, definition, len) == 0)
        sql_try_define(query, aioc_json_at(aioc_json_root(&doc), "/vectorEmbeddingPolicy/vectorEmbeddings"));
    aioc_json_close(&doc);
}

static const sql_node *sql_implied(const sql_node *node, uint32_t slot, const char *path)
{
    uint32_t i;
    if (node->kind == SQL_AND) {
        for (i = 0; i < node->count; i++) {
            const sql_node *found = sql_implied(node->children[i], slot, path);
            if (found) return found;
        }
    }
    if ((node->kind == SQL_BINARY && node->op == SQL_OP_EQUAL) ||
        (node->kind == SQL_IN && !node->negated && node->count == 2)) {
        for (i = 0; i < 2; i++)
            if (node->children[i]->kind == SQL_CONSTANT && sql_is_path(node->children[1 - i], slot, path, strlen(path)))
                return node->children[i];
    }
    return NULL;
}

bool emu_sql_equals(const emu_sql_query *query, const char *path, aiocosmos_str *json_value)
{
    const sql_select *select = query->select;
    const sql_source *source = select->sources;
    const sql_node *constant;
    if (!select->where || !select->source_count || !source->whole || source->each || source->path->kind != SQL_ALIAS)
        return false;
    constant = sql_implied(select->where, source->slot, path);
    if (!constant || constant->value.type == SQL_UNDEFINED) return false;
    *json_value = constant->json;
    return true;
}

/*------------------------------------------------------------------------------
 * MARK: - Runs
 *----------------------------------------------------------------------------*/

static bool sql_sink_emit(emu_sql_run *run, void *data, const sql_value *row)
{
    aiocosmos_str text = row->text;
    (void)data;
    if (!text.ptr) {
        run->row.len = 0;
        sql_render(&run->arena, &run->row, row, false);
        text = sql_str(run->row.data, run->row.len);
    }
    run->emit(run->user, text.ptr, text.len);
    return true;
}

static void sql_open_run(emu_sql_run *run)
{
    const sql_select *select = run->query->select;
    sql_pipe *pipe = (sql_pipe *)sql_alloc(&run->kept, sizeof *pipe);
    run->bindings = (sql_value *)sql_zalloc(&run->kept, (run->query->slots + 1) * sizeof *run->bindings);
    sql_pipe_init(pipe, run, select, &run->kept, sql_sink_emit, NULL);
    run->pipe = run->innermost = pipe;
    while (select->source_count && select->sources[0].select) {
        select = select->sources[0].select;
        pipe = (sql_pipe *)sql_alloc(&run->kept, sizeof *pipe);
        sql_pipe_init(pipe, run, select, &run->kept, sql_sink_outer, run->innermost);
        run->innermost->inner = pipe;
        run->innermost = pipe;
    }
}

static bool sql_try_open(emu_sql_run *run)
{
    if (setjmp(run->env.leave)) return false;
    sql_open_run(run);
    return true;
}

emu_sql_run *emu_sql_start(const emu_sql_query *query, void (*emit)(void *user, const char *json, size_t len),
                           void *user)
{
    emu_sql_run *run = (emu_sql_run *)calloc(1, sizeof *run);
    if (!run) return NULL;
    run->query = query;
    run->emit = emit;
    run->user = user;
    run->random = (uint64_t)query->now_ms;
    aioc_mem_init(&run->env.memory, NULL, EMU_SQL_MEMORY_MAX);
    sql_arena_init(&run->arena, &run->env, SQL_MEMORY_VALUES);
    sql_arena_init(&run->kept, &run->env, EMU_SQL_MEMORY_MAX);
    sql_arena_init(&run->regex_arena, &run->env, SQL_MEMORY_VALUES);
    aioc_json_open(&run->document, &run->env.memory);
    if (sql_try_open(run)) return run;
    emu_sql_stop(run);
    return NULL;
}

static void sql_feed(emu_sql_run *run, const char *document, size_t len)
{
    const sql_source *source = &run->innermost->select->sources[0];
    sql_value value, room;
    int result;
    sql_arena_reset(&run->arena);
    run->text_count = 0;
    run->env.steps = 0;
    run->row_document = ++run->documents;
    result = aioc_json_parse(&run->document, document, len);
    if (result == AIOCOSMOS_E_NOMEM) sql_fail_memory(&run->env);
    if (result != 0) sql_fail_plain(&run->env, 500, "A stored document is not JSON.");
    sql_read(&run->arena, aioc_json_root(&run->document), &value);
    run->bindings[source->root] = value;
    sql_pipe_source(run->innermost, 0, sql_eval_ref(run, source->path, &room));
}

static bool sql_reads_documents(const emu_sql_run *run)
{
    return run->innermost->select->source_count && run->innermost->select->sources[0].whole;
}

int emu_sql_feed(emu_sql_run *run, const char *document, size_t len)
{
    if (run->env.error.status) return -1;
    if (run->pipe->full || !sql_reads_documents(run)) return 1;
    if (setjmp(run->env.leave)) return -1;
    sql_feed(run, document, len);
    return run->pipe->full;
}

static void sql_finish(emu_sql_run *run)
{
    sql_pipe *pipe = run->innermost;
    run->env.steps = 0;
    sql_arena_reset(&run->arena);
    if (!sql_reads_documents(run)) sql_pipe_join(pipe, 0);
    for (;;) {
        sql_pipe_finish(pipe);
        if (pipe == run->pipe) return;
        pipe = (sql_pipe *)pipe->data;
    }
}

int emu_sql_finish(emu_sql_run *run)
{
    if (run->env.error.status) return -1;
    if (run->pipe->full) return 0;
    if (setjmp(run->env.leave)) return -1;
    sql_finish(run);
    return 0;
}

uint64_t emu_sql_row_document(const emu_sql_run *run)
{
    return run->row_document;
}

const emu_sql_error *emu_sql_run_error(const emu_sql_run *run)
{
    return &run->env.error;
}

void emu_sql_limit_memory(emu_sql_run *run, size_t bytes)
{
    run->env.memory.max = bytes;
}

void emu_sql_stop(emu_sql_run *run)
{
    sql_pipe *pipe;
    size_t i;
    if (!run) return;
    for (pipe = run->pipe; pipe; pipe = pipe->inner) {
        sql_arena_free(&pipe->row_arena);
        sql_arena_free(&pipe->old_arena);
    }
    sql_arena_free(&run->arena);
    sql_arena_free(&run->kept);
    sql_arena_free(&run->regex_arena);
    aioc_json_close(&run->document);
    for (i = 0; i < run->text_cap; i++) aioc_json_close(&run->texts[i]);
    aioc_mem_free(&run->env.memory, run->texts, run->text_cap * sizeof *run->texts);
    aioc_mem_buffer_free(&run->env.memory, &run->row);
    aioc_mem_close(&run->env.memory);
    free(run);
}
