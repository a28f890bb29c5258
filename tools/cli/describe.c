/* describe.c: what the items of a container look like, by a sample of them from all of its ranges. */
#include "describe.h"
#include "io.h"
#include "request.h"
#include "scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAMPLE = 1000,                         /* items */
    SAMPLE_MAX = 1000000,
    PATHS_MAX = 2000,
    PATH_BYTES = 512,                      /* longer ones are counted, and not told apart */
    SLOTS = 8192,
    EXAMPLE_BYTES = 60,
    DESCRIBE_RANGES = 8                    /* that are read at a time */
};

typedef struct property {
    char *path;                            /* JSON pointer; elements of a list have a star for their number */
    uint64_t items;                        /* that have it */
    uint64_t last_item;                    /* the last of them, which may have it again, in a list */
    uint64_t count[AIOCOSMOS_JSON_OBJ + 1];                /* values of each type */
    char example[EXAMPLE_BYTES];           /* the first one that is short enough, in JSON */
} property;

typedef struct description {
    scan scan;
    uint64_t items;
    property properties[PATHS_MAX];
    uint16_t slots[SLOTS];                 /* by the hash of their path, place + 1 */
    size_t count;
    uint64_t untold;                       /* values whose path had no room */
    char path[PATH_BYTES];                 /* of the value that is looked at */
} description;

/*--- Values -------------------------------------------------------------------*/

/* NULL: there is no room for another. */
static property *property_of(description *d)
{
    uint32_t hash = 2166136261u;
    const char *at;
    size_t slot;
    property *p;
    for (at = d->path; *at; at++) hash = (hash ^ (unsigned char)*at) * 16777619u;
    for (slot = hash % SLOTS; d->slots[slot]; slot = (slot + 1) % SLOTS)
        if (strcmp(d->properties[d->slots[slot] - 1].path, d->path) == 0) return &d->properties[d->slots[slot] - 1];
    if (d->count == PATHS_MAX) return NULL;
    p = &d->properties[d->count];
    p->path = malloc(strlen(d->path) + 1);
    if (!p->path) return NULL;
    strcpy(p->path, d->path);
    d->slots[slot] = (uint16_t)++d->count;
    return p;
}

static void count_value(description *d, aiocosmos_json value)
{
    property *p = property_of(d);
    if (!p) {
        d->untold++;
        return;
    }
    p->count[value.type]++;
    if (p->last_item != d->items) p->items++;
    p->last_item = d->items;
    if (!p->example[0] && value.len < EXAMPLE_BYTES && value.type < AIOCOSMOS_JSON_ARR &&
        value.type != AIOCOSMOS_JSON_NULL) {
        memcpy(p->example, value.ptr, value.len);
        p->example[value.len] = 0;
    }
}

/* Appends a step to the path, escaped as RFC 6901 has it. False: it is too long. */
static bool step(description *d, size_t len, aiocosmos_json name)
{
    char text[PATH_BYTES];
    const char *at;
    if (aiocosmos_json_get_str(name, text, sizeof text) >= sizeof text) return false;
    d->path[len++] = '/';
    for (at = text; *at; at++) {
        bool escaped = *at == '~' || *at == '/';
        if (len + 3 > PATH_BYTES) return false;
        d->path[len++] = escaped ? '~' : *at;
        if (escaped) d->path[len++] = *at == '~' ? '0' : '1';
    }
    d->path[len] = 0;
    return true;
}

/* All values in this one, to the depth that the parser allows. */
static void look_at(description *d, size_t len, aiocosmos_json value)
{
    aiocosmos_json name, inner = {0};
    if (len > 0) count_value(d, value);
    while (aiocosmos_json_next(value, &name, &inner)) {
        if (len + 3 > PATH_BYTES) {
            d->untold++;
        } else if (value.type == AIOCOSMOS_JSON_ARR) {
            memcpy(d->path + len, "/*", 3);
            look_at(d, len + 2, inner);
        } else if (len > 0 || !is_system(name)) {
            if (step(d, len, name)) look_at(d, strlen(d->path), inner);
            else d->untold++;
        }
    }
    d->path[len] = 0;
}

static void take_items(scan *s, part *p, const aiocosmos_page *page)
{
    description *d = s->user_data;
    aiocosmos_json item = {0};
    (void)p;
    s->rows.pages++;
    s->rows.rows += page->item_count;
    while (aiocosmos_json_next(page->items, NULL, &item)) {
        d->items++;
        look_at(d, 0, item);
    }
    show_rows(&s->rows);
}

/*--- What is told -------------------------------------------------------------*/

static int by_path(const void *a, const void *b)
{
    return strcmp(((const property *)a)->path, ((const property *)b)->path);
}

static void put_property(const description *d, const property *p, FILE *to)
{
    static const char *const names[] = { "", "null", "boolean", "number", "string", "array", "object" };
    size_t type;
    bool some = false;
    fputs("{\"path\":", to);
    put_string(to, p->path, strlen(p->path));
    fputs(",\"types\":{", to);
    for (type = AIOCOSMOS_JSON_NULL; type <= AIOCOSMOS_JSON_OBJ; type++) {
        if (!p->count[type]) continue;
        fprintf(to, "%s\"%s\":%" PRIu64, some ? "," : "", names[type], p->count[type]);
        some = true;
    }
    fprintf(to, "},\"items\":%" PRIu64 ",\"percent\":%.1f", p->items, (double)p->items * 100 / (double)d->items);
    if (p->example[0]) fprintf(to, ",\"example\":%s", p->example);
    fputs("}", to);
}

static int print_description(description *d)
{
    tool *t = d->scan.rows.tool;
    columns *in_columns = d->scan.rows.columns;
    aiocosmos_json_doc *doc;
    char *text = NULL;
    size_t len, i;
    FILE *to = in_columns ? open_memstream(&text, &len) : stdout;
    if (!to) return say(t, "no memory"), EXIT_REFUSED;
    qsort(d->properties, d->count, sizeof *d->properties, by_path);
    for (i = 0; i < d->count; i++) {
        if (in_columns) fputc(i ? ',' : '[', to);
        put_property(d, &d->properties[i], to);
        if (!in_columns) fputc('\n', to);
    }
    if (in_columns) {
        fputs(d->count ? "]" : "[]", to);
        fclose(to);
        if (aiocosmos_json_parse(NULL, text, len, &doc, NULL) == 0) {
            columns_put(in_columns, aiocosmos_json_root(doc));
            aiocosmos_json_free(doc);
        }
        in_columns->rows_cut = 0;          /* an example that is missing is none */
        columns_end(in_columns);
        free(text);
    }
    if (d->untold) say(t, "%" PRIu64 " values are not told: there are too many paths, or they are too long", d->untold);
    return stdout_works(t) ? EXIT_DONE : EXIT_REFUSED;
}

/* As many from each range, since a range is a place where alike items may be. */
static int read_sample(description *d, long sample)
{
    scan *s = &d->scan;
    aiocosmos_client *client = s->rows.tool->client;
    char sql[64];
    long each;
    int status = scan_begin(s), refused = 0;
    if (status == EXIT_DONE) {
        each = (sample + (long)s->part_count - 1) / (long)s->part_count;
        snprintf(sql, sizeof sql, "SELECT TOP %ld * FROM c", each);
        s->sql = sql;
        while (!scan_is_over(s) && refused == 0) {
            refused = scan_ask(s);
            if (refused == 0 && !scan_is_over(s)) aiocosmos_step(client, -1);
        }
        if (refused != 0) s->rows.status = say_refusal(s->rows.tool, refused);
    }
    return status == EXIT_DONE ? scan_end(s) : (scan_end(s), status);
}

int container_describe(tool *t)
{
    static description d;                  /* zeroed */
    long sample = SAMPLE;
    int status;
    if (!number_of(t, OPT_SAMPLE, 1, SAMPLE_MAX, &sample) || !pk_of_option(t, &d.scan.pk) ||
        !columns_of_options(t, NULL, &d.scan.rows.columns)) return see_help(t);
    d.scan.rows.tool = t;
    d.scan.at_a_time = DESCRIBE_RANGES;
    d.scan.take = take_items;
    d.scan.user_data = &d;
    status = read_sample(&d, sample);
    if (status == EXIT_DONE) status = print_description(&d);
    while (d.count) free(d.properties[--d.count].path);
    say_rows(&d.scan.rows);
    return status;
}
