/* bind.h: what comes with the text of a query, and names bound. Its interface is in sql.h: emu_sql_prepare and what is
 * asked of a prepared query. */
#ifndef EMULATOR_SQL_BIND_H
#define EMULATOR_SQL_BIND_H

#include "parse.h"

#endif
