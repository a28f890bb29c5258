/* remove.c: the items of a condition or of a partition key are deleted. */
#include "remove.h"
#include "io.h"
#include "request.h"
#include "transfer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    DELETE_RANGES = 8,                     /* that are read at a time */
    ID_BYTES = 4096                        /* an id has at most 1023 */
};

typedef struct removal {
    transfer transfer;
    int levels;                            /* of the partition key */
    char id[ID_BYTES], etag[ID_BYTES];     /* of the item that is being filled in */
} removal;

/*--- Which items --------------------------------------------------------------
 * Of each its id, its ETag and the values of its partition key are read. */

/* A path of the partition key, /a/"b c", as SQL: c["a"]["b c"]. */
static void put_path(FILE *to, const char *path)
{
    fputc('c', to);
    while (*path == '/') {
        const char *from = ++path;
        bool quoted = *path == '"';
        if (quoted)
            for (path++; *path && *path != '"'; path++) path += *path == '\\' && path[1];
        while (*path && *path != '/') path++;
        fprintf(to, quoted ? "[%.*s]" : "[\"%.*s\"]", (int)(path - from), from);
    }
}

typedef struct selection {
    FILE *to;
    int levels;
} selection;

/* The query for what is to be deleted, but for its condition. */
static int put_select(tool *t, const aiocosmos_result *result, void *user_data)
{
    selection *select = user_data;
    aiocosmos_json path = {0}, paths = aiocosmos_json_at(aiocosmos_result_json(result), "/partitionKey/paths");
    fputs("SELECT c.id, c._etag AS e", select->to);
    while (aiocosmos_json_next(paths, NULL, &path)) {
        char text[1024];
        bool fits = aiocosmos_json_get_str(path, text, sizeof text) < sizeof text;
        if (!fits || select->levels == KEY_LEVELS) return say_unknown_key(t);
        fputs(", ", select->to);
        put_path(select->to, text);
        fprintf(select->to, " AS k%d", select->levels++);
    }
    fputs(" FROM c", select->to);
    return EXIT_DONE;
}

/* To be freed; NULL: said why. */
static char *select_items(tool *t, int *levels, int *status)
{
    aiocosmos_request request = {0};
    char *text = NULL, *sql;
    size_t len;
    selection select = { open_memstream(&text, &len), 0 };
    if (!select.to) return say(t, "no memory"), NULL;
    request.kind = AIOCOSMOS_READ_CONTAINER;
    request.database = t->operand[0];
    request.container = t->operand[1];
    t->reading_definition = true;
    *status = perform(t, &request, put_select, &select);
    t->reading_definition = false;
    fclose(select.to);
    *levels = select.levels;
    sql = *status == EXIT_DONE ? sql_where(t, text) : NULL;
    if (*status == EXIT_DONE && !sql) *status = see_help(t);
    free(text);
    return sql;
}

/*--- Each of them -------------------------------------------------------------*/

static size_t keep_row(char *to, aiocosmos_json row)
{
    memcpy(to, row.ptr, row.len);
    return row.len;
}

/* Only what is still as it was when it met the condition: that is what its ETag says. */
static void fill_delete(transfer *tr, aiocosmos_str row, aiocosmos_bulk_item *item)
{
    static const char *const names[2 + KEY_LEVELS] = { "id", "e", "k0", "k1", "k2" };
    removal *of = tr->user_data;
    aiocosmos_json found[2 + KEY_LEVELS];
    int level;
    aiocosmos_json_free(tr->doc);
    tr->doc = NULL;
    item->kind = AIOCOSMOS_DELETE_ITEM;
    if (aiocosmos_json_parse(NULL, row.ptr, row.len, &tr->doc, NULL) < 0) return;          /* and it is refused */
    aiocosmos_json_fields(aiocosmos_json_root(tr->doc), names, 2 + KEY_LEVELS, found);
    item->id = aiocosmos_json_get_str(found[0], of->id, sizeof of->id) < sizeof of->id ? of->id : NULL;
    if (has(tr->to, OPT_WHERE) && aiocosmos_json_get_str(found[1], of->etag, sizeof of->etag) < sizeof of->etag)
        item->if_match = aiocosmos_text(of->etag);
    for (level = 0; level < of->levels; level++) {
        aiocosmos_json key = found[2 + level];
        bool none = key.type == AIOCOSMOS_JSON_NONE;
        item->pk.level[level] = none ? aiocosmos_none() : aiocosmos_json_text(key.ptr, key.len);
    }
}

/*--- The question -------------------------------------------------------------*/

static void take_count(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    feed *f = user_data;
    aiocosmos_json row = {0};
    int64_t number;
    (void)client;
    f->more = page->more;
    if (page->status != 0) {
        say_failure(f->tool, page->result);
        f->status = EXIT_REFUSED;
    } else if (aiocosmos_json_next(page->items, NULL, &row) && aiocosmos_json_get_i64(row, &number)) {
        f->rows = (uint64_t)number;
    }
}

/* How many there are, for whoever is asked whether they are meant. */
static int count_items(tool *t, const aiocosmos_query_request *of, uint64_t *number)
{
    aiocosmos_query_request request = *of;
    char *sql = sql_where(t, "SELECT VALUE COUNT(1) FROM c");
    feed f = {0};
    aiocosmos_cursor query;
    if (!sql) return see_help(t);
    f.tool = t;
    request.sql = sql;
    read_feed(&f, &request, take_count, &f, &query);
    aiocosmos_cursor_close(t->client, query);
    free(sql);
    *number = f.rows;
    return f.status;
}

static int ask(tool *t, const aiocosmos_query_request *request)
{
    char what[64] = "deleting items of the container";
    uint64_t number = 0;
    int status;
    if (asks(t)) {
        status = count_items(t, request, &number);
        if (status != EXIT_DONE) return status;
        snprintf(what, sizeof what, "deleting %" PRIu64 " items of the container", number);
    }
    return confirm(t, what, t->operand[1]) ? EXIT_DONE : EXIT_REFUSED;
}

/* The service takes it on, and does it from what throughput is left over. */
static int delete_in_background(tool *t)
{
    aiocosmos_request request = {0};
    int status;
    if (has(t, OPT_WHERE)) {
        say(t, "delete: --background goes with --pk alone, not with --where");
        return see_help(t);
    }
    request.kind = AIOCOSMOS_DELETE_PARTITION;
    request.database = t->operand[0];
    request.container = t->operand[1];
    if (!pk_of_option(t, &request.pk)) return see_help(t);
    if (!confirm(t, "deleting items of the container", t->operand[1])) return EXIT_REFUSED;
    status = perform(t, &request, NULL, NULL);
    if (status == EXIT_DONE) say(t, "the service has taken it on: queries do not find these items any more");
    say_cost(t, "");
    return status;
}

int delete_items(tool *t)
{
    static removal of;                     /* zeroed */
    transfer *tr = &of.transfer;
    aiocosmos_query_request request = {0};
    int status = EXIT_USAGE;
    char *sql;
    if (!has(t, OPT_WHERE) && !has(t, OPT_PK)) {
        say(t, "delete: --where or --pk says which items; to delete them all, --where true");
        return see_help(t);
    }
    if (has(t, OPT_BACKGROUND)) return delete_in_background(t);
    request.database = t->operand[0];
    request.container = t->operand[1];
    if (!params_of(t, &request) || !pk_of_option(t, &request.pk)) return see_help(t);
    sql = select_items(t, &of.levels, &status);
    if (!sql) return status;
    status = ask(t, &request);
    if (status == EXIT_DONE) {
        tr->scan.rows.tool = tr->to = t;
        tr->scan.sql = sql;
        tr->scan.params = request.params;
        tr->scan.param_count = request.param_count;
        tr->scan.pk = request.pk;
        tr->scan.at_a_time = DELETE_RANGES;
        tr->keep = keep_row;
        tr->fill = fill_delete;
        tr->gone_is_fine = true;
        tr->user_data = &of;
        status = transfer_run(tr);
    }
    say_cost(t, "");
    free(sql);
    return status;
}
