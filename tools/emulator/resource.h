/* resource.h: what every resource has: an id, a RID, an ETag, the text that a client wrote. */
#ifndef EMULATOR_RESOURCE_H
#define EMULATOR_RESOURCE_H

#include "list.h"

EMU_PRIVATE void emu_rid_text(char out[EMU_RID_MAX], const unsigned char *raw, size_t len);
EMU_PRIVATE void emu_etag_text(char out[64], uint64_t etag, int64_t ts);
EMU_PRIVATE void emu_put_etag(emu_text *out, uint64_t etag, int64_t ts);
/* The object's text without system properties and without its closing brace. What a client wrote stays as it was, to
 * the byte, unless it sends system properties along, as those do who read, change and replace. */
EMU_PRIVATE void emu_put_stripped(emu_text *out, aiocosmos_json object, bool is_item);
/* Where it is known that it has none. */
EMU_PRIVATE aiocosmos_str emu_unclosed(aiocosmos_json object);
#define EMU_ITEM_SYSTEM 5u                                 /* system properties of an item */
EMU_PRIVATE aiocosmos_str emu_system_name(size_t i);

/* Takes over what the client wrote. False: no memory, and nothing has changed. */
EMU_PRIVATE bool emu_resource_set(emu_store *store, emu_resource *resource, aiocosmos_str id, aiocosmos_json object);
/* A text of ours behind its own properties. */
EMU_PRIVATE bool emu_resource_append(emu_store *store, emu_resource *resource, aiocosmos_str text);
EMU_PRIVATE void emu_resource_free(emu_store *store, emu_resource *resource);

EMU_PRIVATE emu_database *emu_find_database(emu_store *store, aiocosmos_str name);
EMU_PRIVATE emu_container *emu_find_container(emu_database *database, aiocosmos_str name);

EMU_PRIVATE bool emu_item_expired(const emu_container *container, const emu_item *item, int64_t now_ms);
/* The item's whole JSON text, system properties included. */
EMU_PRIVATE void emu_put_item(emu_text *out, const emu_container *container, const emu_item *item);

#endif
