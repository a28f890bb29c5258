/* throughput.c: request units a second, of a database or a container. */
#include "throughput.h"
#include "io.h"
#include "request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say_units(tool *t, aiocosmos_json content, const char *begin)
{
    int64_t units;
    if (aiocosmos_json_get_i64(aiocosmos_json_at(content, "/offerAutopilotSettings/maxThroughput"), &units))
        say(t, "%sas many request units a second as needed, up to %ld", begin, (long)units);
    else if (aiocosmos_json_get_i64(aiocosmos_json_at(content, "/offerThroughput"), &units))
        say(t, "%s%ld request units a second", begin, (long)units);
}

/* The offer goes to stdout as the service keeps it, and in words to people. */
static int print_offer(tool *t, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_json content = aiocosmos_json_at(aiocosmos_result_json(result), "/content");
    aiocosmos_str least = aiocosmos_result_header(result, "x-ms-cosmos-min-throughput");
    aiocosmos_str pending = aiocosmos_result_header(result, "x-ms-offer-replace-pending");
    int status = print_answer(t, result, user_data);
    if (status != EXIT_DONE) return status;
    say_units(t, content, "");
    if (least.len) fprintf(stderr, "It may be as low as %.*s.\n", (int)least.len, least.ptr);
    if (pending.len == 4 && (pending.ptr[0] == 't' || pending.ptr[0] == 'T'))
        fputs("The service is still changing it.\n", stderr);
    return stdout_works(t) ? EXIT_DONE : EXIT_REFUSED;
}

static int perform_on_offer(tool *t, aiocosmos_request *request)
{
    int status;
    request->database = t->operand[0];
    request->container = t->operands > 1 ? t->operand[1] : NULL;
    status = perform(t, request, print_offer, NULL);
    say_cost(t, "");
    return status;
}

/* From 400 in hundreds, of autoscale from 1000 in thousands: the service takes no others. How many are too many
 * depends on the account. */
bool are_units(tool *t, const char *name, long units, bool autoscale)
{
    long least = autoscale ? 1000 : 400, step = autoscale ? 1000 : 100;
    if (units == 0 || (units >= least && units % step == 0)) return true;
    say(t, "%s %ld: at least %ld request units a second are expected, a multiple of %ld", name, units, least, step);
    return false;
}

/* Between manual and autoscale there are two steps, of which the first may have been done. */
static void say_what_is(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    tool *t = (tool *)user_data;
    (void)client;
    if (result->status == 0) say_units(t, aiocosmos_json_at(aiocosmos_result_json(result), "/content"), "it has now ");
}

static int change(tool *t, bool to_autoscale)
{
    aiocosmos_request request = {0};
    aiocosmos_stats stats;
    int status;
    const char *number = t->operand[t->operands - 1];
    char *end;
    long units = strtol(number, &end, 10);
    if (end == number || *end || units < 1 || units > 100000000) {
        say(t, "%s: '%s': a number of request units a second is expected", t->command->name, number);
        return see_help(t);
    }
    if (!are_units(t, t->command->name, units, to_autoscale)) return see_help(t);
    t->operands--;                         /* the rest is what it is for */
    request.kind = AIOCOSMOS_REPLACE_THROUGHPUT;
    if (to_autoscale) request.autoscale_max_ru = (uint32_t)units;
    else request.throughput_ru = (uint32_t)units;
    status = perform_on_offer(t, &request);
    aiocosmos_get_stats(t->client, &stats);
    if (status != EXIT_REFUSED || stats.bytes_received == 0) return status;
    memset(&request, 0, sizeof request);
    request.kind = AIOCOSMOS_READ_THROUGHPUT;
    request.database = t->operand[0];
    request.container = t->operands > 1 ? t->operand[1] : NULL;
    request.done = say_what_is;
    request.user_data = t;
    aiocosmos_run(t->client, &request, NULL);
    return status;
}

int throughput_set(tool *t)
{
    return change(t, false);
}

int throughput_autoscale(tool *t)
{
    return change(t, true);
}

int throughput_show(tool *t)
{
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_READ_THROUGHPUT;
    return perform_on_offer(t, &request);
}
