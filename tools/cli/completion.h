/* completion.h: what a shell needs to complete command lines. */
#ifndef CLI_COMPLETION_H
#define CLI_COMPLETION_H

#include "tool.h"

/* A script for bash, to stdout. */
void print_completion(const command *commands, unsigned count);

#endif
