/* resources.c: stored procedures, triggers and functions of a container; users of a database, and what they may. */
#include "resources.h"
#include "io.h"
#include "request.h"
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Which one it is, as the operands say. */
static void name_resource(const tool *t, aiocosmos_request *request)
{
    request->kind = (aiocosmos_kind)t->command->kind;
    request->feed = resource_of(t->command)->feed;
    request->database = t->operand[0];
    if (request->feed == AIOCOSMOS_FEED_USERS || request->feed == AIOCOSMOS_FEED_PERMISSIONS)
        request->user = t->operand[1];
    else
        request->container = t->operand[1];
    request->id = request->feed == AIOCOSMOS_FEED_USERS ? NULL : t->operand[2];
}

int resource_list(tool *t)
{
    aiocosmos_query_request request = {0};
    request.feed = resource_of(t->command)->feed;
    request.database = t->operand[0];
    if (request.feed == AIOCOSMOS_FEED_PERMISSIONS) request.user = t->operand[1];
    else request.container = t->operand[1];                /* there is none of users */
    return print_list(t, &request);
}

int resource_by_id(tool *t)
{
    aiocosmos_request request = {0};
    int status;
    name_resource(t, &request);
    if (request.kind == AIOCOSMOS_READ_RESOURCE) return perform_and_print(t, &request);
    status = perform(t, &request, NULL, NULL);
    say_cost(t, "");
    return status;
}

/* One of several words, as the service writes it, whatever its case here; as it was where the option is not given.
 * False: said what is wrong. */
static bool word_of(tool *t, option_id option, const char *const *words, const char **out)
{
    const char *given = t->option[option], *const *word = words;
    if (!given) return true;
    for (; *word; word++)
        if (strcasecmp(given, *word) == 0) return *out = *word, true;
    say(t, "%s %s: it is one of %s", options[option].name, given, options[option].value);
    return false;
}

/*--- Scripts ------------------------------------------------------------------*/

/* The first ones are meant where none is given. */
static const char *const trigger_types[] = { "Pre", "Post", NULL };
static const char *const trigger_operations[] = { "All", "Create", "Replace", "Update", "Upsert", "Delete", NULL };

static bool trigger_of(tool *t, aiocosmos_request *request)
{
    return word_of(t, OPT_TYPE, trigger_types, &request->trigger_type) &&
           word_of(t, OPT_OPERATION, trigger_operations, &request->trigger_operation);
}

static void keep_word(aiocosmos_json has, const char *const *words, const char **out)
{
    for (; *words && !*out; words++)
        if (aiocosmos_json_is_str(has, *words)) *out = *words;
}

static int keep_trigger(tool *t, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_request *request = user_data;
    aiocosmos_json root = aiocosmos_result_json(result);
    (void)t;
    keep_word(aiocosmos_json_at(root, "/triggerType"), trigger_types, &request->trigger_type);
    keep_word(aiocosmos_json_at(root, "/triggerOperation"), trigger_operations, &request->trigger_operation);
    return EXIT_DONE;
}

/* What the options do not say of a trigger: it stays as it is, and of a new one it is the default. Returns the exit
 * status. */
static int complete_trigger(tool *t, aiocosmos_request *request)
{
    aiocosmos_request read = {0};
    int status = EXIT_DONE;
    if (request->feed != AIOCOSMOS_FEED_TRIGGERS) return EXIT_DONE;
    if (request->kind == AIOCOSMOS_REPLACE_RESOURCE && !(request->trigger_type && request->trigger_operation)) {
        name_resource(t, &read);
        read.kind = AIOCOSMOS_READ_RESOURCE;
        status = perform(t, &read, keep_trigger, request);
    }
    if (!request->trigger_type) request->trigger_type = trigger_types[0];
    if (!request->trigger_operation) request->trigger_operation = trigger_operations[0];
    return status;
}

/* As the library takes it: a text that ends at its first zero byte. */
static bool is_script(tool *t, aiocosmos_str text)
{
    bool whole = strlen(text.ptr) == text.len;
    if (whole && text.ptr[strspn(text.ptr, " \t\r\n")]) return true;
    say(t, "%s: no JavaScript was read: %s", t->command->name, whole ? "there is nothing" : "a zero byte");
    return false;
}

int script_write(tool *t)
{
    aiocosmos_request request = {0};
    aiocosmos_str script;
    char *text;
    int status = EXIT_USAGE;
    name_resource(t, &request);
    if (!trigger_of(t, &request)) return see_help(t);
    text = read_text(t, t->operand[3], &script);
    if (text && is_script(t, script)) {
        request.script = script.ptr;
        status = complete_trigger(t, &request);
        if (status == EXIT_DONE) status = perform_and_print(t, &request);
    }
    free(text);
    return status;
}

static void say_log(aiocosmos_str encoded)
{
    char *log = encoded.len ? text_of(encoded) : NULL;
    size_t len = log ? percent_decode(log) : 0;
    if (log) tame(log, len, "\n");
    if (len) fprintf(stderr, "%.*s\n", (int)len, log);
    free(log);
}

/* A procedure that sets no answer has none. */
static int print_run(tool *t, const aiocosmos_result *result, void *user_data)
{
    wipe_progress(t);
    say_log(aiocosmos_result_header(result, "x-ms-documentdb-script-log-results"));
    return result->body.len ? print_answer(t, result, user_data) : EXIT_DONE;
}

int procedure_run(tool *t)
{
    static const char *const headers[] = { "x-ms-documentdb-script-enable-logging: true", NULL };
    aiocosmos_request request = {0};
    const char *arguments = t->operand[3] ? t->operand[3] : "[]";
    aiocosmos_json_doc *doc = NULL;
    bool is_array = aiocosmos_json_parse(NULL, arguments, strlen(arguments), &doc, NULL) == 0 &&
                    aiocosmos_json_root(doc).type == AIOCOSMOS_JSON_ARR;
    int status;
    aiocosmos_json_free(doc);
    if (!is_array) {
        say(t, "sproc run: the arguments '%s' are no JSON array, such as '[\"ann\",5]'", arguments);
        return see_help(t);
    }
    request.kind = AIOCOSMOS_EXECUTE_PROCEDURE;
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.id = t->operand[2];
    request.body = aiocosmos_text(arguments);
    request.headers = headers;
    if (!pk_of_option(t, &request.pk)) return see_help(t);
    status = perform(t, &request, print_run, NULL);
    if (status == EXIT_DONE && !stdout_works(t)) status = EXIT_REFUSED;
    say_cost(t, "");
    return status;
}

/*--- Users and permissions ----------------------------------------------------*/

int user_create(tool *t)
{
    aiocosmos_request request = {0};
    name_resource(t, &request);
    return perform_and_print(t, &request);
}

int permission_create(tool *t)
{
    static const char *const modes[] = { "Read", "All", NULL };
    aiocosmos_request request = {0};
    char link[LINK_BYTES];
    long expiry_s = 0;
    name_resource(t, &request);
    if (!word_of(t, OPT_MODE, modes, &request.permission_mode) || !pk_of_option(t, &request.pk) ||
        !number_of(t, OPT_EXPIRY, 1, INT32_MAX, &expiry_s)) return see_help(t);
    snprintf(link, sizeof link, "dbs/%s/colls/%s", t->operand[0], t->option[OPT_ON]);
    request.resource = strchr(t->option[OPT_ON], '/') ? t->option[OPT_ON] : link;
    request.expiry_s = (uint32_t)expiry_s;
    return perform_and_print(t, &request);
}
