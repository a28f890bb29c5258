/* lookup.h: the items that a query has to look at, found by an index. */
#ifndef EMULATOR_LOOKUP_H
#define EMULATOR_LOOKUP_H

#include "scope.h"

/* What is found is lent by the container, and looked up anew where that has changed. */
typedef struct emu_lookup {
    bool noted, chosen;
    emu_index *index;                                      /* NULL: all items of the scope are read */
    const emu_sql_condition *condition;                    /* of its keys; NULL: any, in their order */
    emu_list found;                                        /* in the order of numbers */
    uint64_t changes;                                      /* of the container, when these were looked up */
    bool current;
    /* In the order of keys, and of numbers where they are the same: those found are a part. */
    bool walks, descending, through;                       /* through: there are none behind them */
    bool alone;                                            /* ORDER BY has no further keys */
    unsigned char from[EMU_SQL_KEY_MAX], next[EMU_SQL_KEY_MAX];
    size_t from_len, next_len;                             /* from_len 0: from the first, descending the last */
    uint64_t from_number, next_number;
    uint32_t part;                                         /* how many items make one */
} emu_lookup;

/* Chooses an index, and makes it where that is due: false: that takes more than these steps. count: this request counts
 * as having asked for its paths. rows: so many rows are wanted, -1: all; sorted: these are the first of ORDER BY. */
EMU_PRIVATE bool emu_lookup_choose(emu_exchange *x, emu_lookup *lookup, const emu_sql_shape *shape,
                                   const emu_scope *scope, bool count, int64_t rows, bool sorted, uint64_t *steps);
/* Sees to it that what is found holds, where there is an index: after: of numbers behind this one. False: no memory, or
 * the index is gone; then there is none. */
EMU_PRIVATE bool emu_lookup_refresh(emu_exchange *x, emu_lookup *lookup, const emu_scope *scope, uint64_t after);
/* Goes on to the next part. False: there is none. */
EMU_PRIVATE bool emu_lookup_next(emu_lookup *lookup);
EMU_PRIVATE void emu_lookup_free(emu_store *store, emu_lookup *lookup);

#endif
