/* metrics.h: what the answer to a query says about itself. */
#ifndef EMULATOR_METRICS_H
#define EMULATOR_METRICS_H

#include "bill.h"

EMU_PRIVATE void emu_report(emu_exchange *x, emu_sql_query *query, const emu_work *work);

#endif
