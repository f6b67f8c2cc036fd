// links: weir_cache weir_base
// How many entries of 22 B keys and 100 B values, touched once, live in 64 MiB, everything
// included, and what an entry costs beyond its own bytes.
#include "base/hash.h"
#include "cache/cache.h"
#include <stdio.h>
#include <stdlib.h>

enum { KEY = 22, VALUE = 100, INSERTS = 2000000 };
#define ARENA (64UL << 20)

static uint64_t rss_bytes(void)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm != NULL) {
        if (fscanf(statm, "%*u %lu", &pages) != 1)
            pages = 0;
        fclose(statm);
    }
    return pages * 4096;
}

int main(void)
{
    struct cache *cache = NULL;
    struct cache_options options = {.bytes = ARENA, .prefault = true};
    uint64_t before = rss_bytes();
    hash_seed(1);
    if (cache_create(&cache, &options) != 0)
        return 1;
    uint64_t created = rss_bytes();
    for (unsigned i = 0; i < INSERTS; i++) {
        char key[32];
        uint8_t value[VALUE] = {0};
        struct cache_ref ref = {
            .key = slice_of(key, (size_t)snprintf(key, sizeof(key), "key:%018u", i))};
        ref.hash = hash_key(ref.key);
        if (cache_insert(cache, &ref, slice_of(value, VALUE), CACHE_BULK, 1, 1000) != 0)
            return 1;
    }
    struct cache_stats stats;
    cache_stats(cache, &stats);
    double overhead = (double)ARENA / (double)stats.items - KEY - VALUE;
    printf("items %lu\noverhead_bytes %.1f\n", stats.items, overhead);
    printf("bytes_total %lu\nbytes_index %lu\nbytes_ghost %lu\nbytes_log %lu\n", stats.bytes_total,
           stats.bytes_index, stats.bytes_ghost, stats.bytes_log);
    printf("rss_created %lu\nrss_full %lu\n", created - before, rss_bytes() - before);
    cache_destroy(&cache);
    return 0;
}
