// Every directive, declared once. This table drives the parser, the defaults, CONFIG GET, the list
// of frozen changes, `weir help directives`, man/weir.conf.5 and the shells' completion.
//
//   D(name, field, arguments, live, default, kind, min, max, doc)
//
// `live` says that CONFIG SET and HUP change it in a running weir. min and max bound numbers, in
// the units of the field. A default stands here as it would in a file and goes through the same
// parser.
#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "config/directive.h"
#include "config/suggest.h"
#include <assert.h>
#include <stdio.h>
#include <strings.h>

#define KB 1024ull
#define MB (1024 * KB)
#define GB (1024 * MB)
#define TB (1024 * GB)
#define SECOND 1000ull
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define YEAR (365 * DAY)

#define DIRECTIVES(D)                                                                                 \
    D("listen", listens, "ADDRESS…", false, "127.0.0.1:6380", kind_listen, 0, 0,                      \
      "Where clients connect: host:port, [v6]:port or unix:/path. May be repeated; the first one "    \
      "replaces the default. Port 0 takes a free port.")                                              \
    D("admin", admin, "ADDRESS|off", false, "127.0.0.1:6381", kind_address, 0, 0,                     \
      "Where the HTTP page, /metrics, /healthz and /readyz are served.")                              \
    D("store", store, "URL", false, "", kind_store, 0, 0,                                             \
      "The store behind weir: redis://[user[:password]@]host[:port][/db] or unix:/path. User and "    \
      "password are percent-encoded. Without it weir starts a private redis-server of its own.")      \
    D("password-file", password_file, "PATH", false, "", kind_password_file, 0, 0,                    \
      "The store's password is the first line of this file.")                                         \
    D("memory", memory_bytes, "SIZE", true, "256mb", kind_size, MB, 64 * TB,                          \
      "The bound on weir's whole memory: cache, buffers, stacks and everything else.")                \
    D("threads", threads, "N", false, "0", kind_count, 0, LIMIT_WORKERS,                              \
      "Worker threads; 0 is one for each processor.")                                                 \
    D("cache", cache, "on|off or [PREFIX…] { … }", true, "on", kind_cache, 0, 0,                      \
      "Switches the near cache, or opens a block of rules for keys that begin with PREFIX; a "        \
      "block without a prefix is the default for all others. The longest prefix decides.")            \
    D("maxclients", maxclients, "N", true, "10000", kind_count, 1, 1000000,                           \
      "Connected clients at most; the next one gets an error, as from Redis.")                        \
    D("client-buffer", client_buffer_bytes, "SIZE", true, "1mb", kind_size, 16 * KB, GB,              \
      "Replies kept for one client that reads slowly. Beyond it the client is paused, then cut.")     \
    D("timeout", timeout_ms, "TIME", true, "0", kind_duration, 0, YEAR,                               \
      "Closes clients idle for this long; 0 never does.")                                             \
    D("store-timeout", store_timeout_ms, "TIME", true, "60s", kind_duration, 0, DAY,                  \
      "Cuts a connection to the store that has answered nothing for this long; 0 never does.")        \
    D("connect-timeout", connect_timeout_ms, "TIME", true, "1s", kind_duration, 1, HOUR,              \
      "How long one attempt to connect to the store may take.")                                       \
    D("private-blocking", private_blocking, "N", true, "64", kind_count, 0, 10000,                    \
      "Private store connections for clients that block (BLPOP) or subscribe.")                       \
    D("private-transactions", private_transactions, "N", true, "64", kind_count, 0, 10000,            \
      "Private store connections for MULTI, WATCH, scripts and large requests.")                      \
    D("requirepass", requirepass, "PASSWORD", true, "", kind_secret, 0, 0,                            \
      "The password clients give with AUTH; \"\" asks for none.")                                     \
    D("requirepass-file", requirepass_file, "PATH", true, "", kind_requirepass_file, 0, 0,            \
      "The same, read from the first line of this file, at start and at each reload.")                \
    D("protected-mode", protected_mode, "yes|no", true, "yes", kind_bool, 0, 0,                       \
      "Without a password, refuses clients that are not on this machine.")                            \
    D("tcp-keepalive", tcp_keepalive_s, "SECONDS", true, "300", kind_seconds, 0, 86400,               \
      "Probes silent clients after this long; 0 never does.")                                         \
    D("tcp-backlog", tcp_backlog, "N", false, "511", kind_count, 1, 65535,                            \
      "Connections the kernel keeps waiting to be accepted.")                                         \
    D("unixsocketperm", unixsocketperm, "MODE", false, "0700", kind_mode, 0, 0777,                    \
      "Permissions of Unix sockets listened on, in octal.")                                           \
    D("slowlog-log-slower-than", slowlog_us, "MICROSECONDS", true, "10000", kind_micros, 0,           \
      1000 * DAY, "Requests slower than this are kept for WEIR SLOWLOG; -1 keeps none.")              \
    D("admin-commands", admin_commands, "yes|no", true, "yes", kind_admin, 0, 0,                      \
      "Whether clients on this machine may use CONFIG SET weir-… and WEIR …; allow and deny are " \
      "understood too.")                                                                              \
    D("logfile", logfile, "PATH|stderr", false, "stderr", kind_path, 0, 0,                            \
      "Where the log goes. HUP opens the file again, for rotation.")                                  \
    D("loglevel", loglevel, "debug|info|warn|error", true, "info", kind_level, 0, 0,                  \
      "The least important lines that are logged; Redis's own words are understood too.")             \
    D("drain-timeout", drain_ms, "TIME", true, "10s", kind_duration, 0, HOUR,                         \
      "After TERM, how long requests under way may take before they are cut.")

// Inside of a cache block; the owner is a struct config_cache_rule.
#define RULE_DIRECTIVES(D)                                                                         \
    D("prefix", prefixes, "PREFIX…", true, "", kind_prefix, 0, 0,                                  \
      "More prefixes of the keys this block is for.")                                              \
    D("enabled", enabled, "yes|no", true, "yes", kind_bool, 0, 0,                                  \
      "no: these keys are never cached.")                                                          \
    D("max-value", max_value_bytes, "SIZE", true, "1mb", kind_size, 1, LIMIT_CACHE_VALUE,          \
      "Larger values are not cached.")                                                             \
    D("max-ttl", max_ttl_ms, "TIME", true, "1h", kind_duration, 1, YEAR,                           \
      "No value is served longer than this without asking the store again.")                       \
    D("max-stale", max_stale_ms, "TIME", true, "1s", kind_duration, 10, HOUR,                      \
      "The oldest a hit may be when others write to the store directly.")                          \
    D("commands", commands, "COMMAND…", true, "", kind_commands, 0, 0,                             \
      "Only replies to these commands are cached; * is every command weir can cache.")

#define SHOWN(name_, field_, arguments_, live_, value_, kind_, min_, max_, doc_)                   \
    {                                                                                              \
        .name = (name_), .arguments = (arguments_), .doc = (doc_), .live = (live_)                 \
    }
#define SHOWN_ROW(...) SHOWN(__VA_ARGS__),
#define ROW(name_, field_, arguments_, live_, value_, kind_, min_, max_, doc_)                     \
    {.shown = SHOWN(name_, field_, arguments_, live_, value_, kind_, min_, max_, doc_),            \
     .value = (value_),                                                                            \
     .kind = &(kind_),                                                                             \
     .field = offsetof(struct OWNER, field_),                                                      \
     .min = (min_),                                                                                \
     .max = (max_)},

static const struct config_directive DIRECTIVE_SHOWN[] = {DIRECTIVES(SHOWN_ROW)};
static const struct config_directive RULE_SHOWN[] = {RULE_DIRECTIVES(SHOWN_ROW)};
#define OWNER config
static const struct directive DIRECTIVE_TABLE[] = {DIRECTIVES(ROW)};
#undef OWNER
#define OWNER config_cache_rule
static const struct directive RULE_TABLE[] = {RULE_DIRECTIVES(ROW)};
#undef OWNER

enum {
    DIRECTIVE_COUNT = sizeof(DIRECTIVE_TABLE) / sizeof(DIRECTIVE_TABLE[0]),
    RULE_COUNT = sizeof(RULE_TABLE) / sizeof(RULE_TABLE[0]),
};
static_assert(DIRECTIVE_COUNT <= 64 && RULE_COUNT <= 64, "struct load keeps them as bits");

const struct config_directive *config_directives(unsigned *count)
{
    *count = DIRECTIVE_COUNT;
    return DIRECTIVE_SHOWN;
}

const struct config_directive *config_cache_directives(unsigned *count)
{
    *count = RULE_COUNT;
    return RULE_SHOWN;
}

const struct directive *directive_table(unsigned *count)
{
    *count = DIRECTIVE_COUNT;
    return DIRECTIVE_TABLE;
}

const struct directive *rule_table(unsigned *count)
{
    *count = RULE_COUNT;
    return RULE_TABLE;
}

static const struct directive *find(const struct directive *table, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count; i++)
        if (strcasecmp(table[i].shown.name, name) == 0)
            return &table[i];
    return NULL;
}

const struct directive *directive_find(const char *name)
{
    return find(DIRECTIVE_TABLE, DIRECTIVE_COUNT, name);
}

const struct directive *rule_find(const char *name)
{
    return find(RULE_TABLE, RULE_COUNT, name);
}

// Words of redis.conf and twemproxy's habits whose meaning has another name here.
static const char *const TRANSLATIONS[][2] = {
    {"port", "listen"},        {"bind", "listen"},
    {"unixsocket", "listen"},  {"maxmemory", "memory"},
    {"io-threads", "threads"}, {"masterauth", "password-file"},
    {"servers", "store"},      {"redis_auth", "password-file"},
    {"server", "store"},       {"backlog", "tcp-backlog"},
    {"upstream", "store"},
};

const char *directive_nearest(const char *name)
{
    for (size_t i = 0; i < sizeof(TRANSLATIONS) / sizeof(TRANSLATIONS[0]); i++)
        if (strcasecmp(name, TRANSLATIONS[i][0]) == 0)
            return TRANSLATIONS[i][1];
    const char *best = NULL;
    for (unsigned i = 0; i < DIRECTIVE_COUNT; i++)
        suggest_offer(name, DIRECTIVE_TABLE[i].shown.name, &best);
    return best;
}

static void defaults_set(const struct directive *table, unsigned count, void *owner)
{
    char reason[CONFIG_REASON] = "";
    for (unsigned i = 0; i < count; i++) {
        struct word word = {table[i].value, true};
        struct setting setting = {&table[i], NULL, owner, 1, &word, reason};
        if (table[i].value[0] != '\0')
            CHECK(table[i].kind->parse(&setting) == 0);
    }
}

void rule_defaults(struct config_cache_rule *rule)
{
    *rule = (struct config_cache_rule){0};
    defaults_set(RULE_TABLE, RULE_COUNT, rule);
}

void config_defaults(struct config *config)
{
    memset(config, 0, sizeof(*config));
    defaults_set(DIRECTIVE_TABLE, DIRECTIVE_COUNT, config);
    rule_defaults(&config->cache_rule[0]);
    config->cache_rules = 1;
}

int config_get(const struct config *config, const char *directive, char *out, size_t room)
{
    const struct directive *d = directive_find(directive);
    if (d == NULL)
        return WEIR_ENOENT;
    struct print text = {out, room, 0};
    if (room > 0)
        out[0] = '\0';
    d->kind->print(d, config, false, &text);
    return text.size < room ? 0 : WEIR_ERANGE;
}

static bool same_value(const struct directive *d, const struct config *a, const struct config *b)
{
    if (d->kind == &kind_password_file && strcmp(a->password_file, b->password_file) == 0)
        return a->password_file[0] == '\0' || strcmp(a->store.password, b->store.password) == 0;
    char before[CONFIG_TEXT * 20], after[CONFIG_TEXT * 20]; // listen, the longest: 16 addresses
    struct print a_text = {before, sizeof(before), 0}, b_text = {after, sizeof(after), 0};
    before[0] = after[0] = '\0';
    d->kind->print(d, a, true, &a_text);
    d->kind->print(d, b, true, &b_text);
    return strcmp(before, after) == 0;
}

void config_frozen_changes(const struct config *old_config, const struct config *new_config,
                           char *out, size_t room)
{
    struct print text = {out, room, 0};
    if (room > 0)
        out[0] = '\0';
    for (unsigned i = 0; i < DIRECTIVE_COUNT; i++) {
        const struct directive *d = &DIRECTIVE_TABLE[i];
        if (!d->shown.live && !same_value(d, old_config, new_config))
            print_add(&text, "%s%s", text.size > 0 ? ", " : "", d->shown.name);
    }
}
