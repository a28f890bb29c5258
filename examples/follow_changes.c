/* follow_changes.c: workers that share the changes of a container: start as many as you like, and kill any.
 * With build/aiocosmos-emulator: cc -I. -o build/follow_changes examples/follow_changes.c -lbearssl, then
 * build/follow_changes on & build/follow_changes on; without a word it adds an order and ends when it has seen it. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "change_feed_processor.h"

static bool goes_on, stop;

static void on_changes(cfp *processor, uint64_t page_id, const aiocosmos_page *page, void *user_data)
{
    aiocosmos_json order = {0};
    (void)user_data;
    while (aiocosmos_json_next(page->items, NULL, &order)) printf("%.*s\n", (int)order.len, order.ptr);
    if (page->item_count > 0 && !goes_on) stop = true;
    cfp_done(processor, page_id);                /* after that, not before: what is not done comes again */
}

int main(int argc, char **argv)
{
    static const char *const containers[][2] = {{"orders", "/customer"}, {"leases", "/processor"}};
    aiocosmos_options options = {0};
    aiocosmos_request make = {0}, put = {0};
    cfp_options follow = {0};
    aiocosmos_client *client;
    char why[256];
    cfp *processor;
    int i, status;
    goes_on = argc > 1 && strcmp(argv[1], "on") == 0;
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-follow-changes";
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    status = aiocosmos_run(client, &make, NULL);
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    for (i = 0; i < 2 && status == 0; i++) {
        make.container = containers[i][0];
        make.partition_key_paths[0] = containers[i][1];
        status = aiocosmos_run(client, &make, NULL);
    }
    put.kind = AIOCOSMOS_UPSERT_ITEM;
    put.container = "orders";
    put.pk = aiocosmos_pk_s("ann");
    put.body = aiocosmos_text("{\"id\":\"1\",\"customer\":\"ann\",\"price\":7}");
    if (status == 0 && !goes_on) status = aiocosmos_run(client, &put, NULL);
    if (status != 0) return puts(aiocosmos_last_error(client)), 1;
    follow.container = "orders";
    follow.lease_container = "leases";
    follow.name = "mailer";
    follow.changes = on_changes;
    if (!(processor = cfp_open(client, &follow))) return 1;
    cfp_run(processor, &stop);
    cfp_close(processor);
    aiocosmos_destroy(client);
    return 0;
}
/* In .NET: orders.GetChangeFeedProcessorBuilder<Order>("mailer", OnChangesAsync).WithInstanceName(worker)
 *     .WithLeaseContainer(leases).Build(), then StartAsync() and StopAsync() */
