/* auth.h: who may make a request. */
#ifndef EMULATOR_AUTH_H
#define EMULATOR_AUTH_H

#include "exchange.h"

/* The signature or token is good, or refused. */
EMU_PRIVATE bool emu_authorize(emu_exchange *x);
EMU_PRIVATE bool emu_token_make(emu_core *core, emu_text *out, aiocosmos_str link, bool all, aiocosmos_str key,
                                int64_t expires_s);

#endif
