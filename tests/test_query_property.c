/* test_query_property.c: queries across partitions against one engine over all documents at once.
 *
 *     test_query_property                what `make test` runs
 *     test_query_property SEED COUNT     COUNT cases from SEED on; -v tells of each
 *
 * A world is a container of random documents on 1 to 16 partitions, which split and merge while pages come, behind a
 * network that delays and cuts. In some worlds network, server and memory fail now and then, too: a page that failed is
 * asked for again. A case is one random query of it, asked with random pages, parallelism and memory, and perhaps resumed
 * from its continuation token at every page, in the same client or in a new one, while somebody else writes documents
 * again. Its rows must be what the SQL engine makes of all documents in one scope: the same multiset; with ORDER BY the
 * same sequence of sort keys, rows of equal keys in any order; of TOP, OFFSET and LIMIT without a full order any choice
 * that fits. */
#ifndef BUILD_DIR
#define BUILD_DIR "build"
#endif
#if defined __GNUC__
#pragma GCC diagnostic ignored "-Wunused-function"         /* of the simulation: not all of it is needed here */
#endif
#include "sim_net.h"

#include "property_queries.h"
#include "tools/emulator/sql/sql.h"

void emu_index_scopes_of(aiocosmos_emulator *core, uint32_t items);

#ifdef __SANITIZE_ADDRESS__
#define PROP_DEFAULT_CASES 600u
#else
#define PROP_DEFAULT_CASES 6000u
#endif
#define PROP_CASES         20u           /* of one world */
#define PROP_FAILURES_MAX  5u
#define PROP_SECONDS_MAX   60u           /* for one world */
#define PROP_RESUMES_MAX   40u           /* of one case */
#define PROP_FAILED_PAGES  30u           /* of one case: then the weather is fair */
#define PROP_STEPS_MAX     1000000u      /* for one page */

/* What a run has seen: what never happens is not tested. */
#define PROP_COVERAGE(X) \
    X(ordered) X(ordered_by_several) X(descending) X(limited) X(distinct) X(distinct_ordered) X(aggregates) X(groups) \
    X(distinct_count) X(vector) X(vector_distinct) X(vector_joined) X(joined) X(part_of_the_keys) X(several_pages) \
    X(empty_page) X(resumed) X(resumed_elsewhere) X(split) X(merged) X(no_token) X(out_of_memory) \
    X(no_rows) X(thousand_rows_asked) X(many_keys) X(made_anew) X(failed_and_passed) \
    X(rough) X(page_failed) X(page_without_memory) X(opened_anew) \
    X(written_meanwhile) X(asked_by_keys)

enum {
#define PROP_NAME(name) PROP_SAW_##name,
    PROP_COVERAGE(PROP_NAME)
#undef PROP_NAME
    PROP_SAW_COUNT
};

static const char *const prop_seen_names[] = {
#define PROP_NAME(name) #name,
    PROP_COVERAGE(PROP_NAME)
#undef PROP_NAME
};

static struct {
    bool verbose;
    uint64_t cases, failed, rows, pages, requests;
    uint64_t seen[PROP_SAW_COUNT];
} prop;

#define PROP_SAW(NAME) (prop.seen[PROP_SAW_##NAME]++)

/*--- A world ---------------------------------------------------------------------*/

/* As it was stored, with the service's properties; as it was sent, and with which key. */
typedef struct prop_document { char *json, *source, *key; char epk[AIOC_PROTOCOL_EPK_MAX]; } prop_document;

typedef struct prop_world {
    sim_world world;
    sim_report report;
    sim_net net;
    sim_host host;
    sim_heap heap;
    aiocosmos_emulator *core;
    aiocosmos_client *client;
    aioc_mem memory;                     /* of the test */
    prop_document *documents;
    size_t count;
    unsigned levels;                     /* of the partition key */
    unsigned first;                      /* prop_key_paths from here on */
    bool busy;                           /* partitions split and merge by themselves */
    bool rough;                          /* network, server and memory fail now and then */
    sim_climate climate;                 /* while a case is asked; documents are stored in fair weather */
} prop_world;

static sim_random *prop_random(prop_world *w)
{
    return &w->world.work;
}

static void *prop_core_allocate(void *ptr, size_t old_size, size_t new_size, void *user)
{
    return sim_allocate(ptr, old_size, new_size, &((prop_world *)user)->world.server_heap);
}

static int64_t prop_core_now(void *user)
{
    return sim_server_ms(&((prop_world *)user)->world);
}

static void prop_open_client(prop_world *w)
{
    aiocosmos_options options;
    char why[256];
    memset(&options, 0, sizeof options);
    sim_host_init(&w->host, &w->net);
    sim_heap_init(&w->heap, &w->world, "the client");
    options.endpoint = "http://10.0.0.1:8081/";
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.allow_http = true;
    options.default_database = "D";
    options.platform = &w->host.platform;
    options.allocator.fn = sim_allocate;
    options.allocator.user_data = &w->heap;
    SIM_CHECK(&w->world, aiocosmos_create(&options, &w->client, why, sizeof why) == 0, "no client: %s", why);
    if (w->rough) w->client->memory.kept_max = 0;              /* each allocation may fail */
}

static void prop_close_client(prop_world *w)
{
    aiocosmos_destroy(w->client);
    w->client = NULL;
    sim_heap_check_empty(&w->heap);
    sim_host_free(&w->host);
}

static void prop_run(prop_world *w, const aiocosmos_request *request, const char *what)
{
    int status = aiocosmos_run(w->client, request, NULL);
    SIM_CHECK(&w->world, status == 0, "%s: %d", what, status);
}

/* As it was stored, with the service's properties, and where. */
static void prop_keep_document(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    prop_world *w = (prop_world *)user_data;
    (void)client;
    if (result->status != 0 || result->body.len == 0) return;
    w->documents[w->count].json = (char *)malloc(result->body.len + 1);
    if (!w->documents[w->count].json) abort();
    memcpy(w->documents[w->count].json, result->body.ptr, result->body.len);
    w->documents[w->count++].json[result->body.len] = 0;
}

static const char *const prop_key_paths[] = { "/pk", "/h", "/s" };

/* Where a key's documents are. Returns its JSON. */
static char *prop_find_epk(prop_world *w, const aiocosmos_pk *pk, char epk[AIOC_PROTOCOL_EPK_MAX])
{
    char *kept;
    aioc_mem_buffer text = { NULL, 0, 0 }, strings = { NULL, 0, 0 };
    aioc_protocol_pk_def def;
    aiocosmos_value levels[AIOC_PROTOCOL_PK_LEVELS];
    aiocosmos_str json;
    size_t count, len;
    char why[128];
    memset(&def, 0, sizeof def);
    def.kind = w->levels == 2 ? AIOC_PROTOCOL_MULTI_HASH : AIOC_PROTOCOL_HASH;
    def.version = 2;
    def.path_count = (uint8_t)w->levels;
    SIM_CHECK(&w->world, aioc_protocol_pk_text(&w->memory, &text, pk, why, sizeof why) == 0, "a bad key: %s", why);
    json.ptr = text.data;
    json.len = text.len;
    SIM_CHECK(&w->world, aioc_protocol_pk_components(&w->memory, &strings, json, levels, &count) &&
              aioc_protocol_epk(&def, levels, count, epk, &len), "a bad key: %.*s", (int)json.len, json.ptr);
    kept = (char *)calloc(json.len + 1, 1);
    if (!kept) abort();
    memcpy(kept, json.ptr, json.len);
    aioc_mem_buffer_free(&w->memory, &text);
    aioc_mem_buffer_free(&w->memory, &strings);
    return kept;
}

static void prop_store(prop_world *w, unsigned number)
{
    aiocosmos_request request;
    aiocosmos_str paths[2];
    aiocosmos_json_doc doc;
    prop_text text = { NULL, 0, 0 };
    size_t i, before = w->count;
    char why[128];
    prop_put_document(&text, prop_random(w), number);
    memset(&request, 0, sizeof request);
    for (i = 0; i < 2; i++) paths[i] = aioc_mem_str(prop_key_paths[w->first + i]);
    aioc_json_open(&doc, &w->memory);
    SIM_CHECK(&w->world, aioc_json_parse(&doc, text.ptr, text.len) == 0 &&
              aioc_protocol_pk_from_document(aioc_json_root(&doc), paths, w->levels, &request.pk, why, sizeof why) == 0,
              "a bad document: %s", text.ptr);
    request.kind = AIOCOSMOS_CREATE_ITEM;
    request.container = "C";
    request.body = aioc_mem_str(text.ptr);
    request.want_body = true;
    request.done = prop_keep_document;
    request.user_data = w;
    prop_run(w, &request, text.ptr);
    SIM_CHECK(&w->world, w->count == before + 1, "no document: %s", text.ptr);
    w->documents[before].key = prop_find_epk(w, &request.pk, w->documents[before].epk);
    w->documents[before].source = text.ptr;
    aioc_json_close(&doc);
}

static void prop_furnish(prop_world *w, unsigned most)
{
    aiocosmos_request request;
    unsigned count, i;
    memset(&request, 0, sizeof request);
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.container = "C";
    for (i = 0; i < w->levels; i++) request.partition_key_paths[i] = prop_key_paths[w->first + i];
    prop_run(w, &request, "a container");
    count = sim_chance(prop_random(w), 0.05) ? 0 : (unsigned)sim_magnitude(prop_random(w), 1, most);
    w->documents = (prop_document *)calloc(count + 1, sizeof *w->documents);
    if (!w->documents) abort();
    for (i = 0; i < count; i++) prop_store(w, i);
}

static void prop_forget_documents(prop_world *w)
{
    while (w->count) {
        prop_document *document = &w->documents[--w->count];
        free(document->json);
        free(document->source);
        free(document->key);
    }
    free(w->documents);
}

static void prop_be_fair(prop_world *w)
{
    sim_climate *climate = &w->net.climate;
    aiocosmos_emulator_clear_faults(w->core);
    w->heap.failing = 0;
    climate->reset = climate->refuse = climate->unreachable = climate->no_socket = climate->dead = 0;
}

/* Another container under the name, with other keys and documents. */
static void prop_make_anew(prop_world *w)
{
    aiocosmos_request request;
    prop_be_fair(w);
    memset(&request, 0, sizeof request);
    request.kind = AIOCOSMOS_DELETE_CONTAINER;
    request.container = "C";
    prop_run(w, &request, "no container");
    prop_forget_documents(w);
    w->levels = sim_chance(prop_random(w), 0.3) ? 2 : 1;
    w->first = (unsigned)sim_below(prop_random(w), 2);
    prop_furnish(w, 60);
    PROP_SAW(made_anew);
}

static void prop_choose_climate(prop_world *w)
{
    sim_random *random = &w->world.config;
    sim_climate *climate = &w->climate;
    memset(climate, 0, sizeof *climate);
    climate->latency_low_us = 50;
    climate->latency_high_us = 3000;
    climate->at_once = 0.3;
    climate->subset = 0.2;
    if (sim_chance(random, 0.3)) climate->cut_packet = 0.1;
    if (sim_chance(random, 0.3)) climate->cut_receive = 0.1;
    if (sim_chance(random, 0.5)) climate->slow = 0.1;
    climate->slow_us = 20000;
    w->net.climate = *climate;
    if (!w->rough) return;
    climate->reset = sim_chance(random, 0.7) ? 0.01 : 0;
    climate->refuse = sim_chance(random, 0.4) ? 0.1 : 0;
    climate->unreachable = sim_chance(random, 0.3) ? 0.05 : 0;
    climate->no_socket = sim_chance(random, 0.2) ? 0.05 : 0;
    climate->dead = sim_chance(random, 0.2) ? 0.001 : 0;
}

static void prop_world_open(prop_world *w, uint64_t seed)
{
    emu_options options;
    emu_shuffle shuffle;
    const char *error = "";
    memset(w, 0, sizeof *w);
    memset(&options, 0, sizeof options);
    memset(&shuffle, 0, sizeof shuffle);
    sim_world_open(&w->world, seed, &w->report, false);
    aiocosmos_request database;
    aioc_mem_init(&w->memory, NULL, SIZE_MAX);
    w->levels = sim_chance(&w->world.config, 0.3) ? 2 : 1;
    w->busy = sim_chance(&w->world.config, 0.4);
    w->rough = sim_chance(&w->world.trouble, 0.4);
    options.endpoint = "http://10.0.0.1:8081/";
    options.partitions = (int)sim_between(&w->world.config, 1, 16);
    options.any_order = true;
    options.allocate = prop_core_allocate;
    options.now_ms = prop_core_now;
    options.user_data = w;
    w->core = aiocosmos_emulator_open(&options, &error);
    SIM_CHECK(&w->world, w->core, "the emulator: %s", error);
    if (seed % 2) emu_index_scopes_of(w->core, 0);         /* else documents are too few for an index */
    sim_net_open(&w->net, &w->world, w->core);
    prop_choose_climate(w);
    prop_open_client(w);
    memset(&database, 0, sizeof database);
    database.kind = AIOCOSMOS_CREATE_DATABASE;
    prop_run(w, &database, "a database");
    prop_furnish(w, 250);
    if (!w->busy) return;
    shuffle.every = (uint32_t)sim_magnitude(&w->world.config, 3, 100);
    shuffle.max = 24;
    shuffle.busy = (uint32_t)sim_below(&w->world.config, 3);
    aiocosmos_emulator_set_shuffle(w->core, &shuffle);
}

static void prop_world_close(prop_world *w)
{
    prop.requests += w->report.requests;
    prop_close_client(w);
    sim_net_close(&w->net);
    aiocosmos_emulator_close(w->core);
    sim_heap_check_empty(&w->world.server_heap);
    sim_world_close(&w->world);
    prop_forget_documents(w);
    aioc_mem_close(&w->memory);
}

/*--- How a query is asked ------------------------------------------------------------*/

enum { PROP_KEYS = 24 };

/* One of the keys that are asked for: a document's, or how it begins. */
typedef struct prop_asked { char json[128], epk[AIOC_PROTOCOL_EPK_MAX]; unsigned levels; } prop_asked;

typedef struct prop_case {
    prop_world *w;
    uint64_t number;                     /* in its world */
    prop_query query;
    char epk_min[40], epk_max[40];       /* "": not asked for */
    prop_asked keys[PROP_KEYS];
    unsigned key_count;                  /* 0: all are asked for */
    uint32_t page_items_max, parallel_max, token_max;
    size_t memory_max;
    bool skip_empty, resumes, elsewhere, reshapes, writes;
    int fails;                           /* with this status, ranges or plans do for a while; 0: they do not */
    /* While it runs: */
    prop_list rows;
    prop_text token;
    bool came, more, failed;
    int status;
    unsigned pages, resumed, failures;
    unsigned late;                       /* failures of requests of before the fair weather may still come */
    prop_text wrong;                     /* what was wrong with a page */
    char message[300];
} prop_case;

/* Tells of a case that failed, by what it takes to see it again. */
__attribute__((format(printf, 2, 3)))
static void prop_failed(const prop_case *c, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    printf("case %" PRIu64 " of seed %" PRIu64 ": ", c->number, c->w->world.seed);
    vprintf(format, values);
    va_end(values);
    printf("\n  %s\n  @p %s, %u keys, [%s, %s), pages of %u, parallel %u, memory %zu, tokens of %u,%s%s%s%s%s\n"
           "  %zu documents, %u pages, resumed %u times\n"
           "  replay: %s/tests/test_query_property -v %" PRIu64 " %u\n", c->query.sql.ptr,
           *c->query.param ? c->query.param : "none", c->key_count, c->epk_min, c->epk_max, (unsigned)c->page_items_max,
           (unsigned)c->parallel_max, c->memory_max, (unsigned)c->token_max, c->skip_empty ? " skip empty" : "",
           c->resumes ? " resumed" : "", c->elsewhere ? " elsewhere" : "", c->reshapes ? " reshaped" : "",
           c->w->busy ? " shuffled" : "", c->w->count, c->pages, c->resumed, BUILD_DIR, c->w->world.seed, PROP_CASES);
    prop.failed++;
}

/* A place in the key space: a hash as a key may have, or a document's own. */
static void prop_choose_edge(const prop_world *w, sim_random *random, char out[40])
{
    unsigned i;
    if (w->count && sim_chance(random, 0.3)) {
        snprintf(out, 40, "%.32s", w->documents[sim_below(random, w->count)].epk);
        return;
    }
    snprintf(out, 40, "%X", (unsigned)sim_below(random, 4));
    for (i = 1; i < 32; i++) snprintf(out + i, 40 - i, "%X", (unsigned)sim_below(random, 16));
    if (sim_chance(random, 0.2)) out[2 + 2 * sim_below(random, 15)] = 0;
}

static void prop_choose_part(prop_case *c, sim_random *random)
{
    if (!sim_chance(random, 0.15)) return;
    if (sim_chance(random, 0.7)) prop_choose_edge(c->w, random, c->epk_min);
    if (!*c->epk_min || sim_chance(random, 0.7)) prop_choose_edge(c->w, random, c->epk_max);
    if (*c->epk_min && *c->epk_max &&
        aioc_protocol_epk_compare(aioc_mem_str(c->epk_min), aioc_mem_str(c->epk_max)) >= 0) *c->epk_max = 0;
    PROP_SAW(part_of_the_keys);
}

static void prop_choose_keys(prop_case *c, sim_random *random)
{
    const prop_world *w = c->w;
    unsigned i, count = (unsigned)sim_magnitude(random, 1, PROP_KEYS);
    if (w->count == 0 || *c->epk_min || *c->epk_max || !sim_chance(random, 0.2)) return;
    for (i = 0; i < count; i++) {
        const prop_document *document = &w->documents[sim_below(random, w->count)];
        prop_asked *key = &c->keys[i];
        key->levels = 1 + (unsigned)sim_below(random, w->levels);
        snprintf(key->json, sizeof key->json, "%s", document->key);
        snprintf(key->epk, sizeof key->epk, "%.*s", (int)key->levels * 32, document->epk);
    }
    c->key_count = count;
    PROP_SAW(asked_by_keys);
}

/* A key as a request has it: its levels are parts of the text. */
static aiocosmos_pk prop_pk_of(prop_case *c, const prop_asked *key)
{
    aiocosmos_json_doc doc;
    aiocosmos_json level = aioc_json_none();
    aiocosmos_pk pk;
    unsigned i;
    memset(&pk, 0, sizeof pk);
    aioc_json_open(&doc, &c->w->memory);
    SIM_CHECK(&c->w->world, aioc_json_parse(&doc, key->json, strlen(key->json)) == 0, "a bad key: %s", key->json);
    for (i = 0; i < key->levels && aioc_json_next(aioc_json_root(&doc), NULL, &level); i++)
        pk.level[i] = level.type == AIOCOSMOS_JSON_OBJ ? aiocosmos_none() : aiocosmos_json_text(level.ptr, level.len);
    aioc_json_close(&doc);
    return pk;
}

static void prop_choose_case(prop_case *c, prop_world *w, uint64_t number)
{
    static const uint32_t sizes[] = { 1, 2, 3, 5, 10, 30, 100, 1000 };
    static const int statuses[] = { 429, 503, 403, 404 };
    sim_random *random = prop_random(w);
    memset(c, 0, sizeof *c);
    c->w = w;
    c->number = number;
    prop_make_query(&c->query, random);
    prop_choose_part(c, random);
    prop_choose_keys(c, random);
    c->page_items_max = sim_chance(random, 0.1) ? 0 : sizes[sim_below(random, sizeof sizes / sizeof *sizes)];
    if (w->count > 100 && c->page_items_max && c->page_items_max < 3) c->page_items_max = 7;
    c->parallel_max = sim_chance(random, 0.2) ? 0 : 1 + (uint32_t)sim_below(random, 20);
    c->memory_max = sim_chance(random, 0.7) ? 0 : (size_t)sim_magnitude(random, 1, 100000);
    c->token_max = sim_chance(random, 0.9) ? 0 : (uint32_t)sim_magnitude(random, 1, 4000);
    c->skip_empty = sim_chance(random, 0.5);
    c->resumes = sim_chance(random, 0.5);
    c->elsewhere = c->resumes && sim_chance(random, 0.3);
    c->reshapes = sim_chance(random, 0.4);
    if (sim_chance(random, 0.1)) c->fails = statuses[sim_below(random, sizeof statuses / sizeof *statuses)];
    if (c->page_items_max == 1000) PROP_SAW(thousand_rows_asked);
    c->writes = !strchr(c->query.sql.ptr, '*') && sim_chance(&w->world.trouble, 0.3);
}

static void prop_page_came(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    prop_case *c = (prop_case *)user_data;
    aiocosmos_json row;
    uint32_t token_max = c->token_max ? c->token_max : AIOCOSMOS_DEFAULT_CONTINUATION_BYTES;
    (void)client;
    c->came = true;
    c->pages++;
    c->more = page->more;
    c->status = page->result->status;
    snprintf(c->message, sizeof c->message, "%.*s", (int)page->result->message.len, page->result->message.ptr);
    if (c->status) return;
    c->token.len = 0;
    memset(&row, 0, sizeof row);
    while (aioc_json_next(page->items, NULL, &row)) {
        prop_text text = { NULL, 0, 0 };
        prop_put_value(&text, row);
        prop_add(&c->rows, &text);
    }
    prop_put_bytes(&c->token, page->continuation.ptr, page->continuation.len);
    if (page->item_count == 0) PROP_SAW(empty_page);
    if (c->page_items_max && page->item_count > c->page_items_max) prop_put_text(&c->wrong, "a page has too many rows");
    if (page->item_count == 0 && page->more && c->skip_empty && page->result->latency_us < 20000000u)
        prop_put_text(&c->wrong, "an empty page was not skipped");
    if (page->continuation.len > token_max && !c->w->rough)  /* the service's, if a plan was refused with 500 */
        prop_put_text(&c->wrong, "a token is longer than allowed");
    if (!page->more && page->continuation.len) prop_put_text(&c->wrong, "the last page has a token");
    if (page->more && !page->continuation.len) {
        PROP_SAW(no_token);
        if (!c->query.stateful && !c->token_max) prop_put_text(&c->wrong, "a page that is not the last has no token");
    }
}

static bool prop_open(prop_case *c, aiocosmos_cursor *query)
{
    aiocosmos_query_request request;
    aiocosmos_param param;
    aiocosmos_pk keys[PROP_KEYS];
    unsigned i;
    int refused;
    memset(&request, 0, sizeof request);
    for (i = 0; i < c->key_count; i++) keys[i] = prop_pk_of(c, &c->keys[i]);
    request.pks = c->key_count ? keys : NULL;
    request.pk_count = c->key_count;
    param.name = "@p";
    param.value = aiocosmos_json_text(c->query.param, strlen(c->query.param));
    request.container = "C";
    request.sql = c->query.sql.ptr;
    request.params = &param;
    request.param_count = *c->query.param ? 1 : 0;
    request.epk_min = *c->epk_min ? c->epk_min : NULL;
    request.epk_max = *c->epk_max ? c->epk_max : NULL;
    request.page_items_max = c->page_items_max;
    request.parallel_max = c->parallel_max;
    request.memory_max = c->memory_max;
    request.continuation_bytes_max = c->token_max;
    request.skip_empty = c->skip_empty;
    request.continuation = aiocosmos_text(c->token.len ? c->token.ptr : NULL);
    do refused = aiocosmos_query_open(c->w->client, &request, query);
    while (refused == AIOCOSMOS_E_NOMEM && c->w->heap.failing > 0);
    if (refused == 0) return true;
    prop_failed(c, "refused: %s", aiocosmos_last_error(c->w->client));
    return false;
}

/* What would fail the same way again has ended, such as an answer of which half was taken when memory was out: it goes on
 * behind its last page. */
static bool prop_open_anew(prop_case *c, aiocosmos_cursor *query)
{
    PROP_SAW(opened_anew);
    c->failed = false;
    aiocosmos_cursor_close(c->w->client, *query);
    if (!c->token.len) prop_clear(&c->rows);
    return prop_open(c, query);
}

static int prop_ask_next(prop_case *c, aiocosmos_cursor query)
{
    int refused;
    do refused = aiocosmos_cursor_next(c->w->client, query, prop_page_came, c);
    while (refused == AIOCOSMOS_E_NOMEM && c->w->heap.failing > 0);
    return refused;
}

static bool prop_next(prop_case *c, aiocosmos_cursor *query)
{
    unsigned steps = 0;
    int refused;
    c->came = false;
    refused = prop_ask_next(c, *query);
    if (refused == AIOCOSMOS_E_ARGUMENT && c->failed) {
        if (!prop_open_anew(c, query)) return false;
        refused = prop_ask_next(c, *query);
    }
    if (refused) {
        prop_failed(c, "no next page: %s", aiocosmos_last_error(c->w->client));
        return false;
    }
    while (!c->came && steps++ < PROP_STEPS_MAX) aiocosmos_step(c->w->client, 1000);
    if (!c->came) prop_failed(c, "a page does not come");
    else if (c->wrong.len) prop_failed(c, "%s", c->wrong.ptr);
    return c->came && !c->wrong.len;
}

/* What the service says of a request that it has not done, or that was answered in vain. */
static void prop_add_fault(prop_case *c)
{
    static const char *const rules[] = {
        "status=429,retry_after_ms=30", "status=429,retry_after_ms=2000", "status=449", "status=503", "status=500",
        "status=410,sub_status=1002", "status=410,sub_status=1007", "status=410,sub_status=1000", "status=408",
        "status=404,sub_status=1002", "status=403,sub_status=3", "status=502,when=after", "action=reset,when=after",
        "action=close,when=before", "action=truncate,at=40", "action=chunked", "action=html,status=502", "delay_ms=300"
    };
    sim_random *random = &c->w->world.trouble;
    char rule[200], why[160];
    snprintf(rule, sizeof rule, "%s,probability=%s,seed=%u,count=%u", PROP_PICK(random, rules),
             sim_chance(random, 0.3) ? "1" : "0.2", (unsigned)sim_below(random, 1000000),
             (unsigned)sim_magnitude(random, 1, 40));
    SIM_CHECK(&c->w->world, aiocosmos_emulator_fault(c->w->core, rule, why, sizeof why), "%s: %s", rule, why);
}

static void prop_begin_trouble(prop_case *c)
{
    sim_random *random = &c->w->world.trouble;
    if (!c->w->rough || c->failures > PROP_FAILED_PAGES) return;
    c->w->net.climate = c->w->climate;
    if (sim_chance(random, 0.5)) prop_add_fault(c);
    if (sim_chance(random, 0.3)) c->w->heap.failing = 1.0 / (double)sim_magnitude(random, 5, 500);
    PROP_SAW(rough);
}

static unsigned prop_under_way(const prop_world *w)
{
    const aioc_range_reader *reader = w->client->readers.first;
    unsigned requests = 0;
    for (; reader; reader = reader->next) requests += reader->in_flight;
    return requests;
}

/* A page that failed may be asked for again; in the end in fair weather, where it comes, unless a request fails it that was
 * under way when the weather turned: each of them may. */
static bool prop_bear(prop_case *c)
{
    if (!c->w->rough || !c->status) return false;
    if (c->failures > PROP_FAILED_PAGES && c->late-- == 0) return false;
    if (c->status == AIOCOSMOS_E_TOO_LARGE || c->status == AIOCOSMOS_E_ARGUMENT) return false;
    c->failed = true;
    if (c->status == AIOCOSMOS_E_NOMEM) PROP_SAW(page_without_memory);
    PROP_SAW(page_failed);
    if (c->failures == PROP_FAILED_PAGES) c->late = prop_under_way(c->w);
    if (c->failures++ >= PROP_FAILED_PAGES || sim_chance(&c->w->world.trouble, 0.1)) prop_be_fair(c->w);
    c->status = 0;
    c->more = true;
    return true;
}

/* Somebody else writes documents, as they are: what is read of them is the same, but for what is the service's. */
static void prop_write_meanwhile(prop_case *c)
{
    prop_world *w = c->w;
    prop_document *document;
    emu_fault *faults = w->core->faults;
    if (!c->w->count || !c->writes || !sim_chance(&w->world.trouble, 0.5)) return;
    document = &w->documents[sim_below(&w->world.trouble, w->count)];
    w->core->faults = NULL;
    free(document->json);
    document->json = sim_server_does(&w->world, w->core, "POST", "/dbs/D/colls/C/docs", "docs", "dbs/D/colls/C",
                                     document->key, document->source);
    w->core->faults = faults;
    PROP_SAW(written_meanwhile);
}

/* Between two pages: the partitions may be others. */
static void prop_reshape(prop_case *c)
{
    sim_random *random = prop_random(c->w);
    emu_container *container;
    char id[16];
    uint32_t count;
    if (!c->reshapes || !sim_chance(random, 0.5)) return;
    container = emu_find_container(emu_find_database(&c->w->core->store, aioc_mem_str("D")), aioc_mem_str("C"));
    count = container->range_count;
    snprintf(id, sizeof id, "%s", container->range[sim_below(random, count)]->id);
    if (sim_chance(random, count < 4 ? 1 : count > 20 ? 0 : 0.6)) {
        if (aiocosmos_emulator_split(c->w->core, "D", "C", id)) PROP_SAW(split);
    } else if (aiocosmos_emulator_merge(c->w->core, "D", "C", id)) {
        PROP_SAW(merged);
    }
}

/* A client that knows nothing yet meets failures of what it needs to plan. */
static void prop_begin_failing(prop_case *c)
{
    static const char *const kinds[] = { "list_ranges", "plan_items", "read_container" };
    char rule[160], why[160];
    if (!c->fails) return;
    prop_close_client(c->w);
    prop_open_client(c->w);
    snprintf(rule, sizeof rule, "{\"kind\":\"%s\",\"status\":%d,\"retry_after_ms\":20}",
             PROP_PICK(prop_random(c->w), kinds), c->fails);
    SIM_CHECK(&c->w->world, aiocosmos_emulator_fault(c->w->core, rule, why, sizeof why), "%s: %s", rule, why);
}

/* What failed works again: the query goes on. */
static bool prop_end_failing(prop_case *c)
{
    bool failed = c->fails && c->status == c->fails;
    if (failed) {
        PROP_SAW(failed_and_passed);
        c->status = 0;
        c->more = true;
        c->fails = 0;
        aiocosmos_emulator_clear_faults(c->w->core);
    }
    return failed;
}

/* Behind a page: goes on with its token in place of the open query. */
static bool prop_resume(prop_case *c, aiocosmos_cursor *query)
{
    if (!c->resumes || !c->token.len || c->resumed >= PROP_RESUMES_MAX) return true;
    aiocosmos_cursor_close(c->w->client, *query);
    c->resumed++;
    PROP_SAW(resumed);
    if (c->elsewhere) {
        PROP_SAW(resumed_elsewhere);
        prop_close_client(c->w);
        prop_open_client(c->w);
    }
    return prop_open(c, query);
}

/* All rows into c->rows. False: it has failed, and been told of. */
static bool prop_ask(prop_case *c)
{
    aiocosmos_cursor query;
    bool ok;
    prop_begin_failing(c);
    ok = prop_open(c, &query);
    if (!ok) return false;
    do {
        prop_begin_trouble(c);
        ok = prop_next(c, &query);
        if (ok && prop_end_failing(c)) continue;
        if (ok && c->status == AIOCOSMOS_E_TOO_LARGE && c->memory_max && c->query.stateful) break;
        if (ok && prop_bear(c)) continue;
        if (ok && c->status) prop_failed(c, "%d: %s", c->status, c->message);
        if (c->status) ok = false;
        if (ok && c->more) prop_reshape(c);
        if (ok && c->more) prop_write_meanwhile(c);
        if (ok && c->more) ok = prop_resume(c, &query);
    } while (ok && c->more);
    aiocosmos_cursor_close(c->w->client, query);
    prop_be_fair(c->w);
    return ok;
}

/*--- What the answer must be ---------------------------------------------------------------*/

typedef struct prop_row { prop_key key[PROP_COLUMNS_MAX]; char *text; } prop_row;

typedef struct prop_truth {
    prop_world *w;
    const prop_query *query;
    prop_row *rows;
    size_t count, cap;
} prop_truth;

static void prop_add_row(prop_truth *truth, aiocosmos_json keys, aiocosmos_json payload)
{
    prop_text text = { NULL, 0, 0 };
    prop_row *row;
    aiocosmos_json key;
    unsigned i;
    truth->rows = (prop_row *)sim_grow(truth->rows, truth->count, &truth->cap, sizeof *truth->rows);
    row = &truth->rows[truth->count++];
    memset(row, 0, sizeof *row);
    memset(&key, 0, sizeof key);
    for (i = 0; i < truth->query->columns; i++) {
        aioc_json_next(keys, NULL, &key);
        row->key[i] = prop_key_of(aioc_json_at(key, "/item"));
    }
    prop_put_value(&text, payload);
    row->text = text.ptr;
}

static void prop_truth_row(void *user, const char *json, size_t len)
{
    prop_truth *truth = (prop_truth *)user;
    aiocosmos_json_doc doc;
    aiocosmos_json root, payload;
    aioc_json_open(&doc, &truth->w->memory);
    SIM_CHECK(&truth->w->world, aioc_json_parse(&doc, json, len) == 0, "the engine's row is no JSON");
    root = aioc_json_root(&doc);
    payload = truth->query->keyed ? aioc_json_at(root, "/p") : root;
    if (payload.type != AIOCOSMOS_JSON_NONE) prop_add_row(truth, aioc_json_at(root, "/k"), payload);
    aioc_json_close(&doc);
}

/* Arrays have an order that only the service knows, and behind it further columns say nothing; so have objects. */
static int prop_compare_row_keys(const prop_query *query, const prop_row *a, const prop_row *b)
{
    unsigned i;
    int order = 0;
    for (i = 0; i < query->columns && order == 0; i++) {
        order = prop_compare_keys(&a->key[i], &b->key[i]);
        if (query->descending[i]) order = -order;
        if (order == 0 && a->key[i].type >= PROP_ARRAY) break;
    }
    return order;
}

static const prop_query *prop_sorting;

static int prop_compare_rows(const void *a, const void *b)
{
    const prop_row *one = (const prop_row *)a, *other = (const prop_row *)b;
    int order = prop_compare_row_keys(prop_sorting, one, other);
    return order ? order : strcmp(one->text, other->text);
}

static bool prop_in_part(const prop_case *c, const prop_document *document)
{
    aiocosmos_str epk = aioc_mem_str(document->epk);
    unsigned i;
    for (i = 0; i < c->key_count; i++)
        if (strncmp(document->epk, c->keys[i].epk, strlen(c->keys[i].epk)) == 0) return true;
    return c->key_count == 0 && aioc_protocol_epk_compare(aioc_mem_str(c->epk_min), epk) <= 0 &&
           (!*c->epk_max || aioc_protocol_epk_compare(epk, aioc_mem_str(c->epk_max)) < 0);
}

static void prop_row_free(prop_row *row)
{
    unsigned i;
    for (i = 0; i < PROP_COLUMNS_MAX; i++) free(row->key[i].units);
    free(row->text);
}

/* Of rows that are the same, the first stays. */
static void prop_keep_distinct(prop_truth *truth)
{
    size_t i, k, kept = 0;
    for (i = 0; i < truth->count; i++) {
        for (k = 0; k < kept && strcmp(truth->rows[k].text, truth->rows[i].text) != 0; k++) continue;
        if (k < kept) prop_row_free(&truth->rows[i]);
        else truth->rows[kept++] = truth->rows[i];
    }
    truth->count = kept;
}

/* What the engine makes of all documents, sorted by the keys. */
static void prop_find_truth(const prop_case *c, prop_truth *truth)
{
    prop_text body = { NULL, 0, 0 };
    emu_sql_error error;
    emu_sql_query *query;
    emu_sql_run *run;
    size_t i;
    memset(truth, 0, sizeof *truth);
    truth->w = c->w;
    truth->query = &c->query;
    prop_put_text(&body, "{\"query\":");
    prop_put_quoted(&body, c->query.truth.ptr);
    if (*c->query.param) prop_put(&body, ",\"parameters\":[{\"name\":\"@p\",\"value\":%s}]", c->query.param);
    prop_put_text(&body, "}");
    query = emu_sql_prepare(body.ptr, body.len, SIM_BASE_MS, NULL, &error);
    SIM_CHECK(&c->w->world, query, "%s: %s", c->query.truth.ptr, error.message);
    run = emu_sql_start(query, prop_truth_row, truth);
    SIM_CHECK(&c->w->world, run, "no memory");
    for (i = 0; i < c->w->count; i++) {
        const prop_document *document = &c->w->documents[i];
        if (prop_in_part(c, document) && emu_sql_feed(run, document->json, strlen(document->json)) != 0) break;
    }
    SIM_CHECK(&c->w->world, emu_sql_finish(run) == 0, "%s: %s", c->query.truth.ptr, emu_sql_run_error(run)->message);
    emu_sql_stop(run);
    emu_sql_free(query);
    prop_free(&body);
    prop_sorting = &c->query;
    if (truth->count) qsort(truth->rows, truth->count, sizeof *truth->rows, prop_compare_rows);
    if (c->query.distinct) prop_keep_distinct(truth);
}

static void prop_truth_free(prop_truth *truth)
{
    while (truth->count) prop_row_free(&truth->rows[--truth->count]);
    free(truth->rows);
}

/* Whether the rows given, from `first` on, are `count` of those in [low, high), all of one key; each at most as often
 * as it is there. NULL, or one that is too much. */
static const char *prop_check_class(prop_case *c, const prop_truth *truth, size_t low, size_t high, size_t first,
                                    size_t count)
{
    char **given = c->rows.at + first;
    size_t i;
    if (count == 0) return NULL;
    qsort(given, count, sizeof *given, prop_compare_texts);
    for (i = 0; i < count; i++) {
        while (low < high && strcmp(truth->rows[low].text, given[i]) < 0) low++;
        if (low == high || strcmp(truth->rows[low].text, given[i]) != 0) return given[i];
        low++;
    }
    return NULL;
}

static bool prop_check_rows(prop_case *c, const prop_truth *truth)
{
    const prop_query *q = &c->query;
    uint64_t skip = q->skip < truth->count ? q->skip : truth->count;
    uint64_t end = q->take < truth->count - skip ? skip + q->take : truth->count;
    size_t low, high, given = 0;
    if (c->rows.count != end - skip) {
        prop_failed(c, "%zu rows, not %" PRIu64, c->rows.count, end - skip);
        return false;
    }
    for (low = 0; low < end; low = high) {
        size_t from, to;
        const char *wrong;
        for (high = low + 1; high < truth->count; high++)
            if (prop_compare_row_keys(q, &truth->rows[low], &truth->rows[high]) != 0) break;
        from = low > skip ? low : (size_t)skip;
        to = high < end ? high : (size_t)end;
        if (to <= from) continue;
        wrong = prop_check_class(c, truth, low, high, given, to - from);
        if (wrong) {
            prop_failed(c, "rows %zu to %zu: %s is not one of them, or once too often; such as %s is", given,
                        given + to - from - 1, wrong, truth->rows[low].text);
            return false;
        }
        given += to - from;
    }
    return true;
}

/*--- Cases, worlds, runs --------------------------------------------------------------------*/

static void prop_note(const prop_case *c)
{
    const prop_query *q = &c->query;
    unsigned i;
    prop.rows += c->rows.count;
    prop.pages += c->pages;
    if (q->shape == PROP_ROWS && q->columns) PROP_SAW(ordered);
    if (q->columns > 1) PROP_SAW(ordered_by_several);
    for (i = 0; i < q->columns && q->shape == PROP_ROWS; i++)
        if (q->descending[i]) PROP_SAW(descending);
    if (q->take != UINT64_MAX) PROP_SAW(limited);
    if (q->distinct) PROP_SAW(distinct);
    if (q->distinct && q->columns) PROP_SAW(distinct_ordered);
    if (q->shape == PROP_AGGREGATES) PROP_SAW(aggregates);
    if (q->shape == PROP_GROUPS) PROP_SAW(groups);
    if (q->shape == PROP_DISTINCT_COUNT) PROP_SAW(distinct_count);
    if (q->shape == PROP_VECTOR) PROP_SAW(vector);
    if (q->shape == PROP_VECTOR && q->distinct) PROP_SAW(vector_distinct);
    if (q->shape == PROP_VECTOR && strstr(q->sql.ptr, "JOIN")) PROP_SAW(vector_joined);
    if (strstr(q->sql.ptr, "JOIN")) PROP_SAW(joined);
    if (c->pages > 1) PROP_SAW(several_pages);
    if (c->rows.count == 0) PROP_SAW(no_rows);
    if (q->many_keys) PROP_SAW(many_keys);
    if (c->status == AIOCOSMOS_E_TOO_LARGE) PROP_SAW(out_of_memory);
}

static void prop_answer_case(prop_case *c)
{
    prop_truth truth;
    if (!prop_ask(c)) return;
    prop_note(c);
    prop_find_truth(c, &truth);
    if (c->status == 0) prop_check_rows(c, &truth);
    prop_truth_free(&truth);
}

static void prop_run_case(prop_world *w, uint64_t number)
{
    prop_case c;
    prop_choose_case(&c, w, number);
    if (prop.verbose) printf("%" PRIu64 "/%" PRIu64 ": %s\n", w->world.seed, number, c.query.sql.ptr);
    prop.cases++;
    prop_answer_case(&c);
    /* The same query, of another container, whose keys may be elsewhere. */
    if (sim_chance(prop_random(w), strstr(c.query.sql.ptr, "c.pk = ") ? 0.4 : 0.04)) {
        prop_make_anew(w);
        c.key_count = 0;
        prop_choose_keys(&c, prop_random(w));
        prop_clear(&c.rows);
        c.token.len = c.pages = c.resumed = c.failures = 0;
        prop_answer_case(&c);
    }
    prop_clear(&c.rows);
    prop_free(&c.token);
    prop_free(&c.wrong);
    prop_query_free(&c.query);
}

static void prop_run_world(uint64_t seed, uint64_t cases)
{
    static prop_world world;
    uint64_t i;
    sim_limit_seconds(PROP_SECONDS_MAX);
    prop_world_open(&world, seed);
    for (i = 0; i < cases && prop.failed < PROP_FAILURES_MAX; i++) prop_run_case(&world, i);
    prop_world_close(&world);
    sim_limit_seconds(0);
}

static void prop_on_signal(int number)
{
    char line[160];
    int len = snprintf(line, sizeof line, "seed %" PRIu64 ": stopped by signal %d\n",
                       sim_running ? sim_running->seed : 0, number);
    if (write(STDOUT_FILENO, line, (size_t)len) < 0) _exit(3);
    _exit(1);
}

static unsigned prop_print_seen(bool whole)
{
    unsigned i, missing = 0;
    for (i = 0; i < PROP_SAW_COUNT; i++) {
        printf("  %-24s %8" PRIu64 "%s", prop_seen_names[i], prop.seen[i], i % 2 ? "\n" : "");
        if (whole && prop.seen[i] == 0) missing++;
    }
    printf("%s", PROP_SAW_COUNT % 2 ? "\n" : "");
    for (i = 0; i < PROP_SAW_COUNT && missing; i++)
        if (prop.seen[i] == 0) printf("%s never happened: the run has stopped testing it\n", prop_seen_names[i]);
    return missing;
}

int main(int argc, char **argv)
{
    static const int fatal[] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGPROF };
    uint64_t seed = 1, count = PROP_DEFAULT_CASES, left;
    bool whole = argc == 1;
    size_t i;
    for (i = 0; i < sizeof fatal / sizeof *fatal; i++) signal(fatal[i], prop_on_signal);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1 && strcmp(argv[1], "-v") == 0) prop.verbose = true, argc--, argv++;
    if (argc > 1) seed = strtoull(argv[1], NULL, 10);
    if (argc > 2) count = strtoull(argv[2], NULL, 10);
    printf("seed %" PRIu64 ", %" PRIu64 " cases\n", seed, count);
    for (left = count; left && prop.failed < PROP_FAILURES_MAX; seed++) {
        uint64_t cases = left < PROP_CASES ? left : PROP_CASES;
        prop_run_world(seed, cases);
        left -= cases;
    }
    printf("%" PRIu64 " cases, %" PRIu64 " pages, %" PRIu64 " rows, %" PRIu64 " requests\n", prop.cases, prop.pages,
           prop.rows, prop.requests);
    if (prop.failed == 0) prop.failed += prop_print_seen(whole);
    printf("test_query_property: %" PRIu64 " passed, %" PRIu64 " failed\n", prop.cases - prop.failed, prop.failed);
    return prop.failed ? 1 : 0;
}
