/* changes.c: what was created and changed in a container. */
#include "changes.h"
#include "interrupt.h"
#include "io.h"
#include "processor.h"
#include "request.h"
#include "rows.h"
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHANGES_PAUSE_MS = 100,                /* after which changes are asked for again; doubled each time in vain */
    CHANGES_PAUSE_MAX_MS = 5000
};

typedef struct follower {
    feed rows;
    char *state;                           /* behind the last page printed; NULL: nothing has been heard yet */
    bool nothing_now;
} follower;

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
    if (!same && has(t, OPT_STATE) && !write_state(t, state)) w->rows.status = EXIT_REFUSED;
}

static void print_changes(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    follower *w = user_data;
    (void)client;
    if (was_interrupted() && page->result->status == AIOCOSMOS_E_CANCELLED) return;
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
    while (!was_interrupted() && w->rows.status == EXIT_DONE) {
        int refused = aiocosmos_cursor_next(client, query, print_changes, w);
        if (refused != 0) return refused;
        while (!was_interrupted() && aiocosmos_pending(client)) aiocosmos_step(client, -1);
        if (was_interrupted() || w->rows.status != EXIT_DONE || (w->nothing_now && !follows)) break;
        if (!w->nothing_now) {
            pause_ms = CHANGES_PAUSE_MS;
            continue;
        }
        wait_or_interrupt(pause_ms);
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
    catch_interrupts(t->client, NULL);
    refused = read_changes(w, query);
    if (refused != 0) w->rows.status = say_refusal(t, refused);
    aiocosmos_cursor_close(t->client, query);
    aiocosmos_drain(t->client, -1);        /* a page that is owed has our memory in its hands */
    release_interrupts();
    say_state(w);
    say_rows(&w->rows);
    return w->rows.status;
}

/* The leases say what of and how far. */
static bool is_shared(tool *t)
{
    if (!has(t, OPT_PROCESSOR) || !has(t, OPT_LEASES)) say(t, "--processor and --leases need each other");
    else if (has(t, OPT_STATE) || has(t, OPT_CONTINUATION) || has(t, OPT_PK) || has(t, OPT_SESSION_TOKEN))
        say(t, "with --processor there is no --state, --continuation, --pk or --session-token");
    else return true;
    return false;
}

int changes(tool *t)
{
    aiocosmos_changes_request request = {0};
    follower w = {0};
    char *kept = NULL;
    long page_size = 0;
    int status = EXIT_USAGE;
    bool ok;
    w.rows.tool = t;
    if (has(t, OPT_STATE) && has(t, OPT_CONTINUATION)) {
        say(t, "--state and --continuation are both given: choose one");
        return see_help(t);
    }
    if (!from_of(t, &request) || !pk_of_option(t, &request.pk) ||
        !number_of(t, OPT_PAGE_SIZE, 1, 1000000, &page_size)) return see_help(t);
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.all_versions = has(t, OPT_ALL_VERSIONS);
    request.page_items_max = (uint32_t)page_size;
    if (has(t, OPT_PROCESSOR) || has(t, OPT_LEASES) || has(t, OPT_WORKER)) {
        if (is_shared(t)) return process_changes(t, &request);
        return see_help(t);
    }
    ok = !has(t, OPT_STATE) || read_state(t, &kept);
    if (ok && kept && strncmp(kept, "{\"of\":", 6) == 0) {
        say(t, "--state %s: it is of another command", t->option[OPT_STATE]);
    } else if (ok) {
        request.continuation = aiocosmos_text(kept ? kept : t->option[OPT_CONTINUATION]);
        request.session_token = aiocosmos_text(t->option[OPT_SESSION_TOKEN]);
        status = follow(&w, &request);
    }
    free(kept);
    free(w.state);
    return status;
}
