// JSON for the page and for programs. Everything in struct stats is here under the same words;
// durations are in microseconds, sizes in bytes, rates per second.
//
// What a store or a client sent (versions, reasons, slow commands) need not be UTF-8, and jansson
// refuses what isn't: such bytes are shown as \xNN.
#include "admin/internal.h"
#include "observe/metrics.h"
#include <math.h>
#include <stdio.h>

static json_t *text_of(struct slice bytes)
{
    json_t *valid = json_stringn((const char *)bytes.data, bytes.size);
    if (valid)
        return valid;
    char shown[4 * SLOWLOG_ARGS_BYTES + 1];
    size_t size = 0;
    for (size_t i = 0; i < bytes.size && size + 5 <= sizeof shown; i++) {
        uint8_t c = bytes.data[i];
        if (c >= ' ' && c <= '~')
            shown[size++] = (char)c;
        else
            size += (size_t)snprintf(shown + size, 5, "\\x%02x", c);
    }
    return json_stringn(shown, size);
}

static json_t *text(const char *value)
{
    return text_of(slice_str(value));
}

static json_t *number(uint64_t value)
{
    return json_integer(value < INT64_MAX ? (json_int_t)value : INT64_MAX);
}

static json_t *real(double value)
{
    return json_real(isfinite(value) ? value : 0);
}

static json_t *micros(uint64_t ns)
{
    return real((double)ns / 1000);
}

static void put(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value);
}

static void put_latency(json_t *object, const struct histogram_view *view)
{
    put(object, "count", number(view->count));
    put(object, "sum_us", micros(view->sum_ns));
    put(object, "p50_us", micros(histogram_quantile(view, .5)));
    put(object, "p99_us", micros(histogram_quantile(view, .99)));
    put(object, "p999_us", micros(histogram_quantile(view, .999)));
    put(object, "p9999_us", micros(histogram_quantile(view, .9999)));
}

static json_t *latency_of(const struct histogram_view *view)
{
    json_t *object = json_object();
    put_latency(object, view);
    return object;
}

static json_t *metrics_of(const struct stats *s)
{
    json_t *object = json_object();
    for (enum metric id = 0; id < METRIC_COUNT; id++)
        put(object, metric_info(id)->name, number(s->metric[id]));
    return object;
}

static json_t *cache_of(const struct stats *s)
{
    json_t *object = json_object();
    put(object, "state", text(s->cache_state));
    put(object, "items", number(s->cache_items));
    put(object, "item_bytes", number(s->cache_item_bytes));
    put(object, "evictions", number(s->cache_evictions));
    put(object, "compactions", number(s->cache_compactions));
    put(object, "dead_bytes", number(s->cache_dead_bytes));
    return object;
}

static json_t *memory_of(const struct stats *s)
{
    json_t *object = json_object(), *parts = json_array();
    put(object, "limit_bytes", number(s->memory_limit));
    put(object, "rss_bytes", number(s->rss));
    put(object, "rss_peak_bytes", number(s->rss_peak));
    for (unsigned i = 0; i < s->memory_parts && i < STATS_MEMORY_PARTS; i++) {
        json_t *part = json_object();
        put(part, "name", text(s->memory[i].name));
        put(part, "used_bytes", number(s->memory[i].used_bytes));
        put(part, "total_bytes", number(s->memory[i].total_bytes));
        json_array_append_new(parts, part);
    }
    put(object, "parts", parts);
    return object;
}

static json_t *node_of(const struct stats_node *n)
{
    json_t *object = json_object();
    put(object, "name", text(n->name));
    put(object, "state", text(n->state));
    put(object, "version", text(n->version));
    put(object, "role", text(n->role));
    put(object, "cache_state", text(n->cache_state));
    put(object, "lanes", number(n->lanes));
    put(object, "in_flight", number(n->in_flight));
    put(object, "reconnects", number(n->reconnects));
    put(object, "requests_total", number(n->requests_total));
    put(object, "vouched_age_ms", number(n->vouched_age_ms));
    return object;
}

static json_t *nodes_of(const struct stats *s)
{
    json_t *array = json_array();
    for (unsigned i = 0; i < s->nodes && i < STATS_NODES; i++)
        json_array_append_new(array, node_of(&s->node[i]));
    return array;
}

static json_t *busy_of(const struct stats *s)
{
    json_t *array = json_array();
    unsigned count = sizeof s->thread_busy / sizeof s->thread_busy[0];
    for (unsigned i = 0; i < s->threads && i < count; i++)
        json_array_append_new(array, real(s->thread_busy[i]));
    return array;
}

static json_t *commands_of(const struct admin *admin)
{
    json_t *array = json_array();
    for (unsigned i = 0; i < admin->latencies; i++) {
        json_t *object = json_object();
        put(object, "command", text(admin->latency[i].command));
        put(object, "node", text(admin->latency[i].node));
        put_latency(object, &admin->latency[i].view);
        json_array_append_new(array, object);
    }
    return array;
}

// heat: row, count, row, count … of the rows that aren't empty.
static json_t *sample_of(const struct history_sample *sample)
{
    json_t *object = json_object(), *heat = json_array();
    put(object, "seq", number(sample->seq));
    put(object, "wall_us", number(sample->wall_us));
    put(object, "requests", number(sample->requests));
    put(object, "reads", number(sample->reads));
    put(object, "hits", number(sample->hits));
    put(object, "errors", number(sample->errors));
    put(object, "clients", number(sample->clients));
    put(object, "p50_us", micros(sample->p50_ns));
    put(object, "p99_us", micros(sample->p99_ns));
    put(object, "p999_us", micros(sample->p999_ns));
    for (unsigned row = 0; row < HISTORY_ROWS; row++) {
        if (sample->heat[row]) {
            json_array_append_new(heat, json_integer(row));
            json_array_append_new(heat, json_integer(sample->heat[row]));
        }
    }
    put(object, "heat", heat);
    return object;
}

static void put_history(json_t *object, struct admin *admin, uint64_t since)
{
    json_t *array = json_array();
    const struct history_sample *sample;
    pthread_mutex_lock(&admin->lock);
    if (since > admin->history.seq)
        since = 0; // a page that knew this weir before its restart
    put(object, "seq", number(admin->history.seq));
    while ((sample = history_next(&admin->history, since))) {
        json_array_append_new(array, sample_of(sample));
        since = sample->seq;
    }
    pthread_mutex_unlock(&admin->lock);
    put(object, "history", array);
}

// Upper bounds of the heat map's rows, so that the page need not know the histogram.
static json_t *heat_bounds(void)
{
    json_t *array = json_array();
    for (unsigned row = 0; row < HISTORY_ROWS; row++)
        json_array_append_new(array, micros(histogram_bound((row + 1) * HISTORY_CELLS - 1)));
    return array;
}

static double hit_ratio(const struct stats *s)
{
    uint64_t hits = s->metric[METRIC_cache_hits_total];
    uint64_t reads =
        hits + s->metric[METRIC_cache_misses_total] + s->metric[METRIC_cache_joined_total];
    return reads ? (double)hits / (double)reads : 0;
}

json_t *api_stats(struct admin *admin, uint64_t since)
{
    admin_collect(admin);
    const struct stats *s = &admin->stats;
    char why[CONFIG_TEXT] = "";
    bool ready = proxy_ready(admin->proxy, why);
    json_t *root = json_object();
    put(root, "started_wall_us", number(admin->started_wall_us));
    put(root, "snapshot", number(s->seq));
    put(root, "now_wall_us", number(s->now_wall_us));
    put(root, "uptime_s", number(s->uptime_s));
    put(root, "version", text(s->version));
    put(root, "listen", text(s->listen));
    put(root, "threads", number(s->threads));
    put(root, "thread_busy", busy_of(s));
    put(root, "ready", json_boolean(ready));
    put(root, "not_ready_because", text(ready ? "" : why));
    put(root, "draining", json_boolean(s->draining));
    put(root, "hit_ratio", real(hit_ratio(s)));
    put(root, "metrics", metrics_of(s));
    put(root, "cache", cache_of(s));
    put(root, "memory", memory_of(s));
    put(root, "nodes", nodes_of(s));
    put(root, "latency_hit", latency_of(&s->latency_hit));
    put(root, "latency_store", latency_of(&s->latency_store));
    put(root, "commands", commands_of(admin));
    if (since == 0)
        put(root, "heat_bounds_us", heat_bounds());
    put_history(root, admin, since);
    return root;
}

// ---- slow log
// ------------------------------------------------------------------------------------

// The next "$5\r\nhello\r\n" of a request that may have been cut anywhere. False at the end.
static bool next_argument(struct slice *rest, struct slice *argument)
{
    size_t at = 1, size = 0;
    if (rest->size < 4 || rest->data[0] != '$')
        return false;
    while (at < rest->size && rest->data[at] >= '0' && rest->data[at] <= '9' && size <= UINT32_MAX)
        size = size * 10 + (size_t)(rest->data[at++] - '0');
    if (at + 2 > rest->size || rest->data[at] != '\r' || rest->data[at + 1] != '\n')
        return false;
    at += 2;
    size_t there = size < rest->size - at ? size : rest->size - at;
    *argument = slice_of(rest->data + at, there);
    at += there;
    at = at + 2 < rest->size ? at + 2 : rest->size;
    *rest = slice_of(rest->data + at, rest->size - at);
    return true;
}

static bool has_password(struct slice command)
{
    static const char *const names[] = {"auth", "hello", "acl", "config", "migrate"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (slice_is(command, names[i]))
            return true;
    }
    return false;
}

static json_t *arguments_of(const struct slowlog_entry *e)
{
    json_t *array = json_array();
    struct slice frame = slice_of(e->args, e->args_size <= sizeof e->args ? e->args_size : 0);
    const uint8_t *line = frame.size ? memchr(frame.data, '\n', frame.size) : NULL;
    if (frame.size == 0 || frame.data[0] != '*' || !line) { // inline, or no more than a header
        json_array_append_new(array, text_of(frame));
        return array;
    }
    struct slice rest = slice_of(line + 1, frame.size - (size_t)(line + 1 - frame.data));
    struct slice argument;
    bool hidden = false;
    while (next_argument(&rest, &argument)) {
        bool first = json_array_size(array) == 0;
        json_array_append_new(array, hidden ? text("***") : text_of(argument));
        if (first)
            hidden = has_password(argument);
    }
    return array;
}

json_t *api_slowlog(struct admin *admin)
{
    struct slowlog *log = proxy_slowlog(admin->proxy);
    unsigned count = log ? slowlog_get(log, admin->slow, SLOWLOG_ENTRIES) : 0;
    json_t *root = json_object(), *array = json_array();
    for (unsigned i = 0; i < count; i++) {
        const struct slowlog_entry *e = &admin->slow[i];
        json_t *object = json_object();
        put(object, "id", number(e->id));
        put(object, "wall_us", number(e->wall_us));
        put(object, "duration_us", number(e->duration_us));
        put(object, "argc", number(e->argc));
        put(object, "args", arguments_of(e));
        put(object, "client", text(e->client));
        put(object, "name", text(e->name));
        put(object, "where", text(e->where));
        json_array_append_new(array, object);
    }
    put(root, "entries", array);
    return root;
}

// ---- configuration
// -------------------------------------------------------------------------------

json_t *api_config(struct admin *admin)
{
    unsigned count = 0;
    const struct config_directive *directives = config_directives(&count);
    json_t *root = json_object(), *array = json_array();
    proxy_config(admin->proxy, &admin->config);
    put(root, "file", text(admin->config.file));
    for (unsigned i = 0; i < count; i++) {
        char value[4096];
        if (config_get(&admin->config, directives[i].name, value, sizeof value) != 0)
            continue;
        json_t *object = json_object();
        put(object, "name", text(directives[i].name));
        put(object, "value", text(value));
        put(object, "live", json_boolean(directives[i].live));
        put(object, "doc", text(directives[i].doc));
        json_array_append_new(array, object);
    }
    put(root, "directives", array);
    return root;
}
