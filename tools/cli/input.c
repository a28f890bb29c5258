/* input.c: bytes on their way in. */
#include "input.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool input_open(input *in, int fd)
{
    struct stat about;
    memset(in, 0, sizeof *in);
    in->fd = fd;
    in->is_file = fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
    if (in->is_file) in->size = (uint64_t)about.st_size;
    in->buffer = malloc(DOCUMENT_BYTES_MAX + 1 + INPUT_READ_BYTES);
    return in->buffer != NULL;
}

void input_close(input *in)
{
    free(in->buffer);
    if (in->fd != STDIN_FILENO) close(in->fd);
}

/* The descriptor may be shared with other programs, so it is asked rather than made non-blocking. */
static bool is_readable(int fd)
{
    struct pollfd p = { fd, POLLIN, 0 };
    return poll(&p, 1, 0) > 0;
}

bool input_fill(input *in)
{
    size_t len = in->end - in->begin;
    ssize_t got;
    if (in->ended || in->fault || (!in->is_file && !is_readable(in->fd))) return false;
    if (in->begin) memmove(in->buffer, in->buffer + in->begin, len);
    in->begin = 0;
    in->end = len;
    got = read(in->fd, in->buffer + len, INPUT_READ_BYTES);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return false;
    if (got < 0) in->fault = strerror(errno);
    if (got == 0) in->ended = true;
    if (got <= 0) return got == 0;
    in->end += (size_t)got;
    in->bytes_read += (uint64_t)got;
    return true;
}

bool input_pass_mark(input *in)
{
    const char *text = in->buffer + in->begin;
    size_t len = in->end - in->begin, mark = in->marked ? 0 : text_mark(text, len);
    if (in->marked) return true;
    if ((len < 2 || mark > len) && !in->ended) return false;
    if (is_utf16(text, len)) in->fault = UTF16_FAULT;
    if (in->fault) return false;
    if (mark <= len) in->begin += mark;
    return in->marked = true;
}
