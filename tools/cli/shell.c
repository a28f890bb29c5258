/* shell.c: the same commands, one after the other. Each runs in a process of its own, as if it had been typed after
 * `aiocosmos`, with the account of the shell; the shell's own client only looks names up. */
#include "shell.h"
#include "editor.h"
#include "io.h"
#include "profile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS_MAX = 256, LOOK_UP_MS = 5000 };

typedef struct words {
    char text[LINE_BYTES];
    char *word[WORDS_MAX + 1];
    size_t count;
    bool open;                             /* a quote is not closed */
} words;

/*--- Words --------------------------------------------------------------------*/

/* As a shell cuts them: blanks, '...', "..." and '\'. */
static void cut_words(words *w, const char *line, size_t len)
{
    char *to = w->text, quote = 0;
    bool inside = false;
    size_t i;
    w->count = 0;
    for (i = 0; i < len; i++) {
        char c = line[i];
        bool escapes = c == '\\' && quote != '\'' && i + 1 < len && (!quote || strchr("\"\\", line[i + 1]));
        if (!quote && (c == ' ' || c == '\t')) {
            if (inside) *to++ = 0;
            inside = false;
            continue;
        }
        if (!inside && w->count == WORDS_MAX) break;
        if (!inside) w->word[w->count++] = to;
        inside = true;
        if (quote ? c == quote : c == '\'' || c == '"') quote = quote ? 0 : c;
        else if (escapes) *to++ = line[++i];
        else *to++ = c;
    }
    *to = 0;
    w->word[w->count] = NULL;
    w->open = quote != 0;
}

/*--- Completion ---------------------------------------------------------------*/

typedef struct look_up {
    candidates *out;
    const char *prefix;
    bool more;
} look_up;

static void offer(candidates *out, const char *name, const char *prefix)
{
    char *kept;
    size_t i;
    if (strncmp(name, prefix, strlen(prefix)) != 0 || out->count == CANDIDATES_MAX) return;
    for (i = 0; i < out->count; i++)
        if (strcmp(out->names[i], name) == 0) return;
    kept = malloc(strlen(name) + 1);
    if (!kept) return;
    strcpy(kept, name);
    out->names[out->count++] = kept;
}

/* Can be typed as it is, and does nothing to the terminal that it is shown on: no control character, of C1 neither. */
static bool is_plain(const char *name, size_t len)
{
    size_t i;
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c <= ' ' || c == 0x7F || strchr("'\"\\", c)) return false;
        if (c == 0xC2 && (unsigned char)name[i + 1] < 0xA0) return false;
    }
    return true;
}

static void take_names(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    look_up *l = user_data;
    aiocosmos_json row = {0};
    char name[1024];
    size_t len;
    (void)client;
    l->more = page->more && page->status == 0;
    if (page->status != 0) return;
    while (aiocosmos_json_next(page->items, NULL, &row)) {
        len = aiocosmos_json_get_str(aiocosmos_json_at(row, "/id"), name, sizeof name);
        if (len < sizeof name && is_plain(name, len)) offer(l->out, name, l->prefix);
    }
}

/* Names of databases, or of the containers of one. Where they cannot be had, there are none to offer. */
static void offer_names(tool *t, const char *database, const char *prefix, candidates *out)
{
    aiocosmos_query_request request = {0};
    aiocosmos_cursor cursor;
    look_up l = { out, prefix, true };
    int refused;
    request.feed = database ? AIOCOSMOS_FEED_CONTAINERS : AIOCOSMOS_FEED_DATABASES;
    request.database = database;
    refused = aiocosmos_query_open(t->client, &request, &cursor);
    if (refused != 0) return;
    while (refused == 0 && l.more) {
        refused = aiocosmos_cursor_next(t->client, cursor, take_names, &l);
        if (refused == 0 && aiocosmos_drain(t->client, LOOK_UP_MS) != 0) {
            aiocosmos_cursor_forget(t->client, cursor);
            return;
        }
    }
    aiocosmos_cursor_close(t->client, cursor);
}

static void offer_commands(const tool *t, const words *w, const char *prefix, candidates *out)
{
    char word[32];
    unsigned i;
    for (i = 0; i < t->command_count; i++) {
        const char *from = t->commands[i].name;
        if (w->count == 1 && !is_of(&t->commands[i], w->word[0])) continue;
        if (w->count == 1) from += strlen(w->word[0]);
        if (w->count == 1 && *from++ != ' ') continue;
        snprintf(word, sizeof word, "%.*s", (int)strcspn(from, " "), from);
        offer(out, word, prefix);
    }
    if (w->count == 0) offer(out, "help", prefix);
    if (w->count == 0) offer(out, "exit", prefix);
}

/* The command that the words begin with, and how many of them it has. */
static const command *command_of(const tool *t, const words *w, size_t *used)
{
    char name[64];
    unsigned i;
    for (*used = 2; *used > 0; --*used) {
        if (w->count < *used) continue;
        snprintf(name, sizeof name, "%s%s%s", w->word[0], *used > 1 ? " " : "", *used > 1 ? w->word[1] : "");
        for (i = 0; i < t->command_count; i++)
            if (strcmp(t->commands[i].name, name) == 0) return &t->commands[i];
    }
    return NULL;
}

static void offer_options(const command *c, const char *prefix, candidates *out)
{
    unsigned i;
    for (i = 0; i < OPT_COUNT; i++)
        if ((c->options | OPTIONS_OF_ALL) & BIT(i)) offer(out, options[i].name, prefix);
}

static bool is_operand(const char *names, size_t number, const char *name)
{
    size_t len;
    for (; number > 0; number--) {
        names += strcspn(names, " ");
        names += strspn(names, " ");
    }
    names += *names == '[';
    len = strcspn(names, " ]");
    return strlen(name) == len && memcmp(names, name, len) == 0;
}

static void complete(void *user_data, const char *line, size_t len, size_t *begin, candidates *out)
{
    static words w;
    tool *t = user_data;
    const command *c;
    const char *prefix = line + len, *database = NULL;
    char last[LINE_BYTES];
    size_t used, number;
    while (prefix > line && prefix[-1] != ' ') prefix--;
    *begin = (size_t)(prefix - line);
    snprintf(last, sizeof last, "%.*s", (int)(len - *begin), prefix);
    cut_words(&w, line, *begin);
    if (w.open) return;
    c = command_of(t, &w, &used);
    if (!c) {
        if (w.count < 2) offer_commands(t, &w, last, out);
        return;
    }
    if (last[0] == '-') {
        offer_options(c, last, out);
        return;
    }
    number = w.count - used;               /* options stand behind the operands, mostly */
    if (number > 0 && is_operand(c->operands, number - 1, number == 3 ? "TO_DB" : "DB"))
        database = w.word[used + number - 1];
    if (is_operand(c->operands, number, "DB") || is_operand(c->operands, number, "TO_DB") ||
        (is_of(c, "db") && number == 0 && is_operand(c->operands, 0, "ID"))) offer_names(t, NULL, last, out);
    else if (database && (is_of(c, "container") || is_operand(c->operands, number, "CONTAINER") ||
                          is_operand(c->operands, number, "TO_CONTAINER"))) offer_names(t, database, last, out);
}

/*--- Commands -----------------------------------------------------------------*/

/* What only reads, and may be long. */
static bool is_paged(const words *w)
{
    static const char *const readers[] = { "query", "export", "changes", "help", "account" };
    size_t i;
    if (w->count > 1 && (strcmp(w->word[1], "list") == 0 || strcmp(w->word[1], "show") == 0 ||
                         strcmp(w->word[1], "get") == 0 || strcmp(w->word[1], "describe") == 0)) return true;
    for (i = 0; i < sizeof readers / sizeof *readers; i++)
        if (strcmp(w->word[0], readers[i]) == 0) return true;
    return false;
}

/* Stdout goes through PAGER, or less where it is there. Returns its process; < 0: there is none. */
static pid_t begin_pager(void)
{
    const char *pager = getenv("PAGER");
    int ends[2];
    pid_t child;
    if (!isatty(STDOUT_FILENO) || pipe(ends) != 0) return -1;
    fflush(stdout);
    child = fork();
    if (child == 0) {
        dup2(ends[0], STDIN_FILENO);
        close(ends[0]);
        close(ends[1]);
        signal(SIGINT, SIG_IGN);
        if (!pager || !*pager) pager = "if command -v less >/dev/null 2>&1; then exec less -FRX; fi; exec cat";
        execl("/bin/sh", "sh", "-c", pager, (char *)NULL);
        _exit(127);
    }
    if (child > 0) dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    return child;
}

static void end_pager(pid_t pager)
{
    fflush(stdout);
    close(STDOUT_FILENO);                  /* it sees the end, and we wait until it has been read */
    while (waitpid(pager, NULL, 0) < 0 && errno == EINTR) continue;
}

/* In the child: as from the command line, with the shell's account unless another is named. */
static int run_words(const tool *t, words *w)
{
    static tool own;                       /* zeroed */
    pid_t pager;
    char *arguments[WORDS_MAX + 2];
    int status, i;
    pager = is_paged(w) ? begin_pager() : -1;
    own.paged = pager > 0;
    own.shell = t;
    arguments[0] = (char *)(uintptr_t)"aiocosmos";
    for (i = 0; i <= (int)w->count; i++) arguments[i + 1] = w->word[i];
    status = t->run_words(&own, (int)w->count + 1, arguments);
    if (pager > 0) end_pager(pager);
    return status;
}

static int run_line(const tool *t, words *w)
{
    int status = 0;
    pid_t child;
    fflush(NULL);
    child = fork();
    if (child < 0) return EXIT_REFUSED;
    if (child == 0) {
        signal(SIGINT, SIG_DFL);
        exit(run_words(t, w));
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_REFUSED;
}

/* A line that names a key is not written down. */
static bool is_secret(const char *line)
{
    return strstr(line, "--key") || strstr(line, "--token") || strstr(line, "AccountKey") || strstr(line, "--to-key");
}

static void read_history(editor *e, const char *path)
{
    static char line[LINE_BYTES];
    FILE *from = fopen(path, "r");
    while (from && fgets(line, sizeof line, from)) {
        line[strcspn(line, "\n")] = 0;
        editor_remember(e, line);
    }
    if (from) fclose(from);
}

static void write_history(const editor *e, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *to = fd >= 0 ? fdopen(fd, "w") : NULL;
    size_t i;
    for (i = 0; to && i < e->history_count; i++)
        if (!is_secret(e->history[i])) fprintf(to, "%s\n", e->history[i]);
    if (to) fclose(to);
}

int shell(tool *t)
{
    static editor e;                       /* zeroed */
    static words w;
    char prompt[300], path[4096];
    bool terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    int status = EXIT_DONE;
    e.complete = complete;
    e.user_data = t;
    snprintf(prompt, sizeof prompt, "%s> ", t->host);
    if (!terminal || !config_file(t, ".history", path, sizeof path)) path[0] = 0;
    if (path[0]) read_history(&e, path);
    signal(SIGINT, SIG_IGN);               /* it is for the command that runs */
    while (editor_read(&e, prompt)) {
        cut_words(&w, e.line, e.len);
        if (w.count == 0 || w.word[0][0] == '#') continue;
        editor_remember(&e, e.line);
        if (strcmp(w.word[0], "exit") == 0 || strcmp(w.word[0], "quit") == 0) break;
        if (w.open) say(t, "a quote is not closed");
        status = w.open ? EXIT_USAGE : run_line(t, &w);
    }
    if (path[0]) write_history(&e, path);
    editor_free(&e);
    return terminal ? EXIT_DONE : status;
}
