/* pages.h: the server's memory. */
#ifndef EMULATOR_PAGES_H
#define EMULATOR_PAGES_H

#include "base.h"

/* For aiocosmos_emulator_options.allocate. */
EMU_PRIVATE void *server_allocate(void *ptr, size_t old_size, size_t new_size, void *user_data);

#endif
