/* tool.h: what every command of the tool has: its options, and how it speaks to people. */
#ifndef CLI_TOOL_H
#define CLI_TOOL_H

#include "aiocosmos.h"

#include <stdbool.h>
#include <time.h>

enum { COMMAND_LOCAL = -1 };               /* the kind of one that asks no account */

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_INCOMPLETE = 3 };

enum {
    OPERANDS_MAX = 4,
    CONCURRENCY_MAX = 1000,
    LINK_BYTES = 4096,                     /* names of a database and a container have at most 255 characters */
    TICK_MS = 100                          /* between two looks of the progress bar */
};

typedef enum option_id {
    OPT_CONNECTION_STRING, OPT_ENDPOINT, OPT_KEY, OPT_KEY_FILE, OPT_TOKEN, OPT_PROFILE, OPT_CA, OPT_INSECURE,
    OPT_TIMEOUT,
    OPT_PARTITION_KEY, OPT_THROUGHPUT, OPT_AUTOSCALE, OPT_TTL, OPT_IF_NOT_EXISTS, OPT_PK, OPT_OPS, OPT_PARAM,
    OPT_PAGE_SIZE, OPT_PAGES, OPT_CONTINUATION, OPT_EXPLAIN, OPT_FROM, OPT_FOLLOW, OPT_STATE, OPT_ALL_VERSIONS,
    OPT_SESSION_TOKEN, OPT_UPSERT, OPT_CONCURRENCY, OPT_REJECTS, OPT_APPEND_REJECTS, OPT_FROM_LINE, OPT_GIVE_UP,
    OPT_YES, OPT_WHERE, OPT_IF_MATCH, OPT_QUERY, OPT_TO_CONNECTION_STRING, OPT_TO_ENDPOINT, OPT_TO_KEY,
    OPT_FROM_ELEMENT, OPT_CSV, OPT_TABLE, OPT_SAMPLE, OPT_SINGLE, OPT_RU, OPT_PRIORITY,
    OPT_PROCESSOR, OPT_LEASES, OPT_WORKER, OPT_DELETE, OPT_WITH, OPT_ON, OPT_MODE,
    OPT_EXPIRY, OPT_TYPE, OPT_OPERATION, OPT_BACKGROUND,
    OPT_COUNT
} option_id;

#define BIT(option) ((uint64_t)1 << (option))
#define OPTIONS_OF_ALL (BIT(OPT_PARTITION_KEY) - 1u)
#define OPTIONS_OF_THROUGHPUT (BIT(OPT_THROUGHPUT) | BIT(OPT_AUTOSCALE))

typedef struct option_info {
    const char *name, *value;              /* value NULL: a switch */
    const char *text;
} option_info;

extern const option_info options[OPT_COUNT];

typedef struct tool tool;

typedef struct command {
    const char *name;                      /* one word, or two */
    const char *operands;                  /* those in brackets may be left out */
    uint64_t options, required;
    int kind;                              /* aiocosmos_kind, where several commands are done by one function */
    int (*run)(tool *t);                   /* returns the exit status */
    void (*prepare)(aiocosmos_options *o); /* sets what its client needs otherwise than others; may be NULL */
    const char *summary;
    const char *text;                      /* paragraphs; lines that begin with four blanks are examples */
} command;

/* What the commands of a group are about, where that is neither database, container nor item. */
typedef struct resource_info {
    const char *group, *noun;
    aiocosmos_feed feed;
} resource_info;

struct tool {
    const command *command;
    const char *word[2];                   /* of the command, as given */
    int words;
    const char *operand[OPERANDS_MAX];
    int operands;
    char link[LINK_BYTES];                 /* of the container that they name; empty: not needed so far */
    const char *option[OPT_COUNT];         /* its value, "" of a switch, NULL if not given */
    char **params;                         /* the values of --param */
    size_t param_count;
    aiocosmos_param *values;               /* the same, read */
    bool help;
    bool local_by_default;                 /* no account was named anywhere */
    const char *endpoint_from, *key_from;  /* the options or variables that named them; NULL: none did */
    bool reading_definition;               /* of the container, before anything is done in it */
    bool item_failed;                      /* one of several, and the library's message says which */
    aiocosmos_client *client;
    char host[280];                        /* of the account, with its port: what is to be deleted is deleted there */
    char *ca;                              /* the text of --ca */
    size_t ca_len;
    char key[4096];                        /* of --key-file */
    char profile[4096];                    /* the connection string of --profile */
    struct timespec started;
    bool paged;                            /* stdout goes to a pager on the terminal */
    const tool *shell;                     /* that runs this: its account is ours, unless another is named */
    int (*run_words)(tool *t, int argc, char **argv);
    const command *commands;               /* all that there are */
    unsigned command_count;
    bool progress_shown;                   /* a line on the terminal, to be wiped before anything else is printed */
};

bool has(const tool *t, option_id option);
/* A whole number between two others; as it was where the option is not given. False: said what is wrong. */
bool number_of(tool *t, option_id option, long min, long max, long *out);
bool is_of(const command *c, const char *group);           /* "db list" is of "db" */
const resource_info *resource_of(const command *c);        /* NULL: of none */

double seconds_since(struct timespec then);
void   wipe_progress(tool *t);
void   say(tool *t, const char *format, ...);
/* A text of the library: where that names its fields, what the user of the tool can give stands instead. */
void   say_text(const char *text, size_t len);
/* Wrong usage: what is wrong has been said; this is where to read on. */
int    see_help(tool *t);
void   say_failure(tool *t, const aiocosmos_result *result);
/* The library would not take a call, and sent nothing. */
int    say_refusal(tool *t, int status);
/* Whether confirm() will ask. */
bool   asks(const tool *t);
/* Before something is deleted: where, and, on a terminal, whether it is really meant: its name is to be typed. */
bool   confirm(tool *t, const char *what, const char *name);
/* The last line of a command: what it cost. */
void   say_cost(tool *t, const char *what);

#endif
