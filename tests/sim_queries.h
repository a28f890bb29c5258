/* sim_queries.h: random queries across partitions, of a collection of random documents, while everything goes on that a
 * simulation has: partitions split and merge, requests fail, clients end and begin, somebody else writes the documents
 * again, or makes the collection anew.
 *
 * What a query has shown in the end must be what the SQL engine makes of all documents in one scope: the same
 * multiset; with ORDER BY the same sequence of sort keys, rows of equal keys in any order; of TOP, OFFSET and LIMIT
 * without a full order any choice that fits. It may be asked page by page, with its continuation token in place of an
 * open cursor, in the same client or in another one. */
#ifndef SIM_QUERIES_H
#define SIM_QUERIES_H

#include "property_queries.h"
#include "sim_model.h"
#include "tools/emulator/sql/sql.h"

void emu_index_scopes_of(aiocosmos_emulator *core, uint32_t items);

static void sim_act_inside(sim_client *client);

#define SIM_COLLECTION       "docs"
#define SIM_COLLECTION_LINK  "dbs/" SIM_DATABASE "/colls/" SIM_COLLECTION
#define SIM_PAPERS           250             /* documents of a collection, at most */
#define SIM_CASE_KEYS        24              /* partition keys that one query may ask for */
#define SIM_CASE_RESUMES     40
#define SIM_CASE_FAILURES    20              /* then it is given up, where requests may fail */

/*------------------------------------------------------------------------------
 * The collection
 *----------------------------------------------------------------------------*/

/* As it was stored, with the service's properties; as it was sent, and with which key. */
typedef struct sim_paper { char *json, *source, *key; char epk[AIOC_PROTOCOL_EPK_MAX]; } sim_paper;

static struct {                              /* of the run */
    bool     open;
    aioc_mem memory;                         /* of the harness */
    sim_paper papers[SIM_PAPERS];
    size_t   count;
    unsigned levels, first;                  /* of its partition key: sim_key_paths from there on */
    unsigned made;                           /* how often it was made anew */
    uint64_t writes;                         /* of papers, again */
    bool     failed;                         /* plans or ranges, once or more */
} sim_collection;

static const char *const sim_key_paths[] = { "/pk", "/h", "/s" };

/* Where the papers of a key are. Returns its JSON. */
static char *sim_find_epk(sim *s, const aiocosmos_pk *pk, char epk[AIOC_PROTOCOL_EPK_MAX])
{
    aioc_mem *memory = &sim_collection.memory;
    char *kept;
    aioc_mem_buffer text = { NULL, 0, 0 }, strings = { NULL, 0, 0 };
    aioc_protocol_pk_def def;
    aiocosmos_value levels[AIOC_PROTOCOL_PK_LEVELS];
    aiocosmos_str json;
    size_t count, len;
    char why[128];
    memset(&def, 0, sizeof def);
    def.kind = sim_collection.levels == 2 ? AIOC_PROTOCOL_MULTI_HASH : AIOC_PROTOCOL_HASH;
    def.version = 2;
    def.path_count = (uint8_t)sim_collection.levels;
    SIM_CHECK(&s->world, aioc_protocol_pk_text(memory, &text, pk, why, sizeof why) == 0, "a bad key: %s", why);
    json = emu_str(text.data, text.len);
    SIM_CHECK(&s->world, aioc_protocol_pk_components(memory, &strings, json, levels, &count) &&
                         aioc_protocol_epk(&def, levels, count, epk, &len), "a bad key: %.*s", (int)json.len, json.ptr);
    kept = (char *)calloc(json.len + 1, 1);
    if (!kept) abort();
    memcpy(kept, json.ptr, json.len);
    aioc_mem_buffer_free(memory, &text);
    aioc_mem_buffer_free(memory, &strings);
    return kept;
}

static void sim_store_paper(sim *s, sim_paper *paper)
{
    free(paper->json);
    paper->json = sim_past_weather(s, "POST", "/" SIM_COLLECTION_LINK "/docs", "docs", SIM_COLLECTION_LINK, paper->key,
                                   paper->source);
}

static void sim_add_paper(sim *s)
{
    sim_paper *paper = &sim_collection.papers[sim_collection.count];
    prop_text text = { NULL, 0, 0 };
    aiocosmos_str paths[2];
    aiocosmos_json_doc doc;
    aiocosmos_json id;
    aiocosmos_pk pk;
    unsigned i;
    char why[128];
    memset(paper, 0, sizeof *paper);
    prop_put_document(&text, &s->world.queries, (unsigned)sim_collection.count++);
    for (i = 0; i < 2; i++) paths[i] = aioc_mem_str(sim_key_paths[sim_collection.first + i]);
    aioc_json_open(&doc, &sim_collection.memory);
    SIM_CHECK(&s->world, aioc_json_parse(&doc, text.ptr, text.len) == 0 &&
                         aioc_protocol_pk_from_document(aioc_json_root(&doc), paths, sim_collection.levels, &id,
                                                        &pk, why, sizeof why) == 0, "a bad document: %s", text.ptr);
    paper->key = sim_find_epk(s, &pk, paper->epk);
    paper->source = text.ptr;
    aioc_json_close(&doc);
    sim_store_paper(s, paper);
}

static void sim_collection_make(sim *s, unsigned most)
{
    sim_random *random = &s->world.queries;
    char body[200];
    unsigned count;
    sim_collection.levels = sim_chance(random, 0.3) ? 2 : 1;
    sim_collection.first = (unsigned)sim_below(random, 2);
    snprintf(body, sizeof body, "{\"id\":\"" SIM_COLLECTION "\",\"partitionKey\":{\"paths\":[\"%s\"%s%s%s],\"kind\":"
             "\"%s\",\"version\":2}}", sim_key_paths[sim_collection.first], sim_collection.levels == 2 ? ",\"" : "",
             sim_collection.levels == 2 ? sim_key_paths[sim_collection.first + 1] : "",
             sim_collection.levels == 2 ? "\"" : "", sim_collection.levels == 2 ? "MultiHash" : "Hash");
    free(sim_past_weather(s, "POST", "/dbs/" SIM_DATABASE "/colls", "colls", "dbs/" SIM_DATABASE, NULL, body));
    count = sim_chance(random, 0.05) ? 0 : (unsigned)sim_magnitude(random, 1, most);
    while (count--) sim_add_paper(s);
}

static void sim_collection_forget(void)
{
    while (sim_collection.count) {
        sim_paper *paper = &sim_collection.papers[--sim_collection.count];
        free(paper->json);
        free(paper->source);
        free(paper->key);
    }
}

static void sim_collection_open(sim *s)
{
    memset(&sim_collection, 0, sizeof sim_collection);
    aioc_mem_init(&sim_collection.memory, NULL, SIZE_MAX);
    sim_collection.open = true;
    if (s->world.seed % 2) emu_index_scopes_of(s->core, 0);      /* else papers are too few for an index */
    sim_collection_make(s, SIM_PAPERS);
}

static void sim_collection_close(void)
{
    if (!sim_collection.open) return;
    sim_collection_forget();
    aioc_mem_close(&sim_collection.memory);
    sim_collection.open = false;
}

/* Another collection under the name, with other keys and papers. */
static void sim_collection_anew(sim *s)
{
    sim_trace(&s->world, "weather: the collection is made anew");
    sim_cover(&s->world, SIM_collection_made_anew);
    free(sim_past_weather(s, "DELETE", "/" SIM_COLLECTION_LINK, "colls", SIM_COLLECTION_LINK, NULL, ""));
    sim_collection_forget();
    sim_collection_make(s, 60);
    sim_collection.made++;
}

/* Somebody writes a paper again as it is: what is read of it is the same, but for what is the service's. */
static void sim_rewrite_paper(sim *s)
{
    if (!sim_collection.count) return;
    sim_store_paper(s, &sim_collection.papers[sim_below(&s->world.queries, sim_collection.count)]);
    sim_collection.writes++;
}

/*------------------------------------------------------------------------------
 * A case: one query, and how it is asked
 *----------------------------------------------------------------------------*/

/* One of the keys that are asked for: a paper's, or how it begins. */
typedef struct sim_asked { char json[128], epk[AIOC_PROTOCOL_EPK_MAX]; unsigned levels; } sim_asked;

typedef struct sim_case {
    struct sim_case *next;
    sim_client *client;
    unsigned born;                           /* of the client */
    aiocosmos_cursor handle;                 /* id 0: closed, and to be opened again */
    prop_query query;
    char     epk_min[40], epk_max[40];       /* "": not asked for */
    sim_asked keys[SIM_CASE_KEYS];
    unsigned key_count;                      /* 0: all are asked for */
    uint32_t page_items_max, parallel_max, token_max;
    size_t   memory_max;
    bool     skip_empty, resumes, elsewhere, over, failed;
    unsigned of_collection;                  /* sim_collection.made */
    uint64_t of_writes;
    prop_list rows;
    prop_text token;                         /* behind the rows */
    sim_op  *page;                           /* that is owed */
    unsigned pages, resumed, failures;
    uint64_t again_us;
} sim_case;

static sim_case *sim_cases;                  /* of the run */

/* Ends the run, and tells what it takes to ask the same. */
__attribute__((noreturn, format(printf, 3, 4)))
static void sim_case_wrong(const sim_case *c, int line, const char *format, ...)
{
    char why[2000];
    va_list values;
    va_start(values, format);
    vsnprintf(why, sizeof why, format, values);
    va_end(values);
    printf("%s\n  @p %s, %u keys, [%s, %s), pages of %u, parallel %u, memory %zu, tokens of %u,%s%s%s\n"
           "  %zu papers, %u pages, resumed %u times\n", c->query.sql.ptr, *c->query.param ? c->query.param : "none",
           c->key_count, c->epk_min, c->epk_max, (unsigned)c->page_items_max, (unsigned)c->parallel_max, c->memory_max,
           (unsigned)c->token_max, c->skip_empty ? " skip empty" : "", c->resumes ? " resumed" : "",
           c->elsewhere ? " elsewhere" : "", sim_collection.count, c->pages, c->resumed);
    sim_fail(&c->client->sim->world, __FILE__, line, "%s", why);
}

#define SIM_CASE_CHECK(C, CONDITION, ...) ((CONDITION) ? (void)0 : sim_case_wrong((C), __LINE__, __VA_ARGS__))

/* Whether nothing can be said of what it shows. */
static bool sim_case_is_vague(const sim_case *c)
{
    bool rewritten = c->of_writes != sim_collection.writes && strchr(c->query.sql.ptr, '*') != NULL;
    return c->client->sim->plan.garbles || c->of_collection != sim_collection.made || rewritten;
}

/* A place in the key space: a hash as a key may have, or a paper's own. */
static void sim_choose_edge(sim_random *random, char out[40])
{
    unsigned i;
    if (sim_collection.count && sim_chance(random, 0.3)) {
        snprintf(out, 40, "%.32s", sim_collection.papers[sim_below(random, sim_collection.count)].epk);
        return;
    }
    snprintf(out, 40, "%X", (unsigned)sim_below(random, 4));
    for (i = 1; i < 32; i++) snprintf(out + i, 40 - i, "%X", (unsigned)sim_below(random, 16));
    if (sim_chance(random, 0.2)) out[2 + 2 * sim_below(random, 15)] = 0;
}

static void sim_choose_part(sim_case *c, sim_random *random)
{
    if (!sim_chance(random, 0.15)) return;
    if (sim_chance(random, 0.7)) sim_choose_edge(random, c->epk_min);
    if (!*c->epk_min || sim_chance(random, 0.7)) sim_choose_edge(random, c->epk_max);
    if (*c->epk_min && *c->epk_max &&
        aioc_protocol_epk_compare(aioc_mem_str(c->epk_min), aioc_mem_str(c->epk_max)) >= 0) *c->epk_max = 0;
    sim_cover(&c->client->sim->world, SIM_case_of_part);
}

static void sim_choose_keys(sim_case *c, sim_random *random)
{
    unsigned i, count = (unsigned)sim_magnitude(random, 1, SIM_CASE_KEYS);
    if (sim_collection.count == 0 || *c->epk_min || *c->epk_max || !sim_chance(random, 0.2)) return;
    for (i = 0; i < count; i++) {
        const sim_paper *paper = &sim_collection.papers[sim_below(random, sim_collection.count)];
        sim_asked *key = &c->keys[i];
        key->levels = 1 + (unsigned)sim_below(random, sim_collection.levels);
        snprintf(key->json, sizeof key->json, "%s", paper->key);
        snprintf(key->epk, sizeof key->epk, "%.*s", (int)key->levels * 32, paper->epk);
    }
    c->key_count = count;
    sim_cover(&c->client->sim->world, SIM_case_of_keys);
}

/* A key as a request has it: its levels are parts of the text. */
static aiocosmos_pk sim_case_pk(const sim_case *c, const sim_asked *key)
{
    aiocosmos_json_doc doc;
    aiocosmos_json level = aioc_json_none();
    aiocosmos_pk pk;
    unsigned i;
    memset(&pk, 0, sizeof pk);
    aioc_json_open(&doc, &sim_collection.memory);
    SIM_CASE_CHECK(c, aioc_json_parse(&doc, key->json, strlen(key->json)) == 0, "a bad key: %s", key->json);
    for (i = 0; i < key->levels && aioc_json_next(aioc_json_root(&doc), NULL, &level); i++)
        pk.level[i] = level.type == AIOCOSMOS_JSON_OBJ ? aiocosmos_none() : aiocosmos_json_text(level.ptr, level.len);
    aioc_json_close(&doc);
    return pk;
}

static void sim_choose_case(sim_case *c)
{
    static const uint32_t sizes[] = { 1, 2, 3, 5, 10, 30, 100, 1000 };
    sim_random *random = &c->client->sim->world.queries;
    prop_make_query(&c->query, random);
    sim_choose_part(c, random);
    sim_choose_keys(c, random);
    c->page_items_max = sim_chance(random, 0.1) ? 0 : sizes[sim_below(random, sizeof sizes / sizeof *sizes)];
    if (sim_collection.count > 100 && c->page_items_max && c->page_items_max < 3) c->page_items_max = 7;
    c->parallel_max = sim_chance(random, 0.2) ? 0 : 1 + (uint32_t)sim_below(random, 20);
    c->memory_max = sim_chance(random, 0.7) ? 0 : (size_t)sim_magnitude(random, 1, 100000);
    c->token_max = sim_chance(random, 0.9) ? 0 : (uint32_t)sim_magnitude(random, 1, 4000);
    c->skip_empty = sim_chance(random, 0.5);
    c->resumes = sim_chance(random, 0.5);
    c->elsewhere = c->resumes && sim_chance(random, c->client->sim->plan.clients > 1 ? 0.6 : 0.3);
    c->of_collection = sim_collection.made;
    c->of_writes = sim_collection.writes;
    if (c->page_items_max == 1000) sim_cover(&c->client->sim->world, SIM_case_of_thousand);
}

/*------------------------------------------------------------------------------
 * What the answer must be
 *----------------------------------------------------------------------------*/

typedef struct sim_row { prop_key key[PROP_COLUMNS_MAX]; char *text; } sim_row;

typedef struct sim_truth {
    const sim_case *c;
    const prop_query *query;
    sim_row *rows;
    size_t count, cap;
} sim_truth;

static void sim_truth_add(sim_truth *truth, aiocosmos_json keys, aiocosmos_json payload)
{
    prop_text text = { NULL, 0, 0 };
    sim_row *row;
    aiocosmos_json key;
    unsigned i;
    truth->rows = (sim_row *)world_grow(truth->rows, truth->count, &truth->cap, sizeof *truth->rows);
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

static void sim_truth_row(void *user, const char *json, size_t len)
{
    sim_truth *truth = (sim_truth *)user;
    aiocosmos_json_doc doc;
    aiocosmos_json root, payload;
    aioc_json_open(&doc, &sim_collection.memory);
    SIM_CASE_CHECK(truth->c, aioc_json_parse(&doc, json, len) == 0, "the engine's row is no JSON");
    root = aioc_json_root(&doc);
    payload = truth->query->keyed ? aioc_json_at(root, "/p") : root;
    if (payload.type != AIOCOSMOS_JSON_NONE) sim_truth_add(truth, aioc_json_at(root, "/k"), payload);
    aioc_json_close(&doc);
}

/* Arrays have an order that only the service knows, and behind it further columns say nothing; so have objects. */
static int sim_compare_row_keys(const prop_query *query, const sim_row *a, const sim_row *b)
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

static const prop_query *sim_sorting;

static int sim_compare_rows(const void *a, const void *b)
{
    const sim_row *one = (const sim_row *)a, *other = (const sim_row *)b;
    int order = sim_compare_row_keys(sim_sorting, one, other);
    return order ? order : strcmp(one->text, other->text);
}

static bool sim_case_asks_for(const sim_case *c, const sim_paper *paper)
{
    aiocosmos_str epk = aioc_mem_str(paper->epk);
    unsigned i;
    for (i = 0; i < c->key_count; i++)
        if (strncmp(paper->epk, c->keys[i].epk, strlen(c->keys[i].epk)) == 0) return true;
    return c->key_count == 0 && aioc_protocol_epk_compare(aioc_mem_str(c->epk_min), epk) <= 0 &&
           (!*c->epk_max || aioc_protocol_epk_compare(epk, aioc_mem_str(c->epk_max)) < 0);
}

static void sim_row_free(sim_row *row)
{
    unsigned i;
    for (i = 0; i < PROP_COLUMNS_MAX; i++) free(row->key[i].units);
    free(row->text);
}

/* Of rows that are the same, the first stays. */
static void sim_keep_distinct(sim_truth *truth)
{
    size_t i, k, kept = 0;
    for (i = 0; i < truth->count; i++) {
        for (k = 0; k < kept && strcmp(truth->rows[k].text, truth->rows[i].text) != 0; k++) continue;
        if (k < kept) sim_row_free(&truth->rows[i]);
        else truth->rows[kept++] = truth->rows[i];
    }
    truth->count = kept;
}

/* What the engine makes of all papers, sorted by the keys. */
static void sim_find_truth(const sim_case *c, sim_truth *truth)
{
    prop_text body = { NULL, 0, 0 };
    emu_sql_error error;
    emu_sql_query *query;
    emu_sql_run *run;
    size_t i;
    memset(truth, 0, sizeof *truth);
    truth->c = c;
    truth->query = &c->query;
    prop_put_text(&body, "{\"query\":");
    prop_put_quoted(&body, c->query.truth.ptr);
    if (*c->query.param) prop_put(&body, ",\"parameters\":[{\"name\":\"@p\",\"value\":%s}]", c->query.param);
    prop_put_text(&body, "}");
    query = emu_sql_prepare(body.ptr, body.len, SIM_BASE_MS, NULL, &error);
    SIM_CASE_CHECK(c, query, "%s: %s", c->query.truth.ptr, error.message);
    run = emu_sql_start(query, sim_truth_row, truth);
    SIM_CASE_CHECK(c, run, "no memory");
    for (i = 0; i < sim_collection.count; i++) {
        const sim_paper *paper = &sim_collection.papers[i];
        if (sim_case_asks_for(c, paper) && emu_sql_feed(run, paper->json, strlen(paper->json)) != 0) break;
    }
    SIM_CASE_CHECK(c, emu_sql_finish(run) == 0, "%s: %s", c->query.truth.ptr, emu_sql_run_error(run)->message);
    emu_sql_stop(run);
    emu_sql_free(query);
    prop_free(&body);
    sim_sorting = &c->query;
    if (truth->count) qsort(truth->rows, truth->count, sizeof *truth->rows, sim_compare_rows);
    if (c->query.distinct) sim_keep_distinct(truth);
}

static void sim_truth_free(sim_truth *truth)
{
    while (truth->count) sim_row_free(&truth->rows[--truth->count]);
    free(truth->rows);
}

/* Whether the rows given, from `first` on, are `count` of those in [low, high), all of one key; each at most as often
 * as it is there. NULL, or one that is too much. */
static const char *sim_check_class(const sim_case *c, const sim_truth *truth, size_t low, size_t high, size_t first,
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

static void sim_check_rows(const sim_case *c, const sim_truth *truth)
{
    const prop_query *q = &c->query;
    uint64_t skip = q->skip < truth->count ? q->skip : truth->count;
    uint64_t end = q->take < truth->count - skip ? skip + q->take : truth->count;
    size_t low, high, given = 0;
    SIM_CASE_CHECK(c, c->rows.count == end - skip, "%zu rows, not %" PRIu64, c->rows.count, end - skip);
    for (low = 0; low < end; low = high) {
        size_t from, to;
        const char *wrong;
        for (high = low + 1; high < truth->count; high++)
            if (sim_compare_row_keys(q, &truth->rows[low], &truth->rows[high]) != 0) break;
        from = low > skip ? low : (size_t)skip;
        to = high < end ? high : (size_t)end;
        if (to <= from) continue;
        wrong = sim_check_class(c, truth, low, high, given, to - from);
        SIM_CASE_CHECK(c, !wrong, "rows %zu to %zu: %s is not one of them, or once too often; such as %s is", given,
                       given + to - from - 1, wrong, truth->rows[low].text);
        given += to - from;
    }
}

static void sim_case_note(const sim_case *c)
{
    sim_world *world = &c->client->sim->world;
    const prop_query *q = &c->query;
    bool joined = strstr(q->sql.ptr, "JOIN") != NULL;
    unsigned i;
    if (q->shape == PROP_ROWS && q->columns) sim_cover(world, SIM_case_ordered);
    if (q->columns > 1) sim_cover(world, SIM_case_ordered_by_several);
    for (i = 0; i < q->columns && q->shape == PROP_ROWS; i++)
        if (q->descending[i]) sim_cover(world, SIM_case_descending);
    if (q->take != UINT64_MAX) sim_cover(world, SIM_case_limited);
    if (q->distinct) sim_cover(world, q->columns ? SIM_case_distinct_ordered : SIM_case_distinct);
    if (q->shape == PROP_AGGREGATES) sim_cover(world, SIM_case_aggregates);
    if (q->shape == PROP_GROUPS) sim_cover(world, SIM_case_groups);
    if (q->shape == PROP_DISTINCT_COUNT) sim_cover(world, SIM_case_distinct_count);
    if (q->shape == PROP_VECTOR) sim_cover(world, q->distinct ? SIM_case_vector_distinct : SIM_case_vector);
    if (joined) sim_cover(world, q->shape == PROP_VECTOR ? SIM_case_vector_joined : SIM_case_joined);
    if (c->pages > 1) sim_cover(world, SIM_case_of_several_pages);
    if (c->rows.count == 0) sim_cover(world, SIM_case_without_rows);
    if (q->many_keys) sim_cover(world, SIM_case_of_many_keys);
    if (c->failures) sim_cover(world, SIM_case_failed_and_passed);
    if (c->of_writes != sim_collection.writes) sim_cover(world, SIM_case_written_meanwhile);
}

/*------------------------------------------------------------------------------
 * Asking
 *----------------------------------------------------------------------------*/

static void sim_on_case_page(aiocosmos_client *handle, const aiocosmos_page *page, void *user_data);

static void sim_case_close(sim_case *c)
{
    if (c->handle.id) aiocosmos_cursor_close(c->client->client, c->handle);
    c->handle.id = 0;
}

static void sim_case_give_up(sim_case *c)
{
    if (c->page) c->page->cancelled = true;
    sim_case_close(c);
    c->over = true;
}

/* It has failed once more. In calm, where it is memory that fails, that goes on for ever. */
static bool sim_case_is_hopeless(sim_case *c)
{
    return ++c->failures > (c->client->sim->calm ? 2 : SIM_CASE_FAILURES);
}

/* Opens it at its beginning, or where its token says. False: not now, or never. */
static bool sim_case_open(sim_case *c)
{
    sim_client *client = c->client;
    sim *s = client->sim;
    aiocosmos_query_request request;
    aiocosmos_param param;
    aiocosmos_pk keys[SIM_CASE_KEYS];
    unsigned i;
    int refused;
    memset(&request, 0, sizeof request);
    for (i = 0; i < c->key_count; i++) keys[i] = sim_case_pk(c, &c->keys[i]);
    request.pks = c->key_count ? keys : NULL;
    request.pk_count = c->key_count;
    param.name = "@p";
    param.value = aiocosmos_json_text(c->query.param, strlen(c->query.param));
    request.container = SIM_COLLECTION;
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
    if (!c->token.len) prop_clear(&c->rows);
    refused = aiocosmos_query_open(client->client, &request, &c->handle);
    s->net.work++;
    if (refused == AIOCOSMOS_E_FULL) sim_still_full(client);
    SIM_CASE_CHECK(c, !refused || refused == AIOCOSMOS_E_FULL || refused == AIOCOSMOS_E_NOMEM ||
                      refused == AIOCOSMOS_E_SHUTDOWN || sim_case_is_vague(c), "refused with %d: %s", refused,
                   aiocosmos_last_error(client->client));
    if (!refused) return true;
    c->handle.id = 0;
    c->again_us = s->world.made.now_us + 10000;
    if (sim_case_is_hopeless(c) || refused == AIOCOSMOS_E_ARGUMENT) c->over = true;
    return false;
}

/* Asks for the next page. False: not now. */
static bool sim_case_next(sim_case *c)
{
    sim_client *client = c->client;
    sim *s = client->sim;
    sim_op *op = sim_op_new(client, SIM_PAGE, NULL);
    int refused = aiocosmos_cursor_next(client->client, c->handle, sim_on_case_page, c);
    sim_trace(&s->world, "operation %ld: client %u asks for page %u of case %" PRIx64 ": %d", op->number,
              client->number, c->pages + 1, c->handle.id, refused);
    s->net.work++;
    if (refused == AIOCOSMOS_E_ARGUMENT && c->failed) {          /* half of an answer was merged */
        sim_cover(&s->world, SIM_case_opened_anew);
        sim_case_close(c);
        refused = AIOCOSMOS_E_FULL;
    }
    if (refused) {
        c->again_us = s->world.made.now_us + 10000;
        sim_op_refused(op, refused);
        return false;
    }
    c->page = op;
    sim_op_accepted(op, 0);
    return true;
}

static void sim_case_go_on(sim_case *c)
{
    if (c->handle.id || sim_case_open(c)) sim_case_next(c);
}

/* What a client needs in order to plan fails until a page has failed. */
static void sim_case_begin_failing(sim_case *c)
{
    static const char *const kinds[] = { "list_ranges", "plan_items", "read_container" };
    static const int statuses[] = { 429, 503, 403, 404 };
    sim *s = c->client->sim;
    sim_random *random = &s->world.queries;
    char rule[160], why[160];
    int status = statuses[sim_below(random, sizeof statuses / sizeof *statuses)];
    if (s->plan.trial != SIM_QUERIES || !sim_chance(random, 0.1)) return;
    snprintf(rule, sizeof rule, "kind=%s,status=%d,retry_after_ms=20", PROP_PICK(random, kinds), status);
    aiocosmos_emulator_clear_faults(s->core);
    SIM_CHECK(&s->world, aiocosmos_emulator_fault(s->core, rule, why, sizeof why), "%s: %s", rule, why);
    sim_trace(&s->world, "weather: %s", rule);
    sim_collection.failed = true;
}

static bool sim_start_case(sim_client *client)
{
    sim *s = client->sim;
    sim_case *c = (sim_case *)calloc(1, sizeof *c);
    double anew;
    if (!c) abort();
    c->next = sim_cases;
    sim_cases = c;
    c->client = client;
    c->born = client->born;
    sim_choose_case(c);
    sim_case_begin_failing(c);
    /* The client does not know it yet; nor does the one in which it goes on, however long after. */
    anew = c->elsewhere && s->plan.clients > 1 ? 0.3 : strstr(c->query.sql.ptr, "c.pk = ") ? 0.1 : 0.01;
    if (sim_chance(&s->world.queries, anew) && s->plan.anew) sim_collection_anew(s);
    sim_trace(&s->world, "client %u asks: %s", client->number, c->query.sql.ptr);
    if (!sim_case_open(c)) {
        c->over = true;
        return false;
    }
    return sim_case_next(c);
}

static void sim_case_read(sim_case *c, const aiocosmos_page *page)
{
    sim *s = c->client->sim;
    aiocosmos_json row;
    uint32_t token_max = c->token_max ? c->token_max : AIOCOSMOS_DEFAULT_CONTINUATION_BYTES;
    c->token.len = 0;
    memset(&row, 0, sizeof row);
    while (aioc_json_next(page->items, NULL, &row)) {
        prop_text text = { NULL, 0, 0 };
        prop_put_value(&text, row);
        prop_add(&c->rows, &text);
    }
    prop_put_bytes(&c->token, page->continuation.ptr, page->continuation.len);
    sim_cover(&s->world, SIM_case_page);
    if (page->item_count == 0) sim_cover(&s->world, SIM_case_page_empty);
    if (page->more && !page->continuation.len) sim_cover(&s->world, SIM_case_page_without_token);
    if (s->plan.garbles) return;
    SIM_CASE_CHECK(c, !c->page_items_max || page->item_count <= c->page_items_max, "a page of %zu rows",
                   page->item_count);
    SIM_CASE_CHECK(c, page->item_count || !page->more || !c->skip_empty || page->result->latency_us >= 20000000u,
                   "an empty page is not skipped");
    /* If a plan was refused, it is the service's. */
    SIM_CASE_CHECK(c, page->continuation.len <= token_max || s->plan.trial != SIM_QUERIES || sim_collection.failed,
                   "a token of %zu bytes", page->continuation.len);
    SIM_CASE_CHECK(c, page->more || !page->continuation.len, "the last page has a token");
    /* What has failed since may have ended it within an answer. */
    SIM_CASE_CHECK(c, !page->more || page->continuation.len || c->query.stateful || c->token_max ||
                      page->result->sub_status, "a page that is not the last has no token");
}

static void sim_case_complete(sim_case *c)
{
    sim_truth truth;
    sim_case_give_up(c);
    sim_case_note(c);
    if (sim_case_is_vague(c)) return;
    sim_find_truth(c, &truth);
    sim_check_rows(c, &truth);
    sim_truth_free(&truth);
    sim_cover(&c->client->sim->world, SIM_case_checked);
}

static void sim_case_failed(sim_case *c, const aiocosmos_result *result)
{
    sim *s = c->client->sim;
    int status = result->status;
    c->failed = true;
    sim_cover(&s->world, SIM_case_page_failed);
    if (status == AIOCOSMOS_E_SHUTDOWN) {            /* it goes on in the client's next life */
        c->handle.id = 0;
        return;
    }
    if (status == AIOCOSMOS_E_NOMEM) sim_cover(&s->world, SIM_case_page_without_memory);
    if (status == AIOCOSMOS_E_TOO_LARGE && c->memory_max && c->query.stateful) {
        sim_cover(&s->world, SIM_case_out_of_memory);
        sim_case_give_up(c);
        return;
    }
    if (s->plan.trial == SIM_QUERIES) {              /* in fair weather */
        bool part = *c->epk_min || *c->epk_max;      /* does not begin anew by itself */
        SIM_CASE_CHECK(c, sim_has(result->message, aioc_mem_str("A fault was asked for")) ||
                          (part && result->sub_status == 1024) || c->of_collection != sim_collection.made,
                       "%d: %.*s", status, (int)result->message.len, result->message.ptr);
        aiocosmos_emulator_clear_faults(s->core);
    }
    if (sim_case_is_hopeless(c) || status == AIOCOSMOS_E_TOO_LARGE || status == AIOCOSMOS_E_ARGUMENT)
        sim_case_give_up(c);
}

/* With its token, later, in place of the open cursor; perhaps in another client. */
static void sim_case_resume(sim_case *c)
{
    sim *s = c->client->sim;
    sim_client *other = &s->client[s->plan.clients - 1 - c->client->number];
    if (!c->resumes || !c->token.len || c->resumed >= SIM_CASE_RESUMES) return;
    sim_case_close(c);
    c->resumed++;
    sim_cover(&s->world, SIM_case_resumed);
    if (!c->elsewhere || other == c->client || !other->client || other->doomed) return;
    c->client = other;
    c->born = other->born;
}

static void sim_on_case_page(aiocosmos_client *handle, const aiocosmos_page *page, void *user_data)
{
    sim_case *c = (sim_case *)user_data;
    sim_client *client = c->client;
    sim *s = client->sim;
    SIM_CHECK(&s->world, handle == client->client && c->page, "a page of a case comes that nobody asked for");
    sim_check_result(s, c->page, page->result);
    c->page = NULL;
    c->pages++;
    if (c->handle.id) {                              /* not closed meanwhile */
        if (page->result->status) sim_case_failed(c, page->result);
        else sim_case_read(c, page);
        if (!page->result->status && !page->more) sim_case_complete(c);
        else if (!page->result->status) sim_case_resume(c);
        if (!c->over && c->handle.id && sim_chance(&s->world.queries, 0.7)) sim_case_next(c);
    }
    sim_act_inside(client);
}

/* Goes on with cases that no page is owed of. */
static void sim_tend_cases(sim_client *client)
{
    sim *s = client->sim;
    sim_case *c;
    for (c = sim_cases; c; c = c->next) {
        if (c->client != client || c->over) continue;
        if (c->born != client->born) {               /* in another life */
            c->born = client->born;
            c->handle.id = 0;
            c->page = NULL;
            c->failed = true;
            if (c->token.len) sim_cover(&s->world, SIM_case_resumed_elsewhere);
        }
        if (c->page && sim_chance(&s->world.queries, s->plan.cancel)) sim_case_give_up(c);
        else if (!c->page && c->again_us <= s->world.made.now_us) sim_case_go_on(c);
    }
}

/* When a case of the client wants to go on. */
static uint64_t sim_next_case_us(const sim_client *client)
{
    uint64_t next_us = SIM_NOT_YET;
    const sim_case *c;
    for (c = sim_cases; c; c = c->next)
        if (c->client == client && !c->over && !c->page && c->again_us < next_us) next_us = c->again_us;
    return next_us;
}

static void sim_cases_free(void)
{
    while (sim_cases) {
        sim_case *c = sim_cases;
        sim_cases = c->next;
        prop_clear(&c->rows);
        free(c->rows.at);
        prop_free(&c->token);
        prop_query_free(&c->query);
        free(c);
    }
    sim_collection_close();
}

#endif
