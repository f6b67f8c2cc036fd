#include "observe/histogram.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SAMPLES = 50000 };

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static unsigned only_cell(const struct histogram_view *view)
{
    unsigned found = HISTOGRAM_CELLS;
    for (unsigned i = 0; i < HISTOGRAM_CELLS; i++) {
        if (view->cell[i]) {
            assert_int_equal(found, HISTOGRAM_CELLS);
            found = i;
        }
    }
    assert_true(found < HISTOGRAM_CELLS);
    return found;
}

static unsigned cell_of_sample(uint64_t ns)
{
    struct histogram h = {0};
    struct histogram_view view = {0};
    histogram_add(&h, ns, 1);
    histogram_merge(&view, &h);
    return only_cell(&view);
}

// Every bound is where the next cell begins, and no cell is wider than 1/16 of where it begins.
static void test_cells_meet_without_gap(void **state)
{
    (void)state;
    uint64_t begin = 0;
    for (unsigned cell = 0; cell < HISTOGRAM_CELLS; cell++) {
        uint64_t bound = histogram_bound(cell);
        assert_true(bound > begin);
        assert_int_equal(cell_of_sample(begin), cell);
        assert_int_equal(cell_of_sample(bound - 1), cell);
        if (begin >= 1024)
            assert_true((bound - begin) * 16 <= begin);
        else
            assert_int_equal(bound - begin, 64);
        begin = bound;
    }
    assert_true(begin > 64ull * 1000000000);
}

static void test_clamps_what_is_beyond(void **state)
{
    (void)state;
    assert_int_equal(cell_of_sample(UINT64_MAX), HISTOGRAM_CELLS - 1);
    assert_int_equal(cell_of_sample(1ull << 37), HISTOGRAM_CELLS - 1);
}

// Each share asked for, against the sorted list itself, for a spread over all powers of two.
static void check_against_sorted(uint64_t seed, unsigned max_bits)
{
    uint64_t *sorted = malloc(SAMPLES * sizeof *sorted);
    struct histogram *h = calloc(1, sizeof *h);
    struct histogram_view view = {0};
    uint64_t sum = 0;
    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t bits = 10 + random_next(&seed) % (max_bits - 10);
        sorted[i] = (1ull << bits) + random_next(&seed) % (1ull << bits);
        sum += sorted[i];
        histogram_add(h, sorted[i], 1);
    }
    qsort(sorted, SAMPLES, sizeof *sorted, compare);
    histogram_merge(&view, h);
    assert_int_equal(view.count, SAMPLES);
    assert_int_equal(view.sum_ns, sum);
    for (unsigned rank = 1; rank <= SAMPLES; rank += 7) {
        double real = (double)sorted[rank - 1];
        double got = (double)histogram_quantile(&view, (double)rank / SAMPLES);
        assert_true(got <= real * 1.063 && got >= real / 1.063);
    }
    free(h);
    free(sorted);
}

static void test_error_bound(void **state)
{
    (void)state;
    check_against_sorted(88172645463325252ull, 37);
    check_against_sorted(1, 12);
    check_against_sorted(4242, 24);
}

static void test_quantile_edges(void **state)
{
    (void)state;
    struct histogram h = {0};
    struct histogram_view view = {0};
    assert_int_equal(histogram_quantile(&view, .5), 0);
    histogram_add(&h, 2000, 3);
    histogram_merge(&view, &h);
    for (double share = 0; share <= 1.5; share += .25) {
        assert_true(histogram_quantile(&view, share) >= 1024 + 15 * 64);
        assert_true(histogram_quantile(&view, share) <= 2048);
    }
}

static void test_merge_sums(void **state)
{
    (void)state;
    struct histogram a = {0}, b = {0};
    struct histogram_view view = {0};
    histogram_add(&a, 1500, 10);
    histogram_add(&b, 1500, 5);
    histogram_add(&b, 3000000, 85);
    histogram_merge(&view, &a);
    histogram_merge(&view, &b);
    assert_int_equal(view.count, 100);
    assert_int_equal(view.sum_ns, 15 * 1500 + 85 * 3000000ull);
    assert_true(histogram_quantile(&view, .15) < 1600);
    assert_true(histogram_quantile(&view, .16) > 2800000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells_meet_without_gap),
        cmocka_unit_test(test_clamps_what_is_beyond),
        cmocka_unit_test(test_error_bound),
        cmocka_unit_test(test_quantile_edges),
        cmocka_unit_test(test_merge_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
