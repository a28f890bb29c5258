/* explorer.h: the page by which a person looks into the emulator. */
#ifndef EMULATOR_EXPLORER_H
#define EMULATOR_EXPLORER_H

#include "exchange.h"

EMU_PRIVATE void emu_explorer(emu_exchange *x);

#endif
