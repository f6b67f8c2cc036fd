// The log and the index below the cache: segments, chains, moves and hops, through one small shard.
#include "base/hash.h"
#include "base/limits.h"
#include "cache/shard.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static struct shard *create(struct cache **cache, unsigned item_bytes)
{
    struct cache_options options = {.bytes = 1 << 20, .shards = 1, .item_bytes = item_bytes};
    assert_int_equal(cache_create(cache, &options), 0);
    return &(*cache)->shards[0];
}

static struct cache_ref ref_of(const uint64_t *id)
{
    struct cache_ref ref = {.key = slice_of(id, sizeof(*id))};
    ref.hash = hash_key(ref.key);
    return ref;
}

static uint64_t chain_length(const struct shard *shard, const struct queue *queue)
{
    uint64_t length = 0;
    int32_t before = SEGMENT_NONE;
    for (int32_t i = queue->oldest; i != SEGMENT_NONE; i = atomic_load(&shard->segments[i].next)) {
        assert_int_equal(shard->segments[i].previous, before);
        before = i;
        length++;
    }
    assert_int_equal(before, queue->newest);
    return length;
}

// Every segment is in one chain, and the spans are what the chains hold.
static void check_segments(const struct shard *shard)
{
    uint64_t small = chain_length(shard, &shard->small), main = chain_length(shard, &shard->main);
    uint64_t dead = 0, all = 0;
    assert_int_equal(small + main + shard->free_count, shard->segment_count);
    for (uint32_t i = 0; i < shard->segment_count; i++)
        dead += dead_bytes(shard, (int32_t)i);
    assert_int_equal(dead, atomic_load(&shard->dead_bytes));
    const struct queue *queues[] = {&shard->small, &shard->main};
    for (int i = 0; i < 2; i++) {
        const struct queue *queue = queues[i];
        uint64_t held = chain_length(shard, queue) * segment_bytes(shard);
        if (queue->newest != SEGMENT_NONE)
            held -= segment_bytes(shard) - used_bytes(shard, queue->newest) + queue->cursor;
        assert_int_equal(held, queue->span);
        all += held;
    }
    assert_true(all <= shard->limit + 2 * LIMIT_CACHE_KEY);
}

static void test_segments_are_accounted(void **state)
{
    (void)state;
    struct cache *cache;
    struct shard *shard = create(&cache, 0);
    static const uint8_t value[200000] = {1};
    uint64_t random = 1;
    for (uint64_t i = 0; i < 30000; i++) {
        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
        uint64_t id = random >> 54;
        struct cache_ref ref = ref_of(&id);
        struct cache_hit hit;
        uint64_t size = random >> 20 & (i % 100 == 0 ? 0x1ffff : 0x7ff);
        cache_insert(cache, &ref, slice_of(value, size), CACHE_BULK, 1, 1000);
        for (uint64_t j = 0; j < (id & 3); j++)
            cache_get(cache, &ref, 0, 1, NULL, 0, &hit);
        if (i % 3 == 0)
            cache_delete(cache, ref.hash);
        if (i % 64 == 0)
            check_segments(shard);
    }
    assert_true(atomic_load(&shard->compactions) > 0);
    assert_true(atomic_load(&shard->evictions) > 0);
    cache_destroy(&cache);
}

static void test_sequences_are_unique(void **state)
{
    (void)state;
    struct cache *cache;
    struct shard *shard = create(&cache, 0);
    static const uint8_t value[1000] = {1};
    for (uint64_t id = 0; id < 5000; id++) {
        struct cache_ref ref = ref_of(&id);
        cache_insert(cache, &ref, slice_of(value, sizeof(value)), CACHE_BULK, 1, 1000);
    }
    for (uint32_t i = 0; i < shard->segment_count; i++)
        for (uint32_t j = 0; j < i; j++)
            assert_true(atomic_load(&shard->segments[i].sequence) == 0 ||
                        atomic_load(&shard->segments[i].sequence) !=
                            atomic_load(&shard->segments[j].sequence));
    cache_destroy(&cache);
}

// Load 0.9: next to every insert finds a slot, and every entry stays where lookups find it.
static void test_index_at_high_load(void **state)
{
    (void)state;
    struct cache *cache;
    struct shard *shard = create(&cache, 2000);
    uint64_t slots, ids = 0;
    index_slots(shard, &slots);
    for (; ids < slots * 9 / 10; ids++) {
        struct cache_ref ref = ref_of(&ids);
        assert_int_equal(cache_insert(cache, &ref, SLICE("v"), CACHE_BULK, 1, 1000), 0);
    }
    uint64_t found = 0;
    for (uint64_t id = 0; id < ids; id++) {
        struct cache_ref ref = ref_of(&id);
        found += cache_peek(cache, &ref, 0, 1);
    }
    assert_int_equal(found, atomic_load(&shard->items));
    assert_true(found >= ids - ids / 100);
    cache_destroy(&cache);
}

static void test_headers(void **state)
{
    (void)state;
    struct entry entries[] = {
        {.expires_ms = 5000, .stamp = 1, .key_size = 3, .value_size = 9, .kind = 2},
        {.expires_ms = UINT64_MAX, .stamp = UINT32_MAX, .key_size = 255, .value_size = 2097151},
        {.expires_ms = 0, .key_size = LIMIT_CACHE_KEY, .value_size = LIMIT_CACHE_VALUE, .kind = 1},
        {.expires_ms = 1ULL << 33, .scope_size = LIMIT_CACHE_SCOPE, .value_size = 1},
        {.expires_ms = (1ULL << 31) + 4000, .key_size = 1},
    };
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        word words[3];
        uint8_t bytes[ENTRY_HEAD_EXTENDED] = {0};
        struct entry entry = entries[i], back;
        entry.head = entry_extends(&entry, 4500) ? ENTRY_HEAD_EXTENDED : ENTRY_HEAD;
        entry_encode(&entry, 4500, bytes);
        words_write(words, bytes, entry.head);
        entry_decode(&back, words, 4500);
        assert_int_equal(back.head, i == 0 || i == 4 ? ENTRY_HEAD : ENTRY_HEAD_EXTENDED);
        assert_true(back.expires_ms == entry.expires_ms);
        assert_int_equal(back.stamp, entry.stamp);
        assert_int_equal(back.key_size, entry.key_size);
        assert_int_equal(back.scope_size, entry.scope_size);
        assert_int_equal(back.value_size, entry.value_size);
        assert_int_equal(back.kind, entry.kind);
    }
}

int main(void)
{
    hash_seed(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments_are_accounted),
        cmocka_unit_test(test_sequences_are_unique),
        cmocka_unit_test(test_index_at_high_load),
        cmocka_unit_test(test_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
