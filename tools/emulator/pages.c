/* pages.c: large blocks of memory are large pages where the system has such. Of a table of a million items each look-up
 * is of another page: without these, finding where that is takes as long as what is looked up, and when the table grows
 * each small page comes by a fault of its own. */
#include "pages.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGES_LARGE ((size_t)2 * 1024 * 1024)              /* bytes of one, and how it is aligned */

static void *pages_take(size_t size)
{
    void *got = NULL;
    if (posix_memalign(&got, PAGES_LARGE, size) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    madvise(got, size / PAGES_LARGE * PAGES_LARGE, MADV_HUGEPAGE);    /* refused: then they are small */
#endif
    return got;
}

void *server_allocate(void *ptr, size_t old_size, size_t new_size, void *user_data)
{
    void *moved;
    (void)user_data;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    if (new_size < PAGES_LARGE) return realloc(ptr, new_size);
    moved = pages_take(new_size);
    if (moved && ptr) {
        memcpy(moved, ptr, old_size < new_size ? old_size : new_size);
        free(ptr);
    }
    return moved;
}
