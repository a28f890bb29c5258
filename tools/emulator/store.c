/* store.c: what the emulator holds, and how it is found.
 *
 * A container's items hang in one hash table by partition key and id, and twice in the order of their numbers: in the
 * list of their physical partition, for scans and pages, and in that of their logical partition, so that what concerns
 * one key looks at that key's items only. */
#include "internal.h"

/*------------------------------------------------------------------------------
 * MARK: - Tables and lists
 *----------------------------------------------------------------------------*/

/* Makes room for one more. A table that cannot grow gets longer chains; only a first one has to be there. */
static bool emu_table_reserve(emu_core *core, emu_table *table)
{
    uint32_t size = table->size ? table->size * 2 : 16, i;
    emu_node **bucket;
    if (table->count < table->size || table->size >= 1u << 30) return true;
    bucket = (emu_node **)aioc_mem_zalloc(&core->memory, size * sizeof *bucket);
    if (!bucket) return table->size > 0;
    for (i = 0; i < table->size; i++) {
        while (table->bucket[i]) {
            emu_node *node = table->bucket[i], **into = &bucket[node->hash & (size - 1)];
            table->bucket[i] = node->next;
            node->next = *into;
            *into = node;
        }
    }
    aioc_mem_free(&core->memory, table->bucket, table->size * sizeof *table->bucket);
    table->bucket = bucket;
    table->size = size;
    return true;
}

static void emu_table_add(emu_table *table, emu_node *node)
{
    emu_node **into = &table->bucket[node->hash & (table->size - 1)];
    node->next = *into;
    *into = node;
    table->count++;
}

static void emu_table_remove(emu_table *table, emu_node *node)
{
    emu_node **at = &table->bucket[node->hash & (table->size - 1)];
    while (*at != node) at = &(*at)->next;
    *at = node->next;
    table->count--;
}

static emu_node *emu_table_find(const emu_table *table, uint64_t hash)
{
    return table->size ? table->bucket[hash & (table->size - 1)] : NULL;
}

static void emu_table_free(emu_core *core, emu_table *table)
{
    aioc_mem_free(&core->memory, table->bucket, table->size * sizeof *table->bucket);
    memset(table, 0, sizeof *table);
}

bool emu_list_reserve(emu_core *core, emu_list *list, uint32_t extra)
{
    uint32_t cap = list->cap ? list->cap * 2 : 8;
    emu_item **at;
    if (extra <= list->cap - list->count) return true;
    if (cap < list->count + extra) cap = list->count + extra;
    at = (emu_item **)aioc_mem_resize(&core->memory, list->at, list->cap * sizeof *at, cap * sizeof *at);
    if (!at) return false;
    list->at = at;
    list->cap = cap;
    return true;
}

uint32_t emu_list_push(emu_list *list, emu_item *item)
{
    list->at[list->count] = item;
    list->live++;
    return list->count++;
}

void emu_list_free(emu_core *core, emu_list *list)
{
    aioc_mem_free(&core->memory, list->at, list->cap * sizeof *list->at);
    memset(list, 0, sizeof *list);
}

static void emu_list_remove(emu_list *list, uint32_t slot, bool of_partition)
{
    uint32_t i, kept = 0;
    list->at[slot] = NULL;
    list->live--;
    if (list->count <= 2 * list->live + 16) return;
    for (i = 0; i < list->count; i++) {
        emu_item *item = list->at[i];
        if (!item) continue;
        *(of_partition ? &item->partition_slot : &item->range_slot) = kept;
        list->at[kept++] = item;
    }
    list->count = kept;
}

uint32_t emu_list_after(const emu_list *list, uint64_t number)
{
    uint32_t low = 0, high = list->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2, at = middle;
        while (at < high && !list->at[at]) at++;
        if (at == high || list->at[at]->number > number) high = middle;
        else low = at + 1;
    }
    while (low < list->count && !list->at[low]) low++;
    return low;
}

/*------------------------------------------------------------------------------
 * MARK: - Resources: ids, RIDs, ETags, texts
 *----------------------------------------------------------------------------*/

void emu_rid_text(char out[EMU_RID_MAX], const unsigned char *raw, size_t len)
{
    size_t size = aioc_text_base64_encode(raw, len, out), i;
    for (i = 0; i < size; i++)
        if (out[i] == '/') out[i] = '-';                   /* a RID stands in paths */
    out[size] = 0;
}

/* The container's eight bytes, then the item's number, little-endian. Its highest half byte, 0, stands for an item. */
size_t emu_item_rid(const emu_container *container, uint64_t number, char out[EMU_RID_MAX])
{
    unsigned char raw[16];
    memcpy(raw, container->raw_rid, 8);
    aioc_text_store64le(raw + 8, number);
    emu_rid_text(out, raw, sizeof raw);
    return 24;
}

static void emu_etag_hex(char *out, uint64_t number, int digits)
{
    for (; digits > 0; digits--, number >>= 4) out[digits - 1] = "0123456789abcdef"[number & 15];
}

/* 36 characters like a GUID, as the service has them: a counter, and the time. */
static void emu_etag_guid(char out[EMU_GUID], uint64_t etag, int64_t ts)
{
    memcpy(out, "00000000-0000-0700-0000-000000000000", EMU_GUID);
    emu_etag_hex(out, etag, 8);
    emu_etag_hex(out + 9, etag >> 32, 4);
    emu_etag_hex(out + 24, (uint64_t)ts, 8);
}

void emu_etag_text(char out[64], uint64_t etag, int64_t ts)
{
    out[0] = '"';
    emu_etag_guid(out + 1, etag, ts);
    out[EMU_GUID + 1] = '"';
    out[EMU_GUID + 2] = 0;
}

/* As JSON: the quotes are part of the ETag. */
void emu_put_etag(emu_text *out, uint64_t etag, int64_t ts)
{
    char text[EMU_GUID];
    emu_etag_guid(text, etag, ts);
    emu_puts(out, "\"\\\"");
    emu_put(out, text, sizeof text);
    emu_puts(out, "\\\"\"");
}

static bool emu_is_system(aiocosmos_json key, bool is_item)
{
    static const char *const names[] = {
        "_rid", "_self", "_etag", "_ts", "_attachments", "_docs", "_sprocs", "_triggers", "_udfs", "_conflicts",
        "_colls", "_users", "_permissions", "_token"
    };
    size_t i, count = is_item ? 5 : sizeof names / sizeof names[0];
    if (key.len < 4 || (key.ptr[1] != '_' && key.ptr[1] != '\\')) return false;
    for (i = 0; i < count; i++)
        if (aioc_json_is_str(key, names[i])) return true;
    return false;
}

/* The object's text without system properties and without its closing brace. What a client wrote stays as it was, to
 * the byte, unless it sends system properties along, as those do who read, change and replace. */
void emu_put_stripped(emu_text *out, aiocosmos_json object, bool is_item)
{
    aiocosmos_json key, value;
    size_t end = object.len - 1;
    bool system = false, some = false;
    memset(&key, 0, sizeof key);
    memset(&value, 0, sizeof value);
    while (!system && aioc_json_next(object, &key, &value)) system = emu_is_system(key, is_item);
    while (end > 1 && (unsigned char)object.ptr[end - 1] <= ' ') end--;
    if (!system) {
        emu_put(out, object.ptr, end);
        return;
    }
    emu_puts(out, "{");
    memset(&value, 0, sizeof value);
    while (aioc_json_next(object, &key, &value)) {
        if (emu_is_system(key, is_item)) continue;
        if (some) emu_puts(out, ",");
        emu_put(out, key.ptr, (size_t)(value.ptr + value.len - key.ptr));
        some = true;
    }
}

void emu_resource_free(emu_core *core, emu_resource *resource)
{
    aioc_mem_free(&core->memory, resource->id, resource->id_len + 1);
    aioc_mem_free(&core->memory, resource->text, resource->text_len);
    memset(resource, 0, sizeof *resource);
}

/* Takes over what the client wrote. False: no memory, and nothing has changed. */
bool emu_resource_set(emu_core *core, emu_resource *resource, aiocosmos_str id, aiocosmos_json object)
{
    emu_resource made;
    emu_text_clear(&core->scratch);
    emu_put_stripped(&core->scratch, object, false);
    memset(&made, 0, sizeof made);
    made.id_len = id.len;
    made.text_len = core->scratch.buffer.len;
    made.id = (char *)aioc_mem_alloc(&core->memory, id.len + 1);
    made.text = core->scratch.failed ? NULL : (char *)aioc_mem_alloc(&core->memory, made.text_len);
    if (!made.id || !made.text) {
        aioc_mem_free(&core->memory, made.id, id.len + 1);
        aioc_mem_free(&core->memory, made.text, made.text_len);
        return false;
    }
    memcpy(made.id, id.ptr, id.len);
    made.id[id.len] = 0;
    memcpy(made.text, core->scratch.buffer.data, made.text_len);
    made.etag = ++core->next_etag;
    made.ts = emu_now(core) / 1000;
    emu_resource_free(core, resource);
    *resource = made;
    return true;
}

static bool emu_named(const emu_resource *resource, const char *rid, aiocosmos_str name)
{
    return (resource->id_len == name.len && memcmp(resource->id, name.ptr, name.len) == 0) || emu_is(name, rid);
}

emu_database *emu_find_database(emu_core *core, aiocosmos_str name)
{
    emu_database *database = core->databases;
    while (database && !emu_named(&database->resource, database->rid, name)) database = database->next;
    return database;
}

emu_container *emu_find_container(emu_database *database, aiocosmos_str name)
{
    emu_container *container = database->containers;
    while (container && !emu_named(&container->resource, container->rid, name)) container = container->next;
    return container;
}

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

/* values are of the types that aioc_protocol_pk_components makes. False: no key of this container can be so. */
bool emu_key_from_values(const emu_container *container, const aiocosmos_value *values, size_t count, emu_key *key)
{
    uint64_t hash[2];
    size_t i, size;
    key->len = 0;
    key->levels = count;
    for (i = 0; i < count; i++) {
        size = aioc_protocol_hashed_form(&values[i], 0xFF, key->bytes + key->len);
        if (size == 0) return false;
        key->len += size;
    }
    aioc_protocol_murmur3_128(key->bytes, key->len, hash);
    key->hash = hash[0];
    return aioc_protocol_epk(&container->key, values, count, key->epk, &key->epk_len) ||
           (container->key.version == 1 && emu_epk_cut(&container->key, values, count, key));
}

emu_partition *emu_find_partition(const emu_container *container, const emu_key *key)
{
    emu_node *node = emu_table_find(&container->partitions, key->hash);
    for (; node; node = node->next) {
        emu_partition *partition = (emu_partition *)node;
        if (node->hash == key->hash && partition->key_len == key->len &&
            memcmp(emu_partition_key(partition), key->bytes, key->len) == 0) return partition;
    }
    return NULL;
}

static size_t emu_partition_size(const emu_partition *partition)
{
    return sizeof *partition + partition->key_len + partition->epk_len;
}

static emu_partition *emu_make_partition(emu_core *core, emu_container *container, const emu_key *key)
{
    emu_partition *partition;
    if (!emu_table_reserve(core, &container->partitions)) return NULL;
    partition = (emu_partition *)aioc_mem_alloc(&core->memory, sizeof *partition + key->len + key->epk_len);
    if (!partition) return NULL;
    memset(partition, 0, sizeof *partition);
    partition->node.hash = key->hash;
    partition->range = emu_range_of(container, emu_str(key->epk, key->epk_len));
    partition->key_len = (uint16_t)key->len;
    partition->epk_len = (uint16_t)key->epk_len;
    memcpy(partition + 1, key->bytes, key->len);
    memcpy((char *)(partition + 1) + key->len, key->epk, key->epk_len);
    emu_table_add(&container->partitions, &partition->node);
    return partition;
}

static void emu_drop_partition(emu_core *core, emu_container *container, emu_partition *partition)
{
    emu_table_remove(&container->partitions, &partition->node);
    emu_list_free(core, &partition->items);
    aioc_mem_free(&core->memory, partition, emu_partition_size(partition));
}

/*------------------------------------------------------------------------------
 * MARK: - Items
 *----------------------------------------------------------------------------*/

static uint64_t emu_item_hash(const emu_partition *partition, aiocosmos_str id)
{
    uint64_t hash[2];
    aioc_protocol_murmur3_128(id.ptr, id.len, hash);
    return hash[0] ^ partition->node.hash * UINT64_C(0x9e3779b97f4a7c15);
}

static size_t emu_item_size(const emu_item *item)
{
    return sizeof *item + item->unique_count * 2u * sizeof(uint64_t) + item->id_len + item->text_len;
}

emu_item *emu_find_item(const emu_container *container, emu_partition *partition, aiocosmos_str id)
{
    uint64_t hash;
    emu_node *node;
    if (!partition) return NULL;
    hash = emu_item_hash(partition, id);
    for (node = emu_table_find(&container->items, hash); node; node = node->next) {
        emu_item *item = (emu_item *)node;
        if (node->hash == hash && item->partition == partition && item->id_len == id.len &&
            memcmp(emu_item_id(item), id.ptr, id.len) == 0) return item;
    }
    return NULL;
}

bool emu_item_expired(const emu_container *container, const emu_item *item, int64_t now_ms)
{
    int64_t ttl = item->ttl ? item->ttl : container->ttl;
    return container->has_ttl && ttl > 0 && now_ms / 1000 >= (int64_t)item->ts + ttl;
}

void emu_put_item(emu_text *out, const emu_container *container, const emu_item *item)
{
    static const char after_etag[] = "\\\"\",\"_attachments\":\"attachments/\",\"_ts\":";
    char rid[EMU_RID_MAX], *at, *start;
    if (out->failed || !aioc_mem_reserve(out->memory, &out->buffer, item->text_len + EMU_SYSTEM_BYTES)) {
        out->failed = true;
        return;
    }
    emu_item_rid(container, item->number, rid);
    start = out->buffer.data + out->buffer.len;
    memcpy(start, emu_item_text(item), item->text_len);
    at = start + item->text_len;
    at += snprintf(at, EMU_SYSTEM_BYTES, ",\"_rid\":\"%s\",\"_self\":\"dbs/%s/colls/%s/docs/%s/\",\"_etag\":\"\\\"",
                   rid, container->database->rid, container->rid, rid);
    emu_etag_guid(at, item->etag, item->ts);
    at += EMU_GUID;
    memcpy(at, after_etag, sizeof after_etag - 1);
    at += sizeof after_etag - 1;
    at += aioc_json_i64_write(item->ts, at);
    *at++ = '}';
    out->buffer.len += (size_t)(at - start);
}

bool emu_unique_taken(const emu_container *container, const uint64_t hash[2], const emu_item *but, int64_t now_ms)
{
    emu_node *node = emu_table_find(&container->uniques, hash[0]);
    for (; node; node = node->next) {
        const emu_unique *unique = (const emu_unique *)node;
        if (node->hash == hash[0] && unique->more == hash[1] && unique->item != but &&
            !emu_item_expired(container, unique->item, now_ms)) return true;
    }
    return false;
}

static void emu_free_uniques(emu_core *core, emu_unique **uniques, uint16_t count)
{
    while (count > 0) aioc_mem_free(&core->memory, uniques[--count], sizeof **uniques);
}

/* All or none of them. */
static bool emu_make_uniques(emu_core *core, emu_container *container, const emu_item_new *content, emu_unique **made)
{
    uint16_t i;
    for (i = 0; i < content->unique_count; i++) {
        made[i] = (emu_unique *)aioc_mem_alloc(&core->memory, sizeof **made);
        if (!made[i] || !emu_table_reserve(core, &container->uniques)) {
            emu_free_uniques(core, made, (uint16_t)(made[i] ? i + 1 : i));
            return false;
        }
        made[i]->node.hash = content->uniques[2 * i];
        made[i]->more = content->uniques[2 * i + 1];
    }
    return true;
}

static void emu_drop_uniques(emu_core *core, emu_container *container, const emu_item *item)
{
    uint16_t i;
    for (i = 0; i < item->unique_count; i++) {
        emu_node *node = emu_table_find(&container->uniques, emu_item_uniques(item)[2 * i]);
        while (node && ((emu_unique *)node)->item != item) node = node->next;
        if (!node) continue;
        emu_table_remove(&container->uniques, node);
        aioc_mem_free(&core->memory, node, sizeof(emu_unique));
    }
}

static emu_item *emu_make_item(emu_core *core, const emu_item_new *content)
{
    size_t hashes = content->unique_count * 2u * sizeof(uint64_t);
    size_t size = sizeof(emu_item) + hashes + content->id.len + content->text.len;
    emu_item *item = (emu_item *)aioc_mem_alloc(&core->memory, size);
    if (!item) return NULL;
    memset(item, 0, sizeof *item);
    item->ttl = content->ttl;
    item->unique_count = content->unique_count;
    item->id_len = (uint16_t)content->id.len;
    item->text_len = (uint32_t)content->text.len;
    if (hashes) memcpy(item + 1, content->uniques, hashes);
    memcpy(emu_item_id(item), content->id.ptr, content->id.len);
    memcpy(emu_item_text(item), content->text.ptr, content->text.len);
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

emu_item *emu_store_item(emu_core *core, emu_container *container, const emu_key *key, emu_item *old,
                         const emu_item_new *content, int64_t now_ms)
{
    emu_unique *uniques[EMU_UNIQUE_KEYS];
    emu_partition *partition = old ? old->partition : emu_find_partition(container, key);
    emu_item *item = emu_make_item(core, content);
    emu_event *event = NULL;
    uint16_t i;
    bool ok = item && emu_make_uniques(core, container, content, uniques);
    if (item && !ok) aioc_mem_free(&core->memory, item, emu_item_size(item));
    if (!ok) return NULL;
    if (!partition) partition = emu_make_partition(core, container, key);
    ok = partition && emu_table_reserve(core, &container->items) && emu_list_reserve(core, &partition->items, 1) &&
         emu_list_reserve(core, &partition->range->items, 1);
    if (ok && container->retention_s) {
        event = emu_event_begin(core, partition, NULL, content->text.len);
        ok = event != NULL;
    }
    if (!ok) {
        if (partition && partition->items.live == 0) emu_drop_partition(core, container, partition);
        emu_free_uniques(core, uniques, content->unique_count);
        aioc_mem_free(&core->memory, item, emu_item_size(item));
        return NULL;
    }
    item->partition = partition;
    item->node.hash = emu_item_hash(partition, content->id);
    item->etag = ++core->next_etag;
    item->ts = (uint32_t)(now_ms / 1000);
    item->lsn = ++partition->range->lsn;
    container->changes++;
    emu_place_item(container, partition, item, old);
    if (partition->range->changes.kept) emu_changes_replace(core, &partition->range->changes, old, item);
    if (event) emu_event_commit(core, partition->range, event, item, old, false, now_ms);
    if (old) {
        emu_drop_uniques(core, container, old);
        emu_table_remove(&container->items, &old->node);
        aioc_mem_free(&core->memory, old, emu_item_size(old));
    }
    emu_table_add(&container->items, &item->node);
    for (i = 0; i < content->unique_count; i++) {
        uniques[i]->item = item;
        emu_table_add(&container->uniques, &uniques[i]->node);
    }
    return item;
}

bool emu_remove_item(emu_core *core, emu_container *container, emu_item *item, bool expired, int64_t now_ms)
{
    emu_partition *partition = item->partition;
    emu_range *range = partition->range;
    emu_event *event = NULL;
    if (container->retention_s) event = emu_event_begin(core, partition, item, 0);
    if (container->retention_s && !event && !expired) return false;
    range->lsn++;
    if (container->retention_s && !event) range->events.purged = range->lsn;   /* better a refusal than a gap */
    if (range->changes.kept) emu_changes_replace(core, &range->changes, item, NULL);
    if (event) emu_event_commit(core, range, event, NULL, item, expired, now_ms);
    container->changes++;
    emu_drop_uniques(core, container, item);
    emu_table_remove(&container->items, &item->node);
    emu_list_remove(&partition->range->items, item->range_slot, false);
    emu_list_remove(&partition->items, item->partition_slot, true);
    aioc_mem_free(&core->memory, item, emu_item_size(item));
    if (partition->items.live == 0) emu_drop_partition(core, container, partition);
    return true;
}

/* Expired items are invisible at once; each write to a partition frees what is found of them in a few more places. */
void emu_expire_some(emu_core *core, emu_range *range, int64_t now_ms)
{
    emu_container *container = range->container;
    int looked;
    if (!container->has_ttl) return;
    for (looked = 0; looked < 4 && range->items.count; looked++) {
        emu_item *item;
        if (range->expiry_slot >= range->items.count) range->expiry_slot = 0;
        item = range->items.at[range->expiry_slot++];
        if (item && emu_item_expired(container, item, now_ms)) emu_remove_item(core, container, item, true, now_ms);
    }
}

/*------------------------------------------------------------------------------
 * MARK: - The end of things
 *----------------------------------------------------------------------------*/

static void emu_drop_offer(emu_core *core, emu_offer *offer)
{
    emu_offer **at = &core->offers;
    if (!offer) return;
    while (*at != offer) at = &(*at)->next;
    *at = offer->next;
    aioc_mem_free(&core->memory, offer, sizeof *offer);
}

static void emu_drop_items(emu_core *core, emu_container *container)
{
    uint32_t i, k;
    for (i = 0; i < container->items.size; i++) {
        emu_node *node = container->items.bucket[i], *next;
        for (; node; node = next) {
            next = node->next;
            aioc_mem_free(&core->memory, node, emu_item_size((emu_item *)node));
        }
    }
    for (i = 0; i < container->uniques.size; i++) {
        emu_node *node = container->uniques.bucket[i], *next;
        for (; node; node = next) {
            next = node->next;
            aioc_mem_free(&core->memory, node, sizeof(emu_unique));
        }
    }
    for (k = 0; k < container->partitions.size; k++) {
        while (container->partitions.bucket[k])
            emu_drop_partition(core, container, (emu_partition *)container->partitions.bucket[k]);
    }
    emu_table_free(core, &container->items);
    emu_table_free(core, &container->uniques);
    emu_table_free(core, &container->partitions);
}

/* Also of a container that was never finished, and is in no list yet. */
static bool emu_shadow_copy(emu_core *core, const emu_key *key, emu_container *shadow, const emu_item *item)
{
    emu_item_new content;
    emu_item *copy;
    memset(&content, 0, sizeof content);
    content.id = emu_str(emu_item_id(item), item->id_len);
    content.text = emu_str(emu_item_text(item), item->text_len);
    content.ttl = item->ttl;
    content.uniques = emu_item_uniques(item);
    content.unique_count = item->unique_count;
    copy = emu_store_item(core, shadow, key, NULL, &content, (int64_t)item->ts * 1000);
    if (!copy) return false;
    copy->etag = item->etag;
    copy->lsn = item->lsn;
    return true;
}

bool emu_shadow_take(emu_core *core, const emu_container *container, const emu_key *key, emu_container *shadow,
                     aiocosmos_str id)
{
    const emu_item *item = emu_find_item(container, emu_find_partition(container, key), id);
    return !item || emu_find_item(shadow, emu_find_partition(shadow, key), id) ||
           emu_shadow_copy(core, key, shadow, item);
}

bool emu_shadow_open(emu_core *core, const emu_container *container, const emu_key *key, emu_container *shadow)
{
    const emu_partition *partition = emu_find_partition(container, key);
    const emu_range *range = emu_range_of(container, emu_str(key->epk, key->epk_len));
    uint32_t i;
    *shadow = *container;
    shadow->range = NULL;
    shadow->range_count = 0;
    shadow->retention_s = 0;
    memset(&shadow->pending, 0, sizeof shadow->pending);
    memset(&shadow->partitions, 0, sizeof shadow->partitions);
    memset(&shadow->items, 0, sizeof shadow->items);
    memset(&shadow->uniques, 0, sizeof shadow->uniques);
    if (!emu_make_ranges(core, shadow, 1)) return false;
    memcpy(shadow->range[0]->id, range->id, sizeof range->id);
    shadow->range[0]->version = range->version;
    shadow->range[0]->lsn = range->lsn;
    if (!container->unique_count || !partition) return true;
    for (i = 0; i < partition->items.count; i++)           /* any of them may have the value of a unique key */
        if (partition->items.at[i] && !emu_shadow_copy(core, key, shadow, partition->items.at[i])) return false;
    return true;
}

void emu_shadow_close(emu_core *core, emu_container *shadow)
{
    emu_drop_items(core, shadow);
    emu_free_ranges(core, shadow);
}

void emu_drop_container(emu_core *core, emu_container *container)
{
    emu_container **at = &container->database->containers;
    while (*at && *at != container) at = &(*at)->next;
    if (*at) *at = container->next;
    emu_held_forget(core, container);
    emu_drop_items(core, container);
    emu_free_ranges(core, container);
    emu_drop_offer(core, container->offer);
    emu_resource_free(core, &container->resource);
    aioc_mem_free(&core->memory, container->unique, container->unique_count * sizeof *container->unique);
    aioc_mem_free(&core->memory, container->definition, container->definition_len);
    aioc_mem_free(&core->memory, container, sizeof *container);
}

void emu_drop_permission(emu_core *core, emu_user *user, emu_permission *permission)
{
    emu_permission **at = &user->permissions;
    while (*at != permission) at = &(*at)->next;
    *at = permission->next;
    emu_resource_free(core, &permission->resource);
    aioc_mem_free(&core->memory, permission, sizeof *permission);
}

void emu_drop_user(emu_core *core, emu_database *database, emu_user *user)
{
    emu_user **at = &database->users;
    while (user->permissions) emu_drop_permission(core, user, user->permissions);
    while (*at != user) at = &(*at)->next;
    *at = user->next;
    emu_resource_free(core, &user->resource);
    aioc_mem_free(&core->memory, user, sizeof *user);
}

void emu_drop_database(emu_core *core, emu_database *database)
{
    emu_database **at = &core->databases;
    while (database->containers) emu_drop_container(core, database->containers);
    while (database->users) emu_drop_user(core, database, database->users);
    while (*at != database) at = &(*at)->next;
    *at = database->next;
    emu_drop_offer(core, database->offer);
    emu_resource_free(core, &database->resource);
    aioc_mem_free(&core->memory, database, sizeof *database);
}
