// What holds between directives, checked once after the last load.
#include "base/err.h"
#include "config/directive.h"
#include <stdio.h>

static const char *place_of(const struct config *config)
{
    return config->file[0] != '\0' ? config->file : "configuration";
}

#define ERROR(report, config, ...)                                                                 \
    report_add(report, WEIR_EMALFORMED, place_of(config), 0, __VA_ARGS__)

static bool has_fixed_port(const char *address)
{
    size_t size = strlen(address);
    return size < 2 || strcmp(address + size - 2, ":0") != 0;
}

static void addresses_check(const struct config *config, struct report *report)
{
    if (config->listens == 0)
        ERROR(report, config, "nothing to listen on: listen 127.0.0.1:6380");
    for (unsigned i = 0; i < config->listens; i++) {
        const char *address = config->listen[i].address;
        if (!has_fixed_port(address))
            continue;
        for (unsigned j = 0; j < i; j++)
            if (strcmp(config->listen[j].address, address) == 0)
                ERROR(report, config, "listen: %.120s is given twice", address);
        if (strcmp(config->admin, address) == 0)
            ERROR(report, config,
                  "listen and admin are both %.120s: give admin another port, or "
                  "`admin off`",
                  address);
        if (config->store_set && strcmp(config->store.address, address) == 0)
            ERROR(report, config, "store: %.120s is where weir itself listens", address);
    }
    if (!config->store_set && config->store.password[0] != '\0')
        ERROR(report, config, "password-file is given without a store it is for: add `store URL`");
}

// A key must not find two rules by the same prefix.
static void prefixes_check(const struct config *config, struct report *report)
{
    for (unsigned a = 1; a < config->cache_rules; a++)
        for (unsigned b = a + 1; b < config->cache_rules; b++)
            for (unsigned i = 0; i < config->cache_rule[a].prefixes; i++)
                for (unsigned j = 0; j < config->cache_rule[b].prefixes; j++)
                    if (strcmp(config->cache_rule[a].prefix[i], config->cache_rule[b].prefix[j]) ==
                        0)
                        ERROR(report, config, "the prefix '%.60s' stands in two cache blocks",
                              config->cache_rule[a].prefix[i]);
}

static void rules_inherit(struct config *config)
{
    const struct config_cache_rule *base = &config->cache_rule[0];
    for (unsigned i = 1; i < config->cache_rules; i++) {
        struct config_cache_rule *rule = &config->cache_rule[i];
        if (rule->max_value_bytes == RULE_INHERIT)
            rule->max_value_bytes = base->max_value_bytes;
        if (rule->max_ttl_ms == RULE_INHERIT)
            rule->max_ttl_ms = base->max_ttl_ms;
        if (rule->max_stale_ms == RULE_INHERIT)
            rule->max_stale_ms = base->max_stale_ms;
        if (rule->commands == RULE_INHERIT_COMMANDS) {
            rule->commands = base->commands;
            memcpy(rule->command, base->command, sizeof(rule->command));
        }
    }
}

int config_finish(struct config *config, char error[CONFIG_ERROR])
{
    struct report report;
    report_begin(&report, error);
    addresses_check(config, &report);
    prefixes_check(config, &report);
    int code = report_end(&report);
    if (code == 0)
        rules_inherit(config);
    return code;
}
