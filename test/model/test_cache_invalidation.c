// links: weir_cache weir_base m
// Where a ring log is weakest: a Zipf 1.0 workload of 738 B values of which a share is written, so
// that entries are dropped and their bytes stay behind. The hit ratio is compared with that of an
// exact LRU list which is charged 56 B an entry for its own and wastes no byte.
#include "base/hash.h"
#include "cache/cache.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { OBJECTS = 100000, VALUE = 738, KEY = 8, LRU_OVERHEAD = 56 };
#ifdef WEIR_SANITIZED
enum { REQUESTS = 300000 };
#else
enum { REQUESTS = 2000000 };
#endif

struct lru {
    int32_t next[OBJECTS + 1], previous[OBJECTS + 1]; // OBJECTS heads the ring
    bool present[OBJECTS];
    uint32_t items, room;
};

static void lru_remove(struct lru *lru, int32_t id)
{
    lru->next[lru->previous[id]] = lru->next[id];
    lru->previous[lru->next[id]] = lru->previous[id];
    lru->present[id] = false;
    lru->items--;
}

static void lru_push(struct lru *lru, int32_t id)
{
    if (lru->items == lru->room)
        lru_remove(lru, lru->previous[OBJECTS]);
    lru->next[id] = lru->next[OBJECTS];
    lru->previous[id] = OBJECTS;
    lru->previous[lru->next[id]] = id;
    lru->next[OBJECTS] = id;
    lru->present[id] = true;
    lru->items++;
}

static bool lru_get(struct lru *lru, int32_t id)
{
    bool hit = lru->present[id];
    if (hit)
        lru_remove(lru, id);
    lru_push(lru, id);
    return hit;
}

static struct cache_ref ref_of(const uint64_t *id)
{
    struct cache_ref ref = {.key = slice_of(id, KEY)};
    ref.hash = hash_key(ref.key);
    return ref;
}

static bool cache_request(struct cache *cache, uint64_t id)
{
    static const uint8_t value[VALUE] = {1};
    uint8_t out[VALUE];
    struct cache_hit hit;
    struct cache_ref ref = ref_of(&id);
    if (cache_get(cache, &ref, 0, 1, out, sizeof(out), &hit) == CACHE_HIT)
        return true;
    cache_insert(cache, &ref, slice_of(value, VALUE), CACHE_BULK, 1, 1000);
    return false;
}

static double *zipf_sums(void)
{
    double *sums = malloc(OBJECTS * sizeof(double)), sum = 0;
    for (int i = 0; i < OBJECTS; i++)
        sums[i] = sum += 1.0 / (i + 1);
    return sums;
}

static uint64_t random_next(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random >> 11;
}

static uint32_t zipf(const double *sums, uint64_t *random)
{
    double wanted = (double)random_next(random) / 9007199254740992.0 * sums[OBJECTS - 1];
    uint32_t low = 0, high = OBJECTS - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (sums[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void compare(unsigned write_percent, size_t bytes, double allowed)
{
    struct cache *cache = NULL;
    struct cache_options options = {.bytes = bytes, .item_bytes = VALUE + KEY + 12};
    struct lru *lru = calloc(1, sizeof(*lru));
    double *sums = zipf_sums();
    uint64_t random = 88172645463325252ULL, gets = 0, hits = 0, lru_hits = 0;
    assert_int_equal(cache_create(&cache, &options), 0);
    lru->next[OBJECTS] = lru->previous[OBJECTS] = OBJECTS;
    lru->room = (uint32_t)(bytes / (VALUE + KEY + LRU_OVERHEAD));
    for (int i = 0; i < REQUESTS; i++) {
        uint64_t id = zipf(sums, &random);
        if (random_next(&random) % 100 < write_percent) {
            cache_delete(cache, ref_of(&id).hash);
            if (lru->present[id])
                lru_remove(lru, (int32_t)id);
            continue;
        }
        bool hit = cache_request(cache, id), lru_hit = lru_get(lru, (int32_t)id);
        if (i < REQUESTS / 4)
            continue; // warming
        gets++;
        hits += hit;
        lru_hits += lru_hit;
    }
    struct cache_stats stats;
    cache_stats(cache, &stats);
    double ratio = (double)hits / (double)gets, lru_ratio = (double)lru_hits / (double)gets;
    print_message("writes %2u %% bytes %9lu: hit ratio %.4f, LRU %.4f; dead %.1f %%, compactions "
                  "%lu of %lu inserts\n",
                  write_percent, bytes, ratio, lru_ratio,
                  100.0 * (double)stats.bytes_dead / (double)stats.bytes_log, stats.compactions,
                  stats.inserts);
    cache_destroy(&cache);
    free(lru);
    free(sums);
    assert_true(ratio >= lru_ratio - allowed);
}

static void test_no_writes(void **state)
{
    (void)state;
    compare(0, 7UL << 20, 0);
}

static void test_few_writes(void **state)
{
    (void)state;
    compare(5, 7UL << 20, 0);
}

static void test_many_writes(void **state)
{
    (void)state;
    compare(20, 7UL << 20, 0);
    compare(20, 2UL << 20, 0);
}

int main(void)
{
    hash_seed(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_writes),
        cmocka_unit_test(test_few_writes),
        cmocka_unit_test(test_many_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
