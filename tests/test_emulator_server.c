/* The emulator's own part of the work: sockets, time limits, how many connections there may be, its log. */
#include "client.h"

static int open_socket(void)
{
    struct sockaddr_in peer;
    struct timeval patience = { PATIENCE_MS / 1000, 0 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&peer, 0, sizeof peer);
    peer.sin_family = AF_INET;
    peer.sin_port = htons((uint16_t)emulator.port);
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    CHECK_INT(connect(fd, (struct sockaddr *)&peer, sizeof peer), 0);
    return fd;
}

static void send_text(int fd, const char *text)
{
    CHECK_INT(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until the emulator hangs up; returns how many bytes came. -1: it does not. */
static int read_to_end(int fd)
{
    char part[4096];
    int all = 0;
    ptrdiff_t got;
    while ((got = recv(fd, part, sizeof part, 0)) > 0) all += (int)got;
    return got == 0 || errno == ECONNRESET ? all : -1;
}

#define HEALTH "GET /_emulator/health HTTP/1.1\r\nHost: localhost\r\n\r\n"

static bool is_alive(int fd)
{
    char part[1024];
    ptrdiff_t got;
    if (send(fd, HEALTH, sizeof HEALTH - 1, MSG_NOSIGNAL) < 0) return false;
    got = recv(fd, part, sizeof part, 0);
    return got > 12 && memcmp(part, "HTTP/1.1 200", 12) == 0;
}

TEST(a_peer_that_says_half_is_not_waited_for)
{
    int idle, half_head, half_body, slow;
    start_emulator("--timeouts 0.2,0.2,1000");
    idle = open_socket();
    half_head = open_socket();
    half_body = open_socket();
    send_text(half_head, "GET / HTTP/1.1\r\nHost: lo");
    send_text(half_body, "POST /dbs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{");
    CHECK_INT(read_to_end(half_head), 0);
    CHECK_INT(read_to_end(half_body), 0);
    CHECK(is_alive(idle));
    slow = open_socket();
    send_text(slow, "POST /dbs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{");
    send_text(slow, "}");
    CHECK(read_to_end(slow) > 12);                          /* an answer, if not a good one */
    close(idle);
    close(half_head);
    close(half_body);
    close(slow);
    start_emulator("--timeouts 10,10,0.2");
    idle = open_socket();
    CHECK_INT(read_to_end(idle), 0);
    close(idle);
}

/* A byte now and then does not make a head that ends. */
TEST(a_head_has_its_time_as_a_whole)
{
    int fd, sent = 0;
    start_emulator("--timeouts 0.3,10,10");
    fd = open_socket();
    while (send(fd, "G", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 && sent < 1000) {
        struct pollfd ended = { fd, POLLIN, 0 };
        sent++;
        if (poll(&ended, 1, 20) > 0) break;
    }
    CHECK(sent < 200);
    CHECK(read_to_end(fd) >= 0);
    close(fd);
}

TEST(who_was_idle_longest_makes_room)
{
    int fd[6], i, alive = 0;
    start_emulator("--connections 4");
    for (i = 0; i < 6; i++) {
        fd[i] = open_socket();
        CHECK(is_alive(fd[i]));
    }
    CHECK_INT(read_to_end(fd[0]), 0);
    CHECK_INT(read_to_end(fd[1]), 0);
    for (i = 2; i < 6; i++) alive += is_alive(fd[i]);
    CHECK_INT(alive, 4);
    for (i = 0; i < 6; i++) close(fd[i]);
}

#define ASK "DELETE /_emulator/faults HTTP/1.1\r\n%s\r\nConnection: close\r\n\r\n"

TEST(controls_are_for_this_machine_or_who_has_the_key)
{
    static const char *const heads[] = {
        "Host: evil.example", "Host: localhost\r\nOrigin: http://evil.example",
        "Host: localhost.evil.example", "Host: 127.0.0.1.evil.example", "Host: 192.168.0.7:8081"
    };
    static const char *const good[] = {
        "Host: localhost", "Host: 127.0.0.1:8081", "Host: [::1]:8081", "Host: LOCALHOST:1",
        "Host: localhost\r\nOrigin: http://localhost:3000"
    };
    char request[512];
    size_t i;
    int status;
    start_emulator("");
    for (i = 0; i < sizeof heads / sizeof *heads; i++) {
        snprintf(request, sizeof request, ASK, heads[i]);
        status = http_exchange(request);
        if (status != 401 && status != 403) test_fail(__FILE__, __LINE__, "%s: %d", heads[i], status);
    }
    for (i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(request, sizeof request, ASK, good[i]);
        status = http_exchange(request);
        if (status != 204) test_fail(__FILE__, __LINE__, "%s: %d", good[i], status);
    }
    CHECK_INT(http_exchange("GET /_emulator/health HTTP/1.1\r\nHost: pod-7\r\nConnection: close\r\n\r\n"), 200);
}
