// The checker itself: what is right passes, every known kind of wrong is found.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "history.h"

static struct history *h;
static FILE *nowhere;

static int set_up(void **state)
{
    (void)state;
    h = history_create();
    nowhere = fopen("/dev/null", "w");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    history_destroy(h);
    fclose(nowhere);
    return 0;
}

static uint32_t text(const char *content)
{
    return content == NULL ? 0 : history_intern(h, content, strlen(content));
}

// Times in milliseconds.
static struct op *with(enum op_kind kind, unsigned client, unsigned from, unsigned to,
                       const char *content)
{
    static struct op op;
    op = (struct op){.kind = kind, .client = (uint8_t)client, .content = text(content),
                     .invoke_ns = from * 1000000ull, .response_ns = to * 1000000ull,
                     .unchecked = kind != OP_GET && kind != OP_INCR};
    return &op;
}

static void add(enum op_kind kind, unsigned client, unsigned from, unsigned to, const char *content)
{
    history_add(h, "k", with(kind, client, from, to, content));
}

static bool good(void)
{
    return history_check(h, nowhere).failed == 0;
}

static void accepts_any_order_of_what_overlaps(void **state)
{
    (void)state;
    add(OP_SET, 0, 1, 10, "a");
    add(OP_SET, 1, 1, 10, "b");
    add(OP_GET, 2, 2, 3, "b");
    add(OP_GET, 2, 4, 5, "a");
    add(OP_GET, 3, 11, 12, "a");
    assert_true(good());
}

static void rejects_a_stale_read(void **state)
{
    (void)state;
    add(OP_SET, 0, 1, 2, "a");
    add(OP_SET, 0, 3, 4, "b");
    add(OP_GET, 1, 5, 6, "a");
    assert_false(good());
}

static void rejects_a_read_that_goes_back(void **state)
{
    (void)state;
    add(OP_SET, 0, 1, 2, "a");
    add(OP_SET, 0, 3, 20, "b");
    add(OP_GET, 1, 5, 6, "b");
    add(OP_GET, 2, 7, 8, "a");
    assert_false(good());
}

static void rejects_what_nobody_wrote(void **state)
{
    (void)state;
    add(OP_SET, 0, 1, 2, "a");
    add(OP_GET, 1, 3, 4, "z");
    assert_false(good());
}

static void rejects_a_lost_write(void **state)
{
    (void)state;
    add(OP_INCR, 0, 1, 5, "1");
    add(OP_INCR, 1, 1, 5, "1");
    assert_false(good());
}

static void rejects_reordering_of_one_client(void **state)
{
    (void)state;
    add(OP_SET, 0, 1, 10, "a"); // pipelined: both under way at once
    add(OP_SET, 0, 1, 10, "b");
    add(OP_GET, 1, 11, 12, "a");
    assert_false(good());
}

static void an_unknown_write_may_or_may_not_happen(void **state)
{
    (void)state;
    add(OP_SET, 0, 1, 2, "a");
    struct op *op = with(OP_SET, 1, 3, 4, "b");
    op->unknown = true;
    history_add(h, "k", op);
    add(OP_GET, 2, 5, 6, "a");
    add(OP_GET, 2, 7, 8, "b");
    add(OP_GET, 2, 9, 10, "b");
    assert_true(good());
    add(OP_GET, 2, 11, 12, "a"); // but not twice
    assert_false(good());
}

static void an_unknown_write_does_not_happen_early(void **state)
{
    (void)state;
    struct op *op = with(OP_SET, 1, 30, 40, "b");
    op->unknown = true;
    history_add(h, "k", op);
    add(OP_GET, 2, 5, 6, "b");
    assert_false(good());
}

static void expiry_has_a_window(void **state)
{
    (void)state;
    struct op *op = with(OP_SETPX, 0, 10, 12, "a");
    op->number = 100;
    history_add(h, "k", op);
    add(OP_GET, 1, 50, 51, "a");
    add(OP_GET, 1, 111, 112, NULL);
    assert_true(good());
}

static void rejects_a_value_past_its_life(void **state)
{
    (void)state;
    struct op *op = with(OP_SETPX, 0, 10, 12, "a");
    op->number = 100;
    history_add(h, "k", op);
    add(OP_GET, 1, 115, 116, "a");
    assert_false(good());
}

static void rejects_early_expiry_and_revival(void **state)
{
    (void)state;
    struct op *op = with(OP_SETPX, 0, 10, 12, "a");
    op->number = 100;
    history_add(h, "k", op);
    add(OP_GET, 1, 50, 51, NULL);
    assert_false(good());
}

static void rejects_a_lost_update_under_watch(void **state)
{
    (void)state;
    add(OP_SET, 0, 1, 2, "1");
    add(OP_SET, 1, 5, 6, "x");
    struct op *op = with(OP_CAS, 0, 7, 8, "2");
    op->expected = text("1");
    history_add(h, "k", op);
    assert_false(good());
}

static void databases_swap(void **state)
{
    (void)state;
    add(OP_SET, 0, 1, 2, "a");
    add(OP_SWAPDB, 0, 3, 4, NULL);
    add(OP_GET, 0, 5, 6, NULL);
    struct op *op = with(OP_GET, 0, 7, 8, "a");
    op->db = 1;
    history_add(h, "k", op);
    assert_true(good());
    add(OP_GET, 1, 9, 10, "a");
    assert_false(good());
}

static void hit_counts_are_checked(void **state)
{
    (void)state;
    struct op *op = with(OP_DEL, 0, 1, 2, NULL);
    op->unchecked = false;
    op->hit = true;
    history_add(h, "k", op);
    assert_false(good());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(accepts_any_order_of_what_overlaps),
        TEST(rejects_a_stale_read),
        TEST(rejects_a_read_that_goes_back),
        TEST(rejects_what_nobody_wrote),
        TEST(rejects_a_lost_write),
        TEST(rejects_reordering_of_one_client),
        TEST(an_unknown_write_may_or_may_not_happen),
        TEST(an_unknown_write_does_not_happen_early),
        TEST(expiry_has_a_window),
        TEST(rejects_a_value_past_its_life),
        TEST(rejects_early_expiry_and_revival),
        TEST(rejects_a_lost_update_under_watch),
        TEST(databases_swap),
        TEST(hit_counts_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
