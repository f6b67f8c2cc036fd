#pragma once
// Inside of config/: the state of one load of a file or a text.
#include "config/directive.h"

struct secret_file { // what a *-file directive has read
    bool given;
    char path[CONFIG_TEXT];
    char secret[CONFIG_TEXT];
};

struct load {
    struct config config; // the working copy; copied back only if the whole text was right
    struct report report;
    const char *place;            // file name, "-o", …
    unsigned line;                // 0 when the text has one line only and is no file
    const struct directive *only; // config_set: nothing else may be set
    bool is_client;               // config_set: no environment, no files
    uint64_t seen;                // directives by index
    bool requirepass_given, store_given, listen_given;
    struct secret_file requirepass_file, password_file;
    // a block under way
    enum { BLOCK_NONE, BLOCK_RULE, BLOCK_SKIPPED } block;
    unsigned depth, block_line;
    struct config_cache_rule rule;
    uint64_t rule_seen; // directives of the block by index
    struct words words;
};
