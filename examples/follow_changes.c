/* follow_changes.c: workers that share the changes of a container: start as many as you like, and kill any.
 * With build/aiocosmos-emulator: cc -I. -o build/follow_changes examples/follow_changes.c -lbearssl, then
 * build/follow_changes ann & build/follow_changes bob; without a name it adds an order and ends when it has seen it. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "change_feed_processor.h"

static bool found;

static void on_changes(cfp *processor, uint64_t page_id, const aiocosmos_page *page, void *user_data)
{
    aiocosmos_json order = {0};
    while (aiocosmos_json_next(page->items, NULL, &order)) {
        printf("%s: %.*s\n", (const char *)user_data, (int)order.len, order.ptr);
        found = found || aiocosmos_json_is_str(aiocosmos_json_at(order, "/id"), "1");
    }
    cfp_done(processor, page_id);                /* after that, not before: what is not done comes again */
}

static void on_failed(cfp *processor, int status, aiocosmos_str message, void *user_data)
{
    (void)processor;                             /* it goes on trying */
    printf("%s: %d: %.*s\n", (const char *)user_data, status, (int)message.len, message.ptr);
}

int main(int argc, char **argv)
{
    const char *worker = argc > 1 ? argv[1] : "worker";
    static const char *const containers[][2] = {{"orders", "/customer"}, {"leases", "/processor"}};
    aiocosmos_options options = {0};
    aiocosmos_request make = {0}, put = {0};
    cfp_options follow = {0};
    aiocosmos_client *client;
    char why[256];
    cfp *processor;
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-follow-changes";
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return puts(aiocosmos_last_error(client)), 1;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    for (int i = 0; i < 2; i++) {
        make.container = containers[i][0];
        make.partition_key_paths[0] = containers[i][1];
        if (aiocosmos_run(client, &make, NULL) != 0) return puts(aiocosmos_last_error(client)), 1;
    }
    put.kind = AIOCOSMOS_UPSERT_ITEM;
    put.container = "orders";
    put.pk = aiocosmos_pk_s("ann");
    put.body = aiocosmos_text("{\"id\":\"1\",\"customer\":\"ann\",\"price\":7}");
    if (argc == 1 && aiocosmos_run(client, &put, NULL) != 0) return puts(aiocosmos_last_error(client)), 1;
    follow.container = "orders";
    follow.lease_container = "leases";
    follow.name = "mailer";
    follow.worker = worker;
    follow.changes = on_changes;
    follow.failed = on_failed;
    follow.user_data = (void *)(uintptr_t)worker;
    if (!(processor = cfp_open(client, &follow))) return 1;
    while (argc > 1 || !found) aiocosmos_step(client, cfp_step(processor));
    for (cfp_stop(processor); cfp_held(processor) > 0; ) aiocosmos_step(client, cfp_step(processor));
    cfp_close(processor);
    aiocosmos_destroy(client);
    return 0;
}
/* In .NET, with Microsoft.Azure.Cosmos:
 *     var processor = orders.GetChangeFeedProcessorBuilder<Order>("mailer", OnChangesAsync)
 *         .WithInstanceName(worker).WithLeaseContainer(leases)
 *         .WithStartTime(DateTime.MinValue.ToUniversalTime()).Build();
 *     await processor.StartAsync();
 *     ...
 *     await processor.StopAsync(); */
