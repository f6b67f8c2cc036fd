#pragma once
// What the files of this folder share.
#include "admin/history.h"
#include "loop/net.h"
#include "observe/slowlog.h"
#include "proxy/proxy.h"
#include <jansson.h>
#include <pthread.h>

enum {
    ADMIN_LATENCIES = 96, // command and node pairs told apart; the rest are summed as "other"
    ADMIN_ANSWERS = 4,    // large answers on their way at one time; then 503
    ADMIN_ANSWER_BYTES = 320 * 1024,
    ADMIN_CONNECTIONS = 32,
    ADMIN_CONNECTION_BYTES = 16 * 1024,
    ADMIN_TIMEOUT_S = 15,
};

struct admin_answer {
    bool used;
    char text[ADMIN_ANSWER_BYTES];
};

struct admin {
    struct proxy *proxy;
    struct MHD_Daemon *daemon;
    struct net_address address;
    uint64_t started_wall_us; // tells the page that weir was restarted

    // The sampler's thread. The lock guards `stopping` and `history`.
    pthread_t sampler;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
    struct history history;
    struct stats sampled;

    // The HTTP thread's alone.
    struct stats stats;
    unsigned latencies;
    struct stats_latency latency[ADMIN_LATENCIES];
    struct slowlog_entry slow[SLOWLOG_ENTRIES];
    struct config config;
    struct admin_answer answer[ADMIN_ANSWERS];
};

// Fills admin->stats, admin->latency and admin->latencies.
void admin_collect(struct admin *admin);

// Each returns an owned tree, or NULL when memory ran out. HTTP thread only.
json_t *api_stats(struct admin *admin, uint64_t since);
json_t *api_slowlog(struct admin *admin);
json_t *api_config(struct admin *admin);

struct asset {
    const char *path, *type;
    const char *data;
    size_t size;
};
// The embedded file for a path, or false.
bool asset_find(const char *path, struct asset *out);
