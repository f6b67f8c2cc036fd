#pragma once
// The near cache as the proxy uses it: which reads may be answered from it, when an entry may still
// be served, how it is composed, what a reply may leave behind.
#include "proxy/worker.h"
#include "proxy/settings.h"

struct node;

// One cacheable read, whole: what finds it in the cache.
struct near_query {
    const struct command *command;
    const struct near_rule *rule;
    struct cache_ref ref;
    uint8_t db;
    uint8_t scope[LIMIT_CACHE_SCOPE];
};

enum near_verdict {
    NEAR_OFF,   // not for the cache: a plain read
    NEAR_MISS,
    NEAR_HIT,
    NEAR_STALE, // there, but the lane has not vouched for it within max-stale: fence first
};

// Is this a read that the cache may answer or fill? Sets *query (it borrows the request's bytes).
// `hash` is hash_key of the key. MGET is asked with near_mget instead.
bool near_query(struct near_query *query, struct worker *worker, const struct node *node,
                const struct command *command, const struct resp_request *request, uint64_t hash,
                uint8_t db);
// Composes the reply for `protocol` into `out`. With `fenced`, a fence has just been answered, which
// stands for max-stale.
enum near_verdict near_fetch(struct worker *worker, const struct node *node,
                             const struct near_query *query, bool fenced, unsigned protocol,
                             uint8_t *out, size_t room, size_t *size);
bool near_peek(struct worker *worker, const struct node *node, const struct near_query *query);
// A whole MGET, only if every key hits and all entries still stand after the last copy.
enum near_verdict near_mget(struct worker *worker, const struct node *node,
                            const struct resp_request *request, uint8_t db, unsigned protocol,
                            bool fenced, uint8_t *out, size_t room, size_t *size);
bool near_mget_peek(struct worker *worker, const struct node *node,
                    const struct resp_request *request, uint8_t db);
// May one key of an MGET be filled? Sets the GET query that shares its entry.
bool near_mget_key(struct near_query *query, struct worker *worker, const struct node *node,
                   struct slice key, uint64_t hash, uint8_t db);
// The reply of a fill, alive and current at this moment. Returns whether it was inserted.
bool near_insert(struct worker *worker, const struct near_query *query, const struct fill *fill,
                 struct slice reply);
