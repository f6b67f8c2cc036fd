#include "observe/slowlog.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void add(struct slowlog *log, uint64_t duration)
{
    struct slowlog_entry entry = {.id = 999, .duration_us = duration, .argc = (uint32_t)duration};
    snprintf(entry.client, sizeof entry.client, "client %llu", (unsigned long long)duration);
    slowlog_add(log, &entry);
}

static void test_newest_first(void **state)
{
    (void)state;
    struct slowlog *log = NULL;
    struct slowlog_entry out[8];
    assert_int_equal(slowlog_create(&log), 0);
    assert_int_equal(slowlog_get(log, out, 8), 0);
    for (uint64_t i = 0; i < 5; i++)
        add(log, 100 + i);
    assert_int_equal(slowlog_length(log), 5);
    assert_int_equal(slowlog_get(log, out, 3), 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(out[i].id, 4 - i);
        assert_int_equal(out[i].duration_us, 104 - i);
    }
    assert_string_equal(out[0].client, "client 104");
    assert_int_equal(slowlog_get(log, out, 8), 5);
    slowlog_destroy(&log);
    assert_null(log);
    slowlog_destroy(&log);
}

static void test_ring_keeps_the_last(void **state)
{
    (void)state;
    struct slowlog *log = NULL;
    struct slowlog_entry *out = calloc(SLOWLOG_ENTRIES + 10, sizeof *out);
    assert_int_equal(slowlog_create(&log), 0);
    for (uint64_t i = 0; i < 3 * SLOWLOG_ENTRIES + 7; i++)
        add(log, i);
    assert_int_equal(slowlog_length(log), SLOWLOG_ENTRIES);
    assert_int_equal(slowlog_get(log, out, SLOWLOG_ENTRIES + 10), SLOWLOG_ENTRIES);
    for (unsigned i = 0; i < SLOWLOG_ENTRIES; i++)
        assert_int_equal(out[i].duration_us, 3 * SLOWLOG_ENTRIES + 6 - i);
    slowlog_destroy(&log);
    free(out);
}

static void test_reset_keeps_counting_ids(void **state)
{
    (void)state;
    struct slowlog *log = NULL;
    struct slowlog_entry out[4];
    assert_int_equal(slowlog_create(&log), 0);
    add(log, 1);
    add(log, 2);
    slowlog_reset(log);
    assert_int_equal(slowlog_length(log), 0);
    assert_int_equal(slowlog_get(log, out, 4), 0);
    add(log, 3);
    assert_int_equal(slowlog_get(log, out, 4), 1);
    assert_int_equal(out[0].id, 2);
    assert_int_equal(out[0].duration_us, 3);
    slowlog_destroy(&log);
}

static void *writer(void *context)
{
    for (uint64_t i = 0; i < 20000; i++)
        add(context, i);
    return NULL;
}

// A report during writes sees whole entries, in order, each one once.
static void test_reads_during_writes(void **state)
{
    (void)state;
    struct slowlog *log = NULL;
    struct slowlog_entry *out = calloc(SLOWLOG_ENTRIES, sizeof *out);
    pthread_t threads[2];
    assert_int_equal(slowlog_create(&log), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, writer, log), 0);
    for (int round = 0; round < 200; round++) {
        unsigned count = slowlog_get(log, out, SLOWLOG_ENTRIES);
        for (unsigned i = 0; i < count; i++) {
            char expected[64];
            snprintf(expected, sizeof expected, "client %u", out[i].argc);
            assert_string_equal(out[i].client, expected);
            if (i > 0)
                assert_int_equal(out[i].id, out[i - 1].id - 1);
        }
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(slowlog_get(log, out, 1), 1);
    assert_int_equal(out[0].id, 39999);
    slowlog_destroy(&log);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_first),
        cmocka_unit_test(test_ring_keeps_the_last),
        cmocka_unit_test(test_reset_keeps_counting_ids),
        cmocka_unit_test(test_reads_during_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
