/* sim_trades.h: transactions of the clients of a simulation: operations on several items of one partition key, of which
 * the store shows all or none, and whose one result says so of each. */
#ifndef SIM_TRADES_H
#define SIM_TRADES_H

#include "sim_model.h"

static void sim_act_inside(sim_client *client);
static sim_op *sim_choose_op(sim_client *client, bool in_bulk, unsigned key);
static uint32_t sim_choose_timeout(sim_client *client);
static void sim_order(sim_client *client, sim_op *op);

static sim_trade *sim_trades;                /* of the run */

/* One of its operations, as if it had a result of its own. */
static void sim_trade_tell(sim *s, sim_op *op, const aiocosmos_result *whole, const aiocosmos_batch_result *own)
{
    aiocosmos_result result = *whole;
    op->calls++;
    if (own) {
        result.status = result.http_status = own->status;
        result.sub_status = own->sub_status;
        result.etag = own->etag;
        result.body = emu_str(own->item.ptr, own->item.len);
    }
    op->status = result.status;
    op->sub_status = result.sub_status;
    op->http_status = result.http_status == 207 ? 0 : result.http_status;      /* of a whole that was not done */
    op->fate = result.fate;
    if (s->plan.garbles) op->fate = op->sent ? AIOCOSMOS_FATE_MAYBE_APPLIED : AIOCOSMOS_FATE_NOT_SENT;
    if (s->plan.garbles) op->status = op->http_status = AIOCOSMOS_E_PROTOCOL;
    sim_trace(&s->world, "operation %ld, of a transaction: %d/%d, fate %d", op->number, op->status, op->sub_status,
              op->fate);
    sim_check_fate(s, op);
    /* Without memory for the results the whole has the status of one of them, and of which is not said. */
    if (!own && result.status > 0 && s->plan.breaks_memory) op->status = AIOCOSMOS_E_NOMEM;
    else if (op->write) sim_check_written(s, op, &result);
    else sim_check_read(s, op, &result);
    sim_count_result(s, op);
}

static void sim_trade_done(aiocosmos_client *handle, const aiocosmos_result *result,
                           const aiocosmos_batch_result *results, size_t count, void *user_data)
{
    sim_trade *trade = (sim_trade *)user_data;
    sim *s = trade->whole->client->sim;
    size_t i, failed = 0;
    (void)handle;
    sim_check_result(s, trade->whole, result);
    SIM_CHECK(&s->world, count == trade->count || (count == 0 && result->status), "a transaction of %zu tells of %zu",
              trade->count, count);
    for (i = 0; i < count; i++)
        if (results[i].status && results[i].status != 304 && results[i].status != 424 && failed++ == 0)
            SIM_CHECK(&s->world, results[i].status == result->status || s->plan.garbles,
                      "a transaction ends with %d, and its first failure is %d", result->status, results[i].status);
    SIM_CHECK(&s->world, count == 0 || (failed > 0) == (result->status != 0) || s->plan.garbles,
              "a transaction ends with %d, and %zu of it failed", result->status, failed);
    for (i = 0; i < trade->count; i++) sim_trade_tell(s, trade->of[i], result, count ? &results[i] : NULL);
    sim_cover(&s->world, result->status == 0 ? SIM_trade_done : count ? SIM_trade_undone : SIM_trade_failed);
    if (result->fate == AIOCOSMOS_FATE_MAYBE_APPLIED) sim_cover(&s->world, SIM_trade_in_doubt);
    sim_act_inside(trade->whole->client);
}

/* False: another of the transaction is about the same item. */
static bool sim_trade_add(sim_trade *trade, sim_op *op)
{
    size_t i;
    for (i = 0; i < trade->count && trade->of[i]->item != op->item; i++) continue;
    op->in_bulk = true;
    if (i < trade->count) {                  /* it is not asked for */
        op->calls = 1;
        op->status = AIOCOSMOS_E_CANCELLED;
        op->fate = AIOCOSMOS_FATE_NOT_SENT;
        return false;
    }
    trade->of[trade->count++] = op;
    return true;
}

static bool sim_start_trade(sim_client *client)
{
    sim *s = client->sim;
    sim_random *random = &s->world.trades;
    sim_trade *trade = (sim_trade *)calloc(1, sizeof *trade);
    aiocosmos_bulk_item items[SIM_TRADE_MAX];
    aiocosmos_batch_request request;
    char header[48];
    const char *headers[2];
    unsigned key = (unsigned)sim_below(random, SIM_KEYS);
    unsigned wanted = (unsigned)sim_magnitude(random, 1, SIM_TRADE_MAX + 1);
    bool by_etags = true;
    size_t i;
    int refused;
    if (!trade) abort();
    trade->next = sim_trades;
    sim_trades = trade;
    trade->whole = sim_op_new(client, SIM_TRADE, NULL);
    trade->whole->trade = trade;
    memset(items, 0, sizeof items);
    while (wanted--) {
        sim_op *op = sim_choose_op(client, true, key);
        aiocosmos_bulk_item *item = &items[trade->count];
        if (!sim_trade_add(trade, op)) continue;
        item->kind = (aiocosmos_kind)op->kind;
        if (op->kind != AIOCOSMOS_CREATE_ITEM && op->kind != AIOCOSMOS_UPSERT_ITEM) item->id = op->item->id;
        item->body = emu_str(op->body, op->body_len);
        if (*op->if_match) item->if_match = aiocosmos_text(op->if_match);
        by_etags = by_etags && (!op->write || *op->if_match);
    }
    sim_order(client, trade->whole);
    for (i = 0; i < trade->count; i++) {
        trade->of[i]->leave = by_etags;      /* retry_writes is of single ones */
        trade->of[i]->order_before = trade->whole->order_before;
    }
    snprintf(header, sizeof header, "x-sim-op: %ld", trade->whole->number);
    headers[0] = header;
    headers[1] = NULL;
    memset(&request, 0, sizeof request);
    request.container = SIM_CONTAINER;
    request.pk = aiocosmos_pk1(sim_key(key));
    request.items = items;
    request.item_count = trade->count;
    request.headers = headers;
    request.order_key = trade->whole->order_key;
    request.timeout_ms = sim_choose_timeout(client);
    request.want_body = sim_chance(random, 0.3);
    request.done = sim_trade_done;
    request.user_data = trade;
    sim_trace(&s->world, "operation %ld: client %u asks for a transaction of %zu", trade->whole->number, client->number,
              trade->count);
    refused = aiocosmos_batch(client->client, &request, &trade->whole->handle);
    s->net.work++;
    if (refused) {
        sim_op_refused(trade->whole, refused);
        for (i = 0; i < trade->count; i++) {
            trade->of[i]->calls = 1;
            trade->of[i]->status = refused;
            trade->of[i]->fate = AIOCOSMOS_FATE_NOT_SENT;
        }
        return false;
    }
    if (trade->whole->order_key) client->order_last[trade->whole->order_key] = trade->whole;
    sim_op_accepted(trade->whole, request.timeout_ms);
    return true;
}

static void sim_trades_free(void)
{
    while (sim_trades) {
        sim_trade *trade = sim_trades;
        sim_trades = trade->next;
        free(trade);
    }
}

#endif
