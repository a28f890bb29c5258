/* range.h: physical partitions: their borders, how one becomes two and two become one. */
#ifndef EMULATOR_RANGE_H
#define EMULATOR_RANGE_H

#include "changes.h"
#include "journal.h"

EMU_PRIVATE bool emu_make_ranges(emu_store *store, emu_container *container, uint32_t count);
EMU_PRIVATE void emu_free_ranges(emu_store *store, emu_container *container);
/* container->range_count: there is none of that name. */
EMU_PRIVATE uint32_t emu_range_index(const emu_container *container, aiocosmos_str id);
EMU_PRIVATE emu_range *emu_range_of(const emu_container *container, aiocosmos_str epk);
/* Is being split or merged. */
EMU_PRIVATE bool emu_range_moves(const emu_range *range);

/* Before each request to a container: goes on with a split or merge, and begins one by chance where that is asked for.
 * Pointers to partitions do not outlive it. */
EMU_PRIVATE void emu_ranges_tick(emu_store *store, emu_container *container);
/* gone 1: a split in the middle; 2: a merge with the right neighbour. range_id NULL: of the first. The first `busy`
 * requests that name it are refused with that sub-status. False: there is none of that name, or no neighbour. */
EMU_PRIVATE bool emu_reshape_named(emu_store *store, const char *database, const char *container, const char *range_id,
                                   uint32_t gone, uint32_t busy, int sub_status);
/* Puts two partitions in the place of the one at an index, cut at a point of the hashes (gone 1), or one in the place
 * of it and its right neighbour (gone 2). False: no memory, or too many ancestors, and nothing has changed. */
EMU_PRIVATE bool emu_reshape(emu_store *store, emu_container *container, uint32_t at, uint32_t gone, uint64_t cut);
/* Fills in defaults; NULL: nothing is wrong. */
EMU_PRIVATE const char *emu_shuffle_wrong(emu_shuffle *shuffle);

#endif
