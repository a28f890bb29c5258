/* plan.h: routes of query plans. */
#ifndef EMULATOR_PLAN_H
#define EMULATOR_PLAN_H

#include "exchange.h"
#include "sql/sql.h"

/* For this container. */
EMU_PRIVATE void emu_define_query(emu_exchange *x, emu_sql_query *query);
EMU_PRIVATE void emu_query_plan(emu_exchange *x);
/* Always false. */
EMU_PRIVATE bool emu_refuse_with_plan(emu_exchange *x, const emu_sql_query *query);

#endif
