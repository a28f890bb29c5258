/* client_inside.h: what the tests of the whole client want of the library's inside.
 *
 * Most of them want no more than this, and share one implementation, which is compiled in shared/client.c: there
 * CLIENT_SHARED is defined, and AIOCOSMOS_IMPLEMENTED in what is linked to it. That spares the compiler two minutes. */
#ifndef CLIENT_INSIDE_H
#define CLIENT_INSIDE_H
#ifndef AIOCOSMOS_IMPLEMENTED
#define AIOCOSMOS_IMPLEMENTATION
#endif
#include "aiocosmos.h"
#include <math.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#if defined(AIOCOSMOS_IMPLEMENTATION) && !defined(CLIENT_SHARED)
#define CLIENT_INSIDE static inline
#else
#define CLIENT_INSIDE
#endif

/* Sends a request over TLS, whoever the server is, and reads until it closes. */
CLIENT_INSIDE void client_talk_tls(int fd, const char *request, void (*keep)(const void *bytes, size_t len));
/* Two lines of a head: date, and signature by the emulator's key. */
CLIENT_INSIDE void client_sign(const char *verb, const char *type, const char *link, char *out, size_t cap);
/* Of the container "c". */
CLIENT_INSIDE bool client_fetches_ranges(const aiocosmos_client *client);
CLIENT_INSIDE bool client_has_ranges(const aiocosmos_client *client);
CLIENT_INSIDE bool client_knows_ranges(const aiocosmos_client *client);
/* NULL: nothing is known of it. */
CLIENT_INSIDE const char *client_rid(const aiocosmos_client *client);
/* What a client is in bytes, and all that its sessions may hold of one container. */
CLIENT_INSIDE size_t client_size(void);
CLIENT_INSIDE size_t client_session_bytes_max(void);
CLIENT_INSIDE uint64_t client_now_us(const aiocosmos_client *client);
/* A key as the service is told it. */
CLIENT_INSIDE void client_key(aiocosmos_client *client, const aiocosmos_pk *pk, char *out, size_t cap);
/* From here on nothing is kept for the next allocation: each is one of the heap's, which can fail. */
CLIENT_INSIDE void client_keeps_nothing(aiocosmos_client *client);
/* The answers that a query holds, and the ranges that they are of. */
CLIENT_INSIDE void client_loses_answers(aiocosmos_client *client, aiocosmos_cursor query);
/* How many of its keys a query has made streams of. */
CLIENT_INSIDE uint32_t client_keys_cut(const aiocosmos_client *client, aiocosmos_cursor query);
/* Whether a change feed waits to ask again; the operation of the page that it owes. */
CLIENT_INSIDE bool client_polls(const aiocosmos_client *client, aiocosmos_cursor feed);
CLIENT_INSIDE aiocosmos_op client_page(const aiocosmos_client *client, aiocosmos_cursor cursor);
/* No more memory than it has now and so many bytes; SIZE_MAX: as its options say. */
CLIENT_INSIDE void client_limit_memory(aiocosmos_client *client, size_t more);
/* No more than it has now, and nothing kept. */
CLIENT_INSIDE void client_fill_memory(aiocosmos_client *client);
/* The rows of an answer that a reader takes at a time, and those that the first reader has taken for its page. */
CLIENT_INSIDE uint32_t client_query_slice(void);
CLIENT_INSIDE uint32_t client_page_rows(const aiocosmos_client *client);
/* The state of a change feed that skips so many rows. False: it does not fit, or is no state. */
CLIENT_INSIDE bool client_forge_skip(aiocosmos_client *client, const char *token, uint64_t skip, char *out, size_t cap);
/* Of the client's first bulk: how many operations it may have, as after answers that came soon; its requests; the
 * items packed for its first range; the answers that said to go slower; what the client keeps for bodies. */
CLIENT_INSIDE void client_bulk_allows(aiocosmos_client *client, uint32_t operations);
CLIENT_INSIDE int client_bulk_requests(const aiocosmos_client *client);
CLIENT_INSIDE int client_bulk_packed(const aiocosmos_client *client);
CLIENT_INSIDE int client_bulk_throttled(const aiocosmos_client *client);
CLIENT_INSIDE size_t client_bulk_body_cap(const aiocosmos_client *client);
CLIENT_INSIDE size_t client_bulk_bytes_max(void);

#ifdef AIOCOSMOS_IMPLEMENTATION
CLIENT_INSIDE void client_talk_tls(int fd, const char *request, void (*keep)(const void *bytes, size_t len))
{
    static const unsigned char entropy[32];
    aiocosmos_allocator none = {NULL, NULL};
    aioc_mem memory;
    aioc_tls_config config;
    aioc_tls_resumption resumption;
    aioc_tls_session *tls;
    aiocosmos_slice slice = {request, strlen(request)};
    size_t len, sent = 0;
    ptrdiff_t got = 1;
    memset(&config, 0, sizeof config);
    memset(&resumption, 0, sizeof resumption);
    config.table = &aioc_tls_bearssl;
    config.insecure = true;
    aioc_mem_init(&memory, &none, (size_t)1 << 24);
    tls = config.table->open(&memory, &config, &resumption, "localhost", time(NULL), entropy);
    while (tls && got > 0 && tls->state <= AIOC_TLS_OPEN) {
        const unsigned char *plain;
        unsigned char *room;
        if (tls->state == AIOC_TLS_OPEN && sent < slice.len)
            sent += tls->table->write(tls, (const char *)slice.ptr + sent, slice.len - sent, false);
        while ((room = tls->table->to_send(tls, &len)) != NULL && len && (got = write(fd, room, len)) > 0)
            tls->table->sent(tls, (size_t)got);
        plain = tls->table->plain(tls, &len);
        if (len) {
            keep(plain, len);
            tls->table->plain_used(tls, len);
        } else if ((room = tls->table->receive_room(tls, &len)) != NULL && (got = read(fd, room, len)) > 0) {
            tls->table->received(tls, (size_t)got);
        }
    }
    if (tls) tls->table->close(&memory, tls);
    aioc_mem_close(&memory);
}

CLIENT_INSIDE void client_sign(const char *verb, const char *type, const char *link, char *out, size_t cap)
{
    static aioc_auth_signer signer;
    time_t now = time(NULL);
    size_t bad_at;
    aiocosmos_str date, signature;
    aioc_auth_signer_set_key(&signer, aioc_mem_str(AIOCOSMOS_EMULATOR_KEY), &bad_at);
    signature = aioc_auth_sign(&signer, verb, type, aioc_mem_str(link), now);
    date = aioc_auth_signer_date(&signer, now);
    snprintf(out, cap, "x-ms-date: %.*s\r\nauthorization: %.*s\r\n", (int)date.len, date.ptr, (int)signature.len,
             signature.ptr);
}

CLIENT_INSIDE bool client_fetches_ranges(const aiocosmos_client *client)
{
    const aioc_account_container *c = aioc_account_find(&client->engine.account, aioc_mem_str("dbs/db/colls/c"));
    return c && c->knowledge == AIOC_ACCOUNT_FETCHING;
}

CLIENT_INSIDE bool client_has_ranges(const aiocosmos_client *client)
{
    const aioc_account_container *c = aioc_account_find(&client->engine.account, aioc_mem_str("dbs/db/colls/c"));
    return c && c->knowledge != AIOC_ACCOUNT_UNAVAILABLE;
}

CLIENT_INSIDE bool client_knows_ranges(const aiocosmos_client *client)
{
    const aioc_account_container *c = aioc_account_find(&client->engine.account, aioc_mem_str("dbs/db/colls/c"));
    return c && c->knowledge == AIOC_ACCOUNT_KNOWN;
}

CLIENT_INSIDE const char *client_rid(const aiocosmos_client *client)
{
    const aioc_account_container *c = aioc_account_find(&client->engine.account, aioc_mem_str("dbs/db/colls/c"));
    return c ? c->rid : NULL;
}

CLIENT_INSIDE size_t client_size(void)
{
    return sizeof(aiocosmos_client);
}

CLIENT_INSIDE size_t client_session_bytes_max(void)
{
    return AIOC_ACCOUNT_SESSION_BYTES_MAX;
}

CLIENT_INSIDE uint64_t client_now_us(const aiocosmos_client *client)
{
    return client->reactor.now_us;
}

CLIENT_INSIDE void client_key(aiocosmos_client *client, const aiocosmos_pk *pk, char *out, size_t cap)
{
    aioc_mem_buffer text = { NULL, 0, 0 };
    char why[160];
    if (aioc_protocol_pk_text(&client->memory, &text, pk, why, sizeof why) != 0) snprintf(out, cap, "%s", why);
    else snprintf(out, cap, "%.*s", (int)text.len, text.data);
    aioc_mem_buffer_free(&client->memory, &text);
}

CLIENT_INSIDE void client_keeps_nothing(aiocosmos_client *client)
{
    aioc_mem_give_back(&client->memory, 0, -1);
    client->memory.kept_max = 0;
}

CLIENT_INSIDE void client_loses_answers(aiocosmos_client *client, aiocosmos_cursor query)
{
    const aioc_page_cursor *cursor = aioc_page_find(&client->pages, query);
    aioc_range_yield(cursor->reader);
    aioc_account_forget_ranges(cursor->reader->ranges.container);
}

CLIENT_INSIDE uint32_t client_keys_cut(const aiocosmos_client *client, aiocosmos_cursor query)
{
    return aioc_page_find(&client->pages, query)->reader->keys.joined;
}

CLIENT_INSIDE bool client_polls(const aiocosmos_client *client, aiocosmos_cursor feed)
{
    return aioc_page_find(&client->pages, feed)->poll.armed;
}

CLIENT_INSIDE aiocosmos_op client_page(const aiocosmos_client *client, aiocosmos_cursor cursor)
{
    return aioc_op_handle(aioc_page_find(&client->pages, cursor)->op);
}

CLIENT_INSIDE void client_limit_memory(aiocosmos_client *client, size_t more)
{
    client->memory.max = more == SIZE_MAX ? client->options.memory_max
                                          : client->memory.used - client->memory.kept + more;
}

CLIENT_INSIDE void client_fill_memory(aiocosmos_client *client)
{
    aioc_mem_give_back(&client->memory, 0, -1);
    client->memory.max = client->memory.used;
}

CLIENT_INSIDE uint32_t client_query_slice(void)
{
    return AIOC_QUERY_SLICE;
}

CLIENT_INSIDE uint32_t client_page_rows(const aiocosmos_client *client)
{
    return (uint32_t)client->readers.first->page_rows;
}

CLIENT_INSIDE bool client_forge_skip(aiocosmos_client *client, const char *token, uint64_t skip, char *out, size_t cap)
{
    aioc_mem_buffer block = { NULL, 0, 0 }, forged = { NULL, 0, 0 };
    aioc_pos position;
    const char *why;
    bool fits = false;
    if (aioc_pos_read(&client->memory, aioc_mem_str(token), &block, &position, &why) == 0) {
        position.progress.skip = skip;
        fits = aioc_pos_write(&client->memory, &forged, &position, SIZE_MAX) == 1 && forged.len < cap;
        if (fits) snprintf(out, cap, "%.*s", (int)forged.len, forged.data);
        aioc_pos_free(&client->memory, &position);
    }
    aioc_mem_buffer_free(&client->memory, &block);
    aioc_mem_buffer_free(&client->memory, &forged);
    return fits;
}

static inline aioc_bulk *client_bulk(const aiocosmos_client *client)
{
    return (aioc_bulk *)client->bulks.bulks.first;
}

CLIENT_INSIDE void client_bulk_allows(aiocosmos_client *client, uint32_t operations)
{
    client_bulk(client)->allowed = operations;
}

CLIENT_INSIDE int client_bulk_requests(const aiocosmos_client *client)
{
    return (int)client_bulk(client)->requests;
}

CLIENT_INSIDE int client_bulk_packed(const aiocosmos_client *client)
{
    return (int)client_bulk(client)->shares[0].count;
}

CLIENT_INSIDE int client_bulk_throttled(const aiocosmos_client *client)
{
    return (int)client_bulk(client)->totals.throttled;
}

CLIENT_INSIDE size_t client_bulk_body_cap(const aiocosmos_client *client)
{
    return client->bulks.body.cap;
}

CLIENT_INSIDE size_t client_bulk_bytes_max(void)
{
    return AIOC_BULK_BYTES_MAX;
}
#endif

#endif
