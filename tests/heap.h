/* heap.h: memory for tests. It counts what is out, knows how large each block is, so that who forgets it is caught, and
 * runs out when a test says so. What is fresh is not zero. A heap that is all zero is ready for use. */
#ifndef HEAP_H
#define HEAP_H

#include "aiocosmos.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct heap_state {
    size_t bytes, blocks;                    /* that are out */
    size_t bytes_max;                        /* a call that makes them more gets NULL; 0: none does */
    unsigned long calls;                     /* for memory, not to free it */
    unsigned long fail_from, fail_to;        /* calls with these numbers get NULL; 0: none */
    unsigned long failed;                    /* so many got NULL */
} heap_state;

static heap_state heap;                      /* of whoever names no other */

/* As aiocosmos_alloc_fn; user_data is the heap, NULL: the one above. */
static inline void *heap_fn(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    enum { HEAD = 16 };
    heap_state *h = user_data ? (heap_state *)user_data : &heap;
    char *block = ptr ? (char *)ptr - HEAD : NULL;
    if (block ? memcmp(block, &old_size, sizeof old_size) != 0 : old_size != 0 || new_size == 0) {
        fprintf(stderr, "heap: no block of %zu bytes comes back\n", old_size);
        abort();
    }
    if (new_size) {
        h->calls++;
        if ((h->calls >= h->fail_from && h->calls <= h->fail_to) ||
            (h->bytes_max && h->bytes - old_size + new_size > h->bytes_max)) {
            h->failed++;
            return NULL;
        }
        block = (char *)realloc(block, new_size + HEAD);
        if (!block) abort();
        memcpy(block, &new_size, sizeof new_size);
        if (new_size > old_size) memset(block + HEAD + old_size, 0xa5, new_size - old_size);
    } else {
        free(block);
        block = NULL;
    }
    h->bytes = h->bytes - old_size + new_size;
    h->blocks = h->blocks - (ptr ? 1 : 0) + (new_size ? 1 : 0);
    return block ? block + HEAD : NULL;
}

/* The nth call from now on gets NULL (1: the next), and so do those behind it, count in all; ULONG_MAX: for good. */
static inline void heap_fail(heap_state *h, unsigned long nth, unsigned long count)
{
    h->fail_from = h->calls + nth;
    h->fail_to = count > ULONG_MAX - h->fail_from ? ULONG_MAX : h->fail_from + count - 1;
}

static inline void heap_recover(heap_state *h)
{
    h->fail_from = h->fail_to = 0;
}

/* Of a heap that is made new. */
static inline aiocosmos_allocator heap_allocator(heap_state *h)
{
    aiocosmos_allocator allocator;
    memset(h, 0, sizeof *h);
    allocator.fn = heap_fn;
    allocator.user_data = h;
    return allocator;
}

#ifdef AIOCOSMOS_IMPLEMENTATION
/* The memory of a layer, on a heap that is made new and fails for good behind so many calls. Nothing is kept, so that
 * each allocation is asked for and all that is freed comes back at once. */
static inline aioc_mem rationed(heap_state *h, unsigned long calls)
{
    aiocosmos_allocator allocator = heap_allocator(h);
    aioc_mem memory;
    heap_fail(h, calls + 1, ULONG_MAX);
    aioc_mem_init(&memory, &allocator, 64u << 20);
    memory.kept_max = 0;
    return memory;
}
#endif

#endif
