/* describe.h: what the items of a container look like. */
#ifndef CLI_DESCRIBE_H
#define CLI_DESCRIBE_H

#include "tool.h"

int container_describe(tool *t);

#endif
