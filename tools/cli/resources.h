/* resources.h: stored procedures, triggers and functions of a container; users of a database, and what they may. */
#ifndef CLI_RESOURCES_H
#define CLI_RESOURCES_H

#include "tool.h"

int resource_list(tool *t);
/* Of show and delete. */
int resource_by_id(tool *t);
/* Of create and replace, the JavaScript of a file. */
int script_write(tool *t);
int procedure_run(tool *t);
int user_create(tool *t);
int permission_create(tool *t);

#endif
