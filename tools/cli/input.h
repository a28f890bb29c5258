/* input.h: bytes on their way in, read without ever waiting for them, in a buffer of bounded size. */
#ifndef CLI_INPUT_H
#define CLI_INPUT_H

#include "io.h"

#ifndef INPUT_READ_BYTES
#define INPUT_READ_BYTES (64 * 1024)
#endif

typedef struct input {
    int fd;
    bool is_file;                          /* always readable, and its size is known */
    uint64_t size, bytes_read;
    char *buffer;                          /* of DOCUMENT_BYTES_MAX + 1 + INPUT_READ_BYTES */
    size_t begin, end;                     /* of what has been read and not been taken */
    bool marked;                           /* a byte order mark, if there was one, is behind us */
    bool ended;
    const char *fault;                     /* why it cannot be read; NULL: it can */
} input;

typedef enum taken {
    TAKEN_DOCUMENT,
    TAKEN_NONE_YET,                        /* the input has nothing more now */
    TAKEN_END,
    TAKEN_ERROR                            /* it cannot be read, or what follows makes no sense, as document.why says */
} taken;

/* Valid until the next one is taken. */
typedef struct document {
    aiocosmos_str text;                    /* of what is no document, as it is */
    uint64_t too_long;                     /* the length of one that is too long to keep; then there is no text */
    const char *why;                       /* it is known to be none; NULL: it may be one */
    uint64_t line;                         /* where it begins; 0: it cannot be read */
    uint64_t element;                      /* its place in a JSON array, from 1; else 0 */
    uint64_t next;                         /* the line, or element, to go on with behind it */
} document;

/* False: no memory. */
bool input_open(input *in, int fd);
void input_close(input *in);
/* Reads on; what is held moves to the front of the buffer, which has to have room. False: there is nothing more now. */
bool input_fill(input *in);
/* Passes over a byte order mark at the very begin. False: more has to come before that can be said. */
bool input_pass_mark(input *in);

#endif
