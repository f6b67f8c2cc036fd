#pragma once
// A node of the store: its lanes (one shared connection per database), the table of fills under way,
// and what coherence needs to know of it. Everything runs on the node's home thread, except the
// fields marked shared.
#include "config/config.h"
#include "loop/net.h"
#include "proxy/fill.h"
#include "proxy/lane.h"
#include <pthread.h>
#include <stdatomic.h>

enum node_cache {    // shared: why the cache serves or doesn't
    NODE_CACHE_WAIT, // no lane is up yet
    NODE_CACHE_ON,
    NODE_CACHE_OFF_CONFIG,
    NODE_CACHE_OFF_VERSION,   // no usable tracking: older than 7.0.5, or not Redis
    NODE_CACHE_OFF_FORBIDDEN, // CLIENT TRACKING or ROLE refused by the store's ACL
};

// How reads are asked on the lanes.
enum node_mode {
    NODE_FULL,    // default tracking: every read is tracked and may fill
    NODE_SAMPLED, // OPTIN: one key in SAMPLE_ONE_IN fills, the others are plain reads
};
enum { SAMPLE_ONE_IN = 32 };

struct node {
    struct proxy *proxy;
    struct worker *home;
    char name[CONFIG_TEXT]; // "127.0.0.1:6379"
    struct net_address address;
    char user[CONFIG_TEXT], password[CONFIG_TEXT];
    struct lane lanes[LIMIT_DBS];
    struct fill_table fills;
    struct fence *fence_next; // collects waiters until the round's flush sends it
    _Atomic uint32_t cache_state; // enum node_cache, shared
    _Atomic uint32_t mode;        // enum node_mode, shared
    char version[32], role[160];  // role: "master", or "slave HOST PORT"
    unsigned version_number;      // 70015 for 7.0.15
    _Atomic uint32_t version_shared; // the same for other threads; 0 until known
    _Atomic bool resp2_only;      // shared: the store does not know RESP3
    _Atomic bool fields_expire;   // shared: hash fields may expire on their own (7.4)
    _Atomic uint32_t private_blocking, private_transactions; // lent now, shared
    _Atomic uint32_t private_total;
    _Atomic uint64_t reconnects, in_flight; // shared, for reports
    pthread_mutex_t words;                  // guards version and role for reports
    uint32_t dirty_lanes;                   // bit per database: output to flush
    // admission, see node_cron
    uint64_t filled_bytes; // since the mode last changed
    uint64_t seen_hits, seen_misses, seen_kills;
};

void node_init(struct node *node, struct proxy *proxy, struct worker *home,
               const struct config_store *store);
void node_deinit(struct node *node);
// A request for the node arrived on its thread.
void node_accept(struct node *node, struct request *request);
// Every write through weir: what is cached of these keys goes, fills of them are killed.
void node_invalidate(struct node *node, const struct request *request);
void node_invalidate_key(struct node *node, uint64_t hash);
// Nothing filled before now may be served again: raises the floor of all lanes.
void node_flush_epoch(struct node *node);
// Adds a waiter (may be NULL) to the next fence, sent at the end of this round.
void node_fence(struct node *node, struct request *waiter);
// A lane that owed an answer to `fence` has given it, or has gone.
void node_fence_answered(struct node *node, struct fence *fence);
void node_flush(struct node *node); // end of a round: fences, then lanes' output
void node_cron(struct node *node);  // each 100 ms
void node_vouch(struct node *node); // each third of max-stale: asks every tracking lane's ROLE
// Any thread: may the cache answer at all, and in words why not.
static inline bool node_caching(const struct node *node)
{
    return atomic_load_explicit(&node->cache_state, memory_order_relaxed) == NODE_CACHE_ON;
}
const char *node_cache_words(const struct node *node);
