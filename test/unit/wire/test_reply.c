// Looking inside replies, and composing.
#include "wire/resp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void check_elements(const char *frame, const char *const *wanted, size_t count)
{
    size_t cursor = 0, at = 0;
    struct slice element;
    while (resp_element_next(slice_str(frame), &cursor, &element)) {
        assert_true(at < count);
        assert_true(slice_equal(element, slice_str(wanted[at])));
        at++;
    }
    assert_int_equal(at, count);
}

static void test_elements(void **state)
{
    (void)state;
    const char *array[] = {"$1\r\na\r\n", "*2\r\n:1\r\n:2\r\n", "_\r\n"};
    check_elements("*3\r\n$1\r\na\r\n*2\r\n:1\r\n:2\r\n_\r\n", array, 3);
    check_elements("~3\r\n$1\r\na\r\n*2\r\n:1\r\n:2\r\n_\r\n", array, 3);
    const char *pair[] = {"+k\r\n", "+v\r\n"};
    check_elements("%1\r\n+k\r\n+v\r\n", pair, 2);
    check_elements(">2\r\n+k\r\n+v\r\n", pair, 2);
    check_elements("|1\r\n+a\r\n+b\r\n*2\r\n+k\r\n+v\r\n", pair,
                   2);                                         // an attribute stands before it
    check_elements("*2\r\n+k\r\n>1\r\n+p\r\n+v\r\n", pair, 2); // a push is out of band
    const char *decorated[] = {"|1\r\n+a\r\n+b\r\n+k\r\n", "+v\r\n"};
    check_elements("*2\r\n|1\r\n+a\r\n+b\r\n+k\r\n+v\r\n", decorated, 2);
    const char *none[] = {"*0\r\n", "*-1\r\n", "$1\r\na\r\n", "+x\r\n", "_\r\n", "", "*2"};
    for (size_t i = 0; i < COUNT(none); i++)
        check_elements(none[i], NULL, 0);
}

static void test_counts(void **state)
{
    (void)state;
    assert_int_equal(resp_count(SLICE("*3\r\n:1\r\n:2\r\n:3\r\n")), 3);
    assert_int_equal(resp_count(SLICE("%1\r\n:1\r\n:2\r\n")), 2);
    assert_int_equal(resp_count(SLICE("*0\r\n")), 0);
    assert_int_equal(resp_count(SLICE("*-1\r\n")), -1);
    assert_int_equal(resp_count(SLICE("$-1\r\n")), -1);
    assert_int_equal(resp_count(SLICE("_\r\n")), -1);
    assert_int_equal(resp_count(SLICE(":1\r\n")), -2);
    assert_int_equal(resp_count(SLICE("|1\r\n+a\r\n+b\r\n~1\r\n:1\r\n")), 1);
    assert_int_equal(resp_count(SLICE("")), -2);
    assert_int_equal(resp_count(slice_of(NULL, 0)), -2);
}

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const char *frame, *text; // NULL: none
    } rows[] = {
        {"$5\r\nhello\r\n", "hello"},
        {"$0\r\n\r\n", ""},
        {"+OK\r\n", "OK"},
        {":-12\r\n", "-12"},
        {"-ERR no\r\n", "ERR no"},
        {"=8\r\ntxt:abcd\r\n", "abcd"},
        {"!3\r\nbad\r\n", "bad"},
        {",1.5\r\n", "1.5"},
        {"(123\r\n", "123"},
        {"|1\r\n+a\r\n+b\r\n+x\r\n", "x"},
        {"#t\r\n", NULL},
        {"_\r\n", NULL},
        {"$-1\r\n", NULL},
        {"*0\r\n", NULL},
        {"", NULL},
        {"$5\r\nab", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice text = SLICE("untouched");
        bool has = resp_text(slice_str(rows[i].frame), &text);
        assert_int_equal(has, rows[i].text != NULL);
        assert_true(slice_equal(text, slice_str(has ? rows[i].text : "untouched")));
    }
}

static void test_integers_nulls_errors(void **state)
{
    (void)state;
    int64_t value = 7;
    assert_true(resp_integer(SLICE(":-9223372036854775808\r\n"), &value));
    assert_true(value == INT64_MIN);
    assert_false(resp_integer(SLICE("$1\r\n5\r\n"), &value));
    assert_false(resp_integer(SLICE("+5\r\n"), &value));
    assert_true(value == INT64_MIN);
    assert_true(resp_is_null(SLICE("_\r\n")));
    assert_true(resp_is_null(SLICE("$-1\r\n")));
    assert_true(resp_is_null(SLICE("*-1\r\n")));
    assert_false(resp_is_null(SLICE("$0\r\n\r\n")));
    assert_false(resp_is_null(SLICE("")));
    assert_true(resp_is_error(SLICE("-x\r\n")));
    assert_true(resp_is_error(SLICE("!1\r\nx\r\n")));
    assert_false(resp_is_error(SLICE("+x\r\n")));
}

static void test_composing(void **state)
{
    (void)state;
    static const int64_t values[] = {0, 1, -1, 9, 10, 64, 99, 100, 12345, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < COUNT(values); i++) {
        uint8_t out[RESP_HEAD_ROOM];
        char wanted[64];
        size_t size = resp_put_i64(out, values[i]);
        assert_int_equal(size, snprintf(wanted, sizeof wanted, "%lld", (long long)values[i]));
        assert_memory_equal(out, wanted, size);
        size = resp_put_header(out, ':', values[i]);
        assert_int_equal(size, snprintf(wanted, sizeof wanted, ":%lld\r\n", (long long)values[i]));
        assert_memory_equal(out, wanted, size);
        assert_true(size <= RESP_HEAD_ROOM);
    }
    uint8_t out[64];
    assert_int_equal(resp_put_bulk(out, SLICE("hello")), 11);
    assert_memory_equal(out, "$5\r\nhello\r\n", 11);
    assert_int_equal(resp_put_bulk(out, slice_of(NULL, 0)), 6);
    assert_memory_equal(out, "$0\r\n\r\n", 6);
}

// ---- RESP2 -------------------------------------------------------------------------------------
static const struct {
    enum resp2_shape shape;
    const char *resp3, *resp2; // NULL: refused
} rewrites[] = {
    {RESP2_PLAIN, "+OK\r\n", "+OK\r\n"},
    {RESP2_PLAIN, "_\r\n", "$-1\r\n"},
    {RESP2_PLAIN, "*-1\r\n", "*-1\r\n"},
    {RESP2_PLAIN, "#t\r\n", ":1\r\n"},
    {RESP2_PLAIN, "#f\r\n", ":0\r\n"},
    {RESP2_PLAIN, ",1.5\r\n", "$3\r\n1.5\r\n"},
    {RESP2_PLAIN, ",-inf\r\n", "$4\r\n-inf\r\n"},
    {RESP2_PLAIN, "(12345678901234567890123\r\n", "$23\r\n12345678901234567890123\r\n"},
    {RESP2_PLAIN, "=7\r\ntxt:abc\r\n", "$3\r\nabc\r\n"},
    {RESP2_PLAIN, "=4\r\ntxt:\r\n", "$0\r\n\r\n"},
    {RESP2_PLAIN, "!8\r\nERR a\r\nb\r\n", "-ERR a  b\r\n"},
    {RESP2_PLAIN, "%2\r\n+a\r\n#t\r\n+b\r\n_\r\n", "*4\r\n+a\r\n:1\r\n+b\r\n$-1\r\n"},
    {RESP2_PLAIN, "~1\r\n~1\r\n:1\r\n", "*1\r\n*1\r\n:1\r\n"},
    {RESP2_PLAIN, "%5\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
     "*10\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n"},
    {RESP2_PLAIN, "|1\r\n+ttl\r\n:5\r\n*1\r\n|1\r\n+a\r\n*1\r\n:1\r\n+x\r\n", "*1\r\n+x\r\n"},
    {RESP2_PLAIN, ">3\r\n+message\r\n+c\r\n+m\r\n", "*3\r\n+message\r\n+c\r\n+m\r\n"},
    {RESP2_PLAIN, "*2\r\n:1\r\n>1\r\n:9\r\n:2\r\n", "*2\r\n:1\r\n:2\r\n"},
    {RESP2_PLAIN, "*1\r\n*2\r\n+m\r\n,1\r\n", "*1\r\n*2\r\n+m\r\n$1\r\n1\r\n"},
    {RESP2_OTHER, "_\r\n", "$-1\r\n"},
    {RESP2_NULL_ARRAY, "_\r\n", "*-1\r\n"},
    {RESP2_NULL_ARRAY, "*2\r\n*2\r\n,1\r\n,2\r\n_\r\n",
     "*2\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n*-1\r\n"},
    {RESP2_FLAT_PAIRS, "*2\r\n*2\r\n+a\r\n,1\r\n*2\r\n+b\r\n,2\r\n",
     "*4\r\n+a\r\n$1\r\n1\r\n+b\r\n$1\r\n2\r\n"},
    {RESP2_FLAT_PAIRS, "*2\r\n+a\r\n+b\r\n", "*2\r\n+a\r\n+b\r\n"},
    {RESP2_FLAT_PAIRS, "*0\r\n", "*0\r\n"},
    {RESP2_FLAT_PAIRS, "_\r\n", "$-1\r\n"},
    {RESP2_FLAT_PAIRS, "-ERR x\r\n", "-ERR x\r\n"},
    {RESP2_FLAT_PAIRS, "*2\r\n*2\r\n+a\r\n,1\r\n+b\r\n", NULL},
    {RESP2_FLAT_PAIRS, "*1\r\n*3\r\n+a\r\n,1\r\n+b\r\n", NULL},
    {RESP2_MAP_PAIRS, "%1\r\n$1\r\ns\r\n*1\r\n*2\r\n+1-0\r\n_\r\n",
     "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n+1-0\r\n*-1\r\n"},
    {RESP2_MAP_PAIRS, "_\r\n", "*-1\r\n"},
    {RESP2_MAP_PAIRS, "%1\r\n_\r\n_\r\n", NULL},
    {RESP2_PENDING, "*4\r\n:0\r\n_\r\n_\r\n_\r\n", "*4\r\n:0\r\n$-1\r\n$-1\r\n*-1\r\n"},
    {RESP2_PENDING, "*4\r\n:1\r\n+a\r\n+b\r\n*1\r\n*2\r\n+c\r\n+1\r\n",
     "*4\r\n:1\r\n+a\r\n+b\r\n*1\r\n*2\r\n+c\r\n+1\r\n"},
    {RESP2_PENDING, "*0\r\n", "*0\r\n"},
    {RESP2_PENDING, "-NOGROUP\r\n", "-NOGROUP\r\n"},
    {RESP2_PLAIN, "", NULL},
    {RESP2_PLAIN, "$5\r\nab\r\n", NULL},
    {RESP2_PLAIN, "*2\r\n:1\r\n", NULL},
    {RESP2_PLAIN, ":1\r\n:2\r\n", NULL}, // two frames
    {RESP2_PLAIN, "?\r\n", NULL},
};

static void test_resp2(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rewrites); i++) {
        struct slice frame = slice_str(rewrites[i].resp3);
        uint8_t out[512];
        long size = resp_to_resp2(frame, rewrites[i].shape, out, 2 * frame.size + 64);
        if (rewrites[i].resp2 == NULL) {
            assert_int_equal(size, RESP_ERR_REPLY);
            continue;
        }
        struct slice wanted = slice_str(rewrites[i].resp2);
        if (size < 0 || !slice_equal(slice_of(out, (size_t)size), wanted))
            fail_msg("row %zu: got %ld \"%.*s\"", i, size, size < 0 ? 0 : (int)size,
                     (const char *)out);
        assert_int_equal(resp_to_resp2(frame, rewrites[i].shape, out, (size_t)size), size);
        assert_int_equal(resp_to_resp2(frame, rewrites[i].shape, out, (size_t)size - 1),
                         RESP_ERR_REPLY);
    }
}

// The frames that grow most stay within the room that is promised.
static void test_resp2_room(void **state)
{
    (void)state;
    static const char *const leaves[] = {",\r\n",  ",5\r\n", "_\r\n",
                                         "(1\r\n", "#t\r\n", "=4\r\ntxt:\r\n"};
    static uint8_t frame[100000], out[2 * sizeof frame + 64];
    for (size_t leaf = 0; leaf < COUNT(leaves); leaf++) {
        for (int64_t count = 1; count < 10000; count *= 3) {
            size_t size = resp_put_header(frame, '*', count);
            for (int64_t i = 0; i < count; i++, size += strlen(leaves[leaf]))
                memcpy(frame + size, leaves[leaf], strlen(leaves[leaf]));
            assert_true(resp_to_resp2(slice_of(frame, size), RESP2_PLAIN, out, 2 * size + 64) > 0);
        }
    }
    size_t size = resp_put_header(frame, '%', 5000);
    for (int i = 0; i < 5000; i++, size += 9)
        memcpy(frame + size, "$0\r\n\r\n_\r\n", 9);
    assert_true(resp_to_resp2(slice_of(frame, size), RESP2_MAP_PAIRS, out, 2 * size + 64) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elements),   cmocka_unit_test(test_counts),
        cmocka_unit_test(test_texts),      cmocka_unit_test(test_integers_nulls_errors),
        cmocka_unit_test(test_composing),  cmocka_unit_test(test_resp2),
        cmocka_unit_test(test_resp2_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
