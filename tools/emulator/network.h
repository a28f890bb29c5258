/* network.h: the core as the other end of whatever a client in this process connects to. */
#ifndef EMULATOR_NETWORK_H
#define EMULATOR_NETWORK_H

#include "exchange.h"

typedef struct emu_network emu_network;

EMU_PRIVATE void emu_network_close(emu_network *network);  /* may be NULL */

#endif
