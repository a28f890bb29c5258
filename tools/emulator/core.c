/* core.c: the core's frame: open and close, which request goes where, who may make it, how answers begin. */
#include "internal.h"

/*------------------------------------------------------------------------------
 * MARK: - Text
 *----------------------------------------------------------------------------*/

void emu_put(emu_text *text, const void *bytes, size_t len)
{
    if (!text->failed && !aioc_mem_append(text->memory, &text->buffer, bytes, len)) text->failed = true;
}

void emu_puts(emu_text *text, const char *string)
{
    emu_put(text, string, strlen(string));
}

void emu_put_str(emu_text *text, aiocosmos_str string)
{
    emu_put(text, string.ptr, string.len);
}

void emu_put_i64(emu_text *text, int64_t number)
{
    char digits[24];
    emu_put(text, digits, aioc_json_i64_write(number, digits));
}

void emu_put_json(emu_text *text, aiocosmos_str string)
{
    if (!text->failed && !aioc_json_append_string(text->memory, &text->buffer, string.ptr, string.len, false))
        text->failed = true;
}

/* Only short texts of our own making. */
void emu_put_format(emu_text *text, const char *format, ...)
{
    char room[1024];
    va_list values;
    int len;
    va_start(values, format);
    len = vsnprintf(room, sizeof room, format, values);
    va_end(values);
    emu_put(text, room, len < 0 ? 0 : (size_t)len < sizeof room ? (size_t)len : sizeof room - 1);
}

/* Empty again. What a large request made it grow to is given back. */
void emu_text_clear(emu_text *text)
{
    if (text->buffer.cap > (1u << 20)) aioc_mem_buffer_free(text->memory, &text->buffer);
    text->buffer.len = 0;
    text->failed = false;
}

/*------------------------------------------------------------------------------
 * MARK: - Time and chance
 *----------------------------------------------------------------------------*/

int64_t emu_now(const emu_core *core)
{
    if (core->options.now_ms) return core->options.now_ms(core->options.user) + core->ahead_ms;
    return aioc_platform_system.wall_ms(aioc_platform_system.user_data) + core->ahead_ms;
}

/* SplitMix64. */
uint64_t emu_random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t emu_random(emu_core *core)
{
    if (core->options.random) return core->options.random(core->options.user);
    return emu_random_next(&core->random);
}

static void emu_put_hex(char *out, uint64_t number, int digits)
{
    for (; digits > 0; digits--, number >>= 4) out[digits - 1] = "0123456789abcdef"[number & 15];
}

void emu_make_guid(emu_core *core, char out[EMU_GUID + 1])
{
    uint64_t a = emu_random(core), b = emu_random(core);
    memcpy(out, "00000000-0000-4000-8000-000000000000", EMU_GUID + 1);
    emu_put_hex(out, a >> 32, 8);
    emu_put_hex(out + 9, a >> 16, 4);
    emu_put_hex(out + 15, a, 3);
    emu_put_hex(out + 20, b >> 48, 3);
    emu_put_hex(out + 24, b, 12);
}

/*------------------------------------------------------------------------------
 * MARK: - Open and close
 *----------------------------------------------------------------------------*/

static const char *emu_options_wrong(emu_options *options)
{
    if (options->partitions < 0 || options->partitions > EMU_PARTITIONS_MAX) return "partitions: 1 to 256";
    if (!(options->ru_per_second >= 0) || options->ru_per_second > 1e12) return "RU per second: a positive number";
    return emu_shuffle_wrong(&options->shuffle);
}

static void *emu_allocate(void *ptr, size_t old_size, size_t new_size, void *user)
{
    const emu_options *options = (const emu_options *)user;
    if (options->allocate) return options->allocate(ptr, old_size, new_size, options->user);
    if (new_size > 0) return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

emu_core *emu_core_open(const emu_options *options, const char **error)
{
    emu_options copy = *options;
    const char *wrong = emu_options_wrong(&copy);
    aiocosmos_allocator allocator;
    size_t error_at;
    emu_core *core = wrong ? NULL : (emu_core *)emu_allocate(NULL, 0, sizeof *core, &copy);
    if (error) *error = wrong ? wrong : "no memory";
    if (!core) return NULL;
    memset(core, 0, sizeof *core);
    core->options = copy;
    if (!copy.partitions) core->options.partitions = EMU_DEFAULT_PARTITIONS;
    allocator.fn = emu_allocate;
    allocator.user_data = &core->options;
    aioc_mem_init(&core->memory, &allocator, copy.memory_max ? copy.memory_max : SIZE_MAX);
    core->body.memory = core->scratch.memory = core->scratch2.memory = core->batch.memory = &core->memory;
    aioc_json_open(&core->doc, &core->memory);
    aioc_json_open(&core->doc2, &core->memory);
    aioc_json_open(&core->batch_doc, &core->memory);
    emu_http_init(core);
    core->random = 1;
    core->date_s = core->asked_s = -1;
    if (aioc_auth_signer_set_key(&core->signer, aioc_mem_str(copy.key ? copy.key : AIOCOSMOS_EMULATOR_KEY),
                                 &error_at) < 0) {
        wrong = "key: not base64";
    }
    if (!wrong && emu_core_set_endpoint(core, copy.endpoint ? copy.endpoint : "http://localhost:8081/")) return core;
    if (error && wrong) *error = wrong;
    emu_core_close(core);
    return NULL;
}

void emu_core_close(emu_core *core)
{
    emu_options options = core->options;
    while (core->databases) emu_drop_database(core, core->databases);
    emu_core_clear_faults(core);
    aioc_mem_free(&core->memory, core->endpoint, core->endpoint_size);
    aioc_mem_buffer_free(&core->memory, &core->body.buffer);
    aioc_mem_buffer_free(&core->memory, &core->scratch.buffer);
    aioc_mem_buffer_free(&core->memory, &core->scratch2.buffer);
    aioc_mem_buffer_free(&core->memory, &core->batch.buffer);
    aioc_mem_buffer_free(&core->memory, &core->batch_text);
    aioc_mem_buffer_free(&core->memory, &core->key_text);
    aioc_json_close(&core->doc);
    aioc_json_close(&core->doc2);
    aioc_json_close(&core->batch_doc);
    aioc_mem_wipe(&core->signer, sizeof core->signer);
    aioc_mem_close(&core->memory);
    emu_allocate(core, sizeof *core, 0, &options);
}

bool emu_core_set_endpoint(emu_core *core, const char *endpoint)
{
    size_t size = strlen(endpoint) + 1;
    char *copy = (char *)aioc_mem_alloc(&core->memory, size);
    if (!copy) return false;
    memcpy(copy, endpoint, size);
    aioc_mem_free(&core->memory, core->endpoint, core->endpoint_size);
    core->endpoint = copy;
    core->endpoint_size = size;
    return true;
}

int64_t emu_core_now_ms(const emu_core *core)
{
    return emu_now(core);
}

uint64_t emu_core_requests(const emu_core *core)
{
    return core->requests;
}

size_t emu_core_memory(const emu_core *core)
{
    return core->memory.used;
}

/*------------------------------------------------------------------------------
 * MARK: - Refusals
 *----------------------------------------------------------------------------*/

const char *emu_status_text(int status)
{
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
 * MARK: - Authorization
 *----------------------------------------------------------------------------*/

#define EMU_SKEW_S 900                                     /* either way */

/* -1: it is none. */
int emu_hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static size_t emu_percent_decode(aiocosmos_str text, char *out)
{
    size_t i, len = 0;
    for (i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%' && i + 2 < text.len) {
            unsigned value = 0, k;
            for (k = 1; k <= 2; k++) {
                int digit = emu_hex_digit(text.ptr[i + k]);
                if (digit < 0) break;
                value = value * 16 + (unsigned)digit;
            }
            if (k == 3) {
                c = (char)value;
                i += 2;
            }
        }
        out[len++] = c;
    }
    return len;
}

/* The verb as it is signed. A HEAD is a GET in all but that and its answer's body (RFC 9110, 9.3.2). */
static const char *emu_verb_name(const emu_request *request)
{
    static const char *const names[] = { "get", "post", "put", "patch", "delete", "" };
    return request->head_only ? "head" : names[request->verb];
}

static void emu_lower(char *text, size_t len)
{
    size_t i;
    for (i = 0; i < len; i++) text[i] = aioc_mem_lower(text[i]);
}

/* The signature over exactly these texts, as base64. payload gets what was signed. */
static size_t emu_sign_exactly(emu_exchange *x, aiocosmos_str link, emu_text *payload, char sig[44])
{
    aiocosmos_str ms_date = x->request->header[EMU_H_MS_DATE], date = x->request->header[EMU_H_DATE];
    br_hmac_context hmac;
    unsigned char mac[br_sha256_SIZE];
    size_t at;
    emu_text_clear(payload);
    emu_put_format(payload, "%s\n%s\n", emu_verb_name(x->request), x->type);
    emu_put_str(payload, link);
    emu_puts(payload, "\n");
    at = payload->buffer.len;
    emu_put_str(payload, ms_date);
    emu_puts(payload, "\n");
    if (!ms_date.ptr) emu_put_str(payload, date);
    emu_puts(payload, "\n");
    if (payload->failed) return 0;
    emu_lower(payload->buffer.data + at, payload->buffer.len - at);
    br_hmac_init(&hmac, &x->core->signer.key, 0);
    br_hmac_update(&hmac, payload->buffer.data, payload->buffer.len);
    br_hmac_out(&hmac, mac);
    return aioc_text_base64_encode(mac, sizeof mac, sig);
}

/* A database or container addressed by its _rid: of the link only the last one is signed, in lower case. */
static bool emu_signed_by_rid(emu_exchange *x, aiocosmos_str given)
{
    emu_database *database = x->segments >= 2 ? emu_find_database(x->core, x->segment[1]) : NULL;
    emu_container *container = database && x->segments >= 4 ? emu_find_container(database, x->segment[3]) : NULL;
    const char *rid = x->segments >= 4 ? container ? container->rid : NULL : database ? database->rid : NULL;
    char lower[EMU_RID_MAX], sig[44];
    size_t len = rid ? strlen(rid) : 0;
    if (!rid || !emu_is(x->segment[x->segments >= 4 ? 3 : 1], rid)) return false;
    memcpy(lower, rid, len);
    emu_lower(lower, len);
    return aioc_mem_same(emu_str(sig, emu_sign_exactly(x, emu_str(lower, len), &x->core->scratch, sig)), given);
}

static bool emu_bad_signature(emu_exchange *x)
{
    char sig[44], text[700];
    emu_text *payload = &x->core->scratch2;
    size_t i, len = 0;
    emu_sign_exactly(x, x->link, payload, sig);
    for (i = 0; i < payload->buffer.len && len + 2 < sizeof text; i++) {
        char c = payload->buffer.data[i];
        if (c == '\n') text[len++] = '\\', c = 'n';
        text[len++] = c;
    }
    return emu_refuse(x, 401, 0, "The input authorization token can't serve the request. The wrong key is being used "
                      "or the expected payload is not built as per the protocol. For more info: "
                      "https://aka.ms/cosmosdb-tsg-unauthorized. Server used the following payload to sign: '%.*s'",
                      (int)len, text);
}

/* The date that the request was signed for. */
static bool emu_asked_date(emu_exchange *x)
{
    emu_core *core = x->core;
    aiocosmos_str text = x->request->header[x->request->header[EMU_H_MS_DATE].ptr ? EMU_H_MS_DATE : EMU_H_DATE];
    if (!text.ptr) return emu_refuse(x, 401, 0, "Required header 'x-ms-date' or 'date' is missing. Ensure a valid "
                                      "Authorization token is passed.");
    if (core->asked_s >= 0 && emu_is(text, core->asked_date)) return true;
    if (!aioc_auth_parse_date(text, &core->asked_s)) {
        core->asked_s = -1;
        return emu_refuse(x, 401, 0, "The value of the x-ms-date header is not a date of RFC 1123.");
    }
    aioc_auth_date(core->asked_date, core->asked_s);
    return true;
}

static bool emu_date_near(emu_exchange *x)
{
    char begin[AIOC_AUTH_DATE_LEN + 1], end[AIOC_AUTH_DATE_LEN + 1], now[AIOC_AUTH_DATE_LEN + 1];
    int64_t asked = x->core->asked_s, now_s = x->now_ms / 1000;
    if (asked - now_s <= EMU_SKEW_S && now_s - asked <= EMU_SKEW_S) return true;
    aioc_auth_date(begin, asked - EMU_SKEW_S);
    aioc_auth_date(end, asked + EMU_SKEW_S);
    aioc_auth_date(now, now_s);
    return emu_refuse(x, 403, 0, "The authorization token is not valid at the current time. Please create another "
                      "token and retry (token start time: %s, token expiry time: %s, current server time: %s).", begin,
                      end, now);
}

/* The key of the account. Clients sign what they repeat within a second once, and so do we: the fast way is a
 * comparison with the header as all clients but .NET write it. */
static bool emu_signed_as_usual(emu_exchange *x, aiocosmos_str raw)
{
    emu_core *core = x->core;
    if (!emu_is(x->request->header[EMU_H_MS_DATE], core->asked_date)) return false;
    return aioc_mem_same(raw, aioc_auth_sign(&core->signer, emu_verb_name(x->request), x->type, x->link,
                                             core->asked_s));
}

static bool emu_authorize_master(emu_exchange *x, aiocosmos_str token)
{
    aiocosmos_str given;
    char sig[44];
    size_t len;
    bool ok;
    given = emu_str(token.ptr, 0);
    for (len = 0; len + 5 <= token.len; len++) {
        if (memcmp(token.ptr + len, "&sig=", 5) == 0) given = emu_str(token.ptr + len + 5, token.len - len - 5);
    }
    if (!given.len || token.len < 24 || memcmp(token.ptr, "type=master&ver=1.0&sig=", 24) != 0) {
        return emu_refuse(x, 401, 0, "The format of value '%.*s' of the authorization header is not as it should be: "
                          "type=master&ver=1.0&sig=...", EMU_CUT(token, 80));
    }
    len = emu_sign_exactly(x, x->link, &x->core->scratch, sig);
    ok = aioc_mem_same(emu_str(sig, len), given) || emu_signed_by_rid(x, given);
    return ok ? emu_date_near(x) : emu_bad_signature(x);
}

/* type=resource&ver=1&sig=<signature>;<what it says>;  where the latter is base64 of "mode expiry link\nkey". */
static size_t emu_token_sig(emu_core *core, aiocosmos_str claims, char sig[24])
{
    br_hmac_context hmac;
    unsigned char mac[br_sha256_SIZE];
    br_hmac_init(&hmac, &core->signer.key, 16);
    br_hmac_update(&hmac, "resource token\n", 15);
    br_hmac_update(&hmac, claims.ptr, claims.len);
    br_hmac_out(&hmac, mac);
    return aioc_text_base64_encode(mac, 16, sig);
}

bool emu_token_make(emu_core *core, emu_text *out, aiocosmos_str link, bool all, aiocosmos_str key, int64_t expires_s)
{
    emu_text *claims = &core->scratch2;
    char sig[24];
    size_t len, size;
    emu_text_clear(claims);
    emu_put_format(claims, "%s %lld ", all ? "all" : "read", (long long)expires_s);
    emu_put_str(claims, link);
    emu_puts(claims, "\n");
    emu_put_str(claims, key);
    if (claims->failed) return false;
    len = emu_token_sig(core, emu_str(claims->buffer.data, claims->buffer.len), sig);
    emu_puts(out, "type=resource&ver=1&sig=");
    emu_put(out, sig, len);
    emu_puts(out, ";");
    size = (claims->buffer.len + 2) / 3 * 4;
    if (out->failed || !aioc_mem_reserve(out->memory, &out->buffer, size)) return false;
    out->buffer.len += aioc_text_base64_encode(claims->buffer.data, claims->buffer.len,
                                               out->buffer.data + out->buffer.len);
    emu_puts(out, ";");
    return !out->failed;
}

static bool emu_forbidden(emu_exchange *x, const char *why)
{
    return emu_refuse(x, 403, 0, "Forbidden: %s", why);
}

static bool emu_reads_only(const emu_exchange *x)
{
    return x->request->verb == EMU_GET || strncmp(x->kind, "query", 5) == 0 || strncmp(x->kind, "plan", 4) == 0;
}

/* What a resource token may do: everything with items at or below its link; reading of what is needed on the way. */
static bool emu_token_allows(emu_exchange *x, aiocosmos_str link, bool all, aiocosmos_str key)
{
    bool below = link.len <= x->link.len && memcmp(link.ptr, x->link.ptr, link.len) == 0 &&
                 (link.len == x->link.len || x->link.ptr[link.len] == '/');
    bool above = x->link.len < link.len && memcmp(link.ptr, x->link.ptr, x->link.len) == 0 &&
                 link.ptr[x->link.len] == '/';
    bool items = strcmp(x->type, "docs") == 0;
    if (x->segments == 0) return true;
    if (!below && !(above && x->request->verb == EMU_GET && !items))
        return emu_forbidden(x, "the token is for another resource.");
    if (!items && x->request->verb != EMU_GET) return emu_forbidden(x, "a resource token cannot change this resource.");
    if (!all && !emu_reads_only(x)) return emu_forbidden(x, "the token's permission mode is Read.");
    x->token_key = items ? key : emu_str(NULL, 0);
    return true;
}

static bool emu_authorize_resource(emu_exchange *x, aiocosmos_str token)
{
    aiocosmos_str rest = emu_str(token.ptr + 24, token.len - 24), claims, link, key;
    const char *semicolon = (const char *)memchr(rest.ptr, ';', rest.len), *newline;
    char sig[24];
    unsigned char *bytes;
    size_t error_at, sig_len, len = 0;
    int64_t expires = 0;
    bool all, ok = semicolon != NULL;
    emu_text *room = &x->core->scratch;
    emu_text_clear(room);
    ok = ok && aioc_mem_reserve(room->memory, &room->buffer, rest.len);
    if (ok) {
        claims = emu_str(semicolon + 1, (size_t)(rest.ptr + rest.len - semicolon - 1));
        if (claims.len && claims.ptr[claims.len - 1] == ';') claims.len--;
        bytes = (unsigned char *)room->buffer.data;
        ok = aioc_text_base64_decode(claims, bytes, room->buffer.cap, &len, &error_at);
        room->buffer.len = len;
    }
    if (ok) {
        sig_len = emu_token_sig(x->core, emu_str(room->buffer.data, len), sig);
        ok = aioc_mem_same(emu_str(sig, sig_len), emu_str(rest.ptr, (size_t)(semicolon - rest.ptr)));
    }
    if (!ok)
        return emu_refuse(x, 401, 0, "The input authorization token can't serve the request. The resource "
                          "token is invalid.");
    all = room->buffer.data[0] == 'a';                     /* its form is ours: it was signed here */
    claims = emu_str(room->buffer.data + (all ? 4 : 5), len - (all ? 4 : 5));
    while (*claims.ptr != ' ') expires = expires * 10 + (*claims.ptr - '0'), claims.ptr++, claims.len--;
    newline = (const char *)memchr(claims.ptr, '\n', claims.len);
    link = emu_str(claims.ptr + 1, (size_t)(newline - claims.ptr - 1));
    key = emu_str(newline + 1, (size_t)(room->buffer.data + len - newline - 1));
    if (x->now_ms / 1000 >= expires)
        return emu_refuse(x, 403, 0, "The authorization token is not valid at the current time. The resource "
                          "token has expired.");
    if (!emu_token_allows(x, link, all, key)) return false;
    if (x->token_key.len) {                                /* scratch is used for other things soon */
        emu_text_clear(&x->core->scratch2);
        emu_put_str(&x->core->scratch2, x->token_key);
        x->token_key = emu_str(x->core->scratch2.buffer.data, x->core->scratch2.failed ? 0 : x->token_key.len);
    }
    return true;
}

static bool emu_authorize_aad(emu_exchange *x, aiocosmos_str token)
{
    const char *known = x->core->options.aad_token;
    aiocosmos_str jwt = emu_str(token.ptr + 21, token.len - 21);
    bool control = strcmp(x->type, "docs") != 0 && x->request->verb != EMU_GET;
    if (!known || !emu_is(jwt, known))
        return emu_refuse(x, 401, 0, "The Entra token is not one that this account knows.");
    if (control || strcmp(x->type, "offers") == 0)
        return emu_refuse(x, 403, 5300, "Request blocked by Auth: the given request [%.*s /%.*s] cannot be authorized "
                          "by AAD token in data plane.", (int)x->request->verb_text.len, x->request->verb_text.ptr,
                          EMU_CUT(x->link, 200));
    return true;
}

static bool emu_token_begins(aiocosmos_str token, const char *with)
{
    size_t len = strlen(with);
    return token.len >= len && memcmp(token.ptr, with, len) == 0;
}

#define EMU_AUTHORIZATION_MAX 16384

bool emu_authorize(emu_exchange *x)
{
    char decoded[EMU_AUTHORIZATION_MAX];
    aiocosmos_str raw = x->request->header[EMU_H_AUTHORIZATION], token;
    bool encoded = emu_token_begins(raw, "type%3Dmaster");
    if (encoded && !emu_asked_date(x)) return false;
    if (encoded && emu_signed_as_usual(x, raw)) return emu_date_near(x);
    if (raw.len == 0)
        return emu_refuse(x, 401, 0, "Required Header authorization is missing. Ensure a valid Authorization "
                          "token is passed.");
    if (raw.len > EMU_AUTHORIZATION_MAX) return emu_refuse(x, 401, 0, "The authorization header is too long.");
    token = emu_str(decoded, emu_percent_decode(raw, decoded));
    if (emu_token_begins(token, "type=resource&ver=1&sig=") || emu_token_begins(token, "type=resource&ver=1.0&sig="))
        return emu_authorize_resource(x, token);
    if (emu_token_begins(token, "type=aad&ver=1.0&sig=")) return emu_authorize_aad(x, token);
    return emu_asked_date(x) && emu_authorize_master(x, token);
}

/*------------------------------------------------------------------------------
 * MARK: - Routes
 *----------------------------------------------------------------------------*/

typedef struct emu_route {
    emu_verb verb;
    uint8_t segments;
    const char *type[3];                                   /* segments 0, 2 and 4; the others are names */
    const char *kind;
    void (*run)(emu_exchange *x);
} emu_route;

static const emu_route emu_routes[] = {
    { EMU_POST,   5, { "dbs", "colls", "docs" },        "create_item",       emu_item_route },
    { EMU_GET,    6, { "dbs", "colls", "docs" },        "read_item",         emu_item_route },
    { EMU_PUT,    6, { "dbs", "colls", "docs" },        "replace_item",      emu_item_route },
    { EMU_PATCH,  6, { "dbs", "colls", "docs" },        "patch_item",        emu_item_route },
    { EMU_DELETE, 6, { "dbs", "colls", "docs" },        "delete_item",       emu_item_route },
    { EMU_GET,    5, { "dbs", "colls", "docs" },        "list_items",        emu_item_route },
    { EMU_GET,    0, { NULL, NULL, NULL },              "read_account",      emu_meta_route },
    { EMU_GET,    1, { "dbs", NULL, NULL },             "list_databases",    emu_meta_route },
    { EMU_POST,   1, { "dbs", NULL, NULL },             "create_database",   emu_meta_route },
    { EMU_GET,    2, { "dbs", NULL, NULL },             "read_database",     emu_meta_route },
    { EMU_DELETE, 2, { "dbs", NULL, NULL },             "delete_database",   emu_meta_route },
    { EMU_GET,    3, { "dbs", "colls", NULL },          "list_containers",   emu_meta_route },
    { EMU_POST,   3, { "dbs", "colls", NULL },          "create_container",  emu_meta_route },
    { EMU_GET,    4, { "dbs", "colls", NULL },          "read_container",    emu_meta_route },
    { EMU_PUT,    4, { "dbs", "colls", NULL },          "replace_container", emu_meta_route },
    { EMU_DELETE, 4, { "dbs", "colls", NULL },          "delete_container",  emu_meta_route },
    { EMU_GET,    5, { "dbs", "colls", "pkranges" },    "list_ranges",       emu_meta_route },
    { EMU_GET,    1, { "offers", NULL, NULL },          "list_offers",       emu_meta_route },
    { EMU_POST,   1, { "offers", NULL, NULL },          "query_offers",      emu_meta_route },
    { EMU_GET,    2, { "offers", NULL, NULL },          "read_offer",        emu_meta_route },
    { EMU_PUT,    2, { "offers", NULL, NULL },          "replace_offer",     emu_meta_route },
    { EMU_GET,    3, { "dbs", "users", NULL },          "list_users",        emu_meta_route },
    { EMU_POST,   3, { "dbs", "users", NULL },          "create_user",       emu_meta_route },
    { EMU_GET,    4, { "dbs", "users", NULL },          "read_user",         emu_meta_route },
    { EMU_DELETE, 4, { "dbs", "users", NULL },          "delete_user",       emu_meta_route },
    { EMU_GET,    5, { "dbs", "users", "permissions" }, "list_permissions",  emu_meta_route },
    { EMU_POST,   5, { "dbs", "users", "permissions" }, "create_permission", emu_meta_route },
    { EMU_GET,    6, { "dbs", "users", "permissions" }, "read_permission",   emu_meta_route },
    { EMU_DELETE, 6, { "dbs", "users", "permissions" }, "delete_permission", emu_meta_route }
};

/* Splits the path at '/' and decodes it: ids come percent-encoded, once. */
static bool emu_split_path(emu_exchange *x)
{
    aiocosmos_str target = x->request->target;
    size_t at = 0, end, len = 0;
    while (at < target.len && target.ptr[at] != '/') at++; /* http://host/… is allowed too (RFC 9112, 3.2.2) */
    if (at > 0 && at + 2 < target.len && target.ptr[at - 1] == ':') {
        for (at += 2; at < target.len && target.ptr[at] != '/'; at++) continue;
    }
    for (end = at; end < target.len && target.ptr[end] != '?' && target.ptr[end] != '#'; end++) continue;
    while (end > at && target.ptr[end - 1] == '/') end--;
    while (at < end && target.ptr[at] == '/') at++;
    while (at < end) {
        size_t start = at, size;
        while (at < end && target.ptr[at] != '/') at++;
        if (x->segments == EMU_SEGMENTS || len + (at - start) + 1 > sizeof x->path) return false;
        if (len) x->path[len++] = '/';
        size = emu_percent_decode(emu_str(target.ptr + start, at - start), x->path + len);
        if (size == 0 || memchr(x->path + len, '/', size)) return false;
        x->segment[x->segments++] = emu_str(x->path + len, size);
        len += size;
        at++;
    }
    return aioc_json_utf8_ok(x->path, len, &at);
}

/* What else a POST means where a header says so. */
static const struct { const char *kind; emu_header header; const char *meant; } emu_posts[] = {
    { "create_item",       EMU_H_PLAN,   "plan_items" },
    { "create_item",       EMU_H_QUERY,  "query_items" },
    { "create_item",       EMU_H_BATCH,  "batch_items" },
    { "create_item",       EMU_H_UPSERT, "upsert_item" },
    { "create_database",   EMU_H_QUERY,  "query_databases" },
    { "create_container",  EMU_H_QUERY,  "query_containers" },
    { "create_user",       EMU_H_QUERY,  "query_users" },
    { "create_permission", EMU_H_QUERY,  "query_permissions" }
};

static const char *emu_post_kind(const emu_exchange *x, const char *kind)
{
    size_t i;
    if (x->request->verb != EMU_POST) return kind;
    for (i = 0; i < sizeof emu_posts / sizeof emu_posts[0]; i++)
        if (strcmp(kind, emu_posts[i].kind) == 0 && emu_header_true(x, emu_posts[i].header)) return emu_posts[i].meant;
    return kind;
}

bool emu_kind_exists(const char *part)
{
    size_t i;
    for (i = 0; i < sizeof emu_routes / sizeof emu_routes[0]; i++)
        if (strstr(emu_routes[i].kind, part)) return true;
    for (i = 0; i < sizeof emu_posts / sizeof emu_posts[0]; i++)
        if (strstr(emu_posts[i].meant, part)) return true;
    return emu_batched_kind_exists(part);
}

static const emu_route *emu_find_route(emu_exchange *x)
{
    size_t i, k;
    bool other_verb = false;
    for (i = 0; i < sizeof emu_routes / sizeof emu_routes[0]; i++) {
        const emu_route *route = &emu_routes[i];
        if (route->segments != x->segments) continue;
        for (k = 0; 2 * k < x->segments && emu_is(x->segment[2 * k], route->type[k]); k++) continue;
        if (2 * k < x->segments) continue;
        if (route->verb == x->request->verb) return route;
        other_verb = true;
    }
    x->kind = "unknown";
    if (other_verb) emu_refuse(x, 405, 0, "The requested verb is not supported for this resource.");
    else emu_refuse(x, 404, 0, "The requested resource type is unknown to this server.");
    return NULL;
}

/* What is signed: the path as far as its last name, and the type before or behind that. */
static void emu_set_link(emu_exchange *x)
{
    size_t named = x->segments / 2 * 2;
    aiocosmos_str type = x->segments == 0 ? emu_str("", 0) : x->segment[(x->segments - 1) / 2 * 2];
    x->link = named == 0 ? emu_str("", 0)
                         : emu_str(x->path, (size_t)(x->segment[named - 1].ptr + x->segment[named - 1].len - x->path));
    memcpy(x->type, type.ptr, type.len);                   /* of a route, so it is short */
    x->type[type.len] = 0;
    if (strcmp(x->type, "offers") == 0 && named) {         /* always by _rid */
        size_t len = x->segment[1].len < sizeof x->offer_link ? x->segment[1].len : sizeof x->offer_link;
        memcpy(x->offer_link, x->segment[1].ptr, len);
        emu_lower(x->offer_link, len);
        x->link = emu_str(x->offer_link, len);
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Serving
 *----------------------------------------------------------------------------*/

bool emu_header_true(const emu_exchange *x, emu_header header)
{
    return aioc_mem_same_nocase(x->request->header[header], aioc_mem_str("true"));
}

bool emu_parse_body(emu_exchange *x, aiocosmos_json *root)
{
    aiocosmos_json_doc *doc = &x->core->doc;
    aiocosmos_str body = x->request->body;
    int status = body.len ? aioc_json_parse(doc, body.ptr, body.len) : AIOCOSMOS_E_ARGUMENT;
    if (status == AIOCOSMOS_E_NOMEM) return emu_no_memory(x);
    if (body.len == 0)
        return emu_refuse(x, 400, 0, "The request payload is empty. Ensure to provide a valid request payload.");
    if (status < 0)
        return emu_refuse(x, 400, 0, "The request payload is invalid. Ensure to provide a valid request payload: "
                          "%s at byte %llu.", doc->error ? doc->error : "not JSON", (unsigned long long)doc->error_at);
    *root = aioc_json_root(doc);
    if (root->type == AIOCOSMOS_JSON_OBJ) return true;
    return emu_refuse(x, 400, 0, "The request payload is invalid. Ensure to provide a valid request payload: it has to "
                      "be a JSON object.");
}

static void emu_begin(emu_exchange *x, emu_core *core, const emu_request *request)
{
    aiocosmos_str activity = request->header[EMU_H_ACTIVITY];
    memset((char *)x + offsetof(emu_exchange, segments), 0,
           offsetof(emu_exchange, extra) + 1 - offsetof(emu_exchange, segments));
    x->core = core;
    x->request = request;
    x->kind = "unknown";
    x->now_ms = emu_now(core);
    x->item_lsn = x->item_count = -1;
    x->retry_after_ms = -1;
    if (activity.len == EMU_GUID) memcpy(x->activity, activity.ptr, EMU_GUID);
    else emu_make_guid(core, x->activity);
    emu_text_clear(&core->body);
    core->requests++;
}

static void emu_big_answer(emu_text *body, size_t size)
{
    emu_text_clear(body);
    if (size < 2 || !aioc_mem_reserve(body->memory, &body->buffer, size)) return;
    memset(body->buffer.data, 'x', size);
    body->buffer.data[0] = body->buffer.data[size - 1] = '"';
    body->buffer.len = size;
}

/* Fills in what a fault wants to be answered. */
static void emu_fault_answer(emu_exchange *x, const emu_fault *fault)
{
    emu_refuse(x, fault->status, fault->sub_status, "A fault was asked for.");
    x->retry_after_ms = fault->retry_after_ms;
    if (fault->action == EMU_FAULT_BIG) emu_big_answer(&x->core->body, fault->at);
    x->html = fault->action == EMU_FAULT_HTML;
    x->stranger = x->html || fault->action == EMU_FAULT_JSON;
    if (!x->stranger) return;
    emu_text_clear(&x->core->body);
    emu_put_format(&x->core->body, x->html ? "<!DOCTYPE HTML><html><head><title>%s</title></head></html>\r\n"
                                           : "{\"error\":\"%s\"}", emu_status_text(fault->status));
}

/* Bit 1 of the set: it finds its way when partition key ranges become one. */
static bool emu_can_merge(const emu_exchange *x)
{
    uint64_t capabilities;
    return aioc_text_parse_u64(x->request->header[EMU_H_CAPABILITIES], &capabilities) && (capabilities & 1);
}

static void emu_carry_out(emu_exchange *x, const emu_route *route)
{
    if (!emu_authorize(x)) return;
    if (x->request->header[EMU_H_VERSION].len == 0) {
        emu_refuse(x, 400, 0, "The required header 'x-ms-version' is missing.");
        return;
    }
    if (x->core->options.merge_enabled && !emu_can_merge(x)) {
        emu_refuse(x, 400, 0, "The account has partition merge, which this client does not support: it has to say "
                   "that it does in x-ms-cosmos-sdk-supportedcapabilities.");
        return;
    }
    route->run(x);
    if (x->core->body.failed) emu_no_memory(x);
}

void emu_serve(emu_exchange *x, emu_core *core, const emu_request *request, emu_fault **fault)
{
    const emu_route *route;
    emu_begin(x, core, request);
    if (!emu_split_path(x)) {
        emu_refuse(x, 400, 0, "The path is malformed.");
        return;
    }
    if (x->segments && emu_is(x->segment[0], "_emulator")) {
        x->kind = "control";
        x->link = x->segment[x->segments - 1];
        x->link = emu_str(x->path, (size_t)(x->link.ptr + x->link.len - x->path));
        strcpy(x->type, "_emulator");
        emu_fault_route(x);
        return;
    }
    route = emu_find_route(x);
    if (!route) return;
    x->kind = emu_post_kind(x, route->kind);
    emu_set_link(x);
    *fault = core->faults ? emu_fault_find(core, x) : NULL;
    if (!*fault || (*fault)->after || (*fault)->action >= EMU_FAULT_TRUNCATE) emu_carry_out(x, route);
    if (*fault && (*fault)->action <= EMU_FAULT_BIG) emu_fault_answer(x, *fault);
}

/*------------------------------------------------------------------------------
 * MARK: - The answer's bytes
 *----------------------------------------------------------------------------*/

#define EMU_PUT(at, literal) (memcpy((at), literal, sizeof literal - 1), (at) + sizeof literal - 1)

static char *emu_put_at(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

static char *emu_put_number(char *at, int64_t number)
{
    return at + aioc_json_i64_write(number, at);
}

/* Two decimals; RU are never negative. */
static char *emu_put_decimal(char *at, double number)
{
    int64_t hundredths = (int64_t)(number * 100 + 0.5);
    at = emu_put_number(at, hundredths / 100);
    if (hundredths % 100 == 0) return at;
    *at++ = '.';
    *at++ = (char)('0' + hundredths / 10 % 10);
    if (hundredths % 10) *at++ = (char)('0' + hundredths % 10);
    return at;
}

static char *emu_put_owner(char *at, const emu_exchange *x)
{
    const emu_container *c = x->container;
    at = EMU_PUT(at, "x-ms-alt-content-path: dbs/");
    at += aioc_auth_percent_encode(emu_str(c->database->resource.id, c->database->resource.id_len), at);
    at = EMU_PUT(at, "/colls/");
    at += aioc_auth_percent_encode(emu_str(c->resource.id, c->resource.id_len), at);
    at = EMU_PUT(at, "\r\nx-ms-content-path: ");
    at = emu_put_at(at, c->rid, strlen(c->rid));
    return EMU_PUT(at, "\r\n");
}

static char *emu_put_range(char *at, const emu_exchange *x)
{
    const emu_range *range = x->range;
    at = EMU_PUT(at, "x-ms-documentdb-partitionkeyrangeid: ");
    at = emu_put_at(at, range->id, strlen(range->id));
    at = EMU_PUT(at, "\r\nlsn: ");
    at = emu_put_number(at, range->lsn);
    at = EMU_PUT(at, "\r\nx-ms-session-token: ");
    at = emu_put_at(at, range->id, strlen(range->id));
    *at++ = ':';
    at = emu_put_number(at, range->version);
    *at++ = '#';
    at = emu_put_number(at, range->lsn);
    at = EMU_PUT(at, "\r\n");
    if (x->item_lsn < 0) return at;
    at = EMU_PUT(at, "x-ms-item-lsn: ");
    at = emu_put_number(at, x->item_lsn);
    return EMU_PUT(at, "\r\n");
}

static char *emu_put_named(char *at, const char *name, const char *value)
{
    if (*value == 0) return at;
    at = emu_put_at(at, name, strlen(name));
    at = emu_put_at(at, value, strlen(value));
    return EMU_PUT(at, "\r\n");
}

/* By these the service is known. */
static char *emu_put_service_lines(char *at, const emu_exchange *x)
{
    at = EMU_PUT(at, "Server: aiocosmos-emulator\r\nx-ms-gatewayversion: version=2.0.0\r\nx-ms-activity-id: ");
    at = emu_put_at(at, x->activity, EMU_GUID);
    at = EMU_PUT(at, "\r\nx-ms-request-charge: ");
    at = emu_put_decimal(at, x->charge);
    at = EMU_PUT(at, "\r\n");
    if (x->sub_status) {
        at = EMU_PUT(at, "x-ms-substatus: ");
        at = emu_put_number(at, x->sub_status);
        at = EMU_PUT(at, "\r\n");
    }
    if (x->retry_after_ms >= 0) {
        at = EMU_PUT(at, "x-ms-retry-after-ms: ");
        at = emu_put_decimal(at, x->retry_after_ms);
        at = EMU_PUT(at, "\r\n");
    }
    if (x->item_count >= 0) {
        at = EMU_PUT(at, "x-ms-item-count: ");
        at = emu_put_number(at, x->item_count);
        at = EMU_PUT(at, "\r\n");
    }
    at = emu_put_named(at, "etag: ", x->etag);
    at = emu_put_named(at, "x-ms-continuation: ", x->continuation);
    at = emu_put_named(at, "", x->extra);
    if (x->container) at = emu_put_owner(at, x);
    return x->range ? emu_put_range(at, x) : at;
}

static char *emu_put_head(char *at, emu_exchange *x)
{
    emu_core *core = x->core;
    const char *text = emu_status_text(x->status);
    if (core->date_s != x->now_ms / 1000) {
        core->date_s = x->now_ms / 1000;
        aioc_auth_date(core->date, core->date_s);
    }
    at = EMU_PUT(at, "HTTP/1.1 ");
    at = emu_put_number(at, x->status);
    *at++ = ' ';
    at = emu_put_at(at, text, strlen(text));
    at = EMU_PUT(at, "\r\nDate: ");
    at = emu_put_at(at, core->date, AIOC_AUTH_DATE_LEN);
    at = EMU_PUT(at, "\r\n");
    if (!x->stranger) at = emu_put_service_lines(at, x);
    if (!x->request->keep_alive) at = EMU_PUT(at, "Connection: close\r\n");
    else if (x->request->minor == 0) at = EMU_PUT(at, "Connection: keep-alive\r\n");
    return at;
}

/* In pieces of growing size, with what chunks may have (RFC 9112, 7.1). */
static void emu_put_chunked(emu_text *out, aiocosmos_str body)
{
    size_t at, size;
    for (at = 0, size = 1; at < body.len; at += size, size = size * 2 + 1) {
        if (size > body.len - at) size = body.len - at;
        emu_put_format(out, "%x;part=\"%u\"\r\n", (unsigned)size, (unsigned)at);
        emu_put(out, body.ptr + at, size);
        emu_puts(out, "\r\n");
    }
    emu_puts(out, "0\r\nx-trailer: end\r\n\r\n");
}

void emu_answer_write(emu_text *out, emu_exchange *x, bool chunked)
{
    aiocosmos_str body = emu_str(x->core->body.buffer.data, x->has_body ? x->core->body.buffer.len : 0);
    size_t owner = x->container ? 3 * (x->container->resource.id_len + x->container->database->resource.id_len) : 0;
    char *start, *at;
    bool bodiless = x->status == 204 || x->status == 304;  /* RFC 9110, 6.4.1 */
    if (out->failed || !aioc_mem_reserve(out->memory, &out->buffer, 3072 + strlen(x->extra) + owner + body.len)) {
        out->failed = true;
        return;
    }
    start = out->buffer.data + out->buffer.len;
    at = emu_put_head(start, x);
    if (bodiless) {
        body.len = 0;
    } else {
        at = emu_put_named(at, "Content-Type: ", x->html ? "text/html; charset=us-ascii" : "application/json");
        if (chunked) {
            at = EMU_PUT(at, "Transfer-Encoding: chunked\r\n");
        } else {
            at = EMU_PUT(at, "Content-Length: ");
            at = emu_put_number(at, (int64_t)body.len);
            at = EMU_PUT(at, "\r\n");
        }
    }
    at = EMU_PUT(at, "\r\n");
    out->buffer.len += (size_t)(at - start);
    if (x->request->head_only || bodiless) return;
    if (chunked) emu_put_chunked(out, body);
    else emu_put_str(out, body);
}
