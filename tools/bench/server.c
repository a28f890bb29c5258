/* bench/server.c: the server that `make bench` loads: one thread, one epoll, no work but HTTP. It answers every POST as
 * the service answers an insert with Prefer: return=minimal, so that a client has the usual headers to read; session
 * token, LSN, ETag and activity id differ in each answer, as they do there. A batch of inserts is answered with a result
 * for each, with an ETag of its own; a container has four partition key ranges. What official SDKs ask before they
 * insert is answered, too: the account, and that no ranges are newer. GET /stats tells what it has done.
 *
 *     server [PORT]      prints "ready URL" when it accepts connections; port 0, the default, is a free one */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_BYTES_MAX 262144                           /* a batch of a client is below 220,201 and its head */
#define BATCH_MAX         100
#define EVENTS            128
#define NUMBER            "1000000000"                     /* counts up; its width never changes */
#define NUMBER_DIGITS     (sizeof NUMBER - 1)
#define DATE_FORM         "%a, %d %b %Y %H:%M:%S GMT"
#define DATE_BYTES        29u

typedef struct peer {                                      /* one connection */
    int fd;
    size_t len;
    char bytes[REQUEST_BYTES_MAX];
} peer;

typedef struct server {
    int listener, epoll;
    int port;
    uint64_t posts, inserts, bytes, connections;
    time_t date_of;                                        /* the second that the answer's date tells */
    char number[NUMBER_DIGITS];
} server;

/* The parts that change are written over in place. */
static char answer[] =
    "HTTP/1.1 201 Created\r\n"
    "Content-Length: 0\r\n"
    "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    "Server: Microsoft-HTTPAPI/2.0\r\n"
    "lsn: " NUMBER "\r\n"
    "etag: \"0000d826-0000-0700-0000-00" NUMBER "\"\r\n"
    "x-ms-last-state-change-utc: Fri, 20 Nov 2026 21:07:13.011 GMT\r\n"
    "x-ms-resource-quota: documentSize=51200;documentsSize=52428800;documentsCount=-1;collectionSize=52428800;\r\n"
    "x-ms-resource-usage: documentSize=0;documentsSize=1;documentsCount=5;collectionSize=1;\r\n"
    "x-ms-schemaversion: 1.16\r\n"
    "x-ms-request-charge: 6.29\r\n"
    "x-ms-serviceversion: version=2.14.0.0\r\n"
    "x-ms-activity-id: 856acd38-320d-47df-ab6f-97" NUMBER "\r\n"
    "x-ms-session-token: 0:-1#" NUMBER "\r\n"
    "x-ms-gatewayversion: version=2.14.0\r\n"
    "\r\n";
static char *answer_number[4], *answer_date;

/* The same of a batch: the head up to its length, what follows that, and the result of an operation. */
static const char batch_head[] = "HTTP/1.1 200 OK\r\nContent-Length: ";
static const char batch_result[] =
    "{\"statusCode\":201,\"requestCharge\":6.29,\"eTag\":\"\\\"0000d826-0000-0700-0000-00" NUMBER "\\\"\"}";

static const char definition[] =
    "{\"id\":\"events\",\"_rid\":\"abcdAMsp2wQ=\",\"_self\":\"dbs/abcdAA==/colls/abcdAMsp2wQ=/\","
    "\"partitionKey\":{\"paths\":[\"/deviceId\"],\"kind\":\"Hash\",\"version\":2}}";
static const char ranges[] =
    "{\"_rid\":\"abcdAMsp2wQ=\",\"PartitionKeyRanges\":["
    "{\"id\":\"0\",\"minInclusive\":\"\",\"maxExclusive\":\"0FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\"},"
    "{\"id\":\"1\",\"minInclusive\":\"0FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\","
    "\"maxExclusive\":\"1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\"},"
    "{\"id\":\"2\",\"minInclusive\":\"1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\","
    "\"maxExclusive\":\"2FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\"},"
    "{\"id\":\"3\",\"minInclusive\":\"2FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\",\"maxExclusive\":\"FF\"}],\"_count\":4}";

static const char account[] =
    "{\"id\":\"bench\",\"_rid\":\"bench\",\"writableLocations\":[{\"name\":\"here\",\"databaseAccountEndpoint\":"
    "\"http://127.0.0.1:%d/\"}],\"readableLocations\":[{\"name\":\"here\",\"databaseAccountEndpoint\":"
    "\"http://127.0.0.1:%d/\"}],\"enableMultipleWriteLocations\":false,"
    "\"userReplicationPolicy\":{\"maxReplicasetSize\":4},\"userConsistencyPolicy\":"
    "{\"defaultConsistencyLevel\":\"Session\"},\"systemReplicationPolicy\":"
    "{\"maxReplicasetSize\":4},\"readPolicy\":{\"primaryReadCoefficient\":1,\"secondaryReadCoefficient\":1},"
    "\"queryEngineConfiguration\":\"{}\"}";

static const char not_modified[] = "HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\netag: \"1\"\r\n\r\n";
static const char not_found[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nx-ms-request-charge: 1.00\r\n\r\n";

/*--- Answers ----------------------------------------------------------------*/

static void answer_prepare(void)
{
    size_t i;
    char *at = answer;
    for (i = 0; i < sizeof answer_number / sizeof *answer_number; i++) {
        answer_number[i] = at = strstr(at, NUMBER);
        at++;
    }
    answer_date = strstr(answer, "Date: ") + 6;
}

/* Clients correct their clock by the date, so it must be right. */
static void answer_tell_date(server *s)
{
    struct timespec now;
    struct tm utc;
    char text[DATE_BYTES + 1];
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec == s->date_of) return;
    s->date_of = now.tv_sec;
    if (strftime(text, sizeof text, DATE_FORM, gmtime_r(&s->date_of, &utc)) == DATE_BYTES)
        memcpy(answer_date, text, DATE_BYTES);
}

static void answer_count(server *s)
{
    size_t i = NUMBER_DIGITS;
    while (i-- > 0 && ++s->number[i] > '9') s->number[i] = '0';
    for (i = 0; i < sizeof answer_number / sizeof *answer_number; i++)
        memcpy(answer_number[i], s->number, NUMBER_DIGITS);
}

static size_t stats_print(const server *s, char *out, size_t cap)
{
    char body[256];
    struct rusage used;
    int len;
    getrusage(RUSAGE_SELF, &used);
    len = snprintf(body, sizeof body,
                   "{\"posts\":%llu,\"inserts\":%llu,\"bytes\":%llu,\"connections\":%llu,\"cpu_us\":%lld}\n",
                   (unsigned long long)s->posts, (unsigned long long)s->inserts, (unsigned long long)s->bytes,
                   (unsigned long long)s->connections,
                   (long long)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 +
                       (long long)(used.ru_utime.tv_usec + used.ru_stime.tv_usec));
    len = snprintf(out, cap, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len,
                   body);
    return (size_t)len;
}

/* An answer is far smaller than a socket's buffer: a peer that has no room for it does not read its answers. */
static bool peer_send(const peer *p, const char *bytes, size_t len)
{
    return send(p->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* So many results, each with its own number, behind the lines that every answer has. */
static size_t batch_print(server *s, size_t count, char *out)
{
    const char *lines = strstr(answer, "Date: ");
    size_t body = 2 + count * sizeof batch_result - 1, len, i;
    len = (size_t)sprintf(out, "%s%zu\r\n%s[", batch_head, body, lines);
    for (i = 0; i < count; i++) {
        if (i) out[len++] = ',';
        memcpy(out + len, batch_result, sizeof batch_result - 1);
        answer_count(s);
        memcpy(out + len + sizeof batch_result - 1 - sizeof "\\\"\"}" + 1 - NUMBER_DIGITS, s->number, NUMBER_DIGITS);
        len += sizeof batch_result - 1;
    }
    out[len++] = ']';
    return len;
}

static bool peer_answer_batch(server *s, peer *p, const char *body, const char *end)
{
    static const char operation[] = "{\"operationType\":";
    char text[BATCH_MAX * sizeof batch_result + 2048];
    size_t count = 0;
    for (; (body = (const char *)memmem(body, (size_t)(end - body), operation, sizeof operation - 1)) != NULL; body++)
        count++;
    if (count < 1 || count > BATCH_MAX) return false;
    s->inserts += count;
    return peer_send(p, text, batch_print(s, count, text));
}

static bool peer_answer_json(peer *p, const char *json)
{
    char text[1536];
    return peer_send(p, text, (size_t)sprintf(text, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                              "etag: \"1\"\r\nx-ms-alt-content-path: dbs/bench\r\n"
                                              "x-ms-request-charge: 1.00\r\nContent-Length: %zu\r\n\r\n%s",
                                              strlen(json), json));
}

/* What clients read before they insert. */
static bool peer_answer_get(const server *s, peer *p, size_t head_bytes)
{
    char text[1024];
    const char *line_end = (const char *)memchr(p->bytes, '\r', head_bytes);
    if (memcmp(p->bytes, "GET / ", 6) == 0) {
        snprintf(text, sizeof text, account, s->port, s->port);
        return peer_answer_json(p, text);
    }
    if (memcmp(p->bytes, "GET /stats ", 11) == 0) return peer_send(p, text, stats_print(s, text, sizeof text));
    if (memcmp(p->bytes, "GET /dbs/", 9) != 0) return peer_send(p, not_found, sizeof not_found - 1);
    if (!memmem(p->bytes, (size_t)(line_end - p->bytes), "/pkranges", 9)) return peer_answer_json(p, definition);
    p->bytes[head_bytes - 1] = 0;                          /* in place of the last line feed: a text */
    if (strcasestr(line_end, "\r\nif-none-match:")) return peer_send(p, not_modified, sizeof not_modified - 1);
    return peer_answer_json(p, ranges);
}

static bool peer_answer(server *s, peer *p, size_t request_bytes)
{
    const char *end = p->bytes + request_bytes;
    const char *head_end = (const char *)memmem(p->bytes, request_bytes, "\r\n\r\n", 4);
    if (memcmp(p->bytes, "POST ", 5) == 0 &&
        memmem(p->bytes, (size_t)(head_end - p->bytes), "-is-batch-request:", 18)) {
        s->posts++;
        s->bytes += request_bytes;
        return peer_answer_batch(s, p, head_end, end);
    }
    if (memcmp(p->bytes, "POST ", 5) == 0) {
        s->posts++;
        s->inserts++;
        s->bytes += request_bytes;
        answer_count(s);
        return peer_send(p, answer, sizeof answer - 1);
    }
    return peer_answer_get(s, p, (size_t)(head_end - p->bytes) + 4);
}

/*--- Requests ---------------------------------------------------------------*/

/* The bytes of the first whole request that the peer has sent; 0: not all there yet. */
static size_t request_size(const peer *p)
{
    static const char name[] = "content-length:";
    const char *line = p->bytes, *end = p->bytes + p->len, *stop;
    size_t body = 0;
    while ((stop = (const char *)memchr(line, '\n', (size_t)(end - line))) != NULL) {
        size_t len = (size_t)(stop - line) + 1;
        if (len <= 2) break;
        if (len > sizeof name && (*line | 0x20) == 'c' && strncasecmp(line, name, sizeof name - 1) == 0)
            body = strtoul(line + sizeof name - 1, NULL, 10);      /* ends at the line's end, which is there */
        line = stop + 1;
    }
    if (!stop || body > (size_t)(end - stop) - 1) return 0;
    return (size_t)(stop - p->bytes) + 1 + body;
}

/* False: this connection is over. */
static bool peer_read(server *s, peer *p)
{
    size_t size;
    ssize_t got = recv(p->fd, p->bytes + p->len, sizeof p->bytes - p->len, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    p->len += (size_t)got;
    while ((size = request_size(p)) > 0) {
        if (!peer_answer(s, p, size)) return false;
        p->len -= size;
        if (p->len == 0) break;
        memmove(p->bytes, p->bytes + size, p->len);
    }
    return p->len < sizeof p->bytes;
}

/*--- Connections ------------------------------------------------------------*/

static bool watch(const server *s, int fd, void *source)
{
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN;
    event.data.ptr = source;
    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void accept_all(server *s)
{
    const int one = 1;
    int fd;
    while ((fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        peer *p = (peer *)malloc(sizeof *p);
        if (p) {
            p->fd = fd;
            p->len = 0;
        }
        if (!p || !watch(s, fd, p)) {
            free(p);
            close(fd);
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        s->connections++;
    }
}

static void serve(server *s)
{
    struct epoll_event events[EVENTS];
    for (;;) {
        int i, n = epoll_wait(s->epoll, events, EVENTS, -1);
        answer_tell_date(s);
        for (i = 0; i < n; i++) {
            peer *p = (peer *)events[i].data.ptr;
            if (!p) {
                accept_all(s);
            } else if (!peer_read(s, p)) {
                close(p->fd);
                free(p);
            }
        }
    }
}

/* The port that it listens on; < 0: errno says why it does not. */
static int server_listen(server *s, int port)
{
    const int one = 1;
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->listener < 0 || s->epoll < 0) return -1;
    setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s->listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(s->listener, 1024) < 0 ||
        getsockname(s->listener, (struct sockaddr *)&address, &len) < 0 || !watch(s, s->listener, NULL))
        return -1;
    return ntohs(address.sin_port);
}

int main(int argc, char **argv)
{
    static server s;
    s.port = server_listen(&s, argc > 1 ? atoi(argv[1]) : 0);
    if (s.port < 0) {
        perror("bench/server");
        return 1;
    }
    memcpy(s.number, NUMBER, NUMBER_DIGITS);
    answer_prepare();
    printf("ready http://127.0.0.1:%d\n", s.port);
    fflush(stdout);
    serve(&s);
    return 0;
}
