/* transfer.c: something done to each item that a scan finds. */
#include "transfer.h"
#include "interrupt.h"
#include "io.h"
#include "request.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HELD_BYTES_MAX = 32 << 20,             /* of rows that wait for their turn, or for their answer */
    WRITE_TIMEOUT_MS = 120 * 1000,         /* one may have to wait for many others that the service throttles */
    WRITE_RETRIES = 100000                 /* until that time is over */
};

/*------------------------------------------------------------------------------
 * MARK: - Pages that wait
 *----------------------------------------------------------------------------*/

typedef struct kept_row {
    struct kept_page *page;
    size_t begin, len;                     /* of the page's text */
} kept_row;

typedef struct kept_page {
    part *of;
    struct kept_page *next;                /* to be taken */
    struct kept_page *next_of_part;        /* to be settled */
    char *text, *token;
    bool last;                             /* of its part */
    size_t bytes, taken, settled, count;   /* rows */
    kept_row rows[];
} kept_page;

static void free_page(kept_page *page)
{
    free(page->text);
    free(page->token);
    free(page);
}

/* NULL: no memory. */
static kept_page *new_page(const aiocosmos_page *from)
{
    kept_page *page = calloc(1, sizeof *page + from->item_count * sizeof *page->rows);
    aiocosmos_json row = {0};
    size_t room = 1;
    if (!page) return NULL;
    while (aiocosmos_json_next(from->items, NULL, &row)) room += row.len;
    page->text = malloc(room);
    page->token = text_of(from->continuation);
    page->last = !from->more;
    if (page->text && page->token) return page;
    free_page(page);
    return NULL;
}

static kept_page *copy_page(const transfer *tr, const aiocosmos_page *from)
{
    kept_page *page = new_page(from);
    aiocosmos_json row = {0};
    while (page && page->count < from->item_count && aiocosmos_json_next(from->items, NULL, &row)) {
        kept_row *kept = &page->rows[page->count++];
        kept->page = page;
        kept->begin = page->bytes;
        kept->len = tr->keep(page->text + page->bytes, row);
        page->bytes += kept->len;
    }
    return page;
}

/* What has been done in all pages of a part, from the first on, is behind it. */
static void settle_pages(transfer *tr, part *p)
{
    kept_page *page;
    for (page = p->pages; page && page->settled == page->count; page = p->pages) {
        p->pages = page->next_of_part;
        scan_settle(p, aiocosmos_text(page->token), page->last);
        tr->bytes_held -= page->bytes;
        free_page(page);
    }
}

static void show_transfer(transfer *tr)
{
    feed *f = &tr->scan.rows;
    if (show_rows(f) && aiocosmos_bulk_get_totals(tr->to->client, tr->bulk, &tr->totals))
        fprintf(stderr, ", %" PRIu64 " of them done", tr->totals.succeeded);
}

static void take_rows(scan *s, part *p, const aiocosmos_page *from)
{
    transfer *tr = s->user_data;
    kept_page *page = copy_page(tr, from), **end = (kept_page **)(void *)&p->pages;
    s->rows.pages++;
    s->rows.rows += from->item_count;
    s->rows.charge_ru += from->result->charge_ru;
    if (!page) {
        say(s->rows.tool, "no memory");
        s->rows.status = EXIT_REFUSED;
        return;
    }
    page->of = p;
    tr->bytes_held += page->bytes;
    for (; *end; end = &(*end)->next_of_part) continue;
    *end = page;
    if (page->count == 0) {
        settle_pages(tr, p);
        return;
    }
    if (tr->last) tr->last->next = page;
    else tr->first = page;
    tr->last = page;
    show_transfer(tr);
}

/*------------------------------------------------------------------------------
 * MARK: - Writes
 *----------------------------------------------------------------------------*/

static aiocosmos_pull next_row(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    transfer *tr = user_data;
    kept_page *page = tr->first;
    aiocosmos_str text;
    kept_row *row;
    (void)client;
    if (tr->ending) return AIOCOSMOS_PULL_END;
    if (!page) return scan_is_over(&tr->scan) ? AIOCOSMOS_PULL_END : AIOCOSMOS_PULL_LATER;
    row = &page->rows[page->taken++];
    if (page->taken == page->count) tr->first = page->next;
    if (!tr->first) tr->last = NULL;
    item->item_data = row;
    text.ptr = page->text + row->begin;
    text.len = row->len;
    tr->fill(tr, text, item);
    return AIOCOSMOS_PULL_ITEM;
}

/* Whether it is the item's own fault, and the next one may do better. Not 404: the container has gone. */
static bool is_of_item(int status, int sub_status)
{
    if (status == 403) return sub_status == 1014;          /* the logical partition is full */
    return status == AIOCOSMOS_E_ARGUMENT || status == 400 || status == 409 || status == 412 || status == 413;
}

/* False: nobody can read it. */
static bool put_reject(const kept_row *row, const aiocosmos_result *result)
{
    fputs("{\"reason\":", stderr);
    put_string(stderr, result->message.ptr, result->message.len);
    fprintf(stderr, ",\"status\":%d,\"sub_status\":%d,\"maybe_applied\":%s,\"document\":", result->http_status,
            result->sub_status, result->fate == AIOCOSMOS_FATE_MAYBE_APPLIED ? "true" : "false");
    put_document(stderr, row->page->text + row->begin, row->len);
    fputs("}\n", stderr);
    return fflush(stderr) == 0 && !ferror(stderr);
}

/* Nothing more is taken, and what is in flight is finished. */
static void break_off(transfer *tr)
{
    tr->scan.rows.status = EXIT_REFUSED;
    tr->ending = true;
}

static void row_done(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    transfer *tr = user_data;
    kept_row *row = item_data;
    part *p = row->page->of;
    bool gone = tr->gone_is_fine && result->status == 404 && result->sub_status == 0;
    (void)client;
    if (gone) tr->gone++;
    if (result->status == 0 || gone) {
        row->page->settled++;
    } else if (is_of_item(result->status, result->sub_status)) {
        wipe_progress(tr->scan.rows.tool);
        if (put_reject(row, result)) row->page->settled++;
        else break_off(tr);
    } else if (!tr->ending || tr->scan.rows.status == EXIT_DONE || tr->scan.rows.status == EXIT_INCOMPLETE) {
        wipe_progress(tr->scan.rows.tool);
        say_failure(tr->to, result);       /* it would befall the others, too; those in flight are not told */
        break_off(tr);
    }
    settle_pages(tr, p);
}

static void all_done(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                     void *user_data)
{
    transfer *tr = user_data;
    (void)client;
    tr->finished = true;
    tr->totals = *totals;
    tr->seconds = (double)result->latency_us / 1e6;
}

/*------------------------------------------------------------------------------
 * MARK: - Both at once
 *----------------------------------------------------------------------------*/

static int earlier(int a_ms, int b_ms)
{
    return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

/* Waits for either client, and steps both. */
static void step_both(aiocosmos_client *a, aiocosmos_client *b)
{
    struct pollfd fds[2 * FDS_MAX];
    size_t count = list_fds(a, fds);
    count += list_fds(b, fds + count);
    poll(fds, (nfds_t)count, earlier(TICK_MS, earlier(aiocosmos_next_timeout_ms(a), aiocosmos_next_timeout_ms(b))));
    aiocosmos_step(a, 0);
    aiocosmos_step(b, 0);
}

static void run_both(transfer *tr)
{
    scan *s = &tr->scan;
    aiocosmos_client *from = s->rows.tool->client, *to = tr->to->client;
    int refused;
    while (!tr->finished) {
        if (was_interrupted() && !tr->ending) {
            tr->ending = true;
            scan_stop(s);
            if (tr->first && s->rows.status == EXIT_DONE) s->rows.status = EXIT_INCOMPLETE;
        }
        if (!tr->ending && !scan_is_over(s) && tr->bytes_held < HELD_BYTES_MAX) {
            refused = scan_ask(s);
            if (refused != 0) s->rows.status = say_refusal(s->rows.tool, refused);
        }
        if (s->rows.status != EXIT_DONE) tr->ending = true;
        aiocosmos_bulk_resume(to, tr->bulk);
        if (from == to) aiocosmos_step(from, TICK_MS);
        else step_both(from, to);
    }
}

static int begin_writes(transfer *tr)
{
    aiocosmos_bulk_request request = {0};
    long concurrency = AIOCOSMOS_DEFAULT_CONNECTIONS;
    int refused;
    if (!number_of(tr->to, OPT_CONCURRENCY, 1, CONCURRENCY_MAX, &concurrency)) return see_help(tr->to);
    request.database = tr->to->operand[0];
    request.container = tr->to->operand[1];
    request.concurrency_max = (uint32_t)concurrency;
    request.timeout_ms = has(tr->to, OPT_TIMEOUT) ? 0 : WRITE_TIMEOUT_MS;
    request.next = next_row;
    request.item_done = row_done;
    request.done = all_done;
    request.user_data = tr;
    refused = aiocosmos_bulk(tr->to->client, &request, &tr->bulk);
    return refused == 0 ? EXIT_DONE : say_refusal(tr->to, refused);
}

static int report(transfer *tr, int status)
{
    tool *t = tr->scan.rows.tool;
    aiocosmos_bulk_totals totals = tr->totals;
    totals.failed -= tr->gone;
    if (tr->to->client == t->client) totals.charge_ru += tr->scan.rows.charge_ru;
    wipe_progress(t);
    if (status == EXIT_INCOMPLETE) say(t, "interrupted: not all has been done");
    scan_say_all_read(&tr->scan);
    if (status != EXIT_DONE && has(t, OPT_STATE) && !tr->scan.stuck)
        fputs("To go on, repeat the command.\n", stderr);
    put_totals(&totals, tr->seconds);
    if (!stdout_works(t)) return EXIT_REFUSED;
    return status == EXIT_DONE && totals.failed ? EXIT_INCOMPLETE : status;
}

int transfer_run(transfer *tr)
{
    scan *s = &tr->scan;
    int status, i;
    s->take = take_rows;
    s->user_data = tr;
    status = scan_begin(s);
    if (status == EXIT_DONE) status = begin_writes(tr);
    if (status != EXIT_DONE) return scan_end(s), status;
    catch_interrupts(s->rows.tool->client, tr->to->client);
    run_both(tr);
    for (i = 0; i < (int)s->begun; i++) {
        part *p = &s->parts[i];
        while (p->pages) {
            kept_page *page = p->pages;
            p->pages = page->next_of_part;
            free_page(page);
        }
    }
    status = scan_end(s);
    release_interrupts();
    aiocosmos_json_free(tr->doc);
    return report(tr, status);
}

/* What is written is the same when it is written again. */
void transfer_prepare(aiocosmos_options *o)
{
    scan_prepare(o);
    o->retry_writes = true;
    o->retries_max = WRITE_RETRIES;
}
