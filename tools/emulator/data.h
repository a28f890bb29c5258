/* data.h: the file that keeps what an emulator has. */
#ifndef EMULATOR_DATA_H
#define EMULATOR_DATA_H

#include "aiocosmos_emulator.h"
#include "base.h"

typedef struct server_data {
    const char *path;
    int fd;
    bool sync;                                             /* each change is on the disk before it is answered */
    bool failed;                                           /* and it was said */
} server_data;

/* Opened, and for nobody else meanwhile. False: why not has been said. */
EMU_PRIVATE bool server_data_open(server_data *data, const char *path, bool sync);
/* Brings back what is in it, cuts off a torn end, and writes it anew where less would do. False: why not was said. */
EMU_PRIVATE bool server_data_restore(server_data *data, aiocosmos_emulator *emulator);
/* For aiocosmos_emulator_options.keep. */
EMU_PRIVATE bool server_data_keep(void *user_data, const void *bytes, size_t len);
EMU_PRIVATE void server_data_close(server_data *data);

#endif
