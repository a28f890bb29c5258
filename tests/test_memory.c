/* The memory layer: limits, size classes, free lists, buffers, views. */
#include <assert.h>
#define AIOCOSMOS_ASSERT(x) assert(x)
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"
#include "texts.h"

#define MIB ((size_t)1 << 20)

static void memory_open(aioc_mem *m, heap_state *h, size_t max)
{
    aiocosmos_allocator allocator = heap_allocator(h);
    aioc_mem_init(m, &allocator, max);
}

/* Everything was freed: nothing is used, nothing is the host's. */
static void memory_shut(aioc_mem *m, heap_state *h)
{
    CHECK_INT(m->used, h->bytes);
    aioc_mem_close(m);
    CHECK_INT(m->used, 0);
    CHECK_INT(m->kept, 0);
    CHECK_INT(h->bytes, 0);
    CHECK_INT(h->blocks, 0);
}

static void fill(void *ptr, size_t size, unsigned salt)
{
    size_t i;
    for (i = 0; i < size; i++) ((unsigned char *)ptr)[i] = (unsigned char)(i * 31 + salt);
}

static bool filled(const void *ptr, size_t size, unsigned salt)
{
    size_t i;
    for (i = 0; i < size; i++) {
        if (((const unsigned char *)ptr)[i] != (unsigned char)(i * 31 + salt)) return false;
    }
    return true;
}

/*------------------------------------------------------------------------------
 * Size classes
 *----------------------------------------------------------------------------*/

TEST(each_size_has_the_smallest_class_that_holds_it)
{
    size_t size, rounded;
    int index, last = 0;
    CHECK_INT(aioc_mem_class_size(0), 64);
    CHECK_INT(aioc_mem_class_size(1), 80);
    CHECK_INT(aioc_mem_class_size(4), 128);
    CHECK_INT(aioc_mem_class_size(5), 160);
    CHECK_INT(aioc_mem_class_size(AIOC_MEM_CLASSES - 1), AIOC_MEM_LARGEST);
    for (size = 1; size <= AIOC_MEM_LARGEST; size++) {
        index = aioc_mem_class(size, &rounded);
        CHECK(index == last || index == last + 1);
        CHECK(index >= 0 && index < AIOC_MEM_CLASSES);
        CHECK_INT(rounded, aioc_mem_class_size(index));
        CHECK_INT(rounded, aioc_mem_round(size));
        CHECK(size <= rounded && (index == 0 || size > aioc_mem_class_size(index - 1)));
        CHECK(index == 0 || (rounded - size) * 5 < rounded);       /* under a fifth is slack */
        CHECK_INT(rounded % 16, 0);
        last = index;
    }
    CHECK_INT(last, AIOC_MEM_CLASSES - 1);
    CHECK_INT(aioc_mem_round(AIOC_MEM_LARGEST + 1), AIOC_MEM_LARGEST + 1);
}

/*------------------------------------------------------------------------------
 * Blocks
 *----------------------------------------------------------------------------*/

TEST(freed_blocks_serve_again_without_the_allocator)
{
    aioc_mem m;
    heap_state h;
    void *a, *b;
    int i;
    memory_open(&m, &h, MIB);
    a = aioc_mem_alloc(&m, 1000);
    b = aioc_mem_alloc(&m, 40);
    CHECK(a && b && a != b);
    CHECK_INT(m.used, 1024 + 64);
    CHECK_INT(m.used, h.bytes);
    for (i = 0; i < 1000; i++) {
        aioc_mem_free(&m, a, 1000);
        aioc_mem_free(&m, b, 40);
        CHECK_INT(m.kept, 1024 + 64);
        b = aioc_mem_alloc(&m, 1 + (size_t)i % 64);                /* any size of the class */
        aioc_mem_free(&m, b, 1 + (size_t)i % 64);
        b = aioc_mem_alloc(&m, 40);
        a = aioc_mem_alloc(&m, 1000);
        CHECK_INT(m.kept, 0);
    }
    CHECK_INT(h.calls, 2);
    CHECK_INT(m.allocations, 2);
    CHECK_INT(m.used, 1024 + 64);
    CHECK_INT(m.peak, 1024 + 64);
    aioc_mem_free(&m, a, 1000);
    aioc_mem_free(&m, b, 40);
    aioc_mem_free(&m, NULL, 0);
    memory_shut(&m, &h);
}

TEST(large_blocks_go_back_at_once)
{
    aioc_mem m;
    heap_state h;
    void *a;
    memory_open(&m, &h, MIB);
    a = aioc_mem_alloc(&m, 65537);
    CHECK_INT(m.used, 65537);
    aioc_mem_free(&m, a, 65537);
    CHECK_INT(m.used, 0);
    CHECK_INT(m.kept, 0);
    memory_shut(&m, &h);
}

TEST(zalloc_zeroes_what_was_used_before)
{
    static const char zeros[300];
    aioc_mem m;
    heap_state h;
    void *a;
    memory_open(&m, &h, MIB);
    a = aioc_mem_alloc(&m, 300);
    memset(a, 0xee, 300);
    aioc_mem_free(&m, a, 300);
    CHECK(aioc_mem_zalloc(&m, 300) == a);
    CHECK_MEM(a, zeros, 300);
    heap_fail(&h, 1, 1);
    CHECK(aioc_mem_zalloc(&m, 4000) == NULL);
    aioc_mem_free(&m, a, 300);
    memory_shut(&m, &h);
}

TEST(blocks_are_aligned_as_mallocs)
{
    static void *blocks[AIOC_MEM_CLASSES];
    aioc_mem m;
    int i;
    aioc_mem_init(&m, NULL, MIB);                                  /* realloc and free */
    for (i = 0; i < AIOC_MEM_CLASSES; i++) {
        blocks[i] = aioc_mem_alloc(&m, aioc_mem_class_size(i) - 1);
        CHECK(blocks[i] && (uintptr_t)blocks[i] % 16 == 0);
    }
    for (i = 0; i < AIOC_MEM_CLASSES; i++) aioc_mem_free(&m, blocks[i], aioc_mem_class_size(i) - 1);
    aioc_mem_close(&m);
    CHECK_INT(m.used, 0);
}

/*------------------------------------------------------------------------------
 * Limits
 *----------------------------------------------------------------------------*/

TEST(no_byte_over_max)
{
    aioc_mem m;
    heap_state h;
    void *a, *b;
    memory_open(&m, &h, 100000);
    CHECK(aioc_mem_alloc(&m, 100001) == NULL);
    CHECK_INT(h.calls, 0);                                         /* not even asked */
    CHECK(aioc_mem_alloc(&m, SIZE_MAX) == NULL);
    a = aioc_mem_alloc(&m, 99936);
    CHECK(a != NULL);
    CHECK(aioc_mem_alloc(&m, 65) == NULL);                         /* its class is 80 */
    CHECK(aioc_mem_alloc(&m, SIZE_MAX) == NULL);                   /* with what is used it would be 99,935 */
    b = aioc_mem_alloc(&m, 64);
    CHECK(b != NULL);
    CHECK_INT(m.used, 100000);
    CHECK(aioc_mem_alloc(&m, 1) == NULL);
    aioc_mem_free(&m, b, 64);
    CHECK(aioc_mem_resize(&m, a, 99936, 100001) == NULL);
    a = aioc_mem_resize(&m, a, 99936, 100000);                     /* the block kept is given back for it */
    CHECK(a != NULL);
    CHECK_INT(m.used, 100000);
    CHECK_INT(m.peak, 100000);
    aioc_mem_free(&m, a, 100000);
    memory_shut(&m, &h);
}

TEST(kept_blocks_are_given_back_before_a_request_is_refused)
{
    aioc_mem m;
    heap_state h;
    void *small[8], *medium, *large;
    int i;
    memory_open(&m, &h, 80 * 1024);                                /* keeps up to 10 KiB */
    for (i = 0; i < 8; i++) small[i] = aioc_mem_alloc(&m, 1024);
    for (i = 0; i < 8; i++) aioc_mem_free(&m, small[i], 1024);
    CHECK_INT(m.kept, 8 * 1024);
    large = aioc_mem_alloc(&m, 74 * 1024);
    CHECK(large != NULL);
    CHECK_INT(m.kept, 6 * 1024);                                   /* no more than was needed */
    CHECK_INT(m.used, 80 * 1024);
    medium = aioc_mem_alloc(&m, 2000);
    CHECK(medium != NULL);
    CHECK_INT(m.used, 80 * 1024);
    CHECK_INT(m.kept, 4 * 1024);
    CHECK(aioc_mem_alloc(&m, 5 * 1024) == NULL);
    CHECK_INT(m.kept, 4 * 1024);                                   /* in vain: left alone */
    aioc_mem_free(&m, large, 74 * 1024);
    CHECK_INT(m.used, 6 * 1024);
    CHECK_INT(h.bytes, m.used);
    aioc_mem_free(&m, medium, 2000);
    memory_shut(&m, &h);
}

TEST(what_is_kept_is_capped_and_small_blocks_stay)
{
    aioc_mem m;
    heap_state h;
    void *large[4], *small[64];
    size_t calls;
    int i;
    memory_open(&m, &h, 8 * 65536 * 2);                            /* keeps up to 128 KiB */
    for (i = 0; i < 4; i++) large[i] = aioc_mem_alloc(&m, 65536);
    for (i = 0; i < 64; i++) small[i] = aioc_mem_alloc(&m, 128);
    for (i = 0; i < 4; i++) {
        aioc_mem_free(&m, large[i], 65536);
        CHECK(m.kept <= m.kept_max);
    }
    CHECK_INT(m.kept, 2 * 65536);
    CHECK_INT(h.blocks, 64 + 2);
    for (i = 0; i < 64; i++) {                                     /* a large one makes room for all of them */
        aioc_mem_free(&m, small[i], 128);
        CHECK(m.kept <= m.kept_max);
    }
    CHECK_INT(m.kept, 65536 + 64 * 128);
    CHECK_INT(h.blocks, 64 + 1);
    calls = h.calls;
    for (i = 0; i < 64; i++) small[i] = aioc_mem_alloc(&m, 128);
    CHECK_INT(h.calls, calls);
    for (i = 0; i < 64; i++) aioc_mem_free(&m, small[i], 128);
    memory_shut(&m, &h);
}

TEST(a_tiny_limit_keeps_nothing)
{
    aioc_mem m;
    heap_state h;
    void *a;
    memory_open(&m, &h, 500);                                      /* an eighth is less than the smallest block */
    a = aioc_mem_alloc(&m, 64);
    aioc_mem_free(&m, a, 64);
    CHECK_INT(m.kept, 0);
    CHECK_INT(m.used, 0);
    memory_shut(&m, &h);
    memory_open(&m, &h, 0);
    CHECK(aioc_mem_alloc(&m, 1) == NULL);
    memory_shut(&m, &h);
}

TEST(an_allocator_that_refuses_gets_the_kept_blocks_back_and_is_asked_again)
{
    aioc_mem m;
    heap_state h;
    void *a, *b;
    memory_open(&m, &h, MIB);
    a = aioc_mem_alloc(&m, 5000);
    aioc_mem_free(&m, a, 5000);
    CHECK(m.kept > 0);
    heap_fail(&h, 1, 1);
    b = aioc_mem_alloc(&m, 100);
    CHECK(b != NULL);
    CHECK_INT(m.kept, 0);
    heap_fail(&h, 1, 1);
    CHECK(aioc_mem_alloc(&m, 200) == NULL);                        /* nothing left to give back */
    CHECK_INT(m.allocations, h.calls);
    CHECK_INT(m.used, 112);
    aioc_mem_free(&m, b, 100);
    memory_shut(&m, &h);
}

/*------------------------------------------------------------------------------
 * Resizing
 *----------------------------------------------------------------------------*/

TEST(resize_keeps_the_bytes_between_any_two_sizes)
{
    static const size_t sizes[] = {1, 63, 64, 65, 80, 81, 127, 1000, 1024, 65535, 65536, 65537, 70000, 200000};
    const size_t count = sizeof sizes / sizeof sizes[0];
    aioc_mem m;
    heap_state h;
    size_t i, k;
    memory_open(&m, &h, MIB);
    for (i = 0; i < count; i++) {
        for (k = 0; k < count; k++) {
            void *a = aioc_mem_resize(&m, NULL, 0, sizes[i]);
            fill(a, sizes[i], 7);
            a = aioc_mem_resize(&m, a, sizes[i], sizes[k]);
            CHECK(a != NULL);
            CHECK(filled(a, sizes[i] < sizes[k] ? sizes[i] : sizes[k], 7));
            fill(a, sizes[k], 9);
            aioc_mem_free(&m, a, sizes[k]);
            CHECK_INT(m.used, m.kept);
        }
    }
    memory_shut(&m, &h);
}

TEST(resize_within_a_class_moves_nothing)
{
    aioc_mem m;
    heap_state h;
    void *a;
    memory_open(&m, &h, MIB);
    a = aioc_mem_alloc(&m, 65);
    CHECK(aioc_mem_resize(&m, a, 65, 80) == a);
    CHECK(aioc_mem_resize(&m, a, 80, 70) == a);
    CHECK_INT(h.calls, 1);
    aioc_mem_free(&m, a, 70);
    memory_shut(&m, &h);
}

TEST(resize_refused_leaves_the_old_block)
{
    static const size_t to[] = {200, 70000, 100000};
    aioc_mem m;
    heap_state h;
    void *a;
    size_t i, from;
    for (i = 0; i < 3; i++) {
        from = i < 2 ? 100 : 90000;
        memory_open(&m, &h, MIB);
        a = aioc_mem_alloc(&m, from);
        fill(a, from, 3);
        heap_fail(&h, 1, 1);
        CHECK(aioc_mem_resize(&m, a, from, to[i]) == NULL);
        CHECK(filled(a, from, 3));
        CHECK_INT(m.used, aioc_mem_round(from));
        aioc_mem_free(&m, a, from);
        memory_shut(&m, &h);
    }
}

TEST(the_hook_is_the_same_memory)
{
    aioc_mem m;
    aiocosmos_allocator hook;
    heap_state h;
    void *a;
    memory_open(&m, &h, 1000);
    hook = aioc_mem_allocator(&m);
    a = hook.fn(NULL, 0, 100, hook.user_data);
    CHECK(a != NULL);
    CHECK_INT(m.used, 112);
    fill(a, 100, 1);
    a = hook.fn(a, 100, 300, hook.user_data);
    CHECK(filled(a, 100, 1));
    CHECK(hook.fn(a, 300, 2000, hook.user_data) == NULL);
    CHECK(hook.fn(a, 300, 0, hook.user_data) == NULL);
    memory_shut(&m, &h);
}

/*------------------------------------------------------------------------------
 * All of it, at random
 *----------------------------------------------------------------------------*/

typedef struct held { void *ptr; size_t size; unsigned salt; } held;

static void check_at_random(size_t max, size_t refuse_at, size_t rounds)
{
    static held blocks[100];
    aioc_mem m;
    heap_state h;
    size_t i, in_use = 0;
    memory_open(&m, &h, max);
    if (refuse_at) heap_fail(&h, refuse_at, refuse_at > 50 ? ULONG_MAX : 1);
    memset(blocks, 0, sizeof blocks);
    for (i = 0; i < rounds; i++) {
        uint64_t r = random_number();
        held *b = &blocks[r % 100];
        size_t size = 1 + (size_t)(r >> 20) % ((size_t)1 << (4 + (r >> 8) % 14));
        void *ptr;
        CHECK(!b->ptr || filled(b->ptr, b->size, b->salt));
        if (b->ptr && (r >> 14) % 3 == 0) {
            aioc_mem_free(&m, b->ptr, b->size);
            in_use -= aioc_mem_round(b->size);
            b->ptr = NULL;
            b->size = 0;
        } else if ((ptr = aioc_mem_resize(&m, b->ptr, b->size, size)) != NULL) {
            CHECK(filled(ptr, b->size < size ? b->size : size, b->salt));
            in_use += aioc_mem_round(size) - (b->size ? aioc_mem_round(b->size) : 0);
            b->ptr = ptr;
            b->size = size;
            b->salt = (unsigned)i;
            fill(ptr, size, b->salt);
        }
        CHECK_INT(m.used, h.bytes);
        CHECK_INT(m.used - m.kept, in_use);
        CHECK(m.used <= max && m.kept <= m.kept_max && m.peak >= m.used && m.peak <= max);
    }
    for (i = 0; i < 100; i++) aioc_mem_free(&m, blocks[i].ptr, blocks[i].size);
    memory_shut(&m, &h);
}

TEST(books_balance_at_random)
{
    int i;
    for (i = 0; i < 5; i++) {
        check_at_random(16 * MIB, 0, 2000);
        check_at_random(200000, 0, 2000);
    }
}

TEST(books_balance_when_the_nth_allocation_fails)
{
    size_t nth;
    for (nth = 1; nth <= 100; nth++) check_at_random(4 * MIB, nth, 200);
}

/*------------------------------------------------------------------------------
 * AddressSanitizer sees through the free lists
 *----------------------------------------------------------------------------*/

TEST(freed_blocks_and_slack_are_forbidden_under_asan)
{
#ifdef AIOC_MEM_ASAN
    int __asan_address_is_poisoned(const volatile void *address);
    aioc_mem m;
    heap_state h;
    char *a;
    memory_open(&m, &h, MIB);
    a = aioc_mem_alloc(&m, 1000);
    CHECK(!__asan_address_is_poisoned(a + 999));
    CHECK(__asan_address_is_poisoned(a + 1000));
    CHECK(__asan_address_is_poisoned(a + 1023));
    CHECK(aioc_mem_resize(&m, a, 1000, 1024) == a);
    CHECK(!__asan_address_is_poisoned(a + 1023));
    CHECK(aioc_mem_resize(&m, a, 1024, 920) == a);
    CHECK(!__asan_address_is_poisoned(a + 919));
    CHECK(__asan_address_is_poisoned(a + 920));
    aioc_mem_free(&m, a, 920);
    CHECK(__asan_address_is_poisoned(a) && __asan_address_is_poisoned(a + 500) && __asan_address_is_poisoned(a + 1023));
    CHECK(aioc_mem_alloc(&m, 960) == a);
    CHECK(!__asan_address_is_poisoned(a) && !__asan_address_is_poisoned(a + 959));
    CHECK(__asan_address_is_poisoned(a + 960));
    aioc_mem_free(&m, a, 960);
    memory_shut(&m, &h);
#else
    SKIP("not built with AddressSanitizer");
#endif
}

/*------------------------------------------------------------------------------
 * Buffers
 *----------------------------------------------------------------------------*/

TEST(buffer_grows_by_doubling)
{
    aioc_mem m;
    aioc_mem_buffer b = {NULL, 0, 0};
    heap_state h;
    size_t i, grown = 0, cap = 0;
    memory_open(&m, &h, MIB);
    for (i = 0; i < 100000; i++) {
        char c = (char)(i * 31);
        CHECK(aioc_mem_append(&m, &b, &c, 1));
        if (b.cap != cap) grown++;
        cap = b.cap;
        CHECK(b.len == i + 1 && b.len <= b.cap);
    }
    CHECK(grown <= 12);
    CHECK(filled(b.data, b.len, 0));
    aioc_mem_buffer_free(&m, &b);
    CHECK(!b.data && b.len == 0 && b.cap == 0);
    aioc_mem_buffer_free(&m, &b);
    memory_shut(&m, &h);
}

TEST(buffer_writes_texts)
{
    aioc_mem m;
    aioc_mem_buffer b = {NULL, 0, 0};
    heap_state h;
    memory_open(&m, &h, MIB);
    CHECK(aioc_mem_append_str(&m, &b, ""));
    CHECK(aioc_mem_append(&m, &b, NULL, 0));
    CHECK(b.data == NULL);
    CHECK(aioc_mem_append_str(&m, &b, "dbs/"));
    CHECK(aioc_mem_append_str(&m, &b, "0 10"));
    CHECK(aioc_mem_append(&m, &b, "\0,", 2));
    CHECK_INT(b.len, 10);
    CHECK_MEM(b.data, "dbs/0 10\0,", 10);
    aioc_mem_buffer_free(&m, &b);
    memory_shut(&m, &h);
}

TEST(buffer_near_the_limit_takes_just_what_it_needs)
{
    aioc_mem m;
    aioc_mem_buffer b = {NULL, 0, 0};
    heap_state h;
    char *data;
    memory_open(&m, &h, 250000);
    CHECK(aioc_mem_reserve(&m, &b, 150000));
    b.len = 150000;
    fill(b.data, b.len, 5);
    CHECK(aioc_mem_reserve(&m, &b, 50000));                        /* 300,000 would be too much */
    CHECK_INT(b.cap, 200000);
    CHECK(aioc_mem_reserve(&m, &b, 50000));
    CHECK_INT(b.cap, 200000);
    data = b.data;
    CHECK(!aioc_mem_reserve(&m, &b, 100001));
    CHECK(!aioc_mem_reserve(&m, &b, SIZE_MAX));
    CHECK(!aioc_mem_reserve(&m, &b, SIZE_MAX - 150000));
    CHECK(!aioc_mem_append(&m, &b, data, 150000));
    CHECK(b.data == data && b.len == 150000 && b.cap == 200000);
    CHECK(filled(b.data, b.len, 5));
    aioc_mem_buffer_free(&m, &b);
    memory_shut(&m, &h);
}

TEST(buffer_refused_is_as_it_was)
{
    aioc_mem m;
    aioc_mem_buffer b = {NULL, 0, 0};
    heap_state h;
    memory_open(&m, &h, MIB);
    heap_fail(&h, 1, ULONG_MAX);
    CHECK(!aioc_mem_append_str(&m, &b, "x"));
    CHECK(!b.data && b.len == 0 && b.cap == 0);
    heap_recover(&h);
    CHECK(aioc_mem_append_str(&m, &b, "kept"));
    heap_fail(&h, 1, ULONG_MAX);
    CHECK(!aioc_mem_reserve(&m, &b, 61));
    CHECK_TEXT(b.data, b.len, "kept");
    CHECK(aioc_mem_reserve(&m, &b, 60));
    aioc_mem_buffer_free(&m, &b);
    memory_shut(&m, &h);
}

/*------------------------------------------------------------------------------
 * Views and printing
 *----------------------------------------------------------------------------*/

TEST(views_compare)
{
    aiocosmos_str ab = {"a\0b", 3}, ac = {"a\0c", 3};
    CHECK(str(NULL).len == 0 && str("").len == 0 && str("abc").len == 3);
    CHECK(aioc_mem_same(str(NULL), str("")));
    CHECK(aioc_mem_same(str("abc"), str("abc")));
    CHECK(!aioc_mem_same(str("abc"), str("ab")));
    CHECK(!aioc_mem_same(str("abc"), str("abC")));
    CHECK(aioc_mem_same(ab, ab) && !aioc_mem_same(ab, ac));
    CHECK(aioc_mem_same_nocase(str("X-MS-Request-Charge"), str("x-ms-request-charge")));
    CHECK(aioc_mem_same_nocase(str(NULL), str("")));
    CHECK(!aioc_mem_same_nocase(str("ab"), str("abc")));
    CHECK(!aioc_mem_same_nocase(str("@"), str("`")));            /* beside the letters */
    CHECK(!aioc_mem_same_nocase(str("["), str("{")));
    CHECK(!aioc_mem_same_nocase(str("\xc4"), str("\xe4")));      /* a letter in Latin-1 only */
    CHECK(!aioc_mem_same_nocase(ab, ac));
}

TEST(print_cuts_and_tells_the_whole_length)
{
    char out[8];
    memset(out, 'x', sizeof out);
    CHECK_INT(aioc_mem_print(out, sizeof out, "%s %d", "ab", -12), 6);
    CHECK_STR(out, "ab -12");
    CHECK_INT(aioc_mem_print(out, sizeof out, "%.*s:%llu", 3, "abcdef", 18446744073709551615ull), 24);
    CHECK_STR(out, "abc:184");
    CHECK_INT(aioc_mem_print(NULL, 0, "%u", 12345u), 5);
}

/*--- Turns ---*/

#define TURNS 40

static int turns_came;

static void turn_came(aioc_mem_turn *turn)
{
    *(bool *)turn->owner = true;
    turns_came++;
}

/* Those of one key come one at a time, in the order in which they have waited, whoever leaves from wherever he is; also
 * if keys share a bucket. */
TEST(turns_come_in_order)
{
    static aioc_mem_turns turns;
    static aioc_mem_turn turn[TURNS];
    int line[TURNS], waiting = 0, round, i, j;
    bool may[TURNS], in[TURNS];
    uint64_t keys[5] = { 1, 2 }, key = 3;
    memset(in, 0, sizeof in);
    for (i = 2; i < 5; key++) if (aioc_mem_turn_first(&turns, key) == &turns.buckets[158]) keys[i++] = key;   /* as 1 */
    for (round = 0; round < 200000; round++) {
        int one = (int)(random_number() % TURNS);
        if (!in[one]) {
            memset(&turn[one], 0, sizeof turn[one]);
            turn[one].key = keys[random_number() % 5];
            turn[one].come = turn_came;
            turn[one].owner = &may[one];
            may[one] = aioc_mem_turn_wait(&turns, &turn[one]);
            line[waiting++] = one;
            in[one] = true;
        } else {
            int heir = -1, before = turns_came;
            for (i = 0; line[i] != one; i++) {}
            for (j = i + 1; j < waiting && heir < 0; j++) if (turn[line[j]].key == turn[one].key) heir = line[j];
            aioc_mem_turn_leave(&turns, &turn[one]);
            CHECK_INT(turns_came - before, may[one] && heir >= 0);
            for (j = i; j + 1 < waiting; j++) line[j] = line[j + 1];
            waiting--;
            in[one] = false;
        }
        for (i = 0; i < waiting; i++) {
            bool first = true;
            for (j = 0; j < i; j++) first = first && turn[line[j]].key != turn[line[i]].key;
            if (may[line[i]] != first) test_fail(__FILE__, __LINE__, "round %d: place %d", round, i);
        }
    }
    while (waiting) aioc_mem_turn_leave(&turns, &turn[line[--waiting]]);
    for (i = 0; i < 256; i++) CHECK(!turns.buckets[i]);
}
