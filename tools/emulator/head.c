/* head.c: the head of a request (RFC 9112, 2 to 5), each byte of which is looked at once. */
#include "head.h"

#include <string.h>

#define EMU_LINES_MAX   256                                /* header lines of a request */

/*------------------------------------------------------------------------------
 * MARK: - Names
 *----------------------------------------------------------------------------*/

static const aiocosmos_str emu_header_names[EMU_H_COUNT] = {
    EMU_NAME("authorization"), EMU_NAME("date"), EMU_NAME("x-ms-date"), EMU_NAME("x-ms-version"),
    EMU_NAME("content-length"), EMU_NAME("transfer-encoding"), EMU_NAME("connection"), EMU_NAME("expect"),
    EMU_NAME("content-type"), EMU_NAME("x-ms-documentdb-partitionkey"), EMU_NAME("x-ms-session-token"),
    EMU_NAME("x-ms-documentdb-is-upsert"), EMU_NAME("x-ms-documentdb-isquery"),
    EMU_NAME("x-ms-cosmos-is-query-plan-request"), EMU_NAME("x-ms-cosmos-is-batch-request"),
    EMU_NAME("x-ms-documentdb-query-enablecrosspartition"), EMU_NAME("x-ms-max-item-count"),
    EMU_NAME("x-ms-continuation"), EMU_NAME("x-ms-documentdb-partitionkeyrangeid"), EMU_NAME("x-ms-read-key-type"),
    EMU_NAME("x-ms-start-epk"), EMU_NAME("x-ms-end-epk"), EMU_NAME("if-match"), EMU_NAME("if-none-match"),
    EMU_NAME("if-modified-since"), EMU_NAME("x-ms-cosmos-changefeed-wire-format-version"), EMU_NAME("prefer"),
    EMU_NAME("a-im"), EMU_NAME("x-ms-activity-id"), EMU_NAME("x-ms-consistency-level"),
    EMU_NAME("x-ms-cosmos-intended-collection-rid"), EMU_NAME("x-ms-offer-throughput"),
    EMU_NAME("x-ms-cosmos-offer-autopilot-settings"), EMU_NAME("x-ms-cosmos-migrate-offer-to-autopilot"),
    EMU_NAME("x-ms-cosmos-migrate-offer-to-manual-throughput"), EMU_NAME("x-ms-documentdb-expiry-seconds"),
    EMU_NAME("host"), EMU_NAME("x-ms-documentdb-populatequotainfo"), EMU_NAME("x-ms-cosmos-supported-query-features"),
    EMU_NAME("x-ms-documentdb-populatequerymetrics"), EMU_NAME("x-ms-cosmos-populateindexmetrics"),
    EMU_NAME("x-ms-cosmos-populateindexmetrics-v2"), EMU_NAME("x-ms-cosmos-sdk-supportedcapabilities"),
    EMU_NAME("x-ms-cosmos-batch-atomic"), EMU_NAME("x-ms-cosmos-batch-continue-on-error"), EMU_NAME("origin"),
    EMU_NAME("x-ms-documentdb-pre-trigger-include"), EMU_NAME("x-ms-documentdb-post-trigger-include"),
    EMU_NAME("x-ms-indexing-directive"), EMU_NAME("x-ms-documentdb-script-enable-logging"),
    EMU_NAME("x-emulator-merged"), EMU_NAME("accept")
};

static size_t emu_header_hash(const char *name, size_t len)
{
    unsigned last = (unsigned char)(name[len - 1] | 32), middle = (unsigned char)(name[len / 2] | 32);
    return (len * 29u + last * 5u + middle) & 255u;
}

void emu_head_names(uint8_t slots[EMU_NAME_SLOTS])
{
    unsigned i;
    for (i = 0; i < EMU_H_COUNT; i++) {
        size_t at = emu_header_hash(emu_header_names[i].ptr, emu_header_names[i].len);
        while (slots[at]) at = (at + 1) % EMU_NAME_SLOTS;
        slots[at] = (uint8_t)(i + 1);
    }
}

/* EMU_H_COUNT: none that anybody here reads. Most clients write most names in lower case. */
static unsigned emu_header_find(const uint8_t slots[EMU_NAME_SLOTS], const char *name, size_t len)
{
    size_t at = emu_header_hash(name, len);
    for (; slots[at]; at = (at + 1) % EMU_NAME_SLOTS) {
        aiocosmos_str known = emu_header_names[slots[at] - 1];
        if (known.len == len && (memcmp(known.ptr, name, len) == 0 || aioc_http_is_name(known, name, len)))
            return slots[at] - 1u;
    }
    return EMU_H_COUNT;
}

/*------------------------------------------------------------------------------
 * MARK: - Lines
 *----------------------------------------------------------------------------*/

static bool emu_head_refuse(emu_head *head, int status, const char *why)
{
    head->refused = status;
    head->why = why;
    return false;
}

static emu_span emu_span_of(size_t from, size_t to)
{
    emu_span span;
    span.at = (uint32_t)from;
    span.len = (uint32_t)(to - from);
    return span;
}

/* "GET /dbs HTTP/1.1" */
static bool emu_head_request_line(emu_head *head, const char *data, size_t end)
{
    const char *first = (const char *)memchr(data, ' ', end);
    size_t verb = first ? (size_t)(first - data) : 0;
    const char *second = verb ? (const char *)memchr(first + 1, ' ', end - verb - 1) : NULL;
    size_t target = second ? (size_t)(second - data) : 0;
    if (target < verb + 2 || end != target + 9 || memcmp(second, " HTTP/1.", 8) != 0 ||
        (data[end - 1] != '0' && data[end - 1] != '1'))
        return emu_head_refuse(head, 400, "The request line is malformed.");
    head->verb = emu_span_of(0, verb);
    head->target = emu_span_of(verb + 1, target);
    head->minor = data[end - 1] - '0';
    return true;
}

/* Where a request ends is said once, or its reader and another one before it could differ (RFC 9112, 6.3). */
static bool emu_head_repeats(emu_head *head, const char *data, unsigned index, emu_span value)
{
    emu_span before = head->header[index];
    if (!(head->given >> index & 1)) return true;
    if (index == EMU_H_TRANSFER_ENCODING) return emu_head_refuse(head, 400, "There are two transfer encodings.");
    return index != EMU_H_CONTENT_LENGTH ||
           (before.len == value.len && memcmp(data + before.at, data + value.at, value.len) == 0) ||
           emu_head_refuse(head, 400, "There are two lengths.");
}

/* No space is before the colon, and no line goes on in the next one (RFC 9112, 5.1 and 5.2). What ends the line, which
 * is there, ends a name too. */
static bool emu_head_header_line(emu_head *head, const uint8_t slots[EMU_NAME_SLOTS], const char *data, size_t len,
                                 size_t end)
{
    const char *line = data + head->line;
    const char *colon = aioc_text_find(line, data + len, 0, ' ', ':', true);
    size_t from = (size_t)(colon - data) + 1, name_len = (size_t)(colon - line);
    unsigned index;
    emu_span value;
    if (++head->lines > EMU_LINES_MAX) return emu_head_refuse(head, 400, "There are too many header lines.");
    if (*colon != ':' || name_len == 0) return emu_head_refuse(head, 400, "A header line is malformed.");
    index = emu_header_find(slots, line, name_len);
    if (index == EMU_H_COUNT) return true;
    while (from < end && (data[from] == ' ' || data[from] == '\t')) from++;
    while (end > from && (data[end - 1] == ' ' || data[end - 1] == '\t')) end--;
    value = emu_span_of(from, end);
    if (!emu_head_repeats(head, data, index, value)) return false;
    head->header[index] = value;
    head->given |= UINT64_C(1) << index;
    return true;
}

size_t emu_head_read(emu_head *head, const uint8_t slots[EMU_NAME_SLOTS], const char *data, size_t len)
{
    bool ok = true;
    while (ok) {
        size_t end = head->scan = aioc_http_control(data, head->scan, len), next = end + 1;
        if (end < len && data[end] == '\r') next++;
        if ((next < len ? next : len) > EMU_HEAD_MAX) {
            emu_head_refuse(head, 431, "The request's head is too long.");
            return 0;
        }
        if (next > len) return 0;
        if (data[next - 1] != '\n') ok = emu_head_refuse(head, 400, "The head has a control character.");
        else if (head->line == 0) ok = emu_head_request_line(head, data, end);
        else if (end > head->line) ok = emu_head_header_line(head, slots, data, len, end);
        else return next;
        head->line = head->scan = next;
    }
    return 0;
}

/*------------------------------------------------------------------------------
 * MARK: - What it says
 *----------------------------------------------------------------------------*/

static aiocosmos_str emu_span_str(emu_span span, const char *data)
{
    return emu_str(data + span.at, span.len);
}

aiocosmos_str emu_head_header(const emu_head *head, const char *data, emu_header header)
{
    return head->given >> header & 1 ? emu_span_str(head->header[header], data) : emu_str(NULL, 0);
}

static emu_verb emu_verb_of(aiocosmos_str text, bool *head_only)
{
    *head_only = emu_is(text, "HEAD");
    if (emu_is(text, "GET") || *head_only) return EMU_GET;
    if (emu_is(text, "POST")) return EMU_POST;
    if (emu_is(text, "PUT")) return EMU_PUT;
    if (emu_is(text, "PATCH")) return EMU_PATCH;
    return emu_is(text, "DELETE") ? EMU_DELETE : EMU_OTHER;
}

void emu_head_request(const emu_head *head, const char *data, emu_request *request)
{
    uint64_t left = head->given;
    memset(request, 0, sizeof *request);
    request->verb_text = emu_span_str(head->verb, data);
    request->verb = emu_verb_of(request->verb_text, &request->head_only);
    request->target = emu_span_str(head->target, data);
    request->minor = head->minor;
    for (; left; left &= left - 1) {
        int index = __builtin_ctzll(left);
        request->header[index] = emu_span_str(head->header[index], data);
    }
}
