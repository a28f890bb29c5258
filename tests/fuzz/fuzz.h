/* fuzz.h: what the fuzzers share. A fuzzer is one file, fuzz_NAME.c, with LLVMFuzzerTestOneInput: it takes its input
 * apart, asks a parser or more, and checks what has to be true whatever the input is. libFuzzer's driver invents inputs
 * (make fuzz), replay.c repeats those of corpus/NAME (make test). A CHECK that fails ends the program.
 *
 * The first bytes of an input are knobs: how it is cut, when memory runs out. Seeds have '0' there where they want none
 * of that, so that they can be read. */
#ifndef FUZZ_H
#define FUZZ_H

#define TEST_WITHOUT_MAIN
#if !defined(AIOCOSMOS_IMPLEMENTATION) && !defined(AIOCOSMOS_IMPLEMENTED)
#define AIOCOSMOS_IMPLEMENTATION
#endif
#include "aiocosmos.h"
#include "../test.h"
#include "../heap.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of an input. Beyond its end there are zeros, and empty parts. */
typedef struct fuzz_input { const uint8_t *at; size_t len; } fuzz_input;

static inline uint8_t fuzz_byte(fuzz_input *in)
{
    if (in->len == 0) return 0;
    in->len--;
    return *in->at++;
}

/* A knob: 0 to 255, of which the digits are 0 to 9. */
static inline unsigned fuzz_knob(fuzz_input *in)
{
    return (fuzz_byte(in) - (unsigned)'0') & 255u;
}

static inline aiocosmos_str fuzz_take(fuzz_input *in, size_t len)
{
    aiocosmos_str taken = {(const char *)in->at, len < in->len ? len : in->len};
    in->at += taken.len;
    in->len -= taken.len;
    return taken;
}

static inline aiocosmos_str fuzz_rest(fuzz_input *in)
{
    return fuzz_take(in, in->len);
}

/* Up to the next '\1' or the end. */
static inline aiocosmos_str fuzz_part(fuzz_input *in)
{
    const uint8_t *end = in->len ? (const uint8_t *)memchr(in->at, 1, in->len) : NULL;
    aiocosmos_str part = fuzz_take(in, end ? (size_t)(end - in->at) : in->len);
    if (end) fuzz_byte(in);
    return part;
}

/* A copy that ends where its block ends, so that a sanitizer sees who reads on. To be freed. */
static inline char *fuzz_copy(aiocosmos_str text)
{
    char *copy = (char *)calloc(1, text.len ? text.len : 1);
    if (!copy) abort();
    if (text.len) memcpy(copy, text.ptr, text.len);
    return copy;
}

/* As a NUL-terminated string, up to the first NUL. To be freed. */
static inline char *fuzz_string(aiocosmos_str text)
{
    char *copy = (char *)malloc(text.len + 1);
    if (!copy) abort();
    if (text.len) memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return copy;
}

#ifdef AIOCOSMOS_IMPLEMENTATION
/* Memory of which the nth call fails, and all behind it; 0: none does. */
static inline aioc_mem fuzz_memory(unsigned nth)
{
    return rationed(&heap, nth ? nth - 1 : ULONG_MAX - 1);
}

static inline void fuzz_close(aioc_mem *memory)
{
    CHECK_INT(memory->used, 0);
    aioc_mem_close(memory);
    CHECK_INT(heap.blocks, 0);
}

static inline aiocosmos_str fuzz_text(const aioc_mem_buffer *buffer)
{
    aiocosmos_str text = {buffer->data, buffer->len};
    return text;
}
#endif

static inline bool fuzz_same(aiocosmos_str a, aiocosmos_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

#endif
