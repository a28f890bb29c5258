/* blocks.c: memory for many small things. Each lies behind those before it in a block, and a block goes with the last of
 * them: that is a tenth of the work of malloc(). One that stays long holds the others' memory, so blocks are small. */
#include "blocks.h"

#include <stdint.h>
#include <stdlib.h>

enum { BLOCK_BYTES = 16 * 1024 };

typedef struct block {
    size_t bytes, used, taken;             /* the last: how many there are in it */
} block;

typedef union piece {
    block *of;
    uint64_t number;                       /* and what is taken may hold numbers and pointers */
} piece;

static size_t whole_pieces(size_t bytes)
{
    return (bytes + sizeof(piece) - 1) / sizeof(piece) * sizeof(piece);
}

static void free_block(blocks *of, block *b)
{
    of->bytes -= b->bytes;
    free(b);
}

static block *new_block(blocks *of, size_t bytes)
{
    block *b = malloc(bytes);
    if (!b) return NULL;
    b->bytes = bytes;
    b->used = whole_pieces(sizeof *b);
    b->taken = 0;
    if (of->last && of->last->taken == 0) free_block(of, of->last);
    of->last = b;
    of->bytes += bytes;
    return b;
}

void *blocks_take(blocks *from, size_t bytes)
{
    size_t need = sizeof(piece) + whole_pieces(bytes), most = BLOCK_BYTES - whole_pieces(sizeof(block));
    block *b = from->last;
    piece *p;
    if (!b || b->bytes - b->used < need) b = new_block(from, need > most ? need + BLOCK_BYTES - most : BLOCK_BYTES);
    if (!b) return NULL;
    p = (piece *)(void *)((char *)b + b->used);
    p->of = b;
    b->used += need;
    b->taken++;
    return p + 1;
}

void blocks_drop(blocks *from, void *taken)
{
    block *b = ((piece *)taken)[-1].of;
    if (--b->taken > 0) return;
    if (b == from->last) b->used = whole_pieces(sizeof *b);
    else free_block(from, b);
}
