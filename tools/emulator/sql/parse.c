/* parse.c: the text of a query to a tree: words, expressions, clauses. */
#include "parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SQL_SOURCES_MAX    32                              /* in one FROM: each is a level of nested loops */

/*------------------------------------------------------------------------------
 * MARK: - Words
 *----------------------------------------------------------------------------*/

static const char *const sql_words[SQL_W_COUNT] = {
    "", "AND", "ARRAY", "AS", "ASC", "BETWEEN", "BY", "DESC", "DISTINCT", "ESCAPE", "EXISTS", "FROM", "GROUP", "IN",
    "JOIN", "LIKE", "LIMIT", "NOT", "OFFSET", "OR", "ORDER", "SELECT", "TOP", "VALUE", "WHERE"
};

/* The service's positions count UTF-16 units. */
size_t sql_position(const emu_sql_query *query, size_t byte)
{
    size_t i, n = 0;
    for (i = 0; i < byte && i < query->len; i++) {
        unsigned char c = (unsigned char)query->text[i];
        n += ((c & 0xc0) != 0x80) + (size_t)(c >= 0xf0);
    }
    return n;
}

/* How much of a text is quoted in a message, so that it ends with a whole character. */
int sql_quote_len(const char *text, size_t len)
{
    if (len > 100) {
        len = 100;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) len--;
    }
    return (int)len;
}


void sql_fail_near(sql_parser *parser, const sql_token *token)
{
    const char *text = parser->query->text + token->start;
    if (token->kind == SQL_T_END)
        sql_fail_at(parser, "SC1002", token->start, token->start, "Syntax error, unexpected end-of-file.");
    sql_fail_at(parser, "SC1001", token->start, token->end, "Syntax error, incorrect syntax near '%.*s'.",
                sql_quote_len(text, token->end - token->start), text);
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
void sql_advance(sql_parser *parser)
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

static sql_node *sql_parse_expression(sql_parser *parser);

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

sql_node *sql_new_node(sql_parser *parser, sql_kind kind, size_t start)
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

sql_node *sql_new_parent(sql_parser *parser, sql_kind kind, size_t start, sql_node *a, sql_node *b, sql_node *c)
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
        sql_fail_at(parser, "SC2005", token.start, token.end, "The emulator stores functions, but runs none.");
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
void sql_check_clauses(sql_parser *parser, const sql_select *select)
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

sql_select *sql_parse_select(sql_parser *parser, bool nested)
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
 * MARK: - What a tree says
 *----------------------------------------------------------------------------*/

bool sql_calls(const sql_node *node, const char *function)
{
    return node->kind == SQL_CALL && strcmp(node->function->name, function) == 0;
}

/* The name at the root of a path. */
const sql_node *sql_path_root(const sql_node *node)
{
    while (node->kind == SQL_PROPERTY || node->kind == SQL_MEMBER) node = node->children[0];
    return node;
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
