#pragma once
// Counters and gauges of the data path, declared once. Each worker has its own set (one writer,
// relaxed atomics); reports sum them.
#include <stdatomic.h>
#include <stdint.h>

// METRIC(name, type, help): exported as weir_NAME (Prometheus) and NAME (# Weir of INFO).
#define METRICS(METRIC)                                                                            \
    METRIC(connections_total, counter, "Client connections accepted")                              \
    METRIC(connections_refused_total, counter, "Connections refused by maxclients or protected mode") \
    METRIC(connections_shed_total, counter, "Clients closed because they did not read their replies") \
    METRIC(connections_timeout_total, counter, "Idle clients closed by timeout")                   \
    METRIC(connections_moved_total, counter, "Clients moved to another thread")                    \
    METRIC(clients, gauge, "Connected clients")                                                    \
    METRIC(clients_blocked, gauge, "Clients with a private connection")                            \
    METRIC(requests_total, counter, "Requests received")                                           \
    METRIC(protocol_errors_total, counter, "Connections closed for a protocol error")              \
    METRIC(received_bytes_total, counter, "Bytes read from clients")                               \
    METRIC(sent_bytes_total, counter, "Bytes written to clients")                                  \
    METRIC(store_requests_total, counter, "Requests sent to stores")                               \
    METRIC(store_received_bytes_total, counter, "Bytes read from stores")                          \
    METRIC(store_sent_bytes_total, counter, "Bytes written to stores")                             \
    METRIC(store_errors_total, counter, "Requests failed because the store was lost or down")      \
    METRIC(store_connects_total, counter, "Connections made to stores")                            \
    METRIC(store_retries_total, counter, "Reads sent again after a lost connection")               \
    METRIC(private_connections, gauge, "Private connections lent to clients")                      \
    METRIC(private_refused_total, counter, "Requests refused by the quota of private connections") \
    METRIC(cache_hits_total, counter, "Reads answered from the near cache")                        \
    METRIC(cache_misses_total, counter, "Cacheable reads sent to the store")                       \
    METRIC(cache_joined_total, counter, "Cacheable reads that joined a fill under way")            \
    METRIC(cache_fills_total, counter, "Replies entered into the near cache")                      \
    METRIC(cache_kills_total, counter, "Fills killed by an invalidation or a write")               \
    METRIC(cache_refused_total, counter, "Replies not cached (size, type, error, ttl, rule)")      \
    METRIC(cache_invalidations_total, counter, "Keys named by invalidation pushes")                \
    METRIC(cache_epochs_total, counter, "Whole-lane flushes")                                      \
    METRIC(cache_fences_total, counter, "Fences sent")                                             \
    METRIC(cache_stale_waits_total, counter, "Hits that waited for a fence")                       \
    METRIC(cache_reasked_total, counter, "Pipelined reads asked again, in order")                  \
    METRIC(cache_mode_changes_total, counter, "Changes between full and sampled filling")

enum metric {
#define METRIC(name, type, help) METRIC_##name,
    METRICS(METRIC)
#undef METRIC
    METRIC_COUNT
};

struct metrics {
    _Atomic uint64_t value[METRIC_COUNT];
};

static inline void metric_add(struct metrics *m, enum metric id, uint64_t n)
{
    // one writer: a plain load and store, no locked instruction
    uint64_t old = atomic_load_explicit(&m->value[id], memory_order_relaxed);
    atomic_store_explicit(&m->value[id], old + n, memory_order_relaxed);
}
static inline uint64_t metric_get(const struct metrics *m, enum metric id)
{
    return atomic_load_explicit(&m->value[id], memory_order_relaxed);
}

struct metric_info {
    const char *name, *help;
    int is_counter;
};
const struct metric_info *metric_info(enum metric id);
