/* shape.c: what an index can do for a query: which documents it leaves out unread, and in which order they are wanted.
 *
 * A value's key is bytes that sort as ORDER BY sorts values, cut where they get long. Arrays and objects are not told
 * apart. So conditions by keys let through what a query wants and maybe more; the query still looks at each. */
#include "parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/*------------------------------------------------------------------------------
 * MARK: - Keys
 *----------------------------------------------------------------------------*/

size_t emu_sql_number_key(double real, unsigned char out[EMU_SQL_KEY_MAX])
{
    uint64_t bits;
    int i;
    if (real == 0) real = 0;                               /* not -0 */
    memcpy(&bits, &real, sizeof bits);
    bits ^= bits >> 63 ? UINT64_MAX : UINT64_C(1) << 63;
    out[0] = SQL_NUMBER;
    for (i = 0; i < 8; i++) out[1 + i] = (unsigned char)(bits >> (56 - 8 * i));
    return 9;
}

/* Strings sort by UTF-16 units: first bytes 0xEE and 0xEF, of U+E000 to U+FFFF, come behind all others. */
size_t emu_sql_string_key(aiocosmos_str text, unsigned char out[EMU_SQL_KEY_MAX])
{
    size_t i, len = text.len < EMU_SQL_KEY_MAX - 1 ? text.len : EMU_SQL_KEY_MAX - 1;
    out[0] = SQL_STRING;
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        out[1 + i] = (unsigned char)(c >= 0xF0 ? c - 2 : c >= 0xEE ? c + 0x10 : c);
    }
    return len + 1;
}

bool emu_sql_is_exact(aiocosmos_str key)
{
    uint64_t bits = 0;
    int i;
    if (key.ptr[0] == SQL_STRING) return key.len < EMU_SQL_KEY_MAX;
    if (key.ptr[0] != SQL_NUMBER) return key.ptr[0] < SQL_NUMBER;
    for (i = 1; i <= 8; i++) bits = bits << 8 | (unsigned char)key.ptr[i];
    bits = bits >> 63 ? bits ^ UINT64_C(1) << 63 : ~bits;
    return bits >> 52 < 1023 + 53;                         /* from 2^53 on integers share doubles */
}

static size_t sql_value_key(const sql_value *value, unsigned char out[EMU_SQL_KEY_MAX])
{
    if (value->type == SQL_NUMBER) return emu_sql_number_key(value->as.number.real, out);
    if (value->type == SQL_STRING) return emu_sql_string_key(value->as.string, out);
    out[0] = value->type;
    out[1] = value->truth;
    return value->type == SQL_BOOL ? 2 : 1;
}

static size_t sql_json_key(aiocosmos_json value, unsigned char out[EMU_SQL_KEY_MAX])
{
    char text[EMU_SQL_KEY_MAX + 8];
    sql_value plain;
    if (value.type != AIOCOSMOS_JSON_STR) {
        sql_read(NULL, value, &plain);
        return sql_value_key(&plain, out);
    }
    plain.as.string = sql_str(value.ptr + 1, value.len - 2);
    if (plain.as.string.len && memchr(plain.as.string.ptr, '\\', plain.as.string.len)) {
        size_t len = aioc_json_get_str(value, text, sizeof text);
        plain.as.string = sql_str(text, len < EMU_SQL_KEY_MAX ? len : EMU_SQL_KEY_MAX);
    }
    return emu_sql_string_key(plain.as.string, out);
}

size_t emu_sql_key_of(aiocosmos_json document, const char *path, unsigned char out[EMU_SQL_KEY_MAX])
{
    while (*path) {
        size_t len = strcspn(path + 1, "/");
        if (document.type != AIOCOSMOS_JSON_OBJ) document = aioc_json_none();
        else document = sql_child(document, sql_str(path + 1, len));
        path += 1 + len;
    }
    return sql_json_key(document, out);
}

/*------------------------------------------------------------------------------
 * MARK: - Intervals of keys
 *----------------------------------------------------------------------------*/

typedef struct sql_shaper {
    sql_arena *arena;
    const sql_source *source;                              /* of the documents */
    emu_sql_condition *conditions;
    size_t count;
} sql_shaper;

/* The first of the bytes that come behind all that begin with these. */
static aiocosmos_str sql_behind(sql_arena *arena, const unsigned char *bytes, size_t len)
{
    char *copy = (char *)sql_alloc(arena, len + 1);
    memcpy(copy, bytes, len);
    while (len > 1 && bytes[len - 1] == 0xFF) len--;
    copy[len - 1] = (char)(bytes[len - 1] + 1);
    return sql_str(copy, len);
}

/* The first behind a key itself. */
static aiocosmos_str sql_next_key(sql_arena *arena, const unsigned char *bytes, size_t len)
{
    char *copy = (char *)sql_zalloc(arena, len + 1);
    memcpy(copy, bytes, len);
    return sql_str(copy, len + 1);
}

static int sql_compare_keys(aiocosmos_str a, aiocosmos_str b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int sql_compare_intervals(const void *a, const void *b)
{
    return sql_compare_keys(((const emu_sql_interval *)a)->low, ((const emu_sql_interval *)b)->low);
}

static void sql_room(sql_shaper *shaper, emu_sql_condition *out, size_t count)
{
    out->intervals = (emu_sql_interval *)sql_alloc(shaper->arena, (count + 1) * sizeof *out->intervals);
    out->count = 0;
}

/* There is room. */
static void sql_add_interval(emu_sql_condition *out, aiocosmos_str low, aiocosmos_str high)
{
    if (sql_compare_keys(low, high) >= 0) return;
    out->intervals[out->count].low = low;
    out->intervals[out->count++].high = high;
}

/* In order, and apart from each other. */
static void sql_tidy(sql_shaper *shaper, emu_sql_condition *out)
{
    size_t i, kept = 0;
    sql_spend(shaper->arena->env, out->count);
    if (out->count > 1) qsort(out->intervals, out->count, sizeof *out->intervals, sql_compare_intervals);
    for (i = 0; i < out->count; i++) {
        const emu_sql_interval *next = &out->intervals[i];
        emu_sql_interval *last = kept ? &out->intervals[kept - 1] : NULL;
        if (!last || sql_compare_keys(next->low, last->high) > 0) out->intervals[kept++] = *next;
        else if (sql_compare_keys(next->high, last->high) > 0) last->high = next->high;
    }
    out->count = kept;
}

/* Both at once. */
static void sql_intersect(sql_shaper *shaper, emu_sql_condition *into, const emu_sql_condition *with)
{
    emu_sql_condition made = *into;
    size_t i = 0, k = 0;
    sql_room(shaper, &made, into->count + with->count);
    while (i < into->count && k < with->count) {
        const emu_sql_interval *a = &into->intervals[i], *b = &with->intervals[k];
        bool a_ends = sql_compare_keys(a->high, b->high) < 0;
        sql_add_interval(&made, sql_compare_keys(a->low, b->low) > 0 ? a->low : b->low, a_ends ? a->high : b->high);
        if (a_ends) i++;
        else k++;
    }
    *into = made;
}

/*------------------------------------------------------------------------------
 * MARK: - Conditions
 *----------------------------------------------------------------------------*/

/* "/a/b" of c.a.b. False: it is no path of the document, or one that cannot be said so. */
static bool sql_take_path(const sql_source *source, const sql_node *node, char *out, size_t *len)
{
    if (node->kind == SQL_ALIAS) {
        if (node->slot == source->root) return true;
        return node->slot == source->slot && sql_take_path(source, source->path, out, len);
    }
    if (node->kind != SQL_PROPERTY || !sql_take_path(source, node->children[0], out, len) || node->name.len == 0 ||
        *len + node->name.len + 2 > EMU_SQL_PATH_MAX || memchr(node->name.ptr, '/', node->name.len) ||
        memchr(node->name.ptr, 0, node->name.len)) return false;
    out[(*len)++] = '/';
    memcpy(out + *len, node->name.ptr, node->name.len);
    *len += node->name.len;
    out[*len] = 0;
    return true;
}

static bool sql_path_of(sql_shaper *shaper, const sql_node *node, const char **out)
{
    char path[EMU_SQL_PATH_MAX] = "";
    size_t len = 0;
    if (!sql_take_path(shaper->source, node, path, &len) || len == 0) return false;
    *out = sql_copy_str(shaper->arena, sql_str(path, len + 1)).ptr;
    return true;
}

static aiocosmos_str sql_low(sql_shaper *shaper, const sql_value *value)
{
    unsigned char key[EMU_SQL_KEY_MAX];
    return sql_copy_str(shaper->arena, sql_str((const char *)key, sql_value_key(value, key)));
}

static aiocosmos_str sql_high(sql_shaper *shaper, const sql_value *value)
{
    unsigned char key[EMU_SQL_KEY_MAX];
    return sql_next_key(shaper->arena, key, sql_value_key(value, key));
}

static aiocosmos_str sql_type_low(sql_shaper *shaper, int type)
{
    char byte = (char)type;
    return sql_copy_str(shaper->arena, sql_str(&byte, 1));
}

static void sql_add_types(sql_shaper *shaper, emu_sql_condition *out, int first, int last)
{
    sql_add_interval(out, sql_type_low(shaper, first), sql_type_low(shaper, last + 1));
}

static bool sql_is_constant(const sql_node *node)
{
    return node->kind == SQL_CONSTANT && node->value.type != SQL_UNDEFINED &&
           (node->value.type != SQL_NUMBER || !isnan(node->value.as.number.real));
}

/* PATH op CONSTANT, or the other way round. */
static bool sql_relation(sql_shaper *shaper, const sql_node *node, emu_sql_condition *out)
{
    bool flipped = sql_is_constant(node->children[0]);
    const sql_node *path = node->children[flipped], *constant = node->children[!flipped];
    const sql_value *value = &constant->value;
    bool less = node->op == SQL_OP_LESS || node->op == SQL_OP_LESS_EQUAL;
    if (node->op < SQL_OP_LESS || node->op > SQL_OP_EQUAL || !sql_is_constant(constant) ||
        !sql_path_of(shaper, path, &out->path)) return false;
    sql_room(shaper, out, 1);
    if (node->op == SQL_OP_EQUAL) sql_add_interval(out, sql_low(shaper, value), sql_high(shaper, value));
    else if (less != flipped) sql_add_interval(out, sql_type_low(shaper, value->type), sql_high(shaper, value));
    else sql_add_interval(out, sql_low(shaper, value), sql_type_low(shaper, value->type + 1));
    return true;
}

static bool sql_between(sql_shaper *shaper, const sql_node *node, emu_sql_condition *out)
{
    const sql_node *low = node->children[1], *high = node->children[2];
    if (node->negated || !sql_is_constant(low) || !sql_is_constant(high) ||
        !sql_path_of(shaper, node->children[0], &out->path)) return false;
    sql_room(shaper, out, 1);
    if (low->value.type == high->value.type)
        sql_add_interval(out, sql_low(shaper, &low->value), sql_high(shaper, &high->value));
    return true;
}

static bool sql_one_of(sql_shaper *shaper, const sql_node *node, emu_sql_condition *out)
{
    uint32_t i;
    if (node->negated || !sql_path_of(shaper, node->children[0], &out->path)) return false;
    sql_room(shaper, out, node->count);
    for (i = 1; i < node->count; i++) {
        const sql_value *value = &node->children[i]->value;
        if (!sql_is_constant(node->children[i])) return false;
        sql_add_interval(out, sql_low(shaper, value), sql_high(shaper, value));
    }
    return true;
}

/* Strings that begin with a text. */
static void sql_beginning(sql_shaper *shaper, aiocosmos_str text, emu_sql_condition *out)
{
    unsigned char key[EMU_SQL_KEY_MAX];
    size_t len = emu_sql_string_key(text, key);
    sql_room(shaper, out, 1);
    sql_add_interval(out, sql_copy_str(shaper->arena, sql_str((const char *)key, len)),
                     sql_behind(shaper->arena, key, len));
}

static bool sql_like_beginning(sql_shaper *shaper, const sql_node *node, emu_sql_condition *out)
{
    const sql_node *pattern = node->children[1];
    size_t len = 0;
    if (node->negated || node->count != 2 || !sql_is_constant(pattern) || pattern->value.type != SQL_STRING ||
        !sql_path_of(shaper, node->children[0], &out->path)) return false;
    while (len < pattern->value.as.string.len && !strchr("%_[", pattern->value.as.string.ptr[len])) len++;
    sql_beginning(shaper, sql_str(pattern->value.as.string.ptr, len), out);
    return true;
}

typedef struct sql_type_test { const char *function; uint8_t first, last; } sql_type_test;

static const sql_type_test sql_type_tests[] = {
    { "IS_DEFINED", SQL_NULL, SQL_OBJECT }, { "IS_NULL", SQL_NULL, SQL_NULL }, { "IS_BOOL", SQL_BOOL, SQL_BOOL },
    { "IS_NUMBER", SQL_NUMBER, SQL_NUMBER }, { "IS_STRING", SQL_STRING, SQL_STRING },
    { "IS_ARRAY", SQL_ARRAY, SQL_ARRAY }, { "IS_OBJECT", SQL_OBJECT, SQL_OBJECT },
    { "IS_PRIMITIVE", SQL_NULL, SQL_STRING }
};

static bool sql_call_condition(sql_shaper *shaper, const sql_node *node, emu_sql_condition *out)
{
    size_t i;
    bool begins = sql_calls(node, "STARTSWITH"), same = sql_calls(node, "STRINGEQUALS");
    if (node->count == 0 || !sql_path_of(shaper, node->children[0], &out->path)) return false;
    for (i = 0; i < sizeof sql_type_tests / sizeof *sql_type_tests; i++) {
        if (!sql_calls(node, sql_type_tests[i].function)) continue;
        sql_room(shaper, out, 1);
        sql_add_types(shaper, out, sql_type_tests[i].first, sql_type_tests[i].last);
        return true;
    }
    if ((!begins && !same) || !sql_is_constant(node->children[1]) || node->children[1]->value.type != SQL_STRING ||
        (node->count == 3 && !(node->children[2]->kind == SQL_CONSTANT && node->children[2]->value.type == SQL_BOOL &&
                               !node->children[2]->value.truth))) return false;
    if (begins) {
        sql_beginning(shaper, node->children[1]->value.as.string, out);
        return true;
    }
    sql_room(shaper, out, 1);
    sql_add_interval(out, sql_low(shaper, &node->children[1]->value), sql_high(shaper, &node->children[1]->value));
    return true;
}

/* WHERE c.done, or NOT c.done. */
static bool sql_truth(sql_shaper *shaper, const sql_node *node, bool truth, emu_sql_condition *out)
{
    sql_value value;
    if (!sql_path_of(shaper, node, &out->path)) return false;
    sql_set_bool(&value, truth);
    sql_room(shaper, out, 1);
    sql_add_interval(out, sql_low(shaper, &value), sql_high(shaper, &value));
    return true;
}

static bool sql_condition_of(sql_shaper *shaper, const sql_node *node, emu_sql_condition *out);

/* All of one path. */
static bool sql_any_of(sql_shaper *shaper, const sql_node *node, emu_sql_condition *out)
{
    emu_sql_condition part;
    uint32_t i;
    memset(out, 0, sizeof *out);
    for (i = 0; i < node->count; i++) {
        emu_sql_interval *before = out->intervals;
        size_t count = out->count;
        memset(&part, 0, sizeof part);
        if (!sql_condition_of(shaper, node->children[i], &part) || (i && strcmp(part.path, out->path) != 0))
            return false;
        out->path = part.path;
        sql_spend(shaper->arena->env, count);
        sql_room(shaper, out, count + part.count);
        if (count) memcpy(out->intervals, before, count * sizeof *before);
        if (part.count) memcpy(out->intervals + count, part.intervals, part.count * sizeof *before);
        out->count = count + part.count;
    }
    return true;
}

/* One of them will do. */
static bool sql_all_of(sql_shaper *shaper, const sql_node *node, emu_sql_condition *out)
{
    uint32_t i;
    for (i = 0; i < node->count; i++)
        if (sql_condition_of(shaper, node->children[i], out)) return true;
    return false;
}

/* False: it says nothing that an index would help with. */
static bool sql_condition_of(sql_shaper *shaper, const sql_node *node, emu_sql_condition *out)
{
    bool ok;
    sql_spend(shaper->arena->env, 1);
    switch (node->kind) {
    case SQL_BINARY: ok = sql_relation(shaper, node, out); break;
    case SQL_BETWEEN: ok = sql_between(shaper, node, out); break;
    case SQL_IN: ok = sql_one_of(shaper, node, out); break;
    case SQL_LIKE: ok = sql_like_beginning(shaper, node, out); break;
    case SQL_CALL: ok = sql_call_condition(shaper, node, out); break;
    case SQL_OR: ok = sql_any_of(shaper, node, out); break;
    case SQL_AND: ok = sql_all_of(shaper, node, out); break;
    case SQL_PROPERTY: ok = sql_truth(shaper, node, true, out); break;
    case SQL_UNARY: ok = node->op == SQL_OP_NOT && sql_truth(shaper, node->children[0], false, out); break;
    default: ok = false;
    }
    if (ok) sql_tidy(shaper, out);
    return ok;
}

static void sql_take_condition(sql_shaper *shaper, const sql_node *node, const char **path)
{
    emu_sql_condition made;
    size_t i;
    memset(&made, 0, sizeof made);
    *path = NULL;
    if (node->kind == SQL_CONSTANT && node->value.type == SQL_BOOL && node->value.truth) *path = "";
    if (!sql_condition_of(shaper, node, &made)) return;
    *path = made.path;
    for (i = 0; i < shaper->count; i++) {
        if (strcmp(shaper->conditions[i].path, made.path) != 0) continue;
        sql_intersect(shaper, &shaper->conditions[i], &made);
        return;
    }
    if (shaper->count < EMU_SQL_CONDITIONS_MAX) shaper->conditions[shaper->count++] = made;
}

/*------------------------------------------------------------------------------
 * MARK: - The shape of a query
 *----------------------------------------------------------------------------*/

static bool sql_looks_at_nothing(const sql_node *node)
{
    uint32_t i;
    if (node->kind == SQL_ALIAS || node->select) return false;
    for (i = 0; i < node->count; i++)
        if (!sql_looks_at_nothing(node->children[i])) return false;
    return true;
}

/* FROM c. */
static bool sql_has_plain_source(const sql_select *select)
{
    const sql_source *source = &select->sources[0];
    return select->source_count == 1 && source->whole && !source->each && source->path->kind == SQL_ALIAS;
}

/* Looks at a document's own properties by their names, and at nothing else of it: not at what the service adds. */
static bool sql_looks_at_own(const sql_node *node)
{
    static const char *const ours[] = { "_rid", "_self", "_etag", "_attachments", "_ts" };
    uint32_t i;
    if (node->kind == SQL_ALIAS || node->select) return false;
    if (node->kind == SQL_PROPERTY && node->children[0]->kind == SQL_ALIAS) {
        for (i = 0; i < sizeof ours / sizeof *ours && !aioc_mem_is(node->name, ours[i]); i++) continue;
        return i == sizeof ours / sizeof *ours;
    }
    for (i = 0; i < node->count; i++)
        if (!sql_looks_at_own(node->children[i])) return false;
    return true;
}

/* COUNT(1) FROM c, whatever documents look like. */
static bool sql_is_blind(const sql_select *select)
{
    uint32_t i;
    if (!sql_has_plain_source(select) || select->order_count || select->rank ||
        (select->where && !sql_looks_at_nothing(select->where))) return false;
    for (i = 0; i < select->item_count; i++)
        if (!sql_looks_at_nothing(select->items[i])) return false;
    for (i = 0; i < select->group_count; i++)
        if (!sql_looks_at_nothing(select->groups[i])) return false;
    return true;
}

/* SELECT *, of which all else looks at own properties: what is behind these is needed as text alone. */
static bool sql_gives_documents(const sql_select *select)
{
    uint32_t i;
    if (!sql_has_plain_source(select) || select->distinct || select->rank || select->group_count ||
        select->item_count != 1 || (!select->star && !select->value) || select->items[0]->kind != SQL_ALIAS ||
        !select->where || !sql_looks_at_own(select->where)) return false;
    for (i = 0; i < select->order_count; i++)
        if (!sql_looks_at_own(select->orders[i].node)) return false;
    return true;
}

/* Aggregates of constants or of one path, and nothing else of a document. */
static bool sql_only_aggregates(sql_shaper *shaper, const sql_node *node, const char **path)
{
    const char *own;
    uint32_t i;
    if (node->kind == SQL_ALIAS || node->select) return false;
    if (node->kind == SQL_AGGREGATE) {
        if (sql_looks_at_nothing(node->children[0])) return true;
        if (!sql_path_of(shaper, node->children[0], &own) || (*path && strcmp(*path, own) != 0)) return false;
        *path = own;
        return node->op != SQL_MAKELIST && node->op != SQL_MAKESET;
    }
    for (i = 0; i < node->count; i++)
        if (!sql_only_aggregates(shaper, node->children[i], path)) return false;
    return true;
}

/* All that is looked at is a document's own. */
static bool sql_is_own(const sql_select *select)
{
    uint32_t i;
    if (!sql_has_plain_source(select) || select->star || select->rank ||
        (select->where && !sql_looks_at_own(select->where))) return false;
    for (i = 0; i < select->item_count; i++)
        if (!sql_looks_at_own(select->items[i])) return false;
    for (i = 0; i < select->group_count; i++)
        if (!sql_looks_at_own(select->groups[i])) return false;
    for (i = 0; i < select->order_count; i++)
        if (!sql_looks_at_own(select->orders[i].node)) return false;
    for (i = 0; i < select->aggregate_count; i++)
        if (!sql_looks_at_own(select->aggregates[i])) return false;
    return true;
}

static void sql_take_aggregates(sql_shaper *shaper, const sql_select *select, emu_sql_shape *shape)
{
    uint32_t i;
    if (!select->aggregate_count || select->group_count || select->distinct || select->source_count != 1) return;
    for (i = 0; i < select->item_count; i++)
        if (!sql_only_aggregates(shaper, select->items[i], &shape->aggregate_path)) return;
    shape->aggregates = true;
}

static void sql_take_where(sql_shaper *shaper, const sql_node *where, emu_sql_shape *shape)
{
    uint32_t i;
    shape->conjunct_count = !where ? 0 : where->kind == SQL_AND ? where->count : 1;
    shape->conjuncts = (const char **)sql_alloc(shaper->arena, (shape->conjunct_count + 1) * sizeof(const char *));
    for (i = 0; i < shape->conjunct_count; i++)
        sql_take_condition(shaper, where->kind == SQL_AND ? where->children[i] : where, &shape->conjuncts[i]);
}

static void sql_take_order(sql_shaper *shaper, const emu_sql_query *query, emu_sql_shape *shape)
{
    const sql_select *select = query->select;
    const sql_resume *resume = &query->resume;
    if (!emu_sql_is_ordered(query) || &select->sources[0] != shaper->source ||
        !sql_path_of(shaper, select->orders[0].node, &shape->order_path)) return;
    shape->descending = select->orders[0].descending;
    if (!resume->values) return;
    shape->resume = sql_low(shaper, &resume->values[0].value);
    if (resume->has_rid && select->order_count == 1) shape->resume_number = resume->rid;
}

/* As a composite index has them. */
static void sql_take_sorted(sql_shaper *shaper, const sql_select *select, emu_sql_shape *shape)
{
    const char **sorted = (const char **)sql_alloc(shaper->arena, (select->order_count + 1) * sizeof *sorted);
    uint32_t i;
    for (i = 0; i < select->order_count; i++) {
        const char *path, *end = select->orders[i].descending ? " DESC" : " ASC";
        char *text;
        if (!sql_path_of(shaper, select->orders[i].node, &path)) return;
        text = (char *)sql_alloc(shaper->arena, strlen(path) + 6);
        strcpy(text, path);
        strcat(text, end);
        sorted[i] = text;
        if (i == 0) shape->sorted_path = path;
    }
    shape->sorted = sorted;
    shape->sorted_count = select->order_count;
}

static void sql_shape(emu_sql_query *query)
{
    emu_sql_shape *shape = (emu_sql_shape *)sql_zalloc(&query->arena, sizeof *shape);
    const sql_select *select = query->select;
    sql_shaper shaper;
    while (select->source_count && select->sources[0].select) select = select->sources[0].select;
    shape->skipped = query->select->offset > 0 ? query->select->offset : 0;
    shape->blind = sql_is_blind(query->select);
    shape->own = sql_is_own(query->select) && !query->resume.has_rid;
    shape->own_filter = sql_has_plain_source(select) && select->where && sql_looks_at_own(select->where);
    shape->own_row = sql_gives_documents(query->select) && !query->resume.has_rid;
    memset(&shaper, 0, sizeof shaper);
    shaper.arena = &query->arena;
    shaper.source = select->source_count ? &select->sources[0] : NULL;
    shaper.conditions = (emu_sql_condition *)sql_alloc(&query->arena,
                                                       EMU_SQL_CONDITIONS_MAX * sizeof *shaper.conditions);
    if (shaper.source && shaper.source->whole && !shaper.source->each) {
        sql_take_where(&shaper, select->where, shape);
        sql_take_order(&shaper, query, shape);
        if (select == query->select) sql_take_aggregates(&shaper, select, shape);
        if (select == query->select) sql_take_sorted(&shaper, select, shape);
    }
    shape->conditions = shaper.conditions;
    shape->condition_count = shaper.count;
    query->shape = shape;
}

static bool sql_try_shape(emu_sql_query *query)
{
    if (setjmp(query->env.leave)) return false;
    sql_shape(query);
    return true;
}

const emu_sql_shape *emu_sql_shape_of(emu_sql_query *query)
{
    static const emu_sql_shape none;
    if (query->shape) return query->shape;
    sql_allow_steps(&query->env);
    return sql_try_shape(query) ? query->shape : &none;    /* without memory it is read without an index */
}
