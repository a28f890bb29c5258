/* query.h: routes of many items: feed and query. */
#ifndef EMULATOR_QUERY_H
#define EMULATOR_QUERY_H

#include "exchange.h"

EMU_PRIVATE void emu_query_items(emu_exchange *x, bool is_query);

#endif
