/* shell.h: the same commands, one after the other. */
#ifndef CLI_SHELL_H
#define CLI_SHELL_H

#include "tool.h"

int shell(tool *t);

#endif
