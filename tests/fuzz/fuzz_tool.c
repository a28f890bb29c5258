/* What the tool's import reads, JSON documents in any layout and CSV: in pieces it is what it is whole. */
#include "fuzz.h"
#define DOCUMENT_BYTES_MAX 256
#define INPUT_READ_BYTES 64
#include "tools/cli/tool.c"
#include "tools/cli/io.c"
#include "tools/cli/input.c"
#include "tools/cli/values.c"
#include "tools/cli/csv.c"

enum { TEXT_MAX = 16384 };

/* What was taken, as text. */
typedef struct told { char text[8 * TEXT_MAX]; size_t len; } told;

static void tell(told *out, const char *format, ...)
{
    size_t room = sizeof out->text - out->len;
    va_list arguments;
    int len;
    va_start(arguments, format);
    len = vsnprintf(out->text + out->len, room, format, arguments);
    va_end(arguments);
    CHECK(len >= 0);
    out->len += (size_t)len < room ? (size_t)len : room - 1;
}

static void tell_document(told *out, const document *at, bool is_csv)
{
    size_t bad_at;
    CHECK(at->line > 0 && (at->too_long || at->text.len <= DOCUMENT_BYTES_MAX || is_csv));
    tell(out, "%llu/%llu>%llu %s %llu:", (unsigned long long)at->line, (unsigned long long)at->element,
         (unsigned long long)at->next, at->why ? at->why : "", (unsigned long long)at->too_long);
    if (at->too_long) CHECK(at->too_long > DOCUMENT_BYTES_MAX || is_csv);
    else if (at->text.len < sizeof out->text - out->len) {
        memcpy(out->text + out->len, at->text.ptr, at->text.len);
        out->len += at->text.len;
    }
    /* A record becomes an object; what is not UTF-8 is refused where it is sent. */
    if (is_csv && !at->why && !at->too_long && aioc_json_utf8_ok(at->text.ptr, at->text.len, &bad_at))
        CHECK_INT(aioc_json_check(at->text.ptr, at->text.len, NULL, 0, NULL, NULL, NULL), 0);
}

/* Through a pipe, in pieces of so many bytes, the last of them ended. */
static void take_all(aiocosmos_str text, size_t piece, bool is_csv, told *out)
{
    static values json;
    static csv table;
    size_t sent = 0;
    document at;
    input in;
    int ends[2];
    taken got = TAKEN_NONE_YET;
    memset(&json, 0, sizeof json);
    memset(&table, 0, sizeof table);
    out->len = 0;
    CHECK(pipe(ends) == 0 && input_open(&in, ends[0]));
    while (got != TAKEN_END && got != TAKEN_ERROR) {
        size_t len = text.len - sent < piece ? text.len - sent : piece;
        if (len > 0) CHECK_INT(write(ends[1], text.ptr + sent, len), len);
        else CHECK(ends[1] >= 0);
        sent += len;
        if (len == 0) {
            close(ends[1]);
            ends[1] = -1;
        }
        while (got = is_csv ? csv_take(&table, &in, &at) : values_take(&json, &in, &at), got == TAKEN_DOCUMENT)
            tell_document(out, &at, is_csv);
        CHECK(got != TAKEN_NONE_YET || ends[1] >= 0);
    }
    if (got == TAKEN_ERROR) tell(out, "%llu %s", (unsigned long long)at.line, at.why);
    if (ends[1] >= 0) close(ends[1]);
    input_close(&in);
    csv_free(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static told whole, parts;
    fuzz_input in = {data, size};
    bool is_csv = fuzz_knob(&in) % 2 != 0;
    size_t piece = 1 + fuzz_knob(&in) % 64;
    aiocosmos_str text = fuzz_take(&in, TEXT_MAX);
    take_all(text, TEXT_MAX, is_csv, &whole);
    take_all(text, piece, is_csv, &parts);
    CHECK_INT(parts.len, whole.len);
    CHECK_MEM(parts.text, whole.text, whole.len);
    return 0;
}
