/* client.h: what the tests of the whole client share. Each test gets an emulator of its own, a child process on a free
 * port, and clients whose memory is counted:
 *
 *     aiocosmos_client *client = open_world("--partitions 4");        // emulator, client, database "db", container "c"
 *     answer got;
 *     CHECK_INT(ask(client, create("ann", aiocosmos_s("eu"), "{\"id\":\"ann\",\"pk\":\"eu\"}"), &got), 0);
 *     close_world(client);                                            // nothing may be left allocated
 *
 * A test that fails leaves its emulator behind; the next one, or the end of the program, stops it. */
#include "client_inside.h"
#include "test.h"
#include "heap.h"
#include "vacant.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#define PATIENCE_MS 10000                    /* what takes longer than this has failed */

/* A test that runs twice, over plain sockets and over TLS. */
#define TEST_TWICE(NAME)                          \
    static void twice_##NAME(void);               \
    TEST(NAME) { twice_##NAME(); }                \
    TEST(NAME##_over_tls) { twice_##NAME(); }     \
    static void twice_##NAME(void)

static inline bool over_tls(void)
{
    return strstr(test.running->name, "_over_tls") != NULL;
}

/*--- The emulator as a child process --------------------------------------------*/

static struct emulator {
    pid_t pid;
    int port;
    int vacant;                              /* its port, kept when it was stopped; 0: none is */
    char url[96];
} emulator;

static inline void end_emulator(void)
{
    if (emulator.vacant > 0) close(emulator.vacant);
    emulator.vacant = 0;
    if (emulator.pid <= 0) return;
    kill(emulator.pid, SIGKILL);
    waitpid(emulator.pid, NULL, 0);
    emulator.pid = 0;
}

/* Until the next one starts, nobody is where it was. */
static inline void stop_emulator(void)
{
    if (emulator.pid <= 0) return;
    end_emulator();
    emulator.vacant = vacant_keep(emulator.port);
    CHECK(emulator.vacant > 0);
}

/* In the child: becomes the emulator, and ends with the test program, however that ends. */
static inline void exec_emulator(const char *options, int output)
{
    static char text[1024];
    char *argv[32];
    int argc = 0;
    int (*become)(const char *path, char *const argv[]) = execv;   /* called by its name, it writes what gcov counts */
    snprintf(text, sizeof text, "%s --port 0 %s", BUILD_DIR "/aiocosmos-emulator", options);
    for (argv[argc] = strtok(text, " "); argv[argc] && argc < 31; argv[argc] = strtok(NULL, " ")) argc++;
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    dup2(output, STDOUT_FILENO);
    become(argv[0], argv);
    _exit(127);
}

/* Reads the first line of the emulator, "ready http://127.0.0.1:40123/". */
static inline void await_emulator(int output)
{
    char line[128];
    size_t len = 0;
    struct pollfd ready = {output, POLLIN, 0};
    while (len < sizeof line - 1 && poll(&ready, 1, PATIENCE_MS) == 1 && read(output, line + len, 1) == 1 &&
           line[len] != '\n')
        len++;
    line[len] = 0;
    close(output);
    if (sscanf(line, "ready %95s", emulator.url) != 1) CHECK_STR(line, "ready URL");
    emulator.port = atoi(strrchr(emulator.url, ':') + 1);
    CHECK(emulator.port > 0);
}

static inline void start_emulator(const char *options)
{
    static bool registered;
    int output[2];
    if (!registered) registered = atexit(end_emulator) == 0;
    end_emulator();
    CHECK_INT(pipe(output), 0);
    fflush(stdout);
    emulator.pid = fork();
    if (emulator.pid == 0) exec_emulator(options, output[1]);
    close(output[1]);
    await_emulator(output[0]);
}

/*--- A small blocking HTTP client, for what the library does not ask ----------------*/

static char http_answer[65536];              /* the last answer, its head included */

static size_t http_answer_len;

static inline void http_keep(const void *bytes, size_t len)
{
    if (len > sizeof http_answer - 1 - http_answer_len) len = sizeof http_answer - 1 - http_answer_len;
    memcpy(http_answer + http_answer_len, bytes, len);
    http_answer[http_answer_len += len] = 0;
}

static inline void http_talk_plain(int fd, const char *request)
{
    char part[4096];
    ptrdiff_t len;
    CHECK_INT(write(fd, request, strlen(request)), strlen(request));
    while ((len = read(fd, part, sizeof part)) > 0) http_keep(part, (size_t)len);
}

/* Sends a request as it stands and reads until the emulator closes. Returns the status. */
static inline int http_exchange(const char *request)
{
    struct sockaddr_in peer;
    int status = 0, at_once = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    memset(&peer, 0, sizeof peer);
    peer.sin_family = AF_INET;
    peer.sin_port = htons((uint16_t)emulator.port);
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_INT(connect(fd, (struct sockaddr *)&peer, sizeof peer), 0);
    http_answer_len = 0;
    if (over_tls()) client_talk_tls(fd, request, http_keep);
    else http_talk_plain(fd, request);
    close(fd);
    sscanf(http_answer, "HTTP/1.1 %d", &status);
    return status;
}

/* The emulator's own routes, which need no signature. */
static inline void control(const char *verb, const char *path, const char *body)
{
    static char request[4096];
    snprintf(request, sizeof request, "%s /_emulator/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
             "Content-Length: %zu\r\n\r\n%s", verb, path, strlen(body), body);
    if (http_exchange(request) != 204) CHECK_STR(http_answer, "204");
}

/* One more rule by which requests fail, "status=429,kind=read_item,count=3": see tools/emulator/fault.c. */
static inline void fault(const char *rule)
{
    control("POST", "faults", rule);
}

static inline void no_faults(void)
{
    control("DELETE", "faults", "");
}

/* Splits the first physical partition of the container "c". */
static inline void split_first_range(void)
{
    control("PUT", "split", "{\"database\":\"db\",\"container\":\"c\"}");
}

/* As the holder of the account key; link is what is signed. */
static inline int http_signed(const char *verb, const char *type, const char *link, const char *path, const char *body)
{
    static char request[65536];
    char lines[512];
    client_sign(verb, type, link, lines, sizeof lines);
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
             "x-ms-version: 2020-07-15\r\n%sContent-Length: %zu\r\n\r\n%s", verb, path, lines, strlen(body), body);
    return http_exchange(request);
}

/* A file of the tests as a string that lasts until the next call. */
static inline const char *read_text(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "r");
    size_t len;
    if (!file) CHECK_STR(path, "a file that can be read");
    len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = 0;
    return text;
}

/*--- A platform that can be bent, and that tells what was sent -----------------------*/

static struct bend {
    aiocosmos_platform platform;
    int64_t wall_ms;                         /* added to the wall clock */
    uint64_t monotonic_us;                   /* added to the other */
    int open_answer;                         /* not 0: what opening a socket comes to; AGAIN: it never connects */
    char sent[65536];                        /* what was sent, up to its size */
    size_t sent_len;
} bend;

static inline uint64_t bent_monotonic(void *user_data)
{
    const aiocosmos_platform *system = aiocosmos_system_platform();
    (void)user_data;
    return system->monotonic_us(system->user_data) + bend.monotonic_us;
}

static inline int64_t bent_wall(void *user_data)
{
    const aiocosmos_platform *system = aiocosmos_system_platform();
    (void)user_data;
    return system->wall_ms(system->user_data) + bend.wall_ms;
}

static inline int bent_open(void *user_data, intptr_t *out, bool datagram, const aiocosmos_address *peer)
{
    const aiocosmos_platform *system = aiocosmos_system_platform();
    (void)user_data;
    if (bend.open_answer == 0) return system->socket_open(system->user_data, out, datagram, peer);
    if (bend.open_answer == AIOCOSMOS_IO_AGAIN) {
        *out = socket(AF_INET, SOCK_STREAM, 0);
        CHECK_INT(listen((int)*out, 1), 0);                /* and never is one that listens writable */
    }
    return bend.open_answer;
}

static inline ptrdiff_t bent_send(void *user_data, intptr_t socket, const aiocosmos_slice *slices, size_t count)
{
    const aiocosmos_platform *system = aiocosmos_system_platform();
    ptrdiff_t sent = system->socket_send(system->user_data, socket, slices, count), left = sent;
    size_t i;
    (void)user_data;
    for (i = 0; i < count && left > 0; i++) {
        size_t len = slices[i].len < (size_t)left ? slices[i].len : (size_t)left;
        if (len < sizeof bend.sent - bend.sent_len) {
            memcpy(bend.sent + bend.sent_len, slices[i].ptr, len);
            bend.sent[bend.sent_len += len] = 0;
        }
        left -= (ptrdiff_t)len;
    }
    return sent;
}

static inline const aiocosmos_platform *bent_platform(void)
{
    memset(&bend, 0, sizeof bend);
    bend.platform = *aiocosmos_system_platform();
    bend.platform.monotonic_us = bent_monotonic;
    bend.platform.wall_ms = bent_wall;
    bend.platform.socket_open = bent_open;
    bend.platform.socket_send = bent_send;
    return &bend.platform;
}

static inline void forget_sent(void)
{
    bend.sent[bend.sent_len = 0] = 0;
}

/*--- Clients --------------------------------------------------------------------*/

/* For the emulator that runs now. */
static inline aiocosmos_options usual_options(void)
{
    aiocosmos_options options;
    memset(&options, 0, sizeof options);
    options.endpoint = emulator.url;
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.default_database = "db";
    options.allocator.fn = heap_fn;
    if (over_tls()) options.trust_pem = read_text("build/certs/rsa/ca.pem");
    return options;
}

static inline aiocosmos_client *open_client(const aiocosmos_options *options)
{
    char why[256];
    aiocosmos_client *client = NULL;
    if (aiocosmos_create(options, &client, why, sizeof why) != 0) CHECK_STR(why, "a client");
    return client;
}

static inline void drain(aiocosmos_client *client)
{
    CHECK_INT(aiocosmos_drain(client, PATIENCE_MS), 0);
    CHECK_INT(aiocosmos_pending(client), 0);
}

/*--- Operations, and what came of them --------------------------------------------*/

typedef struct answer {
    int calls;                               /* of the callback: one, when all is well */
    int status, http_status, sub_status, fate;
    uint32_t attempts;
    uint64_t latency_us, throttled_us;
    double charge_ru;
    char body[8192], etag[80], session[512], message[512];
    size_t body_len;
} answer;

static inline void copy_text(char *to, size_t cap, aiocosmos_str text)
{
    size_t len = text.len < cap - 1 ? text.len : cap - 1;
    if (len) memcpy(to, text.ptr, len);
    to[len] = 0;
}

static inline void keep_answer(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    answer *kept = user_data;
    (void)client;
    kept->calls++;
    kept->status = result->status;
    kept->http_status = result->http_status;
    kept->sub_status = result->sub_status;
    kept->fate = result->fate;
    kept->attempts = result->attempts;
    kept->latency_us = result->latency_us;
    kept->throttled_us = result->throttled_us;
    kept->charge_ru = result->charge_ru;
    kept->body_len = result->body.len;
    copy_text(kept->body, sizeof kept->body, result->body);
    copy_text(kept->etag, sizeof kept->etag, result->etag);
    copy_text(kept->session, sizeof kept->session, result->session_token);
    copy_text(kept->message, sizeof kept->message, result->message);
}

/* Submits, for an answer that comes later. */
static inline aiocosmos_op send_off(aiocosmos_client *client, aiocosmos_request request, answer *later)
{
    aiocosmos_op op;
    memset(later, 0, sizeof *later);
    request.done = keep_answer;
    request.user_data = later;
    if (aiocosmos_submit(client, &request, &op) != 0) CHECK_STR(aiocosmos_last_error(client), "accepted");
    return op;
}

/* Submits and waits for the answer; returns its status. */
static inline int ask(aiocosmos_client *client, aiocosmos_request request, answer *got)
{
    send_off(client, request, got);
    drain(client);
    CHECK_INT(got->calls, 1);
    return got->status;
}

/* Until the ranges of the container have come, which nobody waits for. */
static inline void await_ranges(aiocosmos_client *client)
{
    while (client_fetches_ranges(client)) CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
    CHECK(client_has_ranges(client));
}

/* The same where only success is of interest. */
static inline void must(aiocosmos_client *client, aiocosmos_request request)
{
    answer got;
    if (ask(client, request, &got) != 0) CHECK_STR(got.message, "success");
}

/* Why a request is refused; it is never called back. */
static inline const char *refusal_of(aiocosmos_client *client, aiocosmos_request request)
{
    static char why[512];
    answer never;
    memset(&never, 0, sizeof never);
    request.done = keep_answer;
    request.user_data = &never;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), AIOCOSMOS_E_ARGUMENT);
    snprintf(why, sizeof why, "%s", aiocosmos_last_error(client));
    drain(client);
    CHECK_INT(never.calls, 0);
    return why;
}

static inline aiocosmos_str text_of(const char *text)
{
    aiocosmos_str str;
    str.ptr = text;
    str.len = text ? strlen(text) : 0;
    return str;
}

/* On the database "db", and on its container where the kind has one. */
static inline aiocosmos_request of_kind(aiocosmos_kind kind)
{
    aiocosmos_request request;
    memset(&request, 0, sizeof request);
    request.kind = kind;
    if (kind <= AIOCOSMOS_DELETE_CONTAINER) request.container = "c";
    return request;
}

static inline aiocosmos_request of_item(aiocosmos_kind kind, const char *id, aiocosmos_value pk, const char *body)
{
    aiocosmos_request request = of_kind(kind);
    request.id = id;
    request.pk = aiocosmos_pk1(pk);
    request.body = text_of(body);
    return request;
}

static inline aiocosmos_request create_item(aiocosmos_value pk, const char *body)
{
    return of_item(AIOCOSMOS_CREATE_ITEM, NULL, pk, body);
}

static inline aiocosmos_request upsert_item(aiocosmos_value pk, const char *body)
{
    return of_item(AIOCOSMOS_UPSERT_ITEM, NULL, pk, body);
}

static inline aiocosmos_request read_item(const char *id, aiocosmos_value pk)
{
    return of_item(AIOCOSMOS_READ_ITEM, id, pk, NULL);
}

static inline aiocosmos_request replace_item(const char *id, aiocosmos_value pk, const char *body)
{
    return of_item(AIOCOSMOS_REPLACE_ITEM, id, pk, body);
}

static inline aiocosmos_request delete_item(const char *id, aiocosmos_value pk)
{
    return of_item(AIOCOSMOS_DELETE_ITEM, id, pk, NULL);
}

static inline aiocosmos_request create_container(const char *name, const char *path)
{
    aiocosmos_request request = of_kind(AIOCOSMOS_CREATE_CONTAINER);
    request.container = name;
    request.partition_key_paths[0] = path;
    return request;
}

/* An integer of a body, by JSON pointer; INT64_MIN: there is none. */
static inline long long number_in(aiocosmos_client *client, const char *body, const char *pointer)
{
    aiocosmos_json_doc *doc = NULL;
    int64_t number = INT64_MIN;
    if (aiocosmos_json_parse(client, body, strlen(body), &doc, NULL) != 0) CHECK_STR(body, "JSON");
    aiocosmos_json_get_i64(aiocosmos_json_at(aiocosmos_json_root(doc), pointer), &number);
    aiocosmos_json_free(doc);
    return (long long)number;
}

/* A string of a body, by JSON pointer; NULL: there is none. Two of them last at a time. */
static inline const char *string_in(aiocosmos_client *client, const char *body, const char *pointer)
{
    static char texts[2][4096];
    static unsigned turn;
    char *text = texts[turn++ % 2];
    aiocosmos_json_doc *doc = NULL;
    size_t len;
    if (aiocosmos_json_parse(client, body, strlen(body), &doc, NULL) != 0) CHECK_STR(body, "JSON");
    len = aiocosmos_json_get_str(aiocosmos_json_at(aiocosmos_json_root(doc), pointer), text, sizeof texts[0]);
    aiocosmos_json_free(doc);
    return len < sizeof texts[0] ? text : NULL;
}

/*--- Queries and lists, page by page --------------------------------------------*/

typedef struct listing {
    int calls;                               /* of the callback, by all pages together */
    int pages, empty_pages, items;
    int status, sub_status;                  /* of the last page */
    bool more;
    double charge_ru;
    char text[65536];                        /* the arrays of items, one behind the other */
    size_t text_len;
    char continuation[4096], message[512];
} listing;

static inline void keep_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    listing *kept = user_data;
    (void)client;
    kept->calls++;
    kept->status = page->result->status;
    kept->sub_status = page->result->sub_status;
    kept->charge_ru += page->result->charge_ru;
    kept->more = page->more;
    copy_text(kept->message, sizeof kept->message, page->result->message);
    if (page->result->status) return;
    kept->pages++;
    kept->empty_pages += page->item_count == 0;
    kept->items += (int)page->item_count;
    if (page->items.len < sizeof kept->text - kept->text_len) {
        memcpy(kept->text + kept->text_len, page->items.ptr, page->items.len);
        kept->text_len += page->items.len;
        kept->text[kept->text_len] = 0;
    }
    copy_text(kept->continuation, sizeof kept->continuation, page->continuation);
}

static inline aiocosmos_cursor open_query(aiocosmos_client *client, const aiocosmos_query_request *request)
{
    aiocosmos_cursor query;
    if (aiocosmos_query_open(client, request, &query) != 0) CHECK_STR(aiocosmos_last_error(client), "accepted");
    return query;
}

/* One more page of a query, added to the listing. */
static inline int read_page(aiocosmos_client *client, aiocosmos_cursor query, listing *all)
{
    int calls = all->calls;
    CHECK_INT(aiocosmos_cursor_next(client, query, keep_page, all), 0);
    drain(client);
    CHECK_INT(all->calls, calls + 1);
    return all->status;
}

/* Every page, up to the first that fails. */
static inline int read_all(aiocosmos_client *client, const aiocosmos_query_request *request, listing *all)
{
    aiocosmos_cursor query = open_query(client, request);
    memset(all, 0, sizeof *all);
    while (read_page(client, query, all) == 0 && all->more) continue;
    aiocosmos_cursor_close(client, query);
    return all->status;
}

static inline const char *refusal_of_query(aiocosmos_client *client, const aiocosmos_query_request *request)
{
    aiocosmos_cursor query;
    CHECK_INT(aiocosmos_query_open(client, request, &query), AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(query.id, 0);
    return aiocosmos_last_error(client);
}

/*--- Worlds ---------------------------------------------------------------------*/

#define TLS_OPTIONS "--tls --cert build/certs/rsa/good.pem --key-file build/certs/rsa/leaf.key"

static inline void open_emulator(const char *options)
{
    char all[512];
    memset(&heap, 0, sizeof heap);
    snprintf(all, sizeof all, "%s %s", over_tls() ? TLS_OPTIONS : "", options);
    start_emulator(all);
}

static inline void fill_world(aiocosmos_client *client)
{
    must(client, of_kind(AIOCOSMOS_CREATE_DATABASE));
    must(client, create_container("c", "/pk"));
}

static inline aiocosmos_client *open_world_with(const char *emulator_options, const aiocosmos_options *more)
{
    aiocosmos_client *client;
    aiocosmos_options options;
    open_emulator(emulator_options);
    options = more ? *more : usual_options();
    if (more) {
        aiocosmos_options usual = usual_options();
        options.endpoint = usual.endpoint;
        options.trust_pem = usual.trust_pem;
    }
    client = open_client(&options);
    fill_world(client);
    return client;
}

static inline aiocosmos_client *open_world(const char *emulator_options)
{
    return open_world_with(emulator_options, NULL);
}

/* Nothing of a client may be left. */
static inline void close_client(aiocosmos_client *client)
{
    aiocosmos_destroy(client);
    CHECK_INT(heap.blocks, 0);
    CHECK_INT(heap.bytes, 0);
}

static inline void close_world(aiocosmos_client *client)
{
    close_client(client);
    stop_emulator();
}
