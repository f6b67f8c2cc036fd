#include "config/words.h"
#include "config_test.h"

static struct words words;
static char reason[WORDS_REASON];

static void split(const char *line, unsigned count, const char *const *expected)
{
    assert_int_equal(words_split(&words, slice_str(line), true, reason), 0);
    assert_int_equal(words.count, count);
    for (unsigned i = 0; i < count; i++)
        assert_string_equal(words.word[i].text, expected[i]);
}

#define SPLIT(line, ...)                                                                           \
    do {                                                                                           \
        const char *const expected[] = {__VA_ARGS__};                                              \
        split(line, sizeof(expected) / sizeof(expected[0]), expected);                             \
    } while (0)

static void words_and_quotes(void **state)
{
    (void)state;
    split("", 0, NULL);
    split("  \t # only a comment", 0, NULL);
    SPLIT("memory 1gb", "memory", "1gb");
    SPLIT("  a\tb \r", "a", "b");
    SPLIT("a b#c # d", "a", "b#c");
    SPLIT("a \"b c\" 'd e'", "a", "b c", "d e");
    SPLIT("a \"\" ''", "a", "", "");
    SPLIT("\"\\n\\r\\t\\b\\a\\\\\\\"\\x41\\z\\xg\"", "\n\r\t\b\a\\\"Azxg");
    SPLIT("'a\\nb\\'c'", "a\\nb'c");
    SPLIT("pre\"fix ed\"", "prefix ed");
    SPLIT("back\\slash", "back\\slash");
}

static void environment(void **state)
{
    (void)state;
    setenv("WEIR_TEST", "two words # \"${WEIR_TEST}\"", 1);
    SPLIT("a ${WEIR_TEST} b", "a", "two words # \"${WEIR_TEST}\"", "b");
    SPLIT("\"<${WEIR_TEST}>\"", "<two words # \"${WEIR_TEST}\">");
    SPLIT("'${WEIR_TEST}' $x ${WEIR_TEST}y", "${WEIR_TEST}", "$x", "two words # \"${WEIR_TEST}\"y");
    SPLIT("\"\\${WEIR_TEST}\"", "${WEIR_TEST}");
    assert_int_equal(words_split(&words, SLICE("${WEIR_TEST}"), false, reason), 0);
    assert_string_equal(words.word[0].text, "${WEIR_TEST}");
    unsetenv("WEIR_TEST");
    assert_int_equal(words_split(&words, SLICE("${WEIR_TEST}"), true, reason), WEIR_EMALFORMED);
    assert_string_equal(reason, "the environment has no variable 'WEIR_TEST' for ${WEIR_TEST}");
    assert_int_equal(words_split(&words, SLICE("${A B}"), true, reason), WEIR_EMALFORMED);
    assert_int_equal(words_split(&words, SLICE("${"), true, reason), WEIR_EMALFORMED);
    assert_int_equal(words_split(&words, SLICE("${}"), true, reason), WEIR_EMALFORMED);
}

static void bare_words(void **state)
{
    (void)state;
    setenv("WEIR_TEST", "{", 1);
    SPLIT("{ \"{\" ${WEIR_TEST}", "{", "{", "{");
    assert_true(words.word[0].bare);
    assert_false(words.word[1].bare);
    assert_false(words.word[2].bare);
}

static void refused(void **state)
{
    (void)state;
    const char *bad[] = {"\"open", "'open", "\"a\"b", "'a'b", "\"a\\", "\"\\x00\""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(words_split(&words, slice_str(bad[i]), true, reason), WEIR_EMALFORMED);
    assert_int_equal(words_split(&words, SLICE("a\0b"), true, reason), WEIR_EMALFORMED);
}

static void bounds(void **state)
{
    (void)state;
    static char line[2 * WORDS_ROOM];
    memset(line, 'x', sizeof(line));
    assert_int_equal(words_split(&words, slice_of(line, WORDS_ROOM - 1), true, reason), 0);
    assert_int_equal(words_split(&words, slice_of(line, WORDS_ROOM), true, reason), WEIR_ERANGE);
    assert_int_equal(words_split(&words, slice_of(line, sizeof(line)), true, reason), WEIR_ERANGE);
    for (size_t i = 0; i < sizeof(line); i += 2)
        line[i] = ' ';
    assert_int_equal(words_split(&words, slice_of(line, 2 * WORDS_MAX), true, reason), 0);
    assert_int_equal(words.count, WORDS_MAX);
    assert_int_equal(words_split(&words, slice_of(line, 2 * WORDS_MAX + 2), true, reason),
                     WEIR_ERANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_quotes), cmocka_unit_test(environment),
        cmocka_unit_test(bare_words),       cmocka_unit_test(refused),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
