#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/slice.h"

static void folds_ascii_case_only(void **state)
{
    (void)state;
    assert_true(slice_is(SLICE("GeT"), "get"));
    assert_true(slice_is(slice_of(NULL, 0), ""));
    assert_false(slice_is(SLICE("get"), "ge"));
    assert_false(slice_is(SLICE("[et"), "{et")); // differ by 0x20, and aren't letters
    assert_false(slice_is(SLICE("\xC4"), "\xE4"));
}

static int parse(const char *text, int64_t *out)
{
    return slice_to_i64(slice_str(text), out);
}

static void parses_strict_decimals(void **state)
{
    (void)state;
    int64_t value = 42;
    static const char *const malformed[] = {"", "-", "+1", " 1", "1 ", "1x", "0x1", "1.0", "--1"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        assert_int_equal(parse(malformed[i], &value), WEIR_EMALFORMED);
    static const char *const too_big[] = {"9223372036854775808", "-9223372036854775809",
                                          "18446744073709551616", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof too_big / sizeof *too_big; i++)
        assert_int_equal(parse(too_big[i], &value), WEIR_ERANGE);
    assert_int_equal(value, 42);
    assert_int_equal(parse("9223372036854775807", &value), 0);
    assert_true(value == INT64_MAX);
    assert_int_equal(parse("-9223372036854775808", &value), 0);
    assert_true(value == INT64_MIN);
    assert_int_equal(parse("-0", &value), 0);
    assert_int_equal(value, 0);
}

static void overflow_then_garbage_is_malformed(void **state)
{
    (void)state;
    int64_t value;
    assert_int_equal(parse("99999999999999999999x", &value), WEIR_EMALFORMED);
}

static void hash_follows_its_seed(void **state)
{
    (void)state;
    hash_seed(1);
    uint64_t one = hash_key(SLICE("key"));
    assert_true(hash_key(SLICE("key")) == one);
    assert_true(hash_key(SLICE("kez")) != one);
    hash_seed(2);
    assert_true(hash_key(SLICE("key")) != one);
    assert_true(hash_random_seed() != hash_random_seed());
}

static void every_code_has_words(void **state)
{
    (void)state;
    for (int code = WEIR_EINUSE; code <= 0; code++)
        assert_string_not_equal(weir_strerror(code), "unknown error");
    assert_string_equal(weir_strerror(WEIR_EINUSE - 1), "unknown error");
    assert_string_equal(weir_strerror(1), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_ascii_case_only),
        cmocka_unit_test(parses_strict_decimals),
        cmocka_unit_test(overflow_then_garbage_is_malformed),
        cmocka_unit_test(hash_follows_its_seed),
        cmocka_unit_test(every_code_has_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
