/* metrics.h: what the answer to a query says about itself. */
#ifndef EMULATOR_METRICS_H
#define EMULATOR_METRICS_H

#include "exchange.h"
#include "sql/sql.h"

/* What a page of a query took. */
typedef struct emu_work { uint64_t documents, document_bytes, rows, row_bytes; } emu_work;

EMU_PRIVATE void emu_report(emu_exchange *x, const emu_sql_query *query, const emu_work *work);

#endif
