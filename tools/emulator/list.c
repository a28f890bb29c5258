/* list.c: hash tables and lists of items. */
#include "list.h"

#include <string.h>

static uint32_t emu_table_behind(const emu_table *table, uint32_t at)
{
    return at + 1 < table->size ? at + 1 : 0;
}

/* How far to go from one slot to reach another. */
static uint32_t emu_table_way(const emu_table *table, uint32_t from, uint32_t to)
{
    return to >= from ? to - from : to + (table->size - from);
}

/* At least a quarter of the slots stay free, or, without memory for that, one. */
bool emu_table_reserve(aioc_mem *memory, emu_table *table, uint32_t extra)
{
    emu_table grown = { NULL, table->size ? table->size : 16, 0 };
    uint64_t need = (uint64_t)table->count + extra;
    uint32_t i;
    while (need > grown.size / 4 * 3 && grown.size < 1u << 30) grown.size += grown.size / 2;
    if (grown.size == table->size) return need < table->size;
    grown.slot = (emu_slot *)aioc_mem_zalloc(memory, grown.size * sizeof *grown.slot);
    if (!grown.slot) return need < table->size;
    for (i = 0; i < table->size; i++)
        if (table->slot[i].what) emu_table_add(&grown, table->slot[i].hash, table->slot[i].what);
    emu_table_free(memory, table);
    *table = grown;
    return true;
}

void emu_table_add(emu_table *table, uint64_t hash, void *what)
{
    uint32_t at = emu_table_home(table, hash);
    while (table->slot[at].what) at = emu_table_behind(table, at);
    table->slot[at].hash = hash;
    table->slot[at].what = what;
    table->count++;
}

/* What was put behind its own place for lack of room moves up: no search ends too soon. */
void emu_table_remove(emu_table *table, uint64_t hash, const void *what)
{
    emu_slot *slot = table->slot;
    uint32_t hole = emu_table_home(table, hash), at;
    while (slot[hole].what != what) hole = emu_table_behind(table, hole);
    for (at = emu_table_behind(table, hole); slot[at].what; at = emu_table_behind(table, at)) {
        uint32_t home = emu_table_home(table, slot[at].hash);
        if (emu_table_way(table, home, at) < emu_table_way(table, hole, at)) continue;
        slot[hole] = slot[at];
        hole = at;
    }
    slot[hole].what = NULL;
    table->count--;
}

void *emu_table_find(const emu_table *table, uint64_t hash, uint32_t *at)
{
    uint32_t i = table->size ? emu_table_home(table, hash) + *at : 0;
    for (; *at < table->size; i++, (*at)++) {
        const emu_slot *slot = &table->slot[i < table->size ? i : i - table->size];
        if (!slot->what) return NULL;
        if (slot->hash != hash) continue;
        (*at)++;
        return slot->what;
    }
    return NULL;
}

void emu_table_free(aioc_mem *memory, emu_table *table)
{
    aioc_mem_free(memory, table->slot, table->size * sizeof *table->slot);
    memset(table, 0, sizeof *table);
}

bool emu_list_reserve(aioc_mem *memory, emu_list *list, uint32_t extra)
{
    uint32_t cap = list->cap > 1 ? list->cap * 2 : 8;
    bool inside = list->cap == 1;
    emu_item **at;
    if (extra <= list->cap - list->count) return true;
    if (cap < list->count + extra) cap = list->count + extra;
    at = (emu_item **)aioc_mem_resize(memory, inside ? NULL : list->at, inside ? 0 : list->cap * sizeof *at,
                                      cap * sizeof *at);
    if (!at) return false;
    if (inside) *at = *list->at;
    list->at = at;
    list->cap = cap;
    return true;
}

uint32_t emu_list_push(emu_list *list, emu_item *item)
{
    list->at[list->count] = item;
    list->live++;
    return list->count++;
}

void emu_list_free(aioc_mem *memory, emu_list *list)
{
    if (list->cap > 1) aioc_mem_free(memory, list->at, list->cap * sizeof *list->at);
    memset(list, 0, sizeof *list);
}

void emu_list_remove(emu_list *list, uint32_t slot, bool of_partition)
{
    uint32_t i, kept = 0;
    list->at[slot] = NULL;
    list->live--;
    if (list->count <= 2 * list->live + 16) return;
    for (i = 0; i < list->count; i++) {
        emu_item *item = list->at[i];
        if (!item) continue;
        *(of_partition ? &item->partition_slot : &item->range_slot) = kept;
        list->at[kept++] = item;
    }
    list->count = kept;
}

uint32_t emu_list_after(const emu_list *list, uint64_t number)
{
    uint32_t low = 0, high = list->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2, at = middle;
        while (at < high && !list->at[at]) at++;
        if (at == high || list->at[at]->number > number) high = middle;
        else low = at + 1;
    }
    while (low < list->count && !list->at[low]) low++;
    return low;
}

emu_item *emu_item_next(const emu_container *container, uint32_t *slot)
{
    emu_item *first = NULL;
    uint32_t i, from = 0;
    for (i = 0; i < container->range_count; i++) {
        const emu_list *list = &container->range[i]->items;
        while (slot[i] < list->count && !list->at[slot[i]]) slot[i]++;
        if (slot[i] == list->count || (first && first->number < list->at[slot[i]]->number)) continue;
        first = list->at[slot[i]];
        from = i;
    }
    if (first) slot[from]++;
    return first;
}
