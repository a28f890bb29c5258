/* value.h: what the SQL engine is made of: errors that leave it, arenas, characters, and values, which are read from
 * JSON, compared, ordered, hashed and written. */
#ifndef EMULATOR_SQL_VALUE_H
#define EMULATOR_SQL_VALUE_H

#include "../base.h"
#include "sql.h"

#include <setjmp.h>

#define SQL_MEMORY_PREPARE ((size_t)64 * 1024 * 1024)      /* what a query may take while it is prepared */
#define SQL_MEMORY_VALUES  ((size_t)64 * 1024 * 1024)      /* what the values made for one document may take */

/*------------------------------------------------------------------------------
 * MARK: - Errors and memory
 *----------------------------------------------------------------------------*/

typedef struct sql_env {
    aioc_mem memory;                   /* a part of the parent's */
    aioc_mem *parent;                  /* NULL: of the process's */
    emu_sql_error error;
    jmp_buf leave;
    uint64_t steps, steps_max;         /* done so far; where to give up now, */
    uint64_t steps_end;                /* and wherever it could pause in between */
    bool one_piece;                    /* it never pauses */
    bool flat;                         /* places are of a plane */
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

EMU_PRIVATE void  sql_env_init(sql_env *env, aioc_mem *parent, size_t max);
/* Zeroed. For what is there before an env is, and after it. NULL: no memory. */
EMU_PRIVATE void *sql_take(aioc_mem *parent, size_t size);
EMU_PRIVATE void  sql_give(aioc_mem *parent, void *ptr, size_t size);

/* Leaves the engine. text goes into the error's JSON: escaped and cut, so that the message stays whole. */
EMU_PRIVATE void sql_fail(sql_env *env, const char *code, size_t start, size_t end, const char *format, ...)
    __attribute__((noreturn, format(printf, 5, 6)));
EMU_PRIVATE void sql_fail_plain(sql_env *env, int status, const char *message) __attribute__((noreturn));
EMU_PRIVATE void sql_fail_memory(sql_env *env) __attribute__((noreturn));      /* beyond a limit of the engine */
EMU_PRIVATE void sql_fail_allocation(sql_env *env) __attribute__((noreturn));
EMU_PRIVATE void sql_allow_steps(sql_env *env);                          /* EMU_SQL_STEPS_MAX from here on */
EMU_PRIVATE void sql_allow_piece(sql_env *env);                          /* of those, EMU_SQL_PIECE_MAX */
EMU_PRIVATE void sql_spend(sql_env *env, size_t steps);                  /* or leaves */
#define SQL_STEP_BYTES 16              /* looked at, compared or copied in a step */

EMU_PRIVATE void  sql_arena_init(sql_arena *arena, sql_env *env, size_t max);
EMU_PRIVATE void  sql_arena_reset(sql_arena *arena);
EMU_PRIVATE void  sql_arena_free(sql_arena *arena);
EMU_PRIVATE void *sql_alloc(sql_arena *arena, size_t size);              /* never NULL; aligned for what is used here */
EMU_PRIVATE void *sql_zalloc(sql_arena *arena, size_t size);
EMU_PRIVATE aiocosmos_str sql_str(const char *ptr, size_t len);
EMU_PRIVATE aiocosmos_str sql_copy_str(sql_arena *arena, aiocosmos_str text);

/*------------------------------------------------------------------------------
 * MARK: - Characters
 *----------------------------------------------------------------------------*/

EMU_PRIVATE uint32_t sql_character(const char **at, const char *end);
EMU_PRIVATE size_t   sql_encode(uint32_t c, char *out);
EMU_PRIVATE size_t   sql_length(aiocosmos_str text);                      /* in UTF-16 units, as the service counts */
EMU_PRIVATE size_t   sql_offset(aiocosmos_str text, size_t index);
EMU_PRIVATE uint32_t sql_lower(uint32_t c);
EMU_PRIVATE uint32_t sql_upper(uint32_t c);
EMU_PRIVATE aiocosmos_str sql_map_case(sql_arena *arena, aiocosmos_str text, uint32_t (*map)(uint32_t));
EMU_PRIVATE bool     sql_is_digit(char c);
EMU_PRIVATE bool     sql_is_letter(char c);
EMU_PRIVATE int      sql_hex(char c);                                    /* -1: no hexadecimal digit */

/*------------------------------------------------------------------------------
 * MARK: - Values
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

/* Walks an array or an object. Start with a zeroed cursor. */
typedef struct sql_cursor {
    size_t index;
    aiocosmos_json json;
} sql_cursor;

EMU_PRIVATE void   sql_set_undefined(sql_value *out);
EMU_PRIVATE void   sql_set_bool(sql_value *out, bool truth);
EMU_PRIVATE void   sql_set_integer(sql_value *out, int64_t integer);
EMU_PRIVATE void   sql_set_number(sql_value *out, double real);
EMU_PRIVATE void   sql_set_string(sql_value *out, aiocosmos_str string);
EMU_PRIVATE void   sql_set_members(sql_value *out, sql_arena *arena, sql_type type, size_t cap);
EMU_PRIVATE void   sql_append(sql_arena *arena, sql_value *container, aiocosmos_str name, const sql_value *value);
EMU_PRIVATE void   sql_append_element(sql_arena *arena, sql_value *array, const sql_value *value);
EMU_PRIVATE aiocosmos_str sql_unescape(sql_arena *arena, aiocosmos_json json);
EMU_PRIVATE void   sql_read(sql_arena *arena, aiocosmos_json json, sql_value *out);

EMU_PRIVATE bool   sql_next(sql_arena *arena, const sql_value *container, sql_cursor *cursor, aiocosmos_str *name,
                            sql_value *value);
EMU_PRIVATE size_t sql_count(const sql_value *container);
EMU_PRIVATE aiocosmos_json sql_child(aiocosmos_json object, aiocosmos_str name);
EMU_PRIVATE void   sql_property(sql_arena *arena, const sql_value *object, aiocosmos_str name, sql_value *out);
EMU_PRIVATE void   sql_element(sql_arena *arena, const sql_value *array, const sql_value *index, sql_value *out);
/* partial: also an element that has all that `wanted` has. */
EMU_PRIVATE bool   sql_array_has(sql_arena *arena, const sql_value *array, const sql_value *wanted, bool partial);

EMU_PRIVATE int      sql_compare_numbers(const sql_value *a, const sql_value *b);
EMU_PRIVATE void     sql_spend_on_strings(sql_env *env, const sql_value *a, const sql_value *b);  /* compared */
EMU_PRIVATE int      sql_compare_primitives(const sql_value *a, const sql_value *b);
EMU_PRIVATE bool     sql_equal(sql_arena *arena, const sql_value *a, const sql_value *b);
EMU_PRIVATE uint64_t sql_mix(uint64_t hash, uint64_t more);
EMU_PRIVATE uint64_t sql_hash(sql_arena *arena, const sql_value *value);  /* the same for what is equal */

/* The document's part of a _rid: the last 8 of 16 bytes, in base64 with '-' for '/'. False: it is none. */
EMU_PRIVATE bool     sql_rid_document(aiocosmos_str rid, uint64_t *document);

/*------------------------------------------------------------------------------
 * MARK: - The order of ORDER BY
 *----------------------------------------------------------------------------*/

typedef struct sql_hash128 { uint64_t low, high; } sql_hash128;

/* By which arrays and objects are sorted. */
EMU_PRIVATE sql_hash128 sql_hash_value(sql_arena *arena, const sql_value *value);
EMU_PRIVATE int  sql_compare_hashes(sql_hash128 a, sql_hash128 b);
EMU_PRIVATE int  sql_order(sql_arena *arena, const sql_value *a, const sql_value *b);
EMU_PRIVATE void sql_keep(sql_arena *from, sql_arena *to, const sql_value *value, sql_value *out);

/*------------------------------------------------------------------------------
 * MARK: - JSON text
 *----------------------------------------------------------------------------*/

EMU_PRIVATE void   sql_put(sql_env *env, aioc_mem_buffer *buffer, const char *text, size_t len);
EMU_PRIVATE void   sql_put_string(sql_env *env, aioc_mem_buffer *buffer, aiocosmos_str text);
EMU_PRIVATE size_t sql_number_text(const sql_value *value, char out[AIOC_JSON_NUMBER_MAX]);
EMU_PRIVATE void   sql_render(sql_arena *arena, aioc_mem_buffer *buffer, const sql_value *value, bool fresh);

#endif
