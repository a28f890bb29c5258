/* main.c: the command-line tool: databases, containers, items, queries, changes, import and export. It uses
 * the public half of aiocosmos.h only, and is the library's first customer.
 *
 * Data goes to stdout, one JSON document a line; whatever is for people goes to stderr. */
#define AIOCOSMOS_IMPLEMENTATION
#include "account.h"
#include "completion.h"
#include "help.h"
#include "io.h"
#include "shell.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The command of the words so far, if they are one. */
static const command *find_command(const tool *t)
{
    char name[64];
    unsigned i;
    snprintf(name, sizeof name, "%s%s%s", t->word[0], t->words > 1 ? " " : "", t->words > 1 ? t->word[1] : "");
    for (i = 0; i < command_count; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static bool is_group(const char *word)
{
    unsigned i;
    for (i = 0; i < command_count; i++)
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
    uint64_t among = t->command ? t->command->options | OPTIONS_OF_ALL : UINT64_MAX;
    unsigned i;
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

/* The same of commands: of those of a group, their second word; else their first or, where none is near, the very
 * second one. Returns the whole name. */
static const char *nearest_command(const char *group, const char *typed)
{
    size_t best = SIZE_MAX;
    const char *name = NULL;
    unsigned i;
    for (i = 0; i < command_count; i++) {
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
    for (i = 0; !group && !name && i < command_count; i++) {
        const char *second = strchr(commands[i].name, ' ');
        if (second && strcmp(second + 1, typed) == 0) name = commands[i].name;
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
        size_t len;
        meant = nearest_command(NULL, t->word[0]);
        len = meant ? strcspn(meant, " ") : 0;
        if (len && meant[len] && strcmp(meant + len + 1, t->word[0]) == 0) len = strlen(meant);
        say(t, "there is no command '%s'%s%.*s%s", t->word[0], meant ? ": did you mean '" : "", (int)len,
            meant ? meant : "", meant ? "'?" : "");
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
    int number, needed = 0;
    for (number = 0; operand_name(c, number, name, sizeof name, &optional); number++)
        if (!optional && ++needed > t->operands) return say(t, "%s: %s is missing", c->name, name), false;
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

/* Of the shell, where none is named. */
static void take_account(tool *t)
{
    unsigned i;
    if (!t->shell || has(t, OPT_CONNECTION_STRING) || has(t, OPT_PROFILE) || has(t, OPT_ENDPOINT)) return;
    for (i = 0; i < OPT_COUNT; i++)
        if ((OPTIONS_OF_ALL & BIT(i)) && !t->option[i]) t->option[i] = t->shell->option[i];
}

/* One command, of the arguments behind the first. */
static int run(tool *t, int argc, char **argv)
{
    int status;
    clock_gettime(CLOCK_MONOTONIC, &t->started);
    t->run_words = run;
    t->commands = commands;
    t->command_count = command_count;
    t->params = calloc((size_t)argc, sizeof *t->params);
    if (!t->params) return EXIT_REFUSED;
    if (!parse_arguments(t, argc, argv)) return see_help(t);
    take_account(t);
    if (t->help && (t->command || t->words == 0 || is_group(t->word[0]))) {
        if (t->command) help_on_command(t->command);
        else help_on_all(t->words ? t->word[0] : NULL);
        return stdout_works(t) ? EXIT_DONE : EXIT_REFUSED;
    }
    if (!t->command) return no_such_command(t);
    if (!check_arguments(t)) return see_help(t);
    if (t->shell && t->command->run == shell) return say(t, "this is the shell"), EXIT_USAGE;
    status = t->command->kind == COMMAND_LOCAL ? EXIT_DONE : open_client(t);
    if (status == EXIT_DONE) status = t->command->run(t);
    aiocosmos_destroy(t->client);
    return status;
}

/* What the tool has to say of itself. False: it is asked for something else. */
static bool tell(const char *what)
{
    if (strcmp(what, "--version") == 0)
        printf("aiocosmos %d.%d.%d\n", (int)(AIOCOSMOS_VERSION >> 16), (int)(AIOCOSMOS_VERSION >> 8 & 255u),
               (int)(AIOCOSMOS_VERSION & 255u));
    else if (strcmp(what, "--man") == 0) print_manual();   /* for `make install` */
    else if (strcmp(what, "--completion") == 0) print_completion(commands, command_count);
    else return false;
    return true;
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
    if (argc == 2 && tell(argv[1])) return stdout_works(&t) ? EXIT_DONE : EXIT_REFUSED;
    status = run(&t, argc, argv);
    free(t.params);
    free(t.values);
    free(t.ca);
    return status;
}
