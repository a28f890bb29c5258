/* help.h: the commands, and what is said about them. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "tool.h"

extern const command commands[];
extern const unsigned command_count;

void help_on_command(const command *c);
void help_on_all(const char *group);
void print_manual(void);

#endif
