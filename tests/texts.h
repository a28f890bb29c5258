/* texts.h: what tests of layers that read bytes share: random numbers, views, copies that end where their block ends. */
#ifndef TEXTS_H
#define TEXTS_H

#include "aiocosmos.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(ARRAY) (sizeof (ARRAY) / sizeof (ARRAY)[0])

static uint64_t seed = 88172645463325252u;   /* of the random numbers, the same in every run; 0 yields nothing but 0 */

/* Marsaglia's xorshift. */
static inline uint64_t random_number(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static inline uint32_t random_below(size_t limit)
{
    return (uint32_t)((random_number() >> 11) % limit);
}

static inline aiocosmos_str view(const char *text, size_t len)
{
    aiocosmos_str v;
    v.ptr = text;
    v.len = len;
    return v;
}

static inline aiocosmos_str str(const char *text)
{
    return aioc_mem_str(text);
}

/* Ends where its block ends, so that a sanitizer sees each byte that is read behind it. Never NULL. */
static inline char *exact_copy(const void *bytes, size_t len)
{
    char *copy = (char *)malloc(len ? len : 1);
    if (!copy) abort();
    if (len) memcpy(copy, bytes, len);
    return copy;
}

/* A view of such a copy, for loosen(). */
static inline aiocosmos_str tight(aiocosmos_str text)
{
    return view(exact_copy(text.ptr, text.len), text.len);
}

static inline void loosen(aiocosmos_str text)
{
    free((void *)(uintptr_t)text.ptr);
}

#ifdef AIOCOSMOS_IMPLEMENTATION
/* What a stage says of a row: 0: it is kept, or left out; 1: it passes; E_NOMEM; E_PROTOCOL, and *why. */
static inline int row_status(const char *said, const char **why)
{
    if (!said) return 0;
    if (said == aioc_row_passes) return 1;
    if (said == aioc_row_no_memory) return AIOCOSMOS_E_NOMEM;
    *why = said;
    return AIOCOSMOS_E_PROTOCOL;
}
#endif

#endif
