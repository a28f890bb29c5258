/* sim_readers.h: what the clients of a simulation do beside single operations, queries and bulks: they read many items
 * at once, and follow the change feed, of items that change meanwhile. */
#ifndef SIM_READERS_H
#define SIM_READERS_H

#include "sim_model.h"

static void sim_act_inside(sim_client *client);
static sim_item *sim_choose_item(sim *s, unsigned key, bool fresh);
static uint32_t sim_choose_timeout(sim_client *client);

/* The version of an item that a row shows; NULL: it never was that. */
static const sim_version *sim_version_of(const sim_item *item, aiocosmos_json row)
{
    aiocosmos_json etag = aiocosmos_json_at(row, "/_etag");
    size_t i = item->version_count;
    while (i-- > 0)
        if (item->version[i].present && aiocosmos_json_is_str(etag, item->version[i].etag)) return &item->version[i];
    return NULL;
}

static void sim_check_row(sim *s, const char *what, const sim_item *item, const sim_version *version,
                          aiocosmos_json row)
{
    aiocosmos_str text = emu_str(row.ptr, row.len);
    SIM_CHECK(&s->world, version, "%s shows item %s as it never was: %.*s", what, item->id, (int)row.len, row.ptr);
    SIM_CHECK(&s->world, sim_marker(text) == version->writer && sim_n_of(text) == version->n,
              "%s shows item %s with another's text: %.*s", what, item->id, (int)row.len, row.ptr);
}

/*------------------------------------------------------------------------------
 * Reads of many items
 *----------------------------------------------------------------------------*/

#define SIM_MANY_MAX 150u

typedef struct sim_many {
    struct sim_many *next;
    sim_client *client;
    sim_op  *op;
    size_t   count, back;
    sim_item *item[SIM_MANY_MAX];
    bool     answered[SIM_MANY_MAX];
    aiocosmos_many_totals totals;            /* of what came back */
} sim_many;

static sim_many *sim_manies;                 /* of the run */

static void sim_many_item(aiocosmos_client *handle, size_t index, int status, aiocosmos_json item, void *user_data)
{
    sim_many *many = (sim_many *)user_data;
    sim *s = many->client->sim;
    sim_item *asked;
    SIM_CHECK(&s->world, handle == many->client->client && many->client->inside && !many->op->calls,
              "an item of many comes outside of step, or behind their end");
    SIM_CHECK(&s->world, index < many->count && !many->answered[index], "item %zu of %zu comes twice", index,
              many->count);
    many->answered[index] = true;
    many->back++;
    s->net.work++;
    asked = many->item[index];
    if (status == 0) {
        const sim_version *version = sim_version_of(asked, item);
        many->totals.found++;
        if (s->plan.garbles) return;
        sim_check_row(s, "a read of many", asked, version, item);
        SIM_CHECK(&s->world, sim_version_since(asked, many->op->submitted_us, aioc_mem_str(version->etag), true),
                  "a read of many shows item %s as %s, which it was not meanwhile", asked->id, version->etag);
    } else if (status == 404) {
        many->totals.missing++;
        SIM_CHECK(&s->world, sim_version_since(asked, many->op->submitted_us, emu_str(NULL, 0), false) ||
                             s->plan.garbles, "a read of many misses item %s, which was there all the time", asked->id);
    } else {
        many->totals.failed++;
    }
    sim_act_inside(many->client);
}

static void sim_many_done(aiocosmos_client *handle, const aiocosmos_result *result,
                          const aiocosmos_many_totals *totals, void *user_data)
{
    sim_many *many = (sim_many *)user_data;
    sim *s = many->client->sim;
    (void)handle;
    sim_check_result(s, many->op, result);
    SIM_CHECK(&s->world, many->back == many->count, "a read of %zu items ends behind %zu", many->count, many->back);
    SIM_CHECK(&s->world, totals->found == many->totals.found && totals->missing == many->totals.missing &&
                         totals->failed == many->totals.failed, "a read of many counts otherwise than its items");
    SIM_CHECK(&s->world, (result->status == 0) == (totals->failed == 0) ||
                         result->status == AIOCOSMOS_E_CANCELLED || result->status == AIOCOSMOS_E_SHUTDOWN,
              "a read of many ends with %d, and %u failed", result->status, (unsigned)totals->failed);
    sim_cover(&s->world, result->status ? SIM_many_failed : SIM_many_done);
    if (totals->found && totals->missing) sim_cover(&s->world, SIM_many_found_some);
    sim_act_inside(many->client);
}

static bool sim_start_many(sim_client *client)
{
    sim *s = client->sim;
    sim_random *random = &s->world.readers;
    sim_many *many = (sim_many *)calloc(1, sizeof *many);
    aiocosmos_item_key keys[SIM_MANY_MAX];
    aiocosmos_read_many_request request;
    size_t i;
    int refused;
    if (!many) abort();
    many->next = sim_manies;
    sim_manies = many;
    many->client = client;
    many->count = (size_t)sim_magnitude(random, 1, SIM_MANY_MAX + 1);
    for (i = 0; i < many->count; i++) {
        bool known = s->item_count && sim_chance(random, 0.5);
        many->item[i] = known ? s->item[sim_below(random, s->item_count)] : sim_choose_item(s, SIM_KEYS, false);
        keys[i].id = many->item[i]->id;
        keys[i].pk = aiocosmos_pk1(sim_key(many->item[i]->key));
    }
    many->op = sim_op_new(client, SIM_MANY, NULL);
    memset(&request, 0, sizeof request);
    request.container = SIM_CONTAINER;
    request.items = keys;
    request.item_count = many->count;
    request.parallel_max = (uint32_t)sim_below(random, 8);
    request.timeout_ms = sim_choose_timeout(client);
    if (request.timeout_ms == AIOCOSMOS_OFF) request.timeout_ms = 0;
    if (sim_chance(random, 0.2)) request.deadline_ms = (uint32_t)sim_magnitude(random, 1, 20000);
    request.item = sim_many_item;
    request.done = sim_many_done;
    request.user_data = many;
    sim_trace(&s->world, "operation %ld: client %u reads %zu items", many->op->number, client->number, many->count);
    refused = aiocosmos_read_many(client->client, &request, &many->op->handle);
    s->net.work++;
    if (refused) sim_op_refused(many->op, refused);
    else sim_op_accepted(many->op, request.deadline_ms ? request.deadline_ms : AIOCOSMOS_OFF);
    return refused == 0;
}

/*------------------------------------------------------------------------------
 * Change feeds
 *----------------------------------------------------------------------------*/

#define SIM_FEED_ROUNDS_MAX 4u

typedef struct sim_feed {
    struct sim_feed *next;
    sim_client *client;
    unsigned born;                           /* of the client */
    aiocosmos_cursor handle;                 /* id 0: closed, and perhaps to be resumed */
    unsigned key;                            /* SIM_KEYS: all */
    bool     from_now, polls, over;
    unsigned of_container;
    uint32_t page_items_max;
    sim_op  *page;                           /* that is owed */
    uint64_t asked_us;                       /* when the page that is owed was asked for first */
    uint64_t not_before_us, since_us;        /* what changed before does not come; what changed since has to */
    bool     stands;                         /* since_us is settled */
    size_t  *seen;                           /* of each item of the run, the version that came last: place + 1 */
    size_t   seen_cap;
    unsigned rounds, failures;
    uint64_t again_us;
    char     continuation[AIOCOSMOS_DEFAULT_CONTINUATION_BYTES + 1];
} sim_feed;

static sim_feed *sim_feeds;                  /* of the run */

static void sim_on_changes(aiocosmos_client *handle, const aiocosmos_page *page, void *user_data);

static void sim_feed_close(sim_feed *feed)
{
    if (feed->handle.id) aiocosmos_cursor_close(feed->client->client, feed->handle);
    feed->handle.id = 0;
}

static void sim_feed_give_up(sim_feed *feed)
{
    if (feed->page) feed->page->cancelled = true;
    sim_feed_close(feed);
    feed->over = true;
}

static bool sim_feed_open(sim_feed *feed)
{
    sim_client *client = feed->client;
    sim *s = client->sim;
    aiocosmos_changes_request request;
    int refused;
    memset(&request, 0, sizeof request);
    request.container = SIM_CONTAINER;
    if (feed->key < SIM_KEYS) request.pk = aiocosmos_pk1(sim_key(feed->key));
    request.from = feed->from_now ? AIOCOSMOS_FROM_NOW : AIOCOSMOS_FROM_BEGINNING;
    request.page_items_max = feed->page_items_max;
    if (feed->polls && feed->stands) request.poll_ms = 500;
    if (*feed->continuation) request.continuation = aiocosmos_text(feed->continuation);
    refused = aiocosmos_changes_open(client->client, &request, &feed->handle);
    s->net.work++;
    if (refused == AIOCOSMOS_E_FULL) sim_still_full(client);
    SIM_CHECK(&s->world, !refused || refused == AIOCOSMOS_E_FULL || refused == AIOCOSMOS_E_NOMEM ||
                         refused == AIOCOSMOS_E_SHUTDOWN, "a change feed is refused with %d: %s", refused,
              aiocosmos_last_error(client->client));
    if (refused) feed->handle.id = 0;
    return refused == 0;
}

/* Asks for the next page. False: not now. */
static bool sim_feed_next(sim_feed *feed)
{
    sim_client *client = feed->client;
    sim *s = client->sim;
    sim_op *op = sim_op_new(client, SIM_PAGE, NULL);
    int refused = aiocosmos_cursor_next(client->client, feed->handle, sim_on_changes, feed);
    sim_trace(&s->world, "operation %ld: client %u asks change feed %" PRIx64 " for a page", op->number, client->number,
              feed->handle.id);
    s->net.work++;
    if (refused) {
        feed->again_us = s->world.made.now_us + 10000;
        sim_op_refused(op, refused);
        return false;
    }
    feed->page = op;
    if (!feed->failures) feed->asked_us = s->world.made.now_us;
    sim_op_accepted(op, feed->polls && feed->stands ? AIOCOSMOS_OFF : 0);
    return true;
}

static bool sim_start_changes(sim_client *client)
{
    sim *s = client->sim;
    sim_random *random = &s->world.readers;
    sim_feed *feed = (sim_feed *)calloc(1, sizeof *feed);
    if (!feed) abort();
    feed->next = sim_feeds;
    sim_feeds = feed;
    feed->client = client;
    feed->born = client->born;
    feed->key = (unsigned)sim_below(random, SIM_KEYS + 2);
    if (feed->key > SIM_KEYS) feed->key = SIM_KEYS;
    feed->from_now = sim_chance(random, 0.3);
    feed->polls = sim_chance(random, 0.2);
    feed->stands = !feed->from_now;
    feed->of_container = s->containers;
    feed->not_before_us = feed->from_now ? s->world.made.now_us : 0;
    feed->page_items_max = (uint32_t)sim_between(random, 1, 12);
    feed->over = !sim_feed_open(feed);
    return !feed->over && sim_feed_next(feed);
}

/* Which item a row is; SIZE_MAX: none that there ever was. */
static size_t sim_feed_which(const sim *s, aiocosmos_json row)
{
    aiocosmos_json id = aiocosmos_json_at(row, "/id"), pk = aiocosmos_json_at(row, "/pk");
    size_t i;
    for (i = 0; i < s->item_count; i++)
        if (emu_is(emu_str(pk.ptr, pk.len), sim_key_json(s->item[i]->key)) && aiocosmos_json_is_str(id, s->item[i]->id))
            return i;
    return SIZE_MAX;
}

/* Which version of an item it has shown last. */
static size_t *sim_feed_seen(sim_feed *feed, size_t which)
{
    while (which >= feed->seen_cap) {
        size_t cap = feed->seen_cap ? feed->seen_cap * 2 : 64;
        feed->seen = (size_t *)realloc(feed->seen, cap * sizeof *feed->seen);
        if (!feed->seen) abort();
        memset(feed->seen + feed->seen_cap, 0, (cap - feed->seen_cap) * sizeof *feed->seen);
        feed->seen_cap = cap;
    }
    return &feed->seen[which];
}

/* Whether nothing can be said of what comes: the container is another, or answers are not what was sent. */
static bool sim_feed_is_vague(const sim_feed *feed)
{
    const sim *s = feed->client->sim;
    return s->plan.garbles || feed->of_container != s->containers;
}

static void sim_feed_read_page(sim_feed *feed, const aiocosmos_page *page)
{
    sim *s = feed->client->sim;
    aiocosmos_json row;
    memset(&row, 0, sizeof row);
    while (aiocosmos_json_next(page->items, NULL, &row) && !sim_feed_is_vague(feed)) {
        size_t which = sim_feed_which(s, row), *seen, place;
        const sim_version *version;
        SIM_CHECK(&s->world, which != SIZE_MAX, "a change feed shows %.*s", (int)row.len, row.ptr);
        SIM_CHECK(&s->world, feed->key == SIM_KEYS || feed->key == s->item[which]->key, "a change feed of key %u shows "
                  "item %s of key %u", feed->key, s->item[which]->id, s->item[which]->key);
        version = sim_version_of(s->item[which], row);
        sim_check_row(s, "a change feed", s->item[which], version, row);
        place = (size_t)(version - s->item[which]->version) + 1;
        seen = sim_feed_seen(feed, which);
        SIM_CHECK(&s->world, *seen < place, "a change feed shows version %zu of item %s behind version %zu", place,
                  s->item[which]->id, *seen);
        SIM_CHECK(&s->world, !feed->from_now || version->from_us >= feed->not_before_us,
                  "a change feed from now shows item %s, which had changed before", s->item[which]->id);
        *seen = place;
    }
    sim_cover(&s->world, SIM_changes_page);
}

/* Nothing has changed, it says: so everything has come that is older than the question. */
static void sim_feed_check_all(sim_feed *feed)
{
    sim *s = feed->client->sim;
    size_t i;
    if (sim_feed_is_vague(feed)) return;
    for (i = 0; i < s->item_count; i++) {
        sim_item *item = s->item[i];
        const sim_version *latest = sim_latest(item);
        if (!latest->present || latest->from_us >= feed->asked_us || latest->from_us < feed->since_us) continue;
        if (feed->key < SIM_KEYS && feed->key != item->key) continue;
        SIM_CHECK(&s->world, *sim_feed_seen(feed, i) == item->version_count, "a change feed of key %u says that "
                  "nothing has changed, and has not shown version %zu of item %s (of key %u), but %zu", feed->key,
                  item->version_count, item->id, item->key, *sim_feed_seen(feed, i));
    }
    sim_cover(&s->world, SIM_changes_all_seen);
}

static void sim_on_changes(aiocosmos_client *handle, const aiocosmos_page *page, void *user_data)
{
    sim_feed *feed = (sim_feed *)user_data;
    sim_client *client = feed->client;
    sim *s = client->sim;
    int status = page->result->status;
    SIM_CHECK(&s->world, handle == client->client && feed->page, "changes come that nobody asked for");
    sim_check_result(s, feed->page, page->result);
    feed->page = NULL;
    if (feed->handle.id && (status == 0 || status == 304)) {
        SIM_CHECK(&s->world, page->continuation.len && page->continuation.len < sizeof feed->continuation,
                  "a change feed's continuation is %zu bytes long", page->continuation.len);
        memcpy(feed->continuation, page->continuation.ptr, page->continuation.len);
        feed->continuation[page->continuation.len] = 0;
        feed->failures = 0;
        if (status == 0) sim_feed_read_page(feed, page);
        else if (feed->stands) sim_feed_check_all(feed);
        else {
            feed->since_us = s->world.made.now_us;
            feed->stands = true;
            if (feed->polls) sim_feed_close(feed);           /* goes on with another cursor, which waits for changes */
        }
        if (status == 304) {
            feed->again_us = s->world.made.now_us + sim_magnitude(&s->world.readers, 1, 2000000);
            if (++feed->rounds >= SIM_FEED_ROUNDS_MAX) sim_feed_give_up(feed);
        } else if (sim_chance(&s->world.readers, 0.1)) {
            sim_feed_close(feed);
            sim_cover(&s->world, SIM_changes_resumed);
        }
    } else if (feed->handle.id) {
        sim_cover(&s->world, SIM_changes_page_failed);
        SIM_CHECK(&s->world, status != AIOCOSMOS_E_ARGUMENT || s->plan.recreates || s->plan.garbles,
                  "a change feed does not know its own continuation");
        if (++feed->failures > 4 || status == AIOCOSMOS_E_ARGUMENT) sim_feed_give_up(feed);
    }
    sim_act_inside(client);
}

/* Goes on with feeds that no page is owed of; in calm there is nothing more to wait for. */
static void sim_tend_feeds(sim_client *client)
{
    sim *s = client->sim;
    sim_feed *feed;
    for (feed = sim_feeds; feed; feed = feed->next) {
        if (feed->client != client || feed->over) continue;
        if (feed->born != client->born) feed->over = true;
        else if (s->calm || (feed->page && sim_chance(&s->world.readers, s->plan.cancel))) sim_feed_give_up(feed);
        else if (!feed->page && feed->again_us <= s->world.made.now_us) {
            if (!feed->handle.id && !sim_feed_open(feed)) feed->over = true;
            else sim_feed_next(feed);
        }
    }
}

/* When a feed of the client wants to go on. */
static uint64_t sim_next_feed_us(const sim_client *client)
{
    uint64_t next_us = SIM_NOT_YET;
    const sim_feed *feed;
    for (feed = sim_feeds; feed; feed = feed->next)
        if (feed->client == client && feed->born == client->born && !feed->over && !feed->page &&
            feed->again_us < next_us) next_us = feed->again_us;
    return next_us;
}

static void sim_readers_free(void)
{
    while (sim_manies) {
        sim_many *many = sim_manies;
        sim_manies = many->next;
        free(many);
    }
    while (sim_feeds) {
        sim_feed *feed = sim_feeds;
        sim_feeds = feed->next;
        free(feed->seen);
        free(feed);
    }
}

#endif
