/* scope.h: which items a request is about, and how many of them it wants. */
#ifndef EMULATOR_SCOPE_H
#define EMULATOR_SCOPE_H

#include "exchange.h"
#include "sql/sql.h"

#define EMU_PAGE_MOST 10000                                /* rows */

typedef struct emu_scope {
    bool whole_key, prefix;                                /* the items of one key; or of all keys that begin so */
    const emu_key *key;
    emu_range *only;                                       /* by partition key range id */
    aiocosmos_str min, max;                                /* part of the key space; max.len 0: all of it */
} emu_scope;

/* Or refused. query NULL: a feed. */
EMU_PRIVATE bool emu_find_scope(emu_exchange *x, const emu_sql_query *query, emu_scope *scope);
EMU_PRIVATE bool emu_in_scope(const emu_scope *scope, const emu_item *item);
/* What x-ms-max-item-count says, or refused. */
EMU_PRIVATE bool emu_page_size(emu_exchange *x, int64_t *max);

#endif
