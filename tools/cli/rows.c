/* rows.c: rows on their way to stdout. */
#include "rows.h"
#include "explain.h"
#include "io.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Where stdout, or the pager behind it, is not the terminal too, which the rows keep busy enough. True: more may be said
 * on this line. */
bool show_rows(feed *f)
{
    double seconds = seconds_since(f->tool->started);
    if (!isatty(STDERR_FILENO) || isatty(STDOUT_FILENO) || f->tool->paged) return false;
    if (f->shown > 0 && seconds - f->shown < TICK_MS / 1000.0) return false;
    f->shown = seconds;
    fprintf(stderr, "\r\033[K%" PRIu64 " document%s, %.0f RU, %.0f a second", f->rows,
            f->rows == 1 ? "" : "s", f->charge_ru, (double)f->rows / seconds);
    f->tool->progress_shown = true;
    return true;
}

void put_rows(feed *f, const aiocosmos_page *page)
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
    if (f->columns) columns_put(f->columns, page->items);
    while (!f->columns && aiocosmos_json_next(page->items, NULL, &row)) {
        put_document(stdout, row.ptr, row.len);
        putchar('\n');
    }
    if (!stdout_works(f->tool)) f->status = EXIT_REFUSED;
}

void end_rows(feed *f)
{
    if (f->columns && !columns_end(f->columns) && f->status == EXIT_DONE) f->status = EXIT_INCOMPLETE;
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

void say_rows(const feed *f)
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

void read_feed(feed *f, const aiocosmos_query_request *request, aiocosmos_page_fn take, void *user_data,
               aiocosmos_cursor *cursor)
{
    aiocosmos_client *client = f->tool->client;
    int refused = aiocosmos_query_open(client, request, cursor);
    f->more = true;
    while (refused == 0 && f->more && f->status == EXIT_DONE) {
        refused = aiocosmos_cursor_next(client, *cursor, take, user_data);
        if (refused == 0) aiocosmos_drain(client, -1);
    }
    if (refused != 0) f->status = say_refusal(f->tool, refused);
}

int print_feed(feed *f, const aiocosmos_query_request *request)
{
    aiocosmos_cursor query;
    read_feed(f, request, print_page, f, &query);
    if (f->explains && f->status == EXIT_DONE) explain(f->tool, query);
    aiocosmos_cursor_close(f->tool->client, query);
    if (f->columns && f->status == EXIT_DONE) {
        columns_put_header(f->columns);
        if (!stdout_works(f->tool)) f->status = EXIT_REFUSED;
    }
    end_rows(f);
    say_how_to_go_on(f);
    say_rows(f);
    free(f->continuation);
    return f->status;
}

int print_list(tool *t, const aiocosmos_query_request *request)
{
    feed f = {0};
    f.tool = t;
    return print_feed(&f, request);
}
