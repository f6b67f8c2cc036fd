// What stands in a cache block, and the `cache` directive itself.
//
//   cache on                            the switch
//   cache { max-ttl 10m }               the default rule, always cache_rule[0]
//   cache session: user: {              a rule for two prefixes
//       max-stale 100ms
//       commands get mget
//   }
//
// A value that a block leaves out is RULE_INHERIT until config_finish takes it from the default
// rule, so the order of blocks does not matter. The same prefixes again change that rule.
#include "base/err.h"
#include "config/load.h"
#include "config/value.h"
#include <stdio.h>
#include <strings.h>

void rule_clear(struct config_cache_rule *rule)
{
    *rule = (struct config_cache_rule){.enabled = true,
                                       .max_value_bytes = RULE_INHERIT,
                                       .max_ttl_ms = RULE_INHERIT,
                                       .max_stale_ms = RULE_INHERIT,
                                       .commands = RULE_INHERIT_COMMANDS};
}

static bool has_prefix(const struct config_cache_rule *rule, const char *prefix)
{
    for (unsigned i = 0; i < rule->prefixes; i++)
        if (strcmp(rule->prefix[i], prefix) == 0)
            return true;
    return false;
}

bool rule_same_prefixes(const struct config_cache_rule *a, const struct config_cache_rule *b)
{
    if (a->prefixes != b->prefixes)
        return false;
    for (unsigned i = 0; i < a->prefixes; i++)
        if (!has_prefix(b, a->prefix[i]))
            return false;
    return true;
}

static int prefix_read(const struct setting *setting)
{
    struct config_cache_rule *rule = setting->owner;
    for (unsigned i = 0; i < setting->count; i++) {
        const char *prefix = setting->argument[i].text;
        if (prefix[0] == '\0')
            return setting_refuse(setting,
                                  "an empty prefix: `cache { … }` is the rule for all keys");
        if (strlen(prefix) >= CONFIG_TEXT)
            return setting_refuse(setting, "a prefix longer than %d bytes", CONFIG_TEXT - 1);
        if (has_prefix(rule, prefix))
            return setting_refuse(setting, "'%.60s' is given twice", prefix);
        if (rule->prefixes == CONFIG_RULE_PREFIXES)
            return setting_refuse(setting, "more than %d prefixes in a block",
                                  CONFIG_RULE_PREFIXES);
        config_copy(rule->prefix[rule->prefixes++], prefix);
    }
    return 0;
}

static void prefix_show(const struct directive *d, const void *owner, bool reveal,
                        struct print *text)
{
    (void)d;
    (void)reveal;
    const struct config_cache_rule *rule = owner;
    for (unsigned i = 0; i < rule->prefixes; i++) {
        bool on;
        print_add(text, "%s", i > 0 ? " " : "");
        if (value_bool_parse(rule->prefix[i], &on) == 0) // `cache on {` is refused
            print_add(text, "\"%s\"", rule->prefix[i]);
        else
            print_word(text, rule->prefix[i]);
    }
}

const struct kind kind_prefix = {0, prefix_read, prefix_show};

static int command_add(const struct setting *setting, const char *name)
{
    struct config_cache_rule *rule = setting->owner;
    size_t size = strlen(name);
    if (size == 0 || size >= sizeof(rule->command[0]) ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-|") != size)
        return setting_refuse(setting, "'%.40s' is not the name of a command", name);
    if (rule->commands == CONFIG_RULE_COMMANDS)
        return setting_refuse(setting, "more than %d commands in a block", CONFIG_RULE_COMMANDS);
    char *to = rule->command[rule->commands];
    for (size_t i = 0; i <= size; i++)
        to[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    for (unsigned i = 0; i < rule->commands; i++)
        if (strcmp(rule->command[i], to) == 0)
            return setting_refuse(setting, "'%.40s' is given twice", name);
    rule->commands++;
    return 0;
}

static int commands_read(const struct setting *setting)
{
    struct config_cache_rule *rule = setting->owner;
    rule->commands = 0;
    if (setting->count == 1 && strcmp(setting->argument[0].text, "*") == 0)
        return 0;
    int code = 0;
    for (unsigned i = 0; i < setting->count && code == 0; i++)
        code = command_add(setting, setting->argument[i].text);
    return code;
}

static void commands_show(const struct directive *d, const void *owner, bool reveal,
                          struct print *text)
{
    (void)d;
    (void)reveal;
    const struct config_cache_rule *rule = owner;
    if (rule->commands == 0)
        print_add(text, "*");
    for (unsigned i = 0; i < rule->commands; i++)
        print_add(text, "%s%s", i > 0 ? " " : "", rule->command[i]);
}

const struct kind kind_commands = {0, commands_read, commands_show};

static bool is_inherited(const struct directive *d, const struct config_cache_rule *rule)
{
    const void *field = (const char *)rule + d->field;
    if (d->kind == &kind_commands)
        return rule->commands == RULE_INHERIT_COMMANDS;
    return (d->kind == &kind_size || d->kind == &kind_duration) &&
           *(const uint64_t *)field == RULE_INHERIT;
}

void rule_print(const struct config_cache_rule *rule, bool reveal, struct print *text)
{
    unsigned count;
    const struct directive *table = rule_table(&count);
    for (unsigned i = 0; i < count; i++) {
        if (is_inherited(&table[i], rule))
            continue;
        if (table[i].kind == &kind_prefix) {
            table[i].kind->print(&table[i], rule, reveal, text);
            print_add(text, "%s{", rule->prefixes > 0 ? " " : "");
            continue;
        }
        print_add(text, "\n    %s ", table[i].shown.name);
        table[i].kind->print(&table[i], rule, reveal, text);
    }
    print_add(text, "\n}");
}

static int cache_read(const struct setting *setting)
{
    struct config *config = setting->owner;
    const char *text = setting->argument[0].text;
    if (value_bool_parse(text, &config->cache) != 0)
        return setting_refuse(setting,
                              "'%.40s' is neither on nor off; a block of rules for a prefix "
                              "is `cache %.40s { … }`",
                              text, text);
    return 0;
}

static bool is_plain(const struct config_cache_rule *rule)
{
    struct config_cache_rule plain;
    rule_defaults(&plain);
    return rule->prefixes == 0 && rule->commands == 0 && rule->enabled &&
           rule->max_value_bytes == plain.max_value_bytes && rule->max_ttl_ms == plain.max_ttl_ms &&
           rule->max_stale_ms == plain.max_stale_ms;
}

// "on", and the blocks that differ from the defaults.
static void cache_show(const struct directive *d, const void *owner, bool reveal,
                       struct print *text)
{
    const struct config *config = owner;
    print_add(text, config->cache ? "on" : "off");
    for (unsigned i = 0; i < config->cache_rules; i++) {
        if (i == 0 && is_plain(&config->cache_rule[0]))
            continue;
        print_add(text, "\n%s ", d->shown.name);
        rule_print(&config->cache_rule[i], reveal, text);
    }
}

const struct kind kind_cache = {1, cache_read, cache_show};
