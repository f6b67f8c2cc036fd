#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slab.h"
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 64 };

struct fixture {
    struct block_pool *pool;
    struct block_cache cache;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (block_pool_create(&f->pool, BLOCKS * BLOCK_BYTES) != 0)
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

static void assert_content(const struct buf *buf, const uint8_t *expected, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    assert_int_equal(buf->size, size);
    buf_copy(buf, copy);
    assert_memory_equal(copy, expected, size);
    struct iovec vectors[BLOCKS];
    int count = buf_vectors(buf, vectors, BLOCKS);
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        assert_true(vectors[i].iov_len > 0);
        assert_memory_equal(vectors[i].iov_base, expected + at, vectors[i].iov_len);
        at += vectors[i].iov_len;
    }
    assert_int_equal(at, size);
    free(copy);
}

// Against the naive twin: one array with a begin and an end.
static void behaves_as_a_queue(void **state)
{
    struct fixture *f = *state;
    enum { ROUNDS = 3000, MOST = 40000 };
    uint8_t *twin = malloc(ROUNDS * 9000), *bytes = malloc(9000);
    size_t begin = 0, end = 0;
    struct buf buf = {0};
    srand(7);
    for (int round = 0; round < ROUNDS; round++) {
        size_t size = (size_t)rand() % (round % 5 == 0 ? 9000 : 300);
        if (end - begin + size < MOST) {
            for (size_t i = 0; i < size; i++)
                bytes[i] = (uint8_t)rand();
            assert_int_equal(buf_append(&buf, &f->cache, slice_of(bytes, size)), 0);
            memcpy(twin + end, bytes, size);
            end += size;
        }
        size_t drop = round % 11 == 0 ? end - begin : (size_t)rand() % (end - begin + 1);
        if (round % 3 == 0) {
            buf_consume(&buf, &f->cache, drop);
            begin += drop;
        }
        assert_content(&buf, twin + begin, end - begin);
    }
    buf_clear(&buf, &f->cache);
    assert_null(buf.head);
    assert_null(buf.tail);
    free(twin);
    free(bytes);
}

static void appends_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    uint8_t *big = calloc(1, BLOCKS * BLOCK_BYTES);
    struct buf buf = {0};
    assert_int_equal(buf_append(&buf, &f->cache, slice_of(big, 100)), 0);
    assert_int_equal(buf_append(&buf, &f->cache, slice_of(big, BLOCKS * BLOCK_BYTES)), WEIR_ENOMEM);
    assert_content(&buf, big, 100);
    block_pool_fail_after(f->pool, 2, false);
    assert_int_equal(buf_append(&buf, &f->cache, slice_of(big, 3 * BLOCK_ROOM)), WEIR_ENOMEM);
    assert_content(&buf, big, 100);
    block_pool_fail_after(f->pool, 1, false); // what fits the tail needs no block
    assert_int_equal(buf_append(&buf, &f->cache, slice_of(big, BLOCK_ROOM - 100)), 0);
    block_pool_fail_after(f->pool, 0, false);
    assert_int_equal(buf_append(&buf, &f->cache, slice_of(big, (BLOCKS - 1) * BLOCK_ROOM)), 0);
    assert_int_equal(buf_append(&buf, &f->cache, SLICE("x")), WEIR_ENOMEM);
    buf_clear(&buf, &f->cache);
    free(big);
}

static void moves_without_copying(void **state)
{
    struct fixture *f = *state;
    struct buf to = {0}, from = {0};
    buf_move(&to, &from);
    assert_null(to.head);
    assert_int_equal(buf_append(&from, &f->cache, SLICE("two")), 0);
    const struct block *block = from.head;
    buf_move(&to, &from);
    assert_ptr_equal(to.head, block);
    assert_int_equal(buf_append(&from, &f->cache, SLICE("three")), 0);
    buf_move(&to, &from);
    assert_int_equal(from.size, 0);
    assert_content(&to, (const uint8_t *)"twothree", 8);
    struct iovec one;
    assert_int_equal(buf_vectors(&to, &one, 1), 1);
    assert_int_equal(one.iov_len, 3);
    buf_clear(&to, &f->cache);
}

static void slab_gives_pages_back(void **state)
{
    struct fixture *f = *state;
    struct slab slab;
    slab_init(&slab, &f->cache, 100);
    assert_int_equal(slab.object_bytes, 112);
    enum { COUNT = 500 };
    uint8_t *held[COUNT];
    for (int i = 0; i < COUNT; i++) {
        held[i] = slab_borrow(&slab);
        assert_non_null(held[i]);
        assert_int_equal((uintptr_t)held[i] % 16, 0);
        for (int byte = 0; byte < 100; byte++)
            assert_int_equal(held[i][byte], 0);
        memset(held[i], 0xA5, 100);
    }
    srand(3);
    for (int round = 0; round < 2000; round++) {
        int i = rand() % COUNT;
        slab_return(&slab, held[i]);
        held[i] = slab_borrow(&slab);
        assert_int_equal(held[i][99], 0);
        memset(held[i], round, 100);
    }
    assert_int_equal(slab.used, COUNT);
    for (int i = 0; i < COUNT; i++)
        slab_return(&slab, held[i]);
    assert_int_equal(slab.used, 0);
    assert_null(slab.partial);
}

static void slab_ends_with_the_budget(void **state)
{
    struct fixture *f = *state;
    struct slab slab;
    slab_init(&slab, &f->cache, 4000);
    void *held[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        assert_non_null(held[i] = slab_borrow(&slab));
    assert_null(slab_borrow(&slab));
    assert_int_equal(slab.used, BLOCKS);
    for (int i = 0; i < BLOCKS; i++)
        slab_return(&slab, held[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(behaves_as_a_queue, set_up, tear_down),
        cmocka_unit_test_setup_teardown(appends_all_or_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(moves_without_copying, set_up, tear_down),
        cmocka_unit_test_setup_teardown(slab_gives_pages_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(slab_ends_with_the_budget, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
