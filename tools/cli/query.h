/* query.h: queries. */
#ifndef CLI_QUERY_H
#define CLI_QUERY_H

#include "tool.h"

int query(tool *t);
int count(tool *t);

#endif
