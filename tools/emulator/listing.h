/* listing.h: lists of anything but items, with or without a query. */
#ifndef EMULATOR_LISTING_H
#define EMULATOR_LISTING_H

#include "exchange.h"
#include "sql/sql.h"

typedef struct emu_listing {
    emu_exchange *x;
    emu_sql_query *query;
    emu_sql_run *run;
    int64_t skip, max, rows;
    bool more;
} emu_listing;
EMU_PRIVATE bool emu_listing_begin(emu_listing *listing, emu_exchange *x, const char *array, const char *rid);
EMU_PRIVATE void emu_listing_add(emu_listing *listing, aiocosmos_str text);
EMU_PRIVATE void emu_listing_end(emu_listing *listing);

#endif
