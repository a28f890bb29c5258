/* sim_work.h: what the clients of a simulation do: single operations, queries, bulks (other readers: sim_readers.h,
 * random queries: sim_queries.h, transactions: sim_trades.h); and what they do to them while they are under way:
 * cancel, close, destroy. A further kind of work is one more line in sim_tasks. */
#ifndef SIM_WORK_H
#define SIM_WORK_H

#include "sim_readers.h"
#include "sim_queries.h"
#include "sim_trades.h"

/* True: something was accepted. */
typedef struct sim_task {
    const char *name;
    unsigned weight;
    bool (*start)(sim_client *client);
} sim_task;

static bool sim_start_something(sim_client *client);
static void sim_act_inside(sim_client *client);

/*------------------------------------------------------------------------------
 * One operation
 *----------------------------------------------------------------------------*/

static void sim_done(aiocosmos_client *handle, const aiocosmos_result *result, void *user_data)
{
    sim_op *op = (sim_op *)user_data;
    sim_client *client = op->client;
    sim *s = client->sim;
    aiocosmos_body taken;
    SIM_CHECK(&s->world, handle == client->client, "operation %ld is called back by another client", op->number);
    sim_check_result(s, op, result);
    if (result->body.len && sim_chance(&s->world.host, 0.1)) {
        taken = aiocosmos_result_take_body(result);
        SIM_CHECK(&s->world, !taken.text.ptr || taken.text.len == result->body.len, "a body shrinks when it is taken");
        aiocosmos_body_free(&taken);
    }
    sim_act_inside(client);
}

/* {"id":"i1","pk":"eu","w":"#12#","n":0,"pad":"..."} */
static void sim_op_document(sim_op *op)
{
    sim_random *random = &op->client->sim->world.work;
    size_t pad = (size_t)sim_magnitude(random, 1, sim_chance(random, 0.05) ? 60000 : 1500), cap = pad + 200, i;
    char ttl[32] = "";
    int len;
    op->body = (char *)malloc(cap);
    if (!op->body) abort();
    if (op->client->sim->plan.expires && sim_chance(&op->client->sim->world.readers, 0.2))
        snprintf(ttl, sizeof ttl, "\"ttl\":%u,",
                 (unsigned)sim_between(&op->client->sim->world.readers, 1, SIM_TTL_MAX));
    len = snprintf(op->body, cap, "{\"id\":\"%s\",\"pk\":%s,%s\"w\":\"#%ld#\",\"n\":0,\"pad\":\"", op->item->id,
                   sim_key_json(op->item->key), ttl, op->number);
    for (i = 0; i < pad; i++) op->body[len++] = (char)('a' + sim_below(random, 26));
    op->body[len++] = '"';
    op->body[len++] = '}';
    op->body_len = (size_t)len;
}

static void sim_op_patch(sim_op *op)
{
    op->body = (char *)malloc(128);
    if (!op->body) abort();
    op->body_len = (size_t)snprintf(op->body, 128, "[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1},{\"op\":\"set\","
                                    "\"path\":\"/w\",\"value\":\"#%ld#\"}]", op->number);
}

/* Few items, so that they meet; and now and then one that nobody else knows. */
static sim_item *sim_choose_item(sim *s, unsigned key, bool fresh)
{
    sim_random *random = &s->world.work;
    char id[32];
    if (fresh) snprintf(id, sizeof id, "fresh-%zu", s->op_count);
    else snprintf(id, sizeof id, "i %u%%", (unsigned)(sim_below(random, 3) * sim_below(random, 4)));
    return sim_item_of(s, key < SIM_KEYS ? key : (unsigned)sim_below(random, SIM_KEYS), id);
}

/* An operation on an item, of any kind, with what it carries. Key SIM_KEYS: of any. */
static sim_op *sim_choose_op(sim_client *client, bool in_bulk, unsigned key)
{
    sim *s = client->sim;
    sim_random *random = &s->world.work;
    static const uint8_t kinds[] = {
        AIOCOSMOS_READ_ITEM, AIOCOSMOS_READ_ITEM, AIOCOSMOS_READ_ITEM, AIOCOSMOS_CREATE_ITEM, AIOCOSMOS_CREATE_ITEM,
        AIOCOSMOS_UPSERT_ITEM, AIOCOSMOS_UPSERT_ITEM, AIOCOSMOS_REPLACE_ITEM, AIOCOSMOS_PATCH_ITEM,
        AIOCOSMOS_PATCH_ITEM, AIOCOSMOS_DELETE_ITEM
    };
    int kind = kinds[sim_below(random, sizeof kinds - (in_bulk ? 1 : 0))];
    bool fresh = (kind == AIOCOSMOS_CREATE_ITEM || kind == AIOCOSMOS_UPSERT_ITEM) && sim_chance(random, 0.5);
    sim_op *op = sim_op_new(client, kind, sim_choose_item(s, key, fresh));
    const sim_version *latest = sim_latest(op->item);
    if (kind == AIOCOSMOS_PATCH_ITEM) sim_op_patch(op);
    else if (op->write && kind != AIOCOSMOS_DELETE_ITEM) sim_op_document(op);
    if (latest->present && op->write && kind != AIOCOSMOS_CREATE_ITEM && sim_chance(random, 0.2)) {
        memcpy(op->if_match, latest->etag, sizeof op->if_match);
        op->leave = true;
        sim_cover(&s->world, SIM_write_if_match);
    }
    if (latest->present && !op->write && !in_bulk && sim_chance(random, 0.2))
        memcpy(op->if_none_match, latest->etag, sizeof op->if_none_match);
    return op;
}

static uint32_t sim_choose_timeout(sim_client *client)
{
    sim *s = client->sim;
    sim_random *random = &s->world.work;
    if (s->plan.waits_for_ever && sim_chance(random, 0.05)) return AIOCOSMOS_OFF;
    if (sim_chance(random, 0.85)) return 0;
    return (uint32_t)sim_magnitude(random, 1, 20000);
}

static void sim_order(sim_client *client, sim_op *op)
{
    sim_random *random = &client->sim->world.work;
    if (!sim_chance(random, 0.2)) return;
    op->order_key = sim_between(random, 1, 3);
    op->order_before = client->order_last[op->order_key];
    if (op->order_before && op->order_before->calls == 0) sim_cover(&client->sim->world, SIM_order_key_waited);
}

static bool sim_submit(sim_client *client, sim_op *op, aiocosmos_request *request)
{
    char header[48];
    const char *headers[2];
    int refused;
    snprintf(header, sizeof header, "x-sim-op: %ld", op->number);
    headers[0] = header;
    headers[1] = NULL;
    sim_order(client, op);
    request->headers = headers;
    request->order_key = op->order_key;
    request->timeout_ms = sim_choose_timeout(client);
    request->done = sim_done;
    request->user_data = op;
    sim_trace(&client->sim->world, "operation %ld: client %u submits kind %d, item %s, %zu bytes, if_match %s, "
              "order %u, timeout %u", op->number, client->number, op->kind, op->item ? op->item->id : "-", op->body_len,
              op->if_match, (unsigned)op->order_key, (unsigned)request->timeout_ms);
    refused = aiocosmos_submit(client->client, request, &op->handle);
    client->sim->net.work++;
    if (refused) {
        sim_op_refused(op, refused);
        return false;
    }
    if (op->order_key) client->order_last[op->order_key] = op;
    sim_op_accepted(op, request->timeout_ms);
    return true;
}

/* What a client has seen, as it says it itself. False: it says nothing, or not all. */
static bool sim_hand_token(sim_client *client, char token[16384])
{
    aiocosmos_str text;
    if (!client->client || client->doomed || !client->session_checked) return false;
    text = aiocosmos_session_get(client->client, NULL, SIM_CONTAINER);
    if (text.len == 0 || text.len >= 16384) return false;
    memcpy(token, text.ptr, text.len);
    token[text.len] = 0;
    sim_cover(&client->sim->world, SIM_session_token_handed_over);
    return true;
}

/* From one client to the other, for good. */
static void sim_share_session(sim_client *from, sim_client *to)
{
    char token[16384];
    sim *s = to->sim;
    unsigned i;
    if (from == to || !to->client || !to->session_checked || !sim_hand_token(from, token)) return;
    SIM_CHECK(&s->world, aiocosmos_session_merge(to->client, NULL, SIM_CONTAINER, aioc_mem_str(token)) == 0,
              "a client's own session token is refused: %s", aiocosmos_last_error(to->client));
    /* What no answer to this client has borne out goes when its replicas do not get that far. */
    for (i = 0; i < SIM_RANGES && !s->plan.faults && !s->plan.foreign_tokens && !s->plan.recreates; i++)
        if (from->lsn[i] > to->lsn[i]) to->lsn[i] = from->lsn[i];
    /* Of a container that is no more, perhaps: a newer version of a range's token hides what this one's answers say. */
    if (s->plan.recreates) to->session_checked = false;
}

static bool sim_start_item(sim_client *client)
{
    sim *s = client->sim;
    sim_op *op = sim_choose_op(client, false, SIM_KEYS);
    sim_client *other = &s->client[s->plan.clients - 1 - client->number];
    aiocosmos_request request;
    char token[16384];
    memset(&request, 0, sizeof request);
    request.kind = (aiocosmos_kind)op->kind;
    request.container = SIM_CONTAINER;
    if (op->kind != AIOCOSMOS_CREATE_ITEM && op->kind != AIOCOSMOS_UPSERT_ITEM) request.id = op->item->id;
    request.pk = aiocosmos_pk1(sim_key(op->item->key));
    request.body = emu_str(op->body, op->body_len);
    if (*op->if_match) request.if_match = aiocosmos_text(op->if_match);
    if (*op->if_none_match) request.if_none_match = aiocosmos_text(op->if_none_match);
    request.want_body = op->want_body = op->write && op->kind != AIOCOSMOS_DELETE_ITEM &&
                                        sim_chance(&s->world.work, 0.3);
    if (!op->write && client->session_checked) sim_note_seen(s, op, client->lsn);
    if (op->seen_count && other != client && sim_chance(&s->world.work, 0.2) && sim_hand_token(other, token)) {
        request.session_token = aiocosmos_text(token);           /* as a cookie carries it */
        sim_note_seen(s, op, other->lsn);
    }
    return sim_submit(client, op, &request);
}

static bool sim_start_metadata(sim_client *client)
{
    static const uint8_t kinds[] = {
        AIOCOSMOS_READ_ACCOUNT, AIOCOSMOS_READ_DATABASE, AIOCOSMOS_READ_CONTAINER, AIOCOSMOS_CREATE_DATABASE,
        AIOCOSMOS_CREATE_CONTAINER, AIOCOSMOS_DELETE_CONTAINER
    };
    sim_random *random = &client->sim->world.work;
    aiocosmos_kind kind = (aiocosmos_kind)kinds[sim_below(random, sizeof kinds)];
    bool scratch = kind == AIOCOSMOS_DELETE_CONTAINER || sim_chance(random, 0.5);
    aiocosmos_request request;
    memset(&request, 0, sizeof request);
    request.kind = kind;
    if (kind == AIOCOSMOS_READ_CONTAINER || kind >= AIOCOSMOS_CREATE_CONTAINER)
        if (kind <= AIOCOSMOS_DELETE_CONTAINER) request.container = scratch ? "scratch" : SIM_CONTAINER;
    if (kind == AIOCOSMOS_CREATE_CONTAINER) request.partition_key_paths[0] = "/pk";
    request.if_not_exists = kind == AIOCOSMOS_CREATE_DATABASE || kind == AIOCOSMOS_CREATE_CONTAINER;
    return sim_submit(client, sim_op_new(client, (int)kind, NULL), &request);
}

/* Throughput is an offer's, which is looked for first: what is read is what it was, or what somebody asked for. */
static void sim_throughput_done(aiocosmos_client *handle, const aiocosmos_result *result, void *user_data)
{
    sim_op *op = (sim_op *)user_data;
    sim *s = op->client->sim;
    int64_t ru = -1;
    (void)handle;
    sim_check_result(s, op, result);
    if (result->status == 0 && !s->plan.garbles) {
        aiocosmos_json_get_i64(aiocosmos_json_at(aiocosmos_result_json(result), "/content/offerThroughput"), &ru);
        SIM_CHECK(&s->world, ru >= 400 && ru < 3600 && ru % 100 == 0 && s->throughputs >> (ru - 400) / 100 & 1,
                  "operation %ld: a throughput of %d, which nobody asked for", op->number, (int)ru);
        SIM_CHECK(&s->world, op->kind == AIOCOSMOS_READ_THROUGHPUT || (uint32_t)ru == op->ru, "operation %ld: a "
                  "throughput of %d, not %u", op->number, (int)ru, (unsigned)op->ru);
    }
    sim_cover(&s->world, result->status ? SIM_throughput_failed :
                         op->kind == AIOCOSMOS_READ_THROUGHPUT ? SIM_throughput_read : SIM_throughput_replaced);
    sim_act_inside(op->client);
}

static bool sim_start_throughput(sim_client *client)
{
    sim *s = client->sim;
    sim_random *random = &s->world.trades;
    bool read = sim_chance(random, 0.5);
    sim_tries *tries;
    sim_op *op = sim_op_new(client, read ? AIOCOSMOS_READ_THROUGHPUT : AIOCOSMOS_REPLACE_THROUGHPUT, NULL);
    aiocosmos_request request;
    int refused;
    memset(&request, 0, sizeof request);
    request.kind = (aiocosmos_kind)op->kind;
    request.container = SIM_LIBRARY;
    if (!read) request.throughput_ru = op->ru = 400 + 100 * (uint32_t)sim_between(random, 1, 31);
    if (!read) s->throughputs |= 1u << (op->ru - 400) / 100;
    request.timeout_ms = sim_choose_timeout(client);
    request.done = sim_throughput_done;
    request.user_data = op;
    refused = aiocosmos_submit(client->client, &request, &op->handle);
    s->net.work++;
    sim_trace(&s->world, "operation %ld: client %u asks for the throughput, %u: %d", op->number, client->number,
              (unsigned)op->ru, refused);
    if (refused) {
        sim_op_refused(op, refused);
        return false;
    }
    sim_op_accepted(op, request.timeout_ms);
    tries = &client->tries[(uint32_t)op->handle.id % SIM_SLOTS];
    memset(tries, 0, sizeof *tries);
    tries->op = op->handle.id;
    tries->steps = read ? 2 : 3;             /* the container, the list of offers, the one */
    return true;
}

/*------------------------------------------------------------------------------
 * Queries
 *----------------------------------------------------------------------------*/

typedef struct sim_query {
    struct sim_query *next;
    sim_client *client;
    unsigned born;                           /* of the client: another life of it does not know the query */
    aiocosmos_cursor handle;                 /* id 0: closed, and perhaps to be resumed */
    unsigned key;                            /* SIM_KEYS: all */
    bool     listed;                         /* the key is asked for as one of several, with one that has no items */
    uint32_t page_items_max;
    bool     skip_empty, over;
    sim_op  *page;                           /* that is owed */
    bool     wild;                           /* over what is written to meanwhile, not over books */
    const char *container;
    unsigned of_container;                   /* see sim.containers */
    const struct sim_shape *shape;           /* what it makes of the books */
    size_t   last;                           /* place that was shown, plus 1 */
    uint64_t since_us;
    uint8_t *seen;                           /* how often, of each place; or of each item that was there then */
    size_t   seen_count;
    unsigned pages, failures;
    uint64_t again_us;                       /* after a refusal */
    char     continuation[AIOCOSMOS_DEFAULT_CONTINUATION_BYTES + 1];
} sim_query;

/* What a query makes of the books, each of which has its number for v. Every row has a place of its own. */
typedef struct sim_shape {
    const char *sql;
    bool   over_all;                         /* keys, and in the order of the places */
    /* SIZE_MAX: no such row can be. */
    size_t (*place)(const sim_query *query, aiocosmos_json row);
    bool   (*wanted)(unsigned key, size_t place);
} sim_shape;

static sim_query *sim_queries;               /* of the run */

static void sim_on_page(aiocosmos_client *handle, const aiocosmos_page *page, void *user_data);

/* Readers of big pages in little memory ask for some answers anew; not for most of them, again and again. */
static void sim_check_readers(sim_client *client)
{
    sim *s = client->sim;
    aiocosmos_stats stats;
    client->pages++;
    aiocosmos_get_stats(client->client, &stats);
    SIM_CHECK(&s->world, s->plan.trial != SIM_READERS || stats.attempts <= 500 + 60 * (uint64_t)client->pages,
              "%u pages took %" PRIu64 " requests", client->pages, stats.attempts);
}

static void sim_query_close(sim_query *query)
{
    if (query->handle.id) aiocosmos_cursor_close(query->client->client, query->handle);
    query->handle.id = 0;
}

/* Asks for the next page. False: not now. */
static bool sim_query_next(sim_query *query)
{
    sim_client *client = query->client;
    sim_op *op = sim_op_new(client, SIM_PAGE, NULL);
    int refused = aiocosmos_cursor_next(client->client, query->handle, sim_on_page, query);
    sim_trace(&client->sim->world, "operation %ld: client %u asks for page %u of query %" PRIx64, op->number,
              client->number, query->pages + 1, query->handle.id);
    client->sim->net.work++;
    if (refused == AIOCOSMOS_E_ARGUMENT && query->failures &&
        (client->sim->plan.garbles || client->sim->plan.breaks_memory || client->options.memory_max ||
         query->of_container != client->sim->containers)) {
        sim_query_close(query);              /* half of an answer was merged: it goes on from its continuation */
        refused = AIOCOSMOS_E_FULL;
    }
    if (refused) {
        query->again_us = client->sim->world.made.now_us + 10000;
        if (client->sim->plan.trial == SIM_READERS) sim_cover(&client->sim->world, SIM_query_waited_for_memory);
        sim_op_refused(op, refused);
        return false;
    }
    query->page = op;
    sim_op_accepted(op, 0);
    return true;
}

/* Opens it, at its beginning or where its continuation says. */
static bool sim_query_open(sim_query *query)
{
    sim_client *client = query->client;
    sim *s = client->sim;
    aiocosmos_query_request request;
    aiocosmos_pk keys[3];
    int refused;
    memset(&request, 0, sizeof request);
    request.container = query->container;
    if (query->listed) {
        keys[0] = keys[2] = aiocosmos_pk1(sim_key(query->key));
        keys[1] = aiocosmos_pk1(aiocosmos_s("of nothing"));
        request.pks = keys;
        request.pk_count = 3;
        sim_cover(&s->world, SIM_query_of_listed_keys);
    } else if (query->key < SIM_KEYS) request.pk = aiocosmos_pk1(sim_key(query->key));
    request.sql = query->shape->sql;
    request.page_items_max = query->page_items_max;
    request.skip_empty = query->skip_empty;
    if (*query->continuation) request.continuation = aiocosmos_text(query->continuation);
    refused = aiocosmos_query_open(client->client, &request, &query->handle);
    client->sim->net.work++;
    if (refused == AIOCOSMOS_E_FULL) sim_still_full(client);
    SIM_CHECK(&s->world, !refused || refused == AIOCOSMOS_E_FULL || refused == AIOCOSMOS_E_NOMEM ||
                         refused == AIOCOSMOS_E_SHUTDOWN, "a query is refused with %d: %s", refused,
              aiocosmos_last_error(client->client));
    if (refused) query->handle.id = 0;
    return refused == 0;
}

static unsigned sim_open_queries(const sim_client *client)
{
    const sim_query *query;
    unsigned count = 0;
    for (query = sim_queries; query; query = query->next)
        count += query->client == client && query->born == client->born && !query->over;
    return count;
}

static bool sim_is_of_key(unsigned key, size_t book)
{
    return key == SIM_KEYS || book % SIM_KEYS == key;
}

static size_t sim_book_place(const sim_query *query, aiocosmos_json row)
{
    aiocosmos_json number = row.type == AIOCOSMOS_JSON_OBJ ? aiocosmos_json_at(row, "/v") : row;
    int64_t v;
    bool known = aiocosmos_json_get_i64(number, &v) && v >= 0 && (uint64_t)v < query->seen_count;
    return known ? (size_t)v : SIZE_MAX;
}

static size_t sim_place_from_behind(const sim_query *query, aiocosmos_json row)
{
    size_t place = sim_book_place(query, row);
    return place == SIZE_MAX ? place : query->seen_count - 1 - place;
}

static bool sim_wants_ten(unsigned key, size_t place)
{
    return key == SIM_KEYS && place < 10;
}

static bool sim_wants_middle(unsigned key, size_t place)
{
    return key == SIM_KEYS && place >= 13 && place < 22;
}

/* What a query adds up, of the books of its key. */
static size_t sim_total_place(const sim_query *query, aiocosmos_json row)
{
    int64_t count = 0, sum = 0, n, total;
    size_t i;
    for (i = 0; i < SIM_BOOKS; i++) {
        if (!sim_is_of_key(query->key, i)) continue;
        count++;
        sum += (int64_t)i;
    }
    return aiocosmos_json_get_i64(aiocosmos_json_at(row, "/n"), &n) && n == count &&
           aiocosmos_json_get_i64(aiocosmos_json_at(row, "/sum"), &total) && total == sum ? 0 : SIZE_MAX;
}

static bool sim_wants_one(unsigned key, size_t place)
{
    (void)key;
    return place == 0;
}

static size_t sim_key_place(const sim_query *query, aiocosmos_json row)
{
    aiocosmos_json pk = row.type == AIOCOSMOS_JSON_OBJ ? aiocosmos_json_at(row, "/pk") : row;
    unsigned key;
    (void)query;
    for (key = 0; key < SIM_KEYS; key++)
        if (emu_is(emu_str(pk.ptr, pk.len), sim_key_json(key))) return key;
    return SIZE_MAX;
}

static size_t sim_group_place(const sim_query *query, aiocosmos_json row)
{
    size_t key = sim_key_place(query, row);
    int64_t n, most;
    bool right = key != SIZE_MAX && aiocosmos_json_get_i64(aiocosmos_json_at(row, "/n"), &n) &&
                 n == SIM_BOOKS / SIM_KEYS && aiocosmos_json_get_i64(aiocosmos_json_at(row, "/most"), &most) &&
                 most == (int64_t)(SIM_BOOKS - SIM_KEYS + key);
    return right ? key : SIZE_MAX;
}

static bool sim_wants_key(unsigned key, size_t place)
{
    return place < SIM_KEYS && (key == SIM_KEYS || key == place);
}

static const sim_shape sim_shapes[] = {
    { NULL, false, sim_book_place, sim_is_of_key },
    { "SELECT c.id, c.pk, c.v FROM c", false, sim_book_place, sim_is_of_key },
    { "SELECT * FROM c ORDER BY c.v", true, sim_book_place, sim_is_of_key },
    { "SELECT TOP 10 VALUE c.v FROM c ORDER BY c.v DESC", true, sim_place_from_behind, sim_wants_ten },
    { "SELECT VALUE c.v FROM c ORDER BY c.v OFFSET 13 LIMIT 9", true, sim_book_place, sim_wants_middle },
    { "SELECT COUNT(1) AS n, SUM(c.v) AS sum FROM c", false, sim_total_place, sim_wants_one },
    { "SELECT c.pk, COUNT(1) AS n, MAX(c.v) AS most FROM c GROUP BY c.pk", false, sim_group_place, sim_wants_key },
    { "SELECT DISTINCT VALUE c.pk FROM c", false, sim_key_place, sim_wants_key },
    { "SELECT DISTINCT c.id, c.pk, c.v, c.pad FROM c", false, sim_book_place, sim_is_of_key },
    { "SELECT * FROM c OFFSET 0 LIMIT 1000", false, sim_book_place, sim_is_of_key }
};

static bool sim_start_query(sim_client *client)
{
    sim *s = client->sim;
    sim_random *random = &s->world.work;
    sim_query *query = (sim_query *)calloc(1, sizeof *query);
    if (!query) abort();
    query->client = client;
    query->born = client->born;
    query->key = (unsigned)sim_below(random, SIM_KEYS + 2);
    if (query->key > SIM_KEYS) query->key = SIM_KEYS;
    query->wild = sim_chance(random, 0.3);
    query->since_us = s->world.made.now_us;
    query->of_container = s->containers;
    query->container = query->wild ? SIM_CONTAINER : SIM_LIBRARY;
    query->seen_count = query->wild ? s->item_count : SIM_BOOKS;
    if (s->plan.trial == SIM_READERS) {
        query->wild = false;
        query->container = SIM_ARCHIVE;
        query->seen_count = SIM_VOLUMES;
    }
    query->seen = (uint8_t *)calloc(query->seen_count + 1, 1);
    if (!query->seen) abort();
    query->shape = &sim_shapes[sim_below(random, 2)];
    query->page_items_max = (uint32_t)sim_between(random, 1, s->plan.trial == SIM_READERS ? 8 : 20);
    if (s->plan.trial == SIM_READERS)
        query->shape = &sim_shapes[sim_chance(&s->world.trouble, 0.3) ? 2
                                   : s->plan.numbers ? sim_between(&s->world.trouble, 8, 9) : 0];
    else if (!query->wild && sim_chance(&s->world.readers, 0.6))
        query->shape = &sim_shapes[sim_between(&s->world.readers, 2, sizeof sim_shapes / sizeof *sim_shapes - 1)];
    if (query->shape->over_all) query->key = SIM_KEYS;
    query->listed = query->key < SIM_KEYS && sim_chance(random, 0.4);
    if (!query->wild && s->plan.trial != SIM_READERS && sim_chance(&s->world.readers, 0.3))
        query->container = SIM_SHELVES;
    query->skip_empty = sim_chance(random, 0.5);
    query->next = sim_queries;
    sim_queries = query;
    if (!sim_query_open(query)) {
        query->over = true;
        return false;
    }
    sim_query_next(query);
    return true;
}

static void sim_query_give_up(sim_query *query)
{
    sim_query_close(query);
    query->over = true;
}

static void sim_query_complete(sim_query *query)
{
    sim *s = query->client->sim;
    unsigned i;
    sim_query_give_up(query);
    sim_cover(&s->world, query->wild ? SIM_query_of_changing_items : SIM_query_complete);
    if (!query->wild) sim_cover(&s->world, query->shape->over_all ? SIM_query_in_order :
                                query->shape->wanted == sim_is_of_key ? SIM_query_of_rows : SIM_query_summed_up);
    if (strcmp(query->container, SIM_SHELVES) == 0) sim_cover(&s->world, SIM_query_of_hierarchical_keys);
    if (s->plan.trial == SIM_READERS) sim_cover(&s->world, SIM_query_of_big_pages);
    if (s->plan.garbles || (query->wild && query->of_container != s->containers)) return;
    for (i = 0; i < query->seen_count && query->wild; i++) {
        const sim_version *latest = sim_latest(s->item[i]);
        if (latest->from_us > query->since_us || !latest->present) continue;
        if (query->key < SIM_KEYS && s->item[i]->key != query->key) continue;
        SIM_CHECK(&s->world, query->seen[i] == 1, "a query of key %u shows item %s of key %u, which did not change, %u "
                  "times", query->key, s->item[i]->id, s->item[i]->key, query->seen[i]);
    }
    for (i = 0; i < query->seen_count && !query->wild; i++) {
        unsigned wanted = query->shape->wanted(query->key, i);
        SIM_CHECK(&s->world, query->seen[i] == wanted, "a query of key %u, in %u pages, shows place %u %u times: %s",
                  query->key, query->pages, i, query->seen[i], query->shape->sql ? query->shape->sql : "all");
    }
}

/* Which place or item a row is. SIZE_MAX: none that there ever was. */
static size_t sim_query_which(const sim_query *query, aiocosmos_json row)
{
    const sim *s = query->client->sim;
    aiocosmos_json id = aiocosmos_json_at(row, "/id"), pk = aiocosmos_json_at(row, "/pk");
    size_t i;
    if (!query->wild) return query->shape->place(query, row);
    for (i = 0; i < s->item_count; i++)
        if (emu_is(emu_str(pk.ptr, pk.len), sim_key_json(s->item[i]->key)) && aiocosmos_json_is_str(id, s->item[i]->id))
            return i;
    return SIZE_MAX;
}

static void sim_query_read_page(sim_query *query, const aiocosmos_page *page)
{
    sim *s = query->client->sim;
    aiocosmos_json item;
    size_t which;
    memset(&item, 0, sizeof item);
    while (aiocosmos_json_next(page->items, NULL, &item)) {
        which = sim_query_which(query, item);
        SIM_CHECK(&s->world, which != SIZE_MAX || s->plan.garbles, "a query shows %.*s", (int)item.len, item.ptr);
        if (which < query->seen_count) query->seen[which]++;
        SIM_CHECK(&s->world, query->wild || !query->shape->over_all || which >= query->last || s->plan.garbles,
                  "a query shows place %zu behind %zu", which, query->last - 1);
        query->last = which + 1;
    }
    query->pages++;
    query->failures = 0;
    sim_cover(&s->world, SIM_query_page);
    SIM_CHECK(&s->world, page->continuation.len < sizeof query->continuation, "a continuation is %zu bytes long",
              page->continuation.len);
    if (page->continuation.len) memcpy(query->continuation, page->continuation.ptr, page->continuation.len);
    query->continuation[page->continuation.len] = 0;
}

static void sim_on_page(aiocosmos_client *handle, const aiocosmos_page *page, void *user_data)
{
    sim_query *query = (sim_query *)user_data;
    sim_client *client = query->client;
    sim *s = client->sim;
    sim_random *random = &s->world.work;
    SIM_CHECK(&s->world, handle == client->client && query->page, "a page comes that nobody asked for");
    sim_check_result(s, query->page, page->result);
    sim_check_readers(client);
    query->page = NULL;
    if (query->handle.id == 0) {             /* closed meanwhile */
        sim_act_inside(client);
        return;
    }
    if (page->result->status == 0) {
        sim_query_read_page(query, page);
        if (!page->more) sim_query_complete(query);
    } else {
        SIM_CHECK(&s->world, !page->more && !page->continuation.len, "a page that failed goes on");
        sim_cover(&s->world, SIM_query_page_failed);
        SIM_CHECK(&s->world, s->plan.trial != SIM_READERS || page->result->status != AIOCOSMOS_E_NOMEM,
                  "a page does not get its memory: %.*s", (int)page->result->message.len, page->result->message.ptr);
        if (++query->failures > 4) sim_query_give_up(query);
    }
    if (!query->over && sim_chance(random, 0.1)) {           /* goes on later, as another query */
        sim_query_close(query);
        sim_cover(&s->world, SIM_query_resumed);
    } else if (!query->over && sim_chance(random, 0.7)) {
        sim_query_next(query);
    }
    sim_act_inside(client);
}

/* Goes on with queries that no page is owed of. */
static void sim_tend_queries(sim_client *client)
{
    sim *s = client->sim;
    sim_query *query;
    for (query = sim_queries; query; query = query->next) {
        if (query->client != client || query->over) continue;
        if (query->born != client->born) query->over = true;
        else if (query->page && sim_chance(&s->world.work, s->plan.cancel)) {
            if (!query->handle.id) continue;
            sim_cover(&s->world, SIM_query_closed_early);
            query->page->cancelled = true;
            sim_query_give_up(query);
        } else if (!query->page && query->again_us <= s->world.made.now_us) {
            if (!query->handle.id && !sim_query_open(query)) query->over = true;
            else sim_query_next(query);
        }
    }
}

/*------------------------------------------------------------------------------
 * Bulks
 *----------------------------------------------------------------------------*/

typedef struct sim_bulk {
    struct sim_bulk *next;
    sim_client *client;
    sim_op  *op;
    unsigned to_pull, pulled, back;
    aiocosmos_bulk_totals count;             /* of what came back, by its results */
    bool     later, single;
    uint64_t later_us;
    uint32_t timeout_ms, concurrency;
} sim_bulk;

static sim_bulk *sim_bulks;                  /* of the run */

static aiocosmos_pull sim_pull(aiocosmos_client *handle, aiocosmos_bulk_item *item, void *user_data)
{
    sim_bulk *bulk = (sim_bulk *)user_data;
    sim *s = bulk->client->sim;
    sim_random *random = &s->world.work;
    sim_op *op;
    SIM_CHECK(&s->world, handle == bulk->client->client && bulk->client->inside && !bulk->op->calls,
              "a bulk pulls outside of step, or after its end");
    s->net.work++;
    if (sim_chance(&s->world.trades, 0.1) && s->plan.trial != SIM_DISTANT) sim_act_inside(bulk->client);
    if (sim_chance(random, 0.05) && !s->calm) {
        bulk->later = true;
        bulk->later_us = s->world.made.now_us + sim_magnitude(random, 1, 200000);
        return AIOCOSMOS_PULL_LATER;
    }
    if (sim_chance(random, 0.005) && s->plan.trial != SIM_STORM && s->plan.trial != SIM_DISTANT) {
        bulk->op->cancelled = true;
        bulk->to_pull = 0;
        return AIOCOSMOS_PULL_FAIL;
    }
    if (s->calm && s->plan.trial == SIM_DISTANT) bulk->to_pull = 0;
    if (bulk->to_pull == 0) return AIOCOSMOS_PULL_END;
    bulk->to_pull--;
    bulk->pulled++;
    op = sim_choose_op(bulk->client, true, SIM_KEYS);
    op->in_bulk = true;
    sim_op_accepted(op, bulk->timeout_ms);
    item->kind = (aiocosmos_kind)op->kind;
    if (op->kind != AIOCOSMOS_CREATE_ITEM && op->kind != AIOCOSMOS_UPSERT_ITEM) item->id = op->item->id;
    op->keyless = op->body && op->kind != AIOCOSMOS_PATCH_ITEM && sim_chance(&s->world.trades, 0.5);
    if (bulk->single && s->plan.trial == SIM_DISTANT) op->keyless = false;
    if (!op->keyless) item->pk = aiocosmos_pk1(sim_key(op->item->key));
    item->body = emu_str(op->body, op->body_len);
    if (*op->if_match) item->if_match = aiocosmos_text(op->if_match);
    item->item_data = op;
    sim_order(bulk->client, op);
    item->order_key = op->order_key;
    if (op->order_key) bulk->client->order_last[op->order_key] = op;
    sim_trace(&s->world, "operation %ld: pulled by bulk %ld, kind %d, item %s", op->number, bulk->op->number, op->kind,
              op->item->id);
    return AIOCOSMOS_PULL_ITEM;
}

/* A key is taken from a body unless what the container's keys are is not known. Where all is well and far away, what
 * waits to be sent loses none of its time. */
static void sim_check_bulk_item(const sim_bulk *bulk, const sim_op *op, const aiocosmos_result *result)
{
    sim *s = bulk->client->sim;
    bool lost = result->message.ptr && strstr(result->message.ptr, "pk: the container's definition: ") != NULL;
    SIM_CHECK(&s->world, result->status != AIOCOSMOS_E_ARGUMENT || (op->keyless && bulk->single && !result->attempts),
              "operation %ld was pulled, and is refused", op->number);
    SIM_CHECK(&s->world, !lost || (op->keyless && !result->attempts && result->fate == AIOCOSMOS_FATE_NOT_SENT),
              "operation %ld lacked a key, and was sent", op->number);
    if (lost) sim_cover(&s->world, SIM_bulk_key_unknown);
    SIM_CHECK(&s->world, s->plan.trial != SIM_DISTANT || result->status >= 0 || s->world.stalled_us != op->stalled_us,
              "operation %ld ends with %d, and nothing was wrong but that it is far", op->number, result->status);
    if (op->keyless && result->status == 0) sim_cover(&s->world, SIM_bulk_key_of_body);
}

static void sim_bulk_item_back(aiocosmos_client *handle, const aiocosmos_result *result, void *item_data,
                               void *user_data)
{
    sim_bulk *bulk = (sim_bulk *)user_data;
    sim_check_bulk_item(bulk, (const sim_op *)item_data, result);
    bulk->back++;
    *(result->status ? &bulk->count.failed : &bulk->count.succeeded) += 1;
    bulk->count.maybe_applied += result->status != 0 && result->fate == AIOCOSMOS_FATE_MAYBE_APPLIED;
    bulk->count.retries += result->attempts ? result->attempts - 1 : 0;
    bulk->count.throttled += result->throttled_us || (result->status == 429 && result->attempts);  /* once or more */
    bulk->client->items_told++;
    SIM_CHECK(&bulk->client->sim->world, !bulk->op->calls, "an item comes back behind the end of its bulk");
    sim_done(handle, result, item_data);
}

static void sim_check_total(sim *s, const char *what, uint64_t said, uint64_t counted)
{
    SIM_CHECK(&s->world, said == counted, "a bulk says %u: %s, and %u are", (unsigned)said, what, (unsigned)counted);
}

/* As long as nothing says that it is too much, each answer lets another operation be under way, however far the service
 * is. */
static void sim_check_growth(const sim_bulk *bulk, const aiocosmos_bulk_totals *totals)
{
    sim *s = bulk->client->sim;
    uint32_t least = (100 + bulk->back / 2) / (bulk->single ? 1 : 100);
    if (s->plan.trial != SIM_DISTANT || s->world.stalled_us != bulk->op->stalled_us) return;
    if (least > bulk->concurrency) least = bulk->concurrency;
    SIM_CHECK(&s->world, totals->concurrency >= least, "a bulk of %u items, %u at a time, came to %u only", bulk->back,
              (unsigned)bulk->concurrency, (unsigned)totals->concurrency);
    sim_cover(&s->world, SIM_bulk_of_distant_service);
}

static void sim_bulk_done(aiocosmos_client *handle, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                          void *user_data)
{
    sim_bulk *bulk = (sim_bulk *)user_data;
    sim *s = bulk->client->sim;
    (void)handle;
    sim_check_result(s, bulk->op, result);
    SIM_CHECK(&s->world, bulk->back == bulk->pulled && totals->settled == bulk->pulled,
              "a bulk pulled %u items, %u came back, it counts %u", bulk->pulled, bulk->back,
              (unsigned)totals->settled);
    sim_check_total(s, "succeeded", totals->succeeded, bulk->count.succeeded);
    sim_check_total(s, "failed", totals->failed, bulk->count.failed);
    sim_check_total(s, "may have been applied", totals->maybe_applied, bulk->count.maybe_applied);
    sim_check_total(s, "retries", totals->retries, bulk->count.retries);
    if (!s->plan.proxies && !s->plan.garbles)
        SIM_CHECK(&s->world, totals->throttled >= bulk->count.throttled, "a bulk says %u items were throttled, %u were",
                  (unsigned)totals->throttled, (unsigned)bulk->count.throttled);
    sim_trace(&s->world, "bulk %ld: %u pulled, %u throttled, %u allowed", bulk->op->number, bulk->pulled,
              (unsigned)totals->throttled, (unsigned)totals->concurrency);
    /* Who halves and pauses is refused about as often as it succeeds; who does not, five times as often and more. */
    SIM_CHECK(&s->world, s->plan.trial != SIM_STORM || totals->throttled <= 4 * bulk->pulled + 4 * bulk->concurrency,
              "a bulk of %u items, %u at a time, is throttled %u times", bulk->pulled, (unsigned)bulk->concurrency,
              (unsigned)totals->throttled);
    if (totals->throttled) sim_cover(&s->world, SIM_bulk_throttled);
    sim_check_growth(bulk, totals);
    SIM_CHECK(&s->world, result->status != 0 || bulk->to_pull == 0, "a bulk ends before its last item");
    sim_cover(&s->world, result->status ? SIM_bulk_stopped : SIM_bulk_done);
    sim_act_inside(bulk->client);
}

static bool sim_start_bulk(sim_client *client)
{
    sim *s = client->sim;
    sim_random *random = &s->world.work;
    sim_bulk *bulk = (sim_bulk *)calloc(1, sizeof *bulk);
    aiocosmos_bulk_request request;
    int refused;
    if (!bulk) abort();
    bulk->next = sim_bulks;
    sim_bulks = bulk;
    bulk->client = client;
    bulk->to_pull = (unsigned)sim_magnitude(random, 1, 60);
    bulk->timeout_ms = sim_choose_timeout(client);
    bulk->op = sim_op_new(client, SIM_BULK, NULL);
    memset(&request, 0, sizeof request);
    request.container = SIM_CONTAINER;
    bulk->concurrency = (uint32_t)sim_between(random, 0, 20);
    if (s->plan.trial == SIM_STORM) {
        bulk->to_pull = (unsigned)sim_between(&s->world.trouble, 100, 300);
        bulk->concurrency = (uint32_t)sim_between(&s->world.trouble, 16, 50);
        bulk->timeout_ms = AIOCOSMOS_OFF;
    }
    if (s->plan.trial == SIM_DISTANT) {          /* waiting, connecting and an answer are three */
        if (!client->owed) bulk->to_pull = (unsigned)sim_between(&s->world.trouble, 300, 700);
        bulk->concurrency = (uint32_t)sim_between(&s->world.trouble, 8, 150);
        bulk->timeout_ms = (uint32_t)(s->net.climate.latency_high_us * sim_between(&s->world.trouble, 70, 100) / 10000);
    }
    request.concurrency_max = bulk->concurrency;
    request.timeout_ms = bulk->timeout_ms;
    request.single_items = bulk->single = sim_chance(random, 0.4);
    if (sim_chance(random, 0.2)) request.deadline_ms = (uint32_t)sim_magnitude(random, 5, 5000);
    if (s->plan.trial == SIM_STORM || s->plan.trial == SIM_DISTANT) request.deadline_ms = 0;
    request.next = sim_pull;
    request.item_done = sim_bulk_item_back;
    request.done = sim_bulk_done;
    request.user_data = bulk;
    sim_trace(&s->world, "operation %ld: client %u starts a bulk of %u items", bulk->op->number, client->number,
              bulk->to_pull);
    refused = aiocosmos_bulk(client->client, &request, &bulk->op->handle);
    s->net.work++;
    if (refused) sim_op_refused(bulk->op, refused);
    else sim_op_accepted(bulk->op, request.deadline_ms ? request.deadline_ms : AIOCOSMOS_OFF);
    return refused == 0;
}

static void sim_tend_bulks(sim_client *client)
{
    sim *s = client->sim;
    sim_bulk *bulk;
    for (bulk = sim_bulks; bulk; bulk = bulk->next) {
        if (bulk->client != client || !bulk->later || bulk->op->calls) continue;
        if (bulk->later_us > s->world.made.now_us && !s->calm) continue;
        bulk->later = false;
        sim_cover(&s->world, SIM_bulk_waited_for_host);
        SIM_CHECK(&s->world, aiocosmos_bulk_resume(client->client, bulk->op->handle) == 0, "a bulk cannot be resumed");
    }
}

/*------------------------------------------------------------------------------
 * What is done to operations under way
 *----------------------------------------------------------------------------*/

static bool sim_cancel_one(sim_client *client)
{
    sim *s = client->sim;
    size_t back = (size_t)sim_below(&s->world.work, 40);
    sim_op *op = back < s->op_count ? s->op[s->op_count - 1 - back] : NULL;
    bool known;
    if (!op || op->client != client || op->life != client->born || !op->handle.id) return false;
    known = aiocosmos_cancel(client->client, op->handle);
    s->net.work++;
    sim_trace(&s->world, "operation %ld: cancel says %s", op->number, known ? "true" : "false");
    SIM_CHECK(&s->world, known == (op->calls == 0), "operation %ld: cancel says %s after %u callbacks", op->number,
              known ? "true" : "false", op->calls);
    op->cancelled = op->cancelled || known;
    return known;
}

/* In a callback everything is allowed but stepping. */
static void sim_act_inside(sim_client *client)
{
    sim *s = client->sim;
    sim_random *random = &s->world.work;
    if (sim_chance(random, 0.02))
        SIM_CHECK(&s->world, aiocosmos_step(client->client, 0) == AIOCOSMOS_E_REENTERED, "a step inside a callback");
    if (!sim_chance(random, s->plan.act_inside)) return;
    if (sim_chance(random, 0.5) && !s->calm && sim_start_something(client))
        sim_cover(&s->world, SIM_submit_in_callback);
    if (sim_chance(random, s->plan.cancel * 2) && sim_cancel_one(client)) sim_cover(&s->world, SIM_cancel_inside);
    if (!sim_chance(random, s->plan.destroy) || client->doomed || s->calm) return;
    sim_trace(&s->world, "client %u: destroyed inside a callback, %u are owed", client->number, client->owed);
    sim_cover(&s->world, SIM_destroy_inside);
    if (client->owed) sim_cover(&s->world, SIM_destroyed_with_pending);
    client->doomed = true;
    aiocosmos_destroy(client->client);
}

/*------------------------------------------------------------------------------
 * Choosing
 *----------------------------------------------------------------------------*/

static const sim_task sim_tasks[] = {
    { "item",     80, sim_start_item },
    { "metadata",  3, sim_start_metadata },
    { "query",     5, sim_start_query },
    { "bulk",      2, sim_start_bulk },
    { "many",      3, sim_start_many },
    { "changes",   3, sim_start_changes },
    { "trade",     4, sim_start_trade },
    { "throughput", 1, sim_start_throughput }
};

static bool sim_start_something(sim_client *client)
{
    sim *s = client->sim;
    unsigned total = 0, at;
    size_t i;
    if ((s->plan.trial == SIM_STORM || s->plan.trial == SIM_DISTANT) && !client->owed) return sim_start_bulk(client);
    if (s->plan.asks && sim_chance(&s->world.queries, s->plan.trial == SIM_QUERIES ? 0.9 : 0.2))
        return sim_start_case(client);
    if (s->plan.trial == SIM_READERS && sim_chance(&s->world.trouble, 0.5) &&
        sim_open_queries(client) < SIM_READERS_MAX) return sim_start_query(client);
    for (i = 0; i < sizeof sim_tasks / sizeof *sim_tasks; i++) total += sim_tasks[i].weight;
    at = (unsigned)sim_below(&client->sim->world.work, total);
    for (i = 0; at >= sim_tasks[i].weight; i++) at -= sim_tasks[i].weight;
    return sim_tasks[i].start(client);
}

static void sim_work_free(void)
{
    sim_readers_free();
    sim_cases_free();
    sim_trades_free();
    while (sim_queries) {
        sim_query *query = sim_queries;
        sim_queries = query->next;
        free(query->seen);
        free(query);
    }
    while (sim_bulks) {
        sim_bulk *bulk = sim_bulks;
        sim_bulks = bulk->next;
        free(bulk);
    }
}

#endif
