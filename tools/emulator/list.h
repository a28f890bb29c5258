/* list.h: hash tables and lists of items. */
#ifndef EMULATOR_LIST_H
#define EMULATOR_LIST_H

#include "model.h"

/* Makes room for so many more. False: no memory. */
EMU_PRIVATE bool emu_table_reserve(aioc_mem *memory, emu_table *table, uint32_t extra);
EMU_PRIVATE void emu_table_add(emu_table *table, uint64_t hash, void *what);
EMU_PRIVATE void emu_table_remove(emu_table *table, uint64_t hash, const void *what);
/* What it has of this hash, one after the other: *at is 0 at first. NULL: no more. */
EMU_PRIVATE void *emu_table_find(const emu_table *table, uint64_t hash, uint32_t *at);
EMU_PRIVATE void emu_table_free(aioc_mem *memory, emu_table *table);

static inline uint32_t emu_table_home(const emu_table *table, uint64_t hash)
{
    return (uint32_t)((hash >> 32) * table->size >> 32);
}

/* It will be asked for this hash soon, and memory takes longer than what is done until then. Inline, because compilers
 * leave out calls of a function that has no other effect. */
static inline void emu_table_expect(const emu_table *table, uint64_t hash)
{
    if (table->size) __builtin_prefetch(&table->slot[emu_table_home(table, hash)]);
}

EMU_PRIVATE bool emu_list_reserve(aioc_mem *memory, emu_list *list, uint32_t extra);
/* Its slot; room was reserved. */
EMU_PRIVATE uint32_t emu_list_push(emu_list *list, emu_item *item);
EMU_PRIVATE void emu_list_remove(emu_list *list, uint32_t slot, bool of_partition);
/* The item of the least number, of those that slot[i] of each range and what follows it have; goes on behind it. NULL:
 * there is none. */
EMU_PRIVATE emu_item *emu_item_next(const emu_container *container, uint32_t *slot);
EMU_PRIVATE void emu_list_free(aioc_mem *memory, emu_list *list);
/* The slot of the first item behind a number; list->count: there is none. */
EMU_PRIVATE uint32_t emu_list_after(const emu_list *list, uint64_t number);

#endif
