/* model.h: what the emulator holds: databases, containers, physical and logical partitions, items. */
#ifndef EMULATOR_MODEL_H
#define EMULATOR_MODEL_H

#include "clock.h"
#include "aiocosmos_emulator.h"

/* In here the core has a short name. */
typedef aiocosmos_emulator emu_core;
typedef aiocosmos_emulator_conn emu_conn;
typedef aiocosmos_emulator_options emu_options;
typedef aiocosmos_emulator_shuffle emu_shuffle;

#define EMU_HEAD_MAX        (64u * 1024u)                  /* bytes of a request's head */
#define EMU_BODY_MAX        (4u * 1024u * 1024u)           /* of its body: more than the 2 MB of the largest item */
#define EMU_LEVELS          AIOC_PROTOCOL_PK_LEVELS
#define EMU_KEY_MAX         (EMU_LEVELS * (AIOC_PROTOCOL_PK_BYTES + 2))
#define EMU_KEY_STRING      8                              /* the first byte of a level that is a string */
#define EMU_EPK_MAX         AIOC_PROTOCOL_EPK_MAX
#define EMU_SYSTEM_BYTES    320u                           /* of an item's system properties, at most */
#define EMU_UNIQUE_KEYS     10
#define EMU_UNIQUE_PATHS    16

typedef struct emu_database emu_database;
typedef struct emu_container emu_container;
typedef struct emu_range emu_range;
typedef struct emu_partition emu_partition;
typedef struct emu_item emu_item;
typedef struct emu_offer emu_offer;
typedef struct emu_user emu_user;
typedef struct emu_permission emu_permission;
typedef struct emu_script emu_script;
typedef struct emu_event emu_event;                        /* one change */
typedef struct emu_index emu_index;                        /* index.h */

/* Items in the order of their numbers, that is of their _rid. A deleted one leaves a hole; holes are closed when they
 * are more than half. cap 1: at is a room within what has the list. */
typedef struct emu_list {
    emu_item **at;
    uint32_t count, cap, live;
} emu_list;

/* A hash table with linear probing: what it has need not be looked at to find another, or to let the table grow. */
typedef struct emu_slot {
    uint64_t hash;
    void *what;                                            /* NULL: free */
} emu_slot;

typedef struct emu_table { emu_slot *slot; uint32_t size, count; } emu_table;

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
    int64_t  pending_until_ms;
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
    unsigned char raw_rid[8];
    char rid[EMU_RID_MAX];
    emu_permission *permissions;
};

typedef enum emu_script_type { EMU_SPROCS, EMU_TRIGGERS, EMU_UDFS, EMU_SCRIPT_TYPES } emu_script_type;

struct emu_script {
    emu_script *next;
    emu_resource resource;
    char rid[EMU_RID_MAX];
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
    emu_script *scripts[EMU_SCRIPT_TYPES];
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
    emu_index *indexes;
    bool shadow;                                           /* what is tried on it is no change */
    bool flat;                                             /* its places are of a plane, not of the Earth */
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
    uint64_t requests, throttled;                          /* since it is there; */
    double charged;                                        /* and their RU */
};

struct emu_partition {                                     /* followed by its key, then its EPK as text */
    uint64_t hash;
    emu_range *range;
    emu_list items;
    emu_item *only;                                        /* the room of a list of one: many have no more */
    uint16_t key_len, epk_len;
};

struct emu_item {                                          /* followed by unique hashes, id, text, a closing brace */
    emu_partition *partition;
    uint64_t number, etag;
    int64_t  lsn;
    uint32_t range_slot, partition_slot, text_len, ts;
    int32_t  ttl;                                          /* 0: the container's */
    uint16_t id_len, unique_count;
};

typedef struct emu_unique {                                /* one item's value of one unique key */
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

static inline aiocosmos_str emu_item_id_of(const emu_item *item)
{
    return emu_str(emu_item_id(item), item->id_len);
}

static inline char *emu_item_text(const emu_item *item)
{
    return emu_item_id(item) + item->id_len;
}

/* Without what the service adds to it; as long as the item is there. */
static inline aiocosmos_str emu_item_own(const emu_item *item)
{
    return emu_str(emu_item_text(item), item->text_len + (size_t)1);
}

/* All there is. */
typedef struct emu_store {
    aioc_mem memory;
    emu_clock clock;
    emu_shuffle shuffle;
    emu_database *databases;
    emu_offer *offers;
    uint32_t next_database, next_offer, next_user;
    uint64_t next_etag, splits, merges;
    emu_text scratch;
    aiocosmos_json_doc index_doc;                          /* the item whose keys are taken */
    aioc_mem journal_memory;                               /* without the limit: what has been done has to be kept */
    emu_text journal;                                      /* of the request at hand: what it changes (journal.h) */
    bool journaling;
    void (*dropping)(void *user, const emu_container *container);    /* before one goes; may be NULL */
    void *user;
} emu_store;

#endif
