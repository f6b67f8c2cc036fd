// The bound: what the process holds never exceeds what the cache was given, whatever the sizes do.
#include "base/hash.h"
#include "cache/cache.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define MIB (1UL << 20)

static uint64_t rss_bytes(void)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    assert_non_null(statm);
    assert_int_equal(fscanf(statm, "%*u %lu", &pages), 1);
    fclose(statm);
    return pages * 4096;
}

// Sanitizers keep memory of their own for each byte.
#ifdef WEIR_SANITIZED
#define ALLOWED (16UL << 30)
enum { ROUNDS = 200, FILLS = 5000 };
#else
#define ALLOWED (2 * MIB)
enum { ROUNDS = 20000, FILLS = 100000 };
#endif

static uint64_t random_next(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random >> 11;
}

static void churn(struct cache *cache, uint64_t *random, const uint8_t *bytes, size_t size)
{
    uint64_t key = random_next(random) % 1000000;
    struct cache_ref ref = {.key = slice_of(&key, sizeof(key))};
    ref.hash = hash_key(ref.key);
    cache_insert(cache, &ref, slice_of(bytes, size), CACHE_BULK, 1, 1000);
    if (random_next(random) % 4 == 0)
        cache_delete(cache, ref.hash);
}

// Phases of one size each, from 16 B to 1 MB and back: what kills slabs and heaps.
static void test_shifting_sizes_stay_within_the_bound(void **state)
{
    (void)state;
    struct cache *cache = NULL;
    struct cache_options options = {.bytes = 64 * MIB, .prefault = true};
    uint8_t *bytes = calloc(1, MIB);
    uint64_t random = 88172645463325252ULL, peak = 0;
    memset(bytes, 1, MIB);
    uint64_t before = rss_bytes();
    assert_int_equal(cache_create(&cache, &options), 0);
    for (int phase = 0; phase < 16; phase++) {
        size_t size = 16UL << 2 * (phase < 8 ? phase : 15 - phase);
        for (size_t i = 0; i < ROUNDS && i * size < 32UL * ROUNDS * 1024; i++)
            churn(cache, &random, bytes, 1 + random_next(&random) % size * 2 % MIB);
        uint64_t rss = rss_bytes() - before;
        peak = rss > peak ? rss : peak;
    }
    print_message("given %lu, peak %lu\n", options.bytes, peak);
    assert_true(peak <= options.bytes + ALLOWED);
    cache_destroy(&cache);
    free(bytes);
}

static void fill(struct cache *cache)
{
    static const uint8_t value[1000] = {1};
    uint64_t random = 1;
    for (int i = 0; i < FILLS; i++)
        churn(cache, &random, value, sizeof(value));
}

static void test_resize_gives_back_at_once(void **state)
{
    (void)state;
    struct cache *cache = NULL;
    struct cache_options options = {.bytes = 64 * MIB, .prefault = true};
    struct cache_stats stats;
    uint64_t before = rss_bytes();
    assert_int_equal(cache_create(&cache, &options), 0);
    size_t sizes[] = {16 * MIB, 64 * MIB, 24 * MIB, 20 * MIB, 128 * MIB, 32 * MIB};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        fill(cache);
        assert_int_equal(cache_resize(cache, sizes[i]), 0);
        cache_stats(cache, &stats);
        assert_true(stats.bytes_total <= sizes[i]);
        assert_true(stats.bytes_total > sizes[i] - sizes[i] / 20);
        assert_true(rss_bytes() - before <= sizes[i] + ALLOWED);
        fill(cache);
        assert_true(rss_bytes() - before <= sizes[i] + ALLOWED);
    }
    cache_destroy(&cache);
}

// Growing loses nothing; shrinking loses no more than what no longer fits.
static void test_entries_survive_a_resize(void **state)
{
    (void)state;
    struct cache *cache = NULL;
    struct cache_options options = {.bytes = 16 * MIB, .shards = 2};
    struct cache_stats stats;
    assert_int_equal(cache_create(&cache, &options), 0);
    for (uint64_t key = 0; key < 40000; key++) {
        struct cache_ref ref = {.key = slice_of(&key, sizeof(key))};
        ref.hash = hash_key(ref.key);
        cache_insert(cache, &ref, ref.key, CACHE_BULK, 1, 1000);
    }
    for (size_t bytes = 4; bytes <= 64; bytes *= 4) {
        assert_int_equal(cache_resize(cache, bytes * MIB), 0);
        cache_stats(cache, &stats);
        assert_in_range(stats.items, 25000, 40000);
    }
    uint64_t found = 0;
    for (uint64_t key = 0; key < 40000; key++) {
        struct cache_ref ref = {.key = slice_of(&key, sizeof(key))};
        uint64_t value = 0;
        struct cache_hit hit;
        ref.hash = hash_key(ref.key);
        if (cache_get(cache, &ref, 0, 1, &value, sizeof(value), &hit) != CACHE_HIT)
            continue;
        assert_int_equal(value, key);
        found++;
    }
    assert_int_equal(found, stats.items);
    cache_destroy(&cache);
}

int main(void)
{
    hash_seed(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shifting_sizes_stay_within_the_bound),
        cmocka_unit_test(test_resize_gives_back_at_once),
        cmocka_unit_test(test_entries_survive_a_resize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
