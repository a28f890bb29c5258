/* scan.c: all the items of a container, or the rows of a query, read range by range, several at a time. */
#include "scan.h"
#include "io.h"
#include "request.h"
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SCAN_BYTES_MAX = 64 << 20,             /* of answers that are read ahead */
    SAVE_S = 1                             /* between two writings of the state */
};

/*------------------------------------------------------------------------------
 * MARK: - The ranges
 *----------------------------------------------------------------------------*/

/* Room for one more in an array. */
static void *grown(void *array, size_t count, size_t *room, size_t size)
{
    void *bigger = array;
    if (count < *room) return array;
    bigger = realloc(array, (*room ? *room * 2 : 16) * size);
    if (bigger) *room = *room ? *room * 2 : 16;
    return bigger;
}

/* NULL: it is no string, or there is no memory. */
static char *copy_str(aiocosmos_json value)
{
    char *text = value.type == AIOCOSMOS_JSON_STR ? malloc(value.len + 1) : NULL;
    if (text) aiocosmos_json_get_str(value, text, value.len + 1);
    return text;
}

static bool keep_parents(scan *s, aiocosmos_json list)
{
    aiocosmos_json id = {0};
    while (aiocosmos_json_next(list, NULL, &id)) {
        char **grown_list = grown(s->parents, s->parent_count, &s->parent_room, sizeof *s->parents);
        if (!grown_list) return false;
        s->parents = grown_list;
        s->parents[s->parent_count] = copy_str(id);
        if (!s->parents[s->parent_count++]) return false;
    }
    return true;
}

/* Zeroed; NULL: no memory. */
static part *add_part(scan *s)
{
    part *all = grown(s->parts, s->part_count, &s->part_room, sizeof *s->parts);
    if (!all) return NULL;
    s->parts = all;
    memset(&all[s->part_count], 0, sizeof *all);
    return &all[s->part_count++];
}

static bool keep_part(scan *s, aiocosmos_json range)
{
    part *p = add_part(s);
    if (!p) return false;
    p->id = copy_str(aiocosmos_json_at(range, "/id"));
    p->min = copy_str(aiocosmos_json_at(range, "/minInclusive"));
    p->max = copy_str(aiocosmos_json_at(range, "/maxExclusive"));
    return p->id && p->min && p->max && keep_parents(s, aiocosmos_json_at(range, "/parents"));
}

static void keep_ranges(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    scan *s = user_data;
    aiocosmos_json range = {0};
    bool ok = page->result->status == 0;
    (void)client;
    s->rows.charge_ru += page->result->charge_ru;
    s->rows.more = page->more;
    while (ok && aiocosmos_json_next(page->items, NULL, &range)) ok = keep_part(s, range);
    s->listed = ok && !page->more;
    if (!ok) s->rows.more = false;
    if (page->result->status < 0) {        /* nobody is there who could be asked in another way */
        say_failure(s->rows.tool, page->result);
        s->rows.status = EXIT_REFUSED;
    }
}

static void free_part(part *p)
{
    free(p->id);
    free(p->min);
    free(p->max);
    free(p->token);
}

static void drop_parents(scan *s)
{
    size_t kept = 0, i, k;
    for (i = 0; i < s->part_count; i++) {
        for (k = 0; k < s->parent_count && strcmp(s->parts[i].id, s->parents[k]) != 0; k++) continue;
        if (k < s->parent_count) free_part(&s->parts[i]);
        else s->parts[kept++] = s->parts[i];
    }
    s->part_count = kept;
}

static int by_place(const void *a, const void *b)
{
    return strcmp(((const part *)a)->min, ((const part *)b)->min);
}

/* Whether the parts are all of the key space, each key in one of them. */
static bool is_whole(const scan *s)
{
    size_t i;
    if (!s->listed || s->part_count == 0 || *s->parts[0].min) return false;
    for (i = 1; i < s->part_count; i++)
        if (strcmp(s->parts[i - 1].max, s->parts[i].min) != 0) return false;
    return strcmp(s->parts[i - 1].max, "FF") == 0;
}

/* One part without edges: whatever the server makes of it. */
static bool take_as_one(scan *s)
{
    while (s->part_count) free_part(&s->parts[--s->part_count]);
    return add_part(s) != NULL;
}

/* The ranges that there are now. A server that has no such list, or one with gaps, is asked by one query. */
static int find_parts(scan *s)
{
    tool *t = s->rows.tool;
    aiocosmos_query_request request = {0};
    aiocosmos_cursor list;
    request.feed = AIOCOSMOS_FEED_RANGES;
    request.database = t->operand[0];
    request.container = t->operand[1];
    read_feed(&s->rows, &request, keep_ranges, s, &list);
    aiocosmos_cursor_close(t->client, list);
    if (s->rows.status != EXIT_DONE) return s->rows.status;
    drop_parents(s);
    if (s->part_count) qsort(s->parts, s->part_count, sizeof *s->parts, by_place);
    if (is_whole(s) || take_as_one(s)) return EXIT_DONE;
    say(t, "no memory");
    return EXIT_REFUSED;
}

/*------------------------------------------------------------------------------
 * MARK: - The state
 *----------------------------------------------------------------------------*/

/* What is read, and where it goes: a state of anything else is no place to go on from. NULL: no memory. */
static char *signature_of(const scan *s)
{
    const tool *t = s->rows.tool;
    char *text = NULL;
    size_t len, i;
    FILE *to = open_memstream(&text, &len);
    if (!to) return NULL;
    fprintf(to, "%s %s", t->command->name, t->host);
    for (i = 0; i < (size_t)t->operands; i++) fprintf(to, " %s", t->operand[i]);
    if (s->sql) fprintf(to, " %s", s->sql);
    for (i = 0; i < s->param_count; i++)
        fprintf(to, " %s=%.*s", s->params[i].name, (int)s->params[i].value.len, s->params[i].value.str);
    if (has(t, OPT_PK)) fprintf(to, " --pk %s", t->option[OPT_PK]);
    if (s->target) fprintf(to, " to %s", s->target);
    if (fclose(to) == 0) return text;
    free(text);
    return NULL;
}

static void put_member(FILE *to, const char *name, const char *text)
{
    fprintf(to, "\"%s\":", name);
    if (text) put_string(to, text, strlen(text));
    else fputs("null", to);
}

static char *state_text(const scan *s)
{
    char *text = NULL;
    size_t len, i;
    FILE *to = open_memstream(&text, &len);
    if (!to) return NULL;
    fputc('{', to);
    put_member(to, "of", s->signature);
    fputs(",\"parts\":[", to);
    for (i = 0; i < s->part_count; i++) {
        const part *p = &s->parts[i];
        fputs(i ? ",{" : "{", to);
        put_member(to, "min", p->min);
        fputc(',', to);
        put_member(to, "max", p->max);
        fputc(',', to);
        put_member(to, "token", p->token);
        fprintf(to, ",\"done\":%s}", p->done ? "true" : "false");
    }
    fputs("]}", to);
    if (fclose(to) == 0) return text;
    free(text);
    return NULL;
}

static void save(scan *s)
{
    tool *t = s->rows.tool;
    char *text = has(t, OPT_STATE) ? state_text(s) : NULL;
    if (has(t, OPT_STATE) && (!text || !write_state(t, text))) s->rows.status = EXIT_REFUSED;
    s->saved = seconds_since(t->started);
    free(text);
}

static bool take_part(scan *s, aiocosmos_json kept)
{
    aiocosmos_json done = aiocosmos_json_at(kept, "/done"), token = aiocosmos_json_at(kept, "/token");
    part *p = add_part(s);
    if (!p) return false;
    p->min = copy_str(aiocosmos_json_at(kept, "/min"));
    p->max = copy_str(aiocosmos_json_at(kept, "/max"));
    p->token = copy_str(token);
    return aiocosmos_json_get_bool(done, &p->done) && !p->min == !p->max &&
           (p->token || token.type == AIOCOSMOS_JSON_NULL);
}

/* Goes on from what an earlier run has left. False: that cannot be, and it has been said. */
static bool take_state(scan *s, const char *text)
{
    tool *t = s->rows.tool;
    aiocosmos_json_doc *doc;
    aiocosmos_json kept = {0};
    bool ours, whole = true;
    if (aiocosmos_json_parse(NULL, text, strlen(text), &doc, NULL) < 0)
        return say(t, "--state %s: it is no state of 'aiocosmos %s'", t->option[OPT_STATE], t->command->name), false;
    ours = aiocosmos_json_is_str(aiocosmos_json_at(aiocosmos_json_root(doc), "/of"), s->signature);
    while (ours && whole && aiocosmos_json_next(aiocosmos_json_at(aiocosmos_json_root(doc), "/parts"), NULL, &kept))
        whole = take_part(s, kept);
    aiocosmos_json_free(doc);
    if (!ours) say(t, "--state %s: it is of another command, account or query", t->option[OPT_STATE]);
    else if (!whole || s->part_count == 0) say(t, "--state %s: it is damaged", t->option[OPT_STATE]);
    return ours && whole && s->part_count > 0;
}

void scan_settle(part *p, aiocosmos_str token, bool last)
{
    scan *s = p->of;
    tool *t = s->rows.tool;
    char *kept = last ? NULL : text_of(token);
    if (!last && (!kept || token.len == 0)) {
        if (has(t, OPT_STATE) && !s->stuck) {
            say(t, "--state: %s", kept ? "what this query holds is too long for a state" : "no memory");
            s->rows.status = EXIT_REFUSED;
            s->stuck = kept != NULL;
        }
        free(kept);
        return;
    }
    free(p->token);
    p->token = kept;
    p->done = last;
    if (has(t, OPT_STATE) && seconds_since(t->started) - s->saved >= SAVE_S) save(s);
}

/*------------------------------------------------------------------------------
 * MARK: - Their items
 *----------------------------------------------------------------------------*/

int scan_begin(scan *s)
{
    tool *t = s->rows.tool;
    char *state = NULL;
    int status;
    if (has(t, OPT_STATE)) {
        s->signature = signature_of(s);
        if (!s->signature) return say(t, "no memory"), EXIT_REFUSED;
        if (!read_state(t, &state)) return free(state), EXIT_USAGE;
    }
    if (state) {
        status = take_state(s, state) ? EXIT_DONE : EXIT_USAGE;
        free(state);
    } else if (!s->whole && !is_set(&s->pk)) {
        status = find_parts(s);
    } else {
        status = take_as_one(s) ? EXIT_DONE : EXIT_REFUSED;
        if (status != EXIT_DONE) say(t, "no memory");
    }
    if (status != EXIT_DONE) return status;
    save(s);                               /* if that cannot be, it is known before anything is done */
    return s->rows.status;
}

static void take_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    part *p = user_data;
    scan *s = p->of;
    if (s->rows.status != EXIT_DONE) return;               /* it is being broken off */
    if (page->status == 0) s->take(s, p, page);
    else put_rows(&s->rows, page);                         /* which says so */
    p->due = page->more;
    if (page->more) return;
    aiocosmos_cursor_close(client, p->query);
    p->reading = false;
    s->ended++;
}

static int begin_part(scan *s, part *p)
{
    tool *t = s->rows.tool;
    aiocosmos_query_request request = {0};
    int refused;
    p->of = s;
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.sql = s->sql;
    request.params = s->params;
    request.param_count = s->param_count;
    request.pk = s->pk;
    request.epk_min = p->min && *p->min ? p->min : NULL;
    request.epk_max = p->max && strcmp(p->max, "FF") != 0 ? p->max : NULL;
    request.page_items_max = s->page_items_max;
    request.memory_max = SCAN_BYTES_MAX / s->at_a_time;
    request.skip_empty = true;
    request.continuation = aiocosmos_text(p->token);
    refused = aiocosmos_query_open(t->client, &request, &p->query);
    if (refused == 0) p->reading = p->due = true;
    return refused;
}

int scan_ask(scan *s)
{
    aiocosmos_client *client = s->rows.tool->client;
    int refused = 0;
    size_t i;
    while (refused == 0 && s->begun < s->part_count && s->begun - s->ended < s->at_a_time) {
        part *p = &s->parts[s->begun];
        if (!p->done) refused = begin_part(s, p);
        else s->ended++;
        if (refused == 0) s->begun++;
    }
    for (i = 0; i < s->begun; i++) {
        part *p = &s->parts[i];
        int why = p->due ? aiocosmos_cursor_next(client, p->query, take_page, p) : 0;
        if (why == 0) p->due = false;
        else refused = why;
    }
    return refused == AIOCOSMOS_E_FULL && aiocosmos_pending(client) ? 0 : refused;
}

void scan_stop(scan *s)
{
    if (s->rows.status == EXIT_DONE && s->ended < s->part_count) s->rows.status = EXIT_INCOMPLETE;
}

bool scan_is_over(const scan *s)
{
    return s->ended == s->part_count || s->rows.status != EXIT_DONE;
}

int scan_end(scan *s)
{
    aiocosmos_client *client = s->rows.tool->client;
    size_t i;
    for (i = 0; i < s->begun; i++)
        if (s->parts[i].reading) aiocosmos_cursor_close(client, s->parts[i].query);
    aiocosmos_drain(client, -1);           /* pages that are owed have our memory in their hands */
    if (s->begun) save(s);
    for (i = 0; i < s->part_count; i++) free_part(&s->parts[i]);
    for (i = 0; i < s->parent_count; i++) free(s->parents[i]);
    free(s->parts);
    free(s->parents);
    free(s->signature);
    return s->rows.status;
}

void scan_say_all_read(const scan *s)
{
    tool *t = s->rows.tool;
    if (s->rows.status == EXIT_DONE && s->rows.pages == 0 && has(t, OPT_STATE))
        say(t, "all was read by an earlier run: remove %s to begin anew", t->option[OPT_STATE]);
}

/* It has time: see --timeout. */
void scan_prepare(aiocosmos_options *o)
{
    o->throttle_wait_ms = AIOCOSMOS_OFF;
}
