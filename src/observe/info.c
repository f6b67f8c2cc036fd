// The "# Weir" section that is added to the store's INFO. Names don't clash with Redis's own, since
// client libraries read all sections into one map.
#include "observe/render.h"
#include "observe/stats.h"
#include <inttypes.h>
#include <string.h>

enum { INFO_BYTES = 8192, VALUE_BYTES = STATS_TEXT };

// Part of what a value says comes from the store's own words: it must not end the line, and in a
// list of name=value it must not look like the next one.
static const char *plain(char out[VALUE_BYTES], const char *value)
{
    size_t i = 0;
    for (; value[i] && i < VALUE_BYTES - 1; i++) {
        unsigned char c = (unsigned char)value[i];
        out[i] = c < ' ' || c == 0x7f ? ' ' : c == ',' ? ';' : c == '=' ? ':' : (char)c;
    }
    out[i] = 0;
    return out;
}

// "cache log" -> "cache_log"
static const char *word(char out[VALUE_BYTES], const char *name)
{
    plain(out, name);
    for (char *c = out; *c; c++) {
        if (*c == ' ' || *c == ':')
            *c = '_';
    }
    return out;
}

static double ratio(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

// Of the reads that the cache could have answered, the share it did; a read that joined a fill
// under way went without a request of its own but not without the store.
static double hit_ratio(const struct stats *s)
{
    uint64_t hits = s->metric[METRIC_cache_hits_total];
    return ratio(hits, hits + s->metric[METRIC_cache_misses_total] +
                           s->metric[METRIC_cache_joined_total]);
}

static void add_identity(struct render *t, const struct stats *s)
{
    char value[VALUE_BYTES];
    render_add(t, "# Weir\r\nweir_version:%s\r\n", plain(value, s->version));
    render_add(t, "weir_uptime_in_seconds:%" PRIu64 "\r\n", s->uptime_s);
    render_add(t, "listen:%s\r\n", plain(value, s->listen));
    render_add(t, "ready:%d\r\ndraining:%d\r\nthreads:%u\r\n", s->ready, s->draining, s->threads);
    render_add(t, "thread_busy:");
    unsigned count = sizeof s->thread_busy / sizeof s->thread_busy[0];
    for (unsigned i = 0; i < s->threads && i < count; i++)
        render_add(t, "%s%.2f", i ? "," : "", s->thread_busy[i]);
    render_add(t, "\r\n");
}

static void add_metrics(struct render *t, const struct stats *s)
{
    for (enum metric id = 0; id < METRIC_COUNT; id++)
        render_add(t, "%s:%" PRIu64 "\r\n", metric_info(id)->name, s->metric[id]);
}

static void add_cache(struct render *t, const struct stats *s)
{
    char value[VALUE_BYTES];
    render_add(t, "hit_ratio:%.4f\r\n", hit_ratio(s));
    render_add(t, "cache_state:%s\r\n", plain(value, s->cache_state));
    render_add(t, "cache_items:%" PRIu64 "\r\ncache_item_bytes:%" PRIu64 "\r\n", s->cache_items,
               s->cache_item_bytes);
    render_add(t, "cache_evictions:%" PRIu64 "\r\ncache_compactions:%" PRIu64 "\r\n",
               s->cache_evictions, s->cache_compactions);
    render_add(t, "cache_dead_bytes:%" PRIu64 "\r\n", s->cache_dead_bytes);
}

static void add_latency(struct render *t, const char *name, const struct histogram_view *view)
{
    static const struct {
        const char *name;
        double share;
    } points[] = {{"p50", .5}, {"p99", .99}, {"p999", .999}, {"p9999", .9999}};
    render_add(t, "%s:", name);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++)
        render_add(t, "%s=%.1f,", points[i].name,
                   (double)histogram_quantile(view, points[i].share) / 1000);
    render_add(t, "count=%" PRIu64 "\r\n", view->count);
}

static void add_memory(struct render *t, const struct stats *s)
{
    render_add(t, "memory_limit:%" PRIu64 "\r\nrss:%" PRIu64 "\r\nrss_peak:%" PRIu64 "\r\n",
               s->memory_limit, s->rss, s->rss_peak);
    for (unsigned i = 0; i < s->memory_parts && i < STATS_MEMORY_PARTS; i++) {
        char name[VALUE_BYTES];
        render_add(t, "memory_%s:used=%" PRIu64 ",total=%" PRIu64 "\r\n",
                   word(name, s->memory[i].name), s->memory[i].used_bytes,
                   s->memory[i].total_bytes);
    }
}

static void add_node(struct render *t, unsigned index, const struct stats_node *n)
{
    char name[VALUE_BYTES], state[VALUE_BYTES], cache[VALUE_BYTES], version[VALUE_BYTES],
        role[VALUE_BYTES];
    render_add(t, "node%u:name=%s,state=%s,cache=%s,version=%s,role=%s", index,
               plain(name, n->name), plain(state, n->state), plain(cache, n->cache_state),
               plain(version, n->version), plain(role, n->role));
    render_add(t, ",lanes=%" PRIu64 ",in_flight=%" PRIu64 ",reconnects=%" PRIu64, n->lanes,
               n->in_flight, n->reconnects);
    render_add(t, ",requests=%" PRIu64 ",vouched_age_ms=%" PRIu64 "\r\n", n->requests_total,
               n->vouched_age_ms);
}

// Cut at a line's end, so that a reader sees fewer nodes and never half a number.
static size_t whole_lines(const struct render *t)
{
    if (t->needed < t->room)
        return t->needed;
    size_t end = t->room ? t->room - 1 : 0;
    while (end > 0 && t->out[end - 1] != '\n')
        end--;
    return end;
}

size_t stats_render_info(const struct stats *stats, char *out, size_t room)
{
    struct render t = {.out = out, .room = room < INFO_BYTES ? room : INFO_BYTES};
    add_identity(&t, stats);
    add_metrics(&t, stats);
    add_cache(&t, stats);
    add_latency(&t, "latency_hit_usec", &stats->latency_hit);
    add_latency(&t, "latency_store_usec", &stats->latency_store);
    add_memory(&t, stats);
    render_add(&t, "nodes:%u\r\n", stats->nodes);
    for (unsigned i = 0; i < stats->nodes && i < STATS_NODES; i++)
        add_node(&t, i, &stats->node[i]);
    return whole_lines(&t);
}
