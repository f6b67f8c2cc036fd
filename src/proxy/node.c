// A node: lanes, fences, invalidation, and the choice between filling everything and sampling.
//
// Fence. Waiters collect during a round; at its end one ROLE goes out on every lane that is up, and
// they are released when all have been answered: then every push that the store sent before has been
// taken. A lane that is lost needs no answer, for its epoch has ended.
//
// Sampling. A fill costs the store about as much again as the read. Where reads don't come back that
// is pure loss, so a node whose hit ratio stays low although the cache has been full changes its
// lanes to OPTIN and fills one key in SAMPLE_ONE_IN, chosen by hash. The sample is a cache of its own
// in small: the hit ratio it would have in its share of the memory is an estimate of what the whole
// would have, and when it is good the lanes change back.
#include "proxy/node.h"
#include "base/err.h"
#include "base/log.h"
#include "proxy/core.h"
#include <stdio.h>

enum { // admission, in percent and lookups
    SAMPLE_BELOW_PERCENT = 35,
    FILL_ABOVE_PERCENT = 45,
    FULL_WINDOW = 8192,
    SAMPLED_WINDOW = 1024,
};

void node_init(struct node *node, struct proxy *proxy, struct worker *home,
               const struct config_store *store)
{
    node->proxy = proxy;
    node->home = home;
    net_address_parse(&node->address, store->address, 6379);
    net_address_format(&node->address, node->name, sizeof node->name);
    memcpy(node->user, store->user, sizeof node->user);
    memcpy(node->password, store->password, sizeof node->password);
    for (unsigned db = 0; db < LIMIT_DBS; db++)
        lane_init(&node->lanes[db], node, (uint8_t)db);
    atomic_store(&node->cache_state, NODE_CACHE_WAIT);
    pthread_mutex_init(&node->words, NULL);
}

void node_deinit(struct node *node)
{
    for (unsigned db = 0; db < LIMIT_DBS; db++)
        lane_deinit(&node->lanes[db]);
    pthread_mutex_destroy(&node->words);
}

void node_accept(struct node *node, struct request *request)
{
    if (request->state == REQUEST_FENCE) {
        if (request->flags & REQUEST_FLUSH)
            node_flush_epoch(node);
        node_fence(node, request);
    }
    else
        lane_accept(request->lane, request);
}

const char *node_cache_words(const struct node *node)
{
    switch (atomic_load(&node->cache_state)) {
    case NODE_CACHE_WAIT:
        return "waiting: the store has not been reached yet";
    case NODE_CACHE_ON:
        return atomic_load(&node->mode) == NODE_SAMPLED
                   ? "sampling: reads rarely repeat, so one key in 32 is cached to notice a change"
                   : "on";
    case NODE_CACHE_OFF_CONFIG:
        return "off: by configuration";
    case NODE_CACHE_OFF_VERSION:
        return "off: the store is older than 7.0.5, so its invalidations can't be relied on";
    case NODE_CACHE_OFF_FORBIDDEN:
        return "off: the store's ACL forbids CLIENT TRACKING or ROLE to weir's user";
    }
    return "off";
}

// ---- invalidation --------------------------------------------------------------------------------

void node_invalidate_key(struct node *node, uint64_t hash)
{
    if (node->proxy->cache == NULL)
        return;
    fill_kill(&node->fills, hash);
    cache_delete(node->proxy->cache, hash);
}

void node_invalidate(struct node *node, const struct request *request)
{
    if (request->flags & REQUEST_FLUSH)
        node_flush_epoch(node);
    if (request->key_count == 1 && request->hashes == NULL)
        node_invalidate_key(node, request->hash);
    else
        for (unsigned i = 0; i < request->key_count; i++)
            node_invalidate_key(node, request->hashes[i]);
}

// Stamps are 32 bits. Before they run out everything stored goes, and they begin again.
static uint32_t next_epoch(struct proxy *proxy)
{
    uint32_t epoch = atomic_fetch_add(&proxy->epoch, 1) + 1;
    if (epoch < UINT32_MAX - 1)
        return epoch;
    cache_sweep(proxy->cache, UINT32_MAX);
    atomic_store(&proxy->epoch, 1);
    return 1;
}

void node_flush_epoch(struct node *node)
{
    if (node->proxy->cache == NULL)
        return;
    uint32_t epoch = next_epoch(node->proxy);
    for (unsigned db = 0; db < LIMIT_DBS; db++) {
        if (atomic_load(&node->lanes[db].floor) != UINT32_MAX)
            atomic_store(&node->lanes[db].floor, epoch);
    }
    fill_kill_all(&node->fills);
    worker_count(node->home, METRIC_cache_epochs_total, 1);
}

// ---- fences --------------------------------------------------------------------------------------

void node_fence(struct node *node, struct request *waiter)
{
    struct worker *home = node->home;
    if (node->fence_next == NULL) {
        node->fence_next = slab_borrow(&home->fill_slab);
        if (node->fence_next == NULL) {
            if (waiter != NULL)
                request_fail(home, waiter, "-ERR weir: out of buffer memory, not applied\r\n");
            return;
        }
    }
    if (waiter != NULL) {
        waiter->lane_next = node->fence_next->waiters;
        node->fence_next->waiters = waiter;
    }
}

void node_fence_answered(struct node *node, struct fence *fence)
{
    if (--fence->left > 0)
        return;
    struct request *waiter = fence->waiters;
    slab_return(&node->home->fill_slab, fence);
    while (waiter != NULL) {
        struct request *next = waiter->lane_next;
        request_return(node->home, waiter);
        waiter = next;
    }
}

static void send_fence(struct node *node)
{
    struct fence *fence = node->fence_next;
    if (fence == NULL)
        return;
    node->fence_next = NULL;
    fence->left = 1; // ours, so that it can't be released while lanes are still being asked
    for (unsigned db = 0; db < LIMIT_DBS; db++) {
        struct lane *lane = &node->lanes[db];
        if (lane->state != LANE_UP || !lane->tracking)
            continue;
        fence->left++;
        if (lane_ask_role(lane, fence) != 0) {
            fence->left--;
            lane_lost(lane, "out of buffer memory");
        }
    }
    worker_count(node->home, METRIC_cache_fences_total, 1);
    node_fence_answered(node, fence);
}

void node_flush(struct node *node)
{
    send_fence(node);
    while (node->dirty_lanes != 0) {
        unsigned db = (unsigned)__builtin_ctz(node->dirty_lanes);
        node->dirty_lanes &= node->dirty_lanes - 1;
        lane_flush(&node->lanes[db]);
    }
}

// ---- each 100 ms ---------------------------------------------------------------------------------

static void set_mode(struct node *node, enum node_mode mode, unsigned percent)
{
    log_write(LOG_INFO, "near cache", "node=%s mode=%s hit_percent=%u", node->name,
              mode == NODE_SAMPLED ? "sampled" : "full", percent);
    worker_count(node->home, METRIC_cache_mode_changes_total, 1);
    node_flush_epoch(node);
    atomic_store(&node->mode, mode);
    node->filled_bytes = 0;
    for (unsigned db = 0; db < LIMIT_DBS; db++)
        lane_track(&node->lanes[db]);
}

static uint64_t sum_metric(const struct proxy *proxy, enum metric id)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < proxy->workers; i++)
        sum += metric_get(&proxy->worker[i]->metrics, id);
    return sum;
}

static void choose_mode(struct node *node)
{
    struct proxy *proxy = node->proxy;
    uint64_t hits = sum_metric(proxy, METRIC_cache_hits_total);
    uint64_t misses = sum_metric(proxy, METRIC_cache_misses_total);
    uint64_t gone = sum_metric(proxy, METRIC_cache_invalidations_total);
    bool sampled = atomic_load(&node->mode) == NODE_SAMPLED;
    uint64_t lookups = hits - node->seen_hits + misses - node->seen_misses;
    if (lookups < (sampled ? SAMPLED_WINDOW : FULL_WINDOW))
        return;
    unsigned percent = (unsigned)((hits - node->seen_hits) * 100 / lookups);
    bool churned = (gone - node->seen_kills) * 2 > misses - node->seen_misses;
    bool warm = node->filled_bytes > proxy->cache_log_bytes || churned;
    if (!sampled && warm && percent < SAMPLE_BELOW_PERCENT)
        set_mode(node, NODE_SAMPLED, percent);
    else if (sampled && percent > FILL_ABOVE_PERCENT)
        set_mode(node, NODE_FULL, percent);
    node->seen_hits = hits;
    node->seen_misses = misses;
    node->seen_kills = gone;
}

void node_cron(struct node *node)
{
    uint64_t now_ns = node->home->now_ns;
    uint64_t in_flight = 0;
    for (unsigned db = 0; db < LIMIT_DBS; db++) {
        in_flight += node->lanes[db].in_flight;
        lane_tick(&node->lanes[db], now_ns);
    }
    atomic_store(&node->in_flight, in_flight);
    if (node_caching(node))
        choose_mode(node);
}

// Called at least every vouch_every_ns while a lane tracks.
void node_vouch(struct node *node)
{
    for (unsigned db = 0; db < LIMIT_DBS; db++) {
        struct lane *lane = &node->lanes[db];
        if (lane->state == LANE_UP && lane->tracking && lane_ask_role(lane, NULL) != 0)
            lane_lost(lane, "out of buffer memory");
    }
}
