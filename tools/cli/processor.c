/* processor.c: a change feed that several tools share, by leases. */
#include "processor.h"
#include "interrupt.h"
#include "io.h"
#include "rows.h"

#include "examples/change_feed_processor.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { HOST_BYTES = 40 };                  /* of a worker's name, of 63 at most */

/* What has been printed is done. */
static void print_shared(cfp *processor, uint64_t page_id, const aiocosmos_page *page, void *user_data)
{
    feed *rows = user_data;
    put_rows(rows, page);
    show_rows(rows);
    if (rows->status == EXIT_DONE) cfp_done(processor, page_id);
}

/* What may pass is waited for; a wrong name or key does not pass. */
static void say_trouble(cfp *processor, int status, aiocosmos_str message, void *user_data)
{
    feed *rows = user_data;
    (void)processor;
    say(rows->tool, "%.*s", (int)message.len, message.ptr);
    if (status == AIOCOSMOS_E_ARGUMENT || (status >= 400 && status <= 404)) rows->status = EXIT_REFUSED;
}

/* Its own, unless --worker names one: two that are alike would take each other's leases for theirs. Hosts of one family
 * differ in the end of their names, and in a container many a process is the first. */
static void name_worker(char *out, size_t cap)
{
    const aiocosmos_platform *platform = aiocosmos_system_platform();
    char host[256] = "", *end = host;
    uint32_t random = 0;
    gethostname(host, sizeof host - 1);
    if (strlen(host) > HOST_BYTES) end += strlen(host) - HOST_BYTES;
    platform->entropy(platform->user_data, &random, sizeof random);
    snprintf(out, cap, "%.*s-%ld-%08" PRIx32, (int)HOST_BYTES, end, (long)getpid(), random);
}

static void share(feed *rows, cfp *processor)
{
    aiocosmos_client *client = rows->tool->client;
    while (!was_interrupted() && rows->status == EXIT_DONE) aiocosmos_step(client, cfp_step(processor));
    cfp_stop(processor);
    while (rows->status == EXIT_DONE && cfp_held(processor) > 0) aiocosmos_step(client, cfp_step(processor));
}

static void look_at_container(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    feed *rows = user_data;
    (void)client;
    if (result->status != 404) return;
    rows->tool->reading_definition = true;
    say_failure(rows->tool, result);
    rows->tool->reading_definition = false;
    rows->status = EXIT_REFUSED;
}

static void look_at_leases(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    feed *rows = user_data;
    tool *t = rows->tool;
    aiocosmos_json paths = aiocosmos_json_at(aiocosmos_result_json(result), "/partitionKey/paths");
    const char *why = NULL;
    (void)client;
    if (result->status == 404) why = "there is no such container";
    else if (result->status == 0 && (aiocosmos_json_count(paths) != 1 ||
                                     !aiocosmos_json_is_str(aiocosmos_json_at(paths, "/0"), "/processor")))
        why = "its partition key is not /processor";
    if (!why) return;
    say(t, "--leases %s: %s. This makes one for leases:", t->option[OPT_LEASES], why);
    fprintf(stderr, "  aiocosmos container create %s %s --partition-key /processor\n", t->operand[0],
            result->status ? t->option[OPT_LEASES] : "NAME");
    rows->status = EXIT_REFUSED;
}

/* What will never do is told by its name. What fails for another reason the processor waits for. */
static bool are_containers(feed *rows)
{
    tool *t = rows->tool;
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_READ_CONTAINER;
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.done = look_at_container;
    request.user_data = rows;
    aiocosmos_run(t->client, &request, NULL);
    request.container = t->option[OPT_LEASES];
    request.done = look_at_leases;
    if (rows->status == EXIT_DONE) aiocosmos_run(t->client, &request, NULL);
    return rows->status == EXIT_DONE;
}

int process_changes(tool *t, const aiocosmos_changes_request *request)
{
    cfp_options shared = {0};
    feed rows = {0};
    char worker[64];
    cfp *processor;
    rows.tool = t;
    name_worker(worker, sizeof worker);
    shared.database = request->database;
    shared.container = request->container;
    shared.lease_container = t->option[OPT_LEASES];
    shared.name = t->option[OPT_PROCESSOR];
    shared.worker = has(t, OPT_WORKER) ? t->option[OPT_WORKER] : worker;
    shared.from = request->from;
    shared.from_time_s = request->from_time_s;
    shared.all_versions = request->all_versions;
    shared.page_items_max = request->page_items_max;
    shared.changes = print_shared;
    shared.failed = say_trouble;
    shared.user_data = &rows;
    processor = cfp_open(t->client, &shared);
    if (!processor) {
        say(t, "--processor, --worker: names of 1 to 63 bytes are expected");
        return see_help(t);
    }
    if (are_containers(&rows)) {
        catch_interrupts(t->client, NULL);
        share(&rows, processor);
    }
    cfp_close(processor);
    aiocosmos_drain(t->client, -1);        /* what it let go of may be under way yet */
    release_interrupts();
    say_rows(&rows);
    return rows.status;
}
