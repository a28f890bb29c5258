/* databases.c: databases and containers. */
#include "databases.h"
#include "io.h"
#include "request.h"
#include "rows.h"
#include "throughput.h"

#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 1024 };                /* a partition key path */

/* The request units that a new database or container is to have. */
static bool throughput_of(tool *t, aiocosmos_request *request)
{
    long manual = 0, autoscale = 0;
    if (has(t, OPT_THROUGHPUT) && has(t, OPT_AUTOSCALE)) {
        say(t, "--throughput and --autoscale are both given: choose one");
        return false;
    }
    if (!number_of(t, OPT_THROUGHPUT, 1, 100000000, &manual)) return false;
    if (!number_of(t, OPT_AUTOSCALE, 1, 100000000, &autoscale)) return false;
    if (!are_units(t, "--throughput", manual, false) || !are_units(t, "--autoscale", autoscale, true)) return false;
    request->throughput_ru = (uint32_t)manual;
    request->autoscale_max_ru = (uint32_t)autoscale;
    return true;
}

typedef struct creation {
    aiocosmos_kind read_kind;              /* reads what is there already */
    bool existed;
} creation;

static int print_creation(tool *t, const aiocosmos_result *result, void *user_data)
{
    creation *c = user_data;
    c->existed = result->http_status == 409;
    return c->existed ? EXIT_DONE : print_answer(t, result, NULL);
}

/* Creates a database or a container and prints it; one that was there before is read, so that it can be printed too. */
static int create(tool *t, aiocosmos_request *request, aiocosmos_kind read_kind)
{
    creation c = { read_kind, false };
    int status;
    request->if_not_exists = has(t, OPT_IF_NOT_EXISTS);
    status = perform(t, request, print_creation, &c);
    if (status == EXIT_DONE && c.existed) {
        aiocosmos_request read = {0};
        say(t, "'%s' is there already and stays as it is", t->operand[t->operands - 1]);
        read.kind = c.read_kind;
        read.database = request->database;
        read.container = request->container;
        return perform_and_print(t, &read);
    }
    if (status == EXIT_DONE && !stdout_works(t)) status = EXIT_REFUSED;
    say_cost(t, "");
    return status;
}

int account(tool *t)
{
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_READ_ACCOUNT;
    return perform_and_print(t, &request);
}

int db_list(tool *t)
{
    aiocosmos_query_request request = {0};
    request.feed = AIOCOSMOS_FEED_DATABASES;
    return print_list(t, &request);
}

int db_create(tool *t)
{
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_CREATE_DATABASE;
    request.database = t->operand[0];
    if (!throughput_of(t, &request)) return see_help(t);
    return create(t, &request, AIOCOSMOS_READ_DATABASE);
}

int container_list(tool *t)
{
    aiocosmos_query_request request = {0};
    request.feed = AIOCOSMOS_FEED_CONTAINERS;
    request.database = t->operand[0];
    return print_list(t, &request);
}

/* Cuts "/a,/b" at each comma before a slash, into the request. False: there are more than the service has levels. */
static bool split_paths(char *text, aiocosmos_request *request)
{
    char *comma;
    size_t count = 0;
    for (;;) {
        if (count == KEY_LEVELS) return false;
        request->partition_key_paths[count++] = text;
        comma = strstr(text, ",/");
        if (!comma) return true;
        *comma = 0;
        text = comma + 1;
    }
}

/* The service says of itself what it does not like. */
static bool is_json_object(tool *t, option_id option)
{
    const char *text = t->option[option];
    aiocosmos_json_doc *doc = NULL;
    bool ok = !text || (aiocosmos_json_parse(NULL, text, strlen(text), &doc, NULL) == 0 &&
                        aiocosmos_json_root(doc).type == AIOCOSMOS_JSON_OBJ);
    aiocosmos_json_free(doc);
    if (!ok) say(t, "%s %s: a JSON object is expected", options[option].name, text);
    return ok;
}

int container_create(tool *t)
{
    aiocosmos_request request = {0};
    char paths[KEY_LEVELS * PATH_BYTES];
    const char *given = t->option[OPT_PARTITION_KEY];
    long ttl = 0;
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.database = t->operand[0];
    request.container = t->operand[1];
    if (given[0] != '/') {
        say(t, "--partition-key %s: a path begins with '/', as in --partition-key /%s", given, given);
        return see_help(t);
    }
    if (strlen(given) >= sizeof paths || (strcpy(paths, given), !split_paths(paths, &request))) {
        say(t, "--partition-key %s: a container has one to three paths", given);
        return see_help(t);
    }
    if (!number_of(t, OPT_TTL, -1, INT32_MAX, &ttl) || !throughput_of(t, &request) || !is_json_object(t, OPT_WITH))
        return see_help(t);
    request.default_ttl_s = (int32_t)ttl;
    request.body = aiocosmos_text(t->option[OPT_WITH]);
    return create(t, &request, AIOCOSMOS_READ_CONTAINER);
}

int container_show(tool *t)
{
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_READ_CONTAINER;
    request.database = t->operand[0];
    request.container = t->operand[1];
    return perform_and_print(t, &request);
}

int container_replace(tool *t)
{
    aiocosmos_request request = {0};
    aiocosmos_str definition;
    char *text = read_text(t, t->operand[2], &definition);
    aiocosmos_json_doc *doc = text ? parse_text(t, t->operand[2], definition) : NULL;
    int status = EXIT_USAGE;
    if (doc) {
        request.kind = AIOCOSMOS_REPLACE_CONTAINER;
        request.database = t->operand[0];
        request.container = t->operand[1];
        request.body = definition;
        request.if_match = aiocosmos_text(t->option[OPT_IF_MATCH]);
        status = perform_and_print(t, &request);
    }
    aiocosmos_json_free(doc);
    free(text);
    return status;
}

/* Of a database or a container. */
int delete_whole(tool *t)
{
    aiocosmos_request request = {0};
    bool of_container = t->operands > 1;
    int status;
    request.kind = (aiocosmos_kind)t->command->kind;
    request.database = t->operand[0];
    request.container = t->operand[1];
    if (!confirm(t, of_container ? "deleting the container" : "deleting the database", t->operand[of_container]))
        return EXIT_REFUSED;
    status = perform(t, &request, NULL, NULL);
    say_cost(t, "");
    return status;
}
