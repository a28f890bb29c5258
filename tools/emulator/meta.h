/* meta.h: everything but items. */
#ifndef EMULATOR_META_H
#define EMULATOR_META_H

#include "exchange.h"

EMU_PRIVATE void emu_meta_route(emu_exchange *x);

#endif
