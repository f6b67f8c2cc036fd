// links: weir_cache weir_base
// Replays a trace of little-endian u32 ids through the cache and prints `miss_ratio 0.1234`.
//   miss_ratio FILE.u32 OBJECTS
// Object-count based: every entry is 16 bytes of log, and the log holds OBJECTS of them.
#include "base/hash.h"
#include "cache/cache.h"
#include <stdio.h>
#include <stdlib.h>

enum { ENTRY_BYTES = 16 }; // header 12, id 4

static struct cache *create(unsigned long objects)
{
    struct cache *cache = NULL;
    struct cache_options options = {.bytes = (8UL << 20) + objects * 64,
                                    .shards = 1,
                                    .item_bytes = ENTRY_BYTES,
                                    .log_bytes = objects * ENTRY_BYTES,
                                    .prefault = true};
    if (cache_create(&cache, &options) != 0) {
        fprintf(stderr, "miss_ratio: no memory for %lu objects\n", objects);
        exit(1);
    }
    return cache;
}

static bool request(struct cache *cache, uint32_t id)
{
    struct slice key = slice_of(&id, sizeof(id));
    struct cache_ref ref = {.hash = hash_key(key), .key = key};
    struct cache_hit hit;
    if (cache_get(cache, &ref, 0, 1, NULL, 0, &hit) == CACHE_HIT)
        return true;
    cache_insert(cache, &ref, SLICE(""), CACHE_NULL, 1, 1000);
    return false;
}

int main(int argc, char **argv)
{
    FILE *trace = argc == 3 ? fopen(argv[1], "rb") : NULL;
    unsigned long objects = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    if (trace == NULL || objects < 10) {
        fprintf(stderr, "usage: miss_ratio FILE.u32 OBJECTS\n");
        return 2;
    }
    hash_seed(1);
    struct cache *cache = create(objects);
    uint64_t requests = 0, misses = 0;
    uint32_t ids[4096];
    size_t count;
    while ((count = fread(ids, sizeof(ids[0]), 4096, trace)) != 0) {
        for (size_t i = 0; i < count; i++)
            misses += !request(cache, ids[i]);
        requests += count;
    }
    struct cache_stats stats;
    cache_stats(cache, &stats);
    printf("requests %lu\nitems %lu\n", requests, stats.items);
    printf("miss_ratio %.4f\n", (double)misses / (double)requests);
    cache_destroy(&cache);
    fclose(trace);
    return 0;
}
