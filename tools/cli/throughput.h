/* throughput.h: request units a second, of a database or a container. */
#ifndef CLI_THROUGHPUT_H
#define CLI_THROUGHPUT_H

#include "tool.h"

int throughput_show(tool *t);
int throughput_set(tool *t);
int throughput_autoscale(tool *t);

#endif
