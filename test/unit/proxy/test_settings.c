// The configuration compiled for the data path, and the split of the memory.
#include "base/err.h"
#include "proxy/core.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

static struct config *config_new(void)
{
    struct config *config = malloc(sizeof *config);
    char error[CONFIG_ERROR];
    config_defaults(config);
    assert_int_equal(config_finish(config, error), 0);
    return config;
}

static struct config_cache_rule *add_rule(struct config *config, const char *prefix)
{
    struct config_cache_rule *rule = &config->cache_rule[config->cache_rules++];
    *rule = config->cache_rule[0];
    rule->prefixes = 1;
    snprintf(rule->prefix[0], sizeof rule->prefix[0], "%s", prefix);
    return rule;
}

static const struct settings *compile(const struct config *config)
{
    const struct settings *settings = NULL;
    char error[CONFIG_ERROR];
    assert_int_equal(settings_create(&settings, config, error), 0);
    return settings;
}

static void longest_prefix_decides(void **state)
{
    (void)state;
    struct config *config = config_new();
    add_rule(config, "user:")->max_ttl_ms = 1;
    add_rule(config, "user:session:")->max_ttl_ms = 2;
    add_rule(config, "u")->max_ttl_ms = 3;
    const struct settings *settings = compile(config);
    assert_int_equal(settings_rule(settings, SLICE("user:1"))->max_ttl_ms, 1);
    assert_int_equal(settings_rule(settings, SLICE("user:session:1"))->max_ttl_ms, 2);
    assert_int_equal(settings_rule(settings, SLICE("user:session:"))->max_ttl_ms, 2);
    assert_int_equal(settings_rule(settings, SLICE("user"))->max_ttl_ms, 3);
    assert_int_equal(settings_rule(settings, SLICE("x"))->max_ttl_ms,
                     config->cache_rule[0].max_ttl_ms);
    assert_int_equal(settings_rule(settings, SLICE(""))->max_ttl_ms, config->cache_rule[0].max_ttl_ms);
    settings_destroy(&settings);
    assert_null(settings);
    free(config);
}

static void only_cacheable_commands_are_allowed(void **state)
{
    (void)state;
    struct config *config = config_new();
    const struct settings *settings = compile(config);
    const struct near_rule *rule = settings_rule(settings, SLICE("k"));
    for (unsigned id = 0; id < COMMAND_COUNT; id++)
        assert_int_equal(near_rule_allows(rule, id),
                         (command_by_id(id)->flags & COMMAND_CACHEABLE) != 0);
    settings_destroy(&settings);
    struct config_cache_rule *named = add_rule(config, "p");
    named->commands = 1;
    snprintf(named->command[0], sizeof named->command[0], "get");
    settings = compile(config);
    rule = settings_rule(settings, SLICE("p"));
    assert_true(near_rule_allows(rule, COMMAND_GET));
    assert_false(near_rule_allows(rule, COMMAND_HGETALL));
    settings_destroy(&settings);
    snprintf(named->command[0], sizeof named->command[0], "set");
    char error[CONFIG_ERROR] = "";
    assert_int_equal(settings_create(&settings, config, error), WEIR_EINVAL);
    assert_non_null(strstr(error, "'set'"));
    free(config);
}

static void the_shortest_max_stale_sets_the_pace(void **state)
{
    (void)state;
    struct config *config = config_new();
    config->cache_rule[0].max_stale_ms = 900;
    const struct settings *settings = compile(config);
    assert_int_equal(settings->vouch_every_ns, CLOCK_MS(300));
    settings_destroy(&settings);
    add_rule(config, "p")->max_stale_ms = 0;
    settings = compile(config);
    assert_true(settings->vouch_every_ns > 0);
    assert_true(settings->vouch_every_ns <= CLOCK_MS(300));
    settings_destroy(&settings);
    free(config);
}

static void the_parts_make_the_whole(void **state)
{
    (void)state;
    struct config *config = config_new();
    struct proxy *proxy = calloc(1, sizeof *proxy);
    char error[CONFIG_ERROR] = "";
    uint64_t cache = 0;
    proxy->workers = 2;
    config->memory_bytes = 256u << 20;
    assert_int_equal(memory_plan(proxy, config, &cache, error), 0);
    assert_int_equal(cache + proxy->memory_base_bytes + proxy->memory_buffers_bytes +
                         proxy->memory_scratch_bytes, config->memory_bytes);
    assert_int_equal(memory_cache_share(proxy, config->memory_bytes), cache);
    assert_int_equal(memory_cache_share(proxy, 1u << 20), 0);
    config->cache = false;
    assert_int_equal(memory_plan(proxy, config, &cache, error), 0);
    assert_int_equal(cache, 0);
    free(proxy);
    free(config);
}

static void the_refusal_names_what_would_do(void **state)
{
    (void)state;
    struct config *config = config_new();
    struct proxy *proxy = calloc(1, sizeof *proxy);
    char error[CONFIG_ERROR] = "";
    uint64_t cache = 0;
    proxy->workers = 4;
    config->memory_bytes = 1u << 20;
    assert_int_equal(memory_plan(proxy, config, &cache, error), WEIR_ERANGE);
    const char *number = strstr(error, "small: ");
    assert_non_null(number);
    config->memory_bytes = (strtoull(number + 7, NULL, 10) + 1) << 20; // a page or two more by now
    assert_int_equal(memory_plan(proxy, config, &cache, error), 0);
    assert_true(cache >= 2u << 20);
    free(proxy);
    free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(longest_prefix_decides),
        cmocka_unit_test(only_cacheable_commands_are_allowed),
        cmocka_unit_test(the_shortest_max_stale_sets_the_pace),
        cmocka_unit_test(the_parts_make_the_whole),
        cmocka_unit_test(the_refusal_names_what_would_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
