/* HTTP responses: in pieces, whole, and where memory runs out in between, the answer is the same. */
#include "fuzz.h"

#define HEAD_MAX 512
#define BODY_MAX 2048

static const aiocosmos_str wanted[] = {{"etag", 4}, {"x-ms-request-charge", 19}, {"date", 4}};
static const aioc_http_names names = {wanted, 3};

typedef struct answer {
    aioc_http_state state;
    int status, error_status;
    bool keep_alive;
    const char *error;
    size_t left_over;
    char *head, *body, *etag;
    size_t head_len, body_len, etag_len;
} answer;

static void keep_answer(const aioc_http_parser *parser, answer *out)
{
    const aioc_http_response *response = &parser->response;
    out->error = parser->error;
    out->error_status = parser->error_status;
    if (out->state == AIOC_HTTP_FAILED) CHECK(out->error && out->error_status < 0);
    if (out->state != AIOC_HTTP_DONE) return;
    CHECK(response->status >= 200 && response->status <= 999);
    CHECK(response->head.len <= HEAD_MAX && response->body.len <= BODY_MAX);
    CHECK(fuzz_same(aioc_http_header(response->head, "etag"), response->wanted[0]));
    out->status = response->status;
    out->keep_alive = response->keep_alive;
    out->head_len = response->head.len;
    out->body_len = response->body.len;
    out->etag_len = response->wanted[0].len;
    out->head = fuzz_copy(response->head);
    out->body = fuzz_copy(response->body);
    out->etag = fuzz_copy(response->wanted[0]);
}

/* In pieces of 1 to 2 * step bytes; step 0: whole. After `nth` calls for memory there is none for a while. */
static void feed(aiocosmos_str text, size_t step, bool no_body, unsigned nth, answer *out)
{
    aioc_mem memory = fuzz_memory(nth);
    aioc_http_parser parser;
    size_t at = 0, chance = step;
    char *last = NULL;
    memset(out, 0, sizeof *out);
    aioc_http_open(&parser, &memory, &names, HEAD_MAX, BODY_MAX);
    aioc_http_start(&parser);
    parser.no_body = no_body;
    while (at < text.len && (out->state == AIOC_HTTP_MORE || out->state == AIOC_HTTP_PAUSED)) {
        size_t len = text.len - at, used;
        chance = chance * 1103515245u + 12345u;
        if (step && len > 1 + chance / 65536 % (2 * step)) len = 1 + chance / 65536 % (2 * step);
        free(last);
        last = fuzz_copy(aioc_text_view(text.ptr + at, len));
        out->state = aioc_http_feed(&parser, last, len, &used);
        CHECK(used <= len && (used == len || out->state != AIOC_HTTP_MORE));
        at += used;
        if (out->state == AIOC_HTTP_PAUSED) {
            CHECK(nth > 0);
            heap_recover(&heap);
        }
    }
    if (out->state == AIOC_HTTP_MORE && at == text.len && aioc_http_end(&parser)) out->state = AIOC_HTTP_DONE;
    out->left_over = text.len - at;
    keep_answer(&parser, out);
    aioc_http_reset(&parser);
    free(last);
    fuzz_close(&memory);
}

static void drop(answer *out)
{
    free(out->head);
    free(out->body);
    free(out->etag);
}

static void check_same(const answer *a, const answer *b)
{
    CHECK_INT(a->state, b->state);
    CHECK_STR(a->error, b->error);
    CHECK_INT(a->error_status, b->error_status);
    if (a->state != AIOC_HTTP_DONE) return;
    CHECK_INT(a->left_over, b->left_over);
    CHECK_INT(a->status, b->status);
    CHECK_INT(a->keep_alive, b->keep_alive);
    CHECK_INT(a->head_len, b->head_len);
    CHECK_MEM(a->head, b->head, a->head_len);
    CHECK_INT(a->body_len, b->body_len);
    CHECK_MEM(a->body, b->body, a->body_len);
    CHECK_INT(a->etag_len, b->etag_len);
    CHECK_MEM(a->etag, b->etag, a->etag_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    size_t step = fuzz_knob(&in) + 1u;
    unsigned nth = 1 + fuzz_knob(&in) % 10;
    bool no_body = fuzz_knob(&in) % 8 == 7;
    aiocosmos_str text = fuzz_rest(&in);
    answer whole, other;
    feed(text, 0, no_body, 0, &whole);
    feed(text, step, no_body, 0, &other);
    check_same(&other, &whole);
    drop(&other);
    feed(text, step, no_body, nth, &other);
    check_same(&other, &whole);
    drop(&other);
    drop(&whole);
    return 0;
}
