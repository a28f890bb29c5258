/* copy.c: the items of a container, into another one. */
#include "copy.h"
#include "account.h"
#include "io.h"
#include "request.h"
#include "transfer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    COPY_RANGES = 8,                       /* that are read at a time */
    COPY_PAGE_ITEMS = 1000                 /* a page of 4 MB keeps server and copy waiting for each other, by turns */
};

/* Properties that stand together, byte for byte, behind the brace and other properties. */
static size_t put_stretch(char *to, size_t at, const char *from, const char *end)
{
    if (!from) return at;
    if (at > 1) to[at++] = ',';
    memcpy(to + at, from, (size_t)(end - from));
    return at + (size_t)(end - from);
}

/* All properties of its own. What is no object stays as it is, and is refused in its turn. */
static size_t keep_item(char *to, aiocosmos_json row)
{
    aiocosmos_json name, value = {0};
    const char *from = NULL, *end = NULL;
    size_t at = 1;
    if (row.type != AIOCOSMOS_JSON_OBJ) {
        memcpy(to, row.ptr, row.len);
        return row.len;
    }
    to[0] = '{';
    while (aiocosmos_json_next(row, &name, &value)) {
        if (is_system(name)) {
            at = put_stretch(to, at, from, end);
            from = NULL;
            continue;
        }
        if (!from) from = name.ptr;
        end = value.ptr + value.len;
    }
    at = put_stretch(to, at, from, end);
    to[at++] = '}';
    return at;
}

static void fill_upsert(transfer *tr, aiocosmos_str row, aiocosmos_bulk_item *item)
{
    (void)tr;
    item->kind = AIOCOSMOS_UPSERT_ITEM;
    item->body = row;
}

/* Without the port that https:// has anyway. */
static size_t host_length(const char *host)
{
    size_t len = strlen(host);
    return len > 4 && strcmp(host + len - 4, ":443") == 0 ? len - 4 : len;
}

static bool is_same_host(const char *a, const char *b)
{
    size_t len = host_length(a);
    return len == host_length(b) && strncasecmp(a, b, len) == 0;
}

static bool is_same_container(const tool *from, const tool *to)
{
    return is_same_host(from->host, to->host) && strcmp(from->operand[0], to->operand[0]) == 0 &&
           strcmp(from->operand[1], to->operand[1]) == 0;
}

static int copy_items(tool *t, tool *to)
{
    static transfer tr;                    /* zeroed */
    aiocosmos_query_request query = {0};
    char target[LINK_BYTES];
    int status;
    if (is_same_container(t, to)) {
        say(t, "copy: both are the same container");
        return see_help(t);
    }
    if (!params_of(t, &query) || !pk_of_option(t, &tr.scan.pk)) return see_help(t);
    status = read_definition(to);
    if (status != EXIT_DONE) return status;
    snprintf(target, sizeof target, "%s", to->host);
    tr.scan.rows.tool = t;
    tr.scan.sql = t->option[OPT_QUERY];
    tr.scan.whole = tr.scan.sql != NULL;
    tr.scan.params = query.params;
    tr.scan.param_count = query.param_count;
    tr.scan.at_a_time = COPY_RANGES;
    tr.scan.page_items_max = COPY_PAGE_ITEMS;
    tr.scan.target = target;
    tr.to = to;
    tr.keep = keep_item;
    tr.fill = fill_upsert;
    status = transfer_run(&tr);
    say_cost(t, "read: ");
    if (to->client != t->client) say_cost(to, "written: ");
    return status;
}

int copy(tool *t)
{
    tool to = *t;                          /* the same command, done elsewhere */
    int status;
    to.operand[0] = t->operand[2];
    to.operand[1] = t->operand[3];
    to.operands = 2;
    status = open_target(&to);
    if (status == EXIT_DONE) status = copy_items(t, &to);
    if (to.client != t->client) aiocosmos_destroy(to.client);
    return status;
}
