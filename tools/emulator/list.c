/* list.c: hash tables and lists of items. */
#include "list.h"

#include <string.h>

/* Makes room for one more. A table that cannot grow gets longer chains; only a first one has to be there. */
bool emu_table_reserve(aioc_mem *memory, emu_table *table)
{
    uint32_t size = table->size ? table->size * 2 : 16, i;
    emu_node **bucket;
    if (table->count < table->size || table->size >= 1u << 30) return true;
    bucket = (emu_node **)aioc_mem_zalloc(memory, size * sizeof *bucket);
    if (!bucket) return table->size > 0;
    for (i = 0; i < table->size; i++) {
        while (table->bucket[i]) {
            emu_node *node = table->bucket[i], **into = &bucket[node->hash & (size - 1)];
            table->bucket[i] = node->next;
            node->next = *into;
            *into = node;
        }
    }
    aioc_mem_free(memory, table->bucket, table->size * sizeof *table->bucket);
    table->bucket = bucket;
    table->size = size;
    return true;
}

void emu_table_add(emu_table *table, emu_node *node)
{
    emu_node **into = &table->bucket[node->hash & (table->size - 1)];
    node->next = *into;
    *into = node;
    table->count++;
}

void emu_table_remove(emu_table *table, emu_node *node)
{
    emu_node **at = &table->bucket[node->hash & (table->size - 1)];
    while (*at != node) at = &(*at)->next;
    *at = node->next;
    table->count--;
}

emu_node *emu_table_find(const emu_table *table, uint64_t hash)
{
    return table->size ? table->bucket[hash & (table->size - 1)] : NULL;
}

void emu_table_free(aioc_mem *memory, emu_table *table)
{
    aioc_mem_free(memory, table->bucket, table->size * sizeof *table->bucket);
    memset(table, 0, sizeof *table);
}

bool emu_list_reserve(aioc_mem *memory, emu_list *list, uint32_t extra)
{
    uint32_t cap = list->cap ? list->cap * 2 : 8;
    emu_item **at;
    if (extra <= list->cap - list->count) return true;
    if (cap < list->count + extra) cap = list->count + extra;
    at = (emu_item **)aioc_mem_resize(memory, list->at, list->cap * sizeof *at, cap * sizeof *at);
    if (!at) return false;
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
    aioc_mem_free(memory, list->at, list->cap * sizeof *list->at);
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
