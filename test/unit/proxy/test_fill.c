// The table of fills under way: what kills them, what finds them.
#include "proxy/fill.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

static struct fill_table *table_new(void)
{
    return calloc(1, sizeof(struct fill_table));
}

static void newest_is_found(void **state)
{
    (void)state;
    struct fill_table *table = table_new();
    struct fill old = {.hash = 7}, new = {.hash = 7}, other = {.hash = 7 + FILL_BUCKETS};
    fill_insert(table, &old);
    fill_insert(table, &new);
    fill_insert(table, &other); // in the same bucket
    assert_ptr_equal(fill_find(table, 7), &new);
    assert_ptr_equal(fill_find(table, 7 + FILL_BUCKETS), &other);
    assert_null(fill_find(table, 7 + 2 * FILL_BUCKETS));
    fill_remove(table, &new);
    assert_ptr_equal(fill_find(table, 7), &old);
    assert_int_equal(table->alive, 2);
    free(table);
}

static void kill_takes_every_fill_of_the_hash_and_no_other(void **state)
{
    (void)state;
    struct fill_table *table = table_new();
    struct fill fills[6] = {{0}};
    for (unsigned i = 0; i < 6; i++) {
        fills[i].hash = i % 2 == 0 ? 9 : 9 + FILL_BUCKETS;
        fill_insert(table, &fills[i]);
    }
    assert_int_equal(fill_kill(table, 9), 3);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(fills[i].alive, i % 2 != 0);
    assert_null(fill_find(table, 9));
    assert_int_equal(table->alive, 3);
    assert_int_equal(fill_kill(table, 9), 0);
    free(table);
}

static void killed_fills_are_removed_once(void **state)
{
    (void)state;
    struct fill_table *table = table_new();
    struct fill killed = {.hash = 1}, later = {.hash = 1};
    fill_insert(table, &killed);
    fill_kill(table, 1);
    fill_insert(table, &later); // the token of another fill
    fill_remove(table, &killed);
    assert_true(later.alive);
    assert_ptr_equal(fill_find(table, 1), &later);
    assert_int_equal(table->alive, 1);
    free(table);
}

static void kill_all_leaves_nothing(void **state)
{
    (void)state;
    struct fill_table *table = table_new();
    enum { MANY = 3 * FILL_BUCKETS };
    struct fill *fills = calloc(MANY, sizeof *fills);
    for (unsigned i = 0; i < MANY; i++) {
        fills[i].hash = i * 0x9e3779b97f4a7c15ull;
        fill_insert(table, &fills[i]);
    }
    assert_int_equal(fill_kill_all(table), MANY);
    for (unsigned i = 0; i < MANY; i++) {
        assert_false(fills[i].alive);
        assert_null(fill_find(table, fills[i].hash));
    }
    assert_int_equal(table->alive, 0);
    assert_int_equal(fill_kill_all(table), 0);
    free(fills);
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newest_is_found),
        cmocka_unit_test(kill_takes_every_fill_of_the_hash_and_no_other),
        cmocka_unit_test(killed_fills_are_removed_once),
        cmocka_unit_test(kill_all_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
