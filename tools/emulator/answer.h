/* answer.h: an exchange as the bytes of its answer. */
#ifndef EMULATOR_ANSWER_H
#define EMULATOR_ANSWER_H

#include "exchange.h"

EMU_PRIVATE void emu_answer_write(emu_text *out, emu_exchange *x, bool chunked);

#endif
