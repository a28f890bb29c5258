/* emulator.h: a server that speaks Cosmos DB's gateway protocol, as a library without sockets: request bytes in,
 * answer bytes out, clock and randomness injected. server.c puts sockets and TLS around it, the tests a
 * simulated network.
 *
 *     core = aiocosmos_emulator_open(&options);
 *     conn = aiocosmos_emulator_conn_open(core);              // one for each connection that a client opened
 *     aiocosmos_emulator_conn_feed(conn, bytes, len);         // whatever arrived
 *     bytes = aiocosmos_emulator_conn_output(conn, &len);  …  aiocosmos_emulator_conn_sent(conn, sent);
 *     aiocosmos_emulator_conn_close(conn);
 *     aiocosmos_emulator_close(core);
 *
 * One thread at a time; cores share nothing. */
#ifndef EMULATOR_CORE_H
#define EMULATOR_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AIOCOSMOS_EMULATOR_DEFAULT_PARTITIONS 4
#define AIOCOSMOS_EMULATOR_PARTITIONS_MAX     256
#define AIOCOSMOS_EMULATOR_DEFAULT_SHUFFLE_MAX 16
#define EMU_HEAD_MAX           (64u * 1024u)               /* bytes of a request's head */
#define EMU_BODY_MAX           (4u * 1024u * 1024u)        /* of its body: more than the 2 MB of the largest item */

typedef struct emu_core emu_core;
typedef struct emu_conn emu_conn;                          /* one client's connection */

/* Splits and merges that happen by themselves while requests come. A container stops when some thousand have made its
 * partitions' lists of ancestors too long. */
typedef struct emu_shuffle {
    uint32_t every;                    /* about so many requests to a container one of them happens (0: never) */
    uint32_t min, max;                 /* partitions that a container keeps at least and at most (1, 16) */
    uint32_t busy;                     /* up to so many requests that name a partition get 410/1007 or 1008 first (0) */
} emu_shuffle;

/* Zero is the default in every field. */
typedef struct emu_options {
    const char *endpoint;              /* what the account says its address is ("http://localhost:8081/") */
    const char *key;                   /* of the account, base64 (the public key of all emulators) */
    const char *aad_token;             /* accepted as the token of an Entra identity (none) */
    int         partitions;            /* physical partitions of a new container (AIOCOSMOS_EMULATOR_DEFAULT_PARTITIONS) */
    double      ru_per_second;         /* of a container, spread evenly over its partitions (no limit) */
    size_t      memory_max;            /* bytes; beyond them requests get 503 (no limit) */
    emu_shuffle shuffle;
    bool        merge_enabled;         /* as an account with partition merge: refuses who does not say it can follow */
    int64_t   (*now_ms)(void *user);   /* Unix time (the system's clock) */
    uint64_t  (*random)(void *user);   /* activity ids (a generator that always starts the same) */
    /* as aiocosmos_allocator (realloc, free) */
    void     *(*allocate)(void *ptr, size_t old_size, size_t new_size, void *user);
    void       *user;
    /* Sees each request when its answer is written: a line without its end, lent until it returns. */
    void      (*log)(void *user, const char *line);
    void       *log_user;
} emu_options;

/* NULL: no memory, or an option is wrong, and *error, where asked for, says which. */
emu_core *aiocosmos_emulator_open(const emu_options *options, const char **error);
void      aiocosmos_emulator_close(emu_core *core);        /* after all of its connections */

/* The address that the account document names, once it is known. Kept as a copy. False: no memory. */
bool      aiocosmos_emulator_set_endpoint(emu_core *core, const char *endpoint);

/* Adds rules that make requests fail; see fault.c for what they may say. A JSON object or an array of them, or
 * short "status=429,kind=create_item,count=3". False: why says what is wrong, and nothing was added. */
bool      aiocosmos_emulator_fault(emu_core *core, const char *rules, char *why, size_t cap);
void      aiocosmos_emulator_clear_faults(emu_core *core);

/* Splits a container's physical partition in two, or makes one of it and its right neighbour; NULL for range_id means
 * the first. False: there is none of that name, or no neighbour. */
bool      aiocosmos_emulator_split(emu_core *core, const char *database, const char *container, const char *range_id);
bool      aiocosmos_emulator_merge(emu_core *core, const char *database, const char *container, const char *range_id);

bool      aiocosmos_emulator_set_shuffle(emu_core *core, const emu_shuffle *shuffle);  /* from now on. False: min is above max */

int64_t   aiocosmos_emulator_now_ms(const emu_core *core);  /* as /_emulator/clock has set it */
uint64_t  aiocosmos_emulator_requests(const emu_core *core);  /* served so far, refused ones included */
size_t    aiocosmos_emulator_memory(const emu_core *core);  /* bytes taken from the allocator */

typedef enum emu_conn_state {
    AIOCOSMOS_EMULATOR_OPEN,
    AIOCOSMOS_EMULATOR_CLOSING,        /* to be closed when the output is sent; what arrives is ignored */
    AIOCOSMOS_EMULATOR_RESET           /* to be torn down at once; output that is left goes nowhere */
} emu_conn_state;

emu_conn *aiocosmos_emulator_conn_open(emu_core *core);    /* NULL: no memory */
void      aiocosmos_emulator_conn_close(emu_conn *conn);

/* Any cut of bytes, several requests at once. Answers are appended to the output in order. */
void           aiocosmos_emulator_conn_feed(emu_conn *conn, const char *bytes, size_t len);
emu_conn_state aiocosmos_emulator_conn_state(const emu_conn *conn);
bool           aiocosmos_emulator_conn_full(const emu_conn *conn);  /* has enough to do: read no more for now */
/* What a connection waits for from its peer. */
typedef enum emu_conn_wait { AIOCOSMOS_EMULATOR_WAITS_FOR_REQUEST, AIOCOSMOS_EMULATOR_WAITS_FOR_HEAD, AIOCOSMOS_EMULATOR_WAITS_FOR_BODY } emu_conn_wait;
emu_conn_wait  aiocosmos_emulator_conn_waits(const emu_conn *conn);

/* What can be sent now; lent until the next call with this connection. */
const char    *aiocosmos_emulator_conn_output(emu_conn *conn, size_t *len);
void           aiocosmos_emulator_conn_sent(emu_conn *conn, size_t len);

/* When an answer that is held back by a delay is due, in the core's time: aiocosmos_emulator_conn_tick then goes on. -1: nothing
 * waits. INT64_MAX: it never will be. */
int64_t        aiocosmos_emulator_conn_due_ms(const emu_conn *conn);
void           aiocosmos_emulator_conn_tick(emu_conn *conn);

#endif
