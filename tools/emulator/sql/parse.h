/* parse.h: the tree that the text of a query is parsed to, and what can be said of a tree. */
#ifndef EMULATOR_SQL_PARSE_H
#define EMULATOR_SQL_PARSE_H

#include "functions.h"

/*------------------------------------------------------------------------------
 * MARK: - The tree
 *----------------------------------------------------------------------------*/

typedef struct sql_node sql_node;
typedef struct sql_select sql_select;

typedef enum sql_kind {
    SQL_CONSTANT,                      /* value; name: of the parameter, where it was one */
    SQL_NAME,                          /* name: an identifier not yet bound */
    SQL_ALIAS,                         /* slot */
    SQL_PROPERTY,                      /* children[0] . name */
    SQL_MEMBER,                        /* children[0] [ children[1] ] */
    SQL_NEW_ARRAY, SQL_NEW_OBJECT,     /* children, names */
    SQL_UNARY, SQL_BINARY,             /* op, children */
    SQL_AND, SQL_OR,                   /* children, two or more */
    SQL_BETWEEN, SQL_IN, SQL_LIKE,     /* children: what, then the rest; negated */
    SQL_COALESCE, SQL_CONDITIONAL,
    SQL_CALL,                          /* function, children; op: sql_distance of VectorDistance */
    SQL_AGGREGATE,                     /* op: sql_aggregate, children[0], slot: which one of its select */
    SQL_EXISTS, SQL_ARRAY_OF, SQL_SCALAR,  /* select */
    SQL_GROUP_KEY                      /* slot: which one; children[0]: the expression that stood here */
} sql_kind;

typedef enum sql_aggregate {
    SQL_AVG, SQL_COUNT, SQL_COUNTIF, SQL_MAKELIST, SQL_MAKESET, SQL_MAX, SQL_MIN, SQL_SUM
} sql_aggregate;

typedef enum sql_op {
    SQL_OP_NONE, SQL_OP_ADD, SQL_OP_SUBTRACT, SQL_OP_MULTIPLY, SQL_OP_DIVIDE, SQL_OP_MODULO, SQL_OP_CONCAT,
    SQL_OP_SHIFT_LEFT, SQL_OP_SHIFT_RIGHT, SQL_OP_SHIFT_RIGHT_ZERO, SQL_OP_BIT_AND, SQL_OP_BIT_XOR, SQL_OP_BIT_OR,
    SQL_OP_LESS, SQL_OP_LESS_EQUAL, SQL_OP_GREATER, SQL_OP_GREATER_EQUAL, SQL_OP_EQUAL, SQL_OP_NOT_EQUAL,
    SQL_OP_NOT, SQL_OP_MINUS, SQL_OP_PLUS, SQL_OP_BIT_NOT
} sql_op;


struct sql_node {
    uint8_t kind, op;
    bool negated;
    bool grouped;                      /* in parentheses: not to be merged into a chain of AND or OR */
    bool bracketed;                    /* PROPERTY that was written ["name"] */
    uint16_t depth;                    /* levels below and including this one */
    uint32_t start, end;               /* in the query's text */
    uint32_t count, slot;
    sql_node **children;
    aiocosmos_str *names;
    aiocosmos_str name;
    sql_value value;
    aiocosmos_str json;                /* CONSTANT that emu_sql_equals may be asked for: its text */
    const sql_function *function;
    sql_select *select;
};

typedef struct sql_source {            /* one of FROM … JOIN … */
    aiocosmos_str alias;               /* ptr NULL: has none */
    uint32_t start, end, slot;
    bool each;                         /* alias IN collection */
    bool whole;                        /* of the container itself */
    sql_node *path;                    /* an expression */
    uint32_t root;                     /* whole: the slot that its document is bound to */
    sql_select *select;                /* a subquery instead */
} sql_source;

typedef struct sql_order_key {
    sql_node *node;
    bool descending, ascending_said;   /* ASC stood there */
    bool nearest;                      /* by VectorDistance: descending as its function says, and never said */
} sql_order_key;

struct sql_select {
    sql_select *outer;
    uint32_t start, end;
    bool distinct, value, star, nested;
    bool rooted;                       /* its first source reads the container, not an alias of an outer query */
    uint16_t depth;                    /* of its deepest expression, and what running a query adds to that */
    int64_t top, offset, limit;        /* -1: none */
    sql_node **items;
    aiocosmos_str *names;              /* of the items; not with VALUE */
    uint32_t item_count;
    sql_source *sources;
    uint32_t source_count, visible;    /* visible: aliases that may be named now, while names are bound */
    sql_node *where;
    sql_node **groups;
    uint32_t group_count;
    sql_node *rank;                    /* of ORDER BY RANK */
    sql_order_key *orders;
    uint32_t order_count;
    sql_node **aggregates;
    uint32_t aggregate_count;
    uint32_t top_start, top_end, star_start, star_end, order_start, order_end, limit_start, limit_end;
};

/* Where a client left off (resumeFilter): behind the rows that sort before these values and this _rid. */
typedef struct sql_resume_value {
    sql_value value;
    uint64_t low, high;                /* of an array or an object its hash stands for it */
} sql_resume_value;

typedef struct sql_resume {
    sql_resume_value *values;          /* NULL: from the start */
    uint32_t count;
    bool exclude;                      /* also the row that is the same in all */
    bool has_rid;
    uint64_t rid;                      /* the document's part of it */
    uint64_t same;                     /* so many rows of this document with these values were given */
} sql_resume;

struct emu_sql_query {
    sql_env env;
    sql_arena arena;
    char *request;                     /* a copy of the body */
    size_t request_size;
    aiocosmos_json_doc body;                /* parsed: parameters are values of it */
    const char *text;
    size_t len;
    int64_t now_ms;
    sql_select *select;
    sql_node **distances;              /* calls of VectorDistance */
    uint32_t distance_count;
    uint32_t slots;
    aioc_mem_buffer scratch;
    sql_resume resume;
    int64_t given;                     /* rows that came before what is resumed, of TOP or LIMIT */
    const emu_sql_shape *shape;        /* NULL: nobody has asked */
};

/*------------------------------------------------------------------------------
 * MARK: - The parser
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

#define sql_fail_at(PARSER, CODE, START, END, ...) \
    sql_fail((PARSER)->env, CODE, sql_position((PARSER)->query, START), sql_position((PARSER)->query, END), __VA_ARGS__)

EMU_PRIVATE size_t sql_position(const emu_sql_query *query, size_t byte);
EMU_PRIVATE int    sql_quote_len(const char *text, size_t len);
EMU_PRIVATE void   sql_fail_near(sql_parser *parser, const sql_token *token) __attribute__((noreturn));

EMU_PRIVATE void        sql_advance(sql_parser *parser);
EMU_PRIVATE sql_select *sql_parse_select(sql_parser *parser, bool nested);
EMU_PRIVATE void        sql_check_clauses(sql_parser *parser, const sql_select *select);
EMU_PRIVATE sql_node   *sql_new_node(sql_parser *parser, sql_kind kind, size_t start);
EMU_PRIVATE sql_node   *sql_new_parent(sql_parser *parser, sql_kind kind, size_t start, sql_node *a, sql_node *b,
                                       sql_node *c);

/*------------------------------------------------------------------------------
 * MARK: - What a tree says
 *----------------------------------------------------------------------------*/

EMU_PRIVATE const char     *sql_operator_mark(sql_op op);
EMU_PRIVATE bool            sql_same_node(const sql_node *a, const sql_node *b);
EMU_PRIVATE const sql_node *sql_path_root(const sql_node *node);
EMU_PRIVATE aiocosmos_str   sql_inferred_name(const sql_node *node);
EMU_PRIVATE bool            sql_calls(const sql_node *node, const char *function);
/* Whether node is the path ("/a/b") of the alias at `slot`. */
EMU_PRIVATE bool            sql_is_path(const sql_node *node, uint32_t slot, const char *path, size_t len);

#endif
