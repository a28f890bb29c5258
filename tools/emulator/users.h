/* users.h: users and permissions. */
#ifndef EMULATOR_USERS_H
#define EMULATOR_USERS_H

#include "exchange.h"

EMU_PRIVATE void emu_users_route(emu_exchange *x);
EMU_PRIVATE void emu_permissions_route(emu_exchange *x);

#endif
