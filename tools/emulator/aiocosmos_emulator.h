/* aiocosmos_emulator.h: a server that speaks Azure Cosmos DB's gateway protocol, inside of your program: for tests that
 * need no account, port, other process or time. Link libaiocosmos-emulator.a (make install installs it), BearSSL, libm.
 *
 *     aiocosmos_emulator *emulator = aiocosmos_emulator_open(NULL, NULL);
 *     aiocosmos_options options = {0};
 *     options.endpoint = "http://localhost:8081";
 *     options.key = AIOCOSMOS_EMULATOR_KEY;
 *     options.platform = aiocosmos_emulator_platform(emulator);        // the client meets it instead of a network
 *     aiocosmos_create(&options, &client, why, sizeof why);
 *     ...                                                              // whatever your program does with a client
 *     aiocosmos_emulator_fault(emulator, "status=429,kind=create_item,count=3", why, sizeof why);
 *     ...                                                              // and with one whose service is busy
 *     aiocosmos_destroy(client);
 *     aiocosmos_emulator_close(emulator);
 *
 * One thread at a time; emulators share nothing, and keep nothing when they close. */
#ifndef AIOCOSMOS_EMULATOR_H
#define AIOCOSMOS_EMULATOR_H

#include "aiocosmos.h"

#ifdef __cplusplus
extern "C" {
#endif

/*------------------------
 * MARK: - Open and close
 *------------------------*/

typedef struct aiocosmos_emulator aiocosmos_emulator;

#define AIOCOSMOS_EMULATOR_PARTITIONS_MAX 256

enum { AIOCOSMOS_EMULATOR_DEFAULT_PARTITIONS = 4, AIOCOSMOS_EMULATOR_DEFAULT_SHUFFLE_MAX = 16 };

/* Splits and merges that happen by themselves while requests come. A container stops when some thousand have made its
 * partitions' lists of ancestors too long. */
typedef struct aiocosmos_emulator_shuffle {
    uint32_t every;                  /* about so many requests to a container one of them happens (0: never) */
    uint32_t min, max;               /* partitions that a container keeps at least and at most (1, 16) */
    uint32_t busy;                   /* up to so many requests that name a partition get 410/1007 or 1008 first (0) */
} aiocosmos_emulator_shuffle;

/* Zero is the default in every field. Texts need to live no longer than the call, but for aad_token. */
typedef struct aiocosmos_emulator_options {
    const char *endpoint;            /* what the account says its address is ("http://localhost:8081/") */
    const char *key;                 /* of the account, base64 (AIOCOSMOS_EMULATOR_KEY) */
    const char *aad_token;           /* accepted as the token of an Entra identity (none) */
    int         partitions;          /* physical ones of a new container (AIOCOSMOS_EMULATOR_DEFAULT_PARTITIONS) */
    double      ru_per_second;       /* of a container, spread evenly over its partitions; above: 429 (no limit) */
    size_t      memory_max;          /* bytes; beyond them requests get 503 (no limit) */
    aiocosmos_emulator_shuffle shuffle;
    bool        any_order;           /* ORDER BY needs no index: neither its path in the policy nor a composite one */
    bool        strict_numbers;      /* numbers of items are kept as doubles, as the service does; what is none: 400 */
    bool        merge_enabled;       /* as an account with partition merge: refuses who does not say it can follow */
    int64_t   (*now_ms)(void *user_data);    /* Unix time (the system's clock) */
    uint64_t  (*random)(void *user_data);    /* activity ids (a generator that always starts the same) */
    void     *(*allocate)(void *ptr, size_t old_size, size_t new_size, void *user_data);   /* see aiocosmos_allocator */
    void       *user_data;
    /* Sees each request when its answer is written: a line without its end, lent until it returns. */
    void      (*log)(void *user_data, const char *line);
    void       *log_user_data;
    /* Keeps what a request has changed, before it is answered, in one piece, to be brought back by
     * aiocosmos_emulator_restore. False: that was not possible; it gets 503, and so does each later write. */
    bool      (*keep)(void *user_data, const void *bytes, size_t len);
    void       *keep_user_data;
} aiocosmos_emulator_options;

/* options NULL: defaults. NULL: no memory, or an option is wrong, and *error, where asked for, says which. */
aiocosmos_emulator *aiocosmos_emulator_open(const aiocosmos_emulator_options *options, const char **error);

/* After all clients that have its platform, and all connections. */
void aiocosmos_emulator_close(aiocosmos_emulator *emulator);

/* Brings back what `keep` has been given, all of it in a row, before anything else is asked of the emulator. Returns
 * how many bytes make whole pieces: behind them is the half of one, which is to be cut off before more is kept. *error,
 * where asked for: NULL, or why no more than these could be brought back. */
size_t aiocosmos_emulator_restore(aiocosmos_emulator *emulator, const void *bytes, size_t len, const char **error);

/* Hands `keep` what brings back the same as these bytes, which restore was just given, without the changes in them that
 * later ones have undone, but for those of containers that keep all versions of their items; needs: how many bytes that
 * will be, about. False: keep was refused, or no memory, and the bytes are as good as before. */
size_t aiocosmos_emulator_needs(aiocosmos_emulator *emulator, const void *bytes, size_t len);
bool   aiocosmos_emulator_rewrite(aiocosmos_emulator *emulator, const void *bytes, size_t len,
                                  bool (*keep)(void *user_data, const void *bytes, size_t len), void *user_data);

/* The address that the account document names, once it is known. Kept as a copy. False: no memory. */
bool aiocosmos_emulator_set_endpoint(aiocosmos_emulator *emulator, const char *endpoint);

/*------------------------
 * MARK: - A network without a network
 *------------------------*/

/* For aiocosmos_options.platform: whatever plain address a client connects to, the emulator is there. NULL: no memory.
 *
 * Where a client waits (aiocosmos_step, _run and _drain), time does not pass but is skipped, on the client's clock and
 * on the emulator's: a pause of seconds before a retry takes none. A wait for ever, with nothing under way, waits for
 * aiocosmos_wake(). There are no descriptors to poll: host loops that do so call aiocosmos_step(client, 0) instead.
 * Files and name servers are not there either, nor is TLS. */
const aiocosmos_platform *aiocosmos_emulator_platform(aiocosmos_emulator *emulator);

/* Time passes: items expire, request units come back. */
void     aiocosmos_emulator_advance(aiocosmos_emulator *emulator, int64_t ms);
int64_t  aiocosmos_emulator_now_ms(const aiocosmos_emulator *emulator);      /* Unix time there */
uint64_t aiocosmos_emulator_requests(const aiocosmos_emulator *emulator);    /* served so far, refused ones included */
size_t   aiocosmos_emulator_memory(const aiocosmos_emulator *emulator);      /* bytes taken from the allocator */

/*------------------------
 * MARK: - What goes wrong
 *------------------------*/

/* Adds rules that make requests fail: a JSON object, an array of them, or short "status=429,kind=create_item,count=3".
 * The first rule that means a request and is not used up decides. False: why says what is wrong, and nothing was added.
 *
 *     verb, path, kind   which requests: of a verb; with this in their path; with this in their kind: create_item,
 *                        read_item, query_items, list_ranges, ..., batched_ and a kind for operations of a batch (all)
 *     skip, count        so many of them pass first, and so many are hit (0, all)
 *     probability, seed  each is hit only with that chance, by a generator that starts so (1)
 *     status, sub_status, retry_after_ms    what is answered instead
 *     action             reset, close, hang: no answer. html, json, big: another's. truncate, garble, chunked, trickle,
 *                        end: its own, in another form; `at` says where, or how big
 *     when               after: the request is carried out, and then its answer is lost (before)
 *     delay_ms           the answer, or what comes instead, comes so much later */
bool aiocosmos_emulator_fault(aiocosmos_emulator *emulator, const char *rules, char *why, size_t cap);
void aiocosmos_emulator_clear_faults(aiocosmos_emulator *emulator);

/* Splits a container's physical partition in two, or makes one of it and its right neighbour; NULL for range_id means
 * the first. False: there is none of that name, or no neighbour. */
bool aiocosmos_emulator_split(aiocosmos_emulator *emulator, const char *database, const char *container,
                              const char *range_id);
bool aiocosmos_emulator_merge(aiocosmos_emulator *emulator, const char *database, const char *container,
                              const char *range_id);

/* From now on. False: min is above max, or that above AIOCOSMOS_EMULATOR_PARTITIONS_MAX. */
bool aiocosmos_emulator_set_shuffle(aiocosmos_emulator *emulator, const aiocosmos_emulator_shuffle *shuffle);

/*------------------------
 * MARK: - Scripts
 *------------------------*/

/* One call of a stored procedure or of a trigger. All lent until the function returns. */
typedef struct aiocosmos_emulator_call {
    aiocosmos_str id;                /* of the script */
    aiocosmos_str input;             /* JSON: a procedure's arguments, an array; the document that a trigger is about */
    aiocosmos_str partition_key;     /* JSON, as the request has it */
} aiocosmos_emulator_call;

/* Returns an HTTP status: from 400 on it is refused, and what was answered is why. Not to call the emulator but for the
 * two functions below. */
typedef int (*aiocosmos_emulator_script)(aiocosmos_emulator_call *call, void *user_data);

/* JavaScript is stored and listed here, but not run: scripts of this id run a function in C, in all containers that
 * have one; run NULL: no more. A pre-trigger's answer takes the document's place. False: no memory. */
bool aiocosmos_emulator_register(aiocosmos_emulator *emulator, const char *id, aiocosmos_emulator_script run,
                                 void *user_data);
void aiocosmos_emulator_answer(aiocosmos_emulator_call *call, const char *json, size_t len);   /* appends */
void aiocosmos_emulator_print(aiocosmos_emulator_call *call, const char *text);                /* to the call's log */

/*------------------------
 * MARK: - Connections, for who has a network: request bytes in, answer bytes out
 *------------------------*/

typedef struct aiocosmos_emulator_conn aiocosmos_emulator_conn;

typedef enum aiocosmos_emulator_state {
    AIOCOSMOS_EMULATOR_OPEN,
    AIOCOSMOS_EMULATOR_CLOSING,      /* to be closed when the output is sent; what arrives is ignored */
    AIOCOSMOS_EMULATOR_RESET         /* to be torn down at once; output that is left goes nowhere */
} aiocosmos_emulator_state;

/* What a connection waits for from its peer. */
typedef enum aiocosmos_emulator_wait {
    AIOCOSMOS_EMULATOR_WAITS_FOR_REQUEST, AIOCOSMOS_EMULATOR_WAITS_FOR_HEAD, AIOCOSMOS_EMULATOR_WAITS_FOR_BODY,
    AIOCOSMOS_EMULATOR_WORKS         /* for nothing: an answer takes time, and each _tick is a slice of it */
} aiocosmos_emulator_wait;

/* One for each connection that a client opened. NULL: no memory. */
aiocosmos_emulator_conn *aiocosmos_emulator_conn_open(aiocosmos_emulator *emulator);
void aiocosmos_emulator_conn_close(aiocosmos_emulator_conn *conn);
/* Its peer is another machine: /_emulator/ is not for it without the key, whatever it calls itself. */
void aiocosmos_emulator_conn_remote(aiocosmos_emulator_conn *conn);

/* Whatever arrived: any cut of bytes, several requests at once. Answers are appended to the output in order. */
void aiocosmos_emulator_conn_feed(aiocosmos_emulator_conn *conn, const char *bytes, size_t len);
aiocosmos_emulator_state aiocosmos_emulator_conn_state(const aiocosmos_emulator_conn *conn);
aiocosmos_emulator_wait  aiocosmos_emulator_conn_waits(const aiocosmos_emulator_conn *conn);
bool aiocosmos_emulator_conn_full(const aiocosmos_emulator_conn *conn);    /* has enough to do: feed no more for now */

/* What can be sent now; lent until the next call with this connection. */
const char *aiocosmos_emulator_conn_output(aiocosmos_emulator_conn *conn, size_t *len);
void aiocosmos_emulator_conn_sent(aiocosmos_emulator_conn *conn, size_t len);

/* When an answer that is held back by a delay is due, in the emulator's time: _tick then goes on. -1: nothing waits.
 * INT64_MAX: it never will be. While a connection works that is at once; between its ticks others should be served. */
int64_t aiocosmos_emulator_conn_due_ms(const aiocosmos_emulator_conn *conn);
void aiocosmos_emulator_conn_tick(aiocosmos_emulator_conn *conn);

#ifdef __cplusplus
}
#endif

#endif
