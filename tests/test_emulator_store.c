/* test_emulator_store.c: the emulator's hash tables and lists of items, by themselves. */
#define EMU_PRIVATE extern
#include "tools/emulator/list.h"
#include "tools/emulator/pages.c"
#include "test.h"

#include <stdlib.h>

enum { THINGS = 600 };

static struct { uint64_t hash; bool there; } thing[THINGS];

/* How many of a hash the table gives, and whether this one is among them. */
static unsigned found(const emu_table *table, uint64_t hash, const void *what, bool *has)
{
    unsigned count = 0;
    uint32_t at = 0;
    void *one;
    *has = false;
    while ((one = emu_table_find(table, hash, &at)) != NULL) {
        count++;
        if (one == what) *has = true;
    }
    return count;
}

static void check_table(const emu_table *table)
{
    unsigned i, k, same, live = 0;
    bool has;
    for (i = 0; i < THINGS; i++) {
        for (k = 0, same = 0; k < THINGS; k++) same += thing[k].there && thing[k].hash == thing[i].hash;
        CHECK_INT(found(table, thing[i].hash, &thing[i], &has), same);
        CHECK(has == thing[i].there);
        live += thing[i].there;
    }
    CHECK_INT(table->count, live);
}

/* Hashes that crowd at the end of the table and go on at its begin, and many of the same; removals between them. */
TEST(a_table_finds_what_it_has_whatever_came_and_went)
{
    unsigned seed, i, n;
    for (seed = 1; seed <= 6; seed++) {
        emu_table table = { NULL, 0, 0 };
        aioc_mem memory;
        uint64_t state = seed;
        aioc_mem_init(&memory, NULL, SIZE_MAX);
        for (i = 0; i < THINGS; i++) {
            uint64_t random = emu_random_next(&state);
            thing[i].hash = random >> 3 << 9;
            if (seed % 2) thing[i].hash = UINT64_C(0xFFFFFFF000000000) + (random & UINT64_C(0x3F00000000));
            thing[i].there = false;
        }
        for (n = 0; n < 4000; n++) {
            i = (unsigned)(emu_random_next(&state) % THINGS);
            if (thing[i].there) {
                emu_table_remove(&table, thing[i].hash, &thing[i]);
            } else {
                CHECK(emu_table_reserve(&memory, &table, 1));
                emu_table_add(&table, thing[i].hash, &thing[i]);
            }
            thing[i].there = !thing[i].there;
            if (n % 500 == 0) check_table(&table);
        }
        check_table(&table);
        emu_table_free(&memory, &table);
        aioc_mem_close(&memory);
    }
}

/* Without memory for a larger one a table is filled but for one slot, where searches end. */
TEST(a_table_that_cannot_grow_is_used_up)
{
    emu_table table = { NULL, 0, 0 };
    aioc_mem memory;
    bool has;
    unsigned n = 0;
    aioc_mem_init(&memory, NULL, 16 * sizeof(emu_slot));
    CHECK(!emu_table_find(&table, 7, &n));
    CHECK(!emu_table_reserve(&memory, &table, 200));
    for (; emu_table_reserve(&memory, &table, 1); n++) {
        thing[n].hash = UINT64_MAX;
        emu_table_add(&table, thing[n].hash, &thing[n]);
    }
    CHECK_INT(n, 15);
    CHECK_INT(found(&table, UINT64_MAX, &thing[14], &has), 15);
    CHECK(has);
    CHECK_INT(found(&table, 1, &thing[0], &has), 0);
    emu_table_free(&memory, &table);
    aioc_mem_close(&memory);
}

/* The first item of a partition's list stands in the partition. */
TEST(a_list_moves_out_of_the_room_for_one)
{
    emu_item items[40];
    emu_partition partition;
    aioc_mem memory;
    uint32_t i;
    memset(&partition, 0, sizeof partition);
    memset(items, 0, sizeof items);
    aioc_mem_init(&memory, NULL, SIZE_MAX);
    partition.items.at = &partition.only;
    partition.items.cap = 1;
    for (i = 0; i < 40; i++) {
        items[i].number = i + 1;
        CHECK(emu_list_reserve(&memory, &partition.items, 1));
        CHECK((memory.used == 0) == (i == 0));
        CHECK_INT(emu_list_push(&partition.items, &items[i]), i);
    }
    for (i = 0; i < 40; i++) CHECK(partition.items.at[i] == &items[i]);
    CHECK_INT(emu_list_after(&partition.items, 17), 17);
    emu_list_free(&memory, &partition.items);
    aioc_mem_close(&memory);
}

#ifdef __SANITIZE_ADDRESS__
/* More than there is gives NULL, as it does without the sanitizer, which ends the program otherwise. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
#endif

/* A block that becomes a large one and is none again has the same in it, as far as it goes. */
TEST(memory_keeps_what_it_has_when_it_becomes_large)
{
    static const size_t sizes[] = { 100, 3u << 20, 100000, (4u << 20) + 1, (2u << 20) - 1, 2u << 20, 9u << 20, 1 };
    unsigned char *block = NULL;
    size_t size = 0, i, k;
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        block = (unsigned char *)server_allocate(block, size, sizes[i], NULL);
        CHECK(block != NULL);
        for (k = 0; k < size && k < sizes[i]; k++)
            if (block[k] != (unsigned char)(k * 7 + 1)) break;
        CHECK_INT(k, size < sizes[i] ? size : sizes[i]);
        for (size = sizes[i], k = 0; k < size; k++) block[k] = (unsigned char)(k * 7 + 1);
    }
    CHECK(server_allocate(block, size, SIZE_MAX / 2, NULL) == NULL);   /* and then it is still there */
    CHECK_INT(*block, 1);
    CHECK(server_allocate(block, size, 0, NULL) == NULL);
}
