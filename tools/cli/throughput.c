/* throughput.c: request units a second, of a database or a container. */
#include "throughput.h"
#include "io.h"
#include "request.h"

#include <stdio.h>
#include <stdlib.h>

/* The offer goes to stdout as the service keeps it, and in words to people. */
static int print_offer(tool *t, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_json content = aiocosmos_json_at(aiocosmos_result_json(result), "/content");
    aiocosmos_str least = aiocosmos_result_header(result, "x-ms-cosmos-min-throughput");
    aiocosmos_str pending = aiocosmos_result_header(result, "x-ms-offer-replace-pending");
    int64_t units;
    int status = print_answer(t, result, user_data);
    if (status != EXIT_DONE) return status;
    if (aiocosmos_json_get_i64(aiocosmos_json_at(content, "/offerAutopilotSettings/maxThroughput"), &units))
        say(t, "as many request units a second as needed, up to %ld", (long)units);
    else if (aiocosmos_json_get_i64(aiocosmos_json_at(content, "/offerThroughput"), &units))
        say(t, "%ld request units a second", (long)units);
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

static int change(tool *t, bool to_autoscale)
{
    aiocosmos_request request = {0};
    const char *number = t->operand[t->operands - 1];
    char *end;
    long units = strtol(number, &end, 10);
    if (end == number || *end || units < 1 || units > 100000000) {
        say(t, "%s: '%s': a number of request units a second is expected", t->command->name, number);
        return see_help(t);
    }
    t->operands--;                         /* the rest is what it is for */
    request.kind = AIOCOSMOS_REPLACE_THROUGHPUT;
    if (to_autoscale) request.autoscale_max_ru = (uint32_t)units;
    else request.throughput_ru = (uint32_t)units;
    return perform_on_offer(t, &request);
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
