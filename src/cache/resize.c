// cache_resize: grows or shrinks shard by shard, while readers and writers go on.
//
//   grow     by shard: populate tables ─► [lock] new index [unlock] ─► old tables go back;
//            then populate the log of all ─► [lock] more free segments [unlock]
//   shrink   [lock] evict a slice [unlock] … ─► [lock] move the segments beyond the new end into
//            free ones before it; new index [unlock] ─► the log's end and the old tables go back
//
// No entry is lost but those evicted to fit the smaller limit. Ghosts are forgotten. Readers never
// wait: what is given back stays mapped and reads as zeros, which no validation passes.
#include "base/err.h"
#include "cache/shard.h"

enum { SLICE = 64 }; // segments evicted under one lock

static unsigned next_area(const struct shard *shard)
{
    return shard->tables_area == 1 ? 2 : 1;
}

static void set_limit(struct cache *cache, struct shard *shard, uint64_t limit)
{
    shard->limit = limit;
    shard->small_limit = limit * cache->options.small_percent / 100;
    evict_for(shard, 0);
}

// Index and ghosts move to other tables, of the new size.
static void change_tables(struct cache *cache, struct shard *shard, const struct sizes *sizes)
{
    unsigned area = next_area(shard);
    uint8_t *index = shard->region + cache->layout.index[area];
    index_rebuild(shard, (uint64_t)(index - cache->mapping) / 64, sizes->home_lines);
    ghost_init(&shard->ghosts, shard->region + cache->layout.ghosts[area],
               (uint32_t)sizes->ghost_sets);
    shard->tables_area = area;
}

static void give_back_tables(const struct cache *cache, const struct shard *shard, unsigned area,
                             const struct sizes *sizes)
{
    map_give_back(shard->region + cache->layout.index[area], sizes->index_bytes);
    map_give_back(shard->region + cache->layout.ghosts[area], sizes->ghost_bytes);
}

static int populate_tables(const struct cache *cache, const struct shard *shard,
                           const struct sizes *sizes)
{
    unsigned area = next_area(shard);
    int error = map_populate(cache, shard->region + cache->layout.index[area], sizes->index_bytes);
    if (error == 0)
        error = map_populate(cache, shard->region + cache->layout.ghosts[area], sizes->ghost_bytes);
    return error;
}

// The part of the log, and of its segments' heads, that growing adds.
static int populate_log(const struct cache *cache, const struct shard *shard,
                        const struct sizes *sizes)
{
    const struct sizes *old = &cache->sizes;
    uint8_t *log = (uint8_t *)shard->log, *heads = (uint8_t *)shard->segments;
    int error = map_populate(cache, log + old->log_bytes, sizes->log_bytes - old->log_bytes);
    if (error == 0)
        error = map_populate(cache, heads + old->segments_bytes,
                             sizes->segments_bytes - old->segments_bytes);
    return error;
}

static void give_back_end(const struct shard *shard, const struct sizes *from,
                          const struct sizes *to)
{
    if (to->segments >= from->segments)
        return;
    map_give_back((uint8_t *)shard->log + to->log_bytes, from->log_bytes - to->log_bytes);
    map_give_back((uint8_t *)shard->segments + to->segments_bytes,
                  from->segments_bytes - to->segments_bytes);
}

static void evict_in_slices(struct cache *cache, struct shard *shard, uint64_t limit)
{
    bool done = false;
    while (!done) {
        shard_lock(shard);
        uint64_t slice = SLICE * segment_bytes(shard);
        done = shard->limit <= limit + slice;
        set_limit(cache, shard, done ? limit : shard->limit - slice);
        shard_unlock(shard);
    }
}

// Empties the segments from `end` on; those of the free list leave it.
static void vacate(struct shard *shard, uint32_t end)
{
    for (uint32_t from = end, to = 0; from < shard->segment_count; from++) {
        if (log_take_free(shard, from))
            continue;
        while (!log_take_free(shard, to)) {
            to++;
            CHECK(to < end); // the limit left SEGMENT_SLACK free
        }
        compact_relocate(shard, from, to);
    }
    shard->segment_count = end;
}

static void shrink_shard(struct cache *cache, struct shard *shard, const struct sizes *sizes)
{
    unsigned old_area = shard->tables_area;
    evict_in_slices(cache, shard, sizes->limit);
    shard_lock(shard);
    vacate(shard, sizes->segments);
    change_tables(cache, shard, sizes);
    set_limit(cache, shard, sizes->limit);
    atomic_store_explicit(&shard->wrapped, false, memory_order_relaxed);
    shard_unlock(shard);
    give_back_tables(cache, shard, old_area, &cache->sizes);
    give_back_end(shard, &cache->sizes, sizes);
}

static int shrink(struct cache *cache, const struct sizes *sizes)
{
    for (uint32_t i = 0; i < cache->shard_count; i++) {
        // The new tables are small beside what the shard gives back at the end.
        if (populate_tables(cache, &cache->shards[i], sizes) != 0)
            return WEIR_ENOMEM;
        shrink_shard(cache, &cache->shards[i], sizes);
    }
    cache->sizes = *sizes;
    return 0;
}

// Tables first, and the old ones given back: what a shard has twice for a moment is less than what
// its log is about to grow by, so the new bound holds throughout.
static int grow_tables(struct cache *cache, const struct sizes *sizes)
{
    for (uint32_t i = 0; i < cache->shard_count; i++) {
        struct shard *shard = &cache->shards[i];
        unsigned old_area = shard->tables_area;
        if (populate_tables(cache, shard, sizes) != 0)
            return WEIR_ENOMEM;
        shard_lock(shard);
        change_tables(cache, shard, sizes);
        shard_unlock(shard);
        give_back_tables(cache, shard, old_area, &cache->sizes);
    }
    struct sizes tables = *sizes; // with the log as it was
    tables.segments = cache->sizes.segments;
    tables.segments_bytes = cache->sizes.segments_bytes;
    tables.log_bytes = cache->sizes.log_bytes;
    tables.limit = cache->sizes.limit;
    cache->sizes = tables;
    return 0;
}

static int grow(struct cache *cache, const struct sizes *sizes)
{
    if (grow_tables(cache, sizes) != 0)
        return WEIR_ENOMEM;
    for (uint32_t i = 0; i < cache->shard_count; i++) {
        if (populate_log(cache, &cache->shards[i], sizes) == 0)
            continue;
        for (uint32_t j = 0; j <= i; j++)
            give_back_end(&cache->shards[j], sizes, &cache->sizes);
        return WEIR_ENOMEM;
    }
    for (uint32_t i = 0; i < cache->shard_count; i++) {
        struct shard *shard = &cache->shards[i];
        shard_lock(shard);
        log_extend(shard, shard->segment_count, sizes->segments);
        shard->segment_count = sizes->segments;
        set_limit(cache, shard, sizes->limit);
        atomic_store_explicit(&shard->wrapped, false, memory_order_relaxed);
        shard_unlock(shard);
    }
    cache->sizes = *sizes;
    return 0;
}

int cache_resize(struct cache *cache, size_t bytes)
{
    struct sizes sizes;
    if (bytes > cache->options.reserve_bytes)
        return WEIR_ENOMEM;
    if (!map_sizes(cache, map_share(cache, bytes), &sizes))
        return WEIR_ERANGE;
    int failed = sizes.segments > cache->sizes.segments ? grow(cache, &sizes) : shrink(cache, &sizes);
    if (failed)
        return failed;
    cache->options.bytes = bytes;
    map_account(cache);
    return 0;
}
