/* same.h: whether two documents are the same one. */
#ifndef CLI_SAME_H
#define CLI_SAME_H

#include "tool.h"

typedef enum likeness { SAME, DIFFERENT, UNKNOWN /* no memory */ } likeness;

/* By value: layout, escapes, the order of properties and how a number is written make no difference, and nor does what
 * the service adds. */
likeness same_document(aiocosmos_json a, aiocosmos_json b);

#endif
