/* tool.c: options, and what people read. */
#include "tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*------------------------------------------------------------------------------
 * MARK: - Options
 *----------------------------------------------------------------------------*/

const option_info options[OPT_COUNT] = {
    { "--connection-string", "S", "the account, as the portal shows it:\nAccountEndpoint=https://...;AccountKey=...;" },
    { "--endpoint", "URL", "the account's address, such as\nhttps://NAME.documents.azure.com:443/" },
    { "--key", "KEY", "the account's key; others on this machine can read a\n"
                      "command's arguments, so better use AIOCOSMOS_KEY" },
    { "--key-file", "FILE", "a file that has the account's key, and nothing else" },
    { "--token", "T",
        "an Entra access token, or a resource token, not a key;\n"
        "others can read it too, so better use AIOCOSMOS_TOKEN" },
    { "--profile", "NAME", "the account of 'aiocosmos profile add NAME'" },
    { "--ca", "FILE", "trust the certificates in this PEM file instead of the\nsystem's" },
    { "--insecure", NULL, "do not check certificates, and allow plain http to\nother machines: for emulators only" },
    { "--timeout", "SECONDS", "for one request with its retries (30), or for one\ndocument of an import (120)" },
    { "--partition-key", "PATHS", "the property whose value places an item, such as\n"
                                  "/city, or up to three: /tenant,/user,/session" },
    { "--throughput", "N", "this many request units a second, from 400" },
    { "--autoscale", "N", "as many as needed up to this maximum, from 1000" },
    { "--ttl", "SECONDS",
        "items vanish so long after they were last written;\n-1: those with a \"ttl\" of their own do" },
    { "--if-not-exists", NULL, "it is fine if there is one of this name already" },
    { "--pk", "JSON", "the partition key: a JSON value such as '\"eu\"' or 42,\n"
                      "an array of the levels such as '[\"eu\",42]', or {} for\nitems that lack the property" },
    { "--ops", "JSON", "what to change: an array of operations, or\n"
                       "{\"condition\":\"FROM c WHERE ...\",\"operations\":[...]}" },
    { "--param", "@NAME=JSON", "the value of a parameter; may be given again" },
    { "--page-size", "N", "at most this many rows a page" },
    { "--max-pages", "N", "stop after so many pages, and tell how to go on" },
    { "--continuation", "T", "go on behind the page that this token came with" },
    { "--explain", NULL, "print how the query was answered, not its rows" },
    { "--from", "WHEN", "beginning, now, or a time: 2026-11-21T08:30:00Z" },
    { "--follow", NULL, "wait for more, until Ctrl-C" },
    { "--state", "FILE", "go on from what this file says, and keep in it how far\nthis comes" },
    { "--all-versions", NULL, "every change by itself, and deletions too" },
    { "--session-token", "T", "see at least the writes that this token stands for" },
    { "--upsert", NULL, "replace items that are there already" },
    { "--concurrency", "N", "this many requests in flight, 1 to 1000 (100); or\nranges of an export, 1 to 100 (8)" },
    { "--rejects", "FILE", "write what was not stored to this file, not to\nstderr; it has to be new or empty" },
    { "--append-rejects", NULL, "add to the rejects of an earlier run" },
    { "--from-line", "N", "pass over the lines before it, taken by an earlier run" },
    { "--give-up", "SECONDS", "stop when the server has not answered for so long (30)" },
    { "--yes", NULL, "do not ask whether this is meant" },
    { "--where", "SQL", "only items c of this condition: 'c.level > 9'" },
    { "--if-match", "ETAG", "only if \"_etag\" still is this, with its quotes" },
    { "--query", "SQL", "the rows of this query, not all items" },
    { "--to-connection-string", "S", "the account to copy to, if it is another; better in\n"
                                     "AIOCOSMOS_TO_CONNECTION_STRING" },
    { "--to-endpoint", "URL", "the same, with" },
    { "--to-key", "KEY", "its key; better in AIOCOSMOS_TO_KEY" },
    { "--from-element", "N", "the same of elements of a JSON array" },
    { "--csv", NULL, "comma-separated values, with a header line" },
    { "--table", NULL, "a table for people, not JSON" },
    { "--sample", "N", "look at so many items (1000)" },
    { "--single", NULL, "a request for each document, not for up to 100" },
    { "--ru", "N", "spend at most so many request units a second" },
    { "--priority", "low|high", "low: throttled before all that is high (the default)" },
    { "--processor", "NAME", "share the changes with all that give the same name" },
    { "--leases", "CONTAINER", "where they keep who has what; its partition key is\n/processor" },
    { "--worker", "NAME", "of this one, as no other's (the host and a number)" },
    { "--delete", NULL, "delete the items of these documents instead" },
    { "--with", "JSON", "more of its definition, as 'container show' prints it" },
    { "--on", "LINK",
        "what it is for: a container of this database, or a\nlink such as dbs/game/colls/players/docs/ann" },
    { "--mode", "read|all", "what may be done with it" },
    { "--expiry", "SECONDS", "how long the token is good (as the service says)" },
    { "--type", "pre|post", "whether it runs before the write (the default) or\nbehind it" },
    { "--operation", "all|create|replace|update|upsert|delete", "the writes that it is for (all)" },
    { "--background", NULL, "let the service do it, in its own time" }
};

bool has(const tool *t, option_id option)
{
    return t->option[option] != NULL;
}

/*------------------------------------------------------------------------------
 * MARK: - What people read
 *----------------------------------------------------------------------------*/

void wipe_progress(tool *t)
{
    if (t->progress_shown) fputs("\r\033[K", stderr);
    t->progress_shown = false;
}

void say(tool *t, const char *format, ...)
{
    va_list arguments;
    wipe_progress(t);
    fputs("aiocosmos: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

/* Fields of the library's structs, and what gives them here. */
static const struct { const char *field, *here; } words_here[] = {
    { "trust_pem", "--ca" }, { "allow_http", "--insecure" }, { "insecure", "--insecure" },
    { "connection_string", "--connection-string" }, { "connections_max", "--concurrency" }, { "token_fn", "--token" },
    { "throughput_ru", "--throughput" }, { "autoscale_max_ru", "--autoscale" }, { "default_ttl_s", "--ttl" },
    { "partition_key_paths", "--partition-key" }, { "if_match", "--if-match" }, { "session_token", "--session-token" },
    { "page_items_max", "--page-size" }, { "from_time_s", "--from" }, { "all_versions", "--all-versions" },
    { "request_timeout_ms", "--timeout" }, { "throttle_wait_ms", "--timeout" }, { "memory_max", "memory limit" },
    { "aiocosmos_changes_from", "--from" },
    /* Where the text is about one of these, it begins with it. */
    { "pk:", "--pk:" }, { "continuation:", "--continuation:" }, { "params:", "--param:" }, { "sql:", "SQL:" },
    { "database:", "DB:" }, { "container:", "CONTAINER:" }, { "id:", "ID:" }
};

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '"';
}

/* The entry that text begins with, as a whole word; NULL: none. */
static const char *word_here(const char *text, size_t len, bool first, size_t *used)
{
    size_t i;
    for (i = 0; i < sizeof words_here / sizeof *words_here; i++) {
        const char *field = words_here[i].field;
        *used = strlen(field);
        if (*used > len || memcmp(text, field, *used) != 0) continue;
        if (field[*used - 1] == ':' ? first : *used == len || !is_word(text[*used])) return words_here[i].here;
    }
    return NULL;
}

void say_text(const char *text, size_t len)
{
    size_t at = 0, used;
    while (at < len) {
        bool begins = at == 0 || !is_word(text[at - 1]);
        const char *here = begins ? word_here(text + at, len - at, at == 0, &used) : NULL;
        if (here) fputs(here, stderr);
        else fputc(text[at], stderr);
        at += here ? used : 1;
    }
}

static bool holds(aiocosmos_str text, const char *part)
{
    size_t len = strlen(part), i;
    for (i = 0; i + len <= text.len; i++)
        if (memcmp(text.ptr + i, part, len) == 0) return true;
    return false;
}

/* Begins a line of a command, of which a text of the library is the rest. A token of --state is told by its file. */
static void say_of_command(tool *t, const char *text, size_t len)
{
    static const char of_token[] = "continuation:";
    const aiocosmos_str all = { text, len };
    bool of_state = has(t, OPT_STATE) && len >= sizeof of_token - 1 && memcmp(text, of_token, sizeof of_token - 1) == 0;
    size_t said = of_state ? sizeof of_token - 1 : 0;
    wipe_progress(t);
    fprintf(stderr, "aiocosmos: %s: ", t->command->name);
    if (of_state) fprintf(stderr, "--state %s:", t->option[OPT_STATE]);
    say_text(text + said, len - said);
    fputc('\n', stderr);
    if (of_state && holds(all, "deleted container")) fputs("Remove the file, and the command begins anew.\n", stderr);
}

/* Wrong usage: what is wrong has been said; this is where to read on. */
int see_help(tool *t)
{
    fputs("Try 'aiocosmos ", stderr);
    if (t->command) fprintf(stderr, "%s ", t->command->name);
    fputs("--help'.\n", stderr);
    return EXIT_USAGE;
}

double seconds_since(struct timespec then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then.tv_sec) + (double)(now.tv_nsec - then.tv_nsec) / 1e9;
}

/*--- What is missing, when the service says 404 -----------------------------*/

typedef enum missing {
    MISSING_UNCLEAR, MISSING_DATABASE, MISSING_CONTAINER, MISSING_EITHER, MISSING_ITEM, MISSING_RESOURCE, MISSING_USER,
    MISSING_TARGET, MISSING_THROUGHPUT
} missing;

bool is_of(const command *c, const char *group)
{
    size_t len = strlen(group);
    return strncmp(c->name, group, len) == 0 && (c->name[len] == ' ' || c->name[len] == 0);
}

const resource_info *resource_of(const command *c)
{
    static const resource_info all[] = {
        { "sproc", "stored procedure", AIOCOSMOS_FEED_PROCEDURES }, { "trigger", "trigger", AIOCOSMOS_FEED_TRIGGERS },
        { "udf", "function", AIOCOSMOS_FEED_FUNCTIONS }, { "user", "user", AIOCOSMOS_FEED_USERS },
        { "permission", "permission", AIOCOSMOS_FEED_PERMISSIONS }
    };
    size_t i;
    for (i = 0; i < sizeof all / sizeof *all; i++)
        if (is_of(c, all[i].group)) return &all[i];
    return NULL;
}

/* The service says little more than that it is the thing itself (404/0) or the one that should hold it (404/1003). */
static missing what_is_missing(const tool *t, const aiocosmos_result *result)
{
    const resource_info *resource = resource_of(t->command);
    bool owner = result->sub_status == 1003;
    if (result->status != 404 || (result->sub_status && !owner) || t->operands == 0 || t->item_failed)
        return MISSING_UNCLEAR;
    if (is_of(t->command, "throughput") && result->http_status != 404) return MISSING_THROUGHPUT;
    if (t->operands == 1) return MISSING_DATABASE;
    if (t->reading_definition || is_of(t->command, "container")) return owner ? MISSING_DATABASE : MISSING_CONTAINER;
    if (resource && !owner && t->command->kind && t->command->kind != AIOCOSMOS_CREATE_RESOURCE)
        return MISSING_RESOURCE;
    if (resource && resource->feed == AIOCOSMOS_FEED_USERS) return MISSING_DATABASE;
    if (resource && resource->feed == AIOCOSMOS_FEED_PERMISSIONS)
        return has(t, OPT_ON) && !owner ? MISSING_TARGET : MISSING_USER;
    if (owner) return MISSING_EITHER;
    return is_of(t->command, "item") ? MISSING_ITEM : MISSING_CONTAINER;
}

static void say_missing(tool *t, missing what, const aiocosmos_result *result)
{
    const char *database = t->operand[0], *container = t->operand[1];
    char code[32], text[2048];
    if (result->sub_status) snprintf(code, sizeof code, "404/%d Not Found", result->sub_status);
    else snprintf(code, sizeof code, "404 Not Found");
    switch (what) {
    case MISSING_DATABASE: snprintf(text, sizeof text, "there is no database '%s'", database); break;
    case MISSING_CONTAINER:
        snprintf(text, sizeof text, "there is no container '%s' in the database '%s'", container, database);
        break;
    case MISSING_EITHER:
        snprintf(text, sizeof text, "there is no container '%s' in the database '%s', or not even that database",
                 container, database);
        break;
    case MISSING_RESOURCE:
        snprintf(text, sizeof text, "there is no %s '%s'", resource_of(t->command)->noun,
                 t->operand[t->operands > 2 ? 2 : 1]);
        break;
    case MISSING_USER:
        snprintf(text, sizeof text, "there is no user '%s' in the database '%s', or not even that database", container,
                 database);
        break;
    case MISSING_THROUGHPUT:
        snprintf(text, sizeof text, "the %s '%s' has no throughput of its own: %s, or the account is serverless",
                 t->operands > 1 ? "container" : "database", t->operand[t->operands > 1],
                 t->operands > 1 ? "it shares its database's" : "its containers have theirs");
        break;
    case MISSING_TARGET:
        snprintf(text, sizeof text, "there is no '%s' in the database '%s', which --on names", t->option[OPT_ON],
                 database);
        break;
    default:
        if (!has(t, OPT_PK))
            snprintf(text, sizeof text, "the container '%s' has no item of this id and partition key", container);
        else
            snprintf(text, sizeof text, "the container '%s' has no item '%s' of the partition key %s", container,
                     t->operand[2], t->option[OPT_PK]);
    }
    say(t, "%s: %s: %s", t->command->name, code, text);
}

static void advise_on_missing(const tool *t, missing what)
{
    const char *database = t->operand[0];
    bool is_deletion = strstr(t->command->name, "delete") != NULL;
    if (what == MISSING_DATABASE && is_deletion) fputs("See 'aiocosmos db list'.\n", stderr);
    else if (what == MISSING_DATABASE)
        fprintf(stderr, "Make it with 'aiocosmos db create %s', or see 'aiocosmos db list'.\n", database);
    else if (what == MISSING_CONTAINER && is_deletion)
        fprintf(stderr, "See 'aiocosmos container list %s'.\n", database);
    else if (what == MISSING_CONTAINER || what == MISSING_EITHER)
        fprintf(stderr, "Make it with 'aiocosmos container create %s %s --partition-key PATH', or see\n"
                "'aiocosmos container list %s'%s.\n", database, t->operand[1], database,
                what == MISSING_EITHER ? " and 'aiocosmos db list'" : "");
}

/*--- Failures ---------------------------------------------------------------*/

static bool is_variable(const char *name)
{
    return name && strncmp(name, "AIOCOSMOS_", 10) == 0;
}

/* What somebody else has set, or oneself long ago, is not on the command line to be seen. */
static void say_settings(const tool *t)
{
    const char *endpoint = is_variable(t->endpoint_from) ? t->endpoint_from : NULL;
    const char *key = is_variable(t->key_from) ? t->key_from : NULL;
    if (endpoint && key && strcmp(endpoint, key) == 0)
        fprintf(stderr, "Endpoint and key are those of the environment variable %s.\n", key);
    else if (endpoint && key)
        fprintf(stderr, "Endpoint and key are those of the environment variables %s and %s.\n", endpoint, key);
    else if (endpoint || key)
        fprintf(stderr, "The %s is that of the environment variable %s.\n", endpoint ? "endpoint" : "key",
                endpoint ? endpoint : key);
}

static bool is_about_account(int status)
{
    return status == AIOCOSMOS_E_DNS || status == AIOCOSMOS_E_CONNECT || status == AIOCOSMOS_E_TLS ||
           status == AIOCOSMOS_E_TIMEOUT || status == 401 || status == 403;
}

/* What to do next, where the user of a tool knows less, or can do more, than the programmer whom the library's message
 * is for. */
static const char *advice(const tool *t, const aiocosmos_result *result)
{
    int status = result->status;
    if (t->local_by_default && (status == AIOCOSMOS_E_CONNECT || status == AIOCOSMOS_E_DNS))
        return "No account was named, so this was the local emulator, http://localhost:8081. Start one with\n"
               "'aiocosmos-emulator', or name an account: export AIOCOSMOS_CONNECTION_STRING='AccountEndpoint=...'.";
    if (holds(result->message, "this port has no TLS") || holds(result->message, "does this port speak TLS?"))
        return "An endpoint without TLS, such as an emulator's, begins with http:// instead of https://.";
    if (status == 401 && !t->key_from) return "No key was given: this was the well-known one of the emulators.";
    if (status == 400 && result->sub_status == 1004) return "--pk JSON gives the partition key.";
    if (status == 409 && t->command->kind == AIOCOSMOS_CREATE_ITEM)
        return "'aiocosmos item upsert' replaces what is there.";
    switch (status) {
    case AIOCOSMOS_E_DNS: case AIOCOSMOS_E_CONNECT:
        return "Check the endpoint, and that this machine can reach it.";
    case AIOCOSMOS_E_TLS:
        return "If the server's certificate is right, give the one that it was signed with by --ca FILE; for an\n"
               "emulator, --insecure will do.";
    case AIOCOSMOS_E_TIMEOUT:
        return "--timeout SECONDS allows more time.";
    default: return NULL;
    }
}

void say_failure(tool *t, const aiocosmos_result *result)
{
    const char *what_to_do = advice(t, result);
    missing what = what_is_missing(t, result);
    if (what != MISSING_UNCLEAR) say_missing(t, what, result);
    else say_of_command(t, result->message.ptr, result->message.len);
    if (result->fate == AIOCOSMOS_FATE_MAYBE_APPLIED)
        fputs("Look whether it was applied before you repeat it.\n", stderr);
    if (result->activity_id.len)
        fprintf(stderr, "Activity id, for the service's support: %.*s\n", (int)result->activity_id.len,
                result->activity_id.ptr);
    if (what != MISSING_UNCLEAR) advise_on_missing(t, what);
    if (what_to_do) fprintf(stderr, "%s\n", what_to_do);
    if (is_about_account(result->status)) say_settings(t);
}

/* The library would not take a call, and sent nothing. */
int say_refusal(tool *t, int status)
{
    const char *why = aiocosmos_last_error(t->client);
    say_of_command(t, why, strlen(why));
    return status == AIOCOSMOS_E_ARGUMENT ? see_help(t) : EXIT_REFUSED;
}

/* Who answers is somebody at a terminal; scripts have been written by somebody who meant it. */
bool asks(const tool *t)
{
    return !has(t, OPT_YES) && isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

bool confirm(tool *t, const char *what, const char *name)
{
    char typed[1024];
    say(t, "%s %s, of the account at %s", what, name, t->host);
    if (!asks(t)) return true;
    fprintf(stderr, "There is no way back. Type %s to go on: ", name);
    if (!fgets(typed, sizeof typed, stdin)) fputc('\n', stderr);
    else if (typed[strcspn(typed, "\n")] = 0, strcmp(typed, name) == 0) return true;
    say(t, "nothing was deleted");
    return false;
}

/* The last line of a command: what it cost. */
void say_cost(tool *t, const char *what)
{
    aiocosmos_stats stats;
    aiocosmos_str session = { NULL, 0 };
    aiocosmos_get_stats(t->client, &stats);
    if (stats.bytes_received == 0) return;     /* nobody was reached */
    if (t->operands > 1) session = aiocosmos_session_get(t->client, t->operand[0], t->operand[1]);
    wipe_progress(t);
    fprintf(stderr, "%s%.2f RU, %.0f ms", what, stats.charge_ru, seconds_since(t->started) * 1000);
    if (session.len) fprintf(stderr, ", session token %.*s", (int)session.len, session.ptr);
    fputc('\n', stderr);
}

/* A whole number between two others, or an end with wrong usage. */
bool number_of(tool *t, option_id option, long min, long max, long *out)
{
    const char *text = t->option[option];
    char *end;
    if (!text) return true;
    errno = 0;
    *out = strtol(text, &end, 10);
    if (errno == 0 && end != text && *end == 0 && *out >= min && *out <= max) return true;
    say(t, "%s %s: a whole number from %ld to %ld is expected", options[option].name, text, min, max);
    return false;
}
