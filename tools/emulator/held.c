/* held.c: rows of a query that has to make all of them before it gives the first. They are kept for the pages to come,
 * for a minute; after that, and where something has changed meanwhile, they are made anew. ORDER BY then goes on behind
 * the values of the last row and its item, as the service does, so that no change between pages gives a row twice that
 * has not changed itself, and only so many of its rows are made at a time. The others go on where they were.
 *
 * A query that takes longer than a page may is answered with a page without rows; its work is kept like rows, for the
 * next one to go on with. */
#include "held.h"
#include "plan.h"

#include <string.h>

#define EMU_HELD_MOST   64                                 /* queries */
#define EMU_HELD_BYTES  ((size_t)1 << 30)
#define EMU_HELD_AGE_MS 60000
#define EMU_WINDOW_MOST  10000                             /* rows of ORDER BY, */
#define EMU_WINDOW_LEAST 1000
#define EMU_WINDOW_BYTES ((size_t)16 << 20)                /* or about this much of items */

typedef struct emu_held_row {
    uint64_t item;                                         /* its number; 0: of none */
    size_t keys_end, end;                                  /* of its keys and its text, behind the last one's text */
    bool ours;                                             /* for this scope to give */
} emu_held_row;

/* Rows of one query over one scope, or as far as they are made. */
struct emu_held {
    emu_held *next;                                        /* used less recently */
    emu_container *container;
    uint64_t changes;                                      /* of the container, that it has seen */
    uint64_t key[2];                                       /* a hash of query and scope */
    uint64_t base, base_item;                              /* rows before the first, and the item of the last of them */
    int64_t used_ms;
    emu_text text;
    emu_held_row *row;
    size_t count, cap;
    bool more;                                             /* there are further ones, to be made from there on */
    /* While they are made: */
    emu_sql_query *query;
    emu_sql_run *run;
    bool ordered, windowed, fed_in_part, finishing;
    emu_lookup lookup;
    emu_bill bill;
    uint64_t number;                                       /* of the last item that was fed, of the lookup's part */
    emu_text document;
};

void emu_held_free(emu_store *store, emu_held *held)
{
    if (!held) return;
    emu_sql_stop(held->run);
    emu_lookup_free(store, &held->lookup);
    emu_sql_free(held->query);
    aioc_mem_buffer_free(&store->memory, &held->document.buffer);
    aioc_mem_buffer_free(&store->memory, &held->text.buffer);
    aioc_mem_free(&store->memory, held->row, held->cap * sizeof *held->row);
    aioc_mem_free(&store->memory, held, sizeof *held);
}

void emu_held_forget(emu_core *core, const emu_container *container)
{
    emu_held **at = &core->held, *held;
    while ((held = *at) != NULL) {
        if (held->container == container) {
            *at = held->next;
            emu_held_free(&core->store, held);
        } else {
            at = &held->next;
        }
    }
}

void emu_held_forget_old(emu_core *core)
{
    emu_held **at = &core->held, *held;
    int64_t now_ms = emu_now(&core->store.clock);
    if (!*at || now_ms < core->held_look_ms) return;
    core->held_look_ms = now_ms + EMU_HELD_AGE_MS / 10;
    while ((held = *at) != NULL) {
        if (now_ms - held->used_ms >= EMU_HELD_AGE_MS) {
            *at = held->next;
            emu_held_free(&core->store, held);
        } else {
            at = &held->next;
        }
    }
}

/* Has the next page's rows, or is on the way to them. What is half made goes on with items as they are, as the service
 * does. */
static bool emu_held_fits(const emu_held *held, const emu_container *container, const uint64_t key[2],
                          const emu_position *position)
{
    if (held->container != container || memcmp(held->key, key, sizeof held->key) != 0) return false;
    if (held->run) return position->rows == held->base && position->item == held->base_item;
    return held->changes == container->changes && position->rows >= held->base &&
           position->rows + held->more <= held->base + held->count &&
           (!held->ordered || position->rows == 0 || position->item ==
            (position->rows == held->base ? held->base_item : held->row[position->rows - held->base - 1].item));
}

/* Takes it out of the list. Those that the container has left behind go away on the way. */
static emu_held *emu_held_take(emu_core *core, const emu_container *container, const uint64_t key[2],
                               const emu_position *position)
{
    emu_held **at = &core->held, *held, *found = NULL;
    while ((held = *at) != NULL) {
        bool fits = !found && emu_held_fits(held, container, key, position);
        if (!fits && (held->container != container || held->run || held->changes == container->changes)) {
            at = &held->next;
            continue;
        }
        *at = held->next;
        if (fits) found = held;
        else emu_held_free(&core->store, held);
    }
    return found;
}

/* For the next page. Expiry changes what there is without a sound. */
static void emu_held_keep(emu_core *core, emu_held *held)
{
    emu_held **at;
    size_t count = 0, bytes = 0, most = core->store.memory.max / 8;  /* the rest is for items */
    if (most > EMU_HELD_BYTES) most = EMU_HELD_BYTES;
    if (held->container->has_ttl && !held->run) {
        emu_held_free(&core->store, held);
        return;
    }
    held->used_ms = emu_now(&core->store.clock);
    held->next = core->held;
    core->held = held;
    for (at = &core->held; *at;) {
        bytes += (*at)->text.buffer.cap + (*at)->cap * sizeof *(*at)->row;
        if (++count <= EMU_HELD_MOST && bytes <= most) {
            at = &(*at)->next;
        } else {
            held = *at;
            *at = held->next;
            emu_held_free(&core->store, held);
        }
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Making rows
 *----------------------------------------------------------------------------*/

/* A document's number for the engine also says whether its rows are for this scope to give. */
static uint64_t emu_held_number(const emu_scope *scope, const emu_item *item)
{
    return item->number << 1 | emu_in_scope(scope, item);
}

static void emu_hold_row(void *user, const char *json, size_t len)
{
    emu_held *held = (emu_held *)user;
    uint64_t document = emu_sql_row_document(held->run);
    aiocosmos_str keys = emu_str("", 0);
    if (held->ordered) keys = emu_sql_row_keys(held->run);
    if (held->count == held->cap) {
        size_t cap = held->cap ? 2 * held->cap : 64;
        emu_held_row *grown = (emu_held_row *)aioc_mem_resize(held->text.memory, held->row,
                                                              held->cap * sizeof *grown, cap * sizeof *grown);
        if (!grown) {
            held->text.failed = true;
            return;
        }
        held->row = grown;
        held->cap = cap;
    }
    if (keys.len <= EMU_KEYS_MAX) emu_put_str(&held->text, keys);
    held->row[held->count].item = document >> 1;
    held->row[held->count].keys_end = held->text.buffer.len;
    emu_put(&held->text, json, len);
    held->row[held->count].end = held->text.buffer.len;
    held->row[held->count++].ours = !document || (document & 1);
}

/* How many rows of ORDER BY to make at once. */
static int64_t emu_held_window(const emu_job *job, const emu_item *example)
{
    size_t size = example ? example->text_len + EMU_SYSTEM_BYTES : 1;
    int64_t window = (int64_t)(EMU_WINDOW_BYTES / size);
    if (window > EMU_WINDOW_MOST) window = EMU_WINDOW_MOST;
    if (window < EMU_WINDOW_LEAST) window = EMU_WINDOW_LEAST;
    return window > job->page.max ? window : job->page.max;
}

static bool emu_hold_run(emu_exchange *x, emu_held *held)
{
    held->run = emu_sql_start(held->query, emu_hold_row, held);
    if (!held->run) return emu_no_memory(x);
    if (held->bill.counted) emu_sql_count_reads(held->run, held->bill.served);
    return true;
}

/* Where its rows begin. False: refused. */
static bool emu_hold_start(emu_exchange *x, emu_job *job, emu_held *held)
{
    emu_position *position = &job->position;
    emu_sql_error error;
    aiocosmos_str body = x->request->body;
    held->query = emu_sql_prepare(body.ptr, body.len, x->now_ms, &x->store->memory, &error);
    if (!held->query) return emu_refuse_json(x, error.status, error.sub_status, error.message, NULL);
    emu_define_query(x, held->query);
    if (position->keys_len && emu_sql_is_ordered(held->query)) {
        if (!emu_sql_go_on(held->query, emu_str(position->keys, position->keys_len), position->item, position->after,
                           (int64_t)position->rows)) return emu_no_memory(x);
        held->base = position->rows;
        held->base_item = position->item;
    }
    held->ordered = emu_sql_is_ordered(held->query);
    held->windowed = held->ordered && held->base == position->rows;
    held->bill = job->bill;
    return emu_hold_run(x, held);
}

static emu_held *emu_hold(emu_exchange *x, emu_job *job, const uint64_t key[2])
{
    emu_held *held = (emu_held *)aioc_mem_zalloc(&x->store->memory, sizeof *held);
    if (!held) {
        emu_no_memory(x);
        return NULL;
    }
    held->text.memory = held->document.memory = &x->store->memory;
    held->container = x->container;
    held->changes = x->container->changes;
    memcpy(held->key, key, sizeof held->key);
    if (emu_hold_start(x, job, held)) return held;
    emu_held_free(x->store, held);
    return NULL;
}

/* True: there is a further part to be looked up. */
static bool emu_scan_holding(emu_source *source, const emu_scope *scope, emu_job *job, emu_held *held)
{
    emu_cursor *from;
    const emu_item *item;
    int status = 0;
    if (held->fed_in_part) {
        status = emu_scan_item(source->x, job, NULL, held->run, &held->document);
        held->fed_in_part = job->suspended;
    }
    while (status == 0 && !held->finishing && (item = emu_source_peek(source, &from)) != NULL) {
        if (emu_page_over(job) || emu_slice_over(job)) return false;
        if (held->windowed) emu_sql_first(held->run, emu_held_window(job, item));
        held->windowed = false;
        held->number = item->number;
        emu_sql_number(held->run, emu_held_number(scope, item));
        status = emu_scan_item(source->x, job, item, held->run, &held->document);
        held->fed_in_part = job->suspended;
        from->slot++;
    }
    if (status == 0 && !held->finishing && held->lookup.index && !emu_sql_has_enough(held->run) &&
        emu_lookup_next(&held->lookup)) {
        held->number = 0;
        return true;
    }
    if (status == 1 || status == 0) {
        bool begun = held->finishing;
        held->finishing = true;
        status = begun ? emu_scan_item(source->x, job, NULL, held->run, NULL) : emu_scan_finish(job, held->run);
    }
    job->scan.failed = status < 0 || held->text.failed;
    return false;
}

/* How many rows of ORDER BY are wanted at first; -1: all. */
static int64_t emu_held_wanted(const emu_job *job, const emu_held *held)
{
    int64_t deciding = emu_sql_deciding(held->run);
    return deciding < 0 && held->windowed ? job->page.max + 1 : deciding;
}

/* Sees to the items that are looked at next. False: suspended, or refused. */
static bool emu_hold_lookup(emu_exchange *x, const emu_scope *part, emu_job *job, emu_held *held)
{
    emu_lookup *lookup = &held->lookup;
    if (held->finishing) return true;
    if (!emu_choose_lookup(x, job, lookup, held->query, part, emu_held_wanted(job, held), held->ordered)) return false;
    if (lookup->walks && held->windowed) {
        emu_sql_first(held->run, job->page.max);
        held->windowed = false;
    }
    if (emu_lookup_refresh(x, lookup, part, held->number) || !lookup->walks) return true;
    emu_sql_stop(held->run);                               /* what was read is no beginning of what is to be read now */
    held->number = 0;
    held->fed_in_part = false;
    return emu_hold_run(x, held);
}

/* A slice of making them. False: refused. */
static bool emu_hold_some(emu_exchange *x, const emu_scope *scope, emu_job *job, emu_held *held)
{
    emu_scope part = *scope;
    emu_position begin = job->position;
    emu_source source;
    emu_sql_run *run;
    bool ok, again;
    if (!scope->whole_key && !scope->prefix) {
        part.only = NULL;
        part.min = aioc_mem_str(begin.min);
        part.max = aioc_mem_str(begin.max);
    }
    do {
        if (!emu_hold_lookup(x, &part, job, held)) return job->suspended;
        begin.after = held->number;
        ok = emu_source_open(&source, x, &part, &begin, held->finishing ? NULL : &held->lookup);
        again = ok && emu_scan_holding(&source, scope, job, held);
        emu_source_close(&source);
    } while (again);
    if (!ok) return false;
    if (!job->scan.failed && (job->suspended || !held->finishing)) return true;
    run = held->run;
    held->run = NULL;
    held->more = emu_sql_has_more(run);
    emu_lookup_free(x->store, &held->lookup);
    ok = emu_scan_end(x, run, &job->scan);
    emu_sql_free(held->query);
    held->query = NULL;
    aioc_mem_buffer_free(&x->store->memory, &held->document.buffer);
    return ok;
}

/* What decides about the rows: the key, or the parts of the key space asked for now and by the continuation. */
static bool emu_held_key(emu_exchange *x, const emu_scope *scope, const emu_position *position, uint64_t key[2])
{
    emu_text *text = &x->core->scratch;
    emu_text_clear(text);
    emu_puts(text, x->container->rid);
    if (scope->key) {
        emu_puts(text, " key ");
        emu_put(text, scope->key->bytes, scope->key->len);
    } else {
        emu_puts(text, " from ");
        emu_put_str(text, scope->min);
        emu_puts(text, " to ");
        emu_put_str(text, scope->max);
        emu_puts(text, " of ");
        emu_puts(text, position->min);
        emu_puts(text, "-");
        emu_puts(text, position->max);
    }
    emu_puts(text, "\n");
    emu_put_str(text, x->request->body);
    aioc_protocol_murmur3_128(text->buffer.data, text->buffer.len, key);
    return !text->failed || emu_no_memory(x);
}

/*------------------------------------------------------------------------------
 * MARK: - Giving them
 *----------------------------------------------------------------------------*/

/* The row to go on with. Rows of ORDER BY were made from there on, or nothing has changed since. Of others the last one
 * that was given is looked for, so that rows which came or went before it meanwhile make no difference; where it is
 * gone or has changed, the number of rows has to do. */
static size_t emu_held_from(const emu_held *held, const emu_position *position)
{
    uint64_t found = 0, rows = position->rows - held->base;
    size_t i;
    if (position->rows == 0) return 0;
    for (i = 0; i < held->count && position->item && !position->keys_len; i++)
        if (held->row[i].item == position->item && ++found == position->after) return i + 1;
    return rows < held->count ? (size_t)rows : held->count;
}

static aiocosmos_str emu_held_keys(const emu_held *held, size_t i)
{
    size_t start = i ? held->row[i - 1].end : 0;
    return emu_str(held->text.buffer.data + start, held->row[i].keys_end - start);
}

/* The place behind row i - 1, of a page that began with row `from`. */
static void emu_held_place(const emu_held *held, size_t from, size_t i, emu_position *position)
{
    aiocosmos_str keys;
    uint64_t after = 0, item;
    size_t k = i;
    if (i == from) return;                                 /* where it was */
    keys = emu_held_keys(held, i - 1);
    item = held->row[i - 1].item;
    if (keys.len) {                                        /* rows that are the same stand together */
        while (k > from && held->row[k - 1].item == item && aioc_mem_same(emu_held_keys(held, k - 1), keys)) k--;
        after = i - k;
        if (k == from && item == position->item && aioc_mem_same(keys, emu_str(position->keys, position->keys_len)))
            after += position->after;
        memcpy(position->keys, keys.ptr, keys.len);
    } else {
        while (k-- > 0) after += held->row[k].item == item;
    }
    position->rows = held->base + i;
    position->item = item;
    position->after = after;
    position->keys_len = keys.len;
}

static void emu_held_give(const emu_held *held, emu_job *job)
{
    size_t from = emu_held_from(held, &job->position), i;
    emu_page *page = &job->page;
    for (i = from; i < held->count; i++) {
        size_t start = held->row[i].keys_end;
        if (!held->row[i].ours) continue;
        emu_page_row(page, held->text.buffer.data + start, held->row[i].end - start);
        if (page->full) break;
    }
    job->scan.more = page->full || held->more;
    if (job->scan.more) emu_held_place(held, from, i, &job->position);
}

/* The part of the key space that a continuation is about, and what is asked for now, which is not in it only where a
 * client forgot to say how far a position goes. */
static void emu_widen(const emu_scope *scope, emu_position *position)
{
    if (aioc_protocol_epk_compare(scope->min, aioc_mem_str(position->min)) < 0)
        emu_copy_border(position->min, scope->min);
    if (aioc_protocol_epk_compare(scope->max, aioc_mem_str(position->max)) > 0)
        emu_copy_border(position->max, scope->max);
}

/* Of the position's part of the key space, what is this scope's to give. */
bool emu_held_page(emu_exchange *x, const emu_scope *scope, emu_job *job)
{
    emu_core *core = x->core;
    emu_held *held = job->held;
    emu_scope mine = *scope;
    uint64_t key[2];
    if (!scope->key && scope->max.len == 0) {
        mine.min = aioc_mem_str(scope->only->min);
        mine.max = aioc_mem_str(scope->only->max);
    }
    if (!held) {
        if (!scope->key) emu_widen(&mine, &job->position);
        if (!emu_held_key(x, &mine, &job->position, key)) return false;
        held = emu_held_take(core, x->container, key, &job->position);
        if (!held) held = emu_hold(x, job, key);
    }
    job->held = held;
    if (!held || (held->run && !emu_hold_some(x, &mine, job, held))) return false;
    if (job->suspended) return true;
    job->held = NULL;
    if (!held->run) emu_held_give(held, job);
    else job->scan.more = true;                            /* the page is over; its work is kept for the next one */
    if (job->scan.more) emu_held_keep(core, held);
    else emu_held_free(x->store, held);
    return true;
}
