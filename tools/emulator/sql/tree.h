/* tree.h: the tree that a query is parsed to, for the two files that walk it: the engine (sql.c)
 * and the planner (plan.c). Nobody else includes it. */
#ifndef EMULATOR_SQL_TREE_H
#define EMULATOR_SQL_TREE_H

#include "sql.h"

#include <setjmp.h>

/*------------------------------------------------------------------------------
 * Errors and memory
 *----------------------------------------------------------------------------*/

typedef struct sql_env {
    aioc_mem memory;
    emu_sql_error error;
    jmp_buf leave;
    uint64_t steps;
} sql_env;

typedef struct sql_chunk {
    struct sql_chunk *next;
    size_t size, used;
} sql_chunk;

typedef struct sql_arena {
    sql_env *env;
    sql_chunk *chunks;                 /* the one being filled first */
    size_t total, max;
} sql_arena;

/*------------------------------------------------------------------------------
 * Values
 *----------------------------------------------------------------------------*/

/* In the order in which ORDER BY, MIN and MAX sort them. */
typedef enum sql_type { SQL_UNDEFINED, SQL_NULL, SQL_BOOL, SQL_NUMBER, SQL_STRING, SQL_ARRAY, SQL_OBJECT } sql_type;

typedef struct sql_value sql_value;
typedef struct sql_members {           /* of an array or an object made here */
    size_t count, cap;
    sql_value *values;
    aiocosmos_str *names;              /* NULL in an array */
} sql_members;

struct sql_value {
    uint8_t type;                      /* sql_type */
    bool truth;                        /* BOOL */
    bool whole;                        /* NUMBER: as.number.integer is exact */
    bool on_tape;                      /* ARRAY, OBJECT: as.node, in a parsed text; else as.members */
    aiocosmos_str text;                /* the JSON it was read from, and is shown as again; ptr NULL: made here */
    union {
        struct { double real; int64_t integer; } number;
        aiocosmos_str string;          /* escapes undone */
        const void *node;
        sql_members *members;
    } as;
};

/*------------------------------------------------------------------------------
 * The tree
 *----------------------------------------------------------------------------*/

typedef struct sql_node sql_node;
typedef struct sql_select sql_select;
typedef struct sql_function sql_function;

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

typedef enum sql_distance { SQL_COSINE, SQL_DOTPRODUCT, SQL_EUCLIDEAN } sql_distance;

typedef enum sql_op {
    SQL_OP_NONE, SQL_OP_ADD, SQL_OP_SUBTRACT, SQL_OP_MULTIPLY, SQL_OP_DIVIDE, SQL_OP_MODULO, SQL_OP_CONCAT,
    SQL_OP_SHIFT_LEFT, SQL_OP_SHIFT_RIGHT, SQL_OP_SHIFT_RIGHT_ZERO, SQL_OP_BIT_AND, SQL_OP_BIT_XOR, SQL_OP_BIT_OR,
    SQL_OP_LESS, SQL_OP_LESS_EQUAL, SQL_OP_GREATER, SQL_OP_GREATER_EQUAL, SQL_OP_EQUAL, SQL_OP_NOT_EQUAL,
    SQL_OP_NOT, SQL_OP_MINUS, SQL_OP_PLUS, SQL_OP_BIT_NOT
} sql_op;

struct sql_call;
struct sql_function {
    const char *name;
    int least, most;                   /* arguments; most -1: any number */
    void (*apply)(struct sql_call *call);
    int which;                         /* where several share one apply */
};

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
} sql_resume;

struct emu_sql_query {
    sql_env env;
    sql_arena arena;
    char *request;                     /* a copy of the body */
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
};

/*------------------------------------------------------------------------------
 * What the planner needs of the engine
 *----------------------------------------------------------------------------*/

/* Leaves the engine. text goes into the error's JSON: escaped and cut, so that the message stays whole. */
void sql_fail(sql_env *env, const char *code, size_t start, size_t end, const char *format, ...)
    __attribute__((noreturn, format(printf, 5, 6)));
void sql_fail_plain(sql_env *env, int status, const char *message) __attribute__((noreturn));

void  sql_arena_init(sql_arena *arena, sql_env *env, size_t max);
void  sql_arena_free(sql_arena *arena);
void *sql_alloc(sql_arena *arena, size_t size);            /* never NULL; aligned for every type used here */
void  sql_put(sql_env *env, aioc_mem_buffer *buffer, const char *text, size_t len);
void  sql_put_string(sql_env *env, aioc_mem_buffer *buffer, aiocosmos_str text);
void  sql_render(sql_arena *arena, aioc_mem_buffer *buffer, const sql_value *value, bool fresh);
bool  sql_equal(sql_arena *arena, const sql_value *a, const sql_value *b);
bool  sql_same_node(const sql_node *a, const sql_node *b);
const char *sql_operator_mark(sql_op op);
const sql_node *sql_path_root(const sql_node *node);
aiocosmos_str sql_inferred_name(const sql_node *node);

bool  sql_calls(const sql_node *node, const char *function);     /* named as in the table of functions */

/* Whether node is the path ("/a/b") of the alias at `slot`. */
bool  sql_is_path(const sql_node *node, uint32_t slot, const char *path, size_t len);

#endif
