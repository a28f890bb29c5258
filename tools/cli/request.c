/* request.c: one request, and the keys of items. */
#include "request.h"
#include "io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*------------------------------------------------------------------------------
 * MARK: - One request
 *----------------------------------------------------------------------------*/

typedef struct performance {
    tool *tool;
    use_fn use;
    void *user_data;
    bool answered;                         /* and so was not refused */
    int status;                            /* to exit with */
} performance;

static void request_done(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    performance *p = user_data;
    (void)client;
    p->answered = true;
    if (result->status != 0) say_failure(p->tool, result);
    else if (p->use) p->status = p->use(p->tool, result, p->user_data);
}

/* Sends a request and waits; what comes back goes to `use`, failures to stderr. Returns the exit status. */
int perform(tool *t, const aiocosmos_request *request, use_fn use, void *user_data)
{
    performance p = { t, use, user_data, false, EXIT_DONE };
    aiocosmos_request own = *request;
    int status;
    own.done = request_done;
    own.user_data = &p;
    status = aiocosmos_run(t->client, &own, NULL);
    if (status != 0) return p.answered ? EXIT_REFUSED : say_refusal(t, status);
    return p.status;
}

size_t list_fds(aiocosmos_client *client, struct pollfd *out)
{
    aiocosmos_pollfd wanted[FDS_MAX];
    size_t count = aiocosmos_poll_fds(client, wanted, FDS_MAX), i;
    if (count > FDS_MAX) count = FDS_MAX;
    for (i = 0; i < count; i++) {
        out[i].fd = (int)wanted[i].fd;
        out[i].events = (short)((wanted[i].read ? POLLIN : 0) | (wanted[i].write ? POLLOUT : 0));
        out[i].revents = 0;
    }
    return count;
}

int print_answer(tool *t, const aiocosmos_result *result, void *user_data)
{
    (void)user_data;
    if (aiocosmos_result_json(result).type == AIOCOSMOS_JSON_NONE) {
        say(t, "%s: the answer, of status %d and %zu bytes, is not JSON: is a proxy in the way?", t->command->name,
            result->http_status, result->body.len);
        return EXIT_REFUSED;
    }
    put_document(stdout, result->body.ptr, result->body.len);
    putchar('\n');
    return EXIT_DONE;
}

int perform_and_print(tool *t, const aiocosmos_request *request)
{
    int status = perform(t, request, print_answer, NULL);
    if (status == EXIT_DONE && !stdout_works(t)) status = EXIT_REFUSED;
    say_cost(t, "");
    return status;
}

/*------------------------------------------------------------------------------
 * MARK: - Queries
 *----------------------------------------------------------------------------*/

/* "@name=JSON", cut at its '='. */
static bool param_of(tool *t, char *text, aiocosmos_param *param)
{
    char *equals = strchr(text, '=');
    aiocosmos_json_doc *doc;
    if (text[0] != '@' || !equals || equals == text + 1) {
        say(t, "--param %s: @name=value is expected, as in --param '@city=\"Berlin\"' or --param @level=42", text);
        return false;
    }
    if (aiocosmos_json_parse(t->client, equals + 1, strlen(equals + 1), &doc, NULL) < 0) {
        say(t, "--param %s: the value is not JSON. Text stands in double quotes: --param '@city=\"Berlin\"'", text);
        return false;
    }
    aiocosmos_json_free(doc);
    *equals = 0;
    param->name = text;
    param->value = aiocosmos_json_text(equals + 1, strlen(equals + 1));
    return true;
}

bool params_of(tool *t, aiocosmos_query_request *request)
{
    size_t i;
    t->values = calloc(t->param_count + 1, sizeof *t->values);
    if (!t->values) return say(t, "no memory"), false;
    for (i = 0; i < t->param_count; i++)
        if (!param_of(t, t->params[i], &t->values[i])) return false;
    request->params = t->values;
    request->param_count = t->param_count;
    return true;
}

/* A line end is put behind the condition, which may end in a comment. */
char *sql_where(tool *t, const char *select)
{
    const char *where = t->option[OPT_WHERE];
    size_t cap = strlen(select) + (where ? strlen(where) : 0) + sizeof " WHERE (\n)";
    char *sql = malloc(cap);
    if (!sql) return say(t, "no memory"), NULL;
    while (where && (*where == ' ' || *where == '\n')) where++;
    if (where && strncasecmp(where, "where ", 6) == 0) where += 6;
    if (!where) {
        snprintf(sql, cap, "%s", select);
    } else if (*where && strncasecmp(where, "select ", 7) != 0) {
        snprintf(sql, cap, "%s WHERE (%s\n)", select, where);
    } else {
        say(t, "--where %s: a condition is expected, such as --where 'c.level > 9'", where);
        free(sql);
        return NULL;
    }
    return sql;
}

/*------------------------------------------------------------------------------
 * MARK: - Partition keys
 *----------------------------------------------------------------------------*/

/* A JSON value as one level of a key. {} says that the item has no such property. */
static bool level_of(aiocosmos_json value, aiocosmos_value *level)
{
    if (value.type == AIOCOSMOS_JSON_ARR || (value.type == AIOCOSMOS_JSON_OBJ && aiocosmos_json_count(value)))
        return false;
    *level = value.type == AIOCOSMOS_JSON_OBJ ? aiocosmos_none() : aiocosmos_json_text(value.ptr, value.len);
    return true;
}

/* One JSON value, or an array of the levels. What *pk points to is a part of value's text. */
static bool key_of(aiocosmos_json value, aiocosmos_pk *pk)
{
    aiocosmos_json level = {0};
    size_t count = 0;
    if (value.type != AIOCOSMOS_JSON_ARR) return level_of(value, &pk->level[0]);
    while (aiocosmos_json_next(value, NULL, &level))
        if (count == KEY_LEVELS || !level_of(level, &pk->level[count++])) return false;
    return count > 0;
}

bool pk_of_option(tool *t, aiocosmos_pk *pk)
{
    const char *text = t->option[OPT_PK];
    aiocosmos_json_doc *doc;
    bool ok;
    if (!text) return true;
    if (aiocosmos_json_parse(t->client, text, strlen(text), &doc, NULL) < 0) {
        say(t, "--pk %s: this is not JSON. Text stands in double quotes: --pk '\"eu\"'", text);
        return false;
    }
    ok = key_of(aiocosmos_json_root(doc), pk);
    aiocosmos_json_free(doc);
    if (!ok)
        say(t, "--pk %s: a key is a text, a number, true, false, null or {}, or an array of one to three of them",
            text);
    return ok;
}

/* The service writes them without escapes, and who else does is looked at more slowly. */
bool is_system(aiocosmos_json name)
{
    static const struct { const char *name; size_t len; } names[] = {
        { "\"_rid\"", 6 }, { "\"_self\"", 7 }, { "\"_etag\"", 7 }, { "\"_attachments\"", 14 }, { "\"_ts\"", 5 },
        { "\"_lsn\"", 6 }
    };
    char plain[16] = "\"";
    size_t i;
    if (name.len < 5 || (name.ptr[1] != '_' && name.ptr[1] != '\\')) return false;        /* as most are not */
    if (memchr(name.ptr, '\\', name.len)) {
        name.len = 2 + aiocosmos_json_get_str(name, plain + 1, sizeof plain - 2);
        if (name.len > sizeof plain - 1) return false;
        plain[name.len - 1] = '"';
        name.ptr = plain;
    }
    for (i = 0; i < sizeof names / sizeof *names; i++)
        if (name.len == names[i].len && memcmp(name.ptr, names[i].name, name.len) == 0) return true;
    return false;
}

bool is_set(const aiocosmos_pk *pk)
{
    return pk->level[0].type != AIOCOSMOS_VALUE_UNSET;
}

/* The key of a document. Unset: there is none, and the client's last error says why. */
aiocosmos_pk pk_of_document(tool *t, aiocosmos_str text)
{
    if (!*t->link) snprintf(t->link, sizeof t->link, "dbs/%s/colls/%s", t->operand[0], t->operand[1]);
    return aiocosmos_pk_of(t->client, t->link, text);
}

int say_unknown_key(tool *t)
{
    say(t, "this version does not understand the container's partition key: see 'aiocosmos container show %s %s'",
        t->operand[0], t->operand[1]);
    return EXIT_REFUSED;
}

/* Makes known to the client by what the container places its items. */
int read_definition(tool *t)
{
    static const aiocosmos_str empty = { "{}", 2 };
    aiocosmos_request request = {0};
    aiocosmos_pk pk;
    int status;
    request.kind = AIOCOSMOS_READ_CONTAINER;
    request.database = t->operand[0];
    request.container = t->operand[1];
    t->reading_definition = true;
    status = perform(t, &request, NULL, NULL);
    t->reading_definition = false;
    pk = pk_of_document(t, empty);
    return status != EXIT_DONE || is_set(&pk) ? status : say_unknown_key(t);
}
