// The buffer budget.
//
//   mapping   | block 0 | block 1 | ... | block n-1 |      prefaulted, never grows
//   pool      stack of the numbers of free blocks, under a spin lock
//   cache     list of at most CACHE_MAX free blocks of one thread
//
// The central list is a stack of block numbers rather than links through the blocks: moving a batch
// under the lock copies 128 bytes and touches no block, so the lock is held for a few dozen
// nanoseconds, and once per CACHE_BATCH borrows.
//
// Invariants: a block is in exactly one place (stack, one cache, one borrower); a free block's data
// is poisoned under AddressSanitizer; the number of blocks is fixed at creation.
#include "base/block.h"
#include "base/check.h"
#include "base/err.h"
#include "base/poison.h"
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

static_assert(sizeof(struct block) == BLOCK_BYTES, "a block is one page");
static_assert(offsetof(struct block, data) == 16, "data is aligned for any object");

enum { CACHE_MAX = 64, CACHE_BATCH = 32, HUGE_PAGE = 2 * 1024 * 1024 };

struct block_pool {
    struct block *blocks;
    size_t total;
    atomic_flag lock;
    _Atomic size_t free_count;   // written under the lock, read by anybody
    atomic_bool failing;         // armed by block_pool_fail_after
    bool fail_sticky;
    _Atomic uint64_t fail_count; // borrows until one fails
    uint32_t free[];             // numbers of free blocks
};

static void pool_lock(struct block_pool *pool)
{
    while (atomic_flag_test_and_set_explicit(&pool->lock, memory_order_acquire))
        ;
}

static void pool_unlock(struct block_pool *pool)
{
    atomic_flag_clear_explicit(&pool->lock, memory_order_release);
}

static void prefault(void *memory, size_t bytes)
{
    if (bytes >= HUGE_PAGE)
        madvise(memory, bytes, MADV_HUGEPAGE);
#ifdef MADV_POPULATE_WRITE
    if (madvise(memory, bytes, MADV_POPULATE_WRITE) == 0)
        return;
#endif
    for (size_t i = 0; i < bytes; i += BLOCK_BYTES)
        ((volatile uint8_t *)memory)[i] = 0;
}

int block_pool_create(struct block_pool **out, size_t bytes)
{
    size_t total = bytes / BLOCK_BYTES;
    if (total == 0 || total > UINT32_MAX)
        return WEIR_ENOMEM;
    struct block_pool *pool = calloc(1, sizeof *pool + total * sizeof pool->free[0]);
    if (pool == NULL)
        return WEIR_ENOMEM;
    size_t mapped = total * BLOCK_BYTES;
    void *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        free(pool);
        return WEIR_ENOMEM;
    }
    prefault(memory, mapped);
    pool->blocks = memory;
    pool->total = total;
    atomic_flag_clear(&pool->lock);
    for (size_t i = 0; i < total; i++) {
        pool->free[i] = (uint32_t)(total - 1 - i); // the lowest addresses are lent first
        poison(pool->blocks[i].data, sizeof pool->blocks[i].data);
    }
    atomic_store(&pool->free_count, total);
    *out = pool;
    return 0;
}

void block_pool_destroy(struct block_pool **pool)
{
    if (*pool == NULL)
        return;
    size_t mapped = (*pool)->total * BLOCK_BYTES;
    unpoison((*pool)->blocks, mapped);
    munmap((*pool)->blocks, mapped);
    free(*pool);
    *pool = NULL;
}

size_t block_pool_total(const struct block_pool *pool)
{
    return pool->total;
}

size_t block_pool_free(const struct block_pool *pool)
{
    return atomic_load_explicit(&pool->free_count, memory_order_relaxed);
}

void block_pool_fail_after(struct block_pool *pool, uint64_t n, bool sticky)
{
    pool->fail_sticky = sticky;
    atomic_store(&pool->fail_count, n);
    atomic_store(&pool->failing, n > 0);
}

static bool fails_now(struct block_pool *pool)
{
    if (!atomic_load_explicit(&pool->failing, memory_order_relaxed))
        return false;
    uint64_t left = atomic_load(&pool->fail_count);
    while (left > 1)
        if (atomic_compare_exchange_weak(&pool->fail_count, &left, left - 1))
            return false;
    if (!pool->fail_sticky)
        atomic_store(&pool->failing, false);
    return true;
}

void block_cache_init(struct block_cache *cache, struct block_pool *pool)
{
    *cache = (struct block_cache){.pool = pool};
}

// Moves up to CACHE_BATCH blocks from the pool to the cache.
static void refill(struct block_cache *cache)
{
    struct block_pool *pool = cache->pool;
    uint32_t taken[CACHE_BATCH];
    pool_lock(pool);
    size_t left = atomic_load_explicit(&pool->free_count, memory_order_relaxed);
    size_t may = left > cache->keep ? left - cache->keep : 0;
    uint32_t count = may < CACHE_BATCH ? (uint32_t)may : CACHE_BATCH;
    left -= count;
    for (uint32_t i = 0; i < count; i++)
        taken[i] = pool->free[left + i];
    atomic_store_explicit(&pool->free_count, left, memory_order_relaxed);
    pool_unlock(pool);

    for (uint32_t i = 0; i < count; i++) {
        struct block *block = &pool->blocks[taken[i]];
        block->next = cache->free;
        cache->free = block;
    }
    cache->count += count;
}

// Moves `count` blocks (at most CACHE_MAX) from the cache to the pool.
static void drain(struct block_cache *cache, uint32_t count)
{
    struct block_pool *pool = cache->pool;
    uint32_t given[CACHE_MAX];
    for (uint32_t i = 0; i < count; i++) {
        given[i] = (uint32_t)(cache->free - pool->blocks);
        cache->free = cache->free->next;
    }
    cache->count -= count;

    pool_lock(pool);
    size_t held = atomic_load_explicit(&pool->free_count, memory_order_relaxed);
    CHECK(held + count <= pool->total);
    for (uint32_t i = 0; i < count; i++)
        pool->free[held + i] = given[i];
    atomic_store_explicit(&pool->free_count, held + count, memory_order_relaxed);
    pool_unlock(pool);
}

void block_cache_deinit(struct block_cache *cache)
{
    drain(cache, cache->count);
}

struct block *block_borrow(struct block_cache *cache)
{
    if (fails_now(cache->pool))
        return NULL;
    if (cache->free == NULL) {
        refill(cache);
        if (cache->free == NULL)
            return NULL;
    }
    struct block *block = cache->free;
    cache->free = block->next;
    cache->count--;
    unpoison(block->data, sizeof block->data);
    block->next = NULL;
    block->begin = 0;
    block->end = 0;
    return block;
}

void block_return(struct block_cache *cache, struct block *block)
{
    CHECK((size_t)(block - cache->pool->blocks) < cache->pool->total);
    poison(block->data, sizeof block->data);
    if (cache->count == CACHE_MAX)
        drain(cache, CACHE_BATCH);
    block->next = cache->free;
    cache->free = block;
    cache->count++;
}
