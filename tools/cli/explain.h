/* explain.h: how a query was answered. */
#ifndef CLI_EXPLAIN_H
#define CLI_EXPLAIN_H

#include "tool.h"

void explain(tool *t, aiocosmos_cursor query);

#endif
