/* sql.h: Cosmos SQL over the documents of one scope (a logical or a physical partition). Text in, text out:
 * the engine knows no container, page or partition. A query is prepared once and may serve many runs.
 *
 *     query = emu_sql_prepare(body, len, now_ms, memory, &error);   // NULL: 400, error.message is the service's text
 *     run = emu_sql_start(query, emit, user);
 *     while (more documents && emu_sql_feed(run, document, len) == 0) continue;
 *     emu_sql_finish(run);
 *     emu_sql_stop(run);
 *     emu_sql_free(query); */
#ifndef EMULATOR_SQL_H
#define EMULATOR_SQL_H

#include "aiocosmos.h"

#ifndef EMU_PRIVATE
#define EMU_PRIVATE extern
#endif

#define EMU_SQL_TEXT_MAX   (256u * 1024u)                  /* bytes of query text */
#define EMU_SQL_DEPTH_MAX  200                             /* levels of an expression, subqueries among them */
#define EMU_SQL_STEPS_MAX  10000000u                       /* work on one document before the query is refused */
#define EMU_SQL_MEMORY_MAX ((size_t)1024 * 1024 * 1024)    /* bytes that a run may hold, held back rows included */

typedef struct emu_sql_query emu_sql_query;                /* a parsed query with its parameters bound; never changes */
typedef struct emu_sql_run emu_sql_run;

typedef struct emu_sql_error {
    int status, sub_status;
    char message[512];                 /* of a query {"errors":[{"severity":"Error","location":{"start":9,"end":13},
                                        * "code":"SC1001","message":"Syntax error, incorrect syntax near 'FORM'."}]};
                                        * of a run, a sentence */
} emu_sql_error;

/* body: the request's JSON, {"query":"…","parameters":[{"name":"@a","value":1}]}, and for ORDER BY where to go on,
 * "resumeFilter":{"value":[1],"rid":"…","exclude":false}: with what sorts behind these values or is the same in all but
 * comes behind the document of that _rid; exclude false: also with that document, or without a rid with all that is the
 * same. Rows that sort the same come in the order in which their documents were fed. now_ms: the Unix time that
 * GetCurrentDateTime and its like return. memory: for all that the query and its runs and plans take; NULL: the
 * process's. NULL: *error says why. */
EMU_PRIVATE emu_sql_query *emu_sql_prepare(const char *body, size_t len, int64_t now_ms, aioc_mem *memory,
                                           emu_sql_error *error);
EMU_PRIVATE void emu_sql_free(emu_sql_query *query);

/* What VectorDistance needs to know of the container: its definition, JSON, for the vectorEmbeddingPolicy. Before the
 * first run or plan; without it vectors are compared by their angle, where the query does not say otherwise. */
EMU_PRIVATE void emu_sql_define(emu_sql_query *query, const char *definition, size_t len);

/* Has ORDER BY RANK: only a client with a plan can carry it out, on any number of partitions. */
EMU_PRIVATE bool emu_sql_ranks(const emu_sql_query *query);

/* Has TOP, ORDER BY, OFFSET LIMIT, an aggregate, DISTINCT or GROUP BY: the gateway refuses it across partitions,
 * because someone has to merge what the partitions answer. */
EMU_PRIVATE bool emu_sql_needs_merge(const emu_sql_query *query);

/* Has a FROM. Without it the query is about no item, and one partition answers it for all. */
EMU_PRIVATE bool emu_sql_has_source(const emu_sql_query *query);

/* WHERE implies that the property at `path` ("/pk", "/a/b") equals one constant: its JSON text, lent by the query. */
EMU_PRIVATE bool emu_sql_equals(const emu_sql_query *query, const char *path, aiocosmos_str *json_value);

/* The query in the form in which the service writes one that it has rewritten. False: no memory, *error says so. */
EMU_PRIVATE bool emu_sql_print(const emu_sql_query *query, void (*emit)(void *user, const char *text, size_t len),
                             void *user, emu_sql_error *error);

/* A container's key. epk makes an effective partition key (hex, NUL-terminated) of its values, which may be fewer than
 * the paths if the key is hierarchical; false: it cannot tell. */
typedef struct emu_sql_key {
    const aiocosmos_str *paths;
    size_t path_count;
    bool   hierarchical;
    bool (*epk)(void *user, const aiocosmos_value *values, size_t count, char *out, size_t cap);
    void  *user;
} emu_sql_key;

/* The query plan, as JSON: how a client gets the answer from all partitions. features: what the client can do, as
 * x-ms-cosmos-supported-query-features lists it; ptr NULL: everything. False: the gateway makes no such plan, and
 * *error says why. */
EMU_PRIVATE bool emu_sql_plan(const emu_sql_query *query, const emu_sql_key *key, aiocosmos_str features,
                            void (*emit)(void *user, const char *json, size_t len), void *user, emu_sql_error *error);

/* NULL: no memory. `emit` gets each row as JSON text, lent until it returns; it may not call the engine with this
 * run. */
EMU_PRIVATE emu_sql_run *emu_sql_start(const emu_sql_query *query,
                                       void (*emit)(void *user, const char *json, size_t len), void *user);

/* 0: more, please. 1: further documents can't change the answer. < 0: see emu_sql_run_error; the run can only be
 * stopped. Rows of a query that neither sorts nor groups are emitted from inside, the others by emu_sql_finish. */
EMU_PRIVATE int emu_sql_feed(emu_sql_run *run, const char *document, size_t len);
EMU_PRIVATE int emu_sql_finish(emu_sql_run *run);

/* Inside `emit`: which document the row comes from, the first that was fed being 1; of a row made of several the first
 * of them. 0: of none. */
EMU_PRIVATE uint64_t emu_sql_row_document(const emu_sql_run *run);

EMU_PRIVATE const emu_sql_error *emu_sql_run_error(const emu_sql_run *run);
EMU_PRIVATE void emu_sql_stop(emu_sql_run *run);

/* Lowers EMU_SQL_MEMORY_MAX for one run. */
EMU_PRIVATE void emu_sql_limit_memory(emu_sql_run *run, size_t bytes);

#endif
