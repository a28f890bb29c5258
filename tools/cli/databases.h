/* databases.h: databases and containers. */
#ifndef CLI_DATABASES_H
#define CLI_DATABASES_H

#include "tool.h"

int account(tool *t);
int db_list(tool *t);
int db_create(tool *t);
int container_list(tool *t);
int container_create(tool *t);
int container_show(tool *t);
int container_replace(tool *t);
int delete_whole(tool *t);

#endif
