/* http.h: one connection. */
#ifndef EMULATOR_HTTP_H
#define EMULATOR_HTTP_H

#include "exchange.h"

EMU_PRIVATE void emu_http_init(emu_core *core);

#endif
