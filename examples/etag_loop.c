/* etag_loop.c: eight buyers take from one stock at once: each reads it and replaces it, if nobody else did meanwhile.
 * With build/aiocosmos-emulator: cc -I. -o build/etag_loop examples/etag_loop.c -lbearssl && build/etag_loop */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>

enum { BUYERS = 8, SWORDS = 5 };
static char buyers[BUYERS][4] = {"ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"};
static int reads, sold;

static void on_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    if (result->status != 412) printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
}

static void submit(aiocosmos_client *client, aiocosmos_request request, char *buyer, aiocosmos_done_fn done)
{
    request.container = "stock";
    request.id = "sword";
    request.pk = aiocosmos_pk_s("sword");
    request.done = done;
    request.user_data = buyer;
    if (aiocosmos_submit(client, &request, NULL) < 0) puts(aiocosmos_last_error(client));
}

static void read_stock(aiocosmos_client *client, char *buyer);

static void on_replaced(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    /* 412: somebody came first; or it was us, and an answer was lost. Either way, what is stored says which. */
    if (result->status == 0) sold++;
    else if (result->status == 412 || result->fate == AIOCOSMOS_FATE_MAYBE_APPLIED) read_stock(client, user_data);
}

static void on_read(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_json sold_to = aiocosmos_json_at(aiocosmos_result_json(result), "/soldTo"), each = {0};
    aiocosmos_request replace = {0};
    aiocosmos_jw w;
    char text[256];                              /* submit copies it */
    bool is_mine = false;
    if (result->status != 0) return;             /* said by on_failure */
    aiocosmos_jw_init(&w, text, sizeof text);
    aiocosmos_jw_object(&w, NULL);
    aiocosmos_jw_str(&w, "id", "sword");
    aiocosmos_jw_array(&w, "soldTo");
    while (aiocosmos_json_next(sold_to, NULL, &each)) {
        is_mine = is_mine || aiocosmos_json_is_str(each, user_data);
        aiocosmos_jw_raw(&w, NULL, each.ptr, each.len);
    }
    sold += is_mine;                             /* by a write whose answer was lost */
    if (is_mine || aiocosmos_json_count(sold_to) == SWORDS) return;
    aiocosmos_jw_str(&w, NULL, user_data);
    aiocosmos_jw_end(&w);
    aiocosmos_jw_end(&w);
    replace.kind = AIOCOSMOS_REPLACE_ITEM;
    replace.body = aiocosmos_jw_finish(&w);
    replace.if_match = result->etag;
    submit(client, replace, user_data, on_replaced);
}

static void read_stock(aiocosmos_client *client, char *buyer)
{
    aiocosmos_request read = {0};
    read.kind = AIOCOSMOS_READ_ITEM;
    reads++;
    submit(client, read, buyer, on_read);
}

int main(void)
{
    aiocosmos_options options = {0};
    aiocosmos_request make = {0}, put = {0};
    aiocosmos_client *client;
    char why[256];
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-etag-loop";
    options.on_failure = on_failure;
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return 1;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = put.container = "stock";
    make.partition_key_paths[0] = "/id";
    if (aiocosmos_run(client, &make, NULL) != 0) return 1;
    put.kind = AIOCOSMOS_UPSERT_ITEM;
    put.pk = aiocosmos_pk_s("sword");
    put.body = aiocosmos_text("{\"id\":\"sword\",\"soldTo\":[]}");
    if (aiocosmos_run(client, &put, NULL) != 0) return 1;
    for (int i = 0; i < BUYERS; i++) read_stock(client, buyers[i]);
    while (aiocosmos_pending(client) > 0) aiocosmos_step(client, 100);
    aiocosmos_destroy(client);
    printf("%d of %d swords sold to %d buyers in %d reads\n", sold, SWORDS, BUYERS, reads);
    return sold == SWORDS ? 0 : 1;
}
/* In Python, with azure-cosmos:
 *     while True:
 *         item = stock.read_item("sword", partition_key="sword")
 *         item["soldTo"].append(buyer)
 *         try:
 *             stock.replace_item("sword", item, etag=item["_etag"], match_condition=MatchConditions.IfNotModified)
 *             break
 *         except CosmosAccessConditionFailedError:  # read again
 *             pass */
