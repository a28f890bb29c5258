/* base.h: what every file of the emulator's core has. */
#ifndef EMULATOR_BASE_H
#define EMULATOR_BASE_H

#define AIOCOSMOS_STATIC
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"

/* What one file offers the others. They are compiled as one (unit.c) and so are private to that, which leaves a program
 * that links it its names. */
#ifndef EMU_PRIVATE
#define EMU_PRIVATE static
#endif

#endif
