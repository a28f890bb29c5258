/* state.h: how far a command has come, in a file of --state. */
#ifndef CLI_STATE_H
#define CLI_STATE_H

#include "tool.h"

/* The text that an earlier run has left, to be freed; NULL if there is no such file yet. False: said what is wrong. */
bool read_state(tool *t, char **state);
/* The old state is there until the new one is whole. */
bool write_state(tool *t, const char *state);

#endif
