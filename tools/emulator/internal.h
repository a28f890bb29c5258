/* internal.h: what the files of the emulator's core share.
 *
 *     core.c     open, close; routes, authorization, answers' common parts
 *     http.c     connections: request bytes to emu_request, emu_exchange to answer bytes
 *     fault.c    failures on request
 *     store.c    databases, containers, logical partitions, items, and how they are found
 *     range.c    physical partitions, their splits and merges
 *     meta.c     routes of everything but items
 *     item.c     routes of one item: create, upsert, read, replace, delete, patch
 *     batch.c    many operations on items in one request
 *     patch.c    what a patch does to a document's text
 *     query.c    routes of many items: feed and query, pages, continuations
 *     feed.c     the change feed
 *     plan.c     query plans
 *     metrics.c  what the answer to a query says about itself
 *     sql/       the SQL engine
 *     unit.c     all of them, to be compiled as one
 */
#ifndef EMULATOR_INTERNAL_H
#define EMULATOR_INTERNAL_H

#include "base.h"
#include "core.h"
#include "sql/sql.h"

#define EMU_LEVELS          AIOC_PROTOCOL_PK_LEVELS
#define EMU_KEY_MAX         (EMU_LEVELS * (AIOC_PROTOCOL_PK_BYTES + 2))
#define EMU_EPK_MAX         AIOC_PROTOCOL_EPK_MAX
#define EMU_ITEM_MAX        (2u * 1024u * 1024u)           /* bytes of an item */
#define EMU_PAGE_MAX        (4u * 1024u * 1024u - 4096u)   /* bytes of a page, its envelope left out */
#define EMU_PAGE_SCAN       200000u                        /* items looked at for one page */
#define EMU_SYSTEM_BYTES    320u                           /* of an item's system properties, at most */
#define EMU_UNIQUE_KEYS     10
#define EMU_UNIQUE_PATHS    16
#define EMU_GUID            36

/*------------------------------------------------------------------------------
 * Text under construction. Failure sticks: it is looked at once, when the answer is written.
 *----------------------------------------------------------------------------*/

typedef struct emu_text {
    aioc_mem *memory;
    aioc_mem_buffer buffer;
    bool failed;
} emu_text;

void emu_put(emu_text *text, const void *bytes, size_t len);
void emu_puts(emu_text *text, const char *string);
void emu_put_str(emu_text *text, aiocosmos_str string);
void emu_put_i64(emu_text *text, int64_t number);
void emu_put_json(emu_text *text, aiocosmos_str string);   /* as a JSON string, quotes and all */
void emu_put_format(emu_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void emu_text_clear(emu_text *text);

static inline aiocosmos_str emu_str(const char *ptr, size_t len)
{
    aiocosmos_str str;
    str.ptr = ptr;
    str.len = len;
    return str;
}

/* At most so many bytes of a text, for "%.*s". */
#define EMU_CUT(text, most) ((text).len < (most) ? (int)(text).len : (most)), (text).ptr

static inline void emu_store32be(unsigned char *at, uint32_t value)
{
    aioc_text_store16be(at, value >> 16);
    aioc_text_store16be(at + 2, value);
}

static inline bool emu_is(aiocosmos_str text, const char *string)
{
    return text.len == strlen(string) && memcmp(text.ptr, string, text.len) == 0;
}

/*------------------------------------------------------------------------------
 * Requests and answers
 *----------------------------------------------------------------------------*/

typedef enum emu_header {
    EMU_H_AUTHORIZATION, EMU_H_DATE, EMU_H_MS_DATE, EMU_H_VERSION, EMU_H_CONTENT_LENGTH, EMU_H_TRANSFER_ENCODING,
    EMU_H_CONNECTION, EMU_H_EXPECT, EMU_H_CONTENT_TYPE, EMU_H_PARTITION_KEY, EMU_H_SESSION, EMU_H_UPSERT, EMU_H_QUERY,
    EMU_H_PLAN, EMU_H_BATCH, EMU_H_CROSS_PARTITION, EMU_H_MAX_ITEMS, EMU_H_CONTINUATION, EMU_H_RANGE_ID, EMU_H_KEY_TYPE,
    EMU_H_START_EPK, EMU_H_END_EPK, EMU_H_IF_MATCH, EMU_H_IF_NONE_MATCH, EMU_H_IF_MODIFIED, EMU_H_FEED_FORMAT, EMU_H_PREFER, EMU_H_A_IM, EMU_H_ACTIVITY,
    EMU_H_CONSISTENCY, EMU_H_COLLECTION_RID, EMU_H_THROUGHPUT, EMU_H_AUTOPILOT, EMU_H_TO_AUTOPILOT, EMU_H_TO_MANUAL,
    EMU_H_EXPIRY, EMU_H_HOST, EMU_H_QUOTA_INFO, EMU_H_FEATURES, EMU_H_QUERY_METRICS, EMU_H_INDEX_METRICS,
    EMU_H_INDEX_METRICS_2, EMU_H_CAPABILITIES, EMU_H_BATCH_ATOMIC, EMU_H_BATCH_GO_ON, EMU_H_ORIGIN, EMU_H_PRE_TRIGGER,
    EMU_H_POST_TRIGGER, EMU_H_INDEXING, EMU_H_COUNT
} emu_header;

typedef enum emu_verb { EMU_GET, EMU_POST, EMU_PUT, EMU_PATCH, EMU_DELETE, EMU_OTHER } emu_verb;

typedef struct emu_request {
    emu_verb verb;
    bool head_only;                                        /* HEAD: refused, and without a body */
    bool keep_alive;
    int  minor;                                            /* HTTP/1.minor */
    aiocosmos_str verb_text, target;
    aiocosmos_str header[EMU_H_COUNT];                     /* ptr NULL: not there */
    aiocosmos_str body;
} emu_request;

#define EMU_SEGMENTS 8

typedef struct emu_database emu_database;
typedef struct emu_container emu_container;
typedef struct emu_range emu_range;
typedef struct emu_partition emu_partition;
typedef struct emu_item emu_item;
typedef struct emu_offer emu_offer;
typedef struct emu_user emu_user;
typedef struct emu_permission emu_permission;
typedef struct emu_held emu_held;                          /* rows of a query, kept for its next page */
typedef struct emu_event emu_event;                        /* one change */

/* One request on its way to its answer. */
typedef struct emu_exchange {
    emu_core *core;
    const emu_request *request;
    const char *kind;                                      /* "create_item": what faults are told apart by */
    char path[4096 + 1];                                   /* the decoded path; segments and link are views into it */
    aiocosmos_str segment[EMU_SEGMENTS];
    size_t segments;
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
    bool    paid;                                          /* part of a transaction: no further RU are asked for */
    emu_database *database;
    emu_container *container;
    emu_range *range;                                      /* that served it: named, with its session token */
    int64_t item_lsn;                                      /* -1: about no item */
    int64_t item_count;                                    /* -1: about no list */
    double  retry_after_ms;                                /* < 0: says nothing */
    char    continuation[768];
    char    extra[4096];                                   /* further header lines, the last without its end */
} emu_exchange;

/* What a fault does to an answer. */
typedef enum emu_action {
    EMU_FAULT_NONE,
    /* Another answer, or none; the request may not be carried out. */
    EMU_FAULT_STATUS, EMU_FAULT_HTML, EMU_FAULT_JSON, EMU_FAULT_BIG, EMU_FAULT_RESET, EMU_FAULT_CLOSE, EMU_FAULT_HANG,
    /* Its own answer, in another form. */
    EMU_FAULT_TRUNCATE, EMU_FAULT_GARBLE, EMU_FAULT_CHUNKED, EMU_FAULT_TRICKLE, EMU_FAULT_END, EMU_FAULT_DELAY
} emu_action;

typedef struct emu_fault {
    struct emu_fault *next;
    char     verb[12], path[256], kind[32];                /* empty: any */
    uint64_t skip, count;                                  /* requests let through first, and then hit */
    double   probability;
    uint64_t random;                                       /* the state of its own generator */
    emu_action action;
    bool     after;                                        /* the request is carried out, and its answer is lost */
    int      status, sub_status;
    double   retry_after_ms;
    int64_t  delay_ms;
    size_t   at;                                           /* where the answer is cut or garbled; how big it is */
    uint64_t hits;
} emu_fault;

emu_fault *emu_fault_find(emu_core *core, const emu_exchange *x);
void       emu_fault_route(emu_exchange *x);

/*------------------------------------------------------------------------------
 * The store
 *----------------------------------------------------------------------------*/

/* Items in the order of their numbers, that is of their _rid. A deleted one leaves a hole; holes are closed when they
 * are more than half. */
typedef struct emu_list {
    emu_item **at;
    uint32_t count, cap, live;
} emu_list;

/* A hash table of what begins with a node. */
typedef struct emu_node {
    struct emu_node *next;
    uint64_t hash;
} emu_node;

typedef struct emu_table { emu_node **bucket; uint32_t size, count; } emu_table;

/* What every resource has besides its own properties. text: the client's JSON without system properties and without its
 * closing brace, so that ours can follow. */
typedef struct emu_resource {
    char    *id;
    size_t   id_len;
    char    *text;
    size_t   text_len;
    uint64_t etag;
    int64_t  ts;
} emu_resource;

#define EMU_RID_MAX 28

struct emu_offer {
    emu_offer *next;
    uint32_t number;
    char     rid[EMU_RID_MAX];
    char     self[80], owner_rid[EMU_RID_MAX];
    int64_t  throughput, autoscale_max;                    /* autoscale_max 0: manual */
    uint64_t etag;
    int64_t  ts;
};

struct emu_permission {
    emu_permission *next;
    emu_resource resource;
    char rid[EMU_RID_MAX];
};

struct emu_user {
    emu_user *next;
    emu_resource resource;
    char rid[EMU_RID_MAX];
    emu_permission *permissions;
};

struct emu_database {
    emu_database *next;
    emu_resource resource;
    unsigned char raw_rid[4];
    char rid[EMU_RID_MAX];
    emu_container *containers;
    emu_user *users;
    emu_offer *offer;
};

typedef struct emu_unique_key { aiocosmos_str path[EMU_UNIQUE_PATHS]; size_t paths; } emu_unique_key;

/* A split (gone 1) or merge (2) that has begun, or none (0): carried out when `busy` requests have named its partitions
 * and were refused, or `patience` requests came to the container. */
typedef struct emu_reshaping {
    emu_range *range[2];
    uint32_t gone, busy, patience;
    uint64_t cut;
    int sub_status;
} emu_reshaping;

struct emu_container {
    emu_container *next;
    emu_database *database;
    emu_resource resource;
    unsigned char raw_rid[8];
    char rid[EMU_RID_MAX];
    emu_offer *offer;
    aioc_protocol_pk_def key;
    aiocosmos_str key_path[EMU_LEVELS];                    /* views into definition */
    bool    has_ttl;
    int64_t ttl;                                           /* -1: items live for ever unless they say otherwise */
    emu_unique_key *unique;                                /* views into definition */
    size_t unique_count;
    char *definition;                                      /* texts of the above */
    size_t definition_len;
    emu_range **range;                                     /* by their minimum */
    uint32_t range_count;
    uint32_t next_range;                                   /* its id */
    uint64_t range_version;                                /* changes when ranges do */
    emu_reshaping pending;
    emu_table partitions, items, uniques;
    uint64_t next_number;
    uint64_t changes;                                      /* of items and partitions */
    int64_t retention_s;                                   /* of all versions and deletes; 0: they are not kept */
};

/* Items by the LSN of their last change; item NULL: there was a later one. */
typedef struct emu_change { int64_t lsn; emu_item *item; } emu_change;
typedef struct emu_changes {
    emu_change *at;
    uint32_t count, cap, live;
    bool kept;                                             /* else nobody has asked yet */
} emu_changes;

/* All changes, deletions among them, as far as the container keeps them: at[first] to at[count - 1]. */
typedef struct emu_events {
    emu_event **at;
    size_t first, count, cap;
    int64_t purged;                                        /* the LSN up to which they are not known any more */
} emu_events;

struct emu_range {
    emu_container *container;
    char id[12];
    char *parents;                                         /* and all before them: "0","3" as JSON has it; or NULL */
    size_t parents_size;
    uint64_t made;                                         /* the container's range_version since when it is there */
    uint64_t low, high;                                    /* of the space of hashes */
    char min[EMU_EPK_MAX], max[EMU_EPK_MAX];               /* the same as effective partition keys */
    int64_t version, lsn;                                  /* of session tokens */
    emu_list items;
    emu_changes changes;
    emu_events events;
    uint32_t expiry_slot;                                  /* where the search for expired items goes on */
    double ru;                                             /* left in this second */
    int64_t ru_ms;
};

struct emu_partition {                                     /* followed by its key, then its EPK as text */
    emu_node node;
    emu_range *range;
    emu_list items;
    uint16_t key_len, epk_len;
};

struct emu_item {                                          /* followed by unique hashes, id, text */
    emu_node node;
    emu_partition *partition;
    uint64_t number, etag;
    int64_t  lsn;
    uint32_t range_slot, partition_slot, text_len, ts;
    int32_t  ttl;                                          /* 0: the container's */
    uint16_t id_len, unique_count;
};

typedef struct emu_unique {                                /* one item's value of one unique key */
    emu_node node;
    uint64_t more;                                         /* the other half of the hash */
    emu_item *item;
} emu_unique;

/* A key as the store compares it: each level in its hashed form, which is unambiguous. */
typedef struct emu_key {
    unsigned char bytes[EMU_KEY_MAX];
    size_t len;
    size_t levels;
    uint64_t hash;
    char epk[EMU_EPK_MAX];
    size_t epk_len;
} emu_key;

static inline const char *emu_range_parents(const emu_range *range)
{
    return range->parents ? range->parents : "";
}

static inline const char *emu_partition_key(const emu_partition *partition)
{
    return (const char *)(partition + 1);
}

static inline aiocosmos_str emu_partition_epk(const emu_partition *partition)
{
    return emu_str((const char *)(partition + 1) + partition->key_len, partition->epk_len);
}

static inline const uint64_t *emu_item_uniques(const emu_item *item)
{
    return (const uint64_t *)(const void *)(item + 1);
}

static inline char *emu_item_id(const emu_item *item)
{
    return (char *)(uintptr_t)(emu_item_uniques(item) + 2 * item->unique_count);
}

static inline char *emu_item_text(const emu_item *item)
{
    return emu_item_id(item) + item->id_len;
}

emu_database  *emu_find_database(emu_core *core, aiocosmos_str name);
emu_container *emu_find_container(emu_database *database, aiocosmos_str name);
void           emu_drop_user(emu_core *core, emu_database *database, emu_user *user);
void           emu_drop_permission(emu_core *core, emu_user *user, emu_permission *permission);
void           emu_drop_database(emu_core *core, emu_database *database);
void           emu_drop_container(emu_core *core, emu_container *container);

bool           emu_resource_set(emu_core *core, emu_resource *resource, aiocosmos_str id, aiocosmos_json object);
void           emu_resource_free(emu_core *core, emu_resource *resource);
void           emu_put_stripped(emu_text *out, aiocosmos_json object, bool is_item);
void           emu_put_etag(emu_text *out, uint64_t etag, int64_t ts);
void           emu_etag_text(char out[64], uint64_t etag, int64_t ts);
void           emu_rid_text(char out[EMU_RID_MAX], const unsigned char *raw, size_t len);
size_t         emu_item_rid(const emu_container *container, uint64_t number, char out[EMU_RID_MAX]);

bool           emu_key_from_values(const emu_container *container, const aiocosmos_value *values, size_t count,
                                   emu_key *key);
emu_partition *emu_find_partition(const emu_container *container, const emu_key *key);
emu_item      *emu_find_item(const emu_container *container, emu_partition *partition, aiocosmos_str id);
bool           emu_item_expired(const emu_container *container, const emu_item *item, int64_t now_ms);
/* The item's whole JSON text, system properties included. */
void           emu_put_item(emu_text *out, const emu_container *container, const emu_item *item);

/* Stores a new item, or a new version of one (old not NULL). NULL: no memory, nothing changed. */
typedef struct emu_item_new {
    aiocosmos_str id, text;                                /* text: without system properties and its closing brace */
    int32_t ttl;
    const uint64_t *uniques;
    uint16_t unique_count;
} emu_item_new;
emu_item      *emu_store_item(emu_core *core, emu_container *container, const emu_key *key, emu_item *old,
                              const emu_item_new *content, int64_t now_ms);
/* False: no memory to note it in the change feed, and it is still there. Never so for one that has expired. */
bool           emu_remove_item(emu_core *core, emu_container *container, emu_item *item, bool expired, int64_t now_ms);
bool           emu_unique_taken(const emu_container *container, const uint64_t hash[2], const emu_item *but,
                                int64_t now_ms);
/* A container of its own, of one range, to try on what a transaction would do; and a copy of an item of a key in it, if
 * there is such an item. False: no memory; to be closed all the same. */
bool           emu_shadow_open(emu_core *core, const emu_container *container, const emu_key *key,
                               emu_container *shadow);
bool           emu_shadow_take(emu_core *core, const emu_container *container, const emu_key *key,
                               emu_container *shadow, aiocosmos_str id);
void           emu_shadow_close(emu_core *core, emu_container *shadow);
void           emu_expire_some(emu_core *core, emu_range *range, int64_t now_ms);
/* The slot of the first item behind a number; list->count: there is none. */
uint32_t       emu_list_after(const emu_list *list, uint64_t number);
bool           emu_list_reserve(emu_core *core, emu_list *list, uint32_t extra);
uint32_t       emu_list_push(emu_list *list, emu_item *item);    /* its slot; room was reserved */
void           emu_list_free(emu_core *core, emu_list *list);

void           emu_changes_replace(emu_core *core, emu_changes *changes, const emu_item *old, emu_item *item);
void           emu_changes_free(emu_core *core, emu_changes *changes);
/* A change is announced first, which may fail for want of memory (NULL), and then noted. deleted NULL: an item of so many
 * bytes will be stored. */
emu_event     *emu_event_begin(emu_core *core, const emu_partition *partition, const emu_item *deleted,
                               size_t text_len);
void           emu_event_commit(emu_core *core, emu_range *range, emu_event *event, const emu_item *item,
                                const emu_item *old, bool expired, int64_t now_ms);
bool           emu_events_reserve(emu_core *core, emu_events *events, size_t extra);
void           emu_events_move(emu_range *const *from, uint32_t count, emu_range *const *to, uint32_t to_count);
void           emu_events_retain(emu_core *core, emu_container *container, int64_t retention_s);
void           emu_events_free(emu_core *core, emu_events *events);

bool           emu_make_ranges(emu_core *core, emu_container *container, uint32_t count);
void           emu_free_ranges(emu_core *core, emu_container *container);
emu_range     *emu_range_of(const emu_container *container, aiocosmos_str epk);
emu_range     *emu_named_range(emu_exchange *x, aiocosmos_str id);       /* NULL: refused with 410 */
bool           emu_range_moves(const emu_range *range);                  /* is being split or merged */
/* Before each request to a container: goes on with a split or merge, and begins one by chance where that is asked for.
 * Pointers to partitions do not outlive it. */
void           emu_ranges_tick(emu_core *core, emu_container *container);
const char    *emu_shuffle_wrong(emu_shuffle *shuffle);                  /* fills in defaults; NULL: nothing is */
bool           emu_range_control(emu_exchange *x);                       /* false: not a route of it */

/*------------------------------------------------------------------------------
 * The core
 *----------------------------------------------------------------------------*/

struct emu_core {
    emu_options options;
    aioc_mem memory;
    aioc_auth_signer signer;
    char *endpoint;
    size_t endpoint_size;
    uint8_t header_slot[256];
    emu_database *databases;
    emu_offer *offers;
    emu_fault *faults;
    uint32_t next_database, next_offer, next_user;
    uint64_t next_etag, random, requests, splits, merges;
    emu_held *held;                                        /* the last used first */
    char    date[AIOC_AUTH_DATE_LEN + 1], asked_date[AIOC_AUTH_DATE_LEN + 1];
    int64_t ahead_ms;                                      /* of the clock that was given */
    int64_t date_s, asked_s;                               /* of now, and of the last request's date */
    aiocosmos_json_doc doc, doc2;                          /* the request's body; and a document */
    emu_text body;                                         /* the answer's */
    emu_text scratch, scratch2;
    aiocosmos_json_doc batch_doc;                          /* of a batch: its operations */
    emu_text batch;                                        /* and their results */
    aioc_mem_buffer batch_text;                            /* unescaped strings of the operation at hand */
    emu_key key;                                           /* of the item at hand, and of the header */
    emu_key header_key;
    aioc_mem_buffer key_text;                              /* unescaped strings of a key */
    emu_exchange exchange;
};

int64_t  emu_now(const emu_core *core);
uint64_t emu_random(emu_core *core);
void     emu_make_guid(emu_core *core, char out[EMU_GUID + 1]);
uint64_t emu_random_next(uint64_t *state);

void emu_http_init(emu_core *core);

/* Carries a request out: x has the answer. */
void emu_serve(emu_exchange *x, emu_core *core, const emu_request *request, emu_fault **fault);
void emu_answer_write(emu_text *out, emu_exchange *x, bool chunked);
const char *emu_status_text(int status);

/* Makes the answer a refusal; the text is for people. Always false. */
bool emu_refuse(emu_exchange *x, int status, int sub_status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool emu_no_memory(emu_exchange *x);
int  emu_hex_digit(char c);
bool emu_refuse_json(emu_exchange *x, int status, int sub_status, const char *message_json, const char *extra_info);

bool emu_authorize(emu_exchange *x);                        /* the signature or token is good, or refused */
bool emu_header_true(const emu_exchange *x, emu_header header);
bool emu_kind_exists(const char *part);                     /* of any request, with this in it */
bool emu_matches(emu_exchange *x, uint64_t etag, int64_t ts);           /* If-Match, or refused with 412 */
bool emu_parse_body(emu_exchange *x, aiocosmos_json *root);             /* an object, or refused */
bool emu_spend(emu_exchange *x, emu_range *range);                      /* RU are left, or refused with 429 */
void emu_charge(emu_exchange *x, emu_range *range, double charge);
bool emu_session_ok(emu_exchange *x, const emu_range *range);           /* or refused with 404/1002 */
bool emu_read_headers_ok(emu_exchange *x);                              /* consistency level */
bool emu_find_owner(emu_exchange *x);                      /* x->container of the path, or refused */
bool emu_parse_key(emu_exchange *x, aiocosmos_str text, emu_key *key);  /* the JSON of a key, or refused */
bool emu_header_key(emu_exchange *x, bool *given);         /* to core->header_key: as much as the header says */
bool emu_take_id(emu_exchange *x, aiocosmos_json root, char id[AIOC_PROTOCOL_ITEM_ID_MAX + 1], aiocosmos_str *out,
                 bool is_item);

void emu_item_operation(emu_exchange *x);                  /* on one item, as x->kind says */
void emu_batch(emu_exchange *x);
bool emu_batched_kind_exists(const char *part);            /* of an operation of a batch, with this in it */
void emu_item_route(emu_exchange *x);                      /* everything below …/docs */
/* Which items a request is about. */
typedef struct emu_scope {
    bool whole_key, prefix;                                /* the items of one key; or of all keys that begin so */
    const emu_key *key;
    emu_range *only;                                       /* by partition key range id */
    aiocosmos_str min, max;                                /* part of the key space; max.len 0: all of it */
} emu_scope;

bool emu_find_scope(emu_exchange *x, const emu_sql_query *query, emu_scope *scope);  /* or refused; query NULL: a feed */
bool emu_page_size(emu_exchange *x, int64_t *max);         /* what x-ms-max-item-count says, or refused */
void emu_query_items(emu_exchange *x, bool is_query);
void emu_change_feed(emu_exchange *x);
void emu_query_plan(emu_exchange *x);
bool emu_refuse_with_plan(emu_exchange *x, const emu_sql_query *query);  /* always false */

/* What a page of a query took. */
typedef struct emu_work { uint64_t documents, document_bytes, rows, row_bytes; } emu_work;
void emu_report(emu_exchange *x, const emu_sql_query *query, const emu_work *work);
void emu_define_query(emu_exchange *x, emu_sql_query *query);            /* for this container */
void emu_held_forget(emu_core *core, const emu_container *container);
void emu_meta_route(emu_exchange *x);

/* Changes the JSON text as the operations of a patch say, or refuses. */
bool emu_patch(emu_exchange *x, aiocosmos_json operations, emu_text *document);

/* Lists of anything but items, with or without a query. */
typedef struct emu_listing {
    emu_exchange *x;
    emu_sql_query *query;
    emu_sql_run *run;
    int64_t skip, max, rows;
    bool more;
} emu_listing;
bool emu_listing_begin(emu_listing *listing, emu_exchange *x, const char *array, const char *rid);
void emu_listing_add(emu_listing *listing, aiocosmos_str text);
void emu_listing_end(emu_listing *listing);

bool emu_token_make(emu_core *core, emu_text *out, aiocosmos_str link, bool all, aiocosmos_str key, int64_t expires_s);

#endif
