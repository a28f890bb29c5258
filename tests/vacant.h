/* vacant.h: a port where nobody listens, nor will as long as the test wants it so. One that was merely closed is soon
 * somebody else's: a kernel chooses among some 7,000, and tests that run side by side start a hundred servers within
 * the seconds that a client may knock. */
#ifndef VACANT_H
#define VACANT_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A loopback address as bind() takes it. */
static inline struct sockaddr_in vacant_address(int port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* Keeps a port, that of somebody who has gone and let others use it again (SO_REUSEADDR); 0: any. Until the descriptor
 * is closed, connections there are refused, and who asks for any port gets another. -1: somebody has the port. */
static inline int vacant_keep(int port)
{
    struct sockaddr_in address = vacant_address(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    close(fd);
    return -1;
}

/* The port that a socket has. */
static inline int vacant_port(int fd)
{
    struct sockaddr_in address = vacant_address(0);
    socklen_t len = sizeof address;
    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 ? ntohs(address.sin_port) : -1;
}

#endif
