/* Continuation tokens: as they come, and with a checksum that is right, so that what is behind it is read. One that is
 * accepted is written as it was. */
#include "fuzz.h"

/* Each byte that the position points to is there. */
static void touch(aiocosmos_str text)
{
    volatile char sum = 0;
    size_t i;
    for (i = 0; i < text.len; i++) sum = (char)(sum ^ text.ptr[i]);
}

static void check_position(const aioc_pos *position)
{
    uint32_t i;
    CHECK(position->place >= AIOC_POS_AT_SERVICE && position->place <= AIOC_POS_IN_CHANGES);
    CHECK(memchr(position->rid, 0, sizeof position->rid) != NULL);
    for (i = 0; i < position->piece_count; i++) {
        const aioc_pos_piece *piece = &position->pieces[i];
        touch(piece->min);
        touch(piece->max);
        touch(piece->continuation);
        CHECK(position->place == AIOC_POS_AT_SERVICE || aioc_protocol_epk_compare(piece->min, piece->max) < 0);
    }
    touch(position->values);
    touch(position->rid_of_row);
    touch(position->rows);
    touch(position->rest_min);
}

/* Memory may run out at each call; in the end there is enough. */
static void read_token(aiocosmos_str token, unsigned nth)
{
    aioc_mem memory = fuzz_memory(nth);
    aioc_mem_buffer block = {NULL, 0, 0}, out = {NULL, 0, 0};
    aioc_pos position;
    const char *why = NULL;
    int result = aioc_pos_read(&memory, token, &block, &position, &why);
    if (result == AIOCOSMOS_E_NOMEM) {
        CHECK(nth > 0);
        heap_recover(&heap);
        result = aioc_pos_read(&memory, token, &block, &position, &why);
    }
    heap_recover(&heap);
    if (result == 0) {
        check_position(&position);
        CHECK_INT(aioc_pos_write(&memory, &out, &position, token.len), 1);
        CHECK_INT(out.len, token.len);
        CHECK_MEM(out.data, token.ptr, token.len);
        aioc_pos_free(&memory, &position);
    } else {
        CHECK_INT(result, AIOCOSMOS_E_ARGUMENT);
        CHECK(why != NULL);
    }
    aioc_mem_buffer_free(&memory, &out);
    aioc_mem_buffer_free(&memory, &block);
    fuzz_close(&memory);
}

/* The bytes as a token. */
static void read_bytes(aiocosmos_str bytes, unsigned nth)
{
    aioc_mem memory;
    aioc_mem_buffer packed = {NULL, 0, 0}, token = {NULL, 0, 0};
    uint64_t sum = aioc_pos_checksum(bytes.len ? bytes.ptr : "", bytes.len);
    unsigned char end[AIOC_POS_CHECK_BYTES];
    char *copy;
    aioc_mem_init(&memory, NULL, SIZE_MAX);
    aioc_text_store64le(end, sum);
    CHECK(aioc_mem_append(&memory, &packed, bytes.ptr, bytes.len) && aioc_mem_append(&memory, &packed, end, sizeof end) &&
          aioc_mem_append(&memory, &token, AIOC_POS_PREFIX, sizeof AIOC_POS_PREFIX - 1) &&
          aioc_pos_append_base64(&memory, &token, &packed));
    copy = fuzz_copy(fuzz_text(&token));
    read_token(aioc_text_view(copy, token.len), nth);
    free(copy);
    aioc_mem_buffer_free(&memory, &packed);
    aioc_mem_buffer_free(&memory, &token);
    aioc_mem_close(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    unsigned nth = fuzz_knob(&in) % 10;
    bool is_token = fuzz_knob(&in) % 2 != 0;
    size_t len = in.len;
    char *copy = fuzz_copy(fuzz_rest(&in));
    if (is_token) read_token(aioc_text_view(copy, len), nth);
    else read_bytes(aioc_text_view(copy, len), nth);
    free(copy);
    return 0;
}
