/* control.h: what only an emulator has: /_emulator/. */
#ifndef EMULATOR_CONTROL_H
#define EMULATOR_CONTROL_H

#include "exchange.h"

EMU_PRIVATE void emu_control_route(emu_exchange *x);

#endif
