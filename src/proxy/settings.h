#pragma once
// The configuration in force, compiled for the data path: immutable once published. Workers take the
// pointer once per round.
#include "config/config.h"
#include "wire/command.h"

struct near_rule { // how keys under one prefix are cached
    bool enabled;
    uint64_t max_value_bytes, max_ttl_ms, max_stale_ns;
    uint64_t commands[(COMMAND_COUNT + 63) / 64]; // bit per command id
};

struct near_prefix {
    struct slice prefix;
    const struct near_rule *rule;
};

struct settings {
    const struct settings *next_retired;
    struct config config;
    struct near_rule rule[CONFIG_CACHE_RULES];
    unsigned prefixes; // longest first
    struct near_prefix prefix[CONFIG_CACHE_RULES * CONFIG_RULE_PREFIXES];
    const struct near_rule *fallback; // for keys under no prefix
    uint64_t vouch_every_ns;          // a third of the smallest max-stale
};

// Returns owned (settings_destroy), or WEIR_ENOMEM, or WEIR_EINVAL with the reason in `error`.
int settings_create(const struct settings **out, const struct config *config,
                    char error[CONFIG_ERROR]);
void settings_destroy(const struct settings **settings);

static inline const struct near_rule *settings_rule(const struct settings *settings,
                                                    struct slice key)
{
    for (unsigned i = 0; i < settings->prefixes; i++) {
        if (slice_starts(key, settings->prefix[i].prefix))
            return settings->prefix[i].rule;
    }
    return settings->fallback;
}

static inline bool near_rule_allows(const struct near_rule *rule, enum command_id id)
{
    return (rule->commands[id / 64] >> (id % 64)) & 1;
}
