/* changes.h: what was created and changed in a container. */
#ifndef CLI_CHANGES_H
#define CLI_CHANGES_H

#include "tool.h"

int changes(tool *t);

#endif
