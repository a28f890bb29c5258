/* value.c: errors and arenas, characters, values, their order and their text.
 *
 * Values are small structs that point into the document, the query or an arena. An arena is emptied after each
 * document; what outlives one (sort keys, groups, rows of DISTINCT) is copied to a second. Errors leave by longjmp to
 * the function that entered the engine: all memory hangs on arenas, so nothing is left behind, and no evaluator checks
 * for errors. */
#include "value.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*------------------------------------------------------------------------------
 * MARK: - Errors, limits, memory
 *----------------------------------------------------------------------------*/

#define SQL_CHUNK          16384u

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

void sql_fail_memory(sql_env *env)
{
    sql_fail_plain(env, 400, "The query needs more memory than the emulator allows for one query.");
}

void sql_fail_allocation(sql_env *env)
{
    sql_fail_plain(env, 503, "The emulator is out of memory.");
}

static aiocosmos_allocator sql_allocator(aioc_mem *parent)
{
    aiocosmos_allocator none;
    memset(&none, 0, sizeof none);
    return parent ? aioc_mem_allocator(parent) : none;
}

void sql_env_init(sql_env *env, aioc_mem *parent, size_t max)
{
    aiocosmos_allocator allocator = sql_allocator(parent);
    aioc_mem_init(&env->memory, &allocator, max);
    env->parent = parent;
    sql_allow_steps(env);
}

void *sql_take(aioc_mem *parent, size_t size)
{
    aiocosmos_allocator allocator = sql_allocator(parent);
    void *taken = aioc_platform_allocate(&allocator, NULL, 0, size);
    return taken ? memset(taken, 0, size) : NULL;
}

void sql_give(aioc_mem *parent, void *ptr, size_t size)
{
    aiocosmos_allocator allocator = sql_allocator(parent);
    if (ptr) aioc_platform_allocate(&allocator, ptr, size, 0);
}

void sql_allow_steps(sql_env *env)
{
    env->steps_end = env->steps + (env->one_piece ? EMU_SQL_PIECE_MAX : EMU_SQL_STEPS_MAX);
    sql_allow_piece(env);
}

void sql_allow_piece(sql_env *env)
{
    env->steps_max = env->steps + EMU_SQL_PIECE_MAX;
    if (env->steps_max > env->steps_end) env->steps_max = env->steps_end;
}

void sql_spend(sql_env *env, size_t steps)
{
    env->steps += steps;
    if (env->steps > env->steps_max)
        sql_fail_plain(env, 400, "The query needs more work on one document than the emulator allows.");
}

static void *sql_alloc_chunk(sql_arena *arena, size_t size)
{
    size_t chunk_size = sizeof(sql_chunk) + (size > SQL_CHUNK ? size : SQL_CHUNK);
    sql_chunk *chunk;
    if (size > arena->max || arena->total + chunk_size > arena->max) sql_fail_memory(arena->env);
    chunk = (sql_chunk *)aioc_mem_alloc(&arena->env->memory, chunk_size);
    if (!chunk) sql_fail_allocation(arena->env);
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

void *sql_zalloc(sql_arena *arena, size_t size)
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
void sql_arena_reset(sql_arena *arena)
{
    if (!arena->chunks) return;
    if (!arena->chunks->next && arena->chunks->size == sizeof(sql_chunk) + SQL_CHUNK) {
        arena->chunks->used = sizeof(sql_chunk);
        return;
    }
    sql_arena_free(arena);
}

aiocosmos_str sql_str(const char *ptr, size_t len)
{
    aiocosmos_str text;
    text.ptr = ptr;
    text.len = len;
    return text;
}

aiocosmos_str sql_copy_str(sql_arena *arena, aiocosmos_str text)
{
    char *copy = (char *)sql_alloc(arena, text.len + 1);
    sql_spend(arena->env, text.len / SQL_STEP_BYTES);
    if (text.len) memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return sql_str(copy, text.len);
}

/*------------------------------------------------------------------------------
 * MARK: - Characters
 *----------------------------------------------------------------------------*/

/* Strings are valid UTF-8; a byte that is not counts as a character of its own, so nothing here can loop or overrun. */
uint32_t sql_character(const char **at, const char *end)
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

size_t sql_encode(uint32_t c, char *out)
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

size_t sql_length(aiocosmos_str text)
{
    size_t i, n = 0;
    for (i = 0; i < text.len; i++) n += sql_units(text.ptr[i]);
    return n;
}

/* The byte where unit `index` starts; text.len past the end. No character is cut in half: between its two units is in
 * front of it. */
size_t sql_offset(aiocosmos_str text, size_t index)
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
uint32_t sql_lower(uint32_t c)
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

uint32_t sql_upper(uint32_t c)
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

aiocosmos_str sql_map_case(sql_arena *arena, aiocosmos_str text, uint32_t (*map)(uint32_t))
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    char *out = (char *)sql_alloc(arena, text.len * 2 + 4);    /* ÿ ↔ Ÿ and the like change length by one at most */
    size_t n = 0;
    sql_spend(arena->env, text.len);
    while (at < end) n += sql_encode(map(sql_character(&at, end)), out + n);
    return sql_str(out, n);
}

bool sql_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool sql_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

int sql_hex(char c)
{
    if (sql_is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/*------------------------------------------------------------------------------
 * MARK: - Values
 *----------------------------------------------------------------------------*/

void sql_set_undefined(sql_value *out)
{
    memset(out, 0, sizeof *out);
}

void sql_set_bool(sql_value *out, bool truth)
{
    sql_set_undefined(out);
    out->type = SQL_BOOL;
    out->truth = truth;
}

void sql_set_integer(sql_value *out, int64_t integer)
{
    sql_set_undefined(out);
    out->type = SQL_NUMBER;
    out->whole = true;
    out->as.number.integer = integer;
    out->as.number.real = (double)integer;
}

/* Arithmetic is the service's: IEEE doubles. Small whole results are marked, which makes them exact as an int64 too. */
void sql_set_number(sql_value *out, double real)
{
    sql_set_undefined(out);
    out->type = SQL_NUMBER;
    out->as.number.real = real;
    if (real >= -9007199254740992.0 && real <= 9007199254740992.0 && real == (double)(int64_t)real) {
        out->whole = true;
        out->as.number.integer = (int64_t)real;
    }
}

void sql_set_string(sql_value *out, aiocosmos_str string)
{
    sql_set_undefined(out);
    out->type = SQL_STRING;
    out->as.string = string;
}

void sql_set_members(sql_value *out, sql_arena *arena, sql_type type, size_t cap)
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

void sql_append(sql_arena *arena, sql_value *container, aiocosmos_str name, const sql_value *value)
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

void sql_append_element(sql_arena *arena, sql_value *array, const sql_value *value)
{
    sql_append(arena, array, sql_str(NULL, 0), value);
}

/* The text of a JSON string without quotes, escapes undone. */
aiocosmos_str sql_unescape(sql_arena *arena, aiocosmos_json json)
{
    aiocosmos_str raw = sql_str(json.ptr + 1, json.len - 2);
    char *copy;
    if (!aioc_json_has_escapes(json)) return raw;
    sql_spend(arena->env, json.len / SQL_STEP_BYTES);
    copy = (char *)sql_alloc(arena, json.len);
    return sql_str(copy, aioc_json_get_str(json, copy, json.len));
}

void sql_read(sql_arena *arena, aiocosmos_json json, sql_value *out)
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

bool sql_next(sql_arena *arena, const sql_value *container, sql_cursor *cursor,
                     aiocosmos_str *name, sql_value *value)
{
    sql_spend(arena->env, 1);
    if (container->on_tape) {
        aiocosmos_json key;
        if (!aioc_json_next(sql_json(container), &key, &cursor->json)) return false;
        if (name && container->type == SQL_OBJECT) *name = sql_unescape(arena, key);
        sql_read(arena, cursor->json, value);
        if (value->type == SQL_NUMBER && !value->whole) sql_spend(arena->env, 2);
        return true;
    }
    if (cursor->index == container->as.members->count) return false;
    if (name && container->type == SQL_OBJECT) *name = container->as.members->names[cursor->index];
    *value = container->as.members->values[cursor->index++];
    return true;
}

size_t sql_count(const sql_value *container)
{
    return container->on_tape ? aioc_json_count(sql_json(container)) : container->as.members->count;
}

/* Of properties named twice the last counts, as in JSON readers everywhere. */
/* A property of a parsed object: of a name given twice the last one counts. */
aiocosmos_json sql_child(aiocosmos_json object, aiocosmos_str name)
{
    const aioc_json_node *node = (const aioc_json_node *)object.node, *key = node + 1, *found = NULL;
    for (; key < node + node->next; key += 1 + key[1].next) {
        const char *at = object.ptr + (key->at - node->at) + 1;
        bool escaped = (key->info & AIOC_JSON_ESCAPED) != 0;
        if (!escaped && key->len != name.len + 2) continue;
        if (aioc_json_inside_is(at, at + key->len - 2, escaped, name, false)) found = key + 1;
    }
    return found ? aioc_json_of(object, found) : aioc_json_none();
}

void sql_property(sql_arena *arena, const sql_value *object, aiocosmos_str name, sql_value *out)
{
    if (object->type == SQL_OBJECT && object->on_tape) {
        aiocosmos_json container = sql_json(object);
        sql_spend(arena->env, 1 + aioc_json_count(container));
        sql_read(arena, sql_child(container, name), out);
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

void sql_element(sql_arena *arena, const sql_value *array, const sql_value *index, sql_value *out)
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
int sql_compare_numbers(const sql_value *a, const sql_value *b)
{
    double x = a->as.number.real, y = b->as.number.real;
    if (a->whole && b->whole)
        return a->as.number.integer < b->as.number.integer ? -1 : a->as.number.integer > b->as.number.integer;
    if (isnan(x) || isnan(y)) return (isnan(y) ? 1 : 0) - (isnan(x) ? 1 : 0);
    if (a->whole) return sql_compare_whole(a->as.number.integer, y);
    if (b->whole) return -sql_compare_whole(b->as.number.integer, x);
    return x < y ? -1 : x > y;
}

/* By UTF-16 units, as the SDKs that merge partitions do: unlike in UTF-8, what is outside of the basic plane is before
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
void sql_spend_on_strings(sql_env *env, const sql_value *a, const sql_value *b)
{
    sql_spend(env, 1 + (a->as.string.len < b->as.string.len ? a : b)->as.string.len / SQL_STEP_BYTES);
}

int sql_compare_primitives(const sql_value *a, const sql_value *b)
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
    if (a->type == SQL_STRING) sql_spend_on_strings(arena->env, a, b);
    if (a->type < SQL_ARRAY) return sql_compare_primitives(a, b) == 0;   /* and NaN is NaN: in a set it is there once */
    sql_spend(arena->env, 1);
    memset(&at_a, 0, sizeof at_a);
    memset(&at_b, 0, sizeof at_b);
    if (a->type == SQL_ARRAY) {
        for (;;) {
            bool more = sql_next(arena, a, &at_a, NULL, &x);
            if (more != sql_next(arena, b, &at_b, NULL, &y)) return false;
            if (!more) return true;
            sql_spend(arena->env, 1);
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

uint64_t sql_mix(uint64_t hash, uint64_t more)
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
uint64_t sql_hash(sql_arena *arena, const sql_value *value)
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
        sql_spend(arena->env, value->as.string.len / SQL_STEP_BYTES);
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

bool sql_array_has(sql_arena *arena, const sql_value *array, const sql_value *wanted, bool partial)
{
    sql_cursor cursor;
    sql_value item;
    memset(&cursor, 0, sizeof cursor);
    while (sql_next(arena, array, &cursor, NULL, &item)) {
        sql_spend(arena->env, 1);
        if (partial ? sql_covers(arena, &item, wanted) : sql_equal(arena, &item, wanted)) return true;
    }
    return false;
}

bool sql_rid_document(aiocosmos_str rid, uint64_t *document)
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

static sql_hash128 sql_hash_seeded(sql_arena *arena, const sql_value *value, sql_hash128 seed)
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
        sql_spend(arena->env, value->as.string.len / SQL_STEP_BYTES);
        return sql_murmur(value->as.string.ptr, value->as.string.len, sql_murmur_of(sql_seed_string, seed));
    case SQL_ARRAY:
        hash = sql_murmur_of(sql_seed_array, seed);
        for (i = 0; sql_next(arena, value, &cursor, NULL, &member); i++) {
            one = sql_seed_index;
            one.low += i;
            one.high += one.low < i;
            hash = sql_murmur_of(sql_hash_seeded(arena, &member, one), hash);
        }
        return hash;
    case SQL_OBJECT:
        hash = sql_murmur_of(sql_seed_object, seed);
        while (sql_next(arena, value, &cursor, &name, &member)) {
            one = sql_murmur(name.ptr, name.len, sql_murmur_of(sql_seed_string, sql_seed_name));
            one = sql_hash_seeded(arena, &member, one);
            all.low ^= one.low;
            all.high ^= one.high;
        }
        return all.low || all.high ? sql_murmur_of(all, hash) : hash;
    default: return seed;
    }
}

sql_hash128 sql_hash_value(sql_arena *arena, const sql_value *value)
{
    return sql_hash_seeded(arena, value, sql_seed_root);
}

/* By their bytes, the lowest first, as UInt128BinaryComparer of the SDK for .NET has it. */
int sql_compare_hashes(sql_hash128 a, sql_hash128 b)
{
    unsigned char left[16], right[16];
    aioc_text_store64le(left, a.low);
    aioc_text_store64le(left + 8, a.high);
    aioc_text_store64le(right, b.low);
    aioc_text_store64le(right + 8, b.high);
    return memcmp(left, right, sizeof left);
}

/* The order of ORDER BY, over all types. */
int sql_order(sql_arena *arena, const sql_value *a, const sql_value *b)
{
    if (a->type != b->type) return a->type < b->type ? -1 : 1;
    if (a->type == SQL_STRING) sql_spend_on_strings(arena->env, a, b);
    if (a->type < SQL_ARRAY) return sql_compare_primitives(a, b);
    return sql_compare_hashes(sql_hash_value(arena, a), sql_hash_value(arena, b));
}

static void sql_keep_into(sql_arena *from, sql_arena *to, const sql_value *value, aiocosmos_str old,
                          aiocosmos_str copied, sql_value *out);

/* A copy that owes nothing to the document or the arena that the value came from. */
void sql_keep(sql_arena *from, sql_arena *to, const sql_value *value, sql_value *out)
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
    sql_spend(env, len / SQL_STEP_BYTES);
    if (!aioc_mem_append(&env->memory, buffer, text, len)) sql_fail_allocation(env);
}

void sql_put_string(sql_env *env, aioc_mem_buffer *buffer, aiocosmos_str text)
{
    aioc_mem_writer out = aioc_mem_write(&env->memory, buffer);
    aioc_json_put_string(&out, text);
    if (!aioc_mem_written(&out)) sql_fail_allocation(env);
}

size_t sql_number_text(const sql_value *value, char out[AIOC_JSON_NUMBER_MAX])
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
        sql_spend(env, 4);
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
            sql_spend(env, 1);
            sql_render(arena, buffer, &member, fresh);
            some = true;
        }
        sql_put(env, buffer, value->type == SQL_ARRAY ? "]" : "}", 1);
        break;
    default:
        break;
    }
}
