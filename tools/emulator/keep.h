/* keep.h: changes go to who keeps them. */
#ifndef EMULATOR_KEEP_H
#define EMULATOR_KEEP_H

#include "exchange.h"

/* Numbers that a request draws from. */
typedef struct emu_counters { uint64_t etag; uint32_t database, offer, user; } emu_counters;

/* Which header makes a difference to what a request about anything but items stores; i from 0. */
#define EMU_KEPT_HEADERS 4
EMU_PRIVATE emu_header emu_kept_header(size_t i);

EMU_PRIVATE emu_counters emu_counters_of(const emu_store *store);
/* Notes a request about anything but items, which has been carried out; counters: from before. */
EMU_PRIVATE void emu_keep_request(emu_exchange *x, const emu_counters *counters);
/* Hands over what has changed since the last time. False: it could not be kept. */
EMU_PRIVATE bool emu_keep(emu_core *core);

#endif
