/* exchange.c: what all routes do. */
#include "exchange.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*------------------------------------------------------------------------------
 * MARK: - Refusals
 *----------------------------------------------------------------------------*/

const char *emu_status_text(int status)
{
    if (status == 302) return "Found";
    return status == 207 ? "Multi-Status" : status == 429 ? "Too Many Requests" : aioc_protocol_status_text(status);
}

static const char *emu_code_of(int status)
{
    switch (status) {
    case 400: return "BadRequest";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "NotFound";
    case 405: return "MethodNotAllowed";
    case 408: return "RequestTimeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 412: return "PreconditionFailed";
    case 413: return "RequestEntityTooLarge";
    case 423: return "Locked";
    case 429: return "429";
    case 449: return "RetryWith";
    case 501: return "NotImplemented";
    case 503: return "ServiceUnavailable";
    default: return "InternalServerError";
    }
}

/* Requests may say anything, and be quoted; answers are UTF-8. */
static void emu_put_utf8(emu_text *out, aiocosmos_str text)
{
    size_t bad_at = 0, i, start = out->buffer.len;
    emu_put_str(out, text);
    if (out->failed || aioc_json_utf8_ok(text.ptr, text.len, &bad_at)) return;
    for (i = start + bad_at; i < out->buffer.len; i++)
        if (out->buffer.data[i] & 0x80) out->buffer.data[i] = '?';
}

/* message: what stands behind "Message: ", or, not wrapped, all there is. */
static bool emu_refuse_text(emu_exchange *x, int status, int sub_status, aiocosmos_str message, bool wrapped,
                            const char *extra_info)
{
    emu_text *body = &x->core->body, *inner = &x->core->scratch;
    emu_text_clear(body);
    emu_text_clear(inner);
    if (wrapped) emu_puts(inner, "Message: ");
    emu_put_utf8(inner, message);
    emu_put_format(inner, "\r\nActivityId: %s, aiocosmos-emulator", x->activity);
    emu_put_format(body, "{\"code\":\"%s\",\"message\":", emu_code_of(status));
    emu_put_json(body, emu_str(inner->buffer.data, inner->buffer.len));
    if (extra_info) {
        emu_puts(body, ",\"additionalErrorInfo\":");
        emu_put_json(body, aioc_mem_str(extra_info));
    }
    emu_puts(body, "}");
    x->status = status;
    x->sub_status = sub_status;
    x->has_body = true;
    x->etag[0] = x->continuation[0] = 0;
    x->item_count = -1;
    return false;
}

bool emu_no_memory(emu_exchange *x)
{
    return emu_refuse(x, 503, 0, "The emulator is out of memory.");
}

bool emu_refuse_json(emu_exchange *x, int status, int sub_status, const char *message_json, const char *extra_info)
{
    return emu_refuse_text(x, status, sub_status, aioc_mem_str(message_json), *message_json == '{', extra_info);
}

bool emu_refuse(emu_exchange *x, int status, int sub_status, const char *format, ...)
{
    char text[1024], json[2 * sizeof text + 32];
    size_t len = sizeof "{\"Errors\":[\"" - 1, i;
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    if (status == 401 || status == 403)
        return emu_refuse_text(x, status, sub_status, aioc_mem_str(text), false, NULL);
    memcpy(json, "{\"Errors\":[\"", len);
    for (i = 0; text[i]; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') json[len++] = '\\';
        json[len++] = c < ' ' ? ' ' : (char)c;
    }
    memcpy(json + len, "\"]}", 3);
    return emu_refuse_text(x, status, sub_status, emu_str(json, len + 3), true, NULL);
}

/*------------------------------------------------------------------------------
 * MARK: - What a request says
 *----------------------------------------------------------------------------*/

bool emu_header_true(const emu_exchange *x, emu_header header)
{
    return aioc_mem_same_nocase(x->request->header[header], aioc_mem_str("true"));
}

bool emu_parse_body(emu_exchange *x, aiocosmos_json *root)
{
    aiocosmos_json_doc *doc = &x->core->doc;
    aiocosmos_str body = x->request->body;
    bool parsed = x->request->parsed.type != AIOCOSMOS_JSON_NONE;
    int status = parsed ? 0 : body.len ? aioc_json_parse(doc, body.ptr, body.len) : AIOCOSMOS_E_ARGUMENT;
    if (status == AIOCOSMOS_E_NOMEM) return emu_no_memory(x);
    if (body.len == 0)
        return emu_refuse(x, 400, 0, "The request payload is empty. Ensure to provide a valid request payload.");
    if (status < 0)
        return emu_refuse(x, 400, 0, "The request payload is invalid. Ensure to provide a valid request payload: "
                          "%s at byte %llu.", doc->error ? doc->error : "not JSON", (unsigned long long)doc->error_at);
    *root = parsed ? x->request->parsed : aioc_json_root(doc);
    if (root->type == AIOCOSMOS_JSON_OBJ) return true;
    return emu_refuse(x, 400, 0, "The request payload is invalid. Ensure to provide a valid request payload: it has to "
                      "be a JSON object.");
}

emu_range *emu_named_range(emu_exchange *x, aiocosmos_str id)
{
    emu_container *container = x->container;
    uint32_t index = emu_range_index(container, id);
    if (index == container->range_count) {
        emu_refuse(x, 410, 1002, "The requested resource is no longer available at the server: the partition key range "
                   "is gone.");
        return NULL;
    }
    if (!emu_range_moves(container->range[index])) return container->range[index];
    if (container->pending.busy) container->pending.busy--;
    emu_refuse(x, 410, container->pending.sub_status, "The requested resource is no longer available at the server: "
               "the partition key range is being %s.", container->pending.gone == 1 ? "split" : "merged");
    return NULL;
}

/*------------------------------------------------------------------------------
 * MARK: - Request units and sessions
 *----------------------------------------------------------------------------*/

#define EMU_DEBT_S 5.0

/* Each physical partition has its share of a second's RU. What runs while some are left may overdraw them, as the
 * service lets it, and the next one waits for that, though not for longer than some seconds. */
bool emu_spend(emu_exchange *x, emu_range *range)
{
    double rate = x->core->options.ru_per_second / range->container->range_count;
    int64_t passed = x->now_ms - range->ru_ms;
    if (x->paid) return true;
    range->requests++;
    if (rate <= 0) return true;
    if (range->ru < -EMU_DEBT_S * rate) range->ru = -EMU_DEBT_S * rate;
    if (range->ru_ms < 0) range->ru = rate;
    else if (passed > 0) range->ru += rate * (double)passed / 1000;
    if (range->ru > rate) range->ru = rate;
    range->ru_ms = x->now_ms;
    if (range->ru > 0) return true;
    range->throttled++;
    x->range = range;
    x->charge = 0.38;
    x->retry_after_ms = floor(1 - range->ru * 1000 / rate);
    emu_refuse(x, 429, 3200, "Request rate is large. More Request Units may be needed, so no changes were made. Please "
               "retry this request later. Learn more: http://aka.ms/cosmosdb-error-429");
    return false;
}

void emu_charge(emu_exchange *x, emu_range *range, double charge)
{
    x->charge += charge;
    range->ru -= charge;
    range->charged += charge;
}

/* Of a composite token the part of this range counts, and parts of those that it was made of. */
bool emu_session_ok(emu_exchange *x, const emu_range *range)
{
    aiocosmos_str rest = x->request->header[EMU_H_SESSION], id, value;
    aioc_protocol_session token;
    char quoted[16];
    size_t bad_at;
    while (rest.len && aioc_protocol_session_next(&rest, &id, &value)) {
        bool ours = emu_is(id, range->id);
        if (!aioc_protocol_session_parse(value, &token, &bad_at))
            return emu_refuse(x, 400, 0, "The session token provided '%.*s' is invalid.", EMU_CUT(value, 100));
        if (!ours && id.len < 12) {
            snprintf(quoted, sizeof quoted, "\"%.*s\"", (int)id.len, id.ptr);
            ours = strstr(emu_range_parents(range), quoted) != NULL;
        }
        if (ours && (token.lsn > range->lsn || token.version > range->version)) {
            emu_refuse(x, 404, 1002, "The read session is not available for the input session token.");
            x->range = NULL;
            return false;
        }
    }
    return rest.len == 0 || emu_refuse(x, 400, 0, "The session token provided '%.*s' is invalid.",
                                       EMU_CUT(rest, 100));
}

/* A request may only ask for less than the account's consistency, Session. */
bool emu_read_headers_ok(emu_exchange *x)
{
    aiocosmos_str level = x->request->header[EMU_H_CONSISTENCY];
    if (!level.ptr || emu_is(level, "Session") || emu_is(level, "ConsistentPrefix") || emu_is(level, "Eventual"))
        return true;
    return emu_refuse(x, 400, 0, "ConsistencyLevel %.*s specified in the request is invalid when service is configured "
                      "with consistency level Session. Ensure the request consistency level is not stronger than the "
                      "service consistency level.", EMU_CUT(level, 40));
}

/*------------------------------------------------------------------------------
 * MARK: - Owners, ids and keys
 *----------------------------------------------------------------------------*/

bool emu_find_owner(emu_exchange *x)
{
    aiocosmos_str rid = x->request->header[EMU_H_COLLECTION_RID];
    emu_database *database = emu_find_database(x->store, x->segment[1]);
    emu_container *container = database ? emu_find_container(database, x->segment[3]) : NULL;
    if (!container) return emu_refuse(x, 404, 1003, "Owner resource does not exist");
    x->database = database;
    x->container = container;
    if (rid.len && !emu_is(rid, container->rid))
        return emu_refuse(x, 400, 1024, "The collection rid in the request does not match the one of the collection.");
    if (!x->job && !x->store->clock.stands_ms) emu_ranges_tick(x->store, container);
    return true;
}

/* Letters, digits, '-' and '_', as most ids are of: then there is nothing to look for. */
static bool emu_is_plain_id(const char *id, size_t len)
{
    static const uint64_t plain[4] = { UINT64_C(0x03FF200000000000), UINT64_C(0x07FFFFFE87FFFFFE), 0, 0 };
    size_t i;
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)id[i];
        if (!(plain[c >> 6] >> (c & 63) & 1)) return false;
    }
    return len > 0;
}

bool emu_check_id(emu_exchange *x, aiocosmos_json value, char room[AIOC_PROTOCOL_ITEM_ID_MAX + 1], aiocosmos_str *out,
                  bool is_item)
{
    char why[160];
    size_t len, max = AIOC_PROTOCOL_ITEM_ID_MAX;
    if (value.type == AIOCOSMOS_JSON_NONE)
        return emu_refuse(x, 400, 0, "The input content is invalid because the required properties - 'id; ' - "
                          "are missing");
    if (value.type != AIOCOSMOS_JSON_STR)
        return emu_refuse(x, 400, 0, "The input content is invalid because the property 'id' has to be a string.");
    if (is_item && value.len <= max + 2 && emu_is_plain_id(value.ptr + 1, value.len - 2)) {
        *out = emu_str(value.ptr + 1, value.len - 2);
        return true;
    }
    len = aioc_json_get_str(value, room, max + 1);
    if (len > max)
        return emu_refuse(x, 400, 0, "The input name is invalid: 'id' has %llu bytes, at most %llu are allowed.",
                                     (unsigned long long)len, (unsigned long long)max);
    if (memchr(room, 0, len)) return emu_refuse(x, 400, 0, "The input name is invalid: 'id' has a control character.");
    *out = emu_str(room, len);
    if (!(is_item ? aioc_protocol_id_ok(room, why, sizeof why) : aioc_protocol_name_ok(room, why, sizeof why)))
        return emu_refuse(x, 400, 0, "The input name '%.200s' is invalid. Ensure to provide a unique non-empty string "
                          "less than '%d' characters: %s.", room, is_item ? 1024 : 256, why);
    return true;
}

bool emu_take_id(emu_exchange *x, aiocosmos_json root, char room[AIOC_PROTOCOL_ITEM_ID_MAX + 1], aiocosmos_str *out)
{
    static const char *const names[] = { "id" };
    aiocosmos_json value;
    aioc_json_fields(root, names, 1, &value);
    return emu_check_id(x, value, room, out, false);
}

bool emu_wrong_key(emu_exchange *x)
{
    return emu_refuse(x, 400, 1001, "Partition key provided either doesn't correspond to definition in the collection "
                      "or doesn't match partition key field values specified in the document.");
}

bool emu_parse_key(emu_exchange *x, aiocosmos_str text, emu_key *key)
{
    aiocosmos_value values[EMU_LEVELS];
    size_t count;
    emu_core *core = x->core;
    core->key_text.len = 0;
    if (!aioc_protocol_pk_components(&core->store.memory, &core->key_text, text, values, &count) || count == 0 ||
        count > x->container->key.path_count || !emu_key_from_values(x->container, values, count, key, NULL)) {
        return emu_wrong_key(x);
    }
    emu_table_expect(&x->container->partitions, key->hash);
    return true;
}

/* A resource token may be for the items of one key. */
static bool emu_token_key_ok(emu_exchange *x, bool given)
{
    emu_key *key = &x->core->key;
    if (x->token_key.len == 0) return true;
    if (given && emu_parse_key(x, x->token_key, key) && key->len <= x->core->header_key.len &&
        memcmp(key->bytes, x->core->header_key.bytes, key->len) == 0) return true;
    return emu_refuse(x, 403, 0, "Forbidden: the token is for another partition key.");
}

bool emu_header_key(emu_exchange *x, bool *given)
{
    aiocosmos_str text = x->request->header[EMU_H_PARTITION_KEY];
    *given = text.ptr != NULL;
    if (*given && !x->key_taken && !emu_parse_key(x, text, &x->core->header_key)) return false;
    return emu_token_key_ok(x, *given);
}

/* If-Match (RFC 9110, 13.1.1): the version that the client has seen, quotes included. */
bool emu_matches(emu_exchange *x, uint64_t number, int64_t ts)
{
    aiocosmos_str wanted = x->request->header[EMU_H_IF_MATCH];
    char etag[64];
    if (!wanted.ptr || emu_is(wanted, "*")) return true;
    emu_etag_text(etag, number, ts);
    return emu_is(wanted, etag) || emu_refuse(x, 412, 0, "Operation cannot be performed because one of the specified "
                                              "precondition is not met.");
}

#define EMU_CONTAINERS_CHARGE 4.95

/*------------------------------------------------------------------------------
 * MARK: - Answers about a resource
 *----------------------------------------------------------------------------*/

bool emu_absent(emu_exchange *x)
{
    return emu_refuse(x, 404, 0, "Resource Not Found. Learn more: https://aka.ms/cosmosdb-tsg-not-found");
}

bool emu_exists(emu_exchange *x)
{
    return emu_refuse(x, 409, 0, "Resource with specified id, name, or unique index already exists.");
}

void emu_answer_resource(emu_exchange *x, const emu_resource *resource, int status, double charge)
{
    emu_etag_text(x->etag, resource->etag, resource->ts);
    x->status = status;
    x->has_body = true;
    x->charge = charge;
}

void emu_answer_deleted(emu_exchange *x)
{
    x->status = 204;
    x->charge = EMU_CONTAINERS_CHARGE;
}
