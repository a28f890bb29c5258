/* tls.c: certificates and keys of the server, from files. */
#include "tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EMU_FILE_MAX    (1u << 20)

typedef struct pem_object {
    char name[128];
    aioc_mem_buffer bytes;
    aioc_mem *memory;
    bool failed;
} pem_object;

static void pem_append(void *user, const void *bytes, size_t len)
{
    pem_object *object = (pem_object *)user;
    if (!aioc_mem_append(object->memory, &object->bytes, bytes, len)) object->failed = true;
}

/* The next object of a PEM text. False: there is none. */
static bool pem_next(br_pem_decoder_context *decoder, const char *text, size_t len, size_t *at, pem_object *object)
{
    object->bytes.len = 0;
    while (*at < len) {
        *at += br_pem_decoder_push(decoder, text + *at, len - *at);
        switch (br_pem_decoder_event(decoder)) {
        case BR_PEM_BEGIN_OBJ:
            snprintf(object->name, sizeof object->name, "%s", br_pem_decoder_name(decoder));
            br_pem_decoder_setdest(decoder, pem_append, object);
            object->bytes.len = 0;
            break;
        case BR_PEM_END_OBJ: return !object->failed;
        case BR_PEM_ERROR: return false;
        default: break;
        }
    }
    return false;
}

static char *read_whole(aioc_mem *memory, const char *path, size_t *len)
{
    char *text = (char *)aioc_mem_alloc(memory, EMU_FILE_MAX);
    const char *why = text ? "it is too large" : "no memory";
    ptrdiff_t size;
    errno = 0;
    size = text ? aioc_platform_system.file_read(NULL, path, text, EMU_FILE_MAX - 1) : -1;
    if (size >= 0 && (size_t)size < EMU_FILE_MAX) {
        text[size] = '\n';                                 /* the decoder wants the last line to end */
        *len = (size_t)size + 1;
        return text;
    }
    if (text && size < 0) why = errno ? strerror(errno) : "it is no file";
    fprintf(stderr, "aiocosmos-emulator: cannot read %s: %s\n", path, why);
    aioc_mem_free(memory, text, EMU_FILE_MAX);
    return NULL;
}

/* Who signed the certificate decides, with an EC key, which cipher suites there are. */
static unsigned issuer_key_type(const br_x509_certificate *certificate)
{
    br_x509_decoder_context decoder;
    br_x509_decoder_init(&decoder, NULL, NULL);
    br_x509_decoder_push(&decoder, certificate->data, certificate->data_len);
    return (unsigned)br_x509_decoder_get_signer_key_type(&decoder);
}

static bool load_chain(aioc_mem *memory, server_tls *tls, const char *text, size_t len)
{
    br_pem_decoder_context decoder;
    pem_object object;
    size_t at = 0;
    memset(&object, 0, sizeof object);
    object.memory = memory;
    br_pem_decoder_init(&decoder);
    while (tls->chain_len < EMU_CHAIN_MAX && pem_next(&decoder, text, len, &at, &object)) {
        br_x509_certificate *certificate = &tls->chain[tls->chain_len];
        if (strcmp(object.name, "CERTIFICATE") != 0 && strcmp(object.name, "X509 CERTIFICATE") != 0) continue;
        certificate->data = (unsigned char *)aioc_mem_alloc(memory, object.bytes.len);
        if (!certificate->data) break;
        memcpy(certificate->data, object.bytes.data, object.bytes.len);
        certificate->data_len = object.bytes.len;
        tls->chain_len++;
    }
    aioc_mem_buffer_free(memory, &object.bytes);
    return tls->chain_len > 0;
}

/* PKCS#1, PKCS#8 and SEC1 alike: the decoder looks for itself. */
static bool load_key(aioc_mem *memory, server_tls *tls, const char *text, size_t len)
{
    br_pem_decoder_context decoder;
    pem_object object;
    size_t at = 0;
    memset(&object, 0, sizeof object);
    object.memory = memory;
    br_pem_decoder_init(&decoder);
    br_skey_decoder_init(&tls->key);
    while (pem_next(&decoder, text, len, &at, &object)) {
        if (!strstr(object.name, "PRIVATE KEY")) continue;
        br_skey_decoder_push(&tls->key, object.bytes.data, object.bytes.len);
        break;
    }
    aioc_mem_wipe(object.bytes.data, object.bytes.len);
    aioc_mem_buffer_free(memory, &object.bytes);
    return br_skey_decoder_last_error(&tls->key) == 0 && br_skey_decoder_key_type(&tls->key) != 0;
}

server_tls *server_tls_load(aioc_mem *memory, const char *certificate, const char *key_file)
{
    size_t len;
    char *text = read_whole(memory, certificate, &len);
    server_tls *tls = text ? (server_tls *)aioc_mem_zalloc(memory, sizeof *tls) : NULL;
    bool ok = tls && load_chain(memory, tls, text, len);
    aioc_mem_free(memory, text, EMU_FILE_MAX);
    if (tls && !ok) fprintf(stderr, "aiocosmos-emulator: %s has no certificate in PEM\n", certificate);
    text = ok ? read_whole(memory, key_file, &len) : NULL;
    if (text) {
        tls->issuer_key_type = issuer_key_type(&tls->chain[0]);
        ok = load_key(memory, tls, text, len);
        aioc_mem_wipe(text, len);
        aioc_mem_free(memory, text, EMU_FILE_MAX);
        if (!ok) fprintf(stderr, "aiocosmos-emulator: %s has no RSA or EC private key in PEM, or it has a pass phrase"
                         "\n", key_file);
        br_ssl_session_cache_lru_init(&tls->sessions, tls->session_room, sizeof tls->session_room);
    }
    if (text && ok) return tls;
    server_tls_free(memory, tls);
    return NULL;
}

void server_tls_free(aioc_mem *memory, server_tls *tls)
{
    size_t i;
    if (!tls) return;
    for (i = 0; i < tls->chain_len; i++) aioc_mem_free(memory, tls->chain[i].data, tls->chain[i].data_len);
    aioc_mem_wipe(tls, sizeof *tls);
    aioc_mem_free(memory, tls, sizeof *tls);
}
