// WEIR … and CONFIG GET/SET weir-…: what an operator asks weir itself over RESP. Allowed from
// loopback and Unix sockets, unless admin-commands says no.
//
// Nothing here is on the data path: it may allocate, and its replies are small.
#include "base/err.h"
#include "base/hash.h"
#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/local.h"
#include "proxy/near.h"
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>

static bool permitted(struct client *client)
{
    if (client->worker->settings->config.admin_commands && client->identity.loopback)
        return true;
    client_append_text(client, "-NOPERM weir: WEIR and CONFIG SET weir-… are answered on loopback and "
                               "Unix sockets only, and not with 'admin-commands no'\r\n");
    return false;
}

// ---- CONFIG --------------------------------------------------------------------------------------

static void to_text(struct slice slice, char *out, size_t room)
{
    size_t size = slice.size < room - 1 ? slice.size : room - 1;
    memcpy(out, slice.data, size);
    out[size] = '\0';
}

static void config_get_matching(struct client *client, const struct config *config,
                                const char *pattern, bool count_only, int64_t *count)
{
    unsigned directives;
    const struct config_directive *table = config_directives(&directives);
    for (unsigned i = 0; i < directives; i++) {
        char value[1024], name[80];
        if (fnmatch(pattern, table[i].name, FNM_CASEFOLD) != 0 ||
            config_get(config, table[i].name, value, sizeof value) != 0)
            continue;
        (*count)++;
        if (count_only)
            continue;
        snprintf(name, sizeof name, "weir-%s", table[i].name);
        local_bulk(client, slice_str(name));
        local_bulk(client, slice_str(value));
    }
}

static void config_get_own(struct client *client, struct slice pattern_slice)
{
    char pattern[128];
    int64_t count = 0;
    const struct config *config = &client->worker->settings->config;
    to_text(slice_of(pattern_slice.data + 5, pattern_slice.size - 5), pattern, sizeof pattern);
    config_get_matching(client, config, pattern, true, &count);
    local_map(client, count);
    config_get_matching(client, config, pattern, false, &count);
}

static int set_each(struct config *config, const struct resp_request *request,
                    char error[CONFIG_ERROR])
{
    size_t cursor = 0;
    struct slice name, value;
    resp_arg_next(request->frame, &cursor, &name);
    resp_arg_next(request->frame, &cursor, &name); // CONFIG SET
    while (resp_arg_next(request->frame, &cursor, &name) &&
           resp_arg_next(request->frame, &cursor, &value)) {
        char directive[128], arguments[1024];
        if (name.size < 6 || !slice_is(slice_of(name.data, 5), "weir-") ||
            value.size >= sizeof arguments) {
            snprintf(error, CONFIG_ERROR, "weir's and the store's directives can't be set together");
            return WEIR_EINVAL;
        }
        to_text(slice_of(name.data + 5, name.size - 5), directive, sizeof directive);
        to_text(value, arguments, sizeof arguments);
        int failed = config_set(config, "CONFIG SET", directive, arguments, error);
        if (failed)
            return failed;
    }
    return config_finish(config, error);
}

static void refuse_set(struct client *client, const char *error)
{
    char line[CONFIG_ERROR + 80];
    snprintf(line, sizeof line, "-ERR CONFIG SET failed - %s", error);
    for (char *c = line; *c != '\0'; c++) {
        if (*c == '\r' || *c == '\n')
            *c = ' ';
    }
    client_append_text(client, line);
    client_append_text(client, "\r\n");
}

static void config_set_own(struct client *client, const struct resp_request *request)
{
    struct proxy *proxy = client->worker->proxy;
    char error[CONFIG_ERROR] = "", frozen[CONFIG_ERROR];
    struct config *config = malloc(sizeof *config);
    if (config == NULL) {
        refuse_set(client, "out of memory");
        return;
    }
    proxy_config(proxy, config);
    int failed = set_each(config, request, error);
    if (!failed) {
        config_frozen_changes(&client->worker->settings->config, config, frozen, sizeof frozen);
        if (frozen[0] != '\0') {
            snprintf(error, sizeof error, "'%.200s' needs a restart", frozen);
            failed = WEIR_EPERM;
        }
    }
    if (!failed)
        failed = proxy_reload(proxy, config, error);
    free(config);
    if (failed)
        refuse_set(client, error);
    else
        client_append_text(client, "+OK\r\n");
}

void weir_config(struct client *client, const struct parsed *parsed)
{
    const struct resp_request *request = &parsed->request;
    if (slice_is(request->argv[1], "get") && request->argc == 3)
        config_get_own(client, request->argv[2]);
    else if (!slice_is(request->argv[1], "set") || request->argc < 4 || request->argc % 2 != 0)
        local_wrong_arity(client, slice_is(request->argv[1], "get") ? "config|get" : "config|set");
    else if (permitted(client))
        config_set_own(client, request);
}

// ---- WEIR CACHE ----------------------------------------------------------------------------------

static void field(struct client *client, const char *name, const char *value)
{
    local_bulk(client, slice_str(name));
    local_bulk(client, slice_str(value));
}

static void why_stored(struct client *client, const struct near_query *query,
                       const struct cache_entry_info *info)
{
    const struct worker *worker = client->worker;
    const struct node *node = proxy_node(worker->proxy);
    const struct lane *lane = &node->lanes[query->db];
    uint64_t now_ms = clock_ms(worker->now_ns);
    uint32_t floor = atomic_load(&lane->floor);
    char text[160];
    const char *state = "yes: a GET is answered from memory";
    if (floor == UINT32_MAX)
        state = "no: the store's connection is down, nothing can be vouched for";
    else if (info->stamp < floor)
        state = "no: flushed with its lane (FLUSHALL, reconnect, role change) since it was filled";
    else if (info->expires_ms <= now_ms)
        state = "no: expired";
    else if (worker->now_ns - atomic_load(&lane->vouched_ns) > query->rule->max_stale_ns)
        state = "after a fence: the store has not answered within max-stale";
    local_map(client, 6);
    field(client, "cached", state);
    snprintf(text, sizeof text, "%s, frequency %u", info->in_main ? "main" : "small",
             info->frequency);
    field(client, "queue", text);
    snprintf(text, sizeof text, "%u", info->size);
    field(client, "bytes", text);
    snprintf(text, sizeof text, "%lld",
             (long long)(info->expires_ms > now_ms ? info->expires_ms - now_ms : 0));
    field(client, "expires-in-ms", text);
    uint64_t life_ms = query->rule->max_ttl_ms;
    snprintf(text, sizeof text, "at most %llu ms ago",
             (unsigned long long)(info->inserted_ms_ago_upper != 0 ? info->inserted_ms_ago_upper
                                                                   : life_ms));
    field(client, "since", text);
    field(client, "kind", info->kind == CACHE_NULL ? "missing key" : "value");
}

static void cache_why(struct client *client, struct slice key)
{
    static const char *const get = "get";
    struct worker *worker = client->worker;
    const struct node *node = proxy_node(worker->proxy);
    struct resp_request request = {.argc = 2, .argv = {slice_str(get), key}};
    struct near_query query;
    struct cache_entry_info info = {0};
    const char *state = "no: not read since it last changed, or evicted";
    const struct near_rule *rule = settings_rule(worker->settings, key);
    if (worker->proxy->cache == NULL || !node_caching(node))
        state = node_cache_words(node);
    else if (!rule->enabled)
        state = "no: its prefix is not cached (cache { prefix … })";
    else if (!near_rule_allows(rule, COMMAND_GET))
        state = "no: GET is not among the commands cached for its prefix";
    else if (key.size > LIMIT_CACHE_KEY)
        state = "no: the key is longer than 1024 bytes";
    else if (!near_query(&query, worker, node, command_by_id(COMMAND_GET), &request, hash_key(key),
                         client->identity.db))
        state = "no: sampling, and this key is not in the sample";
    else if (cache_describe(worker->proxy->cache, &query.ref, &info) == 0) {
        why_stored(client, &query, &info);
        return;
    }
    local_map(client, 1);
    field(client, "cached", info.ghost ? "no: changed or evicted, and remembered: a read brings it back"
                                       : state);
}

static void weir_cache(struct client *client, const struct resp_request *request)
{
    struct cache *cache = client->worker->proxy->cache;
    struct slice word = request->argc > 2 ? request->argv[2] : slice_of(NULL, 0);
    if (slice_is(word, "why") && request->argc == 4) {
        cache_why(client, request->argv[3]);
    } else if (slice_is(word, "drop") && request->argc == 4 && slice_is(request->argv[3], "all")) {
        local_integer(client, cache == NULL ? 0 : (int64_t)cache_drop_prefix(cache, SLICE("")));
    } else if (slice_is(word, "drop") && request->argc == 4 &&
               !slice_is(request->argv[3], "key") && !slice_is(request->argv[3], "prefix")) {
        local_integer(client, cache == NULL ? 0 : cache_delete(cache, hash_key(request->argv[3])));
    } else if (slice_is(word, "drop") && request->argc == 5 && slice_is(request->argv[3], "prefix")) {
        local_integer(client,
                      cache == NULL ? 0 : (int64_t)cache_drop_prefix(cache, request->argv[4]));
    } else if (slice_is(word, "drop") && request->argc == 5 && slice_is(request->argv[3], "key")) {
        local_integer(client, cache == NULL ? 0 : cache_delete(cache, hash_key(request->argv[4])));
    } else {
        client_append_text(client, "-ERR usage: WEIR CACHE WHY <key> | WEIR CACHE DROP [key] <key> | "
                                   "WEIR CACHE DROP prefix <prefix> | WEIR CACHE DROP all\r\n");
    }
}

// ---- WEIR SLOWLOG --------------------------------------------------------------------------------

// The words of a request as kept, cut where the log cut it.
static void slow_words(struct client *client, const struct slowlog_entry *entry)
{
    struct slice frame = slice_of(entry->args, entry->args_size), word, words[16];
    size_t cursor = 0;
    int64_t count = 0;
    while (count < 16 && resp_arg_next(frame, &cursor, &word))
        words[count++] = word;
    local_array(client, count);
    for (int64_t i = 0; i < count; i++)
        local_bulk(client, words[i]);
}

static void slow_entry(struct client *client, const struct slowlog_entry *entry)
{
    local_array(client, 7);
    local_integer(client, (int64_t)entry->id);
    local_integer(client, (int64_t)(entry->wall_us / 1000000));
    local_integer(client, (int64_t)entry->duration_us);
    slow_words(client, entry);
    local_bulk(client, slice_str(entry->client));
    local_bulk(client, slice_str(entry->name));
    local_bulk(client, slice_str(entry->where));
}

static void weir_slowlog(struct client *client, const struct resp_request *request)
{
    struct slowlog *log = client->worker->proxy->slowlog;
    struct slice word = request->argc > 2 ? request->argv[2] : SLICE("get");
    int64_t most = 10;
    if (slice_is(word, "len")) {
        local_integer(client, (int64_t)slowlog_length(log));
    } else if (slice_is(word, "reset")) {
        slowlog_reset(log);
        client_append_text(client, "+OK\r\n");
    } else if (slice_is(word, "get") &&
               (request->argc < 4 || slice_to_i64(request->argv[3], &most) == 0)) {
        if (most < 0 || most > SLOWLOG_ENTRIES)
            most = SLOWLOG_ENTRIES;
        struct slowlog_entry *entries = malloc(sizeof *entries * SLOWLOG_ENTRIES);
        unsigned count = entries == NULL ? 0 : slowlog_get(log, entries, (unsigned)most);
        local_array(client, count);
        for (unsigned i = 0; i < count; i++)
            slow_entry(client, &entries[i]);
        free(entries);
    } else {
        client_append_text(client, "-ERR usage: WEIR SLOWLOG [GET [count] | LEN | RESET]\r\n");
    }
}

// ---- WEIR LATENCY, HELP --------------------------------------------------------------------------

struct latency_report {
    struct client *client;
    bool count_only;
    int64_t count;
};

static void latency_line(void *context, const struct stats_latency *latency)
{
    struct latency_report *report = context;
    static const double shares[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
    report->count++;
    if (report->count_only)
        return;
    char line[256];
    int n = snprintf(line, sizeof line, "%s %s count=%llu", latency->command, latency->node,
                     (unsigned long long)latency->view.count);
    for (unsigned i = 0; i < 5; i++)
        n += snprintf(line + n, sizeof line - (size_t)n, " p%g=%lluus", shares[i] * 100,
                      (unsigned long long)(histogram_quantile(&latency->view, shares[i]) / 1000));
    local_bulk(report->client, slice_of(line, (size_t)n));
}

static void weir_latency(struct client *client)
{
    struct latency_report report = {client, true, 0};
    proxy_latencies(client->worker->proxy, latency_line, &report);
    local_array(client, report.count);
    report.count_only = false;
    int64_t promised = report.count;
    report.count = 0;
    proxy_latencies(client->worker->proxy, latency_line, &report);
    for (; report.count < promised; report.count++)
        local_null(client);
}

static void weir_help(struct client *client)
{
    static const char *const lines[] = {
        "WEIR CACHE WHY <key>             is it cached, since when, why not",
        "WEIR CACHE DROP key <key>        forget one key; also: prefix <prefix>, all",
        "WEIR SLOWLOG [GET n | LEN | RESET]   requests slower than slowlog-log-slower-than",
        "WEIR LATENCY                     p50 to p99.99 by command, and by where it was answered",
        "CONFIG GET weir-*, CONFIG SET weir-<directive> <value>, INFO weir, CLIENT LIST",
    };
    local_array(client, sizeof lines / sizeof lines[0]);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        local_bulk(client, slice_str(lines[i]));
}

void weir_command(struct client *client, const struct parsed *parsed)
{
    const struct resp_request *request = &parsed->request;
    if (!permitted(client))
        return;
    struct slice word = request->argc > 1 ? request->argv[1] : SLICE("help");
    if (slice_is(word, "cache"))
        weir_cache(client, request);
    else if (slice_is(word, "slowlog"))
        weir_slowlog(client, request);
    else if (slice_is(word, "latency"))
        weir_latency(client);
    else if (slice_is(word, "help"))
        weir_help(client);
    else
        local_unknown_subcommand(client, "WEIR", word);
}
