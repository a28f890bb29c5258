/* changes.h: the changes of a partition's items, in their order. */
#ifndef EMULATOR_CHANGES_H
#define EMULATOR_CHANGES_H

#include "resource.h"

typedef enum emu_event_kind { EMU_CREATED, EMU_REPLACED, EMU_DELETED } emu_event_kind;

struct emu_event {                                         /* followed by the partition's key and EPK */
    emu_event_kind kind;
    bool    expired;
    int64_t lsn, previous_lsn, ts;
    aioc_mem_buffer image;                                 /* the item's JSON: new, or the last one where deleted */
    size_t  key_len, epk_len;
};

/* False: no memory. */
EMU_PRIVATE bool emu_changes_gather(emu_store *store, emu_changes *changes, const emu_list *items);
/* The first change behind an LSN. */
EMU_PRIVATE uint32_t emu_changes_after(const emu_changes *changes, int64_t lsn);
EMU_PRIVATE void emu_changes_replace(emu_store *store, emu_changes *changes, const emu_item *old, emu_item *item);
EMU_PRIVATE void emu_changes_free(emu_store *store, emu_changes *changes);

/* A change is announced first, which may fail for want of memory (NULL), and then noted. deleted NULL: an item of so
 * many bytes will be stored. */
EMU_PRIVATE emu_event *emu_event_begin(emu_store *store, const emu_partition *partition, const emu_item *deleted,
                                       size_t text_len);
EMU_PRIVATE void emu_event_commit(emu_store *store, emu_range *range, emu_event *event, const emu_item *item,
                                  const emu_item *old, bool expired, int64_t now_ms);
EMU_PRIVATE aiocosmos_str emu_event_epk(const emu_event *event);

EMU_PRIVATE bool emu_events_reserve(emu_store *store, emu_events *events, size_t extra);
/* All that up to two partitions have noted, in the order of LSNs, to what comes of them. Room was made. */
EMU_PRIVATE void emu_events_move(emu_range *const *from, uint32_t count, emu_range *const *to, uint32_t to_count);
EMU_PRIVATE void emu_events_purge(emu_store *store, emu_range *range, int64_t now_ms);
EMU_PRIVATE void emu_events_retain(emu_store *store, emu_container *container, int64_t retention_s);
EMU_PRIVATE void emu_events_free(emu_store *store, emu_events *events);

#endif
