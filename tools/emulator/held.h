/* held.h: rows of a query that has to make all of them before it gives the first. */
#ifndef EMULATOR_HELD_H
#define EMULATOR_HELD_H

#include "page.h"

EMU_PRIVATE bool emu_held_page(emu_exchange *x, const emu_scope *scope, emu_position *position,
                               const emu_sql_query *query, emu_page *page, emu_scan *scan);
EMU_PRIVATE void emu_held_forget(emu_core *core, const emu_container *container);

#endif
