/* account.h: which account. */
#ifndef CLI_ACCOUNT_H
#define CLI_ACCOUNT_H

#include "tool.h"

/* They return the exit status. */
int open_client(tool *t);
/* The account of --to-...; where there is none, the client stays the one that there is. */
int open_target(tool *t);

#endif
