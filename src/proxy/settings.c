#include "proxy/settings.h"
#include "base/err.h"
#include "loop/clock.h"
#include <stdio.h>
#include <stdlib.h>

static void allow(struct near_rule *rule, const struct command *command)
{
    rule->commands[command->id / 64] |= 1ull << (command->id % 64);
}

static int compile_commands(struct near_rule *rule, const struct config_cache_rule *from,
                            char error[CONFIG_ERROR])
{
    for (unsigned id = 0; from->commands == 0 && id < COMMAND_COUNT; id++) {
        if (command_by_id(id)->flags & COMMAND_CACHEABLE)
            allow(rule, command_by_id(id));
    }
    for (unsigned i = 0; i < from->commands; i++) {
        const struct command *command = command_find(slice_str(from->command[i]));
        if (!(command->flags & COMMAND_CACHEABLE)) {
            snprintf(error, CONFIG_ERROR,
                     "cache: command '%s' can't be cached: it writes, or its reply can change "
                     "without an invalidation",
                     from->command[i]);
            return WEIR_EINVAL;
        }
        allow(rule, command);
    }
    return 0;
}

static int compare_prefixes(const void *a, const void *b)
{
    size_t x = ((const struct near_prefix *)a)->prefix.size;
    size_t y = ((const struct near_prefix *)b)->prefix.size;
    return x < y ? 1 : x > y ? -1 : 0;
}

static int compile(struct settings *settings, char error[CONFIG_ERROR])
{
    const struct config *config = &settings->config;
    uint64_t min_stale_ms = 60000;
    for (unsigned i = 0; i < config->cache_rules; i++) {
        const struct config_cache_rule *from = &config->cache_rule[i];
        struct near_rule *rule = &settings->rule[i];
        rule->enabled = from->enabled && config->cache;
        rule->max_value_bytes = from->max_value_bytes;
        rule->max_ttl_ms = from->max_ttl_ms;
        rule->max_stale_ns = CLOCK_MS(from->max_stale_ms);
        if (from->max_stale_ms < min_stale_ms)
            min_stale_ms = from->max_stale_ms;
        int failed = compile_commands(rule, from, error);
        if (failed)
            return failed;
        for (unsigned p = 0; p < from->prefixes; p++) {
            settings->prefix[settings->prefixes++] =
                (struct near_prefix){slice_str(from->prefix[p]), rule};
        }
        if (from->prefixes == 0)
            settings->fallback = rule;
    }
    qsort(settings->prefix, settings->prefixes, sizeof settings->prefix[0], compare_prefixes);
    settings->vouch_every_ns = CLOCK_MS(min_stale_ms < 30 ? 10 : min_stale_ms / 3);
    return 0;
}

int settings_create(const struct settings **out, const struct config *config,
                    char error[CONFIG_ERROR])
{
    static const struct near_rule nothing; // keys under no prefix when every rule names some
    struct settings *settings = calloc(1, sizeof *settings);
    if (settings == NULL) {
        snprintf(error, CONFIG_ERROR, "out of memory for the configuration");
        return WEIR_ENOMEM;
    }
    settings->config = *config;
    settings->fallback = &nothing;
    int failed = compile(settings, error);
    if (failed) {
        free(settings);
        return failed;
    }
    *out = settings;
    return 0;
}

void settings_destroy(const struct settings **settings)
{
    free((void *)(uintptr_t)*settings);
    *settings = NULL;
}
