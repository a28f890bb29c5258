/* query.c: queries. */
#include "query.h"
#include "io.h"
#include "request.h"
#include "rows.h"

#include <stdlib.h>
#include <string.h>

int query(tool *t)
{
    static const char *const advised[] = { "x-ms-cosmos-populatequeryadvice: true", NULL };
    aiocosmos_query_request request = {0};
    bool ok = params_of(t, &request);
    long page_size = 0, pages = 0;
    feed f = {0};
    int status;
    ok = ok && columns_of_options(t, t->operand[2], &f.columns) && pk_of_option(t, &request.pk) &&
         number_of(t, OPT_PAGE_SIZE, 1, 1000000, &page_size) &&
         number_of(t, OPT_PAGES, 1, INT32_MAX, &pages);
    if (ok && f.columns && has(t, OPT_EXPLAIN)) {
        say(t, "--explain prints no rows: --csv and --table do not go with it");
        ok = false;
    }
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.sql = t->operand[2];
    request.session_token = aiocosmos_text(t->option[OPT_SESSION_TOKEN]);
    request.continuation = aiocosmos_text(t->option[OPT_CONTINUATION]);
    request.page_items_max = (uint32_t)page_size;
    request.want_metrics = request.want_index_metrics = has(t, OPT_EXPLAIN);
    if (has(t, OPT_EXPLAIN)) request.headers = advised;
    request.skip_empty = true;
    f.tool = t;
    f.pages_max = (uint64_t)pages;
    f.explains = has(t, OPT_EXPLAIN);
    status = ok ? print_feed(&f, &request) : see_help(t);
    if (f.explains && status == EXIT_DONE && !stdout_works(t)) status = EXIT_REFUSED;
    return status;
}

int count(tool *t)
{
    aiocosmos_query_request request = {0};
    char *sql = NULL;
    int status = EXIT_USAGE;
    if (!params_of(t, &request) || !pk_of_option(t, &request.pk)) return see_help(t);
    sql = sql_where(t, "SELECT VALUE COUNT(1) FROM c");
    if (!sql) return see_help(t);
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.sql = sql;
    request.session_token = aiocosmos_text(t->option[OPT_SESSION_TOKEN]);
    status = print_list(t, &request);
    free(sql);
    return status;
}
