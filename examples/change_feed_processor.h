/* change_feed_processor.h: several workers, in one process or in many, share the change feed of a container. Copy it:
 * it is one header over aiocosmos.h's public functions, C99 that is C++11 too, every function static.
 *
 *     cfp_options options = {0};
 *     options.container = "orders";
 *     options.lease_container = "leases";               // its partition key is /processor
 *     options.name = "mailer";                          // workers of one name share the work
 *     options.changes = on_changes;                     // deals with a page, then calls cfp_done()
 *     cfp *processor = cfp_open(client, &options);
 *     cfp_run(processor, &stop);                        // until somebody sets it; follow_changes.c is the whole of it
 *     cfp_close(processor);
 *
 * A host that has a loop of its own calls cfp_step() there.
 *
 * HOW IT WORKS
 * - A lease is an item: a span of the key space, who owns it, and the continuation of its feed. All leases of a name
 *   are of one partition key, so that one transaction replaces a lease by two, or two by one: the spans never overlap
 *   and never leave a gap. Whoever comes first makes them: one for each partition key range, or more (leases_min).
 * - A lease is written only with its ETag, and each write makes another one. So of two workers that want it one gets a
 *   412, and one that was robbed learns it from its next write, in renew_ms at the latest.
 * - It has expired when its ETag has not changed for expire_ms, by the clock of the worker that looks at it; clocks are
 *   never compared. The owner lets go by itself when it could not write for so long.
 * - A worker aims at ceil(leases / workers that live). It takes what has no owner or has expired, half at a time, so
 *   that workers that begin together share it; then it steals from the worker that has most, if that has at least two
 *   more than itself.
 * - A page is checkpointed when the host has called cfp_done(), and then the next is asked for. Each change comes at
 *   least once: again, where a worker was killed or robbed before the checkpoint was written (checkpoint_ms).
 * - The feed of a span follows splits and merges of ranges by itself. To share the work anew, a lease that spans
 *   several ranges becomes two, and leases that lie in one range become one, if there are more than need be. Their
 *   feeds begin at "now"; the old lease goes on until it has had nothing more behind that "now", then it is replaced.
 *   What changes in between comes twice. So a lease that never catches up is not split: leases_min makes more of them
 *   beforehand. This needs the client's session, unless consistency is Strong: no_session is wrong here.
 * - A container that was deleted and created anew has other changes, and the feeds fail, which `failed` tells: stop all
 *   workers and delete the leases.
 *
 * Each lease has a cursor of the client's, and up to two more while it is split or merged: pending_max (1024) has to be
 * at least three times as many as the leases of one worker may become, and ten.
 *
 * It holds memory from malloc: itself, the table of leases with a continuation or two each, for a moment the list of
 * ranges, and a body while a write is submitted. */
#ifndef CHANGE_FEED_PROCESSOR_H
#define CHANGE_FEED_PROCESSOR_H
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct cfp cfp;
/* Texts and platform must outlive the processor. All workers of a name have the same container, from, from_time_s and
 * all_versions. */
typedef struct cfp_options {
    const char *database;              /* of both containers (default: the client's default_database) */
    const char *container, *lease_container;
    const char *name;                  /* of at most 63 bytes */
    const char *worker;                /* the same; no two that live may have it alike (default: a random one) */
    aiocosmos_changes_from from;       /* where a lease without a continuation begins */
    int64_t  from_time_s;
    bool     all_versions;
    uint32_t page_items_max;
    uint32_t leases_min;               /* make so many at least, at most 100 at first (default: one a range) */
    uint32_t poll_ms;                  /* asks again so long after there was nothing new (default: 1000) */
    uint32_t checkpoint_ms;            /* not more often than that (default: 1000), at most renew_ms */
    uint32_t renew_ms;                 /* each lease is written, and all are read, so often (default: 5000); a lease
                                        * has to live until a second try, so that it is at most half of expire_ms */
    uint32_t expire_ms;                /* (default: 20000) */
    uint32_t ranges_ms;                /* looks for splits and merges of ranges so often (default: 60000) */
    const aiocosmos_platform *platform;   /* whose clock it is (default: the system's) */
    /* A page of changes, lent until it returns. Deal with it now or later, then cfp_done(processor, page_id). It may
     * close the processor, and then destroy the client. */
    void (*changes)(cfp *processor, uint64_t page_id, const aiocosmos_page *page, void *user_data);
    /* What went wrong and is tried again, and stays wrong if it is a wrong name, say. May not close (default: prints a
     * line to stderr). */
    void (*failed)(cfp *processor, int status, aiocosmos_str message, void *user_data);
    void *user_data;
} cfp_options;

/* NULL: no memory, no random bytes for a worker's name, a name is missing or too long, or there is nobody to call. */
static inline cfp *cfp_open(aiocosmos_client *client, const cfp_options *options);
/* Submits what is due. Returns in how many ms it wants to be called again; call it after every aiocosmos_step(). */
static inline int cfp_step(cfp *processor);
/* The page has been dealt with. False: its lease is lost, and somebody else gets the page once more. */
static inline bool cfp_done(cfp *processor, uint64_t page_id);
/* From now on gives its leases back, each when its page is done. */
static inline void cfp_stop(cfp *processor);
static inline int cfp_held(const cfp *processor);                                        /* leases */
/* The loop of a host that has none: steps until *stop, which is looked at each time that something happens (see
 * aiocosmos_wake()), then until all leases are given back. No callback may close the processor meanwhile. */
static inline void cfp_run(cfp *processor, const volatile bool *stop);
/* About how many transactions are not dealt with yet, in all leases: of each range, those between the last page and the
 * LSN at which it was read. Those of other workers as they have last written it. -1: not known of all. */
static inline int64_t cfp_behind(const cfp *processor);
/* Before the client's destroy. Leases that it still holds expire. */
static inline void cfp_close(cfp *processor);

/*------------------------
 * MARK: - State
 *------------------------*/

#define CFP_BORDER 136                 /* of a hash of three levels, and the NUL */
#define CFP_NAME   64                  /* of a worker, and the NUL */
enum { CFP_SPANS_AT_FIRST = 100, CFP_RETRY_MS = 100 };

typedef struct cfp_lease cfp_lease;

/* A feed of a lease that is to be, of which only its "now" is wanted. */
typedef struct cfp_head { cfp_lease *lease; aiocosmos_cursor cursor; char *continuation; } cfp_head;

struct cfp_lease {
    cfp_lease *next;                   /* by min */
    cfp *processor;
    char min[CFP_BORDER], max[CFP_BORDER], owner[CFP_NAME], etag[128];
    char *continuation;                /* of the last page that is done; NULL: none */
    char *behind_page;                 /* of the page that the host has */
    int64_t  behind, behind_then;      /* transactions, -1: not known; behind the page that the host has */
    uint64_t seen_ms;                  /* another's: when its ETag was last seen to be another */
    uint64_t written_ms, sent_ms;      /* ours: when the last write that succeeded was sent; when the last was */
    uint64_t ask_ms, retry_ms;         /* not before: the next page; the next write */
    uint64_t page_id;                  /* the host has this page; 0: none */
    uint64_t asked, idle;              /* the turn in which a page was asked for; one that said "nothing new" was */
    uint32_t round;                    /* the listing in which it was last seen */
    bool held, owed, dirty, leaving;   /* ours; a page is owed; the continuation is not stored; being given back */
    aiocosmos_cursor cursor;
    aiocosmos_op write;                /* under way: id not 0 */
    bool resizing;                     /* and it is what splits or merges: the fields below stay as they are */
    char middle[CFP_BORDER];           /* splits there; "": does not */
    cfp_lease *other;                  /* merges with this right neighbour; NULL: does not */
    cfp_head head[2];
    uint64_t heads_known;              /* the turn in which the last "now" was known; 0: not yet */
};

typedef struct cfp_range {
    struct cfp_range *next;            /* by min */
    char id[64], min[CFP_BORDER], max[CFP_BORDER];
    char *parents;                     /* a JSON array of ids */
    bool gone;                         /* another names it as its parent */
} cfp_range;

struct cfp {
    aiocosmos_client *client;
    cfp_options options;
    cfp_lease *leases;
    cfp_range *ranges;
    aiocosmos_cursor list, range_list; /* being read: id not 0 */
    aiocosmos_op create;
    uint64_t list_ms, ranges_ms;       /* when they are due */
    uint64_t pages, turn;              /* counted up */
    uint32_t round;
    bool stopping, listed, empty;
    char random_name[CFP_NAME];
};

static uint64_t cfp_now(const cfp *p)
{
    return p->options.platform->monotonic_us(p->options.platform->user_data) / 1000;
}

static void cfp_fail(cfp *p, int status, aiocosmos_str message)
{
    const cfp_options *o = &p->options;
    if (o->failed) o->failed(p, status, message, o->user_data);
    else fprintf(stderr, "%s, %s: %d: %.*s\n", o->name, o->worker, status, (int)message.len, message.ptr);
}

/* What submits was refused: E_FULL passes. */
static void cfp_refused(cfp *p, int status)
{
    if (status != AIOCOSMOS_E_FULL) cfp_fail(p, status, aiocosmos_text(aiocosmos_last_error(p->client)));
}

/* Puts a copy in the text's place. False: no memory, and it stays. */
static bool cfp_set(char **text, aiocosmos_str to)
{
    char *copy = (char *)malloc(to.len + 1);
    if (!copy) return false;
    if (to.len) memcpy(copy, to.ptr, to.len);
    copy[to.len] = 0;
    free(*text);
    *text = copy;
    return true;
}

static bool cfp_get(aiocosmos_json object, const char *pointer, char *out, size_t cap)
{
    return aiocosmos_json_get_str(aiocosmos_json_at(object, pointer), out, cap) < cap;
}

static cfp_lease *cfp_find(cfp *p, const char *min)
{
    cfp_lease *l = p->leases;
    while (l && strcmp(l->min, min) != 0) l = l->next;
    return l;
}

/* The item of a lease. Two leases that begin alike have one id: they cannot both be. NULL: no memory. */
static char *cfp_body(const cfp *p, const char *min, const char *max, const char *owner, const char *continuation,
                      int64_t behind)
{
    char id[CFP_BORDER + 8], *text = NULL;
    size_t cap = 0;
    aiocosmos_jw w;
    snprintf(id, sizeof id, "from-%s", min);
    for (;;) {                                   /* measured first */
        aiocosmos_jw_init(&w, text, cap);
        aiocosmos_jw_object(&w, NULL);
        aiocosmos_jw_str(&w, "id", id);
        aiocosmos_jw_str(&w, "processor", p->options.name);
        aiocosmos_jw_str(&w, "min", min);
        aiocosmos_jw_str(&w, "max", max);
        aiocosmos_jw_str(&w, "owner", owner);
        if (continuation) aiocosmos_jw_str(&w, "continuation", continuation);
        aiocosmos_jw_i64(&w, "behind", behind);
        aiocosmos_jw_end(&w);
        if (aiocosmos_jw_finish(&w).len || text) return text;
        cap = w.len + 1;
        if (!(text = (char *)malloc(cap))) return NULL;
    }
}

/*------------------------
 * MARK: - Letting go
 *------------------------*/

static void cfp_unsize(cfp_lease *l)
{
    int i;
    for (i = 0; i < 2; i++) {
        if (l->head[i].cursor.id) aiocosmos_cursor_forget(l->processor->client, l->head[i].cursor);
        free(l->head[i].continuation);
        memset(&l->head[i], 0, sizeof l->head[i]);
    }
    l->middle[0] = 0;
    l->other = NULL;
    l->heads_known = 0;
}

static void cfp_close_feed(cfp_lease *l)
{
    if (l->cursor.id) aiocosmos_cursor_forget(l->processor->client, l->cursor);
    l->cursor.id = 0;
    l->owed = false;
    l->page_id = l->asked = l->idle = 0;
}

/* It is not ours any more, or nobody knows: the next listing says, and is due at once. */
static void cfp_drop(cfp_lease *l)
{
    cfp *p = l->processor;
    cfp_lease *left;
    for (left = p->leases; left && left->other != l; left = left->next) continue;     /* merges with it */
    if (left && left->write.id && left->resizing) cfp_drop(left);        /* whether they are one says the listing */
    else if (left) cfp_unsize(left);
    cfp_unsize(l);
    cfp_close_feed(l);
    if (l->write.id) aiocosmos_forget(p->client, l->write);
    l->write.id = 0;
    p->list_ms = cfp_now(p);
    if (!l->held) return;
    l->held = l->dirty = false;
    l->etag[0] = 0;
    l->seen_ms = p->list_ms;
}

static void cfp_free_lease(cfp_lease *l)
{
    cfp_lease **at = &l->processor->leases;
    uint64_t list_ms = l->processor->list_ms;
    cfp_drop(l);
    l->processor->list_ms = list_ms;
    while (*at != l) at = &(*at)->next;
    *at = l->next;
    free(l->continuation);
    free(l->behind_page);
    free(l);
}

static bool cfp_is_out_of_time(const cfp_lease *l)
{
    return cfp_now(l->processor) - l->written_ms >= l->processor->options.expire_ms;
}

/*------------------------
 * MARK: - Writing leases
 *------------------------*/

/* Keeps the ETag of a write that succeeded. One that is too long to be kept makes the next write fail. */
static void cfp_written(cfp_lease *l, aiocosmos_str etag)
{
    snprintf(l->etag, sizeof l->etag, "%.*s", (int)etag.len, etag.ptr);
    l->written_ms = l->sent_ms;
}

static void cfp_list_soon(cfp *p, uint32_t in_ms)
{
    uint64_t at = cfp_now(p) + in_ms;
    if (p->list_ms > at) p->list_ms = at;
}

/* After a 404 or 412 somebody else has it, or it was our own first try whose answer was lost: the listing says. After
 * anything else one that is ours still is, until its time is over. */
static void cfp_write_failed(cfp_lease *l, const aiocosmos_result *result)
{
    cfp *p = l->processor;
    if (result->status == 404 || result->status == 412) {
        cfp_list_soon(p, CFP_RETRY_MS / 2);      /* before who has it takes more */
        cfp_drop(l);
        return;
    }
    l->dirty = l->held;
    l->retry_ms = cfp_now(p) + CFP_RETRY_MS;
    cfp_fail(p, result->status, result->message);
}

static void cfp_on_write(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    cfp_lease *l = (cfp_lease *)user_data;
    (void)client;
    l->write.id = 0;
    if (result->status != 0) {
        cfp_write_failed(l, result);
        return;
    }
    cfp_written(l, result->etag);
    snprintf(l->owner, sizeof l->owner, "%s", l->leaving ? "" : l->processor->options.worker);
    l->held = true;
    if (l->leaving) cfp_drop(l);
}

/* Takes it, renews it, checkpoints it; or gives it back. */
static void cfp_write(cfp_lease *l, bool leaving)
{
    cfp *p = l->processor;
    const char *owner = leaving ? "" : p->options.worker;
    char id[CFP_BORDER + 8], *body = cfp_body(p, l->min, l->max, owner, l->continuation, l->behind);
    aiocosmos_request request;
    int refused = AIOCOSMOS_E_FULL;
    memset(&request, 0, sizeof request);
    snprintf(id, sizeof id, "from-%s", l->min);
    request.kind = AIOCOSMOS_REPLACE_ITEM;
    request.database = p->options.database;
    request.container = p->options.lease_container;
    request.id = id;
    request.pk = aiocosmos_pk_s(p->options.name);
    request.body = aiocosmos_text(body);
    request.if_match = aiocosmos_text(l->etag);
    request.timeout_ms = p->options.expire_ms;
    request.done = cfp_on_write;
    request.user_data = l;
    if (body) refused = aiocosmos_submit(p->client, &request, &l->write);
    free(body);
    l->sent_ms = cfp_now(p);
    l->retry_ms = l->sent_ms + CFP_RETRY_MS;
    if (refused) {
        cfp_refused(p, refused);
        return;
    }
    l->dirty = l->resizing = false;
    l->leaving = leaving;
}

/*------------------------
 * MARK: - Feeds
 *------------------------*/

static int cfp_open_feed(cfp *p, const char *min, const char *max, const char *continuation,
                         aiocosmos_changes_from from, aiocosmos_cursor *cursor)
{
    aiocosmos_changes_request request;
    memset(&request, 0, sizeof request);
    request.database = p->options.database;
    request.container = p->options.container;
    request.epk_min = min;
    request.epk_max = max;
    request.from = from;
    if (from == AIOCOSMOS_FROM_TIME) request.from_time_s = p->options.from_time_s;
    request.all_versions = p->options.all_versions;
    request.page_items_max = p->options.page_items_max;
    request.continuation = aiocosmos_text(continuation);
    return aiocosmos_changes_open(p->client, &request, cursor);
}

/* The LSN of a session token, "id:version#LSN#region=LSN" or "id:LSN". */
static int64_t cfp_token_lsn(aiocosmos_str token)
{
    char text[64];
    const char *colon, *hash;
    snprintf(text, sizeof text, "%.*s", (int)token.len, token.ptr ? token.ptr : "");
    colon = strchr(text, ':');
    if (!colon) return -1;
    hash = strchr(colon, '#');
    return (int64_t)strtoll((hash ? hash : colon) + 1, NULL, 10);
}

/* How far the last item of a page is from where its range was when it answered. */
static int64_t cfp_distance(const aiocosmos_page *page)
{
    aiocosmos_json item, last, lsn;
    int64_t at, end = cfp_token_lsn(page->result->session_token);
    memset(&item, 0, sizeof item);
    for (last = item; aiocosmos_json_next(page->items, NULL, &item); ) last = item;
    lsn = aiocosmos_json_at(last, "/_lsn");
    if (lsn.type == AIOCOSMOS_JSON_NONE) lsn = aiocosmos_json_at(last, "/metadata/lsn");
    if (end < 0 || !aiocosmos_json_get_i64(lsn, &at)) return -1;
    return end > at ? end - at : 0;
}

static void cfp_feed_failed(cfp_lease *l, const aiocosmos_page *page)
{
    cfp_close_feed(l);                           /* and opened again where the last page ended that is done */
    l->ask_ms = cfp_now(l->processor) + l->processor->options.poll_ms;
    cfp_fail(l->processor, page->status ? page->status : AIOCOSMOS_E_NOMEM, page->result->message);
}

static void cfp_on_nothing(cfp_lease *l, const aiocosmos_page *page)
{
    bool first = l->continuation == NULL;        /* "now" is to be stored, or the next owner begins later */
    l->ask_ms = cfp_now(l->processor) + l->processor->options.poll_ms;
    if (!cfp_set(&l->continuation, page->continuation)) return;
    l->dirty = l->dirty || first || l->behind != 0;
    l->behind = 0;
    l->idle = l->asked;
}

static void cfp_on_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    cfp_lease *l = (cfp_lease *)user_data;
    cfp *p = l->processor;
    (void)client;
    l->owed = false;
    if (cfp_is_out_of_time(l)) cfp_drop(l);
    else if (page->status == 304) cfp_on_nothing(l, page);
    else if (page->status != 0 || !cfp_set(&l->behind_page, page->continuation)) cfp_feed_failed(l, page);
    else {
        l->behind_then = cfp_distance(page);
        l->page_id = ++p->pages;
        p->options.changes(p, l->page_id, page, p->options.user_data);
    }
}

static inline bool cfp_done(cfp *p, uint64_t page_id)
{
    cfp_lease *l = p->leases;
    while (l && (page_id == 0 || l->page_id != page_id)) l = l->next;
    if (!l) return false;
    free(l->continuation);
    l->continuation = l->behind_page;
    l->behind_page = NULL;
    l->behind = l->behind_then;
    l->dirty = true;
    l->page_id = 0;
    return true;
}

static void cfp_ask(cfp_lease *l)
{
    cfp *p = l->processor;
    int refused = 0;
    if (!l->cursor.id) refused = cfp_open_feed(p, l->min, l->max, l->continuation, p->options.from, &l->cursor);
    if (refused == 0) refused = aiocosmos_cursor_next(p->client, l->cursor, cfp_on_page, l);
    l->owed = refused == 0;
    if (l->owed) l->asked = ++p->turn;
    if (!l->owed) l->ask_ms = cfp_now(p) + CFP_RETRY_MS;
    if (refused == AIOCOSMOS_E_ARGUMENT) cfp_close_feed(l);
    if (refused) cfp_refused(p, refused);
}

/*------------------------
 * MARK: - Splitting and merging
 *------------------------*/

static void cfp_on_head(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    cfp_head *head = (cfp_head *)user_data;
    cfp_lease *l = head->lease;
    (void)client;
    if ((page->status != 304 && page->status != 0) || !cfp_set(&head->continuation, page->continuation)) cfp_unsize(l);
    else if (l->head[0].continuation && (l->other || l->head[1].continuation)) l->heads_known = ++l->processor->turn;
}

static bool cfp_open_head(cfp_lease *l, int i, const char *min, const char *max)
{
    cfp_head *head = &l->head[i];
    head->lease = l;
    return cfp_open_feed(l->processor, min, max, NULL, AIOCOSMOS_FROM_NOW, &head->cursor) == 0 &&
           aiocosmos_cursor_next(l->processor->client, head->cursor, cfp_on_head, head) == 0;
}

static void cfp_begin_split(cfp_lease *l, const char *middle)
{
    snprintf(l->middle, sizeof l->middle, "%s", middle);
    if (!cfp_open_head(l, 0, l->min, middle) || !cfp_open_head(l, 1, middle, l->max)) cfp_unsize(l);
}

static void cfp_begin_merge(cfp_lease *l, cfp_lease *other)
{
    l->other = other;
    if (!cfp_open_head(l, 0, l->min, other->max)) cfp_unsize(l);
}

/* The left half is still ours; the right half has no owner: the next listing shows it to everybody. */
static void cfp_on_resized(aiocosmos_client *client, const aiocosmos_result *result,
                           const aiocosmos_batch_result *results, size_t count, void *user_data)
{
    cfp_lease *l = (cfp_lease *)user_data, *other = l->other;
    cfp *p = l->processor;
    (void)client;
    l->write.id = 0;
    p->list_ms = cfp_now(p);
    if (result->status != 0 || count == 0) {     /* whether it was done says the listing */
        if (other) cfp_drop(other);
        cfp_drop(l);
        if (result->status != 412) cfp_fail(p, result->status, result->message);
        return;
    }
    cfp_written(l, results[0].etag);
    snprintf(l->max, sizeof l->max, "%s", other ? other->max : l->middle);
    free(l->continuation);
    l->continuation = l->head[0].continuation;
    l->head[0].continuation = NULL;
    cfp_unsize(l);
    cfp_close_feed(l);
    l->dirty = false;
    if (other) cfp_free_lease(other);
}

static void cfp_resize(cfp_lease *l)
{
    cfp *p = l->processor;
    cfp_lease *other = l->other;
    const char *max = other ? other->max : l->middle;
    char id[2][CFP_BORDER + 8], *body[2] = {NULL, NULL};
    aiocosmos_bulk_item items[2];
    aiocosmos_batch_request request;
    int refused = AIOCOSMOS_E_FULL;
    memset(items, 0, sizeof items);
    memset(&request, 0, sizeof request);
    body[0] = cfp_body(p, l->min, max, l->owner, l->head[0].continuation, l->behind);
    if (!other) body[1] = cfp_body(p, l->middle, l->max, "", l->head[1].continuation, l->behind);
    snprintf(id[0], sizeof id[0], "from-%s", l->min);
    snprintf(id[1], sizeof id[1], "from-%s", other ? other->min : l->middle);
    items[0].kind = AIOCOSMOS_REPLACE_ITEM;
    items[0].id = id[0];
    items[0].if_match = aiocosmos_text(l->etag);
    items[0].body = aiocosmos_text(body[0]);
    items[1].kind = other ? AIOCOSMOS_DELETE_ITEM : AIOCOSMOS_CREATE_ITEM;
    if (other) items[1].id = id[1];
    if (other) items[1].if_match = aiocosmos_text(other->etag);
    items[1].body = aiocosmos_text(body[1]);
    request.database = p->options.database;
    request.container = p->options.lease_container;
    request.pk = aiocosmos_pk_s(p->options.name);
    request.items = items;
    request.item_count = 2;
    request.timeout_ms = p->options.expire_ms;
    request.done = cfp_on_resized;
    request.user_data = l;
    if (body[0] && (other || body[1])) refused = aiocosmos_batch(p->client, &request, &l->write);
    free(body[0]);
    free(body[1]);
    l->sent_ms = cfp_now(p);
    l->resizing = true;
    if (refused) cfp_unsize(l);
    if (refused) cfp_refused(p, refused);
}

/* What was asked for behind all heads was answered with "nothing new", and the host has no page. */
static bool cfp_is_resizable(const cfp_lease *l)
{
    const cfp_lease *other = l->other ? l->other : l;
    return l->heads_known && l->idle > l->heads_known && other->idle > l->heads_known && !l->write.id &&
           !other->write.id && !l->page_id && !other->page_id;
}

/* Does what is due to a lease that is ours; returns when something is next. UINT64_MAX: when an answer has come. */
static uint64_t cfp_work(cfp_lease *l, uint64_t now)
{
    cfp *p = l->processor;
    const cfp_lease *left;
    uint64_t due = l->written_ms + (l->dirty ? p->options.checkpoint_ms : p->options.renew_ms);
    for (left = p->leases; left && left->other != l; left = left->next) continue;      /* merges with it */
    if (cfp_is_out_of_time(l)) {
        cfp_drop(l);
        return now;
    }
    if (p->stopping) {
        if (!l->write.id) cfp_unsize(l);
        if (!l->page_id) cfp_close_feed(l);
        if (!l->page_id) due = now;
    } else if (!l->owed && !l->page_id && now >= l->ask_ms) cfp_ask(l);
    if (due < l->retry_ms) due = l->retry_ms;
    if (l->write.id || (left && left->write.id)) return UINT64_MAX;
    if (!p->stopping && cfp_is_resizable(l)) cfp_resize(l);
    else if (now >= due) cfp_write(l, p->stopping && !l->page_id);
    else return !l->owed && !l->page_id && !p->stopping && l->ask_ms < due ? l->ask_ms : due;
    return l->write.id ? UINT64_MAX : now + CFP_RETRY_MS;
}

/*------------------------
 * MARK: - The ranges
 *------------------------*/

static void cfp_free_ranges(cfp *p)
{
    cfp_range *r;
    while ((r = p->ranges) != NULL) {
        p->ranges = r->next;
        free(r->parents);
        free(r);
    }
}

static bool cfp_is_parent(const cfp *p, const cfp_range *range)
{
    char quoted[sizeof range->id + 2];
    const cfp_range *r;
    snprintf(quoted, sizeof quoted, "\"%s\"", range->id);
    for (r = p->ranges; r && !strstr(r->parents, quoted); r = r->next) continue;
    return r != NULL;
}

/* Those that were split or merged go. Returns how many are left. */
static uint32_t cfp_drop_parents(cfp *p)
{
    cfp_range **at, *r;
    uint32_t count = 0;
    for (r = p->ranges; r; r = r->next) r->gone = cfp_is_parent(p, r);
    for (at = &p->ranges; (r = *at) != NULL; ) {
        if (r->gone) {
            *at = r->next;
            free(r->parents);
            free(r);
        } else {
            at = &r->next;
            count++;
        }
    }
    return count;
}

/* In their order. */
static bool cfp_add_range(cfp *p, aiocosmos_json range)
{
    cfp_range *r = (cfp_range *)calloc(1, sizeof *r), **at = &p->ranges;
    aiocosmos_json parents = aiocosmos_json_at(range, "/parents");
    aiocosmos_str text;
    text.ptr = parents.ptr;
    text.len = parents.len;
    if (!r) return false;
    if (!cfp_get(range, "/id", r->id, sizeof r->id) || !cfp_get(range, "/minInclusive", r->min, sizeof r->min) ||
        !cfp_get(range, "/maxExclusive", r->max, sizeof r->max) || !cfp_set(&r->parents, text)) {
        free(r);
        return false;
    }
    while (*at && strcmp((*at)->min, r->min) < 0) at = &(*at)->next;
    r->next = *at;
    *at = r;
    return true;
}

/* Borders are compared as if zeroes followed: those of leases that are cut within a range are short, and one that is
 * later a range's, too, is the same. */
static int cfp_compare(const char *a, const char *b)
{
    while (*a && *a == *b) a++, b++;
    while (!*a && *b == '0') b++;
    while (!*b && *a == '0') a++;
    return *a - *b;
}

/* A border of ranges inside of the span, the middle one; NULL: there is none. */
static const char *cfp_border_in(const cfp *p, const char *min, const char *max)
{
    const cfp_range *r, *middle = NULL;
    uint32_t count = 0;
    for (r = p->ranges; r; r = r->next) {
        if (cfp_compare(r->min, min) <= 0 || cfp_compare(r->min, max) >= 0) continue;
        if (!middle) middle = r;
        else if (count++ % 2) middle = middle->next;
    }
    return middle ? middle->min : NULL;
}

/* A lease that spans several ranges is split; two in one range are merged, if more are left than are made at first: as
 * many of each range. */
static void cfp_look_for_resizes(cfp *p, uint32_t ranges)
{
    uint32_t each = ranges ? (p->options.leases_min + ranges - 1) / ranges : 0;
    uint32_t wanted = each > 1 ? each * ranges : ranges, count = 0;
    cfp_lease *l, *right;
    const char *border;
    for (l = p->leases; l; l = l->next) count++;
    for (l = p->leases; l; l = l->next) {
        bool busy = !l->held || l->middle[0] || l->other;
        for (right = p->leases; right && !busy; right = right->next) busy = right->other == l;
        if (busy) continue;
        border = cfp_border_in(p, l->min, l->max);
        right = l->next;
        if (border) cfp_begin_split(l, border);
        else if (count > wanted && right && right->held && !right->middle[0] && !right->other &&
                 strcmp(l->max, right->min) == 0 && !cfp_border_in(p, l->min, right->max)) {
            cfp_begin_merge(l, right);
            count--;
        }
    }
}

/* The first 32 bits of a border. Hashes begin with two zero bits, so that the last border is as good as 0x40000000. */
static uint32_t cfp_bits(const char *border)
{
    char digits[9] = "00000000";
    if (strcmp(border, "FF") == 0) return UINT32_C(0x40000000);
    memcpy(digits, border, strlen(border) < 8 ? strlen(border) : 8);
    return (uint32_t)strtoul(digits, NULL, 16);
}

/* Cuts the key space into at most CFP_SPANS_AT_FIRST spans, at borders of ranges, and within ranges where it takes more
 * than one lease a range. Returns how many; behind the last border stands the end. */
static uint32_t cfp_cut(const cfp *p, uint32_t ranges, char border[][CFP_BORDER])
{
    uint32_t each = (p->options.leases_min + ranges - 1) / ranges, together, i, count = 0, number = 0;
    const cfp_range *r;
    if (each > CFP_SPANS_AT_FIRST / ranges) each = CFP_SPANS_AT_FIRST / ranges;
    together = (ranges + CFP_SPANS_AT_FIRST - 1) / CFP_SPANS_AT_FIRST;
    for (r = p->ranges; r; r = r->next, number++) {
        uint64_t low = cfp_bits(r->min), high = cfp_bits(r->max);
        if (number % together) continue;
        snprintf(border[count++], CFP_BORDER, "%s", r->min);
        for (i = 1; i < each && high > low + each; i++)
            snprintf(border[count++], CFP_BORDER, "%08lX", (unsigned long)(low + (high - low) * i / each));
    }
    snprintf(border[count], CFP_BORDER, "FF");
    return count;
}

static void cfp_on_created(aiocosmos_client *client, const aiocosmos_result *result,
                           const aiocosmos_batch_result *results, size_t count, void *user_data)
{
    cfp *p = (cfp *)user_data;
    (void)client, (void)results, (void)count;
    p->create.id = 0;
    p->list_ms = cfp_now(p) + CFP_RETRY_MS;
    if (result->status == 0 || result->status == 409) return;     /* 409: another worker has made them */
    p->list_ms += p->options.renew_ms;
    cfp_fail(p, result->status, result->message);
}

/* All leases at once. Of two workers that try, one comes too late: each makes one that begins at "". */
static void cfp_create(cfp *p, uint32_t ranges)
{
    char border[CFP_SPANS_AT_FIRST + 1][CFP_BORDER];
    aiocosmos_bulk_item items[CFP_SPANS_AT_FIRST];
    aiocosmos_batch_request request;
    char *body[CFP_SPANS_AT_FIRST];
    uint32_t i, count = ranges ? cfp_cut(p, ranges, border) : 0;
    int refused = AIOCOSMOS_E_FULL;
    bool ok = count > 0;
    memset(items, 0, sizeof items);
    memset(&request, 0, sizeof request);
    for (i = 0; i < count; i++) {
        body[i] = cfp_body(p, border[i], border[i + 1], "", NULL, -1);
        ok = ok && body[i];
        items[i].kind = AIOCOSMOS_CREATE_ITEM;
        items[i].body = aiocosmos_text(body[i]);
    }
    request.database = p->options.database;
    request.container = p->options.lease_container;
    request.pk = aiocosmos_pk_s(p->options.name);
    request.items = items;
    request.item_count = count;
    request.done = cfp_on_created;
    request.user_data = p;
    if (ok) refused = aiocosmos_batch(p->client, &request, &p->create);
    for (i = 0; i < count; i++) free(body[i]);
    p->list_ms = cfp_now(p) + CFP_RETRY_MS;
    if (refused) cfp_refused(p, refused);
}

static int cfp_list_items(cfp *p, bool ranges, aiocosmos_page_fn page, aiocosmos_cursor *cursor)
{
    aiocosmos_query_request request;
    int refused;
    memset(&request, 0, sizeof request);
    request.database = p->options.database;
    request.container = ranges ? p->options.container : p->options.lease_container;
    if (ranges) request.feed = AIOCOSMOS_FEED_RANGES;
    else request.pk = aiocosmos_pk_s(p->options.name);
    refused = aiocosmos_query_open(p->client, &request, cursor);
    if (refused == 0) refused = aiocosmos_cursor_next(p->client, *cursor, page, p);
    if (refused == 0) return 0;
    cfp_refused(p, refused);
    if (cursor->id) aiocosmos_cursor_close(p->client, *cursor);
    cursor->id = 0;
    return refused;
}

/* True: another page comes. Else the list has ended, and *ok says whether it is whole. */
static bool cfp_goes_on(cfp *p, const aiocosmos_page *page, aiocosmos_page_fn fn, aiocosmos_cursor *cursor, bool *ok)
{
    *ok = *ok && page->status == 0;
    if (*ok && page->more && aiocosmos_cursor_next(p->client, *cursor, fn, p) == 0) return true;
    *ok = *ok && !page->more;
    aiocosmos_cursor_close(p->client, *cursor);
    cursor->id = 0;
    return false;
}

static void cfp_on_ranges(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    cfp *p = (cfp *)user_data;
    aiocosmos_json range;
    uint32_t count;
    bool ok = true;
    (void)client;
    memset(&range, 0, sizeof range);
    while (ok && page->status == 0 && aiocosmos_json_next(page->items, NULL, &range)) ok = cfp_add_range(p, range);
    if (cfp_goes_on(p, page, cfp_on_ranges, &p->range_list, &ok)) return;
    p->ranges_ms = cfp_now(p) + p->options.ranges_ms;
    count = ok ? cfp_drop_parents(p) : 0;
    if (ok && p->empty) cfp_create(p, count);
    else if (ok) cfp_look_for_resizes(p, count);
    p->empty = false;
    cfp_free_ranges(p);
    if (page->status) cfp_fail(p, page->status, page->result->message);
}

/*------------------------
 * MARK: - Sharing the leases
 *------------------------*/

/* Nobody's, or that of a worker that writes no more; or what we took by a write whose answer was lost. */
static bool cfp_is_free(const cfp_lease *l, uint64_t now)
{
    return l->owner[0] == 0 || strcmp(l->owner, l->processor->options.worker) == 0 ||
           now - l->seen_ms >= l->processor->options.expire_ms;
}

static bool cfp_is_ours(const cfp_lease *l)
{
    return l->held || l->write.id;
}

/* Of the leases that are free, or of that owner (NULL: free), at most so many. Returns how many it tries to get. */
static uint32_t cfp_take(cfp *p, const char *owner, uint32_t most, uint64_t now)
{
    uint32_t taken = 0;
    cfp_lease *l;
    for (l = p->leases; l && taken < most; l = l->next) {
        if (cfp_is_ours(l) || !l->etag[0] || cfp_is_free(l, now) != (owner == NULL)) continue;
        if (owner && strcmp(l->owner, owner) != 0) continue;
        cfp_write(l, false);
        taken += cfp_is_ours(l);
    }
    return taken;
}

/* Of what is free half at a time: another worker that begins now is not known before it has some, and what it does not
 * find free it steals. */
static void cfp_balance(cfp *p, uint64_t now)
{
    char richest[CFP_NAME] = "";
    uint32_t count = 0, ours = 0, workers = 1, most = 0, unowned = 0, target, has, spare;
    const cfp_lease *l, *first;
    for (l = p->leases; l; l = l->next, count++) {
        ours += cfp_is_ours(l);
        unowned += !cfp_is_ours(l) && cfp_is_free(l, now);
        if (cfp_is_ours(l) || cfp_is_free(l, now)) continue;
        has = 0;
        for (first = p->leases; first != l; first = first->next)
            if (!cfp_is_ours(first) && !cfp_is_free(first, now) && strcmp(first->owner, l->owner) == 0) break;
        if (first != l) continue;                /* counted with the first of its worker */
        for (; first; first = first->next)
            has += !cfp_is_ours(first) && !cfp_is_free(first, now) && strcmp(first->owner, l->owner) == 0;
        workers++;
        if (has > most) snprintf(richest, sizeof richest, "%s", l->owner);
        if (has > most) most = has;
    }
    target = (count + workers - 1) / workers;
    spare = (unowned + 1) / 2;
    if (ours < target) ours += cfp_take(p, NULL, spare < target - ours ? spare : target - ours, now);
    if (ours < target && unowned > spare) {
        cfp_list_soon(p, CFP_RETRY_MS);
        return;
    }
    if (ours >= target || most < ours + 2) return;
    spare = (most - ours) / 2;
    cfp_take(p, richest, spare < target - ours ? spare : target - ours, now);
}

/* What an item says of a lease that is not ours. Of ours we know more. False: no memory. */
static bool cfp_learn(cfp *p, aiocosmos_json item)
{
    char min[CFP_BORDER], max[CFP_BORDER], owner[CFP_NAME], etag[sizeof p->leases->etag];
    aiocosmos_json continuation = aiocosmos_json_at(item, "/continuation");
    cfp_lease *l, **at = &p->leases;
    size_t len = aiocosmos_json_get_str(continuation, NULL, 0);
    if (!cfp_get(item, "/min", min, sizeof min) || !cfp_get(item, "/max", max, sizeof max) ||
        !cfp_get(item, "/owner", owner, sizeof owner) || !cfp_get(item, "/_etag", etag, sizeof etag)) return true;
    l = cfp_find(p, min);
    if (!l) {
        if (!(l = (cfp_lease *)calloc(1, sizeof *l))) return false;
        while (*at && strcmp((*at)->min, min) < 0) at = &(*at)->next;
        l->processor = p;
        l->next = *at;
        *at = l;
        snprintf(l->min, sizeof l->min, "%s", min);
    }
    l->round = p->round;
    if (cfp_is_ours(l) || strcmp(l->etag, etag) == 0) return true;
    free(l->continuation);
    l->continuation = len == SIZE_MAX ? NULL : (char *)malloc(len + 1);
    l->etag[0] = 0;                              /* not to be taken without its continuation */
    if (len != SIZE_MAX && !l->continuation) return false;
    if (l->continuation) aiocosmos_json_get_str(continuation, l->continuation, len + 1);
    if (!aiocosmos_json_get_i64(aiocosmos_json_at(item, "/behind"), &l->behind)) l->behind = -1;
    snprintf(l->max, sizeof l->max, "%s", max);
    snprintf(l->owner, sizeof l->owner, "%s", owner);
    snprintf(l->etag, sizeof l->etag, "%s", etag);
    l->seen_ms = cfp_now(p);
    return true;
}

static void cfp_on_leases(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    cfp *p = (cfp *)user_data;
    cfp_lease *l, *next;
    aiocosmos_json item;
    bool ok = true;
    (void)client;
    memset(&item, 0, sizeof item);
    while (ok && page->status == 0 && aiocosmos_json_next(page->items, NULL, &item)) ok = cfp_learn(p, item);
    if (cfp_goes_on(p, page, cfp_on_leases, &p->list, &ok)) return;
    p->list_ms = cfp_now(p) + p->options.renew_ms;
    if (ok) {
        for (l = p->leases; l; l = next) {       /* merged with others */
            next = l->next;
            if (!cfp_is_ours(l) && l->round != p->round) cfp_free_lease(l);
        }
        p->listed = true;
        p->empty = p->leases == NULL;
        if (p->empty) p->ranges_ms = cfp_now(p);
        if (!p->stopping) cfp_balance(p, cfp_now(p));
    }
    if (page->status) cfp_fail(p, page->status, page->result->message);
}

/*------------------------
 * MARK: - The host's calls
 *------------------------*/

static bool cfp_is_name(const char *text)
{
    return text && *text && strlen(text) < CFP_NAME;
}

/* 16 random bytes, which no two workers have alike. */
static bool cfp_name_worker(cfp *p)
{
    const aiocosmos_platform *platform = p->options.platform;
    unsigned char random[16];
    size_t i;
    if (platform->entropy(platform->user_data, random, sizeof random) < 0) return false;
    for (i = 0; i < sizeof random; i++) snprintf(p->random_name + 2 * i, 3, "%02x", random[i]);
    p->options.worker = p->random_name;
    return true;
}

static inline cfp *cfp_open(aiocosmos_client *client, const cfp_options *asked)
{
    bool ok = cfp_is_name(asked->name) && (!asked->worker || cfp_is_name(asked->worker)) && asked->changes;
    cfp *p = ok ? (cfp *)calloc(1, sizeof *p) : NULL;
    cfp_options *o;
    if (!p) return NULL;
    p->client = client;
    p->options = *asked;
    o = &p->options;
    if (!o->poll_ms) o->poll_ms = 1000;
    if (!o->checkpoint_ms) o->checkpoint_ms = 1000;
    if (!o->renew_ms) o->renew_ms = 5000;
    if (!o->expire_ms) o->expire_ms = 20000;
    if (o->renew_ms > o->expire_ms / 2) o->renew_ms = o->expire_ms / 2;
    if (o->checkpoint_ms > o->renew_ms) o->checkpoint_ms = o->renew_ms;
    if (!o->ranges_ms) o->ranges_ms = 60000;
    if (!o->platform) o->platform = aiocosmos_system_platform();
    if (!o->worker && !cfp_name_worker(p)) return free(p), (cfp *)NULL;
    p->ranges_ms = cfp_now(p) + o->ranges_ms;
    return p;
}

static inline int cfp_step(cfp *p)
{
    uint64_t now = cfp_now(p), next = UINT64_MAX, due;
    cfp_lease *l;
    if (!p->stopping && !p->list.id && now >= p->list_ms) {
        p->round++;
        p->list_ms = now + p->options.renew_ms;
        if (cfp_list_items(p, false, cfp_on_leases, &p->list) != 0) p->list_ms = now + CFP_RETRY_MS;
    }
    if (!p->stopping && !p->range_list.id && !p->create.id && p->listed && now >= p->ranges_ms) {
        p->ranges_ms = now + p->options.ranges_ms;
        if (cfp_list_items(p, true, cfp_on_ranges, &p->range_list) != 0) p->ranges_ms = now + CFP_RETRY_MS;
    }
    if (!p->stopping && !p->list.id) next = p->list_ms;
    if (!p->stopping && !p->range_list.id && !p->create.id && p->listed && p->ranges_ms < next) next = p->ranges_ms;
    for (l = p->leases; l; l = l->next) {
        if (!l->held) continue;
        due = cfp_work(l, now);
        if (due < next) next = due;
    }
    if (next > now + 60000) next = now + 60000;
    return next > now ? (int)(next - now) : 0;
}

static inline void cfp_stop(cfp *p)
{
    p->stopping = true;
}

static inline int cfp_held(const cfp *p)
{
    const cfp_lease *l;
    int count = 0;
    for (l = p->leases; l; l = l->next) count += cfp_is_ours(l);
    return count;
}

static inline void cfp_run(cfp *p, const volatile bool *stop)
{
    while (!*stop) aiocosmos_step(p->client, cfp_step(p));
    for (cfp_stop(p); cfp_held(p) > 0; ) aiocosmos_step(p->client, cfp_step(p));
}

static inline int64_t cfp_behind(const cfp *p)
{
    const cfp_lease *l;
    int64_t sum = p->leases ? 0 : -1;
    for (l = p->leases; l && sum >= 0; l = l->next) sum = l->behind < 0 ? -1 : sum + l->behind;
    return sum;
}

static inline void cfp_close(cfp *p)
{
    if (!p) return;
    if (p->list.id) aiocosmos_cursor_forget(p->client, p->list);
    if (p->range_list.id) aiocosmos_cursor_forget(p->client, p->range_list);
    if (p->create.id) aiocosmos_forget(p->client, p->create);
    while (p->leases) cfp_free_lease(p->leases);
    cfp_free_ranges(p);
    free(p);
}

#endif /* CHANGE_FEED_PROCESSOR_H */
