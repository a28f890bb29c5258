/* journal.h: what is kept of changes, so that they can be carried out again (restore.c): records, those of a whole
 * request in one frame. */
#ifndef EMULATOR_JOURNAL_H
#define EMULATOR_JOURNAL_H

#include "resource.h"

/* The file's first bytes. Then frames: the length of the records (4), its hash (4), theirs (4), the records. A length
 * that is wrong would look like the end of the file. */
#define EMU_JOURNAL_HEAD  "aiocosmos-emulator data 2\n"
#define EMU_FRAME_HEAD    12u

/* Numbers are little-endian. A container is four bytes, the last of its _rid. Where a file was written anew, requests,
 * reshapings and whatever came to containers that keep all versions come first, in their order, then the items that are
 * left of the others, in that of their numbers, each as it is, then where those containers and ETags go on. */
typedef enum emu_record {
    EMU_RECORD_ITEM = 'I',        /* container, number (8), ETag (8), time in s (8), text (4 and so many) */
    EMU_RECORD_REMOVAL = 'D',     /* container, number (8), time in ms (8), expired (1) */
    EMU_RECORD_SETTLED = 'K',     /* as of an item, then LSN (8), ttl (4), text (4 and so many) */
    EMU_RECORD_POSITION = 'C',    /* container, its last number (8), ranges (4), of each the LSN (8) */
    EMU_RECORD_ETAG = 'S',        /* the last one (8) */
    EMU_RECORD_RESHAPING = 'R',   /* container, next range (4), at (4), gone (4), cut (8) */
    EMU_RECORD_REQUEST = 'M'      /* time in ms (8), next ETag (8), next database, offer, user, partitions (4 each),
                                   * verb (4), then target, body, and the headers that matter (4 and so many each) */
} emu_record;

/* False: nothing is kept. */
EMU_PRIVATE bool emu_journal_begin(emu_store *store, emu_record record);
/* The same, of a container that is no shadow. */
EMU_PRIVATE bool emu_journal_of(emu_store *store, const emu_container *container, emu_record record);
EMU_PRIVATE void emu_journal_settled(emu_store *store, const emu_container *container, const emu_item *item);
EMU_PRIVATE void emu_journal_item(emu_store *store, const emu_container *container, const emu_item *item);
EMU_PRIVATE void emu_journal_removal(emu_store *store, const emu_container *container, uint64_t number, bool expired,
                                     int64_t now_ms);
EMU_PRIVATE void emu_journal_reshaping(emu_store *store, const emu_container *container, uint32_t next_range,
                                       uint32_t at, uint32_t gone, uint64_t cut);
EMU_PRIVATE void emu_put_u32(emu_text *out, uint32_t number);
EMU_PRIVATE void emu_put_u64(emu_text *out, uint64_t number);
EMU_PRIVATE void emu_put_counted(emu_text *out, aiocosmos_str bytes);

#endif
