#include "admin/history.h"

// Counters only grow; should one not, the page shows 0, not 2^64.
static uint64_t grown(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}

static uint64_t errors_of(const struct stats *s)
{
    return s->metric[METRIC_store_errors_total] + s->metric[METRIC_protocol_errors_total] +
           s->metric[METRIC_connections_refused_total] + s->metric[METRIC_connections_shed_total] +
           s->metric[METRIC_private_refused_total];
}

static uint64_t reads_of(const struct stats *s)
{
    return s->metric[METRIC_cache_hits_total] + s->metric[METRIC_cache_misses_total] +
           s->metric[METRIC_cache_joined_total];
}

// What was added to hits and store together since the last time.
static void fresh_latency(struct history *h, const struct stats *s, struct histogram_view *fresh)
{
    fresh->count = 0;
    for (unsigned i = 0; i < HISTOGRAM_CELLS; i++) {
        uint64_t now = s->latency_hit.cell[i] + s->latency_store.cell[i];
        fresh->cell[i] = grown(now, h->latency.cell[i]);
        fresh->count += fresh->cell[i];
        h->latency.cell[i] = now;
    }
}

static void fill_latency(struct history_sample *sample, const struct histogram_view *fresh)
{
    sample->p50_ns = histogram_quantile(fresh, .5);
    sample->p99_ns = histogram_quantile(fresh, .99);
    sample->p999_ns = histogram_quantile(fresh, .999);
    for (unsigned row = 0; row < HISTORY_ROWS; row++) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < HISTORY_CELLS; i++)
            sum += fresh->cell[row * HISTORY_CELLS + i];
        sample->heat[row] = sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
    }
}

static uint64_t rate(uint64_t *then, uint64_t now, uint64_t elapsed_ns)
{
    double seconds = (double)elapsed_ns / 1e9;
    double per_second = seconds > 0 ? (double)grown(now, *then) / seconds : 0;
    *then = now;
    return (uint64_t)(per_second + .5);
}

void history_add(struct history *h, const struct stats *s, uint64_t now_ns)
{
    struct histogram_view fresh = {0};
    bool first = h->then_ns == 0;
    uint64_t elapsed = grown(now_ns, h->then_ns);
    struct history_sample sample = {
        .wall_us = s->now_wall_us,
        .requests = rate(&h->requests, s->metric[METRIC_requests_total], elapsed),
        .reads = rate(&h->reads, reads_of(s), elapsed),
        .hits = rate(&h->hits, s->metric[METRIC_cache_hits_total], elapsed),
        .errors = rate(&h->errors, errors_of(s), elapsed),
        .clients = s->metric[METRIC_clients],
    };
    h->then_ns = now_ns;
    fresh_latency(h, s, &fresh);
    if (first)
        return;
    fill_latency(&sample, &fresh);
    sample.seq = ++h->seq;
    h->ring[sample.seq % HISTORY_SECONDS] = sample;
}

const struct history_sample *history_next(const struct history *h, uint64_t since)
{
    uint64_t oldest = h->seq > HISTORY_SECONDS ? h->seq - HISTORY_SECONDS + 1 : 1;
    uint64_t wanted = since + 1 > oldest ? since + 1 : oldest;
    return wanted <= h->seq ? &h->ring[wanted % HISTORY_SECONDS] : NULL;
}
