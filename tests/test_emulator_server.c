/* The emulator's own part of the work: sockets, time limits, how many connections there may be, its log. */
#define _GNU_SOURCE                                         /* for prlimit */
#include "client.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <sys/resource.h>

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

static int answer_of(int fd)
{
    char part[4096];
    ptrdiff_t got = recv(fd, part, sizeof part - 1, 0);
    part[got > 0 ? got : 0] = 0;
    return got > 12 ? atoi(part + 9) : 0;
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

#ifdef __linux__
/* Whether it comes to wait for something: for a while it is asleep each time that one looks, and spends nothing. */
static bool comes_to_rest(void)
{
    char path[64], text[1000], state;
    long user, kernel, before = -1;
    int i, rested = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)emulator.pid);
    for (i = 0; i < 300 && rested < 8; i++) {
        FILE *file = fopen(path, "r");
        size_t len;
        CHECK(file != NULL);
        len = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[len] = 0;
        CHECK_INT(sscanf(strrchr(text, ')'), ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &state, &user,
                         &kernel), 3);
        rested = state == 'S' && user + kernel == before ? rested + 1 : 0;
        before = user + kernel;
        poll(NULL, 0, 10);
    }
    return rested == 8;
}

/* Connections that there is no descriptor for do not wake it for ever; when others end, they are served. */
TEST(without_descriptors_it_rests)
{
    struct rlimit few = { 16, 16 };
    int fd[40], i, last;
    start_emulator("");
    CHECK_INT(prlimit(emulator.pid, RLIMIT_NOFILE, &few, NULL), 0);
    for (i = 0; i < 40; i++) {
        fd[i] = open_socket();
        send_text(fd[i], "GET /_emulator/health HTTP/1.1\r\nHost: loc");     /* idle ones would be closed */
    }
    CHECK(comes_to_rest());
    last = fd[39];
    for (i = 0; i < 39; i++) close(fd[i]);
    send_text(last, "alhost\r\n\r\n");
    CHECK_INT(answer_of(last), 200);
    close(last);
}
#endif

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

/* Of the machine's own addresses one that is not loopback; false: it has none. */
static bool own_address(struct in_addr *out)
{
    struct ifaddrs *all, *one;
    bool found = false;
    CHECK_INT(getifaddrs(&all), 0);
    for (one = all; one && !found; one = one->ifa_next) {
        if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET || (one->ifa_flags & IFF_LOOPBACK)) continue;
        *out = ((struct sockaddr_in *)(void *)one->ifa_addr)->sin_addr;
        found = true;
    }
    freeifaddrs(all);
    return found;
}

static int ask_from(struct in_addr own, const char *request)
{
    struct sockaddr_in peer;
    int fd = socket(AF_INET, SOCK_STREAM, 0), status;
    memset(&peer, 0, sizeof peer);
    peer.sin_family = AF_INET;
    peer.sin_port = htons((uint16_t)emulator.port);
    peer.sin_addr = own;
    CHECK_INT(connect(fd, (struct sockaddr *)&peer, sizeof peer), 0);
    send_text(fd, request);
    status = answer_of(fd);
    close(fd);
    return status;
}

/* A program on another machine can call itself localhost, and has no key of its own for it. */
TEST(controls_are_not_for_other_machines_whatever_they_say)
{
    char request[1024];
    static aioc_auth_signer signer;
    aiocosmos_str date, signature;
    struct in_addr own;
    size_t bad_at;
    if (!own_address(&own)) SKIP("there is no address but loopback");
    start_emulator("--host 0.0.0.0");
    snprintf(request, sizeof request, ASK, "Host: localhost");
    CHECK_INT(ask_from(own, request), 401);
    CHECK_INT(http_exchange(request), 204);                /* this one comes from 127.0.0.1 */
    CHECK_INT(ask_from(own, HEALTH), 200);
    CHECK_INT(aioc_auth_signer_set_key(&signer, aioc_mem_str(AIOCOSMOS_EMULATOR_KEY), &bad_at), 0);
    signature = aioc_auth_sign(&signer, "DELETE", "_emulator", aioc_mem_str("_emulator/faults"), time(NULL));
    date = aioc_auth_signer_date(&signer, time(NULL));
    snprintf(request, sizeof request, "DELETE /_emulator/faults HTTP/1.1\r\nHost: localhost\r\nx-ms-date: %.*s\r\n"
             "x-ms-version: 2020-07-15\r\nauthorization: %.*s\r\n\r\n", (int)date.len, date.ptr, (int)signature.len,
             signature.ptr);
    CHECK_INT(ask_from(own, request), 204);
}

/*--- One query stops nobody ------------------------------------------------------------*/

/* A signed request about the items of a container. */
static const char *about_items(const char *verb, const char *id, const char *lines, const char *body)
{
    static char request[4096];
    static aioc_auth_signer signer;
    time_t now = time(NULL);
    size_t bad_at;
    char link[100];
    aiocosmos_str date, signature;
    snprintf(link, sizeof link, "dbs/D/colls/C%s%s", *id ? "/docs/" : "", id);
    CHECK_INT(aioc_auth_signer_set_key(&signer, aioc_mem_str(AIOCOSMOS_EMULATOR_KEY), &bad_at), 0);
    signature = aioc_auth_sign(&signer, verb, "docs", aioc_mem_str(link), now);
    date = aioc_auth_signer_date(&signer, now);
    snprintf(request, sizeof request, "%s /%s%s HTTP/1.1\r\nHost: localhost\r\nx-ms-version: 2020-07-15\r\n"
             "x-ms-date: %.*s\r\nauthorization: %.*s\r\nx-ms-documentdb-partitionkey: [\"k\"]\r\n%s"
             "Content-Length: %d\r\n\r\n%s", verb, link, *id ? "" : "/docs", (int)date.len, date.ptr,
             (int)signature.len, signature.ptr, lines, (int)strlen(body), body);
    return request;
}

static void fill_with_arrays(int items)
{
    char document[400];
    int i, fd = open_socket();
    CHECK_INT(http_signed("POST", "dbs", "", "/dbs", "{\"id\":\"D\"}"), 201);
    CHECK_INT(http_signed("POST", "colls", "dbs/D", "/dbs/D/colls",
                          "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"]}}"), 201);
    for (i = 0; i < items; i++) {
        int k;
        snprintf(document, sizeof document, "{\"id\":\"%d\",\"pk\":\"k\",\"l\":[0", i);
        for (k = 1; k < 100; k++) strcat(document, ",1");
        strcat(document, "]}");
        send_text(fd, about_items("POST", "", "", document));
        CHECK_INT(answer_of(fd), 201);
    }
    close(fd);
}

#define TRIPLE "{\"query\":\"SELECT VALUE COUNT(1) FROM c JOIN x IN c.l JOIN y IN c.l JOIN z IN c.l\"}"

/* 1,500 documents that make a million combinations each keep the emulator busy for a minute. Beside that others are
 * served, and nobody waits when nobody waits for the answer. The limits here leave room for a slow machine. */
TEST(one_query_stops_nobody)
{
    int heavy[8], reader, i, status;
    uint64_t began, worst = 0;
    start_emulator("");
    fill_with_arrays(1500);
    reader = open_socket();
    for (i = 0; i < 8; i++) {
        heavy[i] = open_socket();
        send_text(heavy[i], about_items("POST", "", "x-ms-documentdb-isquery: True\r\n"
                                        "Content-Type: application/query+json\r\n", TRIPLE));
    }
    for (i = 0; i < 50; i++) {
        uint64_t took, asked = aioc_platform_monotonic_us(NULL);
        send_text(reader, about_items("GET", "7", "", ""));
        CHECK_INT(answer_of(reader), 200);
        took = aioc_platform_monotonic_us(NULL) - asked;
        if (took > worst) worst = took;
    }
    for (i = 0; i < 8; i++) {
        char byte;
        CHECK_INT(recv(heavy[i], &byte, 1, MSG_DONTWAIT), -1);                /* they are still at work */
    }
    if (worst > 1000000) test_fail(__FILE__, __LINE__, "a read took %llu us", (unsigned long long)worst);
    for (i = 1; i < 8; i++) close(heavy[i]);
    began = aioc_platform_monotonic_us(NULL);
    CHECK_INT(kill(emulator.pid, SIGTERM), 0);
    CHECK_INT(waitpid(emulator.pid, &status, 0), emulator.pid);
    emulator.pid = 0;
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(aioc_platform_monotonic_us(NULL) - began < 2000000);
    close(heavy[0]);
    close(reader);
}

#ifdef __linux__
/* A query that nobody waits for any more would take a share of the processor. */
TEST(who_hung_up_is_worked_for_no_longer)
{
    int heavy, fd;
    start_emulator("");
    fill_with_arrays(1500);
    heavy = open_socket();
    send_text(heavy, about_items("POST", "", "x-ms-documentdb-isquery: True\r\n"
                                 "Content-Type: application/query+json\r\n", TRIPLE));
    fd = open_socket();
    CHECK(is_alive(fd));
    close(heavy);
    CHECK(comes_to_rest());
    close(fd);
}
#endif

/*--- Data that stays -------------------------------------------------------------------*/

#define DATA BUILD_DIR "/tests/emulator.data"

static void create_one(const char *id, int wanted)
{
    char document[100];
    int fd = open_socket();
    snprintf(document, sizeof document, "{\"id\":\"%s\",\"pk\":\"k\"}", id);
    send_text(fd, about_items("POST", "", "", document));
    CHECK_INT(answer_of(fd), wanted);
    close(fd);
}

static void read_one(const char *id, int wanted)
{
    int fd = open_socket();
    send_text(fd, about_items("GET", id, "", ""));
    CHECK_INT(answer_of(fd), wanted);
    close(fd);
}

/* Whether an emulator that has these options ends at once; with what. */
static int status_with(const char *options)
{
    int status = -1, output[2];
    pid_t pid;
    CHECK_INT(pipe(output), 0);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        dup2(output[1], STDERR_FILENO);
        exec_emulator(options, output[1]);
    }
    close(output[1]);
    waitpid(pid, &status, 0);
    close(output[0]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(data_outlives_the_emulator)
{
    FILE *torn;
    unlink(DATA);
    unlink(DATA ".cut");
    unlink(DATA ".cut2");
    start_emulator("--data " DATA);
    fill_with_arrays(10);
    create_one("a", 201);
    CHECK_INT(status_with("--data " DATA), 1);             /* one at a time */
    start_emulator("--sync --data " DATA);                 /* after a SIGKILL */
    read_one("a", 200);
    read_one("9", 200);
    create_one("b", 201);
    create_one("a", 409);
    stop_emulator();
    torn = fopen(DATA, "a");
    fputs("half a head", torn);
    fclose(torn);
    start_emulator("--data " DATA);
    read_one("b", 200);
    create_one("c", 201);
    CHECK_STR(read_text(DATA ".cut"), "half a head");
    start_emulator("--data " DATA);
    read_one("c", 200);
    stop_emulator();
    torn = fopen(DATA, "a");
    fputs("another", torn);
    fclose(torn);
    start_emulator("--data " DATA);
    read_one("c", 200);
    stop_emulator();
    CHECK_STR(read_text(DATA ".cut"), "half a head");
    CHECK_STR(read_text(DATA ".cut2"), "another");
    torn = fopen(DATA, "r+");
    fputs("something else", torn);
    fclose(torn);
    CHECK_INT(status_with("--data " DATA), 1);
    CHECK_INT(status_with("--data /nowhere/at/all"), 1);
    CHECK_INT(status_with("--sync"), 2);
    unlink(DATA);
    unlink(DATA ".cut");
    unlink(DATA ".cut2");
}

static size_t size_of(const char *path)
{
    struct stat state;
    return stat(path, &state) == 0 ? (size_t)state.st_size : 0;
}

static void change_often(int times)
{
    char document[400];
    int i, fd = open_socket();
    for (i = 0; i < times; i++) {
        snprintf(document, sizeof document, "{\"id\":\"a\",\"pk\":\"k\",\"n\":%d,\"text\":\"%0200d\"}", i, i);
        send_text(fd, about_items("POST", "", "x-ms-documentdb-is-upsert: True\r\n", document));
        CHECK_INT(answer_of(fd) / 100, 2);
    }
    close(fd);
}

/* It is written anew when most of it has changed since, unless that is not possible; what another attempt has left is
 * no hindrance. */
TEST(data_does_not_grow_for_ever)
{
    size_t large;
    FILE *half;
    unlink(DATA);
    rmdir(DATA ".new");
    start_emulator("--data " DATA);
    fill_with_arrays(3);
    change_often(500);
    stop_emulator();
    large = size_of(DATA);
    CHECK(large > 100000);
    CHECK_INT(mkdir(DATA ".new", 0700), 0);
    start_emulator("--data " DATA);
    read_one("2", 200);
    stop_emulator();
    CHECK_INT(size_of(DATA), large);
    CHECK_INT(rmdir(DATA ".new"), 0);
    half = fopen(DATA ".new", "w");
    fputs("aiocosmos-emulator da", half);
    fclose(half);
    start_emulator("--data " DATA);
    CHECK(size_of(DATA) < 4000);
    CHECK_INT(size_of(DATA ".new"), 0);
    CHECK_INT(status_with("--data " DATA), 1);
    read_one("a", 200);
    create_one("b", 201);
    start_emulator("--data " DATA);                        /* after a SIGKILL */
    read_one("a", 200);
    read_one("b", 200);
    read_one("2", 200);
    stop_emulator();
    unlink(DATA);
}

/* A limit of a file's size (ulimit -f) is a full disk, not the emulator's end: neither while its data are written anew,
 * nor for a change. */
TEST(a_file_that_may_not_grow_refuses_changes_only)
{
    struct rlimit none, at_most = { 700, 700 };
    size_t large;
    unlink(DATA);
    start_emulator("--data " DATA);
    fill_with_arrays(3);
    change_often(500);
    stop_emulator();
    large = size_of(DATA);
    CHECK_INT(getrlimit(RLIMIT_FSIZE, &none), 0);
    at_most.rlim_max = none.rlim_max;
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &at_most), 0);       /* the child has it, too */
    start_emulator("--data " DATA);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &none), 0);
    CHECK_INT(size_of(DATA), large);
    CHECK_INT(access(DATA ".new", F_OK), -1);
    create_one("b", 503);
    read_one("a", 200);
    start_emulator("--data " DATA);                        /* without the limit */
    CHECK(size_of(DATA) < 4000);
    read_one("a", 200);
    create_one("b", 201);
    stop_emulator();
    unlink(DATA);
}

/*--- The tests' own part ------------------------------------------------------------------------*/

/* Others start servers meanwhile, whose port the kernel chooses: one of these would be where the emulator was. */
TEST(where_an_emulator_was_stopped_nobody_comes)
{
    int i;
    start_emulator("");
    stop_emulator();
    for (i = 0; i < 60000; i++) {
        int fd = vacant_keep(0);
        CHECK(vacant_port(fd) != emulator.port);
        close(fd);
    }
}
