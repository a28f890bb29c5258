/* control.h: what only an emulator has: /_emulator/. */
#ifndef EMULATOR_CONTROL_H
#define EMULATOR_CONTROL_H

#include "exchange.h"

EMU_PRIVATE void emu_control_route(emu_exchange *x);
/* A browser that opens the address which the emulator prints goes on to the explorer: no client asks for a page. */
EMU_PRIVATE bool emu_sends_to_page(emu_exchange *x);

#endif
