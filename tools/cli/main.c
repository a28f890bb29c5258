/* main.c: the command-line tool: databases, containers, items, queries, changes, import and export. It uses
 * the public half of aiocosmos.h only, and is the library's first customer.
 *
 * Data goes to stdout, one JSON document a line; whatever is for people goes to stderr. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_INCOMPLETE = 3 };

enum {
    OPERANDS_MAX = 4,
    KEY_LEVELS = 3,
    PATH_BYTES = 1024,                     /* a partition key path */
    LINK_BYTES = 4096,                     /* names of a database and a container have at most 255 characters */
    COLUMNS = 80,                          /* of the help */
    OPTION_COLUMN = 26,
    TICK_MS = 100,                         /* between two looks of the progress bar */
    READ_BYTES = 64 * 1024,
    DOCUMENT_BYTES_MAX = 2 << 20,          /* the service's limit */
    IN_FLIGHT_BYTES_MAX = 32 << 20,        /* of documents that an import holds until they are answered */
    CONCURRENCY_MAX = 1000,
    EXPORT_RANGES = 8,                     /* that an export reads at a time */
    EXPORT_RANGES_MAX = 100,
    EXPORT_BYTES_MAX = 64 << 20,           /* of answers that an export reads ahead */
    CHANGES_PAUSE_MS = 100,                /* after which changes are asked for again; doubled each time in vain */
    CHANGES_PAUSE_MAX_MS = 5000,
    EPK_BYTES = 512,                       /* an edge of a partition key range */
    FAILURES_WORTH_A_WORD = 100,           /* with nothing stored between them */
    IMPORT_TIMEOUT_MS = 120 * 1000,        /* a document may have to wait for many others that the service throttles */
    IMPORT_RETRIES = 100000,               /* until that time is over, or the import gives up */
    GIVE_UP_S = 30                         /* long enough for a server to be started again */
};

/*------------------------------------------------------------------------------
 * MARK: - Commands and options
 *----------------------------------------------------------------------------*/

typedef enum option_id {
    OPT_CONNECTION_STRING, OPT_ENDPOINT, OPT_KEY, OPT_CA, OPT_INSECURE, OPT_TIMEOUT,
    OPT_PARTITION_KEY, OPT_THROUGHPUT, OPT_AUTOSCALE, OPT_TTL, OPT_IF_NOT_EXISTS, OPT_PK, OPT_OPS, OPT_PARAM,
    OPT_PAGE_SIZE, OPT_PAGES, OPT_CONTINUATION, OPT_EXPLAIN, OPT_FROM, OPT_FOLLOW, OPT_STATE, OPT_ALL_VERSIONS,
    OPT_SESSION_TOKEN, OPT_UPSERT, OPT_CONCURRENCY, OPT_REJECTS, OPT_APPEND_REJECTS, OPT_FROM_LINE, OPT_GIVE_UP,
    OPT_COUNT
} option_id;

#define BIT(option) (1u << (option))
#define OPTIONS_OF_ALL (BIT(OPT_PARTITION_KEY) - 1u)
#define OPTIONS_OF_THROUGHPUT (BIT(OPT_THROUGHPUT) | BIT(OPT_AUTOSCALE))

typedef struct option_info {
    const char *name, *value;              /* value NULL: a switch */
    const char *text;
} option_info;

static const option_info options[OPT_COUNT] = {
    { "--connection-string", "S", "the account, as the portal shows it:\nAccountEndpoint=https://...;AccountKey=...;" },
    { "--endpoint", "URL", "the account's address, such as\nhttps://NAME.documents.azure.com:443/" },
    { "--key", "KEY", "the account's key; others on this machine can read a\n"
                      "command's arguments, so better use AIOCOSMOS_KEY" },
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
    { "--concurrency", "N", "this many documents in flight, 1 to 1000 (100); or\nranges of an export, 1 to 100 (8)" },
    { "--rejects", "FILE", "write what was not stored to this file, not to\nstderr; it has to be new or empty" },
    { "--append-rejects", NULL, "add to the rejects of an earlier run" },
    { "--from-line", "N", "pass over the lines before it, taken by an earlier run" },
    { "--give-up", "SECONDS", "stop when the server has not answered for so long (30)" }
};

typedef struct tool tool;

typedef struct command {
    const char *name;                      /* one word, or two */
    const char *operands;                  /* those in brackets may be left out */
    unsigned options, required;
    int kind;                              /* aiocosmos_kind, where several commands are done by one function */
    int (*run)(tool *t);                   /* returns the exit status */
    const char *summary;
    const char *text;                      /* paragraphs; lines that begin with four blanks are examples */
} command;

struct tool {
    const command *command;
    const char *word[2];                   /* of the command, as given */
    int words;
    const char *operand[OPERANDS_MAX];
    int operands;
    const char *option[OPT_COUNT];         /* its value, "" of a switch, NULL if not given */
    char **params;                         /* the values of --param */
    size_t param_count;
    bool help;
    bool local_by_default;                 /* no account was named anywhere */
    const char *endpoint_from, *key_from;  /* the options or variables that named them; NULL: none did */
    bool reading_definition;               /* of the container, before anything is done in it */
    aiocosmos_client *client;
    char *ca;
    struct timespec started;
    bool progress_shown;                   /* a line on the terminal, to be wiped before anything else is printed */
};

static bool has(const tool *t, option_id option)
{
    return t->option[option] != NULL;
}

/*------------------------------------------------------------------------------
 * MARK: - What people read
 *----------------------------------------------------------------------------*/

static void wipe_progress(tool *t)
{
    if (t->progress_shown) fputs("\r\033[K", stderr);
    t->progress_shown = false;
}

static void say(tool *t, const char *format, ...)
{
    va_list arguments;
    wipe_progress(t);
    fputs("aiocosmos: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

/* Wrong usage: what is wrong has been said; this is where to read on. */
static int see_help(tool *t)
{
    fputs("Try 'aiocosmos ", stderr);
    if (t->command) fprintf(stderr, "%s ", t->command->name);
    fputs("--help'.\n", stderr);
    return EXIT_USAGE;
}

static double seconds_since(struct timespec then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then.tv_sec) + (double)(now.tv_nsec - then.tv_nsec) / 1e9;
}

/*--- What is missing, when the service says 404 -----------------------------*/

typedef enum missing { MISSING_UNCLEAR, MISSING_DATABASE, MISSING_CONTAINER, MISSING_EITHER, MISSING_ITEM } missing;

static bool is_of(const command *c, const char *group)
{
    size_t len = strlen(group);
    return strncmp(c->name, group, len) == 0 && (c->name[len] == ' ' || c->name[len] == 0);
}

/* The service says little more than that it is the thing itself (404/0) or the one that should hold it (404/1003). */
static missing what_is_missing(const tool *t, const aiocosmos_result *result)
{
    bool owner = result->sub_status == 1003;
    if (result->status != 404 || (result->sub_status && !owner) || t->operands == 0) return MISSING_UNCLEAR;
    if (t->operands == 1) return MISSING_DATABASE;
    if (t->reading_definition || is_of(t->command, "container")) return owner ? MISSING_DATABASE : MISSING_CONTAINER;
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
    else if (what != MISSING_ITEM)
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

static bool holds(aiocosmos_str text, const char *part)
{
    size_t len = strlen(part), i;
    for (i = 0; i + len <= text.len; i++)
        if (memcmp(text.ptr + i, part, len) == 0) return true;
    return false;
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

static void say_failure(tool *t, const aiocosmos_result *result)
{
    const char *what_to_do = advice(t, result);
    missing what = what_is_missing(t, result);
    if (what != MISSING_UNCLEAR) say_missing(t, what, result);
    else say(t, "%s: %.*s", t->command->name, (int)result->message.len, result->message.ptr);
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
static int say_refusal(tool *t, int status)
{
    say(t, "%s: %s", t->command->name, aiocosmos_last_error(t->client));
    return status == AIOCOSMOS_E_ARGUMENT ? see_help(t) : EXIT_REFUSED;
}

/* The last line of a command: what it cost. */
static void say_cost(tool *t, const char *what)
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

/*------------------------------------------------------------------------------
 * MARK: - Data on stdout
 *----------------------------------------------------------------------------*/

/* One document and nothing else on a line: line ends between its tokens, the only place where JSON has them, become
 * blanks. All other bytes are the document's own. */
static void put_document(FILE *to, const char *text, size_t len)
{
    while (len > 0) {
        size_t part = 0;
        while (part < len && text[part] != '\n' && text[part] != '\r') part++;
        fwrite(text, 1, part, to);
        if (part < len) {
            fputc(' ', to);
            part++;
        }
        text += part;
        len -= part;
    }
}

static bool stdout_works(tool *t)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return true;
    say(t, "cannot write to stdout: %s", strerror(errno));
    return false;
}

/* The length of the UTF-8 sequence that text begins with (RFC 3629), or 0. */
static size_t utf8_length(const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t need = at[0] < 0x80 ? 1 : at[0] < 0xC2 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : at[0] < 0xF5 ? 4 : 0, i;
    if (need == 0 || need > len) return 0;
    for (i = 1; i < need; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F)) return 0;
    if ((at[0] == 0xF0 && at[1] < 0x90) || (at[0] == 0xF4 && at[1] > 0x8F)) return 0;
    return need;
}

/* Any bytes as a JSON string; those that are not UTF-8 become U+FFFD. */
static void put_string(FILE *to, const char *text, size_t len)
{
    fputc('"', to);
    while (len > 0) {
        size_t step = utf8_length(text, len);
        unsigned char c = (unsigned char)*text;
        if (step == 0) fputs("\\ufffd", to);
        else if (c < 0x20) fprintf(to, "\\u%04x", c);
        else if (c == '"' || c == '\\') fprintf(to, "\\%c", c);
        else fwrite(text, 1, step, to);
        text += step ? step : 1;
        len -= step ? step : 1;
    }
    fputc('"', to);
}

/* An argument as a shell takes it. */
static void put_argument(FILE *to, const char *text)
{
    static const char harmless[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/+-,:@%";
    if (*text && text[strspn(text, harmless)] == 0) {
        fputs(text, to);
        return;
    }
    fputc('\'', to);
    for (; *text; text++) {
        if (*text == '\'') fputs("'\\''", to);
        else fputc(*text, to);
    }
    fputc('\'', to);
}

/*------------------------------------------------------------------------------
 * MARK: - One request
 *----------------------------------------------------------------------------*/

typedef void (*use_fn)(tool *t, const aiocosmos_result *result, void *user_data);

typedef struct performance {
    tool *tool;
    use_fn use;
    void *user_data;
    bool answered;                         /* and so was not refused */
} performance;

static void request_done(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    performance *p = user_data;
    (void)client;
    p->answered = true;
    if (result->status != 0) say_failure(p->tool, result);
    else if (p->use) p->use(p->tool, result, p->user_data);
}

/* Sends a request and waits; what comes back goes to `use`, failures to stderr. Returns the exit status. */
static int perform(tool *t, const aiocosmos_request *request, use_fn use, void *user_data)
{
    performance p = { t, use, user_data, false };
    aiocosmos_request own = *request;
    int status;
    own.done = request_done;
    own.user_data = &p;
    status = aiocosmos_run(t->client, &own, NULL);
    if (status != 0) return p.answered ? EXIT_REFUSED : say_refusal(t, status);
    return EXIT_DONE;
}

static void print_answer(tool *t, const aiocosmos_result *result, void *user_data)
{
    (void)t;
    (void)user_data;
    put_document(stdout, result->body.ptr, result->body.len);
    putchar('\n');
}

static int perform_and_print(tool *t, const aiocosmos_request *request)
{
    int status = perform(t, request, print_answer, NULL);
    if (status == EXIT_DONE && !stdout_works(t)) status = EXIT_REFUSED;
    say_cost(t, "");
    return status;
}

/* A whole number between two others, or an end with wrong usage. */
static bool number_of(tool *t, option_id option, long min, long max, long *out)
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
    request->throughput_ru = (uint32_t)manual;
    request->autoscale_max_ru = (uint32_t)autoscale;
    return true;
}

typedef struct creation {
    aiocosmos_kind read_kind;              /* reads what is there already */
    bool existed;
} creation;

static void print_creation(tool *t, const aiocosmos_result *result, void *user_data)
{
    creation *c = user_data;
    c->existed = result->http_status == 409;
    if (!c->existed) print_answer(t, result, NULL);
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

/*------------------------------------------------------------------------------
 * MARK: - Databases and containers
 *----------------------------------------------------------------------------*/

static int print_list(tool *t, const aiocosmos_query_request *request);

static int db_list(tool *t)
{
    aiocosmos_query_request request = {0};
    request.feed = AIOCOSMOS_FEED_DATABASES;
    return print_list(t, &request);
}

static int db_create(tool *t)
{
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_CREATE_DATABASE;
    request.database = t->operand[0];
    if (!throughput_of(t, &request)) return see_help(t);
    return create(t, &request, AIOCOSMOS_READ_DATABASE);
}

static int container_list(tool *t)
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

static int container_create(tool *t)
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
    if (!number_of(t, OPT_TTL, -1, INT32_MAX, &ttl) || !throughput_of(t, &request)) return see_help(t);
    request.default_ttl_s = (int32_t)ttl;
    return create(t, &request, AIOCOSMOS_READ_CONTAINER);
}

/* What takes a database, or a database and a container, and nothing else. */
static int show_or_delete(tool *t)
{
    aiocosmos_request request = {0};
    int status;
    request.kind = (aiocosmos_kind)t->command->kind;
    request.database = t->operand[0];
    if (t->operands > 1) request.container = t->operand[1];
    if (request.kind == AIOCOSMOS_READ_CONTAINER) return perform_and_print(t, &request);
    status = perform(t, &request, NULL, NULL);
    say_cost(t, "");
    return status;
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

static bool pk_of_option(tool *t, aiocosmos_pk *pk)
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

static bool is_set(const aiocosmos_pk *pk)
{
    return pk->level[0].type != AIOCOSMOS_VALUE_UNSET;
}

/* The key of a document. Unset: there is none, and the client's last error says why. */
static aiocosmos_pk pk_of_document(tool *t, aiocosmos_str document)
{
    char link[LINK_BYTES];
    snprintf(link, sizeof link, "dbs/%s/colls/%s", t->operand[0], t->operand[1]);
    return aiocosmos_pk_of(t->client, link, document);
}

/* Makes known to the client by what the container places its items. */
static int read_definition(tool *t)
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
    if (status != EXIT_DONE || is_set(&pk)) return status;
    say(t, "this version does not understand the container's partition key: see 'aiocosmos container show %s %s'",
        t->operand[0], t->operand[1]);
    return EXIT_REFUSED;
}

/*------------------------------------------------------------------------------
 * MARK: - Items
 *----------------------------------------------------------------------------*/

static bool is_stdin(const char *path)
{
    return !path || strcmp(path, "-") == 0;
}

/* < 0: it cannot be read, and that has been said. */
static int open_input(tool *t, const char *path)
{
    struct stat about;
    int fd = is_stdin(path) ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) {
        close(fd);
        fd = -1;
        errno = EISDIR;
    }
    if (fd < 0) say(t, "cannot read %s: %s", path, strerror(errno));
    else if (isatty(fd)) say(t, "reading from the terminal; end with Ctrl-D");
    return fd;
}

/* Windows programs like to begin a text with a byte order mark; JSON has none (RFC 8259, 8.1). */
static aiocosmos_str without_mark(aiocosmos_str text)
{
    if (text.len >= 3 && memcmp(text.ptr, "\xEF\xBB\xBF", 3) == 0) {
        text.ptr += 3;
        text.len -= 3;
    }
    return text;
}

/* A whole input of at most cap bytes. False: it cannot be read, or is longer, and that has been said. */
static bool read_all(tool *t, const char *path, char *out, size_t cap, size_t *len)
{
    int fd = open_input(t, path);
    ssize_t got = 1;
    *len = 0;
    if (fd < 0) return false;
    while (*len < cap && got != 0) {
        got = read(fd, out + *len, cap - *len);
        if (got > 0) *len += (size_t)got;
        else if (got < 0 && errno != EINTR) break;
    }
    if (got < 0) say(t, "cannot read %s: %s", is_stdin(path) ? "stdin" : path, strerror(errno));
    else if (*len == cap) say(t, "%s holds over %zu bytes", is_stdin(path) ? "stdin" : path, cap - 1);
    if (fd != STDIN_FILENO) close(fd);
    return got >= 0 && *len < cap;
}

/* item create, upsert and replace, of a text in memory. */
static int write_item(tool *t, aiocosmos_str text)
{
    aiocosmos_request request = {0};
    aiocosmos_json_doc *doc;
    char id[1024];                         /* the service's limit is 1023 bytes */
    int status = aiocosmos_json_parse(t->client, text.ptr, text.len, &doc, NULL);
    if (status < 0) return say_refusal(t, status);
    status = read_definition(t);
    request.kind = (aiocosmos_kind)t->command->kind;
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.body = text;
    request.want_body = true;
    request.pk = pk_of_document(t, text);
    if (status == EXIT_DONE && !is_set(&request.pk)) status = say_refusal(t, AIOCOSMOS_E_ARGUMENT);
    if (request.kind == AIOCOSMOS_REPLACE_ITEM) {
        aiocosmos_json named = aiocosmos_json_at(aiocosmos_json_root(doc), "/id");
        request.id = aiocosmos_json_get_str(named, id, sizeof id) < sizeof id ? id : "";
    }
    aiocosmos_json_free(doc);
    return status == EXIT_DONE ? perform_and_print(t, &request) : status;
}

static int item_write(tool *t)
{
    char *text = malloc(DOCUMENT_BYTES_MAX + 1);
    aiocosmos_str document = { text, 0 };
    int status = EXIT_USAGE;
    if (!text) return say(t, "no memory"), EXIT_REFUSED;
    if (read_all(t, t->operand[2], text, DOCUMENT_BYTES_MAX + 1, &document.len))
        status = write_item(t, without_mark(document));
    free(text);
    return status;
}

/* item get, delete and patch. */
static int item_by_id(tool *t)
{
    aiocosmos_request request = {0};
    int status;
    request.kind = (aiocosmos_kind)t->command->kind;
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.id = t->operand[2];
    if (!pk_of_option(t, &request.pk)) return see_help(t);
    if (request.kind == AIOCOSMOS_PATCH_ITEM) {
        request.body.ptr = t->option[OPT_OPS];
        request.body.len = strlen(request.body.ptr);
        request.want_body = true;
    }
    if (request.kind != AIOCOSMOS_DELETE_ITEM) return perform_and_print(t, &request);
    status = perform(t, &request, NULL, NULL);
    say_cost(t, "");
    return status;
}

/*------------------------------------------------------------------------------
 * MARK: - Rows
 *----------------------------------------------------------------------------*/

/* Rows on their way to stdout, of one query or of several. */
typedef struct feed {
    tool *tool;
    uint64_t rows, pages;
    uint64_t pages_max;                    /* 0: all that there are */
    double charge_ru;
    double shown;                          /* when progress was, in seconds since the start */
    bool explains;                         /* how the query was answered; its rows are counted and not printed */
    bool more;
    char *continuation;                    /* behind the last page of pages_max; empty: there is no token */
    int status;                            /* to exit with */
} feed;

/* Where stdout is not the terminal too, which the rows keep busy enough. True: more may be said on this line. */
static bool show_rows(feed *f)
{
    double seconds = seconds_since(f->tool->started);
    if (!isatty(STDERR_FILENO) || isatty(STDOUT_FILENO)) return false;
    if (f->shown > 0 && seconds - f->shown < TICK_MS / 1000.0) return false;
    f->shown = seconds;
    fprintf(stderr, "\r\033[K%" PRIu64 " documents, %.0f RU, %.0f a second", f->rows, f->charge_ru,
            (double)f->rows / seconds);
    f->tool->progress_shown = true;
    return true;
}

static void put_rows(feed *f, const aiocosmos_page *page)
{
    aiocosmos_json row = {0};
    f->charge_ru += page->result->charge_ru;
    if (page->result->status != 0) {
        say_failure(f->tool, page->result);
        f->status = EXIT_REFUSED;
        return;
    }
    f->pages++;
    f->rows += page->item_count;
    if (f->explains) return;
    while (aiocosmos_json_next(page->items, NULL, &row)) {
        put_document(stdout, row.ptr, row.len);
        putchar('\n');
    }
    if (!stdout_works(f->tool)) f->status = EXIT_REFUSED;
}

static char *text_of(aiocosmos_str from)
{
    char *text = malloc(from.len + 1);
    if (!text) return NULL;
    if (from.len) memcpy(text, from.ptr, from.len);
    text[from.len] = 0;
    return text;
}

static void print_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    feed *f = user_data;
    (void)client;
    put_rows(f, page);
    f->more = page->more;
    if (f->more && f->pages == f->pages_max) {
        f->continuation = text_of(page->continuation);
        f->more = false;
    }
    show_rows(f);
}

static void say_rows(const feed *f)
{
    char what[64];
    snprintf(what, sizeof what, "%" PRIu64 " document%s in %" PRIu64 " page%s, ", f->rows, f->rows == 1 ? "" : "s",
             f->pages, f->pages == 1 ? "" : "s");
    say_cost(f->tool, f->pages ? what : "");
}

static void say_how_to_go_on(const feed *f)
{
    if (!f->continuation) return;
    if (!*f->continuation) {
        say(f->tool, "there is more, but no token to go on with: what this query holds would be too long for one");
        return;
    }
    say(f->tool, "there is more. To go on, repeat the command with:");
    fputs("  --continuation ", stderr);
    put_argument(stderr, f->continuation);
    fputc('\n', stderr);
}

static void explain(tool *t, aiocosmos_cursor query);

static int print_feed(feed *f, const aiocosmos_query_request *request)
{
    aiocosmos_client *client = f->tool->client;
    aiocosmos_cursor query;
    int refused = aiocosmos_query_open(client, request, &query);
    f->more = true;
    while (refused == 0 && f->more && f->status == EXIT_DONE) {
        refused = aiocosmos_cursor_next(client, query, print_page, f);
        if (refused == 0) aiocosmos_drain(client, -1);
    }
    if (refused != 0) f->status = say_refusal(f->tool, refused);
    if (f->explains && f->status == EXIT_DONE) explain(f->tool, query);
    aiocosmos_cursor_close(client, query);
    say_how_to_go_on(f);
    say_rows(f);
    free(f->continuation);
    return f->status;
}

static int print_list(tool *t, const aiocosmos_query_request *request)
{
    feed f = {0};
    f.tool = t;
    return print_feed(&f, request);
}

/*------------------------------------------------------------------------------
 * MARK: - Query
 *----------------------------------------------------------------------------*/

/*--- How a query was answered -------------------------------------------------*/

/* A text of the service on one line; any other value as it is, and nothing of one that is not there. */
static void put_plain(aiocosmos_json value)
{
    char *text = value.type == AIOCOSMOS_JSON_STR ? malloc(value.len + 1) : NULL;
    size_t i;
    if (value.type == AIOCOSMOS_JSON_NONE) return;
    if (!text) {
        fwrite(value.ptr, 1, value.len, stdout);
        return;
    }
    aiocosmos_json_get_str(value, text, value.len + 1);
    for (i = 0; text[i]; i++) putchar((unsigned char)text[i] < 0x20 || text[i] == 0x7F ? ' ' : text[i]);
    free(text);
}

static bool means(aiocosmos_json value, const char *text)
{
    return aiocosmos_json_is_str(value, text);
}

static void put_label(const char *label)
{
    printf("  %-14s", label);
}

/* The elements of an array, behind each the word DESC if another array says so. False: there are none. */
static bool put_elements(const char *label, aiocosmos_json list, aiocosmos_json directions)
{
    aiocosmos_json element = {0}, direction = {0};
    bool first = true;
    while (aiocosmos_json_next(list, NULL, &element)) {
        if (first) put_label(label);
        else fputs(", ", stdout);
        first = false;
        put_plain(element);
        if (aiocosmos_json_next(directions, NULL, &direction) && means(direction, "Descending")) fputs(" DESC", stdout);
    }
    if (!first) putchar('\n');
    return !first;
}

/* "players Count, level Average"; the columns that are no aggregates are left out. */
static bool put_aggregates(aiocosmos_json columns)
{
    aiocosmos_json column = {0}, name;
    bool first = true;
    while (aiocosmos_json_next(columns, &name, &column)) {
        if (column.type != AIOCOSMOS_JSON_STR) continue;
        if (first) put_label("aggregates");
        else fputs(", ", stdout);
        first = false;
        put_plain(name);
        putchar(' ');
        put_plain(column);
    }
    if (!first) putchar('\n');
    return !first;
}

static bool put_field(const char *label, aiocosmos_json value)
{
    if (value.type == AIOCOSMOS_JSON_NONE || value.type == AIOCOSMOS_JSON_NULL || means(value, "") ||
        means(value, "None")) return false;
    put_label(label);
    put_plain(value);
    putchar('\n');
    return true;
}

/* What is to be done with the rows of one query, and the query that each range is asked. */
static void explain_query(aiocosmos_json info)
{
    const aiocosmos_json none = {0};
    bool merges = put_elements("order by", aiocosmos_json_at(info, "/orderByExpressions"),
                               aiocosmos_json_at(info, "/orderBy"));
    merges |= put_elements("group by", aiocosmos_json_at(info, "/groupByExpressions"), none);
    merges |= put_elements("aggregates", aiocosmos_json_at(info, "/aggregates"), none);
    merges |= put_aggregates(aiocosmos_json_at(info, "/groupByAliasToAggregateType"));
    merges |= put_field("distinct", aiocosmos_json_at(info, "/distinctType"));
    merges |= put_field("count distinct", aiocosmos_json_at(info, "/dCountInfo/dCountAlias"));
    merges |= put_field("top", aiocosmos_json_at(info, "/top"));
    merges |= put_field("offset", aiocosmos_json_at(info, "/offset"));
    merges |= put_field("limit", aiocosmos_json_at(info, "/limit"));
    if (!merges) puts("  one range after the other, each as it is");
    if (!put_field("each is asked", aiocosmos_json_at(info, "/rewrittenQuery"))) puts("  each is asked the query itself");
}

static void explain_keys(aiocosmos_json ranges)
{
    aiocosmos_json range = {0};
    size_t count = aiocosmos_json_count(ranges), shown = 0;
    put_label("keys");
    while (shown < 4 && aiocosmos_json_next(ranges, NULL, &range)) {
        aiocosmos_json min = aiocosmos_json_at(range, "/min"), max = aiocosmos_json_at(range, "/max");
        if (shown++) fputs(", ", stdout);
        if (means(min, "") && means(max, "FF")) {
            fputs("all", stdout);
        } else {
            put_plain(min);
            if (min.len == max.len && memcmp(min.ptr, max.ptr, min.len) == 0) continue;
            fputs(" to ", stdout);
            put_plain(max);
        }
    }
    if (count > shown) printf(", and %zu more", count - shown);
    putchar('\n');
}

static void explain_plan(tool *t, aiocosmos_str text)
{
    aiocosmos_json_doc *doc;
    aiocosmos_json plan, hybrid, component = {0};
    if (text.len == 0 || aiocosmos_json_parse(t->client, text.ptr, text.len, &doc, NULL) < 0) {
        puts("There is no plan: it is of one partition key, or the server makes none, and answers by itself.");
        return;
    }
    plan = aiocosmos_json_root(doc);
    hybrid = aiocosmos_json_at(plan, "/hybridSearchQueryInfo");
    puts("The service's plan:");
    explain_keys(aiocosmos_json_at(plan, "/queryRanges"));
    if (hybrid.type == AIOCOSMOS_JSON_OBJ) {
        put_field("statistics", aiocosmos_json_at(hybrid, "/globalStatisticsQuery"));
        while (aiocosmos_json_next(aiocosmos_json_at(hybrid, "/componentQueryInfos"), NULL, &component)) {
            puts("  One of the rankings that are fused:");
            explain_query(component);
        }
    } else {
        explain_query(aiocosmos_json_at(plan, "/queryInfo"));
    }
    aiocosmos_json_free(doc);
}

/* An edge of the key space, cut to fit its column. */
static void put_edge(aiocosmos_str edge, const char *if_outermost)
{
    bool outermost = edge.len == 0 || (edge.len == 2 && memcmp(edge.ptr, "FF", 2) == 0);
    if (outermost) printf("  %-16s", if_outermost);
    else printf("  %-*.*s%s", edge.len > 16 ? 14 : 16, edge.len > 16 ? 14 : 16, edge.ptr, edge.len > 16 ? ".." : "");
}

static void explain_ranges(tool *t, aiocosmos_cursor query, const aiocosmos_cursor_stats *stats)
{
    aiocosmos_range_stats range;
    double of_ranges = 0;
    uint32_t i;
    if (stats->range_count)
        printf("\n%-6s  %-16s  %-16s  %8s %10s %11s\n", "Range", "from", "up to", "requests", "rows", "RU");
    for (i = 0; aiocosmos_cursor_get_range(t->client, query, i, &range); i++) {
        printf("%-6.*s", (int)range.id.len, range.id.ptr);
        put_edge(range.min, "the first key");
        put_edge(range.max, "the last key");
        printf("  %8" PRIu64 " %10" PRIu64 " %11.2f\n", range.requests, range.items, range.charge_ru);
        of_ranges += range.charge_ru;
    }
    if (stats->range_count && stats->charge_ru - of_ranges > 0.005)
        printf("%-63s %11.2f\n", "the plan, and what had to be asked again", stats->charge_ru - of_ranges);
    if (!stats->range_count)
        printf("\nRequests: %" PRIu64 ", rows: %" PRIu64 ", RU: %.2f\n", stats->requests, stats->items,
               stats->charge_ru);
}

/* "name=value;name=value". What is 0 says nothing. */
static void explain_metrics(aiocosmos_str metrics)
{
    const char *at = metrics.ptr, *end = metrics.ptr + metrics.len;
    bool first = true;
    while (at < end) {
        const char *semicolon = memchr(at, ';', (size_t)(end - at)), *stop = semicolon ? semicolon : end;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        bool is_zero = equals && stop - equals == 2 && equals[1] == '0';
        if (equals && !is_zero) {
            if (first) puts("\nMeasured by the service, over all ranges:");
            first = false;
            printf("  %-40.*s %.*s\n", (int)(equals - at), at, (int)(stop - equals - 1), equals + 1);
        }
        at = stop + 1;
    }
}

/* Single indexes have one specification, composite ones several. */
static bool put_indexes(const char *label, aiocosmos_json list)
{
    aiocosmos_json index = {0};
    bool any = false;
    while (aiocosmos_json_next(list, NULL, &index)) {
        aiocosmos_json impact = aiocosmos_json_at(index, "/IndexImpactScore"), specification = {0};
        bool several = false;
        any = true;
        put_label(label);
        put_plain(aiocosmos_json_at(index, "/IndexSpec"));
        while (aiocosmos_json_next(aiocosmos_json_at(index, "/IndexSpecs"), NULL, &specification)) {
            if (several) fputs(", ", stdout);
            several = true;
            put_plain(specification);
        }
        if (impact.type == AIOCOSMOS_JSON_STR) {
            fputs(" (impact: ", stdout);
            put_plain(impact);
            putchar(')');
        }
        putchar('\n');
    }
    return any;
}

/* The service has had two forms of this. */
static void explain_indexes(tool *t, aiocosmos_str text)
{
    static const struct { const char *label, *path; } lists[] = {
        { "used", "/UtilizedSingleIndexes" }, { "used", "/UtilizedIndexes/SingleIndexes" },
        { "used", "/UtilizedCompositeIndexes" }, { "used", "/UtilizedIndexes/CompositeIndexes" },
        { "would help", "/PotentialSingleIndexes" }, { "would help", "/PotentialIndexes/SingleIndexes" },
        { "would help", "/PotentialCompositeIndexes" }, { "would help", "/PotentialIndexes/CompositeIndexes" }
    };
    aiocosmos_json_doc *doc;
    bool any = false;
    size_t i;
    if (text.len == 0 || aiocosmos_json_parse(t->client, text.ptr, text.len, &doc, NULL) < 0) return;
    puts("\nIndexes:");
    for (i = 0; i < sizeof lists / sizeof *lists; i++)
        any |= put_indexes(lists[i].label, aiocosmos_json_at(aiocosmos_json_root(doc), lists[i].path));
    if (!any) puts("  none was used, and none would help");
    aiocosmos_json_free(doc);
}

static void explain(tool *t, aiocosmos_cursor query)
{
    aiocosmos_cursor_stats stats;
    wipe_progress(t);
    if (!aiocosmos_cursor_get_stats(t->client, query, &stats)) return;
    explain_plan(t, stats.plan);
    explain_ranges(t, query, &stats);
    if (!aiocosmos_cursor_get_stats(t->client, query, &stats)) return;     /* its texts are lent until the next call */
    explain_metrics(stats.metrics);
    explain_indexes(t, stats.index_metrics);
}

/*--- The command --------------------------------------------------------------*/

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

static int query(tool *t)
{
    aiocosmos_query_request request = {0};
    aiocosmos_param *params = calloc(t->param_count + 1, sizeof *params);
    bool ok = params != NULL;
    long page_size = 0, pages = 0;
    feed f = {0};
    int status;
    size_t i;
    if (!ok) say(t, "no memory");
    for (i = 0; ok && i < t->param_count; i++) ok = param_of(t, t->params[i], &params[i]);
    ok = ok && pk_of_option(t, &request.pk) && number_of(t, OPT_PAGE_SIZE, 1, 1000000, &page_size) &&
         number_of(t, OPT_PAGES, 1, INT32_MAX, &pages);
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.sql = t->operand[2];
    request.params = params;
    request.param_count = t->param_count;
    request.session_token = aiocosmos_text(t->option[OPT_SESSION_TOKEN]);
    request.continuation = aiocosmos_text(t->option[OPT_CONTINUATION]);
    request.page_items_max = (uint32_t)page_size;
    request.want_metrics = request.want_index_metrics = has(t, OPT_EXPLAIN);
    request.skip_empty = true;
    f.tool = t;
    f.pages_max = (uint64_t)pages;
    f.explains = has(t, OPT_EXPLAIN);
    status = ok ? print_feed(&f, &request) : see_help(t);
    if (f.explains && status == EXIT_DONE && !stdout_works(t)) status = EXIT_REFUSED;
    free(params);
    return status;
}

/*------------------------------------------------------------------------------
 * MARK: - Export
 *----------------------------------------------------------------------------*/

/* A partition key range. */
typedef struct part {
    struct exporter *of;
    char *id, *min, *max;                  /* the keys from min up to max, without that */
    aiocosmos_cursor query;
    bool reading;                          /* its query is open */
    bool due;                              /* the next page can be asked for */
} part;

/* Reads several parts at a time. Rows are printed as they come, whatever part they are of. */
typedef struct exporter {
    feed rows;
    part *parts;
    size_t part_count, part_room;
    char **parents;                        /* ids of ranges that were split or merged, and are in the list all the same */
    size_t parent_count, parent_room;
    bool listed;                           /* the list is whole */
    size_t begun, ended, at_a_time;        /* parts */
    uint32_t page_items_max;
} exporter;

/*--- The ranges ---------------------------------------------------------------*/

/* Room for one more in an array. */
static void *grown(void *array, size_t count, size_t *room, size_t size)
{
    void *bigger = array;
    if (count < *room) return array;
    bigger = realloc(array, (*room ? *room * 2 : 16) * size);
    if (bigger) *room = *room ? *room * 2 : 16;
    return bigger;
}

static char *copy_str(aiocosmos_json value)
{
    char text[EPK_BYTES];
    aiocosmos_str copied = { text, 0 };
    copied.len = aiocosmos_json_get_str(value, text, sizeof text);
    return copied.len < sizeof text ? text_of(copied) : NULL;
}

static bool keep_parents(exporter *e, aiocosmos_json list)
{
    aiocosmos_json id = {0};
    while (aiocosmos_json_next(list, NULL, &id)) {
        char **grown_list = grown(e->parents, e->parent_count, &e->parent_room, sizeof *e->parents);
        if (!grown_list) return false;
        e->parents = grown_list;
        e->parents[e->parent_count] = copy_str(id);
        if (!e->parents[e->parent_count++]) return false;
    }
    return true;
}

static bool keep_part(exporter *e, aiocosmos_json range)
{
    part *grown_list = grown(e->parts, e->part_count, &e->part_room, sizeof *e->parts), *p;
    if (!grown_list) return false;
    e->parts = grown_list;
    p = &e->parts[e->part_count++];
    memset(p, 0, sizeof *p);
    p->id = copy_str(aiocosmos_json_at(range, "/id"));
    p->min = copy_str(aiocosmos_json_at(range, "/minInclusive"));
    p->max = copy_str(aiocosmos_json_at(range, "/maxExclusive"));
    return p->id && p->min && p->max && keep_parents(e, aiocosmos_json_at(range, "/parents"));
}

static void keep_ranges(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    exporter *e = user_data;
    aiocosmos_json range = {0};
    bool ok = page->result->status == 0;
    (void)client;
    e->rows.charge_ru += page->result->charge_ru;
    e->rows.more = page->more;
    while (ok && aiocosmos_json_next(page->items, NULL, &range)) ok = keep_part(e, range);
    e->listed = ok && !page->more;
    if (!ok) e->rows.more = false;
    if (page->result->status < 0) {        /* nobody is there who could be asked in another way */
        say_failure(e->rows.tool, page->result);
        e->rows.status = EXIT_REFUSED;
    }
}

static void free_part(part *p)
{
    free(p->id);
    free(p->min);
    free(p->max);
}

static void drop_parents(exporter *e)
{
    size_t kept = 0, i, k;
    for (i = 0; i < e->part_count; i++) {
        for (k = 0; k < e->parent_count && strcmp(e->parts[i].id, e->parents[k]) != 0; k++) continue;
        if (k < e->parent_count) free_part(&e->parts[i]);
        else e->parts[kept++] = e->parts[i];
    }
    e->part_count = kept;
}

static int by_place(const void *a, const void *b)
{
    return strcmp(((const part *)a)->min, ((const part *)b)->min);
}

/* Whether the parts are all of the key space, each key in one of them. */
static bool is_whole(const exporter *e)
{
    size_t i;
    if (!e->listed || e->part_count == 0 || *e->parts[0].min) return false;
    for (i = 1; i < e->part_count; i++)
        if (strcmp(e->parts[i - 1].max, e->parts[i].min) != 0) return false;
    return strcmp(e->parts[i - 1].max, "FF") == 0;
}

/* One part without edges: whatever the server makes of it. */
static bool take_as_one(exporter *e)
{
    part *grown_list = grown(e->parts, 0, &e->part_room, sizeof *e->parts);
    while (e->part_count) free_part(&e->parts[--e->part_count]);
    if (!grown_list) return false;
    e->parts = grown_list;
    memset(e->parts, 0, sizeof *e->parts);
    e->part_count = 1;
    return true;
}

/* The ranges that there are now. A server that has no such list, or one with gaps, is asked by one query. */
static int find_parts(exporter *e)
{
    tool *t = e->rows.tool;
    aiocosmos_query_request request = {0};
    aiocosmos_cursor list;
    int refused;
    request.feed = AIOCOSMOS_FEED_RANGES;
    request.database = t->operand[0];
    request.container = t->operand[1];
    refused = aiocosmos_query_open(t->client, &request, &list);
    e->rows.more = true;
    while (refused == 0 && e->rows.more) {
        refused = aiocosmos_cursor_next(t->client, list, keep_ranges, e);
        if (refused == 0) aiocosmos_drain(t->client, -1);
    }
    if (refused != 0) return say_refusal(t, refused);
    aiocosmos_cursor_close(t->client, list);
    if (e->rows.status != EXIT_DONE) return e->rows.status;
    drop_parents(e);
    if (e->part_count) qsort(e->parts, e->part_count, sizeof *e->parts, by_place);
    if (is_whole(e) || take_as_one(e)) return EXIT_DONE;
    say(t, "no memory");
    return EXIT_REFUSED;
}

/*--- Their items --------------------------------------------------------------*/

static void show_export(exporter *e)
{
    if (show_rows(&e->rows) && e->part_count > 1)
        fprintf(stderr, ", %zu of %zu ranges", e->ended, e->part_count);
}

static void print_part(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    part *p = user_data;
    exporter *e = p->of;
    if (e->rows.status != EXIT_DONE) return;               /* it is being broken off */
    put_rows(&e->rows, page);
    p->due = page->more;
    if (!page->more) {
        aiocosmos_cursor_close(client, p->query);
        p->reading = false;
        e->ended++;
    }
    show_export(e);
}

static int begin_part(exporter *e, part *p)
{
    tool *t = e->rows.tool;
    aiocosmos_query_request request = {0};
    int refused;
    p->of = e;
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.epk_min = p->min && *p->min ? p->min : NULL;
    request.epk_max = p->max && strcmp(p->max, "FF") != 0 ? p->max : NULL;
    request.page_items_max = e->page_items_max;
    request.memory_max = EXPORT_BYTES_MAX / e->at_a_time;
    request.skip_empty = true;
    refused = aiocosmos_query_open(t->client, &request, &p->query);
    if (refused == 0) p->reading = p->due = true;
    return refused;
}

/* Asks for all pages that can be asked for, and begins with more parts where there is room. Returns why not. */
static int ask_for_pages(exporter *e)
{
    aiocosmos_client *client = e->rows.tool->client;
    int refused = 0;
    size_t i;
    while (refused == 0 && e->begun < e->part_count && e->begun - e->ended < e->at_a_time) {
        refused = begin_part(e, &e->parts[e->begun]);
        if (refused == 0) e->begun++;
    }
    for (i = 0; i < e->begun; i++) {
        part *p = &e->parts[i];
        int why = p->due ? aiocosmos_cursor_next(client, p->query, print_part, p) : 0;
        if (why == 0) p->due = false;
        else refused = why;
    }
    return refused == AIOCOSMOS_E_FULL && aiocosmos_pending(client) ? 0 : refused;
}

static int export_parts(exporter *e)
{
    aiocosmos_client *client = e->rows.tool->client;
    int refused = 0;
    size_t i;
    while (e->ended < e->part_count && e->rows.status == EXIT_DONE && refused == 0) {
        refused = ask_for_pages(e);
        if (refused == 0) aiocosmos_step(client, -1);
    }
    if (refused != 0) e->rows.status = say_refusal(e->rows.tool, refused);
    for (i = 0; i < e->begun; i++)
        if (e->parts[i].reading) aiocosmos_cursor_close(client, e->parts[i].query);
    aiocosmos_drain(client, -1);           /* pages that are owed have our memory in their hands */
    return e->rows.status;
}

static int export_items(tool *t)
{
    exporter e = {0};
    long page_size = 0, at_a_time = EXPORT_RANGES;
    int status;
    size_t i;
    if (!number_of(t, OPT_PAGE_SIZE, 1, 1000000, &page_size) ||
        !number_of(t, OPT_CONCURRENCY, 1, EXPORT_RANGES_MAX, &at_a_time)) return see_help(t);
    e.rows.tool = t;
    e.page_items_max = (uint32_t)page_size;
    e.at_a_time = (size_t)at_a_time;
    status = find_parts(&e);
    if (status == EXIT_DONE) status = export_parts(&e);
    say_rows(&e.rows);
    for (i = 0; i < e.part_count; i++) free_part(&e.parts[i]);
    for (i = 0; i < e.parent_count; i++) free(e.parents[i]);
    free(e.parts);
    free(e.parents);
    return status;
}

/*------------------------------------------------------------------------------
 * MARK: - Changes
 *----------------------------------------------------------------------------*/

typedef struct follower {
    feed rows;
    char *state;                           /* behind the last page printed; NULL: nothing has been heard yet */
    bool nothing_now;
} follower;

/* Ctrl-C while changes are followed. The second one ends at once. */
static struct watch {
    volatile sig_atomic_t over;
    aiocosmos_client *volatile client;
} watch;

static void on_watch_over(int signal_number)
{
    int kept = errno;
    (void)signal_number;
    watch.over = 1;
    aiocosmos_wake(watch.client);
    errno = kept;
}

static void catch_watch_over(aiocosmos_client *client)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_watch_over;
    action.sa_flags = (int)(SA_RESTART | SA_RESETHAND);
    sigemptyset(&action.sa_mask);
    watch.client = client;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* A signal that comes just before the wait ends it too: it is let in only there. */
static void wait_for_changes(long ms)
{
    sigset_t stopping, before;
    struct timespec span;
    span.tv_sec = ms / 1000;
    span.tv_nsec = ms % 1000 * 1000000;
    sigemptyset(&stopping);
    sigaddset(&stopping, SIGINT);
    sigaddset(&stopping, SIGTERM);
    sigprocmask(SIG_BLOCK, &stopping, &before);
    if (!watch.over) pselect(0, NULL, NULL, NULL, &span, &before);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

/*--- The state ----------------------------------------------------------------*/

/* The text of a file that an earlier run has left; none yet is fine. */
static bool read_state(tool *t, const char *path, char **state)
{
    const size_t cap = (size_t)1 << 20;
    size_t len = 0;
    *state = NULL;
    if (access(path, F_OK) != 0 && errno == ENOENT) return true;
    *state = malloc(cap + 1);
    if (!*state || !read_all(t, path, *state, cap, &len)) return false;
    while (len && ((*state)[len - 1] == '\n' || (*state)[len - 1] == '\r')) len--;
    (*state)[len] = 0;
    if (len) return true;
    say(t, "--state %s: the file is empty; remove it to begin anew", path);
    return false;
}

/* The old state is there until the new one is whole. */
static bool write_state(tool *t, const char *path, const char *state)
{
    char *beside = malloc(strlen(path) + sizeof ".new");
    FILE *to = NULL;
    bool ok = false;
    if (beside) sprintf(beside, "%s.new", path);
    if (beside) to = fopen(beside, "w");
    if (to) {
        ok = fprintf(to, "%s\n", state) > 0;
        ok = fclose(to) == 0 && ok && rename(beside, path) == 0;
    }
    if (!ok) say(t, "--state %s: cannot write it: %s", path, strerror(errno));
    free(beside);
    return ok;
}

/* What has been printed is printed; only then is it behind us. */
static void keep_state(follower *w, aiocosmos_str token)
{
    tool *t = w->rows.tool;
    char *state = text_of(token);
    bool same = state && w->state && strcmp(state, w->state) == 0;
    if (!state) {
        say(t, "no memory");
        w->rows.status = EXIT_REFUSED;
        return;
    }
    free(w->state);
    w->state = state;
    if (!same && has(t, OPT_STATE) && !write_state(t, t->option[OPT_STATE], state)) w->rows.status = EXIT_REFUSED;
}

static void print_changes(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    follower *w = user_data;
    (void)client;
    if (watch.over && page->result->status == AIOCOSMOS_E_CANCELLED) return;
    w->nothing_now = page->result->status == 304;
    if (!w->nothing_now) put_rows(&w->rows, page);
    if (w->rows.status == EXIT_DONE) keep_state(w, page->continuation);
    show_rows(&w->rows);
}

/*--- The command --------------------------------------------------------------*/

/* RFC 3339, "2026-11-21T08:30:00Z" or with an offset such as +01:00, as seconds since 1970. */
static bool time_of(const char *text, int64_t *out)
{
    int year, month, day, hour, minute, second, used = 0, zone_hour = 0, zone_minute = 0;
    int64_t days, years;
    char sign;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second, &used) != 6 || !used ||
        month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60) return false;
    text += used;
    if (*text == '.') text += 1 + strspn(text + 1, "0123456789");
    sign = *text;
    if (sign == '+' || sign == '-') {
        used = 0;
        if (sscanf(text + 1, "%2d:%2d%n", &zone_hour, &zone_minute, &used) != 2 || text[1 + used]) return false;
    } else if (strcmp(text, "Z") != 0) {
        return false;
    }
    years = month > 2 ? year : year - 1;       /* that begin in March: the day to leap is the last one then */
    days = years * 365 + years / 4 - years / 100 + years / 400 + ((month + 9) % 12 * 306 + 5) / 10 + day - 1 - 719468;
    *out = ((days * 24 + hour) * 60 + minute) * 60 + second;
    *out -= (sign == '-' ? -1 : 1) * (int64_t)(zone_hour * 60 + zone_minute) * 60;
    return true;
}

static bool from_of(tool *t, aiocosmos_changes_request *request)
{
    const char *text = t->option[OPT_FROM];
    if (!text) request->from = has(t, OPT_ALL_VERSIONS) ? AIOCOSMOS_FROM_NOW : AIOCOSMOS_FROM_BEGINNING;
    else if (strcmp(text, "beginning") == 0) request->from = AIOCOSMOS_FROM_BEGINNING;
    else if (strcmp(text, "now") == 0) request->from = AIOCOSMOS_FROM_NOW;
    else if (time_of(text, &request->from_time_s)) request->from = AIOCOSMOS_FROM_TIME;
    else return say(t, "--from %s: beginning, now, or a time such as 2026-11-21T08:30:00Z is expected", text), false;
    return true;
}

/* Until there is nothing now; or, to follow, until Ctrl-C. Returns why a call was refused. */
static int read_changes(follower *w, aiocosmos_cursor query)
{
    aiocosmos_client *client = w->rows.tool->client;
    bool follows = has(w->rows.tool, OPT_FOLLOW);
    long pause_ms = CHANGES_PAUSE_MS;
    while (!watch.over && w->rows.status == EXIT_DONE) {
        int refused = aiocosmos_cursor_next(client, query, print_changes, w);
        if (refused != 0) return refused;
        while (!watch.over && aiocosmos_pending(client)) aiocosmos_step(client, -1);
        if (watch.over || w->rows.status != EXIT_DONE || (w->nothing_now && !follows)) break;
        if (!w->nothing_now) {
            pause_ms = CHANGES_PAUSE_MS;
            continue;
        }
        wait_for_changes(pause_ms);
        pause_ms = pause_ms * 2 < CHANGES_PAUSE_MAX_MS ? pause_ms * 2 : CHANGES_PAUSE_MAX_MS;
    }
    return 0;
}

static void say_state(const follower *w)
{
    if (!w->state || has(w->rows.tool, OPT_STATE)) return;
    say(w->rows.tool, "to go on from here later, repeat the command with:");
    fputs("  --continuation ", stderr);
    put_argument(stderr, w->state);
    fputc('\n', stderr);
}

static int follow(follower *w, const aiocosmos_changes_request *request)
{
    tool *t = w->rows.tool;
    aiocosmos_cursor query;
    int refused = aiocosmos_changes_open(t->client, request, &query);
    if (refused != 0) return say_refusal(t, refused);
    catch_watch_over(t->client);
    refused = read_changes(w, query);
    if (refused != 0) w->rows.status = say_refusal(t, refused);
    aiocosmos_cursor_close(t->client, query);
    aiocosmos_drain(t->client, -1);        /* a page that is owed has our memory in its hands */
    say_state(w);
    say_rows(&w->rows);
    return w->rows.status;
}

static int changes(tool *t)
{
    aiocosmos_changes_request request = {0};
    follower w = {0};
    char *kept = NULL;
    long page_size = 0;
    int status = EXIT_USAGE;
    w.rows.tool = t;
    if (has(t, OPT_STATE) && has(t, OPT_CONTINUATION)) {
        say(t, "--state and --continuation are both given: choose one");
        return see_help(t);
    }
    if (!from_of(t, &request) || !pk_of_option(t, &request.pk) ||
        !number_of(t, OPT_PAGE_SIZE, 1, 1000000, &page_size)) return see_help(t);
    if (!has(t, OPT_STATE) || read_state(t, t->option[OPT_STATE], &kept)) {
        request.database = t->operand[0];
        request.container = t->operand[1];
        request.all_versions = has(t, OPT_ALL_VERSIONS);
        request.page_items_max = (uint32_t)page_size;
        request.continuation = aiocosmos_text(kept ? kept : t->option[OPT_CONTINUATION]);
        request.session_token = aiocosmos_text(t->option[OPT_SESSION_TOKEN]);
        status = follow(&w, &request);
    }
    free(kept);
    free(w.state);
    return status;
}

/*------------------------------------------------------------------------------
 * MARK: - Import: lines
 *----------------------------------------------------------------------------*/

/* Cuts an input into lines without ever waiting for it, in a buffer that holds little more than the longest good
 * line. */
typedef struct lines {
    int fd;
    bool is_file;                          /* always readable, and its size is known */
    uint64_t size;
    char *buffer;
    size_t begin, end;                     /* of what has been read and not been taken */
    size_t searched;                       /* so much of it has no line end */
    uint64_t dropped;                      /* bytes of a line that is too long to keep */
    uint64_t number;                       /* of the last line taken */
    uint64_t bytes_read;
    bool ended;
    int error;                             /* errno of a read that failed */
} lines;

enum { LINE_BUFFER_BYTES = DOCUMENT_BYTES_MAX + 1 + READ_BYTES };

typedef enum taken { TAKEN_LINE, TAKEN_TOO_LONG, TAKEN_NONE_YET, TAKEN_END, TAKEN_ERROR } taken;

static bool lines_open(lines *in, int fd)
{
    struct stat about;
    memset(in, 0, sizeof *in);
    in->fd = fd;
    in->is_file = fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
    if (in->is_file) in->size = (uint64_t)about.st_size;
    in->buffer = malloc(LINE_BUFFER_BYTES);
    return in->buffer != NULL;
}

static void lines_close(lines *in)
{
    free(in->buffer);
    if (in->fd != STDIN_FILENO) close(in->fd);
}

/* The descriptor may be shared with other programs, so it is asked rather than made non-blocking. */
static bool is_readable(int fd)
{
    struct pollfd p = { fd, POLLIN, 0 };
    return poll(&p, 1, 0) > 0;
}

/* Reads on. False: there is nothing more now; see ended and error. */
static bool lines_fill(lines *in)
{
    size_t len = in->end - in->begin;
    ssize_t got;
    if (!in->is_file && !is_readable(in->fd)) return false;
    if (in->begin) memmove(in->buffer, in->buffer + in->begin, len);
    in->begin = 0;
    in->end = len;
    got = read(in->fd, in->buffer + len, READ_BYTES);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return false;
    if (got < 0) in->error = errno;
    if (got == 0) in->ended = true;
    if (got <= 0) return got == 0;
    in->end += (size_t)got;
    in->bytes_read += (uint64_t)got;
    return true;
}

/* The next line without its end; valid until the next call. Of one that is too long, its length. */
static taken lines_take(lines *in, aiocosmos_str *line, uint64_t *too_long)
{
    for (;;) {
        char *from = in->buffer + in->begin;
        size_t held = in->end - in->begin;
        char *newline = memchr(from + in->searched, '\n', held - in->searched);
        size_t len = newline ? (size_t)(newline - from) : held;
        if (newline || (in->ended && len + in->dropped > 0)) {
            in->begin += len + (newline ? 1 : 0);
            in->searched = 0;
            in->number++;
            if (len && from[len - 1] == '\r') len--;
            line->ptr = from;
            line->len = len;
            *too_long = in->dropped + len;
            in->dropped = 0;
            return *too_long > DOCUMENT_BYTES_MAX ? TAKEN_TOO_LONG : TAKEN_LINE;
        }
        if (in->ended) return TAKEN_END;
        if (in->error) return TAKEN_ERROR;
        in->searched = held;
        if (held > DOCUMENT_BYTES_MAX + 1) {
            in->dropped += held - 1;       /* the last byte may be the '\r' of its end */
            in->begin = in->end - 1;
            in->searched = 1;
        }
        if (!lines_fill(in) && !in->error) return TAKEN_NONE_YET;
    }
}

static bool is_blank(aiocosmos_str line)
{
    size_t i;
    for (i = 0; i < line.len; i++)
        if (line.ptr[i] != ' ' && line.ptr[i] != '\t' && line.ptr[i] != '\r') return false;
    return true;
}

/*------------------------------------------------------------------------------
 * MARK: - Import
 *----------------------------------------------------------------------------*/

typedef struct importer {
    tool *tool;
    lines in;
    aiocosmos_kind kind;
    FILE *rejects;
    long from_line;                        /* those before it are passed over */
    aiocosmos_op bulk;
    size_t bytes_in_flight;
    bool starved;                          /* the input has nothing now */
    bool crowded;                          /* too much is in flight */
    bool broken;                           /* input or rejects file have failed, and that has been said */
    bool given_up;                         /* the server is silent, or refuses everything, and that has been said */
    bool stopped;                          /* lines were left when no more were to be taken */
    bool finished;
    unsigned failures_in_a_row;
    unsigned refusals_in_a_row;            /* of those, for no reason of the document's own */
    long give_up_s;
    double heard;                          /* when the server was not silent, in seconds since the start */
    uint64_t heard_bytes, heard_tries;     /* the client's totals then */
    aiocosmos_bulk_totals totals;
    double seconds;
    const struct entry *keyless;           /* the last line that has no key, and why */
    char keyless_why[512];
} importer;

/* A line that has been handed over, kept for the rejects. */
typedef struct entry {
    uint64_t number, too_long;             /* too_long: its length, and there is no text; else 0 */
    size_t len;
    unsigned place;                        /* in flight.line */
    bool is_json;
    char text[];
} entry;

/*--- Ctrl-C -------------------------------------------------------------------
 * It may come at any moment, also while the rejects wait for somebody to read them: so its handler does the talking,
 * by write() alone, and knows by itself which lines are in flight. Each number is written before it is counted on, and
 * by one store where the machine has such. */

static struct flight {
    volatile sig_atomic_t interrupted;     /* the signal */
    aiocosmos_client *volatile client;
    bool on_terminal;                      /* which has echoed "^C" */
    volatile uint64_t reached;             /* the last line taken */
    volatile uint64_t line[CONCURRENCY_MAX];             /* those in flight, and 0 where there is none */
    unsigned free_place[CONCURRENCY_MAX], free_count;
} flight;

/* Text for stderr that a signal handler may put together. */
typedef struct note {
    char text[512];
    size_t len;
} note;

static void note_send(note *n)
{
    size_t at = 0;
    while (at < n->len) {
        ssize_t put = write(STDERR_FILENO, n->text + at, n->len - at);
        if (put > 0) at += (size_t)put;
        else if (errno != EINTR) break;
    }
    n->len = 0;
}

static void note_text(note *n, const char *text)
{
    for (; *text; text++) {
        if (n->len == sizeof n->text) note_send(n);
        n->text[n->len++] = *text;
    }
}

static void note_number(note *n, uint64_t number)
{
    char digits[24], *at = digits + sizeof digits;
    *--at = 0;
    do *--at = (char)('0' + number % 10);
    while (number /= 10);
    note_text(n, at);
}

/* The lowest line in flight above this one; 0: there is none. */
static uint64_t next_in_flight(uint64_t above)
{
    uint64_t lowest = 0;
    unsigned i;
    for (i = 0; i < CONCURRENCY_MAX; i++) {
        uint64_t line = flight.line[i];
        if (line > above && (lowest == 0 || line < lowest)) lowest = line;
    }
    return lowest;
}

/* "3, 17-20, 22" */
static void note_lines_in_flight(note *n)
{
    uint64_t first = next_in_flight(0), last, next;
    bool behind_another = false;
    for (; first; first = next, behind_another = true) {
        for (last = first; (next = next_in_flight(last)) == last + 1; last = next) continue;
        if (behind_another) note_text(n, ", ");
        note_number(n, first);
        if (last > first) note_text(n, "-");
        if (last > first) note_number(n, last);
    }
}

static void note_stopping(void)
{
    note n;
    n.len = 0;
    note_text(&n, flight.on_terminal ? "\n" : "");
    note_text(&n, "aiocosmos: interrupted: no line after ");
    note_number(&n, flight.reached);
    note_text(&n, " is taken, and those in flight are finished. The next signal ends all at once.\n");
    note_send(&n);
}

static void note_ending(void)
{
    note n;
    n.len = 0;
    note_text(&n, flight.on_terminal ? "\n" : "");
    note_text(&n, "aiocosmos: ended at once. ");
    if (next_in_flight(0)) note_text(&n, "These lines were in flight, and may be stored or not: ");
    note_lines_in_flight(&n);
    note_text(&n, next_in_flight(0) ? ".\nThe others up to line " : "The lines up to ");
    note_number(&n, flight.reached);
    note_text(&n, " are stored, or among the rejects; those behind it were not taken.\n");
    note_send(&n);
}

/* The first signal ends the import in good order, the second at once, and a third where even that has to wait. */
static void on_interrupt(int signal_number)
{
    int kept = errno;
    if (!flight.interrupted) {
        flight.interrupted = signal_number;
        note_stopping();
        aiocosmos_wake(flight.client);
    } else {
        signal(signal_number, SIG_DFL);
        note_ending();
        raise(signal_number);
    }
    errno = kept;
}

/* A rejects file that is slow to write must not fail for a signal: SA_RESTART. A wait in poll() ends all the same. */
static void catch_interrupts(aiocosmos_client *client)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action, before;
    size_t i;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_RESTART | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    flight.client = client;
    flight.on_terminal = isatty(STDERR_FILENO) != 0;
    while (flight.free_count < CONCURRENCY_MAX) {
        flight.free_place[flight.free_count] = flight.free_count;
        flight.free_count++;
    }
    for (i = 0; i < sizeof signals / sizeof *signals; i++) {
        bool nohup = signals[i] == SIGHUP && sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler == SIG_IGN;
        if (!nohup) sigaction(signals[i], &action, NULL);
    }
}

/* A signal that comes from here on finds nothing in flight, and cuts off the last words at worst. */
static void release_interrupts(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
}

/*--- Lines on their way -----------------------------------------------------*/

static aiocosmos_pull no_more_lines(importer *im)
{
    const lines *in = &im->in;
    im->stopped = !in->ended || in->begin < in->end;
    return AIOCOSMOS_PULL_END;
}

static aiocosmos_pull break_off(importer *im, const char *what, int error)
{
    if (!im->broken) say(im->tool, "%s: %s", what, strerror(error));
    im->broken = true;
    return no_more_lines(im);
}

static entry *keep_line(importer *im, aiocosmos_str line, uint64_t too_long)
{
    entry *kept;
    if (im->in.number == 1) line = without_mark(line);
    if (too_long) line.len = 0;
    kept = malloc(sizeof *kept + line.len + 1);
    if (!kept) return NULL;
    kept->number = im->in.number;
    kept->too_long = too_long;
    kept->len = line.len;
    kept->is_json = false;
    memcpy(kept->text, line.ptr, line.len);
    im->bytes_in_flight += line.len;
    kept->place = flight.free_place[--flight.free_count];
    flight.line[kept->place] = kept->number;
    flight.reached = kept->number;
    return kept;
}

static void drop_line(importer *im, entry *line)
{
    flight.line[line->place] = 0;
    flight.free_place[flight.free_count++] = line->place;
    im->bytes_in_flight -= line->len;
    free(line);
}

/* A line that is no document, or has no key, goes the same way as the others: the library refuses it. Where there is no
 * definition any more, the service is to say why. */
static void fill_item(importer *im, entry *line, aiocosmos_bulk_item *item)
{
    const char *why;
    aiocosmos_json_doc *doc;
    im->keyless = NULL;
    item->kind = im->kind;
    item->item_data = line;
    item->body.ptr = line->text;
    item->body.len = line->len;
    item->pk = pk_of_document(im->tool, item->body);
    line->is_json = is_set(&item->pk);
    if (line->is_json) return;
    why = aiocosmos_last_error(im->tool->client);
    if (strncmp(why, "container: ", 11) == 0) item->pk = aiocosmos_pk1(aiocosmos_none());
    im->keyless = line;
    snprintf(im->keyless_why, sizeof im->keyless_why, "%s", why);
    line->is_json = aiocosmos_json_parse(NULL, line->text, line->len, &doc, NULL) == 0;
    if (line->is_json) aiocosmos_json_free(doc);
}

static aiocosmos_pull next_line(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    importer *im = user_data;
    aiocosmos_str line;
    uint64_t length;
    entry *kept;
    taken got;
    do {
        if (flight.interrupted || im->broken || im->given_up) return no_more_lines(im);
        im->crowded = im->bytes_in_flight >= IN_FLIGHT_BYTES_MAX;
        if (im->crowded) return AIOCOSMOS_PULL_LATER;
        got = lines_take(&im->in, &line, &length);
        im->starved = got == TAKEN_NONE_YET;
        if (im->starved) {
            aiocosmos_wake(client);        /* the step must not wait for the network alone: the input may be sooner */
            return AIOCOSMOS_PULL_LATER;
        }
        if (got == TAKEN_END) return AIOCOSMOS_PULL_END;
        if (got == TAKEN_ERROR) return break_off(im, "cannot read on", im->in.error);
    } while (im->in.number < (uint64_t)im->from_line || (got == TAKEN_LINE && is_blank(line)));
    kept = keep_line(im, line, got == TAKEN_TOO_LONG ? length : 0);
    if (!kept) {
        im->in.number--;
        return break_off(im, "cannot go on", ENOMEM);
    }
    fill_item(im, kept, item);
    return AIOCOSMOS_PULL_ITEM;
}

/* The library's words, unless more is known here. */
static aiocosmos_str reason_of(const importer *im, const entry *line, const aiocosmos_result *result, char *out,
                               size_t cap)
{
    aiocosmos_str reason = result->message;
    aiocosmos_attempt attempt, last = {0};
    uint32_t i;
    int len = 0;
    if (line->too_long) {
        len = snprintf(out, cap, "the line has %" PRIu64 " bytes, an item at most %d", line->too_long,
                       (int)DOCUMENT_BYTES_MAX);
    } else if (line == im->keyless && result->status == AIOCOSMOS_E_ARGUMENT) {
        len = snprintf(out, cap, "%s", im->keyless_why);   /* a key is missing because of this */
    } else if (im->given_up && result->status == AIOCOSMOS_E_CANCELLED) {
        for (i = 0; aiocosmos_result_attempt(result, i, &attempt); i++) last = attempt;
        len = snprintf(out, cap, "given up: the server has not answered for %ld s (%u attempt%s, the last: %s)",
                       im->give_up_s, (unsigned)result->attempts, result->attempts == 1 ? "" : "s",
                       last.status == AIOCOSMOS_E_CANCELLED ? "no answer" : aiocosmos_status_text(last.status));
    }
    if (len == 0) return reason;
    reason.ptr = out;
    reason.len = (size_t)len < cap ? (size_t)len : cap - 1;
    return reason;
}

static void put_reject(const importer *im, const entry *line, const aiocosmos_result *result)
{
    FILE *to = im->rejects;
    char room[300];
    aiocosmos_str reason = reason_of(im, line, result, room, sizeof room);
    fprintf(to, "{\"line\":%" PRIu64 ",\"reason\":", line->number);
    put_string(to, reason.ptr, reason.len);
    fprintf(to, ",\"status\":%d,\"sub_status\":%d,\"maybe_applied\":%s", result->http_status, result->sub_status,
            result->fate == AIOCOSMOS_FATE_MAYBE_APPLIED ? "true" : "false");
    if (line->is_json) {
        fputs(",\"document\":", to);
        put_document(to, line->text, line->len);
    } else if (!line->too_long) {
        fputs(",\"text\":", to);
        put_string(to, line->text, line->len);
    }
    fputs("}\n", to);
}

/* Where the rejects file fails, no more lines are taken, and what is in flight is told on stderr instead: each bad line
 * is named, whatever happens. */
static void write_reject(importer *im, const entry *line, const aiocosmos_result *result)
{
    wipe_progress(im->tool);
    put_reject(im, line, result);
    if (fflush(im->rejects) == 0 && !ferror(im->rejects)) return;
    break_off(im, "cannot write the rejects, and stop; what is in flight and fails follows here", errno);
    if (im->rejects == stderr) return;
    fclose(im->rejects);
    im->rejects = stderr;
    put_reject(im, line, result);
}

/* What would happen to any other document too: no access, no container, no service. Lost connections are another
 * matter: the server may come back, see server_is_silent(). */
static bool would_refuse_any(const aiocosmos_result *result)
{
    switch (result->status) {
    case AIOCOSMOS_E_TLS: case AIOCOSMOS_E_AUTH: case AIOCOSMOS_E_PROTOCOL: case 401: case 404: case 405: return true;
    case 403: return result->sub_status != 1014;           /* the logical partition is full */
    default: return result->status >= 500;
    }
}

static void count_failure(importer *im, const aiocosmos_result *result)
{
    aiocosmos_str why = result->message;
    im->refusals_in_a_row = would_refuse_any(result) ? im->refusals_in_a_row + 1 : 0;
    if (im->refusals_in_a_row == FAILURES_WORTH_A_WORD) {
        im->given_up = true;
        say(im->tool, "giving up: %d lines on end were refused for no reason of their own, the last because: %.*s",
            FAILURES_WORTH_A_WORD, (int)why.len, why.ptr);
    } else if (++im->failures_in_a_row == FAILURES_WORTH_A_WORD && !im->given_up) {
        say(im->tool, "%d lines on end were not stored, the last because: %.*s", FAILURES_WORTH_A_WORD, (int)why.len,
            why.ptr);
        fputs("Ctrl-C stops, and tells how to go on later.\n", stderr);
    }
}

static void line_done(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    importer *im = user_data;
    if (result->status == 0) {
        im->failures_in_a_row = im->refusals_in_a_row = 0;
    } else {
        write_reject(im, item_data, result);
        count_failure(im, result);
    }
    drop_line(im, item_data);
    if (im->crowded) aiocosmos_bulk_resume(client, im->bulk);
}

static void import_done(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                        void *user_data)
{
    importer *im = user_data;
    (void)client;
    im->finished = true;
    im->totals = *totals;
    im->seconds = (double)result->latency_us / 1e6;
}

static void show_import(importer *im)
{
    aiocosmos_bulk_totals totals;
    double seconds = seconds_since(im->tool->started);
    unsigned percent = 0, i;
    if (!aiocosmos_bulk_get_totals(im->tool->client, im->bulk, &totals)) return;
    fputs("\r\033[K", stderr);
    if (im->in.is_file && im->in.size) {
        percent = (unsigned)((double)im->in.bytes_read * 100.0 / (double)im->in.size);
        fputc('[', stderr);
        for (i = 0; i < 30; i++) fputc(i * 100 < percent * 30 ? '#' : '.', stderr);
        fprintf(stderr, "] %u %%, ", percent < 100 ? percent : 100);
    }
    fprintf(stderr, "%" PRIu64 " stored, %" PRIu64 " failed, %.0f a second, %.0f RU", totals.succeeded, totals.failed,
            (double)totals.succeeded / seconds, totals.charge_ru);
    if (totals.throttled)
        fprintf(stderr, ", %" PRIu64 " throttled, %" PRIu32 " at a time", totals.throttled, totals.concurrency);
    im->tool->progress_shown = true;
}

/* Until the input has something, the client has something to do, or a signal comes, which wakes the client. */
static void wait_for_input(importer *im, int timeout_ms)
{
    enum { FDS_MAX = CONCURRENCY_MAX + 64 };
    aiocosmos_pollfd wanted[FDS_MAX];
    struct pollfd fds[1 + FDS_MAX];
    aiocosmos_client *client = im->tool->client;
    size_t count = aiocosmos_poll_fds(client, wanted, FDS_MAX), i;
    int due_ms = aiocosmos_next_timeout_ms(client);
    if (count > FDS_MAX) count = FDS_MAX;
    if (due_ms >= 0 && (timeout_ms < 0 || due_ms < timeout_ms)) timeout_ms = due_ms;
    fds[0].fd = im->in.fd;
    fds[0].events = POLLIN;
    fds[0].revents = 0;
    for (i = 0; i < count; i++) {
        fds[1 + i].fd = (int)wanted[i].fd;
        fds[1 + i].events = (short)((wanted[i].read ? POLLIN : 0) | (wanted[i].write ? POLLOUT : 0));
        fds[1 + i].revents = 0;
    }
    if (poll(fds, (nfds_t)(1 + count), timeout_ms) > 0 && fds[0].revents) im->starved = false;
}

/* Not one byte has come for long enough although something was asked. What waits after a 429, or for input, asks
 * nothing, and that is no silence. */
static bool server_is_silent(importer *im)
{
    double now = seconds_since(im->tool->started);
    aiocosmos_stats stats;
    uint64_t tries;
    bool asked;
    aiocosmos_get_stats(im->tool->client, &stats);
    tries = stats.attempts + stats.retries;                /* where no connection can be had, there are retries alone */
    asked = tries != im->heard_tries || stats.connections_open > stats.connections_idle;
    if (stats.bytes_received != im->heard_bytes || !asked) {
        im->heard = now;
        im->heard_bytes = stats.bytes_received;
        im->heard_tries = tries;
    }
    return now - im->heard >= (double)im->give_up_s;
}

/* To go on would write every line that is left to the rejects. */
static void give_up(importer *im)
{
    im->given_up = true;
    no_more_lines(im);
    say(im->tool, "giving up: the server has not answered for %ld second%s", im->give_up_s,
        im->give_up_s == 1 ? "" : "s");
    aiocosmos_cancel(im->tool->client, im->bulk);
}

static void run_import(importer *im)
{
    aiocosmos_client *client = im->tool->client;
    bool terminal = isatty(STDERR_FILENO) != 0, silent = false;
    double shown = 0;
    while (!im->finished) {
        bool stopping = flight.interrupted || im->broken || im->given_up;
        bool idle = aiocosmos_pending(client) <= 1;        /* but for the bulk itself */
        if (im->starved && !stopping) wait_for_input(im, terminal || !idle ? TICK_MS : -1);
        if (stopping) im->starved = false;
        if (im->starved) {
            aiocosmos_step(client, 0);
        } else {
            aiocosmos_bulk_resume(client, im->bulk);
            aiocosmos_step(client, TICK_MS);
        }
        if (!silent && server_is_silent(im)) {
            silent = true;
            give_up(im);
        }
        if (!terminal || seconds_since(im->tool->started) - shown < TICK_MS / 1000.0) continue;
        shown = seconds_since(im->tool->started);
        show_import(im);
    }
}

/* To stderr, or to a file that is not the input itself. */
static bool open_rejects(importer *im)
{
    tool *t = im->tool;
    const char *path = t->option[OPT_REJECTS];
    struct stat input, output;
    int fd;
    im->rejects = stderr;
    if (!path) return true;
    im->rejects = NULL;
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0666);
    if (fd >= 0 && fstat(fd, &output) == 0 && fstat(im->in.fd, &input) == 0 && output.st_dev == input.st_dev &&
        output.st_ino == input.st_ino && S_ISREG(output.st_mode)) {
        say(t, "--rejects %s: this is the file that is read; choose another", path);
        close(fd);
        return false;
    }
    if (fd >= 0 && S_ISREG(output.st_mode) && output.st_size > 0 && !has(t, OPT_APPEND_REJECTS)) {
        say(t, "--rejects %s: it is not empty: choose another, or add to it with --append-rejects", path);
        close(fd);
        return false;
    }
    if (fd >= 0) im->rejects = fdopen(fd, "w");
    if (!im->rejects) say(t, "--rejects %s: cannot write it: %s", path, strerror(errno));
    return im->rejects != NULL;
}

/* Where an import that was broken off stopped, and how to go on: by the same options, but for secrets. */
static void say_where(importer *im)
{
    static const unsigned secret = BIT(OPT_KEY) | BIT(OPT_CONNECTION_STRING);
    static const unsigned ours = BIT(OPT_FROM_LINE) | BIT(OPT_APPEND_REJECTS);
    tool *t = im->tool;
    unsigned i;
    say(t, "%sstopped after line %" PRIu64 ": each up to it is stored, or among the rejects. To go on with the next%s:",
        flight.interrupted ? "interrupted: " : "", im->in.number,
        has(t, OPT_KEY) || has(t, OPT_CONNECTION_STRING) ? ", with the same account" : "");
    fputs("  aiocosmos import", stderr);
    for (i = 0; i < 3; i++) {
        fputc(' ', stderr);
        put_argument(stderr, t->operand[i]);
    }
    fprintf(stderr, " --from-line %" PRIu64 "%s", im->in.number + 1, has(t, OPT_REJECTS) ? " --append-rejects" : "");
    for (i = 0; i < OPT_COUNT; i++) {
        if (!has(t, (option_id)i) || ((secret | ours) & BIT(i))) continue;
        fprintf(stderr, " %s", options[i].name);
        if (!options[i].value) continue;
        fputc(' ', stderr);
        put_argument(stderr, t->option[i]);
    }
    fputc('\n', stderr);
}

static int report_import(importer *im)
{
    tool *t = im->tool;
    const aiocosmos_bulk_totals *totals = &im->totals;
    double per_second = im->seconds > 0 ? (double)totals->succeeded / im->seconds : 0;
    if (im->stopped) say_where(im);
    wipe_progress(t);
    fprintf(stderr, "%" PRIu64 " stored, %" PRIu64 " not", totals->succeeded, totals->failed);
    if (totals->maybe_applied) fprintf(stderr, " (%" PRIu64 " of them maybe)", totals->maybe_applied);
    if (totals->failed && has(t, OPT_REJECTS)) fprintf(stderr, ": see %s", t->option[OPT_REJECTS]);
    fprintf(stderr, "; %.2f RU, %" PRIu64 " retries, %.2f s, %.0f a second\n", totals->charge_ru, totals->retries,
            im->seconds, per_second);
    printf("{\"ok\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"retries\":%" PRIu64, totals->succeeded, totals->failed,
           totals->retries);
    printf(",\"ru\":%.2f,\"seconds\":%.3f,\"per_second\":%.1f}\n", totals->charge_ru, im->seconds, per_second);
    if (!stdout_works(t) || im->broken) return EXIT_REFUSED;
    if (im->given_up && totals->failed == 0) return EXIT_REFUSED;
    return totals->failed || im->stopped ? EXIT_INCOMPLETE : EXIT_DONE;
}

static int import_lines(importer *im, uint32_t concurrency)
{
    aiocosmos_bulk_request request = {0};
    int status = read_definition(im->tool);
    if (status != EXIT_DONE) return status;
    request.database = im->tool->operand[0];
    request.container = im->tool->operand[1];
    request.concurrency_max = concurrency;
    request.timeout_ms = has(im->tool, OPT_TIMEOUT) ? 0 : IMPORT_TIMEOUT_MS;
    request.next = next_line;
    request.item_done = line_done;
    request.done = import_done;
    request.user_data = im;
    status = aiocosmos_bulk(im->tool->client, &request, &im->bulk);
    if (status != 0) return say_refusal(im->tool, status);
    im->heard = seconds_since(im->tool->started);
    catch_interrupts(im->tool->client);
    run_import(im);
    release_interrupts();
    return report_import(im);
}

static int import(tool *t)
{
    static importer im;                    /* zeroed */
    long concurrency = AIOCOSMOS_DEFAULT_CONNECTIONS;
    int status = EXIT_USAGE, fd;
    im.tool = t;
    im.kind = has(t, OPT_UPSERT) ? AIOCOSMOS_UPSERT_ITEM : AIOCOSMOS_CREATE_ITEM;
    im.give_up_s = GIVE_UP_S;
    if (!number_of(t, OPT_CONCURRENCY, 1, CONCURRENCY_MAX, &concurrency) ||
        !number_of(t, OPT_FROM_LINE, 1, LONG_MAX, &im.from_line) ||
        !number_of(t, OPT_GIVE_UP, 1, 86400, &im.give_up_s)) return see_help(t);
    fd = open_input(t, t->operand[2]);
    if (fd < 0) return EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN);              /* a reader that went away must not end us with documents in flight */
    if (!lines_open(&im.in, fd)) say(t, "no memory");
    else if (open_rejects(&im)) status = import_lines(&im, (uint32_t)concurrency);
    if (im.rejects && im.rejects != stderr) fclose(im.rejects);
    lines_close(&im.in);
    return status;
}

/*------------------------------------------------------------------------------
 * MARK: - Help
 *----------------------------------------------------------------------------*/

static const char about[] = "works with Azure Cosmos DB accounts, and emulators of them";

static const char text_data[] =
    "Data goes to stdout, one JSON document a line; what is for people, such as\n"
    "errors, costs and progress, goes to stderr.\n";

static const char text_settings[] =
    "The account is named by --connection-string, or by --endpoint and --key; else\n"
    "by the environment, AIOCOSMOS_CONNECTION_STRING, or AIOCOSMOS_ENDPOINT and\n"
    "AIOCOSMOS_KEY; else it is the local emulator, http://localhost:8081. An endpoint\n"
    "on localhost needs no key: emulators have a well-known one.\n";

static const char text_exit[] =
    "    0   all done\n"
    "    1   the service or the network refused, or a file failed\n"
    "    2   wrong usage; nothing was changed\n"
    "    3   some documents of an import were not stored, or it was interrupted\n";

static const char text_examples[] =
    "    export AIOCOSMOS_CONNECTION_STRING='AccountEndpoint=https://...'\n"
    "    aiocosmos db create game\n"
    "    aiocosmos container create game players --partition-key /region\n"
    "    echo '{\"id\":\"ann\",\"region\":\"eu\"}' | aiocosmos item create game players\n"
    "    aiocosmos query game players 'SELECT * FROM c WHERE c.region = \"eu\"'\n";

static const command commands[] = {
    { "db list", "", 0, 0, 0, db_list, "list the databases",
      "Prints each database of the account as the service describes it.\n" },
    { "db create", "ID", OPTIONS_OF_THROUGHPUT | BIT(OPT_IF_NOT_EXISTS), 0, 0, db_create, "create a database",
      "Prints the new database. Throughput given here is shared by its containers;\n"
      "usually each container has its own instead.\n"
      "\n"
      "    aiocosmos db create game --if-not-exists\n" },
    { "db delete", "ID", 0, 0, AIOCOSMOS_DELETE_DATABASE, show_or_delete, "delete a database with all that is in it",
      "There is no question and no way back.\n" },
    { "container list", "DB", 0, 0, 0, container_list, "list the containers of a database",
      "Prints each container as the service describes it: its partition key, indexing\n"
      "policy and so on.\n" },
    { "container show", "DB ID", 0, 0, AIOCOSMOS_READ_CONTAINER, show_or_delete, "show a container's definition",
      "Prints its partition key, indexing policy and so on.\n"
      "\n"
      "    aiocosmos container show game players | jq .partitionKey\n" },
    { "container create", "DB ID",
      BIT(OPT_PARTITION_KEY) | OPTIONS_OF_THROUGHPUT | BIT(OPT_TTL) | BIT(OPT_IF_NOT_EXISTS), BIT(OPT_PARTITION_KEY), 0,
      container_create, "create a container",
      "Prints the new container. Items with the same value of the partition key are\n"
      "kept together, up to 20 GB, and can be queried together; choose a property that\n"
      "has many values and that most queries know. It cannot be changed later.\n"
      "\n"
      "    aiocosmos container create game players --partition-key /region\n"
      "    aiocosmos container create game events --partition-key /tenant,/user \\\n"
      "        --autoscale 4000 --ttl 86400\n" },
    { "container delete", "DB ID", 0, 0, AIOCOSMOS_DELETE_CONTAINER, show_or_delete,
        "delete a container with its items",
      "There is no question and no way back.\n" },
    { "item create", "DB CONTAINER [FILE]", 0, 0, AIOCOSMOS_CREATE_ITEM, item_write, "store a new item",
      "Reads one JSON document from the file, or from stdin if there is none or it is\n"
      "'-', and prints it as it was stored. It needs an \"id\"; its partition key is\n"
      "taken from it. An item that is there already is left alone, and this fails\n"
      "with 409.\n"
      "\n"
      "    aiocosmos item create game players ann.json\n" },
    { "item upsert", "DB CONTAINER [FILE]", 0, 0, AIOCOSMOS_UPSERT_ITEM, item_write, "store an item, new or not",
      "Reads one JSON document from the file, or from stdin if there is none or it is\n"
      "'-', and prints it as it was stored. It needs an \"id\"; its partition key is\n"
      "taken from it. An item that is there already is replaced.\n"
      "\n"
      "    jq '.level += 1' ann.json | aiocosmos item upsert game players\n" },
    { "item replace", "DB CONTAINER [FILE]", 0, 0, AIOCOSMOS_REPLACE_ITEM, item_write, "replace an item that is there",
      "Reads one JSON document from the file, or from stdin if there is none or it is\n"
      "'-', and prints it as it was stored. If there is no item of its \"id\" and\n"
      "partition key, this fails with 404.\n" },
    { "item get", "DB CONTAINER ID", BIT(OPT_PK), BIT(OPT_PK), AIOCOSMOS_READ_ITEM, item_by_id, "read an item",
      "Prints the item, byte for byte. This is the cheapest way to read one: 1 RU for\n"
      "the first kilobyte.\n"
      "\n"
      "    aiocosmos item get game players ann --pk '\"eu\"'\n"
      "    aiocosmos item get game events 17 --pk '[\"acme\",\"ann\"]'\n" },
    { "item patch", "DB CONTAINER ID", BIT(OPT_PK) | BIT(OPT_OPS), BIT(OPT_PK) | BIT(OPT_OPS), AIOCOSMOS_PATCH_ITEM,
      item_by_id, "change parts of an item",
      "Prints the item as it is then. The operations are add, set, replace, remove,\n"
      "incr and move, at most ten, done all or not at all.\n"
      "\n"
      "    aiocosmos item patch game players ann --pk '\"eu\"' \\\n"
      "        --ops '[{\"op\":\"incr\",\"path\":\"/level\",\"value\":1}]'\n" },
    { "item delete", "DB CONTAINER ID", BIT(OPT_PK), BIT(OPT_PK), AIOCOSMOS_DELETE_ITEM, item_by_id, "delete an item",
      "    aiocosmos item delete game players ann --pk '\"eu\"'\n" },
    { "query", "DB CONTAINER SQL",
        BIT(OPT_PARAM) | BIT(OPT_PK) | BIT(OPT_PAGE_SIZE) | BIT(OPT_PAGES) | BIT(OPT_CONTINUATION) | BIT(OPT_EXPLAIN) |
        BIT(OPT_SESSION_TOKEN), 0, 0, query,
      "ask in SQL",
      "Prints the rows as they arrive, page by page. With --pk one partition is asked,\n"
      "which is cheaper. Without it all are that the query may mean, and their rows are\n"
      "put in order, grouped and counted here.\n"
      "\n"
      "Put values that vary into parameters, not into the text.\n"
      "\n"
      "    aiocosmos query game players 'SELECT * FROM c WHERE c.level > @least' \\\n"
      "        --param @least=42\n"
      "    aiocosmos query game players --pk '\"eu\"' \\\n"
      "        'SELECT TOP 3 c.id FROM c ORDER BY c.level DESC'\n"
      "\n"
      "--explain answers the whole query too, so that it costs the same, but prints\n"
      "the service's plan, the partition key ranges that were asked, what each of them\n"
      "cost, and which indexes were used or would have helped.\n"
      "\n"
      "    aiocosmos query game players --explain \\\n"
      "        'SELECT c.region, COUNT(1) AS players FROM c GROUP BY c.region'\n"
      "\n"
      "With --max-pages, the token to go on with is told at the end; it belongs to the\n"
      "same query with the same parameters and key, on any machine.\n"
      "\n"
      "    aiocosmos query game players 'SELECT * FROM c' --page-size 100 --max-pages 1\n" },
    { "import", "DB CONTAINER FILE",
        BIT(OPT_UPSERT) | BIT(OPT_CONCURRENCY) | BIT(OPT_REJECTS) | BIT(OPT_APPEND_REJECTS) | BIT(OPT_FROM_LINE) | BIT(OPT_GIVE_UP), 0, 0, import, "store every line of a file",
      "Reads one JSON document a line, from a file of any size or, with '-', from a\n"
      "pipe. Each needs an \"id\"; its partition key is taken from it. Blank lines are\n"
      "passed over. Many are in flight at a time, fewer while the service throttles.\n"
      "\n"
      "Whatever is not stored is written to the rejects, one JSON object a line:\n"
      "\"line\" is its number; \"reason\" says why; \"status\" and \"sub_status\" are the\n"
      "service's last answer, 0 if there was none; \"maybe_applied\" is true if the\n"
      "answer was lost, so that it may be stored all the same; \"document\" is the\n"
      "document, or \"text\" the line if it is not JSON. A line over 2 MB is too long to\n"
      "be repeated there.\n"
      "\n"
      "A connection that is lost or refused is tried again. If the server says nothing\n"
      "at all for 30 seconds (--give-up), or refuses 100 lines on end for reasons that\n"
      "are not theirs, such as a wrong key, the import stops instead of rejecting all\n"
      "that is left.\n"
      "\n"
      "Ctrl-C stops the taking of lines, and what is in flight is finished. A second\n"
      "Ctrl-C ends at once, and tells which lines it leaves in doubt. However an import\n"
      "stops, the last line that was taken is told, and how to go on with the next\n"
      "(--from-line; a pipe has to give the same lines again).\n"
      "\n"
      "The last line, on stdout, is a JSON object with the totals: \"ok\", \"failed\",\n"
      "\"retries\", \"ru\", \"seconds\" and \"per_second\". The exit status is 3 if anything\n"
      "was rejected or Ctrl-C was pressed, and 1 if a file failed or the import gave up\n"
      "with nothing rejected.\n"
      "\n"
      "    aiocosmos import game players players.ndjson --rejects bad.ndjson\n"
      "    jq -c 'select(.document).document' bad.ndjson |\n"
      "        aiocosmos import game players - --upsert\n" },
    { "export", "DB CONTAINER", BIT(OPT_PAGE_SIZE) | BIT(OPT_CONCURRENCY), 0, 0, export_items, "print every item",
      "Reads several partition key ranges at a time, so that items come in no order.\n"
      "Each is printed with the properties that the service adds, such as \"_etag\" and\n"
      "\"_ts\". Items that change meanwhile may be seen as they were before or after.\n"
      "--concurrency 1 spares the container's throughput.\n"
      "\n"
      "    aiocosmos export game players > players.ndjson\n" },
    { "changes", "DB CONTAINER",
        BIT(OPT_FROM) | BIT(OPT_FOLLOW) | BIT(OPT_STATE) | BIT(OPT_CONTINUATION) | BIT(OPT_ALL_VERSIONS) | BIT(OPT_PK) |
        BIT(OPT_PAGE_SIZE) | BIT(OPT_SESSION_TOKEN), 0, 0, changes, "print what was created and changed",
      "Prints items that were created or changed, each as it is by now, from the\n"
      "beginning or as --from says; what was deleted is not told. Those of one\n"
      "partition key come in the order of their changes.\n"
      "\n"
      "It ends when there is nothing more now, and tells how to go on from there. With\n"
      "--follow it waits for more; Ctrl-C ends it, with exit status 0. A state that is\n"
      "kept in a file is never ahead of what has been printed, so that each change is\n"
      "printed at least once, also by runs that were broken off.\n"
      "\n"
      "--all-versions prints each change and deletion from now on, if the container has\n"
      "a retention for them: {\"current\":...,\"metadata\":{\"operationType\":...}}.\n"
      "\n"
      "    aiocosmos changes game players --from now --follow\n"
      "    aiocosmos changes game players --state players.state >> players.ndjson\n" }
};

enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

/* Words of a usage line, broken before the last column. */
static void put_word(size_t *column, size_t indent, const char *format, ...)
{
    char word[128];
    va_list arguments;
    size_t len;
    va_start(arguments, format);
    len = (size_t)vsnprintf(word, sizeof word, format, arguments);
    va_end(arguments);
    if (*column + 1 + len > COLUMNS) {
        printf("\n%*s", (int)indent, "");
        *column = indent;
    } else if (*column > 0) {
        putchar(' ');
        ++*column;
    }
    fputs(word, stdout);
    *column += len;
}

static void put_usage(const command *c)
{
    size_t column = (size_t)printf(" "), indent = 6;
    unsigned i;
    put_word(&column, indent, "aiocosmos");
    put_word(&column, indent, "%s", c->name);
    if (*c->operands) put_word(&column, indent, "%s", c->operands);
    for (i = 0; i < OPT_COUNT; i++) {
        bool required = (c->required & BIT(i)) != 0;
        if (!(c->options & BIT(i))) continue;
        put_word(&column, indent, "%s%s%s%s%s%s", required ? "" : "[", options[i].name, options[i].value ? " " : "",
                 options[i].value ? options[i].value : "", required ? "" : "]", i == OPT_PARAM ? "..." : "");
    }
    putchar('\n');
}

static void put_options(unsigned which)
{
    unsigned i;
    for (i = 0; i < OPT_COUNT; i++) {
        const char *line = options[i].text, *end;
        int width = 0;
        if (!(which & BIT(i))) continue;
        width = printf("  %s %s", options[i].name, options[i].value ? options[i].value : "");
        if (width >= OPTION_COLUMN) width = printf("\n") - 1;
        for (; *line; line = *end ? end + 1 : end, width = 0) {
            end = line + strcspn(line, "\n");
            printf("%*s%.*s\n", OPTION_COLUMN - width, "", (int)(end - line), line);
        }
    }
}

/* group NULL: all. */
static void put_commands(const char *group)
{
    unsigned i;
    for (i = 0; i < COMMAND_COUNT; i++)
        if (!group || is_of(&commands[i], group)) printf("  %-18s %s\n", commands[i].name, commands[i].summary);
}

static void help_on_command(const command *c)
{
    printf("aiocosmos %s: %s\n\n", c->name, c->summary);
    put_usage(c);
    printf("\n%s", c->text);
    if (c->options) {
        printf("\nOptions:\n");
        put_options(c->options);
    }
    printf("\nOptions of every command:\n");
    put_options(OPTIONS_OF_ALL);
    printf("\n%s\nExit status:\n%s", text_settings, text_exit);
}

static void help_on_all(const char *group)
{
    printf("aiocosmos %s\n\n  aiocosmos COMMAND [operands] [options]\n\nCommands:\n", about);
    put_commands(group);
    printf("\n'aiocosmos COMMAND --help' tells all about one.\n\n%s\nOptions of every command:\n", text_data);
    put_options(OPTIONS_OF_ALL);
    printf("\n%s\nExit status:\n%s\nExamples:\n%s", text_settings, text_exit, text_examples);
}

/*--- The manual page, from the same texts -----------------------------------*/

/* Characters that troff takes for its own: a hyphen is a minus sign here, and a dot or quote that begins a line a
 * request. */
static void man_line(const char *text, size_t len)
{
    size_t i;
    if (len && (*text == '.' || *text == '\'')) fputs("\\&", stdout);
    for (i = 0; i < len; i++) {
        if (text[i] == '\\') fputs("\\e", stdout);
        else if (text[i] == '-') fputs("\\-", stdout);
        else putchar(text[i]);
    }
    putchar('\n');
}

static void man_text(const char *text)
{
    bool example = false;
    for (; *text; text += strcspn(text, "\n") + 1) {
        size_t len = strcspn(text, "\n");
        bool is_example = strncmp(text, "    ", 4) == 0;
        if (is_example != example) puts(is_example ? ".PP\n.RS 4\n.EX" : ".EE\n.RE");
        if (is_example) man_line(text + 4, len - 4);
        else if (len == 0) puts(".PP");
        else man_line(text, len);
        example = is_example;
    }
    if (example) puts(".EE\n.RE");
}

static void man_options(unsigned which)
{
    unsigned i;
    for (i = 0; i < OPT_COUNT; i++) {
        const char *line = options[i].text, *end;
        const char *value = options[i].value;
        char name[64];
        if (!(which & BIT(i))) continue;
        puts(".TP");
        man_line(name, (size_t)snprintf(name, sizeof name, "%s%s%s", options[i].name, value ? " " : "",
                                        value ? value : ""));
        for (; *line; line = *end ? end + 1 : end) {
            end = line + strcspn(line, "\n");
            man_line(line, (size_t)(end - line));
        }
    }
}

static void man_command(const command *c)
{
    printf(".SS \"aiocosmos %s%s%s\"\n", c->name, *c->operands ? " " : "", c->operands);
    printf("%c%s.\n.PP\n", c->summary[0] - 'a' + 'A', c->summary + 1);
    man_text(c->text);
    man_options(c->options);
}

static void print_manual(void)
{
    unsigned i;
    printf(".TH AIOCOSMOS 1 \"\" \"aiocosmos %d.%d.%d\"\n.SH NAME\naiocosmos \\- %s\n", (int)(AIOCOSMOS_VERSION >> 16),
           (int)(AIOCOSMOS_VERSION >> 8 & 255u), (int)(AIOCOSMOS_VERSION & 255u), about);
    printf(".SH SYNOPSIS\n.B aiocosmos\n.I COMMAND\n[operands] [options]\n.SH DESCRIPTION\n");
    man_text(text_data);
    printf(".SH COMMANDS\n");
    for (i = 0; i < COMMAND_COUNT; i++) man_command(&commands[i]);
    printf(".SH OPTIONS OF EVERY COMMAND\n");
    man_options(OPTIONS_OF_ALL);
    printf(".SH ENVIRONMENT\n");
    man_text(text_settings);
    printf(".SH EXIT STATUS\n");
    man_text(text_exit);
    printf(".SH EXAMPLES\n");
    man_text(text_examples);
}

/*------------------------------------------------------------------------------
 * MARK: - The command line
 *----------------------------------------------------------------------------*/

/* The command of the words so far, if they are one. */
static const command *find_command(const tool *t)
{
    char name[64];
    unsigned i;
    snprintf(name, sizeof name, "%s%s%s", t->word[0], t->words > 1 ? " " : "", t->words > 1 ? t->word[1] : "");
    for (i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static bool is_group(const char *word)
{
    unsigned i;
    for (i = 0; i < COMMAND_COUNT; i++)
        if (is_of(&commands[i], word)) return true;
    return false;
}

/*--- What was meant instead -------------------------------------------------*/

/* How many letters have to be added, left out or replaced to make one text of the other. */
static size_t distance(const char *a, size_t a_len, const char *b)
{
    size_t row[32], b_len = strlen(b), i, k;
    if (b_len >= sizeof row / sizeof *row) return SIZE_MAX;
    for (k = 0; k <= b_len; k++) row[k] = k;
    for (i = 0; i < a_len; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (k = 0; k < b_len; k++) {
            size_t changed = corner + (a[i] != b[k]), least = row[k] < row[k + 1] ? row[k] : row[k + 1];
            corner = row[k + 1];
            row[k + 1] = changed < least + 1 ? changed : least + 1;
        }
    }
    return row[b_len];
}

/* "pk" and "partition" are short for "partition-key". */
static bool is_short_for(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t i, count = 0;
    if (a_len < 2 || a_len > b_len) return false;
    if (memcmp(a, b, a_len) == 0) return true;
    for (i = 0; i < b_len; i++) {
        if (i && b[i - 1] != '-') continue;
        if (count == a_len || a[count++] != b[i]) return false;
    }
    return count == a_len;
}

/* How far a name is from what was typed; SIZE_MAX: too far to have been meant. */
static size_t farness(const char *typed, size_t len, const char *name)
{
    size_t far;
    if (is_short_for(typed, len, name, strlen(name)) || is_short_for(name, strlen(name), typed, len)) return 0;
    far = distance(typed, len, name);
    return far <= 1 + len / 4 && far < len ? far : SIZE_MAX;
}

/* The option of this command, or of any while there is none, that was probably meant; NULL: no idea. */
static const char *nearest_option(const tool *t, const char *typed, size_t len)
{
    unsigned among = t->command ? t->command->options | OPTIONS_OF_ALL : ~0u, i;
    size_t best = SIZE_MAX;
    const char *name = NULL;
    if (len < 3 || memcmp(typed, "--", 2) != 0) return NULL;
    for (i = 0; i < OPT_COUNT; i++) {
        size_t far = among & BIT(i) ? farness(typed + 2, len - 2, options[i].name + 2) : SIZE_MAX;
        if (far >= best) continue;
        best = far;
        name = options[i].name;
    }
    return name;
}

/* The same of commands: of those of a group, their second word. Returns the whole name. */
static const char *nearest_command(const char *group, const char *typed)
{
    size_t best = SIZE_MAX;
    const char *name = NULL;
    unsigned i;
    for (i = 0; i < COMMAND_COUNT; i++) {
        char word[32];
        const char *from = commands[i].name;
        size_t far;
        if (group && !is_of(&commands[i], group)) continue;
        if (group) from += strlen(group) + 1;
        snprintf(word, sizeof word, "%.*s", (int)strcspn(from, " "), from);
        far = farness(typed, strlen(typed), word);
        if (far >= best) continue;
        best = far;
        name = commands[i].name;
    }
    return name;
}

static int no_such_command(tool *t)
{
    const char *meant;
    if (t->words == 0) {
        say(t, "a command is missing");
        return see_help(t);
    }
    if (!is_group(t->word[0])) {
        meant = nearest_command(NULL, t->word[0]);
        say(t, "there is no command '%s'%s%.*s%s", t->word[0], meant ? ": did you mean '" : "",
            meant ? (int)strcspn(meant, " ") : 0, meant ? meant : "", meant ? "'?" : "");
        return see_help(t);
    }
    meant = t->words > 1 ? nearest_command(t->word[0], t->word[1]) : NULL;
    if (t->words == 1) say(t, "'%s' is followed by what to do", t->word[0]);
    else say(t, "there is no command '%s %s'%s%s%s", t->word[0], t->word[1], meant ? ": did you mean '" : "",
             meant ? meant : "", meant ? "'?" : "");
    fprintf(stderr, "Try 'aiocosmos %s --help'.\n", t->word[0]);
    return EXIT_USAGE;
}

static bool no_such_option(tool *t, const char *typed, size_t len)
{
    const char *meant = nearest_option(t, typed, len);
    say(t, "%s%s no option %.*s%s%s%s", t->command ? t->command->name : "there", t->command ? " has" : " is", (int)len,
        typed, meant ? ": did you mean " : "", meant ? meant : "", meant ? "?" : "");
    return false;
}

static bool take_operand(tool *t, const char *text)
{
    if (!t->command && t->words == 0 && strcmp(text, "help") == 0 && !t->help) {
        t->help = true;
    } else if (!t->command) {
        if (t->words == 2) return true;    /* no such command: said in the end */
        t->word[t->words++] = text;
        t->command = find_command(t);
    } else if (t->operands == OPERANDS_MAX) {
        say(t, "'%s' is one operand too many", text);
        return false;
    } else {
        t->operand[t->operands++] = text;
    }
    return true;
}

/* An option, "--name value" or "--name=value"; *next is the argument behind it, or NULL. */
static bool take_option(tool *t, char *text, char **next)
{
    char *equals = strchr(text, '=');
    size_t len = equals ? (size_t)(equals - text) : strlen(text);
    unsigned i = 0;
    char *value;
    if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) return t->help = true;
    while (i < OPT_COUNT && (strlen(options[i].name) != len || memcmp(options[i].name, text, len) != 0)) i++;
    if (i == OPT_COUNT) return no_such_option(t, text, len);
    if (!options[i].value && equals) return say(t, "%s takes no value", options[i].name), false;
    value = equals ? equals + 1 : "";
    if (options[i].value && !equals) {
        if (!*next) return say(t, "%s: %s is missing behind it", options[i].name, options[i].value), false;
        value = *next;
        *next = NULL;                      /* it is used */
    }
    if (i == OPT_PARAM) t->params[t->param_count++] = value;
    else if (t->option[i]) return say(t, "%s is given twice", options[i].name), false;
    t->option[i] = value;
    return true;
}

static bool parse_arguments(tool *t, int argc, char **argv)
{
    bool options_end = false;
    int i;
    for (i = 1; i < argc; i++) {
        char *next = i + 1 < argc ? argv[i + 1] : NULL;
        bool had_next = next != NULL;
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (options_end || argv[i][0] != '-' || !argv[i][1]) {
            if (!take_operand(t, argv[i])) return false;
        } else {
            if (!take_option(t, argv[i], &next)) return false;
            if (had_next && !next) i++;
        }
    }
    return true;
}

/* The name of the operand that comes next, and whether it may be left out. False: there is none. */
static bool operand_name(const command *c, int number, char *name, size_t cap, bool *optional)
{
    const char *at = c->operands;
    size_t len;
    for (; number > 0 && *at; number--) {
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    if (!*at) return false;
    *optional = *at == '[';
    at += *optional;
    len = strcspn(at, " ]");
    snprintf(name, cap, "%.*s", (int)len, at);
    return true;
}

/* That operands and options are those of the command. */
static bool check_arguments(tool *t)
{
    const command *c = t->command;
    char name[32];
    bool optional;
    unsigned i;
    if (operand_name(c, t->operands, name, sizeof name, &optional) && !optional)
        return say(t, "%s: %s is missing", c->name, name), false;
    if (t->operands > 0 && !operand_name(c, t->operands - 1, name, sizeof name, &optional))
        return say(t, "%s: '%s' is one operand too many", c->name, t->operand[t->operands - 1]), false;
    for (i = 0; i < OPT_COUNT; i++)
        if (t->option[i] && !((c->options | OPTIONS_OF_ALL) & BIT(i)))
            return no_such_option(t, options[i].name, strlen(options[i].name));
    for (i = 0; i < OPT_COUNT; i++)
        if (!t->option[i] && (c->required & BIT(i)))
            return say(t, "%s: %s %s is missing", c->name, options[i].name, options[i].value), false;
    return true;
}

/*------------------------------------------------------------------------------
 * MARK: - The account
 *----------------------------------------------------------------------------*/

/* A variable of the environment; an empty one is none. */
static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool is_local(const char *endpoint)
{
    const char *host = strstr(endpoint, "://");
    if (!host) return false;
    host += 3;
    return strncmp(host, "localhost", 9) == 0 || strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0;
}

/* Which account: what is given here, else what the environment says, else the local emulator. */
static bool choose_account(tool *t, aiocosmos_options *o)
{
    static const char variable[] = "AIOCOSMOS_CONNECTION_STRING";
    o->connection_string = t->option[OPT_CONNECTION_STRING];
    if (o->connection_string && (has(t, OPT_ENDPOINT) || has(t, OPT_KEY)))
        return say(t, "--connection-string names endpoint and key: leave --endpoint and --key away"), false;
    if (!o->connection_string && !has(t, OPT_ENDPOINT)) o->connection_string = setting(variable);
    if (o->connection_string) {
        t->endpoint_from = has(t, OPT_CONNECTION_STRING) ? options[OPT_CONNECTION_STRING].name : variable;
        t->key_from = t->endpoint_from;
        if (has(t, OPT_KEY))
            return say(t, "--key is given without --endpoint, and %s names another key", variable), false;
        return true;
    }
    o->endpoint = has(t, OPT_ENDPOINT) ? t->option[OPT_ENDPOINT] : setting("AIOCOSMOS_ENDPOINT");
    o->key = has(t, OPT_KEY) ? t->option[OPT_KEY] : setting("AIOCOSMOS_KEY");
    if (o->endpoint) t->endpoint_from = has(t, OPT_ENDPOINT) ? options[OPT_ENDPOINT].name : "AIOCOSMOS_ENDPOINT";
    if (o->key) t->key_from = has(t, OPT_KEY) ? options[OPT_KEY].name : "AIOCOSMOS_KEY";
    t->local_by_default = !o->endpoint;
    if (!o->endpoint) o->endpoint = "http://localhost:8081";
    if (!o->key && is_local(o->endpoint)) o->key = AIOCOSMOS_EMULATOR_KEY;
    if (!o->key) say(t, "the account's key is missing: set AIOCOSMOS_KEY, or give --key KEY");
    return o->key != NULL;
}

static bool read_ca(tool *t, aiocosmos_options *o)
{
    const size_t cap = (size_t)4 << 20;
    if (!has(t, OPT_CA)) return true;
    t->ca = malloc(cap);
    if (!t->ca || !read_all(t, t->option[OPT_CA], t->ca, cap, &o->trust_pem_len)) return false;
    o->trust_pem = t->ca;
    if (o->trust_pem_len == 0) say(t, "--ca %s: the file is empty", t->option[OPT_CA]);
    return o->trust_pem_len > 0;
}

static bool read_timeout(tool *t, aiocosmos_options *o)
{
    const char *text = t->option[OPT_TIMEOUT];
    char *end;
    double seconds;
    if (!text) return true;
    seconds = strtod(text, &end);
    if (end == text || *end || !(seconds >= 0.001 && seconds <= 1e6))
        return say(t, "--timeout %s: a number of seconds is expected", text), false;
    o->request_timeout_ms = (uint32_t)(seconds * 1000.0);
    return true;
}

/* The library says which of its options is wrong; people want to know what they have set wrongly. */
static void say_wrong_setting(tool *t, const char *why)
{
    const char *rest = strchr(why, ':'), *from = NULL;
    size_t len = rest ? (size_t)(rest - why) : 0;
    if (len == 17 && memcmp(why, "connection_string", len) == 0) from = t->endpoint_from;
    if (len == 8 && memcmp(why, "endpoint", len) == 0) from = t->endpoint_from;
    if (len == 3 && memcmp(why, "key", len) == 0) from = t->key_from;
    if (from) say(t, "%s%s", from, rest);
    else say(t, "%s", why);
    if (strstr(why, "allow_http")) fputs("--insecure allows it, for an emulator on another machine.\n", stderr);
    if (strstr(why, "trust_pem") && !has(t, OPT_CA))
        fputs("The package ca-certificates has the usual ones; --ca FILE names others, in PEM.\n", stderr);
}

/* Returns the exit status. */
static int open_client(tool *t)
{
    aiocosmos_options o = {0};
    char why[256];
    long concurrency = 0;
    if (!choose_account(t, &o) || !read_ca(t, &o) || !read_timeout(t, &o) ||
        !number_of(t, OPT_CONCURRENCY, 1, CONCURRENCY_MAX, &concurrency)) return see_help(t);
    o.insecure = o.allow_http = has(t, OPT_INSECURE);
    o.user_agent = "aiocosmos-tool";
    /* To repeat an upsert, or a create under its own id, does no harm: the library says if it may have been the
     * second. */
    o.retry_writes = t->command->run == import;
    if (o.retry_writes) o.retries_max = IMPORT_RETRIES;
    if (t->command->run == export_items) o.throttle_wait_ms = AIOCOSMOS_OFF;     /* it has time: see --timeout */
    o.connections_max = (uint32_t)concurrency;
    o.pending_max = CONCURRENCY_MAX + 24;
    if (aiocosmos_create(&o, &t->client, why, sizeof why) == 0) return EXIT_DONE;
    say_wrong_setting(t, why);
    return see_help(t);
}

static int run(tool *t, int argc, char **argv)
{
    int status;
    if (!parse_arguments(t, argc, argv)) return see_help(t);
    if (t->help && (t->command || t->words == 0 || is_group(t->word[0]))) {
        if (t->command) help_on_command(t->command);
        else help_on_all(t->words ? t->word[0] : NULL);
        return EXIT_DONE;
    }
    if (!t->command) return no_such_command(t);
    if (!check_arguments(t)) return see_help(t);
    status = open_client(t);
    if (status == EXIT_DONE) status = t->command->run(t);
    aiocosmos_destroy(t->client);
    return status;
}

/* Where stdin, stdout or stderr are closed, a socket would get their number, and our output. What stands in for them
 * fails when it is used. */
static void hold_standard_descriptors(void)
{
    int fd;
    for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0) (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
    tool t = {0};
    int status;
    hold_standard_descriptors();
    clock_gettime(CLOCK_MONOTONIC, &t.started);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("aiocosmos %d.%d.%d\n", (int)(AIOCOSMOS_VERSION >> 16), (int)(AIOCOSMOS_VERSION >> 8 & 255u),
               (int)(AIOCOSMOS_VERSION & 255u));
        return EXIT_DONE;
    }
    if (argc == 2 && strcmp(argv[1], "--man") == 0) return print_manual(), EXIT_DONE;      /* for `make install` */
    t.params = calloc((size_t)argc, sizeof *t.params);
    if (!t.params) return EXIT_REFUSED;
    status = run(&t, argc, argv);
    free(t.params);
    free(t.ca);
    return status;
}
