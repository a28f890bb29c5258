/* tls.h: certificates and keys of the server. */
#ifndef EMULATOR_TLS_H
#define EMULATOR_TLS_H

#include "base.h"

#define EMU_CHAIN_MAX   8                                  /* certificates */

/* Our certificates and their key, as BearSSL takes them. */
typedef struct server_tls {
    br_x509_certificate chain[EMU_CHAIN_MAX];
    size_t chain_len;
    br_skey_decoder_context key;
    unsigned issuer_key_type;
    br_ssl_session_cache_lru sessions;
    unsigned char session_room[64 * 1024];
} server_tls;

/* NULL: there is none in these files, and that has been said. */
EMU_PRIVATE server_tls *server_tls_load(aioc_mem *memory, const char *certificate, const char *key_file);
EMU_PRIVATE void server_tls_free(aioc_mem *memory, server_tls *tls);

#endif
