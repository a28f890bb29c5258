/* index.h: the items of a container by what they have at a path. */
#ifndef EMULATOR_INDEX_H
#define EMULATOR_INDEX_H

#include "resource.h"
#include "sql/sql.h"

#define EMU_INDEX_LEVELS 12

typedef struct emu_entry emu_entry;                        /* of one item */
typedef struct emu_link { emu_entry *entry; uint32_t span; } emu_link;     /* and how many entries on that is */

/* Queries have asked for this path so many times. It lives as long as its container. */
struct emu_index {
    emu_index *next;
    char path[EMU_SQL_PATH_MAX];
    uint32_t uses;
    bool excluded;                                         /* by the indexing policy, or there was no memory */
    bool ready;
    uint64_t built;                                        /* while it is made: it has the items up to this number */
    emu_link first[EMU_INDEX_LEVELS];
};

/* NULL: there are too many, or no memory. A new one is not excluded. */
EMU_PRIVATE emu_index *emu_index_find(emu_store *store, emu_container *container, const char *path, bool *made);
/* Goes on to make it, for so many steps, which it counts down. False: there is more to do, or no memory for it; then it
 * is excluded. */
EMU_PRIVATE bool emu_index_build(emu_store *store, emu_container *container, emu_index *index, uint64_t *steps);
/* Of a container that has indexes: an item takes the place of another; either may be NULL. */
EMU_PRIVATE void emu_index_change(emu_store *store, emu_container *container, const emu_item *old, emu_item *item);
/* They are made anew when they are asked for. */
EMU_PRIVATE void emu_indexes_clear(emu_store *store, emu_container *container);
EMU_PRIVATE void emu_indexes_free(emu_store *store, emu_container *container);

/* Entries sort by key, then by the item's number. */
EMU_PRIVATE aiocosmos_str emu_entry_key(const emu_entry *entry);
EMU_PRIVATE emu_item *emu_entry_item(const emu_entry *entry);
EMU_PRIVATE emu_entry *emu_entry_next(const emu_entry *entry);
EMU_PRIVATE emu_entry *emu_entry_before(const emu_entry *entry);
/* The first one that does not sort before these, or NULL; and the last that does. Returns how many do. */
EMU_PRIVATE uint32_t emu_index_seek(const emu_index *index, aiocosmos_str key, uint64_t number, emu_entry **at,
                                    emu_entry **before);
EMU_PRIVATE int emu_compare_keys(aiocosmos_str a, aiocosmos_str b);

#endif
