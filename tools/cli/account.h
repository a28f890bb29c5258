/* account.h: which account. */
#ifndef CLI_ACCOUNT_H
#define CLI_ACCOUNT_H

#include "tool.h"

/* Returns the exit status. */
int open_client(tool *t);

#endif
