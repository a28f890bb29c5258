/* store.h: how items are stored, found and removed, and the end of things. */
#ifndef EMULATOR_STORE_H
#define EMULATOR_STORE_H

#include "range.h"
#include "index.h"

/* values are of the types that aioc_protocol_pk_components makes. known: a key of this container which this one may
 * be; NULL: there is none. False: no key of this container can be so. */
EMU_PRIVATE bool emu_key_from_values(const emu_container *container, const aiocosmos_value *values, size_t count,
                                     emu_key *key, const emu_key *known);
EMU_PRIVATE emu_partition *emu_find_partition(const emu_container *container, const emu_key *key);
EMU_PRIVATE emu_item *emu_find_item(const emu_container *container, emu_partition *partition, aiocosmos_str id);
/* The one of a number, which it keeps when it is renamed. NULL: there is none. */
EMU_PRIVATE emu_item *emu_find_number(const emu_container *container, uint64_t number);

/* In the table of a container's items. */
EMU_PRIVATE uint64_t emu_item_hash(uint64_t key_hash, aiocosmos_str id);

/* Stores a new item, or a new version of one (old not NULL). NULL: no memory, nothing changed. */
typedef struct emu_item_new {
    aiocosmos_str id, text;                                /* text: without system properties and its closing brace */
    int32_t ttl;
    const uint64_t *uniques;
    uint16_t unique_count;
} emu_item_new;
EMU_PRIVATE emu_item *emu_store_item(emu_store *store, emu_container *container, const emu_key *key, emu_item *old,
                                     const emu_item_new *content, int64_t now_ms);
/* False: no memory to note it in the change feed, and it is still there. Never so for one that has expired. */
EMU_PRIVATE bool emu_remove_item(emu_store *store, emu_container *container, emu_item *item, bool expired,
                                 int64_t now_ms);
EMU_PRIVATE bool emu_unique_taken(const emu_container *container, const uint64_t hash[2], const emu_item *but,
                                  int64_t now_ms);
EMU_PRIVATE void emu_expire_some(emu_store *store, emu_range *range, int64_t now_ms);

/* A container of its own, of one range, to try on what a transaction would do; and a copy of an item of a key in it, if
 * there is such an item. False: no memory; to be closed all the same. */
EMU_PRIVATE bool emu_shadow_open(emu_store *store, const emu_container *container, const emu_key *key,
                                 emu_container *shadow);
EMU_PRIVATE bool emu_shadow_take(emu_store *store, const emu_container *container, const emu_key *key,
                                 emu_container *shadow, aiocosmos_str id);
EMU_PRIVATE void emu_shadow_close(emu_store *store, emu_container *shadow);

EMU_PRIVATE void emu_drop_container(emu_store *store, emu_container *container);
EMU_PRIVATE void emu_drop_script(emu_store *store, emu_container *container, emu_script_type type, emu_script *script);
EMU_PRIVATE void emu_drop_permission(emu_store *store, emu_user *user, emu_permission *permission);
EMU_PRIVATE void emu_drop_user(emu_store *store, emu_database *database, emu_user *user);
EMU_PRIVATE void emu_drop_database(emu_store *store, emu_database *database);

#endif
