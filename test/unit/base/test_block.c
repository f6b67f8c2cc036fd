#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/block.h"
#include "base/err.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 200 };

struct fixture {
    struct block_pool *pool;
    struct block_cache cache;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (block_pool_create(&f->pool, BLOCKS * BLOCK_BYTES + 100) != 0)
        return -1;
    block_cache_init(&f->cache, f->pool);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    block_cache_deinit(&f->cache);
    int leaked = block_pool_free(f->pool) != block_pool_total(f->pool);
    block_pool_destroy(&f->pool);
    free(f);
    return leaked;
}

static void lends_every_block_once(void **state)
{
    struct fixture *f = *state;
    struct block *held[BLOCKS];
    assert_int_equal(block_pool_total(f->pool), BLOCKS);
    for (int i = 0; i < BLOCKS; i++) {
        held[i] = block_borrow(&f->cache);
        assert_non_null(held[i]);
        assert_int_equal((uintptr_t)held[i] % BLOCK_BYTES, 0);
        assert_null(held[i]->next);
        assert_int_equal(held[i]->begin + held[i]->end, 0);
        memset(held[i]->data, i, BLOCK_ROOM);
    }
    assert_null(block_borrow(&f->cache));
    assert_int_equal(block_pool_free(f->pool), 0);
    for (int i = 0; i < BLOCKS; i++) {
        assert_int_equal(held[i]->data[0], i);
        assert_int_equal(held[i]->data[BLOCK_ROOM - 1], i);
        block_return(&f->cache, held[i]);
    }
    assert_in_range(f->cache.count, 1, 64);
}

static void too_small_or_too_large_is_refused(void **state)
{
    (void)state;
    struct block_pool *pool = NULL;
    assert_int_equal(block_pool_create(&pool, BLOCK_BYTES - 1), WEIR_ENOMEM);
    assert_int_equal(block_pool_create(&pool, SIZE_MAX / 2), WEIR_ENOMEM);
    assert_null(pool);
}

static void fails_when_told(void **state)
{
    struct fixture *f = *state;
    block_pool_fail_after(f->pool, 3, false);
    struct block *first = block_borrow(&f->cache), *second = block_borrow(&f->cache);
    assert_non_null(first);
    assert_non_null(second);
    assert_null(block_borrow(&f->cache));
    struct block *third = block_borrow(&f->cache);
    assert_non_null(third);
    block_pool_fail_after(f->pool, 1, true);
    assert_null(block_borrow(&f->cache));
    assert_null(block_borrow(&f->cache));
    block_pool_fail_after(f->pool, 0, false);
    struct block *fourth = block_borrow(&f->cache);
    assert_non_null(fourth);
    block_return(&f->cache, first);
    block_return(&f->cache, second);
    block_return(&f->cache, third);
    block_return(&f->cache, fourth);
}

static void crosses_caches(void **state)
{
    struct fixture *f = *state;
    struct block_cache other;
    block_cache_init(&other, f->pool);
    for (int i = 0; i < 3 * BLOCKS; i++) // one side only borrows, the other only returns
        block_return(&other, block_borrow(&f->cache));
    block_cache_deinit(&other);
    assert_int_equal(block_pool_free(f->pool) + f->cache.count, BLOCKS);
}

static void *churn(void *argument)
{
    struct block_pool *pool = argument;
    struct block_cache cache;
    block_cache_init(&cache, pool);
    struct block *held[40];
    for (unsigned round = 0; round < 500; round++) {
        unsigned count = 0;
        while (count < 40 && (held[count] = block_borrow(&cache)) != NULL)
            memset(held[count++]->data, (int)round, 8);
        while (count > 0)
            block_return(&cache, held[--count]);
        if (round % 7 == 0)
            block_cache_deinit(&cache);
    }
    block_cache_deinit(&cache);
    return NULL;
}

static void threads_share_the_pool(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, churn, f->pool);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(block_pool_free(f->pool), BLOCKS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lends_every_block_once, set_up, tear_down),
        cmocka_unit_test(too_small_or_too_large_is_refused),
        cmocka_unit_test_setup_teardown(fails_when_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(crosses_caches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_share_the_pool, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
