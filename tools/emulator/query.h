/* query.h: routes of many items: feed and query. */
#ifndef EMULATOR_QUERY_H
#define EMULATOR_QUERY_H

#include "exchange.h"

/* A page of them, or as much of it as others can wait for: then x->job is left, to go on with by serving the request
 * again. */
EMU_PRIVATE void emu_query_items(emu_exchange *x, bool is_query);
EMU_PRIVATE void emu_job_free(emu_job *job);
/* How much of a page is done at a time, and at all; 0: as much as is good. */
EMU_PRIVATE void emu_pace(emu_core *core, uint64_t slice_steps, uint64_t page_steps);
#define EMU_INDEX_LEAST 1000
/* Scopes of so many items are looked up in an index where there can be one; UINT32_MAX: none is. */
EMU_PRIVATE void emu_index_scopes_of(emu_core *core, uint32_t items);

#endif
