/* export.c: every item of a container, or every row of a query. */
#include "export.h"
#include "interrupt.h"
#include "io.h"
#include "request.h"
#include "scan.h"

#include <stdio.h>

enum {
    EXPORT_RANGES = 8,                     /* that an export reads at a time */
    EXPORT_RANGES_MAX = 100
};

/* What has been printed is printed; only then is it behind us. */
static void print_page(scan *s, part *p, const aiocosmos_page *page)
{
    put_rows(&s->rows, page);
    if (s->rows.status == EXIT_DONE) scan_settle(p, page->continuation, !page->more);
    if (show_rows(&s->rows) && s->part_count > 1)
        fprintf(stderr, ", %zu of %zu ranges", s->ended, s->part_count);
}

static void say_rest(scan *s)
{
    tool *t = s->rows.tool;
    bool state = has(t, OPT_STATE);
    scan_say_all_read(s);
    if (s->rows.status == EXIT_DONE || s->rows.pages == 0) return;
    if (was_interrupted()) say(t, "interrupted: what has been printed is whole, and is not all");
    if (s->stuck) return;
    if (state) fputs("To go on behind that, repeat the command, and add what it prints.\n", stderr);
    else fputs("With --state FILE an export can be gone on with.\n", stderr);
}

static int export_parts(scan *s)
{
    aiocosmos_client *client = s->rows.tool->client;
    int refused = 0, status;
    catch_interrupts(client, NULL);
    while (!scan_is_over(s) && refused == 0) {
        if (was_interrupted()) scan_stop(s);
        else refused = scan_ask(s);
        if (refused == 0 && !scan_is_over(s)) aiocosmos_step(client, -1);
    }
    if (refused != 0) s->rows.status = say_refusal(s->rows.tool, refused);
    status = scan_end(s);
    release_interrupts();
    say_rest(s);
    return status;
}

int export_items(tool *t)
{
    static scan s;                         /* zeroed */
    aiocosmos_query_request query = {0};
    long page_size = 0, at_a_time = EXPORT_RANGES;
    int status;
    if (!number_of(t, OPT_PAGE_SIZE, 1, 1000000, &page_size) || !params_of(t, &query) ||
        !columns_of_options(t, t->option[OPT_QUERY], &s.rows.columns) || !pk_of_option(t, &s.pk) ||
        !number_of(t, OPT_CONCURRENCY, 1, EXPORT_RANGES_MAX, &at_a_time)) return see_help(t);
    if (has(t, OPT_CSV) && has(t, OPT_STATE)) {
        say(t, "--csv and --state: a run that goes on would put another header among the rows; choose one");
        return see_help(t);
    }
    s.rows.tool = t;
    s.sql = t->option[OPT_QUERY];
    s.whole = s.sql != NULL;
    s.params = query.params;
    s.param_count = query.param_count;
    s.page_items_max = (uint32_t)page_size;
    s.at_a_time = (size_t)at_a_time;
    s.take = print_page;
    status = scan_begin(&s);
    if (status == EXIT_DONE) status = export_parts(&s);
    else scan_end(&s);
    end_rows(&s.rows);
    if (status == EXIT_DONE) status = s.rows.status;
    say_rows(&s.rows);
    return status;
}
