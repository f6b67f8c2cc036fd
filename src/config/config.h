#pragma once
// Text to a validated struct. One small parser serves the file, the command line's flags and -o,
// and CONFIG SET weir-…; an error names file, line and the nearest directive.
//
// Grammar: redis.conf words. A line is `name argument…`, quotes and escapes as redis.conf, `#`
// starts a comment at the start of a word, `${ENV}` is replaced, `name [argument…] {` opens a block
// closed by a line `}`. Sizes: 1k 1kb 1m 1mb 1g 1gb (k = 1000, kb = 1024), times: 500ms 1s 5m 1h
// (bare numbers are seconds as in Redis's own `timeout`), booleans: yes no on off.
#include "base/log.h"
#include "base/slice.h"

enum {
    CONFIG_TEXT = 256,
    CONFIG_LISTENERS = 16,
    CONFIG_STORES = 1,
    CONFIG_CACHE_RULES = 32,
    CONFIG_RULE_PREFIXES = 16,
    CONFIG_RULE_COMMANDS = 64,
    CONFIG_ERROR = 512,
};

struct config_listen {
    char address[CONFIG_TEXT]; // "127.0.0.1:6380", "[::1]:6380", "unix:/run/weir.sock"
};

struct config_store {          // from a URL: redis://[user:password@]host:port[/db], unix:/path
    char name[CONFIG_TEXT];    // as shown: the URL without its password
    char address[CONFIG_TEXT]; // what net_address_parse takes
    char user[CONFIG_TEXT], password[CONFIG_TEXT];
    unsigned db;
};

struct config_cache_rule {
    unsigned prefixes; // 0: the default rule
    char prefix[CONFIG_RULE_PREFIXES][CONFIG_TEXT];
    bool enabled;
    uint64_t max_value_bytes, max_ttl_ms, max_stale_ms;
    unsigned commands; // 0: the whole allowlist
    char command[CONFIG_RULE_COMMANDS][32];
};

struct config {
    char file[CONFIG_TEXT]; // empty when there is none
    unsigned listens;
    struct config_listen listen[CONFIG_LISTENERS];
    char admin[CONFIG_TEXT]; // "127.0.0.1:6381", "unix:…", or "off"
    bool store_set;          // false: start a private redis-server
    struct config_store store;
    char password_file[CONFIG_TEXT]; // where store.password came from; empty when not from a file
    uint64_t memory_bytes;
    unsigned threads; // 0: one per processor
    bool cache;
    unsigned cache_rules; // at least 1 after config_finish: rule 0 is the default rule
    struct config_cache_rule cache_rule[CONFIG_CACHE_RULES];
    unsigned maxclients;
    uint64_t client_buffer_bytes;
    uint64_t timeout_ms;       // idle clients; 0 never
    uint64_t store_timeout_ms; // a lane without any answer for this long is cut; 0 never
    uint64_t connect_timeout_ms;
    unsigned private_blocking, private_transactions; // quotas per node
    char requirepass[CONFIG_TEXT];
    char requirepass_file[CONFIG_TEXT]; // where requirepass came from; empty when not from a file
    bool protected_mode;
    unsigned tcp_keepalive_s, tcp_backlog;
    char unixsocketperm[8]; // octal, "0700"
    uint64_t slowlog_us;    // slower requests are kept; UINT64_MAX never
    bool admin_commands;    // CONFIG SET weir-… and WEIR over RESP: allowed (from loopback)
    char logfile[CONFIG_TEXT];
    enum log_level loglevel;
    uint64_t drain_ms;
};

void config_defaults(struct config *config);
// Reads a whole file over `config`. Returns 0, or a negative code with one or more lines in
// `error`: "weir.conf:12: unknown directive 'memroy', did you mean 'memory'?". On failure *config
// is untouched.
int config_load_file(struct config *config, const char *path, char error[CONFIG_ERROR]);
// The same for text; `name` stands for the file in messages ("-o", "--memory", "CONFIG SET").
int config_load_text(struct config *config, const char *name, const char *text,
                     char error[CONFIG_ERROR]);
// One directive with its arguments in one string, as CONFIG SET gives them: `memory`, `512mb`.
// ${ENV} is not replaced and no file is read, because a client may have sent it; a password is
// taken as it is, without quotes. `cache` also takes a block: `user: { max-ttl 5s ; enabled yes }`.
int config_set(struct config *config, const char *name, const char *directive,
               const char *arguments, char error[CONFIG_ERROR]);
// Checks what holds between directives and fills derived values. Call after the last load.
int config_finish(struct config *config, char error[CONFIG_ERROR]);

// The directives, for CONFIG GET weir-*, --help, the man page and completion.
struct config_directive {
    const char *name, *arguments, *doc;
    bool live; // CONFIG SET and HUP may change it; otherwise a restart is needed
};
const struct config_directive *config_directives(unsigned *count);
// The same for what stands inside of a cache block.
const struct config_directive *config_cache_directives(unsigned *count);
// The value as it would stand in a file; never a password ("***"). Returns 0, WEIR_ENOENT, or
// WEIR_ERANGE when it was cut (`listen` and `cache` may be long; `cache` has several lines).
int config_get(const struct config *config, const char *directive, char *out, size_t room);
// Names of directives that differ and are not live, joined by ", ", into `out`; empty when none.
void config_frozen_changes(const struct config *old_config, const struct config *new_config,
                           char *out, size_t room);
