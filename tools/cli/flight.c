/* flight.c: the lines of an import that are on their way, what Ctrl-C says of them, and how to go on. */
#include "flight.h"
#include "interrupt.h"
#include "io.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IN_FLIGHT_MAX = 16384 };            /* several may be in one request */

/*--- How to go on -------------------------------------------------------------
 * By the same options, but for secrets. */

static void put_resume(const tool *t, FILE *to)
{
    unsigned i;
    fputs("  aiocosmos import", to);
    for (i = 0; i < 3; i++) {
        fputc(' ', to);
        put_argument(to, t->operand[i]);
    }
    fputs(" --from-", to);
}

static void put_resume_options(const tool *t, FILE *to)
{
    static const uint64_t secret = BIT(OPT_KEY) | BIT(OPT_CONNECTION_STRING) | BIT(OPT_TOKEN);
    static const uint64_t ours = BIT(OPT_FROM_LINE) | BIT(OPT_FROM_ELEMENT) | BIT(OPT_APPEND_REJECTS);
    unsigned i;
    if (has(t, OPT_REJECTS)) fputs(" --append-rejects", to);
    for (i = 0; i < OPT_COUNT; i++) {
        if (!has(t, (option_id)i) || ((secret | ours) & BIT(i))) continue;
        fprintf(to, " %s", options[i].name);
        if (!options[i].value) continue;
        fputc(' ', to);
        put_argument(to, t->option[i]);
    }
    fputc('\n', to);
}

/* NULL: no memory. */
static char *resume_text(const tool *t, void (*put)(const tool *t, FILE *to))
{
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);
    if (!to) return NULL;
    put(t, to);
    if (fclose(to) == 0) return text;
    free(text);
    return NULL;
}

/*--- Ctrl-C -------------------------------------------------------------------
 * It may come at any moment, also while the rejects wait for somebody to read them: so its handler does the talking,
 * by write() alone, and knows by itself which lines are in flight. Each number is written before it is counted on, and
 * by one store where the machine has such. */

static struct flight {
    volatile sig_atomic_t interrupted;     /* the signal */
    aiocosmos_client *volatile client;
    bool on_terminal;                      /* which has echoed "^C" */
    volatile uint64_t reached, next;       /* the last line taken, and where to go on behind it */
    const char *volatile unit;             /* what is counted: lines, or elements of an array */
    volatile uint64_t line[IN_FLIGHT_MAX];               /* those in flight, and 0 where there is none */
    unsigned free_place[IN_FLIGHT_MAX], free_count;
    char *resume, *resume_options;         /* the command to go on by, before and behind the line; NULL: no memory */
    const char *done_to_them, *seen_again; /* "stored", and what a repetition is told; NULL: it does the same again */
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
    for (i = 0; i < IN_FLIGHT_MAX; i++) {
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
    note_text(&n, "aiocosmos: interrupted: no ");
    note_text(&n, flight.unit);
    note_text(&n, " after ");
    note_number(&n, flight.reached);
    note_text(&n, " is taken, and those in flight are finished. The next signal ends all at once.\n");
    note_send(&n);
}

/* From the first line in doubt: who has stored it already is told so, or stores it again. */
static void note_resume(note *n)
{
    uint64_t doubted = next_in_flight(0);
    if (!flight.resume || !flight.resume_options) return;
    note_text(n, doubted ? "To go on with the first " : "To go on with the next");
    note_text(n, doubted ? flight.unit : "");
    note_text(n, doubted ? " in doubt" : "");
    if (doubted && flight.seen_again) {
        note_text(n, ", and find what is ");
        note_text(n, flight.done_to_them);
        note_text(n, " already among the rejects as ");
        note_text(n, flight.seen_again);
    }
    note_text(n, ":\n");
    note_text(n, flight.resume);
    note_text(n, flight.unit);
    note_text(n, " ");
    note_number(n, doubted ? doubted : flight.next);
    note_text(n, flight.resume_options);
}

static void note_ending(void)
{
    note n;
    n.len = 0;
    note_text(&n, flight.on_terminal ? "\n" : "");
    note_text(&n, "aiocosmos: ended at once. ");
    if (next_in_flight(0)) {
        note_text(&n, "These ");
        note_text(&n, flight.unit);
        note_text(&n, "s were in flight, and may be ");
        note_text(&n, flight.done_to_them);
        note_text(&n, " or not: ");
    }
    note_lines_in_flight(&n);
    note_text(&n, next_in_flight(0) ? ".\nThe others up to " : "Those up to ");
    note_text(&n, flight.unit);
    note_text(&n, " ");
    note_number(&n, flight.reached);
    note_text(&n, " are ");
    note_text(&n, flight.done_to_them);
    note_text(&n, ", or among the rejects; those behind it were not taken.\n");
    note_resume(&n);
    note_send(&n);
}

/* The first signal ends the import in good order, the second at once, and a third where even that has to wait. */
static void on_interrupt(int signal_number)
{
    int kept = errno;
    interruption which = interruption_of_signal();
    if (which == INTERRUPT_FIRST) {
        flight.interrupted = signal_number;
        note_stopping();
        aiocosmos_wake(flight.client);
    } else if (which == INTERRUPT_AGAIN) {
        signal(signal_number, SIG_DFL);
        note_ending();
        raise(signal_number);
    }
    errno = kept;
}

/* A rejects file that is slow to write must not fail for a signal: SA_RESTART. A wait in poll() ends all the same. */
void flight_begin(tool *t, aiocosmos_kind kind, const char *done_to_them)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action, before;
    size_t i;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_RESTART | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    flight.client = t->client;
    flight.unit = "line";
    flight.next = 1;
    flight.resume = resume_text(t, put_resume);
    flight.resume_options = resume_text(t, put_resume_options);
    flight.done_to_them = done_to_them;
    flight.seen_again = kind == AIOCOSMOS_CREATE_ITEM ? "409" : kind == AIOCOSMOS_DELETE_ITEM ? "404" : NULL;
    flight.on_terminal = isatty(STDERR_FILENO) != 0;
    while (flight.free_count < IN_FLIGHT_MAX) {
        flight.free_place[flight.free_count] = flight.free_count;
        flight.free_count++;
    }
    for (i = 0; i < sizeof signals / sizeof *signals; i++) {
        bool nohup = signals[i] == SIGHUP && sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler == SIG_IGN;
        if (!nohup) sigaction(signals[i], &action, NULL);
    }
}

/* A signal that comes from here on finds nothing in flight, and cuts off the last words at worst. */
void flight_end(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    free(flight.resume);
    free(flight.resume_options);
}

/*--- Lines on their way -----------------------------------------------------*/

unsigned flight_take(const document *line)
{
    uint64_t number = line->element ? line->element : line->line;
    unsigned place = flight.free_place[--flight.free_count];
    flight.unit = line->element ? "element" : "line";
    flight.line[place] = number;
    flight.reached = number;
    flight.next = line->next;
    return place;
}

void flight_drop(unsigned place)
{
    flight.line[place] = 0;
    flight.free_place[flight.free_count++] = place;
}

bool flight_is_full(void)
{
    return flight.free_count == 0;
}

bool flight_is_empty(void)
{
    return flight.free_count == IN_FLIGHT_MAX;
}

bool flight_is_interrupted(void)
{
    return flight.interrupted != 0;
}

uint64_t flight_reached(void)
{
    return flight.reached;
}

/* Where an import that was broken off stopped. */
void flight_say_where(tool *t)
{
    say(t, "%sstopped after %s %" PRIu64 ": each up to it is %s, or among the rejects. To go on with the next%s:",
        flight.interrupted ? "interrupted: " : "", flight.unit, flight.reached, flight.done_to_them,
        has(t, OPT_KEY) || has(t, OPT_TOKEN) || has(t, OPT_CONNECTION_STRING) ? ", with the same account" : "");
    put_resume(t, stderr);
    fprintf(stderr, "%s %" PRIu64, flight.unit, flight.next);
    put_resume_options(t, stderr);
}
