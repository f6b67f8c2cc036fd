#pragma once
// The buffer budget: one prefaulted mapping cut into 4 KiB blocks, from which every buffer of the
// data path comes. Nothing on the data path calls malloc; when the blocks are used up, the caller
// sheds load.
//
//   block_pool (one, shared)   central free list under a spin lock
//     └── block_cache (one per thread)   up to 64 blocks at hand, refilled and drained in batches
//
// Threads: a block_cache belongs to one thread. A block may be returned to another cache than the
// one it was borrowed from.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BLOCK_BYTES = 4096 };

struct block {
    struct block *next;
    uint16_t begin; // first byte in use within data
    uint16_t end;   // one past the last
    _Alignas(16) uint8_t data[BLOCK_BYTES - 16]; // fit for any object
};
enum { BLOCK_ROOM = BLOCK_BYTES - 16 };

struct block_pool;
struct block_cache {
    struct block_pool *pool;
    struct block *free;
    uint32_t count;
    size_t keep; // blocks of the pool that it leaves to caches with a smaller one; 0 at first
};

// Maps and prefaults `bytes` (rounded down to whole blocks). Returns owned, or WEIR_ENOMEM.
int block_pool_create(struct block_pool **out, size_t bytes);
void block_pool_destroy(struct block_pool **pool);
size_t block_pool_total(const struct block_pool *pool); // blocks
// Blocks not borrowed by anybody, those in thread caches excepted. Relaxed, for reports and for
// deciding to throttle.
size_t block_pool_free(const struct block_pool *pool);
// Tests: the n-th borrow from now fails (and every later one if `sticky`); 0 turns it off.
void block_pool_fail_after(struct block_pool *pool, uint64_t n, bool sticky);

void block_cache_init(struct block_cache *cache, struct block_pool *pool);
void block_cache_deinit(struct block_cache *cache); // returns its blocks to the pool
// An empty block (begin = end = 0, next = NULL), 4096-byte aligned, or NULL when the budget is used.
struct block *block_borrow(struct block_cache *cache);
void block_return(struct block_cache *cache, struct block *block);
