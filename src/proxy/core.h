#pragma once
// What the parts of the proxy share: the proxy itself. Internal to proxy/.
#include "base/block.h"
#include "cache/cache.h"
#include "proxy/listener.h"
#include "proxy/node.h"
#include "proxy/proxy.h"
#include "proxy/settings.h"
#include "proxy/worker.h"
#include <pthread.h>

struct proxy {
    _Atomic(const struct settings *) settings; // published; workers take it once per round
    const struct settings *retired;            // a list: freed when no worker holds them any more
    pthread_mutex_t reload_lock;
    struct cache *cache; // NULL when there is none
    _Atomic uint64_t cache_log_bytes; // what its logs hold, for the sampling estimate
    struct block_pool *pool;
    struct slowlog *slowlog;
    unsigned workers;
    struct worker *worker[LIMIT_WORKERS];
    pthread_t thread[LIMIT_WORKERS];
    bool threaded;
    unsigned nodes;
    struct node *node; // one for now: a standalone store
    unsigned listeners;
    struct listener listener[CONFIG_LISTENERS];
    _Atomic uint32_t epoch; // the newest stamp given out; floors are raised to epoch + 1
    _Atomic uint64_t next_client_id;
    _Atomic uint32_t clients;
    _Atomic uint32_t drain_state; // 0 serving, 1 draining, 2 stopping
    _Atomic uint64_t drain_deadline_ns;
    uint64_t started_ns;
    _Atomic uint64_t stats_seq;
    uint64_t memory_base_bytes; // what is neither cache, buffers nor scratch: code, stacks, control
    uint64_t memory_buffers_bytes, memory_scratch_bytes;
};

// The node that owns a key (or serves keyless commands). One for now.
static inline struct node *proxy_node(struct proxy *proxy)
{
    return &proxy->node[0];
}

// Splits `memory` into its parts; 0 or WEIR_ERANGE with what would do in `error`.
int memory_plan(struct proxy *proxy, const struct config *config, uint64_t *cache_bytes,
                char error[CONFIG_ERROR]);
// What the cache may have when `memory` becomes `bytes`, the other parts being fixed; 0: too small.
uint64_t memory_cache_share(const struct proxy *proxy, uint64_t bytes);
uint64_t memory_rss(uint64_t *peak);
