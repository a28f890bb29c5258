/* query.c: queries. */
#include "query.h"
#include "io.h"
#include "request.h"
#include "rows.h"

#include <stdlib.h>
#include <string.h>

/* "@name=JSON", cut at its '='. */
static bool param_of(tool *t, char *text, aiocosmos_param *param)
{
    char *equals = strchr(text, '=');
    aiocosmos_json_doc *doc;
    if (text[0] != '@' || !equals || equals == text + 1) {
        say(t, "--param %s: @name=value is expected, as in --param '@city=\"Berlin\"' or --param @level=42", text);
        return false;
    }
    if (aiocosmos_json_parse(t->client, equals + 1, strlen(equals + 1), &doc, NULL) < 0) {
        say(t, "--param %s: the value is not JSON. Text stands in double quotes: --param '@city=\"Berlin\"'", text);
        return false;
    }
    aiocosmos_json_free(doc);
    *equals = 0;
    param->name = text;
    param->value = aiocosmos_json_text(equals + 1, strlen(equals + 1));
    return true;
}

int query(tool *t)
{
    aiocosmos_query_request request = {0};
    aiocosmos_param *params = calloc(t->param_count + 1, sizeof *params);
    bool ok = params != NULL;
    long page_size = 0, pages = 0;
    feed f = {0};
    int status;
    size_t i;
    if (!ok) say(t, "no memory");
    for (i = 0; ok && i < t->param_count; i++) ok = param_of(t, t->params[i], &params[i]);
    ok = ok && pk_of_option(t, &request.pk) && number_of(t, OPT_PAGE_SIZE, 1, 1000000, &page_size) &&
         number_of(t, OPT_PAGES, 1, INT32_MAX, &pages);
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.sql = t->operand[2];
    request.params = params;
    request.param_count = t->param_count;
    request.session_token = aiocosmos_text(t->option[OPT_SESSION_TOKEN]);
    request.continuation = aiocosmos_text(t->option[OPT_CONTINUATION]);
    request.page_items_max = (uint32_t)page_size;
    request.want_metrics = request.want_index_metrics = has(t, OPT_EXPLAIN);
    request.skip_empty = true;
    f.tool = t;
    f.pages_max = (uint64_t)pages;
    f.explains = has(t, OPT_EXPLAIN);
    status = ok ? print_feed(&f, &request) : see_help(t);
    if (f.explains && status == EXIT_DONE && !stdout_works(t)) status = EXIT_REFUSED;
    free(params);
    return status;
}
