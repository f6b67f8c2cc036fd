// links: weir_cache weir_base
// The cache against a naive twin: a table of what was last inserted for each (key, scope), with its
// stamp and expiry. Values are regenerated from a seed, so that a hit is checked byte by byte.
//
//   get        a hit must equal the twin's entry, neither expired, under the floor nor deleted;
//              a miss is always allowed, but rare while the cache is large enough
//   the rest   inserts of 1 B to 1 MB, deletes by hash, prefix drops, sweeps, floors, clocks,
//              resizes, peeks, describes
//
// WEIR_SEED replays a run, WEIR_STEPS sets its length.
#include "base/err.h"
#include "base/hash.h"
#include "base/limits.h"
#include "cache/cache.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { KEYS = 3000, SCOPES = 3, VALUE_MAX = 1 << 20 };

struct twin {
    bool present;
    uint32_t size, stamp;
    uint64_t expires_ms, value_seed;
    uint8_t kind;
};

struct model {
    struct cache *cache;
    uint64_t random, seed, now_ms;
    uint32_t floor, stamp, size_max;
    struct twin twins[KEYS][SCOPES];
    uint64_t gets, hits, expected_hits;
    uint8_t *value, *got;
    size_t bytes;
};

static uint64_t next(struct model *m)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random;
}

static uint64_t below(struct model *m, uint64_t bound)
{
    return (next(m) >> 11) % bound;
}

static void fill(uint8_t *out, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i += 8) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        memcpy(out + i, &seed, size - i < 8 ? size - i : 8);
    }
}

// Key `number`: most are short; one in 16 is long, one of them of the greatest size.
static struct slice key_of(uint32_t number, uint8_t *room)
{
    size_t size = number % 16 != 3 ? 4 + number % 40 : 200 + number * 7 % 800;
    if (number == 19)
        size = LIMIT_CACHE_KEY;
    memset(room, 'k', size);
    room[0] = (uint8_t)('a' + number % 7);
    memcpy(room + 1, &(uint16_t){(uint16_t)number}, 2);
    return slice_of(room, number == 5 ? 0 : size);
}

static struct slice scope_of(uint32_t scope)
{
    static const uint8_t longest[LIMIT_CACHE_SCOPE] = {7};
    if (scope == 0)
        return SLICE("");
    return scope == 1 ? SLICE("hget field") : slice_of(longest, sizeof(longest));
}

struct name {
    uint8_t key[LIMIT_CACHE_KEY];
    struct cache_ref ref;
};

static void name_of(struct name *name, uint32_t key, uint32_t scope)
{
    name->ref.key = key_of(key, name->key);
    name->ref.scope = scope_of(scope);
    name->ref.hash = hash_key(name->ref.key);
}

static uint32_t random_size(struct model *m)
{
    uint64_t kind = below(m, 1000);
    uint64_t bound = kind < 700 ? 200 : kind < 980 ? 5000 : kind < 998 ? 100000 : VALUE_MAX;
    return (uint32_t)below(m, bound < m->size_max ? bound : m->size_max) + (kind % 50 != 0);
}

static bool visible(const struct model *m, const struct twin *twin)
{
    return twin->present && twin->stamp >= m->floor && m->now_ms < twin->expires_ms;
}

static void step_get(struct model *m, uint32_t key, uint32_t scope)
{
    struct name name;
    struct cache_hit hit;
    const struct twin *twin = &m->twins[key][scope];
    name_of(&name, key, scope);
    bool peeked = cache_peek(m->cache, &name.ref, m->floor, m->now_ms);
    size_t room = below(m, 50) == 0 ? below(m, 300) : VALUE_MAX;
    memset(m->got, 0xee, 16);
    enum cache_verdict verdict =
        cache_get(m->cache, &name.ref, m->floor, m->now_ms, m->got, room, &hit);
    m->gets++;
    m->expected_hits += visible(m, twin);
    assert_int_equal(peeked, verdict != CACHE_MISS);
    if (verdict == CACHE_MISS)
        return;
    m->hits++;
    assert_true(visible(m, twin));
    assert_int_equal(hit.size, twin->size);
    assert_int_equal(hit.kind, twin->kind);
    assert_int_equal(hit.stamp, twin->stamp);
    assert_true(hit.expires_ms == twin->expires_ms);
    assert_int_equal(verdict == CACHE_NO_ROOM, hit.size > room);
    assert_true(cache_still(m->cache, &name.ref, hit.position));
    assert_false(cache_still(m->cache, &name.ref, hit.position + (1ULL << 32)));
    if (verdict == CACHE_NO_ROOM)
        return;
    fill(m->value, twin->size, twin->value_seed);
    assert_memory_equal(m->got, m->value, twin->size);
}

static void step_insert(struct model *m, uint32_t key, uint32_t scope)
{
    struct name name;
    struct twin *twin = &m->twins[key][scope];
    name_of(&name, key, scope);
    uint64_t lifetimes[] = {1, 50, 5000, 1000000, 1ULL << 31, 1ULL << 40};
    uint64_t lifetime = lifetimes[below(m, 6)];
    struct twin new = {.present = true,
                       .size = random_size(m),
                       .stamp = m->stamp - (uint32_t)below(m, 3),
                       .expires_ms = below(m, 100) == 0 ? UINT64_MAX : m->now_ms + lifetime,
                       .value_seed = next(m),
                       .kind = (uint8_t)below(m, 3)};
    fill(m->value, new.size, new.value_seed);
    int error = cache_insert(m->cache, &name.ref, slice_of(m->value, new.size), new.kind, new.stamp,
                             new.expires_ms);
    assert_true(error == 0 || error == WEIR_ENOMEM);
    *twin = new;
    twin->present = error == 0;
}

static void step_delete(struct model *m, uint32_t key)
{
    struct name name;
    name_of(&name, key, 0);
    unsigned present = 0;
    for (int scope = 0; scope < SCOPES; scope++) {
        present += m->twins[key][scope].present;
        m->twins[key][scope].present = false;
    }
    assert_true(cache_delete(m->cache, name.ref.hash) <= present);
    for (uint32_t scope = 0; scope < SCOPES; scope++) {
        struct cache_entry_info info;
        name_of(&name, key, scope);
        assert_int_equal(cache_describe(m->cache, &name.ref, &info), WEIR_ENOENT);
    }
}

static void step_prefix(struct model *m)
{
    uint8_t prefix = (uint8_t)('a' + below(m, 7));
    cache_drop_prefix(m->cache, slice_of(&prefix, 1));
    for (uint32_t key = 0; key < KEYS; key++)
        for (int scope = 0; scope < SCOPES; scope++)
            if (key % 7 == (uint32_t)(prefix - 'a') && key != 5)
                m->twins[key][scope].present = false;
}

// Stamps end; all older entries go, and stamps begin again.
static void step_sweep(struct model *m)
{
    cache_sweep(m->cache, m->stamp);
    for (uint32_t key = 0; key < KEYS; key++)
        for (int scope = 0; scope < SCOPES; scope++)
            if (m->twins[key][scope].stamp < m->stamp)
                m->twins[key][scope].present = false;
    if (m->stamp < 1000)
        return;
    cache_sweep(m->cache, UINT32_MAX);
    for (uint32_t key = 0; key < KEYS; key++)
        for (int scope = 0; scope < SCOPES; scope++)
            m->twins[key][scope].present = false;
    m->stamp = 10;
    m->floor = 0;
}

static void step_resize(struct model *m)
{
    size_t bytes = m->bytes / 2 + below(m, m->bytes);
    int error = cache_resize(m->cache, bytes);
    assert_true(error == 0 || error == WEIR_ERANGE);
    struct cache_stats stats;
    cache_stats(m->cache, &stats);
    assert_true(error != 0 || stats.bytes_total <= bytes);
    assert_int_equal(cache_resize(m->cache, m->bytes * 100), WEIR_ENOMEM);
}

static void step(struct model *m, bool resizes)
{
    uint32_t key = (uint32_t)below(m, below(m, 4) == 0 ? KEYS : KEYS / 20);
    uint32_t scope = below(m, 4) == 0 ? (uint32_t)below(m, SCOPES) : 0;
    uint64_t what = below(m, 100000);
    if (what < 70000)
        step_get(m, key, scope);
    else if (what < 92000)
        step_insert(m, key, scope);
    else if (what < 98000)
        step_delete(m, key);
    else if (what < 99900)
        m->now_ms += below(m, 40);
    else if (what < 99980)
        m->stamp++;
    else if (what < 99990)
        m->floor = m->stamp - 2;
    else if (what < 99994)
        step_prefix(m);
    else if (what < 99997)
        step_sweep(m);
    else if (resizes)
        step_resize(m);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void check_counts(struct model *m)
{
    struct cache_stats stats;
    uint64_t present = 0;
    cache_stats(m->cache, &stats);
    for (uint32_t key = 0; key < KEYS; key++)
        for (int scope = 0; scope < SCOPES; scope++)
            present += m->twins[key][scope].present;
    assert_true(stats.items <= present);
    cache_drop_prefix(m->cache, SLICE(""));
    cache_stats(m->cache, &stats);
    assert_int_equal(stats.items, 0);
    assert_int_equal(stats.item_bytes, 0);
}

// Returns hits over expected hits.
static double run(const struct cache_options *options, uint32_t size_max, uint64_t steps,
                  bool resizes)
{
    struct model *m = calloc(1, sizeof(*m));
    assert_non_null(m);
    m->seed = number_from("WEIR_SEED", 88172645463325252ULL);
    m->random = m->seed ^ options->bytes ^ size_max;
    m->now_ms = 1000;
    m->stamp = 10;
    m->size_max = size_max;
    m->bytes = options->bytes;
    m->value = malloc(VALUE_MAX + 8);
    m->got = malloc(VALUE_MAX + 8);
    assert_int_equal(cache_create(&m->cache, options), 0);
    steps = number_from("WEIR_STEPS", steps);
    for (uint64_t i = 0; i < steps; i++)
        step(m, resizes);
    double ratio = (double)m->hits / (double)m->expected_hits;
    struct cache_stats stats;
    cache_stats(m->cache, &stats);
    print_message("WEIR_SEED=%lu steps %lu hits %lu of %lu evictions %lu compactions %lu\n",
                  m->seed, steps, m->hits, m->expected_hits, stats.evictions, stats.compactions);
    check_counts(m);
    cache_destroy(&m->cache);
    free(m->value);
    free(m->got);
    free(m);
    return ratio;
}

#ifdef WEIR_SANITIZED
enum { STEPS = 200000 };
#else
enum { STEPS = 2000000 };
#endif

static void test_large_enough_finds_everything(void **state)
{
    (void)state;
    struct cache_options options = {.bytes = 256UL << 20, .shards = 4};
    assert_true(run(&options, 3000, STEPS, false) > 0.999);
}

static void test_small_cache(void **state)
{
    (void)state;
    struct cache_options options = {.bytes = 1UL << 20, .shards = 1};
    assert_true(run(&options, 20000, STEPS, false) > 0.01);
}

static void test_large_values_spill_over_segments(void **state)
{
    (void)state;
    struct cache_options options = {.bytes = 3UL << 20, .shards = 1};
    assert_true(run(&options, VALUE_MAX, STEPS / 4, false) > 0.01);
}

static void test_resizes(void **state)
{
    (void)state;
    struct cache_options options = {.bytes = 4UL << 20, .shards = 1, .prefault = true};
    assert_true(run(&options, 100000, STEPS, true) > 0.01);
}

static void test_crowded_index(void **state)
{
    (void)state;
    struct cache_options options = {.bytes = 2UL << 20, .shards = 1, .item_bytes = 4096};
    assert_true(run(&options, 100, STEPS, true) > 0.01);
}

int main(void)
{
    hash_seed(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_enough_finds_everything),
        cmocka_unit_test(test_small_cache),
        cmocka_unit_test(test_large_values_spill_over_segments),
        cmocka_unit_test(test_resizes),
        cmocka_unit_test(test_crowded_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
