/* routes.h: which request goes where. */
#ifndef EMULATOR_ROUTES_H
#define EMULATOR_ROUTES_H

#include "fault.h"

/* Carries a request out: x has the answer, and *fault what is to become of it. Or x->job is left: then the request is
 * to be served again, with the same fault, to go on with it. */
EMU_PRIVATE void emu_serve(emu_exchange *x, emu_core *core, const emu_request *request, emu_job *job,
                           emu_fault **fault);

/* Carries out again what is not about items, without asking who may. False: it was refused. */
EMU_PRIVATE bool emu_restore_request(emu_exchange *x, emu_core *core, const emu_request *request);
/* Before items are restored: a request about nothing. */
EMU_PRIVATE void emu_restore_begin(emu_exchange *x, emu_core *core);

#endif
