/* exchange.h: a request on its way to its answer, and what all routes do: refuse, charge, find out who is meant. */
#ifndef EMULATOR_EXCHANGE_H
#define EMULATOR_EXCHANGE_H

#include "store.h"
#include "request.h"
#include "kind.h"

#define EMU_SEGMENTS        8
#define EMU_ITEM_MAX        (2u * 1024u * 1024u)           /* bytes of an item */
#define EMU_PAGE_MAX        (4u * 1024u * 1024u - 4096u)   /* bytes of a page, its envelope left out */
#define EMU_CONTINUATION_MAX 8192
#define EMU_CONTAINERS_CHARGE 4.95

typedef struct emu_fault emu_fault;                        /* fault.h */
typedef struct emu_held emu_held;                          /* held.h */
typedef struct emu_job emu_job;                            /* page.h */
struct emu_function;                                       /* script.h */

/* One request on its way to its answer. */
typedef struct emu_exchange {
    emu_core *core;
    emu_store *store;                                      /* of the core */
    const emu_request *request;
    emu_kind kind;
    char path[4096 + 1];                                   /* the decoded path; segments and link are views into it */
    aiocosmos_str segment[EMU_SEGMENTS];
    size_t segments;
    char target[256];                                      /* that they are of; len 0: it is longer, or malformed */
    size_t target_len;
    aiocosmos_str link;                                    /* what is signed, and its type */
    char type[24];
    char offer_link[32];
    int64_t now_ms;
    char activity[EMU_GUID + 1];

    aiocosmos_str token_key;                               /* a resource token's partition key, as JSON; len 0: any */

    /* The answer. Its body is core->body. */
    int     status, sub_status;
    bool    has_body, html;
    bool    stranger;                                      /* who stands before the service speaks, not the service */
    double  charge;
    char    etag[64];
    bool    key_taken;                                     /* the header's, to core->header_key; range is known too */
    bool    paid;                                          /* part of a transaction: no further RU are asked for */
    emu_fault *fault_within;                               /* that has hit an operation of a batch */
    emu_database *database;
    emu_container *container;
    emu_range *range;                                      /* that served it: named, with its session token */
    int64_t item_lsn;                                      /* -1: about no item */
    int64_t item_count;                                    /* -1: about no list */
    double  retry_after_ms;                                /* < 0: says nothing */
    char    extra[4096];                                   /* further header lines, the last without its end */
    char    continuation[EMU_CONTINUATION_MAX];
    emu_job *job;                                          /* what is not done yet: there is no answer */
} emu_exchange;

struct emu_network;

struct aiocosmos_emulator {
    emu_options options;
    emu_store store;
    aioc_auth_signer signer;
    char *endpoint;
    size_t endpoint_size;
    uint8_t header_slot[256];                              /* head.h */
    emu_fault *faults;
    struct emu_function *functions;
    bool kept_head, keeps_no_more;                         /* of changes: the first bytes; since some could not be */
    uint64_t requests;
    uint64_t slice_steps, page_steps;                      /* of the work on a page, see query.c */
    uint32_t index_least;                                  /* items of a scope that are worth an index, see query.h */
    emu_held *held;                                        /* the last used first */
    int64_t held_look_ms;                                  /* when to look for those that nobody uses any more */
    struct emu_network *network;                           /* network.h; NULL: nobody has asked for it */
    char    date[AIOC_AUTH_DATE_LEN + 1], asked_date[AIOC_AUTH_DATE_LEN + 1];
    int64_t date_s, asked_s;                               /* of now, and of the last request's date */
    aiocosmos_json_doc doc, doc2;                          /* the request's body; and a document */
    emu_text body;                                         /* the answer's */
    emu_text scratch, scratch2;
    emu_text doubles;                                      /* of strict_numbers */
    void (*watch_operation)(void *user, aiocosmos_json operation, bool done);  /* NULL: nobody looks on */
    void *watch_user;
    aiocosmos_json_doc batch_doc;                          /* of a batch: its operations */
    emu_text batch;                                        /* and their results */
    aioc_mem_buffer batch_text;                            /* unescaped strings of the operation at hand */
    emu_key key;                                           /* of the item at hand, and of the header */
    emu_key header_key;
    aioc_mem_buffer key_text;                              /* unescaped strings of a key */
    emu_exchange exchange;
};

/*------------------------------------------------------------------------------
 * Refusals
 *----------------------------------------------------------------------------*/

/* Makes the answer a refusal; the text is for people. Always false. */
EMU_PRIVATE bool emu_refuse(emu_exchange *x, int status, int sub_status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
EMU_PRIVATE bool emu_refuse_json(emu_exchange *x, int status, int sub_status, const char *message_json,
                                 const char *extra_info);
EMU_PRIVATE bool emu_no_memory(emu_exchange *x);
EMU_PRIVATE bool emu_absent(emu_exchange *x);
EMU_PRIVATE bool emu_exists(emu_exchange *x);
EMU_PRIVATE const char *emu_status_text(int status);

/*------------------------------------------------------------------------------
 * What a request says. Those that are false have refused it.
 *----------------------------------------------------------------------------*/

EMU_PRIVATE bool emu_header_true(const emu_exchange *x, emu_header header);
/* A JSON object. */
EMU_PRIVATE bool emu_parse_body(emu_exchange *x, aiocosmos_json *root);
/* Its consistency level. */
EMU_PRIVATE bool emu_read_headers_ok(emu_exchange *x);
/* If-Match (RFC 9110, 13.1.1), or 412. */
EMU_PRIVATE bool emu_matches(emu_exchange *x, uint64_t number, int64_t ts);
EMU_PRIVATE bool emu_take_id(emu_exchange *x, aiocosmos_json root, char room[AIOC_PROTOCOL_ITEM_ID_MAX + 1],
                             aiocosmos_str *out);
/* The same of the property itself; of an item the id may be a view of it. */
EMU_PRIVATE bool emu_check_id(emu_exchange *x, aiocosmos_json value, char room[AIOC_PROTOCOL_ITEM_ID_MAX + 1],
                              aiocosmos_str *out, bool is_item);

/* x->container of the path. */
EMU_PRIVATE bool emu_find_owner(emu_exchange *x);
/* NULL: refused with 410. */
EMU_PRIVATE emu_range *emu_named_range(emu_exchange *x, aiocosmos_str id);
/* The JSON of a key. */
EMU_PRIVATE bool emu_parse_key(emu_exchange *x, aiocosmos_str text, emu_key *key);
/* To core->header_key: as much as the header says. */
EMU_PRIVATE bool emu_header_key(emu_exchange *x, bool *given);
EMU_PRIVATE bool emu_wrong_key(emu_exchange *x);

/* RU are left, or 429. */
EMU_PRIVATE bool emu_spend(emu_exchange *x, emu_range *range);
EMU_PRIVATE void emu_charge(emu_exchange *x, emu_range *range, double charge);
/* The range has seen what the session has, or 404/1002. */
EMU_PRIVATE bool emu_session_ok(emu_exchange *x, const emu_range *range);

EMU_PRIVATE void emu_answer_resource(emu_exchange *x, const emu_resource *resource, int status, double charge);
EMU_PRIVATE void emu_answer_deleted(emu_exchange *x);

#endif
