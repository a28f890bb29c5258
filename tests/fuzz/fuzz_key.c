/* Partition keys and ids: the text of a key gives back its components, which have the same place whatever way they came,
 * and paths of ids hold nothing that ends a request line. */
#include "fuzz.h"

static void check_ascii(const aioc_mem_buffer *text)
{
    size_t i;
    for (i = 0; i < text->len; i++) CHECK(text->data[i] >= ' ' && text->data[i] < 127);
}

/* Every kind of container. A key that has no place has none as its text either. */
static void check_places(const aiocosmos_value *components, size_t count)
{
    aioc_protocol_pk_def def = {AIOC_PROTOCOL_HASH, 1, 1, false};
    char epk[AIOC_PROTOCOL_EPK_MAX], end[AIOC_PROTOCOL_EPK_MAX];
    size_t len, end_len;
    for (; def.version <= 2; def.version++) {
        def.kind = count > 1 ? AIOC_PROTOCOL_MULTI_HASH : AIOC_PROTOCOL_HASH;
        def.path_count = count > 1 ? AIOC_PROTOCOL_PK_LEVELS : 1;
        if (!aioc_protocol_epk(&def, components, count, epk, &len)) continue;
        CHECK(len > 0 && len < sizeof epk && strlen(epk) == len);
        memcpy(end, epk, len + 1);
        end_len = len;
        if (len + 3 > sizeof end) continue;
        aioc_protocol_epk_end(count == def.path_count, end, &end_len);
        CHECK(aioc_protocol_epk_compare(aioc_text_view(epk, len), aioc_text_view(end, end_len)) < 0);
    }
}

static void check_key(aioc_mem *memory, const aiocosmos_pk *pk)
{
    aioc_mem_buffer text = {NULL, 0, 0}, again = {NULL, 0, 0}, texts = {NULL, 0, 0};
    aiocosmos_value components[AIOC_PROTOCOL_PK_LEVELS];
    aiocosmos_pk made;
    size_t count, i;
    char why[256] = "";
    int result = aioc_protocol_pk_text(memory, &text, pk, why, sizeof why);
    CHECK(result == 0 ? text.len > 1 : text.len == 0 && why[0]);
    if (result == 0) {
        check_ascii(&text);
        CHECK(aioc_protocol_pk_components(memory, &texts, fuzz_text(&text), components, &count));
        memset(&made, 0, sizeof made);
        for (i = 0; i < count; i++) made.level[i] = components[i];
        check_places(components, count);
        CHECK_INT(aioc_protocol_pk_text(memory, &again, &made, why, sizeof why), 0);
        aioc_mem_buffer_free(memory, &texts);
        CHECK(aioc_protocol_pk_components(memory, &texts, fuzz_text(&again), components, &count));
        for (i = 0; i < count; i++) CHECK_INT(components[i].type, made.level[i].type);
    }
    aioc_mem_buffer_free(memory, &text);
    aioc_mem_buffer_free(memory, &again);
    aioc_mem_buffer_free(memory, &texts);
}

/* The key of a document by paths: what it is made of is in the document. */
static void check_document(aioc_mem *memory, aiocosmos_str paths, aiocosmos_str text)
{
    aiocosmos_str path[AIOC_PROTOCOL_PK_LEVELS];
    aiocosmos_json_doc doc;
    aiocosmos_json id;
    aiocosmos_pk pk;
    size_t count = 0;
    char why[300];
    while (count < AIOC_PROTOCOL_PK_LEVELS && aioc_text_split(&paths, '\n', &path[count])) count++;
    aioc_json_open(&doc, memory);
    if (aioc_json_parse(&doc, text.ptr, text.len) == 0 &&
        aioc_protocol_pk_from_document(aioc_json_root(&doc), path, count, &id, &pk, why, sizeof why) == 0) check_key(memory, &pk);
    aioc_json_close(&doc);
}

static void check_id(aioc_mem *memory, aiocosmos_str text)
{
    char *id = fuzz_string(text), why[200];
    aioc_mem_buffer path = {NULL, 0, 0};
    bool right = aioc_protocol_id_ok(id, why, sizeof why);
    CHECK(right || why[0]);
    CHECK(aioc_protocol_append_path(memory, &path, aioc_mem_str(id)));
    for (; path.len > 0; path.len--) CHECK(path.data[path.len - 1] > ' ' && path.data[path.len - 1] < 127);
    aioc_mem_buffer_free(memory, &path);
    free(id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    aioc_mem memory = fuzz_memory(0);
    unsigned what = fuzz_knob(&in) % 4, i;
    aiocosmos_str part[AIOC_PROTOCOL_PK_LEVELS];
    char *copy[AIOC_PROTOCOL_PK_LEVELS];
    aiocosmos_pk pk;
    memset(&pk, 0, sizeof pk);
    for (i = 0; i < AIOC_PROTOCOL_PK_LEVELS; i++) {
        bool given = in.len > 0;
        part[i] = fuzz_part(&in);
        copy[i] = fuzz_copy(part[i]);
        part[i].ptr = copy[i];
        pk.level[i].type = !given ? AIOCOSMOS_VALUE_UNSET : what == 0 ? AIOCOSMOS_VALUE_STR : AIOCOSMOS_VALUE_JSON;
        pk.level[i].str = copy[i];
        pk.level[i].len = part[i].len;
    }
    if (what < 2) check_key(&memory, &pk);
    if (what == 2) check_document(&memory, part[0], part[1]);
    if (what == 3) check_id(&memory, part[0]);
    for (i = 0; i < AIOC_PROTOCOL_PK_LEVELS; i++) free(copy[i]);
    fuzz_close(&memory);
    return 0;
}
