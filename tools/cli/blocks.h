/* blocks.h: memory for many small things that go in about the order in which they came. */
#ifndef CLI_BLOCKS_H
#define CLI_BLOCKS_H

#include <stddef.h>

/* Zeroed. */
typedef struct blocks {
    struct block *last;                    /* from which is taken */
    size_t bytes;                          /* of all that are held */
} blocks;

/* NULL: no memory. */
void *blocks_take(blocks *from, size_t bytes);
void  blocks_drop(blocks *from, void *taken);

#endif
