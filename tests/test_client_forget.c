/* The whole client against the emulator over real sockets: letting go of what is under way. */
#include "client.h"

/*--- Guests: who waits for something, and may leave ---------------------------------*/

enum family { OP, RUN, PAGE_OF_KEY, PAGE_OF_RANGES, CHANGES, MANY, BULK, FAMILIES };

/* How a guest leaves. Afterwards nothing of it may be touched. */
enum manner { BY_HANDLE, BY_USER_DATA, CANCELLED_BEFORE, CANCELLED_AFTER, MANNERS };

/* Where it does so. */
enum scene { NOWHERE, IN_NEXT, IN_ITEM, IN_DONE, IN_FAILURE, SCENES };

typedef struct guest {
    enum family family;
    enum manner manner;
    enum scene scene;
    bool destroys;                           /* it also destroys the client there */
    bool gone;
    aiocosmos_op op;
    aiocosmos_cursor cursor;
    int calls, pulls;
    char *text;                              /* of the item that is pulled: freed when the guest leaves */
} guest;

static guest *at_failure;                    /* who leaves there */

static void cancel_it(aiocosmos_client *client, const guest *g)
{
    if (g->cursor.id) aiocosmos_cursor_close(client, g->cursor);
    else aiocosmos_cancel(client, g->op);
}

/* Returns whether there was something to let go of. */
static bool leave(aiocosmos_client *client, guest *g)
{
    bool known;
    if (g->manner == CANCELLED_BEFORE) cancel_it(client, g);
    if (g->manner == BY_USER_DATA) known = aiocosmos_forget_all(client, g) != 0;
    else if (g->cursor.id) known = aiocosmos_cursor_forget(client, g->cursor);
    else known = aiocosmos_forget(client, g->op);
    if (g->manner == CANCELLED_AFTER) cancel_it(client, g);
    g->gone = true;
    if (g->scene != IN_NEXT) {                             /* there it stays, and would be sent if it were looked at */
        free(g->text);
        g->text = NULL;
    }
    if (g->destroys) aiocosmos_destroy(client);
    return known;
}

/* Every callback of a guest comes through here. */
static void called(aiocosmos_client *client, guest *g, enum scene here)
{
    CHECK(!g->gone);
    g->calls++;
    if (here == g->scene) leave(client, g);
}

static void done_came(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    called(client, user_data, IN_DONE);
    CHECK_INT(result->op.id, ((guest *)user_data)->family == RUN ? result->op.id : ((guest *)user_data)->op.id);
}

static void page_came(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    guest *g = user_data;
    called(client, g, IN_DONE);
    if (!g->gone) CHECK(aiocosmos_cursor_forget(client, g->cursor));
    if (!page->status) CHECK(page->items.len > 0);         /* what is lent outlives that */
}

static void pair_came(aiocosmos_client *client, size_t index, int status, aiocosmos_json item, void *user_data)
{
    (void)index;
    called(client, user_data, IN_ITEM);
    if (status == 0) CHECK(aiocosmos_json_at(item, "/id").len > 0);
}

static void many_came(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_many_totals *totals,
                      void *user_data)
{
    (void)result, (void)totals;
    called(client, user_data, IN_DONE);
}

static aiocosmos_pull pull(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    guest *g = user_data;
    CHECK(!g->gone);
    if (g->pulls == 30) return AIOCOSMOS_PULL_END;
    free(g->text);
    g->text = malloc(64);
    snprintf(g->text, 64, "{\"id\":\"b%d\",\"pk\":%d%s", g->pulls, g->pulls % 4, g->pulls == 7 ? "" : "}");
    g->pulls++;
    item->kind = AIOCOSMOS_UPSERT_ITEM;
    item->pk = aiocosmos_pk1(aiocosmos_i((g->pulls - 1) % 4));
    item->body = text_of(g->text);
    item->item_data = g;
    if (g->pulls == 11) called(client, g, IN_NEXT);
    return AIOCOSMOS_PULL_ITEM;
}

static void item_came(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    (void)result;
    CHECK(item_data == user_data);
    called(client, user_data, IN_ITEM);
}

static void bulk_came(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                      void *user_data)
{
    (void)result, (void)totals;
    called(client, user_data, IN_DONE);
}

static void on_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    guest *g = at_failure;
    (void)user_data;
    if (!g || g->gone) return;
    if (g->family == OP) CHECK_INT(result->op.id, g->op.id);
    at_failure = NULL;
    CHECK(leave(client, g));
}

/*--- What they wait for --------------------------------------------------------------*/

static aiocosmos_cursor open_cursor(aiocosmos_client *client, enum family family)
{
    aiocosmos_query_request query;
    aiocosmos_changes_request changes;
    aiocosmos_cursor cursor;
    memset(&query, 0, sizeof query);
    memset(&changes, 0, sizeof changes);
    query.container = changes.container = "c";
    if (family == CHANGES) {
        CHECK_INT(aiocosmos_changes_open(client, &changes, &cursor), 0);
        return cursor;
    }
    query.sql = family == PAGE_OF_RANGES ? "SELECT * FROM c ORDER BY c.n" : "SELECT * FROM c";
    if (family == PAGE_OF_KEY) query.pk = aiocosmos_pk1(aiocosmos_i(1));
    query.page_items_max = 3;
    return open_query(client, &query);
}

static void start_many(aiocosmos_client *client, guest *g)
{
    static const char *const ids[] = {"0", "1", "2", "3", "4", "none"};
    aiocosmos_item_key keys[60];
    aiocosmos_read_many_request request;
    size_t i;
    for (i = 0; i < 60; i++) {
        keys[i].id = ids[i % 6];
        keys[i].pk = aiocosmos_pk1(aiocosmos_i((int64_t)(i % 6) % 4));
    }
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.items = keys;
    request.item_count = 60;
    request.item = pair_came;
    request.done = many_came;
    request.user_data = g;
    CHECK_INT(aiocosmos_read_many(client, &request, &g->op), 0);
}

static void start_bulk(aiocosmos_client *client, guest *g)
{
    aiocosmos_bulk_request request;
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.concurrency_max = 4;
    request.next = pull;
    request.item_done = item_came;
    request.done = bulk_came;
    request.user_data = g;
    CHECK_INT(aiocosmos_bulk(client, &request, &g->op), 0);
}

static void start(aiocosmos_client *client, guest *g)
{
    aiocosmos_request request = read_item("1", aiocosmos_i(1));
    if (g->scene == IN_FAILURE) request.id = "none";
    request.done = done_came;
    request.user_data = g;
    switch (g->family) {
    case OP: CHECK_INT(aiocosmos_submit(client, &request, &g->op), 0); break;
    case RUN: {
        int status = aiocosmos_run(client, &request, NULL);
        CHECK_INT(status, g->destroys ? AIOCOSMOS_E_DESTROYED : g->scene == IN_FAILURE ? 404 : 0);
        break;
    }
    case MANY: start_many(client, g); break;
    case BULK: start_bulk(client, g); break;
    default:
        g->cursor = open_cursor(client, g->family);
        CHECK_INT(aiocosmos_cursor_next(client, g->cursor, page_came, g), 0);
    }
}

static aiocosmos_client *open_house(void)
{
    aiocosmos_options options;
    aiocosmos_client *client;
    options = usual_options();
    options.on_failure = on_failure;
    client = open_client(&options);
    return client;
}

static void furnish(void)
{
    aiocosmos_client *client;
    char body[64];
    int i;
    open_emulator("--partitions 3");
    client = open_house();
    fill_world(client);
    for (i = 0; i < 20; i++) {
        snprintf(body, sizeof body, "{\"id\":\"%d\",\"pk\":%d,\"n\":%d}", i, i % 4, i);
        must(client, create_item(aiocosmos_i(i % 4), body));
    }
    close_client(client);
}

static void out_of_the_house(aiocosmos_client *client, guest *g)
{
    free(g->text);
    g->text = NULL;
    if (!g->destroys) close_client(client);
    CHECK_INT(heap.blocks, 0);
}

/*--- Tests ---------------------------------------------------------------------------*/

/* From outside, before the first step and behind some, with and without a drain before the client ends. */
TEST(what_is_forgotten_is_never_called_back)
{
    int variant;
    furnish();
    for (variant = 0; variant < FAMILIES * MANNERS * 5 * 2; variant++) {
        static guest g;
        int steps = variant / FAMILIES / MANNERS % 5 * 2, i;
        aiocosmos_client *client = open_house();
        memset(&g, 0, sizeof g);
        g.family = (enum family)(variant % FAMILIES);
        g.manner = (enum manner)(variant / FAMILIES % MANNERS);
        if (g.family == RUN) g.family = OP;
        start(client, &g);
        for (i = 0; i < steps && !g.calls; i++) CHECK(aiocosmos_step(client, 2) >= 0);
        if (g.calls == 0) CHECK(leave(client, &g));        /* else what has begun to answer is let go of */
        else leave(client, &g);
        CHECK(aiocosmos_forget_all(client, &g) == 0);
        if (variant / FAMILIES / MANNERS / 5) drain(client);
        out_of_the_house(client, &g);
    }
    stop_emulator();
}

/* In each of their callbacks, also of that which comes from on_failure. */
TEST(a_callback_may_forget_what_it_is_of)
{
    int variant;
    furnish();
    for (variant = 0; variant < FAMILIES * MANNERS * SCENES * 2; variant++) {
        static guest g;
        aiocosmos_client *client;
        memset(&g, 0, sizeof g);
        g.family = (enum family)(variant % FAMILIES);
        g.manner = (enum manner)(variant / FAMILIES % MANNERS);
        g.scene = (enum scene)(variant / FAMILIES / MANNERS % SCENES);
        g.destroys = variant / FAMILIES / MANNERS / SCENES;
        if (g.scene == NOWHERE || (g.scene == IN_NEXT && (g.family != BULK || g.destroys)) ||
            (g.scene == IN_ITEM && g.family != BULK && g.family != MANY)) continue;
        if (g.scene == IN_FAILURE && (g.family == CHANGES || g.family == MANY)) continue;     /* do not fail */
        if (g.scene == IN_FAILURE && g.family == RUN && g.manner != BY_USER_DATA) continue;
        client = open_house();
        if (g.scene == IN_FAILURE && g.family >= PAGE_OF_KEY && g.family < MANY) fault("status=400,kind=query");
        at_failure = g.scene == IN_FAILURE ? &g : NULL;
        start(client, &g);
        if (g.family == RUN && g.destroys) {
        } else if (g.destroys) {
            int ran = 0;
            while (ran >= 0) ran = aiocosmos_step(client, PATIENCE_MS);
            CHECK_INT(ran, AIOCOSMOS_E_DESTROYED);
        } else {
            drain(client);
        }
        CHECK(g.gone);
        if (g.scene == IN_NEXT) {                          /* the bulk and nine items: one was refused, one is dropped */
            aiocosmos_stats stats;
            aiocosmos_get_stats(client, &stats);
            CHECK(stats.ops_submitted == 1 + 9 || stats.ops_submitted == 1 + 9 + 2);   /* with the ranges */
        }
        no_faults();
        out_of_the_house(client, &g);
    }
    stop_emulator();
}

/* What has ended and is not called back yet has no handle any more: on_failure sees it there. */
TEST(what_on_failure_forgets_is_not_called_back)
{
    static guest g;
    enum family family;
    furnish();
    for (family = OP; family < FAMILIES; family++) {
        int how;
        for (how = BY_HANDLE; how <= BY_USER_DATA; how++) {
            aiocosmos_client *client = open_house();
            if (family == RUN) how = BY_USER_DATA;
            memset(&g, 0, sizeof g);
            g.family = family;
            g.manner = (enum manner)how;
            at_failure = &g;
            if (family != RUN) {
                start(client, &g);
                cancel_it(client, &g);
                drain(client);
            } else {
                g.scene = IN_FAILURE;
                start(client, &g);
            }
            CHECK(g.gone);
            out_of_the_house(client, &g);
        }
    }
    stop_emulator();
}

TEST(what_is_forgotten_goes_on)
{
    aiocosmos_client *client;
    aiocosmos_request request;
    aiocosmos_stats stats;
    answer got, never;
    guest g;
    int pulls;
    furnish();
    client = open_house();
    request = upsert_item(aiocosmos_i(1), "{\"id\":\"left\",\"pk\":1}");
    CHECK(aiocosmos_forget(client, send_off(client, request, &never)));
    CHECK_INT(aiocosmos_pending(client), 1);
    drain(client);                                         /* waits for it */
    aiocosmos_get_stats(client, &stats);
    CHECK_INT(stats.ops_completed, 1);
    CHECK_INT(never.calls, 0);
    CHECK_INT(ask(client, read_item("left", aiocosmos_i(1)), &got), 0);
    memset(&g, 0, sizeof g);
    g.family = BULK;
    start(client, &g);
    while (g.pulls < 3) CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
    pulls = g.pulls;
    CHECK(leave(client, &g));
    CHECK(aiocosmos_pending(client) > 1);                  /* the bulk, and what it has in flight */
    drain(client);
    CHECK_INT(g.pulls, pulls);
    CHECK_INT(ask(client, read_item("b2", aiocosmos_i(2)), &got), 0);
    close_world(client);
}

/* What it does not know, or what is a part of something, it leaves alone. */
TEST(forgetting_what_is_not_there_is_harmless)
{
    aiocosmos_client *client;
    aiocosmos_op op, none = {0};
    aiocosmos_cursor cursor, no_cursor = {0};
    answer got;
    guest g;
    furnish();
    client = open_house();
    CHECK(!aiocosmos_forget(client, none));
    CHECK(!aiocosmos_cursor_forget(client, no_cursor));
    CHECK_INT(aiocosmos_forget_all(client, &got), 0);
    op = send_off(client, read_item("1", aiocosmos_i(1)), &got);
    CHECK_INT(aiocosmos_forget_all(client, NULL), 0);
    drain(client);
    CHECK_INT(got.calls, 1);
    CHECK(!aiocosmos_forget(client, op));
    cursor = open_cursor(client, PAGE_OF_RANGES);
    CHECK(aiocosmos_cursor_forget(client, cursor));
    CHECK(!aiocosmos_cursor_forget(client, cursor));
    memset(&g, 0, sizeof g);
    g.family = BULK;
    start(client, &g);
    while (g.pulls < 3) CHECK(aiocosmos_step(client, PATIENCE_MS) >= 0);
    op = g.op;
    for (op.id = (op.id & ~(uint64_t)0xFFFFFFFF) | 1; (uint32_t)op.id < 1024; op.id++)        /* its items */
        if (op.id != g.op.id) CHECK(!aiocosmos_forget(client, op));
    drain(client);
    CHECK_INT(g.calls, 32);                                /* every item, one pull and the end */
    free(g.text);
    close_world(client);
}
