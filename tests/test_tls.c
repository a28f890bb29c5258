/* The tls layer alone: its client against a BearSSL server in the same program, bytes handed over in memory. The
 * certificates are made by tests/make-certs.sh. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"

#ifndef CERTS_DIR
#define CERTS_DIR "build/certs"
#endif

#define NOW 1700000000 /* 2023-11-14 */

/*------------------------------------------------------------------------------
 * Files, certificates, memory
 *----------------------------------------------------------------------------*/

static char file_text[1 << 20];

/* The text of a file of the certificates' directory; valid until the next call. */
/* As receive_room and received, for bytes that lie elsewhere, perhaps several records at once. Returns how many were
 * taken, no more than to the end of a record. */
static size_t feed(aioc_tls_session *session, const unsigned char *bytes, size_t len)
{
    size_t room;
    unsigned char *to = session->table->receive_room(session, &room);
    if (room > len) room = len;
    if (room == 0) return 0;
    memcpy(to, bytes, room);
    session->table->received(session, room);
    return room;
}

static size_t read_file(const char *kind, const char *name)
{
    char path[256];
    FILE *file;
    size_t len;
    snprintf(path, sizeof path, "%s/%s/%s", CERTS_DIR, kind, name);
    file = fopen(path, "rb");
    if (!file) test_fail(__FILE__, __LINE__, "%s is missing: run tests/make-certs.sh %s", path, CERTS_DIR);
    len = fread(file_text, 1, sizeof file_text, file);
    fclose(file);
    return len;
}

typedef struct der_file {
    unsigned char bytes[16384];
    size_t len;
    br_x509_certificate chain[4];      /* in bytes */
    size_t count;
} der_file;

static void take_der(void *user, const void *bytes, size_t len)
{
    der_file *out = user;
    memcpy(out->bytes + out->len, bytes, len);
    out->len += len;
}

/* Decodes every PEM object of a file. */
static void read_pem(const char *kind, const char *name, der_file *out)
{
    br_pem_decoder_context pem;
    size_t len = read_file(kind, name), at = 0;
    memset(out, 0, sizeof *out);
    br_pem_decoder_init(&pem);
    while (at < len) {
        at += br_pem_decoder_push(&pem, file_text + at, len - at);
        switch (br_pem_decoder_event(&pem)) {
        case BR_PEM_BEGIN_OBJ:
            CHECK(out->count < 4);
            out->chain[out->count].data = out->bytes + out->len;
            br_pem_decoder_setdest(&pem, take_der, out);
            break;
        case BR_PEM_END_OBJ:
            out->chain[out->count].data_len = (size_t)(out->bytes + out->len - out->chain[out->count].data);
            out->count++;
            break;
        case BR_PEM_ERROR: test_fail(__FILE__, __LINE__, "%s/%s is broken", kind, name);
        }
    }
    CHECK(out->count > 0);
}

static void memory_open(aioc_mem *memory)
{
    aiocosmos_allocator allocator = heap_allocator(&heap);
    aioc_mem_init(memory, &allocator, 1 << 24);
}

static void memory_close(aioc_mem *memory)
{
    aioc_mem_close(memory);
    CHECK_INT(heap.bytes, 0);
}

/*------------------------------------------------------------------------------
 * A server, and a wire between it and the client
 *----------------------------------------------------------------------------*/

typedef struct server {
    br_ssl_server_context context;
    br_skey_decoder_context key;
    der_file certificates;
    unsigned char buffer[BR_SSL_BUFSIZE_BIDI];
    br_ssl_session_cache_lru cache;
    unsigned char cached[4096];
} server;

static server the_server; /* large, and one is enough */

static void server_init(const char *kind, const char *certificate)
{
    server *s = &the_server;
    der_file key;
    int type;
    read_pem(kind, strcmp(certificate, "weak.pem") == 0 ? "weak.key" :
                   strcmp(certificate, "p384.pem") == 0 ? "p384.key" : "leaf.key", &key);
    br_skey_decoder_init(&s->key);
    br_skey_decoder_push(&s->key, key.bytes, key.len);
    type = br_skey_decoder_key_type(&s->key);
    read_pem(kind, certificate, &s->certificates);
    if (type == BR_KEYTYPE_RSA) {
        br_ssl_server_init_full_rsa(&s->context, s->certificates.chain, s->certificates.count,
                                    br_skey_decoder_get_rsa(&s->key));
    } else {
        br_ssl_server_init_full_ec(&s->context, s->certificates.chain, s->certificates.count, BR_KEYTYPE_EC,
                                   br_skey_decoder_get_ec(&s->key));
    }
    br_ssl_session_cache_lru_init(&s->cache, s->cached, sizeof s->cached);
    br_ssl_server_set_cache(&s->context, &s->cache.vtable);
    br_ssl_engine_set_buffer(&s->context.eng, s->buffer, sizeof s->buffer, 1);
}

/* The server's randomness is what a test says, so that it can count bytes. */
static void server_reset(unsigned seed)
{
    br_ssl_engine_context *engine = &the_server.context.eng;
    engine->rng_init_done = 0;
    engine->rng_os_rand_done = 1;
    br_ssl_engine_inject_entropy(engine, &seed, sizeof seed);
    CHECK(br_ssl_server_reset(&the_server.context));
}

typedef struct wire {
    aioc_mem memory;
    aioc_tls_trust trust;
    aioc_tls_config config;
    aioc_tls_resumption resumption;
    aioc_tls_session *client;
    size_t cut;                        /* bytes handed over at once */
    int64_t now;
    unsigned seed;                     /* of both sides' entropy */
    unsigned long to_client;           /* bytes so far */
    unsigned long damage_at, damage_server_at; /* this byte to the client, or to the server, is changed; 0: none */
    unsigned long end_at;              /* only so many bytes reach the client; 0: all */
    char got[1 << 17];                 /* plaintext that the client received */
    size_t got_len;
} wire;

static wire the_wire;

static void trust_file(wire *w, const char *kind, const char *name)
{
    char why[256];
    size_t len = read_file(kind, name);
    CHECK_INT(aioc_tls_bearssl.trust_open(&w->trust, &w->memory, file_text, len, why, sizeof why), 0);
}

static wire *wire_open(const char *kind, const char *certificate, const char *trusted)
{
    wire *w = &the_wire;
    memset(w, 0, sizeof *w);
    memory_open(&w->memory);
    server_init(kind, certificate);
    trust_file(w, kind, trusted);
    w->config.table = &aioc_tls_bearssl;
    w->config.trust = &w->trust;
    w->cut = 100000;
    w->now = NOW;
    return w;
}

static void connect_to(wire *w, const char *host)
{
    unsigned char entropy[32];
    memset(entropy, (int)w->seed, sizeof entropy);
    server_reset(w->seed);
    w->got_len = 0;
    w->to_client = 0;
    w->client = aioc_tls_bearssl.open(&w->memory, &w->config, &w->resumption, host, w->now, entropy);
    CHECK(w->client);
}

static void disconnect(wire *w)
{
    if (w->client) w->client->table->close(&w->memory, w->client);
    w->client = NULL;
}

static void wire_close(wire *w)
{
    disconnect(w);
    aioc_tls_bearssl.trust_close(&w->trust, &w->memory);
    memory_close(&w->memory);
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* One hand-over from the client to the server. */
static bool client_to_server(wire *w)
{
    size_t len, room;
    unsigned char *from = w->client->table->to_send(w->client, &len);
    unsigned char *to = br_ssl_engine_recvrec_buf(&the_server.context.eng, &room);
    len = smaller(smaller(len, room), w->cut);
    if (len == 0) return false;
    memcpy(to, from, len);
    if (w->damage_server_at > 0 && w->damage_server_at <= len) to[w->damage_server_at - 1] ^= 0x20;
    w->damage_server_at -= smaller(w->damage_server_at, len);
    br_ssl_engine_recvrec_ack(&the_server.context.eng, len);
    w->client->table->sent(w->client, len);
    return true;
}

static bool server_to_client(wire *w)
{
    size_t len, room;
    unsigned char *from = br_ssl_engine_sendrec_buf(&the_server.context.eng, &len);
    unsigned char *to = w->client->table->receive_room(w->client, &room);
    len = smaller(smaller(len, room), w->cut);
    if (w->end_at) len = smaller(len, w->end_at - w->to_client);
    if (len == 0) return false;
    memcpy(to, from, len);
    if (w->damage_at > w->to_client && w->damage_at <= w->to_client + len) to[w->damage_at - w->to_client - 1] ^= 0x20;
    w->to_client += len;
    br_ssl_engine_sendrec_ack(&the_server.context.eng, len);
    w->client->table->received(w->client, len);
    return true;
}

static bool take_plain(wire *w)
{
    size_t len;
    const unsigned char *plain = w->client->table->plain(w->client, &len);
    len = smaller(len, w->cut);
    if (len == 0) return false;
    CHECK(w->got_len + len <= sizeof w->got);
    memcpy(w->got + w->got_len, plain, len);
    w->got_len += len;
    w->client->table->plain_used(w->client, len);
    return true;
}

/* Moves bytes until nothing moves. Every round moves some, and no side makes bytes from nothing: so it ends. */
static void pump(wire *w)
{
    long rounds = 0;
    bool moved = true;
    while (moved) {
        CHECK(++rounds < 2000000);
        moved = client_to_server(w);
        if (server_to_client(w)) moved = true;
        if (take_plain(w)) moved = true;
    }
}

/* The server sends; the client may have to make room in between. */
static void server_send(wire *w, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t room;
        unsigned char *to = br_ssl_engine_sendapp_buf(&the_server.context.eng, &room);
        CHECK(room > 0);
        room = smaller(room, len);
        memcpy(to, bytes, room);
        br_ssl_engine_sendapp_ack(&the_server.context.eng, room);
        br_ssl_engine_flush(&the_server.context.eng, 0);
        bytes += room;
        len -= room;
        pump(w);
    }
}

/* What the server has got, as far as it fits. */
static size_t server_take(char *out, size_t cap)
{
    size_t len;
    unsigned char *from = br_ssl_engine_recvapp_buf(&the_server.context.eng, &len);
    len = smaller(len, cap);
    if (len == 0) return 0;
    memcpy(out, from, len);
    br_ssl_engine_recvapp_ack(&the_server.context.eng, len);
    return len;
}

static void client_send(wire *w, const char *bytes, size_t len, char *at_server, size_t *arrived)
{
    size_t offset = 0;
    *arrived = 0;
    while (offset < len) {
        size_t third = offset < len / 3 ? len / 3 - offset : 0, rest, waits;
        size_t taken = third ? w->client->table->write(w->client, bytes + offset, third, true) : 0;
        CHECK(taken > 0 || third == 0);
        if (taken == third) {                     /* the record is still open: more goes into it */
            w->client->table->to_send(w->client, &waits);
            if (waits == 0)
                taken += w->client->table->write(w->client, bytes + offset + third, len - offset - third, false);
        }
        CHECK(taken > 0);
        rest = len - offset - taken;
        CHECK_INT(w->client->table->write(w->client, bytes + offset, rest ? rest : 1, false), 0);  /* it is closed */
        offset += taken;
        do pump(w);
        while ((taken = server_take(at_server + *arrived, len - *arrived)) > 0 && (*arrived += taken) > 0);
    }
}

#define CHECK_OPEN(WIRE)                                                                          \
    do {                                                                                          \
        CHECK_STR((WIRE)->client->why, "");                                                       \
        CHECK_INT((WIRE)->client->state, AIOC_TLS_OPEN);                                          \
    } while (0)

/* The client refused, with exactly this text. */
#define CHECK_REFUSED(WIRE, WHY)                                                                  \
    do {                                                                                          \
        CHECK_STR((WIRE)->client->why, (WHY));                                                    \
        CHECK_INT((WIRE)->client->state, AIOC_TLS_FAILED);                                        \
    } while (0)

/*------------------------------------------------------------------------------
 * Handshakes and data
 *----------------------------------------------------------------------------*/

static const size_t cuts[] = {1, 2, 3, 5, 7, 64, 1000, 100000};

TEST(tls_handshakes_with_bytes_cut_at_every_size)
{
    static const char *const kinds[] = {"rsa", "ec"};
    size_t k, c;
    for (k = 0; k < 2; k++) {
        for (c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
            wire *w = wire_open(kinds[k], c % 2 ? "chain.pem" : "good.pem", "ca.pem");
            w->cut = cuts[c];
            connect_to(w, "localhost");
            CHECK_INT(w->client->state, AIOC_TLS_HANDSHAKE);
            pump(w);
            CHECK_OPEN(w);
            CHECK_INT(w->resumption.hits, 0);
            server_send(w, "hello", 5);
            CHECK_TEXT(w->got, w->got_len, "hello");
            wire_close(w);
        }
    }
}

TEST(tls_data_of_every_size_arrives_unchanged_both_ways)
{
    static const size_t sizes[] = {1, 2, 3, 4, 1000, 16383, 16384, 16385, 40000, 100000};
    static char text[100000], at_server[100000];
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    size_t i, s, arrived;
    for (i = 0; i < sizeof text; i++) text[i] = (char)(i * 7 + i / 251);
    connect_to(w, "localhost");
    pump(w);
    CHECK_OPEN(w);
    for (s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        w->got_len = 0;
        w->cut = s % 2 ? 100000 : 997;
        server_send(w, text, sizes[s]);
        CHECK_INT(w->got_len, sizes[s]);
        CHECK_MEM(w->got, text, sizes[s]);
        client_send(w, text, sizes[s], at_server, &arrived);
        CHECK_INT(arrived, sizes[s]);
        CHECK_MEM(at_server, text, sizes[s]);
    }
    wire_close(w);
}

TEST(tls_a_record_of_16_kib_leaves_the_next_to_the_socket)
{
    static char text[40000];
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    size_t len, room;
    connect_to(w, "localhost");
    pump(w);
    memcpy(br_ssl_engine_sendapp_buf(&the_server.context.eng, &room), text, 16384);
    br_ssl_engine_sendapp_ack(&the_server.context.eng, 16384);
    (void)w->client->table->receive_room(w->client, &len);
    CHECK_INT(len, 5);                            /* a record header first */
    while (server_to_client(w)) continue;
    (void)w->client->table->plain(w->client, &len);
    CHECK_INT(len, 16384);
    (void)w->client->table->receive_room(w->client, &len);
    CHECK_INT(len, 0);                            /* plaintext must be used first */
    take_plain(w);
    (void)w->client->table->receive_room(w->client, &len);
    CHECK_INT(len, 5);
    wire_close(w);
}

TEST(tls_feed_takes_many_records_from_one_buffer)
{
    static unsigned char all[1 << 16];
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    size_t len = 0, at = 0, taken, i;
    connect_to(w, "localhost");
    pump(w);
    for (i = 0; i < 20; i++) {
        size_t room;
        unsigned char *from;
        memset(br_ssl_engine_sendapp_buf(&the_server.context.eng, &room), 'a' + (int)i, 1000 + i);
        br_ssl_engine_sendapp_ack(&the_server.context.eng, 1000 + i);
        br_ssl_engine_flush(&the_server.context.eng, 0);
        from = br_ssl_engine_sendrec_buf(&the_server.context.eng, &room);
        memcpy(all + len, from, room);
        len += room;
        br_ssl_engine_sendrec_ack(&the_server.context.eng, room);
    }
    while (at < len) {
        taken = feed(w->client, all + at, len - at);
        CHECK(taken > 0 || take_plain(w));
        at += taken;
    }
    take_plain(w);
    CHECK_INT(w->got_len, 20 * 1000 + 190);
    CHECK_INT(w->got[w->got_len - 1], 'a' + 19);
    wire_close(w);
}

TEST(tls_works_only_when_it_receives)
{
    wire *w = wire_open("rsa", "chain.pem", "ca.pem");
    size_t len, room;
    connect_to(w, "localhost");
    while (client_to_server(w)) continue;
    CHECK_INT(w->to_client, 0);
    CHECK_INT(w->client->state, AIOC_TLS_HANDSHAKE);
    /* The answer to the server's flight comes with its last byte. */
    while (w->client->table->to_send(w->client, &len) == NULL) {
        (void)br_ssl_engine_sendrec_buf(&the_server.context.eng, &len);
        (void)w->client->table->receive_room(w->client, &room);
        CHECK(len > 0 && room > 0 && room <= 16384);
        CHECK(server_to_client(w));
    }
    (void)br_ssl_engine_sendrec_buf(&the_server.context.eng, &len);
    CHECK_INT(len, 0);
    pump(w);
    CHECK_OPEN(w);
    wire_close(w);
}

/* The ClientHello (RFC 5246 7.4.1.2): version at 9, session id at 43, then the suites. */
TEST(tls_offers_tls_1_2_with_ecdhe_and_aead_only_the_fast_ones_first)
{
    static const unsigned aes_first[] = {0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8};
    static const unsigned chacha_first[] = {0xCCA9, 0xCCA8, 0xC02B, 0xC02F, 0xC02C, 0xC030};
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    const unsigned *want = br_aes_x86ni_ctr_get_vtable() || br_aes_pwr8_ctr_get_vtable() ? aes_first : chacha_first;
    unsigned char *hello, first[64];
    size_t len, i;
    connect_to(w, "localhost");
    hello = w->client->table->to_send(w->client, &len);
    CHECK_MEM(hello + 9, "\x03\x03", 2);
    CHECK_MEM(hello + 43, "\x00\x00\x0C", 3);
    for (i = 0; i < 6; i++) CHECK_INT(hello[46 + 2 * i] << 8 | hello[47 + 2 * i], want[i]);
    memcpy(first, hello, sizeof first);
    disconnect(w);
    connect_to(w, "localhost");                   /* the same entropy, the same bytes: tests can be replayed */
    CHECK_MEM(w->client->table->to_send(w->client, &len), first, sizeof first);
    disconnect(w);
    w->seed = 1;
    connect_to(w, "localhost");
    CHECK(memcmp(w->client->table->to_send(w->client, &len), first, sizeof first) != 0);
    wire_close(w);
}

TEST(tls_every_suite_and_curve_that_is_offered_works)
{
    static const uint16_t suites[][6] = {
        {BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
         BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256},
        {BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
         BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}
    };
    static const unsigned curves[] = {BR_EC_secp384r1, BR_EC_secp521r1, BR_EC_secp256r1, BR_EC_curve25519};
    int kind, i;
    for (kind = 0; kind < 2; kind++) {
        wire *w = wire_open(kind ? "ec" : "rsa", "good.pem", "ca.pem");
        for (i = 0; i < 3; i++) {
            br_ssl_engine_set_suites(&the_server.context.eng, &suites[kind][i], 1);
            memset(&w->resumption, 0, sizeof w->resumption);
            connect_to(w, "localhost");
            pump(w);
            CHECK_OPEN(w);
            server_send(w, "data", 4);
            CHECK_TEXT(w->got, w->got_len, "data");
            disconnect(w);
        }
        wire_close(w);
    }
    for (i = 0; i < 4; i++) {
        wire *w = wire_open("rsa", "good.pem", "ca.pem");
        br_ec_impl one = *br_ec_get_default();
        one.supported_curves = (uint32_t)1 << curves[i];
        br_ssl_engine_set_ec(&the_server.context.eng, &one);
        if (i < 2) {                              /* slow ones are offered to those who want nothing else */
            connect_to(w, "localhost");
            pump(w);
            CHECK_INT(w->client->state, AIOC_TLS_FAILED);
            CHECK(w->client->again);
            disconnect(w);
        }
        connect_to(w, "localhost");
        pump(w);
        CHECK_OPEN(w);
        CHECK(!w->client->again);
        wire_close(w);
    }
}

/*------------------------------------------------------------------------------
 * Names
 *----------------------------------------------------------------------------*/

TEST(tls_hosts_that_the_certificate_is_for)
{
    static const char *const hosts[][2] = {       /* and what the server is told */
        {"localhost", "localhost"}, {"LocalHost", "LocalHost"}, {"localhost.", "localhost"}, {"127.0.0.1", ""},
        {"::1", ""}, {"[::1]", ""}, {"0:0:0:0:0:0:0:1", ""}, {"::0.0.0.1", ""}, {"::1%lo", ""}
    };
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    size_t i;
    for (i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        memset(&w->resumption, 0, sizeof w->resumption);
        connect_to(w, hosts[i][0]);
        pump(w);
        CHECK_OPEN(w);
        CHECK_STR(br_ssl_engine_get_server_name(&the_server.context.eng), hosts[i][1]);
        disconnect(w);
    }
    wire_close(w);
}

TEST(tls_wildcards_stand_for_one_label)
{
    static const char good[] = "*.db.example";
    static const struct { const char *pattern, *host; bool match; } cases[] = {
        {good, "a.db.example", true}, {good, "A.DB.example", true}, {good, "db.example", false},
        {good, "a.b.db.example", false}, {good, ".db.example", false}, {good, "*.db.example", true},
        {good, "adb.example", false}, {"*.example", "a.example", false}, {"*.", "a.", false}, {"*", "a", false},
        {"*.*.example", "a.b.example", false}, {"a*.db.example", "ab.db.example", false},
        {"a.*.example", "a.b.example", false}, {"", "", false}, {"a.example", "a.example", true},
        {"a.example", "a.exampl", false}, {"a.exampl", "a.example", false}, {".db.example", "a.db.example", false}
    };
    aioc_tls_der with_nul = {(const unsigned char *)"a.example\0.evil.example", 23};
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        aioc_tls_der pattern;
        pattern.at = (const unsigned char *)cases[i].pattern;
        pattern.len = strlen(cases[i].pattern);
        if (aioc_tls_name_matches(pattern, cases[i].host) != cases[i].match) {
            test_fail(__FILE__, __LINE__, "%s and %s", cases[i].pattern, cases[i].host);
        }
    }
    CHECK(!aioc_tls_name_matches(with_nul, "a.example"));
}

TEST(tls_addresses_are_told_from_names)
{
    static const struct { const char *host; int len; const char *bytes; } cases[] = {
        {"127.0.0.1", 4, "\x7f\0\0\1"}, {"255.255.255.255", 4, "\xff\xff\xff\xff"}, {"256.0.0.1", 0, ""},
        {"1.2.3", 0, ""}, {"1.2.3.4.5", 0, ""}, {"1.2.3.4.example", 0, ""}, {"1.2.3.", 0, ""}, {"1..2.3", 0, ""},
        {"", 0, ""}, {"localhost", 0, ""}, {"a.example", 0, ""}, {"1.2.3.0004", 0, ""},
        {"052.0.1.1", 0, ""}, {"::052.0.1.1", 0, ""}, {"[127.0.0.1]", 0, ""},
        {"::", 16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"}, {"::1", 16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"},
        {"1::", 16, "\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
        {"12:3456::fFaA", 16, "\0\x12\x34\x56\0\0\0\0\0\0\0\0\0\0\xff\xaa"},
        {"1:2:3:4:5:6:7:8", 16, "\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\x8"},
        {"1:2:3:4:5:6:7::", 16, "\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\0"},
        {"::2:3:4:5:6:7:8", 16, "\0\0\0\2\0\3\0\4\0\5\0\6\0\7\0\x8"},
        {"::ffff:1.2.3.4", 16, "\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4"},
        {"1:2:3:4:5:6:1.2.3.4", 16, "\0\1\0\2\0\3\0\4\0\5\0\6\1\2\3\4"}, {"1:2:3:4:5:6:7:1.2.3.4", 0, ""},
        {"1:2:3:4:5:6:7:8:9", 0, ""}, {"1:2:3:4:5:6:7", 0, ""}, {"1::2::3", 0, ""}, {":1", 0, ""}, {"1:", 0, ""},
        {"1:2:3:4:5:6:7:", 0, ""}, {":::", 0, ""}, {"12345::", 0, ""}, {"g::", 0, ""}, {"::1.2.3", 0, ""},
        {"1:2:3:4::5:6:7:8", 0, ""}, {"[::1]", 16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"}, {"[::1", 0, ""},
        {"::1]", 0, ""}, {"fe80::1%eth0", 16, "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\1"},
        {"[fe80::1%eth0]", 16, "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\1"}, {"[::1]x", 0, ""}
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        aiocosmos_address address;
        aiocosmos_str zone;
        bool literal = aioc_text_host_address(aioc_mem_str(cases[i].host), &address, &zone);
        size_t len = !literal ? 0 : address.family == 4 ? 4 : 16;
        if ((int)len != cases[i].len) test_fail(__FILE__, __LINE__, "%s: %d", cases[i].host, (int)len);
        CHECK_MEM(address.ip, (const unsigned char *)cases[i].bytes, len);
    }
}

TEST(tls_a_host_name_that_is_too_long_fails_at_once)
{
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    char host[300];
    size_t len;
    memset(host, 'a', sizeof host);
    host[256] = '\0';
    connect_to(w, host);
    CHECK_REFUSED(w, "the host name is empty or longer than 255 bytes");
    CHECK(!w->client->table->to_send(w->client, &len) && !w->client->table->receive_room(w->client, &len));
    CHECK(!w->client->table->plain(w->client, &len));
    disconnect(w);
    host[255] = '\0';
    connect_to(w, host);
    pump(w);
    CHECK_INT(w->client->state, AIOC_TLS_FAILED);
    disconnect(w);
    connect_to(w, "");
    CHECK_REFUSED(w, "the host name is empty or longer than 255 bytes");
    wire_close(w);
}

/*------------------------------------------------------------------------------
 * Certificates that are refused
 *----------------------------------------------------------------------------*/

typedef struct refusal { const char *certificate, *trusted, *host, *why; } refusal;

static const refusal refusals[] = {
    {"expired.pem", "ca.pem", "localhost",
     "the server's certificate 'localhost' expired on 2020-12-31 (the clock here says 2023-11-14)"},
    {"future.pem", "ca.pem", "localhost",
     "the server's certificate 'localhost' is not valid before 2060-01-01 (the clock here says 2023-11-14)"},
    {"wrong-name.pem", "ca.pem", "localhost",
     "the server's certificate is not for localhost but for other.example, 192.0.2.1"},
    {"good.pem", "ca.pem", "127.0.0.2",
     "the server's certificate is not for 127.0.0.2 but for localhost, 127.0.0.1, ::1"},
    {"wildcard.pem", "ca.pem", "a.b.db.example",
     "the server's certificate is not for a.b.db.example but for *.db.example"},
    {"many-names.pem", "ca.pem", "f.example",
     "the server's certificate is not for f.example but for a.example, b.example, 10.0.0.1, "
     "fd00::1 and 3 more"},
    {"no-name.pem", "ca.pem", "localhost",
     "the server's certificate is not for localhost: it has no subjectAltName with a DNS name or IP address"},
    {"other.pem", "ca.pem", "localhost",
     "nobody trusted issued the server's certificate: its issuer 'another test CA' is unknown here, or an intermediate "
     "certificate is missing"},
    {"incomplete.pem", "ca.pem", "localhost",
     "nobody trusted issued the server's certificate: its issuer 'aiocosmos test intermediate' is unknown here, or an "
     "intermediate certificate is missing"},
    {"chain.pem", "other-ca.pem", "localhost",
     "nobody trusted issued the server's certificate: its issuer 'aiocosmos test CA' is unknown here, or an "
     "intermediate certificate is missing"},
    {"good.pem", "impostor-ca.pem", "localhost",
     "nobody trusted issued the server's certificate: its issuer 'aiocosmos test CA' has the name, but not the key, of "
     "a trusted one"},
    {"self-signed.pem", "ca.pem", "localhost",
     "the server's certificate 'localhost' is self-signed and not among the trusted ones"},
    {"client.pem", "ca.pem", "localhost",
     "the server's certificate is not for servers: its extended key usage lacks serverAuth"},
    {"critical.pem", "ca.pem", "localhost",
     "the server's certificate 'localhost' has a critical extension that is not understood"},
    {"sha1.pem", "ca.pem", "localhost",
     "the server's certificate 'localhost' is signed with SHA-1, which is no longer safe"},
    {"disorder.pem", "ca.pem", "localhost",
     "the intermediate certificate 'another test CA' did not issue the one before it: the chain is out of order"},
    {"forged.pem", "ca.pem", "localhost",
     "the intermediate certificate 'aiocosmos test intermediate' did not sign the one before it: the signature is "
     "wrong"},
    {"expired-ca.pem", "ca.pem", "localhost",
     "the intermediate certificate 'aiocosmos old intermediate' expired on 2020-12-31 (the clock here says "
     "2023-11-14)"},
    {"no-ca.pem", "ca.pem", "localhost",
     "the intermediate certificate 'localhost' may not issue certificates: it is no CA, or too far down"},
    {"weak.pem", "ca.pem", "localhost",
     "the server's certificate 'localhost' has an RSA key of fewer than 2048 bits"}
};

TEST(tls_every_refusal_of_a_certificate_says_why)
{
    int kind;
    size_t i, c;
    for (kind = 0; kind < 2; kind++) {
        for (i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
            for (c = 0; c < 2; c++) {
                wire *w;
                size_t len;
                if (kind == 1 && strcmp(refusals[i].certificate, "weak.pem") == 0) continue;
                w = wire_open(kind ? "ec" : "rsa", refusals[i].certificate, refusals[i].trusted);
                w->cut = c ? 1 : 100000;
                connect_to(w, refusals[i].host);
                pump(w);
                CHECK_REFUSED(w, refusals[i].why);
                CHECK(!w->client->table->to_send(w->client, &len) && !w->client->table->receive_room(w->client, &len));
                CHECK_INT(w->resumption.expires_s, 0);
                wire_close(w);
            }
        }
    }
}

TEST(tls_insecure_accepts_every_certificate)
{
    int kind;
    size_t i;
    for (kind = 0; kind < 2; kind++) {
        for (i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
            wire *w;
            if (kind == 1 && strcmp(refusals[i].certificate, "weak.pem") == 0) continue;
            w = wire_open(kind ? "ec" : "rsa", refusals[i].certificate, refusals[i].trusted);
            w->config.insecure = true;
            w->config.trust = NULL;
            connect_to(w, refusals[i].host);
            pump(w);
            CHECK_OPEN(w);
            server_send(w, "data", 4);
            CHECK_TEXT(w->got, w->got_len, "data");
            wire_close(w);
        }
    }
}

/* Without the check that the server holds the key of its certificate, even "insecure" would mean nothing. */
TEST(tls_insecure_still_wants_the_key_of_the_certificate)
{
    wire *w = wire_open("rsa", "good.pem", "ca.pem");
    w->config.insecure = true;
    read_pem("rsa", "other-ca.pem", &the_server.certificates);
    connect_to(w, "localhost");
    pump(w);
    CHECK_REFUSED(w, "the server's signature is wrong: it does not hold the key of its certificate");
    wire_close(w);
}

TEST(tls_time_decides_to_the_second)
{
    static const struct { int64_t now; bool open; } cases[] = {
        {1577836799, false}, {1577836800, true}, {1609459199, true}, {1609459200, false}, {-5, false}, {0, false}
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wire *w = wire_open("ec", "expired.pem", "ca.pem");
        w->now = cases[i].now;
        connect_to(w, "localhost");
        pump(w);
        CHECK_INT(w->client->state, cases[i].open ? AIOC_TLS_OPEN : AIOC_TLS_FAILED);
        wire_close(w);
    }
}

TEST(tls_dates_are_read_and_written)
{
    static const struct { int64_t wall_s; const char *text; } cases[] = {
        {0, "1970-01-01"}, {86399, "1970-01-01"}, {86400, "1970-01-02"}, {951782400, "2000-02-29"},
        {951868800, "2000-03-01"}, {4107542400, "2100-03-01"}, {1609459199, "2020-12-31"}, {253402300799, "9999-12-31"},
        {-1, "1970-01-01"}, {INT64_MAX, "9999-12-31"}, {INT64_MIN, "1970-01-01"}
    };
    static const struct { const char *der; size_t len; int64_t wall_s; } times[] = {
        {"\x17\x0d" "700101000000Z", 15, 0}, {"\x17\x0d" "491231235959Z", 15, 2524607999},
        {"\x17\x0d" "500101000000Z", 15, -631152000}, {"\x18\x0f" "20500101000000Z", 17, 2524608000},
        {"\x18\x0f" "99991231235959Z", 17, 253402300799}, {"\x17\x0d" "701301000000Z", 15, -9},
        {"\x17\x0d" "700100000000Z", 15, -9},
        {"\x17\x0d" "700229000000Z", 15, -9}, {"\x17\x0d" "700101240000Z", 15, -9},
        {"\x17\x0d" "7001010000000", 15, -9},
        {"\x17\x0d" "70010100000aZ", 15, -9},
        {"\x17\x0b" "7001010000Z", 13, -9}, {"\x16\x0d" "700101000000Z", 15, -9}, {"\x17\x0d" "70010100000", 13, -9}
    };
    static aioc_tls_bear session;
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        session.base.why[0] = '\0';
        aioc_tls_say_date(&session, "", cases[i].wall_s);
        CHECK_STR(session.base.why, cases[i].text);
    }
    for (i = 0; i < sizeof times / sizeof times[0]; i++) {
        aioc_tls_der der;
        int64_t wall_s = -9;
        der.at = (const unsigned char *)times[i].der;
        der.len = times[i].len;
        CHECK_INT(aioc_tls_der_take_time(&der, &wall_s), times[i].wall_s != -9);
        CHECK_INT(wall_s, times[i].wall_s);
    }
}

TEST(tls_a_self_signed_certificate_may_be_trusted_itself)
{
    static const char *const kinds[] = {"rsa", "ec"};
    int i;
    for (i = 0; i < 2; i++) {
        wire *w = wire_open(kinds[i], "self-signed.pem", "self-signed.pem");
        connect_to(w, "localhost");
        pump(w);
        CHECK_OPEN(w);
        disconnect(w);
        memset(&w->resumption, 0, sizeof w->resumption);
        connect_to(w, "example.com");             /* for its own names only */
        pump(w);
        CHECK_INT(w->client->state, AIOC_TLS_FAILED);
        wire_close(w);
    }
}

TEST(tls_a_trusted_leaf_vouches_for_nothing_else)
{
    wire *w = wire_open("ec", "no-ca.pem", "good.pem");
    connect_to(w, "localhost");
    pump(w);
    /* The leaf has the name and the key of the trusted one: that is direct trust. */
    CHECK_OPEN(w);
    wire_close(w);
    w = wire_open("ec", "other.pem", "wrong-name.pem");
    connect_to(w, "localhost");
    pump(w);
    CHECK_INT(w->client->state, AIOC_TLS_FAILED);
    wire_close(w);
}

/* Slow curves are not offered at first; their signatures are good all the same. */
TEST(tls_a_certificate_over_p384_is_good)
{
    wire *w = wire_open("ec", "p384.pem", "ca.pem");
    connect_to(w, "localhost");
    pump(w);
    CHECK_OPEN(w);
    wire_close(w);
}

TEST(tls_a_wildcard_certificate_for_servers_and_clients_is_good)
{
    wire *w = wire_open("rsa", "wildcard.pem", "ca.pem");
    connect_to(w, "account.db.example");
    pump(w);
    CHECK_OPEN(w);
    wire_close(w);
}

TEST(tls_a_chain_has_a_limit)
{
    wire *w = wire_open("ec", "good.pem", "other-ca.pem");
    br_x509_certificate many[20];
    der_file intermediate;
    size_t i;
    read_pem("ec", "other-ca.pem", &intermediate); /* self-signed: a chain of it is sound, but nobody asked for it */
    for (i = 0; i < 20; i++) many[i] = intermediate.chain[0];
    read_pem("ec", "other.pem", &the_server.certificates);
    many[0] = the_server.certificates.chain[0];
    aioc_tls_bearssl.trust_close(&w->trust, &w->memory);
    trust_file(w, "ec", "ca.pem");
    br_ssl_server_set_single_ec(&the_server.context, many, 20, br_skey_decoder_get_ec(&the_server.key), BR_KEYTYPE_SIGN,
                                BR_KEYTYPE_EC, br_ec_get_default(), br_ecdsa_sign_asn1_get_default());
    connect_to(w, "localhost");
    pump(w);
    CHECK_REFUSED(w, "the server sent too many certificates");
    wire_close(w);
}

TEST(tls_certificates_that_are_no_certificates)
{
    static unsigned char zeros[20000];
    static const struct { size_t len; const char *why; } cases[] = {
        {20, "the server sent something that is no certificate"},
        {16384, "the server sent something that is no certificate"},
        {16385, "the server sent an empty or too large certificate"},
        {0, "the server sent an empty or too large certificate"}
    };
    size_t i;
    wire *w;
    for (i = 0; i < 2 * (sizeof cases / sizeof cases[0]); i++) {
        w = wire_open("ec", "good.pem", "ca.pem");
        w->config.insecure = i % 2 == 1;
        the_server.certificates.chain[0].data = zeros;
        the_server.certificates.chain[0].data_len = cases[i / 2].len;
        connect_to(w, "localhost");
        pump(w);
        CHECK_REFUSED(w, i == 1 || i == 3 ? "the server's certificate has no key that can be used" : cases[i / 2].why);
        wire_close(w);
    }
    for (i = 0; i < 2; i++) {
        w = wire_open("ec", "good.pem", "ca.pem");
        w->config.insecure = i == 1;
        br_ssl_server_set_single_ec(&the_server.context, NULL, 0, br_skey_decoder_get_ec(&the_server.key),
                                    BR_KEYTYPE_SIGN, BR_KEYTYPE_EC, br_ec_get_default(),
                                    br_ecdsa_sign_asn1_get_default());
        connect_to(w, "localhost");
        pump(w);
        CHECK_REFUSED(w, "the server sent a message out of turn");     /* a list of none */
        wire_close(w);
    }
}

/* Names and algorithms that no certificate of ours has. */
TEST(tls_what_a_server_sent_is_printed_safely)
{
    static const struct { const char *der; size_t len; const char *text; } names[] = {
        {"\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x0a\x0c\x01O", 14, "'O'"},
        {"\x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x03\x1e\x05\0A\x20\xac" "B", 18, "'A ?B'"},
        {"\x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x03\x0c\x05" "a\n\0\xe9\x7f", 18, "'a?\?\?'"},
        {"\x30\x00", 2, "''"}, {"\x30\x02\x31\x00", 4, ""}, {"", 0, ""}
    };
    static const struct { const char *oid; size_t len; const char *text; } algorithms[] = {
        {"\x2A\x86\x48\x86\xF7\x0D\x01\x01\x04", 9, " is signed with MD5, which is no longer safe"},
        {"\x2A\x86\x48\x86\xF7\x0D\x01\x01\x0A", 9, " is signed with RSA-PSS, which is not supported"},
        {"\x2B\x65\x70", 3, " has a key or a signature of a kind that is not supported"}
    };
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    aioc_tls_bear *session;
    size_t i;
    connect_to(w, "localhost");
    session = (aioc_tls_bear *)w->client;
    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        aioc_tls_der der;
        der.at = (const unsigned char *)names[i].der;
        der.len = names[i].len;
        w->client->why[0] = '\0';
        aioc_tls_say_subject(session, der);
        CHECK_STR(w->client->why, names[i].text);
    }
    for (i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        session->certificate.signature.at = (const unsigned char *)algorithms[i].oid;
        session->certificate.signature.len = algorithms[i].len;
        w->client->why[0] = '\0';
        aioc_tls_say_signature(session);
        CHECK_STR(w->client->why, algorithms[i].text);
    }
    for (i = 0; i < 100; i++) aioc_tls_say(session, "too long ");
    CHECK_INT(strlen(w->client->why), AIOC_TLS_WHY_MAX - 1);
    wire_close(w);
}

/* Every byte of a chain is changed once: whatever that makes of it, nothing but the original opens the connection. */
TEST(tls_no_changed_certificate_is_accepted)
{
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    size_t i, len = the_server.certificates.len;
    for (i = 0; i < len; i++) {
        int bit = (int)(i * 5 % 8);
        the_server.certificates.bytes[i] ^= (unsigned char)(1 << bit);
        connect_to(w, "localhost");
        pump(w);
        CHECK_INT(w->client->state, AIOC_TLS_FAILED);
        CHECK(w->client->why[0] != '\0');
        disconnect(w);
        the_server.certificates.bytes[i] ^= (unsigned char)(1 << bit);
    }
    connect_to(w, "localhost");
    pump(w);
    CHECK_OPEN(w);
    wire_close(w);
}

TEST(tls_a_certificate_cut_anywhere_is_no_certificate)
{
    static const char *const names[] = {"good.pem", "many-names.pem", "client.pem", "ca.pem"};
    size_t n, i;
    for (n = 0; n < 4; n++) {
        static der_file file;
        aioc_tls_certificate certificate;
        aioc_tls_der der;
        unsigned char *copy;
        read_pem("rsa", names[n], &file);
        der.at = file.bytes;
        der.len = file.len;
        CHECK(aioc_tls_certificate_read(&certificate, der));
        for (i = 0; i < file.len; i++) {
            copy = malloc(i + 1);                 /* its own block, so that a step beyond it is seen */
            memcpy(copy, file.bytes, i);
            der.at = copy;
            der.len = i;
            CHECK(!aioc_tls_certificate_read(&certificate, der));
            free(copy);
        }
        for (i = 0; i < file.len; i++) {          /* any byte changed: read or not, but nothing beyond its end */
            copy = malloc(file.len);
            memcpy(copy, file.bytes, file.len);
            copy[i] ^= 0xFF;
            der.at = copy;
            der.len = file.len;
            if (aioc_tls_certificate_read(&certificate, der)) {
                CHECK(certificate.issuer.at >= copy && certificate.signature.at < copy + file.len);
                (void)aioc_tls_certificate_is_server(&certificate);
            }
            free(copy);
        }
    }
}

/* Two lists of names, so that readers may take either: here another extension is made the second one. */
TEST(tls_no_extension_counts_twice)
{
    static const unsigned char extension[] = {0x06, 0x03, 0x55, 0x1D};
    static der_file file;
    aioc_tls_certificate certificate;
    aioc_tls_der der;
    size_t i;
    read_pem("ec", "good.pem", &file);
    der.at = file.bytes;
    der.len = file.len;
    CHECK(aioc_tls_certificate_read(&certificate, der));
    CHECK(certificate.names.at);
    for (i = 0; i + sizeof extension < file.len; i++)
        if (memcmp(file.bytes + i, extension, sizeof extension) == 0 && file.bytes[i + 4] != 0x11) break;
    CHECK(i + sizeof extension < file.len);
    file.bytes[i + 4] = 0x11;
    CHECK(!aioc_tls_certificate_read(&certificate, der));
}

TEST(tls_any_purpose_is_good_for_servers)
{
    aioc_tls_certificate certificate;
    memset(&certificate, 0, sizeof certificate);
    certificate.purposes.at = (const unsigned char *)"\x06\x03\x2A\x03\x04\x06\x04\x55\x1D\x25\x00";
    certificate.purposes.len = 11;
    CHECK(aioc_tls_certificate_is_server(&certificate));
    certificate.purposes.len = 5;
    CHECK(!aioc_tls_certificate_is_server(&certificate));
}

/* Addresses of neither length, and more names than a message has room for. */
TEST(tls_names_what_it_cannot_read)
{
    static const char names[] = "\x87\x03\x7F\x00\x01\x87\x04\x7F\x00\x00\x01\x82\x01""a\x82\x01""b\x82\x01""c";
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    aioc_tls_bear *session;
    connect_to(w, "localhost");
    session = (aioc_tls_bear *)w->client;
    session->certificate.names.at = (const unsigned char *)names;
    session->certificate.names.len = sizeof names - 1;
    aioc_tls_say_names(session);
    CHECK_STR(w->client->why, "the server's certificate is not for localhost but for ?, 127.0.0.1, a, b and 1 more");
    wire_close(w);
}

/*------------------------------------------------------------------------------
 * Resumption
 *----------------------------------------------------------------------------*/

static void reconnect(wire *w, bool resumed)
{
    uint64_t hits = w->resumption.hits;
    w->seed++;
    connect_to(w, "localhost");
    pump(w);
    CHECK_OPEN(w);
    CHECK_INT(w->resumption.hits - hits, resumed);
    server_send(w, "data", 4);
    CHECK_TEXT(w->got, w->got_len, "data");
    disconnect(w);
}

TEST(tls_sessions_are_resumed_and_counted)
{
    size_t c;
    for (c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
        wire *w = wire_open(c % 2 ? "rsa" : "ec", "good.pem", "ca.pem");
        w->cut = cuts[c];
        reconnect(w, false);
        reconnect(w, true);
        reconnect(w, true);
        CHECK_INT(w->resumption.full, 1);
        CHECK_INT(w->resumption.hits, 2);
        wire_close(w);
    }
}

TEST(tls_a_server_that_forgot_gets_a_full_handshake)
{
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    reconnect(w, false);
    br_ssl_session_cache_lru_init(&the_server.cache, the_server.cached, sizeof the_server.cached);
    reconnect(w, false);
    reconnect(w, true);
    CHECK_INT(w->resumption.full, 2);
    CHECK_INT(w->resumption.hits, 1);
    w->now += AIOC_TLS_SAVED_S;                   /* too old to offer */
    reconnect(w, false);
    CHECK_INT(w->resumption.full, 3);
    reconnect(w, true);
    wire_close(w);
}

TEST(tls_a_server_without_a_cache_gives_nothing_to_resume)
{
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    br_ssl_server_set_cache(&the_server.context, NULL);
    reconnect(w, false);
    reconnect(w, false);
    CHECK_INT(w->resumption.hits, 0);
    CHECK_INT(w->resumption.full, 2);
    wire_close(w);
}

TEST(tls_a_resumption_that_fails_is_not_tried_again)
{
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    static const aioc_tls_resumption none;
    reconnect(w, false);
    w->resumption.saved[sizeof(br_ssl_session_parameters) - 9] ^= 1;   /* in the master secret */
    connect_to(w, "localhost");
    pump(w);
    CHECK_INT(w->client->state, AIOC_TLS_FAILED);
    CHECK_INT(w->resumption.expires_s, 0);
    CHECK(w->client->again);
    CHECK_MEM(w->resumption.saved, none.saved, sizeof none.saved);     /* nor are secrets left */
    disconnect(w);
    reconnect(w, false);
    CHECK_INT(w->resumption.full, 2);
    wire_close(w);
}

/*------------------------------------------------------------------------------
 * Ends
 *----------------------------------------------------------------------------*/

TEST(tls_close_notify_is_told_from_a_cut)
{
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    size_t len, room;
    connect_to(w, "localhost");
    pump(w);
    memcpy(br_ssl_engine_sendapp_buf(&the_server.context.eng, &room), "last", 4);
    br_ssl_engine_sendapp_ack(&the_server.context.eng, 4);
    br_ssl_engine_flush(&the_server.context.eng, 0);
    br_ssl_engine_close(&the_server.context.eng);
    while (server_to_client(w)) continue;
    CHECK_INT(w->client->state, AIOC_TLS_OPEN);            /* what was sent before comes first */
    take_plain(w);
    CHECK_TEXT(w->got, w->got_len, "last");
    while (server_to_client(w)) continue;
    CHECK_INT(w->client->state, AIOC_TLS_CLOSED);
    CHECK(w->client->table->to_send(w->client, &len));                          /* our answer, RFC 5246 7.2.1 */
    w->client->table->ended(w->client);
    pump(w);
    CHECK_INT(w->client->state, AIOC_TLS_CLOSED);
    CHECK_INT(br_ssl_engine_current_state(&the_server.context.eng), BR_SSL_CLOSED);
    CHECK_INT(br_ssl_engine_last_error(&the_server.context.eng), 0);
    disconnect(w);

    connect_to(w, "localhost");
    pump(w);
    w->client->table->ended(w->client);
    CHECK_REFUSED(w, "the connection was cut: the server did not say that it is the end");
    disconnect(w);

    memset(&w->resumption, 0, sizeof w->resumption);
    connect_to(w, "localhost");
    w->client->table->ended(w->client);
    CHECK_REFUSED(w, "the server closed the connection instead of answering: does this port speak TLS?");
    wire_close(w);
}

TEST(tls_shutdown_says_goodbye_once)
{
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    size_t len;
    connect_to(w, "localhost");
    w->client->table->shutdown(w->client);                 /* too early: does nothing */
    pump(w);
    CHECK_OPEN(w);
    w->client->table->shutdown(w->client);
    w->client->table->shutdown(w->client);
    CHECK_INT(w->client->table->write(w->client, "x", 1, false), 0);
    CHECK(w->client->table->to_send(w->client, &len));
    CHECK_INT(len, 5 + 8 + 2 + 16);               /* header, nonce, alert, tag */
    pump(w);
    CHECK_INT(w->client->state, AIOC_TLS_CLOSED);
    w->client->table->shutdown(w->client);
    CHECK(!w->client->table->to_send(w->client, &len));
    wire_close(w);
}

TEST(tls_an_end_at_every_byte_of_the_handshake_fails)
{
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    unsigned long at, whole;
    connect_to(w, "localhost");
    pump(w);
    whole = w->to_client;
    disconnect(w);
    for (at = 1; at < whole; at++) {
        memset(&w->resumption, 0, sizeof w->resumption);
        w->end_at = at;
        connect_to(w, "localhost");
        pump(w);
        w->client->table->ended(w->client);
        CHECK_REFUSED(w, "the server closed the connection during the TLS handshake");
        disconnect(w);
    }
    w->end_at = 0;
    wire_close(w);
}

/*------------------------------------------------------------------------------
 * Servers that speak something else
 *----------------------------------------------------------------------------*/

static void hear(wire *w, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    while (len > 0) {
        size_t used = feed(w->client, at, smaller(len, w->cut));
        if (used == 0) return;
        at += used;
        len -= used;
    }
}

TEST(tls_answers_that_are_not_tls_1_2)
{
    static const struct { const char *bytes; size_t len; const char *why; } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n", 26, "the server answered in plain HTTP: this port has no TLS"},
        {"SSH-2.0-OpenSSH_9.2\r\n", 21, "the server did not answer in TLS 1.2: is this the right port?"},
        {"\x05\0\0\0\x0bgarbage", 12, "the server did not answer in TLS 1.2: is this the right port?"},
        {"\x99\x03\x03\0\x01" "a", 6, "the server did not answer in TLS 1.2: is this the right port?"},
        {"\x15\x03\x01\0\x02\x02\x46", 7,
         "the server refused the TLS handshake: alert protocol_version: it does not speak TLS 1.2 (70)"},
        {"\x15\x03\x03\0\x02\x02\x70", 7,
         "the server refused the TLS handshake: alert unrecognized_name: it serves no such host (112)"},
        {"\x15\x03\x03\0\x02\x02\x63", 7, "the server refused the TLS handshake: alert unknown (99)"},
        {"\x16\x03\x03\x40\x01\x02", 6, "the server sent a record of impossible length"},
        {"\x17\x03\x03\0\x01x", 6, "the server sent a message out of turn"}
    };
    size_t i, c;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (c = 1; c <= 100; c += 99) {
            wire *w = wire_open("ec", "good.pem", "ca.pem");
            w->cut = c;
            connect_to(w, "localhost");
            hear(w, cases[i].bytes, cases[i].len);
            CHECK_REFUSED(w, cases[i].why);
            wire_close(w);
        }
    }
}

TEST(tls_servers_with_nothing_in_common)
{
    static const uint16_t old[] = {BR_TLS_RSA_WITH_AES_128_GCM_SHA256};
    static const unsigned versions[] = {BR_TLS10, BR_TLS11};
    static const char *const why[] = {
        "the server is too old: it speaks TLS 1.0, and TLS 1.2 is the least",
        "the server is too old: it speaks TLS 1.1, and TLS 1.2 is the least"
    };
    int i;
    wire *w = wire_open("rsa", "good.pem", "ca.pem");
    br_ssl_engine_set_suites(&the_server.context.eng, old, 1);
    connect_to(w, "localhost");
    pump(w);
    CHECK_REFUSED(w, "the server refused the TLS handshake: alert handshake_failure: nothing in common, or it wants a "
                     "client's certificate (40)");
    CHECK(w->client->again);                      /* with more curves, which will not help */
    disconnect(w);
    connect_to(w, "localhost");
    pump(w);
    CHECK_INT(w->client->state, AIOC_TLS_FAILED);
    CHECK(!w->client->again);
    wire_close(w);
    for (i = 0; i < 2; i++) {
        /* A ServerHello of such a version: BearSSL's own server would rather refuse our suites. */
        unsigned char hello[5 + 4 + 2 + 32 + 1 + 2 + 1] = {22, 3, 0, 0, 42, 2, 0, 0, 38, 3, 0};
        hello[2] = hello[10] = (unsigned char)versions[i];
        w = wire_open("rsa", "good.pem", "ca.pem");
        connect_to(w, "localhost");
        hear(w, hello, sizeof hello);
        CHECK_REFUSED(w, why[i]);
        wire_close(w);
    }
}

TEST(tls_renegotiation_is_declined)
{
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    connect_to(w, "localhost");
    pump(w);
    CHECK_OPEN(w);
    CHECK(br_ssl_engine_renegotiate(&the_server.context.eng));
    pump(w);
    CHECK_OPEN(w);
    /* The server takes "no" for an answer, or does not: BearSSL's ends the connection. */
    CHECK_INT(br_ssl_engine_last_error(&the_server.context.eng), BR_ERR_RECV_FATAL_ALERT + 100);
    wire_close(w);
}

/* A byte changed on the way, either way, all over the handshake and the data behind it: nothing false arrives, and
 * one side stops, or waits for the rest of a record that became longer. */
TEST(tls_damage_on_the_way_is_seen)
{
    wire *w = wire_open("ec", "good.pem", "ca.pem");
    unsigned long at, whole, handshake;
    connect_to(w, "localhost");
    pump(w);
    handshake = w->to_client;
    server_send(w, "data", 4);
    whole = w->to_client;
    disconnect(w);
    for (at = 1; at <= 2 * whole; at += 4) {
        bool to_client = at <= whole;
        size_t room;
        memset(&w->resumption, 0, sizeof w->resumption);
        w->damage_at = to_client ? at : 0;
        w->damage_server_at = to_client ? 0 : at - whole;
        w->cut = at % 3 ? 100000 : 11;
        connect_to(w, "localhost");
        pump(w);
        if (w->client->state == AIOC_TLS_OPEN) {
            CHECK(at > handshake);                /* the client is content only with what the server has said */
            CHECK(br_ssl_engine_sendapp_buf(&the_server.context.eng, &room));
            server_send(w, "data", 4);
        }
        CHECK(w->got_len == 0 || (!to_client && w->got_len == 4 && memcmp(w->got, "data", 4) == 0));
        w->client->table->ended(w->client);
        CHECK_INT(w->client->state, AIOC_TLS_FAILED);
        CHECK(w->client->why[0] != '\0');
        disconnect(w);
    }
    wire_close(w);
}

/* Random bytes in the place of some of the server's, of a fixed seed. */
TEST(tls_garbage_of_any_kind_ends)
{
    static unsigned char flight[1 << 16];
    wire *w = wire_open("rsa", "chain.pem", "ca.pem");
    uint32_t random = 42;
    size_t len, whole = 0, room;
    int run;
    unsigned char *from;
    connect_to(w, "localhost");
    while (client_to_server(w)) continue;
    while ((from = br_ssl_engine_sendrec_buf(&the_server.context.eng, &room)) != NULL) {
        memcpy(flight + whole, from, room);
        whole += room;
        br_ssl_engine_sendrec_ack(&the_server.context.eng, room);
    }
    disconnect(w);
    for (run = 0; run < 1000; run++) {
        static unsigned char copy[sizeof flight];
        size_t at, n;
        memcpy(copy, flight, whole);
        random = random * 1664525 + 1013904223;
        at = random % whole;
        for (n = 1 + (random >> 16) % 64; n > 0 && at < whole; n--, at++) {
            random = random * 1664525 + 1013904223;
            copy[at] = (unsigned char)(random >> 24);
        }
        len = run % 4 ? whole : at;
        connect_to(w, "localhost");
        hear(w, copy, len);
        CHECK(w->client->state == AIOC_TLS_HANDSHAKE || w->client->state == AIOC_TLS_FAILED);
        w->client->table->ended(w->client);
        CHECK_INT(w->client->state, AIOC_TLS_FAILED);
        CHECK(w->client->why[0] != '\0');
        disconnect(w);
    }
    wire_close(w);
}

/*------------------------------------------------------------------------------
 * Trust and memory
 *----------------------------------------------------------------------------*/

static int trust_text(const char *text, size_t len, size_t *count, size_t *skipped, char *why, size_t cap)
{
    aioc_mem memory;
    aioc_tls_trust trust;
    int result;
    memory_open(&memory);
    result = aioc_tls_bearssl.trust_open(&trust, &memory, text, len, why, cap);
    *count = trust.count;
    *skipped = trust.skipped;
    if (result == 0) aioc_tls_bearssl.trust_close(&trust, &memory);
    memory_close(&memory);
    return result;
}

TEST(tls_trust_skips_what_it_cannot_read)
{
    static char bundle[1 << 16];
    char why[256], ca[4096];
    size_t len, count, skipped;
    len = read_file("rsa", "ca.pem");
    memcpy(ca, file_text, len);
    ca[len] = '\0';

    snprintf(bundle, sizeof bundle, "# a comment\n%s-----BEGIN CERTIFICATE-----\nMIIB!!!!\n-----END CERTIFICATE-----\n"
             "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
             "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"
             "-----BEGIN CERTIFICATE-----\nMIIC\n%s-----BEGIN CERTIFICATE-----\nMIIC", ca, ca);
    CHECK_INT(trust_text(bundle, strlen(bundle), &count, &skipped, why, sizeof why), 0);
    CHECK_INT(count, 2);
    CHECK_INT(skipped, 4);

    CHECK_INT(trust_text(ca, len, &count, &skipped, why, sizeof why), 0);
    CHECK_INT(trust_text(ca, len - 1, &count, &skipped, why, sizeof why), 0);      /* no end of line at the end */
    CHECK_INT(trust_text(ca, len - 2, &count, &skipped, why, sizeof why), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(why, "trusted certificates: none of the 1 can be used");
    CHECK_INT(trust_text("", 0, &count, &skipped, why, sizeof why), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(why, "trusted certificates: no \"BEGIN CERTIFICATE\" in the text");
    CHECK_INT(trust_text("-----BEGIN CERT", 15, &count, &skipped, why, sizeof why), AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(trust_text(NULL, 0, &count, &skipped, why, sizeof why), AIOCOSMOS_E_ARGUMENT);
    CHECK_STR(why, "trust_pem: required, as no system certificates were found");
}

TEST(tls_trust_takes_no_endless_name)
{
    static aioc_tls_reader reader;
    static const char name[AIOC_TLS_NAME_MAX];
    aioc_tls_reader_name(&reader, name, sizeof name - 1);
    aioc_tls_reader_name(&reader, name, 1);
    CHECK(!reader.broken);
    aioc_tls_reader_name(&reader, name, 1);
    CHECK(reader.broken);
    CHECK_INT(reader.name_len, AIOC_TLS_NAME_MAX);
}

TEST(tls_trust_reads_any_line_ends)
{
    static char text[1 << 14];
    char why[256];
    size_t len = read_file("ec", "ca.pem"), i, n = 0, count, skipped;
    for (i = 0; i < len; i++) {
        if (file_text[i] == '\n') text[n++] = '\r';
        text[n++] = file_text[i];
    }
    CHECK_INT(trust_text(text, n, &count, &skipped, why, sizeof why), 0);
    for (i = n = 0; i < len; i++) {               /* one long line */
        if (file_text[i] != '\n') text[n++] = file_text[i];
    }
    CHECK_INT(trust_text(text, n, &count, &skipped, why, sizeof why), 0);
    CHECK_INT(count, 1);
}

TEST(tls_trust_of_many_finds_the_right_one)
{
    static char bundle[1 << 16];
    static const char *const names[] = {"other-ca.pem", "impostor-ca.pem", "self-signed.pem", "ca.pem", "wildcard.pem"};
    wire *w = wire_open("ec", "chain.pem", "ca.pem");
    char why[256];
    size_t len = 0, i;
    for (i = 0; i < 10; i++) {
        size_t more = read_file(i % 2 ? "rsa" : "ec", names[i / 2]);
        memcpy(bundle + len, file_text, more);
        len += more;
    }
    aioc_tls_bearssl.trust_close(&w->trust, &w->memory);
    CHECK_INT(aioc_tls_bearssl.trust_open(&w->trust, &w->memory, bundle, len, why, sizeof why), 0);
    CHECK_INT(w->trust.count, 10);
    CHECK_INT(w->trust.skipped, 0);
    connect_to(w, "localhost");
    pump(w);
    CHECK_OPEN(w);
    wire_close(w);
}

TEST(tls_trust_reads_the_store_of_the_system)
{
    char why[256];
    size_t len, count, skipped;
    FILE *file = fopen("/etc/ssl/certs/ca-certificates.crt", "rb");
    if (!file) SKIP("this system has no /etc/ssl/certs/ca-certificates.crt");
    len = fread(file_text, 1, sizeof file_text, file);
    fclose(file);
    CHECK_INT(trust_text(file_text, len, &count, &skipped, why, sizeof why), 0);
    CHECK(count >= 50);
    CHECK_INT(skipped, 0);
}

TEST(tls_trust_of_any_bytes_ends)
{
    static char bundle[1 << 14];
    char why[256];
    size_t len = read_file("ec", "ca.pem"), count, skipped, i;
    uint32_t random = 7;
    int run;
    for (run = 0; run < 2000; run++) {
        memcpy(bundle, file_text, len);
        for (i = 0; i < 3; i++) {
            random = random * 1664525 + 1013904223;
            bundle[(random >> 8) % len] = (char)(random >> 24);
        }
        (void)trust_text(bundle, run % 2 ? len : (random >> 8) % len, &count, &skipped, why, sizeof why);
    }
}

/* One certificate as the text that trust_open reads. */
static size_t pem_of(const unsigned char *der, size_t len, char *out)
{
    size_t n = (size_t)sprintf(out, "-----BEGIN CERTIFICATE-----\n");
    n += aioc_text_base64_encode(der, len, out + n);
    return n + (size_t)sprintf(out + n, "\n-----END CERTIFICATE-----\n");
}

/* The text is fed to BearSSL's decoder in pieces: that must say what the whole certificate at once says. */
static void trust_damaged(const char *kind)
{
    static char text[1 << 14];
    static der_file ca;
    char why[256];
    size_t bit, count, skipped, good = 0;
    read_pem(kind, "ca.pem", &ca);
    for (bit = 0; bit < ca.len * 8; bit++) {
        br_x509_decoder_context whole;
        ca.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        br_x509_decoder_init(&whole, NULL, NULL);
        br_x509_decoder_push(&whole, ca.bytes, ca.len);
        (void)trust_text(text, pem_of(ca.bytes, ca.len, text), &count, &skipped, why, sizeof why);
        ca.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        if (count + skipped != 1 || (count == 1) != (br_x509_decoder_get_pkey(&whole) != NULL)) {
            test_fail(__FILE__, __LINE__, "%s CA, bit %zu: %zu read, %zu skipped", kind, bit, count, skipped);
        }
        good += count;
    }
    CHECK(good > 0 && good < ca.len * 8);         /* names, dates, keys and signatures may be anything; lengths not */
}

TEST(tls_trust_skips_a_certificate_with_a_damaged_bit)
{
    trust_damaged("rsa");
    trust_damaged("ec");
}

/* Everything that allocates, with the nth request failing. */
TEST(tls_no_memory_fails_cleanly)
{
    unsigned long n;
    bool done = false;
    for (n = 1; !done; n++) {
        wire *w = &the_wire;
        char why[256];
        size_t len;
        memset(w, 0, sizeof *w);
        memory_open(&w->memory);
        server_init("ec", "chain.pem");
        heap_fail(&heap, n, ULONG_MAX);
        len = read_file("ec", "ca.pem");
        if (aioc_tls_bearssl.trust_open(&w->trust, &w->memory, file_text, len, why, sizeof why) == 0) {
            static const unsigned char entropy[32] = {1};
            w->config.table = &aioc_tls_bearssl;
            w->config.trust = &w->trust;
            w->cut = 100000;
            server_reset(1);
            w->client = aioc_tls_bearssl.open(&w->memory, &w->config, &w->resumption, "localhost", NOW, entropy);
            if (w->client) {
                pump(w);
                done = w->client->state == AIOC_TLS_OPEN;
                if (!done) CHECK_REFUSED(w, "no memory for the server's certificate");
            }
        } else {
            CHECK_STR(why, "no memory for the trusted certificates");
        }
        heap_recover(&heap);
        wire_close(w);
    }
    CHECK(n >= 5);
}

TEST(tls_a_session_stays_small)
{
    wire *w = wire_open("rsa", "chain.pem", "ca.pem");
    size_t before = w->memory.used, c;
    CHECK(sizeof(aioc_tls_bear) <= 40960);
    connect_to(w, "localhost");
    pump(w);
    CHECK_OPEN(w);
    CHECK(w->memory.used - w->memory.kept - before <= 40960);
    disconnect(w);
    before = w->memory.allocations;
    for (c = 0; c < 3; c++) reconnect(w, true);
    CHECK_INT(w->memory.allocations, before);     /* blocks are used again */
    wire_close(w);
}
