/* held.c: rows of a query that has to make all of them before it gives the first. They are kept for the pages to
 * come, and made anew where something has changed meanwhile. */
#include "held.h"

#include <string.h>

#define EMU_HELD_MOST  64                                  /* queries */
#define EMU_HELD_BYTES ((size_t)1 << 30)

typedef struct emu_held_row {
    uint64_t item;                                         /* its number; 0: of none */
    size_t end;                                            /* of its text, which begins where the last one's ends */
    bool ours;                                             /* for this scope to give */
} emu_held_row;

/* All rows of one query over one scope. */
struct emu_held {
    emu_held *next;                                        /* used less recently */
    emu_container *container;
    uint64_t changes;                                      /* of the container, that it has seen */
    uint64_t key[2];                                       /* a hash of query and scope */
    emu_text text;
    emu_held_row *row;
    size_t count, cap;
};

typedef struct emu_holding {                               /* while rows are made */
    emu_held *held;
    emu_sql_run *run;
    const emu_item **fed;
    size_t count, cap;
    const emu_scope *scope;
} emu_holding;

static void emu_held_free(emu_core *core, emu_held *held)
{
    if (!held) return;
    aioc_mem_buffer_free(&core->store.memory, &held->text.buffer);
    aioc_mem_free(&core->store.memory, held->row, held->cap * sizeof *held->row);
    aioc_mem_free(&core->store.memory, held, sizeof *held);
}

void emu_held_forget(emu_core *core, const emu_container *container)
{
    emu_held **at = &core->held, *held;
    while ((held = *at) != NULL) {
        if (held->container == container) {
            *at = held->next;
            emu_held_free(core, held);
        } else {
            at = &held->next;
        }
    }
}

/* Takes it out of the list. Those that the container has left behind go away on the way. */
static emu_held *emu_held_take(emu_core *core, const emu_container *container, const uint64_t key[2])
{
    emu_held **at = &core->held, *held, *found = NULL;
    while ((held = *at) != NULL) {
        bool same = held->container == container && memcmp(held->key, key, sizeof held->key) == 0;
        if (!same && (held->container != container || held->changes == container->changes)) {
            at = &held->next;
            continue;
        }
        *at = held->next;
        if (same && held->changes == container->changes) found = held;
        else emu_held_free(core, held);
    }
    return found;
}

/* For the next page. Expiry changes what there is without a sound. */
static void emu_held_keep(emu_core *core, emu_held *held)
{
    emu_held **at;
    size_t count = 0, bytes = 0, most = core->store.memory.max / 8;  /* the rest is for items */
    if (most > EMU_HELD_BYTES) most = EMU_HELD_BYTES;
    if (held->container->has_ttl) {
        emu_held_free(core, held);
        return;
    }
    held->next = core->held;
    core->held = held;
    for (at = &core->held; *at;) {
        bytes += (*at)->text.buffer.cap + (*at)->cap * sizeof *(*at)->row;
        if (++count <= EMU_HELD_MOST && bytes <= most) {
            at = &(*at)->next;
        } else {
            held = *at;
            *at = held->next;
            emu_held_free(core, held);
        }
    }
}

static void emu_hold_row(void *user, const char *json, size_t len)
{
    emu_holding *holding = (emu_holding *)user;
    emu_held *held = holding->held;
    uint64_t document = emu_sql_row_document(holding->run);
    const emu_item *item = document > 0 && document <= holding->count ? holding->fed[document - 1] : NULL;
    emu_put(&held->text, json, len);
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
    held->row[held->count].item = item ? item->number : 0;
    held->row[held->count].end = held->text.buffer.len;
    held->row[held->count++].ours = !item || emu_in_scope(holding->scope, item);
}

static bool emu_holding_fed(emu_holding *holding, const emu_item *item)
{
    aioc_mem *memory = holding->held->text.memory;
    if (holding->count == holding->cap) {
        size_t cap = holding->cap ? 2 * holding->cap : 64;
        const emu_item **grown = (const emu_item **)aioc_mem_resize(memory, holding->fed, holding->cap * sizeof *grown,
                                                                    cap * sizeof *grown);
        if (!grown) return false;
        holding->fed = grown;
        holding->cap = cap;
    }
    holding->fed[holding->count++] = item;
    return true;
}

static void emu_scan_holding(emu_source *source, emu_holding *holding, emu_scan *scan)
{
    emu_cursor *from;
    const emu_item *item;
    int status = 0;
    while ((item = emu_source_peek(source, &from)) != NULL && status == 0) {
        status = emu_holding_fed(holding, item) ? emu_scan_item(source->x, item, holding->run, NULL, scan) : -1;
        from->slot++;
    }
    scan->failed = status < 0 || emu_sql_finish(holding->run) < 0 || holding->held->text.failed;
}

/* Makes the rows of a query over the position's part of the key space. NULL: refused. */
static emu_held *emu_hold(emu_exchange *x, const emu_scope *scope, const emu_position *position,
                          const emu_sql_query *query, emu_scan *scan)
{
    aioc_mem *memory = &x->store->memory;
    emu_held *held = (emu_held *)aioc_mem_zalloc(memory, sizeof *held);
    emu_holding holding;
    emu_scope part = *scope;
    emu_position begin = *position;
    emu_source source;
    bool ok;
    if (!held) {
        emu_no_memory(x);
        return NULL;
    }
    held->text.memory = memory;
    held->container = x->container;
    held->changes = x->container->changes;
    memset(&holding, 0, sizeof holding);
    holding.held = held;
    holding.scope = scope;
    begin.after = 0;
    if (!scope->whole_key && !scope->prefix) {
        part.only = NULL;
        part.min = aioc_mem_str(position->min);
        part.max = aioc_mem_str(position->max);
    }
    holding.run = emu_sql_start(query, emu_hold_row, &holding);
    ok = holding.run ? emu_source_open(&source, x, &part, &begin) : emu_no_memory(x);
    if (ok) emu_scan_holding(&source, &holding, scan);
    if (holding.run) emu_source_close(&source);
    if (ok) ok = emu_scan_end(x, holding.run, scan);
    else emu_sql_stop(holding.run);
    aioc_mem_free(memory, holding.fed, holding.cap * sizeof *holding.fed);
    if (ok) return held;
    emu_held_free(x->core, held);
    return NULL;
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

/* The row to go on with. The last one that was given is looked for, so that rows which came or went before it meanwhile
 * make no difference; where it is gone or has changed, the number of rows has to do. */
static size_t emu_held_from(const emu_held *held, const emu_position *position)
{
    uint64_t found = 0;
    size_t i;
    if (position->rows == 0) return 0;
    for (i = 0; i < held->count && position->item; i++)
        if (held->row[i].item == position->item && ++found == position->after) return i + 1;
    return position->rows < held->count ? (size_t)position->rows : held->count;
}

static void emu_held_give(const emu_held *held, emu_position *position, emu_page *page, emu_scan *scan)
{
    size_t i = emu_held_from(held, position), k;
    for (; i < held->count && !scan->more; i++) {
        size_t start = i ? held->row[i - 1].end : 0;
        if (!held->row[i].ours) continue;
        emu_page_row(page, held->text.buffer.data + start, held->row[i].end - start);
        scan->more = page->full;
        if (page->full) break;
    }
    if (!scan->more) return;
    position->rows = i;
    position->item = i ? held->row[i - 1].item : 0;
    for (position->after = 0, k = 0; k < i; k++) position->after += held->row[k].item == position->item;
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

bool emu_held_page(emu_exchange *x, const emu_scope *scope, emu_position *position, const emu_sql_query *query,
                          emu_page *page, emu_scan *scan)
{
    emu_core *core = x->core;
    uint64_t key[2];
    emu_held *held;
    emu_scope mine = *scope;
    if (!scope->key && scope->max.len == 0) {
        mine.min = aioc_mem_str(scope->only->min);
        mine.max = aioc_mem_str(scope->only->max);
    }
    if (!scope->key) emu_widen(&mine, position);
    if (!emu_held_key(x, &mine, position, key)) return false;
    held = emu_held_take(core, x->container, key);
    if (!held) held = emu_hold(x, &mine, position, query, scan);
    if (!held) return false;
    memcpy(held->key, key, sizeof key);
    emu_held_give(held, position, page, scan);
    if (scan->more) emu_held_keep(core, held);
    else emu_held_free(core, held);
    return true;
}
