/* The file of --data: its bytes as they come, or frames of the input's records with the right hashes around them. What
 * is brought back is brought back again from its beginning alone, as far as it was whole, and from the file that is
 * written anew of it, which stays as it is when that is done once more; the emulator works on. */
#include "fuzz.h"
#include "tools/emulator/aiocosmos_emulator.h"

#define HEAD "aiocosmos-emulator data 2\n"
#define HEALTH "GET /_emulator/stats HTTP/1.1\r\nHost: localhost\r\n\r\n"

enum { FRAME_HEAD = 12 };

static int64_t stand_still(void *user)
{
    (void)user;
    return INT64_C(1795228304000);
}

static aiocosmos_emulator *open_core(void)
{
    aiocosmos_emulator_options options;
    aiocosmos_emulator *core;
    memset(&options, 0, sizeof options);
    options.partitions = 2;
    options.now_ms = stand_still;
    options.allocate = heap_fn;
    options.memory_max = (size_t)64 << 20;
    core = aiocosmos_emulator_open(&options, NULL);
    CHECK(core != NULL);
    return core;
}

static void ask(aiocosmos_emulator *core)
{
    aiocosmos_emulator_conn *conn = aiocosmos_emulator_conn_open(core);
    size_t len;
    const char *bytes;
    CHECK(conn != NULL);
    aiocosmos_emulator_conn_feed(conn, HEALTH, sizeof HEALTH - 1);
    bytes = aiocosmos_emulator_conn_output(conn, &len);
    CHECK(len > 12 && memcmp(bytes, "HTTP/1.1 200", 12) == 0);
    aiocosmos_emulator_conn_close(conn);
}

/* Frames: two bytes of length, and records. */
static void frame(fuzz_input *in, aioc_mem *memory, aioc_mem_buffer *out)
{
    unsigned char head[FRAME_HEAD];
    size_t len;
    aiocosmos_str records;
    CHECK(aioc_mem_append(memory, out, HEAD, sizeof HEAD - 1));
    while (in->len > 0) {
        len = fuzz_byte(in);
        len |= (size_t)fuzz_byte(in) << 8;
        records = fuzz_take(in, len);
        aioc_text_store32le(head, (uint32_t)records.len);
        aioc_text_store32le(head + 4, aioc_protocol_murmur3_32(head, 4));
        aioc_text_store32le(head + 8, aioc_protocol_murmur3_32(records.ptr, records.len));
        CHECK(aioc_mem_append(memory, out, head, sizeof head));
        CHECK(aioc_mem_append(memory, out, records.ptr, records.len));
    }
}

typedef struct file {
    aioc_mem *memory;
    aioc_mem_buffer bytes;
} file;

static bool keep(void *user_data, const void *bytes, size_t len)
{
    file *to = (file *)user_data;
    return aioc_mem_append(to->memory, &to->bytes, bytes, len);
}

static void check_rewritten(aiocosmos_emulator *core, aioc_mem *memory, const aioc_mem_buffer *bytes, size_t whole)
{
    file once = {memory, {NULL, 0, 0}}, twice = {memory, {NULL, 0, 0}};
    const char *error;
    if (aiocosmos_emulator_rewrite(core, bytes->data, whole, keep, &once)) {
        ask(core);
        core = open_core();
        CHECK_INT(aiocosmos_emulator_restore(core, once.bytes.data, once.bytes.len, &error), once.bytes.len);
        CHECK(error == NULL);
        CHECK(aiocosmos_emulator_rewrite(core, once.bytes.data, once.bytes.len, keep, &twice));
        CHECK_INT(twice.bytes.len, once.bytes.len);
        CHECK_MEM(twice.bytes.data, once.bytes.data, once.bytes.len);
        ask(core);
        aiocosmos_emulator_close(core);
    }
    aioc_mem_buffer_free(memory, &once.bytes);
    aioc_mem_buffer_free(memory, &twice.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    unsigned fails = fuzz_knob(&in), raw = fuzz_knob(&in);
    aioc_mem memory;
    aioc_mem_buffer bytes;
    aiocosmos_emulator *core;
    const char *error, *again;
    size_t whole;
    memset(&bytes, 0, sizeof bytes);
    aioc_mem_init(&memory, NULL, SIZE_MAX);
    if (raw) CHECK(aioc_mem_append(&memory, &bytes, in.at, in.len));
    else frame(&in, &memory, &bytes);
    core = open_core();
    if (fails) heap_fail(&heap, fails, 1);
    whole = aiocosmos_emulator_restore(core, bytes.data, bytes.len, &error);
    heap_recover(&heap);
    CHECK(whole <= bytes.len);
    ask(core);
    aiocosmos_emulator_close(core);
    core = open_core();
    CHECK_INT(aiocosmos_emulator_restore(core, bytes.data, whole, &again), whole);
    CHECK(again == NULL);
    ask(core);
    check_rewritten(core, &memory, &bytes, whole);
    aiocosmos_emulator_close(core);
    aioc_mem_buffer_free(&memory, &bytes);
    aioc_mem_close(&memory);
    CHECK_INT(heap.blocks, 0);
    return 0;
}
