// Flags of `weir serve` as texts of directives.
#include "base/err.h"
#include "cli/serve.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> // needs the headers above

static struct serve_flags flags;
static struct config config;
static char error[CONFIG_ERROR];

static int parse(int count, const char *const arguments[])
{
    char *argv[32] = {(char *)"serve"};
    for (int i = 0; i < count; i++)
        argv[i + 1] = (char *)arguments[i];
    serve_flags_free(&flags);
    int code = cli_parse(&cli_serve, count + 1, argv, serve_flags_take, &flags);
    return code != 0 ? code : serve_flags_load(&flags, &config, error);
}

#define PARSE(...)                                                                                 \
    parse(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *),                             \
          (const char *const[]){__VA_ARGS__})

static void every_flag(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--store", "redis://h", "-l", "127.0.0.1:1", "--listen", "unix:/a b",
                           "-aoff", "--memory=1gb", "-t", "3", "-c", "off", "-o", "maxclients 7",
                           "-o", "cache a { max-ttl 2s }"),
                     0);
    assert_string_equal(config.store.address, "h:6379");
    assert_int_equal(config.listens, 2);
    assert_string_equal(config.listen[1].address, "unix:/a b");
    assert_string_equal(config.admin, "off");
    assert_int_equal(config.memory_bytes, 1 << 30);
    assert_int_equal(config.threads, 3);
    assert_false(config.cache);
    assert_int_equal(config.maxclients, 7);
    assert_int_equal(config.cache_rule[1].max_ttl_ms, 2000);
}

static void values_are_one_word(void **state)
{
    (void)state;
    setenv("WEIR_TEST", "s e", 1);
    assert_int_equal(PARSE("--store", "redis://:${WEIR_TEST}\"\\'#@h"), WEIR_EMALFORMED);
    assert_null(strstr(error, "s e")); // nor in a message
    assert_int_equal(PARSE("--store", "redis://:${WEIR_TEST}\"\\'@h"), 0);
    assert_string_equal(config.store.password, "s e\"\\'");
}

static void errors_name_the_flag(void **state)
{
    (void)state;
    assert_true(PARSE("--memory", "lots") < 0);
    assert_string_equal(error, "--memory: memory: 'lots' is not a size like 256mb or 1gb");
    assert_true(PARSE("-o", "memroy 1") < 0);
    assert_string_equal(error, "-o: unknown directive 'memroy', did you mean 'memory'?");
    assert_true(PARSE("-o", "memory 1gb", "-o", "memory 2gb") < 0);
    assert_string_equal(error, "-o:2: memory is given twice");
    assert_true(PARSE("--listen", "127.0.0.1:1", "--admin", "127.0.0.1:1") < 0);
    assert_true(PARSE("/nonexistent/weir.conf") < 0);
    assert_string_equal(error, "/nonexistent/weir.conf: cannot be read: No such file or directory");
    assert_int_equal(PARSE("a", "b"), CLI_USAGE);
    assert_int_equal(PARSE("--memroy", "1"), CLI_USAGE);
    assert_int_equal(PARSE("--memory"), CLI_USAGE);
    assert_int_equal(PARSE("-x"), CLI_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flag),
        cmocka_unit_test(values_are_one_word),
        cmocka_unit_test(errors_name_the_flag),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    serve_flags_free(&flags);
    return failed;
}
