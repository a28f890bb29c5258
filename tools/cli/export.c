/* export.c: every item of a container. */
#include "export.h"
#include "io.h"
#include "request.h"
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EXPORT_RANGES = 8,                     /* that an export reads at a time */
    EXPORT_RANGES_MAX = 100,
    EXPORT_BYTES_MAX = 64 << 20,           /* of answers that an export reads ahead */
    EPK_BYTES = 512                        /* an edge of a partition key range */
};

/* A partition key range. */
typedef struct part {
    struct exporter *of;
    char *id, *min, *max;                  /* the keys from min up to max, without that */
    aiocosmos_cursor query;
    bool reading;                          /* its query is open */
    bool due;                              /* the next page can be asked for */
} part;

/* Reads several parts at a time. Rows are printed as they come, whatever part they are of. */
typedef struct exporter {
    feed rows;
    part *parts;
    size_t part_count, part_room;
    char **parents;                        /* ids of ranges that were split or merged, and are listed all the same */
    size_t parent_count, parent_room;
    bool listed;                           /* the list is whole */
    size_t begun, ended, at_a_time;        /* parts */
    uint32_t page_items_max;
} exporter;

/*--- The ranges ---------------------------------------------------------------*/

/* Room for one more in an array. */
static void *grown(void *array, size_t count, size_t *room, size_t size)
{
    void *bigger = array;
    if (count < *room) return array;
    bigger = realloc(array, (*room ? *room * 2 : 16) * size);
    if (bigger) *room = *room ? *room * 2 : 16;
    return bigger;
}

static char *copy_str(aiocosmos_json value)
{
    char text[EPK_BYTES];
    aiocosmos_str copied = { text, 0 };
    copied.len = aiocosmos_json_get_str(value, text, sizeof text);
    return copied.len < sizeof text ? text_of(copied) : NULL;
}

static bool keep_parents(exporter *e, aiocosmos_json list)
{
    aiocosmos_json id = {0};
    while (aiocosmos_json_next(list, NULL, &id)) {
        char **grown_list = grown(e->parents, e->parent_count, &e->parent_room, sizeof *e->parents);
        if (!grown_list) return false;
        e->parents = grown_list;
        e->parents[e->parent_count] = copy_str(id);
        if (!e->parents[e->parent_count++]) return false;
    }
    return true;
}

static bool keep_part(exporter *e, aiocosmos_json range)
{
    part *grown_list = grown(e->parts, e->part_count, &e->part_room, sizeof *e->parts), *p;
    if (!grown_list) return false;
    e->parts = grown_list;
    p = &e->parts[e->part_count++];
    memset(p, 0, sizeof *p);
    p->id = copy_str(aiocosmos_json_at(range, "/id"));
    p->min = copy_str(aiocosmos_json_at(range, "/minInclusive"));
    p->max = copy_str(aiocosmos_json_at(range, "/maxExclusive"));
    return p->id && p->min && p->max && keep_parents(e, aiocosmos_json_at(range, "/parents"));
}

static void keep_ranges(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    exporter *e = user_data;
    aiocosmos_json range = {0};
    bool ok = page->result->status == 0;
    (void)client;
    e->rows.charge_ru += page->result->charge_ru;
    e->rows.more = page->more;
    while (ok && aiocosmos_json_next(page->items, NULL, &range)) ok = keep_part(e, range);
    e->listed = ok && !page->more;
    if (!ok) e->rows.more = false;
    if (page->result->status < 0) {        /* nobody is there who could be asked in another way */
        say_failure(e->rows.tool, page->result);
        e->rows.status = EXIT_REFUSED;
    }
}

static void free_part(part *p)
{
    free(p->id);
    free(p->min);
    free(p->max);
}

static void drop_parents(exporter *e)
{
    size_t kept = 0, i, k;
    for (i = 0; i < e->part_count; i++) {
        for (k = 0; k < e->parent_count && strcmp(e->parts[i].id, e->parents[k]) != 0; k++) continue;
        if (k < e->parent_count) free_part(&e->parts[i]);
        else e->parts[kept++] = e->parts[i];
    }
    e->part_count = kept;
}

static int by_place(const void *a, const void *b)
{
    return strcmp(((const part *)a)->min, ((const part *)b)->min);
}

/* Whether the parts are all of the key space, each key in one of them. */
static bool is_whole(const exporter *e)
{
    size_t i;
    if (!e->listed || e->part_count == 0 || *e->parts[0].min) return false;
    for (i = 1; i < e->part_count; i++)
        if (strcmp(e->parts[i - 1].max, e->parts[i].min) != 0) return false;
    return strcmp(e->parts[i - 1].max, "FF") == 0;
}

/* One part without edges: whatever the server makes of it. */
static bool take_as_one(exporter *e)
{
    part *grown_list = grown(e->parts, 0, &e->part_room, sizeof *e->parts);
    while (e->part_count) free_part(&e->parts[--e->part_count]);
    if (!grown_list) return false;
    e->parts = grown_list;
    memset(e->parts, 0, sizeof *e->parts);
    e->part_count = 1;
    return true;
}

/* The ranges that there are now. A server that has no such list, or one with gaps, is asked by one query. */
static int find_parts(exporter *e)
{
    tool *t = e->rows.tool;
    aiocosmos_query_request request = {0};
    aiocosmos_cursor list;
    int refused;
    request.feed = AIOCOSMOS_FEED_RANGES;
    request.database = t->operand[0];
    request.container = t->operand[1];
    refused = aiocosmos_query_open(t->client, &request, &list);
    e->rows.more = true;
    while (refused == 0 && e->rows.more) {
        refused = aiocosmos_cursor_next(t->client, list, keep_ranges, e);
        if (refused == 0) aiocosmos_drain(t->client, -1);
    }
    if (refused != 0) return say_refusal(t, refused);
    aiocosmos_cursor_close(t->client, list);
    if (e->rows.status != EXIT_DONE) return e->rows.status;
    drop_parents(e);
    if (e->part_count) qsort(e->parts, e->part_count, sizeof *e->parts, by_place);
    if (is_whole(e) || take_as_one(e)) return EXIT_DONE;
    say(t, "no memory");
    return EXIT_REFUSED;
}

/*--- Their items --------------------------------------------------------------*/

static void show_export(exporter *e)
{
    if (show_rows(&e->rows) && e->part_count > 1)
        fprintf(stderr, ", %zu of %zu ranges", e->ended, e->part_count);
}

static void print_part(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    part *p = user_data;
    exporter *e = p->of;
    if (e->rows.status != EXIT_DONE) return;               /* it is being broken off */
    put_rows(&e->rows, page);
    p->due = page->more;
    if (!page->more) {
        aiocosmos_cursor_close(client, p->query);
        p->reading = false;
        e->ended++;
    }
    show_export(e);
}

static int begin_part(exporter *e, part *p)
{
    tool *t = e->rows.tool;
    aiocosmos_query_request request = {0};
    int refused;
    p->of = e;
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.epk_min = p->min && *p->min ? p->min : NULL;
    request.epk_max = p->max && strcmp(p->max, "FF") != 0 ? p->max : NULL;
    request.page_items_max = e->page_items_max;
    request.memory_max = EXPORT_BYTES_MAX / e->at_a_time;
    request.skip_empty = true;
    refused = aiocosmos_query_open(t->client, &request, &p->query);
    if (refused == 0) p->reading = p->due = true;
    return refused;
}

/* Asks for all pages that can be asked for, and begins with more parts where there is room. Returns why not. */
static int ask_for_pages(exporter *e)
{
    aiocosmos_client *client = e->rows.tool->client;
    int refused = 0;
    size_t i;
    while (refused == 0 && e->begun < e->part_count && e->begun - e->ended < e->at_a_time) {
        refused = begin_part(e, &e->parts[e->begun]);
        if (refused == 0) e->begun++;
    }
    for (i = 0; i < e->begun; i++) {
        part *p = &e->parts[i];
        int why = p->due ? aiocosmos_cursor_next(client, p->query, print_part, p) : 0;
        if (why == 0) p->due = false;
        else refused = why;
    }
    return refused == AIOCOSMOS_E_FULL && aiocosmos_pending(client) ? 0 : refused;
}

static int export_parts(exporter *e)
{
    aiocosmos_client *client = e->rows.tool->client;
    int refused = 0;
    size_t i;
    while (e->ended < e->part_count && e->rows.status == EXIT_DONE && refused == 0) {
        refused = ask_for_pages(e);
        if (refused == 0) aiocosmos_step(client, -1);
    }
    if (refused != 0) e->rows.status = say_refusal(e->rows.tool, refused);
    for (i = 0; i < e->begun; i++)
        if (e->parts[i].reading) aiocosmos_cursor_close(client, e->parts[i].query);
    aiocosmos_drain(client, -1);           /* pages that are owed have our memory in their hands */
    return e->rows.status;
}

int export_items(tool *t)
{
    exporter e = {0};
    long page_size = 0, at_a_time = EXPORT_RANGES;
    int status;
    size_t i;
    if (!number_of(t, OPT_PAGE_SIZE, 1, 1000000, &page_size) ||
        !number_of(t, OPT_CONCURRENCY, 1, EXPORT_RANGES_MAX, &at_a_time)) return see_help(t);
    e.rows.tool = t;
    e.page_items_max = (uint32_t)page_size;
    e.at_a_time = (size_t)at_a_time;
    status = find_parts(&e);
    if (status == EXIT_DONE) status = export_parts(&e);
    say_rows(&e.rows);
    for (i = 0; i < e.part_count; i++) free_part(&e.parts[i]);
    for (i = 0; i < e.parent_count; i++) free(e.parents[i]);
    free(e.parts);
    free(e.parents);
    return status;
}

/* It has time: see --timeout. */
void export_prepare(aiocosmos_options *o)
{
    o->throttle_wait_ms = AIOCOSMOS_OFF;
}
