/* held.h: rows of a query that has to make all of them before it gives the first. */
#ifndef EMULATOR_HELD_H
#define EMULATOR_HELD_H

#include "page.h"

/* A slice of a page. False: refused. */
EMU_PRIVATE bool emu_held_page(emu_exchange *x, const emu_scope *scope, emu_job *job);
EMU_PRIVATE void emu_held_forget(emu_core *core, const emu_container *container);
EMU_PRIVATE void emu_held_forget_old(emu_core *core);      /* that nobody has asked for a while */
EMU_PRIVATE void emu_held_free(emu_store *store, emu_held *held);

#endif
