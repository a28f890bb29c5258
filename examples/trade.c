/* trade.c: gold changes hands and a record of it is kept, all or nothing: a transaction.
 * With build/aiocosmos-emulator: cc -I. -o build/trade examples/trade.c -lbearssl && build/trade */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>

static void on_trade(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_batch_result *results,
                     size_t count, void *user_data)
{
    (void)client, (void)results, (void)count;
    *(bool *)user_data = result->status == 0;
    if (result->status != 0) printf("refused: %.*s\n", (int)result->message.len, result->message.ptr);
    if (result->fate == AIOCOSMOS_FATE_MAYBE_APPLIED) puts("The record of the trade says whether it was made.");
}

/* The payer has to have it (412), and a trade of this name is made once (409). */
static bool trade(aiocosmos_client *client, const char *name, const char *payer, const char *payee, int gold)
{
    aiocosmos_bulk_item items[3] = {{0}};
    aiocosmos_batch_request request = {0};
    char pay[256], get[256], record[256];
    bool done = false;
    snprintf(pay, sizeof pay, "{\"condition\":\"FROM c WHERE c.gold >= %d\","
             "\"operations\":[{\"op\":\"incr\",\"path\":\"/gold\",\"value\":-%d}]}", gold, gold);
    snprintf(get, sizeof get, "[{\"op\":\"incr\",\"path\":\"/gold\",\"value\":%d}]", gold);
    snprintf(record, sizeof record, "{\"id\":\"%s\",\"region\":\"eu\",\"gold\":%d}", name, gold);
    items[0].kind = items[1].kind = AIOCOSMOS_PATCH_ITEM;
    items[0].id = payer;
    items[0].body = aiocosmos_text(pay);
    items[1].id = payee;
    items[1].body = aiocosmos_text(get);
    items[2].body = aiocosmos_text(record);      /* created */
    request.container = "players";
    request.pk = aiocosmos_pk_s("eu");           /* all of a transaction is of one partition key */
    request.items = items;
    request.item_count = 3;
    request.done = on_trade;
    request.user_data = &done;
    if (aiocosmos_batch(client, &request, NULL) < 0) puts(aiocosmos_last_error(client));
    while (aiocosmos_pending(client) > 0) aiocosmos_step(client, 100);
    return done;
}

int main(void)
{
    static const char *const players[] = {"{\"id\":\"ann\",\"region\":\"eu\",\"gold\":10}",
                                          "{\"id\":\"bob\",\"region\":\"eu\",\"gold\":0}"};
    aiocosmos_options options = {0};
    aiocosmos_request make = {0}, put = {0};
    aiocosmos_client *client;
    char why[256];
    bool first, again, too_much;
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-trade";
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return puts(aiocosmos_last_error(client)), 1;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = put.container = "players";
    make.partition_key_paths[0] = "/region";
    if (aiocosmos_run(client, &make, NULL) != 0) return puts(aiocosmos_last_error(client)), 1;
    put.kind = AIOCOSMOS_UPSERT_ITEM;
    put.pk = aiocosmos_pk_s("eu");
    for (int i = 0; i < 2; i++) {
        put.body = aiocosmos_text(players[i]);
        if (aiocosmos_run(client, &put, NULL) != 0) return puts(aiocosmos_last_error(client)), 1;
    }
    first = trade(client, "trade-1", "ann", "bob", 7);
    again = trade(client, "trade-1", "bob", "ann", 1);
    too_much = trade(client, "trade-2", "ann", "bob", 4);
    aiocosmos_destroy(client);
    return first && !again && !too_much ? puts("ann has 3, bob has 7"), 0 : 1;
}
/* In JavaScript, with @azure/cosmos:
 *     const { result } = await container.items.batch([
 *         { operationType: "Patch", id: "ann", resourceBody: { condition: "FROM c WHERE c.gold >= 7",
 *             operations: [{ op: "incr", path: "/gold", value: -7 }] } },
 *         { operationType: "Patch", id: "bob",
 *             resourceBody: { operations: [{ op: "incr", path: "/gold", value: 7 }] } },
 *         { operationType: "Create", resourceBody: { id: "trade-1", region: "eu", gold: 7 } },
 *     ], "eu");
 *     if (result.some(r => r.statusCode === 424)) console.log("nothing has changed"); */
