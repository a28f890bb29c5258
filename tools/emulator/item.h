/* item.h: one item at a time. */
#ifndef EMULATOR_ITEM_H
#define EMULATOR_ITEM_H

#include "exchange.h"

/* On one item, as x->kind says. */
EMU_PRIVATE void emu_item_operation(emu_exchange *x);
EMU_PRIVATE void emu_delete_key(emu_exchange *x);
/* An item as it was stored once. False: refused. */
typedef struct emu_kept_item {
    aiocosmos_str text;
    uint64_t number, etag;
    int64_t ts;
    bool settled;                                          /* no change, but what became of it, with these: */
    int64_t lsn;
    int32_t ttl;
} emu_kept_item;
EMU_PRIVATE bool emu_restore_item(emu_exchange *x, const emu_kept_item *kept);

#endif
