/* import.h: every line of a file. */
#ifndef CLI_IMPORT_H
#define CLI_IMPORT_H

#include "tool.h"

int import(tool *t);
void import_prepare(aiocosmos_options *o);

#endif
