/* feed.h: the route of the change feed. */
#ifndef EMULATOR_FEED_H
#define EMULATOR_FEED_H

#include "exchange.h"

EMU_PRIVATE void emu_change_feed(emu_exchange *x);

#endif
