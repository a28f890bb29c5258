/* Certificates: PEM files that are trusted, and DER that a server shows. */
#include "fuzz.h"

static void check_inside(aioc_tls_der part, aiocosmos_str text)
{
    const char *at = (const char *)part.at;
    if (at) CHECK(at >= text.ptr && at + part.len <= text.ptr + text.len);
}

static void read_certificate(aiocosmos_str der)
{
    aioc_tls_certificate certificate;
    aioc_tls_der bytes = {(const unsigned char *)der.ptr, der.len}, names, name;
    unsigned tag;
    if (!aioc_tls_certificate_read(&certificate, bytes)) return;
    check_inside(certificate.issuer, der);
    check_inside(certificate.subject, der);
    check_inside(certificate.names, der);
    check_inside(certificate.purposes, der);
    check_inside(certificate.signature, der);
    aioc_tls_certificate_is_server(&certificate);
    names = certificate.names;
    while (names.at && aioc_tls_der_next(&names, &tag, &name)) {
        check_inside(name, der);
        if (tag == AIOC_TLS_DER_DNS_NAME && aioc_tls_name_matches(name, "a.example.com"))
            CHECK(aioc_tls_name_matches(name, "A.Example.COM"));
    }
}

/* As many certificates as are said to be there; nothing is left, whenever memory ends. */
static size_t trust(aiocosmos_str pem, unsigned nth)
{
    aioc_mem memory = fuzz_memory(nth);
    aioc_tls_trust certificates;
    char why[200] = "";
    size_t count = 0;
    int result = aioc_tls_bear_trust_open(&certificates, &memory, pem.ptr, pem.len, why, sizeof why);
    if (result == 0) {
        count = certificates.count;
        aioc_tls_bear_trust_close(&certificates, &memory);
    } else {
        CHECK(why[0] && (result != AIOCOSMOS_E_NOMEM || nth > 0));
    }
    fuzz_close(&memory);
    return count;
}

static void trust_bytes(aiocosmos_str der, unsigned nth)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----\n", end[] = "\n-----END CERTIFICATE-----\n";
    char *pem = (char *)malloc(der.len * 2 + sizeof begin + sizeof end + 4);
    size_t len = sizeof begin - 1;
    memcpy(pem, begin, len);
    len += aioc_text_base64_encode(der.ptr, der.len, pem + len);
    memcpy(pem + len, end, sizeof end - 1);
    CHECK(trust(aioc_text_view(pem, len + sizeof end - 1), nth) <= 1);
    free(pem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    bool is_pem = fuzz_knob(&in) % 2 != 0;
    unsigned nth = fuzz_knob(&in) % 5;
    size_t len = in.len;
    char *copy = fuzz_copy(fuzz_rest(&in));
    if (is_pem) trust(aioc_text_view(copy, len), nth);
    else trust_bytes(aioc_text_view(copy, len), nth);
    if (!is_pem) read_certificate(aioc_text_view(copy, len));
    free(copy);
    return 0;
}
