/* throughput.h: request units a second, of a database or a container. */
#ifndef CLI_THROUGHPUT_H
#define CLI_THROUGHPUT_H

#include "tool.h"

/* Whether the service has such request units at all; said of `name` if not. 0: none are wanted. */
bool are_units(tool *t, const char *name, long units, bool autoscale);
int throughput_show(tool *t);
int throughput_set(tool *t);
int throughput_autoscale(tool *t);

#endif
