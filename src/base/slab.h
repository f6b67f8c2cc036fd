#pragma once
// Objects of one size cut from blocks. A block whose objects are all free goes back to the budget.
// Threads: a slab and its objects belong to one thread (an object may be used elsewhere, but is
// returned on the slab's own thread).
#include "base/block.h"

struct slab {
    struct block_cache *blocks;
    struct slab_page *partial; // pages with at least one free object
    uint32_t object_bytes;     // rounded up to 16
    uint32_t used;             // objects borrowed
};

void slab_init(struct slab *slab, struct block_cache *blocks, size_t object_bytes);
// Zeroed memory, 16-byte aligned, or NULL when the budget is used.
void *slab_borrow(struct slab *slab);
void slab_return(struct slab *slab, void *object);
