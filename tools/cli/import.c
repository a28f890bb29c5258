/* import.c: every document of a file. */
#include "import.h"
#include "blocks.h"
#include "csv.h"
#include "flight.h"
#include "input.h"
#include "io.h"
#include "request.h"
#include "same.h"
#include "values.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    IN_FLIGHT_BYTES_MAX = 32 << 20,        /* of documents that are held until they are answered */
    FAILURES_WORTH_A_WORD = 100,           /* with nothing stored between them */
    IMPORT_TIMEOUT_MS = 120 * 1000,        /* a document may have to wait for many others that the service throttles */
    IMPORT_RETRIES = 100000,               /* until that time is over, or the import gives up */
    GIVE_UP_S = 30,                        /* long enough for a server to be started again */
    TRIES_MAX = 10,                        /* of a write that stays in doubt */
    ID_BYTES = 4096,                       /* an id has at most 1023 */
    REJECTED_BYTES_MAX = 256 * 1024        /* of lines whose rejects wait to be written together */
};

/*------------------------------------------------------------------------------
 * MARK: - The import
 *----------------------------------------------------------------------------*/

typedef struct importer {
    tool *tool;
    input in;
    values values;                         /* of JSON in it */
    csv csv;                               /* or of CSV */
    bool is_csv;
    aiocosmos_kind kind;
    const char *done_to_them;              /* "stored" */
    int rejects_fd;
    FILE *rejects;                         /* those that are to be written, as text; NULL: there are none */
    char *rejects_text;
    size_t rejects_len, rejected_bytes;
    struct entry *rejected;                /* the lines that they are of */
    long from_line, from_element;          /* those before it are passed over */
    uint64_t passed;                       /* the last of them; 0: none was */
    aiocosmos_op bulk;
    blocks entries;
    bool starved;                          /* the input has nothing now */
    bool crowded;                          /* too much is in flight */
    bool broken;                           /* input or rejects file have failed, and that has been said */
    bool given_up;                         /* the server is silent, or refuses everything, and that has been said */
    bool stopped;                          /* lines were left when no more were to be taken */
    bool over;                             /* no more lines are taken */
    bool cancelled;                        /* all ends at once */
    bool finished;
    struct entry *doubts, *last_doubt;     /* what is to be read, or to be written again */
    char id[ID_BYTES];                     /* of the one that is handed over */
    uint64_t stored, failed, maybe_stored, written_again;      /* documents; maybe_stored are among failed */
    unsigned failures_in_a_row;
    unsigned refusals_in_a_row;            /* of those, for no reason of the document's own */
    long give_up_s;
    uint32_t ru_per_second_max;            /* 0: no limit */
    bool priority_low;
    double heard;                          /* when the server was not silent, in seconds since the start */
    uint64_t heard_bytes, heard_tries;     /* the client's totals then */
    aiocosmos_bulk_totals totals;
    double seconds;
    const struct entry *keyless;           /* the last line that has no key, and why */
    char keyless_why[512];
} importer;

/* A document that has been handed over, kept for the rejects. */
typedef struct entry {
    uint64_t line, element;                /* where it begins, and its place in a JSON array, or 0 */
    uint64_t too_long;                     /* its length, and there is no text; else 0 */
    const char *why;                       /* it is no document; NULL: it may be one */
    size_t len;
    unsigned place;                        /* in flight */
    bool is_read;                          /* it is in doubt, and its item is looked at */
    unsigned tries;
    int http_status, sub_status;           /* of the last answer to it before it was read */
    struct entry *next;
    char text[];
} entry;

/* Why a document is not stored. */
typedef struct refusal {
    aiocosmos_str reason;
    int http_status, sub_status;
    bool maybe_stored;
    bool of_any;                           /* as it would befall any other */
} refusal;

/*--- Lines on their way -----------------------------------------------------*/

static aiocosmos_pull no_more_lines(importer *im)
{
    const input *in = &im->in;
    im->stopped = !in->ended || in->begin < in->end;
    return AIOCOSMOS_PULL_END;
}

static aiocosmos_pull break_off(importer *im, const char *what, int error)
{
    if (!im->broken) say(im->tool, "%s: %s", what, strerror(error));
    im->broken = true;
    return no_more_lines(im);
}

static entry *keep_document(importer *im, const document *from)
{
    size_t len = from->too_long ? 0 : from->text.len;
    entry *kept = blocks_take(&im->entries, sizeof *kept + len);
    if (!kept) return NULL;
    kept->line = from->line;
    kept->element = from->element;
    kept->too_long = from->too_long;
    kept->why = from->why;
    kept->len = len;
    kept->is_read = false;
    kept->tries = 0;
    memcpy(kept->text, from->text.ptr, len);
    kept->place = flight_take(from);
    return kept;
}

static void drop_line(importer *im, entry *line)
{
    flight_drop(line->place);
    blocks_drop(&im->entries, line);
}

/* Of a document whose item is not written but named; the others have theirs in their bodies. Where there is none, the
 * library refuses it; where there is no definition any more, the service is to say why. */
static void fill_key(importer *im, const entry *line, aiocosmos_bulk_item *item)
{
    const char *why;
    item->pk = pk_of_document(im->tool, item->body);
    if (is_set(&item->pk)) return;
    why = aiocosmos_last_error(im->tool->client);
    if (strncmp(why, "container: ", 11) == 0) item->pk = aiocosmos_pk1(aiocosmos_none());
    im->keyless = line;
    snprintf(im->keyless_why, sizeof im->keyless_why, "%s", why);
}

static const char *id_of(importer *im, const entry *line)
{
    aiocosmos_json_doc *doc;
    aiocosmos_json id;
    bool fits;
    if (line->why || aiocosmos_json_parse(NULL, line->text, line->len, &doc, NULL) < 0) return NULL;
    id = aiocosmos_json_at(aiocosmos_json_root(doc), "/id");
    fits = aiocosmos_json_get_str(id, im->id, sizeof im->id) < sizeof im->id;
    aiocosmos_json_free(doc);
    return fits ? im->id : NULL;
}

static void fill_item(importer *im, entry *line, aiocosmos_bulk_item *item)
{
    im->keyless = NULL;
    item->kind = line->is_read ? AIOCOSMOS_READ_ITEM : im->kind;
    item->item_data = line;
    item->body.ptr = line->text;
    item->body.len = line->why ? 0 : line->len;            /* without a body it is refused, whatever it looks like */
    if (item->kind != AIOCOSMOS_READ_ITEM && item->kind != AIOCOSMOS_DELETE_ITEM) return;
    fill_key(im, line, item);
    item->id = id_of(im, line);
    item->body.len = 0;
}

/* What cannot be read, or makes no sense. */
static aiocosmos_pull end_input(importer *im, const document *at)
{
    const char *name = input_name(im->tool->operand[2]);
    if (at->line) say(im->tool, "%s: line %" PRIu64 ": %s", name, at->line, at->why);
    else say(im->tool, "cannot read %s: %s", name, at->why);
    im->broken = true;
    im->stopped = flight_reached() > 0;
    return AIOCOSMOS_PULL_END;
}

static bool pass_over(importer *im, const document *at)
{
    bool is_before = at->line < (uint64_t)im->from_line || (at->element && at->element < (uint64_t)im->from_element);
    if (is_before) im->passed = at->element ? at->element : at->line;
    return is_before;
}

static aiocosmos_pull take_line(importer *im, aiocosmos_bulk_item *item)
{
    document at;
    entry *kept;
    taken got;
    do {
        if (flight_is_interrupted() || im->broken || im->given_up) return no_more_lines(im);
        im->crowded = im->entries.bytes >= IN_FLIGHT_BYTES_MAX || flight_is_full();
        if (im->crowded) return AIOCOSMOS_PULL_LATER;
        got = im->is_csv ? csv_take(&im->csv, &im->in, &at) : values_take(&im->values, &im->in, &at);
        im->starved = got == TAKEN_NONE_YET;
        if (im->starved) {
            aiocosmos_wake(im->tool->client);              /* the input may be sooner than the network */
            return AIOCOSMOS_PULL_LATER;
        }
        if (got == TAKEN_END) return AIOCOSMOS_PULL_END;
        if (got == TAKEN_ERROR) return end_input(im, &at);
    } while (pass_over(im, &at));
    kept = keep_document(im, &at);
    if (!kept) return break_off(im, "cannot go on", ENOMEM);
    fill_item(im, kept, item);
    return AIOCOSMOS_PULL_ITEM;
}

static void add_doubt(importer *im, entry *line)
{
    line->next = NULL;
    if (im->doubts) im->last_doubt->next = line;
    else im->doubts = line;
    im->last_doubt = line;
}

static entry *take_doubt(importer *im)
{
    entry *line = im->doubts;
    if (line) im->doubts = line->next;
    return line;
}

/* Lines in doubt go before new ones. Any line in flight may become one, so the last of them ends it all. */
static aiocosmos_pull next_document(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    importer *im = user_data;
    entry *line = take_doubt(im);
    aiocosmos_pull pull = AIOCOSMOS_PULL_END;
    (void)client;
    if (line) {
        fill_item(im, line, item);
        return AIOCOSMOS_PULL_ITEM;
    }
    if (!im->over) pull = take_line(im, item);
    im->over = pull == AIOCOSMOS_PULL_END;
    return im->over && !flight_is_empty() ? AIOCOSMOS_PULL_LATER : pull;
}

/* The library's words, unless more is known here. */
static aiocosmos_str reason_of(const importer *im, const entry *line, const aiocosmos_result *result, char *out,
                               size_t cap)
{
    aiocosmos_str reason = result->message;
    aiocosmos_attempt attempt, last = {0};
    uint32_t i;
    int len = 0;
    if (line->why) {
        len = snprintf(out, cap, "%s", line->why);
    } else if (line->too_long) {
        len = snprintf(out, cap, "the %s has %" PRIu64 " bytes, an item at most %d", line->element ? "element" : "line",
                       line->too_long, (int)DOCUMENT_BYTES_MAX);
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

static void put_reject(FILE *to, const entry *line, const refusal *why)
{
    aiocosmos_json_doc *doc = NULL;
    fprintf(to, "{\"line\":%" PRIu64, line->line);
    if (line->element) fprintf(to, ",\"element\":%" PRIu64, line->element);
    fputs(",\"reason\":", to);
    put_string(to, why->reason.ptr, why->reason.len);
    fprintf(to, ",\"status\":%d,\"sub_status\":%d,\"maybe_applied\":%s", why->http_status, why->sub_status,
            why->maybe_stored ? "true" : "false");
    if (!line->why && aiocosmos_json_parse(NULL, line->text, line->len, &doc, NULL) == 0) {
        fputs(",\"document\":", to);
        put_document(to, line->text, line->len);
    } else if (!line->too_long) {
        fputs(",\"text\":", to);
        put_string(to, line->text, line->len);
    }
    fputs("}\n", to);
    aiocosmos_json_free(doc);
}

/* How much of it could be written. */
static size_t write_text(int fd, const char *text, size_t len)
{
    size_t at = 0;
    while (at < len) {
        ssize_t put = write(fd, text + at, len - at);
        if (put > 0) at += (size_t)put;
        else if (put == 0 || errno != EINTR) break;
    }
    return at;
}

/* Where the rejects file fails, no more lines are taken, and what is in flight is told on stderr instead: each bad line
 * is named, whatever happens. */
static void write_rejects(importer *im)
{
    size_t at;
    entry *line;
    if (!im->rejected || im->cancelled) return;
    wipe_progress(im->tool);
    flight_is_waiting(true);
    if (im->rejects && fclose(im->rejects) != 0) break_off(im, "cannot tell all rejects", ENOMEM);
    at = write_text(im->rejects_fd, im->rejects_text, im->rejects_len);
    if (at < im->rejects_len) {
        break_off(im, "cannot write the rejects, and stop; what is in flight and fails follows here", errno);
        while (at > 0 && im->rejects_text[at - 1] != '\n') at--;
        if (im->rejects_fd != STDERR_FILENO) {
            close(im->rejects_fd);
            im->rejects_fd = STDERR_FILENO;
            write_text(STDERR_FILENO, im->rejects_text + at, im->rejects_len - at);
        }
    }
    flight_is_waiting(false);
    free(im->rejects_text);
    im->rejects = NULL;
    im->rejects_text = NULL;
    im->rejects_len = im->rejected_bytes = 0;
    while ((line = im->rejected) != NULL) {
        im->rejected = line->next;
        drop_line(im, line);
    }
    aiocosmos_bulk_resume(im->tool->client, im->bulk);
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

static void count_failure(importer *im, const refusal *why)
{
    im->refusals_in_a_row = why->of_any ? im->refusals_in_a_row + 1 : 0;
    if (im->refusals_in_a_row == FAILURES_WORTH_A_WORD) {
        im->given_up = true;
        say(im->tool, "giving up: %d lines on end were refused for no reason of their own, the last because: %.*s",
            FAILURES_WORTH_A_WORD, (int)why->reason.len, why->reason.ptr);
    } else if (++im->failures_in_a_row == FAILURES_WORTH_A_WORD && !im->given_up) {
        say(im->tool, "%d lines on end were not %s, the last because: %.*s", FAILURES_WORTH_A_WORD, im->done_to_them,
            (int)why->reason.len, why->reason.ptr);
        fputs("Ctrl-C stops, and tells how to go on later.\n", stderr);
    }
}

/* Those of one step are written together; until then the line is in flight for whoever ends the import at once. */
static void reject(importer *im, entry *line, const refusal *why)
{
    im->failed++;
    if (why->maybe_stored) im->maybe_stored++;
    if (!im->rejects) im->rejects = open_memstream(&im->rejects_text, &im->rejects_len);
    put_reject(im->rejects ? im->rejects : stderr, line, why);
    count_failure(im, why);
    line->next = im->rejected;
    im->rejected = line;
    im->rejected_bytes += line->len;
    if (im->rejected_bytes >= REJECTED_BYTES_MAX) write_rejects(im);
}

static void accept_line(importer *im, entry *line)
{
    im->stored++;
    im->failures_in_a_row = im->refusals_in_a_row = 0;
    drop_line(im, line);
}

/*--- Lines in doubt -----------------------------------------------------------
 * The answer to a write was lost, or says what the service says to who writes the same again. Then its item is read:
 * the same document is ours, and where there is none the write is repeated. */

static void write_again(importer *im, entry *line)
{
    line->is_read = false;
    im->written_again++;
    add_doubt(im, line);
}

/* What has been written once more may have been there before that, whatever the answer to the second time. */
static bool is_in_doubt(const importer *im, const entry *line, const aiocosmos_result *result)
{
    int echo = im->kind == AIOCOSMOS_DELETE_ITEM ? 404 : 409;
    bool is_echo = result->status == echo && result->sub_status == 0;
    return result->fate == AIOCOSMOS_FATE_MAYBE_APPLIED || (line->tries > 0 && is_echo);
}

static void written(importer *im, entry *line, const aiocosmos_result *result)
{
    bool doubted = result->status != 0 && is_in_doubt(im, line, result);
    bool deletes = im->kind == AIOCOSMOS_DELETE_ITEM;
    char room[300];
    refusal why;
    if (result->status == 0 || (doubted && deletes && result->status == 404 && result->sub_status == 0)) {
        accept_line(im, line);
    } else if (doubted && result->status != AIOCOSMOS_E_CANCELLED && line->tries < TRIES_MAX) {
        line->tries++;
        line->http_status = result->http_status;
        line->sub_status = result->sub_status;
        line->is_read = !deletes;          /* to delete once more does no harm */
        im->written_again += deletes;
        add_doubt(im, line);
    } else {
        why.reason = reason_of(im, line, result, room, sizeof room);
        why.http_status = result->http_status;
        why.sub_status = result->sub_status;
        why.maybe_stored = doubted;
        why.of_any = would_refuse_any(result);
        reject(im, line, &why);
    }
}

static likeness same_as(const entry *line, const aiocosmos_result *result)
{
    aiocosmos_json_doc *doc;
    likeness found;
    if (aiocosmos_json_parse(NULL, line->text, line->len, &doc, NULL) < 0) return UNKNOWN;
    found = same_document(aiocosmos_json_root(doc), aiocosmos_result_json(result));
    aiocosmos_json_free(doc);
    return found;
}

static void looked_at(importer *im, entry *line, const aiocosmos_result *result)
{
    bool missing = result->status == 404 && result->sub_status == 0;
    likeness found = result->status == 0 ? same_as(line, result) : UNKNOWN;
    char room[1024];
    const char *what = room;
    refusal why;
    if (found == SAME) {
        accept_line(im, line);
        return;
    }
    if (missing || (found == DIFFERENT && im->kind == AIOCOSMOS_UPSERT_ITEM)) {
        write_again(im, line);
        return;
    }
    if (found == DIFFERENT)
        what = "an answer was lost, and the item that is there by now is another one of this id and partition key";
    else
        snprintf(room, sizeof room, "an answer was lost, and whether it is stored could not be found out: %.*s",
                 (int)result->message.len, result->message.ptr);
    why.reason = aiocosmos_text(what);
    why.http_status = line->http_status;
    why.sub_status = line->sub_status;
    why.maybe_stored = what == room;
    why.of_any = what == room && would_refuse_any(result);
    reject(im, line, &why);
}

static void line_done(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    importer *im = user_data;
    entry *line = item_data;
    bool left = im->cancelled && result->status == AIOCOSMOS_E_CANCELLED;
    if (left) flight_leave(line->place, result->fate == AIOCOSMOS_FATE_NOT_SENT && line->tries == 0);
    else if (line->is_read) looked_at(im, line, result);
    else written(im, line, result);
    if (im->crowded || im->doubts || im->over) aiocosmos_bulk_resume(client, im->bulk);
}

/* The bulk was cancelled before it took them. */
static void reject_doubts(importer *im)
{
    refusal why = { aiocosmos_text("an answer was lost, and the import has given up"), 0, 0, true, false };
    entry *line;
    while (!im->cancelled && (line = take_doubt(im)) != NULL) {
        why.http_status = line->http_status;
        why.sub_status = line->sub_status;
        reject(im, line, &why);
    }
}

static void import_done(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                        void *user_data)
{
    importer *im = user_data;
    (void)client;
    im->finished = true;
    reject_doubts(im);
    im->totals = *totals;
    im->totals.succeeded = im->stored;     /* of documents, not of what was asked about them */
    im->totals.failed = im->failed;
    im->totals.maybe_applied = im->maybe_stored;
    im->totals.retries += im->written_again;
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
    fprintf(stderr, "%" PRIu64 " %s, %" PRIu64 " failed, %.0f a second, %.0f RU", im->stored, im->done_to_them,
            im->failed, (double)im->stored / seconds, totals.charge_ru);
    if (totals.throttled)
        fprintf(stderr, ", %" PRIu64 " throttled, %" PRIu32 " at a time", totals.throttled, totals.concurrency);
    im->tool->progress_shown = true;
}

/* Until the input has something, the client has something to do, or a signal comes, which wakes the client. */
static void wait_for_input(importer *im, int timeout_ms)
{
    struct pollfd fds[1 + FDS_MAX];
    aiocosmos_client *client = im->tool->client;
    size_t count = list_fds(client, fds + 1);
    int due_ms = aiocosmos_next_timeout_ms(client);
    if (due_ms >= 0 && (timeout_ms < 0 || due_ms < timeout_ms)) timeout_ms = due_ms;
    fds[0].fd = im->in.fd;
    fds[0].events = POLLIN;
    fds[0].revents = 0;
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

/* What is in flight is told rather than rejected, and so are rejects that nobody has read yet. */
static void end_at_once(importer *im)
{
    im->cancelled = true;
    aiocosmos_cancel(im->tool->client, im->bulk);
    while (!im->finished) aiocosmos_step(im->tool->client, 0);
    wipe_progress(im->tool);
    flight_end_at_once();
}

static void run_import(importer *im)
{
    aiocosmos_client *client = im->tool->client;
    bool terminal = isatty(STDERR_FILENO) != 0, silent = false;
    double shown = 0;
    while (!im->finished) {
        bool stopping = flight_is_interrupted() || im->broken || im->given_up;
        bool idle = aiocosmos_pending(client) <= 1;        /* but for the bulk itself */
        if (im->starved && !stopping) wait_for_input(im, terminal || !idle ? TICK_MS : -1);
        if (stopping) im->starved = false;
        if (im->starved) {
            aiocosmos_step(client, 0);
        } else {
            aiocosmos_bulk_resume(client, im->bulk);
            aiocosmos_step(client, TICK_MS);
        }
        if (flight_is_ending()) end_at_once(im);
        write_rejects(im);
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
    struct stat from, to;
    int fd;
    im->rejects_fd = STDERR_FILENO;
    if (!path) return true;
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0666);
    if (fd >= 0 && fstat(fd, &to) == 0 && fstat(im->in.fd, &from) == 0 && to.st_dev == from.st_dev &&
        to.st_ino == from.st_ino && S_ISREG(to.st_mode)) {
        say(t, "--rejects %s: this is the file that is read; choose another", path);
        close(fd);
        return false;
    }
    if (fd >= 0 && S_ISREG(to.st_mode) && to.st_size > 0 && !has(t, OPT_APPEND_REJECTS)) {
        say(t, "--rejects %s: it is not empty: choose another, or add to it with --append-rejects", path);
        close(fd);
        return false;
    }
    if (fd < 0) say(t, "--rejects %s: cannot write it: %s", path, strerror(errno));
    else if (ends_within_line(fd, path)) write_text(fd, "\n", 1);
    im->rejects_fd = fd;
    return fd >= 0;
}

/* A file whose name says so, and which begins as no JSON value does that a document can be part of. Nothing is read. */
static bool is_csv_by_its_looks(const char *path, int fd)
{
    char first[64];
    size_t len = strlen(path);
    ssize_t got = len > 4 && strcasecmp(path + len - 4, ".csv") == 0 ? pread(fd, first, sizeof first, 0) : 0, at = 0;
    while (at < got && strchr(" \t\r\n\xef\xbb\xbf", first[at])) at++;
    return at < got && first[at] != '{' && first[at] != '[';
}

static int report_import(importer *im)
{
    tool *t = im->tool;
    const aiocosmos_bulk_totals *totals = &im->totals;
    double per_second = im->seconds > 0 ? (double)totals->succeeded / im->seconds : 0;
    if (im->stopped) flight_say_where(t);
    else if (im->passed && totals->succeeded + totals->failed == 0)
        say(t, "%s has nothing behind %" PRIu64 ", the last that was passed over", input_name(t->operand[2]),
            im->passed);
    wipe_progress(t);
    fprintf(stderr, "%" PRIu64 " %s, %" PRIu64 " not", totals->succeeded, im->done_to_them, totals->failed);
    if (totals->maybe_applied) fprintf(stderr, " (%" PRIu64 " of them maybe)", totals->maybe_applied);
    if (totals->failed && im->rejects_fd != STDERR_FILENO) fprintf(stderr, ": see %s", t->option[OPT_REJECTS]);
    fprintf(stderr, "; %.2f RU, %" PRIu64 " retries, %.2f s, %.0f a second\n", totals->charge_ru, totals->retries,
            im->seconds, per_second);
    put_totals(totals, im->seconds);
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
    request.single_items = has(im->tool, OPT_SINGLE);
    request.ru_per_second_max = im->ru_per_second_max;
    request.priority_low = im->priority_low;
    request.timeout_ms = has(im->tool, OPT_TIMEOUT) ? 0 : IMPORT_TIMEOUT_MS;
    request.next = next_document;
    request.item_done = line_done;
    request.done = import_done;
    request.user_data = im;
    status = aiocosmos_bulk(im->tool->client, &request, &im->bulk);
    if (status != 0) return say_refusal(im->tool, status);
    im->heard = seconds_since(im->tool->started);
    flight_begin(im->tool, im->kind, im->done_to_them, im->from_line, im->from_element);
    run_import(im);
    flight_end();
    return report_import(im);
}

int import(tool *t)
{
    static importer im;                    /* zeroed */
    long concurrency = AIOCOSMOS_DEFAULT_CONNECTIONS, ru_per_second_max = 0;
    const char *priority = t->option[OPT_PRIORITY];
    int status = EXIT_USAGE, fd;
    im.tool = t;
    im.kind = has(t, OPT_DELETE) ? AIOCOSMOS_DELETE_ITEM
            : has(t, OPT_UPSERT) ? AIOCOSMOS_UPSERT_ITEM : AIOCOSMOS_CREATE_ITEM;
    im.done_to_them = has(t, OPT_DELETE) ? "deleted" : "stored";
    if (has(t, OPT_DELETE) && has(t, OPT_UPSERT)) {
        say(t, "--upsert and --delete are both given: choose one");
        return see_help(t);
    }
    im.give_up_s = GIVE_UP_S;
    if (!number_of(t, OPT_CONCURRENCY, 1, CONCURRENCY_MAX, &concurrency) ||
        !number_of(t, OPT_RU, 1, INT32_MAX, &ru_per_second_max) ||
        !number_of(t, OPT_FROM_LINE, 1, LONG_MAX, &im.from_line) ||
        !number_of(t, OPT_FROM_ELEMENT, 1, LONG_MAX, &im.from_element) ||
        !number_of(t, OPT_GIVE_UP, 1, 86400, &im.give_up_s)) return see_help(t);
    im.ru_per_second_max = (uint32_t)ru_per_second_max;
    im.priority_low = priority && strcmp(priority, "low") == 0;
    if (priority && !im.priority_low && strcmp(priority, "high") != 0) {
        say(t, "--priority %s: low or high is expected", priority);
        return see_help(t);
    }
    fd = open_input(t, t->operand[2]);
    if (fd < 0) return EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN);              /* a reader that went away must not end us with documents in flight */
    im.is_csv = has(t, OPT_CSV);
    if (!im.is_csv && is_csv_by_its_looks(t->operand[2], fd)) {
        say(t, "%s: no JSON, but comma-separated values, it seems: --csv reads them", t->operand[2]);
        close(fd);
        return see_help(t);
    }
    if (!input_open(&im.in, fd)) say(t, "no memory");
    else if (open_rejects(&im)) status = import_lines(&im, (uint32_t)concurrency);
    if (im.rejects_fd > STDERR_FILENO) close(im.rejects_fd);
    input_close(&im.in);
    csv_free(&im.csv);
    return status;
}

/* To repeat an upsert, or a create under its own id, does no harm: the library says if it may have been the second. */
void import_prepare(aiocosmos_options *o)
{
    o->retry_writes = true;
    o->retries_max = IMPORT_RETRIES;
}
