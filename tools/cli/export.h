/* export.h: every item of a container. */
#ifndef CLI_EXPORT_H
#define CLI_EXPORT_H

#include "tool.h"

int export_items(tool *t);

#endif
