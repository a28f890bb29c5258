/* remove.h: the items of a condition or of a partition key are deleted. */
#ifndef CLI_REMOVE_H
#define CLI_REMOVE_H

#include "tool.h"

int delete_items(tool *t);

#endif
