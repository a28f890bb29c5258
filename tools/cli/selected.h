/* selected.h: the names that a query gives to what it selects. */
#ifndef CLI_SELECTED_H
#define CLI_SELECTED_H

#include "tool.h"

/* Calls back for each expression of the SELECT list that has a name: by AS, or as a path, whose last step it is. "*",
 * VALUE, and what the service would number ($1), have none. */
void selected_names(const char *sql, void (*name)(void *user_data, aiocosmos_str name), void *user_data);

#endif
