/* store.c: what the emulator holds, and how it is found.
 *
 * A container's items hang in one hash table by partition key and id, and twice in the order of their numbers: in the
 * list of their physical partition, for scans and pages, and in that of their logical partition, so that what concerns
 * one key looks at that key's items only. */
#include "store.h"

#include <string.h>

/*------------------------------------------------------------------------------
 * MARK: - Keys and logical partitions
 *----------------------------------------------------------------------------*/

/* Of a string beyond ASCII that is too long for V1, so much as any client hashes: whole characters up to 100 bytes. */
static bool emu_epk_cut(const aioc_protocol_pk_def *def, const aiocosmos_value *values, size_t count, emu_key *key)
{
    aiocosmos_value cut[EMU_LEVELS];
    size_t i;
    for (i = 0; i < count; i++) {
        cut[i] = values[i];
        if (cut[i].type != AIOCOSMOS_VALUE_STR || cut[i].len <= AIOC_PROTOCOL_V1_STRING) continue;
        cut[i].len = AIOC_PROTOCOL_V1_STRING;
        while (cut[i].len && ((unsigned char)cut[i].str[cut[i].len] & 0xC0) == 0x80) cut[i].len--;
    }
    return aioc_protocol_epk(def, cut, count, key->epk, &key->epk_len);
}

bool emu_key_from_values(const emu_container *container, const aiocosmos_value *values, size_t count, emu_key *key,
                         const emu_key *known)
{
    unsigned char epk[16];
    uint64_t hash[2];
    size_t i, size;
    key->len = 0;
    key->levels = count;
    for (i = 0; i < count; i++) {
        size = aioc_protocol_hashed_form(&values[i], 0xFF, key->bytes + key->len);
        if (size == 0) return false;
        key->len += size;
    }
    if (known && known->levels == count && known->len == key->len && memcmp(known->bytes, key->bytes, key->len) == 0) {
        key->hash = known->hash;
        key->epk_len = known->epk_len;
        memcpy(key->epk, known->epk, known->epk_len);
        return true;
    }
    aioc_protocol_murmur3_128(key->bytes, key->len, hash);
    key->hash = hash[0];
    if (container->key.kind == AIOC_PROTOCOL_HASH && container->key.version == 2) {
        emu_store32be(epk, (uint32_t)(hash[1] >> 32) & 0x3FFFFFFFu);    /* what aioc_protocol_epk would hash again */
        emu_store32be(epk + 4, (uint32_t)hash[1]);
        emu_store32be(epk + 8, (uint32_t)(hash[0] >> 32));
        emu_store32be(epk + 12, (uint32_t)hash[0]);
        key->epk_len = aioc_protocol_hex(epk, sizeof epk, key->epk);
        return true;
    }
    return aioc_protocol_epk(&container->key, values, count, key->epk, &key->epk_len) ||
           (container->key.version == 1 && emu_epk_cut(&container->key, values, count, key));
}

emu_partition *emu_find_partition(const emu_container *container, const emu_key *key)
{
    emu_partition *partition;
    uint32_t at = 0;
    while ((partition = (emu_partition *)emu_table_find(&container->partitions, key->hash, &at)) != NULL)
        if (partition->key_len == key->len && memcmp(emu_partition_key(partition), key->bytes, key->len) == 0) break;
    return partition;
}

static size_t emu_partition_size(const emu_partition *partition)
{
    return sizeof *partition + partition->key_len + partition->epk_len;
}

static emu_partition *emu_make_partition(emu_store *store, emu_container *container, const emu_key *key)
{
    emu_partition *partition;
    if (!emu_table_reserve(&store->memory, &container->partitions, 1)) return NULL;
    partition = (emu_partition *)aioc_mem_alloc(&store->memory, sizeof *partition + key->len + key->epk_len);
    if (!partition) return NULL;
    memset(partition, 0, sizeof *partition);
    partition->hash = key->hash;
    partition->range = emu_range_of(container, emu_str(key->epk, key->epk_len));
    partition->items.at = &partition->only;
    partition->items.cap = 1;
    partition->key_len = (uint16_t)key->len;
    partition->epk_len = (uint16_t)key->epk_len;
    memcpy(partition + 1, key->bytes, key->len);
    memcpy((char *)(partition + 1) + key->len, key->epk, key->epk_len);
    emu_table_add(&container->partitions, partition->hash, partition);
    return partition;
}

static void emu_free_partition(emu_store *store, emu_partition *partition)
{
    emu_list_free(&store->memory, &partition->items);
    aioc_mem_free(&store->memory, partition, emu_partition_size(partition));
}

static void emu_drop_partition(emu_store *store, emu_container *container, emu_partition *partition)
{
    emu_table_remove(&container->partitions, partition->hash, partition);
    emu_free_partition(store, partition);
}

/*------------------------------------------------------------------------------
 * MARK: - Items
 *----------------------------------------------------------------------------*/

uint64_t emu_item_hash(uint64_t key_hash, aiocosmos_str id)
{
    uint64_t hash[2];
    aioc_protocol_murmur3_128(id.ptr, id.len, hash);
    return hash[0] ^ key_hash * UINT64_C(0x9e3779b97f4a7c15);
}

static size_t emu_item_size(const emu_item *item)
{
    return sizeof *item + item->unique_count * 2u * sizeof(uint64_t) + item->id_len + item->text_len + 1;
}

emu_item *emu_find_item(const emu_container *container, emu_partition *partition, aiocosmos_str id)
{
    uint64_t hash = partition ? emu_item_hash(partition->hash, id) : 0;
    emu_item *item = NULL;
    uint32_t at = 0;
    while (partition && (item = (emu_item *)emu_table_find(&container->items, hash, &at)) != NULL &&
           (item->partition != partition || !aioc_mem_same(emu_item_id_of(item), id))) continue;
    return item;
}

emu_item *emu_find_number(const emu_container *container, uint64_t number)
{
    uint32_t i;
    for (i = 0; i < container->range_count; i++) {
        const emu_list *items = &container->range[i]->items;
        uint32_t slot = emu_list_after(items, number - 1);
        if (slot < items->count && items->at[slot]->number == number) return items->at[slot];
    }
    return NULL;
}

bool emu_unique_taken(const emu_container *container, const uint64_t hash[2], const emu_item *but, int64_t now_ms)
{
    const emu_unique *unique;
    uint32_t at = 0;
    while ((unique = (const emu_unique *)emu_table_find(&container->uniques, hash[0], &at)) != NULL)
        if (unique->more == hash[1] && unique->item != but && !emu_item_expired(container, unique->item, now_ms))
            return true;
    return false;
}

static void emu_free_uniques(emu_store *store, emu_unique **uniques, uint16_t count)
{
    while (count > 0) aioc_mem_free(&store->memory, uniques[--count], sizeof **uniques);
}

/* All or none of them. */
static bool emu_make_uniques(emu_store *store, emu_container *container, const emu_item_new *content, emu_unique **made)
{
    uint16_t i;
    for (i = 0; i < content->unique_count; i++) {
        made[i] = (emu_unique *)aioc_mem_alloc(&store->memory, sizeof **made);
        if (!made[i]) break;
        made[i]->more = content->uniques[2 * i + 1];
    }
    if (i == content->unique_count &&
        (i == 0 || emu_table_reserve(&store->memory, &container->uniques, i))) return true;
    emu_free_uniques(store, made, i);
    return false;
}

static void emu_drop_uniques(emu_store *store, emu_container *container, const emu_item *item)
{
    uint16_t i;
    for (i = 0; i < item->unique_count; i++) {
        uint64_t hash = emu_item_uniques(item)[2 * i];
        emu_unique *unique;
        uint32_t at = 0;
        while ((unique = (emu_unique *)emu_table_find(&container->uniques, hash, &at)) != NULL &&
               unique->item != item) continue;
        if (!unique) continue;
        emu_table_remove(&container->uniques, hash, unique);
        aioc_mem_free(&store->memory, unique, sizeof *unique);
    }
}

static emu_item *emu_make_item(emu_store *store, const emu_item_new *content)
{
    size_t hashes = content->unique_count * 2u * sizeof(uint64_t);
    size_t size = sizeof(emu_item) + hashes + content->id.len + content->text.len + 1;
    emu_item *item = (emu_item *)aioc_mem_alloc(&store->memory, size);
    if (!item) return NULL;
    memset(item, 0, sizeof *item);
    item->ttl = content->ttl;
    item->unique_count = content->unique_count;
    item->id_len = (uint16_t)content->id.len;
    item->text_len = (uint32_t)content->text.len;
    if (hashes) memcpy(item + 1, content->uniques, hashes);
    memcpy(emu_item_id(item), content->id.ptr, content->id.len);
    memcpy(emu_item_text(item), content->text.ptr, content->text.len);
    emu_item_text(item)[content->text.len] = '}';
    return item;
}

static void emu_place_item(emu_container *container, emu_partition *partition, emu_item *item, emu_item *old)
{
    if (old) {
        item->number = old->number;
        item->range_slot = old->range_slot;
        item->partition_slot = old->partition_slot;
        partition->range->items.at[item->range_slot] = item;
        partition->items.at[item->partition_slot] = item;
    } else {
        item->number = ++container->next_number;
        item->range_slot = emu_list_push(&partition->range->items, item);
        item->partition_slot = emu_list_push(&partition->items, item);
    }
}

emu_item *emu_store_item(emu_store *store, emu_container *container, const emu_key *key, emu_item *old,
                         const emu_item_new *content, int64_t now_ms)
{
    emu_unique *uniques[EMU_UNIQUE_KEYS];
    emu_item *item = emu_make_item(store, content);
    emu_partition *partition = old ? old->partition : emu_find_partition(container, key);
    emu_event *event = NULL;
    uint16_t i;
    bool ok = item && emu_make_uniques(store, container, content, uniques);
    if (item && !ok) aioc_mem_free(&store->memory, item, emu_item_size(item));
    if (!ok) return NULL;
    if (!partition) partition = emu_make_partition(store, container, key);
    ok = partition && emu_table_reserve(&store->memory, &container->items, 1) &&
         emu_list_reserve(&store->memory, &partition->items, 1) &&
         emu_list_reserve(&store->memory, &partition->range->items, 1);
    if (ok && container->retention_s) {
        event = emu_event_begin(store, partition, NULL, content->text.len);
        ok = event != NULL;
    }
    if (!ok) {
        if (partition && partition->items.live == 0) emu_drop_partition(store, container, partition);
        emu_free_uniques(store, uniques, content->unique_count);
        aioc_mem_free(&store->memory, item, emu_item_size(item));
        return NULL;
    }
    item->partition = partition;
    item->etag = ++store->next_etag;
    item->ts = (uint32_t)(now_ms / 1000);
    item->lsn = ++partition->range->lsn;
    container->changes++;
    emu_place_item(container, partition, item, old);
    if (partition->range->changes.kept) emu_changes_replace(store, &partition->range->changes, old, item);
    if (event) emu_event_commit(store, partition->range, event, item, old, false, now_ms);
    if (container->indexes) emu_index_change(store, container, old, item);
    if (old) {
        emu_drop_uniques(store, container, old);
        emu_table_remove(&container->items, emu_item_hash(partition->hash, emu_item_id_of(old)), old);
        aioc_mem_free(&store->memory, old, emu_item_size(old));
    }
    emu_table_add(&container->items, emu_item_hash(partition->hash, content->id), item);
    for (i = 0; i < content->unique_count; i++) {
        uniques[i]->item = item;
        emu_table_add(&container->uniques, content->uniques[2 * i], uniques[i]);
    }
    emu_journal_item(store, container, item);
    return item;
}

bool emu_remove_item(emu_store *store, emu_container *container, emu_item *item, bool expired, int64_t now_ms)
{
    emu_partition *partition = item->partition;
    emu_range *range = partition->range;
    emu_event *event = NULL;
    if (container->retention_s) event = emu_event_begin(store, partition, item, 0);
    if (container->retention_s && !event && !expired) return false;
    range->lsn++;
    if (container->retention_s && !event) range->events.purged = range->lsn;   /* better a refusal than a gap */
    if (range->changes.kept) emu_changes_replace(store, &range->changes, item, NULL);
    if (event) emu_event_commit(store, range, event, NULL, item, expired, now_ms);
    container->changes++;
    emu_journal_removal(store, container, item->number, expired, now_ms);
    if (container->indexes) emu_index_change(store, container, item, NULL);
    emu_drop_uniques(store, container, item);
    emu_table_remove(&container->items, emu_item_hash(partition->hash, emu_item_id_of(item)), item);
    emu_list_remove(&partition->range->items, item->range_slot, false);
    emu_list_remove(&partition->items, item->partition_slot, true);
    aioc_mem_free(&store->memory, item, emu_item_size(item));
    if (partition->items.live == 0) emu_drop_partition(store, container, partition);
    return true;
}

/* Expired items are invisible at once; each write to a partition frees what is found of them in a few more places. */
void emu_expire_some(emu_store *store, emu_range *range, int64_t now_ms)
{
    emu_container *container = range->container;
    int looked;
    if (!container->has_ttl) return;
    for (looked = 0; looked < 4 && range->items.count; looked++) {
        emu_item *item;
        if (range->expiry_slot >= range->items.count) range->expiry_slot = 0;
        item = range->items.at[range->expiry_slot++];
        if (item && emu_item_expired(container, item, now_ms)) emu_remove_item(store, container, item, true, now_ms);
    }
}

/*------------------------------------------------------------------------------
 * MARK: - The end of things
 *----------------------------------------------------------------------------*/

static void emu_drop_offer(emu_store *store, emu_offer *offer)
{
    emu_offer **at = &store->offers;
    if (!offer) return;
    while (*at != offer) at = &(*at)->next;
    *at = offer->next;
    aioc_mem_free(&store->memory, offer, sizeof *offer);
}

static void emu_drop_items(emu_store *store, emu_container *container)
{
    uint32_t i;
    for (i = 0; i < container->items.size; i++) {
        emu_item *item = (emu_item *)container->items.slot[i].what;
        if (item) aioc_mem_free(&store->memory, item, emu_item_size(item));
    }
    for (i = 0; i < container->uniques.size; i++)
        aioc_mem_free(&store->memory, container->uniques.slot[i].what, sizeof(emu_unique));
    for (i = 0; i < container->partitions.size; i++)
        if (container->partitions.slot[i].what)
            emu_free_partition(store, (emu_partition *)container->partitions.slot[i].what);
    emu_table_free(&store->memory, &container->items);
    emu_table_free(&store->memory, &container->uniques);
    emu_table_free(&store->memory, &container->partitions);
}

/*------------------------------------------------------------------------------
 * MARK: - Shadows
 *----------------------------------------------------------------------------*/

/* Also of a container that was never finished, and is in no list yet. */
static bool emu_shadow_copy(emu_store *store, const emu_key *key, emu_container *shadow, const emu_item *item)
{
    emu_item_new content;
    emu_item *copy;
    memset(&content, 0, sizeof content);
    content.id = emu_item_id_of(item);
    content.text = emu_str(emu_item_text(item), item->text_len);
    content.ttl = item->ttl;
    content.uniques = emu_item_uniques(item);
    content.unique_count = item->unique_count;
    copy = emu_store_item(store, shadow, key, NULL, &content, (int64_t)item->ts * 1000);
    if (!copy) return false;
    copy->etag = item->etag;
    copy->lsn = item->lsn;
    return true;
}

bool emu_shadow_take(emu_store *store, const emu_container *container, const emu_key *key, emu_container *shadow,
                     aiocosmos_str id)
{
    const emu_item *item = emu_find_item(container, emu_find_partition(container, key), id);
    return !item || emu_find_item(shadow, emu_find_partition(shadow, key), id) ||
           emu_shadow_copy(store, key, shadow, item);
}

bool emu_shadow_open(emu_store *store, const emu_container *container, const emu_key *key, emu_container *shadow)
{
    const emu_partition *partition = emu_find_partition(container, key);
    const emu_range *range = emu_range_of(container, emu_str(key->epk, key->epk_len));
    uint32_t i;
    *shadow = *container;
    shadow->range = NULL;
    shadow->range_count = 0;
    shadow->shadow = true;
    shadow->indexes = NULL;
    shadow->retention_s = 0;
    memset(&shadow->pending, 0, sizeof shadow->pending);
    memset(&shadow->partitions, 0, sizeof shadow->partitions);
    memset(&shadow->items, 0, sizeof shadow->items);
    memset(&shadow->uniques, 0, sizeof shadow->uniques);
    if (!emu_make_ranges(store, shadow, 1)) return false;
    memcpy(shadow->range[0]->id, range->id, sizeof range->id);
    shadow->range[0]->version = range->version;
    shadow->range[0]->lsn = range->lsn;
    if (!container->unique_count || !partition) return true;
    for (i = 0; i < partition->items.count; i++)           /* any of them may have the value of a unique key */
        if (partition->items.at[i] && !emu_shadow_copy(store, key, shadow, partition->items.at[i])) return false;
    return true;
}

void emu_shadow_close(emu_store *store, emu_container *shadow)
{
    emu_drop_items(store, shadow);
    emu_free_ranges(store, shadow);
}

void emu_drop_script(emu_store *store, emu_container *container, emu_script_type type, emu_script *script)
{
    emu_script **at = &container->scripts[type];
    while (*at != script) at = &(*at)->next;
    *at = script->next;
    emu_resource_free(store, &script->resource);
    aioc_mem_free(&store->memory, script, sizeof *script);
}

void emu_drop_container(emu_store *store, emu_container *container)
{
    emu_container **at = &container->database->containers;
    int type;
    while (*at && *at != container) at = &(*at)->next;
    if (*at) *at = container->next;
    if (store->dropping) store->dropping(store->user, container);
    emu_indexes_free(store, container);
    emu_drop_items(store, container);
    emu_free_ranges(store, container);
    for (type = 0; type < EMU_SCRIPT_TYPES; type++)
        while (container->scripts[type])
            emu_drop_script(store, container, (emu_script_type)type, container->scripts[type]);
    emu_drop_offer(store, container->offer);
    emu_resource_free(store, &container->resource);
    aioc_mem_free(&store->memory, container->unique, container->unique_count * sizeof *container->unique);
    aioc_mem_free(&store->memory, container->definition, container->definition_len);
    aioc_mem_free(&store->memory, container, sizeof *container);
}

void emu_drop_permission(emu_store *store, emu_user *user, emu_permission *permission)
{
    emu_permission **at = &user->permissions;
    while (*at != permission) at = &(*at)->next;
    *at = permission->next;
    emu_resource_free(store, &permission->resource);
    aioc_mem_free(&store->memory, permission, sizeof *permission);
}

void emu_drop_user(emu_store *store, emu_database *database, emu_user *user)
{
    emu_user **at = &database->users;
    while (user->permissions) emu_drop_permission(store, user, user->permissions);
    while (*at != user) at = &(*at)->next;
    *at = user->next;
    emu_resource_free(store, &user->resource);
    aioc_mem_free(&store->memory, user, sizeof *user);
}

void emu_drop_database(emu_store *store, emu_database *database)
{
    emu_database **at = &store->databases;
    while (database->containers) emu_drop_container(store, database->containers);
    while (database->users) emu_drop_user(store, database, database->users);
    while (*at != database) at = &(*at)->next;
    *at = database->next;
    emu_drop_offer(store, database->offer);
    emu_resource_free(store, &database->resource);
    aioc_mem_free(&store->memory, database, sizeof *database);
}
