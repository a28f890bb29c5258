/* Session tokens: one that parses is written so that it parses to the same, and the sum of two covers both. */
#include "fuzz.h"

static void write_again(const aioc_protocol_session *session)
{
    aioc_mem memory;
    aioc_mem_buffer out = {NULL, 0, 0};
    aioc_mem_writer writer = aioc_mem_write(&memory, &out);
    aioc_protocol_session again;
    size_t bad_at, i;
    aioc_mem_init(&memory, NULL, SIZE_MAX);
    aioc_protocol_session_put(&writer, session);
    CHECK(aioc_mem_written(&writer));
    CHECK(aioc_protocol_session_parse(fuzz_text(&out), &again, &bad_at));
    CHECK_INT(again.old_form, session->old_form);
    CHECK_INT(again.version, session->version);
    CHECK_INT(again.lsn, session->lsn);
    CHECK_INT(again.region_count, session->region_count);
    for (i = 0; i < session->region_count; i++) {
        CHECK_INT(again.region[i].id, session->region[i].id);
        CHECK_INT(again.region[i].lsn, session->region[i].lsn);
    }
    aioc_mem_buffer_free(&memory, &out);
    aioc_mem_close(&memory);
}

/* Whoever has seen the sum has seen both: no token goes back. */
static void check_sum(const aioc_protocol_session *a, const aioc_protocol_session *b)
{
    aioc_protocol_session sum = *a, twice;
    aioc_protocol_session_add(&sum, b);
    CHECK(sum.region_count <= AIOC_PROTOCOL_REGIONS_MAX);
    twice = sum;
    if (a->region_count + b->region_count <= AIOC_PROTOCOL_REGIONS_MAX)
        CHECK(aioc_protocol_session_add(&twice, a) && aioc_protocol_session_add(&twice, b));
    twice = sum;
    aioc_protocol_session_add(&twice, b);
    CHECK_INT(twice.version, sum.version);
    CHECK_INT(twice.lsn, sum.lsn);
    CHECK_INT(twice.region_count, sum.region_count);
    write_again(&sum);
}

/* A composite that is right consists of parts that are. */
static void check_composite(aiocosmos_str text)
{
    aiocosmos_str rest = text, id, value;
    size_t error_at, bad_at, segments = 0;
    bool right = aioc_protocol_session_check(text, &error_at);
    CHECK(error_at <= text.len || error_at == AIOC_PROTOCOL_SESSION_MAX);
    if (!right) return;
    CHECK(text.len <= AIOC_PROTOCOL_SESSION_MAX);
    while (aioc_protocol_session_next(&rest, &id, &value)) {
        aioc_protocol_session parsed;
        CHECK(id.len > 0 && aioc_protocol_range_id_ok(id) == id.len);
        CHECK(aioc_protocol_session_parse(value, &parsed, &bad_at));
        segments++;
    }
    CHECK(rest.len == 0 && segments > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    aiocosmos_str whole = {(const char *)data, size}, part[2];
    char *copy[2];
    aioc_protocol_session parsed[2];
    bool right[2];
    size_t bad_at;
    int i;
    for (i = 0; i < 2; i++) {
        part[i] = fuzz_part(&in);
        copy[i] = fuzz_copy(part[i]);
        part[i].ptr = copy[i];
        right[i] = aioc_protocol_session_parse(part[i], &parsed[i], &bad_at);
        CHECK(bad_at <= part[i].len);
        if (right[i]) write_again(&parsed[i]);
        check_composite(part[i]);
    }
    if (size) check_composite(whole);
    if (right[0] && right[1]) check_sum(&parsed[0], &parsed[1]);
    if (right[0] && right[1]) check_sum(&parsed[1], &parsed[0]);
    for (i = 0; i < 2; i++) free(copy[i]);
    return 0;
}
