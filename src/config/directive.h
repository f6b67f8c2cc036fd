#pragma once
// Inside of config/: what a directive is made of. The table itself is in directives.c.
#include "config/report.h"
#include "config/words.h"

struct load;
struct directive;

struct setting { // one directive with its arguments, being read
    const struct directive *directive;
    struct load *load; // what this load has seen; NULL while defaults are set
    void *owner;       // struct config or struct config_cache_rule
    unsigned count;
    const struct word *argument;
    char *reason; // CONFIG_REASON bytes
};

struct kind {      // of value
    unsigned most; // arguments it takes; 0: any number
    // Reads the arguments into the owner. Returns 0, or a negative code with the reason.
    int (*parse)(const struct setting *setting);
    // Prints the value as arguments. `reveal`: passwords too, for comparing and tests.
    void (*print)(const struct directive *directive, const void *owner, bool reveal,
                  struct print *text);
};

struct directive {
    struct config_directive shown;
    const char *value; // the default
    const struct kind *kind;
    size_t field; // offset within the owner
    uint64_t min, max;
};

extern const struct kind kind_size, kind_duration, kind_seconds, kind_count, kind_bool, kind_admin,
    kind_micros, kind_mode, kind_level, kind_path, kind_address, kind_listen, kind_store,
    kind_secret, kind_requirepass_file, kind_password_file, kind_cache, kind_prefix, kind_commands;

__attribute__((format(printf, 2, 3))) int setting_refuse(const struct setting *setting,
                                                         const char *format, ...);

// The tables and finding in them; NULL when there is none of that name (case folded).
const struct directive *directive_table(unsigned *count);
const struct directive *directive_find(const char *name);
const char *directive_nearest(const char *name); // for "did you mean", or NULL
const struct directive *rule_table(unsigned *count);
const struct directive *rule_find(const char *name);

// A rule's value that was not given: config_finish takes the default rule's.
#define RULE_INHERIT UINT64_MAX
#define RULE_INHERIT_COMMANDS UINT32_MAX
void rule_defaults(struct config_cache_rule *rule);
void rule_clear(struct config_cache_rule *rule); // nothing given
bool rule_same_prefixes(const struct config_cache_rule *a, const struct config_cache_rule *b);
// "prefix… {", the lines and "}".
void rule_print(const struct config_cache_rule *rule, bool reveal, struct print *text);
