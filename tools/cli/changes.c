/* changes.c: what was created and changed in a container. */
#include "changes.h"
#include "io.h"
#include "request.h"
#include "rows.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

enum {
    CHANGES_PAUSE_MS = 100,                /* after which changes are asked for again; doubled each time in vain */
    CHANGES_PAUSE_MAX_MS = 5000
};

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

int changes(tool *t)
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
