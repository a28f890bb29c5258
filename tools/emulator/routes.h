/* routes.h: which request goes where. */
#ifndef EMULATOR_ROUTES_H
#define EMULATOR_ROUTES_H

#include "fault.h"

/* Carries a request out: x has the answer, and *fault what is to become of it. */
EMU_PRIVATE void emu_serve(emu_exchange *x, emu_core *core, const emu_request *request, emu_fault **fault);

#endif
