/* program.c: the server around the core as one unit: see unit.c, with which it is linked. */
#include "pages.c"
#include "tls.c"
#include "data.c"
#include "server.c"
#include "main.c"
