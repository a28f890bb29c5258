/* sim_model.h: what must be true, whatever happens.
 *
 * Every operation that a client accepts has a number, and its request says so. The model is told of each request that
 * was handed to send(), of each that reached the server, and looks into the emulator's store before and after the
 * server works on one. So it knows, for each operation, how often it was sent and how often it changed the store, and
 * for each item which versions it has had, and from when to when. Every result is held against that. */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "sim_net.h"

#define SIM_DATABASE   "sim"
#define SIM_CONTAINER  "c"                   /* written to all the time */
#define SIM_LIBRARY    "lib"                 /* written before the run, and read by queries */
#define SIM_SHELVES    "sub"                 /* the same, with keys of two levels */
#define SIM_ARCHIVE    "big"                 /* the same, of few books with many pages, where there are readers of it */
#define SIM_CLIENTS    2
#define SIM_KEYS       6
#define SIM_BOOKS      60
#define SIM_TTL_MAX    10                    /* seconds */
#define SIM_VOLUMES    30
#define SIM_READERS_MAX 10
#define SIM_VOLUME_BYTES 30000
/* The client holds up to 500 kB beside answers. A page in order that is alone needs a row of each of six ranges, twice
 * for it is parsed, and a row of its own in a block that grows by doubling, 0.5 MB: below 1.1 MB it may end E_NOMEM,
 * but not above, whoever else is at work, for it waits until they are not. */
#define SIM_READERS_LOW  1100000
#define SIM_READERS_HIGH 4500000
#define SIM_NUMBERS_GROW 3                   /* times as much memory, where volumes are of numbers */
#define SIM_RANGES     1024                  /* ever, of one container */
#define SIM_SEEN       8
#define SIM_LATE_US    60000u                /* after its deadline an operation may end so much later, */
#define SIM_FRAME_US   16667u                /* or a frame, if its host draws frames, */
#define SIM_FRAMES_US  5000000u              /* or many of them, if there is a budget, too */
#define SIM_CALLBACK_US 20u                  /* what a callback of the host's takes */
#define SIM_PIECE_US   150u                  /* the longest piece of work that is not cut */
#define SIM_BACKOFF_US 2000000u              /* the longest pause between two attempts that is not asked for */
#define SIM_ATTEMPT_US 7000000u              /* so long may one attempt take that meets silence */
/* So long may a client that was told so still ask where the server has been: it leaves that place once a second, and
 * keeps what is on its way there for another. */
#define SIM_FOLLOWS_US 2100000u
#define SIM_FULL_US    10000000u             /* so long a client may refuse with E_FULL while it owes nothing */
#define SIM_SLOTS      2048                  /* of operations in one client, its own included */

/* Kinds of operations that are not aiocosmos_kind. */
enum { SIM_PAGE = 100, SIM_BULK, SIM_MANY, SIM_TRADE };

#define SIM_TRADE_MAX  8                     /* operations of one transaction */

typedef struct sim sim;
typedef struct sim_client sim_client;
typedef struct sim_item sim_item;

typedef struct sim_seen { unsigned range; int64_t lsn; } sim_seen;

typedef struct sim_op {
    sim_client *client;
    unsigned life;                           /* of the client: a handle is of that one only */
    long     number;
    int      kind;                           /* aiocosmos_kind, or SIM_PAGE and what follows */
    aiocosmos_op handle;
    sim_item *item;                          /* NULL: about none */
    struct sim_trade *trade;                 /* a transaction; NULL: it is none */
    uint32_t ru;                             /* that it asks for */
    uint64_t submitted_us, deadline_us;      /* deadline_us 0: none */
    uint64_t time_us;                        /* that it has; of a bulk's item, from when it is sent */
    uint64_t stalled_us;                     /* of the world, when it was submitted */
    bool     write, in_bulk, leave;          /* leave: it may be sent again after an answer was lost */
    bool     keyless;                        /* its body has its key */
    bool     want_body;
    char     if_match[64], if_none_match[64];
    uint64_t order_key;
    const struct sim_op *order_before;
    char    *body;
    size_t   body_len;
    bool     no_session;                     /* it shall carry no token */
    sim_seen seen[SIM_SEEN];                 /* of the item's ranges, when the client asked to read it */
    unsigned seen_count;
    unsigned served_range;                   /* by which the server answered it, and what that had come to then, at */
    int64_t  served_lsn;                     /* least: an attempt that was given up may be served last. -1: none was */
    unsigned served_container, served;       /* served: how often */
    unsigned container;                      /* which it was submitted to: sim.containers */
    /* What came of it: */
    unsigned sent, arrived, applied, calls;
    char     made_etag[64];                  /* of the version that it made last */
    bool     cancelled;                      /* cancel said true */
    int      status, http_status, sub_status, fate;
} sim_op;

typedef struct sim_trade {
    struct sim_trade *next;
    sim_op  *whole, *of[SIM_TRADE_MAX];      /* each of another item */
    size_t   count;
} sim_trade;

/* What an attempt came to, as far as its kind has a patience of its own. */
typedef enum sim_class {
    SIM_LOST, SIM_GARBLED, SIM_REFUSED, SIM_MOVED, SIM_SESSION, SIM_METADATA, SIM_UNCLEAR, SIM_GONE, SIM_THROTTLE,
    SIM_OTHER, SIM_CLASSES
} sim_class;

typedef struct sim_tries {                   /* of one operation, the library's own ones included */
    uint64_t op;
    unsigned before, all, of[SIM_CLASSES];
    int status;                              /* of the last */
    unsigned steps;                          /* requests beside the first, each of which is tried as often */
} sim_tries;

typedef struct sim_version {                 /* of an item, from from_us until the next */
    uint64_t from_us;
    uint64_t expires_us;                     /* 0: never */
    bool     present;
    char     etag[64];
    long     writer;                         /* the operation that made it */
    int64_t  n;                              /* how often it was patched since */
} sim_version;

struct sim_item {
    unsigned key;
    char     id[32];
    sim_version *version;
    size_t   version_count, version_cap;
};

struct sim_client {
    sim     *sim;
    unsigned number;
    aiocosmos_client *client;                /* NULL: destroyed, or not yet made */
    world_machine host;
    sim_heap heap;
    aiocosmos_options options;
    bool     inside;                         /* of step or destroy: the only places for callbacks */
    bool     doomed;                         /* a callback has destroyed it */
    unsigned manner;                         /* how its host waits: see sim_run.h */
    bool     by_frames;
    unsigned born;
    uint32_t owed;                           /* callbacks */
    unsigned pages;                          /* of queries, that came */
    uint64_t failure_seen;                   /* id of the operation that on_failure saw last */
    bool     failure_fresh;
    uint64_t idle_turns, stepped_us;
    sim_op  *order_last[4];
    unsigned items_told;                     /* of its bulks, in this step */
    int64_t  lsn[SIM_RANGES];                /* highest seen in results, by range */
    bool     session_checked;                /* nothing it does may lose a token */
    uint64_t next_act_us, next_frame_us;
    uint64_t token_due_us;
    bool     token_asked;
    uint64_t full_since_us;                  /* it owes nothing, and has refused all since; 0: it has not */
    sim_tries tries[SIM_SLOTS];
};

/* Runs in fair weather but for one thing, so that it is known what may come of that. */
typedef enum sim_trial {
    SIM_NO_TRIAL,
    SIM_BLACK_HOLES,                         /* connections fall silent for good, one by one */
    SIM_SILENT_METADATA,                     /* what is asked of account, container and ranges is never answered */
    SIM_STORM,                               /* bulks want many times the units that there are */
    SIM_DISTANT,                             /* answers take a good part of the time that an item of a bulk has */
    SIM_READERS,                             /* several queries of big pages in little memory */
    SIM_QUERIES                              /* one random query after the other */
} sim_trial;

/* What a run is about: drawn once. */
typedef struct sim_plan {
    unsigned operations, in_flight, clients;
    double   think;                          /* chance of a pause before the next operation */
    uint64_t think_us;
    double   cancel, act_inside, destroy;
    bool     garbles, faults, splits;
    double   ru_per_second;
    unsigned lives;                          /* how often clients may be destroyed and made again */
    bool     breaks_memory;
    bool     waits_for_ever;                 /* some operations have no deadline */
    bool     proxies;                        /* who stands before the server answers for it */
    bool     fails_over;                     /* the server moves, and its name behind it */
    bool     short_of_entropy, foreign_tokens;
    bool     expires;                        /* some items live for seconds */
    bool     recreates;                      /* the container is deleted and made anew under its name */
    bool     numbers;                        /* readers' volumes are of those */
    bool     asks, rewrites, anew;           /* random queries, of documents that are written again, or made anew */
    sim_trial trial;
} sim_plan;

struct sim {
    sim_world world;
    sim_net  net;
    aiocosmos_emulator *core;
    sim_plan plan;
    sim_client client[SIM_CLIENTS];
    sim_op **op;
    size_t   op_count, op_cap;
    sim_item **item;
    size_t   item_count, item_cap;
    uint64_t range_before[SIM_RANGES][SIM_RANGES / 64];      /* of SIM_CONTAINER: itself, and what it came from */
    uint8_t  range_keys[SIM_RANGES];         /* a bit for each key that belongs or belonged to it */
    uint64_t ranges_seen;                    /* the container's range_version, plus 1 */
    bool     calm;                           /* no more trouble: what is still under way shall end */
    unsigned lives_used;
    unsigned containers;                     /* SIM_CONTAINER has been made anew so often */
    uint32_t throughputs;                    /* a bit for each hundred beyond 400 that SIM_LIBRARY may have, in RU/s */
};

/*------------------------------------------------------------------------------
 * Keys and items
 *----------------------------------------------------------------------------*/

static aiocosmos_value sim_key(unsigned number)
{
    switch (number) {
    case 0: return aiocosmos_s("eu");
    case 1: return aiocosmos_s("s\xc3\xb8r / 50%");
    case 2: return aiocosmos_i(-7);
    case 3: return aiocosmos_f(1.5);
    case 4: return aiocosmos_b(true);
    default: return aiocosmos_null();
    }
}

static const char *sim_key_json(unsigned number)
{
    static const char *const json[SIM_KEYS] = {
        "\"eu\"", "\"s\xc3\xb8r / 50%\"", "-7", "1.5", "true", "null"
    };
    return json[number];
}

static sim_item *sim_item_of(sim *s, unsigned key, const char *id)
{
    size_t i;
    sim_item *item;
    for (i = 0; i < s->item_count; i++)
        if (s->item[i]->key == key && strcmp(s->item[i]->id, id) == 0) return s->item[i];
    item = (sim_item *)calloc(1, sizeof *item);
    if (!item) abort();
    s->item = (sim_item **)world_grow(s->item, s->item_count, &s->item_cap, sizeof *s->item);
    s->item[s->item_count++] = item;
    item->key = key;
    snprintf(item->id, sizeof item->id, "%s", id);
    item->version = (sim_version *)world_grow(item->version, 0, &item->version_cap, sizeof *item->version);
    memset(item->version, 0, sizeof *item->version);
    item->version[0].writer = -1;
    item->version_count = 1;
    return item;
}

static sim_version *sim_add_version(sim_item *item, uint64_t from_us)
{
    sim_version *made;
    item->version = (sim_version *)world_grow(item->version, item->version_count, &item->version_cap,
                                            sizeof *item->version);
    made = &item->version[item->version_count++];
    memset(made, 0, sizeof *made);
    made->from_us = from_us;
    made->writer = -1;
    return made;
}

/* As it is by now: an item whose time is over is gone. */
static const sim_version *sim_latest(sim_item *item)
{
    uint64_t expires_us = item->version[item->version_count - 1].expires_us;
    if (expires_us && expires_us <= sim_running->made.now_us) {
        sim_cover(sim_running, SIM_item_expired);
        sim_add_version(item, expires_us);
    }
    return &item->version[item->version_count - 1];
}

/* The version of an item that had this ETag some time since from_us, or one that was absent (etag NULL). NULL: none. */
static const sim_version *sim_version_since(sim_item *item, uint64_t from_us, aiocosmos_str etag, bool present)
{
    size_t i = (size_t)(sim_latest(item) - item->version) + 1;
    while (i-- > 0) {
        const sim_version *version = &item->version[i];
        bool same = !present || !etag.ptr || emu_is(etag, version->etag);
        if (version->present == present && same) return version;
        if (version->from_us < from_us) return NULL;
    }
    return NULL;
}

/* Whether it was not there, or had another ETag, some time since from_us. */
static bool sim_was_other_since(sim_item *item, uint64_t from_us, const char *etag)
{
    size_t i = (size_t)(sim_latest(item) - item->version) + 1;
    while (i-- > 0) {
        const sim_version *version = &item->version[i];
        if (!version->present || strcmp(version->etag, etag) != 0) return true;
        if (version->from_us < from_us) return false;
    }
    return true;
}

/*------------------------------------------------------------------------------
 * Looking into the store
 *----------------------------------------------------------------------------*/

typedef struct sim_stored {
    bool present;
    uint64_t expires_us;                     /* 0: never */
    char etag[64];
    aiocosmos_str text;                      /* without system properties and its closing brace */
    const emu_range *range;                  /* that the item belongs to */
} sim_stored;

static const emu_container *sim_container(sim *s, const char *name)
{
    emu_database *database = emu_find_database(&s->core->store, aioc_mem_str(SIM_DATABASE));
    return database ? emu_find_container(database, aioc_mem_str(name)) : NULL;
}

static const emu_range *sim_range_of(sim *s, const emu_container *container, unsigned number, emu_key *key)
{
    aiocosmos_value value = sim_key(number);
    if (value.type == AIOCOSMOS_VALUE_I64) value = aiocosmos_f((double)value.i64);   /* numbers are hashed as doubles */
    memset(key, 0, sizeof *key);
    SIM_CHECK(&s->world, emu_key_from_values(container, &value, 1, key, NULL), "the model's own key");
    return emu_range_of(container, emu_str(key->epk, key->epk_len));
}

static void sim_look(sim *s, const sim_item *item, sim_stored *out)
{
    const emu_container *container = sim_container(s, SIM_CONTAINER);
    const emu_item *stored;
    emu_key key;
    memset(out, 0, sizeof *out);
    if (!container) return;
    out->range = sim_range_of(s, container, item->key, &key);
    stored = emu_find_item(container, emu_find_partition(container, &key), aioc_mem_str(item->id));
    if (!stored || emu_item_expired(container, stored, sim_server_ms(&s->world))) return;
    out->present = true;
    if (container->has_ttl && stored->ttl > 0)
        out->expires_us = (uint64_t)((int64_t)stored->ts + stored->ttl - SIM_BASE_MS / 1000) * 1000000u;
    emu_etag_text(out->etag, stored->etag, stored->ts);
    out->text = emu_str(emu_item_text(stored), stored->text_len);
}

static int64_t sim_n_of(aiocosmos_str text)
{
    size_t at;
    for (at = 0; at + 4 < text.len; at++)
        if (memcmp(text.ptr + at, "\"n\":", 4) == 0) return strtol(text.ptr + at + 4, NULL, 10);
    return -1;
}

/*------------------------------------------------------------------------------
 * Session tokens
 *----------------------------------------------------------------------------*/

/* Range and LSN of "3:-1#42"; false: it is none. */
static bool sim_token_part(aiocosmos_str text, unsigned *range, int64_t *lsn)
{
    const char *colon = (const char *)memchr(text.ptr, ':', text.len);
    const char *hash = (const char *)memchr(text.ptr, '#', text.len);
    uint64_t id, number;
    if (!colon || !hash || hash < colon) return false;
    if (!aioc_text_parse_u64(emu_str(text.ptr, (size_t)(colon - text.ptr)), &id) || id >= SIM_RANGES ||
        !aioc_text_parse_u64(emu_str(hash + 1, (size_t)(text.ptr + text.len - hash - 1)), &number)) return false;
    *range = (unsigned)id;
    *lsn = (int64_t)number;
    return true;
}

static unsigned sim_range_number(sim *s, const emu_range *range)
{
    unsigned long number = strtoul(range->id, NULL, 10);
    SIM_CHECK(&s->world, number < SIM_RANGES, "range %s: too many for the model", range->id);
    return (unsigned)number;
}

/* Remembers, of each range that has come since, what it was split or merged from: "0","3". */
static void sim_learn_ranges(sim *s)
{
    const emu_container *container = sim_container(s, SIM_CONTAINER);
    emu_key key;
    uint32_t i;
    if (!container || s->ranges_seen == container->range_version + 1) return;
    s->ranges_seen = container->range_version + 1;
    for (i = 0; i < container->range_count; i++) {
        unsigned number = sim_range_number(s, container->range[i]);
        const char *at = emu_range_parents(container->range[i]);
        uint64_t *before = s->range_before[number];
        before[number / 64] |= UINT64_C(1) << number % 64;
        for (; *at; at++) {
            unsigned long parent = *at == '"' ? strtoul(at + 1, (char **)&at, 10) : SIM_RANGES;
            if (parent < SIM_RANGES) before[parent / 64] |= UINT64_C(1) << parent % 64;
        }
    }
    for (i = 0; i < SIM_KEYS; i++)
        s->range_keys[sim_range_number(s, sim_range_of(s, container, i, &key))] |= (uint8_t)(1u << i);
}

/* Whether a range is another, or came from it, as far as one key is concerned. */
static bool sim_descends(const sim *s, unsigned key, unsigned range, unsigned from)
{
    return (s->range_before[range][from / 64] >> from % 64 & 1) && (s->range_keys[from] >> key & 1);
}

/* Notes, of what a client has seen, what concerns the item that an operation is about to read. */
static void sim_note_seen(sim *s, sim_op *op, const int64_t *lsn)
{
    sim_stored stored;
    unsigned range, i;
    sim_learn_ranges(s);
    sim_look(s, op->item, &stored);
    if (!stored.range) return;
    range = sim_range_number(s, stored.range);
    for (i = 0; i < SIM_RANGES && op->seen_count < SIM_SEEN; i++) {
        if (lsn[i] < 0 || !sim_descends(s, op->item->key, range, i)) continue;
        op->seen[op->seen_count].range = i;
        op->seen[op->seen_count++].lsn = lsn[i];
    }
}

/* Whether a session token says that so much has been seen of a range: in its own words, or in those of a range that
 * came from it and that the item belongs to, too. */
static bool sim_token_covers(sim *s, aiocosmos_str token, unsigned key, unsigned range, const sim_seen *seen)
{
    int64_t lsn;
    size_t at, end;
    unsigned id;
    for (at = 0; at < token.len; at = end + 1) {
        for (end = at; end < token.len && token.ptr[end] != ','; end++) continue;
        SIM_CHECK(&s->world, sim_token_part(emu_str(token.ptr + at, end - at), &id, &lsn), "a session token is %.*s",
                  (int)token.len, token.ptr);
        if (!sim_descends(s, key, range, id) || !sim_descends(s, key, id, seen->range)) continue;
        if (id != seen->range) sim_cover(&s->world, SIM_session_token_of_child);
        else if (range != id) sim_cover(&s->world, SIM_session_token_of_parent);
        if (id != seen->range || lsn >= seen->lsn) return true;
    }
    return false;
}

static void sim_check_session(sim *s, const sim_op *op, const sim_request *request)
{
    aiocosmos_str token = sim_header(request->head, "x-ms-session-token: ");
    sim_stored stored;
    unsigned i;
    if (op->no_session)
        SIM_CHECK(&s->world, token.len == 0, "operation %ld carries a session token, against no_session", op->number);
    if (!op->seen_count) return;
    sim_look(s, op->item, &stored);
    sim_cover(&s->world, SIM_session_token_checked);
    for (i = 0; i < op->seen_count; i++)
        SIM_CHECK(&s->world, sim_token_covers(s, token, op->item->key, sim_range_number(s, stored.range), &op->seen[i]),
                  "operation %ld reads from range %s with the session token \"%.*s\"; range %u had answered up to %lld "
                  "before it was submitted", op->number, stored.range->id, (int)token.len, token.ptr,
                  op->seen[i].range, (long long)op->seen[i].lsn);
}

/*------------------------------------------------------------------------------
 * What the network sees
 *----------------------------------------------------------------------------*/

static sim_op *sim_op_of(sim *s, long number)
{
    SIM_CHECK(&s->world, number < (long)s->op_count, "a request of operation %ld, which there is not", number);
    return number < 0 ? NULL : s->op[number];
}

static bool sim_has(aiocosmos_str text, aiocosmos_str part)
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    if (part.len == 0) return true;
    for (; (size_t)(end - at) >= part.len; at++) {
        at = (const char *)memchr(at, *part.ptr, (size_t)(end - at) - part.len + 1);
        if (!at) return false;
        if (memcmp(at, part.ptr, part.len) == 0) return true;
    }
    return false;
}

static void sim_on_sent(void *user, world_machine *host, const sim_request *request)
{
    sim *s = (sim *)user;
    sim_op *op = sim_op_of(s, request->op);
    aiocosmos_str session;
    if (!op) return;
    /* A bulk's item has been given to a request by now. */
    if (op->in_bulk && op->sent == 0 && op->time_us) op->deadline_us = s->world.made.now_us + op->time_us;
    op->sent++;
    session = sim_header(request->head, "x-ms-session-token: ");
    sim_trace(&s->world, "operation %ld: sent, session token \"%.*s\"", op->number, (int)session.len, session.ptr);
    SIM_CHECK(&s->world, host == &op->client->host && op->life == op->client->born,
              "operation %ld is sent by another client", op->number);
    if (request->batch) sim_cover(&s->world, SIM_batch_sent);
    /* The rest of a batch goes on without an item whose time is over. */
    SIM_CHECK(&s->world, op->calls == 0 || (request->batch && op->status == AIOCOSMOS_E_TIMEOUT),
              "operation %ld is sent after its callback", op->number);
    SIM_CHECK(&s->world, !op->order_before || op->order_before->calls,
              "operation %ld overtakes %ld, which has the same order key", op->number, op->order_before->number);
    SIM_CHECK(&s->world, !op->body || sim_has(request->body, emu_str(op->body, op->body_len)),
              "operation %ld is sent with another body: %.*s", op->number, (int)request->body.len, request->body.ptr);
}

static void sim_on_arrived(void *user, const sim_request *request)
{
    sim *s = (sim *)user;
    sim_op *op = sim_op_of(s, request->op);
    if (!op) return;
    op->arrived++;
    SIM_CHECK(&s->world, op->arrived <= op->sent, "operation %ld arrived, and was never sent", op->number);
    sim_check_session(s, op, request);
}

static void sim_on_serving(void *user, long number)
{
    sim *s = (sim *)user;
    sim_op *op = sim_op_of(s, number);
    const sim_version *latest;
    sim_stored stored;
    size_t i;
    for (i = 0; op && op->trade && i < op->trade->count; i++) sim_on_serving(s, op->trade->of[i]->number);
    if (!op || !op->item) return;
    latest = sim_latest(op->item);
    sim_look(s, op->item, &stored);
    SIM_CHECK(&s->world, latest->present == stored.present && strcmp(latest->etag, stored.etag) == 0,
              "item %s changed and nobody changed it", op->item->id);
}

/* The operation changed its item: in no other way than it says. */
static void sim_applied(sim *s, sim_op *op, const sim_version *before, const sim_stored *after)
{
    sim_item *item = op->item;
    sim_version *made;
    int64_t n = after->present ? sim_n_of(after->text) : 0;
    sim_trace(&s->world, "operation %ld: applied, item %s is %s", op->number, item->id, after->etag);
    SIM_CHECK(&s->world, op->write, "operation %ld changes item %s, and is a read", op->number, item->id);
    if (op->kind == AIOCOSMOS_DELETE_ITEM) {
        SIM_CHECK(&s->world, !after->present, "operation %ld deletes item %s, and it is there", op->number, item->id);
    } else if (op->kind == AIOCOSMOS_PATCH_ITEM) {
        SIM_CHECK(&s->world, before->present && n == before->n + 1 && sim_marker(after->text) == op->number,
                  "operation %ld patches item %s to %.*s", op->number, item->id, (int)after->text.len, after->text.ptr);
    } else {
        SIM_CHECK(&s->world, after->text.len == op->body_len - 1 &&
                             memcmp(after->text.ptr, op->body, after->text.len) == 0,
                  "operation %ld stores item %s as %.*s", op->number, item->id, (int)after->text.len, after->text.ptr);
        SIM_CHECK(&s->world, op->kind != AIOCOSMOS_CREATE_ITEM || !before->present,
                  "operation %ld creates item %s again", op->number, item->id);
    }
    /* An upsert that finds no item creates one, whatever it was to match. */
    SIM_CHECK(&s->world, !*op->if_match || strcmp(op->if_match, before->etag) == 0 ||
                         (op->kind == AIOCOSMOS_UPSERT_ITEM && !before->present),
              "operation %ld changes item %s, which is not what if_match says", op->number, item->id);
    op->applied++;
    snprintf(op->made_etag, sizeof op->made_etag, "%s", after->etag);
    made = sim_add_version(item, s->world.made.now_us);
    made->expires_us = after->expires_us;
    made->present = after->present;
    made->writer = op->number;
    made->n = n;
    memcpy(made->etag, after->etag, sizeof made->etag);
}

/* Of an operation that may not be sent again after a loss, at most one arrival changes anything. */
static void sim_check_applied(sim *s, const sim_op *op)
{
    if (op->applied <= 1) return;
    sim_cover(&s->world, SIM_applied_twice_by_leave);
    SIM_CHECK(&s->world, op->leave, "operation %ld was applied %u times", op->number, op->applied);
}

static void sim_note_served(sim *s, sim_op *op, const emu_range *range)
{
    unsigned number = sim_range_number(s, range);
    bool first = op->served++ == 0;
    if (first) op->served_lsn = range->lsn;
    else if (number != op->served_range || op->served_container != s->containers) op->served_lsn = -1;
    else if (range->lsn < op->served_lsn) op->served_lsn = range->lsn;
    op->served_range = number;
    op->served_container = s->containers;
}

/* Its container is gone. */
static void sim_item_vanishes(sim *s, sim_item *item)
{
    if (sim_latest(item)->present) sim_add_version(item, s->world.made.now_us);
}

static void sim_check_whole(sim *s, const sim_trade *trade);

static void sim_on_served(void *user, long number)
{
    sim *s = (sim *)user;
    sim_op *op = sim_op_of(s, number);
    sim_version before;
    sim_stored after;
    sim_learn_ranges(s);
    if (op && op->trade) sim_check_whole(s, op->trade);
    if (!op || !op->item) return;
    before = *sim_latest(op->item);
    sim_look(s, op->item, &after);
    if (after.range) sim_note_served(s, op, after.range);
    if (before.present == after.present && strcmp(before.etag, after.etag) == 0) return;
    sim_applied(s, op, &before, &after);
    sim_check_applied(s, op);
}

/* Of a transaction all was done, or nothing. */
static void sim_check_whole(sim *s, const sim_trade *trade)
{
    size_t i, writes = 0, done = 0;
    for (i = 0; i < trade->count; i++) {
        const sim_op *op = trade->of[i];
        unsigned applied = op->applied;
        sim_on_served(s, op->number);
        writes += op->write;
        done += op->applied != applied;
    }
    SIM_CHECK(&s->world, done == 0 || done == writes, "of a transaction of %zu writes %zu were done", writes, done);
    sim_cover(&s->world, done ? SIM_trade_carried_out : SIM_trade_rolled_back);
}

/* Each operation of a batch is looked at by itself. */
static void sim_on_operation(void *user, aiocosmos_json operation, bool done)
{
    long number = sim_marker(emu_str(operation.ptr, operation.len));
    if (done) sim_on_served(user, number);
    else sim_on_serving(user, number);
}

/*------------------------------------------------------------------------------
 * What results must say
 *----------------------------------------------------------------------------*/

/* An answer came that says it was done: also when nobody wanted it any more. */
static bool sim_said_done(const sim_op *op)
{
    return op->status == 0 || (op->fate == AIOCOSMOS_FATE_ANSWERED && op->http_status >= 200 && op->http_status < 300);
}

/* Looked at when the callback runs, and once more at the end, when all that was under way has arrived. */
static void sim_check_fate(sim *s, const sim_op *op)
{
    const sim_world *w = &s->world;
    if (!op->write || !op->item) return;
    if (sim_said_done(op)) {
        SIM_CHECK(w, op->applied >= 1, "operation %ld is said to be done (%d), and was not applied", op->number,
                  op->http_status);
    } else if (op->fate == AIOCOSMOS_FATE_NOT_SENT) {
        SIM_CHECK(w, op->applied == 0, "operation %ld is said not to be sent (%d), and was applied", op->number,
                  op->status);
        SIM_CHECK(w, op->sent == 0 || op->http_status, "operation %ld is said not to be sent (%d), and was sent",
                  op->number, op->status);
    } else if (op->fate == AIOCOSMOS_FATE_ANSWERED) {
        SIM_CHECK(w, op->applied == 0, "operation %ld is said to have failed with %d/%d, and was applied", op->number,
                  op->status, op->sub_status);
    } else {
        SIM_CHECK(w, op->fate == AIOCOSMOS_FATE_MAYBE_APPLIED && op->sent > 0,
                  "operation %ld may have been applied (%d), and was not sent", op->number, op->status);
    }
    sim_check_applied(s, op);
}

static void sim_check_read(sim *s, const sim_op *op, const aiocosmos_result *result)
{
    const sim_version *seen;
    if (s->plan.garbles) return;
    if (result->status == 0) {
        seen = sim_version_since(op->item, op->submitted_us, result->etag, true);
        SIM_CHECK(&s->world, seen && result->etag.len,
                  "operation %ld reads item %s as %.*s, which it was not meanwhile",
                  op->number, op->item->id, (int)result->etag.len, result->etag.ptr);
        SIM_CHECK(&s->world, sim_marker(result->body) == seen->writer && sim_n_of(result->body) == seen->n,
                  "operation %ld reads another body than that ETag has: %.*s", op->number, (int)result->body.len,
                  result->body.ptr);
    } else if (result->status == 304) {
        seen = sim_version_since(op->item, op->submitted_us, aioc_mem_str(op->if_none_match), true);
        SIM_CHECK(&s->world, seen && *op->if_none_match, "operation %ld: item %s is not what it was", op->number,
                  op->item->id);
    } else if (result->status == 404 && result->sub_status == 0) {
        SIM_CHECK(&s->world, sim_version_since(op->item, op->submitted_us, emu_str(NULL, 0), false),
                  "operation %ld: item %s was there all the time", op->number, op->item->id);
    }
}

/* Whether it made a version with that ETag; one that may be sent again may make several. */
static bool sim_made(const sim_op *op, aiocosmos_str etag)
{
    size_t i;
    for (i = 0; i < op->item->version_count; i++)
        if (op->item->version[i].writer == op->number && emu_is(etag, op->item->version[i].etag)) return true;
    return false;
}

static void sim_check_written(sim *s, const sim_op *op, const aiocosmos_result *result)
{
    aiocosmos_str no_etag = emu_str(NULL, 0);
    sim_item *item = op->item;
    bool answered = result->fate == AIOCOSMOS_FATE_ANSWERED;
    if (s->plan.garbles) return;
    /* Its ETag stands escaped in the answer of a batch: without memory to read it the item is told without. */
    if (result->status == 0 && op->kind != AIOCOSMOS_DELETE_ITEM &&
        !(op->in_bulk && !result->etag.len && s->plan.breaks_memory))
        SIM_CHECK(&s->world, sim_made(op, result->etag), "operation %ld made %s, and its result says %.*s",
                  op->number, op->made_etag, (int)result->etag.len, result->etag.ptr);
    if (result->status == 0 && op->want_body && op->kind != AIOCOSMOS_DELETE_ITEM)
        SIM_CHECK(&s->world, sim_marker(result->body) == op->number, "operation %ld is answered with %.*s", op->number,
                  (int)result->body.len, result->body.ptr);
    if (answered && result->status == 409 && op->kind == AIOCOSMOS_CREATE_ITEM)
        SIM_CHECK(&s->world, sim_version_since(item, op->submitted_us, no_etag, true),
                  "operation %ld: item %s is said to be there, and was not", op->number, item->id);
    if (answered && result->status == 412)
        SIM_CHECK(&s->world, *op->if_match && sim_was_other_since(item, op->submitted_us, op->if_match),
                  "operation %ld: item %s is said not to be %s, and was", op->number, item->id, op->if_match);
    if (answered && result->status == 404 && result->sub_status == 0)
        SIM_CHECK(&s->world, sim_version_since(item, op->submitted_us, no_etag, false),
                  "operation %ld: item %s is said to be missing, and was not", op->number, item->id);
}

/* A client has seen what an answer says: also one that says that an item is missing, there, or another one. */
static void sim_learn_session(sim_client *client, const sim_op *op, const aiocosmos_result *result)
{
    unsigned range;
    int64_t lsn;
    bool refused;
    /* Of a container that is no more; or of one that was made since it was asked: a client that knows another one
     * cannot tell which of them came later. */
    if (op->item && (op->served_container != client->sim->containers || op->container != op->served_container)) return;
    refused = result->fate == AIOCOSMOS_FATE_ANSWERED && result->sub_status == 0 &&
                   (result->status == 404 || result->status == 409 || result->status == 412);
    if (refused && op->served_lsn >= 0) {
        sim_cover(&client->sim->world, SIM_session_token_of_failure);
        if (op->served_lsn > client->lsn[op->served_range]) client->lsn[op->served_range] = op->served_lsn;
    }
    if (result->status != 0 || !result->session_token.len) return;
    if (!sim_token_part(result->session_token, &range, &lsn)) return;
    if (lsn > client->lsn[range]) client->lsn[range] = lsn;
}

/* How much later its host may hear: a step whose budget is spent does one thing, at least, and there is one a frame. */
static uint64_t sim_host_late_us(const sim_op *op)
{
    if (!op->client->by_frames) return 0;
    return op->client->options.step_budget_us ? SIM_FRAMES_US : SIM_FRAME_US;
}

static void sim_check_deadline(sim *s, const sim_op *op)
{
    uint64_t stalled_us = s->world.stalled_us - op->stalled_us, late_us = SIM_LATE_US + sim_host_late_us(op);
    if (!op->deadline_us) return;
    SIM_CHECK(&s->world, s->world.made.now_us <= op->deadline_us + stalled_us + late_us,
              "operation %ld ends %" PRIu64 " us after its deadline, of which the host slept %" PRIu64, op->number,
              s->world.made.now_us - op->deadline_us, stalled_us);
}

/* Nothing is wrong with the service: what could be asked again on another connection, or needs no metadata, succeeds
 * long before its time is over. */
static void sim_check_trial(sim *s, const sim_op *op, const aiocosmos_result *result)
{
    uint64_t took_us = s->world.made.now_us - op->submitted_us - (s->world.stalled_us - op->stalled_us);
    if (s->plan.trial != SIM_BLACK_HOLES && s->plan.trial != SIM_SILENT_METADATA) return;
    if (op->kind != AIOCOSMOS_READ_ITEM || op->in_bulk || op->order_key) return;
    if (!op->deadline_us || op->deadline_us < op->submitted_us + 25000000u) return;
    if (s->plan.trial == SIM_BLACK_HOLES && result->attempts > 1) sim_cover(&s->world, SIM_read_left_black_hole);
    SIM_CHECK(&s->world, result->http_status != 0 &&
                         took_us < (uint64_t)result->attempts * SIM_ATTEMPT_US + sim_host_late_us(op),
              "operation %ld ends with %d after %" PRIu64 " us and %u attempts", op->number, result->status, took_us,
              (unsigned)result->attempts);
}

static sim_class sim_class_of(int status, int sub_status)
{
    switch (status) {
    case AIOCOSMOS_E_PROTOCOL: case 409: case 412: return SIM_GARBLED;      /* tried again: no word of the service's */
    case 401: return SIM_REFUSED;
    case 400: return sub_status == 1024 ? SIM_METADATA : SIM_OTHER;
    case 403: return sub_status == 3 || sub_status == 1008 ? SIM_MOVED : SIM_REFUSED;
    case 404: return sub_status == 1002 ? SIM_SESSION : sub_status == 1003 ? SIM_METADATA
                   : sub_status == 1013 ? SIM_GONE : SIM_GARBLED;
    case 410: return sub_status == 1000 ? SIM_METADATA : SIM_GONE;
    case 429: return SIM_THROTTLE;
    case 449: case 503: return SIM_GONE;
    case 408: case 500: case 502: case 504: return SIM_UNCLEAR;
    default:  return status < 0 ? SIM_LOST : SIM_OTHER;
    }
}

static uint32_t sim_retries_max(const sim_client *client)
{
    uint32_t max = client->options.retries_max;
    return max == 0 ? AIOCOSMOS_DEFAULT_RETRIES : max == AIOCOSMOS_OFF ? 0 : max;
}

/* Each kind of failure has a patience of its own, and all together but for two: those that a server says that has
 * moved, and those of a signature, which may be made anew once. 0: as much as all. */
static void sim_check_patience(const sim_client *client, const sim_tries *tries)
{
    static const unsigned most[SIM_CLASSES] = { 0, 3, 1, 120, 0, 1, 3, 0, 0, 0 };
    uint32_t retries_max = sim_retries_max(client);
    unsigned free_of_count = tries->of[SIM_MOVED] + tries->of[SIM_REFUSED], i;
    unsigned counted = tries->all - free_of_count - tries->of[SIM_THROTTLE], requests = tries->steps + 1;
    for (i = 0; i < SIM_CLASSES; i++)
        SIM_CHECK(&client->sim->world, !most[i] || tries->of[i] <= (most[i] + 1) * requests,
                  "operation %" PRIx64 " met class %u of failures %u times", tries->op, i, tries->of[i]);
    SIM_CHECK(&client->sim->world, counted <= (retries_max + 1) * requests &&
                                   (retries_max || free_of_count <= 2 * requests),
              "operation %" PRIx64 " took %u attempts, of at most %u, and %u of a server that has moved", tries->op,
              counted, (unsigned)retries_max + 1, tries->of[SIM_MOVED]);
}

/* The log's line of an attempt tells what came of it; of an answer that broke off, what its head said, too: a refusal
 * is one. The operation of a page may count those of an earlier one, that its page began with. */
static void sim_on_attempt(sim_client *client, const char *line, uint64_t op)
{
    sim_tries *tries = &client->tries[(uint32_t)op % SIM_SLOTS];
    unsigned number;
    int status, sub_status, head, head_sub, found;
    found = sscanf(line, "attempt %u: %*s %d/%d behind %d/%d,", &number, &status, &sub_status, &head, &head_sub);
    if (found < 3) return;
    if (found == 5 && (head == 401 || head == 403 || head == 429)) {
        status = head;
        sub_status = head_sub;
    }
    if (tries->op != op) {
        memset(tries, 0, sizeof *tries);
        tries->op = op;
        tries->before = number - 1;
    }
    SIM_CHECK(&client->sim->world, tries->before + ++tries->all == number, "operation %" PRIx64 " tells of attempt %u "
              "behind %u", op, number, tries->before + tries->all - 1);
    tries->of[sim_class_of(status, sub_status)]++;
    tries->status = status;
    sim_check_patience(client, tries);
}

/* Attempts are as patient with 429 as throttle_wait_ms and the number of retries allow. Items of a bulk have the log of
 * their requests, and are as patient as their time allows. */
static void sim_check_attempts(sim *s, const sim_op *op, const aiocosmos_result *result)
{
    const sim_tries *tries = &op->client->tries[(uint32_t)result->op.id % SIM_SLOTS];
    uint32_t retries_max = sim_retries_max(op->client), throttle_ms = op->client->options.throttle_wait_ms;
    uint64_t throttle_all_ms;
    if (op->kind >= SIM_PAGE || result->attempts == 0 || op->in_bulk) return;
    SIM_CHECK(&s->world, tries->op == result->op.id && tries->all == result->attempts, "operation %ld tells of %u "
              "attempts, and its log of %u", op->number, (unsigned)result->attempts, tries->all);
    SIM_CHECK(&s->world, result->attempts - tries->of[SIM_MOVED] - tries->of[SIM_REFUSED] <=
                         (retries_max + 1) * (tries->steps + 1),
              "operation %ld took %u attempts, of at most %u", op->number, (unsigned)result->attempts,
              (unsigned)retries_max + 1);
    if (throttle_ms == 0) throttle_ms = AIOCOSMOS_DEFAULT_THROTTLE_WAIT_MS;
    throttle_all_ms = (uint64_t)throttle_ms * (tries->steps + 1);      /* each request of several has as much */
    SIM_CHECK(&s->world, result->throttled_us <= (throttle_all_ms + tries->of[SIM_THROTTLE]) * 1000u ||
                         throttle_ms == AIOCOSMOS_OFF,
              "operation %ld waits %" PRIu64 " us for others, of at most %" PRIu64 " ms", op->number,
              result->throttled_us, throttle_all_ms);
}

/* What the service says to have not done is asked again as often as it may be, and as long as there is time. */
static void sim_check_persistence(sim *s, const sim_op *op, const aiocosmos_result *result)
{
    const sim_tries *tries = &op->client->tries[(uint32_t)result->op.id % SIM_SLOTS];
    unsigned counted = tries->all - tries->of[SIM_MOVED] - tries->of[SIM_REFUSED];
    if (op->in_bulk) counted -= tries->of[SIM_THROTTLE];
    if (op->kind >= SIM_PAGE || (result->status != 449 && result->status != 503) || tries->status != result->status ||
        result->fate != AIOCOSMOS_FATE_ANSWERED || s->plan.proxies || s->plan.garbles) return;
    if (op->time_us && s->world.made.now_us + SIM_BACKOFF_US >= op->submitted_us + op->time_us) return;
    sim_cover(&s->world, SIM_retries_used_up);
    SIM_CHECK(&s->world, counted > sim_retries_max(op->client), "operation %ld gives up at %d after %u attempts of %u",
              op->number, result->status, counted, (unsigned)sim_retries_max(op->client) + 1);
}

static void sim_count_result(sim *s, const sim_op *op)
{
    sim_world *w = &s->world;
    static const sim_covered done[] = {
        SIM_read_done, SIM_create_done, SIM_upsert_done, SIM_replace_done, SIM_patch_done, SIM_delete_done
    };
    w->report->operations++;
    if (op->status == 0 && op->kind <= AIOCOSMOS_DELETE_ITEM) sim_cover(w, done[op->kind - 1]);
    if (op->status == 0 && op->kind > AIOCOSMOS_DELETE_ITEM && op->kind < SIM_PAGE) sim_cover(w, SIM_metadata_done);
    if (op->status == 0 && op->in_bulk) sim_cover(w, SIM_bulk_item_done);
    if (op->status != 0 && op->in_bulk) sim_cover(w, SIM_bulk_item_failed);
    if (op->status == 304) sim_cover(w, SIM_read_not_modified);
    if (op->status == 404) sim_cover(w, SIM_missing_404);
    if (op->status == 409) sim_cover(w, SIM_conflict_409);
    if (op->status == 412) sim_cover(w, SIM_precondition_412);
    if (op->status == AIOCOSMOS_E_TIMEOUT) sim_cover(w, SIM_timed_out);
    if (!op->write || op->status == 0) return;
    if (op->fate == AIOCOSMOS_FATE_NOT_SENT) sim_cover(w, SIM_fate_not_sent);
    if (op->fate == AIOCOSMOS_FATE_ANSWERED) sim_cover(w, SIM_fate_answered_failure);
    if (op->fate == AIOCOSMOS_FATE_MAYBE_APPLIED)
        sim_cover(w, op->applied ? SIM_fate_maybe_and_applied : SIM_fate_maybe_and_not_applied);
    if (op->status != AIOCOSMOS_E_CANCELLED) return;
    if (sim_said_done(op)) sim_cover(w, SIM_cancelled_after_success);
    if (op->fate == AIOCOSMOS_FATE_MAYBE_APPLIED) sim_cover(w, SIM_cancelled_in_doubt);
}

/* Everything that every callback has to hold, whatever it is of. */
static void sim_check_result(sim *s, sim_op *op, const aiocosmos_result *result)
{
    sim_client *client = op->client;
    const sim_world *w = &s->world;
    sim_trace(&s->world, "operation %ld: status %d/%d fate %d after %u attempts, sent %u, applied %u, \"%.*s\": %.*s",
              op->number, result->status, result->sub_status, result->fate, result->attempts, op->sent, op->applied,
              (int)result->session_token.len, result->session_token.ptr, (int)result->message.len, result->message.ptr);
    SIM_CHECK(w, client->client && client->inside, "operation %ld is called back outside of step and destroy",
              op->number);
    SIM_CHECK(w, ++op->calls == 1, "operation %ld is called back %u times", op->number, op->calls);
    SIM_CHECK(w, !op->handle.id || !result->op.id || op->handle.id == result->op.id,
              "operation %ld is called back with another's handle", op->number);
    SIM_CHECK(w, !op->handle.id || !aiocosmos_cancel(client->client, op->handle),
              "operation %ld can be cancelled in its own callback", op->number);
    SIM_CHECK(w, (result->status == 0 || result->status == 304 || result->message.len),
              "operation %ld fails with %d and says nothing", op->number, result->status);
    if (result->status != 0 && result->status != 304)
        SIM_CHECK(w, client->failure_fresh && client->failure_seen == result->op.id,
                  "on_failure did not see operation %ld", op->number);
    client->failure_fresh = false;
    op->status = result->status;
    op->http_status = result->http_status;
    op->sub_status = result->sub_status;
    op->fate = result->fate;
    client->owed--;
    s->net.work++;
    SIM_CHECK(w, op->kind >= SIM_PAGE || op->sent <= result->attempts,
              "operation %ld was sent %u times, and tells of %u",
              op->number, op->sent, result->attempts);
    SIM_CHECK(w, op->status != 400 || op->sub_status == 1024 || op->kind >= SIM_PAGE || s->plan.garbles,
              "operation %ld asks in a wrong way", op->number);
    if (op->cancelled)
        SIM_CHECK(w, op->status == AIOCOSMOS_E_CANCELLED || op->status == AIOCOSMOS_E_SHUTDOWN,
                  "operation %ld was cancelled, and ends with %d", op->number, op->status);
    else
        SIM_CHECK(w, op->status != AIOCOSMOS_E_CANCELLED || op->in_bulk || op->kind >= SIM_PAGE,
                  "operation %ld ends cancelled, and nobody cancelled it", op->number);
    sim_check_deadline(s, op);
    sim_check_fate(s, op);
    if (op->kind == AIOCOSMOS_READ_ITEM) sim_check_read(s, op, result);
    else if (op->item && op->write) sim_check_written(s, op, result);
    if (op->kind < SIM_PAGE) sim_learn_session(client, op, result);
    sim_check_trial(s, op, result);
    sim_check_attempts(s, op, result);
    sim_check_persistence(s, op, result);
    sim_spend(&s->world, SIM_CALLBACK_US);
    if (s->plan.ru_per_second > 0 && !s->plan.faults && result->throttled_us) sim_cover(&s->world, SIM_throttled_by_ru);
    sim_count_result(s, op);
}

/*------------------------------------------------------------------------------
 * Operations
 *----------------------------------------------------------------------------*/

static sim_op *sim_op_new(sim_client *client, int kind, sim_item *item)
{
    sim *s = client->sim;
    sim_op *op = (sim_op *)calloc(1, sizeof *op);
    if (!op) abort();
    s->op = (sim_op **)world_grow(s->op, s->op_count, &s->op_cap, sizeof *s->op);
    s->op[s->op_count] = op;
    op->number = (long)s->op_count++;
    op->client = client;
    op->life = client->born;
    op->kind = kind;
    op->item = item;
    op->write = kind >= AIOCOSMOS_CREATE_ITEM && kind <= AIOCOSMOS_DELETE_ITEM;
    op->leave = client->options.retry_writes;
    op->no_session = client->options.no_session;
    op->served_lsn = -1;
    op->container = s->containers;
    op->submitted_us = s->world.made.now_us;
    op->stalled_us = s->world.stalled_us;
    return op;
}

/* A client that owes nothing, and refuses whatever is asked of it, steps in vain. */
static void sim_still_full(sim_client *client)
{
    sim_world *world = &client->sim->world;
    sim_cover(world, SIM_submit_refused_full);
    if (client->owed || !client->full_since_us) client->full_since_us = world->made.now_us;
    SIM_CHECK(world, world->made.now_us < client->full_since_us + SIM_FULL_US,
              "client %u owes nothing, and is full for ever: %s", client->number, aiocosmos_last_error(client->client));
}

/* A submit said no: nothing may come of it. */
static void sim_op_refused(sim_op *op, int refused)
{
    sim *s = op->client->sim;
    sim_trace(&s->world, "operation %ld: refused with %d: %s", op->number, refused,
              aiocosmos_last_error(op->client->client));
    SIM_CHECK(&s->world, refused == AIOCOSMOS_E_FULL || refused == AIOCOSMOS_E_NOMEM || refused == AIOCOSMOS_E_SHUTDOWN,
              "operation %ld is refused with %d: %s", op->number, refused, aiocosmos_last_error(op->client->client));
    if (refused == AIOCOSMOS_E_FULL) sim_still_full(op->client);
    if (refused == AIOCOSMOS_E_SHUTDOWN) sim_cover(&s->world, SIM_submit_refused_shutdown);
    SIM_CHECK(&s->world, op->sent == 0 && op->calls == 0, "operation %ld was refused, and is at work", op->number);
    op->calls = 1;                           /* a callback would be the second */
    op->status = refused;
    op->fate = AIOCOSMOS_FATE_NOT_SENT;
}

static void sim_op_accepted(sim_op *op, uint32_t timeout_ms)
{
    sim_client *client = op->client;
    client->owed++;
    client->full_since_us = 0;
    if (timeout_ms == 0) timeout_ms = client->options.request_timeout_ms;
    if (timeout_ms == 0) timeout_ms = AIOCOSMOS_DEFAULT_REQUEST_TIMEOUT_MS;
    if (timeout_ms == AIOCOSMOS_OFF) return;
    op->time_us = (uint64_t)timeout_ms * 1000u;
    if (!op->in_bulk) op->deadline_us = op->submitted_us + op->time_us;
}

/* A client is abandoned: nobody is called back, and what is under way may arrive. */
static void sim_ops_abandoned(sim_client *client)
{
    sim *s = client->sim;
    size_t i;
    for (i = 0; i < s->op_count; i++) {
        sim_op *op = s->op[i];
        if (op->client != client || op->life != client->born || op->calls) continue;
        op->calls = 1;
        op->status = AIOCOSMOS_E_SHUTDOWN;
        op->fate = op->sent ? AIOCOSMOS_FATE_MAYBE_APPLIED : AIOCOSMOS_FATE_NOT_SENT;
    }
    client->owed = 0;
}

/* Past the network, faults and limits: somebody else's request. Returns the answer's body, to be freed. */
static char *sim_past_weather(sim *s, const char *verb, const char *path, const char *type, const char *link,
                              const char *key, const char *body)
{
    emu_fault *faults = s->core->faults;
    double ru_per_second = s->core->options.ru_per_second;
    char *got;
    s->core->faults = NULL;
    s->core->options.ru_per_second = 0;
    got = sim_server_does(&s->world, s->core, verb, path, type, link, key, body);
    s->core->faults = faults;
    s->core->options.ru_per_second = ru_per_second;
    return got;
}

/* At the end: everything has arrived that ever will. */
static void sim_check_all(sim *s)
{
    size_t i;
    for (i = 0; i < s->op_count; i++) {
        const sim_op *op = s->op[i];
        SIM_CHECK(&s->world, op->calls == 1, "operation %ld has been called back %u times", op->number, op->calls);
        sim_check_fate(s, op);
    }
}

static void sim_model_free(sim *s)
{
    size_t i;
    for (i = 0; i < s->op_count; i++) {
        free(s->op[i]->body);
        free(s->op[i]);
    }
    for (i = 0; i < s->item_count; i++) {
        free(s->item[i]->version);
        free(s->item[i]);
    }
    free(s->op);
    free(s->item);
}

#endif
