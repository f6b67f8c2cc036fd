// JSON for the page and for programs. Everything in struct stats is here under the same words;
// durations are in microseconds, sizes in bytes, rates per second.
//
//   {…stats, "commands": [latency by command and node], "seq": 41, "history": [{"seq": 41, …}]}
//
// A page asks with the last seq it has and gets the seconds it lacks, so a hidden tab or a lost
// answer leaves no gap. The whole is bounded: nodes, commands and seconds each have a cap, and the
// worst of all together fits an answer buffer (a test builds it). Alternatives rejected: a stream
// of events (a connection held for each page; a poll survives restarts by itself); rates computed
// here for each command (the page knows how long its own window is).
#include "admin/internal.h"
#include "admin/tree.h"
#include "observe/metrics.h"

static void put_latency(json_t *object, const struct histogram_view *view)
{
    tree_put(object, "count", tree_number(view->count));
    tree_put(object, "sum_us", tree_micros(view->sum_ns));
    tree_put(object, "p50_us", tree_micros(histogram_quantile(view, .5)));
    tree_put(object, "p99_us", tree_micros(histogram_quantile(view, .99)));
    tree_put(object, "p999_us", tree_micros(histogram_quantile(view, .999)));
    tree_put(object, "p9999_us", tree_micros(histogram_quantile(view, .9999)));
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
        tree_put(object, metric_info(id)->name, tree_number(s->metric[id]));
    return object;
}

static json_t *cache_of(const struct stats *s)
{
    json_t *object = json_object();
    tree_put(object, "state", tree_text(s->cache_state));
    tree_put(object, "items", tree_number(s->cache_items));
    tree_put(object, "item_bytes", tree_number(s->cache_item_bytes));
    tree_put(object, "evictions", tree_number(s->cache_evictions));
    tree_put(object, "compactions", tree_number(s->cache_compactions));
    tree_put(object, "dead_bytes", tree_number(s->cache_dead_bytes));
    return object;
}

static json_t *memory_of(const struct stats *s)
{
    json_t *object = json_object(), *parts = json_array();
    tree_put(object, "limit_bytes", tree_number(s->memory_limit));
    tree_put(object, "rss_bytes", tree_number(s->rss));
    tree_put(object, "rss_peak_bytes", tree_number(s->rss_peak));
    for (unsigned i = 0; i < s->memory_parts && i < STATS_MEMORY_PARTS; i++) {
        json_t *part = json_object();
        tree_put(part, "name", tree_text(s->memory[i].name));
        tree_put(part, "used_bytes", tree_number(s->memory[i].used_bytes));
        tree_put(part, "total_bytes", tree_number(s->memory[i].total_bytes));
        json_array_append_new(parts, part);
    }
    tree_put(object, "parts", parts);
    return object;
}

static json_t *node_of(const struct stats_node *n)
{
    json_t *object = json_object();
    tree_put(object, "name", tree_text(n->name));
    tree_put(object, "state", tree_text(n->state));
    tree_put(object, "version", tree_text(n->version));
    tree_put(object, "role", tree_text(n->role));
    tree_put(object, "cache_state", tree_text(n->cache_state));
    tree_put(object, "lanes", tree_number(n->lanes));
    tree_put(object, "in_flight", tree_number(n->in_flight));
    tree_put(object, "reconnects", tree_number(n->reconnects));
    tree_put(object, "requests_total", tree_number(n->requests_total));
    tree_put(object, "vouched_age_ms", tree_number(n->vouched_age_ms));
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
        json_array_append_new(array, tree_real(s->thread_busy[i]));
    return array;
}

static json_t *commands_of(const struct admin *admin)
{
    json_t *array = json_array();
    for (unsigned i = 0; i < admin->latencies; i++) {
        json_t *object = json_object();
        tree_put(object, "command", tree_text(admin->latency[i].command));
        tree_put(object, "node", tree_text(admin->latency[i].node));
        put_latency(object, &admin->latency[i].view);
        json_array_append_new(array, object);
    }
    return array;
}

// heat: row, count, row, count … of the rows that aren't empty.
static json_t *sample_of(const struct history_sample *sample)
{
    json_t *object = json_object(), *heat = json_array();
    tree_put(object, "seq", tree_number(sample->seq));
    tree_put(object, "wall_us", tree_number(sample->wall_us));
    tree_put(object, "requests", tree_number(sample->requests));
    tree_put(object, "reads", tree_number(sample->reads));
    tree_put(object, "hits", tree_number(sample->hits));
    tree_put(object, "errors", tree_number(sample->errors));
    tree_put(object, "clients", tree_number(sample->clients));
    tree_put(object, "p50_us", tree_micros(sample->p50_ns));
    tree_put(object, "p99_us", tree_micros(sample->p99_ns));
    tree_put(object, "p999_us", tree_micros(sample->p999_ns));
    for (unsigned row = 0; row < HISTORY_ROWS; row++) {
        if (sample->heat[row]) {
            json_array_append_new(heat, json_integer(row));
            json_array_append_new(heat, json_integer(sample->heat[row]));
        }
    }
    tree_put(object, "heat", heat);
    return object;
}

static void put_history(json_t *object, struct admin *admin, uint64_t since)
{
    json_t *array = json_array();
    const struct history_sample *sample;
    pthread_mutex_lock(&admin->lock);
    if (since > admin->history.seq)
        since = 0; // a page that knew this weir before its restart
    tree_put(object, "seq", tree_number(admin->history.seq));
    while ((sample = history_next(&admin->history, since))) {
        json_array_append_new(array, sample_of(sample));
        since = sample->seq;
    }
    pthread_mutex_unlock(&admin->lock);
    tree_put(object, "history", array);
}

// Upper bounds of the heat map's rows, so that the page need not know the histogram.
static json_t *heat_bounds(void)
{
    json_t *array = json_array();
    for (unsigned row = 0; row < HISTORY_ROWS; row++)
        json_array_append_new(array, tree_micros(histogram_bound((row + 1) * HISTORY_CELLS - 1)));
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
    tree_put(root, "started_wall_us", tree_number(admin->started_wall_us));
    tree_put(root, "snapshot", tree_number(s->seq));
    tree_put(root, "now_wall_us", tree_number(s->now_wall_us));
    tree_put(root, "uptime_s", tree_number(s->uptime_s));
    tree_put(root, "version", tree_text(s->version));
    tree_put(root, "listen", tree_text(s->listen));
    tree_put(root, "threads", tree_number(s->threads));
    tree_put(root, "thread_busy", busy_of(s));
    tree_put(root, "ready", json_boolean(ready));
    tree_put(root, "not_ready_because", tree_text(ready ? "" : why));
    tree_put(root, "draining", json_boolean(s->draining));
    tree_put(root, "hit_ratio", tree_real(hit_ratio(s)));
    tree_put(root, "metrics", metrics_of(s));
    tree_put(root, "cache", cache_of(s));
    tree_put(root, "memory", memory_of(s));
    tree_put(root, "nodes", nodes_of(s));
    tree_put(root, "latency_hit", latency_of(&s->latency_hit));
    tree_put(root, "latency_store", latency_of(&s->latency_store));
    tree_put(root, "commands", commands_of(admin));
    if (since == 0)
        tree_put(root, "heat_bounds_us", heat_bounds());
    put_history(root, admin, since);
    return root;
}
