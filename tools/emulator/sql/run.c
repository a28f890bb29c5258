/* run.c: a prepared query at work.
 *
 *     document → parsed nodes → FROM and JOIN bind aliases → WHERE → GROUP BY or SELECT → rows
 *
 * Where Microsoft's pages and what the service does differ (= and != between types), this follows the service, as its
 * SDKs' tests describe it. */
#include "bind.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    sql_value *bindings;               /* by slot: what the aliases stand for now */
    const sql_value *aggregates;       /* results, while a group is projected */
    const sql_value *group_keys;
    aioc_mem_buffer row, keys;
    bool tried;                        /* the document that is fed next was parsed already, but for its end */
    uint64_t documents, next;          /* the number of the last that was fed; of the next, if that was said */
    uint64_t row_document;             /* the one that the row at hand comes from */
    sql_work work;
    sql_pipe *pipe, *innermost;
    uint64_t pause_at;                 /* a number of steps */
    unsigned nested;                   /* subqueries being evaluated, which are one piece */
    sql_pipe *paused;                  /* behind a combination of this one's sources */
    bool resuming;                     /* on the way down to that */
    sql_pipe *finishing;
    const bool *served;                /* conjuncts of WHERE, by an index; NULL: each document is read */
    uint64_t reads, read;              /* so many documents; whether the one at hand, by its number */
    int64_t first;                     /* rows that are wanted; -1: all */
    uint64_t same;                     /* rows so far that are the same as the one that is resumed */
    bool has_more;
};

static void sql_eval(emu_sql_run *run, const sql_node *node, sql_value *out);
static void sql_eval_subquery(emu_sql_run *run, const sql_node *node, sql_value *out);

/* Whether to pause here, which can be gone on from. */
static bool sql_is_time(const emu_sql_run *run)
{
    return run->env.steps >= run->pause_at && run->nested == 0;
}

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
    sql_spend(arena->env, (a.len + b.len) / SQL_STEP_BYTES);
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
static void sql_eval_relation(emu_sql_run *run, sql_op op, const sql_value *a, const sql_value *b, sql_value *out)
{
    int order;
    sql_set_undefined(out);
    if (a->type != b->type || a->type == SQL_UNDEFINED || a->type >= SQL_ARRAY) return;
    if (a->type == SQL_NUMBER && (isnan(a->as.number.real) || isnan(b->as.number.real))) {
        sql_set_bool(out, false);
        return;
    }
    if (a->type == SQL_STRING) sql_spend_on_strings(&run->env, a, b);
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
        sql_eval_relation(run, op, left, right, out);
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
    sql_eval_relation(run, SQL_OP_GREATER_EQUAL, value, sql_eval_ref(run, node->children[1], &rooms[1]), &low);
    sql_eval_relation(run, SQL_OP_LESS_EQUAL, value, sql_eval_ref(run, node->children[2], &rooms[2]), &high);
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
    for (i = 1; i < node->count; i++)
        if (sql_equal(&run->arena, value, sql_eval_ref(run, node->children[i], &item_room))) break;
    sql_spend(&run->env, i / 4);
    sql_set_bool(out, node->negated != (i < node->count));
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

static bool sql_like_in_set(sql_env *env, aiocosmos_str set, uint32_t c)
{
    const char *at = set.ptr, *end = set.ptr + set.len;
    bool negated = set.len > 1 && *at == '^', found = false;
    if (negated) at++;
    sql_spend(env, set.len / 4);
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
                fits = kind == SQL_LIKE_ONE || (kind == SQL_LIKE_SET ? sql_like_in_set(env, set, c) : c == wanted);
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
    for (i = 0; i < node->count; i++) {
        sql_eval(run, node->children[i], &args[i]);
        sql_spend(&run->env, (args[i].type == SQL_STRING ? args[i].as.string : args[i].text).len / SQL_STEP_BYTES);
    }
    call.work = &run->work;
    call.arena = &run->arena;
    call.function = node->function;
    call.distance = (sql_distance)node->op;
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
    bool given;                        /* of DISTINCT: it has come out */
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
    sql_entry *alike;                  /* of DISTINCT: what it is one of */
} sql_row;

/* Where a pipe is in one of its sources, an array. */
typedef struct sql_level { sql_value array; sql_cursor cursor; } sql_level;

#define SQL_LEVELS_FEW 4

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
    sql_level *levels;                 /* of each source */
    sql_table distinct, groups;
    sql_row **rows, **sorted;          /* sorted: while they are merged to there */
    size_t row_count, row_cap;
    size_t width, merged, emitted;     /* of the rows: in order so far; of this round; and given */
    sql_entry *entry;                  /* of groups: the next one to be given */
    bool grouped;
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

/* Two neighbours in order, of `width` rows or what is left, become one. */
static void sql_merge_rows(sql_pipe *pipe, size_t at)
{
    size_t count = pipe->row_count, middle = at + pipe->width, end = middle + pipe->width, i = at, j, n;
    if (middle > count) middle = count;
    if (end > count) end = count;
    sql_allow_steps(&pipe->run->env);
    sql_spend(&pipe->run->env, end - at);
    for (j = middle, n = at; n < end; n++) {
        bool right = j < end && (i == middle || sql_row_before(pipe, pipe->rows[j], pipe->rows[i]));
        pipe->sorted[n] = right ? pipe->rows[j++] : pipe->rows[i++];
    }
}

/* False: paused; to be called again. */
static bool sql_sort(sql_pipe *pipe)
{
    size_t count = pipe->row_count;
    if (!pipe->sorted) {
        pipe->sorted = (sql_row **)sql_alloc(&pipe->row_arena, (count + 1) * sizeof(sql_row *));
        pipe->width = 1;
    }
    while (pipe->width < count) {
        sql_row **other = pipe->rows;
        for (; pipe->merged < count; pipe->merged += 2 * pipe->width) {
            if (sql_is_time(pipe->run)) return false;
            sql_merge_rows(pipe, pipe->merged);
        }
        pipe->merged = 0;
        pipe->width *= 2;
        pipe->rows = pipe->sorted;
        pipe->sorted = other;
    }
    return true;
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

/* How many rows come out at most; -1: all. */
static int64_t sql_most(const sql_select *select)
{
    return select->top >= 0 ? select->top : select->limit;
}

/* How many it takes for that. */
static int64_t sql_wanted(const sql_select *select)
{
    int64_t most = sql_most(select);
    return most < 0 || select->offset < 0 ? most : select->offset + most;
}

/* Whether rows that DISTINCT takes for one may stand at different places: what else rows are sorted by is in them. */
static bool sql_sorts_alike(const sql_select *select)
{
    return select->distinct && select->order_count && select->orders[0].nearest;
}

/* Of the sorted rows, how many from the first on decide what is given. */
static int64_t sql_deciding(const sql_pipe *pipe)
{
    const emu_sql_run *run = pipe->run;
    const sql_select *select = pipe->select;
    int64_t wanted = sql_wanted(select), offset = run->query->given || select->offset < 0 ? 0 : select->offset;
    if (run->first >= 0 && (wanted < 0 || wanted > offset + run->first + 1)) wanted = offset + run->first + 1;
    return wanted;
}

#define SQL_DROPS_MAX 20000

/* With TOP or LIMIT, or where that is all that is asked for, only the best rows so far are held, unless they are so
 * many that sorting them, which is one piece, takes long. */
static void sql_drop_rows(sql_pipe *pipe)
{
    int64_t wanted = sql_deciding(pipe);
    sql_row **rows;
    size_t i, count;
    if (wanted < 0 || wanted > SQL_DROPS_MAX || pipe->row_count < (size_t)wanted * 2 + 1000 ||
        sql_sorts_alike(pipe->select)) return;
    pipe->run->nested++;
    sql_sort(pipe);
    pipe->run->nested--;
    rows = pipe->rows;
    count = (size_t)wanted;
    pipe->old_arena = pipe->row_arena;
    sql_arena_init(&pipe->row_arena, &pipe->run->env, EMU_SQL_MEMORY_MAX);
    pipe->rows = pipe->sorted = NULL;
    pipe->row_count = pipe->row_cap = 0;
    for (i = 0; i < count; i++) sql_add_row(pipe, rows[i]);
    sql_arena_free(&pipe->old_arena);
}

/*------------------------------------------------------------------------------
 * MARK: - Resuming ORDER BY
 *----------------------------------------------------------------------------*/

static int sql_order_resumed(sql_arena *arena, const sql_value *key, const sql_resume_value *at)
{
    sql_hash128 hash;
    if (key->type != at->value.type || key->type < SQL_ARRAY) return sql_order(arena, key, &at->value);
    hash.low = at->low;
    hash.high = at->high;
    return sql_compare_hashes(sql_hash_value(arena, key), hash);
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
    if (document == resume->rid && !resume->exclude) return run->same++ >= resume->same;
    return document > resume->rid;
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
    if (kept == &run->kept) pipe->levels = (sql_level *)sql_alloc(kept, (select->source_count + 1) * sizeof(sql_level));
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

/* *alike: of DISTINCT, what the row is one of. */
static bool sql_is_new(sql_pipe *pipe, const sql_value *row, sql_entry **alike)
{
    bool added = true;
    *alike = NULL;
    if (pipe->select->distinct) *alike = sql_table_find(pipe->run, pipe->kept, &pipe->distinct, row, 1, &added);
    return added;
}

/* OFFSET, LIMIT, TOP. */
static bool sql_passes(sql_pipe *pipe)
{
    const sql_select *select = pipe->select;
    int64_t most = sql_most(select);
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
    sql_entry *alike;
    if (!sql_is_new(pipe, row, &alike) || !sql_passes(pipe)) return;
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

/* A sum that no JSON number is would be read as a string, and not be added to other partitions' sums. */
static void sql_aggregate_result(const sql_node *node, const sql_accumulator *sum, sql_arena *arena, sql_value *out)
{
    sql_set_undefined(out);
    switch ((sql_aggregate)node->op) {
    case SQL_COUNT:
    case SQL_COUNTIF: sql_set_integer(out, (int64_t)sum->count); break;
    case SQL_SUM:
        if (!sum->spoilt && isfinite(sum->sum)) sql_set_number(out, sum->sum);
        break;
    case SQL_AVG:
        if (!sum->spoilt && isfinite(sum->sum) && sum->count) sql_set_number(out, sum->sum / (double)sum->count);
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
    if (!sql_project(pipe, &value) || (!sql_is_new(pipe, &value, &row.alike) && !sql_sorts_alike(select))) return;
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

/* What an index does not serve needs the document. */
static bool sql_has_to_read(emu_sql_run *run, const sql_node *where)
{
    bool whole = where->kind != SQL_AND, some = false;
    uint32_t i;
    for (i = 0; i < (whole ? 1 : where->count); i++) {
        if (!run->served[i]) continue;
        if (!sql_is_true(run, whole ? where : where->children[i])) return false;
        some = true;
    }
    return some && !whole;
}

static void sql_count_read(emu_sql_run *run)
{
    if (run->read != run->documents) run->reads++;
    run->read = run->documents;
}

/* All aliases are bound. */
static void sql_pipe_tuple(sql_pipe *pipe)
{
    const sql_select *select = pipe->select;
    emu_sql_run *run = pipe->run;
    sql_value row;
    sql_spend(&run->env, 1);
    if (select->where && !sql_is_true(run, select->where)) {
        if (pipe == run->innermost && run->served && sql_has_to_read(run, select->where)) sql_count_read(run);
        return;
    }
    if (pipe == run->innermost) sql_count_read(run);
    if (select->group_count || select->aggregate_count) sql_group(pipe);
    else if (select->order_count) sql_sort_in(pipe);
    else if (sql_project(pipe, &row)) sql_deliver(pipe, &row);
}

/* A value of a source: binds its alias, or for IN binds it to each element. NULL: it is bound already, when a run is
 * resumed. False: enough. */
static bool sql_pipe_source(sql_pipe *pipe, uint32_t index, const sql_value *value)
{
    const sql_source *source = &pipe->select->sources[index];
    sql_value *binding = &pipe->run->bindings[source->slot];
    sql_level *level = &pipe->levels[index];
    if (value) {
        if (value->type == SQL_UNDEFINED || (source->each && value->type != SQL_ARRAY)) return true;
        *(source->each ? &level->array : binding) = *value;
        memset(&level->cursor, 0, sizeof level->cursor);
    }
    if (!source->each) return sql_pipe_join(pipe, index + 1);
    for (;;) {
        sql_value item;
        if (!pipe->run->resuming) {
            if (!sql_next(&pipe->run->arena, &level->array, &level->cursor, NULL, &item)) return true;
            *binding = item;
        }
        if (!sql_pipe_join(pipe, index + 1)) return false;
    }
}

static bool sql_pipe_finish(sql_pipe *pipe);

static void sql_run_subquery(emu_sql_run *run, const sql_select *select, sql_sink sink, void *data)
{
    sql_pipe pipe;
    sql_level few[SQL_LEVELS_FEW];
    sql_pipe_init(&pipe, run, select, &run->arena, sink, data);
    pipe.levels = select->source_count <= SQL_LEVELS_FEW
                      ? few : (sql_level *)sql_alloc(&run->arena, select->source_count * sizeof *pipe.levels);
    run->nested++;
    if (!pipe.full) sql_pipe_join(&pipe, 0);
    sql_pipe_finish(&pipe);
    run->nested--;
}

typedef struct sql_joint { sql_pipe *pipe; uint32_t index; } sql_joint;

static bool sql_sink_joint(emu_sql_run *run, void *data, const sql_value *row)
{
    sql_joint *joint = (sql_joint *)data;
    (void)run;
    return sql_pipe_source(joint->pipe, joint->index, row);
}

/* All sources are bound; or were, when the run paused behind that, here or in the pipe that this one feeds. */
static bool sql_pipe_bound(sql_pipe *pipe)
{
    emu_sql_run *run = pipe->run;
    if (!run->resuming) {
        sql_pipe_tuple(pipe);
    } else if (pipe == run->paused) {
        run->resuming = false;
        run->paused = NULL;
        return !pipe->full;
    } else {
        sql_pipe *outer = (sql_pipe *)pipe->data;
        sql_pipe_source(outer, 0, NULL);
        if (outer->full) pipe->full = true;
    }
    if (run->nested == 0) sql_allow_piece(&run->env);
    if (!run->paused && sql_is_time(run)) run->paused = pipe;
    return !pipe->full && !run->paused;
}

static bool sql_pipe_join(sql_pipe *pipe, uint32_t index)
{
    const sql_source *source;
    if (index == pipe->select->source_count) return sql_pipe_bound(pipe);
    source = &pipe->select->sources[index];
    if (pipe->run->resuming) {
        sql_pipe_source(pipe, index, NULL);
    } else if (source->select) {
        sql_joint joint;
        joint.pipe = pipe;
        joint.index = index;
        sql_run_subquery(pipe->run, source->select, sql_sink_joint, &joint);
    } else {
        sql_value room;
        sql_pipe_source(pipe, index, sql_eval_ref(pipe->run, source->path, &room));
    }
    return !pipe->full && !pipe->run->paused;
}

/* A value of the first source of a pipe of the query itself, from the container or the pipe inside. */
static bool sql_sink_outer(emu_sql_run *run, void *data, const sql_value *row)
{
    sql_pipe *outer = (sql_pipe *)data;
    (void)run;
    sql_pipe_source(outer, 0, row);
    return !outer->full;
}

/* False: paused; to be called again. */
static bool sql_finish_groups(sql_pipe *pipe)
{
    emu_sql_run *run = pipe->run;
    const sql_select *select = pipe->select;
    const sql_value *outer_aggregates = run->aggregates, *outer_keys = run->group_keys;
    sql_value *results = (sql_value *)sql_alloc(pipe->kept, (select->aggregate_count + 1) * sizeof *results), row;
    sql_entry *entry;
    uint32_t i;
    if (!pipe->grouped) {
        pipe->grouped = true;
        if (!select->group_count) sql_group_of(pipe, NULL);    /* without GROUP BY there is one, even of nothing */
        pipe->entry = pipe->groups.first;
    }
    while ((entry = pipe->entry) != NULL && !pipe->full && !sql_is_time(run)) {
        pipe->entry = entry->later;
        run->row_document = entry->document;
        for (i = 0; i < select->aggregate_count; i++)
            sql_aggregate_result(select->aggregates[i], &entry->accumulators[i], &run->arena, &results[i]);
        run->aggregates = results;
        run->group_keys = entry->keys;
        sql_spend(&run->env, 1);
        run->nested++;
        if (sql_project(pipe, &row)) sql_deliver(pipe, &row);
        run->nested--;
        if (pipe->kept == &run->kept) {
            sql_arena_reset(&run->arena);
            sql_work_reset(&run->work);
            sql_allow_steps(&run->env);
        }
    }
    run->aggregates = outer_aggregates;
    run->group_keys = outer_keys;
    return !pipe->entry || pipe->full;
}

/* Rows of ORDER BY, which only a query itself has. False: paused; to be called again. */
static bool sql_finish_rows(sql_pipe *pipe)
{
    emu_sql_run *run = pipe->run;
    if (!sql_sort(pipe)) return false;
    for (; pipe->emitted < pipe->row_count && !pipe->full; pipe->emitted++) {
        const sql_row *row = pipe->rows[pipe->emitted];
        if (sql_is_time(run)) return false;
        sql_allow_steps(&run->env);
        sql_spend(&run->env, 1 + row->text.len / 64);
        run->row_document = row->document;
        if (row->alike && row->alike->given) continue;
        if (row->alike) row->alike->given = true;
        if (!sql_passes(pipe)) continue;
        if (run->first == 0) {
            run->has_more = true;
            break;
        }
        if (run->first > 0) run->first--;
        run->emit(run->user, row->text.ptr, row->text.len);
    }
    return true;
}

/* False: paused; to be called again. */
static bool sql_pipe_finish(sql_pipe *pipe)
{
    if (pipe->full) return true;
    if ((pipe->select->group_count || pipe->select->aggregate_count) && !sql_finish_groups(pipe)) return false;
    return !pipe->row_count || sql_finish_rows(pipe);
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
    if (run->query->given) {                               /* of what is resumed, that much is behind us */
        pipe->skipped = select->offset;
        pipe->delivered = run->query->given;
        pipe->full = pipe->full || (sql_most(select) >= 0 && pipe->delivered >= sql_most(select));
    }
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
    aioc_mem *memory = query->env.parent;
    emu_sql_run *run = (emu_sql_run *)sql_take(memory, sizeof *run);
    if (!run) return NULL;
    run->query = query;
    run->emit = emit;
    run->user = user;
    sql_env_init(&run->env, memory, EMU_SQL_MEMORY_MAX);
    run->env.flat = query->env.flat;
    sql_arena_init(&run->arena, &run->env, SQL_MEMORY_VALUES);
    sql_arena_init(&run->kept, &run->env, EMU_SQL_MEMORY_MAX);
    sql_work_init(&run->work, &run->env, query->now_ms);
    run->pause_at = UINT64_MAX;
    run->first = -1;
    aioc_json_open(&run->document, &run->env.memory);
    if (sql_try_open(run)) return run;
    emu_sql_stop(run);
    return NULL;
}

static void sql_take_document(emu_sql_run *run, const char *document, size_t len)
{
    const sql_source *source = &run->innermost->select->sources[0];
    int result;
    sql_arena_reset(&run->arena);
    sql_work_reset(&run->work);
    run->env.steps += len / 32;                            /* to parse it; by itself this is no reason to refuse it */
    sql_allow_steps(&run->env);
    result = aioc_json_parse(&run->document, document, len);
    if (result == AIOCOSMOS_E_NOMEM) sql_fail_allocation(&run->env);
    if (result != 0) sql_fail_plain(&run->env, 500, "A stored document is not JSON.");
    sql_read(&run->arena, aioc_json_root(&run->document), &run->bindings[source->root]);
}

/* What was parsed says where the values are in a text that begins with the same bytes, too. */
static void sql_take_tried(emu_sql_run *run, const char *document, size_t len)
{
    aiocosmos_json root = aioc_json_root(&run->document);
    size_t before = (size_t)(root.ptr - run->document.text);
    sql_arena_reset(&run->arena);
    sql_work_reset(&run->work);
    sql_allow_steps(&run->env);
    root.ptr = document + before;
    root.len = len - before;
    sql_read(&run->arena, root, &run->bindings[run->innermost->select->sources[0].root]);
}

static void sql_feed(emu_sql_run *run, const char *document, size_t len)
{
    const sql_source *source = &run->innermost->select->sources[0];
    bool tried = run->tried;
    sql_value room;
    run->row_document = run->documents;
    run->tried = false;
    if (tried) sql_take_tried(run, document, len);
    else sql_take_document(run, document, len);
    if (!run->served) sql_count_read(run);
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
    run->documents = run->next ? run->next : run->documents + 1;
    run->next = 0;
    if (setjmp(run->env.leave)) return -1;
    sql_feed(run, document, len);
    return run->paused ? EMU_SQL_PAUSED : run->pipe->full;
}

int emu_sql_tries(emu_sql_run *run, const char *document, size_t len)
{
    const sql_select *select = run->innermost->select;
    uint64_t documents = run->documents, next = run->next;
    if (run->env.error.status) return -1;
    if (run->pipe->full) return 1;
    if (setjmp(run->env.leave)) return -1;
    sql_take_document(run, document, len);
    run->bindings[select->sources[0].slot] = run->bindings[select->sources[0].root];
    if (sql_is_true(run, select->where)) {
        run->tried = emu_sql_run_shape(run)->own_row;
        return 1;
    }
    run->documents = next ? next : documents + 1;
    run->next = 0;
    if (!run->served || sql_has_to_read(run, select->where)) sql_count_read(run);
    return 0;
}

/* Each pipe gives to the one outside what it has held back, which is in one piece. */
static int sql_finish(emu_sql_run *run)
{
    for (; sql_pipe_finish(run->finishing); run->finishing = (sql_pipe *)run->finishing->data)
        if (run->finishing == run->pipe) return 0;
    return EMU_SQL_PAUSED;
}

int emu_sql_finish(emu_sql_run *run)
{
    if (run->env.error.status) return -1;
    if (run->pipe->full) return 0;
    if (setjmp(run->env.leave)) return -1;
    sql_allow_steps(&run->env);
    sql_arena_reset(&run->arena);
    run->finishing = run->innermost;
    run->nested++;
    if (!sql_reads_documents(run)) sql_pipe_join(run->innermost, 0);
    run->nested--;
    return sql_finish(run);
}

int emu_sql_resume(emu_sql_run *run)
{
    if (run->env.error.status) return -1;
    if (setjmp(run->env.leave)) return -1;
    if (run->finishing) return sql_finish(run);
    run->resuming = true;
    sql_pipe_source(run->innermost, 0, NULL);
    return run->paused ? EMU_SQL_PAUSED : run->pipe->full;
}

const emu_sql_shape *emu_sql_run_shape(const emu_sql_run *run)
{
    static const emu_sql_shape none;
    return run->query->shape ? run->query->shape : &none;
}

uint64_t emu_sql_steps(const emu_sql_run *run)
{
    return run->env.steps;
}

void emu_sql_pause_after(emu_sql_run *run, uint64_t steps)
{
    run->pause_at = steps < UINT64_MAX - run->env.steps ? run->env.steps + steps : UINT64_MAX;
}

void emu_sql_in_one_piece(emu_sql_run *run)
{
    run->env.one_piece = true;
}

void emu_sql_count_reads(emu_sql_run *run, const bool *served)
{
    run->served = served;
}

uint64_t emu_sql_reads(const emu_sql_run *run)
{
    return run->reads;
}

void emu_sql_number(emu_sql_run *run, uint64_t number)
{
    run->next = number;
}

void emu_sql_first(emu_sql_run *run, int64_t rows)
{
    run->first = rows;
}

int64_t emu_sql_deciding(const emu_sql_run *run)
{
    return sql_deciding(run->pipe);
}

bool emu_sql_has_enough(const emu_sql_run *run)
{
    int64_t deciding = sql_deciding(run->pipe);
    return deciding >= 0 && run->pipe->row_count >= (size_t)deciding;
}

bool emu_sql_has_more(const emu_sql_run *run)
{
    return run->has_more;
}

static bool sql_put_key(emu_sql_run *run, const sql_value *key)
{
    sql_hash128 hash;
    char text[100];
    switch (key->type) {
    case SQL_UNDEFINED: sql_put(&run->env, &run->keys, "[]", 2); return true;
    case SQL_NUMBER:
        if (!isfinite(key->as.number.real)) return false;
        break;
    case SQL_ARRAY:
    case SQL_OBJECT:
        hash = sql_hash_value(&run->arena, key);
        snprintf(text, sizeof text, "{\"type\":\"%s\",\"low\":%lld,\"high\":%lld}",
                 key->type == SQL_ARRAY ? "array" : "object", (long long)hash.low, (long long)hash.high);
        sql_put(&run->env, &run->keys, text, strlen(text));
        return true;
    default: break;
    }
    sql_render(&run->arena, &run->keys, key, false);
    return true;
}

/* Called from `emit`, so that what fails leaves as the rest does. */
aiocosmos_str emu_sql_row_keys(emu_sql_run *run)
{
    const sql_pipe *pipe = run->pipe;
    uint32_t i;
    run->keys.len = 0;
    for (i = 0; i < pipe->select->order_count; i++) {
        sql_put(&run->env, &run->keys, i ? "," : "[", 1);
        if (!sql_put_key(run, &pipe->rows[pipe->emitted]->keys[i])) return sql_str("", 0);
    }
    sql_put(&run->env, &run->keys, "]", 1);
    return sql_str(run->keys.data, run->keys.len);
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
    if (!run) return;
    for (pipe = run->pipe; pipe; pipe = pipe->inner) {
        sql_arena_free(&pipe->row_arena);
        sql_arena_free(&pipe->old_arena);
    }
    sql_arena_free(&run->arena);
    sql_arena_free(&run->kept);
    aioc_json_close(&run->document);
    sql_work_free(&run->work, &run->env);
    aioc_mem_buffer_free(&run->env.memory, &run->row);
    aioc_mem_buffer_free(&run->env.memory, &run->keys);
    aioc_mem_close(&run->env.memory);
    sql_give(run->env.parent, run, sizeof *run);
}
