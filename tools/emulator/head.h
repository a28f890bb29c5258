/* head.h: the head of a request, as HTTP/1.1 has it. */
#ifndef EMULATOR_HEAD_H
#define EMULATOR_HEAD_H

#include "request.h"

#define EMU_NAME_SLOTS 256u                                /* of a table of the headers' names */

typedef struct emu_span { uint32_t at, len; } emu_span;

/* A head as far as it has been read: places in its bytes, which may lie elsewhere when more of them have come. All
 * zeros: nothing yet. */
typedef struct emu_head {
    size_t scan, line;                                     /* where reading goes on, and where that line begins */
    uint32_t lines;
    int minor;                                             /* HTTP/1.minor */
    int refused;                                           /* 0, or with which status, */
    const char *why;                                       /* and why */
    uint64_t given;                                        /* a bit for each header that is there */
    emu_span verb, target, header[EMU_H_COUNT];
} emu_head;

EMU_PRIVATE void emu_head_names(uint8_t slots[EMU_NAME_SLOTS]);
/* Reads on. The length of the head, its empty line included; 0: there is more to come, or it is refused. */
EMU_PRIVATE size_t emu_head_read(emu_head *head, const uint8_t slots[EMU_NAME_SLOTS], const char *data, size_t len);
/* ptr NULL: it is not there. */
EMU_PRIVATE aiocosmos_str emu_head_header(const emu_head *head, const char *data, emu_header header);
/* All but the body. */
EMU_PRIVATE void emu_head_request(const emu_head *head, const char *data, emu_request *request);

#endif
