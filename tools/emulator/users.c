/* users.c: users and permissions. */
#include "users.h"
#include "auth.h"
#include "listing.h"

#include <stdio.h>
#include <string.h>

#define EMU_TOKEN_LIFE_S 3600

static void emu_put_user(emu_text *out, const emu_database *database, const emu_user *user)
{
    emu_put(out, user->resource.text, user->resource.text_len);
    emu_put_format(out, ",\"_rid\":\"%s\",\"_self\":\"dbs/%s/users/%s/\",\"_etag\":", user->rid, database->rid,
                   user->rid);
    emu_put_etag(out, user->resource.etag, user->resource.ts);
    emu_put_format(out, ",\"_permissions\":\"permissions/\",\"_ts\":%lld}", (long long)user->resource.ts);
}

static emu_user *emu_find_user(emu_database *database, aiocosmos_str name)
{
    emu_user *user = database->users;
    while (user && !emu_is(name, user->resource.id) && !emu_is(name, user->rid)) user = user->next;
    return user;
}

static emu_user *emu_make_user(emu_exchange *x)
{
    emu_user **last = &x->database->users, *user;
    user = (emu_user *)aioc_mem_zalloc(&x->store->memory, sizeof *user);
    if (!user) return NULL;
    memcpy(user->raw_rid, x->database->raw_rid, 4);
    emu_store32be(user->raw_rid + 4, ++x->store->next_user);         /* top bit clear: a user */
    emu_rid_text(user->rid, user->raw_rid, sizeof user->raw_rid);
    while (*last) last = &(*last)->next;
    *last = user;
    return user;
}

/* An upsert's POST means what is there already. */
static bool emu_is_upsert(const emu_exchange *x)
{
    return x->request->verb == EMU_POST && emu_header_true(x, EMU_H_UPSERT);
}

/* user NULL: a new one. */
static void emu_write_user(emu_exchange *x, emu_user *user)
{
    char room[AIOC_PROTOCOL_ITEM_ID_MAX + 1];
    aiocosmos_json root;
    aiocosmos_str id;
    emu_user *other;
    bool made;
    if (!emu_parse_body(x, &root) || !emu_take_id(x, root, room, &id)) return;
    other = emu_find_user(x->database, id);
    if (other && emu_is_upsert(x)) {
        if (!emu_matches(x, other->resource.etag, other->resource.ts)) return;
        user = other;
    }
    if (other && other != user) {
        emu_exists(x);
        return;
    }
    made = !user;
    if (made) user = emu_make_user(x);
    if (!user || !emu_resource_set(x->store, &user->resource, id, root)) {
        if (made && user) emu_drop_user(x->store, x->database, user);
        emu_no_memory(x);
        return;
    }
    emu_put_user(&x->core->body, x->database, user);
    emu_answer_resource(x, &user->resource, made ? 201 : 200, EMU_CONTAINERS_CHARGE);
}

void emu_users_route(emu_exchange *x)
{
    emu_listing listing;
    emu_user *user;
    if (x->segments == 3 && x->kind == EMU_CREATE_USER) {
        emu_write_user(x, NULL);
    } else if (x->segments == 3) {
        if (!emu_listing_begin(&listing, x, "Users", x->database->rid)) return;
        for (user = x->database->users; user; user = user->next) {
            emu_text_clear(&x->core->scratch2);
            emu_put_user(&x->core->scratch2, x->database, user);
            emu_listing_add(&listing, emu_text_str(&x->core->scratch2));
        }
        emu_listing_end(&listing);
    } else if ((user = emu_find_user(x->database, x->segment[3])) == NULL) {
        emu_absent(x);
    } else if (x->request->verb != EMU_GET && !emu_matches(x, user->resource.etag, user->resource.ts)) {
        return;
    } else if (x->request->verb == EMU_PUT) {
        emu_write_user(x, user);
    } else if (x->request->verb == EMU_DELETE) {
        emu_drop_user(x->store, x->database, user);
        emu_answer_deleted(x);
    } else {
        emu_put_user(&x->core->body, x->database, user);
        emu_answer_resource(x, &user->resource, 200, 2);
    }
}

/* A permission's resource by names, whether it was given so or by RIDs: "dbs/D/colls/C", or an item's link below. */
static bool emu_named_link(emu_exchange *x, aiocosmos_str link, emu_text *out)
{
    aiocosmos_str part[6];
    size_t parts = 0, at = 0;
    emu_database *database;
    emu_container *container;
    while (link.len > 0 && link.ptr[0] == '/') link.ptr++, link.len--;
    while (link.len > 0 && link.ptr[link.len - 1] == '/') link.len--;
    while (at < link.len && parts < 6) {
        size_t start = at;
        while (at < link.len && link.ptr[at] != '/') at++;
        part[parts++] = emu_str(link.ptr + start, at - start);
        at++;
    }
    if (at < link.len || (parts != 4 && parts != 6) || !emu_is(part[0], "dbs") || !emu_is(part[2], "colls") ||
        (parts == 6 && !emu_is(part[4], "docs")))
        return emu_refuse(x, 400, 0, "The permission's 'resource' has to be the link of a container, or of "
                          "an item in one.");
    database = emu_find_database(x->store, part[1]);
    container = database ? emu_find_container(database, part[3]) : NULL;
    if (!container) return emu_refuse(x, 404, 0, "The permission's resource does not exist.");
    emu_puts(out, "dbs/");
    emu_put(out, database->resource.id, database->resource.id_len);
    emu_puts(out, "/colls/");
    emu_put(out, container->resource.id, container->resource.id_len);
    if (parts == 6) {
        emu_puts(out, "/docs/");
        emu_put_str(out, part[5]);
    }
    return true;
}

static bool emu_token_life(emu_exchange *x, int64_t *seconds)
{
    aiocosmos_str text = x->request->header[EMU_H_EXPIRY];
    uint64_t number;
    *seconds = EMU_TOKEN_LIFE_S;
    if (!text.len) return true;
    if (!aioc_text_parse_u64(text, &number) || number < 10 || number > 86400)
        return emu_refuse(x, 400, 0, "The value of x-ms-documentdb-expiry-seconds has to be between 10 and 86400.");
    *seconds = (int64_t)number;
    return true;
}

/* Each time that a permission is read, its token is a new one. */
static bool emu_put_permission(emu_exchange *x, emu_text *out, const emu_user *user, const emu_permission *permission)
{
    static const char *const names[] = { "resource", "permissionMode", "resourcePartitionKey" };
    emu_core *core = x->core;
    emu_text *link = &core->scratch;
    aiocosmos_json found[3];
    char room[2048];
    int64_t life;
    size_t len, start, key_at;
    bool all;
    if (!emu_token_life(x, &life)) return false;
    emu_text_clear(link);
    emu_put(link, permission->resource.text, permission->resource.text_len);
    emu_puts(link, "}");
    if (link->failed || aioc_json_parse(&core->doc2, link->buffer.data, link->buffer.len) < 0) return emu_no_memory(x);
    aioc_json_fields(aioc_json_root(&core->doc2), names, 3, found);
    len = aioc_json_get_str(found[0], room, sizeof room);
    all = aioc_json_is_str(found[1], "All") || aioc_json_is_str(found[1], "all");        /* the SDKs differ */
    if (len >= sizeof room || (!all && !aioc_json_is_str(found[1], "Read") && !aioc_json_is_str(found[1], "read")))
        return emu_refuse(x, 400, 0, "A permission needs a 'resource', and a 'permissionMode' of All or Read.");
    emu_put(out, permission->resource.text, permission->resource.text_len);
    emu_put_format(out, ",\"_rid\":\"%s\",\"_self\":\"dbs/%s/users/%s/permissions/%s/\",\"_etag\":", permission->rid,
                   x->database->rid, user->rid, permission->rid);
    emu_put_etag(out, permission->resource.etag, permission->resource.ts);
    emu_put_format(out, ",\"_ts\":%lld,\"_token\":\"", (long long)permission->resource.ts);
    key_at = found[2].len ? (size_t)(found[2].ptr - link->buffer.data) : 0;
    start = link->buffer.len;                              /* the text with the key stays in front of the link */
    if (!emu_named_link(x, emu_str(room, len), link)) return false;
    if (link->failed || !emu_token_make(core, out, emu_str(link->buffer.data + start, link->buffer.len - start), all,
                                        emu_str(link->buffer.data + key_at, found[2].len), x->now_ms / 1000 + life))
        return emu_no_memory(x);
    emu_puts(out, "\"}");
    return true;
}

static emu_permission *emu_find_permission(emu_user *user, aiocosmos_str name)
{
    emu_permission *permission = user->permissions;
    while (permission && !emu_is(name, permission->resource.id) && !emu_is(name, permission->rid))
        permission = permission->next;
    return permission;
}

/* old NULL: a new one. Else it takes the old one's place, if all about it is right. */
static void emu_write_permission(emu_exchange *x, emu_user *user, emu_permission *old)
{
    char room[AIOC_PROTOCOL_ITEM_ID_MAX + 1];
    unsigned char raw[16];
    aiocosmos_json root;
    aiocosmos_str id;
    emu_permission *permission, *other, **last = &user->permissions;
    if (!emu_parse_body(x, &root) || !emu_take_id(x, root, room, &id)) return;
    other = emu_find_permission(user, id);
    if (other && emu_is_upsert(x)) {
        if (!emu_matches(x, other->resource.etag, other->resource.ts)) return;
        old = other;
    }
    if (other && other != old) {
        emu_exists(x);
        return;
    }
    permission = (emu_permission *)aioc_mem_zalloc(&x->store->memory, sizeof *permission);
    if (!permission || !emu_resource_set(x->store, &permission->resource, id, root)) {
        aioc_mem_free(&x->store->memory, permission, sizeof *permission);
        emu_no_memory(x);
        return;
    }
    memcpy(raw, user->raw_rid, 8);
    aioc_text_store64le(raw + 8, ++x->store->next_user);
    emu_rid_text(permission->rid, raw, sizeof raw);
    if (old) memcpy(permission->rid, old->rid, sizeof permission->rid);
    while (*last && *last != old) last = &(*last)->next;
    permission->next = *last;                              /* old, or the end */
    *last = permission;
    if (!emu_put_permission(x, &x->core->body, user, permission)) {
        emu_drop_permission(x->store, user, permission);
        return;
    }
    emu_answer_resource(x, &permission->resource, old ? 200 : 201, EMU_CONTAINERS_CHARGE);
    if (old) emu_drop_permission(x->store, user, old);
}

static void emu_list_permissions(emu_exchange *x, const emu_user *user)
{
    const emu_permission *permission = user->permissions;
    emu_text text;
    emu_listing listing;
    memset(&text, 0, sizeof text);
    text.memory = &x->store->memory;
    if (!emu_listing_begin(&listing, x, "Permissions", user->rid)) return;
    for (; permission; permission = permission->next) {
        text.buffer.len = 0;
        if (emu_put_permission(x, &text, user, permission) && !text.failed)
            emu_listing_add(&listing, emu_text_str(&text));
    }
    emu_listing_end(&listing);
    aioc_mem_buffer_free(text.memory, &text.buffer);
}

void emu_permissions_route(emu_exchange *x)
{
    emu_user *user = emu_find_user(x->database, x->segment[3]);
    emu_permission *permission;
    if (!user) {
        emu_refuse(x, 404, 1003, "Owner resource does not exist");
        return;
    }
    if (x->segments == 5) {
        if (x->kind == EMU_CREATE_PERMISSION) emu_write_permission(x, user, NULL);
        else emu_list_permissions(x, user);
        return;
    }
    permission = emu_find_permission(user, x->segment[5]);
    if (!permission) {
        emu_absent(x);
    } else if (x->request->verb != EMU_GET && !emu_matches(x, permission->resource.etag, permission->resource.ts)) {
        return;
    } else if (x->request->verb == EMU_PUT) {
        emu_write_permission(x, user, permission);
    } else if (x->request->verb == EMU_DELETE) {
        emu_drop_permission(x->store, user, permission);
        emu_answer_deleted(x);
    } else if (emu_put_permission(x, &x->core->body, user, permission)) {
        emu_answer_resource(x, &permission->resource, 200, 2);
    }
}
