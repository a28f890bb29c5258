/* item.h: one item at a time. */
#ifndef EMULATOR_ITEM_H
#define EMULATOR_ITEM_H

#include "exchange.h"

/* On one item, as x->kind says. */
EMU_PRIVATE void emu_item_operation(emu_exchange *x);
EMU_PRIVATE void emu_delete_key(emu_exchange *x);

#endif
