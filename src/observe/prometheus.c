// Prometheus text exposition 0.0.4: every family once, HELP and TYPE before its samples, base
// units. Numbers of seconds are written from integers, so that no locale and no rounding touches
// them.
#include "observe/render.h"
#include "observe/stats.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_BYTES = 3 * STATS_TEXT + 1 };

// Quotes, backslashes and newlines as the format wants them; bytes outside of ASCII as %XX, because
// one that isn't UTF-8 would spoil the whole scrape.
static const char *label(char out[LABEL_BYTES], const char *value)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t size = 0;
    for (; *value && size + 4 <= LABEL_BYTES; value++) {
        unsigned char c = (unsigned char)*value;
        if (c == '\n' || c == '"' || c == '\\') {
            out[size++] = '\\';
            out[size++] = c == '\n' ? 'n' : (char)c;
        } else if (c < ' ' || c > '~') {
            out[size++] = '%';
            out[size++] = hex[c >> 4];
            out[size++] = hex[c & 15];
        } else {
            out[size++] = (char)c;
        }
    }
    out[size] = 0;
    return out;
}

static void family(struct render *t, const char *name, const char *type, const char *help)
{
    render_add(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(struct render *t, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    family(t, name, type, help);
    render_add(t, "%s %" PRIu64 "\n", name, value);
}

static void add_process(struct render *t, const struct stats *s)
{
    char version[LABEL_BYTES];
    family(t, "weir_build_info", "gauge", "Always 1; the version is a label");
    render_add(t, "weir_build_info{version=\"%s\"} 1\n", label(version, s->version));
    single(t, "weir_uptime_seconds", "gauge", "Seconds since start", s->uptime_s);
    single(t, "weir_ready", "gauge", "1 when a store is up and the listeners are open", s->ready);
    single(t, "weir_draining", "gauge", "1 while clients are sent away before the end",
           s->draining);
    single(t, "weir_threads", "gauge", "Worker threads", s->threads);
    family(t, "weir_thread_busy_ratio", "gauge",
           "Share of the last second that a worker thread was not waiting");
    unsigned count = sizeof s->thread_busy / sizeof s->thread_busy[0];
    for (unsigned i = 0; i < s->threads && i < count; i++)
        render_add(t, "weir_thread_busy_ratio{thread=\"%u\"} %.4f\n", i, s->thread_busy[i]);
}

static void add_metrics(struct render *t, const struct stats *s)
{
    for (enum metric id = 0; id < METRIC_COUNT; id++) {
        const struct metric_info *info = metric_info(id);
        char name[64] = "weir_";
        strncat(name, info->name, sizeof name - sizeof "weir_");
        single(t, name, info->is_counter ? "counter" : "gauge", info->help, s->metric[id]);
    }
}

static void add_cache(struct render *t, const struct stats *s)
{
    single(t, "weir_cache_on", "gauge", "1 when reads may be answered from the near cache",
           strncmp(s->cache_state, "off", 3) != 0);
    single(t, "weir_cache_items", "gauge", "Entries in the near cache", s->cache_items);
    single(t, "weir_cache_item_bytes", "gauge", "Bytes of keys and values in the near cache",
           s->cache_item_bytes);
    single(t, "weir_cache_dead_bytes", "gauge", "Bytes of dropped entries not yet reclaimed",
           s->cache_dead_bytes);
    single(t, "weir_cache_evictions_total", "counter", "Entries evicted for want of room",
           s->cache_evictions);
    single(t, "weir_cache_compactions_total", "counter", "Segments compacted to reclaim dead bytes",
           s->cache_compactions);
}

static void add_memory(struct render *t, const struct stats *s)
{
    single(t, "weir_memory_limit_bytes", "gauge", "The limit on the process's memory",
           s->memory_limit);
    single(t, "weir_resident_memory_bytes", "gauge", "Resident memory of the process", s->rss);
    single(t, "weir_resident_memory_peak_bytes", "gauge", "Highest resident memory so far",
           s->rss_peak);
    family(t, "weir_memory_bytes", "gauge", "Memory by part: set aside (total) and in use (used)");
    for (unsigned i = 0; i < s->memory_parts && i < STATS_MEMORY_PARTS; i++) {
        char part[LABEL_BYTES];
        label(part, s->memory[i].name);
        render_add(t, "weir_memory_bytes{part=\"%s\",kind=\"used\"} %" PRIu64 "\n", part,
                   s->memory[i].used_bytes);
        render_add(t, "weir_memory_bytes{part=\"%s\",kind=\"total\"} %" PRIu64 "\n", part,
                   s->memory[i].total_bytes);
    }
}

static uint64_t node_up(const struct stats_node *n)
{
    return strcmp(n->state, "up") == 0;
}
static uint64_t node_cache_on(const struct stats_node *n)
{
    return strncmp(n->cache_state, "off", 3) != 0;
}
static uint64_t node_lanes(const struct stats_node *n)
{
    return n->lanes;
}
static uint64_t node_in_flight(const struct stats_node *n)
{
    return n->in_flight;
}
static uint64_t node_reconnects(const struct stats_node *n)
{
    return n->reconnects;
}
static uint64_t node_requests(const struct stats_node *n)
{
    return n->requests_total;
}

static void add_node_info(struct render *t, const struct stats *s)
{
    family(t, "weir_node_info", "gauge", "Always 1; what a node said about itself, as labels");
    for (unsigned i = 0; i < s->nodes && i < STATS_NODES; i++) {
        char name[LABEL_BYTES], version[LABEL_BYTES], role[LABEL_BYTES];
        render_add(t, "weir_node_info{node=\"%s\",version=\"%s\",role=\"%s\"} 1\n",
                   label(name, s->node[i].name), label(version, s->node[i].version),
                   label(role, s->node[i].role));
    }
    family(t, "weir_node_vouched_age_seconds", "gauge",
           "Time since the newest answered request that vouches for cached entries");
    for (unsigned i = 0; i < s->nodes && i < STATS_NODES; i++) {
        char name[LABEL_BYTES];
        uint64_t ms = s->node[i].vouched_age_ms;
        render_add(t, "weir_node_vouched_age_seconds{node=\"%s\"} %" PRIu64 ".%03u\n",
                   label(name, s->node[i].name), ms / 1000, (unsigned)(ms % 1000));
    }
}

static void add_nodes(struct render *t, const struct stats *s)
{
    static const struct {
        const char *name, *type, *help;
        uint64_t (*value)(const struct stats_node *);
    } table[] = {
        {"weir_node_up", "gauge", "1 when the node answers", node_up},
        {"weir_node_cache_on", "gauge", "1 when the node's keys may be cached", node_cache_on},
        {"weir_node_lanes", "gauge", "Shared connections to the node", node_lanes},
        {"weir_node_in_flight", "gauge", "Requests sent to the node, not answered", node_in_flight},
        {"weir_node_reconnects_total", "counter", "Connections made again", node_reconnects},
        {"weir_node_requests_total", "counter", "Requests sent to the node", node_requests},
    };
    add_node_info(t, s);
    for (size_t f = 0; f < sizeof table / sizeof table[0]; f++) {
        family(t, table[f].name, table[f].type, table[f].help);
        for (unsigned i = 0; i < s->nodes && i < STATS_NODES; i++) {
            char name[LABEL_BYTES];
            render_add(t, "%s{node=\"%s\"} %" PRIu64 "\n", table[f].name,
                       label(name, s->node[i].name), table[f].value(&s->node[i]));
        }
    }
}

// Buckets end at powers of two, which are exact bounds of the histogram's cells: each up to 8 ms,
// where the answers lie, then each second one up to 34 s.
static bool is_bucket(unsigned bits)
{
    return bits <= 23 || (bits <= 35 && bits % 2 == 1);
}

static void add_bucket(struct render *t, const char *labels, uint64_t bound_ns, uint64_t below)
{
    render_add(t, "weir_command_duration_seconds_bucket{%s,le=\"%" PRIu64 ".%09" PRIu64 "\"} ",
               labels, bound_ns / 1000000000, bound_ns % 1000000000);
    render_add(t, "%" PRIu64 "\n", below);
}

static void add_latency(struct render *t, const struct stats_latency *l)
{
    char command[LABEL_BYTES], node[LABEL_BYTES], labels[2 * LABEL_BYTES + 32];
    snprintf(labels, sizeof labels, "command=\"%s\",node=\"%s\"", label(command, l->command),
             label(node, l->node));
    uint64_t below = 0;
    unsigned bits = 10;
    for (unsigned i = 0; i < HISTOGRAM_CELLS; i++) {
        below += l->view.cell[i];
        if (histogram_bound(i) != (uint64_t)1 << bits)
            continue;
        if (is_bucket(bits))
            add_bucket(t, labels, histogram_bound(i), below);
        bits++;
    }
    static const char name[] = "weir_command_duration_seconds";
    render_add(t, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, labels, below);
    render_add(t, "%s_sum{%s} %" PRIu64 ".%09" PRIu64 "\n", name, labels,
               l->view.sum_ns / 1000000000, l->view.sum_ns % 1000000000);
    render_add(t, "%s_count{%s} %" PRIu64 "\n", name, labels, below);
}

size_t stats_render_prometheus(const struct stats *stats, const struct stats_latency *latency,
                               size_t count, char *out, size_t room)
{
    struct render t = {.out = out, .room = room};
    add_process(&t, stats);
    add_metrics(&t, stats);
    add_cache(&t, stats);
    add_memory(&t, stats);
    add_nodes(&t, stats);
    family(&t, "weir_command_duration_seconds", "histogram",
           "Time from a request's arrival to its answer, by command and node (cache: hits)");
    for (size_t i = 0; i < count; i++)
        add_latency(&t, &latency[i]);
    return t.needed;
}
