#include "cache/shard.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { SETS = 256, ROOM = SETS * GHOST_WAYS };

static uint64_t hash_of(uint64_t i)
{
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ULL;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

static uint64_t remembered(const struct ghosts *ghosts, uint64_t from, uint64_t to)
{
    uint64_t count = 0;
    for (uint64_t i = from; i < to; i++)
        count += ghost_has(ghosts, hash_of(i));
    return count;
}

static void test_remembers_the_window(void **state)
{
    (void)state;
    struct ghosts ghosts;
    uint32_t *table = calloc(ROOM, sizeof(*table));
    const uint64_t window = ROOM * 9 / 10;
    ghost_init(&ghosts, table, SETS);
    for (uint64_t i = 0; i < 20 * ROOM; i++) { // ages wrap meanwhile
        ghost_add(&ghosts, hash_of(i), window);
        if (i < ROOM || i % 1000 != 0)
            continue;
        assert_true(remembered(&ghosts, i + 1 - window, i + 1) > window * 88 / 100);
        assert_true(remembered(&ghosts, i + 1 - window / 4, i + 1) > window / 4 * 97 / 100);
        assert_true(remembered(&ghosts, 0, i - window) < 12); // chance, 20 bits
    }
    free(table);
}

static void test_taking_forgets(void **state)
{
    (void)state;
    struct ghosts ghosts;
    uint32_t *table = calloc(ROOM, sizeof(*table));
    ghost_init(&ghosts, table, SETS);
    ghost_add(&ghosts, hash_of(1), 100);
    assert_false(ghost_take(&ghosts, hash_of(2)));
    assert_true(ghost_take(&ghosts, hash_of(1)));
    assert_false(ghost_take(&ghosts, hash_of(1)));
    free(table);
}

static void test_adding_again_renews(void **state)
{
    (void)state;
    struct ghosts ghosts;
    uint32_t *table = calloc(ROOM, sizeof(*table));
    ghost_init(&ghosts, table, SETS);
    for (uint64_t i = 0; i < 1000; i++) {
        ghost_add(&ghosts, hash_of(7777777), 1000);
        ghost_add(&ghosts, hash_of(i), 1000);
    }
    assert_true(ghost_has(&ghosts, hash_of(7777777)));
    assert_false(ghost_has(&ghosts, hash_of(0)));
    free(table);
}

// A ghost that was taken makes room for an older one.
static void test_taken_ghosts_make_room(void **state)
{
    (void)state;
    struct ghosts ghosts;
    uint32_t *table = calloc(ROOM, sizeof(*table));
    ghost_init(&ghosts, table, SETS);
    for (uint64_t i = 0; i < 2000; i++) {
        ghost_add(&ghosts, hash_of(i), 1000);
        if (i % 2 != 0)
            assert_true(ghost_take(&ghosts, hash_of(i)));
    }
    assert_in_range(remembered(&ghosts, 0, 2000), 950, 1010);
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_remembers_the_window),
        cmocka_unit_test(test_taking_forgets),
        cmocka_unit_test(test_adding_again_renews),
        cmocka_unit_test(test_taken_ghosts_make_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
