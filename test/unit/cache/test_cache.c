// The cache's contract, one promise after the other.
#include "cache/cache.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/limits.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct cache *create(size_t bytes)
{
    struct cache *cache = NULL;
    struct cache_options options = {.bytes = bytes, .shards = 1};
    assert_int_equal(cache_create(&cache, &options), 0);
    return cache;
}

static struct cache_ref ref_of(struct slice key, struct slice scope)
{
    return (struct cache_ref){.hash = hash_key(key), .key = key, .scope = scope};
}

static struct cache_ref plain(const char *key)
{
    return ref_of(slice_str(key), SLICE(""));
}

static int put(struct cache *cache, const char *key, const char *value)
{
    struct cache_ref ref = plain(key);
    return cache_insert(cache, &ref, slice_str(value), CACHE_BULK, 7, 1000);
}

static enum cache_verdict get(struct cache *cache, struct cache_ref ref, char *out, size_t room)
{
    struct cache_hit hit;
    enum cache_verdict verdict = cache_get(cache, &ref, 0, 1, out, room, &hit);
    if (verdict == CACHE_HIT)
        out[hit.size] = 0;
    return verdict;
}

static void test_refuses_what_cannot_be(void **state)
{
    (void)state;
    struct cache *cache = NULL;
    struct cache_options options = {.bytes = (1 << 20) - 1};
    assert_int_equal(cache_create(&cache, &options), WEIR_ERANGE);
    options.bytes = 1ULL << 47; // all the address space there is
    assert_int_equal(cache_create(&cache, &options), WEIR_ENOMEM);
    assert_null(cache);

    cache = create(1 << 20);
    static char bytes[LIMIT_CACHE_VALUE + 1];
    struct cache_ref ref = plain("k");
    assert_int_equal(cache_insert(cache, &ref, slice_of(bytes, sizeof(bytes)), 0, 1, 9),
                     WEIR_ERANGE);
    assert_int_equal(cache_insert(cache, &ref, slice_of(bytes, sizeof(bytes) - 1), 0, 1, 9),
                     WEIR_ENOMEM);
    ref = ref_of(slice_of(bytes, LIMIT_CACHE_KEY + 1), SLICE(""));
    assert_int_equal(cache_insert(cache, &ref, SLICE("v"), 0, 1, 9), WEIR_ERANGE);
    ref = ref_of(SLICE("k"), slice_of(bytes, LIMIT_CACHE_SCOPE + 1));
    assert_int_equal(cache_insert(cache, &ref, SLICE("v"), 0, 1, 9), WEIR_ERANGE);
    cache_destroy(&cache);
    assert_null(cache);
    cache_destroy(&cache);
}

static void test_hit_says_what_was_inserted(void **state)
{
    (void)state;
    struct cache *cache = create(1 << 20);
    struct cache_ref ref = plain("key");
    struct cache_hit hit = {0};
    char out[8] = "";
    assert_int_equal(cache_insert(cache, &ref, SLICE("value"), CACHE_FRAME, 41, 77), 0);
    assert_int_equal(cache_get(cache, &ref, 41, 76, out, sizeof(out), &hit), CACHE_HIT);
    assert_memory_equal(out, "value", 5);
    assert_int_equal(hit.size, 5);
    assert_int_equal(hit.kind, CACHE_FRAME);
    assert_int_equal(hit.stamp, 41);
    assert_int_equal(hit.expires_ms, 77);
    cache_destroy(&cache);
}

static void test_expiry_and_floor_are_exact(void **state)
{
    (void)state;
    struct cache *cache = create(1 << 20);
    struct cache_hit hit;
    uint64_t expiries[] = {1, 5000, 1ULL << 31, 1ULL << 32, 1ULL << 45, UINT64_MAX, 2, 0};
    for (size_t i = 0; i < sizeof(expiries) / sizeof(expiries[0]); i++) {
        struct cache_ref ref = ref_of(slice_of(&expiries[i], 8), SLICE(""));
        cache_insert(cache, &ref, SLICE("v"), CACHE_BULK, 9, expiries[i]);
        char out[1];
        uint64_t last = expiries[i] - (expiries[i] != 0);
        assert_int_equal(cache_get(cache, &ref, 0, expiries[i], out, 1, &hit), CACHE_MISS);
        assert_int_equal(cache_get(cache, &ref, 10, last, out, 1, &hit), CACHE_MISS);
        assert_int_equal(cache_get(cache, &ref, 9, last, out, 1, &hit),
                         expiries[i] != 0 ? CACHE_HIT : CACHE_MISS);
        assert_false(cache_peek(cache, &ref, 9, expiries[i]));
    }
    cache_destroy(&cache);
}

static void test_no_room_names_the_size(void **state)
{
    (void)state;
    struct cache *cache = create(1 << 20);
    struct cache_ref ref = plain("key");
    struct cache_hit hit = {0};
    char out[4] = {1, 2, 3, 4};
    put(cache, "key", "value");
    assert_int_equal(cache_get(cache, &ref, 0, 1, out, 4, &hit), CACHE_NO_ROOM);
    assert_int_equal(hit.size, 5);
    assert_memory_equal(out, "\1\2\3\4", 4);
    cache_destroy(&cache);
}

// Every size of key and value, so that every alignment is copied; bytes behind stay untouched.
static void test_every_alignment(void **state)
{
    (void)state;
    struct cache *cache = create(8 << 20);
    uint8_t bytes[200], out[202];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + 1);
    for (size_t key = 0; key < 40; key++) {
        for (size_t size = 0; size < 140; size++) {
            struct cache_ref ref = ref_of(slice_of(bytes, key), SLICE(""));
            struct cache_hit hit;
            struct slice value = slice_of(bytes + key, size);
            assert_int_equal(cache_insert(cache, &ref, value, 0, 1, 9), 0);
            memset(out, 0xee, sizeof(out));
            assert_int_equal(cache_get(cache, &ref, 0, 1, out + 1, size, &hit), CACHE_HIT);
            assert_memory_equal(out + 1, bytes + key, size);
            assert_int_equal(out[0], 0xee);
            assert_int_equal(out[size + 1], 0xee);
        }
    }
    cache_destroy(&cache);
}

static void test_keys_that_differ_in_one_byte(void **state)
{
    (void)state;
    struct cache *cache = create(1 << 20);
    uint8_t key[40] = {0};
    for (size_t size = 1; size < sizeof(key); size++) {
        struct cache_ref ref = ref_of(slice_of(key, size), SLICE(""));
        cache_insert(cache, &ref, SLICE("v"), 0, 1, 9);
        for (size_t i = 0; i < size; i++) {
            key[i] ^= 0x80; // the same hash, as if it collided
            assert_false(cache_peek(cache, &ref, 0, 1));
            key[i] ^= 0x80;
        }
        assert_true(cache_peek(cache, &ref, 0, 1));
    }
    cache_destroy(&cache);
}

static void test_scopes_live_and_die_with_their_key(void **state)
{
    (void)state;
    struct cache *cache = create(1 << 20);
    struct cache_ref get_ref = plain("key"), hash_ref = ref_of(SLICE("key"), SLICE("hget f"));
    struct cache_ref other = plain("other");
    char out[8];
    put(cache, "key", "plain");
    put(cache, "other", "x");
    cache_insert(cache, &hash_ref, SLICE("field"), CACHE_BULK, 1, 1000);
    assert_int_equal(get(cache, get_ref, out, 7), CACHE_HIT);
    assert_string_equal(out, "plain");
    assert_int_equal(get(cache, hash_ref, out, 7), CACHE_HIT);
    assert_string_equal(out, "field");
    assert_int_equal(cache_delete(cache, get_ref.hash), 2);
    assert_int_equal(cache_delete(cache, get_ref.hash), 0);
    assert_int_equal(get(cache, get_ref, out, 7), CACHE_MISS);
    assert_int_equal(get(cache, hash_ref, out, 7), CACHE_MISS);
    assert_int_equal(get(cache, other, out, 7), CACHE_HIT);
    cache_destroy(&cache);
}

// A hash read field by field has more scopes than its buckets have slots: the oldest give way.
static void test_more_scopes_than_slots(void **state)
{
    (void)state;
    struct cache *cache = create(1 << 20);
    struct cache_stats stats;
    for (uint32_t i = 0; i < 1000; i++) {
        struct cache_ref ref = ref_of(SLICE("key"), slice_of(&i, 4));
        assert_int_equal(cache_insert(cache, &ref, SLICE("v"), CACHE_BULK, 1, 9), 0);
        assert_true(cache_peek(cache, &ref, 0, 1));
    }
    cache_stats(cache, &stats);
    assert_in_range(stats.items, 8, 40);
    assert_int_equal(cache_delete(cache, hash_key(SLICE("key"))), stats.items);
    cache_destroy(&cache);
}

static void test_still_names_one_entry(void **state)
{
    (void)state;
    struct cache *cache = create(1 << 20);
    struct cache_ref ref = plain("key");
    struct cache_hit hit;
    char out[8];
    put(cache, "key", "one");
    cache_get(cache, &ref, 0, 1, out, 8, &hit);
    assert_true(cache_still(cache, &ref, hit.position));
    put(cache, "key", "two");
    assert_false(cache_still(cache, &ref, hit.position));
    cache_get(cache, &ref, 0, 1, out, 8, &hit);
    cache_delete(cache, ref.hash);
    assert_false(cache_still(cache, &ref, hit.position));
    cache_destroy(&cache);
}

static void test_age_grows_with_the_log(void **state)
{
    (void)state;
    struct cache *cache = create(4 << 20);
    struct cache_ref first = plain("first");
    struct cache_hit hit;
    char value[1000] = "", out[16], key[16];
    put(cache, "first", "x");
    for (int i = 0; i < 1000; i++) {
        struct cache_ref ref = ref_of(slice_of(key, (size_t)snprintf(key, 16, "%d", i)), SLICE(""));
        cache_insert(cache, &ref, slice_of(value, sizeof(value)), CACHE_BULK, 1, 9);
    }
    assert_int_equal(cache_get(cache, &first, 0, 1, out, 16, &hit), CACHE_HIT);
    assert_in_range(hit.age_bytes, 900000, 1100000);
    cache_destroy(&cache);
}

static void test_drop_prefix_and_sweep(void **state)
{
    (void)state;
    struct cache *cache = create(4 << 20);
    struct cache_stats stats;
    char key[16];
    for (uint32_t i = 0; i < 10000; i++) {
        snprintf(key, sizeof(key), "%s:%u", i % 2 != 0 ? "odd" : "even", i);
        struct cache_ref ref = plain(key);
        cache_insert(cache, &ref, SLICE("v"), CACHE_BULK, i, 1000);
    }
    assert_int_equal(cache_drop_prefix(cache, SLICE("odd:")), 5000);
    assert_int_equal(cache_drop_prefix(cache, SLICE("odd:")), 0);
    cache_sweep(cache, 5000);
    cache_stats(cache, &stats);
    assert_int_equal(stats.items, 2500);
    struct cache_ref old = plain("even:4998"), kept = plain("even:5000");
    assert_false(cache_peek(cache, &old, 0, 1));
    assert_true(cache_peek(cache, &kept, 0, 1));
    assert_int_equal(cache_drop_prefix(cache, SLICE("")), 2500);
    cache_destroy(&cache);
}

static void test_describe(void **state)
{
    (void)state;
    struct cache *cache = create(1 << 20);
    struct cache_ref ref = plain("key");
    struct cache_entry_info info;
    char out[8];
    assert_int_equal(cache_describe(cache, &ref, &info), WEIR_ENOENT);
    assert_false(info.ghost);
    for (int i = 0; i < 100; i++) { // ghosts are remembered in proportion to what is stored
        char filler[24];
        snprintf(filler, sizeof(filler), "filler:%d", i);
        put(cache, filler, "x");
    }
    put(cache, "key", "value");
    for (int i = 0; i < 5; i++)
        get(cache, ref, out, 7);
    assert_int_equal(cache_describe(cache, &ref, &info), 0);
    assert_int_equal(info.size, 5);
    assert_int_equal(info.stamp, 7);
    assert_int_equal(info.frequency, 3);
    assert_false(info.in_main);
    cache_delete(cache, ref.hash);
    assert_int_equal(cache_describe(cache, &ref, &info), WEIR_ENOENT);
    assert_true(info.ghost);
    put(cache, "key", "value"); // ghost-on-invalidate: a used key that was dropped returns to main
    assert_int_equal(cache_describe(cache, &ref, &info), 0);
    assert_true(info.in_main);
    assert_int_equal(info.frequency, 0);
    cache_destroy(&cache);
}

static void test_prefetch_is_harmless(void **state)
{
    (void)state;
    struct cache *cache = create(1 << 20);
    put(cache, "key", "value");
    cache_prefetch(cache, hash_key(SLICE("key")));
    cache_prefetch_entry(cache, hash_key(SLICE("key")));
    cache_prefetch_entry(cache, hash_key(SLICE("other")));
    cache_destroy(&cache);
}

int main(void)
{
    hash_seed(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refuses_what_cannot_be),
        cmocka_unit_test(test_hit_says_what_was_inserted),
        cmocka_unit_test(test_expiry_and_floor_are_exact),
        cmocka_unit_test(test_no_room_names_the_size),
        cmocka_unit_test(test_every_alignment),
        cmocka_unit_test(test_keys_that_differ_in_one_byte),
        cmocka_unit_test(test_scopes_live_and_die_with_their_key),
        cmocka_unit_test(test_more_scopes_than_slots),
        cmocka_unit_test(test_still_names_one_entry),
        cmocka_unit_test(test_age_grows_with_the_log),
        cmocka_unit_test(test_drop_prefix_and_sweep),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_prefetch_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
