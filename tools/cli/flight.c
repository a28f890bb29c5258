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
    volatile sig_atomic_t interrupted, ending;             /* the first signal, and the second */
    volatile sig_atomic_t waiting;         /* for a reader, who may not come before a signal */
    aiocosmos_client *volatile client;
    bool on_terminal;                      /* which has echoed "^C" */
    volatile uint64_t reached, next;       /* the last line taken, and where to go on behind it */
    const char *volatile unit;             /* what is counted: lines, or elements of an array */
    volatile uint64_t line[IN_FLIGHT_MAX];               /* those in flight, and 0 where there is none */
    bool unsent[IN_FLIGHT_MAX];            /* known of those that were left when all ended at once */
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

/* The lowest line above this one that is in doubt, or was not sent; 0: there is none. */
static uint64_t next_line(uint64_t above, bool unsent)
{
    uint64_t lowest = 0;
    unsigned i;
    for (i = 0; i < IN_FLIGHT_MAX; i++) {
        uint64_t line = flight.line[i];
        if (line > above && flight.unsent[i] == unsent && (lowest == 0 || line < lowest)) lowest = line;
    }
    return lowest;
}

/* "These lines were not sent: 3, 17-20, 22." */
static void note_lines(note *n, bool unsent)
{
    uint64_t first = next_line(0, unsent), last, next;
    const char *before = unsent ? "" : " or not: ";
    if (!first) return;
    note_text(n, "These ");
    note_text(n, flight.unit);
    note_text(n, unsent ? "s were not sent: " : "s were in flight, and may be ");
    note_text(n, unsent ? "" : flight.done_to_them);
    for (; first; first = next, before = ", ") {
        for (last = first; (next = next_line(last, unsent)) == last + 1; last = next) continue;
        note_text(n, before);
        note_number(n, first);
        if (last > first) note_text(n, "-");
        if (last > first) note_number(n, last);
    }
    note_text(n, ".\n");
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

/* From the first line that may not be stored: who has stored one already is told so, or stores it again. */
static void note_resume(note *n)
{
    uint64_t doubted = next_line(0, false), unsent = next_line(0, true);
    uint64_t first = doubted && (!unsent || doubted < unsent) ? doubted : unsent;
    if (!flight.resume || !flight.resume_options) return;
    note_text(n, first ? "To go on with the first of them" : "To go on with the next");
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
    note_number(n, first ? first : flight.next);
    note_text(n, flight.resume_options);
}

static void note_ending(void)
{
    note n;
    n.len = 0;
    note_text(&n, flight.on_terminal ? "\n" : "");
    note_text(&n, "aiocosmos: ended at once. ");
    note_lines(&n, false);
    note_lines(&n, true);
    note_text(&n, next_line(0, false) || next_line(0, true) ? "The others up to " : "Those up to ");
    note_text(&n, flight.unit);
    note_text(&n, " ");
    note_number(&n, flight.reached);
    note_text(&n, " are ");
    note_text(&n, flight.done_to_them);
    note_text(&n, ", or among the rejects; those behind it were not taken.\n");
    note_resume(&n);
    note_send(&n);
}

/* The first signal ends the import in good order, and the second at once. Which lines were sent shows when they are
 * cancelled; where that has to wait, or a third signal does not, each in flight may have been. */
static void on_interrupt(int signal_number)
{
    int kept = errno;
    interruption which = interruption_of_signal();
    if (which == INTERRUPT_FIRST) {
        flight.interrupted = signal_number;
        note_stopping();
        aiocosmos_wake(flight.client);
    } else if (which == INTERRUPT_AGAIN) {
        bool patient = !flight.ending && !flight.waiting;
        flight.ending = signal_number;
        if (patient) aiocosmos_wake(flight.client);
        else flight_end_at_once();
    }
    errno = kept;
}

/* A rejects file that is slow to write must not fail for a signal: SA_RESTART. A wait in poll() ends all the same. */
void flight_begin(tool *t, aiocosmos_kind kind, const char *done_to_them, long from_line, long from_element)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action, before;
    size_t i;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_RESTART | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    flight.client = t->client;
    flight.unit = from_element ? "element" : "line";
    flight.next = from_element ? (uint64_t)from_element : from_line ? (uint64_t)from_line : 1;
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

void flight_is_waiting(bool waiting)
{
    flight.waiting = waiting;
}

bool flight_is_ending(void)
{
    return flight.ending != 0;
}

void flight_leave(unsigned place, bool unsent)
{
    flight.unsent[place] = unsent;
}

void flight_end_at_once(void)
{
    signal(flight.ending, SIG_DFL);
    note_ending();
    raise(flight.ending);
}

uint64_t flight_reached(void)
{
    return flight.reached;
}

/* Where an import that was broken off stopped. */
void flight_say_where(tool *t)
{
    const char *why = flight.interrupted ? "interrupted: " : "";
    const char *account = has(t, OPT_KEY) || has(t, OPT_TOKEN) || has(t, OPT_CONNECTION_STRING)
                              ? ", with the same account" : "";
    if (flight.reached)
        say(t, "%sstopped after %s %" PRIu64 ": each up to it is %s, or among the rejects. To go on with the next%s:",
            why, flight.unit, flight.reached, flight.done_to_them, account);
    else say(t, "%snothing was taken. To begin again%s:", why, account);
    put_resume(t, stderr);
    fprintf(stderr, "%s %" PRIu64, flight.unit, flight.next);
    put_resume_options(t, stderr);
}
