/* bind.h: what comes with the text of a query, and names bound. Its interface is in sql.h: emu_sql_prepare and what is
 * asked of a prepared query. */
#ifndef EMULATOR_SQL_BIND_H
#define EMULATOR_SQL_BIND_H

#include "parse.h"

/* The document's part of a _rid: the last 8 of 16 bytes, in base64 with '-' for '/'. False: it is none. */
EMU_PRIVATE bool sql_rid_document(aiocosmos_str rid, uint64_t *document);

#endif
