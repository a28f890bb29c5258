/* items.h: single items. */
#ifndef CLI_ITEMS_H
#define CLI_ITEMS_H

#include "tool.h"

int item_write(tool *t);
int item_by_id(tool *t);

#endif
