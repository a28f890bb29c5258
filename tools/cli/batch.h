/* batch.h: a transaction. */
#ifndef CLI_BATCH_H
#define CLI_BATCH_H

#include "tool.h"

int batch(tool *t);

#endif
