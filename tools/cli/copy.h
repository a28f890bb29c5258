/* copy.h: the items of a container, into another one. */
#ifndef CLI_COPY_H
#define CLI_COPY_H

#include "tool.h"

int copy(tool *t);

#endif
