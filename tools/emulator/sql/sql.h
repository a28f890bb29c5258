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
#define EMU_SQL_STEPS_MAX  10000000u                       /* work on one document before the query is refused, */
#define EMU_SQL_PIECE_MAX  3000000u                        /* and where it cannot pause, as within a subquery */
#define EMU_SQL_MEMORY_MAX ((size_t)1024 * 1024 * 1024)    /* bytes that a run may hold, held back rows included */

typedef struct emu_sql_query emu_sql_query;                /* a parsed query with its parameters bound; never changes */
typedef struct emu_sql_run emu_sql_run;

typedef struct emu_sql_error {
    int status, sub_status;
    char message[512];                 /* of a query {"errors":[{"severity":"Error","location":{"start":9,"end":13},
                                        * "code":"SC1001","message":"Syntax error, incorrect syntax near 'FORM'."}]};
                                        * of a run, a sentence */
} emu_sql_error;

/* body: the request's JSON, {"query":"...","parameters":[{"name":"@a","value":1}]}, and for ORDER BY where to go on,
 * "resumeFilter":{"value":[1],"rid":"...","exclude":false}: with what sorts behind these values or is the same in all
 * but comes behind the document of that _rid; exclude false: also with that document, or without a rid with all that
 * is the same. Rows that sort the same come in the order in which their documents were fed. now_ms: the Unix time
 * that GetCurrentDateTime and its like return. memory: for all that the query and its runs and plans take; NULL: the
 * process's. NULL: *error says why. */
EMU_PRIVATE emu_sql_query *emu_sql_prepare(const char *body, size_t len, int64_t now_ms, aioc_mem *memory,
                                           emu_sql_error *error);
EMU_PRIVATE void emu_sql_free(emu_sql_query *query);

/* What VectorDistance needs to know of the container: its definition, JSON, for the vectorEmbeddingPolicy. Before the
 * first run or plan; without it vectors are compared by their angle, where the query does not say otherwise. */
EMU_PRIVATE void emu_sql_define(emu_sql_query *query, const char *definition, size_t len);

/* Before the first run: places are of a plane (geospatialConfig Geometry), not of the Earth. */
EMU_PRIVATE void emu_sql_set_flat(emu_sql_query *query, bool flat);

/* Where ORDER BY goes on in another run: behind a row of these emu_sql_row_keys, of the document with this number in
 * its _rid, which has given `same` rows of the same keys; all in all there were `given` rows. False: keys are none of
 * this query. */
EMU_PRIVATE bool emu_sql_go_on(emu_sql_query *query, aiocosmos_str keys, uint64_t rid, uint64_t same, int64_t given);
/* Whether it can: its rows are each of one document, and come in the order of values. */
EMU_PRIVATE bool emu_sql_is_ordered(const emu_sql_query *query);

/* Has ORDER BY RANK: only a client with a plan can carry it out, on any number of partitions. */
EMU_PRIVATE bool emu_sql_ranks(const emu_sql_query *query);

/* Has TOP, ORDER BY, OFFSET LIMIT, an aggregate, DISTINCT or GROUP BY: the gateway refuses it across partitions,
 * because someone has to merge what the partitions answer. */
EMU_PRIVATE bool emu_sql_needs_merge(const emu_sql_query *query);

/* Has a FROM. Without it the query is about no item, and one partition answers it for all. */
EMU_PRIVATE bool emu_sql_has_source(const emu_sql_query *query);

/* WHERE implies that the property at `path` ("/pk", "/a/b") equals one constant: its JSON text, lent by the query. */
EMU_PRIVATE bool emu_sql_equals(const emu_sql_query *query, const char *path, aiocosmos_str *json_value);

/* What an index can do for a query. Keys are bytes that sort as values do; documents without the path have one too. */
#define EMU_SQL_KEY_MAX  100
#define EMU_SQL_PATH_MAX 256                               /* "/a/b", of names without '/' */
#define EMU_SQL_CONDITIONS_MAX 16

typedef struct emu_sql_interval { aiocosmos_str low, high; } emu_sql_interval;     /* of keys, high left out */

typedef struct emu_sql_condition {     /* a document gives rows only if its key of this path is in one of these */
    const char *path;
    emu_sql_interval *intervals;       /* in order, and apart from each other */
    size_t count;
} emu_sql_condition;

typedef struct emu_sql_shape {
    const emu_sql_condition *conditions;
    size_t condition_count;
    const char *order_path;            /* rows are wanted in the order of its keys first; NULL: of none */
    bool descending;
    aiocosmos_str resume;              /* from this key on; len 0: from the first */
    uint64_t resume_number;            /* of that key from the document with this number on, if it is exact */
    const char **conjuncts;            /* of WHERE: the paths by which an index would serve them; NULL: none would,
                                        * "": it is always true */
    size_t conjunct_count;
    const char **sorted;               /* what ORDER BY sorts by, where that is paths: "/a/b ASC" */
    size_t sorted_count;
    const char *sorted_path;           /* of the first */
    int64_t skipped;                   /* OFFSET */
    bool aggregates;                   /* all that is wanted is aggregates of constants, or of this path */
    const char *aggregate_path;
    bool blind;                        /* what is in documents makes no difference, only that they are there */
    bool own;                          /* what the service adds to them makes none */
    bool own_filter;                   /* and none to whether they give rows at all: emu_sql_tries may be asked */
    bool own_row;                      /* and rows are the documents: what was tried is not parsed again to be fed */
} emu_sql_shape;

/* The query's own; after emu_sql_go_on. */
EMU_PRIVATE const emu_sql_shape *emu_sql_shape_of(emu_sql_query *query);
/* That of a run's query, where it was asked for; else of one of which nothing is known. */
EMU_PRIVATE const emu_sql_shape *emu_sql_run_shape(const emu_sql_run *run);
/* The key of what a document has at a path. Returns its length. */
EMU_PRIVATE size_t emu_sql_key_of(aiocosmos_json document, const char *path, unsigned char out[EMU_SQL_KEY_MAX]);
/* Only values that sort the same have this key. */
EMU_PRIVATE bool emu_sql_is_exact(aiocosmos_str key);
EMU_PRIVATE size_t emu_sql_number_key(double real, unsigned char out[EMU_SQL_KEY_MAX]);
EMU_PRIVATE size_t emu_sql_string_key(aiocosmos_str text, unsigned char out[EMU_SQL_KEY_MAX]);

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

/* How much work the run has done, in steps of some ten nanoseconds; and how much it may do until it pauses (unlimited).
 * It pauses between the combinations that JOIN makes, between groups, and between rows; a subquery is one piece,
 * and refused where it would be more than EMU_SQL_PIECE_MAX. */
EMU_PRIVATE uint64_t emu_sql_steps(const emu_sql_run *run);
EMU_PRIVATE void emu_sql_pause_after(emu_sql_run *run, uint64_t steps);
/* Nobody can wait for a run to go on: all of a document may be EMU_SQL_PIECE_MAX steps. Before it is fed. */
EMU_PRIVATE void emu_sql_in_one_piece(emu_sql_run *run);

/* Counts the documents that have to be read, where an index serves some of the shape's conjuncts: served, one for each.
 * NULL: all are. */
EMU_PRIVATE void emu_sql_count_reads(emu_sql_run *run, const bool *served);
EMU_PRIVATE uint64_t emu_sql_reads(const emu_sql_run *run);

/* Before anything is fed: no more than the first so many rows of an ORDER BY are made, which is less to hold. */
EMU_PRIVATE void emu_sql_first(emu_sql_run *run, int64_t rows);
EMU_PRIVATE bool emu_sql_has_more(const emu_sql_run *run); /* after the end: there are more than these */

/* 0: more, please; after emu_sql_finish, it is done. 1: further documents can't change the answer. EMU_SQL_PAUSED:
 * emu_sql_resume goes on, and returns what this would have; the document stays where it is meanwhile. < 0: see
 * emu_sql_run_error; the run can only be stopped. Rows of a query that neither sorts nor groups are emitted from
 * inside, the others by emu_sql_finish. */
#define EMU_SQL_PAUSED 2
EMU_PRIVATE int emu_sql_feed(emu_sql_run *run, const char *document, size_t len);
/* Of an own_filter: whether a document, given without what the service adds, meets it. 1: it is to be fed next, with
 * that behind all but its last byte. 0: it gives no rows, and is through as if it had been fed. */
EMU_PRIVATE int emu_sql_tries(emu_sql_run *run, const char *document, size_t len);
EMU_PRIVATE int emu_sql_finish(emu_sql_run *run);
EMU_PRIVATE int emu_sql_resume(emu_sql_run *run);

/* The number of the document that is fed next, by which rows that sort the same are sorted; else one more than the last
 * one's. */
EMU_PRIVATE void emu_sql_number(emu_sql_run *run, uint64_t number);
/* How many rows of ORDER BY, the first ones, decide what is given; -1: all. And whether so many are there: documents
 * that sort behind all that were fed change nothing then. */
EMU_PRIVATE int64_t emu_sql_deciding(const emu_sql_run *run);
EMU_PRIVATE bool emu_sql_has_enough(const emu_sql_run *run);

/* Inside `emit`: the number of the document that the row comes from; of a row made of several the first of them. 0: of
 * none. */
EMU_PRIVATE uint64_t emu_sql_row_document(const emu_sql_run *run);
/* Inside `emit`, of a row of ORDER BY: its values, for emu_sql_go_on; lent until the next call. len 0: they cannot be
 * said. */
EMU_PRIVATE aiocosmos_str emu_sql_row_keys(emu_sql_run *run);

EMU_PRIVATE const emu_sql_error *emu_sql_run_error(const emu_sql_run *run);
EMU_PRIVATE void emu_sql_stop(emu_sql_run *run);

/* Lowers EMU_SQL_MEMORY_MAX for one run. */
EMU_PRIVATE void emu_sql_limit_memory(emu_sql_run *run, size_t bytes);

#endif
