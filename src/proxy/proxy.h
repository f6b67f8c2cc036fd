#pragma once
// The proxy: workers, listeners, nodes and the cache, created from a validated configuration.
//
//   proxy_create ── proxy_start ── (signals: proxy_reload, proxy_drain) ── proxy_join ── proxy_destroy
//
// Threads: every function here is called from the main thread, except those marked.
#include "config/config.h"
#include "observe/stats.h"
#include "observe/slowlog.h"

struct proxy;

// Maps and prefaults all memory, opens the listeners. On failure *out is untouched and `error` says
// what, where and what to do.
int proxy_create(struct proxy **out, const struct config *config, char error[CONFIG_ERROR]);
void proxy_destroy(struct proxy **proxy);
// Starts the worker threads.
int proxy_start(struct proxy *proxy);
// Without threads, for simulation: one round of worker `index`. Returns callbacks run.
int proxy_step(struct proxy *proxy, unsigned index, int timeout_ms);
unsigned proxy_threads(const struct proxy *proxy);

// Applies every directive that is live. Returns 0, or a negative code with the reason in `error`
// (then nothing was changed). Any thread (a lock inside).
int proxy_reload(struct proxy *proxy, const struct config *config, char error[CONFIG_ERROR]);
// The configuration in force. Any thread.
void proxy_config(struct proxy *proxy, struct config *out);

// TERM: stops accepting, answers what is under way, closes idle clients; after `drain_ms` cuts the
// rest. Any thread, async-signal-unsafe.
void proxy_drain(struct proxy *proxy);
// Now: closes everything.
void proxy_stop(struct proxy *proxy);
// Waits until the workers have ended.
void proxy_join(struct proxy *proxy);

// Reports, from any thread (admin, a worker answering INFO).
void proxy_stats(struct proxy *proxy, struct stats *out);
// Latencies by command and node: calls `each` for every pair with samples.
void proxy_latencies(struct proxy *proxy, void (*each)(void *context, const struct stats_latency *),
                     void *context);
struct slowlog *proxy_slowlog(struct proxy *proxy);
// Is a store reachable and are the listeners open? For /readyz; `why` says what is missing.
bool proxy_ready(struct proxy *proxy, char why[CONFIG_TEXT]);
