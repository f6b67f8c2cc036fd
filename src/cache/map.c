// The mapping: creation, what of it is populated, destruction.
//
// One mapping holds everything, struct cache included. Address space for the reserve is taken at
// the start; what is populated is exactly options.bytes or less, in whole pages. Huge pages are
// asked for on the populated ranges alone, so that none can reach beyond them.
#include "base/err.h"
#include "cache/shard.h"
#include <sys/mman.h>

enum {
    PAGE = 4096,
    SEGMENTS_WANTED = 1024, // per shard: SEGMENT_SLACK of them are half a percent, as their heads
    LOAD_PERCENT = 87,      // of the index, with items of the size expected
    SEGMENT_SHIFT_MIN = 12,
    SEGMENT_SHIFT_MAX = 18,
    SEGMENTS_MIN = 32,
    ITEM_BYTES_DEFAULT = 136, // 22 B keys, 100 B values
    SHARDS_MAX = 64,
};
#define MIB (1ULL << 20)
#define HUGE (2 * MIB)
#define SHARD_BYTES_WANTED (8 * MIB)

static uint64_t round_up(uint64_t bytes, uint64_t to)
{
    return (bytes + to - 1) / to * to;
}

uint64_t map_share(const struct cache *cache, size_t bytes)
{
    if (bytes < cache->heads_bytes)
        return 0;
    return (bytes - cache->heads_bytes) / cache->shard_count / PAGE * PAGE;
}

bool map_sizes(const struct cache *cache, uint64_t bytes, struct sizes *sizes)
{
    uint64_t item = cache->options.item_bytes, segment = 1ULL << cache->segment_shift;
    // An item costs its bytes, a slot at the index's load, a ghost, its part of a segment's head.
    uint64_t cost_x100 = item * 100 + 8 * 10000 / LOAD_PERCENT + 4 * 100 +
                         sizeof(struct segment) * 100 * item / segment;
    uint64_t items = bytes * 100 / cost_x100;
    if (cache->options.log_bytes != 0 && items > cache->options.log_bytes / item)
        items = cache->options.log_bytes / item;
    struct sizes s = {0};
    s.home_lines = items * 100 / LOAD_PERCENT / LINE_SLOTS + 1;
    s.index_bytes = round_up((s.home_lines + PROBE_LINES - 1) * 64, PAGE);
    s.ghost_sets = items / GHOST_WAYS + 1;
    s.ghost_bytes = round_up(s.ghost_sets * GHOST_WAYS * 4, PAGE);
    uint64_t tables = s.index_bytes + s.ghost_bytes;
    if (bytes <= tables)
        return false;
    s.segments_bytes = round_up((bytes - tables) / segment * sizeof(struct segment), PAGE);
    if (bytes <= tables + s.segments_bytes)
        return false;
    s.segments = (uint32_t)((bytes - tables - s.segments_bytes) / segment);
    s.log_bytes = s.segments * segment;
    if (s.segments < SEGMENTS_MIN)
        return false;
    s.limit = (s.segments - SEGMENT_SLACK) * segment;
    uint64_t cap = cache->options.log_bytes / cache->shard_count;
    if (cap != 0 && s.limit > cap)
        s.limit = cap;
    *sizes = s;
    return true;
}

int map_populate(const struct cache *cache, uint8_t *at, uint64_t bytes)
{
    if (bytes == 0)
        return 0;
    madvise(at, bytes, bytes >= HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE); // only ever a wish
    if (!cache->options.prefault || madvise(at, bytes, MADV_POPULATE_WRITE) == 0)
        return 0;
    return WEIR_ENOMEM;
}

void map_give_back(uint8_t *at, uint64_t bytes)
{
    if (bytes == 0)
        return;
    madvise(at, bytes, MADV_NOHUGEPAGE);
    CHECK(madvise(at, bytes, MADV_DONTNEED) == 0);
}

void map_account(struct cache *cache)
{
    const struct sizes *s = &cache->sizes;
    uint64_t shard = s->index_bytes + s->ghost_bytes + s->log_bytes + s->segments_bytes;
    uint64_t n = cache->shard_count;
    atomic_store_explicit(&cache->bytes_total, cache->heads_bytes + n * shard,
                          memory_order_relaxed);
    atomic_store_explicit(&cache->bytes_index, n * s->index_bytes, memory_order_relaxed);
    atomic_store_explicit(&cache->bytes_log, n * s->log_bytes, memory_order_relaxed);
    atomic_store_explicit(&cache->bytes_ghost, n * s->ghost_bytes, memory_order_relaxed);
}

// --- creation

static void choose_options(struct cache *cache, const struct cache_options *options)
{
    struct cache_options *o = &cache->options;
    *o = *options;
    if (o->small_percent == 0 || o->small_percent > 90)
        o->small_percent = 10;
    if (o->item_bytes == 0)
        o->item_bytes = ITEM_BYTES_DEFAULT;
    if (o->item_bytes < 16)
        o->item_bytes = 16;
    if (o->reserve_bytes == 0)
        o->reserve_bytes = 4 * o->bytes;
    if (o->reserve_bytes < o->bytes)
        o->reserve_bytes = o->bytes;
    uint64_t wanted = o->shards != 0 ? o->shards : o->bytes / SHARD_BYTES_WANTED;
    if (o->shards == 0 && wanted > SHARDS_MAX)
        wanted = SHARDS_MAX;
    while (wanted > 1 && o->bytes / wanted < MIB)
        wanted /= 2;
    cache->shard_count = 1;
    while (cache->shard_count * 2 <= wanted)
        cache->shard_count *= 2;
    o->shards = cache->shard_count;
    cache->heads_bytes =
        round_up(sizeof(struct cache) + 64 + cache->shard_count * sizeof(struct shard), PAGE);
    cache->segment_shift = SEGMENT_SHIFT_MIN;
    while (cache->segment_shift < SEGMENT_SHIFT_MAX &&
           map_share(cache, o->bytes) >> (cache->segment_shift + 1) >= SEGMENTS_WANTED)
        cache->segment_shift++;
}

// Index, ghosts and log of the start follow each other without a gap, for the sake of huge pages.
static int choose_layout(struct cache *cache)
{
    struct layout *at = &cache->layout;
    struct sizes most;
    if (!map_sizes(cache, map_share(cache, cache->options.bytes), &cache->sizes) ||
        !map_sizes(cache, map_share(cache, cache->options.reserve_bytes), &most))
        return WEIR_ERANGE;
    at->index[0] = 0;
    at->ghosts[0] = cache->sizes.index_bytes;
    at->log = at->ghosts[0] + cache->sizes.ghost_bytes;
    uint64_t end = round_up(at->log + most.log_bytes + HUGE, HUGE);
    for (int i = 1; i < TABLE_AREAS; i++) {
        at->index[i] = end;
        at->ghosts[i] = round_up(end + most.index_bytes, HUGE);
        end = round_up(at->ghosts[i] + most.ghost_bytes, HUGE);
    }
    at->segments = end;
    at->stride = round_up(at->segments + 2 * most.segments_bytes, HUGE);
    return 0;
}

static int shard_init(struct cache *cache, uint32_t number)
{
    struct shard *shard = &cache->shards[number];
    const struct sizes *sizes = &cache->sizes;
    const struct layout *at = &cache->layout;
    shard->region = cache->mapping + round_up(cache->heads_bytes, HUGE) + number * at->stride;
    shard->mapping = cache->mapping;
    shard->shard_count = cache->shard_count;
    shard->log = (word *)(shard->region + at->log);
    shard->segments = (struct segment *)(shard->region + at->segments);
    shard->segment_shift = cache->segment_shift;
    shard->word_shift = cache->segment_shift - 3;
    shard->word_mask = (1U << shard->word_shift) - 1;
    shard->age_shift = cache->segment_shift + (uint32_t)__builtin_ctz(cache->shard_count);
    shard->segment_count = sizes->segments;
    shard->limit = sizes->limit;
    shard->small_limit = sizes->limit * cache->options.small_percent / 100;
    uint64_t line = (uint64_t)(shard->region - cache->mapping) / 64;
    atomic_store_explicit(&shard->index, line << 32 | sizes->home_lines, memory_order_relaxed);
    if (map_populate(cache, shard->region, at->log + sizes->log_bytes) != 0 ||
        map_populate(cache, (uint8_t *)shard->segments, sizes->segments_bytes) != 0)
        return WEIR_ENOMEM;
    ghost_init(&shard->ghosts, shard->region + at->ghosts[0], (uint32_t)sizes->ghost_sets);
    log_init(shard);
    log_extend(shard, 0, shard->segment_count);
    return 0;
}

static void *reserve(size_t bytes)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    madvise(at, bytes, MADV_NOHUGEPAGE);
    madvise(at, bytes, MADV_DONTDUMP);
    return at;
}

// Takes address space for the cache; less of it where the system counts address space as memory.
static int choose_mapping(struct cache *cache, const struct cache_options *options)
{
    choose_options(cache, options);
    for (;;) {
        if (choose_layout(cache) != 0)
            return WEIR_ERANGE;
        cache->mapping_bytes =
            round_up(cache->heads_bytes, HUGE) + cache->shard_count * cache->layout.stride + HUGE;
        uint8_t *at = reserve(cache->mapping_bytes);
        if (at != NULL) {
            cache->mapping = at;
            return 0;
        }
        if (cache->options.reserve_bytes == cache->options.bytes)
            return WEIR_ENOMEM;
        cache->options.reserve_bytes = cache->options.bytes;
    }
}

int cache_create(struct cache **out, const struct cache_options *options)
{
    struct cache plan = {0};
    if (options->bytes < MIB)
        return WEIR_ERANGE;
    int error = choose_mapping(&plan, options);
    if (error != 0)
        return error;
    uint8_t *raw = plan.mapping;
    // Shards begin at a huge page; the address space taken has one to spare.
    plan.mapping = (uint8_t *)round_up((uint64_t)(uintptr_t)raw, HUGE);
    struct cache *cache = (struct cache *)plan.mapping;
    *cache = plan;
    cache->unaligned = raw;
    cache->shards = (struct shard *)(plan.mapping + round_up(sizeof(struct cache), 64));
    for (uint32_t i = 0; i < cache->shard_count; i++)
        if (shard_init(cache, i) != 0) {
            munmap(raw, plan.mapping_bytes);
            return WEIR_ENOMEM;
        }
    map_account(cache);
    *out = cache;
    return 0;
}

void cache_destroy(struct cache **cache)
{
    if (*cache != NULL)
        munmap((*cache)->unaligned, (*cache)->mapping_bytes);
    *cache = NULL;
}
