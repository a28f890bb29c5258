/* batch.h: many operations on items in one request. */
#ifndef EMULATOR_BATCH_H
#define EMULATOR_BATCH_H

#include "exchange.h"

EMU_PRIVATE void emu_batch(emu_exchange *x);

#endif
