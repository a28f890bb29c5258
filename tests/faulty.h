/* faulty.h: calls of the system that fail when a test says so. Include it before aiocosmos.h. */
#ifndef FAULTY_H
#define FAULTY_H

#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#  include <sys/epoll.h>
#  include <sys/random.h>
#endif

enum {
    FAULTY_NONE, FAULTY_READ, FAULTY_WRITE, FAULTY_FSTAT, FAULTY_FCNTL, FAULTY_SEND, FAULTY_RECV, FAULTY_WAIT,
    FAULTY_GETRANDOM
};

static struct { int call, error; unsigned long calls, from, to; } faulty;

/* Of that call, the nth from now on fails with that error, and so do those behind it, count in all. Error 0: it returns 0
 * as at the end of a file. */
static inline void fail_calls(int call, unsigned long nth, unsigned long count, int error)
{
    faulty.call = call;
    faulty.error = error;
    faulty.calls = 0;
    faulty.from = nth;
    faulty.to = nth + count - 1;
}

static inline bool faulty_fails(int call)
{
    if (faulty.call != call || ++faulty.calls < faulty.from || faulty.calls > faulty.to) return false;
    errno = faulty.error;
    return true;
}

static inline int faulty_value(void) { return faulty.error ? -1 : 0; }

#define FAULTY(CALL, REAL) (faulty_fails(CALL) ? faulty_value() : (REAL))

static inline ssize_t faulty_write(int fd, const void *bytes, size_t len)
{
    return FAULTY(FAULTY_WRITE, write(fd, bytes, len));
}

#define write                            faulty_write      /* there are others of that name, with other arguments */
#define read(FD, OUT, CAP)               FAULTY(FAULTY_READ, read(FD, OUT, CAP))
#define fstat(FD, OUT)                   FAULTY(FAULTY_FSTAT, fstat(FD, OUT))
#define fcntl(...)                       FAULTY(FAULTY_FCNTL, fcntl(__VA_ARGS__))
#define send(FD, BYTES, LEN, FLAGS)      FAULTY(FAULTY_SEND, send(FD, BYTES, LEN, FLAGS))
#define sendmsg(FD, MESSAGE, FLAGS)      FAULTY(FAULTY_SEND, sendmsg(FD, MESSAGE, FLAGS))
#define recv(FD, OUT, CAP, FLAGS)        FAULTY(FAULTY_RECV, recv(FD, OUT, CAP, FLAGS))
#define poll(FDS, COUNT, TIMEOUT)        FAULTY(FAULTY_WAIT, poll(FDS, COUNT, TIMEOUT))
#define epoll_wait(FD, OUT, CAP, TIMEOUT) FAULTY(FAULTY_WAIT, epoll_wait(FD, OUT, CAP, TIMEOUT))
#define getrandom(OUT, LEN, FLAGS)       FAULTY(FAULTY_GETRANDOM, getrandom(OUT, LEN, FLAGS))

#endif
