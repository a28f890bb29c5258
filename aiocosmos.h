/*==============================================================================
 * aiocosmos.h 0.1.0: an asynchronous client of Azure Cosmos DB (NoSQL API) for C and C++ in one header.
 *
 * DO THIS in exactly one file of the program:
 *
 *     #define AIOCOSMOS_IMPLEMENTATION
 *     #include "aiocosmos.h"
 *
 * and link BearSSL (-lbearssl). Every other file just includes the header. Licence: MIT (end of file).
 *
 * A FIRST PROGRAM, in full; it talks to the local emulator, or to any account:
 *
 *     #define AIOCOSMOS_IMPLEMENTATION
 *     #include "aiocosmos.h"
 *     #include <stdio.h>
 *
 *     static void on_player(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
 *     {
 *         aiocosmos_str text = result->status ? result->message : result->body;
 *         (void)client; (void)user_data;
 *         printf("%d, %.2f RU: %.*s\n", result->status, result->charge_ru, (int)text.len, text.ptr);
 *     }
 *
 *     int main(void)
 *     {
 *         char why[256];
 *         aiocosmos_client *client;
 *         aiocosmos_options options = {0};
 *         options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
 *         if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
 *
 *         aiocosmos_request request = {0};
 *         request.kind = AIOCOSMOS_READ_ITEM;
 *         request.database = "game";
 *         request.container = "players";
 *         request.id = "ann";
 *         request.pk = aiocosmos_pk1(aiocosmos_s("eu"));
 *         request.done = on_player;
 *         if (aiocosmos_submit(client, &request, NULL) < 0) puts(aiocosmos_refusal(client));
 *         aiocosmos_drain(client, 10000);
 *         aiocosmos_destroy(client);
 *         return 0;
 *     }
 *
 * THE CONTRACT
 *  1. Nothing blocks and nothing runs behind your back: work happens, and callbacks run, only inside aiocosmos_step()
 *     and aiocosmos_destroy() (aiocosmos_run() and aiocosmos_drain() step for you). Never inside submit, cancel or any
 *     other call. No threads are created, no signals raised, no globals kept.
 *  2. A submit that returns 0 leads to exactly one callback; one that returns < 0 leads to none.
 *  3. Inputs are copied before submit returns. Outputs are lent until the callback returns, unless taken.
 *  4. A callback may submit, cancel, open, ask and close queries, start reads of many and bulks, read and destroy.
 *     destroy inside one marks the client: later submits return E_SHUTDOWN, the running step unwinds, completes every
 *     operation with E_SHUTDOWN, frees, and returns E_DESTROYED without touching the client again. A nested step, run
 *     or drain returns E_REENTERED. Hooks (resolve, token, pull, allocator, logger) may answer at once, and may not
 *     submit, step or destroy.
 *  5. A client belongs to one thread at a time; only aiocosmos_wake() may be called from another thread or from a
 *     signal handler. Clients share nothing, so a program scales by one client a thread.
 *
 * COMPILE-TIME MACROS, all optional, defined before the include
 *     AIOCOSMOS_STATIC      every symbol private to this file (together with AIOCOSMOS_IMPLEMENTATION)
 *     AIOCOSMOS_NO_EPOLL    use poll() where epoll is there (default: epoll on Linux)
 *     AIOCOSMOS_ASSERT(x)   checks of our own mistakes, never of what a server or caller sent (default: nothing)
 *
 * THE LAYERS of the implementation; each calls only those above it in this list. grep for the tag.
 *     >>platform   sockets, clocks, entropy, files, poller, timers: one replaceable table of functions
 *     >>memory     the host's allocator, a limit, free lists, growable buffers
 *     >>json       strict tokenizer, typed access, writer, numbers without a locale
 *     >>auth       base64, HMAC-SHA256 signatures, dates, tokens
 *     >>resolve    host names to addresses, without blocking
 *     >>tls        BearSSL as bytes in, bytes out; certificate checks
 *     >>http       HTTP/1.1 request writing and response parsing
 *     >>pool       connections of one endpoint, and the queue in front of them
 *     >>protocol   resource links, headers, partition keys and their hashes, session tokens, error texts
 *     >>account    what is known of containers, their ranges and session tokens
 *     >>operation  one request's life: attempt, outcome, retry, completion
 *     >>query      how the answers of many ranges become one: order, groups, plans, tokens
 *     >>feeds      paging, queries over many ranges, reads of many items, bulk
 *     >>client     the public functions
 *============================================================================*/
#ifndef AIOCOSMOS_H
#define AIOCOSMOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(AIOCOSMOS_STATIC) && !defined(AIOCOSMOS_IMPLEMENTATION)
#  error "AIOCOSMOS_STATIC makes every function private to one file: define AIOCOSMOS_IMPLEMENTATION there too"
#endif
#ifndef AIOCOSMOS_API
#  ifdef AIOCOSMOS_STATIC
#    if defined(__GNUC__)
#      define AIOCOSMOS_API static __attribute__((unused))
#    else
#      define AIOCOSMOS_API static
#    endif
#  else
#    define AIOCOSMOS_API extern
#  endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*------------------------------------------------------------------------------
 * MARK: - Types that everything uses
 *----------------------------------------------------------------------------*/

#define AIOCOSMOS_VERSION 0x000100u                  /* (major << 16) | (minor << 8) | patch */

typedef struct aiocosmos_client aiocosmos_client;                          /* opaque */
typedef struct aiocosmos_op { uint64_t id; } aiocosmos_op;                 /* an operation; 0: none; safe when stale */
typedef struct aiocosmos_query { uint64_t id; } aiocosmos_query;           /* names an open query; same rules */
typedef struct aiocosmos_str { const char *ptr; size_t len; } aiocosmos_str;    /* bytes, not NUL-terminated */

/* One integer says who said no. 0: fine. Above 0: the service's HTTP status (404, 409, 412, 429 and so on; 304 is an
 * answer to if_none_match). Below 0: this library refused or gave up, one of these. */
typedef enum aiocosmos_error {
    AIOCOSMOS_OK = 0,
    AIOCOSMOS_E_ARGUMENT = -1,    /* the caller's input cannot be sent; aiocosmos_refusal() says what and where */
    AIOCOSMOS_E_NOMEM = -2,       /* the allocator, or memory_max, refused */
    AIOCOSMOS_E_FULL = -3,        /* pending_max operations, or 7/8 of memory_max, are held: step, then submit again */
    AIOCOSMOS_E_CANCELLED = -4,
    AIOCOSMOS_E_SHUTDOWN = -5,    /* the client is being destroyed */
    AIOCOSMOS_E_TIMEOUT = -6,     /* the operation's own deadline */
    AIOCOSMOS_E_DNS = -7,         /* the host name has no address, or no name server answered */
    AIOCOSMOS_E_CONNECT = -8,     /* no connection, or it broke before an answer */
    AIOCOSMOS_E_TLS = -9,         /* handshake or certificate refused; the message says which rule */
    AIOCOSMOS_E_PROTOCOL = -10,   /* the answer is not HTTP, or contradicts itself */
    AIOCOSMOS_E_TOO_LARGE = -11,  /* the answer is over response_bytes_max or a header limit */
    AIOCOSMOS_E_REENTERED = -12,  /* step, run or drain inside a callback */
    AIOCOSMOS_E_DESTROYED = -13,  /* a callback destroyed the client: it is gone */
    AIOCOSMOS_E_AUTH = -14        /* the host's token callback gave no token */
} aiocosmos_error;

/* All-bits-one in a uint32_t option means "none" where none makes sense; 0 always means the default. */
#define AIOCOSMOS_OFF UINT32_MAX

/* The fixed, public key of the local emulators. */
#define AIOCOSMOS_EMULATOR_KEY \
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="
#define AIOCOSMOS_EMULATOR_CONNECTION \
    "AccountEndpoint=http://localhost:8081/;AccountKey=" AIOCOSMOS_EMULATOR_KEY ";"

/* Of the compiled half: create() refuses a header of another version. */
AIOCOSMOS_API uint32_t aiocosmos_version(void);
/* A short name for a status, such as "Not Found" or "timed out". Static string, never NULL. */
AIOCOSMOS_API const char *aiocosmos_status_text(int status);

/*------------------------------------------------------------------------------
 * MARK: - Hooks: allocator, logger, tokens, names, platform
 *----------------------------------------------------------------------------*/

/* One function, so that it cannot be half overridden. new_size 0 frees and the answer is ignored. old_size is exact.
 * Alignment as malloc's. NULL for growth is survivable: the operation concerned fails with E_NOMEM, the client lives
 * on. Called on the client's thread only. fn NULL: realloc and free. */
typedef struct aiocosmos_allocator {
    void *(*fn)(void *ptr, size_t old_size, size_t new_size, void *user_data);
    void *user_data;
} aiocosmos_allocator;

/* level: 1 error, 2 warning, 3 information, 4 trace. op_id: the operation concerned, or 0. The message is
 * NUL-terminated and lent until fn returns. Keys, tokens and bodies are never logged. */
typedef struct aiocosmos_logger {
    void (*fn)(int level, const char *message, uint64_t op_id, void *user_data);
    void *user_data;
    int level_max;                   /* messages above it are not made (default 2) */
} aiocosmos_logger;

/* Asks the host for a token that covers resource_link (such as "dbs/game/colls/players"; "" for the account itself).
 * Answer at once or later with aiocosmos_set_token(). Operations that need it wait, each within its own deadline. */
typedef void (*aiocosmos_token_fn)(aiocosmos_client *client, const char *resource_link, void *user_data);

/* An IPv4 or IPv6 address and a port, both as numbers in host order where they are numbers. */
typedef struct aiocosmos_address {
    uint8_t  ip[16];                 /* network order; IPv4 uses the first four bytes */
    uint32_t scope;                  /* IPv6 zone, 0 if none */
    uint16_t port;
    uint8_t  family;                 /* 4 or 6 */
} aiocosmos_address;

/* Asks the host to resolve a name. Answer, at once or later, with aiocosmos_resolved(client, question, ...). */
typedef void (*aiocosmos_resolve_fn)(aiocosmos_client *client, const char *host, uint64_t question, void *user_data);

/* Everything that the library wants of the system. A host ports the library, or a test simulates a network and a clock,
 * by giving its own table. Every function is called on the client's thread, except wake. No function may block, except
 * poller_wait up to its timeout. Negative answers are aiocosmos_io values. */
typedef enum aiocosmos_io {
    AIOCOSMOS_IO_AGAIN = -1,         /* not now: wait until the poller says so */
    AIOCOSMOS_IO_CLOSED = -2,        /* reset, aborted, broken pipe */
    AIOCOSMOS_IO_REFUSED = -3,       /* nobody listens there */
    AIOCOSMOS_IO_UNREACHABLE = -4,   /* no route, network down, or timed out */
    AIOCOSMOS_IO_LIMIT = -5,         /* out of descriptors, ports or memory */
    AIOCOSMOS_IO_UNSUPPORTED = -6,   /* no such address family here */
    AIOCOSMOS_IO_FAILED = -7         /* anything else */
} aiocosmos_io;

typedef struct aiocosmos_slice { const void *ptr; size_t len; } aiocosmos_slice;

enum { AIOCOSMOS_READABLE = 1, AIOCOSMOS_WRITABLE = 2 };  /* error and hang-up count as both */

typedef struct aiocosmos_event {
    void *source;                    /* as given to poller_set */
    unsigned ready;                  /* AIOCOSMOS_READABLE, AIOCOSMOS_WRITABLE or both */
} aiocosmos_event;

typedef struct aiocosmos_platform {
    void *user_data;                 /* first argument of every function */
    uint64_t  (*monotonic_us)(void *user_data);
    int64_t   (*wall_ms)(void *user_data);                                 /* since 1970, UTC */
    int       (*entropy)(void *user_data, void *out, size_t len);          /* 0, or < 0: none to be had */
    /* Opens a non-blocking socket and starts connecting it. 0: connected. AGAIN: writable when decided, then ask
     * socket_error. Other: failed, no socket. A datagram socket is connected too: it hears its peer only. */
    int       (*socket_open)(void *user_data, intptr_t *out, bool datagram, const aiocosmos_address *peer);
    int       (*socket_error)(void *user_data, intptr_t socket);           /* 0: connected */
    ptrdiff_t (*socket_send)(void *user_data, intptr_t socket, const aiocosmos_slice *slices, size_t count);
    ptrdiff_t (*socket_receive)(void *user_data, intptr_t socket, void *out, size_t cap);   /* 0: closed by the peer */
    void      (*socket_close)(void *user_data, intptr_t socket);
    /* The poller is level-triggered. It allocates through the allocator given, which it must not keep past destroy. */
    int       (*poller_create)(void *user_data, const aiocosmos_allocator *allocator, void **out);
    void      (*poller_destroy)(void *user_data, void *poller);
    /* want: READABLE | WRITABLE. had: what was last set, 0 if new. want 0 removes. 0, or < 0. */
    int       (*poller_set)(void *user_data, void *poller, intptr_t socket, unsigned had, unsigned want, void *source);
    /* Waits up to timeout_ms (-1: for ever) and returns how many events, 0 on timeout or wake. */
    int       (*poller_wait)(void *user_data, void *poller, aiocosmos_event *events, int cap, int timeout_ms);
    void      (*poller_wake)(void *user_data, void *poller);               /* any thread, any signal handler */
    intptr_t  (*poller_fd)(void *user_data, void *poller);                 /* readable when an event waits; -1: none */
    intptr_t  (*poller_wake_fd)(void *user_data, void *poller);            /* for hosts that poll by themselves */
    /* Copies at most cap bytes of a file; returns its whole size, or < 0. */
    ptrdiff_t (*file_read)(void *user_data, const char *path, void *out, size_t cap);
} aiocosmos_platform;

/* The operating system's table, for hosts that replace a few functions only. Static, read-only. */
AIOCOSMOS_API const aiocosmos_platform *aiocosmos_system_platform(void);

/*------------------------------------------------------------------------------
 * MARK: - Client
 *----------------------------------------------------------------------------*/

typedef struct aiocosmos_result aiocosmos_result;
typedef void (*aiocosmos_done_fn)(aiocosmos_client *client, const aiocosmos_result *result, void *user_data);

/* Defaults of the options below. */
#define AIOCOSMOS_DEFAULT_CONNECTIONS          100u
#define AIOCOSMOS_DEFAULT_HANDSHAKES           1u
#define AIOCOSMOS_DEFAULT_IDLE_TIMEOUT_MS      60000u
#define AIOCOSMOS_DEFAULT_PENDING              1024u
#define AIOCOSMOS_DEFAULT_MEMORY               ((size_t)256 << 20)
#define AIOCOSMOS_DEFAULT_CONNECT_TIMEOUT_MS   5000u
#define AIOCOSMOS_DEFAULT_REQUEST_TIMEOUT_MS   30000u
#define AIOCOSMOS_DEFAULT_RETRIES              9u
#define AIOCOSMOS_DEFAULT_THROTTLE_WAIT_MS     20000u
#define AIOCOSMOS_DEFAULT_RESPONSE_BYTES       (8u << 20)
#define AIOCOSMOS_DEFAULT_CONTAINERS           256u

/* Zero means the default in every field. */
typedef struct aiocosmos_options {
    /* Where to, and as whom: a connection string, or an endpoint and one of key, token, token_fn. */
    const char *connection_string;     /* "AccountEndpoint=https://...;AccountKey=...;" */
    const char *endpoint;              /* "https://NAME.documents.azure.com[:443]/"; http:// on loopback only */
    const char *key;                   /* base64 account key; decoded at create, wiped at destroy */
    const char *token;                 /* a resource token ("type=resource&...") or an Entra access token (a JWT) */
    aiocosmos_token_fn token_fn; void *token_user_data;       /* asked for tokens when they are needed */
    const char *default_database;      /* used where a request leaves .database NULL */

    /* Trust. */
    const char *trust_pem; size_t trust_pem_len;   /* PEM certificates (default: the system's, read once, at create) */
    bool     insecure;                 /* do not check certificates: emulators only; logged once at level 1 */
    bool     allow_http;               /* plain http to hosts that are not loopback */

    /* Behaviour. */
    bool     retry_writes;             /* send a maybe-applied write again (default: only with an ETag in if_match) */
    bool     no_session;               /* keep and send no session tokens: for accounts without Session consistency */
    uint32_t retries_max;              /* attempts after the first (AIOCOSMOS_DEFAULT_RETRIES; OFF: none) */
    uint32_t throttle_wait_ms;         /* total wait on 429 per operation, then its status is 429
                                        * (AIOCOSMOS_DEFAULT_THROTTLE_WAIT_MS; OFF: up to the operation's deadline) */
    uint32_t request_timeout_ms;       /* one operation, queue and retries included; one item of a bulk; one page of a
                                        * query (AIOCOSMOS_DEFAULT_REQUEST_TIMEOUT_MS; OFF: none) */
    uint32_t connect_timeout_ms;       /* name, TCP and TLS together (AIOCOSMOS_DEFAULT_CONNECT_TIMEOUT_MS) */
    uint32_t idle_timeout_ms;          /* an idle connection is closed after it (AIOCOSMOS_DEFAULT_IDLE_TIMEOUT_MS) */

    /* Limits. */
    uint32_t connections_max;          /* opened on demand (AIOCOSMOS_DEFAULT_CONNECTIONS) */
    uint32_t handshakes_max;           /* TLS handshake records worked on in one step (AIOCOSMOS_DEFAULT_HANDSHAKES) */
    uint32_t pending_max;              /* operations that owe a callback, then E_FULL (AIOCOSMOS_DEFAULT_PENDING) */
    size_t   memory_max;               /* all that the client holds; at it reads pause and submit says E_FULL
                                        * (AIOCOSMOS_DEFAULT_MEMORY) */
    uint32_t response_bytes_max;       /* a larger body is E_TOO_LARGE (AIOCOSMOS_DEFAULT_RESPONSE_BYTES) */
    uint32_t containers_max;           /* containers whose definition, ranges and session tokens are kept
                                        * (AIOCOSMOS_DEFAULT_CONTAINERS); the least recently used is forgotten */
    uint32_t step_budget_us;           /* a step takes no new work after this long (default: no budget) */

    /* Hooks. */
    aiocosmos_resolve_fn resolve_fn; void *resolve_user_data; /* default: our own resolver */
    aiocosmos_done_fn on_failure; void *on_failure_user_data; /* sees each failed result, before its own callback */
    const aiocosmos_platform *platform;                       /* default: the system's; must outlive the client */
    const char *user_agent;                                   /* put before ours; ASCII, at most 200 bytes */
    aiocosmos_allocator allocator;
    aiocosmos_logger logger;
} aiocosmos_options;

/* Copies the options and reads the trust store; no network yet. 0 and *out set; or < 0, *out NULL and the reason in
 * err, NUL-terminated, cut to err_cap (may be NULL and 0). */
AIOCOSMOS_API int  aiocosmos_create(const aiocosmos_options *options, aiocosmos_client **out, char *err,
                                    size_t err_cap);
/* Completes every pending operation with E_SHUTDOWN (callbacks run here; submits made there are refused), then frees.
 * In a callback: see the contract, 4. NULL: does nothing. */
AIOCOSMOS_API void aiocosmos_destroy(aiocosmos_client *client);
/* In a forked child, and not in a callback: frees and closes, calls nobody back and sends nothing, so that the parent's
 * connections live on. */
AIOCOSMOS_API void aiocosmos_abandon(aiocosmos_client *client);
/* Why the last call on this client that was refused was refused, such as "id: '/' at byte 7". Lent until the next
 * call. */
AIOCOSMOS_API const char *aiocosmos_refusal(const aiocosmos_client *client);

/* Does what is due, waiting up to timeout_ms for it (0: never; -1: until something happens; returns at once when
 * nothing is pending). Returns how many callbacks ran, or E_REENTERED or E_DESTROYED. */
AIOCOSMOS_API int  aiocosmos_step(aiocosmos_client *client, int timeout_ms);
/* For a host with its own loop: it waits until the descriptor, which stays the same, is readable, or the timeout is
 * over, and then calls aiocosmos_step(client, 0). The descriptor speaks for sockets and wake (-1 in builds without
 * epoll: then aiocosmos_poll_fds() is needed); the timeout for all the rest, such as timers, new submits and a spent
 * budget: 0: step now; -1: no need. A host needs both, the timeout asked again after every step and submit. */
AIOCOSMOS_API intptr_t aiocosmos_fd(const aiocosmos_client *client);
AIOCOSMOS_API int  aiocosmos_next_timeout_ms(const aiocosmos_client *client);
/* For hosts that poll by themselves: fills at most cap entries, returns how many there are. */
typedef struct aiocosmos_pollfd { intptr_t fd; bool read, write; } aiocosmos_pollfd;
AIOCOSMOS_API size_t aiocosmos_poll_fds(const aiocosmos_client *client, aiocosmos_pollfd *out, size_t cap);
/* Ends a wait in step, from any thread or signal handler. */
AIOCOSMOS_API void aiocosmos_wake(aiocosmos_client *client);
/* Operations that still owe a callback; open queries without an owed page do not count. */
AIOCOSMOS_API uint32_t aiocosmos_pending(const aiocosmos_client *client);
/* Steps until nothing is pending. 0; E_TIMEOUT: something still is; E_REENTERED; E_DESTROYED. */
AIOCOSMOS_API int  aiocosmos_drain(aiocosmos_client *client, int timeout_ms);
AIOCOSMOS_API void aiocosmos_set_step_budget_us(aiocosmos_client *client, uint32_t budget_us);   /* 0: no budget */
/* Another account key (base64), used from the next attempt on. 0, or E_ARGUMENT and the old key stays. */
AIOCOSMOS_API int  aiocosmos_set_key(aiocosmos_client *client, const char *key);
/* A token that covers resource_link and all below it ("" for everything), for lifetime_s seconds (0: until replaced).
 * token NULL: there is none; operations that wait for it fail with E_AUTH. 0, E_ARGUMENT, E_NOMEM. */
AIOCOSMOS_API int  aiocosmos_set_token(aiocosmos_client *client, const char *resource_link, const char *token,
                                       uint32_t lifetime_s);
/* The answer to resolve_fn. count 0: the name has no address. ttl_s is held to 1 to 300. Ports are ignored.
 * 0, or E_ARGUMENT: no such question is open (already answered, timed out). */
AIOCOSMOS_API int  aiocosmos_resolved(aiocosmos_client *client, uint64_t question, const aiocosmos_address *addresses,
                                      size_t count, uint32_t ttl_s);
/* Opens up to this many connections ahead of need, a few at a time. They close again when idle. 0, or E_SHUTDOWN. */
AIOCOSMOS_API int  aiocosmos_warm(aiocosmos_client *client, uint32_t connections);

/* What the client has done so far. */
typedef struct aiocosmos_stats {
    uint64_t ops_submitted, ops_completed, attempts, retries, throttled;
    uint64_t connections_opened, tls_handshakes, tls_resumptions, signatures_computed, allocations;
    uint64_t bytes_sent, bytes_received;
    double   charge_ru;
    size_t   memory_used, memory_peak;          /* bytes, all that the client holds */
    uint32_t connections_open, connections_idle, ops_queued;
} aiocosmos_stats;
AIOCOSMOS_API void aiocosmos_get_stats(const aiocosmos_client *client, aiocosmos_stats *out);

/*------------------------------------------------------------------------------
 * MARK: - Values and partition keys
 *----------------------------------------------------------------------------*/

/* One typed value for partition keys and query parameters, so that nobody pastes strings into JSON. */
typedef enum aiocosmos_type {
    AIOCOSMOS_UNSET,                   /* nothing given */
    AIOCOSMOS_STR, AIOCOSMOS_F64, AIOCOSMOS_I64, AIOCOSMOS_BOOL, AIOCOSMOS_NULL,
    AIOCOSMOS_NONE,                    /* keys only: the item has no such property, which is not the same as null */
    AIOCOSMOS_JSON                     /* str, len: JSON text, checked when submitted */
} aiocosmos_type;
typedef struct aiocosmos_value {       /* made by the functions below; str is lent to the call that gets it */
    const char *str;
    size_t      len;
    double      f64;
    int64_t     i64;
    uint8_t     type;                  /* aiocosmos_type */
} aiocosmos_value;
AIOCOSMOS_API aiocosmos_value aiocosmos_s(const char *text);               /* NUL-terminated UTF-8; NULL: unset */
AIOCOSMOS_API aiocosmos_value aiocosmos_sn(const char *text, size_t len);  /* UTF-8 with its length */
AIOCOSMOS_API aiocosmos_value aiocosmos_i(int64_t number);                 /* as a key beyond +-2^53: refused */
AIOCOSMOS_API aiocosmos_value aiocosmos_f(double number);                  /* NaN, infinities: refused at submit */
AIOCOSMOS_API aiocosmos_value aiocosmos_b(bool truth);
AIOCOSMOS_API aiocosmos_value aiocosmos_null(void);
AIOCOSMOS_API aiocosmos_value aiocosmos_none(void);
AIOCOSMOS_API aiocosmos_value aiocosmos_json_text(const char *text, size_t len);

/* A partition key of one to three levels, unset levels at the end. All unset: no key. */
typedef struct aiocosmos_pk { aiocosmos_value level[3]; } aiocosmos_pk;
AIOCOSMOS_API aiocosmos_pk aiocosmos_pk1(aiocosmos_value a);
AIOCOSMOS_API aiocosmos_pk aiocosmos_pk2(aiocosmos_value a, aiocosmos_value b);
AIOCOSMOS_API aiocosmos_pk aiocosmos_pk3(aiocosmos_value a, aiocosmos_value b, aiocosmos_value c);

/*------------------------------------------------------------------------------
 * MARK: - JSON
 *----------------------------------------------------------------------------*/

/* Reading. The text is checked against RFC 8259 once, to depth 128, so walking cannot fail, only miss. A getter is
 * false unless the value is exactly that: no silent rounding. Everything borrows from the parsed document. */
typedef enum aiocosmos_json_type {
    AIOCOSMOS_JSON_NONE,               /* no such value */
    AIOCOSMOS_JSON_NULL, AIOCOSMOS_JSON_BOOL, AIOCOSMOS_JSON_NUM, AIOCOSMOS_JSON_STR, AIOCOSMOS_JSON_ARR,
    AIOCOSMOS_JSON_OBJ
} aiocosmos_json_type;
typedef struct aiocosmos_json {
    const void *node;
    const char *ptr; size_t len;       /* the value's own text, the quotes of a string included */
    uint8_t type;                      /* aiocosmos_json_type */
} aiocosmos_json;

/* By JSON pointer (RFC 6901), "/stats/0/hp"; "" is the value itself. Of properties named twice, the last. */
AIOCOSMOS_API aiocosmos_json aiocosmos_json_at(aiocosmos_json value, const char *pointer);
/* Several properties of one object in one pass: out[i] for names[i]. Returns how many were found. */
AIOCOSMOS_API size_t aiocosmos_json_fields(aiocosmos_json object, const char *const *names, size_t n,
                                           aiocosmos_json *out);
/* Walks an array (key NULL or ignored) or an object: start with *value zeroed; false after the last. */
AIOCOSMOS_API bool aiocosmos_json_next(aiocosmos_json container, aiocosmos_json *key, aiocosmos_json *value);
AIOCOSMOS_API size_t aiocosmos_json_count(aiocosmos_json container);       /* elements or properties; else 0 */
AIOCOSMOS_API bool aiocosmos_json_get_i64(aiocosmos_json value, int64_t *out);    /* if exact: 1, 1.0, 1e3; not 1.5 */
AIOCOSMOS_API bool aiocosmos_json_get_f64(aiocosmos_json value, double *out);     /* nearest; false beyond its range */
AIOCOSMOS_API bool aiocosmos_json_get_bool(aiocosmos_json value, bool *out);
/* Unescaped UTF-8, NUL-terminated, cut to cap but never inside a character; half a surrogate pair becomes U+FFFD.
 * Returns the whole length without the NUL, as snprintf does; SIZE_MAX if it is no string. */
AIOCOSMOS_API size_t aiocosmos_json_get_str(aiocosmos_json value, char *buf, size_t cap);
AIOCOSMOS_API bool aiocosmos_json_is_str(aiocosmos_json value, const char *text); /* equal to it, escapes undone */

/* Text that is not a result's; it must outlive the document. 0; E_ARGUMENT and the byte in *error_at; E_NOMEM. */
typedef struct aiocosmos_json_doc aiocosmos_json_doc;                      /* opaque */
AIOCOSMOS_API int  aiocosmos_json_parse(aiocosmos_client *client, const char *text, size_t len,
                                        aiocosmos_json_doc **out,
                                        size_t *error_at);
AIOCOSMOS_API aiocosmos_json aiocosmos_json_root(const aiocosmos_json_doc *doc);
AIOCOSMOS_API void aiocosmos_json_free(aiocosmos_json_doc *doc);           /* before destroy */

/* Building, into the caller's buffer of cap bytes, the NUL included. Errors stick, so check once, at finish; NONE and
 * UNSET are such. key is NULL inside arrays and at the top. */
typedef struct aiocosmos_jw {
    char *buf; size_t cap, len;
    uint64_t stack[2];                 /* one bit a level: object or array */
    uint32_t depth;
    bool failed, some;                 /* some: the innermost container has a member */
} aiocosmos_jw;
AIOCOSMOS_API void aiocosmos_jw_init(aiocosmos_jw *w, char *buf, size_t cap);
AIOCOSMOS_API void aiocosmos_jw_object(aiocosmos_jw *w, const char *key);
AIOCOSMOS_API void aiocosmos_jw_array(aiocosmos_jw *w, const char *key);
AIOCOSMOS_API void aiocosmos_jw_value(aiocosmos_jw *w, const char *key, aiocosmos_value value);
AIOCOSMOS_API void aiocosmos_jw_str(aiocosmos_jw *w, const char *key, const char *text);
AIOCOSMOS_API void aiocosmos_jw_i64(aiocosmos_jw *w, const char *key, int64_t number);
AIOCOSMOS_API void aiocosmos_jw_f64(aiocosmos_jw *w, const char *key, double number);
AIOCOSMOS_API void aiocosmos_jw_bool(aiocosmos_jw *w, const char *key, bool truth);
AIOCOSMOS_API void aiocosmos_jw_end(aiocosmos_jw *w);                      /* closes the innermost */
/* The text, NUL-terminated at buf[len]. len 0: it did not fit, is not balanced, or held a value that is not JSON. */
AIOCOSMOS_API aiocosmos_str aiocosmos_jw_finish(aiocosmos_jw *w);

/*------------------------------------------------------------------------------
 * MARK: - Operations
 *----------------------------------------------------------------------------*/

typedef enum aiocosmos_kind {          /* 0 is no kind, so that a forgotten kind is caught */
    AIOCOSMOS_READ_ITEM = 1, AIOCOSMOS_CREATE_ITEM, AIOCOSMOS_UPSERT_ITEM, AIOCOSMOS_REPLACE_ITEM, AIOCOSMOS_PATCH_ITEM,
    AIOCOSMOS_DELETE_ITEM,
    AIOCOSMOS_READ_CONTAINER, AIOCOSMOS_CREATE_CONTAINER, AIOCOSMOS_REPLACE_CONTAINER, AIOCOSMOS_DELETE_CONTAINER,
    AIOCOSMOS_READ_DATABASE, AIOCOSMOS_CREATE_DATABASE, AIOCOSMOS_DELETE_DATABASE,
    AIOCOSMOS_READ_ACCOUNT
} aiocosmos_kind;

/* One struct for every operation with one answer. Fields that do not belong to the kind are refused. Strings are
 * NUL-terminated UTF-8 and copied. */
typedef struct aiocosmos_request {
    const char *database;              /* (default: the client's default_database) */
    const char *container;
    const char *id;                    /* of the item; create and upsert take it from the body */
    aiocosmos_kind kind;               /* required */
    aiocosmos_pk pk;                   /* items: required, as the body has it; it is not taken from there */
    aiocosmos_str body;                /* JSON: the item; the patch, [{"op":"set","path":"/a","value":1},...], up to ten
                                        * of add, set, replace, remove, incr, move, or
                                        * {"condition":...,"operations":[...]}; or a container's further properties */
    const char *if_match;              /* an ETag with its quotes, or "*": write only if the item still is that one */
    const char *if_none_match;         /* read: 304 if the item still is that version */
    const char *session_token;         /* merged with the one that the client holds */
    const char *const *headers;        /* extra "name: value" lines, NULL-terminated; those that we set are refused */
    uint64_t order_key;                /* not 0: operations of one key run one at a time, in submit order. One that
                                        * ended MAYBE_APPLIED may still be under way when the next is sent */
    bool     want_body;                /* item writes answer without the document unless set, which is cheaper */
    bool     if_not_exists;            /* create database or container: 409 becomes 0, without a body */
    const char *partition_key_paths[3];         /* create container: "/tenant", "/user", ... */
    aiocosmos_str indexing_policy;     /* create or replace container: a JSON object */
    int32_t  default_ttl_s;            /* container: 0 off; -1 on, items carry their own; > 0 seconds */
    uint32_t throughput_ru;            /* create database or container: manual RU/s */
    uint32_t autoscale_max_ru;         /* or the autoscale maximum */
    uint32_t timeout_ms;               /* (default: the client's request_timeout_ms; OFF: none) */
    aiocosmos_done_fn done; void *user_data;    /* done NULL: fire and forget */
} aiocosmos_request;

/* 0: accepted, *op set if op is not NULL, exactly one callback will come. E_FULL: step and try again. E_ARGUMENT,
 * E_NOMEM, E_SHUTDOWN: aiocosmos_refusal() says why. Never calls back and does no I/O. */
AIOCOSMOS_API int  aiocosmos_submit(aiocosmos_client *client, const aiocosmos_request *request, aiocosmos_op *op);
/* True: its callback will say E_CANCELLED, from a later step, wherever it was. A cancelled write may still have been
 * applied: see the result's fate. False: unknown or already called back; harmless. Queries: close them. */
AIOCOSMOS_API bool aiocosmos_cancel(aiocosmos_client *client, aiocosmos_op op);

/* What became of a write that failed. */
typedef enum aiocosmos_fate {
    AIOCOSMOS_ANSWERED,                /* the service answered: status says what it did */
    AIOCOSMOS_NOT_SENT,                /* its last byte never reached send(): not applied */
    AIOCOSMOS_MAYBE_APPLIED            /* an answer was lost; once that happened, a later 404, 409 or 412 may be the
                                        * echo of our own first try, and is MAYBE_APPLIED too */
} aiocosmos_fate;

struct aiocosmos_result {              /* everything here is lent until the callback returns */
    aiocosmos_op op;
    int      status;                   /* 0, HTTP status, or < 0: see aiocosmos_error */
    int      http_status, sub_status;  /* of the last answer seen (201 for a create), 0 if none: kept even when status
                                        * is E_TIMEOUT */
    uint8_t  fate;                     /* aiocosmos_fate */
    uint32_t attempts;                 /* how often it was sent, or tried to be: see aiocosmos_result_attempt() */
    uint64_t latency_us;               /* from submit to this callback */
    uint64_t throttled_us;             /* of which waiting because of 429 */
    double   charge_ru;                /* request units of all attempts together */
    aiocosmos_str body;                /* the answer's body: the item, or the service's error */
    aiocosmos_str etag;                /* with its quotes */
    aiocosmos_str session_token;       /* of the partition key range that answered, "0:-1#42" */
    aiocosmos_str activity_id;         /* what the service's support asks for */
    aiocosmos_str message;             /* for people: which step failed and why, what to do; empty when status is 0 */
    const void *internal;
};

/* The body of a result, parsed when first asked for. type NONE: empty, not JSON, or no memory. Lent as the result
 * is. */
AIOCOSMOS_API aiocosmos_json aiocosmos_result_json(const aiocosmos_result *result);
/* Any header of the last answer, by name in any case; len 0 when absent. Lent as the result is. */
AIOCOSMOS_API aiocosmos_str aiocosmos_result_header(const aiocosmos_result *result, const char *name);
/* The i-th attempt kept: the first three and the last three. False: there is none. */
typedef struct aiocosmos_attempt {
    uint32_t number;                   /* from 1 */
    int      status, http_status, sub_status;
    bool     reused;                   /* sent on a connection that had served before */
    uint32_t queue_us, dns_us, tcp_us, tls_us, first_byte_us, body_us;     /* time of each part, 0 if not reached */
    double   charge_ru;
    aiocosmos_str host;                /* of the endpoint */
} aiocosmos_attempt;
AIOCOSMOS_API bool aiocosmos_result_attempt(const aiocosmos_result *result, uint32_t i, aiocosmos_attempt *out);
/* One line for logs: status, sub-status, RU, activity id, every kept attempt with its times. Returns as snprintf
 * does. */
AIOCOSMOS_API size_t aiocosmos_result_describe(const aiocosmos_result *result, char *out, size_t cap);

/* Takes the body out of the result, without a copy where it stands alone in memory: it outlives the callback. text.ptr
 * NULL: no memory. Free it before destroy, and not before the result has been read: that looks at the same bytes. */
typedef struct aiocosmos_body { aiocosmos_str text; void *owner; size_t owner_size; } aiocosmos_body;
AIOCOSMOS_API aiocosmos_body aiocosmos_result_take_body(const aiocosmos_result *result);
AIOCOSMOS_API void aiocosmos_body_free(aiocosmos_client *client, aiocosmos_body body);

/* For programs without a loop: submits, steps until it is done (other callbacks run meanwhile), hands over the body if
 * out is not NULL. Returns the operation's status, or why it was refused; request->done is called too. */
AIOCOSMOS_API int  aiocosmos_run(aiocosmos_client *client, const aiocosmos_request *request, aiocosmos_body *out);

/* The session token of a container as a composite, "0:-1#42,1:-1#7", to carry in a cookie; lent until the next call;
 * len 0 when there is none. merge takes it back: 0, or E_ARGUMENT (form, length) or E_NOMEM. */
AIOCOSMOS_API aiocosmos_str aiocosmos_session_get(aiocosmos_client *client, const char *database,
                                                  const char *container);
AIOCOSMOS_API int  aiocosmos_session_merge(aiocosmos_client *client, const char *database, const char *container,
                                           aiocosmos_str token);

/*------------------------------------------------------------------------------
 * MARK: - Queries and lists
 *----------------------------------------------------------------------------*/

typedef struct aiocosmos_param { const char *name; aiocosmos_value value; } aiocosmos_param;    /* "@n", any value */

typedef enum aiocosmos_feed {
    AIOCOSMOS_ITEMS,                   /* of a container */
    AIOCOSMOS_CONTAINERS, AIOCOSMOS_DATABASES,
    AIOCOSMOS_RANGES                   /* partition key ranges of a container, the ones that were split among them: each
                                        * has minInclusive and maxExclusive, which epk_min and epk_max take */
} aiocosmos_feed;

/* Defaults of the fields below. */
#define AIOCOSMOS_DEFAULT_PARALLEL             16u
#define AIOCOSMOS_DEFAULT_QUERY_MEMORY         ((size_t)64 << 20)
#define AIOCOSMOS_DEFAULT_CONTINUATION_BYTES   (16u << 10)

/* Pages are pulled: one accepted next() leads to one callback, so the host sets the pace.
 *
 * Without a key the query is planned by the service, sent to the partition key ranges that its WHERE leaves, several at
 * a time, and merged here: ORDER BY, TOP, OFFSET LIMIT, DISTINCT, aggregates, GROUP BY, vector and hybrid search. What
 * streams is handed over page by page as soon as it is final; ties of ORDER BY go to the range with the smaller hash.
 * Splits and merges of ranges are followed meanwhile. Where the server makes no plans, its gateway serves the query as
 * far as it can. */
typedef struct aiocosmos_query_request {
    const char *database, *container;
    const char *sql;                   /* NULL: everything, in the service's order */
    const aiocosmos_param *params; size_t param_count;
    aiocosmos_feed feed;               /* of what (default: the items of a container) */
    aiocosmos_pk pk;                   /* the items of this partition key only; unset: of all */
    const char *epk_min, *epk_max;     /* instead of pk: a part of the key space, [epk_min, epk_max), in hex as a list
                                        * of AIOCOSMOS_RANGES has it, for one of several that share the work */
    uint32_t page_items_max;           /* (default: as the service or, of merged rows, 2000); a page may hold fewer, or
                                        * none */
    uint32_t parallel_max;             /* ranges that are asked at a time (AIOCOSMOS_DEFAULT_PARALLEL) */
    uint32_t timeout_ms;               /* per page (default: the client's request_timeout_ms; OFF: none) */
    size_t   memory_max;               /* bytes of answers read ahead; and of groups and of hashes of distinct rows,
                                        * which end the query with E_TOO_LARGE (AIOCOSMOS_DEFAULT_QUERY_MEMORY). Of
                                        * each range that is merged, one answer is held whatever this says */
    const char *continuation;          /* go on where the page with this token ended */
    uint32_t continuation_bytes_max;   /* a longer token is not made (AIOCOSMOS_DEFAULT_CONTINUATION_BYTES) */
    const char *session_token;
    const char *const *headers;        /* as in aiocosmos_request */
    bool skip_empty;                   /* call back only with a page that has items, is the last, or is out of time */
    bool want_metrics;                 /* the service measures: see aiocosmos_query_get_stats() */
    bool want_index_metrics;           /* the service says which indexes were used, and which would have helped */
} aiocosmos_query_request;

typedef struct aiocosmos_page {        /* lent until the callback returns */
    const aiocosmos_result *result;    /* its body is the whole answer, {"Documents":[...],"_count":n} */
    aiocosmos_json items;              /* the array of items; its text as the service sent it: items.ptr, items.len */
    size_t item_count;
    bool more;                         /* false on the last page and on failure */
    aiocosmos_str continuation;        /* to resume behind this page in another process; len 0 on the last */
} aiocosmos_page;
typedef void (*aiocosmos_page_fn)(aiocosmos_client *client, const aiocosmos_page *page, void *user_data);

/* 0 and *query set, or < 0 as submit. An open query holds memory: close it. */
AIOCOSMOS_API int  aiocosmos_query_open(aiocosmos_client *client, const aiocosmos_query_request *request,
                                        aiocosmos_query *query);
/* Asks for the next page. 0: page is called exactly once, from a later step. E_ARGUMENT: unknown, closed or ended
 * query, or a page is still owed. E_FULL: step, then try again. After a page that failed, asks for the same page
 * again. */
AIOCOSMOS_API int  aiocosmos_query_next(aiocosmos_client *client, aiocosmos_query query, aiocosmos_page_fn page,
                                        void *user_data);
/* A page still owed is called back with E_CANCELLED from a later step. Unknown or closed: harmless. */
AIOCOSMOS_API void aiocosmos_query_close(aiocosmos_client *client, aiocosmos_query query);

/* What an open query has cost so far, over all ranges. Texts are lent until the next call with this query. */
typedef struct aiocosmos_query_stats {
    double   charge_ru;                /* of all its requests; a page's result has those since the page before */
    uint64_t requests, items;          /* sent, retries not counted; rows received, merged or not */
    size_t   memory_used;              /* bytes of answers and of its state that it holds now */
    uint32_t range_count;              /* partition key ranges asked: see below */
    aiocosmos_str plan;                /* the service's query plan, in JSON; len 0: there is none */
    aiocosmos_str metrics;             /* with want_metrics: "retrievedDocumentCount=7;...", each summed over all
                                        * answers, but names that end in Ratio averaged */
    aiocosmos_str index_metrics;       /* with want_index_metrics: JSON, of the first answer that had it */
} aiocosmos_query_stats;
typedef struct aiocosmos_range_stats {
    aiocosmos_str id, min, max;        /* of the partition key range, and its part of the key space when it was asked */
    uint64_t requests, items;
    double   charge_ru;
} aiocosmos_range_stats;
/* False: unknown or closed, or no memory. */
AIOCOSMOS_API bool aiocosmos_query_get_stats(aiocosmos_client *client, aiocosmos_query query,
                                             aiocosmos_query_stats *out);
/* The i-th range that was asked, i below range_count; in the order in which they answered first. */
AIOCOSMOS_API bool aiocosmos_query_get_range(aiocosmos_client *client, aiocosmos_query query, uint32_t i,
                                             aiocosmos_range_stats *out);

/*------------------------------------------------------------------------------
 * MARK: - Reads of many items
 *----------------------------------------------------------------------------*/

typedef struct aiocosmos_item_key { const char *id; aiocosmos_pk pk; } aiocosmos_item_key;
typedef struct aiocosmos_many_totals {
    uint64_t found, missing, failed;   /* pairs; together all that were asked for */
    uint64_t requests;                 /* that it took, those that were sent again included */
    double   charge_ru;
} aiocosmos_many_totals;

/* Any number of (id, partition key) pairs, gathered by the partition key range that they are in and asked for in few
 * requests: a query of up to 1000 pairs each, a plain read where a range has one only. What is asked for twice is
 * answered twice. Splits and merges of ranges are followed. A request that fails fails its own pairs; the others go
 * on. */
typedef struct aiocosmos_read_many_request {
    const char *database, *container;
    const aiocosmos_item_key *items; size_t item_count;
    const char *session_token;
    uint32_t parallel_max;             /* requests at a time (AIOCOSMOS_DEFAULT_PARALLEL) */
    uint32_t timeout_ms;               /* per request (default: the client's request_timeout_ms; OFF: none) */
    uint32_t deadline_ms;              /* of the whole (default: none) */
    /* Required: once for each pair, as the answers come, in no order. 0: found; the item is lent until the callback
     * returns. 404: there is none. Else why that is not known, as the status of a result. */
    void (*item)(aiocosmos_client *client, size_t index, int status, aiocosmos_json item, void *user_data);
    /* Once, at the end: status 0 when every pair was found or is missing, else the first failure. */
    void (*done)(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_many_totals *totals,
                 void *user_data);
    void *user_data;
} aiocosmos_read_many_request;
/* As submit; it is one operation and can be cancelled: what is unanswered ends with E_CANCELLED, then done. E_FULL also
 * if the client would hold more than three quarters of memory_max with the pairs. */
AIOCOSMOS_API int  aiocosmos_read_many(aiocosmos_client *client, const aiocosmos_read_many_request *request,
                                       aiocosmos_op *op);

/*------------------------------------------------------------------------------
 * MARK: - Bulk
 *----------------------------------------------------------------------------*/

/* Bulk pulls items from the host when there is room, so that memory stays flat for any count. A bad item fails alone. A
 * 429 makes all items wait for as long as the service says, and halves the concurrency, which then rises by one per
 * clean window; it does not use up retries_max. */
typedef enum aiocosmos_pull {
    AIOCOSMOS_PULL_END,                /* no more items */
    AIOCOSMOS_PULL_ITEM,               /* *item is filled */
    AIOCOSMOS_PULL_LATER,              /* none now: ask again after aiocosmos_bulk_resume(); if it comes from outside
                                        * of the client, such as a pipe, aiocosmos_wake() ends a step that waits */
    AIOCOSMOS_PULL_FAIL                /* stop: finish what is in flight, then E_CANCELLED */
} aiocosmos_pull;
typedef struct aiocosmos_bulk_item {   /* zeroed before each pull; what it points to must last until next returns */
    const char *id;                    /* replace, patch, delete, read; NULL for create and upsert */
    aiocosmos_kind kind;               /* (default: AIOCOSMOS_CREATE_ITEM) any item kind */
    aiocosmos_pk pk;
    aiocosmos_str body;
    const char *if_match;
    void *item_data;                   /* handed to item_done */
} aiocosmos_bulk_item;
typedef struct aiocosmos_bulk_totals {
    uint64_t succeeded, failed;        /* items; failed includes maybe_applied */
    uint64_t maybe_applied;            /* items that failed and may yet be stored */
    uint64_t retries, throttled;       /* attempts beyond the first; answers with 429 */
    double   charge_ru;
    uint32_t concurrency;              /* allowed now */
} aiocosmos_bulk_totals;
typedef struct aiocosmos_bulk_request {
    const char *database, *container, *session_token;
    uint32_t concurrency_max;          /* in flight (default: AIOCOSMOS_DEFAULT_CONNECTIONS) */
    uint32_t timeout_ms;               /* per item (default: the client's request_timeout_ms; OFF: none) */
    uint32_t deadline_ms;              /* of the whole bulk (default: none) */
    bool want_body;                    /* as in aiocosmos_request */
    /* Asked for one item at a time, inside step only. */
    aiocosmos_pull (*next)(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data);
    /* One item's own result; may be NULL. A refused item comes here too, with E_ARGUMENT and the reason in its
     * message. */
    void (*item_done)(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data);
    /* Once, at the end: status 0 when every item was pulled and finished, however each ended: see totals->failed. */
    void (*done)(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                 void *user_data);
    void *user_data;
} aiocosmos_bulk_request;
/* As submit; the bulk is one operation and can be cancelled: its items end with E_CANCELLED, then done. */
AIOCOSMOS_API int  aiocosmos_bulk(aiocosmos_client *client, const aiocosmos_bulk_request *request, aiocosmos_op *op);
/* After PULL_LATER: there is more now. 0, or E_ARGUMENT: no such bulk. */
AIOCOSMOS_API int  aiocosmos_bulk_resume(aiocosmos_client *client, aiocosmos_op op);
/* The totals so far. False: no such bulk. */
AIOCOSMOS_API bool aiocosmos_bulk_progress(const aiocosmos_client *client, aiocosmos_op op, aiocosmos_bulk_totals *out);

#ifdef __cplusplus
}
#endif
#endif /* AIOCOSMOS_H */

#ifdef AIOCOSMOS_IMPLEMENTATION
#ifndef AIOCOSMOS_IMPLEMENTED
#define AIOCOSMOS_IMPLEMENTED

/*==============================================================================
 * MARK: - Platform                                                  >>platform
 *
 * All that the library wants of the operating system: one table of functions (aiocosmos_platform), filled here for
 * POSIX systems, and the reactor, which waits on such a table and knows sources (things with a descriptor) and timers.
 * No other layer calls the system, and of this one only the functions in the table do.
 *
 * May call: libc, the system.    Knows nothing of: memory limits, names, TLS, HTTP.
 *============================================================================*/

#if defined(_WIN32)
/* What a port replaces is this list of headers and the code from aioc_platform_io_of() to aioc_platform_system, that is
 * Winsock, WSAPoll, BCryptGenRandom and QueryPerformanceCounter. The reactor behind it stays as it is. */
#  error "aiocosmos is not ported to Windows yet: see >>platform"
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#  include <sys/random.h>
#endif
#if defined(__linux__) && !defined(AIOCOSMOS_NO_EPOLL)
#  define AIOC_PLATFORM_EPOLL 1
#  include <sys/epoll.h>
#  include <sys/eventfd.h>
#else
#  define AIOC_PLATFORM_EPOLL 0
#  include <poll.h>
#endif

#include <bearssl.h>

/* The first system header of a file decides what all of them show, and with -std=c99 that is ISO C and little else. It
 * is too late to ask for more here, so everything used below is shown regardless (sched.h has struct timespec), but
 * for clock_gettime(), which comes with CLOCK_MONOTONIC. Where the two are hidden they stay hidden, so that a
 * declaration of ours contradicts nothing. */
#ifdef CLOCK_MONOTONIC
#  define AIOC_PLATFORM_MONOTONIC CLOCK_MONOTONIC
#elif defined(__linux__)
#  if defined(_REDIR_TIME64) || (defined(__USE_TIME_BITS64) && defined(__TIMESIZE) && __TIMESIZE == 32)
#    error "time_t is 64 bits wide here by a renamed clock_gettime() that -std=c99 hides: use -std=gnu99"
#  endif
#  define AIOC_PLATFORM_MONOTONIC 1
extern int clock_gettime(int clock, struct timespec *now);
#else
#  error "this file hides clock_gettime(): compile it with -D_POSIX_C_SOURCE=200809L"
#endif

/* For our own mistakes, never for what a server or caller sent. */
#ifndef AIOCOSMOS_ASSERT
#  define AIOCOSMOS_ASSERT(x) ((void)0)
#endif

/*------------------------------------------------------------------------------
 * Byte order: for any alignment. Compilers make one load or store of each.
 *----------------------------------------------------------------------------*/

static inline uint32_t aioc_platform_load16be(const unsigned char *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static inline uint32_t aioc_platform_load32be(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint32_t aioc_platform_load32le(const unsigned char *at)
{
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

static inline uint64_t aioc_platform_load64le(const unsigned char *at)
{
    return (uint64_t)aioc_platform_load32le(at + 4) << 32 | aioc_platform_load32le(at);
}

static inline void aioc_platform_store16be(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)(value >> 8);
    at[1] = (unsigned char)value;
}

static inline void aioc_platform_store32be(unsigned char *at, uint32_t value)
{
    aioc_platform_store16be(at, value >> 16);
    aioc_platform_store16be(at + 2, value);
}

static inline void aioc_platform_store64be(unsigned char *at, uint64_t value)
{
    aioc_platform_store32be(at, (uint32_t)(value >> 32));
    aioc_platform_store32be(at + 4, (uint32_t)value);
}

static inline void aioc_platform_store32le(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)value;
    at[1] = (unsigned char)(value >> 8);
    at[2] = (unsigned char)(value >> 16);
    at[3] = (unsigned char)(value >> 24);
}

static inline void aioc_platform_store64le(unsigned char *at, uint64_t value)
{
    aioc_platform_store32le(at, (uint32_t)value);
    aioc_platform_store32le(at + 4, (uint32_t)(value >> 32));
}

/* The host's allocator, or realloc and free where it gave none. */
static void *aioc_platform_allocate(const aiocosmos_allocator *allocator, void *ptr, size_t old_size, size_t new_size)
{
    if (allocator->fn) return allocator->fn(ptr, old_size, new_size, allocator->user_data);
    if (new_size > 0) return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

/*------------------------------------------------------------------------------
 * The system's table: errors, clocks, entropy, files
 *----------------------------------------------------------------------------*/

static int aioc_platform_io_of(int error)
{
    switch (error) {
    case EAGAIN:
#if EWOULDBLOCK != EAGAIN
    case EWOULDBLOCK:
#endif
        return AIOCOSMOS_IO_AGAIN;
    case ECONNRESET: case ECONNABORTED: case ENETRESET: case ENOTCONN: case EPIPE: case ESHUTDOWN:
        return AIOCOSMOS_IO_CLOSED;
    case ECONNREFUSED:
        return AIOCOSMOS_IO_REFUSED;
    /* A local firewall that rejects what we send says EPERM or EACCES. */
    case EHOSTUNREACH: case EHOSTDOWN: case ENETUNREACH: case ENETDOWN: case ETIMEDOUT: case EPERM: case EACCES:
        return AIOCOSMOS_IO_UNREACHABLE;
    case EMFILE: case ENFILE: case ENOBUFS: case ENOMEM: case ENOSPC: case EADDRNOTAVAIL:
        return AIOCOSMOS_IO_LIMIT;
    case EAFNOSUPPORT: case EPFNOSUPPORT: case EPROTONOSUPPORT: case ESOCKTNOSUPPORT:
        return AIOCOSMOS_IO_UNSUPPORTED;
    default:
        return AIOCOSMOS_IO_FAILED;
    }
}

static uint64_t aioc_platform_monotonic_us(void *user_data)
{
    struct timespec now;
    (void)user_data;
    clock_gettime(AIOC_PLATFORM_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static int64_t aioc_platform_wall_ms(void *user_data)
{
    struct timeval now;
    (void)user_data;
    gettimeofday(&now, NULL);
    return (int64_t)now.tv_sec * 1000 + (int64_t)now.tv_usec / 1000;
}

#if !AIOC_PLATFORM_EPOLL                 /* Linux makes its sockets, eventfd and epoll set that way at once */
/* Makes a descriptor one that never blocks and that programs started by the host do not inherit. */
static bool aioc_platform_tame(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}
#endif

/* O_NONBLOCK: opening a FIFO must not wait for its writer. */
static int aioc_platform_file_open(const char *path)
{
#ifdef O_CLOEXEC
    return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
#else
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
#endif
}

/* Reads until out is full or the file ends. */
static ptrdiff_t aioc_platform_file_fill(int fd, void *out, size_t cap)
{
    size_t len = 0;
    while (len < cap) {
        ssize_t got = read(fd, (char *)out + len, cap - len);
        if (got == 0) break;
        if (got > 0) len += (size_t)got;
        else if (errno != EINTR) return aioc_platform_io_of(errno);
    }
    return (ptrdiff_t)len;
}

/* Regular files only: whatever else has a path may have no end, or wait. */
static ptrdiff_t aioc_platform_file_read(void *user_data, const char *path, void *out, size_t cap)
{
    struct stat about;
    ptrdiff_t len = AIOCOSMOS_IO_FAILED;
    int fd = aioc_platform_file_open(path);
    (void)user_data;
    if (fd < 0) return aioc_platform_io_of(errno);
    if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode)) {
        len = aioc_platform_file_fill(fd, out, cap);
        /* Files under /proc say that their size is 0. */
        if (len >= 0 && (ptrdiff_t)about.st_size > len) len = (ptrdiff_t)about.st_size;
    }
    close(fd);
    return len;
}

static int aioc_platform_entropy_device(void *out, size_t len)
{
    ptrdiff_t got;
    int fd = aioc_platform_file_open("/dev/urandom");
    if (fd < 0) return aioc_platform_io_of(errno);
    got = aioc_platform_file_fill(fd, out, len);
    close(fd);
    return got == (ptrdiff_t)len ? 0 : AIOCOSMOS_IO_FAILED;
}

/* getrandom() needs no descriptor and no /dev. Early in a boot it has nothing to give and, asked not to, does not wait:
 * then there is no entropy, for the device would hand out guessable bytes. */
static int aioc_platform_entropy(void *user_data, void *out, size_t len)
{
    (void)user_data;
#if defined(__linux__)
    while (len > 0) {
        ssize_t got = getrandom(out, len, GRND_NONBLOCK);
        if (got >= 0) {
            out = (char *)out + got;
            len -= (size_t)got;
        } else if (errno == EAGAIN) {
            return AIOCOSMOS_IO_AGAIN;
        } else if (errno != EINTR) {
            break;                                     /* a kernel or a sandbox without the call */
        }
    }
#endif
    return len > 0 ? aioc_platform_entropy_device(out, len) : 0;
}

/*------------------------------------------------------------------------------
 * The system's table: sockets
 *----------------------------------------------------------------------------*/

#define AIOC_PLATFORM_SLICES_MAX 8       /* gathered by one call; a send of more slices is a partial one */

static socklen_t aioc_platform_sockaddr(const aiocosmos_address *address, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (address->family == 4) {
        struct sockaddr_in in;
        memset(&in, 0, sizeof in);
        in.sin_family = AF_INET;
        in.sin_port = htons(address->port);
        memcpy(&in.sin_addr, address->ip, 4);
        memcpy(out, &in, sizeof in);
        return (socklen_t)sizeof in;
    } else {
        struct sockaddr_in6 in6;
        memset(&in6, 0, sizeof in6);
        in6.sin6_family = AF_INET6;
        in6.sin6_port = htons(address->port);
        in6.sin6_scope_id = address->scope;
        memcpy(&in6.sin6_addr, address->ip, 16);
        memcpy(out, &in6, sizeof in6);
        return (socklen_t)sizeof in6;
    }
}

static int aioc_platform_socket_new(int family, int type)
{
#if defined(__linux__)
    return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
#else
    int fd = socket(family, type, 0);
    if (fd >= 0 && !aioc_platform_tame(fd)) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
#endif
}

/* A request is written by one call and then waited for, so Nagle's algorithm could only delay it (RFC 9293, 3.7.4). */
static void aioc_platform_socket_tune(int fd, bool datagram)
{
    int on = 1;
    if (!datagram) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, (socklen_t)sizeof on);
#ifdef SO_NOSIGPIPE
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, (socklen_t)sizeof on);     /* systems without MSG_NOSIGNAL */
#endif
}

/* The answer for an errno of connect(). */
static int aioc_platform_connect_io(int error, const aiocosmos_address *peer)
{
    /* An interrupted connect goes on by itself, as one in progress does. */
    if (error == EINPROGRESS || error == EINTR) return AIOCOSMOS_IO_AGAIN;
    /* Linux: no local port is free. Waiting on this socket would never end. */
    if (error == EAGAIN) return AIOCOSMOS_IO_LIMIT;
    /* For IPv4: no local port is free. For IPv6 it nearly always means a machine that has no IPv6 address. */
    if (error == EADDRNOTAVAIL && peer->family == 6) return AIOCOSMOS_IO_UNREACHABLE;
    return aioc_platform_io_of(error);
}

static int aioc_platform_socket_open(void *user_data, intptr_t *out, bool datagram, const aiocosmos_address *peer)
{
    struct sockaddr_storage address;
    socklen_t len = aioc_platform_sockaddr(peer, &address);
    int io = 0, fd = aioc_platform_socket_new(address.ss_family, datagram ? SOCK_DGRAM : SOCK_STREAM);
    (void)user_data;
    if (fd < 0) return aioc_platform_io_of(errno);
    aioc_platform_socket_tune(fd, datagram);
    if (connect(fd, (const struct sockaddr *)&address, len) != 0) io = aioc_platform_connect_io(errno, peer);
    if (io == 0 || io == AIOCOSMOS_IO_AGAIN) *out = fd;
    else close(fd);
    return io;
}

static int aioc_platform_socket_error(void *user_data, intptr_t socket)
{
    int error = 0;
    socklen_t len = (socklen_t)sizeof error;
    (void)user_data;
    if (getsockopt((int)socket, SOL_SOCKET, SO_ERROR, &error, &len) != 0) error = errno;
    return error == 0 ? 0 : aioc_platform_io_of(error);
}

static ptrdiff_t aioc_platform_socket_send(void *user_data, intptr_t socket, const aiocosmos_slice *slices,
                                           size_t count)
{
    struct iovec parts[AIOC_PLATFORM_SLICES_MAX];
    struct msghdr message;
    ssize_t sent;
    size_t i;
#ifdef MSG_NOSIGNAL
    const int flags = MSG_NOSIGNAL;      /* a broken pipe is an answer, not a signal to the host */
#else
    const int flags = 0;
#endif
    (void)user_data;
    if (count > AIOC_PLATFORM_SLICES_MAX) count = AIOC_PLATFORM_SLICES_MAX;
    for (i = 0; i < count; i++) {
        parts[i].iov_base = (void *)slices[i].ptr;
        parts[i].iov_len = slices[i].len;
    }
    memset(&message, 0, sizeof message);
    message.msg_iov = parts;
    message.msg_iovlen = (unsigned char)count;         /* an int to some libraries, a size_t to others */
    do sent = sendmsg((int)socket, &message, flags);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? aioc_platform_io_of(errno) : (ptrdiff_t)sent;
}

static ptrdiff_t aioc_platform_socket_receive(void *user_data, intptr_t socket, void *out, size_t cap)
{
    ssize_t got;
    (void)user_data;
    do got = recv((int)socket, out, cap, 0);
    while (got < 0 && errno == EINTR);
    return got < 0 ? aioc_platform_io_of(errno) : (ptrdiff_t)got;
}

static void aioc_platform_socket_close(void *user_data, intptr_t socket)
{
    (void)user_data;
    close((int)socket);                  /* EINTR: closed all the same on Linux; a second close could hit a stranger */
}

/*------------------------------------------------------------------------------
 * The system's table: the poller. Both kinds are level-triggered, hold a descriptor that wake writes to, and take an
 * interrupting signal for a wake, so that the host sees soon what its handler noted.
 *----------------------------------------------------------------------------*/

/* Async-signal-safe: one write() to a descriptor that never blocks. When it is full, a wake is pending anyway. */
static void aioc_platform_ring(int fd, const void *bytes, size_t len)
{
    int error = errno;                   /* belongs to the code that the signal interrupted */
    while (write(fd, bytes, len) < 0 && errno == EINTR) continue;
    errno = error;
}

#if AIOC_PLATFORM_EPOLL

#define AIOC_PLATFORM_EPOLL_EVENTS 128   /* fetched by one call, on the stack */

typedef struct aioc_platform_poller {
    aiocosmos_allocator allocator;
    int epoll, bell;                     /* bell: an eventfd */
} aioc_platform_poller;

static int aioc_platform_poller_control(aioc_platform_poller *poller, int action, int fd, unsigned want, void *source)
{
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    if (want & AIOCOSMOS_READABLE) event.events |= EPOLLIN;
    if (want & AIOCOSMOS_WRITABLE) event.events |= EPOLLOUT;
    event.data.ptr = source;
    return epoll_ctl(poller->epoll, action, fd, &event) == 0 ? 0 : aioc_platform_io_of(errno);
}

/* In a forked child, too, this only closes: the parent has the same epoll set, and to remove something from it here
 * would remove it there. */
static void aioc_platform_poller_destroy(void *user_data, void *opaque)
{
    aioc_platform_poller *poller = (aioc_platform_poller *)opaque;
    aiocosmos_allocator allocator = poller->allocator;
    (void)user_data;
    if (poller->epoll >= 0) close(poller->epoll);
    if (poller->bell >= 0) close(poller->bell);
    aioc_platform_allocate(&allocator, poller, sizeof *poller, 0);
}

static int aioc_platform_poller_create(void *user_data, const aiocosmos_allocator *allocator, void **out)
{
    int io = 0;
    aioc_platform_poller *poller =
        (aioc_platform_poller *)aioc_platform_allocate(allocator, NULL, 0, sizeof(aioc_platform_poller));
    if (!poller) return AIOCOSMOS_IO_LIMIT;
    poller->allocator = *allocator;
    poller->bell = -1;
    poller->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (poller->epoll >= 0) poller->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (poller->bell < 0) io = aioc_platform_io_of(errno);
    /* The bell is inside the set, so that a host that watches the set's own descriptor hears it. */
    if (io == 0) io = aioc_platform_poller_control(poller, EPOLL_CTL_ADD, poller->bell, AIOCOSMOS_READABLE, poller);
    if (io == 0) *out = poller;
    else aioc_platform_poller_destroy(user_data, poller);
    return io;
}

static int aioc_platform_poller_set(void *user_data, void *opaque, intptr_t socket, unsigned had, unsigned want,
                                    void *source)
{
    int action = had == 0 ? EPOLL_CTL_ADD : want == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    (void)user_data;
    if (had == want) return 0;
    return aioc_platform_poller_control((aioc_platform_poller *)opaque, action, (int)socket, want, source);
}

static unsigned aioc_platform_poller_ready(uint32_t events)
{
    unsigned ready = 0;
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) ready |= AIOCOSMOS_READABLE;
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) ready |= AIOCOSMOS_WRITABLE;
    return ready;
}

static int aioc_platform_poller_wait(void *user_data, void *opaque, aiocosmos_event *events, int cap, int timeout_ms)
{
    aioc_platform_poller *poller = (aioc_platform_poller *)opaque;
    struct epoll_event fetched[AIOC_PLATFORM_EPOLL_EVENTS];
    int i, n, count = 0;
    (void)user_data;
    if (cap > AIOC_PLATFORM_EPOLL_EVENTS) cap = AIOC_PLATFORM_EPOLL_EVENTS;
    n = epoll_wait(poller->epoll, fetched, cap, timeout_ms);
    if (n < 0) return errno == EINTR ? 0 : aioc_platform_io_of(errno);
    for (i = 0; i < n; i++) {
        if (fetched[i].data.ptr == poller) {
            uint64_t rings;
            if (read(poller->bell, &rings, sizeof rings) < 0) continue;    /* silent now, whatever the answer */
        } else {
            events[count].source = fetched[i].data.ptr;
            events[count++].ready = aioc_platform_poller_ready(fetched[i].events);
        }
    }
    return count;
}

static void aioc_platform_poller_wake(void *user_data, void *poller)
{
    const uint64_t once = 1;
    (void)user_data;
    aioc_platform_ring(((aioc_platform_poller *)poller)->bell, &once, sizeof once);
}

static intptr_t aioc_platform_poller_fd(void *user_data, void *poller)
{
    (void)user_data;
    return ((aioc_platform_poller *)poller)->epoll;
}

static intptr_t aioc_platform_poller_wake_fd(void *user_data, void *poller)
{
    (void)user_data;
    return ((aioc_platform_poller *)poller)->bell;
}

#else /* poll */

#define AIOC_PLATFORM_POLL_FIRST 16      /* entries at first; doubled when they are used up */

typedef struct aioc_platform_poller {
    aiocosmos_allocator allocator;
    int bell[2];                         /* a pipe: wait reads [0], wake writes [1] */
    void **sources;                      /* one block: cap sources, then cap entries; [0] is the bell */
    struct pollfd *entries;
    size_t count, cap;
    size_t turn;                         /* where the next wait starts to look, so that nobody starves */
} aioc_platform_poller;

static size_t aioc_platform_poller_bytes(size_t cap)
{
    return cap * (sizeof(void *) + sizeof(struct pollfd));
}

static bool aioc_platform_poller_grow(aioc_platform_poller *poller)
{
    size_t cap = poller->cap ? poller->cap * 2 : AIOC_PLATFORM_POLL_FIRST;
    void **sources = (void **)aioc_platform_allocate(&poller->allocator, NULL, 0, aioc_platform_poller_bytes(cap));
    struct pollfd *entries = (struct pollfd *)(void *)(sources + cap);
    if (!sources) return false;
    if (poller->cap) {
        memcpy(sources, poller->sources, poller->count * sizeof *sources);
        memcpy(entries, poller->entries, poller->count * sizeof *entries);
        aioc_platform_allocate(&poller->allocator, poller->sources, aioc_platform_poller_bytes(poller->cap), 0);
    }
    poller->sources = sources;
    poller->entries = entries;
    poller->cap = cap;
    return true;
}

static short aioc_platform_poller_events(unsigned want)
{
    return (short)((want & AIOCOSMOS_READABLE ? POLLIN : 0) | (want & AIOCOSMOS_WRITABLE ? POLLOUT : 0));
}

static bool aioc_platform_poller_add(aioc_platform_poller *poller, int fd, unsigned want, void *source)
{
    struct pollfd *entry;
    if (poller->count == poller->cap && !aioc_platform_poller_grow(poller)) return false;
    poller->sources[poller->count] = source;
    entry = &poller->entries[poller->count++];
    entry->fd = fd;
    entry->events = aioc_platform_poller_events(want);
    entry->revents = 0;
    return true;
}

static void aioc_platform_poller_destroy(void *user_data, void *opaque)
{
    aioc_platform_poller *poller = (aioc_platform_poller *)opaque;
    aiocosmos_allocator allocator = poller->allocator;
    int i;
    (void)user_data;
    for (i = 0; i < 2; i++) {
        if (poller->bell[i] >= 0) close(poller->bell[i]);
    }
    if (poller->cap) aioc_platform_allocate(&allocator, poller->sources, aioc_platform_poller_bytes(poller->cap), 0);
    aioc_platform_allocate(&allocator, poller, sizeof *poller, 0);
}

static int aioc_platform_poller_create(void *user_data, const aiocosmos_allocator *allocator, void **out)
{
    int io = 0;
    aioc_platform_poller *poller =
        (aioc_platform_poller *)aioc_platform_allocate(allocator, NULL, 0, sizeof(aioc_platform_poller));
    if (!poller) return AIOCOSMOS_IO_LIMIT;
    memset(poller, 0, sizeof *poller);
    poller->allocator = *allocator;
    if (pipe(poller->bell) != 0) {
        io = aioc_platform_io_of(errno);
        poller->bell[0] = poller->bell[1] = -1;
    } else if (!aioc_platform_tame(poller->bell[0]) || !aioc_platform_tame(poller->bell[1])) {
        io = aioc_platform_io_of(errno);
    } else if (!aioc_platform_poller_add(poller, poller->bell[0], AIOCOSMOS_READABLE, NULL)) {
        io = AIOCOSMOS_IO_LIMIT;
    }
    if (io == 0) *out = poller;
    else aioc_platform_poller_destroy(user_data, poller);
    return io;
}

/* Looks through all entries: fine, because what is watched changes when a connection comes or goes, not per request. */
static int aioc_platform_poller_set(void *user_data, void *opaque, intptr_t socket, unsigned had, unsigned want,
                                    void *source)
{
    aioc_platform_poller *poller = (aioc_platform_poller *)opaque;
    size_t i;
    (void)user_data;
    if (had == want) return 0;
    if (had == 0) return aioc_platform_poller_add(poller, (int)socket, want, source) ? 0 : AIOCOSMOS_IO_LIMIT;
    for (i = 1; i < poller->count && poller->entries[i].fd != (int)socket; i++) continue;
    if (i == poller->count) return AIOCOSMOS_IO_FAILED;
    if (want != 0) {
        poller->entries[i].events = aioc_platform_poller_events(want);
        poller->sources[i] = source;
    } else {
        poller->count--;
        poller->entries[i] = poller->entries[poller->count];
        poller->sources[i] = poller->sources[poller->count];
    }
    return 0;
}

static unsigned aioc_platform_poller_ready(int events)
{
    unsigned ready = 0;
    if (events & (POLLIN | POLLERR | POLLHUP | POLLNVAL)) ready |= AIOCOSMOS_READABLE;
    if (events & (POLLOUT | POLLERR | POLLHUP | POLLNVAL)) ready |= AIOCOSMOS_WRITABLE;
    return ready;
}

static void aioc_platform_poller_silence(aioc_platform_poller *poller)
{
    char rings[256];
    while (read(poller->bell[0], rings, sizeof rings) == (ssize_t)sizeof rings) continue;
}

static int aioc_platform_poller_wait(void *user_data, void *opaque, aiocosmos_event *events, int cap, int timeout_ms)
{
    aioc_platform_poller *poller = (aioc_platform_poller *)opaque;
    size_t seen, i;
    int count = 0, n = poll(poller->entries, (nfds_t)poller->count, timeout_ms);
    (void)user_data;
    if (n < 0) return errno == EINTR ? 0 : aioc_platform_io_of(errno);
    if (n > 0 && poller->entries[0].revents != 0) {
        aioc_platform_poller_silence(poller);
        n--;
    }
    i = poller->turn;
    for (seen = 1; seen < poller->count && count < n && count < cap; seen++, i++) {
        if (i == 0 || i >= poller->count) i = 1;
        if (poller->entries[i].revents == 0) continue;
        events[count].source = poller->sources[i];
        events[count++].ready = aioc_platform_poller_ready(poller->entries[i].revents);
    }
    poller->turn = i;
    return count;
}

static void aioc_platform_poller_wake(void *user_data, void *poller)
{
    (void)user_data;
    aioc_platform_ring(((aioc_platform_poller *)poller)->bell[1], "", 1);
}

static intptr_t aioc_platform_poller_fd(void *user_data, void *poller)
{
    (void)user_data;
    (void)poller;
    return -1;
}

static intptr_t aioc_platform_poller_wake_fd(void *user_data, void *poller)
{
    (void)user_data;
    return ((aioc_platform_poller *)poller)->bell[0];
}

#endif

static const aiocosmos_platform aioc_platform_system = {
    NULL,
    aioc_platform_monotonic_us,
    aioc_platform_wall_ms,
    aioc_platform_entropy,
    aioc_platform_socket_open,
    aioc_platform_socket_error,
    aioc_platform_socket_send,
    aioc_platform_socket_receive,
    aioc_platform_socket_close,
    aioc_platform_poller_create,
    aioc_platform_poller_destroy,
    aioc_platform_poller_set,
    aioc_platform_poller_wait,
    aioc_platform_poller_wake,
    aioc_platform_poller_fd,
    aioc_platform_poller_wake_fd,
    aioc_platform_file_read
};

/*------------------------------------------------------------------------------
 * The reactor: sources, timers and the events being handed out. From here on only the table is called.
 *----------------------------------------------------------------------------*/

#define AIOC_PLATFORM_BATCH 128          /* events fetched by one wait: more than connections by default */

typedef struct aioc_platform_source aioc_platform_source;
struct aioc_platform_source {            /* something with a descriptor; embedded in its owner, zeroed at first */
    aioc_platform_source *prev, *next;   /* all that are watched */
    intptr_t fd;
    unsigned want;                       /* what is watched now; 0: nothing, not in the poller. Set by watch only */
    void (*ready)(aioc_platform_source *source, unsigned ready);
    void *owner;
};

/* Embedded in its owner, zeroed at first. Armed timers form a pairing heap (Fredman, Sedgewick, Sleator, Tarjan: "The
 * pairing heap", 1986): nothing to allocate, so starting one cannot fail; start costs O(1), and so does stopping one
 * that never rose to the top, which is what becomes of nearly every deadline. */
typedef struct aioc_platform_timer aioc_platform_timer;
struct aioc_platform_timer {
    aioc_platform_timer *child;          /* first of those below */
    aioc_platform_timer *prev, *next;    /* siblings; prev of the first child is its parent */
    uint64_t due_us;
    uint64_t order;                      /* of being started: decides between timers due at the same time */
    void (*fire)(aioc_platform_timer *timer);
    void *owner;
    bool armed;
};

typedef struct aioc_platform_reactor {
    const aiocosmos_platform *platform;
    void *poller;                        /* NULL once abandoned */
    uint64_t now_us;                     /* refreshed by tick; everything in one step may use it */
    aioc_platform_source *sources;
    size_t source_count;
    aioc_platform_timer *timers;         /* the earliest */
    uint64_t timer_order;
    int batch_at, batch_count;
    aiocosmos_event batch[AIOC_PLATFORM_BATCH];
} aioc_platform_reactor;

/* The poller's refusals, as results of the library. */
static int aioc_platform_poller_result(int io)
{
    return io >= 0 ? 0 : io == AIOCOSMOS_IO_LIMIT ? AIOCOSMOS_E_NOMEM : AIOCOSMOS_E_CONNECT;
}

/* Refreshes now_us and returns it. Never backwards, whatever the host's clock does. */
static uint64_t aioc_platform_tick(aioc_platform_reactor *reactor)
{
    uint64_t now_us = reactor->platform->monotonic_us(reactor->platform->user_data);
    if (now_us > reactor->now_us) reactor->now_us = now_us;
    return reactor->now_us;
}

/* 0, E_NOMEM or E_CONNECT. What the allocator stands on must outlive the reactor. */
static int aioc_platform_reactor_open(aioc_platform_reactor *reactor, const aiocosmos_platform *platform,
                                      const aiocosmos_allocator *allocator)
{
    int io;
    memset(reactor, 0, sizeof *reactor);
    reactor->platform = platform;
    io = platform->poller_create(platform->user_data, allocator, &reactor->poller);
    if (io < 0) reactor->poller = NULL;
    else aioc_platform_tick(reactor);
    return aioc_platform_poller_result(io);
}

/* In a forked child, before anything else: from here on watch keeps its books and asks the system nothing, because the
 * parent shares the poller. Then the owners of sources can unwatch and close them as always: the parent has its own
 * descriptors of the same sockets, and its poller goes on watching those. */
static void aioc_platform_reactor_abandon(aioc_platform_reactor *reactor)
{
    if (reactor->poller) reactor->platform->poller_destroy(reactor->platform->user_data, reactor->poller);
    reactor->poller = NULL;
    reactor->batch_at = reactor->batch_count = 0;
}

/* The owners of sources and timers have stopped them. */
static void aioc_platform_reactor_close(aioc_platform_reactor *reactor)
{
    AIOCOSMOS_ASSERT(reactor->source_count == 0 && !reactor->timers);
    aioc_platform_reactor_abandon(reactor);
}

/* A source that is unwatched may be freed or reused next, so its events must not be handed out any more. */
static void aioc_platform_batch_forget(aioc_platform_reactor *reactor, const aioc_platform_source *source)
{
    int i;
    for (i = reactor->batch_at; i < reactor->batch_count; i++) {
        if (reactor->batch[i].source == source) reactor->batch[i].source = NULL;
    }
}

static void aioc_platform_source_link(aioc_platform_reactor *reactor, aioc_platform_source *source)
{
    source->prev = NULL;
    source->next = reactor->sources;
    if (source->next) source->next->prev = source;
    reactor->sources = source;
    reactor->source_count++;
}

static void aioc_platform_source_unlink(aioc_platform_reactor *reactor, aioc_platform_source *source)
{
    *(source->prev ? &source->prev->next : &reactor->sources) = source->next;
    if (source->next) source->next->prev = source->prev;
    source->prev = source->next = NULL;
    reactor->source_count--;
}

/* Watches the source for READABLE, WRITABLE or both; 0: no more, and always before its descriptor is closed: as long
 * as a forked child holds the socket too, epoll would go on reporting it. 0; or E_NOMEM, E_CONNECT and nothing has
 * changed. Removing does not fail. */
static int aioc_platform_watch(aioc_platform_reactor *reactor, aioc_platform_source *source, unsigned want)
{
    const aiocosmos_platform *platform = reactor->platform;
    int io = 0;
    if (source->want == want) return 0;
    if (reactor->poller) {
        io = platform->poller_set(platform->user_data, reactor->poller, source->fd, source->want, want, source);
    }
    if (io < 0 && want != 0) return aioc_platform_poller_result(io);
    if (source->want == 0) aioc_platform_source_link(reactor, source);
    if (want == 0) {
        aioc_platform_source_unlink(reactor, source);
        aioc_platform_batch_forget(reactor, source);
    }
    source->want = want;
    return 0;
}

/* Waits up to timeout_ms (-1: for ever) and fills the batch, which must be empty. 0, E_NOMEM or E_CONNECT. Time has
 * passed then: tick. */
static int aioc_platform_poll(aioc_platform_reactor *reactor, int timeout_ms)
{
    const aiocosmos_platform *platform = reactor->platform;
    void *poller = reactor->poller;
    int count;
    AIOCOSMOS_ASSERT(poller && reactor->batch_at == reactor->batch_count);
    count = platform->poller_wait(platform->user_data, poller, reactor->batch, AIOC_PLATFORM_BATCH, timeout_ms);
    reactor->batch_at = 0;
    reactor->batch_count = count > 0 ? count : 0;
    return aioc_platform_poller_result(count);
}

/* Hands the next event of the batch to its source; it may do anything there, and free any source that it has unwatched.
 * False: the batch is empty. */
static bool aioc_platform_dispatch_one(aioc_platform_reactor *reactor)
{
    while (reactor->batch_at < reactor->batch_count) {
        const aiocosmos_event *event = &reactor->batch[reactor->batch_at++];
        aioc_platform_source *source = (aioc_platform_source *)event->source;
        unsigned ready = source ? event->ready & source->want : 0;
        if (ready == 0) continue;        /* unwatched since, or no longer interested */
        source->ready(source, ready);
        return true;
    }
    return false;
}

static bool aioc_platform_timer_before(const aioc_platform_timer *a, const aioc_platform_timer *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

/* Makes the later of two heaps the first child of the earlier. */
static aioc_platform_timer *aioc_platform_timer_meld(aioc_platform_timer *a, aioc_platform_timer *b)
{
    aioc_platform_timer *top = aioc_platform_timer_before(a, b) ? a : b, *below = top == a ? b : a;
    below->prev = top;
    below->next = top->child;
    if (below->next) below->next->prev = below;
    top->child = below;
    return top;
}

/* Makes one heap of a list of siblings: in pairs first, then these from the last to the first. The pairs are what keeps
 * removal at O(log n), amortized. */
static aioc_platform_timer *aioc_platform_timer_combine(aioc_platform_timer *first)
{
    aioc_platform_timer *pairs = NULL, *all = NULL;
    while (first) {
        aioc_platform_timer *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->prev = a->next = NULL;
        if (b) {
            b->prev = b->next = NULL;
            a = aioc_platform_timer_meld(a, b);
        }
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        aioc_platform_timer *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        all = all ? aioc_platform_timer_meld(all, pair) : pair;
    }
    return all;
}

/* Harmless if it is not armed. */
static void aioc_platform_timer_stop(aioc_platform_reactor *reactor, aioc_platform_timer *timer)
{
    aioc_platform_timer *below;
    if (!timer->armed) return;
    below = aioc_platform_timer_combine(timer->child);
    if (timer == reactor->timers) {
        reactor->timers = below;
    } else {
        *(timer->prev->child == timer ? &timer->prev->child : &timer->prev->next) = timer->next;
        if (timer->next) timer->next->prev = timer->prev;
        if (below) reactor->timers = aioc_platform_timer_meld(reactor->timers, below);
    }
    timer->child = timer->prev = timer->next = NULL;
    timer->armed = false;
}

/* Restarts it if it is armed. */
static void aioc_platform_timer_start(aioc_platform_reactor *reactor, aioc_platform_timer *timer, uint64_t due_us)
{
    aioc_platform_timer_stop(reactor, timer);
    timer->child = timer->prev = timer->next = NULL;
    timer->due_us = due_us;
    timer->order = reactor->timer_order++;
    timer->armed = true;
    reactor->timers = reactor->timers ? aioc_platform_timer_meld(reactor->timers, timer) : timer;
}

/* When the earliest is due. False: none is armed. */
static bool aioc_platform_timer_next(const aioc_platform_reactor *reactor, uint64_t *due_us)
{
    if (!reactor->timers) return false;
    *due_us = reactor->timers->due_us;
    return true;
}

/* Fires the earliest timer if it is due at now_us; timers due at the same time in the order in which they were
 * started. It is no longer armed then, and fire may start it again or free it. False: none is due. */
static bool aioc_platform_timer_run_one(aioc_platform_reactor *reactor)
{
    aioc_platform_timer *timer = reactor->timers;
    if (!timer || timer->due_us > reactor->now_us) return false;
    aioc_platform_timer_stop(reactor, timer);
    timer->fire(timer);
    return true;
}

/*==============================================================================
 * MARK: - Memory                                                      >>memory
 *
 * The host's allocator under a limit, with free lists in front of it, so that in steady state it is never called; and
 * the small things made of it: growable buffers, string views, printing. Callers remember sizes: blocks have no header.
 *
 * May call: platform (for the host's allocator only).    Knows nothing of: what the bytes mean.
 *============================================================================*/

/* Size classes: 64 bytes, then four for each doubling, up to 64 KiB. So at most a fifth of a block of more than 64
 * bytes is slack. Larger blocks go straight to the allocator. */
#define AIOC_MEMORY_SMALLEST  64u
#define AIOC_MEMORY_LARGEST   65536u
#define AIOC_MEMORY_CLASSES   41

typedef struct aioc_memory_block {       /* a freed block starts with this */
    struct aioc_memory_block *next;
} aioc_memory_block;

typedef struct aioc_memory {
    aiocosmos_allocator allocator;
    size_t used, peak, max;              /* bytes taken from the allocator, those on free lists included */
    size_t kept, kept_max;               /* bytes on free lists */
    uint64_t allocations;                /* how often the allocator was asked for memory */
    aioc_memory_block *free[AIOC_MEMORY_CLASSES];
} aioc_memory;

/* Under AddressSanitizer a freed block on a list, and the slack behind a block in use, may not be touched: mistakes are
 * found as if each block came from malloc. */
#if defined(__SANITIZE_ADDRESS__)
#  define AIOC_MEMORY_ASAN 1
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer)
#    define AIOC_MEMORY_ASAN 1
#  endif
#endif
#ifdef AIOC_MEMORY_ASAN
#  ifdef __cplusplus
extern "C" {
#  endif
void __asan_poison_memory_region(const volatile void *ptr, size_t size);
void __asan_unpoison_memory_region(const volatile void *ptr, size_t size);
#  ifdef __cplusplus
}
#  endif
#endif

/* Of a block of that many bytes, the first may be touched and the rest may not. */
static void aioc_memory_permit(void *ptr, size_t size, size_t rounded)
{
#ifdef AIOC_MEMORY_ASAN
    __asan_unpoison_memory_region(ptr, rounded);
    __asan_poison_memory_region((char *)ptr + size, rounded - size);
#else
    (void)ptr;
    (void)size;
    (void)rounded;
#endif
}

/* The size class of a block of at most AIOC_MEMORY_LARGEST bytes, and the size of that class. */
static int aioc_memory_class(size_t size, size_t *rounded)
{
    size_t last = size - 1;
    int doubling = 6;                    /* 64 == 1 << 6 */
    *rounded = AIOC_MEMORY_SMALLEST;
    if (size <= AIOC_MEMORY_SMALLEST) return 0;
    while (last >> (doubling + 1)) doubling++;
    *rounded = ((last >> (doubling - 2)) + 1) << (doubling - 2);
    return (doubling - 6) * 4 + (int)((last >> (doubling - 2)) & 3) + 1;
}

/* How large the block for a request is. */
static size_t aioc_memory_round(size_t size)
{
    size_t rounded = size;
    if (size <= AIOC_MEMORY_LARGEST) aioc_memory_class(size, &rounded);
    return rounded;
}

static size_t aioc_memory_class_size(int index)
{
    return index == 0 ? AIOC_MEMORY_SMALLEST : (size_t)(5 + (index - 1) % 4) << (4 + (index - 1) / 4);
}

static void aioc_memory_init(aioc_memory *memory, const aiocosmos_allocator *allocator, size_t max)
{
    memset(memory, 0, sizeof *memory);
    if (allocator) memory->allocator = *allocator;
    memory->max = max;
    memory->kept_max = max / 8;
}

static void aioc_memory_release(aioc_memory *memory, void *ptr, size_t size)
{
    AIOCOSMOS_ASSERT(size <= memory->used);
    aioc_memory_permit(ptr, size, size);
    aioc_platform_allocate(&memory->allocator, ptr, size, 0);
    memory->used -= size;
}

/* Gives kept blocks back until at most goal bytes are kept, the largest first and none of class last or below: small
 * ones are asked for all the time. */
static void aioc_memory_give_back(aioc_memory *memory, size_t goal, int last)
{
    int index;
    for (index = AIOC_MEMORY_CLASSES - 1; index > last && memory->kept > goal; index--) {
        size_t size = aioc_memory_class_size(index);
        while (memory->free[index] && memory->kept > goal) {
            aioc_memory_block *block = memory->free[index];
            aioc_memory_permit(block, size, size);
            memory->free[index] = block->next;
            memory->kept -= size;
            aioc_memory_release(memory, block, size);
        }
    }
}

/* Everything has been freed before. */
static void aioc_memory_close(aioc_memory *memory)
{
    aioc_memory_give_back(memory, 0, -1);
    AIOCOSMOS_ASSERT(memory->used == 0);
}

/* Makes room below max for so many bytes more, at the cost of what is kept. */
static bool aioc_memory_make_room(aioc_memory *memory, size_t size)
{
    size_t room = memory->max > memory->used ? memory->max - memory->used : 0;
    if (size <= room) return true;
    if (size - room > memory->kept) return false;
    aioc_memory_give_back(memory, memory->kept - (size - room), -1);
    return true;
}

/* Asks the allocator for a block, or for one to become larger or smaller. When it has none, what we keep may be what it
 * lacks. */
static void *aioc_memory_ask(aioc_memory *memory, void *ptr, size_t old_size, size_t new_size)
{
    void *got;
    if (new_size > old_size && !aioc_memory_make_room(memory, new_size - old_size)) return NULL;
    memory->allocations++;
    got = aioc_platform_allocate(&memory->allocator, ptr, old_size, new_size);
    if (!got && memory->kept > 0) {
        aioc_memory_give_back(memory, 0, -1);
        memory->allocations++;
        got = aioc_platform_allocate(&memory->allocator, ptr, old_size, new_size);
    }
    if (!got) return NULL;
    memory->used = memory->used - old_size + new_size;
    if (memory->used > memory->peak) memory->peak = memory->used;
    return got;
}

/* Not zeroed. NULL: over max, or the allocator refused. size > 0. */
static void *aioc_memory_alloc(aioc_memory *memory, size_t size)
{
    size_t rounded;
    void *ptr;
    int index;
    AIOCOSMOS_ASSERT(size > 0);
    if (size > AIOC_MEMORY_LARGEST) return aioc_memory_ask(memory, NULL, 0, size);
    index = aioc_memory_class(size, &rounded);
    if (memory->free[index]) {
        ptr = memory->free[index];
        aioc_memory_permit(ptr, rounded, rounded);
        memory->free[index] = ((aioc_memory_block *)ptr)->next;
        memory->kept -= rounded;
    } else {
        ptr = aioc_memory_ask(memory, NULL, 0, rounded);
    }
    if (ptr) aioc_memory_permit(ptr, size, rounded);
    return ptr;
}

static void *aioc_memory_zalloc(aioc_memory *memory, size_t size)
{
    void *ptr = aioc_memory_alloc(memory, size);
    if (ptr) memset(ptr, 0, size);
    return ptr;
}

/* size is what was asked for. NULL: does nothing. */
static void aioc_memory_free(aioc_memory *memory, void *ptr, size_t size)
{
    aioc_memory_block *block = (aioc_memory_block *)ptr;
    size_t rounded;
    int index;
    if (!ptr) return;
    if (size > AIOC_MEMORY_LARGEST) {
        aioc_memory_release(memory, ptr, size);
        return;
    }
    index = aioc_memory_class(size, &rounded);
    if (rounded <= memory->kept_max) aioc_memory_give_back(memory, memory->kept_max - rounded, index);
    if (rounded > memory->kept_max || memory->kept > memory->kept_max - rounded) {
        aioc_memory_release(memory, ptr, rounded);
        return;
    }
    aioc_memory_permit(ptr, rounded, rounded);
    block->next = memory->free[index];
    memory->free[index] = block;
    memory->kept += rounded;
    aioc_memory_permit(ptr, 0, rounded);
}

/* Another size for a block; ptr NULL and old_size 0: a new one. NULL: the old block is as it was. */
static void *aioc_memory_resize(aioc_memory *memory, void *ptr, size_t old_size, size_t new_size)
{
    size_t rounded = aioc_memory_round(new_size);
    void *moved;
    if (!ptr) return aioc_memory_alloc(memory, new_size);
    if (aioc_memory_round(old_size) == rounded) {
        aioc_memory_permit(ptr, new_size, rounded);
        return ptr;
    }
    if (old_size > AIOC_MEMORY_LARGEST && new_size > AIOC_MEMORY_LARGEST) {
        return aioc_memory_ask(memory, ptr, old_size, new_size);
    }
    moved = aioc_memory_alloc(memory, new_size);
    if (!moved) return NULL;
    memcpy(moved, ptr, old_size < new_size ? old_size : new_size);
    aioc_memory_free(memory, ptr, old_size);
    return moved;
}

static void *aioc_memory_hook(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    aioc_memory *memory = (aioc_memory *)user_data;
    if (new_size > 0) return aioc_memory_resize(memory, ptr, old_size, new_size);
    aioc_memory_free(memory, ptr, old_size);
    return NULL;
}

/* The same memory as a hook, for the platform's poller. */
static aiocosmos_allocator aioc_memory_allocator(aioc_memory *memory)
{
    aiocosmos_allocator allocator;
    allocator.fn = aioc_memory_hook;
    allocator.user_data = memory;
    return allocator;
}

/*------------------------------------------------------------------------------
 * Growable buffers: zeroed at first. A failed call leaves the buffer as it was.
 *----------------------------------------------------------------------------*/

typedef struct aioc_memory_buffer { char *data; size_t len, cap; } aioc_memory_buffer;

/* Makes room for extra more bytes: twice of what there was, or, near the limit, just what is needed. */
static bool aioc_memory_reserve(aioc_memory *memory, aioc_memory_buffer *buffer, size_t extra)
{
    size_t need, cap;
    char *data;
    if (extra <= buffer->cap - buffer->len) return true;
    if (extra > SIZE_MAX - buffer->len) return false;
    need = buffer->len + extra;
    cap = buffer->cap <= SIZE_MAX / 2 && buffer->cap * 2 > need ? buffer->cap * 2 : need;
    cap = aioc_memory_round(cap);
    data = (char *)aioc_memory_resize(memory, buffer->data, buffer->cap, cap);
    if (!data && cap > need) {
        cap = need;
        data = (char *)aioc_memory_resize(memory, buffer->data, buffer->cap, cap);
    }
    if (!data) return false;
    buffer->data = data;
    buffer->cap = cap;
    return true;
}

static bool aioc_memory_append(aioc_memory *memory, aioc_memory_buffer *buffer, const void *bytes, size_t len)
{
    if (len == 0) return true;
    /* A request is made of some forty short pieces that mostly fit: those need no call. */
    if (len > buffer->cap - buffer->len && !aioc_memory_reserve(memory, buffer, len)) return false;
    memcpy(buffer->data + buffer->len, bytes, len);
    buffer->len += len;
    return true;
}

static bool aioc_memory_append_str(aioc_memory *memory, aioc_memory_buffer *buffer, const char *text)
{
    return aioc_memory_append(memory, buffer, text, strlen(text));
}

static bool aioc_memory_append_u64(aioc_memory *memory, aioc_memory_buffer *buffer, uint64_t number)
{
    char digits[20];                     /* 18446744073709551615 */
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return aioc_memory_append(memory, buffer, digits + at, sizeof digits - at);
}

static void aioc_memory_buffer_free(aioc_memory *memory, aioc_memory_buffer *buffer)
{
    aioc_memory_free(memory, buffer->data, buffer->cap);
    memset(buffer, 0, sizeof *buffer);
}

/*------------------------------------------------------------------------------
 * String views and printing
 *----------------------------------------------------------------------------*/

/* Clears a secret. Volatile stores stay where a memset of memory that nobody reads again may be left out. */
static void aioc_memory_wipe(void *secret, size_t size)
{
    volatile unsigned char *byte = (volatile unsigned char *)secret;
    while (size--) *byte++ = 0;
}

/* NULL is the empty view. */
static aiocosmos_str aioc_memory_str(const char *text)
{
    aiocosmos_str view;
    view.ptr = text;
    view.len = text ? strlen(text) : 0;
    return view;
}

static bool aioc_memory_same(aiocosmos_str a, aiocosmos_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* libc's tolower() asks the locale; header names are ASCII (RFC 9110, 5.1). */
static char aioc_memory_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool aioc_memory_same_nocase(aiocosmos_str a, aiocosmos_str b)
{
    size_t i;
    if (a.len != b.len) return false;
    for (i = 0; i < a.len; i++) {
        if (aioc_memory_lower(a.ptr[i]) != aioc_memory_lower(b.ptr[i])) return false;
    }
    return true;
}

/* The whole text is a decimal number, digits only, that fits. */
static bool aioc_memory_parse_u64(aiocosmos_str text, uint64_t *out)
{
    uint64_t number = 0;
    size_t i;
    if (text.len == 0) return false;
    for (i = 0; i < text.len; i++) {
        uint64_t digit = (uint64_t)(unsigned char)text.ptr[i] - '0';
        if (digit > 9 || number > (UINT64_MAX - digit) / 10) return false;
        number = number * 10 + digit;
    }
    *out = number;
    return true;
}

#if defined(__GNUC__)
static size_t aioc_memory_print(char *out, size_t cap, const char *format, ...) __attribute__((format(printf, 3, 4)));
#endif

/* As snprintf: NUL-terminated, cut to cap, returns the whole length. Only %s, %.*s, %d, %u and %llu are used, for they
 * mean the same in every locale. */
static size_t aioc_memory_print(char *out, size_t cap, const char *format, ...)
{
    va_list values;
    int len;
    va_start(values, format);
    len = vsnprintf(out, cap, format, values);
    va_end(values);
    return len > 0 ? (size_t)len : 0;
}

/*==============================================================================
 * MARK: - JSON                                                          >>json
 *
 * Reads JSON (RFC 8259) strictly and without copying: one pass checks the text and leaves one small node for each
 * value; numbers and escapes are looked at when they are asked for. Writes JSON into a buffer. Numbers go both ways
 * exactly and know nothing of the C locale.
 *
 * A \u escape that is half of a surrogate pair is let through, as RFC 8259 does, though it stands for no character: the
 * text passes on as it is, and who asks for the string gets U+FFFD in its place.
 *
 * May call: platform (byte order), memory.    Knows nothing of: documents, requests, what the service expects.
 *============================================================================*/

#include <float.h>
#if defined(__SSE2__) && defined(__GNUC__) && !defined(AIOC_JSON_NO_SSE2)
#  define AIOC_JSON_SSE2 1
#  include <emmintrin.h>
#else
#  define AIOC_JSON_SSE2 0
#endif

/* For the innermost steps of reading: a call costs more than what they do, and compilers think otherwise. */
#if defined(__GNUC__)
#  define AIOC_JSON_INLINE static inline __attribute__((always_inline))
#else
#  define AIOC_JSON_INLINE static inline
#endif

#define AIOC_JSON_DEPTH_MAX  128                       /* arrays and objects inside each other; the service's limit */
#define AIOC_JSON_NODES_MAX  ((uint32_t)1 << 27)       /* 2 GiB of nodes; 28 bits count the members of a container */
#define AIOC_JSON_NODES_MIN  64
#define AIOC_JSON_NUMBER_MAX 32                        /* the longest is -0.0000012345678901234567: 25 */

/* One value or property name. The nodes of a document are in the order of its text, so that what a container holds
 * stands right behind it: values, or names each followed by its value. */
typedef struct aioc_json_node {
    uint32_t at, len;                                  /* the value's own text */
    uint32_t next;                                     /* so many nodes further on is the next sibling */
    uint32_t info;                                     /* type, whether a string has escapes, members << 4 */
} aioc_json_node;

#define AIOC_JSON_TYPE    7u
#define AIOC_JSON_ESCAPED 8u

struct aiocosmos_json_doc {
    aioc_memory *memory;
    aioc_json_node *nodes;
    uint32_t count, cap;
    const char *text;
    size_t len;
    const char *error;                                 /* why the last parse failed (static text), and at which byte */
    size_t error_at;
};

/*------------------------------------------------------------------------------
 * Characters
 *----------------------------------------------------------------------------*/

#define AIOC_JSON_BYTES(b) (UINT64_C(0x0101010101010101) * (b))

/* The byte, or NUL at the end: where this is asked a NUL is as unwelcome as the end. end NULL: the end cannot be met
 * here. */
AIOC_JSON_INLINE unsigned aioc_json_peek(const char *at, const char *end)
{
    return !end || at < end ? (unsigned char)*at : 0u;
}

/* Marks those of eight bytes that are not plain, that is, end a run of what stands for itself in a string: the quote,
 * the backslash, those below U+0020 and above U+007F. The first mark, the lowest, is right; others may come from
 * borrowing. */
static inline uint64_t aioc_json_special(uint64_t eight)
{
    uint64_t quote = (eight ^ AIOC_JSON_BYTES(0x22)) - AIOC_JSON_BYTES(1);
    uint64_t backslash = (eight ^ AIOC_JSON_BYTES(0x5C)) - AIOC_JSON_BYTES(1);
    uint64_t control = eight - AIOC_JSON_BYTES(0x20);
    return (quote | backslash | control | eight) & AIOC_JSON_BYTES(0x80);
}

/* Which of eight bytes is the first that is marked. */
static inline unsigned aioc_json_first(uint64_t marks)
{
#if defined(__GNUC__)
    return (unsigned)__builtin_ctzll(marks) >> 3;
#else
    unsigned byte = 0;
    for (; !(marks & 0xFF); marks >>= 8) byte++;
    return byte;
#endif
}

static inline bool aioc_json_is_plain(char c)
{
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

/* The first byte that is not plain, or the end. Most strings are short, so what counts is how soon the end of one is
 * known: a word is looked at as a whole, and no branch depends on where in it the end is. */
static inline const char *aioc_json_skip_plain_words(const char *at, const char *end)
{
    while (end - at >= 8) {
        uint64_t marks = aioc_json_special(aioc_platform_load64le((const unsigned char *)at));
        if (marks) return at + aioc_json_first(marks);
        at += 8;
    }
    while (at < end && aioc_json_is_plain(*at)) at++;
    return at;
}

/* The same with the vectors that every x86-64 has: reading becomes faster by a tenth. */
AIOC_JSON_INLINE const char *aioc_json_skip_plain(const char *at, const char *end)
{
#if AIOC_JSON_SSE2
    while (end - at >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
        __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
        __m128i others = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));       /* signed: above U+007F as well as control */
        int marks = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), others));
        if (marks) return at + __builtin_ctz((unsigned)marks);
        at += 16;
    }
#endif
    return aioc_json_skip_plain_words(at, end);
}

AIOC_JSON_INLINE const char *aioc_json_skip_space(const char *at, const char *end)
{
    for (;;) {
        unsigned c = aioc_json_peek(at, end);
        if (c > ' ' || (c != ' ' && c != '\n' && c != '\r' && c != '\t')) return at;
        at++;
    }
}

static inline bool aioc_json_is_tail(const char *at)
{
    return ((unsigned char)*at & 0xC0) == 0x80;
}

/* The next four bytes, the first lowest; 0 for those that are not there. */
AIOC_JSON_INLINE uint32_t aioc_json_load(const char *at, const char *end)
{
    uint32_t word = 0;
    int i;
    if (end - at >= 4) return aioc_platform_load32le((const unsigned char *)at);
    for (i = 0; at + i < end; i++) word |= (uint32_t)(unsigned char)at[i] << 8 * i;
    return word;
}

/* A character of two, three or four bytes is first in these, by the table of RFC 3629, 4: lead and tails look as they
 * do for their number, and a few bits of the first two bytes tell that it is not longer than it must be, no
 * surrogate, and not above U+10FFFF. */
AIOC_JSON_INLINE bool aioc_json_is_two(uint32_t word)
{
    return (word & 0x0000C0E0u) == 0x000080C0u && (word & 0x1E) != 0;                  /* not C0, C1 */
}

AIOC_JSON_INLINE bool aioc_json_is_three(uint32_t word)
{
    uint32_t bits = word & 0x200F;
    return (word & 0x00C0C0F0u) == 0x008080E0u && bits != 0 && bits != 0x200D;         /* not E0 80-9F, ED A0-BF */
}

AIOC_JSON_INLINE bool aioc_json_is_four(uint32_t word)
{
    uint32_t bits = word & 0x3007;
    return (word & 0xC0C0C0F8u) == 0x808080F0u && bits != 0 && (bits == 4 || (bits & 7) < 4);  /* not F0 80-8F, F4 90 */
}

/* How many bytes the character takes. 0: it is none. */
static size_t aioc_json_utf8_len(const char *at, const char *end)
{
    uint32_t word = aioc_json_load(at, end);
    if (!(word & 0x80)) return at < end;
    return aioc_json_is_two(word) ? 2 : aioc_json_is_three(word) ? 3 : aioc_json_is_four(word) ? 4 : 0;
}

/* Behind a run of characters of the same length, as most texts in other scripts are, but for the last bytes before
 * the end. */
AIOC_JSON_INLINE const char *aioc_json_skip_wide(const char *at, const char *end)
{
    while (end - at >= 4 && aioc_json_is_two(aioc_platform_load32le((const unsigned char *)at))) at += 2;
    while (end - at >= 4 && aioc_json_is_three(aioc_platform_load32le((const unsigned char *)at))) at += 3;
    return at;
}

/* The text is UTF-8. Otherwise *bad_at is where the first broken character starts. */
static bool aioc_json_utf8_ok(const char *text, size_t len, size_t *bad_at)
{
    const char *at = len > 0 ? text : "", *end = at + len;
    while (at < end) {
        size_t size;
        while (end - at >= 8 && !(aioc_platform_load64le((const unsigned char *)at) & AIOC_JSON_BYTES(0x80))) at += 8;
        size = aioc_json_utf8_len(at, end);
        if (size == 0 && at < end) {
            if (bad_at) *bad_at = (size_t)(at - text);
            return false;
        }
        at += size;
    }
    return true;
}

/* Writes a character's UTF-8 and returns its length. */
static size_t aioc_json_utf8_put(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

/* The character that valid UTF-8 of this length means. */
static uint32_t aioc_json_utf8_code(const char *at, size_t len)
{
    static const unsigned char lead_bits[5] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t code = (uint32_t)((unsigned char)*at & lead_bits[len]);
    size_t i;
    for (i = 1; i < len; i++) code = code << 6 | ((unsigned char)at[i] & 0x3Fu);
    return code;
}

static int aioc_json_hex(unsigned c)
{
    if (c - '0' <= 9) return (int)(c - '0');
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? (int)(c - 'a') + 10 : -1;
}

/* The four digits of an escape that was checked. */
static uint32_t aioc_json_hex4(const char *at)
{
    uint32_t code = 0;
    int i;
    for (i = 0; i < 4; i++) code = code << 4 | (uint32_t)aioc_json_hex((unsigned char)at[i]);
    return code;
}

/* Undoes one escape, that was checked, at its backslash: writes the character and moves *at behind it. */
static size_t aioc_json_unescape(const char **at, const char *end, char out[4])
{
    static const char names[] = "bfnrt", meant[] = "\b\f\n\r\t";
    const char *name, *escape = *at + 1;
    uint32_t code, low;
    *at = escape + 1;
    if (*escape != 'u') {
        name = strchr(names, *escape);
        *out = name ? meant[name - names] : *escape;
        return 1;
    }
    *at = escape + 5;
    code = aioc_json_hex4(escape + 1);
    if (code - 0xD800 >= 0x800) return aioc_json_utf8_put(code, out);
    /* A pair is two escapes, the high half first; a half alone is no character. */
    if (code < 0xDC00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
        low = aioc_json_hex4(*at + 2);
        if (low - 0xDC00 < 0x400) {
            *at += 6;
            return aioc_json_utf8_put(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), out);
        }
    }
    return aioc_json_utf8_put(0xFFFD, out);
}

/*------------------------------------------------------------------------------
 * Reading: one pass over the text
 *----------------------------------------------------------------------------*/

typedef struct aioc_json_scan {
    const char *text, *end;
    const char *last;                                  /* behind the last byte that is no white space */
    aiocosmos_json_doc *doc;                           /* gets the nodes; NULL: the text is only checked */
    uint32_t depth_max;
    aiocosmos_str name;                                /* the value of this top-level property is wanted */
    aiocosmos_json *found;                             /* here; NULL: none is */
    const char *error, *error_at;
    int result;
} aioc_json_scan;

static void aioc_json_scan_begin(aioc_json_scan *scan, const char *text, size_t len)
{
    memset(scan, 0, sizeof *scan);
    scan->text = scan->error_at = text ? text : "";
    scan->end = scan->text + len;
    scan->depth_max = AIOC_JSON_DEPTH_MAX;
#if SIZE_MAX > UINT32_MAX
    if (len > UINT32_MAX) {
        scan->error = "the text is larger than 4 GiB";
        scan->result = AIOCOSMOS_E_ARGUMENT;
    }
#endif
}

/* Notes an error. False, so that whoever meets it can return that; the second form is for those that return a
 * position. */
static bool aioc_json_fail(aioc_json_scan *scan, const char *at, const char *error)
{
    scan->error = error;
    scan->error_at = at;
    scan->result = AIOCOSMOS_E_ARGUMENT;
    return false;
}

static const char *aioc_json_stop(aioc_json_scan *scan, const char *at, const char *error)
{
    aioc_json_fail(scan, at, error);
    return NULL;
}

/* Whether a container was just opened: then its end would do as well. */
static bool aioc_json_is_opened(const aioc_json_scan *scan, const char *at)
{
    while (at > scan->text && (unsigned char)at[-1] <= ' ') at--;
    return at > scan->text && (at[-1] == '[' || at[-1] == '{');
}

/* Of an escape, from behind the backslash to behind the escape. */
AIOC_JSON_INLINE const char *aioc_json_scan_escape(aioc_json_scan *scan, const char *at)
{
    int i;
    switch (aioc_json_peek(at, scan->end)) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't': return at + 1;
    case 'u': break;
    default: return aioc_json_stop(scan, at, "one of \"\\/bfnrtu is expected");
    }
    for (at++, i = 0; i < 4 && aioc_json_hex(aioc_json_peek(at, scan->end)) >= 0; i++) at++;
    return i == 4 ? at : aioc_json_stop(scan, at, "a hex digit is expected");
}

/* The rest of a string that is not all plain. */
static const char *aioc_json_scan_mixed(aioc_json_scan *scan, const char *at, uint32_t *info)
{
    for (;;) {
        if (at < scan->end && aioc_json_is_plain(*at)) at = aioc_json_skip_plain(at, scan->end);
        if (at == scan->end) return aioc_json_stop(scan, at, "a closing quote is expected");
        if (*at == '"') return at + 1;
        if (*at == '\\') {
            *info = AIOCOSMOS_JSON_STR | AIOC_JSON_ESCAPED;
            at = aioc_json_scan_escape(scan, at + 1);
            if (!at) return NULL;
        } else if ((unsigned char)*at < 0x20) {
            return aioc_json_stop(scan, at, "a control character must be escaped");
        }
        at = aioc_json_skip_wide(at, scan->end);
        while (at < scan->end && (unsigned char)*at >= 0x80) {
            size_t size = aioc_json_utf8_len(at, scan->end);
            if (size == 0) return aioc_json_stop(scan, at, "the string is not UTF-8");
            at += size;
        }
    }
}

/* From behind the opening quote to behind the closing one. */
AIOC_JSON_INLINE const char *aioc_json_scan_string(aioc_json_scan *scan, const char *at, uint32_t *info)
{
    at = aioc_json_skip_plain(at, scan->end);
    *info = AIOCOSMOS_JSON_STR;
    return at < scan->end && *at == '"' ? at + 1 : aioc_json_scan_mixed(scan, at, info);
}

/* One digit at least. */
AIOC_JSON_INLINE const char *aioc_json_scan_digits(aioc_json_scan *scan, const char *at, const char *end)
{
    if (aioc_json_peek(at, end) - '0' > 9) return aioc_json_stop(scan, at, "a digit is expected");
    do at++;
    while (aioc_json_peek(at, end) - '0' <= 9);
    return at;
}

AIOC_JSON_INLINE const char *aioc_json_scan_number(aioc_json_scan *scan, const char *at, const char *end)
{
    unsigned c;
    at += *at == '-';
    if (aioc_json_peek(at, end) == '0') {
        at++;
        if (aioc_json_peek(at, end) - '0' <= 9) return aioc_json_stop(scan, at, "a number starts with no extra 0");
    } else {
        at = aioc_json_scan_digits(scan, at, end);
        if (!at) return NULL;
    }
    c = aioc_json_peek(at, end);
    if (c == '.') {
        at = aioc_json_scan_digits(scan, at + 1, end);
        if (!at) return NULL;
        c = aioc_json_peek(at, end);
    }
    if ((c | 0x20) != 'e') return at;
    at++;
    c = aioc_json_peek(at, end);
    return aioc_json_scan_digits(scan, at + (c == '+' || c == '-'), end);
}

static const char *aioc_json_scan_word(aioc_json_scan *scan, const char *at, const char *word)
{
    for (; *word; word++, at++) {
        if (aioc_json_peek(at, scan->end) != (unsigned char)*word) {
            return aioc_json_stop(scan, at, "true, false or null is expected");
        }
    }
    return at;
}

/* Anything but a string, a number or a container. */
AIOC_JSON_INLINE const char *aioc_json_scan_other(aioc_json_scan *scan, const char *at, uint32_t *info)
{
    bool ahead = scan->end - at > 4;
    unsigned c = aioc_json_peek(at, scan->end);
    *info = c == 'n' ? AIOCOSMOS_JSON_NULL : AIOCOSMOS_JSON_BOOL;
    if (ahead && memcmp(at, "true", 4) == 0) return at + 4;
    if (ahead && memcmp(at + 1, "alse", 4) == 0 && c == 'f') return at + 5;
    if (ahead && memcmp(at, "null", 4) == 0) return at + 4;
    if (c == 't') return aioc_json_scan_word(scan, at, "true");
    if (c == 'f') return aioc_json_scan_word(scan, at, "false");
    if (c == 'n') return aioc_json_scan_word(scan, at, "null");
    return aioc_json_stop(scan, at, aioc_json_is_opened(scan, at) ? "a value or ']' is expected"
                                                                  : "a value is expected");
}

/* A property name, from where it should start to behind it. */
AIOC_JSON_INLINE const char *aioc_json_scan_name(aioc_json_scan *scan, const char *at, const char *end, uint32_t *info)
{
    if (aioc_json_peek(at, end) == '"') return aioc_json_scan_string(scan, at + 1, info);
    return aioc_json_stop(scan, at, aioc_json_is_opened(scan, at) ? "a property name or '}' is expected"
                                                                  : "a property name is expected");
}

/* From behind a name to its value. */
AIOC_JSON_INLINE const char *aioc_json_scan_colon(aioc_json_scan *scan, const char *at, const char *end)
{
    at = aioc_json_skip_space(at, end);
    if (aioc_json_peek(at, end) != ':') return aioc_json_stop(scan, at, "a colon is expected");
    return aioc_json_skip_space(at + 1, end);
}

/* Whether a string or name has escapes. Only its node knows for sure without looking. */
static bool aioc_json_has_escapes(aiocosmos_json string)
{
    const aioc_json_node *node = (const aioc_json_node *)string.node;
    return node ? (node->info & AIOC_JSON_ESCAPED) != 0 : memchr(string.ptr, '\\', string.len) != NULL;
}

/* The next byte of a name, or -1: its end, or broken. In a token of a JSON pointer ~0 means ~ and ~1 means / (RFC
 * 6901, section 3). */
static int aioc_json_name_byte(const char **at, const char *end, bool token)
{
    unsigned digit;
    if (*at == end) return -1;
    if (**at != '~' || !token) return (unsigned char)*(*at)++;
    digit = aioc_json_peek(*at + 1, end);
    *at += 2;
    return digit == '0' ? '~' : digit == '1' ? '/' : -1;
}

/* The inside of a string means name. */
static bool aioc_json_inside_is(const char *at, const char *end, bool escaped, aiocosmos_str name, bool token)
{
    const char *name_at = name.ptr, *name_end = name.ptr + name.len;
    token = token && memchr(name.ptr, '~', name.len);
    if (!escaped && !token) return (size_t)(end - at) == name.len && memcmp(at, name.ptr, name.len) == 0;
    while (at < end) {
        char character[4];
        size_t i, size = 1;
        if (*at == '\\') size = aioc_json_unescape(&at, end, character);
        else *character = *at++;
        for (i = 0; i < size; i++) {
            if (aioc_json_name_byte(&name_at, name_end, token) != (unsigned char)character[i]) return false;
        }
    }
    return name_at == name_end;
}

static bool aioc_json_means(aiocosmos_json string, aiocosmos_str name, bool token)
{
    return aioc_json_inside_is(string.ptr + 1, string.ptr + string.len - 1, aioc_json_has_escapes(string), name, token);
}

/* Makes room for more nodes: as many again; at first for a guess by the text's length. Returns where the next one
 * goes. */
static aioc_json_node *aioc_json_more(aioc_json_scan *scan, const aioc_json_node *node, aioc_json_node **limit)
{
    aiocosmos_json_doc *doc = scan->doc;
    uint32_t used = doc->cap > 0 ? (uint32_t)(node - doc->nodes) : 0;
    uint32_t guess = (uint32_t)((scan->end - scan->text) / 16);
    uint32_t cap = doc->cap > 0 ? doc->cap * 2 : guess > AIOC_JSON_NODES_MIN ? guess : AIOC_JSON_NODES_MIN;
    aioc_json_node *nodes = NULL;
    if (cap <= AIOC_JSON_NODES_MAX) {
        nodes = (aioc_json_node *)aioc_memory_resize(doc->memory, doc->nodes, doc->cap * sizeof *nodes,
                                                     cap * sizeof *nodes);
    }
    if (!nodes) {
        aioc_json_fail(scan, scan->text, "there is no memory for so many values");
        scan->result = AIOCOSMOS_E_NOMEM;
        return NULL;
    }
    doc->nodes = nodes;
    doc->cap = cap;
    *limit = nodes + cap;
    return nodes + used;
}

/* A container that is open, and what is known of the one around it. */
typedef struct aioc_json_frame {
    uint32_t node;
    uint32_t members;                                  /* of the one around it, so far */
    unsigned closing;                                  /* its closing bracket; NUL: there is none around */
} aioc_json_frame;

AIOC_JSON_INLINE void aioc_json_note(aioc_json_node *node, const char *text, const char *at, const char *end,
                                     uint32_t info)
{
    node->at = (uint32_t)(at - text);
    node->len = (uint32_t)(end - at);
    node->next = 1;
    node->info = info;
}

/* A container's node when its end, behind which the next node goes, is met. */
AIOC_JSON_INLINE void aioc_json_note_end(aioc_json_node *container, const aioc_json_node *next, size_t end,
                                         uint32_t members)
{
    container->len = (uint32_t)end - container->at;
    container->next = (uint32_t)(next - container);
    container->info |= members << 4;
}

/* The value that was asked for starts at start and ends at end. */
static void aioc_json_report(aioc_json_scan *scan, const char *start, const char *end)
{
    scan->found->ptr = start;
    scan->found->len = (size_t)(end - start);
    switch (*start) {
    case '{': scan->found->type = AIOCOSMOS_JSON_OBJ; break;
    case '[': scan->found->type = AIOCOSMOS_JSON_ARR; break;
    case '"': scan->found->type = AIOCOSMOS_JSON_STR; break;
    case 'n': scan->found->type = AIOCOSMOS_JSON_NULL; break;
    case 't': case 'f': scan->found->type = AIOCOSMOS_JSON_BOOL; break;
    default: scan->found->type = AIOCOSMOS_JSON_NUM;
    }
}

static bool aioc_json_is_wanted(const aioc_json_scan *scan, const char *at, const char *end, uint32_t info)
{
    return scan->found && aioc_json_inside_is(at + 1, end - 1, (info & AIOC_JSON_ESCAPED) != 0, scan->name, false);
}

/* What is there instead of a comma or the end of a container. */
static bool aioc_json_lacks(aioc_json_scan *scan, const char *at, unsigned closing)
{
    at = aioc_json_skip_space(at, scan->end);
    return aioc_json_fail(scan, at, closing == '}' ? "a comma or '}' is expected" : "a comma or ']' is expected");
}

/* Reads the whole text: one value with white space around it. It is compiled three times: with nodes and without for
 * texts that end in a closing bracket, and for other texts. end is NULL for the first two: no step can pass that last
 * bracket unseen, so none has to look out for the end, but for two that do: strings, and what follows a closing
 * bracket. */
AIOC_JSON_INLINE bool aioc_json_scan_value(aioc_json_scan *scan, bool noting, const char *end)
{
    aioc_json_frame frames[AIOC_JSON_DEPTH_MAX], *frame = frames, *deepest = frames + scan->depth_max;
    const char *text = scan->text, *at = aioc_json_skip_space(text, end), *start, *wanted = NULL;
    aioc_json_node *node = noting ? scan->doc->nodes : NULL, *limit = noting ? node + scan->doc->cap : NULL;
    uint32_t members = 0, info = 0;
    unsigned c, closing = 0;
    bool named;
    for (;;) {
        if (noting && limit - node < 2) {              /* a name and a value are noted before this comes again */
            node = aioc_json_more(scan, node, &limit);
            if (!node) return false;
        }
        if (closing == '}') {
            start = at;
            at = aioc_json_scan_name(scan, at, end, &info);
            if (!at) return false;
            if (noting) aioc_json_note(node++, text, start, at, info);
            named = !noting && frame == frames + 1 && aioc_json_is_wanted(scan, start, at, info);
            at = aioc_json_scan_colon(scan, at, end);
            if (!at) return false;
            if (named) wanted = at;
        }
        start = at;
        c = aioc_json_peek(at, end);
        if (c == '"') {
            at = aioc_json_scan_string(scan, at + 1, &info);
            if (!at) return false;
            if (noting) aioc_json_note(node++, text, start, at, info);
        } else if (c - '0' <= 9 || c == '-') {
            at = aioc_json_scan_number(scan, at, end);
            if (!at) return false;
            if (noting) aioc_json_note(node++, text, start, at, AIOCOSMOS_JSON_NUM);
        } else if (c == '{' || c == '[') {
            if (frame == deepest) return aioc_json_fail(scan, at, "nested deeper than 128 levels");
            if (noting) {
                frame->node = (uint32_t)(node - scan->doc->nodes);
                aioc_json_note(node++, text, at, at, c == '{' ? AIOCOSMOS_JSON_OBJ : AIOCOSMOS_JSON_ARR);
            }
            frame->members = members;
            frame->closing = closing;
            frame++;
            closing = c + 2;                           /* ASCII: [\] and {|} */
            at = aioc_json_skip_space(at + 1, end);
            members = aioc_json_peek(at, end) != closing;
            if (members) continue;
        } else {
            at = aioc_json_scan_other(scan, at, &info);
            if (!at) return false;
            if (noting) aioc_json_note(node++, text, start, at, info);
        }
        /* Behind a value: a comma, or the ends of containers up to a comma or to the end. */
        for (;;) {
            if (!noting && wanted && frame == frames + 1) {
                aioc_json_report(scan, wanted, at);
                wanted = NULL;
            }
            if (frame == frames) {
                if (noting) scan->doc->count = (uint32_t)(node - scan->doc->nodes);
                at = aioc_json_skip_space(at, scan->end);
                return at == scan->end || aioc_json_fail(scan, at, "nothing may follow the value");
            }
            at = aioc_json_skip_space(at, end);
            c = aioc_json_peek(at, end);
            if (c == ',') break;
            if (c != closing) return aioc_json_lacks(scan, at, closing);
            at++;
            frame--;
            if (noting) aioc_json_note_end(scan->doc->nodes + frame->node, node, (size_t)(at - text), members);
            members = frame->members;
            closing = frame->closing;
            if (!end && at == scan->last && frame > frames) return aioc_json_lacks(scan, at, closing);
        }
        at = aioc_json_skip_space(at + 1, end);
        members++;
    }
}

/* A scalar ends in no bracket; nor does a text that is cut off or wrong, for which time matters less than where. */
static bool aioc_json_scan_text(aioc_json_scan *scan)
{
    const char *last = scan->end;
    while (last > scan->text && aioc_json_skip_space(last - 1, last) == last) last--;
    scan->last = last;
    if (last == scan->text || (last[-1] != ']' && last[-1] != '}')) {
        return aioc_json_scan_value(scan, scan->doc != NULL, scan->end);
    }
    return scan->doc ? aioc_json_scan_value(scan, true, NULL) : aioc_json_scan_value(scan, false, NULL);
}

static aiocosmos_json aioc_json_none(void)
{
    aiocosmos_json none;
    memset(&none, 0, sizeof none);
    return none;
}

static void aioc_json_open(aiocosmos_json_doc *doc, aioc_memory *memory)
{
    memset(doc, 0, sizeof *doc);
    doc->memory = memory;
}

static void aioc_json_close(aiocosmos_json_doc *doc)
{
    aioc_memory_free(doc->memory, doc->nodes, doc->cap * sizeof *doc->nodes);
    aioc_json_open(doc, doc->memory);
}

/* The text must outlive what is read of it. May be called again and again: the nodes are reused. 0; E_ARGUMENT, with
 * error and error_at; E_NOMEM. */
static int aioc_json_parse(aiocosmos_json_doc *doc, const char *text, size_t len)
{
    aioc_json_scan scan;
    aioc_json_scan_begin(&scan, text, len);
    scan.doc = doc;
    doc->text = text;
    doc->len = len;
    doc->count = 0;
    if (scan.result == 0 && !aioc_json_scan_text(&scan)) doc->count = 0;
    doc->error = scan.error;
    doc->error_at = (size_t)(scan.error_at - scan.text);
    return scan.result;
}

/* Checks a text that may be nested so deep at most, without nodes and memory. With found, also reports the text and
 * type of the top-level property of this name (of two, the last); such a value has no node: scalars can be read,
 * containers not be walked. error and error_at may be NULL. */
static int aioc_json_check_to(uint32_t depth_max, const char *text, size_t len, aiocosmos_str name,
                              aiocosmos_json *found, const char **error, size_t *error_at)
{
    aioc_json_scan scan;
    aioc_json_scan_begin(&scan, text, len);
    scan.depth_max = depth_max;
    scan.name = name;
    scan.found = name.ptr ? found : NULL;
    if (found) *found = aioc_json_none();
    if (scan.result == 0 && !aioc_json_scan_text(&scan) && found) *found = aioc_json_none();
    if (error) *error = scan.error;
    if (error_at) *error_at = (size_t)(scan.error_at - scan.text);
    return scan.result;
}

static int aioc_json_check(const char *text, size_t len, aiocosmos_str name, aiocosmos_json *found, const char **error,
                           size_t *error_at)
{
    return aioc_json_check_to(AIOC_JSON_DEPTH_MAX, text, len, name, found, error, error_at);
}

/*------------------------------------------------------------------------------
 * Walking
 *----------------------------------------------------------------------------*/

/* The value of a node, by the one that holds it: values have no pointer to their document. */
static aiocosmos_json aioc_json_of(aiocosmos_json holder, const aioc_json_node *node)
{
    aiocosmos_json value;
    value.node = node;
    value.ptr = holder.ptr + (node->at - ((const aioc_json_node *)holder.node)->at);
    value.len = node->len;
    value.type = (uint8_t)(node->info & AIOC_JSON_TYPE);
    return value;
}

static aiocosmos_json aioc_json_root(const aiocosmos_json_doc *doc)
{
    aiocosmos_json root = aioc_json_none();
    if (doc->count == 0) return root;
    root.node = doc->nodes;
    root.ptr = doc->text + doc->nodes->at;
    return aioc_json_of(root, doc->nodes);
}

static size_t aioc_json_count(aiocosmos_json container)
{
    return container.node ? ((const aioc_json_node *)container.node)->info >> 4 : 0;    /* scalars have none */
}

static bool aioc_json_next(aiocosmos_json container, aiocosmos_json *key, aiocosmos_json *value)
{
    const aioc_json_node *node = (const aioc_json_node *)container.node, *at = (const aioc_json_node *)value->node;
    const aioc_json_node *end;
    bool object = container.type == AIOCOSMOS_JSON_OBJ;
    if (!node || (!object && container.type != AIOCOSMOS_JSON_ARR)) return false;
    end = node + node->next;
    at = at ? at + at->next : node + 1;
    if (at == end) {
        *value = aioc_json_none();
        if (key) *key = *value;
        return false;
    }
    if (key) *key = object ? aioc_json_of(container, at) : aioc_json_none();
    *value = aioc_json_of(container, object ? at + 1 : at);
    return true;
}

/* What one token of a JSON pointer leads to: a property, of those named twice the last, or an element. */
static aiocosmos_json aioc_json_child(aiocosmos_json container, aiocosmos_str token)
{
    aiocosmos_json found = aioc_json_none(), value = found, key;
    uint64_t index = 0;
    bool array = container.type == AIOCOSMOS_JSON_ARR;
    if (array && (!aioc_memory_parse_u64(token, &index) || (token.len > 1 && *token.ptr == '0'))) return found;
    if (array && index >= aioc_json_count(container)) return found;
    while (aioc_json_next(container, &key, &value)) {
        if (array && index-- == 0) return value;
        if (!array && aioc_json_means(key, token, true)) found = value;
    }
    return found;
}

static aiocosmos_json aioc_json_at(aiocosmos_json value, const char *pointer)
{
    while (*pointer == '/') {
        aiocosmos_str token;
        token.ptr = pointer + 1;
        token.len = strcspn(token.ptr, "/");
        value = aioc_json_child(value, token);
        pointer = token.ptr + token.len;
    }
    return *pointer == '\0' ? value : aioc_json_none();
}

static size_t aioc_json_fields(aiocosmos_json object, const char *const *names, size_t n, aiocosmos_json *out)
{
    aiocosmos_json value = aioc_json_none(), key;
    size_t i, found = 0;
    for (i = 0; i < n; i++) out[i] = value;
    if (object.type != AIOCOSMOS_JSON_OBJ) return 0;
    while (aioc_json_next(object, &key, &value)) {
        bool escaped = aioc_json_has_escapes(key);
        size_t len = key.len - 2;
        for (i = 0; i < n; i++) {
            /* A name in quotes holds no NUL, so one that begins with it is so long at least. */
            if (escaped ? !aioc_json_means(key, aioc_memory_str(names[i]), false)
                        : strncmp(names[i], key.ptr + 1, len) != 0 || names[i][len] != '\0') continue;
            found += out[i].type == AIOCOSMOS_JSON_NONE;
            out[i] = value;
        }
    }
    return found;
}

/*------------------------------------------------------------------------------
 * Numbers, exactly
 *----------------------------------------------------------------------------*/

/* The high half of a product; *low gets the rest. */
static uint64_t aioc_json_multiply(uint64_t a, uint64_t b, uint64_t *low)
{
#if defined(__SIZEOF_INT128__)
    __extension__ typedef unsigned __int128 aioc_json_u128;
    aioc_json_u128 product = (aioc_json_u128)a * b;
    *low = (uint64_t)product;
    return (uint64_t)(product >> 64);
#else
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (uint32_t)middle;
    *low = a * b;
    return a1 * b1 + (middle >> 32) + (other >> 32);
#endif
}

/* number / 2^bits, rounded down, for negative numbers too. */
static int aioc_json_shift(int64_t number, int bits)
{
    return (int)(number >= 0 ? number >> bits : -((-number + ((int64_t)1 << bits) - 1) >> bits));
}

static int aioc_json_log2_of_power(int ten)                                /* floor(log2(10^ten)) */
{
    return aioc_json_shift((int64_t)ten * 1741647, 19);
}

/* So many of the high bits are 0; number > 0. */
static inline int aioc_json_leading_zeros(uint64_t number)
{
#if defined(__GNUC__)
    return __builtin_clzll(number);
#else
    int zeros = 0;
    for (; !(number >> 63); number <<= 1) zeros++;
    return zeros;
#endif
}

#define AIOC_JSON_POWER_MIN (-342)                     /* powers of ten that a double may be written with */
#define AIOC_JSON_POWER_MAX 324

/* high * 2^64 + low is 10^ten, shifted so that the high bit is set, to 128 bits: exact from 0 to 55, else rounded
 * down. It is made of two shorter tables, every 27th power to 192 bits, and the small powers between: that this gives
 * all 128 bits right for every power in the range is checked by the tests. */
static void aioc_json_power(int ten, uint64_t *high, uint64_t *low)
{
    static const uint64_t bases[26][3] = {             /* 10^-351, 10^-324, ... 10^324 */
    {0x8049A4AC0C5811AE, 0x205B896D777D6278, 0xAC261E9F5141430B},
    {0xCF42894A5DCE35EA, 0x52064CAC828675B9, 0x475F2B7D7DF1AD7A},
    {0xA76C582338ED2621, 0xAF2AF2B80AF6F24E, 0x657C8F4D43323A36},
    {0x873E4F75E2224E68, 0x5A7744A6E804A291, 0xCC35EDDFCF0996D7},
    {0xDA7F5BF590966848, 0xAF39A475506A899E, 0xA30294CC2934E662},
    {0xB080392CC4349DEC, 0xBD8D794D96AACFB3, 0xFE13A5C86AF64418},
    {0x8E938662882AF53E, 0x547EB47B7282EE9C, 0x41B0230E1421487D},
    {0xE65829B3046B0AFA, 0x0CB4A5A3112A5112, 0xA3B561B1CB208396},
    {0xBA121A4650E4DDEB, 0x92F34D62616CE413, 0x21A0183E10583CD3},
    {0x964E858C91BA2655, 0x3A6A07F8D510F86F, 0xE9082F25E9C5E9EC},
    {0xF2D56790AB41C2A2, 0xFAE27299423FB9C3, 0x3695DAD7E8858901},
    {0xC428D05AA4751E4C, 0xAA97E14C3C26B886, 0x96842DC95323F5A8},
    {0x9E74D1B791E07E48, 0x775EA264CF55347D, 0xCA49F1C05120C9C7},
    {0x8000000000000000, 0x0000000000000000, 0x0000000000000000},
    {0xCECB8F27F4200F3A, 0x0000000000000000, 0x0000000000000000},
    {0xA70C3C40A64E6C51, 0x999090B65F67D924, 0x0000000000000000},
    {0x86F0AC99B4E8DAFD, 0x69A028BB3DED71A3, 0xDF9F915627C04E28},
    {0xDA01EE641A708DE9, 0xE80E6F4820CC9495, 0xD74BAAD03BC1D8D3},
    {0xB01AE745B101E9E4, 0x5EC05DCFF72E7F8F, 0xC04C79FFE324301F},
    {0x8E41ADE9FBEBC27D, 0x14588F13BE847307, 0x23BD6A2059C002F5},
    {0xE5D3EF282A242E81, 0x8F1668C8A86DA5FA, 0xF0B5CCF5176ECC7C},
    {0xB9A74A0637CE2EE1, 0x6D953E2BD7173692, 0x88EFB0037AC08BDE},
    {0x95F83D0A1FB69CD9, 0x4ABDAF101564F98E, 0x0D5A4AF7B3A98E47},
    {0xF24A01A73CF2DCCF, 0xBC633B39673C8CEC, 0x3D9C44CD2F36917C},
    {0xC3B8358109E84F07, 0x0A862F80EC4700C8, 0x02606EA01029DC37},
    {0x9E19DB92B4E31BA9, 0x6C07A2C26A8346D1, 0x4944D9F52CD0DEC2}
    };
    static const uint64_t steps[27] = {                /* 10^0, 10^1, ... 10^26: of 10^n the bits of 5^n */
    0x8000000000000000, 0xA000000000000000, 0xC800000000000000, 0xFA00000000000000, 0x9C40000000000000,
    0xC350000000000000, 0xF424000000000000, 0x9896800000000000, 0xBEBC200000000000, 0xEE6B280000000000,
    0x9502F90000000000, 0xBA43B74000000000, 0xE8D4A51000000000, 0x9184E72A00000000, 0xB5E620F480000000,
    0xE35FA931A0000000, 0x8E1BC9BF04000000, 0xB1A2BC2EC5000000, 0xDE0B6B3A76400000, 0x8AC7230489E80000,
    0xAD78EBC5AC620000, 0xD8D726B7177A8000, 0x878678326EAC9000, 0xA968163F0A57B400, 0xD3C21BCECCEDA100,
    0x84595161401484A0, 0xA56FA5B99019A5C8
    };
    const uint64_t *base = bases[(ten + 351) / 27];
    uint64_t factor = steps[(ten + 351) % 27], word[4], carry, above;
    carry = aioc_json_multiply(base[2], factor, &word[0]);
    above = aioc_json_multiply(base[1], factor, &word[1]);
    word[1] += carry;
    carry = above + (word[1] < carry);
    above = aioc_json_multiply(base[0], factor, &word[2]);
    word[2] += carry;
    word[3] = above + (word[2] < carry);
    if (!(word[3] >> 63)) {
        word[3] = word[3] << 1 | word[2] >> 63;
        word[2] = word[2] << 1 | word[1] >> 63;
    }
    *high = word[3];
    *low = word[2];
}

static bool aioc_json_power_is_exact(int ten)
{
    return ten >= 0 && ten <= 55;
}

/*--- Text to number -----------------------------------------------------------*/

/* A number's digits from the first to the last that is not 0, maybe with the point between them. */
typedef struct aioc_json_decimal {
    const char *first, *end;
    uint64_t count;                                    /* of the digits; 0: the number is 0 */
    int64_t  exponent;                                 /* the last digit counts 10^exponent */
    bool     negative;
} aioc_json_decimal;

/* Takes a number apart whose form was checked. */
static aioc_json_decimal aioc_json_decimal_of(const char *at, const char *end)
{
    aioc_json_decimal decimal;
    const char *point = NULL, *last = NULL, *mantissa_end;
    const int64_t enough = INT64_C(1) << 48;           /* no text has so many digits that they make up for more */
    bool negative_exponent = false;
    int64_t exponent = 0;
    memset(&decimal, 0, sizeof decimal);
    decimal.negative = *at == '-';
    for (at += decimal.negative; at < end && (*at | 0x20) != 'e'; at++) {
        if (*at == '.') {
            point = at;
        } else if (*at != '0') {
            if (!last) decimal.first = at;
            last = at;
        }
    }
    mantissa_end = at;
    for (at++; at < end; at++) {
        if (*at == '-') negative_exponent = true;
        else if (*at != '+' && exponent < enough) exponent = exponent * 10 + (*at - '0');
    }
    if (!last) return decimal;
    if (!point) point = mantissa_end;
    decimal.end = last + 1;
    decimal.count = (uint64_t)(decimal.end - decimal.first) - (decimal.first < point && point < last);
    decimal.exponent = (negative_exponent ? -exponent : exponent) + (point - last) - (point > last);
    return decimal;
}

/* The first digits, 19 at most: so many fit. */
static uint64_t aioc_json_decimal_digits(const aioc_json_decimal *decimal, uint64_t *taken)
{
    const char *at = decimal->first;
    uint64_t digits = 0, count = 0;
    for (; at < decimal->end && count < 19; at++) {
        if (*at == '.') continue;
        digits = digits * 10 + (uint64_t)(*at - '0');
        count++;
    }
    *taken = count;
    return digits;
}

/* A whole number below 2^63, or -2^63: without a double in between, which has 53 bits only. */
static bool aioc_json_decimal_i64(const aioc_json_decimal *decimal, int64_t *out)
{
    uint64_t taken, number = aioc_json_decimal_digits(decimal, &taken);
    int64_t exponent = decimal->exponent;
    if (exponent < 0 || exponent > 19 || decimal->count + (uint64_t)exponent > 19) return false;
    while (exponent-- > 0) number *= 10;
    if (number > (uint64_t)INT64_MAX + decimal->negative) return false;
    *out = decimal->negative ? -(int64_t)(number - (number > 0)) - (number > 0) : (int64_t)number;
    return true;
}

/* The bits of the double nearest to (high + something below 1 if more) * 2^exponent, to even if it is halfway; of
 * infinity if it is too large. The highest bit of high is set. */
static uint64_t aioc_json_round(uint64_t high, bool more, int exponent)
{
    int biased = exponent + 63 + 1023, shift = 11;                         /* 53 bits stay */
    uint64_t mantissa, rest, half = UINT64_C(1) << 63;
    if (biased >= 2047) return UINT64_C(2047) << 52;
    if (biased < 1) {                                                      /* subnormal: fewer bits stay */
        shift += 1 - biased;
        biased = 1;
        if (shift > 64) return 0;
    }
    mantissa = shift < 64 ? high >> shift : 0;
    rest = high << (64 - shift);
    if (rest > half || (rest == half && (more || (mantissa & 1)))) mantissa++;
    return ((uint64_t)(biased - 1) << 52) + mantissa;                      /* the highest bit of a normal one adds 1 */
}

/* digits * 10^ten, with the power rounded down or up. The lower bits only count as more. */
static uint64_t aioc_json_scale(uint64_t digits, int ten, bool up)
{
    uint64_t high, low, product[3], carry;
    int zeros = aioc_json_leading_zeros(digits);
    aioc_json_power(ten, &high, &low);
    if (up && ++low == 0) high++;
    digits <<= zeros;
    carry = aioc_json_multiply(low, digits, &product[0]);
    product[2] = aioc_json_multiply(high, digits, &product[1]);
    product[1] += carry;
    product[2] += product[1] < carry;
    if (!(product[2] >> 63)) {
        zeros++;
        product[2] = product[2] << 1 | product[1] >> 63;
        product[1] <<= 1;
    }
    return aioc_json_round(product[2], (product[0] | product[1]) != 0, aioc_json_log2_of_power(ten) + 1 - zeros);
}

/* A large whole number, lowest word first. The largest is made of 768 digits and one more bit, or of a double's 54
 * bits and 5^1110, as many as the exponent of the 769th digit of the smallest double needs; each is below 2^2640. */
#define AIOC_JSON_BIG_WORDS 96
typedef struct aioc_json_big { uint32_t word[AIOC_JSON_BIG_WORDS]; int count; } aioc_json_big;

static void aioc_json_big_multiply(aioc_json_big *big, uint32_t factor, uint32_t carry)
{
    int i;
    for (i = 0; i < big->count; i++) {
        uint64_t product = (uint64_t)big->word[i] * factor + carry;
        big->word[i] = (uint32_t)product;
        carry = (uint32_t)(product >> 32);
    }
    AIOCOSMOS_ASSERT(big->count < AIOC_JSON_BIG_WORDS);
    if (carry) big->word[big->count++] = carry;
}

static void aioc_json_big_multiply_fives(aioc_json_big *big, int64_t fives)
{
    for (; fives >= 13; fives -= 13) aioc_json_big_multiply(big, 1220703125u, 0);      /* 5^13 */
    for (; fives > 0; fives--) aioc_json_big_multiply(big, 5, 0);
}

static void aioc_json_big_double(aioc_json_big *big, int64_t times)
{
    int words = (int)(times / 32);
    aioc_json_big_multiply(big, (uint32_t)1 << times % 32, 0);
    AIOCOSMOS_ASSERT(big->count + words <= AIOC_JSON_BIG_WORDS);
    memmove(big->word + words, big->word, (size_t)big->count * sizeof *big->word);
    memset(big->word, 0, (size_t)words * sizeof *big->word);
    big->count += words;
}

static int aioc_json_big_compare(const aioc_json_big *a, const aioc_json_big *b)
{
    int i;
    if (a->count != b->count) return a->count < b->count ? -1 : 1;
    for (i = a->count - 1; i >= 0; i--) {
        if (a->word[i] != b->word[i]) return a->word[i] < b->word[i] ? -1 : 1;
    }
    return 0;
}

/* All digits that can matter. Halfway between two doubles no more than 767 are not 0, so whatever follows 768 digits
 * says only that the number is larger than they are: a last digit 1 says that too. */
static int64_t aioc_json_big_digits(aioc_json_big *big, const aioc_json_decimal *decimal)
{
    const char *at = decimal->first;
    uint64_t taken = 0;
    memset(big, 0, sizeof *big);
    for (; at < decimal->end && taken < 768; at++) {
        if (*at == '.') continue;
        aioc_json_big_multiply(big, 10, (uint32_t)(*at - '0'));
        taken++;
    }
    if (taken == decimal->count) return decimal->exponent;
    aioc_json_big_multiply(big, 10, 1);
    return decimal->exponent + (int64_t)(decimal->count - taken) - 1;
}

/* The number is between a double, whose bits these are, and the next: which of them is nearer? */
static uint64_t aioc_json_nearer(const aioc_json_decimal *decimal, uint64_t bits)
{
    aioc_json_big digits, halfway;
    int64_t ten = aioc_json_big_digits(&digits, decimal), two;
    uint64_t mantissa = bits & ((UINT64_C(1) << 52) - 1);
    int order, biased = (int)(bits >> 52);
    if (biased > 0) mantissa |= UINT64_C(1) << 52;
    else biased = 1;
    memset(&halfway, 0, sizeof halfway);
    mantissa = mantissa * 2 + 1;
    halfway.word[0] = (uint32_t)mantissa;
    halfway.word[1] = (uint32_t)(mantissa >> 32);
    halfway.count = halfway.word[1] ? 2 : 1;
    two = biased - 1076;
    /* digits * 10^ten against halfway * 2^two: in whole numbers, that is with what would divide put on the other
     * side. */
    if (ten >= 0) aioc_json_big_multiply_fives(&digits, ten);
    else aioc_json_big_multiply_fives(&halfway, -ten);
    if (ten >= two) aioc_json_big_double(&digits, ten - two);
    else aioc_json_big_double(&halfway, two - ten);
    order = aioc_json_big_compare(&digits, &halfway);
    return bits + (order > 0 || (order == 0 && (bits & 1)));
}

static double aioc_json_double_of(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* The nearest double, to even if there are two. False: it would be infinite. */
static bool aioc_json_decimal_f64(const aioc_json_decimal *decimal, double *out)
{
    static const double powers[23] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
                                      1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    uint64_t bits = 0, above, taken, digits = aioc_json_decimal_digits(decimal, &taken);
    int64_t ten = decimal->exponent + (int64_t)(decimal->count - taken);
    bool more = decimal->count > taken;
    if (decimal->count > 0 && ten > 308) return false;
    if (FLT_EVAL_METHOD == 0 && !more && digits <= UINT64_C(1) << 53 && ten >= -22 && ten <= 22) {
        /* Both are doubles exactly, so that the one operation rounds once. */
        *out = ten < 0 ? (double)digits / powers[-ten] : (double)digits * powers[ten];
        if (decimal->negative) *out = -*out;
        return true;
    }
    if (decimal->count > 0 && ten >= AIOC_JSON_POWER_MIN) {                /* else it rounds to 0 */
        bits = aioc_json_scale(digits, (int)ten, false);
        above = aioc_json_scale(digits + more, (int)ten, !aioc_json_power_is_exact((int)ten));
        if (above != bits) bits = aioc_json_nearer(decimal, bits);
    }
    *out = aioc_json_double_of(bits | (uint64_t)decimal->negative << 63);
    return bits < UINT64_C(2047) << 52;
}

/* The whole text is a JSON number. */
static bool aioc_json_number_parse(const char *text, size_t len, double *out)
{
    aioc_json_decimal decimal;
    aioc_json_scan scan;
    aioc_json_scan_begin(&scan, text, len);
    if (len == 0 || aioc_json_scan_number(&scan, text, scan.end) != scan.end) return false;
    decimal = aioc_json_decimal_of(text, text + len);
    return aioc_json_decimal_f64(&decimal, out);
}

/*--- Number to text -----------------------------------------------------------*/

/* digits * power * 2^-128, with the last bit set if more than the power's rounding was cut off: so comparing with even
 * numbers stays right. */
static uint64_t aioc_json_scale_odd(uint64_t digits, uint64_t high, uint64_t low)
{
    uint64_t lowest, middle, carry = aioc_json_multiply(low, digits, &lowest), top;
    top = aioc_json_multiply(high, digits, &middle);
    middle += carry;
    top += middle < carry;
    return top | (middle > 1);
}

/* The shortest decimal number, digits * 10^*ten, that reads back as this double (positive, finite), and of several
 * the nearest. After R. Giulietti, "The Schubfach way to render doubles": all that rounds to the double is an
 * interval around it; 10^ten is taken as large as can be while the interval surely holds a multiple of it. Then one
 * or two multiples of 10^ten are inside, and perhaps one of 10^(ten + 1). Everything is counted in quarters of
 * 10^ten. */
static uint64_t aioc_json_shortest(uint64_t bits, int *ten)
{
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1), mantissa, high, low, below, exact, above, units, tens;
    int biased = (int)(bits >> 52), two = (biased > 0 ? biased : 1) - 1075, shift;
    bool odd = bits & 1;                               /* its interval is without its ends: ties go to even */
    bool nearer = fraction == 0 && biased > 1;         /* the next double below is half as far as the next above */
    bool under, over;
    mantissa = biased > 0 ? fraction | UINT64_C(1) << 52 : fraction;
    *ten = aioc_json_shift((int64_t)two * 1262611 - (nearer ? 524031 : 0), 22);       /* log10 of 2^two, or of 3/4 */
    aioc_json_power(-*ten, &high, &low);
    if (!aioc_json_power_is_exact(-*ten) && ++low == 0) high++;
    shift = two + aioc_json_log2_of_power(-*ten) + 1;
    below = aioc_json_scale_odd((4 * mantissa - 2 + nearer) << shift, high, low) + odd;
    exact = aioc_json_scale_odd((4 * mantissa) << shift, high, low);
    above = aioc_json_scale_odd((4 * mantissa + 2) << shift, high, low) - odd;
    units = exact / 4;
    tens = units / 10;
    under = below <= 40 * tens;
    over = 40 * tens + 40 <= above;
    if (units >= 10 && under != over) {
        ++*ten;
        return tens + over;
    }
    under = below <= 4 * units;
    over = 4 * units + 4 <= above;
    if (under != over) return units + over;
    return units + (exact > 4 * units + 2 || (exact == 4 * units + 2 && (units & 1)));
}

static size_t aioc_json_u64_write(uint64_t number, char *out)
{
    char digits[20];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

static size_t aioc_json_i64_write(int64_t number, char *out)
{
    if (number >= 0) return aioc_json_u64_write((uint64_t)number, out);
    *out = '-';
    return 1 + aioc_json_u64_write(0 - (uint64_t)number, out + 1);
}

/* Lays out digits, the point behind so many of them (before, if negative), as ECMAScript's Number::toString does: up
 * to 21 digits before the point and 6 zeros behind it without an exponent. */
static size_t aioc_json_layout(const char *digits, int count, int point, char *out)
{
    char *at = out;
    int i;
    if (point > 21 || point < -5) {
        *at++ = digits[0];
        if (count > 1) *at++ = '.';
        for (i = 1; i < count; i++) *at++ = digits[i];
        *at++ = 'e';
        *at++ = point > 0 ? '+' : '-';
        at += aioc_json_u64_write((uint64_t)(point > 0 ? point - 1 : 1 - point), at);
        return (size_t)(at - out);
    }
    if (point <= 0) *at++ = '0', *at++ = '.';
    for (i = point; i < 0; i++) *at++ = '0';
    for (i = 0; i < count || i < point; i++) {
        if (i == point && point > 0) *at++ = '.';
        *at++ = i < count ? digits[i] : '0';
    }
    return (size_t)(at - out);
}

/* The shortest text that reads back as the same number: 5, 1.5, 1e+21 as ECMAScript writes them, but -0 keeps its
 * sign. Not NUL-terminated. 0: the number is none that JSON has. */
static size_t aioc_json_number_write(double number, char out[AIOC_JSON_NUMBER_MAX])
{
    char digits[20];
    size_t sign, count;
    uint64_t bits, decimal;
    int ten = 0;
    memcpy(&bits, &number, sizeof bits);
    sign = (size_t)(bits >> 63);
    bits &= UINT64_MAX >> 1;
    if (bits >= UINT64_C(2047) << 52) return 0;
    if (sign) *out = '-';
    if (bits == 0) {
        out[sign] = '0';
        return sign + 1;
    }
    decimal = aioc_json_shortest(bits, &ten);
    while (decimal % 10 == 0) decimal /= 10, ten++;
    count = aioc_json_u64_write(decimal, digits);
    return sign + aioc_json_layout(digits, (int)count, (int)count + ten, out + sign);
}

/*------------------------------------------------------------------------------
 * Getting
 *----------------------------------------------------------------------------*/

static bool aioc_json_get_i64(aiocosmos_json value, int64_t *out)
{
    aioc_json_decimal decimal;
    if (value.type != AIOCOSMOS_JSON_NUM) return false;
    decimal = aioc_json_decimal_of(value.ptr, value.ptr + value.len);
    return aioc_json_decimal_i64(&decimal, out);
}

static bool aioc_json_get_f64(aiocosmos_json value, double *out)
{
    aioc_json_decimal decimal;
    if (value.type != AIOCOSMOS_JSON_NUM) return false;
    decimal = aioc_json_decimal_of(value.ptr, value.ptr + value.len);
    return aioc_json_decimal_f64(&decimal, out);
}

static bool aioc_json_get_bool(aiocosmos_json value, bool *out)
{
    if (value.type != AIOCOSMOS_JSON_BOOL) return false;
    *out = *value.ptr == 't';
    return true;
}

/* Copies what still fits behind what is there, and counts all. */
static size_t aioc_json_copy(char *buf, size_t cap, size_t len, const char *bytes, size_t size)
{
    if (len < cap) memcpy(buf + len, bytes, size < cap - len ? size : cap - len);
    return len + size;
}

static size_t aioc_json_get_str(aiocosmos_json value, char *buf, size_t cap)
{
    const char *at, *end;
    size_t len = 0, cut;
    if (value.type != AIOCOSMOS_JSON_STR) return SIZE_MAX;
    at = value.ptr + 1;
    end = value.ptr + value.len - 1;
    while (at < end) {
        const char *plain = at;
        char character[4];
        if (*at == '\\') {
            size_t size = aioc_json_unescape(&at, end, character);
            len = aioc_json_copy(buf, cap, len, character, size);
        } else {
            at = (const char *)memchr(plain, '\\', (size_t)(end - plain));
            if (!at) at = end;
            len = aioc_json_copy(buf, cap, len, plain, (size_t)(at - plain));
        }
    }
    if (cap == 0) return len;
    cut = len < cap ? len : cap - 1;
    /* A cut never parts the bytes of a character. */
    while (len >= cap && cut > 0 && aioc_json_is_tail(buf + cut)) cut--;
    buf[cut] = '\0';
    return len;
}

static bool aioc_json_is_str(aiocosmos_json value, const char *text)
{
    return value.type == AIOCOSMOS_JSON_STR && text && aioc_json_means(value, aioc_memory_str(text), false);
}

/*------------------------------------------------------------------------------
 * Writing: into a buffer that grows, or, without a memory, into one that does not
 *----------------------------------------------------------------------------*/

static bool aioc_json_append(aioc_memory *memory, aioc_memory_buffer *buffer, const void *bytes, size_t len)
{
    if (memory) return aioc_memory_append(memory, buffer, bytes, len);
    if (len > buffer->cap - buffer->len) return false;
    memcpy(buffer->data + buffer->len, bytes, len);
    buffer->len += len;
    return true;
}

/* Writes \uXXXX and returns its length, 6. */
static size_t aioc_json_hex_put(uint32_t unit, char *out)
{
    static const char digits[] = "0123456789abcdef";
    int i;
    out[0] = '\\';
    out[1] = 'u';
    for (i = 0; i < 4; i++) out[2 + i] = digits[unit >> (12 - 4 * i) & 15];
    return 6;
}

/* Writes the escape of a character and returns its length. */
static size_t aioc_json_escape(uint32_t code, char out[12])
{
    static const char names[] = "\"\\bfnrt", meant[] = "\"\\\b\f\n\r\t";
    const char *found = code > 0 && code < 0x80 ? strchr(meant, (int)code) : NULL;
    if (found) {
        out[0] = '\\';
        out[1] = names[found - meant];
        return 2;
    }
    if (code < 0x10000) return aioc_json_hex_put(code, out);
    aioc_json_hex_put(0xD800 + ((code - 0x10000) >> 10), out);
    return 6 + aioc_json_hex_put(0xDC00 + ((code - 0x10000) & 0x3FF), out + 6);
}

/* Behind what can be written as it is. DEL is a character like others in JSON, but not in a header value. */
static const char *aioc_json_skip_writable(const char *at, const char *end, bool ascii)
{
    if (ascii) {
        while (at < end && aioc_json_is_plain(*at) && *at != 0x7F) at++;
        return at;
    }
    for (;;) {
        size_t size;
        at = aioc_json_skip_plain(at, end);
        size = at < end && (unsigned char)*at >= 0x80 ? aioc_json_utf8_len(at, end) : 0;
        if (size == 0) return at;
        at += size;
    }
}

/* Appends "text". ascii: all from U+007F up is escaped, for header values. False: the text is not UTF-8, or there is
 * no room; then nothing is appended. */
static bool aioc_json_append_string(aioc_memory *memory, aioc_memory_buffer *buffer, const char *text, size_t len,
                                    bool ascii)
{
    const char *at = len > 0 ? text : "", *end = at + len;
    size_t before = buffer->len;
    bool ok = aioc_json_append(memory, buffer, "\"", 1);
    while (ok && at < end) {
        const char *plain = at;
        char escape[12];
        size_t size;
        at = aioc_json_skip_writable(at, end, ascii);
        ok = aioc_json_append(memory, buffer, plain, (size_t)(at - plain));
        if (!ok || at == end) break;
        size = aioc_json_utf8_len(at, end);
        ok = size > 0 && aioc_json_append(memory, buffer, escape,
                                          aioc_json_escape(aioc_json_utf8_code(at, size), escape));
        at += size;
    }
    ok = ok && aioc_json_append(memory, buffer, "\"", 1);
    if (!ok) buffer->len = before;
    return ok;
}

/* Appends JSON text as it is, once it is checked. ascii: on one line, too. */
static bool aioc_json_append_json(aioc_memory *memory, aioc_memory_buffer *buffer, const char *text, size_t len,
                                  bool ascii, uint32_t depth_max)
{
    const char *at = text, *end = text + len;
    size_t before = buffer->len;
    if (aioc_json_check_to(depth_max, text, len, aioc_memory_str(NULL), NULL, NULL, NULL) != 0) return false;
    if (!ascii) return aioc_json_append(memory, buffer, text, len);
    while (at < end) {
        char piece[12] = " ";
        size_t size = aioc_json_utf8_len(at, end), put = 1;
        if ((unsigned char)*at >= 0x7F) put = aioc_json_escape(aioc_json_utf8_code(at, size), piece);
        else if (*at > ' ') *piece = *at;
        if (!aioc_json_append(memory, buffer, piece, put)) {
            buffer->len = before;
            return false;
        }
        at += size;
    }
    return true;
}

static bool aioc_json_append_value_to(uint32_t depth_max, aioc_memory *memory, aioc_memory_buffer *buffer,
                                      const aiocosmos_value *value, bool ascii)
{
    char number[AIOC_JSON_NUMBER_MAX];
    size_t len;
    switch (value->type) {
    case AIOCOSMOS_STR: return aioc_json_append_string(memory, buffer, value->str, value->len, ascii);
    case AIOCOSMOS_F64:
        len = aioc_json_number_write(value->f64, number);
        return len > 0 && aioc_json_append(memory, buffer, number, len);
    case AIOCOSMOS_I64: return aioc_json_append(memory, buffer, number, aioc_json_i64_write(value->i64, number));
    case AIOCOSMOS_BOOL: return aioc_json_append(memory, buffer, value->i64 ? "true" : "false", value->i64 ? 4 : 5);
    case AIOCOSMOS_NULL: return aioc_json_append(memory, buffer, "null", 4);
    case AIOCOSMOS_NONE: return aioc_json_append(memory, buffer, "{}", 2);
    case AIOCOSMOS_JSON: return aioc_json_append_json(memory, buffer, value->str, value->len, ascii, depth_max);
    default: return false;
    }
}

/* Appends any value but an unset one; what is none becomes {}, as keys have it. False: the value is not JSON
 * (infinite, not UTF-8, ...), or there is no room; then nothing is appended. */
static bool aioc_json_append_value(aioc_memory *memory, aioc_memory_buffer *buffer, const aiocosmos_value *value,
                                   bool ascii)
{
    return aioc_json_append_value_to(AIOC_JSON_DEPTH_MAX, memory, buffer, value, ascii);
}

/*--- The writer: checks what it is told, step by step -------------------------*/

static void aioc_json_jw_init(aiocosmos_jw *w, char *buf, size_t cap)
{
    memset(w, 0, sizeof *w);
    w->buf = buf;
    w->cap = cap;
    w->failed = cap == 0;
}

static bool aioc_json_jw_in_object(const aiocosmos_jw *w)
{
    uint32_t level = w->depth - 1;
    return w->depth > 0 && (w->stack[level / 64] >> level % 64 & 1) != 0;
}

/* The caller's buffer, less the room for the final NUL. */
static aioc_memory_buffer aioc_json_jw_buffer(const aiocosmos_jw *w)
{
    aioc_memory_buffer buffer;
    buffer.data = w->buf;
    buffer.len = w->len;
    buffer.cap = w->cap > 0 ? w->cap - 1 : 0;
    return buffer;
}

/* What stands before a value: the comma and the name that belong there, and no others. */
static bool aioc_json_jw_begin(const aiocosmos_jw *w, aioc_memory_buffer *buffer, const char *key)
{
    if (w->failed || (w->depth == 0 && w->some) || (key != NULL) != aioc_json_jw_in_object(w)) return false;
    if (w->some && !aioc_json_append(NULL, buffer, ",", 1)) return false;
    return !key || (aioc_json_append_string(NULL, buffer, key, strlen(key), false) &&
                    aioc_json_append(NULL, buffer, ":", 1));
}

/* Keeps what was written; after a failure nothing is written any more. */
static void aioc_json_jw_keep(aiocosmos_jw *w, const aioc_memory_buffer *buffer, bool ok)
{
    if (ok) w->len = buffer->len;
    else w->failed = true;
    w->some = true;
}

static void aioc_json_jw_container(aiocosmos_jw *w, const char *key, bool object)
{
    aioc_memory_buffer buffer = aioc_json_jw_buffer(w);
    uint64_t bit = UINT64_C(1) << w->depth % 64;
    bool ok = w->depth < AIOC_JSON_DEPTH_MAX && aioc_json_jw_begin(w, &buffer, key) &&
              aioc_json_append(NULL, &buffer, object ? "{" : "[", 1);
    aioc_json_jw_keep(w, &buffer, ok);
    if (!ok) return;
    if (object) w->stack[w->depth / 64] |= bit;
    else w->stack[w->depth / 64] &= ~bit;
    w->depth++;
    w->some = false;
}

static void aioc_json_jw_object(aiocosmos_jw *w, const char *key)
{
    aioc_json_jw_container(w, key, true);
}

static void aioc_json_jw_array(aiocosmos_jw *w, const char *key)
{
    aioc_json_jw_container(w, key, false);
}

/* A value that is none stands for a missing property: in a text that is a mistake. */
static void aioc_json_jw_value(aiocosmos_jw *w, const char *key, aiocosmos_value value)
{
    aioc_memory_buffer buffer = aioc_json_jw_buffer(w);
    bool ok = value.type != AIOCOSMOS_NONE && aioc_json_jw_begin(w, &buffer, key) &&
              aioc_json_append_value_to(AIOC_JSON_DEPTH_MAX - w->depth, NULL, &buffer, &value, false);
    aioc_json_jw_keep(w, &buffer, ok);
}

static void aioc_json_jw_str(aiocosmos_jw *w, const char *key, const char *text)
{
    aiocosmos_value value;
    memset(&value, 0, sizeof value);
    value.type = text ? AIOCOSMOS_STR : AIOCOSMOS_UNSET;
    value.str = text;
    value.len = text ? strlen(text) : 0;
    aioc_json_jw_value(w, key, value);
}

static void aioc_json_jw_i64(aiocosmos_jw *w, const char *key, int64_t number)
{
    aiocosmos_value value;
    memset(&value, 0, sizeof value);
    value.type = AIOCOSMOS_I64;
    value.i64 = number;
    aioc_json_jw_value(w, key, value);
}

static void aioc_json_jw_f64(aiocosmos_jw *w, const char *key, double number)
{
    aiocosmos_value value;
    memset(&value, 0, sizeof value);
    value.type = AIOCOSMOS_F64;
    value.f64 = number;
    aioc_json_jw_value(w, key, value);
}

static void aioc_json_jw_bool(aiocosmos_jw *w, const char *key, bool truth)
{
    aiocosmos_value value;
    memset(&value, 0, sizeof value);
    value.type = AIOCOSMOS_BOOL;
    value.i64 = truth;
    aioc_json_jw_value(w, key, value);
}

static void aioc_json_jw_end(aiocosmos_jw *w)
{
    aioc_memory_buffer buffer = aioc_json_jw_buffer(w);
    bool ok = !w->failed && w->depth > 0 && aioc_json_append(NULL, &buffer, aioc_json_jw_in_object(w) ? "}" : "]", 1);
    if (ok) w->depth--;
    aioc_json_jw_keep(w, &buffer, ok);
}

static aiocosmos_str aioc_json_jw_finish(aiocosmos_jw *w)
{
    aiocosmos_str text = aioc_memory_str("");
    if (w->depth > 0 || !w->some) w->failed = true;
    if (w->cap > 0) w->buf[w->failed ? 0 : w->len] = '\0';
    if (w->failed) return text;
    text.ptr = w->buf;
    text.len = w->len;
    return text;
}
/*==============================================================================
 * MARK: - Auth                                                           >>auth
 *
 * Who we are, in the form that the service wants: a signature of the account
 * key over verb, resource and date, or a token that the host gave. And what
 * that needs: dates, base64, percent-encoding, connection strings.
 *
 * May call: memory, BearSSL's HMAC.    Knows nothing of: HTTP, JSON, clocks.
 *============================================================================*/

#define AIOC_AUTH_KEY_BYTES_MAX 256          /* decoded; the service's keys have 64 */
#define AIOC_AUTH_TOKEN_MAX     16384        /* as a header value; the service takes no longer one */
#define AIOC_AUTH_TOKENS_MAX    64
#ifndef AIOC_AUTH_WAYS
#define AIOC_AUTH_WAYS          4            /* slots that one signature may be in */
#endif
#ifndef AIOC_AUTH_SLOTS
#define AIOC_AUTH_SLOTS         64           /* signatures kept, 25 KiB; a multiple of AIOC_AUTH_WAYS */
#endif
#ifndef AIOC_AUTH_TEXT_MAX
#define AIOC_AUTH_TEXT_MAX      222          /* verb, type and link of a signature that is kept */
#endif

/*--- Dates: IMF-fixdate of RFC 9110, 5.6.7, in English whatever the locale -----*/

#define AIOC_AUTH_DATE_LEN  29
#define AIOC_AUTH_DATE_LAST INT64_C(253402300799)                          /* 9999-12-31T23:59:59Z */

static const char aioc_auth_weekdays[] = "ThuFriSatSunMonTueWed";         /* 1970-01-01 was a Thursday */
static const char aioc_auth_months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

typedef struct aioc_auth_civil { uint32_t year, month, day; } aioc_auth_civil;

/* Years are taken to begin with March, so that the leap day is a year's last. This is the day on which one begins,
 * and day 0 is March 1 of the year 0 of the Gregorian rule; 1970-01-01 is day 719468. */
static uint32_t aioc_auth_march_first(uint32_t year)
{
    return 365u * year + year / 4u - year / 100u + year / 400u;
}

/* From March on the lengths of months repeat as 31 30 31 30 31: 153 days in five months. */
static uint32_t aioc_auth_days_of(aioc_auth_civil date)
{
    bool     early = date.month <= 2;
    uint32_t month = early ? date.month + 9u : date.month - 3u;
    return aioc_auth_march_first(date.year - (early ? 1u : 0u)) + (153u * month + 2u) / 5u + date.day - 1u - 719468u;
}

static aioc_auth_civil aioc_auth_civil_of(uint32_t days)
{
    aioc_auth_civil date;
    uint32_t month;
    days += 719468u;
    date.year = (uint32_t)((uint64_t)days * 400u / 146097u);               /* right, or one too small */
    if (aioc_auth_march_first(date.year + 1u) <= days) date.year++;
    days -= aioc_auth_march_first(date.year);
    month = (5u * days + 2u) / 153u;
    date.day = days - (153u * month + 2u) / 5u + 1u;
    date.month = month < 10u ? month + 3u : month - 9u;
    if (month >= 10u) date.year++;
    return date;
}

static char *aioc_auth_put_number(char *out, uint32_t number, size_t digits)
{
    size_t i;
    for (i = digits; i > 0; i--, number /= 10u) out[i - 1] = (char)('0' + number % 10u);
    return out + digits;
}

static char *aioc_auth_put_text(char *out, const char *text, size_t len)
{
    memcpy(out, text, len);
    return out + len;
}

/* "Sat, 21 Nov 2026 02:31:44 GMT". Times before 1970 and after 9999 become the nearest that can be written. */
static void aioc_auth_date(char out[AIOC_AUTH_DATE_LEN + 1], int64_t wall_s)
{
    uint32_t days, second;
    aioc_auth_civil date;
    if (wall_s < 0) wall_s = 0;
    if (wall_s > AIOC_AUTH_DATE_LAST) wall_s = AIOC_AUTH_DATE_LAST;
    days = (uint32_t)(wall_s / 86400);
    second = (uint32_t)(wall_s % 86400);
    date = aioc_auth_civil_of(days);
    out = aioc_auth_put_text(out, aioc_auth_weekdays + 3u * (days % 7u), 3);
    out = aioc_auth_put_text(out, ", ", 2);
    out = aioc_auth_put_number(out, date.day, 2);
    *out++ = ' ';
    out = aioc_auth_put_text(out, aioc_auth_months + 3u * (date.month - 1u), 3);
    *out++ = ' ';
    out = aioc_auth_put_number(out, date.year, 4);
    *out++ = ' ';
    out = aioc_auth_put_number(out, second / 3600u, 2);
    *out++ = ':';
    out = aioc_auth_put_number(out, second / 60u % 60u, 2);
    *out++ = ':';
    out = aioc_auth_put_number(out, second % 60u, 2);
    memcpy(out, " GMT", 5);
}

/* 1 to 12, or 0 */
static uint32_t aioc_auth_month(const char *name)
{
    uint32_t i;
    for (i = 0; i < 12u; i++)
        if (memcmp(aioc_auth_months + 3u * i, name, 3) == 0) return i + 1u;
    return 0;
}

/* Reads a date by its pattern: each of "YDhms" is one digit of that field, 'N' the name of a month, 'w' some letters,
 * '_' a blank or a digit of the day; everything else stands for itself. */
static bool aioc_auth_scan_date(aiocosmos_str text, const char *pattern, uint32_t field[6])
{
    static const char fields[] = "YNDhms";
    size_t at = 0;
    memset(field, 0, 6 * sizeof *field);
    for (; *pattern; pattern++) {
        const char *known = strchr(fields, *pattern == '_' ? 'D' : *pattern);
        if (*pattern == 'w') {
            size_t start = at;
            while (at < text.len && (text.ptr[at] | 32) >= 'a' && (text.ptr[at] | 32) <= 'z') at++;
            if (at == start) return false;
        } else if (*pattern == 'N') {
            if (text.len - at < 3 || (field[1] = aioc_auth_month(text.ptr + at)) == 0) return false;
            at += 3;
        } else {
            char c = at < text.len ? text.ptr[at++] : '\0';
            bool digit = known && c >= '0' && c <= '9';
            if (digit) field[known - fields] = field[known - fields] * 10u + (uint32_t)(c - '0');
            else if (c != (*pattern == '_' ? ' ' : *pattern) || (known && *pattern != '_')) return false;
        }
    }
    return at == text.len;
}

/* The three forms that a recipient must accept (RFC 9110, 5.6.7). The weekday is not compared with the date. */
static bool aioc_auth_parse_date(aiocosmos_str text, int64_t *wall_s)
{
    uint32_t field[6];
    aioc_auth_civil date;
    if (!aioc_auth_scan_date(text, "w, DD N YYYY hh:mm:ss GMT", field) &&
        !aioc_auth_scan_date(text, "w N _D hh:mm:ss YYYY", field)) {
        if (!aioc_auth_scan_date(text, "w, DD-N-YY hh:mm:ss GMT", field)) return false;
        field[0] += field[0] < 70u ? 2000u : 1900u;
    }
    date.year = field[0];
    date.month = field[1];
    date.day = field[2];
    if (date.year < 1970u || date.day < 1u || date.day > 31u) return false;
    if (aioc_auth_civil_of(aioc_auth_days_of(date)).day != date.day) return false;            /* April 31 is May 1 */
    if (field[3] > 23u || field[4] > 59u || field[5] > 60u) return false;  /* 60: a leap second */
    *wall_s = (int64_t)aioc_auth_days_of(date) * 86400 + (int64_t)(field[3] * 3600u + field[4] * 60u + field[5]);
    return true;
}

/*--- Base64 (RFC 4648, 4) and percent-encoding (RFC 3986, 2.1) ------------------*/

/* Writes four characters for every three bytes begun, and no NUL; returns how many characters. */
static size_t aioc_auth_base64_encode(const void *data, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *byte = (const unsigned char *)data;
    char *start = out;
    for (; len > 0; byte += 3, out += 4) {
        uint32_t bits = (uint32_t)byte[0] << 16 | (len > 1 ? (uint32_t)byte[1] << 8 : 0u) | (len > 2 ? byte[2] : 0u);
        out[0] = digits[bits >> 18];
        out[1] = digits[bits >> 12 & 63u];
        out[2] = len > 1 ? digits[bits >> 6 & 63u] : '=';
        out[3] = len > 2 ? digits[bits & 63u] : '=';
        len -= len < 3 ? len : 3;
    }
    return (size_t)(out - start);
}

static int aioc_auth_base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* False: *error_at is the character that cannot be there, or the end of the text where it stops too early. */
static bool aioc_auth_base64_decode(aiocosmos_str text, unsigned char *out, size_t cap, size_t *len, size_t *error_at)
{
    size_t i, digits = text.len;
    uint32_t bits = 0;
    *len = 0;
    while (digits > 0 && text.len - digits < 2 && text.ptr[digits - 1] == '=') digits--;
    for (i = 0; i < digits; i++) {
        int digit = aioc_auth_base64_digit(text.ptr[i]);
        *error_at = i;
        if (digit < 0) return false;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 == 0) continue;
        if (*len == cap) return false;
        out[(*len)++] = (unsigned char)(bits >> (6 - 2 * (i % 4)) & 255u);
    }
    *error_at = text.len;
    return text.len % 4 == 0;
}

static bool aioc_auth_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

/* out has room for 3 * text.len; no NUL is written. Returns how many characters are. */
static size_t aioc_auth_percent_encode(aiocosmos_str text, char *out)
{
    static const char hex[] = "0123456789ABCDEF";
    char *start = out;
    size_t i;
    for (i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (aioc_auth_unreserved(c)) {
            *out++ = c;
        } else {
            *out++ = '%';
            *out++ = hex[(unsigned char)c >> 4];
            *out++ = hex[(unsigned char)c & 15];
        }
    }
    return (size_t)(out - start);
}

/*--- Account key and signatures --------------------------------------------------*/

/* HMAC's two keyed states, made once: a signature then costs three or four blocks of SHA-256 instead of two more. */
typedef struct aioc_auth_key { br_hmac_key_context schedule; } aioc_auth_key;

/* 0; E_ARGUMENT, *error_at as base64_decode says, and the key stays as it was. */
static int aioc_auth_key_set(aioc_auth_key *key, aiocosmos_str base64, size_t *error_at)
{
    unsigned char bytes[AIOC_AUTH_KEY_BYTES_MAX];
    size_t len;
    bool ok = aioc_auth_base64_decode(base64, bytes, sizeof bytes, &len, error_at) && len > 0;
    if (ok) br_hmac_key_init(&key->schedule, &br_sha256_vtable, bytes, len);
    aioc_memory_wipe(bytes, sizeof bytes);
    return ok ? 0 : AIOCOSMOS_E_ARGUMENT;
}

#define AIOC_AUTH_VALUE_PREFIX "type%3Dmaster%26ver%3D1.0%26sig%3D"
#define AIOC_AUTH_VALUE_MAX    (sizeof AIOC_AUTH_VALUE_PREFIX - 1 + 3 * 44)

/* A signature of one second. `text` is the string to sign as far as its link, which says all that it depends on. */
typedef struct aioc_auth_slot {
    int64_t  second;
    uint16_t text_len;                       /* 0: the slot is empty */
    uint16_t value_len;
    char     text[AIOC_AUTH_TEXT_MAX];
    char     value[AIOC_AUTH_VALUE_MAX];
} aioc_auth_slot;

/* Zeroed: has no key, signs nothing. */
typedef struct aioc_auth_signer {
    aioc_auth_key key;
    bool     has_key;
    int64_t  second;                         /* of the date text; there is none while date[0] is 0 */
    uint64_t computed;                       /* signatures that were not in a slot */
    size_t   last;                           /* the slot of the last answer: bulk writes ask for it again and again */
    char     date[AIOC_AUTH_DATE_LEN + 1];
    char     signed_date[AIOC_AUTH_DATE_LEN + 2];  /* in lower case, with the two line feeds that end the text */
    char     value[AIOC_AUTH_VALUE_MAX];     /* a signature whose link is too long for a slot */
    aioc_auth_slot slots[AIOC_AUTH_SLOTS];
} aioc_auth_signer;

/* 0; E_ARGUMENT and the old key stays. Signatures of the old key are forgotten. */
static int aioc_auth_signer_set_key(aioc_auth_signer *signer, aiocosmos_str base64, size_t *error_at)
{
    int status = aioc_auth_key_set(&signer->key, base64, error_at);
    if (status < 0) return status;
    signer->has_key = true;
    memset(signer->slots, 0, sizeof signer->slots);
    return 0;
}

static void aioc_auth_signer_wipe(aioc_auth_signer *signer)
{
    aioc_memory_wipe(signer, sizeof *signer);
}

/* The value of x-ms-date; lent until the next call. */
static aiocosmos_str aioc_auth_signer_date(aioc_auth_signer *signer, int64_t wall_s)
{
    aiocosmos_str date;
    if (signer->date[0] == 0 || signer->second != wall_s) {
        size_t i;
        aioc_auth_date(signer->date, wall_s);
        for (i = 0; i < AIOC_AUTH_DATE_LEN; i++) signer->signed_date[i] = aioc_memory_lower(signer->date[i]);
        memset(signer->signed_date + AIOC_AUTH_DATE_LEN, '\n', 2);
        signer->second = wall_s;
    }
    date.ptr = signer->date;
    date.len = AIOC_AUTH_DATE_LEN;
    return date;
}

/* The service's rule: lower(verb) LF lower(type) LF link LF lower(x-ms-date) LF LF, with the link as it is named, not
 * as it is percent-encoded in the path. `head` is all of that before the link. */
static size_t aioc_auth_compute(aioc_auth_signer *signer, const char *head, size_t head_len, aiocosmos_str link,
                                char *value)
{
    const size_t prefix = sizeof AIOC_AUTH_VALUE_PREFIX - 1;
    br_hmac_context hmac;
    unsigned char mac[br_sha256_SIZE];
    char text[44];
    aiocosmos_str base64;
    br_hmac_init(&hmac, &signer->key.schedule, 0);
    br_hmac_update(&hmac, head, head_len);
    br_hmac_update(&hmac, link.ptr, link.len);
    br_hmac_update(&hmac, "\n", 1);
    br_hmac_update(&hmac, signer->signed_date, sizeof signer->signed_date);
    br_hmac_out(&hmac, mac);
    base64.ptr = text;
    base64.len = aioc_auth_base64_encode(mac, sizeof mac, text);
    signer->computed++;
    memcpy(value, AIOC_AUTH_VALUE_PREFIX, prefix);
    return prefix + aioc_auth_percent_encode(base64, value + prefix);
}

/* The slot that holds the text for this second; or, with text_len 0, the one to take for it. */
static aioc_auth_slot *aioc_auth_find_slot(aioc_auth_signer *signer, const char *text, size_t len)
{
    aioc_auth_slot *set, *victim = NULL;
    uint32_t hash = 2166136261u;                                           /* FNV-1a */
    size_t i;
    for (i = 0; i < len; i++) hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    hash ^= hash >> 15;
    set = &signer->slots[hash % (AIOC_AUTH_SLOTS / AIOC_AUTH_WAYS) * AIOC_AUTH_WAYS];
    for (i = 0; i < AIOC_AUTH_WAYS; i++) {
        if (set[i].text_len == 0 || set[i].second != signer->second) victim = &set[i];
        else if (set[i].text_len == len && memcmp(set[i].text, text, len) == 0) return &set[i];
    }
    if (!victim) victim = &set[signer->computed % AIOC_AUTH_WAYS];
    victim->text_len = 0;
    return victim;
}

static size_t aioc_auth_put_line(char *out, const char *text)
{
    size_t i;
    for (i = 0; text[i]; i++) out[i] = aioc_memory_lower(text[i]);
    out[i] = '\n';
    return i + 1;
}

/* The whole authorization header value; lent until the next call, empty without a key. The same verb, type, link and
 * second is computed once while it has a slot. Verb and type are ours, and short. */
static aiocosmos_str aioc_auth_sign(aioc_auth_signer *signer, const char *verb, const char *type, aiocosmos_str link,
                                    int64_t wall_s)
{
    char text[AIOC_AUTH_TEXT_MAX];
    aioc_auth_slot *slot = &signer->slots[signer->last];
    aiocosmos_str value = {NULL, 0};
    size_t head, len;
    AIOCOSMOS_ASSERT(strlen(verb) + strlen(type) + 2 <= sizeof text);
    if (!signer->has_key) return value;
    aioc_auth_signer_date(signer, wall_s);
    head = aioc_auth_put_line(text, verb);
    head += aioc_auth_put_line(text + head, type);
    if (link.len > sizeof text - head) {
        value.ptr = signer->value;
        value.len = aioc_auth_compute(signer, text, head, link, signer->value);
        return value;
    }
    len = head + link.len;
    if (link.len) memcpy(text + head, link.ptr, link.len);
    if (slot->second != wall_s || slot->text_len != len || memcmp(slot->text, text, len) != 0) {
        slot = aioc_auth_find_slot(signer, text, len);
        signer->last = (size_t)(slot - signer->slots);
    }
    if (slot->text_len == 0) {
        slot->value_len = (uint16_t)aioc_auth_compute(signer, text, head, link, slot->value);
        memcpy(slot->text, text, len);
        slot->text_len = (uint16_t)len;
        slot->second = wall_s;
    }
    value.ptr = slot->value;
    value.len = slot->value_len;
    return value;
}

/*--- Tokens that the host gave -----------------------------------------------------*/

typedef struct aioc_auth_token {
    char    *text;                           /* link, then header value, in one block */
    uint32_t link_len, value_len;            /* value_len 0: the host said that there is none */
    uint64_t expires_us;
} aioc_auth_token;

typedef struct aioc_auth_tokens { uint32_t count; aioc_auth_token token[AIOC_AUTH_TOKENS_MAX]; } aioc_auth_tokens;

static void aioc_auth_token_drop(aioc_memory *memory, aioc_auth_token *token)
{
    size_t size = (size_t)token->link_len + token->value_len + 1u;
    if (token->text) aioc_memory_wipe(token->text, size);
    aioc_memory_free(memory, token->text, size);
    memset(token, 0, sizeof *token);
}

static void aioc_auth_tokens_wipe(aioc_auth_tokens *tokens, aioc_memory *memory)
{
    while (tokens->count > 0) aioc_auth_token_drop(memory, &tokens->token[--tokens->count]);
}

static aiocosmos_str aioc_auth_trim(aiocosmos_str text, const char *what)
{
    while (text.len > 0 && strchr(what, text.ptr[0]) && text.ptr[0]) text.ptr++, text.len--;
    while (text.len > 0 && strchr(what, text.ptr[text.len - 1]) && text.ptr[text.len - 1]) text.len--;
    return text;
}

/* Writes the header value of a token: a resource token as it is, or as its permission gave it when it is encoded
 * already; anything else is taken for the JWT of Entra. `out` NULL: only counts. 0: this cannot be a token. */
static size_t aioc_auth_token_value(aiocosmos_str token, char *out)
{
    static const char aad[] = "type%3Daad%26ver%3D1.0%26sig%3D";
    bool   encoded = token.len > 7 && memcmp(token.ptr, "type%3", 6) == 0 && (token.ptr[6] | 32) == 'd';
    bool   resource = encoded || (token.len > 5 && memcmp(token.ptr, "type=", 5) == 0);
    size_t i, len = resource ? 0 : sizeof aad - 1;
    if (token.len == 0) return 0;
    if (out) memcpy(out, aad, len);
    for (i = 0; i < token.len; i++) {
        aiocosmos_str one;
        char room[3];
        size_t size = 1;
        one.ptr = token.ptr + i;
        one.len = 1;
        if (*one.ptr <= ' ' || *one.ptr > '~') return 0;       /* bytes above 127 too, whether char is signed or not */
        if (encoded) room[0] = *one.ptr;
        else size = aioc_auth_percent_encode(one, room);
        if (len + size > AIOC_AUTH_TOKEN_MAX) return 0;
        if (out) memcpy(out + len, room, size);
        len += size;
    }
    return len;
}

/* A place for one more token: a free one, or else that of the token that ends first. NULL: none of them ever ends. */
static aioc_auth_token *aioc_auth_token_place(aioc_auth_tokens *tokens)
{
    aioc_auth_token *first = &tokens->token[0];
    uint32_t i;
    if (tokens->count < AIOC_AUTH_TOKENS_MAX) return &tokens->token[tokens->count];
    for (i = 1; i < tokens->count; i++)
        if (tokens->token[i].expires_us < first->expires_us) first = &tokens->token[i];
    return first->expires_us == UINT64_MAX ? NULL : first;
}

/* token NULL: there is none for this link, until it expires too. expires_us UINT64_MAX: never. 0; E_ARGUMENT: this is
 * no token; E_NOMEM: no memory, or 64 tokens are held that never expire. On failure what the link had stays. */
static int aioc_auth_tokens_set(aioc_auth_tokens *tokens, aioc_memory *memory, aiocosmos_str link, const char *token,
                                uint64_t expires_us)
{
    aiocosmos_str text = aioc_auth_trim(aioc_memory_str(token), " \t\r\n");
    size_t value_len = aioc_auth_token_value(text, NULL);
    aioc_auth_token *place = NULL;
    char *block;
    uint32_t i;
    link = aioc_auth_trim(link, "/");
    if ((token && value_len == 0) || link.len > 4096) return AIOCOSMOS_E_ARGUMENT;
    for (i = 0; i < tokens->count && !place; i++) {
        aiocosmos_str held;
        held.ptr = tokens->token[i].text;
        held.len = tokens->token[i].link_len;
        if (aioc_memory_same(held, link)) place = &tokens->token[i];
    }
    if (!place) place = aioc_auth_token_place(tokens);
    if (!place) return AIOCOSMOS_E_NOMEM;
    block = (char *)aioc_memory_alloc(memory, link.len + value_len + 1);
    if (!block) return AIOCOSMOS_E_NOMEM;
    if (place == &tokens->token[tokens->count]) tokens->count++;
    else aioc_auth_token_drop(memory, place);
    if (link.len) memcpy(block, link.ptr, link.len);
    aioc_auth_token_value(text, block + link.len);
    place->text = block;
    place->link_len = (uint32_t)link.len;
    place->value_len = (uint32_t)value_len;
    place->expires_us = expires_us;
    return 0;
}

/* A token covers its own link and all below it; the empty link covers everything. */
static bool aioc_auth_token_covers(const aioc_auth_token *token, aiocosmos_str link)
{
    if (token->link_len == 0) return true;
    return token->link_len <= link.len && memcmp(token->text, link.ptr, token->link_len) == 0 &&
           (token->link_len == link.len || link.ptr[token->link_len] == '/');
}

/* The entry with the longest link that covers this one. Reading the account (the empty link) takes any token, because
 * it only asks where the regions are. */
static const aioc_auth_token *aioc_auth_tokens_best(const aioc_auth_tokens *tokens, aiocosmos_str link, uint64_t now_us)
{
    const aioc_auth_token *best = NULL;
    uint32_t i;
    for (i = 0; i < tokens->count; i++) {
        const aioc_auth_token *token = &tokens->token[i];
        bool covers = link.len ? aioc_auth_token_covers(token, link) : token->link_len == 0 || token->value_len > 0;
        if (!covers || now_us >= token->expires_us) continue;
        if (!best || (link.len == 0 ? best->value_len == 0 : token->link_len > best->link_len)) best = token;
    }
    return best;
}

/* False: no token covers the link, and *denied: because the host said so. The value is lent until a token is set. */
static bool aioc_auth_tokens_find(const aioc_auth_tokens *tokens, aiocosmos_str link, uint64_t now_us,
                                  aiocosmos_str *header_value, bool *denied)
{
    const aioc_auth_token *best = aioc_auth_tokens_best(tokens, link, now_us);
    *denied = best && best->value_len == 0;
    if (!best || *denied) return false;
    header_value->ptr = best->text + best->link_len;
    header_value->len = best->value_len;
    return true;
}

/* The service refused the token that covers this link: it is dropped, and the host will be asked for another. */
static void aioc_auth_tokens_forget(aioc_auth_tokens *tokens, aioc_memory *memory, aiocosmos_str link)
{
    aioc_auth_token *refused = (aioc_auth_token *)aioc_auth_tokens_best(tokens, link, 0);
    if (!refused) return;
    aioc_auth_token_drop(memory, refused);
    *refused = tokens->token[--tokens->count];
    memset(&tokens->token[tokens->count], 0, sizeof *refused);
}

/*--- Connection strings ---------------------------------------------------------------*/

typedef struct aioc_auth_connection { aiocosmos_str endpoint, key, insecure; } aioc_auth_connection;

/* Takes one "Name=value" of a connection string. Returns what is wrong with it, or NULL, and then the byte in *at. */
static const char *aioc_auth_connection_part(aioc_auth_connection *out, aiocosmos_str part, const char **at)
{
    aiocosmos_str name = part, value, *place = NULL;
    const char *equals = part.len ? (const char *)memchr(part.ptr, '=', part.len) : NULL;
    *at = part.ptr;
    if (part.len == 0) return NULL;
    if (!equals) return "a part without '='";
    name.len = (size_t)(equals - part.ptr);
    name = aioc_auth_trim(name, " \t\r\n");
    value.ptr = equals + 1;                  /* keys end with '=': only the first one counts */
    value.len = (size_t)(part.ptr + part.len - value.ptr);
    value = aioc_auth_trim(value, " \t\r\n");
    if (aioc_memory_same_nocase(name, aioc_memory_str("AccountEndpoint"))) place = &out->endpoint;
    if (aioc_memory_same_nocase(name, aioc_memory_str("AccountKey"))) place = &out->key;
    if (aioc_memory_same_nocase(name, aioc_memory_str("DisableServerCertificateValidation"))) place = &out->insecure;
    if (!place) return NULL;
    if (place->len) return "this name stands twice";
    *at = value.ptr;
    if (value.len == 0) return "a value is missing";
    *place = value;
    return NULL;
}

/* "AccountEndpoint=https://...;AccountKey=...;", the parts in any order, names in any case, other parts ignored. 0, and
 * views into the text; or E_ARGUMENT with *error and the byte *error_at. */
static int aioc_auth_connection_string(aiocosmos_str text, aiocosmos_str *endpoint, aiocosmos_str *key, bool *insecure,
                                       const char **error, size_t *error_at)
{
    aioc_auth_connection found;
    size_t start, end;
    const char *at = text.ptr;
    *error = NULL;
    memset(&found, 0, sizeof found);
    for (start = 0; start < text.len && !*error; start = end + 1) {
        aiocosmos_str part;
        for (end = start; end < text.len && text.ptr[end] != ';'; end++) continue;
        part.ptr = text.ptr + start;
        part.len = end - start;
        *error = aioc_auth_connection_part(&found, aioc_auth_trim(part, " \t\r\n"), &at);
    }
    *insecure = aioc_memory_same_nocase(found.insecure, aioc_memory_str("true"));
    if (!*error && found.insecure.len && !*insecure &&
        !aioc_memory_same_nocase(found.insecure, aioc_memory_str("false"))) {
        *error = "DisableServerCertificateValidation is neither true nor false";
        at = found.insecure.ptr;
    }
    *error_at = *error ? (size_t)(at - text.ptr) : text.len;
    if (!*error && !found.endpoint.len) *error = "AccountEndpoint is missing";
    if (!*error && !found.key.len) *error = "AccountKey is missing";
    *endpoint = found.endpoint;
    *key = found.key;
    return *error ? AIOCOSMOS_E_ARGUMENT : 0;
}

/*==============================================================================
 * MARK: - Resolve                                                    >>resolve
 *
 * Host names to addresses, without blocking and without a thread: literal addresses, localhost (RFC 6761), then the
 * host's hook or else the hosts file and a stub resolver (RFC 1034, 5.3.1) on the reactor. Answers are kept for as long
 * as they say, within limits, and longer when no server answers (RFC 8767). The text and message forms come first and
 * are bytes in, bytes out; then the files, the questions on the wire, the look-up of a name, and the cache.
 *
 * May call: platform, memory.    Knows nothing of: ports, connections, TLS, HTTP.
 *============================================================================*/

#ifndef AIOC_RESOLVE_NAMES_MAX
#  define AIOC_RESOLVE_NAMES_MAX 64u         /* names in the cache; the least recently used is forgotten */
#endif
#define AIOC_RESOLVE_FAMILY_MAX  8u          /* addresses kept of each family */
#define AIOC_RESOLVE_ADDRESSES_MAX (2 * AIOC_RESOLVE_FAMILY_MAX)
#define AIOC_RESOLVE_CHAIN_MAX   16u         /* CNAME records from a name to its addresses */
#define AIOC_RESOLVE_SERVERS_MAX 3u          /* as everywhere: MAXNS of resolv.conf(5) */
#define AIOC_RESOLVE_SEARCH_MAX  6u
#define AIOC_RESOLVE_FILE_MAX    (1u << 20)  /* bytes read of a file */
#define AIOC_RESOLVE_HOSTS_FILE  "/etc/hosts"
#define AIOC_RESOLVE_CONFIG_FILE "/etc/resolv.conf"

/* A server that is silent is not given up when the next is asked: its answer may still come first. All servers twice,
 * and the last wait, take 4 s: less than a connection is given by default, so that its error says what went wrong. */
#define AIOC_RESOLVE_NEXT_US     400000u     /* until the next server is asked */
#define AIOC_RESOLVE_LAST_US     2000000u    /* after the last question; 1 s if resolv.conf says timeout:1 */
#define AIOC_RESOLVE_DELAY_US    50000u      /* for the other family's addresses (RFC 8305, 3: Resolution Delay) */
#define AIOC_RESOLVE_STALE_US    1800000u    /* then an expired answer is used (RFC 8767, 5: client response timer) */
#define AIOC_RESOLVE_HOOK_US     30000000u   /* then the host's hook may be asked the same again */

/* How long answers are kept, in seconds. */
#define AIOC_RESOLVE_TTL_MIN_S   1u
#define AIOC_RESOLVE_TTL_MAX_S   300u        /* an account that fails over moves its name */
#define AIOC_RESOLVE_NEGATIVE_S  5u          /* no such name: it may be about to be created */
#define AIOC_RESOLVE_FAILURE_S   1u          /* nobody could say (RFC 9520, 3.2: at least one second) */
#define AIOC_RESOLVE_HOSTS_S     1u          /* so the hosts file is read at most once a second for each name */
#define AIOC_RESOLVE_RESTALE_S   30u         /* an expired answer that had to be used (RFC 8767, 5) */
#define AIOC_RESOLVE_STALE_MAX_S 86400u      /* it is used for no longer than this (RFC 8767, 5: a day at least) */

/*------------------------------------------------------------------------------
 * Addresses as text
 *----------------------------------------------------------------------------*/

#define AIOC_RESOLVE_ADDRESS_TEXT_MAX 56     /* eight groups of IPv6, a zone as a number, NUL */
#define AIOC_RESOLVE_ZONE_MAX 16             /* a network interface's name and NUL: IFNAMSIZ of Linux and the BSDs */

/* Four decimal numbers. A leading zero means octal to some readers, so nobody may write one (RFC 6943, 3.1.1). */
static bool aioc_resolve_parse_ipv4(aiocosmos_str text, uint8_t ip[4])
{
    size_t at = 0;
    int part;
    for (part = 0; part < 4; part++) {
        unsigned value = 0;
        size_t start;
        if (part > 0 && (at == text.len || text.ptr[at++] != '.')) return false;
        for (start = at; at < text.len && at - start < 3 && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++) {
            value = value * 10 + (unsigned)(text.ptr[at] - '0');
        }
        if (at == start || value > 255 || (at - start > 1 && text.ptr[start] == '0')) return false;
        ip[part] = (uint8_t)value;
    }
    return at == text.len;
}

static int aioc_resolve_hex_digit(char c)
{
    c = aioc_memory_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One group and what separates it from the next; the last may be an IPv4 address (RFC 4291, 2.2). */
static bool aioc_resolve_parse_ipv6_group(aiocosmos_str text, size_t *at, uint8_t ip[16], size_t *filled)
{
    size_t start = *at;
    unsigned value = 0;
    int digit;
    while (*at < text.len && *at - start < 4 && (digit = aioc_resolve_hex_digit(text.ptr[*at])) >= 0) {
        value = value << 4 | (unsigned)digit;
        ++*at;
    }
    if (*at < text.len && text.ptr[*at] == '.') {
        aiocosmos_str tail;
        tail.ptr = text.ptr + start;
        tail.len = text.len - start;
        if (*filled > 12 || !aioc_resolve_parse_ipv4(tail, ip + *filled)) return false;
        *filled += 4;
        *at = text.len;
        return true;
    }
    if (*at == start || *filled > 14) return false;
    aioc_platform_store16be(ip + *filled, value);
    *filled += 2;
    if (*at == text.len) return true;
    return text.ptr[(*at)++] == ':' && *at < text.len;
}

static bool aioc_resolve_parse_ipv6(aiocosmos_str text, uint8_t ip[16])
{
    size_t at = 0, filled = 0, gap = 16;     /* gap: how much was filled where "::" stood */
    memset(ip, 0, 16);
    if (text.len >= 2 && text.ptr[0] == ':' && text.ptr[1] == ':') {
        gap = 0;
        at = 2;
    }
    while (at < text.len) {
        if (!aioc_resolve_parse_ipv6_group(text, &at, ip, &filled)) return false;
        if (at < text.len && text.ptr[at] == ':') {
            if (gap < 16) return false;
            gap = filled;
            at++;
        }
    }
    if (gap == 16) return filled == 16;
    if (filled == 16) return false;          /* "::" stands for one group at least */
    memmove(ip + 16 - (filled - gap), ip + gap, filled - gap);
    memset(ip + gap, 0, 16 - filled);
    return true;
}

/* An address without brackets, port 0. *zone: the name of a network interface (RFC 4007, 11), which only the system
 * can turn into a number; empty if there was none, or a number. */
static bool aioc_resolve_parse_address(aiocosmos_str text, aiocosmos_address *out, aiocosmos_str *zone)
{
    const char *percent = text.len > 0 ? (const char *)memchr(text.ptr, '%', text.len) : NULL;
    uint64_t number;
    memset(out, 0, sizeof *out);
    zone->ptr = "";
    zone->len = 0;
    if (!percent && aioc_resolve_parse_ipv4(text, out->ip)) {
        out->family = 4;
        return true;
    }
    if (percent) {
        zone->ptr = percent + 1;
        zone->len = text.len - (size_t)(zone->ptr - text.ptr);
        text.len = (size_t)(percent - text.ptr);
        if (zone->len == 0 || zone->len >= AIOC_RESOLVE_ZONE_MAX) return false;
        if (aioc_memory_parse_u64(*zone, &number)) {
            if (number > UINT32_MAX) return false;
            out->scope = (uint32_t)number;
            zone->len = 0;
        }
    }
    out->family = 6;
    return aioc_resolve_parse_ipv6(text, out->ip);
}

/* Where the longest run of zero groups starts, two at least, the first of equals (RFC 5952, 4.2). 8: there is none. */
static int aioc_resolve_ipv6_gap(const uint8_t ip[16], int *gap_len)
{
    int start, best = 8;
    *gap_len = 1;
    for (start = 0; start < 8; start++) {
        int end = start;
        while (end < 8 && ip[2 * end] == 0 && ip[2 * end + 1] == 0) end++;
        if (end - start > *gap_len) {
            best = start;
            *gap_len = end - start;
        }
    }
    return best;
}

/* For people: RFC 5952 for IPv6, without brackets, the zone as a number. */
static void aioc_resolve_address_text(const aiocosmos_address *address, char out[AIOC_RESOLVE_ADDRESS_TEXT_MAX])
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *ip = address->ip;
    int gap, gap_len, group, shift;
    if (address->family == 4) {
        aioc_memory_print(out, AIOC_RESOLVE_ADDRESS_TEXT_MAX, "%u.%u.%u.%u", (unsigned)ip[0], (unsigned)ip[1],
                          (unsigned)ip[2], (unsigned)ip[3]);
        return;
    }
    gap = aioc_resolve_ipv6_gap(ip, &gap_len);
    for (group = 0; group < 8; group++) {
        unsigned value = aioc_platform_load16be(ip + 2 * group);
        if (group == gap) {
            *out++ = ':';
            if (gap + gap_len == 8) *out++ = ':';
        }
        if (group >= gap && group < gap + gap_len) continue;
        if (group > 0) *out++ = ':';
        for (shift = value > 0xFFF ? 12 : value > 0xFF ? 8 : value > 0xF ? 4 : 0; shift >= 0; shift -= 4) {
            *out++ = digits[value >> shift & 15];
        }
    }
    *out = '\0';
    if (address->scope) aioc_memory_print(out, 12, "%%%u", (unsigned)address->scope);
}

/* The addresses of one family, each once; those beyond the limit are dropped. */
typedef struct aioc_resolve_set {
    size_t count;
    aiocosmos_address addresses[AIOC_RESOLVE_FAMILY_MAX];
} aioc_resolve_set;

static void aioc_resolve_set_add(aioc_resolve_set *set, const aiocosmos_address *address)
{
    size_t i;
    for (i = 0; i < set->count; i++) {
        if (memcmp(set->addresses[i].ip, address->ip, 16) == 0 && set->addresses[i].scope == address->scope) return;
    }
    if (set->count < AIOC_RESOLVE_FAMILY_MAX) set->addresses[set->count++] = *address;
}

/* The order in which connections are tried: IPv6 first, then in turns (RFC 8305, 4), so that a family that leads
 * nowhere costs one failed try, not many. */
static size_t aioc_resolve_interleave(const aioc_resolve_set *six, const aioc_resolve_set *four,
                                      aiocosmos_address out[AIOC_RESOLVE_ADDRESSES_MAX])
{
    size_t i, count = 0;
    for (i = 0; i < six->count || i < four->count; i++) {
        if (i < six->count) out[count++] = six->addresses[i];
        if (i < four->count) out[count++] = four->addresses[i];
    }
    return count;
}

/*------------------------------------------------------------------------------
 * Names
 *----------------------------------------------------------------------------*/

#define AIOC_RESOLVE_DOMAIN_MAX 255          /* as sent (RFC 1035, 2.3.4) */
#define AIOC_RESOLVE_HOST_MAX   255          /* as text: 253 characters, a last dot, NUL */

/* A name as it is sent: labels behind their lengths, the last one empty (RFC 1035, 3.1). */
typedef struct aioc_resolve_domain {
    size_t len;
    unsigned char labels[AIOC_RESOLVE_DOMAIN_MAX];
} aioc_resolve_domain;

/* Lengths are below 64 and letters above, so one comparison does for both (RFC 4343). */
static bool aioc_resolve_domain_same(const unsigned char *a, const unsigned char *b, size_t len)
{
    size_t i;
    for (i = 0; i < len; i++) {
        if (aioc_memory_lower((char)a[i]) != aioc_memory_lower((char)b[i])) return false;
    }
    return true;
}

/* Appends the labels of a text such as "a.example" or "a.example." and not the empty one. */
static bool aioc_resolve_domain_append(aioc_resolve_domain *domain, aiocosmos_str text)
{
    size_t at, start = 0;
    if (text.len > 0 && text.ptr[text.len - 1] == '.') text.len--;
    for (at = 0; at <= text.len; at++) {
        size_t label = at - start;
        if (at < text.len && text.ptr[at] != '.') continue;
        if (label == 0 || label > 63 || domain->len + label + 2 > AIOC_RESOLVE_DOMAIN_MAX) return false;
        domain->labels[domain->len++] = (unsigned char)label;
        memcpy(domain->labels + domain->len, text.ptr + start, label);
        domain->len += label;
        start = at + 1;
    }
    return true;
}

/* host, below the search domain if that is not empty. False: too long, or an empty label. */
static bool aioc_resolve_domain_make(aioc_resolve_domain *domain, aiocosmos_str host, aiocosmos_str below)
{
    domain->len = 0;
    if (!aioc_resolve_domain_append(domain, host)) return false;
    if (below.len > 0 && !aioc_resolve_domain_append(domain, below)) return false;
    domain->labels[domain->len++] = 0;
    return true;
}

/* Why a text cannot be a host name; NULL: it can. Underscores are no host name's (RFC 952), and common all the same. */
static const char *aioc_resolve_host_wrong(aiocosmos_str host)
{
    aioc_resolve_domain domain;
    size_t i, last = 0;
    for (i = 0; i < host.len; i++) {
        char c = aioc_memory_lower(host.ptr[i]);
        if ((unsigned char)c >= 0x80) return "has letters beyond ASCII: write it as it is registered, with xn--";
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')) {
            return "has a character that no host name has";
        }
        if (c == '.' && i + 1 < host.len) last = i + 1;
    }
    if (!aioc_resolve_domain_make(&domain, host, aioc_memory_str(""))) {
        return "is no host name: a part between dots is empty or over 63 characters, or all of it over 253";
    }
    /* No top-level domain is a number, so this is an IPv4 address with a mistake in it (RFC 3696, 2). */
    for (i = last; i < host.len && ((host.ptr[i] >= '0' && host.ptr[i] <= '9') || host.ptr[i] == '.'); i++) continue;
    return i == host.len ? "is neither an IPv4 address nor a host name" : NULL;
}

/* localhost and what is below it never leave the machine (RFC 6761, 6.3). */
static bool aioc_resolve_host_local(aiocosmos_str host)
{
    aiocosmos_str last = host;
    if (last.len > 0 && last.ptr[last.len - 1] == '.') last.len--;
    if (last.len > 9 && last.ptr[last.len - 10] == '.') {
        last.ptr += last.len - 9;
        last.len = 9;
    }
    return aioc_memory_same_nocase(last, aioc_memory_str("localhost"));
}

/*------------------------------------------------------------------------------
 * The files: hosts(5) and resolv.conf(5)
 *----------------------------------------------------------------------------*/

typedef struct aioc_resolve_config {
    unsigned server_count, search_count;
    unsigned rounds;                                                   /* how often each server is asked */
    uint64_t last_us;                                                  /* for an answer after the last question */
    aiocosmos_address servers[AIOC_RESOLVE_SERVERS_MAX];
    char zones[AIOC_RESOLVE_SERVERS_MAX][AIOC_RESOLVE_ZONE_MAX];       /* "": none, or the address has its number */
    char search[AIOC_RESOLVE_SEARCH_MAX][AIOC_RESOLVE_HOST_MAX];
} aioc_resolve_config;

/* The next line, without its end. False: no more. A NUL ends the text: that much of a file was there. */
static bool aioc_resolve_line(aiocosmos_str *rest, aiocosmos_str *line)
{
    if (rest->len == 0 || rest->ptr[0] == '\0') return false;
    line->ptr = rest->ptr;
    line->len = 0;
    while (line->len < rest->len && rest->ptr[line->len] != '\n' && rest->ptr[line->len] != '\0') line->len++;
    rest->ptr += line->len;
    rest->len -= line->len;
    if (rest->len > 0 && rest->ptr[0] == '\n') {
        rest->ptr++;
        rest->len--;
    }
    return true;
}

static bool aioc_resolve_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* The next word of a line; empty at its end or at a comment. */
static aiocosmos_str aioc_resolve_word(aiocosmos_str *line)
{
    aiocosmos_str word;
    while (line->len > 0 && aioc_resolve_is_blank(line->ptr[0])) {
        line->ptr++;
        line->len--;
    }
    word.ptr = line->ptr;
    word.len = 0;
    if (line->len > 0 && line->ptr[0] == ';') return word;
    while (word.len < line->len && !aioc_resolve_is_blank(word.ptr[word.len]) && word.ptr[word.len] != '#') word.len++;
    line->ptr += word.len;
    line->len -= word.len;
    return word;
}

static bool aioc_resolve_word_is(aiocosmos_str word, const char *text)
{
    return aioc_memory_same(word, aioc_memory_str(text));
}

/* Every address that a hosts file has for a name. Lines with a named zone are left out. */
static void aioc_resolve_parse_hosts(aiocosmos_str text, aiocosmos_str host, aioc_resolve_set *six,
                                     aioc_resolve_set *four)
{
    aiocosmos_str line, word, zone;
    aiocosmos_address address;
    if (host.len > 0 && host.ptr[host.len - 1] == '.') host.len--;
    while (aioc_resolve_line(&text, &line)) {
        if (!aioc_resolve_parse_address(aioc_resolve_word(&line), &address, &zone) || zone.len > 0) continue;
        while ((word = aioc_resolve_word(&line)).len > 0) {
            if (word.ptr[word.len - 1] == '.') word.len--;
            if (!aioc_memory_same_nocase(word, host)) continue;
            aioc_resolve_set_add(address.family == 6 ? six : four, &address);
        }
    }
}

static void aioc_resolve_config_server(aioc_resolve_config *config, aiocosmos_str word)
{
    aiocosmos_address *server = &config->servers[config->server_count];
    aiocosmos_str zone;
    if (config->server_count == AIOC_RESOLVE_SERVERS_MAX || !aioc_resolve_parse_address(word, server, &zone)) return;
    server->port = 53;
    memcpy(config->zones[config->server_count], zone.ptr, zone.len);
    config->zones[config->server_count++][zone.len] = '\0';
}

/* "search a b c"; "domain a" is the old way to say "search a". The last line of either kind counts. */
static void aioc_resolve_config_search(aioc_resolve_config *config, aiocosmos_str line)
{
    aiocosmos_str word;
    config->search_count = 0;
    while ((word = aioc_resolve_word(&line)).len > 0 && config->search_count < AIOC_RESOLVE_SEARCH_MAX) {
        if (word.len >= AIOC_RESOLVE_HOST_MAX || aioc_resolve_word_is(word, ".")) continue;
        memcpy(config->search[config->search_count], word.ptr, word.len);
        config->search[config->search_count++][word.len] = '\0';
    }
}

/* Of the options, those that make us give up sooner. ndots is left out on purpose: see aioc_resolve_candidate. */
static void aioc_resolve_config_options(aioc_resolve_config *config, aiocosmos_str line)
{
    aiocosmos_str word;
    while ((word = aioc_resolve_word(&line)).len > 0) {
        if (aioc_resolve_word_is(word, "attempts:1")) config->rounds = 1;
        if (aioc_resolve_word_is(word, "timeout:1")) config->last_us = 1000000;
    }
}

/* Any text will do: what is not understood is left out, and without a server it is this machine's. */
static void aioc_resolve_parse_config(aiocosmos_str text, aioc_resolve_config *config)
{
    aiocosmos_str line, word;
    memset(config, 0, sizeof *config);
    config->rounds = 2;
    config->last_us = AIOC_RESOLVE_LAST_US;
    while (aioc_resolve_line(&text, &line)) {
        word = aioc_resolve_word(&line);
        if (aioc_resolve_word_is(word, "nameserver")) aioc_resolve_config_server(config, aioc_resolve_word(&line));
        else if (aioc_resolve_word_is(word, "search")) aioc_resolve_config_search(config, line);
        else if (aioc_resolve_word_is(word, "domain")) aioc_resolve_config_search(config, line);
        else if (aioc_resolve_word_is(word, "options")) aioc_resolve_config_options(config, line);
    }
    if (config->server_count == 0) aioc_resolve_config_server(config, aioc_memory_str("127.0.0.1"));
}

/* The full name to ask for at *index or behind it, and *index moved on. A name with a dot is asked for as it is first,
 * whatever ndots says: an account's name is complete, and Kubernetes (ndots:5) would have it asked for below every
 * search domain before. A last dot says that it is complete. False: no more. */
static bool aioc_resolve_candidate(const aioc_resolve_config *config, aiocosmos_str host, unsigned *index,
                                   aioc_resolve_domain *out)
{
    const char *dot = (const char *)memchr(host.ptr, '.', host.len);
    bool complete = host.ptr[host.len - 1] == '.';
    unsigned searches = complete ? 0 : config->search_count, as_it_is = dot ? 0 : searches;
    while (*index <= searches) {
        unsigned i = (*index)++;
        const char *below = i == as_it_is ? "" : config->search[i < as_it_is ? i : i - 1];
        if (aioc_resolve_domain_make(out, host, aioc_memory_str(below))) return true;
    }
    return false;
}

/*------------------------------------------------------------------------------
 * Messages: RFC 1035, 4
 *----------------------------------------------------------------------------*/

#define AIOC_RESOLVE_QUERY_MAX (12 + AIOC_RESOLVE_DOMAIN_MAX + 4)
#define AIOC_RESOLVE_HOPS_MAX 16             /* compression pointers followed for one name */
#define AIOC_RESOLVE_RECORDS_MAX 128u        /* of a section; 64 KiB of them, made for it, would take 30 ms */

enum { AIOC_RESOLVE_A = 1, AIOC_RESOLVE_CNAME = 5, AIOC_RESOLVE_SOA = 6, AIOC_RESOLVE_AAAA = 28, AIOC_RESOLVE_IN = 1 };

/* One question, recursion desired. Without EDNS: a datagram of 512 bytes holds what we want, and TCP does else. */
static size_t aioc_resolve_build_query(unsigned char out[AIOC_RESOLVE_QUERY_MAX], uint32_t id,
                                       const aioc_resolve_domain *domain, uint32_t type)
{
    memset(out, 0, 12);
    aioc_platform_store16be(out, id);
    out[2] = 0x01;                           /* RD */
    out[5] = 1;                              /* QDCOUNT */
    memcpy(out + 12, domain->labels, domain->len);
    aioc_platform_store16be(out + 12 + domain->len, type);
    aioc_platform_store16be(out + 14 + domain->len, AIOC_RESOLVE_IN);
    return 16 + domain->len;
}

typedef enum aioc_resolve_kind {
    AIOC_RESOLVE_FOREIGN,                    /* not an answer to our question */
    AIOC_RESOLVE_FAILED,                     /* the server cannot say, or says nonsense: ask another; see why */
    AIOC_RESOLVE_TRUNCATED,                  /* ask again over TCP */
    AIOC_RESOLVE_FOUND,
    AIOC_RESOLVE_ELSEWHERE,                  /* CNAME records lead to a name that the answer has nothing of */
    AIOC_RESOLVE_NO_DATA,                    /* the name is there, without such an address */
    AIOC_RESOLVE_NO_NAME                     /* NXDOMAIN */
} aioc_resolve_kind;

typedef struct aioc_resolve_response {
    uint32_t ttl_s;                          /* as received: the lowest on the way */
    unsigned chain;                          /* CNAME records followed; to be set to those of earlier answers */
    aioc_resolve_set set;                    /* FOUND */
    aioc_resolve_domain name;                /* the last of the chain: where to go on when ELSEWHERE */
    const char *why;                         /* FAILED: "the name server ..." */
} aioc_resolve_response;

typedef struct aioc_resolve_message { const unsigned char *bytes; size_t len; } aioc_resolve_message;

typedef struct aioc_resolve_record {
    uint32_t type, class_in, ttl_s;
    size_t data, data_len;
    aioc_resolve_domain owner;
} aioc_resolve_record;

/* Reads a name at *at and moves behind it. Each pointer must lead to before the labels that it ends (RFC 1035, 4.1.4:
 * "a prior occurrence"), so there are no loops. */
static bool aioc_resolve_read_domain(aioc_resolve_message message, size_t *at, aioc_resolve_domain *out)
{
    size_t from = *at, start = *at;
    unsigned hops = 0;
    out->len = 0;
    while (from < message.len) {
        size_t label = message.bytes[from];
        if (label >= 0xC0) {
            size_t target;
            if (message.len - from < 2 || ++hops > AIOC_RESOLVE_HOPS_MAX) return false;
            target = aioc_platform_load16be(message.bytes + from) & 0x3FFF;
            if (target >= start) return false;
            if (hops == 1) *at = from + 2;
            from = start = target;
            continue;
        }
        if (label > 63 || message.len - from <= label || out->len + label + 1 > AIOC_RESOLVE_DOMAIN_MAX) return false;
        memcpy(out->labels + out->len, message.bytes + from, label + 1);
        out->len += label + 1;
        from += label + 1;
        if (label > 0) continue;
        if (hops == 0) *at = from;
        return true;
    }
    return false;
}

static bool aioc_resolve_read_record(aioc_resolve_message message, size_t *at, aioc_resolve_record *out)
{
    const unsigned char *fixed;
    if (!aioc_resolve_read_domain(message, at, &out->owner) || message.len - *at < 10) return false;
    fixed = message.bytes + *at;
    out->type = aioc_platform_load16be(fixed);
    out->class_in = aioc_platform_load16be(fixed + 2);
    out->ttl_s = aioc_platform_load32be(fixed + 4);
    if (out->ttl_s > INT32_MAX) out->ttl_s = 0;        /* RFC 2181, 8 */
    out->data_len = aioc_platform_load16be(fixed + 8);
    *at += 10;
    out->data = *at;
    if (message.len - *at < out->data_len) return false;
    *at += out->data_len;
    return true;
}

static bool aioc_resolve_is_of(const aioc_resolve_record *record, const aioc_resolve_domain *name)
{
    return record->class_in == AIOC_RESOLVE_IN && record->owner.len == name->len &&
           aioc_resolve_domain_same(record->owner.labels, name->labels, name->len);
}

static bool aioc_resolve_take_address(aioc_resolve_message message, const aioc_resolve_record *record,
                                      aioc_resolve_set *set)
{
    aiocosmos_address address;
    size_t size = record->type == AIOC_RESOLVE_A ? 4 : 16;
    if (record->data_len != size) return false;
    memset(&address, 0, sizeof address);
    address.family = size == 4 ? 4 : 6;
    memcpy(address.ip, message.bytes + record->data, size);
    aioc_resolve_set_add(set, &address);
    return true;
}

/* How many records of a section are looked at; at is where the header counts them. */
static unsigned aioc_resolve_record_count(aioc_resolve_message message, size_t at)
{
    unsigned count = aioc_platform_load16be(message.bytes + at);
    return count < AIOC_RESOLVE_RECORDS_MAX ? count : AIOC_RESOLVE_RECORDS_MAX;
}

/* One pass over the answer section: what there is of out->name. *moved: a CNAME, and its target in *target. */
static bool aioc_resolve_scan(aioc_resolve_message message, size_t *at, uint32_t type, aioc_resolve_response *out,
                              bool *moved, aioc_resolve_domain *target)
{
    unsigned left = aioc_resolve_record_count(message, 6);
    *moved = false;
    for (; left > 0; left--) {
        aioc_resolve_record record;
        if (!aioc_resolve_read_record(message, at, &record)) return false;
        if (!aioc_resolve_is_of(&record, &out->name)) continue;
        if (record.type == type) {
            if (!aioc_resolve_take_address(message, &record, &out->set)) return false;
        } else if (record.type == AIOC_RESOLVE_CNAME && !*moved) {
            size_t end = record.data;
            if (!aioc_resolve_read_domain(message, &end, target) || end != record.data + record.data_len) return false;
            *moved = true;
        } else {
            continue;
        }
        if (record.ttl_s < out->ttl_s) out->ttl_s = record.ttl_s;
    }
    return true;
}

/* Whether the authority section, which starts at at, has a SOA record: then the answer is that there is no data, also
 * at the end of a chain (RFC 2308, 2.2). */
static bool aioc_resolve_has_soa(aioc_resolve_message message, size_t at)
{
    unsigned left = aioc_resolve_record_count(message, 8);
    aioc_resolve_record record;
    for (; left > 0 && aioc_resolve_read_record(message, &at, &record); left--) {
        if (record.type == AIOC_RESOLVE_SOA) return true;
    }
    return false;
}

/* Follows the answer section, which starts at answers, from out->name on. Records may stand in any order. */
static aioc_resolve_kind aioc_resolve_follow(aioc_resolve_message message, size_t answers, uint32_t type,
                                             aioc_resolve_response *out)
{
    const bool can_say = (message.bytes[2] & 0x04) != 0 || (message.bytes[3] & 0x80) != 0;         /* AA, RA */
    bool moved = true, aliased = false;
    size_t at = answers;
    while (moved) {
        aioc_resolve_domain target;
        at = answers;
        out->why = "sent a malformed answer";
        if (!aioc_resolve_scan(message, &at, type, out, &moved, &target)) return AIOC_RESOLVE_FAILED;
        if (out->set.count > 0) return AIOC_RESOLVE_FOUND;
        if (!moved) break;
        out->why = "has a chain of more than 16 aliases for it";
        if (++out->chain > AIOC_RESOLVE_CHAIN_MAX) return AIOC_RESOLVE_FAILED;
        out->name = target;
        aliased = true;
    }
    if (aioc_resolve_has_soa(message, at)) return AIOC_RESOLVE_NO_DATA;
    if (aliased) return AIOC_RESOLVE_ELSEWHERE;
    out->why = "does not resolve names for this machine";
    return can_say ? AIOC_RESOLVE_NO_DATA : AIOC_RESOLVE_FAILED;
}

static const char *aioc_resolve_code_text(unsigned code)
{
    switch (code) {
    case 1:  return "answered FORMERR";
    case 2:  return "answered SERVFAIL";
    case 4:  return "answered NOTIMP";
    case 5:  return "answered REFUSED";
    default: return "answered with an error";
    }
}

/* Whether a message has our id and question; servers that refuse may leave the question out. */
static bool aioc_resolve_is_ours(aioc_resolve_message message, uint32_t id, const aioc_resolve_domain *domain,
                                 uint32_t type)
{
    const unsigned char *question = message.bytes + 12;
    const size_t len = 12 + domain->len + 4;
    unsigned count;
    if (message.len < 12 || aioc_platform_load16be(message.bytes) != id) return false;
    if ((message.bytes[2] & 0xF8) != 0x80) return false;               /* QR, and the opcode of a query */
    count = aioc_platform_load16be(message.bytes + 4);
    if (count == 0) return (message.bytes[3] & 15) != 0 && (message.bytes[3] & 15) != 3;
    return count == 1 && message.len >= len && aioc_resolve_domain_same(question, domain->labels, domain->len) &&
           aioc_platform_load16be(question + domain->len) == type &&
           aioc_platform_load16be(question + domain->len + 2) == AIOC_RESOLVE_IN;
}

/* What a message says to our question. chain: CNAME records followed before it. */
static aioc_resolve_kind aioc_resolve_parse_response(const void *bytes, size_t len, uint32_t id,
                                                     const aioc_resolve_domain *domain, uint32_t type, unsigned chain,
                                                     aioc_resolve_response *out)
{
    aioc_resolve_message message;
    unsigned code;
    message.bytes = (const unsigned char *)bytes;
    message.len = len;
    memset(out, 0, sizeof *out);
    out->ttl_s = UINT32_MAX;
    out->chain = chain;
    out->name = *domain;
    if (!aioc_resolve_is_ours(message, id, domain, type)) return AIOC_RESOLVE_FOREIGN;
    code = message.bytes[3] & 15;
    if (code == 3) return AIOC_RESOLVE_NO_NAME;
    out->why = aioc_resolve_code_text(code);
    if (code != 0) return AIOC_RESOLVE_FAILED;
    if (message.bytes[2] & 0x02) return AIOC_RESOLVE_TRUNCATED;
    return aioc_resolve_follow(message, 12 + domain->len + 4, type, out);
}

/*------------------------------------------------------------------------------
 * What is kept
 *----------------------------------------------------------------------------*/

typedef struct aioc_resolve aioc_resolve;
typedef struct aioc_resolve_name aioc_resolve_name;
typedef struct aioc_resolve_lookup aioc_resolve_lookup;
typedef struct aioc_resolve_query aioc_resolve_query;
typedef struct aioc_resolve_exchange aioc_resolve_exchange;
typedef struct aioc_resolve_waiter aioc_resolve_waiter;

struct aioc_resolve_waiter {                 /* embedded in its owner, zeroed at first */
    aioc_resolve_waiter *prev, *next;
    aioc_resolve_lookup *lookup;
    /* Addresses and error are lent until it returns. It may ask and cancel. */
    void (*done)(aioc_resolve_waiter *waiter, const aiocosmos_address *addresses, size_t count, const char *error);
    void *owner;
    bool waiting;
};

typedef struct aioc_resolve_options {
    void (*ask)(void *user, const char *host, uint64_t question);      /* called from the reactor. NULL: we do it */
    void *user;
} aioc_resolve_options;

/* One question to one server: on a socket of its own, whose port the kernel picked at random (RFC 5452, 9.2). */
struct aioc_resolve_exchange {
    aioc_resolve_exchange *next;
    aioc_resolve_query *query;
    aioc_platform_source source;
    unsigned server;
    uint32_t id;
    bool stream;                             /* TCP: message and answer stand behind their lengths (RFC 1035, 4.2.2) */
    size_t sent, received;                   /* of message or answer and, over TCP, the two bytes before it */
    unsigned char prefix[2];                 /* the answer's length, over TCP */
    unsigned char *answer;
    size_t answer_len;
};

/* The addresses of one family of one full name: asked for at one server after the other, until one knows. */
struct aioc_resolve_query {
    aioc_resolve_lookup *lookup;
    aioc_platform_timer timer;
    aioc_resolve_exchange *exchanges;
    uint32_t type;
    unsigned asked;                          /* exchanges opened, or tried to */
    unsigned chain;
    unsigned server;                         /* which answered, or failed last */
    const char *why;                         /* how it failed, NULL: it did not answer */
    uint64_t expires_us;
    uint8_t state;                           /* aioc_resolve_kind; FOREIGN: not decided yet */
    aioc_resolve_set set;
    aioc_resolve_domain name;
};

enum { AIOC_RESOLVE_SIX, AIOC_RESOLVE_FOUR };                          /* which of a look-up's queries */

typedef enum aioc_resolve_phase {
    AIOC_RESOLVE_STARTING, AIOC_RESOLVE_AT_HOST, AIOC_RESOLVE_ON_WIRE, AIOC_RESOLVE_ANSWERED
} aioc_resolve_phase;

/* What goes on for a name; one at a time, however many wait for it. It lives on without waiters: its answer is kept. */
struct aioc_resolve_lookup {
    aioc_resolve *resolver;
    aioc_resolve_name *name;
    aioc_resolve_waiter *first, *last;
    aioc_platform_timer timer;
    uint64_t question;                       /* the hook's */
    unsigned candidate;                      /* the next to ask for */
    uint8_t phase;
    bool served;                             /* the name's addresses have been handed out while this goes on */
    bool failed;                             /* for some candidate nobody could say: so the name may exist */
    const char *why;                         /* of that */
    unsigned server;
    aioc_resolve_config config;
    aioc_resolve_query queries[2];
};

struct aioc_resolve_name {
    aioc_resolve_name *prev, *next;          /* most recently used first */
    aioc_resolve_lookup *lookup;
    uint64_t expires_us;
    uint64_t stale_until_us;                 /* until then the addresses may be used when nobody answers */
    size_t count;                            /* 0: error says why */
    aiocosmos_address addresses[AIOC_RESOLVE_ADDRESSES_MAX];
    char host[AIOC_RESOLVE_HOST_MAX];        /* lower case */
    char error[AIOC_RESOLVE_HOST_MAX + 160];
};

struct aioc_resolve {
    aioc_platform_reactor *reactor;
    aioc_memory *memory;
    aioc_resolve_options options;
    aioc_resolve_name *first, *last;
    size_t name_count;
    uint64_t questions;                      /* put to the hook so far */
    aiocosmos_address own[2];                /* answers that need no name: literals, localhost */
    char error[AIOC_RESOLVE_HOST_MAX + 160];
};

static uint64_t aioc_resolve_after(const aioc_resolve *resolver, uint64_t seconds)
{
    return resolver->reactor->now_us + seconds * 1000000u;
}

static uint32_t aioc_resolve_hold(uint32_t ttl_s)
{
    return ttl_s < AIOC_RESOLVE_TTL_MIN_S ? AIOC_RESOLVE_TTL_MIN_S
         : ttl_s > AIOC_RESOLVE_TTL_MAX_S ? AIOC_RESOLVE_TTL_MAX_S : ttl_s;
}

/* A file's text in a block of *cap bytes, NULL if there is no such file. 0 or E_NOMEM. Of a file over the limit, the
 * whole lines at its start. */
static int aioc_resolve_file_open(aioc_resolve *resolver, const char *path, char **block, size_t *cap,
                                  aiocosmos_str *text)
{
    const aiocosmos_platform *platform = resolver->reactor->platform;
    ptrdiff_t size = 2048;
    text->ptr = "";
    text->len = 0;
    for (;;) {
        *cap = (size_t)size < AIOC_RESOLVE_FILE_MAX ? (size_t)size : AIOC_RESOLVE_FILE_MAX;
        /* Zeroed, because files under /sys say that they are larger than they are. */
        *block = (char *)aioc_memory_zalloc(resolver->memory, *cap);
        if (!*block) return AIOCOSMOS_E_NOMEM;
        size = platform->file_read(platform->user_data, path, *block, *cap);
        if (size <= (ptrdiff_t)*cap || *cap == AIOC_RESOLVE_FILE_MAX) break;
        aioc_memory_free(resolver->memory, *block, *cap);
    }
    if (size <= 0) return 0;
    text->ptr = *block;
    text->len = *cap;
    if ((size_t)size <= *cap) text->len = (size_t)size;
    else while (text->len > 0 && text->ptr[text->len - 1] != '\n') text->len--;
    return 0;
}

/* The number of a network interface, which Linux has as a file. False: no such interface. */
static bool aioc_resolve_zone(aioc_resolve *resolver, aiocosmos_str zone, uint32_t *scope)
{
    const aiocosmos_platform *platform = resolver->reactor->platform;
    char path[64], text[16] = "";
    aiocosmos_str digits;
    uint64_t number;
    if (memchr(zone.ptr, '/', zone.len) || zone.ptr[0] == '.') return false;
    aioc_memory_print(path, sizeof path, "/sys/class/net/%.*s/ifindex", (int)zone.len, zone.ptr);
    if (platform->file_read(platform->user_data, path, text, sizeof text - 1) < 0) return false;
    digits.ptr = text;
    digits.len = strcspn(text, "\n");
    if (!aioc_memory_parse_u64(digits, &number) || number > UINT32_MAX) return false;
    *scope = (uint32_t)number;
    return true;
}

/* Reads resolv.conf. A server behind an interface that is not there is left out. */
static int aioc_resolve_config_read(aioc_resolve *resolver, aioc_resolve_config *config)
{
    aiocosmos_str text;
    char *block;
    size_t cap;
    unsigned i, kept = 0;
    int result = aioc_resolve_file_open(resolver, AIOC_RESOLVE_CONFIG_FILE, &block, &cap, &text);
    if (result < 0) return result;
    aioc_resolve_parse_config(text, config);
    aioc_memory_free(resolver->memory, block, cap);
    for (i = 0; i < config->server_count; i++) {
        aiocosmos_address server = config->servers[i];
        aiocosmos_str zone = aioc_memory_str(config->zones[i]);
        if (zone.len > 0 && !aioc_resolve_zone(resolver, zone, &server.scope)) continue;
        config->servers[kept++] = server;
    }
    config->server_count = kept;
    return 0;
}

/* Fills a name from the hosts file. 0: it is not there. 1: it is. Or E_NOMEM, for to go on without would be to answer
 * something else. */
static int aioc_resolve_hosts(aioc_resolve *resolver, aioc_resolve_name *name)
{
    aioc_resolve_set six, four;
    aiocosmos_str text;
    char *block;
    size_t cap;
    int result = aioc_resolve_file_open(resolver, AIOC_RESOLVE_HOSTS_FILE, &block, &cap, &text);
    if (result < 0) return result;
    six.count = four.count = 0;
    aioc_resolve_parse_hosts(text, aioc_memory_str(name->host), &six, &four);
    aioc_memory_free(resolver->memory, block, cap);
    if (six.count + four.count == 0) return 0;
    name->count = aioc_resolve_interleave(&six, &four, name->addresses);
    name->expires_us = aioc_resolve_after(resolver, AIOC_RESOLVE_HOSTS_S);
    name->stale_until_us = 0;                /* a line that was removed is gone */
    return 1;
}

/*------------------------------------------------------------------------------
 * A look-up: hands out results
 *----------------------------------------------------------------------------*/

static void aioc_resolve_waiter_unlink(aioc_resolve_waiter *waiter)
{
    aioc_resolve_lookup *lookup = waiter->lookup;
    *(waiter->prev ? &waiter->prev->next : &lookup->first) = waiter->next;
    *(waiter->next ? &waiter->next->prev : &lookup->last) = waiter->prev;
    waiter->prev = waiter->next = NULL;
    waiter->lookup = NULL;
    waiter->waiting = false;
}

/* Calls those who wait. While it does, the look-up is the name's, so the name cannot be forgotten. */
static void aioc_resolve_deliver(aioc_resolve_lookup *lookup)
{
    const aioc_resolve_name *name = lookup->name;
    lookup->served = true;
    while (lookup->first) {
        aioc_resolve_waiter *waiter = lookup->first;
        aioc_resolve_waiter_unlink(waiter);
        waiter->done(waiter, name->count ? name->addresses : NULL, name->count, name->count ? NULL : name->error);
    }
}

static void aioc_resolve_exchange_close(aioc_resolve_exchange *exchange);

static void aioc_resolve_query_stop(aioc_resolve_query *query)
{
    aioc_platform_timer_stop(query->lookup->resolver->reactor, &query->timer);
    while (query->exchanges) aioc_resolve_exchange_close(query->exchanges);
}

static void aioc_resolve_lookup_free(aioc_resolve_lookup *lookup)
{
    aioc_resolve_query_stop(&lookup->queries[AIOC_RESOLVE_SIX]);
    aioc_resolve_query_stop(&lookup->queries[AIOC_RESOLVE_FOUR]);
    aioc_platform_timer_stop(lookup->resolver->reactor, &lookup->timer);
    lookup->name->lookup = NULL;
    aioc_memory_free(lookup->resolver->memory, lookup, sizeof *lookup);
}

/* The name holds the result. */
static void aioc_resolve_lookup_end(aioc_resolve_lookup *lookup)
{
    aioc_resolve_query_stop(&lookup->queries[AIOC_RESOLVE_SIX]);
    aioc_resolve_query_stop(&lookup->queries[AIOC_RESOLVE_FOUR]);
    aioc_resolve_deliver(lookup);
    aioc_resolve_lookup_free(lookup);
}

static bool aioc_resolve_stale_usable(const aioc_resolve_lookup *lookup)
{
    return lookup->name->count > 0 && lookup->resolver->reactor->now_us < lookup->name->stale_until_us;
}

/* There is none, says somebody who knows. name->error says who. */
static void aioc_resolve_name_set_none(aioc_resolve *resolver, aioc_resolve_name *name, uint32_t keep_s)
{
    name->count = 0;
    name->expires_us = aioc_resolve_after(resolver, keep_s);
}

/* Nobody could say: what was known is used, or else name->error. */
static void aioc_resolve_lookup_fail(aioc_resolve_lookup *lookup)
{
    aioc_resolve *resolver = lookup->resolver;
    if (!aioc_resolve_stale_usable(lookup)) aioc_resolve_name_set_none(resolver, lookup->name, AIOC_RESOLVE_FAILURE_S);
    else lookup->name->expires_us = aioc_resolve_after(resolver, AIOC_RESOLVE_RESTALE_S);
    aioc_resolve_lookup_end(lookup);
}

static void aioc_resolve_lookup_fail_undecided(aioc_resolve_lookup *lookup)
{
    aioc_resolve_name *name = lookup->name;
    char server[AIOC_RESOLVE_ADDRESS_TEXT_MAX];
    if (lookup->config.server_count == 0) {
        aioc_memory_print(name->error, sizeof name->error,
                          "%s could not be looked up: no name server in " AIOC_RESOLVE_CONFIG_FILE " can be used",
                          name->host);
    } else {
        aioc_resolve_address_text(&lookup->config.servers[lookup->server], server);
        aioc_memory_print(name->error, sizeof name->error, "%s could not be looked up: name server %s %s", name->host,
                          server, lookup->why ? lookup->why : "did not answer");
    }
    aioc_resolve_lookup_fail(lookup);
}

static void aioc_resolve_lookup_none(aioc_resolve_lookup *lookup)
{
    const aioc_resolve_query *six = &lookup->queries[AIOC_RESOLVE_SIX], *four = &lookup->queries[AIOC_RESOLVE_FOUR];
    bool absent = six->state == AIOC_RESOLVE_NO_NAME && four->state == AIOC_RESOLVE_NO_NAME;
    aioc_resolve_name *name = lookup->name;
    char server[AIOC_RESOLVE_ADDRESS_TEXT_MAX];
    aioc_resolve_address_text(&lookup->config.servers[four->server], server);
    aioc_memory_print(name->error, sizeof name->error, "%s %s, says name server %s", name->host,
                      absent ? "does not exist" : "has neither an IPv4 nor an IPv6 address", server);
    aioc_resolve_name_set_none(lookup->resolver, name, AIOC_RESOLVE_NEGATIVE_S);
    aioc_resolve_lookup_end(lookup);
}

/* What the queries have found becomes the name's. */
static void aioc_resolve_lookup_publish(aioc_resolve_lookup *lookup)
{
    aioc_resolve_name *name = lookup->name;
    uint64_t expires_us = UINT64_MAX, soonest_us = aioc_resolve_after(lookup->resolver, AIOC_RESOLVE_TTL_MIN_S);
    int i;
    for (i = 0; i < 2; i++) {
        const aioc_resolve_query *query = &lookup->queries[i];
        if (query->state == AIOC_RESOLVE_FOUND && query->expires_us < expires_us) expires_us = query->expires_us;
    }
    name->count = aioc_resolve_interleave(&lookup->queries[AIOC_RESOLVE_SIX].set,
                                          &lookup->queries[AIOC_RESOLVE_FOUR].set, name->addresses);
    name->expires_us = expires_us > soonest_us ? expires_us : soonest_us;
    name->stale_until_us = name->expires_us + (uint64_t)AIOC_RESOLVE_STALE_MAX_S * 1000000u;
}

/*------------------------------------------------------------------------------
 * A look-up on the wire
 *----------------------------------------------------------------------------*/

static void aioc_resolve_query_ask(aioc_resolve_query *query);

static void aioc_resolve_query_begin(aioc_resolve_query *query, const aioc_resolve_domain *name)
{
    query->name = *name;
    query->asked = 0;
    aioc_resolve_query_ask(query);
}

/* Asks for the next candidate. False: there is none. The look-up may be over when this returns. */
static bool aioc_resolve_lookup_next(aioc_resolve_lookup *lookup)
{
    aioc_resolve_domain name;
    int i;
    if (!aioc_resolve_candidate(&lookup->config, aioc_memory_str(lookup->name->host), &lookup->candidate, &name)) {
        return false;
    }
    for (i = 0; i < 2; i++) {
        lookup->queries[i].state = AIOC_RESOLVE_FOREIGN;
        lookup->queries[i].chain = 0;
        lookup->queries[i].why = NULL;
    }
    aioc_resolve_query_begin(&lookup->queries[AIOC_RESOLVE_SIX], &name);
    aioc_resolve_query_begin(&lookup->queries[AIOC_RESOLVE_FOUR], &name);
    return true;
}

/* A query has been decided. The look-up may be over when this returns. A name exists if either family says so: there
 * are servers that answer NXDOMAIN for AAAA when there is only A (RFC 4074, 4.2). */
static void aioc_resolve_lookup_settle(aioc_resolve_lookup *lookup)
{
    const aioc_resolve_query *six = &lookup->queries[AIOC_RESOLVE_SIX], *four = &lookup->queries[AIOC_RESOLVE_FOUR];
    const aioc_resolve_query *failed =
        four->state == AIOC_RESOLVE_FAILED ? four : six->state == AIOC_RESOLVE_FAILED ? six : NULL;
    bool found = six->state == AIOC_RESOLVE_FOUND || four->state == AIOC_RESOLVE_FOUND;
    if (six->state == AIOC_RESOLVE_FOREIGN || four->state == AIOC_RESOLVE_FOREIGN) {
        aioc_platform_reactor *reactor = lookup->resolver->reactor;
        if (found) aioc_platform_timer_start(reactor, &lookup->timer, reactor->now_us + AIOC_RESOLVE_DELAY_US);
        return;
    }
    if (found) {
        aioc_resolve_lookup_publish(lookup);
        aioc_resolve_lookup_end(lookup);
        return;
    }
    if (failed) {
        lookup->failed = true;
        lookup->why = failed->why;
        lookup->server = failed->server;
    }
    /* Where nobody answers, the next candidate would meet the same silence. */
    if ((!failed || failed->why) && aioc_resolve_lookup_next(lookup)) return;
    if (lookup->failed) aioc_resolve_lookup_fail_undecided(lookup);
    else aioc_resolve_lookup_none(lookup);
}

static void aioc_resolve_query_end(aioc_resolve_query *query, aioc_resolve_kind state)
{
    aioc_resolve_query_stop(query);
    query->state = (uint8_t)state;
    aioc_resolve_lookup_settle(query->lookup);
}

/* Acts on what a server said. The look-up may be over when this returns. */
static void aioc_resolve_query_take(aioc_resolve_query *query, aioc_resolve_kind kind,
                                    const aioc_resolve_response *response)
{
    query->chain = response->chain;
    if (kind == AIOC_RESOLVE_ELSEWHERE) {
        aioc_resolve_query_stop(query);
        aioc_resolve_query_begin(query, &response->name);
        return;
    }
    if (kind == AIOC_RESOLVE_FOUND) {
        query->set = response->set;
        query->expires_us = aioc_resolve_after(query->lookup->resolver, aioc_resolve_hold(response->ttl_s));
    }
    aioc_resolve_query_end(query, kind);
}

static const aiocosmos_address *aioc_resolve_exchange_peer(const aioc_resolve_exchange *exchange)
{
    return &exchange->query->lookup->config.servers[exchange->server];
}

static void aioc_resolve_exchange_hang_up(aioc_resolve_exchange *exchange)
{
    aioc_resolve *resolver = exchange->query->lookup->resolver;
    const aiocosmos_platform *platform = resolver->reactor->platform;
    if (exchange->source.fd < 0) return;
    aioc_platform_watch(resolver->reactor, &exchange->source, 0);
    platform->socket_close(platform->user_data, exchange->source.fd);
    exchange->source.fd = -1;
}

static void aioc_resolve_exchange_close(aioc_resolve_exchange *exchange)
{
    aioc_memory *memory = exchange->query->lookup->resolver->memory;
    aioc_resolve_exchange **link = &exchange->query->exchanges;
    while (*link != exchange) link = &(*link)->next;
    *link = exchange->next;
    aioc_resolve_exchange_hang_up(exchange);
    aioc_memory_free(memory, exchange->answer, exchange->answer_len);
    aioc_memory_free(memory, exchange, sizeof *exchange);
}

/* This server is no help: on to the next. */
static void aioc_resolve_exchange_fail(aioc_resolve_exchange *exchange, const char *why)
{
    aioc_resolve_query *query = exchange->query;
    query->why = why;
    query->server = exchange->server;
    aioc_resolve_exchange_close(exchange);
    aioc_resolve_query_ask(query);
}

static const char *aioc_resolve_io_why(int io)
{
    switch (io) {
    case AIOCOSMOS_IO_CLOSED:      return "closed the connection";
    case AIOCOSMOS_IO_REFUSED:     return "is not there: nobody listens on its port 53";
    case AIOCOSMOS_IO_UNREACHABLE: return "cannot be reached";
    case AIOCOSMOS_IO_LIMIT:       return "could not be asked: no file descriptors, ports or memory";
    default:                       return "could not be asked: the system refused";
    }
}

/* Opens a socket to the server and waits until it can be written to. NULL; or why not, and there is no socket. */
static const char *aioc_resolve_exchange_connect(aioc_resolve_exchange *exchange, bool stream)
{
    aioc_platform_reactor *reactor = exchange->query->lookup->resolver->reactor;
    const aiocosmos_platform *platform = reactor->platform;
    intptr_t fd;
    int io = platform->socket_open(platform->user_data, &fd, !stream, aioc_resolve_exchange_peer(exchange));
    if (io != 0 && io != AIOCOSMOS_IO_AGAIN) return aioc_resolve_io_why(io);
    exchange->source.fd = fd;
    exchange->stream = stream;
    if (aioc_platform_watch(reactor, &exchange->source, AIOCOSMOS_WRITABLE) == 0) return NULL;
    aioc_resolve_exchange_hang_up(exchange);
    return aioc_resolve_io_why(AIOCOSMOS_IO_LIMIT);
}

/* NULL; or why there is no exchange with that server. Without a random id anybody could answer (RFC 5452, 9.1). */
static const char *aioc_resolve_exchange_start(aioc_resolve_exchange *exchange)
{
    const aiocosmos_platform *platform = exchange->query->lookup->resolver->reactor->platform;
    unsigned char id[2];
    if (platform->entropy(platform->user_data, id, sizeof id) < 0) return "could not be asked: no random numbers";
    exchange->id = aioc_platform_load16be(id);
    return aioc_resolve_exchange_connect(exchange, false);
}

static void aioc_resolve_exchange_ready(aioc_platform_source *source, unsigned ready);

static bool aioc_resolve_exchange_open(aioc_resolve_query *query, unsigned server)
{
    aioc_memory *memory = query->lookup->resolver->memory;
    aioc_resolve_exchange *exchange =
        (aioc_resolve_exchange *)aioc_memory_zalloc(memory, sizeof(aioc_resolve_exchange));
    const char *why = "could not be asked: out of memory";
    if (exchange) {
        exchange->query = query;
        exchange->server = server;
        exchange->source.fd = -1;
        exchange->source.ready = aioc_resolve_exchange_ready;
        exchange->source.owner = exchange;
        why = aioc_resolve_exchange_start(exchange);
    }
    /* If none answers, one that failed with a reason says more than one that was silent. */
    if (why || !query->why) query->server = server;
    if (why) {
        query->why = why;
        aioc_memory_free(memory, exchange, sizeof *exchange);
        return false;
    }
    exchange->next = query->exchanges;
    query->exchanges = exchange;
    return true;
}

/* Asks the next server, or waits for those that were asked, or gives up. The look-up may be over when this returns. */
static void aioc_resolve_query_ask(aioc_resolve_query *query)
{
    const aioc_resolve_config *config = &query->lookup->config;
    aioc_platform_reactor *reactor = query->lookup->resolver->reactor;
    const unsigned all = config->server_count * config->rounds;
    bool opened = false;
    while (!opened && query->asked < all) {
        opened = aioc_resolve_exchange_open(query, query->asked % config->server_count);
        query->asked++;
    }
    if (!query->exchanges) {
        aioc_resolve_query_end(query, AIOC_RESOLVE_FAILED);
    } else if (opened || !query->timer.armed) {
        uint64_t wait_us = query->asked < all ? AIOC_RESOLVE_NEXT_US : config->last_us;
        aioc_platform_timer_start(reactor, &query->timer, reactor->now_us + wait_us);
    }
}

static void aioc_resolve_query_fire(aioc_platform_timer *timer)
{
    aioc_resolve_query *query = (aioc_resolve_query *)timer->owner;
    const aioc_resolve_config *config = &query->lookup->config;
    if (query->asked < config->server_count * config->rounds) aioc_resolve_query_ask(query);
    else aioc_resolve_query_end(query, AIOC_RESOLVE_FAILED);
}

/* A whole message has arrived. */
static void aioc_resolve_exchange_take(aioc_resolve_exchange *exchange, const unsigned char *bytes, size_t len)
{
    aioc_resolve_query *query = exchange->query;
    aioc_resolve_response response;
    const char *why;
    aioc_resolve_kind kind =
        aioc_resolve_parse_response(bytes, len, exchange->id, &query->name, query->type, query->chain, &response);
    if (kind == AIOC_RESOLVE_FOREIGN && !exchange->stream) return;     /* a forgery, or late: ours may yet come */
    if (kind == AIOC_RESOLVE_TRUNCATED && !exchange->stream) {
        aioc_resolve_exchange_hang_up(exchange);
        exchange->sent = 0;
        why = aioc_resolve_exchange_connect(exchange, true);
        if (why) aioc_resolve_exchange_fail(exchange, why);
    } else if (kind <= AIOC_RESOLVE_TRUNCATED) {
        aioc_resolve_exchange_fail(exchange, kind == AIOC_RESOLVE_FAILED ? response.why : "sent a malformed answer");
    } else {
        query->server = exchange->server;
        aioc_resolve_query_take(query, kind, &response);
    }
}

/* Sends what is left of the question, then waits for the answer. */
static void aioc_resolve_exchange_write(aioc_resolve_exchange *exchange)
{
    const aioc_resolve_query *query = exchange->query;
    aioc_platform_reactor *reactor = query->lookup->resolver->reactor;
    const aiocosmos_platform *platform = reactor->platform;
    unsigned char message[2 + AIOC_RESOLVE_QUERY_MAX];
    size_t len = aioc_resolve_build_query(message + 2, exchange->id, &query->name, query->type);
    ptrdiff_t sent = platform->socket_error(platform->user_data, exchange->source.fd);
    aiocosmos_slice slice;
    aioc_platform_store16be(message, (uint32_t)len);
    slice.ptr = exchange->stream ? message + exchange->sent : message + 2;
    slice.len = exchange->stream ? len + 2 - exchange->sent : len;
    if (sent == 0) sent = platform->socket_send(platform->user_data, exchange->source.fd, &slice, 1);
    if (sent == AIOCOSMOS_IO_AGAIN) return;
    if (sent < 0) {
        aioc_resolve_exchange_fail(exchange, aioc_resolve_io_why((int)sent));
        return;
    }
    exchange->sent += (size_t)sent;
    if ((size_t)sent < slice.len && exchange->stream) return;
    if (aioc_platform_watch(reactor, &exchange->source, AIOCOSMOS_READABLE) < 0) {
        aioc_resolve_exchange_fail(exchange, aioc_resolve_io_why(AIOCOSMOS_IO_LIMIT));
    }
}

static void aioc_resolve_exchange_read_datagram(aioc_resolve_exchange *exchange)
{
    const aiocosmos_platform *platform = exchange->query->lookup->resolver->reactor->platform;
    unsigned char message[2048];             /* more than the 512 bytes that a server may send without EDNS */
    ptrdiff_t got = platform->socket_receive(platform->user_data, exchange->source.fd, message, sizeof message);
    if (got >= 0) aioc_resolve_exchange_take(exchange, message, (size_t)got);
    else if (got != AIOCOSMOS_IO_AGAIN) aioc_resolve_exchange_fail(exchange, aioc_resolve_io_why((int)got));
}

/* Makes room for the answer once its length is known. NULL, or why there is none. */
static const char *aioc_resolve_exchange_reserve(aioc_resolve_exchange *exchange)
{
    aioc_memory *memory = exchange->query->lookup->resolver->memory;
    exchange->answer_len = aioc_platform_load16be(exchange->prefix);
    if (exchange->answer_len < 12) {
        exchange->answer_len = 0;
        return "sent a malformed answer";
    }
    exchange->answer = (unsigned char *)aioc_memory_alloc(memory, exchange->answer_len);
    return exchange->answer ? NULL : "could not be listened to: out of memory";
}

static void aioc_resolve_exchange_read_stream(aioc_resolve_exchange *exchange)
{
    const aiocosmos_platform *platform = exchange->query->lookup->resolver->reactor->platform;
    bool prefix = exchange->received < 2;
    void *room = prefix ? exchange->prefix + exchange->received : exchange->answer + (exchange->received - 2);
    size_t len = (prefix ? 2 : exchange->answer_len + 2) - exchange->received;
    ptrdiff_t got = platform->socket_receive(platform->user_data, exchange->source.fd, room, len);
    const char *why = NULL;
    if (got == AIOCOSMOS_IO_AGAIN) return;
    if (got == 0) got = AIOCOSMOS_IO_CLOSED;
    if (got < 0) why = aioc_resolve_io_why((int)got);
    else exchange->received += (size_t)got;
    if (!why && prefix && exchange->received == 2) why = aioc_resolve_exchange_reserve(exchange);
    if (why) aioc_resolve_exchange_fail(exchange, why);
    else if (!prefix && exchange->received == exchange->answer_len + 2) {
        aioc_resolve_exchange_take(exchange, exchange->answer, exchange->answer_len);
    }
}

static void aioc_resolve_exchange_ready(aioc_platform_source *source, unsigned ready)
{
    aioc_resolve_exchange *exchange = (aioc_resolve_exchange *)source->owner;
    if (ready & AIOCOSMOS_WRITABLE) aioc_resolve_exchange_write(exchange);
    else if (exchange->stream) aioc_resolve_exchange_read_stream(exchange);
    else aioc_resolve_exchange_read_datagram(exchange);
}

/*------------------------------------------------------------------------------
 * A look-up's life: begins, runs out of patience, is answered by the host
 *----------------------------------------------------------------------------*/

/* Starts the timer for when waiting has been enough. */
static void aioc_resolve_lookup_wait(aioc_resolve_lookup *lookup)
{
    aioc_platform_reactor *reactor = lookup->resolver->reactor;
    if (!lookup->served && aioc_resolve_stale_usable(lookup)) {
        aioc_platform_timer_start(reactor, &lookup->timer, reactor->now_us + AIOC_RESOLVE_STALE_US);
    } else if (lookup->phase == AIOC_RESOLVE_AT_HOST) {
        aioc_platform_timer_start(reactor, &lookup->timer, reactor->now_us + AIOC_RESOLVE_HOOK_US);
    }
}

static void aioc_resolve_lookup_begin(aioc_resolve_lookup *lookup)
{
    aioc_resolve *resolver = lookup->resolver;
    if (resolver->options.ask) {
        lookup->phase = AIOC_RESOLVE_AT_HOST;
        lookup->question = ++resolver->questions;
        aioc_resolve_lookup_wait(lookup);
        resolver->options.ask(resolver->options.user, lookup->name->host, lookup->question);
        return;
    }
    lookup->phase = AIOC_RESOLVE_ON_WIRE;
    if (aioc_resolve_config_read(resolver, &lookup->config) < 0) {
        aioc_memory_print(lookup->name->error, sizeof lookup->name->error, "%s could not be looked up: out of memory",
                          lookup->name->host);
        aioc_resolve_lookup_fail(lookup);
        return;
    }
    aioc_resolve_lookup_wait(lookup);
    if (!aioc_resolve_lookup_next(lookup)) aioc_resolve_lookup_fail_undecided(lookup);
}

static bool aioc_resolve_lookup_has_found(const aioc_resolve_lookup *lookup)
{
    return lookup->queries[AIOC_RESOLVE_SIX].state == AIOC_RESOLVE_FOUND ||
           lookup->queries[AIOC_RESOLVE_FOUR].state == AIOC_RESOLVE_FOUND;
}

/* Enough waited: for the other family, for anything newer than what was known, or for the host. */
static void aioc_resolve_lookup_lose_patience(aioc_resolve_lookup *lookup)
{
    aioc_resolve_name *name = lookup->name;
    if (aioc_resolve_lookup_has_found(lookup)) {
        aioc_resolve_lookup_publish(lookup);
        aioc_resolve_deliver(lookup);
    } else if (!lookup->served && aioc_resolve_stale_usable(lookup)) {
        name->expires_us = aioc_resolve_after(lookup->resolver, AIOC_RESOLVE_RESTALE_S);
        aioc_resolve_deliver(lookup);
        aioc_resolve_lookup_wait(lookup);
    } else if (lookup->phase == AIOC_RESOLVE_AT_HOST) {
        aioc_memory_print(name->error, sizeof name->error,
                          "%s could not be looked up: the host's resolver did not answer", name->host);
        aioc_resolve_lookup_fail(lookup);
    }
}

static void aioc_resolve_lookup_fire(aioc_platform_timer *timer)
{
    aioc_resolve_lookup *lookup = (aioc_resolve_lookup *)timer->owner;
    if (lookup->phase == AIOC_RESOLVE_STARTING) aioc_resolve_lookup_begin(lookup);
    else if (lookup->phase == AIOC_RESOLVE_ANSWERED) aioc_resolve_lookup_end(lookup);
    else aioc_resolve_lookup_lose_patience(lookup);
}

static void aioc_resolve_query_init(aioc_resolve_lookup *lookup, int which, uint32_t type)
{
    aioc_resolve_query *query = &lookup->queries[which];
    query->lookup = lookup;
    query->type = type;
    query->timer.fire = aioc_resolve_query_fire;
    query->timer.owner = query;
}

/* Begins from the reactor, not from here, so that nobody is called back inside ask. False: no memory. */
static bool aioc_resolve_lookup_open(aioc_resolve *resolver, aioc_resolve_name *name)
{
    aioc_resolve_lookup *lookup =
        (aioc_resolve_lookup *)aioc_memory_zalloc(resolver->memory, sizeof(aioc_resolve_lookup));
    if (!lookup) return false;
    lookup->resolver = resolver;
    lookup->name = name;
    lookup->phase = AIOC_RESOLVE_STARTING;
    lookup->timer.fire = aioc_resolve_lookup_fire;
    lookup->timer.owner = lookup;
    aioc_resolve_query_init(lookup, AIOC_RESOLVE_SIX, AIOC_RESOLVE_AAAA);
    aioc_resolve_query_init(lookup, AIOC_RESOLVE_FOUR, AIOC_RESOLVE_A);
    aioc_platform_timer_start(resolver->reactor, &lookup->timer, resolver->reactor->now_us);
    name->lookup = lookup;
    return true;
}

static aioc_resolve_lookup *aioc_resolve_lookup_find(aioc_resolve *resolver, uint64_t question)
{
    aioc_resolve_name *name;
    for (name = resolver->first; name; name = name->next) {
        aioc_resolve_lookup *lookup = name->lookup;
        if (lookup && lookup->phase == AIOC_RESOLVE_AT_HOST && lookup->question == question) return lookup;
    }
    return NULL;
}

/* The host's answer to a question of its hook, from inside the hook or from anywhere; count 0: there is no such name.
 * The order of the addresses is kept. Waiters are called later, from the reactor. 0; E_ARGUMENT: nobody waits for the
 * answer to that question, or an address is of no family. */
static int aioc_resolve_answer(aioc_resolve *resolver, uint64_t question, const aiocosmos_address *addresses,
                               size_t count, uint32_t ttl_s)
{
    aioc_resolve_lookup *lookup = aioc_resolve_lookup_find(resolver, question);
    aioc_resolve_name *name;
    size_t i;
    for (i = 0; i < count; i++) {
        if (addresses[i].family != 4 && addresses[i].family != 6) return AIOCOSMOS_E_ARGUMENT;
    }
    if (!lookup) return AIOCOSMOS_E_ARGUMENT;
    name = lookup->name;
    if (count == 0) {
        aioc_memory_print(name->error, sizeof name->error, "%s does not exist, says the host's resolver", name->host);
        aioc_resolve_name_set_none(resolver, name, AIOC_RESOLVE_NEGATIVE_S);
    } else {
        name->count = count < AIOC_RESOLVE_ADDRESSES_MAX ? count : AIOC_RESOLVE_ADDRESSES_MAX;
        memcpy(name->addresses, addresses, name->count * sizeof *addresses);
        for (i = 0; i < name->count; i++) name->addresses[i].port = 0;
        name->expires_us = aioc_resolve_after(resolver, aioc_resolve_hold(ttl_s));
        name->stale_until_us = name->expires_us + (uint64_t)AIOC_RESOLVE_STALE_MAX_S * 1000000u;
    }
    lookup->phase = AIOC_RESOLVE_ANSWERED;
    aioc_platform_timer_start(resolver->reactor, &lookup->timer, resolver->reactor->now_us);
    return 0;
}

/*------------------------------------------------------------------------------
 * The cache, and its door
 *----------------------------------------------------------------------------*/

static void aioc_resolve_name_unlink(aioc_resolve *resolver, aioc_resolve_name *name)
{
    *(name->prev ? &name->prev->next : &resolver->first) = name->next;
    *(name->next ? &name->next->prev : &resolver->last) = name->prev;
    resolver->name_count--;
}

static void aioc_resolve_name_link_first(aioc_resolve *resolver, aioc_resolve_name *name)
{
    name->prev = NULL;
    name->next = resolver->first;
    *(name->next ? &name->next->prev : &resolver->last) = name;
    resolver->first = name;
    resolver->name_count++;
}

/* An unused name: a new one, or the least recently used for which no look-up goes on. */
static int aioc_resolve_name_new(aioc_resolve *resolver, aioc_resolve_name **out)
{
    aioc_resolve_name *name = resolver->last;
    if (resolver->name_count < AIOC_RESOLVE_NAMES_MAX) {
        *out = (aioc_resolve_name *)aioc_memory_alloc(resolver->memory, sizeof(aioc_resolve_name));
        return *out ? 0 : AIOCOSMOS_E_NOMEM;
    }
    while (name && name->lookup) name = name->prev;
    if (!name) return AIOCOSMOS_E_DNS;
    aioc_resolve_name_unlink(resolver, name);
    *out = name;
    return 0;
}

/* The name of a host that has been checked, as the most recently used. 0, E_NOMEM or E_DNS: too many look-ups. */
static int aioc_resolve_name_get(aioc_resolve *resolver, aiocosmos_str host, aioc_resolve_name **out)
{
    aioc_resolve_name *name;
    size_t i;
    int result;
    for (name = resolver->first; name; name = name->next) {
        if (aioc_memory_same_nocase(aioc_memory_str(name->host), host)) break;
    }
    if (name) {
        aioc_resolve_name_unlink(resolver, name);
    } else {
        result = aioc_resolve_name_new(resolver, &name);
        if (result < 0) return result;
        memset(name, 0, sizeof *name);
        for (i = 0; i < host.len; i++) name->host[i] = aioc_memory_lower(host.ptr[i]);
    }
    aioc_resolve_name_link_first(resolver, name);
    *out = name;
    return 0;
}

static int aioc_resolve_refuse(aioc_resolve *resolver, int result, aiocosmos_str host, const char *why,
                               const char **error)
{
    aioc_memory_print(resolver->error, sizeof resolver->error, "\"%.*s\" %s",
                      (int)(host.len < AIOC_RESOLVE_HOST_MAX ? host.len : AIOC_RESOLVE_HOST_MAX), host.ptr, why);
    *error = resolver->error;
    return result;
}

/* The answers that need nobody. *out stays NULL: not one of these. */
static int aioc_resolve_ask_nobody(aioc_resolve *resolver, aiocosmos_str host, const aiocosmos_address **out,
                                   size_t *count, const char **error)
{
    aiocosmos_str zone, bare = host;
    bool brackets = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (brackets) {
        bare.ptr++;
        bare.len -= 2;
    }
    if (aioc_resolve_parse_address(bare, &resolver->own[0], &zone) && (!brackets || resolver->own[0].family == 6)) {
        if (zone.len > 0 && !aioc_resolve_zone(resolver, zone, &resolver->own[0].scope)) {
            return aioc_resolve_refuse(resolver, AIOCOSMOS_E_DNS, host, "names a network interface that is not there",
                                       error);
        }
        *count = 1;
        *out = resolver->own;
    } else if (aioc_resolve_host_local(host)) {
        memset(resolver->own, 0, sizeof resolver->own);
        resolver->own[0].family = 6;         /* ::1 */
        resolver->own[0].ip[15] = 1;
        resolver->own[1].family = 4;         /* 127.0.0.1 */
        resolver->own[1].ip[0] = 127;
        resolver->own[1].ip[3] = 1;
        *count = 2;
        *out = resolver->own;
    }
    return 0;
}

/* Whether the name holds an answer now: fresh, or what the look-up that goes on has handed out so far. */
static bool aioc_resolve_name_answers(const aioc_resolve *resolver, const aioc_resolve_name *name)
{
    return resolver->reactor->now_us < name->expires_us || (name->lookup && name->lookup->served);
}

static int aioc_resolve_name_result(const aioc_resolve_name *name, const aiocosmos_address **out, size_t *count,
                                    const char **error)
{
    if (name->count > 0) *out = name->addresses;
    else *error = name->error;
    *count = name->count;
    return name->count > 0 ? 0 : AIOCOSMOS_E_DNS;
}

static void aioc_resolve_waiter_add(aioc_resolve_lookup *lookup, aioc_resolve_waiter *waiter)
{
    waiter->lookup = lookup;
    waiter->waiting = true;
    waiter->next = NULL;
    waiter->prev = lookup->last;
    *(lookup->last ? &lookup->last->next : &lookup->first) = waiter;
    lookup->last = waiter;
}

#define AIOC_RESOLVE_LATER 1

/* The addresses of a host, port 0, in the order to try them; IPv6 literals may have brackets. 0: *out, lent until the
 * next call or the reactor's next turn. LATER: waiter->done is called from the reactor, once unless cancelled. < 0:
 * E_DNS or E_NOMEM, and *error is lent as *out is. Calls neither the waiter nor the hook. */
static int aioc_resolve_ask(aioc_resolve *resolver, const char *host, aioc_resolve_waiter *waiter,
                            const aiocosmos_address **out, size_t *count, const char **error)
{
    const char *wrong, *no_memory = "could not be looked up: out of memory";
    aiocosmos_str text = aioc_memory_str(host);
    aioc_resolve_name *name;
    int result;
    *out = NULL;
    *count = 0;
    *error = NULL;
    result = aioc_resolve_ask_nobody(resolver, text, out, count, error);
    if (result < 0 || *out) return result;
    wrong = aioc_resolve_host_wrong(text);
    if (wrong) return aioc_resolve_refuse(resolver, AIOCOSMOS_E_DNS, text, wrong, error);
    result = aioc_resolve_name_get(resolver, text, &name);
    if (result < 0) {
        wrong = result == AIOCOSMOS_E_NOMEM ? no_memory : "could not be looked up: too many other names are";
        return aioc_resolve_refuse(resolver, result, text, wrong, error);
    }
    if (aioc_resolve_name_answers(resolver, name)) return aioc_resolve_name_result(name, out, count, error);
    if (!name->lookup) {
        if (!resolver->options.ask) result = aioc_resolve_hosts(resolver, name);
        if (result > 0) return aioc_resolve_name_result(name, out, count, error);
        if (result < 0 || !aioc_resolve_lookup_open(resolver, name)) {
            return aioc_resolve_refuse(resolver, AIOCOSMOS_E_NOMEM, text, no_memory, error);
        }
    }
    aioc_resolve_waiter_add(name->lookup, waiter);
    return AIOC_RESOLVE_LATER;
}

/* Harmless if it does not wait. The look-up goes on, for whoever asks next. */
static void aioc_resolve_cancel(aioc_resolve *resolver, aioc_resolve_waiter *waiter)
{
    (void)resolver;
    if (waiter->waiting) aioc_resolve_waiter_unlink(waiter);
}

static int aioc_resolve_open(aioc_resolve *resolver, aioc_platform_reactor *reactor, aioc_memory *memory,
                             const aioc_resolve_options *options)
{
    memset(resolver, 0, sizeof *resolver);
    resolver->reactor = reactor;
    resolver->memory = memory;
    resolver->options = *options;
    return 0;
}

/* Nobody waits any more. */
static void aioc_resolve_close(aioc_resolve *resolver)
{
    while (resolver->first) {
        aioc_resolve_name *name = resolver->first;
        AIOCOSMOS_ASSERT(!name->lookup || !name->lookup->first);
        if (name->lookup) aioc_resolve_lookup_free(name->lookup);
        aioc_resolve_name_unlink(resolver, name);
        aioc_memory_free(resolver->memory, name, sizeof *name);
    }
}
/*==============================================================================
 * MARK: - TLS                                                            >>tls
 *
 * A TLS client as bytes in, bytes out. It sees no socket and no clock: the pool puts what arrived where receive_room
 * says and calls received, sends what to_send shows and calls sent. A room never reaches beyond the record that is
 * being received, so a pool that reads straight into it leaves the next record in the socket. That is how it puts off
 * handshake records, which cost up to 4 ms of processor each: all that work is done inside received.
 *
 * The TLS is BearSSL 0.6, and TLS 1.2 only: ECDHE key exchange with AES-GCM or ChaCha20-Poly1305, nothing else is
 * offered. Sessions are resumed by their id (RFC 5246 7.3). 0.6 knows no tickets (RFC 5077): a server that keeps no
 * sessions gets full handshakes. Certificates are verified by BearSSL's "minimal" engine; what it lacks is added here:
 * IP addresses, the purpose of a certificate, and saying why one is refused. Not checked: revocation, name
 * constraints. The server is not told of a refusal: 0.6 sends no alert for it, the connection just closes.
 *
 * Another TLS takes BearSSL's place by filling an aioc_tls_table.
 *
 * May call: memory.    Knows nothing of: sockets, clocks, files, HTTP.
 *============================================================================*/

#define AIOC_TLS_WHY_MAX         320
#define AIOC_TLS_SAVED_MAX       128      /* bytes of a session's secrets, kept to resume it */
#define AIOC_TLS_SAVED_S         86400    /* RFC 5246 F.1.4: a session id should not be used for longer than a day */
#define AIOC_TLS_CERTIFICATE_MAX 16384    /* bytes of one certificate; ordinary ones have 1,000 to 8,000 */
#define AIOC_TLS_CHAIN_MAX       12       /* certificates that a server may send */
#define AIOC_TLS_SESSION_MAX     40960    /* bytes of one session, buffers included */

typedef struct aioc_tls_session aioc_tls_session;
typedef struct aioc_tls_table aioc_tls_table;

typedef enum aioc_tls_state {
    AIOC_TLS_HANDSHAKE,
    AIOC_TLS_OPEN,
    AIOC_TLS_CLOSED,                      /* close_notify came: everything that the server sent has arrived */
    AIOC_TLS_FAILED                       /* aioc_tls_error says why */
} aioc_tls_state;

typedef struct aioc_tls_trust {           /* certificates that may vouch for a server */
    void *anchors;                        /* of the TLS that read them */
    size_t count, cap;
    size_t skipped;                       /* certificates in the text that could not be read or used */
} aioc_tls_trust;

typedef struct aioc_tls_config {
    const aioc_tls_table *table;
    const aioc_tls_trust *trust;          /* outlives the sessions; may be NULL if insecure */
    bool insecure;                        /* any certificate will do */
} aioc_tls_config;

/* What sessions to one endpoint, with one configuration, learn from those before: how to skip the expensive half of the
 * handshake, and what else to offer. Starts zeroed, outlives the sessions. */
typedef struct aioc_tls_resumption {
    uint64_t hits, full;                  /* handshakes completed by resuming, and in full */
    int64_t expires_s;
    bool have;
    bool all_curves;                      /* the server did not like the usual ones */
    unsigned char saved[AIOC_TLS_SAVED_MAX];
} aioc_tls_resumption;

struct aioc_tls_session {                 /* the part of a session that every TLS has */
    const aioc_tls_table *table;
    aioc_tls_state state;
    bool resumed;                         /* once open: by resumption */
    bool again;                           /* failed in a way that the next session avoids: connect again at once */
    char why[AIOC_TLS_WHY_MAX];
};

struct aioc_tls_table {
    /* Reads the certificates of a PEM text. Those that are broken, or have a key that cannot be used, are skipped and
     * counted. 0; E_ARGUMENT: not one is left; E_NOMEM. err: why. */
    int  (*trust_open)(aioc_tls_trust *trust, aioc_memory *memory, const char *pem, size_t len, char *err, size_t cap);
    void (*trust_close)(aioc_tls_trust *trust, aioc_memory *memory);
    /* host: a name, or an IPv4 or IPv6 literal. wall_s: the time that certificates are judged by. NULL: no memory. Any
     * other failure is a session in the state FAILED. The first bytes to send wait at once. */
    aioc_tls_session *(*open)(aioc_memory *memory, const aioc_tls_config *config, aioc_tls_resumption *resumption,
                              const char *host, int64_t wall_s, const unsigned char entropy[32]);
    void (*close)(aioc_memory *memory, aioc_tls_session *session);
    /* Where ciphertext may be put; NULL and 0: use the plaintext first (or there is nothing more to receive). */
    unsigned char *(*receive_room)(aioc_tls_session *session, size_t *len);
    void (*received)(aioc_tls_session *session, size_t len);
    unsigned char *(*to_send)(aioc_tls_session *session, size_t *len);        /* NULL and 0: nothing */
    void (*sent)(aioc_tls_session *session, size_t len);
    /* Takes plaintext from byte `offset` of the slices on, as much as one record holds (16 KiB), and closes the record.
     * Returns how many bytes; 0: send what waits first. */
    size_t (*write)(aioc_tls_session *session, const aiocosmos_slice *slices, size_t count, size_t offset);
    const unsigned char *(*plain)(aioc_tls_session *session, size_t *len);    /* NULL and 0: none */
    void (*plain_used)(aioc_tls_session *session, size_t len);
    void (*ended)(aioc_tls_session *session);     /* the transport has: FAILED, unless CLOSED */
    void (*shutdown)(aioc_tls_session *session);  /* queues close_notify */
};

/*------------------------------------------------------------------------------
 * DER, as far as certificates need it (X.690; RFC 5280 4.1)
 *----------------------------------------------------------------------------*/

typedef struct aioc_tls_der { const unsigned char *at; size_t len; } aioc_tls_der;

enum {
    AIOC_TLS_DER_BOOLEAN = 0x01, AIOC_TLS_DER_INTEGER = 0x02, AIOC_TLS_DER_BITS = 0x03, AIOC_TLS_DER_OCTETS = 0x04,
    AIOC_TLS_DER_OID = 0x06, AIOC_TLS_DER_UTC_TIME = 0x17, AIOC_TLS_DER_TIME = 0x18, AIOC_TLS_DER_BMP_STRING = 0x1E,
    AIOC_TLS_DER_SEQUENCE = 0x30, AIOC_TLS_DER_SET = 0x31,
    AIOC_TLS_DER_VERSION = 0xA0, AIOC_TLS_DER_EXTENSIONS = 0xA3,
    AIOC_TLS_DER_DNS_NAME = 0x82, AIOC_TLS_DER_IP_ADDRESS = 0x87       /* choices of GeneralName */
};

/* Takes the next element off the front of rest. False: the end, or not DER. */
static bool aioc_tls_der_next(aioc_tls_der *rest, unsigned *tag, aioc_tls_der *value)
{
    size_t header = 2, len;
    if (rest->len < 2 || (rest->at[0] & 0x1F) == 0x1F) return false;
    len = rest->at[1];
    if (len >= 0x80) {
        size_t bytes = len & 0x7F, i;
        if (bytes == 0 || bytes > 3 || rest->len < 2 + bytes) return false;
        for (len = 0, i = 0; i < bytes; i++) len = len << 8 | rest->at[2 + i];
        header += bytes;
    }
    if (len > rest->len - header) return false;
    *tag = rest->at[0];
    value->at = rest->at + header;
    value->len = len;
    rest->at += header + len;
    rest->len -= header + len;
    return true;
}

/* The same, if the next element has this tag; otherwise nothing is taken. */
static bool aioc_tls_der_take(aioc_tls_der *rest, unsigned tag, aioc_tls_der *value)
{
    unsigned found;
    aioc_tls_der before = *rest;
    if (aioc_tls_der_next(rest, &found, value) && found == tag) return true;
    *rest = before;
    return false;
}

/* Takes a SEQUENCE with its header: names are compared in this form. */
static bool aioc_tls_der_take_whole(aioc_tls_der *rest, aioc_tls_der *whole)
{
    aioc_tls_der value;
    whole->at = rest->at;
    if (!aioc_tls_der_take(rest, AIOC_TLS_DER_SEQUENCE, &value)) return false;
    whole->len = (size_t)(rest->at - whole->at);
    return true;
}

static bool aioc_tls_der_is(aioc_tls_der value, const void *bytes, size_t len)
{
    return value.len == len && (len == 0 || memcmp(value.at, bytes, len) == 0);
}

/* Days since 1970 of a date in the Gregorian calendar, and back; months are counted from March so that the leap day is
 * the last of a year. */
static int64_t aioc_tls_days(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month > 2 ? year : year - 1, century = y / 100;
    int64_t m = month > 2 ? month - 3 : month + 9;
    return y * 365 + y / 4 - century + century / 4 + (153 * m + 2) / 5 + day - 1 - 719468;
}

/* "2026-01-02" */
static void aioc_tls_date(char out[11], int64_t wall_s)
{
    int64_t days = wall_s / 86400, year, month, day;
    int i;
    if (wall_s < 0) days = 0;
    for (year = 1970 + days / 366; aioc_tls_days(year + 1, 1, 1) <= days; year++) continue;
    for (month = 12; aioc_tls_days(year, month, 1) > days; month--) continue;
    day = days - aioc_tls_days(year, month, 1) + 1;
    for (i = 3; i >= 0; i--, year /= 10) out[i] = (char)('0' + year % 10);
    out[4] = out[7] = '-';
    out[5] = (char)('0' + month / 10);
    out[6] = (char)('0' + month % 10);
    out[8] = (char)('0' + day / 10);
    out[9] = (char)('0' + day % 10);
    out[10] = '\0';
}

/* UTCTime "YYMMDDHHMMSSZ", whose years are 1950 to 2049, or GeneralizedTime "YYYYMMDDHHMMSSZ" (RFC 5280 4.1.2.5). */
static bool aioc_tls_der_take_time(aioc_tls_der *rest, int64_t *wall_s)
{
    aioc_tls_der text;
    unsigned tag;
    int64_t part[6];                      /* year, month, day, hour, minute, second */
    size_t i, at = 0;
    if (!aioc_tls_der_next(rest, &tag, &text)) return false;
    if (tag != AIOC_TLS_DER_UTC_TIME && tag != AIOC_TLS_DER_TIME) return false;
    if (text.len != (tag == AIOC_TLS_DER_TIME ? 15u : 13u) || text.at[text.len - 1] != 'Z') return false;
    for (i = 0; i + 1 < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') return false;
    }
    for (i = 0; i < 6; i++) {
        size_t digits = i == 0 && tag == AIOC_TLS_DER_TIME ? 4 : 2;
        for (part[i] = 0; digits > 0; digits--) part[i] = part[i] * 10 + (text.at[at++] - '0');
    }
    if (tag == AIOC_TLS_DER_UTC_TIME) part[0] += part[0] < 50 ? 2000 : 1900;
    if (part[1] < 1 || part[1] > 12 || part[2] < 1 || part[2] > 31) return false;
    *wall_s = aioc_tls_days(part[0], part[1], part[2]) * 86400 + part[3] * 3600 + part[4] * 60 + part[5];
    return true;
}

/* Object identifiers, without tag and length. */
static const unsigned char aioc_tls_oid_common_name[] = {0x55, 0x04, 0x03};
static const unsigned char aioc_tls_oid_organization[] = {0x55, 0x04, 0x0A};
static const unsigned char aioc_tls_oid_alt_name[] = {0x55, 0x1D, 0x11};
static const unsigned char aioc_tls_oid_purposes[] = {0x55, 0x1D, 0x25};
static const unsigned char aioc_tls_oid_any_purpose[] = {0x55, 0x1D, 0x25, 0x00};
static const unsigned char aioc_tls_oid_server[] = {0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01};
static const unsigned char aioc_tls_oid_rsa[] = {0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01};   /* + one byte */
static const unsigned char aioc_tls_oid_ecdsa_sha1[] = {0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x01};

/* What the refusals and the checks of names need of a certificate; everything points into its bytes. */
typedef struct aioc_tls_certificate {
    aioc_tls_der issuer, subject;         /* with their headers */
    aioc_tls_der key;                     /* contents of subjectPublicKeyInfo */
    aioc_tls_der names;                   /* contents of subjectAltName; at NULL: has none */
    aioc_tls_der purposes;                /* contents of extKeyUsage; at NULL: has none, good for anything */
    aioc_tls_der signature;               /* object identifier of the algorithm that it is signed with */
    int64_t not_before_s, not_after_s;
} aioc_tls_certificate;

static bool aioc_tls_certificate_extensions(aioc_tls_certificate *out, aioc_tls_der rest)
{
    aioc_tls_der list, extension, oid, critical, value, inner;
    if (!aioc_tls_der_take(&rest, AIOC_TLS_DER_SEQUENCE, &list)) return false;
    while (list.len > 0) {
        aioc_tls_der *wanted = NULL;
        if (!aioc_tls_der_take(&list, AIOC_TLS_DER_SEQUENCE, &extension) ||
            !aioc_tls_der_take(&extension, AIOC_TLS_DER_OID, &oid)) return false;
        (void)aioc_tls_der_take(&extension, AIOC_TLS_DER_BOOLEAN, &critical);
        if (!aioc_tls_der_take(&extension, AIOC_TLS_DER_OCTETS, &value)) return false;
        if (aioc_tls_der_is(oid, aioc_tls_oid_alt_name, sizeof aioc_tls_oid_alt_name)) wanted = &out->names;
        if (aioc_tls_der_is(oid, aioc_tls_oid_purposes, sizeof aioc_tls_oid_purposes)) wanted = &out->purposes;
        if (!wanted) continue;
        if (wanted->at) return false;     /* RFC 5280 4.2: no extension twice, so that nobody can choose which counts */
        if (!aioc_tls_der_take(&value, AIOC_TLS_DER_SEQUENCE, &inner)) return false;
        *wanted = inner;
    }
    return true;
}

static bool aioc_tls_certificate_read(aioc_tls_certificate *out, aioc_tls_der der)
{
    aioc_tls_der whole, body, skipped, validity, algorithm, extensions;
    unsigned tag;
    memset(out, 0, sizeof *out);
    if (!aioc_tls_der_take(&der, AIOC_TLS_DER_SEQUENCE, &whole) ||
        !aioc_tls_der_take(&whole, AIOC_TLS_DER_SEQUENCE, &body)) return false;
    (void)aioc_tls_der_take(&body, AIOC_TLS_DER_VERSION, &skipped);
    if (!aioc_tls_der_take(&body, AIOC_TLS_DER_INTEGER, &skipped) ||
        !aioc_tls_der_take(&body, AIOC_TLS_DER_SEQUENCE, &skipped) ||
        !aioc_tls_der_take_whole(&body, &out->issuer) ||
        !aioc_tls_der_take(&body, AIOC_TLS_DER_SEQUENCE, &validity) ||
        !aioc_tls_der_take_whole(&body, &out->subject) ||
        !aioc_tls_der_take(&body, AIOC_TLS_DER_SEQUENCE, &out->key)) return false;
    if (!aioc_tls_der_take_time(&validity, &out->not_before_s) ||
        !aioc_tls_der_take_time(&validity, &out->not_after_s)) return false;
    while (aioc_tls_der_next(&body, &tag, &extensions)) {
        if (tag == AIOC_TLS_DER_EXTENSIONS && !aioc_tls_certificate_extensions(out, extensions)) return false;
    }
    return body.len == 0 && aioc_tls_der_take(&whole, AIOC_TLS_DER_SEQUENCE, &algorithm) &&
           aioc_tls_der_take(&algorithm, AIOC_TLS_DER_OID, &out->signature);
}

/* Of an RSA key, the bits of its modulus; 0: another kind of key. */
static unsigned aioc_tls_certificate_rsa_bits(const aioc_tls_certificate *certificate)
{
    aioc_tls_der key = certificate->key, algorithm, bits, pair, modulus;
    unsigned count, top;
    if (!aioc_tls_der_take(&key, AIOC_TLS_DER_SEQUENCE, &algorithm) ||
        !aioc_tls_der_take(&key, AIOC_TLS_DER_BITS, &bits) || bits.len < 1) return 0;
    bits.at++, bits.len--;                /* how many bits of the last byte are not used: none */
    if (!aioc_tls_der_take(&bits, AIOC_TLS_DER_SEQUENCE, &pair) ||
        !aioc_tls_der_take(&pair, AIOC_TLS_DER_INTEGER, &modulus)) return 0;
    while (modulus.len > 0 && modulus.at[0] == 0) modulus.at++, modulus.len--;
    if (modulus.len == 0) return 0;
    count = (unsigned)modulus.len * 8;
    for (top = modulus.at[0]; !(top & 0x80); top <<= 1) count--;
    return count;
}

/* RFC 5280 4.2.1.12: with the extension, a certificate is good only for what it lists. */
static bool aioc_tls_certificate_is_server(const aioc_tls_certificate *certificate)
{
    aioc_tls_der rest = certificate->purposes, oid;
    if (!rest.at) return true;
    while (aioc_tls_der_take(&rest, AIOC_TLS_DER_OID, &oid)) {
        if (aioc_tls_der_is(oid, aioc_tls_oid_server, sizeof aioc_tls_oid_server) ||
            aioc_tls_der_is(oid, aioc_tls_oid_any_purpose, sizeof aioc_tls_oid_any_purpose)) return true;
    }
    return false;
}

/*------------------------------------------------------------------------------
 * Names of hosts
 *----------------------------------------------------------------------------*/

/* Reads up to four hexadecimal or three decimal digits. */
static const char *aioc_tls_ip_number(const char *at, unsigned base, unsigned *out)
{
    unsigned digits = 0, value = 0;
    for (; digits < (base == 16 ? 4u : 3u); at++, digits++) {
        unsigned c = (unsigned char)*at, digit = 99;
        if (c >= '0' && c <= '9') digit = c - '0';
        if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') digit = (c | 0x20) - 'a' + 10;
        if (digit >= base) break;
        value = value * base + digit;
    }
    *out = value;
    return digits > 0 ? at : NULL;
}

static const char *aioc_tls_ip4(const char *at, unsigned char out[4])
{
    int i;
    for (i = 0; i < 4; i++) {
        unsigned value;
        if (i > 0 && *at++ != '.') return NULL;
        at = aioc_tls_ip_number(at, 10, &value);
        if (!at || value > 255) return NULL;
        out[i] = (unsigned char)value;
    }
    return at;
}

/* RFC 4291 2.2: eight groups, "::" once for some of zero, the last two groups perhaps as an IPv4 address. */
static const char *aioc_tls_ip6(const char *at, unsigned char out[16])
{
    size_t filled = 0, gap = 16;          /* gap: where "::" stood */
    memset(out, 0, 16);
    if (at[0] == ':' && at[1] == ':') at += 2, gap = 0;
    while (filled < 16) {
        unsigned group;
        const char *end = filled <= 12 ? aioc_tls_ip4(at, out + filled) : NULL;
        if (end) {
            at = end;
            filled += 4;
            break;
        }
        end = aioc_tls_ip_number(at, 16, &group);
        if (!end && gap == filled) break; /* "::" at the end */
        if (!end) return NULL;
        out[filled++] = (unsigned char)(group >> 8);
        out[filled++] = (unsigned char)group;
        at = end;
        if (*at != ':' || filled == 16) break;
        at++;
        if (*at == ':') {
            if (gap != 16) return NULL;
            gap = filled;
            at++;
        }
    }
    if (gap == 16) return filled == 16 ? at : NULL;
    if (filled > 14) return NULL;
    memmove(out + 16 - (filled - gap), out + gap, filled - gap);
    memset(out + gap, 0, 16 - filled);
    return at;
}

/* The bytes of an IP literal, perhaps in brackets, perhaps with a zone: 4, 16, or 0: a name. */
static size_t aioc_tls_ip(const char *host, unsigned char out[16])
{
    bool bracket = *host == '[';
    const char *end = bracket ? NULL : aioc_tls_ip4(host, out);
    if (end && *end == '\0') return 4;
    end = aioc_tls_ip6(host + bracket, out);
    if (end && *end == '%') while (*end && *end != ']') end++;
    if (end && bracket) end = *end == ']' ? end + 1 : NULL;
    return end && *end == '\0' ? 16 : 0;
}

/* RFC 6125 6.4: ASCII letters match in any case; "*" stands for one whole label, the first, and not right below a top
 * level ("*.com"). Names with "*" elsewhere match nothing. */
static bool aioc_tls_name_matches(aioc_tls_der pattern, const char *host, size_t len)
{
    aiocosmos_str want, have;
    want.ptr = (const char *)pattern.at;
    want.len = pattern.len;
    have.ptr = host;
    have.len = len;
    if (want.len > 2 && want.ptr[0] == '*' && want.ptr[1] == '.') {
        const char *dot = (const char *)memchr(host, '.', len);
        want.ptr++, want.len--;
        if (!dot || dot == host || !memchr(want.ptr + 1, '.', want.len - 1)) return false;
        have.ptr = dot;
        have.len = len - (size_t)(dot - host);
    }
    return want.len > 0 && aioc_memory_same_nocase(want, have);
}

/*------------------------------------------------------------------------------
 * Trust
 *----------------------------------------------------------------------------*/

#define AIOC_TLS_NAME_MAX 1024            /* bytes of a certificate's subject */

typedef struct aioc_tls_reader {          /* one certificate on its way from PEM to anchor */
    br_x509_decoder_context decoder;
    unsigned char name[AIOC_TLS_NAME_MAX];
    size_t name_len;
    bool broken;
} aioc_tls_reader;

static void aioc_tls_reader_name(void *user, const void *bytes, size_t len)
{
    aioc_tls_reader *reader = (aioc_tls_reader *)user;
    if (len > sizeof reader->name - reader->name_len) {
        reader->broken = true;
        return;
    }
    memcpy(reader->name + reader->name_len, bytes, len);
    reader->name_len += len;
}

/* 0 to 63; 64: '='; 65: white space; 255: anything else. */
static unsigned aioc_tls_base64(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26u;
    if (c >= '0' && c <= '9') return c - '0' + 52u;
    switch (c) {
    case '+': return 62;
    case '/': return 63;
    case '=': return 64;
    case ' ': case '\t': case '\r': case '\n': return 65;
    default: return 255;
    }
}

/* Feeds the base64 text between two PEM lines to the decoder, piece by piece, so that no copy of it is needed. */
static void aioc_tls_reader_feed(aioc_tls_reader *reader, const char *text, size_t len)
{
    unsigned char out[192];
    size_t filled = 0, i;
    unsigned bits = 0, held = 0;          /* held: how many of the bits are not written yet */
    bool ended = false;
    for (i = 0; i < len && !reader->broken; i++) {
        unsigned digit = aioc_tls_base64((unsigned char)text[i]);
        if (digit == 65) continue;
        if (digit == 64) ended = true;
        else if (digit > 64 || ended) reader->broken = true;
        else {
            bits = bits << 6 | digit;
            held += 6;
        }
        if (held >= 8) {
            held -= 8;
            out[filled++] = (unsigned char)(bits >> held);
            bits &= (1u << held) - 1;
        }
        if (filled == sizeof out) {
            br_x509_decoder_push(&reader->decoder, out, filled);
            filled = 0;
        }
    }
    if (filled > 0) br_x509_decoder_push(&reader->decoder, out, filled);
}

/* An anchor's name and key lie behind each other in one block, which begins where dn.data points. */
static size_t aioc_tls_key_bytes(const br_x509_pkey *key)
{
    return key->key_type == BR_KEYTYPE_RSA ? key->key.rsa.nlen + key->key.rsa.elen : key->key.ec.qlen;
}

static bool aioc_tls_trust_add(aioc_tls_trust *trust, aioc_memory *memory, aioc_tls_reader *reader)
{
    br_x509_pkey *key = br_x509_decoder_get_pkey(&reader->decoder);
    br_x509_trust_anchor *anchor;
    unsigned char *bytes;
    if (trust->count == trust->cap) {
        size_t cap = trust->cap ? trust->cap * 2 : 16;
        void *grown = aioc_memory_resize(memory, trust->anchors, trust->cap * sizeof *anchor, cap * sizeof *anchor);
        if (!grown) return false;
        trust->anchors = grown;
        trust->cap = cap;
    }
    bytes = (unsigned char *)aioc_memory_alloc(memory, reader->name_len + aioc_tls_key_bytes(key));
    if (!bytes) return false;
    anchor = (br_x509_trust_anchor *)trust->anchors + trust->count++;
    memset(anchor, 0, sizeof *anchor);
    memcpy(bytes, reader->name, reader->name_len);
    anchor->dn.data = bytes;
    anchor->dn.len = reader->name_len;
    /* A certificate that is no CA is trusted for itself only: a self-signed one of an emulator. */
    anchor->flags = br_x509_decoder_isCA(&reader->decoder) ? BR_X509_TA_CA : 0;
    anchor->pkey = *key;
    bytes += reader->name_len;
    if (key->key_type == BR_KEYTYPE_RSA) {
        anchor->pkey.key.rsa.n = (unsigned char *)memcpy(bytes, key->key.rsa.n, key->key.rsa.nlen);
        bytes += key->key.rsa.nlen;
        anchor->pkey.key.rsa.e = (unsigned char *)memcpy(bytes, key->key.rsa.e, key->key.rsa.elen);
    } else {
        anchor->pkey.key.ec.q = (unsigned char *)memcpy(bytes, key->key.ec.q, key->key.ec.qlen);
    }
    return true;
}

static void aioc_tls_bear_trust_close(aioc_tls_trust *trust, aioc_memory *memory)
{
    br_x509_trust_anchor *anchors = (br_x509_trust_anchor *)trust->anchors;
    size_t i;
    for (i = 0; i < trust->count; i++) {
        aioc_memory_free(memory, anchors[i].dn.data, anchors[i].dn.len + aioc_tls_key_bytes(&anchors[i].pkey));
    }
    aioc_memory_free(memory, anchors, trust->cap * sizeof *anchors);
    memset(trust, 0, sizeof *trust);
}

/* Where `line` begins in the text; NULL: nowhere. */
static const char *aioc_tls_find(const char *text, const char *end, const char *line)
{
    size_t len = strlen(line);
    while ((size_t)(end - text) >= len) {
        text = (const char *)memchr(text, line[0], (size_t)(end - text) - len + 1);
        if (!text) return NULL;
        if (memcmp(text, line, len) == 0) return text;
        text++;
    }
    return NULL;
}

static int aioc_tls_bear_trust_open(aioc_tls_trust *trust, aioc_memory *memory, const char *pem, size_t len, char *err,
                                    size_t cap)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----", finish[] = "-----END CERTIFICATE-----";
    const char *at = pem, *end = pem + len;
    memset(trust, 0, sizeof *trust);
    while ((at = aioc_tls_find(at, end, begin)) != NULL) {
        aioc_tls_reader reader;
        const char *body = at + sizeof begin - 1, *stop = aioc_tls_find(body, end, "-----");
        if (!stop) stop = end;
        reader.name_len = 0;
        reader.broken = (size_t)(end - stop) < sizeof finish - 1 || memcmp(stop, finish, sizeof finish - 1) != 0;
        br_x509_decoder_init(&reader.decoder, aioc_tls_reader_name, &reader);
        aioc_tls_reader_feed(&reader, body, (size_t)(stop - body));
        at = stop;
        if (reader.broken || !br_x509_decoder_get_pkey(&reader.decoder)) {
            trust->skipped++;
        } else if (!aioc_tls_trust_add(trust, memory, &reader)) {
            aioc_tls_bear_trust_close(trust, memory);
            (void)aioc_memory_print(err, cap, "no memory for the trusted certificates");
            return AIOCOSMOS_E_NOMEM;
        }
    }
    if (trust->count > 0) return 0;
    if (trust->skipped == 0) {
        (void)aioc_memory_print(err, cap, "trusted certificates: no \"BEGIN CERTIFICATE\" in the text");
    } else {
        (void)aioc_memory_print(err, cap, "trusted certificates: none of the %llu can be used",
                                (unsigned long long)trust->skipped);
    }
    return AIOCOSMOS_E_ARGUMENT;
}

/*------------------------------------------------------------------------------
 * A session of BearSSL
 *----------------------------------------------------------------------------*/

typedef struct aioc_tls_bear aioc_tls_bear;

/* Judges the certificates of the server. BearSSL knows it by its first field and hands it their bytes; it hands them on
 * to the "minimal" engine, one whole certificate at a time, and keeps its own eye on each. */
typedef struct aioc_tls_judge {
    const br_x509_class *vtable;
    aioc_tls_bear *session;
    unsigned char *der;                   /* the certificate that is arriving */
    size_t der_len, der_size;
    unsigned count;                       /* certificates so far */
    int verdict;                          /* BR_ERR_X509_…; 0: none yet */
    int leaf_verdict;                     /* on name and purpose; it counts when the chain is good */
    union {
        br_x509_minimal_context minimal;
        br_x509_decoder_context decoder;  /* when insecure: just takes the key out */
    } engine;
} aioc_tls_judge;

struct aioc_tls_bear {
    aioc_tls_session base;
    br_ssl_client_context client;
    br_ec_impl curves;                    /* those of the key exchange */
    aioc_tls_judge judge;
    aioc_memory *memory;
    const aioc_tls_trust *trust;
    aioc_tls_resumption *resumption;
    int64_t wall_s;
    bool insecure;
    bool offered;                         /* to resume */
    unsigned char seen_len, seen[11];     /* the first bytes received: headers of record and message, version */
    unsigned char ip_len, ip[16];         /* of a host that is a literal */
    char host[256];                       /* without the dot that may end a name */
    unsigned char in[BR_SSL_BUFSIZE_INPUT];
    unsigned char out[BR_SSL_BUFSIZE_OUTPUT];
};

typedef char aioc_tls_session_is_small_enough[sizeof(aioc_tls_bear) <= AIOC_TLS_SESSION_MAX ? 1 : -1];
typedef char aioc_tls_saved_is_large_enough[sizeof(br_ssl_session_parameters) <= AIOC_TLS_SAVED_MAX ? 1 : -1];

/* The text that says why is put together from pieces. Some were sent by a server that may mean ill: only printable
 * ASCII passes. */
static void aioc_tls_say_bytes(aioc_tls_bear *session, const void *bytes, size_t len)
{
    char *why = session->base.why;
    size_t at = strlen(why), i;
    for (i = 0; i < len && at + 1 < AIOC_TLS_WHY_MAX; i++) {
        char c = ((const char *)bytes)[i];
        why[at++] = c >= 0x20 && c < 0x7F ? c : '?';
    }
    why[at] = '\0';
}

static void aioc_tls_say(aioc_tls_bear *session, const char *text)
{
    aioc_tls_say_bytes(session, text, strlen(text));
}

static void aioc_tls_say_number(aioc_tls_bear *session, unsigned long long number)
{
    char text[24];
    aioc_tls_say_bytes(session, text, aioc_memory_print(text, sizeof text, "%llu", number));
}

typedef struct aioc_tls_text { int number; const char *text; } aioc_tls_text;

/* The last entry, of number -1, is for all others. */
static const char *aioc_tls_text_of(const aioc_tls_text *texts, int number)
{
    while (texts->number != number && texts->number != -1) texts++;
    return texts->text;
}

static void aioc_tls_say_date(aioc_tls_bear *session, int64_t wall_s)
{
    char text[11];
    aioc_tls_date(text, wall_s);
    aioc_tls_say(session, text);
}

/* The common name of a distinguished name, or else its organization. */
static void aioc_tls_say_subject(aioc_tls_bear *session, aioc_tls_der name)
{
    aioc_tls_der rest, set, pair, oid, text, organization, found;
    unsigned tag, found_tag = 0, organization_tag = 0;
    memset(&found, 0, sizeof found);
    memset(&organization, 0, sizeof organization);
    if (!aioc_tls_der_take(&name, AIOC_TLS_DER_SEQUENCE, &rest)) return;
    while (aioc_tls_der_take(&rest, AIOC_TLS_DER_SET, &set)) {
        if (!aioc_tls_der_take(&set, AIOC_TLS_DER_SEQUENCE, &pair) ||
            !aioc_tls_der_take(&pair, AIOC_TLS_DER_OID, &oid) || !aioc_tls_der_next(&pair, &tag, &text)) return;
        if (aioc_tls_der_is(oid, aioc_tls_oid_common_name, sizeof aioc_tls_oid_common_name)) {
            found = text;
            found_tag = tag;
        } else if (aioc_tls_der_is(oid, aioc_tls_oid_organization, sizeof aioc_tls_oid_organization)) {
            organization = text;
            organization_tag = tag;
        }
    }
    if (!found.at) {
        found = organization;
        found_tag = organization_tag;
    }
    aioc_tls_say(session, "'");
    for (; found_tag == AIOC_TLS_DER_BMP_STRING && found.len >= 2; found.at += 2, found.len -= 2) {
        aioc_tls_say_bytes(session, found.at[0] ? "?" : (const char *)found.at + 1, 1);     /* two bytes a character */
    }
    aioc_tls_say_bytes(session, found.at, found.len < 64 ? found.len : 64);
    aioc_tls_say(session, "'");
}

/*------------------------------------------------------------------------------
 * The judge of certificates
 *----------------------------------------------------------------------------*/

static void aioc_tls_say_which(aioc_tls_bear *session, const aioc_tls_certificate *certificate)
{
    aioc_tls_say(session, session->judge.count == 0 ? "the server's certificate " : "the intermediate certificate ");
    aioc_tls_say_subject(session, certificate->subject);
}

static bool aioc_tls_is_for_host(const aioc_tls_bear *session, const aioc_tls_certificate *certificate)
{
    aioc_tls_der rest = certificate->names, name;
    unsigned tag;
    while (aioc_tls_der_next(&rest, &tag, &name)) {
        if (session->ip_len > 0) {
            if (tag == AIOC_TLS_DER_IP_ADDRESS && aioc_tls_der_is(name, session->ip, session->ip_len)) return true;
        } else if (tag == AIOC_TLS_DER_DNS_NAME) {
            if (aioc_tls_name_matches(name, session->host, strlen(session->host))) return true;
        }
    }
    return false;
}

static void aioc_tls_say_ip(aioc_tls_bear *session, aioc_tls_der ip)
{
    static const char digits[] = "0123456789abcdef";
    size_t i;
    for (i = 0; i < ip.len; i++) {
        if (i > 0 && ip.len == 4) aioc_tls_say(session, ".");
        if (i > 0 && ip.len != 4 && i % 2 == 0) aioc_tls_say(session, ":");
        if (ip.len == 4) {
            aioc_tls_say_number(session, ip.at[i]);
        } else {
            aioc_tls_say_bytes(session, digits + (ip.at[i] >> 4), 1);
            aioc_tls_say_bytes(session, digits + (ip.at[i] & 15), 1);
        }
    }
}

/* Names the host and the first names that the certificate has instead. */
static void aioc_tls_say_names(aioc_tls_bear *session, const aioc_tls_certificate *certificate)
{
    aioc_tls_der rest = certificate->names, name;
    unsigned tag, listed = 0, more = 0;
    aioc_tls_say(session, "the server's certificate is not for ");
    aioc_tls_say_bytes(session, session->host, strlen(session->host) < 100 ? strlen(session->host) : 100);
    while (aioc_tls_der_next(&rest, &tag, &name)) {
        if (tag != AIOC_TLS_DER_DNS_NAME && tag != AIOC_TLS_DER_IP_ADDRESS) continue;
        if (listed == 4) {
            more++;
            continue;
        }
        aioc_tls_say(session, listed++ == 0 ? " but for " : ", ");
        if (tag == AIOC_TLS_DER_IP_ADDRESS) aioc_tls_say_ip(session, name);
        else aioc_tls_say_bytes(session, name.at, name.len < 64 ? name.len : 64);
    }
    if (more > 0) {
        aioc_tls_say(session, " and ");
        aioc_tls_say_number(session, more);
        aioc_tls_say(session, " more");
    }
    /* RFC 6125 6.4.4 lets the common name stand in; RFC 9525 2 and every browser no longer do. */
    if (listed == 0) aioc_tls_say(session, ": it has no subjectAltName with a DNS name or IP address");
}

static void aioc_tls_say_signature(aioc_tls_bear *session, const aioc_tls_certificate *certificate)
{
    aioc_tls_der oid = certificate->signature;
    const char *with = " has a key or a signature of a kind that is not supported";
    if (oid.len == sizeof aioc_tls_oid_rsa + 1 && memcmp(oid.at, aioc_tls_oid_rsa, sizeof aioc_tls_oid_rsa) == 0) {
        switch (oid.at[sizeof aioc_tls_oid_rsa]) {    /* RFC 8017 appendix C */
        case 0x02: case 0x04: with = " is signed with MD5, which is no longer safe"; break;
        case 0x05: with = " is signed with SHA-1, which is no longer safe"; break;
        case 0x0A: with = " is signed with RSA-PSS, which is not supported"; break;
        default: break;
        }
    }
    if (aioc_tls_der_is(oid, aioc_tls_oid_ecdsa_sha1, sizeof aioc_tls_oid_ecdsa_sha1)) {
        with = " is signed with SHA-1, which is no longer safe";
    }
    aioc_tls_say(session, with);
}

static void aioc_tls_say_validity(aioc_tls_bear *session, const aioc_tls_certificate *certificate)
{
    bool late = session->wall_s > certificate->not_after_s;
    aioc_tls_say(session, late ? " expired on " : " is not valid before ");
    aioc_tls_say_date(session, late ? certificate->not_after_s : certificate->not_before_s);
    aioc_tls_say(session, " (the clock here says ");
    aioc_tls_say_date(session, session->wall_s);
    aioc_tls_say(session, ")");
}

static const aioc_tls_text aioc_tls_faults[] = {
    {BR_ERR_X509_LIMIT_EXCEEDED, " has a key or signature of more than 4096 bits"},
    {BR_ERR_X509_DN_MISMATCH, " did not issue the one before it: the chain is out of order"},
    {BR_ERR_X509_BAD_SIGNATURE, " did not sign the one before it: the signature is wrong"},
    {BR_ERR_X509_NOT_CA, " may not issue certificates: it is no CA, or too far down"},
    {BR_ERR_X509_FORBIDDEN_KEY_USAGE, " is not meant for this: its key usage forbids it"},
    {BR_ERR_X509_CRITICAL_EXTENSION, " has a critical extension that is not understood"},
    {-1, " is damaged"}
};

/* Says why BearSSL's engine refuses the certificate that it just got. */
static void aioc_tls_judge_explain(aioc_tls_judge *judge, const aioc_tls_certificate *certificate)
{
    aioc_tls_bear *session = judge->session;
    session->base.why[0] = '\0';
    aioc_tls_say_which(session, certificate);
    switch (judge->verdict) {
    case BR_ERR_X509_EXPIRED: aioc_tls_say_validity(session, certificate); break;
    case BR_ERR_X509_UNSUPPORTED: aioc_tls_say_signature(session, certificate); break;
    case BR_ERR_X509_WEAK_PUBLIC_KEY:
        aioc_tls_say(session, " has an RSA key of only ");
        aioc_tls_say_number(session, aioc_tls_certificate_rsa_bits(certificate));
        aioc_tls_say(session, " bits: 2048 is the least");
        break;
    default: aioc_tls_say(session, aioc_tls_text_of(aioc_tls_faults, judge->verdict)); break;
    }
}

static bool aioc_tls_is_name_trusted(const aioc_tls_trust *trust, aioc_tls_der name)
{
    const br_x509_trust_anchor *anchors = (const br_x509_trust_anchor *)trust->anchors;
    size_t i;
    for (i = 0; i < trust->count; i++) {
        if (aioc_tls_der_is(name, anchors[i].dn.data, anchors[i].dn.len)) return true;
    }
    return false;
}

/* Says that no anchor vouches for the chain, of which this is the last certificate. */
static void aioc_tls_say_untrusted(aioc_tls_bear *session, const aioc_tls_certificate *certificate)
{
    session->base.why[0] = '\0';
    if (aioc_tls_der_is(certificate->issuer, certificate->subject.at, certificate->subject.len)) {
        aioc_tls_say_which(session, certificate);
        aioc_tls_say(session, " is self-signed and not among the trusted ones");
        return;
    }
    aioc_tls_say(session, "nobody trusted issued the server's certificate: its issuer ");
    aioc_tls_say_subject(session, certificate->issuer);
    aioc_tls_say(session, aioc_tls_is_name_trusted(session->trust, certificate->issuer)
                              ? " has the name, but not the key, of a trusted one"
                              : " is unknown here, or an intermediate certificate is missing");
}

static void aioc_tls_judge_leaf(aioc_tls_judge *judge, const aioc_tls_certificate *certificate)
{
    aioc_tls_bear *session = judge->session;
    if (!aioc_tls_is_for_host(session, certificate)) {
        judge->leaf_verdict = BR_ERR_X509_BAD_SERVER_NAME;
        aioc_tls_say_names(session, certificate);
    } else if (!aioc_tls_certificate_is_server(certificate)) {
        judge->leaf_verdict = BR_ERR_X509_FORBIDDEN_KEY_USAGE;
        aioc_tls_say(session, "the server's certificate is not for servers: its extended key usage lacks serverAuth");
    }
}

/* One whole certificate is there. The engine's error is read from its context: only that says which certificate was
 * refused, and so with which date. */
static void aioc_tls_judge_certificate(aioc_tls_judge *judge)
{
    aioc_tls_certificate certificate;
    br_x509_minimal_context *minimal = &judge->engine.minimal;
    aioc_tls_der der;
    der.at = judge->der;
    der.len = judge->der_len;
    if (judge->der_len != judge->der_size || !aioc_tls_certificate_read(&certificate, der)) {
        judge->verdict = BR_ERR_X509_INVALID_VALUE;
        judge->session->base.why[0] = '\0';
        aioc_tls_say(judge->session, "the server sent something that is no certificate");
        return;
    }
    if (judge->count == 0) aioc_tls_judge_leaf(judge, &certificate);
    minimal->vtable->start_cert(&minimal->vtable, (uint32_t)der.len);
    minimal->vtable->append(&minimal->vtable, der.at, der.len);
    minimal->vtable->end_cert(&minimal->vtable);
    judge->verdict = minimal->err;
    if (judge->verdict == BR_ERR_X509_OK) return;
    if (judge->verdict == 0 && judge->leaf_verdict == 0) aioc_tls_say_untrusted(judge->session, &certificate);
    else if (judge->verdict != 0) aioc_tls_judge_explain(judge, &certificate);
}

static void aioc_tls_judge_refuse(aioc_tls_judge *judge, int verdict, const char *why)
{
    judge->verdict = verdict;
    judge->session->base.why[0] = '\0';
    aioc_tls_say(judge->session, why);
}

static void aioc_tls_judge_drop(aioc_tls_judge *judge)
{
    aioc_memory_free(judge->session->memory, judge->der, judge->der_size);
    judge->der = NULL;
    judge->der_len = judge->der_size = 0;
}

static void aioc_tls_judge_start_chain(const br_x509_class **self, const char *server_name)
{
    aioc_tls_judge *judge = (aioc_tls_judge *)(void *)self;
    br_x509_minimal_context *minimal = &judge->engine.minimal;
    const aioc_tls_trust *trust = judge->session->trust;
    int64_t days = judge->session->wall_s / 86400;
    (void)server_name;                    /* names are compared here, not by the engine: it knows no addresses */
    judge->count = 0;
    judge->verdict = judge->leaf_verdict = 0;
    if (judge->session->insecure) return;
    br_x509_minimal_init(minimal, &br_sha256_vtable, (const br_x509_trust_anchor *)trust->anchors, trust->count);
    br_x509_minimal_set_hash(minimal, br_sha256_ID, &br_sha256_vtable);
    br_x509_minimal_set_hash(minimal, br_sha384_ID, &br_sha384_vtable);
    br_x509_minimal_set_hash(minimal, br_sha512_ID, &br_sha512_vtable);
    br_x509_minimal_set_rsa(minimal, br_rsa_pkcs1_vrfy_get_default());
    br_x509_minimal_set_ecdsa(minimal, br_ec_get_default(), br_ecdsa_vrfy_asn1_get_default());
    br_x509_minimal_set_minrsa(minimal, 2048 / 8);
    br_x509_minimal_set_time(minimal, (uint32_t)(days + 719528), (uint32_t)(judge->session->wall_s - days * 86400));
    minimal->vtable->start_chain(&minimal->vtable, NULL);
}

static void aioc_tls_judge_start(const br_x509_class **self, uint32_t length)
{
    aioc_tls_judge *judge = (aioc_tls_judge *)(void *)self;
    if (judge->verdict != 0 || (judge->session->insecure && judge->count > 0)) return;
    if (judge->count == AIOC_TLS_CHAIN_MAX) {
        aioc_tls_judge_refuse(judge, BR_ERR_X509_LIMIT_EXCEEDED, "the server sent too many certificates");
    } else if (length == 0 || length > AIOC_TLS_CERTIFICATE_MAX) {
        aioc_tls_judge_refuse(judge, BR_ERR_X509_LIMIT_EXCEEDED, "the server sent an empty or too large certificate");
    } else {
        judge->der = (unsigned char *)aioc_memory_alloc(judge->session->memory, length);
        judge->der_size = judge->der ? length : 0;
        if (judge->der) return;
        aioc_tls_judge_refuse(judge, BR_ERR_X509_LIMIT_EXCEEDED, "no memory for the server's certificate");
    }
}

static void aioc_tls_judge_append(const br_x509_class **self, const unsigned char *bytes, size_t len)
{
    aioc_tls_judge *judge = (aioc_tls_judge *)(void *)self;
    if (len > judge->der_size - judge->der_len) len = judge->der_size - judge->der_len;
    if (len == 0) return;
    memcpy(judge->der + judge->der_len, bytes, len);
    judge->der_len += len;
}

static void aioc_tls_judge_end(const br_x509_class **self)
{
    aioc_tls_judge *judge = (aioc_tls_judge *)(void *)self;
    if (!judge->der) return;              /* refused already, or not wanted */
    if (judge->session->insecure) {
        br_x509_decoder_init(&judge->engine.decoder, NULL, NULL);
        br_x509_decoder_push(&judge->engine.decoder, judge->der, judge->der_len);
        judge->verdict = br_x509_decoder_last_error(&judge->engine.decoder);
        if (judge->verdict != 0) {
            aioc_tls_judge_refuse(judge, judge->verdict, "the server's certificate has no key that can be used");
        }
    } else {
        aioc_tls_judge_certificate(judge);
    }
    judge->count++;
    aioc_tls_judge_drop(judge);
}

static unsigned aioc_tls_judge_end_chain(const br_x509_class **self)
{
    aioc_tls_judge *judge = (aioc_tls_judge *)(void *)self;
    if (judge->session->insecure && judge->count > 0) return (unsigned)judge->verdict;
    if (judge->verdict == 0) judge->verdict = BR_ERR_X509_NOT_TRUSTED;
    if (judge->verdict == BR_ERR_X509_OK) judge->verdict = judge->leaf_verdict;
    if (judge->verdict == 0) judge->session->base.why[0] = '\0';
    return (unsigned)judge->verdict;
}

static const br_x509_pkey *aioc_tls_judge_key(const br_x509_class *const *self, unsigned *usages)
{
    aioc_tls_judge *judge = (aioc_tls_judge *)(void *)(uintptr_t)self;
    br_x509_minimal_context *minimal = &judge->engine.minimal;
    if (judge->session->insecure) {
        if (usages) *usages = BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN;
        return br_x509_decoder_get_pkey(&judge->engine.decoder);
    }
    return minimal->vtable->get_pkey((const br_x509_class *const *)&minimal->vtable, usages);
}

static const br_x509_class aioc_tls_judge_class = {
    sizeof(aioc_tls_judge), aioc_tls_judge_start_chain, aioc_tls_judge_start, aioc_tls_judge_append, aioc_tls_judge_end,
    aioc_tls_judge_end_chain, aioc_tls_judge_key
};

/*------------------------------------------------------------------------------
 * Why a handshake or a connection failed
 *----------------------------------------------------------------------------*/

/* RFC 5246 7.2, RFC 6066, and what each mostly means to a client. */
static const aioc_tls_text aioc_tls_alerts[] = {
    {0, "close_notify"}, {10, "unexpected_message"}, {20, "bad_record_mac"}, {22, "record_overflow"},
    {40, "handshake_failure: nothing in common, or it wants a client's certificate"}, {42, "bad_certificate"},
    {43, "unsupported_certificate"}, {44, "certificate_revoked"}, {45, "certificate_expired"},
    {46, "certificate_unknown"}, {47, "illegal_parameter"}, {48, "unknown_ca"}, {49, "access_denied"},
    {50, "decode_error"}, {51, "decrypt_error"}, {70, "protocol_version: it does not speak TLS 1.2"},
    {71, "insufficient_security"}, {80, "internal_error"}, {86, "inappropriate_fallback"}, {90, "user_canceled"},
    {100, "no_renegotiation"}, {109, "missing_extension"}, {110, "unsupported_extension"},
    {112, "unrecognized_name: it serves no such host"}, {116, "certificate_required: it wants one from its clients"},
    {120, "no_application_protocol"}, {-1, "unknown"}
};

static const aioc_tls_text aioc_tls_errors[] = {
    {BR_ERR_BAD_PARAM, "the server sent a malformed handshake message"},
    {BR_ERR_BAD_VERSION, "the server changed the TLS version within the connection"},
    {BR_ERR_BAD_LENGTH, "the server sent a record of impossible length"},
    {BR_ERR_TOO_LARGE, "the server sent a record that is too large"},
    {BR_ERR_BAD_MAC, "a record was damaged or forged on its way"},
    {BR_ERR_NO_RANDOM, "there is no randomness"},
    {BR_ERR_UNEXPECTED, "the server sent a message out of turn"},
    {BR_ERR_BAD_CIPHER_SUITE, "the server chose a cipher suite that was not offered"},
    {BR_ERR_BAD_COMPRESSION, "the server chose compression, which was not offered"},
    {BR_ERR_BAD_FINISHED, "the handshake was tampered with: its checksum is wrong"},
    {BR_ERR_RESUME_MISMATCH, "the server resumed the session with other parameters"},
    {BR_ERR_INVALID_ALGORITHM, "the server chose a curve or signature that was not offered"},
    {BR_ERR_BAD_SIGNATURE, "the server's signature is wrong: it does not hold the key of its certificate"},
    {BR_ERR_WRONG_KEY_USAGE, "the server's certificate has a key of the wrong kind, or not for signatures"},
    {-1, "the server broke the TLS protocol"}
};

/* Of a server that speaks something else: what that looks like. */
static void aioc_tls_say_alien(aioc_tls_bear *session)
{
    static const char *const versions[] = {"SSL 3.0", "TLS 1.0", "TLS 1.1"};
    const unsigned char *seen = session->seen;
    if (session->seen_len >= 4 && memcmp(seen, "HTTP", 4) == 0) {
        aioc_tls_say(session, "the server answered in plain HTTP: this port has no TLS");
    } else if (session->seen_len == 11 && seen[0] == 22 && seen[5] == 2 && seen[9] == 3 && seen[10] < 3) {
        aioc_tls_say(session, "the server is too old: it speaks ");
        aioc_tls_say(session, versions[seen[10]]);
        aioc_tls_say(session, ", and TLS 1.2 is the least");
    } else {
        aioc_tls_say(session, "the server did not answer in TLS 1.2: is this the right port?");
    }
}

/* From a handshake that failed: what the next session should do better. */
static void aioc_tls_learn(aioc_tls_bear *session, int error)
{
    aioc_tls_resumption *resumption = session->resumption;
    if (session->offered) {               /* perhaps it was that: the next handshake is a full one */
        resumption->have = false;
        aioc_memory_wipe(resumption->saved, sizeof resumption->saved);
        session->base.again = true;
    } else if (error == BR_ERR_RECV_FATAL_ALERT + 40 && session->judge.count == 0 && resumption &&
               !resumption->all_curves) {
        resumption->all_curves = session->base.again = true;       /* handshake_failure, before any certificate */
    }
}

static void aioc_tls_fail(aioc_tls_bear *session, int error)
{
    bool handshake = session->base.state == AIOC_TLS_HANDSHAKE;
    if (handshake) aioc_tls_learn(session, error);
    session->base.state = AIOC_TLS_FAILED;
    if (session->judge.verdict != 0 && session->judge.verdict == error) return;       /* the judge has said why */
    session->base.why[0] = '\0';
    if (error == 0) {
        aioc_tls_say(session, !handshake ? "the connection was cut: the server did not say that it is the end"
                              : session->seen_len ? "the server closed the connection during the TLS handshake"
                              : "the server closed the connection instead of answering: does this port speak TLS?");
    } else if (error >= BR_ERR_SEND_FATAL_ALERT) {
        aioc_tls_say(session, "the server broke the TLS protocol");
    } else if (error >= BR_ERR_RECV_FATAL_ALERT) {
        aioc_tls_say(session, handshake ? "the server refused the TLS handshake: alert "
                                        : "the server ended the TLS connection: alert ");
        aioc_tls_say(session, aioc_tls_text_of(aioc_tls_alerts, error - BR_ERR_RECV_FATAL_ALERT));
        aioc_tls_say(session, " (");
        aioc_tls_say_number(session, (unsigned)(error - BR_ERR_RECV_FATAL_ALERT));
        aioc_tls_say(session, ")");
    } else if (handshake && session->seen_len > 0 &&
               (error == BR_ERR_UNSUPPORTED_VERSION || session->seen[0] - 20u > 3)) {
        aioc_tls_say_alien(session);
    } else {
        aioc_tls_say(session, aioc_tls_text_of(aioc_tls_errors, error));
    }
}

/*------------------------------------------------------------------------------
 * The table's functions
 *----------------------------------------------------------------------------*/

/* Keeps what is needed to resume the session, if the server gave it an id. */
static void aioc_tls_bear_save(aioc_tls_bear *session)
{
    aioc_tls_resumption *resumption = session->resumption;
    br_ssl_session_parameters parameters;
    resumption->full++;
    br_ssl_engine_get_session_parameters(&session->client.eng, &parameters);
    resumption->have = parameters.session_id_len > 0;
    resumption->expires_s = session->wall_s + AIOC_TLS_SAVED_S;
    memcpy(resumption->saved, &parameters, sizeof parameters);
    aioc_memory_wipe(&parameters, sizeof parameters);
}

/* Follows the engine after everything that may have moved it. */
static void aioc_tls_bear_settle(aioc_tls_bear *session)
{
    br_ssl_engine_context *engine = &session->client.eng;
    unsigned now;
    if (session->base.state == AIOC_TLS_FAILED || session->base.state == AIOC_TLS_CLOSED) return;
    now = br_ssl_engine_current_state(engine);
    if (now == BR_SSL_CLOSED && (br_ssl_engine_last_error(engine) != 0 || session->base.state == AIOC_TLS_HANDSHAKE)) {
        aioc_tls_fail(session, br_ssl_engine_last_error(engine));
    } else if (now == BR_SSL_CLOSED || (engine->shutdown_recv && session->base.state == AIOC_TLS_OPEN)) {
        session->base.state = AIOC_TLS_CLOSED;        /* our own close_notify may still wait in to_send */
    } else if (session->base.state == AIOC_TLS_HANDSHAKE && (now & (BR_SSL_SENDAPP | BR_SSL_RECVAPP))) {
        session->base.state = AIOC_TLS_OPEN;
        session->base.resumed = session->judge.count == 0;
        if (!session->resumption) return;
        if (session->base.resumed) session->resumption->hits++;
        else aioc_tls_bear_save(session);
    }
}

/* Suites in the order of preference: what the processor is fast at comes first. Without AES instructions, BearSSL's
 * constant-time AES is so slow that ChaCha20 wins by far. */
static void aioc_tls_bear_set_suites(br_ssl_engine_context *engine)
{
    static const uint16_t suites[] = {
        BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    };
    bool fast_aes = br_aes_x86ni_ctr_get_vtable() != NULL || br_aes_pwr8_ctr_get_vtable() != NULL;
    br_ssl_engine_set_suites(engine, fast_aes ? suites + 2 : suites, 6);
}

/* The server's signature, over any curve: the engine would take only those that it offers for the key exchange. */
static uint32_t aioc_tls_ecdsa_verify(const br_ec_impl *offered, const void *hash, size_t hash_len,
                                      const br_ec_public_key *key, const void *signature, size_t signature_len)
{
    (void)offered;
    return br_ecdsa_vrfy_asn1_get_default()(br_ec_get_default(), hash, hash_len, key, signature, signature_len);
}

/* Key exchange over P-384 takes BearSSL 5 ms, and over P-521 10, where X25519 takes 0.8: a server that may choose often
 * chooses P-384, but nearly all know a fast curve too. So the slow ones are offered only to a server that refused. */
static void aioc_tls_bear_set_curves(aioc_tls_bear *session)
{
    const uint32_t fast = (uint32_t)1 << BR_EC_curve25519 | (uint32_t)1 << BR_EC_secp256r1;
    session->curves = *br_ec_get_default();
    if (session->resumption && !session->resumption->all_curves) session->curves.supported_curves &= fast;
    br_ssl_engine_set_ec(&session->client.eng, &session->curves);
    br_ssl_engine_set_ecdsa(&session->client.eng, aioc_tls_ecdsa_verify);
}

static void aioc_tls_bear_configure(aioc_tls_bear *session)
{
    br_ssl_engine_context *engine = &session->client.eng;
    br_ssl_client_zero(&session->client);
    br_ssl_engine_set_versions(engine, BR_TLS12, BR_TLS12);
    aioc_tls_bear_set_suites(engine);
    br_ssl_engine_set_hash(engine, br_sha256_ID, &br_sha256_vtable);
    br_ssl_engine_set_hash(engine, br_sha384_ID, &br_sha384_vtable);
    br_ssl_engine_set_hash(engine, br_sha512_ID, &br_sha512_vtable);
    br_ssl_engine_set_prf_sha256(engine, &br_tls12_sha256_prf);
    br_ssl_engine_set_prf_sha384(engine, &br_tls12_sha384_prf);
    /* "Default" is BearSSL's word for the fastest of its constant-time implementations on this processor. */
    br_ssl_engine_set_default_rsavrfy(engine);
    br_ssl_engine_set_default_aes_gcm(engine);
    br_ssl_engine_set_default_chapol(engine);
    aioc_tls_bear_set_curves(session);
    br_ssl_engine_add_flags(engine, BR_OPT_NO_RENEGOTIATION);
}

/* Keeps the host as a name without its last dot, or as the bytes of an address. False: no certificate can be for it. */
static bool aioc_tls_bear_set_host(aioc_tls_bear *session, const char *host)
{
    size_t len = strlen(host);
    session->ip_len = (unsigned char)aioc_tls_ip(host, session->ip);
    if (session->ip_len == 0 && len > 1 && host[len - 1] == '.') len--;      /* RFC 6066 3: SNI has none */
    if (len == 0 || len >= sizeof session->host) return false;
    memcpy(session->host, host, len);
    session->host[len] = '\0';
    return true;
}

static void aioc_tls_bear_start(aioc_tls_bear *session, const unsigned char entropy[32])
{
    br_ssl_engine_context *engine = &session->client.eng;
    aioc_tls_resumption *resumption = session->resumption;
    aioc_tls_bear_configure(session);
    br_ssl_engine_set_x509(engine, &session->judge.vtable);
    br_ssl_engine_set_buffers_bidi(engine, session->in, sizeof session->in, session->out, sizeof session->out);
    br_ssl_engine_inject_entropy(engine, entropy, 32);
    /* BearSSL would also ask the system: but randomness is the platform's business, so that a test can replay it. */
    engine->rng_os_rand_done = 1;
    session->offered = resumption && resumption->have && session->wall_s < resumption->expires_s;
    if (session->offered) {
        br_ssl_session_parameters parameters;
        memcpy(&parameters, resumption->saved, sizeof parameters);
        br_ssl_engine_set_session_parameters(engine, &parameters);
        aioc_memory_wipe(&parameters, sizeof parameters);
    }
    /* RFC 6066 3: an address is no name for the server name indication. */
    br_ssl_client_reset(&session->client, session->ip_len > 0 ? NULL : session->host, session->offered);
    aioc_tls_bear_settle(session);
}

static aioc_tls_session *aioc_tls_bear_open(aioc_memory *memory, const aioc_tls_config *config,
                                            aioc_tls_resumption *resumption, const char *host, int64_t wall_s,
                                            const unsigned char entropy[32])
{
    static const aioc_tls_trust nobody = {NULL, 0, 0, 0};
    aioc_tls_bear *session = (aioc_tls_bear *)aioc_memory_alloc(memory, sizeof *session);
    if (!session) return NULL;
    memset(session, 0, offsetof(aioc_tls_bear, in));
    session->base.table = config->table;
    session->base.state = AIOC_TLS_HANDSHAKE;
    session->judge.vtable = &aioc_tls_judge_class;
    session->judge.session = session;
    session->memory = memory;
    session->trust = config->trust ? config->trust : &nobody;
    session->insecure = config->insecure;
    session->resumption = resumption;
    session->wall_s = wall_s > 0 ? wall_s : 0;
    if (aioc_tls_bear_set_host(session, host)) {
        aioc_tls_bear_start(session, entropy);
    } else {
        session->base.state = AIOC_TLS_FAILED;
        aioc_tls_say(session, "the host name is empty or longer than 255 bytes");
    }
    return &session->base;
}

static void aioc_tls_bear_close(aioc_memory *memory, aioc_tls_session *base)
{
    aioc_tls_bear *session = (aioc_tls_bear *)base;
    aioc_tls_judge_drop(&session->judge);
    aioc_memory_wipe(session, sizeof *session);
    aioc_memory_free(memory, session, sizeof *session);
}

static unsigned char *aioc_tls_bear_receive_room(aioc_tls_session *base, size_t *len)
{
    return br_ssl_engine_recvrec_buf(&((aioc_tls_bear *)base)->client.eng, len);
}

static void aioc_tls_bear_received(aioc_tls_session *base, size_t len)
{
    aioc_tls_bear *session = (aioc_tls_bear *)base;
    br_ssl_engine_context *engine = &session->client.eng;
    size_t room, i;
    const unsigned char *at = br_ssl_engine_recvrec_buf(engine, &room);
    AIOCOSMOS_ASSERT(len <= room);
    if (len == 0 || len > room) return;
    for (i = 0; i < len && session->seen_len < sizeof session->seen; i++) session->seen[session->seen_len++] = at[i];
    br_ssl_engine_recvrec_ack(engine, len);
    aioc_tls_bear_settle(session);
}

static unsigned char *aioc_tls_bear_to_send(aioc_tls_session *base, size_t *len)
{
    return br_ssl_engine_sendrec_buf(&((aioc_tls_bear *)base)->client.eng, len);
}

static void aioc_tls_bear_sent(aioc_tls_session *base, size_t len)
{
    aioc_tls_bear *session = (aioc_tls_bear *)base;
    if (len == 0) return;
    br_ssl_engine_sendrec_ack(&session->client.eng, len);
    aioc_tls_bear_settle(session);
}

static size_t aioc_tls_bear_write(aioc_tls_session *base, const aiocosmos_slice *slices, size_t count, size_t offset)
{
    br_ssl_engine_context *engine = &((aioc_tls_bear *)base)->client.eng;
    size_t taken = 0, i;
    if (base->state != AIOC_TLS_OPEN) return 0;
    for (i = 0; i < count; i++) {
        const unsigned char *from = (const unsigned char *)slices[i].ptr;
        size_t len = slices[i].len, room;
        unsigned char *to;
        if (offset >= len) {
            offset -= len;
            continue;
        }
        to = br_ssl_engine_sendapp_buf(engine, &room);
        if (room == 0) break;             /* a full record closes itself */
        if (room > len - offset) room = len - offset;
        memcpy(to, from + offset, room);
        br_ssl_engine_sendapp_ack(engine, room);
        taken += room;
        if (room < len - offset) break;
        offset = 0;
    }
    if (taken > 0) br_ssl_engine_flush(engine, 0);
    return taken;
}

static const unsigned char *aioc_tls_bear_plain(aioc_tls_session *base, size_t *len)
{
    return br_ssl_engine_recvapp_buf(&((aioc_tls_bear *)base)->client.eng, len);
}

static void aioc_tls_bear_plain_used(aioc_tls_session *base, size_t len)
{
    if (len > 0) br_ssl_engine_recvapp_ack(&((aioc_tls_bear *)base)->client.eng, len);
}

static void aioc_tls_bear_ended(aioc_tls_session *base)
{
    if (base->state == AIOC_TLS_HANDSHAKE || base->state == AIOC_TLS_OPEN) aioc_tls_fail((aioc_tls_bear *)base, 0);
}

static void aioc_tls_bear_shutdown(aioc_tls_session *base)
{
    if (base->state == AIOC_TLS_OPEN) br_ssl_engine_close(&((aioc_tls_bear *)base)->client.eng);
}

static const aioc_tls_table aioc_tls_bearssl = {
    aioc_tls_bear_trust_open, aioc_tls_bear_trust_close, aioc_tls_bear_open, aioc_tls_bear_close,
    aioc_tls_bear_receive_room, aioc_tls_bear_received, aioc_tls_bear_to_send, aioc_tls_bear_sent,
    aioc_tls_bear_write, aioc_tls_bear_plain, aioc_tls_bear_plain_used, aioc_tls_bear_ended,
    aioc_tls_bear_shutdown
};

/*------------------------------------------------------------------------------
 * What the layers below call, whatever the TLS. The table says what each does
 *----------------------------------------------------------------------------*/

static int aioc_tls_trust_open(aioc_tls_trust *trust, aioc_memory *memory, const char *pem, size_t len, char *err,
                               size_t cap)
{
    return aioc_tls_bearssl.trust_open(trust, memory, pem, len, err, cap);
}

static void aioc_tls_trust_close(aioc_tls_trust *trust, aioc_memory *memory)
{
    aioc_tls_bearssl.trust_close(trust, memory);
}

static aioc_tls_session *aioc_tls_session_open(aioc_memory *memory, const aioc_tls_config *config,
                                               aioc_tls_resumption *resumption, const char *host, int64_t wall_s,
                                               const unsigned char entropy[32])
{
    return config->table->open(memory, config, resumption, host, wall_s, entropy);
}

static void aioc_tls_session_close(aioc_memory *memory, aioc_tls_session *session)
{
    if (session) session->table->close(memory, session);
}

static aioc_tls_state aioc_tls_state_of(const aioc_tls_session *session)
{
    return session->state;
}

/* Why it failed, for people; lent until the session is closed. */
static const char *aioc_tls_error(const aioc_tls_session *session)
{
    return session->why;
}

static unsigned char *aioc_tls_receive_room(aioc_tls_session *session, size_t *len)
{
    return session->table->receive_room(session, len);
}

static void aioc_tls_received(aioc_tls_session *session, size_t len)
{
    session->table->received(session, len);
}

/* The same for bytes that were read into another buffer, perhaps several records at once. Returns how many were taken,
 * no more than to the end of a record; 0: use the plaintext first. */
static size_t aioc_tls_feed(aioc_tls_session *session, const unsigned char *bytes, size_t len)
{
    size_t room;
    unsigned char *to = session->table->receive_room(session, &room);
    if (room > len) room = len;
    if (room == 0) return 0;
    memcpy(to, bytes, room);
    session->table->received(session, room);
    return room;
}

static unsigned char *aioc_tls_to_send(aioc_tls_session *session, size_t *len)
{
    return session->table->to_send(session, len);
}

static void aioc_tls_sent(aioc_tls_session *session, size_t len)
{
    session->table->sent(session, len);
}

static size_t aioc_tls_write(aioc_tls_session *session, const aiocosmos_slice *slices, size_t count, size_t offset)
{
    return session->table->write(session, slices, count, offset);
}

static const unsigned char *aioc_tls_plain(aioc_tls_session *session, size_t *len)
{
    return session->table->plain(session, len);
}

static void aioc_tls_plain_used(aioc_tls_session *session, size_t len)
{
    session->table->plain_used(session, len);
}

/* The transport has ended. Without close_notify before, the end may be an attacker's (RFC 5246 7.2.1): whoever waits
 * for more has not got all. */
static void aioc_tls_ended(aioc_tls_session *session)
{
    session->table->ended(session);
}

static void aioc_tls_shutdown(aioc_tls_session *session)
{
    session->table->shutdown(session);
}

/*==============================================================================
 * MARK: - HTTP                                                          >>http
 *
 * Turns the bytes of an HTTP/1.1 response (RFC 9110, RFC 9112) into status, headers and body. Never reads a socket:
 * feed it whatever arrived, it says how many bytes it used. Bytes that it leaves do not belong to this response.
 *
 * A response that comes in one piece is handed out as views into that piece, without a copy and without memory. What
 * comes in several is collected in two buffers, head and body. The answer is the same wherever the bytes were cut.
 *
 * May call: platform (loads of eight bytes), memory.    Knows nothing of: sockets, TLS, Cosmos, time.
 *============================================================================*/

#define AIOC_HTTP_WANTED_MAX     24      /* headers that somebody wants */
#define AIOC_HTTP_LINES_MAX      256     /* header lines */
#define AIOC_HTTP_INTERIM_MAX    8       /* 1xx answers before the answer */
#define AIOC_HTTP_SLOTS          64      /* a power of two, more than twice AIOC_HTTP_WANTED_MAX + 3 */
#define AIOC_HTTP_CHUNK_DIGITS   16      /* hexadecimal digits of a chunk's size */

typedef struct aioc_http_names {         /* of a-z, 0-9 and '-'; at most AIOC_HTTP_WANTED_MAX */
    const aiocosmos_str *names;
    size_t count;
} aioc_http_names;

typedef struct aioc_http_response {
    int status, minor;                   /* HTTP/1.minor */
    bool keep_alive;                     /* the connection may carry another request */
    aiocosmos_str head;                  /* status line and header lines as they came, the empty line included */
    aiocosmos_str wanted[AIOC_HTTP_WANTED_MAX];    /* values, in the order of the names; ptr NULL: not there */
    aiocosmos_str body;
} aioc_http_response;

typedef enum aioc_http_state {
    AIOC_HTTP_MORE,                      /* all used; feed what comes next */
    AIOC_HTTP_DONE,                      /* parser->response is complete */
    AIOC_HTTP_FAILED,                    /* aioc_http_error() says why */
    AIOC_HTTP_PAUSED                     /* no memory now: feed what was not used again later, from any address */
} aioc_http_state;

enum {                                   /* aioc_http_parser.phase: what the next byte belongs to */
    AIOC_HTTP_HEAD, AIOC_HTTP_LENGTH, AIOC_HTTP_UNTIL_CLOSE,
    AIOC_HTTP_CHUNK_FIRST, AIOC_HTTP_CHUNK_SIZE, AIOC_HTTP_CHUNK_BLANK, AIOC_HTTP_CHUNK_EXTENSION, AIOC_HTTP_CHUNK_LF,
    AIOC_HTTP_CHUNK_DATA, AIOC_HTTP_CHUNK_END, AIOC_HTTP_CHUNK_END_LF,
    AIOC_HTTP_TRAILER, AIOC_HTTP_TRAILER_NAME, AIOC_HTTP_TRAILER_VALUE, AIOC_HTTP_TRAILER_LF, AIOC_HTTP_LAST_LF,
    AIOC_HTTP_COMPLETE, AIOC_HTTP_BROKEN
};

typedef struct aioc_http_parser {
    aioc_memory *memory;
    const aioc_http_names *names;
    size_t head_max, body_max;
    aioc_http_response response;
    aioc_memory_buffer head, body;       /* of a response that does not come in one piece */
    size_t seen;                         /* bytes of this response used so far, those of 1xx answers included */
    size_t line, scan;                   /* in the head: where its current line begins, and where to look for its end */
    uint64_t length;                     /* by Content-Length */
    size_t left;                         /* bytes of the body, or of the chunk, that are still to come */
    size_t body_len;                     /* bytes of the body so far, also of one that is not kept */
    size_t overhead;                     /* bytes of chunk extensions and trailers */
    const char *error;
    int error_status;
    uint16_t lines;                      /* header lines so far */
    uint8_t phase, interim, digits;
    bool has_length, chunked, close, keep;          /* what the head said */
    bool no_body, draining;
    uint8_t slots[AIOC_HTTP_SLOTS];      /* header name → 1 + its place in names, or one of the framing headers */
} aioc_http_parser;

static aioc_http_state aioc_http_fail(aioc_http_parser *parser, int status, const char *why)
{
    parser->phase = AIOC_HTTP_BROKEN;
    parser->error_status = status;
    parser->error = why;
    return AIOC_HTTP_FAILED;
}

static aioc_http_state aioc_http_refuse(aioc_http_parser *parser, const char *why)
{
    return aioc_http_fail(parser, AIOCOSMOS_E_PROTOCOL, why);
}

/*------------------------------------------------------------------------------
 * Header names: a small hash table, made once, so that a header that nobody wants costs one look
 *----------------------------------------------------------------------------*/

/* The headers that say where a response ends; their places in the table are behind those of the names. */
enum { AIOC_HTTP_CONTENT_LENGTH = AIOC_HTTP_WANTED_MAX, AIOC_HTTP_TRANSFER_ENCODING, AIOC_HTTP_CONNECTION };

static aiocosmos_str aioc_http_name(const aioc_http_parser *parser, unsigned place)
{
    static const char *const framing[] = { "content-length", "transfer-encoding", "connection" };
    if (place < AIOC_HTTP_WANTED_MAX) return parser->names->names[place];
    return aioc_memory_str(framing[place - AIOC_HTTP_WANTED_MAX]);
}

/* Names of one service begin alike: length, middle and end tell them apart. */
static size_t aioc_http_slot(const char *name, size_t len)
{
    size_t middle = (unsigned char)name[len / 2] | 0x20u, end = (unsigned char)name[len - 1] | 0x20u;
    return (len * 7 + middle + end * 5) & (AIOC_HTTP_SLOTS - 1);
}

static void aioc_http_add_name(aioc_http_parser *parser, unsigned place)
{
    aiocosmos_str name = aioc_http_name(parser, place);
    size_t slot = aioc_http_slot(name.ptr, name.len);
    while (parser->slots[slot]) slot = (slot + 1) & (AIOC_HTTP_SLOTS - 1);
    parser->slots[slot] = (uint8_t)(place + 1);
}

/* Whether text, which has no control character, is this name in any case. With bit 5 set, a letter is lower case, and
 * nothing else that may stand there becomes a letter, a digit or '-', of which names are made. */
static bool aioc_http_is_name(aiocosmos_str name, const char *text, size_t len)
{
    const uint64_t fold = UINT64_MAX / 255 * 0x20;
    size_t i = 0;
    if (name.len != len) return false;
    for (; len - i >= 8; i += 8) {
        uint64_t a = aioc_platform_load64le((const unsigned char *)text + i);
        if ((a | fold) != aioc_platform_load64le((const unsigned char *)name.ptr + i)) return false;
    }
    for (; i < len; i++) {
        if (((unsigned char)text[i] | 0x20) != (unsigned char)name.ptr[i]) return false;
    }
    return true;
}

/*------------------------------------------------------------------------------
 * The head
 *----------------------------------------------------------------------------*/

/* Every byte of every head is looked at, so eight are looked at together. Each of these sets the top bit of the bytes
 * of a word that are below a limit, or that are one value, and perhaps of some behind the first such byte; no other
 * bits, once they are masked. */
#define AIOC_HTTP_ONES          (UINT64_MAX / 255)
#define AIOC_HTTP_TOPS          (AIOC_HTTP_ONES << 7)
#define AIOC_HTTP_BELOW(w, min) (((w) - AIOC_HTTP_ONES * (min)) & ~(w))
#define AIOC_HTTP_IS(w, value)  AIOC_HTTP_BELOW((w) ^ AIOC_HTTP_ONES * (value), 1)

/* How many bytes are before the first with its top bit set. */
static size_t aioc_http_before(uint64_t hits)
{
#if defined(__GNUC__)
    return (size_t)__builtin_ctzll(hits) / 8;
#else
    size_t count = 0;
    for (; !(hits & 0x80); hits >>= 8) count++;
    return count;
#endif
}

#if defined(__SSE2__) && defined(__GNUC__) && !defined(AIOC_HTTP_NO_SSE2)
#  define AIOC_HTTP_SSE2 1
#  include <emmintrin.h>

/* Which of sixteen bytes are at most `highest`, or are `value`, or, where not_ascii, have their top bit set. Bit 0
 * stands for the first. */
static unsigned aioc_http_hits(const char *text, char highest, char value, bool not_ascii)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)text);
    __m128i hits = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(highest)), bytes);
    hits = _mm_or_si128(hits, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(value)));
    if (not_ascii) hits = _mm_or_si128(hits, bytes);
    return (unsigned)_mm_movemask_epi8(hits);
}
#else
#  define AIOC_HTTP_SSE2 0
#endif

/* Where the first control character other than a tab stands, from `from` on; len: nowhere. */
static size_t aioc_http_control(const char *text, size_t from, size_t len)
{
    while (from < len) {
        unsigned char c;
#if AIOC_HTTP_SSE2
        if (len - from >= 16) {
            unsigned hits = aioc_http_hits(text + from, 0x1f, 0x7f, false);
            from += hits ? (size_t)__builtin_ctz(hits) : 16;
            if (!hits) continue;
        } else
#endif
        if (len - from >= 8) {
            uint64_t word = aioc_platform_load64le((const unsigned char *)text + from);
            uint64_t hits = (AIOC_HTTP_BELOW(word, 0x20) | AIOC_HTTP_IS(word, 0x7f)) & AIOC_HTTP_TOPS;
            from += hits ? aioc_http_before(hits) : 8;
            if (!hits) continue;
        }
        c = (unsigned char)text[from];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return from;
        from++;
    }
    return len;
}

/* The length of a header's name: up to the colon, or to a byte that is not visible ASCII, or to the end. Control
 * characters have been ruled out. */
static size_t aioc_http_name_len(const char *line, size_t len)
{
    size_t at = 0;
    while (at < len) {
        unsigned char c = (unsigned char)line[at];
#if AIOC_HTTP_SSE2
        if (len - at >= 16) {
            unsigned hits = aioc_http_hits(line + at, 0x20, ':', true);
            if (hits) return at + (size_t)__builtin_ctz(hits);
            at += 16;
            continue;
        }
#endif
        if (len - at >= 8) {
            uint64_t word = aioc_platform_load64le((const unsigned char *)line + at);
            uint64_t hits = (AIOC_HTTP_BELOW(word, 0x21) | AIOC_HTTP_IS(word, ':') | word) & AIOC_HTTP_TOPS;
            if (hits) return at + aioc_http_before(hits);
            at += 8;
            continue;
        }
        if (c < 0x21 || c > 0x7e || c == ':') return at;
        at++;
    }
    return len;
}

static aiocosmos_str aioc_http_trim(const char *text, size_t len)
{
    aiocosmos_str trimmed;
    while (len > 0 && (text[0] == ' ' || text[0] == '\t')) text++, len--;
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t')) len--;
    trimmed.ptr = text;
    trimmed.len = len;
    return trimmed;
}

/* Takes the next element off a comma-separated list (RFC 9110, 5.6.1); empty ones do not count. */
static bool aioc_http_next(aiocosmos_str *list, aiocosmos_str *element)
{
    while (list->len > 0) {
        const char *comma = (const char *)memchr(list->ptr, ',', list->len);
        size_t len = comma ? (size_t)(comma - list->ptr) : list->len, taken = comma ? len + 1 : len;
        *element = aioc_http_trim(list->ptr, len);
        list->ptr += taken;
        list->len -= taken;
        if (element->len > 0) return true;
    }
    return false;
}

/* Given twice, or as a list, the same length is fine (RFC 9112, 6.3); two lengths mean that somebody is lying. */
static aioc_http_state aioc_http_content_length(aioc_http_parser *parser, aiocosmos_str value)
{
    aiocosmos_str element;
    uint64_t length;
    bool some = false;
    while (aioc_http_next(&value, &element)) {
        if (!aioc_memory_parse_u64(element, &length))
            return aioc_http_refuse(parser, "the answer's Content-Length is not a number");
        if (parser->has_length && parser->length != length)
            return aioc_http_refuse(parser, "the answer has two different Content-Lengths");
        parser->has_length = some = true;
        parser->length = length;
    }
    return some ? AIOC_HTTP_MORE : aioc_http_refuse(parser, "the answer's Content-Length is empty");
}

/* Nothing but chunked was offered: no other coding may come (RFC 9112, 6.1), and that one only once. */
static aioc_http_state aioc_http_transfer_encoding(aioc_http_parser *parser, aiocosmos_str value)
{
    aiocosmos_str element;
    while (aioc_http_next(&value, &element)) {
        if (parser->chunked || !aioc_memory_same_nocase(element, aioc_memory_str("chunked")))
            return aioc_http_refuse(parser, "the answer has a Transfer-Encoding that was not asked for");
        parser->chunked = true;
    }
    return AIOC_HTTP_MORE;
}

static void aioc_http_connection(aioc_http_parser *parser, aiocosmos_str value)
{
    aiocosmos_str element;
    while (aioc_http_next(&value, &element)) {
        if (aioc_memory_same_nocase(element, aioc_memory_str("close"))) parser->close = true;
        if (aioc_memory_same_nocase(element, aioc_memory_str("keep-alive"))) parser->keep = true;
    }
}

/* "HTTP/1.1 200 OK"; the reason, and the space before it, may be missing. */
static aioc_http_state aioc_http_status_line(aioc_http_parser *parser, const char *line, size_t len)
{
    int status = 0, i;
    if (len < 12 || line[7] < '0' || line[7] > '9' || line[8] != ' ' || (len > 12 && line[12] != ' '))
        return aioc_http_refuse(parser, "the answer's status line is malformed");
    for (i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9') return aioc_http_refuse(parser, "the answer's status is not a number");
        status = status * 10 + (line[i] - '0');
    }
    if (status < 100) return aioc_http_refuse(parser, "the answer's status is below 100");
    parser->response.status = status;
    parser->response.minor = line[7] - '0';
    return AIOC_HTTP_MORE;
}

static aioc_http_state aioc_http_header_line(aioc_http_parser *parser, const char *line, size_t len)
{
    aioc_http_state state = AIOC_HTTP_MORE;
    aiocosmos_str value;
    size_t name_len = aioc_http_name_len(line, len), slot;
    /* Lines that go on in the next one were given up, and space before the colon was never allowed (RFC 9112, 5.1,
     * 5.2); readers that differ about them can be played off against each other. */
    if (line[0] == ' ' || line[0] == '\t') return aioc_http_refuse(parser, "a header of the answer is folded");
    if (name_len == 0 || name_len == len || line[name_len] != ':')
        return aioc_http_refuse(parser, "a header line of the answer is malformed");
    if (++parser->lines > AIOC_HTTP_LINES_MAX)
        return aioc_http_fail(parser, AIOCOSMOS_E_TOO_LARGE, "the answer has more than 256 header lines");
    value = aioc_http_trim(line + name_len + 1, len - name_len - 1);
    slot = aioc_http_slot(line, name_len);
    for (; parser->slots[slot] && state == AIOC_HTTP_MORE; slot = (slot + 1) & (AIOC_HTTP_SLOTS - 1)) {
        unsigned place = parser->slots[slot] - 1u;
        if (!aioc_http_is_name(aioc_http_name(parser, place), line, name_len)) continue;
        switch (place) {
        case AIOC_HTTP_CONTENT_LENGTH: state = aioc_http_content_length(parser, value); break;
        case AIOC_HTTP_TRANSFER_ENCODING: state = aioc_http_transfer_encoding(parser, value); break;
        case AIOC_HTTP_CONNECTION: aioc_http_connection(parser, value); break;
        default: if (!parser->response.wanted[place].ptr) parser->response.wanted[place] = value;
        }
    }
    return state;
}

/* Refuses what is not HTTP at its first bytes, not after 32 KiB of it. */
static aioc_http_state aioc_http_first_bytes(aioc_http_parser *parser, const char *text, size_t len)
{
    static const char version[] = "HTTP/1.";
    size_t known = len < sizeof version - 1 ? len : sizeof version - 1;
    if (memcmp(text, version, known) == 0) return AIOC_HTTP_MORE;
    /* A TLS record that carries an alert or a handshake (RFC 5246, 6.2.1). */
    if (text[0] == 0x15 || text[0] == 0x16)
        return aioc_http_refuse(parser, "the answer is TLS, not plain HTTP: the endpoint has to begin with https://");
    return aioc_http_refuse(parser, "the answer is not HTTP/1.1");
}

/* Goes on with the lines of a head that begins at text. MORE: it does not end within len bytes. DONE: it is head_len
 * bytes long. */
static aioc_http_state aioc_http_lines(aioc_http_parser *parser, const char *text, size_t len, size_t *head_len)
{
    static const char too_large[] = "the answer's head is over the limit";
    aioc_http_state state = AIOC_HTTP_MORE;
    if (parser->line == 0 && len > 0) state = aioc_http_first_bytes(parser, text, len);
    while (state == AIOC_HTTP_MORE) {
        size_t end = parser->scan = aioc_http_control(text, parser->scan, len), next = end + 1;
        if ((end < len ? next : len) > parser->head_max)
            return aioc_http_fail(parser, AIOCOSMOS_E_TOO_LARGE, too_large);
        if (end == len) return AIOC_HTTP_MORE;
        if (text[end] == '\r') {
            if (next == len) return AIOC_HTTP_MORE;
            next++;
        }
        /* A bare LF ends a line, too (RFC 9112, 2.2); a bare CR, or NUL, does not. */
        if (text[next - 1] != '\n') return aioc_http_refuse(parser, "the answer's head has a control character");
        if (next > parser->head_max) return aioc_http_fail(parser, AIOCOSMOS_E_TOO_LARGE, too_large);
        if (parser->line == 0) state = aioc_http_status_line(parser, text, end);
        else if (end > parser->line) state = aioc_http_header_line(parser, text + parser->line, end - parser->line);
        else state = AIOC_HTTP_DONE;
        parser->line = parser->scan = *head_len = next;
    }
    return state;
}

/* The head moves: what points into it follows. */
static void aioc_http_rebase(aioc_http_parser *parser, const char *from, const char *to)
{
    size_t i;
    for (i = 0; i < parser->names->count; i++) {
        aiocosmos_str *view = &parser->response.wanted[i];
        if (view->ptr) view->ptr = to + (view->ptr - from);
    }
}

/* Appends to the head that is being collected. before: where the head was until now. */
static bool aioc_http_keep(aioc_http_parser *parser, const char *before, const char *bytes, size_t len)
{
    aioc_memory_buffer grown = { NULL, 0, 0 };
    if (parser->head.cap - parser->head.len < len) {
        if (!aioc_memory_reserve(parser->memory, &grown, parser->head.len * 2 + len)) return false;
        if (parser->head.len) memcpy(grown.data, parser->head.data, parser->head.len);
        grown.len = parser->head.len;
        aioc_http_rebase(parser, before, grown.data);
        aioc_memory_buffer_free(parser->memory, &parser->head);
        parser->head = grown;
    }
    memcpy(parser->head.data + parser->head.len, bytes, len);
    parser->head.len += len;
    return true;
}

/* Forgets the head so far, and the body with it. */
static void aioc_http_begin_head(aioc_http_parser *parser)
{
    if (parser->head.cap) aioc_memory_buffer_free(parser->memory, &parser->head);
    if (parser->body.cap) aioc_memory_buffer_free(parser->memory, &parser->body);
    memset(parser->response.wanted, 0, parser->names->count * sizeof parser->response.wanted[0]);
    parser->response.head.len = parser->response.body.len = 0;
    parser->response.head.ptr = parser->response.body.ptr = NULL;
    parser->phase = AIOC_HTTP_HEAD;
    parser->line = parser->scan = 0;
    parser->lines = 0;
    parser->left = parser->body_len = parser->overhead = 0;
    parser->has_length = parser->chunked = parser->close = parser->keep = false;
}

/* A complete head says how its body ends (RFC 9112, 6.3). */
static aioc_http_state aioc_http_framing(aioc_http_parser *parser)
{
    aioc_http_response *response = &parser->response;
    /* With both, readers disagree about where the answer ends (RFC 9112, 6.1). */
    if (parser->chunked && parser->has_length)
        return aioc_http_refuse(parser, "the answer has both Content-Length and Transfer-Encoding");
    /* HTTP/1.0 knows neither chunks nor, unless it says so, a second request (RFC 9112, 6.1, 9.3). */
    response->keep_alive = !parser->close && (response->minor > 0 || (parser->keep && !parser->chunked));
    if (parser->no_body || response->status == 204 || response->status == 304) {
        parser->phase = AIOC_HTTP_COMPLETE;
    } else if (parser->chunked) {
        parser->phase = AIOC_HTTP_CHUNK_FIRST;
    } else if (!parser->has_length) {
        parser->phase = AIOC_HTTP_UNTIL_CLOSE;
        response->keep_alive = false;
    } else if (parser->length > parser->body_max) {
        return aioc_http_fail(parser, AIOCOSMOS_E_TOO_LARGE, "the answer's body is over the limit");
    } else {
        parser->left = (size_t)parser->length;
        parser->phase = parser->left > 0 ? AIOC_HTTP_LENGTH : AIOC_HTTP_COMPLETE;
    }
    return AIOC_HTTP_MORE;
}

/* A head is complete: a 1xx answer is only an announcement of the real one (RFC 9110, 15.2). */
static aioc_http_state aioc_http_head_done(aioc_http_parser *parser)
{
    if (parser->response.status >= 200) return aioc_http_framing(parser);
    if (parser->response.status == 101)
        return aioc_http_refuse(parser, "the answer switches to a protocol that was not asked for");
    if (++parser->interim > AIOC_HTTP_INTERIM_MAX)
        return aioc_http_refuse(parser, "the answer is announced again and again, but does not come");
    aioc_http_begin_head(parser);
    return AIOC_HTTP_MORE;
}

/* The bytes of a head, from data[*at] on. MORE: the phase says whether the head, or the data, has ended. */
static aioc_http_state aioc_http_feed_head(aioc_http_parser *parser, const char *data, size_t len, size_t *at)
{
    aioc_http_state state;
    size_t head_len = 0, held = parser->head.len;
    if (held == 0) {
        const char *text = data + *at;
        state = aioc_http_lines(parser, text, len - *at, &head_len);
        if (state == AIOC_HTTP_MORE) {
            if (!aioc_http_keep(parser, text, text, len - *at)) {
                aioc_http_begin_head(parser);
                return AIOC_HTTP_PAUSED;
            }
            *at = len;
            return AIOC_HTTP_MORE;
        }
        parser->response.head.ptr = text;
    } else {
        /* Where the head ends is not known yet: what is copied beyond it is cut off again. */
        size_t more = parser->head_max + 1 - held;
        if (more > len - *at) more = len - *at;
        if (!aioc_http_keep(parser, parser->head.data, data + *at, more)) return AIOC_HTTP_PAUSED;
        state = aioc_http_lines(parser, parser->head.data, parser->head.len, &head_len);
        if (state == AIOC_HTTP_MORE) {
            *at += more;
            return AIOC_HTTP_MORE;
        }
        parser->head.len = head_len;
        parser->response.head.ptr = parser->head.data;
    }
    if (state == AIOC_HTTP_FAILED) return state;
    parser->response.head.len = head_len;
    *at += head_len - held;
    return aioc_http_head_done(parser);
}

/*------------------------------------------------------------------------------
 * The body
 *----------------------------------------------------------------------------*/

static aioc_http_state aioc_http_complete(aioc_http_parser *parser)
{
    parser->phase = AIOC_HTTP_COMPLETE;
    if (parser->response.body.len == 0 && parser->body.len > 0) {
        parser->response.body.ptr = parser->body.data;
        parser->response.body.len = parser->body.len;
    }
    return AIOC_HTTP_DONE;
}

/* The whole body stands in the fed piece: lent from there. */
static aioc_http_state aioc_http_lend(aioc_http_parser *parser, const char *bytes, size_t len)
{
    parser->response.body.ptr = bytes;
    parser->response.body.len = parser->body_len = len;
    return aioc_http_complete(parser);
}

/* Adds to the body that is being collected. False: no memory now. */
static bool aioc_http_collect(aioc_http_parser *parser, const char *bytes, size_t len)
{
    if (!parser->draining) {
        if (!aioc_memory_reserve(parser->memory, &parser->body, len)) return false;
        /* aioc_http_room() may have had them put in place already. */
        if (bytes != parser->body.data + parser->body.len) memcpy(parser->body.data + parser->body.len, bytes, len);
        parser->body.len += len;
    }
    parser->body_len += len;
    return true;
}

/* All the memory of a body whose length is known is taken before its first byte, so that many bodies at once, short of
 * memory, do not all wait for each other halfway. */
static aioc_http_state aioc_http_feed_length(aioc_http_parser *parser, const char *data, size_t len, size_t *at)
{
    size_t here = len - *at < parser->left ? len - *at : parser->left;
    if (here == parser->length && !parser->draining) {
        *at += here;
        return aioc_http_lend(parser, data + *at - here, here);
    }
    if (!parser->body.cap && !parser->draining) {
        if (!aioc_memory_reserve(parser->memory, &parser->body, parser->left)) return AIOC_HTTP_PAUSED;
    }
    if (!aioc_http_collect(parser, data + *at, here)) return AIOC_HTTP_PAUSED;
    *at += here;
    parser->left -= here;
    return parser->left > 0 ? AIOC_HTTP_MORE : aioc_http_complete(parser);
}

static aioc_http_state aioc_http_feed_until_close(aioc_http_parser *parser, const char *data, size_t len, size_t *at)
{
    size_t here = len - *at;
    if (here > parser->body_max - parser->body_len)
        return aioc_http_fail(parser, AIOCOSMOS_E_TOO_LARGE, "the answer's body is over the limit");
    if (here > 0 && !aioc_http_collect(parser, data + *at, here)) return AIOC_HTTP_PAUSED;
    *at = len;
    return AIOC_HTTP_MORE;
}

static int aioc_http_hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static aioc_http_state aioc_http_chunk_digit(aioc_http_parser *parser, int digit)
{
    if (++parser->digits > AIOC_HTTP_CHUNK_DIGITS)
        return aioc_http_refuse(parser, "a chunk's size has too many digits");
    if (parser->left > (SIZE_MAX >> 4) || (parser->left << 4 | (size_t)digit) > parser->body_max - parser->body_len)
        return aioc_http_fail(parser, AIOCOSMOS_E_TOO_LARGE, "the answer's body is over the limit");
    parser->left = parser->left << 4 | (size_t)digit;
    parser->phase = AIOC_HTTP_CHUNK_SIZE;
    return AIOC_HTTP_MORE;
}

/* The data of a chunk. A body that is one chunk, with its end, in one piece, is lent. */
static aioc_http_state aioc_http_chunk_data(aioc_http_parser *parser, const char *data, size_t len, size_t *at)
{
    static const char end[] = "\r\n0\r\n\r\n";
    const size_t end_len = sizeof end - 1;
    size_t have = len - *at, here = have < parser->left ? have : parser->left;
    if (parser->body_len == 0 && !parser->draining && have >= end_len && have - end_len >= parser->left &&
        memcmp(data + *at + here, end, end_len) == 0) {
        *at += here + end_len;
        return aioc_http_lend(parser, data + *at - end_len - here, here);
    }
    if (!aioc_http_collect(parser, data + *at, here)) return AIOC_HTTP_PAUSED;
    *at += here;
    parser->left -= here;
    if (parser->left == 0) parser->phase = AIOC_HTTP_CHUNK_END;
    return AIOC_HTTP_MORE;
}

/* Extensions mean nothing to us, trailers no more (RFC 9112, 7.1.1, 7.1.2), but both have to end. */
static aioc_http_state aioc_http_skip(aioc_http_parser *parser, char byte, int phase)
{
    unsigned char c = (unsigned char)byte;
    parser->phase = (uint8_t)phase;
    if (++parser->overhead > parser->head_max)
        return aioc_http_fail(parser, AIOCOSMOS_E_TOO_LARGE, "the answer's chunk extensions and trailers are too long");
    if ((c < 0x20 && c != '\t') || c == 0x7f)
        return aioc_http_refuse(parser, "a chunk extension or trailer has a control character");
    return AIOC_HTTP_MORE;
}

/* The end of a chunk's size line. */
static aioc_http_state aioc_http_chunk_begin(aioc_http_parser *parser)
{
    parser->phase = parser->left > 0 ? AIOC_HTTP_CHUNK_DATA : AIOC_HTTP_TRAILER;
    return AIOC_HTTP_MORE;
}

/* One byte between the data of two chunks, or behind the last. */
static aioc_http_state aioc_http_chunk_byte(aioc_http_parser *parser, char c)
{
    int digit = aioc_http_hex(c);
    bool lf = c == '\n', cr = c == '\r', visible = c > 0x20 && c < 0x7f;
    switch (parser->phase) {
    case AIOC_HTTP_CHUNK_FIRST:
        parser->left = parser->digits = 0;
        if (digit < 0) break;
        return aioc_http_chunk_digit(parser, digit);
    case AIOC_HTTP_CHUNK_SIZE:
        if (digit >= 0) return aioc_http_chunk_digit(parser, digit);
        /* fall through */
    case AIOC_HTTP_CHUNK_BLANK:          /* "bad" whitespace before an extension; some servers end the line with it */
        if (c == ' ' || c == '\t') return aioc_http_skip(parser, c, AIOC_HTTP_CHUNK_BLANK);
        if (c == ';') return aioc_http_skip(parser, c, AIOC_HTTP_CHUNK_EXTENSION);
        if (!cr && !lf) break;
        /* fall through */
    case AIOC_HTTP_CHUNK_EXTENSION:
        if (lf) return aioc_http_chunk_begin(parser);
        if (!cr) return aioc_http_skip(parser, c, AIOC_HTTP_CHUNK_EXTENSION);
        parser->phase = AIOC_HTTP_CHUNK_LF;
        return AIOC_HTTP_MORE;
    case AIOC_HTTP_CHUNK_LF:
        if (lf) return aioc_http_chunk_begin(parser);
        break;
    case AIOC_HTTP_CHUNK_END:
    case AIOC_HTTP_CHUNK_END_LF:
        if (lf) parser->phase = AIOC_HTTP_CHUNK_FIRST;
        else if (cr && parser->phase == AIOC_HTTP_CHUNK_END) parser->phase = AIOC_HTTP_CHUNK_END_LF;
        else break;
        return AIOC_HTTP_MORE;
    case AIOC_HTTP_TRAILER:              /* at the start of a line: an empty one is the end */
        if (lf) return aioc_http_complete(parser);
        if (cr) parser->phase = AIOC_HTTP_LAST_LF;
        else if (visible && c != ':') return aioc_http_skip(parser, c, AIOC_HTTP_TRAILER_NAME);
        else break;
        return AIOC_HTTP_MORE;
    case AIOC_HTTP_TRAILER_NAME:
        if (c == ':') return aioc_http_skip(parser, c, AIOC_HTTP_TRAILER_VALUE);
        if (visible) return aioc_http_skip(parser, c, AIOC_HTTP_TRAILER_NAME);
        break;
    case AIOC_HTTP_TRAILER_VALUE:
        if (lf) parser->phase = AIOC_HTTP_TRAILER;
        else if (cr) parser->phase = AIOC_HTTP_TRAILER_LF;
        else return aioc_http_skip(parser, c, AIOC_HTTP_TRAILER_VALUE);
        return AIOC_HTTP_MORE;
    case AIOC_HTTP_TRAILER_LF:
        if (!lf) break;
        parser->phase = AIOC_HTTP_TRAILER;
        return AIOC_HTTP_MORE;
    default:                             /* AIOC_HTTP_LAST_LF */
        if (lf) return aioc_http_complete(parser);
    }
    return aioc_http_refuse(parser, parser->phase < AIOC_HTTP_TRAILER ? "the answer's chunks are malformed"
                                                                     : "a trailer of the answer is malformed");
}

static aioc_http_state aioc_http_feed_chunks(aioc_http_parser *parser, const char *data, size_t len, size_t *at)
{
    aioc_http_state state = AIOC_HTTP_MORE;
    while (*at < len && state == AIOC_HTTP_MORE) {
        if (parser->phase == AIOC_HTTP_CHUNK_DATA) state = aioc_http_chunk_data(parser, data, len, at);
        else state = aioc_http_chunk_byte(parser, data[(*at)++]);
    }
    return state;
}

/*------------------------------------------------------------------------------
 * The parser as others see it
 *----------------------------------------------------------------------------*/

/* names must outlive the parser. */
static void aioc_http_open(aioc_http_parser *parser, aioc_memory *memory, const aioc_http_names *names, size_t head_max,
                           size_t body_max)
{
    unsigned place;
    AIOCOSMOS_ASSERT(names->count <= AIOC_HTTP_WANTED_MAX);
    memset(parser, 0, sizeof *parser);
    parser->memory = memory;
    parser->names = names;
    parser->head_max = head_max;
    parser->body_max = body_max;
    for (place = 0; place < names->count; place++) aioc_http_add_name(parser, place);
    for (place = AIOC_HTTP_CONTENT_LENGTH; place <= AIOC_HTTP_CONNECTION; place++) aioc_http_add_name(parser, place);
}

/* A new response begins; what the last one lent is gone. no_body: it answers a HEAD request. */
static void aioc_http_start(aioc_http_parser *parser, bool no_body)
{
    aioc_http_begin_head(parser);
    parser->no_body = no_body;
    parser->draining = false;
    parser->seen = 0;
    parser->interim = 0;
    parser->error = NULL;
    parser->error_status = 0;
}

static aioc_http_state aioc_http_feed(aioc_http_parser *parser, const char *data, size_t len, size_t *used)
{
    aioc_http_state state = AIOC_HTTP_MORE;
    size_t at = 0, head_at = 0;
    while (state == AIOC_HTTP_MORE && parser->phase == AIOC_HTTP_HEAD && at < len) {
        head_at = at;
        state = aioc_http_feed_head(parser, data, len, &at);
    }
    if (state == AIOC_HTTP_MORE) {
        switch (parser->phase) {
        case AIOC_HTTP_HEAD: break;
        case AIOC_HTTP_LENGTH: if (at < len) state = aioc_http_feed_length(parser, data, len, &at); break;
        case AIOC_HTTP_UNTIL_CLOSE: state = aioc_http_feed_until_close(parser, data, len, &at); break;
        case AIOC_HTTP_COMPLETE: state = AIOC_HTTP_DONE; break;
        case AIOC_HTTP_BROKEN: state = AIOC_HTTP_FAILED; break;
        default: state = aioc_http_feed_chunks(parser, data, len, &at);
        }
    }
    /* The piece that was fed will be gone; a head that lies in it has to be kept, or read once more. */
    if (state != AIOC_HTTP_DONE && state != AIOC_HTTP_FAILED && parser->phase != AIOC_HTTP_HEAD && !parser->head.len) {
        aiocosmos_str head = parser->response.head;
        if (aioc_http_keep(parser, head.ptr, head.ptr, head.len)) {
            parser->response.head.ptr = parser->head.data;
        } else {
            aioc_http_begin_head(parser);
            at = head_at;
            state = AIOC_HTTP_PAUSED;
        }
    }
    parser->seen += state == AIOC_HTTP_FAILED ? len : at;
    *used = at;
    return state;
}

/* The connection has ended. DONE: so has the response; else FAILED. */
static aioc_http_state aioc_http_end(aioc_http_parser *parser)
{
    switch (parser->phase) {
    case AIOC_HTTP_COMPLETE: return AIOC_HTTP_DONE;
    case AIOC_HTTP_BROKEN: return AIOC_HTTP_FAILED;
    case AIOC_HTTP_UNTIL_CLOSE: return aioc_http_complete(parser);
    default: break;
    }
    return aioc_http_refuse(parser, parser->seen == 0 ? "the connection was closed before the answer"
                                                      : "the connection was closed in the middle of the answer");
}

/* E_PROTOCOL or E_TOO_LARGE, and why, for people; 0 and NULL unless FAILED. */
static int aioc_http_error(const aioc_http_parser *parser, const char **why)
{
    *why = parser->error;
    return parser->error_status;
}

/* Where more of a body that is being collected may be put, to be fed from there without a copy. 0: nowhere. */
static size_t aioc_http_room(aioc_http_parser *parser, char **where)
{
    if (parser->phase != AIOC_HTTP_LENGTH || !parser->body.cap || parser->draining) return 0;
    *where = parser->body.data + parser->body.len;
    return parser->left;
}

/* Hands over a body that was collected: *size bytes of the parser's memory, at their start response.body. False: the
 * body is lent, or there is none. */
static bool aioc_http_take_body(aioc_http_parser *parser, char **ptr, size_t *size)
{
    if (parser->phase != AIOC_HTTP_COMPLETE || parser->body.len == 0) return false;
    *ptr = parser->body.data;
    *size = parser->body.cap;
    memset(&parser->body, 0, sizeof parser->body);
    return true;
}

/* The value of the first header of this name, in any case; ptr NULL: there is none. */
static aiocosmos_str aioc_http_header(aiocosmos_str head, const char *name)
{
    aiocosmos_str wanted = aioc_memory_str(name), found = { NULL, 0 };
    const char *at = head.ptr, *end = head.ptr + head.len;
    while (at < end) {
        const char *lf = (const char *)memchr(at, '\n', (size_t)(end - at)), *stop = lf ? lf : end;
        if (stop > at && stop[-1] == '\r') stop--;
        if ((size_t)(stop - at) > wanted.len && at[wanted.len] == ':') {
            found.ptr = at;
            found.len = wanted.len;
            if (aioc_memory_same_nocase(found, wanted))
                return aioc_http_trim(at + wanted.len + 1, (size_t)(stop - at) - wanted.len - 1);
        }
        at = lf ? lf + 1 : end;
    }
    found.ptr = NULL;
    found.len = 0;
    return found;
}

/* Nobody wants this response any more: from here on its body is counted, not kept. */
static void aioc_http_drain(aioc_http_parser *parser)
{
    parser->draining = true;
    if (parser->body.cap) aioc_memory_buffer_free(parser->memory, &parser->body);
}

static void aioc_http_close(aioc_http_parser *parser)
{
    aioc_http_begin_head(parser);
}

/*==============================================================================
 * MARK: - Pool                                                          >>pool
 *
 * The connections of one endpoint, and the queue of exchanges (one request, one answer) in front of them. Connections
 * are opened when exchanges wait and none is idle, never more than wait; the one used last is used next, so that the
 * rest grow old and close. In steady state an exchange costs one send and one receive and nothing else: no memory, no
 * timer, no call to the poller, which watches every connection for reading as long as it lives.
 *
 * Callbacks run from the reactor (events, timers) and from aioc_pool_work, and only when the pool is consistent: they
 * may start and cancel exchanges, but not close the pool. An idle connection that was closed is seen by polling: poll
 * before aioc_pool_work.
 *
 * May call: platform, memory, resolve, tls, http.    Knows nothing of: Cosmos, operations, retries, deadlines.
 *============================================================================*/

#define AIOC_POOL_RECEIVE_MAX   262144u  /* bytes taken from one connection before others have their turn */
#define AIOC_POOL_ADDRESSES_MAX 8        /* of one name, that are tried */
#define AIOC_POOL_STAGGER_US    250000u  /* RFC 8305, 5: the next address is tried while the last one is still silent */
#define AIOC_POOL_BACKOFF_US    50000u   /* after a failed connect; doubled by each further one */
#define AIOC_POOL_BACKOFF_MAX   5        /* doublings: 1.6 s */
#define AIOC_POOL_AGAIN_MAX     2        /* handshakes repeated at once */
#define AIOC_POOL_WARMING_MAX   4        /* connections that warming up opens at the same time */
#define AIOC_POOL_DRAIN_BYTES   65536u   /* of an answer that nobody wants, before the connection is not worth it */
#define AIOC_POOL_DRAIN_US      1000000u
#define AIOC_POOL_RETIRE_US     300000000u         /* a connection's life: names move, old servers should be let go */
#define AIOC_POOL_RETIRE_MORE   60000000u          /* and a random part of this, so that not all go at once */
#define AIOC_POOL_PAUSE_US      10000u   /* how often a reader without memory tries again */
#define AIOC_POOL_PAUSES_MAX    3000     /* and how many times: 30 s */
#define AIOC_POOL_MESSAGE_MAX   768

typedef struct aioc_pool aioc_pool;
typedef struct aioc_pool_connection aioc_pool_connection;
typedef struct aioc_pool_exchange aioc_pool_exchange;

/* How an exchange ended. All pointers are lent until done returns. */
typedef struct aioc_pool_outcome {
    int error;                           /* 0: response is there; else E_DNS, CONNECT, TLS, PROTOCOL, TOO_LARGE, NOMEM,
                                          * or what prepare said */
    const char *message;                 /* why, for people; NULL if error is 0 or prepare's */
    bool sent;                           /* the last byte of the request has reached send() */
    bool reused;                         /* the connection was there before the exchange */
    bool silent;                         /* not a byte of an answer came */
    aioc_http_response *response;        /* NULL if error is not 0 */
    aioc_http_parser *parser;            /* of the response, to take its body; NULL if error is not 0 */
    uint32_t queue_us;                   /* waiting, without what follows */
    uint32_t dns_us, tcp_us, tls_us;     /* of a connection that is not reused */
    uint32_t first_byte_us, body_us;     /* from sending to the first byte, from there to the last */
} aioc_pool_outcome;

struct aioc_pool_exchange {              /* embedded in an operation; zeroed at first, prepare, done and owner set */
    aioc_pool_exchange *prev, *next;
    aioc_pool_connection *connection;
    uint64_t started_us;
    uint64_t number;                     /* of all exchanges started in this pool */
    int error;                           /* of one that has failed while queued */
    uint8_t state;
    /* A connection is there and the request is about to be written: fills head and body; they stay valid until done or
     * cancel. < 0: the exchange ends with that error; done is called. May not call the pool. */
    int  (*prepare)(aioc_pool_exchange *exchange, aiocosmos_slice slices[2]);
    /* Exactly once, unless cancelled. The exchange is out of the pool and may be started again. */
    void (*done)(aioc_pool_exchange *exchange, const aioc_pool_outcome *outcome);
    void *owner;
};

enum { AIOC_POOL_OUTSIDE, AIOC_POOL_QUEUED, AIOC_POOL_DOOMED, AIOC_POOL_ACTIVE };       /* aioc_pool_exchange.state */

typedef struct aioc_pool_options {
    const char *host;                    /* a name or a literal; outlives the pool */
    uint16_t port;
    bool tls;
    const aioc_tls_config *tls_config;   /* outlives the pool */
    uint32_t connections_max, idle_timeout_ms, connect_timeout_ms;
    size_t head_max, body_max;           /* of an answer, in bytes */
    const aioc_http_names *names;        /* outlives the pool */
    void (*log)(void *user, int level, const char *message);           /* may be NULL */
    void *log_user;
} aioc_pool_options;

/* One address that a connection tries. */
typedef struct aioc_pool_try {
    aioc_platform_source source;
    aiocosmos_address address;
    bool open;
} aioc_pool_try;

/* A connection on its way: the addresses are tried one after the other, each with a start of 250 ms before the next,
 * and the first that connects wins (RFC 8305). */
typedef struct aioc_pool_dial {
    aioc_platform_timer stagger;
    size_t count, next, open;            /* tries, how many were begun, how many of those are undecided */
    int io;                              /* how the last one failed */
    size_t failed;                       /* which that was */
    aioc_pool_try tries[AIOC_POOL_ADDRESSES_MAX];
} aioc_pool_dial;

typedef enum aioc_pool_stage {
    AIOC_POOL_RESOLVING, AIOC_POOL_CONNECTING, AIOC_POOL_SHAKING,      /* on its way: name, TCP, TLS */
    AIOC_POOL_IDLE, AIOC_POOL_BUSY, AIOC_POOL_DRAINING
} aioc_pool_stage;

struct aioc_pool_connection {
    aioc_platform_source source;
    aioc_pool *pool;
    aioc_pool_connection *prev, *next;             /* all of the pool */
    aioc_pool_connection *idle_prev, *idle_next;   /* idle, the most recently used first */
    aioc_pool_connection *shaking_next;            /* with a handshake record to read */
    aioc_pool_exchange *exchange;
    aioc_pool_dial *dial;
    aioc_tls_session *tls;
    aioc_http_parser http;
    aiocosmos_slice request[2];
    size_t request_len, written;         /* written: to the socket, or over TLS into the session */
    aioc_memory_buffer spill;            /* received, but there was no memory to parse it; from spill_at on */
    size_t spill_at;
    aioc_platform_timer timer;           /* while opening, draining or paused */
    uint64_t limit;                      /* pool->exchanges when it was begun: it was opened for these */
    uint64_t stage_us;                   /* since when it is at this stage */
    uint64_t open_us, retire_us, idle_us, sent_us, first_us;
    uint32_t dns_us, tcp_us, tls_us;
    uint32_t drained, pauses;
    uint8_t stage;
    bool connected;                      /* source.fd is a socket */
    bool shaking;                        /* in the list of those with a handshake record to read */
    bool served, reused, sent, paused;
    bool heard;                          /* something of an answer has come, at first_us */
    bool broken;                         /* cannot be written to any more; what the server said may still be there */
};

struct aioc_pool {
    aioc_platform_reactor *reactor;
    aioc_memory *memory;
    aioc_resolve *resolver;
    char *scratch;                       /* everything is received here first; shared by all pools of a client */
    size_t scratch_size;
    aioc_pool_options options;
    aioc_pool_exchange *first, *last;    /* queued, the oldest first */
    aioc_pool_exchange *first_doomed, *last_doomed;
    aioc_pool_connection *connections;
    aioc_pool_connection *idle, *idle_last;
    aioc_pool_connection *shaking, *shaking_last;
    uint32_t queued, opening, open, idle_count, resolving;
    uint32_t warm;                       /* connections to have, whether anybody waits or not */
    uint32_t failures;                   /* connects in a row */
    uint32_t shakes_again;               /* handshakes in a row that were repeated at once */
    uint64_t exchanges;                  /* started so far */
    uint64_t patience_us;                /* no further connection is opened before */
    uint64_t random;
    aioc_platform_timer patience_timer, idle_timer;
    aioc_resolve_waiter waiter;
    aiocosmos_address preferred;         /* connected last: tried first; family 0: none */
    aioc_tls_resumption resumption;
    uint64_t opened, bytes_sent, bytes_received;
    char message[AIOC_POOL_MESSAGE_MAX];           /* of the failure being reported */
    char doom[AIOC_POOL_MESSAGE_MAX];              /* of those that have failed while queued */
};

/*------------------------------------------------------------------------------
 * Small things
 *----------------------------------------------------------------------------*/

static uint64_t aioc_pool_now(const aioc_pool *pool)
{
    return pool->reactor->now_us;
}

static uint32_t aioc_pool_span(uint64_t from_us, uint64_t to_us)
{
    uint64_t span_us = to_us > from_us ? to_us - from_us : 0;
    return span_us < UINT32_MAX ? (uint32_t)span_us : UINT32_MAX;
}

/* Only spreads things in time: xorshift64* (Vigna, "Experimental exploration of Marsaglia's xorshift generators"). */
static uint64_t aioc_pool_random(aioc_pool *pool, uint64_t below)
{
    pool->random ^= pool->random >> 12;
    pool->random ^= pool->random << 25;
    pool->random ^= pool->random >> 27;
    return (pool->random * 0x2545F4914F6CDD1Du >> 32) % below;
}

static void aioc_pool_log(const aioc_pool *pool, int level, const char *message)
{
    if (pool->options.log) pool->options.log(pool->options.log_user, level, message);
}

/* "name:443", "127.0.0.1:8081", "[::1]:8081" */
static void aioc_pool_endpoint(const aioc_pool *pool, char *out, size_t cap)
{
    const char *host = pool->options.host;
    bool bare = host[0] != '[' && strchr(host, ':') != NULL;
    aioc_memory_print(out, cap, bare ? "[%s]:%u" : "%s:%u", host, (unsigned)pool->options.port);
}

static void aioc_pool_queue_add(aioc_pool_exchange **first, aioc_pool_exchange **last, aioc_pool_exchange *exchange)
{
    exchange->next = NULL;
    exchange->prev = *last;
    *(*last ? &(*last)->next : first) = exchange;
    *last = exchange;
}

static void aioc_pool_queue_remove(aioc_pool_exchange **first, aioc_pool_exchange **last, aioc_pool_exchange *exchange)
{
    *(exchange->prev ? &exchange->prev->next : first) = exchange->next;
    *(exchange->next ? &exchange->next->prev : last) = exchange->prev;
    exchange->prev = exchange->next = NULL;
}

/*------------------------------------------------------------------------------
 * The end of a connection
 *----------------------------------------------------------------------------*/

static void aioc_pool_idle_remove(aioc_pool *pool, aioc_pool_connection *connection)
{
    *(connection->idle_prev ? &connection->idle_prev->idle_next : &pool->idle) = connection->idle_next;
    *(connection->idle_next ? &connection->idle_next->idle_prev : &pool->idle_last) = connection->idle_prev;
    connection->idle_prev = connection->idle_next = NULL;
    pool->idle_count--;
}

static void aioc_pool_shaking_remove(aioc_pool *pool, aioc_pool_connection *connection)
{
    aioc_pool_connection *before = NULL, *at = pool->shaking;
    if (!connection->shaking) return;
    for (; at != connection; at = at->shaking_next) before = at;
    *(before ? &before->shaking_next : &pool->shaking) = connection->shaking_next;
    if (pool->shaking_last == connection) pool->shaking_last = before;
    connection->shaking_next = NULL;
    connection->shaking = false;
}

static void aioc_pool_try_close(aioc_pool *pool, aioc_pool_try *attempt)
{
    const aiocosmos_platform *platform = pool->reactor->platform;
    if (!attempt->open) return;
    aioc_platform_watch(pool->reactor, &attempt->source, 0);
    platform->socket_close(platform->user_data, attempt->source.fd);
    attempt->open = false;
}

static void aioc_pool_dial_free(aioc_pool_connection *connection)
{
    aioc_pool *pool = connection->pool;
    aioc_pool_dial *dial = connection->dial;
    size_t i;
    if (!dial) return;
    for (i = 0; i < dial->count; i++) aioc_pool_try_close(pool, &dial->tries[i]);
    aioc_platform_timer_stop(pool->reactor, &dial->stagger);
    aioc_memory_free(pool->memory, dial, sizeof *dial);
    connection->dial = NULL;
}

/* RFC 5246, 7.2.1 asks for a close_notify; nobody waits for it to arrive. In a forked child (no poller) the session is
 * the parent's: nothing may be said. */
static void aioc_pool_say_goodbye(aioc_pool_connection *connection)
{
    aioc_pool *pool = connection->pool;
    const aiocosmos_platform *platform = pool->reactor->platform;
    aiocosmos_slice slice;
    if (!pool->reactor->poller || connection->broken || aioc_tls_state_of(connection->tls) != AIOC_TLS_OPEN) return;
    aioc_tls_shutdown(connection->tls);
    slice.ptr = aioc_tls_to_send(connection->tls, &slice.len);
    if (slice.len > 0) platform->socket_send(platform->user_data, connection->source.fd, &slice, 1);
}

/* Takes the connection out of everything and frees it. Its exchange, if it had one, has been taken off before. */
static void aioc_pool_close_connection(aioc_pool_connection *connection)
{
    aioc_pool *pool = connection->pool;
    const aiocosmos_platform *platform = pool->reactor->platform;
    if (connection->tls) {
        aioc_pool_say_goodbye(connection);
        aioc_tls_session_close(pool->memory, connection->tls);
    }
    aioc_pool_dial_free(connection);
    if (connection->connected) {
        aioc_platform_watch(pool->reactor, &connection->source, 0);
        platform->socket_close(platform->user_data, connection->source.fd);
    }
    aioc_platform_timer_stop(pool->reactor, &connection->timer);
    aioc_pool_shaking_remove(pool, connection);
    if (connection->stage == AIOC_POOL_IDLE) aioc_pool_idle_remove(pool, connection);
    if (connection->stage == AIOC_POOL_RESOLVING && --pool->resolving == 0)
        aioc_resolve_cancel(pool->resolver, &pool->waiter);
    if (connection->stage < AIOC_POOL_IDLE) pool->opening--;
    else pool->open--;
    *(connection->prev ? &connection->prev->next : &pool->connections) = connection->next;
    if (connection->next) connection->next->prev = connection->prev;
    aioc_http_close(&connection->http);
    aioc_memory_buffer_free(pool->memory, &connection->spill);
    aioc_memory_free(pool->memory, connection, sizeof *connection);
}

/*------------------------------------------------------------------------------
 * The end of an exchange
 *----------------------------------------------------------------------------*/

/* Takes the exchange off its connection, and says all about its end but how. */
static aioc_pool_exchange *aioc_pool_detach(aioc_pool_connection *connection, aioc_pool_outcome *outcome)
{
    aioc_pool_exchange *exchange = connection->exchange;
    uint64_t now_us = aioc_pool_now(connection->pool), sent_us = connection->sent_us, first_us = connection->first_us;
    uint32_t waited_us = aioc_pool_span(exchange->started_us, sent_us), opening_us = 0;
    memset(outcome, 0, sizeof *outcome);
    outcome->sent = connection->sent;
    outcome->reused = connection->reused;
    outcome->silent = !connection->heard;
    if (!connection->reused) {
        outcome->dns_us = connection->dns_us;
        outcome->tcp_us = connection->tcp_us;
        outcome->tls_us = connection->tls_us;
        opening_us = connection->dns_us + connection->tcp_us + connection->tls_us;
    }
    outcome->queue_us = waited_us > opening_us ? waited_us - opening_us : 0;
    outcome->first_byte_us = aioc_pool_span(sent_us, connection->heard ? first_us : now_us);
    outcome->body_us = connection->heard ? aioc_pool_span(first_us, now_us) : 0;
    connection->exchange = NULL;
    exchange->connection = NULL;
    exchange->state = AIOC_POOL_OUTSIDE;
    return exchange;
}

/* What has killed a connection while it was idle has probably killed those, too, that were idle for longer: then a
 * second try would only meet the next dead one. */
static void aioc_pool_close_stale(aioc_pool *pool, uint64_t idle_us)
{
    while (pool->idle_last && pool->idle_last->idle_us <= idle_us) aioc_pool_close_connection(pool->idle_last);
}

/* Ends the connection's exchange with an error, and the connection. message is of the pool, or static. */
static void aioc_pool_fail(aioc_pool_connection *connection, int error, const char *message)
{
    aioc_pool *pool = connection->pool;
    aioc_pool_outcome outcome;
    aioc_pool_exchange *exchange = aioc_pool_detach(connection, &outcome);
    uint64_t idle_us = connection->idle_us;
    outcome.error = error;
    outcome.message = message;
    aioc_pool_close_connection(connection);
    if (error == AIOCOSMOS_E_CONNECT && outcome.reused && outcome.silent) aioc_pool_close_stale(pool, idle_us);
    exchange->done(exchange, &outcome);
}

/* The same, with the endpoint before the reason. */
static void aioc_pool_fail_because(aioc_pool_connection *connection, int error, const char *why)
{
    aioc_pool *pool = connection->pool;
    char endpoint[AIOC_RESOLVE_HOST_MAX + 16];
    aioc_pool_endpoint(pool, endpoint, sizeof endpoint);
    aioc_memory_print(pool->message, sizeof pool->message, "%s: %s", endpoint, why);
    aioc_pool_fail(connection, error, pool->message);
}

/* An exchange that waits in the queue has failed. Its callback runs from aioc_pool_work, one a call. If others still
 * wait for theirs, it shares their reason. */
static void aioc_pool_doom(aioc_pool *pool, aioc_pool_exchange *exchange, int error, const char *message)
{
    if (!pool->first_doomed) aioc_memory_print(pool->doom, sizeof pool->doom, "%s", message);
    aioc_pool_queue_remove(&pool->first, &pool->last, exchange);
    pool->queued--;
    exchange->error = pool->first_doomed ? pool->first_doomed->error : error;
    exchange->state = AIOC_POOL_DOOMED;
    aioc_pool_queue_add(&pool->first_doomed, &pool->last_doomed, exchange);
}

static void aioc_pool_deliver_doomed(aioc_pool *pool)
{
    aioc_pool_exchange *exchange = pool->first_doomed;
    aioc_pool_outcome outcome;
    memset(&outcome, 0, sizeof outcome);
    outcome.error = exchange->error;
    outcome.message = pool->message;
    outcome.silent = true;
    outcome.queue_us = aioc_pool_span(exchange->started_us, aioc_pool_now(pool));
    memcpy(pool->message, pool->doom, sizeof pool->message);
    aioc_pool_queue_remove(&pool->first_doomed, &pool->last_doomed, exchange);
    exchange->state = AIOC_POOL_OUTSIDE;
    exchange->done(exchange, &outcome);
}

/*------------------------------------------------------------------------------
 * Opening a connection
 *----------------------------------------------------------------------------*/

static void aioc_pool_ready(aioc_platform_source *source, unsigned ready);
static void aioc_pool_write(aioc_pool_connection *connection);

/* Opens nothing for a while: after a failure, lest a dead server be stormed. */
static void aioc_pool_back_off(aioc_pool *pool)
{
    uint64_t wait_us = (uint64_t)AIOC_POOL_BACKOFF_US
                       << (pool->failures < AIOC_POOL_BACKOFF_MAX ? pool->failures : AIOC_POOL_BACKOFF_MAX);
    pool->failures++;
    pool->patience_us = aioc_pool_now(pool) + wait_us / 2 + aioc_pool_random(pool, wait_us / 2 + 1);
}

/* A connection that is being opened comes to nothing. If there are others, the queue is theirs; if not, those who have
 * waited for this one fail with it. Those who came later have a try of their own. */
static void aioc_pool_open_failed(aioc_pool_connection *connection, int error, const char *message)
{
    aioc_pool *pool = connection->pool;
    uint64_t limit = connection->limit;
    aioc_pool_close_connection(connection);
    aioc_pool_back_off(pool);
    pool->warm = 0;
    aioc_pool_log(pool, 2, message);
    if (pool->open > 0 || (error == AIOCOSMOS_E_NOMEM && pool->opening > 0)) return;
    while (pool->first && pool->first->number <= limit) aioc_pool_doom(pool, pool->first, error, message);
}

/* The same, with "HOST (ADDRESS:PORT)" in the message, or only one of them where they are the same. */
static void aioc_pool_dial_failed(aioc_pool_connection *connection, int error, size_t which, const char *how)
{
    aioc_pool *pool = connection->pool;
    const aiocosmos_address *address = &connection->dial->tries[which].address;
    char text[AIOC_RESOLVE_ADDRESS_TEXT_MAX];
    char place[AIOC_RESOLVE_ADDRESS_TEXT_MAX + 16];
    const char *host = pool->options.host;
    aioc_resolve_address_text(address, text);
    aioc_memory_print(place, sizeof place, address->family == 6 ? "[%s]:%u" : "%s:%u", text, (unsigned)address->port);
    if (strcmp(host, text) == 0 || (host[0] == '[' && strncmp(host + 1, text, strlen(text)) == 0))
        aioc_memory_print(pool->message, sizeof pool->message, "connect to %s %s", place, how);
    else
        aioc_memory_print(pool->message, sizeof pool->message, "connect to %s (%s) %s", host, place, how);
    aioc_pool_open_failed(connection, error, pool->message);
}

static void aioc_pool_open_failed_because(aioc_pool_connection *connection, int error, const char *what,
                                          const char *why)
{
    aioc_pool *pool = connection->pool;
    char endpoint[AIOC_RESOLVE_HOST_MAX + 16];
    aioc_pool_endpoint(pool, endpoint, sizeof endpoint);
    aioc_memory_print(pool->message, sizeof pool->message, "%s %s: %s", what, endpoint, why);
    aioc_pool_open_failed(connection, error, pool->message);
}

static const char *aioc_pool_why(int io)
{
    switch (io) {
    case AIOCOSMOS_IO_REFUSED:     return "refused: nobody listens there";
    case AIOCOSMOS_IO_UNREACHABLE: return "failed: the host cannot be reached (no route, firewall, no answer in time)";
    case AIOCOSMOS_IO_LIMIT:       return "failed: this machine is out of descriptors, ports or memory";
    case AIOCOSMOS_IO_UNSUPPORTED: return "failed: this machine does not support that kind of address";
    case AIOCOSMOS_IO_CLOSED:      return "failed: the other side closed the connection at once";
    default:                       return "failed: the system refused";
    }
}

/* Somebody waits for whom no connection is on its way, or it should be warm here. */
static bool aioc_pool_wants_connection(const aioc_pool *pool)
{
    uint32_t total = pool->open + pool->opening;
    if (total >= pool->options.connections_max) return false;
    if (pool->queued > pool->opening && pool->idle_count == 0) return true;
    return total < pool->warm && pool->opening < AIOC_POOL_WARMING_MAX;
}

static void aioc_pool_set_stage(aioc_pool_connection *connection, aioc_pool_stage stage, uint32_t *span_us)
{
    uint64_t now_us = aioc_pool_now(connection->pool);
    *span_us = aioc_pool_span(connection->stage_us, now_us);
    connection->stage_us = now_us;
    connection->stage = (uint8_t)stage;
}

static void aioc_pool_idle_fire(aioc_platform_timer *timer)
{
    aioc_pool *pool = (aioc_pool *)timer->owner;
    uint64_t wait_us = (uint64_t)pool->options.idle_timeout_ms * 1000u;
    while (pool->idle_last && pool->idle_last->idle_us + wait_us <= aioc_pool_now(pool))
        aioc_pool_close_connection(pool->idle_last);
    if (pool->idle_last) aioc_platform_timer_start(pool->reactor, timer, pool->idle_last->idle_us + wait_us);
}

/* The connection is free. One timer serves all idle ones: it is set for the one that has been idle longest, and left
 * alone when that is used after all. */
static void aioc_pool_make_idle(aioc_pool_connection *connection)
{
    aioc_pool *pool = connection->pool;
    aioc_http_start(&connection->http, false);
    connection->stage = AIOC_POOL_IDLE;
    connection->idle_us = aioc_pool_now(pool);
    connection->idle_next = pool->idle;
    *(pool->idle ? &pool->idle->idle_prev : &pool->idle_last) = connection;
    pool->idle = connection;
    pool->idle_count++;
    if (!pool->idle_timer.armed)
        aioc_platform_timer_start(pool->reactor, &pool->idle_timer,
                                  connection->idle_us + (uint64_t)pool->options.idle_timeout_ms * 1000u);
}

/* TCP, and TLS if there is one, are there. */
static void aioc_pool_opened(aioc_pool_connection *connection)
{
    aioc_pool *pool = connection->pool;
    aioc_platform_timer_stop(pool->reactor, &connection->timer);
    aioc_pool_shaking_remove(pool, connection);
    connection->open_us = aioc_pool_now(pool);
    connection->retire_us = connection->open_us + AIOC_POOL_RETIRE_US + aioc_pool_random(pool, AIOC_POOL_RETIRE_MORE);
    pool->opening--;
    pool->open++;
    pool->opened++;
    pool->failures = pool->shakes_again = 0;
    pool->patience_us = 0;
    aioc_pool_make_idle(connection);
}

/* The handshake has failed. If the next one avoids what was wrong with this one (it does not try to resume, say), that
 * is tried at once, and nobody fails yet. */
static void aioc_pool_shake_failed(aioc_pool_connection *connection, int error)
{
    aioc_pool *pool = connection->pool;
    if (!connection->tls->again || pool->shakes_again == AIOC_POOL_AGAIN_MAX) {
        aioc_pool_open_failed_because(connection, error, "TLS with", aioc_tls_error(connection->tls));
        return;
    }
    pool->shakes_again++;
    pool->patience_us = 0;
    aioc_pool_close_connection(connection);
}

/* The handshake goes on: what the session has to say is written, then it is open, or it is not. True: not yet. */
static bool aioc_pool_shake_on(aioc_pool_connection *connection)
{
    if (!connection->broken) aioc_pool_write(connection);
    if (connection->broken) aioc_tls_ended(connection->tls);
    switch (aioc_tls_state_of(connection->tls)) {
    case AIOC_TLS_HANDSHAKE:
        return true;
    case AIOC_TLS_OPEN:
        aioc_pool_set_stage(connection, AIOC_POOL_IDLE, &connection->tls_us);
        aioc_pool_opened(connection);
        return false;
    case AIOC_TLS_CLOSED:
        aioc_pool_open_failed_because(connection, AIOCOSMOS_E_CONNECT, "TLS with", "the server closed it at once");
        return false;
    default:
        aioc_pool_shake_failed(connection, connection->broken ? AIOCOSMOS_E_CONNECT : AIOCOSMOS_E_TLS);
        return false;
    }
}

static void aioc_pool_begin_tls(aioc_pool_connection *connection)
{
    static const char what[] = "TLS with";
    aioc_pool *pool = connection->pool;
    const aiocosmos_platform *platform = pool->reactor->platform;
    unsigned char entropy[32];
    if (platform->entropy(platform->user_data, entropy, sizeof entropy) < 0) {
        aioc_pool_open_failed_because(connection, AIOCOSMOS_E_TLS, what, "this machine has no randomness to give yet");
        return;
    }
    connection->tls = aioc_tls_session_open(pool->memory, pool->options.tls_config, &pool->resumption,
                                            pool->options.host, platform->wall_ms(platform->user_data) / 1000, entropy);
    aioc_memory_wipe(entropy, sizeof entropy);
    if (!connection->tls) {
        aioc_pool_open_failed_because(connection, AIOCOSMOS_E_NOMEM, what, "no memory for a session");
        return;
    }
    aioc_pool_shake_on(connection);
}

/* One of the addresses has answered: its socket becomes the connection's, the others are closed. */
static void aioc_pool_won(aioc_pool_connection *connection, aioc_pool_try *winner)
{
    aioc_pool *pool = connection->pool;
    aioc_platform_watch(pool->reactor, &winner->source, 0);
    winner->open = false;
    pool->preferred = winner->address;
    connection->source.fd = winner->source.fd;
    connection->connected = true;
    aioc_pool_dial_free(connection);
    aioc_pool_set_stage(connection, AIOC_POOL_SHAKING, &connection->tcp_us);
    if (aioc_platform_watch(pool->reactor, &connection->source, AIOCOSMOS_READABLE) < 0)
        aioc_pool_open_failed_because(connection, AIOCOSMOS_E_NOMEM, "connect to", "no memory to watch the connection");
    else if (pool->options.tls) aioc_pool_begin_tls(connection);
    else aioc_pool_opened(connection);
}

static void aioc_pool_try_failed(aioc_pool_connection *connection, size_t which, int io)
{
    aioc_pool_dial *dial = connection->dial;
    aioc_pool_try_close(connection->pool, &dial->tries[which]);
    dial->io = io;
    dial->failed = which;
}

/* Begins to connect to one address. 0: connected; AGAIN: undecided; else it has failed. */
static int aioc_pool_try_begin(aioc_pool_connection *connection, size_t which)
{
    aioc_pool *pool = connection->pool;
    aioc_pool_try *attempt = &connection->dial->tries[which];
    const aiocosmos_platform *platform = pool->reactor->platform;
    int io = platform->socket_open(platform->user_data, &attempt->source.fd, false, &attempt->address);
    if (io != 0 && io != AIOCOSMOS_IO_AGAIN) return io;
    attempt->open = true;
    if (io == AIOCOSMOS_IO_AGAIN && aioc_platform_watch(pool->reactor, &attempt->source, AIOCOSMOS_WRITABLE) < 0)
        return AIOCOSMOS_IO_LIMIT;
    return io;
}

/* Tries the next address, and further ones as long as they fail at once. When none is left, and none undecided, that
 * was it: the connection is closed. */
static void aioc_pool_dial_on(aioc_pool_connection *connection)
{
    aioc_pool *pool = connection->pool;
    aioc_pool_dial *dial = connection->dial;
    while (dial->next < dial->count) {
        size_t which = dial->next++;
        int io = aioc_pool_try_begin(connection, which);
        if (io == 0) {
            aioc_pool_won(connection, &dial->tries[which]);
            return;
        }
        if (io == AIOCOSMOS_IO_AGAIN) {
            dial->open++;
            if (dial->next < dial->count)
                aioc_platform_timer_start(pool->reactor, &dial->stagger, aioc_pool_now(pool) + AIOC_POOL_STAGGER_US);
            return;
        }
        aioc_pool_try_failed(connection, which, io);
    }
    if (dial->open == 0) aioc_pool_dial_failed(connection, AIOCOSMOS_E_CONNECT, dial->failed, aioc_pool_why(dial->io));
}

static void aioc_pool_stagger_fire(aioc_platform_timer *timer)
{
    aioc_pool_dial_on((aioc_pool_connection *)timer->owner);
}

static void aioc_pool_try_ready(aioc_platform_source *source, unsigned ready)
{
    aioc_pool_connection *connection = (aioc_pool_connection *)source->owner;
    const aiocosmos_platform *platform = connection->pool->reactor->platform;
    aioc_pool_dial *dial = connection->dial;
    int io = platform->socket_error(platform->user_data, source->fd);
    size_t which = 0;
    (void)ready;
    while (&dial->tries[which].source != source) which++;
    if (io == AIOCOSMOS_IO_AGAIN) return;
    dial->open--;
    if (io == 0) {
        aioc_pool_won(connection, &dial->tries[which]);
    } else {
        aioc_pool_try_failed(connection, which, io);
        aioc_pool_dial_on(connection);
    }
}

static bool aioc_pool_same_address(const aiocosmos_address *a, const aiocosmos_address *b)
{
    return a->family == b->family && a->scope == b->scope && memcmp(a->ip, b->ip, a->family == 4 ? 4 : 16) == 0;
}

/* The name's addresses are there. The one that worked last comes first: where IPv6 leads nowhere, only the first
 * connection pays for finding out. */
static void aioc_pool_dial_start(aioc_pool_connection *connection, const aiocosmos_address *addresses, size_t count)
{
    aioc_pool *pool = connection->pool;
    aioc_pool_dial *dial;
    size_t i, first = 0;
    aioc_pool_set_stage(connection, AIOC_POOL_CONNECTING, &connection->dns_us);
    pool->resolving--;
    dial = connection->dial = (aioc_pool_dial *)aioc_memory_zalloc(pool->memory, sizeof *dial);
    if (!dial) {
        aioc_pool_open_failed_because(connection, AIOCOSMOS_E_NOMEM, "connect to", "no memory");
        return;
    }
    for (i = 0; i < count; i++) {
        if (aioc_pool_same_address(&addresses[i], &pool->preferred)) first = i;
    }
    dial->count = count < AIOC_POOL_ADDRESSES_MAX ? count : AIOC_POOL_ADDRESSES_MAX;
    dial->stagger.fire = aioc_pool_stagger_fire;
    dial->stagger.owner = connection;
    for (i = 0; i < dial->count; i++) {
        aioc_pool_try *attempt = &dial->tries[i];
        attempt->address = addresses[i == 0 ? first : i <= first ? i - 1 : i];
        attempt->address.port = pool->options.port;
        attempt->source.ready = aioc_pool_try_ready;
        attempt->source.owner = connection;
    }
    aioc_pool_dial_on(connection);
}

/* One look-up serves all connections that wait for it. */
static void aioc_pool_resolved(aioc_resolve_waiter *waiter, const aiocosmos_address *addresses, size_t count,
                               const char *error)
{
    aioc_pool *pool = (aioc_pool *)waiter->owner;
    aioc_pool_connection *connection = pool->connections, *next;
    for (; connection; connection = next) {
        next = connection->next;
        if (connection->stage != AIOC_POOL_RESOLVING) continue;
        if (count > 0) {
            aioc_pool_dial_start(connection, addresses, count);
        } else {
            aioc_memory_print(pool->message, sizeof pool->message, "%s", error);
            aioc_pool_open_failed(connection, AIOCOSMOS_E_DNS, pool->message);
        }
    }
}

/* Name, TCP and TLS together took too long. */
static void aioc_pool_open_timed_out(aioc_pool_connection *connection)
{
    char how[96];
    unsigned limit_ms = connection->pool->options.connect_timeout_ms;
    aioc_memory_print(how, sizeof how, "timed out after %u ms", limit_ms);
    switch (connection->stage) {
    case AIOC_POOL_RESOLVING:
        aioc_pool_open_failed_because(connection, AIOCOSMOS_E_DNS, "look up", how);
        break;
    case AIOC_POOL_CONNECTING:
        aioc_pool_dial_failed(connection, AIOCOSMOS_E_CONNECT, connection->dial->next - 1, how);
        break;
    default:
        aioc_memory_print(how, sizeof how, "timed out after %u ms: does this port speak TLS?", limit_ms);
        aioc_pool_open_failed_because(connection, AIOCOSMOS_E_CONNECT, "TLS with", how);
    }
}

static void aioc_pool_resume(aioc_pool_connection *connection);

static void aioc_pool_timer_fire(aioc_platform_timer *timer)
{
    aioc_pool_connection *connection = (aioc_pool_connection *)timer->owner;
    if (connection->stage < AIOC_POOL_IDLE) aioc_pool_open_timed_out(connection);
    else if (connection->paused) aioc_pool_resume(connection);
    else aioc_pool_close_connection(connection);             /* drained for too long */
}

static aioc_pool_connection *aioc_pool_new_connection(aioc_pool *pool)
{
    aioc_pool_connection *connection =
        (aioc_pool_connection *)aioc_memory_zalloc(pool->memory, sizeof(aioc_pool_connection));
    const aioc_pool_options *options = &pool->options;
    if (!connection) return NULL;
    connection->pool = pool;
    connection->source.ready = aioc_pool_ready;
    connection->source.owner = connection;
    connection->timer.fire = aioc_pool_timer_fire;
    connection->timer.owner = connection;
    connection->limit = pool->exchanges;
    connection->stage_us = aioc_pool_now(pool);
    connection->stage = AIOC_POOL_RESOLVING;
    connection->next = pool->connections;
    if (connection->next) connection->next->prev = connection;
    pool->connections = connection;
    pool->resolving++;
    pool->opening++;
    aioc_http_open(&connection->http, pool->memory, options->names, options->head_max, options->body_max);
    return connection;
}

/* Opens one connection, as far as that can be done now. */
static void aioc_pool_open_connection(aioc_pool *pool)
{
    const aiocosmos_address *addresses;
    const char *error;
    size_t count;
    int result;
    aioc_pool_connection *connection = aioc_pool_new_connection(pool);
    if (!connection) {
        aioc_pool_back_off(pool);
        while (pool->first && pool->open + pool->opening == 0)
            aioc_pool_doom(pool, pool->first, AIOCOSMOS_E_NOMEM, "no memory for a connection");
        return;
    }
    /* As long as no connection is open, only one is being opened, and each 250 ms one more: if the server is down, it
     * is not stormed; if it is up, the first finds out which address works, and gets the TLS session that all others
     * resume. */
    if (pool->open == 0) pool->patience_us = aioc_pool_now(pool) + AIOC_POOL_STAGGER_US;
    aioc_platform_timer_start(pool->reactor, &connection->timer,
                              aioc_pool_now(pool) + (uint64_t)pool->options.connect_timeout_ms * 1000u);
    if (pool->waiter.waiting) return;
    result = aioc_resolve_ask(pool->resolver, pool->options.host, &pool->waiter, &addresses, &count, &error);
    if (result == AIOC_RESOLVE_LATER) return;
    if (result == 0) {
        aioc_pool_dial_start(connection, addresses, count);
    } else {
        aioc_memory_print(pool->message, sizeof pool->message, "%s", error);
        aioc_pool_open_failed(connection, result, pool->message);
    }
}

/*------------------------------------------------------------------------------
 * Writing
 *----------------------------------------------------------------------------*/

/* What is left to be written goes when there is room; until then, answers are still read: a server may refuse a request
 * before it has seen all of it. */
static void aioc_pool_watch_writable(aioc_pool_connection *connection, bool on)
{
    unsigned want = connection->source.want & ~(unsigned)AIOCOSMOS_WRITABLE;
    if (on) want |= AIOCOSMOS_WRITABLE;
    if (want == connection->source.want) return;
    if (aioc_platform_watch(connection->pool->reactor, &connection->source, want) < 0) connection->broken = true;
}

/* One call of send(). How many bytes went; what stays is watched for. */
static size_t aioc_pool_send(aioc_pool_connection *connection, const aiocosmos_slice *slices, size_t count, size_t len)
{
    aioc_pool *pool = connection->pool;
    const aiocosmos_platform *platform = pool->reactor->platform;
    ptrdiff_t sent = platform->socket_send(platform->user_data, connection->source.fd, slices, count);
    if (sent < 0 && sent != AIOCOSMOS_IO_AGAIN) connection->broken = true;
    if (sent < 0) sent = 0;
    pool->bytes_sent += (uint64_t)sent;
    aioc_pool_watch_writable(connection, (size_t)sent < len && !connection->broken);
    return (size_t)sent;
}

static void aioc_pool_write_plain(aioc_pool_connection *connection)
{
    aiocosmos_slice left[2];
    size_t skip = connection->written, count = 0, i;
    for (i = 0; i < 2; i++) {
        const aiocosmos_slice *slice = &connection->request[i];
        size_t gone = skip < slice->len ? skip : slice->len;
        skip -= gone;
        if (gone == slice->len) continue;
        left[count].ptr = (const char *)slice->ptr + gone;
        left[count++].len = slice->len - gone;
    }
    connection->written += aioc_pool_send(connection, left, count, connection->request_len - connection->written);
    connection->sent = connection->written == connection->request_len;
}

/* The request, a record at a time, and whatever else the session has to say. */
static void aioc_pool_write_tls(aioc_pool_connection *connection)
{
    aiocosmos_slice slice;
    for (;;) {
        slice.ptr = aioc_tls_to_send(connection->tls, &slice.len);
        if (slice.len > 0) {
            size_t sent = aioc_pool_send(connection, &slice, 1, slice.len);
            aioc_tls_sent(connection->tls, sent);
            if (sent < slice.len) return;
        } else if (connection->written < connection->request_len) {
            size_t taken = aioc_tls_write(connection->tls, connection->request, 2, connection->written);
            connection->written += taken;
            if (taken == 0) connection->broken = true;
            if (taken == 0) return;
        } else {
            if (connection->exchange) connection->sent = true;
            return;
        }
    }
}

/* Writes as much as goes. If that fails, connection->broken says so, no more. */
static void aioc_pool_write(aioc_pool_connection *connection)
{
    if (connection->tls) aioc_pool_write_tls(connection);
    else if (connection->written < connection->request_len) aioc_pool_write_plain(connection);
}

/*------------------------------------------------------------------------------
 * Reading. Functions that return bool say whether the connection still is there.
 *----------------------------------------------------------------------------*/

/* The answer is complete. clean: nothing came behind it. The callback runs while the connection belongs to nobody. */
static bool aioc_pool_answered(aioc_pool_connection *connection, bool clean)
{
    bool keep = clean && connection->http.response.keep_alive && connection->sent && !connection->broken &&
                aioc_pool_now(connection->pool) < connection->retire_us;
    if (connection->exchange) {
        aioc_pool_outcome outcome;
        aioc_pool_exchange *exchange = aioc_pool_detach(connection, &outcome);
        outcome.response = &connection->http.response;
        outcome.parser = &connection->http;
        exchange->done(exchange, &outcome);
    } else {
        aioc_platform_timer_stop(connection->pool->reactor, &connection->timer);
    }
    if (keep) {
        connection->served = true;
        aioc_pool_make_idle(connection);
    } else {
        aioc_pool_close_connection(connection);
    }
    return keep;
}

/* The peer has closed (io 0) or the connection broke. complete: nothing is missing, as far as the transport knows. */
static void aioc_pool_ended(aioc_pool_connection *connection, int io, bool complete)
{
    const char *why;
    if (!connection->exchange) {
        aioc_pool_close_connection(connection);
        return;
    }
    if (complete && aioc_http_end(&connection->http) == AIOC_HTTP_DONE) {
        aioc_pool_answered(connection, false);
        return;
    }
    if (connection->heard) why = "the connection was closed in the middle of the answer";
    else if (!connection->sent) why = "the connection was closed before the request was sent";
    else why = "the connection was closed before the answer";
    if (io == AIOCOSMOS_IO_UNREACHABLE) why = "the connection broke: the host cannot be reached any more";
    aioc_pool_fail_because(connection, AIOCOSMOS_E_CONNECT, why);
}

/* Parses what arrived, plaintext by now. *used: how much of it; all, unless the connection is paused. */
static bool aioc_pool_parse(aioc_pool_connection *connection, const char *data, size_t len, size_t *used)
{
    const char *why;
    int error;
    *used = 0;
    if (connection->stage == AIOC_POOL_IDLE) {
        aioc_pool_close_connection(connection);              /* nobody asked: whatever it is, it is no answer */
        return false;
    }
    if (connection->stage == AIOC_POOL_DRAINING && (connection->drained += (uint32_t)len) > AIOC_POOL_DRAIN_BYTES) {
        aioc_pool_close_connection(connection);
        return false;
    }
    if (!connection->heard) connection->first_us = aioc_pool_now(connection->pool);
    connection->heard = true;
    switch (aioc_http_feed(&connection->http, data, len, used)) {
    case AIOC_HTTP_MORE:
        return true;
    case AIOC_HTTP_DONE:
        return aioc_pool_answered(connection, *used == len);
    case AIOC_HTTP_PAUSED:
        if (connection->exchange) {
            connection->paused = true;
            return true;
        }
        break;
    default:
        if (!connection->exchange) break;
        error = aioc_http_error(&connection->http, &why);
        aioc_pool_fail_because(connection, error, why);
        return false;
    }
    aioc_pool_close_connection(connection);
    return false;
}

/* There was no memory to parse the rest of what arrived. It is put aside, nothing more is read, and soon both are tried
 * again. When there is not even memory for that, the exchange ends. */
static bool aioc_pool_pause(aioc_pool_connection *connection, const char *rest, size_t len)
{
    static const char why[] = "no memory for the answer";
    aioc_pool *pool = connection->pool;
    if (connection->spill.len > 0) {
        connection->spill_at = connection->spill.len - len;
    } else if (!aioc_memory_append(pool->memory, &connection->spill, rest, len)) {
        aioc_pool_fail_because(connection, AIOCOSMOS_E_NOMEM, why);
        return false;
    }
    if (++connection->pauses > AIOC_POOL_PAUSES_MAX) {
        aioc_pool_fail_because(connection, AIOCOSMOS_E_NOMEM, why);
        return false;
    }
    aioc_platform_watch(pool->reactor, &connection->source, connection->source.want & ~(unsigned)AIOCOSMOS_READABLE);
    aioc_platform_timer_start(pool->reactor, &connection->timer, aioc_pool_now(pool) + AIOC_POOL_PAUSE_US);
    return true;
}

/* Hands the session's plaintext to the parser. An answer that is complete is lent from the session's buffer, so the
 * buffer is given back only afterwards; what is behind the answer counts as unasked for, and closes the connection. */
static bool aioc_pool_take_plain(aioc_pool_connection *connection)
{
    const unsigned char *plain;
    size_t len, used;
    while (!connection->paused && (plain = aioc_tls_plain(connection->tls, &len)) != NULL && len > 0) {
        if (!aioc_pool_parse(connection, (const char *)plain, len, &used)) return false;
        aioc_tls_plain_used(connection->tls, used);
    }
    return true;
}

static bool aioc_pool_take_tls(aioc_pool_connection *connection, const char *data, size_t len)
{
    aioc_tls_session *session = connection->tls;
    for (;;) {
        size_t taken;
        if (!aioc_pool_take_plain(connection)) return false;
        if (connection->paused) return aioc_pool_pause(connection, data, len);
        if (aioc_tls_state_of(session) != AIOC_TLS_OPEN) break;
        if (len == 0) {
            aioc_pool_write(connection);                     /* the session may have an answer of its own to give */
            return true;
        }
        taken = aioc_tls_feed(session, (const unsigned char *)data, len);
        if (taken == 0) break;
        data += taken;
        len -= taken;
    }
    if (aioc_tls_state_of(session) == AIOC_TLS_FAILED && connection->exchange)
        aioc_pool_fail_because(connection, AIOCOSMOS_E_CONNECT, aioc_tls_error(session));
    else
        aioc_pool_ended(connection, 0, true);                /* close_notify: this is all */
    return false;
}

static bool aioc_pool_take(aioc_pool_connection *connection, const char *data, size_t len)
{
    size_t used;
    if (connection->tls) return aioc_pool_take_tls(connection, data, len);
    if (!aioc_pool_parse(connection, data, len, &used)) return false;
    return !connection->paused || aioc_pool_pause(connection, data + used, len - used);
}

/* Memory may have come back: the bytes put aside first, then the socket again. */
static void aioc_pool_resume(aioc_pool_connection *connection)
{
    aioc_platform_reactor *reactor = connection->pool->reactor;
    const aioc_memory_buffer *spill = &connection->spill;
    const char *rest = spill->len > 0 ? spill->data + connection->spill_at : "";
    connection->paused = false;
    if (!aioc_pool_take(connection, rest, spill->len - connection->spill_at)) return;
    if (connection->paused) return;
    aioc_memory_buffer_free(connection->pool->memory, &connection->spill);
    connection->spill_at = connection->pauses = 0;
    if (aioc_platform_watch(reactor, &connection->source, connection->source.want | AIOCOSMOS_READABLE) == 0) return;
    if (!connection->exchange) aioc_pool_close_connection(connection);
    else aioc_pool_fail_because(connection, AIOCOSMOS_E_NOMEM, "no memory to watch the connection");
}

/* Reads what there is. A piece shorter than its room was the last for now: the poller will say when there is more. */
static bool aioc_pool_read(aioc_pool_connection *connection)
{
    aioc_pool *pool = connection->pool;
    const aiocosmos_platform *platform = pool->reactor->platform;
    size_t total = 0, cap;
    ptrdiff_t got;
    do {
        char *room = pool->scratch;
        cap = connection->tls ? 0 : aioc_http_room(&connection->http, &room);
        if (cap == 0) cap = pool->scratch_size;
        if (cap > AIOC_POOL_RECEIVE_MAX) cap = AIOC_POOL_RECEIVE_MAX;
        got = platform->socket_receive(platform->user_data, connection->source.fd, room, cap);
        if (got == AIOCOSMOS_IO_AGAIN) return true;
        if (got <= 0) {
            /* Without close_notify, the end may be an attacker's (RFC 5246, 7.2.1). */
            aioc_pool_ended(connection, (int)got, got == 0 && !connection->tls);
            return false;
        }
        pool->bytes_received += (uint64_t)got;
        if (!aioc_pool_take(connection, room, (size_t)got)) return false;
        total += (size_t)got;
    } while ((size_t)got == cap && total < AIOC_POOL_RECEIVE_MAX && connection->exchange && !connection->paused);
    return true;
}

/* The request cannot be written any more. Perhaps the server has said why before it hung up. */
static void aioc_pool_write_failed(aioc_pool_connection *connection)
{
    if (connection->paused || !aioc_pool_read(connection) || !connection->exchange || connection->paused) return;
    aioc_pool_ended(connection, AIOCOSMOS_IO_CLOSED, false);
}

static void aioc_pool_defer_shaking(aioc_pool_connection *connection)
{
    aioc_pool *pool = connection->pool;
    if (connection->shaking) return;
    connection->shaking = true;
    *(pool->shaking ? &pool->shaking_last->shaking_next : &pool->shaking) = connection;
    pool->shaking_last = connection;
}

static void aioc_pool_ready(aioc_platform_source *source, unsigned ready)
{
    aioc_pool_connection *connection = (aioc_pool_connection *)source->owner;
    if (connection->stage == AIOC_POOL_SHAKING) {
        if ((ready & AIOCOSMOS_WRITABLE) && !aioc_pool_shake_on(connection)) return;
        if (ready & AIOCOSMOS_READABLE) aioc_pool_defer_shaking(connection);
        return;
    }
    if ((ready & AIOCOSMOS_READABLE) && !aioc_pool_read(connection)) return;
    if (!(ready & connection->source.want & AIOCOSMOS_WRITABLE)) return;
    aioc_pool_write(connection);
    if (connection->broken && connection->exchange) aioc_pool_write_failed(connection);
    else if (connection->broken) aioc_pool_close_connection(connection);
}

/*------------------------------------------------------------------------------
 * The pool as others see it
 *----------------------------------------------------------------------------*/

/* The time to open another connection has come; aioc_pool_work sees that by itself, once the step runs. */
static void aioc_pool_patience_fire(aioc_platform_timer *timer)
{
    (void)timer;
}

/* scratch: shared by all pools of a client, used only inside one call. 0, or E_ARGUMENT: the host is too long. */
static int aioc_pool_open(aioc_pool *pool, aioc_platform_reactor *reactor, aioc_memory *memory, aioc_resolve *resolver,
                          char *scratch, size_t scratch_size, const aioc_pool_options *options)
{
    const aiocosmos_platform *platform = reactor->platform;
    memset(pool, 0, sizeof *pool);
    if (strlen(options->host) >= AIOC_RESOLVE_HOST_MAX) return AIOCOSMOS_E_ARGUMENT;
    pool->reactor = reactor;
    pool->memory = memory;
    pool->resolver = resolver;
    pool->scratch = scratch;
    pool->scratch_size = scratch_size;
    pool->options = *options;
    pool->waiter.done = aioc_pool_resolved;
    pool->waiter.owner = pool;
    pool->patience_timer.fire = aioc_pool_patience_fire;
    pool->idle_timer.fire = aioc_pool_idle_fire;
    pool->idle_timer.owner = pool;
    /* Nothing here is secret; without entropy, the clock will do. */
    if (platform->entropy(platform->user_data, &pool->random, sizeof pool->random) < 0) pool->random = reactor->now_us;
    pool->random |= 1;
    return 0;
}

/* Closes every connection. Exchanges that are left, as in a forked child, are forgotten: nobody is called. */
static void aioc_pool_close(aioc_pool *pool)
{
    while (pool->connections) aioc_pool_close_connection(pool->connections);
    aioc_platform_timer_stop(pool->reactor, &pool->patience_timer);
    aioc_platform_timer_stop(pool->reactor, &pool->idle_timer);
    aioc_memory_wipe(&pool->resumption, sizeof pool->resumption);
}

/* Queues; nothing is called back and nothing sent before aioc_pool_work. */
static void aioc_pool_start(aioc_pool *pool, aioc_pool_exchange *exchange)
{
    AIOCOSMOS_ASSERT(exchange->state == AIOC_POOL_OUTSIDE);
    exchange->state = AIOC_POOL_QUEUED;
    exchange->started_us = aioc_pool_now(pool);
    exchange->number = ++pool->exchanges;
    aioc_pool_queue_add(&pool->first, &pool->last, exchange);
    pool->queued++;
}

/* Takes the exchange out; done is not called. Returns whether its last byte had been sent: then the answer may yet
 * come, and if it is short and soon the connection lives on. */
static bool aioc_pool_cancel(aioc_pool *pool, aioc_pool_exchange *exchange)
{
    aioc_pool_connection *connection = exchange->connection;
    uint8_t state = exchange->state;
    bool sent;
    exchange->state = AIOC_POOL_OUTSIDE;
    exchange->connection = NULL;
    if (state == AIOC_POOL_QUEUED) pool->queued--;
    if (state == AIOC_POOL_QUEUED) aioc_pool_queue_remove(&pool->first, &pool->last, exchange);
    if (state == AIOC_POOL_DOOMED) aioc_pool_queue_remove(&pool->first_doomed, &pool->last_doomed, exchange);
    if (state != AIOC_POOL_ACTIVE) return false;
    sent = connection->sent;
    connection->exchange = NULL;
    if (!sent || connection->broken || connection->paused) {
        aioc_pool_close_connection(connection);
        return sent;
    }
    connection->stage = AIOC_POOL_DRAINING;
    connection->drained = 0;
    aioc_http_drain(&connection->http);
    aioc_platform_timer_start(pool->reactor, &connection->timer, aioc_pool_now(pool) + AIOC_POOL_DRAIN_US);
    return sent;
}

/* Gives the oldest exchange to the connection used last. */
static void aioc_pool_serve(aioc_pool *pool)
{
    aioc_pool_connection *connection = pool->idle;
    aioc_pool_exchange *exchange = pool->first;
    aiocosmos_slice *request = connection->request;
    int error;
    if (aioc_pool_now(pool) >= connection->retire_us) {
        aioc_pool_close_connection(connection);
        return;
    }
    aioc_pool_queue_remove(&pool->first, &pool->last, exchange);
    pool->queued--;
    memset(request, 0, sizeof connection->request);
    error = exchange->prepare(exchange, request);
    if (error < 0) {
        aioc_pool_outcome outcome;
        memset(&outcome, 0, sizeof outcome);
        outcome.error = error;
        outcome.message = error == AIOCOSMOS_E_NOMEM ? "no memory for the request" : NULL;
        outcome.silent = true;
        outcome.queue_us = aioc_pool_span(exchange->started_us, aioc_pool_now(pool));
        exchange->state = AIOC_POOL_OUTSIDE;
        exchange->done(exchange, &outcome);
        return;
    }
    aioc_pool_idle_remove(pool, connection);
    connection->stage = AIOC_POOL_BUSY;
    connection->exchange = exchange;
    exchange->connection = connection;
    exchange->state = AIOC_POOL_ACTIVE;
    connection->reused = connection->served || connection->open_us < exchange->started_us;
    connection->request_len = request[0].len + request[1].len;
    connection->written = 0;
    connection->sent = false;
    connection->sent_us = aioc_pool_now(pool);
    connection->heard = false;
    aioc_pool_write(connection);
    if (connection->broken) aioc_pool_write_failed(connection);
}

/* One thing that can be done now: an exchange called back that failed in the queue, or sent, or a connection opened for
 * one. False: nothing. */
static bool aioc_pool_work(aioc_pool *pool)
{
    if (pool->first_doomed) {
        aioc_pool_deliver_doomed(pool);
        return true;
    }
    if (pool->first && pool->idle) {
        aioc_pool_serve(pool);
        return true;
    }
    if (pool->open + pool->opening >= pool->warm) pool->warm = 0;
    if (!aioc_pool_wants_connection(pool)) return false;
    if (aioc_pool_now(pool) >= pool->patience_us) {
        aioc_pool_open_connection(pool);
        return true;
    }
    if (!pool->patience_timer.armed || pool->patience_timer.due_us != pool->patience_us)
        aioc_platform_timer_start(pool->reactor, &pool->patience_timer, pool->patience_us);
    return false;
}

/* Reads one TLS handshake record, which may cost 2 ms, of the connection that has waited longest; then the server's
 * next ones wait in the socket. False: none waits. */
static bool aioc_pool_handshake_work(aioc_pool *pool)
{
    const aiocosmos_platform *platform = pool->reactor->platform;
    aioc_pool_connection *connection = pool->shaking;
    ptrdiff_t got;
    size_t cap;
    if (!connection) return false;
    aioc_pool_shaking_remove(pool, connection);
    do {
        unsigned char *room = aioc_tls_receive_room(connection->tls, &cap);
        if (cap == 0) break;
        got = platform->socket_receive(platform->user_data, connection->source.fd, room, cap);
        if (got == AIOCOSMOS_IO_AGAIN) break;
        if (got <= 0) {
            connection->broken = true;
            break;
        }
        pool->bytes_received += (uint64_t)got;
        aioc_tls_received(connection->tls, (size_t)got);
        /* A record's header (RFC 5246, 6.2.1: 5 bytes) comes alone and costs nothing. */
    } while ((size_t)got == cap && cap <= 5 && aioc_tls_state_of(connection->tls) == AIOC_TLS_HANDSHAKE);
    aioc_pool_shake_on(connection);
    return true;
}

/* Something waits to be done that no event will announce. */
static bool aioc_pool_has_work(const aioc_pool *pool)
{
    return pool->first_doomed || (pool->first && pool->idle) || pool->shaking ||
           (aioc_pool_wants_connection(pool) && aioc_pool_now(pool) >= pool->patience_us);
}

/* Opens connections ahead of need until there are so many, a few at a time. They close again when idle. */
static void aioc_pool_warm(aioc_pool *pool, uint32_t connections)
{
    pool->warm = connections < pool->options.connections_max ? connections : pool->options.connections_max;
}

static void aioc_pool_get_stats(const aioc_pool *pool, aiocosmos_stats *out)
{
    out->connections_opened = pool->opened;
    out->tls_handshakes = pool->resumption.hits + pool->resumption.full;
    out->tls_resumptions = pool->resumption.hits;
    out->bytes_sent = pool->bytes_sent;
    out->bytes_received = pool->bytes_received;
    out->connections_open = pool->open;
    out->connections_idle = pool->idle_count;
    out->ops_queued = pool->queued;
}
/*==============================================================================
 * MARK: - Protocol                                                   >>protocol
 *
 * What Cosmos means by the bytes of HTTP: paths, partition keys and their
 * hashes, session tokens, statuses in words. No state, no clock, no socket.
 *
 * May call: platform, memory, json, auth, http.    Knows nothing of: retries.
 *============================================================================*/

/* The answer headers that anybody here reads, for http to pick out in its one pass. */
enum {
    AIOC_PROTOCOL_H_CHARGE, AIOC_PROTOCOL_H_SESSION, AIOC_PROTOCOL_H_ETAG, AIOC_PROTOCOL_H_ACTIVITY,
    AIOC_PROTOCOL_H_SUBSTATUS, AIOC_PROTOCOL_H_RETRY_AFTER, AIOC_PROTOCOL_H_CONTINUATION, AIOC_PROTOCOL_H_DATE,
    AIOC_PROTOCOL_H_RANGE_ID, AIOC_PROTOCOL_H_CONTENT_TYPE, AIOC_PROTOCOL_H_ITEM_COUNT, AIOC_PROTOCOL_H_OWNER_NAME,
    AIOC_PROTOCOL_H_OWNER_RID, AIOC_PROTOCOL_H_COUNT
};

#define AIOC_PROTOCOL_NAME(text) { text, sizeof text - 1 }
static const aiocosmos_str aioc_protocol_header_names[AIOC_PROTOCOL_H_COUNT] = {
    AIOC_PROTOCOL_NAME("x-ms-request-charge"),   AIOC_PROTOCOL_NAME("x-ms-session-token"),
    AIOC_PROTOCOL_NAME("etag"),                  AIOC_PROTOCOL_NAME("x-ms-activity-id"),
    AIOC_PROTOCOL_NAME("x-ms-substatus"),        AIOC_PROTOCOL_NAME("x-ms-retry-after-ms"),
    AIOC_PROTOCOL_NAME("x-ms-continuation"),     AIOC_PROTOCOL_NAME("date"),
    AIOC_PROTOCOL_NAME("x-ms-documentdb-partitionkeyrangeid"), AIOC_PROTOCOL_NAME("content-type"),
    AIOC_PROTOCOL_NAME("x-ms-item-count"),       AIOC_PROTOCOL_NAME("x-ms-alt-content-path"),
    AIOC_PROTOCOL_NAME("x-ms-content-path")
};
#undef AIOC_PROTOCOL_NAME
static const aioc_http_names aioc_protocol_headers = { aioc_protocol_header_names, AIOC_PROTOCOL_H_COUNT };

/*--- Names and paths ----------------------------------------------*/

#define AIOC_PROTOCOL_ITEM_ID_MAX 1023       /* bytes, of items */
#define AIOC_PROTOCOL_NAME_MAX    255        /* UTF-16 units, of databases and containers */

static unsigned long long aioc_protocol_ull(size_t number)
{
    return (unsigned long long)number;
}

/* Whether an id can stand in a path. `why` then says what is wrong and at which byte, counted from 0. '/' and '\' are
 * the service's own rule; '?' and '#' end a path on the way there; "." and ".." are steps in one (RFC 3986, 5.2.4). */
static bool aioc_protocol_id_ok(const char *id, size_t max_bytes, char *why, size_t cap)
{
    size_t i, len = id ? strlen(id) : 0, bad_at = 0;
    if (cap) *why = 0;
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)id[i];
        if (c < ' ' || c == 127) {
            aioc_memory_print(why, cap, "control character %u at byte %llu", (unsigned)c, aioc_protocol_ull(i));
            return false;
        }
        if (strchr("/\\?#", c)) {
            aioc_memory_print(why, cap, "'%.*s' at byte %llu", 1, id + i, aioc_protocol_ull(i));
            return false;
        }
    }
    if (len == 0) aioc_memory_print(why, cap, "%s", id ? "empty" : "missing");
    else if (len > max_bytes)
        aioc_memory_print(why, cap, "%llu bytes, at most %llu are allowed", aioc_protocol_ull(len),
                          aioc_protocol_ull(max_bytes));
    else if (id[len - 1] == ' ')
        aioc_memory_print(why, cap, "a space at the end, byte %llu", aioc_protocol_ull(len - 1));
    else if (strcmp(id, ".") == 0 || strcmp(id, "..") == 0) aioc_memory_print(why, cap, "'%s' is a step in a path", id);
    else if (!aioc_json_utf8_ok(id, len, &bad_at))
        aioc_memory_print(why, cap, "not UTF-8 at byte %llu", aioc_protocol_ull(bad_at));
    else return true;
    return false;
}

/* The same for names of databases and containers, whose length the service counts as .NET does. */
static bool aioc_protocol_name_ok(const char *name, char *why, size_t cap)
{
    size_t i, units = 0;
    if (!aioc_protocol_id_ok(name, 3 * AIOC_PROTOCOL_NAME_MAX, why, cap)) return false;
    for (i = 0; name[i]; i++) {
        unsigned char c = (unsigned char)name[i];
        units += (c & 0xC0) == 0x80 ? 0u : c >= 0xF0 ? 2u : 1u;
    }
    if (units <= AIOC_PROTOCOL_NAME_MAX) return true;
    aioc_memory_print(why, cap, "%llu characters, at most %d are allowed", aioc_protocol_ull(units),
                      AIOC_PROTOCOL_NAME_MAX);
    return false;
}

/* "/" and the link with each of its segments percent-encoded: the signature has the raw link, the path this one. */
static bool aioc_protocol_append_path(aioc_memory *memory, aioc_memory_buffer *buffer, aiocosmos_str raw_link)
{
    size_t at = 0;
    if (raw_link.len > SIZE_MAX / 3 - 1 || !aioc_memory_reserve(memory, buffer, 3 * raw_link.len + 1)) return false;
    buffer->data[buffer->len++] = '/';
    while (at < raw_link.len) {
        aiocosmos_str segment;
        segment.ptr = raw_link.ptr + at;
        for (segment.len = 0; at < raw_link.len && raw_link.ptr[at] != '/'; at++) segment.len++;
        buffer->len += aioc_auth_percent_encode(segment, buffer->data + buffer->len);
        if (at < raw_link.len) buffer->data[buffer->len++] = raw_link.ptr[at++];
    }
    return true;
}

/*--- Partition keys as text ------------------------------------*/

#define AIOC_PROTOCOL_PK_LEVELS 3
#define AIOC_PROTOCOL_PK_BYTES  2048         /* of one level's string */
#define AIOC_PROTOCOL_EXACT     INT64_C(9007199254740992)                  /* 2^53: from here doubles skip integers */

/* A JSON value that stands alone, not yet checked, with its type as its first character has it. */
static aiocosmos_json aioc_protocol_scalar(aiocosmos_str text)
{
    aiocosmos_json value;
    text = aioc_auth_trim(text, " \t\r\n");
    memset(&value, 0, sizeof value);
    value.ptr = text.ptr;
    value.len = text.len;
    switch (text.len ? *text.ptr : '\0') {
    case '\0': value.type = AIOCOSMOS_JSON_NONE; break;
    case '"': value.type = AIOCOSMOS_JSON_STR; break;
    case '{': value.type = AIOCOSMOS_JSON_OBJ; break;
    case '[': value.type = AIOCOSMOS_JSON_ARR; break;
    case 'n': value.type = AIOCOSMOS_JSON_NULL; break;
    case 't': case 'f': value.type = AIOCOSMOS_JSON_BOOL; break;
    default: value.type = AIOCOSMOS_JSON_NUM;
    }
    return value;
}

/* What keeps a string from being a key goes to `why`; false: nothing does. The same for the functions below. */
static bool aioc_protocol_bad_string(const char *text, size_t len, char *why, size_t cap)
{
    size_t bad_at = 0;
    if (len > AIOC_PROTOCOL_PK_BYTES)
        aioc_memory_print(why, cap, "%llu bytes, at most %d are allowed", aioc_protocol_ull(len),
                          AIOC_PROTOCOL_PK_BYTES);
    else if (!aioc_json_utf8_ok(text, len, &bad_at))
        aioc_memory_print(why, cap, "not UTF-8 at byte %llu", aioc_protocol_ull(bad_at));
    else return false;
    return true;
}

/* Keys are doubles to the service: an integer that it would round is refused, as it could meet another one there. */
static bool aioc_protocol_bad_integer(aiocosmos_str number, char *why, size_t cap)
{
    aiocosmos_str digits = number;
    uint64_t magnitude;
    size_t i;
    if (digits.len && *digits.ptr == '-') digits.ptr++, digits.len--;
    for (i = 0; i < digits.len && digits.ptr[i] >= '0' && digits.ptr[i] <= '9'; i++) continue;
    if (i < digits.len) return false;                                      /* has a fraction or an exponent */
    if (aioc_memory_parse_u64(digits, &magnitude) && magnitude <= (uint64_t)AIOC_PROTOCOL_EXACT) return false;
    aioc_memory_print(why, cap, "%.*s is beyond 2^53, where doubles skip integers: use a string",
                      number.len < 40 ? (int)number.len : 40, number.ptr);
    return true;
}

static bool aioc_protocol_bad_json(aiocosmos_str text, char *why, size_t cap)
{
    const char *error = NULL;
    size_t error_at = 0;
    double number;
    char string[AIOC_PROTOCOL_PK_BYTES + 1];
    aiocosmos_json value = aioc_protocol_scalar(text), unused;
    aiocosmos_str trimmed;
    trimmed.ptr = value.ptr;
    trimmed.len = value.len;
    if (value.type == AIOCOSMOS_JSON_NONE) aioc_memory_print(why, cap, "empty, and not JSON");
    else if (aioc_json_check(text.ptr, text.len, aioc_memory_str(""), &unused, &error, &error_at) < 0)
        aioc_memory_print(why, cap, "not JSON at byte %llu: %s", aioc_protocol_ull(error_at), error ? error : "");
    else if (value.type == AIOCOSMOS_JSON_OBJ || value.type == AIOCOSMOS_JSON_ARR)
        aioc_memory_print(why, cap, "an %s cannot be a key", value.type == AIOCOSMOS_JSON_OBJ ? "object" : "array");
    else if (value.type == AIOCOSMOS_JSON_NUM && !aioc_json_number_parse(value.ptr, value.len, &number))
        aioc_memory_print(why, cap, "a number beyond the range of doubles");
    else if (value.type == AIOCOSMOS_JSON_NUM) return aioc_protocol_bad_integer(trimmed, why, cap);
    else if (value.type == AIOCOSMOS_JSON_STR) {
        size_t len = aioc_json_get_str(value, string, sizeof string);
        return aioc_protocol_bad_string(string, len, why, cap);
    }
    else return false;
    return true;
}

static aiocosmos_str aioc_protocol_text_of(const aiocosmos_value *value)
{
    aiocosmos_str text;
    text.ptr = value->str;
    text.len = value->len;
    return text;
}

static bool aioc_protocol_bad_level(const aiocosmos_value *level, char *why, size_t cap)
{
    aiocosmos_str text = aioc_protocol_text_of(level);
    char digits[24];
    switch (level->type) {
    case AIOCOSMOS_STR: return aioc_protocol_bad_string(level->str, level->len, why, cap);
    case AIOCOSMOS_JSON: return aioc_protocol_bad_json(text, why, cap);
    case AIOCOSMOS_I64:
        text.ptr = digits;
        text.len = aioc_json_i64_write(level->i64, digits);
        return aioc_protocol_bad_integer(text, why, cap);
    case AIOCOSMOS_F64:
        if (level->f64 - level->f64 == 0) return false;
        aioc_memory_print(why, cap, "NaN and infinities are not JSON");
        return true;
    case AIOCOSMOS_BOOL: case AIOCOSMOS_NULL: case AIOCOSMOS_NONE: return false;
    default: aioc_memory_print(why, cap, "a value of no known type"); return true;
    }
}

/* Appends the value of x-ms-documentdb-partitionkey: ["eu",42], a property that the item lacks as {}; in ASCII, as
 * header values are. 0; E_ARGUMENT and the reason in `why`; E_NOMEM. The buffer is as it was on failure. */
static int aioc_protocol_pk_text(aioc_memory *memory, aioc_memory_buffer *buffer, const aiocosmos_pk *pk, char *why,
                                 size_t cap)
{
    size_t i, count = 0, start = buffer->len;
    char reason[160];
    bool ok = true;
    for (i = 0; i < AIOC_PROTOCOL_PK_LEVELS; i++) {
        if (pk->level[i].type == AIOCOSMOS_UNSET) continue;
        if (count < i) {
            aioc_memory_print(why, cap, "level %d is set, level %d is not", (int)i + 1, (int)count + 1);
            return AIOCOSMOS_E_ARGUMENT;
        }
        if (aioc_protocol_bad_level(&pk->level[i], reason, sizeof reason)) {
            aioc_memory_print(why, cap, "level %d: %s", (int)i + 1, reason);
            return AIOCOSMOS_E_ARGUMENT;
        }
        count++;
    }
    if (count == 0) {
        aioc_memory_print(why, cap, "no partition key is given");
        return AIOCOSMOS_E_ARGUMENT;
    }
    for (i = 0; i < count && ok; i++) {
        aiocosmos_value value = pk->level[i];
        if (value.type == AIOCOSMOS_F64 && value.f64 == 0) value.f64 = 0;  /* -0 and 0 are the same key */
        if (value.type == AIOCOSMOS_JSON) {  /* blanks of JSON may be line ends, which would end the header */
            aiocosmos_json scalar = aioc_protocol_scalar(aioc_protocol_text_of(&value));
            value.str = scalar.ptr;
            value.len = scalar.len;
        }
        ok = aioc_memory_append(memory, buffer, i ? "," : "[", 1) &&
             aioc_json_append_value(memory, buffer, &value, true);
    }
    if (ok && aioc_memory_append(memory, buffer, "]", 1)) return 0;
    buffer->len = start;
    return AIOCOSMOS_E_NOMEM;
}

/* Where the element of an array that begins at `at` ends: at its comma or at the closing bracket. */
static size_t aioc_protocol_element_end(aiocosmos_str array, size_t at)
{
    bool quoted = false;
    for (; at + 1 < array.len && (quoted || array.ptr[at] != ','); at++) {
        if (array.ptr[at] == '"') quoted = !quoted;
        else if (quoted && array.ptr[at] == '\\') at++;
    }
    return at;
}

static bool aioc_protocol_component(aiocosmos_json value, aioc_memory_buffer *texts, aiocosmos_value *out)
{
    memset(out, 0, sizeof *out);
    switch (value.type) {
    case AIOCOSMOS_JSON_NULL: out->type = AIOCOSMOS_NULL; return true;
    case AIOCOSMOS_JSON_OBJ: out->type = AIOCOSMOS_NONE; return value.len == 2;               /* {} */
    case AIOCOSMOS_JSON_BOOL:
        out->type = AIOCOSMOS_BOOL;
        out->i64 = *value.ptr == 't';
        return true;
    case AIOCOSMOS_JSON_NUM:
        out->type = AIOCOSMOS_F64;
        return aioc_json_number_parse(value.ptr, value.len, &out->f64);
    case AIOCOSMOS_JSON_STR:
        out->type = AIOCOSMOS_STR;
        out->str = texts->data + texts->len;
        out->len = aioc_json_get_str(value, texts->data + texts->len, texts->cap - texts->len);
        texts->len += out->len;
        return texts->len < texts->cap;
    default: return false;
    }
}

/* Undoes pk_text: the levels as plain values whose strings stand in `texts`. False: no such text, or no memory. */
static bool aioc_protocol_pk_components(aioc_memory *memory, aioc_memory_buffer *texts, aiocosmos_str pk_text,
                                        aiocosmos_value components[AIOC_PROTOCOL_PK_LEVELS], size_t *count)
{
    const char *error;
    aiocosmos_json array = aioc_protocol_scalar(pk_text), unused;
    aiocosmos_str text;
    size_t at, end;
    *count = 0;
    if (array.type != AIOCOSMOS_JSON_ARR ||
        aioc_json_check(array.ptr, array.len, aioc_memory_str(""), &unused, &error, &at) < 0 ||
        !aioc_memory_reserve(memory, texts, array.len)) return false;      /* unescaped strings are no longer */
    text.ptr = array.ptr;
    text.len = array.len;
    for (at = 1; at < text.len; at = end + 1) {
        aiocosmos_str element;
        aiocosmos_json value;
        end = aioc_protocol_element_end(text, at);
        element.ptr = text.ptr + at;
        element.len = end - at;
        value = aioc_protocol_scalar(element);
        if (value.type == AIOCOSMOS_JSON_NONE) return *count == 0;         /* [] */
        if (*count == AIOC_PROTOCOL_PK_LEVELS) return false;
        if (!aioc_protocol_component(value, texts, &components[(*count)++])) return false;
    }
    return true;
}

/*--- Partition keys of documents ------------------------------------------------------*/

/* Takes the first name off a path of a container's definition: /a/b, or /"a b"/'c' where names have other characters
 * than letters, digits and '_'. False: the path is malformed. */
static bool aioc_protocol_path_step(aiocosmos_str *path, char *name, size_t cap)
{
    size_t at = 1, len = 0;
    char quote = '/';
    if (path->len < 2 || path->ptr[0] != '/') return false;
    if (path->ptr[1] == '"' || path->ptr[1] == '\'') quote = path->ptr[at++];
    for (; at < path->len && path->ptr[at] != quote; at++) {
        if (quote != '/' && path->ptr[at] == '\\' && at + 1 < path->len) at++;
        if (len + 1 == cap || path->ptr[at] == 0) return false;
        name[len++] = path->ptr[at];
    }
    name[len] = 0;
    if (quote != '/' && at++ == path->len) return false;                   /* no closing quote */
    if (len == 0 || (at < path->len && path->ptr[at] != '/')) return false;
    path->ptr += at;
    path->len -= at;
    return true;
}

static bool aioc_protocol_path_value(aiocosmos_json document, aiocosmos_str path, aiocosmos_json *value)
{
    char name[256];
    const char *names[1];
    names[0] = name;
    *value = document;
    do {
        aiocosmos_json object = *value;
        if (!aioc_protocol_path_step(&path, name, sizeof name)) return false;
        memset(value, 0, sizeof *value);
        if (object.type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(object, names, 1, value);
    } while (path.len);
    return true;
}

/* The key of a document by its container's paths. The levels are views into the document; a missing property is NONE.
 * 0, or E_ARGUMENT and the reason in `why`. */
static inline int aioc_protocol_pk_from_document(aiocosmos_json document, const aiocosmos_str *paths, size_t path_count,
                                                 aiocosmos_pk *pk, char *why, size_t cap)
{
    size_t i;
    memset(pk, 0, sizeof *pk);
    if (path_count < 1 || path_count > AIOC_PROTOCOL_PK_LEVELS || document.type != AIOCOSMOS_JSON_OBJ) {
        aioc_memory_print(why, cap, "%s", document.type != AIOCOSMOS_JSON_OBJ ? "the document is not an object"
                                                                              : "a key has one to three paths");
        return AIOCOSMOS_E_ARGUMENT;
    }
    for (i = 0; i < path_count; i++) {
        aiocosmos_value *level = &pk->level[i];
        aiocosmos_json value;
        bool known = aioc_protocol_path_value(document, paths[i], &value);
        if (!known || value.type == AIOCOSMOS_JSON_OBJ || value.type == AIOCOSMOS_JSON_ARR) {
            aioc_memory_print(why, cap, "the partition key path %.*s %s",
                              (int)(paths[i].len < 256 ? paths[i].len : 256), paths[i].ptr,
                              known ? "leads to an object or array, which cannot be a key" : "is malformed");
            return AIOCOSMOS_E_ARGUMENT;
        }
        level->type = value.type == AIOCOSMOS_JSON_NONE ? AIOCOSMOS_NONE : AIOCOSMOS_JSON;
        level->str = value.ptr;
        level->len = value.len;
    }
    return 0;
}

/*--- Effective partition keys -------------------------------------*/

enum { AIOC_PROTOCOL_HASH, AIOC_PROTOCOL_MULTI_HASH, AIOC_PROTOCOL_RANGE };

/* What a container says of its key. version: 1 where the service leaves it out. system_key: the container had no key
 * once; items of that time have the key []. */
typedef struct aioc_protocol_pk_def {
    uint8_t kind, version, path_count;
    bool    system_key;
} aioc_protocol_pk_def;

/* V1: the hash as a number, 10 bytes, and a string, 102, as hex; MultiHash: three times 16 and a border's FF. And a
 * NUL. */
#define AIOC_PROTOCOL_EPK_BYTES 112
#define AIOC_PROTOCOL_EPK_MAX   (2 * AIOC_PROTOCOL_EPK_BYTES + 1)
#define AIOC_PROTOCOL_V1_STRING 100          /* bytes of a string that V1 looks at */

static uint32_t aioc_protocol_rotl32(uint32_t x, int by)
{
    return x << by | x >> (32 - by);
}

static uint64_t aioc_protocol_rotl64(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

/* MurmurHash3, x86, 32 bits, seed 0. */
static uint32_t aioc_protocol_murmur3_32(const void *data, size_t len)
{
    const uint32_t c1 = 0xcc9e2d51u, c2 = 0x1b873593u;
    const unsigned char *at = (const unsigned char *)data, *end = at + len / 4 * 4;
    uint32_t h = 0, k = 0;
    size_t i;
    for (; at < end; at += 4) {
        h ^= aioc_protocol_rotl32(aioc_platform_load32le(at) * c1, 15) * c2;
        h = aioc_protocol_rotl32(h, 13) * 5u + 0xe6546b64u;
    }
    for (i = len % 4; i > 0; i--) k = k << 8 | at[i - 1];
    h ^= aioc_protocol_rotl32(k * c1, 15) * c2;                            /* nothing when no byte is left over */
    h ^= (uint32_t)len;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}

static uint64_t aioc_protocol_murmur3_mix(uint64_t h)
{
    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

/* MurmurHash3, x64, 128 bits, seed 0. */
static void aioc_protocol_murmur3_128(const void *data, size_t len, uint64_t out[2])
{
    const uint64_t c1 = UINT64_C(0x87c37b91114253d5), c2 = UINT64_C(0x4cf5ad432745937f);
    const unsigned char *at = (const unsigned char *)data, *end = at + len / 16 * 16;
    uint64_t h1 = 0, h2 = 0, k1 = 0, k2 = 0;
    size_t i, rest = len % 16;
    for (; at < end; at += 16) {
        h1 ^= aioc_protocol_rotl64(aioc_platform_load64le(at) * c1, 31) * c2;
        h1 = (aioc_protocol_rotl64(h1, 27) + h2) * 5u + 0x52dce729u;
        h2 ^= aioc_protocol_rotl64(aioc_platform_load64le(at + 8) * c2, 33) * c1;
        h2 = (aioc_protocol_rotl64(h2, 31) + h1) * 5u + 0x38495ab5u;
    }
    for (i = rest; i > 8; i--) k2 = k2 << 8 | at[i - 1];
    for (i = rest < 8 ? rest : 8; i > 0; i--) k1 = k1 << 8 | at[i - 1];
    h1 ^= aioc_protocol_rotl64(k1 * c1, 31) * c2;
    h2 ^= aioc_protocol_rotl64(k2 * c2, 33) * c1;
    h1 ^= (uint64_t)len;
    h2 ^= (uint64_t)len;
    h1 += h2;
    h2 += h1;
    h1 = aioc_protocol_murmur3_mix(h1);
    h2 = aioc_protocol_murmur3_mix(h2);
    out[0] = h1 + h2;
    out[1] = h2 + out[0];
}

static size_t aioc_protocol_hex(const unsigned char *bytes, size_t len, char *out)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t i;
    for (i = 0; i < len; i++) {
        out[2 * i] = hex[bytes[i] >> 4];
        out[2 * i + 1] = hex[bytes[i] & 15];
    }
    out[2 * len] = 0;
    return 2 * len;
}

static uint64_t aioc_protocol_double_bits(double number)
{
    uint64_t bits;
    if (number == 0) number = 0;                                           /* -0 and 0 are the same key */
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

/* A component as it is hashed: a type byte, then the number little-endian, or the string and a byte
 * that ends it. Returns its size; out has room for AIOC_PROTOCOL_PK_BYTES + 2. 0: this cannot be hashed. */
static size_t aioc_protocol_hashed_form(const aiocosmos_value *value, unsigned char string_end, unsigned char *out)
{
    uint64_t bits;
    size_t i;
    switch (value->type) {
    case AIOCOSMOS_NONE: *out = 0; return 1;
    case AIOCOSMOS_NULL: *out = 1; return 1;
    case AIOCOSMOS_BOOL: *out = value->i64 ? 3 : 2; return 1;
    case AIOCOSMOS_I64: case AIOCOSMOS_F64:
        bits = aioc_protocol_double_bits(value->type == AIOCOSMOS_I64 ? (double)value->i64 : value->f64);
        *out = 5;
        for (i = 0; i < 8; i++) out[1 + i] = (unsigned char)(bits >> (8 * i) & 255u);
        return 9;
    case AIOCOSMOS_STR:
        if (value->len > AIOC_PROTOCOL_PK_BYTES) return 0;
        *out = 8;
        if (value->len) memcpy(out + 1, value->str, value->len);
        out[1 + value->len] = string_end;
        return value->len + 2;
    default: return 0;                                                     /* JSON: pk_components reads it first */
    }
}

/* A number so that its bytes sort as it does: the double's bits with the order of negative ones turned round, the first
 * eight as they are, the rest seven to a byte whose lowest bit says whether another follows. */
static size_t aioc_protocol_sorted_number(double number, unsigned char *out)
{
    uint64_t bits = aioc_protocol_double_bits(number), top = UINT64_C(1) << 63;
    size_t len = 2;
    bits = bits & top ? 0 - bits : bits ^ top;
    out[0] = 5;
    out[1] = (unsigned char)(bits >> 56);
    bits <<= 8;
    do {
        out[len] = (unsigned char)(bits >> 56 & 0xFEu);
        bits <<= 7;
        if (bits) out[len] |= 1u;
        len++;
    } while (bits);
    return len;
}

/* A component behind a V1 hash, from its hashed form. */
static size_t aioc_protocol_sorted_form(const aiocosmos_value *value, const unsigned char *hashed, size_t len,
                                        unsigned char *out)
{
    size_t i;
    if (value->type == AIOCOSMOS_F64) return aioc_protocol_sorted_number(value->f64, out);
    if (value->type == AIOCOSMOS_I64) return aioc_protocol_sorted_number((double)value->i64, out);
    memcpy(out, hashed, len);
    for (i = 1; i + 1 < len; i++) out[i] = (unsigned char)(hashed[i] + 1u);       /* strings; their 0 stays last */
    return len;
}

/* The first version (8.3): a 32-bit hash, and the key itself behind it, of a string the first 100 bytes. Of longer
 * strings beyond ASCII no two of Microsoft's clients take the same part (vectors/partition-key-hash-v1-nonascii). */
static bool aioc_protocol_epk_v1(const aiocosmos_value *components, size_t count, unsigned char *out, size_t *len)
{
    unsigned char hashed[AIOC_PROTOCOL_EPK_BYTES], sorted[AIOC_PROTOCOL_EPK_BYTES + 102];
    size_t i, k, hashed_len = 0, sorted_len = 0;
    for (i = 0; i < count; i++) {
        aiocosmos_value value = components[i];
        size_t size;
        if (value.type == AIOCOSMOS_STR && value.len > AIOC_PROTOCOL_V1_STRING) {
            for (k = 0; k < value.len; k++)
                if (value.str[k] & 0x80) return false;
            value.len = AIOC_PROTOCOL_V1_STRING;
        }
        if (hashed_len + (value.type == AIOCOSMOS_STR ? value.len + 2 : 9) > sizeof hashed) return false;
        size = aioc_protocol_hashed_form(&value, 0x00, hashed + hashed_len);
        if (size == 0) return false;
        sorted_len += aioc_protocol_sorted_form(&value, hashed + hashed_len, size, sorted + sorted_len);
        hashed_len += size;
    }
    *len = aioc_protocol_sorted_number((double)aioc_protocol_murmur3_32(hashed, hashed_len), out);
    if (*len + sorted_len > AIOC_PROTOCOL_EPK_BYTES) return false;
    memcpy(out + *len, sorted, sorted_len);
    *len += sorted_len;
    return true;
}

/* The second version (8.4): the 128-bit hash, its bytes in reverse order, without its two highest bits. */
static bool aioc_protocol_epk_v2(const aiocosmos_value *components, size_t count, unsigned char out[16])
{
    unsigned char text[AIOC_PROTOCOL_PK_LEVELS * (AIOC_PROTOCOL_PK_BYTES + 2)];
    uint64_t hash[2];
    size_t i, size, len = 0;
    for (i = 0; i < count; i++) {
        if (len + AIOC_PROTOCOL_PK_BYTES + 2 > sizeof text) return false;
        size = aioc_protocol_hashed_form(&components[i], 0xFF, text + len);
        if (size == 0) return false;
        len += size;
    }
    aioc_protocol_murmur3_128(text, len, hash);
    for (i = 0; i < 16; i++) out[i] = (unsigned char)(hash[1 - i / 8] >> (56 - 8 * (i % 8)) & 255u);
    out[0] &= 0x3F;
    return true;
}

/* The effective partition key, as hex text: where the key's items are. With fewer components than a hierarchical key
 * has levels it is the prefix that all its keys have in common. False: it cannot be told here, and the service has to
 * route. */
static bool aioc_protocol_epk(const aioc_protocol_pk_def *def, const aiocosmos_value *components, size_t count,
                              char out[AIOC_PROTOCOL_EPK_MAX], size_t *len)
{
    unsigned char bytes[AIOC_PROTOCOL_EPK_BYTES];
    size_t i, size = 0;
    *len = 0;
    out[0] = 0;
    if (def->kind == AIOC_PROTOCOL_RANGE || def->version < 1 || def->version > 2) return false;
    if (count == 0 || (def->system_key && count == 1 && components[0].type == AIOCOSMOS_NONE)) return def->system_key;
    if (def->kind == AIOC_PROTOCOL_MULTI_HASH) {
        if (count > def->path_count || count > AIOC_PROTOCOL_PK_LEVELS) return false;
        for (i = 0; i < count; i++, size += 16)
            if (!aioc_protocol_epk_v2(&components[i], 1, bytes + size)) return false;
    } else if (def->version == 2) {
        if (!aioc_protocol_epk_v2(components, count, bytes)) return false;
        size = 16;
    } else if (!aioc_protocol_epk_v1(components, count, bytes, &size)) return false;
    *len = aioc_protocol_hex(bytes, size, out);
    return true;
}

/* Where the half-open range that starts with a key ends: behind all keys with that prefix, or, if the key is a whole
 * one, before the next key of its width. Changes the text in place. */
static void aioc_protocol_epk_end(bool whole, char epk[AIOC_PROTOCOL_EPK_MAX], size_t *len)
{
    size_t at = *len;
    if (!whole || *len == 0) {
        memcpy(epk + *len, whole ? "00" : "FF", 3);
        *len += 2;
        return;
    }
    while (at > 0 && epk[at - 1] == 'F') epk[--at] = '0';
    if (at > 0) epk[at - 1] = epk[at - 1] == '9' ? 'A' : (char)(epk[at - 1] + 1);
}

/* < 0, 0, > 0. Borders of hierarchical keys differ in width: what is missing counts as zeros (8.1). Hex in either
 * case. */
static int aioc_protocol_epk_compare(aiocosmos_str a, aiocosmos_str b)
{
    size_t i;
    for (i = 0; i < a.len || i < b.len; i++) {
        int left = i < a.len ? aioc_memory_lower(a.ptr[i]) : '0';
        int right = i < b.len ? aioc_memory_lower(b.ptr[i]) : '0';
        if (left != right) return left < right ? -1 : 1;
    }
    return 0;
}

/*--- Session tokens ---------------------------------------------------*/

#define AIOC_PROTOCOL_SESSION_MAX  65536     /* bytes of a composite: more than a gateway takes as a header */
#define AIOC_PROTOCOL_SEGMENTS_MAX 1024      /* more real ones do not fit into it, and cookies come from anybody */
#define AIOC_PROTOCOL_RANGE_ID_MAX 64
#define AIOC_PROTOCOL_REGIONS_MAX  64

/* One range's token: version#globalLSN#region=localLSN..., or just an LSN in the old form. */
typedef struct aioc_protocol_session {
    int64_t version, lsn;
    bool    old_form;
    size_t  region_count;
    struct { int64_t id, lsn; } region[AIOC_PROTOCOL_REGIONS_MAX];
} aioc_protocol_session;

/* Takes a number off the front of a text. */
static bool aioc_protocol_take_i64(aiocosmos_str *text, int64_t *out)
{
    aiocosmos_str digits = *text;
    uint64_t magnitude;
    bool negative = digits.len && *digits.ptr == '-';
    if (negative) digits.ptr++, digits.len--;
    text->ptr = digits.ptr;
    text->len = digits.len;
    while (text->len && *text->ptr >= '0' && *text->ptr <= '9') text->ptr++, text->len--;
    digits.len -= text->len;
    if (!aioc_memory_parse_u64(digits, &magnitude) || magnitude > (uint64_t)INT64_MAX) return false;
    *out = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

static bool aioc_protocol_take_char(aiocosmos_str *text, char c)
{
    if (!text->len || *text->ptr != c) return false;
    text->ptr++, text->len--;
    return true;
}

/* False: *bad_at is where it stops to be a token. */
static bool aioc_protocol_session_parse(aiocosmos_str value, aioc_protocol_session *out, size_t *bad_at)
{
    aiocosmos_str rest = value;
    bool ok = aioc_protocol_take_i64(&rest, &out->version);
    out->region_count = 0;
    out->lsn = out->version;
    out->old_form = ok && rest.len == 0;
    if (ok && !out->old_form) ok = aioc_protocol_take_char(&rest, '#') && aioc_protocol_take_i64(&rest, &out->lsn);
    while (ok && rest.len) {
        size_t i;
        ok = out->region_count < AIOC_PROTOCOL_REGIONS_MAX && aioc_protocol_take_char(&rest, '#') &&
             aioc_protocol_take_i64(&rest, &out->region[out->region_count].id) && aioc_protocol_take_char(&rest, '=') &&
             aioc_protocol_take_i64(&rest, &out->region[out->region_count].lsn);
        for (i = 0; ok && i < out->region_count; i++) ok = out->region[i].id != out->region[out->region_count].id;
        if (ok) out->region_count++;
    }
    *bad_at = value.len - rest.len;
    return ok;
}

/* Takes the next "id:value" off a composite, "0:-1#42,1:-1#7". False: there is none, or it has no ':'. */
static bool aioc_protocol_session_next(aiocosmos_str *rest, aiocosmos_str *range_id, aiocosmos_str *value)
{
    size_t end = 0, colon;
    while (end < rest->len && rest->ptr[end] != ',') end++;
    for (colon = 0; colon < end && rest->ptr[colon] != ':'; colon++) continue;
    if (colon == end) return false;
    range_id->ptr = rest->ptr;
    range_id->len = colon;
    value->ptr = rest->ptr + colon + 1;
    value->len = end - colon - 1;
    if (end < rest->len) end++;
    rest->ptr += end;
    rest->len -= end;
    return true;
}

/* Range ids are printable and hold nothing that a token means something by. Returns where one is bad, or its length. */
static size_t aioc_protocol_range_id_ok(aiocosmos_str id)
{
    size_t i;
    for (i = 0; i < id.len && i < AIOC_PROTOCOL_RANGE_ID_MAX; i++)
        if (id.ptr[i] <= ' ' || id.ptr[i] > '~' || strchr("#=;\"", id.ptr[i])) return i;
    return i;
}

/* Whether a text is a composite token within those limits. False: *error_at is the byte where it stops to be one. */
static bool aioc_protocol_session_check(aiocosmos_str composite, size_t *error_at)
{
    aiocosmos_str rest = composite, id, value;
    size_t at, bad_at, segments = 0;
    *error_at = AIOC_PROTOCOL_SESSION_MAX;
    if (composite.len > AIOC_PROTOCOL_SESSION_MAX) return false;
    do {
        aioc_protocol_session parsed;
        at = *error_at = composite.len - rest.len;
        if (segments++ == AIOC_PROTOCOL_SEGMENTS_MAX || !aioc_protocol_session_next(&rest, &id, &value)) return false;
        *error_at = at + aioc_protocol_range_id_ok(id);
        if (id.len == 0 || *error_at != at + id.len) return false;
        if (!aioc_protocol_session_parse(value, &parsed, &bad_at)) {
            *error_at = at + id.len + 1 + bad_at;
            return false;
        }
    } while (rest.len);
    *error_at = composite.len - 1;
    return composite.ptr[composite.len - 1] != ',';
}

/* Whether whoever has seen a has seen all that b tells of: a later version, or the same one and no LSN behind. */
static bool aioc_protocol_session_covers(const aioc_protocol_session *a, const aioc_protocol_session *b)
{
    size_t i, k;
    if (a->old_form != b->old_form) return b->old_form;                    /* the current form wins */
    if (a->old_form) return a->lsn >= b->lsn;
    if (a->version != b->version) return a->version > b->version;
    if (a->lsn < b->lsn) return false;
    for (i = 0; i < b->region_count; i++) {
        for (k = 0; k < a->region_count && a->region[k].id != b->region[i].id; k++) continue;
        if (k == a->region_count || a->region[k].lsn < b->region[i].lsn) return false;
    }
    return true;
}

/* Brings an older token into a newer one. Of one version: the maximum of everything. Of another: the newer one says
 * which regions there are and what the global LSN is; a region of both keeps the higher LSN. A region that only one
 * of two tokens of the same version knows stays: .NET and Python fail there, Rust keeps it too. */
static void aioc_protocol_session_join(aioc_protocol_session *newer, const aioc_protocol_session *older)
{
    size_t i, k;
    bool same = newer->version == older->version;
    if (older->old_form) return;
    if (same && newer->lsn < older->lsn) newer->lsn = older->lsn;
    for (i = 0; i < older->region_count; i++) {
        for (k = 0; k < newer->region_count && newer->region[k].id != older->region[i].id; k++) continue;
        if (k < newer->region_count) {
            if (newer->region[k].lsn < older->region[i].lsn) newer->region[k].lsn = older->region[i].lsn;
        } else if (same && k < AIOC_PROTOCOL_REGIONS_MAX) {
            newer->region[newer->region_count++] = older->region[i];
        }
    }
}

static bool aioc_protocol_append_i64(aioc_memory *memory, aioc_memory_buffer *into, char before, int64_t number)
{
    char digits[24];
    size_t len = aioc_json_i64_write(number, digits + 1);
    digits[0] = before;
    return aioc_memory_append(memory, into, before ? digits : digits + 1, before ? len + 1 : len);
}

/* Appends what two values of one range say together. A value that is no token, such as an empty one,
 * says nothing. False: no memory, and the buffer is as it was. */
static bool aioc_protocol_session_merge_value(aioc_memory *memory, aioc_memory_buffer *into, aiocosmos_str held,
                                              aiocosmos_str given)
{
    aioc_protocol_session a, b, *newer = &a, *older = &b;
    size_t bad_at, i, start = into->len;
    bool ok;
    if (!aioc_protocol_session_parse(given, &b, &bad_at)) return aioc_memory_append(memory, into, held.ptr, held.len);
    if (!aioc_protocol_session_parse(held, &a, &bad_at)) return aioc_memory_append(memory, into, given.ptr, given.len);
    if (!aioc_protocol_session_covers(&a, &b)) newer = &b, older = &a;
    aioc_protocol_session_join(newer, older);
    ok = aioc_protocol_append_i64(memory, into, 0, newer->version);
    if (!newer->old_form) ok = ok && aioc_protocol_append_i64(memory, into, '#', newer->lsn);
    for (i = 0; i < newer->region_count; i++)
        ok = ok && aioc_protocol_append_i64(memory, into, '#', newer->region[i].id) &&
             aioc_protocol_append_i64(memory, into, '=', newer->region[i].lsn);
    if (!ok) into->len = start;
    return ok;
}

/*--- Statuses in words ---------------------------------------------*/

static const char *aioc_protocol_status_text(int status)
{
    switch (status) {
    case AIOCOSMOS_OK: return "OK";
    case AIOCOSMOS_E_ARGUMENT: return "refused argument";
    case AIOCOSMOS_E_NOMEM: return "out of memory";
    case AIOCOSMOS_E_FULL: return "full";
    case AIOCOSMOS_E_CANCELLED: return "cancelled";
    case AIOCOSMOS_E_SHUTDOWN: return "shut down";
    case AIOCOSMOS_E_TIMEOUT: return "timed out";
    case AIOCOSMOS_E_DNS: return "name not resolved";
    case AIOCOSMOS_E_CONNECT: return "connection failed";
    case AIOCOSMOS_E_TLS: return "TLS failed";
    case AIOCOSMOS_E_PROTOCOL: return "not a valid answer";
    case AIOCOSMOS_E_TOO_LARGE: return "answer too large";
    case AIOCOSMOS_E_REENTERED: return "called inside a callback";
    case AIOCOSMOS_E_DESTROYED: return "client destroyed";
    case AIOCOSMOS_E_AUTH: return "no token";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 207: return "Multi-Status";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 423: return "Locked";
    case 424: return "Failed Dependency";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 449: return "Retry With";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return status < 0 ? "unknown error" : "unknown status";
    }
}

/* What a failure means and what to do about it. A sub-status alone means nothing: 1002 is one thing under 404,
 * another under 410. sub_status 0: whatever has no line of its own. */
typedef struct aioc_protocol_hint { int status, sub_status; const char *text; } aioc_protocol_hint;

static const aioc_protocol_hint aioc_protocol_hints[] = {
    { 400, 1001,  "the partition key is not the one in the document, or the container's key path is another one now" },
    { 400, 1004,  "ORDER BY, TOP, DISTINCT, GROUP BY and aggregates need one partition: give a partition key" },
    { 400, 1024,  "the container was created anew under this name" },
    { 400, 3205,  "the throughput is being replaced: try again later" },
    { 400, 65535, "the script does not compile" },
    { 401, 5006,  "the Entra token has expired: get a new one" },
    { 401, 0,     "the signature or token is not accepted: check the key, and that the clock is right to 15 minutes" },
    { 403, 3,     "this region takes no writes, as after a failover: another region does" },
    { 403, 1005,  "a limit of the account is reached: fewer containers or less throughput" },
    { 403, 1008,  "the account is not in this region, or not yet" },
    { 403, 1010,  "the database that shares its throughput can hold no more containers" },
    { 403, 1014,  "the logical partition holds all it can, 20 GB: delete items, or use a finer partition key" },
    { 403, 5300,  "Entra roles cannot change databases, containers or throughput: use an account key for that" },
    { 403, 0,     "not allowed: a read-only key, a token for another resource, the account's firewall, a wrong clock" },
    { 404, 1002,  "no replica here has seen the session token yet, or it is another container's; the item may exist" },
    { 404, 1003,  "the database or container does not exist" },
    { 404, 1013,  "the container is still being created: try again" },
    { 404, 0,     "there is none of this name; an item is found only with its own partition key" },
    { 408, 0,     "the service took too long" },
    { 409, 3301,  "another item has the same unique key" },
    { 409, 3302,  "the hash of this partition key is taken for this id" },
    { 409, 0,     "this id is taken" },
    { 410, 1000,  "the container was created anew under this name" },
    { 410, 1002,  "the partition was split or merged" },
    { 410, 1007,  "the partition is being split" },
    { 410, 1008,  "the partition is being moved" },
    { 410, 0,     "the partition is elsewhere now" },
    { 412, 1110,  "the patch's condition does not hold" },
    { 412, 0,     "the item has changed since its ETag was read: read it again" },
    { 413, 3402,  "the answer would be too large: ask for less at once" },
    { 413, 0,     "the item or request is over 2 MB" },
    { 423, 0,     "the throughput is being scaled: try again later" },
    { 424, 0,     "not done, because another operation of the batch failed" },
    { 429, 3200,  "over the request units a second provisioned: send less, or raise the throughput" },
    { 429, 3210,  "too many reads of databases, containers or the account: they have a small budget of their own" },
    { 429, 3214,  "one logical partition gets more than its share: spread the load over more keys" },
    { 429, 0,     "too many requests: send less, or raise the throughput" },
    { 431, 0,     "the headers are too large: a shorter id, continuation or session token" },
    { 449, 0,     "lost a race with another write and was not applied: try again" },
    { 502, 0,     "a gateway on the way failed" },
    { 503, 0,     "the service cannot be reached behind its gateway: try again later" },
    { 504, 0,     "a gateway on the way waited too long" }
};

static const char *aioc_protocol_hint_of(int status, int sub_status)
{
    size_t i, count = sizeof aioc_protocol_hints / sizeof aioc_protocol_hints[0];
    for (i = 0; i < count; i++) {
        const aioc_protocol_hint *hint = &aioc_protocol_hints[i];
        if (hint->status == status && (hint->sub_status == sub_status || hint->sub_status == 0)) return hint->text;
    }
    return NULL;
}

#define AIOC_PROTOCOL_QUOTE_MAX 240          /* bytes of somebody else's text in a message */

/* The first line of a text that somebody else wrote, made fit for a terminal and a log: no control characters, UTF-8
 * only, "..." where it was cut. Returns its length; out has room for AIOC_PROTOCOL_QUOTE_MAX + 4. */
static size_t aioc_protocol_quote(aiocosmos_str text, char *out)
{
    size_t at = 0, len = 0, bad_at;
    while (at < text.len && text.ptr[at] != '\r' && text.ptr[at] != '\n') {
        unsigned char c = (unsigned char)text.ptr[at];
        size_t size = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
        if (len + size > AIOC_PROTOCOL_QUOTE_MAX) {
            memcpy(out + len, "...", 4);
            return len + 3;
        }
        if (c < ' ' || c == 127) out[len++] = ' ', at++;
        else if (size > text.len - at || !aioc_json_utf8_ok(text.ptr + at, size, &bad_at) ||
                 (c == 0xC2 && (unsigned char)text.ptr[at + 1] < 0xA0)) out[len++] = '?', at++;    /* C1 controls too */
        else {
            memcpy(out + len, text.ptr + at, size);
            len += size;
            at += size;
        }
    }
    out[len] = 0;
    return len;
}

/* What stands between <title> and </title>, of the beginning of a page. */
static aiocosmos_str aioc_protocol_html_title(aiocosmos_str html)
{
    aiocosmos_str title = { "no title", 8 }, tag;
    size_t i, end, limit = html.len < 4096 ? html.len : 4096;
    for (i = 0; i + 7 <= limit; i++) {
        tag.ptr = html.ptr + i;
        tag.len = 7;
        if (!aioc_memory_same_nocase(tag, aioc_memory_str("<title>"))) continue;
        for (end = i += 7; end < limit && html.ptr[end] != '<'; end++) continue;
        title.ptr = html.ptr + i;
        title.len = end - i;
        return aioc_auth_trim(title, " \t\r\n");
    }
    return title;
}

/* The service's own words, out of {"code":"Conflict","message":"Message: {\"Errors\":[\"...\"]}\r\nActivityId: ..."}.
 * `room` holds them; a body that is no such JSON speaks for itself. */
static aiocosmos_str aioc_protocol_service_text(aiocosmos_str body, char *room, size_t cap)
{
    static const char wrapper[] = "Message: {\"Errors\":[\"";
    aiocosmos_json value;
    const char *error;
    size_t error_at, len;
    aiocosmos_str text;
    memset(&value, 0, sizeof value);
    if (body.len == 0 || *body.ptr != '{' ||
        aioc_json_check(body.ptr, body.len, aioc_memory_str("message"), &value, &error, &error_at) < 0 ||
        value.type != AIOCOSMOS_JSON_STR) return body;
    len = aioc_json_get_str(value, room, cap);
    text.ptr = room;
    text.len = len < cap ? len : cap - 1;
    if (text.len < sizeof wrapper || memcmp(room, wrapper, sizeof wrapper - 1) != 0) return text;
    text.ptr += sizeof wrapper - 1;
    text.len -= sizeof wrapper - 1;
    for (len = 0; len < text.len && text.ptr[len] != '"' && text.ptr[len] != '\n'; len++) continue;
    text.len = len;
    return text;
}

/* A failed answer in words for people, "409 Conflict: this id is taken; the service: ...", NUL-terminated and cut to
 * cap. */
static void aioc_protocol_message(int http_status, int sub_status, aiocosmos_str body, char *out, size_t cap)
{
    char room[2 * AIOC_PROTOCOL_QUOTE_MAX], quote[AIOC_PROTOCOL_QUOTE_MAX + 4], code[24] = "";
    const char *hint = aioc_protocol_hint_of(http_status, sub_status), *name = aioc_protocol_status_text(http_status);
    body = aioc_auth_trim(body, " \t\r\n");
    if (sub_status) aioc_memory_print(code, sizeof code, "/%d", sub_status);
    if (body.len && *body.ptr == '<') {
        aioc_protocol_quote(aioc_protocol_html_title(body), quote);
        aioc_memory_print(out, cap, "%d%s %s: a proxy or the gateway front end answered with HTML: %s", http_status,
                          code, name, quote);
        return;
    }
    aioc_protocol_quote(aioc_protocol_service_text(body, room, sizeof room), quote);
    aioc_memory_print(out, cap, "%d%s %s%s%s%s%s", http_status, code, name, hint ? ": " : "", hint ? hint : "",
                      quote[0] ? "; the service: " : "", quote);
}
/*==============================================================================
 * MARK: - Account                                                     >>account
 *
 * What is known of containers: the definition of their partition key, their
 * partition key ranges, and the session tokens seen so far for each range.
 * States what it lacks; the operation layer fetches it through a function
 * pointer, once for all who wait.
 *
 * May call: memory, json, protocol.    Knows nothing of: requests, connections.
 *============================================================================*/

#ifndef AIOC_ACCOUNT_RANGES_MAX
#define AIOC_ACCOUNT_RANGES_MAX 4096         /* partition key ranges, and session tokens, of one container */
#endif
#ifndef AIOC_ACCOUNT_SESSION_BYTES_MAX
#define AIOC_ACCOUNT_SESSION_BYTES_MAX AIOC_PROTOCOL_SESSION_MAX       /* all tokens of a container */
#endif
#define AIOC_ACCOUNT_RANGE_TEXT_MAX (1u << 20)       /* bytes of all texts of a container's ranges */
#define AIOC_ACCOUNT_RETRY_US 30000000u      /* after ranges could not be had, before they are asked for again */
#define AIOC_ACCOUNT_BUCKETS 64

/* All texts of a container's ranges stand in one block; a view is an offset and a length into it. */
typedef struct aioc_account_view { uint32_t at, len; } aioc_account_view;

typedef struct aioc_account_range {
    aioc_account_view id, min, max;          /* [min, max) as hex text of effective partition keys */
    aioc_account_view parents;               /* ids of the ranges that this one came from, comma separated */
} aioc_account_range;

/* One range's newest session token, "id:value" in one block. */
typedef struct aioc_account_token {
    char    *text;
    uint32_t id_len, value_len, cap;
} aioc_account_token;

/* Somebody who waits until a container's metadata is known, or known to be out of reach. */
typedef struct aioc_account_waiter {
    struct aioc_account_waiter *prev, *next;
    void (*resume)(struct aioc_account_waiter *waiter);
    void *owner;
} aioc_account_waiter;

typedef enum aioc_account_knowledge {
    AIOC_ACCOUNT_UNKNOWN,
    AIOC_ACCOUNT_FETCHING,
    AIOC_ACCOUNT_KNOWN,
    AIOC_ACCOUNT_UNAVAILABLE                 /* could not be had: the composite token is sent instead, for a while */
} aioc_account_knowledge;

typedef struct aioc_account_container {
    struct aioc_account_container *bucket_next, *older, *newer;
    char    *link;                           /* "dbs/D/colls/C", ids not percent-encoded */
    uint32_t link_len;
    uint32_t refs;                           /* operations that hold it: it is not forgotten meanwhile */
    uint8_t  knowledge;                      /* aioc_account_knowledge of definition and ranges together */
    uint64_t retry_us;                       /* UNAVAILABLE until then */
    char     rid[33];                        /* changes when a container is created anew under the same name */
    aioc_protocol_pk_def pk_def;
    aioc_memory_buffer pk_paths;             /* "/tenant" and so on, each with its NUL */
    aioc_account_range *ranges;
    uint32_t range_count, range_cap;
    aioc_memory_buffer range_text;
    aioc_memory_buffer ranges_etag;          /* where the feed of ranges stood; empty: to be read from its start */
    uint32_t ranges_before;                  /* known when the reading under way began */
    uint32_t ranges_version;                 /* another one each time that the ranges have been fetched */
    bool     no_plans;                       /* the server makes no query plans */
    bool     met_tokens;                     /* tokens of further ranges came while the ranges were being fetched */
    int      failure;                        /* UNAVAILABLE: the status of what failed, */
    uint32_t failure_attempts;
    aioc_memory_buffer failure_why;          /* and its message, with its NUL; empty: no memory for it */
    aioc_account_token *tokens;
    uint32_t token_count, token_cap, token_bytes;
    aioc_account_waiter *first_waiter, *last_waiter;
} aioc_account_container;

typedef struct aioc_account {
    aioc_memory *memory;
    aioc_account_container *buckets[AIOC_ACCOUNT_BUCKETS];
    aioc_account_container *newest, *oldest;
    uint32_t count, max;
    void (*fetch)(void *engine, aioc_account_container *container);      /* set by the operation layer */
    void *engine;
} aioc_account;

static void aioc_account_open(aioc_account *account, aioc_memory *memory, uint32_t containers_max)
{
    memset(account, 0, sizeof *account);
    account->memory = memory;
    account->max = containers_max;
}

static aiocosmos_str aioc_account_text(const aioc_account_container *container, aioc_account_view view)
{
    aiocosmos_str text;
    text.ptr = container->range_text.data + view.at;
    text.len = view.len;
    return text;
}

static uint32_t aioc_account_bucket(aiocosmos_str link)
{
    uint32_t hash = 2166136261u;             /* FNV-1a */
    size_t i;
    for (i = 0; i < link.len; i++) hash = (hash ^ (unsigned char)link.ptr[i]) * 16777619u;
    return hash % AIOC_ACCOUNT_BUCKETS;
}

static void aioc_account_forget_tokens(aioc_account *account, aioc_account_container *container)
{
    uint32_t i;
    for (i = 0; i < container->token_count; i++)
        aioc_memory_free(account->memory, container->tokens[i].text, container->tokens[i].cap);
    container->token_count = container->token_bytes = 0;
}

static void aioc_account_forget_ranges(aioc_account *account, aioc_account_container *container)
{
    aioc_memory_free(account->memory, container->ranges, container->range_cap * sizeof *container->ranges);
    aioc_memory_buffer_free(account->memory, &container->range_text);
    container->ranges = NULL;
    container->range_count = container->range_cap = container->ranges_before = 0;
    container->ranges_etag.len = 0;
    if (container->knowledge != AIOC_ACCOUNT_FETCHING) container->knowledge = AIOC_ACCOUNT_UNKNOWN;
}

/* The ranges have changed since they were fetched: what changed is asked for before they are used again. */
static void aioc_account_doubt_ranges(aioc_account_container *container)
{
    if (container->knowledge != AIOC_ACCOUNT_FETCHING) container->knowledge = AIOC_ACCOUNT_UNKNOWN;
}

static void aioc_account_unlink(aioc_account *account, aioc_account_container *container)
{
    if (container->newer) container->newer->older = container->older;
    else account->newest = container->older;
    if (container->older) container->older->newer = container->newer;
    else account->oldest = container->newer;
}

static void aioc_account_link_newest(aioc_account *account, aioc_account_container *container)
{
    container->newer = NULL;
    container->older = account->newest;
    if (account->newest) account->newest->newer = container;
    else account->oldest = container;
    account->newest = container;
}

static void aioc_account_drop(aioc_account *account, aioc_account_container *container)
{
    aiocosmos_str link;
    aioc_account_container **at;
    link.ptr = container->link;
    link.len = container->link_len;
    at = &account->buckets[aioc_account_bucket(link)];
    while (*at != container) at = &(*at)->bucket_next;
    *at = container->bucket_next;
    aioc_account_unlink(account, container);
    aioc_account_forget_tokens(account, container);
    aioc_account_forget_ranges(account, container);
    aioc_memory_buffer_free(account->memory, &container->ranges_etag);
    aioc_memory_buffer_free(account->memory, &container->pk_paths);
    aioc_memory_buffer_free(account->memory, &container->failure_why);
    aioc_memory_free(account->memory, container->tokens, container->token_cap * sizeof *container->tokens);
    aioc_memory_free(account->memory, container->link, container->link_len + 1u);
    aioc_memory_free(account->memory, container, sizeof *container);
    account->count--;
}

static void aioc_account_close(aioc_account *account)
{
    while (account->oldest) aioc_account_drop(account, account->oldest);
}

static aioc_account_container *aioc_account_find(const aioc_account *account, aiocosmos_str link)
{
    aioc_account_container *container = account->buckets[aioc_account_bucket(link)];
    while (container && (container->link_len != link.len || memcmp(container->link, link.ptr, link.len) != 0))
        container = container->bucket_next;
    return container;
}

/* Finds or adds a container and holds it until aioc_account_release(). NULL: no memory. */
static aioc_account_container *aioc_account_hold(aioc_account *account, aiocosmos_str link)
{
    aioc_account_container *container = aioc_account_find(account, link);
    aioc_account_container **bucket;
    if (container) {
        if (container != account->newest) {
            aioc_account_unlink(account, container);
            aioc_account_link_newest(account, container);
        }
        container->refs++;
        return container;
    }
    while (account->count >= account->max) {                 /* more than one, if too many were in use before */
        aioc_account_container *victim = account->oldest;
        while (victim && victim->refs) victim = victim->newer;
        if (!victim) break;
        aioc_account_drop(account, victim);
    }
    container = (aioc_account_container *)aioc_memory_zalloc(account->memory, sizeof *container);
    if (!container) return NULL;
    container->link = (char *)aioc_memory_alloc(account->memory, link.len + 1);
    if (!container->link) {
        aioc_memory_free(account->memory, container, sizeof *container);
        return NULL;
    }
    memcpy(container->link, link.ptr, link.len);
    container->link[link.len] = 0;
    container->link_len = (uint32_t)link.len;
    container->refs = 1;
    bucket = &account->buckets[aioc_account_bucket(link)];
    container->bucket_next = *bucket;
    *bucket = container;
    aioc_account_link_newest(account, container);
    account->count++;
    return container;
}

static void aioc_account_release(aioc_account_container *container)
{
    AIOCOSMOS_ASSERT(container->refs > 0);
    container->refs--;
}

/* The container was deleted, or is another one under the same name: what we knew is of no use. */
static void aioc_account_forget(aioc_account *account, aioc_account_container *container)
{
    aioc_account_forget_tokens(account, container);
    aioc_account_forget_ranges(account, container);
    container->rid[0] = 0;
}

/* A container's rid as an answer gives it. Another rid than ours: the container was created anew. */
static void aioc_account_see_rid(aioc_account *account, aioc_account_container *container, aiocosmos_str rid)
{
    if (rid.len == 0 || rid.len >= sizeof container->rid) return;
    if (strlen(container->rid) == rid.len && memcmp(container->rid, rid.ptr, rid.len) == 0) return;
    if (container->rid[0]) aioc_account_forget(account, container);
    memcpy(container->rid, rid.ptr, rid.len);
    container->rid[rid.len] = 0;
}

/*--- Metadata: the definition and the ranges -------------------------------*/

/* Whether nobody needs to wait: the ranges are known, or could not be had a short while ago. */
static bool aioc_account_settled(const aioc_account_container *container, uint64_t now_us)
{
    if (container->knowledge == AIOC_ACCOUNT_UNAVAILABLE) return now_us < container->retry_us;
    return container->knowledge == AIOC_ACCOUNT_KNOWN;
}

/* waiter->resume comes, from a later step, when the metadata is settled. */
static void aioc_account_wait(aioc_account *account, aioc_account_container *container, aioc_account_waiter *waiter)
{
    waiter->next = NULL;
    waiter->prev = container->last_waiter;
    if (container->last_waiter) container->last_waiter->next = waiter;
    else container->first_waiter = waiter;
    container->last_waiter = waiter;
    if (container->knowledge != AIOC_ACCOUNT_FETCHING) {
        container->knowledge = AIOC_ACCOUNT_FETCHING;
        account->fetch(account->engine, container);
    }
}

static void aioc_account_stop_waiting(aioc_account_container *container, aioc_account_waiter *waiter)
{
    if (waiter->prev) waiter->prev->next = waiter->next;
    else container->first_waiter = waiter->next;
    if (waiter->next) waiter->next->prev = waiter->prev;
    else container->last_waiter = waiter->prev;
    waiter->prev = waiter->next = NULL;
}

static void aioc_account_settle(aioc_account_container *container, bool known, uint64_t now_us)
{
    container->retry_us = now_us + AIOC_ACCOUNT_RETRY_US;
    container->knowledge = (uint8_t)(known ? AIOC_ACCOUNT_KNOWN : AIOC_ACCOUNT_UNAVAILABLE);
    container->ranges_version++;
    while (container->first_waiter) {
        aioc_account_waiter *waiter = container->first_waiter;
        aioc_account_stop_waiting(container, waiter);
        waiter->resume(waiter);
    }
}

/* The paths of the partition key, as a query or a reader of documents needs them. */
static bool aioc_account_keep_paths(aioc_account *account, aioc_account_container *container, aiocosmos_json paths)
{
    aioc_memory_buffer *out = &container->pk_paths;
    aiocosmos_json path;
    out->len = 0;
    memset(&path, 0, sizeof path);
    while (aioc_json_next(paths, NULL, &path)) {
        size_t room = path.len + 1;          /* unescaping never makes a string longer */
        if (path.type != AIOCOSMOS_JSON_STR || !aioc_memory_reserve(account->memory, out, room)) return false;
        out->len += aioc_json_get_str(path, out->data + out->len, room) + 1;
    }
    return true;
}

/* Why the metadata could not be had, for who waits for it. */
static void aioc_account_note_failure(aioc_account *account, aioc_account_container *container, int status,
                                      uint32_t attempts, aiocosmos_str message)
{
    aioc_memory_buffer *why = &container->failure_why;
    why->len = 0;
    container->failure = status;
    container->failure_attempts = attempts;
    if (aioc_memory_reserve(account->memory, why, message.len + 1)) {
        if (message.len) memcpy(why->data, message.ptr, message.len);
        why->data[message.len] = 0;
        why->len = message.len + 1;
    }
}

/* Reads the partition key definition out of a container's properties: "version" absent means 1. */
static bool aioc_account_read_definition(aioc_account *account, aioc_account_container *container,
                                         aiocosmos_json properties)
{
    static const char *const names[] = { "partitionKey", "_rid" };
    aiocosmos_json found[2], paths, kind;
    int64_t version = 1;
    size_t levels;
    char rid[sizeof container->rid];
    aioc_json_fields(properties, names, 2, found);
    if (aioc_json_get_str(found[1], rid, sizeof rid) < sizeof rid) {
        aiocosmos_str text;
        text.ptr = rid;
        text.len = strlen(rid);
        aioc_account_see_rid(account, container, text);
    }
    paths = aioc_json_at(found[0], "/paths");
    levels = aioc_json_count(paths);
    if (paths.type != AIOCOSMOS_JSON_ARR || levels < 1 || levels > 3) return false;
    aioc_json_get_i64(aioc_json_at(found[0], "/version"), &version);
    kind = aioc_json_at(found[0], "/kind");
    container->pk_def.kind = (uint8_t)(aioc_json_is_str(kind, "MultiHash") ? AIOC_PROTOCOL_MULTI_HASH
                                       : aioc_json_is_str(kind, "Range") ? AIOC_PROTOCOL_RANGE : AIOC_PROTOCOL_HASH);
    container->pk_def.version = (uint8_t)(version == 1 || version == 2 ? version : 0); /* 0: not hashed here */
    container->pk_def.path_count = (uint8_t)levels;
    container->pk_def.system_key = false;
    aioc_json_get_bool(aioc_json_at(found[0], "/systemKey"), &container->pk_def.system_key);
    return aioc_account_keep_paths(account, container, paths);
}

static bool aioc_account_keep_text(aioc_account *account, aioc_account_container *container, aiocosmos_json value,
                                   aioc_account_view *view)
{
    aioc_memory_buffer *text = &container->range_text;
    size_t room = value.len + 1;             /* unescaping never makes a string longer */
    if (value.type != AIOCOSMOS_JSON_STR || text->len + room > AIOC_ACCOUNT_RANGE_TEXT_MAX) return false;
    if (!aioc_memory_reserve(account->memory, text, room)) return false;
    view->at = (uint32_t)text->len;
    view->len = (uint32_t)aioc_json_get_str(value, text->data + text->len, room);
    text->len += view->len;
    return true;
}

static bool aioc_account_keep_parents(aioc_account *account, aioc_account_container *container, aiocosmos_json parents,
                                      aioc_account_view *view)
{
    aiocosmos_json parent;
    aioc_memory_buffer *text = &container->range_text;
    size_t start = text->len;
    memset(&parent, 0, sizeof parent);
    while (aioc_json_next(parents, NULL, &parent)) {
        aioc_account_view one;
        if (text->len > start && !aioc_memory_append_str(account->memory, text, ",")) return false;
        if (!aioc_account_keep_text(account, container, parent, &one)) return false;
    }
    view->at = (uint32_t)start;
    view->len = (uint32_t)(text->len - start);
    return true;
}

/* Adds one page of the pkranges feed. False: not such a feed, too many ranges, or no memory. */
static bool aioc_account_add_ranges(aioc_account *account, aioc_account_container *container, aiocosmos_json page)
{
    static const char *const names[] = { "id", "minInclusive", "maxExclusive", "parents" };
    aiocosmos_json ranges = aioc_json_at(page, "/PartitionKeyRanges");
    aiocosmos_json item, field[4];
    memset(&item, 0, sizeof item);
    if (ranges.type != AIOCOSMOS_JSON_ARR) return false;
    while (aioc_json_next(ranges, NULL, &item)) {
        aioc_account_range *range;
        if (container->range_count == AIOC_ACCOUNT_RANGES_MAX) return false;
        if (container->range_count == container->range_cap) {
            uint32_t cap = container->range_cap ? container->range_cap * 2 : 8;
            void *grown = aioc_memory_resize(account->memory, container->ranges,
                                             container->range_cap * sizeof *container->ranges,
                                             cap * sizeof *container->ranges);
            if (!grown) return false;
            container->ranges = (aioc_account_range *)grown;
            container->range_cap = cap;
        }
        range = &container->ranges[container->range_count];
        aioc_json_fields(item, names, 4, field);
        if (!aioc_account_keep_text(account, container, field[0], &range->id) ||
            !aioc_account_keep_text(account, container, field[1], &range->min) ||
            !aioc_account_keep_text(account, container, field[2], &range->max) ||
            !aioc_account_keep_parents(account, container, field[3], &range->parents)) return false;
        container->range_count++;
    }
    return true;
}

/* Whether `id` stands in a comma separated list. */
static bool aioc_account_listed(aiocosmos_str list, aiocosmos_str id)
{
    size_t at = 0;
    while (at + id.len <= list.len) {
        size_t end = at;
        while (end < list.len && list.ptr[end] != ',') end++;
        if (end - at == id.len && memcmp(list.ptr + at, id.ptr, id.len) == 0) return true;
        at = end + 1;
    }
    return false;
}

typedef int (*aioc_account_order)(const aioc_account_container *container, const aioc_account_range *a,
                                  const aioc_account_range *b);

static int aioc_account_compare(aiocosmos_str a, aiocosmos_str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int difference = len ? memcmp(a.ptr, b.ptr, len) : 0;
    return difference ? difference : (a.len > b.len) - (a.len < b.len);
}

static int aioc_account_by_id(const aioc_account_container *container, const aioc_account_range *a,
                              const aioc_account_range *b)
{
    return aioc_account_compare(aioc_account_text(container, a->id), aioc_account_text(container, b->id));
}

static int aioc_account_by_min(const aioc_account_container *container, const aioc_account_range *a,
                               const aioc_account_range *b)
{
    return aioc_protocol_epk_compare(aioc_account_text(container, a->min), aioc_account_text(container, b->min));
}

static void aioc_account_sift(aioc_account_container *container, aioc_account_order order, uint32_t root,
                              uint32_t count)
{
    aioc_account_range *ranges = container->ranges, moved;
    uint32_t child;
    for (; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && order(container, &ranges[child], &ranges[child + 1]) < 0) child++;
        if (order(container, &ranges[root], &ranges[child]) >= 0) return;
        moved = ranges[root];
        ranges[root] = ranges[child];
        ranges[child] = moved;
    }
}

/* Heapsort: thousands of ranges, in whatever order a server sends them, do not hold up a step. */
static void aioc_account_sort(aioc_account_container *container, aioc_account_order order)
{
    uint32_t count = container->range_count, i;
    for (i = count / 2; i-- > 0;) aioc_account_sift(container, order, i, count);
    for (i = count; i-- > 1;) {
        aioc_account_range last = container->ranges[i];
        container->ranges[i] = container->ranges[0];
        container->ranges[0] = last;
        aioc_account_sift(container, order, 0, i);
    }
}

/* Marks the range with this id, of ranges sorted by id, as one that was split or merged away: no range ends at "". */
static void aioc_account_mark_parent(aioc_account_container *container, aiocosmos_str id)
{
    uint32_t low = 0, high = container->range_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int difference = aioc_account_compare(aioc_account_text(container, container->ranges[middle].id), id);
        if (difference == 0) container->ranges[middle].max.len = 0;
        if (difference == 0) return;
        if (difference < 0) low = middle + 1;
        else high = middle;
    }
}

static void aioc_account_mark_parents(aioc_account_container *container, aiocosmos_str parents)
{
    aiocosmos_str id;
    size_t at = 0, end;
    for (; at < parents.len; at = end + 1) {
        for (end = at; end < parents.len && parents.ptr[end] != ','; end++) continue;
        id.ptr = parents.ptr + at;
        id.len = end - at;
        aioc_account_mark_parent(container, id);
    }
}

/* Of ranges sorted by id, those of one id: what was said last of it counts. Of one page, they contradict each other. */
static bool aioc_account_drop_repeated(aioc_account_container *container)
{
    uint32_t i, kept = 0;
    for (i = 0; i < container->range_count; i++) {
        aioc_account_range *last = kept ? &container->ranges[kept - 1] : NULL;
        const aioc_account_range *range = &container->ranges[i];
        if (!last || aioc_account_by_id(container, last, range) != 0) {
            container->ranges[kept++] = *range;
            continue;
        }
        if (container->ranges_before == 0) return false;
        if (last->id.at < range->id.at) *last = *range;
    }
    container->range_count = kept;
    return true;
}

/* Ends the feed: ranges that were split or merged away are dropped, the rest sorted; they must cover "" to "FF" without
 * gap or overlap. */
static bool aioc_account_finish_ranges(aioc_account_container *container)
{
    uint32_t i, kept = 0;
    aiocosmos_str edge = aioc_memory_str("");
    aioc_account_sort(container, aioc_account_by_id);
    if (!aioc_account_drop_repeated(container)) return false;
    for (i = 0; i < container->range_count; i++)
        aioc_account_mark_parents(container, aioc_account_text(container, container->ranges[i].parents));
    for (i = 0; i < container->range_count; i++)
        if (container->ranges[i].max.len > 0) container->ranges[kept++] = container->ranges[i];
    container->range_count = kept;
    aioc_account_sort(container, aioc_account_by_min);
    for (i = 0; i < kept; i++) {
        if (aioc_protocol_epk_compare(aioc_account_text(container, container->ranges[i].min), edge) != 0) return false;
        edge = aioc_account_text(container, container->ranges[i].max);
    }
    return kept > 0 && aioc_memory_same(edge, aioc_memory_str("FF"));
}

/* Where the feed of ranges stands. It is read from its start again when it has left much text behind. */
static bool aioc_account_keep_etag(aioc_account *account, aioc_account_container *container, aiocosmos_str etag)
{
    container->ranges_etag.len = 0;
    if (etag.len == 0 || container->range_text.len > AIOC_ACCOUNT_RANGE_TEXT_MAX / 4) return true;
    return aioc_memory_append(account->memory, &container->ranges_etag, etag.ptr, etag.len);
}

/* The range of this id. NULL: there is none. */
static const aioc_account_range *aioc_account_range_named(const aioc_account_container *container, aiocosmos_str id)
{
    uint32_t i;
    for (i = 0; i < container->range_count; i++)
        if (aioc_memory_same(aioc_account_text(container, container->ranges[i].id), id)) return &container->ranges[i];
    return NULL;
}

/* The range that an effective partition key belongs to. NULL: ranges are not known. */
static const aioc_account_range *aioc_account_route(const aioc_account_container *container, aiocosmos_str epk)
{
    uint32_t low = 0, high = container->range_count;
    if (container->knowledge != AIOC_ACCOUNT_KNOWN || high == 0) return NULL;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (aioc_protocol_epk_compare(aioc_account_text(container, container->ranges[middle].min), epk) <= 0)
            low = middle;
        else high = middle;
    }
    return &container->ranges[low];
}

/*--- Session tokens -----------------------------------------*/

static aiocosmos_str aioc_account_token_id(const aioc_account_token *token)
{
    aiocosmos_str id;
    id.ptr = token->text;
    id.len = token->id_len;
    return id;
}

static aiocosmos_str aioc_account_token_value(const aioc_account_token *token)
{
    aiocosmos_str value;
    value.ptr = token->text + token->id_len + 1;
    value.len = token->value_len;
    return value;
}

static aioc_account_token *aioc_account_token_of(const aioc_account_container *container, aiocosmos_str range_id)
{
    uint32_t i;
    for (i = 0; i < container->token_count; i++)
        if (aioc_memory_same(aioc_account_token_id(&container->tokens[i]), range_id)) return &container->tokens[i];
    return NULL;
}

static bool aioc_account_token_store(aioc_account *account, aioc_account_container *container,
                                     aioc_account_token *token,
                                     aiocosmos_str id, aiocosmos_str value)
{
    size_t size = id.len + 1 + value.len;
    size_t others = container->token_bytes - (token->id_len ? token->id_len + 2u + token->value_len : 0u);
    if (others + size + 1 > AIOC_ACCOUNT_SESSION_BYTES_MAX) return false;
    if (size > token->cap) {
        size_t cap = size + 32;              /* LSNs grow a digit now and then */
        void *grown = aioc_memory_resize(account->memory, token->text, token->cap, cap);
        if (!grown) return false;
        token->text = (char *)grown;
        token->cap = (uint32_t)cap;
    }
    if (token->id_len == 0) {
        memcpy(token->text, id.ptr, id.len);
        token->text[id.len] = ':';
        token->id_len = (uint32_t)id.len;
    }
    memcpy(token->text + token->id_len + 1, value.ptr, value.len);
    token->value_len = (uint32_t)value.len;
    container->token_bytes = (uint32_t)(others + size + 1);
    return true;
}

static aioc_account_token *aioc_account_token_add(aioc_account *account, aioc_account_container *container)
{
    aioc_account_token *token;
    if (container->token_count == container->token_cap) {
        uint32_t cap = container->token_cap ? container->token_cap * 2 : 4;
        void *grown;
        if (container->token_cap >= AIOC_ACCOUNT_RANGES_MAX) return NULL;
        grown = aioc_memory_resize(account->memory, container->tokens, container->token_cap * sizeof *container->tokens,
                                   cap * sizeof *container->tokens);
        if (!grown) return NULL;
        container->tokens = (aioc_account_token *)grown;
        container->token_cap = cap;
    }
    token = &container->tokens[container->token_count];
    memset(token, 0, sizeof *token);
    return token;
}

/* Merges a composite token into what is held. False: no memory, or too many ranges. The caller has checked its form. */
static bool aioc_account_session_merge(aioc_account *account, aioc_account_container *container,
                                       aiocosmos_str composite)
{
    aiocosmos_str id, value;
    while (aioc_protocol_session_next(&composite, &id, &value)) {
        aioc_account_token *token = aioc_account_token_of(container, id);
        if (!token) {
            token = aioc_account_token_add(account, container);
            if (!token || !aioc_account_token_store(account, container, token, id, value)) return false;
            container->token_count++;
        } else if (!aioc_memory_same(aioc_account_token_value(token), value)) {
            aioc_memory_buffer merged = { NULL, 0, 0 };
            aiocosmos_str newer;
            bool stored = aioc_protocol_session_merge_value(account->memory, &merged, aioc_account_token_value(token),
                                                            value);
            newer.ptr = merged.data;
            newer.len = merged.len;
            stored = stored && aioc_account_token_store(account, container, token, id, newer);
            aioc_memory_buffer_free(account->memory, &merged);
            if (!stored) return false;
        }
    }
    return true;
}

/* Whether one of the tokens from the first-th on is of a range that is not among ours, nor one that ours came from:
 * then there has been a split since ours were fetched. */
static bool aioc_account_has_strangers(const aioc_account_container *container, uint32_t first)
{
    uint32_t i, k;
    for (i = first; i < container->token_count; i++) {
        aiocosmos_str id = aioc_account_token_id(&container->tokens[i]);
        for (k = 0; k < container->range_count; k++) {
            const aioc_account_range *range = &container->ranges[k];
            if (aioc_memory_same(aioc_account_text(container, range->id), id) ||
                aioc_account_listed(aioc_account_text(container, range->parents), id)) break;
        }
        if (k == container->range_count) return true;
    }
    return false;
}

/* Merges a composite token from an answer, or from the host. A gateway finds the new ranges by itself and does not tell
 * of a split; but their tokens do, and then ours are fetched again before the next read. */
static bool aioc_account_session_take(aioc_account *account, aioc_account_container *container, aiocosmos_str composite)
{
    uint32_t count = container->token_count;
    bool merged = aioc_account_session_merge(account, container, composite);
    if (container->knowledge == AIOC_ACCOUNT_KNOWN && aioc_account_has_strangers(container, count))
        aioc_account_doubt_ranges(container);
    if (container->knowledge == AIOC_ACCOUNT_FETCHING && container->token_count > count) container->met_tokens = true;
    return merged;
}

static bool aioc_account_session_append(aioc_account *account, aioc_memory_buffer *out, aiocosmos_str id,
                                        aiocosmos_str value)
{
    return (out->len == 0 || aioc_memory_append(account->memory, out, ",", 1)) &&
           aioc_memory_append(account->memory, out, id.ptr, id.len) &&
           aioc_memory_append(account->memory, out, ":", 1) &&
           aioc_memory_append(account->memory, out, value.ptr, value.len);
}

/* Everything held, as one composite. */
static bool aioc_account_session_all(aioc_account *account, const aioc_account_container *container,
                                     aioc_memory_buffer *out)
{
    uint32_t i;
    for (i = 0; i < container->token_count; i++) {
        if (!aioc_account_session_append(account, out, aioc_account_token_id(&container->tokens[i]),
                                         aioc_account_token_value(&container->tokens[i]))) return false;
    }
    return true;
}

/* "id:value" of one range. A range that has no token of its own yet inherits those of its parents, merged, under its
 * own id (as the .NET SDK's SessionContainer does). Nothing is appended when nothing is held. */
static bool aioc_account_session_of_range(aioc_account *account, const aioc_account_container *container,
                                          const aioc_account_range *range, aioc_memory_buffer *out)
{
    aiocosmos_str id = aioc_account_text(container, range->id);
    const aioc_account_token *token = aioc_account_token_of(container, id);
    aioc_memory_buffer merged = { NULL, 0, 0 };
    aiocosmos_str parents, value;
    uint32_t i;
    bool ok = true;
    if (token) return aioc_account_session_append(account, out, id, aioc_account_token_value(token));
    parents = aioc_account_text(container, range->parents);
    for (i = 0; i < container->token_count && ok && parents.len; i++) {
        aioc_memory_buffer next = { NULL, 0, 0 };
        if (!aioc_account_listed(parents, aioc_account_token_id(&container->tokens[i]))) continue;
        value.ptr = merged.data;
        value.len = merged.len;
        if (value.len == 0) {
            aiocosmos_str first = aioc_account_token_value(&container->tokens[i]);
            ok = aioc_memory_append(account->memory, &merged, first.ptr, first.len);
        } else {
            ok = aioc_protocol_session_merge_value(account->memory, &next, value,
                                                   aioc_account_token_value(&container->tokens[i]));
            aioc_memory_buffer_free(account->memory, &merged);
            merged = next;
        }
    }
    value.ptr = merged.data;
    value.len = merged.len;
    if (ok && value.len) ok = aioc_account_session_append(account, out, id, value);
    aioc_memory_buffer_free(account->memory, &merged);
    return ok;
}
/*==============================================================================
 * MARK: - Operation                                                 >>operation
 *
 * One request's life: ready → attempt → outcome → retry or completion. Every
 * accepted operation ends in aioc_operation_finish(), once. The retry policy is
 * a pure function; the rest moves operations between the places where they
 * wait: an order queue, a token, a container's metadata, the pool, a back-off.
 *
 * May call: all above.    Knows nothing of: pages, bulks, the public structs'
 * defaults.
 *============================================================================*/

#ifndef AIOC_OPERATION_MESSAGE_BYTES
#define AIOC_OPERATION_MESSAGE_BYTES 1024
#endif
#define AIOC_OPERATION_SPARE_SLOTS 64        /* beyond pending_max, for what the library asks on its own account */
#define AIOC_OPERATION_ORDER_BUCKETS 256
#define AIOC_OPERATION_ATTEMPTS_KEPT 6       /* the first three and the last three */
#define AIOC_OPERATION_SKEW_MIN_MS 60000     /* a clock this far from the server's is corrected */
#define AIOC_OPERATION_NODES_KEPT 16384u     /* JSON nodes kept from one result to the next: 256 KiB */
#define AIOC_OPERATION_CHARGE_MAX 1e8        /* request units of one answer: what says more is mistaken */

typedef struct aioc_operation aioc_operation;
typedef struct aioc_operation_engine aioc_operation_engine;

/* Whoever paces a set of operations (a bulk): a 429 to one of them does not use up its retries, but slows all. */
typedef struct aioc_operation_pacer {
    /* It got a 429, and is about to back off for so long, or to end. */
    void (*throttled)(aioc_operation *op, uint64_t wait_us);
    bool (*hold)(aioc_operation *op);        /* its back-off is over; true: kept until the pacer makes it ready */
    void (*let_go)(aioc_operation *op);      /* it ends while it backs off or is held */
} aioc_operation_pacer;

/* What an operation asks for. Texts are lent: aioc_operation_new() copies them. */
typedef struct aioc_operation_spec {
    const char *verb, *type;                 /* "POST", "docs": the resource type that is signed */
    aiocosmos_str link;                      /* the resource link that is signed: ids not percent-encoded */
    bool to_feed;                            /* the path is the link and the type, not the link alone */
    bool write;                              /* what may have landed is sent again only with leave */
    bool repeatable;                         /* a write that may be: it has an ETag to match, or if_not_exists */
    bool if_not_exists;                      /* 409 is success */
    bool item_data;                          /* reads or writes items: session tokens apply */
    const aioc_operation_pacer *pacer;
    bool forgets_container;                  /* success means that what is known of `container_link` is stale */
    aiocosmos_str container_link;            /* whose session tokens apply; len 0: none */
    aiocosmos_str pk_text;                   /* partition key header value; len 0: none */
    bool by_range;                           /* pk_text is the id of a partition key range: 410 is its owner's affair */
    aiocosmos_str lines;                     /* header lines of this request, each ending in CR LF */
    aiocosmos_str session_token;
    aiocosmos_str body;
    uint64_t order_key;
    uint32_t timeout_ms;                     /* AIOCOSMOS_OFF: none */
    bool internal;                           /* nobody outside waits for it */
    void (*complete)(aioc_operation *op, const aiocosmos_result *result);
    void (*stop_parts)(aioc_operation *op);  /* set: it is composed of others, and sends nothing itself */
    aiocosmos_done_fn done;
    void *user_data;
    void *owner;                             /* whoever composed it */
} aioc_operation_spec;

typedef enum aioc_operation_state {
    AIOC_OPERATION_READY,                    /* in the ready list */
    AIOC_OPERATION_IN_ORDER,                 /* behind another of its order key */
    AIOC_OPERATION_WANTS_TOKEN,
    AIOC_OPERATION_WANTS_METADATA,
    AIOC_OPERATION_IN_POOL,
    AIOC_OPERATION_BACKING_OFF,
    AIOC_OPERATION_HELD,                     /* by its pacer */
    AIOC_OPERATION_COMPOSED                  /* made of other operations, which do the work */
} aioc_operation_state;

/* One attempt as it is kept, for the result. */
typedef struct aioc_operation_attempt {
    uint32_t number;
    int16_t  status, http_status;
    int32_t  sub_status;
    uint32_t queue_us, dns_us, tcp_us, tls_us, first_byte_us, body_us;
    float    charge_ru;
    bool     reused;
} aioc_operation_attempt;

struct aioc_operation {
    aioc_pool_exchange exchange;
    aioc_operation_engine *engine;
    aioc_operation *prev, *next;             /* ready list, or the list of those who want a token */
    aioc_platform_timer timer;               /* deadline, or end of the back-off if that is sooner */
    aioc_account_container *container;
    aioc_account_waiter waiter;
    const char *verb, *type;
    char    *texts;                          /* link, pk_text, lines, session, body: one block */
    size_t   texts_size;
    uint32_t link_len, pk_len, lines_len, session_len;
    size_t   body_len;
    aioc_memory_buffer head;                 /* of the attempt under way */
    aioc_operation_attempt *kept;            /* AIOC_OPERATION_ATTEMPTS_KEPT of them, from the first attempt on */
    uint64_t order_key;
    aioc_operation *order_next, *order_tail, *order_bucket_next;
    uint64_t submitted_us, deadline_us, attempt_us, throttled_us;
    void   (*complete)(aioc_operation *op, const aiocosmos_result *result);
    void   (*stop_parts)(aioc_operation *op);            /* composed: called when it is stopped */
    const aioc_operation_pacer *pacer;
    aiocosmos_done_fn done;
    void    *user_data;
    void    *owner;
    double   charge_ru;
    int64_t  skew_ms;                        /* of the clock that the attempt under way was signed by */
    uint32_t slot, attempts, retries, throttle_wait_ms;
    int      stop;                           /* not 0: finish with it at the next step */
    int      http_status, sub_status;
    uint8_t  state;
    bool     to_feed, write, repeatable, if_not_exists, item_data, by_range, paced, forgets_container, internal;
    bool     in_ready;
    bool     doubt;                          /* an earlier attempt may have been applied */
    bool     fresh_signature, fresh_metadata, metadata_tried;   /* each of these remedies is tried once */
    bool     head_of_order;
    char     activity_id[40];
};

/* What a result points to while its callback runs. */
typedef struct aioc_operation_delivery {
    aioc_operation *op;
    aioc_http_response *response;            /* NULL: no answer */
    aioc_http_parser *parser;
    bool parsed;
    bool taken;
    aiocosmos_str body;
    aiocosmos_json root;
} aioc_operation_delivery;

struct aioc_operation_engine {
    aiocosmos_client *client;                /* handed to callbacks, never looked into */
    const aiocosmos_platform *platform;
    aioc_platform_reactor *reactor;
    aioc_memory *memory;
    aioc_pool pool;
    aioc_auth_signer signer;
    aioc_auth_tokens tokens;
    aiocosmos_token_fn token_fn;
    void *token_user_data;
    uint64_t token_us;                       /* when the host last gave one */
    aioc_account account;
    aioc_memory_buffer constant_lines;       /* Host and the other header lines that every request carries */
    aioc_operation **slots;
    uint32_t *generations, *free_slots;
    uint32_t slot_count, free_count;
    uint32_t pending, pending_max;           /* operations that owe a callback */
    aioc_operation *first_ready, *last_ready;
    aioc_operation *first_tokenless;
    aioc_operation *order[AIOC_OPERATION_ORDER_BUCKETS];
    uint32_t retries_max, throttle_wait_ms;
    bool retry_writes, no_session;
    aiocosmos_done_fn on_failure;
    void *on_failure_user_data;
    aiocosmos_logger logger;
    bool closing;
    bool answered_once;                      /* the endpoint exists: a refused connection is worth more patience */
    int64_t skew_ms;                         /* the server's clock minus ours */
    uint64_t random_state;
    int callbacks;                           /* run in this step */
    aiocosmos_json_doc doc;                  /* of the result being delivered */
    aiocosmos_json_doc properties;           /* of a container, while a request is checked */
    aioc_memory_buffer link_text, pk_text, lines_text, body_text;      /* of the request being checked */
    const char *default_database;
    uint32_t request_timeout_ms;
    char refusal[256];                       /* why the last call was refused */
    char message[AIOC_OPERATION_MESSAGE_BYTES];
    aiocosmos_stats stats;
};

static void aioc_operation_log(aioc_operation_engine *engine, int level, uint64_t op_id, const char *message)
{
    if (engine->logger.fn && level <= engine->logger.level_max)
        engine->logger.fn(level, message, op_id, engine->logger.user_data);
}

/* xorshift64*: for jitter only. */
static uint32_t aioc_operation_random(aioc_operation_engine *engine)
{
    uint64_t x = engine->random_state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    engine->random_state = x;
    return (uint32_t)((x * 0x2545F4914F6CDD1Dull) >> 32);
}

static aiocosmos_op aioc_operation_handle(const aioc_operation *op)
{
    aiocosmos_op handle;
    handle.id = ((uint64_t)op->engine->generations[op->slot] << 32) | (op->slot + 1u);
    return handle;
}

static aioc_operation *aioc_operation_find(const aioc_operation_engine *engine, aiocosmos_op handle)
{
    uint32_t slot = (uint32_t)handle.id - 1u;
    if (slot >= engine->slot_count || engine->generations[slot] != (uint32_t)(handle.id >> 32)) return NULL;
    return engine->slots[slot];
}

static aiocosmos_str aioc_operation_str(const char *ptr, size_t len)
{
    aiocosmos_str str;
    str.ptr = ptr;
    str.len = len;
    return str;
}

/* The texts of an operation stand one behind the other, in this order. */
static aiocosmos_str aioc_operation_link(const aioc_operation *op)
{
    return aioc_operation_str(op->texts, op->link_len);
}

static aiocosmos_str aioc_operation_pk(const aioc_operation *op)
{
    return aioc_operation_str(op->texts + op->link_len, op->pk_len);
}
static aiocosmos_str aioc_operation_lines(const aioc_operation *op)
{
    return aioc_operation_str(op->texts + op->link_len + op->pk_len, op->lines_len);
}
static aiocosmos_str aioc_operation_session(const aioc_operation *op)
{
    return aioc_operation_str(op->texts + op->link_len + op->pk_len + op->lines_len, op->session_len);
}
static aiocosmos_str aioc_operation_body(const aioc_operation *op)
{
    return aioc_operation_str(op->texts + op->link_len + op->pk_len + op->lines_len + op->session_len, op->body_len);
}

/*--- Ready list -------------------------------------------------------------*/

static void aioc_operation_make_ready(aioc_operation *op)
{
    aioc_operation_engine *engine = op->engine;
    if (op->in_ready) return;
    op->in_ready = true;
    op->next = NULL;
    op->prev = engine->last_ready;
    if (engine->last_ready) engine->last_ready->next = op;
    else engine->first_ready = op;
    engine->last_ready = op;
}

static void aioc_operation_leave_ready(aioc_operation *op)
{
    aioc_operation_engine *engine = op->engine;
    if (!op->in_ready) return;
    op->in_ready = false;
    if (op->prev) op->prev->next = op->next;
    else engine->first_ready = op->next;
    if (op->next) op->next->prev = op->prev;
    else engine->last_ready = op->prev;
}

static void aioc_operation_enter_tokenless(aioc_operation *op)
{
    aioc_operation_engine *engine = op->engine;
    op->state = AIOC_OPERATION_WANTS_TOKEN;
    op->prev = NULL;
    op->next = engine->first_tokenless;
    if (op->next) op->next->prev = op;
    engine->first_tokenless = op;
}

static void aioc_operation_leave_tokenless(aioc_operation *op)
{
    if (op->prev) op->prev->next = op->next;
    else op->engine->first_tokenless = op->next;
    if (op->next) op->next->prev = op->prev;
    op->state = AIOC_OPERATION_READY;
}

/* A token came, or was refused: those who waited for it go on. The others have been asked for, and wait until it is
 * their turn, or a host whose answers never fit would be asked for ever. */
static void aioc_operation_tokens_changed(aioc_operation_engine *engine)
{
    aioc_operation *op = engine->first_tokenless, *next;
    engine->token_us = engine->reactor->now_us;
    for (; op; op = next) {
        aiocosmos_str value;
        bool denied;
        next = op->next;
        if (!aioc_auth_tokens_find(&engine->tokens, aioc_operation_link(op), engine->reactor->now_us, &value,
                                   &denied) && !denied)
            continue;
        aioc_operation_leave_tokenless(op);
        aioc_operation_make_ready(op);
    }
}

/*--- Order keys: operations of one key, one at a time, in submit order --------*/

static aioc_operation **aioc_operation_order_bucket(aioc_operation_engine *engine, uint64_t key)
{
    return &engine->order[(key * 0x9E3779B97F4A7C15ull) >> 56];
}

/* True: it is the first of its key and may run. */
static bool aioc_operation_order_enter(aioc_operation *op)
{
    aioc_operation **bucket = aioc_operation_order_bucket(op->engine, op->order_key);
    aioc_operation *head;
    for (head = *bucket; head; head = head->order_bucket_next) {
        if (head->order_key == op->order_key) {
            head->order_tail->order_next = op;
            head->order_tail = op;
            return false;
        }
    }
    op->head_of_order = true;
    op->order_tail = op;
    op->order_bucket_next = *bucket;
    *bucket = op;
    return true;
}

static void aioc_operation_order_leave(aioc_operation *op)
{
    aioc_operation **at = aioc_operation_order_bucket(op->engine, op->order_key);
    aioc_operation *heir = op->order_next;
    while ((*at)->order_key != op->order_key) at = &(*at)->order_bucket_next;
    if (!op->head_of_order) {                /* stopped while it waited its turn */
        aioc_operation *before = *at;
        while (before->order_next != op) before = before->order_next;
        before->order_next = heir;
        if ((*at)->order_tail == op) (*at)->order_tail = before;
        return;
    }
    if (!heir) {
        *at = op->order_bucket_next;
        return;
    }
    heir->head_of_order = true;
    heir->order_tail = op->order_tail;
    heir->order_bucket_next = op->order_bucket_next;
    *at = heir;
    heir->state = AIOC_OPERATION_READY;
    aioc_operation_make_ready(heir);
}

/*--- Birth and death --------------------------------------------------------*/

static int aioc_operation_open(aioc_operation_engine *engine)
{
    uint32_t count = engine->pending_max + AIOC_OPERATION_SPARE_SLOTS, i;
    engine->slots = (aioc_operation **)aioc_memory_zalloc(engine->memory, count * sizeof *engine->slots);
    engine->generations = (uint32_t *)aioc_memory_zalloc(engine->memory, count * sizeof *engine->generations);
    engine->free_slots = (uint32_t *)aioc_memory_alloc(engine->memory, count * sizeof *engine->free_slots);
    engine->slot_count = count;
    if (!engine->slots || !engine->generations || !engine->free_slots) return AIOCOSMOS_E_NOMEM;
    for (i = 0; i < count; i++) {
        engine->free_slots[i] = count - 1 - i;
        engine->generations[i] = 1;
    }
    engine->free_count = count;
    aioc_json_open(&engine->doc, engine->memory);
    aioc_json_open(&engine->properties, engine->memory);
    return 0;
}

static void aioc_operation_close(aioc_operation_engine *engine)
{
    aioc_json_close(&engine->doc);
    aioc_json_close(&engine->properties);
    aioc_memory_buffer_free(engine->memory, &engine->constant_lines);
    aioc_memory_buffer_free(engine->memory, &engine->link_text);
    aioc_memory_buffer_free(engine->memory, &engine->pk_text);
    aioc_memory_buffer_free(engine->memory, &engine->lines_text);
    aioc_memory_buffer_free(engine->memory, &engine->body_text);
    aioc_memory_free(engine->memory, engine->slots, engine->slot_count * sizeof *engine->slots);
    aioc_memory_free(engine->memory, engine->generations, engine->slot_count * sizeof *engine->generations);
    aioc_memory_free(engine->memory, engine->free_slots, engine->slot_count * sizeof *engine->free_slots);
}

static bool aioc_operation_has_room(const aioc_operation_engine *engine, bool internal)
{
    return internal ? engine->free_count > 0
                    : engine->pending < engine->pending_max && engine->free_count > AIOC_OPERATION_SPARE_SLOTS / 2;
}

/* What a query asks of ranges leaves room to what others wait for, such as the ranges themselves. */
static bool aioc_operation_has_room_for_fetch(const aioc_operation_engine *engine)
{
    return engine->free_count > AIOC_OPERATION_SPARE_SLOTS / 4;
}

/* A bulk that has nothing in flight may have one item beyond pending_max: otherwise bulks that take up all the room
 * themselves would wait for it for ever. */
static bool aioc_operation_has_room_for_part(const aioc_operation_engine *engine, uint32_t in_flight)
{
    return aioc_operation_has_room(engine, false) ||
           (in_flight == 0 && engine->free_count > AIOC_OPERATION_SPARE_SLOTS / 2);
}

static void aioc_operation_free(aioc_operation *op)
{
    aioc_memory *memory = op->engine->memory;
    if (op->container) aioc_account_release(op->container);
    aioc_memory_buffer_free(memory, &op->head);
    aioc_memory_free(memory, op->kept, AIOC_OPERATION_ATTEMPTS_KEPT * sizeof *op->kept);
    aioc_memory_free(memory, op->texts, op->texts_size);
    aioc_memory_free(memory, op, sizeof *op);
}

static char *aioc_operation_put(char *at, aiocosmos_str text)
{
    if (text.len) memcpy(at, text.ptr, text.len);
    return at + text.len;
}

static void aioc_operation_resume(aioc_account_waiter *waiter);
static int  aioc_operation_prepare(aioc_pool_exchange *exchange, aiocosmos_slice slices[2]);
static void aioc_operation_answered(aioc_pool_exchange *exchange, const aioc_pool_outcome *outcome);
static void aioc_operation_timer_fired(aioc_platform_timer *timer);

static size_t aioc_operation_texts_len(const aioc_operation_spec *spec)
{
    return spec->link.len + spec->pk_text.len + spec->lines.len + spec->session_token.len + spec->body.len;
}

static bool aioc_operation_copy_texts(aioc_operation *op, const aioc_operation_spec *spec)
{
    char *at;
    op->texts_size = aioc_operation_texts_len(spec) + 1;
    op->texts = (char *)aioc_memory_alloc(op->engine->memory, op->texts_size);
    if (!op->texts) return false;
    at = aioc_operation_put(op->texts, spec->link);
    at = aioc_operation_put(at, spec->pk_text);
    at = aioc_operation_put(at, spec->lines);
    at = aioc_operation_put(at, spec->session_token);
    at = aioc_operation_put(at, spec->body);
    *at = 0;
    op->link_len = (uint32_t)spec->link.len;
    op->pk_len = (uint32_t)spec->pk_text.len;
    op->lines_len = (uint32_t)spec->lines.len;
    op->session_len = (uint32_t)spec->session_token.len;
    op->body_len = spec->body.len;
    return true;
}

static void aioc_operation_enlist(aioc_operation *op)
{
    aioc_operation_engine *engine = op->engine;
    op->slot = engine->free_slots[--engine->free_count];
    engine->slots[op->slot] = op;
    if (!op->internal) engine->pending++;
    engine->stats.ops_submitted++;
    if (op->deadline_us) aioc_platform_timer_start(engine->reactor, &op->timer, op->deadline_us);
    if (op->stop_parts) {
        op->state = AIOC_OPERATION_COMPOSED;
    } else if (op->order_key && !aioc_operation_order_enter(op)) {
        op->state = AIOC_OPERATION_IN_ORDER;
    } else {
        op->state = AIOC_OPERATION_READY;
        aioc_operation_make_ready(op);
    }
}

/* Accepts an operation: it will complete exactly once, from a later step. now_us is a fresh reading of the clock. NULL:
 * no memory; the caller has seen to aioc_operation_has_room(). */
static aioc_operation *aioc_operation_new(aioc_operation_engine *engine, const aioc_operation_spec *spec,
                                          uint64_t now_us)
{
    aioc_operation *op = (aioc_operation *)aioc_memory_zalloc(engine->memory, sizeof *op);
    if (!op) return NULL;
    op->engine = engine;
    if (!aioc_operation_copy_texts(op, spec)) goto failed;
    if (spec->container_link.len) {
        op->container = aioc_account_hold(&engine->account, spec->container_link);
        if (!op->container) goto failed;
    }
    op->exchange.prepare = aioc_operation_prepare;
    op->exchange.done = aioc_operation_answered;
    op->exchange.owner = op;
    op->timer.fire = aioc_operation_timer_fired;
    op->timer.owner = op;
    op->waiter.resume = aioc_operation_resume;
    op->waiter.owner = op;
    op->verb = spec->verb;
    op->type = spec->type;
    op->to_feed = spec->to_feed;
    op->write = spec->write;
    op->repeatable = spec->repeatable || engine->retry_writes;
    op->if_not_exists = spec->if_not_exists;
    op->item_data = spec->item_data;
    op->by_range = spec->by_range;
    op->pacer = spec->pacer;
    op->stop_parts = spec->stop_parts;
    op->forgets_container = spec->forgets_container;
    op->internal = spec->internal;
    op->complete = spec->complete;
    op->done = spec->done;
    op->user_data = spec->user_data;
    op->owner = spec->owner;
    op->order_key = spec->order_key;
    op->submitted_us = now_us;
    op->deadline_us = spec->timeout_ms == AIOCOSMOS_OFF ? 0 : now_us + (uint64_t)spec->timeout_ms * 1000u;
    aioc_operation_enlist(op);
    return op;
failed:
    aioc_operation_free(op);
    return NULL;
}

/*--- Completion -------------------------------------------------------------*/

/* Takes an operation out of every list. From here its handle is stale. */
static void aioc_operation_detach(aioc_operation *op)
{
    aioc_operation_engine *engine = op->engine;
    aioc_platform_timer_stop(engine->reactor, &op->timer);
    if (op->state == AIOC_OPERATION_WANTS_TOKEN) aioc_operation_leave_tokenless(op);
    if (op->state == AIOC_OPERATION_WANTS_METADATA) aioc_account_stop_waiting(op->container, &op->waiter);
    if (op->paced) op->pacer->let_go(op);
    aioc_operation_leave_ready(op);
    if (op->order_key) aioc_operation_order_leave(op);
    engine->slots[op->slot] = NULL;
    if (++engine->generations[op->slot] == 0) engine->generations[op->slot] = 1;
    engine->free_slots[engine->free_count++] = op->slot;
    if (!op->internal) engine->pending--;
    engine->stats.ops_completed++;
}

static void aioc_operation_call_back(aioc_operation *op, const aiocosmos_result *result)
{
    aioc_operation_engine *engine = op->engine;
    if (result->status != 0 && result->status != 304 && !op->internal && engine->on_failure)
        engine->on_failure(engine->client, result, engine->on_failure_user_data);
    if (op->complete) {
        op->complete(op, result);
    } else if (op->done) {
        engine->callbacks++;
        op->done(engine->client, result, op->user_data);
    }
}

/* What the service says of a failure quotes what it was asked: the log has the status only. Items that are missing, or
 * there already, are everyday news. */
static void aioc_operation_log_failure(aioc_operation_engine *engine, const aiocosmos_result *result, bool answered)
{
    bool everyday = result->status == 404 || result->status == 409 || result->status == 412;
    aioc_operation_log(engine, everyday ? 3 : 2, result->op.id,
                       answered ? aioc_protocol_status_text(result->status) : result->message.ptr);
}

/* Ends an operation: out of every list, then its callback, then its memory. The response, if there is one, is lent. */
static void aioc_operation_finish(aioc_operation *op, int status, aiocosmos_fate fate, const aioc_pool_outcome *outcome,
                                  const char *message)
{
    aioc_operation_engine *engine = op->engine;
    aioc_operation_delivery delivery;
    aiocosmos_result result;
    memset(&delivery, 0, sizeof delivery);
    memset(&result, 0, sizeof result);
    delivery.op = op;
    result.op = aioc_operation_handle(op);
    result.status = status;
    result.http_status = op->http_status;
    result.sub_status = op->sub_status;
    result.fate = (uint8_t)fate;
    result.attempts = op->attempts;
    result.throttled_us = op->throttled_us;
    result.charge_ru = op->charge_ru;
    result.latency_us = engine->reactor->now_us > op->submitted_us ? engine->reactor->now_us - op->submitted_us : 0;
    result.activity_id = aioc_memory_str(op->activity_id);
    result.message = aioc_memory_str(status == 0 ? "" : message);
    if (outcome && outcome->response) {
        delivery.response = outcome->response;
        delivery.parser = outcome->parser;
        /* What is there already answers with an error's body, which is no news to who said if_not_exists. */
        if (status != 0 || op->http_status != 409) delivery.body = outcome->response->body;
        result.body = delivery.body;
        result.etag = outcome->response->wanted[AIOC_PROTOCOL_H_ETAG];
        result.session_token = outcome->response->wanted[AIOC_PROTOCOL_H_SESSION];
    }
    result.internal = &delivery;
    if (status != 0 && status != 304) aioc_operation_log_failure(engine, &result, delivery.response != NULL);
    aioc_operation_detach(op);
    aioc_operation_call_back(op, &result);
    /* A huge page was an exception. */
    if (engine->doc.cap > AIOC_OPERATION_NODES_KEPT) aioc_json_close(&engine->doc);
    aioc_operation_free(op);
}

static aiocosmos_fate aioc_operation_fate_unsent(const aioc_operation *op)
{
    return op->doubt ? AIOCOSMOS_MAYBE_APPLIED : AIOCOSMOS_NOT_SENT;
}

static void aioc_operation_keep_attempt(aioc_operation *op, const aioc_pool_outcome *outcome, double charge_ru);

/* Takes an operation out of the pool. An attempt that was under way is an attempt, even if nobody waits for its answer
 * any more; of its times only that is known. Returns whether its last byte was sent. */
static bool aioc_operation_give_up(aioc_operation *op, int status)
{
    bool under_way = op->exchange.state == AIOC_POOL_ACTIVE;
    bool sent = aioc_pool_cancel(&op->engine->pool, &op->exchange);
    aioc_pool_outcome outcome;
    if (!under_way) return sent;
    memset(&outcome, 0, sizeof outcome);
    outcome.error = status;
    outcome.first_byte_us = (uint32_t)(op->engine->reactor->now_us - op->attempt_us);
    aioc_operation_keep_attempt(op, &outcome, 0);
    return sent;
}

/* Ends an operation wherever it is: cancelled, out of time, or shut down. */
static void aioc_operation_abort(aioc_operation *op, int status)
{
    char text[160];
    static const char *const where[] = { "ready to be sent", "waiting for the operation before it in its order",
        "waiting for a token", "waiting for the container's partition key ranges", "waiting for the answer",
        "waiting to try again", "held back after 429", "under way" };
    const char *place = where[op->state];
    if (op->state == AIOC_OPERATION_COMPOSED) {
        op->stop = status;
        op->stop_parts(op);
        return;
    }
    if (op->state == AIOC_OPERATION_IN_POOL) {
        bool sent = aioc_operation_give_up(op, status);
        if (!sent) place = "waiting for a connection";
        if (sent && op->write) op->doubt = true;
        op->state = AIOC_OPERATION_READY;
    }
    aioc_memory_print(text, sizeof text, "%s after %u attempt%s while %s", aioc_protocol_status_text(status),
                      (unsigned)op->attempts, op->attempts == 1 ? "" : "s", place);
    aioc_operation_finish(op, status, aioc_operation_fate_unsent(op), NULL, text);
}

/* In a forked child: frees, calls nobody back, sends nothing. */
static void aioc_operation_abandon(aioc_operation *op)
{
    if (op->state == AIOC_OPERATION_IN_POOL) aioc_pool_cancel(&op->engine->pool, &op->exchange);
    aioc_operation_detach(op);
    aioc_operation_free(op);
}

/* It ends with this status, wherever it is, but from a later step. */
static void aioc_operation_stop(aioc_operation *op, int status)
{
    if (op->stop == 0 || status == AIOCOSMOS_E_CANCELLED) op->stop = status;     /* who cancels is promised that */
    if (op->state == AIOC_OPERATION_WANTS_TOKEN) aioc_operation_leave_tokenless(op);
    if (op->paced) {
        op->pacer->let_go(op);
        op->state = AIOC_OPERATION_READY;
    }
    aioc_operation_make_ready(op);
}

static bool aioc_operation_cancel(aioc_operation_engine *engine, aiocosmos_op handle)
{
    aioc_operation *op = aioc_operation_find(engine, handle);
    if (op) aioc_operation_stop(op, AIOCOSMOS_E_CANCELLED);
    return op != NULL;
}

/*--- Attempt ----------------------------------------------------------------*/

/* Undoes aioc_protocol_pk_text() far enough to hash the key. False: it cannot be hashed here. */
static bool aioc_operation_epk(aioc_operation *op, char epk[AIOC_PROTOCOL_EPK_MAX], size_t *epk_len)
{
    aiocosmos_value components[3];
    aioc_memory_buffer texts = { NULL, 0, 0 };
    aiocosmos_str pk = aioc_operation_pk(op);
    size_t count = 0;
    bool known = aioc_protocol_pk_components(op->engine->memory, &texts, pk, components, &count) &&
                 count == op->container->pk_def.path_count &&
                 aioc_protocol_epk(&op->container->pk_def, components, count, epk, epk_len);
    aioc_memory_buffer_free(op->engine->memory, &texts);
    return known;
}

static bool aioc_operation_wants_session(const aioc_operation *op)
{
    if (!op->item_data || !op->container || op->engine->no_session) return false;
    if (op->session_len) return true;
    return !op->write && op->container->token_count > 0;      /* single-write accounts need no token on writes */
}

/* Writes the token for this request behind what is in out: its range's where that is known, else all of them. Tokens
 * that came with the request count for it alone. */
static bool aioc_operation_append_session(aioc_operation *op, aioc_memory_buffer *out)
{
    aioc_account *account = &op->engine->account;
    aioc_account_container view = *op->container;
    const aioc_account_range *range = NULL;
    char epk[AIOC_PROTOCOL_EPK_MAX];
    size_t epk_len = 0;
    bool ok = true;
    if (op->session_len) {
        aioc_memory_buffer all = { NULL, 0, 0 };
        view.tokens = NULL;
        view.token_count = view.token_cap = view.token_bytes = 0;
        ok = aioc_account_session_all(account, op->container, &all) &&
             aioc_account_session_merge(account, &view, aioc_operation_str(all.data, all.len)) &&
             aioc_account_session_merge(account, &view, aioc_operation_session(op));
        aioc_memory_buffer_free(account->memory, &all);
    }
    /* A token of a range that we do not know may be of the one that the key belongs to by now. */
    if (ok && op->by_range)
        range = aioc_account_range_named(&view, aioc_operation_pk(op));
    else if (ok && view.knowledge == AIOC_ACCOUNT_KNOWN && op->pk_len &&
             !aioc_account_has_strangers(&view, op->container->token_count) &&
             aioc_operation_epk(op, epk, &epk_len))
        range = aioc_account_route(&view, aioc_operation_str(epk, epk_len));
    if (ok) {
        ok = range ? aioc_account_session_of_range(account, &view, range, out)
                   : aioc_account_session_all(account, &view, out);
    }
    if (op->session_len) {
        aioc_account_forget_tokens(account, &view);
        aioc_memory_free(account->memory, view.tokens, view.token_cap * sizeof *view.tokens);
    }
    return ok;
}

static bool aioc_operation_append_session_line(aioc_operation *op, aioc_memory_buffer *head)
{
    aioc_memory *memory = op->engine->memory;
    aioc_memory_buffer token = { NULL, 0, 0 };
    bool ok = true;
    if (!aioc_operation_wants_session(op)) return true;
    ok = aioc_operation_append_session(op, &token);
    if (ok && token.len) {
        ok = aioc_memory_append_str(memory, head, "x-ms-session-token: ") &&
             aioc_memory_append(memory, head, token.data, token.len) && aioc_memory_append_str(memory, head, "\r\n");
    }
    aioc_memory_buffer_free(memory, &token);
    return ok;
}

/* The token or signature for this attempt. len 0: none is held. */
static aiocosmos_str aioc_operation_authorization(aioc_operation *op, int64_t wall_s)
{
    aioc_operation_engine *engine = op->engine;
    aiocosmos_str value = { NULL, 0 };
    bool denied;
    if (engine->signer.has_key)
        return aioc_auth_sign(&engine->signer, op->verb, op->type, aioc_operation_link(op), wall_s);
    aioc_auth_tokens_find(&engine->tokens, aioc_operation_link(op), engine->reactor->now_us, &value, &denied);
    return value;
}

static int64_t aioc_operation_wall_s(const aioc_operation_engine *engine)
{
    return (engine->platform->wall_ms(engine->platform->user_data) + engine->skew_ms) / 1000;
}

static bool aioc_operation_append_request_line(aioc_operation *op, aioc_memory_buffer *head)
{
    aioc_memory *memory = op->engine->memory;
    return aioc_memory_append_str(memory, head, op->verb) && aioc_memory_append(memory, head, " ", 1) &&
           aioc_protocol_append_path(memory, head, aioc_operation_link(op)) &&
           (!op->to_feed || ((op->link_len == 0 || aioc_memory_append(memory, head, "/", 1)) &&
                             aioc_memory_append_str(memory, head, op->type))) &&
           aioc_memory_append_str(memory, head, " HTTP/1.1\r\n");
}

static bool aioc_operation_append_line(aioc_memory *memory, aioc_memory_buffer *head, const char *name,
                                       aiocosmos_str value)
{
    return aioc_memory_append_str(memory, head, name) && aioc_memory_append(memory, head, value.ptr, value.len) &&
           aioc_memory_append(memory, head, "\r\n", 2);
}

/* The partition key header. An item without the key's property has its place in a container that was made before there
 * were keys under "[]", elsewhere under "[{}]". */
static aiocosmos_str aioc_operation_pk_header(const aioc_operation *op)
{
    aiocosmos_str pk = aioc_operation_pk(op);
    if (op->container && op->container->pk_def.system_key && aioc_memory_same(pk, aioc_memory_str("[{}]")))
        return aioc_memory_str("[]");
    return pk;
}

/* Called by the pool when a connection is there: signature and date are those of this attempt. */
static int aioc_operation_prepare(aioc_pool_exchange *exchange, aiocosmos_slice slices[2])
{
    aioc_operation *op = (aioc_operation *)exchange->owner;
    aioc_operation_engine *engine = op->engine;
    aioc_memory *memory = engine->memory;
    aioc_memory_buffer *head = &op->head;
    aiocosmos_str lines = aioc_operation_lines(op), authorization;
    int64_t wall_s = aioc_operation_wall_s(engine);
    authorization = aioc_operation_authorization(op, wall_s);
    if (authorization.len == 0) return AIOCOSMOS_E_AUTH;
    head->len = 0;
    if (!aioc_memory_reserve(memory, head, 768 + 3u * op->link_len + lines.len + op->pk_len + authorization.len) ||
        !aioc_operation_append_request_line(op, head) ||
        !aioc_memory_append(memory, head, engine->constant_lines.data, engine->constant_lines.len) ||
        !aioc_operation_append_line(memory, head, "x-ms-date: ", aioc_auth_signer_date(&engine->signer, wall_s)) ||
        !aioc_operation_append_line(memory, head, "authorization: ", authorization) ||
        (op->pk_len && !aioc_operation_append_line(memory, head, op->by_range ? "x-ms-documentdb-partitionkeyrangeid: "
                                                                             : "x-ms-documentdb-partitionkey: ",
                                                  aioc_operation_pk_header(op))) ||
        !aioc_operation_append_session_line(op, head) || !aioc_memory_append(memory, head, lines.ptr, lines.len))
        return AIOCOSMOS_E_NOMEM;
    if (op->body_len || op->verb[0] == 'P') {               /* POST, PUT and PATCH always say how long their body is */
        if (!aioc_memory_append_str(memory, head, "Content-Length: ") ||
            !aioc_memory_append_u64(memory, head, op->body_len) || !aioc_memory_append(memory, head, "\r\n", 2))
            return AIOCOSMOS_E_NOMEM;
    }
    if (!aioc_memory_append(memory, head, "\r\n", 2)) return AIOCOSMOS_E_NOMEM;
    slices[0].ptr = head->data;
    slices[0].len = head->len;
    slices[1].ptr = aioc_operation_body(op).ptr;
    slices[1].len = op->body_len;
    engine->stats.attempts++;
    op->attempt_us = engine->reactor->now_us;
    op->skew_ms = engine->skew_ms;
    return 0;
}

/* What a token must cover: the container where there is one, so that one token serves all its items. */
static aiocosmos_str aioc_operation_token_link(const aioc_operation *op)
{
    if (op->container) return aioc_operation_str(op->container->link, op->container->link_len);
    return aioc_operation_link(op);
}

/* Waits for a token; the host is asked once for all who wait for the same one. */
static void aioc_operation_ask_token(aioc_operation *op)
{
    aioc_operation_engine *engine = op->engine;
    aiocosmos_str link = aioc_operation_token_link(op);
    aioc_memory_buffer text = { NULL, 0, 0 };
    aioc_operation *other = engine->first_tokenless;
    while (other && !aioc_memory_same(aioc_operation_token_link(other), link)) other = other->next;
    aioc_operation_enter_tokenless(op);
    if (other) return;
    if (aioc_memory_append(engine->memory, &text, link.ptr, link.len) &&
        aioc_memory_append(engine->memory, &text, "", 1)) {
        engine->token_fn(engine->client, text.data, engine->token_user_data);      /* may answer at once */
        aioc_memory_buffer_free(engine->memory, &text);
    } else {
        aioc_memory_buffer_free(engine->memory, &text);
        aioc_operation_leave_tokenless(op);
        aioc_operation_finish(op, AIOCOSMOS_E_NOMEM, aioc_operation_fate_unsent(op), NULL,
                              "no memory to ask for a token");
    }
}

/* Session tokens are of ranges; and which header says that an item lacks the key's property is in the definition. */
static bool aioc_operation_wants_metadata(const aioc_operation *op)
{
    return aioc_operation_wants_session(op) ||
           (op->container && aioc_memory_same(aioc_operation_pk(op), aioc_memory_str("[{}]")));
}

/* Starts an attempt, or waits for what it needs first. */
static void aioc_operation_start(aioc_operation *op)
{
    aioc_operation_engine *engine = op->engine;
    op->state = AIOC_OPERATION_READY;
    if (!engine->signer.has_key) {
        aiocosmos_str value;
        bool denied = false;
        if (!aioc_auth_tokens_find(&engine->tokens, aioc_operation_link(op), engine->reactor->now_us, &value,
                                   &denied)) {
            if (denied || !engine->token_fn) {
                aioc_operation_finish(op, AIOCOSMOS_E_AUTH, aioc_operation_fate_unsent(op), NULL,
                                      denied ? "the host has no token for this resource"
                                             : "the token given does not cover this resource, or has expired");
                return;
            }
            aioc_operation_ask_token(op);
            return;
        }
    }
    if (!op->metadata_tried && aioc_operation_wants_metadata(op) &&
        !aioc_account_settled(op->container, engine->reactor->now_us)) {
        op->metadata_tried = true;
        op->state = AIOC_OPERATION_WANTS_METADATA;
        aioc_account_wait(&engine->account, op->container, &op->waiter);
        return;
    }
    op->state = AIOC_OPERATION_IN_POOL;
    aioc_pool_start(&engine->pool, &op->exchange);
}

static void aioc_operation_resume(aioc_account_waiter *waiter)
{
    aioc_operation *op = (aioc_operation *)waiter->owner;
    op->state = AIOC_OPERATION_READY;
    aioc_operation_make_ready(op);
}

/* The timer of an operation: the end of its back-off, or of its patience. */
static void aioc_operation_timer_fired(aioc_platform_timer *timer)
{
    aioc_operation *op = (aioc_operation *)timer->owner;
    if (op->deadline_us && op->engine->reactor->now_us >= op->deadline_us) {
        /* One that was cancelled before this step ends as cancelled: its caller was promised that. */
        aioc_operation_abort(op, op->stop ? op->stop : AIOCOSMOS_E_TIMEOUT);
        return;
    }
    if (op->deadline_us) aioc_platform_timer_start(op->engine->reactor, timer, op->deadline_us);
    if (op->paced && op->pacer->hold(op)) {
        op->state = AIOC_OPERATION_HELD;
        return;
    }
    op->state = AIOC_OPERATION_READY;
    aioc_operation_make_ready(op);
}

static void aioc_operation_back_off(aioc_operation *op, uint64_t wait_us)
{
    uint64_t due_us = op->engine->reactor->now_us + wait_us;
    if (wait_us == 0) {
        op->state = AIOC_OPERATION_READY;
        aioc_operation_make_ready(op);
        return;
    }
    op->state = AIOC_OPERATION_BACKING_OFF;
    if (op->deadline_us && op->deadline_us < due_us) due_us = op->deadline_us;
    aioc_platform_timer_start(op->engine->reactor, &op->timer, due_us);
}

/*--- Retry policy: what an outcome means, as a pure function -------------------*/

typedef struct aioc_operation_outcome {
    int      error;                          /* 0: there is an answer */
    bool     sent, reused, silent;           /* of the request, when there is none: see aioc_pool_outcome */
    int      http_status, sub_status;
    bool     has_retry_after;
    uint32_t retry_after_ms;
    bool     clock_was_off;                  /* the answer's Date shows that our signature's date was wrong */
    bool     token_expired;                  /* 401 to a token that the host may renew */
} aioc_operation_outcome;

typedef struct aioc_operation_situation {
    bool     write, repeatable, if_not_exists;
    bool     patient;                        /* paced by somebody: 429 may go on as long as the deadline allows */
    bool     by_range;                       /* of a partition key range: its owner finds out where it went */
    bool     doubt, fresh_signature, fresh_metadata, answered_once;
    uint32_t retries, retries_max;
    uint32_t throttle_wait_ms, throttle_wait_max_ms;
    uint32_t random;
} aioc_operation_situation;

typedef struct aioc_operation_verdict {
    bool     again;
    uint64_t wait_us;
    bool     counts;                         /* against retries_max */
    bool     throttled;
    bool     doubt;                          /* from now on, the write may have been applied */
    bool     sign_anew;                      /* the remedy is a corrected clock or a new token */
    bool     forget_metadata;                /* the container is not what we thought */
    bool     doubt_ranges;                   /* its ranges are not */
    int      status;                         /* when it is over */
    uint8_t  fate;
} aioc_operation_verdict;

/* Doubles from base_ms to at most max_ms, less a random half, so that many do not come back at once. */
static uint64_t aioc_operation_backoff_us(uint32_t retries, uint32_t base_ms, uint32_t max_ms, uint32_t random)
{
    uint64_t wait_us = (uint64_t)base_ms * 1000u << (retries < 16 ? retries : 16);
    if (wait_us > (uint64_t)max_ms * 1000u) wait_us = (uint64_t)max_ms * 1000u;
    return wait_us / 2 + random % (wait_us / 2 + 1);
}

/* No answer: the request was not sent, or its answer was lost or unreadable. */
static void aioc_operation_judge_loss(const aioc_operation_situation *now, const aioc_operation_outcome *outcome,
                                      aioc_operation_verdict *verdict)
{
    uint32_t limit = now->retries_max;
    verdict->status = outcome->error;
    verdict->doubt = now->doubt || (now->write && outcome->sent);
    verdict->fate = (uint8_t)(verdict->doubt ? AIOCOSMOS_MAYBE_APPLIED : AIOCOSMOS_NOT_SENT);
    switch (outcome->error) {
    case AIOCOSMOS_E_CONNECT: break;
    case AIOCOSMOS_E_DNS: break;
    case AIOCOSMOS_E_PROTOCOL: if (limit > 3) limit = 3; break;
    default: return;                         /* TLS, too large, no memory: the next try would end the same way */
    }
    if (outcome->sent && now->write && !now->repeatable) return;
    /* Nobody has ever answered there: say so soon. */
    if (!now->answered_once && !outcome->sent && limit > 3) limit = 3;
    if (now->retries >= limit) return;
    verdict->again = true;
    verdict->counts = true;
    /* A kept-alive connection that the server had closed says nothing of the server: at once, on a fresh one. */
    verdict->wait_us = outcome->reused && outcome->silent && now->retries == 0
                           ? 0 : aioc_operation_backoff_us(now->retries, 50, 1000, now->random);
}

static void aioc_operation_judge_throttle(const aioc_operation_situation *now, const aioc_operation_outcome *outcome,
                                          aioc_operation_verdict *verdict)
{
    uint64_t wait_us = outcome->has_retry_after && outcome->retry_after_ms
                           ? (uint64_t)outcome->retry_after_ms * 1000u
                           : aioc_operation_backoff_us(now->retries, 100, 5000, now->random);
    verdict->throttled = true;
    if (!now->patient) {
        if (now->retries >= now->retries_max) return;
        if (now->throttle_wait_max_ms != AIOCOSMOS_OFF &&
            now->throttle_wait_ms + wait_us / 1000u > now->throttle_wait_max_ms) return;
    }
    verdict->again = true;
    verdict->counts = !now->patient;
    verdict->wait_us = wait_us;
}

/* The service says that it did not process the request, or it was a read: try again, after a while. */
static void aioc_operation_judge_again(const aioc_operation_situation *now, aioc_operation_verdict *verdict,
                                       uint32_t limit,
                                       uint32_t base_ms, uint32_t max_ms)
{
    if (now->retries >= limit || now->retries >= now->retries_max) return;
    verdict->again = true;
    verdict->counts = true;
    verdict->wait_us = aioc_operation_backoff_us(now->retries, base_ms, max_ms, now->random);
}

/* An answer whose status leaves open whether a write was applied: 408 from the service, 500, 502 and 504 from what
 * stands in front of it. */
static void aioc_operation_judge_unclear(const aioc_operation_situation *now, aioc_operation_verdict *verdict)
{
    if (now->write) {
        verdict->doubt = true;
        verdict->fate = AIOCOSMOS_MAYBE_APPLIED;
        if (!now->repeatable) return;
    }
    aioc_operation_judge_again(now, verdict, 3, 100, 1000);
}

static void aioc_operation_judge_gone(const aioc_operation_situation *now, const aioc_operation_outcome *outcome,
                                      aioc_operation_verdict *verdict)
{
    if (outcome->sub_status == 1000) {       /* the name means another container now: look once, try once */
        verdict->forget_metadata = true;
        verdict->again = !now->fresh_metadata && now->retries < now->retries_max;
        verdict->counts = true;
        return;
    }
    if (now->by_range) return;
    verdict->doubt_ranges = true;            /* 1002, 1007, 1008: splitting or moving */
    aioc_operation_judge_again(now, verdict, now->retries_max, 100, 1000);
}

static void aioc_operation_judge_not_found(const aioc_operation_situation *now, const aioc_operation_outcome *outcome,
                                           aioc_operation_verdict *verdict)
{
    switch (outcome->sub_status) {
    case 1002:                               /* this replica has not reached our token yet, which is never dropped */
        aioc_operation_judge_again(now, verdict, now->retries_max, 5, 500);
        /* Unless the token is of an older container of this name: look once. */
        verdict->forget_metadata = now->retries == 2;
        break;
    case 1003:                               /* the container is missing: ours may be an old one under the same name */
        verdict->forget_metadata = true;
        verdict->again = !now->fresh_metadata && !now->doubt && now->retries < now->retries_max;
        verdict->counts = true;
        break;
    case 1013:                               /* still being created */
        aioc_operation_judge_again(now, verdict, now->retries_max, 100, 1000);
        break;
    default: break;
    }
}

/* A sub-status means nothing without its status. */
static aioc_operation_verdict aioc_operation_judge(const aioc_operation_situation *now,
                                                   const aioc_operation_outcome *outcome)
{
    aioc_operation_verdict verdict;
    int status = outcome->http_status;
    memset(&verdict, 0, sizeof verdict);
    verdict.doubt = now->doubt;
    if (outcome->error) {
        aioc_operation_judge_loss(now, outcome, &verdict);
        return verdict;
    }
    verdict.status = (status >= 200 && status < 300) || (status == 409 && now->if_not_exists) ? 0 : status;
    verdict.fate = AIOCOSMOS_ANSWERED;
    if (verdict.status == 0) {
        verdict.doubt = false;
        return verdict;
    }
    /* 404, 409 and 412 may be the echo of our own first try. */
    if (now->doubt) verdict.fate = AIOCOSMOS_MAYBE_APPLIED;
    switch (status) {
    case 401: case 403:
        if ((outcome->clock_was_off || outcome->token_expired) && !now->fresh_signature) {
            verdict.again = true;
            verdict.sign_anew = true;
        } else if (status == 403 && (outcome->sub_status == 3 || outcome->sub_status == 1008)) {
            /* Failover: the name will move. */
            aioc_operation_judge_again(now, &verdict, now->retries_max, 1000, 1000);
        }
        break;
    case 404: aioc_operation_judge_not_found(now, outcome, &verdict); break;
    case 408: case 500: case 502: case 504: aioc_operation_judge_unclear(now, &verdict); break;
    case 410: aioc_operation_judge_gone(now, outcome, &verdict); break;
    case 429: aioc_operation_judge_throttle(now, outcome, &verdict); break;
    /* 449 is not in the HTTP registry: the service asks for the same write again after a lost race. It was not
     * applied. */
    case 449: aioc_operation_judge_again(now, &verdict, now->retries_max, 10, 1000); break;
    /* 503: not processed, as the Python and Rust SDKs take it. */
    case 503: aioc_operation_judge_again(now, &verdict, now->retries_max, 100, 2000); break;
    default: break;
    }
    return verdict;
}

/*--- Outcome ----------------------------------------------------------------*/

/* A decimal fraction such as "5.71" without the C library's locale. */
static double aioc_operation_number(aiocosmos_str text)
{
    double number = 0;
    return text.len && aioc_json_number_parse(text.ptr, text.len, &number) && number >= 0 ? number : 0;
}

static double aioc_operation_charge(const aioc_http_response *response)
{
    double charge_ru = aioc_operation_number(response->wanted[AIOC_PROTOCOL_H_CHARGE]);
    return charge_ru <= AIOC_OPERATION_CHARGE_MAX ? charge_ru : 0;
}

/* The service answers in JSON. A success in HTML is the log-in page of some network: nothing was done. */
static bool aioc_operation_is_html(const aioc_http_response *response)
{
    aiocosmos_str body = aioc_auth_trim(response->body, " \t\r\n");
    return body.len > 0 && *body.ptr == '<';
}

static void aioc_operation_keep_attempt(aioc_operation *op, const aioc_pool_outcome *outcome, double charge_ru)
{
    aioc_operation_attempt *kept;
    op->attempts++;
    if (!op->kept) {
        op->kept = (aioc_operation_attempt *)aioc_memory_zalloc(op->engine->memory,
                                                               AIOC_OPERATION_ATTEMPTS_KEPT * sizeof *op->kept);
        if (!op->kept) return;               /* only diagnostics are lost */
    }
    if (op->attempts > AIOC_OPERATION_ATTEMPTS_KEPT)
        memmove(op->kept + 3, op->kept + 4, (AIOC_OPERATION_ATTEMPTS_KEPT - 4) * sizeof *op->kept);
    kept = &op->kept[(op->attempts > AIOC_OPERATION_ATTEMPTS_KEPT ? AIOC_OPERATION_ATTEMPTS_KEPT : op->attempts) - 1];
    kept->number = op->attempts;
    kept->status = (int16_t)(outcome->error ? outcome->error : outcome->response->status);
    kept->http_status = (int16_t)(outcome->error ? 0 : outcome->response->status);
    kept->sub_status = outcome->error ? 0 : op->sub_status;
    kept->queue_us = outcome->queue_us;
    kept->dns_us = outcome->dns_us;
    kept->tcp_us = outcome->tcp_us;
    kept->tls_us = outcome->tls_us;
    kept->first_byte_us = outcome->first_byte_us;
    kept->body_us = outcome->body_us;
    kept->charge_ru = (float)charge_ru;
    kept->reused = outcome->reused;
}

/* Session tokens count on success and on 404, 409, 412, but not on 404/1002: that replica is behind. */
static void aioc_operation_capture_session(aioc_operation *op, const aioc_http_response *response)
{
    aioc_operation_engine *engine = op->engine;
    aiocosmos_str token = response->wanted[AIOC_PROTOCOL_H_SESSION];
    int status = response->status;
    size_t bad_at;
    if (!op->container || !op->item_data || engine->no_session) return;
    if (status >= 300 && status != 404 && status != 409 && status != 412) return;
    if (status == 404 && op->sub_status != 0) return;
    if (status < 300)
        aioc_account_see_rid(&engine->account, op->container, response->wanted[AIOC_PROTOCOL_H_OWNER_RID]);
    if (token.len == 0) return;
    if (!aioc_protocol_session_check(token, &bad_at)) {
        aioc_operation_log(engine, 2, aioc_operation_handle(op).id,
                           "the answer's x-ms-session-token is malformed: ignored");
    } else if (!aioc_account_session_take(&engine->account, op->container, token)) {
        aioc_operation_log(engine, 1, aioc_operation_handle(op).id,
                           "no room to keep a session token: reads may be stale");
    }
}

static bool aioc_operation_is_off(int64_t skew_ms)
{
    return skew_ms >= AIOC_OPERATION_SKEW_MIN_MS || skew_ms <= -AIOC_OPERATION_SKEW_MIN_MS;
}

/* Our clock is off if the server's Date says so (RFC 9110 6.6.1); signatures then use the server's. */
static bool aioc_operation_clock_was_off(aioc_operation *op, const aioc_http_response *response)
{
    aioc_operation_engine *engine = op->engine;
    int64_t server_s, now_ms = engine->platform->wall_ms(engine->platform->user_data), skew_ms;
    if (!aioc_auth_parse_date(response->wanted[AIOC_PROTOCOL_H_DATE], &server_s)) return false;
    skew_ms = server_s * 1000 - now_ms;
    if (!aioc_operation_is_off(skew_ms - op->skew_ms)) return false;
    /* Else another's answer has corrected it meanwhile. */
    if (aioc_operation_is_off(skew_ms - engine->skew_ms))
        aioc_operation_log(engine, 2, 0, "this machine's clock differs from the service's: signing with the service's");
    engine->skew_ms = skew_ms;
    return true;
}

static void aioc_operation_read_answer(aioc_operation *op, const aioc_http_response *response,
                                       aioc_operation_outcome *outcome)
{
    uint64_t number;
    aiocosmos_str activity = response->wanted[AIOC_PROTOCOL_H_ACTIVITY];
    size_t activity_len = activity.len < sizeof op->activity_id ? activity.len : sizeof op->activity_id - 1;
    op->engine->answered_once = true;
    op->http_status = outcome->http_status = response->status;
    op->sub_status = 0;
    if (aioc_memory_parse_u64(response->wanted[AIOC_PROTOCOL_H_SUBSTATUS], &number) && number <= (uint64_t)INT32_MAX)
        op->sub_status = (int)number;
    outcome->sub_status = op->sub_status;
    if (activity_len) memcpy(op->activity_id, activity.ptr, activity_len);
    op->activity_id[activity_len] = 0;
    if (response->status < 400) return;
    outcome->has_retry_after = response->wanted[AIOC_PROTOCOL_H_RETRY_AFTER].len > 0;
    if (outcome->has_retry_after) {
        double wait_ms = aioc_operation_number(response->wanted[AIOC_PROTOCOL_H_RETRY_AFTER]);  /* may be fractional */
        outcome->retry_after_ms = wait_ms < 3600000.0 ? (uint32_t)(wait_ms + 0.999) : 3600000u;
    }
    if (response->status != 401 && response->status != 403) return;
    outcome->clock_was_off = op->engine->signer.has_key && aioc_operation_clock_was_off(op, response);
    outcome->token_expired = response->status == 401 && !op->engine->signer.has_key && op->engine->token_fn;
}

static void aioc_operation_situate(const aioc_operation *op, aioc_operation_situation *now)
{
    memset(now, 0, sizeof *now);
    now->write = op->write;
    now->repeatable = op->repeatable;
    now->if_not_exists = op->if_not_exists;
    now->patient = op->pacer != NULL;
    now->by_range = op->by_range;
    now->doubt = op->doubt;
    now->fresh_signature = op->fresh_signature;
    now->fresh_metadata = op->fresh_metadata;
    now->answered_once = op->engine->answered_once;
    now->retries = op->retries;
    now->retries_max = op->engine->retries_max;
    now->throttle_wait_ms = op->throttle_wait_ms;
    now->throttle_wait_max_ms = op->engine->throttle_wait_ms;
    now->random = aioc_operation_random(op->engine);
}

/* Carries out a verdict to try again. */
static void aioc_operation_again(aioc_operation *op, const aioc_operation_verdict *verdict)
{
    aioc_operation_engine *engine = op->engine;
    engine->stats.retries++;
    if (verdict->counts) op->retries++;
    if (verdict->throttled) {
        op->throttle_wait_ms += (uint32_t)(verdict->wait_us / 1000u);
        op->throttled_us += verdict->wait_us;
    }
    if (verdict->sign_anew) {
        op->fresh_signature = true;
        /* A token that came after this attempt is not the one that was refused. */
        if (!engine->signer.has_key && op->attempt_us >= engine->token_us)
            aioc_auth_tokens_forget(&engine->tokens, engine->memory, aioc_operation_link(op));
    }
    if (verdict->forget_metadata) op->fresh_metadata = true;
    if (verdict->forget_metadata || verdict->doubt_ranges) op->metadata_tried = false;
    aioc_operation_back_off(op, verdict->wait_us);
}

/* What to tell people of a failure, in the engine's one message buffer. */
static const char *aioc_operation_explain(aioc_operation *op, const aioc_operation_verdict *verdict,
                                          const aioc_pool_outcome *outcome)
{
    char *text = op->engine->message;
    size_t cap = sizeof op->engine->message, len;
    if (verdict->status == 0) return "";
    if (outcome->error) aioc_memory_print(text, cap, "%s",
                                          outcome->message ? outcome->message
                                                           : aioc_protocol_status_text(outcome->error));
    else aioc_protocol_message(op->http_status, op->sub_status, outcome->response->body, text, cap);
    len = strlen(text);
    if (op->attempts > 1) len += aioc_memory_print(text + len, cap - len, " (attempt %u)", (unsigned)op->attempts);
    if (len < cap && op->write && verdict->fate == AIOCOSMOS_MAYBE_APPLIED)
        aioc_memory_print(text + len, cap - len, "; the write may have been applied");
    return text;
}

static bool aioc_operation_too_late(const aioc_operation *op, const aioc_operation_verdict *verdict)
{
    return op->deadline_us && op->engine->reactor->now_us + verdict->wait_us >= op->deadline_us;
}

static void aioc_operation_succeeded(aioc_operation *op)
{
    aioc_account_container *container;
    if (!op->forgets_container) return;
    container = aioc_account_find(&op->engine->account, aioc_operation_link(op));
    if (container) aioc_account_forget(&op->engine->account, container);
}

/* The pool is done with an attempt. */
static void aioc_operation_answered(aioc_pool_exchange *exchange, const aioc_pool_outcome *outcome)
{
    aioc_operation *op = (aioc_operation *)exchange->owner;
    aioc_operation_engine *engine = op->engine;
    aioc_operation_outcome seen;
    aioc_operation_situation now;
    aioc_operation_verdict verdict;
    double charge_ru = 0;
    op->state = AIOC_OPERATION_READY;
    aioc_memory_buffer_free(engine->memory, &op->head);
    /* The token ran out between start and prepare. */
    if (outcome->error == AIOCOSMOS_E_AUTH && !engine->signer.has_key && !op->stop) {
        aioc_operation_make_ready(op);
        return;
    }
    memset(&seen, 0, sizeof seen);
    seen.error = outcome->error;
    seen.sent = outcome->sent;
    seen.reused = outcome->reused;
    seen.silent = outcome->silent;
    if (!outcome->error) {
        aioc_operation_read_answer(op, outcome->response, &seen);
        charge_ru = aioc_operation_charge(outcome->response);
        if (seen.http_status < 300 && aioc_operation_is_html(outcome->response)) seen.error = AIOCOSMOS_E_PROTOCOL;
        else aioc_operation_capture_session(op, outcome->response);
    }
    op->charge_ru += charge_ru;
    engine->stats.charge_ru += charge_ru;
    aioc_operation_keep_attempt(op, outcome, charge_ru);
    aioc_operation_situate(op, &now);
    verdict = aioc_operation_judge(&now, &seen);
    op->doubt = verdict.doubt;
    if (verdict.throttled) engine->stats.throttled++;
    if (verdict.throttled && op->pacer) op->pacer->throttled(op, verdict.wait_us);
    if (verdict.forget_metadata && op->container) aioc_account_forget_ranges(&engine->account, op->container);
    if (verdict.doubt_ranges && op->container) aioc_account_doubt_ranges(op->container);
    if (verdict.status == 0 && !verdict.again) aioc_operation_succeeded(op);
    if (op->stop) {
        aioc_operation_finish(op, op->stop, (aiocosmos_fate)verdict.fate, outcome, aioc_protocol_status_text(op->stop));
        return;
    }
    if (verdict.again && !aioc_operation_too_late(op, &verdict)) {
        aioc_operation_again(op, &verdict);
        return;
    }
    aioc_operation_finish(op, verdict.status, (aiocosmos_fate)verdict.fate, outcome,
                          aioc_operation_explain(op, &verdict, outcome));
}

/* One ready operation: started, or ended if it was stopped meanwhile. False: none is ready. */
static bool aioc_operation_work(aioc_operation_engine *engine)
{
    aioc_operation *op = engine->first_ready;
    if (!op) return false;
    aioc_operation_leave_ready(op);
    if (op->stop) {
        int status = op->stop;
        if (op->state == AIOC_OPERATION_COMPOSED) op->stop_parts(op);
        else aioc_operation_abort(op, status);
    } else {
        aioc_operation_start(op);
    }
    return true;
}

/*--- Metadata: what the account layer asks for --------------------------------*/

static void aioc_operation_fetch_ranges(aioc_operation *before, aiocosmos_str continuation);

/* The ordinary retry policy, and a deadline of the connect timeout's order for all of it: those who wait have their
 * own. */
#define AIOC_OPERATION_METADATA_TIMEOUT_MS 10000

/* What could not be had, for whatever reason, is asked for again after a while. */
static void aioc_operation_fetched(aioc_operation_engine *engine, aioc_account_container *container, bool known)
{
    /* A split that the list does not show may have been told of by a token while the list was on its way. */
    bool stale = known && container->met_tokens && aioc_account_has_strangers(container, 0);
    container->met_tokens = false;
    aioc_account_settle(container, known, engine->reactor->now_us);
    if (stale) aioc_account_doubt_ranges(container);
}

static aiocosmos_json aioc_operation_result_json(const aiocosmos_result *result)
{
    aioc_operation_delivery *delivery = (aioc_operation_delivery *)(uintptr_t)result->internal;
    aiocosmos_json_doc *doc = &delivery->op->engine->doc;
    if (!delivery->parsed) {
        delivery->parsed = true;
        if (delivery->body.len && aioc_json_parse(doc, delivery->body.ptr, delivery->body.len) == 0)
            delivery->root = aioc_json_root(doc);
    }
    return delivery->root;
}

/* A body that was collected in a block of its own changes hands; one that stands in a shared buffer is copied. */
static aiocosmos_body aioc_operation_take_body(const aiocosmos_result *result)
{
    aioc_operation_delivery *delivery = (aioc_operation_delivery *)(uintptr_t)result->internal;
    aioc_memory *memory = delivery->op->engine->memory;
    aiocosmos_body body;
    char *block = NULL;
    memset(&body, 0, sizeof body);
    if (result->body.len == 0) {
        body.text.ptr = "";
        return body;
    }
    if (!delivery->taken && delivery->parser && aioc_http_take_body(delivery->parser, &block, &body.owner_size)) {
        delivery->taken = true;
        body.owner = block;
        body.text = result->body;
        return body;
    }
    body.owner_size = result->body.len + 1;
    block = (char *)aioc_memory_alloc(memory, body.owner_size);
    if (!block) return body;
    memcpy(block, result->body.ptr, result->body.len);
    block[result->body.len] = 0;
    body.owner = block;
    body.text = aioc_operation_str(block, result->body.len);
    return body;
}

/* The last page of ranges came. If what changed does not fit to what was known, all of it is read again. */
static void aioc_operation_ranges_ended(aioc_operation *op, aiocosmos_str etag)
{
    aioc_operation_engine *engine = op->engine;
    aioc_account_container *container = op->container;
    bool known = aioc_account_finish_ranges(container);
    if (!known && container->ranges_before) {
        aioc_account_forget_ranges(&engine->account, container);
        aioc_operation_fetch_ranges(op, aioc_operation_str(NULL, 0));
        return;
    }
    /* Without memory for it, they are read from their start the next time. */
    if (known) (void)aioc_account_keep_etag(&engine->account, container, etag);
    else aioc_account_forget_ranges(&engine->account, container);
    aioc_operation_fetched(engine, container, known);
}

static void aioc_operation_ranges_came(aioc_operation *op, const aiocosmos_result *result)
{
    aioc_operation_engine *engine = op->engine;
    aioc_account_container *container = op->container;
    aioc_operation_delivery *delivery = (aioc_operation_delivery *)(uintptr_t)result->internal;
    uint32_t count = container->range_count;
    aiocosmos_str continuation;
    if (result->status == 304 && container->ranges_before) {
        aioc_operation_ranges_ended(op, result->etag);
        return;
    }
    aioc_account_note_failure(&engine->account, container, result->status, result->attempts, result->message);
    if (result->status != 0 ||
        !aioc_account_add_ranges(&engine->account, container, aioc_operation_result_json(result))) {
        aioc_account_forget_ranges(&engine->account, container);
        aioc_operation_fetched(engine, container, false);
        return;
    }
    continuation = delivery->response->wanted[AIOC_PROTOCOL_H_CONTINUATION];
    if (continuation.len == 0) aioc_operation_ranges_ended(op, result->etag);
    /* Pages of nothing may never end. */
    else if (container->range_count == count) aioc_operation_fetched(engine, container, false);
    else aioc_operation_fetch_ranges(op, continuation);
}

static void aioc_operation_definition_came(aioc_operation *op, const aiocosmos_result *result)
{
    aioc_account_container *container = op->container;
    aioc_account_note_failure(&op->engine->account, container, result->status, result->attempts, result->message);
    if (result->status != 0) aioc_operation_fetched(op->engine, container, false);
    else if (!aioc_account_read_definition(&op->engine->account, container, aioc_operation_result_json(result)))
        aioc_operation_fetched(op->engine, container, false);
    else aioc_operation_fetch_ranges(op, aioc_operation_str(NULL, 0));
}

static void aioc_operation_fetch(aioc_operation_engine *engine, aioc_account_container *container,
                                 const aioc_operation_spec *part)
{
    aioc_operation_spec spec = *part;
    const aiocosmos_platform *platform = engine->platform;
    spec.verb = "GET";
    spec.link = aioc_operation_str(container->link, container->link_len);
    spec.container_link = spec.link;
    spec.internal = true;
    if (!aioc_operation_has_room(engine, true) ||
        !aioc_operation_new(engine, &spec, platform->monotonic_us(platform->user_data)))
        aioc_operation_fetched(engine, container, false);
}

/* A page of the feed of ranges: from where it was left, from its start, or behind a continuation. */
static void aioc_operation_ask_ranges(aioc_operation_engine *engine, aioc_account_container *container,
                                      uint32_t timeout_ms, aiocosmos_str continuation)
{
    aioc_operation_spec spec;
    aioc_memory_buffer lines = { NULL, 0, 0 };
    bool ok;
    memset(&spec, 0, sizeof spec);
    spec.type = "pkranges";
    spec.to_feed = true;
    spec.complete = aioc_operation_ranges_came;
    spec.timeout_ms = timeout_ms;
    if (continuation.len == 0 && container->ranges_etag.len == 0)
        aioc_account_forget_ranges(&engine->account, container);
    if (continuation.len == 0) container->ranges_before = container->range_count;
    ok = aioc_memory_append_str(engine->memory, &lines, "A-IM: Incremental Feed\r\nx-ms-max-item-count: -1\r\n") &&
         (container->ranges_etag.len == 0 ||
          aioc_operation_append_line(engine->memory, &lines, "If-None-Match: ",
                                     aioc_operation_str(container->ranges_etag.data, container->ranges_etag.len))) &&
         (continuation.len == 0 ||
          aioc_operation_append_line(engine->memory, &lines, "x-ms-continuation: ", continuation));
    spec.lines = aioc_operation_str(lines.data, lines.len);
    if (ok) aioc_operation_fetch(engine, container, &spec);
    else aioc_operation_fetched(engine, container, false);
    aioc_memory_buffer_free(engine->memory, &lines);
}

/* Goes on behind the definition, or behind a page, in the time that is left. */
static void aioc_operation_fetch_ranges(aioc_operation *before, aiocosmos_str continuation)
{
    uint64_t now_us = before->engine->reactor->now_us;
    uint32_t left_ms = before->deadline_us > now_us ? (uint32_t)((before->deadline_us - now_us) / 1000u) : 0;
    aioc_operation_ask_ranges(before->engine, before->container, left_ms, continuation);
}

static void aioc_operation_fetch_container(void *owner, aioc_account_container *container)
{
    aioc_operation_engine *engine = (aioc_operation_engine *)owner;
    aioc_operation_spec spec;
    if (container->ranges_etag.len) {        /* the definition never changes: only the ranges can have */
        aioc_operation_ask_ranges(engine, container, AIOC_OPERATION_METADATA_TIMEOUT_MS, aioc_operation_str(NULL, 0));
        return;
    }
    memset(&spec, 0, sizeof spec);
    spec.type = "colls";
    spec.timeout_ms = AIOC_OPERATION_METADATA_TIMEOUT_MS;
    spec.complete = aioc_operation_definition_came;
    aioc_operation_fetch(engine, container, &spec);
}

/*--- Requests: from what the host asks for to what is sent ---------------------*/

typedef struct aioc_operation_kind {
    const char *verb, *type;
    uint8_t names;                           /* how many of database, container, id stand in the link */
    bool to_feed, write, item, has_body;
} aioc_operation_kind;

static const aioc_operation_kind *aioc_operation_kind_of(int kind)
{
    static const aioc_operation_kind kinds[] = {
        { "GET", "docs", 3, false, false, true, false },        /* read item */
        { "POST", "docs", 2, true, true, true, true },          /* create item */
        { "POST", "docs", 2, true, true, true, true },          /* upsert item */
        { "PUT", "docs", 3, false, true, true, true },          /* replace item */
        { "PATCH", "docs", 3, false, true, true, true },        /* patch item */
        { "DELETE", "docs", 3, false, true, true, false },      /* delete item */
        { "GET", "colls", 2, false, false, false, false },      /* read container */
        { "POST", "colls", 1, true, true, false, true },        /* create container */
        { "PUT", "colls", 2, false, true, false, true },        /* replace container */
        { "DELETE", "colls", 2, false, true, false, false },    /* delete container */
        { "GET", "dbs", 1, false, false, false, false },        /* read database */
        { "POST", "dbs", 0, true, true, false, false },         /* create database: its body is ours */
        { "DELETE", "dbs", 1, false, true, false, false },      /* delete database */
        { "GET", "", 0, false, false, false, false }            /* read account */
    };
    if (kind < AIOCOSMOS_READ_ITEM || kind > AIOCOSMOS_READ_ACCOUNT) return NULL;
    return &kinds[kind - AIOCOSMOS_READ_ITEM];
}

static int aioc_operation_refuse(aioc_operation_engine *engine, const char *what, const char *why)
{
    aioc_memory_print(engine->refusal, sizeof engine->refusal, "%s: %s", what, why);
    return AIOCOSMOS_E_ARGUMENT;
}

static int aioc_operation_refuse_at(aioc_operation_engine *engine, const char *what, const char *why, size_t byte)
{
    aioc_memory_print(engine->refusal, sizeof engine->refusal, "%s: %s at byte %llu", what, why,
                      (unsigned long long)byte);
    return AIOCOSMOS_E_ARGUMENT;
}

static int aioc_operation_refuse_memory(aioc_operation_engine *engine)
{
    aioc_memory_print(engine->refusal, sizeof engine->refusal, "no memory");
    return AIOCOSMOS_E_NOMEM;
}

/* A name or id, appended to the link as "segment/name". */
static int aioc_operation_add_name(aioc_operation_engine *engine, const char *what, const char *segment,
                                   const char *name)
{
    aioc_memory_buffer *link = &engine->link_text;
    char why[128];
    bool ok;
    if (!name) return aioc_operation_refuse(engine, what, "required");
    if (strcmp(segment, "docs") == 0) ok = aioc_protocol_id_ok(name, AIOC_PROTOCOL_ITEM_ID_MAX, why, sizeof why);
    else ok = aioc_protocol_name_ok(name, why, sizeof why);
    if (!ok) return aioc_operation_refuse(engine, what, why);
    if ((link->len && !aioc_memory_append(engine->memory, link, "/", 1)) ||
        !aioc_memory_append_str(engine->memory, link, segment) || !aioc_memory_append(engine->memory, link, "/", 1) ||
        !aioc_memory_append_str(engine->memory, link, name)) return aioc_operation_refuse_memory(engine);
    return 0;
}

/* Builds the link of so many names in engine->link_text. */
static int aioc_operation_build_link(aioc_operation_engine *engine, unsigned names, const char *database,
                                     const char *container, const char *id)
{
    int refused = 0;
    engine->link_text.len = 0;
    if (!database) database = engine->default_database;
    if (names >= 1) refused = aioc_operation_add_name(engine, "database", "dbs", database);
    if (!refused && names >= 2)
        refused = aioc_operation_add_name(engine, "container", "colls", container);
    if (!refused && names >= 3) refused = aioc_operation_add_name(engine, "id", "docs", id);
    return refused;
}

static int aioc_operation_add_line(aioc_operation_engine *engine, const char *name, const char *value)
{
    if (!aioc_operation_append_line(engine->memory, &engine->lines_text, name, aioc_memory_str(value)))
        return aioc_operation_refuse_memory(engine);
    return 0;
}

/* A header value from the host: visible ASCII, spaces and tabs (RFC 9110 5.5). */
static int aioc_operation_check_value(aioc_operation_engine *engine, const char *what, const char *value)
{
    size_t i;
    for (i = 0; value[i]; i++) {
        unsigned char c = (unsigned char)value[i];
        if ((c < 0x20 && c != '\t') || c > 0x7E)
            return aioc_operation_refuse_at(engine, what, "a character that no header may hold", i);
    }
    return i ? 0 : aioc_operation_refuse(engine, what, "empty");
}

/* If-Match, If-None-Match: an entity tag with its quotes, or "*" (RFC 9110 8.8.3; the service's tags are quoted). */
static int aioc_operation_add_etag(aioc_operation_engine *engine, const char *what, const char *line, const char *etag)
{
    size_t len = strlen(etag);
    int refused = aioc_operation_check_value(engine, what, etag);
    if (refused) return refused;
    if (strcmp(etag, "*") != 0 && (len < 2 || etag[0] != '"' || etag[len - 1] != '"') && strncmp(etag, "W/\"", 3) != 0)
        return aioc_operation_refuse(engine, what, "an ETag keeps its double quotes");
    return aioc_operation_add_line(engine, line, etag);
}

static bool aioc_operation_is_our_header(aiocosmos_str name)
{
    static const char *const ours[] = { "authorization", "x-ms-date", "x-ms-version", "host", "content-length",
        "transfer-encoding", "connection", "x-ms-documentdb-partitionkey", "x-ms-session-token", "x-ms-continuation",
        "x-ms-documentdb-isquery", "x-ms-documentdb-is-upsert", "if-match", "if-none-match", "content-type", "expect",
        "user-agent", "accept", "prefer", "x-ms-max-item-count", "x-ms-documentdb-query-enablecrosspartition",
        "x-ms-offer-throughput", "x-ms-cosmos-offer-autopilot-settings" };
    size_t i;
    for (i = 0; i < sizeof ours / sizeof *ours; i++)
        if (aioc_memory_same_nocase(name, aioc_memory_str(ours[i]))) return true;
    return false;
}

static bool aioc_operation_is_token_char(char c)     /* RFC 9110 5.6.2 */
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static int aioc_operation_add_headers(aioc_operation_engine *engine, const char *const *headers)
{
    for (; headers && *headers; headers++) {
        const char *line = *headers;
        size_t name = 0;
        int refused;
        while (aioc_operation_is_token_char(line[name])) name++;
        if (name == 0 || line[name] != ':')
            return aioc_operation_refuse_at(engine, "headers", "\"name: value\" is expected", name);
        if (aioc_operation_is_our_header(aioc_operation_str(line, name)))
            return aioc_operation_refuse(engine, "headers", "one that the library sets by itself");
        refused = aioc_operation_check_value(engine, "headers", line);
        if (!refused) refused = aioc_operation_add_line(engine, "", line);
        if (refused) return refused;
    }
    return 0;
}

static int aioc_operation_add_pk(aioc_operation_engine *engine, const aiocosmos_pk *pk)
{
    char why[160];
    int status;
    engine->pk_text.len = 0;
    status = aioc_protocol_pk_text(engine->memory, &engine->pk_text, pk, why, sizeof why);
    if (status == AIOCOSMOS_E_NOMEM) return aioc_operation_refuse_memory(engine);
    return status ? aioc_operation_refuse(engine, "pk", why) : 0;
}

static bool aioc_operation_has_pk(const aiocosmos_pk *pk)
{
    return pk->level[0].type != AIOCOSMOS_UNSET || pk->level[1].type != AIOCOSMOS_UNSET ||
           pk->level[2].type != AIOCOSMOS_UNSET;
}

/* The item is a JSON object whose "id" is a string that the service takes. Create and upsert have their id there
 * only. */
static int aioc_operation_check_item(aioc_operation_engine *engine, aiocosmos_str body)
{
    aiocosmos_json id;
    const char *error;
    size_t error_at, first = 0, len;
    char text[AIOC_PROTOCOL_ITEM_ID_MAX + 2], why[128];
    if (body.len == 0) return aioc_operation_refuse(engine, "body", "required: the item as JSON");
    if (aioc_json_check(body.ptr, body.len, aioc_memory_str("id"), &id, &error, &error_at) != 0)
        return aioc_operation_refuse_at(engine, "body", error, error_at);
    while (first < body.len && body.ptr[first] != '{' && (unsigned char)body.ptr[first] <= ' ') first++;
    if (first == body.len || body.ptr[first] != '{')
        return aioc_operation_refuse(engine, "body", "an item is a JSON object");
    if (id.type != AIOCOSMOS_JSON_STR)
        return aioc_operation_refuse(engine, "body", "\"id\" is required and must be a string");
    len = aioc_json_get_str(id, text, sizeof text);
    if (len >= sizeof text) return aioc_operation_refuse(engine, "body", "\"id\" is over 1023 bytes");
    if (!aioc_protocol_id_ok(text, AIOC_PROTOCOL_ITEM_ID_MAX, why, sizeof why))
        return aioc_operation_refuse(engine, "body: \"id\"", why);
    if (strlen(text) < len)
        return aioc_operation_refuse_at(engine, "body: \"id\"", "control character 0", strlen(text));
    return 0;
}

static bool aioc_operation_append_body(aioc_operation_engine *engine, const char *text)
{
    return aioc_memory_append_str(engine->memory, &engine->body_text, text);
}

/* The patch, as the service wants it: an array of operations becomes the object around it. */
static int aioc_operation_build_patch(aioc_operation_engine *engine, aiocosmos_str body)
{
    aiocosmos_json operations;
    const char *error;
    size_t error_at, first = 0;
    if (body.len == 0) return aioc_operation_refuse(engine, "body", "required: the patch operations as JSON");
    if (aioc_json_check(body.ptr, body.len, aioc_memory_str("operations"), &operations, &error, &error_at) != 0)
        return aioc_operation_refuse_at(engine, "body", error, error_at);
    while ((unsigned char)body.ptr[first] <= ' ') first++;
    if (body.ptr[first] == '[') {
        if (!aioc_operation_append_body(engine, "{\"operations\":") ||
            !aioc_memory_append(engine->memory, &engine->body_text, body.ptr, body.len) ||
            !aioc_operation_append_body(engine, "}")) return aioc_operation_refuse_memory(engine);
        return 0;
    }
    if (body.ptr[first] != '{' || operations.type != AIOCOSMOS_JSON_ARR)
        return aioc_operation_refuse(engine, "body",
                                     "a patch is an array of operations, or an object with \"operations\"");
    if (!aioc_memory_append(engine->memory, &engine->body_text, body.ptr, body.len))
        return aioc_operation_refuse_memory(engine);
    return 0;
}

static bool aioc_operation_append_key(aioc_operation_engine *engine, const char *key)
{
    return (engine->body_text.len <= 1 || aioc_operation_append_body(engine, ",")) &&
           aioc_json_append_string(engine->memory, &engine->body_text, key, strlen(key), false) &&
           aioc_operation_append_body(engine, ":");
}

static int aioc_operation_append_id(aioc_operation_engine *engine, const char *id)
{
    if (!aioc_operation_append_body(engine, "{") || !aioc_operation_append_key(engine, "id") ||
        !aioc_json_append_string(engine->memory, &engine->body_text, id, strlen(id), false))
        return aioc_operation_refuse_memory(engine);
    return 0;
}

static int aioc_operation_append_key_paths(aioc_operation_engine *engine, const char *const paths[3])
{
    size_t i;
    if (!aioc_operation_append_key(engine, "partitionKey") || !aioc_operation_append_body(engine, "{\"paths\":["))
        return aioc_operation_refuse_memory(engine);
    for (i = 0; i < 3 && paths[i]; i++) {
        if (paths[i][0] != '/' || !paths[i][1])
            return aioc_operation_refuse(engine, "partition_key_paths", "a path starts with '/' and names a property");
        if (i && !aioc_operation_append_body(engine, ",")) return aioc_operation_refuse_memory(engine);
        if (!aioc_json_append_string(engine->memory, &engine->body_text, paths[i], strlen(paths[i]), false))
            return aioc_operation_refuse(engine, "partition_key_paths", "not UTF-8, or no memory");
    }
    /* Version 2 is asked for: absent would mean 1. */
    if (!aioc_operation_append_body(engine, i > 1 ? "],\"kind\":\"MultiHash\",\"version\":2}"
                                                  : "],\"kind\":\"Hash\",\"version\":2}"))
        return aioc_operation_refuse_memory(engine);
    for (; i < 3; i++)
        if (paths[i]) return aioc_operation_refuse(engine, "partition_key_paths", "a gap between the levels");
    return 0;
}

/* The members of an object from the host, without its braces. Those that stand in the request itself are refused. */
static int aioc_operation_append_members(aioc_operation_engine *engine, const aiocosmos_request *request, bool *has_key)
{
    aiocosmos_json root, key, value;
    aiocosmos_json_doc *doc = &engine->properties;
    int status = aioc_json_parse(doc, request->body.ptr, request->body.len);
    if (status == AIOCOSMOS_E_NOMEM) return aioc_operation_refuse_memory(engine);
    if (status) return aioc_operation_refuse_at(engine, "body", doc->error, doc->error_at);
    root = aioc_json_root(doc);
    if (root.type != AIOCOSMOS_JSON_OBJ)
        return aioc_operation_refuse(engine, "body", "properties of a container are a JSON object");
    memset(&value, 0, sizeof value);
    while (aioc_json_next(root, &key, &value)) {
        if (aioc_json_is_str(key, "id")) {
            if (!aioc_json_is_str(value, request->container))
                return aioc_operation_refuse(engine, "body", "\"id\" is not the container's name");
            continue;
        }
        if (aioc_json_is_str(key, "partitionKey")) {
            if (request->partition_key_paths[0])
                return aioc_operation_refuse(engine, "body", "\"partitionKey\" and partition_key_paths are both given");
            *has_key = true;
        }
        if (aioc_json_is_str(key, "defaultTtl") && request->default_ttl_s)
            return aioc_operation_refuse(engine, "body", "\"defaultTtl\" and default_ttl_s are both given");
        if (aioc_json_is_str(key, "indexingPolicy") && request->indexing_policy.len)
            return aioc_operation_refuse(engine, "body", "\"indexingPolicy\" and indexing_policy are both given");
        if (!aioc_operation_append_body(engine, ",") ||
            !aioc_memory_append(engine->memory, &engine->body_text, key.ptr, key.len) ||
            !aioc_operation_append_body(engine, ":") ||
            !aioc_memory_append(engine->memory, &engine->body_text, value.ptr, value.len))
            return aioc_operation_refuse_memory(engine);
    }
    return 0;
}

static int aioc_operation_append_policy(aioc_operation_engine *engine, aiocosmos_str policy)
{
    aiocosmos_json unused;
    const char *error;
    size_t error_at;
    if (aioc_json_check(policy.ptr, policy.len, aioc_memory_str("indexingMode"), &unused, &error, &error_at) != 0)
        return aioc_operation_refuse_at(engine, "indexing_policy", error, error_at);
    if (!aioc_operation_append_key(engine, "indexingPolicy") ||
        !aioc_memory_append(engine->memory, &engine->body_text, policy.ptr, policy.len))
        return aioc_operation_refuse_memory(engine);
    return 0;
}

static int aioc_operation_build_container(aioc_operation_engine *engine, const aiocosmos_request *request)
{
    bool has_key = request->partition_key_paths[0] != NULL;
    int refused = aioc_operation_append_id(engine, request->container);
    if (!refused && has_key) refused = aioc_operation_append_key_paths(engine, request->partition_key_paths);
    if (!refused && request->body.len) refused = aioc_operation_append_members(engine, request, &has_key);
    if (!refused && !has_key && request->kind == AIOCOSMOS_CREATE_CONTAINER)
        refused = aioc_operation_refuse(engine, "partition_key_paths", "required");
    if (!refused && !has_key)
        refused = aioc_operation_refuse(engine, "body", "required: the container's whole properties, as read");
    if (!refused && request->default_ttl_s < -1)
        refused = aioc_operation_refuse(engine, "default_ttl_s", "-1, or seconds above 0");
    if (!refused && request->default_ttl_s) {
        char number[AIOC_JSON_NUMBER_MAX];
        number[aioc_json_i64_write(request->default_ttl_s, number)] = 0;
        if (!aioc_operation_append_key(engine, "defaultTtl") || !aioc_operation_append_body(engine, number))
            refused = aioc_operation_refuse_memory(engine);
    }
    if (!refused && request->indexing_policy.len)
        refused = aioc_operation_append_policy(engine, request->indexing_policy);
    if (!refused && !aioc_operation_append_body(engine, "}")) refused = aioc_operation_refuse_memory(engine);
    return refused;
}

/* What does not belong to a kind is a mistake of the caller, and is said. */
static int aioc_operation_check_fields(aioc_operation_engine *engine, const aiocosmos_request *request,
                                       const aioc_operation_kind *kind)
{
    bool creates = request->kind == AIOCOSMOS_CREATE_CONTAINER || request->kind == AIOCOSMOS_CREATE_DATABASE;
    bool shapes = request->kind == AIOCOSMOS_CREATE_CONTAINER || request->kind == AIOCOSMOS_REPLACE_CONTAINER;
    static const char foreign[] = "does not belong to this kind of operation";
    if (request->database && request->kind == AIOCOSMOS_READ_ACCOUNT)
        return aioc_operation_refuse(engine, "database", foreign);
    if (request->container && kind->names < 2 && request->kind != AIOCOSMOS_CREATE_CONTAINER)
        return aioc_operation_refuse(engine, "container", foreign);
    if (request->id && kind->names < 3) return aioc_operation_refuse(engine, "id", foreign);
    if (request->body.len && !kind->has_body) return aioc_operation_refuse(engine, "body", foreign);
    if (aioc_operation_has_pk(&request->pk) != kind->item)
        return aioc_operation_refuse(engine, "pk", kind->item ? "required" : foreign);
    if (request->if_match && (!kind->write || kind->to_feed) && request->kind != AIOCOSMOS_UPSERT_ITEM)
        return aioc_operation_refuse(engine, "if_match", foreign);
    if (request->if_none_match && kind->write) return aioc_operation_refuse(engine, "if_none_match", foreign);
    if (request->session_token && !kind->item) return aioc_operation_refuse(engine, "session_token", foreign);
    if (request->if_not_exists && !creates) return aioc_operation_refuse(engine, "if_not_exists", foreign);
    if (request->partition_key_paths[0] && request->kind != AIOCOSMOS_CREATE_CONTAINER)
        return aioc_operation_refuse(engine, "partition_key_paths", foreign);
    if (request->indexing_policy.len && !shapes) return aioc_operation_refuse(engine, "indexing_policy", foreign);
    if (request->default_ttl_s && !shapes) return aioc_operation_refuse(engine, "default_ttl_s", foreign);
    if (request->throughput_ru && !creates) return aioc_operation_refuse(engine, "throughput_ru", foreign);
    if (request->autoscale_max_ru && !creates) return aioc_operation_refuse(engine, "autoscale_max_ru", foreign);
    if (request->throughput_ru && request->autoscale_max_ru)
        return aioc_operation_refuse(engine, "autoscale_max_ru", "and throughput_ru are both given");
    return 0;
}

static int aioc_operation_add_throughput(aioc_operation_engine *engine, const aiocosmos_request *request)
{
    char text[64];
    if (request->throughput_ru) {
        aioc_memory_print(text, sizeof text, "%u", (unsigned)request->throughput_ru);
        return aioc_operation_add_line(engine, "x-ms-offer-throughput: ", text);
    }
    if (request->autoscale_max_ru) {
        aioc_memory_print(text, sizeof text, "{\"maxThroughput\":%u}", (unsigned)request->autoscale_max_ru);
        return aioc_operation_add_line(engine, "x-ms-cosmos-offer-autopilot-settings: ", text);
    }
    return 0;
}

static int aioc_operation_add_lines(aioc_operation_engine *engine, const aiocosmos_request *request,
                                    const aioc_operation_kind *kind)
{
    int refused = 0;
    engine->lines_text.len = 0;
    if (request->kind == AIOCOSMOS_PATCH_ITEM)
        refused = aioc_operation_add_line(engine, "Content-Type: ", "application/json-patch+json");
    else if (kind->verb[0] == 'P')
        refused = aioc_operation_add_line(engine, "Content-Type: ", "application/json");
    if (!refused && request->kind == AIOCOSMOS_UPSERT_ITEM)
        refused = aioc_operation_add_line(engine, "x-ms-documentdb-is-upsert: ", "True");
    if (!refused && kind->item && kind->has_body && !request->want_body)
        refused = aioc_operation_add_line(engine, "Prefer: ", "return=minimal");
    if (!refused && request->if_match)
        refused = aioc_operation_add_etag(engine, "if_match", "If-Match: ", request->if_match);
    if (!refused && request->if_none_match)
        refused = aioc_operation_add_etag(engine, "if_none_match", "If-None-Match: ", request->if_none_match);
    if (!refused) refused = aioc_operation_add_throughput(engine, request);
    if (!refused) refused = aioc_operation_add_headers(engine, request->headers);
    return refused;
}

static int aioc_operation_build_body(aioc_operation_engine *engine, const aiocosmos_request *request,
                                     const aioc_operation_kind *kind, aiocosmos_str *body)
{
    int refused = 0;
    engine->body_text.len = 0;
    *body = request->body;
    if (kind->item && kind->has_body && request->kind != AIOCOSMOS_PATCH_ITEM)
        return aioc_operation_check_item(engine, request->body);
    switch (request->kind) {
    case AIOCOSMOS_PATCH_ITEM: refused = aioc_operation_build_patch(engine, request->body); break;
    case AIOCOSMOS_CREATE_CONTAINER: case AIOCOSMOS_REPLACE_CONTAINER:
        refused = aioc_operation_build_container(engine, request);
        break;
    case AIOCOSMOS_CREATE_DATABASE:
        refused = aioc_operation_append_id(engine, request->database ? request->database : engine->default_database);
        if (!refused && !aioc_operation_append_body(engine, "}")) refused = aioc_operation_refuse_memory(engine);
        break;
    default: return 0;
    }
    *body = aioc_operation_str(engine->body_text.data, engine->body_text.len);
    return refused;
}

static int aioc_operation_check_session(aioc_operation_engine *engine, const char *token)
{
    size_t bad_at;
    if (token && !aioc_protocol_session_check(aioc_memory_str(token), &bad_at))
        return aioc_operation_refuse_at(engine, "session_token", "malformed", bad_at);
    return 0;
}

/* The new name of a database or container is not in the link: it is checked as if it were. */
static int aioc_operation_check_new_name(aioc_operation_engine *engine, const aiocosmos_request *request)
{
    if (request->kind == AIOCOSMOS_CREATE_DATABASE)
        return aioc_operation_build_link(engine, 1, request->database, NULL, NULL);
    if (request->kind == AIOCOSMOS_CREATE_CONTAINER)
        return aioc_operation_build_link(engine, 2, request->database, request->container, NULL);
    return 0;
}

static aiocosmos_str aioc_operation_text(const aioc_memory_buffer *buffer)
{
    return aioc_operation_str(buffer->data, buffer->len);
}

/* The part of a link that names its container: without "/docs/...". */
static aiocosmos_str aioc_operation_container_part(aiocosmos_str link, const char *id)
{
    if (id) link.len -= strlen("/docs/") + strlen(id);
    return link;
}

/* Checks a request and fills the spec, whose texts are lent by the engine until the next call. 0, or why not, with the
 * reason in engine->refusal. */
static int aioc_operation_specify(aioc_operation_engine *engine, const aiocosmos_request *request,
                                  aioc_operation_spec *spec)
{
    const aioc_operation_kind *kind = aioc_operation_kind_of((int)request->kind);
    int refused;
    memset(spec, 0, sizeof *spec);
    if (!kind) return aioc_operation_refuse(engine, "kind", "required: one of aiocosmos_kind");
    refused = aioc_operation_check_fields(engine, request, kind);
    if (!refused) refused = aioc_operation_check_new_name(engine, request);
    if (!refused)
        refused = aioc_operation_build_link(engine, kind->names, request->database, request->container, request->id);
    if (!refused && kind->item) refused = aioc_operation_add_pk(engine, &request->pk);
    if (!refused) refused = aioc_operation_add_lines(engine, request, kind);
    if (!refused) refused = aioc_operation_build_body(engine, request, kind, &spec->body);
    if (!refused) refused = aioc_operation_check_session(engine, request->session_token);
    if (refused) return refused;
    spec->verb = kind->verb;
    spec->type = kind->type;
    spec->to_feed = kind->to_feed;
    spec->write = kind->write;
    /* "*" is true of what the first try made of the item, too. */
    spec->repeatable = (request->if_match && strcmp(request->if_match, "*") != 0) || request->if_not_exists;
    spec->if_not_exists = request->if_not_exists;
    spec->item_data = kind->item;
    spec->forgets_container = request->kind == AIOCOSMOS_DELETE_CONTAINER ||
                              request->kind == AIOCOSMOS_REPLACE_CONTAINER;
    spec->link = aioc_operation_text(&engine->link_text);
    if (kind->item) {
        spec->pk_text = aioc_operation_text(&engine->pk_text);
        spec->container_link = aioc_operation_container_part(spec->link, kind->names == 3 ? request->id : NULL);
    }
    spec->lines = aioc_operation_text(&engine->lines_text);
    spec->session_token = aioc_memory_str(request->session_token);
    spec->order_key = request->order_key;
    spec->timeout_ms = request->timeout_ms ? request->timeout_ms : engine->request_timeout_ms;
    spec->done = request->done;
    spec->user_data = request->user_data;
    return 0;
}

/* Accepts what has been specified, if there is room. */
static int aioc_operation_accept(aioc_operation_engine *engine, const aioc_operation_spec *spec, aioc_operation **out)
{
    const aiocosmos_platform *platform = engine->platform;
    size_t max = spec->pacer ? engine->memory->max : engine->memory->max / 8 * 7;
    size_t bytes = sizeof(aioc_operation) + aioc_operation_texts_len(spec);
    if (engine->closing) {
        aioc_memory_print(engine->refusal, sizeof engine->refusal, "the client is being destroyed");
        return AIOCOSMOS_E_SHUTDOWN;
    }
    /* What a pacer lets through, it has found room for. */
    if (!spec->pacer && !aioc_operation_has_room(engine, spec->internal)) {
        aioc_memory_print(engine->refusal, sizeof engine->refusal, "full: %u operations are pending",
                          (unsigned)engine->pending);
        return AIOCOSMOS_E_FULL;
    }
    /* The last eighth is left to answers, so that they need not wait for requests to go; and to what a pacer, who has
     * seen to that before, has pulled already. */
    if (engine->memory->used - engine->memory->kept + bytes > max) {
        aioc_memory_print(engine->refusal, sizeof engine->refusal, "full: the client holds memory_max bytes");
        return AIOCOSMOS_E_FULL;
    }
    *out = aioc_operation_new(engine, spec, platform->monotonic_us(platform->user_data));
    return *out ? 0 : aioc_operation_refuse_memory(engine);
}
/*==============================================================================
 * MARK: - Query                                                         >>query
 *
 * How the partial answers of partition key ranges become the answer: the
 * order and equality of values, aggregates, groups, what a query plan says,
 * the texts that ranges are asked, continuation tokens, hybrid search.
 *
 * May call: platform (byte order), memory, json, auth, protocol.
 * Knows nothing of: operations, ranges' ids, time.
 *============================================================================*/

/*------------------------------------------------------------------------------
 * Values: their order
 *----------------------------------------------------------------------------*/

/* A number as all that is asked of it sees it: as an integer if it is one that fits, else as a double. So the order is
 * exact between integers that no double tells apart, and 1, 1.0 and 1e0 are one number. */
typedef struct aioc_query_number {
    int64_t integer;
    double real;                         /* only if not whole: has a fraction, or is beyond int64_t, or infinite */
    bool whole;
} aioc_query_number;

/* JSON has no limit for numbers: what is beyond a double counts as infinite. */
static aioc_query_number aioc_query_number_of(aiocosmos_json value)
{
    const double limit = 9223372036854775808.0;                            /* 2^63 */
    aioc_query_number number;
    memset(&number, 0, sizeof number);
    number.whole = aioc_json_get_i64(value, &number.integer);
    if (number.whole) return number;
    if (!aioc_json_get_f64(value, &number.real)) {
        number.real = aioc_json_double_of(UINT64_C(2047) << 52 | (uint64_t)(*value.ptr == '-') << 63);
    }
    /* A text with more digits than a double has may be read as a whole one. */
    number.whole = number.real >= -limit && number.real < limit && number.real == (double)(int64_t)number.real;
    if (number.whole) number.integer = (int64_t)number.real;
    return number;
}

/* Against a double that is no such integer: so it is beyond them all, or small enough for its integer part to be
 * exact. */
static int aioc_query_compare_mixed(int64_t integer, double real)
{
    int64_t part;
    if (real >= 9223372036854775808.0) return -1;
    if (real < -9223372036854775808.0) return 1;
    part = (int64_t)real;
    if (integer != part) return integer < part ? -1 : 1;
    return real > (double)part ? -1 : 1;
}

static int aioc_query_compare_numbers(aioc_query_number a, aioc_query_number b)
{
    if (a.whole && b.whole) return (a.integer > b.integer) - (a.integer < b.integer);
    if (a.whole) return aioc_query_compare_mixed(a.integer, b.real);
    if (b.whole) return -aioc_query_compare_mixed(b.integer, a.real);
    return (a.real > b.real) - (a.real < b.real);
}

/* A string as UTF-16 units, one after the other. */
typedef struct aioc_query_units {
    const char *at, *end;
    uint32_t low;                        /* the second unit of a pair, if it is due */
} aioc_query_units;

static aioc_query_units aioc_query_units_of(aiocosmos_json string)
{
    aioc_query_units units;
    units.at = string.ptr + 1;
    units.end = string.ptr + string.len - 1;
    units.low = 0;
    return units;
}

/* The next unit, or -1 at the end, which sorts before all. An escaped surrogate is a unit, whether it has a partner or
 * not. */
static int32_t aioc_query_next_unit(aioc_query_units *units)
{
    char plain[4];
    uint32_t code = units->low;
    size_t len;
    units->low = 0;
    if (code) return (int32_t)code;
    if (units->at == units->end) return -1;
    if (units->at[0] == '\\' && units->at[1] == 'u') {
        units->at += 6;
        return (int32_t)aioc_json_hex4(units->at - 4);
    }
    if (units->at[0] == '\\') {
        aioc_json_unescape(&units->at, units->end, plain);
        return plain[0];
    }
    len = aioc_json_utf8_len(units->at, units->end);
    code = aioc_json_utf8_code(units->at, len);
    units->at += len;
    if (code < 0x10000) return (int32_t)code;
    units->low = 0xDC00 + ((code - 0x10000) & 0x3FF);
    return (int32_t)(0xD800 + ((code - 0x10000) >> 10));
}

static int aioc_query_compare_units(aiocosmos_json a, aiocosmos_json b)
{
    aioc_query_units of_a = aioc_query_units_of(a), of_b = aioc_query_units_of(b);
    for (;;) {
        int32_t unit_a = aioc_query_next_unit(&of_a), unit_b = aioc_query_next_unit(&of_b);
        if (unit_a != unit_b) return unit_a < unit_b ? -1 : 1;
        if (unit_a < 0) return 0;
    }
}

/* The place of a byte of UTF-8 in the order of UTF-16: characters of four bytes are pairs of surrogates, D800 to DFFF,
 * which come before U+E000 to U+FFFF, that begin with EE and EF. */
static unsigned aioc_query_byte_rank(char byte)
{
    unsigned c = (unsigned char)byte;
    return c >= 0xF0 ? c - 2 : c >= 0xEE ? c + 5 : c;
}

static int aioc_query_compare_strings(aiocosmos_json a, aiocosmos_json b)
{
    const char *at_a = a.ptr + 1, *at_b = b.ptr + 1;
    size_t len_a = a.len - 2, len_b = b.len - 2, len = len_a < len_b ? len_a : len_b, i = 0;
    if (aioc_json_has_escapes(a) || aioc_json_has_escapes(b)) return aioc_query_compare_units(a, b);
    while (i + 8 <= len) {
        uint64_t differ = aioc_platform_load64le((const unsigned char *)at_a + i) ^
                          aioc_platform_load64le((const unsigned char *)at_b + i);
        if (differ) {
            i += aioc_json_first(differ);
            break;
        }
        i += 8;
    }
    while (i < len && at_a[i] == at_b[i]) i++;
    if (i == len) return (len_a > len_b) - (len_a < len_b);
    return aioc_query_byte_rank(at_a[i]) < aioc_query_byte_rank(at_b[i]) ? -1 : 1;
}

/* undefined < null < false < true < numbers < strings < arrays < objects */
static int aioc_query_rank(aiocosmos_json value)
{
    switch (value.type) {
    case AIOCOSMOS_JSON_NONE: return 0;
    case AIOCOSMOS_JSON_NULL: return 1;
    case AIOCOSMOS_JSON_BOOL: return *value.ptr == 't' ? 3 : 2;
    case AIOCOSMOS_JSON_NUM: return 4;
    case AIOCOSMOS_JSON_STR: return 5;
    case AIOCOSMOS_JSON_ARR: return 6;
    default: return 7;
    }
}

/* The service's order of values: -1, 0, 1. NONE stands for undefined. Strings are compared by UTF-16 units. All arrays
 * are equal, and all objects: the service orders them by a hash of its own, and a merge keeps the order of each
 * range. */
static int aioc_query_compare(aiocosmos_json a, aiocosmos_json b)
{
    int rank_a = aioc_query_rank(a), rank_b = aioc_query_rank(b);
    if (rank_a != rank_b) return rank_a < rank_b ? -1 : 1;
    if (rank_a == 4) return aioc_query_compare_numbers(aioc_query_number_of(a), aioc_query_number_of(b));
    return rank_a == 5 ? aioc_query_compare_strings(a, b) : 0;
}

/*------------------------------------------------------------------------------
 * Values: whether they are the same, by a hash
 *----------------------------------------------------------------------------*/

typedef struct aioc_query_hash { uint64_t high, low; } aioc_query_hash;

/* SipHash-2-4 with 128 bits of output (Aumasson, Bernstein): whoever does not know the key cannot make two values that
 * collide. Fed piece by piece. */
typedef struct aioc_query_sip {
    const uint64_t *key;
    uint64_t v[4], tail;                 /* tail: up to seven bytes that wait for the eighth */
    size_t len;
} aioc_query_sip;

static void aioc_query_sip_rounds(uint64_t v[4], int rounds)
{
    uint64_t v0 = v[0], v1 = v[1], v2 = v[2], v3 = v[3];
    while (rounds-- > 0) {
        v0 += v1;
        v1 = aioc_protocol_rotl64(v1, 13) ^ v0;
        v0 = aioc_protocol_rotl64(v0, 32);
        v2 += v3;
        v3 = aioc_protocol_rotl64(v3, 16) ^ v2;
        v0 += v3;
        v3 = aioc_protocol_rotl64(v3, 21) ^ v0;
        v2 += v1;
        v1 = aioc_protocol_rotl64(v1, 17) ^ v2;
        v2 = aioc_protocol_rotl64(v2, 32);
    }
    v[0] = v0;
    v[1] = v1;
    v[2] = v2;
    v[3] = v3;
}

static void aioc_query_sip_open(aioc_query_sip *sip, const uint64_t key[2])
{
    sip->key = key;
    sip->v[0] = UINT64_C(0x736f6d6570736575) ^ key[0];
    sip->v[1] = UINT64_C(0x646f72616e646f6d) ^ key[1] ^ 0xEE;
    sip->v[2] = UINT64_C(0x6c7967656e657261) ^ key[0];
    sip->v[3] = UINT64_C(0x7465646279746573) ^ key[1];
    sip->tail = 0;
    sip->len = 0;
}

static void aioc_query_sip_word(aioc_query_sip *sip, uint64_t word)
{
    sip->v[3] ^= word;
    aioc_query_sip_rounds(sip->v, 2);
    sip->v[0] ^= word;
}

static void aioc_query_sip_feed(aioc_query_sip *sip, const void *bytes, size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + len;
    unsigned held = (unsigned)(sip->len % 8 * 8);                          /* bits of the tail */
    sip->len += len;
    for (; end - at >= 8; at += 8) {
        uint64_t word = aioc_platform_load64le(at);
        aioc_query_sip_word(sip, sip->tail | word << held);
        sip->tail = held > 0 ? word >> (64 - held) : 0;
    }
    for (; at < end; at++) {
        sip->tail |= (uint64_t)*at << held;
        held += 8;
        if (held < 64) continue;
        aioc_query_sip_word(sip, sip->tail);
        sip->tail = 0;
        held = 0;
    }
}

static aioc_query_hash aioc_query_sip_close(aioc_query_sip *sip)
{
    aioc_query_hash hash;
    aioc_query_sip_word(sip, sip->tail | (uint64_t)sip->len << 56);
    sip->v[2] ^= 0xEE;
    aioc_query_sip_rounds(sip->v, 4);
    hash.low = sip->v[0] ^ sip->v[1] ^ sip->v[2] ^ sip->v[3];
    sip->v[1] ^= 0xDD;
    aioc_query_sip_rounds(sip->v, 4);
    hash.high = sip->v[0] ^ sip->v[1] ^ sip->v[2] ^ sip->v[3];
    return hash;
}

/* What is fed for a value says where it ends, so that no two values are fed alike: a kind, then 64 bits (of a container
 * the number of its members), or the bytes of a string and FF, which UTF-8 does not have. */
enum {
    AIOC_QUERY_KIND_SIMPLE,              /* its rank */
    AIOC_QUERY_KIND_INTEGER, AIOC_QUERY_KIND_REAL, AIOC_QUERY_KIND_STRING, AIOC_QUERY_KIND_ARRAY,
    AIOC_QUERY_KIND_OBJECT
};

static void aioc_query_sip_number(aioc_query_sip *sip, unsigned char kind, uint64_t number)
{
    unsigned char bytes[9];
    bytes[0] = kind;
    aioc_platform_store64le(bytes + 1, number);
    aioc_query_sip_feed(sip, bytes, sizeof bytes);
}

/* Half a surrogate pair, which has no UTF-8, is fed as if it had: it is not the same as U+FFFD. */
static void aioc_query_sip_string(aioc_query_sip *sip, aiocosmos_json string)
{
    static const unsigned char kind = AIOC_QUERY_KIND_STRING, behind = 0xFF;
    const char *at = string.ptr + 1, *end = string.ptr + string.len - 1;
    bool escaped = aioc_json_has_escapes(string);
    aioc_query_sip_feed(sip, &kind, 1);
    while (escaped && at < end) {
        const char *escape = (const char *)memchr(at, '\\', (size_t)(end - at));
        char character[4];
        uint32_t unit;
        size_t len;
        if (!escape) break;
        aioc_query_sip_feed(sip, at, (size_t)(escape - at));
        at = escape;
        len = aioc_json_unescape(&at, end, character);
        unit = escape[1] == 'u' ? aioc_json_hex4(escape + 2) : 0;
        if (len == 3 && unit - 0xD800 < 0x800) aioc_json_utf8_put(unit, character);
        aioc_query_sip_feed(sip, character, len);
    }
    aioc_query_sip_feed(sip, at, (size_t)(end - at));
    aioc_query_sip_feed(sip, &behind, 1);
}

/* Two properties of one name: the last counts, and of the others nothing may be seen. So names are looked at in blocks:
 * each name of a block is sought in the rest of the object. Of objects with more properties than eight blocks all
 * names count as different: else the time would grow with the square of the length. */
#define AIOC_QUERY_NAMES     512u
#define AIOC_QUERY_NAMES_MAX (8 * AIOC_QUERY_NAMES)

typedef struct aioc_query_names {
    uint64_t hash[AIOC_QUERY_NAMES];
    uint16_t slots[2 * AIOC_QUERY_NAMES];                                  /* index + 1; 0: free */
} aioc_query_names;

/* Where the name is in the table, or the free slot that is there instead. */
static uint16_t *aioc_query_name_slot(aioc_query_names *names, uint64_t hash)
{
    size_t at = (size_t)hash;
    while (names->slots[at % (2 * AIOC_QUERY_NAMES)] != 0) {
        uint16_t *slot = &names->slots[at++ % (2 * AIOC_QUERY_NAMES)];
        if (names->hash[*slot - 1] == hash) return slot;
    }
    return &names->slots[at % (2 * AIOC_QUERY_NAMES)];
}

/* Not to become a part of the function that calls it: that one calls itself at each level, and the table is large. */
#if defined(__GNUC__)
static void aioc_query_find_hidden(const uint64_t *key, aiocosmos_json object, aiocosmos_json before, uint64_t *hidden)
    __attribute__((noinline));
#endif

/* Of the properties behind before (zeroed: from the first), one block: hidden gets a bit for each that comes again. */
static void aioc_query_find_hidden(const uint64_t *key, aiocosmos_json object, aiocosmos_json before, uint64_t *hidden)
{
    aioc_query_names names;
    aiocosmos_json name;
    uint32_t count = 0;
    memset(names.slots, 0, sizeof names.slots);
    memset(hidden, 0, AIOC_QUERY_NAMES / 8);
    while (aioc_json_next(object, &name, &before)) {
        aioc_query_sip sip;
        uint64_t hash;
        uint16_t *slot;
        aioc_query_sip_open(&sip, key);
        aioc_query_sip_string(&sip, name);
        hash = aioc_query_sip_close(&sip).low;
        slot = aioc_query_name_slot(&names, hash);
        if (*slot != 0) hidden[(*slot - 1) / 64] |= UINT64_C(1) << (*slot - 1) % 64;
        if (count == AIOC_QUERY_NAMES) continue;
        names.hash[count] = hash;
        *slot = (uint16_t)++count;
    }
}

static void aioc_query_sip_value(aioc_query_sip *sip, aiocosmos_json value);

/* The hashes of the properties are added up, so that their order does not matter. */
static void aioc_query_sip_object(aioc_query_sip *sip, aiocosmos_json object)
{
    uint64_t hidden[AIOC_QUERY_NAMES / 64];
    aiocosmos_json value = aioc_json_none(), name;
    aioc_query_hash sum = {0, 0};
    size_t count = aioc_json_count(object), i, members = 0;
    memset(hidden, 0, sizeof hidden);
    for (i = 0; i < count; i++) {
        uint32_t at = (uint32_t)(i % AIOC_QUERY_NAMES);
        aioc_query_sip property;
        aioc_query_hash hash;
        if (at == 0 && count > 1 && count <= AIOC_QUERY_NAMES_MAX) {
            aioc_query_find_hidden(sip->key, object, value, hidden);
        }
        if (!aioc_json_next(object, &name, &value)) break;
        if (hidden[at / 64] >> at % 64 & 1) continue;
        aioc_query_sip_open(&property, sip->key);
        aioc_query_sip_string(&property, name);
        aioc_query_sip_value(&property, value);
        hash = aioc_query_sip_close(&property);
        sum.high += hash.high;
        sum.low += hash.low;
        members++;
    }
    aioc_query_sip_number(sip, AIOC_QUERY_KIND_OBJECT, members);
    aioc_query_sip_number(sip, AIOC_QUERY_KIND_OBJECT, sum.high);
    aioc_query_sip_number(sip, AIOC_QUERY_KIND_OBJECT, sum.low);
}

/* As deep as JSON is: 128 levels. */
static void aioc_query_sip_value(aioc_query_sip *sip, aiocosmos_json value)
{
    aiocosmos_json element = aioc_json_none();
    aioc_query_number number;
    uint64_t bits;
    switch (value.type) {
    case AIOCOSMOS_JSON_NUM:
        number = aioc_query_number_of(value);
        memcpy(&bits, &number.real, sizeof bits);
        if (number.whole) aioc_query_sip_number(sip, AIOC_QUERY_KIND_INTEGER, (uint64_t)number.integer);
        else aioc_query_sip_number(sip, AIOC_QUERY_KIND_REAL, bits);
        break;
    case AIOCOSMOS_JSON_STR: aioc_query_sip_string(sip, value); break;
    case AIOCOSMOS_JSON_ARR:
        aioc_query_sip_number(sip, AIOC_QUERY_KIND_ARRAY, aioc_json_count(value));
        while (aioc_json_next(value, NULL, &element)) aioc_query_sip_value(sip, element);
        break;
    case AIOCOSMOS_JSON_OBJ: aioc_query_sip_object(sip, value); break;
    default: aioc_query_sip_number(sip, AIOC_QUERY_KIND_SIMPLE, (uint64_t)aioc_query_rank(value));
    }
}

/* The same for values that are the same, however they are written: with their properties in any order, with escapes or
 * without, 1 or 1.0 or 1e0. Of properties named twice the last counts. undefined has a hash, too. Depends on nothing
 * but the key, so that it may be kept and compared in another process. */
static aioc_query_hash aioc_query_hash_of(const uint64_t key[2], aiocosmos_json value)
{
    aioc_query_sip sip;
    aioc_query_sip_open(&sip, key);
    aioc_query_sip_value(&sip, value);
    return aioc_query_sip_close(&sip);
}

/*------------------------------------------------------------------------------
 * Sets of hashes
 *----------------------------------------------------------------------------*/

/* slots[0 .. count - 1] are the hashes, in the order in which they came. Behind the last slot, in the same block, an
 * index with open addressing: twice as many places as slots, each 0 or the number of a slot + 1. Zeroed: empty. */
typedef struct aioc_query_set { aioc_query_hash *slots; uint32_t count, cap; } aioc_query_set;

#define AIOC_QUERY_SET_MIN     16u
#define AIOC_QUERY_SET_MAX     (UINT32_C(1) << 27)                         /* 3 GiB */
#define AIOC_QUERY_SLOT_BYTES  (sizeof(aioc_query_hash) + 2 * sizeof(uint32_t))

static size_t aioc_query_set_bytes(const aioc_query_set *set)
{
    return set->cap * AIOC_QUERY_SLOT_BYTES;
}

/* cap > 0. */
static uint32_t *aioc_query_set_index(const aioc_query_set *set)
{
    return (uint32_t *)(void *)(set->slots + set->cap);
}

/* Its place in the index, or the free one where it would be. */
static uint32_t *aioc_query_set_place(const aioc_query_set *set, aioc_query_hash hash)
{
    uint32_t *index = aioc_query_set_index(set), mask = 2 * set->cap - 1, at;
    for (at = (uint32_t)hash.low & mask; index[at] != 0; at = (at + 1) & mask) {
        const aioc_query_hash *slot = &set->slots[index[at] - 1];
        if (slot->low == hash.low && slot->high == hash.high) break;
    }
    return &index[at];
}

/* Which slot the hash is in, or UINT32_MAX. */
static uint32_t aioc_query_set_find(const aioc_query_set *set, aioc_query_hash hash)
{
    return set->cap > 0 ? *aioc_query_set_place(set, hash) - 1 : UINT32_MAX;
}

static void aioc_query_set_clear(aioc_query_set *set)
{
    if (set->cap > 0) memset(aioc_query_set_index(set), 0, 2 * set->cap * sizeof(uint32_t));
    set->count = 0;
}

static bool aioc_query_set_grow(aioc_memory *memory, aioc_query_set *set)
{
    uint32_t cap = set->cap > 0 ? 2 * set->cap : AIOC_QUERY_SET_MIN, count = set->count, i;
    void *slots;
    if (cap > AIOC_QUERY_SET_MAX) return false;
    slots = aioc_memory_resize(memory, set->slots, aioc_query_set_bytes(set), cap * AIOC_QUERY_SLOT_BYTES);
    if (!slots) return false;
    set->slots = (aioc_query_hash *)slots;
    set->cap = cap;
    aioc_query_set_clear(set);
    for (i = 0; i < count; i++) *aioc_query_set_place(set, set->slots[i]) = i + 1;
    set->count = count;
    return true;
}

/* 1: added, as the last; 0: was there; E_NOMEM. */
static int aioc_query_set_add(aioc_memory *memory, aioc_query_set *set, aioc_query_hash hash)
{
    uint32_t *place = set->cap > 0 ? aioc_query_set_place(set, hash) : NULL;
    if (place && *place != 0) return 0;
    if (set->count == set->cap) {
        if (!aioc_query_set_grow(memory, set)) return AIOCOSMOS_E_NOMEM;
        place = aioc_query_set_place(set, hash);
    }
    set->slots[set->count] = hash;
    *place = ++set->count;
    return 1;
}

static void aioc_query_set_free(aioc_memory *memory, aioc_query_set *set)
{
    aioc_memory_free(memory, set->slots, aioc_query_set_bytes(set));
    memset(set, 0, sizeof *set);
}

/*------------------------------------------------------------------------------
 * Accumulators: what the partial answers for one aggregate come to
 *----------------------------------------------------------------------------*/

typedef enum aioc_query_aggregate {
    AIOC_QUERY_PLAIN,                    /* no aggregate: the first value seen */
    AIOC_QUERY_COUNT, AIOC_QUERY_COUNT_IF, AIOC_QUERY_SUM, AIOC_QUERY_AVERAGE, AIOC_QUERY_MIN, AIOC_QUERY_MAX,
    AIOC_QUERY_MAKE_LIST, AIOC_QUERY_MAKE_SET
} aioc_query_aggregate;

/* A sum, and of how many. Integers are added exactly as long as they fit, and apart from the others. */
typedef struct aioc_query_sum { int64_t whole; double rest; int64_t count; } aioc_query_sum;

/* The elements of a list or set as text, with commas between them. */
typedef struct aioc_query_list { aioc_memory_buffer text; aioc_query_set seen; } aioc_query_list;

#define AIOC_QUERY_SHORT 24u

enum {
    AIOC_QUERY_NOTHING,                  /* no partial answer yet */
    AIOC_QUERY_EXACT, AIOC_QUERY_ROUNDED,                                  /* u.sum: an integer, or a double */
    AIOC_QUERY_BRIEF, AIOC_QUERY_TEXT,                                     /* a value's text in u.brief or u.text */
    AIOC_QUERY_LIST,
    AIOC_QUERY_UNDEFINED                                                   /* and stays so */
};

/* Zeroed: nothing yet. There is one for each alias and group, so short texts need no block of their own. */
typedef struct aioc_query_accumulator {
    union {
        aioc_query_sum sum;
        aioc_memory_buffer text;
        aioc_query_list *list;
        char brief[AIOC_QUERY_SHORT];
    } u;
    uint8_t state, len;                  /* len: of brief */
} aioc_query_accumulator;

static int aioc_query_refuse(const char **why, const char *text)
{
    *why = text;
    return AIOCOSMOS_E_PROTOCOL;
}

/* What it holds besides itself. */
static size_t aioc_query_accumulator_bytes(const aioc_query_accumulator *accumulator)
{
    const aioc_query_list *list = accumulator->u.list;
    if (accumulator->state == AIOC_QUERY_TEXT) return accumulator->u.text.cap;
    if (accumulator->state != AIOC_QUERY_LIST) return 0;
    return sizeof *list + list->text.cap + aioc_query_set_bytes(&list->seen);
}

/* Then it is zeroed again. */
static void aioc_query_accumulator_free(aioc_memory *memory, aioc_query_accumulator *accumulator)
{
    aioc_query_list *list = accumulator->u.list;
    if (accumulator->state == AIOC_QUERY_TEXT) aioc_memory_buffer_free(memory, &accumulator->u.text);
    if (accumulator->state == AIOC_QUERY_LIST) {
        aioc_memory_buffer_free(memory, &list->text);
        aioc_query_set_free(memory, &list->seen);
        aioc_memory_free(memory, list, sizeof *list);
    }
    memset(accumulator, 0, sizeof *accumulator);
}

static void aioc_query_accumulator_spoil(aioc_memory *memory, aioc_query_accumulator *accumulator)
{
    aioc_query_accumulator_free(memory, accumulator);
    accumulator->state = AIOC_QUERY_UNDEFINED;
}

/* Keeps a value's text in place of the one before. */
static bool aioc_query_keep_text(aioc_memory *memory, aioc_query_accumulator *accumulator, aiocosmos_json value)
{
    aioc_memory_buffer text = {NULL, 0, 0};
    if (accumulator->state != AIOC_QUERY_TEXT && value.len <= AIOC_QUERY_SHORT) {
        memcpy(accumulator->u.brief, value.ptr, value.len);
        accumulator->len = (uint8_t)value.len;
        accumulator->state = AIOC_QUERY_BRIEF;
        return true;
    }
    if (accumulator->state == AIOC_QUERY_TEXT) text = accumulator->u.text;
    text.len = 0;
    if (!aioc_memory_append(memory, &text, value.ptr, value.len)) return false;
    accumulator->u.text = text;
    accumulator->state = AIOC_QUERY_TEXT;
    return true;
}

static aiocosmos_str aioc_query_kept_text(const aioc_query_accumulator *accumulator)
{
    bool brief = accumulator->state == AIOC_QUERY_BRIEF;
    aiocosmos_str text;
    text.ptr = brief ? accumulator->u.brief : accumulator->u.text.data;
    text.len = brief ? accumulator->len : accumulator->u.text.len;
    return text;
}

static void aioc_query_add_number(aioc_query_accumulator *accumulator, aiocosmos_json value)
{
    aioc_query_number number = aioc_query_number_of(value);
    aioc_query_sum *sum = &accumulator->u.sum;
    int64_t room = number.integer >= 0 ? INT64_MAX - number.integer : INT64_MIN - number.integer;
    if (accumulator->state == AIOC_QUERY_NOTHING) accumulator->state = AIOC_QUERY_EXACT;
    if (!number.whole) {
        sum->rest += number.real;
        accumulator->state = AIOC_QUERY_ROUNDED;
    } else if (number.integer >= 0 ? sum->whole <= room : sum->whole >= room) {
        sum->whole += number.integer;
    } else {
        sum->rest += (double)sum->whole;
        sum->whole = number.integer;
        accumulator->state = AIOC_QUERY_ROUNDED;
    }
}

static bool aioc_query_is_count(aiocosmos_json value, int64_t *count)
{
    return aioc_json_get_i64(value, count) && *count >= 0;
}

static int aioc_query_add_count(aioc_query_accumulator *accumulator, aiocosmos_json item, const char **why)
{
    int64_t count;
    if (!aioc_query_is_count(item, &count)) return aioc_query_refuse(why, "a COUNT that is not a number");
    aioc_query_add_number(accumulator, item);
    return 0;
}

/* A range where not all values are numbers has no sum, and so has the whole. */
static int aioc_query_add_sum(aioc_query_accumulator *accumulator, aiocosmos_json item, const char **why)
{
    if (item.type != AIOCOSMOS_JSON_NUM && item.type != AIOCOSMOS_JSON_NONE) {
        return aioc_query_refuse(why, "a SUM that is not a number");
    }
    if (item.type == AIOCOSMOS_JSON_NONE) accumulator->state = AIOC_QUERY_UNDEFINED;
    else if (accumulator->state != AIOC_QUERY_UNDEFINED) aioc_query_add_number(accumulator, item);
    return 0;
}

/* {"sum":…,"count":…} */
static int aioc_query_add_average(aioc_query_accumulator *accumulator, aiocosmos_json item, const char **why)
{
    static const char *const names[2] = {"sum", "count"};
    aiocosmos_json field[2];
    int64_t count;
    aioc_json_fields(item, names, 2, field);
    if (!aioc_query_is_count(field[1], &count)) return aioc_query_refuse(why, "an AVG without a count");
    if (aioc_query_add_sum(accumulator, field[0], why) != 0) return aioc_query_refuse(why, "an AVG without a sum");
    if (accumulator->state == AIOC_QUERY_UNDEFINED) return 0;
    if (count > INT64_MAX - accumulator->u.sum.count) return aioc_query_refuse(why, "an AVG of too many");
    accumulator->u.sum.count += count;
    return 0;
}

/* The value, or {"min":value,"count":…}: that way it can be told whether there is nothing, or something without an
 * order, that is, an array or object or undefined. */
static int aioc_query_add_extreme(aioc_memory *memory, aioc_query_accumulator *accumulator, bool max,
                                  aiocosmos_json value, const char **why)
{
    static const char *const of_min[2] = {"min", "count"}, *const of_max[2] = {"max", "count"};
    aiocosmos_json field[2], kept;
    int order = max ? 1 : -1;
    int64_t count;
    if (value.type == AIOCOSMOS_JSON_OBJ) {
        aioc_json_fields(value, max ? of_max : of_min, 2, field);
        if (!aioc_query_is_count(field[1], &count)) {
            return aioc_query_refuse(why, max ? "a MAX without a count" : "a MIN without a count");
        }
        if (count == 0) return 0;
        value = field[0];
    }
    if (accumulator->state == AIOC_QUERY_UNDEFINED) return 0;
    if (value.type == AIOCOSMOS_JSON_NONE || value.type == AIOCOSMOS_JSON_ARR || value.type == AIOCOSMOS_JSON_OBJ) {
        aioc_query_accumulator_spoil(memory, accumulator);
        return 0;
    }
    if (accumulator->state != AIOC_QUERY_NOTHING) {
        kept = aioc_protocol_scalar(aioc_query_kept_text(accumulator));
        if (aioc_query_compare(value, kept) != order) return 0;
    }
    return aioc_query_keep_text(memory, accumulator, value) ? 0 : AIOCOSMOS_E_NOMEM;
}

static int aioc_query_add_elements(aioc_memory *memory, aioc_query_accumulator *accumulator, const uint64_t *key,
                                   bool once, aiocosmos_json array)
{
    aiocosmos_json element = aioc_json_none();
    aioc_query_list *list = accumulator->u.list;
    if (accumulator->state == AIOC_QUERY_NOTHING) {
        list = (aioc_query_list *)aioc_memory_zalloc(memory, sizeof *list);
        if (!list) return AIOCOSMOS_E_NOMEM;
        accumulator->u.list = list;
        accumulator->state = AIOC_QUERY_LIST;
    }
    while (aioc_json_next(array, NULL, &element)) {
        int added = once ? aioc_query_set_add(memory, &list->seen, aioc_query_hash_of(key, element)) : 1;
        if (added == 0) continue;
        if (added < 0 || (list->text.len > 0 && !aioc_memory_append(memory, &list->text, ",", 1)) ||
            !aioc_memory_append(memory, &list->text, element.ptr, element.len)) return AIOCOSMOS_E_NOMEM;
    }
    return 0;
}

/* partial: {"item":…} with maybe an "item2", of AIOC_QUERY_PLAIN the value itself, or NONE. 0; E_NOMEM: the accumulator
 * can only be freed; E_PROTOCOL, and why, such as "a COUNT that is not a number". key: of the hashes of a set. */
static int aioc_query_accumulate(aioc_memory *memory, aioc_query_accumulator *accumulator, const uint64_t key[2],
                                 uint8_t aggregate, aiocosmos_json partial, const char **why)
{
    static const char *const names[2] = {"item", "item2"};
    aiocosmos_json item[2];
    if (aggregate == AIOC_QUERY_PLAIN) {
        if (accumulator->state != AIOC_QUERY_NOTHING) return 0;
        if (partial.type == AIOCOSMOS_JSON_NONE) accumulator->state = AIOC_QUERY_UNDEFINED;
        else if (!aioc_query_keep_text(memory, accumulator, partial)) return AIOCOSMOS_E_NOMEM;
        return 0;
    }
    if (partial.type != AIOCOSMOS_JSON_OBJ) return aioc_query_refuse(why, "an aggregate that is not an object");
    aioc_json_fields(partial, names, 2, item);
    switch (aggregate) {
    case AIOC_QUERY_COUNT: case AIOC_QUERY_COUNT_IF: return aioc_query_add_count(accumulator, item[0], why);
    case AIOC_QUERY_SUM: return aioc_query_add_sum(accumulator, item[0], why);
    case AIOC_QUERY_AVERAGE: return aioc_query_add_average(accumulator, item[0], why);
    case AIOC_QUERY_MIN: case AIOC_QUERY_MAX:
        return aioc_query_add_extreme(memory, accumulator, aggregate == AIOC_QUERY_MAX,
                                      item[1].type != AIOCOSMOS_JSON_NONE ? item[1] : item[0], why);
    default:
        if (item[0].type != AIOCOSMOS_JSON_ARR) return aioc_query_refuse(why, "a MAKELIST or MAKESET without a list");
        return aioc_query_add_elements(memory, accumulator, key, aggregate == AIOC_QUERY_MAKE_SET, item[0]);
    }
}

/* 0: it has no JSON: it is infinite. */
static size_t aioc_query_sum_write(const aioc_query_accumulator *accumulator, uint8_t aggregate,
                                   char out[AIOC_JSON_NUMBER_MAX])
{
    const aioc_query_sum *sum = &accumulator->u.sum;
    double real = sum->rest + (double)sum->whole;
    if (aggregate == AIOC_QUERY_AVERAGE) {
        return sum->count > 0 ? aioc_json_number_write(real / (double)sum->count, out) : 0;
    }
    if (accumulator->state == AIOC_QUERY_ROUNDED) return aioc_json_number_write(real, out);
    return aioc_json_i64_write(sum->whole, out);                           /* 0 if there was nothing */
}

/* 1: the result's JSON is appended; 0: it is undefined; E_NOMEM. */
static int aioc_query_accumulator_append(aioc_memory *memory, const aioc_query_accumulator *accumulator,
                                         uint8_t aggregate, aioc_memory_buffer *out)
{
    const aioc_query_list *list = accumulator->state == AIOC_QUERY_LIST ? accumulator->u.list : NULL;
    char number[AIOC_JSON_NUMBER_MAX];
    aiocosmos_str text = {number, 0};
    size_t before = out->len;
    if (accumulator->state == AIOC_QUERY_UNDEFINED) return 0;
    switch (aggregate) {
    case AIOC_QUERY_MAKE_LIST: case AIOC_QUERY_MAKE_SET:
        if (aioc_memory_append(memory, out, "[", 1) &&
            (!list || aioc_memory_append(memory, out, list->text.data, list->text.len)) &&
            aioc_memory_append(memory, out, "]", 1)) return 1;
        out->len = before;
        return AIOCOSMOS_E_NOMEM;
    case AIOC_QUERY_PLAIN: case AIOC_QUERY_MIN: case AIOC_QUERY_MAX:
        if (accumulator->state != AIOC_QUERY_NOTHING) text = aioc_query_kept_text(accumulator);
        break;
    default: text.len = aioc_query_sum_write(accumulator, aggregate, number);
    }
    if (text.len == 0) return 0;
    return aioc_memory_append(memory, out, text.ptr, text.len) ? 1 : AIOCOSMOS_E_NOMEM;
}

/*------------------------------------------------------------------------------
 * Groups: aggregates with and without GROUP BY
 *----------------------------------------------------------------------------*/

typedef struct aioc_query_alias { aiocosmos_str name; uint8_t aggregate; } aioc_query_alias;    /* name: unescaped */

/* What a plan says of the rows. On the wire they are, without GROUP BY, [{"item":…}] for SELECT VALUE, and else
 * {"payload":{"alias":{"item":…},…}}; with it {"groupByItems":[{"item":…},{}…],"payload":…}, where the payload is an
 * object of aliases, for SELECT VALUE of an aggregate [{"item":…}], or the bare value. */
typedef struct aioc_query_shape {
    const aioc_query_alias *aliases;     /* of an object, in the order of the SELECT list */
    uint32_t alias_count;
    bool grouped;                        /* GROUP BY; else all is one group */
    bool value;                          /* SELECT VALUE: no aliases, but */
    uint8_t value_aggregate;
} aioc_query_shape;

typedef struct aioc_query_groups {
    aioc_memory *memory;
    const aioc_query_shape *shape;       /* lent */
    uint64_t key[2];
    aioc_query_set keys;                 /* GROUP BY: the nth hash is that of the nth group */
    aioc_query_accumulator *cells;       /* width of them for each group */
    uint32_t width, count, cap, given;   /* groups: there, with room, handed out */
    size_t held;                         /* by the cells besides themselves */
    aiocosmos_json *found;               /* of the row being added: the value of each alias */
} aioc_query_groups;

static void aioc_query_groups_open(aioc_query_groups *groups, aioc_memory *memory, const aioc_query_shape *shape,
                                   const uint64_t key[2])
{
    memset(groups, 0, sizeof *groups);
    groups->memory = memory;
    groups->shape = shape;
    groups->key[0] = key[0];
    groups->key[1] = key[1];
    groups->width = shape->value || shape->alias_count == 0 ? 1 : shape->alias_count;
}

/* What it holds, for the limit. */
static size_t aioc_query_groups_bytes(const aioc_query_groups *groups)
{
    return groups->held + aioc_query_set_bytes(&groups->keys) +
           (size_t)groups->cap * groups->width * sizeof *groups->cells +
           (groups->found ? groups->width * sizeof *groups->found : 0);
}

static aioc_query_accumulator *aioc_query_groups_cells(const aioc_query_groups *groups, uint32_t group)
{
    return groups->cells + (size_t)group * groups->width;
}

static void aioc_query_groups_close(aioc_query_groups *groups)
{
    size_t count = (size_t)groups->count * groups->width, i;
    for (i = 0; i < count; i++) aioc_query_accumulator_free(groups->memory, &groups->cells[i]);
    aioc_memory_free(groups->memory, groups->cells, (size_t)groups->cap * groups->width * sizeof *groups->cells);
    aioc_memory_free(groups->memory, groups->found, groups->width * sizeof *groups->found);
    aioc_query_set_free(groups->memory, &groups->keys);
    memset(groups, 0, sizeof *groups);
}

/* Room for one group more. */
static bool aioc_query_groups_reserve(aioc_query_groups *groups)
{
    size_t size = groups->width * sizeof *groups->cells;
    uint32_t cap = groups->cap == 0 ? (groups->shape->grouped ? 8 : 1) : groups->cap * 2;
    void *cells;
    if (groups->count < groups->cap) return true;
    if (groups->cap > UINT32_MAX / 2 || cap > SIZE_MAX / size) return false;
    cells = aioc_memory_resize(groups->memory, groups->cells, groups->cap * size, cap * size);
    if (!cells) return false;
    groups->cells = (aioc_query_accumulator *)cells;
    groups->cap = cap;
    return true;
}

/* The group with this key (without GROUP BY, the only one), new if need be. 0; E_NOMEM. */
static int aioc_query_groups_find(aioc_query_groups *groups, aiocosmos_json key, uint32_t *group)
{
    aioc_query_hash hash = {0, 0};
    *group = 0;
    if (groups->shape->grouped) {
        hash = aioc_query_hash_of(groups->key, key);
        *group = aioc_query_set_find(&groups->keys, hash);
    }
    if (*group < groups->count) return 0;
    if (!aioc_query_groups_reserve(groups)) return AIOCOSMOS_E_NOMEM;
    if (groups->shape->grouped && aioc_query_set_add(groups->memory, &groups->keys, hash) < 0) return AIOCOSMOS_E_NOMEM;
    *group = groups->count++;
    memset(aioc_query_groups_cells(groups, *group), 0, groups->width * sizeof *groups->cells);
    return 0;
}

static int aioc_query_groups_put(aioc_query_groups *groups, aioc_query_accumulator *cell, uint8_t aggregate,
                                 aiocosmos_json partial, const char **why)
{
    size_t before = aioc_query_accumulator_bytes(cell);
    int result = aioc_query_accumulate(groups->memory, cell, groups->key, aggregate, partial, why);
    groups->held = groups->held - before + aioc_query_accumulator_bytes(cell);
    return result;
}

/* Notes the values of the aliases. A payload has them in the order of the aliases, so each is looked for from behind
 * the last one; of those named twice the last counts. */
static void aioc_query_groups_match(aioc_query_groups *groups, aiocosmos_json payload)
{
    const aioc_query_shape *shape = groups->shape;
    aiocosmos_json value = aioc_json_none(), name;
    uint32_t next = 0, tried;
    memset(groups->found, 0, shape->alias_count * sizeof *groups->found);
    while (aioc_json_next(payload, &name, &value)) {
        for (tried = 0; tried < shape->alias_count; tried++) {
            uint32_t alias = next;
            next = next + 1 < shape->alias_count ? next + 1 : 0;
            if (!aioc_json_means(name, shape->aliases[alias].name, false)) continue;
            groups->found[alias] = value;
            break;
        }
    }
}

static int aioc_query_groups_put_object(aioc_query_groups *groups, aioc_query_accumulator *cells,
                                        aiocosmos_json payload, const char **why)
{
    const aioc_query_shape *shape = groups->shape;
    uint32_t i;
    int result = 0;
    if (shape->alias_count == 0) return 0;
    aioc_query_groups_match(groups, payload);
    for (i = 0; i < shape->alias_count && result == 0; i++) {
        result = aioc_query_groups_put(groups, &cells[i], shape->aliases[i].aggregate, groups->found[i], why);
    }
    return result;
}

/* Takes one row from a range. 0; E_NOMEM; E_PROTOCOL, and why: the row contradicts the plan. After an error it can only
 * be closed. */
static int aioc_query_groups_add(aioc_query_groups *groups, aiocosmos_json row, const char **why)
{
    static const char *const names[2] = {"groupByItems", "payload"};
    const aioc_query_shape *shape = groups->shape;
    bool listed = shape->value && shape->value_aggregate != AIOC_QUERY_PLAIN;
    aiocosmos_json field[2], payload = row, element = aioc_json_none();
    aioc_query_accumulator *cells;
    uint32_t group;
    AIOCOSMOS_ASSERT(groups->given == 0);
    if (!shape->value && !groups->found) {
        groups->found = (aiocosmos_json *)aioc_memory_alloc(groups->memory, groups->width * sizeof *groups->found);
        if (!groups->found) return AIOCOSMOS_E_NOMEM;
    }
    aioc_json_fields(row, names, 2, field);
    if (shape->grouped && field[0].type != AIOCOSMOS_JSON_ARR) {
        return aioc_query_refuse(why, "a row without groupByItems");
    }
    if (shape->grouped || !shape->value) payload = field[1];
    if (listed && (payload.type != AIOCOSMOS_JSON_ARR || aioc_json_count(payload) != 1)) {
        return aioc_query_refuse(why, "an aggregate that is not a list of one");
    }
    if (!shape->value && payload.type != AIOCOSMOS_JSON_OBJ) return aioc_query_refuse(why, "a row without a payload");
    if (aioc_query_groups_find(groups, field[0], &group) != 0) return AIOCOSMOS_E_NOMEM;
    cells = aioc_query_groups_cells(groups, group);
    if (!shape->value) return aioc_query_groups_put_object(groups, cells, payload, why);
    if (listed) aioc_json_next(payload, NULL, &element);
    return aioc_query_groups_put(groups, cells, shape->value_aggregate, listed ? element : payload, why);
}

/* 1; E_NOMEM, with a part of it appended. An alias that is undefined is left out. */
static int aioc_query_groups_append_object(const aioc_query_groups *groups, const aioc_query_accumulator *cells,
                                           aioc_memory_buffer *out)
{
    const aioc_query_shape *shape = groups->shape;
    bool some = false;
    uint32_t i;
    if (!aioc_memory_append(groups->memory, out, "{", 1)) return AIOCOSMOS_E_NOMEM;
    for (i = 0; i < shape->alias_count; i++) {
        const aioc_query_alias *alias = &shape->aliases[i];
        size_t before = out->len;
        int result;
        if ((some && !aioc_memory_append(groups->memory, out, ",", 1)) ||
            !aioc_json_append_string(groups->memory, out, alias->name.ptr, alias->name.len, false) ||
            !aioc_memory_append(groups->memory, out, ":", 1)) return AIOCOSMOS_E_NOMEM;
        result = aioc_query_accumulator_append(groups->memory, &cells[i], alias->aggregate, out);
        if (result < 0) return result;
        if (result == 0) out->len = before;
        else some = true;
    }
    return aioc_memory_append(groups->memory, out, "}", 1) ? 1 : AIOCOSMOS_E_NOMEM;
}

/* The results, in the order in which the groups were first seen; each frees what it held. 1: one is appended as JSON;
 * 0: no more; E_NOMEM: nothing is appended, and it may be asked for again. Without GROUP BY there is one, even if no
 * row came. A value that is undefined is no row. */
static int aioc_query_groups_next(aioc_query_groups *groups, aioc_memory_buffer *out)
{
    const aioc_query_shape *shape = groups->shape;
    uint32_t group, i;
    if (!shape->grouped && aioc_query_groups_find(groups, aioc_json_none(), &group) != 0) return AIOCOSMOS_E_NOMEM;
    while (groups->given < groups->count) {
        aioc_query_accumulator *cells = aioc_query_groups_cells(groups, groups->given);
        size_t before = out->len;
        int result = shape->value ? aioc_query_accumulator_append(groups->memory, cells, shape->value_aggregate, out)
                                  : aioc_query_groups_append_object(groups, cells, out);
        if (result < 0) {
            out->len = before;
            return result;
        }
        groups->given++;
        for (i = 0; i < groups->width; i++) {
            groups->held -= aioc_query_accumulator_bytes(&cells[i]);
            aioc_query_accumulator_free(groups->memory, &cells[i]);
        }
        if (result > 0) return 1;
    }
    return 0;
}

/*------------------------------------------------------------------------------
 * Best rows: ORDER BY over ranges that do not give their rows in order, as for a vector search
 *----------------------------------------------------------------------------*/

/* What a row is sorted by in one column. Numbers are read once. Arrays and objects are kept without their texts: their
 * types are all that counts. */
typedef struct aioc_query_best_value { aiocosmos_json json; aioc_query_number number; } aioc_query_best_value;

/* A row that is kept, in one block: this, the values to sort by, their texts, the payload. */
typedef struct aioc_query_best_row {
    uint64_t arrival;
    aioc_query_hash rid;
    size_t size, payload_len;            /* payload_len 0: there is none */
    const char *payload;
} aioc_query_best_row;

typedef struct aioc_query_best {
    aioc_memory *memory;
    const uint8_t *descending;           /* for each column; lent */
    uint32_t columns;
    bool sorted;
    uint64_t key[2], most, arrivals;
    aioc_query_best_row **rows;          /* a heap with the worst on top; once sorted, in order, NULL: handed out */
    size_t count, cap, given, held;      /* held: bytes of the rows */
    aioc_query_set rids;                 /* of the rows in the heap, and of some that left it */
} aioc_query_best;

static void aioc_query_best_open(aioc_query_best *best, aioc_memory *memory, uint64_t most, const uint8_t *descending,
                                 uint32_t columns, const uint64_t key[2])
{
    memset(best, 0, sizeof *best);
    best->memory = memory;
    best->descending = descending;
    best->columns = columns;
    best->most = most;
    best->key[0] = key[0];
    best->key[1] = key[1];
}

/* What it holds, for the limit. */
static size_t aioc_query_best_bytes(const aioc_query_best *best)
{
    return best->held + best->cap * sizeof *best->rows + aioc_query_set_bytes(&best->rids);
}

static void aioc_query_best_free_row(aioc_query_best *best, aioc_query_best_row *row)
{
    if (!row) return;
    best->held -= row->size;
    aioc_memory_free(best->memory, row, row->size);
}

static void aioc_query_best_close(aioc_query_best *best)
{
    size_t i;
    for (i = 0; i < best->count; i++) aioc_query_best_free_row(best, best->rows[i]);
    aioc_memory_free(best->memory, best->rows, best->cap * sizeof *best->rows);
    aioc_query_set_free(best->memory, &best->rids);
    memset(best, 0, sizeof *best);
}

static aioc_query_best_value *aioc_query_best_values(aioc_query_best_row *row)
{
    return (aioc_query_best_value *)(void *)(row + 1);
}

static aioc_query_best_value aioc_query_best_value_of(aiocosmos_json json)
{
    aioc_query_best_value value;
    memset(&value, 0, sizeof value);
    value.json = json;
    if (json.type == AIOCOSMOS_JSON_NUM) value.number = aioc_query_number_of(json);
    return value;
}

static int aioc_query_best_compare(const aioc_query_best_value *a, const aioc_query_best_value *b)
{
    bool numbers = a->json.type == AIOCOSMOS_JSON_NUM && b->json.type == AIOCOSMOS_JSON_NUM;
    return numbers ? aioc_query_compare_numbers(a->number, b->number) : aioc_query_compare(a->json, b->json);
}

/* Of rows that are alike the one that came first is better. */
static bool aioc_query_best_is_worse(const aioc_query_best *best, aioc_query_best_row *a, aioc_query_best_row *b)
{
    uint32_t i;
    for (i = 0; i < best->columns; i++) {
        int order = aioc_query_best_compare(&aioc_query_best_values(a)[i], &aioc_query_best_values(b)[i]);
        if (order != 0) return (order < 0) == (best->descending[i] != 0);
    }
    return a->arrival > b->arrival;
}

/* Lets the row at a place sink among the first count rows until none below it is worse. */
static void aioc_query_best_sink(aioc_query_best *best, size_t at, size_t count)
{
    aioc_query_best_row *row = best->rows[at];
    for (;;) {
        size_t below = 2 * at + 1;
        if (below >= count) break;
        if (below + 1 < count && aioc_query_best_is_worse(best, best->rows[below + 1], best->rows[below])) below++;
        if (!aioc_query_best_is_worse(best, best->rows[below], row)) break;
        best->rows[at] = best->rows[below];
        at = below;
    }
    best->rows[at] = row;
}

static void aioc_query_best_rise(aioc_query_best *best, size_t at)
{
    aioc_query_best_row *row = best->rows[at];
    while (at > 0 && aioc_query_best_is_worse(best, row, best->rows[(at - 1) / 2])) {
        best->rows[at] = best->rows[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    best->rows[at] = row;
}

/* The "item" of what the column sorts by; false: there is no such object. */
static bool aioc_query_best_item(aiocosmos_json items, aiocosmos_json *at, aiocosmos_json *value)
{
    static const char *const names[1] = {"item"};
    if (!aioc_json_next(items, NULL, at) || at->type != AIOCOSMOS_JSON_OBJ) return false;
    aioc_json_fields(*at, names, 1, value);
    return true;
}

/* A row that has just arrived comes before one that is kept. */
static bool aioc_query_best_beats(const aioc_query_best *best, aiocosmos_json items, aioc_query_best_row *kept)
{
    aiocosmos_json at = aioc_json_none(), item;
    uint32_t i;
    for (i = 0; i < best->columns && aioc_query_best_item(items, &at, &item); i++) {
        aioc_query_best_value value = aioc_query_best_value_of(item);
        int order = aioc_query_best_compare(&value, &aioc_query_best_values(kept)[i]);
        if (order != 0) return (order > 0) == (best->descending[i] != 0);
    }
    return false;
}

static bool aioc_query_best_has_text(aiocosmos_json value)
{
    return value.type != AIOCOSMOS_JSON_ARR && value.type != AIOCOSMOS_JSON_OBJ;
}

/* 0, and how large a row's copy is; E_PROTOCOL. */
static int aioc_query_best_measure(const aioc_query_best *best, aiocosmos_json items, aiocosmos_json payload,
                                   size_t *size, const char **why)
{
    aiocosmos_json at = aioc_json_none(), value;
    uint32_t i;
    *size = sizeof(aioc_query_best_row) + best->columns * sizeof(aioc_query_best_value) + payload.len;
    if (items.type != AIOCOSMOS_JSON_ARR || aioc_json_count(items) != best->columns) {
        return aioc_query_refuse(why, "a row without a value for each column of ORDER BY");
    }
    for (i = 0; i < best->columns; i++) {
        if (!aioc_query_best_item(items, &at, &value)) {
            return aioc_query_refuse(why, "a row whose orderByItems are not objects");
        }
        if (aioc_query_best_has_text(value)) *size += value.len;
    }
    return 0;
}

/* NULL: no memory. */
static aioc_query_best_row *aioc_query_best_copy(aioc_query_best *best, aiocosmos_json items, aiocosmos_json payload,
                                                 size_t size)
{
    aioc_query_best_row *row = (aioc_query_best_row *)aioc_memory_alloc(best->memory, size);
    aiocosmos_json at = aioc_json_none(), item;
    aioc_query_best_value *values;
    char *text;
    uint32_t i;
    if (!row) return NULL;
    values = aioc_query_best_values(row);
    text = (char *)(values + best->columns);
    for (i = 0; i < best->columns && aioc_query_best_item(items, &at, &item); i++) {
        values[i] = aioc_query_best_value_of(item);
        values[i].json = aioc_json_none();
        values[i].json.type = item.type;
        if (!aioc_query_best_has_text(item) || item.len == 0) continue;
        memcpy(text, item.ptr, item.len);
        values[i].json.ptr = text;
        values[i].json.len = item.len;
        text += item.len;
    }
    if (payload.len > 0) memcpy(text, payload.ptr, payload.len);
    row->payload = text;
    row->payload_len = payload.len;
    row->size = size;
    row->arrival = best->arrivals++;
    best->held += size;
    return row;
}

static bool aioc_query_best_reserve(aioc_query_best *best)
{
    size_t cap = best->cap > 0 ? best->cap * 2 : 16;
    void *rows;
    if (best->count < best->cap) return true;
    if (cap > SIZE_MAX / 2 / sizeof *best->rows) return false;
    if (cap > best->most) cap = (size_t)best->most;
    rows = aioc_memory_resize(best->memory, best->rows, best->cap * sizeof *best->rows, cap * sizeof *best->rows);
    if (!rows) return false;
    best->rows = (aioc_query_best_row **)rows;
    best->cap = cap;
    return true;
}

/* Remembers a row's _rid. Those that left the heap need not be remembered: what was worse than all of it once is so
 * ever after. They are forgotten when they are as many as the others. */
static int aioc_query_best_note(aioc_query_best *best, aioc_query_hash rid)
{
    size_t i;
    if (best->rids.count == best->rids.cap && best->rids.count / 2 >= best->count) {
        aioc_query_set_clear(&best->rids);
        for (i = 0; i < best->count; i++) aioc_query_set_add(best->memory, &best->rids, best->rows[i]->rid);
    }
    return aioc_query_set_add(best->memory, &best->rids, rid);
}

/* Puts a row on the heap, in place of the worst one if it is full. */
static int aioc_query_best_push(aioc_query_best *best, aioc_query_best_row *row)
{
    bool full = best->count == best->most;
    if (!full && !aioc_query_best_reserve(best)) return AIOCOSMOS_E_NOMEM;
    if (aioc_query_best_note(best, row->rid) < 0) return AIOCOSMOS_E_NOMEM;
    if (full) {
        aioc_query_best_free_row(best, best->rows[0]);
        best->rows[0] = row;
        aioc_query_best_sink(best, 0, best->count);
        return 0;
    }
    best->rows[best->count++] = row;
    aioc_query_best_rise(best, best->count - 1);
    return 0;
}

/* Takes one row from a range, {"_rid":…,"orderByItems":[{"item":…},…],"payload":…}; one with a _rid that a row here has
 * is dropped. 0; E_NOMEM; E_PROTOCOL, and why. */
static int aioc_query_best_add(aioc_query_best *best, aiocosmos_json row, const char **why)
{
    static const char *const names[3] = {"_rid", "orderByItems", "payload"};
    aiocosmos_json field[3];
    aioc_query_best_row *copy;
    aioc_query_hash rid;
    size_t size;
    int result;
    AIOCOSMOS_ASSERT(!best->sorted);
    aioc_json_fields(row, names, 3, field);
    if (field[0].type != AIOCOSMOS_JSON_STR) return aioc_query_refuse(why, "a row without _rid");
    result = aioc_query_best_measure(best, field[1], field[2], &size, why);
    if (result != 0 || best->most == 0) return result;
    if (best->count == best->most && !aioc_query_best_beats(best, field[1], best->rows[0])) return 0;
    rid = aioc_query_hash_of(best->key, field[0]);
    if (aioc_query_set_find(&best->rids, rid) != UINT32_MAX) return 0;
    copy = aioc_query_best_copy(best, field[1], field[2], size);
    if (!copy) return AIOCOSMOS_E_NOMEM;
    copy->rid = rid;
    result = aioc_query_best_push(best, copy);
    if (result != 0) aioc_query_best_free_row(best, copy);
    return result;
}

/* Takes the worst from the top of the heap to its end, until all are in order. */
static void aioc_query_best_sort(aioc_query_best *best)
{
    size_t left;
    for (left = best->count; left > 1; left--) {
        aioc_query_best_row *worst = best->rows[0];
        best->rows[0] = best->rows[left - 1];
        best->rows[left - 1] = worst;
        aioc_query_best_sink(best, 0, left - 1);
    }
    best->sorted = true;
    aioc_query_set_free(best->memory, &best->rids);
}

/* The payloads, the best first; each frees what it held, and no row may be added any more. 1: one is appended; 0: no
 * more; E_NOMEM: nothing is appended, and it may be asked for again. A row without a payload is none. */
static int aioc_query_best_next(aioc_query_best *best, aioc_memory_buffer *out)
{
    if (!best->sorted) aioc_query_best_sort(best);
    while (best->given < best->count) {
        aioc_query_best_row *row = best->rows[best->given];
        bool some = row->payload_len > 0;
        if (!aioc_memory_append(best->memory, out, row->payload, row->payload_len)) return AIOCOSMOS_E_NOMEM;
        best->rows[best->given++] = NULL;
        aioc_query_best_free_row(best, row);
        if (some) return 1;
    }
    return 0;
}

/*------------------------------------------------------------------------------
 * Plans: what the service says must be done with the answers of the ranges (the query plan request's JSON)
 *----------------------------------------------------------------------------*/

/* What is implemented, for x-ms-cosmos-supported-query-features: the service refuses a query that needs another. */
#define AIOC_QUERY_FEATURES \
    "Aggregate,CountIf,DCount,Distinct,GroupBy,HybridSearch,ListAndSetAggregate,MultipleAggregates,MultipleOrderBy," \
    "NonStreamingOrderBy,NonValueAggregate,OffsetAndLimit,OrderBy,Top,WeightedRankFusion"

#define AIOC_QUERY_PLAN_VERSION_MAX 2

enum { AIOC_QUERY_ALL, AIOC_QUERY_DISTINCT_ORDERED, AIOC_QUERY_DISTINCT_UNORDERED };

typedef struct aioc_query_info {                 /* one queryInfo */
    uint8_t  distinct;
    bool     has_top, has_offset, has_limit, has_dcount, non_streaming;
    bool     merges_groups;                      /* aggregates or GROUP BY: rows go through aioc_query_groups */
    uint32_t order_count;                        /* columns of ORDER BY */
    const uint8_t *descending;                   /* one a column, as are the expressions */
    const aiocosmos_str *expressions;            /* len 0: the service did not say it */
    uint64_t top, offset, limit;
    aioc_query_shape shape;
    aiocosmos_str rewritten;                     /* SQL; len 0: the text that was asked */
    aiocosmos_str dcount_alias;                  /* len 0: SELECT VALUE */
} aioc_query_info;

typedef struct aioc_query_span { aiocosmos_str min, max; } aioc_query_span;     /* [min, max) of effective keys */

#define AIOC_QUERY_COMPONENTS_MAX 64

typedef struct aioc_query_component {            /* of a hybrid search: one ranking of the documents */
    aioc_query_info info;
    double weight;
} aioc_query_component;

/* Never changed once it is read, and shared by the queries that have the same text. One block, with all its texts. */
typedef struct aioc_query_plan {
    uint32_t refs;
    size_t   bytes;
    aiocosmos_str text;                          /* the service's JSON, as it came */
    bool     hybrid;                             /* then the hybrid parts count, else info */
    aioc_query_info info;
    const aioc_query_component *components;
    uint32_t component_count;
    bool     needs_statistics;                   /* the statistics' text goes to every range of the container first */
    bool     has_take;
    uint64_t skip, take;
    aiocosmos_str statistics;
    const aioc_query_span *spans;                /* where the answers are; sorted, none overlaps the next */
    uint32_t span_count;
} aioc_query_plan;

/* A plan's block while it is filled: arrays in front, texts behind. No text is longer than it is in the JSON, and no
 * value of the JSON becomes an element larger than a span. */
typedef struct aioc_query_reader {
    aioc_query_plan *plan;
    char *arrays, *texts;
    char *why;
    size_t cap;
} aioc_query_reader;

static void *aioc_query_take(aioc_query_reader *reader, size_t count, size_t size)
{
    void *array = reader->arrays;
    reader->arrays += count * size;
    return array;
}

/* A string, escapes undone; what is no string becomes the empty text. */
static aiocosmos_str aioc_query_take_text(aioc_query_reader *reader, aiocosmos_json value)
{
    aiocosmos_str text = aioc_memory_str(NULL);
    if (value.type != AIOCOSMOS_JSON_STR) return text;
    text.ptr = reader->texts;
    text.len = aioc_json_get_str(value, reader->texts, value.len);         /* the quotes' room takes the NUL */
    reader->texts += text.len;
    return text;
}

static bool aioc_query_absent(aiocosmos_json value)
{
    return value.type == AIOCOSMOS_JSON_NONE || value.type == AIOCOSMOS_JSON_NULL;
}

#define AIOC_QUERY_BLAMED_MAX 80             /* bytes of a plan in a message */

/* "the query plan's <name> is <value>, <but>". Always false. */
static bool aioc_query_blame(aioc_query_reader *reader, const char *name, aiocosmos_json value, const char *but)
{
    char quoted[AIOC_PROTOCOL_QUOTE_MAX + 4] = "missing";
    bool cut = value.len > AIOC_QUERY_BLAMED_MAX;
    aiocosmos_str text;
    text.ptr = value.ptr;
    text.len = cut ? AIOC_QUERY_BLAMED_MAX : value.len;
    if (value.type != AIOCOSMOS_JSON_NONE) aioc_protocol_quote(text, quoted);
    aioc_memory_print(reader->why, reader->cap, "the query plan's %s is %s%s, %s", name, quoted, cut ? "..." : "", but);
    return false;
}

static bool aioc_query_read_count(aioc_query_reader *reader, const char *name, aiocosmos_json value, bool *has,
                                  uint64_t *out)
{
    int64_t number = 0;
    *has = !aioc_query_absent(value);
    if (*has && (!aioc_json_get_i64(value, &number) || number < 0))
        return aioc_query_blame(reader, name, value, "not a count");
    *out = (uint64_t)number;
    return true;
}

/* Plans that come from native code have 0 and 1. */
static bool aioc_query_read_flag(aioc_query_reader *reader, const char *name, aiocosmos_json value, bool *out)
{
    int64_t number = 0;
    *out = false;
    if (aioc_query_absent(value) || aioc_json_get_bool(value, out)) return true;
    if (!aioc_json_get_i64(value, &number) || number < 0 || number > 1)
        return aioc_query_blame(reader, name, value, "neither true nor false");
    *out = number != 0;
    return true;
}

static bool aioc_query_is_list(aioc_query_reader *reader, const char *name, aiocosmos_json value)
{
    return aioc_query_absent(value) || value.type == AIOCOSMOS_JSON_ARR ||
           aioc_query_blame(reader, name, value, "not a list");
}

/* null is a plain value, seen where others are aggregated. */
static bool aioc_query_read_aggregate(aioc_query_reader *reader, const char *name, aiocosmos_json value, uint8_t *out)
{
    static const char *const names[] = { "Count", "CountIf", "Sum", "Average", "Min", "Max", "MakeList", "MakeSet" };
    size_t i;
    *out = AIOC_QUERY_PLAIN;
    if (value.type == AIOCOSMOS_JSON_NULL) return true;
    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!aioc_json_is_str(value, names[i])) continue;
        *out = (uint8_t)(AIOC_QUERY_COUNT + i);
        return true;
    }
    return aioc_query_blame(reader, name, value, "an aggregate that this version does not know");
}

enum {
    AIOC_QUERY_P_DISTINCT, AIOC_QUERY_P_TOP, AIOC_QUERY_P_OFFSET, AIOC_QUERY_P_LIMIT, AIOC_QUERY_P_ORDER,
    AIOC_QUERY_P_EXPRESSIONS, AIOC_QUERY_P_GROUPS, AIOC_QUERY_P_ALIASES, AIOC_QUERY_P_AGGREGATES, AIOC_QUERY_P_TYPES,
    AIOC_QUERY_P_REWRITTEN, AIOC_QUERY_P_VALUE, AIOC_QUERY_P_DCOUNT, AIOC_QUERY_P_NON_STREAMING, AIOC_QUERY_P_COUNT
};

static const char *const aioc_query_info_names[AIOC_QUERY_P_COUNT] = {
    "distinctType", "top", "offset", "limit", "orderBy", "orderByExpressions", "groupByExpressions", "groupByAliases",
    "aggregates", "groupByAliasToAggregateType", "rewrittenQuery", "hasSelectValue", "dCountInfo",
    "hasNonStreamingOrderBy"
};

static bool aioc_query_read_distinct(aioc_query_reader *reader, aiocosmos_json value, aioc_query_info *info)
{
    info->distinct = AIOC_QUERY_ALL;
    if (aioc_query_absent(value) || aioc_json_is_str(value, "None")) return true;
    info->distinct = aioc_json_is_str(value, "Ordered") ? AIOC_QUERY_DISTINCT_ORDERED : AIOC_QUERY_DISTINCT_UNORDERED;
    return info->distinct == AIOC_QUERY_DISTINCT_ORDERED || aioc_json_is_str(value, "Unordered") ||
           aioc_query_blame(reader, "distinctType", value, "which this version does not know");
}

static bool aioc_query_read_order(aioc_query_reader *reader, aiocosmos_json order, aiocosmos_json expressions,
                                  aioc_query_info *info)
{
    aiocosmos_json value = aioc_json_none();
    size_t count = aioc_json_count(order), given = aioc_json_count(expressions), i = 0;
    uint8_t *descending = (uint8_t *)reader->texts;
    aiocosmos_str *texts = (aiocosmos_str *)aioc_query_take(reader, count, sizeof *texts);
    if (given > 0 && given != count)
        return aioc_query_blame(reader, "orderByExpressions", expressions, "not as long as its orderBy");
    reader->texts += count;
    for (; aioc_json_next(order, NULL, &value); i++) {
        descending[i] = aioc_json_is_str(value, "Descending");
        texts[i] = aioc_memory_str(NULL);
        if (!descending[i] && !aioc_json_is_str(value, "Ascending"))
            return aioc_query_blame(reader, "orderBy", value, "which this version does not know");
    }
    for (i = 0; aioc_json_next(expressions, NULL, &value); i++) {
        texts[i] = aioc_query_take_text(reader, value);
        if (value.type != AIOCOSMOS_JSON_STR)
            return aioc_query_blame(reader, "orderByExpressions", value, "not a text");
    }
    info->order_count = (uint32_t)count;
    info->descending = descending;
    info->expressions = texts;
    return true;
}

#define AIOC_QUERY_ALIASES_MAX 4096          /* far more than a query may name; each is looked up among all */

/* What the plan says of an alias. NONE: nothing. */
static aiocosmos_json aioc_query_type_of(aiocosmos_json types, aiocosmos_str alias)
{
    aiocosmos_json found = aioc_json_none(), value = found, key;
    while (aioc_json_next(types, &key, &value))
        if (aioc_json_means(key, alias, false)) found = value;
    return found;
}

/* The types of the aliases are an object. Its properties are in no order that counts; where a plan has no list of the
 * aliases, they are taken in theirs. */
static bool aioc_query_read_aliases(aioc_query_reader *reader, aiocosmos_json list, aiocosmos_json types,
                                    aioc_query_info *info)
{
    aiocosmos_json key = aioc_json_none(), value = key;
    size_t count = aioc_json_count(list), typed = aioc_json_count(types), i = 0;
    bool listed = count > 0;
    aioc_query_alias *aliases;
    if (!aioc_query_absent(types) && types.type != AIOCOSMOS_JSON_OBJ)
        return aioc_query_blame(reader, "groupByAliasToAggregateType", types, "not an object");
    if (listed && count != typed)
        return aioc_query_blame(reader, "groupByAliasToAggregateType", types, "not as long as its groupByAliases");
    if (typed > AIOC_QUERY_ALIASES_MAX)
        return aioc_query_blame(reader, "groupByAliasToAggregateType", types, "which is too long");
    aliases = (aioc_query_alias *)aioc_query_take(reader, typed, sizeof *aliases);
    while (aioc_json_next(listed ? list : types, &key, &value)) {
        aiocosmos_json type = value;
        if (listed) {
            if (value.type != AIOCOSMOS_JSON_STR)
                return aioc_query_blame(reader, "groupByAliases", value, "not a text");
            key = value;
        }
        aliases[i].name = aioc_query_take_text(reader, key);
        if (listed) type = aioc_query_type_of(types, aliases[i].name);
        if (type.type == AIOCOSMOS_JSON_NONE)
            return aioc_query_blame(reader, "groupByAliases", key, "of which it does not say what it is");
        if (!aioc_query_read_aggregate(reader, "groupByAliasToAggregateType", type, &aliases[i].aggregate))
            return false;
        info->merges_groups = info->merges_groups || aliases[i].aggregate != AIOC_QUERY_PLAIN;
        i++;
    }
    info->shape.aliases = aliases;
    info->shape.alias_count = (uint32_t)i;
    return true;
}

static bool aioc_query_read_shape(aioc_query_reader *reader, const aiocosmos_json *fields, aioc_query_info *info)
{
    aiocosmos_json aggregates = fields[AIOC_QUERY_P_AGGREGATES], value = aioc_json_none();
    aioc_query_shape *shape = &info->shape;
    size_t count = aioc_json_count(aggregates);
    shape->grouped = aioc_json_count(fields[AIOC_QUERY_P_GROUPS]) > 0;
    info->merges_groups = shape->grouped;
    if (!aioc_query_read_flag(reader, "hasSelectValue", fields[AIOC_QUERY_P_VALUE], &shape->value) ||
        !aioc_query_read_aliases(reader, fields[AIOC_QUERY_P_ALIASES], fields[AIOC_QUERY_P_TYPES], info)) return false;
    if (count > 1 || (count == 1 && shape->alias_count > 0))
        return aioc_query_blame(reader, "aggregates", aggregates, "more than SELECT VALUE has");
    if (count == 0) return true;
    aioc_json_next(aggregates, NULL, &value);
    if (value.type == AIOCOSMOS_JSON_NULL) return aioc_query_blame(reader, "aggregates", value, "not an aggregate");
    /* Plans of the first version do not say hasSelectValue; an aggregate without an alias is one. */
    if (!shape->value && !aioc_query_absent(fields[AIOC_QUERY_P_VALUE]))
        return aioc_query_blame(reader, "aggregates", value, "but it is not of a SELECT VALUE and has no alias");
    shape->value = true;
    info->merges_groups = true;
    return aioc_query_read_aggregate(reader, "aggregates", value, &shape->value_aggregate);
}

static bool aioc_query_read_info(aioc_query_reader *reader, aiocosmos_json object, aioc_query_info *info)
{
    static const uint8_t lists[] = { AIOC_QUERY_P_ORDER, AIOC_QUERY_P_EXPRESSIONS, AIOC_QUERY_P_GROUPS,
                                     AIOC_QUERY_P_ALIASES, AIOC_QUERY_P_AGGREGATES };
    aiocosmos_json fields[AIOC_QUERY_P_COUNT], dcount, rewritten;
    size_t i;
    memset(info, 0, sizeof *info);
    if (object.type != AIOCOSMOS_JSON_OBJ) return aioc_query_blame(reader, "queryInfo", object, "not an object");
    aioc_json_fields(object, aioc_query_info_names, AIOC_QUERY_P_COUNT, fields);
    for (i = 0; i < sizeof lists; i++)
        if (!aioc_query_is_list(reader, aioc_query_info_names[lists[i]], fields[lists[i]])) return false;
    dcount = fields[AIOC_QUERY_P_DCOUNT];
    rewritten = fields[AIOC_QUERY_P_REWRITTEN];
    info->has_dcount = !aioc_query_absent(dcount);
    if (info->has_dcount && dcount.type != AIOCOSMOS_JSON_OBJ)
        return aioc_query_blame(reader, "dCountInfo", dcount, "not an object");
    if (!aioc_query_absent(rewritten) && rewritten.type != AIOCOSMOS_JSON_STR)
        return aioc_query_blame(reader, "rewrittenQuery", rewritten, "not a text");
    info->rewritten = aioc_query_take_text(reader, rewritten);
    info->dcount_alias = aioc_query_take_text(reader, aioc_json_at(dcount, "/dCountAlias"));
    if (!aioc_query_read_distinct(reader, fields[AIOC_QUERY_P_DISTINCT], info) ||
        !aioc_query_read_count(reader, "top", fields[AIOC_QUERY_P_TOP], &info->has_top, &info->top) ||
        !aioc_query_read_count(reader, "offset", fields[AIOC_QUERY_P_OFFSET], &info->has_offset, &info->offset) ||
        !aioc_query_read_count(reader, "limit", fields[AIOC_QUERY_P_LIMIT], &info->has_limit, &info->limit) ||
        !aioc_query_read_flag(reader, "hasNonStreamingOrderBy", fields[AIOC_QUERY_P_NON_STREAMING],
                              &info->non_streaming) ||
        !aioc_query_read_order(reader, fields[AIOC_QUERY_P_ORDER], fields[AIOC_QUERY_P_EXPRESSIONS], info) ||
        !aioc_query_read_shape(reader, fields, info)) return false;
    /* Rows that come in no order can't be compared with the one before only. */
    if (info->distinct == AIOC_QUERY_DISTINCT_ORDERED && info->order_count == 0)
        info->distinct = AIOC_QUERY_DISTINCT_UNORDERED;
    return true;
}

/*--- Spans ------------------------------------------------------*/

/* What a point of no key at all, which plans of queries without FROM have, ends before. */
#define AIOC_QUERY_EPK_FIRST "00000000000000000000000000000001"

static bool aioc_query_is_hex(aiocosmos_str text)
{
    size_t i;
    for (i = 0; i < text.len; i++) {
        char c = aioc_memory_lower(text.ptr[i]);
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    }
    return text.len % 2 == 0 && text.len < AIOC_PROTOCOL_EPK_MAX;
}

/* The smallest key of the same width above, in place; behind the last one is the end of all. The text is ours. */
static aiocosmos_str aioc_query_epk_successor(aiocosmos_str epk)
{
    char *digits = (char *)(uintptr_t)epk.ptr;
    size_t at = epk.len, i;
    if (epk.len == 0) return aioc_memory_str(AIOC_QUERY_EPK_FIRST);
    while (at > 0 && aioc_memory_lower(digits[at - 1]) == 'f') at--;
    if (at == 0) return aioc_memory_str("FF");
    for (i = at; i < epk.len; i++) digits[i] = '0';
    digits[at - 1] = digits[at - 1] == '9' ? 'A' : (char)(digits[at - 1] + 1);
    return epk;
}

/* A border in hex; proxies that know no hashes say [] and "Infinity" for the ends of the key space. */
static bool aioc_query_read_border(aioc_query_reader *reader, const char *name, aiocosmos_json value,
                                   aiocosmos_str *out)
{
    *out = aioc_memory_str("");
    if (value.type == AIOCOSMOS_JSON_ARR && aioc_json_count(value) == 0) return true;
    if (value.type != AIOCOSMOS_JSON_STR) return aioc_query_blame(reader, name, value, "not an effective key");
    if (aioc_json_is_str(value, "Infinity")) *out = aioc_memory_str("FF");
    else *out = aioc_query_take_text(reader, value);
    return aioc_query_is_hex(*out) || aioc_query_blame(reader, name, value, "not an effective key");
}

static bool aioc_query_read_span(aioc_query_reader *reader, aiocosmos_json value, aioc_query_span *span)
{
    static const char *const names[] = { "min", "max", "isMinInclusive", "isMaxInclusive" };
    aiocosmos_json fields[4];
    bool with_min = true, with_max = false;
    aioc_json_fields(value, names, 4, fields);
    if (!aioc_query_read_border(reader, "queryRanges' min", fields[0], &span->min) ||
        !aioc_query_read_border(reader, "queryRanges' max", fields[1], &span->max)) return false;
    if (!aioc_query_absent(fields[2]) && !aioc_query_read_flag(reader, "isMinInclusive", fields[2], &with_min))
        return false;
    if (!aioc_query_read_flag(reader, "isMaxInclusive", fields[3], &with_max)) return false;
    if (!with_min) span->min = aioc_query_epk_successor(span->min);
    if (with_max) span->max = aioc_query_epk_successor(span->max);
    return aioc_protocol_epk_compare(span->min, span->max) < 0 ||
           aioc_query_blame(reader, "queryRanges", value, "and that has no inside");
}

/* By their starts: a heap, because a plan may have thousands of them and libc's qsort may allocate. */
static void aioc_query_sort_spans(aioc_query_span *spans, size_t count)
{
    size_t left = count / 2, right = count;
    while (right > 1) {
        aioc_query_span moved;
        size_t at, child;
        if (left > 0) moved = spans[--left];
        else {
            moved = spans[--right];
            spans[right] = spans[0];
        }
        for (at = left; (child = 2 * at + 1) < right; at = child) {
            if (child + 1 < right && aioc_protocol_epk_compare(spans[child].min, spans[child + 1].min) < 0) child++;
            if (aioc_protocol_epk_compare(moved.min, spans[child].min) >= 0) break;
            spans[at] = spans[child];
        }
        spans[at] = moved;
    }
}

static bool aioc_query_read_spans(aioc_query_reader *reader, aiocosmos_json list)
{
    aioc_query_plan *plan = reader->plan;
    aiocosmos_json value = aioc_json_none();
    size_t count = aioc_json_count(list), i = 0;
    aioc_query_span *spans = (aioc_query_span *)aioc_query_take(reader, count > 0 ? count : 1, sizeof *spans);
    plan->spans = spans;
    plan->span_count = (uint32_t)(count > 0 ? count : 1);
    if (!aioc_query_is_list(reader, "queryRanges", list)) return false;
    spans[0].min = aioc_memory_str("");
    spans[0].max = aioc_memory_str("FF");
    while (aioc_json_next(list, NULL, &value))
        if (!aioc_query_read_span(reader, value, &spans[i++])) return false;
    aioc_query_sort_spans(spans, count);
    for (i = 1; i < count; i++)
        if (aioc_protocol_epk_compare(spans[i - 1].max, spans[i].min) > 0)
            return aioc_query_blame(reader, "queryRanges", list, "and two of them overlap");
    return true;
}

/*--- Whole plans ----------------------------------------------------*/

static bool aioc_query_read_hybrid(aioc_query_reader *reader, aiocosmos_json hybrid)
{
    static const char *const names[] = { "globalStatisticsQuery", "requiresGlobalStatistics", "componentQueryInfos",
                                         "componentWeights", "skip", "take" };
    aiocosmos_json fields[6], value = aioc_json_none(), weight = value;
    aioc_query_plan *plan = reader->plan;
    aioc_query_component *components;
    size_t count, i = 0;
    bool has_skip;
    plan->hybrid = true;
    aioc_json_fields(hybrid, names, 6, fields);
    if (!aioc_query_is_list(reader, names[2], fields[2]) || !aioc_query_is_list(reader, names[3], fields[3]))
        return false;
    count = aioc_json_count(fields[2]);
    if (count == 0) return aioc_query_blame(reader, names[2], fields[2], "so that nothing is ranked");
    if (count > AIOC_QUERY_COMPONENTS_MAX)
        return aioc_query_blame(reader, names[2], fields[2], "more than this version ranks by");
    if (aioc_json_count(fields[3]) > 0 && aioc_json_count(fields[3]) != count)
        return aioc_query_blame(reader, names[3], fields[3], "not as long as its componentQueryInfos");
    components = (aioc_query_component *)aioc_query_take(reader, count, sizeof *components);
    plan->components = components;
    plan->component_count = (uint32_t)count;
    plan->statistics = aioc_query_take_text(reader, fields[0]);
    if (!aioc_query_read_flag(reader, names[1], fields[1], &plan->needs_statistics) ||
        !aioc_query_read_count(reader, names[4], fields[4], &has_skip, &plan->skip) ||
        !aioc_query_read_count(reader, names[5], fields[5], &plan->has_take, &plan->take)) return false;
    if (plan->needs_statistics && plan->statistics.len == 0)
        return aioc_query_blame(reader, names[0], fields[0], "but it requires global statistics");
    for (; aioc_json_next(fields[2], NULL, &value); i++) {
        aioc_query_component *component = &components[i];
        if (!aioc_query_read_info(reader, value, &component->info)) return false;
        if (component->info.order_count > 1)
            return aioc_query_blame(reader, "componentQueryInfos", value, "which is ordered by more than a score");
        if (component->info.rewritten.len == 0)
            return aioc_query_blame(reader, "componentQueryInfos", value, "which has no query");
        component->weight = 1;
        if (aioc_json_next(fields[3], NULL, &weight) && !aioc_json_get_f64(weight, &component->weight))
            return aioc_query_blame(reader, names[3], weight, "not a weight");
    }
    return true;
}

/* The parts in the order in which their arrays need alignment. */
static int aioc_query_read_root(aioc_query_reader *reader, aiocosmos_json root)
{
    static const char *const names[] = { "queryInfo", "hybridSearchQueryInfo", "queryRanges",
                                         "partitionedQueryExecutionInfoVersion" };
    aiocosmos_json fields[4];
    int64_t version = 0;
    bool ok;
    aioc_json_fields(root, names, 4, fields);
    if (aioc_query_absent(fields[0]) && aioc_query_absent(fields[1])) {
        aioc_memory_print(reader->why, reader->cap, "not a query plan: there is neither queryInfo nor "
                                                    "hybridSearchQueryInfo");
        return AIOCOSMOS_E_ARGUMENT;
    }
    if (!aioc_query_absent(fields[3]) &&
        (!aioc_json_get_i64(fields[3], &version) || version < 0 || version > AIOC_QUERY_PLAN_VERSION_MAX)) {
        aioc_query_blame(reader, names[3], fields[3], "which this version does not know");
        return AIOCOSMOS_E_PROTOCOL;
    }
    if (aioc_query_absent(fields[1])) ok = aioc_query_read_info(reader, fields[0], &reader->plan->info);
    else if (aioc_query_absent(fields[0])) ok = aioc_query_read_hybrid(reader, fields[1]);
    else ok = aioc_query_blame(reader, names[1], fields[1], "but it has a queryInfo too");
    return ok && aioc_query_read_spans(reader, fields[2]) ? 0 : AIOCOSMOS_E_PROTOCOL;
}

static void aioc_query_plan_hold(aioc_query_plan *plan)
{
    plan->refs++;
}

static void aioc_query_plan_release(aioc_memory *memory, aioc_query_plan *plan)
{
    if (plan && --plan->refs == 0) aioc_memory_free(memory, plan, plan->bytes);
}

/* 0 and a plan with one reference; E_NOMEM; E_PROTOCOL and why: it contradicts itself, or says what is not known here.
 * E_ARGUMENT: the JSON is something else than a plan. Unknown properties are ignored. */
static int aioc_query_plan_read(aioc_memory *memory, aiocosmos_str json, aioc_query_plan **out, char *why, size_t cap)
{
    aioc_query_reader reader;
    aiocosmos_json_doc doc;
    aiocosmos_json root;
    size_t components, structs, bytes;
    char *text;
    int result;
    *out = NULL;
    if (cap) *why = 0;
    aioc_json_open(&doc, memory);
    result = aioc_json_parse(&doc, json.ptr, json.len);
    if (result != 0) {
        aioc_memory_print(why, cap, "the query plan is not JSON at byte %llu: %s", aioc_protocol_ull(doc.error_at),
                          doc.error ? doc.error : "");
        aioc_json_close(&doc);
        return result == AIOCOSMOS_E_NOMEM ? result : AIOCOSMOS_E_PROTOCOL;
    }
    root = aioc_json_root(&doc);
    components = aioc_json_count(aioc_json_at(root, "/hybridSearchQueryInfo/componentQueryInfos"));
    structs = sizeof *reader.plan + components * sizeof(aioc_query_component) +
              ((size_t)doc.count + 1) * sizeof(aioc_query_span);
    bytes = structs + 2 * json.len;
    reader.plan = (aioc_query_plan *)aioc_memory_zalloc(memory, bytes);
    if (!reader.plan) {
        aioc_json_close(&doc);
        return AIOCOSMOS_E_NOMEM;
    }
    text = (char *)reader.plan + structs;
    memcpy(text, json.ptr, json.len);
    reader.plan->refs = 1;
    reader.plan->bytes = bytes;
    reader.plan->text.ptr = text;
    reader.plan->text.len = json.len;
    reader.arrays = (char *)(reader.plan + 1);
    reader.texts = text + json.len;
    reader.why = why;
    reader.cap = cap;
    result = aioc_query_read_root(&reader, root);
    aioc_json_close(&doc);
    AIOCOSMOS_ASSERT(reader.arrays <= text && reader.texts <= (char *)reader.plan + bytes);
    if (result == 0) *out = reader.plan;
    else aioc_query_plan_release(memory, reader.plan);
    return result;
}

/*------------------------------------------------------------------------------
 * Texts: the SQL that goes to a range
 *----------------------------------------------------------------------------*/

#define AIOC_QUERY_FILTER "{documentdb-formattableorderbyquery-filter}"

static bool aioc_query_is_word(char c)
{
    char small = aioc_memory_lower(c);
    return (small >= 'a' && small <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '@' || (unsigned char)c >= 0x80;
}

/* Behind what starts at `at`: a string, a comment, a word or a number, or one other byte. */
static size_t aioc_query_skip(aiocosmos_str sql, size_t at)
{
    char c = sql.ptr[at++], next = at < sql.len ? sql.ptr[at] : '\0';
    if (c == '"' || c == '\'') {
        while (at < sql.len && sql.ptr[at] != c) at += sql.ptr[at] == '\\' ? 2 : 1;
        return at < sql.len ? at + 1 : sql.len;
    }
    if (c == '-' && next == '-') {
        while (at < sql.len && sql.ptr[at] != '\n' && sql.ptr[at] != '\r') at++;
        return at;
    }
    if (c == '/' && next == '*') {
        for (at++; at + 1 < sql.len; at++)
            if (sql.ptr[at] == '*' && sql.ptr[at + 1] == '/') return at + 2;
        return sql.len;
    }
    while (aioc_query_is_word(c) && at < sql.len && aioc_query_is_word(sql.ptr[at])) at++;
    return at;
}

/* Where the text stands next outside of strings and comments, from `at` on; sql.len: nowhere. */
static size_t aioc_query_find(aiocosmos_str sql, size_t at, const char *text)
{
    size_t len = strlen(text);
    while (at < sql.len) {
        if (len <= sql.len - at && memcmp(sql.ptr + at, text, len) == 0) return at;
        at = aioc_query_skip(sql, at);
    }
    return sql.len;
}

/* The SQL text with the filter in every place that is kept free for one. *found may be NULL: whether there was one.
 * False: no memory, and nothing is appended. */
static bool aioc_query_append_text(aioc_memory *memory, aioc_memory_buffer *out, aiocosmos_str sql,
                                   aiocosmos_str filter, bool *found)
{
    size_t before = out->len, at = 0;
    bool ok = true;
    if (found) *found = false;
    while (ok && at < sql.len) {
        size_t hole = aioc_query_find(sql, at, AIOC_QUERY_FILTER);
        ok = aioc_memory_append(memory, out, sql.ptr + at, hole - at);
        at = hole;
        if (!ok || hole == sql.len) break;
        ok = aioc_memory_append(memory, out, filter.ptr, filter.len);
        at += sizeof AIOC_QUERY_FILTER - 1;
        if (found) *found = true;
    }
    if (!ok) out->len = before;
    return ok;
}

static bool aioc_query_is_blank(aiocosmos_str token)
{
    char c = *token.ptr;
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || (token.len > 1 && (c == '-' || c == '/'));
}

/* The next token but white space and comments; false: there is none. */
static bool aioc_query_next_token(aiocosmos_str sql, size_t *at, aiocosmos_str *token)
{
    do {
        if (*at == sql.len) return false;
        token->ptr = sql.ptr + *at;
        token->len = aioc_query_skip(sql, *at) - *at;
        *at += token->len;
    } while (aioc_query_is_blank(*token));
    return true;
}

/* Whether a plan made for one set of parameters serves any other: no count that it holds, and nothing of a hybrid
 * search, comes from a parameter, and it is not narrowed to the keys that some of them name. */
static bool aioc_query_plan_is_general(const aioc_query_plan *plan, aiocosmos_str sql)
{
    static const char *const counts[] = { "TOP", "OFFSET", "LIMIT" };
    aiocosmos_str token;
    bool count = false, member = false;                                    /* what the token before this one was */
    size_t at = 0, i;
    if (plan->span_count != 1 || plan->spans->min.len > 0 ||
        !aioc_memory_same_nocase(plan->spans->max, aioc_memory_str("FF"))) return false;
    while (aioc_query_next_token(sql, &at, &token)) {
        if (*token.ptr == '@' && (count || plan->hybrid)) return false;
        if (*token.ptr == '(' && count) continue;
        for (i = 0, count = false; i < 3 && !member; i++)
            count = count || aioc_memory_same_nocase(token, aioc_memory_str(counts[i]));
        member = *token.ptr == '.';
    }
    return true;
}

/*--- Going on behind a row: a filter that a range puts in the place that its query keeps free ---------------------*/

typedef enum aioc_query_side { AIOC_QUERY_FRESH, AIOC_QUERY_LEFT, AIOC_QUERY_TARGET, AIOC_QUERY_RIGHT } aioc_query_side;

/* What is appended, and whether all of it could be. */
typedef struct aioc_query_writer {
    aioc_memory *memory;
    aioc_memory_buffer *out;
    bool ok;
} aioc_query_writer;

static void aioc_query_put(aioc_query_writer *writer, aiocosmos_str text)
{
    writer->ok = writer->ok && aioc_memory_append(writer->memory, writer->out, text.ptr, text.len);
}

static void aioc_query_put_text(aioc_query_writer *writer, const char *text)
{
    aioc_query_put(writer, aioc_memory_str(text));
}

/* test(expression), by the order of types; true and false are one. */
static void aioc_query_put_test(aioc_query_writer *writer, int type, aiocosmos_str expression)
{
    static const char *const tests[] = { "NOT IS_DEFINED(", "IS_NULL(", "IS_BOOLEAN(", "IS_NUMBER(", "IS_STRING(",
                                         "IS_ARRAY(", "IS_OBJECT(" };
    aioc_query_put_text(writer, tests[type]);
    aioc_query_put(writer, expression);
    aioc_query_put_text(writer, ")");
}

/* expression operator value: of scalars. */
static void aioc_query_put_comparison(aioc_query_writer *writer, aiocosmos_str expression, const char *compared,
                                      aiocosmos_json value)
{
    aiocosmos_str literal;
    literal.ptr = value.ptr;
    literal.len = value.len;
    aioc_query_put(writer, expression);
    aioc_query_put_text(writer, compared);
    aioc_query_put(writer, literal);
}

/* The values of the column that are as the one given. Arrays are all alike, and objects. */
static void aioc_query_put_equal(aioc_query_writer *writer, aiocosmos_str expression, aiocosmos_json value)
{
    bool compared = value.type == AIOCOSMOS_JSON_BOOL || value.type == AIOCOSMOS_JSON_NUM ||
                    value.type == AIOCOSMOS_JSON_STR;
    if (compared) aioc_query_put_comparison(writer, expression, " = ", value);
    else aioc_query_put_test(writer, value.type, expression);
}

/* Those behind the value, and with `or_equal` those that are as it: first what is of its type, then the types that come
 * behind it. */
static void aioc_query_put_behind(aioc_query_writer *writer, aiocosmos_str expression, aiocosmos_json value,
                                  bool descending, bool or_equal)
{
    int type = value.type, other;
    aioc_query_put_text(writer, "( ");
    if (type == AIOCOSMOS_JSON_NONE && !descending) {
        aioc_query_put_text(writer, or_equal ? "true" : "IS_DEFINED(");
        if (!or_equal) aioc_query_put(writer, expression);
        if (!or_equal) aioc_query_put_text(writer, ")");
    } else if (type == AIOCOSMOS_JSON_NONE || type == AIOCOSMOS_JSON_ARR || type == AIOCOSMOS_JSON_OBJ) {
        if (or_equal) aioc_query_put_test(writer, type, expression);
        else aioc_query_put_text(writer, "false");
    } else if (descending) aioc_query_put_comparison(writer, expression, or_equal ? " <= " : " < ", value);
    else aioc_query_put_comparison(writer, expression, or_equal ? " >= " : " > ", value);
    for (other = descending ? AIOCOSMOS_JSON_NONE : type + 1; other < (descending ? type : AIOCOSMOS_JSON_OBJ + 1);
         other++) {
        aioc_query_put_text(writer, " OR ");
        aioc_query_put_test(writer, other, expression);
    }
    aioc_query_put_text(writer, " )");
}

/* The filter for what a range still has when the row with these sort values was the last that was given: rows behind
 * it, and, but in ranges left of that row's, those that are as it is. items: its orderByItems. Where an expression is
 * not known it is "true": then whoever reads the range has to drop what was given before. False: no memory, and nothing
 * is appended. */
static bool aioc_query_append_filter(aioc_memory *memory, aioc_memory_buffer *out, const aioc_query_info *info,
                                     aiocosmos_json items, aioc_query_side side)
{
    aiocosmos_json item = aioc_json_none();
    aioc_query_writer writer;
    size_t before = out->len;
    uint32_t i, last = info->order_count - 1;
    bool known = side != AIOC_QUERY_FRESH && info->order_count > 0;
    writer.memory = memory;
    writer.out = out;
    writer.ok = true;
    for (i = 0; known && i <= last; i++) known = info->expressions[i].len > 0;
    if (!known) aioc_query_put_text(&writer, "true");
    for (i = 0; known && i <= last; i++) {
        aiocosmos_str expression = info->expressions[i];
        aiocosmos_json value = aioc_json_none();
        if (aioc_json_next(items, NULL, &item)) value = aioc_json_at(item, "/item");
        if (i < last) aioc_query_put_text(&writer, "( ");
        aioc_query_put_behind(&writer, expression, value, info->descending[i] != 0,
                              i == last && side != AIOC_QUERY_LEFT);
        if (i == last) break;
        aioc_query_put_text(&writer, " OR ( ");
        aioc_query_put_equal(&writer, expression, value);
        aioc_query_put_text(&writer, " AND ");
    }
    for (i = 0; known && i < last; i++) aioc_query_put_text(&writer, " ) )");
    if (!writer.ok) out->len = before;
    return writer.ok;
}

/*--- Resource ids (base64 with '-' for '/'): of 16 bytes, the last eight are the item's, little-endian ------------*/

#define AIOC_QUERY_RID_LEN 24

static bool aioc_query_rid_read(aiocosmos_str rid, uint64_t *item)
{
    char text[AIOC_QUERY_RID_LEN];
    unsigned char bytes[16];
    aiocosmos_str base64;
    size_t i, len, error_at;
    if (rid.len != sizeof text) return false;
    for (i = 0; i < sizeof text; i++) text[i] = rid.ptr[i] == '-' ? '/' : rid.ptr[i];
    base64.ptr = text;
    base64.len = sizeof text;
    if (!aioc_auth_base64_decode(base64, bytes, sizeof bytes, &len, &error_at) || len != sizeof bytes) return false;
    *item = aioc_platform_load64le(bytes + 8);
    return true;
}

/* The order in which a range gives items that are otherwise alike. -1, 0, 1. What is no id comes last, by its bytes. */
static int aioc_query_rid_compare(aiocosmos_str a, aiocosmos_str b)
{
    uint64_t left = 0, right = 0;
    bool left_ok = aioc_query_rid_read(a, &left), right_ok = aioc_query_rid_read(b, &right);
    size_t common = a.len < b.len ? a.len : b.len;
    int order;
    if (left_ok != right_ok) return left_ok ? -1 : 1;
    if (left != right) return left < right ? -1 : 1;
    order = common > 0 ? memcmp(a.ptr, b.ptr, common) : 0;
    if (order == 0) order = a.len < b.len ? -1 : a.len > b.len;
    return order < 0 ? -1 : order > 0;
}

/*------------------------------------------------------------------------------
 * Tokens: where a query stands, as a text that travels
 *----------------------------------------------------------------------------*/

typedef enum aioc_query_place {
    AIOC_QUERY_AT_SERVICE = 1,               /* the service knows: one piece, with its continuation */
    AIOC_QUERY_IN_SEQUENCE,                  /* range after range: begun pieces, then all from rest_min on */
    AIOC_QUERY_IN_ORDER,                     /* behind a row of a merge */
    AIOC_QUERY_IN_ROWS,                      /* in rows that had to be complete first: they are in the token */
    AIOC_QUERY_IN_CHANGES                    /* of the change feed: all pieces */
} aioc_query_place;

typedef struct aioc_query_piece { aiocosmos_str min, max, continuation; } aioc_query_piece;    /* len 0: at the start */

/* Everything that a token says. Texts are lent by the writer, or views of what the reader decoded. */
typedef struct aioc_query_position {
    uint8_t  place;
    bool     has_last;
    char     rid[33];                        /* of the container; "": not known */
    uint32_t piece_count, seen_count, rows_of_rid;
    uint64_t question;                       /* hash of what was asked: the writer's business */
    uint64_t skip_left, take_left;           /* of OFFSET, and of TOP or LIMIT; UINT64_MAX: no limit */
    const aioc_query_piece *pieces;
    aiocosmos_str rest_min;                  /* "FF": nothing else */
    /* IN_ORDER, of the last row given: its range, its orderByItems, its _rid (rows_of_rid: how many rows of that _rid
     * with those values were given). values.len 0: no row was given yet. */
    aiocosmos_str min, max, values, rid_of_row;
    /* DISTINCT: the key of all hashes; with has_last, that of the row before; those of all rows seen. The key travels
     * with a hash only. */
    uint64_t key[2];
    aioc_query_hash last;
    const aioc_query_hash *seen;
    aiocosmos_str rows;                      /* IN_ROWS: what is left to give, a JSON array */
} aioc_query_position;

#define AIOC_QUERY_TOKEN_PREFIX "aq1-"
#define AIOC_QUERY_TOKEN_CHECK  8u           /* bytes of checksum at the end */

#define AIOC_QUERY_TOKEN_KEY    1u           /* flags: which hashes there are */
#define AIOC_QUERY_TOKEN_LAST   2u

/* Seven bits a byte, the lowest first; the highest bit says whether another follows. */
static void aioc_query_put_number(aioc_query_writer *writer, uint64_t number)
{
    unsigned char bytes[10];
    size_t len = 0;
    do {
        bytes[len] = (unsigned char)((number & 127u) | (number > 127u ? 128u : 0u));
        number >>= 7;
        len++;
    } while (number > 0);
    writer->ok = writer->ok && aioc_memory_append(writer->memory, writer->out, bytes, len);
}

static void aioc_query_put_word(aioc_query_writer *writer, uint64_t word)
{
    unsigned char bytes[8];
    aioc_platform_store64le(bytes, word);
    writer->ok = writer->ok && aioc_memory_append(writer->memory, writer->out, bytes, sizeof bytes);
}

static void aioc_query_put_hash(aioc_query_writer *writer, aioc_query_hash hash)
{
    aioc_query_put_word(writer, hash.high);
    aioc_query_put_word(writer, hash.low);
}

static void aioc_query_put_counted(aioc_query_writer *writer, aiocosmos_str text)
{
    aioc_query_put_number(writer, text.len);
    aioc_query_put(writer, text);
}

static void aioc_query_put_position(aioc_query_writer *writer, const aioc_query_position *position)
{
    bool hashes = position->has_last || position->seen_count > 0;
    uint32_t i;
    aioc_query_put_number(writer, position->place);
    aioc_query_put_number(writer, (hashes ? AIOC_QUERY_TOKEN_KEY : 0u) |
                                  (position->has_last ? AIOC_QUERY_TOKEN_LAST : 0u));
    aioc_query_put_word(writer, position->question);
    aioc_query_put_counted(writer, aioc_memory_str(position->rid));
    aioc_query_put_number(writer, position->skip_left);
    aioc_query_put_number(writer, position->take_left + 1);                /* no limit is 0 */
    aioc_query_put_number(writer, position->piece_count);
    for (i = 0; i < position->piece_count; i++) {
        aioc_query_put_counted(writer, position->pieces[i].min);
        aioc_query_put_counted(writer, position->pieces[i].max);
        aioc_query_put_counted(writer, position->pieces[i].continuation);
    }
    aioc_query_put_counted(writer, position->rest_min);
    aioc_query_put_counted(writer, position->min);
    aioc_query_put_counted(writer, position->max);
    aioc_query_put_counted(writer, position->values);
    aioc_query_put_counted(writer, position->rid_of_row);
    aioc_query_put_number(writer, position->rows_of_rid);
    if (hashes) aioc_query_put_word(writer, position->key[0]);
    if (hashes) aioc_query_put_word(writer, position->key[1]);
    if (position->has_last) aioc_query_put_hash(writer, position->last);
    aioc_query_put_number(writer, position->seen_count);
    for (i = 0; i < position->seen_count; i++) aioc_query_put_hash(writer, position->seen[i]);
    aioc_query_put_counted(writer, position->rows);
}

static uint64_t aioc_query_token_sum(const char *bytes, size_t len)
{
    uint64_t hash[2];
    aioc_protocol_murmur3_128(bytes, len, hash);
    return hash[0] ^ hash[1];
}

/* Base64 as RFC 4648, 5 has it: for URLs, and without the padding. */
static bool aioc_query_append_base64(aioc_memory *memory, aioc_memory_buffer *out, const aioc_memory_buffer *bytes)
{
    char *text, *end;
    if (!aioc_memory_reserve(memory, out, bytes->len / 3 * 4 + 4)) return false;
    text = out->data + out->len;
    end = text + aioc_auth_base64_encode(bytes->data, bytes->len, text);
    while (end > text && end[-1] == '=') end--;
    out->len += (size_t)(end - text);
    for (; text < end; text++) *text = *text == '+' ? '-' : *text == '/' ? '_' : *text;
    return true;
}

/* 1: the token is appended; 0: it would be longer than `max`; E_NOMEM. But for 1, nothing is appended. */
static int aioc_query_token_write(aioc_memory *memory, aioc_memory_buffer *out, const aioc_query_position *position,
                                  size_t max)
{
    const size_t prefix = sizeof AIOC_QUERY_TOKEN_PREFIX - 1;
    aioc_memory_buffer bytes;
    aioc_query_writer writer;
    size_t before = out->len;
    int result = AIOCOSMOS_E_NOMEM;
    if (position->rows.len > max || position->seen_count > max / sizeof(aioc_query_hash)) return 0;
    memset(&bytes, 0, sizeof bytes);
    writer.memory = memory;
    writer.out = &bytes;
    writer.ok = true;
    aioc_query_put_position(&writer, position);
    if (writer.ok) aioc_query_put_word(&writer, aioc_query_token_sum(bytes.data, bytes.len));
    if (writer.ok && prefix + (bytes.len * 4 + 2) / 3 > max) result = 0;
    else if (writer.ok && aioc_memory_append(memory, out, AIOC_QUERY_TOKEN_PREFIX, prefix) &&
             aioc_query_append_base64(memory, out, &bytes)) result = 1;
    if (result != 1) out->len = before;
    aioc_memory_buffer_free(memory, &bytes);
    return result;
}

/*--- Reading: a token may come from anybody ------------------------------------*/

/* What is left to read; once something is wrong, all that follows is empty. */
typedef struct aioc_query_cursor {
    const char *at, *end;
    bool ok;
} aioc_query_cursor;

static uint64_t aioc_query_get_number(aioc_query_cursor *cursor)
{
    uint64_t number = 0;
    int shift;
    for (shift = 0; shift < 64 && cursor->at < cursor->end; shift += 7) {
        unsigned char byte = (unsigned char)*cursor->at++;
        number |= (uint64_t)(byte & 127u) << shift;
        if (byte < 128) {
            if (shift == 63 && byte > 1) break;                            /* beyond 64 bits */
            return number;
        }
    }
    cursor->ok = false;
    cursor->end = cursor->at;
    return 0;
}

/* A number that counts what is there, each of so many bytes at least. */
static uint32_t aioc_query_get_count(aioc_query_cursor *cursor, size_t size)
{
    uint64_t count = aioc_query_get_number(cursor);
    if (count <= (size_t)(cursor->end - cursor->at) / size && count <= UINT32_MAX) return (uint32_t)count;
    cursor->ok = false;
    cursor->end = cursor->at;
    return 0;
}

static uint64_t aioc_query_get_word(aioc_query_cursor *cursor)
{
    const unsigned char *at = (const unsigned char *)cursor->at;
    if (cursor->end - cursor->at < 8) {
        cursor->ok = false;
        cursor->end = cursor->at;
        return 0;
    }
    cursor->at += 8;
    return aioc_platform_load64le(at);
}

static aioc_query_hash aioc_query_get_hash(aioc_query_cursor *cursor)
{
    aioc_query_hash hash;
    hash.high = aioc_query_get_word(cursor);
    hash.low = aioc_query_get_word(cursor);
    return hash;
}

static aiocosmos_str aioc_query_get_counted(aioc_query_cursor *cursor)
{
    aiocosmos_str text;
    text.len = aioc_query_get_count(cursor, 1);
    text.ptr = cursor->at;
    cursor->at += text.len;
    return text;
}

static bool aioc_query_get_border(aioc_query_cursor *cursor, aiocosmos_str *out)
{
    *out = aioc_query_get_counted(cursor);
    cursor->ok = cursor->ok && aioc_query_is_hex(*out);
    return cursor->ok;
}

/* Text that goes into a header: one line of ASCII. */
static aiocosmos_str aioc_query_get_line(aioc_query_cursor *cursor)
{
    aiocosmos_str text = aioc_query_get_counted(cursor);
    size_t i;
    for (i = 0; i < text.len; i++) cursor->ok = cursor->ok && text.ptr[i] >= ' ' && text.ptr[i] < 127;
    return text;
}

/* One piece. Pieces follow each other, so none is empty but the one whose query the service keeps. */
static bool aioc_query_get_piece(aioc_query_cursor *cursor, uint8_t place, aiocosmos_str *behind,
                                 aioc_query_piece *piece)
{
    if (!aioc_query_get_border(cursor, &piece->min) || !aioc_query_get_border(cursor, &piece->max)) return false;
    piece->continuation = aioc_query_get_line(cursor);
    if (place == AIOC_QUERY_AT_SERVICE) return cursor->ok = cursor->ok && piece->continuation.len > 0;
    cursor->ok = cursor->ok && aioc_protocol_epk_compare(*behind, piece->min) <= 0 &&
                 aioc_protocol_epk_compare(piece->min, piece->max) < 0;
    *behind = piece->max;
    return cursor->ok;
}

/* Pieces are looked at before there is memory for them: those that are right take about as much as they are long. */
static int aioc_query_get_pieces(aioc_memory *memory, aioc_query_cursor *cursor, aioc_query_position *position,
                                 aiocosmos_str *behind)
{
    uint32_t i, count = aioc_query_get_count(cursor, 3);
    aioc_query_cursor start = *cursor;
    aioc_query_piece piece, *pieces;
    for (i = 0; cursor->ok && i < count; i++) aioc_query_get_piece(cursor, position->place, behind, &piece);
    if (!cursor->ok || count == 0) return 0;
    pieces = (aioc_query_piece *)aioc_memory_alloc(memory, count * sizeof *pieces);
    if (!pieces) return AIOCOSMOS_E_NOMEM;
    position->pieces = pieces;
    position->piece_count = count;
    *behind = aioc_memory_str("");
    for (i = 0; i < count; i++) aioc_query_get_piece(&start, position->place, behind, &pieces[i]);
    return 0;
}

static int aioc_query_get_seen(aioc_memory *memory, aioc_query_cursor *cursor, aioc_query_position *position)
{
    uint32_t i, count = aioc_query_get_count(cursor, sizeof(aioc_query_hash));
    aioc_query_hash *seen;
    if (count == 0) return 0;
    seen = (aioc_query_hash *)aioc_memory_alloc(memory, count * sizeof *seen);
    if (!seen) return AIOCOSMOS_E_NOMEM;
    position->seen = seen;
    position->seen_count = count;
    for (i = 0; i < count; i++) seen[i] = aioc_query_get_hash(cursor);
    return 0;
}

/* A JSON array, its brackets at the ends. */
static bool aioc_query_is_array(aiocosmos_str text)
{
    return text.len >= 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']' &&
           aioc_json_check(text.ptr, text.len, aioc_memory_str(NULL), NULL, NULL, NULL) == 0;
}

/* Behind the JSON value that starts at `at`, in an array that is right. */
static size_t aioc_query_value_end(aiocosmos_str array, size_t at)
{
    bool quoted = false;
    int depth = 0;
    for (; at < array.len; at++) {
        char c = array.ptr[at];
        if (quoted) {
            if (c == '\\') at++;
            else quoted = c != '"';
        } else if (c == '"') quoted = true;
        else if (c == '{' || c == '[') depth++;
        else if ((c == '}' || c == ']') && depth-- == 0) return at;
        else if (c == ',' && depth == 0) return at;
    }
    return array.len;
}

/* [{"item":v},{}...]: objects and nothing else, found without memory. */
static bool aioc_query_is_items(aiocosmos_str text)
{
    size_t at = 1;
    if (!aioc_query_is_array(text)) return false;
    while (at < text.len) {
        while (text.ptr[at] <= ' ') at++;                                  /* there is a bracket behind it */
        if (text.ptr[at] != '{') return false;
        at = aioc_query_value_end(text, at) + 1;
    }
    return true;
}

static bool aioc_query_is_place(const aioc_query_position *position, aiocosmos_str behind)
{
    switch (position->place) {
    case AIOC_QUERY_AT_SERVICE: return position->piece_count == 1;
    case AIOC_QUERY_IN_SEQUENCE: return aioc_protocol_epk_compare(behind, position->rest_min) <= 0;
    case AIOC_QUERY_IN_ORDER:
        return position->values.len == 0 || (aioc_query_is_items(position->values) &&
                                             aioc_protocol_epk_compare(position->min, position->max) < 0);
    case AIOC_QUERY_IN_ROWS: return aioc_query_is_array(position->rows);
    case AIOC_QUERY_IN_CHANGES: return position->piece_count > 0;
    default: return false;
    }
}

/* 0, with cursor->ok false where it is no position; E_NOMEM. */
static int aioc_query_get_position(aioc_memory *memory, aioc_query_cursor *cursor, aioc_query_position *position)
{
    aiocosmos_str rid, behind = aioc_memory_str("");
    uint64_t place = aioc_query_get_number(cursor), flags = aioc_query_get_number(cursor), number;
    if (place > AIOC_QUERY_IN_CHANGES || flags > (AIOC_QUERY_TOKEN_KEY | AIOC_QUERY_TOKEN_LAST)) cursor->ok = false;
    position->place = (uint8_t)place;
    position->question = aioc_query_get_word(cursor);
    rid = aioc_query_get_line(cursor);
    if (rid.len >= sizeof position->rid) cursor->ok = false;
    else if (rid.len > 0) memcpy(position->rid, rid.ptr, rid.len);
    position->skip_left = aioc_query_get_number(cursor);
    position->take_left = aioc_query_get_number(cursor) - 1;
    if (aioc_query_get_pieces(memory, cursor, position, &behind) != 0) return AIOCOSMOS_E_NOMEM;
    aioc_query_get_border(cursor, &position->rest_min);
    aioc_query_get_border(cursor, &position->min);
    aioc_query_get_border(cursor, &position->max);
    position->values = aioc_query_get_counted(cursor);
    position->rid_of_row = aioc_query_get_line(cursor);
    number = aioc_query_get_number(cursor);
    position->rows_of_rid = (uint32_t)number;
    if (number > UINT32_MAX) cursor->ok = false;
    if (flags & AIOC_QUERY_TOKEN_KEY) position->key[0] = aioc_query_get_word(cursor);
    if (flags & AIOC_QUERY_TOKEN_KEY) position->key[1] = aioc_query_get_word(cursor);
    position->has_last = (flags & AIOC_QUERY_TOKEN_LAST) != 0;
    if (position->has_last) position->last = aioc_query_get_hash(cursor);
    if (aioc_query_get_seen(memory, cursor, position) != 0) return AIOCOSMOS_E_NOMEM;
    position->rows = aioc_query_get_counted(cursor);
    cursor->ok = cursor->ok && cursor->at == cursor->end && aioc_query_is_place(position, behind);
    return 0;
}

/* The bytes of a token into the block, less the checksum, which is right. *damaged: they are not. */
static int aioc_query_token_decode(aioc_memory *memory, aiocosmos_str text, aioc_memory_buffer *block, bool *damaged)
{
    static const char digits[] = "AQgw", pairs[] = "AEIMQUYcgkosw048";       /* what may stand last: no bit is lost */
    size_t i, padded = (text.len + 3) / 4 * 4, len = 0, error_at;
    char last = text.len > 0 ? text.ptr[text.len - 1] : '\0';
    aiocosmos_str base64;
    *damaged = text.len % 4 == 1 || (text.len % 4 == 2 && !strchr(digits, last)) ||
               (text.len % 4 == 3 && !strchr(pairs, last));
    if (*damaged) return 0;
    if (!aioc_memory_reserve(memory, block, padded + 1)) return AIOCOSMOS_E_NOMEM;
    for (i = 0; i < padded; i++) {
        char c = i < text.len ? text.ptr[i] : '=';
        block->data[i] = c == '-' ? '+' : c == '_' ? '/' : i < text.len && (c == '+' || c == '/' || c == '=') ? '.' : c;
    }
    base64.ptr = block->data;
    base64.len = padded;
    /* In place: three bytes are written when their four digits have been read. */
    *damaged = !aioc_auth_base64_decode(base64, (unsigned char *)block->data, padded, &len, &error_at) ||
               len < AIOC_QUERY_TOKEN_CHECK;
    if (*damaged) return 0;
    block->len = len - AIOC_QUERY_TOKEN_CHECK;
    *damaged = aioc_platform_load64le((const unsigned char *)block->data + block->len) !=
               aioc_query_token_sum(block->data, block->len);
    return 0;
}

static void aioc_query_position_free(aioc_memory *memory, aioc_query_position *position)
{
    aioc_memory_free(memory, (void *)(uintptr_t)position->pieces, position->piece_count * sizeof *position->pieces);
    aioc_memory_free(memory, (void *)(uintptr_t)position->seen, position->seen_count * sizeof *position->seen);
    memset(position, 0, sizeof *position);
}

/* 0, and *position, whose texts are in the block: the caller frees both. E_NOMEM; E_ARGUMENT and *why: then there is
 * nothing to free. The block must be empty. */
static int aioc_query_token_read(aioc_memory *memory, aiocosmos_str token, aioc_memory_buffer *block,
                                 aioc_query_position *position, const char **why)
{
    const size_t prefix = sizeof AIOC_QUERY_TOKEN_PREFIX - 1;
    aioc_query_cursor cursor;
    aiocosmos_str text;
    bool damaged = false;
    int result;
    memset(position, 0, sizeof *position);
    *why = "not a continuation token of this library";
    if (token.len < prefix || memcmp(token.ptr, "aq", 2) != 0 || token.ptr[3] != '-') return AIOCOSMOS_E_ARGUMENT;
    *why = "a continuation token of another version of this library";
    if (memcmp(token.ptr, AIOC_QUERY_TOKEN_PREFIX, prefix) != 0) return AIOCOSMOS_E_ARGUMENT;
    *why = "a damaged continuation token";
    text.ptr = token.ptr + prefix;
    text.len = token.len - prefix;
    block->len = 0;
    result = aioc_query_token_decode(memory, text, block, &damaged);
    cursor.ok = result == 0 && !damaged;
    if (cursor.ok) {
        cursor.at = block->data;
        cursor.end = block->data + block->len;
        result = aioc_query_get_position(memory, &cursor, position);
    }
    if (result == 0 && cursor.ok) return 0;
    aioc_query_position_free(memory, position);
    aioc_memory_buffer_free(memory, block);
    return result != 0 ? result : AIOCOSMOS_E_ARGUMENT;
}

/*------------------------------------------------------------------------------
 * Hybrid search: several rankings of the same documents, fused by reciprocal rank
 *
 * Every range of the container gives its statistics, which are added up; every component's query, with the sums in
 * it, goes to every range; when all rows are there they are ranked.
 *----------------------------------------------------------------------------*/

#define AIOC_QUERY_RRF          60           /* added to each rank, as the service and all clients do */
#define AIOC_QUERY_HYBRID       "{documentdb-formattablehybridsearchquery-"
#define AIOC_QUERY_HYBRID_DOCUMENTS "totaldocumentcount}"
#define AIOC_QUERY_HYBRID_WORDS "totalwordcount-"
#define AIOC_QUERY_HYBRID_HITS  "hitcountsarray-"

/* A document that some component gave; scores, sources (one byte a component), _rid and payload follow. One that is
 * there already is only noted: a copy, with nothing but its _rid. */
typedef struct aioc_query_found {
    double   fused;
    uint64_t order;                          /* of arrival */
    size_t   bytes, rid_len, payload_len;
    uint32_t component;                      /* that gave it first, or once more */
    bool     copy;
} aioc_query_found;

enum { AIOC_QUERY_NOT_FROM, AIOC_QUERY_FROM, AIOC_QUERY_AMONG_BEST };      /* a source */

typedef struct aioc_query_hybrid {
    aioc_memory *memory;
    aioc_query_plan *plan;
    uint64_t key[2];
    int64_t *sums;                           /* documents; for each statistic its hit counts' number, words, hits */
    size_t   sum_count, sum_cap;
    bool     summed;
    uint8_t  statistic[AIOC_QUERY_COMPONENTS_MAX];         /* which one a number in the texts means */
    bool     named[AIOC_QUERY_COMPONENTS_MAX];             /* whether they have the number */
    aioc_query_found **rows;
    size_t   count, cap, next, row_bytes;
    uint64_t arrived, skip_left, take_left;
    aioc_query_set rids;
} aioc_query_hybrid;

/*--- Statistics and texts ---------------------------------------*/

typedef enum aioc_query_hole_kind {
    AIOC_QUERY_HOLE_NONE, AIOC_QUERY_HOLE_DOCUMENTS, AIOC_QUERY_HOLE_WORDS, AIOC_QUERY_HOLE_HITS,
    AIOC_QUERY_HOLE_UNKNOWN
} aioc_query_hole_kind;

typedef struct aioc_query_hole { aioc_query_hole_kind kind; uint32_t number; size_t at, end; } aioc_query_hole;

static bool aioc_query_starts(aiocosmos_str text, const char *with)
{
    size_t len = strlen(with);
    return text.len >= len && memcmp(text.ptr, with, len) == 0;
}

/* The next place that a text keeps free for statistics. */
static aioc_query_hole aioc_query_next_hole(aiocosmos_str sql, size_t at)
{
    aioc_query_hole hole;
    aiocosmos_str name;
    uint64_t number = 0;
    const char *close;
    size_t prefix;
    hole.kind = AIOC_QUERY_HOLE_NONE;
    hole.number = 0;
    hole.at = hole.end = aioc_query_find(sql, at, AIOC_QUERY_HYBRID);
    if (hole.at == sql.len) return hole;
    hole.kind = AIOC_QUERY_HOLE_UNKNOWN;
    name.ptr = sql.ptr + hole.at + sizeof AIOC_QUERY_HYBRID - 1;
    name.len = (size_t)(sql.ptr + sql.len - name.ptr);
    close = (const char *)memchr(name.ptr, '}', name.len);
    if (!close) return hole;
    name.len = (size_t)(close + 1 - name.ptr);
    hole.end = (size_t)(close + 1 - sql.ptr);
    if (aioc_memory_same(name, aioc_memory_str(AIOC_QUERY_HYBRID_DOCUMENTS))) {
        hole.kind = AIOC_QUERY_HOLE_DOCUMENTS;
        return hole;
    }
    if (!aioc_query_starts(name, AIOC_QUERY_HYBRID_WORDS) && !aioc_query_starts(name, AIOC_QUERY_HYBRID_HITS))
        return hole;
    prefix = sizeof AIOC_QUERY_HYBRID_WORDS - 1;                           /* both are as long */
    hole.kind = *name.ptr == 't' ? AIOC_QUERY_HOLE_WORDS : AIOC_QUERY_HOLE_HITS;
    name.ptr += prefix;
    name.len -= prefix + 1;
    if (!aioc_memory_parse_u64(name, &number) || number >= AIOC_QUERY_COMPONENTS_MAX)
        hole.kind = AIOC_QUERY_HOLE_UNKNOWN;
    hole.number = (uint32_t)number;
    return hole;
}

/* Keeps the plan until it is closed. 0. The statistics are in the order of the components that have some, but gateways
 * count all components in the numbers of the texts; numbers without gaps mean what they say. */
static int aioc_query_hybrid_open(aioc_query_hybrid *hybrid, aioc_memory *memory, aioc_query_plan *plan,
                                  const uint64_t key[2])
{
    aioc_query_hole hole;
    uint32_t i;
    uint8_t next = 0;
    memset(hybrid, 0, sizeof *hybrid);
    hybrid->memory = memory;
    hybrid->plan = plan;
    hybrid->key[0] = key[0];
    hybrid->key[1] = key[1];
    hybrid->skip_left = plan->skip;
    hybrid->take_left = plan->has_take ? plan->take : UINT64_MAX;
    aioc_query_plan_hold(plan);
    for (i = 0; i < plan->component_count; i++) {
        aiocosmos_str sql = plan->components[i].info.rewritten;
        for (hole = aioc_query_next_hole(sql, 0); hole.at < sql.len; hole = aioc_query_next_hole(sql, hole.end)) {
            if (hole.kind == AIOC_QUERY_HOLE_UNKNOWN) break;               /* to be refused when the text is made */
            if (hole.kind != AIOC_QUERY_HOLE_DOCUMENTS) hybrid->named[hole.number] = true;
        }
    }
    for (i = 0; i < AIOC_QUERY_COMPONENTS_MAX; i++) {
        hybrid->statistic[i] = next;
        if (hybrid->named[i]) next++;
    }
    return 0;
}

#define AIOC_QUERY_HYBRID_MISMATCH "the statistics of two ranges do not match"

/* The next sum: set by the first row, added to by the others. counted: it says how many follow, and must be the same in
 * each. */
static int aioc_query_hybrid_sum(aioc_query_hybrid *hybrid, size_t *at, int64_t number, bool counted, const char **why)
{
    int64_t *sum;
    *why = AIOC_QUERY_HYBRID_MISMATCH;
    if (!hybrid->summed && *at == hybrid->sum_cap) {
        size_t cap = hybrid->sum_cap > 0 ? 2 * hybrid->sum_cap : 8;
        sum = (int64_t *)aioc_memory_resize(hybrid->memory, hybrid->sums, hybrid->sum_cap * sizeof *sum,
                                            cap * sizeof *sum);
        if (!sum) return AIOCOSMOS_E_NOMEM;
        hybrid->sums = sum;
        hybrid->sum_cap = cap;
    }
    if (hybrid->summed && *at >= hybrid->sum_count) return AIOCOSMOS_E_PROTOCOL;
    sum = &hybrid->sums[(*at)++];
    if (!hybrid->summed) *sum = number;
    else if (counted && *sum != number) return AIOCOSMOS_E_PROTOCOL;
    else if (!counted) *sum = *sum > INT64_MAX - number ? INT64_MAX : *sum + number;
    return 0;
}

/* A sum of nothing is undefined, and so left out: none. */
static bool aioc_query_hybrid_number(aiocosmos_json value, int64_t *out)
{
    *out = 0;
    return value.type == AIOCOSMOS_JSON_NONE || (aioc_json_get_i64(value, out) && *out >= 0);
}

static int aioc_query_hybrid_sum_one(aioc_query_hybrid *hybrid, aiocosmos_json statistic, size_t *at, const char **why)
{
    static const char *const names[] = { "totalWordCount", "hitCounts" };
    aiocosmos_json fields[2], hit = aioc_json_none();
    int64_t number;
    int result;
    aioc_json_fields(statistic, names, 2, fields);
    *why = "full text statistics that are no word count and no list of hit counts";
    if (fields[1].type != AIOCOSMOS_JSON_ARR || !aioc_query_hybrid_number(fields[0], &number))
        return AIOCOSMOS_E_PROTOCOL;
    result = aioc_query_hybrid_sum(hybrid, at, (int64_t)aioc_json_count(fields[1]), true, why);
    if (result == 0) result = aioc_query_hybrid_sum(hybrid, at, number, false, why);
    while (result == 0 && aioc_json_next(fields[1], NULL, &hit)) {
        *why = "a hit count that is not a number";
        if (!aioc_query_hybrid_number(hit, &number)) return AIOCOSMOS_E_PROTOCOL;
        result = aioc_query_hybrid_sum(hybrid, at, number, false, why);
    }
    return result;
}

/* One range's row of the statistics' query. 0; E_NOMEM; E_PROTOCOL and *why. */
static int aioc_query_hybrid_add_statistics(aioc_query_hybrid *hybrid, aiocosmos_json row, const char **why)
{
    static const char *const names[] = { "documentCount", "fullTextStatistics" };
    aiocosmos_json fields[2], statistic = aioc_json_none();
    int64_t documents;
    size_t at = 0;
    int result;
    aioc_json_fields(row, names, 2, fields);
    *why = "full text statistics without a document count";
    if (fields[0].type != AIOCOSMOS_JSON_NUM || !aioc_query_hybrid_number(fields[0], &documents) ||
        fields[1].type != AIOCOSMOS_JSON_ARR) return AIOCOSMOS_E_PROTOCOL;
    result = aioc_query_hybrid_sum(hybrid, &at, documents, false, why);
    while (result == 0 && aioc_json_next(fields[1], NULL, &statistic))
        result = aioc_query_hybrid_sum_one(hybrid, statistic, &at, why);
    if (result != 0) return result;
    *why = AIOC_QUERY_HYBRID_MISMATCH;
    if (hybrid->summed && at != hybrid->sum_count) return AIOCOSMOS_E_PROTOCOL;
    hybrid->summed = true;
    hybrid->sum_count = at;
    return 0;
}

/* Where a statistic's sums are; false: there is none. */
static bool aioc_query_hybrid_find(const aioc_query_hybrid *hybrid, uint32_t statistic, size_t *at)
{
    for (*at = 1; *at < hybrid->sum_count; *at += 2 + (size_t)hybrid->sums[*at])
        if (statistic-- == 0) return true;
    return false;
}

static bool aioc_query_hybrid_fill(const aioc_query_hybrid *hybrid, const aioc_query_hole *hole,
                                   aioc_query_writer *writer)
{
    size_t at = 0, i;
    char digits[24];
    aiocosmos_str number;
    number.ptr = digits;
    if (!hybrid->summed || hole->kind == AIOC_QUERY_HOLE_UNKNOWN) return false;
    if (hole->kind != AIOC_QUERY_HOLE_DOCUMENTS &&
        !aioc_query_hybrid_find(hybrid, hybrid->statistic[hole->number], &at)) return false;
    if (hole->kind != AIOC_QUERY_HOLE_HITS) {
        number.len = aioc_json_i64_write(hybrid->sums[hole->kind == AIOC_QUERY_HOLE_WORDS ? at + 1 : 0], digits);
        aioc_query_put(writer, number);
        return true;
    }
    for (i = 0; i < (size_t)hybrid->sums[at]; i++) {
        aioc_query_put_text(writer, i > 0 ? "," : "[");
        number.len = aioc_json_i64_write(hybrid->sums[at + 2 + i], digits);
        aioc_query_put(writer, number);
    }
    aioc_query_put_text(writer, i > 0 ? "]" : "[]");
    return true;
}

/* A component's query with the sums in their places, appended. 0; E_NOMEM; E_PROTOCOL and why. */
static int aioc_query_hybrid_component_text(aioc_query_hybrid *hybrid, uint32_t component, aioc_memory_buffer *sql,
                                            char *why, size_t cap)
{
    aiocosmos_str text = hybrid->plan->components[component].info.rewritten, part;
    size_t before = sql->len, at = 0;
    aioc_query_writer writer;
    writer.memory = hybrid->memory;
    writer.out = sql;
    writer.ok = true;
    while (writer.ok && at < text.len) {
        aioc_query_hole hole = aioc_query_next_hole(text, at);
        part.ptr = text.ptr + at;
        part.len = hole.at - at;
        writer.ok = aioc_query_append_text(hybrid->memory, sql, part, aioc_memory_str("true"), NULL);
        at = hole.end;
        if (!writer.ok || hole.kind == AIOC_QUERY_HOLE_NONE || aioc_query_hybrid_fill(hybrid, &hole, &writer)) continue;
        sql->len = before;
        part.ptr = text.ptr + hole.at;
        part.len = hole.end > hole.at ? hole.end - hole.at : text.len - hole.at;
        aioc_memory_print(why, cap, "the query plan wants %.*s, which the ranges' statistics do not have",
                          part.len < 100 ? (int)part.len : 100, part.ptr);
        return AIOCOSMOS_E_PROTOCOL;
    }
    if (!writer.ok) sql->len = before;
    return writer.ok ? 0 : AIOCOSMOS_E_NOMEM;
}

/*--- Rows ---------------------------------------------------*/

static double *aioc_query_found_scores(aioc_query_found *row)
{
    return (double *)(void *)(row + 1);
}

static uint8_t *aioc_query_found_sources(const aioc_query_hybrid *hybrid, aioc_query_found *row)
{
    return (uint8_t *)(aioc_query_found_scores(row) + hybrid->plan->component_count);
}

static char *aioc_query_found_rid(const aioc_query_hybrid *hybrid, aioc_query_found *row)
{
    if (row->copy) return (char *)(row + 1);
    return (char *)(aioc_query_found_sources(hybrid, row) + hybrid->plan->component_count);
}

static bool aioc_query_hybrid_ascends(const aioc_query_hybrid *hybrid, uint32_t component)
{
    const aioc_query_info *info = &hybrid->plan->components[component].info;
    return info->order_count > 0 && !info->descending[0];
}

/* A score that there is not is behind all that are. */
static bool aioc_query_hybrid_score(const aioc_query_hybrid *hybrid, uint32_t component, aiocosmos_json value,
                                    double *out)
{
    *out = aioc_query_hybrid_ascends(hybrid, component) ? DBL_MAX : -DBL_MAX;
    return value.type == AIOCOSMOS_JSON_NONE || aioc_json_get_f64(value, out);
}

typedef struct aioc_query_hybrid_row { aiocosmos_json rid, items, scores, payload; } aioc_query_hybrid_row;

/* Gateways put the scores beside the payload, or both into one. */
static bool aioc_query_hybrid_read_row(aiocosmos_json row, aioc_query_hybrid_row *out, const char **why)
{
    static const char *const names[] = { "_rid", "orderByItems", "componentScores", "payload" };
    aiocosmos_json fields[4], inner[2];
    aioc_json_fields(row, names, 4, fields);
    out->rid = fields[0];
    out->items = fields[1];
    out->scores = fields[2];
    out->payload = fields[3];
    if (out->scores.type == AIOCOSMOS_JSON_NONE) {
        aioc_json_fields(fields[3], names + 2, 2, inner);
        out->scores = inner[0];
        out->payload = inner[1];
    }
    *why = "a row of a hybrid search without a _rid";
    if (out->rid.type != AIOCOSMOS_JSON_STR || out->rid.len <= 2) return false;
    *why = "a row of a hybrid search without componentScores";
    return out->scores.type == AIOCOSMOS_JSON_ARR;
}

/* A single component orders its rows by what the query does. */
static bool aioc_query_hybrid_read_scores(const aioc_query_hybrid *hybrid, const aioc_query_hybrid_row *from,
                                          double *scores, const char **why)
{
    aiocosmos_json value = aioc_json_none();
    size_t count = aioc_json_count(from->scores);
    uint32_t i;
    *why = "componentScores that are not a number for each component";
    if (count != 0 && count != hybrid->plan->component_count) return false;
    for (i = 0; i < hybrid->plan->component_count; i++) {
        if (count > 0) aioc_json_next(from->scores, NULL, &value);
        if (value.type == AIOCOSMOS_JSON_NULL || !aioc_query_hybrid_score(hybrid, i, value, &scores[i])) return false;
    }
    if (i > 1 || from->items.type != AIOCOSMOS_JSON_ARR) return true;
    *why = "a score that is not a number";
    return aioc_query_hybrid_score(hybrid, 0, aioc_json_at(from->items, "/0/item"), &scores[0]);
}

static bool aioc_query_hybrid_reserve(aioc_query_hybrid *hybrid)
{
    size_t cap = hybrid->cap > 0 ? hybrid->cap * 2 : 64;
    aioc_query_found **rows;
    if (hybrid->count < hybrid->cap) return true;
    rows = (aioc_query_found **)aioc_memory_resize(hybrid->memory, hybrid->rows, hybrid->cap * sizeof *rows,
                                                   cap * sizeof *rows);
    if (!rows) return false;
    hybrid->rows = rows;
    hybrid->cap = cap;
    return true;
}

static void aioc_query_hybrid_drop(aioc_query_hybrid *hybrid, aioc_query_found *row)
{
    if (row) hybrid->row_bytes -= row->bytes;
    if (row) aioc_memory_free(hybrid->memory, row, row->bytes);
}

/* A row that is there already shrinks to its _rid. 0; E_NOMEM, and then the row is as it was. */
static int aioc_query_hybrid_shrink(aioc_query_hybrid *hybrid, aioc_query_found **row, aiocosmos_json rid)
{
    size_t bytes = sizeof **row + rid.len - 2;
    aioc_query_found *small = (aioc_query_found *)aioc_memory_resize(hybrid->memory, *row, (*row)->bytes, bytes);
    if (!small) return AIOCOSMOS_E_NOMEM;
    small->bytes = bytes;
    small->copy = true;
    small->payload_len = 0;
    memcpy(aioc_query_found_rid(hybrid, small), rid.ptr + 1, rid.len - 2);
    *row = small;
    return 0;
}

/* A row of a component's query from some range. 0; E_NOMEM; E_PROTOCOL and *why. */
static int aioc_query_hybrid_add_row(aioc_query_hybrid *hybrid, uint32_t component, aiocosmos_json row,
                                     const char **why)
{
    size_t bytes = sizeof(aioc_query_found) + hybrid->plan->component_count * (sizeof(double) + 1);
    aioc_query_hybrid_row from;
    aioc_query_found *found;
    char *text;
    int result = AIOCOSMOS_E_PROTOCOL;
    if (!aioc_query_hybrid_read_row(row, &from, why)) return AIOCOSMOS_E_PROTOCOL;
    bytes += from.rid.len - 2 + from.payload.len;
    if (!aioc_query_hybrid_reserve(hybrid)) return AIOCOSMOS_E_NOMEM;
    found = (aioc_query_found *)aioc_memory_zalloc(hybrid->memory, bytes);
    if (!found) return AIOCOSMOS_E_NOMEM;
    found->bytes = bytes;
    found->order = hybrid->arrived;
    found->component = component;
    found->rid_len = from.rid.len - 2;
    found->payload_len = from.payload.len;
    text = aioc_query_found_rid(hybrid, found);
    memcpy(text, from.rid.ptr + 1, found->rid_len);
    if (from.payload.len > 0) memcpy(text + found->rid_len, from.payload.ptr, from.payload.len);
    aioc_query_found_sources(hybrid, found)[component] = AIOC_QUERY_FROM;
    if (aioc_query_hybrid_read_scores(hybrid, &from, aioc_query_found_scores(found), why))
        result = aioc_query_set_add(hybrid->memory, &hybrid->rids, aioc_query_hash_of(hybrid->key, from.rid));
    if (result == 0) result = aioc_query_hybrid_shrink(hybrid, &found, from.rid);
    if (result < 0) {
        aioc_memory_free(hybrid->memory, found, found->bytes);
        return result;
    }
    hybrid->arrived++;
    hybrid->row_bytes += found->bytes;
    hybrid->rows[hybrid->count++] = found;
    return 0;
}

/*--- Ranking ------------------------------------------------*/

/* Whether a stands before b in the sorting that is meant; no two rows are alike. */
typedef bool (*aioc_query_before)(const aioc_query_hybrid *hybrid, uint32_t component, aioc_query_found *a,
                                  aioc_query_found *b);

static bool aioc_query_before_by_rid(const aioc_query_hybrid *hybrid, uint32_t component, aioc_query_found *a,
                                     aioc_query_found *b)
{
    size_t common = a->rid_len < b->rid_len ? a->rid_len : b->rid_len;
    int order = memcmp(aioc_query_found_rid(hybrid, a), aioc_query_found_rid(hybrid, b), common);
    (void)component;
    if (order == 0 && a->rid_len == b->rid_len) return a->order < b->order;
    return order == 0 ? a->rid_len < b->rid_len : order < 0;
}

static bool aioc_query_before_by_score(const aioc_query_hybrid *hybrid, uint32_t component, aioc_query_found *a,
                                       aioc_query_found *b)
{
    double left = aioc_query_found_scores(a)[component], right = aioc_query_found_scores(b)[component];
    if (left < right || left > right) return aioc_query_hybrid_ascends(hybrid, component) ? left < right : left > right;
    return a->order < b->order;
}

static bool aioc_query_before_by_fused(const aioc_query_hybrid *hybrid, uint32_t component, aioc_query_found *a,
                                       aioc_query_found *b)
{
    if (a->fused < b->fused || a->fused > b->fused) return a->fused > b->fused;
    return aioc_query_before_by_rid(hybrid, component, a, b);
}

/* Heap sort: in place, and its time is known. */
static void aioc_query_hybrid_sort(aioc_query_hybrid *hybrid, uint32_t component, aioc_query_before before)
{
    aioc_query_found **rows = hybrid->rows, *moved;
    size_t left = hybrid->count / 2, right = hybrid->count, at, child;
    while (right > 1) {
        if (left > 0) moved = rows[--left];
        else {
            moved = rows[--right];
            rows[right] = rows[0];
        }
        for (at = left; (child = 2 * at + 1) < right; at = child) {
            if (child + 1 < right && before(hybrid, component, rows[child], rows[child + 1])) child++;
            if (!before(hybrid, component, moved, rows[child])) break;
            rows[at] = rows[child];
        }
        rows[at] = moved;
    }
}

/* Each document once: the copies say which other components gave it. */
static void aioc_query_hybrid_coalesce(aioc_query_hybrid *hybrid)
{
    size_t i, kept = 0;
    aioc_query_hybrid_sort(hybrid, 0, aioc_query_before_by_rid);
    for (i = 0; i < hybrid->count; i++) {
        aioc_query_found *row = hybrid->rows[i];
        if (!row->copy) hybrid->rows[kept++] = row;
        else {
            aioc_query_found_sources(hybrid, hybrid->rows[kept - 1])[row->component] = AIOC_QUERY_FROM;
            aioc_query_hybrid_drop(hybrid, row);
        }
    }
    hybrid->count = kept;
}

/* Each range gave its best rows of a component; those that are among the best of all ranges count. */
static void aioc_query_hybrid_cut(aioc_query_hybrid *hybrid, uint32_t component)
{
    const aioc_query_info *info = &hybrid->plan->components[component].info;
    uint64_t place = 0, first = info->has_offset ? info->offset : 0, most = info->has_limit ? info->limit : UINT64_MAX;
    size_t i;
    if (info->has_top && info->top < most) most = info->top;
    aioc_query_hybrid_sort(hybrid, component, aioc_query_before_by_score);
    for (i = 0; i < hybrid->count; i++) {
        uint8_t *source = &aioc_query_found_sources(hybrid, hybrid->rows[i])[component];
        if (*source == AIOC_QUERY_NOT_FROM) continue;
        if (place >= first && place - first < most) *source = AIOC_QUERY_AMONG_BEST;
        place++;
    }
}

static void aioc_query_hybrid_drop_worse(aioc_query_hybrid *hybrid)
{
    size_t i, kept = 0;
    for (i = 0; i < hybrid->count; i++) {
        aioc_query_found *row = hybrid->rows[i];
        if (memchr(aioc_query_found_sources(hybrid, row), AIOC_QUERY_AMONG_BEST, hybrid->plan->component_count))
            hybrid->rows[kept++] = row;
        else aioc_query_hybrid_drop(hybrid, row);
    }
    hybrid->count = kept;
}

/* Adds what a component is worth to each row. Equal scores share a rank, and the next one follows it. */
static void aioc_query_hybrid_fuse(aioc_query_hybrid *hybrid, uint32_t component)
{
    double weight = hybrid->plan->component_count > 1 ? hybrid->plan->components[component].weight : 1;
    double rank = 1, before = 0;
    size_t i;
    aioc_query_hybrid_sort(hybrid, component, aioc_query_before_by_score);
    for (i = 0; i < hybrid->count; i++) {
        double score = aioc_query_found_scores(hybrid->rows[i])[component];
        if (i > 0 && (score < before || score > before)) rank++;
        before = score;
        hybrid->rows[i]->fused += weight / (AIOC_QUERY_RRF + rank);
    }
}

/* When all rows are there: ranks and fuses them. 0. */
static int aioc_query_hybrid_finish(aioc_query_hybrid *hybrid)
{
    uint32_t i, n = hybrid->plan->component_count;
    aioc_query_hybrid_coalesce(hybrid);
    for (i = 0; i < n; i++) aioc_query_hybrid_cut(hybrid, i);
    aioc_query_hybrid_drop_worse(hybrid);
    for (i = 0; i < n; i++) aioc_query_hybrid_fuse(hybrid, i);
    aioc_query_hybrid_sort(hybrid, 0, aioc_query_before_by_fused);
    return 0;
}

/* 1: the payload of the next row is appended; 0: there is none; E_NOMEM: ask again. A row whose projection is undefined
 * is none. */
static int aioc_query_hybrid_next(aioc_query_hybrid *hybrid, aioc_memory_buffer *out)
{
    for (; hybrid->next < hybrid->count && hybrid->take_left > 0; hybrid->next++) {
        aioc_query_found *row = hybrid->rows[hybrid->next];
        bool given = row->payload_len > 0 && hybrid->skip_left == 0;
        const char *payload = aioc_query_found_rid(hybrid, row) + row->rid_len;
        if (given && !aioc_memory_append(hybrid->memory, out, payload, row->payload_len)) return AIOCOSMOS_E_NOMEM;
        if (row->payload_len > 0 && hybrid->skip_left > 0) hybrid->skip_left--;
        aioc_query_hybrid_drop(hybrid, row);
        hybrid->rows[hybrid->next] = NULL;
        if (!given) continue;
        if (hybrid->take_left != UINT64_MAX) hybrid->take_left--;
        hybrid->next++;
        return 1;
    }
    return 0;
}

static size_t aioc_query_hybrid_bytes(const aioc_query_hybrid *hybrid)
{
    return hybrid->row_bytes + hybrid->cap * sizeof *hybrid->rows + hybrid->sum_cap * sizeof *hybrid->sums +
           aioc_query_set_bytes(&hybrid->rids);
}

/* Zeroed, or closed before: does nothing. */
static void aioc_query_hybrid_close(aioc_query_hybrid *hybrid)
{
    size_t i;
    if (!hybrid->memory) return;
    for (i = hybrid->next; i < hybrid->count; i++) aioc_query_hybrid_drop(hybrid, hybrid->rows[i]);
    aioc_memory_free(hybrid->memory, hybrid->rows, hybrid->cap * sizeof *hybrid->rows);
    aioc_memory_free(hybrid->memory, hybrid->sums, hybrid->sum_cap * sizeof *hybrid->sums);
    aioc_query_set_free(hybrid->memory, &hybrid->rids);
    aioc_query_plan_release(hybrid->memory, hybrid->plan);
    memset(hybrid, 0, sizeof *hybrid);
}
/*==============================================================================
 * MARK: - Feeds                                                         >>feeds
 *
 * What is made of several operations: lists and queries of one key, one
 * operation a page; queries over many partition key ranges; reads of many
 * items, some operations a range; bulks, one operation an item.
 *
 * May call: all above.
 *============================================================================*/

#ifndef AIOC_FEEDS_SQL_BYTES_MAX
#define AIOC_FEEDS_SQL_BYTES_MAX (256u * 1024u)      /* maxSqlQueryInputLength of the account document */
#endif
#define AIOC_FEEDS_PLANS          64         /* query plans that are kept */
#define AIOC_FEEDS_PLAN_BYTES_MAX (32u * 1024u)      /* of one plan and what it is found by, or it is not kept */
#define AIOC_FEEDS_COLUMNS_MAX    16         /* of ORDER BY; a composite index has at most eight */
#define AIOC_FEEDS_ROWS_ASKED     100        /* of a range at first, where rows are merged; then by their size */
#define AIOC_FEEDS_ROWS_MAX       2000       /* of a merged page, and asked of a range at a time */
#define AIOC_FEEDS_PAGE_BYTES_MAX (4u << 20) /* of a merged page, as of one of the service */
#define AIOC_FEEDS_SLICE          256        /* rows merged in one piece of work */
#define AIOC_FEEDS_PAUSE_MAX_MS   1000u      /* between looks at a range that is splitting */
#define AIOC_FEEDS_METRICS_MAX    64         /* names that the service measures by */
#define AIOC_FEEDS_INDEX_METRICS_MAX (64u * 1024u)
#define AIOC_FEEDS_PAIRS_MAX      1000       /* of id and key, in one query of a read of many */
#define AIOC_FEEDS_PAIRS_BYTES_MAX (200u * 1024u)    /* of such a query's text and parameters, about */
#define AIOC_FEEDS_PAIR_BYTES     48u        /* of them for a pair, beside its id, */
#define AIOC_FEEDS_LEVEL_BYTES    44u        /* and for a level of its key, beside name and value */
#define AIOC_FEEDS_NO_PAIR        UINT32_MAX

typedef struct aioc_feeds aioc_feeds;
typedef struct aioc_feeds_query aioc_feeds_query;

/* One answer of a range, kept until its rows have been used. */
typedef struct aioc_feeds_answer {
    struct aioc_feeds_answer *next;
    aiocosmos_body body;
    aiocosmos_json_doc doc;
    aiocosmos_json rows, row;                /* row: the last one used */
    size_t count, used, bytes;
    aioc_memory_buffer behind;               /* the range's continuation behind this answer; empty: it was the last */
} aioc_feeds_answer;

/* A stretch of the key space that lies in one partition key range, and how far it has been read. */
typedef struct aioc_feeds_stream {
    struct aioc_feeds_stream *leaving;       /* list of those that are of no use any more but for an answer to come */
    aioc_feeds_query *query;
    aioc_memory_buffer edges;                /* min, a NUL, max */
    aiocosmos_str min, max;
    aioc_memory_buffer ask;                  /* the continuation that the next request goes on from */
    aioc_memory_buffer position;             /* the one behind the answers that have been used up */
    aioc_operation *op;                      /* the request under way */
    aioc_feeds_answer *first, *last;
    uint32_t answers;
    uint32_t version;                        /* of the ranges by which the request was sent */
    uint8_t  side;                           /* aioc_query_side: which text it is asked */
    bool     asked_all;                      /* nothing is left to ask for */
    bool     failed;                         /* the last request: asked again for the next page */
    bool     skipping;                       /* its first rows were given before the query was resumed */
    bool     in_heap, dropped, caught_up;
    uint32_t skipped;                        /* rows of the very item at which it was resumed */
    size_t   heap_order;                     /* its place among the streams: ties go to the left */
    aiocosmos_json head, items;              /* ordered: its next row, and that row's sort values */
} aioc_feeds_stream;

typedef enum aioc_feeds_stage {
    AIOC_FEEDS_PREPARING,                    /* ranges and plan */
    AIOC_FEEDS_READING,                      /* the ranges' answers */
    AIOC_FEEDS_GIVING,                       /* rows that had to be complete first */
    AIOC_FEEDS_OVER
} aioc_feeds_stage;

/* Where the rows of the ranges go. */
typedef enum aioc_feeds_sink {
    AIOC_FEEDS_TO_PAGES, AIOC_FEEDS_TO_GROUPS, AIOC_FEEDS_TO_COUNT, AIOC_FEEDS_TO_BEST, AIOC_FEEDS_TO_STATISTICS,
    AIOC_FEEDS_TO_COMPONENT
} aioc_feeds_sink;

/* A query of many ranges: what it is beyond one whose pages are one operation each. */
typedef struct aioc_feeds_fan {
    aioc_memory_buffer sql, params;          /* as asked; params: a JSON array; sql empty: all items, without a plan */
    aioc_memory_buffer epk_min, epk_max;     /* the part of the key space that is asked for; epk_max empty: all of it */
    aioc_account_container *container;
    aioc_account_waiter waiter;
    aioc_platform_timer pause;
    uint32_t pause_ms;
    aioc_query_plan *plan;
    const aioc_query_info *info;             /* of the reading under way */
    aioc_query_info plain;                   /* of rows that are the result as they are: all zero */
    aioc_operation *plan_op;
    aioc_memory_buffer bodies[4];            /* by aioc_query_side */
    aioc_memory_buffer token;                /* decoded: what it resumes from */
    aioc_query_position from;
    aiocosmos_json_doc from_doc;
    aiocosmos_json from_items;               /* sort values of the last row given before */
    bool     from_unordered;                 /* arrays or objects are among them */
    aioc_feeds_stream **streams;             /* by their place in the key space */
    uint32_t stream_count, stream_cap;
    aioc_feeds_stream **heap;                /* those that have a row, the next row's first */
    uint32_t heap_count, heap_cap;
    aioc_feeds_stream *leaving;
    uint32_t in_flight, window, parallel_max, page_items_max, continuation_max;
    size_t   held_max, held;                 /* bytes of answers */
    uint64_t rows_seen, bytes_seen;          /* of answers: how large a row is */
    uint8_t  stage, sink;
    bool     waiting, waited, pausing, resumed, ordered, direct, starved;
    uint32_t levels;                         /* of the partition key that is asked for, perhaps not all */
    uint32_t component;                      /* of hybrid search: the one that is read */

    aioc_query_groups groups;
    aioc_query_best best;
    aioc_query_hybrid hybrid;
    aioc_query_set distinct;
    aioc_query_hash last_hash;
    bool     has_last_hash;
    uint64_t key[2];                         /* of all hashes */
    uint64_t count;                          /* DCOUNT */
    uint64_t skip_left, take_left;
    aioc_memory_buffer rest;                 /* rows that had to be complete first, a JSON array */
    aiocosmos_json_doc rest_doc;
    aiocosmos_json rest_row;
    size_t   rest_left;

    aioc_memory_buffer out;                  /* the page under construction */
    uint32_t out_count;
    aioc_feeds_answer *shown;                /* or the answer that is the page */
    bool     more;
    aioc_memory_buffer last_items, last_rid; /* of the last row given, in order */
    aioc_memory_buffer last_min, last_max;
    uint32_t last_rows;                      /* rows of that item with those values */

    double   charge_ru;                      /* since the last page */
    uint64_t throttled_us;
    uint32_t attempts;
    int      status, http_status, sub_status;        /* of the first failure since the last page */
    bool     broken;                         /* it will not help to ask again */
    char     message[AIOC_OPERATION_MESSAGE_BYTES];
    char     activity_id[40];
    char     session_token[256];
} aioc_feeds_fan;

/* A measure of the service's, under its name, over all answers. */
typedef struct aioc_feeds_metric {
    char     name[48];
    double   sum;
    uint32_t count;
} aioc_feeds_metric;

/* What one range has been asked. */
typedef struct aioc_feeds_asked {
    char     id[AIOC_PROTOCOL_RANGE_ID_MAX + 1];
    aioc_memory_buffer edges;                /* min, a NUL, max */
    uint64_t requests, items;
    double   charge_ru;
} aioc_feeds_asked;

/* What a query has cost. */
typedef struct aioc_feeds_costs {
    double   charge_ru;
    uint64_t requests, items;
    aioc_feeds_asked *ranges;
    uint32_t range_count, range_cap;
    aioc_feeds_metric *metrics;              /* AIOC_FEEDS_METRICS_MAX of them, once there are any */
    uint32_t metric_count;
    aioc_memory_buffer index_metrics, text;
} aioc_feeds_costs;

struct aioc_feeds_query {
    aioc_feeds *feeds;
    uint32_t slot;
    aioc_feeds_query *stirred_next;          /* list of those that have work */
    aioc_memory_buffer link, pk, lines, body, session;
    aioc_memory_buffer continuation;         /* one operation a page: where the next page starts; empty: at the
                                              * beginning */
    uint64_t question;                       /* hash of what is asked */
    const char *verb, *type, *array;         /* array: JSON pointer to the items of a page */
    uint32_t timeout_ms, page_items_max;
    bool of_items, skip_empty, ended, stirred;
    aioc_operation *op;                      /* the page that is owed */
    aioc_feeds_fan *fan;                     /* NULL: one operation a page */
    aioc_memory_buffer plan_refusal;         /* why the server made no plan */
    aioc_feeds_costs costs;
    aiocosmos_page_fn page;
    void *user_data;
    aioc_memory_buffer continuation_out;     /* of the page that is called back */
    bool closed;                             /* freed when the page that is owed has been called back */
    uint8_t busy;                            /* somebody is at work on it: it is not freed meanwhile */
};

/* A query plan that is kept for the next query of its text. */
typedef struct aioc_feeds_plan {
    aioc_query_plan *plan;
    aioc_memory_buffer key;
    bool general;                            /* whatever the parameters are */
    uint64_t used;                           /* larger: later */
} aioc_feeds_plan;

/* One pair of a read of many: where its id and its key stand among the texts. Pairs of the same key, one behind the
 * other, share its text. */
typedef struct aioc_feeds_pair {
    uint32_t id_at, pk_at;
    uint32_t next;                           /* in the list that it is in; AIOC_FEEDS_NO_PAIR: the last */
    bool     answered;
    bool     alone;                          /* to be read by itself */
} aioc_feeds_pair;

/* The pairs of one partition key range that have not been asked for yet. */
typedef struct aioc_feeds_share {
    uint32_t first, count, bytes;            /* bytes: about as many has the text of their query */
    bool     by_id;                          /* the key of each is its id */
} aioc_feeds_share;

typedef enum aioc_feeds_part_state {
    AIOC_FEEDS_PART_ASKED,                   /* its request is under way */
    AIOC_FEEDS_PART_ROWS,                    /* an answer's rows are handed over */
    AIOC_FEEDS_PART_MORE,                    /* there is more to ask for */
    AIOC_FEEDS_PART_REST                     /* what was not among the rows is told so */
} aioc_feeds_part_state;

/* Some pairs of a read of many that are asked for together. */
typedef struct aioc_feeds_part {
    struct aioc_feeds_part *prev, *next;
    struct aioc_feeds_many *many;
    aioc_operation *op;
    uint32_t *slots;                         /* its pairs by the hash of their ids, each the first of a list */
    uint32_t slot_count, count;
    uint32_t left;                           /* of them not answered */
    uint32_t at, chain;                      /* the slot, and the pair of its list, that comes next in the rest */
    uint32_t alone;                          /* one pair, which is read; AIOC_FEEDS_NO_PAIR: a query */
    uint32_t pk_at;                          /* all have this key: AIOC_FEEDS_NO_PAIR: they have not */
    uint32_t page_items;                     /* asked for at a time */
    uint32_t version;                        /* of the ranges by which the request was sent */
    aioc_memory_buffer range, body;          /* range: the id of the range that is asked */
    aioc_memory_buffer continuation;
    aioc_feeds_answer *answer;
    uint8_t  state;                          /* aioc_feeds_part_state */
    int      status;                         /* of the rest */
    bool     known;                          /* 404 means that there is no such item */
} aioc_feeds_part;

typedef struct aioc_feeds_many {
    struct aioc_feeds_many *prev, *next;     /* all reads of many of the client */
    aioc_feeds *feeds;
    aioc_operation *op;                      /* carries its id, its deadline and its end */
    aiocosmos_read_many_request request;
    aiocosmos_many_totals totals;
    aioc_account_container *container;
    aioc_account_waiter waiter;
    aioc_platform_timer pause;
    uint32_t pause_ms;
    uint64_t stuck_us;                       /* since then ranges have been gone without any answer; 0: they are not */
    aioc_memory_buffer link, session;
    aioc_memory_buffer scratch;              /* a key's strings */
    aioc_memory_buffer properties;           /* of the key, as SQL, each with its NUL: c["tenant"] */
    bool     key_is_id;                      /* the key's only path is /id */
    char    *texts;                          /* each with its NUL */
    size_t   texts_size;
    aioc_feeds_pair *pairs;
    uint32_t pair_count;
    uint32_t left;                           /* pairs not answered */
    uint32_t unsent;                         /* of those in no part */
    uint32_t fresh;                          /* the first pair that is in no share and was in none */
    uint32_t again;                          /* list of those that have to be shared out again */
    uint32_t swept;                          /* ended: all pairs before this one are answered */
    aioc_feeds_share *shares;                /* by range; the last one: of pairs that are read one by one */
    uint32_t share_count;
    uint32_t full;                           /* a share that takes no more pairs; AIOC_FEEDS_NO_PAIR: none */
    uint32_t last_pk_at, last_share;         /* the key that was looked at last, and where it belongs */
    uint32_t version;                        /* of the ranges by which the shares are */
    uint32_t doubted;                        /* the version by which a range was last gone */
    aioc_feeds_part *parts;
    uint32_t in_flight;
    bool     stirred, starved, waiting, waited, pausing, shared, ended;
    int      status, http_status, sub_status;        /* of the first failure */
    int      end_status;                     /* ended: of all that is left */
    char     message[AIOC_OPERATION_MESSAGE_BYTES];
    char     activity_id[40];
    uint64_t throttled_us;
    uint32_t attempts;
} aioc_feeds_many;

typedef struct aioc_feeds_bulk {
    struct aioc_feeds_bulk *prev, *next;     /* all bulks of the client */
    aioc_feeds *feeds;
    aioc_operation *op;                      /* carries its id, its deadline and its end */
    aioc_memory_buffer names;                /* database and container, each with its NUL, and the session token */
    const char *database, *container, *session_token;
    aiocosmos_bulk_request request;
    aiocosmos_bulk_totals totals;
    uint32_t in_flight;                      /* items pulled and not yet finished */
    uint32_t waiting;                        /* of those, backing off after 429 or held back */
    uint32_t allowed;                        /* how many may be sent at a time now */
    uint32_t clean;                          /* finished without 429 since allowed last changed */
    uint64_t lowered_us;
    aioc_platform_timer pause;               /* armed: nothing is sent until the service has units again */
    aioc_operation *first_held, *last_held;
    bool ended, later;                       /* nothing more to pull; nothing now */
    int status;
} aioc_feeds_bulk;

typedef struct aioc_feeds_slot {
    aioc_feeds_query *query;
    uint32_t generation;                     /* tells a new query from a closed one in the same slot */
} aioc_feeds_slot;

struct aioc_feeds {
    aioc_operation_engine *engine;
    aioc_feeds_slot *slots;
    uint32_t slot_count, query_count, bulk_count;
    aioc_feeds_query *first_stirred, *last_stirred;
    bool starved;                            /* a query waits for room among the operations */
    aioc_feeds_plan plans[AIOC_FEEDS_PLANS];
    uint64_t plans_used;
    aioc_feeds_many *first_many;
    aioc_feeds_bulk *first_bulk;
};

/*--- Queries: what they cost --------------------------------------------------*/

static void aioc_feeds_costs_free(aioc_memory *memory, aioc_feeds_costs *costs)
{
    uint32_t i;
    for (i = 0; i < costs->range_count; i++) aioc_memory_buffer_free(memory, &costs->ranges[i].edges);
    aioc_memory_free(memory, costs->ranges, costs->range_cap * sizeof *costs->ranges);
    aioc_memory_free(memory, costs->metrics, AIOC_FEEDS_METRICS_MAX * sizeof *costs->metrics);
    aioc_memory_buffer_free(memory, &costs->index_metrics);
    aioc_memory_buffer_free(memory, &costs->text);
}

static void aioc_feeds_add_metric(aioc_feeds_costs *costs, aiocosmos_str name, double value)
{
    uint32_t i;
    if (name.len >= sizeof costs->metrics->name) return;
    for (i = 0; i < costs->metric_count; i++)
        if (aioc_memory_same(aioc_memory_str(costs->metrics[i].name), name)) break;
    if (i == AIOC_FEEDS_METRICS_MAX) return;
    if (i == costs->metric_count) {
        memcpy(costs->metrics[i].name, name.ptr, name.len);
        costs->metric_count++;
    }
    costs->metrics[i].sum += value;
    costs->metrics[i].count++;
}

/* "name=value;name=value": what is not a number is left out. Without memory, nothing is known. */
static void aioc_feeds_add_metrics(aioc_memory *memory, aioc_feeds_costs *costs, aiocosmos_str list)
{
    size_t at, end, equals;
    if (!costs->metrics)
        costs->metrics = (aioc_feeds_metric *)aioc_memory_zalloc(memory,
                                                                AIOC_FEEDS_METRICS_MAX * sizeof *costs->metrics);
    for (at = 0; costs->metrics && at < list.len; at = end + 1) {
        double value;
        for (end = at; end < list.len && list.ptr[end] != ';'; end++) continue;
        for (equals = at; equals < end && list.ptr[equals] != '='; equals++) continue;
        if (equals > at && equals < end &&
            aioc_json_number_parse(list.ptr + equals + 1, end - equals - 1, &value))
            aioc_feeds_add_metric(costs, aioc_operation_str(list.ptr + at, equals - at), value);
    }
}

/* In base64, or as JSON outright. */
static void aioc_feeds_keep_index_metrics(aioc_memory *memory, aioc_feeds_costs *costs, aiocosmos_str text)
{
    aioc_memory_buffer *out = &costs->index_metrics;
    size_t len, error_at;
    if (out->len || text.len == 0 || text.len > AIOC_FEEDS_INDEX_METRICS_MAX) return;
    if (!aioc_memory_reserve(memory, out, text.len)) return;
    if (*text.ptr != '{' && aioc_auth_base64_decode(text, (unsigned char *)out->data, text.len, &len, &error_at)) {
        out->len = len;
        return;
    }
    memcpy(out->data, text.ptr, text.len);
    out->len = text.len;
}

/* The place of a range among those that were asked. NULL: no memory. */
static aioc_feeds_asked *aioc_feeds_asked_of(aioc_memory *memory, aioc_feeds_costs *costs, aiocosmos_str id)
{
    aioc_feeds_asked *asked;
    uint32_t i;
    for (i = 0; i < costs->range_count; i++)
        if (aioc_memory_same(aioc_memory_str(costs->ranges[i].id), id)) return &costs->ranges[i];
    if (id.len >= sizeof asked->id) return NULL;
    if (costs->range_count == costs->range_cap) {
        uint32_t cap = costs->range_cap ? costs->range_cap * 2 : 4;
        void *grown = aioc_memory_resize(memory, costs->ranges, costs->range_cap * sizeof *costs->ranges,
                                         cap * sizeof *costs->ranges);
        if (!grown) return NULL;
        costs->ranges = (aioc_feeds_asked *)grown;
        costs->range_cap = cap;
    }
    asked = &costs->ranges[costs->range_count++];
    memset(asked, 0, sizeof *asked);
    if (id.len) memcpy(asked->id, id.ptr, id.len);
    return asked;
}

/* One request of the query has been answered, or has failed. */
static void aioc_feeds_add_costs(aioc_memory *memory, aioc_feeds_costs *costs, const aiocosmos_result *result)
{
    const aioc_operation_delivery *delivery = (const aioc_operation_delivery *)result->internal;
    aiocosmos_str metrics, index_metrics;
    costs->requests++;
    costs->charge_ru += result->charge_ru;
    if (!delivery->response) return;
    metrics = aioc_http_header(delivery->response->head, "x-ms-documentdb-query-metrics");
    index_metrics = aioc_http_header(delivery->response->head, "x-ms-cosmos-index-utilization");
    if (metrics.len) aioc_feeds_add_metrics(memory, costs, metrics);
    aioc_feeds_keep_index_metrics(memory, costs, index_metrics);
}

/* The same as text. False: no memory. */
static bool aioc_feeds_print_metrics(aioc_memory *memory, aioc_feeds_costs *costs)
{
    uint32_t i;
    costs->text.len = 0;
    for (i = 0; i < costs->metric_count; i++) {
        const aioc_feeds_metric *metric = &costs->metrics[i];
        size_t len = strlen(metric->name);
        bool ratio = len > 5 && strcmp(metric->name + len - 5, "Ratio") == 0;
        char number[AIOC_JSON_NUMBER_MAX];
        size_t number_len = aioc_json_number_write(ratio ? metric->sum / metric->count : metric->sum, number);
        if ((i && !aioc_memory_append(memory, &costs->text, ";", 1)) ||
            !aioc_memory_append(memory, &costs->text, metric->name, len) ||
            !aioc_memory_append(memory, &costs->text, "=", 1) ||
            !aioc_memory_append(memory, &costs->text, number, number_len)) return false;
    }
    return true;
}

/*--- Queries: birth and death -----------------------------------------------*/

static aiocosmos_str aioc_feeds_text(const aioc_memory_buffer *buffer)
{
    return aioc_operation_text(buffer);
}

static bool aioc_feeds_set(aioc_memory *memory, aioc_memory_buffer *buffer, aiocosmos_str text)
{
    buffer->len = 0;
    return text.len == 0 || aioc_memory_append(memory, buffer, text.ptr, text.len);
}

static void aioc_feeds_answer_free(aioc_memory *memory, aioc_feeds_answer *answer)
{
    if (!answer) return;
    aioc_json_close(&answer->doc);
    aioc_memory_free(memory, answer->body.owner, answer->body.owner_size);
    aioc_memory_buffer_free(memory, &answer->behind);
    aioc_memory_free(memory, answer, sizeof *answer);
}

/* Takes an answer over: its rows, and the continuation behind them. 0, E_NOMEM, or E_PROTOCOL: it is not a page. */
static int aioc_feeds_answer_new(aioc_memory *memory, const aiocosmos_result *result, aioc_feeds_answer **out)
{
    const aioc_operation_delivery *delivery = (const aioc_operation_delivery *)result->internal;
    aioc_feeds_answer *answer = (aioc_feeds_answer *)aioc_memory_zalloc(memory, sizeof *answer);
    int status = 0;
    if (!answer) return AIOCOSMOS_E_NOMEM;
    aioc_json_open(&answer->doc, memory);
    answer->body = aioc_operation_take_body(result);
    if (!answer->body.text.ptr ||
        !aioc_feeds_set(memory, &answer->behind, delivery->response->wanted[AIOC_PROTOCOL_H_CONTINUATION]))
        status = AIOCOSMOS_E_NOMEM;
    if (!status) status = aioc_json_parse(&answer->doc, answer->body.text.ptr, answer->body.text.len);
    if (!status) {
        answer->rows = aioc_json_at(aioc_json_root(&answer->doc), "/Documents");
        if (answer->rows.type != AIOCOSMOS_JSON_ARR) status = AIOCOSMOS_E_PROTOCOL;
    }
    if (status) {
        aioc_feeds_answer_free(memory, answer);
        return status == AIOCOSMOS_E_NOMEM ? status : AIOCOSMOS_E_PROTOCOL;
    }
    answer->count = aioc_json_count(answer->rows);
    answer->bytes = sizeof *answer + answer->body.owner_size + answer->doc.cap * sizeof(aioc_json_node) +
                    answer->behind.cap;
    *out = answer;
    return 0;
}

static void aioc_feeds_stream_free(aioc_feeds_stream *stream)
{
    aioc_memory *memory = stream->query->feeds->engine->memory;
    while (stream->first) {
        aioc_feeds_answer *answer = stream->first;
        stream->first = answer->next;
        stream->query->fan->held -= answer->bytes;
        aioc_feeds_answer_free(memory, answer);
    }
    aioc_memory_buffer_free(memory, &stream->edges);
    aioc_memory_buffer_free(memory, &stream->ask);
    aioc_memory_buffer_free(memory, &stream->position);
    aioc_memory_free(memory, stream, sizeof *stream);
}

/* A stream is of no use any more: what is under way for it is called off, and comes back from a later step. */
static void aioc_feeds_stream_drop(aioc_feeds_stream *stream)
{
    aioc_feeds_fan *fan = stream->query->fan;
    if (!stream->op) {
        aioc_feeds_stream_free(stream);
        return;
    }
    stream->dropped = true;
    stream->leaving = fan->leaving;
    fan->leaving = stream;
    aioc_operation_stop(stream->op, AIOCOSMOS_E_CANCELLED);
}

/* Ends a reading: no stream is left. */
static void aioc_feeds_drop_streams(aioc_feeds_fan *fan)
{
    uint32_t i;
    for (i = 0; i < fan->stream_count; i++) aioc_feeds_stream_drop(fan->streams[i]);
    fan->stream_count = fan->heap_count = 0;
}

static void aioc_feeds_fan_free(aioc_feeds_query *query)
{
    aioc_memory *memory = query->feeds->engine->memory;
    aioc_feeds_fan *fan = query->fan;
    uint32_t i;
    if (!fan) return;
    for (i = 0; i < fan->stream_count; i++) aioc_feeds_stream_free(fan->streams[i]);
    while (fan->leaving) {
        aioc_feeds_stream *stream = fan->leaving;
        fan->leaving = stream->leaving;
        aioc_feeds_stream_free(stream);
    }
    aioc_platform_timer_stop(query->feeds->engine->reactor, &fan->pause);
    if (fan->waiting) aioc_account_stop_waiting(fan->container, &fan->waiter);
    if (fan->container) aioc_account_release(fan->container);
    if (fan->plan) aioc_query_plan_release(memory, fan->plan);
    aioc_query_groups_close(&fan->groups);
    aioc_query_best_close(&fan->best);
    aioc_query_hybrid_close(&fan->hybrid);
    aioc_query_set_free(memory, &fan->distinct);
    aioc_query_position_free(memory, &fan->from);
    aioc_feeds_answer_free(memory, fan->shown);
    aioc_json_close(&fan->rest_doc);
    aioc_json_close(&fan->from_doc);
    for (i = 0; i < 4; i++) aioc_memory_buffer_free(memory, &fan->bodies[i]);
    aioc_memory_buffer_free(memory, &fan->sql);
    aioc_memory_buffer_free(memory, &fan->params);
    aioc_memory_buffer_free(memory, &fan->epk_min);
    aioc_memory_buffer_free(memory, &fan->epk_max);
    aioc_memory_buffer_free(memory, &fan->token);
    aioc_memory_buffer_free(memory, &fan->rest);
    aioc_memory_buffer_free(memory, &fan->out);
    aioc_memory_buffer_free(memory, &fan->last_items);
    aioc_memory_buffer_free(memory, &fan->last_rid);
    aioc_memory_buffer_free(memory, &fan->last_min);
    aioc_memory_buffer_free(memory, &fan->last_max);
    aioc_memory_free(memory, fan->streams, fan->stream_cap * sizeof *fan->streams);
    aioc_memory_free(memory, fan->heap, fan->heap_cap * sizeof *fan->heap);
    aioc_memory_free(memory, fan, sizeof *fan);
    query->fan = NULL;
}

/* Puts a query among those that have work. */
static void aioc_feeds_stir(aioc_feeds_query *query)
{
    aioc_feeds *feeds = query->feeds;
    if (query->stirred) return;
    query->stirred = true;
    query->stirred_next = NULL;
    if (feeds->last_stirred) feeds->last_stirred->stirred_next = query;
    else feeds->first_stirred = query;
    feeds->last_stirred = query;
}

static void aioc_feeds_calm(aioc_feeds_query *query)
{
    aioc_feeds *feeds = query->feeds;
    aioc_feeds_query *before = NULL, *at = feeds->first_stirred;
    if (!query->stirred) return;
    query->stirred = false;
    while (at != query) {
        before = at;
        at = at->stirred_next;
    }
    if (before) before->stirred_next = query->stirred_next;
    else feeds->first_stirred = query->stirred_next;
    if (feeds->last_stirred == query) feeds->last_stirred = before;
}

static void aioc_feeds_query_free(aioc_feeds_query *query)
{
    aioc_feeds *feeds = query->feeds;
    aioc_memory *memory = feeds->engine->memory;
    aioc_feeds_calm(query);
    feeds->slots[query->slot].query = NULL;
    if (++feeds->slots[query->slot].generation == 0) feeds->slots[query->slot].generation = 1;
    feeds->query_count--;
    aioc_feeds_fan_free(query);
    aioc_memory_buffer_free(memory, &query->link);
    aioc_memory_buffer_free(memory, &query->pk);
    aioc_memory_buffer_free(memory, &query->lines);
    aioc_memory_buffer_free(memory, &query->body);
    aioc_memory_buffer_free(memory, &query->session);
    aioc_memory_buffer_free(memory, &query->continuation);
    aioc_memory_buffer_free(memory, &query->continuation_out);
    aioc_memory_buffer_free(memory, &query->plan_refusal);
    aioc_feeds_costs_free(memory, &query->costs);
    aioc_memory_free(memory, query, sizeof *query);
}

/* A closed query goes when nobody is left who would come back to it; what is under way for it is called off. */
static void aioc_feeds_let_query_go(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    if (query->op || query->busy) return;
    if (fan) {
        if (fan->plan_op) aioc_operation_stop(fan->plan_op, AIOCOSMOS_E_CANCELLED);
        aioc_feeds_drop_streams(fan);
        if (fan->plan_op || fan->leaving) return;
    }
    aioc_feeds_query_free(query);
}

static aioc_feeds_query *aioc_feeds_query_find(const aioc_feeds *feeds, aiocosmos_query handle)
{
    uint32_t slot = (uint32_t)handle.id - 1u;
    aioc_feeds_query *query;
    if (slot >= feeds->slot_count || feeds->slots[slot].generation != (uint32_t)(handle.id >> 32)) return NULL;
    query = feeds->slots[slot].query;
    return query && !query->closed ? query : NULL;
}

/* A free slot, growing the table up to pending_max. slot_count: none. */
static uint32_t aioc_feeds_query_slot(aioc_feeds *feeds)
{
    uint32_t slot = 0, count = feeds->slot_count ? feeds->slot_count * 2 : 8, i;
    void *grown;
    while (slot < feeds->slot_count && feeds->slots[slot].query) slot++;
    if (slot < feeds->slot_count) return slot;
    if (count > feeds->engine->pending_max) count = feeds->engine->pending_max;
    if (count <= feeds->slot_count) return feeds->slot_count;
    grown = aioc_memory_resize(feeds->engine->memory, feeds->slots, feeds->slot_count * sizeof *feeds->slots,
                               count * sizeof *feeds->slots);
    if (!grown) return feeds->slot_count;
    feeds->slots = (aioc_feeds_slot *)grown;
    for (i = feeds->slot_count; i < count; i++) {
        feeds->slots[i].query = NULL;
        feeds->slots[i].generation = 1;
    }
    feeds->slot_count = count;
    return slot;
}

/*--- Queries: from what the host asks for to what is sent ---------------------*/

static int aioc_feeds_append_params(aioc_operation_engine *engine, aioc_memory_buffer *out,
                                    const aiocosmos_query_request *request)
{
    size_t i;
    if (!aioc_memory_append_str(engine->memory, out, "[")) return aioc_operation_refuse_memory(engine);
    for (i = 0; i < request->param_count; i++) {
        const aiocosmos_param *param = &request->params[i];
        char what[48];
        aioc_memory_print(what, sizeof what, "params[%u]", (unsigned)i);
        if (!param->name || param->name[0] != '@' || !param->name[1])
            return aioc_operation_refuse(engine, what, "a name starts with '@'");
        if (param->value.type == AIOCOSMOS_UNSET || param->value.type == AIOCOSMOS_NONE)
            return aioc_operation_refuse(engine, what, "no value is given");
        if ((i && !aioc_memory_append_str(engine->memory, out, ",")) ||
            !aioc_memory_append_str(engine->memory, out, "{\"name\":") ||
            !aioc_json_append_string(engine->memory, out, param->name, strlen(param->name), false) ||
            !aioc_memory_append_str(engine->memory, out, ",\"value\":") ||
            !aioc_json_append_value(engine->memory, out, &param->value, false) ||
            !aioc_memory_append_str(engine->memory, out, "}"))
            return aioc_operation_refuse(engine, what, "not UTF-8, not JSON, not a finite number, or no memory");
    }
    return aioc_memory_append_str(engine->memory, out, "]") ? 0 : aioc_operation_refuse_memory(engine);
}

/* {"query":...,"parameters":[...]}. */
static bool aioc_feeds_append_body(aioc_memory *memory, aioc_memory_buffer *out, aiocosmos_str sql,
                                   aiocosmos_str params)
{
    out->len = 0;
    return aioc_memory_append_str(memory, out, "{\"query\":") &&
           aioc_json_append_string(memory, out, sql.ptr, sql.len, false) &&
           aioc_memory_append_str(memory, out, ",\"parameters\":") &&
           aioc_memory_append(memory, out, params.ptr, params.len) && aioc_memory_append_str(memory, out, "}");
}

static int aioc_feeds_build_body(aioc_operation_engine *engine, aioc_memory_buffer *params, aioc_memory_buffer *body,
                                 const aiocosmos_query_request *request, const char *sql)
{
    size_t len = strlen(sql), bad_at;
    int refused;
    if (len == 0) return aioc_operation_refuse(engine, "sql", "empty");
    if (len > AIOC_FEEDS_SQL_BYTES_MAX) return aioc_operation_refuse(engine, "sql", "over 256 KiB");
    if (!aioc_json_utf8_ok(sql, len, &bad_at)) return aioc_operation_refuse_at(engine, "sql", "not UTF-8", bad_at);
    if (request->param_count && !request->params)
        return aioc_operation_refuse(engine, "params", "required: param_count is set");
    refused = aioc_feeds_append_params(engine, params, request);
    if (refused) return refused;
    return aioc_feeds_append_body(engine->memory, body, aioc_memory_str(sql), aioc_feeds_text(params))
               ? 0 : aioc_operation_refuse_memory(engine);
}

/* The header lines that every request of a query carries. */
static int aioc_feeds_add_lines(aioc_operation_engine *engine, const aiocosmos_query_request *request, bool is_query,
                                bool across)
{
    int refused = 0;
    engine->lines_text.len = 0;
    if (is_query) refused = aioc_operation_add_line(engine, "x-ms-documentdb-isquery: ", "True");
    if (is_query && !refused) refused = aioc_operation_add_line(engine, "Content-Type: ", "application/query+json");
    if (across && !refused)
        refused = aioc_operation_add_line(engine, "x-ms-documentdb-query-enablecrosspartition: ", "True");
    if (request->want_metrics && !refused)
        refused = aioc_operation_add_line(engine, "x-ms-documentdb-populatequerymetrics: ", "True");
    if (request->want_index_metrics && !refused)
        refused = aioc_operation_add_line(engine, "x-ms-cosmos-populateindexmetrics: ", "True");
    if (!refused) refused = aioc_operation_add_headers(engine, request->headers);
    return refused;
}

static int aioc_feeds_keep(aioc_operation_engine *engine, aioc_memory_buffer *buffer, aiocosmos_str text)
{
    return aioc_feeds_set(engine->memory, buffer, text) ? 0 : aioc_operation_refuse_memory(engine);
}

/* An effective partition key in hex, as the list of ranges names it. */
static int aioc_feeds_check_edge(aioc_operation_engine *engine, const char *what, const char *text)
{
    size_t i, len = text ? strlen(text) : 0;
    if (len >= AIOC_PROTOCOL_EPK_MAX) return aioc_operation_refuse(engine, what, "too long for a partition key's hash");
    for (i = 0; i < len; i++)
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'A' && text[i] <= 'F')))
            return aioc_operation_refuse_at(engine, what, "not upper-case hexadecimal", i);
    return 0;
}

static int aioc_feeds_check_span(aioc_operation_engine *engine, const aiocosmos_query_request *request)
{
    int refused = aioc_feeds_check_edge(engine, "epk_min", request->epk_min);
    if (!refused) refused = aioc_feeds_check_edge(engine, "epk_max", request->epk_max);
    if (refused || (!request->epk_min && !request->epk_max)) return refused;
    if (aioc_operation_has_pk(&request->pk)) return aioc_operation_refuse(engine, "epk_min", "and pk are both given");
    if (request->epk_min && request->epk_max &&
        aioc_protocol_epk_compare(aioc_memory_str(request->epk_min), aioc_memory_str(request->epk_max)) >= 0)
        return aioc_operation_refuse(engine, "epk_max", "not behind epk_min");
    return 0;
}

static int aioc_feeds_check_query(aioc_operation_engine *engine, const aiocosmos_query_request *request)
{
    static const char foreign[] = "does not belong to this feed";
    bool of_items = request->feed == AIOCOSMOS_ITEMS, of_ranges = request->feed == AIOCOSMOS_RANGES;
    if (request->feed > AIOCOSMOS_RANGES)
        return aioc_operation_refuse(engine, "feed", "one of aiocosmos_feed is expected");
    if (!of_items && aioc_operation_has_pk(&request->pk)) return aioc_operation_refuse(engine, "pk", foreign);
    if (!of_items && request->session_token) return aioc_operation_refuse(engine, "session_token", foreign);
    if (!of_items && (request->epk_min || request->epk_max)) return aioc_operation_refuse(engine, "epk_min", foreign);
    if (!of_items && !of_ranges && request->container) return aioc_operation_refuse(engine, "container", foreign);
    if (of_ranges && request->sql) return aioc_operation_refuse(engine, "sql", foreign);
    if (!of_items && (request->want_metrics || request->want_index_metrics))
        return aioc_operation_refuse(engine, "want_metrics", foreign);
    if (request->feed == AIOCOSMOS_DATABASES && request->database)
        return aioc_operation_refuse(engine, "database", foreign);
    if (!request->sql && request->param_count) return aioc_operation_refuse(engine, "params", "there is no sql");
    if (request->page_items_max > INT32_MAX) return aioc_operation_refuse(engine, "page_items_max", "over 2^31-1");
    return aioc_feeds_check_span(engine, request);
}

/* What a continuation token is bound to: the resource, the text and its parameters, the key or part of the keys. */
static bool aioc_feeds_ask_question(aioc_feeds_query *query, const char *kind)
{
    aioc_memory *memory = query->feeds->engine->memory;
    const aioc_feeds_fan *fan = query->fan;
    aioc_memory_buffer all = { NULL, 0, 0 };
    uint64_t hash[2];
    bool ok = aioc_memory_append_str(memory, &all, kind) && aioc_memory_append(memory, &all, "\n", 1) &&
              aioc_memory_append(memory, &all, query->link.data, query->link.len) &&
              aioc_memory_append(memory, &all, "\n", 1) &&
              aioc_memory_append(memory, &all, query->pk.data, query->pk.len) &&
              aioc_memory_append(memory, &all, "\n", 1) &&
              (!fan || aioc_memory_append(memory, &all, fan->epk_min.data, fan->epk_min.len)) &&
              aioc_memory_append(memory, &all, "\n", 1) &&
              (!fan || aioc_memory_append(memory, &all, fan->epk_max.data, fan->epk_max.len)) &&
              aioc_memory_append(memory, &all, "\n", 1) &&
              aioc_memory_append(memory, &all, query->body.data, query->body.len);
    if (ok) aioc_protocol_murmur3_128(all.data, all.len, hash);
    if (ok) query->question = hash[0] ^ hash[1];
    aioc_memory_buffer_free(memory, &all);
    return ok;
}

/* Reads a continuation token and finds out whether it is one of this query. The service's own, which a query of one key
 * goes on by, stands in it as it came. */
static int aioc_feeds_read_token(aioc_feeds_query *query, const char *token)
{
    aioc_operation_engine *engine = query->feeds->engine;
    aioc_feeds_fan *fan = query->fan;
    aioc_memory_buffer block = { NULL, 0, 0 };
    aioc_query_position position;
    const char *why = "";
    int refused;
    memset(&position, 0, sizeof position);
    refused = aioc_query_token_read(engine->memory, aioc_memory_str(token), &block, &position, &why);
    if (refused == AIOCOSMOS_E_NOMEM) {
        refused = aioc_operation_refuse_memory(engine);
    } else if (refused) {
        refused = aioc_operation_refuse(engine, "continuation", why);
    } else if (position.question != query->question) {
        refused = aioc_operation_refuse(engine, "continuation", "of another query or container");
    } else if (position.place == AIOC_QUERY_AT_SERVICE) {
        refused = aioc_feeds_keep(engine, &query->continuation, position.pieces[0].continuation);
        if (!refused) aioc_feeds_fan_free(query);                /* it was the gateway that served it */
    } else if (!fan) {
        refused = aioc_operation_refuse(engine, "continuation", "of a query across partitions");
    } else {
        fan->token = block;
        fan->from = position;
        fan->resumed = true;
        return 0;
    }
    aioc_query_position_free(engine->memory, &position);
    aioc_memory_buffer_free(engine->memory, &block);
    return refused;
}

static uint32_t aioc_feeds_levels(const aiocosmos_pk *pk)
{
    uint32_t levels = 0;
    while (levels < AIOC_PROTOCOL_PK_LEVELS && pk->level[levels].type != AIOCOSMOS_UNSET) levels++;
    return levels;
}

static int aioc_feeds_fill_fan(aioc_feeds_query *query, const aiocosmos_query_request *request)
{
    aioc_operation_engine *engine = query->feeds->engine;
    aioc_feeds_fan *fan = query->fan;
    int refused = 0;
    fan->page_items_max = request->page_items_max;
    fan->parallel_max = request->parallel_max ? request->parallel_max : AIOCOSMOS_DEFAULT_PARALLEL;
    fan->held_max = request->memory_max ? request->memory_max : AIOCOSMOS_DEFAULT_QUERY_MEMORY;
    fan->continuation_max = request->continuation_bytes_max ? request->continuation_bytes_max
                                                            : AIOCOSMOS_DEFAULT_CONTINUATION_BYTES;
    fan->levels = aioc_feeds_levels(&request->pk);
    if (request->sql) refused = aioc_feeds_keep(engine, &fan->sql, aioc_memory_str(request->sql));
    if (!refused) refused = aioc_feeds_keep(engine, &fan->epk_min, aioc_memory_str(request->epk_min));
    if (!refused) refused = aioc_feeds_keep(engine, &fan->epk_max, aioc_memory_str(request->epk_max));
    if (!refused) {
        fan->container = aioc_account_hold(&engine->account, aioc_feeds_text(&query->link));
        if (!fan->container) refused = aioc_operation_refuse_memory(engine);
    }
    return refused;
}

static void aioc_feeds_ranges_settled(aioc_account_waiter *waiter);
static void aioc_feeds_pause_ended(aioc_platform_timer *timer);

static aioc_feeds_fan *aioc_feeds_fan_new(aioc_feeds_query *query)
{
    aioc_operation_engine *engine = query->feeds->engine;
    aioc_feeds_fan *fan = (aioc_feeds_fan *)aioc_memory_zalloc(engine->memory, sizeof *fan);
    if (!fan) return NULL;
    fan->waiter.resume = aioc_feeds_ranges_settled;
    fan->waiter.owner = query;
    fan->pause.fire = aioc_feeds_pause_ended;
    fan->pause.owner = query;
    fan->key[0] = (uint64_t)aioc_operation_random(engine) << 32 | aioc_operation_random(engine);
    fan->key[1] = (uint64_t)aioc_operation_random(engine) << 32 | aioc_operation_random(engine);
    aioc_json_open(&fan->rest_doc, engine->memory);
    aioc_json_open(&fan->from_doc, engine->memory);
    return fan;
}

/* Whether a query may be of several ranges: it names no key, or the first levels of one; how many levels the keys of a
 * container have may be unknown yet. */
static bool aioc_feeds_may_span(const aioc_feeds_query *query, const aiocosmos_pk *pk)
{
    const aioc_account *account = &query->feeds->engine->account;
    const aioc_account_container *container = aioc_account_find(account, aioc_feeds_text(&query->link));
    uint32_t levels = aioc_feeds_levels(pk);
    if (container && container->knowledge == AIOC_ACCOUNT_KNOWN) return levels < container->pk_def.path_count;
    return levels < AIOC_PROTOCOL_PK_LEVELS;
}

/* Everything of a request that its pages need. */
static int aioc_feeds_fill_query(aioc_feeds_query *query, const aiocosmos_query_request *request)
{
    aioc_operation_engine *engine = query->feeds->engine;
    const char *sql = request->sql;
    bool of_items = request->feed == AIOCOSMOS_ITEMS, has_pk = aioc_operation_has_pk(&request->pk);
    aioc_memory_buffer params = { NULL, 0, 0 };
    int refused = aioc_feeds_check_query(engine, request);
    static const char *const types[] = { "docs", "colls", "dbs", "pkranges" };
    static const char *const arrays[] = { "/Documents", "/DocumentCollections", "/Databases", "/PartitionKeyRanges" };
    static const unsigned names[] = { 2, 1, 0, 2 };
    if (!sql && of_items) sql = "SELECT * FROM c";
    query->verb = sql ? "POST" : "GET";
    if (!refused)
        refused = aioc_operation_build_link(engine, names[request->feed], request->database, request->container, NULL);
    if (!refused) refused = aioc_feeds_keep(engine, &query->link, aioc_feeds_text(&engine->link_text));
    if (!refused && has_pk) refused = aioc_operation_add_pk(engine, &request->pk);
    if (!refused && has_pk) refused = aioc_feeds_keep(engine, &query->pk, aioc_feeds_text(&engine->pk_text));
    if (!refused) refused = aioc_feeds_add_lines(engine, request, sql != NULL, of_items && !has_pk);
    if (!refused) refused = aioc_feeds_keep(engine, &query->lines, aioc_feeds_text(&engine->lines_text));
    if (!refused && sql) refused = aioc_feeds_build_body(engine, &params, &query->body, request, sql);
    if (!refused) refused = aioc_operation_check_session(engine, request->session_token);
    if (!refused) refused = aioc_feeds_keep(engine, &query->session, aioc_memory_str(request->session_token));
    if (!refused && of_items && aioc_feeds_may_span(query, &request->pk)) {
        query->fan = aioc_feeds_fan_new(query);
        refused = query->fan ? aioc_feeds_fill_fan(query, request) : aioc_operation_refuse_memory(engine);
        if (query->fan) query->fan->params = params;
        else aioc_memory_buffer_free(engine->memory, &params);
    } else {
        aioc_memory_buffer_free(engine->memory, &params);
    }
    if (refused) return refused;
    query->type = types[request->feed];
    query->array = arrays[request->feed];
    query->of_items = of_items;
    query->timeout_ms = request->timeout_ms ? request->timeout_ms : engine->request_timeout_ms;
    query->page_items_max = request->page_items_max;
    query->skip_empty = request->skip_empty;
    if (!aioc_feeds_ask_question(query, query->type)) return aioc_operation_refuse_memory(engine);
    return request->continuation ? aioc_feeds_read_token(query, request->continuation) : 0;
}

/* A query without its contents yet, in a slot of its own. */
static int aioc_feeds_query_new(aioc_feeds *feeds, aioc_feeds_query **out)
{
    aioc_operation_engine *engine = feeds->engine;
    uint32_t slot = aioc_feeds_query_slot(feeds);
    aioc_feeds_query *query;
    if (engine->closing) {
        aioc_memory_print(engine->refusal, sizeof engine->refusal, "the client is being destroyed");
        return AIOCOSMOS_E_SHUTDOWN;
    }
    if (slot == feeds->slot_count) {
        if (slot < engine->pending_max) return aioc_operation_refuse_memory(engine);
        aioc_memory_print(engine->refusal, sizeof engine->refusal, "full: %u queries are open",
                          (unsigned)feeds->query_count);
        return AIOCOSMOS_E_FULL;
    }
    query = (aioc_feeds_query *)aioc_memory_zalloc(engine->memory, sizeof *query);
    if (!query) return aioc_operation_refuse_memory(engine);
    query->feeds = feeds;
    query->slot = slot;
    feeds->slots[slot].query = query;
    feeds->query_count++;
    *out = query;
    return 0;
}

static int aioc_feeds_query_open(aioc_feeds *feeds, const aiocosmos_query_request *request, aiocosmos_query *handle)
{
    aioc_feeds_query *query = NULL;
    int refused = aioc_feeds_query_new(feeds, &query);
    handle->id = 0;
    if (refused) return refused;
    refused = aioc_feeds_fill_query(query, request);
    if (refused) {
        aioc_feeds_query_free(query);
        return refused;
    }
    handle->id = ((uint64_t)feeds->slots[query->slot].generation << 32) | (query->slot + 1u);
    return 0;
}

/*--- Queries whose pages are one operation each -------------------------------*/

static void aioc_feeds_page_came(aioc_operation *op, const aiocosmos_result *result);

static bool aioc_feeds_append_page_size(aioc_memory *memory, aioc_memory_buffer *lines, uint64_t rows)
{
    char text[48];
    if (rows) aioc_memory_print(text, sizeof text, "x-ms-max-item-count: %u\r\n", (unsigned)rows);
    else aioc_memory_print(text, sizeof text, "x-ms-max-item-count: -1\r\n");
    return aioc_memory_append_str(memory, lines, text);
}

static int aioc_feeds_ask_page(aioc_feeds_query *query, uint32_t timeout_ms)
{
    aioc_operation_engine *engine = query->feeds->engine;
    aioc_operation_spec spec;
    aioc_memory_buffer *lines = &engine->lines_text;
    memset(&spec, 0, sizeof spec);
    if (!aioc_feeds_set(engine->memory, lines, aioc_feeds_text(&query->lines)) ||
        !aioc_feeds_append_page_size(engine->memory, lines, query->page_items_max) ||
        (query->continuation.len && !aioc_operation_append_line(engine->memory, lines, "x-ms-continuation: ",
                                                                aioc_feeds_text(&query->continuation))))
        return aioc_operation_refuse_memory(engine);
    spec.verb = query->verb;
    spec.type = query->type;
    spec.to_feed = true;
    spec.link = aioc_feeds_text(&query->link);
    spec.item_data = query->of_items;
    if (query->of_items) spec.container_link = spec.link;
    spec.pk_text = aioc_feeds_text(&query->pk);
    spec.lines = aioc_feeds_text(lines);
    spec.session_token = aioc_feeds_text(&query->session);
    spec.body = aioc_feeds_text(&query->body);
    spec.timeout_ms = timeout_ms;
    spec.complete = aioc_feeds_page_came;
    spec.owner = query;
    return aioc_operation_accept(engine, &spec, &query->op);
}

/* The page that was lent to a callback is of no use any more. */
static void aioc_feeds_clear_page(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_feeds_answer_free(query->feeds->engine->memory, fan->shown);
    fan->shown = NULL;
    fan->out.len = 0;
    fan->out_count = 0;
}

static void aioc_feeds_deliver(aioc_feeds_query *query, const aiocosmos_page *page)
{
    aioc_operation_engine *engine = query->feeds->engine;
    aiocosmos_page_fn call = query->page;
    void *user_data = query->user_data;
    query->op = NULL;
    query->busy++;                           /* what is lent outlives a close in the callback */
    if (call) engine->callbacks++;
    if (call) call(engine->client, page, user_data);
    query->busy--;
    if (query->fan) aioc_feeds_clear_page(query);
    if (query->closed) aioc_feeds_let_query_go(query);
    else if (query->fan) aioc_feeds_stir(query);
}

/* The token of a page that is one operation: the service's own, bound to this query. */
static bool aioc_feeds_write_service_token(aioc_feeds_query *query, aiocosmos_str continuation)
{
    aioc_memory *memory = query->feeds->engine->memory;
    aioc_query_position position;
    aioc_query_piece piece;
    query->continuation_out.len = 0;
    if (continuation.len == 0) return true;
    memset(&position, 0, sizeof position);
    memset(&piece, 0, sizeof piece);
    piece.min = piece.max = aioc_memory_str("");
    piece.continuation = continuation;
    position.place = AIOC_QUERY_AT_SERVICE;
    position.question = query->question;
    position.take_left = UINT64_MAX;
    position.pieces = &piece;
    position.piece_count = 1;
    return aioc_query_token_write(memory, &query->continuation_out, &position, SIZE_MAX) == 1;
}

/* Moves on to the next page. False: no memory to remember where, and this page can be asked for again. */
static bool aioc_feeds_advance(aioc_feeds_query *query, aiocosmos_str continuation)
{
    aioc_memory *memory = query->feeds->engine->memory;
    if (!aioc_feeds_write_service_token(query, continuation) ||
        !aioc_memory_reserve(memory, &query->continuation, continuation.len)) return false;
    query->ended = continuation.len == 0;
    return aioc_feeds_set(memory, &query->continuation, continuation);
}

/* What is left of an operation's time. 0: nothing. */
static uint32_t aioc_feeds_left_ms(const aioc_operation *op)
{
    uint64_t now_us = op->engine->reactor->now_us;
    if (!op->deadline_us) return AIOCOSMOS_OFF;
    return op->deadline_us > now_us ? (uint32_t)((op->deadline_us - now_us + 999u) / 1000u) : 0;
}

/* Goes on behind an empty page, which is normal, in the time that is left. False: the page is
 * shown. */
static bool aioc_feeds_skip_page(aioc_feeds_query *query, const aioc_operation *op)
{
    uint32_t left_ms = aioc_feeds_left_ms(op);
    return query->skip_empty && !query->closed && left_ms > 0 && aioc_feeds_ask_page(query, left_ms) == 0;
}

/* An answer that is fine as such has turned out to be no page. */
static void aioc_feeds_tell_failure(aioc_operation_engine *engine, const aiocosmos_result *result)
{
    if (engine->on_failure) engine->on_failure(engine->client, result, engine->on_failure_user_data);
}

static void aioc_feeds_page_came(aioc_operation *op, const aiocosmos_result *result)
{
    aioc_operation_engine *engine = op->engine;
    aioc_feeds_query *query = (aioc_feeds_query *)op->owner;
    const aioc_operation_delivery *delivery = (const aioc_operation_delivery *)result->internal;
    aiocosmos_result adjusted = *result;
    aiocosmos_page page;
    memset(&page, 0, sizeof page);
    page.result = &adjusted;
    aioc_feeds_add_costs(engine->memory, &query->costs, result);
    if (result->status == 400 && result->sub_status == 1004 && query->plan_refusal.len)
        adjusted.message = aioc_feeds_text(&query->plan_refusal);
    if (result->status == 0) {
        page.items = aioc_json_at(aioc_operation_result_json(result), query->array);
        page.item_count = aioc_json_count(page.items);
        query->costs.items += page.item_count;
        if (page.items.type != AIOCOSMOS_JSON_ARR) {
            adjusted.status = AIOCOSMOS_E_PROTOCOL;
            adjusted.message = aioc_memory_str("the answer is not a page: it is no JSON, or has no array of items");
        } else if (!aioc_feeds_advance(query, delivery->response->wanted[AIOC_PROTOCOL_H_CONTINUATION])) {
            adjusted.status = AIOCOSMOS_E_NOMEM;
            adjusted.message = aioc_memory_str("no memory for the continuation");
        } else if (page.item_count == 0 && !query->ended && aioc_feeds_skip_page(query, op)) {
            return;
        }
        page.more = !query->ended;
        page.continuation = aioc_feeds_text(&query->continuation_out);
        if (adjusted.status != 0) aioc_feeds_tell_failure(engine, &adjusted);
    }
    if (adjusted.status != 0) {
        page.more = false;
        page.continuation.len = 0;
    }
    aioc_feeds_deliver(query, &page);
}

/*--- Many ranges: plans -------------------------------------------------------*/

/* What a plan is found by: the container, the text, and the parameters unless the plan is the same for all. */
static bool aioc_feeds_plan_key(const aioc_feeds_query *query, bool general, aioc_memory_buffer *key)
{
    aioc_memory *memory = query->feeds->engine->memory;
    const aioc_feeds_fan *fan = query->fan;
    return aioc_memory_append(memory, key, query->link.data, query->link.len) &&
           aioc_memory_append(memory, key, "\n", 1) && aioc_memory_append(memory, key, fan->sql.data, fan->sql.len) &&
           (general || (aioc_memory_append(memory, key, "\n", 1) &&
                        aioc_memory_append(memory, key, fan->params.data, fan->params.len)));
}

static aioc_query_plan *aioc_feeds_plan_kept(aioc_feeds_query *query, bool general)
{
    aioc_feeds *feeds = query->feeds;
    aioc_memory_buffer key = { NULL, 0, 0 };
    aioc_query_plan *plan = NULL;
    uint32_t i;
    if (aioc_feeds_plan_key(query, general, &key)) {
        for (i = 0; i < AIOC_FEEDS_PLANS && !plan; i++) {
            aioc_feeds_plan *kept = &feeds->plans[i];
            if (!kept->plan || kept->general != general ||
                !aioc_memory_same(aioc_feeds_text(&kept->key), aioc_feeds_text(&key))) continue;
            kept->used = ++feeds->plans_used;
            plan = kept->plan;
        }
    }
    aioc_memory_buffer_free(feeds->engine->memory, &key);
    return plan;
}

/* Keeps a plan in the place of the one that was used longest ago. Without memory for it, it is asked for again. */
static void aioc_feeds_keep_plan(aioc_feeds_query *query, aioc_query_plan *plan)
{
    aioc_feeds *feeds = query->feeds;
    aioc_memory *memory = feeds->engine->memory;
    aioc_memory_buffer key = { NULL, 0, 0 };
    aioc_feeds_plan *kept = &feeds->plans[0];
    bool general = aioc_query_plan_is_general(plan, aioc_feeds_text(&query->fan->sql));
    uint32_t i;
    if (!aioc_feeds_plan_key(query, general, &key) || key.len + plan->bytes > AIOC_FEEDS_PLAN_BYTES_MAX) {
        aioc_memory_buffer_free(memory, &key);
        return;
    }
    for (i = 1; i < AIOC_FEEDS_PLANS; i++)
        if (feeds->plans[i].used < kept->used) kept = &feeds->plans[i];
    if (kept->plan) aioc_query_plan_release(memory, kept->plan);
    aioc_memory_buffer_free(memory, &kept->key);
    aioc_query_plan_hold(plan);
    kept->plan = plan;
    kept->key = key;
    kept->general = general;
    kept->used = ++feeds->plans_used;
}

/* Something went wrong that the page owed ends with. The first failure is the one that is told. */
static void aioc_feeds_fail(aioc_feeds_fan *fan, int status, const char *message)
{
    if (fan->status) return;
    fan->status = status;
    aioc_memory_print(fan->message, sizeof fan->message, "%s", message);
}

/* It would end the same way if it were tried again. */
static void aioc_feeds_break(aioc_feeds_fan *fan, int status, const char *message)
{
    aioc_feeds_fail(fan, status, message);
    if (status != AIOCOSMOS_E_NOMEM) fan->broken = true;
}

/* What an answer, of whatever kind, adds to the page that is made. */
static void aioc_feeds_account_for(aioc_feeds_query *query, const aiocosmos_result *result)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_feeds_add_costs(query->feeds->engine->memory, &query->costs, result);
    fan->charge_ru += result->charge_ru;
    fan->throttled_us += result->throttled_us;
    fan->attempts += result->attempts;
    if (result->http_status == 0) return;
    fan->http_status = result->http_status;
    fan->sub_status = result->sub_status;
    aioc_memory_print(fan->activity_id, sizeof fan->activity_id, "%.*s", (int)result->activity_id.len,
                      result->activity_id.ptr);
    if (result->session_token.len && result->session_token.len < sizeof fan->session_token)
        aioc_memory_print(fan->session_token, sizeof fan->session_token, "%.*s", (int)result->session_token.len,
                          result->session_token.ptr);
}

/* The answer to a request for a plan is none: the gateway may serve the query by itself. */
static bool aioc_feeds_knows_no_plans(const aiocosmos_result *result)
{
    switch (result->status) {
    case 401: case 403: case 408: case 410: case 412: case 429: case 449: return false;
    default: return result->status >= 400 && result->status < 500;
    }
}

static void aioc_feeds_go_direct(aioc_feeds_query *query, const char *why)
{
    aioc_feeds_fan *fan = query->fan;
    query->plan_refusal.len = 0;
    if (why && !aioc_memory_append_str(query->feeds->engine->memory, &query->plan_refusal, why))
        query->plan_refusal.len = 0;
    if (fan->resumed) aioc_feeds_break(fan, AIOCOSMOS_E_ARGUMENT, "continuation: of a query that the server made a "
                                       "plan for, which it does no longer");
    else fan->direct = true;
}

static void aioc_feeds_plan_came(aioc_operation *op, const aiocosmos_result *result)
{
    aioc_feeds_query *query = (aioc_feeds_query *)op->owner;
    aioc_feeds_fan *fan = query->fan;
    aioc_query_plan *plan = NULL;
    char why[256];
    int status = result->status;
    fan->plan_op = NULL;
    aioc_feeds_account_for(query, result);
    if (query->closed) {
        aioc_feeds_let_query_go(query);
        return;
    }
    if (status == 0) status = aioc_query_plan_read(op->engine->memory, result->body, &plan, why, sizeof why);
    if (plan) {
        aioc_feeds_keep_plan(query, plan);
        fan->plan = plan;
    } else if (result->status == 0 && status == AIOCOSMOS_E_ARGUMENT) {
        fan->container->no_plans = true;
        aioc_feeds_go_direct(query, NULL);
    } else if (result->status == 0) {
        aioc_feeds_break(fan, status, status == AIOCOSMOS_E_NOMEM ? "no memory for the query plan" : why);
    } else if (aioc_feeds_knows_no_plans(result)) {
        aioc_memory_print(fan->message, sizeof fan->message, "%.*s", (int)result->message.len, result->message.ptr);
        aioc_feeds_go_direct(query, fan->message);
    } else {
        aioc_feeds_fail(fan, status, result->message.ptr);
    }
    aioc_feeds_stir(query);
}

/* The headers that ask for a plan. A server that does not know them takes the body for a query, by its type. */
static int aioc_feeds_ask_plan(aioc_feeds_query *query)
{
    aioc_operation_engine *engine = query->feeds->engine;
    aioc_feeds_fan *fan = query->fan;
    aioc_operation_spec spec;
    memset(&spec, 0, sizeof spec);
    spec.verb = "POST";
    spec.type = "docs";
    spec.to_feed = true;
    spec.link = aioc_feeds_text(&query->link);
    spec.container_link = spec.link;
    spec.lines = aioc_memory_str("Content-Type: application/query+json\r\n"
                                 "x-ms-cosmos-is-query-plan-request: True\r\n"
                                 "x-ms-cosmos-query-version: 1.4\r\n"
                                 "x-ms-cosmos-supported-query-features: " AIOC_QUERY_FEATURES "\r\n");
    spec.body = aioc_feeds_text(&query->body);
    spec.timeout_ms = query->timeout_ms;
    spec.internal = true;
    spec.complete = aioc_feeds_plan_came;
    spec.owner = query;
    return aioc_operation_accept(engine, &spec, &fan->plan_op);
}

/*--- Many ranges: streams -------------------------------------------------------*/

static bool aioc_feeds_stream_edges(aioc_feeds_stream *stream, aiocosmos_str min, aiocosmos_str max)
{
    aioc_memory *memory = stream->query->feeds->engine->memory;
    if (!aioc_memory_append(memory, &stream->edges, min.ptr, min.len) ||
        !aioc_memory_append(memory, &stream->edges, "", 1) ||
        !aioc_memory_append(memory, &stream->edges, max.ptr, max.len)) return false;
    stream->min = aioc_operation_str(stream->edges.data, min.len);
    stream->max = aioc_operation_str(stream->edges.data + min.len + 1, max.len);
    return true;
}

/* Puts a stream for [min, max) at a place among the others. NULL: no memory. */
static aioc_feeds_stream *aioc_feeds_stream_new(aioc_feeds_query *query, uint32_t place, aiocosmos_str min,
                                                aiocosmos_str max, aiocosmos_str continuation)
{
    aioc_memory *memory = query->feeds->engine->memory;
    aioc_feeds_fan *fan = query->fan;
    aioc_feeds_stream *stream;
    if (fan->stream_count == fan->stream_cap) {
        uint32_t cap = fan->stream_cap ? fan->stream_cap * 2 : 8;
        void *grown = aioc_memory_resize(memory, fan->streams, fan->stream_cap * sizeof *fan->streams,
                                         cap * sizeof *fan->streams);
        if (!grown) return NULL;
        fan->streams = (aioc_feeds_stream **)grown;
        fan->stream_cap = cap;
    }
    stream = (aioc_feeds_stream *)aioc_memory_zalloc(memory, sizeof *stream);
    if (!stream) return NULL;
    stream->query = query;
    if (!aioc_feeds_stream_edges(stream, min, max) || !aioc_feeds_set(memory, &stream->ask, continuation) ||
        !aioc_feeds_set(memory, &stream->position, continuation)) {
        aioc_feeds_stream_free(stream);
        return NULL;
    }
    memmove(fan->streams + place + 1, fan->streams + place, (fan->stream_count - place) * sizeof *fan->streams);
    fan->streams[place] = stream;
    fan->stream_count++;
    return stream;
}

static aiocosmos_str aioc_feeds_lesser(aiocosmos_str a, aiocosmos_str b)
{
    return aioc_protocol_epk_compare(a, b) <= 0 ? a : b;
}

static aiocosmos_str aioc_feeds_greater(aiocosmos_str a, aiocosmos_str b)
{
    return aioc_protocol_epk_compare(a, b) >= 0 ? a : b;
}

/* Cuts [min, max) at the borders of the ranges, as they are known, into streams from a place on. Returns the place
 * behind them; UINT32_MAX: no memory. */
static uint32_t aioc_feeds_cut(aioc_feeds_query *query, uint32_t place, aiocosmos_str min, aiocosmos_str max,
                               aiocosmos_str continuation)
{
    const aioc_account_container *container = query->fan->container;
    uint32_t i;
    for (i = 0; i < container->range_count; i++) {
        aiocosmos_str from = aioc_feeds_greater(min, aioc_account_text(container, container->ranges[i].min));
        aiocosmos_str to = aioc_feeds_lesser(max, aioc_account_text(container, container->ranges[i].max));
        if (aioc_protocol_epk_compare(from, to) >= 0) continue;
        if (!aioc_feeds_stream_new(query, place, from, to, continuation)) return UINT32_MAX;
        place++;
    }
    return place;
}

/* The stream's range is not one any more: it goes on as several, each from where it stood. What it has of answers stays
 * with it, and comes first. False: no memory. */
static bool aioc_feeds_recut(aioc_feeds_query *query, uint32_t place)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_feeds_stream *old = fan->streams[place];
    uint32_t end = aioc_feeds_cut(query, place + 1, old->min, old->max, aioc_feeds_text(&old->ask)), i;
    bool ok = end != UINT32_MAX;
    for (i = place + 1; ok && i < end; i++) {
        fan->streams[i]->side = old->side;
        fan->streams[i]->skipping = old->skipping;
        fan->streams[i]->skipped = old->skipped;
    }
    if (!ok) {                               /* as it was: it is tried again for the next page */
        while (fan->stream_count > place + 1 && fan->streams[place + 1]->min.ptr &&
               aioc_protocol_epk_compare(fan->streams[place + 1]->min, old->max) < 0) {
            aioc_feeds_stream_free(fan->streams[place + 1]);
            fan->stream_count--;
            memmove(fan->streams + place + 1, fan->streams + place + 2,
                    (fan->stream_count - place - 1) * sizeof *fan->streams);
        }
        return false;
    }
    old->asked_all = true;
    return true;
}

/* The streams of a reading: the spans of the plan, inside of what was asked for, from rest_min on. */
static bool aioc_feeds_cut_spans(aioc_feeds_query *query, bool whole, aiocosmos_str rest_min)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_query_span everything, span;
    uint32_t i, count = fan->plan && !whole ? fan->plan->span_count : 1;
    everything.min = aioc_memory_str("");
    everything.max = aioc_memory_str("FF");
    for (i = 0; i < count; i++) {
        span = fan->plan && !whole ? fan->plan->spans[i] : everything;
        if (!whole && fan->epk_min.len) span.min = aioc_feeds_greater(span.min, aioc_feeds_text(&fan->epk_min));
        if (!whole && fan->epk_max.len) span.max = aioc_feeds_lesser(span.max, aioc_feeds_text(&fan->epk_max));
        span.min = aioc_feeds_greater(span.min, rest_min);
        if (aioc_protocol_epk_compare(span.min, span.max) >= 0) continue;
        if (aioc_feeds_cut(query, fan->stream_count, span.min, span.max, aioc_memory_str("")) == UINT32_MAX)
            return false;
    }
    return true;
}

/*--- Many ranges: requests and answers -------------------------------------------*/

/* How many rows to ask a range for. Where all ranges' rows are merged, each holds a page or two: small ones, as large
 * as memory_max lets all of them be. */
static uint64_t aioc_feeds_rows_to_ask(const aioc_feeds_fan *fan)
{
    uint64_t rows, room, row_bytes;
    if (fan->sink != AIOC_FEEDS_TO_PAGES) return 0;
    if (!fan->ordered) return fan->page_items_max;
    rows = fan->page_items_max > AIOC_FEEDS_ROWS_ASKED ? fan->page_items_max : AIOC_FEEDS_ROWS_ASKED;
    if (fan->rows_seen) {
        room = fan->held_max / (2 * (uint64_t)fan->stream_count + 1);
        row_bytes = fan->bytes_seen / fan->rows_seen + 1;
        rows = room / row_bytes;
    }
    if (rows > AIOC_FEEDS_ROWS_MAX) rows = AIOC_FEEDS_ROWS_MAX;
    if (fan->take_left != UINT64_MAX && rows > fan->skip_left + fan->take_left) rows = fan->skip_left + fan->take_left;
    return rows ? rows : 1;
}

/* The part of its range that a stream is, unless it is all of it. */
static bool aioc_feeds_append_edges(const aioc_feeds_stream *stream, const aioc_account_range *range,
                                    aioc_memory_buffer *lines)
{
    aioc_memory *memory = stream->query->feeds->engine->memory;
    const aioc_account_container *container = stream->query->fan->container;
    if (aioc_protocol_epk_compare(stream->min, aioc_account_text(container, range->min)) == 0 &&
        aioc_protocol_epk_compare(stream->max, aioc_account_text(container, range->max)) == 0) return true;
    return aioc_memory_append_str(memory, lines, "x-ms-read-key-type: EffectivePartitionKeyRange\r\n") &&
           aioc_operation_append_line(memory, lines, "x-ms-start-epk: ", stream->min) &&
           aioc_operation_append_line(memory, lines, "x-ms-end-epk: ", stream->max);
}

static void aioc_feeds_answer_came(aioc_operation *op, const aiocosmos_result *result);

/* Asks a stream's range for its next page. 0, or why that cannot be done now. */
static int aioc_feeds_ask_range(aioc_feeds_stream *stream, const aioc_account_range *range)
{
    aioc_feeds_query *query = stream->query;
    aioc_feeds_fan *fan = query->fan;
    aioc_operation_engine *engine = query->feeds->engine;
    aioc_memory *memory = engine->memory;
    aioc_memory_buffer *lines = &engine->lines_text;
    aioc_operation_spec spec;
    int refused;
    if (!aioc_feeds_set(memory, lines, aioc_feeds_text(&query->lines)) ||
        !aioc_feeds_append_page_size(memory, lines, aioc_feeds_rows_to_ask(fan)) ||
        !aioc_feeds_append_edges(stream, range, lines) ||
        (stream->ask.len && !aioc_operation_append_line(memory, lines, "x-ms-continuation: ",
                                                        aioc_feeds_text(&stream->ask)))) return AIOCOSMOS_E_NOMEM;
    memset(&spec, 0, sizeof spec);
    spec.verb = query->verb;
    spec.type = "docs";
    spec.to_feed = true;
    spec.link = aioc_feeds_text(&query->link);
    spec.container_link = spec.link;
    spec.item_data = true;
    spec.pk_text = aioc_account_text(fan->container, range->id);
    spec.by_range = true;
    spec.lines = aioc_feeds_text(lines);
    spec.session_token = aioc_feeds_text(&query->session);
    spec.body = aioc_feeds_text(&fan->bodies[stream->side]);
    spec.timeout_ms = query->timeout_ms;
    spec.internal = true;
    spec.complete = aioc_feeds_answer_came;
    spec.owner = stream;
    refused = aioc_operation_accept(engine, &spec, &stream->op);
    if (refused) return refused;
    stream->version = fan->container->ranges_version;
    fan->in_flight++;
    return 0;
}

/* Takes an answer over. 0, or why it is not one. */
static int aioc_feeds_take_answer(aioc_feeds_stream *stream, const aiocosmos_result *result)
{
    aioc_memory *memory = stream->query->feeds->engine->memory;
    aioc_feeds_fan *fan = stream->query->fan;
    aioc_feeds_answer *answer = NULL;
    int status = aioc_feeds_answer_new(memory, result, &answer);
    if (!status && !aioc_feeds_set(memory, &stream->ask, aioc_feeds_text(&answer->behind))) {
        aioc_feeds_answer_free(memory, answer);
        status = AIOCOSMOS_E_NOMEM;
    }
    if (status) return status;
    stream->asked_all = answer->behind.len == 0;
    if (stream->last) stream->last->next = answer;
    else stream->first = answer;
    stream->last = answer;
    stream->answers++;
    fan->held += answer->bytes;
    fan->rows_seen += answer->count;
    fan->bytes_seen += answer->bytes;
    return 0;
}

/* The range was split, merged or moved (410 with 1002, 1007, 1008), perhaps without our knowing of its heirs yet. */
static bool aioc_feeds_is_gone(const aiocosmos_result *result)
{
    return result->status == 410 &&
           (result->sub_status == 1002 || result->sub_status == 1007 || result->sub_status == 1008);
}

/* Looks anew for the ranges, unless that has happened since the request was sent; at once the first time, then after a
 * pause that doubles, for a split takes its time. */
static void aioc_feeds_range_gone(aioc_feeds_stream *stream)
{
    aioc_feeds_query *query = stream->query;
    aioc_feeds_fan *fan = query->fan;
    aioc_platform_reactor *reactor = query->feeds->engine->reactor;
    if (fan->container->ranges_version != stream->version) return;
    aioc_account_doubt_ranges(fan->container);
    if (fan->pausing) return;
    fan->pausing = fan->pause_ms > 0;
    if (fan->pausing) aioc_platform_timer_start(reactor, &fan->pause, reactor->now_us + fan->pause_ms * 1000u);
    fan->pause_ms = fan->pause_ms ? fan->pause_ms * 2 : 20;
    if (fan->pause_ms > AIOC_FEEDS_PAUSE_MAX_MS) fan->pause_ms = AIOC_FEEDS_PAUSE_MAX_MS;
}

static void aioc_feeds_pause_ended(aioc_platform_timer *timer)
{
    aioc_feeds_query *query = (aioc_feeds_query *)timer->owner;
    query->fan->pausing = false;
    aioc_feeds_stir(query);
}

/* A stream that nobody reads any more is free once nothing is under way for it. */
static void aioc_feeds_stream_left(aioc_feeds_stream *stream)
{
    aioc_feeds_query *query = stream->query;
    aioc_feeds_stream **at = &query->fan->leaving;
    while (*at != stream) at = &(*at)->leaving;
    *at = stream->leaving;
    aioc_feeds_stream_free(stream);
    if (query->closed) aioc_feeds_let_query_go(query);
}

/* What a range was asked, and what that cost. */
static void aioc_feeds_note_range(const aioc_feeds_stream *stream, const aioc_operation *op,
                                  const aiocosmos_result *result, size_t items)
{
    aioc_feeds_query *query = stream->query;
    aioc_memory *memory = query->feeds->engine->memory;
    aioc_feeds_asked *asked = aioc_feeds_asked_of(memory, &query->costs, aioc_operation_pk(op));
    query->costs.items += items;
    if (!asked) return;
    asked->requests++;
    asked->items += items;
    asked->charge_ru += result->charge_ru;
    if (asked->edges.len == 0 && !aioc_memory_append(memory, &asked->edges, stream->edges.data, stream->edges.len))
        asked->edges.len = 0;
}

static void aioc_feeds_answer_came(aioc_operation *op, const aiocosmos_result *result)
{
    aioc_feeds_stream *stream = (aioc_feeds_stream *)op->owner;
    aioc_feeds_query *query = stream->query;
    aioc_feeds_fan *fan = query->fan;
    int status = result->status;
    stream->op = NULL;
    fan->in_flight--;
    aioc_feeds_account_for(query, result);
    if (stream->dropped) {
        aioc_feeds_stream_left(stream);
        return;
    }
    if (status == 0) status = aioc_feeds_take_answer(stream, result);
    aioc_feeds_note_range(stream, op, result, status == 0 ? stream->last->count : 0);
    if (status == 0) {
        fan->pause_ms = 0;
    } else if (aioc_feeds_is_gone(result)) {
        aioc_feeds_range_gone(stream);
    } else {
        stream->failed = true;
        if (result->status) aioc_feeds_fail(fan, status, result->message.ptr);
        else if (status == AIOCOSMOS_E_NOMEM) aioc_feeds_fail(fan, status, "no memory for a range's answer");
        else aioc_feeds_break(fan, status, "a range's answer is not a page: it is no JSON, or has no array of items");
    }
    aioc_feeds_stir(query);
}

static void aioc_feeds_ranges_settled(aioc_account_waiter *waiter)
{
    aioc_feeds_query *query = (aioc_feeds_query *)waiter->owner;
    query->fan->waiting = false;
    aioc_feeds_stir(query);
}

/* Whether the ranges are known, or known to be out of reach. If not, waits for them. */
static bool aioc_feeds_ranges_ready(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_operation_engine *engine = query->feeds->engine;
    if (fan->waiting || fan->pausing || engine->closing) return false;
    if (aioc_account_settled(fan->container, engine->reactor->now_us)) return true;
    fan->waiting = fan->waited = true;
    aioc_account_wait(&engine->account, fan->container, &fan->waiter);
    return false;
}

/* Whether to ask a stream for more now. What is needed is asked for whatever it costs; what is not, only as far as
 * memory_max goes. Of ranges that are read one after the other, more are read ahead the further the host reads. */
static bool aioc_feeds_wants_more(const aioc_feeds_fan *fan, uint32_t place, bool owed)
{
    const aioc_feeds_stream *stream = fan->streams[place];
    bool roomy = fan->held < fan->held_max / 2;
    if (stream->op || stream->asked_all || stream->failed) return false;
    if (fan->ordered) {
        if (stream->answers == 0) return owed || roomy;
        return roomy && stream->answers == 1 && stream->first->used * 2 >= stream->first->count &&
               fan->take_left == UINT64_MAX;
    }
    if (place == 0 && stream->answers == 0) return owed || (roomy && fan->window > 1);
    if (!roomy || place >= fan->window) return false;
    return stream->answers < (place == 0 ? 2u : 1u) && (place > 0 || fan->window > 1);
}

/* Sends what is wanted and may be sent. */
static void aioc_feeds_ask_more(aioc_feeds_query *query, bool owed)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_operation_engine *engine = query->feeds->engine;
    uint32_t place;
    for (place = 0; place < fan->stream_count && fan->in_flight < fan->parallel_max; place++) {
        aioc_feeds_stream *stream = fan->streams[place];
        const aioc_account_range *range;
        int refused;
        if (!fan->ordered && place >= fan->window && place > 0) return;
        if (!aioc_feeds_wants_more(fan, place, owed)) continue;
        if (!aioc_feeds_ranges_ready(query)) return;
        range = aioc_account_route(fan->container, stream->min);
        if (!range) {
            aioc_feeds_fail(fan, AIOCOSMOS_E_CONNECT, "the container's partition key ranges cannot be had");
            return;
        }
        if (aioc_protocol_epk_compare(aioc_account_text(fan->container, range->max), stream->max) < 0) {
            if (!aioc_feeds_recut(query, place)) {
                aioc_feeds_fail(fan, AIOCOSMOS_E_NOMEM, "no memory to follow a split");
                return;
            }
            continue;                        /* its heirs come next */
        }
        if (!aioc_operation_has_room_for_fetch(engine)) {
            query->feeds->starved = fan->starved = true;
            return;
        }
        refused = aioc_feeds_ask_range(stream, range);
        if (refused == AIOCOSMOS_E_FULL && fan->in_flight) return;       /* memory comes back with an answer */
        if (refused) {
            aioc_feeds_fail(fan, refused, refused == AIOCOSMOS_E_NOMEM ? "no memory for a request" : engine->refusal);
            return;
        }
    }
}

/*--- Many ranges: rows of the answer ----------------------------------------------*/

static const char aioc_feeds_page_head[] = "{\"Documents\":[";

static bool aioc_feeds_page_is_full(const aioc_feeds_fan *fan)
{
    uint32_t most = fan->page_items_max && fan->page_items_max < AIOC_FEEDS_ROWS_MAX ? fan->page_items_max
                                                                                     : AIOC_FEEDS_ROWS_MAX;
    return fan->out_count >= most || fan->out.len >= AIOC_FEEDS_PAGE_BYTES_MAX;
}

static bool aioc_feeds_put_row(aioc_memory *memory, aioc_feeds_fan *fan, aiocosmos_str row)
{
    if (fan->out.len == 0 && !aioc_memory_append_str(memory, &fan->out, aioc_feeds_page_head)) return false;
    if (fan->out_count && !aioc_memory_append(memory, &fan->out, ",", 1)) return false;
    if (!aioc_memory_append(memory, &fan->out, row.ptr, row.len)) return false;
    fan->out_count++;
    return true;
}

/* Whether a row has not been seen before. < 0: no memory. */
static int aioc_feeds_is_distinct(aioc_memory *memory, aioc_feeds_fan *fan, aiocosmos_json row)
{
    aioc_query_hash hash;
    if (fan->info->distinct == AIOC_QUERY_ALL) return 1;
    hash = aioc_query_hash_of(fan->key, row);
    if (fan->info->distinct == AIOC_QUERY_DISTINCT_UNORDERED)
        return aioc_query_set_add(memory, &fan->distinct, hash);
    if (fan->has_last_hash && fan->last_hash.high == hash.high && fan->last_hash.low == hash.low) return 0;
    fan->last_hash = hash;
    fan->has_last_hash = true;
    return 1;
}

/* A row of the result: through DISTINCT, OFFSET, then TOP or LIMIT, to the page. 0, or E_NOMEM. */
static int aioc_feeds_emit(aioc_memory *memory, aioc_feeds_fan *fan, aiocosmos_json row)
{
    int distinct;
    if (row.type == AIOCOSMOS_JSON_NONE || fan->take_left == 0) return 0;
    distinct = aioc_feeds_is_distinct(memory, fan, row);
    if (distinct <= 0) return distinct;
    if (fan->sink == AIOC_FEEDS_TO_COUNT) {
        fan->count++;
        return 0;
    }
    if (fan->skip_left) {
        fan->skip_left--;
        return 0;
    }
    if (!aioc_feeds_put_row(memory, fan, aioc_operation_str(row.ptr, row.len))) return AIOCOSMOS_E_NOMEM;
    if (fan->take_left != UINT64_MAX) fan->take_left--;
    return 0;
}

/* Where a row of a range goes, if its rows need no order among the ranges. 0, E_NOMEM, E_PROTOCOL. */
static int aioc_feeds_take_row(aioc_memory *memory, aioc_feeds_fan *fan, aiocosmos_json row, const char **why)
{
    switch (fan->sink) {
    case AIOC_FEEDS_TO_GROUPS: return aioc_query_groups_add(&fan->groups, row, why);
    case AIOC_FEEDS_TO_BEST: return aioc_query_best_add(&fan->best, row, why);
    case AIOC_FEEDS_TO_STATISTICS: return aioc_query_hybrid_add_statistics(&fan->hybrid, row, why);
    case AIOC_FEEDS_TO_COMPONENT: return aioc_query_hybrid_add_row(&fan->hybrid, fan->component, row, why);
    default: return aioc_feeds_emit(memory, fan, row);
    }
}

/* Bytes that the query holds beyond its ranges' answers. */
static size_t aioc_feeds_state_bytes(const aioc_feeds_fan *fan)
{
    return aioc_query_groups_bytes(&fan->groups) + aioc_query_best_bytes(&fan->best) +
           aioc_query_hybrid_bytes(&fan->hybrid) + aioc_query_set_bytes(&fan->distinct) + fan->rest.cap;
}

/* True: it has failed. */
static bool aioc_feeds_overfull(aioc_feeds_fan *fan)
{
    char text[160];
    if (aioc_feeds_state_bytes(fan) <= fan->held_max) return false;
    aioc_memory_print(text, sizeof text, "the query's groups or distinct rows take more than its memory_max of %llu "
                      "bytes", (unsigned long long)fan->held_max);
    aioc_feeds_break(fan, AIOCOSMOS_E_TOO_LARGE, text);
    return true;
}

static void aioc_feeds_row_failed(aioc_feeds_fan *fan, int status, const char *why)
{
    char text[256];
    if (status == AIOCOSMOS_E_NOMEM) {
        aioc_feeds_break(fan, status, "no memory for the query's rows");
        fan->broken = true;                  /* half of an answer has been taken */
        return;
    }
    aioc_memory_print(text, sizeof text, "the answer of a range contradicts the query plan: %s", why);
    aioc_feeds_break(fan, status, text);
}

/* The first answer of a stream has been used up. */
static aioc_feeds_answer *aioc_feeds_shift(aioc_feeds_stream *stream)
{
    aioc_feeds_fan *fan = stream->query->fan;
    aioc_feeds_answer *answer = stream->first;
    stream->first = answer->next;
    if (!stream->first) stream->last = NULL;
    stream->answers--;
    fan->held -= answer->bytes;
    answer->next = NULL;
    aioc_memory_buffer_free(stream->query->feeds->engine->memory, &stream->position);
    stream->position = answer->behind;
    memset(&answer->behind, 0, sizeof answer->behind);
    return answer;
}

static void aioc_feeds_remove_stream(aioc_feeds_fan *fan, uint32_t place)
{
    aioc_feeds_stream_drop(fan->streams[place]);
    fan->stream_count--;
    memmove(fan->streams + place, fan->streams + place + 1, (fan->stream_count - place) * sizeof *fan->streams);
}

static bool aioc_feeds_is_spent(const aioc_feeds_stream *stream)
{
    return stream->asked_all && !stream->first && !stream->op;
}

/*--- Many ranges: one after the other ---------------------------------------------*/

/* Whether an answer can be the page as it is. */
static bool aioc_feeds_passes_through(const aioc_feeds_fan *fan)
{
    return fan->sink == AIOC_FEEDS_TO_PAGES && fan->info->distinct == AIOC_QUERY_ALL && !fan->skip_left &&
           fan->take_left == UINT64_MAX;
}

static void aioc_feeds_end_reading(aioc_feeds_query *query);
static void aioc_feeds_show_page(aioc_feeds_query *query);

/* The next answer of the leftmost range, whole. */
static void aioc_feeds_read_sequence(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_memory *memory = query->feeds->engine->memory;
    aioc_feeds_answer *answer;
    const char *why = "";
    int status = 0;
    while (fan->stream_count && aioc_feeds_is_spent(fan->streams[0])) aioc_feeds_remove_stream(fan, 0);
    if (fan->stream_count == 0 || fan->take_left == 0) {
        aioc_feeds_end_reading(query);
        return;
    }
    if (!fan->streams[0]->first) return;                 /* it will come */
    answer = aioc_feeds_shift(fan->streams[0]);
    aioc_feeds_stir(query);
    if (aioc_feeds_passes_through(fan)) {
        if (answer->count == 0 && query->skip_empty) {
            fan->window = fan->window < fan->parallel_max ? fan->window * 2 : fan->window;
            aioc_feeds_answer_free(memory, answer);
            return;
        }
        fan->shown = answer;
        aioc_feeds_show_page(query);
        return;
    }
    while (!status && aioc_json_next(answer->rows, NULL, &answer->row))
        status = aioc_feeds_take_row(memory, fan, answer->row, &why);
    aioc_feeds_answer_free(memory, answer);
    if (status) aioc_feeds_row_failed(fan, status, why);
    else if (!aioc_feeds_overfull(fan) && fan->sink == AIOC_FEEDS_TO_PAGES && (fan->out_count || !query->skip_empty))
        aioc_feeds_show_page(query);
}

/*--- Many ranges: in order ----------------------------------------------------------*/

static const char *const aioc_feeds_row_fields[] = { "_rid", "orderByItems", "payload" };

/* By their values, column by column; ties by the place of the range in the key space. */
static int aioc_feeds_compare_items(const aioc_query_info *info, aiocosmos_json a, aiocosmos_json b)
{
    aiocosmos_json one, other;
    uint32_t column;
    memset(&one, 0, sizeof one);
    memset(&other, 0, sizeof other);
    for (column = 0; column < info->order_count; column++) {
        int order;
        aioc_json_next(a, NULL, &one);
        aioc_json_next(b, NULL, &other);
        order = aioc_query_compare(aioc_json_at(one, "/item"), aioc_json_at(other, "/item"));
        if (order) return info->descending[column] ? -order : order;
    }
    return 0;
}

static bool aioc_feeds_before(const aioc_feeds_fan *fan, const aioc_feeds_stream *a, const aioc_feeds_stream *b)
{
    int order = aioc_feeds_compare_items(fan->info, a->items, b->items);
    return order ? order < 0 : a->heap_order < b->heap_order;
}

static void aioc_feeds_heap_down(aioc_feeds_fan *fan, uint32_t at)
{
    aioc_feeds_stream *moved = fan->heap[at];
    uint32_t child;
    for (; (child = 2 * at + 1) < fan->heap_count; at = child) {
        if (child + 1 < fan->heap_count && aioc_feeds_before(fan, fan->heap[child + 1], fan->heap[child])) child++;
        if (!aioc_feeds_before(fan, fan->heap[child], moved)) break;
        fan->heap[at] = fan->heap[child];
    }
    fan->heap[at] = moved;
}

static void aioc_feeds_heap_push(aioc_feeds_fan *fan, aioc_feeds_stream *stream)
{
    uint32_t at = fan->heap_count++;
    for (; at && aioc_feeds_before(fan, stream, fan->heap[(at - 1) / 2]); at = (at - 1) / 2)
        fan->heap[at] = fan->heap[(at - 1) / 2];
    fan->heap[at] = stream;
    stream->in_heap = true;
}

/* Reads the sort values and so on of a stream's next row. 1: there is one; 0: none has come; E_PROTOCOL. */
static int aioc_feeds_next_head(aioc_feeds_stream *stream, const aioc_query_info *info)
{
    aioc_memory *memory = stream->query->feeds->engine->memory;
    while (stream->first) {
        aioc_feeds_answer *answer = stream->first;
        if (aioc_json_next(answer->rows, NULL, &answer->row)) {
            aiocosmos_json item;
            answer->used++;
            stream->head = answer->row;
            stream->items = aioc_json_at(answer->row, "/orderByItems");
            memset(&item, 0, sizeof item);
            if (stream->items.type != AIOCOSMOS_JSON_ARR || aioc_json_count(stream->items) != info->order_count)
                return AIOCOSMOS_E_PROTOCOL;
            while (aioc_json_next(stream->items, NULL, &item))
                if (item.type != AIOCOSMOS_JSON_OBJ) return AIOCOSMOS_E_PROTOCOL;
            return 1;
        }
        aioc_feeds_answer_free(memory, aioc_feeds_shift(stream));
    }
    return 0;
}

static aiocosmos_str aioc_feeds_rid_of(aiocosmos_json row)
{
    aiocosmos_json rid = aioc_json_at(row, "/_rid");
    if (rid.type != AIOCOSMOS_JSON_STR || rid.len < 2) return aioc_memory_str("");
    return aioc_operation_str(rid.ptr + 1, rid.len - 2);
}

/* Whether a row that a resumed stream begins with was given before: those with the very values of the last row given,
 * up to its item, and of that item as many as were given. Among arrays and objects the service has an order of its own:
 * there, all up to that item. 1: it was; 0: it was not, nor are those behind it; E_PROTOCOL: that item is gone. */
static int aioc_feeds_was_given(aioc_feeds_stream *stream, const char **why)
{
    const aioc_feeds_fan *fan = stream->query->fan;
    int order = aioc_feeds_compare_items(fan->info, stream->items, fan->from_items);
    int rid = aioc_query_rid_compare(aioc_feeds_rid_of(stream->head), fan->from.rid_of_row);
    *why = "the item at which it was to be resumed is gone, and arrays or objects have no order to find its place by";
    if (order == 0 && rid == 0 && stream->skipped < fan->from.rows_of_rid) {
        stream->skipped++;
        if (fan->from_unordered && stream->skipped == fan->from.rows_of_rid) stream->skipping = false;
        return 1;
    }
    if (order < 0 || (order == 0 && fan->from_unordered)) return 1;
    if (fan->from_unordered) return AIOCOSMOS_E_PROTOCOL;
    if (order == 0 && rid < 0) return 1;
    stream->skipping = false;
    return 0;
}

/* A stream's next row that was not given before. 1, 0: none has come; E_PROTOCOL. */
static int aioc_feeds_next_new_head(aioc_feeds_stream *stream, const char **why)
{
    const aioc_feeds_fan *fan = stream->query->fan;
    int found, given;
    do {
        *why = "a row lacks its orderByItems";
        found = aioc_feeds_next_head(stream, fan->info);
        given = found == 1 && stream->skipping ? aioc_feeds_was_given(stream, why) : 0;
    } while (given == 1);
    return given < 0 ? given : found;
}

/* Brings streams whose next row is known into the heap. False: one has failed, or one's next row is still to come, and
 * nothing can be said of the order before. */
static bool aioc_feeds_fill_heap(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    const char *why;
    uint32_t place;
    bool complete = true;
    for (place = 0; place < fan->stream_count; place++) {
        aioc_feeds_stream *stream = fan->streams[place];
        int found;
        stream->heap_order = place;
        if (stream->in_heap) continue;
        found = aioc_feeds_next_new_head(stream, &why);
        if (found < 0) {
            aioc_feeds_row_failed(fan, found, why);
            return false;
        }
        if (found) aioc_feeds_heap_push(fan, stream);
        else if (!aioc_feeds_is_spent(stream)) complete = false;
    }
    for (place = fan->stream_count; place-- > 0;)
        if (!fan->streams[place]->in_heap && aioc_feeds_is_spent(fan->streams[place]))
            aioc_feeds_remove_stream(fan, place);
    return complete;
}

/* Remembers the row that was given last: a token is made of it. */
static bool aioc_feeds_remember(aioc_memory *memory, aioc_feeds_fan *fan, const aioc_feeds_stream *stream)
{
    aiocosmos_str rid = aioc_feeds_rid_of(stream->head);
    aiocosmos_str items = aioc_operation_str(stream->items.ptr, stream->items.len);
    bool again = fan->last_rows && aioc_memory_same(aioc_feeds_text(&fan->last_rid), rid) &&
                 aioc_memory_same(aioc_feeds_text(&fan->last_items), items);
    if (again) {
        fan->last_rows++;
        return true;
    }
    fan->last_rows = 1;
    return aioc_feeds_set(memory, &fan->last_rid, rid) && aioc_feeds_set(memory, &fan->last_items, items) &&
           aioc_feeds_set(memory, &fan->last_min, stream->min) && aioc_feeds_set(memory, &fan->last_max, stream->max);
}

/* Gives the first row of the heap. 0, or E_NOMEM. */
static int aioc_feeds_give_first(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_memory *memory = query->feeds->engine->memory;
    aioc_feeds_stream *stream = fan->heap[0];
    int status = aioc_feeds_emit(memory, fan, aioc_json_at(stream->head, "/payload"));
    if (!status && !aioc_feeds_remember(memory, fan, stream)) status = AIOCOSMOS_E_NOMEM;
    return status;
}

static bool aioc_feeds_grow_heap(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    void *grown;
    if (fan->heap_cap >= fan->stream_count) return true;
    grown = aioc_memory_resize(query->feeds->engine->memory, fan->heap, fan->heap_cap * sizeof *fan->heap,
                               fan->stream_cap * sizeof *fan->heap);
    if (!grown) aioc_feeds_fail(fan, AIOCOSMOS_E_NOMEM, "no memory to merge the ranges");
    if (!grown) return false;
    fan->heap = (aioc_feeds_stream **)grown;
    fan->heap_cap = fan->stream_cap;
    return true;
}

/* Moves the first stream of the heap on to its next row. 0: that has not come; E_PROTOCOL. */
static int aioc_feeds_heap_next(aioc_feeds_fan *fan)
{
    aioc_feeds_stream *first = fan->heap[0];
    int found = aioc_feeds_next_head(first, fan->info);
    if (found <= 0) {
        first->in_heap = false;
        fan->heap[0] = fan->heap[--fan->heap_count];
    }
    if (fan->heap_count) aioc_feeds_heap_down(fan, 0);
    return found;
}

/* Merges some rows, as far as the next row of every range is known. */
static void aioc_feeds_read_ordered(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    uint32_t left = AIOC_FEEDS_SLICE;
    bool complete = aioc_feeds_grow_heap(query) && aioc_feeds_fill_heap(query);
    int status = 0;
    while (complete && left-- && fan->heap_count && fan->take_left && !aioc_feeds_page_is_full(fan)) {
        status = aioc_feeds_give_first(query);
        if (status == 0) status = aioc_feeds_heap_next(fan);
        if (status < 0) {
            aioc_feeds_row_failed(fan, status, "a row lacks its orderByItems");
            return;
        }
        if (status == 0) complete = aioc_feeds_fill_heap(query);
    }
    if (fan->status || aioc_feeds_overfull(fan)) return;
    if (aioc_feeds_page_is_full(fan)) aioc_feeds_show_page(query);
    else if (fan->take_left == 0 || (complete && fan->heap_count == 0)) aioc_feeds_end_reading(query);
    else if (complete) aioc_feeds_stir(query);
}

/*--- Many ranges: pages -----------------------------------------------------------*/

/* What is left to read, from the leftmost stream on. A stream that was split has its heirs behind it, which begin where
 * its last answer ended: as long as it has answers, they are not told of. */
static uint32_t aioc_feeds_list_pieces(const aioc_feeds_fan *fan, aioc_query_piece *pieces, bool all,
                                       aiocosmos_str *rest_min)
{
    aiocosmos_str covered = aioc_memory_str("");
    uint32_t place, count = 0;
    *rest_min = aioc_memory_str("FF");
    for (place = 0; place < fan->stream_count; place++) {
        const aioc_feeds_stream *stream = fan->streams[place];
        if (aioc_feeds_is_spent(stream) || aioc_protocol_epk_compare(stream->min, covered) < 0) continue;
        if (count && !all && stream->position.len == 0) {
            *rest_min = stream->min;
            return count;
        }
        pieces[count].min = stream->min;
        pieces[count].max = stream->max;
        pieces[count].continuation = aioc_feeds_text(&stream->position);
        count++;
        covered = stream->max;
    }
    return count;
}

/* The rows that are left to give, as an array. */
static bool aioc_feeds_rest_text(aioc_feeds_query *query, aiocosmos_str *out)
{
    aioc_operation_engine *engine = query->feeds->engine;
    aioc_feeds_fan *fan = query->fan;
    aioc_memory_buffer *text = &engine->body_text;
    const char *from = fan->rest.data, *end = fan->rest.data + fan->rest.len;
    if (fan->rest_row.type != AIOCOSMOS_JSON_NONE) from = fan->rest_row.ptr + fan->rest_row.len;
    text->len = 0;                           /* from: at "[" or, behind a row, at "," */
    if (!aioc_memory_append(engine->memory, text, "[", 1) ||
        !aioc_memory_append(engine->memory, text, from + 1, (size_t)(end - from) - 1)) return false;
    *out = aioc_feeds_text(text);
    return true;
}

static void aioc_feeds_place_distinct(const aioc_feeds_fan *fan, aioc_query_position *position)
{
    position->key[0] = fan->key[0];
    position->key[1] = fan->key[1];
    position->has_last = fan->has_last_hash;
    position->last = fan->last_hash;
    position->seen = fan->distinct.slots;
    position->seen_count = fan->distinct.count;
}

/* Where the query stands behind the page that is about to be called back, as a token; none, if it would be longer than
 * was allowed. False: no memory. */
static bool aioc_feeds_write_token(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_memory *memory = query->feeds->engine->memory;
    aioc_query_position position;
    aioc_query_piece *pieces = NULL;
    size_t pieces_size = (fan->stream_count + 1u) * sizeof *pieces;
    int written = AIOCOSMOS_E_NOMEM;
    query->continuation_out.len = 0;
    if (!fan->more) return true;
    memset(&position, 0, sizeof position);
    position.question = query->question;
    memcpy(position.rid, fan->container->rid, sizeof position.rid);
    position.skip_left = fan->skip_left;
    position.take_left = fan->take_left;
    position.rest_min = aioc_memory_str("FF");
    pieces = (aioc_query_piece *)aioc_memory_alloc(memory, pieces_size);
    if (!pieces) return false;
    if (fan->stage == AIOC_FEEDS_GIVING) {
        position.place = AIOC_QUERY_IN_ROWS;
        if (!aioc_feeds_rest_text(query, &position.rows)) position.place = 0;
    } else if (fan->ordered) {
        position.place = AIOC_QUERY_IN_ORDER;
        position.min = aioc_feeds_text(&fan->last_min);
        position.max = aioc_feeds_text(&fan->last_max);
        position.values = aioc_feeds_text(&fan->last_items);
        position.rid_of_row = aioc_feeds_text(&fan->last_rid);
        position.rows_of_rid = fan->last_rows;
    } else {
        position.place = AIOC_QUERY_IN_SEQUENCE;
        position.pieces = pieces;
        position.piece_count = aioc_feeds_list_pieces(fan, pieces, false, &position.rest_min);
    }
    if (position.place != AIOC_QUERY_IN_ROWS) aioc_feeds_place_distinct(fan, &position);
    if (position.place)
        written = aioc_query_token_write(memory, &query->continuation_out, &position, fan->continuation_max);
    aioc_memory_free(memory, pieces, pieces_size);
    return written >= 0;
}

/* Ends the operation of the page that is owed. */
static void aioc_feeds_end_page(aioc_feeds_query *query, int status, const char *message)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_operation *op = query->op;
    op->charge_ru = fan->charge_ru;
    op->throttled_us = fan->throttled_us;
    op->attempts = fan->attempts;
    op->http_status = fan->http_status;
    op->sub_status = fan->sub_status;
    memcpy(op->activity_id, fan->activity_id, sizeof op->activity_id);
    fan->charge_ru = 0;
    fan->throttled_us = 0;
    fan->attempts = 0;
    op->state = AIOC_OPERATION_READY;
    aioc_operation_finish(op, status, AIOCOSMOS_ANSWERED, NULL, message);
}

/* Ends the page that is owed with the first failure. Asked again, the query tries again, unless that is of no use. */
static void aioc_feeds_end_page_failed(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_operation_engine *engine = query->feeds->engine;
    int status = fan->status;
    uint32_t place;
    query->ended = fan->broken;
    fan->status = 0;
    for (place = 0; place < fan->stream_count; place++) fan->streams[place]->failed = false;
    aioc_memory_print(engine->message, sizeof engine->message, "%s", fan->message);
    aioc_feeds_end_page(query, status, engine->message);
}

/* Whether anything is left behind the page that is shown. */
static bool aioc_feeds_has_more(const aioc_feeds_fan *fan)
{
    uint32_t place;
    if (fan->take_left == 0 || fan->stage == AIOC_FEEDS_OVER) return false;
    if (fan->stage == AIOC_FEEDS_GIVING) return fan->rest_left > 0;
    for (place = 0; place < fan->stream_count; place++)
        if (!aioc_feeds_is_spent(fan->streams[place])) return true;
    return false;
}

/* Closes the text of a page that was put together. */
static bool aioc_feeds_close_page(aioc_feeds_query *query)
{
    aioc_memory *memory = query->feeds->engine->memory;
    aioc_feeds_fan *fan = query->fan;
    char tail[48];
    if (fan->shown) return true;
    if (fan->out.len == 0 && !aioc_memory_append_str(memory, &fan->out, aioc_feeds_page_head)) return false;
    aioc_memory_print(tail, sizeof tail, "],\"_count\":%u}", (unsigned)fan->out_count);
    return aioc_memory_append_str(memory, &fan->out, tail);
}

/* Calls back with what there is. */
static void aioc_feeds_show_page(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    fan->more = aioc_feeds_has_more(fan);
    if (!aioc_feeds_write_token(query) || !aioc_feeds_close_page(query)) {
        aioc_feeds_break(fan, AIOCOSMOS_E_NOMEM, "no memory for the page");
        fan->broken = true;                  /* its rows are gone */
        aioc_feeds_end_page_failed(query);
        return;
    }
    if (!fan->more) query->ended = true;
    if (fan->window < fan->parallel_max) fan->window = fan->window * 2 < fan->parallel_max ? fan->window * 2
                                                                                          : fan->parallel_max;
    aioc_feeds_end_page(query, 0, "");
}

/* The gateway serves the query by itself: each page is one operation from here on, this one in the time left. */
static int aioc_feeds_leave_fan(aioc_feeds_query *query, const aioc_operation *op)
{
    aioc_operation_engine *engine = query->feeds->engine;
    uint32_t left_ms = aioc_feeds_left_ms(op);
    aioc_feeds_fan_free(query);
    query->op = NULL;
    if (query->closed) aioc_memory_print(engine->refusal, sizeof engine->refusal, "cancelled");
    if (query->closed) return AIOCOSMOS_E_CANCELLED;
    if (left_ms == 0) aioc_memory_print(engine->refusal, sizeof engine->refusal, "timed out after asking for a plan");
    return left_ms ? aioc_feeds_ask_page(query, left_ms) : AIOCOSMOS_E_TIMEOUT;
}

/* The operation of a page has ended. */
static void aioc_feeds_fan_page_came(aioc_operation *op, const aiocosmos_result *result)
{
    aioc_feeds_query *query = (aioc_feeds_query *)op->owner;
    aioc_feeds_fan *fan = query->fan;
    aioc_operation_delivery *delivery = (aioc_operation_delivery *)(uintptr_t)result->internal;
    aiocosmos_result adjusted = *result;
    aiocosmos_page page;
    memset(&page, 0, sizeof page);
    page.result = &adjusted;
    if (fan->direct && result->status == 0) {
        int refused = aioc_feeds_leave_fan(query, op);
        if (!refused) return;
        adjusted.status = refused;
        adjusted.message = aioc_memory_str(op->engine->refusal);
        aioc_feeds_tell_failure(op->engine, &adjusted);
        aioc_feeds_deliver(query, &page);
        return;
    }
    adjusted.session_token = aioc_memory_str(fan->session_token);
    if (result->status == 0) {
        if (fan->shown) {
            delivery->parsed = true;
            delivery->root = aioc_json_root(&fan->shown->doc);
            delivery->body = fan->shown->body.text;
        } else {
            delivery->body = aioc_feeds_text(&fan->out);
        }
        adjusted.body = delivery->body;
        page.items = aioc_json_at(aioc_operation_result_json(&adjusted), "/Documents");
        page.item_count = aioc_json_count(page.items);
        page.more = fan->more;
        page.continuation = aioc_feeds_text(&query->continuation_out);
        if (page.items.type != AIOCOSMOS_JSON_ARR) {
            adjusted.status = AIOCOSMOS_E_NOMEM;
            adjusted.message = aioc_memory_str("no memory to parse the page");
            aioc_feeds_tell_failure(op->engine, &adjusted);
        }
    }
    aioc_feeds_deliver(query, &page);
}

/*--- Many ranges: from the plan to the last row -----------------------------------*/

/* What every range is asked: the text of the plan, with the filter of each side of where the query is resumed. */
static int aioc_feeds_build_bodies(aioc_feeds_query *query, aiocosmos_str sql)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_memory *memory = query->feeds->engine->memory;
    aioc_memory_buffer text = { NULL, 0, 0 }, filter = { NULL, 0, 0 };
    bool ok = true, found = true, in_order = fan->from_items.type == AIOCOSMOS_JSON_ARR;
    int side;
    for (side = AIOC_QUERY_FRESH; ok && side <= (in_order ? AIOC_QUERY_RIGHT : AIOC_QUERY_FRESH); side++) {
        text.len = filter.len = 0;
        ok = aioc_query_append_filter(memory, &filter, fan->info, fan->from_items, (aioc_query_side)side) &&
             aioc_query_append_text(memory, &text, sql, aioc_feeds_text(&filter), &found) &&
             aioc_feeds_append_body(memory, &fan->bodies[side], aioc_feeds_text(&text), aioc_feeds_text(&fan->params));
    }
    aioc_memory_buffer_free(memory, &text);
    aioc_memory_buffer_free(memory, &filter);
    if (!ok) return AIOCOSMOS_E_NOMEM;
    return in_order && !found ? AIOCOSMOS_E_PROTOCOL : 0;
}

/* The streams of a query that is resumed in order: left of the range of the last row given, that range, right of it. */
static bool aioc_feeds_cut_in_order(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aiocosmos_str min = fan->from.min, max = fan->from.max;
    uint32_t place;
    if (!aioc_feeds_cut_spans(query, false, aioc_memory_str(""))) return false;
    for (place = 0; place < fan->stream_count; place++) {
        aioc_feeds_stream *stream = fan->streams[place];
        aiocosmos_str edge = { NULL, 0 };
        if (aioc_protocol_epk_compare(stream->min, min) < 0 && aioc_protocol_epk_compare(min, stream->max) < 0)
            edge = min;
        else if (aioc_protocol_epk_compare(stream->min, max) < 0 && aioc_protocol_epk_compare(max, stream->max) < 0)
            edge = max;
        if (edge.ptr) {                      /* ranges were merged since: cut there */
            if (!aioc_feeds_stream_new(query, place + 1, stream->min, edge, aioc_memory_str("")) ||
                !aioc_feeds_stream_new(query, place + 2, edge, stream->max, aioc_memory_str(""))) return false;
            aioc_feeds_remove_stream(fan, place--);
            continue;
        }
        stream->side = (uint8_t)(aioc_protocol_epk_compare(stream->max, min) <= 0 ? AIOC_QUERY_LEFT
                                 : aioc_protocol_epk_compare(stream->min, max) >= 0 ? AIOC_QUERY_RIGHT
                                 : AIOC_QUERY_TARGET);
        stream->skipping = stream->side == AIOC_QUERY_TARGET;
    }
    return true;
}

/* The streams of a query that is resumed in sequence: the pieces that were begun, then the rest. */
static bool aioc_feeds_cut_in_sequence(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    uint32_t i;
    for (i = 0; i < fan->from.piece_count; i++) {
        const aioc_query_piece *piece = &fan->from.pieces[i];
        if (aioc_feeds_cut(query, fan->stream_count, piece->min, piece->max, piece->continuation) == UINT32_MAX)
            return false;
    }
    return aioc_protocol_epk_compare(fan->from.rest_min, aioc_memory_str("FF")) >= 0 ||
           aioc_feeds_cut_spans(query, false, fan->from.rest_min);
}

static bool aioc_feeds_cut_all(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    bool whole = fan->sink == AIOC_FEEDS_TO_STATISTICS;      /* of all that is there, not of what is asked for */
    if (!fan->resumed || whole) return aioc_feeds_cut_spans(query, whole, aioc_memory_str(""));
    if (fan->from_items.type == AIOCOSMOS_JSON_ARR) return aioc_feeds_cut_in_order(query);
    if (fan->from.place == AIOC_QUERY_IN_ORDER) return aioc_feeds_cut_spans(query, false, aioc_memory_str(""));
    return aioc_feeds_cut_in_sequence(query);
}

/* Begins to read the ranges: a text, what it is, and where its rows go. */
static void aioc_feeds_begin_reading(aioc_feeds_query *query, aiocosmos_str sql, const aioc_query_info *info,
                                     aioc_feeds_sink sink)
{
    aioc_feeds_fan *fan = query->fan;
    int status;
    fan->info = info;
    fan->sink = (uint8_t)sink;
    fan->ordered = info->order_count && sink == AIOC_FEEDS_TO_PAGES;
    if (sink != AIOC_FEEDS_TO_PAGES) fan->window = fan->parallel_max;
    if (info->order_count > AIOC_FEEDS_COLUMNS_MAX) {
        aioc_feeds_break(fan, AIOCOSMOS_E_PROTOCOL, "the query plan has more than 16 columns of ORDER BY");
        return;
    }
    status = aioc_feeds_build_bodies(query, sql.len ? sql : aioc_feeds_text(&fan->sql));
    if (status == AIOCOSMOS_E_PROTOCOL) {
        aioc_feeds_break(fan, status, "the query plan has no place for the filter by which the query is resumed");
    } else if (status || !aioc_feeds_cut_all(query)) {
        aioc_feeds_drop_streams(fan);
        aioc_feeds_fail(fan, AIOCOSMOS_E_NOMEM, "no memory to read the ranges");
    } else {
        fan->stage = AIOC_FEEDS_READING;
    }
}

/* Begins to give rows that had to be complete first. */
static void aioc_feeds_begin_giving(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    int status = aioc_json_parse(&fan->rest_doc, fan->rest.data, fan->rest.len);
    if (status) {
        aioc_feeds_break(fan, AIOCOSMOS_E_NOMEM, "no memory for the rows of the result");
        fan->broken = true;
        return;
    }
    memset(&fan->rest_row, 0, sizeof fan->rest_row);
    fan->rest_left = aioc_json_count(aioc_json_root(&fan->rest_doc));
    fan->stage = AIOC_FEEDS_GIVING;
    fan->sink = AIOC_FEEDS_TO_PAGES;
    aioc_feeds_stir(query);
}

static int aioc_feeds_next_result(aioc_feeds_fan *fan, aioc_feeds_sink sink, aioc_memory_buffer *out)
{
    switch (sink) {
    case AIOC_FEEDS_TO_GROUPS: return aioc_query_groups_next(&fan->groups, out);
    case AIOC_FEEDS_TO_BEST: return aioc_query_best_next(&fan->best, out);
    default: return aioc_query_hybrid_next(&fan->hybrid, out);
    }
}

/* Collects the result rows of groups and the like, which are all there. False: no memory. */
static bool aioc_feeds_collect(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_memory *memory = query->feeds->engine->memory;
    size_t before;
    int found;
    if (!aioc_feeds_set(memory, &fan->rest, aioc_memory_str("["))) return false;
    do {
        before = fan->rest.len;
        if (before > 1 && !aioc_memory_append(memory, &fan->rest, ",", 1)) return false;
        found = aioc_feeds_next_result(fan, (aioc_feeds_sink)fan->sink, &fan->rest);
        if (found < 0) return false;
        if (found == 0) fan->rest.len = before;
    } while (found);
    return aioc_memory_append(memory, &fan->rest, "]", 1);
}

static bool aioc_feeds_collect_count(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_memory *memory = query->feeds->engine->memory;
    aiocosmos_str alias = fan->info->dcount_alias;
    return aioc_feeds_set(memory, &fan->rest, aioc_memory_str(alias.len ? "[{" : "[")) &&
           (alias.len == 0 || (aioc_json_append_string(memory, &fan->rest, alias.ptr, alias.len, false) &&
                               aioc_memory_append(memory, &fan->rest, ":", 1))) &&
           aioc_memory_append_u64(memory, &fan->rest, fan->count) &&
           aioc_memory_append_str(memory, &fan->rest, alias.len ? "}]" : "]");
}

static void aioc_feeds_begin_component(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_memory *memory = query->feeds->engine->memory;
    aioc_memory_buffer sql = { NULL, 0, 0 };
    char why[256];
    int status = aioc_query_hybrid_component_text(&fan->hybrid, fan->component, &sql, why, sizeof why);
    if (status) aioc_feeds_break(fan, status, status == AIOCOSMOS_E_NOMEM ? "no memory for a component's query" : why);
    else aioc_feeds_begin_reading(query, aioc_feeds_text(&sql), &fan->plan->components[fan->component].info,
                                  AIOC_FEEDS_TO_COMPONENT);
    aioc_memory_buffer_free(memory, &sql);
}

/* The ranges have been read. */
static void aioc_feeds_end_reading(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_memory *memory = query->feeds->engine->memory;
    bool ok = true;
    aioc_feeds_drop_streams(fan);
    switch (fan->sink) {
    case AIOC_FEEDS_TO_PAGES:
        fan->stage = AIOC_FEEDS_OVER;
        aioc_feeds_show_page(query);
        return;
    case AIOC_FEEDS_TO_STATISTICS:
        fan->component = 0;
        aioc_feeds_begin_component(query);
        aioc_feeds_stir(query);
        return;
    case AIOC_FEEDS_TO_COMPONENT:
        if (++fan->component < fan->plan->component_count) {
            aioc_feeds_begin_component(query);
            aioc_feeds_stir(query);
            return;
        }
        fan->info = &fan->plan->info;
        ok = aioc_query_hybrid_finish(&fan->hybrid) == 0 && aioc_feeds_collect(query);
        aioc_query_hybrid_close(&fan->hybrid);
        break;
    case AIOC_FEEDS_TO_COUNT:
        ok = aioc_feeds_collect_count(query);
        aioc_query_set_free(memory, &fan->distinct);
        break;
    case AIOC_FEEDS_TO_GROUPS:
        ok = aioc_feeds_collect(query);
        aioc_query_groups_close(&fan->groups);
        break;
    default:
        ok = aioc_feeds_collect(query);
        aioc_query_best_close(&fan->best);
        break;
    }
    if (ok) {
        aioc_feeds_begin_giving(query);
    } else {
        aioc_feeds_break(fan, AIOCOSMOS_E_NOMEM, "no memory for the rows of the result");
        fan->broken = true;
    }
}

/* Some rows of those that are complete. */
static void aioc_feeds_give(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_memory *memory = query->feeds->engine->memory;
    aiocosmos_json all = aioc_json_root(&fan->rest_doc);
    uint32_t left = AIOC_FEEDS_SLICE;
    while (left-- && fan->take_left && !aioc_feeds_page_is_full(fan) && aioc_json_next(all, NULL, &fan->rest_row)) {
        int status = aioc_feeds_emit(memory, fan, fan->rest_row);
        fan->rest_left--;
        if (status) {
            aioc_feeds_row_failed(fan, status, "");
            return;
        }
    }
    if (fan->rest_left && fan->take_left && !aioc_feeds_page_is_full(fan)) {
        aioc_feeds_stir(query);
        return;
    }
    if (fan->rest_left == 0 || fan->take_left == 0) fan->stage = AIOC_FEEDS_OVER;
    aioc_feeds_show_page(query);
}

/* OFFSET, and the lesser of TOP and LIMIT. */
static void aioc_feeds_set_limits(aioc_feeds_fan *fan, const aioc_query_info *info)
{
    fan->skip_left = info->has_offset ? info->offset : 0;
    fan->take_left = info->has_limit ? info->limit : UINT64_MAX;
    if (info->has_top && info->top < fan->take_left) fan->take_left = info->top;
}

/* Goes back to where the token says. 0, E_NOMEM, or E_ARGUMENT: it does not fit to the plan or to the container. */
static int aioc_feeds_resume(aioc_feeds_query *query, const aioc_query_info *info, aioc_feeds_sink sink)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_memory *memory = query->feeds->engine->memory;
    const aioc_query_position *from = &fan->from;
    bool in_order = info->order_count && sink == AIOC_FEEDS_TO_PAGES;
    aiocosmos_json item, value;
    uint32_t i;
    if (from->rid[0] && fan->container->rid[0] && strcmp(from->rid, fan->container->rid) != 0)
        return AIOCOSMOS_E_ARGUMENT;
    if (from->place != AIOC_QUERY_IN_ROWS &&
        (sink != AIOC_FEEDS_TO_PAGES || (from->place == AIOC_QUERY_IN_ORDER) != in_order)) return AIOCOSMOS_E_ARGUMENT;
    fan->skip_left = from->skip_left;
    fan->take_left = from->take_left;
    fan->has_last_hash = from->has_last;
    fan->last_hash = from->last;
    if (from->has_last || from->seen_count) memcpy(fan->key, from->key, sizeof fan->key);
    for (i = 0; i < from->seen_count; i++)
        if (aioc_query_set_add(memory, &fan->distinct, from->seen[i]) < 0) return AIOCOSMOS_E_NOMEM;
    if (from->place == AIOC_QUERY_IN_ROWS) {
        if (!aioc_feeds_set(memory, &fan->rest, from->rows)) return AIOCOSMOS_E_NOMEM;
        fan->info = info;
        aioc_feeds_begin_giving(query);
        return 0;
    }
    if (!in_order || from->values.len == 0) return 0;       /* no row was given yet */
    if (aioc_json_parse(&fan->from_doc, from->values.ptr, from->values.len) != 0) return AIOCOSMOS_E_NOMEM;
    fan->from_items = aioc_json_root(&fan->from_doc);
    if (aioc_json_count(fan->from_items) != info->order_count) return AIOCOSMOS_E_ARGUMENT;
    memset(&item, 0, sizeof item);
    while (aioc_json_next(fan->from_items, NULL, &item)) {
        value = aioc_json_at(item, "/item");
        if (value.type == AIOCOSMOS_JSON_ARR || value.type == AIOCOSMOS_JSON_OBJ) fan->from_unordered = true;
    }
    fan->last_rows = from->rows_of_rid;
    return aioc_feeds_set(memory, &fan->last_items, from->values) &&
           aioc_feeds_set(memory, &fan->last_rid, from->rid_of_row) &&
           aioc_feeds_set(memory, &fan->last_min, from->min) && aioc_feeds_set(memory, &fan->last_max, from->max)
               ? 0 : AIOCOSMOS_E_NOMEM;
}

static aioc_feeds_sink aioc_feeds_sink_of(const aioc_query_plan *plan, const aioc_query_info *info)
{
    if (plan && plan->hybrid) return AIOC_FEEDS_TO_STATISTICS;
    if (info->non_streaming) return AIOC_FEEDS_TO_BEST;
    if (info->merges_groups) return AIOC_FEEDS_TO_GROUPS;
    return info->has_dcount ? AIOC_FEEDS_TO_COUNT : AIOC_FEEDS_TO_PAGES;
}

/* Opens what the rows are collected in. 0, or why that cannot be, with the reason. */
static int aioc_feeds_open_sink(aioc_feeds_query *query, const aioc_query_info *info, aioc_feeds_sink sink)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_memory *memory = query->feeds->engine->memory;
    if (sink == AIOC_FEEDS_TO_GROUPS) aioc_query_groups_open(&fan->groups, memory, &info->shape, fan->key);
    if (sink == AIOC_FEEDS_TO_STATISTICS) return aioc_query_hybrid_open(&fan->hybrid, memory, fan->plan, fan->key);
    if (sink != AIOC_FEEDS_TO_BEST) return 0;
    if (fan->take_left == UINT64_MAX) {
        aioc_feeds_break(fan, 400, "ORDER BY of a vector's distance or of a rank needs TOP, or OFFSET and LIMIT");
        return fan->status;
    }
    aioc_query_best_open(&fan->best, memory, fan->skip_left + fan->take_left, info->descending, info->order_count,
                         fan->key);
    return 0;
}

/* The plan is there, and the ranges: begins to read, or goes on where a token says. */
static void aioc_feeds_begin(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    const aioc_query_info *info = fan->plan ? &fan->plan->info : &fan->plain;
    aioc_feeds_sink sink = aioc_feeds_sink_of(fan->plan, info);
    int status = 0;
    aioc_feeds_set_limits(fan, info);
    fan->window = 1;
    if (fan->resumed) status = aioc_feeds_resume(query, info, sink);
    if (status == AIOCOSMOS_E_ARGUMENT)
        aioc_feeds_break(fan, status, "continuation: of a container that was deleted meanwhile, or of another plan of "
                         "this query");
    if (!status && fan->stage != AIOC_FEEDS_GIVING) status = aioc_feeds_open_sink(query, info, sink);
    if (status) aioc_feeds_fail(fan, status, "no memory to begin the query");
    if (status || fan->stage == AIOC_FEEDS_GIVING) return;
    if (sink != AIOC_FEEDS_TO_STATISTICS) {
        aioc_feeds_begin_reading(query, fan->plan ? info->rewritten : aioc_memory_str("SELECT * FROM c"), info, sink);
    } else if (fan->plan->needs_statistics) {
        aioc_feeds_begin_reading(query, fan->plan->statistics, &fan->plain, sink);
    } else {
        fan->component = 0;
        aioc_feeds_begin_component(query);
    }
}

/* Whether the gateway would fare no better. */
static bool aioc_feeds_is_out_of_reach(int status)
{
    return status == AIOCOSMOS_E_DNS || status == AIOCOSMOS_E_CONNECT || status == AIOCOSMOS_E_TLS ||
           status == AIOCOSMOS_E_AUTH;
}

/* The ranges cannot be had because there is no way to the server: whoever asks next finds out anew. */
static void aioc_feeds_network_failed(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    const aioc_account_container *container = fan->container;
    if (!fan->waited) {                      /* that was before this query: it looks for itself */
        aioc_account_doubt_ranges(fan->container);
        aioc_feeds_ranges_ready(query);
        return;
    }
    fan->waited = false;
    fan->attempts += container->failure_attempts;
    aioc_feeds_fail(fan, container->failure, container->failure_why.len ? container->failure_why.data
                                             : aioc_protocol_status_text(container->failure));
}

/* The keys that begin with these levels are one part of the key space: [hash, hash FF). Where they cannot be hashed
 * here, it is left to the gateway. */
static void aioc_feeds_span_prefix(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_memory *memory = query->feeds->engine->memory;
    aioc_memory_buffer texts = { NULL, 0, 0 };
    aiocosmos_value components[AIOC_PROTOCOL_PK_LEVELS];
    char epk[AIOC_PROTOCOL_EPK_MAX];
    size_t count = 0, len = 0;
    bool ok = aioc_protocol_pk_components(memory, &texts, aioc_feeds_text(&query->pk), components, &count) &&
              aioc_protocol_epk(&fan->container->pk_def, components, count, epk, &len) &&
              aioc_feeds_set(memory, &fan->epk_min, aioc_operation_str(epk, len));
    aioc_memory_buffer_free(memory, &texts);
    if (!ok) return;
    aioc_protocol_epk_end(false, epk, &len);
    fan->levels = 0;
    if (!aioc_feeds_set(memory, &fan->epk_max, aioc_operation_str(epk, len)) ||
        !aioc_operation_append_line(memory, &query->lines, "x-ms-documentdb-query-enablecrosspartition: ",
                                    aioc_memory_str("True")))
        aioc_feeds_break(fan, AIOCOSMOS_E_NOMEM, "no memory for the prefix of a partition key");
}

/* Gets the ranges, then the plan. */
static void aioc_feeds_prepare(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    bool known;
    int refused;
    if (!aioc_feeds_ranges_ready(query)) return;
    known = fan->container->knowledge == AIOC_ACCOUNT_KNOWN;
    if (known && fan->levels && fan->levels < fan->container->pk_def.path_count) aioc_feeds_span_prefix(query);
    if (fan->status) return;
    /* A query that has been planned can go on in no other way; that its ranges cannot be had now will pass. */
    if (!known && (fan->resumed || aioc_feeds_is_out_of_reach(fan->container->failure))) {
        aioc_feeds_network_failed(query);
    } else if (!known || fan->levels || (fan->container->no_plans && fan->sql.len)) {
        aioc_feeds_go_direct(query, NULL);   /* it is of one whole key, or the gateway knows better */
    } else if (fan->sql.len == 0 || fan->plan) {
        aioc_feeds_begin(query);
    } else if (!fan->plan_op) {
        fan->plan = aioc_feeds_plan_kept(query, true);
        if (!fan->plan) fan->plan = aioc_feeds_plan_kept(query, false);
        if (fan->plan) {
            aioc_query_plan_hold(fan->plan);
            aioc_feeds_begin(query);
            return;
        }
        refused = aioc_feeds_ask_plan(query);
        if (refused) aioc_feeds_fail(fan, refused, query->feeds->engine->refusal);
    }
}

/* A failure ends the page that is owed; rows that are there already are a page of their own, and the failure comes with
 * the next one if it is still one then. */
static void aioc_feeds_settle_failure(aioc_feeds_query *query)
{
    if (query->fan->out_count) aioc_feeds_show_page(query);
    else aioc_feeds_end_page_failed(query);
}

/* One piece of work for a query of many ranges. */
static void aioc_feeds_work_on(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    if (!fan || query->closed || query->feeds->engine->closing) return;
    query->busy++;                           /* callbacks may close it */
    if (query->op && !fan->status) {
        if (fan->stage == AIOC_FEEDS_PREPARING && !fan->direct) aioc_feeds_prepare(query);
        else if (fan->stage == AIOC_FEEDS_GIVING) aioc_feeds_give(query);
        else if (fan->stage == AIOC_FEEDS_READING && fan->ordered) aioc_feeds_read_ordered(query);
        else if (fan->stage == AIOC_FEEDS_READING) aioc_feeds_read_sequence(query);
    }
    if (query->op && fan->direct) aioc_feeds_end_page(query, 0, "");         /* it is handed over there */
    else if (query->op && fan->status) aioc_feeds_settle_failure(query);
    else if (!query->closed && fan->stage == AIOC_FEEDS_READING && !fan->status)
        aioc_feeds_ask_more(query, query->op != NULL);
    if (query->op && query->fan && query->fan->status) aioc_feeds_stir(query);
    query->busy--;
    if (query->closed) aioc_feeds_let_query_go(query);
}

/* The page that is owed is out of time, called off, or shut down. */
static void aioc_feeds_fan_stop(aioc_operation *op)
{
    aioc_feeds_query *query = (aioc_feeds_query *)op->owner;
    aioc_feeds_fan *fan = query->fan;
    const char *place = fan->waiting ? "the container's partition key ranges" : fan->plan_op ? "the query plan"
                        : fan->pausing ? "a partition key range that splits or moves" : "the ranges' answers";
    char text[160];
    if (op->stop == AIOCOSMOS_E_TIMEOUT && fan->out_count) {
        aioc_feeds_show_page(query);
        return;
    }
    aioc_memory_print(text, sizeof text, "%s while waiting for %s", aioc_protocol_status_text(op->stop), place);
    aioc_feeds_end_page(query, op->stop, text);
}

static int aioc_feeds_ask_fan(aioc_feeds_query *query)
{
    aioc_feeds_fan *fan = query->fan;
    aioc_operation_spec spec;
    int refused;
    memset(&spec, 0, sizeof spec);
    spec.verb = query->verb;
    spec.type = query->type;
    spec.timeout_ms = query->timeout_ms;
    spec.complete = aioc_feeds_fan_page_came;
    spec.stop_parts = aioc_feeds_fan_stop;
    spec.owner = query;
    refused = aioc_operation_accept(query->feeds->engine, &spec, &query->op);
    if (refused) return refused;
    if (!fan->broken) fan->status = 0;
    aioc_feeds_stir(query);
    return 0;
}

static int aioc_feeds_query_next(aioc_feeds *feeds, aiocosmos_query handle, aiocosmos_page_fn page, void *user_data)
{
    aioc_operation_engine *engine = feeds->engine;
    aioc_feeds_query *query = aioc_feeds_query_find(feeds, handle);
    if (!query) return aioc_operation_refuse(engine, "query", "unknown or closed");
    if (query->op) return aioc_operation_refuse(engine, "query", "a page is still owed");
    if (query->ended) return aioc_operation_refuse(engine, "query", "the last page has been delivered");
    query->page = page;
    query->user_data = user_data;
    return query->fan ? aioc_feeds_ask_fan(query) : aioc_feeds_ask_page(query, query->timeout_ms);
}

static void aioc_feeds_query_close(aioc_feeds *feeds, aiocosmos_query handle)
{
    aioc_feeds_query *query = aioc_feeds_query_find(feeds, handle);
    if (!query) return;
    query->closed = true;
    if (!query->op) aioc_feeds_let_query_go(query);
    else if (feeds->engine->slots[query->op->slot] == query->op) aioc_operation_stop(query->op, AIOCOSMOS_E_CANCELLED);
    /* Else it has ended and on_failure is looking at its result: the page is called back next. */
}

static bool aioc_feeds_query_get_stats(aioc_feeds *feeds, aiocosmos_query handle, aiocosmos_query_stats *out)
{
    aioc_feeds_query *query = aioc_feeds_query_find(feeds, handle);
    aioc_feeds_costs *costs;
    memset(out, 0, sizeof *out);
    if (!query || !aioc_feeds_print_metrics(feeds->engine->memory, &query->costs)) return false;
    costs = &query->costs;
    out->charge_ru = costs->charge_ru;
    out->requests = costs->requests;
    out->items = costs->items;
    out->range_count = costs->range_count;
    out->metrics = aioc_feeds_text(&costs->text);
    out->index_metrics = aioc_feeds_text(&costs->index_metrics);
    if (query->fan) out->memory_used = query->fan->held + aioc_feeds_state_bytes(query->fan);
    if (query->fan && query->fan->plan) out->plan = query->fan->plan->text;
    return true;
}

static bool aioc_feeds_query_get_range(aioc_feeds *feeds, aiocosmos_query handle, uint32_t i,
                                       aiocosmos_range_stats *out)
{
    const aioc_feeds_query *query = aioc_feeds_query_find(feeds, handle);
    const aioc_feeds_asked *asked;
    memset(out, 0, sizeof *out);
    if (!query || i >= query->costs.range_count) return false;
    asked = &query->costs.ranges[i];
    out->id = aioc_memory_str(asked->id);
    out->min = aioc_memory_str(asked->edges.len ? asked->edges.data : "");
    if (asked->edges.len)
        out->max = aioc_operation_str(asked->edges.data + out->min.len + 1, asked->edges.len - out->min.len - 1);
    out->requests = asked->requests;
    out->items = asked->items;
    out->charge_ru = asked->charge_ru;
    return true;
}

/* Room for another request has come back: those that wait for it have work. */
static bool aioc_feeds_has_starved(const aioc_feeds *feeds)
{
    return feeds->starved && aioc_operation_has_room_for_fetch(feeds->engine);
}

static void aioc_feeds_feed_starved(aioc_feeds *feeds)
{
    uint32_t i;
    feeds->starved = false;
    for (i = 0; i < feeds->slot_count; i++) {
        aioc_feeds_query *query = feeds->slots[i].query;
        if (!query || !query->fan || !query->fan->starved) continue;
        query->fan->starved = false;
        aioc_feeds_stir(query);
    }
}

/* One piece of work for one query. False: none has any. */
static bool aioc_feeds_work_on_queries(aioc_feeds *feeds)
{
    aioc_feeds_query *query;
    if (aioc_feeds_has_starved(feeds)) aioc_feeds_feed_starved(feeds);
    query = feeds->first_stirred;
    if (!query) return false;
    aioc_feeds_calm(query);
    aioc_feeds_work_on(query);
    return true;
}

static bool aioc_feeds_queries_have_work(const aioc_feeds *feeds)
{
    return feeds->first_stirred || aioc_feeds_has_starved(feeds);
}

static void aioc_feeds_close_queries(aioc_feeds *feeds)
{
    aioc_memory *memory = feeds->engine->memory;
    uint32_t i;
    for (i = 0; i < feeds->slot_count; i++)
        if (feeds->slots[i].query) aioc_feeds_query_free(feeds->slots[i].query);
    for (i = 0; i < AIOC_FEEDS_PLANS; i++) {
        if (feeds->plans[i].plan) aioc_query_plan_release(memory, feeds->plans[i].plan);
        aioc_memory_buffer_free(memory, &feeds->plans[i].key);
    }
    aioc_memory_free(memory, feeds->slots, feeds->slot_count * sizeof *feeds->slots);
}

/*--- Reads of many items: birth and death -----------------------------------*/

static const char *aioc_feeds_pair_id(const aioc_feeds_many *many, uint32_t pair)
{
    return many->texts + many->pairs[pair].id_at;
}

static const char *aioc_feeds_pair_key(const aioc_feeds_many *many, uint32_t pair)
{
    return many->texts + many->pairs[pair].pk_at;
}

static void aioc_feeds_part_free(aioc_feeds_part *part)
{
    aioc_feeds_many *many = part->many;
    aioc_memory *memory = many->feeds->engine->memory;
    if (part->prev) part->prev->next = part->next;
    else if (many->parts == part) many->parts = part->next;
    if (part->next) part->next->prev = part->prev;
    aioc_feeds_answer_free(memory, part->answer);
    aioc_memory_buffer_free(memory, &part->range);
    aioc_memory_buffer_free(memory, &part->body);
    aioc_memory_buffer_free(memory, &part->continuation);
    aioc_memory_free(memory, part->slots, part->slot_count * sizeof *part->slots);
    aioc_memory_free(memory, part, sizeof *part);
}

static void aioc_feeds_forget_shares(aioc_feeds_many *many)
{
    aioc_memory_free(many->feeds->engine->memory, many->shares, many->share_count * sizeof *many->shares);
    many->shares = NULL;
    many->share_count = 0;
    many->full = AIOC_FEEDS_NO_PAIR;
    many->last_pk_at = AIOC_FEEDS_NO_PAIR;
    many->shared = false;
}

static void aioc_feeds_many_free(aioc_feeds_many *many)
{
    aioc_feeds *feeds = many->feeds;
    aioc_memory *memory = feeds->engine->memory;
    if (many->prev) many->prev->next = many->next;
    else if (feeds->first_many == many) feeds->first_many = many->next;
    if (many->next) many->next->prev = many->prev;
    while (many->parts) aioc_feeds_part_free(many->parts);
    aioc_platform_timer_stop(feeds->engine->reactor, &many->pause);
    if (many->waiting) aioc_account_stop_waiting(many->container, &many->waiter);
    if (many->container) aioc_account_release(many->container);
    aioc_feeds_forget_shares(many);
    aioc_memory_buffer_free(memory, &many->link);
    aioc_memory_buffer_free(memory, &many->session);
    aioc_memory_buffer_free(memory, &many->scratch);
    aioc_memory_buffer_free(memory, &many->properties);
    aioc_memory_free(memory, many->texts, many->texts_size);
    aioc_memory_free(memory, many->pairs, many->pair_count * sizeof *many->pairs);
    aioc_memory_free(memory, many, sizeof *many);
}

/* The first failure is the one that is told. */
static void aioc_feeds_many_note(aioc_feeds_many *many, int status, const char *message)
{
    if (many->status) return;
    many->status = status;
    aioc_memory_print(many->message, sizeof many->message, "%s", message);
}

/* Answers a pair. False: the callback has ended the operation or the client, and nothing more is to be handed over. */
static bool aioc_feeds_give_pair(aioc_feeds_many *many, uint32_t pair, int status, bool known, aiocosmos_json item)
{
    aioc_operation_engine *engine = many->feeds->engine;
    many->pairs[pair].answered = true;
    many->left--;
    if (status == 0) many->totals.found++;
    else if (status == 404 && known) many->totals.missing++;
    else many->totals.failed++;
    engine->callbacks++;
    many->request.item(engine->client, pair, status, item, many->request.user_data);
    return !many->op->stop && !engine->closing;
}

/* The requests are called off, and every pair that is left will be answered with this status. */
static void aioc_feeds_many_end(aioc_feeds_many *many, int status, const char *message)
{
    aioc_feeds_part *part = many->parts, *next;
    aioc_feeds_many_note(many, status, message);
    many->ended = many->stirred = true;
    many->end_status = status;
    for (; part; part = next) {
        next = part->next;
        if (part->op) aioc_operation_stop(part->op, AIOCOSMOS_E_CANCELLED);
        else aioc_feeds_part_free(part);
    }
}

/* Answers up to so many of the pairs that are left. */
static void aioc_feeds_sweep(aioc_feeds_many *many, uint32_t most)
{
    for (; many->swept < many->pair_count && most; many->swept++) {
        if (many->pairs[many->swept].answered) continue;
        aioc_feeds_give_pair(many, many->swept, many->end_status, false, aioc_json_none());
        most--;
    }
}

static void aioc_feeds_many_ended(aioc_operation *op, const aiocosmos_result *result)
{
    aioc_feeds_many *many = (aioc_feeds_many *)op->owner;
    aioc_operation_engine *engine = op->engine;
    aiocosmos_many_totals totals = many->totals;
    aiocosmos_read_many_request request = many->request;
    aioc_feeds_many_free(many);
    if (!request.done) return;
    engine->callbacks++;
    request.done(engine->client, result, &totals, request.user_data);
}

/* Over when every pair is answered and nobody is left who would come back. */
static void aioc_feeds_many_finish_if_over(aioc_feeds_many *many)
{
    aioc_operation *op = many->op;
    aioc_operation_engine *engine = op->engine;
    if (many->left || many->parts) return;
    if (op->stop) {
        aioc_memory_print(engine->message, sizeof engine->message, "%s with %llu of %u items not known",
                          aioc_protocol_status_text(op->stop), (unsigned long long)many->totals.failed,
                          (unsigned)many->pair_count);
    } else {
        aioc_memory_print(engine->message, sizeof engine->message, "%s", many->message);
    }
    op->charge_ru = many->totals.charge_ru;
    op->throttled_us = many->throttled_us;
    op->attempts = many->attempts;
    op->http_status = many->http_status;
    op->sub_status = many->sub_status;
    memcpy(op->activity_id, many->activity_id, sizeof op->activity_id);
    op->state = AIOC_OPERATION_READY;
    aioc_operation_finish(op, op->stop ? op->stop : many->status, AIOCOSMOS_ANSWERED, NULL, engine->message);
}

/* It is cancelled, out of time, or shut down; then nobody comes back, and all is told at once. */
static void aioc_feeds_many_stop(aioc_operation *op)
{
    aioc_feeds_many *many = (aioc_feeds_many *)op->owner;
    aioc_feeds_many_end(many, op->stop, aioc_protocol_status_text(op->stop));
    if (!op->engine->closing) return;
    aioc_feeds_sweep(many, UINT32_MAX);
    aioc_feeds_many_finish_if_over(many);
}

/*--- Reads of many items: ranges ----------------------------------------------*/

static void aioc_feeds_many_settled(aioc_account_waiter *waiter)
{
    aioc_feeds_many *many = (aioc_feeds_many *)waiter->owner;
    many->waiting = false;
    many->stirred = true;
}

static void aioc_feeds_many_pause_ended(aioc_platform_timer *timer)
{
    aioc_feeds_many *many = (aioc_feeds_many *)timer->owner;
    many->pausing = false;
    many->stirred = true;
}

static void aioc_feeds_many_wait(aioc_feeds_many *many)
{
    many->waiting = many->waited = true;
    aioc_account_wait(&many->feeds->engine->account, many->container, &many->waiter);
}

static void aioc_feeds_push(aioc_feeds_many *many, uint32_t *list, uint32_t pair)
{
    many->pairs[pair].next = *list;
    *list = pair;
}

/* Those of a list that are not answered will be shared out anew. */
static void aioc_feeds_share_again(aioc_feeds_many *many, uint32_t pair)
{
    while (pair != AIOC_FEEDS_NO_PAIR) {
        uint32_t next = many->pairs[pair].next;
        if (!many->pairs[pair].answered) aioc_feeds_push(many, &many->again, pair);
        pair = next;
    }
}

/* The container's key paths as SQL: /a/b becomes c["a"]["b"]. 0, E_NOMEM, or E_PROTOCOL: one is malformed. */
static int aioc_feeds_name_properties(aioc_feeds_many *many)
{
    aioc_memory *memory = many->feeds->engine->memory;
    const aioc_memory_buffer *paths = &many->container->pk_paths;
    aioc_memory_buffer *out = &many->properties;
    char name[256];
    size_t at = 0;
    out->len = 0;
    while (at < paths->len) {
        aiocosmos_str path = aioc_memory_str(paths->data + at);
        at += path.len + 1;
        if (!aioc_memory_append(memory, out, "c", 1)) return AIOCOSMOS_E_NOMEM;
        do {
            if (!aioc_protocol_path_step(&path, name, sizeof name)) return AIOCOSMOS_E_PROTOCOL;
            if (!aioc_memory_append(memory, out, "[", 1) ||
                !aioc_json_append_string(memory, out, name, strlen(name), false) ||
                !aioc_memory_append(memory, out, "]", 1)) return AIOCOSMOS_E_NOMEM;
        } while (path.len);
        if (!aioc_memory_append(memory, out, "", 1)) return AIOCOSMOS_E_NOMEM;
    }
    many->key_is_id = aioc_memory_same(aioc_feeds_text(out), aioc_operation_str("c[\"id\"]", 8));
    return 0;
}

/* Empty shares: one for each range, and one for pairs that are read one by one; the latter only, where ranges are out
 * of reach or keys cannot be told by them. False: it has ended. */
static bool aioc_feeds_open_shares(aioc_feeds_many *many)
{
    const aioc_account_container *container = many->container;
    uint32_t count = 1, i;
    int status = 0;
    if (container->knowledge == AIOC_ACCOUNT_KNOWN) status = aioc_feeds_name_properties(many);
    if (container->knowledge == AIOC_ACCOUNT_KNOWN && status == 0) count += container->range_count;
    if (status != AIOCOSMOS_E_NOMEM)
        many->shares = (aioc_feeds_share *)aioc_memory_alloc(many->feeds->engine->memory, count * sizeof *many->shares);
    if (!many->shares) {
        aioc_feeds_many_end(many, AIOCOSMOS_E_NOMEM, "no memory to share out the items");
        return false;
    }
    for (i = 0; i < count; i++) {
        many->shares[i].first = AIOC_FEEDS_NO_PAIR;
        many->shares[i].count = many->shares[i].bytes = 0;
        many->shares[i].by_id = many->key_is_id;
    }
    many->share_count = count;
    many->version = container->ranges_version;
    many->shared = true;
    return true;
}

/* Whether the shares are by the ranges as they are known; if not, all is shared out anew. False: ranges are waited for,
 * or it has ended. */
static bool aioc_feeds_many_ready(aioc_feeds_many *many)
{
    aioc_account_container *container = many->container;
    aioc_operation_engine *engine = many->feeds->engine;
    uint32_t i;
    if (many->waiting || many->pausing) return false;
    if (!aioc_account_settled(container, engine->reactor->now_us)) {
        aioc_feeds_many_wait(many);
        return false;
    }
    if (many->shared && many->version == container->ranges_version) return true;
    for (i = 0; i < many->share_count; i++) aioc_feeds_share_again(many, many->shares[i].first);
    aioc_feeds_forget_shares(many);
    if (container->knowledge != AIOC_ACCOUNT_KNOWN &&
        (aioc_feeds_is_out_of_reach(container->failure) || container->failure == 404)) {
        if (!many->waited) {                 /* that was before: it looks for itself */
            aioc_account_doubt_ranges(container);
            aioc_feeds_many_wait(many);
            return false;
        }
        many->http_status = container->failure > 0 ? container->failure : 0;
        many->attempts += container->failure_attempts;
        aioc_feeds_many_end(many, container->failure, container->failure_why.len ? container->failure_why.data
                                                      : aioc_protocol_status_text(container->failure));
        return false;
    }
    return aioc_feeds_open_shares(many);
}

/* The share that a pair belongs to; SIZE_MAX: its key has not as many levels as the container's. */
static size_t aioc_feeds_share_of(aioc_feeds_many *many, uint32_t pair)
{
    const aioc_account_container *container = many->container;
    aioc_memory *memory = many->feeds->engine->memory;
    aiocosmos_value components[AIOC_PROTOCOL_PK_LEVELS];
    char epk[AIOC_PROTOCOL_EPK_MAX];
    size_t count, epk_len, one_by_one = many->share_count - 1u;
    const aioc_account_range *range;
    if (many->share_count == 1) return one_by_one;
    many->scratch.len = 0;
    if (!aioc_protocol_pk_components(memory, &many->scratch, aioc_memory_str(aioc_feeds_pair_key(many, pair)),
                                     components, &count)) return one_by_one;
    if (count != container->pk_def.path_count) return SIZE_MAX;
    if (!aioc_protocol_epk(&container->pk_def, components, count, epk, &epk_len)) return one_by_one;
    range = aioc_account_route(container, aioc_operation_str(epk, epk_len));
    return range ? (size_t)(range - container->ranges) : one_by_one;
}

/* The text of a key's level; *at moves behind it. len 0: there is none. */
static aiocosmos_json aioc_feeds_key_level(const char *key, size_t *at)
{
    aiocosmos_str array = aioc_memory_str(key);
    size_t from = *at, end;
    if (from >= array.len) return aioc_json_none();
    end = aioc_protocol_element_end(array, from);
    *at = end + 1;
    return aioc_protocol_scalar(aioc_operation_str(key + from, end - from));
}

static void aioc_feeds_add_to_share(aioc_feeds_many *many, uint32_t index, uint32_t pair)
{
    aioc_feeds_share *share = &many->shares[index];
    const char *id = aioc_feeds_pair_id(many, pair), *key = aioc_feeds_pair_key(many, pair);
    size_t at = 1;
    if (share->by_id) share->by_id = aioc_json_is_str(aioc_feeds_key_level(key, &at), id);
    aioc_feeds_push(many, &share->first, pair);
    share->count++;
    share->bytes += (uint32_t)(AIOC_FEEDS_PAIR_BYTES + AIOC_FEEDS_LEVEL_BYTES * many->container->pk_def.path_count +
                               many->properties.len + strlen(id) + strlen(key));
    if (share->count == AIOC_FEEDS_PAIRS_MAX || share->bytes >= AIOC_FEEDS_PAIRS_BYTES_MAX ||
        index == many->share_count - 1u) many->full = index;
}

static void aioc_feeds_wrong_levels(aioc_feeds_many *many, uint32_t pair)
{
    const char *key = aioc_feeds_pair_key(many, pair);
    unsigned levels = 0, paths = many->container->pk_def.path_count;
    size_t at = 1;
    while (aioc_feeds_key_level(key, &at).len) levels++;
    aioc_memory_print(many->feeds->engine->message, AIOC_OPERATION_MESSAGE_BYTES,
                      "items[%u].pk: %u level%s given, the container's key has %u", (unsigned)pair, levels,
                      levels == 1 ? " is" : "s are", paths);
    aioc_feeds_many_note(many, AIOCOSMOS_E_ARGUMENT, many->feeds->engine->message);
    many->unsent--;
    aioc_feeds_give_pair(many, pair, AIOCOSMOS_E_ARGUMENT, true, aioc_json_none());
}

/* Shares out some pairs, until there are enough for a request. */
static void aioc_feeds_share_out(aioc_feeds_many *many)
{
    uint32_t most = AIOC_FEEDS_SLICE;
    while (most-- && many->full == AIOC_FEEDS_NO_PAIR && !many->op->stop) {
        uint32_t pair = many->again;
        size_t share;
        if (pair != AIOC_FEEDS_NO_PAIR) many->again = many->pairs[pair].next;
        else if (many->fresh < many->pair_count) pair = many->fresh++;
        else return;
        if (many->pairs[pair].alone) {
            aioc_feeds_add_to_share(many, many->share_count - 1u, pair);
            continue;
        }
        if (many->pairs[pair].pk_at != many->last_pk_at) {
            share = aioc_feeds_share_of(many, pair);
            if (share == SIZE_MAX) {
                aioc_feeds_wrong_levels(many, pair);
                continue;
            }
            many->last_pk_at = many->pairs[pair].pk_at;
            many->last_share = (uint32_t)share;
        }
        aioc_feeds_add_to_share(many, many->last_share, pair);
    }
}

static bool aioc_feeds_all_shared(const aioc_feeds_many *many)
{
    return many->again == AIOC_FEEDS_NO_PAIR && many->fresh == many->pair_count;
}

/*--- Reads of many items: the text of a query -----------------------------------*/

static int aioc_feeds_compare_keys(const aioc_feeds_many *many, uint32_t a, uint32_t b)
{
    if (many->pairs[a].pk_at == many->pairs[b].pk_at) return 0;
    return strcmp(aioc_feeds_pair_key(many, a), aioc_feeds_pair_key(many, b));
}

/* Takes so many pairs off a list and returns them by their keys, so that those of one key stand together. */
static uint32_t aioc_feeds_sort_pairs(aioc_feeds_many *many, uint32_t *list, uint32_t count)
{
    uint32_t first = *list, second, sorted = AIOC_FEEDS_NO_PAIR, *at = &sorted;
    if (count == 1) {
        *list = many->pairs[first].next;
        many->pairs[first].next = AIOC_FEEDS_NO_PAIR;
        return first;
    }
    first = aioc_feeds_sort_pairs(many, list, count / 2);
    second = aioc_feeds_sort_pairs(many, list, count - count / 2);
    while (first != AIOC_FEEDS_NO_PAIR && second != AIOC_FEEDS_NO_PAIR) {
        uint32_t *from = aioc_feeds_compare_keys(many, first, second) > 0 ? &second : &first;
        *at = *from;
        at = &many->pairs[*from].next;
        *from = *at;
    }
    *at = first != AIOC_FEEDS_NO_PAIR ? first : second;
    return sorted;
}

/* A query under construction: its text, and its parameters as a JSON array. */
typedef struct aioc_feeds_draft {
    aioc_memory *memory;
    aioc_memory_buffer sql, params;
    uint32_t count;
} aioc_feeds_draft;

/* One more parameter: its name goes to the text, what its value is appended behind to the parameters. */
static bool aioc_feeds_name_param(aioc_feeds_draft *draft)
{
    char name[16];
    aioc_memory_print(name, sizeof name, "@p%u", (unsigned)draft->count);
    return aioc_memory_append_str(draft->memory, &draft->sql, name) &&
           aioc_memory_append_str(draft->memory, &draft->params, draft->count++ ? ",{\"name\":\"" : "{\"name\":\"") &&
           aioc_memory_append_str(draft->memory, &draft->params, name) &&
           aioc_memory_append_str(draft->memory, &draft->params, "\",\"value\":");
}

static bool aioc_feeds_draft_id(aioc_feeds_draft *draft, const char *id)
{
    return aioc_feeds_name_param(draft) &&
           aioc_json_append_string(draft->memory, &draft->params, id, strlen(id), false) &&
           aioc_memory_append(draft->memory, &draft->params, "}", 1);
}

/* The ids from one pair of a list up to another. */
static bool aioc_feeds_draft_ids(aioc_feeds_draft *draft, const aioc_feeds_many *many, uint32_t pair, uint32_t end)
{
    bool ok;
    if (many->pairs[pair].next == end)
        return aioc_memory_append_str(draft->memory, &draft->sql, "c.id=") &&
               aioc_feeds_draft_id(draft, aioc_feeds_pair_id(many, pair));
    ok = aioc_memory_append_str(draft->memory, &draft->sql, "c.id IN (");
    while (ok && pair != end) {
        ok = aioc_feeds_draft_id(draft, aioc_feeds_pair_id(many, pair));
        pair = many->pairs[pair].next;
        if (ok && pair != end) ok = aioc_memory_append(draft->memory, &draft->sql, ",", 1);
    }
    return ok && aioc_memory_append(draft->memory, &draft->sql, ")", 1);
}

static bool aioc_feeds_draft_key(aioc_feeds_draft *draft, const aioc_feeds_many *many, const char *key)
{
    aioc_memory *memory = draft->memory;
    const char *property = many->properties.data;
    aiocosmos_json level;
    size_t at = 1;
    bool ok = true;
    for (; ok && (level = aioc_feeds_key_level(key, &at)).len; property += strlen(property) + 1) {
        if (level.type == AIOCOSMOS_JSON_OBJ) {                            /* {}: the item has no such property */
            ok = aioc_memory_append_str(memory, &draft->sql, " AND IS_DEFINED(") &&
                 aioc_memory_append_str(memory, &draft->sql, property) &&
                 aioc_memory_append_str(memory, &draft->sql, ")=false");
        } else {
            ok = aioc_memory_append_str(memory, &draft->sql, " AND ") &&
                 aioc_memory_append_str(memory, &draft->sql, property) &&
                 aioc_memory_append(memory, &draft->sql, "=", 1) && aioc_feeds_name_param(draft) &&
                 aioc_memory_append(memory, &draft->params, level.ptr, level.len) &&
                 aioc_memory_append(memory, &draft->params, "}", 1);
        }
    }
    return ok;
}

/* The condition for a list of pairs by their keys: for each key its ids. */
static bool aioc_feeds_draft_pairs(aioc_feeds_draft *draft, const aioc_feeds_many *many, uint32_t pair)
{
    aioc_memory *memory = draft->memory;
    bool ok = true, first = true;
    while (ok && pair != AIOC_FEEDS_NO_PAIR) {
        uint32_t end = pair;
        while (end != AIOC_FEEDS_NO_PAIR && aioc_feeds_compare_keys(many, pair, end) == 0)
            end = many->pairs[end].next;
        ok = aioc_memory_append_str(memory, &draft->sql, first ? "(" : " OR (") &&
             aioc_feeds_draft_ids(draft, many, pair, end) &&
             aioc_feeds_draft_key(draft, many, aioc_feeds_pair_key(many, pair)) &&
             aioc_memory_append(memory, &draft->sql, ")", 1);
        first = false;
        pair = end;
    }
    return ok;
}

static bool aioc_feeds_build_part(aioc_feeds_part *part, uint32_t pairs, bool by_id)
{
    const aioc_feeds_many *many = part->many;
    aioc_feeds_draft draft;
    bool ok;
    memset(&draft, 0, sizeof draft);
    draft.memory = many->feeds->engine->memory;
    ok = aioc_memory_append_str(draft.memory, &draft.sql, "SELECT * FROM c WHERE ") &&
         aioc_memory_append(draft.memory, &draft.params, "[", 1) &&
         (by_id ? aioc_feeds_draft_ids(&draft, many, pairs, AIOC_FEEDS_NO_PAIR)
                : aioc_feeds_draft_pairs(&draft, many, pairs)) &&
         aioc_memory_append(draft.memory, &draft.params, "]", 1) &&
         aioc_feeds_append_body(draft.memory, &part->body, aioc_feeds_text(&draft.sql), aioc_feeds_text(&draft.params));
    aioc_memory_buffer_free(draft.memory, &draft.sql);
    aioc_memory_buffer_free(draft.memory, &draft.params);
    return ok;
}

/*--- Reads of many items: requests and answers -----------------------------------*/

static void aioc_feeds_part_came(aioc_operation *op, const aiocosmos_result *result);

static int aioc_feeds_specify_read(const aioc_feeds_part *part, aioc_operation_spec *spec)
{
    const aioc_feeds_many *many = part->many;
    aioc_operation_engine *engine = many->feeds->engine;
    aioc_memory_buffer *link = &engine->link_text;
    if (!aioc_feeds_set(engine->memory, link, aioc_feeds_text(&many->link)) ||
        !aioc_memory_append_str(engine->memory, link, "/docs/") ||
        !aioc_memory_append_str(engine->memory, link, aioc_feeds_pair_id(many, part->alone))) return AIOCOSMOS_E_NOMEM;
    spec->verb = "GET";
    spec->link = aioc_feeds_text(link);
    spec->pk_text = aioc_memory_str(aioc_feeds_pair_key(many, part->alone));
    return 0;
}

static int aioc_feeds_specify_query(const aioc_feeds_part *part, aioc_operation_spec *spec)
{
    const aioc_feeds_many *many = part->many;
    aioc_operation_engine *engine = many->feeds->engine;
    aioc_memory *memory = engine->memory;
    aioc_memory_buffer *lines = &engine->lines_text;
    bool by_range = part->pk_at == AIOC_FEEDS_NO_PAIR;
    if (!aioc_feeds_set(memory, lines, aioc_memory_str("x-ms-documentdb-isquery: True\r\n"
                                                       "Content-Type: application/query+json\r\n")) ||
        (by_range &&
         !aioc_memory_append_str(memory, lines, "x-ms-documentdb-query-enablecrosspartition: True\r\n")) ||
        !aioc_feeds_append_page_size(memory, lines, part->page_items) ||
        (part->continuation.len && !aioc_operation_append_line(memory, lines, "x-ms-continuation: ",
                                                               aioc_feeds_text(&part->continuation))))
        return AIOCOSMOS_E_NOMEM;
    spec->verb = "POST";
    spec->to_feed = true;
    spec->link = aioc_feeds_text(&many->link);
    spec->pk_text = by_range ? aioc_feeds_text(&part->range) : aioc_memory_str(many->texts + part->pk_at);
    spec->by_range = by_range;
    spec->lines = aioc_feeds_text(lines);
    spec->body = aioc_feeds_text(&part->body);
    return 0;
}

/* Sends a part's next request. 0, or why that cannot be done now. */
static int aioc_feeds_ask_part(aioc_feeds_part *part)
{
    aioc_feeds_many *many = part->many;
    aioc_operation_engine *engine = many->feeds->engine;
    aioc_operation_spec spec;
    int refused;
    memset(&spec, 0, sizeof spec);
    refused = part->alone == AIOC_FEEDS_NO_PAIR ? aioc_feeds_specify_query(part, &spec)
                                                : aioc_feeds_specify_read(part, &spec);
    if (refused) return aioc_operation_refuse_memory(engine);
    spec.type = "docs";
    spec.container_link = aioc_feeds_text(&many->link);
    spec.item_data = true;
    spec.session_token = aioc_feeds_text(&many->session);
    spec.timeout_ms = many->request.timeout_ms;
    spec.internal = true;
    spec.complete = aioc_feeds_part_came;
    spec.owner = part;
    refused = aioc_operation_accept(engine, &spec, &part->op);
    if (refused) return refused;
    part->state = AIOC_FEEDS_PART_ASKED;
    part->version = many->container->ranges_version;
    many->in_flight++;
    return 0;
}

/* FNV-1a. */
static uint32_t aioc_feeds_slot_of(const aioc_feeds_part *part, const char *id)
{
    uint32_t hash = 2166136261u;
    for (; *id; id++) hash = (hash ^ (unsigned char)*id) * 16777619u;
    return (hash ^ hash >> 16) & (part->slot_count - 1);
}

static bool aioc_feeds_open_slots(aioc_feeds_part *part)
{
    uint32_t count = 1, i;
    while (count < part->count) count *= 2;
    part->slots = (uint32_t *)aioc_memory_alloc(part->many->feeds->engine->memory, count * sizeof *part->slots);
    if (!part->slots) return false;
    part->slot_count = count;
    for (i = 0; i < count; i++) part->slots[i] = AIOC_FEEDS_NO_PAIR;
    return true;
}

/* The pairs of a share make a part that is not sent yet; they stay in the share. NULL: no memory. */
static aioc_feeds_part *aioc_feeds_part_new(aioc_feeds_many *many, uint32_t index)
{
    aioc_memory *memory = many->feeds->engine->memory;
    aioc_feeds_share *share = &many->shares[index];
    aioc_feeds_part *part = (aioc_feeds_part *)aioc_memory_zalloc(memory, sizeof *part);
    uint32_t last;
    bool one_key;
    if (!part) return NULL;
    part->many = many;
    part->count = part->left = part->page_items = share->count;
    part->alone = share->count == 1 ? share->first : AIOC_FEEDS_NO_PAIR;
    part->pk_at = AIOC_FEEDS_NO_PAIR;
    part->chain = AIOC_FEEDS_NO_PAIR;
    share->first = aioc_feeds_sort_pairs(many, &share->first, share->count);
    for (last = share->first; many->pairs[last].next != AIOC_FEEDS_NO_PAIR;) last = many->pairs[last].next;
    one_key = aioc_feeds_compare_keys(many, share->first, last) == 0;
    if (one_key) part->pk_at = many->pairs[last].pk_at;
    if (!aioc_feeds_open_slots(part) ||
        (part->alone == AIOC_FEEDS_NO_PAIR && !aioc_feeds_build_part(part, share->first, share->by_id)) ||
        (!one_key && !aioc_feeds_set(memory, &part->range,
                                     aioc_account_text(many->container, many->container->ranges[index].id)))) {
        aioc_feeds_part_free(part);
        return NULL;
    }
    return part;
}

/* The pairs of a share are the part's. */
static void aioc_feeds_take_share(aioc_feeds_part *part, uint32_t index)
{
    aioc_feeds_many *many = part->many;
    aioc_feeds_share *share = &many->shares[index];
    while (share->first != AIOC_FEEDS_NO_PAIR) {
        uint32_t pair = share->first;
        share->first = many->pairs[pair].next;
        aioc_feeds_push(many, &part->slots[aioc_feeds_slot_of(part, aioc_feeds_pair_id(many, pair))], pair);
    }
    many->unsent -= share->count;
    share->count = share->bytes = 0;
    share->by_id = many->key_is_id;
    if (many->full == index) many->full = AIOC_FEEDS_NO_PAIR;
    part->next = many->parts;
    if (part->next) part->next->prev = part;
    many->parts = part;
}

/* What can be sent waits for what is in flight to come back. Nothing is, and there is no room: these pairs fail. */
static void aioc_feeds_share_failed(aioc_feeds_many *many, uint32_t index, int status)
{
    aioc_feeds_share *share = &many->shares[index];
    uint32_t pair = share->first;
    aioc_feeds_many_note(many, status, status == AIOCOSMOS_E_NOMEM ? "no memory for a request"
                                                                   : many->feeds->engine->refusal);
    many->unsent -= share->count;
    share->first = AIOC_FEEDS_NO_PAIR;
    share->count = share->bytes = 0;
    if (many->full == index) many->full = AIOC_FEEDS_NO_PAIR;
    while (pair != AIOC_FEEDS_NO_PAIR && aioc_feeds_give_pair(many, pair, status, false, aioc_json_none()))
        pair = many->pairs[pair].next;
}

/* True: something was done. */
static bool aioc_feeds_send_share(aioc_feeds_many *many)
{
    aioc_feeds_part *part;
    uint32_t index = many->full;
    int refused = AIOCOSMOS_E_NOMEM;
    if (index == AIOC_FEEDS_NO_PAIR)
        for (index = 0; index < many->share_count && many->shares[index].count == 0; index++) continue;
    if (index == many->share_count) return false;
    part = aioc_feeds_part_new(many, index);
    if (part) refused = aioc_feeds_ask_part(part);
    if (!refused) {
        aioc_feeds_take_share(part, index);
        return true;
    }
    if (part) aioc_feeds_part_free(part);
    if (many->in_flight) return false;       /* memory comes back with an answer */
    aioc_feeds_share_failed(many, index, refused);
    return true;
}

/* Asks for the next page of a part. True: something was done. */
static bool aioc_feeds_ask_part_again(aioc_feeds_part *part)
{
    aioc_feeds_many *many = part->many;
    int refused = aioc_feeds_ask_part(part);
    if (refused && many->in_flight) return false;
    if (!refused) return true;
    aioc_feeds_many_note(many, refused, many->feeds->engine->refusal);
    part->state = AIOC_FEEDS_PART_REST;
    part->status = refused;
    return true;
}

/* Sends what may be sent, or gets further with what is to be sent. False: there is nothing to do for now. */
static bool aioc_feeds_many_send(aioc_feeds_many *many)
{
    aioc_feeds_part *part = many->parts;
    bool roomy = many->in_flight < many->request.parallel_max;
    while (part && part->state != AIOC_FEEDS_PART_MORE) part = part->next;
    if (roomy && (part || many->unsent) && !aioc_operation_has_room_for_fetch(many->feeds->engine)) {
        many->starved = true;
        return false;
    }
    if (part && roomy) return aioc_feeds_ask_part_again(part);
    if (many->unsent == 0 || !aioc_feeds_many_ready(many)) return many->ended;
    if (many->full == AIOC_FEEDS_NO_PAIR && !aioc_feeds_all_shared(many)) {
        aioc_feeds_share_out(many);
        return true;
    }
    return roomy && aioc_feeds_send_share(many);
}

/* The range of a part was split, merged or moved: its pairs are shared out by the ranges as they are then. At once the
 * first time, then after a pause that doubles; not for ever. */
static bool aioc_feeds_part_gone(aioc_feeds_part *part)
{
    aioc_feeds_many *many = part->many;
    aioc_platform_reactor *reactor = many->feeds->engine->reactor;
    uint32_t i, timeout_ms = many->request.timeout_ms;
    if (!many->stuck_us) many->stuck_us = reactor->now_us;
    if (timeout_ms != AIOCOSMOS_OFF && reactor->now_us - many->stuck_us > (uint64_t)timeout_ms * 1000u) return false;
    for (i = 0; i < part->slot_count; i++) aioc_feeds_share_again(many, part->slots[i]);
    many->unsent += part->left;
    if (many->container->ranges_version == part->version && many->doubted != part->version) {
        many->doubted = part->version;
        aioc_account_doubt_ranges(many->container);
        many->pausing = many->pause_ms > 0;
        if (many->pausing) aioc_platform_timer_start(reactor, &many->pause, reactor->now_us + many->pause_ms * 1000u);
        many->pause_ms = many->pause_ms ? many->pause_ms * 2 : 20;
        if (many->pause_ms > AIOC_FEEDS_PAUSE_MAX_MS) many->pause_ms = AIOC_FEEDS_PAUSE_MAX_MS;
    }
    aioc_feeds_part_free(part);
    return true;
}

static void aioc_feeds_many_account_for(aioc_feeds_many *many, const aiocosmos_result *result)
{
    many->totals.charge_ru += result->charge_ru;
    many->totals.requests += result->attempts;
    many->throttled_us += result->throttled_us;
    many->attempts += result->attempts;
    if (result->http_status == 0 || many->status) return;
    many->http_status = result->http_status;
    many->sub_status = result->sub_status;
    aioc_memory_print(many->activity_id, sizeof many->activity_id, "%.*s", (int)result->activity_id.len,
                      result->activity_id.ptr);
}

static void aioc_feeds_part_failed(aioc_feeds_part *part, int status, const char *message)
{
    aioc_feeds_many_note(part->many, status, message);
    part->state = AIOC_FEEDS_PART_REST;
    part->status = status;
}

/* One pair that was read by itself. */
static void aioc_feeds_read_came(aioc_feeds_part *part, const aiocosmos_result *result)
{
    aioc_feeds_many *many = part->many;
    aiocosmos_json item = aioc_json_none();
    bool missing = result->status == 404 && result->sub_status == 0;
    int status = result->status;
    if (status == 0) {
        item = aioc_operation_result_json(result);
        if (item.type != AIOCOSMOS_JSON_OBJ) status = AIOCOSMOS_E_PROTOCOL;
        if (status) aioc_feeds_many_note(many, status, "the answer is not an item: it is no JSON object, or there is "
                                                       "no memory to parse it");
    } else if (!missing) {
        aioc_feeds_many_note(many, status, result->message.ptr);
    }
    aioc_feeds_give_pair(many, part->alone, status, missing, item);
    aioc_feeds_part_free(part);
}

/* One of the items is larger than an answer may be: it is the only one that fails if each is read by itself. */
static void aioc_feeds_read_alone(aioc_feeds_part *part)
{
    aioc_feeds_many *many = part->many;
    uint32_t i, pair;
    for (i = 0; i < part->slot_count; i++) {
        for (pair = part->slots[i]; pair != AIOC_FEEDS_NO_PAIR; pair = many->pairs[pair].next)
            many->pairs[pair].alone = true;
        aioc_feeds_share_again(many, part->slots[i]);
    }
    many->unsent += part->left;
    aioc_feeds_part_free(part);
}

/* A page of rows. Too large a page is asked for in smaller ones. */
static void aioc_feeds_page_of_part_came(aioc_feeds_part *part, const aiocosmos_result *result)
{
    aioc_memory *memory = part->many->feeds->engine->memory;
    int status = result->status;
    if (status == 0) status = aioc_feeds_answer_new(memory, result, &part->answer);
    if (status == 0) {
        part->many->pause_ms = 0;
        part->many->stuck_us = 0;
        part->state = AIOC_FEEDS_PART_ROWS;
    } else if ((status == AIOCOSMOS_E_TOO_LARGE || status == AIOCOSMOS_E_NOMEM) && part->page_items > 1) {
        part->page_items /= 2;
        part->state = AIOC_FEEDS_PART_MORE;
    } else if (status == AIOCOSMOS_E_TOO_LARGE) {
        aioc_feeds_read_alone(part);
    } else if (aioc_feeds_is_gone(result) && part->pk_at == AIOC_FEEDS_NO_PAIR) {
        if (!aioc_feeds_part_gone(part)) aioc_feeds_part_failed(part, status, result->message.ptr);
    } else if (result->status) {
        aioc_feeds_part_failed(part, status, result->message.ptr);
    } else {
        aioc_feeds_part_failed(part, status, status == AIOCOSMOS_E_NOMEM ? "no memory for a page of items"
                               : "an answer is not a page: it is no JSON, or has no array of items");
    }
}

static void aioc_feeds_part_came(aioc_operation *op, const aiocosmos_result *result)
{
    aioc_feeds_part *part = (aioc_feeds_part *)op->owner;
    aioc_feeds_many *many = part->many;
    part->op = NULL;
    many->in_flight--;
    many->stirred = true;
    aioc_feeds_many_account_for(many, result);
    if (many->ended || op->engine->closing) aioc_feeds_part_free(part);
    else if (part->alone != AIOC_FEEDS_NO_PAIR) aioc_feeds_read_came(part, result);
    else aioc_feeds_page_of_part_came(part, result);
}

/*--- Reads of many items: rows --------------------------------------------------*/

/* Numbers are doubles to the service, whatever digits stand in the item. */
static bool aioc_feeds_same_level(aiocosmos_json a, aiocosmos_json b)
{
    double number_a, number_b;
    if (a.type != b.type) return false;
    switch (a.type) {
    case AIOCOSMOS_JSON_BOOL: return *a.ptr == *b.ptr;
    case AIOCOSMOS_JSON_NUM:
        return aioc_json_get_f64(a, &number_a) && aioc_json_get_f64(b, &number_b) && number_a == number_b;
    case AIOCOSMOS_JSON_STR: return aioc_query_compare(a, b) == 0;
    default: return true;                    /* null; {}: the property is missing */
    }
}

typedef struct aioc_feeds_row {
    char id[AIOC_PROTOCOL_ITEM_ID_MAX + 2];
    aiocosmos_json levels[AIOC_PROTOCOL_PK_LEVELS];
} aioc_feeds_row;

/* What a row is found by. False: it is none of an item that can have been asked for. */
static bool aioc_feeds_read_row(const aioc_feeds_many *many, aiocosmos_json item, aioc_feeds_row *row)
{
    const aioc_memory_buffer *text = &many->container->pk_paths;
    aiocosmos_str paths[AIOC_PROTOCOL_PK_LEVELS];
    aiocosmos_pk pk;
    size_t count = 0, at = 0, i;
    char why[160];
    if (aioc_json_get_str(aioc_json_at(item, "/id"), row->id, sizeof row->id) >= sizeof row->id) return false;
    while (at < text->len && count < AIOC_PROTOCOL_PK_LEVELS) {
        paths[count] = aioc_memory_str(text->data + at);
        at += paths[count++].len + 1;
    }
    if (aioc_protocol_pk_from_document(item, paths, count, &pk, why, sizeof why)) return false;
    for (i = 0; i < AIOC_PROTOCOL_PK_LEVELS; i++) {
        bool none = i < count && pk.level[i].type == AIOCOSMOS_NONE;
        row->levels[i] = none ? aioc_protocol_scalar(aioc_memory_str("{}"))
                              : i < count ? aioc_protocol_scalar(aioc_protocol_text_of(&pk.level[i]))
                                          : aioc_json_none();
    }
    return true;
}

static bool aioc_feeds_is_row_of(const aioc_feeds_many *many, uint32_t pair, const aioc_feeds_row *row)
{
    const char *key = aioc_feeds_pair_key(many, pair);
    size_t at = 1, i;
    if (many->pairs[pair].answered || strcmp(aioc_feeds_pair_id(many, pair), row->id) != 0) return false;
    for (i = 0; i < AIOC_PROTOCOL_PK_LEVELS; i++)
        if (!aioc_feeds_same_level(aioc_feeds_key_level(key, &at), row->levels[i])) return false;
    return true;
}

/* Hands a row to all who asked for it. False: nothing more is to be handed over. */
static bool aioc_feeds_give_row(aioc_feeds_part *part, aiocosmos_json item)
{
    aioc_feeds_many *many = part->many;
    aioc_feeds_row row;
    uint32_t pair;
    if (!aioc_feeds_read_row(many, item, &row)) return true;
    pair = part->slots[aioc_feeds_slot_of(part, row.id)];
    for (; pair != AIOC_FEEDS_NO_PAIR; pair = many->pairs[pair].next) {
        if (!aioc_feeds_is_row_of(many, pair, &row)) continue;
        part->left--;
        if (!aioc_feeds_give_pair(many, pair, 0, true, item)) return false;
    }
    return true;
}

/* Some rows; behind the last one, what follows. */
static void aioc_feeds_give_rows(aioc_feeds_part *part)
{
    aioc_feeds_answer *answer = part->answer;
    uint32_t most = AIOC_FEEDS_SLICE;
    while (most-- && part->left && answer->used < answer->count && aioc_json_next(answer->rows, NULL, &answer->row)) {
        answer->used++;
        if (!aioc_feeds_give_row(part, answer->row)) return;
    }
    if (part->left && answer->used < answer->count) return;
    part->answer = NULL;
    aioc_memory_buffer_free(part->many->feeds->engine->memory, &part->continuation);
    part->continuation = answer->behind;
    memset(&answer->behind, 0, sizeof answer->behind);
    aioc_feeds_answer_free(part->many->feeds->engine->memory, answer);
    part->state = part->continuation.len ? AIOC_FEEDS_PART_MORE : AIOC_FEEDS_PART_REST;
    part->status = 404;
    part->known = true;
    if (part->left == 0) aioc_feeds_part_free(part);
}

/* Some of the pairs that no row was of. */
static void aioc_feeds_give_rest(aioc_feeds_part *part)
{
    aioc_feeds_many *many = part->many;
    uint32_t most = AIOC_FEEDS_SLICE;
    while (most && part->left && (part->chain != AIOC_FEEDS_NO_PAIR || part->at < part->slot_count)) {
        uint32_t pair = part->chain;
        if (pair == AIOC_FEEDS_NO_PAIR) {
            part->chain = part->slots[part->at++];
            continue;
        }
        part->chain = many->pairs[pair].next;
        if (many->pairs[pair].answered) continue;
        part->left--;
        most--;
        if (!aioc_feeds_give_pair(many, pair, part->status, part->known, aioc_json_none())) return;
    }
    if (part->left == 0) aioc_feeds_part_free(part);
}

/* One piece of work. */
static void aioc_feeds_many_work(aioc_feeds_many *many)
{
    aioc_feeds_part *part = many->parts;
    while (part && part->state != AIOC_FEEDS_PART_ROWS && part->state != AIOC_FEEDS_PART_REST) part = part->next;
    many->stirred = false;
    if (many->op->stop || many->ended) {
        if (many->ended) aioc_feeds_sweep(many, AIOC_FEEDS_SLICE);         /* else it will be told so, and come back */
        many->stirred = many->ended && many->swept < many->pair_count;
    } else if (part) {
        many->stirred = true;
        if (part->state == AIOC_FEEDS_PART_ROWS) aioc_feeds_give_rows(part);
        else aioc_feeds_give_rest(part);
    } else {
        if (aioc_feeds_many_send(many)) many->stirred = true;
    }
    if (!many->feeds->engine->closing) aioc_feeds_many_finish_if_over(many);
}

static bool aioc_feeds_many_has_work(const aioc_feeds_many *many)
{
    if (many->feeds->engine->closing) return false;
    return many->stirred || (many->starved && aioc_operation_has_room_for_fetch(many->feeds->engine));
}

/* One piece of work for one of them. False: none has any. */
static bool aioc_feeds_work_on_many(aioc_feeds *feeds)
{
    aioc_feeds_many *many = feeds->first_many;
    while (many && !aioc_feeds_many_has_work(many)) many = many->next;
    if (!many) return false;
    many->starved = false;
    aioc_feeds_many_work(many);
    return true;
}

static bool aioc_feeds_many_have_work(const aioc_feeds *feeds)
{
    const aioc_feeds_many *many = feeds->first_many;
    while (many && !aioc_feeds_many_has_work(many)) many = many->next;
    return many != NULL;
}

/*--- Reads of many items: what the host asks for ----------------------------------*/

/* Checks a pair and leaves the text of its key in engine->pk_text. */
static int aioc_feeds_check_pair(aioc_operation_engine *engine, const aiocosmos_item_key *item, size_t index)
{
    char what[48], why[160];
    int status;
    aioc_memory_print(what, sizeof what, "items[%llu].id", (unsigned long long)index);
    if (!aioc_protocol_id_ok(item->id, AIOC_PROTOCOL_ITEM_ID_MAX, why, sizeof why))
        return aioc_operation_refuse(engine, what, why);
    aioc_memory_print(what, sizeof what, "items[%llu].pk", (unsigned long long)index);
    engine->pk_text.len = 0;
    status = aioc_protocol_pk_text(engine->memory, &engine->pk_text, &item->pk, why, sizeof why);
    if (status == AIOCOSMOS_E_ARGUMENT) return aioc_operation_refuse(engine, what, why);
    if (status || !aioc_memory_append(engine->memory, &engine->pk_text, "", 1))
        return aioc_operation_refuse_memory(engine);
    return 0;
}

/* Goes over the pairs: counts the bytes of their texts or, where there is a block for them, copies them. A key that is
 * the same as the one before is not kept twice. */
static int aioc_feeds_read_pairs(aioc_feeds_many *many, uint64_t *bytes)
{
    aioc_operation_engine *engine = many->feeds->engine;
    aioc_memory *memory = engine->memory;
    const aiocosmos_read_many_request *request = &many->request;
    aioc_memory_buffer last = { NULL, 0, 0 };
    uint64_t at = 0, pk_at = 0;
    size_t i;
    int refused = 0;
    for (i = 0; i < request->item_count && !refused; i++) {
        size_t id_size;
        bool same;
        refused = aioc_feeds_check_pair(engine, &request->items[i], i);
        if (refused) break;
        id_size = strlen(request->items[i].id) + 1;
        same = last.len && aioc_memory_same(aioc_feeds_text(&last), aioc_feeds_text(&engine->pk_text));
        if (!same) pk_at = at + id_size;
        if (many->texts) {
            memcpy(many->texts + at, request->items[i].id, id_size);
            if (!same) memcpy(many->texts + pk_at, engine->pk_text.data, engine->pk_text.len);
            many->pairs[i].id_at = (uint32_t)at;
            many->pairs[i].pk_at = (uint32_t)pk_at;
        }
        at += id_size + (same ? 0 : engine->pk_text.len);
        if (!same && !aioc_feeds_set(memory, &last, aioc_feeds_text(&engine->pk_text)))
            refused = aioc_operation_refuse_memory(engine);
    }
    aioc_memory_buffer_free(memory, &last);
    *bytes = at;
    return refused;
}

static int aioc_feeds_copy_pairs(aioc_feeds_many *many)
{
    aioc_operation_engine *engine = many->feeds->engine;
    aioc_memory *memory = engine->memory;
    size_t count = many->request.item_count;
    uint64_t bytes = 0;
    int refused;
    if (count && !many->request.items) return aioc_operation_refuse(engine, "items", "required: item_count is set");
    if (count >= AIOC_FEEDS_NO_PAIR) return aioc_operation_refuse(engine, "item_count", "2^32-1 or more");
    refused = aioc_feeds_read_pairs(many, &bytes);
    if (refused || count == 0) return refused;
    if (bytes >= UINT32_MAX) return aioc_operation_refuse(engine, "items", "over 4 GiB of ids and keys");
    /* The rest is for requests and answers. */
    if (memory->used - memory->kept + bytes + count * sizeof *many->pairs > memory->max / 4 * 3) {
        aioc_memory_print(engine->refusal, sizeof engine->refusal, "full: the items' ids and keys take %llu bytes, "
                          "three quarters of memory_max may be held", (unsigned long long)bytes +
                          (unsigned long long)(count * sizeof *many->pairs));
        return AIOCOSMOS_E_FULL;
    }
    many->pairs = (aioc_feeds_pair *)aioc_memory_zalloc(memory, count * sizeof *many->pairs);
    if (!many->pairs) return aioc_operation_refuse_memory(engine);
    many->pair_count = many->left = many->unsent = (uint32_t)count;
    many->texts = (char *)aioc_memory_alloc(memory, (size_t)bytes);
    if (!many->texts) return aioc_operation_refuse_memory(engine);
    many->texts_size = (size_t)bytes;
    return aioc_feeds_read_pairs(many, &bytes);
}

static int aioc_feeds_fill_many(aioc_feeds_many *many)
{
    aioc_operation_engine *engine = many->feeds->engine;
    const aiocosmos_read_many_request *request = &many->request;
    int refused = aioc_operation_build_link(engine, 2, request->database, request->container, NULL);
    if (!refused) refused = aioc_operation_check_session(engine, request->session_token);
    if (!refused) refused = aioc_feeds_keep(engine, &many->link, aioc_feeds_text(&engine->link_text));
    if (!refused) refused = aioc_feeds_keep(engine, &many->session, aioc_memory_str(request->session_token));
    if (!refused) refused = aioc_feeds_copy_pairs(many);
    if (refused) return refused;
    many->container = aioc_account_hold(&engine->account, aioc_feeds_text(&many->link));
    return many->container ? 0 : aioc_operation_refuse_memory(engine);
}

static int aioc_feeds_start_many(aioc_feeds_many *many)
{
    aioc_operation_spec spec;
    memset(&spec, 0, sizeof spec);
    spec.verb = "GET";
    spec.type = "docs";
    spec.timeout_ms = many->request.deadline_ms ? many->request.deadline_ms : AIOCOSMOS_OFF;
    spec.complete = aioc_feeds_many_ended;
    spec.stop_parts = aioc_feeds_many_stop;
    spec.owner = many;
    return aioc_operation_accept(many->feeds->engine, &spec, &many->op);
}

static int aioc_feeds_many_open(aioc_feeds *feeds, const aiocosmos_read_many_request *request, aiocosmos_op *handle)
{
    aioc_operation_engine *engine = feeds->engine;
    aioc_feeds_many *many;
    int refused;
    if (!request->item) return aioc_operation_refuse(engine, "item", "required");
    many = (aioc_feeds_many *)aioc_memory_zalloc(engine->memory, sizeof *many);
    if (!many) return aioc_operation_refuse_memory(engine);
    many->feeds = feeds;
    many->request = *request;
    if (request->parallel_max == 0) many->request.parallel_max = AIOCOSMOS_DEFAULT_PARALLEL;
    if (request->timeout_ms == 0) many->request.timeout_ms = engine->request_timeout_ms;
    many->again = many->full = many->last_pk_at = AIOC_FEEDS_NO_PAIR;
    many->waiter.resume = aioc_feeds_many_settled;
    many->waiter.owner = many;
    many->pause.fire = aioc_feeds_many_pause_ended;
    many->pause.owner = many;
    many->stirred = true;
    many->next = feeds->first_many;
    if (many->next) many->next->prev = many;
    feeds->first_many = many;
    refused = aioc_feeds_fill_many(many);
    if (!refused) refused = aioc_feeds_start_many(many);
    if (refused) {
        aioc_feeds_many_free(many);
        return refused;
    }
    if (handle) *handle = aioc_operation_handle(many->op);
    return 0;
}

/*--- Bulk -------------------------------------------------------------------*/

static uint32_t aioc_feeds_active(const aioc_feeds_bulk *bulk)
{
    return bulk->in_flight - bulk->waiting;
}

static void aioc_feeds_unhold(aioc_feeds_bulk *bulk, aioc_operation *op)
{
    if (op->prev) op->prev->next = op->next;
    else bulk->first_held = op->next;
    if (op->next) op->next->prev = op->prev;
    else bulk->last_held = op->prev;
}

static bool aioc_feeds_may_send(const aioc_feeds_bulk *bulk)
{
    return !bulk->pause.armed && aioc_feeds_active(bulk) < bulk->allowed;
}

/* Those held back go on as soon as there is room, before new items are pulled. */
static void aioc_feeds_release_held(aioc_feeds_bulk *bulk)
{
    while (bulk->first_held && aioc_feeds_may_send(bulk)) {
        aioc_operation *op = bulk->first_held;
        aioc_feeds_unhold(bulk, op);
        op->paced = false;
        op->state = AIOC_OPERATION_READY;
        bulk->waiting--;
        aioc_operation_make_ready(op);
    }
}

static void aioc_feeds_pause_over(aioc_platform_timer *timer)
{
    aioc_feeds_release_held((aioc_feeds_bulk *)timer->owner);
}

/* What the service says to one item holds for all: each that is sent before would get a 429 too, and that costs units
 * itself. The longest wait counts, unless this item ends for it: then another answer may be milder. */
static void aioc_feeds_pause(aioc_feeds_bulk *bulk, const aioc_operation *op, uint64_t wait_us)
{
    uint64_t due_us = op->engine->reactor->now_us + wait_us;
    if (wait_us == 0 || (op->deadline_us && due_us >= op->deadline_us)) return;
    if (bulk->pause.armed && bulk->pause.due_us >= due_us) return;
    bulk->pause.fire = aioc_feeds_pause_over;
    bulk->pause.owner = bulk;
    aioc_platform_timer_start(op->engine->reactor, &bulk->pause, due_us);
}

/* A 429 makes the bulk pause, and halves what may be in flight afterwards; those that were sent before the last halving
 * say nothing new about that. */
static void aioc_feeds_throttled(aioc_operation *op, uint64_t wait_us)
{
    aioc_feeds_bulk *bulk = (aioc_feeds_bulk *)op->owner;
    bulk->totals.throttled++;
    bulk->waiting++;
    op->paced = true;
    if (op->attempt_us >= bulk->lowered_us) {
        bulk->allowed = bulk->allowed > 1 ? bulk->allowed / 2 : 1;
        bulk->lowered_us = op->engine->reactor->now_us + 1;
        bulk->clean = 0;
    }
    aioc_feeds_pause(bulk, op, wait_us);
    aioc_feeds_release_held(bulk);
}

static bool aioc_feeds_hold(aioc_operation *op)
{
    aioc_feeds_bulk *bulk = (aioc_feeds_bulk *)op->owner;
    if (aioc_feeds_may_send(bulk)) {
        op->paced = false;
        bulk->waiting--;
        return false;
    }
    op->next = NULL;
    op->prev = bulk->last_held;
    if (op->prev) op->prev->next = op;
    else bulk->first_held = op;
    bulk->last_held = op;
    return true;
}

static void aioc_feeds_let_go(aioc_operation *op)
{
    aioc_feeds_bulk *bulk = (aioc_feeds_bulk *)op->owner;
    if (op->state == AIOC_OPERATION_HELD) aioc_feeds_unhold(bulk, op);
    op->paced = false;
    bulk->waiting--;
}

static const aioc_operation_pacer *aioc_feeds_pacer(void)
{
    static const aioc_operation_pacer pacer = { aioc_feeds_throttled, aioc_feeds_hold, aioc_feeds_let_go };
    return &pacer;
}

static void aioc_feeds_count(aioc_feeds_bulk *bulk, const aiocosmos_result *result)
{
    if (result->status == 0) bulk->totals.succeeded++;
    else bulk->totals.failed++;
    if (result->status != 0 && result->fate == AIOCOSMOS_MAYBE_APPLIED) bulk->totals.maybe_applied++;
    if (result->attempts > 1) bulk->totals.retries += result->attempts - 1u;
    bulk->totals.charge_ru += result->charge_ru;
}

static void aioc_feeds_item_back(aioc_feeds_bulk *bulk, const aiocosmos_result *result, void *item_data)
{
    aioc_operation_engine *engine = bulk->feeds->engine;
    aioc_feeds_count(bulk, result);
    if (!bulk->request.item_done) return;
    engine->callbacks++;
    bulk->request.item_done(engine->client, result, item_data, bulk->request.user_data);
}

static void aioc_feeds_bulk_free(aioc_feeds_bulk *bulk)
{
    aioc_memory *memory = bulk->feeds->engine->memory;
    if (bulk->prev) bulk->prev->next = bulk->next;
    else bulk->feeds->first_bulk = bulk->next;
    if (bulk->next) bulk->next->prev = bulk->prev;
    bulk->feeds->bulk_count--;
    aioc_platform_timer_stop(bulk->feeds->engine->reactor, &bulk->pause);
    aioc_memory_buffer_free(memory, &bulk->names);
    aioc_memory_free(memory, bulk, sizeof *bulk);
}

static void aioc_feeds_bulk_ended(aioc_operation *op, const aiocosmos_result *result)
{
    aioc_feeds_bulk *bulk = (aioc_feeds_bulk *)op->owner;
    aioc_operation_engine *engine = op->engine;
    aiocosmos_bulk_totals totals = bulk->totals;
    aiocosmos_bulk_request request = bulk->request;
    totals.concurrency = bulk->allowed;
    aioc_feeds_bulk_free(bulk);
    if (!request.done) return;
    engine->callbacks++;
    request.done(engine->client, result, &totals, request.user_data);
}

/* Over when nothing is to be pulled and nothing is in flight. */
static bool aioc_feeds_bulk_finish_if_over(aioc_feeds_bulk *bulk)
{
    if (!bulk->ended || bulk->in_flight) return false;
    /* Cancelled or shut down since it began to end. */
    if (bulk->op->stop && bulk->status != AIOCOSMOS_E_CANCELLED) bulk->status = bulk->op->stop;
    bulk->op->charge_ru = bulk->totals.charge_ru;
    bulk->op->state = AIOC_OPERATION_READY;
    aioc_operation_finish(bulk->op, bulk->status, AIOCOSMOS_ANSWERED, NULL,
                          bulk->status == AIOCOSMOS_E_TIMEOUT ? "the bulk's deadline" : "the bulk was stopped");
    return true;
}

static void aioc_feeds_item_came(aioc_operation *op, const aiocosmos_result *result)
{
    aioc_feeds_bulk *bulk = (aioc_feeds_bulk *)op->owner;
    bulk->in_flight--;
    if (op->throttled_us == 0 && result->status != 429 && ++bulk->clean >= bulk->allowed &&
        bulk->allowed < bulk->request.concurrency_max) {
        bulk->allowed++;
        bulk->clean = 0;
    }
    aioc_feeds_release_held(bulk);
    aioc_feeds_item_back(bulk, result, op->user_data);
    aioc_feeds_bulk_finish_if_over(bulk);
}

/* The bulk is cancelled, out of time, or shut down: its items end the same way, then it does. */
static void aioc_feeds_bulk_stop(aioc_operation *op)
{
    aioc_feeds_bulk *bulk = (aioc_feeds_bulk *)op->owner;
    aioc_operation_engine *engine = op->engine;
    uint32_t i;
    bulk->ended = true;
    if (bulk->status == 0) bulk->status = op->stop;
    if (aioc_feeds_bulk_finish_if_over(bulk)) return;
    for (i = 0; i < engine->slot_count; i++) {
        aioc_operation *item = engine->slots[i];
        if (item && item->owner == bulk && item != op) aioc_operation_stop(item, op->stop);
    }
}

/* An item that cannot be sent ends here, inside step, as if it had been answered. */
static void aioc_feeds_item_refused(aioc_feeds_bulk *bulk, int status, void *item_data)
{
    aioc_operation_engine *engine = bulk->feeds->engine;
    aioc_operation_delivery delivery;
    aiocosmos_result result;
    memset(&delivery, 0, sizeof delivery);
    memset(&result, 0, sizeof result);
    delivery.op = bulk->op;
    delivery.parsed = true;
    result.status = status;
    result.fate = AIOCOSMOS_NOT_SENT;
    aioc_memory_print(engine->message, sizeof engine->message, "%s", engine->refusal);
    result.message = aioc_memory_str(engine->message);
    result.internal = &delivery;
    if (engine->on_failure) engine->on_failure(engine->client, &result, engine->on_failure_user_data);
    aioc_feeds_item_back(bulk, &result, item_data);
}

static void aioc_feeds_send_item(aioc_feeds_bulk *bulk, const aiocosmos_bulk_item *item)
{
    aioc_operation_engine *engine = bulk->feeds->engine;
    aiocosmos_request request;
    aioc_operation_spec spec;
    aioc_operation *op;
    int refused;
    memset(&request, 0, sizeof request);
    request.database = bulk->database;
    request.container = bulk->container;
    request.session_token = bulk->session_token;
    request.kind = item->kind ? item->kind : AIOCOSMOS_CREATE_ITEM;
    request.id = item->id;
    request.pk = item->pk;
    request.body = item->body;
    request.if_match = item->if_match;
    request.want_body = bulk->request.want_body;
    request.timeout_ms = bulk->request.timeout_ms;
    refused = aioc_operation_specify(engine, &request, &spec);
    if (!refused && !spec.item_data) refused = aioc_operation_refuse(engine, "kind", "a bulk is of items");
    if (!refused) {
        spec.pacer = aioc_feeds_pacer();
        spec.complete = aioc_feeds_item_came;
        spec.owner = bulk;
        spec.user_data = item->item_data;
        refused = aioc_operation_accept(engine, &spec, &op);
    }
    if (refused) aioc_feeds_item_refused(bulk, refused, item->item_data);
    else bulk->in_flight++;
}

/* Where memory is short, those in flight give some back; without any, only trying helps. */
static bool aioc_feeds_may_pull(const aioc_feeds_bulk *bulk)
{
    const aioc_operation_engine *engine = bulk->feeds->engine;
    return !bulk->ended && !bulk->later && !bulk->first_held && bulk->in_flight < bulk->request.concurrency_max &&
           aioc_feeds_may_send(bulk) && aioc_operation_has_room_for_part(engine, bulk->in_flight) &&
           (engine->pending == bulk->feeds->bulk_count ||
            engine->memory->used - engine->memory->kept < engine->memory->max / 8 * 7);
}

/* One piece of work for a query or for a read of many, or one item pulled for one bulk. False: there is none, and no
 * bulk can take one now. */
static bool aioc_feeds_work(aioc_feeds *feeds)
{
    aioc_feeds_bulk *bulk = feeds->first_bulk;
    aiocosmos_bulk_item item;
    if (aioc_feeds_work_on_queries(feeds) || aioc_feeds_work_on_many(feeds)) return true;
    while (bulk && !aioc_feeds_may_pull(bulk)) bulk = bulk->next;
    if (!bulk) return false;
    memset(&item, 0, sizeof item);
    switch (bulk->request.next(feeds->engine->client, &item, bulk->request.user_data)) {
    case AIOCOSMOS_PULL_ITEM: aioc_feeds_send_item(bulk, &item); break;
    case AIOCOSMOS_PULL_LATER: bulk->later = true; break;
    case AIOCOSMOS_PULL_END: bulk->ended = true; break;
    default:                                 /* AIOCOSMOS_PULL_FAIL */
        bulk->ended = true;
        bulk->status = AIOCOSMOS_E_CANCELLED;
    }
    aioc_feeds_bulk_finish_if_over(bulk);
    return true;
}

static bool aioc_feeds_has_work(const aioc_feeds *feeds)
{
    const aioc_feeds_bulk *bulk = feeds->first_bulk;
    if (aioc_feeds_queries_have_work(feeds) || aioc_feeds_many_have_work(feeds)) return true;
    while (bulk && !aioc_feeds_may_pull(bulk)) bulk = bulk->next;
    return bulk != NULL;
}

static int aioc_feeds_keep_names(aioc_feeds_bulk *bulk, const aiocosmos_bulk_request *request)
{
    aioc_operation_engine *engine = bulk->feeds->engine;
    const char *database = request->database ? request->database : engine->default_database;
    size_t database_len = strlen(database) + 1, container_len = strlen(request->container) + 1;
    if (!aioc_memory_append(engine->memory, &bulk->names, database, database_len) ||
        !aioc_memory_append(engine->memory, &bulk->names, request->container, container_len) ||
        (request->session_token && !aioc_memory_append(engine->memory, &bulk->names, request->session_token,
                                                       strlen(request->session_token) + 1)))
        return aioc_operation_refuse_memory(engine);
    bulk->database = bulk->names.data;
    bulk->container = bulk->names.data + database_len;
    bulk->session_token = request->session_token ? bulk->container + container_len : NULL;
    return 0;
}

static int aioc_feeds_start_bulk(aioc_feeds_bulk *bulk)
{
    aioc_operation_engine *engine = bulk->feeds->engine;
    aioc_operation_spec spec;
    memset(&spec, 0, sizeof spec);
    spec.verb = "POST";
    spec.type = "docs";
    spec.timeout_ms = bulk->request.deadline_ms ? bulk->request.deadline_ms : AIOCOSMOS_OFF;
    spec.complete = aioc_feeds_bulk_ended;
    spec.stop_parts = aioc_feeds_bulk_stop;
    spec.owner = bulk;
    return aioc_operation_accept(engine, &spec, &bulk->op);
}

static int aioc_feeds_bulk_open(aioc_feeds *feeds, const aiocosmos_bulk_request *request, aiocosmos_op *handle)
{
    aioc_operation_engine *engine = feeds->engine;
    aioc_feeds_bulk *bulk;
    int refused;
    if (!request->next) return aioc_operation_refuse(engine, "next", "required");
    refused = aioc_operation_build_link(engine, 2, request->database, request->container, NULL);
    if (!refused) refused = aioc_operation_check_session(engine, request->session_token);
    if (refused) return refused;
    bulk = (aioc_feeds_bulk *)aioc_memory_zalloc(engine->memory, sizeof *bulk);
    if (!bulk) return aioc_operation_refuse_memory(engine);
    bulk->feeds = feeds;
    bulk->request = *request;
    if (bulk->request.concurrency_max == 0) bulk->request.concurrency_max = AIOCOSMOS_DEFAULT_CONNECTIONS;
    bulk->allowed = bulk->request.concurrency_max;
    refused = aioc_feeds_keep_names(bulk, request);
    if (!refused) refused = aioc_feeds_start_bulk(bulk);
    bulk->next = feeds->first_bulk;
    if (bulk->next) bulk->next->prev = bulk;
    feeds->first_bulk = bulk;
    feeds->bulk_count++;
    if (refused) {
        aioc_feeds_bulk_free(bulk);
        return refused;
    }
    if (handle) *handle = aioc_operation_handle(bulk->op);
    return 0;
}

static aioc_feeds_bulk *aioc_feeds_bulk_find(const aioc_feeds *feeds, aiocosmos_op handle)
{
    aioc_operation *op = aioc_operation_find(feeds->engine, handle);
    return op && op->stop_parts == aioc_feeds_bulk_stop ? (aioc_feeds_bulk *)op->owner : NULL;
}

static void aioc_feeds_close(aioc_feeds *feeds)
{
    aioc_feeds_close_queries(feeds);
    while (feeds->first_many) aioc_feeds_many_free(feeds->first_many);      /* these and bulks: only when abandoned */
    while (feeds->first_bulk) aioc_feeds_bulk_free(feeds->first_bulk);
}
/*==============================================================================
 * MARK: - Client                                                       >>client
 *
 * The public functions: options, the step, host loops, drain and destroy. Thin:
 * what they do is done above.
 *
 * May call: all above.
 *============================================================================*/

#define AIOC_CLIENT_SCRATCH_BYTES 65536      /* one buffer that every plain connection receives into */
#define AIOC_CLIENT_PEM_BYTES_MAX ((size_t)8 << 20)
#define AIOC_CLIENT_PIECES 8u                /* of work in one go, for each operation that may be pending */
#define AIOC_CLIENT_HEAD_BYTES_MAX 65536     /* of an answer: continuation and session token can be long */

struct aiocosmos_client {
    aioc_memory memory;
    aiocosmos_allocator raw;                 /* the host's, for the client itself */
    aiocosmos_allocator counted;             /* through memory, for the poller */
    aiocosmos_platform platform;
    aioc_platform_reactor reactor;
    aioc_resolve resolver;
    aioc_tls_trust trust;
    aioc_tls_config tls;
    aioc_operation_engine engine;
    aioc_feeds feeds;
    char *scratch;
    char *host;                              /* of the endpoint; NUL-terminated */
    char *default_database;
    size_t host_size, default_database_size;
    aiocosmos_resolve_fn resolve_fn;
    void *resolve_user_data;
    uint32_t handshakes_max, step_budget_us;
    bool reactor_open, resolver_open, trust_open, pool_open, engine_open, feeds_open;
    bool stepping, doomed;
    aioc_memory_buffer session_text;         /* lent by aiocosmos_session_get() */
};

/*--- Create -----------------------------------------------------------------*/

/* Options with every default filled in. */
static aiocosmos_options aioc_client_defaults(const aiocosmos_options *given)
{
    aiocosmos_options options = *given;
#define AIOC_CLIENT_DEFAULT(field, value) if (options.field == 0) options.field = (value)
    AIOC_CLIENT_DEFAULT(retries_max, AIOCOSMOS_DEFAULT_RETRIES);
    AIOC_CLIENT_DEFAULT(throttle_wait_ms, AIOCOSMOS_DEFAULT_THROTTLE_WAIT_MS);
    AIOC_CLIENT_DEFAULT(request_timeout_ms, AIOCOSMOS_DEFAULT_REQUEST_TIMEOUT_MS);
    AIOC_CLIENT_DEFAULT(connect_timeout_ms, AIOCOSMOS_DEFAULT_CONNECT_TIMEOUT_MS);
    AIOC_CLIENT_DEFAULT(idle_timeout_ms, AIOCOSMOS_DEFAULT_IDLE_TIMEOUT_MS);
    AIOC_CLIENT_DEFAULT(connections_max, AIOCOSMOS_DEFAULT_CONNECTIONS);
    AIOC_CLIENT_DEFAULT(handshakes_max, AIOCOSMOS_DEFAULT_HANDSHAKES);
    AIOC_CLIENT_DEFAULT(pending_max, AIOCOSMOS_DEFAULT_PENDING);
    AIOC_CLIENT_DEFAULT(memory_max, AIOCOSMOS_DEFAULT_MEMORY);
    AIOC_CLIENT_DEFAULT(response_bytes_max, AIOCOSMOS_DEFAULT_RESPONSE_BYTES);
    AIOC_CLIENT_DEFAULT(containers_max, AIOCOSMOS_DEFAULT_CONTAINERS);
    AIOC_CLIENT_DEFAULT(logger.level_max, 2);
#undef AIOC_CLIENT_DEFAULT
    if (options.retries_max == AIOCOSMOS_OFF) options.retries_max = 0;
    if (!options.platform) options.platform = &aioc_platform_system;
    return options;
}

typedef struct aioc_client_endpoint {
    aiocosmos_str host;                      /* without the brackets of an IPv6 literal */
    aiocosmos_str authority;                 /* for the Host header: as given, without the scheme's own port */
    uint16_t port;
    bool tls;
} aioc_client_endpoint;

/* "https://host[:port][/]"; nothing else belongs to an endpoint. */
static const char *aioc_client_parse_endpoint(const char *text, aioc_client_endpoint *out)
{
    const char *at = text, *end;
    uint64_t port;
    aiocosmos_str digits = { NULL, 0 };
    if (aioc_memory_same_nocase(aioc_operation_str(text, strlen(text) < 8 ? strlen(text) : 8),
                                aioc_memory_str("https://"))) {
        out->tls = true;
        at += 8;
    } else if (aioc_memory_same_nocase(aioc_operation_str(text, strlen(text) < 7 ? strlen(text) : 7),
                                       aioc_memory_str("http://"))) {
        out->tls = false;
        at += 7;
    } else {
        return "endpoint: it starts with https:// or http://";
    }
    out->authority.ptr = at;
    end = at + strcspn(at, "/?#");
    if (*end && strcmp(end, "/") != 0) return "endpoint: nothing may follow the host and port";
    if (*at == '[') {
        const char *close = strchr(at, ']');
        if (!close || close > end) return "endpoint: ']' is missing";
        out->host = aioc_operation_str(at + 1, (size_t)(close - at - 1));
        at = close + 1;
    } else {
        size_t len = strcspn(at, ":/?#");
        out->host = aioc_operation_str(at, len);
        at += len;
    }
    out->port = (uint16_t)(out->tls ? 443 : 80);
    out->authority.len = (size_t)(at - out->authority.ptr);
    if (*at == ':') {
        digits = aioc_operation_str(at + 1, (size_t)(end - at - 1));
        if (!aioc_memory_parse_u64(digits, &port) || port == 0 || port > 65535)
            return "endpoint: the port is a number up to 65535";
        if (port != out->port) out->authority.len = (size_t)(end - out->authority.ptr);
        out->port = (uint16_t)port;
    } else if (at != end) {
        return "endpoint: a port is expected behind the host";
    }
    if (out->host.len == 0) return "endpoint: no host";
    if (out->host.len > 253) return "endpoint: the host is over 253 characters";
    for (at = out->host.ptr; at < out->host.ptr + out->host.len; at++)
        if ((unsigned char)*at <= ' ' || (unsigned char)*at > 0x7E || strchr("@\\\"<>^`{|}", *at))
            return "endpoint: the host has a character that no host name has";
    return NULL;
}

/* Plain http is for this machine only, unless asked for: "localhost" (RFC 6761), 127.0.0.0/8 and ::1. */
static bool aioc_client_is_loopback(aiocosmos_str host)
{
    static const char suffix[] = ".localhost";
    size_t len = sizeof suffix - 1;
    if (aioc_memory_same_nocase(host, aioc_memory_str("localhost")) || aioc_memory_same(host, aioc_memory_str("::1")))
        return true;
    if (host.len > len && aioc_memory_same_nocase(aioc_operation_str(host.ptr + host.len - len, len),
                                                  aioc_memory_str(suffix)))
        return true;
    return host.len > 4 && memcmp(host.ptr, "127.", 4) == 0 && strspn(host.ptr, "0123456789.") >= host.len;
}

static char *aioc_client_copy(aiocosmos_client *client, aiocosmos_str text, size_t *size)
{
    char *copy = (char *)aioc_memory_alloc(&client->memory, text.len + 1);
    if (!copy) return NULL;
    if (text.len) memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    *size = text.len + 1;
    return copy;
}

static void aioc_client_say(char *err, size_t cap, const char *what)
{
    if (err && cap) aioc_memory_print(err, cap, "%s", what);
}

/* The system's certificates, wherever this system keeps them. */
static ptrdiff_t aioc_client_find_trust(aiocosmos_client *client, char **pem, size_t *pem_size)
{
    static const char *const paths[] = {
        "/etc/ssl/certs/ca-certificates.crt",        /* Debian, Ubuntu, Alpine, Arch */
        "/etc/pki/tls/certs/ca-bundle.crt",          /* Fedora, RHEL */
        "/etc/ssl/ca-bundle.pem",                    /* openSUSE */
        "/etc/ssl/cert.pem"                          /* macOS, BSDs */
    };
    const aiocosmos_platform *platform = &client->platform;
    size_t i;
    for (i = 0; i < sizeof paths / sizeof *paths; i++) {
        ptrdiff_t size = platform->file_read(platform->user_data, paths[i], NULL, 0);
        if (size <= 0 || (size_t)size > AIOC_CLIENT_PEM_BYTES_MAX) continue;
        *pem = (char *)aioc_memory_alloc(&client->memory, (size_t)size);
        if (!*pem) return AIOCOSMOS_E_NOMEM;
        *pem_size = (size_t)size;
        if (platform->file_read(platform->user_data, paths[i], *pem, *pem_size) == size) return size;
        aioc_memory_free(&client->memory, *pem, *pem_size);
    }
    return 0;
}

static int aioc_client_open_trust(aiocosmos_client *client, const aiocosmos_options *options, char *err, size_t cap)
{
    char *pem = NULL;
    size_t pem_size = 0;
    int status;
    client->tls.table = &aioc_tls_bearssl;
    client->tls.trust = &client->trust;
    client->tls.insecure = options->insecure;
    if (options->insecure) {
        aioc_operation_log(&client->engine, 1, 0, "insecure: certificates are not checked");
        return 0;
    }
    if (options->trust_pem) {
        size_t len = options->trust_pem_len ? options->trust_pem_len : strlen(options->trust_pem);
        status = aioc_tls_trust_open(&client->trust, &client->memory, options->trust_pem, len, err, cap);
    } else {
        ptrdiff_t found = aioc_client_find_trust(client, &pem, &pem_size);
        if (found <= 0) {
            aioc_client_say(err, cap, found < 0 ? "no memory" : "no system certificates were found: give trust_pem");
            return found < 0 ? AIOCOSMOS_E_NOMEM : AIOCOSMOS_E_ARGUMENT;
        }
        status = aioc_tls_trust_open(&client->trust, &client->memory, pem, pem_size, err, cap);
        aioc_memory_free(&client->memory, pem, pem_size);
    }
    client->trust_open = status == 0;
    return status;
}

/* The account key, or a token, or somebody to ask for tokens: one of them. */
static int aioc_client_open_auth(aiocosmos_client *client, const aiocosmos_options *options, aiocosmos_str key,
                                 char *err,
                                 size_t cap)
{
    aioc_operation_engine *engine = &client->engine;
    unsigned given = (key.len > 0 ? 1u : 0u) + (options->token || options->token_fn ? 1u : 0u);
    size_t error_at = 0;
    if (given == 0) return aioc_client_say(err, cap, "key: required, or token, or token_fn"), AIOCOSMOS_E_ARGUMENT;
    if (key.len && given > 1) return aioc_client_say(err, cap, "key: and a token are both given"), AIOCOSMOS_E_ARGUMENT;
    if (key.len) {
        int status = aioc_auth_signer_set_key(&engine->signer, key, &error_at);
        if (status && err) aioc_memory_print(err, cap, "key: not base64 at byte %llu", (unsigned long long)error_at);
        return status;
    }
    engine->token_fn = options->token_fn;
    engine->token_user_data = options->token_user_data;
    if (options->token) {
        int status = aioc_auth_tokens_set(&engine->tokens, &client->memory, aioc_memory_str(""), options->token,
                                          UINT64_MAX);
        if (status) aioc_client_say(err, cap, "token: empty, too long, or not ASCII");
        return status;
    }
    return 0;
}

/* The header lines that never change. x-ms-version is the one that every current SDK sends. */
static bool aioc_client_build_constant_lines(aiocosmos_client *client, const aioc_client_endpoint *endpoint,
                                             const char *agent)
{
    aioc_memory *memory = &client->memory;
    aioc_memory_buffer *lines = &client->engine.constant_lines;
    return aioc_operation_append_line(memory, lines, "Host: ", endpoint->authority) &&
           aioc_memory_append_str(memory, lines, "User-Agent: ") &&
           (!agent || (aioc_memory_append_str(memory, lines, agent) && aioc_memory_append_str(memory, lines, " "))) &&
           aioc_memory_append_str(memory, lines,
                                  "aiocosmos/0.1.0\r\nAccept: application/json\r\nx-ms-version: 2020-07-15\r\n");
}

static void aioc_client_ask_host(void *user, const char *host, uint64_t question)
{
    aiocosmos_client *client = (aiocosmos_client *)user;
    client->resolve_fn(client, host, question, client->resolve_user_data);
}

static void aioc_client_pool_log(void *user, int level, const char *message)
{
    aioc_operation_log(&((aiocosmos_client *)user)->engine, level, 0, message);
}

static int aioc_client_open_network(aiocosmos_client *client, const aiocosmos_options *options,
                                    const aioc_client_endpoint *endpoint)
{
    aioc_resolve_options resolve;
    aioc_pool_options pool;
    int status;
    memset(&resolve, 0, sizeof resolve);
    memset(&pool, 0, sizeof pool);
    client->counted = aioc_memory_allocator(&client->memory);
    status = aioc_platform_reactor_open(&client->reactor, &client->platform, &client->counted);
    client->reactor_open = status == 0;
    if (status) return status;
    if (options->resolve_fn) {
        client->resolve_fn = options->resolve_fn;
        client->resolve_user_data = options->resolve_user_data;
        resolve.ask = aioc_client_ask_host;
        resolve.user = client;
    }
    status = aioc_resolve_open(&client->resolver, &client->reactor, &client->memory, &resolve);
    client->resolver_open = status == 0;
    if (status) return status;
    pool.host = client->host;
    pool.port = endpoint->port;
    pool.tls = endpoint->tls;
    pool.tls_config = &client->tls;
    pool.connections_max = options->connections_max;
    pool.idle_timeout_ms = options->idle_timeout_ms;
    pool.connect_timeout_ms = options->connect_timeout_ms;
    pool.head_max = AIOC_CLIENT_HEAD_BYTES_MAX;
    pool.body_max = options->response_bytes_max;
    pool.names = &aioc_protocol_headers;
    pool.log = aioc_client_pool_log;
    pool.log_user = client;
    status = aioc_pool_open(&client->engine.pool, &client->reactor, &client->memory, &client->resolver, client->scratch,
                            AIOC_CLIENT_SCRATCH_BYTES, &pool);
    client->pool_open = status == 0;
    return status;
}

static int aioc_client_open_engine(aiocosmos_client *client, const aiocosmos_options *options)
{
    aioc_operation_engine *engine = &client->engine;
    uint64_t seed = 0;
    engine->client = client;
    engine->platform = &client->platform;
    engine->reactor = &client->reactor;
    engine->memory = &client->memory;
    engine->pending_max = options->pending_max;
    engine->retries_max = options->retries_max;
    engine->throttle_wait_ms = options->throttle_wait_ms;
    engine->request_timeout_ms = options->request_timeout_ms;
    engine->retry_writes = options->retry_writes;
    engine->no_session = options->no_session;
    engine->on_failure = options->on_failure;
    engine->on_failure_user_data = options->on_failure_user_data;
    engine->default_database = client->default_database;
    client->platform.entropy(client->platform.user_data, &seed, sizeof seed);
    engine->random_state = seed ? seed : 1;
    aioc_account_open(&engine->account, &client->memory, options->containers_max);
    engine->account.fetch = aioc_operation_fetch_container;
    engine->account.engine = engine;
    client->engine_open = true;
    client->feeds.engine = engine;
    client->feeds_open = true;
    return aioc_operation_open(engine);
}

static const char *aioc_client_check_options(const aiocosmos_options *options)
{
    const char *agent = options->user_agent;
    if (options->connection_string && (options->endpoint || options->key))
        return "connection_string: and endpoint or key are both given";
    if (!options->connection_string && !options->endpoint) return "endpoint: required, or connection_string";
    if (options->connections_max > 65535) return "connections_max: over 65535";
    if (options->pending_max > (1u << 24)) return "pending_max: over 2^24";
    if (options->step_budget_us > 60000000u) return "step_budget_us: over a minute";
    if (agent) {
        size_t i;
        for (i = 0; agent[i]; i++)
            if (i >= 200 || agent[i] < ' ' || agent[i] > '~') return "user_agent: at most 200 visible ASCII characters";
    }
    return NULL;
}

static void aioc_client_free(aiocosmos_client *client);

static int aioc_client_open(aiocosmos_client *client, const aiocosmos_options *options, char *err, size_t cap)
{
    aioc_client_endpoint endpoint;
    aiocosmos_str endpoint_text = aioc_memory_str(options->endpoint), key = aioc_memory_str(options->key);
    bool insecure = false;
    const char *error = NULL;
    char text[512];
    size_t error_at = 0;
    int status;
    aiocosmos_options own = *options;
    memset(&endpoint, 0, sizeof endpoint);
    if (options->connection_string && aioc_auth_connection_string(aioc_memory_str(options->connection_string),
                                                                  &endpoint_text, &key,
                                                                  &insecure, &error, &error_at) != 0) {
        if (err) aioc_memory_print(err, cap, "connection_string: %s at byte %llu", error, (unsigned long long)error_at);
        return AIOCOSMOS_E_ARGUMENT;
    }
    own.insecure = own.insecure || insecure;
    if (endpoint_text.len >= sizeof text) return aioc_client_say(err, cap, "endpoint: too long"), AIOCOSMOS_E_ARGUMENT;
    memcpy(text, endpoint_text.ptr, endpoint_text.len);
    text[endpoint_text.len] = 0;
    error = aioc_client_parse_endpoint(text, &endpoint);
    if (!error && !endpoint.tls && !options->allow_http && !aioc_client_is_loopback(endpoint.host))
        error = "endpoint: http is for loopback addresses only, unless allow_http is set";
    if (error) return aioc_client_say(err, cap, error), AIOCOSMOS_E_ARGUMENT;
    client->host = aioc_client_copy(client, endpoint.host, &client->host_size);
    client->scratch = (char *)aioc_memory_alloc(&client->memory, AIOC_CLIENT_SCRATCH_BYTES);
    if (options->default_database)
        client->default_database = aioc_client_copy(client, aioc_memory_str(options->default_database),
                                                    &client->default_database_size);
    if (!client->host || !client->scratch || (options->default_database && !client->default_database))
        return AIOCOSMOS_E_NOMEM;
    client->handshakes_max = options->handshakes_max;
    client->step_budget_us = options->step_budget_us;
    status = aioc_client_open_engine(client, options);
    client->engine.logger = options->logger;
    if (!status && !aioc_client_build_constant_lines(client, &endpoint, options->user_agent))
        status = AIOCOSMOS_E_NOMEM;
    if (!status) status = aioc_client_open_auth(client, &own, key, err, cap);
    if (!status && endpoint.tls) status = aioc_client_open_trust(client, &own, err, cap);
    if (!status) status = aioc_client_open_network(client, &own, &endpoint);
    return status;
}

AIOCOSMOS_API int aiocosmos_create(const aiocosmos_options *given, aiocosmos_client **out, char *err, size_t err_cap)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    const char *wrong;
    int status;
    *out = NULL;
    if (err && err_cap) err[0] = 0;
    options = aioc_client_defaults(given);
    wrong = aioc_client_check_options(&options);
    if (wrong) return aioc_client_say(err, err_cap, wrong), AIOCOSMOS_E_ARGUMENT;
    client = (aiocosmos_client *)aioc_platform_allocate(&options.allocator, NULL, 0, sizeof *client);
    if (!client) return aioc_client_say(err, err_cap, "no memory"), AIOCOSMOS_E_NOMEM;
    memset(client, 0, sizeof *client);
    client->raw = options.allocator;
    client->platform = *options.platform;
    aioc_memory_init(&client->memory, &options.allocator, options.memory_max);
    status = aioc_client_open(client, &options, err, err_cap);
    if (status) {
        if (err && err_cap && err[0] == 0) aioc_client_say(err, err_cap, aioc_protocol_status_text(status));
        aioc_client_free(client);
        return status;
    }
    *out = client;
    return 0;
}

/*--- Destroy ----------------------------------------------------------------*/

/* Frees everything. No operation is left, or nobody is to hear of it. */
static void aioc_client_free(aiocosmos_client *client)
{
    aiocosmos_allocator raw = client->raw;
    aioc_operation_engine *engine = &client->engine;
    if (client->feeds_open) aioc_feeds_close(&client->feeds);
    if (client->pool_open) aioc_pool_close(&engine->pool);
    if (client->resolver_open) aioc_resolve_close(&client->resolver);
    if (client->engine_open) {
        aioc_account_close(&engine->account);
        aioc_operation_close(engine);
        aioc_auth_tokens_wipe(&engine->tokens, &client->memory);
        aioc_auth_signer_wipe(&engine->signer);
    }
    if (client->trust_open) aioc_tls_trust_close(&client->trust, &client->memory);
    if (client->reactor_open) aioc_platform_reactor_close(&client->reactor);
    aioc_memory_buffer_free(&client->memory, &client->session_text);
    aioc_memory_free(&client->memory, client->scratch, AIOC_CLIENT_SCRATCH_BYTES);
    aioc_memory_free(&client->memory, client->host, client->host_size);
    aioc_memory_free(&client->memory, client->default_database, client->default_database_size);
    aioc_memory_close(&client->memory);
    aioc_platform_allocate(&raw, client, sizeof *client, 0);
}

/* Ends every operation with a status. Callbacks run; what they submit is refused, so it ends. */
static void aioc_client_end_all(aiocosmos_client *client)
{
    aioc_operation_engine *engine = &client->engine;
    uint32_t i;
    engine->closing = true;
    for (i = 0; i < engine->slot_count; i++) {
        aioc_operation *op = engine->slots[i];
        if (op && op->state != AIOC_OPERATION_COMPOSED) {
            op->stop = AIOCOSMOS_E_SHUTDOWN;
            aioc_operation_abort(op, AIOCOSMOS_E_SHUTDOWN);
        }
    }
    for (i = 0; i < engine->slot_count; i++)
        if (engine->slots[i]) aioc_operation_abort(engine->slots[i], AIOCOSMOS_E_SHUTDOWN);
}

static void aioc_client_destroy_now(aiocosmos_client *client)
{
    client->stepping = true;                 /* a callback that steps is told so, one that destroys is too late */
    client->doomed = true;
    aioc_client_end_all(client);
    aioc_client_free(client);
}

AIOCOSMOS_API void aiocosmos_destroy(aiocosmos_client *client)
{
    if (!client || client->doomed) return;
    if (client->stepping) {
        client->doomed = true;
        client->engine.closing = true;
    } else {
        aioc_platform_tick(&client->reactor);
        aioc_client_destroy_now(client);
    }
}

AIOCOSMOS_API void aiocosmos_abandon(aiocosmos_client *client)
{
    aioc_operation_engine *engine;
    uint32_t i;
    if (!client) return;
    engine = &client->engine;
    aioc_platform_reactor_abandon(&client->reactor);
    for (i = 0; i < engine->slot_count; i++)
        if (engine->slots[i]) aioc_operation_abandon(engine->slots[i]);
    aioc_client_free(client);
}

AIOCOSMOS_API const char *aiocosmos_refusal(const aiocosmos_client *client)
{
    return client->engine.refusal;
}

/*--- Step -------------------------------------------------------------------*/

/* One piece of ready work, in the order in which it frees resources: answers, timers, pulls, starts, sends. */
static bool aioc_client_work_one(aiocosmos_client *client)
{
    return aioc_platform_dispatch_one(&client->reactor) || aioc_platform_timer_run_one(&client->reactor) ||
           aioc_operation_work(&client->engine) || aioc_feeds_work(&client->feeds) ||
           aioc_pool_work(&client->engine.pool);
}

/* Works until nothing is ready or the budget is spent. False: the budget is spent, or a callback destroyed the client.
 * Without a budget, too, callbacks that always lead to further ones do not keep the host for ever. */
static bool aioc_client_work(aiocosmos_client *client, uint64_t until_us)
{
    uint32_t left = client->engine.slot_count * AIOC_CLIENT_PIECES;
    while (!client->doomed && aioc_client_work_one(client))
        if (--left == 0 || (until_us && aioc_platform_tick(&client->reactor) >= until_us)) return false;
    return !client->doomed;
}

static void aioc_client_poll(aiocosmos_client *client, int timeout_ms)
{
    if (aioc_platform_poll(&client->reactor, timeout_ms) < 0)
        aioc_operation_log(&client->engine, 1, 0, "the poller failed");
}

static bool aioc_client_has_work(const aiocosmos_client *client)
{
    return client->engine.first_ready || client->reactor.batch_at < client->reactor.batch_count ||
           aioc_feeds_has_work(&client->feeds) ||
           aioc_pool_has_work(&client->engine.pool);
}

static int aioc_client_timeout_ms(const aiocosmos_client *client, uint64_t now_us)
{
    uint64_t due_us, wait_ms;
    if (aioc_client_has_work(client)) return 0;
    if (!aioc_platform_timer_next(&client->reactor, &due_us)) return -1;
    if (due_us <= now_us) return 0;
    wait_ms = (due_us - now_us + 999u) / 1000u;
    return wait_ms < INT_MAX ? (int)wait_ms : INT_MAX;
}

/* How long the poller may wait: not at all once something has been called back, nor for nothing. */
static int aioc_client_wait_ms(aiocosmos_client *client, int timeout_ms)
{
    int due_ms = aioc_client_timeout_ms(client, aioc_platform_tick(&client->reactor));
    if (client->engine.callbacks || due_ms == 0 || timeout_ms == 0 || client->engine.pending == 0) return 0;
    if (timeout_ms < 0) return due_ms;
    return due_ms >= 0 && due_ms < timeout_ms ? due_ms : timeout_ms;
}

static uint64_t aioc_client_budget_end(aiocosmos_client *client)
{
    uint64_t now_us = aioc_platform_tick(&client->reactor);
    return client->step_budget_us ? now_us + client->step_budget_us : 0;
}

/* All that a step does but handshakes. False: the budget is spent, or a callback destroyed the client. */
static bool aioc_client_step_ready(aiocosmos_client *client, int timeout_ms)
{
    uint64_t until_us = aioc_client_budget_end(client);
    int wait_ms;
    while (!client->doomed && aioc_platform_dispatch_one(&client->reactor))        /* what the last budget left over */
        if (until_us && aioc_platform_tick(&client->reactor) >= until_us) return false;
    if (client->doomed) return false;
    /* Which of the idle connections the server has closed meanwhile only the poller knows: it is asked before anything
     * is sent, lest a write be lost on a dead one; and in each step, lest a small budget go to other work for ever. */
    wait_ms = aioc_client_wait_ms(client, timeout_ms);
    aioc_client_poll(client, wait_ms);
    if (!aioc_client_work(client, aioc_client_budget_end(client))) return false;       /* waiting is not working */
    if (wait_ms != 0 || (wait_ms = aioc_client_wait_ms(client, timeout_ms)) == 0) return true;
    aioc_client_poll(client, wait_ms);
    return aioc_client_work(client, aioc_client_budget_end(client));
}

/* Handshakes come last. If the budget is spent, one goes on nevertheless, or a busy client would never get another
 * connection; and one timer, or one that is talked to all the time would have no deadlines. */
static void aioc_client_step_once(aiocosmos_client *client, int timeout_ms)
{
    bool finished = aioc_client_step_ready(client, timeout_ms);
    uint32_t records = 0, records_max = finished ? client->handshakes_max : 1;
    if (!finished && !client->doomed) aioc_platform_timer_run_one(&client->reactor);
    while (!client->doomed && records < records_max && aioc_pool_handshake_work(&client->engine.pool)) records++;
    if (records && finished) aioc_client_work(client, aioc_client_budget_end(client));
}

static int aioc_client_step(aiocosmos_client *client, int timeout_ms)
{
    if (client->stepping) return AIOCOSMOS_E_REENTERED;
    client->stepping = true;
    client->engine.callbacks = 0;
    aioc_client_step_once(client, timeout_ms);
    if (client->doomed) {
        aioc_client_destroy_now(client);
        return AIOCOSMOS_E_DESTROYED;
    }
    client->stepping = false;
    return client->engine.callbacks;
}

AIOCOSMOS_API int aiocosmos_step(aiocosmos_client *client, int timeout_ms)
{
    return aioc_client_step(client, timeout_ms);
}

AIOCOSMOS_API int aiocosmos_next_timeout_ms(const aiocosmos_client *client)
{
    return aioc_client_timeout_ms(client, client->platform.monotonic_us(client->platform.user_data));
}

AIOCOSMOS_API intptr_t aiocosmos_fd(const aiocosmos_client *client)
{
    return client->platform.poller_fd(client->platform.user_data, client->reactor.poller);
}

AIOCOSMOS_API size_t aiocosmos_poll_fds(const aiocosmos_client *client, aiocosmos_pollfd *out, size_t cap)
{
    const aioc_platform_source *source = client->reactor.sources;
    intptr_t wake = client->platform.poller_wake_fd(client->platform.user_data, client->reactor.poller);
    size_t count = 0;
    if (wake >= 0) {
        if (count < cap) {
            out[count].fd = wake;
            out[count].read = true;
            out[count].write = false;
        }
        count++;
    }
    for (; source; source = source->next) {
        if (count < cap) {
            out[count].fd = source->fd;
            out[count].read = (source->want & AIOCOSMOS_READABLE) != 0;
            out[count].write = (source->want & AIOCOSMOS_WRITABLE) != 0;
        }
        count++;
    }
    return count;
}

AIOCOSMOS_API void aiocosmos_wake(aiocosmos_client *client)
{
    client->platform.poller_wake(client->platform.user_data, client->reactor.poller);
}

AIOCOSMOS_API uint32_t aiocosmos_pending(const aiocosmos_client *client)
{
    return client->engine.pending;
}

AIOCOSMOS_API int aiocosmos_drain(aiocosmos_client *client, int timeout_ms)
{
    const aiocosmos_platform *platform = &client->platform;
    uint64_t now_us = platform->monotonic_us(platform->user_data), until_us = now_us + (uint64_t)timeout_ms * 1000u;
    while (client->engine.pending) {
        int wait_ms = -1, ran;
        if (timeout_ms >= 0) {
            now_us = platform->monotonic_us(platform->user_data);
            if (now_us > until_us) return AIOCOSMOS_E_TIMEOUT;
            wait_ms = (int)((until_us - now_us + 999u) / 1000u);
        }
        ran = aioc_client_step(client, wait_ms);
        if (ran < 0) return ran;
        if (timeout_ms == 0 && client->engine.pending) return AIOCOSMOS_E_TIMEOUT;
    }
    return client->stepping ? AIOCOSMOS_E_REENTERED : 0;
}

AIOCOSMOS_API void aiocosmos_set_step_budget_us(aiocosmos_client *client, uint32_t budget_us)
{
    client->step_budget_us = budget_us;
}

/*--- Credentials, names, connections, figures -----------------------------------*/

AIOCOSMOS_API int aiocosmos_set_key(aiocosmos_client *client, const char *key)
{
    aioc_operation_engine *engine = &client->engine;
    size_t error_at = 0;
    if (!engine->signer.has_key) return aioc_operation_refuse(engine, "key", "this client was created with a token");
    if (!key || aioc_auth_signer_set_key(&engine->signer, aioc_memory_str(key), &error_at) != 0)
        return aioc_operation_refuse_at(engine, "key", "not base64", error_at);
    return 0;
}

AIOCOSMOS_API int aiocosmos_set_token(aiocosmos_client *client, const char *resource_link, const char *token,
                                      uint32_t lifetime_s)
{
    aioc_operation_engine *engine = &client->engine;
    const aiocosmos_platform *platform = &client->platform;
    uint64_t until_us = UINT64_MAX;
    int status;
    if (lifetime_s) until_us = platform->monotonic_us(platform->user_data) + (uint64_t)lifetime_s * 1000000u;
    if (engine->signer.has_key) return aioc_operation_refuse(engine, "token", "this client was created with a key");
    status = aioc_auth_tokens_set(&engine->tokens, &client->memory, aioc_memory_str(resource_link), token, until_us);
    if (status == AIOCOSMOS_E_ARGUMENT) return aioc_operation_refuse(engine, "token", "empty, too long, or not ASCII");
    if (status) return aioc_operation_refuse_memory(engine);
    aioc_operation_tokens_changed(engine);
    return 0;
}

AIOCOSMOS_API int aiocosmos_resolved(aiocosmos_client *client, uint64_t question, const aiocosmos_address *addresses,
                                     size_t count, uint32_t ttl_s)
{
    int status = aioc_resolve_answer(&client->resolver, question, addresses, count, ttl_s);
    if (status) aioc_operation_refuse(&client->engine, "question", "not open: answered already, or given up");
    return status;
}

AIOCOSMOS_API int aiocosmos_warm(aiocosmos_client *client, uint32_t connections)
{
    if (client->engine.closing) return AIOCOSMOS_E_SHUTDOWN;
    aioc_pool_warm(&client->engine.pool, connections);
    return 0;
}

AIOCOSMOS_API void aiocosmos_get_stats(const aiocosmos_client *client, aiocosmos_stats *out)
{
    const aioc_operation_engine *engine = &client->engine;
    *out = engine->stats;
    aioc_pool_get_stats(&engine->pool, out);
    out->signatures_computed = engine->signer.computed;
    out->allocations = client->memory.allocations;
    out->memory_used = client->memory.used;
    out->memory_peak = client->memory.peak;
}

AIOCOSMOS_API uint32_t aiocosmos_version(void) { return AIOCOSMOS_VERSION; }

AIOCOSMOS_API const char *aiocosmos_status_text(int status) { return aioc_protocol_status_text(status); }

AIOCOSMOS_API const aiocosmos_platform *aiocosmos_system_platform(void) { return &aioc_platform_system; }

/*--- Values -----------------------------------------------------------------*/

static aiocosmos_value aioc_client_value(aiocosmos_type type, const char *str, size_t len)
{
    aiocosmos_value value;
    memset(&value, 0, sizeof value);
    value.type = (uint8_t)type;
    value.str = str;
    value.len = len;
    return value;
}

AIOCOSMOS_API aiocosmos_value aiocosmos_s(const char *text)
{
    return aioc_client_value(text ? AIOCOSMOS_STR : AIOCOSMOS_UNSET, text, text ? strlen(text) : 0);
}

AIOCOSMOS_API aiocosmos_value aiocosmos_sn(const char *text, size_t len)
{
    return aioc_client_value(AIOCOSMOS_STR, text, len);
}

AIOCOSMOS_API aiocosmos_value aiocosmos_i(int64_t number)
{
    aiocosmos_value value = aioc_client_value(AIOCOSMOS_I64, NULL, 0);
    value.i64 = number;
    return value;
}

AIOCOSMOS_API aiocosmos_value aiocosmos_f(double number)
{
    aiocosmos_value value = aioc_client_value(AIOCOSMOS_F64, NULL, 0);
    value.f64 = number;
    return value;
}

AIOCOSMOS_API aiocosmos_value aiocosmos_b(bool truth)
{
    aiocosmos_value value = aioc_client_value(AIOCOSMOS_BOOL, NULL, 0);
    value.i64 = truth;
    return value;
}

AIOCOSMOS_API aiocosmos_value aiocosmos_null(void) { return aioc_client_value(AIOCOSMOS_NULL, NULL, 0); }
AIOCOSMOS_API aiocosmos_value aiocosmos_none(void) { return aioc_client_value(AIOCOSMOS_NONE, NULL, 0); }

AIOCOSMOS_API aiocosmos_value aiocosmos_json_text(const char *text, size_t len)
{
    return aioc_client_value(AIOCOSMOS_JSON, text, len);
}

static aiocosmos_pk aioc_client_pk(aiocosmos_value a, aiocosmos_value b, aiocosmos_value c)
{
    aiocosmos_pk pk;
    pk.level[0] = a;
    pk.level[1] = b;
    pk.level[2] = c;
    return pk;
}

AIOCOSMOS_API aiocosmos_pk aiocosmos_pk1(aiocosmos_value a)
{
    aiocosmos_value unset = aioc_client_value(AIOCOSMOS_UNSET, NULL, 0);
    return aioc_client_pk(a, unset, unset);
}

AIOCOSMOS_API aiocosmos_pk aiocosmos_pk2(aiocosmos_value a, aiocosmos_value b)
{
    return aioc_client_pk(a, b, aioc_client_value(AIOCOSMOS_UNSET, NULL, 0));
}

AIOCOSMOS_API aiocosmos_pk aiocosmos_pk3(aiocosmos_value a, aiocosmos_value b, aiocosmos_value c)
{
    return aioc_client_pk(a, b, c);
}

/*--- Operations -------------------------------------------------------------*/

static int aioc_client_submit(aiocosmos_client *client, const aiocosmos_request *request, aiocosmos_op *handle)
{
    aioc_operation_spec spec;
    aioc_operation *op;
    int refused = aioc_operation_specify(&client->engine, request, &spec);
    if (!refused) refused = aioc_operation_accept(&client->engine, &spec, &op);
    if (!refused && handle) *handle = aioc_operation_handle(op);
    return refused;
}

AIOCOSMOS_API int aiocosmos_submit(aiocosmos_client *client, const aiocosmos_request *request, aiocosmos_op *op)
{
    if (op) op->id = 0;
    return aioc_client_submit(client, request, op);
}

AIOCOSMOS_API bool aiocosmos_cancel(aiocosmos_client *client, aiocosmos_op op)
{
    return aioc_operation_cancel(&client->engine, op);
}

static const aioc_operation_delivery *aioc_client_delivery(const aiocosmos_result *result)
{
    return (const aioc_operation_delivery *)result->internal;
}

AIOCOSMOS_API aiocosmos_str aiocosmos_result_header(const aiocosmos_result *result, const char *name)
{
    const aioc_http_response *response = aioc_client_delivery(result)->response;
    return response ? aioc_http_header(response->head, name) : aioc_memory_str("");
}

AIOCOSMOS_API aiocosmos_json aiocosmos_result_json(const aiocosmos_result *result)
{
    return aioc_operation_result_json(result);
}

static bool aioc_client_attempt(const aiocosmos_result *result, uint32_t i, aiocosmos_attempt *out)
{
    const aioc_operation *op = aioc_client_delivery(result)->op;
    const aioc_operation_attempt *kept;
    if (!op->kept || i >= AIOC_OPERATION_ATTEMPTS_KEPT || i >= op->attempts || i >= result->attempts) return false;
    kept = &op->kept[i];
    memset(out, 0, sizeof *out);
    out->number = kept->number;
    out->status = kept->status;
    out->http_status = kept->http_status;
    out->sub_status = kept->sub_status;
    out->reused = kept->reused;
    out->queue_us = kept->queue_us;
    out->dns_us = kept->dns_us;
    out->tcp_us = kept->tcp_us;
    out->tls_us = kept->tls_us;
    out->first_byte_us = kept->first_byte_us;
    out->body_us = kept->body_us;
    out->charge_ru = (double)kept->charge_ru;
    out->host = aioc_memory_str(op->engine->pool.options.host);
    return true;
}

AIOCOSMOS_API bool aiocosmos_result_attempt(const aiocosmos_result *result, uint32_t i, aiocosmos_attempt *out)
{
    return aioc_client_attempt(result, i, out);
}

/* Appends to a text that may be cut; returns the length that it would have. */
static size_t aioc_client_describe_attempt(const aiocosmos_attempt *attempt, char *out, size_t cap, size_t len)
{
    size_t at = len < cap ? len : cap;
    return len + aioc_memory_print(out ? out + at : NULL, cap - at,
        "; #%u %d/%d%s queue %u us, dns %u, tcp %u, tls %u, first byte %u, body %u", (unsigned)attempt->number,
        attempt->status, attempt->sub_status, attempt->reused ? " reused" : "", (unsigned)attempt->queue_us,
        (unsigned)attempt->dns_us, (unsigned)attempt->tcp_us, (unsigned)attempt->tls_us,
        (unsigned)attempt->first_byte_us, (unsigned)attempt->body_us);
}

AIOCOSMOS_API size_t aiocosmos_result_describe(const aiocosmos_result *result, char *out, size_t cap)
{
    static const char *const fates[] = { "answered", "not sent", "maybe applied" };
    uint64_t centi_ru = (uint64_t)(result->charge_ru * 100.0 + 0.5);
    aiocosmos_attempt attempt;
    uint32_t i;
    size_t len = aioc_memory_print(out, cap,
        "status %d (%s), http %d/%d, %s, %llu.%02u RU, %llu us, %u attempt%s, activity %.*s%s%.*s", result->status,
        aioc_protocol_status_text(result->status), result->http_status, result->sub_status, fates[result->fate],
        (unsigned long long)(centi_ru / 100u), (unsigned)(centi_ru % 100u), (unsigned long long)result->latency_us,
        (unsigned)result->attempts, result->attempts == 1 ? "" : "s", (int)result->activity_id.len,
        result->activity_id.ptr, result->message.len ? ": " : "",
        (int)result->message.len, result->message.ptr);
    for (i = 0; aioc_client_attempt(result, i, &attempt); i++)
        len = aioc_client_describe_attempt(&attempt, out, cap, len);
    return len;
}

AIOCOSMOS_API aiocosmos_body aiocosmos_result_take_body(const aiocosmos_result *result)
{
    return aioc_operation_take_body(result);
}

AIOCOSMOS_API void aiocosmos_body_free(aiocosmos_client *client, aiocosmos_body body)
{
    aioc_memory_free(&client->memory, body.owner, body.owner_size);
}

typedef struct aioc_client_runner {
    const aiocosmos_request *request;
    aiocosmos_body *out;
    int status;
    bool done;
} aioc_client_runner;

static void aioc_client_ran(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    aioc_client_runner *runner = (aioc_client_runner *)user_data;
    /* First: what done takes, it may also free. */
    if (runner->out) *runner->out = aioc_operation_take_body(result);
    if (runner->request->done) runner->request->done(client, result, runner->request->user_data);
    runner->status = result->status;
    runner->done = true;
    if (!runner->out || !client->doomed) return;
    aioc_memory_free(&client->memory, runner->out->owner, runner->out->owner_size);      /* nobody could, afterwards */
    memset(runner->out, 0, sizeof *runner->out);
}

AIOCOSMOS_API int aiocosmos_run(aiocosmos_client *client, const aiocosmos_request *request, aiocosmos_body *out)
{
    aioc_client_runner runner;
    aiocosmos_request own = *request;
    int status;
    memset(&runner, 0, sizeof runner);
    runner.request = request;
    runner.out = out;
    if (out) memset(out, 0, sizeof *out);
    if (client->stepping) return AIOCOSMOS_E_REENTERED;
    own.done = aioc_client_ran;
    own.user_data = &runner;
    status = aioc_client_submit(client, &own, NULL);
    if (status) return status;
    while (!runner.done) {
        status = aioc_client_step(client, -1);
        if (status < 0) return status;
    }
    return runner.status;
}

/*--- Session tokens -----------------------------------------------------------*/

static aioc_account_container *aioc_client_container(aiocosmos_client *client, const char *database,
                                                     const char *container)
{
    if (aioc_operation_build_link(&client->engine, 2, database, container, NULL) != 0) return NULL;
    return aioc_account_find(&client->engine.account, aioc_operation_text(&client->engine.link_text));
}

AIOCOSMOS_API aiocosmos_str aiocosmos_session_get(aiocosmos_client *client, const char *database, const char *container)
{
    aioc_account_container *known = aioc_client_container(client, database, container);
    client->session_text.len = 0;
    if (!known || !aioc_account_session_all(&client->engine.account, known, &client->session_text))
        return aioc_memory_str("");
    return aioc_operation_text(&client->session_text);
}

AIOCOSMOS_API int aiocosmos_session_merge(aiocosmos_client *client, const char *database, const char *container,
                                          aiocosmos_str token)
{
    aioc_operation_engine *engine = &client->engine;
    aioc_account_container *known;
    size_t bad_at;
    bool merged;
    int refused = aioc_operation_build_link(engine, 2, database, container, NULL);
    if (refused) return refused;
    if (!aioc_protocol_session_check(token, &bad_at))
        return aioc_operation_refuse_at(engine, "token", "malformed", bad_at);
    known = aioc_account_hold(&engine->account, aioc_operation_text(&engine->link_text));
    if (!known) return aioc_operation_refuse_memory(engine);
    merged = aioc_account_session_take(&engine->account, known, token);
    aioc_account_release(known);
    return merged ? 0 : aioc_operation_refuse_memory(engine);
}

/*--- Queries, reads of many items, bulk -----------------------------------------*/

AIOCOSMOS_API int aiocosmos_query_open(aiocosmos_client *client, const aiocosmos_query_request *request,
                                       aiocosmos_query *query)
{
    return aioc_feeds_query_open(&client->feeds, request, query);
}

AIOCOSMOS_API int aiocosmos_query_next(aiocosmos_client *client, aiocosmos_query query, aiocosmos_page_fn page,
                                       void *user_data)
{
    return aioc_feeds_query_next(&client->feeds, query, page, user_data);
}

AIOCOSMOS_API void aiocosmos_query_close(aiocosmos_client *client, aiocosmos_query query)
{
    aioc_feeds_query_close(&client->feeds, query);
}

AIOCOSMOS_API bool aiocosmos_query_get_stats(aiocosmos_client *client, aiocosmos_query query,
                                             aiocosmos_query_stats *out)
{
    return aioc_feeds_query_get_stats(&client->feeds, query, out);
}

AIOCOSMOS_API bool aiocosmos_query_get_range(aiocosmos_client *client, aiocosmos_query query, uint32_t i,
                                             aiocosmos_range_stats *out)
{
    return aioc_feeds_query_get_range(&client->feeds, query, i, out);
}

AIOCOSMOS_API int aiocosmos_read_many(aiocosmos_client *client, const aiocosmos_read_many_request *request,
                                      aiocosmos_op *op)
{
    if (op) op->id = 0;
    return aioc_feeds_many_open(&client->feeds, request, op);
}

AIOCOSMOS_API int aiocosmos_bulk(aiocosmos_client *client, const aiocosmos_bulk_request *request, aiocosmos_op *op)
{
    if (op) op->id = 0;
    return aioc_feeds_bulk_open(&client->feeds, request, op);
}

AIOCOSMOS_API int aiocosmos_bulk_resume(aiocosmos_client *client, aiocosmos_op op)
{
    aioc_feeds_bulk *bulk = aioc_feeds_bulk_find(&client->feeds, op);
    if (!bulk) return aioc_operation_refuse(&client->engine, "op", "no such bulk");
    bulk->later = false;
    return 0;
}

AIOCOSMOS_API bool aiocosmos_bulk_progress(const aiocosmos_client *client, aiocosmos_op op, aiocosmos_bulk_totals *out)
{
    const aioc_feeds_bulk *bulk = aioc_feeds_bulk_find(&client->feeds, op);
    if (!bulk) return false;
    *out = bulk->totals;
    out->concurrency = bulk->allowed;
    return true;
}

/*--- JSON -------------------------------------------------------------------*/

AIOCOSMOS_API aiocosmos_json aiocosmos_json_at(aiocosmos_json value, const char *pointer)
{
    return aioc_json_at(value, pointer);
}


AIOCOSMOS_API size_t aiocosmos_json_fields(aiocosmos_json object, const char *const *names, size_t n,
                                           aiocosmos_json *out)
{
    return aioc_json_fields(object, names, n, out);
}

AIOCOSMOS_API bool aiocosmos_json_next(aiocosmos_json container, aiocosmos_json *key, aiocosmos_json *value)
{
    return aioc_json_next(container, key, value);
}

AIOCOSMOS_API size_t aiocosmos_json_count(aiocosmos_json container) { return aioc_json_count(container); }
AIOCOSMOS_API bool aiocosmos_json_get_i64(aiocosmos_json value, int64_t *out) { return aioc_json_get_i64(value, out); }
AIOCOSMOS_API bool aiocosmos_json_get_f64(aiocosmos_json value, double *out) { return aioc_json_get_f64(value, out); }
AIOCOSMOS_API bool aiocosmos_json_get_bool(aiocosmos_json value, bool *out) { return aioc_json_get_bool(value, out); }

AIOCOSMOS_API size_t aiocosmos_json_get_str(aiocosmos_json value, char *buf, size_t cap)
{
    return aioc_json_get_str(value, buf, cap);
}

AIOCOSMOS_API bool aiocosmos_json_is_str(aiocosmos_json value, const char *text)
{
    return aioc_json_is_str(value, text);
}


AIOCOSMOS_API int aiocosmos_json_parse(aiocosmos_client *client, const char *text, size_t len, aiocosmos_json_doc **out,
                                       size_t *error_at)
{
    aiocosmos_json_doc *doc = (aiocosmos_json_doc *)aioc_memory_alloc(&client->memory, sizeof *doc);
    int status;
    *out = NULL;
    if (!doc) return aioc_operation_refuse_memory(&client->engine);
    aioc_json_open(doc, &client->memory);
    status = aioc_json_parse(doc, text, len);
    if (status == 0) {
        *out = doc;
        return 0;
    }
    if (error_at) *error_at = doc->error_at;
    if (status == AIOCOSMOS_E_ARGUMENT) aioc_operation_refuse_at(&client->engine, "text", doc->error, doc->error_at);
    else aioc_operation_refuse_memory(&client->engine);
    aioc_json_close(doc);
    aioc_memory_free(&client->memory, doc, sizeof *doc);
    return status;
}

AIOCOSMOS_API aiocosmos_json aiocosmos_json_root(const aiocosmos_json_doc *doc) { return aioc_json_root(doc); }

AIOCOSMOS_API void aiocosmos_json_free(aiocosmos_json_doc *doc)
{
    aioc_memory *memory;
    if (!doc) return;
    memory = doc->memory;
    aioc_json_close(doc);
    aioc_memory_free(memory, doc, sizeof *doc);
}

AIOCOSMOS_API void aiocosmos_jw_init(aiocosmos_jw *w, char *buf, size_t cap) { aioc_json_jw_init(w, buf, cap); }
AIOCOSMOS_API void aiocosmos_jw_object(aiocosmos_jw *w, const char *key) { aioc_json_jw_object(w, key); }
AIOCOSMOS_API void aiocosmos_jw_array(aiocosmos_jw *w, const char *key) { aioc_json_jw_array(w, key); }
AIOCOSMOS_API void aiocosmos_jw_value(aiocosmos_jw *w, const char *key, aiocosmos_value value)
{
    aioc_json_jw_value(w, key, value);
}

AIOCOSMOS_API void aiocosmos_jw_end(aiocosmos_jw *w) { aioc_json_jw_end(w); }
AIOCOSMOS_API aiocosmos_str aiocosmos_jw_finish(aiocosmos_jw *w) { return aioc_json_jw_finish(w); }

AIOCOSMOS_API void aiocosmos_jw_str(aiocosmos_jw *w, const char *key, const char *text)
{
    aioc_json_jw_str(w, key, text);
}

AIOCOSMOS_API void aiocosmos_jw_i64(aiocosmos_jw *w, const char *key, int64_t number)
{
    aioc_json_jw_i64(w, key, number);
}

AIOCOSMOS_API void aiocosmos_jw_f64(aiocosmos_jw *w, const char *key, double number)
{
    aioc_json_jw_f64(w, key, number);
}

AIOCOSMOS_API void aiocosmos_jw_bool(aiocosmos_jw *w, const char *key, bool truth) { aioc_json_jw_bool(w, key, truth); }

#endif /* AIOCOSMOS_IMPLEMENTED */
#endif /* AIOCOSMOS_IMPLEMENTATION */

/*
 * MIT License
 *
 * Copyright (c) 2026 the aiocosmos authors
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
 * documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
 * rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
 * permit persons to whom the Software is furnished to do so, subject to the following conditions:
 *
 * The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
 * Software.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
 * WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
 * COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
 * OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
 */
