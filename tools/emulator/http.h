/* http.h: one connection. */
#ifndef EMULATOR_HTTP_H
#define EMULATOR_HTTP_H

#include "exchange.h"

#endif
