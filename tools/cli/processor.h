/* processor.h: a change feed that several tools share. */
#ifndef CLI_PROCESSOR_H
#define CLI_PROCESSOR_H

#include "tool.h"

/* Until Ctrl-C. Of the request count the containers, where it starts, which versions, and the size of a page. */
int process_changes(tool *t, const aiocosmos_changes_request *request);

#endif
