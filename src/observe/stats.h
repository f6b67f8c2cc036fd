#pragma once
// One plain snapshot of everything weir can say about itself. proxy/stats.c fills it; the renderers
// here turn it into the # Weir section of INFO and Prometheus text; admin/ turns it into JSON.
#include "observe/histogram.h"
#include "observe/metrics.h"
#include <stdbool.h>
#include <stddef.h>

enum { STATS_NODES = 64, STATS_MEMORY_PARTS = 12, STATS_TEXT = 128 };

struct stats_memory_part {
    const char *name; // "cache log", "cache index", "buffers", "stacks", "control", …
    uint64_t used_bytes, total_bytes;
};

struct stats_node {
    char name[STATS_TEXT];     // "127.0.0.1:6379"
    char state[32];            // "up", "connecting", "down"
    char version[32], role[16];
    char cache_state[STATS_TEXT]; // "on", "sampling: …", "off: the reason in words"
    uint64_t lanes, in_flight, reconnects, requests_total;
    uint64_t vouched_age_ms;   // of db 0's lane
};

struct stats_latency { // of one command on one node ("cache" for hits), summed over workers
    const char *command;
    const char *node;
    struct histogram_view view;
};

struct stats {
    uint64_t seq, uptime_s, now_wall_us;
    char version[32], listen[STATS_TEXT];
    unsigned threads;
    bool ready; // a store is up and the listeners are open
    bool draining;
    uint64_t metric[METRIC_COUNT];
    // cache
    char cache_state[STATS_TEXT]; // "on" or "off: reason"
    uint64_t cache_items, cache_item_bytes, cache_evictions, cache_compactions, cache_dead_bytes;
    // memory
    uint64_t memory_limit, rss, rss_peak;
    unsigned memory_parts;
    struct stats_memory_part memory[STATS_MEMORY_PARTS];
    unsigned nodes;
    struct stats_node node[STATS_NODES];
    // latency of all commands together, by where they were answered
    struct histogram_view latency_hit, latency_store;
    double thread_busy[64]; // share of the last second each worker was not waiting
};

// "# Weir\r\n" and "name:value\r\n" lines. Returns bytes written (never more than room), at most 8 KiB.
size_t stats_render_info(const struct stats *stats, char *out, size_t room);
// Prometheus text exposition 0.0.4. `latency` has `count` entries. Returns bytes needed (as snprintf).
size_t stats_render_prometheus(const struct stats *stats, const struct stats_latency *latency,
                               size_t count, char *out, size_t room);
