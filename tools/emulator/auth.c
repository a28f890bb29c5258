/* auth.c: who may make a request: signatures with the account's key, resource tokens, a token of Entra. */
#include "auth.h"

#include <string.h>

#define EMU_SKEW_S 900                                     /* either way */

/* The verb as it is signed. A HEAD is a GET in all but that and its answer's body (RFC 9110, 9.3.2). */
static const char *emu_verb_name(const emu_request *request)
{
    static const char *const names[] = { "get", "post", "put", "patch", "delete", "" };
    return request->head_only ? "head" : names[request->verb];
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

/* What is addressed by _rids: of the link only the last one is signed, in lower case. */
static bool emu_signed_by_rid(emu_exchange *x, aiocosmos_str given)
{
    emu_database *database = x->segments >= 2 ? emu_find_database(x->store, x->segment[1]) : NULL;
    char lower[EMU_RID_MAX], sig[44];
    size_t start = x->link.len, len;
    if (!database || !emu_is(x->segment[1], database->rid)) return false;
    while (start > 0 && x->link.ptr[start - 1] != '/') start--;
    len = x->link.len - start;
    if (len > sizeof lower) return false;
    memcpy(lower, x->link.ptr + start, len);
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
    return x->request->verb == EMU_GET || emu_kind_asks(x->kind);
}

/* The request's link by names, as tokens have theirs, where it goes by _rids. */
static aiocosmos_str emu_link_by_names(emu_exchange *x)
{
    emu_database *database = x->segments >= 4 ? emu_find_database(x->store, x->segment[1]) : NULL;
    emu_container *container = database ? emu_find_container(database, x->segment[3]) : NULL;
    const char *behind = x->segments >= 4 ? x->segment[3].ptr + x->segment[3].len : NULL;
    emu_text *named = &x->core->scratch2;
    if (!container || !emu_is(x->segment[1], database->rid) || !emu_is(x->segment[2], "colls")) return x->link;
    emu_text_clear(named);
    emu_put_format(named, "dbs/%s/colls/%s", database->resource.id, container->resource.id);
    emu_put(named, behind, (size_t)(x->link.ptr + x->link.len - behind));
    return named->failed ? x->link : emu_text_str(named);
}

/* What a resource token may do: everything with items at or below its link; reading the container of one item. */
static bool emu_token_allows(emu_exchange *x, aiocosmos_str link, bool all, aiocosmos_str key)
{
    const aiocosmos_str asked = emu_link_by_names(x);
    bool below = link.len <= asked.len && memcmp(link.ptr, asked.ptr, link.len) == 0 &&
                 (link.len == asked.len || asked.ptr[link.len] == '/');
    bool above = (x->kind == EMU_READ_CONTAINER || x->kind == EMU_LIST_RANGES) && asked.len < link.len &&
                 memcmp(link.ptr, asked.ptr, asked.len) == 0 && link.ptr[asked.len] == '/';
    bool items = emu_kind_subject(x->kind) == EMU_ITEMS || x->kind == EMU_EXECUTE_SCRIPT;
    if (x->segments == 0) return true;
    if (!below && !above)
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
    emu_subject subject = emu_kind_subject(x->kind);
    bool control = subject != EMU_ITEMS && x->kind != EMU_EXECUTE_SCRIPT && x->request->verb != EMU_GET;
    if (!known || !emu_is(jwt, known))
        return emu_refuse(x, 401, 0, "The Entra token is not one that this account knows.");
    if (control || subject == EMU_OFFERS)
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
