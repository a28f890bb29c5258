/* bill.h: what queries cost in request units, and which of them the container's indexes allow. */
#ifndef EMULATOR_BILL_H
#define EMULATOR_BILL_H

#include "exchange.h"
#include "sql/sql.h"

#define EMU_BILL_CONJUNCTS 64
#define EMU_RU_DELETE  5.7
#define EMU_RU_REFUSED 1.24                                /* a write whose item is there, is not, or is another */

/* What the service's index does for a query, whether or not this emulator has made one. */
typedef struct emu_bill {
    bool counted;                                          /* served is for emu_sql_count_reads */
    bool served[EMU_BILL_CONJUNCTS];
    bool ordered;                                          /* the rows of ORDER BY come in its order */
    bool only;                                             /* no document is read */
    int64_t skipped;                                       /* rows before the first: OFFSET */
} emu_bill;

/* What a page took. */
typedef struct emu_work { uint64_t documents, document_bytes, rows, row_bytes; } emu_work;

/* False: the container's policy has no index for its ORDER BY, and it is refused. */
EMU_PRIVATE bool emu_bill_open(emu_exchange *x, emu_sql_query *query, emu_bill *bill);
/* bill NULL: a feed. first: the first page. */
EMU_PRIVATE double emu_bill_page(const emu_bill *bill, const emu_work *work, bool first);
EMU_PRIVATE double emu_bill_read(size_t bytes);            /* an item by its id */
EMU_PRIVATE double emu_bill_write(size_t bytes);

#endif
