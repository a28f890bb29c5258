/* Connection strings and endpoints: what is accepted stands in the text, and written anew means the same. */
#include "fuzz.h"

static void check_inside(aiocosmos_str part, aiocosmos_str text)
{
    if (part.len) CHECK(part.ptr >= text.ptr && part.ptr + part.len <= text.ptr + text.len);
}

static void check_endpoint(aiocosmos_str text)
{
    aioc_client_endpoint endpoint, again;
    char *url = fuzz_string(text), *made, host[254];
    bool loopback;
    size_t i, cap = text.len + 32;
    if (!aioc_client_parse_endpoint(aioc_mem_str(url), &endpoint)) {
        CHECK(endpoint.port > 0 && endpoint.host.len > 0 && endpoint.host.len <= 253);
        check_inside(endpoint.host, aioc_mem_str(url));
        check_inside(endpoint.authority, aioc_mem_str(url));
        for (i = 0; i < endpoint.authority.len; i++) CHECK(endpoint.authority.ptr[i] > ' ');      /* it becomes a header */
        memcpy(host, endpoint.host.ptr, endpoint.host.len);
        host[endpoint.host.len] = 0;
        aioc_client_check_host(host, &loopback);
        made = (char *)malloc(cap);
        snprintf(made, cap, "%s://%.*s/", endpoint.tls ? "https" : "http", (int)endpoint.authority.len,
                 endpoint.authority.ptr);
        CHECK_STR(aioc_client_parse_endpoint(aioc_mem_str(made), &again), NULL);
        CHECK(again.port == endpoint.port && again.tls == endpoint.tls && fuzz_same(again.host, endpoint.host));
        free(made);
    }
    free(url);
}

static void check_connection(aiocosmos_str text)
{
    aioc_auth_connection connection, again;
    aioc_auth_signer signer;
    size_t error_at, cap = text.len + 64;
    const char *error = aioc_auth_connection_string(text, &connection);
    char *made;
    check_inside(connection.endpoint, text);
    check_inside(connection.key, text);
    CHECK(!connection.at || (connection.at >= text.ptr && connection.at <= text.ptr + text.len));
    if (error) return;
    CHECK(connection.endpoint.len > 0 && connection.key.len > 0);
    check_endpoint(connection.endpoint);
    memset(&signer, 0, sizeof signer);
    if (aioc_auth_signer_set_key(&signer, connection.key, &error_at) != 0) CHECK(error_at <= connection.key.len);
    made = (char *)malloc(cap);
    snprintf(made, cap, "AccountKey=%.*s;AccountEndpoint=%.*s;", (int)connection.key.len, connection.key.ptr,
             (int)connection.endpoint.len, connection.endpoint.ptr);
    if (!memchr(text.ptr, 0, text.len)) {
        CHECK_STR(aioc_auth_connection_string(aioc_mem_str(made), &again), NULL);
        CHECK(fuzz_same(again.key, connection.key) && fuzz_same(again.endpoint, connection.endpoint));
    }
    free(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    aiocosmos_str text = {(const char *)data, size};
    char *copy = fuzz_copy(text);
    text.ptr = copy;
    check_connection(text);
    check_endpoint(text);
    free(copy);
    return 0;
}
