// links: weir_cache weir_base
// Readers without a lock against writers that insert, delete, evict and resize.
//
// A value checks itself: its words follow from (key, version). Each key has one writer, which
// raises `least` once a delete has returned: a get that begins later may find newer versions only.
// So a reader fails on a torn value, on another key's value, and on one that was deleted before.
//
// WEIR_STEPS sets how many operations each writer does.
#include "base/hash.h"
#include "cache/cache.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { KEYS = 256, WRITERS = 2, READERS = 2, ROOM = 1 << 17 };

struct run {
    struct cache *cache;
    size_t bytes, log_bytes;
    uint32_t size_max; // of values
    bool one_size, resizes;
    uint64_t steps;
    _Atomic uint64_t least[KEYS]; // versions below were deleted
    _Atomic uint64_t torn, stale, hits, changed;
    _Atomic int writing;
};

struct thread {
    struct run *run;
    uint64_t random;
    unsigned number;
};

static uint64_t below(struct thread *t, uint64_t bound)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return (t->random >> 11) % bound;
}

struct name {
    char text[24];
    struct cache_ref ref;
};

static void name_of(struct name *name, uint64_t key)
{
    int size = snprintf(name->text, sizeof(name->text), "key:%06lu", (unsigned long)key);
    name->ref = (struct cache_ref){.key = slice_of(name->text, (size_t)size)};
    name->ref.hash = hash_key(name->ref.key);
}

static uint64_t word_of(uint64_t key, uint64_t version, uint64_t i)
{
    return (version * KEYS + key) * 0x9e3779b97f4a7c15ULL + i;
}

// The version in a value of whole words, or UINT64_MAX when it is not one of this key's.
static uint64_t check_value(const uint64_t *words, size_t size, uint64_t key)
{
    if (size < 16 || size % 8 != 0)
        return UINT64_MAX;
    for (size_t i = 1; i < size / 8; i++)
        if (words[i] != word_of(key, words[0], i))
            return UINT64_MAX;
    return words[0];
}

static void *write_keys(void *context)
{
    struct thread *t = context;
    struct run *run = t->run;
    uint64_t *words = malloc(ROOM), versions[KEYS] = {0};
    for (uint64_t step = 0; step < run->steps; step++) {
        uint64_t key = below(t, KEYS / WRITERS) * WRITERS + t->number;
        struct name name;
        name_of(&name, key);
        if (below(t, 3) == 0) {
            cache_delete(run->cache, name.ref.hash);
            atomic_store_explicit(&run->least[key], versions[key] + 1, memory_order_release);
            continue;
        }
        size_t bound = below(t, 64) == 0 ? run->size_max : 512;
        size_t size = run->one_size ? 104 : 16 + below(t, bound) / 8 * 8;
        words[0] = ++versions[key];
        for (size_t i = 1; i < size / 8; i++)
            words[i] = word_of(key, words[0], i);
        cache_insert(run->cache, &name.ref, slice_of(words, size), CACHE_BULK, 1, 1000000);
    }
    free(words);
    atomic_fetch_sub(&run->writing, 1);
    return NULL;
}

static void read_one(struct thread *t, uint64_t *words)
{
    struct run *run = t->run;
    uint64_t key = below(t, below(t, 2) == 0 ? KEYS : 4);
    struct name name;
    struct cache_hit hit;
    name_of(&name, key);
    uint64_t least = atomic_load_explicit(&run->least[key], memory_order_acquire);
    if (cache_get(run->cache, &name.ref, 0, 1, words, ROOM, &hit) != CACHE_HIT)
        return;
    uint64_t version = check_value(words, hit.size, key);
    atomic_fetch_add_explicit(&run->hits, 1, memory_order_relaxed);
    if (version == UINT64_MAX)
        atomic_fetch_add(&run->torn, 1);
    else if (version < least)
        atomic_fetch_add(&run->stale, 1);
    if (!cache_still(run->cache, &name.ref, hit.position))
        atomic_fetch_add_explicit(&run->changed, 1, memory_order_relaxed);
}

static void *read_keys(void *context)
{
    struct thread *t = context;
    uint64_t *words = malloc(ROOM);
    while (atomic_load_explicit(&t->run->writing, memory_order_relaxed) != 0)
        read_one(t, words);
    free(words);
    return NULL;
}

static void *resize(void *context)
{
    struct thread *t = context;
    struct run *run = t->run;
    while (atomic_load_explicit(&run->writing, memory_order_relaxed) != 0) {
        cache_resize(run->cache, run->bytes + below(t, run->bytes));
        cache_drop_prefix(run->cache, SLICE("key:0001"));
        cache_sweep(run->cache, 1);
    }
    return NULL;
}

static void run_threads(struct run *run)
{
    pthread_t ids[WRITERS + READERS + 1];
    struct thread threads[WRITERS + READERS + 1];
    unsigned count = WRITERS + READERS + run->resizes;
    struct cache_options options = {
        .bytes = run->bytes, .log_bytes = run->log_bytes, .shards = 1, .prefault = true};
    const char *steps = getenv("WEIR_STEPS");
    if (steps != NULL)
        run->steps = strtoull(steps, NULL, 10);
    assert_int_equal(cache_create(&run->cache, &options), 0);
    atomic_store(&run->writing, WRITERS);
    for (unsigned i = 0; i < count; i++) {
        threads[i] = (struct thread){run, 88172645463325252ULL + i, i};
        void *(*body)(void *) = i < WRITERS             ? write_keys
                                : i < WRITERS + READERS ? read_keys
                                                        : resize;
        assert_int_equal(pthread_create(&ids[i], NULL, body, &threads[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(ids[i], NULL);
    struct cache_stats stats;
    cache_stats(run->cache, &stats);
    print_message("hits %lu changed %lu evictions %lu compactions %lu\n", run->hits, run->changed,
                  stats.evictions, stats.compactions);
    cache_destroy(&run->cache);
    assert_int_equal(run->torn, 0);
    assert_int_equal(run->stale, 0);
    assert_true(run->hits > 0);
}

#ifdef WEIR_SANITIZED
enum { STEPS = 60000 };
#else
enum { STEPS = 1000000 };
#endif

static void test_small_values(void **state)
{
    (void)state;
    struct run run = {.bytes = 1 << 20, .log_bytes = 50000, .size_max = 4096, .steps = STEPS};
    run_threads(&run);
}

// Entries come back to the very offsets they had.
static void test_values_of_one_size(void **state)
{
    (void)state;
    struct run run = {.bytes = 1 << 20, .log_bytes = 20000, .one_size = true, .steps = STEPS};
    run_threads(&run);
}

static void test_large_values(void **state)
{
    (void)state;
    struct run run = {
        .bytes = 1 << 20, .log_bytes = 400000, .size_max = 100000, .steps = STEPS / 4};
    run_threads(&run);
}

static void test_resizes(void **state)
{
    (void)state;
    struct run run = {.bytes = 1 << 20, .size_max = 50000, .resizes = true, .steps = STEPS / 4};
    run_threads(&run);
}

int main(void)
{
    hash_seed(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_values),
        cmocka_unit_test(test_values_of_one_size),
        cmocka_unit_test(test_large_values),
        cmocka_unit_test(test_resizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
