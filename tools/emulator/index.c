/* index.c: the items of a container by what they have at a path: a skip list of keys (W. Pugh, 1990), whose links know
 * how many entries they pass, so that what lies between two keys is counted without being read.
 *
 * It is about the whole container: splits and merges make no difference to it. It is made when a path was asked for
 * twice, a part at a time; from there on each write keeps it. Where there is no memory for an entry the index is given
 * up, never the write. */
#include "index.h"
#include "list.h"

#include <string.h>

#define EMU_INDEXES_MAX 32                                 /* of a container */
#define EMU_ENTRY_STEPS 60                                 /* what it takes to add one, of some ten nanoseconds */

struct emu_entry {                                         /* followed by its links, then its key */
    emu_item *item;
    uint64_t number;
    emu_entry *before;
    uint8_t len, levels;
};

static emu_link *emu_entry_links(const emu_entry *entry)
{
    return (emu_link *)(uintptr_t)(entry + 1);
}

static size_t emu_entry_size(size_t levels, size_t len)
{
    return sizeof(emu_entry) + levels * sizeof(emu_link) + len;
}

aiocosmos_str emu_entry_key(const emu_entry *entry)
{
    return emu_str((const char *)(emu_entry_links(entry) + entry->levels), entry->len);
}

emu_item *emu_entry_item(const emu_entry *entry)
{
    return entry->item;
}

emu_entry *emu_entry_next(const emu_entry *entry)
{
    return emu_entry_links(entry)->entry;
}

emu_entry *emu_entry_before(const emu_entry *entry)
{
    return entry->before;
}

int emu_compare_keys(aiocosmos_str a, aiocosmos_str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/*------------------------------------------------------------------------------
 * MARK: - The list
 *----------------------------------------------------------------------------*/

/* Each fourth entry has another level. By its number, so that the same requests make the same list. */
static uint8_t emu_entry_levels(uint64_t number)
{
    uint64_t mixed = number * UINT64_C(0x9e3779b97f4a7c15);
    uint8_t levels = 1;
    mixed ^= mixed >> 29;
    mixed *= UINT64_C(0xbf58476d1ce4e5b9);
    mixed ^= mixed >> 32;
    for (; levels < EMU_INDEX_LEVELS && (mixed & 3) == 0; mixed >>= 2) levels++;
    return levels;
}

/* What leads to a place on each level, and how many entries are before it. */
typedef struct emu_way {
    emu_link *link[EMU_INDEX_LEVELS];
    uint32_t passed[EMU_INDEX_LEVELS];
    emu_entry *before;
} emu_way;

static void emu_find_way(const emu_index *index, aiocosmos_str key, uint64_t number, emu_way *way)
{
    emu_link *links = (emu_link *)(uintptr_t)index->first;
    uint32_t passed = 0;
    int level = EMU_INDEX_LEVELS;
    way->before = NULL;
    while (level-- > 0) {
        emu_entry *entry;
        while ((entry = links[level].entry) != NULL) {
            int order = emu_compare_keys(emu_entry_key(entry), key);
            if (order > 0 || (order == 0 && entry->number >= number)) break;
            passed += links[level].span;
            links = emu_entry_links(entry);
            way->before = entry;
        }
        way->link[level] = &links[level];
        way->passed[level] = passed;
    }
}

uint32_t emu_index_seek(const emu_index *index, aiocosmos_str key, uint64_t number, emu_entry **at, emu_entry **before)
{
    emu_way way;
    emu_find_way(index, key, number, &way);
    if (at) *at = way.link[0]->entry;
    if (before) *before = way.before;
    return way.passed[0];
}

static bool emu_index_add(emu_store *store, emu_index *index, emu_item *item, const unsigned char *key, size_t len)
{
    uint8_t levels = emu_entry_levels(item->number), level;
    emu_entry *entry = (emu_entry *)aioc_mem_alloc(&store->memory, emu_entry_size(levels, len)), *next;
    emu_link *links;
    emu_way way;
    if (!entry) return false;
    emu_find_way(index, emu_str((const char *)key, len), item->number, &way);
    entry->item = item;
    entry->number = item->number;
    entry->before = way.before;
    entry->len = (uint8_t)len;
    entry->levels = levels;
    links = emu_entry_links(entry);
    memcpy(links + levels, key, len);
    next = way.link[0]->entry;
    if (next) next->before = entry;
    for (level = 0; level < EMU_INDEX_LEVELS; level++) {
        uint32_t before = way.passed[0] - way.passed[level];
        if (level >= levels) {
            way.link[level]->span++;
            continue;
        }
        links[level].entry = way.link[level]->entry;       /* the last link's span reaches to the end */
        links[level].span = way.link[level]->span - before;
        way.link[level]->entry = entry;
        way.link[level]->span = before + 1;
    }
    return true;
}

/* The item's entry, where it has one. */
static emu_entry *emu_index_entry(const emu_index *index, const emu_item *item, const unsigned char *key, size_t len,
                                  emu_way *way)
{
    emu_entry *entry;
    emu_find_way(index, emu_str((const char *)key, len), item->number, way);
    entry = way->link[0]->entry;
    return entry && entry->number == item->number &&
           emu_compare_keys(emu_entry_key(entry), emu_str((const char *)key, len)) == 0 ? entry : NULL;
}

static void emu_entry_free(emu_store *store, emu_entry *entry)
{
    aioc_mem_free(&store->memory, entry, emu_entry_size(entry->levels, entry->len));
}

static void emu_index_remove(emu_store *store, emu_entry *entry, const emu_way *way)
{
    emu_link *links = emu_entry_links(entry);
    uint8_t level;
    if (links->entry) links->entry->before = entry->before;
    for (level = 0; level < EMU_INDEX_LEVELS; level++) {
        emu_link *link = way->link[level];
        if (level < entry->levels) {
            link->entry = links[level].entry;
            link->span += links[level].span;
        }
        link->span--;
    }
    emu_entry_free(store, entry);
}

/* Nothing is known of the path any more. */
static void emu_index_clear(emu_store *store, emu_index *index)
{
    emu_entry *entry = index->first->entry;
    while (entry) {
        emu_entry *next = emu_entry_next(entry);
        emu_entry_free(store, entry);
        entry = next;
    }
    memset(index->first, 0, sizeof index->first);
    index->ready = false;
    index->built = 0;
}

static void emu_index_give_up(emu_store *store, emu_index *index)
{
    emu_index_clear(store, index);
    index->excluded = true;
}

/*------------------------------------------------------------------------------
 * MARK: - Keys of items
 *----------------------------------------------------------------------------*/

/* An item's text, parsed. False: no memory. */
static bool emu_parse_item(emu_store *store, const emu_item *item)
{
    aiocosmos_str text = emu_item_own(item);
    return aioc_json_parse(&store->index_doc, text.ptr, text.len) == 0;
}

static bool emu_is_parsed_for(const char *path)
{
    return strcmp(path, "/id") != 0 && strcmp(path, "/_ts") != 0;
}

/* What is needed of the text was parsed. */
static size_t emu_index_key(const emu_store *store, const char *path, const emu_item *item,
                           unsigned char out[EMU_SQL_KEY_MAX])
{
    if (strcmp(path, "/id") == 0) return emu_sql_string_key(emu_item_id_of(item), out);
    if (strcmp(path, "/_ts") == 0) return emu_sql_number_key(item->ts, out);
    return emu_sql_key_of(aioc_json_root(&store->index_doc), path, out);
}

/*------------------------------------------------------------------------------
 * MARK: - Made, and kept
 *----------------------------------------------------------------------------*/

static bool emu_index_take(emu_store *store, emu_index *index, emu_item *item)
{
    unsigned char key[EMU_SQL_KEY_MAX];
    return (!emu_is_parsed_for(index->path) || emu_parse_item(store, item)) &&
           emu_index_add(store, index, item, key, emu_index_key(store, index->path, item, key));
}

bool emu_index_build(emu_store *store, emu_container *container, emu_index *index, uint64_t *steps)
{
    const size_t size = container->range_count * sizeof(uint32_t);
    uint32_t *slot = (uint32_t *)aioc_mem_alloc(&store->memory, size), i;
    emu_item *item = NULL;
    for (i = 0; slot && i < container->range_count; i++)
        slot[i] = emu_list_after(&container->range[i]->items, index->built);
    while (slot && *steps > 0 && (item = emu_item_next(container, slot)) != NULL) {
        uint64_t spent = EMU_ENTRY_STEPS + item->text_len / 32;
        *steps = *steps > spent ? *steps - spent : 0;
        if (!emu_index_take(store, index, item)) break;
        index->built = item->number;
    }
    index->ready = slot && *steps > 0 && !item;
    if (!slot || (item && index->built != item->number)) emu_index_give_up(store, index);
    aioc_mem_free(&store->memory, slot, size);
    return index->ready;
}

static bool emu_index_has(const emu_index *index, uint64_t number)
{
    return !index->excluded && (index->ready || number <= index->built);
}

/* Takes the old item's entry out, or gives it to the new one if that has the same key. */
static void emu_index_change_entry(emu_store *store, emu_index *index, const unsigned char *old_key, size_t old_len,
                                   const emu_item *old, emu_item *item)
{
    unsigned char key[EMU_SQL_KEY_MAX];
    size_t len = item ? emu_index_key(store, index->path, item, key) : 0;
    emu_way way;
    emu_entry *entry = old ? emu_index_entry(index, old, old_key, old_len, &way) : NULL;
    if (entry && len == old_len && memcmp(key, old_key, len) == 0) {
        entry->item = item;
        return;
    }
    if (entry) emu_index_remove(store, entry, &way);
    if (item && !emu_index_add(store, index, item, key, len)) emu_index_give_up(store, index);
}

/* The keys of the old one are taken first: only one text is parsed at a time. */
void emu_index_change(emu_store *store, emu_container *container, const emu_item *old, emu_item *item)
{
    unsigned char keys[EMU_INDEXES_MAX][EMU_SQL_KEY_MAX];
    size_t len[EMU_INDEXES_MAX], i;
    uint64_t number = item ? item->number : old->number;
    emu_index *index;
    bool parsed = false, ok = true;
    for (index = container->indexes; index; index = index->next)
        if (emu_index_has(index, number) && emu_is_parsed_for(index->path)) parsed = true;
    if (old && parsed) ok = emu_parse_item(store, old);
    for (index = container->indexes, i = 0; ok && old && index; index = index->next, i++)
        if (emu_index_has(index, number)) len[i] = emu_index_key(store, index->path, old, keys[i]);
    if (ok && item && parsed) ok = emu_parse_item(store, item);
    for (index = container->indexes, i = 0; index; index = index->next, i++) {
        if (!emu_index_has(index, number)) continue;
        if (ok) emu_index_change_entry(store, index, keys[i], old ? len[i] : 0, old, item);
        else emu_index_give_up(store, index);
    }
}

emu_index *emu_index_find(emu_store *store, emu_container *container, const char *path, bool *made)
{
    emu_index **at = &container->indexes, *index;
    int count = 0;
    *made = false;
    for (; (index = *at) != NULL; at = &index->next, count++)
        if (strcmp(index->path, path) == 0) return index;
    if (count == EMU_INDEXES_MAX) return NULL;
    index = (emu_index *)aioc_mem_zalloc(&store->memory, sizeof *index);
    if (!index) return NULL;
    memcpy(index->path, path, strlen(path) + 1);
    *at = index;
    *made = true;
    return index;
}

void emu_indexes_clear(emu_store *store, emu_container *container)
{
    emu_index *index = container->indexes;
    for (; index; index = index->next) {
        emu_index_clear(store, index);
        index->uses = 0;
        index->excluded = false;
    }
}

void emu_indexes_free(emu_store *store, emu_container *container)
{
    while (container->indexes) {
        emu_index *index = container->indexes;
        container->indexes = index->next;
        emu_index_clear(store, index);
        aioc_mem_free(&store->memory, index, sizeof *index);
    }
}
