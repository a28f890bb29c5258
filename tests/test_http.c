/* The http layer alone: every response of the tables is fed whole, byte by byte and cut at every point, each piece from
 * memory of its own that is freed afterwards, and the answer has to be the same. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"
#include "texts.h"

#define HEAD_MAX 512
#define BODY_MAX 100

static const aiocosmos_str wanted_names[] = {
    { "etag", 4 }, { "x-ms-request-charge", 19 }, { "x-ms-session-token", 18 }, { "content-type", 12 }, { "date", 4 }
};
static const aioc_http_names names = { wanted_names, 5 };

static aioc_mem memory;

/* Fails as many times in a row, so that nobody gets through by asking again for less. */
#define FAILURES 3

/* An answer, copied out of everything that it was lent from. */
typedef struct answer {
    aioc_http_state state;
    int status, minor, error, pauses;
    bool keep_alive, lent;
    size_t left_over;
    char why[128], head[8192], body[8192], etag[4096], charge[4096];
    size_t head_len, body_len;
} answer;

static void copy_view(char *out, size_t cap, aiocosmos_str view)
{
    CHECK(view.len < cap);
    if (view.len) memcpy(out, view.ptr, view.len);
    out[view.len] = '\0';
}

static void copy_answer(aioc_http_parser *parser, answer *out)
{
    const aioc_http_response *response = &parser->response;
    const char *why = parser->error;
    char *taken;
    size_t size;
    out->error = parser->error_status;
    if (out->state == AIOC_HTTP_FAILED) CHECK(why && out->error < 0);
    if (why) aioc_mem_print(out->why, sizeof out->why, "%s", why);
    if (out->state != AIOC_HTTP_DONE) return;
    CHECK_INT(out->error, 0);
    out->status = response->status;
    out->minor = response->minor;
    out->keep_alive = response->keep_alive;
    out->head_len = response->head.len;
    out->body_len = response->body.len;
    copy_view(out->head, sizeof out->head, response->head);
    copy_view(out->body, sizeof out->body, response->body);
    copy_view(out->etag, sizeof out->etag, response->wanted[0]);
    copy_view(out->charge, sizeof out->charge, response->wanted[1]);
    out->lent = !aioc_http_take_body(parser, &taken, &size);
    if (!out->lent) {
        CHECK(size >= response->body.len && taken == response->body.ptr);
        aioc_mem_free(parser->memory, taken, size);
    }
}

/* Feeds text[0..cut) in pieces of `step` bytes and the rest in one. The piece that completes the answer lives until it
 * is copied, all others are freed at once. finish: the connection ends after it. */
static void feed(aioc_mem *m, const char *text, size_t len, size_t cut, size_t step, bool finish, answer *out)
{
    aioc_http_parser parser;
    size_t at = 0;
    char *last = NULL;
    memset(out, 0, sizeof *out);
    aioc_http_open(&parser, m, &names, HEAD_MAX, BODY_MAX);
    aioc_http_start(&parser);
    while (at < len && out->state == AIOC_HTTP_MORE) {
        size_t end = at < cut ? (cut - at < step ? cut : at + step) : len, used;
        char *piece = malloc(end - at);
        memcpy(piece, text + at, end - at);
        out->state = aioc_http_feed(&parser, piece, end - at, &used);
        CHECK(used <= end - at);
        if (out->state == AIOC_HTTP_MORE) CHECK_INT(used, end - at);
        at += used;
        if (out->state == AIOC_HTTP_DONE) last = piece;
        else free(piece);
        if (out->state == AIOC_HTTP_PAUSED) {
            CHECK(++out->pauses < 100);
            out->state = AIOC_HTTP_MORE;
        }
    }
    if (finish && out->state == AIOC_HTTP_MORE) {
        if (aioc_http_end(&parser)) out->state = AIOC_HTTP_DONE;
        else out->state = aioc_http_refuse(&parser, "cut off");
    }
    out->left_over = len - at;
    copy_answer(&parser, out);
    aioc_http_reset(&parser);
    free(last);
}

static void same_answer(const char *text, size_t cut, const answer *got, const answer *want)
{
    if (got->state != want->state || got->error != want->error || got->status != want->status)
        test_fail(__FILE__, __LINE__, "cut at %zu: state %d error %d (%s), whole: state %d error %d (%s): %s", cut,
                  got->state, got->error, got->why, want->state, want->error, want->why, text);
    CHECK_STR(got->why, want->why);
    CHECK_INT(got->minor, want->minor);
    CHECK_INT(got->keep_alive, want->keep_alive);
    CHECK_STR(got->etag, want->etag);
    CHECK_STR(got->charge, want->charge);
    CHECK_INT(got->head_len, want->head_len);
    CHECK_MEM(got->head, want->head, want->head_len);
    CHECK_INT(got->body_len, want->body_len);
    CHECK_MEM(got->body, want->body, want->body_len);
    if (want->state == AIOC_HTTP_DONE) CHECK_INT(got->left_over, want->left_over);
}

/* Whole, byte by byte, cut at every point; the whole answer is left in *out. */
static void feed_all_ways(const char *text, size_t len, answer *out)
{
    static answer cut;
    size_t i;
    aioc_mem_init(&memory, NULL, 1 << 20);
    feed(&memory, text, len, 0, 0, true, out);
    feed(&memory, text, len, len, 1, true, &cut);
    same_answer(text, 1, &cut, out);
    for (i = 1; i < len; i++) {
        feed(&memory, text, len, i, i, true, &cut);
        same_answer(text, i, &cut, out);
    }
    aioc_mem_close(&memory);
    CHECK_INT(memory.used, 0);
}

typedef struct good {
    const char *text;
    int status;
    bool keep_alive;
    const char *body, *etag, *left_over;
} good;

#define OK_HEAD "HTTP/1.1 200 OK\r\n"

static const good goods[] = {
    { OK_HEAD "Content-Length: 5\r\nETag: \"1\"\r\n\r\nhello", 200, true, "hello", "\"1\"", "" },
    { OK_HEAD "Content-Length: 0\r\n\r\n", 200, true, "", "", "" },
    { "HTTP/1.1 201 Created\nContent-Length: 2\nEtag:x\n\nok", 201, true, "ok", "x", "" },
    { "HTTP/1.1 404\r\ncontent-length:0\r\n\r\n", 404, true, "", "", "" },
    { "HTTP/1.1 404 \r\ncontent-length:0\r\n\r\n", 404, true, "", "", "" },
    { "HTTP/1.1 799 Odd\r\nCONTENT-LENGTH:\t 1 \t\r\neTaG:  a b  \r\n\r\nx", 799, true, "x", "a b", "" },
    { OK_HEAD "etag:\r\nContent-Length: 1\r\n\r\nx", 200, true, "x", "", "" },
    { OK_HEAD "etag: first\r\netag: second\r\nContent-Length: 1\r\n\r\nx", 200, true, "x", "first", "" },
    { OK_HEAD "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 200, true, "abc", "", "" },
    { OK_HEAD "Content-Length: 3, 3 ,003\r\n\r\nabc", 200, true, "abc", "", "" },
    /* Bytes behind the answer are left. */
    { OK_HEAD "Content-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n", 200, true, "x", "", OK_HEAD "\r\n" },
    { "HTTP/1.1 204 No Content\r\netag: e\r\n\r\nx", 204, true, "", "e", "x" },
    { "HTTP/1.1 304 Not Modified\r\nContent-Length: 17\r\n\r\n", 304, true, "", "", "" },
    { "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, true, "", "", "" },
    { "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, true, "", "", "" },
    /* A body that must not be there may come late: nothing else is asked for on that connection. */
    { "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", 204, false, "", "", "" },
    { "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204, false, "", "", "" },
    { "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
      "HTTP/1.1 204 No Content\r\n\r\n", 204, false, "", "", "" },
    /* Keeping the connection. */
    { OK_HEAD "Connection: close\r\nContent-Length: 1\r\n\r\nx", 200, false, "x", "", "" },
    { OK_HEAD "Connection: Upgrade , CLOSE\r\nContent-Length: 1\r\n\r\nx", 200, false, "x", "", "" },
    { OK_HEAD "Connection: keep-alive\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 200, false, "x", "", "" },
    { OK_HEAD "Connection: closed\r\nContent-Length: 1\r\n\r\nx", 200, true, "x", "", "" },
    { "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, false, "x", "", "" },
    { "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", 200, true, "x", "", "" },
    { "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 200, false,
      "x", "", "" },
    /* Bodies that end with the connection. */
    { "HTTP/1.0 200 OK\r\n\r\nall there is", 200, false, "all there is", "", "" },
    { "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", 200, false, "", "", "" },
    { "HTTP/1.0 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html><h1>Bad Gateway</h1></html>", 502, false,
      "<html><h1>Bad Gateway</h1></html>", "", "" },
    /* Announcements. */
    { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok", 201, true, "ok", "", "" },
    { "HTTP/1.1 103 Early Hints\r\netag: early\r\nContent-Length: 9\r\n\r\n"
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, false, "ok", "", "" },
    { "HTTP/1.1 103 Early Hints\r\netag: early\r\nContent-Length: 0\r\n\r\n"
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, true, "ok", "", "" },
    /* Chunks. */
    { OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, true, "hello", "", "" },
    { OK_HEAD "Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nx", 200, true, "hello world", "",
      "x" },
    { OK_HEAD "Transfer-Encoding: , chunked ,\r\n\r\n0\r\n\r\n", 200, true, "", "", "" },
    { OK_HEAD "transfer-encoding:chunked\r\n\r\n"
      "005;name=\"v;a\\\"l\"\r\nhello\r\n1 ; x\r\n!\r\n00;last\r\nx-trailer: 1\r\nETag: late\r\n\r\n", 200, true,
      "hello!", "", "" },
    { OK_HEAD "Transfer-Encoding: chunked\n\nA \n0123456789\n0\nt:\n\n", 200, true, "0123456789", "", "" },
    { OK_HEAD "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\na\r\n0123456789\r\n0\r\n\r\n", 200, false,
      "0123456789", "", "" },
    { OK_HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\n0\r\n\r\n0\r\n\r\n", 200, true, "0\r\n", "", "" },
    /* Characters above ASCII are legal in values, and mean nothing (RFC 9110, 5.5). */
    { OK_HEAD "Server: caf\xc3\xa9\r\nContent-Length: 0\r\n\r\n", 200, true, "", "", "" }
};

TEST(http_reads_good_answers)
{
    static answer whole;
    size_t i;
    for (i = 0; i < sizeof goods / sizeof goods[0]; i++) {
        const good *g = &goods[i];
        size_t len = strlen(g->text);
        feed_all_ways(g->text, len, &whole);
        if (whole.state != AIOC_HTTP_DONE) test_fail(__FILE__, __LINE__, "%s: %s", whole.why, g->text);
        CHECK_INT(whole.status, g->status);
        CHECK_INT(whole.keep_alive, g->keep_alive);
        CHECK_TEXT(whole.body, whole.body_len, g->body);
        CHECK_STR(whole.etag, g->etag);
        CHECK_STR(g->text + len - whole.left_over, g->left_over);
    }
}

typedef struct bad {
    const char *text;
    size_t len;                              /* 0: up to the NUL */
    int error;
    const char *why;
} bad;

static const bad bads[] = {
    { "", 0, AIOCOSMOS_E_PROTOCOL, "cut off" },
    { "H", 0, AIOCOSMOS_E_PROTOCOL, "cut off" },
    { "x", 0, AIOCOSMOS_E_PROTOCOL, "not HTTP" },
    { "\r\n" OK_HEAD "\r\n", 0, AIOCOSMOS_E_PROTOCOL, "not HTTP" },
    { "SSH-2.0-OpenSSH_9.2\r\n", 0, AIOCOSMOS_E_PROTOCOL, "not HTTP" },
    { "<html>a proxy that speaks no HTTP</html>\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "not HTTP" },
    { "\x15\x03\x01\x00\x02\x02\x46", 7, AIOCOSMOS_E_PROTOCOL, "https://" },
    { "HTTP/2 200\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "not HTTP" },
    { "http/1.1 200 OK\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "not HTTP" },
    { "HTTP/1.x 200 OK\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "status line" },
    { "HTTP/1.1\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "status line" },
    { "HTTP/1.1  200 OK\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "status" },
    { "HTTP/1.1 20 OK\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "status" },
    { "HTTP/1.1 2000 OK\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "status line" },
    { "HTTP/1.1 099 OK\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "status line" },
    { "HTTP/1.1 2x0 OK\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "status line" },
    { "HTTP/1.1 101 Switching Protocols\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "switches" },
    { OK_HEAD, 0, AIOCOSMOS_E_PROTOCOL, "cut off" },
    /* Headers. */
    { OK_HEAD "Content-Length : 1\r\n\r\nx", 0, AIOCOSMOS_E_PROTOCOL, "malformed" },
    { OK_HEAD ": 1\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "malformed" },
    { OK_HEAD "no colon\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "malformed" },
    { OK_HEAD "a name: 1\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "malformed" },
    { OK_HEAD "a-name-of-more-than-eight\t: 1\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "malformed" },
    { OK_HEAD "caf\xc3\xa9: 1\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "malformed" },
    { OK_HEAD "etag: a\r\n b\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "folded" },
    { OK_HEAD "\tetag: a\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "folded" },
    { OK_HEAD "etag: a\0b\r\n\r\n", 17 + 13, AIOCOSMOS_E_PROTOCOL, "control character" },
    { OK_HEAD "etag: a\rb\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "control character" },
    { OK_HEAD "etag: a\r\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "control character" },
    { OK_HEAD "etag: long enough to be read in eights \x7f\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "control character" },
    { OK_HEAD "eta\x7fg: a\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "control character" },
    { OK_HEAD "a-name-of-more-than-eight\x7f: 1\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "control character" },
    { OK_HEAD "etag: long enough to be read in eights \x1b\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "control character" },
    /* Lengths. */
    { OK_HEAD "Content-Length: 5\r\n\r\nhell", 0, AIOCOSMOS_E_PROTOCOL, "cut off" },
    { OK_HEAD "Content-Length: 5\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "cut off" },
    { OK_HEAD "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 0, AIOCOSMOS_E_PROTOCOL, "two different" },
    { OK_HEAD "Content-Length: 3,4\r\n\r\nabcd", 0, AIOCOSMOS_E_PROTOCOL, "two different" },
    { OK_HEAD "Content-Length: +3\r\n\r\nabc", 0, AIOCOSMOS_E_PROTOCOL, "not a number" },
    { OK_HEAD "Content-Length: -1\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "not a number" },
    { OK_HEAD "Content-Length: 3 3\r\n\r\nabc", 0, AIOCOSMOS_E_PROTOCOL, "not a number" },
    { OK_HEAD "Content-Length: 0x3\r\n\r\nabc", 0, AIOCOSMOS_E_PROTOCOL, "not a number" },
    { OK_HEAD "Content-Length: 18446744073709551616\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "not a number" },
    { OK_HEAD "Content-Length: 18446744073709551615\r\n\r\n", 0, AIOCOSMOS_E_TOO_LARGE, "body is over" },
    { OK_HEAD "Content-Length: 10737418240\r\n\r\n", 0, AIOCOSMOS_E_TOO_LARGE, "body is over" },
    { OK_HEAD "Content-Length:\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "is empty" },
    { OK_HEAD "Content-Length: ,\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "is empty" },
    { OK_HEAD "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "both" },
    { OK_HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "not asked for" },
    { OK_HEAD "Transfer-Encoding: chunked, chunked\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "not asked for" },
    { OK_HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: br\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "not asked for" },
    /* Chunks. */
#define CHUNKED OK_HEAD "Transfer-Encoding: chunked\r\n\r\n"
    { CHUNKED, 0, AIOCOSMOS_E_PROTOCOL, "cut off" },
    { CHUNKED "5\r\nhello\r\n", 0, AIOCOSMOS_E_PROTOCOL, "cut off" },
    { CHUNKED "5\r\nhello\r\n0\r\n", 0, AIOCOSMOS_E_PROTOCOL, "cut off" },
    { CHUNKED "5\r\nhello!\r\n0\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "chunks" },
    { CHUNKED "5\r\nhello\r0\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "chunks" },
    { CHUNKED "\r\n", 0, AIOCOSMOS_E_PROTOCOL, "chunks" },
    { CHUNKED ";x\r\n", 0, AIOCOSMOS_E_PROTOCOL, "chunks" },
    { CHUNKED " 5\r\nhello\r\n0\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "chunks" },
    { CHUNKED "5 5\r\nhello\r\n0\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "chunks" },
    { CHUNKED "-5\r\nhello\r\n", 0, AIOCOSMOS_E_PROTOCOL, "chunks" },
    { CHUNKED "0x5\r\nhello\r\n", 0, AIOCOSMOS_E_PROTOCOL, "chunks" },
    { CHUNKED "5\rhello\r\n0\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "chunks" },
    { CHUNKED "5;\0\r\nhello\r\n0\r\n\r\n", 47 + 17, AIOCOSMOS_E_PROTOCOL, "chunks are malformed" },
    { CHUNKED "00000000000000005\r\nhello\r\n", 0, AIOCOSMOS_E_PROTOCOL, "too many digits" },
    { CHUNKED "ffffffffffffffff\r\nhello\r\n", 0, AIOCOSMOS_E_TOO_LARGE, "body is over" },
    { CHUNKED "0\r\nno colon\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "trailer" },
    { CHUNKED "0\r\n:\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "trailer" },
    { CHUNKED "0\r\nt: \x01\r\n\r\n", 0, AIOCOSMOS_E_PROTOCOL, "trailer" },
    { CHUNKED "0\r\n\rx", 0, AIOCOSMOS_E_PROTOCOL, "trailer" }
};

TEST(http_refuses_bad_answers)
{
    static answer whole;
    size_t i;
    for (i = 0; i < sizeof bads / sizeof bads[0]; i++) {
        const bad *b = &bads[i];
        feed_all_ways(b->text, b->len ? b->len : strlen(b->text), &whole);
        if (whole.state != AIOC_HTTP_FAILED || whole.error != b->error || !strstr(whole.why, b->why))
            test_fail(__FILE__, __LINE__, "state %d error %d (%s), expected %d (%s): %s", whole.state, whole.error,
                      whole.why, b->error, b->why, b->text);
    }
}

/*--- Limits, exact to the byte ------------------------------------------------*/

/* A text made of a start, `count` times a middle, and an end. */
static size_t compose(char *out, const char *start, const char *middle, size_t count, const char *end)
{
    size_t at = strlen(start);
    memcpy(out, start, at);
    for (; count > 0; count--) {
        memcpy(out + at, middle, strlen(middle));
        at += strlen(middle);
    }
    memcpy(out + at, end, strlen(end) + 1);
    return at + strlen(end);
}

TEST(http_limits_are_exact)
{
    static char text[8192];
    static answer whole;
    size_t len, filler = HEAD_MAX - strlen(OK_HEAD "x: \r\nContent-Length: 1\r\n\r\n");
    /* The head. */
    len = compose(text, OK_HEAD "x: ", "a", filler, "\r\nContent-Length: 1\r\n\r\nb");
    feed_all_ways(text, len, &whole);
    CHECK_INT(whole.state, AIOC_HTTP_DONE);
    CHECK_INT(whole.head_len, HEAD_MAX);
    len = compose(text, OK_HEAD "x: ", "a", filler + 1, "\r\nContent-Length: 1\r\n\r\nb");
    feed_all_ways(text, len, &whole);
    CHECK_INT(whole.error, AIOCOSMOS_E_TOO_LARGE);
    CHECK(strstr(whole.why, "head"));
    len = compose(text, OK_HEAD "x: ", "a", 5000, "");
    feed_all_ways(text, len, &whole);
    CHECK_INT(whole.error, AIOCOSMOS_E_TOO_LARGE);
    CHECK(strstr(whole.why, "head"));
    /* The body, however its length is told. */
    len = compose(text, OK_HEAD "Content-Length: 100\r\n\r\n", "a", 100, "");
    feed_all_ways(text, len, &whole);
    CHECK_INT(whole.body_len, 100);
    len = compose(text, OK_HEAD "Content-Length: 101\r\n\r\n", "a", 101, "");
    feed_all_ways(text, len, &whole);
    CHECK_INT(whole.error, AIOCOSMOS_E_TOO_LARGE);
    len = compose(text, OK_HEAD "\r\n", "a", 100, "");
    feed_all_ways(text, len, &whole);
    CHECK_INT(whole.body_len, 100);
    len = compose(text, OK_HEAD "\r\n", "a", 101, "");
    feed_all_ways(text, len, &whole);
    CHECK_INT(whole.error, AIOCOSMOS_E_TOO_LARGE);
    len = compose(text, CHUNKED "3c\r\n", "a", 60, "\r\n28\r\n0123456789012345678901234567890123456789\r\n0\r\n\r\n");
    feed_all_ways(text, len, &whole);
    CHECK_INT(whole.body_len, 100);
    len = compose(text, CHUNKED "3d\r\n", "a", 61, "\r\n28\r\n0123456789012345678901234567890123456789\r\n0\r\n\r\n");
    feed_all_ways(text, len, &whole);
    CHECK_INT(whole.error, AIOCOSMOS_E_TOO_LARGE);
    /* Chunk extensions and trailers. */
    len = compose(text, CHUNKED "1;", "a", HEAD_MAX - 4, "\r\nx\r\n0\r\nt:1\r\n\r\n");
    feed_all_ways(text, len, &whole);
    CHECK_INT(whole.state, AIOC_HTTP_DONE);
    len = compose(text, CHUNKED "1;", "a", HEAD_MAX - 4, "\r\nx\r\n0\r\nt:12\r\n\r\n");
    feed_all_ways(text, len, &whole);
    CHECK_INT(whole.error, AIOCOSMOS_E_TOO_LARGE);
    CHECK(strstr(whole.why, "trailers"));
    /* Announcements. */
    len = compose(text, "", "HTTP/1.1 100 Continue\r\n\r\n", 8, OK_HEAD "Content-Length: 0\r\n\r\n");
    feed_all_ways(text, len, &whole);
    CHECK_INT(whole.state, AIOC_HTTP_DONE);
    len = compose(text, "", "HTTP/1.1 100 Continue\r\n\r\n", 9, OK_HEAD "Content-Length: 0\r\n\r\n");
    feed_all_ways(text, len, &whole);
    CHECK_INT(whole.error, AIOCOSMOS_E_PROTOCOL);
    CHECK(strstr(whole.why, "announced"));
}

/* To wait for others to give some back would be in vain. */
TEST(http_refuses_at_once_what_is_larger_than_all_memory)
{
    static const char text[] = OK_HEAD "Content-Length: 60\r\n\r\nabc";
    static answer got;
    aioc_mem_init(&memory, NULL, 59);
    feed(&memory, text, sizeof text - 1, 0, 0, false, &got);
    CHECK_INT(got.state, AIOC_HTTP_FAILED);
    CHECK_INT(got.error, AIOCOSMOS_E_NOMEM);
    aioc_mem_close(&memory);
    aioc_mem_init(&memory, NULL, 4096);
    feed(&memory, text, sizeof text - 1, 0, 0, false, &got);
    CHECK_INT(got.state, AIOC_HTTP_MORE);
    aioc_mem_close(&memory);
}

TEST(http_limits_the_number_of_lines)
{
    static char text[8192];
    aioc_http_parser parser;
    size_t len, used, lines;
    aioc_mem_init(&memory, NULL, 1 << 20);
    for (lines = 255; lines <= 256; lines++) {
        len = compose(text, OK_HEAD, "a: b\r\n", lines, "Content-Length: 0\r\n\r\n");
        aioc_http_open(&parser, &memory, &names, 32768, 100);
        aioc_http_start(&parser);
        CHECK_INT(aioc_http_feed(&parser, text, len, &used), lines == 255 ? AIOC_HTTP_DONE : AIOC_HTTP_FAILED);
        aioc_http_reset(&parser);
    }
    aioc_mem_close(&memory);
}

/*--- Memory -------------------------------------------------------------------*/

TEST(http_answer_in_one_piece_needs_no_memory)
{
    static const char *const texts[] = {
        OK_HEAD "ETag: \"1\"\r\nContent-Length: 5\r\n\r\nhello", CHUNKED "5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n" OK_HEAD "Content-Length: 5\r\n\r\nhello"
    };
    aioc_http_parser parser;
    size_t used, i;
    aioc_mem_init(&memory, NULL, 1 << 20);
    aioc_http_open(&parser, &memory, &names, HEAD_MAX, BODY_MAX);
    for (i = 0; i < 3; i++) {
        aioc_http_start(&parser);
        CHECK_INT(aioc_http_feed(&parser, texts[i], strlen(texts[i]), &used), AIOC_HTTP_DONE);
        CHECK_INT(used, strlen(texts[i]));
        CHECK(parser.response.body.ptr > texts[i] && parser.response.body.ptr < texts[i] + used);
        CHECK_INT(memory.allocations, 0);
    }
    aioc_http_reset(&parser);
}

/* The nth allocation fails: the parser pauses, and goes on to the same answer when it is fed again. */
TEST(http_pauses_without_memory_and_goes_on)
{
    static answer whole, paused;
    aiocosmos_allocator allocator = heap_allocator(&heap);
    size_t i, cut;
    unsigned fail;
    int pauses = 0;
    for (i = 0; i < sizeof goods / sizeof goods[0]; i++) {
        const char *text = goods[i].text;
        size_t len = strlen(text);
        aioc_mem_init(&memory, &allocator, 1 << 20);
        feed(&memory, text, len, 0, 0, true, &whole);
        aioc_mem_close(&memory);
        for (cut = 1; cut < len; cut += 3) {
            for (fail = 0; fail < 4; fail++) {
                heap_fail(&heap, fail + 1, FAILURES);
                aioc_mem_init(&memory, &allocator, 1 << 20);
                memory.kept_max = 0;                     /* no second try with what is kept */
                feed(&memory, text, len, cut, cut % 2 ? 7 : cut, true, &paused);
                same_answer(text, cut, &paused, &whole);
                pauses += paused.pauses;
                aioc_mem_close(&memory);
                heap_recover(&heap);
                CHECK_INT(heap.blocks, 0);
            }
        }
    }
    CHECK(pauses > 1000);
}

TEST(http_collects_a_long_body_in_place)
{
    static char text[4096];
    aioc_http_parser parser;
    size_t len = compose(text, OK_HEAD "ETag: e\r\nContent-Length: 3000\r\n\r\n", "a", 3000, ""), at, used, room, size;
    char *where, *taken;
    aioc_mem_init(&memory, NULL, 1 << 20);
    aioc_http_open(&parser, &memory, &names, HEAD_MAX, 3000);
    aioc_http_start(&parser);
    CHECK_INT(aioc_http_room(&parser, &where), 0);
    CHECK_INT(aioc_http_feed(&parser, text, at = 100, &used), AIOC_HTTP_MORE);
    while (at < len) {
        room = aioc_http_room(&parser, &where);
        CHECK_INT(room, len - at);
        if (room > 700) room = 700;
        memcpy(where, text + at, room);
        CHECK_INT(aioc_http_feed(&parser, where, room, &used), at + room == len ? AIOC_HTTP_DONE : AIOC_HTTP_MORE);
        CHECK_INT(used, room);
        at += room;
    }
    CHECK_INT(aioc_http_room(&parser, &where), 0);
    CHECK_INT(parser.response.body.len, 3000);
    CHECK_MEM(parser.response.body.ptr, text + len - 3000, 3000);
    CHECK_TEXT(parser.response.wanted[0].ptr, parser.response.wanted[0].len, "e");
    CHECK(aioc_http_take_body(&parser, &taken, &size));
    CHECK(taken == parser.response.body.ptr && size >= 3000);
    CHECK(!aioc_http_take_body(&parser, &taken, &size));
    aioc_http_reset(&parser);
    aioc_mem_free(&memory, taken, size);
    aioc_mem_close(&memory);
    CHECK_INT(memory.used, 0);
}

TEST(http_drained_answer_is_read_not_kept)
{
    static char text[4096];
    aioc_http_parser parser;
    size_t len, used, size, i;
    char *taken;
    aioc_mem_init(&memory, NULL, 1 << 20);
    aioc_http_open(&parser, &memory, &names, HEAD_MAX, 3000);
    for (i = 0; i < 2; i++) {
        len = i == 0 ? compose(text, OK_HEAD "Content-Length: 1000\r\n\r\n", "a", 1000, "tail")
                     : compose(text, CHUNKED "3e8\r\n", "a", 1000, "\r\n0\r\n\r\ntail");
        aioc_http_start(&parser);
        CHECK_INT(aioc_http_feed(&parser, text, 100, &used), AIOC_HTTP_MORE);
        aioc_http_drain(&parser);
        CHECK_INT(aioc_http_feed(&parser, text + 100, len - 100, &used), AIOC_HTTP_DONE);
        CHECK_INT(used, len - 100 - 4);
        CHECK_INT(parser.response.body.len, 0);
        CHECK_INT(parser.body.cap, 0);
        CHECK(parser.response.keep_alive);
        CHECK(!aioc_http_take_body(&parser, &taken, &size));
    }
    aioc_http_reset(&parser);
    aioc_mem_close(&memory);
    CHECK_INT(memory.used, 0);
}

TEST(http_parser_serves_one_answer_after_another)
{
    aioc_http_parser parser;
    size_t used, i, at;
    aioc_mem_init(&memory, NULL, 1 << 20);
    aioc_http_open(&parser, &memory, &names, HEAD_MAX, BODY_MAX);
    for (i = 0; i < 200; i++) {
        const good *g = &goods[i % (sizeof goods / sizeof goods[0])];
        size_t len = strlen(g->text), step = 1 + i * 7 % 60;
        aioc_http_state state = AIOC_HTTP_MORE;
        aioc_http_start(&parser);
        for (at = 0; at < len && state == AIOC_HTTP_MORE; at += used)
            state = aioc_http_feed(&parser, g->text + at, len - at < step ? len - at : step, &used);
        CHECK(state == AIOC_HTTP_DONE || aioc_http_end(&parser));
        CHECK_INT(parser.response.status, g->status);
        CHECK_TEXT(parser.response.body.ptr, parser.response.body.len, g->body);
        CHECK_TEXT(parser.response.wanted[0].ptr, parser.response.wanted[0].len, g->etag);
    }
    aioc_http_reset(&parser);
    aioc_mem_close(&memory);
    CHECK_INT(memory.used, 0);
}

TEST(http_parser_stays_done_or_failed)
{
    aioc_http_parser parser;
    size_t used;
    aioc_mem_init(&memory, NULL, 1 << 20);
    aioc_http_open(&parser, &memory, &names, HEAD_MAX, BODY_MAX);
    aioc_http_start(&parser);
    CHECK_INT(aioc_http_feed(&parser, goods[0].text, strlen(goods[0].text), &used), AIOC_HTTP_DONE);
    CHECK_INT(aioc_http_feed(&parser, goods[0].text, strlen(goods[0].text), &used), AIOC_HTTP_DONE);
    CHECK_INT(used, 0);
    aioc_http_start(&parser);
    CHECK_INT(aioc_http_feed(&parser, "x", 1, &used), AIOC_HTTP_FAILED);
    CHECK_INT(aioc_http_feed(&parser, goods[0].text, strlen(goods[0].text), &used), AIOC_HTTP_FAILED);
    CHECK(!aioc_http_end(&parser));
    CHECK_INT(parser.error_status, AIOCOSMOS_E_PROTOCOL);
    CHECK_STR(parser.error, "the answer is not HTTP/1.1");
    aioc_http_reset(&parser);
}

TEST(http_no_body_after_head_request)
{
    const char *text = OK_HEAD "Content-Length: 10\r\n\r\n";
    aioc_http_parser parser;
    size_t used;
    aioc_mem_init(&memory, NULL, 1 << 20);
    aioc_http_open(&parser, &memory, &names, HEAD_MAX, BODY_MAX);
    aioc_http_start(&parser);
    parser.no_body = true;
    CHECK_INT(aioc_http_feed(&parser, text, strlen(text), &used), AIOC_HTTP_DONE);
    aioc_http_reset(&parser);
}

TEST(http_finds_any_header)
{
    const char *text = "HTTP/1.1 200 OK\r\nDate:x\r\nX-Long-Name:  a b \t\r\nEmpty:\nlsn: 12\r\nLSN: 13\r\n\r\n";
    aiocosmos_str head, value;
    head = aioc_mem_str(text);
    value = aioc_http_header(head, "x-long-NAME");
    CHECK_TEXT(value.ptr, value.len, "a b");
    value = aioc_http_header(head, "lsn");
    CHECK_TEXT(value.ptr, value.len, "12");
    value = aioc_http_header(head, "empty");
    CHECK(value.ptr && value.len == 0);
    CHECK(aioc_http_header(head, "x-long").ptr == NULL);
    CHECK(aioc_http_header(head, "b").ptr == NULL);
    head.len = 0;
    CHECK(aioc_http_header(head, "date").ptr == NULL);
    CHECK(aioc_http_header(aioc_mem_str(NULL), "date").ptr == NULL);
}

TEST(http_wants_twenty_four_headers)
{
    static char storage[AIOC_HTTP_WANTED_MAX][32], text[4096];
    aiocosmos_str list[AIOC_HTTP_WANTED_MAX];
    aioc_http_names many = { list, AIOC_HTTP_WANTED_MAX };
    aioc_http_parser parser;
    size_t used, i, at = compose(text, OK_HEAD, "", 0, "");
    for (i = 0; i < AIOC_HTTP_WANTED_MAX; i++) {
        aioc_mem_print(storage[i], sizeof storage[i], "x-ms-documentdb-%u", (unsigned)i);
        list[i] = aioc_mem_str(storage[i]);
        at += aioc_mem_print(text + at, sizeof text - at, "X-MS-DocumentDB-%u: v%u\r\n", (unsigned)i, (unsigned)i);
    }
    at += aioc_mem_print(text + at, sizeof text - at, "Content-Length: 0\r\nConnection: close\r\n\r\n");
    aioc_mem_init(&memory, NULL, 1 << 20);
    aioc_http_open(&parser, &memory, &many, 4096, BODY_MAX);
    aioc_http_start(&parser);
    CHECK_INT(aioc_http_feed(&parser, text, at, &used), AIOC_HTTP_DONE);
    for (i = 0; i < AIOC_HTTP_WANTED_MAX; i++) {
        char value[8];
        aioc_mem_print(value, sizeof value, "v%u", (unsigned)i);
        CHECK_TEXT(parser.response.wanted[i].ptr, parser.response.wanted[i].len, value);
    }
    CHECK(!parser.response.keep_alive);
    aioc_http_reset(&parser);
}

/*--- Mutations: whatever comes, the answer does not depend on the cuts ---------*/

/* As header lines are read. */
static size_t name_len(const char *line, size_t len)
{
    return (size_t)(aioc_text_find(line, line + len, 0, 0x20, ':', true) - line);
}

/* The scans look at many bytes at once. Each byte at each place, in texts of each length and from each start, against
 * what the rule says of one byte. */
TEST(http_scans_stop_at_each_byte_at_each_place)
{
    static const char colon[] = { ':', ' ', '\t', 0x7f, (char)0x80, (char)0xff };
    size_t len, at, i, wrong = 0;
    unsigned value;
    for (len = 1; len <= 50; len++) {
        char *text = malloc(len);              /* exact, so that a byte read behind it is noticed */
        for (at = 0; at < len; at++) {
            memset(text, 'a', len);
            for (value = 0; value < 256; value++) {
                const bool control = (value < 0x20 && value != '\t') || value == 0x7f;
                const bool name_ends = value <= 0x20 || value > 0x7e || value == ':';
                text[at] = (char)value;
                for (i = 0; i <= at; i++) wrong += aioc_http_control(text, i, len) != (control ? at : len);
                if (value >= 0x20 && value != 0x7f) wrong += name_len(text, len) != (name_ends ? at : len);
            }
            for (i = 0; i < sizeof colon && at + 1 < len; i++) {     /* the first of two counts */
                text[at] = ':';
                text[at + 1] = colon[i];
                wrong += name_len(text, len) != at;
                text[at] = '\r';
                wrong += aioc_http_control(text, 0, len) != at;
                text[at + 1] = 'a';
            }
        }
        free(text);
    }
    CHECK_INT(wrong, 0);
}

TEST(http_mutated_answers_do_not_depend_on_the_cuts)
{
    static const char spice[] = "\r\n\t :;,0123456789abcdef\0\x7f\x80HT";
    static answer whole, cut;
    static char text[2048];
    int round;
    aioc_mem_init(&memory, NULL, 1 << 20);
    for (round = 0; round < 40000; round++) {
        const size_t first = sizeof goods / sizeof goods[0], all = first + sizeof bads / sizeof bads[0];
        size_t which = random_below(all);
        const char *from = which < first ? goods[which].text : bads[which - first].text;
        size_t len = strlen(from), changes = 1 + random_below(4);
        memcpy(text, from, len);
        for (; changes > 0 && len > 0; changes--) {
            size_t at = random_below(len), n = 1 + random_below(len - at < 20 ? len - at : 20);
            switch (random_below(4)) {
            case 0: text[at] = spice[random_below(sizeof spice - 1)]; break;
            case 1: text[at] = (char)random_below(256); break;
            case 2: memmove(text + at, text + at + n, len - at - n); len -= n; break;
            default: memmove(text + at + n, text + at, len - at); len += n;
            }
        }
        feed(&memory, text, len, 0, 0, true, &whole);
        feed(&memory, text, len, len, 1 + random_below(3), true, &cut);
        same_answer(text, 1, &cut, &whole);
        feed(&memory, text, len, random_below(len + 1), 1 + random_below(40), true, &cut);
        same_answer(text, 2, &cut, &whole);
    }
    aioc_mem_close(&memory);
    CHECK_INT(memory.used, 0);
}
