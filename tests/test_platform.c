/* The platform layer: the system's table over loopback, with whichever poller this build has (the Makefile builds it
 * twice), and the reactor over a table that is a fake. */
#include "faulty.h"
#include <assert.h>
#define AIOCOSMOS_ASSERT(x) assert(x)
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"
#include "vacant.h"
#include "texts.h"
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define SYSTEM (&aioc_platform_system)
#define EPOLL  AIOC_PLATFORM_EPOLL

/*------------------------------------------------------------------------------
 * Helpers
 *----------------------------------------------------------------------------*/

static aiocosmos_address loopback(int family, int port)
{
    aiocosmos_address address;
    memset(&address, 0, sizeof address);
    address.family = (uint8_t)family;
    address.port = (uint16_t)port;
    if (family == 4) memcpy(address.ip, "\177\0\0\1", 4);
    else address.ip[15] = 1;
    return address;
}

/* A bound socket, listening if it is a stream, and the address to find it at. False: no such family here. */
static bool serve(int family, int type, int *fd, aiocosmos_address *address)
{
    aioc_platform_sockaddr name;
    aiocosmos_address any = loopback(family, 0);
    socklen_t len = aioc_platform_sockaddr_of(&any, &name);
    *fd = socket(name.any.sa_family, type, 0);
    if (*fd < 0 || bind(*fd, &name.any, len) != 0) return false;
    CHECK(type != SOCK_STREAM || listen(*fd, 16) == 0);
    CHECK(getsockname(*fd, &name.any, &len) == 0);
    *address = loopback(family, ntohs(family == 4 ? name.in.sin_port : name.in6.sin6_port));
    return true;
}

static bool readable(intptr_t fd, int timeout_ms)
{
    struct pollfd entry = {0, POLLIN, 0};
    entry.fd = (int)fd;
    return poll(&entry, 1, timeout_ms) == 1;
}

/* Our end of a fresh TCP connection, with the peer's end in *peer. */
static intptr_t connected(int family, int *peer)
{
    aiocosmos_address address;
    intptr_t socket = -1;
    struct pollfd entry = {0, POLLOUT, 0};
    int io, listener;
    CHECK(serve(family, SOCK_STREAM, &listener, &address));
    io = SYSTEM->socket_open(NULL, &socket, false, &address);
    CHECK(io == 0 || io == AIOCOSMOS_IO_AGAIN);
    *peer = accept(listener, NULL, NULL);
    CHECK(*peer >= 0);
    close(listener);
    entry.fd = (int)socket;
    CHECK_INT(poll(&entry, 1, 5000), 1);
    CHECK_INT(SYSTEM->socket_error(NULL, socket), 0);
    return socket;
}

/* The first descriptor that is free: the same before and after something that leaks none. */
static int first_free_fd(void)
{
    int fd = dup(0);
    CHECK(fd >= 0);
    close(fd);
    return fd;
}

/*------------------------------------------------------------------------------
 * Clocks, entropy, files
 *----------------------------------------------------------------------------*/

TEST(clocks_tell_the_time)
{
    uint64_t before = SYSTEM->monotonic_us(NULL), after;
    int64_t wall = SYSTEM->wall_ms(NULL) / 1000 - (int64_t)time(NULL);
    CHECK(wall >= -1 && wall <= 1);
    CHECK_INT(poll(NULL, 0, 20), 0);
    after = SYSTEM->monotonic_us(NULL);
    CHECK(after - before >= 19000 && after - before < 10000000);
}

TEST(entropy_differs_and_fills_everything)
{
    static unsigned char many[70000];
    unsigned char a[32], b[32];
    size_t i, zeros = 0;
    int from_device;
    for (from_device = 0; from_device < 2; from_device++) {
        memset(a, 0, sizeof a);
        memset(b, 0, sizeof b);
        memset(many, 0, sizeof many);
        CHECK_INT(from_device ? aioc_platform_entropy_device(a, 0) : SYSTEM->entropy(NULL, a, 0), 0);
        CHECK_INT(from_device ? aioc_platform_entropy_device(a, 32) : SYSTEM->entropy(NULL, a, 32), 0);
        CHECK_INT(from_device ? aioc_platform_entropy_device(b, 32) : SYSTEM->entropy(NULL, b, 32), 0);
        CHECK(memcmp(a, b, sizeof a) != 0);
        CHECK_INT(from_device ? aioc_platform_entropy_device(many, sizeof many)
                              : SYSTEM->entropy(NULL, many, sizeof many), 0);
        for (i = 0, zeros = 0; i < sizeof many; i++) zeros += many[i] == 0;
        CHECK(zeros < 1000);                           /* 273 are expected */
        CHECK(memcmp(many + sizeof many - 16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16) != 0);
    }
}

TEST(entropy_is_what_the_kernel_gives_or_none)
{
    unsigned char bytes[32] = {0};
    fail_calls(FAULTY_GETRANDOM, 1, 1, EINTR);
    CHECK_INT(SYSTEM->entropy(NULL, bytes, sizeof bytes), 0);
    fail_calls(FAULTY_GETRANDOM, 1, 1, EAGAIN);                 /* early in a boot: the device's bytes can be guessed */
    CHECK_INT(SYSTEM->entropy(NULL, bytes, sizeof bytes), AIOCOSMOS_IO_AGAIN);
    fail_calls(FAULTY_GETRANDOM, 1, 1, ENOSYS);
    CHECK_INT(SYSTEM->entropy(NULL, bytes, sizeof bytes), 0);
    fail_calls(FAULTY_READ, 1, 1, EINTR);
    CHECK_INT(aioc_platform_entropy_device(bytes, sizeof bytes), 0);
    fail_calls(FAULTY_READ, 1, 1, EIO);
    CHECK_INT(aioc_platform_entropy_device(bytes, sizeof bytes), AIOCOSMOS_IO_FAILED);
    fail_calls(FAULTY_READ, 1, 1, 0);                           /* the device ends */
    CHECK_INT(aioc_platform_entropy_device(bytes, sizeof bytes), AIOCOSMOS_IO_FAILED);
    fail_calls(FAULTY_NONE, 0, 0, 0);
}

TEST(files_that_break_off_say_so)
{
    char out[16];
    int before = first_free_fd();
    fail_calls(FAULTY_READ, 1, 1, EINTR);
    CHECK(SYSTEM->file_read(NULL, "/etc/passwd", out, sizeof out) > 0);
    fail_calls(FAULTY_READ, 1, 1, EIO);
    CHECK_INT(SYSTEM->file_read(NULL, "/etc/passwd", out, sizeof out), AIOCOSMOS_IO_FAILED);
    fail_calls(FAULTY_FSTAT, 1, 1, EIO);
    CHECK_INT(SYSTEM->file_read(NULL, "/etc/passwd", out, sizeof out), AIOCOSMOS_IO_FAILED);
    fail_calls(FAULTY_READ, 1, 1000, EIO);                      /* of all the places that roots may be at */
    CHECK(SYSTEM->system_roots(NULL, out, sizeof out) < 0);
    fail_calls(FAULTY_NONE, 0, 0, 0);
    CHECK_INT(first_free_fd(), before);
}

TEST(file_read_copies_what_fits_and_tells_the_size)
{
    char path[] = "/tmp/aiocosmos-test-XXXXXX", out[16];
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_INT(SYSTEM->file_read(NULL, path, out, sizeof out), 0);
    CHECK_INT(write(fd, "0123456789", 10), 10);
    close(fd);
    memset(out, 'x', sizeof out);
    CHECK_INT(SYSTEM->file_read(NULL, path, out, sizeof out), 10);
    CHECK_MEM(out, "0123456789xxxxxx", 16);
    CHECK_INT(SYSTEM->file_read(NULL, path, out, 10), 10);
    memset(out, 'x', sizeof out);
    CHECK_INT(SYSTEM->file_read(NULL, path, out, 4), 10);
    CHECK_MEM(out, "0123xxxxxxxxxxxx", 16);
    CHECK_INT(SYSTEM->file_read(NULL, path, NULL, 0), 10);
    CHECK(unlink(path) == 0);
    CHECK(SYSTEM->file_read(NULL, path, out, sizeof out) < 0);
}

TEST(name_servers_and_roots_are_the_texts_of_their_files)
{
    static char text[1 << 20], same[1 << 20];
    ptrdiff_t size = SYSTEM->file_read(NULL, "/etc/resolv.conf", same, sizeof same);
    CHECK_INT(SYSTEM->name_servers(NULL, text, sizeof text), size);
    if (size > 0) CHECK(memcmp(text, same, (size_t)size) == 0);
    size = SYSTEM->system_roots(NULL, text, sizeof text);
    if (size <= 0) SKIP("this system has no certificates");
    CHECK((size_t)size < sizeof text && strstr(text, "BEGIN CERTIFICATE"));
    CHECK_INT(SYSTEM->system_roots(NULL, text, 1), size);
}

TEST(zone_is_the_number_of_an_interface)
{
    char name[IF_NAMESIZE];
    CHECK_INT(SYSTEM->zone(NULL, "no such"), 0);
    CHECK_INT(SYSTEM->zone(NULL, ""), 0);
    if (!if_indextoname(1, name)) SKIP("this system has no interface");
    CHECK_INT(SYSTEM->zone(NULL, name), 1);
}

TEST(file_read_takes_regular_files_only_and_waits_for_none)
{
    char directory[] = "/tmp/aiocosmos-test-XXXXXX", path[64], out[4096];
    int before = first_free_fd();
    CHECK(mkdtemp(directory) != NULL);
    CHECK(SYSTEM->file_read(NULL, directory, out, sizeof out) < 0);
    snprintf(path, sizeof path, "%s/fifo", directory);
    CHECK(mkfifo(path, 0600) == 0);
    CHECK(SYSTEM->file_read(NULL, path, out, sizeof out) < 0);
    CHECK(SYSTEM->file_read(NULL, "/dev/zero", out, sizeof out) < 0);
    CHECK(SYSTEM->file_read(NULL, "", out, sizeof out) < 0);
    /* Its stat says that it is empty. */
    if (access("/proc/self/status", R_OK) == 0) {
        CHECK(SYSTEM->file_read(NULL, "/proc/self/status", out, sizeof out) > 100);
    }
    CHECK_INT(first_free_fd(), before);
    unlink(path);
    rmdir(directory);
}

TEST(errors_of_the_system_have_one_meaning_each)
{
    static const int cases[][2] = {
        {EAGAIN, AIOCOSMOS_IO_AGAIN}, {EWOULDBLOCK, AIOCOSMOS_IO_AGAIN}, {ECONNRESET, AIOCOSMOS_IO_CLOSED},
        {EPIPE, AIOCOSMOS_IO_CLOSED}, {ECONNABORTED, AIOCOSMOS_IO_CLOSED}, {ECONNREFUSED, AIOCOSMOS_IO_REFUSED},
        {EHOSTUNREACH, AIOCOSMOS_IO_UNREACHABLE}, {ENETUNREACH, AIOCOSMOS_IO_UNREACHABLE},
        {ETIMEDOUT, AIOCOSMOS_IO_UNREACHABLE}, {EPERM, AIOCOSMOS_IO_UNREACHABLE}, {EMFILE, AIOCOSMOS_IO_LIMIT},
        {ENFILE, AIOCOSMOS_IO_LIMIT}, {ENOBUFS, AIOCOSMOS_IO_LIMIT}, {ENOMEM, AIOCOSMOS_IO_LIMIT},
        {EADDRNOTAVAIL, AIOCOSMOS_IO_LIMIT}, {EAFNOSUPPORT, AIOCOSMOS_IO_UNSUPPORTED}, {EBADF, AIOCOSMOS_IO_FAILED},
        {EINVAL, AIOCOSMOS_IO_FAILED}, {0, AIOCOSMOS_IO_FAILED}
    };
    aiocosmos_address v4 = loopback(4, 1), v6 = loopback(6, 1);
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) CHECK_INT(aioc_platform_io_of(cases[i][0]), cases[i][1]);
    CHECK_INT(aioc_platform_connect_io(EINPROGRESS, &v4), AIOCOSMOS_IO_AGAIN);
    CHECK_INT(aioc_platform_connect_io(EINTR, &v4), AIOCOSMOS_IO_AGAIN);
    CHECK_INT(aioc_platform_connect_io(EAGAIN, &v4), AIOCOSMOS_IO_LIMIT);
    CHECK_INT(aioc_platform_connect_io(EADDRNOTAVAIL, &v4), AIOCOSMOS_IO_LIMIT);
    CHECK_INT(aioc_platform_connect_io(EADDRNOTAVAIL, &v6), AIOCOSMOS_IO_UNREACHABLE);
    CHECK_INT(aioc_platform_connect_io(ENETUNREACH, &v6), AIOCOSMOS_IO_UNREACHABLE);
}

/*------------------------------------------------------------------------------
 * Sockets
 *----------------------------------------------------------------------------*/

static void check_conversation(int family)
{
    aiocosmos_slice slices[3] = {{"GET ", 4}, {"", 0}, {"/dbs", 4}};
    char bytes[16];
    int peer, before = first_free_fd();
    intptr_t socket = connected(family, &peer);
    CHECK_INT(SYSTEM->socket_receive(NULL, socket, bytes, sizeof bytes), AIOCOSMOS_IO_AGAIN);
    CHECK_INT(SYSTEM->socket_send(NULL, socket, slices, 3), 8);
    CHECK_INT(recv(peer, bytes, 8, MSG_WAITALL), 8);
    CHECK_MEM(bytes, "GET /dbs", 8);
    CHECK_INT(send(peer, "answer", 6, 0), 6);
    CHECK(readable(socket, 5000));
    CHECK_INT(SYSTEM->socket_receive(NULL, socket, bytes, 2), 2);
    CHECK_INT(SYSTEM->socket_receive(NULL, socket, bytes + 2, sizeof bytes - 2), 4);
    CHECK_MEM(bytes, "answer", 6);
    close(peer);
    CHECK(readable(socket, 5000));
    CHECK_INT(SYSTEM->socket_receive(NULL, socket, bytes, sizeof bytes), 0);
    SYSTEM->socket_close(NULL, socket);
    CHECK_INT(first_free_fd(), before);
}

TEST(stream_over_ipv4) { check_conversation(4); }

TEST(stream_over_ipv6)
{
    aiocosmos_address address;
    int fd;
    bool there = serve(6, SOCK_STREAM, &fd, &address);
    if (fd >= 0) close(fd);
    if (!there) SKIP("no IPv6 on this machine");
    check_conversation(6);
}

TEST(sockets_never_block_are_not_inherited_and_send_at_once)
{
    int peer, on = 0;
    socklen_t len = sizeof on;
    intptr_t socket = connected(4, &peer);
    CHECK(fcntl((int)socket, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl((int)socket, F_GETFD) & FD_CLOEXEC);
    CHECK(getsockopt((int)socket, IPPROTO_TCP, TCP_NODELAY, &on, &len) == 0);
    CHECK(on != 0);
    SYSTEM->socket_close(NULL, socket);
    close(peer);
}

static int option_of(intptr_t socket, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    CHECK(getsockopt((int)socket, level, name, &value, &len) == 0);
    return value;
}

TEST(streams_find_out_that_the_other_side_has_vanished)
{
    int peer;
    intptr_t socket = connected(4, &peer);
    CHECK(option_of(socket, SOL_SOCKET, SO_KEEPALIVE) != 0);
#ifdef TCP_KEEPIDLE
    CHECK_INT(option_of(socket, IPPROTO_TCP, TCP_KEEPIDLE), 30);
    CHECK_INT(option_of(socket, IPPROTO_TCP, TCP_KEEPINTVL), 10);
    CHECK_INT(option_of(socket, IPPROTO_TCP, TCP_KEEPCNT), 3);
#endif
#ifdef TCP_USER_TIMEOUT
    CHECK_INT(option_of(socket, IPPROTO_TCP, TCP_USER_TIMEOUT), 20000);
#endif
    SYSTEM->socket_close(NULL, socket);
    close(peer);
}

TEST(refused_connection_is_told_apart)
{
    aiocosmos_address address;
    intptr_t socket = -1;
    int io, vacant = vacant_keep(0), before = first_free_fd();
    struct pollfd entry = {0, POLLOUT, 0};
    CHECK(vacant >= 0);
    address = loopback(4, vacant_port(vacant));
    io = SYSTEM->socket_open(NULL, &socket, false, &address);
    if (io == AIOCOSMOS_IO_AGAIN) {
        entry.fd = (int)socket;
        CHECK_INT(poll(&entry, 1, 5000), 1);
        io = SYSTEM->socket_error(NULL, socket);
        SYSTEM->socket_close(NULL, socket);
    }
    CHECK_INT(io, AIOCOSMOS_IO_REFUSED);
    CHECK_INT(first_free_fd(), before);
    CHECK(SYSTEM->socket_error(NULL, before) < 0);     /* not even a descriptor */
    close(vacant);
}

TEST(connection_that_fails_at_once_leaves_no_socket)
{
    aiocosmos_address everybody = loopback(4, 9);
    intptr_t socket = -1;
    int before = first_free_fd();
    memset(everybody.ip, 255, 4);                      /* broadcast needs a permission that was not asked for */
    CHECK_INT(SYSTEM->socket_open(NULL, &socket, true, &everybody), AIOCOSMOS_IO_UNREACHABLE);
    CHECK_INT(socket, -1);
    CHECK_INT(first_free_fd(), before);
}

TEST(reset_is_closed_and_raises_no_signal)
{
    struct linger now = {1, 0};
    aiocosmos_slice slice = {"x", 1};
    char byte;
    int peer;
    intptr_t socket = connected(4, &peer);
    CHECK(setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    close(peer);
    CHECK(readable(socket, 5000));
    CHECK_INT(SYSTEM->socket_receive(NULL, socket, &byte, 1), AIOCOSMOS_IO_CLOSED);
    CHECK_INT(SYSTEM->socket_send(NULL, socket, &slice, 1), AIOCOSMOS_IO_CLOSED);      /* SIGPIPE would end the test */
    SYSTEM->socket_close(NULL, socket);
}

TEST(send_takes_what_fits_and_goes_on_later)
{
    static char sent[1 << 16], got[1 << 16];
    aiocosmos_slice slices[12];
    size_t out = 0, in = 0, i;
    ptrdiff_t n;
    int peer;
    intptr_t socket = connected(4, &peer);
    for (i = 0; i < sizeof sent; i++) sent[i] = (char)(i * 7 + i / 251);
    for (i = 0; i < 12; i++) {
        slices[i].ptr = sent + i;
        slices[i].len = 1;
    }
    CHECK_INT(SYSTEM->socket_send(NULL, socket, slices, 12), AIOC_PLATFORM_SLICES_MAX);
    CHECK_INT(recv(peer, got, sizeof got, 0), AIOC_PLATFORM_SLICES_MAX);
    CHECK_MEM(got, sent, AIOC_PLATFORM_SLICES_MAX);
    for (;;) {
        slices[0].ptr = sent + out % sizeof sent;
        slices[0].len = sizeof sent - out % sizeof sent;
        n = SYSTEM->socket_send(NULL, socket, slices, 1);
        if (n < 0) break;
        CHECK(n > 0 && (size_t)n <= slices[0].len);
        out += (size_t)n;
    }
    CHECK_INT(n, AIOCOSMOS_IO_AGAIN);
    while (in < out) {
        n = recv(peer, got, sizeof got - in % sizeof got, 0);
        CHECK(n > 0);
        CHECK_MEM(got, sent + in % sizeof sent, (size_t)n);
        in += (size_t)n;
    }
    CHECK_INT(in, out);
    slices[0].len = 1;
    CHECK_INT(SYSTEM->socket_send(NULL, socket, slices, 1), 1);
    SYSTEM->socket_close(NULL, socket);
    close(peer);
}

TEST(datagram_hears_its_peer_only)
{
    aiocosmos_address address, stranger_address;
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    aiocosmos_slice slice = {"question", 8};
    char bytes[16];
    intptr_t socket;
    int server, stranger;
    CHECK(serve(4, SOCK_DGRAM, &server, &address));
    CHECK(serve(4, SOCK_DGRAM, &stranger, &stranger_address));
    CHECK_INT(SYSTEM->socket_open(NULL, &socket, true, &address), 0);
    CHECK_INT(SYSTEM->socket_send(NULL, socket, &slice, 1), 8);
    CHECK_INT(recvfrom(server, bytes, sizeof bytes, 0, (struct sockaddr *)&name, &len), 8);
    CHECK_INT(sendto(stranger, "lie", 3, 0, (struct sockaddr *)&name, len), 3);
    CHECK_INT(sendto(server, "truth", 5, 0, (struct sockaddr *)&name, len), 5);
    CHECK(readable(socket, 5000));
    CHECK_INT(SYSTEM->socket_receive(NULL, socket, bytes, sizeof bytes), 5);
    CHECK_MEM(bytes, "truth", 5);
    CHECK_INT(SYSTEM->socket_receive(NULL, socket, bytes, sizeof bytes), AIOCOSMOS_IO_AGAIN);
    close(server);
    close(stranger);
    CHECK_INT(SYSTEM->socket_send(NULL, socket, &slice, 1), 8);
    CHECK(readable(socket, 5000));
    CHECK_INT(SYSTEM->socket_receive(NULL, socket, bytes, sizeof bytes), AIOCOSMOS_IO_REFUSED);
    SYSTEM->socket_close(NULL, socket);
}

/* Runs with so many descriptors fewer than there are: the soft limit ends just behind those in use. */
static struct rlimit limit_descriptors(int more)
{
    struct rlimit old, low;
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    low = old;
    low.rlim_cur = (rlim_t)(first_free_fd() + more);
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    return old;
}

TEST(out_of_descriptors_is_a_limit_and_leaks_nothing)
{
    aiocosmos_address address = loopback(4, 9);
    aiocosmos_allocator allocator;
    struct rlimit old;
    heap_state c;
    char byte;
    intptr_t socket = -1;
    void *poller = NULL;
    int opened, created[2], entropy, file, before = first_free_fd(), more;
    for (more = 0; more < 2; more++) {                 /* the second descriptor of the poller fails */
        allocator = heap_allocator(&c);
        old = limit_descriptors(more);
        created[more] = SYSTEM->poller_create(NULL, &allocator, &poller);
        if (more == 0) {
            opened = SYSTEM->socket_open(NULL, &socket, false, &address);
            file = (int)SYSTEM->file_read(NULL, "/etc/passwd", &byte, 1);
            entropy = aioc_platform_entropy_device(&byte, 1);
        }
        CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
        CHECK_INT(created[more], AIOCOSMOS_IO_LIMIT);
        CHECK_INT(c.bytes, 0);
        CHECK_INT(first_free_fd(), before);
    }
    CHECK_INT(opened, AIOCOSMOS_IO_LIMIT);
    CHECK_INT(file, AIOCOSMOS_IO_LIMIT);
    CHECK_INT(entropy, AIOCOSMOS_IO_LIMIT);
}

/*------------------------------------------------------------------------------
 * The poller
 *----------------------------------------------------------------------------*/

static void *poller_new(heap_state *c)
{
    aiocosmos_allocator allocator = heap_allocator(c);
    void *poller = NULL;
    CHECK_INT(SYSTEM->poller_create(NULL, &allocator, &poller), 0);
    return poller;
}

static int wait_one(void *poller, aiocosmos_event *event, int timeout_ms)
{
    memset(event, 0, sizeof *event);
    return SYSTEM->poller_wait(NULL, poller, event, 1, timeout_ms);
}

TEST(poller_is_level_triggered_and_knows_what_is_wanted)
{
    aiocosmos_event event;
    heap_state c;
    char byte;
    int pair[2], source, i, before = first_free_fd();
    void *poller = poller_new(&c);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK_INT(SYSTEM->poller_set(NULL, poller, pair[0], 0, AIOCOSMOS_READABLE, &source), 0);
    CHECK_INT(wait_one(poller, &event, 0), 0);
    CHECK_INT(write(pair[1], "x", 1), 1);
    for (i = 0; i < 3; i++) {
        CHECK_INT(wait_one(poller, &event, -1), 1);
        CHECK(event.source == &source);
        CHECK_INT(event.ready, AIOCOSMOS_READABLE);
    }
    CHECK_INT(SYSTEM->poller_set(NULL, poller, pair[0], AIOCOSMOS_READABLE, AIOCOSMOS_WRITABLE, &source), 0);
    CHECK_INT(wait_one(poller, &event, -1), 1);
    CHECK_INT(event.ready, AIOCOSMOS_WRITABLE);
    CHECK_INT(SYSTEM->poller_set(NULL, poller, pair[0], AIOCOSMOS_WRITABLE, AIOCOSMOS_WRITABLE, &source), 0);
    CHECK_INT(SYSTEM->poller_set(NULL, poller, pair[0], AIOCOSMOS_WRITABLE, AIOCOSMOS_READABLE | AIOCOSMOS_WRITABLE,
                                 &source), 0);
    CHECK_INT(wait_one(poller, &event, -1), 1);
    CHECK_INT(event.ready, AIOCOSMOS_READABLE | AIOCOSMOS_WRITABLE);
    CHECK_INT(SYSTEM->poller_set(NULL, poller, pair[0], AIOCOSMOS_READABLE | AIOCOSMOS_WRITABLE, AIOCOSMOS_READABLE,
                                 &source), 0);
    CHECK_INT(read(pair[0], &byte, 1), 1);
    CHECK_INT(wait_one(poller, &event, 0), 0);
    close(pair[1]);
    CHECK_INT(wait_one(poller, &event, -1), 1);        /* the end of both directions counts as everything */
    CHECK_INT(event.ready, AIOCOSMOS_READABLE | AIOCOSMOS_WRITABLE | AIOCOSMOS_HUNG_UP);
    CHECK_INT(SYSTEM->poller_set(NULL, poller, pair[0], AIOCOSMOS_READABLE, 0, &source), 0);
    CHECK_INT(wait_one(poller, &event, 0), 0);
    CHECK(SYSTEM->poller_set(NULL, poller, pair[0], AIOCOSMOS_READABLE, 0, &source) < 0);    /* is not in it */
    close(pair[0]);
    SYSTEM->poller_destroy(NULL, poller);
    CHECK_INT(c.bytes, 0);
    CHECK_INT(first_free_fd(), before);
}

TEST(poller_tells_that_the_peer_says_no_more)
{
    aiocosmos_event event;
    heap_state c;
    char byte;
    int pair[2], source, hint = AIOC_PLATFORM_EPOLL ? AIOCOSMOS_HUNG_UP : 0;
    void *poller = poller_new(&c);
#ifdef POLLRDHUP
    hint = AIOCOSMOS_HUNG_UP;
#endif
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK_INT(SYSTEM->poller_set(NULL, poller, pair[0], 0, AIOCOSMOS_READABLE, &source), 0);
    CHECK_INT(write(pair[1], "x", 1), 1);
    CHECK_INT(shutdown(pair[1], SHUT_WR), 0);          /* it may go on to listen */
    CHECK_INT(wait_one(poller, &event, -1), 1);
    CHECK_INT(event.ready, AIOCOSMOS_READABLE | hint);
    CHECK_INT(read(pair[0], &byte, 1), 1);
    CHECK_INT(wait_one(poller, &event, -1), 1);        /* the end itself is readable, too */
    CHECK_INT(event.ready, AIOCOSMOS_READABLE | hint);
    CHECK_INT(SYSTEM->poller_set(NULL, poller, pair[0], AIOCOSMOS_READABLE, AIOCOSMOS_WRITABLE, &source), 0);
    CHECK_INT(wait_one(poller, &event, -1), 1);
    CHECK_INT(event.ready, AIOCOSMOS_WRITABLE);        /* only readers care */
    CHECK_INT(SYSTEM->poller_set(NULL, poller, pair[0], AIOCOSMOS_WRITABLE, 0, &source), 0);
    close(pair[0]);
    close(pair[1]);
    SYSTEM->poller_destroy(NULL, poller);
}

#define PAIRS 150                        /* more than a batch holds, and more than poll's array at first */

TEST(poller_hands_out_many_and_starves_none)
{
    static int pairs[PAIRS][2], seen[PAIRS];
    static const int caps[] = {1, 7, 64, 1000};
    aiocosmos_event events[1000];
    heap_state c;
    void *poller = poller_new(&c);
    int i, k, n, calls;
    for (i = 0; i < PAIRS; i++) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]) == 0);
        CHECK_INT(SYSTEM->poller_set(NULL, poller, pairs[i][0], 0, AIOCOSMOS_READABLE, &pairs[i]), 0);
        CHECK_INT(write(pairs[i][1], "x", 1), 1);
    }
    for (k = 0; k < 4; k++) {
        int least = INT_MAX, most = 0;
        memset(seen, 0, sizeof seen);
        for (calls = 0; calls < 3 * PAIRS; calls++) {
            n = SYSTEM->poller_wait(NULL, poller, events, caps[k], -1);
            CHECK(n > 0 && n <= caps[k]);
            for (i = 0; i < n; i++) seen[(int(*)[2])events[i].source - pairs]++;
        }
        for (i = 0; i < PAIRS; i++) {
            if (seen[i] < least) least = seen[i];
            if (seen[i] > most) most = seen[i];
        }
        CHECK(least >= 3 && most - least <= 1);
    }
    /* The order of removal must not matter. */
    for (i = 0; i < PAIRS; i++) {
        k = i * 67 % PAIRS;
        CHECK_INT(SYSTEM->poller_set(NULL, poller, pairs[k][0], AIOCOSMOS_READABLE, 0, &pairs[k]), 0);
        seen[k] = -1;
        n = SYSTEM->poller_wait(NULL, poller, events, 1000, 0);
        CHECK(n == PAIRS - 1 - i || n == AIOC_REACTOR_BATCH);
        while (n-- > 0) CHECK(seen[(int(*)[2])events[n].source - pairs] >= 0);
    }
    for (i = 0; i < PAIRS; i++) {
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    SYSTEM->poller_destroy(NULL, poller);
    CHECK_INT(c.bytes, 0);
}

TEST(poller_survives_each_refused_allocation)
{
    static int fds[100];
    aiocosmos_allocator allocator;
    aiocosmos_event event;
    heap_state c;
    void *poller;
    unsigned nth;
    int i, watched, before = first_free_fd(), refusals = 0;
    for (nth = 1; ; nth++) {
        bool refused = false;
        allocator = heap_allocator(&c);
        heap_fail(&c, nth, 1);
        poller = NULL;
        if (SYSTEM->poller_create(NULL, &allocator, &poller) < 0) {
            refusals++;
            CHECK(poller == NULL);
            CHECK_INT(c.bytes, 0);
            CHECK_INT(first_free_fd(), before);
            continue;
        }
        for (i = watched = 0; i < 100; i++) {
            int io;
            fds[i] = dup(0);
            CHECK(fds[i] >= 0);
            close(fds[i]);
            fds[i] = socket(AF_INET, SOCK_DGRAM, 0);
            io = SYSTEM->poller_set(NULL, poller, fds[i], 0, AIOCOSMOS_WRITABLE, &fds[i]);
            if (io == 0) {
                watched++;
            } else {
                CHECK_INT(io, AIOCOSMOS_IO_LIMIT);
                refused = true;
                refusals++;
                close(fds[i]);
                fds[i] = -1;
            }
        }
        CHECK_INT(watched, refused ? 99 : 100);
        CHECK_INT(wait_one(poller, &event, -1), 1);    /* and works on */
        for (i = 0; i < 100; i++) {
            if (fds[i] < 0) continue;
            CHECK_INT(SYSTEM->poller_set(NULL, poller, fds[i], AIOCOSMOS_WRITABLE, 0, &fds[i]), 0);
            close(fds[i]);
        }
        SYSTEM->poller_destroy(NULL, poller);
        CHECK_INT(c.bytes, 0);
        CHECK_INT(first_free_fd(), before);
        if (!refused) break;
    }
    CHECK_INT(refusals, EPOLL ? 1 : 5);                /* poll: the poller, and room for 16, 32, 64, 128 */
}

/* Where a pipe is what wakes, it has to be told not to block, and not to be inherited. */
TEST(poller_whose_pipe_cannot_be_tamed_is_none)
{
    heap_state c;
    aiocosmos_allocator allocator = { heap_fn, &c };
    int before = first_free_fd(), nth;
    for (nth = 1; nth <= 6 && !EPOLL; nth++) {
        void *poller = NULL;
        memset(&c, 0, sizeof c);
        fail_calls(FAULTY_FCNTL, (unsigned long)nth, 1, EMFILE);
        CHECK(SYSTEM->poller_create(NULL, &allocator, &poller) < 0);
        fail_calls(FAULTY_NONE, 0, 0, 0);
        CHECK_INT(c.bytes, 0);
        CHECK_INT(first_free_fd(), before);
    }
}

TEST(poller_without_a_hook_uses_realloc)
{
    aiocosmos_allocator none = {NULL, NULL};
    void *poller = NULL;
    CHECK_INT(SYSTEM->poller_create(NULL, &none, &poller), 0);
    SYSTEM->poller_destroy(NULL, poller);
}

TEST(wake_before_a_wait_ends_it_once)
{
    aiocosmos_event event;
    heap_state c;
    void *poller = poller_new(&c);
    SYSTEM->poller_wake(NULL, poller);
    SYSTEM->poller_wake(NULL, poller);
    CHECK_INT(wait_one(poller, &event, -1), 0);        /* would wait for ever */
    CHECK(!readable(SYSTEM->poller_wake_fd(NULL, poller), 0));
    CHECK_INT(wait_one(poller, &event, 1), 0);
    SYSTEM->poller_destroy(NULL, poller);
}

TEST(wake_shows_in_the_descriptors)
{
    aiocosmos_event event;
    heap_state c;
    int pair[2], source;
    void *poller = poller_new(&c);
    intptr_t fd = SYSTEM->poller_fd(NULL, poller), wake_fd = SYSTEM->poller_wake_fd(NULL, poller);
    CHECK(EPOLL ? fd >= 0 : fd == -1);
    CHECK(fcntl((int)wake_fd, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl((int)wake_fd, F_GETFL) & O_NONBLOCK);
    if (EPOLL) CHECK(fcntl((int)fd, F_GETFD) & FD_CLOEXEC);
    CHECK(!readable(wake_fd, 0));
    if (EPOLL) CHECK(!readable(fd, 0));
    SYSTEM->poller_wake(NULL, poller);
    CHECK(readable(wake_fd, 0));
    if (EPOLL) CHECK(readable(fd, 0));
    CHECK_INT(wait_one(poller, &event, 0), 0);
    CHECK(!readable(wake_fd, 0));
    if (EPOLL) CHECK(!readable(fd, 0));
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK_INT(SYSTEM->poller_set(NULL, poller, pair[0], 0, AIOCOSMOS_READABLE, &source), 0);
    if (EPOLL) CHECK(!readable(fd, 0));
    CHECK_INT(write(pair[1], "x", 1), 1);
    if (EPOLL) CHECK(readable(fd, 0));
    CHECK(!readable(wake_fd, 0));
    /* An event and a wake together: neither hides the other. */
    SYSTEM->poller_wake(NULL, poller);
    if (wait_one(poller, &event, 0) == 0) CHECK_INT(wait_one(poller, &event, 0), 1);
    CHECK(event.source == &source);
    close(pair[0]);
    close(pair[1]);
    SYSTEM->poller_destroy(NULL, poller);
}

TEST(wake_never_blocks_and_keeps_errno)
{
    aiocosmos_event event;
    heap_state c;
    void *poller = poller_new(&c);
    const uint64_t brimful = UINT64_MAX - 1;           /* an eventfd refuses one more */
    int i;
    if (EPOLL) CHECK_INT(write((int)SYSTEM->poller_wake_fd(NULL, poller), &brimful, sizeof brimful), sizeof brimful);
    errno = ERANGE;
    for (i = 0; i < 200000; i++) SYSTEM->poller_wake(NULL, poller);        /* a pipe holds 65,536 */
    CHECK_INT(errno, ERANGE);
    CHECK_INT(wait_one(poller, &event, -1), 0);
    CHECK(!readable(SYSTEM->poller_wake_fd(NULL, poller), 0));
    SYSTEM->poller_destroy(NULL, poller);
}

static void *wake_from_thread(void *poller)
{
    SYSTEM->poller_wake(NULL, poller);
    return NULL;
}

TEST(calls_that_a_signal_interrupts_are_made_again)
{
    aiocosmos_event event;
    aiocosmos_slice slices[] = { { "x", 1 }, { "z", 1 } };
    heap_state c;
    char byte;
    int peer, count;
    intptr_t socket = connected(4, &peer);
    void *poller = poller_new(&c);
    fail_calls(FAULTY_WRITE, 1, 1, EINTR);
    SYSTEM->poller_wake(NULL, poller);
    CHECK(readable(SYSTEM->poller_wake_fd(NULL, poller), 0));
    fail_calls(FAULTY_WAIT, 1, 1, EINTR);                       /* the host may have something to do */
    CHECK_INT(wait_one(poller, &event, 0), 0);
    fail_calls(FAULTY_WAIT, 1, 1, EBADF);
    CHECK_INT(wait_one(poller, &event, 0), AIOCOSMOS_IO_FAILED);
    for (count = 1; count <= 2; count++) {
        fail_calls(FAULTY_SEND, 1, 1, EINTR);
        CHECK_INT(SYSTEM->socket_send(NULL, socket, slices, (size_t)count), count);
        fail_calls(FAULTY_SEND, 1, 1, ENOBUFS);
        CHECK(SYSTEM->socket_send(NULL, socket, slices, (size_t)count) < 0);
    }
    fail_calls(FAULTY_NONE, 0, 0, 0);
    CHECK(readable(peer, 5000));
    CHECK_INT(recv(peer, &byte, 1, 0), 1);
    CHECK_INT(send(peer, "y", 1, 0), 1);
    CHECK(readable(socket, 5000));
    fail_calls(FAULTY_RECV, 1, 1, EINTR);
    CHECK_INT(SYSTEM->socket_receive(NULL, socket, &byte, 1), 1);
    fail_calls(FAULTY_NONE, 0, 0, 0);
    SYSTEM->poller_destroy(NULL, poller);
    SYSTEM->socket_close(NULL, socket);
    close(peer);
    CHECK_INT(c.bytes, 0);
}

TEST(wake_from_another_thread_ends_a_wait)
{
    aiocosmos_event event;
    heap_state c;
    pthread_t thread;
    int i;
    void *poller = poller_new(&c);
    for (i = 0; i < 100; i++) {                        /* before, while and after the wait begins */
        CHECK(pthread_create(&thread, NULL, wake_from_thread, poller) == 0);
        CHECK_INT(wait_one(poller, &event, -1), 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    SYSTEM->poller_destroy(NULL, poller);
}

static void *signalled_poller;
static volatile sig_atomic_t signals_seen;

static void on_alarm(int number)
{
    (void)number;
    signals_seen++;
    if (signalled_poller) SYSTEM->poller_wake(NULL, signalled_poller);
}

static void alarm_every(int us)
{
    struct itimerval timer;
    memset(&timer, 0, sizeof timer);
    timer.it_value.tv_usec = timer.it_interval.tv_usec = us;
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

/* Without SA_RESTART, which neither epoll_wait() nor poll() would heed anyway. */
TEST(signals_end_a_wait_and_may_wake)
{
    struct sigaction action, old;
    aiocosmos_event event;
    heap_state c;
    int with_wake, answer;
    void *poller = poller_new(&c);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    CHECK(sigaction(SIGALRM, &action, &old) == 0);
    for (with_wake = 0; with_wake < 2; with_wake++) {
        signalled_poller = with_wake ? poller : NULL;
        signals_seen = 0;
        alarm_every(2000);
        answer = wait_one(poller, &event, -1);
        alarm_every(0);
        CHECK_INT(answer, 0);
        CHECK(signals_seen > 0);
    }
    CHECK(sigaction(SIGALRM, &old, NULL) == 0);
    SYSTEM->poller_destroy(NULL, poller);
}

TEST(send_and_receive_outlast_signals)
{
    static char chunk[8192];
    struct sigaction action, old;
    aiocosmos_slice slice = {chunk, sizeof chunk};
    int peer, i;
    intptr_t socket = connected(4, &peer);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    signalled_poller = NULL;
    CHECK(sigaction(SIGALRM, &action, &old) == 0);
    alarm_every(100);
    for (i = 0; i < 300; i++) {
        ptrdiff_t n = SYSTEM->socket_send(NULL, socket, &slice, 1), got = 0;
        CHECK(n > 0);
        while (got < n) {
            ptrdiff_t part = aioc_platform_socket_receive(NULL, peer, chunk, sizeof chunk);
            CHECK(part > 0);
            got += part;
        }
    }
    alarm_every(0);
    CHECK(sigaction(SIGALRM, &old, NULL) == 0);
    SYSTEM->socket_close(NULL, socket);
    close(peer);
}

/*------------------------------------------------------------------------------
 * The reactor over the system's table
 *----------------------------------------------------------------------------*/

typedef struct seen_events { int calls; unsigned ready; } seen_events;

static void note_ready(aioc_reactor_source *source, unsigned ready)
{
    seen_events *seen = source->owner;
    seen->calls++;
    seen->ready = ready;
}

static aioc_reactor_source source_of(intptr_t fd, void (*ready)(aioc_reactor_source *, unsigned), void *owner)
{
    aioc_reactor_source source;
    memset(&source, 0, sizeof source);
    source.fd = fd;
    source.ready = ready;
    source.owner = owner;
    return source;
}

TEST(reactor_carries_a_connection)
{
    aioc_reactor reactor;
    aioc_reactor_source source;
    aiocosmos_allocator allocator;
    seen_events seen = {0, 0};
    heap_state c;
    aiocosmos_address address;
    intptr_t socket;
    int listener, peer, io;
    allocator = heap_allocator(&c);
    CHECK_INT(aioc_reactor_open(&reactor, SYSTEM, &allocator), 0);
    CHECK(reactor.now_us > 0);
    CHECK(serve(4, SOCK_STREAM, &listener, &address));
    io = SYSTEM->socket_open(NULL, &socket, false, &address);
    CHECK(io == 0 || io == AIOCOSMOS_IO_AGAIN);
    source = source_of(socket, note_ready, &seen);
    CHECK_INT(aioc_reactor_watch(&reactor, &source, AIOCOSMOS_WRITABLE), 0);
    CHECK(reactor.sources == &source && reactor.source_count == 1);
    CHECK_INT(aioc_reactor_poll(&reactor, -1), 0);
    CHECK(aioc_reactor_dispatch_one(&reactor));
    CHECK(!aioc_reactor_dispatch_one(&reactor));
    CHECK_INT(seen.ready, AIOCOSMOS_WRITABLE);
    CHECK_INT(SYSTEM->socket_error(NULL, socket), 0);
    CHECK_INT(aioc_reactor_watch(&reactor, &source, AIOCOSMOS_READABLE), 0);
    CHECK_INT(aioc_reactor_poll(&reactor, 0), 0);
    CHECK(!aioc_reactor_dispatch_one(&reactor));
    peer = accept(listener, NULL, NULL);
    CHECK_INT(send(peer, "x", 1, 0), 1);
    CHECK_INT(aioc_reactor_poll(&reactor, -1), 0);
    CHECK(aioc_reactor_dispatch_one(&reactor));
    CHECK_INT(seen.ready, AIOCOSMOS_READABLE);
    CHECK_INT(seen.calls, 2);
    CHECK_INT(aioc_reactor_watch(&reactor, &source, 0), 0);
    CHECK(reactor.sources == NULL && reactor.source_count == 0);
    SYSTEM->socket_close(NULL, socket);
    aioc_reactor_close(&reactor);
    CHECK_INT(c.bytes, 0);
    close(peer);
    close(listener);
}

/* What aiocosmos_abandon() does in the child, step for step. */
static int abandon_in_child(aioc_reactor *reactor, aioc_reactor_source *source, heap_state *c)
{
    aioc_reactor_abandon(reactor);
    if (aioc_reactor_watch(reactor, source, 0) != 0) return 1;
    SYSTEM->socket_close(NULL, source->fd);
    aioc_reactor_close(reactor);
    return c->bytes == 0 && reactor->source_count == 0 ? 0 : 2;
}

TEST(abandon_in_a_forked_child_leaves_the_parent_alone)
{
    aioc_reactor reactor;
    aioc_reactor_source source;
    aiocosmos_allocator allocator;
    seen_events seen = {0, 0};
    heap_state c;
    pid_t child;
    char byte = 0;
    int peer, status = -1;
    intptr_t socket = connected(4, &peer);
    allocator = heap_allocator(&c);
    CHECK_INT(aioc_reactor_open(&reactor, SYSTEM, &allocator), 0);
    source = source_of(socket, note_ready, &seen);
    CHECK_INT(aioc_reactor_watch(&reactor, &source, AIOCOSMOS_READABLE), 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(abandon_in_child(&reactor, &source, &c));
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
    CHECK_INT(send(peer, "y", 1, 0), 1);
    CHECK_INT(aioc_reactor_poll(&reactor, 5000), 0);
    CHECK(aioc_reactor_dispatch_one(&reactor));
    CHECK_INT(seen.calls, 1);
    CHECK_INT(SYSTEM->socket_receive(NULL, socket, &byte, 1), 1);
    CHECK_INT(byte, 'y');
    SYSTEM->poller_wake(NULL, reactor.poller);         /* its bell still rings */
    CHECK_INT(aioc_reactor_poll(&reactor, -1), 0);
    CHECK_INT(aioc_reactor_watch(&reactor, &source, 0), 0);
    SYSTEM->socket_close(NULL, socket);
    aioc_reactor_close(&reactor);
    close(peer);
}

/*------------------------------------------------------------------------------
 * The reactor over a fake table
 *----------------------------------------------------------------------------*/

typedef struct fake {
    uint64_t now_us;
    int set_calls, set_answer, create_answer, destroyed, timeout_ms, wait_answer;
    unsigned had, want;
    intptr_t fd;
    aiocosmos_event events[AIOC_REACTOR_BATCH];
} fake;

static uint64_t fake_monotonic_us(void *user_data) { return ((fake *)user_data)->now_us; }

static int fake_poller_create(void *user_data, const aiocosmos_allocator *allocator, void **out)
{
    (void)allocator;
    *out = user_data;
    return ((fake *)user_data)->create_answer;
}

static void fake_poller_destroy(void *user_data, void *poller)
{
    CHECK(user_data == poller);
    ((fake *)user_data)->destroyed++;
}

static int fake_poller_set(void *user_data, void *poller, intptr_t socket, unsigned had, unsigned want, void *source)
{
    fake *f = user_data;
    CHECK(poller == f && source != NULL);
    f->set_calls++;
    f->fd = socket;
    f->had = had;
    f->want = want;
    return f->set_answer;
}

static int fake_poller_wait(void *user_data, void *poller, aiocosmos_event *events, int cap, int timeout_ms)
{
    fake *f = user_data;
    CHECK(poller == f);
    CHECK_INT(cap, AIOC_REACTOR_BATCH);
    f->timeout_ms = timeout_ms;
    memcpy(events, f->events, sizeof f->events);
    return f->wait_answer;
}

static aiocosmos_platform fake_table(fake *f)
{
    aiocosmos_platform table;
    memset(f, 0, sizeof *f);
    memset(&table, 0, sizeof table);
    table.user_data = f;
    table.monotonic_us = fake_monotonic_us;
    table.poller_create = fake_poller_create;
    table.poller_destroy = fake_poller_destroy;
    table.poller_set = fake_poller_set;
    table.poller_wait = fake_poller_wait;
    return table;
}

static void fake_event(fake *f, aioc_reactor_source *source, unsigned ready)
{
    f->events[f->wait_answer].source = source;
    f->events[f->wait_answer++].ready = ready;
}

TEST(reactor_that_cannot_open_says_why)
{
    aioc_reactor reactor;
    aiocosmos_allocator allocator = {NULL, NULL};
    fake f;
    aiocosmos_platform table = fake_table(&f);
    f.create_answer = AIOCOSMOS_IO_LIMIT;
    CHECK_INT(aioc_reactor_open(&reactor, &table, &allocator), AIOCOSMOS_E_NOMEM);
    f.create_answer = AIOCOSMOS_IO_FAILED;
    CHECK_INT(aioc_reactor_open(&reactor, &table, &allocator), AIOCOSMOS_E_CONNECT);
    aioc_reactor_close(&reactor);                      /* harmless */
    CHECK_INT(f.destroyed, 0);
}

TEST(watch_tells_the_poller_what_changes)
{
    aioc_reactor reactor;
    aiocosmos_allocator allocator = {NULL, NULL};
    aioc_reactor_source a = source_of(7, NULL, NULL), b = source_of(8, NULL, NULL), d = source_of(9, NULL, NULL);
    fake f;
    aiocosmos_platform table = fake_table(&f);
    CHECK_INT(aioc_reactor_open(&reactor, &table, &allocator), 0);
    CHECK_INT(aioc_reactor_watch(&reactor, &a, 0), 0);
    CHECK_INT(f.set_calls, 0);
    CHECK_INT(aioc_reactor_watch(&reactor, &a, AIOCOSMOS_READABLE), 0);
    CHECK(f.fd == 7 && f.had == 0 && f.want == AIOCOSMOS_READABLE);
    CHECK_INT(aioc_reactor_watch(&reactor, &a, AIOCOSMOS_READABLE), 0);
    CHECK_INT(f.set_calls, 1);
    CHECK_INT(aioc_reactor_watch(&reactor, &a, AIOCOSMOS_WRITABLE), 0);
    CHECK(f.had == AIOCOSMOS_READABLE && f.want == AIOCOSMOS_WRITABLE);
    CHECK_INT(aioc_reactor_watch(&reactor, &b, AIOCOSMOS_READABLE), 0);
    f.set_answer = AIOCOSMOS_IO_LIMIT;                 /* refused: as it was */
    CHECK_INT(aioc_reactor_watch(&reactor, &d, AIOCOSMOS_READABLE), AIOCOSMOS_E_NOMEM);
    CHECK_INT(d.want, 0);
    f.set_answer = AIOCOSMOS_IO_FAILED;
    CHECK_INT(aioc_reactor_watch(&reactor, &a, AIOCOSMOS_READABLE), AIOCOSMOS_E_CONNECT);
    CHECK_INT(a.want, AIOCOSMOS_WRITABLE);
    f.set_answer = 0;
    CHECK_INT(aioc_reactor_watch(&reactor, &d, AIOCOSMOS_READABLE), 0);
    CHECK(reactor.sources == &d && d.next == &b && b.next == &a && !a.next);
    CHECK(d.at == &reactor.sources && b.at == &d.next && a.at == &b.next);
    CHECK_INT(reactor.source_count, 3);
    f.set_answer = AIOCOSMOS_IO_FAILED;                /* removing does not fail */
    CHECK_INT(aioc_reactor_watch(&reactor, &b, 0), 0);
    CHECK(d.next == &a && a.at == &d.next);
    CHECK_INT(aioc_reactor_watch(&reactor, &a, 0), 0);
    CHECK_INT(aioc_reactor_watch(&reactor, &d, 0), 0);
    CHECK(reactor.sources == NULL && reactor.source_count == 0);
    aioc_reactor_close(&reactor);
    CHECK_INT(f.destroyed, 1);
}

TEST(abandoned_reactor_asks_the_system_nothing)
{
    aioc_reactor reactor;
    aiocosmos_allocator allocator = {NULL, NULL};
    aioc_reactor_source a = source_of(7, note_ready, NULL);
    fake f;
    aiocosmos_platform table = fake_table(&f);
    CHECK_INT(aioc_reactor_open(&reactor, &table, &allocator), 0);
    CHECK_INT(aioc_reactor_watch(&reactor, &a, AIOCOSMOS_READABLE), 0);
    fake_event(&f, &a, AIOCOSMOS_READABLE);
    CHECK_INT(aioc_reactor_poll(&reactor, 0), 0);
    aioc_reactor_abandon(&reactor);
    CHECK_INT(f.destroyed, 1);
    CHECK(!aioc_reactor_dispatch_one(&reactor));
    CHECK_INT(aioc_reactor_watch(&reactor, &a, 0), 0);
    CHECK_INT(f.set_calls, 1);
    aioc_reactor_close(&reactor);
    CHECK_INT(f.destroyed, 1);
}

/* The first source that is called unwatches and frees the victim. */
typedef struct killer { aioc_reactor *reactor; aioc_reactor_source *victim; int calls; } killer;

static void kill_victim(aioc_reactor_source *source, unsigned ready)
{
    killer *k = source->owner;
    (void)ready;
    k->calls++;
    if (!k->victim) return;
    CHECK_INT(aioc_reactor_watch(k->reactor, k->victim, 0), 0);
    free(k->victim);
    k->victim = NULL;
}

/* More sources than a batch holds, all ready and staying so: one poll shows each of them, and comes to an end. */
TEST(one_poll_shows_every_source_that_is_ready)
{
    enum { COUNT = 3 * AIOC_REACTOR_BATCH + 5 };
    static aioc_reactor_source sources[COUNT];
    static seen_events seen[COUNT];
    static int pairs[COUNT][2];
    aioc_reactor reactor;
    aiocosmos_allocator allocator = {NULL, NULL};
    int i, rounds = 0;
    CHECK_INT(aioc_reactor_open(&reactor, SYSTEM, &allocator), 0);
    memset(seen, 0, sizeof seen);
    for (i = 0; i < COUNT; i++) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]) == 0);
        CHECK_INT(write(pairs[i][1], "x", 1), 1);
        sources[i] = source_of(pairs[i][0], note_ready, &seen[i]);
        CHECK_INT(aioc_reactor_watch(&reactor, &sources[i], AIOCOSMOS_READABLE), 0);
    }
    SYSTEM->poller_wake(NULL, reactor.poller);
    CHECK_INT(aioc_reactor_poll(&reactor, 0), 0);
    while (aioc_reactor_dispatch_one(&reactor)) CHECK(++rounds < 2 * COUNT);
    for (i = 0; i < COUNT; i++) CHECK(seen[i].calls > 0);
    for (i = 0; i < COUNT; i++) {
        aioc_reactor_watch(&reactor, &sources[i], 0);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    aioc_reactor_close(&reactor);
}

TEST(source_freed_while_its_event_waits_is_not_called)
{
    aioc_reactor reactor;
    aiocosmos_allocator allocator = {NULL, NULL};
    aioc_reactor_source source, other, *victim = malloc(sizeof *victim);
    killer k;
    seen_events seen = {0, 0}, seen_other = {0, 0};
    fake f;
    aiocosmos_platform table = fake_table(&f);
    CHECK_INT(aioc_reactor_open(&reactor, &table, &allocator), 0);
    k.reactor = &reactor;
    k.victim = victim;
    k.calls = 0;
    source = source_of(3, kill_victim, &k);
    other = source_of(5, note_ready, &seen_other);
    *victim = source_of(4, note_ready, &seen);
    CHECK_INT(aioc_reactor_watch(&reactor, &source, AIOCOSMOS_READABLE), 0);
    CHECK_INT(aioc_reactor_watch(&reactor, &other, AIOCOSMOS_READABLE), 0);
    CHECK_INT(aioc_reactor_watch(&reactor, victim, AIOCOSMOS_READABLE), 0);
    fake_event(&f, &source, AIOCOSMOS_READABLE);
    fake_event(&f, victim, AIOCOSMOS_READABLE);        /* another platform may report a source twice */
    fake_event(&f, victim, AIOCOSMOS_READABLE);
    fake_event(&f, &other, AIOCOSMOS_READABLE | AIOCOSMOS_WRITABLE);
    CHECK_INT(aioc_reactor_poll(&reactor, 17), 0);
    CHECK_INT(f.timeout_ms, 17);
    CHECK(aioc_reactor_dispatch_one(&reactor));
    CHECK(aioc_reactor_dispatch_one(&reactor));
    CHECK(!aioc_reactor_dispatch_one(&reactor));
    CHECK_INT(k.calls, 1);
    CHECK_INT(seen.calls, 0);
    CHECK_INT(seen_other.calls, 1);
    CHECK_INT(seen_other.ready, AIOCOSMOS_READABLE);   /* only what it wants */
    aioc_reactor_watch(&reactor, &source, 0);
    aioc_reactor_watch(&reactor, &other, 0);
    aioc_reactor_close(&reactor);
}

static void free_oneself(aioc_reactor_source *source, unsigned ready)
{
    killer *k = source->owner;
    (void)ready;
    k->calls++;
    CHECK_INT(aioc_reactor_watch(k->reactor, source, 0), 0);
    free(source);
}

TEST(source_may_free_itself_and_be_watched_anew)
{
    aioc_reactor reactor;
    aiocosmos_allocator allocator = {NULL, NULL};
    aioc_reactor_source *own = malloc(sizeof *own), again;
    seen_events seen = {0, 0};
    killer k = {NULL, NULL, 0};
    fake f;
    aiocosmos_platform table = fake_table(&f);
    CHECK_INT(aioc_reactor_open(&reactor, &table, &allocator), 0);
    k.reactor = &reactor;
    *own = source_of(3, free_oneself, &k);
    again = source_of(4, note_ready, &seen);
    CHECK_INT(aioc_reactor_watch(&reactor, own, AIOCOSMOS_READABLE), 0);
    CHECK_INT(aioc_reactor_watch(&reactor, &again, AIOCOSMOS_READABLE), 0);
    fake_event(&f, own, AIOCOSMOS_READABLE);
    fake_event(&f, own, AIOCOSMOS_READABLE);
    fake_event(&f, &again, AIOCOSMOS_READABLE);
    CHECK_INT(aioc_reactor_poll(&reactor, 0), 0);
    CHECK(aioc_reactor_dispatch_one(&reactor));
    /* Its owner closed the connection and opened another in its place: the old event is not the new one's. */
    CHECK_INT(aioc_reactor_watch(&reactor, &again, 0), 0);
    CHECK_INT(aioc_reactor_watch(&reactor, &again, AIOCOSMOS_READABLE), 0);
    CHECK(!aioc_reactor_dispatch_one(&reactor));
    CHECK_INT(k.calls, 1);
    CHECK_INT(seen.calls, 0);
    aioc_reactor_watch(&reactor, &again, 0);
    aioc_reactor_close(&reactor);
}

TEST(source_that_lost_interest_is_not_called)
{
    aioc_reactor reactor;
    aiocosmos_allocator allocator = {NULL, NULL};
    aioc_reactor_source a;
    seen_events seen = {0, 0};
    fake f;
    aiocosmos_platform table = fake_table(&f);
    CHECK_INT(aioc_reactor_open(&reactor, &table, &allocator), 0);
    a = source_of(3, note_ready, &seen);
    CHECK_INT(aioc_reactor_watch(&reactor, &a, AIOCOSMOS_READABLE | AIOCOSMOS_WRITABLE), 0);
    fake_event(&f, &a, AIOCOSMOS_WRITABLE);
    CHECK_INT(aioc_reactor_poll(&reactor, 0), 0);
    CHECK_INT(aioc_reactor_watch(&reactor, &a, AIOCOSMOS_READABLE), 0);
    CHECK(!aioc_reactor_dispatch_one(&reactor));
    CHECK_INT(seen.calls, 0);
    aioc_reactor_watch(&reactor, &a, 0);
    aioc_reactor_close(&reactor);
}

TEST(poll_that_fails_says_so_and_hands_out_nothing)
{
    aioc_reactor reactor;
    aiocosmos_allocator allocator = {NULL, NULL};
    fake f;
    aiocosmos_platform table = fake_table(&f);
    CHECK_INT(aioc_reactor_open(&reactor, &table, &allocator), 0);
    f.wait_answer = AIOCOSMOS_IO_FAILED;
    CHECK_INT(aioc_reactor_poll(&reactor, -1), AIOCOSMOS_E_CONNECT);
    CHECK_INT(f.timeout_ms, -1);
    CHECK(!aioc_reactor_dispatch_one(&reactor));
    f.wait_answer = AIOCOSMOS_IO_LIMIT;
    CHECK_INT(aioc_reactor_poll(&reactor, -1), AIOCOSMOS_E_NOMEM);
    aioc_reactor_close(&reactor);
}

TEST(tick_never_goes_back)
{
    aioc_reactor reactor;
    aiocosmos_allocator allocator = {NULL, NULL};
    fake f;
    aiocosmos_platform table = fake_table(&f);
    f.now_us = 1000;
    CHECK_INT(aioc_reactor_open(&reactor, &table, &allocator), 0);
    CHECK_INT(reactor.now_us, 1000);
    f.now_us = 1500;
    CHECK_INT(reactor.now_us, 1000);
    CHECK_INT(aioc_reactor_tick(&reactor), 1500);
    f.now_us = 700;
    CHECK_INT(aioc_reactor_tick(&reactor), 1500);
    CHECK_INT(reactor.now_us, 1500);
    aioc_reactor_close(&reactor);
}

/*------------------------------------------------------------------------------
 * Timers
 *----------------------------------------------------------------------------*/

#define TIMERS 10000

typedef struct timer_bench {
    aioc_reactor reactor;
    aiocosmos_platform table;
    fake f;
    aioc_reactor_timer timers[TIMERS];
    uint64_t order[TIMERS];              /* of its last start */
    aioc_reactor_timer *fired[TIMERS];
    size_t fired_count;
} timer_bench;

static timer_bench bench;

static void note_fired(aioc_reactor_timer *timer)
{
    timer_bench *b = timer->owner;
    CHECK(!timer->armed);
    b->fired[b->fired_count++] = timer;
}

static void bench_open(void)
{
    aiocosmos_allocator allocator = {NULL, NULL};
    size_t i;
    memset(&bench, 0, sizeof bench);
    bench.table = fake_table(&bench.f);
    CHECK_INT(aioc_reactor_open(&bench.reactor, &bench.table, &allocator), 0);
    for (i = 0; i < TIMERS; i++) {
        bench.timers[i].fire = note_fired;
        bench.timers[i].owner = &bench;
    }
}

static void bench_start(size_t i, uint64_t due_us)
{
    static uint64_t order;
    aioc_reactor_timer_start(&bench.reactor, &bench.timers[i], due_us);
    bench.order[i] = order++;
}

/* The reference: sorted by due time, then by start. */
static int reference_order(const void *a, const void *b)
{
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    const aioc_reactor_timer *s = &bench.timers[i], *t = &bench.timers[j];
    if (s->due_us != t->due_us) return s->due_us < t->due_us ? -1 : 1;
    return bench.order[i] < bench.order[j] ? -1 : 1;
}

/* Lets everything that is armed fire, and compares. */
static void check_firing_order(void)
{
    static size_t expected[TIMERS];
    size_t i, n = 0;
    uint64_t due_us;
    for (i = 0; i < TIMERS; i++) {
        if (bench.timers[i].armed) expected[n++] = i;
    }
    qsort(expected, n, sizeof expected[0], reference_order);
    bench.fired_count = 0;
    for (i = 0; i < n; i++) {
        CHECK(aioc_reactor_timer_next(&bench.reactor, &due_us));
        CHECK_INT(due_us, bench.timers[expected[i]].due_us);
        if (due_us > bench.reactor.now_us) {
            bench.f.now_us = due_us - 1;
            aioc_reactor_tick(&bench.reactor);
            CHECK(bench.reactor.now_us >= due_us || !aioc_reactor_timer_run_one(&bench.reactor));
            bench.f.now_us = due_us;
            aioc_reactor_tick(&bench.reactor);
        }
        CHECK(aioc_reactor_timer_run_one(&bench.reactor));
    }
    CHECK(!aioc_reactor_timer_run_one(&bench.reactor));
    CHECK(!aioc_reactor_timer_next(&bench.reactor, &due_us));
    CHECK_INT(bench.fired_count, n);
    for (i = 0; i < n; i++) CHECK(bench.fired[i] == &bench.timers[expected[i]]);
    aioc_reactor_close(&bench.reactor);
}

TEST(ten_thousand_timers_fire_in_order)
{
    size_t i;
    bench_open();
    for (i = 0; i < TIMERS; i++) bench_start(i, random_number() % 3000);    /* many ties */
    check_firing_order();
}

TEST(ten_thousand_timers_started_upwards_and_downwards)
{
    size_t i;
    bench_open();
    for (i = 0; i < TIMERS; i++) bench_start(i, 10 + i);
    check_firing_order();
    bench_open();
    for (i = 0; i < TIMERS; i++) bench_start(i, 2 * TIMERS - i);
    check_firing_order();
    bench_open();
    for (i = 0; i < TIMERS; i++) bench_start(i, 5);    /* all at once: in the order of their start */
    check_firing_order();
}

TEST(timers_started_stopped_and_restarted_at_random)
{
    int i;
    bench_open();
    for (i = 0; i < 20 * TIMERS; i++) {
        uint64_t r = random_number();
        size_t which = (size_t)(r >> 8) % TIMERS;
        switch (r % 8) {
        case 0: case 1: case 2: case 3:
            bench_start(which, bench.reactor.now_us + (r >> 32) % 5000);
            CHECK(bench.timers[which].armed);
            break;
        case 4: case 5:
            aioc_reactor_timer_stop(&bench.reactor, &bench.timers[which]);
            CHECK(!bench.timers[which].armed);
            break;
        case 6:
            bench.fired_count = 0;
            aioc_reactor_timer_run_one(&bench.reactor);
            break;
        default:
            bench.f.now_us++;
            aioc_reactor_tick(&bench.reactor);
        }
    }
    check_firing_order();
}

TEST(timer_stop_is_harmless_twice)
{
    uint64_t due_us;
    bench_open();
    aioc_reactor_timer_stop(&bench.reactor, &bench.timers[0]);
    bench_start(0, 5);
    aioc_reactor_timer_stop(&bench.reactor, &bench.timers[0]);
    aioc_reactor_timer_stop(&bench.reactor, &bench.timers[0]);
    CHECK(!aioc_reactor_timer_next(&bench.reactor, &due_us));
    CHECK(!aioc_reactor_timer_run_one(&bench.reactor));
    aioc_reactor_close(&bench.reactor);
}

static void fire_and_restart(aioc_reactor_timer *timer)
{
    note_fired(timer);
    if (bench.fired_count < 3) aioc_reactor_timer_start(&bench.reactor, timer, bench.reactor.now_us + 10);
}

static void fire_and_free(aioc_reactor_timer *timer)
{
    aioc_reactor_timer_stop(&bench.reactor, &bench.timers[1]);
    free(timer);
}

TEST(timer_may_restart_free_itself_and_stop_others_while_firing)
{
    aioc_reactor_timer *own = calloc(1, sizeof *own);
    bench_open();
    bench.timers[0].fire = fire_and_restart;
    bench_start(0, 10);
    bench_start(1, 15);
    own->fire = fire_and_free;
    aioc_reactor_timer_start(&bench.reactor, own, 12);
    for (bench.f.now_us = 0; bench.f.now_us < 100; bench.f.now_us++) {
        aioc_reactor_tick(&bench.reactor);
        while (aioc_reactor_timer_run_one(&bench.reactor)) continue;
    }
    CHECK_INT(bench.fired_count, 3);                   /* timer 0 at 10, 20 and 30; timer 1 never */
    CHECK(bench.fired[2] == &bench.timers[0] && bench.timers[0].due_us == 30);
    aioc_reactor_close(&bench.reactor);
}
