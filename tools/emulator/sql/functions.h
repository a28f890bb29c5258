/* functions.h: the functions that a query may call. */
#ifndef EMULATOR_SQL_FUNCTIONS_H
#define EMULATOR_SQL_FUNCTIONS_H

#include "regex.h"

/* What functions need besides their arguments, for as long as a run. */
typedef struct sql_work {
    int64_t now_ms;                    /* of GetCurrentDateTime and its like */
    uint64_t random;                   /* of RAND */
    aiocosmos_json_doc *texts;         /* parsed by StringToArray and the like, for the document at hand */
    size_t text_count, text_cap;
    sql_arena regex_arena;             /* the last pattern, compiled */
    sql_regex *regex;
    aiocosmos_str regex_pattern, regex_modifiers;
    aioc_mem_buffer text;
} sql_work;

typedef enum sql_distance { SQL_COSINE, SQL_DOTPRODUCT, SQL_EUCLIDEAN } sql_distance;

struct sql_call;
typedef struct sql_function {
    const char *name;
    int least, most;                   /* arguments; most -1: any number */
    void (*apply)(struct sql_call *call);
    int which;                         /* where several share one apply */
} sql_function;

typedef struct sql_call {
    sql_work *work;
    sql_arena *arena;
    const sql_function *function;
    sql_distance distance;             /* of VectorDistance */
    const sql_value *args;
    uint32_t count;
    sql_value *out;                    /* undefined when apply is called */
} sql_call;

EMU_PRIVATE const sql_function *sql_find_function(aiocosmos_str name);  /* NULL: there is none */

EMU_PRIVATE void sql_work_init(sql_work *work, sql_env *env, int64_t now_ms);
EMU_PRIVATE void sql_work_reset(sql_work *work);           /* for the next document */
EMU_PRIVATE void sql_work_free(sql_work *work, sql_env *env);

#endif
