/* resource.c: ids, RIDs, ETags and texts. */
#include "resource.h"

#include <string.h>

/*------------------------------------------------------------------------------
 * MARK: - Texts
 *----------------------------------------------------------------------------*/

void emu_rid_text(char out[EMU_RID_MAX], const unsigned char *raw, size_t len)
{
    size_t size = aioc_text_base64_encode(raw, len, out), i;
    for (i = 0; i < size; i++)
        if (out[i] == '/') out[i] = '-';                   /* a RID stands in paths */
    out[size] = 0;
}

/* The container's eight bytes, then the item's number, little-endian. Its highest half byte, 0, stands for an item. */
static size_t emu_item_rid(const emu_container *container, uint64_t number, char out[EMU_RID_MAX])
{
    unsigned char raw[16];
    memcpy(raw, container->raw_rid, 8);
    aioc_text_store64le(raw + 8, number);
    emu_rid_text(out, raw, sizeof raw);
    return 24;
}

/* 36 characters like a GUID, as the service has them: a counter, and the time. */
static void emu_etag_guid(char out[EMU_GUID], uint64_t etag, int64_t ts)
{
    memcpy(out, "00000000-0000-0700-0000-000000000000", EMU_GUID);
    emu_put_hex(out, etag, 8);
    emu_put_hex(out + 9, etag >> 32, 4);
    emu_put_hex(out + 24, (uint64_t)ts, 8);
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

/* Those of an item first. */
static const aiocosmos_str emu_system_names[] = {
    EMU_NAME("_rid"), EMU_NAME("_self"), EMU_NAME("_etag"), EMU_NAME("_ts"), EMU_NAME("_attachments"),
    EMU_NAME("_docs"), EMU_NAME("_sprocs"), EMU_NAME("_triggers"), EMU_NAME("_udfs"), EMU_NAME("_conflicts"),
    EMU_NAME("_colls"), EMU_NAME("_users"), EMU_NAME("_permissions"), EMU_NAME("_token")
};

aiocosmos_str emu_system_name(size_t i)
{
    return emu_system_names[i];
}

static bool emu_is_system(aiocosmos_json key, bool is_item)
{
    size_t i, count = is_item ? EMU_ITEM_SYSTEM : sizeof emu_system_names / sizeof *emu_system_names;
    if (key.len < 4 || (key.ptr[1] != '_' && key.ptr[1] != '\\')) return false;
    for (i = 0; i < count; i++)
        if (aioc_json_is_str(key, emu_system_names[i].ptr)) return true;
    return false;
}

aiocosmos_str emu_unclosed(aiocosmos_json object)
{
    size_t end = object.len - 1;
    while (end > 1 && (unsigned char)object.ptr[end - 1] <= ' ') end--;
    return emu_str(object.ptr, end);
}

void emu_put_stripped(emu_text *out, aiocosmos_json object, bool is_item)
{
    aiocosmos_json key, value;
    bool system = false, some = false;
    memset(&key, 0, sizeof key);
    memset(&value, 0, sizeof value);
    while (!system && aioc_json_next(object, &key, &value)) system = emu_is_system(key, is_item);
    if (!system) {
        emu_put_str(out, emu_unclosed(object));
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

void emu_resource_free(emu_store *store, emu_resource *resource)
{
    aioc_mem_free(&store->memory, resource->id, resource->id_len + 1);
    aioc_mem_free(&store->memory, resource->text, resource->text_len);
    memset(resource, 0, sizeof *resource);
}

/* Takes over what the client wrote. False: no memory, and nothing has changed. */
bool emu_resource_set(emu_store *store, emu_resource *resource, aiocosmos_str id, aiocosmos_json object)
{
    emu_resource made;
    emu_text_clear(&store->scratch);
    emu_put_stripped(&store->scratch, object, false);
    memset(&made, 0, sizeof made);
    made.id_len = id.len;
    made.text_len = store->scratch.buffer.len;
    made.id = (char *)aioc_mem_alloc(&store->memory, id.len + 1);
    made.text = store->scratch.failed ? NULL : (char *)aioc_mem_alloc(&store->memory, made.text_len);
    if (!made.id || !made.text) {
        aioc_mem_free(&store->memory, made.id, id.len + 1);
        aioc_mem_free(&store->memory, made.text, made.text_len);
        return false;
    }
    memcpy(made.id, id.ptr, id.len);
    made.id[id.len] = 0;
    memcpy(made.text, store->scratch.buffer.data, made.text_len);
    made.etag = ++store->next_etag;
    made.ts = emu_now(&store->clock) / 1000;
    emu_resource_free(store, resource);
    *resource = made;
    return true;
}

static bool emu_named(const emu_resource *resource, const char *rid, aiocosmos_str name)
{
    return (resource->id_len == name.len && memcmp(resource->id, name.ptr, name.len) == 0) || emu_is(name, rid);
}

/*------------------------------------------------------------------------------
 * MARK: - Finding them
 *----------------------------------------------------------------------------*/

emu_database *emu_find_database(emu_store *store, aiocosmos_str name)
{
    emu_database *database = store->databases;
    while (database && !emu_named(&database->resource, database->rid, name)) database = database->next;
    return database;
}

emu_container *emu_find_container(emu_database *database, aiocosmos_str name)
{
    emu_container *container = database->containers;
    while (container && !emu_named(&container->resource, container->rid, name)) container = container->next;
    return container;
}

bool emu_item_expired(const emu_container *container, const emu_item *item, int64_t now_ms)
{
    int64_t ttl = item->ttl ? item->ttl : container->ttl;
    return container->has_ttl && ttl > 0 && now_ms / 1000 >= (int64_t)item->ts + ttl;
}

void emu_put_item(emu_text *out, const emu_container *container, const emu_item *item)
{
    const char *database_rid = container->database->rid;
    char rid[EMU_RID_MAX], *at, *start;
    size_t rid_len;
    if (out->failed || !aioc_mem_reserve(out->memory, &out->buffer, item->text_len + EMU_SYSTEM_BYTES)) {
        out->failed = true;
        return;
    }
    rid_len = emu_item_rid(container, item->number, rid);
    start = out->buffer.data + out->buffer.len;
    at = emu_put_at(start, emu_item_text(item), item->text_len);
    at = emu_put_at(EMU_PUT(at, ",\"_rid\":\""), rid, rid_len);
    at = emu_put_at(EMU_PUT(at, "\",\"_self\":\"dbs/"), database_rid, strlen(database_rid));
    at = emu_put_at(EMU_PUT(at, "/colls/"), container->rid, strlen(container->rid));
    at = emu_put_at(EMU_PUT(at, "/docs/"), rid, rid_len);
    at = EMU_PUT(at, "/\",\"_etag\":\"\\\"");
    emu_etag_guid(at, item->etag, item->ts);
    at = EMU_PUT(at + EMU_GUID, "\\\"\",\"_attachments\":\"attachments/\",\"_ts\":");
    at = emu_put_number(at, item->ts);
    *at++ = '}';
    out->buffer.len += (size_t)(at - start);
}

/* A text of ours behind a resource's own properties. */
bool emu_resource_append(emu_store *store, emu_resource *resource, aiocosmos_str text)
{
    char *grown = (char *)aioc_mem_resize(&store->memory, resource->text, resource->text_len,
                                          resource->text_len + text.len);
    if (!grown) return false;
    memcpy(grown + resource->text_len, text.ptr, text.len);
    resource->text = grown;
    resource->text_len += text.len;
    return true;
}
