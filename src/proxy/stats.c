// The snapshot that INFO, /metrics and the page are made from. Any thread; counters are relaxed, so
// a snapshot is not a cut in time, only each number by itself is true.
#include "base/log.h"
#include "proxy/core.h"
#include <stdio.h>
#include <string.h>

static void add_part(struct stats *out, const char *name, uint64_t used, uint64_t total)
{
    if (out->memory_parts < STATS_MEMORY_PARTS)
        out->memory[out->memory_parts++] = (struct stats_memory_part){name, used, total};
}

static void memory_parts(struct proxy *proxy, struct stats *out)
{
    uint64_t blocks = block_pool_total(proxy->pool), free = block_pool_free(proxy->pool);
    if (proxy->cache != NULL) {
        struct cache_stats cache;
        cache_stats(proxy->cache, &cache);
        out->cache_items = cache.items;
        out->cache_item_bytes = cache.item_bytes;
        out->cache_evictions = cache.evictions;
        out->cache_compactions = cache.compactions;
        out->cache_dead_bytes = cache.bytes_dead;
        add_part(out, "cache log", cache.item_bytes + cache.bytes_dead, cache.bytes_log);
        add_part(out, "cache index", cache.bytes_index, cache.bytes_index);
        add_part(out, "cache ghosts", cache.bytes_ghost, cache.bytes_ghost);
    }
    add_part(out, "buffers", (blocks - free) * BLOCK_BYTES, blocks * BLOCK_BYTES);
    add_part(out, "threads", proxy->memory_scratch_bytes, proxy->memory_scratch_bytes);
    uint64_t arenas = 0;
    for (unsigned i = 0; i < out->memory_parts; i++)
        arenas += out->memory[i].total_bytes;
    out->rss = memory_rss(&out->rss_peak);
    add_part(out, "process", out->rss > arenas ? out->rss - arenas : 0, proxy->memory_base_bytes);
}

static const char *lane_words(enum lane_state state)
{
    return state == LANE_UP ? "up" : state == LANE_DOWN ? "down" : "connecting";
}

static void describe_node(struct node *node, unsigned db, struct stats_node *out)
{
    const struct lane *lane = &node->lanes[db];
    snprintf(out->name, sizeof out->name, "%.127s", node->name);
    snprintf(out->state, sizeof out->state, "%s", lane_words(lane->state));
    pthread_mutex_lock(&node->words);
    snprintf(out->version, sizeof out->version, "%s", node->version);
    snprintf(out->role, sizeof out->role, "%.15s", node->role);
    pthread_mutex_unlock(&node->words);
    char *space = strchr(out->role, ' ');
    if (space != NULL)
        *space = '\0';
    snprintf(out->cache_state, sizeof out->cache_state, "%s", node_cache_words(node));
    for (unsigned i = 0; i < LIMIT_DBS; i++)
        out->lanes += node->lanes[i].state == LANE_UP;
    out->in_flight = atomic_load(&node->in_flight);
    out->reconnects = atomic_load(&node->reconnects);
    uint64_t vouched_ns = atomic_load(&lane->vouched_ns), now_ns = clock_now_ns();
    out->vouched_age_ms = vouched_ns == 0 || vouched_ns > now_ns ? 0 : clock_ms(now_ns - vouched_ns);
}

static void add_worker(struct stats *out, const struct worker *worker)
{
    for (unsigned id = 0; id < METRIC_COUNT; id++)
        out->metric[id] += metric_get(&worker->metrics, id);
    histogram_merge(&out->latency_hit, &worker->latency_hit);
    histogram_merge(&out->latency_store, &worker->latency_store);
    out->thread_busy[worker->index] = atomic_load(&worker->busy_permille) / 1000.0;
    out->metric[METRIC_clients] += atomic_load(&worker->client_count);
}

void proxy_stats(struct proxy *proxy, struct stats *out)
{
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&proxy->reload_lock); // the settings stay while they are read
    const struct config *config = &atomic_load(&proxy->settings)->config;
    unsigned db = config->store.db;
    out->memory_limit = config->memory_bytes;
    snprintf(out->listen, sizeof out->listen, "%.127s", config->listen[0].address);
    pthread_mutex_unlock(&proxy->reload_lock);
    out->seq = atomic_fetch_add(&proxy->stats_seq, 1) + 1;
    out->uptime_s = (clock_now_ns() - proxy->started_ns) / 1000000000u;
    out->now_wall_us = clock_wall_us();
    snprintf(out->version, sizeof out->version, "%s", WEIR_VERSION);
    out->threads = proxy->workers;
    char why[CONFIG_TEXT];
    out->ready = proxy_ready(proxy, why);
    out->draining = atomic_load(&proxy->drain_state) != 0;
    for (unsigned i = 0; i < proxy->workers; i++)
        add_worker(out, proxy->worker[i]);
    out->nodes = proxy->nodes;
    for (unsigned i = 0; i < proxy->nodes; i++)
        describe_node(&proxy->node[i], db, &out->node[i]);
    out->node[0].requests_total = out->metric[METRIC_store_requests_total];
    snprintf(out->cache_state, sizeof out->cache_state, "%s", node_cache_words(&proxy->node[0]));
    memory_parts(proxy, out);
}

void proxy_latencies(struct proxy *proxy, void (*each)(void *context, const struct stats_latency *),
                     void *context)
{
    for (unsigned source = 0; source < LATENCY_SOURCES; source++) {
        for (unsigned id = 0; id < COMMAND_COUNT; id++) {
            struct stats_latency latency = {
                .command = command_by_id(id)->name,
                .node = source == LATENCY_CACHE ? "cache" : proxy_node(proxy)->name,
            };
            for (unsigned i = 0; i < proxy->workers; i++) {
                struct histogram *histogram = atomic_load_explicit(
                    &proxy->worker[i]->latency[source][id], memory_order_acquire);
                if (histogram != NULL)
                    histogram_merge(&latency.view, histogram);
            }
            if (latency.view.count > 0)
                each(context, &latency);
        }
    }
}

bool proxy_ready(struct proxy *proxy, char why[CONFIG_TEXT])
{
    const struct node *node = &proxy->node[0];
    why[0] = '\0';
    if (atomic_load(&proxy->drain_state) != 0) {
        snprintf(why, CONFIG_TEXT, "draining");
        return false;
    }
    for (unsigned db = 0; db < LIMIT_DBS; db++) {
        if (node->lanes[db].state == LANE_UP)
            return true;
    }
    snprintf(why, CONFIG_TEXT, "store %.200s is not reached", node->name);
    return false;
}
