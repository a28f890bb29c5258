/* The implementation, and what of its inside the tests that share it want. */
#define CLIENT_SHARED
#include "tests/client_inside.h"
